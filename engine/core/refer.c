/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets whose data file is the source's own: nothing is shared by the
 * filesystem, since nothing exists twice. It is a graft without the clone, so
 * what a graft would move or punch cannot be done here and is refused.
 */
#include <inttypes.h>
#include <string.h>

#include "fail.h"
#include "plan.h"

static int check_places(const struct ds_plan *plan, struct ds_error *err)
{
    const struct survey_side *side = &plan->survey.graft;
    const struct ds_file *file = plan->disk->files[plan->base_index];
    uint64_t moved = totals_copied(&side->totals) + side->totals.shared_bytes -
                     side->kept_bytes + side->totals.decoded_bytes;

    if (moved != 0)
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                          "plan: the source's file cannot be shared: %" PRIu64
                          " bytes of its disk do not lie in it where the "
                          "target could name them",
                          moved);
    /* Other bytes there would be the guest's as soon as the file is taken for
     * what it then is, its disk. */
    if (layout_is_identity(&plan->target->layout) &&
        side->kept_span_bytes != plan->disk->size_bytes)
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                          "plan: the source's file cannot be shared: have "
                          "%" PRIu64 " bytes of the disk in it expect all "
                          "%" PRIu64,
                          side->kept_span_bytes, plan->disk->size_bytes);
    return 0;
}

int plan_refer(struct ds_plan *plan, struct ds_error *err)
{
    const struct ds_file *file = plan->disk->files[plan->base_index];
    uint32_t index = plan->target->layout.data_file_index;
    int result = check_places(plan, err);

    if (result == 0 && plan_is_foreign(plan, plan->base_index))
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                          "plan: the source's file cannot be shared: it lies "
                          "on %s and the target on %s",
                          file->store->name, plan->store->name);
    if (result == 0)
        result =
            plan->store->name_for(file, plan->paths[0], &plan->reference, err);
    if (result != 0)
        return result;
    plan->paths[index] = strdup(file->path);
    if (plan->paths[index] == NULL)
        return ds_fail_memory(err);
    plan_note(plan,
              "%s is the target's data file: what the guest writes changes "
              "it, and it must stay where it is",
              file->path);
    return 0;
}
