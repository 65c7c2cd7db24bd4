/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From guest offset to file offset.
 *
 *   BAT      | unused | sector of a block | unused | ...
 *   block    | bitmap: a bit per sector | data                     |
 *
 *   dynamic        the block is data, whatever the bitmap says: see SPEC.md
 *   differencing   bit 1: the sector is here; bit 0, or no block: the parent
 *
 * Bits are counted from the most significant one of each byte.
 */
#include <inttypes.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "flat.h"
#include "vhd_read.h"

static bool bit_at(const uint8_t *bits, uint64_t index)
{
    return (bits[index / 8] & 0x80u >> index % 8) != 0;
}

/* How many bits from `first` on, to `end`, are as the first one. */
static uint64_t bit_run(const uint8_t *bits, uint64_t first, uint64_t end)
{
    bool set = bit_at(bits, first);
    uint8_t whole = set ? 0xff : 0;
    uint64_t at = first + 1;

    while (at < end && at % 8 != 0 && bit_at(bits, at) == set)
        at++;
    if (at % 8 != 0)
        return at - first;
    while (end - at >= 8 && bits[at / 8] == whole)
        at += 8;
    while (at < end && bit_at(bits, at) == set)
        at++;
    return at - first;
}

/* The BAT's entries from `index` on. */
static int view_entries(struct vhd_image *image, struct ds_window *table,
                        uint32_t index, const uint8_t **entries, size_t *count,
                        struct ds_error *err)
{
    const struct vhd_layout *layout = &image->layout;
    uint64_t most =
        (uint64_t)(layout->block_count - index) * VHD_BAT_ENTRY_BYTES;
    int result = ds_window_view(
        table, image->base.files[0],
        layout->table_offset_bytes + (uint64_t)index * VHD_BAT_ENTRY_BYTES,
        VHD_BAT_ENTRY_BYTES, (size_t)ds_min_u64(most, DS_WINDOW_BYTES_MAX),
        entries, count, err);

    *count /= VHD_BAT_ENTRY_BYTES;
    return result;
}

/* How many of `count` entries from the first are unused. */
static size_t unused_run(const uint8_t *entries, size_t count)
{
    size_t run = 0;
    uint32_t entry;

    while (run < count) {
        memcpy(&entry, entries + run * VHD_BAT_ENTRY_BYTES, sizeof(entry));
        if (entry != VHD_BAT_ENTRY_UNUSED) /* the same in either order */
            break;
        run++;
    }
    return run;
}

/* What the bitmap at `bitmap_offset` says of the byte `into` its block: a run
 * of sectors that are here, or that the parent has. */
static int bitmap_run(struct vhd_image *image, struct ds_cursor *cursor,
                      uint64_t bitmap_offset, uint64_t into, bool *here,
                      uint64_t *run_bytes, struct ds_error *err)
{
    const struct vhd_layout *layout = &image->layout;
    uint64_t first = into / DS_SECTOR_BYTES;
    uint64_t sectors = layout->block_bytes / DS_SECTOR_BYTES - first / 8 * 8;
    uint64_t most = ds_div_up(sectors, 8);
    const uint8_t *bits;
    size_t available = 0;
    int result = ds_window_view(
        &cursor->table2, image->base.files[0], bitmap_offset + first / 8, 1,
        (size_t)ds_min_u64(most, DS_WINDOW_BYTES_MAX), &bits, &available, err);

    if (result != 0)
        return result;
    sectors = ds_min_u64(sectors, (uint64_t)available * 8);
    *here = bit_at(bits, first % 8);
    *run_bytes = bit_run(bits, first % 8, sectors) * DS_SECTOR_BYTES -
                 into % DS_SECTOR_BYTES;
    return 0;
}

/* A block that the BAT knows. */
static int block_extent(struct vhd_image *image, struct ds_cursor *cursor,
                        uint32_t index, uint32_t entry, uint64_t into,
                        struct ds_extent *out, struct ds_error *err)
{
    const struct vhd_layout *layout = &image->layout;
    uint64_t bitmap_offset, run = layout->block_bytes - into;
    bool here = true;
    int result = vhd_block_check(layout, index, entry, image->base.files[0],
                                 &bitmap_offset, err);

    if (result == 0 && image->footer.disk_type == VHD_TYPE_DIFFERENCING)
        result =
            bitmap_run(image, cursor, bitmap_offset, into, &here, &run, err);
    if (result != 0)
        return result;
    out->length_bytes = run;
    if (!here)
        return 0;
    out->kind = DS_EXTENT_DATA;
    out->file_index = 0;
    out->file_offset_bytes = bitmap_offset + layout->bitmap_bytes + into;
    return 0;
}

