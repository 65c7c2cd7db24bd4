// SPDX-License-Identifier: Apache-2.0

// vcsim: an ESXi host's API for tests, by govmomi's simulator, as libvirt's
// esx driver wants it: with xsi:type on the members of arrays, a path of each
// datastore, and the files that a VM has beside its .vmx when it is registered.
//
// Prints its port. Its datastore is a directory below TMPDIR. Ends with its
// standard input.
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
)

var array = regexp.MustCompile(`(?s)type="ArrayOf(\w+)">(.*?)</val>`)

func withTypes(whole []byte) []byte {
	parts := array.FindSubmatch(whole)
	name := string(parts[1])
	member := regexp.MustCompile(`<` + name + `( [^>]*)?>`)
	inner := member.ReplaceAllFunc(parts[2], func(tag []byte) []byte {
		if bytes.Contains(tag, []byte("instance:type=")) ||
			bytes.Contains(tag, []byte("xsi:type=")) {
			return tag
		}
		return bytes.Replace(tag, []byte("<"+name),
			[]byte("<"+name+` xsi:type="`+name+`"`), 1)
	})
	return append(append([]byte(`type="ArrayOf`+name+`">`), inner...),
		[]byte("</val>")...)
}

func rewrite(answer *http.Response) error {
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	body = bytes.ReplaceAll(body, []byte("<mountInfo><accessMode>"),
		[]byte("<mountInfo><path>/vmfs/volumes/LocalDS_0</path><accessMode>"))
	body = array.ReplaceAllFunc(body, withTypes)
	answer.Body = io.NopCloser(bytes.NewReader(body))
	answer.ContentLength = int64(len(body))
	answer.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// What the simulator wants to find when it registers a VM.
func makeCompanions(path string) {
	stores, _ := filepath.Glob(filepath.Join(os.TempDir(), "govcsim-*"))
	for _, store := range stores {
		vmx := filepath.Join(store, strings.TrimPrefix(path, "/folder/"))
		home := filepath.Dir(vmx)
		for _, file := range []string{
			filepath.Join(home, filepath.Base(home)+".nvram"),
			filepath.Join(home, "vmware.log")} {
			if err := os.WriteFile(file, nil, 0600); err != nil {
				log.Print(err)
			}
		}
	}
}

func main() {
	model := simulator.ESX()
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	defer model.Remove()
	service := model.Service.NewServer()
	proxy := httputil.NewSingleHostReverseProxy(
		&url.URL{Scheme: "http", Host: service.URL.Host})
	proxy.ModifyResponse = rewrite
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(w, r)
		if r.Method == "PUT" && strings.HasSuffix(r.URL.Path, ".vmx") {
			makeCompanions(r.URL.Path)
		}
	})
	lender := httptest.NewUnstartedServer(handler)
	lender.StartTLS() // its certificate is borrowed
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: lender.TLS}
	go func() { log.Fatal(server.ServeTLS(listener, "", "")) }()
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	_, _ = io.Copy(io.Discard, os.Stdin)
}
