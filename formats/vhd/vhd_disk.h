/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of Microsoft's "Virtual Hard Disk Image Format Specification",
 * version 1.0, October 11, 2006, byte for byte, and their host values. All
 * integers are big-endian.
 *
 *   fixed     | the disk                                       | footer |
 *
 *   dynamic   | footer | dynamic | BAT | bitmap block | bitmap | footer |
 *             |  copy  | header  |     | bitmap block | block  |        |
 *
 *   differencing: as dynamic, and parent locators wherever there is room
 */
#ifndef VHD_DISK_H
#define VHD_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "guid.h"

/* -- "Hard Disk Footer Format" -------------------------------------------- */

struct vhd_footer_disk {
    uint8_t cookie[8];
    ds_be32 features;
    ds_be32 file_format_version;
    ds_be64 data_offset;
    ds_be32 time_stamp;
    uint8_t creator_application[4];
    ds_be32 creator_version;
    uint8_t creator_host_os[4];
    ds_be64 original_size;
    ds_be64 current_size;
    ds_be16 geometry_cylinders;
    uint8_t geometry_heads;
    uint8_t geometry_sectors_per_track;
    ds_be32 disk_type;
    ds_be32 checksum;
    uint8_t unique_id[16];
    uint8_t saved_state;
    uint8_t reserved[427];
};
_Static_assert(sizeof(struct vhd_footer_disk) == 512, "footer");
_Static_assert(offsetof(struct vhd_footer_disk, features) == 8, "footer");
_Static_assert(offsetof(struct vhd_footer_disk, file_format_version) == 12,
               "footer");
_Static_assert(offsetof(struct vhd_footer_disk, data_offset) == 16, "footer");
_Static_assert(offsetof(struct vhd_footer_disk, time_stamp) == 24, "footer");
_Static_assert(offsetof(struct vhd_footer_disk, creator_application) == 28,
               "footer");
_Static_assert(offsetof(struct vhd_footer_disk, creator_version) == 32,
               "footer");
_Static_assert(offsetof(struct vhd_footer_disk, creator_host_os) == 36,
               "footer");
_Static_assert(offsetof(struct vhd_footer_disk, original_size) == 40, "footer");
_Static_assert(offsetof(struct vhd_footer_disk, current_size) == 48, "footer");
_Static_assert(offsetof(struct vhd_footer_disk, geometry_cylinders) == 56,
               "footer");
_Static_assert(offsetof(struct vhd_footer_disk, geometry_heads) == 58,
               "footer");
_Static_assert(offsetof(struct vhd_footer_disk, geometry_sectors_per_track) ==
                   59,
               "footer");
_Static_assert(offsetof(struct vhd_footer_disk, disk_type) == 60, "footer");
_Static_assert(offsetof(struct vhd_footer_disk, checksum) == 64, "footer");
_Static_assert(offsetof(struct vhd_footer_disk, unique_id) == 68, "footer");
_Static_assert(offsetof(struct vhd_footer_disk, saved_state) == 84, "footer");
_Static_assert(offsetof(struct vhd_footer_disk, reserved) == 85, "footer");

#define VHD_FOOTER_COOKIE "conectix"
#define VHD_FOOTER_BYTES 512u
/* "versions previous to Microsoft Virtual PC 2004 create disk images that
 * have a 511-byte disk footer": the last reserved byte is not there. */
#define VHD_FOOTER_OLD_BYTES 511u

#define VHD_FEATURE_TEMPORARY 0x00000001u
#define VHD_FEATURE_RESERVED 0x00000002u /* always set */

/* Of the footer and of the dynamic header: major in the upper half. */
#define VHD_VERSION 0x00010000u
#define VHD_VERSION_MAJOR 1u

#define VHD_DATA_OFFSET_NONE UINT64_MAX

/* time_stamp counts from January 1, 2000, 12:00:00 AM UTC. */
#define VHD_EPOCH_UNIX_SECONDS INT64_C(946684800)

enum vhd_disk_type {
    VHD_TYPE_NONE = 0,
    VHD_TYPE_RESERVED_1 = 1, /* deprecated, as are 5 and 6 */
    VHD_TYPE_FIXED = 2,
    VHD_TYPE_DYNAMIC = 3,
    VHD_TYPE_DIFFERENCING = 4,
    VHD_TYPE_RESERVED_5 = 5,
    VHD_TYPE_RESERVED_6 = 6
};

