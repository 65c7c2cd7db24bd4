/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store and a format that say what a test tells them to: where real ones
 * cannot be made to lie on command. Real files and filesystems stand beside
 * them in tests/interop.
 */
#ifndef DS_TESTS_ENGINE_FAKE_H
#define DS_TESTS_ENGINE_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arith.h"
#include "disk.h"
#include "fail.h"

struct fake_file {
    struct ds_file file;
    const uint8_t *bytes;
    const struct ds_physical_extent *extents;
    size_t extent_count;
    uint8_t storage; /* which filesystem it lies on */
    bool no_map;     /* physical() says unsupported */
    unsigned read_count;
};

static int fake_read(struct ds_file *file, uint64_t offset, void *buffer,
                     size_t length, struct ds_error *err)
{
    struct fake_file *fake = (struct fake_file *)file;

    (void)err;
    assert_true(ds_range_fits(offset, length, file->size_bytes));
    memcpy(buffer, fake->bytes + offset, length);
    fake->read_count++;
    return 0;
}

static int fake_physical(struct ds_file *file, uint64_t offset, uint64_t length,
                         struct ds_physical_extent *extents, size_t max,
                         size_t *count, struct ds_error *err)
{
    struct fake_file *fake = (struct fake_file *)file;

    *count = 0;
    if (fake->no_map)
        return ds_fail(err, DS_ERR_UNSUPPORTED, "fake: no map");
    for (size_t i = 0; i < fake->extent_count && *count < max; i++) {
        const struct ds_physical_extent *e = &fake->extents[i];

        if (e->offset_bytes < offset + length &&
            e->offset_bytes + e->length_bytes > offset)
            extents[(*count)++] = *e;
    }
    return 0;
}

static int fake_storage_id(struct ds_file *file, struct ds_storage_id *out,
                           struct ds_error *err)
{
    (void)err;
    memset(out, 0, sizeof(*out));
    out->known = true;
    out->bytes[0] = ((struct fake_file *)file)->storage;
    return 0;
}

static void fake_close_file(struct ds_file *file)
{
    (void)file;
}

static bool fake_same(const struct ds_file *a, const struct ds_file *b)
{
    return a == b;
}

static bool fake_read_back(struct ds_file *file, uint64_t offset_bytes,
                           void *buffer, size_t length_bytes)
{
    return fake_read(file, offset_bytes, buffer, length_bytes, NULL) == 0;
}

static const struct ds_store_ops fake_store = {
    .name = "fake",
    .read = fake_read,
    .same = fake_same,
    .read_back = fake_read_back,
    .physical = fake_physical,
    .storage_id = fake_storage_id,
    .close = fake_close_file,
};

/* An image whose map is a list of extents, in guest order, without gaps. */
struct fake_image {
    struct ds_image image;
    const struct ds_extent *extents;
    size_t extent_count;
};

static int fake_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                          uint64_t guest, struct ds_extent *out,
                          struct ds_error *err)
{
    const struct fake_image *fake = (const struct fake_image *)image;

    (void)cursor;
    for (size_t i = 0; i < fake->extent_count; i++) {
        uint64_t skip = guest - fake->extents[i].guest_offset_bytes;

        if (guest < fake->extents[i].guest_offset_bytes ||
            skip >= fake->extents[i].length_bytes)
            continue;
        *out = fake->extents[i];
        out->guest_offset_bytes += skip;
        out->length_bytes -= skip;
        if (out->file_index != DS_FILE_NONE)
            out->file_offset_bytes += skip;
        return 0;
    }
    return ds_fail(err, DS_ERR_CORRUPT, "fake: nothing at %u", (unsigned)guest);
}

static const struct ds_format_ops fake_format = {
    .name = "fake",
    .extent_at = fake_extent_at,
};

/* One layer over one file. */
static inline void fake_layer(struct ds_disk *disk, struct fake_image *image,
                              struct fake_file *file,
                              const struct ds_extent *extents, size_t count)
{
    struct ds_layer *layer = &disk->layers[disk->layer_count++];

    file->file.store = &fake_store;
    image->image.format = &fake_format;
    image->image.files[0] = &file->file;
    image->image.file_count = 1;
    image->extents = extents;
    image->extent_count = count;
    image->image.size_bytes =
        extents[count - 1].guest_offset_bytes + extents[count - 1].length_bytes;
    layer->image = &image->image;
    layer->file_base = disk->file_count;
    disk->files[disk->file_count++] = &file->file;
    if (disk->layer_count == 1)
        disk->size_bytes = image->image.size_bytes;
    disk->part_count = 1;
    disk->parts[0].size_bytes = disk->size_bytes;
    disk->parts[0].layer_count = disk->layer_count;
}

#endif
