/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From guest offset to file offset. The BAT is one array, a chunk's payload
 * entries followed by one for its sector bitmap:
 *
 *   | P 0 | P 1 | ... | P r-1 | SB 0 | P r | ...        r: chunk ratio
 *
 * In a disk without a parent the sector bitmap entries say nothing and are
 * stepped over unread: older QEMU could leave payload pointers in them (its
 * issue 727). In a differencing disk they are read at opening, by
 * vhdx_bitmap.c.
 */
#include <inttypes.h>
#include <string.h>

#include "fail.h"
#include "vhdx.h"

static uint64_t bat_entry(const uint8_t *bytes, size_t index)
{
    ds_le64 wire;

    memcpy(&wire, bytes + index * VHDX_BAT_ENTRY_BYTES, sizeof(wire));
    return ds_le64_get(wire);
}

static uint64_t block_visible_bytes(const struct vhdx_image *vhdx,
                                    uint64_t block_index)
{
    return ds_min_u64(vhdx->parameters.block_bytes,
                      vhdx->image.size_bytes -
                          block_index * vhdx->parameters.block_bytes);
}

/* A payload block that is said to be in the file. Of the last block only what
 * the guest sees has to be there: QEMU ends fixed files at the disk's end,
 * Hyper-V at the block's. */
static int check_payload(const struct vhdx_image *vhdx, uint64_t block_index,
                         uint64_t entry, uint64_t at, struct ds_error *err)
{
    struct ds_file *file = vhdx->image.files[0];
    uint64_t offset = entry & VHDX_BAT_OFFSET_MASK;
    uint64_t visible = block_visible_bytes(vhdx, block_index);

    if (offset < VHDX_HEADER_SECTION_BYTES)
        return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                          "vhdx: bat: block %" PRIu64
                          " lies in the headers, have offset %" PRIu64
                          " expect 1 MiB or more",
                          block_index, offset);
    if (ds_range_fits(offset, visible, vhdx_file_bytes(vhdx)))
        return 0;
    return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                      "vhdx: bat: block %" PRIu64
                      " ends past the file, have %" PRIu64 "+%" PRIu64
                      " expect at most %" PRIu64,
                      block_index, offset, visible, vhdx_file_bytes(vhdx));
}

/* What lies behind the file's end, where only the replay would have made room
 * for it, is zeros. */
static int end_with_file(const struct vhdx_image *vhdx, struct ds_extent *out,
                         struct ds_error *err)
{
    struct ds_file *file = vhdx->image.files[0];
    uint64_t there;

    if (out->kind != DS_EXTENT_DATA ||
        ds_range_fits(out->file_offset_bytes, out->length_bytes,
                      file->size_bytes))
        return 0;
    if (file->size_bytes % DS_SECTOR_BYTES != 0)
        return ds_fail_at(err, file, file->size_bytes, DS_ERR_CORRUPT,
                          "vhdx: log: size of a file that the replay makes "
                          "longer, have %" PRIu64 " expect whole sectors",
                          file->size_bytes);
    there =
        file->size_bytes - ds_min_u64(out->file_offset_bytes, file->size_bytes);
    if (there > 0) {
        out->length_bytes = there;
        return 0;
    }
    out->kind = DS_EXTENT_ZERO;
    out->file_index = DS_FILE_NONE;
    out->file_offset_bytes = 0;
    return 0;
}

/* What the states mean (2.5.1.1). 1 and 3 may read as zeros, 2 must, and none
 * of them asks the parent. 0 does; without a parent it reads as zeros in
 * every implementation known. Of 7 the sector bitmap knows more. */
static int classify(const struct vhdx_image *vhdx, uint64_t block_index,
                    uint64_t entry, uint64_t at, enum ds_extent_kind *kind,
                    struct ds_error *err)
{
    struct ds_file *file = vhdx->image.files[0];

