/* SPDX-License-Identifier: Apache-2.0 */
#include "decode.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "buffer.h"
#include "crew.h"
#include "fail.h"
#include "read.h"

#define GROUP_BYTES (UINT64_C(1) << 20)
#define GROUP_COUNT_MAX 64u
/* One unit may be larger than a group. */
#define BUFFER_BYTES ((size_t)DS_ENCODED_UNIT_BYTES_MAX)

struct group {
    struct ds_extent extents[GROUP_COUNT_MAX];
    size_t count;
    uint64_t length_bytes;
    uint32_t target_index;
    uint64_t target_offset_bytes;
    size_t first_op; /* DECODE operations from here to before end_op */
    size_t end_op;
};

struct worker {
    struct reader reader;
    uint8_t *room;  /* GROUP_BYTES of decoding.rooms */
    uint8_t *large; /* BUFFER_BYTES of its own, when first needed */
    struct group group;
};

struct decoding {
    struct crew *crew;
    uint8_t *rooms; /* of all workers, two to a huge page */
    struct worker workers[CREW_COUNT_MAX + 1]; /* the last: the caller */
    const struct decode_job *job;
    struct ds_run quiet; /* for the workers: progress is the caller's */
    struct ds_op *ops;
    size_t count;
    pthread_mutex_t lock;
    size_t next;
    uint64_t next_bytes; /* how much of that one is handed out */
    uint64_t done_bytes;
    int result; /* the first error */
    struct ds_error err;
};

/* -- groups ---------------------------------------------------------------*/

static struct ds_extent extent_of(const struct ds_op *op, uint64_t skip)
{
    struct ds_extent extent = {
        .guest_offset_bytes = op->guest_offset_bytes,
        .length_bytes = op->length_bytes,
        .kind = op->encoding.codec == DS_CODEC_NONE ? DS_EXTENT_DATA
                                                    : DS_EXTENT_ENCODED,
        .file_index = op->source_index,
        .file_offset_bytes = op->source_offset_bytes,
        .encoding = op->encoding,
    };

    extent_advance(&extent, skip);
    return extent;
}

static bool joins(const struct group *group, const struct ds_op *op)
{
    const struct ds_extent *last = &group->extents[group->count - 1];

    return group->count < GROUP_COUNT_MAX &&
           group->length_bytes + op->length_bytes <= GROUP_BYTES &&
           op->target_index == group->target_index &&
           op->target_offset_bytes ==
               group->target_offset_bytes + group->length_bytes &&
           op->guest_offset_bytes ==
               last->guest_offset_bytes + last->length_bytes;
}

/* Compressed units are decoded whole, the rest can be cut. */
static uint64_t part_of(const struct ds_op *op, uint64_t done)
{
    bool is_whole = op->encoding.codec != DS_CODEC_NONE &&
                    !codec_is_cipher(op->encoding.codec);
    uint64_t most = is_whole ? BUFFER_BYTES : GROUP_BYTES;

    return ds_min_u64(op->length_bytes - done, most);
}

/* Add what is left of the next operation, or a part. False: it does not
 * belong to the group. */
static bool add_next(struct decoding *d, struct group *group)
{
    struct ds_op *op = &d->ops[d->next];
    uint64_t part = part_of(op, d->next_bytes);

    if (group->count > 0 && (d->next_bytes > 0 || !joins(group, op)))
        return false;
    if (group->count == 0) {
        group->first_op = d->next;
        group->target_index = op->target_index;
        group->target_offset_bytes = op->target_offset_bytes + d->next_bytes;
    }
    if (d->next_bytes == 0)
        op->status = 0;
    group->extents[group->count] = extent_of(op, d->next_bytes);
    group->extents[group->count++].length_bytes = part;
    group->length_bytes += part;
    group->end_op = d->next + 1;
    d->next_bytes += part;
    return true;
}

static bool next_group(struct decoding *d, struct group *group)
{
    group->count = 0;
    group->length_bytes = 0;
    (void)pthread_mutex_lock(&d->lock);
    while (d->result == 0 && d->next < d->count) {
        const struct ds_op *op = &d->ops[d->next];

        if (op->kind == DS_OP_DECODE && d->next_bytes < op->length_bytes) {
            if (!add_next(d, group))
                break;
            if (d->next_bytes < op->length_bytes)
                break;
        }
        d->next++;
        d->next_bytes = 0;
    }
    (void)pthread_mutex_unlock(&d->lock);
    return group->count > 0;
}

static void finish_group(struct decoding *d, const struct group *group,
                         int status, int result, const struct ds_error *err)
{
    (void)pthread_mutex_lock(&d->lock);
    for (size_t i = group->first_op; i < group->end_op && status != 0; i++)
        if (d->ops[i].kind == DS_OP_DECODE)
            d->ops[i].status = status;
    if (result != 0 && d->result == 0) {
        d->result = result;
        d->err = *err;
    }
    d->done_bytes += group->length_bytes;
    (void)pthread_mutex_unlock(&d->lock);
}

/* -- one group ------------------------------------------------------------*/

static bool is_zero(const uint8_t *bytes, size_t length_bytes)
{
    return length_bytes == 0 ||
           (bytes[0] == 0 && memcmp(bytes, bytes + 1, length_bytes - 1) == 0);
}

static int write_out(const struct decoding *d, const struct group *group,
                     uint64_t skip_bytes, const uint8_t *bytes,
                     size_t length_bytes, int *status, struct ds_error *err)
{
    struct ds_op write = {
        .kind = DS_OP_WRITE,
        .target_index = group->target_index,
        .target_offset_bytes = group->target_offset_bytes + skip_bytes,
        .length_bytes = length_bytes,
        .data = bytes,
    };
    int result;

    if (length_bytes == 0)
        return 0;
    result = d->job->store->run(&d->quiet, &write, 1, err);
    *status = write.status;
    return result;
}

