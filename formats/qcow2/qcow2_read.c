/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening: the header and the L1 table (held in memory, at most 32 MiB). L2
 * tables are only looked at through the cursor's window: see qcow2_map.c.
 *
 *   guest offset:  | L1 index | L2 index | offset in the cluster |
 *                    the rest   bits - 3   cluster_bits
 *
 * One L1 table is followed, the active one or that of a snapshot.
 */
#include "luks.h"
#include "qcow2.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "budget.h"
#include "cleanup.h"
#include "fail.h"

/* Reads what the file has of its first cluster. */
static int read_header_cluster(struct ds_file *file, uint64_t cluster_bytes,
                               uint8_t **out, size_t *length,
                               struct ds_error *err)
{
    ds_autofree uint8_t *bytes = NULL;
    int result;

    *length = (size_t)ds_min_u64(cluster_bytes, file->size_bytes);
    bytes = malloc(*length);
    if (bytes == NULL)
        return ds_fail_memory(err);
    result = ds_file_read(file, 0, bytes, *length, err);
    if (result == 0)
        *out = ds_steal(&bytes);
    return result;
}

static int read_header(struct qcow2_image *image, struct ds_error *err)
{
    struct ds_file *file = image->base.files[0];
    uint8_t bytes[sizeof(struct qcow2_header_disk)];
    size_t length = (size_t)ds_min_u64(sizeof(bytes), file->size_bytes);
    struct qcow2_header_disk magic = { 0 };
    int result = ds_file_read(file, 0, bytes, length, err);

    if (result != 0)
        return result;
    memcpy(&magic, bytes, length);
    if (ds_be32_get(magic.magic) != QCOW2_MAGIC)
        return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                          "qcow2: header: magic, have 0x%08" PRIx32
                          " expect 0x%08" PRIx32,
                          ds_be32_get(magic.magic), QCOW2_MAGIC);
    qcow2_header_decode(bytes, length, &image->header);
    if (length < QCOW2_HEADER_V2_BYTES ||
        (image->header.version == 3 && length < QCOW2_HEADER_V3_BYTES_MIN))
        return ds_fail_at(err, file, length, DS_ERR_CORRUPT,
                          "qcow2: header: truncated file, have %zu bytes "
                          "expect %u",
                          length,
                          image->header.version == 3 ? QCOW2_HEADER_V3_BYTES_MIN
                                                     : QCOW2_HEADER_V2_BYTES);
    result = qcow2_header_check_form(&image->header, file, err);
    if (result != 0)
        return result;
    image->shape = (struct qcow2_shape){
        .file = file,
        .file_bytes = file->size_bytes,
        .cluster_bytes = UINT64_C(1) << image->header.cluster_bits,
        .cluster_bits = image->header.cluster_bits,
        .version = image->header.version,
        .extended = (image->header.incompatible_features &
                     QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0,
        .external = (image->header.incompatible_features &
                     QCOW2_INCOMPATIBLE_DATA_FILE) != 0,
        .encrypted = image->header.crypt_method == QCOW2_CRYPT_LUKS,
        .data_file = file,
        .data_file_bytes = file->size_bytes,
    };
    return 0;
}

/* L2 tables are clusters of the file, each named once by a table. */
static int count_l2_tables(const struct qcow2_image *image,
                           struct ds_error *err)
{
    uint64_t most = image->shape.file_bytes / image->shape.cluster_bytes;
    uint64_t count = 0;

    for (uint64_t i = 0; i < image->l1_entry_count; i++)
        count += image->l2_offsets_bytes[i] != 0;
    if (count <= most)
        return 0;
    return ds_fail_at(
        err, image->base.files[0], image->l1_offset_bytes, DS_ERR_CORRUPT,
        "qcow2: l1 table, have %" PRIu64
        " l2 tables expect at most the file's %" PRIu64 " clusters",
        count, most);
}

/* Entries beyond what the table holds, but which the disk needs, are none: a
 * snapshot's of before the disk was grown. */
static int read_l1(struct qcow2_image *image, struct ds_budget *budget,
                   struct ds_error *err)
{
    struct ds_file *file = image->base.files[0];
    const uint64_t begin = image->l1_offset_bytes;
    const size_t count = (size_t)image->l1_entry_count;
    const uint64_t need =
        qcow2_l1_entry_count_of(&image->header, image->base.size_bytes);
    ds_auto(ds_window_free) struct ds_window window = { 0 };
    const uint8_t *bytes;
    size_t available, i = 0;
    int taken = ds_budget_memory(
        budget, file, "qcow2: l1 table: bytes",
        ds_max_u64(need, count) * sizeof(*image->l2_offsets_bytes), err);

