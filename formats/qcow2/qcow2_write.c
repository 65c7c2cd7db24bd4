/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing. The file, in whole clusters:
 *
 *   header | base (graft) | L1 | refcount | refcount | L2 tables | units
 *                         |    | table    | blocks   |           |
 *   0      head           area_start                             data_start
 *
 * L2 tables exist only for L1 slots that hold a unit and lie in guest order;
 * refcount blocks exist for the whole file, so that gaps of a graft have
 * refcounts of 0. Every unit is referenced once: refcount 1, COPIED set.
 *
 * Invariants: runs come in guest order and used ranges in file order, so both
 * kinds of table are written front to back through one buffer each and never
 * read. L1 alone is held whole (at most 32 MiB). A pass may be broken off;
 * the next one is recognised by its going back to the start.
 */
#include "qcow2_target.h"

#include <assert.h>
#include <inttypes.h>

#include "fail.h"

int qcow2_map_changed(const char *record, struct ds_error *err)
{
    return ds_fail(err, DS_ERR_REFUSED,
                   "qcow2: %s: the second pass differs from the first: the "
                   "source has changed",
                   record);
}

/* Write the stream's buffer out, at most up to `table_end`, and go on behind
 * it with zeros. */
static int stream_flush(struct qcow2_target *target,
                        struct table_stream *stream, uint64_t stream_offset,
                        uint64_t table_end, struct ds_emitter *emitter,
                        struct ds_error *err)
{
    uint64_t count =
        ds_min_u64(stream->buffer_tables, table_end - stream->first_table);
    uint64_t length = count << target->cluster_bits;
    uint64_t offset =
        stream_offset + (stream->first_table << target->cluster_bits);
    int result;

    if (count == 0)
        return 0;
    result = ds_emit(emitter, 0, offset, stream->buffer, length, err);
    memset(stream->buffer, 0, length);
    stream->first_table += count;
    return result;
}

static void stream_rewind(struct qcow2_target *target,
                          struct table_stream *stream)
{
    memset(stream->buffer, 0, stream->buffer_tables << target->cluster_bits);
    stream->first_table = 0;
}

void qcow2_target_rewind(struct qcow2_target *target)
{
    memset(target->l1, 0, target->l1_clusters << target->cluster_bits);
    stream_rewind(target, &target->l2);
    target->l2_begun = 0;
    target->slot = QCOW2_NO_SLOT;
    target->unit_next = 0;
    target->encode_begun = false;
}

void qcow2_target_rewind_used(struct qcow2_target *target)
{
    stream_rewind(target, &target->blocks);
    target->used_end_bytes = 0;
}

int qcow2_l2_begin(struct qcow2_target *target, uint64_t slot,
                   struct ds_emitter *emitter, struct ds_error *err)
{
    uint64_t offset =
        target->l2_offset_bytes + (target->l2_begun << target->cluster_bits);
    int result = 0;

    if (slot == target->slot)
        return 0;
    if (target->l2_begun == target->l2_table_count)
        return qcow2_map_changed("l2 table", err);
    if (target->l2_begun - target->l2.first_table == target->l2.buffer_tables)
        result = stream_flush(target, &target->l2, target->l2_offset_bytes,
                              target->l2_begun, emitter, err);
    target->l1[slot] = ds_be64_make(offset | QCOW2_COPIED);
    target->slot = slot;
    target->l2_begun++;
    return result;
}

int qcow2_refcount_add(struct qcow2_target *target, uint64_t cluster,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    const uint64_t block_entries = target->cluster_bytes / sizeof(ds_be16);
    struct table_stream *blocks = &target->blocks;
    ds_be16 count;
    uint8_t *at;

    if (cluster >= target->file_clusters)
        return qcow2_map_changed("refcount block", err);
    assert(cluster >= blocks->first_table * block_entries);
    while (cluster >=
           (blocks->first_table + blocks->buffer_tables) * block_entries) {
        int result =
            stream_flush(target, blocks, target->refcount_blocks_offset_bytes,
                         target->refcount_block_count, emitter, err);

        if (result != 0)
            return result;
    }
    at = blocks->buffer +
         (cluster - blocks->first_table * block_entries) * sizeof(count);
    memcpy(&count, at, sizeof(count));
    assert(ds_be16_get(count) < UINT16_MAX);
    count = ds_be16_make((uint16_t)(ds_be16_get(count) + 1));
    memcpy(at, &count, sizeof(count));
    return 0;
}

void qcow2_l2_set(struct qcow2_target *target, uint64_t index, uint64_t entry)
{
    uint64_t table = target->l2_begun - 1 - target->l2.first_table;
    uint8_t *bytes = target->l2.buffer + (table << target->cluster_bits);
    ds_be64 wire = ds_be64_make(entry);

    memcpy(bytes + index * sizeof(wire), &wire, sizeof(wire));
}

int qcow2_target_place(struct ds_target *base, const struct ds_unit_run *run,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    struct qcow2_target *target = (struct qcow2_target *)base;
    const uint64_t entries = qcow2_entries_per_cluster(target);
    const uint64_t end = run->first_unit + run->unit_count;
    uint64_t offset = run->file_offset_bytes;

    assert(offset % target->cluster_bytes == 0 && offset != 0);
    assert(ds_div_up(end, entries) <= target->l1_entry_count);
    if (run->first_unit < target->unit_next)
        qcow2_target_rewind(target);
    target->unit_next = end;
    for (uint64_t unit = run->first_unit, count; unit < end; unit += count) {
        uint64_t index = unit % entries;
        int result = qcow2_l2_begin(target, unit / entries, emitter, err);

        if (result != 0)
            return result;
        count = ds_min_u64(end - unit, entries - index);
        for (uint64_t i = 0; i < count; i++) {
            qcow2_l2_set(target, index + i, offset | QCOW2_COPIED);
            offset += target->cluster_bytes;
        }
    }
    return 0;
}

