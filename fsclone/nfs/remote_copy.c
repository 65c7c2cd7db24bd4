/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying what cannot be shared.
 *
 *   ops       |---- COPY ----|  |-COPY-|      |---------- COPY ----------|
 *   server    |##############|  |##    |      |      what COPY leaves     |
 *   pieces                        | 1M |      | 1M | 1M | 1M | ...
 *                                   \            |    |
 *   workers                         [ read, write, tell ] x 16 at most
 *
 * The server is asked first, by COPY of NFSv4.2, operation for operation. What
 * it would not do is read and written here. For that there are as many threads
 * as calls can be in flight: each waits for one at a time. The calling thread
 * is one of them, and tells of progress.
 *
 * Invariant: what is in struct pool changes under its lock; a piece belongs to
 * one worker, and pieces are disjoint in the target.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "remote.h"

/* Linux copies no more by one COPY; a server may do less. */
#define COPY_BYTES (UINT64_C(4) * DS_MIB)
#define COPY_COUNT NFS42_SLOT_COUNT_MAX
/* One READ and one WRITE, and what verification holds together. */
#define PIECE_BYTES DS_MIB

struct copy {
    struct ds_op *op;
    uint64_t done_bytes;
};

struct pool {
    const struct remote_copying *copying;
    struct copy *copies;
    size_t count;
    pthread_mutex_t lock;
    size_t next; /* the copy of which the next piece is, from its done_bytes */
    uint64_t done_bytes; /* of all */
    bool cancelled;
    int result;
    struct ds_error err;
};

static struct remote_file *target_of(const struct pool *pool,
                                     const struct ds_op *op)
{
    return remote_of(pool->copying->run->targets[op->target_index]);
}

/* -- by the server ----------------------------------------------------------*/

/* Both handles and the session, locked; NULL: no way. */
static struct nfs42 *begin_pair(struct ds_file *source,
                                struct remote_file *target,
                                struct nfs42_piece *piece)
{
    if (!remote_is(source))
        return NULL;
    piece->source = remote_handle42(remote_of(source));
    piece->target = remote_handle42(target);
    if (piece->source == NULL || piece->target == NULL)
        return NULL;
    return remote_session(target->mount->server);
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
        pieces[count].op = NFS42_COPY;
        pieces[count].source_offset_bytes = op->source_offset_bytes + at;
        pieces[count].target_offset_bytes = op->target_offset_bytes + at;
        pieces[count].length_bytes =
            ds_min_u64(COPY_BYTES, op->length_bytes - at);
        at += pieces[count++].length_bytes;
    }
    result = nfs42_run_pieces(session, pieces, count, err);
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

static void tell(struct pool *pool, uint64_t more_bytes)
{
    pool->done_bytes += more_bytes;
    pool->cancelled =
        pool->cancelled ||
        pool->copying->told(pool->copying->user, pool->done_bytes);
}

static int copy_by_server(struct pool *pool, struct copy *copy,
                          struct ds_error *err)
{
    const struct ds_op *op = copy->op;
    struct ds_file *source = pool->copying->run->sources[op->source_index];
    struct remote_file *target = target_of(pool, op);
    struct remote_server *server = target->mount->server;
    uint64_t before = UINT64_MAX;
    int result = 0;

    while (result == 0 && copy->done_bytes < op->length_bytes &&
           copy->done_bytes != before && !server->copy_refused &&
           !pool->cancelled) {
        struct nfs42_piece pair = { 0 };
        struct nfs42 *session = begin_pair(source, target, &pair);
        uint32_t status = NFS42_OK;

        if (session == NULL)
            break;
        before = copy->done_bytes;
        result =
            copy_round(session, &pair, op, &copy->done_bytes, &status, err);
        remote_session_done(server);
        target->account.copy_count++;
        target->account.copied_bytes += copy->done_bytes - before;
        if (result == 0 && status != NFS42_OK) {
            if (!remote_is_not_there(-nfs42_errno(status)))
                return ds_fail_errno(err, nfs42_errno(status),
                                     target->base.path, "nfs: COPY: failed");
            server->copy_refused = true;
        }
        tell(pool, copy->done_bytes - before);
    }
    return result;
}

/* -- by hand ----------------------------------------------------------------*/

struct piece {
    struct ds_op *op;
    uint64_t skip_bytes;
    size_t length_bytes;
};

