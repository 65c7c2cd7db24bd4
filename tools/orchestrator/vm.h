/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtual machine is, whatever runs it.
 *
 * A source's driver (or an import from VMX, OVF, domain XML) fills one, the
 * plan's maps turn it into what the target shall be (vm_for_target), a
 * target's driver defines it. Words for models are libvirt's, since they name
 * the most: "vmxnet3", "lsilogic", "pc-q35-7.2"; drivers translate.
 *
 * Ownership: a vm owns every text and array in it. vm_free leaves it zeroed;
 * a zeroed one is empty. NULL: not said, take the hypervisor's standard.
 */
#ifndef ORCH_VM_H
#define ORCH_VM_H

#include "base.h"

/* More than any hypervisor has; a description beyond it is refused. */
#define VM_DISK_COUNT_MAX 256
#define VM_NIC_COUNT_MAX 64
#define VM_CPU_COUNT_MAX 4096

enum vm_firmware { VM_FIRMWARE_BIOS, VM_FIRMWARE_UEFI };
enum vm_tpm { VM_TPM_NONE, VM_TPM_1_2, VM_TPM_2_0 };
enum vm_bus {
    VM_BUS_IDE,
    VM_BUS_SATA,
    VM_BUS_SCSI,
    VM_BUS_VIRTIO,
    VM_BUS_NVME,
    VM_BUS_USB
};
#define VM_BUS_COUNT 6

/** Where a disk's bytes are. Only FILE can be shifted. */
enum vm_source {
    VM_SOURCE_FILE,
    VM_SOURCE_DEVICE, /* a block device of the host, LUN, RDM */
    VM_SOURCE_REMOTE, /* network disks: rbd, iscsi, nbd ... */
    VM_SOURCE_POOL    /* a volume whose file is not known */
};

struct vm_disk {
    char *path;   /* as this host names it, or nfs://...; VMDK: the
                     descriptor. Of other sources what names them */
    char *format; /* the engine's word: "vmdk", "vhdx", "qcow2" ... */
    char *member; /* the disk inside a package (ova), for ds_open_options;
                     NULL: the path is the disk */
    enum vm_source source;
    enum vm_bus bus;
    char *controller;    /* its model: "lsilogic", "vmpvscsi", "virtio-scsi" */
    unsigned unit_index; /* the place on its bus, over all controllers */
    char *name;          /* what the hypervisor calls it: "sda" */
    char *serial;        /* NULL: none */
    unsigned boot_order; /* from 1 on; 0: not booted from */
    bool read_only;
    bool shared;      /* other VMs write it as well */
    bool independent; /* left out of snapshots by the hypervisor */
    char *nbd_socket; /* a server of ours gives it out here, as raw: see nbd.h;
                         NULL: the hypervisor opens the path itself */
};

enum vm_link { VM_LINK_NETWORK, VM_LINK_BRIDGE, VM_LINK_USER, VM_LINK_OTHER };

struct vm_nic {
    char mac[18]; /* "52:54:00:aa:bb:01", lower case; "": the
                     hypervisor's own choice */
    char *model;  /* "e1000", "vmxnet3", "virtio" */
    enum vm_link link;
    char *network; /* network, bridge, port group or switch; the key of
                      the network map. USER has "user" */
    unsigned vlan; /* 0: none */
    unsigned boot_order;
    bool unplugged; /* the cable is */
};

struct vm {
    char *name;
    char *uuid;
    char *description;
    char *arch;        /* "x86_64" */
    char *machine;     /* "pc-i440fx-7.2"; NULL for VMs of others */
    char *accelerator; /* target: "kvm", "qemu"; NULL: the best there is */
    char *cpu_model;   /* "host-passthrough", "host-model" or a model's name */
    unsigned cpu_count;
    unsigned socket_count, core_count, thread_count; /* 0: not said */
    uint64_t memory_bytes;
    enum vm_firmware firmware;
    bool secure_boot;
    enum vm_tpm tpm;
    char *nvram_path; /* UEFI variables; NULL: none or not reachable */
    char *guest_os;   /* the hypervisor's word for it, unchanged; or NULL */
    bool local_time;  /* the clock of the hardware */
    bool autostart;
    bool agent;                 /* has the QEMU guest agent's port */
    unsigned passthrough_count; /* host devices given to it */
    unsigned snapshot_count;
    unsigned removable_count; /* CD and floppy drives, which do not move */
    struct vm_disk *disks;
    size_t disk_count;
    struct vm_nic *nics;
    size_t nic_count;
    char *report_path;  /* target: where the guest's second port writes script
                           2's result, on the target's host; or NULL */
    char *console_path; /* target: the serial console's file; or NULL */
    char *by_hand_path; /* target: where a driver may put a file for a person
                           who has to make the VM; as this host names it */
    char *native;       /* the hypervisor's own text: domain XML, VMX */
};

void vm_free(struct vm *vm);
void vm_copy(struct vm *to, const struct vm *from);
/** Append one, zeroed; LIMIT beyond the maximum. */
int vm_add_disk(struct vm *vm, struct vm_disk **out, struct ds_error *err);
int vm_add_nic(struct vm *vm, struct vm_nic **out, struct ds_error *err);
/** Refuses what no hypervisor could define: no name, no memory, CPU topology
 * that does not multiply to the count, two NICs with one MAC ... `from` names
 * the file or URI in messages. */
int vm_check(const struct vm *vm, const char *from, struct ds_error *err);

struct pairs;
/** Name its files as another host does: the first pair whose `from` a path
 * begins with, as whole names, is replaced. */
void vm_map_paths(struct vm *vm, const struct pairs *paths);

/** Any common way to write one (aa-bb-.., aabb..) to "aa:bb:..". ARG. */
int vm_mac_parse(const char *text, char mac[18], struct ds_error *err);

const char *vm_bus_name(enum vm_bus bus); /* "ide", "scsi" ... */
/** False when it is no bus. */
bool vm_bus_find(const char *name, enum vm_bus *out);
const char *vm_firmware_name(enum vm_firmware firmware); /* "bios", "uefi" */

/** To the journal and back. The caller owns what is returned. */
json_t *vm_to_json(const struct vm *vm);
int vm_from_json(const json_t *json, struct vm *out, struct ds_error *err);

/* domain_xml.c: libvirt's words. Parsing takes hostile text: no entities, no
 * external references. `vm->native` is the text itself. */
int vm_from_domain_xml(const char *text, struct vm *out, struct ds_error *err);
/** A whole new domain for QEMU; `type` is "kvm" or "qemu" or another's. */
char *vm_to_domain_xml(const struct vm *vm, const char *type);

#endif
