/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "registry.h"

#define FOREIGN_GRANULARITY_BYTES 4096u /* nothing comes of it */

/* -- deciding ---------------------------------------------------------------*/

bool plan_is_foreign(const struct ds_plan *plan, uint32_t source_index)
{
    return !plan->store->takes_any_source &&
           strcmp(plan->disk->files[source_index]->store->name,
                  plan->store->name) != 0;
}

static int find_domain(struct ds_plan *plan, const char *path, uint32_t index,
                       struct ds_error *err)
{
    struct ds_file *file = plan->disk->files[index];
    struct ds_clone_domain *out = &plan->domains[index];

    if (plan_is_foreign(plan, index)) {
        *out = (struct ds_clone_domain){
            .known = true,
            .granularity_bytes = FOREIGN_GRANULARITY_BYTES,
            .reason = DS_COPY_OTHER_FILESYSTEM,
        };
        return 0;
    }
    if (plan->via == NULL)
        return plan->store->domain(file, path, out, err);
    if (plan->store->via_domain == NULL)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "plan: %.300s: a storage array can be told to share "
                       "blocks of files at nfs:// paths only",
                       path);
    return plan->store->via_domain(file, path, plan->via, out, err);
}

static int find_domains(struct ds_plan *plan, const char *path,
                        struct ds_error *err)
{
    const struct ds_disk *disk = plan->disk;
    int result = 0;

    for (uint32_t i = 0; i < disk->file_count && result == 0; i++) {
        result = find_domain(plan, path, i, err);
        if (result == 0 && !plan->domains[i].known)
            plan_note(plan,
                      "could not probe whether blocks of %s can be shared "
                      "there: the figures are a guess",
                      disk->files[i]->path);
    }
    return result;
}

static void decide(struct ds_plan *plan, enum ds_strategy strategy,
                   const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void decide(struct ds_plan *plan, enum ds_strategy strategy,
                   const char *format, ...)
{
    va_list args;

    plan->strategy = strategy;
    plan->base_index =
        strategy == DS_STRATEGY_GRAFT || strategy == DS_STRATEGY_REFERENCE
            ? plan->survey.base_index
            : DS_FILE_NONE;
    va_start(args, format);
    (void)vsnprintf(plan->reason, sizeof(plan->reason), format, args);
    va_end(args);
}

static const char *why_no_graft(const struct ds_plan *plan)
{
    if (!plan->target->layout.graftable)
        return "the target's pointers cannot name the source's places";
    if (!plan->survey.graft.possible)
        return "the source file cannot be cloned there whole";
    return "so few operations that a graft was not priced";
}

/* Where every unit is compressed there is nothing to choose. */
static int choose_encode(struct ds_plan *plan, enum ds_strategy asked,
                         struct ds_error *err)
{
    static const char why[] = "the target's units are compressed";

    if (asked != DS_STRATEGY_AUTO)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "plan: strategy %s is not possible: %s",
                       ds_strategy_name(asked), why);
    decide(plan, DS_STRATEGY_ENCODE, "%s", why);
    return 0;
}

/* A strategy that copies is worth it only where the other is far dearer. */
#define COPY_PENALTY 4u

static bool graft_is_better(const struct ds_plan *plan, bool must_share)
{
    const struct survey_side *range = &plan->survey.range;
    const struct survey_side *graft = &plan->survey.graft;
    uint64_t graft_copied = totals_copied(&graft->totals);
    uint64_t range_copied = totals_copied(&range->totals);

    if (must_share && (graft_copied == 0) != (range_copied == 0))
        return graft_copied == 0;
    if (plan->domains[plan->survey.base_index].prefers_file)
        return graft_copied <= range_copied * COPY_PENALTY;
    return graft->cost_ns * (graft_copied > range_copied ? COPY_PENALTY : 1) <
           range->cost_ns * (range_copied > graft_copied ? COPY_PENALTY : 1);
}

static int choose(struct ds_plan *plan, enum ds_strategy asked, bool must_share,
                  struct ds_error *err)
{
    const struct survey_side *range = &plan->survey.range;
    const struct survey_side *graft = &plan->survey.graft;
    uint64_t range_ops = range->totals.op_count[DS_OP_CLONE] +
                         range->totals.op_count[DS_OP_COPY];
    uint64_t graft_ops = graft->totals.op_count[DS_OP_CLONE] +
                         graft->totals.op_count[DS_OP_COPY] +
                         graft->totals.op_count[DS_OP_PUNCH] + 1;

