/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: the header once, the block map as the walk comes to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "vdi.h"

bool vdi_probe(const struct ds_probe *probe)
{
    const struct vdi_header_disk *disk =
        (const struct vdi_header_disk *)probe->head;

    /* Versions and types that open() refuses are of this format too. */
    return probe->head_bytes >= offsetof(struct vdi_header_disk, header_size) &&
           ds_le32_get(disk->signature) == VDI_SIGNATURE;
}

static int header_read(struct vdi_image *image, struct ds_file *file,
                       struct ds_error *err)
{
    struct vdi_header_disk disk;
    int result;

    if (file->size_bytes < sizeof(disk))
        return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                          "vdi: header: file, have %ju bytes expect at least "
                          "%zu",
                          (uintmax_t)file->size_bytes, sizeof(disk));
    result = ds_file_read(file, 0, &disk, sizeof(disk), err);
    if (result != 0)
        return result;
    if (ds_le32_get(disk.signature) != VDI_SIGNATURE)
        return ds_fail_at(
            err, file, offsetof(struct vdi_header_disk, signature),
            DS_ERR_CORRUPT, "vdi: header: signature, have 0x%08x expect 0x%08x",
            ds_le32_get(disk.signature), VDI_SIGNATURE);
    vdi_header_decode(&disk, &image->header);
    return vdi_header_check(&image->header, file, file->size_bytes, err);
}

int vdi_open(struct ds_file *file, const struct ds_open_context *context,
             struct ds_image **out, struct ds_error *err)
{
    struct vdi_image *image = calloc(1, sizeof(*image));
    int result;

    (void)context; /* only differencing images refer to other files */
    if (image == NULL)
        return ds_fail_memory(err);
    image->base.format = &vdi_format_ops;
    image->base.file_count = 1;
    image->base.files[0] = file;
    result = header_read(image, file, err);
    if (result != 0) {
        free(image);
        return result;
    }
    image->base.size_bytes = image->header.disk_bytes;
    *out = &image->base;
    return 0;
}

void vdi_close(struct ds_image *image)
{
    free(image);
}

/* -- facts ----------------------------------------------------------------- */

static void say_number(ds_fact_fn *fact, void *user, const char *key,
                       uint64_t number)
{
    struct ds_fact say = { .key = key, .number = number };

    fact(user, &say);
}

static void say_text(ds_fact_fn *fact, void *user, const char *key,
                     const char *text)
{
    struct ds_fact say = { .key = key, .text = text };

    fact(user, &say);
}

void vdi_facts(struct ds_image *image, ds_fact_fn *fact, void *user)
{
    const struct vdi_header *header = &((struct vdi_image *)image)->header;
    char text[DS_GUID_TEXT_BYTES];

    say_text(fact, user, "subformat",
             header->type == VDI_TYPE_FIXED ? "fixed" : "normal");
    (void)snprintf(text, sizeof(text), "%u.%u", header->version >> 16,
                   header->version & 0xffff);
    say_text(fact, user, "format_version", text);
    say_number(fact, user, "header_size_bytes", header->header_size_bytes);
    ds_guid_format(&header->uuid_image, text);
    say_text(fact, user, "uuid", text);
    ds_guid_format(&header->uuid_modification, text);
    say_text(fact, user, "modification_uuid", text);
    say_number(fact, user, "image_flags", header->flags);
    say_number(fact, user, "block_size_bytes", header->block_bytes);
    say_number(fact, user, "block_count", header->block_count);
    say_number(fact, user, "blocks_allocated", header->blocks_allocated);
    say_number(fact, user, "map_offset_bytes", header->blocks_offset_bytes);
    say_number(fact, user, "data_offset_bytes", header->data_offset_bytes);
}

/* -- the map --------------------------------------------------------------- */

static uint32_t entry_at(const uint8_t *entries, size_t index)
{
    ds_le32 wire;

    memcpy(&wire, entries + index * VDI_ENTRY_BYTES, sizeof(wire));
    return ds_le32_get(wire);
}

