/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparing bytes by reading them, on all cores: jobs go into a ring, workers
 * read both sides, hash and compare. The first difference in guest order
 * among those found is kept.
 */
#ifndef DS_CORE_COMPARE_H
#define DS_CORE_COMPARE_H

#include "read.h"

struct compare;

/** `left` and `right` are the file tables of the two disks. No thread runs
 * until the first job. */
int compare_open(struct ds_file *const *left, struct ds_file *const *right,
                 struct compare **out, struct ds_error *err);

/** Compare the first `length_bytes` (at most READ_CHUNK_BYTES) of both
 * extents. Waits when the ring is full. Returns 1 when a difference has been
 * found already, so that there is no need to go on. */
int compare_add(struct compare *compare, const struct ds_extent *left,
                const struct ds_extent *right, size_t length_bytes,
                struct ds_error *err);

/** Wait for all jobs. *difference is the least guest offset at which the
 * sides differ, or DS_OFFSET_NONE. */
int compare_finish(struct compare *compare, uint64_t *difference_offset_bytes,
                   struct ds_error *err);
void compare_close(struct compare *compare);

#endif
