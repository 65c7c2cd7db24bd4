/* SPDX-License-Identifier: Apache-2.0 */
/* Where a file's bytes lie on storage, from FIEMAP
 * (Documentation/filesystems/fiemap.rst). */
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "local.h"

#define FIEMAP_BATCH_COUNT 512u

/* An address with one of these does not identify the bytes: unwritten data in
 * memory, halves of a compressed extent, tails packed into shared blocks. */
#define FIEMAP_UNPROVABLE                                                      \
    (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |  \
     FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED |                \
     FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL)

static struct ds_physical_extent decode(const struct fiemap_extent *extent)
{
    struct ds_physical_extent out = {
        .offset_bytes = extent->fe_logical,
        .length_bytes = extent->fe_length,
        .physical_bytes = extent->fe_physical,
    };
    if ((extent->fe_flags & FIEMAP_EXTENT_UNWRITTEN) != 0)
        out.flags |= DS_PHYSICAL_UNWRITTEN;
    if ((extent->fe_flags & FIEMAP_EXTENT_SHARED) != 0)
        out.flags |= DS_PHYSICAL_SHARED;
    if ((extent->fe_flags & FIEMAP_UNPROVABLE) != 0 || extent->fe_physical == 0)
        out.flags |= DS_PHYSICAL_UNPROVABLE;
    return out;
}

/* Only provable neighbours merge: in the others the address means nothing. */
static bool merge(struct ds_physical_extent *last,
                  const struct ds_physical_extent *next)
{
    if (last->flags != next->flags ||
        (last->flags & DS_PHYSICAL_UNPROVABLE) != 0 ||
        last->offset_bytes + last->length_bytes != next->offset_bytes ||
        last->physical_bytes + last->length_bytes != next->physical_bytes)
        return false;
    last->length_bytes += next->length_bytes;
    return true;
}

/*
 * A file that nobody writes (a source that was made quiet, a target being read
 * back) keeps the last batch, since each is asked several times, by the map
 * and by the proof, and btrfs takes its time to find out what is shared:
 *
 *   file      0 ........ begin [ extents of one FIEMAP ] end ..........
 *
 * A flush comes before every batch, and local_forget empties it before a
 * proof, which has to see where the blocks lie now.
 */
struct local_layout {
    uint64_t begin_bytes; /* the range the batch answers for */
    uint64_t end_bytes;
    uint32_t count;
    struct fiemap_extent extents[];
};

static int fetch(struct local_file *file, uint64_t offset_bytes,
                 uint64_t length_bytes, struct fiemap *map,
                 struct ds_error *err)
{
    memset(map, 0, sizeof(*map));
    map->fm_start = offset_bytes;
    map->fm_length = length_bytes;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = FIEMAP_BATCH_COUNT;
    int rc;
    do
        rc = ioctl(file->fd, FS_IOC_FIEMAP, map);
    while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return 0;
    if (errno == EOPNOTSUPP || errno == ENOTTY || errno == EBADR)
        return ds_fail_at(err, &file->base, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                          "local: fiemap: this filesystem does not tell "
                          "where data lies");
    return ds_fail_errno(err, errno, file->base.path,
                         "local: fiemap: cannot map %ju bytes at %ju",
                         (uintmax_t)length_bytes, (uintmax_t)offset_bytes);
}

/* Replace the batch by one that answers from `offset_bytes` on. */
static int refill(struct local_file *file, uint64_t offset_bytes,
                  struct ds_error *err)
{
    ds_autofree struct fiemap *map = malloc(
        sizeof(*map) + FIEMAP_BATCH_COUNT * sizeof(struct fiemap_extent));
    if (map == NULL)
        return ds_fail_memory(err);
    local_drop_layout(file);
    int rc = fetch(file, offset_bytes, INT64_MAX - offset_bytes, map, err);
    if (rc != 0)
        return rc;
    uint32_t count = map->fm_mapped_extents;
    struct local_layout *layout =
        malloc(sizeof(*layout) + count * sizeof(struct fiemap_extent));
    if (layout == NULL)
        return ds_fail_memory(err);
    layout->begin_bytes = offset_bytes;
    layout->end_bytes = INT64_MAX;
    layout->count = count;
    memcpy(layout->extents, map->fm_extents,
           count * sizeof(struct fiemap_extent));
    for (uint32_t i = 0; i < count; i++) {
        uint64_t end;
        if (!ds_add_u64(layout->extents[i].fe_logical,
                        layout->extents[i].fe_length, &end)) {
            free(layout);
            return ds_fail_at(err, &file->base, map->fm_extents[i].fe_logical,
                              DS_ERR_SYSTEM,
                              "local: fiemap: extent beyond 2^64");
        }
        bool last = (layout->extents[i].fe_flags & FIEMAP_EXTENT_LAST) != 0;
        if (count == FIEMAP_BATCH_COUNT && i + 1 == count && !last)
            layout->end_bytes = ds_max_u64(end, offset_bytes + 1);
    }
    file->layout = layout;
    return 0;
}