    if (plan->target->layout.encode != DS_CODEC_NONE)
        return choose_encode(plan, asked, err);
    if (asked == DS_STRATEGY_REFERENCE) {
        decide(plan, asked, "asked for");
        return plan_refer(plan, err);
    }
    if (asked == DS_STRATEGY_GRAFT && !graft->possible)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "plan: strategy graft is not possible: %s",
                       why_no_graft(plan));
    if (asked != DS_STRATEGY_AUTO)
        decide(plan, asked, "asked for");
    else if (graft->priced && plan->target->layout.lists_extents)
        decide(plan, DS_STRATEGY_GRAFT,
               "the target lists where the data lies, %" PRIu64
               " data operations",
               graft_ops);
    else if (!graft->priced)
        decide(plan, DS_STRATEGY_RANGE, "%s", why_no_graft(plan));
    else if (graft_is_better(plan, must_share) &&
             plan->domains[plan->survey.base_index].prefers_file)
        decide(plan, DS_STRATEGY_GRAFT,
               "the storage clones a whole file in one call; by range %" PRIu64
               " data operations",
               range_ops);
    else if (graft_is_better(plan, must_share))
        decide(plan, DS_STRATEGY_GRAFT,
               "%" PRIu64 " data operations, about %.1f ms; by range %" PRIu64
               ", about %.1f ms",
               graft_ops, (double)graft->cost_ns / 1e6, range_ops,
               (double)range->cost_ns / 1e6);
    else
        decide(plan, DS_STRATEGY_RANGE,
               "%" PRIu64 " data operations, about %.1f ms; by graft %" PRIu64
               ", about %.1f ms",
               range_ops, (double)range->cost_ns / 1e6, graft_ops,
               (double)graft->cost_ns / 1e6);
    return 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* Fix where tables and data begin, now that their sizes are known. */
static int seal(struct ds_plan *plan, struct ds_error *err)
{
    const struct ds_target_layout *layout = &plan->target->layout;
    const struct survey_side *side = plan_side(plan);
    uint64_t align = ds_max_u64(layout->align_bytes, 4096);
    uint64_t base = 0;

    if (plan->base_index != DS_FILE_NONE)
        base = plan->disk->files[plan->base_index]->size_bytes;
    plan->footprint = (struct ds_footprint){
        .area_start_bytes =
            ds_align_up(ds_max_u64(layout->head_bytes, base), align),
        .relocated_bytes = side->relocated_bytes,
        .unit_count = side->unit_count,
        .grafted = plan->strategy == DS_STRATEGY_GRAFT,
        .refers = plan->strategy == DS_STRATEGY_REFERENCE,
    };
    for (uint32_t i = 0; i < layout->file_count; i++)
        plan->footprint.file_names[i] =
            plan_refers(plan, i) ? plan->reference : base_name(plan->paths[i]);
    plan->seal = (struct ds_seal){ 0 };
    if (layout->lists_extents) {
        int result = plan_list(plan, err);

        if (result != 0)
            return result;
    }
    return plan->format->target_seal(plan->target, &plan->footprint,
                                     &plan->seal, err);
}

static int require_clone(const struct ds_plan *plan, struct ds_error *err)
{
    const struct survey_side *side = plan_side(plan);
    uint64_t moved = totals_copied(&side->totals) + side->totals.decoded_bytes;
    unsigned most = DS_COPY_NONE;

    if (moved == 0)
        return 0;
    for (unsigned i = 0; i < DS_COPY_REASON_COUNT; i++)
        if (side->totals.copied_bytes[i] > side->totals.copied_bytes[most])
            most = i;
    return ds_fail(err, DS_ERR_REFUSED,
                   "plan: cloning is required, but %" PRIu64
                   " bytes would have to be copied (%s)",
                   moved,
                   most == DS_COPY_NONE
                       ? "encoded"
                       : ds_copy_reason_name((enum ds_copy_reason)most));
}

static int open_target(struct ds_plan *plan, const struct ds_target_spec *spec,
                       struct ds_error *err)
{
    const struct ds_disk *disk = plan->disk;
    struct ds_line_disk disks[DS_LINE_DISK_COUNT_MAX];
    struct ds_target_request request = {
        .path = spec->path,
        .options = spec->options,
        .option_count = spec->option_count,
        .size_bytes = disk->size_bytes,
        .disks = disks,
        .disk_count = disk->part_count,
    };

    plan->format = ds_registry_format(spec->format);
    if (plan->format == NULL)
        return ds_fail(err, DS_ERR_ARG, "unknown format '%s'", spec->format);
    if (plan->format->target_open == NULL)
        return ds_fail(err, DS_ERR_UNSUPPORTED, "%s cannot be written",
                       spec->format);
    if (disk->part_count > 1 && !plan->format->has_members)
        return ds_fail(err, DS_ERR_ARG,
                       "%s: a target of it holds one disk, have %" PRIu32,
                       spec->format, disk->part_count);
    for (uint32_t i = 0; i < disk->part_count; i++)
        disks[i] = (struct ds_line_disk){ disk->parts[i].begin_bytes,
                                          disk->parts[i].size_bytes };
    return plan->format->target_open(&request, &plan->target, err);
}

