/* SPDX-License-Identifier: Apache-2.0 */
#include "compare.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <xxhash.h>

#include "arith.h"
#include "fail.h"

#define WORKER_COUNT_MAX 8u
#define RING_COUNT 64u

struct job {
    struct ds_extent left;
    struct ds_extent right;
    size_t length_bytes;
};

struct compare {
    struct ds_file *const *left;
    struct ds_file *const *right;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job ring[RING_COUNT];
    size_t head; /* the next to be taken; counts on beyond the ring */
    size_t tail; /* the next to be put */
    bool closing;
    pthread_t threads[WORKER_COUNT_MAX];
    unsigned thread_count;
    uint64_t difference_offset_bytes;
    int result;
    struct ds_error err;
};

static uint64_t first_difference(const struct job *job, const uint8_t *left,
                                 const uint8_t *right)
{
    size_t same = 0;

    if (XXH128_isEqual(XXH3_128bits(left, job->length_bytes),
                       XXH3_128bits(right, job->length_bytes)))
        return DS_OFFSET_NONE;
    while (same < job->length_bytes && left[same] == right[same])
        same++;
    return job->left.guest_offset_bytes + same;
}

static int compare_job(struct reader *left, struct reader *right,
                       const struct job *job, uint64_t *difference,
                       struct ds_error *err)
{
    const uint8_t *left_bytes, *right_bytes;
    int result =
        reader_read(left, &job->left, job->length_bytes, &left_bytes, err);

    if (result == 0)
        result = reader_read(right, &job->right, job->length_bytes,
                             &right_bytes, err);
    if (result == 0)
        *difference = first_difference(job, left_bytes, right_bytes);
    return result;
}

/* False when there is no more. */
static bool take(struct compare *compare, struct job *out)
{
    bool got;

    (void)pthread_mutex_lock(&compare->lock);
    while (compare->head == compare->tail && !compare->closing)
        (void)pthread_cond_wait(&compare->changed, &compare->lock);
    got = compare->head != compare->tail;
    if (got)
        *out = compare->ring[compare->head++ % RING_COUNT];
    (void)pthread_cond_broadcast(&compare->changed);
    (void)pthread_mutex_unlock(&compare->lock);
    return got;
}

static void note(struct compare *compare, int result, uint64_t difference,
                 const struct ds_error *err)
{
    (void)pthread_mutex_lock(&compare->lock);
    compare->difference_offset_bytes =
        ds_min_u64(compare->difference_offset_bytes, difference);
    if (result != 0 && compare->result == 0) {
        compare->result = result;
        compare->err = *err;
    }
    (void)pthread_mutex_unlock(&compare->lock);
}

static void *work(void *argument)
{
    struct compare *compare = argument;
    struct ds_error err = DS_ERROR_INIT;
    struct reader left = { 0 }, right = { 0 };
    struct job job;
    int result = reader_init(&left, compare->left, &err);

    if (result == 0)
        result = reader_init(&right, compare->right, &err);
    while (take(compare, &job)) {
        uint64_t difference = DS_OFFSET_NONE;

        /* After an error the rest is only taken away. */
        if (result == 0)
            result = compare_job(&left, &right, &job, &difference, &err);
        note(compare, result, difference, &err);
    }
    reader_free(&left);
    reader_free(&right);
    return NULL;
}

int compare_open(struct ds_file *const *left, struct ds_file *const *right,
                 struct compare **out, struct ds_error *err)
{
    struct compare *compare = calloc(1, sizeof(*compare));

    if (compare == NULL)
        return ds_fail_memory(err);
    compare->left = left;
    compare->right = right;
    compare->difference_offset_bytes = DS_OFFSET_NONE;
    (void)pthread_mutex_init(&compare->lock, NULL);
    (void)pthread_cond_init(&compare->changed, NULL);
    *out = compare;
    return 0;
}

static int start(struct compare *compare, struct ds_error *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned wanted =
        cores < 1 ? 1 : (unsigned)ds_min_u64((uint64_t)cores, WORKER_COUNT_MAX);

    while (compare->thread_count < wanted &&
           pthread_create(&compare->threads[compare->thread_count], NULL, work,
                          compare) == 0)
        compare->thread_count++;
    return compare->thread_count > 0
               ? 0
               : ds_fail(err, DS_ERR_SYSTEM, "verify: no thread to be had");
}

int compare_add(struct compare *compare, const struct ds_extent *left,
                const struct ds_extent *right, size_t length_bytes,
                struct ds_error *err)
{
    bool stop;

    if (compare->thread_count == 0) {
        int result = start(compare, err);

        if (result != 0)
            return result;
    }
    (void)pthread_mutex_lock(&compare->lock);
    while (compare->tail - compare->head == RING_COUNT)
        (void)pthread_cond_wait(&compare->changed, &compare->lock);
    compare->ring[compare->tail++ % RING_COUNT] =
        (struct job){ *left, *right, length_bytes };
    stop = compare->result != 0 ||
           compare->difference_offset_bytes != DS_OFFSET_NONE;
    (void)pthread_cond_broadcast(&compare->changed);
    (void)pthread_mutex_unlock(&compare->lock);
    return stop ? 1 : 0;
}

static void join_all(struct compare *compare)
{
    (void)pthread_mutex_lock(&compare->lock);
    compare->closing = true;
    (void)pthread_cond_broadcast(&compare->changed);
    (void)pthread_mutex_unlock(&compare->lock);
    while (compare->thread_count > 0)
        (void)pthread_join(compare->threads[--compare->thread_count], NULL);
}

int compare_finish(struct compare *compare, uint64_t *difference_offset_bytes,
                   struct ds_error *err)
{
    join_all(compare);
    *difference_offset_bytes = compare->difference_offset_bytes;
    if (compare->result != 0 && err != NULL)
        *err = compare->err;
    return compare->result;
}

void compare_close(struct compare *compare)
{
    if (compare == NULL)
        return;
    join_all(compare);
    (void)pthread_cond_destroy(&compare->changed);
    (void)pthread_mutex_destroy(&compare->lock);
    free(compare);
}
