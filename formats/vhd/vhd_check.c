/* SPDX-License-Identifier: Apache-2.0 */
/* Encode, decode, and the rules that reader and writer share. Sections are
 * those of the Virtual Hard Disk Image Format Specification 1.0. */
#include <inttypes.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "vhd.h"

/* -- seals: cookie and checksum ------------------------------------------- */

static uint32_t bytes_sum(const void *bytes, size_t length_bytes)
{
    const uint8_t *at = bytes;
    uint32_t sum = 0;

    for (size_t i = 0; i < length_bytes; i++)
        sum += at[i];
    return sum;
}

uint32_t vhd_footer_checksum(const struct vhd_footer_disk *disk)
{
    return ~(bytes_sum(disk, sizeof(*disk)) -
             bytes_sum(&disk->checksum, sizeof(disk->checksum)));
}

uint32_t vhd_header_checksum(const struct vhd_header_disk *disk)
{
    return ~(bytes_sum(disk, sizeof(*disk)) -
             bytes_sum(&disk->checksum, sizeof(disk->checksum)));
}

bool vhd_footer_cookie_is_valid(const struct vhd_footer_disk *disk)
{
    return memcmp(disk->cookie, VHD_FOOTER_COOKIE, sizeof(disk->cookie)) == 0;
}

static int check_checksum(const char *record, uint32_t have, uint32_t expect,
                          const struct ds_file *file, uint64_t offset_bytes,
                          struct ds_error *err)
{
    if (have == expect)
        return 0;
    return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                      "vhd: %s: checksum, have 0x%08" PRIx32
                      " expect 0x%08" PRIx32,
                      record, have, expect);
}

int vhd_footer_check_seal(const struct vhd_footer_disk *disk,
                          const struct ds_file *file, uint64_t offset_bytes,
                          struct ds_error *err)
{
    if (!vhd_footer_cookie_is_valid(disk))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vhd: footer: cookie, have 0x%016" PRIx64
                          " expect \"" VHD_FOOTER_COOKIE "\"",
                          ds_be64_get(*(const ds_be64 *)disk->cookie));
    return check_checksum(
        "footer", ds_be32_get(disk->checksum), vhd_footer_checksum(disk), file,
        offset_bytes + offsetof(struct vhd_footer_disk, checksum), err);
}

int vhd_header_check_seal(const struct vhd_header_disk *disk,
                          const struct ds_file *file, uint64_t offset_bytes,
                          struct ds_error *err)
{
    if (memcmp(disk->cookie, VHD_HEADER_COOKIE, sizeof(disk->cookie)) != 0)
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vhd: dynamic header: cookie, have 0x%016" PRIx64
                          " expect \"" VHD_HEADER_COOKIE "\"",
                          ds_be64_get(*(const ds_be64 *)disk->cookie));
    return check_checksum(
        "dynamic header", ds_be32_get(disk->checksum),
        vhd_header_checksum(disk), file,
        offset_bytes + offsetof(struct vhd_header_disk, checksum), err);
}

/* -- decode and encode ---------------------------------------------------- */

void vhd_footer_decode(const struct vhd_footer_disk *disk,
                       struct vhd_footer *out)
{
    out->features = ds_be32_get(disk->features);
    out->file_format_version = ds_be32_get(disk->file_format_version);
    out->data_offset_bytes = ds_be64_get(disk->data_offset);
    out->time_stamp_seconds = ds_be32_get(disk->time_stamp);
    memcpy(out->creator_application, disk->creator_application, 4);
    out->creator_version = ds_be32_get(disk->creator_version);
    memcpy(out->creator_host_os, disk->creator_host_os, 4);
    out->original_size_bytes = ds_be64_get(disk->original_size);
    out->current_size_bytes = ds_be64_get(disk->current_size);
    out->geometry_cylinders = ds_be16_get(disk->geometry_cylinders);
    out->geometry_heads = disk->geometry_heads;
    out->geometry_sectors_per_track = disk->geometry_sectors_per_track;
    out->disk_type = ds_be32_get(disk->disk_type);
    memcpy(out->unique_id.bytes, disk->unique_id, 16);
    out->saved_state = disk->saved_state != 0;
}

