/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arith.h"
#include "codec.h"
#include "compress.h"
#include "fail.h"
#include "read.h"

#define WORKER_COUNT_MAX 16u

struct slot {
    uint64_t unit;
    uint64_t data_bytes;   /* of the guest's data in it */
    uint8_t *stored;       /* what goes into the file */
    uint64_t stored_bytes; /* 0: the unit is zeros */
};

struct worker {
    struct encoding *encoding;
    struct ds_map *map;
    struct reader reader;
    struct compressor *compressor;
    uint8_t *unit;
    pthread_t thread;
    int result;
    struct ds_error err;
};

struct encoding {
    struct ds_plan *plan;
    struct emit *emit;
    uint64_t unit_bytes;
    size_t room_bytes; /* of a slot's stored form */
    struct slot *slots;
    size_t slot_count; /* room for */
    size_t used;       /* in this batch */
    pthread_mutex_t lock;
    size_t next; /* the slot that the next free worker takes */
    struct worker workers[WORKER_COUNT_MAX];
    unsigned worker_count;
};

/* -- one unit
 * ----------------------------------------------------------------*/

/* The guest's bytes of a unit; beyond the disk's end it is zeros. */
static int read_unit(struct worker *worker, uint64_t unit, struct ds_error *err)
{
    uint64_t unit_bytes = worker->encoding->unit_bytes;
    uint64_t begin = unit * unit_bytes;
    uint64_t size = worker->encoding->plan->disk->size_bytes;
    uint64_t end = ds_min_u64(begin + unit_bytes, size);
    uint64_t position = begin;

    memset(worker->unit, 0, (size_t)unit_bytes);
    ds_map_seek(worker->map, begin);
    while (position < end) {
        struct ds_extent extent;
        const uint8_t *bytes;
        size_t part;
        int result = ds_map_next(worker->map, &extent, err);

        if (result <= 0)
            return result;
        part = (size_t)ds_min_u64(extent.length_bytes, end - position);
        for (size_t done = 0; done < part;) {
            size_t chunk = (size_t)ds_min_u64(part - done, READ_CHUNK_BYTES);

            if (extent.kind == DS_EXTENT_ZERO || extent.kind == DS_EXTENT_HOLE)
                break;
            result = reader_read(&worker->reader, &extent, chunk, &bytes, err);
            if (result != 0)
                return result;
            memcpy(worker->unit + (position - begin) + done, bytes, chunk);
            extent_advance(&extent, chunk);
            done += chunk;
        }
        position += part;
    }
    return 0;
}

static bool is_zero(const uint8_t *bytes, size_t length_bytes)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, length_bytes - 1) == 0;
}

static int encode_slot(struct worker *worker, struct slot *slot,
                       struct ds_error *err)
{
    const struct encoding *encoding = worker->encoding;
    size_t unit_bytes = (size_t)encoding->unit_bytes;
    bool always = encoding->plan->target->layout.encode == DS_CODEC_ZLIB;
    int result = read_unit(worker, slot->unit, err);

    slot->stored_bytes = 0;
    if (result != 0 || is_zero(worker->unit, unit_bytes))
        return result;
    slot->stored_bytes =
        compressor_run(worker->compressor, worker->unit, unit_bytes,
                       slot->stored, encoding->room_bytes);
    /* A stream's grain is a zlib stream whatever it costs; elsewhere a unit
     * that does not shrink is stored as it is. */
    if (!always && slot->stored_bytes >= unit_bytes) {
        memcpy(slot->stored, worker->unit, unit_bytes);
        slot->stored_bytes = unit_bytes;
    }
    return 0;
}

static struct slot *take_slot(struct encoding *encoding)
{
    struct slot *slot = NULL;

    (void)pthread_mutex_lock(&encoding->lock);
    if (encoding->next < encoding->used)
        slot = &encoding->slots[encoding->next++];
    (void)pthread_mutex_unlock(&encoding->lock);
    return slot;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct slot *slot;

    while (worker->result == 0 && (slot = take_slot(worker->encoding)) != NULL)
        worker->result = encode_slot(worker, slot, &worker->err);
    return NULL;
}

/* -- a batch
 * -----------------------------------------------------------------*/

