/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing reference counts. The table is one stretch, and so are the blocks
 * behind it, one for every cluster-full of counts that the file has:
 *
 *   table   | block 0 | block 1 | block 2 ..
 *   blocks  | counts of the clusters from 0 on | ..
 *
 * Plain units are told as used ranges in file order, each cluster counts one.
 * Compressed units count one by one, also rising but for a cluster that is
 * filled later: see qcow2_encode.c. With an external data file nothing but our
 * own tables is counted, and they have no gaps.
 *
 * Invariants: blocks go out front to back through one buffer and are never
 * read: see qcow2_stream.c. A range that goes back to the start begins the pass
 * anew.
 */
#include <assert.h>

#include "qcow2_target.h"

void qcow2_target_rewind_used(struct qcow2_target *target)
{
    qcow2_stream_rewind(&target->blocks, target->refcount_blocks_offset_bytes);
    target->used_end_bytes = 0;
}

/* Where the count of a cluster lies: blocks have no gaps between them. Of
 * several counts in a byte each answers that byte. */
static uint64_t count_at(const struct qcow2_target *target, uint64_t cluster)
{
    return cluster << target->refcount_order >> 3;
}

/* The bytes with the counts of [cluster, end); `first` is whose the first
 * count in them is. */
static int blocks_at(struct qcow2_target *target, uint64_t cluster,
                     uint64_t end, struct ds_emitter *emitter, uint8_t **out,
                     uint64_t *first, struct ds_error *err)
{
    const uint64_t at = count_at(target, cluster);
    const uint64_t last = ((end << target->refcount_order) - 1) >> 3;

    *first = (at << 3) >> target->refcount_order;
    return qcow2_stream_at(&target->blocks, at, last + 1 - at, emitter, out,
                           err);
}

bool qcow2_refcount_is_open(const struct qcow2_target *target, uint64_t cluster)
{
    return count_at(target, cluster) >= target->blocks.begin_bytes;
}

uint64_t qcow2_refcount_have(const struct qcow2_target *target,
                             uint64_t cluster)
{
    const uint64_t begin = target->blocks.begin_bytes;

    assert(qcow2_refcount_is_open(target, cluster));
    return qcow2_refcount_get(target->blocks.buffer, target->refcount_order,
                              cluster - (begin << 3 >> target->refcount_order));
}

int qcow2_refcount_add(struct qcow2_target *target, uint64_t cluster,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    const uint32_t order = target->refcount_order;
    uint64_t first, count;
    uint8_t *bytes;
    int result;

    if (cluster >= target->file_clusters)
        return qcow2_map_changed("refcount block", err);
    assert(qcow2_refcount_is_open(target, cluster));
    result =
        blocks_at(target, cluster, cluster + 1, emitter, &bytes, &first, err);
    if (result != 0)
        return result;
    count = qcow2_refcount_get(bytes, order, cluster - first);
    assert(order == QCOW2_REFCOUNT_ORDER_MAX ||
           count + 1 < UINT64_C(1) << (1u << order));
    qcow2_refcount_put(bytes, order, cluster - first, count + 1);
    return 0;
}

/* Counts of one for [begin, end), where there were zeros. */
static void put_ones(uint8_t *bytes, uint32_t order, uint64_t begin,
                     uint64_t end)
{
    static const uint8_t packed[3] = { 0xff, 0x55, 0x11 };
    uint64_t width, in_byte;

    if (order >= 3) {
        width = UINT64_C(1) << (order - 3);
        for (uint64_t i = begin; i < end; i++)
            bytes[i * width + width - 1] = 1;
        return;
    }
    in_byte = 8u >> order;
    for (; begin < end && begin % in_byte != 0; begin++)
        qcow2_refcount_put(bytes, order, begin, 1);
    memset(bytes + begin / in_byte, packed[order], (end - begin) / in_byte);
    begin += ds_align_down(end - begin, in_byte);
    for (; begin < end; begin++)
        qcow2_refcount_put(bytes, order, begin, 1);
}

int qcow2_target_used(struct ds_target *base, uint64_t offset_bytes,
                      uint64_t length_bytes, struct ds_emitter *emitter,
                      struct ds_error *err)
{
    struct qcow2_target *target = (struct qcow2_target *)base;
    const uint64_t most =
        (QCOW2_STREAM_BYTES_MAX << 3) >> target->refcount_order;
    uint64_t cluster = offset_bytes >> target->cluster_bits;
    uint64_t end =
        ds_div_up(offset_bytes + length_bytes, target->cluster_bytes);

    if (length_bytes == 0)
        return 0;
    if (offset_bytes < target->used_end_bytes)
        qcow2_target_rewind_used(target);
    target->used_end_bytes = offset_bytes + length_bytes;
    if (end > target->file_clusters)
        return qcow2_map_changed("refcount block", err);
    while (cluster < end) {
        uint64_t stop = ds_min_u64(end, ds_align_down(cluster, most) + most);
        uint64_t first;
        uint8_t *bytes;
        int result =
            blocks_at(target, cluster, stop, emitter, &bytes, &first, err);

        if (result != 0)
            return result;
        put_ones(bytes, target->refcount_order, cluster - first, stop - first);
        cluster = stop;
    }
    return 0;
}

/* Every entry is known, since the blocks have no gaps between them. */
static int emit_table(struct qcow2_target *target, struct ds_emitter *emitter,
                      struct ds_error *err)
{
    struct table_stream *stream = &target->blocks;
    int result = 0;

    qcow2_stream_rewind(stream, target->refcount_table_offset_bytes);
    for (uint64_t i = 0; result == 0 && i < target->refcount_block_count; i++) {
        const ds_be64 wire = ds_be64_make(target->refcount_blocks_offset_bytes +
                                          (i << target->cluster_bits));
        uint8_t *bytes;

        result = qcow2_stream_at(stream, i * sizeof(wire), sizeof(wire),
                                 emitter, &bytes, err);
        if (result == 0)
            memcpy(bytes, &wire, sizeof(wire));
    }
    return result != 0 ? result : qcow2_stream_flush(stream, emitter, err);
}

int qcow2_refcounts_finish(struct qcow2_target *target,
                           struct ds_emitter *emitter, struct ds_error *err)
{
    int result = 0;

    if (target->external) {
        qcow2_target_rewind_used(target);
        result = qcow2_target_used(
            &target->base, 0, target->file_clusters << target->cluster_bits,
            emitter, err);
    }
    if (result == 0)
        result = qcow2_stream_flush(&target->blocks, emitter, err);
    return result != 0 ? result : emit_table(target, emitter, err);
}
