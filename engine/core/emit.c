/* SPDX-License-Identifier: Apache-2.0 */
#include "emit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "codec.h"
#include "fail.h"

int emit_flush(struct emit *emit, struct ds_error *err)
{
    int result = 0;

    if (emit->op_count > 0 && emit->receive != NULL)
        result = emit->receive(emit->user, emit->ops, emit->op_count, err);
    emit->op_count = 0;
    emit->arena_used = 0;
    emit->write_index = EMIT_OP_COUNT;
    return result;
}

void totals_unshare(struct ds_totals *totals, uint64_t bytes)
{
    bytes = ds_min_u64(bytes, totals->shared_bytes);
    totals->shared_bytes -= bytes;
    totals->unshared_bytes += bytes;
}

static void account(struct ds_totals *totals, const struct ds_op *op)
{
    totals->op_count[op->kind]++;
    switch (op->kind) {
    case DS_OP_CLONE:
    case DS_OP_CLONE_FILE:
        totals->shared_bytes += op->data_bytes;
        break;
    case DS_OP_COPY:
    case DS_OP_ENCODE:
        totals->copied_bytes[op->reason] += op->data_bytes;
        break;
    case DS_OP_DECODE:
        totals->decoded_bytes += op->data_bytes;
        if (op->reason == DS_COPY_ENCRYPTED)
            totals->decrypted_bytes += op->data_bytes;
        break;
    case DS_OP_WRITE:
        totals->metadata_bytes += op->length_bytes;
        break;
    case DS_OP_PUNCH:
        totals->punched_bytes += op->length_bytes;
        break;
    case DS_OP_REPEAT:
    case DS_OP_ZERO:
    case DS_OP_TRUNCATE:
    case DS_OP_ALLOCATE:
    case DS_OP_BARRIER:
        break;
    }
}

int emit_op(struct emit *emit, const struct ds_op *op, struct ds_error *err)
{
    int result = 0;

    account(&emit->totals, op);
    if (emit->receive == NULL)
        return 0;
    if (emit->op_count == EMIT_OP_COUNT)
        result = emit_flush(emit, err);
    if (result != 0)
        return result;
    if (op->kind == DS_OP_WRITE)
        emit->write_index = emit->op_count;
    else if (op->kind != DS_OP_CLONE && op->kind != DS_OP_COPY)
        emit->write_index = EMIT_OP_COUNT;
    emit->ops[emit->op_count++] = *op;
    return 0;
}

int emit_barrier(struct emit *emit, struct ds_error *err)
{
    int result = emit_flush(emit, err);

    return result != 0
               ? result
               : emit_op(emit, &(struct ds_op){ .kind = DS_OP_BARRIER }, err);
}

/* The last write, when this one begins where it ends: its bytes then end where
 * the arena's free part begins. Data may have come between, since operations
 * are unordered; what moves the file's end or depends on order may not. */
static struct ds_op *write_to_join(const struct emit *emit,
                                   uint32_t target_index, uint64_t offset_bytes)
{
    struct ds_op *last;

    if (emit->write_index == EMIT_OP_COUNT)
        return NULL;
    last = &emit->ops[emit->write_index];
    return last->target_index == target_index &&
                   last->target_offset_bytes + last->length_bytes ==
                       offset_bytes
               ? last
               : NULL;
}

static int write_chunk(struct emit *emit, uint32_t target_index,
                       uint64_t offset_bytes, const uint8_t *bytes,
                       size_t length_bytes, struct ds_error *err)
{
    struct ds_op *joined;
    uint8_t *room;
    int result;

    if (emit->arena_used == EMIT_ARENA_BYTES) {
        result = emit_flush(emit, err);
        if (result != 0)
            return result;
    }
    length_bytes =
        (size_t)ds_min_u64(length_bytes, EMIT_ARENA_BYTES - emit->arena_used);
    joined = write_to_join(emit, target_index, offset_bytes);
    if (joined != NULL) {
        room = emit->arena + emit->arena_phase + emit->arena_used;
        joined->length_bytes += length_bytes;
        emit->totals.metadata_bytes += length_bytes;
    } else {
        struct ds_op op = { .kind = DS_OP_WRITE,
                            .target_index = target_index,
                            .target_offset_bytes = offset_bytes,
                            .length_bytes = length_bytes };

        result = emit_op(emit, &op, err); /* may flush and reset the arena */
        if (result != 0)
            return result;
        if (emit->arena_used == 0)
            emit->arena_phase = offset_bytes % EMIT_PAGE_BYTES;
        room = emit->arena + emit->arena_phase + emit->arena_used;
        emit->ops[emit->op_count - 1].data = room;
    }
    memcpy(room, bytes, length_bytes);
    emit->arena_used += length_bytes;
    return (int)length_bytes;
}

