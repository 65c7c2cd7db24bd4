/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `check` finds beyond what opening and the map refuse: damaged copies of
 * headers and region tables, and room that nothing refers to.
 *
 * Room is counted in MiB, which is what everything lies on: one bit for each
 * of the file, set for what regions and BAT entries name. What is left over
 * and not a hole of the file is a leak.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fail.h"
#include "vhdx.h"

/* Twice the largest disk; its bits take 16 MiB. */
#define LEAK_FILE_BYTES_MAX (128 * DS_TIB)

struct inspection {
    struct vhdx_image *vhdx;
    ds_finding_fn *finding;
    void *user;
    uint64_t mib_count;
    uint8_t *used;
};

static int say(const struct inspection *inspection, bool is_leak,
               uint64_t offset_bytes, const char *message, struct ds_error *err)
{
    struct ds_finding finding = { is_leak, 0, offset_bytes, message };

    return inspection->finding(inspection->user, &finding, err);
}

/* -- copies --------------------------------------------------------------- */

static int inspect_headers(const struct inspection *inspection,
                           struct ds_error *err)
{
    const struct vhdx_image *vhdx = inspection->vhdx;
    int result = 0;

    if (!vhdx->header_valid[0])
        result = say(inspection, false, VHDX_HEADER_1_OFFSET_BYTES,
                     "vhdx: header 1: signature or checksum is wrong", err);
    if (result == 0 && !vhdx->header_valid[1])
        result = say(inspection, false, VHDX_HEADER_2_OFFSET_BYTES,
                     "vhdx: header 2: signature or checksum is wrong", err);
    return result;
}

static int inspect_region_tables(const struct inspection *inspection,
                                 struct ds_error *err)
{
    struct vhdx_image *vhdx = inspection->vhdx;
    ds_autofree uint8_t *bytes = malloc(2 * VHDX_REGION_TABLE_BYTES);
    int result;

    if (bytes == NULL)
        return ds_fail_memory(err);
    if (!vhdx->region_table_valid[0])
        return say(inspection, false, VHDX_REGION_TABLE_1_OFFSET_BYTES,
                   "vhdx: region table 1: signature or checksum is wrong", err);
    if (!vhdx->region_table_valid[1])
        return say(inspection, false, VHDX_REGION_TABLE_2_OFFSET_BYTES,
                   "vhdx: region table 2: signature or checksum is wrong", err);
    result = vhdx_read(vhdx, VHDX_REGION_TABLE_1_OFFSET_BYTES, bytes,
                       2 * VHDX_REGION_TABLE_BYTES, err);
    if (result != 0 || memcmp(bytes, bytes + VHDX_REGION_TABLE_BYTES,
                              VHDX_REGION_TABLE_BYTES) == 0)
        return result;
    return say(inspection, false, VHDX_REGION_TABLE_2_OFFSET_BYTES,
               "vhdx: region table 2: differs from table 1, expect the same",
               err);
}

/* -- leaks ---------------------------------------------------------------- */

static void mark(const struct inspection *inspection, uint64_t offset_bytes,
                 uint64_t length_bytes)
{
    uint64_t mib = offset_bytes / DS_MIB;
    uint64_t count = length_bytes / DS_MIB;

    for (; count > 0 && mib < inspection->mib_count; mib++, count--)
        inspection->used[mib / 8] |= (uint8_t)(1u << mib % 8);
}

static int mark_region(void *user, const struct ds_region *region,
                       struct ds_error *err)
{
    const struct inspection *inspection = user;

    (void)err;
    mark(inspection, region->offset_bytes, region->length_bytes);
    return 0;
}

/* Blocks that are not present may keep their room (2.5.1.1). */
static int mark_blocks(const struct inspection *inspection,
                       struct ds_error *err)
{
    struct vhdx_image *vhdx = inspection->vhdx;
    const struct vhdx_geometry *geometry = &vhdx->geometry;
    struct ds_window window = { 0 };
    uint64_t noted[2] = { 0 };
    uint64_t index = 0;
    int result = 0;

