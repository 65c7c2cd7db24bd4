/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2's records: for each the bytes as the format document draws them
 * (..._disk) and the values that the rest of this folder works with.
 * "qcow2: <section>" cites docs/interop/qcow2 of the QEMU project.
 *
 *   header -> L1 table -> L2 tables -> clusters      where the guest's bytes
 * are header -> refcount table -> refcount blocks      which clusters are in
 * use header -> snapshot table -> L1 tables            older states
 */
#ifndef DS_QCOW2_DISK_H
#define DS_QCOW2_DISK_H

#include <stddef.h>

#include "arith.h"
#include "bytes.h"

/* -- header (qcow2: Header) ---------------------------------------------- */

#define QCOW2_MAGIC UINT32_C(0x514649fb) /* "QFI\xfb" */
#define QCOW2_HEADER_V2_BYTES 72u
#define QCOW2_HEADER_V3_BYTES_MIN 104u

struct qcow2_header_disk {
    ds_be32 magic;
    ds_be32 version;
    ds_be64 backing_file_offset;
    ds_be32 backing_file_size;
    ds_be32 cluster_bits;
    ds_be64 size;
    ds_be32 crypt_method;
    ds_be32 l1_size;
    ds_be64 l1_table_offset;
    ds_be64 refcount_table_offset;
    ds_be32 refcount_table_clusters;
    ds_be32 nb_snapshots;
    ds_be64 snapshots_offset;
    /* version 2 ends here */
    ds_be64 incompatible_features;
    ds_be64 compatible_features;
    ds_be64 autoclear_features;
    ds_be32 refcount_order;
    ds_be32 header_length;
    uint8_t compression_type; /* when header_length is over 104 */
    uint8_t padding[7];
};
_Static_assert(sizeof(struct qcow2_header_disk) == 112, "qcow2 header");
_Static_assert(offsetof(struct qcow2_header_disk, version) == 4, "");
_Static_assert(offsetof(struct qcow2_header_disk, backing_file_offset) == 8,
               "");
_Static_assert(offsetof(struct qcow2_header_disk, backing_file_size) == 16, "");
_Static_assert(offsetof(struct qcow2_header_disk, cluster_bits) == 20, "");
_Static_assert(offsetof(struct qcow2_header_disk, size) == 24, "");
_Static_assert(offsetof(struct qcow2_header_disk, crypt_method) == 32, "");
_Static_assert(offsetof(struct qcow2_header_disk, l1_size) == 36, "");
_Static_assert(offsetof(struct qcow2_header_disk, l1_table_offset) == 40, "");
_Static_assert(offsetof(struct qcow2_header_disk, refcount_table_offset) == 48,
               "");
_Static_assert(offsetof(struct qcow2_header_disk, refcount_table_clusters) ==
                   56,
               "");
_Static_assert(offsetof(struct qcow2_header_disk, nb_snapshots) == 60, "");
_Static_assert(offsetof(struct qcow2_header_disk, snapshots_offset) == 64, "");
_Static_assert(offsetof(struct qcow2_header_disk, incompatible_features) == 72,
               "");
_Static_assert(offsetof(struct qcow2_header_disk, compatible_features) == 80,
               "");
_Static_assert(offsetof(struct qcow2_header_disk, autoclear_features) == 88,
               "");
_Static_assert(offsetof(struct qcow2_header_disk, refcount_order) == 96, "");
_Static_assert(offsetof(struct qcow2_header_disk, header_length) == 100, "");
_Static_assert(offsetof(struct qcow2_header_disk, compression_type) == 104, "");

struct qcow2_header {
    uint32_t version;
    uint64_t backing_file_offset_bytes; /* 0: none */
    uint32_t backing_file_bytes;
    uint32_t cluster_bits;
    uint64_t size_bytes; /* the guest's */
    uint32_t crypt_method;
    uint32_t l1_entry_count;
    uint64_t l1_offset_bytes;
    uint64_t refcount_table_offset_bytes;
    uint32_t refcount_table_clusters;
    uint32_t snapshot_count;
    uint64_t snapshots_offset_bytes;
    uint64_t incompatible_features; /* 0 for version 2, as all below */
    uint64_t compatible_features;
    uint64_t autoclear_features;
    uint32_t refcount_order;      /* 4 for version 2 */
    uint32_t header_length_bytes; /* 72 for version 2 */
    uint8_t compression_type;
};

#define QCOW2_CRYPT_NONE 0u
#define QCOW2_CRYPT_AES 1u
#define QCOW2_CRYPT_LUKS 2u

#define QCOW2_COMPRESSION_ZLIB 0u
#define QCOW2_COMPRESSION_ZSTD 1u

