/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading. The footer at the end rules: its type and sizes are believed and
 * a dynamic disk's copy at 0 is asked only when the end has none that is
 * whole. A fixed disk has no copy, and its byte 0 belongs to the guest, so a
 * footer of type fixed at 0 is never believed.
 *
 * The map is in vhd_map.c, parents are in vhd_parent.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "vhd_read.h"

/* -- finding the footer --------------------------------------------------- */

/* A footer from `available` bytes; what an old one lacks is zero. */
static void footer_take(const uint8_t *bytes, size_t available,
                        struct vhd_footer_disk *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out, bytes, available);
}

static bool footer_is_whole(const struct vhd_footer_disk *disk)
{
    return vhd_footer_cookie_is_valid(disk) &&
           ds_be32_get(disk->checksum) == vhd_footer_checksum(disk);
}

/* A footer that is damaged but plainly a footer still makes the file a VHD:
 * taken for raw, a dynamic disk would be converted to nonsense. */
static bool footer_is_plausible(const struct vhd_footer_disk *disk)
{
    uint32_t version = ds_be32_get(disk->file_format_version);

    return vhd_footer_cookie_is_valid(disk) &&
           (version >> 16 == VHD_VERSION_MAJOR || footer_is_whole(disk));
}

static bool type_has_copy(const struct vhd_footer_disk *disk)
{
    return ds_be32_get(disk->disk_type) != VHD_TYPE_FIXED;
}

/* A damaged end footer that still says fixed: byte 0 is the guest's, who
 * may have written anything there. */
static bool end_forbids_copy(const struct vhd_footer_disk *end)
{
    return footer_is_plausible(end) && !type_has_copy(end);
}

bool vhd_probe(const struct ds_probe *probe)
{
    const uint8_t *end = probe->tail + probe->tail_bytes;
    struct vhd_footer_disk disk;

    if (probe->tail_bytes >= VHD_FOOTER_BYTES) {
        footer_take(end - VHD_FOOTER_BYTES, VHD_FOOTER_BYTES, &disk);
        if (footer_is_plausible(&disk))
            return true;
    }
    if (probe->tail_bytes >= VHD_FOOTER_OLD_BYTES) {
        footer_take(end - VHD_FOOTER_OLD_BYTES, VHD_FOOTER_OLD_BYTES, &disk);
        if (footer_is_plausible(&disk))
            return true;
    }
    if (probe->head_bytes < VHD_FOOTER_BYTES)
        return false;
    footer_take(probe->head, VHD_FOOTER_BYTES, &disk);
    return footer_is_plausible(&disk) && type_has_copy(&disk);
}

struct footer_search {
    struct vhd_footer_disk end, old, head;
    uint64_t end_offset, old_offset;
    bool has_end, has_head;
};

static int footer_read_all(struct ds_file *file, struct footer_search *search,
                           struct ds_error *err)
{
    uint8_t tail[VHD_FOOTER_BYTES];
    size_t length = (size_t)ds_min_u64(file->size_bytes, sizeof(tail));
    int result;

    if (length < VHD_FOOTER_OLD_BYTES)
        return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                          "vhd: footer: file, have %zu bytes expect at least "
                          "%u",
                          length, VHD_FOOTER_OLD_BYTES);
    result = ds_file_read(file, file->size_bytes - length, tail, length, err);
    if (result != 0)
        return result;
    memset(search, 0, sizeof(*search));
    search->old_offset = file->size_bytes - VHD_FOOTER_OLD_BYTES;
    footer_take(tail + length - VHD_FOOTER_OLD_BYTES, VHD_FOOTER_OLD_BYTES,
                &search->old);
    if (length < VHD_FOOTER_BYTES)
        return 0;
    search->has_end = true;
    search->end_offset = file->size_bytes - VHD_FOOTER_BYTES;
    footer_take(tail, VHD_FOOTER_BYTES, &search->end);
    search->has_head = true;
    return ds_file_read(file, 0, &search->head, VHD_FOOTER_BYTES, err);
}

static void footer_chosen(struct vhd_image *image,
                          const struct vhd_footer_disk *disk,
                          enum vhd_footer_place place, uint64_t offset,
                          uint64_t data_end)
{
    image->place = place;
    image->footer_offset_bytes = offset;
    image->layout.data_end_bytes = data_end;
    vhd_footer_decode(disk, &image->footer);
}

static enum vhd_copy_state copy_compare(const struct footer_search *search,
                                        const struct vhd_footer_disk *chosen)
{
    if (!search->has_head || !footer_is_whole(&search->head))
        return VHD_COPY_DAMAGED;
    return memcmp(&search->head, chosen, sizeof(*chosen)) == 0
               ? VHD_COPY_IDENTICAL
               : VHD_COPY_DIFFERS;
}

static int footer_find(struct vhd_image *image, struct ds_file *file,
                       struct ds_error *err)
{
    struct footer_search search;
    int result = footer_read_all(file, &search, err);

