/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing.
 *
 *   fixed    0                                 size   size + 512
 *            | the guest's disk as it is        | footer |
 *
 *   dynamic  0        512      1536      data_start                  end
 *            | footer | header | BAT ... | page bitmap | block | ... | footer |
 *            |  copy  |        |         |<--4 KiB---->|       |     |
 *
 * A block's bitmap, all ones, takes the last sectors of a 4 KiB page before
 * the block, so that the block itself begins on a page and can be shared: by
 * us now and by whoever converts this file next. Those pages are all the same
 * and are shared among themselves: a page written for each would cost the
 * flush more than all clones do. All known writers put the
 * BAT at 1536, so do we; it grows from the head into the table area.
 *
 * Order: bitmaps as blocks are placed, the BAT in windows of 1 MiB as the
 * blocks pass them, header and footers at the end. The file has no footer,
 * and is no VHD, before target_finish. A pass may be given up and begun
 * again: placing before the window begins anew.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "vhd.h"

#define PAGE_BYTES 4096u
#define HEAD_BYTES 4096u
#define BLOCK_BYTES_STANDARD (UINT64_C(2) * 1024 * 1024)
#define BLOCK_BYTES_SMALL (UINT64_C(512) * 1024)
#define TABLE_OFFSET_BYTES (VHD_FOOTER_BYTES + VHD_HEADER_BYTES)
#define WINDOW_ENTRY_COUNT ((uint32_t)256 * 1024)

/* "win " and not a name of our own: QEMU 7.2 believes current_size only of
 * creators that it knows. The version is that of Windows 10. */
#define CREATOR_APPLICATION "win "
#define CREATOR_VERSION 0x000A0000u
#define CREATOR_HOST_OS "Wi2k"

const struct ds_target_option vhd_target_options[] = {
    { "subformat", "dynamic, fixed", "dynamic",
      "blocks on demand, or the whole disk as it is" },
    { "block_size", "512k, 2M", "2M", "allocation unit of a dynamic disk" },
    { "allocate", "no, yes", "no",
      "yes: no part of the file is a hole, as Hyper-V wants it" },
    { NULL, NULL, NULL, NULL }
};

struct vhd_target {
    struct ds_target base;
    struct vhd_footer footer;
    struct vhd_header header; /* dynamic only, as is all below but the end */
    uint32_t bitmap_bytes;
    uint8_t *bitmap;              /* a page that ends with all ones */
    uint8_t *window;              /* entries from window_first on */
    uint32_t window_entry_count;  /* that there is room for */
    uint32_t window_first;        /* a multiple of WINDOW_ENTRY_COUNT */
    uint32_t table_entry_count;   /* whole sectors of them */
    uint64_t footer_offset_bytes; /* of the end footer */
};

/* -- opening -------------------------------------------------------------- */

static int parse_options(const struct ds_target_request *request, bool *fixed,
                         uint64_t *block_bytes, struct ds_error *err)
{
    const char *subformat =
        ds_option_get(request->options, request->option_count, "subformat");
    const char *block_size =
        ds_option_get(request->options, request->option_count, "block_size");
    int result = ds_option_check("vhd", vhd_target_options, request->options,
                                 request->option_count, err);

    if (result != 0)
        return result;
    *fixed = subformat != NULL && strcmp(subformat, "fixed") == 0;
    if (subformat != NULL && !*fixed && strcmp(subformat, "dynamic") != 0)
        return ds_fail(err, DS_ERR_ARG,
                       "vhd: option subformat: have '%s' expect dynamic or "
                       "fixed",
                       subformat);
    *block_bytes = BLOCK_BYTES_STANDARD;
    if (block_size == NULL)
        return 0;
    if (*fixed)
        return ds_fail(err, DS_ERR_ARG,
                       "vhd: option block_size: a fixed disk has no blocks");
    result = ds_option_size("vhd", "block_size", block_size, block_bytes, err);
    if (result != 0)
        return result;
    if (*block_bytes != BLOCK_BYTES_STANDARD &&
        *block_bytes != BLOCK_BYTES_SMALL)
        return ds_fail(err, DS_ERR_ARG,
                       "vhd: option block_size: have '%s' expect 512k or 2M",
                       block_size);
    return 0;
}

