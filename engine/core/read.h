/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what the guest reads, for one thread: pieces of the map, which need
 * not lie together, into one buffer.
 *
 *   extents  | DATA | ENCODED ENCODED ENCODED | ZERO | DATA |
 *               read   one read, then decode    fill   read
 *   out      [......................................... ....]
 */
#ifndef DS_CORE_READ_H
#define DS_CORE_READ_H

#include "codec.h"
#include "disk.h"

#define READ_CHUNK_BYTES ((size_t)1 << 20)

struct reader {
    struct ds_file *const *files; /* by ds_extent.file_index */
    struct decoder *decoder;      /* made when first needed */
};

void reader_init(struct reader *reader, struct ds_file *const *files);
void reader_free(struct reader *reader);

/** All bytes of `count` extents, one after the other, into `out`. */
int reader_gather(struct reader *reader, const struct ds_extent *extents,
                  size_t count, uint8_t *out, struct ds_error *err);

/** How many threads are worth having beyond the cores to read or write these
 * files: those that wait take no core. Some may be NULL. */
unsigned reader_waiting(struct ds_file *const *files, size_t count);

#endif
