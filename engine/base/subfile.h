/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part of a file as if it were a file: what lies inside a container is read
 * in place.
 *
 *   outer  | ... | base_bytes        base_bytes + size | ... |
 *                | the sub-file: 0 ... size            |
 *
 * For reading only. It never appears in a map: who uses it adds base_bytes to
 * the offsets and names the outer file, so that what is shared, locked and
 * flushed is the real one.
 */
#ifndef DS_BASE_SUBFILE_H
#define DS_BASE_SUBFILE_H

#include "store.h"

/**
 * The bytes [base, base + size) of `outer`, which must outlive it and is not
 * closed with it. `name` is the part's own: messages show "OUTER/NAME".
 * References from it are REFUSED. Closed by ds_file_close.
 * Errors: CORRUPT when the range is not in the outer file; SYSTEM.
 */
int ds_subfile_open(struct ds_file *outer, const char *name,
                    uint64_t base_bytes, uint64_t size_bytes,
                    struct ds_file **out, struct ds_error *err);

#endif
