/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "buffer.h"
#include "codec.h"
#include "compress.h"
#include "crew.h"
#include "fail.h"
#include "read.h"
#include "witness.h"

/* What one worker takes at once, unless a unit is larger. Of small units not
 * more than verification takes as one. */
#define GROUP_BYTES (UINT64_C(256) << 10)
#define GROUP_COUNT_MAX 64u
#define EXTENT_COUNT_MAX 64u
#define BATCH_COUNT 2u

struct slot {
    uint64_t unit;
    uint64_t data_bytes;   /* of the guest's data in it */
    uint8_t *stored;       /* what goes into the file */
    uint64_t stored_bytes; /* 0: the unit is zeros */
};

struct batch {
    struct slot *slots;
    size_t used;
};

struct worker {
    struct ds_map *map;
    struct reader reader;
    struct compressor *compressor;
    uint8_t *units;
    struct ds_extent extents[EXTENT_COUNT_MAX];
    int result;
    struct ds_error err;
};

struct encoding {
    struct ds_plan *plan;
    struct emit *emit;
    uint64_t unit_bytes;
    size_t group_count; /* units that a worker takes at most */
    size_t room_bytes;  /* of a slot's stored form */
    size_t slot_count;  /* room for, in a batch */
    struct batch batches[BATCH_COUNT];
    struct batch *filling; /* by the caller */
    struct batch *working; /* by the workers; NULL: they rest */
    struct crew *crew;
    pthread_mutex_t lock;
    size_t next; /* the slot that the next free worker takes */
    struct worker workers[CREW_COUNT_MAX];
    unsigned worker_count;
};

/* -- a group of units -----------------------------------------------------*/

static int gather(struct worker *worker, size_t count, uint8_t *out,
                  struct witness_place *place, struct ds_error *err)
{
    for (size_t i = 0; i < count; i++)
        witness_place_add(place, &worker->extents[i]);
    return reader_gather(&worker->reader, worker->extents, count, out, err);
}

/* The guest's bytes of [begin, end). */
static int read_guest(struct worker *worker, uint64_t begin, uint64_t end,
                      struct witness_place *place, struct ds_error *err)
{
    uint64_t position = begin, gathered = begin;
    size_t count = 0;
    int result = 0;

    ds_map_seek(worker->map, begin);
    while (result == 0 && position < end) {
        struct ds_extent *extent = &worker->extents[count];

        result = ds_map_next(worker->map, extent, err);
        if (result <= 0)
            break;
        extent->length_bytes = ds_min_u64(extent->length_bytes, end - position);
        position += extent->length_bytes;
        result = 0;
        if (++count < EXTENT_COUNT_MAX && position < end)
            continue;
        result = gather(worker, count, worker->units + (gathered - begin),
                        place, err);
        gathered = position;
        count = 0;
    }
    return result;
}

static void testify(struct witness *witness, const struct worker *worker,
                    struct witness_place *place, uint64_t begin, uint64_t end)
{
    struct witness_record record = {
        .offset_bytes = begin,
        .file_index = DS_FILE_NONE,
        .length_bytes = (uint32_t)(end - begin),
        .place = witness_place_end(place),
        .digest = XXH3_128bits(worker->units, (size_t)(end - begin)),
    };

    witness_note(witness, &record);
}

/* Beyond the disk's end it is zeros. */
static int read_group(struct encoding *encoding, struct worker *worker,
                      uint64_t unit, size_t count, struct ds_error *err)
{
    struct witness_place place = { 0 };
    uint64_t begin = unit * encoding->unit_bytes;
    uint64_t whole = count * encoding->unit_bytes;
    uint64_t end = ds_min_u64(begin + whole, encoding->plan->disk->size_bytes);
    int result = read_guest(worker, begin, end, &place, err);

    memset(worker->units + (end - begin), 0, (size_t)(whole - (end - begin)));
    if (result == 0 && encoding->plan->witness != NULL)
        testify(encoding->plan->witness, worker, &place, begin, end);
    return result;
}

static bool is_zero(const uint8_t *bytes, size_t length_bytes)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, length_bytes - 1) == 0;
}

