/* SPDX-License-Identifier: Apache-2.0 */
#include "vmx.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ENCODING_NAME_BYTES 32
/* What one byte of any encoding becomes in UTF-8, at most. */
#define UTF8_GROWTH 4

/* -- encoding ------------------------------------------------------------- */

/* The value of the line `.encoding`, which is ASCII in every encoding that
 * VMware writes. False when there is none. */
static bool named_encoding(const char *text, size_t length_bytes,
                           char name[ENCODING_NAME_BYTES])
{
    const char *end = text + length_bytes;

    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((newline != NULL ? newline : end) - text);
        autofree char *line = strndup(text, length);

        if (line != NULL &&
            sscanf(line, " .encoding = \"%31[A-Za-z0-9._-]\"", name) == 1)
            return true;
        text += length + 1;
    }
    return false;
}

static int to_utf8(const char *text, size_t length_bytes, char **out,
                   size_t *out_bytes, struct ds_error *err)
{
    char name[ENCODING_NAME_BYTES] = "UTF-8";
    char *in = (char *)text, *at;
    size_t in_left = length_bytes, left = length_bytes * UTF8_GROWTH;
    autofree char *room = need(left + 1);
    iconv_t converter;
    size_t converted;

    if (!named_encoding(text, length_bytes, name))
        snprintf(name, sizeof(name), "UTF-8");
    converter = iconv_open("UTF-8", name);
    if (converter == (iconv_t)-1)
        return fail(err, DS_ERR_UNSUPPORTED, "vmx: encoding %s is not known",
                    name);
    at = room;
    converted = iconv(converter, &in, &in_left, &at, &left);
    iconv_close(converter);
    if (converted == (size_t)-1)
        return fail(err, DS_ERR_CORRUPT, "vmx: byte %zu is no %s",
                    length_bytes - in_left, name);
    *out_bytes = (size_t)(at - room);
    *out = steal(&room);
    return 0;
}

/* -- lines ---------------------------------------------------------------- */

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* |XX in place. */
static int unescape(char *value, unsigned line, struct ds_error *err)
{
    char *to = value;

    for (const char *at = value; *at != '\0'; at++) {
        int high, low;

        if (*at != '|') {
            *to++ = *at;
            continue;
        }
        high = hex_digit(at[1]);
        low = high >= 0 ? hex_digit(at[2]) : -1;
        if (low < 0 || high * 16 + low == 0)
            return fail(err, DS_ERR_CORRUPT,
                        "vmx: line %u: have %.3s expect | and two hexadecimal "
                        "digits, not 00",
                        line, at);
        *to++ = (char)(high * 16 + low);
        at += 2;
    }
    *to = '\0';
    return 0;
}

static char *skip_blanks(char *text)
{
    return text + strspn(text, " \t");
}

/* `at` is behind the '='. Ends the value with '\0' and returns it. */
static int take_value(char *at, unsigned line, char **value,
                      struct ds_error *err)
{
    char *end;

    at = skip_blanks(at);
    if (*at != '"') {
        *value = at;
        end = at + strlen(at);
        while (end > at && strchr(" \t\r", end[-1]) != NULL)
            *--end = '\0';
        return 0;
    }
    *value = at + 1;
    end = strchr(at + 1, '"');
    if (end == NULL)
        return fail(err, DS_ERR_CORRUPT, "vmx: line %u: \" is never closed",
                    line);
    *end = '\0';
    at = end + 1 + strspn(end + 1, " \t\r");
    return *at == '\0' || *at == '#'
               ? 0
               : fail(err, DS_ERR_CORRUPT,
                      "vmx: line %u: have %.20s behind the value expect "
                      "nothing",
                      line, at);
}

static bool is_utf8(const char *text)
{
    autojson json_t *value = json_string(text);

    return value != NULL;
}

static int take_line(struct vmx *vmx, char *text, unsigned line,
                     struct ds_error *err)
{
    char *key = skip_blanks(text), *value, *equals = strchr(key, '=');
    size_t length = strcspn(key, " \t\r=");
    int result;

    if (key[strspn(key, " \t\r")] == '\0' || *key == '#')
        return 0;
    if (equals == NULL || length == 0 || skip_blanks(key + length) != equals)
        return fail(err, DS_ERR_CORRUPT,
                    "vmx: line %u: have %.40s expect key = \"value\"", line,
                    key);
    result = take_value(equals + 1, line, &value, err);
    if (result == 0)
        result = unescape(value, line, err);
    if (result != 0)
        return result;
    if (!is_utf8(value))
        return fail(err, DS_ERR_CORRUPT, "vmx: line %u: value is no UTF-8",
                    line);
    key[length] = '\0';
    vmx->entries[vmx->count++] = (struct vmx_entry){ .key = text_copy(key),
                                                     .value = text_copy(value),
                                                     .line = line };
    return 0;
}

