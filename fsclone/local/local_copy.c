/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying what cannot be shared.
 *
 *   ops      |---- COPY ----|  |-COPY-|      |---------- COPY ----------|
 *   pieces   | 16M | 16M |..|  |  ..  |      | 16M | 16M | 16M | ...
 *               \     |              \          |
 *   workers      [ read 992 K, skip zeros, write, tell ] x min(cores + 2, 4)
 *
 * A worker takes the next piece under the lock and copies it without. Zeros
 * are not written where the target is known to read as zeros anyhow: it was
 * made empty and no whole file was cloned into it. So holes stay holes. The
 * calling thread waits and tells of progress.
 *
 *   target   | data | data | data   data   data   | zeros ...
 *            | room | room |  room, as much again |xxxxxx| given back
 *
 * To reserve room is to wait until nobody reads or writes past the cache, so it
 * is done seldom: each time for as much more as there was data without a hole
 * before, but not beyond the piece. A dense disk has one reservation for each
 * piece; what turns out to be zeros is given back.
 *
 * Invariant: `cursor` and all counts change under `lock` only; a piece
 * belongs to one worker, and pieces are disjoint in the target.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arith.h"
#include "buffer.h"
#include "local.h"

#define WORKER_COUNT_MAX 4
#define PIECE_BYTES_MAX (UINT64_C(16) * DS_MIB)
#define GRANULE_BYTES 4096u
/* Large, because what is written goes to storage at once (local_direct.c),
 * where each request has its price; and not larger, so that one request takes
 * it (virtio has 254 segments) or two like ones do (128), should memory lie in
 * single pages. */
#define BUFFER_BYTES ((size_t)248 * GRANULE_BYTES)
/* Shorter runs of zeros are written: a hole costs an extent. */
#define HOLE_BYTES_MIN ((size_t)16 * 1024)
/* From here on storage is kept busy while the rest is read; for less it would
 * write a block several times. */
#define FLUSH_BYTES_MIN (4 * DS_MIB)
#define WAIT_NS 50000000L

struct piece {
    struct ds_op *op;
    uint64_t offset_bytes; /* in the op */
    uint64_t length_bytes;
    bool failed_source; /* see ds_op */
    uint64_t failed_bytes;
};

struct pool {
    const struct ds_run *run;
    unsigned worker_count; /* wanted */
    uint8_t *buffers;      /* BUFFER_BYTES for each, all in one */
    struct ds_op *ops;
    size_t op_count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t cursor;         /* the op from which the next piece comes */
    uint64_t cursor_bytes; /* how much of it was handed out */
    uint64_t done_bytes;
    uint64_t done_ops;
    unsigned begun_count;   /* workers that have taken their buffer */
    unsigned working_count; /* threads that have not ended */
    bool stop;
};

struct worker {
    uint8_t *buffer;
    uint64_t dense_bytes;    /* data since the last hole */
    uint64_t room_end_bytes; /* reserved in this piece */
};

static bool is_zero(const uint8_t *bytes, size_t length_bytes)
{
    while (length_bytes >= 64) {
        uint64_t words[8];
        memcpy(words, bytes, sizeof(words));
        if ((words[0] | words[1] | words[2] | words[3] | words[4] | words[5] |
             words[6] | words[7]) != 0)
            return false;
        bytes += 64;
        length_bytes -= 64;
    }
    while (length_bytes > 0 && *bytes == 0) {
        bytes++;
        length_bytes--;
    }
    return length_bytes == 0;
}

/* How many bytes from `bytes` on are zeros, in granules of the target. */
static size_t zero_run(const uint8_t *bytes, size_t length_bytes,
                       uint64_t target_offset_bytes)
{
    size_t run_bytes = 0;
    while (run_bytes < length_bytes) {
        uint64_t at = target_offset_bytes + run_bytes;
        size_t granule_bytes = GRANULE_BYTES - (size_t)(at % GRANULE_BYTES);
        if (granule_bytes > length_bytes - run_bytes)
            granule_bytes = length_bytes - run_bytes;
        if (!is_zero(bytes + run_bytes, granule_bytes))
            break;
        run_bytes += granule_bytes;
    }
    return run_bytes;
}

/* A stretch of a piece, in memory as in the target, modulo the page. */
struct stretch {
    struct local_file *target;
    const uint8_t *bytes;
    size_t length_bytes;
    uint64_t offset_bytes;    /* in the target */
    uint64_t piece_end_bytes; /* likewise */
};

