/* SPDX-License-Identifier: Apache-2.0 */
/* The second pass: the plan as a stream of operations. */
#include "arith.h"
#include "encode.h"
#include "plan.h"

struct pass {
    struct ds_plan *plan;
    struct emit emit;
    struct placer placer;
};

static int pass_units(void *user, const struct ds_unit_run *run,
                      struct ds_error *err)
{
    struct pass *pass = user;
    struct ds_plan *plan = pass->plan;

    return plan->format->target_place(plan->target, run, &pass->emit.emitter,
                                      err);
}

static int pass_transfer(void *user, const struct transfer *transfer,
                         struct ds_error *err)
{
    struct pass *pass = user;

    return emit_transfer(&pass->emit, transfer, err);
}

static const struct placer_sink pass_sink = {
    .units = pass_units,
    .transfer = pass_transfer,
};

static int emit_truncate(struct pass *pass, uint32_t target_index,
                         struct ds_error *err)
{
    struct ds_op op = {
        .kind = DS_OP_TRUNCATE,
        .target_index = target_index,
        .target_offset_bytes = pass->plan->seal.file_size_bytes[target_index],
    };

    return emit_op(&pass->emit, &op, err);
}

/* In one file after the other: what was cloned or written there stays. */
static int emit_allocate(struct pass *pass, uint32_t target_index,
                         struct ds_error *err)
{
    struct ds_op op = {
        .kind = DS_OP_ALLOCATE,
        .target_index = target_index,
        .length_bytes = pass->plan->seal.file_size_bytes[target_index],
    };

    return emit_op(&pass->emit, &op, err);
}

static uint64_t base_size(const struct ds_plan *plan)
{
    return plan->disk->files[plan->base_index]->size_bytes;
}

static int emit_base(struct pass *pass, struct ds_error *err)
{
    struct ds_plan *plan = pass->plan;
    uint32_t data_index = plan->target->layout.data_file_index;
    struct ds_op op = {
        .kind = DS_OP_CLONE_FILE,
        .source_index = plan->base_index,
        .target_index = data_index,
        .length_bytes = base_size(plan),
        .data_bytes = plan->survey.graft.kept_bytes,
    };
    int result;

    result = emit_op(&pass->emit, &op, err);
    if (result == 0)
        result = emit_barrier(&pass->emit, err);
    if (result != 0 ||
        plan->seal.file_size_bytes[data_index] >= base_size(plan))
        return result;
    result = emit_truncate(pass, data_index, err);
    return result != 0 ? result : emit_barrier(&pass->emit, err);
}

static int report_used(struct pass *pass, uint64_t offset_bytes,
                       uint64_t length_bytes, struct ds_error *err)
{
    struct ds_plan *plan = pass->plan;

    if (!plan->target->layout.wants_used || length_bytes == 0)
        return 0;
    return plan->format->target_used(plan->target, offset_bytes, length_bytes,
                                     &pass->emit.emitter, err);
}

static int take_base_range(void *user, const struct base_range *range,
                           struct ds_error *err)
{
    struct pass *pass = user;
    struct ds_plan *plan = pass->plan;
    struct ds_op op = {
        .kind = DS_OP_PUNCH,
        .target_index = plan->target->layout.data_file_index,
        .target_offset_bytes = range->offset_bytes,
    };
    uint64_t end = plan->seal.file_size_bytes[op.target_index];

    if (range->used) {
        totals_unshare(&pass->emit.totals, range->edge_bytes);
        return report_used(pass, range->offset_bytes, range->length_bytes, err);
    }
    if (range->offset_bytes >= end)
        return 0;
    op.length_bytes =
        ds_min_u64(range->length_bytes, end - range->offset_bytes);
    return emit_op(&pass->emit, &op, err);
}

/* Everything used in file order: head, what stayed, tables and data. */
static int walk_used(struct pass *pass, struct ds_error *err)
{
    struct ds_plan *plan = pass->plan;
    uint64_t begin = plan->footprint.area_start_bytes;
    uint64_t end =
        plan->seal.data_start_bytes + plan->footprint.relocated_bytes;
    int result = report_used(pass, 0, plan->target->layout.head_bytes, err);

    if (result == 0 && plan->strategy == DS_STRATEGY_GRAFT)
        result = survey_base(&plan->request, &plan->survey, take_base_range,
                             pass, err);
    return result != 0 ? result : report_used(pass, begin, end - begin, err);
}

static int finish(struct pass *pass, struct ds_error *err)
{
    struct ds_plan *plan = pass->plan;
    int result = emit_barrier(&pass->emit, err);

    if (result == 0)
        result =
            plan->format->target_finish(plan->target, &pass->emit.emitter, err);
    if (result == 0 && plan->target->layout.encode != DS_CODEC_NONE)
        plan->seal.file_size_bytes[plan->target->layout.data_file_index] =
            plan->format->target_encoded_size(plan->target);
    if (result == 0)
        result = emit_barrier(&pass->emit, err);
    for (uint32_t i = 0; i < plan->target->layout.file_count && result == 0;
         i++)
        if (!plan_refers(plan, i))
            result = emit_truncate(pass, i, err);
    if (result == 0 && plan->target->layout.allocate)
        result = emit_barrier(&pass->emit, err);
    for (uint32_t i = 0; i < plan->target->layout.file_count && result == 0;
         i++)
        if (plan->target->layout.allocate && !plan_refers(plan, i))
            result = emit_allocate(pass, i, err);
    return result != 0 ? result : emit_flush(&pass->emit, err);
}

int plan_emit(struct ds_plan *plan, ds_op_fn *receive, void *user,
              struct ds_error *err)
{
    const struct ds_target_layout *layout = &plan->target->layout;
    struct pass pass = {
        .plan = plan,
        .emit = {
            .domains = plan->domains,
            .sources = plan->disk->files,
            .layout = layout,
            .has_base = plan->base_index != DS_FILE_NONE,
            .receive = receive,
            .user = user,
        },
        .placer = {
            .layout = layout,
            .domains = plan->domains,
            .base_index = plan->base_index,
            .data_start_bytes = plan->seal.data_start_bytes,
            .sink = &pass_sink,
        },
    };
    int result = emit_init(&pass.emit, plan->disk->size_bytes, err);

    pass.placer.user = &pass;
    if (result == 0 && plan->strategy == DS_STRATEGY_GRAFT)
        result = emit_base(&pass, err);
    if (plan->strategy == DS_STRATEGY_REFERENCE)
        pass.emit.totals.shared_bytes = plan->survey.graft.kept_bytes;
    if (result == 0)
        result = layout->encode != DS_CODEC_NONE
                     ? encode_units(plan, &pass.emit, !plan->executing, err)
                     : placer_run(&pass.placer, plan->disk, err);
    if (result == 0)
        result = walk_used(&pass, err);
    if (result == 0)
        result = finish(&pass, err);
    plan->totals = pass.emit.totals;
    emit_free(&pass.emit);
    return result;
}
