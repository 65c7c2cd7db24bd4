/* SPDX-License-Identifier: Apache-2.0 */
/* Sliding views of a file's tables and of its physical extents. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "arith.h"
#include "fail.h"
#include "store.h"

#define LARGE_STEP_COUNT 2u
_Static_assert(DS_WINDOW_LARGE_BYTES >= DS_WINDOW_BYTES_MAX + 4096,
               "an entry fits also behind the begin of its page");

/* False where there is no memory: what is there goes on serving. */
static bool make_room(struct ds_window *window, size_t room_bytes)
{
    uint8_t *buffer;

    if (window->room_bytes >= room_bytes)
        return true;
    buffer = ds_buffer_alloc(room_bytes);
    if (buffer == NULL)
        return false;
    free(window->buffer);
    window->buffer = buffer;
    window->room_bytes = room_bytes;
    return true;
}

/* A jump reads what was asked for, rounded to pages; a step forward reads
 * the whole window, since more will be asked for; and who goes on so in a file
 * that is read past the cache, a large one that begins with a page. */
static int window_fill(struct ds_window *window, struct ds_file *file,
                       uint64_t offset_bytes, size_t most, struct ds_error *err)
{
    bool sequential =
        window->file == file && offset_bytes >= window->offset_bytes &&
        offset_bytes - window->offset_bytes <= window->length_bytes;
    uint64_t length =
        sequential ? DS_WINDOW_BYTES_MAX
                   : ds_min_u64(ds_align_up(most, 4096), DS_WINDOW_BYTES_MAX);
    int result;

    window->file = NULL;
    window->step_count = sequential ? window->step_count + 1 : 0;
    if (window->step_count > LARGE_STEP_COUNT && file->reads_large &&
        make_room(window, DS_WINDOW_LARGE_BYTES)) {
        offset_bytes = ds_align_down(offset_bytes, 4096);
        length = DS_WINDOW_LARGE_BYTES;
    } else if (!make_room(window, DS_WINDOW_BYTES_MAX)) {
        return ds_fail_memory(err);
    }
    length = ds_min_u64(length, file->size_bytes - offset_bytes);
    result = ds_file_read(file, offset_bytes, window->buffer, length, err);
    if (result != 0)
        return result;
    window->file = file;
    window->offset_bytes = offset_bytes;
    window->length_bytes = length;
    return 0;
}

int ds_window_view(struct ds_window *window, struct ds_file *file,
                   uint64_t offset_bytes, size_t least, size_t most,
                   const uint8_t **bytes, size_t *available,
                   struct ds_error *err)
{
    uint64_t skip;
    int result;

    assert(least > 0 && least <= most && least <= DS_WINDOW_BYTES_MAX);
    if (!ds_range_fits(offset_bytes, least, file->size_bytes))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "table: truncated file, have %" PRIu64
                          " bytes expect at least %zu more at this offset",
                          file->size_bytes, least);
    skip = offset_bytes - window->offset_bytes;
    if (window->file != file || offset_bytes < window->offset_bytes ||
        !ds_range_fits(skip, least, window->length_bytes)) {
        result = window_fill(window, file, offset_bytes, most, err);
        if (result != 0)
            return result;
        skip = offset_bytes - window->offset_bytes;
    }
    *bytes = window->buffer + skip;
    *available = (size_t)ds_min_u64(window->length_bytes - skip, most);
    *available -= *available % least;
    return 0;
}

void ds_window_free(struct ds_window *window)
{
    free(window->buffer);
    *window = (struct ds_window){ 0 };
}

static int physical_fill(struct ds_physical_window *window,
                         struct ds_file *file, uint64_t offset_bytes,
                         struct ds_error *err)
{
    const struct ds_physical_extent *last;
    uint64_t length = file->size_bytes - offset_bytes;
    int result;

    if (window->extents == NULL) {
        window->extents =
            calloc(DS_PHYSICAL_WINDOW_COUNT, sizeof(*window->extents));
        if (window->extents == NULL)
            return ds_fail_memory(err);
    }
    window->file = NULL;
    result =
        file->store->physical(file, offset_bytes, length, window->extents,
                              DS_PHYSICAL_WINDOW_COUNT, &window->count, err);
    if (result != 0)
        return result;
    window->file = file;
    window->begin_bytes = offset_bytes;
    window->end_bytes = file->size_bytes;
    if (window->count == DS_PHYSICAL_WINDOW_COUNT) {
        last = &window->extents[window->count - 1];
        window->end_bytes = last->offset_bytes + last->length_bytes;
    }
    return 0;
}

/* The first extent that ends after `offset_bytes`; count if none does. */
static size_t physical_search(const struct ds_physical_window *window,
                              uint64_t offset_bytes)
{
    size_t low = 0, high = window->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct ds_physical_extent *extent = &window->extents[middle];

        if (extent->offset_bytes + extent->length_bytes > offset_bytes)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

int ds_physical_at(struct ds_physical_window *window, struct ds_file *file,
                   uint64_t offset_bytes, uint64_t limit_bytes,
                   struct ds_physical_extent *out, bool *hole,
                   struct ds_error *err)
{
    uint64_t end;
    size_t index;

    assert(offset_bytes < limit_bytes && limit_bytes <= file->size_bytes);
    if (window->file != file || offset_bytes < window->begin_bytes ||
        offset_bytes >= window->end_bytes) {
        int result = physical_fill(window, file, offset_bytes, err);

        if (result != 0)
            return result;
    }
    index = physical_search(window, offset_bytes);
    *hole = index == window->count ||
            window->extents[index].offset_bytes > offset_bytes;
    if (*hole) {
        end = index == window->count ? window->end_bytes
                                     : window->extents[index].offset_bytes;
        *out = (struct ds_physical_extent){ .offset_bytes = offset_bytes };
    } else {
        *out = window->extents[index];
        end = out->offset_bytes + out->length_bytes;
        out->physical_bytes += offset_bytes - out->offset_bytes;
        out->offset_bytes = offset_bytes;
    }
    out->length_bytes = ds_min_u64(end, limit_bytes) - offset_bytes;
    return 0;
}

bool ds_file_hole(struct ds_physical_window *window, struct ds_file *file,
                  uint64_t offset_bytes, uint64_t *length_bytes)
{
    struct ds_physical_extent extent;
    bool hole;

    if (!file->settled || file->store->physical == NULL || *length_bytes == 0 ||
        !ds_range_fits(offset_bytes, *length_bytes, file->size_bytes) ||
        ds_physical_at(window, file, offset_bytes, offset_bytes + *length_bytes,
                       &extent, &hole, NULL) != 0)
        return false;
    *length_bytes = extent.length_bytes;
    return hole;
}

void ds_physical_window_free(struct ds_physical_window *window)
{
    free(window->extents);
    *window = (struct ds_physical_window){ 0 };
}