    if (result != 0)
        return result;
    if (search.has_end && footer_is_whole(&search.end)) {
        footer_chosen(image, &search.end, VHD_FOOTER_AT_END, search.end_offset,
                      search.end_offset);
        image->copy = copy_compare(&search, &search.end);
    } else if (footer_is_whole(&search.old)) {
        footer_chosen(image, &search.old, VHD_FOOTER_AT_END_OLD,
                      search.old_offset, search.old_offset);
        image->copy = copy_compare(&search, &search.old);
    } else if (search.has_head && footer_is_whole(&search.head) &&
               type_has_copy(&search.head) && !end_forbids_copy(&search.end) &&
               !end_forbids_copy(&search.old)) {
        /* Where the end footer was, or whether, is not known. If a damaged
         * one is there, keep blocks off it. */
        bool damaged = search.has_end && footer_is_plausible(&search.end);

        footer_chosen(image, &search.head, VHD_FOOTER_AT_HEAD, 0,
                      damaged ? search.end_offset : file->size_bytes);
        image->copy = VHD_COPY_IDENTICAL;
    } else if (vhd_footer_cookie_is_valid(&search.old)) {
        return vhd_footer_check_seal(&search.old, file, search.old_offset, err);
    } else if (search.has_head && !vhd_footer_cookie_is_valid(&search.end) &&
               vhd_footer_cookie_is_valid(&search.head) &&
               type_has_copy(&search.head)) {
        return vhd_footer_check_seal(&search.head, file, 0, err);
    } else {
        return vhd_footer_check_seal(&search.end, file, search.end_offset, err);
    }
    return 0;
}

/* -- opening -------------------------------------------------------------- */

static int fixed_check(const struct vhd_image *image, struct ds_file *file,
                       struct ds_error *err)
{
    uint64_t size = image->base.size_bytes;

    if (size <= image->layout.data_end_bytes)
        return 0;
    return ds_fail_at(err, file, image->layout.data_end_bytes, DS_ERR_CORRUPT,
                      "vhd: fixed disk: truncated file, have %" PRIu64
                      " bytes of data expect %" PRIu64,
                      image->layout.data_end_bytes, size);
}

static int header_read(struct vhd_image *image, struct ds_file *file,
                       struct ds_budget *budget, struct ds_error *err)
{
    uint64_t offset = image->layout.header_offset_bytes;
    struct vhd_header_disk disk;
    int result = vhd_layout_check_header(&image->layout, file, err);

    if (result == 0)
        result = ds_file_read(file, offset, &disk, sizeof(disk), err);
    if (result == 0)
        result = vhd_header_check_seal(&disk, file, offset, err);
    if (result != 0)
        return result;
    vhd_header_decode(&disk, &image->header);
    result = vhd_header_check(&image->header, image->base.size_bytes, file,
                              offset, err);
    if (result == 0 && image->footer.disk_type == VHD_TYPE_DIFFERENCING)
        result = vhd_parent_read(image, &disk, budget, err);
    return result;
}

static int dynamic_open(struct vhd_image *image, struct ds_file *file,
                        struct ds_budget *budget, struct ds_error *err)
{
    struct vhd_layout *layout = &image->layout;
    const struct vhd_header *header = &image->header;
    uint64_t table_end;
    int result;

    layout->size_bytes = image->base.size_bytes;
    layout->head_end_bytes = VHD_FOOTER_BYTES;
    layout->header_offset_bytes = image->footer.data_offset_bytes;
    result = header_read(image, file, budget, err);
    if (result != 0)
        return result;
    layout->block_bytes = header->block_size_bytes;
    layout->bitmap_bytes = vhd_bitmap_bytes(header->block_size_bytes);
    /* At most max_table_entries, as header_check has seen. */
    layout->block_count =
        (uint32_t)ds_div_up(layout->size_bytes, header->block_size_bytes);
    layout->table_offset_bytes = header->table_offset_bytes;
    layout->table_bytes =
        (uint64_t)header->max_table_entries * VHD_BAT_ENTRY_BYTES;
    result = vhd_layout_check_table(layout, file, err);
    if (result != 0)
        return result;
    /* "always extended to a sector boundary" */
    table_end = ds_align_up(layout->table_offset_bytes + layout->table_bytes,
                            DS_SECTOR_BYTES);
    table_end = ds_min_u64(table_end, layout->data_end_bytes);
    layout->table_bytes = table_end - layout->table_offset_bytes;
    layout->floor_bytes =
        ds_max_u64(table_end, layout->header_offset_bytes + VHD_HEADER_BYTES);
    return 0;
}

int vhd_open(struct ds_file *file, const struct ds_open_context *context,
             struct ds_image **out, struct ds_error *err)
{
    struct vhd_image *image = calloc(1, sizeof(*image));
    int result;

    (void)context; /* parents are the engine's to open */
    if (image == NULL)
        return ds_fail_memory(err);
    image->base.format = &vhd_format_ops;
    image->base.file_count = 1;
    image->base.files[0] = file;
    result = footer_find(image, file, err);
    if (result == 0)
        result = vhd_footer_check(&image->footer, file,
                                  image->footer_offset_bytes, err);
    if (result == 0) {
        image->base.size_bytes = vhd_size_bytes(&image->footer);
        result = image->footer.disk_type == VHD_TYPE_FIXED
                     ? fixed_check(image, file, err)
                     : dynamic_open(image, file, context->budget, err);
    }
    if (result != 0) {
        vhd_close(&image->base);
        return result;
    }
    *out = &image->base;
    return 0;
}

void vhd_close(struct ds_image *image)
{
    free(((struct vhd_image *)image)->parent);
    free(image);
}
