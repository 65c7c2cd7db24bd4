/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "human.h"

#define LABEL_COLUMNS 28

struct row row_text(const char *key, const char *label, const char *text)
{
    return (struct row){ .key = key,
                         .label = label,
                         .unit = UNIT_TEXT,
                         .value = { .absent = text == NULL, .text = text } };
}

static struct row row_number(const char *key, const char *label, enum unit unit,
                             uint64_t number)
{
    return (struct row){
        .key = key, .label = label, .unit = unit, .value = { .number = number }
    };
}

struct row row_count(const char *key, const char *label, uint64_t number)
{
    return row_number(key, label, UNIT_COUNT, number);
}

struct row row_bytes(const char *key, const char *label, uint64_t bytes)
{
    return row_number(key, label, UNIT_BYTES, bytes);
}

struct row row_offset(const char *key, const char *label, uint64_t bytes)
{
    return row_number(key, label, UNIT_OFFSET, bytes);
}

struct row row_yes(const char *key, const char *label, bool yes)
{
    return row_number(key, label, UNIT_YES, yes);
}

struct row row_seconds(const char *key, const char *label, double seconds)
{
    return (struct row){ .key = key,
                         .label = label,
                         .unit = UNIT_SECONDS,
                         .value = { .seconds = seconds } };
}

struct row row_if_any(struct row row)
{
    row.hide_zero = true;
    return row;
}

struct row row_if_known(struct row row, bool known)
{
    if (!known)
        row.value.absent = true;
    return row;
}

/* -- JSON ----------------------------------------------------------------- */

/* JSON holds Unicode only, a file name holds any bytes: what is not UTF-8
 * becomes U+FFFD. NULL when out of memory. */
static char *valid_utf8(const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    char *copy = malloc(strlen(text) * 3 + 1);
    size_t length = 0;

    if (copy == NULL)
        return NULL;
    while (*text != '\0') {
        size_t step = human_utf8_length(text);

        if (step == 0) {
            memcpy(copy + length, replacement, 3);
            length += 3;
            text++;
        } else {
            memcpy(copy + length, text, step);
            length += step;
            text += step;
        }
    }
    copy[length] = '\0';
    return copy;
}

int report_json_string(FILE *out, const char *text)
{
    char *copy = valid_utf8(text);
    json_t *string = copy == NULL ? NULL : json_string(copy);
    int result = ENOMEM;

    if (string != NULL)
        result = json_dumpf(string, out, JSON_ENCODE_ANY) == 0 ? 0 : EIO;
    json_decref(string);
    free(copy);
    return result;
}

static void json_text(struct report *report, const char *text)
{
    int error_number = report_json_string(report->out, text);

    if (error_number != 0 && report->write_errno == 0)
        report->write_errno = error_number;
}

static void json_value(struct report *report, enum unit unit,
                       const struct value *value)
{
    if (value->absent)
        fputs("null", report->out);
    else if (unit == UNIT_TEXT)
        json_text(report, value->text);
    else if (unit == UNIT_SECONDS)
        fprintf(report->out, "%.6f", value->seconds);
    else if (unit == UNIT_YES)
        fputs(value->number != 0 ? "true" : "false", report->out);
    else
        fprintf(report->out, "%" PRIu64, value->number);
}

static void json_member(struct report *report, const char *key)
{
    struct report_scope *scope = &report->scopes[report->depth - 1];

    if (scope->member_count++ > 0)
        fputc(',', report->out);
    fprintf(report->out, "\n%*s", (int)report->depth * 2, "");
    if (!scope->array) {
        json_text(report, key);
        fputs(": ", report->out);
    }
}

/* -- text ----------------------------------------------------------------- */

