/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a batch of operations.
 *
 *   section | BARRIER | section | ...
 *
 * Within a section operations are disjoint and unordered. So they are collected
 * and go to the server together: writes by NFSv3, many in flight, the others as
 * pieces of NFSv4.2, which are packed into compounds; copies last, see
 * remote_copy.c. Two kinds are not indifferent to order: what sets the file's
 * end, and a clone that ends within a block, which a server takes only at the
 * target's end. These are done where they stand, when all before them is. ZERO
 * is done as met.
 *
 * Where the server would not do a piece, or has no NFSv4.2, holes are written
 * as zeros and repeated tables as such. A clone is not: the engine then copies,
 * and says so.
 *
 * A section in which something failed is the last; what stands after the next
 * barrier keeps the status -ECANCELED.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "remote.h"

#define TICK_NS INT64_C(100000000)
#define BUFFER_BYTES (UINT64_C(4) * DS_MIB)
#define BLOCK_BYTES 4096u /* ends on it are no tails */

struct batch {
    const struct ds_run *run;
    struct ds_op **collected; /* room for all */
    size_t collected_count;
    /* Those of either kind, as many at most: */
    struct nfs42_piece *pieces;
    struct nfs3_write *writes;
    struct ds_op **written;
    struct ds_op **copies;
    size_t copy_count;
    struct ds_progress numbers;
    int64_t told_ns;
    bool cancelled;
};

static struct remote_file *target_of(const struct batch *batch,
                                     const struct ds_op *op)
{
    return remote_of(batch->run->targets[op->target_index]);
}

/* NULL when it lies elsewhere. */
static struct remote_file *source_of(const struct batch *batch,
                                     const struct ds_op *op)
{
    struct ds_file *file = batch->run->sources[op->source_index];

    return remote_is(file) ? remote_of(file) : NULL;
}

static uint64_t guest_bytes(const struct ds_op *op)
{
    return op->kind == DS_OP_COPY ? op->length_bytes : op->data_bytes;
}

static void tick(struct batch *batch)
{
    struct timespec now;
    int64_t now_ns;

    if (batch->run->progress == NULL || batch->cancelled)
        return;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    if (batch->told_ns != 0 && now_ns - batch->told_ns < TICK_NS)
        return;
    batch->told_ns = now_ns;
    batch->cancelled =
        batch->run->progress(batch->run->user, &batch->numbers) != 0;
}

static void account(struct batch *batch, const struct ds_op *op)
{
    batch->numbers.done_ops++;
    batch->numbers.done_bytes += guest_bytes(op);
    tick(batch);
}

/* -- by NFSv3 ---------------------------------------------------------------*/

/* Workers of the engine write at the same time. */
static void count_written(struct remote_file *target, uint64_t length_bytes)
{
    (void)pthread_mutex_lock(&target->mount->lock);
    target->account.written_bytes += length_bytes;
    (void)pthread_mutex_unlock(&target->mount->lock);
}

static int write_counted(struct remote_file *target, uint64_t offset_bytes,
                         const void *bytes, uint64_t length_bytes)
{
    count_written(target, length_bytes);
    return remote_write(target, offset_bytes, bytes, length_bytes);
}

static int write_zeros(struct remote_file *target, uint64_t offset_bytes,
                       uint64_t length_bytes)
{
    ds_autofree uint8_t *zeros =
        calloc(1, (size_t)ds_min_u64(BUFFER_BYTES, length_bytes));
    int status = zeros != NULL || length_bytes == 0 ? 0 : -ENOMEM;

    while (status == 0 && length_bytes > 0) {
        uint64_t part = ds_min_u64(BUFFER_BYTES, length_bytes);

        status = write_counted(target, offset_bytes, zeros, part);
        offset_bytes += part;
        length_bytes -= part;
    }
    return status;
}