static uint64_t extent_end(const struct fiemap_extent *extent)
{
    return extent->fe_logical + extent->fe_length; /* refill looked at it */
}

/* The first extent that ends after `offset_bytes`; count if none does. */
static uint32_t search(const struct local_layout *layout, uint64_t offset_bytes)
{
    uint32_t low = 0;
    uint32_t high = layout->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (extent_end(&layout->extents[middle]) > offset_bytes)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct answer {
    struct ds_physical_extent *extents;
    size_t count_max;
    size_t count;
    bool full; /* one more did not fit */
};

/* Add what the batch has in [offset, end). */
static void collect(const struct local_layout *layout, uint64_t offset_bytes,
                    uint64_t end_bytes, struct answer *answer)
{
    for (uint32_t i = search(layout, offset_bytes); i < layout->count; i++) {
        const struct fiemap_extent *from = &layout->extents[i];
        if (from->fe_logical >= end_bytes)
            return;
        struct ds_physical_extent extent = decode(from);
        if (extent.length_bytes == 0 ||
            (answer->count > 0 &&
             merge(&answer->extents[answer->count - 1], &extent)))
            continue;
        answer->full = answer->count == answer->count_max;
        if (answer->full)
            return;
        answer->extents[answer->count++] = extent;
    }
}

static bool answers(const struct local_layout *layout, uint64_t offset_bytes)
{
    return layout != NULL && offset_bytes >= layout->begin_bytes &&
           offset_bytes < layout->end_bytes;
}

/* The first batch of a file begins at its beginning: mostly it is the whole
 * file, and whoever asks next may ask from there. */
static int make_answer(struct local_file *local, uint64_t offset_bytes,
                       struct ds_error *err)
{
    int rc = 0;
    if (local->layout == NULL)
        rc = refill(local, 0, err);
    if (rc == 0 && !answers(local->layout, offset_bytes))
        rc = refill(local, offset_bytes, err);
    return rc;
}

static int answer_range(struct local_file *local, uint64_t offset_bytes,
                        uint64_t end_bytes, struct answer *answer,
                        struct ds_error *err)
{
    if (!local->is_quiet && !local->is_reopened)
        local_drop_layout(local);
    while (offset_bytes < end_bytes && !answer->full) {
        int rc = make_answer(local, offset_bytes, err);
        if (rc != 0)
            return rc;
        collect(local->layout, offset_bytes, end_bytes, answer);
        offset_bytes = local->layout->end_bytes;
    }
    return 0;
}

int local_physical(struct ds_file *file, uint64_t offset_bytes,
                   uint64_t length_bytes, struct ds_physical_extent *extents,
                   size_t extent_count_max, size_t *count, struct ds_error *err)
{
    struct local_file *local = local_of(file);
    struct answer answer = { .extents = extents,
                             .count_max = extent_count_max };
    *count = 0;
    if (local->is_block_device)
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                          "local: fiemap: a block device has no map");
    uint64_t end_bytes;
    if (!ds_add_u64(offset_bytes, length_bytes, &end_bytes) ||
        end_bytes > INT64_MAX)
        end_bytes = INT64_MAX;
    (void)pthread_mutex_lock(&local->layout_lock);
    int rc = answer_range(local, offset_bytes, end_bytes, &answer, err);
    (void)pthread_mutex_unlock(&local->layout_lock);
    *count = rc == 0 ? answer.count : 0;
    return rc;
}

void local_drop_layout(struct local_file *file)
{
    free(file->layout);
    file->layout = NULL;
}

void local_forget(struct ds_file *file)
{
    struct local_file *local = local_of(file);
    (void)pthread_mutex_lock(&local->layout_lock);
    local_drop_layout(local);
    (void)pthread_mutex_unlock(&local->layout_lock);
}