    while (result == 0 && index < geometry->bat_entry_count) {
        uint64_t most =
            (geometry->bat_entry_count - index) * VHDX_BAT_ENTRY_BYTES;
        const uint8_t *bytes;
        size_t available = 0;

        result = vhdx_window_view(
            vhdx, &window, noted,
            vhdx->bat.offset_bytes + index * VHDX_BAT_ENTRY_BYTES,
            VHDX_BAT_ENTRY_BYTES, (size_t)ds_min_u64(most, DS_WINDOW_BYTES_MAX),
            &bytes, &available, err);
        for (size_t at = 0; result == 0 && at < available;
             at += VHDX_BAT_ENTRY_BYTES, index++) {
            uint64_t offset;
            ds_le64 wire;

            memcpy(&wire, bytes + at, sizeof(wire));
            offset = ds_le64_get(wire) & VHDX_BAT_OFFSET_MASK;
            if (offset != 0 &&
                index % (geometry->chunk_ratio + 1) != geometry->chunk_ratio)
                mark(inspection, offset, vhdx->parameters.block_bytes);
        }
    }
    ds_window_free(&window);
    return result;
}

/* What of [begin, end) takes room on storage; all of it where the store
 * cannot tell. */
static int allocated(const struct inspection *inspection,
                     struct ds_physical_window *window, uint64_t begin,
                     uint64_t end, uint64_t *out, struct ds_error *err)
{
    struct ds_file *file = inspection->vhdx->image.files[0];

    *out = 0;
    end = ds_min_u64(end, file->size_bytes);
    while (begin < end) {
        struct ds_physical_extent extent;
        struct ds_error local = DS_ERROR_INIT;
        bool hole = false;
        int result = file->store->physical == NULL
                         ? -DS_ERR_UNSUPPORTED
                         : ds_physical_at(window, file, begin, end, &extent,
                                          &hole, &local);

        if (result == -DS_ERR_UNSUPPORTED) {
            *out += end - begin;
            return 0;
        }
        if (result != 0) {
            if (err != NULL)
                *err = local;
            return result;
        }
        if (!hole)
            *out += extent.length_bytes;
        begin += extent.length_bytes;
    }
    return 0;
}

static int say_leaks(const struct inspection *inspection, struct ds_error *err)
{
    struct ds_physical_window window = { 0 };
    uint64_t mib = 0;
    int result = 0;

    while (result == 0 && mib < inspection->mib_count) {
        uint64_t begin = mib, bytes = 0;
        char message[128];

        while (mib < inspection->mib_count &&
               (inspection->used[mib / 8] & 1u << mib % 8) == 0)
            mib++;
        if (mib == begin) {
            mib++;
            continue;
        }
        result = allocated(inspection, &window, begin * DS_MIB, mib * DS_MIB,
                           &bytes, err);
        if (result != 0 || bytes == 0)
            continue;
        (void)snprintf(message, sizeof(message),
                       "vhdx: room that nothing refers to, have %" PRIu64
                       " bytes allocated in %" PRIu64 " expect none",
                       bytes, (mib - begin) * DS_MIB);
        result = say(inspection, true, begin * DS_MIB, message, err);
    }
    ds_physical_window_free(&window);
    return result;
}

static int inspect_leaks(struct inspection *inspection, struct ds_error *err)
{
    struct vhdx_image *vhdx = inspection->vhdx;
    uint64_t size = vhdx->image.files[0]->size_bytes;
    int result;

    if (size > LEAK_FILE_BYTES_MAX)
        return say(inspection, true, LEAK_FILE_BYTES_MAX,
                   "vhdx: file: larger than 128 TiB, which no disk fills", err);
    inspection->mib_count = ds_div_up(size, DS_MIB);
    inspection->used = calloc(1, (size_t)(inspection->mib_count / 8 + 1));
    if (inspection->used == NULL)
        return ds_fail_memory(err);
    result = vhdx_regions(&vhdx->image, mark_region, inspection, err);
    if (result == 0)
        result = mark_blocks(inspection, err);
    if (result == 0)
        result = say_leaks(inspection, err);
    free(inspection->used);
    return result;
}

int vhdx_inspect(struct ds_image *image, ds_finding_fn *finding, void *user,
                 struct ds_error *err)
{
    struct inspection inspection = {
        .vhdx = (struct vhdx_image *)image,
        .finding = finding,
        .user = user,
    };
    int result = inspect_headers(&inspection, err);

    if (result == 0)
        result = inspect_region_tables(&inspection, err);
    if (result == 0)
        result = inspect_leaks(&inspection, err);
    return result;
}
