/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversion from plan to installed target:
 *
 *   plan all | verify the source where it can be (verify_source) |
 *   per target: create .partial - run - flush - install extents -
 *               read back and compare - source unchanged? - install
 *
 * The named file gets its name last, so until then the target is absent. An
 * error or a kill before that leaves at most one .partial per file, and an
 * extent file that nothing refers to.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arith.h"
#include "execute.h"
#include "fail.h"
#include "verify.h"

static double now_seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* -- verification -----------------------------------------------------------*/

/* Which disk it is of, and where in that; unless it is the source that is no
 * longer what it was. */
static int fail_difference(struct ds_disk *disk, uint64_t position,
                           struct ds_error *err)
{
    const struct ds_part *part = disk_part_at(disk, position);
    int result = ds_disk_check_unchanged(disk, err);

    return result != 0
               ? result
               : ds_fail(err, DS_ERR_SYSTEM,
                         "verify: the target differs from %s at guest offset "
                         "%" PRIu64 "; it was removed",
                         ds_disk_layer_path(disk, part->first_layer),
                         position - part->begin_bytes);
}

static int compare(struct execution *execution, struct ds_disk *target,
                   struct ds_report *report, struct ds_error *err)
{
    const struct ds_plan *plan = execution->plan;
    struct verify_options options = {
        .progress = execution->options->progress,
        .user = execution->options->user,
        .witness = plan->witness,
        .trust = plan->trust,
        .written = execution->files,
        .written_count = plan->target->layout.file_count,
        .read_back = true,
    };
    int result =
        verify_disks(plan->disk, target, &options, &report->verify, err);

    if (result == 0 && !report->verify.identical)
        result = fail_difference(plan->disk,
                                 report->verify.difference_offset_bytes, err);
    report->verified = result == 0;
    return result;
}

/* What lies together is read in order anyhow, in large pieces and past the
 * cache; 4096 pages are the rest. */
#define PREFETCH_BYTES_MAX (UINT64_C(16) << 20)
#define PREFETCH_PIECE_BYTES_MAX (UINT64_C(64) << 10)

/* Let the tables be on their way from storage before they are asked for. */
static void prefetch_tables(const struct execution *execution,
                            struct ds_file *file)
{
    const struct execution_tables *tables = &execution->tables;
    uint64_t left_bytes = PREFETCH_BYTES_MAX;

    for (unsigned i = 0;
         i < tables->count && execution->plan->store->prefetch != NULL; i++) {
        uint64_t offset = tables->pieces[i].offset_bytes;
        uint64_t length =
            ds_min_u64(ds_min_u64(tables->pieces[i].end_bytes - offset,
                                  PREFETCH_PIECE_BYTES_MAX),
                       left_bytes);

        if (length > 0)
            execution->plan->store->prefetch(file, offset, length);
        left_bytes -= length;
    }
}

static int open_part(struct execution *execution, uint32_t index,
                     struct ds_disk **out, struct ds_error *err)
{
    struct ds_plan *plan = execution->plan;
    char member[DISK_MEMBER_BYTES];
    /* A name that we put there ourselves may be followed anywhere. */
    struct ds_open_options options = {
        .allow_refs = plan->strategy == DS_STRATEGY_REFERENCE ? "/" : NULL,
        .member =
            plan->format->has_members ? disk_member_name(index, member) : NULL,
    };
    struct ds_file *file = NULL;
    int result = plan->store->reopen(execution->files[0], &file, err);

    if (result != 0)
        return result;
    if (!execution->options->no_verify && index == 0)
        prefetch_tables(execution, file);
    return ds_disk_open_file(file, plan->format, &options, out, err);
}

/* Each of the target's disks is one of the source's, as large as that. */
static int check_parts(const struct ds_disk *source,
                       const struct ds_disk *target, struct ds_error *err)
{
    uint32_t count = disk_member_count(target);

    if (count != source->part_count)
        return ds_fail(err, DS_ERR_SYSTEM,
                       "verify: the target has %" PRIu32
                       " disks, expect %" PRIu32 "; it was removed",
                       count, source->part_count);
    for (uint32_t i = 0; i < count; i++)
        if (target->parts[i].size_bytes != source->parts[i].size_bytes)
            return ds_fail(err, DS_ERR_SYSTEM,
                           "verify: disk %" PRIu32 " of the target: have "
                           "%" PRIu64 " bytes expect %" PRIu64
                           "; it was removed",
                           i + 1, target->parts[i].size_bytes,
                           source->parts[i].size_bytes);
    return 0;
}

