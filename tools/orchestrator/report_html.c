/* SPDX-License-Identifier: Apache-2.0 */
/* A report as one HTML file. It loads nothing and runs nothing, and says so to
 * the browser; every text of others is escaped. */
#include "report_form.h"
#include "xml.h"

#include <stdio.h>
#include <string.h>

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
    "'none'; style-src 'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, "
    "initial-scale=1\">\n"
    "<title>diskshift: migration report</title>\n<style>\n"
    ":root { color-scheme: light dark; }\n"
    "body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem;\n"
    "  margin: 2rem auto; padding: 0 1rem; }\n"
    "h1, h2, h3 { line-height: 1.2; }\n"
    "table { border-collapse: collapse; width: 100%; margin: 0 0 1rem; }\n"
    "th, td { text-align: left; vertical-align: top; padding: .2rem .6rem;\n"
    "  border-bottom: 1px solid #8884; overflow-wrap: anywhere; }\n"
    "td.number { text-align: right; white-space: nowrap; }\n"
    ".state { font-weight: 600; }\n"
    ".warning { color: #a15c00; } .error, .failed { color: #c0262d; }\n"
    ".timeline { width: 100%; height: auto; font-size: 12px; }\n"
    ".timeline .label { fill: currentColor; }\n"
    ".timeline .axis { fill: #888; text-anchor: middle; }\n"
    ".timeline .tick { stroke: #8884; }\n"
    ".bar { fill: #777; }\n"
    ".bar.preflight { fill: #8a8f98; } .bar.backup { fill: #2f7d6d; }\n"
    ".bar.prepare { fill: #8a63b8; } .bar.migrate { fill: #2f6fb0; }\n"
    ".bar.wait { fill: #b7791f; } .bar.restore { fill: #c0262d; }\n"
    ".bar.undone { opacity: .35; stroke: #c0262d; stroke-dasharray: 3; }\n"
    "</style>\n</head>\n<body>\n";

char *report_escape(const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    autofree char *escaped = xml_escape(text);
    char *out = need(strlen(escaped) * 3 + 1), *to = out;

    for (const char *at = escaped; *at != '\0'; at++)
        if (((unsigned char)*at < 0x20 && *at != '\n') || *at == 0x7f)
            to = stpcpy(to, replacement);
        else
            *to++ = *at;
    return out;
}

static void put(FILE *out, const char *text)
{
    autofree char *escaped = report_escape(text);

    fputs(escaped, out);
}

static void put_cell(FILE *out, const char *text)
{
    fputs("<td>", out);
    put(out, text);
    fputs("</td>", out);
}

static void put_figure(FILE *out, const char *text)
{
    fputs("<td class=\"number\">", out);
    put(out, text);
    fputs("</td>", out);
}

/* A row of two; nothing when there is no text. */
static void put_fact(FILE *out, const char *name, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    fprintf(out, "<tr><th scope=\"row\">%s</th>", name);
    put_cell(out, text);
    fputs("</tr>\n", out);
}

static void put_head(FILE *out, const char *title, const char *const *columns,
                     size_t count)
{
    fprintf(out, "<h3>%s</h3>\n<table>\n<tr>", title);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "<th scope=\"col\">%s</th>", columns[i]);
    fputs("</tr>\n", out);
}

/* -- the parts of a migration --------------------------------------------- */

static void put_facts(FILE *out, const json_t *migration)
{
    autofree char *begun = report_time(report_number(migration, "begun"));
    autofree char *ended = report_time(report_number(migration, "ended"));
    autofree char *took = report_duration(report_number(migration, "seconds"));
    json_t *address;
    size_t i;

    fputs("<table>\n", out);
    put_fact(out, "from", report_word(migration, "source"));
    put_fact(out, "to", report_word(migration, "target"));
    put_fact(out, "kind", report_word(migration, "kind"));
    put_fact(out, "verdict", report_word(migration, "verdict"));
    put_fact(out, "error", report_word(migration, "error"));
    put_fact(out, "begun", begun);
    put_fact(out, "ended", ended);
    put_fact(out, "took", ended[0] != '\0' ? took : "");
    json_array_foreach(json_object_get(migration, "addresses"), i, address)
        put_fact(out, "address", json_string_value(address));
    fputs("</table>\n", out);
}

/* "64.0 KiB misaligned, 1.0 KiB partial block". */
static void put_reasons(FILE *out, const json_t *because)
{
    const char *reason, *comma = "";
    json_t *bytes;

    fputs("<td>", out);
    json_object_foreach((json_t *)(uintptr_t)because, reason, bytes)
    {
        autofree char *size = report_bytes((uint64_t)json_integer_value(bytes));

        fprintf(out, "%s%s ", comma, size);
        put(out, reason);
        comma = ", ";
    }
    fputs("</td>", out);
}

static void put_disks(FILE *out, const json_t *disks)
{
    static const char *const columns[] = {
        "disk", "from", "to", "shared", "copied", "why", "took", "verified"
    };
    json_t *disk;
    size_t i;

    if (json_array_size(disks) == 0)
        return;
    put_head(out, "Disks", columns, ARRAY_COUNT(columns));
    json_array_foreach(disks, i, disk)
    {
        autofree char *shared =
            report_bytes(report_count(disk, "shared_bytes"));
        autofree char *copied =
            report_bytes(report_count(disk, "copied_bytes"));
        autofree char *took = report_duration(report_number(disk, "seconds"));

        fputs("<tr>", out);
        put_cell(out, report_word(disk, "name"));
        put_cell(out, report_word(disk, "from"));
        put_cell(out, report_word(disk, "to"));
        put_figure(out, shared);
        put_figure(out, copied);
        put_reasons(out, json_object_get(disk, "copied_because"));
        put_figure(out, took);
        put_cell(out, json_is_true(json_object_get(disk, "identical"))
                          ? "identical"
                          : "no");
        fputs("</tr>\n", out);
    }
    fputs("</table>\n", out);
}

