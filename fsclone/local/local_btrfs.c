/* SPDX-License-Identifier: Apache-2.0 */
/* Where a file's bytes lie on btrfs, out of its tree.
 *
 * FIEMAP finds out for each extent who else refers to it, which takes tens of
 * microseconds where there are many, and a proof does not ask. The tree's items
 * (EXTENT_DATA, https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html)
 * tell the same addresses. Root alone may read them.
 */
#include <endian.h>
#include <errno.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cleanup.h"
#include "local.h"

#define ITEM_BYTES_MAX                                                         \
    (sizeof(struct btrfs_ioctl_search_header) +                                \
     sizeof(struct btrfs_file_extent_item))

/* What an item with inline data has, too. */
#define ITEM_HEAD_BYTES offsetof(struct btrfs_file_extent_item, disk_bytenr)

/* False: it is a hole. */
static bool decode(uint64_t offset_bytes,
                   const struct btrfs_file_extent_item *item,
                   struct ds_physical_extent *out)
{
    *out = (struct ds_physical_extent){ .offset_bytes = offset_bytes };
    if (item->type == BTRFS_FILE_EXTENT_INLINE) {
        out->length_bytes = le64toh(item->ram_bytes);
        out->flags = DS_PHYSICAL_UNPROVABLE;
        return true;
    }
    out->length_bytes = le64toh(item->num_bytes);
    if (item->disk_bytenr == 0)
        return false;
    out->physical_bytes = le64toh(item->disk_bytenr) + le64toh(item->offset);
    if (item->type == BTRFS_FILE_EXTENT_PREALLOC)
        out->flags |= DS_PHYSICAL_UNWRITTEN;
    else if (item->type != BTRFS_FILE_EXTENT_REG)
        out->flags |= DS_PHYSICAL_UNPROVABLE;
    if (item->compression != 0 || item->encryption != 0 ||
        item->other_encoding != 0)
        out->flags |= DS_PHYSICAL_UNPROVABLE;
    return true;
}

/* One answer of the search: its items, as extents. False: they are not what
 * items look like. */
static bool decode_all(const struct btrfs_ioctl_search_args_v2 *search,
                       struct ds_physical_extent *extents, size_t *count,
                       uint64_t *end_bytes)
{
    const uint8_t *at = search->buf;
    size_t left = (size_t)search->buf_size;

    for (uint32_t i = 0; i < search->key.nr_items; i++) {
        struct btrfs_ioctl_search_header header;
        struct btrfs_file_extent_item item = { 0 };
        if (left < sizeof(header))
            return false;
        memcpy(&header, at, sizeof(header));
        left -= sizeof(header);
        if (header.len < ITEM_HEAD_BYTES || header.len > left)
            return false;
        memcpy(&item, at + sizeof(header),
               header.len < sizeof(item) ? header.len : sizeof(item));
        if (header.len < sizeof(item) && item.type != BTRFS_FILE_EXTENT_INLINE)
            return false;
        if (decode(header.offset, &item, &extents[*count]))
            (*count)++;
        *end_bytes =
            header.offset + le64toh(item.type == BTRFS_FILE_EXTENT_INLINE
                                        ? item.ram_bytes
                                        : item.num_bytes);
        at += sizeof(header) + header.len;
        left -= header.len;
    }
    return true;
}

bool local_btrfs_layout(int fd, uint64_t begin_bytes,
                        struct ds_physical_extent *extents,
                        size_t extent_count_max, size_t *count,
                        uint64_t *end_bytes)
{
    size_t room = extent_count_max * ITEM_BYTES_MAX;
    ds_autofree struct btrfs_ioctl_search_args_v2 *search = NULL;
    struct stat status;

    *count = 0;
    if (local_magic(fd) != BTRFS_SUPER_MAGIC || fstat(fd, &status) != 0 ||
        (begin_bytes == 0 && fdatasync(fd) != 0) ||
        (search = malloc(sizeof(*search) + room)) == NULL)
        return false;
    *search = (struct btrfs_ioctl_search_args_v2){
        .key = { .min_objectid = status.st_ino,
                 .max_objectid = status.st_ino,
                 .min_type = BTRFS_EXTENT_DATA_KEY,
                 .max_type = BTRFS_EXTENT_DATA_KEY,
                 .min_offset = begin_bytes,
                 .max_offset = UINT64_MAX,
                 .max_transid = UINT64_MAX,
                 .nr_items = (uint32_t)extent_count_max },
        .buf_size = room,
    };
    int rc;
    do
        rc = ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2, search);
    while (rc != 0 && errno == EINTR);
    bool more = search->key.nr_items == extent_count_max;
    if (rc != 0 || !decode_all(search, extents, count, end_bytes))
        return false;
    if (!more)
        *end_bytes = INT64_MAX;
    return true;
}
