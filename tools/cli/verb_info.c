/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"
#include "target.h"
#include "verbs.h"

static int show_layer(struct report *report, struct ds_disk *disk,
                      uint32_t layer, struct ds_error *err)
{
    const struct row rows[] = {
        row_count("depth", "depth", layer),
        row_text("path", "path", ds_disk_layer_path(disk, layer)),
        row_text("format", "format", ds_disk_layer_format(disk, layer)),
        row_bytes("size_bytes", "guest size",
                  ds_disk_layer_size_bytes(disk, layer)),
    };
    int result;

    report_object(report, NULL, "layer");
    report_rows(report, rows, ARRAY_COUNT(rows));
    result = common_facts(report, disk, layer, err);
    report_end(report);
    return result;
}

static int show_chain(struct report *report, struct ds_disk *disk,
                      struct ds_error *err)
{
    uint32_t count = ds_disk_layer_count(disk);
    int result = 0;

    report_array(report, "chain", NULL);
    for (uint32_t i = 0; i < count && result == 0; i++)
        result = show_layer(report, disk, i, err);
    report_end(report);
    return result;
}

int verb_info(struct options *options, struct report *report,
              struct ds_error *err)
{
    __attribute__((cleanup(common_close))) struct ds_disk *disk = NULL;
    int result = operands_check(options, 1, "SOURCE", err);
    struct row parents;

    if (result == 0)
        result = common_open_source(options, false, &disk, err);
    if (result != 0)
        return result;
    common_disk(report, "disk", "disk", disk);
    parents = row_if_any(
        row_count("parent_count", "parents", ds_disk_layer_count(disk) - 1));
    report_rows(report, &parents, 1);
    if (options->chain)
        result = show_chain(report, disk, err);
    else
        result = common_facts(report, disk, 0, err);
    common_files(report, disk);
    return result;
}
