/* SPDX-License-Identifier: Apache-2.0 */
#include "verify.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "arith.h"
#include "codec.h"
#include "compare.h"
#include "fail.h"
#include "read.h"
#include "trust.h"
#include "witness.h"

#define PROGRESS_BYTES (UINT64_C(16) << 20)

struct side {
    struct ds_disk *disk;
    struct ds_map *map;
    struct ds_physical_window physical;
    struct ds_extent extent; /* what is left of the current one */
    struct ds_storage_id storage[DS_DISK_FILE_COUNT_MAX];
};

struct comparison {
    struct side left;
    struct side right;
    struct compare *compare;
    const struct verify_options *options;
    struct ds_verify_report *report;
    uint64_t reported_bytes; /* at the last progress call */
    struct compare_pieces pieces;
    const struct ds_file *same_written; /* of the witness, is the right's ... */
    uint32_t same_index;                /* ... file of this index */
    uint32_t written_of;    /* the right's file that was asked for last, and */
    uint32_t written_index; /* which of those written it is */
};

/* What physically lies under a range. */
enum ground { GROUND_ZERO, GROUND_BLOCKS, GROUND_UNKNOWN };

/* A flat file's map asks the store for the same places that its proof does: the
 * proof must follow before the store has forgotten them. */
#define SIDE_JOIN_COUNT 1024u

static int side_start(struct side *side, struct ds_disk *disk,
                      struct ds_error *err)
{
    int result = ds_map_open(disk, &side->map, err);

    if (result == 0)
        map_join_at_most(side->map, SIDE_JOIN_COUNT);
    side->disk = disk;
    for (uint32_t i = 0; i < disk->file_count && result == 0; i++) {
        struct ds_file *file = disk->files[i];

        if (file->store->forget != NULL)
            file->store->forget(file);
        result = file->store->storage_id(file, &side->storage[i], err);
    }
    return result;
}

static void side_end(struct side *side)
{
    ds_map_close(side->map);
    ds_physical_window_free(&side->physical);
}

static int side_refill(struct side *side, struct ds_error *err)
{
    int result;

    if (side->extent.length_bytes > 0)
        return 0;
    result = ds_map_next(side->map, &side->extent, err);
    return result < 0 ? result : 0;
}

/* The ground at the current position, valid for *length, which may shrink. */
static int side_ground(struct side *side, uint64_t *length, enum ground *ground,
                       uint64_t *physical, struct ds_error *err)
{
    struct ds_physical_extent extent;
    struct ds_file *file;
    bool hole;
    int result;

    *ground = GROUND_ZERO;
    if (side->extent.file_index == DS_FILE_NONE ||
        side->extent.kind == DS_EXTENT_ZERO)
        return 0;
    *ground = GROUND_UNKNOWN;
    if (side->extent.kind == DS_EXTENT_ENCODED ||
        !side->storage[side->extent.file_index].known)
        return 0;
    file = side->disk->files[side->extent.file_index];
    result = ds_physical_at(
        &side->physical, file, side->extent.file_offset_bytes,
        side->extent.file_offset_bytes + *length, &extent, &hole, err);
    if (result == -DS_ERR_UNSUPPORTED) {
        side->storage[side->extent.file_index].known = false;
        return 0;
    }
    if (result != 0)
        return result;
    *length = extent.length_bytes;
    if (hole || (extent.flags & DS_PHYSICAL_UNWRITTEN) != 0)
        *ground = GROUND_ZERO;
    else if ((extent.flags & DS_PHYSICAL_UNPROVABLE) == 0)
        *ground = GROUND_BLOCKS;
    *physical = extent.physical_bytes;
    return 0;
}

static bool same_storage(const struct comparison *c)
{
    const struct ds_storage_id *left =
        &c->left.storage[c->left.extent.file_index];
    const struct ds_storage_id *right =
        &c->right.storage[c->right.extent.file_index];

    return left->known && right->known &&
           memcmp(left->bytes, right->bytes, sizeof(left->bytes)) == 0;
}

static const char *why_not(const struct comparison *c, enum ground left,
                           enum ground right)
{
    if (c->left.extent.kind == DS_EXTENT_ENCODED ||
        c->right.extent.kind == DS_EXTENT_ENCODED)
        return "one side is compressed or encrypted";
    if (left == GROUND_ZERO || right == GROUND_ZERO)
        return "zeros on one side only";
    if (left == GROUND_UNKNOWN || right == GROUND_UNKNOWN)
        return "the filesystem does not tell where the bytes lie";
    if (!same_storage(c))
        return "the files lie on different filesystems";
    return "the blocks are not shared";
}