static void encode_slot(const struct encoding *encoding, struct worker *worker,
                        struct slot *slot, const uint8_t *unit)
{
    size_t unit_bytes = (size_t)encoding->unit_bytes;
    bool always = encoding->plan->target->layout.encode == DS_CODEC_ZLIB;

    slot->stored_bytes = 0;
    if (is_zero(unit, unit_bytes))
        return;
    slot->stored_bytes = compressor_run(worker->compressor, unit, unit_bytes,
                                        slot->stored, encoding->room_bytes);
    /* A stream's grain is a zlib stream whatever it costs; elsewhere a unit
     * that does not shrink is stored as it is. */
    if (!always && slot->stored_bytes >= unit_bytes) {
        memcpy(slot->stored, unit, unit_bytes);
        slot->stored_bytes = unit_bytes;
    }
}

/* The next units that follow each other; returns how many. */
static size_t take_slots(struct encoding *encoding, struct slot **first)
{
    const struct batch *batch = encoding->working;
    size_t count = 0;

    (void)pthread_mutex_lock(&encoding->lock);
    *first = &batch->slots[encoding->next];
    while (encoding->next < batch->used && count < encoding->group_count &&
           (*first)[count].unit == (*first)->unit + count) {
        encoding->next++;
        count++;
    }
    (void)pthread_mutex_unlock(&encoding->lock);
    return count;
}

static void work(void *user, unsigned index)
{
    struct encoding *encoding = user;
    struct worker *worker = &encoding->workers[index];
    struct slot *first;
    size_t count;

    while (worker->result == 0 && (count = take_slots(encoding, &first)) > 0) {
        worker->result =
            read_group(encoding, worker, first->unit, count, &worker->err);
        for (size_t i = 0; i < count && worker->result == 0; i++)
            encode_slot(encoding, worker, &first[i],
                        worker->units + i * encoding->unit_bytes);
    }
}

/* -- batches --------------------------------------------------------------*/

/* Let the workers begin with the batch that was filled. */
static void begin_batch(struct encoding *encoding)
{
    encoding->working = encoding->filling;
    encoding->next = 0;
    if (crew_count(encoding->crew) > 0)
        crew_begin(encoding->crew, work, encoding);
    else
        work(encoding, 0);
}

/* Wait for the workers; *out is what they have finished, or NULL. */
static int end_batch(struct encoding *encoding, struct batch **out,
                     struct ds_error *err)
{
    *out = encoding->working;
    if (encoding->working == NULL)
        return 0;
    crew_end(encoding->crew);
    encoding->working = NULL;
    for (unsigned i = 0; i < encoding->worker_count; i++) {
        if (encoding->workers[i].result == 0)
            continue;
        if (err != NULL)
            *err = encoding->workers[i].err;
        return encoding->workers[i].result;
    }
    return 0;
}

static int report_progress(const struct encoding *encoding, uint64_t unit,
                           struct ds_error *err)
{
    const struct survey_request *request = &encoding->plan->request;
    struct ds_progress progress = {
        .phase = "execute",
        .done_bytes = unit * encoding->unit_bytes,
        .total_bytes = encoding->plan->disk->size_bytes,
    };

    if (request->progress != NULL &&
        request->progress(request->user, &progress) != 0)
        return ds_fail(err, DS_ERR_CANCELLED, "cancelled while compressing");
    return 0;
}

/* Hand what became of a batch to the format. */
static int hand_on(struct encoding *encoding, const struct batch *batch,
                   struct ds_error *err)
{
    struct ds_plan *plan = encoding->plan;
    struct emit *emit = encoding->emit;
    int result = 0;

    for (size_t i = 0; i < batch->used && result == 0; i++) {
        const struct slot *slot = &batch->slots[i];

        if (slot->stored_bytes == 0)
            continue;
        emit->totals.copied_bytes[DS_COPY_COMPRESSED] += slot->data_bytes;
        result = plan->format->target_encoded(plan->target, slot->unit,
                                              slot->stored, slot->stored_bytes,
                                              &emit->emitter, err);
    }
    return result != 0 || batch->used == 0
               ? result
               : report_progress(encoding, batch->slots[batch->used - 1].unit,
                                 err);
}