static int guard_sources(const struct ds_plan *plan, struct ds_error *err)
{
    const struct ds_file *sources[DS_DISK_FILE_COUNT_MAX];
    const char *paths[DS_TARGET_FILE_COUNT_MAX];
    size_t source_count = 0, path_count = 0;

    for (uint32_t i = 0; i < plan->disk->file_count; i++)
        if (!plan_is_foreign(plan, i))
            sources[source_count++] = plan->disk->files[i];
    for (uint32_t t = 0; t < plan->target->layout.file_count; t++)
        if (!plan_refers(plan, t))
            paths[path_count++] = plan->paths[t];
    return plan->store->guard_same(sources, source_count, paths, path_count,
                                   err);
}

/* Only a raw file's size need not be whole sectors. */
static void note_padding(struct ds_plan *plan)
{
    const struct ds_disk *disk = plan->disk;

    for (uint32_t i = 0; i < disk->part_count; i++) {
        const struct ds_layer *layer =
            &disk->layers[disk->parts[i].first_layer];
        const struct ds_file *file = disk->files[layer->file_base];
        uint64_t rest = file->size_bytes % DS_SECTOR_BYTES;

        if (rest != 0 && layer->image->size_bytes ==
                             file->size_bytes + DS_SECTOR_BYTES - rest)
            plan_note(plan,
                      "the source's size is not a multiple of 512: %" PRIu64
                      " bytes of zeros are added",
                      DS_SECTOR_BYTES - rest);
    }
}

static void note_misaligned_units(struct ds_plan *plan)
{
    const struct survey_side *graft = &plan->survey.graft;

    if (plan->strategy == DS_STRATEGY_GRAFT &&
        !layout_is_identity(&plan->target->layout) &&
        graft->granule_bytes < 4096)
        plan_note(plan, "some grains do not lie on 4096-byte pages: correct "
                        "for QEMU and the hosted products, untested on ESXi");
}

/* Who opens a raw disk by its content would take it for what it looks like,
 * and follow what the guest wrote there. */
static void note_likeness(struct ds_plan *plan)
{
    const struct ds_disk *disk = plan->disk;

    for (uint32_t i = 0; i < disk->layer_count; i++)
        if (disk->layers[i].looks_like != NULL)
            plan_note(plan,
                      "%s is read as raw, and carries the header of a %s "
                      "image",
                      disk->files[disk->layers[i].file_base]->path,
                      disk->layers[i].looks_like);
}

static void note_target(struct ds_plan *plan)
{
    const char *note = NULL;

    if (plan->format->target_note != NULL)
        note = plan->format->target_note(plan->target);
    if (note != NULL)
        plan_note(plan, "%s", note);
}

/* What a target takes of its own, at most. */
static uint64_t own_bytes(const struct ds_plan *plan)
{
    const struct ds_target_layout *layout = &plan->target->layout;
    const struct ds_totals *totals = &plan_side(plan)->totals;
    uint64_t bytes = totals_copied(totals) + totals->decoded_bytes +
                     totals->unshared_bytes + plan->seal.metadata_bytes;

    if (layout->encode == DS_CODEC_NONE && !layout->allocate)
        return bytes;
    bytes = 0;
    for (uint32_t i = 0; i < layout->file_count; i++)
        if (!plan_refers(plan, i))
            bytes += plan->seal.file_size_bytes[i];
    return bytes;
}

int plan_check_output(const struct ds_plan *plan,
                      const struct ds_convert_options *options,
                      uint64_t more_bytes, struct ds_error *err)
{
    uint64_t limit = options != NULL && options->output_bytes_max != 0
                         ? options->output_bytes_max
                         : DS_LIMIT_OUTPUT_BYTES;
    uint64_t bytes = own_bytes(plan) + more_bytes;

    if (bytes <= limit)
        return 0;
    return ds_fail(err, DS_ERR_LIMIT,
                   "plan: room for the target %s, have %" PRIu64
                   " bytes expect at most %" PRIu64 " (max-output)",
                   plan->paths[0], bytes, limit);
}

static int prepare(struct ds_plan *plan, const struct ds_target_spec *spec,
                   const struct ds_convert_options *options,
                   struct ds_error *err)
{
    bool force = options != NULL && options->force;
    enum ds_strategy asked =
        options != NULL ? options->strategy : DS_STRATEGY_AUTO;
    int result = open_target(plan, spec, err);

