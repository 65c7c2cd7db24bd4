/* SPDX-License-Identifier: Apache-2.0 */
/* Whether any two pointers of an image lead to the same bytes, or one into
 * the format's own records. Asked in file order, window by window. */
#include <inttypes.h>

#include "arith.h"
#include "claims.h"
#include "fail.h"
#include "survey.h"

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

static int fail_overlap(struct ds_image *image, const struct ds_extent *extent,
                        struct ds_error *err)
{
    struct region_search search = {
        .file_index = extent->file_index,
        .begin_bytes = extent->file_offset_bytes,
        .end_bytes = extent->file_offset_bytes + extent->length_bytes,
        .name = "other data",
    };
    int result = image->format->regions(image, find_region, &search, err);

    if (result != 0)
        return result;
    return ds_fail_at(err, image->files[extent->file_index],
                      extent->file_offset_bytes, DS_ERR_CORRUPT,
                      "%s: data: the %" PRIu64 " bytes of guest offset %" PRIu64
                      " overlap %s",
                      image->format->name, extent->length_bytes,
                      extent->guest_offset_bytes, search.name);
}

static int check_window(struct ds_disk *disk, uint32_t file_index,
                        struct claims *claims, struct ds_error *err)
{
    struct ds_image *image = disk->image;
    struct region_search search = { .file_index = file_index,
                                    .claims = claims };
    struct ds_extent extent;
    struct ds_map *map = NULL;
    int result = image->format->regions(image, claim_region, &search, err);

    if (result == 0)
        result = ds_map_open(disk, &map, err);
    while (result == 0) {
        result = ds_map_next(map, &extent, err);
        if (result <= 0)
            break;
        result = 0;
        if (extent.kind == DS_EXTENT_DATA && extent.file_index == file_index &&
            !claims_add(claims, extent.file_offset_bytes, extent.length_bytes))
            result = fail_overlap(image, &extent, err);
    }
    ds_map_close(map);
    return result;
}

int survey_overlaps(struct ds_disk *disk, const uint64_t *granules,
                    struct ds_error *err)
{
    struct ds_image *image = disk->image;
    int result = 0;

    if (image->format->regions == NULL)
        return 0;
    for (uint32_t i = 0; i < image->file_count && result == 0; i++) {
        struct claims claims;

        if (granules[i] == 0) /* no data there */
            continue;
        result =
            claims_init(&claims, image->files[i]->size_bytes, granules[i], err);
        if (result != 0)
            return result;
        do {
            result = check_window(disk, i, &claims, err);
        } while (result == 0 && claims_next_window(&claims));
        claims_free(&claims);
    }
    return result;
}
