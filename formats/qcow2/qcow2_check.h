/* SPDX-License-Identifier: Apache-2.0 */
/* What both the reader and the writer hold a qcow2 image against. */
#ifndef DS_QCOW2_CHECK_H
#define DS_QCOW2_CHECK_H

#include "format.h"
#include "qcow2_disk.h"

#define QCOW2_FIXED_COUNT_MAX 5u

/** What every pointer of an image is judged by. */
struct qcow2_shape {
    const struct ds_file *file; /* for messages; NULL while writing */
    uint64_t file_bytes;
    uint64_t cluster_bytes;
    uint32_t cluster_bits;
    uint32_t version;
    bool extended;  /* L2 entries have two words */
    bool encrypted; /* so nothing is compressed */
    /* Where data lies: `file`, or an external data file, whose offsets are
     * the guest's. */
    bool external;
    const struct ds_file *data_file;
    uint64_t data_file_bytes;
    /* The header and the tables it points at, on whole clusters. Overlaps
     * between records are found here, those with data by the engine. */
    uint32_t fixed_count;
    struct qcow2_fixed {
        const char *name;
        uint64_t begin_bytes;
        uint64_t end_bytes;
    } fixed[QCOW2_FIXED_COUNT_MAX];
};

/** A pointer to one of the image's own tables. */
struct qcow2_pointer {
    const char *name;      /* "header: l1_table_offset" */
    uint64_t at_bytes;     /* where the pointer lies */
    uint64_t offset_bytes; /* what it holds */
    uint64_t length_bytes; /* of what it points at */
};

/** Decode `length` bytes at the file's start. Fields beyond `length` or
 * beyond the version's header are zero. Pure: checks nothing. */
void qcow2_header_decode(const uint8_t *bytes, size_t length,
                         struct qcow2_header *out);
/** Pure. Version 2 uses the first QCOW2_HEADER_V2_BYTES of it. */
void qcow2_header_encode(const struct qcow2_header *header,
                         struct qcow2_header_disk *out);

/** Whether the fields can be interpreted at all: version, cluster size,
 * header length, refcount width. */
int qcow2_header_check_form(const struct qcow2_header *header,
                            const struct ds_file *file, struct ds_error *err);
/** Sizes and table pointers, against the shape's file size. Adds them to the
 * shape's fixed tables. */
int qcow2_header_check_tables(const struct qcow2_header *header,
                              struct qcow2_shape *shape, struct ds_error *err);

/** Not 0, on a cluster, inside the file as a whole, and apart from the fixed
 * tables. */
int qcow2_table_check(const struct qcow2_shape *shape,
                      const struct qcow2_pointer *pointer,
                      struct ds_error *err);
/** The same but for the last. */
int qcow2_pointer_check(const struct qcow2_shape *shape,
                        const struct qcow2_pointer *pointer,
                        struct ds_error *err);

/** L1 entries that `size_bytes` of guest need. Extended L2 entries take twice
 * the room. */
uint64_t qcow2_l1_entry_count(uint64_t size_bytes, uint32_t cluster_bits,
                              bool extended);
/** The same, for the header's own cluster size and features. */
uint64_t qcow2_l1_entry_count_of(const struct qcow2_header *header,
                                 uint64_t size_bytes);

/** What one L1 entry admits, as a power of two. */
static inline unsigned qcow2_l1_shift(const struct qcow2_shape *shape)
{
    return 2 * shape->cluster_bits - (shape->extended ? 4 : 3);
}

static inline unsigned qcow2_l2_entry_bytes(const struct qcow2_shape *shape)
{
    return shape->extended ? 16 : 8;
}

/** The L2 table's offset, 0 where there is none. */
int qcow2_l1_entry_check(const struct qcow2_shape *shape, uint64_t raw,
                         uint64_t at_bytes, uint64_t *out,
                         struct ds_error *err);

/** An L2 entry as it lies, and whose it is. */
struct qcow2_l2_raw {
    uint64_t descriptor;
    uint64_t subclusters;        /* extended only */
    uint64_t at_bytes;           /* of the entry, in the file */
    uint64_t guest_offset_bytes; /* where its cluster begins */
    uint64_t visible_bytes;      /* of the cluster, on the guest's disk */
};
int qcow2_l2_entry_check(const struct qcow2_shape *shape,
                         const struct qcow2_l2_raw *raw,
                         struct qcow2_l2_entry *out, struct ds_error *err);
/** The refcount block's offset, 0 where there is none. */
int qcow2_refcount_entry_check(const struct qcow2_shape *shape, uint64_t raw,
                               uint64_t at_bytes, uint64_t *out,
                               struct ds_error *err);

/** An entry of a refcount block, 2^order bits wide (qcow2: Host cluster
 * management): widths below a byte begin at its lowest bits, wider ones are
 * big-endian. Pure; `value` must fit. */
uint64_t qcow2_refcount_get(const uint8_t *block, uint32_t order,
                            uint64_t index);
void qcow2_refcount_put(uint8_t *block, uint32_t order, uint64_t index,
                        uint64_t value);

/** Entries of a refcount block. */
static inline uint64_t qcow2_refcount_entries(uint32_t cluster_bits,
                                              uint32_t order)
{
    return UINT64_C(1) << (cluster_bits + 3 - order);
}

/** Decode the fixed part of a snapshot table entry. Pure. */
void qcow2_snapshot_decode(const struct qcow2_snapshot_disk *wire,
                           struct qcow2_snapshot *out);

/**
 * The header extension at `offset` of the `length` bytes at the file's
 * start. Returns 1 with *out, 0 at the end of the extensions, or CORRUPT.
 */
int qcow2_extension_next(const struct ds_file *file, const uint8_t *bytes,
                         size_t length, size_t offset,
                         struct qcow2_extension *out, struct ds_error *err);

/** Whether features and encryption are known and agree with each other.
 * `bytes` as for qcow2_extension_next. */
int qcow2_features_check(const struct qcow2_header *header,
                         const struct ds_file *file, const uint8_t *bytes,
                         size_t length, struct ds_error *err);

/** Copies text of the image's into a message's: printable ASCII only. */
void qcow2_copy_printable(char *to, size_t to_bytes, const uint8_t *from,
                          size_t from_bytes);

#endif
