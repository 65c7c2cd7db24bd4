/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing L1, L2 and the header; qcow2_write_refcounts.c has the counts. The
 * file, in whole clusters:
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

int qcow2_stream_flush(struct qcow2_target *target, struct table_stream *stream,
                       uint64_t stream_offset, uint64_t table_end,
                       struct ds_emitter *emitter, struct ds_error *err)
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
    memset(stream->buffer, 0, stream->dirty_bytes);
    stream->dirty_bytes = 0; /* nothing is put behind the tables that count */
    stream->first_table += count;
    return result;
}

/* Most of a fresh buffer is never touched, and so costs no memory. */
void qcow2_stream_rewind(struct table_stream *stream)
{
    memset(stream->buffer, 0, stream->dirty_bytes);
    stream->dirty_bytes = 0;
    stream->first_table = 0;
}

void qcow2_target_rewind(struct qcow2_target *target)
{
    memset(target->l1, 0, target->l1_clusters << target->cluster_bits);
    qcow2_stream_rewind(&target->l2);
    target->l2_begun = 0;
    target->slot = QCOW2_NO_SLOT;
    target->unit_next = 0;
    target->encode_begun = false;
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
        result =
            qcow2_stream_flush(target, &target->l2, target->l2_offset_bytes,
                               target->l2_begun, emitter, err);
    target->l1[slot] = ds_be64_make(offset | QCOW2_COPIED);
    target->slot = slot;
    target->l2_begun++;
    return result;
}

void qcow2_l2_set(struct qcow2_target *target, uint64_t index, uint64_t entry,
                  uint64_t subclusters)
{
    uint64_t table = target->l2_begun - 1 - target->l2.first_table;
    uint8_t *bytes = target->l2.buffer + (table << target->cluster_bits);
    const ds_be64 wire[2] = { ds_be64_make(entry), ds_be64_make(subclusters) };

    qcow2_stream_touch(&target->l2, (table + 1) << target->cluster_bits);
    if (target->extended)
        memcpy(bytes + index * sizeof(wire), wire, sizeof(wire));
    else
        memcpy(bytes + index * sizeof(wire[0]), wire, sizeof(wire[0]));
}

int qcow2_target_place(struct ds_target *base, const struct ds_unit_run *run,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    struct qcow2_target *target = (struct qcow2_target *)base;
    const uint64_t entries = qcow2_l2_entries(target);
    const uint64_t end = run->first_unit + run->unit_count;
    uint64_t offset = run->file_offset_bytes;

    assert(offset % target->cluster_bytes == 0);
    assert(target->external ? offset >> target->cluster_bits == run->first_unit
                            : offset != 0);
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
            qcow2_l2_set(target, index + i, offset | QCOW2_COPIED,
                         QCOW2_SUBCLUSTERS_ALLOCATED);
            offset += target->cluster_bytes;
        }
    }
    return 0;
}

/* -- the rest of the tables ------------------------------------------------ */

static uint64_t incompatible_features(const struct qcow2_target *target)
{
    uint64_t features = 0;

    if (target->compression_type != QCOW2_COMPRESSION_ZLIB)
        features |= QCOW2_INCOMPATIBLE_COMPRESSION;
    if (target->extended)
        features |= QCOW2_INCOMPATIBLE_EXTENDED_L2;
    if (target->external)
        features |= QCOW2_INCOMPATIBLE_DATA_FILE;
    return features;
}

/* The data file's name; what is behind it is zeros and so the end marker. */
static void put_extensions(const struct qcow2_target *target, uint8_t *bytes)
{
    const size_t length = strlen(target->data_file_name);
    const struct qcow2_extension_disk wire = {
        .type = ds_be32_make(QCOW2_EXTENSION_DATA_FILE),
        .length = ds_be32_make((uint32_t)length),
    };

    if (!target->external)
        return;
    memcpy(bytes, &wire, sizeof(wire));
    memcpy(bytes + sizeof(wire), target->data_file_name, length);
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
        .refcount_order = target->refcount_order,
        .incompatible_features = incompatible_features(target),
        .autoclear_features =
            target->external ? QCOW2_AUTOCLEAR_DATA_FILE_RAW : 0,
        .compression_type = target->compression_type,
        .header_length_bytes = target->version == 2
                                   ? QCOW2_HEADER_V2_BYTES
                                   : sizeof(struct qcow2_header_disk),
    };
    uint8_t *buffer = target->l2.buffer;
    struct qcow2_header_disk wire;
    int result = qcow2_header_check_form(&header, NULL, err);

    if (result == 0)
        result = qcow2_header_check_tables(&header, &shape, err);
    if (result != 0)
        return result;
    qcow2_header_encode(&header, &wire);
    qcow2_stream_rewind(&target->l2);
    qcow2_stream_touch(&target->l2, target->cluster_bytes);
    memcpy(buffer, &wire, header.header_length_bytes);
    put_extensions(target, buffer + header.header_length_bytes);
    result =
        qcow2_features_check(&header, NULL, buffer, target->cluster_bytes, err);
    return result != 0
               ? result
               : ds_emit(emitter, 0, 0, buffer, target->cluster_bytes, err);
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
    result = qcow2_stream_flush(target, &target->l2, target->l2_offset_bytes,
                                target->l2_table_count, emitter, err);
    if (result == 0)
        result = qcow2_refcounts_finish(target, emitter, err);
    if (result == 0)
        result = ds_emit(emitter, 0, target->l1_offset_bytes, target->l1,
                         target->l1_clusters << target->cluster_bits, err);
    if (result == 0)
        result = emit_header(target, emitter, err);
    qcow2_target_rewind(target);
    qcow2_target_rewind_used(target);
    return result;
}