    if ((entry & VHDX_BAT_RESERVED_MASK) != 0)
        return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                          "vhdx: bat: reserved bits of block %" PRIu64
                          ", have entry 0x%" PRIx64 " expect bits 3 to 19 "
                          "clear",
                          block_index, entry);
    switch (entry & VHDX_BAT_STATE_MASK) {
    case VHDX_BLOCK_NOT_PRESENT:
        *kind = DS_EXTENT_HOLE;
        return 0;
    case VHDX_BLOCK_UNDEFINED:
    case VHDX_BLOCK_ZERO:
    case VHDX_BLOCK_UNMAPPED:
        *kind = DS_EXTENT_ZERO;
        return 0;
    case VHDX_BLOCK_FULLY_PRESENT:
        *kind = DS_EXTENT_DATA;
        return check_payload(vhdx, block_index, entry, at, err);
    case VHDX_BLOCK_PARTIALLY_PRESENT:
        *kind = DS_EXTENT_DATA;
        if (vhdx_has_parent(vhdx))
            return check_payload(vhdx, block_index, entry, at, err);
        /* fall through */
    default:
        return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                          "vhdx: bat: state of block %" PRIu64
                          ", have %u expect 0 to 3 or 6 %s",
                          block_index, (unsigned)(entry & VHDX_BAT_STATE_MASK),
                          vhdx_has_parent(vhdx) ? "or 7"
                                                : "in a disk without a parent");
    }
}

/* The BAT from entry `index` on, as the replayed log has it. */
static int view_bat(struct vhdx_image *vhdx, struct ds_cursor *cursor,
                    uint64_t index, const uint8_t **bytes, size_t *entry_count,
                    struct ds_error *err)
{
    uint64_t most =
        (vhdx->geometry.bat_entry_count - index) * VHDX_BAT_ENTRY_BYTES;
    int result = vhdx_window_view(
        vhdx, &cursor->table, &cursor->scratch[0],
        vhdx->bat.offset_bytes + index * VHDX_BAT_ENTRY_BYTES,
        VHDX_BAT_ENTRY_BYTES, (size_t)most, bytes, entry_count, err);

    *entry_count /= VHDX_BAT_ENTRY_BYTES;
    return result;
}

/* Where a run of blocks stands in the BAT. */
struct walk {
    const uint8_t *bytes;
    size_t entry_count;  /* in view */
    size_t index;        /* of the last entry taken */
    uint64_t chunk_left; /* payload entries after it in its chunk */
    uint64_t chunk_ratio;
};

/* Step to the next payload entry in view. */
static inline bool walk_next(struct walk *walk, uint64_t *entry)
{
    size_t next = walk->index + 1;

    if (walk->chunk_left == 0) {
        next++; /* the sector bitmap's */
        walk->chunk_left = walk->chunk_ratio;
    }
    if (next >= walk->entry_count)
        return false;
    walk->index = next;
    walk->chunk_left--;
    *entry = bat_entry(walk->bytes, next);
    return true;
}

/* How many blocks, of `block_count_max`, continue the first, whose entry is
 * `first`: present ones lie one after the other in the file. */
static uint64_t run_present(struct walk *walk, uint64_t first,
                            uint64_t block_bytes, uint64_t block_count_max)
{
    uint64_t count = 1, entry;

    while (count < block_count_max && walk_next(walk, &entry) &&
           entry == first + count * block_bytes)
        count++;
    return count;
}

/* Whole chunks that are what the one just walked is, entry for entry: nearly
 * all of a large disk that holds little. How many blocks. */
static uint64_t repeated_chunks(struct walk *walk, uint64_t block_count_max)
{
    const size_t period = (size_t)walk->chunk_ratio + 1;
    uint64_t count = 0;

    while (walk->index + 1 >= period &&
           walk->entry_count - (walk->index + 1) >= period &&
           block_count_max - count >= walk->chunk_ratio) {
        const uint8_t *next =
            walk->bytes + (walk->index + 1) * VHDX_BAT_ENTRY_BYTES;
        size_t bytes = period * VHDX_BAT_ENTRY_BYTES;

        if (memcmp(next, next - bytes, bytes) != 0)
            break;
        walk->index += period;
        count += walk->chunk_ratio;
    }
    return count;
}

static uint64_t run_absent(struct walk *walk, bool hole,
                           uint64_t block_count_max)
{
    uint64_t count = 1, entry;

    while (count < block_count_max && walk_next(walk, &entry) &&
           (entry & VHDX_BAT_RESERVED_MASK) == 0 &&
           (entry & VHDX_BAT_STATE_MASK) <= VHDX_BLOCK_UNMAPPED &&
           hole == ((entry & VHDX_BAT_STATE_MASK) == VHDX_BLOCK_NOT_PRESENT)) {
        count++;
        if (walk->chunk_left == 0 && count >= walk->chunk_ratio)
            count += repeated_chunks(walk, block_count_max - count);
    }
    return count;
}

