/* SPDX-License-Identifier: Apache-2.0 */
/* A qcow2 file being laid out: qcow2_options.c says what is wanted,
 * qcow2_target.c makes it and decides where tables lie, qcow2_write.c and
 * qcow2_write_refcounts.c fill them, qcow2_stream.c emits them. */
#ifndef DS_QCOW2_TARGET_H
#define DS_QCOW2_TARGET_H

#include "qcow2.h"

#define QCOW2_NO_SLOT UINT64_MAX
/* With the longest header it fits into the smallest cluster that we write. */
#define QCOW2_DATA_NAME_BYTES_MAX 1023u

/* Tables that lie one behind another, written front to back. */
struct table_stream {
    uint64_t offset_bytes; /* of the first, in the file */
    uint8_t *buffer;
    uint64_t begin_bytes; /* of what is buffered, in the stream; on a page */
    uint64_t end_bytes;   /* the same; equal: nothing is */
};

struct qcow2_target {
    struct ds_target base;
    uint32_t version;
    uint32_t cluster_bits;
    uint64_t size_bytes;
    uint64_t cluster_bytes;
    bool extended; /* L2 entries have two words */
    bool external; /* data lies in file 1, at the guest's offsets */
    bool grafted;  /* the file's first cluster holds something else */
    uint32_t refcount_order;

    /* from the first pass */
    uint64_t l1_entry_count;
    uint64_t l2_table_count;
    uint64_t counted_slot_end; /* slots before it are counted */

    /* from the seal */
    uint64_t l1_clusters;
    uint64_t refcount_table_clusters;
    uint64_t refcount_block_count;
    uint64_t l1_offset_bytes;
    uint64_t refcount_table_offset_bytes;
    uint64_t refcount_blocks_offset_bytes;
    uint64_t l2_offset_bytes;
    uint64_t file_clusters;
    char data_file_name[QCOW2_DATA_NAME_BYTES_MAX + 1]; /* external only */

    /* the second pass */
    ds_be64 *l1;
    struct table_stream l2;
    uint64_t l2_begun;  /* tables */
    uint64_t slot;      /* whose table is the last begun */
    uint64_t unit_next; /* no run begins before it */
    struct table_stream blocks;
    uint64_t used_end_bytes; /* no range begins before it */

    /* compressed units: see qcow2_encode.c */
    enum ds_codec encode;
    uint8_t compression_type;
    bool encode_begun;
    uint64_t data_start_bytes;
    uint64_t area_start_bytes;
    uint64_t next_bytes;    /* whole clusters are free from here on */
    uint64_t partial_bytes; /* a cluster begun is free from here ... */
    uint64_t partial_end;   /* ... to here; equal: there is none */
    uint64_t encoded_bytes; /* the file's size after finish */
};

/** Entries of an L2 table. */
static inline uint64_t qcow2_l2_entries(const struct qcow2_target *target)
{
    return target->cluster_bytes / (target->extended ? 16 : 8);
}

/** Entries of a cluster of the refcount table. */
static inline uint64_t qcow2_table_entries(const struct qcow2_target *target)
{
    return target->cluster_bytes / sizeof(ds_be64);
}

/** Entries of a refcount block. */
static inline uint64_t qcow2_block_entries(const struct qcow2_target *target)
{
    return qcow2_refcount_entries(target->cluster_bits, target->refcount_order);
}

/* qcow2_options.c */
int qcow2_options_parse(const struct ds_target_request *request,
                        struct qcow2_target *target, struct ds_error *err);

/* qcow2_stream.c */
/** The most that can be asked for at once. */
#define QCOW2_STREAM_BYTES_MAX (UINT64_C(64) * 1024)
int qcow2_stream_open(struct table_stream *stream, struct ds_error *err);
/** Begin a pass over the tables at `offset_bytes` of the file. */
void qcow2_stream_rewind(struct table_stream *stream, uint64_t offset_bytes);
/** The bytes [at, at + length) of the stream, zeros where nothing was put yet.
 * They may be changed until the next call. */
int qcow2_stream_at(struct table_stream *stream, uint64_t at_bytes,
                    uint64_t length_bytes, struct ds_emitter *emitter,
                    uint8_t **out, struct ds_error *err);
int qcow2_stream_flush(struct table_stream *stream, struct ds_emitter *emitter,
                       struct ds_error *err);

/* qcow2_write.c */
int qcow2_map_changed(const char *record, struct ds_error *err);
/** Forget all L2 entries of a pass. */
void qcow2_target_rewind(struct qcow2_target *target);
/** Set an entry of the table begun last. The second word only where entries
 * are extended. */
int qcow2_l2_set(struct qcow2_target *target, uint64_t index, uint64_t entry,
                 uint64_t subclusters, struct ds_emitter *emitter,
                 struct ds_error *err);
/** Make the entries of `slot` of L1 the next to be filled, in a new table if
 * it is not the last one's. */
int qcow2_l2_begin(struct qcow2_target *target, uint64_t slot,
                   struct ds_error *err);

/* qcow2_write_refcounts.c */
/** Forget all reference counts of a pass. */
void qcow2_target_rewind_used(struct qcow2_target *target);
/** Whether the count of a cluster, once counted, can still grow. */
bool qcow2_refcount_is_open(const struct qcow2_target *target,
                            uint64_t cluster);
/** The count so far of a cluster that is open. */
uint64_t qcow2_refcount_have(const struct qcow2_target *target,
                             uint64_t cluster);
/** Count one more reference to a cluster that is open or was never counted. */
int qcow2_refcount_add(struct qcow2_target *target, uint64_t cluster,
                       struct ds_emitter *emitter, struct ds_error *err);
/** What is left of the blocks, and the table that points at them. */
int qcow2_refcounts_finish(struct qcow2_target *target,
                           struct ds_emitter *emitter, struct ds_error *err);

/* qcow2_encode.c */
int qcow2_encode_finish(struct qcow2_target *target, struct ds_emitter *emitter,
                        struct ds_error *err);

#endif