/* Identity and time are drawn here so that every pass writes the same. */
static int footer_init(struct vhd_footer *footer, uint64_t size_bytes,
                       bool fixed, struct ds_error *err)
{
    int64_t seconds = (int64_t)time(NULL) - VHD_EPOCH_UNIX_SECONDS;

    footer->features = VHD_FEATURE_RESERVED;
    footer->file_format_version = VHD_VERSION;
    footer->data_offset_bytes = fixed ? VHD_DATA_OFFSET_NONE : VHD_FOOTER_BYTES;
    if (seconds > 0)
        footer->time_stamp_seconds =
            (uint32_t)ds_min_u64((uint64_t)seconds, UINT32_MAX);
    memcpy(footer->creator_application, CREATOR_APPLICATION, 4);
    footer->creator_version = CREATOR_VERSION;
    memcpy(footer->creator_host_os, CREATOR_HOST_OS, 4);
    footer->original_size_bytes = size_bytes;
    footer->current_size_bytes = size_bytes;
    vhd_geometry_set(footer, size_bytes);
    footer->disk_type = fixed ? VHD_TYPE_FIXED : VHD_TYPE_DYNAMIC;
    return ds_guid_random(&footer->unique_id, err);
}

static void fixed_init(struct vhd_target *target)
{
    target->base.layout = (struct ds_target_layout){
        .align_bytes = DS_SECTOR_BYTES,
        .graftable = true,
        .file_count = 1,
    };
}

/* BAT entries count sectors, but a block stays shareable on pages only; and
 * what a source has around a block is no bitmap of ours, hence no graft. */
static int dynamic_init(struct vhd_target *target, uint64_t size_bytes,
                        uint64_t block_bytes, struct ds_error *err)
{
    struct vhd_header *header = &target->header;
    uint64_t table_bytes;

    header->data_offset_bytes = VHD_DATA_OFFSET_NONE;
    header->table_offset_bytes = TABLE_OFFSET_BYTES;
    header->header_version = VHD_VERSION;
    header->block_size_bytes = (uint32_t)block_bytes;
    /* A table of no entries is nobody's idea of a disk. */
    header->max_table_entries =
        (uint32_t)ds_max_u64(ds_div_up(size_bytes, block_bytes), 1);
    table_bytes =
        ds_align_up((uint64_t)header->max_table_entries * VHD_BAT_ENTRY_BYTES,
                    DS_SECTOR_BYTES);
    target->table_entry_count = (uint32_t)(table_bytes / VHD_BAT_ENTRY_BYTES);
    target->bitmap_bytes = vhd_bitmap_bytes(header->block_size_bytes);
    assert(target->bitmap_bytes <= PAGE_BYTES);
    target->base.layout = (struct ds_target_layout){
        .unit_bytes = block_bytes,
        .align_bytes = PAGE_BYTES,
        .head_bytes = HEAD_BYTES,
        .gap_bytes = PAGE_BYTES,
        .file_count = 1,
    };
    target->bitmap = calloc(1, PAGE_BYTES);
    target->window_entry_count =
        (uint32_t)ds_min_u64(WINDOW_ENTRY_COUNT, target->table_entry_count);
    target->window =
        malloc((size_t)target->window_entry_count * VHD_BAT_ENTRY_BYTES);
    if (target->bitmap == NULL || target->window == NULL)
        return ds_fail_memory(err);
    memset(target->bitmap + PAGE_BYTES - target->bitmap_bytes, 0xff,
           target->bitmap_bytes);
    return vhd_header_check(header, size_bytes, NULL, DS_OFFSET_NONE, err);
}

int vhd_target_open(const struct ds_target_request *request,
                    struct ds_target **out, struct ds_error *err)
{
    struct vhd_target *target;
    uint64_t block_bytes;
    bool fixed;
    int result = parse_options(request, &fixed, &block_bytes, err);

