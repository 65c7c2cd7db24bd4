/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <assert.h>

#include "arith.h"
#include "codec.h"

void placer_start(struct placer *placer)
{
    placer->next_bytes = 0;
    placer->next_unit = 0;
    placer->has_partial = false;
    placer->run = (struct ds_unit_run){ 0 };
    placer->pending = (struct transfer){ 0 };
    placer->pending_zero_bytes = 0;
}

/* -- handing out ----------------------------------------------------------*/

static int hand_units(struct placer *p, const struct ds_unit_run *run,
                      struct ds_error *err)
{
    return p->sink->units != NULL ? p->sink->units(p->user, run, err) : 0;
}

static int hand_transfer(struct placer *p, const struct transfer *transfer,
                         struct ds_error *err)
{
    return p->sink->transfer != NULL ? p->sink->transfer(p->user, transfer, err)
                                     : 0;
}

static int hand_kept(struct placer *p, uint64_t offset, uint64_t length,
                     uint64_t data, struct ds_error *err)
{
    return p->sink->kept != NULL
               ? p->sink->kept(p->user, offset, length, data, err)
               : 0;
}

/* -- joining --------------------------------------------------------------*/

static int flush_transfer(struct placer *p, struct ds_error *err)
{
    struct transfer pending = p->pending;

    p->pending = (struct transfer){ 0 };
    p->pending_zero_bytes = 0;
    return pending.length_bytes != 0 ? hand_transfer(p, &pending, err) : 0;
}

/* Whether a piece at `source` -> `target` continues the pending transfer and
 * the hole behind it. */
static bool continues_transfer(const struct placer *p, uint32_t file_index,
                               uint64_t source, uint64_t target)
{
    const struct transfer *pending = &p->pending;
    uint64_t length = pending->length_bytes + p->pending_zero_bytes;

    return pending->length_bytes != 0 && pending->file_index == file_index &&
           pending->source_offset_bytes + length == source &&
           pending->target_offset_bytes + length == target;
}

static int push_transfer(struct placer *p, uint32_t file_index, uint64_t source,
                         uint64_t target, uint64_t length, struct ds_error *err)
{
    int result;

    if (continues_transfer(p, file_index, source, target)) {
        p->pending.length_bytes += p->pending_zero_bytes + length;
        p->pending.data_bytes += length;
        p->pending_zero_bytes = 0;
        return 0;
    }
    result = flush_transfer(p, err);
    p->pending = (struct transfer){
        .file_index = file_index,
        .source_offset_bytes = source,
        .target_offset_bytes = target,
        .length_bytes = length,
        .data_bytes = length,
    };
    return result;
}

/* `length` bytes of data from `guest` of the extent on, to `target`. */
static int push_data(struct placer *p, const struct ds_extent *extent,
                     uint64_t guest, uint64_t length, uint64_t target,
                     struct ds_error *err)
{
    uint64_t skip = guest - extent->guest_offset_bytes;
    struct transfer decode = {
        .file_index = extent->file_index,
        .source_offset_bytes = skip,
        .target_offset_bytes = target,
        .length_bytes = length,
        .data_bytes = length,
        .encoded = extent,
    };
    int result;

    if (extent->kind == DS_EXTENT_DATA)
        return push_transfer(p, extent->file_index,
                             extent->file_offset_bytes + skip, target, length,
                             err);
    result = flush_transfer(p, err);
    return result != 0 ? result : hand_transfer(p, &decode, err);
}

/* A hole of the source that lies where the target has one too can be passed
 * over by a clone, which saves a call. A copy would read it for nothing. */
static void push_hole(struct placer *p, const struct ds_extent *extent)
{
    const struct ds_clone_domain *domain = &p->domains[extent->file_index];
    uint64_t source = extent->file_offset_bytes;
    uint64_t target = layout_place(p->layout, extent->guest_offset_bytes);

    if (domain->range &&
        ((source ^ target) & (domain->granularity_bytes - 1)) == 0 &&
        continues_transfer(p, extent->file_index, source, target))
        p->pending_zero_bytes += extent->length_bytes;
}

static int flush_run(struct placer *p, struct ds_error *err)
{
    struct ds_unit_run run = p->run;

    p->run = (struct ds_unit_run){ 0 };
    return run.unit_count != 0 ? hand_units(p, &run, err) : 0;
}

static int push_units(struct placer *p, uint64_t first, uint64_t count,
                      uint64_t offset, struct ds_error *err)
{
    uint64_t stride = p->layout->unit_bytes + p->layout->gap_bytes;
    int result;

    if (p->run.unit_count != 0 &&
        p->run.first_unit + p->run.unit_count == first &&
        p->run.file_offset_bytes + p->run.unit_count * stride == offset) {
        p->run.unit_count += count;
        return 0;
    }
    result = flush_run(p, err);
    p->run = (struct ds_unit_run){ first, count, offset };
    return result;
}