    if (taken != 0)
        return taken;
    image->l2_offsets_bytes = calloc((size_t)ds_max_u64(need, count) + 1,
                                     sizeof(*image->l2_offsets_bytes));
    if (image->l2_offsets_bytes == NULL)
        return ds_fail_memory(err);
    while (i < count) {
        int result = ds_window_view(
            &window, file, begin + i * sizeof(ds_be64), sizeof(ds_be64),
            (count - i) * sizeof(ds_be64), &bytes, &available, err);

        for (size_t at = 0; result == 0 && at < available;
             at += sizeof(ds_be64), i++) {
            ds_be64 entry;

            memcpy(&entry, bytes + at, sizeof(entry));
            result = qcow2_l1_entry_check(&image->shape, ds_be64_get(entry),
                                          begin + i * sizeof(ds_be64),
                                          &image->l2_offsets_bytes[i], err);
        }
        if (result != 0)
            return result;
    }
    image->l1_entry_count = ds_max_u64(need, count);
    return count_l2_tables(image, err);
}

static int open_data_file(struct qcow2_image *image,
                          const struct ds_open_context *context,
                          struct ds_error *err)
{
    struct ds_file *file;
    int result;

    if (!image->shape.external)
        return 0;
    if (image->data_file_name == NULL)
        return ds_fail_at(err, image->base.files[0], DS_OFFSET_NONE,
                          DS_ERR_UNSUPPORTED,
                          "qcow2: header: external data file without a name "
                          "is not supported");
    result = ds_image_add_file(&image->base, context, image->data_file_name,
                               &image->data_file_index, err);
    if (result != 0)
        return result;
    file = image->base.files[image->data_file_index];
    image->shape.data_file = file;
    image->shape.data_file_bytes = file->size_bytes;
    return 0;
}

/* The header pointer is an extension: its place is checked when all fixed
 * tables are known, which this becomes one of. */
static int open_luks(struct qcow2_image *image,
                     const struct ds_open_context *context,
                     struct ds_error *err)
{
    struct qcow2_shape *shape = &image->shape;
    const struct qcow2_pointer pointer = { "full disk encryption header", 0,
                                           image->luks_offset_bytes,
                                           image->luks_bytes };
    int result;

    if (!shape->encrypted)
        return 0;
    result = qcow2_table_check(shape, &pointer, err);
    if (result != 0)
        return result;
    assert(shape->fixed_count < QCOW2_FIXED_COUNT_MAX);
    shape->fixed[shape->fixed_count++] = (struct qcow2_fixed){
        "luks header", pointer.offset_bytes,
        ds_align_up(pointer.offset_bytes + pointer.length_bytes,
                    shape->cluster_bytes)
    };
    result = luks_open(image->base.files[0], image->luks_offset_bytes,
                       image->luks_bytes, &image->luks, err);
    if (result == 0 && context->key_file != NULL)
        result =
            luks_unlock(image->luks, context->key_file, context->budget, err);
    return result;
}

static int read_first_cluster(struct qcow2_image *image, struct ds_error *err)
{
    struct ds_file *file = image->base.files[0];
    ds_autofree uint8_t *bytes = NULL;
    size_t length;
    int result = read_header_cluster(file, image->shape.cluster_bytes, &bytes,
                                     &length, err);

    if (result == 0)
        result = qcow2_features_check(&image->header, file, bytes, length, err);
    if (result == 0)
        result = qcow2_names_read(image, bytes, length, err);
    return result;
}

static int open_checked(struct qcow2_image *image,
                        const struct ds_open_context *context,
                        struct ds_error *err)
{
    int result = read_header(image, err);

    if (result == 0)
        result = read_first_cluster(image, err);
    if (result == 0)
        result = qcow2_header_check_tables(&image->header, &image->shape, err);
    if (result == 0)
        result = open_data_file(image, context, err);
    if (result == 0)
        result = open_luks(image, context, err);
    image->base.size_bytes = image->header.size_bytes;
    image->l1_entry_count = image->header.l1_entry_count;
    image->l1_offset_bytes = image->header.l1_offset_bytes;
    if (result == 0 && context->snapshot != NULL)
        result = qcow2_snapshot_select(image, context->snapshot, err);
    return result == 0 ? read_l1(image, context->budget, err) : result;
}

int qcow2_open(struct ds_file *file, const struct ds_open_context *context,
               struct ds_image **out, struct ds_error *err)
{
    struct qcow2_image *image = calloc(1, sizeof(*image));
    int result;

    if (image == NULL)
        return ds_fail_memory(err);
    image->base.format = &qcow2_format_ops;
    image->base.file_count = 1;
    image->base.files[0] = file;
    result = open_checked(image, context, err);
    if (result != 0) {
        if (image->data_file_index != 0)
            ds_file_close(image->base.files[image->data_file_index]);
        qcow2_close(&image->base);
        return result;
    }
    *out = &image->base;
    return 0;
}

void qcow2_close(struct ds_image *base)
{
    struct qcow2_image *image = (struct qcow2_image *)base;

    luks_close(image->luks);
    free(image->l2_offsets_bytes);
    free(image->snapshot_id);
    free(image->backing_name);
    free(image->data_file_name);
    free(image);
}
