/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"
#include "target.h"
#include "verbs.h"

#include <stdio.h>

#define EXTENT_KIND_COUNT 4

struct map_totals {
    uint64_t bytes[EXTENT_KIND_COUNT];
    uint64_t extent_count;
};

static const struct column columns[] = {
    { "guest_offset_bytes", "guest offset", UNIT_OFFSET, 16 },
    { "length_bytes", "length", UNIT_OFFSET, 16 },
    { "kind", "kind", UNIT_TEXT, -8 },
    { "depth", "depth", UNIT_COUNT, 5 },
    { "file_index", "file", UNIT_COUNT, 4 },
    { "file_offset_bytes", "file offset", UNIT_OFFSET, 16 },
    { "encoding", "encoding", UNIT_TEXT, -8 },
    { "stored_bytes", "stored", UNIT_OFFSET, 10 },
    { "unit_bytes", "unit", UNIT_OFFSET, 0 },
    { "skip_bytes", "skip", UNIT_OFFSET, 0 },
};

static void close_map(struct ds_map **map)
{
    ds_map_close(*map);
}

static void show_extent(struct report *report, const struct ds_extent *extent)
{
    bool nowhere = extent->file_index == DS_FILE_NONE;
    struct value values[ARRAY_COUNT(columns)] = {
        { .number = extent->guest_offset_bytes },
        { .number = extent->length_bytes },
        { .text = ds_extent_kind_name(extent->kind) },
        { .absent = extent->kind == DS_EXTENT_HOLE, .number = extent->depth },
        { .absent = nowhere, .number = extent->file_index },
        { .absent = nowhere, .number = extent->file_offset_bytes },
    };

    common_encoding(&extent->encoding, extent->kind == DS_EXTENT_ENCODED,
                    values + ARRAY_COUNT(columns) - ENCODING_COLUMN_COUNT);

    report_table_row(report, values);
}

static int show_extents(struct ds_disk *disk, struct report *report,
                        struct map_totals *totals, struct ds_error *err)
{
    __attribute__((cleanup(close_map))) struct ds_map *map = NULL;
    struct ds_extent extent;
    int result = ds_map_open(disk, &map, err);

    if (result != 0)
        return result;
    for (;;) {
        result = ds_map_next(map, &extent, err);
        if (result <= 0)
            return result;
        totals->bytes[extent.kind] += extent.length_bytes;
        totals->extent_count++;
        show_extent(report, &extent);
        result = common_check_output(report, err);
        if (result != 0)
            return result;
    }
}

static void show_totals(struct report *report, const struct map_totals *totals)
{
    const struct row count =
        row_count("extent_count", "extents", totals->extent_count);

    report_object(report, "totals", "totals");
    report_rows(report, &count, 1);
    for (size_t i = 0; i < EXTENT_KIND_COUNT; i++) {
        const char *name = ds_extent_kind_name((enum ds_extent_kind)i);
        char key[32];
        struct row row;

        snprintf(key, sizeof(key), "%s_bytes", name);
        row = row_bytes(key, name, totals->bytes[i]);
        report_rows(report, &row, 1);
    }
    report_end(report);
}

int verb_map(struct options *options, struct report *report,
             struct ds_error *err)
{
    __attribute__((cleanup(common_close))) struct ds_disk *disk = NULL;
    struct map_totals totals = { 0 };
    int result = operands_check(options, 1, "SOURCE", err);

    if (result == 0)
        result = common_open_source(options, false, &disk, err);
    if (result != 0)
        return result;
    common_disk(report, "disk", "disk", disk);
    common_files(report, disk);
    report_table(report, "extents", columns, ARRAY_COUNT(columns));
    result = show_extents(disk, report, &totals, err);
    if (result != 0)
        return result;
    report_end(report);
    show_totals(report, &totals);
    return STATUS_DONE;
}
