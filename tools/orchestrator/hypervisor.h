/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that is ever said to a hypervisor.
 *
 * One table for each kind, listed in hypervisor.c and chosen by the URI's
 * scheme: libvirt (qemu, xen, test and, as a base, esx), ESXi, Hyper-V, files.
 * A verb that a hypervisor cannot do is NULL in its table, and the bit in
 * `can` is not set: stages and preflight ask `can`, never who it is.
 *
 * VMs go by their name. Every verb may be repeated: undefining what is not
 * there, starting what runs, stopping what is off succeed and do nothing. That
 * is what makes a step that a kill cut short simply run again.
 *
 * Errors: ARG (URI), UNSUPPORTED (not with this hypervisor), REFUSED (it said
 * no), SYSTEM with EHOSTUNREACH (the connection was lost; the caller may
 * reconnect and repeat), with ENOENT (no such VM), ETIMEDOUT. Messages begin
 * with the verb and the VM: "start web1: ...".
 *
 * Threads: each migration has connections of its own; one connection is never
 * used by two threads at once.
 */
#ifndef ORCH_HYPERVISOR_H
#define ORCH_HYPERVISOR_H

#include "vm.h"

struct hypervisor;
struct pairs;

enum hypervisor_state {
    HYPERVISOR_OFF,
    HYPERVISOR_RUNNING,
    HYPERVISOR_PAUSED,  /* by a person, or by an I/O error */
    HYPERVISOR_CRASHED, /* stands still and holds its files */
    HYPERVISOR_STOPPING /* shutting down: files are still held */
};

enum hypervisor_can {
    HYPERVISOR_CAN_SNAPSHOT = 1u << 0, /* outside the disk: the base is still */
    HYPERVISOR_CAN_QUIESCE = 1u << 1,  /* through the agent, while doing so */
    HYPERVISOR_CAN_AGENT = 1u << 2,
    HYPERVISOR_CAN_DEFINE = 1u << 3,
    HYPERVISOR_CAN_ADDRESSES = 1u << 4,
    HYPERVISOR_CAN_REPORT = 1u << 5, /* a port of the guest in a file */
    HYPERVISOR_CAN_AUTOSTART = 1u << 6,
    HYPERVISOR_CAN_NVRAM = 1u << 7,  /* UEFI variables are a file that another
                                        of the kind takes */
    HYPERVISOR_CAN_NBD = 1u << 8,    /* disks by a socket of this host */
    HYPERVISOR_CAN_BY_HAND = 1u << 9 /* some VMs a person has to make */
};

/** How to log in. Texts are names of files; no secret is ever in here. */
struct hypervisor_login {
    const char *auth_file;   /* libvirt's auth.conf format; or NULL */
    const char *ssh_key;     /* for what goes by SSH; NULL: the SSH agent's */
    const char *ssh_config;  /* or NULL */
    const char *ssh_command; /* NULL: "ssh" */
};

struct hypervisor_snapshot {
    char *name;            /* ours begins with HYPERVISOR_SNAPSHOT_PREFIX */
    struct texts overlays; /* per disk of the vm: the file written to now */
};
#define HYPERVISOR_SNAPSHOT_PREFIX "diskshift-"

struct hypervisor_ops {
    const char *name; /* "libvirt" ... */
    bool (*takes)(const char *uri);
    int (*open)(const char *uri, const struct hypervisor_login *login,
                struct hypervisor **out, struct ds_error *err);
    void (*close)(struct hypervisor *hypervisor);

    /* Inventory. */
    int (*list)(struct hypervisor *, struct texts *names, struct ds_error *);
    /** 1 when it is there, 0 when not, or a negated class. */
    int (*find)(struct hypervisor *, const char *name, struct ds_error *);
    int (*describe)(struct hypervisor *, const char *name, struct vm *out,
                    struct ds_error *);
    /** 1 or 0: whether NICs can be connected to it. */
    int (*has_network)(struct hypervisor *, enum vm_link link,
                       const char *network, struct ds_error *);
    /** 1 or 0: whether it can run a disk of the engine's format, made with
     * these options (NULL: none). With 0 the message says what it can. */
    int (*runs_format)(struct hypervisor *, const char *format,
                       const struct pairs *options, struct ds_error *);
    /** 1 or 0: whether it has the machine; NULL verb: all are its own. */
    int (*has_machine)(struct hypervisor *, const char *machine,
                       struct ds_error *);