/* The workers get the filled batch, the format what they had before. */
static int turn_batches(struct encoding *encoding, struct ds_error *err)
{
    struct batch *done;
    int result = end_batch(encoding, &done, err);

    if (result == 0 && encoding->filling->used > 0)
        begin_batch(encoding);
    if (done == NULL)
        done = &encoding->batches[encoding->filling == &encoding->batches[0]];
    else if (result == 0)
        result = hand_on(encoding, done, err);
    done->used = 0;
    encoding->filling = done;
    return result;
}

static int finish_batches(struct encoding *encoding, struct ds_error *err)
{
    int result = 0;

    while (result == 0 &&
           (encoding->working != NULL || encoding->filling->used > 0))
        result = turn_batches(encoding, err);
    return result;
}

static int dry_unit(struct encoding *encoding, uint64_t unit,
                    uint64_t data_bytes, struct ds_error *err)
{
    struct ds_plan *plan = encoding->plan;
    struct ds_op op = {
        .kind = DS_OP_ENCODE,
        .reason = DS_COPY_COMPRESSED,
        .target_index = plan->target->layout.data_file_index,
        .source_offset_bytes = unit * encoding->unit_bytes,
        .length_bytes = encoding->unit_bytes,
        .data_bytes = data_bytes,
    };
    bool always = plan->target->layout.encode == DS_CODEC_ZLIB;
    int result = emit_op(encoding->emit, &op, err);

    return result != 0
               ? result
               : plan->format->target_encoded(plan->target, unit, NULL,
                                              always ? encoding->room_bytes
                                                     : encoding->unit_bytes,
                                              &encoding->emit->emitter, err);
}

/* -- the walk
 * ------------------------------------------------------------------*/

struct walk {
    struct encoding *encoding;
    bool dry;
    bool has_unit; /* the one being gathered */
    uint64_t unit;
    uint64_t data_bytes;
};

static int end_unit(struct walk *walk, struct ds_error *err)
{
    struct encoding *encoding = walk->encoding;
    struct batch *batch;

    if (!walk->has_unit)
        return 0;
    walk->has_unit = false;
    if (walk->dry)
        return dry_unit(encoding, walk->unit, walk->data_bytes, err);
    batch = encoding->filling;
    batch->slots[batch->used].unit = walk->unit;
    batch->slots[batch->used].data_bytes = walk->data_bytes;
    return ++batch->used == encoding->slot_count ? turn_batches(encoding, err)
                                                 : 0;
}

static int add_extent(struct walk *walk, const struct ds_extent *extent,
                      struct ds_error *err)
{
    uint64_t unit_bytes = walk->encoding->unit_bytes;
    uint64_t position = extent->guest_offset_bytes;
    uint64_t end = position + extent->length_bytes;
    int result = 0;

    if (extent->kind == DS_EXTENT_ZERO || extent->kind == DS_EXTENT_HOLE)
        return 0;
    while (result == 0 && position < end) {
        uint64_t unit = position / unit_bytes;
        uint64_t next = ds_min_u64((unit + 1) * unit_bytes, end);

        if (walk->has_unit && walk->unit != unit)
            result = end_unit(walk, err);
        if (!walk->has_unit) {
            walk->has_unit = true;
            walk->unit = unit;
            walk->data_bytes = 0;
        }
        walk->data_bytes += next - position;
        position = next;
    }
    return result;
}

static int walk_disk(struct walk *walk, struct ds_error *err)
{
    struct ds_extent extent;
    struct ds_map *map = NULL;
    int result = ds_map_open(walk->encoding->plan->disk, &map, err);

    while (result == 0) {
        result = ds_map_next(map, &extent, err);
        if (result <= 0)
            break;
        result = add_extent(walk, &extent, err);
    }
    if (result == 0)
        result = end_unit(walk, err);
    if (result == 0 && !walk->dry)
        result = finish_batches(walk->encoding, err);
    ds_map_close(map);
    return result;
}