static int dynamic_extent_at(struct vhd_image *image, struct ds_cursor *cursor,
                             uint64_t guest, struct ds_extent *out,
                             struct ds_error *err)
{
    const struct vhd_layout *layout = &image->layout;
    uint32_t index = (uint32_t)(guest / layout->block_bytes);
    uint64_t into = guest % layout->block_bytes;
    const uint8_t *entries;
    size_t count = 0, blocks;
    ds_be32 first;
    int result =
        view_entries(image, &cursor->table, index, &entries, &count, err);

    if (result != 0)
        return result;
    out->guest_offset_bytes = guest;
    out->kind = DS_EXTENT_HOLE;
    out->file_index = DS_FILE_NONE;
    out->file_offset_bytes = 0;
    blocks = unused_run(entries, count);
    if (blocks > 0) {
        out->length_bytes = blocks * layout->block_bytes - into;
    } else {
        /* Two blocks never continue each other: a bitmap is between. */
        memcpy(&first, entries, sizeof(first));
        result = block_extent(image, cursor, index, ds_be32_get(first), into,
                              out, err);
        if (result != 0)
            return result;
    }
    out->length_bytes =
        ds_min_u64(out->length_bytes, layout->size_bytes - guest);
    return 0;
}

int vhd_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                  uint64_t guest_offset_bytes, struct ds_extent *out,
                  struct ds_error *err)
{
    struct vhd_image *vhd = (struct vhd_image *)image;

    if (vhd->footer.disk_type == VHD_TYPE_FIXED)
        return ds_flat_extent_at(image, cursor, 0, 0, 0, image->size_bytes,
                                 guest_offset_bytes, out, err);
    return dynamic_extent_at(vhd, cursor, guest_offset_bytes, out, err);
}

/* -- the format's own ranges ---------------------------------------------- */

static int name_region(ds_region_fn *region, void *user, const char *name,
                       uint64_t offset, uint64_t length, struct ds_error *err)
{
    struct ds_region range = { 0, offset, length, name };

    if (length == 0)
        return 0;
    return region(user, &range, err);
}

static int bitmap_regions(struct vhd_image *image, struct ds_window *table,
                          ds_region_fn *region, void *user,
                          struct ds_error *err)
{
    const struct vhd_layout *layout = &image->layout;
    struct ds_file *file = image->base.files[0];
    uint32_t index = 0;

    while (index < layout->block_count) {
        const uint8_t *entries;
        size_t count = 0;
        int result = view_entries(image, table, index, &entries, &count, err);

        for (size_t i = 0; result == 0 && i < count; i++, index++) {
            uint64_t offset;
            ds_be32 disk;

            memcpy(&disk, entries + i * VHD_BAT_ENTRY_BYTES, sizeof(disk));
            if (ds_be32_get(disk) == VHD_BAT_ENTRY_UNUSED)
                continue;
            result = vhd_block_check(layout, index, ds_be32_get(disk), file,
                                     &offset, err);
            if (result == 0)
                result = name_region(region, user, "block bitmap", offset,
                                     layout->bitmap_bytes, err);
        }
        if (result != 0)
            return result;
    }
    return 0;
}

static int locator_regions(const struct vhd_image *image, ds_region_fn *region,
                           void *user, struct ds_error *err)
{
    int result = 0;

    for (unsigned i = 0; i < VHD_PARENT_LOCATOR_COUNT && result == 0; i++) {
        const struct vhd_locator *locator = &image->parent->locators[i];

        result = name_region(region, user, "parent locator",
                             locator->offset_bytes, locator->length_bytes, err);
    }
    return result;
}

int vhd_regions(struct ds_image *image, ds_region_fn *region, void *user,
                struct ds_error *err)
{
    struct vhd_image *vhd = (struct vhd_image *)image;
    const struct vhd_layout *layout = &vhd->layout;
    struct ds_window table = { 0 };
    int result;

    result =
        name_region(region, user, "footer", layout->data_end_bytes,
                    image->files[0]->size_bytes - layout->data_end_bytes, err);
    if (result != 0 || vhd->footer.disk_type == VHD_TYPE_FIXED)
        return result;
    result = name_region(region, user, "footer copy", 0, layout->head_end_bytes,
                         err);
    if (result == 0)
        result =
            name_region(region, user, "dynamic header",
                        layout->header_offset_bytes, VHD_HEADER_BYTES, err);
    if (result == 0)
        result = name_region(region, user, "bat", layout->table_offset_bytes,
                             layout->table_bytes, err);
    if (result == 0 && vhd->parent != NULL)
        result = locator_regions(vhd, region, user, err);
    if (result == 0)
        result = bitmap_regions(vhd, &table, region, user, err);
    ds_window_free(&table);
    return result;
}