static int emitter_write(struct ds_emitter *emitter, uint32_t target_index,
                         uint64_t offset_bytes, const void *bytes,
                         size_t length_bytes, struct ds_error *err)
{
    struct emit *emit = (struct emit *)emitter;
    const uint8_t *at = bytes;

    if (emit->receive == NULL) {
        emit->totals.metadata_bytes += length_bytes;
        emit->totals.op_count[DS_OP_WRITE]++;
        return 0;
    }
    while (length_bytes > 0) {
        int done = write_chunk(emit, target_index, offset_bytes, at,
                               length_bytes, err);

        if (done < 0)
            return done;
        at += done;
        offset_bytes += (uint64_t)done;
        length_bytes -= (size_t)done;
    }
    return 0;
}

/* A page that thousands refer to is slow to ask about on btrfs, which looks
 * at each of them, so a new one is written from time to time. */
#define REPEAT_COUNT_MAX 32u

static int emitter_repeat(struct ds_emitter *emitter, uint32_t target_index,
                          uint64_t offset_bytes, const void *bytes,
                          size_t length_bytes, struct ds_error *err)
{
    struct emit *emit = (struct emit *)emitter;
    struct ds_op op = {
        .kind = DS_OP_REPEAT,
        .target_index = target_index,
        .source_offset_bytes = emit->repeat_offset_bytes,
        .target_offset_bytes = offset_bytes,
        .length_bytes = length_bytes,
        .data = bytes,
    };
    int result;

    if (emit->repeat_count > 0) {
        emit->repeat_count--;
        return emit_op(emit, &op, err);
    }
    result = emitter_write(emitter, target_index, offset_bytes, bytes,
                           length_bytes, err);
    if (result != 0 || !emit->can_repeat)
        return result;
    emit->repeat_offset_bytes = offset_bytes;
    emit->repeat_count = REPEAT_COUNT_MAX;
    return emit_barrier(emit, err);
}

int emit_init(struct emit *emit, uint64_t guest_size_bytes,
              struct ds_error *err)
{
    emit->emitter.write = emitter_write;
    emit->emitter.repeat = emitter_repeat;
    emit->repeat_count = 0;
    emit->can_repeat = emit->domains[0].range;
    emit->tail_end_bytes = emit->layout->ends_with_data
                               ? layout_place(emit->layout, guest_size_bytes)
                               : DS_OFFSET_NONE;
    emit->totals = (struct ds_totals){ 0 };
    emit->op_count = 0;
    emit->arena_used = 0;
    emit->write_index = EMIT_OP_COUNT;
    emit->ops = NULL;
    emit->arena = NULL;
    if (emit->receive == NULL)
        return 0;
    emit->ops = calloc(EMIT_OP_COUNT, sizeof(*emit->ops));
    emit->arena = ds_buffer_alloc(DS_BUFFER_HUGE_BYTES);
    return emit->ops != NULL && emit->arena != NULL ? 0 : ds_fail_memory(err);
}

void emit_free(struct emit *emit)
{
    free(emit->ops);
    free(emit->arena);
    emit->ops = NULL;
    emit->arena = NULL;
}

/* -- transfers ------------------------------------------------------------*/

/* A place of the data, as file and offset. */
static void set_target(const struct emit *emit, uint64_t place,
                       struct ds_op *op)
{
    op->target_index = emit->layout->data_file_index;
    op->target_offset_bytes = place;
    if (emit->layout->split_guest_bytes == 0)
        return;
    op->target_index += (uint32_t)(place / DS_SPLIT_STRIDE_BYTES);
    op->target_offset_bytes = place % DS_SPLIT_STRIDE_BYTES;
}