/* -- by the storage's word --------------------------------------------------*/

/* Which of the written files the right's current one is; written_count if
 * none. */
static uint32_t find_written(struct comparison *c)
{
    const struct verify_options *options = c->options;
    uint32_t index = c->right.extent.file_index, i = 0;
    const struct ds_file *file = c->right.disk->files[index];

    if (c->written_of == index + 1)
        return c->written_index;
    while (i < options->written_count &&
           (options->written[i] == NULL ||
            options->written[i]->store != file->store ||
            !file->store->same(options->written[i], file)))
        i++;
    c->written_of = index + 1;
    c->written_index = i;
    return i;
}

/* How much of the range is right by what the storage said it did. */
static uint64_t ask_trust(struct comparison *c, enum ground left,
                          enum ground right, uint64_t length)
{
    const struct ds_extent *from = &c->left.extent, *to = &c->right.extent;
    uint32_t index;

    if (c->options->trust == NULL || to->kind != DS_EXTENT_DATA ||
        right != GROUND_UNKNOWN)
        return 0;
    index = find_written(c);
    if (index == c->options->written_count)
        return 0;
    if (left == GROUND_ZERO)
        return trust_blank(c->options->trust, index, to->file_offset_bytes,
                           length);
    if (from->kind != DS_EXTENT_DATA)
        return 0;
    return trust_shared(c->options->trust, index, to->file_offset_bytes,
                        from->file_index, from->file_offset_bytes, length);
}

/* Compare the next range, as long as one answer serves; *length is set. 1:
 * the disks are known to differ. */
static int compare_range(struct comparison *c, uint64_t *length,
                         struct ds_error *err)
{
    enum ground left = GROUND_ZERO, right = GROUND_ZERO;
    uint64_t left_at = 0, right_at = 0, trusted;
    int result;

    *length =
        ds_min_u64(c->left.extent.length_bytes, c->right.extent.length_bytes);
    result = side_ground(&c->left, length, &left, &left_at, err);
    if (result == 0)
        result = side_ground(&c->right, length, &right, &right_at, err);
    if (result != 0)
        return result;
    if (left == GROUND_ZERO && right == GROUND_ZERO) {
        c->report->zero_bytes += *length;
        return 0;
    }
    if (left == GROUND_BLOCKS && right == GROUND_BLOCKS &&
        left_at == right_at && same_storage(c)) {
        c->report->proven_bytes += *length;
        return 0;
    }
    trusted = ask_trust(c, left, right, *length);
    if (trusted > 0) {
        *length = trusted;
        c->report->trusted_bytes += trusted;
        return 0;
    }
    if (c->report->not_proven == NULL)
        c->report->not_proven = why_not(c, left, right);
    *length = ds_min_u64(*length, READ_CHUNK_BYTES);
    c->report->hashed_bytes += *length;
    return compare_add(c->compare, &c->left.extent, &c->right.extent,
                       (size_t)*length, err);
}

/* -- by the witness -------------------------------------------------------*/

static int side_seek(struct side *side, uint64_t position, struct ds_error *err)
{
    ds_map_seek(side->map, position);
    side->extent.length_bytes = 0;
    return side_refill(side, err);
}

/* The next piece of a side, of at most `length` bytes; the side moves on. */
static int side_take(struct side *side, uint64_t length, struct ds_extent *out,
                     struct ds_error *err)
{
    int result = side_refill(side, err);

    if (result != 0)
        return result;
    *out = side->extent;
    out->length_bytes = ds_min_u64(out->length_bytes, length);
    assert(out->length_bytes > 0);
    extent_advance(&side->extent, out->length_bytes);
    return 0;
}

static int take_place(struct side *side, uint64_t length, uint64_t *place,
                      struct ds_error *err)
{
    struct witness_place folded = { 0 };
    struct ds_extent piece;
    int result = 0;

    while (result == 0 && length > 0) {
        result = side_take(side, length, &piece, err);
        if (result != 0)
            break;
        witness_place_add(&folded, &piece);
        length -= piece.length_bytes;
    }
    *place = witness_place_end(&folded);
    return result;
}

