/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of VirtualBox's disk image, version 1.1, byte for byte, and
 * their host values. See SPEC.md. All integers are little-endian.
 *
 *   | header | block map: 32 bits | ... | block 0 | block 1 | ... |
 *   0        blocks_offset        data_offset
 */
#ifndef VDI_DISK_H
#define VDI_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "guid.h"

struct vdi_header_disk {
    uint8_t text[64];
    ds_le32 signature;
    ds_le32 version; /* major in the upper half */
    /* header_size counts from here on. */
    ds_le32 header_size;
    ds_le32 type;
    ds_le32 flags;
    uint8_t description[256];
    ds_le32 blocks_offset;
    ds_le32 data_offset;
    ds_le32 cylinders;
    ds_le32 heads;
    ds_le32 sectors;
    ds_le32 sector_size;
    ds_le32 unused;
    ds_le64 disk_size;
    ds_le32 block_size;
    ds_le32 block_extra;
    ds_le32 block_count;
    ds_le32 blocks_allocated;
    uint8_t uuid_image[16];
    uint8_t uuid_modification[16];
    uint8_t uuid_link[16];
    uint8_t uuid_parent_modification[16];
    /* From here on only when header_size is 400 or more. */
    ds_le32 logical_cylinders;
    ds_le32 logical_heads;
    ds_le32 logical_sectors;
    ds_le32 logical_sector_size;
    uint8_t reserved[40];
};
_Static_assert(sizeof(struct vdi_header_disk) == 512, "header");
_Static_assert(offsetof(struct vdi_header_disk, signature) == 0x40, "header");
_Static_assert(offsetof(struct vdi_header_disk, version) == 0x44, "header");
_Static_assert(offsetof(struct vdi_header_disk, header_size) == 0x48, "header");
_Static_assert(offsetof(struct vdi_header_disk, type) == 0x4c, "header");
_Static_assert(offsetof(struct vdi_header_disk, flags) == 0x50, "header");
_Static_assert(offsetof(struct vdi_header_disk, description) == 0x54, "header");
_Static_assert(offsetof(struct vdi_header_disk, blocks_offset) == 0x154,
               "header");
_Static_assert(offsetof(struct vdi_header_disk, data_offset) == 0x158,
               "header");
_Static_assert(offsetof(struct vdi_header_disk, cylinders) == 0x15c, "header");
_Static_assert(offsetof(struct vdi_header_disk, sector_size) == 0x168,
               "header");
_Static_assert(offsetof(struct vdi_header_disk, disk_size) == 0x170, "header");
_Static_assert(offsetof(struct vdi_header_disk, block_size) == 0x178, "header");
_Static_assert(offsetof(struct vdi_header_disk, block_extra) == 0x17c,
               "header");
_Static_assert(offsetof(struct vdi_header_disk, block_count) == 0x180,
               "header");
_Static_assert(offsetof(struct vdi_header_disk, blocks_allocated) == 0x184,
               "header");
_Static_assert(offsetof(struct vdi_header_disk, uuid_image) == 0x188, "header");
_Static_assert(offsetof(struct vdi_header_disk, uuid_link) == 0x1a8, "header");
_Static_assert(offsetof(struct vdi_header_disk, logical_cylinders) == 0x1c8,
               "header");
_Static_assert(offsetof(struct vdi_header_disk, reserved) == 0x1d8, "header");

#define VDI_SIGNATURE 0xbeda107fu
#define VDI_VERSION 0x00010001u
#define VDI_TEXT "<<< Oracle VM VirtualBox Disk Image >>>\n"
#define VDI_HEADER_SIZE_FROM 0x48u
#define VDI_HEADER_SIZE_MIN 384u /* to uuid_parent_modification */
#define VDI_HEADER_SIZE 400u     /* to logical_sector_size */

enum vdi_type {
    VDI_TYPE_NORMAL = 1,
    VDI_TYPE_FIXED = 2,
    VDI_TYPE_UNDO = 3,
    VDI_TYPE_DIFFERENCING = 4
};

#define VDI_ENTRY_BYTES 4u
#define VDI_ENTRY_FREE 0xffffffffu /* never written */
#define VDI_ENTRY_ZERO 0xfffffffeu /* discarded: reads as zeros */

/* VirtualBox makes blocks of 1 MiB and nothing else reads others. */
#define VDI_BLOCK_BYTES (UINT32_C(1) << 20)
#define VDI_BLOCK_BYTES_MIN (UINT32_C(4) << 10)
#define VDI_BLOCK_BYTES_MAX (UINT32_C(1) << 30)

/** The header's host values. */
struct vdi_header {
    uint32_t version;
    uint32_t header_size_bytes;
    uint32_t type;
    uint32_t flags;
    uint64_t blocks_offset_bytes;
    uint64_t data_offset_bytes;
    uint32_t sector_bytes; /* of the geometry */
    uint64_t disk_bytes;   /* the guest's */
    uint32_t block_bytes;
    uint32_t block_extra_bytes;
    uint32_t block_count;
    uint32_t blocks_allocated;
    struct ds_guid uuid_image; /* big-endian, as ds_guid has it */
    struct ds_guid uuid_modification;
    struct ds_guid uuid_link; /* of the parent; zeros: none */
};

#endif