void vhd_footer_encode(const struct vhd_footer *footer,
                       struct vhd_footer_disk *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->cookie, VHD_FOOTER_COOKIE, sizeof(out->cookie));
    out->features = ds_be32_make(footer->features);
    out->file_format_version = ds_be32_make(footer->file_format_version);
    out->data_offset = ds_be64_make(footer->data_offset_bytes);
    out->time_stamp = ds_be32_make(footer->time_stamp_seconds);
    memcpy(out->creator_application, footer->creator_application, 4);
    out->creator_version = ds_be32_make(footer->creator_version);
    memcpy(out->creator_host_os, footer->creator_host_os, 4);
    out->original_size = ds_be64_make(footer->original_size_bytes);
    out->current_size = ds_be64_make(footer->current_size_bytes);
    out->geometry_cylinders = ds_be16_make(footer->geometry_cylinders);
    out->geometry_heads = footer->geometry_heads;
    out->geometry_sectors_per_track = footer->geometry_sectors_per_track;
    out->disk_type = ds_be32_make(footer->disk_type);
    memcpy(out->unique_id, footer->unique_id.bytes, 16);
    out->saved_state = footer->saved_state;
    out->checksum = ds_be32_make(vhd_footer_checksum(out));
}

void vhd_header_decode(const struct vhd_header_disk *disk,
                       struct vhd_header *out)
{
    out->data_offset_bytes = ds_be64_get(disk->data_offset);
    out->table_offset_bytes = ds_be64_get(disk->table_offset);
    out->header_version = ds_be32_get(disk->header_version);
    out->max_table_entries = ds_be32_get(disk->max_table_entries);
    out->block_size_bytes = ds_be32_get(disk->block_size);
    memcpy(out->parent_unique_id.bytes, disk->parent_unique_id, 16);
    out->parent_time_stamp_seconds = ds_be32_get(disk->parent_time_stamp);
}

void vhd_header_encode(const struct vhd_header *header,
                       struct vhd_header_disk *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->cookie, VHD_HEADER_COOKIE, sizeof(out->cookie));
    out->data_offset = ds_be64_make(header->data_offset_bytes);
    out->table_offset = ds_be64_make(header->table_offset_bytes);
    out->header_version = ds_be32_make(header->header_version);
    out->max_table_entries = ds_be32_make(header->max_table_entries);
    out->block_size = ds_be32_make(header->block_size_bytes);
    memcpy(out->parent_unique_id, header->parent_unique_id.bytes, 16);
    out->parent_time_stamp = ds_be32_make(header->parent_time_stamp_seconds);
    out->checksum = ds_be32_make(vhd_header_checksum(out));
}

/* -- the guest's size ----------------------------------------------------- */

static uint64_t geometry_bytes(const struct vhd_footer *footer)
{
    return (uint64_t)footer->geometry_cylinders * footer->geometry_heads *
           footer->geometry_sectors_per_track * DS_SECTOR_BYTES;
}

/* Virtual PC and old QEMU present C * H * S and may record more in
 * current_size; everybody else means current_size. The largest geometry
 * says only that CHS cannot express the disk. See SPEC.md, "Size". */
bool vhd_size_is_geometry(const struct vhd_footer *footer)
{
    if (footer->geometry_cylinders == 65535 && footer->geometry_heads == 16 &&
        footer->geometry_sectors_per_track == 255)
        return false;
    return memcmp(footer->creator_application, "vpc ", 4) == 0 ||
           memcmp(footer->creator_application, "qemu", 4) == 0;
}

uint64_t vhd_size_bytes(const struct vhd_footer *footer)
{
    return vhd_size_is_geometry(footer) ? geometry_bytes(footer)
                                        : footer->current_size_bytes;
}

/* Appendix "CHS Calculation". Disks beyond 65535 * 16 * 255 sectors get that
 * geometry and live by current_size. */
void vhd_geometry_set(struct vhd_footer *footer, uint64_t size_bytes)
{
    uint64_t sectors =
        ds_min_u64(size_bytes / DS_SECTOR_BYTES, UINT64_C(65535) * 16 * 255);
    uint64_t per_track, heads, cylinders_times_heads;

    if (sectors >= UINT64_C(65535) * 16 * 63) {
        per_track = 255;
        heads = 16;
        cylinders_times_heads = sectors / per_track;
    } else {
        per_track = 17;
        cylinders_times_heads = sectors / per_track;
        heads = ds_max_u64((cylinders_times_heads + 1023) / 1024, 4);
        if (cylinders_times_heads >= heads * 1024 || heads > 16) {
            per_track = 31;
            heads = 16;
            cylinders_times_heads = sectors / per_track;
        }
        if (cylinders_times_heads >= heads * 1024) {
            per_track = 63;
            heads = 16;
            cylinders_times_heads = sectors / per_track;
        }
    }
    footer->geometry_cylinders = (uint16_t)(cylinders_times_heads / heads);
    footer->geometry_heads = (uint8_t)heads;
    footer->geometry_sectors_per_track = (uint8_t)per_track;
}

/* -- values --------------------------------------------------------------- */

