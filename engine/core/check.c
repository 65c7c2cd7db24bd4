/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with an image: the format's own findings, every pointer of
 * the map, and overlaps. A pointer that the map refuses ends the walk of its
 * layer, since what is behind it cannot be trusted; everything found up to
 * there is reported.
 */
#include "disk.h"
#include "fail.h"
#include "overlap.h"

struct inspection {
    struct ds_disk *disk;
    const struct ds_layer *layer;
    ds_problem_fn *problem;
    void *user;
    struct ds_check_report *report;
};

static int tell(const struct inspection *inspection,
                const struct ds_problem *problem, struct ds_error *err)
{
    if (problem->is_leak)
        inspection->report->leak_count++;
    else
        inspection->report->corruption_count++;
    if (inspection->problem != NULL &&
        inspection->problem(inspection->user, problem) != 0)
        return ds_fail(err, DS_ERR_CANCELLED, "check: cancelled");
    return 0;
}

static int take_finding(void *user, const struct ds_finding *finding,
                        struct ds_error *err)
{
    const struct inspection *inspection = user;
    struct ds_problem problem = {
        .is_leak = finding->is_leak,
        .file_index = inspection->layer->file_base + finding->file_index,
        .offset_bytes = finding->offset_bytes,
        .message = finding->message,
    };

    return tell(inspection, &problem, err);
}

/* Turn a CORRUPT error into a problem of the report; others stay errors. */
static int absorb(const struct inspection *inspection, int result,
                  struct ds_error *err)
{
    struct ds_problem problem = {
        .file_index = inspection->layer->file_base,
        .offset_bytes = err->offset_bytes,
        .message = err->message,
    };
    struct ds_error kept = *err;

    if (result != -DS_ERR_CORRUPT)
        return result;
    problem.message = kept.message;
    *err = (struct ds_error)DS_ERROR_INIT;
    return tell(inspection, &problem, err);
}

static void count(struct ds_check_report *report,
                  const struct ds_extent *extent)
{
    switch (extent->kind) {
    case DS_EXTENT_DATA:
        report->data_bytes += extent->length_bytes;
        break;
    case DS_EXTENT_ZERO:
        report->zero_bytes += extent->length_bytes;
        break;
    case DS_EXTENT_HOLE:
        report->hole_bytes += extent->length_bytes;
        break;
    case DS_EXTENT_ENCODED:
        report->encoded_bytes += extent->length_bytes;
        break;
    }
}

static int walk_layer(const struct inspection *inspection, uint32_t index,
                      struct ds_error *err)
{
    struct ds_extent extent;
    struct ds_map *map = NULL;
    int result = map_open_layer(inspection->disk, index, &map, err);

    while (result == 0) {
        result = ds_map_next(map, &extent, err);
        if (result <= 0)
            break;
        result = 0;
        if (index == 0)
            count(inspection->report, &extent);
    }
    ds_map_close(map);
    return result;
}

static int check_layer(struct inspection *inspection, uint32_t index,
                       struct ds_error *err)
{
    struct ds_image *image = inspection->disk->layers[index].image;
    int result = 0;

    inspection->layer = &inspection->disk->layers[index];
    if (image->format->check != NULL)
        result = image->format->check(image, take_finding, inspection, err);
    result = absorb(inspection, result, err);
    if (result != 0)
        return result;
    result = walk_layer(inspection, index, err);
    /* Overlaps can be looked for only where the whole map can be walked. */
    if (result == 0)
        result = overlap_check_layer(inspection->disk, index, err);
    return absorb(inspection, result, err);
}

int ds_disk_check(struct ds_disk *disk, ds_problem_fn *problem, void *user,
                  struct ds_check_report *report, struct ds_error *err)
{
    struct ds_error local = DS_ERROR_INIT;
    struct inspection inspection = {
        .disk = disk, .problem = problem, .user = user, .report = report
    };
    int result = 0;

    *report = (struct ds_check_report){ 0 };
    for (uint32_t i = 0; i < disk->layer_count && result == 0; i++)
        result = check_layer(&inspection, i, &local);
    if (result != 0 && err != NULL)
        *err = local;
    return result;
}
