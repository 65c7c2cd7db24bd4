/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a batch of operations.
 *
 *   section | BARRIER | section | ...
 *
 * Within a section operations are disjoint and unordered, but two kinds are
 * not indifferent to order: what sets the file's end, and a clone that ends
 * within a block, which a server takes only at the target's end. These are
 * done where they stand, by themselves. The clones between them are collected
 * and go to the server together: nfs42_clone packs them into compounds. The
 * rest is done as met.
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
#define TOLD_BYTES DS_MIB
/* Linux copies no more by one COPY; a server may do less. */
#define COPY_BYTES (UINT64_C(4) * DS_MIB)
#define COPY_COUNT NFS42_SLOT_COUNT_MAX
#define BLOCK_BYTES 4096u /* ends on it are no tails */

struct batch {
    const struct ds_run *run;
    struct ds_op **clones; /* collected; room for all */
    size_t clone_count;
    struct nfs42_piece *pieces; /* as many */
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

/* -- CLONE ------------------------------------------------------------------*/

/* Both handles and the session, locked; NULL: no way. */
static struct nfs42 *begin_pair(struct remote_file *source,
                                struct remote_file *target,
                                struct nfs42_piece *piece)
{
    if (source == NULL)
        return NULL;
    piece->source = remote_handle42(source);
    piece->target = remote_handle42(target);
    if (piece->source == NULL || piece->target == NULL)
        return NULL;
    return remote_session(target->mount->server);
}

static void prepare_clone(struct batch *batch, struct ds_op *op,
                          struct nfs42_piece *piece)
{
    struct remote_file *target = target_of(batch, op);
    struct nfs42 *session = begin_pair(source_of(batch, op), target, piece);

    op->status = session != NULL ? 0 : -EOPNOTSUPP;
    if (session != NULL)
        remote_session_done(target->mount->server);
    piece->source_offset_bytes = op->source_offset_bytes;
    piece->target_offset_bytes = op->target_offset_bytes;
    piece->length_bytes = op->kind == DS_OP_CLONE_FILE ? 0 : op->length_bytes;
}

static void clone_answered(struct batch *batch, struct ds_op *op, int result,
                           uint32_t status)
{
    struct remote_account *to = &target_of(batch, op)->account;

    op->status = result != 0 ? -EIO : -nfs42_errno(status);
    if (op->status == 0) {
        to->clone_count++;
        to->cloned_bytes +=
            op->kind == DS_OP_CLONE_FILE
                ? batch->run->sources[op->source_index]->size_bytes
                : op->length_bytes;
    }
    account(batch, op);
}

/* Do what was collected. All targets of a run lie on one server. */
static int flush_clones(struct batch *batch, struct ds_error *err)
{
    size_t count = 0;
    struct nfs42 *session;
    struct remote_server *server;
    int result = 0;

    if (batch->clone_count == 0)
        return 0;
    for (size_t i = 0; i < batch->clone_count; i++) {
        prepare_clone(batch, batch->clones[i], &batch->pieces[count]);
        if (batch->clones[i]->status == 0)
            batch->clones[count++] = batch->clones[i];
    }
    batch->clone_count = 0;
    if (count == 0)
        return 0;
    server = target_of(batch, batch->clones[0])->mount->server;
    session = remote_session(server);
    result = nfs42_clone(session, batch->pieces, count, err);
    remote_session_done(server);
    for (size_t i = 0; i < count; i++)
        clone_answered(batch, batch->clones[i], result,
                       batch->pieces[i].status);
    return result;
}

static int clone_now(struct batch *batch, struct ds_op *op,
                     struct ds_error *err)
{
    int result = flush_clones(batch, err);

    batch->clones[batch->clone_count++] = op;
    return result == 0 ? flush_clones(batch, err) : result;
}

static bool is_tail(const struct ds_op *op)
{
    return op->length_bytes % BLOCK_BYTES != 0;
}

static int do_clone(struct batch *batch, struct ds_op *op, struct ds_error *err)
{
    if (op->length_bytes == 0) { /* to the server it means "to the end" */
        op->status = 0;
        return 0;
    }
    if (is_tail(op))
        return clone_now(batch, op, err);
    batch->clones[batch->clone_count++] = op;
    return 0;
}

/* -- COPY -------------------------------------------------------------------*/

static bool is_no_copy(uint32_t status)
{
    int error = nfs42_errno(status);

    return error == EOPNOTSUPP || error == EXDEV || error == EINVAL;
}

/* Copy up to COPY_COUNT pieces from *done on. A piece done in part ends the
 * walk there: what came after it is copied again. */
static int copy_round(struct nfs42 *session, const struct nfs42_piece *pair,
                      const struct ds_op *op, uint64_t *done, uint32_t *status,
                      struct ds_error *err)
{
    struct nfs42_piece pieces[COPY_COUNT];
    uint64_t at = *done;
    size_t count = 0;
    int result;

