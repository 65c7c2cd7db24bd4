/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what the guest reads, for one thread. */
#ifndef DS_CORE_READ_H
#define DS_CORE_READ_H

#include "codec.h"
#include "disk.h"

#define READ_CHUNK_BYTES ((size_t)1 << 20)

struct reader {
    struct ds_file *const *files; /* by ds_extent.file_index */
    struct decoder *decoder;      /* made when first needed */
    uint8_t *buffer;              /* READ_CHUNK_BYTES */
};

int reader_init(struct reader *reader, struct ds_file *const *files,
                struct ds_error *err);
void reader_free(struct reader *reader);

/** The first `length_bytes` (at most READ_CHUNK_BYTES) of the extent. *bytes
 * is valid until the next call. */
int reader_read(struct reader *reader, const struct ds_extent *extent,
                size_t length_bytes, const uint8_t **bytes,
                struct ds_error *err);

#endif
