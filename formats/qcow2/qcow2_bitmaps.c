/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where dirty bitmaps lie (qcow2: Bitmaps extension):
 *
 *   extension --> directory --> tables --> clusters of bits
 *
 * All of them take clusters of their own while the autoclear bit says that
 * they are in order; without it they are stale and take nothing. What the bits
 * say is not read.
 */
#include <inttypes.h>

#include "fail.h"
#include "qcow2.h"

/* Of all tables of an image. A bitmap of 64 TiB, a bit for each 64 KiB, has
 * one of 16 KiB. */
#define TABLES_BYTES_MAX (UINT64_C(64) << 20)

struct walk {
    struct qcow2_image *image;
    struct ds_window window;
    uint64_t tables_bytes; /* met so far */
    qcow2_bitmap_fn *visit;
    void *user;
};

static int visit_table(struct walk *walk, const struct qcow2_pointer *table,
                       struct ds_error *err)
{
    const struct qcow2_shape *shape = &walk->image->shape;
    uint64_t at = table->offset_bytes;
    const uint64_t end = at + table->length_bytes;
    int result =
        walk->visit(walk->user, "bitmap table", at, table->length_bytes, err);

    while (result == 0 && at < end) {
        const uint8_t *bytes;
        size_t available = 0;

        result = ds_window_view(&walk->window, walk->image->base.files[0], at,
                                8, (size_t)(end - at), &bytes, &available, err);
        for (size_t i = 0; result == 0 && i < available; i += 8) {
            struct qcow2_pointer bits = { "bitmap table: entry", at + i, 0, 1 };
            ds_be64 wire;

            memcpy(&wire, bytes + i, sizeof(wire));
            bits.offset_bytes = ds_be64_get(wire) & QCOW2_BITMAP_OFFSET_MASK;
            if (bits.offset_bytes == 0) /* all zeros, or all ones */
                continue;
            result = qcow2_pointer_check(shape, &bits, err);
            if (result == 0)
                result = walk->visit(walk->user, "bitmap", bits.offset_bytes,
                                     bits.length_bytes, err);
        }
        at += available;
    }
    return result;
}

/* One entry of the directory. */
static int visit_bitmap(struct walk *walk, const struct qcow2_bitmap_disk *wire,
                        uint64_t at_bytes, struct ds_error *err)
{
    const struct qcow2_pointer table = {
        "bitmap directory: bitmap_table_offset", at_bytes,
        ds_be64_get(wire->bitmap_table_offset),
        (uint64_t)ds_be32_get(wire->bitmap_table_size) * 8
    };
    int result = qcow2_pointer_check(&walk->image->shape, &table, err);

    walk->tables_bytes += table.length_bytes;
    if (result == 0 && walk->tables_bytes > TABLES_BYTES_MAX)
        return ds_fail_at(err, walk->image->base.files[0], at_bytes,
                          DS_ERR_LIMIT,
                          "qcow2: bitmap directory: bytes of tables, have "
                          "%" PRIu64 " expect at most %" PRIu64,
                          walk->tables_bytes, TABLES_BYTES_MAX);
    return result == 0 ? visit_table(walk, &table, err) : result;
}

static int visit_directory(struct walk *walk,
                           const struct qcow2_pointer *directory,
                           struct ds_error *err)
{
    struct ds_file *file = walk->image->base.files[0];
    uint64_t at = directory->offset_bytes;
    uint64_t left = directory->length_bytes;
    int result = walk->visit(walk->user, "bitmap directory", at, left, err);

    for (uint32_t i = 0; result == 0 && i < walk->image->bitmap_count; i++) {
        struct qcow2_bitmap_disk wire;
        uint64_t length;

        if (left < sizeof(wire))
            return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                              "qcow2: bitmap directory, have it end after "
                              "%" PRIu32 " bitmaps expect %" PRIu32,
                              i, walk->image->bitmap_count);
        result = ds_file_read(file, at, &wire, sizeof(wire), err);
        if (result == 0)
            result = visit_bitmap(walk, &wire, at, err);
        length = ds_align_up(sizeof(wire) +
                                 (uint64_t)ds_be32_get(wire.extra_data_size) +
                                 ds_be16_get(wire.name_size),
                             8);
        length = ds_min_u64(length, left);
        at += length;
        left -= length;
    }
    return result;
}

int qcow2_visit_bitmaps(struct qcow2_image *image, qcow2_bitmap_fn *visit,
                        void *user, struct ds_error *err)
{
    const struct qcow2_pointer directory = {
        "bitmaps extension: bitmap_directory_offset", 0,
        image->bitmap_directory_offset_bytes, image->bitmap_directory_bytes
    };
    struct walk walk = { .image = image, .visit = visit, .user = user };
    int result;

    if ((image->header.autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) == 0 ||
        image->bitmap_count == 0)
        return 0;
    result = qcow2_pointer_check(&image->shape, &directory, err);
    if (result == 0)
        result = visit_directory(&walk, &directory, err);
    ds_window_free(&walk.window);
    return result;
}
