/* SPDX-License-Identifier: Apache-2.0 */
/* A report for a terminal. */
#include "narrate.h"
#include "report_form.h"

#include <stdio.h>
#include <string.h>

/* "  name:      text", nothing when there is no text. */
static void put_line(FILE *out, const char *name, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    fprintf(out, "  %-11s", name);
    print_safe(out, text);
    fputc('\n', out);
}

static void put_share(FILE *out, const char *indent, const json_t *at)
{
    autofree char *shared = report_bytes(report_count(at, "shared_bytes"));
    autofree char *copied = report_bytes(report_count(at, "copied_bytes"));

    fprintf(out, "%s%s shared, %s copied", indent, shared, copied);
}

static void put_disk(FILE *out, const json_t *disk)
{
    const json_t *because = json_object_get(disk, "copied_because");
    autofree char *took = report_duration(report_number(disk, "seconds"));
    const char *reason;
    json_t *bytes;

    fputs("  disk       ", out);
    print_safe(out, report_word(disk, "name"));
    fputs(": ", out);
    print_safe(out, report_word(disk, "from"));
    fputs(" -> ", out);
    print_safe(out, report_word(disk, "to"));
    fputs("\n             ", out);
    put_share(out, "", disk);
    fprintf(out, ", %s, %s\n", took,
            json_is_true(json_object_get(disk, "identical"))
                ? "verified: identical"
                : "not verified");
    json_object_foreach((json_t *)(uintptr_t)because, reason, bytes)
    {
        autofree char *size = report_bytes((uint64_t)json_integer_value(bytes));

        fprintf(out, "             %s copied: ", size);
        print_safe(out, reason);
        fputc('\n', out);
    }
}

static void put_finding(FILE *out, const json_t *finding)
{
    const char *fix = report_word(finding, "fix");

    fprintf(out, "  %-10s %s: ", report_word(finding, "severity"),
            report_word(finding, "rule"));
    print_safe(out, report_word(finding, "subject"));
    fputs(report_word(finding, "subject")[0] != '\0' ? ": " : "", out);
    print_safe(out, report_word(finding, "text"));
    if (fix[0] != '\0') {
        fputs("\n             ", out);
        print_safe(out, fix);
    }
    fputc('\n', out);
}

static void put_message(FILE *out, const json_t *message)
{
    autofree char *time = report_time(report_number(message, "time"));

    if (strcmp(report_word(message, "level"), "info") == 0)
        return;
    fprintf(out, "  %-10s %s ", report_word(message, "level"), time);
    print_safe(out, report_word(message, "text"));
    fputc('\n', out);
}

static void put_step(FILE *out, const json_t *step)
{
    autofree char *took = report_duration(report_number(step, "seconds"));

    fprintf(out, "    %-9s  %-18s  %-6s  %12s\n", report_word(step, "stage"),
            report_word(step, "name"), report_word(step, "state"),
            strcmp(report_word(step, "state"), "done") == 0 ? took : "-");
}

static void put_migration(FILE *out, const json_t *migration)
{
    autofree char *begun = report_time(report_number(migration, "begun"));
    autofree char *took = report_duration(report_number(migration, "seconds"));
    json_t *one;
    size_t i;

    print_safe(out, report_word(migration, "vm"));
    fprintf(out, ": %s\n", report_word(migration, "state"));
    fprintf(out, "  migration  %llu (%s), run %llu\n",
            (unsigned long long)report_count(migration, "id"),
            report_word(migration, "kind"),
            (unsigned long long)report_count(migration, "run"));
    put_line(out, "from", report_word(migration, "source"));
    put_line(out, "to", report_word(migration, "target"));
    put_line(out, "verdict", report_word(migration, "verdict"));
    put_line(out, "error", report_word(migration, "error"));
    fprintf(out, "  begun      %s, %s\n", begun,
            report_number(migration, "ended") > 0 ? took : "not ended");
    json_array_foreach(json_object_get(migration, "addresses"), i, one)
        put_line(out, "address", json_string_value(one));
    json_array_foreach(json_object_get(migration, "disks"), i, one)
        put_disk(out, one);
    json_array_foreach(json_object_get(migration, "findings"), i, one)
        put_finding(out, one);
    json_array_foreach(json_object_get(migration, "messages"), i, one)
        put_message(out, one);
    fputs("  steps\n", out);
    json_array_foreach(json_object_get(migration, "steps"), i, one)
        put_step(out, one);
}

static void put_summary(FILE *out, const json_t *summary)
{
    autofree char *took = report_duration(report_number(summary, "seconds"));
    const char *key;
    json_t *value;

    fprintf(out, "%llu migrations in %s:",
            (unsigned long long)report_count(summary, "migrations"), took);
    json_object_foreach((json_t *)(uintptr_t)summary, key, value)
    {
        if (json_is_integer(value) && json_integer_value(value) > 0 &&
            strcmp(key, "migrations") != 0 && strstr(key, "_bytes") == NULL)
            fprintf(out, " %lld %s", (long long)json_integer_value(value), key);
    }
    put_share(out, "; ", summary);
    fputc('\n', out);
}

void report_text(const json_t *document, FILE *out)
{
    const json_t *migrations = json_object_get(document, "migrations");
    json_t *migration;
    size_t i;

    if (json_array_size(migrations) > 1)
        put_summary(out, json_object_get(document, "summary"));
    json_array_foreach(migrations, i, migration)
    {
        if (json_array_size(migrations) > 1)
            fputc('\n', out);
        put_migration(out, migration);
    }
}
