/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merging iterator. A format answers for one guest offset at a time;
 * here its answers are held to the contract and joined where they continue
 * each other in the guest and in the file:
 *
 *   format    [D a..b @x][D b..c @x+(b-a)][Z][Z]
 *   map       [D a..c @x                 ][Z   ]
 *
 * ENCODED extents never merge.
 */
#include <assert.h>
#include <stdlib.h>

#include "arith.h"
#include "disk.h"
#include "fail.h"

int ds_map_open(struct ds_disk *disk, struct ds_map **out, struct ds_error *err)
{
    struct ds_map *map = calloc(1, sizeof(*map));

    if (map == NULL)
        return ds_fail_memory(err);
    map->image = disk->image;
    *out = map;
    return 0;
}

void ds_map_close(struct ds_map *map)
{
    if (map == NULL)
        return;
    ds_window_free(&map->cursor.table);
    ds_window_free(&map->cursor.table2);
    ds_physical_window_free(&map->cursor.physical);
    free(map);
}

void ds_map_seek(struct ds_map *map, uint64_t guest_offset_bytes)
{
    assert(guest_offset_bytes <= map->image->size_bytes);
    map->position_bytes = guest_offset_bytes;
    map->has_pending = false;
}

static int map_read(struct ds_map *map, struct ds_extent *out,
                    struct ds_error *err)
{
    struct ds_image *image = map->image;
    uint64_t position = map->position_bytes;
    int result =
        image->format->extent_at(image, &map->cursor, position, out, err);

    if (result != 0)
        return result;
    /* A format that breaks these has a fault of ours in it. */
    assert(out->guest_offset_bytes == position && out->length_bytes > 0);
    assert(ds_range_fits(position, out->length_bytes, image->size_bytes));
    if (out->kind == DS_EXTENT_DATA) {
        assert(out->file_index < image->file_count);
        assert(ds_range_fits(out->file_offset_bytes, out->length_bytes,
                             image->files[out->file_index]->size_bytes));
    }
    map->position_bytes = position + out->length_bytes;
    return 0;
}

static bool continues(const struct ds_extent *left,
                      const struct ds_extent *right)
{
    if (left->kind != right->kind || left->kind == DS_EXTENT_ENCODED ||
        left->file_index != right->file_index)
        return false;
    return left->file_index == DS_FILE_NONE ||
           left->file_offset_bytes + left->length_bytes ==
               right->file_offset_bytes;
}

int ds_map_next(struct ds_map *map, struct ds_extent *out, struct ds_error *err)
{
    uint64_t size = map->image->size_bytes;
    int result;

    if (!map->has_pending) {
        if (map->position_bytes == size)
            return 0;
        result = map_read(map, &map->pending, err);
        if (result != 0)
            return result;
    }
    *out = map->pending;
    map->has_pending = false;
    while (map->position_bytes < size) {
        result = map_read(map, &map->pending, err);
        if (result != 0)
            return result;
        if (!continues(out, &map->pending)) {
            map->has_pending = true;
            break;
        }
        out->length_bytes += map->pending.length_bytes;
    }
    return 1;
}

const char *ds_extent_kind_name(enum ds_extent_kind kind)
{
    switch (kind) {
    case DS_EXTENT_DATA:
        return "data";
    case DS_EXTENT_ZERO:
        return "zero";
    case DS_EXTENT_HOLE:
        return "hole";
    case DS_EXTENT_ENCODED:
        return "encoded";
    }
    return "unknown";
}
