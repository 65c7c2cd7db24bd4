/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"
#include "progress.h"
#include "target.h"
#include "verbs.h"

#include <stdlib.h>

static const struct column op_columns[] = {
    { "kind", "kind", UNIT_TEXT, -10 },
    { "target_index", "target", UNIT_COUNT, 6 },
    { "target_offset_bytes", "target offset", UNIT_OFFSET, 16 },
    { "length_bytes", "length", UNIT_OFFSET, 16 },
    { "source_index", "source", UNIT_COUNT, 6 },
    { "source_offset_bytes", "source offset", UNIT_OFFSET, 16 },
    { "reason", "reason", UNIT_TEXT, -16 },
    { "guest_offset_bytes", "guest offset", UNIT_OFFSET, 0 },
    { "encoding", "encoding", UNIT_TEXT, -8 },
    { "stored_bytes", "stored", UNIT_OFFSET, 10 },
    { "unit_bytes", "unit", UNIT_OFFSET, 0 },
    { "skip_bytes", "skip", UNIT_OFFSET, 0 },
};

static void show_op(struct report *report, const struct ds_op *op)
{
    bool barrier = op->kind == DS_OP_BARRIER;
    bool sourced = op->kind == DS_OP_CLONE || op->kind == DS_OP_CLONE_FILE ||
                   op->kind == DS_OP_COPY || op->kind == DS_OP_DECODE;
    bool repeat = op->kind == DS_OP_REPEAT;
    bool reasoned = op->reason != DS_COPY_NONE;
    /* Its place in the target is known once the units before it are. */
    bool encode = op->kind == DS_OP_ENCODE;
    bool ranged = !barrier && op->kind != DS_OP_TRUNCATE;
    struct value values[ARRAY_COUNT(op_columns)] = {
        { .text = ds_op_kind_name(op->kind) },
        { .absent = barrier, .number = op->target_index },
        { .absent = barrier || encode, .number = op->target_offset_bytes },
        { .absent = !ranged, .number = op->length_bytes },
        { .absent = !sourced, .number = op->source_index },
        { .absent = !sourced && !repeat, .number = op->source_offset_bytes },
        { .absent = !reasoned, .text = ds_copy_reason_name(op->reason) },
        { .absent = !encode, .number = op->source_offset_bytes },
    };

    common_encoding(&op->encoding, op->kind == DS_OP_DECODE,
                    values + ARRAY_COUNT(op_columns) - ENCODING_COLUMN_COUNT);

    report_table_row(report, values);
}

static int show_ops(void *user, struct ds_op *ops, size_t count,
                    struct ds_error *err)
{
    struct report *report = user;

    for (size_t i = 0; i < count; i++)
        show_op(report, &ops[i]);
    return common_check_output(report, err);
}

static void show_files(struct report *report, const struct ds_plan *plan)
{
    uint32_t count = ds_plan_target_count(plan);

    report_array(report, "files", "files");
    for (uint32_t i = 0; i < count; i++) {
        const struct row rows[] = {
            row_text("path", "path", ds_plan_target_path(plan, i)),
            row_bytes("size_bytes", "size", ds_plan_target_size_bytes(plan, i)),
        };

        report_object(report, NULL, NULL);
        report_rows(report, rows, ARRAY_COUNT(rows));
        report_end(report);
    }
    report_end(report);
}

static void show_members(struct report *report, const struct ds_disk *disk,
                         const struct ds_plan *plan)
{
    const char *name = ds_plan_member(plan, 0);

    if (name == NULL)
        return;
    report_array(report, "disks", NULL);
    for (uint32_t i = 0; (name = ds_plan_member(plan, i)) != NULL; i++)
        common_member(report, disk, i, name);
    report_end(report);
}

static int show_plan(struct report *report, const struct ds_disk *disk,
                     const struct ds_target_spec *spec, struct ds_plan *plan,
                     bool ops, struct ds_error *err)
{
    const struct row rows[] = {
        row_text("path", "path", spec->path),
        row_text("format", "format", spec->format),
        row_text("strategy", "strategy",
                 ds_strategy_name(ds_plan_strategy(plan))),
        row_text("strategy_reason", "because", ds_plan_strategy_reason(plan)),
    };
    int result = 0;

    report_object(report, NULL, "target");
    report_rows(report, rows, ARRAY_COUNT(rows));
    show_members(report, disk, plan);
    common_upper_bound(report, ds_plan_totals(plan));
    common_totals(report, ds_plan_totals(plan));
    show_files(report, plan);
    common_notes(report, plan);
    if (ops) {
        report_table(report, "operations", op_columns, ARRAY_COUNT(op_columns));
        result = ds_plan_emit(plan, show_ops, report, err);
        if (result != 0)
            return result;
        report_end(report);
    }
    report_end(report);
    return 0;
}

static int make_plans(const struct options *options, struct ds_disk *disk,
                      struct ds_clone_via *via, struct ds_plan **plans,
                      struct ds_error *err)
{
    struct progress progress;
    const struct ds_convert_options convert_options = {
        .strategy = options->strategy,
        .output_bytes_max = options->output_bytes_max,
        .require_clone = options->require_clone,
        .clone_via = via,
        .share_source_file = options->share_source_file,
        .progress = progress_show,
        .user = &progress,
    };
    int result = 0;

    progress_begin(&progress, options);
    for (size_t i = 0; i < options->target_count && result == 0; i++)
        result = ds_plan_make(disk, &options->targets[i], &convert_options,
                              &plans[i], err);
    progress_end(&progress);
    return result;
}

int verb_plan(struct options *options, struct report *report,
              struct ds_error *err)
{
    __attribute__((cleanup(common_close))) struct ds_disk *disk = NULL;
    __attribute__((cleanup(common_close_via))) struct ds_clone_via *via = NULL;
    struct ds_plan **plans;
    int result = target_resolve(options, err);

    if (result == 0)
        result = common_open_via(options, &via, err);
    if (result == 0)
        result = common_open_source(options, false, &disk, err);
    if (result != 0)
        return result;
    plans = calloc(options->target_count, sizeof(struct ds_plan *));
    if (plans == NULL)
        return memory_error(err);
    /* All of them before the first is shown: a target that cannot be is an
     * error and no report. */
    result = make_plans(options, disk, via, plans, err);
    if (result == 0) {
        common_source(report, disk);
        if (options->ops)
            common_files(report, disk);
        report_array(report, "targets", NULL);
        for (size_t i = 0; i < options->target_count && result == 0; i++)
            result = show_plan(report, disk, &options->targets[i], plans[i],
                               options->ops, err);
        if (result == 0)
            report_end(report);
    }
    for (size_t i = 0; i < options->target_count; i++)
        ds_plan_free(plans[i]);
    free(plans);
    return result;
}