#define QCOW2_INCOMPATIBLE_DIRTY (UINT64_C(1) << 0)
#define QCOW2_INCOMPATIBLE_CORRUPT (UINT64_C(1) << 1)
#define QCOW2_INCOMPATIBLE_DATA_FILE (UINT64_C(1) << 2)
#define QCOW2_INCOMPATIBLE_COMPRESSION (UINT64_C(1) << 3)
#define QCOW2_INCOMPATIBLE_EXTENDED_L2 (UINT64_C(1) << 4)
#define QCOW2_INCOMPATIBLE_KNOWN UINT64_C(0x1f)

#define QCOW2_COMPATIBLE_LAZY_REFCOUNTS (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_BITMAPS (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_DATA_FILE_RAW (UINT64_C(1) << 1)

/* -- bounds -------------------------------------------------------------- */

#define QCOW2_CLUSTER_BITS_MIN 9u           /* the document's */
#define QCOW2_CLUSTER_BITS_MAX 21u          /* QEMU's: 2 MiB */
#define QCOW2_CLUSTER_BITS_EXTENDED_MIN 14u /* subclusters of 512 bytes */
#define QCOW2_REFCOUNT_ORDER_MAX 6u
#define QCOW2_REFCOUNT_ORDER_V2 4u /* version 2 has no other */
#define QCOW2_BACKING_NAME_BYTES_MAX 1023u

/* QEMU's limits, which the document names. An L1 table of 32 MiB admits
 * 128 GiB with 512-byte clusters, 8 TiB with 4 KiB, 2 PiB with 64 KiB, 2 EiB
 * with 2 MiB. */
#define QCOW2_L1_BYTES_MAX (32 * DS_MIB)
#define QCOW2_L1_ENTRY_COUNT_MAX (QCOW2_L1_BYTES_MAX / 8)
/* With 16-bit refcounts: 8 TiB of file with 4 KiB clusters, 2 PiB with 64. */
#define QCOW2_REFCOUNT_TABLE_BYTES_MAX (8 * DS_MIB)
/* The document has none; as many as a person could ever have made. */
#define QCOW2_SNAPSHOT_COUNT_MAX 65536u
/* L1 and L2 entries hold bits 9 to 55 of an offset. */
#define QCOW2_FILE_BYTES_MAX (UINT64_C(1) << 56)

/* -- header extensions (qcow2: Header extensions) ------------------------ */

struct qcow2_extension_disk {
    ds_be32 type;
    ds_be32 length;
    /* data, padded to a multiple of 8 */
};
_Static_assert(sizeof(struct qcow2_extension_disk) == 8, "qcow2 extension");

struct qcow2_extension {
    uint32_t type;
    uint32_t data_bytes;
    size_t data_offset; /* in the buffer that was walked, as next_offset */
    size_t next_offset;
};

#define QCOW2_EXTENSION_END UINT32_C(0x00000000)
#define QCOW2_EXTENSION_FEATURE_NAMES UINT32_C(0x6803f857)
#define QCOW2_EXTENSION_BITMAPS UINT32_C(0x23852875)
#define QCOW2_EXTENSION_BACKING_FORMAT UINT32_C(0xe2792aca)
#define QCOW2_EXTENSION_DATA_FILE UINT32_C(0x44415441)
#define QCOW2_EXTENSION_CRYPT_HEADER UINT32_C(0x0537be77)

/* qcow2: Feature name table */
struct qcow2_feature_name_disk {
    uint8_t type;
    uint8_t bit;
    char name[46]; /* zero-padded, not always terminated */
};
_Static_assert(sizeof(struct qcow2_feature_name_disk) == 48,
               "qcow2 feature name");
#define QCOW2_FEATURE_TYPE_INCOMPATIBLE 0u

/* qcow2: Bitmaps extension */
struct qcow2_bitmaps_disk {
    ds_be32 nb_bitmaps;
    ds_be32 reserved;
    ds_be64 bitmap_directory_size;
    ds_be64 bitmap_directory_offset;
};
_Static_assert(sizeof(struct qcow2_bitmaps_disk) == 24, "qcow2 bitmaps");
_Static_assert(offsetof(struct qcow2_bitmaps_disk, bitmap_directory_offset) ==
                   16,
               "");

/* qcow2: Full disk encryption header pointer */
struct qcow2_crypt_header_disk {
    ds_be64 offset;
    ds_be64 length;
};
_Static_assert(sizeof(struct qcow2_crypt_header_disk) == 16,
               "qcow2 full disk encryption header pointer");

