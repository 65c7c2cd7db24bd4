/* SPDX-License-Identifier: Apache-2.0 */
/* Decode, encode and judge qcow2's records. Nothing here reads or writes a
 * file; the reader, the writer and the tests come through the same rules. */
#include "qcow2_check.h"

#include <assert.h>
#include <inttypes.h>

#include "fail.h"

#define AT(member) offsetof(struct qcow2_header_disk, member)

void qcow2_header_decode(const uint8_t *bytes, size_t length,
                         struct qcow2_header *out)
{
    struct qcow2_header_disk wire = { 0 };

    memcpy(&wire, bytes, ds_min_u64(length, sizeof(wire)));
    *out = (struct qcow2_header){
        .version = ds_be32_get(wire.version),
        .backing_file_offset_bytes = ds_be64_get(wire.backing_file_offset),
        .backing_file_bytes = ds_be32_get(wire.backing_file_size),
        .cluster_bits = ds_be32_get(wire.cluster_bits),
        .size_bytes = ds_be64_get(wire.size),
        .crypt_method = ds_be32_get(wire.crypt_method),
        .l1_entry_count = ds_be32_get(wire.l1_size),
        .l1_offset_bytes = ds_be64_get(wire.l1_table_offset),
        .refcount_table_offset_bytes = ds_be64_get(wire.refcount_table_offset),
        .refcount_table_clusters = ds_be32_get(wire.refcount_table_clusters),
        .snapshot_count = ds_be32_get(wire.nb_snapshots),
        .snapshots_offset_bytes = ds_be64_get(wire.snapshots_offset),
        .refcount_order = QCOW2_REFCOUNT_ORDER_V2,
        .header_length_bytes = QCOW2_HEADER_V2_BYTES,
    };
    if (out->version < 3)
        return;
    out->incompatible_features = ds_be64_get(wire.incompatible_features);
    out->compatible_features = ds_be64_get(wire.compatible_features);
    out->autoclear_features = ds_be64_get(wire.autoclear_features);
    out->refcount_order = ds_be32_get(wire.refcount_order);
    out->header_length_bytes = ds_be32_get(wire.header_length);
    /* "not present when header_length is less than or equal to the field's
     * offset" (qcow2: Additional fields). */
    if (out->header_length_bytes > AT(compression_type))
        out->compression_type = wire.compression_type;
}

void qcow2_header_encode(const struct qcow2_header *header,
                         struct qcow2_header_disk *out)
{
    *out = (struct qcow2_header_disk){
        .magic = ds_be32_make(QCOW2_MAGIC),
        .version = ds_be32_make(header->version),
        .backing_file_offset = ds_be64_make(header->backing_file_offset_bytes),
        .backing_file_size = ds_be32_make(header->backing_file_bytes),
        .cluster_bits = ds_be32_make(header->cluster_bits),
        .size = ds_be64_make(header->size_bytes),
        .crypt_method = ds_be32_make(header->crypt_method),
        .l1_size = ds_be32_make(header->l1_entry_count),
        .l1_table_offset = ds_be64_make(header->l1_offset_bytes),
        .refcount_table_offset =
            ds_be64_make(header->refcount_table_offset_bytes),
        .refcount_table_clusters =
            ds_be32_make(header->refcount_table_clusters),
        .nb_snapshots = ds_be32_make(header->snapshot_count),
        .snapshots_offset = ds_be64_make(header->snapshots_offset_bytes),
    };
    if (header->version < 3)
        return;
    out->incompatible_features = ds_be64_make(header->incompatible_features);
    out->compatible_features = ds_be64_make(header->compatible_features);
    out->autoclear_features = ds_be64_make(header->autoclear_features);
    out->refcount_order = ds_be32_make(header->refcount_order);
    out->header_length = ds_be32_make(header->header_length_bytes);
    out->compression_type = header->compression_type;
}

