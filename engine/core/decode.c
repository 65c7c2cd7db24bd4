/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers take one operation after the other; each reads, decodes and writes
 * by itself, since the places are disjoint. Memory: a decoder per core.
 */
#include "decode.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "arith.h"
#include "codec.h"
#include "fail.h"

#define WORKER_COUNT_MAX 16u

struct pool {
    const struct decode_job *job;
    struct ds_run quiet; /* for the workers: progress is this thread's */
    struct ds_op *ops;
    size_t count;
    pthread_mutex_t lock;
    size_t next;
    uint64_t done_bytes;
    int result; /* the first error */
    struct ds_error err;
};

static bool is_zero(const uint8_t *bytes, size_t length_bytes)
{
    return length_bytes == 0 ||
           (bytes[0] == 0 && memcmp(bytes, bytes + 1, length_bytes - 1) == 0);
}

static int write_out(const struct pool *pool, const struct ds_op *op,
                     uint64_t skip_bytes, const uint8_t *bytes,
                     size_t length_bytes, int *status, struct ds_error *err)
{
    struct ds_op write = {
        .kind = DS_OP_WRITE,
        .target_index = op->target_index,
        .target_offset_bytes = op->target_offset_bytes + skip_bytes,
        .length_bytes = length_bytes,
        .data = bytes,
    };
    int result;

    *status = 0;
    if (pool->job->keep_holes && is_zero(bytes, length_bytes))
        return 0;
    result = pool->job->store->run(&pool->quiet, &write, 1, err);
    *status = write.status;
    return result;
}

static int decode_one(struct decoder *decoder, const struct pool *pool,
                      struct ds_op *op, struct ds_error *err)
{
    struct ds_file *file = pool->quiet.sources[op->source_index];
    struct ds_extent extent = {
        .length_bytes = op->length_bytes,
        .kind = DS_EXTENT_ENCODED,
        .file_index = op->source_index,
        .file_offset_bytes = op->source_offset_bytes,
        .encoding = op->encoding,
    };
    uint64_t done = 0;
    int result = 0;

    op->status = 0;
    while (result == 0 && op->status == 0 && done < op->length_bytes) {
        size_t part = (size_t)ds_min_u64(op->length_bytes - done,
                                         DS_ENCODED_UNIT_BYTES_MAX);
        const uint8_t *bytes;

        result = decoder_read(decoder, file, &extent, done, part, &bytes, err);
        if (result == 0)
            result = write_out(pool, op, done, bytes, part, &op->status, err);
        done += part;
    }
    return result;
}

/* The next operation to decode; NULL when there is none or one failed. */
static struct ds_op *next_op(struct pool *pool)
{
    struct ds_op *op = NULL;

    (void)pthread_mutex_lock(&pool->lock);
    while (pool->result == 0 && op == NULL && pool->next < pool->count) {
        if (pool->ops[pool->next].kind == DS_OP_DECODE)
            op = &pool->ops[pool->next];
        pool->next++;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return op;
}

static void finish_op(struct pool *pool, const struct ds_op *op, int result,
                      const struct ds_error *err)
{
    (void)pthread_mutex_lock(&pool->lock);
    if (result != 0 && pool->result == 0) {
        pool->result = result;
        pool->err = *err;
    }
    if (op != NULL)
        pool->done_bytes += op->length_bytes;
    (void)pthread_mutex_unlock(&pool->lock);
}

/* Tell how far all have come. Only the calling thread does. */
static int report(struct pool *pool, struct ds_error *err)
{
    const struct ds_run *run = pool->job->run;
    struct ds_progress progress = { .phase = "execute" };

    if (run->progress == NULL)
        return 0;
    (void)pthread_mutex_lock(&pool->lock);
    progress.done_bytes = pool->done_bytes;
    progress.done_ops = pool->next;
    (void)pthread_mutex_unlock(&pool->lock);
    if (run->progress(run->user, &progress) != 0)
        return ds_fail(err, DS_ERR_CANCELLED, "cancelled while decoding");
    return 0;
}

static void decode_all(struct pool *pool, bool reports)
{
    struct ds_error err = DS_ERROR_INIT;
    struct decoder *decoder = NULL;
    struct ds_op *op = NULL;
    int result = decoder_open(&decoder, &err);

    while (result == 0 && (op = next_op(pool)) != NULL) {
        result = decode_one(decoder, pool, op, &err);
        if (result == 0 && reports)
            result = report(pool, &err);
        finish_op(pool, op, result, &err);
    }
    if (op == NULL)
        finish_op(pool, NULL, result, &err);
    decoder_close(decoder);
}

static void *work(void *argument)
{
    decode_all(argument, false);
    return NULL;
}

int decode_run(const struct decode_job *job, struct ds_op *ops, size_t count,
               struct ds_error *err)
{
    struct pool pool = { .job = job, .ops = ops, .count = count };
    pthread_t threads[WORKER_COUNT_MAX];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t wanted = ds_min_u64(cores < 1 ? 1 : (uint64_t)cores,
                                 ds_min_u64(count, WORKER_COUNT_MAX));
    uint64_t started = 0;

    pool.quiet = *job->run;
    pool.quiet.progress = NULL;
    (void)pthread_mutex_init(&pool.lock, NULL);
    /* This thread works too, so that no thread to be had is no fault. */
    while (started + 1 < wanted &&
           pthread_create(&threads[started], NULL, work, &pool) == 0)
        started++;
    decode_all(&pool, true);
    while (started > 0)
        (void)pthread_join(threads[--started], NULL);
    (void)pthread_mutex_destroy(&pool.lock);
    if (pool.result != 0 && err != NULL)
        *err = pool.err;
    return pool.result;
}
