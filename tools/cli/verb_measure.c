/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a target would take, from the plan of a conversion into a directory.
 * Whether blocks can be shared depends on where that is.
 */
#include "common.h"
#include "progress.h"
#include "target.h"
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_plan(struct ds_plan **plan)
{
    ds_plan_free(*plan);
}

static void free_text(char **text)
{
    free(*text);
}

/* The name of a file that need not be, in DIRECTORY or where SOURCE is. */
static char *target_path(const struct options *options)
{
    const char *directory =
        options->operand_count > 1 ? options->operands[1] : NULL;
    const char *source = options->operands[0];
    const char *slash = strrchr(source, '/');
    const char *format = options->target_format;
    char *path = NULL;
    int length;

    if (directory != NULL)
        length = asprintf(&path, "%s/.diskshift-measure.%s", directory, format);
    else
        length = asprintf(&path, "%.*s.diskshift-measure.%s",
                          slash != NULL ? (int)(slash + 1 - source) : 0, source,
                          format);
    return length < 0 ? NULL : path;
}

/* What is taken to hold zeros: the totals do not say. */
static int add_zeroed(void *user, struct ds_op *ops, size_t count,
                      struct ds_error *err)
{
    uint64_t *zeroed_bytes = user;

    (void)err;
    for (size_t i = 0; i < count; i++)
        if (ops[i].kind == DS_OP_ZERO)
            *zeroed_bytes += ops[i].length_bytes;
    return 0;
}

static int make_plan(const struct options *options, struct ds_disk *disk,
                     struct ds_plan **plan, struct ds_error *err)
{
    __attribute__((cleanup(free_text))) char *path = target_path(options);
    struct progress progress;
    const struct ds_target_spec spec = {
        .format = options->target_format,
        .path = path,
        .options = options->target_options,
        .option_count = options->target_option_count,
    };
    const struct ds_convert_options convert_options = {
        .strategy = options->strategy,
        .output_bytes_max = options->output_bytes_max,
        .force = true, /* a file of that name is no matter here */
        .progress = progress_show,
        .user = &progress,
    };
    int result;

    if (path == NULL)
        return memory_error(err);
    progress_begin(&progress, options);
    result = ds_plan_make(disk, &spec, &convert_options, plan, err);
    progress_end(&progress);
    return result;
}

static uint64_t file_bytes(const struct ds_plan *plan)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < ds_plan_target_count(plan); i++)
        bytes += ds_plan_target_size_bytes(plan, i);
    return bytes;
}

static void show(struct report *report, const char *format,
                 const struct ds_plan *plan, uint64_t zeroed_bytes)
{
    const struct ds_totals *totals = ds_plan_totals(plan);
    uint64_t copied_bytes = common_copied_bytes(totals);
    uint64_t new_bytes = totals->metadata_bytes + copied_bytes +
                         totals->decoded_bytes + totals->unshared_bytes +
                         zeroed_bytes;
    const struct row rows[] = {
        row_text("format", "format", format),
        row_bytes("file_bytes", "file size", file_bytes(plan)),
        row_bytes("taken_bytes", "taken", new_bytes + totals->shared_bytes),
        row_bytes("shared_bytes", "of it shared", totals->shared_bytes),
        row_bytes("new_bytes", "of it new", new_bytes),
        row_bytes("metadata_bytes", "tables", totals->metadata_bytes),
        row_if_any(row_bytes("copied_bytes", "copied", copied_bytes)),
        row_if_any(
            row_bytes("decoded_bytes", "decoded", totals->decoded_bytes)),
        row_if_any(row_bytes("unshared_bytes", "unshared at edges",
                             totals->unshared_bytes)),
        row_if_any(row_bytes("zeroed_bytes", "zeroed", zeroed_bytes)),
    };

    report_object(report, "measure", "target");
    report_rows(report, rows, ARRAY_COUNT(rows));
    common_upper_bound(report, totals);
    common_notes(report, plan);
    report_end(report);
}

int verb_measure(struct options *options, struct report *report,
                 struct ds_error *err)
{
    __attribute__((cleanup(common_close))) struct ds_disk *disk = NULL;
    __attribute__((cleanup(free_plan))) struct ds_plan *plan = NULL;
    uint64_t zeroed_bytes = 0;
    int result = measure_resolve(options, err);

    if (result == 0)
        result = common_open_source(options, false, &disk, err);
    if (result == 0)
        result = make_plan(options, disk, &plan, err);
    if (result == 0)
        result = ds_plan_emit(plan, add_zeroed, &zeroed_bytes, err);
    if (result != 0)
        return result;
    common_source(report, disk);
    show(report, options->target_format, plan, zeroed_bytes);
    return STATUS_DONE;
}
