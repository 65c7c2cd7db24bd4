/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an L2 entry says of its cluster, and whether it may.
 *
 *   standard     | 63 COPIED | 62 0 | 55..9 host offset | 0 zero |
 *   compressed   | 63 0      | 62 1 | further sectors | byte offset |
 *   extended     the standard one without bit 0, then 32 zero bits and
 *                32 allocation bits, one of each per subcluster
 *
 * Pure but for the error; the map, the checker and the tests come through
 * here.
 */
#include <inttypes.h>

#include "fail.h"
#include "qcow2_check.h"

static int check_reserved(const struct qcow2_shape *shape,
                          const struct qcow2_l2_raw *raw, uint64_t reserved,
                          struct ds_error *err)
{
    if ((raw->descriptor & reserved) == 0)
        return 0;
    return ds_fail_at(err, shape->file, raw->at_bytes, DS_ERR_CORRUPT,
                      "qcow2: l2 entry, have 0x%016" PRIx64
                      " expect the reserved bits 0x%016" PRIx64 " to be 0",
                      raw->descriptor, reserved);
}

/* `length` bytes at the entry's host offset must be there. */
static int check_data(const struct qcow2_shape *shape,
                      const struct qcow2_l2_raw *raw, uint64_t length,
                      struct ds_error *err)
{
    uint64_t offset = raw->descriptor & QCOW2_L2_OFFSET_MASK;
    struct qcow2_pointer data = { "l2 entry", raw->at_bytes, offset, length };

    if (!shape->external)
        return qcow2_pointer_check(shape, &data, err);
    if (offset != raw->guest_offset_bytes)
        return ds_fail_at(err, shape->file, raw->at_bytes, DS_ERR_CORRUPT,
                          "qcow2: l2 entry, have 0x%" PRIx64
                          " expect the guest's offset 0x%" PRIx64
                          " with an external data file",
                          offset, raw->guest_offset_bytes);
    if (!ds_range_fits(offset, length, shape->data_file_bytes))
        return ds_fail_at(err, shape->file, raw->at_bytes, DS_ERR_CORRUPT,
                          "qcow2: l2 entry, have %" PRIu64
                          " bytes at 0x%" PRIx64
                          " expect them inside the data file of %" PRIu64
                          " bytes: truncated?",
                          length, offset, shape->data_file_bytes);
    return 0;
}

/* -- compressed ------------------------------------------------------------ */

static int check_compressed_form(const struct qcow2_shape *shape,
                                 const struct qcow2_l2_raw *raw,
                                 struct ds_error *err)
{
    if (shape->encrypted)
        return ds_fail_at(err, shape->file, raw->at_bytes, DS_ERR_UNSUPPORTED,
                          "qcow2: l2 entry: compressed cluster in an encrypted "
                          "image is not supported");
    if (shape->external)
        return ds_fail_at(err, shape->file, raw->at_bytes, DS_ERR_CORRUPT,
                          "qcow2: l2 entry: compressed cluster, have "
                          "0x%016" PRIx64
                          " expect none with an external data file",
                          raw->descriptor);
    if (raw->subclusters != 0)
        return ds_fail_at(err, shape->file, raw->at_bytes + 8, DS_ERR_CORRUPT,
                          "qcow2: l2 entry: subclusters of a compressed "
                          "cluster, have 0x%016" PRIx64 " expect 0",
                          raw->subclusters);
    return 0;
}

/* The compressed bytes end somewhere in the last sector, and the file may end
 * there with them. */
static int check_compressed(const struct qcow2_shape *shape,
                            const struct qcow2_l2_raw *raw,
                            struct qcow2_l2_entry *out, struct ds_error *err)
{
    const unsigned border = qcow2_compressed_offset_bits(shape->cluster_bits);
    const uint64_t fields = raw->descriptor & (QCOW2_L2_COMPRESSED - 1);
    const uint64_t offset = fields & ((UINT64_C(1) << border) - 1);
    const uint64_t sectors = (fields >> border) + 1;
    const uint64_t end =
        ds_align_down(offset, DS_SECTOR_BYTES) + sectors * DS_SECTOR_BYTES;
    int result = check_compressed_form(shape, raw, err);

