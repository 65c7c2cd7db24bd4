/* SPDX-License-Identifier: Apache-2.0 */
/* Whether any two pointers of an image lead to the same bytes, or one into
 * the format's own records. Asked in file order, window by window. */
#include <inttypes.h>
#include <stdlib.h>

#include "arith.h"
#include "claims.h"
#include "fail.h"
#include "overlap.h"

/* The records of an image of many files, named once and not anew for each of
 * the files: that would be a walk over all their directories, squared. Where
 * they are more than fit, it is done anew all the same. */
#define REGION_FILE_COUNT 16u
#define REGION_COUNT_MAX ((size_t)32 * 1024)

struct region_list {
    struct ds_image *image;
    struct ds_region *regions; /* NULL: ask the format */
    size_t count;
};

static int list_region(void *user, const struct ds_region *region,
                       struct ds_error *err)
{
    struct region_list *list = user;

    (void)err;
    if (list->count < REGION_COUNT_MAX)
        list->regions[list->count] = *region;
    list->count++;
    return 0;
}

static int list_regions(struct region_list *list, struct ds_error *err)
{
    int result;

    if (list->image->file_count < REGION_FILE_COUNT)
        return 0;
    list->regions = calloc(REGION_COUNT_MAX, sizeof(*list->regions));
    if (list->regions == NULL)
        return ds_fail_memory(err);
    result = list->image->format->regions(list->image, list_region, list, err);
    if (result != 0 || list->count > REGION_COUNT_MAX) {
        free(list->regions);
        list->regions = NULL;
    }
    return result;
}

static int each_region(const struct region_list *list, ds_region_fn *fn,
                       void *user, struct ds_error *err)
{
    int result = 0;

    if (list->regions == NULL)
        return list->image->format->regions(list->image, fn, user, err);
    for (size_t i = 0; i < list->count && result == 0; i++)
        result = fn(user, &list->regions[i], err);
    return result;
}

struct region_search {
    uint32_t file_index;
    struct claims *claims; /* NULL: look for what meets [begin, end) */
    uint64_t begin_bytes;
    uint64_t end_bytes;
    const char *name;
};

static int claim_region(void *user, const struct ds_region *region,
                        struct ds_error *err)
{
    struct region_search *search = user;

    (void)err;
    /* Records may touch one granule together: their own overlap is not the
     * question here. */
    if (region->file_index == search->file_index)
        (void)claims_add(search->claims, region->offset_bytes,
                         region->length_bytes);
    return 0;
}

static int find_region(void *user, const struct ds_region *region,
                       struct ds_error *err)
{
    struct region_search *search = user;

    (void)err;
    if (region->file_index == search->file_index &&
        region->offset_bytes < search->end_bytes &&
        search->begin_bytes < region->offset_bytes + region->length_bytes)
        search->name = region->name;
    return 0;
}

static int fail_overlap(struct ds_disk *disk, const struct ds_layer *layer,
                        const struct ds_extent *extent, struct ds_error *err)
{
    struct ds_image *image = layer->image;
    struct region_search search = {
        .file_index = extent->file_index - layer->file_base,
        .begin_bytes = extent->file_offset_bytes,
        .end_bytes = extent->file_offset_bytes + extent->length_bytes,
        .name = "other data",
    };
    int result = image->format->regions(image, find_region, &search, err);

    if (result != 0)
        return result;
    return ds_fail_at(err, disk->files[extent->file_index],
                      extent->file_offset_bytes, DS_ERR_CORRUPT,
                      "%s: data: the %" PRIu64 " bytes of guest offset %" PRIu64
                      " overlap %s",
                      image->format->name, extent->length_bytes,
                      extent->guest_offset_bytes, search.name);
}

/* One pass over a layer's own map, from guest offset `begin` to `end`. */
typedef int data_fn(void *user, const struct ds_extent *extent,
                    struct ds_error *err);

static int walk_data(struct ds_disk *disk, uint32_t layer, uint64_t begin,
                     uint64_t end, data_fn *fn, void *user,
                     struct ds_error *err)
{
    struct ds_extent extent;
    struct ds_map *map = NULL;
    int result = map_open_layer(disk, layer, &map, err);