static int emit_piece(struct emit *emit, const struct transfer *transfer,
                      uint64_t skip, uint64_t length, enum ds_op_kind kind,
                      enum ds_copy_reason reason, struct ds_error *err)
{
    struct ds_op op = {
        .kind = kind,
        .reason = reason,
        .source_index = transfer->file_index,
        .source_offset_bytes = transfer->source_offset_bytes + skip,
        .length_bytes = length,
        .data_bytes = length,
    };

    if (length == 0)
        return 0;
    set_target(emit, transfer->target_offset_bytes + skip, &op);
    /* Holes that a clone passes over lie inside it, never at its edges. */
    if (kind == DS_OP_CLONE)
        op.data_bytes -= transfer->length_bytes - transfer->data_bytes;
    return emit_op(emit, &op, err);
}

/* The kernel shares an incomplete last block when the range ends at the
 * source's end of file and at or beyond the target's. It stays shared only if
 * the target ends right there: growing the file zeroes the rest of the block,
 * which copies it. A target that began as a clone may be too long already. */
static bool tail_can_be_shared(const struct emit *emit,
                               const struct transfer *transfer)
{
    const struct ds_file *source = emit->sources[transfer->file_index];
    uint64_t length = transfer->length_bytes;

    return !emit->domains[transfer->file_index].whole_blocks &&
           transfer->source_offset_bytes + length == source->size_bytes &&
           transfer->target_offset_bytes + length == emit->tail_end_bytes &&
           !emit->has_base;
}

static int emit_decode(struct emit *emit, const struct transfer *transfer,
                       struct ds_error *err)
{
    struct ds_extent piece = *transfer->encoded;
    struct ds_op op = {
        .kind = DS_OP_DECODE,
        .source_index = transfer->file_index,
        .length_bytes = transfer->length_bytes,
        .data_bytes = transfer->data_bytes,
    };

    set_target(emit, transfer->target_offset_bytes, &op);
    extent_advance(&piece, transfer->source_offset_bytes);
    op.source_offset_bytes = piece.file_offset_bytes;
    op.encoding = piece.encoding;
    op.guest_offset_bytes = piece.guest_offset_bytes;
    op.reason = codec_is_cipher(piece.encoding.codec) ? DS_COPY_ENCRYPTED
                                                      : DS_COPY_COMPRESSED;
    return emit_op(emit, &op, err);
}

int emit_transfer(struct emit *emit, const struct transfer *transfer,
                  struct ds_error *err)
{
    const struct ds_clone_domain *domain = &emit->domains[transfer->file_index];
    uint64_t mask = (uint64_t)domain->granularity_bytes - 1;
    uint64_t source = transfer->source_offset_bytes;
    uint64_t length = transfer->length_bytes;
    uint64_t head, tail;
    int result;

    if (emit->layout->encode != DS_CODEC_NONE)
        return emit_piece(emit, transfer, 0, length, DS_OP_COPY,
                          DS_COPY_COMPRESSED, err);
    if (transfer->encoded != NULL)
        return emit_decode(emit, transfer, err);
    if (!domain->range)
        return emit_piece(emit, transfer, 0, length, DS_OP_COPY, domain->reason,
                          err);
    if (((source ^ transfer->target_offset_bytes) & mask) != 0)
        return emit_piece(emit, transfer, 0, length, DS_OP_COPY,
                          DS_COPY_MISALIGNED, err);
    head = ds_min_u64((0 - source) & mask, length);
    tail = (source + length) & mask;
    if (tail_can_be_shared(emit, transfer))
        tail = 0;
    tail = ds_min_u64(tail, length - head);
    result = emit_piece(emit, transfer, 0, head, DS_OP_COPY,
                        DS_COPY_PARTIAL_BLOCK, err);
    if (result == 0)
        result = emit_piece(emit, transfer, head, length - head - tail,
                            DS_OP_CLONE, DS_COPY_NONE, err);
    if (result == 0)
        result = emit_piece(emit, transfer, length - tail, tail, DS_OP_COPY,
                            DS_COPY_PARTIAL_BLOCK, err);
    return result;
}
