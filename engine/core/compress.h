/* SPDX-License-Identifier: Apache-2.0 */
/* Compressing one unit at a time, for one thread. */
#ifndef DS_CORE_COMPRESS_H
#define DS_CORE_COMPRESS_H

#include <stddef.h>

#include <diskshift/disk.h>

struct compressor;

/** `level` 0: the codec's usual one. UNSUPPORTED for ciphers. */
int compressor_open(enum ds_codec codec, int level, struct compressor **out,
                    struct ds_error *err);
void compressor_close(struct compressor *compressor);

/** Room that the stored form of a unit can take at most. */
size_t compressor_bound(struct compressor *compressor, size_t unit_bytes);

/** Compress into `stored`, which has the bound's room. Returns the length.
 * Never 0: what does not fit is a fault of ours. */
size_t compressor_run(struct compressor *compressor, const void *unit,
                      size_t unit_bytes, void *stored, size_t room_bytes);

#endif