    if (result == 0)
        ds_map_seek(map, begin);
    while (result == 0) {
        result = ds_map_next(map, &extent, err);
        if (result <= 0 || extent.guest_offset_bytes >= end)
            break;
        result = extent.kind == DS_EXTENT_DATA ? fn(user, &extent, err) : 0;
    }
    ds_map_close(map);
    return result < 0 ? result : 0;
}

/* What a file has of the guest's data: [begin, end) spans it, and the lowest
 * bit that is set in any offset or length is its granule. */
struct share {
    uint64_t bits; /* 0: no data there */
    uint64_t guest_begin_bytes;
    uint64_t guest_end_bytes;
};

struct granules {
    const struct ds_disk *disk;
    struct share shares[DS_DISK_FILE_COUNT_MAX];
};

static int note_granule(void *user, const struct ds_extent *extent,
                        struct ds_error *err)
{
    struct granules *granules = user;
    struct share *share = &granules->shares[extent->file_index];
    uint64_t end = extent->file_offset_bytes + extent->length_bytes;

    (void)err;
    if (share->bits == 0)
        share->guest_begin_bytes = extent->guest_offset_bytes;
    share->guest_end_bytes = extent->guest_offset_bytes + extent->length_bytes;
    share->bits |= extent->file_offset_bytes | CLAIMS_GRANULE_MAX;
    /* A length that ends where the file does says nothing about granules. */
    if (end != granules->disk->files[extent->file_index]->size_bytes)
        share->bits |= extent->length_bytes;
    return 0;
}

struct window {
    struct ds_disk *disk;
    const struct ds_layer *layer;
    uint32_t file_index;
    const struct share *share;
    const struct region_list *regions;
    struct claims claims;
};

static int claim_data(void *user, const struct ds_extent *extent,
                      struct ds_error *err)
{
    struct window *window = user;

    if (extent->file_index != window->file_index ||
        claims_add(&window->claims, extent->file_offset_bytes,
                   extent->length_bytes))
        return 0;
    return fail_overlap(window->disk, window->layer, extent, err);
}

static int check_file(struct window *window, uint32_t layer,
                      struct ds_error *err)
{
    struct region_search search = {
        .file_index = window->file_index - window->layer->file_base,
        .claims = &window->claims,
    };
    int result;

    do {
        result = each_region(window->regions, claim_region, &search, err);
        if (result == 0)
            result = walk_data(
                window->disk, layer, window->share->guest_begin_bytes,
                window->share->guest_end_bytes, claim_data, window, err);
    } while (result == 0 && claims_next_window(&window->claims));
    return result;
}

int overlap_check_layer(struct ds_disk *disk, uint32_t index,
                        struct ds_error *err)
{
    const struct ds_layer *layer = &disk->layers[index];
    struct granules granules = { .disk = disk };
    struct region_list regions = { .image = layer->image };
    struct window window = { .disk = disk,
                             .layer = layer,
                             .regions = &regions };
    int result;

    if (layer->image->format->regions == NULL)
        return 0;
    result =
        walk_data(disk, index, 0, UINT64_MAX, note_granule, &granules, err);
    if (result == 0)
        result = list_regions(&regions, err);
    for (uint32_t i = 0; i < layer->image->file_count && result == 0; i++) {
        uint64_t bits = granules.shares[layer->file_base + i].bits;

        window.file_index = layer->file_base + i;
        window.share = &granules.shares[window.file_index];
        if (bits == 0)
            continue;
        result = claims_init(&window.claims,
                             disk->files[window.file_index]->size_bytes,
                             bits & (0 - bits), err);
        if (result == 0)
            result = check_file(&window, index, err);
        claims_free(&window.claims);
    }
    free(regions.regions);
    return result;
}

int overlap_check(struct ds_disk *disk, struct ds_error *err)
{
    int result = 0;

    for (uint32_t i = 0; i < disk->layer_count && result == 0; i++)
        result = overlap_check_layer(disk, i, err);
    return result;
}