/* Where the server makes no holes, zeros are written, up to the file's end. */
static int punch_by_hand(struct remote_file *target, const struct ds_op *op)
{
    struct nfs3_facts facts;
    int status = nfs3_getattr(remote_nfs3(target), &target->handle, &facts);

    if (status != 0 || op->target_offset_bytes >= facts.size_bytes)
        return status;
    return write_zeros(target, op->target_offset_bytes,
                       ds_min_u64(op->length_bytes,
                                  facts.size_bytes - op->target_offset_bytes));
}

bool remote_is_not_there(int status)
{
    return status == -EOPNOTSUPP || status == -EXDEV || status == -EINVAL;
}

/* What NFSv4.2 answered with -errno `status`, in another way if there is one.
 */
static int do_by_hand(struct batch *batch, struct ds_op *op, int status)
{
    struct remote_file *target = target_of(batch, op);

    if (op->kind == DS_OP_REPEAT) {
        op->reason = DS_COPY_CLONE_REFUSED;
        return write_counted(target, op->target_offset_bytes, op->data,
                             op->length_bytes);
    }
    return op->kind == DS_OP_PUNCH && remote_is_not_there(status)
               ? punch_by_hand(target, op)
               : status;
}

/* -- collected --------------------------------------------------------------*/

static enum nfs42_op piece_op(enum ds_op_kind kind)
{
    switch (kind) {
    case DS_OP_PUNCH:
        return NFS42_DEALLOCATE;
    case DS_OP_ALLOCATE:
        return NFS42_ALLOCATE;
    default:
        return NFS42_CLONE;
    }
}

/* False: there is no NFSv4.2 between these files. */
static bool make_piece(struct batch *batch, const struct ds_op *op,
                       struct nfs42_piece *piece)
{
    struct remote_file *target = target_of(batch, op);
    struct remote_file *source =
        op->kind == DS_OP_REPEAT ? target : source_of(batch, op);

    *piece = (struct nfs42_piece){
        .op = piece_op(op->kind),
        .target = remote_handle42(target),
        .source_offset_bytes = op->source_offset_bytes,
        .target_offset_bytes = op->target_offset_bytes,
        .length_bytes = op->kind == DS_OP_CLONE_FILE ? 0 : op->length_bytes,
    };
    if (piece->op == NFS42_CLONE)
        piece->source = source != NULL ? remote_handle42(source) : NULL;
    return piece->target != NULL &&
           (piece->op != NFS42_CLONE || piece->source != NULL);
}

static void account_clone(struct batch *batch, const struct ds_op *op)
{
    struct remote_account *to = &target_of(batch, op)->account;

    to->clone_count++;
    to->cloned_bytes += op->kind == DS_OP_CLONE_FILE
                            ? batch->run->sources[op->source_index]->size_bytes
                            : op->length_bytes;
}

static void piece_answered(struct batch *batch, struct ds_op *op,
                           const struct nfs42_piece *piece)
{
    int status = -nfs42_errno(piece->status);

    if (status == 0 &&
        (op->kind == DS_OP_CLONE || op->kind == DS_OP_CLONE_FILE))
        account_clone(batch, op);
    op->status = status == 0 ? 0 : do_by_hand(batch, op, status);
    account(batch, op);
}

static int run_pieces(struct batch *batch, size_t count, struct ds_error *err)
{
    int result = remote_lanes_run(target_of(batch, batch->collected[0]),
                                  batch->pieces, count, err);

    for (size_t i = 0; i < count; i++) {
        if (result == 0)
            piece_answered(batch, batch->collected[i], &batch->pieces[i]);
        else
            batch->collected[i]->status = -EIO;
    }
    return result;
}

static void run_writes(struct batch *batch, struct ds_op **ops, size_t count)
{
    struct nfs3 *nfs3 = remote_nfs3(target_of(batch, ops[0]));
    int status = nfs3_write(nfs3, batch->writes, count);

    for (size_t i = 0; i < count; i++) {
        ops[i]->status = status != 0 ? status : batch->writes[i].status;
        if (ops[i]->status == 0)
            count_written(target_of(batch, ops[i]), ops[i]->length_bytes);
        account(batch, ops[i]);
    }
}

