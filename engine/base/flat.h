/* SPDX-License-Identifier: Apache-2.0 */
/* Disks, or parts of disks, that lie in a file as they are: raw images, fixed
 * VHD, flat VMDK extents. */
#ifndef DS_BASE_FLAT_H
#define DS_BASE_FLAT_H

#include "format.h"

/**
 * The extent at `guest_offset_bytes`, where [guest_begin, guest_begin +
 * length) of the guest lies at file_begin of image->files[file_index].
 *
 * Holes and unwritten ranges, by the store's physical map through
 * cursor->physical, are ZERO *with* their place in the file; the rest is
 * DATA, and all of it where the store has no physical map. Bytes beyond the
 * end of the file (raw's odd tail) are ZERO that lie nowhere; a format whose
 * file must hold the whole range checks that when it opens.
 *
 * guest_begin <= guest_offset < guest_begin + length, and neither range
 * wraps around: the caller's open() has seen to it.
 * Errors: those of the store's physical map, but not UNSUPPORTED.
 */
int ds_flat_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                      uint32_t file_index, uint64_t guest_begin_bytes,
                      uint64_t file_begin_bytes, uint64_t length_bytes,
                      uint64_t guest_offset_bytes, struct ds_extent *out,
                      struct ds_error *err);

#endif