int qcow2_header_check_form(const struct qcow2_header *header,
                            const struct ds_file *file, struct ds_error *err)
{
    if (header->version == 1)
        return ds_fail_at(err, file, AT(version), DS_ERR_UNSUPPORTED,
                          "qcow2: header: version 1 (qcow) is not supported");
    if (header->version != 2 && header->version != 3)
        return ds_fail_at(err, file, AT(version), DS_ERR_UNSUPPORTED,
                          "qcow2: header: version, have %" PRIu32
                          " expect 2 or 3",
                          header->version);
    if (header->cluster_bits < QCOW2_CLUSTER_BITS_MIN)
        return ds_fail_at(err, file, AT(cluster_bits), DS_ERR_CORRUPT,
                          "qcow2: header: cluster_bits, have %" PRIu32
                          " expect %u to %u",
                          header->cluster_bits, QCOW2_CLUSTER_BITS_MIN,
                          QCOW2_CLUSTER_BITS_MAX);
    if (header->cluster_bits > QCOW2_CLUSTER_BITS_MAX)
        return ds_fail_at(err, file, AT(cluster_bits), DS_ERR_LIMIT,
                          "qcow2: header: cluster_bits, have %" PRIu32
                          " expect %u to %u",
                          header->cluster_bits, QCOW2_CLUSTER_BITS_MIN,
                          QCOW2_CLUSTER_BITS_MAX);
    if (header->refcount_order > QCOW2_REFCOUNT_ORDER_MAX)
        return ds_fail_at(err, file, AT(refcount_order), DS_ERR_CORRUPT,
                          "qcow2: header: refcount_order, have %" PRIu32
                          " expect at most %u",
                          header->refcount_order, QCOW2_REFCOUNT_ORDER_MAX);
    if (header->version == 3 &&
        (header->header_length_bytes < QCOW2_HEADER_V3_BYTES_MIN ||
         header->header_length_bytes % 8 != 0 ||
         header->header_length_bytes > UINT32_C(1) << header->cluster_bits))
        return ds_fail_at(err, file, AT(header_length), DS_ERR_CORRUPT,
                          "qcow2: header: header_length, have %" PRIu32
                          " expect a multiple of 8 from %u to the cluster's "
                          "%" PRIu32,
                          header->header_length_bytes,
                          QCOW2_HEADER_V3_BYTES_MIN,
                          UINT32_C(1) << header->cluster_bits);
    return 0;
}

uint64_t qcow2_l1_entry_count(uint64_t size_bytes, uint32_t cluster_bits,
                              bool extended)
{
    /* One entry admits cluster_bytes / 8 clusters, or / 16. */
    return ds_div_up(size_bytes,
                     UINT64_C(1) << (2 * cluster_bits - (extended ? 4 : 3)));
}

