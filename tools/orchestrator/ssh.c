/* SPDX-License-Identifier: Apache-2.0 */
#include "ssh.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* ssh's own failures. */
#define SSH_FAILED 255
#define ARGUMENT_COUNT_MAX 40
#define ERROR_BYTES 300
/* What ssh has its own side print, before any output of the command, when it
 * is in: then a failure is no refusal but a connection that was cut. */
#define CONNECTED "connected-by-diskshift"

static bool all_of(const char *text, const char *besides)
{
    for (; *text != '\0'; text++)
        if (!isalnum((unsigned char)*text) && strchr(besides, *text) == NULL)
            return false;
    return true;
}

static bool parse_port(const char *text, unsigned *out)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);

    *out = (unsigned)port;
    return isdigit((unsigned char)*text) && *end == '\0' && port > 0 &&
           port <= 65535;
}

/* Cuts "[::1]:22" or "host:22" apart; "fe80::1" is whole. */
static bool split_port(char *text, char **host, unsigned *port)
{
    char *end = text[0] == '[' ? strchr(text, ']') : NULL;
    char *colon = strchr(end != NULL ? end : text, ':');

    *host = text + (text[0] == '[');
    if (text[0] == '[' && (end == NULL || (end[1] != '\0' && end[1] != ':')))
        return false;
    if (end != NULL)
        *end = '\0';
    if (colon == NULL || strchr(colon + 1, ':') != NULL)
        return true;
    *colon = '\0';
    return parse_port(colon + 1, port);
}

bool ssh_host_parse(const char *text, const struct hypervisor_login *login,
                    struct ssh_host *out)
{
    autofree char *authority = strndup(text, strcspn(text, "/?"));
    char *at = authority != NULL ? strrchr(authority, '@') : NULL;
    char *host = NULL;

    *out = (struct ssh_host){ 0 };
    if (authority == NULL)
        return false;
    if (at != NULL) {
        *at = '\0';
        out->user = text_copy(authority);
    }
    if (!split_port(at != NULL ? at + 1 : authority, &host, &out->port))
        return false;
    out->host = text_copy(host);
    out->command = text_copy(login != NULL && login->ssh_command != NULL
                                 ? login->ssh_command
                                 : "ssh");
    out->key = text_copy(login != NULL ? login->ssh_key : NULL);
    out->config = text_copy(login != NULL ? login->ssh_config : NULL);
    return host[0] != '\0' && host[0] != '-' && all_of(host, ".-_:") &&
           (out->user == NULL || (out->user[0] != '\0' && out->user[0] != '-' &&
                                  all_of(out->user, ".-_\\+@")));
}

void ssh_host_free(struct ssh_host *host)
{
    free(host->user);
    free(host->host);
    free(host->command);
    free(host->key);
    free(host->config);
    free(host->known_hosts);
    *host = (struct ssh_host){ 0 };
}

static void list_arguments(const struct ssh_host *host, const char *port,
                           const char *known_hosts, const char *command,
                           const char **arguments)
{
    static const char *const options[] = {
        "-T",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "ConnectTimeout=15",
        "-o",
        "ServerAliveInterval=10",
        "-o",
        "ServerAliveCountMax=6",
        "-o",
        "PermitLocalCommand=yes",
        "-o",
        "LocalCommand=echo " CONNECTED,
    };
    size_t count = 0;

    arguments[count++] = host->command;
    for (size_t i = 0; i < ARRAY_COUNT(options); i++)
        arguments[count++] = options[i];
    if (host->config != NULL) {
        arguments[count++] = "-F";
        arguments[count++] = host->config;
    }
    if (host->key != NULL) {
        arguments[count++] = "-o";
        arguments[count++] = "IdentitiesOnly=yes";
        arguments[count++] = "-i";
        arguments[count++] = host->key;
    }
    if (host->known_hosts != NULL) {
        arguments[count++] = "-o";
        arguments[count++] = known_hosts;
    }
    if (host->port != 0) {
        arguments[count++] = "-p";
        arguments[count++] = port;
    }
    if (host->user != NULL) {
        arguments[count++] = "-l";
        arguments[count++] = host->user;
    }
    arguments[count++] = "--";
    arguments[count++] = host->host;
    arguments[count++] = command;
    arguments[count] = NULL;
}

void make_plain(char *text)
{
    for (; text != NULL && *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
}

/* Whether that line is there; it is removed. */
static bool take_connected(char *output)
{
    size_t length = strlen(CONNECTED);

    if (!text_begins(output, CONNECTED) || output[length] != '\n')
        return false;
    memmove(output, output + length + 1, strlen(output + length));
    return true;
}

int ssh_run(const struct ssh_host *host, const char *command, const char *input,
            size_t input_bytes, unsigned timeout_seconds,
            size_t output_bytes_max, struct process_result *out,
            struct ds_error *err)
{
    const char *arguments[ARGUMENT_COUNT_MAX];
    autofree char *port = text_format("%u", host->port);
    autofree char *known_hosts =
        text_format("UserKnownHostsFile=%s",
                    host->known_hosts != NULL ? host->known_hosts : "");
    bool connected;
    int result;

    list_arguments(host, port, known_hosts, command, arguments);
    result = process_run(arguments, input, input_bytes, timeout_seconds,
                         output_bytes_max + strlen(CONNECTED "\n"), out, err);
    if (result != 0)
        return result;
    connected = take_connected(out->output);
    if (strlen(out->errors) > output_bytes_max)
        out->errors[output_bytes_max] = '\0';
    make_plain(out->errors);
    if (out->exit_status != SSH_FAILED)
        return 0;
    fail(err, DS_ERR_SYSTEM, "ssh %s: %s%.*s", host->host,
         connected ? "the connection was lost: " : "", ERROR_BYTES,
         out->errors);
    if (err != NULL)
        err->system_errno = connected ? EPIPE : EHOSTUNREACH;
    process_result_free(out);
    return -DS_ERR_SYSTEM;
}
