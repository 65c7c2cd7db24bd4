/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A report's document, and who writes it down. All forms are of the one
 * document that report.c makes, which is the JSON form:
 *
 *   { schema, summary: { migrations, done, failed ..., seconds, shared_bytes,
 *     copied_bytes },
 *     migrations: [ { id, run, vm, kind, state, stage, error, verdict, source,
 *       target, begun, ended, seconds, shared_bytes, copied_bytes, addresses,
 *       disks: [ as shift-disks left them ],
 *       findings: [ { rule, severity, subject, text, fix } ],
 *       messages: [ { time, level, stage, text } ],
 *       steps: [ { stage, name, state, begun, ended, seconds } ] } ] }
 *
 * Times are seconds since 1970, 0 where there is none yet.
 */
#ifndef ORCH_REPORT_FORM_H
#define ORCH_REPORT_FORM_H

#include <stdio.h>

#include "base.h"

void report_text(const json_t *document, FILE *out);
void report_html(const json_t *document, FILE *out);
/** The picture: a row for each step, or for each of several migrations. */
void report_timeline(const json_t *migrations, FILE *out);

/* Members, with a standard for those that are not there. */
static inline const char *report_word(const json_t *at, const char *key)
{
    const char *text = json_string_value(json_object_get(at, key));

    return text != NULL ? text : "";
}
static inline double report_number(const json_t *at, const char *key)
{
    return json_number_value(json_object_get(at, key));
}
static inline uint64_t report_count(const json_t *at, const char *key)
{
    json_int_t number = json_integer_value(json_object_get(at, key));

    return number > 0 ? (uint64_t)number : 0;
}

/** Escaped for HTML and SVG, control characters made visible; the caller owns
 * it. */
char *report_escape(const char *text);
/** "241.1 MiB"; the caller owns it. */
char *report_bytes(uint64_t bytes);
/** "0.25 s", "4 min 10 s", "2 h 5 min". */
char *report_duration(double seconds);
/** "2026-03-01 12:00:00"; "" for 0. */
char *report_time(double seconds);

#endif