static int check_disk_type(const struct vhd_footer *footer,
                           const struct ds_file *file, uint64_t offset_bytes,
                           struct ds_error *err)
{
    offset_bytes += offsetof(struct vhd_footer_disk, disk_type);
    switch (footer->disk_type) {
    case VHD_TYPE_FIXED:
    case VHD_TYPE_DYNAMIC:
    case VHD_TYPE_DIFFERENCING:
        return 0;
    case VHD_TYPE_RESERVED_1:
    case VHD_TYPE_RESERVED_5:
    case VHD_TYPE_RESERVED_6:
        return ds_fail_at(err, file, offset_bytes, DS_ERR_UNSUPPORTED,
                          "vhd: footer: disk type %" PRIu32
                          " is deprecated and not supported",
                          footer->disk_type);
    default:
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vhd: footer: disk type, have %" PRIu32
                          " expect 2 (fixed), 3 (dynamic) or 4 (differencing)",
                          footer->disk_type);
    }
}

static int check_version(const char *record, uint32_t version,
                         const struct ds_file *file, uint64_t offset_bytes,
                         struct ds_error *err)
{
    if (version >> 16 == VHD_VERSION_MAJOR)
        return 0;
    return ds_fail_at(
        err, file, offset_bytes, DS_ERR_UNSUPPORTED,
        "vhd: %s: version, have %" PRIu32 ".%" PRIu32 " expect %u.x", record,
        version >> 16, version & 0xffff, VHD_VERSION_MAJOR);
}

/* A disk of no sectors by one field and of some by the other is not a small
 * disk but a footer that was never filled in. */
static int check_size(const struct vhd_footer *footer,
                      const struct ds_file *file, uint64_t offset_bytes,
                      struct ds_error *err)
{
    uint64_t size = vhd_size_bytes(footer);

    if (size % DS_SECTOR_BYTES != 0)
        return ds_fail_at(err, file,
                          offset_bytes +
                              offsetof(struct vhd_footer_disk, current_size),
                          DS_ERR_CORRUPT,
                          "vhd: footer: current size, have %" PRIu64
                          " bytes expect a multiple of %u",
                          size, DS_SECTOR_BYTES);
    if (size == 0 && footer->current_size_bytes != 0)
        return ds_fail_at(
            err, file,
            offset_bytes + offsetof(struct vhd_footer_disk, geometry_cylinders),
            DS_ERR_CORRUPT,
            "vhd: footer: geometry, have %" PRIu16 "/%u/%u expect the "
            "disk of creator \"%.4s\" to have sectors",
            footer->geometry_cylinders, footer->geometry_heads,
            footer->geometry_sectors_per_track, footer->creator_application);
    return 0;
}

int vhd_footer_check(const struct vhd_footer *footer,
                     const struct ds_file *file, uint64_t offset_bytes,
                     struct ds_error *err)
{
    uint64_t version_offset =
        offset_bytes + offsetof(struct vhd_footer_disk, file_format_version);
    int result = check_version("footer", footer->file_format_version, file,
                               version_offset, err);

    if (result == 0)
        result = check_disk_type(footer, file, offset_bytes, err);
    if (result == 0)
        result = check_size(footer, file, offset_bytes, err);
    return result;
}

int vhd_header_check(const struct vhd_header *header, uint64_t size_bytes,
                     const struct ds_file *file, uint64_t offset_bytes,
                     struct ds_error *err)
{
    uint64_t block_bytes = header->block_size_bytes;
    uint64_t version_offset =
        offset_bytes + offsetof(struct vhd_header_disk, header_version);
    int result = check_version("dynamic header", header->header_version, file,
                               version_offset, err);

    if (result != 0)
        return result;
    if (!ds_is_power_of_two(block_bytes) || block_bytes < VHD_BLOCK_BYTES_MIN)
        return ds_fail_at(
            err, file,
            offset_bytes + offsetof(struct vhd_header_disk, block_size),
            DS_ERR_CORRUPT,
            "vhd: dynamic header: block size, have %" PRIu64
            " bytes expect a power of two, %" PRIu32 " to %" PRIu32,
            block_bytes, VHD_BLOCK_BYTES_MIN, VHD_BLOCK_BYTES_MAX);
    /* Both factors have 32 bits: the product fits. */
    if (header->max_table_entries * block_bytes < size_bytes)
        return ds_fail_at(
            err, file,
            offset_bytes + offsetof(struct vhd_header_disk, max_table_entries),
            DS_ERR_CORRUPT,
            "vhd: dynamic header: max table entries, have %" PRIu32
            " expect at least %" PRIu64 " for a disk of %" PRIu64 " bytes",
            header->max_table_entries, ds_div_up(size_bytes, block_bytes),
            size_bytes);
    return 0;
}

/* "padded to a 512-byte sector boundary": one bit per sector of the block. */
uint32_t vhd_bitmap_bytes(uint32_t block_bytes)
{
    uint64_t bits = block_bytes / DS_SECTOR_BYTES;

    return (uint32_t)ds_align_up(ds_div_up(bits, 8), DS_SECTOR_BYTES);
}