static void note_unproven(struct comparison *c)
{
    bool nowhere = c->left.extent.file_index == DS_FILE_NONE ||
                   c->right.extent.file_index == DS_FILE_NONE;

    if (c->report->not_proven == NULL)
        c->report->not_proven = nowhere
                                    ? "zeros on one side only"
                                    : why_not(c, GROUND_BLOCKS, GROUND_BLOCKS);
}

/* 0 with fewer bytes than asked for: it lies in too many pieces. */
static int take_pieces(struct side *side, uint64_t length,
                       struct compare_pieces *out, struct ds_error *err)
{
    int result = 0;

    out->count = 0;
    out->length_bytes = 0;
    while (result == 0 && out->length_bytes < length &&
           out->count < COMPARE_PIECE_COUNT_MAX) {
        struct ds_extent *piece = &out->extents[out->count];

        result = side_take(side, length - out->length_bytes, piece, err);
        if (result != 0)
            break;
        out->count++;
        out->length_bytes += (size_t)piece->length_bytes;
    }
    return result;
}

/* Whether the target's own map finds the record's bytes where they were read
 * back already. */
static bool was_read_back(struct comparison *c,
                          const struct witness_stored *stored)
{
    const struct compare_pieces *pieces = &c->pieces;
    const uint32_t file_index = pieces->extents[0].file_index;
    uint64_t at = stored->offset_bytes;
    const struct ds_file *found;

    if (stored->file == NULL || file_index == DS_FILE_NONE)
        return false;
    for (size_t i = 0; i < pieces->count; i++) {
        const struct ds_extent *piece = &pieces->extents[i];

        if (piece->kind != DS_EXTENT_DATA || piece->file_index != file_index ||
            piece->file_offset_bytes != at)
            return false;
        at += piece->length_bytes;
    }
    if (c->same_written == stored->file && c->same_index == file_index)
        return true;
    found = c->right.disk->files[file_index];
    if (found->store != stored->file->store ||
        !found->store->same(stored->file, found))
        return false;
    c->same_written = stored->file;
    c->same_index = file_index;
    return true;
}

/* Try to hold the target against what the source was read to be. *length is
 * 0 when the witness does not know; else both sides have moved on. */
static int ask_witness(struct comparison *c, uint64_t position, uint64_t limit,
                       uint64_t *length, struct ds_error *err)
{
    const struct witness *witness = c->options->witness;
    const struct witness_record *record =
        witness != NULL ? witness_find(witness, &c->left.extent) : NULL;
    struct compare_pieces *pieces = &c->pieces;
    uint64_t place;
    int result;

    *length = 0;
    if (record == NULL || record->length_bytes > limit - position ||
        record->length_bytes > COMPARE_PIECES_BYTES_MAX)
        return 0;
    note_unproven(c);
    result = take_place(&c->left, record->length_bytes, &place, err);
    if (result == 0 && place == record->place)
        result = take_pieces(&c->right, record->length_bytes, pieces, err);
    if (result != 0)
        return result;
    if (place == record->place &&
        pieces->length_bytes == record->length_bytes) {
        *length = record->length_bytes;
        c->report->witnessed_bytes += *length;
        pieces->digest = record->digest;
        if (was_read_back(c, &record->stored))
            return 0;
        return compare_add_pieces(c->compare, pieces, err);
    }
    result = side_seek(&c->left, position, err);
    return result != 0 ? result : side_seek(&c->right, position, err);
}

/* -------------------------------------------------------------------------*/

static int report_progress(struct comparison *c, uint64_t done, uint64_t total,
                           struct ds_error *err)
{
    struct ds_progress progress = { .phase = "verify",
                                    .done_bytes = done,
                                    .total_bytes = total };

    if (c->options->progress == NULL ||
        done - c->reported_bytes < PROGRESS_BYTES)
        return 0;
    c->reported_bytes = done;
    if (c->options->progress(c->options->user, &progress) != 0)
        return ds_fail(err, DS_ERR_CANCELLED, "cancelled while verifying");
    return 0;
}

static int walk(struct comparison *c, uint64_t position, uint64_t end,
                struct ds_error *err)
{
    uint64_t length = 0;
    int result = 0;

