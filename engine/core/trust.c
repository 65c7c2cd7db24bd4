/* SPDX-License-Identifier: Apache-2.0 */
#include "trust.h"

#include <stdlib.h>

#include "arith.h"
#include "fail.h"

#define RANGE_COUNT_FIRST 256u

struct range {
    uint64_t begin_bytes; /* in the target */
    uint64_t end_bytes;
    uint64_t source_offset_bytes; /* clones */
    uint32_t source_index;
    uint32_t target_index;
};

struct ranges {
    struct range *list;
    size_t count;
    size_t room;
    bool full; /* something is not in it */
};

/* Only data files are grafted, and of those there is one. */
struct base {
    bool given;
    uint32_t target_index;
    uint32_t source_index;
    uint64_t length_bytes;
};

struct trust {
    struct ranges clones;
    struct ranges others;
    struct ranges blanks;
    struct base base;
};

int trust_open(struct trust **out, struct ds_error *err)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? 0 : ds_fail_memory(err);
}

void trust_close(struct trust *trust)
{
    if (trust == NULL)
        return;
    free(trust->clones.list);
    free(trust->others.list);
    free(trust->blanks.list);
    free(trust);
}

/* -- noting -----------------------------------------------------------------*/

static bool continues(const struct range *last, const struct range *next)
{
    return last->target_index == next->target_index &&
           last->end_bytes == next->begin_bytes &&
           last->source_index == next->source_index &&
           last->source_offset_bytes + (last->end_bytes - last->begin_bytes) ==
               next->source_offset_bytes;
}

static bool make_room(struct ranges *ranges)
{
    size_t room = ranges->room == 0 ? RANGE_COUNT_FIRST : ranges->room * 2;
    struct range *more;

    if (ranges->count < ranges->room)
        return true;
    if (ranges->room >= TRUST_RANGE_COUNT_MAX)
        return false;
    more = realloc(ranges->list, room * sizeof(*more));
    if (more == NULL)
        return false;
    ranges->list = more;
    ranges->room = room;
    return true;
}

static void add(struct ranges *ranges, const struct range *range)
{
    if (range->begin_bytes == range->end_bytes)
        return;
    if (ranges->count > 0 &&
        continues(&ranges->list[ranges->count - 1], range)) {
        ranges->list[ranges->count - 1].end_bytes = range->end_bytes;
        return;
    }
    if (make_room(ranges))
        ranges->list[ranges->count++] = *range;
    else
        ranges->full = true;
}

/* What is no clone is the same wherever it came from: its source's place is
 * put equal to its own, so that neighbours join. */
static struct range place_of(const struct ds_op *op)
{
    return (struct range){
        .begin_bytes = op->target_offset_bytes,
        .end_bytes = op->target_offset_bytes + op->length_bytes,
        .source_offset_bytes = op->target_offset_bytes,
        .target_index = op->target_index,
    };
}

static void note_clone(struct trust *trust, const struct ds_op *op)
{
    struct range range = place_of(op);

    if (op->unsure) {
        add(&trust->others, &range);
        return;
    }
    range.source_index = op->source_index;
    range.source_offset_bytes = op->source_offset_bytes;
    add(&trust->clones, &range);
}

static void note_base(struct trust *trust, const struct ds_op *op,
                      uint64_t source_size_bytes)
{
    trust->base = (struct base){
        .given = true,
        .target_index = op->target_index,
        .source_index = op->source_index,
        .length_bytes = op->unsure ? 0 : source_size_bytes,
    };
}

static void note_size(struct trust *trust, const struct ds_op *op)
{
    if (op->target_index == trust->base.target_index)
        trust->base.length_bytes =
            ds_min_u64(trust->base.length_bytes, op->target_offset_bytes);
}

void trust_note(struct trust *trust, const struct ds_op *op,
                uint64_t source_size_bytes)
{
    struct range place = place_of(op);

    switch (op->kind) {
    case DS_OP_CLONE:
        note_clone(trust, op);
        break;
    case DS_OP_CLONE_FILE:
        note_base(trust, op, source_size_bytes);
        break;
    case DS_OP_TRUNCATE:
        note_size(trust, op);
        break;
    case DS_OP_PUNCH:
    case DS_OP_ZERO:
        add(&trust->blanks, &place);
        break;
    case DS_OP_COPY:
    case DS_OP_DECODE:
    case DS_OP_WRITE:
    case DS_OP_REPEAT:
    case DS_OP_ENCODE:
        add(&trust->others, &place);
        break;
    case DS_OP_ALLOCATE: /* what it fills read as zeros before, too */
    case DS_OP_BARRIER:
        break;
    }
}

/* -- asking -----------------------------------------------------------------*/