/** The footer's host values. Sizes are the guest's, in bytes. */
struct vhd_footer {
    uint32_t features;
    uint32_t file_format_version;
    uint64_t data_offset_bytes; /* of the dynamic header */
    uint32_t time_stamp_seconds;
    char creator_application[4];
    uint32_t creator_version;
    char creator_host_os[4];
    uint64_t original_size_bytes;
    uint64_t current_size_bytes;
    uint16_t geometry_cylinders;
    uint8_t geometry_heads;
    uint8_t geometry_sectors_per_track;
    uint32_t disk_type; /* enum vhd_disk_type */
    struct ds_guid unique_id;
    bool saved_state;
};

/* -- "Dynamic Disk Header Format" ----------------------------------------- */

struct vhd_parent_locator_disk {
    uint8_t platform_code[4];
    ds_be32 platform_data_space;
    ds_be32 platform_data_length;
    ds_be32 reserved;
    ds_be64 platform_data_offset;
};
_Static_assert(sizeof(struct vhd_parent_locator_disk) == 24, "locator");

#define VHD_PARENT_LOCATOR_COUNT 8u
#define VHD_PARENT_NAME_BYTES 512u
/* The longest path of Windows in UTF-16, 32767 characters. */
#define VHD_LOCATOR_BYTES_MAX 65536u

struct vhd_header_disk {
    uint8_t cookie[8];
    ds_be64 data_offset; /* unused, all ones */
    ds_be64 table_offset;
    ds_be32 header_version;
    ds_be32 max_table_entries;
    ds_be32 block_size;
    ds_be32 checksum;
    uint8_t parent_unique_id[16];
    ds_be32 parent_time_stamp;
    ds_be32 reserved;
    uint8_t parent_unicode_name[VHD_PARENT_NAME_BYTES];
    struct vhd_parent_locator_disk parent_locators[VHD_PARENT_LOCATOR_COUNT];
    uint8_t reserved2[256];
};
_Static_assert(sizeof(struct vhd_header_disk) == 1024, "header");
_Static_assert(offsetof(struct vhd_header_disk, data_offset) == 8, "header");
_Static_assert(offsetof(struct vhd_header_disk, table_offset) == 16, "header");
_Static_assert(offsetof(struct vhd_header_disk, header_version) == 24,
               "header");
_Static_assert(offsetof(struct vhd_header_disk, max_table_entries) == 28,
               "header");
_Static_assert(offsetof(struct vhd_header_disk, block_size) == 32, "header");
_Static_assert(offsetof(struct vhd_header_disk, checksum) == 36, "header");
_Static_assert(offsetof(struct vhd_header_disk, parent_unique_id) == 40,
               "header");
_Static_assert(offsetof(struct vhd_header_disk, parent_time_stamp) == 56,
               "header");
_Static_assert(offsetof(struct vhd_header_disk, parent_unicode_name) == 64,
               "header");
_Static_assert(offsetof(struct vhd_header_disk, parent_locators) == 576,
               "header");
_Static_assert(offsetof(struct vhd_header_disk, reserved2) == 768, "header");

#define VHD_HEADER_COOKIE "cxsparse"
#define VHD_HEADER_BYTES 1024u

/** The dynamic header's host values. */
struct vhd_header {
    uint64_t data_offset_bytes;
    uint64_t table_offset_bytes;
    uint32_t header_version;
    uint32_t max_table_entries; /* a count */
    uint32_t block_size_bytes;
    struct ds_guid parent_unique_id; /* differencing disks only, as the next */
    uint32_t parent_time_stamp_seconds;
};

/* -- "Block Allocation Table and Data Blocks" ----------------------------- */

/* An entry is the sector where the block's bitmap begins. */
#define VHD_BAT_ENTRY_BYTES 4u
#define VHD_BAT_ENTRY_UNUSED UINT32_C(0xFFFFFFFF)

/* "sectors per block must always be a power of two"; the spec names no
 * bounds, so these are the field's own. */
#define VHD_BLOCK_BYTES_MIN UINT32_C(512)
#define VHD_BLOCK_BYTES_MAX UINT32_C(0x80000000)

/* What Microsoft's own products stop at, 2040 GiB; for our writer. */
#define VHD_SIZE_BYTES_MAX (UINT64_C(2040) * 1024 * 1024 * 1024)

#endif