/* Columns that a value takes; it is printed at the same time. */
static int text_value(FILE *out, enum unit unit, const struct value *value)
{
    char size[HUMAN_SIZE_BYTES];

    if (value->absent)
        return fprintf(out, "-");
    switch (unit) {
    case UNIT_TEXT:
        return human_print(out, value->text);
    case UNIT_COUNT:
        return fprintf(out, "%" PRIu64, value->number);
    case UNIT_BYTES:
        human_size_exact(value->number, size);
        return fprintf(out, "%s", size);
    case UNIT_OFFSET:
        return fprintf(out, "0x%" PRIx64, value->number);
    case UNIT_SECONDS:
        return fprintf(out, "%.3f s", value->seconds);
    case UNIT_YES:
        return fprintf(out, "%s", value->number != 0 ? "yes" : "no");
    }
    return 0;
}

static bool text_hidden(const struct row *row)
{
    return row->value.absent || (row->hide_zero && row->value.number == 0);
}

/* Scopes without a heading do not indent. */
static int text_indent(const struct report *report, size_t depth)
{
    int indent = 0;

    for (size_t i = 1; i < depth; i++)
        if (report->scopes[i].heading != NULL)
            indent += 2;
    return indent;
}

/* A heading waits for its first line, so that none stands over nothing. */
static void text_headings(struct report *report)
{
    for (size_t i = 1; i < report->depth; i++) {
        struct report_scope *scope = &report->scopes[i];

        if (scope->heading != NULL && scope->member_count++ == 0)
            fprintf(report->out, "%*s%s:\n", text_indent(report, i), "",
                    scope->heading);
    }
}

static void text_row(struct report *report, const struct row *row)
{
    int indent = text_indent(report, report->depth);
    int label_columns;

    if (text_hidden(row))
        return;
    text_headings(report);
    label_columns = fprintf(report->out, "%*s%s:", indent, "", row->label);
    if (label_columns < LABEL_COLUMNS)
        fprintf(report->out, "%*s", LABEL_COLUMNS - label_columns, "");
    fputc(' ', report->out);
    text_value(report->out, row->unit, &row->value);
    fputc('\n', report->out);
}

/* -- both ----------------------------------------------------------------- */

static bool silent(const struct report *report)
{
    return report->mute && !report->json;
}

static void scope_push(struct report *report, bool array, const char *heading)
{
    assert(report->depth < REPORT_DEPTH_MAX);
    report->scopes[report->depth++] =
        (struct report_scope){ .array = array, .heading = heading };
}

static void begin(struct report *report)
{
    if (report->begun)
        return;
    report->begun = true;
    scope_push(report, false, NULL);
    if (report->json) {
        fputc('{', report->out);
        json_member(report, "schema");
        fprintf(report->out, "%d", REPORT_SCHEMA);
    }
}

void report_rows(struct report *report, const struct row *rows, size_t count)
{
    if (silent(report))
        return;
    begin(report);
    for (size_t i = 0; i < count; i++) {
        if (report->json) {
            json_member(report, rows[i].key);
            json_value(report, rows[i].unit, &rows[i].value);
        } else {
            text_row(report, &rows[i]);
        }
    }
}

static void open_scope(struct report *report, const char *key, bool array,
                       const char *heading)
{
    if (silent(report))
        return;
    begin(report);
    if (report->json) {
        json_member(report, key);
        fputc(array ? '[' : '{', report->out);
    }
    scope_push(report, array, heading);
}

void report_object(struct report *report, const char *key, const char *heading)
{
    open_scope(report, key, false, heading);
}

void report_array(struct report *report, const char *key, const char *heading)
{
    open_scope(report, key, true, heading);
}

static void pad(struct report *report, int columns)
{
    if (columns > 0)
        fprintf(report->out, "%*s", columns, "");
}

void report_table(struct report *report, const char *key,
                  const struct column *columns, size_t column_count)
{
    open_scope(report, key, true, NULL);
    report->columns = columns;
    report->column_count = column_count;
    report->columns_named = false;
}

/* The last column that people see is not padded. */
static size_t last_column(const struct report *report)
{
    size_t last = report->column_count - 1;

    while (last > 0 && report->columns[last].width == 0)
        last--;
    return last;
}