static int by_place(const void *left, const void *right)
{
    const struct range *a = left, *b = right;

    if (a->target_index != b->target_index)
        return a->target_index < b->target_index ? -1 : 1;
    return (a->begin_bytes > b->begin_bytes) -
           (a->begin_bytes < b->begin_bytes);
}

/* One after the other, as searching wants them. Writes may overlap, tables
 * written twice; clones do not. */
static void sort(struct ranges *ranges, bool join)
{
    size_t kept = 0;

    if (ranges->count > 1)
        qsort(ranges->list, ranges->count, sizeof(*ranges->list), by_place);
    for (size_t i = 1; i < ranges->count && join; i++) {
        struct range *last = &ranges->list[kept], *next = &ranges->list[i];

        if (last->target_index == next->target_index &&
            next->begin_bytes <= last->end_bytes)
            last->end_bytes = ds_max_u64(last->end_bytes, next->end_bytes);
        else
            ranges->list[++kept] = *next;
    }
    if (join && ranges->count > 0)
        ranges->count = kept + 1;
}

void trust_seal(struct trust *trust)
{
    sort(&trust->clones, false);
    sort(&trust->others, true);
    sort(&trust->blanks, true);
}

/* The first range that ends after the place; NULL if none does. */
static const struct range *find(const struct ranges *ranges,
                                uint32_t target_index, uint64_t offset_bytes)
{
    size_t low = 0, high = ranges->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct range *range = &ranges->list[middle];

        if (range->target_index < target_index ||
            (range->target_index == target_index &&
             range->end_bytes <= offset_bytes))
            low = middle + 1;
        else
            high = middle;
    }
    return low < ranges->count && ranges->list[low].target_index == target_index
               ? &ranges->list[low]
               : NULL;
}

/* How far [offset, offset + length) goes until one of the ranges begins. */
static uint64_t up_to(const struct ranges *ranges, uint32_t target_index,
                      uint64_t offset_bytes, uint64_t length_bytes)
{
    const struct range *range = find(ranges, target_index, offset_bytes);

    if (range == NULL)
        return length_bytes;
    return range->begin_bytes <= offset_bytes
               ? 0
               : ds_min_u64(length_bytes, range->begin_bytes - offset_bytes);
}

static bool is_base(const struct trust *trust, uint32_t target_index)
{
    return trust->base.given && trust->base.target_index == target_index;
}

static uint64_t shared_with_base(const struct trust *trust,
                                 uint32_t target_index, uint64_t offset_bytes,
                                 uint32_t source_index, uint64_t length_bytes)
{
    const struct base *base = &trust->base;

    if (!is_base(trust, target_index) || base->source_index != source_index ||
        offset_bytes >= base->length_bytes)
        return 0;
    return ds_min_u64(length_bytes, base->length_bytes - offset_bytes);
}

uint64_t trust_shared(const struct trust *trust, uint32_t target_index,
                      uint64_t target_offset_bytes, uint32_t source_index,
                      uint64_t source_offset_bytes, uint64_t length_bytes)
{
    const struct range *range;
    uint64_t length;

    if (trust->others.full || trust->blanks.full)
        return 0;
    length =
        up_to(&trust->others, target_index, target_offset_bytes, length_bytes);
    length = up_to(&trust->blanks, target_index, target_offset_bytes, length);
    range = find(&trust->clones, target_index, target_offset_bytes);
    if (range == NULL || range->begin_bytes > target_offset_bytes) {
        if (range != NULL)
            length =
                ds_min_u64(length, range->begin_bytes - target_offset_bytes);
        /* A clone that was forgotten may lie over it. */
        if (trust->clones.full || source_offset_bytes != target_offset_bytes)
            return 0;
        return shared_with_base(trust, target_index, target_offset_bytes,
                                source_index, length);
    }
    if (range->source_index != source_index ||
        range->source_offset_bytes +
                (target_offset_bytes - range->begin_bytes) !=
            source_offset_bytes)
        return 0;
    return ds_min_u64(length, range->end_bytes - target_offset_bytes);
}

uint64_t trust_blank(const struct trust *trust, uint32_t target_index,
                     uint64_t target_offset_bytes, uint64_t length_bytes)
{
    const struct range *blank;
    uint64_t length;

    if (trust->others.full || trust->blanks.full || trust->clones.full)
        return 0;
    length =
        up_to(&trust->others, target_index, target_offset_bytes, length_bytes);
    length = up_to(&trust->clones, target_index, target_offset_bytes, length);
    if (!is_base(trust, target_index))
        return length;
    blank = find(&trust->blanks, target_index, target_offset_bytes);
    if (blank == NULL || blank->begin_bytes > target_offset_bytes)
        return 0;
    return ds_min_u64(length, blank->end_bytes - target_offset_bytes);
}
