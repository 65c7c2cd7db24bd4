/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the generator must know of the two languages: how a value is quoted,
 * which lines of a text begin in code, and how calls and an inert text are
 * written. Nothing else knows which language it writes.
 */
#ifndef GS_LANGUAGE_H
#define GS_LANGUAGE_H

#include <stdbool.h>
#include <stddef.h>

#include <diskshift/error.h>

#include "text.h"

struct gs_language {
    const char *guest;         /* "linux": the request's word and the folder */
    const char *suffix;        /* ".sh" */
    const char *opening;       /* the first bytes of a script */
    const char *sigil;         /* before a variable's name: "" or "$" */
    bool blanks_around_equals; /* whether an assignment may have them */

    /** For each line of `text` whether it begins in code, and not in a
     * string, a here-document or a comment that goes on. Returns the count of
     * lines (code has room for so many), or 0 with *line set to the one in
     * which something was opened that is never closed. */
    size_t (*scan)(const char *text, size_t length_bytes, bool *code,
                   size_t *line);
    /** A literal that is exactly `value`, with its quotes. */
    void (*quote)(struct gs_text *out, const char *value);
    /** How the function of element `name` begins its definition. */
    void (*definition)(struct gs_text *out, const char *name);
    /** A function steps_PHASE that calls the elements; begin, call, end. */
    void (*steps_begin)(struct gs_text *out, const char *phase);
    void (*steps_call)(struct gs_text *out, const char *name);
    void (*steps_end)(struct gs_text *out, bool empty);
    /** `text` as data, by the name second_text. */
    void (*carry)(struct gs_text *out, const char *text, size_t length_bytes);
};

extern const struct gs_language gs_shell;
extern const struct gs_language gs_powershell;

/** NULL for a guest that is not known. */
const struct gs_language *gs_language_find(const char *guest);

/* -- for the languages ---------------------------------------------------- */

/** Contexts that a scanner is in, innermost last. */
#define GS_SCAN_DEPTH_MAX 64

struct gs_scan {
    const char *at;
    const char *end;
    bool *code;
    size_t line; /* from 0 on */
    struct {
        char kind;
        size_t line; /* opened here */
    } stack[GS_SCAN_DEPTH_MAX];
    size_t depth;
    bool too_deep;
};

void gs_scan_push(struct gs_scan *scan, char kind);
void gs_scan_pop(struct gs_scan *scan);
/** The innermost context, or 0 for none. */
char gs_scan_top(const struct gs_scan *scan);
/** Note whether the line that begins here does so in code. */
void gs_scan_line(struct gs_scan *scan, bool code);
/** What scan returns. */
size_t gs_scan_end(const struct gs_scan *scan, size_t *line);

#endif
