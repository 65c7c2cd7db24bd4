/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream of operations: splits transfers into what can be cloned and
 * what must be copied, joins table writes, counts, hands batches on.
 *
 * Memory: one batch of operations and one arena of table bytes. A batch is
 * handed on when either is full; whoever receives it is done with it when
 * the call returns, which is a barrier in itself. BARRIER operations say
 * where order matters for a receiver that would like to overlap batches.
 */
#ifndef DS_CORE_EMIT_H
#define DS_CORE_EMIT_H

#include "buffer.h"
#include "format.h"
#include "place.h"

#define EMIT_OP_COUNT 512u
#define EMIT_PAGE_BYTES ((size_t)4096)
/* Tables under way: a huge page, which is met in a twentieth of the time that
 * its 512 small ones take, and which storage takes in one piece (buffer.h). */
#define EMIT_ARENA_BYTES (DS_BUFFER_HUGE_BYTES - EMIT_PAGE_BYTES)

struct emit {
    struct ds_emitter emitter; /* what formats write tables through */
    const struct ds_clone_domain *domains;
    struct ds_file *const *sources;
    const struct ds_target_layout *layout;
    bool has_base;
    uint64_t tail_end_bytes; /* the place where the data ends, if the file does
                                too; DS_OFFSET_NONE otherwise */
    struct ds_totals totals;
    ds_op_fn *receive; /* NULL: count only */
    void *user;
    struct ds_op *ops;
    size_t op_count;
    uint8_t *arena; /* EMIT_ARENA_BYTES, and a page for the phase */
    size_t arena_used;
    size_t write_index; /* of the last WRITE, if others may still join it;
                           else EMIT_OP_COUNT */
    uint64_t repeat_offset_bytes; /* where the bytes were written that repeat */
    unsigned repeat_count;        /* how many places share those */
    bool can_repeat;
    size_t arena_phase; /* bytes begin in memory as in the file, modulo the
                           page: then stores can write past a cache */
};

/** Fill in domains, sources, layout, has_base, receive and user before. */
int emit_init(struct emit *emit, uint64_t guest_size_bytes,
              struct ds_error *err);
void emit_free(struct emit *emit);

int emit_op(struct emit *emit, const struct ds_op *op, struct ds_error *err);
int emit_barrier(struct emit *emit, struct ds_error *err);

/** Bring bytes from a source to the data file: clone what can be, copy the
 * rest, with the reason. */
int emit_transfer(struct emit *emit, const struct transfer *transfer,
                  struct ds_error *err);

/** Count bytes that a punch beside them takes out of sharing. The range may
 * hold zeros as well, so no more than there is. */
void totals_unshare(struct ds_totals *totals, uint64_t bytes);

/** Hand on what is left. */
int emit_flush(struct emit *emit, struct ds_error *err);

#endif
