/* SPDX-License-Identifier: Apache-2.0 */
/* Where a file's bytes lie on storage, from FIEMAP
 * (Documentation/filesystems/fiemap.rst). */
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "local.h"

#define BATCH_COUNT 512u

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
 * back) keeps what it was told, since each part is asked for several times, by
 * the map in every pass and by the proof:
 *
 *   file      0 ........ begin [ batch | batch | ... ] end ..........
 *                                                      next batch
 *
 * Batches are put behind each other; of a layout that is full the older half
 * goes, so that several who walk through the file, one behind the other, find
 * what they ask for. Whoever asks for something else begins it anew.
 *
 * A flush comes before every batch, and local_forget empties it before a
 * proof, which has to see where the blocks lie now. On btrfs the batch comes
 * out of the tree where that may be read (local_btrfs.c), else from FIEMAP.
 *
 * The first 512 extents are each file's; what grows beyond is counted over all
 * files of the process, since a disk may have a thousand.
 */
struct local_layout {
    uint64_t begin_bytes; /* the range that it answers for */
    uint64_t end_bytes;
    uint64_t last_bytes; /* how far the last batch went */
    uint32_t count;
    uint32_t room;
    struct ds_physical_extent extents[];
};

#define LAYOUT_COUNT_MAX 16384u
#define GROWN_COUNT_MAX (4 * LAYOUT_COUNT_MAX)
/* A batch out of btrfs's tree takes a small part of what one of FIEMAP does. */
#define WALK_COUNT_MAX 8u

static _Atomic uint32_t grown_count;

static int fail_fiemap(const struct local_file *file, uint64_t offset_bytes,
                       struct ds_error *err)
{
    if (errno == EOPNOTSUPP || errno == ENOTTY || errno == EBADR)
        return ds_fail_at(err, &file->base, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                          "local: fiemap: this filesystem does not tell "
                          "where data lies");
    return ds_fail_errno(err, errno, file->base.path,
                         "local: fiemap: cannot map from %ju on",
                         (uintmax_t)offset_bytes);
}

/* Room for `count_max` extents; owned by the caller, NULL without memory. */
static struct fiemap *new_fiemap(uint32_t count_max)
{
    return malloc(sizeof(struct fiemap) +
                  count_max * sizeof(struct fiemap_extent));
}

static int ask_fiemap(struct local_file *file, uint64_t offset_bytes,
                      uint64_t end_bytes, uint32_t count_max,
                      struct fiemap *map, struct ds_error *err)
{
    memset(map, 0, sizeof(*map));
    map->fm_start = offset_bytes;
    map->fm_length = end_bytes - offset_bytes;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = count_max;
    int turn = local_turn_begin(file, end_bytes - offset_bytes);
    int rc;
    do
        rc = ioctl(file->fd, FS_IOC_FIEMAP, map);
    while (rc != 0 && errno == EINTR);
    int error = errno;
    local_turn_end(turn);
    errno = error;
    return rc == 0 ? 0 : fail_fiemap(file, offset_bytes, err);
}

static uint64_t extent_end(const struct ds_physical_extent *extent)
{
    return extent->offset_bytes + extent->length_bytes; /* check_batch saw it */
}

static int from_fiemap(struct local_file *file, uint32_t count_max,
                       struct ds_error *err)
{
    struct local_layout *layout = file->layout;
    ds_autofree struct fiemap *map = new_fiemap(count_max);
    if (map == NULL)
        return ds_fail_memory(err);
    int rc =
        ask_fiemap(file, layout->end_bytes, INT64_MAX, count_max, map, err);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < map->fm_mapped_extents; i++)
        layout->extents[layout->count++] = decode(&map->fm_extents[i]);
    layout->end_bytes = INT64_MAX;
    if (map->fm_mapped_extents < count_max)
        return 0;
    const struct fiemap_extent *last = &map->fm_extents[count_max - 1];
    if ((last->fe_flags & FIEMAP_EXTENT_LAST) == 0)
        layout->end_bytes = last->fe_logical + last->fe_length;
    return 0;
}

static bool reads_tree(const struct local_file *file)
{
    return !file->has_no_tree && (file->is_quiet || file->is_reopened);
}

static bool from_tree(struct local_file *file, uint32_t count_max)
{
    struct local_layout *layout = file->layout;
    uint64_t end_bytes = layout->end_bytes;
    size_t count;

    if (!reads_tree(file))
        return false;
    file->has_no_tree = !local_btrfs_layout(file->fd, layout->end_bytes,
                                            layout->extents + layout->count,
                                            count_max, &count, &end_bytes);
    if (file->has_no_tree)
        return false;
    layout->count += (uint32_t)count;
    layout->end_bytes = end_bytes;
    return true;
}

static int check_batch(const struct local_file *file,
                       const struct ds_physical_extent *extents, uint32_t count,
                       struct ds_error *err)
{
    uint64_t end;

    for (uint32_t i = 0; i < count; i++)
        if (!ds_add_u64(extents[i].offset_bytes, extents[i].length_bytes, &end))
            return ds_fail_at(err, &file->base, extents[i].offset_bytes,
                              DS_ERR_SYSTEM,
                              "local: fiemap: extent beyond 2^64");
    return 0;
}

static bool may_grow(uint32_t room)
{
    if (2 * room > LAYOUT_COUNT_MAX)
        return false;
    if (atomic_fetch_add(&grown_count, room) + room <= GROWN_COUNT_MAX)
        return true;
    atomic_fetch_sub(&grown_count, room);
    return false;
}

static bool is_full(const struct local_layout *layout)
{
    return layout->room - layout->count < BATCH_COUNT / 2;
}

