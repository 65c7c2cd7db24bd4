/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a hosted sparse extent, byte for byte, and the same in host
 * values. "Spec" in this folder is VMware's technical note "Virtual Disk
 * Format 5.0"; see SPEC.md. */
#ifndef VMDK_DISK_H
#define VMDK_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

/* Spec, "Hosted Sparse Extents": SparseExtentHeader, little-endian. Offsets
 * and lengths count sectors of 512 bytes. */
struct vmdk_header_disk {
    ds_le32 magicNumber; /* "KDMV" */
    ds_le32 version;
    ds_le32 flags;
    ds_le64 capacity;
    ds_le64 grainSize;
    ds_le64 descriptorOffset;
    ds_le64 descriptorSize;
    ds_le32 numGTEsPerGT;
    ds_le64 rgdOffset;
    ds_le64 gdOffset;
    ds_le64 overHead;
    uint8_t uncleanShutdown;
    uint8_t singleEndLineChar;
    uint8_t nonEndLineChar;
    uint8_t doubleEndLineChar1;
    uint8_t doubleEndLineChar2;
    ds_le16 compressAlgorithm;
    uint8_t pad[433];
};

_Static_assert(sizeof(struct vmdk_header_disk) == 512, "one sector");
_Static_assert(offsetof(struct vmdk_header_disk, version) == 4, "spec");
_Static_assert(offsetof(struct vmdk_header_disk, flags) == 8, "spec");
_Static_assert(offsetof(struct vmdk_header_disk, capacity) == 12, "spec");
_Static_assert(offsetof(struct vmdk_header_disk, grainSize) == 20, "spec");
_Static_assert(offsetof(struct vmdk_header_disk, descriptorOffset) == 28,
               "spec");
_Static_assert(offsetof(struct vmdk_header_disk, descriptorSize) == 36, "spec");
_Static_assert(offsetof(struct vmdk_header_disk, numGTEsPerGT) == 44, "spec");
_Static_assert(offsetof(struct vmdk_header_disk, rgdOffset) == 48, "spec");
_Static_assert(offsetof(struct vmdk_header_disk, gdOffset) == 56, "spec");
_Static_assert(offsetof(struct vmdk_header_disk, overHead) == 64, "spec");
_Static_assert(offsetof(struct vmdk_header_disk, uncleanShutdown) == 72,
               "spec");
_Static_assert(offsetof(struct vmdk_header_disk, singleEndLineChar) == 73,
               "spec");
_Static_assert(offsetof(struct vmdk_header_disk, compressAlgorithm) == 77,
               "spec");
_Static_assert(offsetof(struct vmdk_header_disk, pad) == 79, "spec");

/* Spec, "Stream-Optimized Compressed Sparse Extents": what stands before each
 * compressed grain (size is that of the data, which follows at once and is
 * padded to a sector; val is the grain's first sector in the guest) and,
 * alone in a sector (size is 0; val is how many sectors follow), before
 * tables, directory and footer and at the end. */
struct vmdk_marker_disk {
    ds_le64 val;
    ds_le32 size;
    ds_le32 type; /* of a grain: its data begins here */
    uint8_t pad[496];
};

_Static_assert(sizeof(struct vmdk_marker_disk) == 512, "one sector");
_Static_assert(offsetof(struct vmdk_marker_disk, type) == 12, "spec");

#define VMDK_GRAIN_MARKER_BYTES 12u
#define VMDK_MARKER_HEAD_BYTES 16u /* the fields of either kind */
enum vmdk_marker_type {
    VMDK_MARKER_EOS,
    VMDK_MARKER_GT,
    VMDK_MARKER_GD,
    VMDK_MARKER_FOOTER
};

#define VMDK_COMPRESS_DEFLATE 1u

/* Entries of grain directories and grain tables. */
typedef ds_le32 vmdk_entry_disk;
_Static_assert(sizeof(vmdk_entry_disk) == 4, "spec");

#define VMDK_MAGIC 0x564d444bu      /* "KDMV" */
#define VMDK_COWD_MAGIC 0x44574f43u /* "COWD": ESX vmfsSparse */
/* seSparse's constant header begins with this 64-bit magic. */
#define VMDK_SESPARSE_MAGIC UINT64_C(0xcafebabe)

#define VMDK_VERSION_MIN 1u
#define VMDK_VERSION_MAX 3u

#define VMDK_FLAG_NEWLINE_TEST (1u << 0)
#define VMDK_FLAG_REDUNDANT (1u << 1)
#define VMDK_FLAG_ZEROED_GRAIN (1u << 2)
#define VMDK_FLAG_COMPRESSED (1u << 16)
#define VMDK_FLAG_MARKERS (1u << 17)
#define VMDK_FLAGS_KNOWN                                                       \
    (VMDK_FLAG_NEWLINE_TEST | VMDK_FLAG_REDUNDANT | VMDK_FLAG_ZEROED_GRAIN |   \
     VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS)

/* gdOffset of a stream: the directory's place is in the footer. */
#define VMDK_GD_AT_END_SECTORS UINT64_MAX

#define VMDK_ENTRY_BYTES 4u
#define VMDK_ENTRY_HOLE 0u /* directory and table alike */
#define VMDK_ENTRY_ZERO 1u /* table, when VMDK_FLAG_ZEROED_GRAIN */

/* Bounds of ours. A grain of one sector is read; the spec writes more than
 * 8. The largest is what other readers take too. */
#define VMDK_GRAIN_BYTES_MIN UINT64_C(512)
#define VMDK_GRAIN_BYTES_MAX (UINT64_C(1) << 30)
#define VMDK_TABLE_ENTRIES_STANDARD 512u
#define VMDK_TABLE_ENTRIES_MAX 65536u
/* Directory entries of one extent: 64 MiB of directory. Admits 512 TiB at
 * grains of 64 KiB, 4 TiB at one sector (with 512 entries per table). The
 * directory is not held in memory; this bounds the time open takes. */
#define VMDK_DIRECTORY_ENTRIES_MAX (UINT64_C(16) << 20)
/* 32-bit sector numbers end here. */
#define VMDK_POINTER_END_BYTES (UINT64_C(1) << 41)

/* A descriptor is some hundred bytes; 2 TiB in extents of 2047 MiB with the
 * longest names are 300 KiB. */
#define VMDK_DESCRIPTOR_BYTES_MAX (UINT64_C(512) * 1024)
/* One that is embedded has one extent. */
#define VMDK_EMBEDDED_BYTES_MAX (UINT64_C(64) * 1024)

/* What a count of sectors beyond 64 bits of bytes becomes: fits nowhere. */
#define VMDK_BYTES_HUGE UINT64_MAX

/** The header in host values. Not validated by decoding: vmdk_header_check.
 * Ends of line are kept for the transfer test. */
struct vmdk_header {
    uint32_t version;
    uint32_t flags; /* VMDK_FLAG_ */
    uint64_t capacity_bytes;
    uint64_t grain_bytes;
    uint64_t descriptor_offset_bytes; /* 0: none embedded */
    uint64_t descriptor_bytes;
    uint32_t entries_per_table;
    uint64_t redundant_directory_offset_bytes;
    uint64_t directory_offset_bytes; /* VMDK_BYTES_HUGE also for GD_AT_END */
    bool directory_at_end;           /* the footer has the directory's place */
    uint64_t overhead_bytes;
    bool unclean_shutdown;
    uint8_t end_of_line[4];
    uint16_t compress_algorithm; /* 0: none */
};

#endif
