/* SPDX-License-Identifier: Apache-2.0 */
/* A graft's base in file order: what the target uses of it, and the gaps. */
#include "arith.h"
#include "claims.h"
#include "survey.h"

struct base_walk {
    struct claims claims;
    bool identity;
    uint64_t size_bytes;
    uint64_t block_bytes;
    uint64_t quiet_end_bytes; /* see edge_bytes */
};

/* Only an identity target puts transfers inside the base. */
static int base_transfer(void *user, const struct transfer *transfer,
                         struct ds_error *err)
{
    struct base_walk *walk = user;

    (void)err;
    if (walk->identity)
        (void)claims_add(&walk->claims, transfer->target_offset_bytes,
                         transfer->length_bytes);
    return 0;
}

static int base_kept(void *user, uint64_t offset_bytes, uint64_t length_bytes,
                     uint64_t data_bytes, struct ds_error *err)
{
    struct base_walk *walk = user;

    (void)data_bytes;
    (void)err;
    (void)claims_add(&walk->claims, offset_bytes, length_bytes);
    return 0;
}

static const struct placer_sink base_sink = {
    .transfer = base_transfer,
    .kept = base_kept,
};

static int base_fill(const struct survey_request *request, uint32_t base_index,
                     struct base_walk *walk, struct ds_error *err)
{
    struct placer placer = {
        .layout = &request->target->layout,
        .domains = request->domains,
        .base_index = base_index,
        .sink = &base_sink,
        .user = walk,
    };

    return placer_run(&placer, request->disk, err);
}

/* How much of a used range lies in blocks that a gap reaches into. Ranges
 * meet gaps at both ends, or the file's beginning, or a window's end, which
 * is on a block's border, or the file's end: where the target goes on beyond
 * that, the rest of the block is zeroed, which is like a gap; `quiet_end` is
 * the end when it does not. */
static uint64_t edge_bytes(const struct base_range *range, uint64_t quiet_end,
                           uint64_t block)
{
    uint64_t begin = range->offset_bytes;
    uint64_t end = begin + range->length_bytes;
    uint64_t inner_begin = ds_align_up(begin, block);
    uint64_t inner_end = end == quiet_end ? end : ds_align_down(end, block);

    if (inner_begin >= inner_end)
        return inner_begin == begin && inner_end == end ? 0 : end - begin;
    return (inner_begin - begin) + (end - inner_end);
}

/* Hand out a window's ranges. The last may go beyond the file's end: sizes
 * are rounded to granules. */
static int base_report(const struct base_walk *walk, base_range_fn *fn,
                       void *user, struct ds_error *err)
{
    uint64_t cursor = walk->claims.window_begin_bytes;
    struct base_range range;
    int result = 0;

    while (result == 0 &&
           claims_next_range(&walk->claims, &cursor, &range.offset_bytes,
                             &range.length_bytes, &range.used)) {
        if (range.offset_bytes >= walk->size_bytes)
            break;
        range.length_bytes = ds_min_u64(range.length_bytes,
                                        walk->size_bytes - range.offset_bytes);
        range.edge_bytes =
            range.used
                ? edge_bytes(&range, walk->quiet_end_bytes, walk->block_bytes)
                : 0;
        result = fn(user, &range, err);
    }
    return result;
}

int survey_base(const struct survey_request *request,
                const struct survey *survey, base_range_fn *fn, void *user,
                struct ds_error *err)
{
    const struct ds_target_layout *layout = &request->target->layout;
    uint32_t base = survey->base_index;
    struct base_walk walk = {
        .identity = layout_is_identity(layout),
        .size_bytes = request->disk->files[base]->size_bytes,
        .block_bytes = request->domains[base].granularity_bytes,
        .quiet_end_bytes =
            layout->ends_with_data ? request->disk->size_bytes : DS_OFFSET_NONE,
    };
    int result =
        claims_init(&walk.claims, walk.size_bytes, survey->graft.granule_bytes,
                    disk_claims_bytes(request->disk), err);

    if (result != 0)
        return result;
    do {
        result = base_fill(request, survey->base_index, &walk, err);
        if (result == 0)
            result = base_report(&walk, fn, user, err);
    } while (result == 0 && claims_next_window(&walk.claims));
    claims_free(&walk.claims);
    return result;
}