static bool told_of_copy(void *user, uint64_t done_bytes)
{
    struct batch *batch = user;
    uint64_t before = batch->numbers.done_bytes;

    batch->numbers.done_bytes += done_bytes;
    tick(batch);
    batch->numbers.done_bytes = before;
    return batch->cancelled;
}

static int run_copies(struct batch *batch, struct ds_error *err)
{
    const struct remote_copying copying = { .run = batch->run,
                                            .told = told_of_copy,
                                            .user = batch };
    size_t count = batch->copy_count;
    int result = remote_copy(&copying, batch->copies, count, err);

    batch->copy_count = 0;
    for (size_t i = 0; i < count; i++)
        account(batch, batch->copies[i]);
    return result;
}

/* Do what was collected. All targets of a run lie on one server. */
static int flush_collected(struct batch *batch, struct ds_error *err)
{
    size_t pieces = 0, writes = 0;
    int result = 0;

    for (size_t i = 0; i < batch->collected_count; i++) {
        struct ds_op *op = batch->collected[i];

        if (op->kind == DS_OP_WRITE) {
            batch->writes[writes] =
                remote_write_of(target_of(batch, op), op->target_offset_bytes,
                                op->data, op->length_bytes);
            batch->written[writes++] = op;
        } else if (make_piece(batch, op, &batch->pieces[pieces])) {
            batch->collected[pieces++] = op;
        } else {
            op->status = do_by_hand(batch, op, -EOPNOTSUPP);
            account(batch, op);
        }
    }
    batch->collected_count = 0;
    if (pieces > 0)
        result = run_pieces(batch, pieces, err);
    if (result == 0 && writes > 0)
        run_writes(batch, batch->written, writes);
    if (result == 0 && batch->copy_count > 0)
        result = run_copies(batch, err);
    return result;
}

static bool is_collected(const struct ds_op *op)
{
    switch (op->kind) {
    case DS_OP_CLONE:
    case DS_OP_CLONE_FILE:
    case DS_OP_REPEAT:
    case DS_OP_PUNCH:
    case DS_OP_ALLOCATE:
    case DS_OP_WRITE:
        return true;
    default:
        return false;
    }
}

static bool is_for_itself(const struct ds_op *op)
{
    return op->kind == DS_OP_CLONE_FILE ||
           (op->kind == DS_OP_CLONE && op->length_bytes % BLOCK_BYTES != 0);
}

static int collect(struct batch *batch, struct ds_op *op, struct ds_error *err)
{
    int result = 0;

    /* To a server no length means "to the end". */
    if (op->length_bytes == 0 && op->kind != DS_OP_CLONE_FILE) {
        op->status = 0;
        return 0;
    }
    if (is_for_itself(op))
        result = flush_collected(batch, err);
    if (result != 0)
        return result;
    batch->collected[batch->collected_count++] = op;
    return is_for_itself(op) ? flush_collected(batch, err) : 0;
}

/* -- the others -------------------------------------------------------------*/

/* To the size it has it is not set: a shared last block would be copied. */
static int set_size(struct remote_file *target, uint64_t size_bytes)
{
    struct nfs3_change change = { .size_bytes = &size_bytes };
    struct nfs3_facts facts;
    int status = nfs3_getattr(remote_nfs3(target), &target->handle, &facts);

    if (status != 0 || facts.size_bytes == size_bytes)
        return status;
    return nfs3_setattr(remote_nfs3(target), &target->handle, &change);
}

/* -- the batch --------------------------------------------------------------*/

