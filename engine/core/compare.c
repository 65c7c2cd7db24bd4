/* SPDX-License-Identifier: Apache-2.0 */
#include "compare.h"

#include <pthread.h>
#include <stdlib.h>

#include "arith.h"
#include "buffer.h"
#include "crew.h"
#include "fail.h"

#define RING_COUNT 16u
/* Room for both sides. A huge page is taken as a whole: not for jobs that are
 * all small. */
#define ROOM_BYTES COMPARE_PIECES_BYTES_MAX
#define SMALL_ROOM_BYTES ((size_t)256 * 1024)
_Static_assert(2 * READ_CHUNK_BYTES <= ROOM_BYTES, "holds both sides");

struct job {
    struct compare_pieces right;
    struct ds_extent left;
    bool has_left; /* else the right side has to have the digest */
};

struct worker {
    struct reader left_reader;
    struct reader right_reader;
    uint8_t *room; /* the right side's bytes; at its half the left's */
    size_t room_bytes;
    struct job job;
    int result;
};

struct compare {
    struct ds_file *const *left;
    struct ds_file *const *right;
    unsigned waiting_count;
    struct crew *crew; /* NULL before the first job */
    struct worker *workers;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job ring[RING_COUNT];
    size_t head; /* the next to be taken; counts on beyond the ring */
    size_t tail; /* the next to be put */
    bool closing;
    struct compare_difference difference;
    int result;
    struct ds_error err;
};

static const struct compare_difference no_difference = { DS_OFFSET_NONE, 1 };

/* -- one job --------------------------------------------------------------*/

static struct compare_difference first_difference(const struct job *job,
                                                  const uint8_t *left,
                                                  const uint8_t *right)
{
    struct compare_difference difference = { job->left.guest_offset_bytes, 1 };
    size_t length = job->right.length_bytes;

    if (XXH128_isEqual(XXH3_128bits(left, length), XXH3_128bits(right, length)))
        return no_difference;
    for (size_t i = 0; i < length && left[i] == right[i]; i++)
        difference.offset_bytes++;
    return difference;
}

static struct compare_difference
hold_against(const struct compare_pieces *right, const uint8_t *bytes)
{
    struct compare_difference difference = {
        right->extents[0].guest_offset_bytes, right->length_bytes
    };

    return XXH128_isEqual(XXH3_128bits(bytes, right->length_bytes),
                          right->digest)
               ? no_difference
               : difference;
}

static int need_room(struct worker *worker, struct ds_error *err)
{
    const struct job *job = &worker->job;
    size_t sides = job->has_left ? 2 : 1;
    size_t least = sides * job->right.length_bytes;
    size_t room_bytes =
        least <= SMALL_ROOM_BYTES ? SMALL_ROOM_BYTES : ROOM_BYTES;

    if (worker->room_bytes >= room_bytes)
        return 0;
    free(worker->room);
    worker->room = ds_buffer_alloc(room_bytes);
    worker->room_bytes = worker->room != NULL ? room_bytes : 0;
    return worker->room != NULL ? 0 : ds_fail_memory(err);
}

static int compare_job(struct worker *worker,
                       struct compare_difference *difference,
                       struct ds_error *err)
{
    const struct job *job = &worker->job;
    int result = need_room(worker, err);
    uint8_t *left, *right = worker->room;

