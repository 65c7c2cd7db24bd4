/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding. A decoder belongs to one thread and keeps what is dear to make:
 * the inflater, buffers, the last unit (neighbouring extents of one unit are
 * decoded once), the cipher of the last key.
 *
 *   file   [ window: | stored_bytes | stored_bytes | ... ]   (compressed)
 *                         decode
 *   unit           [ skip | extent's bytes | rest ]
 */
#ifndef DS_CORE_CODEC_H
#define DS_CORE_CODEC_H

#include "format.h"

struct decoder;

int decoder_open(struct decoder **out, struct ds_error *err);
void decoder_close(struct decoder *decoder);

/**
 * Decode `length_bytes` from `skip_bytes` of the extent on, into `out`. A
 * whole unit goes straight there. CORRUPT when the stored bytes do not decode
 * to a whole unit.
 */
int decoder_read(struct decoder *decoder, struct ds_file *file,
                 const struct ds_extent *extent, uint64_t skip_bytes,
                 size_t length_bytes, uint8_t *out, struct ds_error *err);

/** Read the stored bytes of several units at once, at most
 * DECODER_PREFETCH_BYTES_MAX, before they are decoded one by one. What goes
 * wrong is for decoder_read to report. */
#define DECODER_PREFETCH_BYTES_MAX ((size_t)DS_ENCODED_UNIT_BYTES_MAX)
void decoder_prefetch(struct decoder *decoder, struct ds_file *file,
                      uint64_t offset_bytes, size_t length_bytes);

/** Move the extent's beginning `bytes` forward, in guest and file. */
void extent_advance(struct ds_extent *extent, uint64_t bytes);

/** Whether extents of this codec can be cut anywhere on a sector: ciphers. */
bool codec_is_cipher(enum ds_codec codec);

#endif