    if (result != 0)
        return result;
    if (request->size_bytes > VHD_SIZE_BYTES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vhd: footer: disk size, have %" PRIu64
                       " bytes expect at most %" PRIu64 " (2040 GiB)",
                       request->size_bytes, VHD_SIZE_BYTES_MAX);
    target = calloc(1, sizeof(*target));
    if (target == NULL)
        return ds_fail_memory(err);
    target->base.format = &vhd_format_ops;
    result = footer_init(&target->footer, request->size_bytes, fixed, err);
    if (result == 0 && fixed)
        fixed_init(target);
    else if (result == 0)
        result = dynamic_init(target, request->size_bytes, block_bytes, err);
    if (result == 0)
        result = ds_option_switch(
            "vhd", "allocate",
            ds_option_get(request->options, request->option_count, "allocate"),
            &target->base.layout.allocate, err);
    if (result == 0)
        result = vhd_footer_check(&target->footer, NULL, DS_OFFSET_NONE, err);
    if (result != 0) {
        vhd_target_close(&target->base);
        return result;
    }
    *out = &target->base;
    return 0;
}

const char *vhd_target_note(const struct ds_target *base)
{
    const struct vhd_target *target = (const struct vhd_target *)base;

    if (target->footer.disk_type != VHD_TYPE_FIXED ||
        target->footer.current_size_bytes % DS_MIB == 0)
        return NULL;
    return "the disk is not a whole number of MiB, which Azure wants: see "
           "--resize";
}

void vhd_target_close(struct ds_target *base)
{
    struct vhd_target *target = (struct vhd_target *)base;

    if (target == NULL)
        return;
    free(target->bitmap);
    free(target->window);
    free(target);
}

/* -- first pass ----------------------------------------------------------- */

/* Nothing to count: the BAT's size is the disk's, and the footprint tells
 * how many blocks there are. */
int vhd_target_count(struct ds_target *base, const struct ds_unit_run *run,
                     struct ds_error *err)
{
    (void)base;
    (void)run;
    (void)err;
    return 0;
}

static void window_reset(struct vhd_target *target, uint32_t first)
{
    target->window_first = first;
    memset(target->window, 0xff,
           (size_t)target->window_entry_count * VHD_BAT_ENTRY_BYTES);
}

static int dynamic_seal(struct vhd_target *target,
                        const struct ds_footprint *footprint,
                        struct ds_seal *out, struct ds_error *err)
{
    uint64_t area = footprint->area_start_bytes;
    uint64_t table_bytes =
        (uint64_t)target->table_entry_count * VHD_BAT_ENTRY_BYTES;
    uint64_t end;

    /* Without a graft the area begins right after the head. */
    assert(area == HEAD_BYTES);
    out->data_start_bytes = ds_max_u64(
        ds_align_up(TABLE_OFFSET_BYTES + table_bytes, PAGE_BYTES), area);
    out->metadata_bytes = out->data_start_bytes - area;
    if (!ds_add_u64(out->data_start_bytes, footprint->relocated_bytes, &end) ||
        end / DS_SECTOR_BYTES >= VHD_BAT_ENTRY_UNUSED)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vhd: bat: file size, have blocks to %" PRIu64
                       " expect less than %" PRIu64
                       " bytes, what 32-bit sectors reach",
                       end, (uint64_t)VHD_BAT_ENTRY_UNUSED * DS_SECTOR_BYTES);
    target->footer_offset_bytes = ds_align_up(end, DS_SECTOR_BYTES);
    window_reset(target, 0);
    return 0;
}

int vhd_target_seal(struct ds_target *base,
                    const struct ds_footprint *footprint, struct ds_seal *out,
                    struct ds_error *err)
{
    struct vhd_target *target = (struct vhd_target *)base;
    int result = 0;

    memset(out, 0, sizeof(*out));
    if (target->footer.disk_type == VHD_TYPE_FIXED) {
        out->data_start_bytes =
            ds_align_up(footprint->area_start_bytes, PAGE_BYTES);
        target->footer_offset_bytes = target->footer.current_size_bytes;
    } else {
        result = dynamic_seal(target, footprint, out, err);
    }
    out->file_size_bytes[0] = target->footer_offset_bytes + VHD_FOOTER_BYTES;
    return result;
}

/* -- second pass ---------------------------------------------------------- */