static int write_data(struct worker *worker, const struct stretch *stretch,
                      size_t begin, size_t end)
{
    uint64_t from = stretch->offset_bytes + begin;
    uint64_t to = stretch->offset_bytes + end;
    if (to > worker->room_end_bytes) {
        uint64_t first = ds_max_u64(from, worker->room_end_bytes);
        uint64_t ahead =
            ds_min_u64(worker->dense_bytes, stretch->piece_end_bytes - first);
        worker->room_end_bytes = ds_max_u64(to, first + ahead);
        local_reserve(stretch->target, first, worker->room_end_bytes - first);
    }
    worker->dense_bytes += end - begin;
    return local_write_large(stretch->target, stretch->bytes + begin,
                             end - begin, from);
}

/* What was reserved and not written reads as zeros, whether it can be given
 * back or not. */
static void leave_hole(struct worker *worker, const struct stretch *stretch,
                       size_t begin)
{
    uint64_t from = stretch->offset_bytes + begin;
    worker->dense_bytes = 0;
    if (from >= worker->room_end_bytes)
        return;
    local_give_back(stretch->target, from, worker->room_end_bytes - from);
    worker->room_end_bytes = from;
}

/* Write what is not zero. A run of zeros at the stretch's edge may be part of
 * a longer one, so it is skipped however short. */
static int write_sparse(struct worker *worker, const struct stretch *stretch)
{
    const uint8_t *bytes = stretch->bytes;
    size_t length_bytes = stretch->length_bytes;
    size_t begin = 0; /* of what must be written */
    size_t next = 0;
    int rc = 0;
    while (next < length_bytes && rc == 0) {
        size_t zeros = zero_run(bytes + next, length_bytes - next,
                                stretch->offset_bytes + next);
        bool edge = next == 0 || next + zeros == length_bytes;
        if (zeros >= HOLE_BYTES_MIN || (zeros > 0 && edge)) {
            if (next > begin)
                rc = write_data(worker, stretch, begin, next);
            if (zeros >= HOLE_BYTES_MIN)
                leave_hole(worker, stretch, next);
            next += zeros;
            begin = next;
            continue;
        }
        next += zeros;
        uint64_t at = stretch->offset_bytes + next;
        size_t granule_bytes = GRANULE_BYTES - (size_t)(at % GRANULE_BYTES);
        next += (size_t)ds_min_u64(granule_bytes, length_bytes - next);
    }
    return rc == 0 && begin < length_bytes
               ? write_data(worker, stretch, begin, length_bytes)
               : rc;
}