/* Read the target back through its format, from storage. */
static int read_back(struct execution *execution, struct ds_report *report,
                     struct ds_error *err)
{
    const struct ds_disk *source = execution->plan->disk;
    struct ds_disk *target = NULL;
    int result = open_part(execution, 0, &target, err);

    for (uint32_t i = 1; i < source->part_count && result == 0; i++) {
        struct ds_disk *next = NULL;

        result = open_part(execution, i, &next, err);
        if (result == 0)
            result = ds_disk_append(target, next, err);
    }
    if (result == 0)
        result = check_parts(source, target, err);
    if (result == 0 && !execution->options->no_verify)
        result = compare(execution, target, report, err);
    ds_disk_close(target);
    return result;
}

/* -- one target
 * ---------------------------------------------------------------*/

static int install_extents(struct execution *execution, struct ds_error *err)
{
    struct ds_plan *plan = execution->plan;
    int result = 0;

    for (uint32_t i = 1; i < plan->target->layout.file_count && result == 0;
         i++)
        if (execution->files[i] != NULL)
            result =
                plan->store->install_part != NULL
                    ? plan->store->install_part(execution->files[i], err)
                    : plan->store->install(execution->files[i], false, err);
    return result;
}

static void settle_extents(struct execution *execution)
{
    const struct ds_plan *plan = execution->plan;

    for (uint32_t i = 1; i < plan->target->layout.file_count; i++)
        if (execution->files[i] != NULL && plan->store->settle != NULL)
            plan->store->settle(execution->files[i]);
}

/* By which ways data came into the files, where there are several. */
static void note_accounts(struct execution *execution)
{
    struct ds_plan *plan = execution->plan;
    char text[PLAN_NOTE_BYTES];

    for (uint32_t i = 0; i < plan->target->layout.file_count; i++) {
        if (execution->files[i] == NULL || plan->store->account == NULL)
            continue;
        plan->store->account(execution->files[i], text, sizeof(text));
        plan_note(plan, "%s", text);
    }
}

static int run_target(struct execution *execution, struct ds_report *report,
                      struct ds_error *err)
{
    struct ds_plan *plan = execution->plan;
    double begin = now_seconds(), executed;
    int result = execute_create(execution, err);

    if (result != 0)
        return result;
    result = execute_run(execution, err);
    executed = now_seconds();
    report->execute_seconds = executed - begin;
    if (result == 0)
        result = execute_sync(execution, err);
    report->sync_seconds = now_seconds() - executed;
    if (result == 0)
        result = install_extents(execution, err);
    if (result == 0)
        result = read_back(execution, report, err);
    if (result == 0)
        result = ds_disk_check_unchanged(plan->disk, err);
    if (result == 0)
        result = plan->store->install(execution->files[0],
                                      execution->options->force, err);
    if (result == 0)
        settle_extents(execution);
    if (result != 0) {
        execute_discard(execution);
    } else {
        note_accounts(execution);
        execute_close(execution);
    }
    return result;
}

/* -- the report
 * ---------------------------------------------------------------*/

/* Whether the file was met before: several disks may lie in one. */
static bool is_known(const struct ds_disk *disk, uint32_t index)
{
    const struct ds_file *file = disk->files[index];

    for (uint32_t i = 0; disk->part_count > 1 && i < index; i++)
        if (disk->files[i]->store == file->store &&
            file->store->same(disk->files[i], file))
            return true;
    return false;
}

/* Bytes of the source that nobody else refers to: what deleting it frees. */
static bool exclusive_bytes(struct ds_disk *disk, uint64_t *bytes)
{
    *bytes = 0;
    for (uint32_t i = 0; i < disk->file_count; i++) {
        struct ds_file *file = disk->files[i];
        uint64_t own;

        if (is_known(disk, i))
            continue;
        if (file->store->exclusive == NULL ||
            file->store->exclusive(file, 0, file->size_bytes, &own, NULL) != 0)
            return false;
        *bytes += own;
    }
    return true;
}

static void fill_space(const struct ds_plan *plan,
                       const struct ds_convert_options *options,
                       struct ds_report *report)
{
    struct ds_space space = { 0 };
    uint64_t growth =
        report->totals.shared_bytes / 100 * options->growth_percent;