    while (count < COPY_COUNT && at < op->length_bytes) {
        pieces[count] = *pair;
        pieces[count].source_offset_bytes = op->source_offset_bytes + at;
        pieces[count].target_offset_bytes = op->target_offset_bytes + at;
        pieces[count].length_bytes =
            ds_min_u64(COPY_BYTES, op->length_bytes - at);
        at += pieces[count++].length_bytes;
    }
    result = nfs42_copy(session, pieces, count, err);
    for (size_t i = 0; i < count && result == 0; i++) {
        *status = pieces[i].status;
        if (*status != NFS42_OK)
            break;
        *done += pieces[i].done_bytes;
        if (pieces[i].done_bytes < pieces[i].length_bytes)
            break;
    }
    return result;
}

/* Let the server copy; *done of it, 0 also when it would not. */
static int copy_by_server(struct batch *batch, const struct ds_op *op,
                          uint64_t *done, struct ds_error *err)
{
    struct remote_file *target = target_of(batch, op);
    struct remote_server *server = target->mount->server;
    uint64_t before = UINT64_MAX;
    int result = 0;

    while (result == 0 && *done < op->length_bytes && *done != before &&
           !server->copy_refused && !batch->cancelled) {
        struct nfs42_piece pair = { 0 };
        struct nfs42 *session = begin_pair(source_of(batch, op), target, &pair);
        uint32_t status = NFS42_OK;

        if (session == NULL)
            break;
        before = *done;
        result = copy_round(session, &pair, op, done, &status, err);
        remote_session_done(server);
        target->account.copy_count++;
        target->account.copied_bytes += *done - before;
        if (result == 0 && status != NFS42_OK) {
            if (!is_no_copy(status))
                return ds_fail_errno(err, nfs42_errno(status),
                                     target->base.path, "nfs: COPY: failed");
            server->copy_refused = true;
        }
        tick(batch);
    }
    return result;
}

/* In parts that verification holds together. */
static void tell_copied(const struct ds_run *run, const struct ds_op *op,
                        uint64_t skip_bytes, uint8_t *bytes,
                        size_t length_bytes)
{
    while (run->copied != NULL && length_bytes > 0) {
        size_t part = (size_t)ds_min_u64(TOLD_BYTES, length_bytes);

        run->copied(run->user, op, skip_bytes, bytes, part);
        skip_bytes += part;
        bytes += part;
        length_bytes -= part;
    }
}

static int copy_by_hand(struct batch *batch, struct ds_op *op, uint64_t done,
                        struct ds_error *err)
{
    const struct ds_run *run = batch->run;
    struct remote_file *target = target_of(batch, op);
    ds_autofree uint8_t *buffer =
        malloc((size_t)ds_min_u64(BUFFER_BYTES, op->length_bytes));
    int result = 0;

