/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX sh. The scanner is no parser: it follows quotes, here-documents,
 * expansions and comments as far as they decide whether a line begins in code.
 * Where it could be led astray (a `)` that a case pattern leaves over) it
 * knows `case` and `esac`; what it cannot balance is an error, never a guess.
 */
#include "language.h"

#include <stdio.h>
#include <string.h>

/* Contexts. Code are the bottom, '(' and 'c'. */
enum {
    IN_SINGLE = '\'',
    IN_DOUBLE = '"',
    IN_BACKTICK = '`',
    IN_BRACES = '{', /* ${...} */
    IN_PARENTHESES = '(',
    IN_CASE = 'c'
};

#define DOCUMENT_COUNT_MAX 8
#define DOCUMENT_WORD_MAX 64

/* Here-documents that were announced on this line and begin at the next. */
struct documents {
    struct {
        char word[DOCUMENT_WORD_MAX];
        size_t length;
        bool tabs; /* <<- */
    } list[DOCUMENT_COUNT_MAX];
    size_t count;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool ends_word(char c)
{
    return is_blank(c) || c == '\n' || strchr(";&|()<>", c) != NULL;
}

static bool in_code(const struct gs_scan *scan)
{
    char top = gs_scan_top(scan);

    return top == '\0' || top == IN_PARENTHESES || top == IN_CASE;
}

/* At `word`, as a word of its own. `before` ends the word before it. */
static bool at_word(const struct gs_scan *scan, char before, const char *word)
{
    size_t length = strlen(word);

    return ends_word(before) && (size_t)(scan->end - scan->at) >= length &&
           strncmp(scan->at, word, length) == 0 &&
           (scan->at + length == scan->end || ends_word(scan->at[length]));
}

/* At "<<": notes the document's end. False when there is no room for it. */
static bool announce(struct gs_scan *scan, struct documents *documents)
{
    size_t index = documents->count;

    scan->at += 2;
    if (scan->at < scan->end && *scan->at == '<') { /* <<<: not POSIX */
        scan->at++;
        return true;
    }
    if (index == DOCUMENT_COUNT_MAX)
        return false;
    documents->list[index].length = 0;
    documents->list[index].tabs = scan->at < scan->end && *scan->at == '-';
    scan->at += documents->list[index].tabs;
    while (scan->at < scan->end && is_blank(*scan->at))
        scan->at++;
    for (; scan->at < scan->end && !ends_word(*scan->at); scan->at++) {
        if (strchr("'\"\\", *scan->at) != NULL)
            continue;
        if (documents->list[index].length == DOCUMENT_WORD_MAX)
            return false;
        documents->list[index].word[documents->list[index].length++] =
            *scan->at;
    }
    documents->count++;
    return documents->list[index].length > 0;
}

/* At the first line of the documents: goes behind their ends. */
static bool skip_documents(struct gs_scan *scan, struct documents *documents)
{
    size_t opened = scan->line;

    for (size_t i = 0; i < documents->count;) {
        const char *line = scan->at;
        const char *newline =
            memchr(scan->at, '\n', (size_t)(scan->end - scan->at));
        const char *stop = newline != NULL ? newline : scan->end;

        if (scan->at == scan->end) {
            gs_scan_push(scan, 'd');
            scan->stack[scan->depth - 1].line = opened - 1;
            return false;
        }
        while (documents->list[i].tabs && line < stop && *line == '\t')
            line++;
        if ((size_t)(stop - line) == documents->list[i].length &&
            memcmp(line, documents->list[i].word, (size_t)(stop - line)) == 0)
            i++;
        gs_scan_line(scan, false);
        scan->at = newline != NULL ? newline + 1 : scan->end;
    }
    documents->count = 0;
    return true;
}

/* `$` opens what it stands before. */
static void expansion(struct gs_scan *scan)
{
    char next = scan->at + 1 < scan->end ? scan->at[1] : '\0';

    if (next == '(')
        gs_scan_push(scan, IN_PARENTHESES);
    else if (next == '{')
        gs_scan_push(scan, IN_BRACES);
    scan->at += next == '(' || next == '{' ? 2 : 1;
}

/* A character that means the same in code, braces and double quotes. */
static bool common_character(struct gs_scan *scan)
{
    switch (*scan->at) {
    case '\\':
        scan->at++;
        if (scan->at < scan->end && *scan->at != '\n')
            scan->at++;
        return true;
    case '$':
        expansion(scan);
        return true;
    case '`':
        if (gs_scan_top(scan) == IN_BACKTICK)
            gs_scan_pop(scan);
        else
            gs_scan_push(scan, IN_BACKTICK);
        scan->at++;
        return true;
    default:
        return false;
    }
}

static void quoted(struct gs_scan *scan)
{
    char top = gs_scan_top(scan);

    if (top == IN_SINGLE) {
        if (*scan->at == '\'')
            gs_scan_pop(scan);
        scan->at++;
        return;
    }
    if (common_character(scan))
        return;
    if (*scan->at == '"' && top == IN_DOUBLE)
        gs_scan_pop(scan);
    else if (*scan->at == '"')
        gs_scan_push(scan, IN_DOUBLE);
    else if (*scan->at == '\'' && top != IN_DOUBLE)
        gs_scan_push(scan, IN_SINGLE);
    else if (*scan->at == '}' && top == IN_BRACES)
        gs_scan_pop(scan);
    scan->at++;
}

static bool code_character(struct gs_scan *scan, char before,
                           struct documents *documents)
{
    char c = *scan->at;