static int read_fully(int fd, uint8_t *buffer, size_t length_bytes,
                      uint64_t offset_bytes)
{
    size_t done = 0;
    while (done < length_bytes) {
        ssize_t got = pread(fd, buffer + done, length_bytes - done,
                            (off_t)(offset_bytes + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0) /* the source became shorter */
            return -ENODATA;
        done += (size_t)got;
    }
    return 0;
}

/* Whether to stop; counts `length_bytes` as done. */
static bool account(struct pool *pool, uint64_t length_bytes)
{
    (void)pthread_mutex_lock(&pool->lock);
    pool->done_bytes += length_bytes;
    bool stop = pool->stop;
    (void)pthread_mutex_unlock(&pool->lock);
    return stop;
}

/* Let the server copy. Advances *done; 0 also when it copied only a part. */
static int copy_remote(struct pool *pool, const struct piece *piece,
                       uint64_t *done)
{
    const struct ds_op *op = piece->op;
    int source_fd = local_of(pool->run->sources[op->source_index])->fd;
    int target_fd = local_of(pool->run->targets[op->target_index])->fd;
    if (!local_is_remote(source_fd) && !local_is_remote(target_fd))
        return 0;
    while (*done < piece->length_bytes) {
        uint64_t at = piece->offset_bytes + *done;
        off_t from = (off_t)(op->source_offset_bytes + at);
        off_t to = (off_t)(op->target_offset_bytes + at);
        ssize_t got = copy_file_range(source_fd, &from, target_fd, &to,
                                      piece->length_bytes - *done, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) /* not here, or not across: by hand, which tells why */
            return 0;
        *done += (uint64_t)got;
        if (account(pool, (uint64_t)got))
            return -ECANCELED;
    }
    return 0;
}

static int write_stretch(struct worker *worker, const struct stretch *stretch)
{
    return stretch->target->target.holds_old
               ? local_write_fully(stretch->target->fd, stretch->bytes,
                                   stretch->length_bytes, stretch->offset_bytes)
               : write_sparse(worker, stretch);
}

static int copy_piece(struct pool *pool, struct piece *piece,
                      struct worker *worker)
{
    const struct ds_op *op = piece->op;
    const struct local_file *source =
        local_of(pool->run->sources[op->source_index]);
    struct local_file *target = local_of(pool->run->targets[op->target_index]);
    struct stretch stretch = {
        .target = target,
        .piece_end_bytes =
            op->target_offset_bytes + piece->offset_bytes + piece->length_bytes,
    };
    uint64_t done = 0;
    int rc = copy_remote(pool, piece, &done);
    worker->room_end_bytes = 0;
    while (rc == 0 && done < piece->length_bytes) {
        uint64_t skip = piece->offset_bytes + done;
        uint64_t to = op->target_offset_bytes + skip;
        /* In memory as in the target, modulo the page. */
        size_t phase = (size_t)(to % GRANULE_BYTES);
        uint8_t *bytes = worker->buffer + phase;
        size_t part = (size_t)ds_min_u64(BUFFER_BYTES - phase,
                                         piece->length_bytes - done);
        rc =
            read_fully(source->fd, bytes, part, op->source_offset_bytes + skip);
        piece->failed_source = rc != 0;
        piece->failed_bytes = skip;
        stretch.bytes = bytes;
        stretch.length_bytes = part;
        stretch.offset_bytes = to;
        if (rc == 0)
            rc = write_stretch(worker, &stretch);
        if (rc == 0 && pool->run->copied != NULL)
            pool->run->copied(pool->run->user, op, skip, bytes, part);
        if (rc != 0)
            break;
        done += part;
        if (account(pool, part))
            rc = -ECANCELED;
    }
    if (rc == 0 && piece->length_bytes >= FLUSH_BYTES_MIN)
        (void)sync_file_range(
            target->fd, (off_t)(op->target_offset_bytes + piece->offset_bytes),
            (off_t)piece->length_bytes, SYNC_FILE_RANGE_WRITE);
    return rc;
}

/* Under the lock. False when there is no more, or none is wanted. */
static bool next_piece(struct pool *pool, struct piece *out)
{
    while (!pool->stop && pool->cursor < pool->op_count) {
        struct ds_op *op = &pool->ops[pool->cursor];
        uint64_t left = op->length_bytes - pool->cursor_bytes;
        bool skip = op->kind != DS_OP_COPY || left == 0 ||
                    (pool->cursor_bytes > 0 && op->status != 0);
        if (skip) {
            if (op->kind == DS_OP_COPY && op->length_bytes == 0)
                op->status = 0;
            pool->cursor++;
            pool->cursor_bytes = 0;
            continue;
        }
        if (pool->cursor_bytes == 0)
            op->status = 0;
        out->op = op;
        out->offset_bytes = pool->cursor_bytes;
        out->length_bytes = ds_min_u64(left, PIECE_BYTES_MAX);
        out->failed_source = false;
        out->failed_bytes = out->offset_bytes;
        pool->cursor_bytes += out->length_bytes;
        return true;
    }
    return false;
}

static void *work(void *argument)
{
    struct pool *pool = argument;
    struct piece piece;
    struct worker worker = { .buffer = NULL };
    (void)pthread_mutex_lock(&pool->lock);
    worker.buffer = pool->buffers + BUFFER_BYTES * pool->begun_count++;
    while (next_piece(pool, &piece)) {
        (void)pthread_mutex_unlock(&pool->lock);
        int rc = copy_piece(pool, &piece, &worker);
        (void)pthread_mutex_lock(&pool->lock);
        if (rc != 0 && piece.op->status == 0) {
            piece.op->status = rc;
            piece.op->failed_source = piece.failed_source;
            piece.op->failed_bytes = piece.failed_bytes;
        }
        if (piece.offset_bytes + piece.length_bytes == piece.op->length_bytes)
            pool->done_ops++;
    }
    pool->working_count--;
    (void)pthread_cond_signal(&pool->changed);
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static unsigned worker_count(uint64_t total_bytes)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t count = cores < 1 ? 1 : (uint64_t)cores + 2; /* some wait */
    count = ds_min_u64(count, WORKER_COUNT_MAX);
    count = ds_min_u64(count, ds_div_up(total_bytes, 4 * DS_MIB));
    return (unsigned)ds_max_u64(count, 1);
}

/* Under the lock. */
static void wait_for_workers(struct pool *pool, struct local_progress *progress)
{
    const struct ds_progress before = progress->numbers;
    while (pool->working_count > 0) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += WAIT_NS;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&pool->changed, &pool->lock, &until);
        progress->numbers.done_bytes = before.done_bytes + pool->done_bytes;
        progress->numbers.done_ops = before.done_ops + pool->done_ops;
        (void)pthread_mutex_unlock(&pool->lock);
        bool stop = local_progress_tick(progress);
        (void)pthread_mutex_lock(&pool->lock);
        pool->stop = pool->stop || stop;
    }
    progress->numbers.done_bytes = before.done_bytes + pool->done_bytes;
    progress->numbers.done_ops = before.done_ops + pool->done_ops;
}

