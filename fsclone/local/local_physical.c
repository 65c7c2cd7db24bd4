/* SPDX-License-Identifier: Apache-2.0 */
/* Where a file's bytes lie on storage, from FIEMAP
 * (Documentation/filesystems/fiemap.rst). */
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
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

int local_physical(struct ds_file *file, uint64_t offset_bytes,
                   uint64_t length_bytes, struct ds_physical_extent *extents,
                   size_t extent_count_max, size_t *count, struct ds_error *err)
{
    struct local_file *local = local_of(file);
    *count = 0;
    if (local->is_block_device)
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                          "local: fiemap: a block device has no map");
    uint64_t end_bytes;
    if (!ds_add_u64(offset_bytes, length_bytes, &end_bytes) ||
        end_bytes > INT64_MAX)
        end_bytes = INT64_MAX;
    ds_autofree struct fiemap *map = malloc(
        sizeof(*map) + FIEMAP_BATCH_COUNT * sizeof(struct fiemap_extent));
    if (map == NULL)
        return ds_fail_memory(err);
    uint64_t next_bytes = offset_bytes;
    while (next_bytes < end_bytes) {
        int rc = fetch(local, next_bytes, end_bytes - next_bytes, map, err);
        if (rc != 0)
            return rc;
        uint64_t before_bytes = next_bytes;
        for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
            struct ds_physical_extent extent = decode(&map->fm_extents[i]);
            uint64_t extent_end;
            if (!ds_add_u64(extent.offset_bytes, extent.length_bytes,
                            &extent_end))
                return ds_fail_at(err, file, extent.offset_bytes, DS_ERR_SYSTEM,
                                  "local: fiemap: extent beyond 2^64");
            if (extent.length_bytes == 0 || extent_end <= next_bytes ||
                extent.offset_bytes >= end_bytes)
                continue;
            next_bytes = extent_end;
            if (*count > 0 && merge(&extents[*count - 1], &extent))
                continue;
            if (*count == extent_count_max)
                return 0;
            extents[(*count)++] = extent;
        }
        if (map->fm_mapped_extents < FIEMAP_BATCH_COUNT ||
            next_bytes == before_bytes ||
            (map->fm_extents[map->fm_mapped_extents - 1].fe_flags &
             FIEMAP_EXTENT_LAST) != 0)
            return 0;
    }
    return 0;
}