static void drop_older_half(struct local_layout *layout)
{
    uint32_t half = layout->count / 2;

    layout->begin_bytes = extent_end(&layout->extents[half - 1]);
    layout->count -= half;
    memmove(layout->extents, layout->extents + half,
            layout->count * sizeof(*layout->extents));
}

/* How many extents can be put behind those that are there: at least half a
 * batch. */
static uint32_t make_room(struct local_file *file)
{
    struct local_layout *layout = file->layout;
    struct local_layout *larger = NULL;
    uint32_t room = layout->room;

    if (is_full(layout) && may_grow(room)) {
        larger = realloc(layout, sizeof(*layout) +
                                     2 * room * sizeof(layout->extents[0]));
        if (larger == NULL)
            atomic_fetch_sub(&grown_count, room);
    }
    if (larger != NULL) {
        file->layout = layout = larger;
        layout->room = 2 * room;
    }
    if (is_full(layout))
        drop_older_half(layout);
    return (uint32_t)ds_min_u64(layout->room - layout->count, BATCH_COUNT);
}

/* Put the next batch behind what there is. An extent begins there, or it is
 * the layout's own beginning. */
static int extend(struct local_file *file, bool at_extent, struct ds_error *err)
{
    uint32_t most = make_room(file);
    struct local_layout *layout = file->layout;
    uint32_t before = layout->count;
    uint64_t begin = layout->end_bytes;
    int rc = 0;

    if (!at_extent || !from_tree(file, most))
        rc = from_fiemap(file, most, err);
    if (rc == 0)
        rc = check_batch(file, layout->extents + before, layout->count - before,
                         err);
    layout->end_bytes = ds_max_u64(layout->end_bytes, begin + 1);
    layout->last_bytes = layout->end_bytes - begin;
    return rc;
}

/* Replace the layout by one that answers from `offset_bytes` on. */
static int begin_anew(struct local_file *file, uint64_t offset_bytes,
                      struct ds_error *err)
{
    local_drop_layout(file);
    file->layout = malloc(sizeof(*file->layout) +
                          BATCH_COUNT * sizeof(file->layout->extents[0]));
    if (file->layout == NULL)
        return ds_fail_memory(err);
    *file->layout = (struct local_layout){ .begin_bytes = offset_bytes,
                                           .end_bytes = offset_bytes,
                                           .room = BATCH_COUNT };
    return extend(file, offset_bytes == 0, err);
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
        const struct ds_physical_extent *extent = &layout->extents[i];
        if (extent->offset_bytes >= end_bytes)
            return;
        if (extent->length_bytes == 0 ||
            (answer->count > 0 &&
             merge(&answer->extents[answer->count - 1], extent)))
            continue;
        answer->full = answer->count == answer->count_max;
        if (answer->full)
            return;
        answer->extents[answer->count++] = *extent;
    }
}

static bool answers(const struct local_layout *layout, uint64_t offset_bytes)
{
    return offset_bytes >= layout->begin_bytes &&
           offset_bytes < layout->end_bytes;
}

/* What comes next is put behind, and what is asked for further on is walked to
 * if that is cheap. */
static bool may_extend(const struct local_file *file, uint64_t offset_bytes,
                       unsigned walked)
{
    const struct local_layout *layout = file->layout;

    if (offset_bytes <= layout->end_bytes)
        return offset_bytes == layout->end_bytes;
    return reads_tree(file) ? walked < WALK_COUNT_MAX
                            : walked == 0 && offset_bytes - layout->end_bytes <
                                                 layout->last_bytes;
}

/* The first batch of a file begins at its beginning: mostly it is the whole
 * file, and whoever asks next may ask from there. */
static int make_answer(struct local_file *file, uint64_t offset_bytes,
                       struct ds_error *err)
{
    int rc = 0;
    if (file->layout == NULL)
        rc = begin_anew(file, 0, err);
    for (unsigned i = 0; rc == 0 && may_extend(file, offset_bytes, i); i++)
        rc = extend(file, true, err);
    if (rc == 0 && !answers(file->layout, offset_bytes))
        rc = begin_anew(file, offset_bytes, err);
    if (rc != 0)
        local_drop_layout(file);
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

#define EXCLUSIVE_COUNT 256u

int local_exclusive(struct ds_file *file, uint64_t offset_bytes,
                    uint64_t length_bytes, uint64_t *bytes,
                    struct ds_error *err)
{
    struct local_file *local = local_of(file);
    ds_autofree struct fiemap *map = new_fiemap(EXCLUSIVE_COUNT);
    uint64_t end_bytes = offset_bytes + length_bytes;
    *bytes = 0;
    if (map == NULL)
        return ds_fail_memory(err);
    for (bool more = true; more && offset_bytes < end_bytes;) {
        int rc = ask_fiemap(local, offset_bytes, end_bytes, EXCLUSIVE_COUNT,
                            map, err);
        if (rc != 0)
            return rc;
        for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
            const struct fiemap_extent *extent = &map->fm_extents[i];
            uint64_t begin = ds_max_u64(extent->fe_logical, offset_bytes);
            uint64_t end =
                ds_min_u64(extent->fe_logical + extent->fe_length, end_bytes);
            if (begin >= end)
                continue;
            if ((extent->fe_flags & FIEMAP_EXTENT_SHARED) == 0)
                *bytes += end - begin;
            offset_bytes = end;
        }
        more = map->fm_mapped_extents == EXCLUSIVE_COUNT;
    }
    return 0;
}

void local_drop_layout(struct local_file *file)
{
    if (file->layout != NULL)
        atomic_fetch_sub(&grown_count, file->layout->room - BATCH_COUNT);
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