    if (buffer == NULL)
        return ds_fail_memory(err);
    while (result == 0 && done < op->length_bytes && !batch->cancelled) {
        size_t part = (size_t)ds_min_u64(BUFFER_BYTES, op->length_bytes - done);

        result =
            ds_file_read(run->sources[op->source_index],
                         op->source_offset_bytes + done, buffer, part, err);
        if (result != 0)
            break;
        op->status =
            remote_write(target, op->target_offset_bytes + done, buffer, part);
        if (op->status != 0)
            return 0;
        tell_copied(run, op, done, buffer, part);
        target->account.read_bytes += part;
        target->account.written_bytes += part;
        done += part;
        tick(batch);
    }
    return result;
}

static int do_copy(struct batch *batch, struct ds_op *op, struct ds_error *err)
{
    uint64_t done = 0;
    int result = copy_by_server(batch, op, &done, err);

    op->status = 0;
    if (result == 0 && done < op->length_bytes)
        result = copy_by_hand(batch, op, done, err);
    return result;
}

/* -- the others -------------------------------------------------------------*/

static int write_counted(struct remote_file *target, uint64_t offset_bytes,
                         const void *bytes, uint64_t length_bytes)
{
    target->account.written_bytes += length_bytes;
    target->account.write_count++;
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

/* ALLOCATE or DEALLOCATE; -EOPNOTSUPP also without NFSv4.2. */
static int allocate(struct remote_file *target, enum nfs42_op kind,
                    const struct ds_op *op)
{
    const struct nfs42_handle *handle = remote_handle42(target);
    struct remote_server *server = target->mount->server;
    struct nfs42 *session;
    uint32_t status = NFS42_OK;
    int result;

    if (op->length_bytes == 0)
        return 0;
    if (handle == NULL)
        return -EOPNOTSUPP;
    session = remote_session(server);
    if (session == NULL)
        return -EOPNOTSUPP;
    result = nfs42_allocate(session, kind, handle, op->target_offset_bytes,
                            op->length_bytes, &status, NULL);
    remote_session_done(server);
    return result != 0 ? -EIO : -nfs42_errno(status);
}

/* Where the server makes no holes, zeros are written, up to the file's end. */
static int punch(struct remote_file *target, const struct ds_op *op)
{
    int status = allocate(target, NFS42_DEALLOCATE, op);
    struct nfs_stat_64 facts;

    if (status != -EOPNOTSUPP)
        return status;
    status = remote_fstat(target, &facts);
    if (status != 0 || op->target_offset_bytes >= facts.nfs_size)
        return status;
    return write_zeros(
        target, op->target_offset_bytes,
        ds_min_u64(op->length_bytes, facts.nfs_size - op->target_offset_bytes));
}

/* To the size it has it is not set: a shared last block would be copied. */
static int set_size(struct remote_file *target, uint64_t size_bytes)
{
    struct remote_mount *mount = target->mount;
    struct nfs_stat_64 facts;
    int status = remote_fstat(target, &facts);

    if (status != 0 || facts.nfs_size == size_bytes)
        return status;
    remote_lock(mount);
    REMOTE_CALL(
        mount, status,
        mount->api->nfs_ftruncate(mount->context, target->handle, size_bytes));
    remote_unlock(mount);
    return status;
}

/* The bytes stand in the target already. */
static int repeat(struct remote_file *target, struct ds_op *op)
{
    struct nfs42_piece piece = {
        .source_offset_bytes = op->source_offset_bytes,
        .target_offset_bytes = op->target_offset_bytes,
        .length_bytes = op->length_bytes,
        .status = NFS42_ERR_NOTSUPP,
    };
    struct nfs42 *session = begin_pair(target, target, &piece);
    int result = 0;

    if (session != NULL) {
        result = nfs42_clone(session, &piece, 1, NULL);
        remote_session_done(target->mount->server);
    }
    if (result == 0 && piece.status == NFS42_OK)
        return 0;
    op->reason = DS_COPY_CLONE_REFUSED;
    return write_counted(target, op->target_offset_bytes, op->data,
                         op->length_bytes);
}

static int do_single(struct batch *batch, struct ds_op *op)
{
    struct remote_file *target = target_of(batch, op);

    switch (op->kind) {
    case DS_OP_WRITE:
        return write_counted(target, op->target_offset_bytes, op->data,
                             op->length_bytes);
    case DS_OP_REPEAT:
        return repeat(target, op);
    case DS_OP_ZERO:
        return write_zeros(target, op->target_offset_bytes, op->length_bytes);
    case DS_OP_PUNCH:
        return punch(target, op);
    case DS_OP_ALLOCATE:
        return allocate(target, NFS42_ALLOCATE, op);
    case DS_OP_TRUNCATE:
        return set_size(target, op->target_offset_bytes);
    case DS_OP_CLONE:
    case DS_OP_CLONE_FILE:
    case DS_OP_COPY:
    case DS_OP_BARRIER:
    case DS_OP_ENCODE:
    case DS_OP_DECODE: /* the executor's: it comes here as WRITE */
        break;
    }
    return -EOPNOTSUPP;
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
    switch (op->kind) {
    case DS_OP_CLONE:
        return do_clone(batch, op, err);
    case DS_OP_CLONE_FILE:
        return clone_now(batch, op, err);
    case DS_OP_COPY:
        result = do_copy(batch, op, err);
        break;
    case DS_OP_TRUNCATE:
        result = flush_clones(batch, err);
        if (result == 0)
            op->status = do_single(batch, op);
        break;
    default:
        op->status = do_single(batch, op);
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
        result = flush_clones(batch, err);
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
    ds_autofree struct ds_op **clones = calloc(count + 1, sizeof(*clones));
    ds_autofree struct nfs42_piece *pieces =
        calloc(count + 1, sizeof(struct nfs42_piece));
    struct batch batch = { .run = run, .clones = clones, .pieces = pieces };

    if (clones == NULL || pieces == NULL)
        return ds_fail_memory(err);
    batch.numbers.phase = "execute";
    batch.numbers.total_ops = count;
    for (size_t i = 0; i < count; i++) {
        ops[i].status = -ECANCELED;
        batch.numbers.total_bytes += guest_bytes(&ops[i]);
    }
    return run_sections(&batch, ops, count, err);
}
