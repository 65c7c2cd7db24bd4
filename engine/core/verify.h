/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparison of two disks without reading what need not be read.
 *
 *   left map   [ D @x      ][ Z   ][ D @y          ]
 *   right map  [ D @u ][ D @v     ][ Z ][ D @w     ]
 *              |prove |   |zero|    |prove
 *
 * Two ranges on the same physical blocks hold the same bytes. The proof asks
 * the store for both files' extents after a flush and takes only extents
 * whose address is known and means these bytes alone (DESIGN: no unknown,
 * delalloc, encoded, inline or unaligned one), on the same storage. Holes and
 * unwritten extents read as zeros. Whatever is not proven is read on both
 * sides and compared by XXH3-128, and the report says why.
 *
 * Where a store has no addresses, and only when asked to, the storage's word is
 * taken for what it was told to share (trust.h).
 *
 * In a conversion there is a witness, which knows the digests of what was
 * read from the source while it was copied (witness.h). Where the source's map
 * names the very places of a record, the target alone is read, from storage.
 */
#ifndef DS_CORE_VERIFY_H
#define DS_CORE_VERIFY_H

#include "disk.h"

struct trust;
struct witness;

struct verify_options {
    ds_progress_fn *progress;
    void *user;
    struct witness *witness; /* of the left side, or NULL */
    struct trust *trust; /* of what was done to the right side, or NULL, ... */
    struct ds_file *const *written; /* whose target_index counts in these */
    uint32_t written_count;
    bool read_back; /* read the right side's files from storage, not from a
                       cache, where the store can */
};

int verify_disks(struct ds_disk *left, struct ds_disk *right,
                 const struct verify_options *options,
                 struct ds_verify_report *report, struct ds_error *err);

#endif