    if (options != NULL && options->share_source_file) {
        if (result == 0 && !plan->target->layout.can_refer)
            result = ds_fail(err, DS_ERR_ARG,
                             "plan: this %s target has no data file of its "
                             "own that could be the source's",
                             spec->format);
        asked = plan->strategy = DS_STRATEGY_REFERENCE;
    }
    if (result == 0)
        result = plan_name_files(plan, spec->path, &plan->target->layout, force,
                                 err);
    if (result == 0)
        result = guard_sources(plan, err);
    if (result == 0)
        result = find_domains(plan, spec->path, err);
    if (result != 0)
        return result;
    plan->request = (struct survey_request){
        .disk = plan->disk,
        .target = plan->target,
        .domains = plan->domains,
        .strategy = asked,
        .progress = options != NULL ? options->progress : NULL,
        .user = options != NULL ? options->user : NULL,
    };
    result = survey_run(&plan->request, &plan->survey, err);
    if (result == 0)
        result =
            choose(plan, asked, options != NULL && options->require_clone, err);
    if (result == 0 && options != NULL && options->require_clone)
        result = require_clone(plan, err);
    if (result == 0)
        result = seal(plan, err);
    if (result == 0)
        result = plan_check_output(plan, options, 0, err);
    if (result == 0) {
        note_likeness(plan);
        note_target(plan);
        note_padding(plan);
        note_misaligned_units(plan);
    }
    return result;
}

/* The target is known by its path without what says how to reach it. */
static int prepare_plain(struct ds_plan *plan,
                         const struct ds_target_spec *spec,
                         const struct ds_convert_options *options,
                         struct ds_error *err)
{
    struct ds_target_spec plain = *spec;
    ds_autofree char *path = NULL;
    int result = plan->store->plain_path(spec->path, &path, err);

    plain.path = path;
    return result == 0 ? prepare(plan, &plain, options, err) : result;
}

int plan_prepare(struct ds_disk *disk, const struct ds_target_spec *spec,
                 const struct ds_convert_options *options, struct ds_plan **out,
                 struct ds_error *err)
{
    struct ds_plan *plan = calloc(1, sizeof(*plan));
    int result;

    if (plan == NULL)
        return ds_fail_memory(err);
    plan->disk = disk;
    plan->via = options != NULL ? options->clone_via : NULL;
    plan->store = ds_registry_store(spec->path);
    if (plan->store == NULL)
        result =
            ds_fail(err, DS_ERR_UNSUPPORTED,
                    "%.300s: built without paths of this kind", spec->path);
    else if (plan->store->plain_path != NULL)
        result = prepare_plain(plan, spec, options, err);
    else
        result = prepare(plan, spec, options, err);
    if (result != 0) {
        ds_plan_free(plan);
        return result;
    }
    *out = plan;
    return 0;
}

int ds_plan_make(struct ds_disk *disk, const struct ds_target_spec *spec,
                 const struct ds_convert_options *options, struct ds_plan **out,
                 struct ds_error *err)
{
    struct ds_plan *plan = NULL;
    int result = plan_prepare(disk, spec, options, &plan, err);

    if (result != 0)
        return result;
    if (plan->replaces)
        plan_note(plan, "%s exists", plan->paths[0]);
    result = plan_emit(plan, NULL, NULL, err);
    if (result != 0) {
        ds_plan_free(plan);
        return result;
    }
    *out = plan;
    return 0;
}

void ds_plan_free(struct ds_plan *plan)
{
    if (plan == NULL)
        return;
    if (plan->target != NULL)
        plan->format->target_close(plan->target);
    for (unsigned i = 0; i < DS_TARGET_FILE_COUNT_MAX; i++)
        free(plan->paths[i]);
    free(plan->reference);
    free(plan);
}

/* -- asking
 * ------------------------------------------------------------------*/

const struct ds_totals *ds_plan_totals(const struct ds_plan *plan)
{
    return &plan->totals;
}

enum ds_strategy ds_plan_strategy(const struct ds_plan *plan)
{
    return plan->strategy;
}

const char *ds_plan_strategy_reason(const struct ds_plan *plan)
{
    return plan->reason;
}

uint32_t ds_plan_target_count(const struct ds_plan *plan)
{
    return plan->target->layout.file_count;
}

const char *ds_plan_target_path(const struct ds_plan *plan,
                                uint32_t target_index)
{
    return target_index < plan->target->layout.file_count
               ? plan->paths[target_index]
               : NULL;
}

uint64_t ds_plan_target_size_bytes(const struct ds_plan *plan,
                                   uint32_t target_index)
{
    return plan->seal.file_size_bytes[target_index];
}

const char *ds_plan_member(const struct ds_plan *plan, uint32_t index)
{
    return plan->format->target_member != NULL && index < plan->disk->part_count
               ? plan->format->target_member(plan->target, index)
               : NULL;
}

const char *ds_plan_note(const struct ds_plan *plan, size_t index)
{
    return index < plan->note_count ? plan->notes[index] : NULL;
}

int ds_plan_emit(struct ds_plan *plan, ds_op_fn *fn, void *user,
                 struct ds_error *err)
{
    return plan_emit(plan, fn, user, err);
}
