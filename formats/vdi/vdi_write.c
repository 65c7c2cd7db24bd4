/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VDI as a target, normal or fixed:
 *
 *   0        512                      data_start, whole MiB
 *   | header | block map, all entries | block 0 | block 1 | ...
 *
 * Blocks lie one behind the other with no gap, numbered in the order placed:
 * products put the next new block at index blocks_allocated, so a block that
 * lay higher would be written over. That is why units cannot stay where a
 * source has them (no graft), and why data begins on a whole MiB: there every
 * block can be shared, as VirtualBox's own files have it.
 *
 * The map goes out in order through a buffer of 1 MiB and is never read back;
 * the header, which counts the blocks, follows at the end.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "vdi.h"

#define MAP_OFFSET_BYTES 512u
#define MAP_BUFFER_ENTRIES ((size_t)(DS_MIB / VDI_ENTRY_BYTES))

/* What QEMU reads: more entries than these it refuses. 512 TiB. */
#define BLOCK_COUNT_MAX UINT64_C(0x1fffffff)

struct vdi_target {
    struct ds_target base;
    struct vdi_header header;
    uint32_t next_block;  /* the first whose entry is not in the map yet */
    uint32_t map_emitted; /* entries that have left the buffer */
    size_t map_buffered;
    ds_le32 *map_buffer; /* MAP_BUFFER_ENTRIES */
};

const struct ds_target_option vdi_target_options[] = {
    { "subformat", "normal, fixed", "normal",
      "fixed: every block is allocated" },
    { NULL, NULL, NULL, NULL },
};

/* -- opening --------------------------------------------------------------- */

static int option_type(const struct ds_target_request *request, uint32_t *type,
                       struct ds_error *err)
{
    const char *text =
        ds_option_get(request->options, request->option_count, "subformat");
    int result = ds_option_check("vdi", vdi_target_options, request->options,
                                 request->option_count, err);

    if (result != 0)
        return result;
    *type = VDI_TYPE_NORMAL;
    if (text == NULL || strcmp(text, "normal") == 0)
        return 0;
    *type = VDI_TYPE_FIXED;
    if (strcmp(text, "fixed") == 0)
        return 0;
    return ds_fail(err, DS_ERR_ARG,
                   "vdi: option subformat: have '%s' expect normal or fixed",
                   text);
}

static int header_init(struct vdi_header *header, uint64_t size_bytes,
                       uint32_t type, struct ds_error *err)
{
    uint64_t block_count = ds_div_up(size_bytes, VDI_BLOCK_BYTES);
    int result;

    if (block_count > BLOCK_COUNT_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vdi: header: disk size, have %" PRIu64
                       " bytes expect at most %" PRIu64 " (512 TiB)",
                       size_bytes, BLOCK_COUNT_MAX * VDI_BLOCK_BYTES);
    *header = (struct vdi_header){
        .version = VDI_VERSION,
        .header_size_bytes = VDI_HEADER_SIZE,
        .type = type,
        .blocks_offset_bytes = MAP_OFFSET_BYTES,
        .data_offset_bytes = ds_align_up(
            MAP_OFFSET_BYTES + block_count * VDI_ENTRY_BYTES, VDI_BLOCK_BYTES),
        .sector_bytes = DS_SECTOR_BYTES,
        .disk_bytes = size_bytes,
        .block_bytes = VDI_BLOCK_BYTES,
        .block_count = (uint32_t)block_count,
    };
    /* Drawn once, so that each pass yields the same bytes. */
    result = ds_guid_random(&header->uuid_image, err);
    if (result == 0)
        result = ds_guid_random(&header->uuid_modification, err);
    return result;
}

int vdi_target_open(const struct ds_target_request *request,
                    struct ds_target **out, struct ds_error *err)
{
    struct vdi_target *target = calloc(1, sizeof(*target));
    uint32_t type = VDI_TYPE_NORMAL;
    int result =
        target == NULL ? ds_fail_memory(err) : option_type(request, &type, err);

    if (result == 0)
        result = header_init(&target->header, request->size_bytes, type, err);
    if (result == 0) {
        target->map_buffer =
            malloc(MAP_BUFFER_ENTRIES * sizeof(*target->map_buffer));
        if (target->map_buffer == NULL)
            result = ds_fail_memory(err);
    }
    if (result != 0) {
        vdi_target_close(target != NULL ? &target->base : NULL);
        return result;
    }
    target->base.format = &vdi_format_ops;
    target->base.layout = (struct ds_target_layout){
        .unit_bytes = VDI_BLOCK_BYTES,
        .align_bytes = VDI_BLOCK_BYTES,
        .head_bytes = target->header.data_offset_bytes,
        .every_unit = type == VDI_TYPE_FIXED,
        .file_count = 1,
    };
    *out = &target->base;
    return 0;
}

