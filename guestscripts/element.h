/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An element: a file's text, its head in fields, and where in its body the
 * variables stand. README.md has the format. What an element says is checked
 * when it is read, so that a list of elements holds only sound ones; what it
 * needs of others is checked when a script is made.
 */
#ifndef GS_ELEMENT_H
#define GS_ELEMENT_H

#include <stdbool.h>
#include <stddef.h>

#include <diskshift/error.h>
#include <diskshift/guest_script.h>

#include "language.h"

/* Bounds of what a directory may hold; ours have a hundredth. */
#define GS_ELEMENT_BYTES_MAX (1024u * 1024u)
#define GS_ELEMENT_COUNT_MAX 1000u
#define GS_NAME_MAX 64u

enum gs_phase {
    GS_COMMON,
    GS_COLLECT,
    GS_PREPARE,
    GS_LEAVE,
    GS_ARRIVE,
    GS_SETTLE,
    GS_MAIN
};
#define GS_PHASE_COUNT 7

/** "common" ... */
const char *gs_phase_name(enum gs_phase phase);

/* A line of the body that is an assignment of a variable. */
struct gs_place {
    size_t offset_bytes; /* of '@' */
    size_t length_bytes; /* to behind the second '@' */
    size_t line;         /* in the file, from 1 on */
};

struct gs_element {
    struct ds_guest_element face; /* what callers see; points into this */
    const struct gs_language *language;
    enum gs_phase phase;
    unsigned order;
    char *text;
    size_t length_bytes;
    size_t body_bytes; /* where the body begins */
    char *words;       /* the head's values, one after the other */
    char **needs;      /* NULL-terminated, in words */
    struct ds_guest_variable *variables;
    struct gs_place *places;
    size_t place_count;
    char *path;
};

/** Read an element out of its text, which is copied. */
int gs_element_parse(const struct gs_language *language, const char *path,
                     const char *text, size_t length_bytes,
                     struct gs_element **out, struct ds_error *err);
void gs_element_free(struct gs_element *element);

/** Whether it is for these hypervisors; "any" is for what says any. */
bool gs_element_suits(const struct gs_element *element, const char *source,
                      const char *target);
/** Whether a word is among those of a list with blanks between. */
bool gs_list_has(const char *list, const char *word);
/** "[a-z0-9-]+", not too long. */
bool gs_name_ok(const char *name);

/** An error at a line of an element: DS_ERR_CORRUPT. */
int gs_element_fail(struct ds_error *err, const char *path, size_t line,
                    const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* -- a list of them ------------------------------------------------------- */

struct ds_guest_elements {
    struct gs_element **list;
    size_t count;
};

/** What is embedded: made by embed.cmake. Ends with a NULL name. */
struct gs_embedded {
    const char *guest;
    const char *name; /* "NAME.sh" */
    const unsigned char *bytes;
    size_t length_bytes;
};
extern const struct gs_embedded gs_embedded[];

/** NULL when there is none. */
const struct gs_element *
gs_elements_find(const struct ds_guest_elements *elements, const char *guest,
                 const char *name);

#endif