static int compare_entries(const void *left, const void *right)
{
    const struct vmx_entry *one = left, *other = right;
    int order = strcasecmp(one->key, other->key);

    return order != 0 ? order
                      : (one->line > other->line) - (one->line < other->line);
}

static int check_twice(const struct vmx *vmx, struct ds_error *err)
{
    for (size_t i = 1; i < vmx->count; i++)
        if (strcasecmp(vmx->entries[i - 1].key, vmx->entries[i].key) == 0)
            return fail(err, DS_ERR_CORRUPT,
                        "vmx: line %u: %.60s was given in line %u already",
                        vmx->entries[i].line, vmx->entries[i].key,
                        vmx->entries[i - 1].line);
    return 0;
}

static int take_lines(struct vmx *vmx, char *text, struct ds_error *err)
{
    unsigned line = 0;
    int result = 0;

    while (text != NULL && result == 0) {
        char *newline = strchr(text, '\n');

        if (newline != NULL)
            *newline = '\0';
        if (++line > VMX_LINE_COUNT_MAX)
            return fail(err, DS_ERR_LIMIT, "vmx: more than %d lines",
                        VMX_LINE_COUNT_MAX);
        if (vmx->count % 64 == 0)
            vmx->entries = need_more(vmx->entries,
                                     (vmx->count + 64) * sizeof(*vmx->entries));
        result = take_line(vmx, text, line, err);
        text = newline != NULL ? newline + 1 : NULL;
    }
    return result;
}

int vmx_parse(const char *text, size_t length_bytes, struct vmx *out,
              struct ds_error *err)
{
    static const char order_mark[] = "\xef\xbb\xbf";
    autofree char *utf8 = NULL;
    autovmx struct vmx vmx = { 0 };
    size_t bytes = 0;
    int result = to_utf8(text, length_bytes, &utf8, &bytes, err);

    if (result == 0 && strlen(utf8) != bytes)
        result = fail(err, DS_ERR_CORRUPT, "vmx: byte %zu is 0", strlen(utf8));
    if (result == 0)
        result = take_lines(
            &vmx, utf8 + (text_begins(utf8, order_mark) ? 3 : 0), err);
    if (result != 0)
        return result;
    if (vmx.count > 0)
        qsort(vmx.entries, vmx.count, sizeof(*vmx.entries), compare_entries);
    result = check_twice(&vmx, err);
    if (result != 0)
        return result;
    *out = vmx;
    vmx = (struct vmx){ 0 };
    return 0;
}

void vmx_free(struct vmx *vmx)
{
    for (size_t i = 0; i < vmx->count; i++) {
        free(vmx->entries[i].key);
        free(vmx->entries[i].value);
    }
    free(vmx->entries);
    *vmx = (struct vmx){ 0 };
}

/* -- looking up ----------------------------------------------------------- */

static int compare_key(const void *key, const void *entry)
{
    return strcasecmp(key, ((const struct vmx_entry *)entry)->key);
}

const struct vmx_entry *vmx_find(const struct vmx *vmx, const char *key)
{
    return vmx->count == 0 ? NULL
                           : bsearch(key, vmx->entries, vmx->count,
                                     sizeof(*vmx->entries), compare_key);
}

PRINTF_LIKE(2, 0)
static const char *get(const struct vmx *vmx, const char *format,
                       va_list arguments)
{
    autofree char *key = text_vformat(format, arguments);
    const struct vmx_entry *entry = vmx_find(vmx, key);

    return entry != NULL ? entry->value : NULL;
}

const char *vmx_get(const struct vmx *vmx, const char *format, ...)
{
    va_list arguments;
    const char *value;

    va_start(arguments, format);
    value = get(vmx, format, arguments);
    va_end(arguments);
    return value;
}

bool vmx_true(const struct vmx *vmx, const char *format, ...)
{
    va_list arguments;
    const char *value;

    va_start(arguments, format);
    value = get(vmx, format, arguments);
    va_end(arguments);
    return value != NULL && strcasecmp(value, "true") == 0;
}

/* -- words ---------------------------------------------------------------- */

static const char *const controllers[][2] = {
    { "buslogic", "buslogic" },
    { "lsilogic", "lsilogic" },
    { "lsisas1068", "lsisas1068" },
    { "pvscsi", "vmpvscsi" },
};

const char *vmx_controller_from(const char *vmware)
{
    for (size_t i = 0; i < ARRAY_COUNT(controllers); i++)
        if (strcasecmp(controllers[i][0], vmware) == 0)
            return controllers[i][1];
    return NULL;
}

const char *vmx_controller_to(const char *libvirt)
{
    for (size_t i = 0; i < ARRAY_COUNT(controllers); i++)
        if (strcmp(controllers[i][1], libvirt) == 0)
            return controllers[i][0];
    return NULL;
}