    if (plan->strategy != DS_STRATEGY_REFERENCE && !options->no_exclusive)
        report->source_exclusive_known =
            exclusive_bytes(plan->disk, &report->source_exclusive_bytes);
    if (plan->store->space(plan->paths[0], &space, NULL) != 0)
        return;
    report->free_bytes = space.free_bytes;
    if (growth > space.free_bytes)
        report->growth_short_bytes = growth - space.free_bytes;
}

static void fill_report(const struct ds_plan *plan,
                        const struct ds_convert_options *options,
                        struct ds_report *report)
{
    const char *member;

    report->totals = plan->totals;
    report->strategy = plan->strategy;
    (void)snprintf(report->path, sizeof(report->path), "%s", plan->paths[0]);
    (void)snprintf(report->strategy_reason, sizeof(report->strategy_reason),
                   "%s", plan->reason);
    for (unsigned i = 0; i < plan->note_count; i++)
        memcpy(report->notes[i], plan->notes[i], sizeof(report->notes[i]));
    report->note_count = plan->note_count;
    for (uint32_t i = 0; (member = ds_plan_member(plan, i)) != NULL; i++)
        (void)snprintf(report->members[report->member_count++],
                       sizeof(report->members[0]), "%s", member);
    fill_space(plan, options, report);
}

/* -- all targets
 * ----------------------------------------------------------------*/

static int check_names(struct ds_plan *const *plans, size_t count,
                       const struct ds_convert_options *options,
                       struct ds_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (plans[i]->replaces && !options->force)
            return ds_fail(err, DS_ERR_REFUSED, "the target %s exists",
                           plans[i]->paths[0]);
        for (size_t j = 0; j < i; j++)
            if (strcmp(plans[i]->paths[0], plans[j]->paths[0]) == 0)
                return ds_fail(err, DS_ERR_ARG, "the target %s is named twice",
                               plans[i]->paths[0]);
    }
    return 0;
}

/* Where the source says what its bytes must be, they are looked at before
 * anything is made of them. That they stay so is checked at the end. */
static int verify_source(struct ds_plan *const *plans, size_t count,
                         const struct ds_convert_options *options,
                         struct ds_error *err)
{
    struct ds_disk *disk = plans[0]->disk;
    int result = 0;

    for (uint32_t i = 0; i < disk->layer_count && result == 0; i++) {
        struct ds_image *image = disk->layers[i].image;
        const char *note = NULL;

        if (image->format->verify_source == NULL)
            continue;
        result = image->format->verify_source(image, options->progress,
                                              options->user, &note, err);
        for (size_t p = 0; p < count && note != NULL && result == 0; p++)
            plan_note(plans[p], "%s", note);
    }
    return result;
}

static int run_all(struct ds_plan *const *plans, size_t count,
                   const struct ds_convert_options *options,
                   struct ds_report *reports, size_t *done,
                   struct ds_error *err)
{
    int result = check_names(plans, count, options, err);

    if (result == 0 && count > 0)
        result = verify_source(plans, count, options, err);
    for (size_t i = 0; i < count && result == 0; i++) {
        struct execution execution = { .plan = plans[i], .options = options };
        double begin = now_seconds();

        result = run_target(&execution, &reports[i], err);
        if (result != 0)
            break;
        fill_report(plans[i], options, &reports[i]);
        reports[i].seconds = reports[i].plan_seconds + now_seconds() - begin;
        ++*done;
    }
    return result;
}

int ds_convert(struct ds_disk *disk, const struct ds_target_spec *specs,
               size_t spec_count, const struct ds_convert_options *options,
               struct ds_report *reports, size_t *done, struct ds_error *err)
{
    static const struct ds_convert_options standard = { 0 };
    struct ds_plan **plans;
    size_t installed = 0, planned = 0;
    int result = 0;

    if (!disk->quiet)
        return ds_fail(err, DS_ERR_ARG,
                       "the source was not opened for conversion");
    if (options == NULL)
        options = &standard;
    plans = calloc(spec_count, sizeof(struct ds_plan *));
    if (plans == NULL)
        return ds_fail_memory(err);
    while (planned < spec_count && result == 0) {
        double begin = now_seconds();

        reports[planned] = (struct ds_report){ 0 };
        result =
            plan_prepare(disk, &specs[planned], options, &plans[planned], err);
        reports[planned].plan_seconds = now_seconds() - begin;
        planned++;
    }
    if (result == 0)
        result = run_all(plans, spec_count, options, reports, &installed, err);
    if (done != NULL)
        *done = installed;
    while (planned > 0)
        ds_plan_free(plans[--planned]);
    free(plans);
    return result;
}