uint64_t qcow2_l1_entry_count_of(const struct qcow2_header *header,
                                 uint64_t size_bytes)
{
    return qcow2_l1_entry_count(
        size_bytes, header->cluster_bits,
        (header->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0);
}

static int add_fixed(struct qcow2_shape *shape,
                     const struct qcow2_pointer *pointer, const char *name,
                     struct ds_error *err)
{
    int result = qcow2_table_check(shape, pointer, err);

    if (result != 0)
        return result;
    assert(shape->fixed_count < QCOW2_FIXED_COUNT_MAX);
    shape->fixed[shape->fixed_count++] = (struct qcow2_fixed){
        name, pointer->offset_bytes,
        ds_align_up(pointer->offset_bytes + pointer->length_bytes,
                    shape->cluster_bytes)
    };
    return 0;
}

static int check_l1(const struct qcow2_header *header,
                    struct qcow2_shape *shape, struct ds_error *err)
{
    uint64_t need = qcow2_l1_entry_count_of(header, header->size_bytes);
    struct qcow2_pointer l1 = { "header: l1_table_offset", AT(l1_table_offset),
                                header->l1_offset_bytes,
                                (uint64_t)header->l1_entry_count * 8 };

    if (header->l1_entry_count > QCOW2_L1_ENTRY_COUNT_MAX ||
        need > QCOW2_L1_ENTRY_COUNT_MAX)
        return ds_fail_at(err, shape->file, AT(l1_size), DS_ERR_LIMIT,
                          "qcow2: header: l1_size, have %" PRIu64
                          " entries expect at most %" PRIu64,
                          ds_max_u64(need, header->l1_entry_count),
                          QCOW2_L1_ENTRY_COUNT_MAX);
    if (header->l1_entry_count < need)
        return ds_fail_at(err, shape->file, AT(l1_size), DS_ERR_CORRUPT,
                          "qcow2: header: l1_size, have %" PRIu32
                          " expect at least %" PRIu64 " for a disk of %" PRIu64
                          " bytes",
                          header->l1_entry_count, need, header->size_bytes);
    if (header->l1_entry_count == 0)
        return 0;
    return add_fixed(shape, &l1, "l1 table", err);
}

static int check_refcount_table(const struct qcow2_header *header,
                                struct qcow2_shape *shape, struct ds_error *err)
{
    uint64_t length = header->refcount_table_clusters * shape->cluster_bytes;
    struct qcow2_pointer table = { "header: refcount_table_offset",
                                   AT(refcount_table_offset),
                                   header->refcount_table_offset_bytes,
                                   length };

    if (length == 0)
        return ds_fail_at(err, shape->file, AT(refcount_table_clusters),
                          DS_ERR_CORRUPT,
                          "qcow2: header: refcount_table_clusters, have 0 "
                          "expect at least 1");
    if (length > QCOW2_REFCOUNT_TABLE_BYTES_MAX)
        return ds_fail_at(err, shape->file, AT(refcount_table_clusters),
                          DS_ERR_LIMIT,
                          "qcow2: header: refcount_table_clusters, have "
                          "%" PRIu64 " bytes expect at most %" PRIu64,
                          length, QCOW2_REFCOUNT_TABLE_BYTES_MAX);
    return add_fixed(shape, &table, "refcount table", err);
}

static int check_snapshots(const struct qcow2_header *header,
                           struct qcow2_shape *shape, struct ds_error *err)
{
    /* Records are longer than this; the rest is checked when they are read. */
    struct qcow2_pointer table = { "header: snapshots_offset",
                                   AT(snapshots_offset),
                                   header->snapshots_offset_bytes,
                                   (uint64_t)header->snapshot_count *
                                       sizeof(struct qcow2_snapshot_disk) };

    if (header->snapshot_count == 0)
        return 0;
    if (header->snapshot_count > QCOW2_SNAPSHOT_COUNT_MAX)
        return ds_fail_at(err, shape->file, AT(nb_snapshots), DS_ERR_LIMIT,
                          "qcow2: header: nb_snapshots, have %" PRIu32
                          " expect at most %u",
                          header->snapshot_count, QCOW2_SNAPSHOT_COUNT_MAX);
    return add_fixed(shape, &table, "snapshot table", err);
}

int qcow2_header_check_tables(const struct qcow2_header *header,
                              struct qcow2_shape *shape, struct ds_error *err)
{
    int result;

    shape->fixed[0] = (struct qcow2_fixed){ "header", 0, shape->cluster_bytes };
    shape->fixed_count = 1;
    if (header->size_bytes % DS_SECTOR_BYTES != 0)
        return ds_fail_at(err, shape->file, AT(size), DS_ERR_UNSUPPORTED,
                          "qcow2: header: size, have %" PRIu64
                          " expect a multiple of %u",
                          header->size_bytes, DS_SECTOR_BYTES);
    result = check_l1(header, shape, err);
    if (result == 0)
        result = check_refcount_table(header, shape, err);
    if (result == 0)
        result = check_snapshots(header, shape, err);
    return result;
}

int qcow2_pointer_check(const struct qcow2_shape *shape,
                        const struct qcow2_pointer *pointer,
                        struct ds_error *err)
{
    uint64_t offset = pointer->offset_bytes;

    if (offset == 0 || offset % shape->cluster_bytes != 0)
        return ds_fail_at(err, shape->file, pointer->at_bytes, DS_ERR_CORRUPT,
                          "qcow2: %s, have 0x%" PRIx64
                          " expect a multiple of the cluster size %" PRIu64
                          ", not 0",
                          pointer->name, offset, shape->cluster_bytes);
    if (!ds_range_fits(offset, pointer->length_bytes, shape->file_bytes))
        return ds_fail_at(
            err, shape->file, pointer->at_bytes, DS_ERR_CORRUPT,
            "qcow2: %s, have %" PRIu64 " bytes at 0x%" PRIx64
            " expect them inside the file of %" PRIu64 " bytes: truncated?",
            pointer->name, pointer->length_bytes, offset, shape->file_bytes);
    return 0;
}

int qcow2_table_check(const struct qcow2_shape *shape,
                      const struct qcow2_pointer *pointer, struct ds_error *err)
{
    uint64_t begin = pointer->offset_bytes;
    int result = qcow2_pointer_check(shape, pointer, err);

    for (uint32_t i = 0; result == 0 && i < shape->fixed_count; i++) {
        const struct qcow2_fixed *fixed = &shape->fixed[i];

        if (begin < fixed->end_bytes &&
            fixed->begin_bytes < begin + pointer->length_bytes)
            return ds_fail_at(
                err, shape->file, pointer->at_bytes, DS_ERR_CORRUPT,
                "qcow2: %s, have 0x%" PRIx64
                " expect it apart from the %s at 0x%" PRIx64,
                pointer->name, begin, fixed->name, fixed->begin_bytes);
    }
    return result;
}

static int check_reserved(const struct qcow2_shape *shape, const char *name,
                          uint64_t raw, uint64_t reserved, uint64_t at_bytes,
                          struct ds_error *err)
{
    if ((raw & reserved) == 0)
        return 0;
    return ds_fail_at(err, shape->file, at_bytes, DS_ERR_CORRUPT,
                      "qcow2: %s, have 0x%016" PRIx64
                      " expect the reserved bits 0x%016" PRIx64 " to be 0",
                      name, raw, reserved);
}

int qcow2_l1_entry_check(const struct qcow2_shape *shape, uint64_t raw,
                         uint64_t at_bytes, uint64_t *out, struct ds_error *err)
{
    struct qcow2_pointer table = { "l1 entry", at_bytes,
                                   raw & QCOW2_L1_OFFSET_MASK,
                                   shape->cluster_bytes };
    int result = check_reserved(shape, table.name, raw, QCOW2_L1_RESERVED_MASK,
                                at_bytes, err);

    *out = table.offset_bytes;
    if (result != 0 || *out == 0)
        return result;
    return qcow2_table_check(shape, &table, err);
}

int qcow2_refcount_entry_check(const struct qcow2_shape *shape, uint64_t raw,
                               uint64_t at_bytes, uint64_t *out,
                               struct ds_error *err)
{
    struct qcow2_pointer block = { "refcount table entry", at_bytes,
                                   raw & QCOW2_REFCOUNT_OFFSET_MASK,
                                   shape->cluster_bytes };
    int result = check_reserved(shape, block.name, raw,
                                QCOW2_REFCOUNT_RESERVED_MASK, at_bytes, err);

    *out = block.offset_bytes;
    if (result != 0 || *out == 0)
        return result;
    return qcow2_table_check(shape, &block, err);
}

uint64_t qcow2_refcount_get(const uint8_t *block, uint32_t order,
                            uint64_t index)
{
    uint64_t value = 0;
    unsigned bytes;

    if (order < 3) {
        unsigned width = 1u << order;
        unsigned shift = (unsigned)(index * width % 8);

        return (unsigned)block[index * width / 8] >> shift &
               ((1u << width) - 1);
    }
    bytes = 1u << (order - 3);
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | block[index * bytes + i];
    return value;
}

void qcow2_refcount_put(uint8_t *block, uint32_t order, uint64_t index,
                        uint64_t value)
{
    unsigned bytes;

    if (order < 3) {
        unsigned width = 1u << order;
        unsigned shift = (unsigned)(index * width % 8);
        unsigned mask = ((1u << width) - 1) << shift;
        uint8_t *at = &block[index * width / 8];

        *at = (uint8_t)((*at & ~mask) | ((unsigned)value << shift & mask));
        return;
    }
    bytes = 1u << (order - 3);
    for (unsigned i = bytes; i > 0; i--, value >>= 8)
        block[index * bytes + i - 1] = (uint8_t)value;
}

void qcow2_snapshot_decode(const struct qcow2_snapshot_disk *wire,
                           struct qcow2_snapshot *out)
{
    *out = (struct qcow2_snapshot){
        .l1_offset_bytes = ds_be64_get(wire->l1_table_offset),
        .l1_entry_count = ds_be32_get(wire->l1_size),
        .extra_bytes = ds_be32_get(wire->extra_data_size),
        .id_bytes = ds_be16_get(wire->id_str_size),
        .name_bytes = ds_be16_get(wire->name_size),
        .created_seconds = ds_be32_get(wire->date_sec),
        .entry_bytes = sizeof(*wire),
    };
    out->entry_bytes += out->extra_bytes;
    out->entry_bytes += out->id_bytes;
    out->entry_bytes += out->name_bytes;
}
