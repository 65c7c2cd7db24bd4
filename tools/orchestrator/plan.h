/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be done: a plan file, options, or both.
 *
 * Every setting is one row of one table (settings.c): its key in the plan
 * ("backup.policy" is `policy` under `backup:`), its option ("--backup"), its
 * type, allowed values, standard and what it means. The YAML reader, the
 * option parser, the help, `migrate init` and the journal are all driven by
 * it; nothing else knows a setting's name.
 *
 *   diskshift: 1
 *   source: {uri: qemu+ssh://old/system}
 *   target: {uri: qemu:///system, directory: /vm, format: qcow2, bus: virtio}
 *   networks: {VM Network: br0}
 *   backup: {policy: snapshot, directory: /vm/backup}
 *   vms:
 *     - name: db
 *       order: 1
 *     - name: web
 *       order: 2
 *       wait: {deadline: 600}      # any setting, for this one alone
 *
 * What is wrong is told with "FILE:LINE:COLUMN: key: have X expect Y", and
 * all of it, not the first only. Options win over the plan.
 */
#ifndef ORCH_PLAN_H
#define ORCH_PLAN_H

#include "vm.h"

#define PLAN_BYTES_MAX (1u << 20)
#define PLAN_VM_COUNT_MAX 10000
#define PLAN_VERSION 1

enum backup_policy { BACKUP_SNAPSHOT, BACKUP_SHUTDOWN, BACKUP_NONE };
enum prepare_mode {
    PREPARE_AUTO,
    PREPARE_ONLINE,
    PREPARE_OFFLINE,
    PREPARE_NONE
};
enum unknown_policy { UNKNOWN_RESTORE, UNKNOWN_LEAVE };
enum mac_policy { MAC_KEEP, MAC_RENEW };

struct pair {
    char *from, *to;
};
struct pairs {
    struct pair *items;
    size_t count;
};

/** All settings of one VM. Texts are owned. */
struct settings {
    char *vm_name;
    char *target_name; /* NULL: the same */
    char *group;
    unsigned order; /* lower ones are finished before higher begin */

    char *source_uri, *target_uri;
    char *auth_file, *ssh_key, *ssh_config, *ssh_known_hosts;

    char *directory; /* for the target's disks, on the target's host */
    char *format;    /* of the target's disks */
    char *disk_bus;  /* a bus, or "same" */
    struct pairs target_options; /* of the format: cluster_size ... */
    struct pairs paths;          /* the source host's path prefix -> ours */
    struct pairs target_paths;   /* ours -> the target host's */
    struct pairs networks;       /* source's -> target's ("bridge:br0") */
    struct pairs buses;          /* per disk: "sda" -> "virtio" */
    char *nic_model;             /* "virtio", "same" ... */
    char *machine;               /* of the target; NULL: its standard */
    char *domain_type;           /* "kvm", "qemu"; NULL: what the target has */
    bool require_clone;
    bool serve_nbd; /* formats that the target lacks, by NBD */

    enum backup_policy backup;
    char *backup_directory; /* NULL: "diskshift-backup" beside the disk */
    bool backup_keep;
    bool quiesce;

    enum prepare_mode prepare;
    char *guest_ssh; /* "user@host" */
    unsigned guest_ssh_port;
    char *script_file;       /* a script of your own; NULL: generated */
    char *offline_directory; /* where the offline script and ISO are put */
    bool remove_tools;       /* the source hypervisor's, in the guest */
    bool install_tools;      /* the target hypervisor's */
    unsigned guest_timeout;  /* seconds for the guest to answer */
    unsigned script_timeout;
    unsigned power_off_timeout; /* seconds until forced off */
    unsigned offline_timeout;   /* for a person to carry the script in */

    unsigned create_tries;
    unsigned retry_seconds; /* between them */

    unsigned wait_deadline;
    unsigned wait_cycles; /* power-offs until script 2 is through */
    enum unknown_policy unknown;
    enum mac_policy macs;
    bool start_target;
    bool check_addresses;

    bool restore_on_error;
    bool restore_keep_backup;
    bool restore_start;
    bool isolated_test; /* --test */
    char *test_network;

    struct texts accepted; /* warnings by rule; "all" */
    struct pairs hooks;    /* "before-backup" -> command */
};

struct plan {
    struct settings common; /* what is said for all */
    struct settings *vms;   /* common, with what is said for each */
    size_t vm_count;
    unsigned jobs;          /* at once */
    unsigned jobs_per_host; /* 0: no limit of its own */
};

enum setting_type {
    SETTING_TEXT,
    SETTING_PATH,
    SETTING_NUMBER,
    SETTING_SECONDS, /* 90, 90s, 15m, 2h */
    SETTING_YES,     /* yes, no */
    SETTING_CHOICE,
    SETTING_PAIRS, /* a mapping; as an option FROM=TO, repeated */
    SETTING_TEXTS  /* a list; as an option repeated */
};

struct setting {
    const char *key;    /* "backup.policy" */
    const char *option; /* "backup", without dashes */
    enum setting_type type;
    size_t offset;              /* in struct settings */
    const char *const *choices; /* CHOICE, in the enum's order; ends with
                                   NULL. TEXT: NULL or the words allowed */
    uint64_t least, most;       /* NUMBER, SECONDS */
    const char *standard;       /* as it would be written; NULL: none */
    const char *help;
};

/** The table; NULL past the end. */
const struct setting *setting_at(size_t index);
const struct setting *setting_by_key(const char *key);
const struct setting *setting_by_option(const char *option);
/** Set from text: ARG with "have X expect Y". Pairs and lists are added to. */
int setting_set(struct settings *settings, const struct setting *setting,
                const char *value, struct ds_error *err);
/** The value as text; NULL when none. Pairs and lists: of `index`. */
char *setting_get(const struct settings *settings,
                  const struct setting *setting, size_t index);

void settings_standard(struct settings *out);
void settings_copy(struct settings *to, const struct settings *from);
void settings_free(struct settings *settings);
json_t *settings_to_json(const struct settings *settings);
int settings_from_json(const json_t *json, struct settings *out,
                       struct ds_error *err);
const char *pairs_find(const struct pairs *pairs, const char *from);
void pairs_add(struct pairs *pairs, const char *from, const char *to);
/** Each from the other side; the caller frees it. */
struct pairs pairs_reversed(const struct pairs *pairs);
void pairs_free(struct pairs *pairs);

/** Receives "FILE:LINE:COLUMN: ..." once for each thing that is wrong. */
typedef void plan_problem_fn(void *user, const char *text);
/** Read `path`. ARG when anything was wrong, all of which was told. */
int plan_read(const char *path, struct plan *out, plan_problem_fn *problem,
              void *user, struct ds_error *err);
void plan_standard(struct plan *out);
/** Add a VM with the common settings as they are now. */
int plan_add_vm(struct plan *plan, const char *name, struct settings **out,
                struct ds_error *err);
void plan_free(struct plan *plan);
/** A commented plan for these VMs: `migrate init`. The caller owns it. */
char *plan_write(const struct plan *plan, const struct vm *vms, size_t count);

#endif
