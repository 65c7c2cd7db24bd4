/* SPDX-License-Identifier: Apache-2.0 */
#include "powershell.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 76
/* A code unit of UTF-16 for each byte of UTF-8, at most. */
#define UTF16_GROWTH 2
#define ERROR_BYTES 300

static const char bootstrap[] =
    "$ErrorActionPreference = 'Stop'; "
    "& ([ScriptBlock]::Create([Text.Encoding]::UTF8.GetString("
    "[Convert]::FromBase64String(-join @($input)))))";

/* -- words ---------------------------------------------------------------- */

/* U+2018 to U+201B, of which each ends a single-quoted string: E2 80 98..9B. */
static size_t quote_length(const char *at)
{
    if (*at == '\'')
        return 1;
    return strncmp(at, "\xe2\x80", 2) == 0 && (unsigned char)at[2] >= 0x98 &&
                   (unsigned char)at[2] <= 0x9b
               ? 3
               : 0;
}

char *powershell_quote(const char *text)
{
    char *out = need(strlen(text) * 2 + 3), *at = out;

    *at++ = '\'';
    while (*text != '\0') {
        size_t length = quote_length(text);

        if (length > 0)
            at = mempcpy(at, text, length);
        length += length == 0;
        at = mempcpy(at, text, length);
        text += length;
    }
    *at = '\'';
    return out;
}

int powershell_encode(const char *text, char **out, struct ds_error *err)
{
    size_t in_left = strlen(text), left = in_left * UTF16_GROWTH;
    size_t room_bytes = left;
    autofree char *room = need(room_bytes);
    char *in = (char *)text, *at = room;
    iconv_t converter = iconv_open("UTF-16LE", "UTF-8");
    size_t converted;

    if (converter == (iconv_t)-1)
        return fail_errno(err, errno, NULL, "convert to UTF-16");
    converted = iconv(converter, &in, &in_left, &at, &left);
    iconv_close(converter);
    if (converted == (size_t)-1)
        return fail(err, DS_ERR_ARG, "byte %zu is no UTF-8",
                    strlen(text) - in_left);
    *out = base64_encode(room, room_bytes - left);
    return 0;
}

int powershell_command(const char *script, char **out, struct ds_error *err)
{
    autofree char *encoded = NULL;
    int result = powershell_encode(script, &encoded, err);

    if (result == 0)
        *out = text_format("powershell.exe -NoLogo -NoProfile -NonInteractive "
                           "-EncodedCommand %s",
                           encoded);
    return result;
}

char *powershell_input(const void *data, size_t length_bytes)
{
    autofree char *line = base64_encode(data, length_bytes);
    size_t length = strlen(line);
    char *out = need(length + length / LINE_BYTES + 2), *to = out;

    for (size_t at = 0; at < length; at += LINE_BYTES) {
        size_t part = length - at < LINE_BYTES ? length - at : LINE_BYTES;

        to = mempcpy(to, line + at, part);
        *to++ = '\n';
    }
    return out;
}

/* -- the answer ----------------------------------------------------------- */

/* What stands between the two words. A console may have broken the line
 * anywhere. */
static char *cut_answer(const char *output)
{
    static const char begin[] = "diskshift-answer", end[] = "diskshift-end";
    autofree char *joined = need(strlen(output) + 1);
    char *to = joined, *from;

    for (; *output != '\0'; output++)
        if (strchr(" \r\n", *output) == NULL)
            *to++ = *output;
    from = strstr(joined, begin);
    to = from != NULL ? strstr(from, end) : NULL;
    if (to == NULL)
        return NULL;
    *to = '\0';
    return text_copy(from + strlen(begin));
}

static int read_answer(const struct ssh_host *host, struct process_result *done,
                       json_t **answer, struct ds_error *err)
{
    autofree char *base64 = cut_answer(done->output), *text = NULL;
    json_error_t why = { .text = "no base64" };
    size_t length = 0;

    if (base64 == NULL)
        return fail(err, DS_ERR_CORRUPT,
                    "%s: PowerShell has not answered (exit status %d): %.*s",
                    host->host, done->exit_status, ERROR_BYTES,
                    done->errors[0] != '\0' ? done->errors : "nothing said");
    text = base64_decode(base64, &length);
    if (text != NULL)
        *answer = json_loadb(text, length, 0, &why);
    return *answer != NULL ? 0
                           : fail(err, DS_ERR_CORRUPT,
                                  "%s: PowerShell's answer is no JSON: %s",
                                  host->host, why.text);
}

/* -- the whole ------------------------------------------------------------ */

int powershell_run(const struct ssh_host *host, const char *script,
                   unsigned timeout_seconds, json_t **answer,
                   struct ds_error *err)
{
    autofree char *command = NULL, *input = NULL;
    struct process_result done = { 0 };
    int result = powershell_command(bootstrap, &command, err);

    if (result != 0)
        return result;
    input = powershell_input(script, strlen(script));
    result = ssh_run(host, command, input, strlen(input), timeout_seconds,
                     POWERSHELL_OUTPUT_BYTES_MAX, &done, err);
    if (result != 0)
        return result;
    result = read_answer(host, &done, answer, err);
    process_result_free(&done);
    return result;
}
