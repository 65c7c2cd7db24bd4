/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands in a guest by SSH, in the words of its own shell: sh, or PowerShell,
 * whatever Windows' SSH server starts to begin with. Which it is, is asked
 * once.
 */
#include "guest.h"
#include "powershell.h"
#include "ssh.h"

#include <string.h>

#define SHORT_SECONDS 30
#define SSH_PORT 22

struct ssh {
    struct guest common;
    struct ssh_host host;
    const char *system; /* NULL: not asked yet */
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

static bool is_windows(const struct ssh *ssh)
{
    return strcmp(ssh->system, "windows") == 0;
}

/* Windows' OpenSSH has no uname, or one of Cygwin's kin: MINGW64_NT-10.0. */
static int find_system(struct ssh *ssh, struct ds_error *err)
{
    struct process_result answer = { 0 };
    int result = 0;

    if (ssh->system == NULL)
        result =
            run_remote(ssh, "uname -s", NULL, 0, SHORT_SECONDS, &answer, err);
    if (result == 0 && ssh->system == NULL)
        ssh->system =
            answer.exit_status == 0 && strstr(answer.output, "_NT") == NULL
                ? "linux"
                : "windows";
    process_result_free(&answer);
    return result;
}

static int get_system(struct guest *guest, const char **out,
                      struct ds_error *err)
{
    struct ssh *ssh = (struct ssh *)guest;
    int result = find_system(ssh, err);

    *out = ssh->system;
    return result;
}

/* -- a file: always a new one, since others may write where it goes -------- */

static char *put_by_sh(const char *path, unsigned mode)
{
    autofree char *quoted = shell_quote(path);

    return text_format("umask 077 && rm -f %s && set -C && cat > %s && "
                       "chmod %o %s",
                       quoted, quoted, mode, quoted);
}

static int put_by_powershell(const char *path, char **out, struct ds_error *err)
{
    autofree char *quoted = powershell_quote(path);
    autofree char *script = text_format(
        "$ErrorActionPreference = 'Stop'; $path = %s; "
        "$bytes = [Convert]::FromBase64String(-join @($input)); "
        "if (Test-Path -LiteralPath $path) "
        "{ Remove-Item -LiteralPath $path -Force }; "
        "$file = [IO.File]::Open($path, 'CreateNew', 'Write', 'None'); "
        "try { $file.Write($bytes, 0, $bytes.Length) } "
        "finally { $file.Dispose() }",
        quoted);

    return powershell_command(script, out, err);
}

static int put(struct guest *guest, const char *path, const void *data,
               size_t length_bytes, unsigned mode, struct ds_error *err)
{
    struct ssh *ssh = (struct ssh *)guest;
    autofree char *command = NULL, *lines = NULL;
    struct process_result answer = { 0 };
    int result = find_system(ssh, err);

    if (result == 0 && is_windows(ssh)) {
        lines = powershell_input(data, length_bytes);
        result = put_by_powershell(path, &command, err);
    } else if (result == 0) {
        command = put_by_sh(path, mode);
    }
    if (result == 0)
        result = run_remote(ssh, command, lines != NULL ? lines : data,
                            lines != NULL ? strlen(lines) : length_bytes,
                            SHORT_SECONDS, &answer, err);
    if (result == 0 && answer.exit_status != 0)
        result = fail(err, DS_ERR_REFUSED, "ssh %s: write %s: %.200s",
                      ssh->host.host, path, answer.errors);
    process_result_free(&answer);
    return result;
}

/* -- a command ------------------------------------------------------------- */

static char *joined(const char *const *arguments,
                    char *(*quote)(const char *text))
{
    char *command = text_copy("");

    for (size_t i = 0; arguments[i] != NULL; i++) {
        autofree char *word = quote(arguments[i]);
        char *longer = text_format("%s%s%s", command, i > 0 ? " " : "", word);

        free(command);
        command = longer;
    }
    return command;
}

static int run_by_powershell(const char *const *arguments, char **out,
                             struct ds_error *err)
{
    autofree char *words = joined(arguments, powershell_quote);
    autofree char *script = text_format("$ErrorActionPreference = 'Stop'; "
                                        "& %s; exit $LASTEXITCODE",
                                        words);

    return powershell_command(script, out, err);
}

static int run(struct guest *guest, const char *const *arguments,
               unsigned timeout_seconds, struct guest_result *out,
               struct ds_error *err)
{
    struct ssh *ssh = (struct ssh *)guest;
    autofree char *command = NULL;
    struct process_result answer = { 0 };
    int result = find_system(ssh, err);

    *out = (struct guest_result){ .exit_status = -1 };
    if (result == 0 && is_windows(ssh))
        result = run_by_powershell(arguments, &command, err);
    else if (result == 0)
        command = joined(arguments, shell_quote);
    if (result == 0)
        result =
            run_remote(ssh, command, NULL, 0, timeout_seconds, &answer, err);
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