void vdi_target_close(struct ds_target *base)
{
    struct vdi_target *target = (struct vdi_target *)base;

    if (target == NULL)
        return;
    free(target->map_buffer);
    free(target);
}

/* -- first pass ------------------------------------------------------------ */

int vdi_target_count(struct ds_target *target, const struct ds_unit_run *run,
                     struct ds_error *err)
{
    /* The footprint tells how many blocks there are. */
    (void)target;
    (void)run;
    (void)err;
    return 0;
}

int vdi_target_seal(struct ds_target *base,
                    const struct ds_footprint *footprint, struct ds_seal *out,
                    struct ds_error *err)
{
    struct vdi_target *target = (struct vdi_target *)base;
    struct vdi_header *header = &target->header;

    /* Without a graft the area begins right after the head, and units lie
     * without gaps. */
    assert(footprint->area_start_bytes == header->data_offset_bytes);
    assert(footprint->relocated_bytes ==
           footprint->unit_count * VDI_BLOCK_BYTES);
    assert(footprint->unit_count <= header->block_count);
    header->blocks_allocated = (uint32_t)footprint->unit_count;
    *out = (struct ds_seal){
        .data_start_bytes = header->data_offset_bytes,
        .file_size_bytes = { header->data_offset_bytes +
                             footprint->relocated_bytes },
    };
    return vdi_header_check(header, NULL, out->file_size_bytes[0], err);
}

/* -- second pass ----------------------------------------------------------- */

static int map_flush(struct vdi_target *target, struct ds_emitter *emitter,
                     struct ds_error *err)
{
    uint64_t at =
        MAP_OFFSET_BYTES + (uint64_t)target->map_emitted * VDI_ENTRY_BYTES;
    size_t length = target->map_buffered * VDI_ENTRY_BYTES;

    if (length == 0)
        return 0;
    target->map_emitted += (uint32_t)target->map_buffered;
    target->map_buffered = 0;
    return ds_emit(emitter, 0, at, target->map_buffer, length, err);
}

/* Entries of the next `count` blocks, each `step` more than the one before. */
static int map_append(struct vdi_target *target, uint64_t count, uint32_t entry,
                      uint32_t step, struct ds_emitter *emitter,
                      struct ds_error *err)
{
    while (count > 0) {
        size_t room = MAP_BUFFER_ENTRIES - target->map_buffered;
        size_t now = (size_t)ds_min_u64(count, room);
        ds_le32 *out = target->map_buffer + target->map_buffered;

        for (size_t i = 0; i < now; i++, entry += step)
            out[i] = ds_le32_make(entry);
        target->map_buffered += now;
        target->next_block += (uint32_t)now;
        count -= now;
        if (target->map_buffered == MAP_BUFFER_ENTRIES) {
            int result = map_flush(target, emitter, err);

            if (result != 0)
                return result;
        }
    }
    return 0;
}

static void pass_reset(struct vdi_target *target)
{
    target->next_block = 0;
    target->map_emitted = 0;
    target->map_buffered = 0;
}

int vdi_target_place(struct ds_target *base, const struct ds_unit_run *run,
                     struct ds_emitter *emitter, struct ds_error *err)
{
    struct vdi_target *target = (struct vdi_target *)base;
    const struct vdi_header *header = &target->header;
    uint64_t into = run->file_offset_bytes - header->data_offset_bytes;
    int result;

    assert(
        ds_range_fits(run->first_unit, run->unit_count, header->block_count));
    assert(run->file_offset_bytes >= header->data_offset_bytes &&
           into % VDI_BLOCK_BYTES == 0);
    assert(ds_range_fits(into / VDI_BLOCK_BYTES, run->unit_count,
                         header->blocks_allocated));
    /* A pass that was given up is begun anew. */
    if (run->first_unit < target->next_block)
        pass_reset(target);
    result = map_append(target, run->first_unit - target->next_block,
                        VDI_ENTRY_FREE, 0, emitter, err);
    if (result == 0)
        result =
            map_append(target, run->unit_count,
                       (uint32_t)(into / VDI_BLOCK_BYTES), 1, emitter, err);
    if (result != 0)
        pass_reset(target);
    return result;
}

int vdi_target_finish(struct ds_target *base, struct ds_emitter *emitter,
                      struct ds_error *err)
{
    struct vdi_target *target = (struct vdi_target *)base;
    struct vdi_header_disk disk;
    int result =
        map_append(target, target->header.block_count - target->next_block,
                   VDI_ENTRY_FREE, 0, emitter, err);

    if (result == 0)
        result = map_flush(target, emitter, err);
    pass_reset(target);
    if (result != 0)
        return result;
    vdi_header_encode(&target->header, &disk);
    return ds_emit(emitter, 0, 0, &disk, sizeof(disk), err);
}