/* The head waits for the first row, so that none stands over nothing. */
static void table_head(struct report *report)
{
    size_t last = last_column(report);

    if (report->columns_named)
        return;
    report->columns_named = true;
    text_headings(report);
    for (size_t i = 0; i <= last; i++)
        if (report->columns[i].width != 0)
            fprintf(report->out, "%s%*s", i == 0 ? "" : "  ",
                    i == last ? 0 : report->columns[i].width,
                    report->columns[i].label);
    fputc('\n', report->out);
}

static void table_row_json(struct report *report, const struct value *values)
{
    json_member(report, NULL);
    fputc('{', report->out);
    for (size_t i = 0; i < report->column_count; i++) {
        fprintf(report->out, "%s\"%s\": ", i == 0 ? "" : ", ",
                report->columns[i].key);
        json_value(report, report->columns[i].unit, &values[i]);
    }
    fputc('}', report->out);
}

/* Numbers go to the right, which takes their length before they are printed;
 * text goes to the left. */
static void table_cell(struct report *report, const struct column *column,
                       const struct value *value, bool last)
{
    char number[32];
    int columns;

    if (column->unit == UNIT_TEXT || value->absent || column->width < 0) {
        columns = text_value(report->out, column->unit, value);
        if (!last)
            pad(report, abs(column->width) - columns);
        return;
    }
    snprintf(number, sizeof(number),
             column->unit == UNIT_OFFSET ? "0x%" PRIx64 : "%" PRIu64,
             value->number);
    fprintf(report->out, "%*s", column->width, number);
}

static void table_row_text(struct report *report, const struct value *values)
{
    size_t last = last_column(report);

    table_head(report);
    for (size_t i = 0; i <= last; i++) {
        if (report->columns[i].width == 0)
            continue;
        if (i > 0)
            fputs("  ", report->out);
        table_cell(report, &report->columns[i], &values[i], i == last);
    }
    fputc('\n', report->out);
}

void report_table_row(struct report *report, const struct value *values)
{
    if (silent(report))
        return;
    if (report->json)
        table_row_json(report, values);
    else
        table_row_text(report, values);
    if (ferror(report->out) && report->write_errno == 0)
        report->write_errno = errno != 0 ? errno : EIO;
}

void report_end(struct report *report)
{
    const struct report_scope *scope;

    if (silent(report))
        return;
    assert(report->depth > 0);
    scope = &report->scopes[--report->depth];
    if (!report->json)
        return;
    if (scope->member_count > 0)
        fprintf(report->out, "\n%*s", (int)report->depth * 2, "");
    fputc(scope->array ? ']' : '}', report->out);
}

void report_error(struct report *report, const struct ds_error *err)
{
    const struct row rows[] = {
        row_text("class", "class", ds_error_class_name(err->error_class)),
        row_text("message", "message", err->message),
        row_text("file", "file", err->file[0] == '\0' ? NULL : err->file),
        row_if_known(row_count("offset", "offset", err->offset_bytes),
                     err->offset_bytes != DS_OFFSET_NONE),
        row_if_known(row_count("errno", "errno", (uint64_t)err->system_errno),
                     err->system_errno > 0),
    };

    if (!report->json)
        return;
    begin(report);
    while (report->depth > 1)
        report_end(report);
    report_object(report, "error", NULL);
    report_rows(report, rows, ARRAY_COUNT(rows));
    report_end(report);
}

int report_finish(struct report *report)
{
    if (report->begun) {
        while (report->depth > 0)
            report_end(report);
        if (report->json)
            fputc('\n', report->out);
        report->begun = false;
    }
    errno = 0;
    if ((fflush(report->out) != 0 || ferror(report->out)) &&
        report->write_errno == 0)
        report->write_errno = errno != 0 ? errno : EIO;
    return report->write_errno;
}