/* How many of `count` entries are like the first: each equal to the one
 * before, or `step` more than it. */
static size_t run_length(const uint8_t *entries, size_t count, uint32_t step)
{
    uint32_t entry = entry_at(entries, 0);
    size_t run = 1;

    while (run < count) {
        entry += step;
        if (entry_at(entries, run) != entry || (step != 0 && entry < step) ||
            (step != 0 && entry >= VDI_ENTRY_ZERO))
            break;
        run++;
    }
    return run;
}

/* Blocks that follow each other in the file. All of them are checked: the
 * last one ends highest. */
static int data_extent(const struct vdi_image *image, uint32_t index,
                       const uint8_t *entries, size_t run,
                       struct ds_extent *out, struct ds_error *err)
{
    const struct vdi_header *header = &image->header;
    struct ds_file *file = image->base.files[0];
    uint64_t offset = 0, last_offset;
    int result = vdi_block_check(header, index, entry_at(entries, 0), file,
                                 &offset, err);

    if (result == 0 && run > 1)
        result = vdi_block_check(header, index + (uint32_t)run - 1,
                                 entry_at(entries, run - 1), file, &last_offset,
                                 err);
    out->kind = DS_EXTENT_DATA;
    out->file_index = 0;
    out->file_offset_bytes = offset;
    return result;
}

int vdi_extent_at(struct ds_image *base, struct ds_cursor *cursor,
                  uint64_t guest_offset_bytes, struct ds_extent *out,
                  struct ds_error *err)
{
    struct vdi_image *image = (struct vdi_image *)base;
    const struct vdi_header *header = &image->header;
    uint64_t block = header->block_bytes;
    uint64_t into = guest_offset_bytes % block;
    /* Less than block_count: header_check has compared them. */
    uint32_t index = (uint32_t)(guest_offset_bytes / block);
    uint64_t most =
        (ds_div_up(header->disk_bytes, block) - index) * VDI_ENTRY_BYTES;
    const uint8_t *entries;
    uint32_t first;
    size_t available, run;
    int result = ds_window_view(
        &cursor->table, base->files[0],
        header->blocks_offset_bytes + (uint64_t)index * VDI_ENTRY_BYTES,
        VDI_ENTRY_BYTES, (size_t)ds_min_u64(most, DS_WINDOW_BYTES_MAX),
        &entries, &available, err);

    if (result != 0)
        return result;
    first = entry_at(entries, 0);
    run = run_length(entries, available / VDI_ENTRY_BYTES,
                     first < VDI_ENTRY_ZERO ? 1 : 0);
    out->guest_offset_bytes = guest_offset_bytes;
    out->length_bytes =
        ds_min_u64(run * block - into, base->size_bytes - guest_offset_bytes);
    if (first < VDI_ENTRY_ZERO) {
        result = data_extent(image, index, entries, run, out, err);
        out->file_offset_bytes += into;
        return result;
    }
    out->kind = first == VDI_ENTRY_ZERO ? DS_EXTENT_ZERO : DS_EXTENT_HOLE;
    out->file_index = DS_FILE_NONE;
    out->file_offset_bytes = 0;
    return 0;
}

int vdi_regions(struct ds_image *base, ds_region_fn *region, void *user,
                struct ds_error *err)
{
    const struct vdi_header *header = &((struct vdi_image *)base)->header;
    struct ds_region own = { 0, 0,
                             VDI_HEADER_SIZE_FROM + header->header_size_bytes,
                             "header" };
    struct ds_region map = { 0, header->blocks_offset_bytes,
                             (uint64_t)header->block_count * VDI_ENTRY_BYTES,
                             "block map" };
    int result = region(user, &own, err);

    return result == 0 && map.length_bytes != 0 ? region(user, &map, err)
                                                : result;
}
