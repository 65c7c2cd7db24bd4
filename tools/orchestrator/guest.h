/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands inside a guest: the second table, with two rows, the hypervisor's
 * agent (guest_agent.c) and SSH (guest_ssh.c). guest_open takes the first that
 * answers. Scripts are put as a file, never as an argument; their output is
 * bounded. Keys are files or the SSH agent's, never words of a command line.
 */
#ifndef ORCH_GUEST_H
#define ORCH_GUEST_H

#include "hypervisor.h"

#define GUEST_OUTPUT_BYTES_MAX (1u << 20)

struct guest;

struct guest_address {
    struct hypervisor *hypervisor; /* for the agent; or NULL */
    const char *vm_name;
    const char *ssh_host;        /* "user@host[:port]"; NULL: no SSH */
    unsigned ssh_port;           /* 0: 22 */
    const char *ssh_key;         /* a file; NULL: the SSH agent's */
    const char *ssh_command;     /* NULL: "ssh" */
    const char *ssh_config;      /* a file; NULL: the user's */
    const char *ssh_known_hosts; /* a file; NULL: the user's */
};

struct guest_result {
    int exit_status; /* -1: ended by a signal, or not known */
    char *output;    /* standard output; owned by the caller */
    char *errors;    /* standard error */
};

struct guest_ops {
    const char *name; /* "agent", "ssh" */
    /** Fails where there is no answer within `timeout_seconds`. */
    int (*open)(const struct guest_address *address, unsigned timeout_seconds,
                struct guest **out, struct ds_error *err);
    void (*close)(struct guest *guest);
    /** The guest's system: "linux" or "windows"; lives with the guest. */
    int (*system)(struct guest *, const char **out, struct ds_error *);
    int (*put)(struct guest *, const char *path, const void *data,
               size_t length_bytes, unsigned mode, struct ds_error *);
    /** `arguments` ends with NULL; the first is the program. ETIMEDOUT when
     * it has not ended, EPIPE when the guest has gone meanwhile. */
    int (*run)(struct guest *, const char *const *arguments,
               unsigned timeout_seconds, struct guest_result *out,
               struct ds_error *);
};

struct guest {
    const struct guest_ops *ops;
};

/** Wait up to `timeout_seconds` for any way to answer. */
int guest_open(const struct guest_address *address, unsigned timeout_seconds,
               struct guest **out, struct ds_error *err);
void guest_close(struct guest *guest);
void guest_result_free(struct guest_result *result);

extern const struct guest_ops guest_agent;
extern const struct guest_ops guest_ssh;

#endif
