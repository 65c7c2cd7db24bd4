/* SPDX-License-Identifier: Apache-2.0 */
#include "buffer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "arith.h"

void *ds_buffer_alloc(size_t length_bytes)
{
    bool huge = length_bytes >= DS_BUFFER_HUGE_BYTES;
    size_t align_bytes = huge ? DS_BUFFER_HUGE_BYTES : DS_BUFFER_ALIGN_BYTES;
    size_t room_bytes = (size_t)ds_align_up(length_bytes, align_bytes);
    void *buffer = aligned_alloc(align_bytes, room_bytes);

    if (huge && buffer != NULL)
        (void)madvise(buffer, room_bytes, MADV_HUGEPAGE);
    return buffer;
}
