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

/* With the longest data file's name it fits into the smallest cluster. */
#define HEADER_BYTES UINT64_C(4096)
#define L1_PART_BYTES UINT64_C(4096)

int qcow2_map_changed(const char *record, struct ds_error *err)
{
    return ds_fail(err, DS_ERR_REFUSED,
                   "qcow2: %s: the second pass differs from the first: the "
                   "source has changed",
                   record);
}

void qcow2_target_rewind(struct qcow2_target *target)
{
    memset(target->l1, 0, target->l1_entry_count * sizeof(*target->l1));
    qcow2_stream_rewind(&target->l2, target->l2_offset_bytes);
    target->l2_begun = 0;
    target->slot = QCOW2_NO_SLOT;
    target->unit_next = 0;
    target->encode_begun = false;
}

int qcow2_l2_begin(struct qcow2_target *target, uint64_t slot,
                   struct ds_error *err)
{
    uint64_t offset =
        target->l2_offset_bytes + (target->l2_begun << target->cluster_bits);

    if (slot == target->slot)
        return 0;
    if (target->l2_begun == target->l2_table_count)
        return qcow2_map_changed("l2 table", err);
    target->l1[slot] = ds_be64_make(offset | QCOW2_COPIED);
    target->slot = slot;
    target->l2_begun++;
    return 0;
}

static uint64_t l2_entry_bytes(const struct qcow2_target *target)
{
    return target->extended ? 16 : 8;
}

/* Entries from `index` on of the table begun last. */
static int l2_at(struct qcow2_target *target, uint64_t index, uint64_t count,
                 struct ds_emitter *emitter, uint8_t **out,
                 struct ds_error *err)
{
    uint64_t table = (target->l2_begun - 1) << target->cluster_bits;
    uint64_t entry_bytes = l2_entry_bytes(target);

    return qcow2_stream_at(&target->l2, table + index * entry_bytes,
                           count * entry_bytes, emitter, out, err);
}

/* `count` entries, each `step` above the one before. */
static void put_entries(const struct qcow2_target *target, uint8_t *bytes,
                        uint64_t count, uint64_t entry, uint64_t step,
                        uint64_t subclusters)
{
    const uint64_t entry_bytes = l2_entry_bytes(target);

    for (uint64_t i = 0; i < count; i++, entry += step, bytes += entry_bytes) {
        const ds_be64 wire[2] = { ds_be64_make(entry),
                                  ds_be64_make(subclusters) };

        memcpy(bytes, wire, entry_bytes == 8 ? 8 : sizeof(wire));
    }
}

int qcow2_l2_set(struct qcow2_target *target, uint64_t index, uint64_t entry,
                 uint64_t subclusters, struct ds_emitter *emitter,
                 struct ds_error *err)
{
    uint8_t *bytes;
    int result = l2_at(target, index, 1, emitter, &bytes, err);

    if (result == 0)
        put_entries(target, bytes, 1, entry, 0, subclusters);
    return result;
}

int qcow2_target_place(struct ds_target *base, const struct ds_unit_run *run,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    struct qcow2_target *target = (struct qcow2_target *)base;
    const uint64_t entries = qcow2_l2_entries(target);
    const uint64_t most = QCOW2_STREAM_BYTES_MAX / l2_entry_bytes(target);
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
        uint8_t *bytes;
        int result = qcow2_l2_begin(target, unit / entries, err);

        count = ds_min_u64(ds_min_u64(end - unit, entries - index), most);
        if (result == 0)
            result = l2_at(target, index, count, emitter, &bytes, err);
        if (result != 0)
            return result;
        put_entries(target, bytes, count, offset | QCOW2_COPIED,
                    target->cluster_bytes, QCOW2_SUBCLUSTERS_ALLOCATED);
        offset += count << target->cluster_bits;
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

/* The first of the first cluster's pages holds all of it. */
static int put_header(const struct qcow2_target *target, uint8_t *page,
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
    struct qcow2_header_disk wire;
    int result = qcow2_header_check_form(&header, NULL, err);

    if (result == 0)
        result = qcow2_header_check_tables(&header, &shape, err);
    if (result != 0)
        return result;
    qcow2_header_encode(&header, &wire);
    memcpy(page, &wire, header.header_length_bytes);
    put_extensions(target, page + header.header_length_bytes);
    return qcow2_features_check(&header, NULL, page, HEADER_BYTES, err);
}

/* A graft's base holds something else in the rest of the first cluster. */
static int emit_header(struct qcow2_target *target, struct ds_emitter *emitter,
                       struct ds_error *err)
{
    uint64_t end = target->grafted ? target->cluster_bytes : HEADER_BYTES;
    uint8_t *page;
    int result;

    qcow2_stream_rewind(&target->l2, 0);
    result = qcow2_stream_at(&target->l2, 0, HEADER_BYTES, emitter, &page, err);
    if (result == 0)
        result = put_header(target, page, err);
    for (uint64_t at = HEADER_BYTES; result == 0 && at < end;
         at += HEADER_BYTES)
        result =
            qcow2_stream_at(&target->l2, at, HEADER_BYTES, emitter, &page, err);
    return result != 0 ? result : qcow2_stream_flush(&target->l2, emitter, err);
}

/* Those of its pages that name a table. */
static int emit_l1(struct qcow2_target *target, struct ds_emitter *emitter,
                   struct ds_error *err)
{
    static const uint8_t zeros[L1_PART_BYTES];
    const uint64_t length = target->l1_entry_count * sizeof(*target->l1);
    int result = 0;

    qcow2_stream_rewind(&target->l2, target->l1_offset_bytes);
    for (uint64_t at = 0; result == 0 && at < length; at += L1_PART_BYTES) {
        const uint8_t *part = (const uint8_t *)target->l1 + at;
        uint64_t count = ds_min_u64(length - at, L1_PART_BYTES);
        uint8_t *bytes;

        if (memcmp(part, zeros, count) == 0)
            continue;
        result = qcow2_stream_at(&target->l2, at, count, emitter, &bytes, err);
        if (result == 0)
            memcpy(bytes, part, count);
    }
    return result != 0 ? result : qcow2_stream_flush(&target->l2, emitter, err);
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
    result = qcow2_stream_flush(&target->l2, emitter, err);
    if (result == 0)
        result = qcow2_refcounts_finish(target, emitter, err);
    if (result == 0)
        result = emit_l1(target, emitter, err);
    if (result == 0)
        result = emit_header(target, emitter, err);
    qcow2_target_rewind(target);
    qcow2_target_rewind_used(target);
    return result;
}
