/* SPDX-License-Identifier: Apache-2.0 */
#include "survey.h"

#include <string.h>

#include "arith.h"
#include "claims.h"
#include "fail.h"
#include "overlap.h"

/*
 * What operations cost, in ns: measured on XFS and btrfs, to choose between
 * two strategies, not to predict a time. A clone or punch is a transaction; a
 * punch that is not on block borders rewrites the blocks at its edges; a
 * whole-file clone costs by the extent records it has to copy, which range
 * clones of the same extents would cost as well.
 */
#define COST_CLONE_NS UINT64_C(15000)
#define COST_CLONE_FILE_NS UINT64_C(60000)
#define COST_KEPT_NS UINT64_C(3000)
#define COST_PUNCH_NS UINT64_C(12000)
#define COST_PUNCH_EDGE_NS UINT64_C(20000)
#define COST_COPY_OP_NS UINT64_C(20000)
#define COST_COPY_BYTE_NS UINT64_C(2)

/* Below this many range clones nothing is won by pricing a graft. */
#define RANGE_OPS_SMALL 32u

#define GRANULE_MIN UINT64_C(512)

/* -- one strategy ----------------------------------------------------------*/

struct side {
    struct survey_side *out;
    struct emit emit;
    struct placer placer;
    struct ds_target *count_units; /* NULL: the other side counts them */
    uint64_t offset_bits; /* OR of all offsets and lengths in the data file */
    uint64_t base_size_bytes;
    uint64_t kept_count;
};

/* A length that ends where the file does says nothing about the granule. */
static void note_range(struct side *side, uint64_t offset, uint64_t length)
{
    side->offset_bits |= offset;
    if (offset + length != side->base_size_bytes)
        side->offset_bits |= length;
}

static int side_units(void *user, const struct ds_unit_run *run,
                      struct ds_error *err)
{
    struct side *side = user;

    side->out->unit_count += run->unit_count;
    if (side->count_units == NULL)
        return 0;
    return side->count_units->format->target_count(side->count_units, run, err);
}

static int side_transfer(void *user, const struct transfer *transfer,
                         struct ds_error *err)
{
    struct side *side = user;

    if (layout_is_identity(side->emit.layout))
        note_range(side, transfer->target_offset_bytes, transfer->length_bytes);
    return emit_transfer(&side->emit, transfer, err);
}

static int side_kept(void *user, uint64_t offset_bytes, uint64_t length_bytes,
                     uint64_t data_bytes, struct ds_error *err)
{
    struct side *side = user;

    (void)err;
    side->emit.totals.shared_bytes += data_bytes;
    side->out->kept_bytes += data_bytes;
    side->out->kept_span_bytes += length_bytes;
    side->kept_count++;
    note_range(side, offset_bytes, length_bytes);
    return 0;
}

static const struct placer_sink side_sink = {
    .units = side_units,
    .transfer = side_transfer,
    .kept = side_kept,
};

static int side_start(struct side *side, const struct survey_request *request,
                      uint32_t base_index, struct ds_error *err)
{
    const struct ds_target_layout *layout = &request->target->layout;
    const struct ds_disk *disk = request->disk;

    side->emit.domains = request->domains;
    side->emit.sources = disk->files;
    side->emit.layout = layout;
    side->emit.has_base = base_index != DS_FILE_NONE;
    side->placer.layout = layout;
    side->placer.domains = request->domains;
    side->placer.base_index = base_index;
    side->placer.data_start_bytes = 0;
    side->placer.sink = &side_sink;
    side->placer.user = side;
    if (base_index != DS_FILE_NONE)
        side->base_size_bytes = disk->files[base_index]->size_bytes;
    placer_start(&side->placer);
    return emit_init(&side->emit, disk->size_bytes, err);
}

static uint64_t lowest_bit(uint64_t bits, uint64_t least)
{
    bits |= CLAIMS_GRANULE_MAX;
    return ds_max_u64(bits & (0 - bits), least);
}

static int side_finish(struct side *side, struct ds_error *err)
{
    const struct ds_totals *totals = &side->emit.totals;
    uint64_t copied = 0;
    int result = placer_finish(&side->placer, err);

    for (unsigned i = 0; i < DS_COPY_REASON_COUNT; i++)
        copied += totals->copied_bytes[i];
    side->out->totals = *totals;
    side->out->relocated_bytes = side->placer.next_bytes;
    side->out->granule_bytes = lowest_bit(side->offset_bits, GRANULE_MIN);
    side->out->cost_ns = totals->op_count[DS_OP_CLONE] * COST_CLONE_NS +
                         totals->op_count[DS_OP_COPY] * COST_COPY_OP_NS +
                         copied * COST_COPY_BYTE_NS +
                         side->kept_count * COST_KEPT_NS;
    return result;
}