    while (result == 0 && position < end) {
        result = side_refill(&c->left, err);
        if (result == 0)
            result = side_refill(&c->right, err);
        if (result == 0)
            result = ask_witness(c, position, end, &length, err);
        if (result == 0 && length == 0) {
            result = compare_range(c, &length, err);
            if (result != 0)
                break;
            extent_advance(&c->left.extent, length);
            extent_advance(&c->right.extent, length);
        }
        position += length;
        if (result == 0)
            result = report_progress(c, position, end, err);
    }
    return result < 0 ? result : 0;
}

static int compare_stretch(struct comparison *c, uint64_t begin, uint64_t end,
                           struct compare_difference *difference,
                           struct ds_error *err)
{
    const struct ds_disk *left = c->left.disk, *right = c->right.disk;
    unsigned left_waiting = reader_waiting(left->files, left->file_count);
    unsigned right_waiting = reader_waiting(right->files, right->file_count);
    int result = compare_open(left->files, right->files,
                              left_waiting > right_waiting ? left_waiting
                                                           : right_waiting,
                              &c->compare, err);

    if (result == 0)
        result = walk(c, begin, end, err);
    if (result == 0)
        result = compare_finish(c->compare, difference, err);
    compare_close(c->compare);
    return result;
}

/* The target does not read what the source was: find out where. Should it
 * equal the source as that reads now, the stretch's beginning must do. */
static int refine(struct comparison *c, struct compare_difference *difference,
                  struct ds_error *err)
{
    static const struct verify_options plain = { .progress = NULL };
    struct ds_verify_report *report = c->report;
    struct ds_verify_report before = *report;
    struct compare_difference exact;
    uint64_t begin = difference->offset_bytes;
    int result;

    c->options = &plain;
    result = side_seek(&c->left, begin, err);
    if (result == 0)
        result = side_seek(&c->right, begin, err);
    if (result == 0)
        result = compare_stretch(c, begin, begin + difference->within_bytes,
                                 &exact, err);
    if (result == 0 && exact.offset_bytes != DS_OFFSET_NONE)
        *difference = exact;
    *report = before; /* the stretch was counted when it was compared first */
    return result;
}

static int compare_all(struct comparison *c, uint64_t size,
                       struct ds_error *err)
{
    struct ds_verify_report *report = c->report;
    struct compare_difference difference;
    int result;

    if (c->options->witness != NULL)
        witness_seal(c->options->witness);
    if (c->options->trust != NULL)
        trust_seal(c->options->trust);
    result = compare_stretch(c, 0, size, &difference, err);
    if (result == 0 && difference.within_bytes > 1)
        result = refine(c, &difference, err);
    if (result == 0)
        report->difference_offset_bytes = difference.offset_bytes;
    report->identical =
        result == 0 && difference.offset_bytes == DS_OFFSET_NONE;
    return result;
}

static double seconds_since(const struct timespec *begin)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begin->tv_sec) +
           (double)(now.tv_nsec - begin->tv_nsec) / 1e9;
}

int verify_disks(struct ds_disk *left, struct ds_disk *right,
                 const struct verify_options *options,
                 struct ds_verify_report *report, struct ds_error *err)
{
    struct comparison c = { .options = options, .report = report };
    uint64_t left_size = left->size_bytes;
    uint64_t right_size = right->size_bytes;
    struct timespec begin;
    int result;

    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    *report = (struct ds_verify_report){ .identical = true };
    result = side_start(&c.left, left, err);
    for (uint32_t i = 0; i < right->file_count && options->read_back; i++)
        if (right->files[i]->store->from_storage != NULL)
            right->files[i]->store->from_storage(right->files[i]);
    if (result == 0)
        result = side_start(&c.right, right, err);
    if (result == 0)
        result = compare_all(&c, ds_min_u64(left_size, right_size), err);
    if (result == 0 && report->identical && left_size != right_size) {
        report->identical = false;
        report->difference_offset_bytes = ds_min_u64(left_size, right_size);
    }
    side_end(&c.left);
    side_end(&c.right);
    report->seconds = seconds_since(&begin);
    return result;
}

int ds_verify(struct ds_disk *left, struct ds_disk *right,
              ds_progress_fn *progress, void *user,
              struct ds_verify_report *report, struct ds_error *err)
{
    struct verify_options options = { .progress = progress, .user = user };

    return verify_disks(left, right, &options, report, err);
}