int qcow2_target_used(struct ds_target *base, uint64_t offset_bytes,
                      uint64_t length_bytes, struct ds_emitter *emitter,
                      struct ds_error *err)
{
    struct qcow2_target *target = (struct qcow2_target *)base;
    const uint64_t block_entries = target->cluster_bytes / sizeof(ds_be16);
    const uint64_t buffered = target->blocks.buffer_tables * block_entries;
    const ds_be16 one = ds_be16_make(1);
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

        for (; cluster < stop; cluster++)
            memcpy(target->blocks.buffer + (cluster - first) * sizeof(one),
                   &one, sizeof(one));
        if (cluster < end) {
            int result = stream_flush(
                target, &target->blocks, target->refcount_blocks_offset_bytes,
                target->refcount_block_count, emitter, err);

            if (result != 0)
                return result;
        }
    }
    return 0;
}

/* -- the rest of the tables ------------------------------------------------ */

static int finish_refcounts(struct qcow2_target *target,
                            struct ds_emitter *emitter, struct ds_error *err)
{
    while (target->blocks.first_table < target->refcount_block_count) {
        int result = stream_flush(target, &target->blocks,
                                  target->refcount_blocks_offset_bytes,
                                  target->refcount_block_count, emitter, err);

        if (result != 0)
            return result;
    }
    return 0;
}

/* Every entry is known, so the table is made a buffer at a time. */
static int emit_refcount_table(struct qcow2_target *target,
                               struct ds_emitter *emitter, struct ds_error *err)
{
    struct table_stream *stream = &target->blocks;
    const uint64_t entries =
        qcow2_entries_per_cluster(target); /* of 64 bits, in a cluster */
    int result = 0;

    stream_rewind(target, stream);
    while (result == 0 &&
           stream->first_table < target->refcount_table_clusters) {
        uint64_t first = stream->first_table * entries;
        uint64_t end = ds_min_u64(target->refcount_block_count,
                                  first + stream->buffer_tables * entries);

        for (uint64_t i = first; i < end; i++) {
            uint64_t offset = target->refcount_blocks_offset_bytes +
                              (i << target->cluster_bits);
            ds_be64 wire = ds_be64_make(offset);

            memcpy(stream->buffer + (i - first) * sizeof(wire), &wire,
                   sizeof(wire));
        }
        result =
            stream_flush(target, stream, target->refcount_table_offset_bytes,
                         target->refcount_table_clusters, emitter, err);
    }
    return result;
}

/* The whole first cluster: a graft's base holds something else there. */
static int emit_header(struct qcow2_target *target, struct ds_emitter *emitter,
                       struct ds_error *err)
{
    struct qcow2_shape shape = {
        .file_bytes = target->file_clusters << target->cluster_bits,
        .cluster_bytes = target->cluster_bytes,
        .cluster_bits = target->cluster_bits,
        .version = target->version,
    };
    const struct qcow2_header header = {
        .version = target->version,
        .cluster_bits = target->cluster_bits,
        .size_bytes = target->size_bytes,
        .l1_entry_count = (uint32_t)target->l1_entry_count,
        .l1_offset_bytes = target->l1_offset_bytes,
        .refcount_table_offset_bytes = target->refcount_table_offset_bytes,
        .refcount_table_clusters = (uint32_t)target->refcount_table_clusters,
        .refcount_order = 4,
        .incompatible_features =
            target->compression_type == QCOW2_COMPRESSION_ZLIB
                ? 0
                : QCOW2_INCOMPATIBLE_COMPRESSION,
        .compression_type = target->compression_type,
        .header_length_bytes = target->version == 2
                                   ? QCOW2_HEADER_V2_BYTES
                                   : sizeof(struct qcow2_header_disk),
    };
    struct qcow2_header_disk wire;
    int result = qcow2_header_check_form(&header, NULL, err);

    if (result == 0)
        result = qcow2_header_check_tables(&header, &shape, err);
    if (result != 0)
        return result;
    qcow2_header_encode(&header, &wire);
    stream_rewind(target, &target->l2);
    memcpy(target->l2.buffer, &wire, header.header_length_bytes);
    return ds_emit(emitter, 0, 0, target->l2.buffer, target->cluster_bytes,
                   err);
}

int qcow2_target_finish(struct ds_target *base, struct ds_emitter *emitter,
                        struct ds_error *err)
{
    struct qcow2_target *target = (struct qcow2_target *)base;
    int result = 0;

    if (target->encode != DS_CODEC_NONE)
        result = qcow2_encode_finish(target, emitter, err);
    if (result != 0)
        return result;
    if (target->l2_begun != target->l2_table_count)
        return qcow2_map_changed("l2 table", err);
    result = stream_flush(target, &target->l2, target->l2_offset_bytes,
                          target->l2_table_count, emitter, err);
    if (result == 0)
        result = finish_refcounts(target, emitter, err);
    if (result == 0)
        result = emit_refcount_table(target, emitter, err);
    if (result == 0)
        result = ds_emit(emitter, 0, target->l1_offset_bytes, target->l1,
                         target->l1_clusters << target->cluster_bits, err);
    if (result == 0)
        result = emit_header(target, emitter, err);
    qcow2_target_rewind(target);
    qcow2_target_rewind_used(target);
    return result;
}