static int do_op(struct batch *batch, struct ds_op *op, struct ds_error *err)
{
    uint64_t end_bytes;
    int result = 0;

    if (!ds_add_u64(op->target_offset_bytes, op->length_bytes, &end_bytes) ||
        end_bytes > INT64_MAX) {
        op->status = -EFBIG;
        return 0;
    }
    if (is_collected(op))
        return collect(batch, op, err);
    switch (op->kind) {
    case DS_OP_COPY:
        batch->copies[batch->copy_count++] = op;
        return 0;
    case DS_OP_TRUNCATE:
        result = flush_collected(batch, err);
        if (result == 0)
            op->status =
                set_size(target_of(batch, op), op->target_offset_bytes);
        break;
    case DS_OP_ZERO:
        op->status = write_zeros(target_of(batch, op), op->target_offset_bytes,
                                 op->length_bytes);
        break;
    default: /* DECODE and ENCODE are the executor's, and come as WRITE */
        op->status = -EOPNOTSUPP;
        break;
    }
    account(batch, op);
    return result;
}

/* Clones that a storage array does: none of them ends within a block. */
static int share_by_array(struct batch *batch, struct ds_op *ops, size_t count,
                          struct ds_error *err)
{
    size_t at = 0;
    int result;

    do {
        result =
            remote_via_step(batch->run, &batch->numbers, ops, count, &at, err);
        tick(batch);
    } while (result > 0 && !batch->cancelled);
    return result < 0 ? result : 0;
}

static int run_section(struct batch *batch, struct ds_op *ops, size_t count,
                       struct ds_error *err)
{
    int result = share_by_array(batch, ops, count, err);

    for (size_t i = 0; i < count && result == 0 && !batch->cancelled; i++) {
        if (ops[i].status == 0)
            account(batch, &ops[i]); /* by the array */
        else
            result = do_op(batch, &ops[i], err);
    }
    if (result == 0 && !batch->cancelled)
        result = flush_collected(batch, err);
    if (result == 0 && batch->cancelled)
        result = ds_fail(err, DS_ERR_CANCELLED, "nfs: run: cancelled");
    return result;
}

static bool any_failed(const struct ds_op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ops[i].status != 0)
            return true;
    return false;
}

static int run_sections(struct batch *batch, struct ds_op *ops, size_t count,
                        struct ds_error *err)
{
    size_t begin = 0;

    while (begin < count) {
        size_t end = begin;
        int result;

        while (end < count && ops[end].kind != DS_OP_BARRIER)
            end++;
        result = run_section(batch, ops + begin, end - begin, err);
        if (result != 0)
            return result;
        if (any_failed(ops + begin, end - begin))
            return 0;
        if (end < count) {
            ops[end].status = 0;
            batch->numbers.done_ops++;
        }
        begin = end + 1;
    }
    return 0;
}

int remote_run(const struct ds_run *run, struct ds_op *ops, size_t count,
               struct ds_error *err)
{
    ds_autofree struct ds_op **collected =
        calloc(count + 1, sizeof(*collected));
    ds_autofree struct ds_op **written = calloc(count + 1, sizeof(*written));
    ds_autofree struct ds_op **copies = calloc(count + 1, sizeof(*copies));
    ds_autofree struct nfs42_piece *pieces =
        calloc(count + 1, sizeof(struct nfs42_piece));
    ds_autofree struct nfs3_write *writes =
        calloc(count + 1, sizeof(struct nfs3_write));
    struct batch batch = { .run = run,
                           .collected = collected,
                           .written = written,
                           .copies = copies,
                           .pieces = pieces,
                           .writes = writes };

    if (collected == NULL || written == NULL || copies == NULL ||
        pieces == NULL || writes == NULL)
        return ds_fail_memory(err);
    batch.numbers.phase = "execute";
    batch.numbers.total_ops = count;
    for (size_t i = 0; i < count; i++) {
        ops[i].status = -ECANCELED;
        batch.numbers.total_bytes += guest_bytes(&ops[i]);
    }
    return run_sections(&batch, ops, count, err);
}
