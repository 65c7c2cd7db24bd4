/* SPDX-License-Identifier: Apache-2.0 */
/* The records of ESX's own sparse extents, byte for byte: COWD (vmfsSparse)
 * by the spec's "ESX Server Sparse Extents", and seSparse, of which VMware
 * has published no description; see SPEC.md. */
#ifndef VMDK_ESX_DISK_H
#define VMDK_ESX_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

/* -- COWD ------------------------------------------------------------------ */

/* Spec: COWDisk_Header, four sectors. Offsets and lengths in sectors. */
struct vmdk_cowd_header_disk {
    ds_le32 magicNumber; /* "COWD" */
    ds_le32 version;
    ds_le32 flags;
    ds_le32 numSectors;
    ds_le32 grainSize;
    ds_le32 gdOffset;
    ds_le32 numGDEntries;
    ds_le32 freeSector;
    uint8_t u[1028]; /* root: geometry; child: parentFileName, generation */
    ds_le32 generation;
    uint8_t name[60];
    uint8_t description[512];
    ds_le32 savedGeneration;
    uint8_t reserved[8];
    ds_le32 uncleanShutdown;
    uint8_t padding[396];
};

_Static_assert(sizeof(struct vmdk_cowd_header_disk) == 2048, "spec");
_Static_assert(offsetof(struct vmdk_cowd_header_disk, grainSize) == 16, "spec");
_Static_assert(offsetof(struct vmdk_cowd_header_disk, freeSector) == 28,
               "spec");
_Static_assert(offsetof(struct vmdk_cowd_header_disk, generation) == 1060,
               "spec");
_Static_assert(offsetof(struct vmdk_cowd_header_disk, savedGeneration) == 1636,
               "spec");
_Static_assert(offsetof(struct vmdk_cowd_header_disk, uncleanShutdown) == 1648,
               "spec");

#define VMDK_COWD_VERSION 1u
#define VMDK_COWD_FLAGS_KNOWN 3u /* the spec says 3 and not what it means */
#define VMDK_COWD_TABLE_ENTRIES 4096u

/* -- seSparse --------------------------------------------------------------
 * Little-endian 64-bit words; offsets and sizes in sectors. */

struct vmdk_sesparse_area_disk {
    ds_le64 offset;
    ds_le64 size;
};

struct vmdk_sesparse_header_disk {
    ds_le64 magic;
    ds_le64 version;
    ds_le64 capacity;
    ds_le64 grain_size;
    ds_le64 grain_table_size;
    ds_le64 flags;
    ds_le64 reserved[4];
    struct vmdk_sesparse_area_disk volatile_header;
    struct vmdk_sesparse_area_disk journal_header;
    struct vmdk_sesparse_area_disk journal;
    struct vmdk_sesparse_area_disk grain_directory;
    struct vmdk_sesparse_area_disk grain_tables;
    struct vmdk_sesparse_area_disk free_bitmap;
    struct vmdk_sesparse_area_disk backmap;
    struct vmdk_sesparse_area_disk grains;
    uint8_t pad[304];
};

_Static_assert(sizeof(struct vmdk_sesparse_header_disk) == 512, "one sector");
_Static_assert(offsetof(struct vmdk_sesparse_header_disk, volatile_header) ==
                   80,
               "layout");
_Static_assert(offsetof(struct vmdk_sesparse_header_disk, grains) == 192,
               "layout");

struct vmdk_sesparse_volatile_disk {
    ds_le64 magic;
    ds_le64 free_table_number;
    ds_le64 next_transaction_number;
    ds_le64 replay_journal;
    uint8_t pad[480];
};

_Static_assert(sizeof(struct vmdk_sesparse_volatile_disk) == 512, "one sector");

#define VMDK_SESPARSE_VERSION UINT64_C(0x0000000200000001)
#define VMDK_SESPARSE_VOLATILE_MAGIC UINT64_C(0xcafecafe)
#define VMDK_SESPARSE_GRAIN_BYTES UINT64_C(4096)
#define VMDK_SESPARSE_GRAIN_SHIFT 12u
#define VMDK_SESPARSE_TABLE_BYTES UINT64_C(32768)
#define VMDK_SESPARSE_ENTRY_BYTES 8u
#define VMDK_SESPARSE_TABLE_ENTRIES                                            \
    (VMDK_SESPARSE_TABLE_BYTES / VMDK_SESPARSE_ENTRY_BYTES)
#define VMDK_SESPARSE_SPAN_SHIFT 24u /* a table's part of the guest: 16 MiB */
/* 64 MiB of directory: 128 TiB; ESXi's disks end at 62 TiB. */
#define VMDK_SESPARSE_DIRECTORY_ENTRIES_MAX (UINT64_C(8) << 20)

/* Directory entries: nothing, or this in the upper half and the table's index
 * in the lower. */
#define VMDK_SESPARSE_TABLE_PRESENT UINT64_C(0x10000000)

/* Table entries: the type is the highest nibble. The grain's index has its
 * lower 12 bits in bits 48 to 59 and its upper bits in bits 0 to 47. */
#define VMDK_SESPARSE_TYPE_SHIFT 60u
enum vmdk_sesparse_type {
    VMDK_SESPARSE_UNALLOCATED,
    VMDK_SESPARSE_UNMAPPED, /* given back by the guest: zeros */
    VMDK_SESPARSE_ZERO,
    VMDK_SESPARSE_ALLOCATED
};

static inline uint64_t vmdk_sesparse_grain_index(uint64_t entry)
{
    return (entry >> 48 & 0xfff) | (entry & UINT64_C(0xffffffffffff)) << 12;
}

#endif
