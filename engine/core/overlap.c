/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether any two pointers of an image lead to the same bytes, or one into
 * the format's own records. Asked in file order, window by window.
 *
 * Compressed units lie packed: one may end in the sector in which the next
 * begins, and several may lie in one sector. So what is wholly a unit's own is
 * claimed as data is, and the sectors at its ends, which it may share with
 * other units but with nothing else, are claimed apart:
 *
 *   sectors       |      |      |      |      |      |
 *   units             aaaaaaaaaaaabbbbbccccccccc
 *   owned                |  a   |      |  c   |
 *   edges         |  a   |      | a b c|      |  c   |
 */
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

/* What an extent has in its file. */
static uint64_t stored_bytes(const struct ds_extent *extent)
{
    return extent->kind == DS_EXTENT_ENCODED ? extent->encoding.stored_bytes
                                             : extent->length_bytes;
}

/* Ciphers keep every byte in its place. */
static bool is_packed(const struct ds_extent *extent)
{
    return extent->kind == DS_EXTENT_ENCODED && extent->encoding.key == NULL;
}

static int fail_overlap(struct ds_disk *disk, const struct ds_layer *layer,
                        const struct ds_extent *extent, struct ds_error *err)
{
    struct ds_image *image = layer->image;
    struct region_search search = {
        .file_index = extent->file_index - layer->file_base,
        .begin_bytes = extent->file_offset_bytes,
        .end_bytes = extent->file_offset_bytes + stored_bytes(extent),
        .name = "other data",
    };
    int result = image->format->regions(image, find_region, &search, err);

    if (result != 0)
        return result;
    return ds_fail_at(err, disk->files[extent->file_index],
                      extent->file_offset_bytes, DS_ERR_CORRUPT,
                      "%s: data: the %" PRIu64 " bytes of guest offset %" PRIu64
                      " overlap %s",
                      image->format->name, stored_bytes(extent),
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
        result =
            extent.kind == DS_EXTENT_DATA || extent.kind == DS_EXTENT_ENCODED
                ? fn(user, &extent, err)
                : 0;
    }
    ds_map_close(map);
    return result < 0 ? result : 0;
}

/* What a file has of the guest's data: [begin, end) spans it, and the lowest
 * bit that is set in any offset or length is its granule. */
struct share {
    uint64_t bits; /* 0: no data there */
    bool has_packed;
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
    if (is_packed(extent)) {
        share->has_packed = true;
        share->bits |= DS_SECTOR_BYTES | CLAIMS_GRANULE_MAX;
        return 0;
    }
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
    struct claims edges; /* of packed units; without a bitmap: there are none */
};

static bool claim_owned(struct window *window, uint64_t offset_bytes,
                        uint64_t length_bytes)
{
    return claims_add(&window->claims, offset_bytes, length_bytes) &&
           (window->edges.bits == NULL ||
            !claims_any(&window->edges, offset_bytes, length_bytes));
}

static bool claim_edge(struct window *window, uint64_t sector_bytes)
{
    (void)claims_add(&window->edges, sector_bytes, DS_SECTOR_BYTES);
    return !claims_any(&window->claims, sector_bytes, DS_SECTOR_BYTES);
}

static bool claim_packed(struct window *window, const struct ds_extent *extent)
{
    uint64_t end = extent->file_offset_bytes + extent->encoding.stored_bytes;
    uint64_t first = ds_align_down(extent->file_offset_bytes, DS_SECTOR_BYTES);
    uint64_t last = ds_align_down(end - 1, DS_SECTOR_BYTES);
    bool free = claim_edge(window, first) && claim_edge(window, last);

    if (last - first <= DS_SECTOR_BYTES)
        return free;
    return claim_owned(window, first + DS_SECTOR_BYTES,
                       last - first - DS_SECTOR_BYTES) &&
           free;
}

static int claim_data(void *user, const struct ds_extent *extent,
                      struct ds_error *err)
{
    struct window *window = user;
    bool free;

    if (extent->file_index != window->file_index)
        return 0;
    free = is_packed(extent) ? claim_packed(window, extent)
                             : claim_owned(window, extent->file_offset_bytes,
                                           stored_bytes(extent));
    return free ? 0 : fail_overlap(window->disk, window->layer, extent, err);
}

/* Both bitmaps go to the same place. */
static bool next_window(struct window *window)
{
    if (window->edges.bits == NULL)
        return claims_next_window(&window->claims);
    claims_join(&window->claims, &window->edges);
    return claims_next_window(&window->edges) &&
           claims_next_window(&window->claims);
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
    } while (result == 0 && next_window(window));
    return result;
}

static int open_window(struct window *window, struct ds_error *err)
{
    uint64_t bits = window->share->bits;
    uint64_t size = window->disk->files[window->file_index]->size_bytes;
    uint64_t memory = disk_claims_bytes(window->disk);
    int result =
        claims_init(&window->claims, size, bits & (0 - bits), memory, err);

    window->edges = (struct claims){ 0 };
    if (result == 0 && window->share->has_packed)
        result =
            claims_init(&window->edges, size, bits & (0 - bits), memory, err);
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
        window.file_index = layer->file_base + i;
        window.share = &granules.shares[window.file_index];
        if (window.share->bits == 0)
            continue;
        result = open_window(&window, err);
        if (result == 0)
            result = check_file(&window, index, err);
        claims_free(&window.claims);
        claims_free(&window.edges);
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