/* False: there is no more, or none is wanted. Under the lock. */
static bool next_piece(struct pool *pool, struct piece *out)
{
    while (pool->next < pool->count && pool->result == 0 && !pool->cancelled) {
        struct copy *copy = &pool->copies[pool->next];

        if (copy->done_bytes == copy->op->length_bytes ||
            copy->op->status != 0) {
            pool->next++;
            continue;
        }
        out->op = copy->op;
        out->skip_bytes = copy->done_bytes;
        out->length_bytes = (size_t)ds_min_u64(
            PIECE_BYTES, copy->op->length_bytes - copy->done_bytes);
        copy->done_bytes += out->length_bytes;
        return true;
    }
    return false;
}

/* 0 or the class of a source's error; *status is of the target. */
static int copy_piece(const struct pool *pool, const struct piece *piece,
                      uint8_t *buffer, int *status, struct ds_error *err)
{
    const struct ds_run *run = pool->copying->run;
    const struct ds_op *op = piece->op;
    int result = ds_file_read(run->sources[op->source_index],
                              op->source_offset_bytes + piece->skip_bytes,
                              buffer, piece->length_bytes, err);

    if (result != 0)
        return result;
    *status = remote_write(target_of(pool, op),
                           op->target_offset_bytes + piece->skip_bytes, buffer,
                           piece->length_bytes);
    if (*status == 0 && run->copied != NULL)
        run->copied(run->user, op, piece->skip_bytes, buffer,
                    piece->length_bytes);
    return 0;
}

static void work(struct pool *pool, bool tells)
{
    ds_autofree uint8_t *buffer = malloc(PIECE_BYTES);
    struct piece piece;

    (void)pthread_mutex_lock(&pool->lock);
    while (next_piece(pool, &piece)) {
        struct remote_account *to = &target_of(pool, piece.op)->account;
        struct ds_error err = DS_ERROR_INIT;
        int status = 0, result;

        (void)pthread_mutex_unlock(&pool->lock);
        result = buffer != NULL
                     ? copy_piece(pool, &piece, buffer, &status, &err)
                     : ds_fail_memory(&err);
        (void)pthread_mutex_lock(&pool->lock);
        if (piece.op->status == 0)
            piece.op->status = status;
        if (result != 0 && pool->result == 0) {
            pool->result = result;
            pool->err = err;
        }
        to->read_bytes += piece.length_bytes;
        to->written_bytes += piece.length_bytes;
        pool->done_bytes += piece.length_bytes;
        if (tells)
            tell(pool, 0);
    }
    (void)pthread_mutex_unlock(&pool->lock);
}

static void *help(void *argument)
{
    work(argument, false);
    return NULL;
}

/* Signals are for the program's own threads. That there is none to be had is
 * no fault. */
static size_t start_helpers(struct pool *pool, pthread_t *threads, size_t most)
{
    sigset_t all, before;
    size_t count = 0;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (count < most &&
           pthread_create(&threads[count], NULL, help, pool) == 0)
        count++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return count;
}

static int copy_by_hand(struct pool *pool, struct ds_error *err)
{
    pthread_t threads[NFS3_FLIGHT_COUNT_MAX - 1];
    uint64_t pieces = 0;
    size_t count;

    for (size_t i = 0; i < pool->count; i++)
        pieces += ds_div_up(pool->copies[i].op->length_bytes -
                                pool->copies[i].done_bytes,
                            PIECE_BYTES);
    if (pieces == 0)
        return 0;
    count = start_helpers(
        pool, threads,
        (size_t)ds_min_u64(pieces - 1, NFS3_FLIGHT_COUNT_MAX - 1));
    work(pool, true);
    for (size_t i = 0; i < count; i++)
        (void)pthread_join(threads[i], NULL);
    tell(pool, 0);
    if (pool->result != 0 && err != NULL)
        *err = pool->err;
    return pool->result;
}

int remote_copy(const struct remote_copying *copying, struct ds_op **ops,
                size_t count, struct ds_error *err)
{
    ds_autofree struct copy *copies = calloc(count, sizeof(*copies));
    struct pool pool = { .copying = copying, .copies = copies, .count = count };
    int result = 0;

    if (copies == NULL)
        return ds_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        copies[i].op = ops[i];
        ops[i]->status = 0;
    }
    for (size_t i = 0; i < count && result == 0; i++)
        result = copy_by_server(&pool, &copies[i], err);
    if (result != 0 || pool.cancelled)
        return result;
    (void)pthread_mutex_init(&pool.lock, NULL);
    result = copy_by_hand(&pool, err);
    (void)pthread_mutex_destroy(&pool.lock);
    return result;
}
