/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sector bitmaps of differencing disks (2.4, 2.5.1.2). A chunk is 2^23 sectors
 * and has one bitmap block of 1 MiB, a bit for each sector:
 *
 *   BAT     | P 0 | ... | P r-1 | SB 0 | P r | ... | P 2r-1 | SB 1 |
 *   SB 0    | bits of block 0 | bits of block 1 | ... | of block r-1 |
 *
 * Bit 1: the sector is in this file; 0: the parent has it. The least
 * significant bit of a byte comes first. Only the bits of partially present
 * blocks say anything. Log patches may lie in bitmap blocks, so those are
 * read with the log over them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "cleanup.h"
#include "fail.h"
#include "vhdx.h"

/* The same where the file ends before what is asked for, and the replay makes
 * it longer. The window then holds more than the file does. */
static int view_grown(struct vhdx_image *vhdx, struct ds_window *window,
                      uint64_t noted[2], uint64_t offset_bytes, size_t least,
                      size_t most, const uint8_t **bytes, size_t *available,
                      struct ds_error *err)
{
    uint64_t skip = offset_bytes - window->offset_bytes;
    int result;

    if (window->file != vhdx->image.files[0] ||
        offset_bytes < window->offset_bytes ||
        !ds_range_fits(skip, least, window->length_bytes)) {
        uint64_t length = ds_min_u64(DS_WINDOW_BYTES_MAX,
                                     vhdx_file_bytes(vhdx) - offset_bytes);

        if (window->buffer == NULL)
            window->buffer = malloc(DS_WINDOW_BYTES_MAX);
        if (window->buffer == NULL)
            return ds_fail_memory(err);
        window->file = NULL;
        result =
            vhdx_read(vhdx, offset_bytes, window->buffer, (size_t)length, err);
        if (result != 0)
            return result;
        window->file = vhdx->image.files[0];
        window->offset_bytes = noted[0] = offset_bytes;
        window->length_bytes = noted[1] = length;
        skip = 0;
    }
    *bytes = window->buffer + skip;
    *available = (size_t)ds_min_u64(window->length_bytes - skip, most);
    *available -= *available % least;
    return 0;
}

int vhdx_window_view(struct vhdx_image *vhdx, struct ds_window *window,
                     uint64_t noted[2], uint64_t offset_bytes, size_t least,
                     size_t most, const uint8_t **bytes, size_t *available,
                     struct ds_error *err)
{
    int result;

    if (!ds_range_fits(offset_bytes, least, vhdx->image.files[0]->size_bytes) &&
        ds_range_fits(offset_bytes, least, vhdx_file_bytes(vhdx)))
        return view_grown(vhdx, window, noted, offset_bytes, least, most, bytes,
                          available, err);
    result = ds_window_view(window, vhdx->image.files[0], offset_bytes, least,
                            most, bytes, available, err);

    if (result != 0) {
        noted[1] = 0;
        return result;
    }
    /* The window knows nothing of patches, so they are laid over its buffer
     * whenever it has been filled anew. To patch twice does no harm. */
    if (vhdx->overlay.patch_count != 0 && (noted[0] != window->offset_bytes ||
                                           noted[1] != window->length_bytes)) {
        vhdx_overlay_apply(&vhdx->overlay, window->offset_bytes, window->buffer,
                           window->length_bytes);
        noted[0] = window->offset_bytes;
        noted[1] = window->length_bytes;
    }
    return 0;
}

static int check_entry(const struct vhdx_image *vhdx, uint64_t chunk,
                       uint64_t entry, uint64_t at, struct ds_error *err)
{
    struct ds_file *file = vhdx->image.files[0];
    uint64_t offset = entry & VHDX_BAT_OFFSET_MASK;
    unsigned bits = (unsigned)(entry & VHDX_BAT_STATE_MASK);

    if ((entry & VHDX_BAT_RESERVED_MASK) != 0)
        return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                          "vhdx: bat: reserved bits of sector bitmap %" PRIu64
                          ", have entry 0x%" PRIx64 " expect bits 3 to 19 "
                          "clear",
                          chunk, entry);
    if (bits == VHDX_BITMAP_NOT_PRESENT)
        return 0;
    if (bits != VHDX_BITMAP_PRESENT)
        return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                          "vhdx: bat: state of sector bitmap %" PRIu64
                          ", have %u expect 0 or 6",
                          chunk, bits);
    if (offset < VHDX_HEADER_SECTION_BYTES)
        return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                          "vhdx: bat: sector bitmap %" PRIu64
                          " lies in the headers, have offset %" PRIu64
                          " expect 1 MiB or more",
                          chunk, offset);
    if (ds_range_fits(offset, VHDX_BITMAP_BLOCK_BYTES, vhdx_file_bytes(vhdx)))
        return 0;
    return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                      "vhdx: bat: sector bitmap %" PRIu64
                      " ends past the file, have offset %" PRIu64
                      " expect it and 1 MiB within %" PRIu64,
                      chunk, offset, vhdx_file_bytes(vhdx));
}

static int offset_compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return a < b ? -1 : a > b;
}

