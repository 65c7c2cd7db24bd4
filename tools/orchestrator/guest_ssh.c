/* SPDX-License-Identifier: Apache-2.0 */
/* Commands by SSH, with the ssh program: its keys, its agent, its known
 * hosts. BatchMode, so that nothing is ever asked of a terminal. */
#include "guest.h"
#include "process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ARGUMENT_COUNT_MAX 24
#define SHORT_SECONDS 30
/* ssh's own failures; a remote command's 255 cannot be told from them. */
#define SSH_FAILED 255

struct ssh {
    struct guest common;
    char *host, *key, *command, *known_hosts;
    unsigned port;
    const char *system;
};

static int run_remote(struct ssh *ssh, const char *command, const char *input,
                      size_t input_bytes, unsigned timeout_seconds,
                      struct process_result *out, struct ds_error *err)
{
    autofree char *port = text_format("%u", ssh->port);
    autofree char *hosts =
        text_format("UserKnownHostsFile=%s",
                    ssh->known_hosts != NULL ? ssh->known_hosts : "");
    const char *arguments[ARGUMENT_COUNT_MAX] = { ssh->command,
                                                  "-o",
                                                  "BatchMode=yes",
                                                  "-o",
                                                  "ConnectTimeout=10",
                                                  "-o",
                                                  "ServerAliveInterval=5",
                                                  "-p",
                                                  port };
    size_t count = 9;
    int result;

    if (ssh->known_hosts != NULL) {
        arguments[count++] = "-o";
        arguments[count++] = hosts;
    }
    if (ssh->key != NULL) {
        arguments[count++] = "-i";
        arguments[count++] = ssh->key;
    }
    arguments[count++] = "--";
    arguments[count++] = ssh->host;
    arguments[count++] = command;
    result = process_run(arguments, input, input_bytes, timeout_seconds,
                         GUEST_OUTPUT_BYTES_MAX, out, err);
    if (result == 0 && out->exit_status == SSH_FAILED) {
        result =
            fail(err, DS_ERR_SYSTEM, "ssh %s: %.300s", ssh->host, out->errors);
        err->system_errno = EHOSTUNREACH;
        process_result_free(out);
    }
    return result;
}

static void ssh_close(struct guest *guest)
{
    struct ssh *ssh = (struct ssh *)guest;

    free(ssh->host);
    free(ssh->key);
    free(ssh->command);
    free(ssh->known_hosts);
    free(ssh);
}

static int ssh_open(const struct guest_address *address,
                    unsigned timeout_seconds, struct guest **out,
                    struct ds_error *err)
{
    struct process_result answer = { 0 };
    struct ssh *ssh;
    int result;

    if (address->ssh_host == NULL)
        return fail(err, DS_ERR_UNSUPPORTED, "%s: no SSH address was given",
                    address->vm_name);
    ssh = need(sizeof(*ssh));
    ssh->common.ops = &guest_ssh;
    ssh->host = text_copy(address->ssh_host);
    ssh->key = text_copy(address->ssh_key);
    ssh->known_hosts = text_copy(address->ssh_known_hosts);
    ssh->command =
        text_copy(address->ssh_command != NULL ? address->ssh_command : "ssh");
    ssh->port = address->ssh_port != 0 ? address->ssh_port : 22;
    result = run_remote(ssh, "echo diskshift", NULL, 0, timeout_seconds + 10,
                        &answer, err);
    if (result == 0 &&
        (answer.exit_status != 0 || !text_begins(answer.output, "diskshift")))
        result =
            fail(err, DS_ERR_REFUSED, "ssh %s: cannot run a command: %.200s",
                 ssh->host, answer.errors);
    process_result_free(&answer);
    if (result != 0)
        ssh_close(&ssh->common);
    else
        *out = &ssh->common;
    return result;
}

static int ssh_system(struct guest *guest, const char **out,
                      struct ds_error *err)
{
    struct ssh *ssh = (struct ssh *)guest;
    struct process_result answer = { 0 };
    int result =
        run_remote(ssh, "uname -s", NULL, 0, SHORT_SECONDS, &answer, err);

    if (result != 0)
        return result;
    /* Windows' OpenSSH has no uname. */
    ssh->system = answer.exit_status == 0 ? "linux" : "windows";
    process_result_free(&answer);
    *out = ssh->system;
    return 0;
}

static int ssh_put(struct guest *guest, const char *path, const void *data,
                   size_t length_bytes, unsigned mode, struct ds_error *err)
{
    struct ssh *ssh = (struct ssh *)guest;
    autofree char *quoted = shell_quote(path);
    autofree char *command = text_format("umask 077 && cat > %s && chmod %o %s",
                                         quoted, mode, quoted);
    struct process_result answer = { 0 };
    int result = run_remote(ssh, command, data, length_bytes, SHORT_SECONDS,
                            &answer, err);

    if (result == 0 && answer.exit_status != 0)
        result = fail(err, DS_ERR_REFUSED, "ssh %s: write %s: %.200s",
                      ssh->host, path, answer.errors);
    process_result_free(&answer);
    return result;
}

static int ssh_run(struct guest *guest, const char *const *arguments,
                   unsigned timeout_seconds, struct guest_result *out,
                   struct ds_error *err)
{
    struct ssh *ssh = (struct ssh *)guest;
    autofree char *command = text_copy("");
    struct process_result answer = { 0 };
    int result;

    *out = (struct guest_result){ .exit_status = -1 };
    for (size_t i = 0; arguments[i] != NULL; i++) {
        autofree char *word = shell_quote(arguments[i]);
        char *longer = text_format("%s%s%s", command, i > 0 ? " " : "", word);

        free(command);
        command = longer;
    }
    result = run_remote(ssh, command, NULL, 0, timeout_seconds, &answer, err);
    if (result != 0)
        return result;
    out->exit_status = answer.exit_status;
    out->output = answer.output;
    out->errors = answer.errors;
    return 0;
}

const struct guest_ops guest_ssh = {
    .name = "ssh",
    .open = ssh_open,
    .close = ssh_close,
    .system = ssh_system,
    .put = ssh_put,
    .run = ssh_run,
};
