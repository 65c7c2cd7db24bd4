/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a disk that can be a source: each layer of its chain, which
 * is a disk together with the layers below it, and each internal snapshot of
 * each layer. A point is named by words for the command line; a layer's
 * format is always among them, since a raw one's content may look like any
 * other.
 */
#include "common.h"
#include "human.h"
#include "target.h"
#include "verbs.h"

#include <stdlib.h>
#include <time.h>

#define CREATED_BYTES 32

static const struct column columns[] = {
    { "kind", "kind", UNIT_TEXT, -8 },
    { "depth", "depth", UNIT_COUNT, 5 },
    { "format", "format", UNIT_TEXT, -6 },
    { "size_bytes", "size", UNIT_BYTES, 14 },
    { "created_seconds", "created", UNIT_COUNT, 0 },
    { "created", "created", UNIT_TEXT, -20 },
    { "id", "id", UNIT_TEXT, -4 },
    { "name", "name", UNIT_TEXT, -16 },
    { "path", "path", UNIT_TEXT, 0 },
    { "source", "as a source", UNIT_TEXT, -1 },
};

struct points {
    struct report *report;
    const struct options *options;
    const struct ds_disk *disk;
    uint32_t depth;
};

static void free_text(char **text)
{
    free(*text);
}

static void print_option(FILE *out, const char *name, const char *value)
{
    if (value == NULL)
        return;
    fprintf(out, "%s ", name);
    human_quote(out, value);
    fputc(' ', out);
}

/* "-f qcow2 --snapshot 1 disk.qcow2"; NULL when out of memory. */
static char *source_words(const struct open_words *words, const char *path)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);

    if (out == NULL)
        return NULL;
    print_option(out, "-f", words->format);
    print_option(out, "--snapshot", words->snapshot);
    print_option(out, "--member", words->member);
    print_option(out, "--key-file", words->key_file);
    if (path[0] == '-')
        fputs("./", out);
    human_quote(out, path);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* False when there is no such time. */
static bool format_time(int64_t seconds, char text[CREATED_BYTES])
{
    time_t moment = (time_t)seconds;
    struct tm parts;

    return seconds >= 0 && gmtime_r(&moment, &parts) != NULL &&
           strftime(text, CREATED_BYTES, "%Y-%m-%dT%H:%M:%SZ", &parts) > 0;
}

/* `snapshot` is NULL for the layer itself. */
static int show_point(const struct points *points,
                      const struct ds_snapshot *snapshot, struct ds_error *err)
{
    const char *path = ds_disk_layer_path(points->disk, points->depth);
    const char *format = ds_disk_layer_format(points->disk, points->depth);
    const struct ds_snapshot none = { 0 };
    const struct ds_snapshot *shown = snapshot != NULL ? snapshot : &none;
    bool is_layer = snapshot == NULL;
    bool has_id = shown->id != NULL && shown->id[0] != '\0';
    const struct open_words named = {
        .format = format,
        .snapshot = has_id ? shown->id : shown->name,
        .member = points->depth == 0 ? points->options->source.member : NULL,
        .key_file = points->options->source.key_file,
    };
    __attribute__((cleanup(free_text))) char *words =
        source_words(&named, path);
    char created[CREATED_BYTES] = "";
    bool dated = !is_layer && format_time(shown->created_seconds, created);
    uint64_t size_bytes =
        is_layer ? ds_disk_layer_size_bytes(points->disk, points->depth)
                 : shown->size_bytes;
    const struct value values[ARRAY_COUNT(columns)] = {
        { .text = is_layer ? "layer" : "snapshot" },
        { .number = points->depth },
        { .text = format },
        { .number = size_bytes },
        { .absent = !dated, .number = (uint64_t)shown->created_seconds },
        { .absent = !dated, .text = created },
        { .absent = shown->id == NULL, .text = shown->id },
        { .absent = shown->name == NULL, .text = shown->name },
        { .text = path },
        { .text = words },
    };

    if (words == NULL)
        return memory_error(err);
    report_table_row(points->report, values);
    return common_check_output(points->report, err);
}

static int show_snapshot(void *user, const struct ds_snapshot *snapshot,
                         struct ds_error *err)
{
    return show_point(user, snapshot, err);
}

int verb_points(struct options *options, struct report *report,
                struct ds_error *err)
{
    __attribute__((cleanup(common_close))) struct ds_disk *disk = NULL;
    struct points points = { .report = report, .options = options };
    int result = operands_check(options, 1, "SOURCE", err);

    if (result == 0)
        result = common_open_source(options, false, &disk, err);
    if (result != 0)
        return result;
    points.disk = disk;
    report_table(report, "points", columns, ARRAY_COUNT(columns));
    while (result == 0 && points.depth < ds_disk_layer_count(disk)) {
        result = show_point(&points, NULL, err);
        if (result == 0)
            result = ds_disk_layer_snapshots(disk, points.depth, show_snapshot,
                                             &points, err);
        points.depth++;
    }
    if (result == 0)
        report_end(report);
    return result;
}