/* The engine looks for overlaps of data with bitmaps, not of bitmaps. */
static int check_distinct(const struct vhdx_image *vhdx, struct ds_error *err)
{
    size_t count = vhdx->geometry.chunk_count;
    ds_autofree uint64_t *sorted = malloc(count * sizeof(*sorted));

    if (sorted == NULL)
        return ds_fail_memory(err);
    memcpy(sorted, vhdx->bitmap_offsets, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), offset_compare);
    for (size_t i = 1; i < count; i++)
        if (sorted[i] != 0 && sorted[i] == sorted[i - 1])
            return ds_fail_at(err, vhdx->image.files[0], sorted[i],
                              DS_ERR_CORRUPT,
                              "vhdx: bat: two sector bitmaps in one place, "
                              "have offset %" PRIu64 " twice",
                              sorted[i]);
    return 0;
}

/* At most 16384 of them: 64 TiB in chunks of 4 GiB. */
int vhdx_bitmaps_load(struct vhdx_image *vhdx, struct ds_error *err)
{
    const struct vhdx_geometry *geometry = &vhdx->geometry;
    int result = ds_budget_memory(
        vhdx->budget, vhdx->image.files[0],
        "vhdx: bat: bytes of sector bitmaps",
        2 * geometry->chunk_count * sizeof(*vhdx->bitmap_offsets), err);

    if (result != 0)
        return result;
    vhdx->bitmap_offsets =
        calloc(geometry->chunk_count, sizeof(*vhdx->bitmap_offsets));
    if (vhdx->bitmap_offsets == NULL)
        return ds_fail_memory(err);
    for (uint64_t chunk = 0; chunk < geometry->chunk_count; chunk++) {
        uint64_t index =
            chunk * (geometry->chunk_ratio + 1) + geometry->chunk_ratio;
        uint64_t at = vhdx->bat.offset_bytes + index * VHDX_BAT_ENTRY_BYTES;
        uint64_t entry;
        ds_le64 wire;

        result = vhdx_read(vhdx, at, &wire, sizeof(wire), err);

        if (result != 0)
            return result;
        entry = ds_le64_get(wire);
        result = check_entry(vhdx, chunk, entry, at, err);
        if (result != 0)
            return result;
        if ((entry & VHDX_BAT_STATE_MASK) == VHDX_BITMAP_PRESENT)
            vhdx->bitmap_offsets[chunk] = entry & VHDX_BAT_OFFSET_MASK;
    }
    return check_distinct(vhdx, err);
}

bool vhdx_bitmaps_hold(const struct vhdx_image *vhdx, uint64_t offset_bytes,
                       uint64_t length_bytes)
{
    uint64_t block = ds_align_down(offset_bytes, VHDX_BITMAP_BLOCK_BYTES);

    if (vhdx->bitmap_offsets == NULL || block == 0 ||
        !ds_range_fits(offset_bytes - block, length_bytes,
                       VHDX_BITMAP_BLOCK_BYTES))
        return false;
    for (uint64_t i = 0; i < vhdx->geometry.chunk_count; i++)
        if (vhdx->bitmap_offsets[i] == block)
            return true;
    return false;
}

static bool bit_at(const uint8_t *bits, uint64_t index)
{
    return (bits[index / 8] & 1u << index % 8) != 0;
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

int vhdx_bitmap_run(struct vhdx_image *vhdx, struct ds_cursor *cursor,
                    uint64_t block_index, uint64_t within, bool *here,
                    uint64_t *run_bytes, struct ds_error *err)
{
    uint64_t ratio = vhdx->geometry.chunk_ratio;
    uint64_t sector_bytes = vhdx->parameters.logical_sector_bytes;
    /* 256 or more, so that a block's bits begin at a byte. */
    uint64_t block_sectors = vhdx->parameters.block_bytes / sector_bytes;
    uint64_t bitmap_offset = vhdx->bitmap_offsets[block_index / ratio];
    uint64_t sector = within / sector_bytes, sectors;
    const uint8_t *bits;
    size_t available = 0;
    int result;

    if (bitmap_offset == 0)
        return ds_fail_at(err, vhdx->image.files[0],
                          vhdx->bat.offset_bytes +
                              vhdx_bat_index(&vhdx->geometry, block_index) *
                                  VHDX_BAT_ENTRY_BYTES,
                          DS_ERR_CORRUPT,
                          "vhdx: bat: block %" PRIu64
                          " is partially present, have no "
                          "sector bitmap %" PRIu64 " expect one",
                          block_index, block_index / ratio);
    sectors = block_sectors - sector / 8 * 8;
    result = vhdx_window_view(
        vhdx, &cursor->table2, &cursor->scratch[2],
        bitmap_offset + (block_index % ratio * block_sectors + sector) / 8, 1,
        (size_t)(sectors / 8), &bits, &available, err);
    if (result != 0)
        return result;
    sectors = ds_min_u64(sectors, (uint64_t)available * 8);
    *here = bit_at(bits, sector % 8);
    *run_bytes = bit_run(bits, sector % 8, sectors) * sector_bytes -
                 within % sector_bytes;
    return 0;
}