/* -- making and taking down -----------------------------------------------*/

static int worker_open(struct worker *worker, struct encoding *encoding,
                       struct ds_error *err)
{
    const struct ds_target_layout *layout = &encoding->plan->target->layout;
    struct ds_disk *disk = encoding->plan->disk;
    int result = ds_map_open(disk, &worker->map, err);

    worker->units =
        ds_buffer_alloc(encoding->group_count * (size_t)encoding->unit_bytes);
    reader_init(&worker->reader, disk->files);
    if (result == 0)
        result = compressor_open(layout->encode, layout->encode_level,
                                 &worker->compressor, err);
    return result == 0 && worker->units == NULL ? ds_fail_memory(err) : result;
}

static int batch_open(const struct encoding *encoding, struct batch *batch,
                      struct ds_error *err)
{
    batch->slots = calloc(encoding->slot_count, sizeof(*batch->slots));
    if (batch->slots == NULL)
        return ds_fail_memory(err);
    for (size_t i = 0; i < encoding->slot_count; i++) {
        batch->slots[i].stored = malloc(encoding->room_bytes);
        if (batch->slots[i].stored == NULL)
            return ds_fail_memory(err);
    }
    return 0;
}

static int encoding_open(struct encoding *encoding, bool dry,
                         struct ds_error *err)
{
    int result = crew_open(dry ? 0 : crew_size(0), &encoding->crew, err);

    if (result != 0)
        return result;
    encoding->group_count = (size_t)ds_max_u64(
        ds_min_u64(GROUP_BYTES / encoding->unit_bytes, GROUP_COUNT_MAX), 1);
    encoding->worker_count =
        (unsigned)ds_max_u64(crew_count(encoding->crew), 1);
    for (unsigned i = 0; i < encoding->worker_count && result == 0; i++)
        result = worker_open(&encoding->workers[i], encoding, err);
    if (result != 0)
        return result;
    encoding->room_bytes = compressor_bound(encoding->workers[0].compressor,
                                            (size_t)encoding->unit_bytes);
    encoding->room_bytes =
        (size_t)ds_max_u64(encoding->room_bytes, encoding->unit_bytes);
    encoding->slot_count = (size_t)ds_max_u64(
        ENCODE_BATCH_BYTES / encoding->unit_bytes, encoding->worker_count);
    encoding->filling = &encoding->batches[0];
    for (unsigned i = 0; i < BATCH_COUNT && result == 0 && !dry; i++)
        result = batch_open(encoding, &encoding->batches[i], err);
    return result;
}

static void batch_close(const struct encoding *encoding, struct batch *batch)
{
    for (size_t i = 0; batch->slots != NULL && i < encoding->slot_count; i++)
        free(batch->slots[i].stored);
    free(batch->slots);
}

static void encoding_close(struct encoding *encoding)
{
    if (encoding->crew != NULL)
        crew_end(encoding->crew); /* after an error they may still be at it */
    crew_close(encoding->crew);
    for (unsigned i = 0; i < encoding->worker_count; i++) {
        struct worker *worker = &encoding->workers[i];

        ds_map_close(worker->map);
        reader_free(&worker->reader);
        compressor_close(worker->compressor);
        free(worker->units);
    }
    for (unsigned i = 0; i < BATCH_COUNT; i++)
        batch_close(encoding, &encoding->batches[i]);
    (void)pthread_mutex_destroy(&encoding->lock);
    free(encoding);
}

int encode_units(struct ds_plan *plan, struct emit *emit, bool dry,
                 struct ds_error *err)
{
    struct encoding *encoding = calloc(1, sizeof(*encoding));
    struct walk walk = { .encoding = encoding, .dry = dry };
    int result;

    if (encoding == NULL)
        return ds_fail_memory(err);
    encoding->plan = plan;
    encoding->emit = emit;
    encoding->unit_bytes = plan->target->layout.unit_bytes;
    (void)pthread_mutex_init(&encoding->lock, NULL);
    result = encoding_open(encoding, dry, err);
    if (result == 0)
        result = walk_disk(&walk, err);
    encoding_close(encoding);
    return result;
}
