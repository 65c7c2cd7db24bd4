/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merging iterator over a chain. A format answers for one guest offset of
 * its own layer; here its answers are held to the contract, holes are asked
 * of the layer below, and extents are joined where they continue each other
 * in the guest and in the file:
 *
 *   format    [D a..b @x][D b..c @x+(b-a)][Z][Z]
 *   map       [D a..c @x                 ][Z   ]
 *
 * ENCODED extents never merge.
 *
 * The first walk over all of a quiet disk remembers its extents, if they are
 * few; later walks read those.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "codec.h"
#include "disk.h"
#include "fail.h"

static int map_create(struct ds_disk *disk, const struct ds_part *parts,
                      uint32_t part_count, struct ds_map **out,
                      struct ds_error *err)
{
    struct ds_map *map = calloc(1, sizeof(*map));
    uint32_t depth = 0;

    if (map == NULL)
        return ds_fail_memory(err);
    for (uint32_t i = 0; i < part_count; i++)
        if (parts[i].layer_count > depth)
            depth = parts[i].layer_count;
    map->layers = calloc(depth, sizeof(*map->layers));
    if (map->layers == NULL) {
        free(map);
        return ds_fail_memory(err);
    }
    map->disk = disk;
    map->parts = parts;
    map->part_count = part_count;
    map->join_count_max = UINT32_MAX;
    map->size_bytes =
        parts[part_count - 1].begin_bytes + parts[part_count - 1].size_bytes;
    *out = map;
    return 0;
}

/* -- what the first walk found ---------------------------------------------*/

/* A map of the whole disk: use what is remembered, or begin to. */
static void use_joined(struct ds_disk *disk, struct ds_map *map)
{
    const struct joined *joined =
        __atomic_load_n(&disk->joined, __ATOMIC_ACQUIRE);

    if (joined != NULL && joined->size_bytes == map->size_bytes)
        map->joined = joined;
    else if (joined == NULL && disk->quiet)
        map->record = malloc(sizeof(*map->record));
    if (map->record != NULL) { /* else it is read again: no fault */
        map->record->size_bytes = 0;
        map->record->count = 0;
    }
}

static void drop_record(struct ds_map *map)
{
    free(map->record);
    map->record = NULL;
}

