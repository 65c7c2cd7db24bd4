/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in a guest by SSH. */
#include "guest.h"
#include "ssh.h"

#include <string.h>

#define SHORT_SECONDS 30
#define SSH_PORT 22

struct ssh {
    struct guest common;
    struct ssh_host host;
    const char *system;
};

static int run_remote(struct ssh *ssh, const char *command, const char *input,
                      size_t input_bytes, unsigned timeout_seconds,
                      struct process_result *out, struct ds_error *err)
{
    return ssh_run(&ssh->host, command, input, input_bytes, timeout_seconds,
                   GUEST_OUTPUT_BYTES_MAX, out, err);
}

static void close_ssh(struct guest *guest)
{
    struct ssh *ssh = (struct ssh *)guest;

    ssh_host_free(&ssh->host);
    free(ssh);
}

static int find_host(const struct guest_address *address, struct ssh_host *out,
                     struct ds_error *err)
{
    const struct hypervisor_login login = {
        .ssh_key = address->ssh_key,
        .ssh_config = address->ssh_config,
        .ssh_command = address->ssh_command,
    };

    if (!ssh_host_parse(address->ssh_host, &login, out))
        return fail(err, DS_ERR_ARG, "ssh: have %s expect [USER@]HOST[:PORT]",
                    address->ssh_host);
    text_set(&out->known_hosts, address->ssh_known_hosts);
    if (out->port == 0)
        out->port = address->ssh_port != 0 ? address->ssh_port : SSH_PORT;
    return 0;
}

static int open_ssh(const struct guest_address *address,
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
    result = find_host(address, &ssh->host, err);
    if (result == 0)
        result = run_remote(ssh, "echo diskshift", NULL, 0,
                            timeout_seconds + 10, &answer, err);
    if (result == 0 &&
        (answer.exit_status != 0 || !text_begins(answer.output, "diskshift")))
        result =
            fail(err, DS_ERR_REFUSED, "ssh %s: cannot run a command: %.200s",
                 ssh->host.host, answer.errors);
    process_result_free(&answer);
    if (result != 0)
        close_ssh(&ssh->common);
    else
        *out = &ssh->common;
    return result;
}

static int get_system(struct guest *guest, const char **out,
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

static int put(struct guest *guest, const char *path, const void *data,
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
                      ssh->host.host, path, answer.errors);
    process_result_free(&answer);
    return result;
}

static int run(struct guest *guest, const char *const *arguments,
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
    .open = open_ssh,
    .close = close_ssh,
    .system = get_system,
    .put = put,
    .run = run,
};