    /** Whether its host could name a file so; NULL verb: any path from / on. */
    bool (*takes_path)(const char *path);
    /** 1 or 0: whether there is a disk's file of at least so many bytes, or a
     * directory, by this name of its host's. UNSUPPORTED: it cannot tell of
     * this one; NULL verb: of none. */
    int (*sees)(struct hypervisor *, const char *path, uint64_t least_bytes,
                struct ds_error *);
    /** Whether it has all of the devices that define would be asked for, and
     * so many: LIMIT, UNSUPPORTED. Says nothing to the host. NULL verb: not
     * known. */
    int (*fits)(struct hypervisor *, const struct vm *vm, struct ds_error *);

    /* What exists. Disks of `vm` are there before define is called. */
    /** Of its own errors one is no failure: SYSTEM with EINPROGRESS, a person
     * has to make the VM, and the message says how. Then it is repeated until
     * the VM is there. */
    int (*define)(struct hypervisor *, const struct vm *vm, struct ds_error *);
    /** Also its NVRAM and what the hypervisor keeps beside it; never disks.
     * But for files beside the first disk, which are ours to remove: */
    int (*undefine)(struct hypervisor *, const char *name, struct ds_error *);
    /** Their names, '*' for the VM's; ends with NULL. NULL: none are left. */
    const char *const *leaves;
    int (*autostart)(struct hypervisor *, const char *name, bool on,
                     struct ds_error *);
    /** Let the hypervisor give new MACs to a VM that is off. */
    int (*renew_macs)(struct hypervisor *, const char *name, struct ds_error *);

    /* Power. */
    int (*state)(struct hypervisor *, const char *name,
                 enum hypervisor_state *out, struct ds_error *);
    int (*start)(struct hypervisor *, const char *name, struct ds_error *);
    /** Ask the guest to power off, by all ways there are; returns at once. */
    int (*shut_down)(struct hypervisor *, const char *name, struct ds_error *);
    /** Pull the plug. Off when it returns. */
    int (*force_off)(struct hypervisor *, const char *name, struct ds_error *);

    /* Snapshots of ours. The disks' files are still from `create` until
     * `merge`, which deletes it and leaves what was written since in them. */
    int (*snapshot_find)(struct hypervisor *, const struct vm *vm,
                         struct hypervisor_snapshot *out, struct ds_error *);
    int (*snapshot_create)(struct hypervisor *, const struct vm *vm,
                           const char *name, bool quiesce,
                           struct hypervisor_snapshot *out, struct ds_error *);
    int (*snapshot_merge)(struct hypervisor *, const struct vm *vm,
                          struct ds_error *);

    /* The guest. */
    /** One command of the QEMU guest agent's protocol, as JSON; the caller
     * owns the answer. */
    int (*agent)(struct hypervisor *, const char *name, const char *command,
                 unsigned timeout_seconds, char **answer, struct ds_error *);
    /** "MAC ADDRESS" each, as seen from outside: leases, ARP, agent. */
    int (*addresses)(struct hypervisor *, const char *name, struct texts *out,
                     struct ds_error *);
};

/** Drivers embed this as their first member. */
struct hypervisor {
    const struct hypervisor_ops *ops;
    uint32_t can; /* enum hypervisor_can */
    char *uri;    /* owned */
};

/** Connect to whatever `uri` names: ARG when no driver takes it. */
int hypervisor_open(const char *uri, const struct hypervisor_login *login,
                    struct hypervisor **out, struct ds_error *err);
void hypervisor_close(struct hypervisor *hypervisor); /* NULL is fine */
/** One more kind, before all others. For tests. */
void hypervisor_register(const struct hypervisor_ops *ops);

const char *hypervisor_state_name(enum hypervisor_state state);
void hypervisor_snapshot_free(struct hypervisor_snapshot *snapshot);

/** Poll until it is off. 0; ETIMEDOUT at the deadline, or CANCELLED. */
int hypervisor_wait_off(struct hypervisor *hypervisor, const char *name,
                        unsigned timeout_seconds, bool (*cancelled)(void *),
                        void *user, struct ds_error *err);

/* The drivers. */
extern const struct hypervisor_ops hypervisor_libvirt;
extern const struct hypervisor_ops hypervisor_esx;
extern const struct hypervisor_ops hypervisor_hyperv;
/** A VM that is files: file:///vm/web.vmx, .ovf, .ova, .xml; with
 * ?allow-refs=DIRECTORY disks may lie there too (import_uri). It is described,
 * is always off, and can be nothing but a source. */
extern const struct hypervisor_ops hypervisor_files;

#endif
