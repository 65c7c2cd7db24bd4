/* SPDX-License-Identifier: Apache-2.0 */
/* Encode, decode, and the rules that reader and writer share. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "vdi.h"

/* -- decode and encode ----------------------------------------------------- */

static struct ds_guid guid_get(const uint8_t wire[16])
{
    struct ds_guid guid;

    memcpy(guid.bytes, wire, sizeof(guid.bytes));
    return ds_guid_swap(&guid);
}

static void guid_put(const struct ds_guid *guid, uint8_t wire[16])
{
    struct ds_guid swapped = ds_guid_swap(guid);

    memcpy(wire, swapped.bytes, sizeof(swapped.bytes));
}

void vdi_header_decode(const struct vdi_header_disk *disk,
                       struct vdi_header *out)
{
    *out = (struct vdi_header){
        .version = ds_le32_get(disk->version),
        .header_size_bytes = ds_le32_get(disk->header_size),
        .type = ds_le32_get(disk->type),
        .flags = ds_le32_get(disk->flags),
        .blocks_offset_bytes = ds_le32_get(disk->blocks_offset),
        .data_offset_bytes = ds_le32_get(disk->data_offset),
        .sector_bytes = ds_le32_get(disk->sector_size),
        .disk_bytes = ds_le64_get(disk->disk_size),
        .block_bytes = ds_le32_get(disk->block_size),
        .block_extra_bytes = ds_le32_get(disk->block_extra),
        .block_count = ds_le32_get(disk->block_count),
        .blocks_allocated = ds_le32_get(disk->blocks_allocated),
        .uuid_image = guid_get(disk->uuid_image),
        .uuid_modification = guid_get(disk->uuid_modification),
        .uuid_link = guid_get(disk->uuid_link),
    };
}

void vdi_header_encode(const struct vdi_header *header,
                       struct vdi_header_disk *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->text, VDI_TEXT, sizeof(VDI_TEXT) - 1);
    out->signature = ds_le32_make(VDI_SIGNATURE);
    out->version = ds_le32_make(header->version);
    out->header_size = ds_le32_make(header->header_size_bytes);
    out->type = ds_le32_make(header->type);
    out->flags = ds_le32_make(header->flags);
    out->blocks_offset = ds_le32_make((uint32_t)header->blocks_offset_bytes);
    out->data_offset = ds_le32_make((uint32_t)header->data_offset_bytes);
    out->sector_size = ds_le32_make(header->sector_bytes);
    out->disk_size = ds_le64_make(header->disk_bytes);
    out->block_size = ds_le32_make(header->block_bytes);
    out->block_extra = ds_le32_make(header->block_extra_bytes);
    out->block_count = ds_le32_make(header->block_count);
    out->blocks_allocated = ds_le32_make(header->blocks_allocated);
    guid_put(&header->uuid_image, out->uuid_image);
    guid_put(&header->uuid_modification, out->uuid_modification);
    guid_put(&header->uuid_link, out->uuid_link);
    out->logical_sector_size = ds_le32_make(header->sector_bytes);
}

/* -- the header's values --------------------------------------------------- */

#define AT(member) offsetof(struct vdi_header_disk, member)

static bool has_parent(const struct vdi_header *header)
{
    static const struct ds_guid none = { { 0 } };

    return memcmp(&header->uuid_link, &none, sizeof(none)) != 0;
}

static int check_kind(const struct vdi_header *header,
                      const struct ds_file *file, struct ds_error *err)
{
    if (header->version != VDI_VERSION)
        return ds_fail_at(err, file, AT(version), DS_ERR_UNSUPPORTED,
                          "vdi: header: version, have %" PRIu32 ".%" PRIu32
                          " expect 1.1",
                          header->version >> 16, header->version & 0xffff);
    switch (header->type) {
    case VDI_TYPE_NORMAL:
    case VDI_TYPE_FIXED:
        break;
    case VDI_TYPE_UNDO:
    case VDI_TYPE_DIFFERENCING:
        return ds_fail_at(
            err, file, AT(type), DS_ERR_UNSUPPORTED,
            "vdi: header: %s images (type %" PRIu32 ") are not supported",
            header->type == VDI_TYPE_UNDO ? "undo" : "differencing",
            header->type);
    default:
        return ds_fail_at(err, file, AT(type), DS_ERR_CORRUPT,
                          "vdi: header: type, have %" PRIu32
                          " expect 1 (normal) or 2 (fixed)",
                          header->type);
    }
    if (has_parent(header))
        return ds_fail_at(err, file, AT(uuid_link), DS_ERR_CORRUPT,
                          "vdi: header: parent, have one expect none in an "
                          "image of type %" PRIu32,
                          header->type);
    return 0;
}