/* -- the walk --------------------------------------------------------------*/

struct walk {
    struct side range;
    struct side graft;
};

static int report_progress(const struct survey_request *request, uint64_t done,
                           struct ds_error *err)
{
    struct ds_progress progress = {
        .phase = "plan",
        .done_bytes = done,
        .total_bytes = request->disk->size_bytes,
    };

    if (request->progress != NULL &&
        request->progress(request->user, &progress) != 0)
        return ds_fail(err, DS_ERR_CANCELLED, "cancelled while planning");
    return 0;
}

#define PROGRESS_EXTENT_COUNT 65536u

static int walk_map(const struct survey_request *request, struct walk *walk,
                    bool with_graft, struct ds_error *err)
{
    struct ds_extent extent;
    struct ds_map *map = NULL;
    uint64_t count = 0;
    int result = ds_map_open(request->disk, &map, err);

    while (result == 0) {
        result = ds_map_next(map, &extent, err);
        if (result <= 0)
            break;
        result = placer_add(&walk->range.placer, &extent, err);
        if (result == 0 && with_graft)
            result = placer_add(&walk->graft.placer, &extent, err);
        if (result == 0 && count++ % PROGRESS_EXTENT_COUNT == 0)
            result = report_progress(request, extent.guest_offset_bytes, err);
    }
    ds_map_close(map);
    return result;
}

/* The base of a graft is the largest file: the only one, nearly always. */
static uint32_t largest_file(const struct ds_disk *disk)
{
    uint32_t largest = 0;

    for (uint32_t i = 1; i < disk->file_count; i++)
        if (disk->files[i]->size_bytes > disk->files[largest]->size_bytes)
            largest = i;
    return largest;
}

struct gap_count {
    struct ds_totals *totals;
    uint64_t edge_count;
};

static int count_gap(void *user, const struct base_range *range,
                     struct ds_error *err)
{
    struct gap_count *count = user;

    (void)err;
    if (range->used) {
        totals_unshare(count->totals, range->edge_bytes);
        count->edge_count += range->edge_bytes != 0;
        return 0;
    }
    count->totals->op_count[DS_OP_PUNCH]++;
    count->totals->punched_bytes += range->length_bytes;
    return 0;
}

static int price_punches(const struct survey_request *request,
                         struct survey *survey, struct ds_error *err)
{
    struct survey_side *graft = &survey->graft;
    struct gap_count count = { .totals = &graft->totals };
    int result = survey_base(request, survey, count_gap, &count, err);

    graft->priced = result == 0;
    graft->totals.op_count[DS_OP_CLONE_FILE] = 1;
    graft->cost_ns += COST_CLONE_FILE_NS +
                      graft->totals.op_count[DS_OP_PUNCH] * COST_PUNCH_NS +
                      count.edge_count * 2 * COST_PUNCH_EDGE_NS;
    return result;
}

static bool worth_pricing(const struct survey_request *request,
                          const struct survey *survey)
{
    const struct ds_totals *range = &survey->range.totals;

    if (!survey->graft.possible || request->strategy == DS_STRATEGY_RANGE ||
        request->strategy == DS_STRATEGY_REFERENCE)
        return false;
    if (request->strategy == DS_STRATEGY_GRAFT ||
        request->target->layout.lists_extents ||
        request->domains[survey->base_index].prefers_file)
        return true;
    return range->op_count[DS_OP_COPY] > 0 ||
           range->op_count[DS_OP_CLONE] > RANGE_OPS_SMALL;
}

int survey_run(const struct survey_request *request, struct survey *out,
               struct ds_error *err)
{
    const struct ds_disk *disk = request->disk;
    struct walk walk = { 0 };
    int result;

    *out = (struct survey){ .base_index = largest_file(disk) };
    out->range.possible = true;
    out->graft.possible = request->target->layout.graftable &&
                          (request->domains[out->base_index].file ||
                           request->strategy == DS_STRATEGY_REFERENCE);
    walk.range.out = &out->range;
    walk.graft.out = &out->graft;
    if (request->target->layout.unit_bytes != 0 &&
        !request->target->layout.lists_extents)
        walk.range.count_units = request->target;
    result = side_start(&walk.range, request, DS_FILE_NONE, err);
    if (result == 0)
        result = side_start(&walk.graft, request, out->base_index, err);
    if (result == 0)
        result = walk_map(request, &walk, out->graft.possible, err);
    if (result == 0)
        result = side_finish(&walk.range, err);
    if (result == 0 && out->graft.possible)
        result = side_finish(&walk.graft, err);
    if (result != 0)
        return result;
    result = overlap_check(request->disk, err);
    if (result != 0)
        return result;
    if (worth_pricing(request, out))
        return price_punches(request, out, err);
    return 0;
}