/* Signals are for the program's own threads. */
static unsigned start(struct pool *pool, pthread_t *threads, unsigned wanted)
{
    sigset_t all;
    sigset_t before;
    unsigned count = 0;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (count < wanted &&
           pthread_create(&threads[count], NULL, work, pool) == 0)
        count++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return count;
}

static void run_pool(struct pool *pool, uint64_t total_bytes,
                     struct local_progress *progress)
{
    pthread_t threads[WORKER_COUNT_MAX];
    unsigned count = 0;
    (void)pthread_mutex_lock(&pool->lock);
    pool->working_count = 0;
    if (total_bytes > DS_MIB) {
        /* The lock keeps those that began from counting themselves out. */
        count = start(pool, threads, pool->worker_count);
        pool->working_count = count;
    }
    if (count == 0) { /* too little to share out, or no thread to be had */
        pool->working_count = 1;
        (void)pthread_mutex_unlock(&pool->lock);
        (void)work(pool);
        (void)pthread_mutex_lock(&pool->lock);
    }
    wait_for_workers(pool, progress);
    (void)pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < count; i++)
        (void)pthread_join(threads[i], NULL);
}

static void fail_all(struct ds_op *ops, size_t count, int status)
{
    for (size_t i = 0; i < count; i++)
        if (ops[i].kind == DS_OP_COPY)
            ops[i].status = status;
}

/* Zeros at the very end were not written; the file must reach there. */
static int extend(struct local_file *target, uint64_t end_bytes)
{
    struct stat status;
    if (fstat(target->fd, &status) != 0)
        return -errno;
    if ((uint64_t)status.st_size >= end_bytes)
        return 0;
    return ftruncate(target->fd, (off_t)end_bytes) == 0 ? 0 : -errno;
}

void local_copy(const struct ds_run *run, struct ds_op *ops, size_t count,
                struct local_progress *progress)
{
    struct pool pool = { .run = run, .ops = ops, .op_count = count };
    uint64_t total_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind != DS_OP_COPY)
            continue;
        total_bytes += ops[i].length_bytes;
        (void)posix_fadvise(local_of(run->sources[ops[i].source_index])->fd, 0,
                            0, POSIX_FADV_SEQUENTIAL);
    }
    pool.worker_count = worker_count(total_bytes);
    pool.buffers = ds_buffer_alloc(pool.worker_count * BUFFER_BYTES);
    if (pool.buffers == NULL) {
        fail_all(ops, count, -ENOMEM);
        return;
    }
    pthread_condattr_t clock;
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&pool.lock, NULL);
    (void)pthread_cond_init(&pool.changed, &clock);
    run_pool(&pool, total_bytes, progress);
    (void)pthread_cond_destroy(&pool.changed);
    (void)pthread_mutex_destroy(&pool.lock);
    (void)pthread_condattr_destroy(&clock);
    free(pool.buffers);
    if (local_progress_tick(progress)) {
        if (pool.cursor < count && pool.cursor_bytes > 0 &&
            pool.cursor_bytes < ops[pool.cursor].length_bytes)
            ops[pool.cursor].status = -ECANCELED; /* handed out in part */
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct ds_op *op = &ops[i];
        if (op->kind == DS_OP_COPY && op->status == 0)
            ops[i].status = extend(local_of(run->targets[op->target_index]),
                                   op->target_offset_bytes + op->length_bytes);
    }
}