static int run_workers(struct encoding *encoding, struct ds_error *err)
{
    unsigned started = 1;
    int result = 0;

    encoding->next = 0;
    while (started < encoding->worker_count &&
           pthread_create(&encoding->workers[started].thread, NULL, work,
                          &encoding->workers[started]) == 0)
        started++;
    (void)work(&encoding->workers[0]);
    for (unsigned i = 1; i < started; i++)
        (void)pthread_join(encoding->workers[i].thread, NULL);
    for (unsigned i = 0; i < started && result == 0; i++) {
        result = encoding->workers[i].result;
        if (result != 0 && err != NULL)
            *err = encoding->workers[i].err;
    }
    return result;
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

static int flush_batch(struct encoding *encoding, struct ds_error *err)
{
    struct ds_plan *plan = encoding->plan;
    struct emit *emit = encoding->emit;
    int result = encoding->used > 0 ? run_workers(encoding, err) : 0;

    for (size_t i = 0; i < encoding->used && result == 0; i++) {
        const struct slot *slot = &encoding->slots[i];

        if (slot->stored_bytes == 0)
            continue;
        emit->totals.copied_bytes[DS_COPY_COMPRESSED] += slot->data_bytes;
        result = plan->format->target_encoded(plan->target, slot->unit,
                                              slot->stored, slot->stored_bytes,
                                              &emit->emitter, err);
    }
    if (encoding->used > 0 && result == 0)
        result = report_progress(encoding,
                                 encoding->slots[encoding->used - 1].unit, err);
    encoding->used = 0;
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

    if (!walk->has_unit)
        return 0;
    walk->has_unit = false;
    if (walk->dry)
        return dry_unit(encoding, walk->unit, walk->data_bytes, err);
    encoding->slots[encoding->used].unit = walk->unit;
    encoding->slots[encoding->used].data_bytes = walk->data_bytes;
    return ++encoding->used == encoding->slot_count ? flush_batch(encoding, err)
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
        result = flush_batch(walk->encoding, err);
    ds_map_close(map);
    return result;
}

/* -- making and taking down
 * -----------------------------------------------------*/

static int worker_open(struct worker *worker, struct encoding *encoding,
                       struct ds_error *err)
{
    const struct ds_target_layout *layout = &encoding->plan->target->layout;
    struct ds_disk *disk = encoding->plan->disk;
    int result = ds_map_open(disk, &worker->map, err);

    worker->encoding = encoding;
    worker->unit = malloc((size_t)encoding->unit_bytes);
    if (result == 0)
        result = reader_init(&worker->reader, disk->files, err);
    if (result == 0)
        result = compressor_open(layout->encode, layout->encode_level,
                                 &worker->compressor, err);
    return result == 0 && worker->unit == NULL ? ds_fail_memory(err) : result;
}

static int slots_open(struct encoding *encoding, struct ds_error *err)
{
    encoding->slot_count = (size_t)ds_max_u64(
        ENCODE_BATCH_BYTES / encoding->unit_bytes, encoding->worker_count);
    encoding->slots = calloc(encoding->slot_count, sizeof(*encoding->slots));
    if (encoding->slots == NULL)
        return ds_fail_memory(err);
    for (size_t i = 0; i < encoding->slot_count; i++) {
        encoding->slots[i].stored = malloc(encoding->room_bytes);
        if (encoding->slots[i].stored == NULL)
            return ds_fail_memory(err);
    }
    return 0;
}

static int encoding_open(struct encoding *encoding, bool dry,
                         struct ds_error *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int result = 0;

    encoding->worker_count = 1;
    if (!dry && cores > 1)
        encoding->worker_count =
            (unsigned)ds_min_u64((uint64_t)cores, WORKER_COUNT_MAX);
    for (unsigned i = 0; i < encoding->worker_count && result == 0; i++)
        result = worker_open(&encoding->workers[i], encoding, err);
    if (result != 0)
        return result;
    encoding->room_bytes = compressor_bound(encoding->workers[0].compressor,
                                            (size_t)encoding->unit_bytes);
    encoding->room_bytes =
        (size_t)ds_max_u64(encoding->room_bytes, encoding->unit_bytes);
    return dry ? 0 : slots_open(encoding, err);
}

static void encoding_close(struct encoding *encoding)
{
    for (unsigned i = 0; i < encoding->worker_count; i++) {
        struct worker *worker = &encoding->workers[i];

        ds_map_close(worker->map);
        reader_free(&worker->reader);
        compressor_close(worker->compressor);
        free(worker->unit);
    }
    for (size_t i = 0; encoding->slots != NULL && i < encoding->slot_count; i++)
        free(encoding->slots[i].stored);
    free(encoding->slots);
}

int encode_units(struct ds_plan *plan, struct emit *emit, bool dry,
                 struct ds_error *err)
{
    struct encoding encoding = {
        .plan = plan,
        .emit = emit,
        .unit_bytes = plan->target->layout.unit_bytes,
    };
    struct walk walk = { .encoding = &encoding, .dry = dry };
    int result;

    (void)pthread_mutex_init(&encoding.lock, NULL);
    result = encoding_open(&encoding, dry, err);
    if (result == 0)
        result = walk_disk(&walk, err);
    encoding_close(&encoding);
    (void)pthread_mutex_destroy(&encoding.lock);
    return result;
}