/* After each step: 1 with an extent, 0 at the end, or an error. */
static void take_record(struct ds_map *map, int result,
                        const struct ds_extent *extent)
{
    struct joined *record = map->record, *none = NULL;

    if (result == 1 && record->count < JOINED_COUNT_MAX &&
        extent->guest_offset_bytes == record->size_bytes) {
        record->extents[record->count++] = *extent;
        record->size_bytes += extent->length_bytes;
        return;
    }
    if (result == 0 && record->size_bytes == map->size_bytes &&
        __atomic_compare_exchange_n(&map->disk->joined, &none, record, false,
                                    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        map->record = NULL; /* the disk's now */
    drop_record(map);
}

static bool holds(const struct joined *joined, uint32_t index,
                  uint64_t position)
{
    return index < joined->count &&
           position >= joined->extents[index].guest_offset_bytes &&
           position - joined->extents[index].guest_offset_bytes <
               joined->extents[index].length_bytes;
}

static int joined_next(struct ds_map *map, struct ds_extent *out)
{
    const struct joined *joined = map->joined;
    uint32_t low = 0, high = joined->count, index = map->joined_index;

    if (map->position_bytes == map->size_bytes)
        return 0;
    if (!holds(joined, index, map->position_bytes)) {
        while (high - low > 1) {
            uint32_t middle = low + (high - low) / 2;

            if (joined->extents[middle].guest_offset_bytes <=
                map->position_bytes)
                low = middle;
            else
                high = middle;
        }
        index = low;
    }
    *out = joined->extents[index];
    extent_advance(out, map->position_bytes - out->guest_offset_bytes);
    map->position_bytes += out->length_bytes;
    map->joined_index = index + 1;
    return 1;
}

/* -- opening ---------------------------------------------------------------*/

int ds_map_open(struct ds_disk *disk, struct ds_map **out, struct ds_error *err)
{
    int result = map_create(disk, disk->parts, disk->part_count, out, err);

    if (result == 0)
        use_joined(disk, *out);
    return result;
}

int map_open_layer(struct ds_disk *disk, uint32_t layer, struct ds_map **out,
                   struct ds_error *err)
{
    const struct ds_part view = {
        .size_bytes = disk->layers[layer].image->size_bytes,
        .first_layer = layer,
        .layer_count = 1,
    };
    int result;

    if (disk->layer_count == 1 && view.size_bytes == disk->size_bytes)
        return ds_map_open(disk, out, err);
    result = map_create(disk, &view, 1, out, err);
    if (result == 0) {
        (*out)->layer = view;
        (*out)->parts = &(*out)->layer;
    }
    return result;
}

/* Leave the part that the map is in; what its cursors hold with it. */
static void leave_part(struct ds_map *map)
{
    uint32_t count = map->parts[map->part_index].layer_count;

    for (uint32_t i = 0; i < count; i++) {
        struct ds_cursor *cursor = &map->layers[i].cursor;

        ds_window_free(&cursor->table);
        ds_window_free(&cursor->table2);
        ds_physical_window_free(&cursor->physical);
    }
    memset(map->layers, 0, count * sizeof(*map->layers));
}

void ds_map_close(struct ds_map *map)
{
    if (map == NULL)
        return;
    leave_part(map);
    drop_record(map);
    free(map->layers);
    free(map);
}

void map_join_at_most(struct ds_map *map, uint32_t count)
{
    assert(count > 0);
    map->join_count_max = count;
}

void ds_map_seek(struct ds_map *map, uint64_t guest_offset_bytes)
{
    assert(guest_offset_bytes <= map->size_bytes);
    map->position_bytes = guest_offset_bytes;
    map->has_pending = false;
}

/* A format that breaks these has a fault of ours in it. */
static void check_contract(const struct ds_image *image,
                           const struct ds_extent *extent, uint64_t position)
{
    assert(extent->guest_offset_bytes == position && extent->length_bytes > 0);
    assert(ds_range_fits(position, extent->length_bytes, image->size_bytes));
    if (extent->kind != DS_EXTENT_DATA)
        return;
    assert(extent->file_index < image->file_count);
    assert(ds_range_fits(extent->file_offset_bytes, extent->length_bytes,
                         image->files[extent->file_index]->size_bytes));
}

/* Go to the part that `position` lies in, or behind. */
static const struct ds_part *enter_part(struct ds_map *map, uint64_t position)
{
    uint32_t index = map->part_index;

    while (position < map->parts[index].begin_bytes)
        index--;
    while (index + 1 < map->part_count &&
           position >= map->parts[index + 1].begin_bytes)
        index++;
    if (index != map->part_index)
        leave_part(map);
    map->part_index = index;
    return &map->parts[index];
}

/* How far at most an answer reaches: the part's end, or the next one's
 * beginning. */
static uint64_t part_limit(const struct ds_part *part, uint64_t at)
{
    if (at < part->size_bytes)
        return part->size_bytes - at;
    return part[1].begin_bytes - part->begin_bytes - at;
}

/* One layer's answer at `position`, from what it last said if that reaches. */
static int layer_read(struct ds_map *map, uint32_t index, uint64_t position,
                      struct ds_extent *out, struct ds_error *err)
{
    const struct ds_part *part = &map->parts[map->part_index];
    struct map_layer *layer = &map->layers[index];
    struct ds_image *image = map->disk->layers[part->first_layer + index].image;
    struct ds_extent *current = &layer->current;
    int result;

    if (position < current->guest_offset_bytes ||
        position - current->guest_offset_bytes >= current->length_bytes) {
        current->length_bytes = 0;
        result =
            image->format->extent_at(image, &layer->cursor, position, out, err);
        if (result != 0)
            return result;
        check_contract(image, out, position);
        *current = *out;
    }
    *out = *current;
    extent_advance(out, position - out->guest_offset_bytes);
    return 0;
}

static int map_read(struct ds_map *map, struct ds_extent *out,
                    struct ds_error *err)
{
    const struct ds_part *part = enter_part(map, map->position_bytes);
    uint64_t at = map->position_bytes - part->begin_bytes;
    uint64_t limit = part_limit(part, at);
    int result = 0;

    *out = (struct ds_extent){ .length_bytes = limit,
                               .kind = DS_EXTENT_HOLE,
                               .file_index = DS_FILE_NONE };
    for (uint32_t i = 0; i < part->layer_count && result == 0; i++) {
        const struct ds_layer *layer =
            &map->disk->layers[part->first_layer + i];

        if (at >= layer->image->size_bytes)
            break;
        result = layer_read(map, i, at, out, err);
        out->depth = i;
        limit = ds_min_u64(limit, out->length_bytes);
        if (out->kind != DS_EXTENT_HOLE) {
            if (out->file_index != DS_FILE_NONE)
                out->file_index += layer->file_base;
            break;
        }
    }
    out->guest_offset_bytes = map->position_bytes;
    out->length_bytes = limit;
    map->position_bytes += limit;
    return result;
}

static bool continues(const struct ds_extent *left,
                      const struct ds_extent *right)
{
    if (left->kind != right->kind || left->kind == DS_EXTENT_ENCODED ||
        left->file_index != right->file_index || left->depth != right->depth)
        return false;
    return left->file_index == DS_FILE_NONE ||
           left->file_offset_bytes + left->length_bytes ==
               right->file_offset_bytes;
}

static int merge_next(struct ds_map *map, struct ds_extent *out,
                      struct ds_error *err)
{
    uint32_t count = 1;
    int result;

    if (!map->has_pending) {
        if (map->position_bytes == map->size_bytes)
            return 0;
        result = map_read(map, &map->pending, err);
        if (result != 0)
            return result;
    }
    *out = map->pending;
    map->has_pending = false;
    while (map->position_bytes < map->size_bytes &&
           count < map->join_count_max) {
        result = map_read(map, &map->pending, err);
        if (result != 0)
            return result;
        if (!continues(out, &map->pending)) {
            map->has_pending = true;
            break;
        }
        out->length_bytes += map->pending.length_bytes;
        count++;
    }
    return 1;
}

int ds_map_next(struct ds_map *map, struct ds_extent *out, struct ds_error *err)
{
    int result;

    if (map->joined != NULL)
        return joined_next(map, out);
    result = merge_next(map, out, err);
    if (map->record != NULL)
        take_record(map, result, out);
    return result;
}