/* -- places ---------------------------------------------------------------*/

/*
 * The next place for `count` units. Where pointers are finer than the
 * filesystem's blocks, the source's phase (offset modulo the block) is kept,
 * so that the interior can be shared. `source` is the offset in the source
 * file that would lie at the first unit's beginning; DS_OFFSET_NONE: any.
 */
static uint64_t allocate(struct placer *p, uint64_t unit, uint64_t count,
                         uint32_t file_index, uint64_t source)
{
    uint64_t align = p->layout->align_bytes, phase = 0, offset;

    if (p->layout->split_guest_bytes != 0) {
        uint64_t guest = unit * p->layout->unit_bytes;
        uint64_t begin = guest / p->layout->split_guest_bytes;

        p->next_bytes =
            ds_max_u64(p->next_bytes, begin * DS_SPLIT_STRIDE_BYTES);
    }
    if (source != DS_OFFSET_NONE && p->domains[file_index].range) {
        uint64_t block = p->domains[file_index].granularity_bytes;

        if (align < block && source % align == 0) {
            phase = source & (block - 1);
            align = block;
        }
    }
    offset = ds_align_up(p->next_bytes, align) + phase + p->layout->gap_bytes;
    p->next_bytes = offset + count * p->layout->unit_bytes +
                    (count - 1) * p->layout->gap_bytes;
    return p->data_start_bytes + offset;
}

static bool holds_data(const struct ds_extent *extent)
{
    return extent->kind == DS_EXTENT_DATA || extent->kind == DS_EXTENT_ENCODED;
}

/* The offset in the source file of what lies `within` bytes before `guest`;
 * DS_OFFSET_NONE when there is no such place. */
static uint64_t source_at(const struct ds_extent *extent, uint64_t guest,
                          uint64_t within)
{
    uint64_t source =
        extent->file_offset_bytes + (guest - extent->guest_offset_bytes);

    if (extent->kind != DS_EXTENT_DATA || source < within)
        return DS_OFFSET_NONE;
    return source - within;
}

static int relocate(struct placer *p, const struct ds_extent *extent,
                    uint64_t guest, uint64_t count, struct ds_error *err)
{
    uint64_t unit = p->layout->unit_bytes, gap = p->layout->gap_bytes;
    uint64_t target = allocate(p, guest / unit, count, extent->file_index,
                               source_at(extent, guest, 0));
    int result = push_units(p, guest / unit, count, target, err);

    if (result != 0 || gap == 0)
        return result != 0
                   ? result
                   : push_data(p, extent, guest, count * unit, target, err);
    for (uint64_t i = 0; i < count && result == 0; i++)
        result = push_data(p, extent, guest + i * unit, unit,
                           target + i * (unit + gap), err);
    return result;
}

static int keep(struct placer *p, uint64_t source, uint64_t first_unit,
                uint64_t count, bool data, struct ds_error *err)
{
    uint64_t length = count * p->layout->unit_bytes;
    int result = push_units(p, first_unit, count, source, err);

    return result != 0 ? result
                       : hand_kept(p, source, length, data ? length : 0, err);
}

/* Whole units of data that lie together in one source file. */
static int add_whole_data(struct placer *p, const struct ds_extent *extent,
                          uint64_t guest, uint64_t count, struct ds_error *err)
{
    uint64_t unit = p->layout->unit_bytes, head = p->layout->head_bytes;
    uint64_t source = source_at(extent, guest, 0);
    uint64_t under_head = 0;
    int result = 0;

    if (extent->kind != DS_EXTENT_DATA || extent->file_index != p->base_index ||
        source % p->layout->align_bytes != 0)
        return relocate(p, extent, guest, count, err);
    /* What lies under the target's fixed records has to move. */
    if (source < head)
        under_head = ds_min_u64(count, ds_div_up(head - source, unit));
    if (under_head > 0)
        result = relocate(p, extent, guest, under_head, err);
    if (result != 0 || under_head == count)
        return result;
    return keep(p, source + under_head * unit, guest / unit + under_head,
                count - under_head, true, err);
}

/* A part of a unit: data from somewhere, or zeros. */
static int add_part(struct placer *p, const struct ds_extent *extent,
                    uint64_t guest, uint64_t length, struct ds_error *err)
{
    uint64_t unit = guest / p->layout->unit_bytes;
    uint64_t within = guest % p->layout->unit_bytes;
    int result = 0;

    if (!holds_data(extent) && !p->layout->every_unit)
        return 0;
    if (!p->has_partial || p->partial_unit != unit) {
        p->partial_offset_bytes = allocate(p, unit, 1, extent->file_index,
                                           source_at(extent, guest, within));
        p->partial_unit = unit;
        p->has_partial = true;
        result = push_units(p, unit, 1, p->partial_offset_bytes, err);
    }
    if (result == 0 && holds_data(extent))
        result = push_data(p, extent, guest, length,
                           p->partial_offset_bytes + within, err);
    return result;
}