/* Of a partially present block: a run that is here, or that the parent has. */
static int partial_extent(struct vhdx_image *vhdx, struct ds_cursor *cursor,
                          uint64_t block, uint64_t entry, struct ds_extent *out,
                          struct ds_error *err)
{
    uint64_t within = out->guest_offset_bytes % vhdx->parameters.block_bytes;
    uint64_t run = 0;
    bool here = false;
    int result = vhdx_bitmap_run(vhdx, cursor, block, within, &here, &run, err);

    if (result != 0)
        return result;
    out->kind = here ? DS_EXTENT_DATA : DS_EXTENT_HOLE;
    if (here) {
        out->file_index = 0;
        out->file_offset_bytes = (entry & VHDX_BAT_OFFSET_MASK) + within;
    }
    out->length_bytes =
        ds_min_u64(run, vhdx->image.size_bytes - out->guest_offset_bytes);
    return end_with_file(vhdx, out, err);
}

int vhdx_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                   uint64_t guest_offset_bytes, struct ds_extent *out,
                   struct ds_error *err)
{
    struct vhdx_image *vhdx = (struct vhdx_image *)image;
    const struct vhdx_geometry *geometry = &vhdx->geometry;
    uint64_t block_bytes = vhdx->parameters.block_bytes;
    uint64_t block = guest_offset_bytes / block_bytes;
    uint64_t within = guest_offset_bytes % block_bytes;
    uint64_t index = vhdx_bat_index(geometry, block);
    uint64_t count_max = geometry->block_count - block;
    uint64_t entry, offset, count;
    struct walk walk = {
        .chunk_left = geometry->chunk_ratio - 1 - block % geometry->chunk_ratio,
        .chunk_ratio = geometry->chunk_ratio,
    };
    int result =
        view_bat(vhdx, cursor, index, &walk.bytes, &walk.entry_count, err);

    if (result != 0)
        return result;
    entry = bat_entry(walk.bytes, 0);
    result = classify(vhdx, block, entry,
                      vhdx->bat.offset_bytes + index * VHDX_BAT_ENTRY_BYTES,
                      &out->kind, err);
    if (result != 0)
        return result;
    out->guest_offset_bytes = guest_offset_bytes;
    out->file_index = DS_FILE_NONE;
    out->file_offset_bytes = 0;
    if ((entry & VHDX_BAT_STATE_MASK) == VHDX_BLOCK_PARTIALLY_PRESENT)
        return partial_extent(vhdx, cursor, block, entry, out, err);
    if (out->kind == DS_EXTENT_DATA) {
        offset = entry & VHDX_BAT_OFFSET_MASK;
        /* Those after the first must fit as wholes; a last one that does
         * not is looked at by the next call. */
        count_max = ds_min_u64(count_max,
                               (vhdx_file_bytes(vhdx) - offset) / block_bytes);
        count = run_present(&walk, entry, block_bytes, count_max);
        out->file_index = 0;
        out->file_offset_bytes = offset + within;
    } else {
        count = run_absent(&walk, out->kind == DS_EXTENT_HOLE, count_max);
    }
    out->length_bytes = ds_min_u64(count * block_bytes - within,
                                   image->size_bytes - guest_offset_bytes);
    return end_with_file(vhdx, out, err);
}

int vhdx_regions(struct ds_image *image, ds_region_fn *region, void *user,
                 struct ds_error *err)
{
    struct vhdx_image *vhdx = (struct vhdx_image *)image;
    struct ds_region out = { 0, 0, VHDX_HEADER_SECTION_BYTES,
                             "header section" };
    int result = region(user, &out, err);

    for (size_t i = 0; result == 0 && i < vhdx->region_count; i++) {
        const struct vhdx_region_entry *entry = &vhdx->regions[i];

        if (entry->length_bytes == 0)
            continue;
        out.offset_bytes = entry->offset_bytes;
        out.length_bytes = entry->length_bytes;
        out.name = "unknown region";
        if (vhdx_guid_is_zero(&entry->guid))
            out.name = "log";
        else if (vhdx_guid_equal(&entry->guid, &vhdx_region_bat_guid))
            out.name = "bat";
        else if (vhdx_guid_equal(&entry->guid, &vhdx_region_metadata_guid))
            out.name = "metadata region";
        result = region(user, &out, err);
    }
    out.name = "sector bitmap block";
    out.length_bytes = VHDX_BITMAP_BLOCK_BYTES;
    for (uint64_t i = 0; vhdx->bitmap_offsets != NULL && result == 0 &&
                         i < vhdx->geometry.chunk_count;
         i++) {
        out.offset_bytes = vhdx->bitmap_offsets[i];
        if (out.offset_bytes != 0)
            result = region(user, &out, err);
    }
    return result;
}
