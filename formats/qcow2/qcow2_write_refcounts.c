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
 * read. A range that goes back to the start begins the pass anew.
 */
#include <assert.h>

#include "qcow2_target.h"

void qcow2_target_rewind_used(struct qcow2_target *target)
{
    qcow2_stream_rewind(&target->blocks);
    target->used_end_bytes = 0;
}

static int flush_blocks(struct qcow2_target *target, struct ds_emitter *emitter,
                        struct ds_error *err)
{
    return qcow2_stream_flush(target, &target->blocks,
                              target->refcount_blocks_offset_bytes,
                              target->refcount_block_count, emitter, err);
}

/* What so many counts take, in whole bytes. */
static uint64_t counts_bytes(const struct qcow2_target *target, uint64_t count)
{
    return ds_div_up(count << target->refcount_order, 8);
}

int qcow2_refcount_add(struct qcow2_target *target, uint64_t cluster,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    const uint64_t block_entries = qcow2_block_entries(target);
    const uint32_t order = target->refcount_order;
    struct table_stream *blocks = &target->blocks;
    uint64_t index, count;

    if (cluster >= target->file_clusters)
        return qcow2_map_changed("refcount block", err);
    assert(cluster >= blocks->first_table * block_entries);
    while (cluster >=
           (blocks->first_table + blocks->buffer_tables) * block_entries) {
        int result = flush_blocks(target, emitter, err);

        if (result != 0)
            return result;
    }
    index = cluster - blocks->first_table * block_entries;
    count = qcow2_refcount_get(blocks->buffer, order, index);
    assert(order == QCOW2_REFCOUNT_ORDER_MAX ||
           count + 1 < UINT64_C(1) << (1u << order));
    qcow2_refcount_put(blocks->buffer, order, index, count + 1);
    qcow2_stream_touch(blocks, counts_bytes(target, index + 1));
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
    const uint64_t block_entries = qcow2_block_entries(target);
    const uint64_t buffered = target->blocks.buffer_tables * block_entries;
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
        uint64_t first = target->blocks.first_table * block_entries;
        uint64_t stop = ds_min_u64(end, first + buffered);

        if (cluster < stop) {
            qcow2_stream_touch(&target->blocks,
                               counts_bytes(target, stop - first));
            put_ones(target->blocks.buffer, target->refcount_order,
                     cluster - first, stop - first);
            cluster = stop;
        }
        if (cluster < end) {
            int result = flush_blocks(target, emitter, err);

            if (result != 0)
                return result;
        }
    }
    return 0;
}

/* Every entry is known, so the table is made a buffer at a time. */
static int emit_table(struct qcow2_target *target, struct ds_emitter *emitter,
                      struct ds_error *err)
{
    struct table_stream *stream = &target->blocks;
    const uint64_t entries = qcow2_table_entries(target);
    int result = 0;

    qcow2_stream_rewind(stream);
    while (result == 0 &&
           stream->first_table < target->refcount_table_clusters) {
        uint64_t first = stream->first_table * entries;
        uint64_t end = ds_min_u64(target->refcount_block_count,
                                  first + stream->buffer_tables * entries);

        qcow2_stream_touch(stream, (end - first) * sizeof(ds_be64));
        for (uint64_t i = first; i < end; i++) {
            uint64_t offset = target->refcount_blocks_offset_bytes +
                              (i << target->cluster_bits);
            ds_be64 wire = ds_be64_make(offset);

            memcpy(stream->buffer + (i - first) * sizeof(wire), &wire,
                   sizeof(wire));
        }
        result = qcow2_stream_flush(
            target, stream, target->refcount_table_offset_bytes,
            target->refcount_table_clusters, emitter, err);
    }
    return result;
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
    while (result == 0 &&
           target->blocks.first_table < target->refcount_block_count)
        result = flush_blocks(target, emitter, err);
    return result != 0 ? result : emit_table(target, emitter, err);
}