/* Whether zeros lie in the base where a target that lists extents can name
 * them: what lies on both sides is one extent then. */
static bool zeros_stay(const struct placer *p, const struct ds_extent *extent,
                       uint64_t source)
{
    return p->layout->lists_extents && p->base_index != DS_FILE_NONE &&
           extent->file_index == p->base_index &&
           source % p->layout->align_bytes == 0 &&
           source >= p->layout->head_bytes;
}

static int add_whole(struct placer *p, const struct ds_extent *extent,
                     uint64_t guest, uint64_t count, struct ds_error *err)
{
    uint64_t skip = guest - extent->guest_offset_bytes;
    uint64_t offset;

    if (holds_data(extent))
        return add_whole_data(p, extent, guest, count, err);
    if (zeros_stay(p, extent, extent->file_offset_bytes + skip))
        return keep(p, extent->file_offset_bytes + skip,
                    guest / p->layout->unit_bytes, count, false, err);
    if (!p->layout->every_unit)
        return 0;
    offset =
        allocate(p, guest / p->layout->unit_bytes, count, 0, DS_OFFSET_NONE);
    return push_units(p, guest / p->layout->unit_bytes, count, offset, err);
}

static int add_to_units(struct placer *p, const struct ds_extent *extent,
                        struct ds_error *err)
{
    uint64_t unit = p->layout->unit_bytes;
    uint64_t guest = extent->guest_offset_bytes;
    uint64_t end = guest + extent->length_bytes;
    int result = 0;

    while (result == 0 && guest < end) {
        uint64_t within = guest % unit, length;

        if (within == 0 && end - guest >= unit) {
            length = ds_align_down(end - guest, unit);
            result = add_whole(p, extent, guest, length / unit, err);
        } else {
            length = ds_min_u64(unit - within, end - guest);
            result = add_part(p, extent, guest, length, err);
        }
        guest += length;
    }
    return result;
}

/* The units that data touches, each once. */
static int push_identity_units(struct placer *p, uint64_t guest,
                               uint64_t length, struct ds_error *err)
{
    uint64_t unit = p->layout->unit_bytes;
    uint64_t first = ds_max_u64(guest / unit, p->next_unit);
    uint64_t end = ds_div_up(guest + length, unit);

    if (first >= end)
        return 0;
    p->next_unit = end;
    return push_units(p, first, end - first, first * unit, err);
}

static int add_identity(struct placer *p, const struct ds_extent *extent,
                        struct ds_error *err)
{
    uint64_t guest = extent->guest_offset_bytes;
    uint64_t length = extent->length_bytes;
    bool data = holds_data(extent);
    int result = 0;

    if (data && p->layout->identity_units)
        result = push_identity_units(p, guest, length, err);
    if (result != 0 || extent->file_index == DS_FILE_NONE)
        return result;
    if (extent->kind != DS_EXTENT_ENCODED &&
        extent->file_index == p->base_index &&
        extent->file_offset_bytes == guest)
        return hand_kept(p, guest, length, data ? length : 0, err);
    if (data)
        return push_data(p, extent, guest, length,
                         layout_place(p->layout, guest), err);
    push_hole(p, extent);
    return 0;
}

static int add_in_file(struct placer *p, const struct ds_extent *extent,
                       struct ds_error *err)
{
    return layout_is_identity(p->layout) ? add_identity(p, extent, err)
                                         : add_to_units(p, extent, err);
}

int placer_add(struct placer *placer, const struct ds_extent *extent,
               struct ds_error *err)
{
    uint64_t split = placer->layout->split_guest_bytes;
    struct ds_extent rest = *extent;
    int result = 0;

    if (split == 0)
        return add_in_file(placer, extent, err);
    while (rest.length_bytes > 0 && result == 0) {
        struct ds_extent part = rest;

        part.length_bytes = ds_min_u64(part.length_bytes,
                                       split - part.guest_offset_bytes % split);
        result = add_in_file(placer, &part, err);
        extent_advance(&rest, part.length_bytes);
    }
    return result;
}

int placer_finish(struct placer *placer, struct ds_error *err)
{
    int result = flush_run(placer, err);
    int result2 = flush_transfer(placer, err);

    return result != 0 ? result : result2;
}

int placer_run(struct placer *placer, struct ds_disk *disk,
               struct ds_error *err)
{
    struct ds_extent extent;
    struct ds_map *map = NULL;
    int result = ds_map_open(disk, &map, err);

    placer_start(placer);
    while (result == 0) {
        result = ds_map_next(map, &extent, err);
        if (result <= 0)
            break;
        result = placer_add(placer, &extent, err);
    }
    if (result == 0)
        result = placer_finish(placer, err);
    ds_map_close(map);
    return result;
}