    if (result != 0)
        return result;
    if (offset >= shape->file_bytes ||
        end > ds_align_up(shape->file_bytes, DS_SECTOR_BYTES))
        return ds_fail_at(err, shape->file, raw->at_bytes, DS_ERR_CORRUPT,
                          "qcow2: l2 entry: compressed cluster, have %" PRIu64
                          " sectors at 0x%" PRIx64
                          " expect them inside the file of %" PRIu64
                          " bytes: truncated?",
                          sectors, offset, shape->file_bytes);
    for (uint32_t i = 0; i < shape->fixed_count; i++)
        if (offset < shape->fixed[i].end_bytes &&
            shape->fixed[i].begin_bytes < end)
            return ds_fail_at(
                err, shape->file, raw->at_bytes, DS_ERR_CORRUPT,
                "qcow2: l2 entry: compressed cluster, have "
                "0x%" PRIx64 " expect it apart from the %s at 0x%" PRIx64,
                offset, shape->fixed[i].name, shape->fixed[i].begin_bytes);
    out->kind = QCOW2_CLUSTER_COMPRESSED;
    out->host_offset_bytes = offset;
    out->stored_bytes = ds_min_u64(end, shape->file_bytes) - offset;
    return 0;
}

/* -- extended -------------------------------------------------------------- */

/* Bytes up to the end of the last allocated subcluster. */
static uint64_t allocated_bytes(const struct qcow2_shape *shape,
                                uint64_t allocated)
{
    unsigned count = 64 - (unsigned)__builtin_clzll(allocated);

    return count * (shape->cluster_bytes / QCOW2_SUBCLUSTER_COUNT);
}

static int check_extended(const struct qcow2_shape *shape,
                          const struct qcow2_l2_raw *raw,
                          struct qcow2_l2_entry *out, struct ds_error *err)
{
    uint64_t allocated = raw->subclusters & QCOW2_SUBCLUSTERS_ALLOCATED;
    uint64_t zero = raw->subclusters >> QCOW2_SUBCLUSTER_COUNT;
    uint64_t length = 0;
    int result =
        check_reserved(shape, raw, QCOW2_L2_RESERVED_MASK | QCOW2_L2_ZERO, err);

    if (result != 0)
        return result;
    if ((allocated & zero) != 0)
        return ds_fail_at(err, shape->file, raw->at_bytes + 8, DS_ERR_CORRUPT,
                          "qcow2: l2 entry: subclusters, have 0x%016" PRIx64
                          " expect none both allocated and zero",
                          raw->subclusters);
    out->subclusters = raw->subclusters;
    out->kind =
        raw->subclusters == QCOW2_SUBCLUSTERS_ALLOCATED ? QCOW2_CLUSTER_DATA
        : raw->subclusters == QCOW2_SUBCLUSTERS_ZERO    ? QCOW2_CLUSTER_ZERO
        : raw->subclusters == 0                         ? QCOW2_CLUSTER_HOLE
                                                        : QCOW2_CLUSTER_MIXED;
    if (raw->descriptor == 0 && allocated == 0)
        return 0;
    out->host_offset_bytes = raw->descriptor & QCOW2_L2_OFFSET_MASK;
    if (allocated != 0)
        length =
            ds_min_u64(allocated_bytes(shape, allocated), raw->visible_bytes);
    return check_data(shape, raw, length, err);
}

/* -- any ------------------------------------------------------------------- */

int qcow2_l2_entry_check(const struct qcow2_shape *shape,
                         const struct qcow2_l2_raw *raw,
                         struct qcow2_l2_entry *out, struct ds_error *err)
{
    /* Bit 0 is the zero flag from version 3 on. */
    uint64_t reserved =
        QCOW2_L2_RESERVED_MASK | (shape->version < 3 ? QCOW2_L2_ZERO : 0);
    int result;

    *out = (struct qcow2_l2_entry){ .kind = QCOW2_CLUSTER_HOLE };
    if ((raw->descriptor & QCOW2_L2_COMPRESSED) != 0)
        return check_compressed(shape, raw, out, err);
    if (shape->extended)
        return check_extended(shape, raw, out, err);
    if (raw->descriptor == 0)
        return 0;
    result = check_reserved(shape, raw, reserved, err);
    if (result != 0)
        return result;
    out->host_offset_bytes = raw->descriptor & QCOW2_L2_OFFSET_MASK;
    out->kind = QCOW2_CLUSTER_DATA;
    if ((raw->descriptor & QCOW2_L2_ZERO) != 0) {
        /* What is preallocated there is not read, and need not be zeros. */
        out->kind = QCOW2_CLUSTER_ZERO;
        if (out->host_offset_bytes == 0 &&
            (raw->descriptor & QCOW2_COPIED) == 0)
            return 0;
    } else if (shape->external && (raw->descriptor & QCOW2_COPIED) == 0 &&
               out->host_offset_bytes == 0) {
        out->kind = QCOW2_CLUSTER_HOLE;
        return 0;
    }
    return check_data(shape, raw, raw->visible_bytes, err);
}