/* What is zeros as a whole stays a hole where it can. */
static int write_group(const struct decoding *d, const struct group *group,
                       const uint8_t *bytes, int *status, struct ds_error *err)
{
    size_t begin = 0, end = 0;
    int result = 0;

    for (size_t i = 0; i < group->count && result == 0 && *status == 0; i++) {
        size_t length = (size_t)group->extents[i].length_bytes;

        if (d->job->keep_holes && is_zero(bytes + end, length)) {
            result = write_out(d, group, begin, bytes + begin, end - begin,
                               status, err);
            begin = end + length;
        }
        end += length;
    }
    return result != 0 || *status != 0
               ? result
               : write_out(d, group, begin, bytes + begin, end - begin, status,
                           err);
}

static void note(struct witness *witness, const struct group *group,
                 const uint8_t *bytes)
{
    struct witness_place place = { 0 };
    struct witness_record record = {
        .offset_bytes = group->extents[0].file_offset_bytes,
        .file_index = group->extents[0].file_index,
        .length_bytes = (uint32_t)group->length_bytes,
        .skip_bytes = group->extents[0].encoding.skip_bytes,
    };

    for (size_t i = 0; i < group->count; i++)
        witness_place_add(&place, &group->extents[i]);
    record.place = witness_place_end(&place);
    record.digest = XXH3_128bits(bytes, (size_t)group->length_bytes);
    witness_note(witness, &record);
}

static uint8_t *room_for(struct worker *worker, uint64_t length_bytes)
{
    if (length_bytes <= GROUP_BYTES)
        return worker->room;
    if (worker->large == NULL)
        worker->large = ds_buffer_alloc(BUFFER_BYTES);
    return worker->large;
}

static int decode_group(struct decoding *d, struct worker *worker, int *status,
                        struct ds_error *err)
{
    const struct group *group = &worker->group;
    uint8_t *bytes = room_for(worker, group->length_bytes);
    int result;

    if (bytes == NULL)
        return ds_fail_memory(err);
    worker->reader.files = d->quiet.sources;
    result = reader_gather(&worker->reader, group->extents, group->count, bytes,
                           err);
    if (result == 0 && d->job->witness != NULL)
        note(d->job->witness, group, bytes);
    return result != 0 ? result : write_group(d, group, bytes, status, err);
}

/* Tell how far all have come. Only the caller does. */
static int report(struct decoding *d, struct ds_error *err)
{
    const struct ds_run *run = d->job->run;
    struct ds_progress progress = { .phase = "execute" };

    if (run->progress == NULL)
        return 0;
    (void)pthread_mutex_lock(&d->lock);
    progress.done_bytes = d->done_bytes;
    progress.done_ops = d->next;
    (void)pthread_mutex_unlock(&d->lock);
    if (run->progress(run->user, &progress) != 0)
        return ds_fail(err, DS_ERR_CANCELLED, "cancelled while decoding");
    return 0;
}

static void work(void *user, unsigned index)
{
    struct decoding *d = user;
    struct worker *worker = &d->workers[index];
    bool reports = index == crew_count(d->crew);

    while (next_group(d, &worker->group)) {
        struct ds_error err = DS_ERROR_INIT;
        int status = 0;
        int result = decode_group(d, worker, &status, &err);

        if (result == 0 && reports)
            result = report(d, &err);
        finish_group(d, &worker->group, status, result, &err);
    }
}

/* -- a run ----------------------------------------------------------------*/

int decoding_open(unsigned waiting_count, struct decoding **out,
                  struct ds_error *err)
{
    struct decoding *d = calloc(1, sizeof(*d));
    unsigned count;
    int result;

    if (d == NULL)
        return ds_fail_memory(err);
    result = crew_open(crew_size(waiting_count) - 1, &d->crew, err);
    if (result != 0) {
        free(d);
        return result;
    }
    (void)pthread_mutex_init(&d->lock, NULL);
    count = crew_count(d->crew) + 1;
    d->rooms = ds_buffer_alloc(count * (size_t)GROUP_BYTES);
    if (d->rooms == NULL) {
        decoding_close(d);
        return ds_fail_memory(err);
    }
    for (unsigned i = 0; i < count; i++)
        d->workers[i].room = d->rooms + i * (size_t)GROUP_BYTES;
    *out = d;
    return 0;
}

void decoding_close(struct decoding *decoding)
{
    if (decoding == NULL)
        return;
    crew_close(decoding->crew);
    for (unsigned i = 0; i <= CREW_COUNT_MAX; i++) {
        reader_free(&decoding->workers[i].reader);
        free(decoding->workers[i].large);
    }
    free(decoding->rooms);
    (void)pthread_mutex_destroy(&decoding->lock);
    free(decoding);
}

int decoding_run(struct decoding *d, const struct decode_job *job,
                 struct ds_op *ops, size_t count, struct ds_error *err)
{
    d->job = job;
    d->quiet = *job->run;
    d->quiet.progress = NULL;
    d->ops = ops;
    d->count = count;
    d->next = 0;
    d->next_bytes = 0;
    d->done_bytes = 0;
    d->result = 0;
    crew_begin(d->crew, work, d);
    work(d, crew_count(d->crew));
    crew_end(d->crew);
    if (d->result != 0 && err != NULL)
        *err = d->err;
    return d->result;
}
