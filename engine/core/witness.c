/* SPDX-License-Identifier: Apache-2.0 */
#include "witness.h"

#include <pthread.h>
#include <stdlib.h>

#include "arith.h"
#include "codec.h"
#include "fail.h"

#define RECORD_COUNT_MAX (WITNESS_BYTES_MAX / sizeof(struct witness_record))
#define RECORD_COUNT_FIRST 1024u

struct witness {
    pthread_mutex_t lock;
    struct witness_record *records;
    size_t count;
    size_t room;
    bool by_guest; /* some records are of ranges of the guest */
};

/* -- places ---------------------------------------------------------------*/

static bool is_zeros(const struct ds_extent *piece)
{
    return piece->kind == DS_EXTENT_ZERO || piece->kind == DS_EXTENT_HOLE;
}

static bool encoding_continues(const struct ds_extent *left,
                               const struct ds_extent *right)
{
    const struct ds_encoding *a = &left->encoding, *b = &right->encoding;

    if (a->codec != b->codec || a->key != b->key)
        return false;
    if (codec_is_cipher(a->codec))
        return a->sector + left->length_bytes / DS_SECTOR_BYTES == b->sector &&
               left->file_offset_bytes + left->length_bytes ==
                   right->file_offset_bytes;
    return left->file_offset_bytes == right->file_offset_bytes &&
           a->stored_bytes == b->stored_bytes &&
           a->unit_bytes == b->unit_bytes &&
           a->unit_least_bytes == b->unit_least_bytes &&
           a->skip_bytes + left->length_bytes == b->skip_bytes;
}

static bool continues(const struct ds_extent *left,
                      const struct ds_extent *right)
{
    if (is_zeros(left) || is_zeros(right))
        return is_zeros(left) && is_zeros(right);
    if (left->kind != right->kind || left->file_index != right->file_index)
        return false;
    return left->kind == DS_EXTENT_ENCODED
               ? encoding_continues(left, right)
               : left->file_offset_bytes + left->length_bytes ==
                     right->file_offset_bytes;
}

static void fold(struct witness_place *place)
{
    const struct ds_extent *piece = &place->pending;
    const struct ds_encoding *encoding = &piece->encoding;
    uint64_t words[11] = { piece->length_bytes };

    if (!is_zeros(piece)) {
        words[1] = (uint64_t)piece->kind + 1;
        words[2] = piece->file_index;
        words[3] = piece->file_offset_bytes;
    }
    if (piece->kind == DS_EXTENT_ENCODED) {
        words[4] = (uint64_t)encoding->codec;
        words[5] = (uint64_t)(uintptr_t)encoding->key;
        words[6] = encoding->sector;
        /* A cipher's unit is what is left of its run. */
        if (!codec_is_cipher(encoding->codec)) {
            words[7] = encoding->stored_bytes;
            words[8] = encoding->unit_bytes;
            words[9] = encoding->unit_least_bytes;
            words[10] = encoding->skip_bytes;
        }
    }
    place->fold = XXH3_64bits_withSeed(words, sizeof(words), place->fold);
}

void witness_place_add(struct witness_place *place,
                       const struct ds_extent *piece)
{
    if (place->pending.length_bytes > 0) {
        if (continues(&place->pending, piece)) {
            place->pending.length_bytes += piece->length_bytes;
            return;
        }
        fold(place);
    }
    place->pending = *piece;
}

uint64_t witness_place_end(struct witness_place *place)
{
    if (place->pending.length_bytes > 0)
        fold(place);
    place->pending.length_bytes = 0;
    return place->fold;
}

void witness_read_back(struct witness_record *record, struct ds_file *target,
                       uint64_t offset_bytes, void *bytes)
{
    if (target->store->read_back != NULL &&
        target->store->read_back(target, offset_bytes, bytes,
                                 record->length_bytes) &&
        XXH128_isEqual(XXH3_128bits(bytes, record->length_bytes),
                       record->digest))
        record->stored = (struct witness_stored){
            .file = target,
            .offset_bytes = offset_bytes,
        };
}

/* -- records --------------------------------------------------------------*/

int witness_open(struct witness **out, struct ds_error *err)
{
    struct witness *witness = calloc(1, sizeof(*witness));

    if (witness == NULL)
        return ds_fail_memory(err);
    (void)pthread_mutex_init(&witness->lock, NULL);
    *out = witness;
    return 0;
}

void witness_close(struct witness *witness)
{
    if (witness == NULL)
        return;
    (void)pthread_mutex_destroy(&witness->lock);
    free(witness->records);
    free(witness);
}

/* Under the lock. No memory to be had is no fault: it is read again then. */
static bool make_room(struct witness *witness)
{
    size_t room = (size_t)ds_min_u64(
        ds_max_u64(witness->room * 2, RECORD_COUNT_FIRST), RECORD_COUNT_MAX);
    struct witness_record *records;

    if (witness->count < witness->room)
        return true;
    if (room == witness->room)
        return false;
    records = realloc(witness->records, room * sizeof(*records));
    if (records == NULL)
        return false;
    witness->records = records;
    witness->room = room;
    return true;
}

void witness_note(struct witness *witness, const struct witness_record *record)
{
    (void)pthread_mutex_lock(&witness->lock);
    if (make_room(witness)) {
        witness->records[witness->count++] = *record;
        witness->by_guest =
            witness->by_guest || record->file_index == DS_FILE_NONE;
    }
    (void)pthread_mutex_unlock(&witness->lock);
}

static int order(const void *left, const void *right)
{
    const struct witness_record *a = left, *b = right;

    if (a->file_index != b->file_index)
        return a->file_index < b->file_index ? -1 : 1;
    if (a->offset_bytes != b->offset_bytes)
        return a->offset_bytes < b->offset_bytes ? -1 : 1;
    if (a->skip_bytes != b->skip_bytes)
        return a->skip_bytes < b->skip_bytes ? -1 : 1;
    /* The longest first, should a place have been read twice. */
    return (a->length_bytes < b->length_bytes) -
           (a->length_bytes > b->length_bytes);
}

void witness_seal(struct witness *witness)
{
    if (witness->count > 1)
        qsort(witness->records, witness->count, sizeof(*witness->records),
              order);
}

static const struct witness_record *find(const struct witness *witness,
                                         const struct witness_record *key)
{
    const struct witness_record *found;
    size_t low = 0, high = witness->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (order(&witness->records[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == witness->count)
        return NULL;
    found = &witness->records[low];
    return found->file_index == key->file_index &&
                   found->offset_bytes == key->offset_bytes &&
                   found->skip_bytes == key->skip_bytes
               ? found
               : NULL;
}

const struct witness_record *witness_find(const struct witness *witness,
                                          const struct ds_extent *first)
{
    struct witness_record key = {
        .offset_bytes = first->guest_offset_bytes,
        .file_index = DS_FILE_NONE,
        .length_bytes = UINT32_MAX, /* stands before all of its place */
    };
    const struct witness_record *found =
        witness->by_guest ? find(witness, &key) : NULL;

    if (found != NULL || is_zeros(first))
        return found;
    key.offset_bytes = first->file_offset_bytes;
    key.file_index = first->file_index;
    if (first->kind == DS_EXTENT_ENCODED)
        key.skip_bytes = first->encoding.skip_bytes;
    return find(witness, &key);
}
