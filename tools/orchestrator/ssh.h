/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on a hypervisor's host or in a guest, with the ssh program: its
 * keys, its agent, its configuration. Nothing is ever asked of a terminal, and
 * a host whose key is not known is refused. */
#ifndef ORCH_SSH_H
#define ORCH_SSH_H

#include "hypervisor.h"
#include "process.h"

/** Where to; it owns its texts. */
struct ssh_host {
    char *user; /* or NULL */
    char *host;
    unsigned port;     /* 0: ssh's own */
    char *command;     /* "ssh" */
    char *key;         /* a file; NULL: the agent's, the user's */
    char *config;      /* a file; NULL: the user's */
    char *known_hosts; /* a file; NULL: the user's */
};

/** [user@]host[:port][/...], IPv6 in brackets where a port follows: false when
 * it is none, or when ssh could take a part of it for an option. `login` may be
 * NULL. */
bool ssh_host_parse(const char *text, const struct hypervisor_login *login,
                    struct ssh_host *out);
void ssh_host_free(struct ssh_host *host);

/** Run `command` there, as process_run does. Errors of the command are its exit
 * status. Where ssh itself failed, with its words: SYSTEM with EHOSTUNREACH
 * when it did not get in, with EPIPE when it did, and the connection was lost
 * under the command; a command that ends with 255 cannot be told from that. */
int ssh_run(const struct ssh_host *host, const char *command, const char *input,
            size_t input_bytes, unsigned timeout_seconds,
            size_t output_bytes_max, struct process_result *out,
            struct ds_error *err);

/** Control characters, which a terminal obeys, become blanks. */
void make_plain(char *text);

#endif
