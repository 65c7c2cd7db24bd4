/* SPDX-License-Identifier: Apache-2.0 */
/* A map as it is expected, row by row. */
#ifndef VMDK_ROWS_H
#define VMDK_ROWS_H

#include "vmdk_testing.h"

struct map_row {
    uint64_t guest, length;
    enum ds_extent_kind kind;
    uint32_t file_index;
    uint64_t file;
};

static inline void expect_map(struct ds_image *image,
                              const struct map_row *rows, size_t count)
{
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_extent extent;
    uint64_t at = 0;

    for (size_t i = 0; i < count; i++) {
        if (vmdk_format_ops.extent_at(image, &cursor, at, &extent, &err) != 0)
            fail_msg("row %zu: %s", i, err.message);
        assert_int_equal(extent.guest_offset_bytes, rows[i].guest);
        assert_int_equal(extent.length_bytes, rows[i].length);
        assert_int_equal(extent.kind, rows[i].kind);
        if (rows[i].kind == DS_EXTENT_DATA ||
            rows[i].kind == DS_EXTENT_ENCODED) {
            assert_int_equal(extent.file_index, rows[i].file_index);
            assert_int_equal(extent.file_offset_bytes, rows[i].file);
        } else {
            assert_int_equal(extent.file_index, DS_FILE_NONE);
        }
        at += extent.length_bytes;
    }
    assert_int_equal(at, image->size_bytes);
    cursor_free(&cursor);
}

static inline struct ds_image *open_or_fail(void)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image = NULL;

    if (memory_open(&image, &err) != 0)
        fail_msg("%s", err.message);
    return image;
}

#endif