/* qcow2: Bitmap directory */
struct qcow2_bitmap_disk {
    ds_be64 bitmap_table_offset;
    ds_be32 bitmap_table_size; /* entries */
    ds_be32 flags;
    uint8_t type;
    uint8_t granularity_bits;
    ds_be16 name_size;
    ds_be32 extra_data_size;
    /* extra data, name, padded to a multiple of 8 */
};
_Static_assert(sizeof(struct qcow2_bitmap_disk) == 24, "qcow2 bitmap");
_Static_assert(offsetof(struct qcow2_bitmap_disk, name_size) == 18, "");

/* -- snapshot table entry (qcow2: Snapshots) ----------------------------- */

struct qcow2_snapshot_disk {
    ds_be64 l1_table_offset;
    ds_be32 l1_size;
    ds_be16 id_str_size;
    ds_be16 name_size;
    ds_be32 date_sec;
    ds_be32 date_nsec;
    ds_be64 vm_clock_nsec;
    ds_be32 vm_state_size;
    ds_be32 extra_data_size;
    /* extra data, id, name, padded to a multiple of 8 */
};
_Static_assert(sizeof(struct qcow2_snapshot_disk) == 40, "qcow2 snapshot");
_Static_assert(offsetof(struct qcow2_snapshot_disk, l1_size) == 8, "");
_Static_assert(offsetof(struct qcow2_snapshot_disk, id_str_size) == 12, "");
_Static_assert(offsetof(struct qcow2_snapshot_disk, name_size) == 14, "");
_Static_assert(offsetof(struct qcow2_snapshot_disk, vm_clock_nsec) == 24, "");
_Static_assert(offsetof(struct qcow2_snapshot_disk, extra_data_size) == 36, "");

/* Its extra data; a record holds as much of it as its writer knew. */
struct qcow2_snapshot_extra_disk {
    ds_be64 vm_state_size;
    ds_be64 disk_size;
    ds_be64 icount;
};
_Static_assert(sizeof(struct qcow2_snapshot_extra_disk) == 24,
               "qcow2 snapshot extra data");

struct qcow2_snapshot {
    uint64_t l1_offset_bytes;
    uint64_t l1_entry_count;
    uint32_t extra_bytes;
    uint32_t id_bytes;
    uint32_t name_bytes;
    uint32_t created_seconds;
    uint64_t entry_bytes; /* with id and name, without the padding */
    /* from the extra data */
    bool has_size;
    uint64_t size_bytes; /* the guest's disk then */
};

/* -- table entries: 64 bits, big-endian ---------------------------------- */

/* qcow2: Cluster mapping, L1 table entry */
#define QCOW2_L1_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define QCOW2_L1_RESERVED_MASK UINT64_C(0x7f000000000001ff)

/* qcow2: Cluster mapping, L2 table entry. COPIED says that the refcount is
 * one; it matters to who writes into the image, never to who reads it. */
#define QCOW2_COPIED (UINT64_C(1) << 63)
#define QCOW2_L2_COMPRESSED (UINT64_C(1) << 62)
#define QCOW2_L2_ZERO UINT64_C(1)
#define QCOW2_L2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define QCOW2_L2_RESERVED_MASK UINT64_C(0x3f000000000001fe)

/* qcow2: Host cluster management, refcount table entry */
#define QCOW2_REFCOUNT_OFFSET_MASK UINT64_C(0xfffffffffffffe00)
#define QCOW2_REFCOUNT_RESERVED_MASK UINT64_C(0x00000000000001ff)

/* qcow2: Compressed Clusters Descriptor. The offset has the bits below a
 * border that depends on the cluster size, the count of further sectors those
 * from there to 61. */
static inline unsigned qcow2_compressed_offset_bits(uint32_t cluster_bits)
{
    return 62 - (cluster_bits - 8);
}

/* qcow2: Extended L2 Entries. A second word holds two bits for each of 32
 * subclusters, subcluster 0 in the lowest. */
#define QCOW2_SUBCLUSTER_COUNT 32u
#define QCOW2_SUBCLUSTERS_ALLOCATED UINT64_C(0x00000000ffffffff)
#define QCOW2_SUBCLUSTERS_ZERO UINT64_C(0xffffffff00000000)

/* qcow2: Bitmap table */
#define QCOW2_BITMAP_OFFSET_MASK UINT64_C(0x00fffffffffffe00)

enum qcow2_cluster_kind {
    QCOW2_CLUSTER_HOLE,
    QCOW2_CLUSTER_ZERO,
    QCOW2_CLUSTER_DATA,
    QCOW2_CLUSTER_COMPRESSED,
    QCOW2_CLUSTER_MIXED /* its subclusters differ: see `subclusters` */
};

struct qcow2_l2_entry {
    enum qcow2_cluster_kind kind;
    uint64_t host_offset_bytes; /* also where nothing of it is read; 0: none */
    uint64_t stored_bytes;      /* COMPRESSED: at most */
    uint64_t subclusters;       /* extended: the second word */
};

#endif
