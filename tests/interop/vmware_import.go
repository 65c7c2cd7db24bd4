// SPDX-License-Identifier: Apache-2.0

// vmware_import DIR FILE...: VMware's own importers, govmomi's, against the
// ESXi of its simulator. A .vmdk goes by vmdk.Import, which is what `govc
// import.vmdk` calls; an .ova takes the road of `govc import.ova -m`: the
// envelope to the host's OvfManager, ImportVApp, and each disk by the lease
// that this gives. Prints a line of JSON for each file.
//
// What the simulator throws away, the uploaded disks, is received here, as a
// host does: vmware_stream.go. DIR/FILE/NAME.vmdk is what arrived,
// DIR/FILE/NAME.raw the disk made of it.
package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vmdk"
)

type disk struct {
	Arrived    string `json:"arrived"`
	Raw        string `json:"raw"`
	Controller string `json:"controller"`
	CapacityKB int64  `json:"capacity_kb"` // as the host is asked to make it
}

type report struct {
	File            string `json:"file"`
	Error           string `json:"error,omitempty"`
	Name            string `json:"name,omitempty"`
	HardwareVersion string `json:"hardware_version,omitempty"`
	Guest           string `json:"guest,omitempty"`
	CPUs            int32  `json:"cpus,omitempty"`
	MemoryMB        int32  `json:"memory_mb,omitempty"`
	Controllers     int    `json:"controllers,omitempty"`
	Disks           []disk `json:"disks,omitempty"`
}

// -- the host -----------------------------------------------------------------

// The end of the upload that the simulator lacks.
type host struct {
	dir      string
	now      *report // the import that goes on
	received error
}

// What the importer has asked the host to make, before any byte came.
func (h *host) describe(vm *simulator.VirtualMachine, name string) *disk {
	devices := object.VirtualDeviceList(vm.Config.Hardware.Device)
	h.now.Name = vm.Name
	h.now.HardwareVersion = vm.Config.Version
	h.now.Guest = vm.Config.GuestId
	h.now.CPUs = vm.Summary.Config.NumCpu
	h.now.MemoryMB = vm.Summary.Config.MemorySizeMB
	used := map[int32]bool{}
	var found *disk
	for _, device := range devices.SelectByType((*types.VirtualDisk)(nil)) {
		d := device.(*types.VirtualDisk)
		used[d.ControllerKey] = true
		backing := d.Backing.(types.BaseVirtualDeviceFileBackingInfo)
		file := backing.GetVirtualDeviceFileBackingInfo().FileName
		if filepath.Base(file) == name {
			found = &disk{CapacityKB: d.CapacityInKB,
				Controller: devices.Type(devices.FindByKey(d.ControllerKey))}
		}
	}
	h.now.Controllers = len(used)
	return found
}

func (h *host) receive(body io.Reader, path string) error {
	// The one machine of this host.
	vm, ok := simulator.Map.Any("VirtualMachine").(*simulator.VirtualMachine)
	if !ok {
		return errors.New("no machine")
	}
	d := h.describe(vm, filepath.Base(path))
	if d == nil {
		return fmt.Errorf("no disk %q", path)
	}
	base := filepath.Join(h.dir, filepath.Base(h.now.File),
		fmt.Sprintf("disk-%d", len(h.now.Disks)))
	if err := os.MkdirAll(filepath.Dir(base), 0700); err != nil {
		return err
	}
	d.Arrived, d.Raw = base+".vmdk", base+".raw"
	arrived, err := os.Create(d.Arrived)
	if err != nil {
		return err
	}
	defer arrived.Close()
	raw, err := os.Create(d.Raw)
	if err != nil {
		return err
	}
	defer raw.Close()
	size, err := readStream(io.TeeReader(body, arrived), raw)
	if err != nil {
		return err
	}
	if d.CapacityKB != size/1024 {
		return fmt.Errorf("a disk of %d bytes, asked for %d KiB", size,
			d.CapacityKB)
	}
	h.now.Disks = append(h.now.Disks, *d)
	return raw.Truncate(size)
}

func (h *host) upload(w http.ResponseWriter, r *http.Request) {
	err := fmt.Errorf("%s of %q", r.Method, r.Header.Get("Content-Type"))
	if r.Method == "POST" &&
		r.Header.Get("Content-Type") == "application/x-vnd.vmware-streamVmdk" {
		err = h.receive(r.Body, r.URL.Path)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	if err != nil {
		h.received = err
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func (h *host) serve(model *simulator.Model) *url.URL {
	service := model.Service.NewServer()
	proxy := httputil.NewSingleHostReverseProxy(
		&url.URL{Scheme: "http", Host: service.URL.Host})
	server := httptest.NewTLSServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/nfc/") {
				h.upload(w, r)
			} else {
				proxy.ServeHTTP(w, r)
			}
		}))
	address, _ := url.Parse(server.URL + "/sdk")
	address.User = simulator.DefaultLogin
	return address
}

// -- importing ----------------------------------------------------------------

type importer struct {
	client    *govmomi.Client
	center    *object.Datacenter
	datastore *object.Datastore
	pool      *object.ResourcePool
	folder    *object.Folder
}

func login(ctx context.Context, address *url.URL) (*importer, error) {
	client, err := govmomi.NewClient(ctx, address, true)
	if err != nil {
		return nil, err
	}
	im := &importer{client: client}
	finder := find.NewFinder(client.Client, false)
	if im.center, err = finder.DefaultDatacenter(ctx); err != nil {
		return nil, err
	}
	finder.SetDatacenter(im.center)
	if im.datastore, err = finder.DefaultDatastore(ctx); err != nil {
		return nil, err
	}
	if im.pool, err = finder.DefaultResourcePool(ctx); err != nil {
		return nil, err
	}
	folders, err := im.center.Folders(ctx)
	if err != nil {
		return nil, err
	}
	im.folder = folders.VmFolder
	return im, nil
}

