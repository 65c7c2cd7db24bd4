/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets that list extents: how long the list is depends on the strategy,
 * and whether it can be that long must be known before anything is written.
 * So once the strategy is chosen, one more walk hands the target its runs. The
 * list lies in a file of its own, hence data begins where the base ends, and
 * places are final already.
 */
#include "plan.h"

static int list_units(void *user, const struct ds_unit_run *run,
                      struct ds_error *err)
{
    struct ds_plan *plan = user;

    return plan->format->target_count(plan->target, run, err);
}

static int list_transfer(void *user, const struct transfer *transfer,
                         struct ds_error *err)
{
    (void)user;
    (void)transfer;
    (void)err;
    return 0;
}

static int list_kept(void *user, uint64_t offset_bytes, uint64_t length_bytes,
                     uint64_t data_bytes, struct ds_error *err)
{
    (void)user;
    (void)offset_bytes;
    (void)length_bytes;
    (void)data_bytes;
    (void)err;
    return 0;
}

static const struct placer_sink list_sink = {
    .units = list_units,
    .transfer = list_transfer,
    .kept = list_kept,
};

int plan_list(struct ds_plan *plan, struct ds_error *err)
{
    struct placer placer = {
        .layout = &plan->target->layout,
        .domains = plan->domains,
        .base_index = plan->base_index,
        .data_start_bytes = plan->footprint.area_start_bytes,
        .sink = &list_sink,
        .user = plan,
    };
    struct ds_extent extent;
    struct ds_map *map = NULL;
    int result = ds_map_open(plan->disk, &map, err);

    placer_start(&placer);
    while (result == 0) {
        result = ds_map_next(map, &extent, err);
        if (result <= 0)
            break;
        result = placer_add(&placer, &extent, err);
    }
    if (result == 0)
        result = placer_finish(&placer, err);
    ds_map_close(map);
    return result;
}
