/* SPDX-License-Identifier: Apache-2.0 */
/* A qcow2 file being laid out: qcow2_target.c makes it and decides where
 * tables lie, qcow2_write.c fills and emits them. */
#ifndef DS_QCOW2_TARGET_H
#define DS_QCOW2_TARGET_H

#include "qcow2.h"

#define QCOW2_NO_SLOT UINT64_MAX

/* A stretch of same-sized tables that is filled and written front to back. */
struct table_stream {
    uint8_t *buffer;
    uint64_t buffer_tables; /* how many fit */
    uint64_t first_table;   /* the buffer's, in the stream */
};

struct qcow2_target {
    struct ds_target base;
    uint32_t version;
    uint32_t cluster_bits;
    uint64_t size_bytes;
    uint64_t cluster_bytes;

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

/** Entries of 64 bits in a cluster: of an L2 table, of the refcount table. */
static inline uint64_t
qcow2_entries_per_cluster(const struct qcow2_target *target)
{
    return target->cluster_bytes / sizeof(ds_be64);
}

/* qcow2_write.c */
int qcow2_map_changed(const char *record, struct ds_error *err);
/** Forget all L2 entries of a pass. */
void qcow2_target_rewind(struct qcow2_target *target);
/** Forget all reference counts of a pass. */
void qcow2_target_rewind_used(struct qcow2_target *target);
/** Set an entry of the table begun last. */
void qcow2_l2_set(struct qcow2_target *target, uint64_t index, uint64_t entry);
/** Make the entries of `slot` of L1 the next to be filled, in a new table if
 * it is not the last one's. */
int qcow2_l2_begin(struct qcow2_target *target, uint64_t slot,
                   struct ds_emitter *emitter, struct ds_error *err);
/** Count one more reference to a cluster whose count is not flushed yet. */
int qcow2_refcount_add(struct qcow2_target *target, uint64_t cluster,
                       struct ds_emitter *emitter, struct ds_error *err);

/* qcow2_encode.c */
int qcow2_encode_finish(struct qcow2_target *target, struct ds_emitter *emitter,
                        struct ds_error *err);

#endif
