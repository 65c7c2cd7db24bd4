/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a verb has to say, once, for people and for programs.
 *
 * A verb builds rows (key, label, unit, value) and hands them to a report,
 * which prints each at once: as "label: 4.0 GiB (4294967296 bytes)" or as a
 * member of one JSON document. Nothing is kept, so that a table of millions
 * of rows takes no memory. A row that cannot be written is remembered and
 * told by report_finish.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <diskshift/error.h>

/* Raised when a member changes its meaning or goes away; new ones may come. */
#define REPORT_SCHEMA 1
#define REPORT_DEPTH_MAX 8

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum unit {
    UNIT_TEXT,
    UNIT_COUNT,
    UNIT_BYTES,  /* text: human size and raw bytes */
    UNIT_OFFSET, /* text: hexadecimal */
    UNIT_SECONDS,
    UNIT_YES /* text: yes or no */
};

struct value {
    bool absent; /* not known: JSON null, no line in text */
    uint64_t number;
    double seconds;
    const char *text; /* borrowed for the call */
};

struct row {
    const char *key;   /* of the JSON member; NULL within an array */
    const char *label; /* for people */
    enum unit unit;
    bool hide_zero; /* text leaves the line out when the number is 0 */
    struct value value;
};

/** A column of a table. */
struct column {
    const char *key;
    const char *label;
    enum unit unit;
    int width; /* of the text; negative: to the left; 0: not for people */
};

struct report_scope {
    bool array;
    size_t member_count;
    const char *heading; /* text: printed before the first line below */
};

struct report {
    FILE *out;
    bool json;
    bool mute; /* say nothing, unless it is JSON */
    bool begun;
    int write_errno; /* the first fault of the output */
    size_t depth;    /* scopes open; the document itself is scope 0 */
    struct report_scope scopes[REPORT_DEPTH_MAX];
    const struct column *columns;
    size_t column_count;
    bool columns_named; /* text: the table has its head */
};

struct row row_text(const char *key, const char *label, const char *text);
struct row row_count(const char *key, const char *label, uint64_t number);
struct row row_bytes(const char *key, const char *label, uint64_t bytes);
struct row row_offset(const char *key, const char *label, uint64_t bytes);
struct row row_seconds(const char *key, const char *label, double seconds);
struct row row_yes(const char *key, const char *label, bool yes);
/** The same row, not shown to people when it is 0. */
struct row row_if_any(struct row row);
/** The same row, without a value unless `known`. */
struct row row_if_known(struct row row, bool known);

void report_rows(struct report *report, const struct row *rows, size_t count);

/** A nested object or array; `heading` may be NULL. Ended by report_end. */
void report_object(struct report *report, const char *key, const char *heading);
void report_array(struct report *report, const char *key, const char *heading);
/** An array of equal rows, printed as they come. Ended by report_end. */
void report_table(struct report *report, const char *key,
                  const struct column *columns, size_t column_count);
void report_table_row(struct report *report, const struct value *values);
void report_end(struct report *report);

/** Close whatever is open, add the error's members and end the document. */
void report_error(struct report *report, const struct ds_error *err);

/** End the document and flush. 0, or the errno of the first failed write. */
int report_finish(struct report *report);

/** JSON by hand for lines outside a report: a string with its quotes. */
int report_json_string(FILE *out, const char *text);

#endif
