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

static const struct placer_sink list_sink = { .units = list_units };

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

    return placer_run(&placer, plan->disk, err);
}