static int check_blocks(const struct vdi_header *header,
                        const struct ds_file *file, struct ds_error *err)
{
    if (!ds_is_power_of_two(header->block_bytes) ||
        header->block_bytes < VDI_BLOCK_BYTES_MIN ||
        header->block_bytes > VDI_BLOCK_BYTES_MAX)
        return ds_fail_at(err, file, AT(block_size), DS_ERR_CORRUPT,
                          "vdi: header: block size, have %" PRIu32
                          " expect a power of two, %" PRIu32 " to %" PRIu32,
                          header->block_bytes, VDI_BLOCK_BYTES_MIN,
                          VDI_BLOCK_BYTES_MAX);
    if (header->block_extra_bytes != 0)
        return ds_fail_at(err, file, AT(block_extra), DS_ERR_UNSUPPORTED,
                          "vdi: header: extra bytes per block, have %" PRIu32
                          " expect 0",
                          header->block_extra_bytes);
    if (header->disk_bytes % DS_SECTOR_BYTES != 0)
        return ds_fail_at(err, file, AT(disk_size), DS_ERR_CORRUPT,
                          "vdi: header: disk size, have %" PRIu64
                          " expect a multiple of %u",
                          header->disk_bytes, DS_SECTOR_BYTES);
    /* Both factors have 32 bits: the product fits. */
    if ((uint64_t)header->block_count * header->block_bytes <
        header->disk_bytes)
        return ds_fail_at(err, file, AT(block_count), DS_ERR_CORRUPT,
                          "vdi: header: blocks, have %" PRIu32
                          " expect at least %" PRIu64 " for a disk of %" PRIu64
                          " bytes",
                          header->block_count,
                          ds_div_up(header->disk_bytes, header->block_bytes),
                          header->disk_bytes);
    if (header->block_count > VDI_ENTRY_ZERO ||
        header->blocks_allocated > header->block_count)
        return ds_fail_at(err, file, AT(blocks_allocated), DS_ERR_CORRUPT,
                          "vdi: header: blocks allocated, have %" PRIu32
                          " of %" PRIu32 " expect no more than there are",
                          header->blocks_allocated, header->block_count);
    return 0;
}

static int check_places(const struct vdi_header *header,
                        const struct ds_file *file, uint64_t file_bytes,
                        struct ds_error *err)
{
    uint64_t header_end =
        VDI_HEADER_SIZE_FROM + (uint64_t)header->header_size_bytes;
    uint64_t map_bytes = (uint64_t)header->block_count * VDI_ENTRY_BYTES;

    if (header->header_size_bytes < VDI_HEADER_SIZE_MIN)
        return ds_fail_at(err, file, AT(header_size), DS_ERR_CORRUPT,
                          "vdi: header: size, have %" PRIu32
                          " expect at least %u",
                          header->header_size_bytes, VDI_HEADER_SIZE_MIN);
    if (header->blocks_offset_bytes < header_end ||
        header->blocks_offset_bytes % VDI_ENTRY_BYTES != 0)
        return ds_fail_at(err, file, AT(blocks_offset), DS_ERR_CORRUPT,
                          "vdi: header: block map's offset, have %" PRIu64
                          " expect a multiple of 4 after the header's end "
                          "at %" PRIu64,
                          header->blocks_offset_bytes, header_end);
    if (!ds_range_fits(header->blocks_offset_bytes, map_bytes, file_bytes))
        return ds_fail_at(err, file, AT(blocks_offset), DS_ERR_CORRUPT,
                          "vdi: block map: range, have %" PRIu64
                          " bytes at %" PRIu64
                          " expect it in the file's %" PRIu64,
                          map_bytes, header->blocks_offset_bytes, file_bytes);
    if (header->data_offset_bytes % DS_SECTOR_BYTES != 0 ||
        header->data_offset_bytes < header->blocks_offset_bytes + map_bytes)
        return ds_fail_at(err, file, AT(data_offset), DS_ERR_CORRUPT,
                          "vdi: header: data's offset, have %" PRIu64
                          " expect a multiple of %u after the block map's "
                          "end at %" PRIu64,
                          header->data_offset_bytes, DS_SECTOR_BYTES,
                          header->blocks_offset_bytes + map_bytes);
    return 0;
}