/* Write the window out, and all after it up to the one of `index`. */
static int window_advance(struct vhd_target *target, uint32_t index,
                          struct ds_emitter *emitter, struct ds_error *err)
{
    while (index - target->window_first >= WINDOW_ENTRY_COUNT) {
        uint32_t first = target->window_first;
        int result =
            ds_emit(emitter, 0,
                    TABLE_OFFSET_BYTES + (uint64_t)first * VHD_BAT_ENTRY_BYTES,
                    target->window,
                    (size_t)WINDOW_ENTRY_COUNT * VHD_BAT_ENTRY_BYTES, err);

        if (result != 0)
            return result;
        window_reset(target, first + WINDOW_ENTRY_COUNT);
    }
    return 0;
}

static int place_block(struct vhd_target *target, uint32_t index,
                       uint64_t data_offset, struct ds_emitter *emitter,
                       struct ds_error *err)
{
    uint64_t bitmap_offset = data_offset - target->bitmap_bytes;
    ds_be32 entry = ds_be32_make((uint32_t)(bitmap_offset / DS_SECTOR_BYTES));
    int result = window_advance(target, index, emitter, err);

    if (result != 0)
        return result;
    memcpy(target->window +
               (size_t)(index - target->window_first) * VHD_BAT_ENTRY_BYTES,
           &entry, sizeof(entry));
    return ds_emit_repeat(emitter, 0, data_offset - PAGE_BYTES, target->bitmap,
                          PAGE_BYTES, err);
}

int vhd_target_place(struct ds_target *base, const struct ds_unit_run *run,
                     struct ds_emitter *emitter, struct ds_error *err)
{
    struct vhd_target *target = (struct vhd_target *)base;
    uint64_t stride = base->layout.unit_bytes + base->layout.gap_bytes;
    uint64_t offset = run->file_offset_bytes;

    if (target->footer.disk_type == VHD_TYPE_FIXED)
        return 0;
    assert(ds_range_fits(run->first_unit, run->unit_count,
                         target->header.max_table_entries));
    assert(offset % PAGE_BYTES == 0 && offset >= HEAD_BYTES + PAGE_BYTES);
    if (run->first_unit < target->window_first)
        window_reset(target, 0);
    for (uint64_t i = 0; i < run->unit_count; i++, offset += stride) {
        int result;

        assert(offset + base->layout.unit_bytes <= target->footer_offset_bytes);
        result = place_block(target, (uint32_t)(run->first_unit + i), offset,
                             emitter, err);
        if (result != 0)
            return result;
    }
    return 0;
}

static int dynamic_finish(struct vhd_target *target,
                          const struct vhd_footer_disk *footer,
                          struct ds_emitter *emitter, struct ds_error *err)
{
    struct vhd_header_disk header;
    uint32_t last = target->table_entry_count - 1;
    int result = window_advance(target, last, emitter, err);

    if (result == 0)
        result =
            ds_emit(emitter, 0,
                    TABLE_OFFSET_BYTES +
                        (uint64_t)target->window_first * VHD_BAT_ENTRY_BYTES,
                    target->window,
                    (size_t)(target->table_entry_count - target->window_first) *
                        VHD_BAT_ENTRY_BYTES,
                    err);
    if (result == 0)
        result = ds_emit(emitter, 0, 0, footer, sizeof(*footer), err);
    if (result != 0)
        return result;
    vhd_header_encode(&target->header, &header);
    window_reset(target, 0);
    return ds_emit(emitter, 0, target->footer.data_offset_bytes, &header,
                   sizeof(header), err);
}

int vhd_target_finish(struct ds_target *base, struct ds_emitter *emitter,
                      struct ds_error *err)
{
    struct vhd_target *target = (struct vhd_target *)base;
    struct vhd_footer_disk footer;
    int result = 0;

    vhd_footer_encode(&target->footer, &footer);
    if (target->footer.disk_type == VHD_TYPE_DYNAMIC)
        result = dynamic_finish(target, &footer, emitter, err);
    if (result != 0)
        return result;
    return ds_emit(emitter, 0, target->footer_offset_bytes, &footer,
                   sizeof(footer), err);
}