    if (result != 0)
        return result;
    left = right + worker->room_bytes / 2;
    if (job->has_left)
        result = reader_gather(&worker->left_reader, &job->left, 1, left, err);
    if (result == 0)
        result = reader_gather(&worker->right_reader, job->right.extents,
                               job->right.count, right, err);
    if (result == 0)
        *difference = job->has_left ? first_difference(job, left, right)
                                    : hold_against(&job->right, right);
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

static void note(struct compare *compare, int result,
                 const struct compare_difference *difference,
                 const struct ds_error *err)
{
    (void)pthread_mutex_lock(&compare->lock);
    if (difference->offset_bytes < compare->difference.offset_bytes)
        compare->difference = *difference;
    if (result != 0 && compare->result == 0) {
        compare->result = result;
        compare->err = *err;
    }
    (void)pthread_mutex_unlock(&compare->lock);
}

static void work(void *user, unsigned index)
{
    struct compare *compare = user;
    struct worker *worker = &compare->workers[index];
    struct ds_error err = DS_ERROR_INIT;

    reader_init(&worker->left_reader, compare->left);
    reader_init(&worker->right_reader, compare->right);
    while (take(compare, &worker->job)) {
        struct compare_difference difference = no_difference;

        /* After an error the rest is only taken away. */
        if (worker->result == 0)
            worker->result = compare_job(worker, &difference, &err);
        note(compare, worker->result, &difference, &err);
    }
    reader_free(&worker->left_reader);
    reader_free(&worker->right_reader);
    free(worker->room);
}

/* -- the ring -------------------------------------------------------------*/

int compare_open(struct ds_file *const *left, struct ds_file *const *right,
                 unsigned waiting_count, struct compare **out,
                 struct ds_error *err)
{
    struct compare *compare = calloc(1, sizeof(*compare));

    if (compare == NULL)
        return ds_fail_memory(err);
    compare->left = left;
    compare->right = right;
    compare->waiting_count = waiting_count;
    compare->difference = no_difference;
    (void)pthread_mutex_init(&compare->lock, NULL);
    (void)pthread_cond_init(&compare->changed, NULL);
    *out = compare;
    return 0;
}

static int start(struct compare *compare, struct ds_error *err)
{
    int result;

    if (compare->crew != NULL)
        return 0;
    result = crew_open(crew_size(compare->waiting_count), &compare->crew, err);
    if (result != 0)
        return result;
    if (crew_count(compare->crew) == 0)
        return ds_fail(err, DS_ERR_SYSTEM, "verify: no thread to be had");
    compare->workers =
        calloc(crew_count(compare->crew), sizeof(*compare->workers));
    if (compare->workers == NULL)
        return ds_fail_memory(err);
    crew_begin(compare->crew, work, compare);
    return 0;
}

static int add(struct compare *compare, const struct ds_extent *left,
               const struct compare_pieces *right, struct ds_error *err)
{
    int result = start(compare, err);
    struct job *job;
    bool stop;

    if (result != 0)
        return result;
    (void)pthread_mutex_lock(&compare->lock);
    while (compare->tail - compare->head == RING_COUNT)
        (void)pthread_cond_wait(&compare->changed, &compare->lock);
    job = &compare->ring[compare->tail++ % RING_COUNT];
    job->right = *right;
    job->has_left = left != NULL;
    if (left != NULL) {
        job->left = *left;
        job->left.length_bytes = right->length_bytes;
    }
    stop = compare->result != 0 ||
           compare->difference.offset_bytes != DS_OFFSET_NONE;
    (void)pthread_cond_broadcast(&compare->changed);
    (void)pthread_mutex_unlock(&compare->lock);
    return stop ? 1 : 0;
}

int compare_add(struct compare *compare, const struct ds_extent *left,
                const struct ds_extent *right, size_t length_bytes,
                struct ds_error *err)
{
    struct compare_pieces pieces = { .count = 1, .length_bytes = length_bytes };

    pieces.extents[0] = *right;
    pieces.extents[0].length_bytes = length_bytes;
    return add(compare, left, &pieces, err);
}

int compare_add_pieces(struct compare *compare,
                       const struct compare_pieces *pieces,
                       struct ds_error *err)
{
    return add(compare, NULL, pieces, err);
}

static void join_all(struct compare *compare)
{
    (void)pthread_mutex_lock(&compare->lock);
    compare->closing = true;
    (void)pthread_cond_broadcast(&compare->changed);
    (void)pthread_mutex_unlock(&compare->lock);
    if (compare->workers != NULL)
        crew_end(compare->crew);
    crew_close(compare->crew);
    free(compare->workers);
    compare->crew = NULL;
    compare->workers = NULL;
}

int compare_finish(struct compare *compare,
                   struct compare_difference *difference, struct ds_error *err)
{
    join_all(compare);
    *difference = compare->difference;
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