func (im *importer) importDisk(ctx context.Context, path string) error {
	return vmdk.Import(ctx, im.client.Client, path, im.datastore,
		vmdk.ImportParams{Datacenter: im.center, Pool: im.pool,
			Folder: im.folder})
}

// A package's members: texts whole, of the others where they are.
type member struct {
	text         string
	offset, size int64
}

func readArchive(file *os.File) (map[string]member, string, error) {
	members := map[string]member{}
	envelope := ""
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return members, envelope, nil
		}
		if err != nil {
			return nil, "", err
		}
		m := member{size: header.Size}
		if m.offset, err = file.Seek(0, io.SeekCurrent); err != nil {
			return nil, "", err
		}
		if !strings.HasSuffix(header.Name, ".vmdk") {
			text, err := io.ReadAll(archive)
			if err != nil {
				return nil, "", err
			}
			m.text = string(text)
		}
		if strings.HasSuffix(header.Name, ".ovf") {
			envelope = m.text
		}
		members[header.Name] = m
	}
}

var manifestLine = regexp.MustCompile(`(?m)^SHA256\((.*)\)= ([0-9a-f]{64})$`)

func checkManifest(file *os.File, members map[string]member) error {
	listed := 0
	for name, m := range members {
		if !strings.HasSuffix(name, ".mf") {
			continue
		}
		for _, line := range manifestLine.FindAllStringSubmatch(m.text, -1) {
			sum := sha256.New()
			of := members[line[1]]
			_, err := io.Copy(sum, io.NewSectionReader(file, of.offset, of.size))
			if err != nil {
				return err
			}
			if have := fmt.Sprintf("%x", sum.Sum(nil)); have != line[2] {
				return fmt.Errorf("manifest: %s is %s", line[1], have)
			}
			listed++
		}
	}
	if listed != len(members)-1 {
		return fmt.Errorf("manifest: %d of %d members", listed, len(members)-1)
	}
	return nil
}

func (im *importer) upload(ctx context.Context, lease *nfc.Lease,
	info *nfc.LeaseInfo, file *os.File, members map[string]member) error {
	updater := lease.StartUpdater(ctx, info)
	defer updater.Done()
	for _, item := range info.Items {
		m, ok := members[item.Path]
		if !ok || m.size != item.Size {
			return fmt.Errorf("envelope: %s of %d bytes, in the archive %d",
				item.Path, item.Size, m.size)
		}
		err := lease.Upload(ctx, item,
			io.NewSectionReader(file, m.offset, m.size),
			soap.Upload{ContentLength: m.size})
		if err != nil {
			return err
		}
	}
	return lease.Complete(ctx)
}

func (im *importer) importPackage(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	members, text, err := readArchive(file)
	if err != nil {
		return err
	}
	if err := checkManifest(file, members); err != nil {
		return err
	}
	envelope, err := ovf.Unmarshal(strings.NewReader(text))
	if err != nil {
		return err
	}
	spec, err := ovf.NewManager(im.client.Client).CreateImportSpec(ctx, text,
		im.pool, im.datastore, types.OvfCreateImportSpecParams{
			DiskProvisioning: "thin", EntityName: *envelope.VirtualSystem.Name})
	if err != nil {
		return err
	}
	if spec.Error != nil {
		return errors.New(spec.Error[0].LocalizedMessage)
	}
	if len(spec.FileItem) != len(envelope.References) ||
		len(spec.FileItem) != len(envelope.Disk.Disks) {
		return fmt.Errorf("envelope: %d files, %d disks, %d to upload",
			len(envelope.References), len(envelope.Disk.Disks),
			len(spec.FileItem))
	}
	lease, err := im.pool.ImportVApp(ctx, spec.ImportSpec, im.folder, nil)
	if err != nil {
		return err
	}
	info, err := lease.Wait(ctx, spec.FileItem)
	if err != nil {
		return err
	}
	if len(info.Items) != len(spec.FileItem) {
		return fmt.Errorf("%d files to upload, %d places", len(spec.FileItem),
			len(info.Items))
	}
	if err := im.upload(ctx, lease, info, file, members); err != nil {
		return err
	}
	task, err := object.NewVirtualMachine(im.client.Client,
		info.Entity).Destroy(ctx)
	if err != nil {
		return err
	}
	return task.Wait(ctx)
}

// A host for each, so that what one leaves, an aborted lease's machine, is in
// no other's way.
func importFile(dir, path string) report {
	ctx := context.Background()
	r := report{File: path}
	h := &host{dir: dir, now: &r}
	model := simulator.ESX()
	model.Machine = 0
	defer model.Remove()
	if err := model.Create(); err != nil {
		fail(err)
	}
	im, err := login(ctx, h.serve(model))
	if err != nil {
		fail(err)
	}
	if strings.HasSuffix(path, ".ova") {
		err = im.importPackage(ctx, path)
	} else {
		err = im.importDisk(ctx, path)
	}
	if h.received != nil {
		r.Error = h.received.Error()
	} else if err != nil {
		r.Error = err.Error()
	}
	return r
}

func fail(err interface{}) {
	fmt.Fprintln(os.Stderr, "vmware_import:", err)
	os.Exit(1)
}

func main() {
	log.SetOutput(io.Discard) // the simulator's
	if len(os.Args) < 3 {
		fail("usage: vmware_import DIR FILE...")
	}
	for _, path := range os.Args[2:] {
		line, err := json.Marshal(importFile(os.Args[1], path))
		if err != nil {
			fail(err)
		}
		fmt.Println(string(line))
	}
}