int vdi_header_check(const struct vdi_header *header,
                     const struct ds_file *file, uint64_t file_bytes,
                     struct ds_error *err)
{
    int result = check_kind(header, file, err);

    if (result == 0)
        result = check_blocks(header, file, err);
    if (result == 0)
        result = check_places(header, file, file_bytes, err);
    return result;
}

/* -- the block map --------------------------------------------------------- */

int vdi_block_check(const struct vdi_header *header, uint32_t index,
                    uint32_t entry, const struct ds_file *file,
                    uint64_t *offset_bytes, struct ds_error *err)
{
    uint64_t entry_offset =
        header->blocks_offset_bytes + (uint64_t)index * VDI_ENTRY_BYTES;
    uint64_t guest = (uint64_t)index * header->block_bytes;
    /* What the guest cannot reach of the last block need not be there. */
    uint64_t length =
        ds_min_u64(header->block_bytes, header->disk_bytes - guest);
    uint64_t offset =
        header->data_offset_bytes + (uint64_t)entry * header->block_bytes;

    if (entry >= header->block_count)
        return ds_fail_at(err, file, entry_offset, DS_ERR_CORRUPT,
                          "vdi: block map: entry %" PRIu32 ", have %" PRIu32
                          " expect less than %" PRIu32,
                          index, entry, header->block_count);
    if (!ds_range_fits(offset, length, file->size_bytes))
        return ds_fail_at(err, file, entry_offset, DS_ERR_CORRUPT,
                          "vdi: block map: entry %" PRIu32 ", have %" PRIu64
                          " bytes at %" PRIu64
                          " expect them in the file's %" PRIu64,
                          index, length, offset, file->size_bytes);
    *offset_bytes = offset;
    return 0;
}

struct usage {
    uint64_t used_count;
    uint64_t end; /* one more than the highest entry */
};

/* All entries, also those behind the disk's end: they hold blocks too. */
static int count_entries(struct vdi_image *image, struct ds_window *window,
                         struct usage *usage, struct ds_error *err)
{
    const struct vdi_header *header = &image->header;
    uint64_t index = 0;

    while (index < header->block_count) {
        uint64_t most = (header->block_count - index) * VDI_ENTRY_BYTES;
        const uint8_t *entries;
        size_t available;
        int result = ds_window_view(
            window, image->base.files[0],
            header->blocks_offset_bytes + index * VDI_ENTRY_BYTES,
            VDI_ENTRY_BYTES, (size_t)ds_min_u64(most, DS_WINDOW_BYTES_MAX),
            &entries, &available, err);

        if (result != 0)
            return result;
        for (size_t at = 0; at < available; at += VDI_ENTRY_BYTES, index++) {
            uint32_t entry = ds_le32_get(*(const ds_le32 *)(entries + at));

            if (entry >= VDI_ENTRY_ZERO)
                continue;
            usage->used_count++;
            usage->end = ds_max_u64(usage->end, (uint64_t)entry + 1);
        }
    }
    return 0;
}

/*
 * Products put the next block at index blocks_allocated. A block that lies
 * there or behind it already would be written over: the image reads well and
 * breaks when it is used. More than are used is merely room lost.
 */
int vdi_check(struct ds_image *base, ds_finding_fn *finding, void *user,
              struct ds_error *err)
{
    struct vdi_image *image = (struct vdi_image *)base;
    uint32_t allocated = image->header.blocks_allocated;
    struct ds_window window = { 0 };
    struct usage usage = { 0 };
    char message[160];
    struct ds_finding found = { .offset_bytes = AT(blocks_allocated),
                                .message = message };
    int result = count_entries(image, &window, &usage, err);

    ds_window_free(&window);
    if (result != 0 ||
        (usage.used_count == allocated && usage.end <= allocated))
        return result;
    found.is_leak = usage.end <= allocated && usage.used_count < allocated;
    (void)snprintf(message, sizeof(message),
                   "vdi: header: blocks allocated, have %" PRIu32
                   " expect %" PRIu64 ", the highest is number %" PRIu64,
                   allocated, usage.used_count,
                   usage.end != 0 ? usage.end - 1 : 0);
    return finding(user, &found, err);
}