/* The word is one of ours, and the class of the same name colours it. */
static void put_severity(FILE *out, const char *word)
{
    fprintf(out, "<td class=\"%s\">%s</td>", word, word);
}

static void put_findings(FILE *out, const json_t *findings)
{
    static const char *const columns[] = { "", "rule", "what", "text", "fix" };
    json_t *finding;
    size_t i;

    if (json_array_size(findings) == 0)
        return;
    put_head(out, "Preflight", columns, ARRAY_COUNT(columns));
    json_array_foreach(findings, i, finding)
    {
        fputs("<tr>", out);
        put_severity(out, report_word(finding, "severity"));
        put_cell(out, report_word(finding, "rule"));
        put_cell(out, report_word(finding, "subject"));
        put_cell(out, report_word(finding, "text"));
        put_cell(out, report_word(finding, "fix"));
        fputs("</tr>\n", out);
    }
    fputs("</table>\n", out);
}

static bool is_quiet(const json_t *message)
{
    return strcmp(report_word(message, "level"), "info") == 0;
}

static void put_messages(FILE *out, const json_t *messages)
{
    static const char *const columns[] = { "", "time", "stage", "text" };
    size_t i, count = 0;
    json_t *message;

    json_array_foreach(messages, i, message)
    {
        autofree char *time = report_time(report_number(message, "time"));

        if (is_quiet(message))
            continue;
        if (count++ == 0)
            put_head(out, "Warnings and errors", columns, ARRAY_COUNT(columns));
        fputs("<tr>", out);
        put_severity(out, report_word(message, "level"));
        put_cell(out, time);
        put_cell(out, report_word(message, "stage"));
        put_cell(out, report_word(message, "text"));
        fputs("</tr>\n", out);
    }
    if (count > 0)
        fputs("</table>\n", out);
}

static void put_steps(FILE *out, const json_t *steps)
{
    static const char *const columns[] = { "stage", "step", "state", "begun",
                                           "took" };
    json_t *step;
    size_t i;

    if (json_array_size(steps) == 0)
        return;
    put_head(out, "Steps", columns, ARRAY_COUNT(columns));
    json_array_foreach(steps, i, step)
    {
        autofree char *begun = report_time(report_number(step, "begun"));
        autofree char *took = report_duration(report_number(step, "seconds"));

        fputs("<tr>", out);
        put_cell(out, report_word(step, "stage"));
        put_cell(out, report_word(step, "name"));
        put_cell(out, report_word(step, "state"));
        put_cell(out, begun);
        put_figure(out,
                   strcmp(report_word(step, "state"), "done") == 0 ? took : "");
        fputs("</tr>\n", out);
    }
    fputs("</table>\n", out);
}

static void put_migration(FILE *out, const json_t *migration)
{
    autojson json_t *alone = json_array();

    json_array_append(alone, (json_t *)(uintptr_t)migration);
    fprintf(out, "<section id=\"migration-%llu\">\n<h2>",
            (unsigned long long)report_count(migration, "id"));
    put(out, report_word(migration, "vm"));
    fprintf(out, ": <span class=\"state %s\">%s</span></h2>\n",
            report_word(migration, "state"), report_word(migration, "state"));
    put_facts(out, migration);
    report_timeline(alone, out);
    put_disks(out, json_object_get(migration, "disks"));
    put_findings(out, json_object_get(migration, "findings"));
    put_messages(out, json_object_get(migration, "messages"));
    put_steps(out, json_object_get(migration, "steps"));
    fputs("</section>\n", out);
}

/* -- the page ------------------------------------------------------------- */

static void put_summary(FILE *out, const json_t *summary,
                        const json_t *migrations)
{
    autofree char *took = report_duration(report_number(summary, "seconds"));
    autofree char *shared = report_bytes(report_count(summary, "shared_bytes"));
    autofree char *copied = report_bytes(report_count(summary, "copied_bytes"));
    const char *key;
    json_t *value;

    fprintf(out, "<p>%zu migrations in %s: ", json_array_size(migrations),
            took);
    json_object_foreach((json_t *)(uintptr_t)summary, key, value)
    {
        if (json_is_integer(value) && json_integer_value(value) > 0 &&
            strcmp(key, "migrations") != 0 && strstr(key, "_bytes") == NULL)
            fprintf(out, "%lld %s, ", (long long)json_integer_value(value),
                    key);
    }
    fprintf(out, "%s shared, %s copied</p>\n", shared, copied);
    report_timeline(migrations, out);
}

void report_html(const json_t *document, FILE *out)
{
    const json_t *migrations = json_object_get(document, "migrations");
    json_t *migration;
    size_t i;

    fputs(head, out);
    fputs("<h1>Migration report</h1>\n", out);
    if (json_array_size(migrations) > 1)
        put_summary(out, json_object_get(document, "summary"), migrations);
    json_array_foreach(migrations, i, migration) put_migration(out, migration);
    fputs("</body>\n</html>\n", out);
}
