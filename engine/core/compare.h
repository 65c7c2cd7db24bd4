/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparing bytes by reading them, on all cores: jobs go into a ring, workers
 * read both sides, or one where the other's digest is known, hash and compare.
 * The first difference in guest order among those found is kept.
 */
#ifndef DS_CORE_COMPARE_H
#define DS_CORE_COMPARE_H

#include "read.h"
#include "witness.h"

struct compare;

/** `left` and `right` are the file tables of the two disks; `waiting_count` is
 * their reader_waiting. No thread runs until the first job. */
int compare_open(struct ds_file *const *left, struct ds_file *const *right,
                 unsigned waiting_count, struct compare **out,
                 struct ds_error *err);

/** Compare the first `length_bytes` (at most READ_CHUNK_BYTES) of both
 * extents. Waits when the ring is full. Returns 1 when a difference has been
 * found already, so that there is no need to go on. */
int compare_add(struct compare *compare, const struct ds_extent *left,
                const struct ds_extent *right, size_t length_bytes,
                struct ds_error *err);

/** A stretch of the right side, which must have this digest. */
#define COMPARE_PIECE_COUNT_MAX 64u
#define COMPARE_PIECES_BYTES_MAX ((size_t)DS_ENCODED_UNIT_BYTES_MAX)
struct compare_pieces {
    struct ds_extent extents[COMPARE_PIECE_COUNT_MAX];
    size_t count;
    size_t length_bytes; /* at most COMPARE_PIECES_BYTES_MAX */
    XXH128_hash_t digest;
};
int compare_add_pieces(struct compare *compare,
                       const struct compare_pieces *pieces,
                       struct ds_error *err);

/** What was found: where the sides differ, and in how many bytes from there
 * on the first different one lies. */
struct compare_difference {
    uint64_t offset_bytes; /* in the guest, or DS_OFFSET_NONE */
    uint64_t within_bytes; /* 1: it is known exactly */
};

/** Wait for all jobs. */
int compare_finish(struct compare *compare,
                   struct compare_difference *difference, struct ds_error *err);
void compare_close(struct compare *compare);

#endif
