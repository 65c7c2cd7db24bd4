/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that large requests to storage are made from.
 *
 *   pages of 4 KiB   [p][p][p][p] ... 256 segments of a request of 1 MiB
 *   a huge page      [                     p                     ]      1
 *
 * What goes past the page cache is handed to the device as the pages lie in
 * memory. A device takes so many segments per request (virtio 254, many others
 * half of that) and has work with each; what is more is cut in two. Memory that
 * lies together is one segment, however long.
 */
#ifndef DS_BASE_BUFFER_H
#define DS_BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#define DS_BUFFER_ALIGN_BYTES ((size_t)4096)
/** From here on a buffer asks for huge pages. */
#define DS_BUFFER_HUGE_BYTES ((size_t)2 << 20)

/** At least `length_bytes`, aligned to DS_BUFFER_ALIGN_BYTES, or where it is
 * as large as a huge page, to that; the kernel may or may not have one. All of
 * a huge page is taken when its first byte is touched. To be freed with
 * free(); NULL when out of memory. */
void *ds_buffer_alloc(size_t length_bytes);

#endif
