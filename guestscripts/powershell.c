/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PowerShell. Four characters end a single-quoted string and three (besides
 * the typewriter's) a double-quoted one, so all of them are followed, and
 * doubled in literals.
 */
#include "language.h"

#include <string.h>

enum {
    IN_SINGLE = '\'',
    IN_DOUBLE = '"',
    IN_HERE_SINGLE = 's',
    IN_HERE_DOUBLE = 'd',
    IN_COMMENT = '#', /* <# ... #> */
    IN_PARENTHESES = '('
};

/* Length in bytes of a quote at `at`, or 0. U+2018..201B are single,
 * U+201C..201E double quotes: E2 80 98..9E. */
static size_t quote_length(const char *at, const char *end, bool is_double)
{
    unsigned char last;

    if (at < end && *at == (is_double ? '"' : '\''))
        return 1;
    if (end - at < 3 || memcmp(at, "\xe2\x80", 2) != 0)
        return 0;
    last = (unsigned char)at[2];
    return is_double ? (last >= 0x9c && last <= 0x9e ? 3 : 0)
                     : (last >= 0x98 && last <= 0x9b ? 3 : 0);
}

static bool begins_token(char before)
{
    return before == '\n' || strchr(" \t\r;{}()|&,=", before) != NULL;
}

static bool in_code(const struct gs_scan *scan)
{
    char top = gs_scan_top(scan);

    return top == '\0' || top == IN_PARENTHESES;
}

/* "@'" with nothing but blanks after it: a here-string begins at the next
 * line. Its length in bytes, or 0. */
static size_t here_string(const struct gs_scan *scan, bool is_double)
{
    const char *at = scan->at + 1;
    size_t length =
        *scan->at == '@' ? quote_length(at, scan->end, is_double) : 0;

    if (length == 0)
        return 0;
    for (at += length; at < scan->end && strchr(" \t\r", *at) != NULL;)
        at++;
    return at < scan->end && *at == '\n' ? (size_t)(at - scan->at) : 0;
}

static void code_character(struct gs_scan *scan, char before)
{
    size_t length;

    if ((length = here_string(scan, false)) > 0) {
        gs_scan_push(scan, IN_HERE_SINGLE);
    } else if ((length = here_string(scan, true)) > 0) {
        gs_scan_push(scan, IN_HERE_DOUBLE);
    } else if ((length = quote_length(scan->at, scan->end, false)) > 0) {
        gs_scan_push(scan, IN_SINGLE);
    } else if ((length = quote_length(scan->at, scan->end, true)) > 0) {
        gs_scan_push(scan, IN_DOUBLE);
    } else if (*scan->at == '`' && scan->end - scan->at > 1 &&
               scan->at[1] != '\n') {
        length = 2;
    } else if (*scan->at == '<' && scan->end - scan->at > 1 &&
               scan->at[1] == '#') {
        gs_scan_push(scan, IN_COMMENT);
        length = 2;
    } else if (*scan->at == '#' && begins_token(before)) {
        const char *newline =
            memchr(scan->at, '\n', (size_t)(scan->end - scan->at));

        length = (size_t)((newline != NULL ? newline : scan->end) - scan->at);
    } else {
        if (*scan->at == '(')
            gs_scan_push(scan, IN_PARENTHESES);
        else if (*scan->at == ')')
            gs_scan_pop(scan);
        length = 1;
    }
    scan->at += length;
}

static void string_character(struct gs_scan *scan, bool is_double)
{
    size_t length = quote_length(scan->at, scan->end, is_double);

    if (length > 0 &&
        quote_length(scan->at + length, scan->end, is_double) > 0) {
        length += quote_length(scan->at + length, scan->end, is_double);
    } else if (length > 0) {
        gs_scan_pop(scan);
    } else if (is_double && *scan->at == '`' && scan->end - scan->at > 1 &&
               scan->at[1] != '\n') {
        length = 2;
    } else if (is_double && *scan->at == '$' && scan->end - scan->at > 1 &&
               scan->at[1] == '(') {
        gs_scan_push(scan, IN_PARENTHESES);
        length = 2;
    } else {
        length = 1;
    }
    scan->at += length;
}

/* At the first character of a line, or within one. */
static void here_character(struct gs_scan *scan, char before, bool is_double)
{
    size_t length =
        before == '\n' ? quote_length(scan->at, scan->end, is_double) : 0;

    if (length > 0 && scan->at + length < scan->end &&
        scan->at[length] == '@') {
        gs_scan_pop(scan);
        scan->at += length + 1;
        return;
    }
    scan->at++;
}

static void character(struct gs_scan *scan, char before)
{
    switch (gs_scan_top(scan)) {
    case IN_SINGLE:
        string_character(scan, false);
        break;
    case IN_DOUBLE:
        string_character(scan, true);
        break;
    case IN_HERE_SINGLE:
        here_character(scan, before, false);
        break;
    case IN_HERE_DOUBLE:
        here_character(scan, before, true);
        break;
    case IN_COMMENT:
        if (scan->end - scan->at > 1 && memcmp(scan->at, "#>", 2) == 0) {
            gs_scan_pop(scan);
            scan->at++;
        }
        scan->at++;
        break;
    default:
        code_character(scan, before);
    }
}

static size_t scan_powershell(const char *text, size_t length_bytes, bool *code,
                              size_t *line)
{
    struct gs_scan scan = { .at = text,
                            .end = text + length_bytes,
                            .code = code };

    if (length_bytes > 0)
        gs_scan_line(&scan, true);
    while (scan.at < scan.end && !scan.too_deep) {
        if (*scan.at != '\n') {
            character(&scan, scan.at > text ? scan.at[-1] : '\n');
        } else {
            scan.at++;
            if (scan.at < scan.end)
                gs_scan_line(&scan, in_code(&scan) && (scan.at - text < 2 ||
                                                       scan.at[-2] != '`'));
        }
    }
    return gs_scan_end(&scan, line);
}

static void quote_bytes(struct gs_text *out, const char *value,
                        size_t length_bytes)
{
    const char *end = value + length_bytes;

    gs_text_puts(out, "'");
    while (value < end) {
        size_t length = quote_length(value, end, false);

        gs_text_add(out, value, length > 0 ? length : 1);
        if (length > 0)
            gs_text_add(out, value, length);
        value += length > 0 ? length : 1;
    }
    gs_text_puts(out, "'");
}

static void quote_powershell(struct gs_text *out, const char *value)
{
    quote_bytes(out, value, strlen(value));
}

static void definition(struct gs_text *out, const char *name)
{
    gs_text_puts(out, "function element_");
    for (; *name != '\0'; name++)
        gs_text_add(out, *name == '-' ? "_" : name, 1);
}

static void steps_begin(struct gs_text *out, const char *phase)
{
    gs_text_printf(out, "\nfunction steps_%s {\n", phase);
}

static void steps_call(struct gs_text *out, const char *name)
{
    gs_text_printf(out, "    Invoke-Step '%s'\n", name);
}

static void steps_end(struct gs_text *out, bool empty)
{
    (void)empty;
    gs_text_puts(out, "}\n");
}

static void carry(struct gs_text *out, const char *text, size_t length_bytes)
{
    gs_text_puts(out, "\n$SecondText = ");
    quote_bytes(out, text, length_bytes);
    gs_text_puts(out, "\n");
}

const struct gs_language gs_powershell = {
    .guest = "windows",
    .suffix = ".ps1",
    .opening = "\xef\xbb\xbf", /* a byte order mark */
    .sigil = "$",
    .blanks_around_equals = true,
    .scan = scan_powershell,
    .quote = quote_powershell,
    .definition = definition,
    .steps_begin = steps_begin,
    .steps_call = steps_call,
    .steps_end = steps_end,
    .carry = carry,
};
