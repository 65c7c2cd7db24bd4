/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHDX as it lies on disk, after [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File
 * Format". Section numbers are that document's. All integers little-endian.
 *
 *   0        64K      128K     192K     256K     320K       1M
 *   | file   | header | header | region | region | reserved | log, metadata,
 *   | type id| 1      | 2      | table 1| table 2|          | BAT, blocks ...
 *
 * Every record has two structs: vhdx_X_disk with the spec's order and names,
 * and vhdx_X with host values and units.
 */
#ifndef VHDX_DISK_H
#define VHDX_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arith.h"
#include "bytes.h"
#include "guid.h"

/* -- places and bounds (2.2) ---------------------------------------------- */

#define VHDX_HEADER_SECTION_BYTES DS_MIB
#define VHDX_IDENTIFIER_OFFSET_BYTES UINT64_C(0)
#define VHDX_HEADER_1_OFFSET_BYTES (64 * DS_KIB)
#define VHDX_HEADER_2_OFFSET_BYTES (128 * DS_KIB)
#define VHDX_REGION_TABLE_1_OFFSET_BYTES (192 * DS_KIB)
#define VHDX_REGION_TABLE_2_OFFSET_BYTES (256 * DS_KIB)
#define VHDX_REGION_TABLE_BYTES (64 * DS_KIB)
#define VHDX_METADATA_TABLE_BYTES (64 * DS_KIB)
#define VHDX_ENTRY_COUNT_MAX 2047u /* of a region or metadata table */
#define VHDX_USER_ENTRY_COUNT_MAX 1024u
#define VHDX_ITEM_BYTES_MAX DS_MIB
#define VHDX_BLOCK_BYTES_MIN DS_MIB
#define VHDX_BLOCK_BYTES_MAX (256 * DS_MIB)
#define VHDX_DISK_BYTES_MAX (64 * DS_TIB)
#define VHDX_CHUNK_SECTORS (UINT64_C(1) << 23) /* 2.4: one bitmap block */

typedef struct {
    uint8_t b[16];
} vhdx_guid_disk; /* mixed-endian */

/* -- file type identifier (2.2.1) ----------------------------------------- */

#define VHDX_CREATOR_UNITS 256u

struct vhdx_identifier_disk {
    uint8_t Signature[8];                /* "vhdxfile" */
    ds_le16 Creator[VHDX_CREATOR_UNITS]; /* UTF-16 */
};
_Static_assert(sizeof(struct vhdx_identifier_disk) == 520, "2.2.1");

/* -- header (2.2.2) ------------------------------------------------------- */

#define VHDX_HEADER_BYTES 4096u

struct vhdx_header_disk {
    uint8_t Signature[4]; /* "head" */
    ds_le32 Checksum;
    ds_le64 SequenceNumber;
    vhdx_guid_disk FileWriteGuid;
    vhdx_guid_disk DataWriteGuid;
    vhdx_guid_disk LogGuid;
    ds_le16 LogVersion;
    ds_le16 Version;
    ds_le32 LogLength;
    ds_le64 LogOffset;
    uint8_t Reserved[4016];
};
_Static_assert(sizeof(struct vhdx_header_disk) == 4096, "2.2.2");
_Static_assert(offsetof(struct vhdx_header_disk, Checksum) == 4, "2.2.2");
_Static_assert(offsetof(struct vhdx_header_disk, LogGuid) == 48, "2.2.2");
_Static_assert(offsetof(struct vhdx_header_disk, Version) == 66, "2.2.2");
_Static_assert(offsetof(struct vhdx_header_disk, LogOffset) == 72, "2.2.2");

struct vhdx_header {
    uint64_t sequence_number;
    struct ds_guid file_write_guid;
    struct ds_guid data_write_guid;
    struct ds_guid log_guid; /* zero: nothing to replay */
    uint16_t log_version;
    uint16_t version;
    uint32_t log_length_bytes;
    uint64_t log_offset_bytes;
};

/* -- region table (2.2.3) ------------------------------------------------- */

struct vhdx_region_table_disk {
    uint8_t Signature[4]; /* "regi" */
    ds_le32 Checksum;     /* over the whole 64 KiB */
    ds_le32 EntryCount;
    ds_le32 Reserved;
};
_Static_assert(sizeof(struct vhdx_region_table_disk) == 16, "2.2.3.1");
_Static_assert(offsetof(struct vhdx_region_table_disk, Checksum) == 4,
               "2.2.3.1");

struct vhdx_region_entry_disk {
    vhdx_guid_disk Guid;
    ds_le64 FileOffset;
    ds_le32 Length;
    ds_le32 Required; /* bit 0 */
};
_Static_assert(sizeof(struct vhdx_region_entry_disk) == 32, "2.2.3.2");
_Static_assert(offsetof(struct vhdx_region_entry_disk, FileOffset) == 16,
               "2.2.3.2");

struct vhdx_region_entry {
    struct ds_guid guid;
    uint64_t offset_bytes;
    uint64_t length_bytes;
    bool required;
};

/* -- log (2.3.1) ---------------------------------------------------------- */

#define VHDX_LOG_SECTOR_BYTES 4096u

struct vhdx_log_entry_disk {
    uint8_t Signature[4]; /* "loge" */
    ds_le32 Checksum;     /* over EntryLength bytes */
    ds_le32 EntryLength;
    ds_le32 Tail;
    ds_le64 SequenceNumber;
    ds_le32 DescriptorCount;
    ds_le32 Reserved;
    vhdx_guid_disk LogGuid;
    ds_le64 FlushedFileOffset;
    ds_le64 LastFileOffset;
};
_Static_assert(sizeof(struct vhdx_log_entry_disk) == 64, "2.3.1.1");
_Static_assert(offsetof(struct vhdx_log_entry_disk, LogGuid) == 32, "2.3.1.1");
_Static_assert(offsetof(struct vhdx_log_entry_disk, LastFileOffset) == 56,
               "2.3.1.1");

struct vhdx_log_entry {
    uint32_t entry_length_bytes;
    uint32_t tail_bytes; /* from the log's beginning */
    uint64_t sequence_number;
    uint32_t descriptor_count;
    uint64_t flushed_file_bytes;
    uint64_t last_file_bytes;
};

/* Data (2.3.1.3) and zero (2.3.1.2) descriptors share their drawing. */
struct vhdx_log_descriptor_disk {
    uint8_t Signature[4];  /* "desc" or "zero" */
    ds_le32 TrailingBytes; /* desc; reserved in zero */
    ds_le64 LeadingBytes;  /* desc; ZeroLength in zero */
    ds_le64 FileOffset;
    ds_le64 SequenceNumber;
};
_Static_assert(sizeof(struct vhdx_log_descriptor_disk) == 32, "2.3.1.3");
_Static_assert(offsetof(struct vhdx_log_descriptor_disk, FileOffset) == 16,
               "2.3.1.3");

struct vhdx_log_sector_disk {
    uint8_t Signature[4]; /* "data" */
    ds_le32 SequenceHigh;
    uint8_t Data[4084];
    ds_le32 SequenceLow;
};
_Static_assert(sizeof(struct vhdx_log_sector_disk) == 4096, "2.3.1.4");

/* -- BAT (2.5) ------------------------------------------------------------ */

#define VHDX_BAT_ENTRY_BYTES 8u
#define VHDX_BAT_STATE_MASK UINT64_C(0x7)
#define VHDX_BAT_RESERVED_MASK UINT64_C(0xffff8)
#define VHDX_BAT_OFFSET_MASK (~UINT64_C(0xfffff)) /* MiB, so bytes as is */

enum vhdx_block_state {
    VHDX_BLOCK_NOT_PRESENT = 0,
    VHDX_BLOCK_UNDEFINED = 1,
    VHDX_BLOCK_ZERO = 2,
    VHDX_BLOCK_UNMAPPED = 3,
    VHDX_BLOCK_FULLY_PRESENT = 6,
    VHDX_BLOCK_PARTIALLY_PRESENT = 7
};

/* Of sector bitmap entries (2.5.1.2). */
enum vhdx_bitmap_state { VHDX_BITMAP_NOT_PRESENT = 0, VHDX_BITMAP_PRESENT = 6 };

/* A sector bitmap block has a bit for each of VHDX_CHUNK_SECTORS. */
#define VHDX_BITMAP_BLOCK_BYTES DS_MIB

/* -- metadata (2.6) ------------------------------------------------------- */

struct vhdx_metadata_table_disk {
    uint8_t Signature[8]; /* "metadata" */
    ds_le16 Reserved;
    ds_le16 EntryCount;
    uint8_t Reserved2[20];
};
_Static_assert(sizeof(struct vhdx_metadata_table_disk) == 32, "2.6.1.1");
_Static_assert(offsetof(struct vhdx_metadata_table_disk, EntryCount) == 10,
               "2.6.1.1");

#define VHDX_ITEM_IS_USER 1u
#define VHDX_ITEM_IS_VIRTUAL_DISK 2u
#define VHDX_ITEM_IS_REQUIRED 4u

struct vhdx_metadata_entry_disk {
    vhdx_guid_disk ItemId;
    ds_le32 Offset; /* from the region's beginning */
    ds_le32 Length;
    ds_le32 Flags;
    ds_le32 Reserved2;
};
_Static_assert(sizeof(struct vhdx_metadata_entry_disk) == 32, "2.6.1.2");
_Static_assert(offsetof(struct vhdx_metadata_entry_disk, Flags) == 24,
               "2.6.1.2");

struct vhdx_metadata_entry {
    struct ds_guid item_id;
    uint64_t offset_bytes; /* from the region's beginning */
    uint64_t length_bytes;
    uint32_t flags;
};

#define VHDX_LEAVE_BLOCK_ALLOCATED 1u
#define VHDX_HAS_PARENT 2u

struct vhdx_file_parameters_disk {
    ds_le32 BlockSize;
    ds_le32 Flags;
};
_Static_assert(sizeof(struct vhdx_file_parameters_disk) == 8, "2.6.2.1");

struct vhdx_locator_disk {
    vhdx_guid_disk LocatorType;
    ds_le16 Reserved;
    ds_le16 KeyValueCount;
};
_Static_assert(sizeof(struct vhdx_locator_disk) == 20, "2.6.2.6.1");

/* Offsets from the locator's beginning; strings in UTF-16, not terminated. */
struct vhdx_locator_entry_disk {
    ds_le32 KeyOffset;
    ds_le32 ValueOffset;
    ds_le16 KeyLength;
    ds_le16 ValueLength;
};
_Static_assert(sizeof(struct vhdx_locator_entry_disk) == 12, "2.6.2.6.2");

/* The five items every file has (2.6.2.1 to 2.6.2.5), in one. */
struct vhdx_parameters {
    uint64_t block_bytes;
    uint32_t flags; /* VHDX_LEAVE_BLOCK_ALLOCATED, VHDX_HAS_PARENT */
    uint64_t virtual_disk_bytes;
    struct ds_guid virtual_disk_id;
    uint32_t logical_sector_bytes;
    uint32_t physical_sector_bytes;
};

/* What follows from them (2.4, 2.5). The entry count is the least that
 * reaches the last payload block; in a differencing disk, the last chunk's
 * sector bitmap. */
struct vhdx_geometry {
    uint64_t chunk_ratio; /* payload blocks per sector bitmap block */
    uint64_t block_count;
    uint64_t chunk_count;
    uint64_t bat_entry_count;
};

#endif
