/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a dynamic disk's records lie, and whether a block may lie where its
 * BAT entry says. Blocks against blocks is the engine's to find.
 *
 *   0          head_end                              data_end     file size
 *   | footer   | header, BAT and blocks, in any order | end footer |
 *   | copy     | usually: header, BAT | blocks ...    |            |
 *                            floor ---^
 */
#include <inttypes.h>

#include "arith.h"
#include "fail.h"
#include "vhd.h"

static bool ranges_overlap(uint64_t a, uint64_t a_length, uint64_t b,
                           uint64_t b_length)
{
    return a < b + b_length && b < a + a_length;
}

/* One record between the footers, on a sector. */
static int check_record(const struct vhd_layout *layout, const char *record,
                        uint64_t offset, uint64_t length,
                        const struct ds_file *file, struct ds_error *err)
{
    if (offset % DS_SECTOR_BYTES != 0)
        return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                          "vhd: %s: offset, have %" PRIu64
                          " expect a multiple of %u",
                          record, offset, DS_SECTOR_BYTES);
    if (offset < layout->head_end_bytes ||
        !ds_range_fits(offset, length, layout->data_end_bytes))
        return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                          "vhd: %s: range, have %" PRIu64 " bytes at %" PRIu64
                          " expect it between the footers, %" PRIu64
                          " to %" PRIu64,
                          record, length, offset, layout->head_end_bytes,
                          layout->data_end_bytes);
    return 0;
}

int vhd_layout_check_header(const struct vhd_layout *layout,
                            const struct ds_file *file, struct ds_error *err)
{
    return check_record(layout, "dynamic header", layout->header_offset_bytes,
                        VHD_HEADER_BYTES, file, err);
}

int vhd_layout_check_table(const struct vhd_layout *layout,
                           const struct ds_file *file, struct ds_error *err)
{
    int result = check_record(layout, "bat", layout->table_offset_bytes,
                              layout->table_bytes, file, err);

    if (result == 0 &&
        ranges_overlap(layout->header_offset_bytes, VHD_HEADER_BYTES,
                       layout->table_offset_bytes, layout->table_bytes))
        result =
            ds_fail_at(err, file, layout->table_offset_bytes, DS_ERR_CORRUPT,
                       "vhd: bat: overlaps the dynamic header, have "
                       "%" PRIu64 " bytes at %" PRIu64
                       " expect them apart from %u bytes at %" PRIu64,
                       layout->table_bytes, layout->table_offset_bytes,
                       VHD_HEADER_BYTES, layout->header_offset_bytes);
    return result;
}

/* The name of the record that the range lies on, or NULL. */
static const char *record_under(const struct vhd_layout *layout,
                                uint64_t offset, uint64_t length)
{
    if (offset >= layout->floor_bytes)
        return NULL;
    if (offset < layout->head_end_bytes)
        return "footer copy";
    if (ranges_overlap(offset, length, layout->header_offset_bytes,
                       VHD_HEADER_BYTES))
        return "dynamic header";
    if (ranges_overlap(offset, length, layout->table_offset_bytes,
                       layout->table_bytes))
        return "bat";
    return NULL;
}

int vhd_block_check(const struct vhd_layout *layout, uint32_t index,
                    uint32_t entry, const struct ds_file *file,
                    uint64_t *bitmap_offset_bytes, struct ds_error *err)
{
    uint64_t entry_offset =
        layout->table_offset_bytes + (uint64_t)index * VHD_BAT_ENTRY_BYTES;
    uint64_t offset = (uint64_t)entry * DS_SECTOR_BYTES;
    uint64_t guest = (uint64_t)index * layout->block_bytes;
    /* What the guest cannot reach of the last block need not be there. */
    uint64_t length =
        layout->bitmap_bytes +
        ds_min_u64(layout->block_bytes, layout->size_bytes - guest);
    const char *record;

    if (!ds_range_fits(offset, length, layout->data_end_bytes))
        return ds_fail_at(err, file, entry_offset, DS_ERR_CORRUPT,
                          "vhd: bat: entry %" PRIu32 ", have sector %" PRIu32
                          " expect block and bitmap (%" PRIu64
                          " bytes) to end before %" PRIu64,
                          index, entry, length, layout->data_end_bytes);
    record = record_under(layout, offset, length);
    if (record != NULL)
        return ds_fail_at(err, file, entry_offset, DS_ERR_CORRUPT,
                          "vhd: bat: entry %" PRIu32 ", have sector %" PRIu32
                          " expect a block outside the %s",
                          index, entry, record);
    *bitmap_offset_bytes = offset;
    return 0;
}