    if (common_character(scan))
        return true;
    if (c == '<' && scan->end - scan->at > 1 && scan->at[1] == '<')
        return announce(scan, documents);
    if (c == '#' && ends_word(before)) {
        const char *newline =
            memchr(scan->at, '\n', (size_t)(scan->end - scan->at));

        scan->at = newline != NULL ? newline : scan->end;
        return true;
    }
    if (at_word(scan, before, "case")) {
        gs_scan_push(scan, IN_CASE);
        scan->at += 4;
        return true;
    }
    if (at_word(scan, before, "esac") && gs_scan_top(scan) == IN_CASE) {
        gs_scan_pop(scan);
        scan->at += 4;
        return true;
    }
    if (c == '\'' || c == '"' || c == '(')
        gs_scan_push(scan, c);
    else if (c == ')' && gs_scan_top(scan) == IN_PARENTHESES)
        gs_scan_pop(scan);
    scan->at++;
    return true;
}

static size_t scan_shell(const char *text, size_t length_bytes, bool *code,
                         size_t *line)
{
    struct gs_scan scan = { .at = text,
                            .end = text + length_bytes,
                            .code = code };
    struct documents documents = { .count = 0 };
    bool going = true;

    if (length_bytes > 0)
        gs_scan_line(&scan, true);
    while (scan.at < scan.end && going && !scan.too_deep) {
        char before = scan.at > text ? scan.at[-1] : '\n';

        if (*scan.at == '\n') {
            scan.at++;
            if (documents.count > 0)
                going = skip_documents(&scan, &documents);
            if (scan.at < scan.end && going)
                gs_scan_line(&scan, in_code(&scan) && (scan.at - text < 2 ||
                                                       scan.at[-2] != '\\'));
        } else if (in_code(&scan)) {
            going = code_character(&scan, before, &documents);
        } else {
            quoted(&scan);
        }
    }
    if (going)
        return gs_scan_end(&scan, line);
    *line = scan.depth > 0 ? scan.stack[scan.depth - 1].line : scan.line - 1;
    return 0;
}

static void quote_shell(struct gs_text *out, const char *value)
{
    gs_text_puts(out, "'");
    for (; *value != '\0'; value++) {
        if (*value == '\'')
            gs_text_puts(out, "'\\''");
        else
            gs_text_add(out, value, 1);
    }
    gs_text_puts(out, "'");
}

static void function_name(struct gs_text *out, const char *name)
{
    gs_text_puts(out, "element_");
    for (; *name != '\0'; name++)
        gs_text_add(out, *name == '-' ? "_" : name, 1);
}

static void definition(struct gs_text *out, const char *name)
{
    function_name(out, name);
    gs_text_puts(out, "()");
}

static void steps_begin(struct gs_text *out, const char *phase)
{
    gs_text_printf(out, "\nsteps_%s() {\n", phase);
}

/* Apart, so that nothing an element does to the shell reaches the next one. */
static void steps_call(struct gs_text *out, const char *name)
{
    gs_text_printf(out, "    step_begin '%s'\n    (", name);
    function_name(out, name);
    gs_text_puts(out, ")\n    step_end $?\n");
}

static void steps_end(struct gs_text *out, bool empty)
{
    gs_text_puts(out, empty ? "    :\n}\n" : "}\n");
}

#define END_WORD "DISKSHIFT_SECOND"
#define END_WORD_MAX 32

/* A word that no line of the text is. */
static void end_word(char word[END_WORD_MAX], const char *text)
{
    unsigned number = 0;
    bool occurs = true;

    strcpy(word, END_WORD);
    while (occurs) {
        const char *found = text;
        size_t length = strlen(word);

        occurs = false;
        while (!occurs && (found = strstr(found, word)) != NULL) {
            occurs = (found == text || found[-1] == '\n') &&
                     (found[length] == '\n' || found[length] == '\0');
            found++;
        }
        if (occurs)
            snprintf(word, END_WORD_MAX, END_WORD "_%u", ++number);
    }
}

static void carry(struct gs_text *out, const char *text, size_t length_bytes)
{
    char word[END_WORD_MAX];

    end_word(word, text);
    gs_text_printf(out, "\nsecond_text() {\n    cat <<'%s'\n", word);
    gs_text_add(out, text, length_bytes);
    if (length_bytes > 0 && text[length_bytes - 1] != '\n')
        gs_text_puts(out, "\n");
    gs_text_printf(out, "%s\n}\n", word);
}

const struct gs_language gs_shell = {
    .guest = "linux",
    .suffix = ".sh",
    /* Not every script calls every function of the elements it needs. */
    .opening = "#!/bin/sh\n# shellcheck disable=SC2317\n",
    .sigil = "",
    .blanks_around_equals = false,
    .scan = scan_shell,
    .quote = quote_shell,
    .definition = definition,
    .steps_begin = steps_begin,
    .steps_call = steps_call,
    .steps_end = steps_end,
    .carry = carry,
};
