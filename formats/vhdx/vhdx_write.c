/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VHDX as a target, dynamic or fixed:
 *
 *   0          1M            area_start                          data_start
 *   | headers, | the source  | log     | metadata | BAT          | blocks in
 *   | region   | as it lay   | 1 MiB,  | 1 MiB    | rounded up   | the order
 *   | tables   | (graft)     | empty   |          | to MiB       | placed
 *
 * Blocks may lie at any MiB, so they can stay where a source had them. The
 * BAT goes out in order through a buffer of 1 MiB and is never read back;
 * metadata and headers follow at the end. Nothing here orders writes: the
 * target has its name only when all of it is on disk.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fail.h"
#include "vhdx.h"

#define LOG_BYTES DS_MIB
#define METADATA_BYTES DS_MIB
/* None of the header section's records has more bytes that are not 0. */
#define RECORD_PAGE_BYTES 4096u
#define BAT_BUFFER_ENTRIES ((size_t)(DS_MIB / VHDX_BAT_ENTRY_BYTES))

/* Small blocks share best; from 1 TiB on Hyper-V's own size, and above 32 TiB
 * twice that, keep the BAT at 8 MiB, where 1 MiB blocks would take up to
 * 512 MiB. */
#define BLOCK_BYTES_SMALL DS_MIB
#define BLOCK_BYTES_LARGE (32 * DS_MIB)
#define BLOCK_BYTES_LARGEST (64 * DS_MIB)
#define BLOCK_LARGE_FROM_BYTES DS_TIB
#define BLOCK_LARGEST_ABOVE_BYTES (32 * DS_TIB)

struct vhdx_target {
    struct ds_target target;
    struct vhdx_parameters parameters;
    struct vhdx_geometry geometry;
    struct vhdx_header header;
    struct vhdx_region_entry bat;
    struct vhdx_region_entry metadata;
    bool grafted;
    uint64_t next_block;  /* the first whose entry is not in the BAT yet */
    uint64_t bat_emitted; /* entries that have left the buffer */
    size_t bat_buffered;
    ds_le64 *bat_buffer; /* BAT_BUFFER_ENTRIES */
};

const struct ds_target_option vhdx_target_options[] = {
    { "subformat", "dynamic, fixed", "dynamic",
      "fixed: every block is allocated" },
    { "block_size", "1M to 256M, a power of two",
      "1M, from 1T on 32M, above 32T 64M", "unit of allocation" },
    { "logical_sector_size", "512, 4096", "512",
      "sector size that the guest sees; physical is the same" },
    { "allocate", "no, yes", "no",
      "yes: no part of the file is a hole, as Hyper-V wants it" },
    { NULL, NULL, NULL, NULL },
};

static int option_subformat(const struct ds_target_request *request,
                            struct vhdx_parameters *parameters,
                            struct ds_error *err)
{
    const char *text =
        ds_option_get(request->options, request->option_count, "subformat");

    if (text == NULL || strcmp(text, "dynamic") == 0)
        return 0;
    if (strcmp(text, "fixed") != 0)
        return ds_fail(err, DS_ERR_ARG,
                       "vhdx: option subformat: have '%s' expect dynamic or "
                       "fixed",
                       text);
    parameters->flags |= VHDX_LEAVE_BLOCK_ALLOCATED;
    return 0;
}

/* A size option, or `standard` when it is not given. */
static int option_bytes(const struct ds_target_request *request,
                        const char *key, uint64_t standard, uint64_t *out,
                        struct ds_error *err)
{
    const char *text =
        ds_option_get(request->options, request->option_count, key);

    *out = standard;
    return text != NULL ? ds_option_size("vhdx", key, text, out, err) : 0;
}

static uint64_t standard_block_bytes(uint64_t disk_bytes)
{
    if (disk_bytes < BLOCK_LARGE_FROM_BYTES)
        return BLOCK_BYTES_SMALL;
    return disk_bytes <= BLOCK_LARGEST_ABOVE_BYTES ? BLOCK_BYTES_LARGE
                                                   : BLOCK_BYTES_LARGEST;
}

static int options_read(const struct ds_target_request *request,
                        struct vhdx_parameters *parameters, bool *allocate,
                        struct ds_error *err)
{
    uint64_t standard = standard_block_bytes(request->size_bytes);
    uint64_t sector = 0, block = 0;
    int result = ds_option_check("vhdx", vhdx_target_options, request->options,
                                 request->option_count, err);

    if (result == 0)
        result = option_subformat(request, parameters, err);
    if (result == 0)
        result = ds_option_switch(
            "vhdx", "allocate",
            ds_option_get(request->options, request->option_count, "allocate"),
            allocate, err);
    if (result == 0)
        result = option_bytes(request, "block_size", standard, &block, err);
    if (result == 0)
        result =
            option_bytes(request, "logical_sector_size", 512, &sector, err);
    if (result != 0)
        return result;
    if (!ds_is_power_of_two(block) || block < VHDX_BLOCK_BYTES_MIN ||
        block > VHDX_BLOCK_BYTES_MAX)
        return ds_fail(err, DS_ERR_ARG,
                       "vhdx: option block_size: have %" PRIu64
                       " expect a power of two from 1M to 256M",
                       block);
    if (sector != 512 && sector != 4096)
        return ds_fail(err, DS_ERR_ARG,
                       "vhdx: option logical_sector_size: have %" PRIu64
                       " expect 512 or 4096",
                       sector);
    if (request->size_bytes % sector != 0)
        return ds_fail(err, DS_ERR_ARG,
                       "vhdx: option logical_sector_size: have %" PRIu64
                       " expect one that divides the disk's size %" PRIu64,
                       sector, request->size_bytes);
    parameters->block_bytes = block;
    parameters->logical_sector_bytes = (uint32_t)sector;
    /* The guest has seen sectors of one size so far. Databases keep to the
     * physical one that they were made on, so it is not raised to 4096. */
    parameters->physical_sector_bytes = (uint32_t)sector;
    return 0;
}

/* Drawn once, so that each pass over the tables yields the same bytes. */
static int draw_guids(struct vhdx_target *vhdx, struct ds_error *err)
{
    int result = ds_guid_random(&vhdx->header.file_write_guid, err);

    if (result == 0)
        result = ds_guid_random(&vhdx->header.data_write_guid, err);
    if (result == 0)
        result = ds_guid_random(&vhdx->parameters.virtual_disk_id, err);
    return result;
}

static int target_init(struct vhdx_target *vhdx,
                       const struct ds_target_request *request,
                       struct ds_error *err)
{
    bool allocate = false;
    int result;

    if (request->size_bytes == 0 || request->size_bytes > VHDX_DISK_BYTES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vhdx: virtual disk size: have %" PRIu64
                       " expect 512 bytes to 64 TiB",
                       request->size_bytes);
    vhdx->parameters.virtual_disk_bytes = request->size_bytes;
    result = options_read(request, &vhdx->parameters, &allocate, err);
    if (result == 0)
        result = vhdx_parameters_check(&vhdx->parameters, NULL, 0, err);
    if (result == 0)
        result = draw_guids(vhdx, err);
    if (result != 0)
        return result;
    vhdx->geometry = vhdx_geometry_make(&vhdx->parameters);
    vhdx->bat_buffer = malloc(BAT_BUFFER_ENTRIES * sizeof(*vhdx->bat_buffer));
    if (vhdx->bat_buffer == NULL)
        return ds_fail_memory(err);
    vhdx->target.format = &vhdx_format_ops;
    vhdx->target.layout = (struct ds_target_layout){
        .unit_bytes = vhdx->parameters.block_bytes,
        .align_bytes = DS_MIB,
        .head_bytes = VHDX_HEADER_SECTION_BYTES,
        .every_unit =
            (vhdx->parameters.flags & VHDX_LEAVE_BLOCK_ALLOCATED) != 0,
        .graftable = true,
        .allocate = allocate,
        .file_count = 1,
    };
    return 0;
}

int vhdx_target_open(const struct ds_target_request *request,
                     struct ds_target **out, struct ds_error *err)
{
    struct vhdx_target *vhdx = calloc(1, sizeof(*vhdx));
    int result;

    if (vhdx == NULL)
        return ds_fail_memory(err);
    result = target_init(vhdx, request, err);
    if (result != 0) {
        vhdx_target_close(&vhdx->target);
        return result;
    }
    *out = &vhdx->target;
    return 0;
}

void vhdx_target_close(struct ds_target *target)
{
    struct vhdx_target *vhdx = (struct vhdx_target *)target;

    free(vhdx->bat_buffer);
    free(vhdx);
}

int vhdx_target_count(struct ds_target *target, const struct ds_unit_run *run,
                      struct ds_error *err)
{
    /* The tables' size does not depend on what is in the disk. */
    (void)target;
    (void)run;
    (void)err;
    return 0;
}

/* What we are to write passes what we hold others to. */
static int check_records(const struct vhdx_target *vhdx,
                         uint64_t file_size_bytes, struct ds_error *err)
{
    int result =
        vhdx_header_check(&vhdx->header, NULL, 0, file_size_bytes, err);

    if (result == 0)
        result =
            vhdx_region_entry_check(&vhdx->bat, NULL, 0, file_size_bytes, err);
    if (result == 0)
        result = vhdx_region_entry_check(&vhdx->metadata, NULL, 0,
                                         file_size_bytes, err);
    return result;
}

int vhdx_target_seal(struct ds_target *target,
                     const struct ds_footprint *footprint, struct ds_seal *out,
                     struct ds_error *err)
{
    struct vhdx_target *vhdx = (struct vhdx_target *)target;
    uint64_t at = footprint->area_start_bytes;

    assert(at % DS_MIB == 0 && at >= VHDX_HEADER_SECTION_BYTES);
    vhdx->grafted = footprint->grafted;
    vhdx->header.version = 1;
    vhdx->header.log_offset_bytes = at;
    vhdx->header.log_length_bytes = (uint32_t)LOG_BYTES;
    at += LOG_BYTES;
    vhdx->metadata = (struct vhdx_region_entry){ vhdx_region_metadata_guid, at,
                                                 METADATA_BYTES, true };
    at += METADATA_BYTES;
    vhdx->bat = (struct vhdx_region_entry){
        vhdx_region_bat_guid, at,
        ds_align_up(vhdx->geometry.bat_entry_count * VHDX_BAT_ENTRY_BYTES,
                    DS_MIB),
        true
    };
    at += vhdx->bat.length_bytes;
    out->metadata_bytes = at - footprint->area_start_bytes;
    out->data_start_bytes = at;
    out->file_size_bytes[0] =
        at + ds_align_up(footprint->relocated_bytes, DS_MIB);
    return check_records(vhdx, out->file_size_bytes[0], err);
}

static int bat_flush(struct vhdx_target *vhdx, struct ds_emitter *emitter,
                     struct ds_error *err)
{
    uint64_t at =
        vhdx->bat.offset_bytes + vhdx->bat_emitted * VHDX_BAT_ENTRY_BYTES;
    size_t length = vhdx->bat_buffered * VHDX_BAT_ENTRY_BYTES;

    if (length == 0)
        return 0;
    vhdx->bat_emitted += vhdx->bat_buffered;
    vhdx->bat_buffered = 0;
    return ds_emit(emitter, 0, at, vhdx->bat_buffer, length, err);
}

/* Entries of the next `block_count` blocks, each `step` more than the one
 * before, and those of the sector bitmaps in between, which stay 0. */
static int bat_append(struct vhdx_target *vhdx, uint64_t block_count,
                      uint64_t entry, uint64_t step, struct ds_emitter *emitter,
                      struct ds_error *err)
{
    uint64_t ratio = vhdx->geometry.chunk_ratio;

    while (block_count > 0) {
        uint64_t room, count;
        ds_le64 *out;

        /* Room for a block and a sector bitmap's entry before it. */
        if (BAT_BUFFER_ENTRIES - vhdx->bat_buffered < 2) {
            int result = bat_flush(vhdx, emitter, err);

            if (result != 0)
                return result;
        }
        out = vhdx->bat_buffer + vhdx->bat_buffered;
        if (vhdx->next_block != 0 && vhdx->next_block % ratio == 0) {
            *out++ = ds_le64_make(0);
            vhdx->bat_buffered++;
        }
        room = BAT_BUFFER_ENTRIES - vhdx->bat_buffered;
        count = ds_min_u64(block_count, ratio - vhdx->next_block % ratio);
        count = ds_min_u64(count, room);
        for (uint64_t i = 0; i < count; i++, entry += step)
            out[i] = ds_le64_make(entry);
        vhdx->bat_buffered += count;
        vhdx->next_block += count;
        block_count -= count;
    }
    return 0;
}

/* Blocks that are not in the file. ZERO and not NOT_PRESENT: only the former
 * must read as zeros (2.5.1.1). */
static int bat_skip_to(struct vhdx_target *vhdx, uint64_t block,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    return bat_append(vhdx, block - vhdx->next_block, VHDX_BLOCK_ZERO, 0,
                      emitter, err);
}

int vhdx_target_place(struct ds_target *target, const struct ds_unit_run *run,
                      struct ds_emitter *emitter, struct ds_error *err)
{
    struct vhdx_target *vhdx = (struct vhdx_target *)target;
    int result;

    assert(run->first_unit >= vhdx->next_block);
    assert(ds_range_fits(run->first_unit, run->unit_count,
                         vhdx->geometry.block_count));
    assert(run->file_offset_bytes % DS_MIB == 0 &&
           run->file_offset_bytes >= VHDX_HEADER_SECTION_BYTES);
    assert(!target->layout.every_unit || run->first_unit == vhdx->next_block);
    result = bat_skip_to(vhdx, run->first_unit, emitter, err);
    if (result != 0)
        return result;
    return bat_append(vhdx, run->unit_count,
                      run->file_offset_bytes | VHDX_BLOCK_FULLY_PRESENT,
                      vhdx->parameters.block_bytes, emitter, err);
}

/* The table and, right behind its 64 KiB, the five items one after another. */
static int emit_metadata(const struct vhdx_target *vhdx,
                         struct ds_emitter *emitter, struct ds_error *err)
{
    const struct vhdx_parameters *parameters = &vhdx->parameters;
    const struct vhdx_file_parameters_disk file_parameters = {
        ds_le32_make((uint32_t)parameters->block_bytes),
        ds_le32_make(parameters->flags)
    };
    ds_le64 size = ds_le64_make(parameters->virtual_disk_bytes);
    ds_le32 logical = ds_le32_make(parameters->logical_sector_bytes);
    ds_le32 physical = ds_le32_make(parameters->physical_sector_bytes);
    vhdx_guid_disk id = vhdx_guid_make(&parameters->virtual_disk_id);
    const void *const wires[VHDX_ITEM_NEEDED_COUNT] = {
        [VHDX_ITEM_FILE_PARAMETERS] = &file_parameters,
        [VHDX_ITEM_VIRTUAL_DISK_SIZE] = &size,
        [VHDX_ITEM_LOGICAL_SECTOR_SIZE] = &logical,
        [VHDX_ITEM_PHYSICAL_SECTOR_SIZE] = &physical,
        [VHDX_ITEM_VIRTUAL_DISK_ID] = &id,
    };
    struct {
        struct vhdx_metadata_table_disk table;
        struct vhdx_metadata_entry_disk entries[VHDX_ITEM_NEEDED_COUNT];
    } head = { .table = {
                   .Signature = { 'm', 'e', 't', 'a', 'd', 'a', 't', 'a' },
                   .EntryCount = ds_le16_make(VHDX_ITEM_NEEDED_COUNT) } };
    uint8_t items[64] = { 0 };
    size_t used = 0;
    int result;

    for (unsigned i = 0; i < VHDX_ITEM_NEEDED_COUNT; i++) {
        const struct vhdx_item_rule *rule = &vhdx_item_rules[i];
        struct vhdx_metadata_entry entry = { rule->item_id,
                                             VHDX_METADATA_TABLE_BYTES + used,
                                             rule->length_bytes, rule->flags };

        assert(used + rule->length_bytes <= sizeof(items));
        vhdx_metadata_entry_encode(&entry, &head.entries[i]);
        memcpy(items + used, wires[i], rule->length_bytes);
        used += rule->length_bytes;
    }
    result = ds_emit(emitter, 0, vhdx->metadata.offset_bytes, &head,
                     sizeof(head), err);
    if (result != 0)
        return result;
    return ds_emit(emitter, 0,
                   vhdx->metadata.offset_bytes + VHDX_METADATA_TABLE_BYTES,
                   items, used, err);
}

static void put_identifier(uint8_t *section)
{
    static const char creator[] = "diskshift";
    struct vhdx_identifier_disk wire = { .Signature = { 'v', 'h', 'd', 'x', 'f',
                                                        'i', 'l', 'e' } };

    for (size_t i = 0; i + 1 < sizeof(creator); i++)
        wire.Creator[i] = ds_le16_make((uint16_t)creator[i]);
    memcpy(section + VHDX_IDENTIFIER_OFFSET_BYTES, &wire, sizeof(wire));
}

/* Two with numbers that differ: exactly one must be current (2.2.2). */
static void put_headers(const struct vhdx_target *vhdx, uint8_t *section)
{
    static const uint64_t offsets[2] = { VHDX_HEADER_1_OFFSET_BYTES,
                                         VHDX_HEADER_2_OFFSET_BYTES };
    struct vhdx_header header = vhdx->header;
    struct vhdx_header_disk wire;

    for (unsigned i = 0; i < 2; i++) {
        header.sequence_number = i + 1;
        vhdx_header_encode(&header, &wire);
        memcpy(section + offsets[i], &wire, sizeof(wire));
    }
}

static void put_region_tables(const struct vhdx_target *vhdx, uint8_t *section)
{
    struct vhdx_region_table_disk wire = { .Signature = { 'r', 'e', 'g', 'i' },
                                           .EntryCount = ds_le32_make(2) };
    struct vhdx_region_entry_disk entries[2];
    uint8_t *first = section + VHDX_REGION_TABLE_1_OFFSET_BYTES;

    vhdx_region_entry_encode(&vhdx->bat, &entries[0]);
    vhdx_region_entry_encode(&vhdx->metadata, &entries[1]);
    memcpy(first, &wire, sizeof(wire));
    memcpy(first + sizeof(wire), entries, sizeof(entries));
    wire.Checksum = ds_le32_make(vhdx_checksum(first, VHDX_REGION_TABLE_BYTES));
    memcpy(first, &wire, sizeof(wire));
    memcpy(section + VHDX_REGION_TABLE_2_OFFSET_BYTES, first,
           VHDX_REGION_TABLE_BYTES);
}

/* The records of the first MiB alone: behind each the file has a hole. */
static int emit_records(const uint8_t *section, struct ds_emitter *emitter,
                        struct ds_error *err)
{
    static const uint64_t offsets[] = {
        VHDX_IDENTIFIER_OFFSET_BYTES,     VHDX_HEADER_1_OFFSET_BYTES,
        VHDX_HEADER_2_OFFSET_BYTES,       VHDX_REGION_TABLE_1_OFFSET_BYTES,
        VHDX_REGION_TABLE_2_OFFSET_BYTES,
    };
    int result = 0;

    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]) && result == 0;
         i++)
        result = ds_emit(emitter, 0, offsets[i], section + offsets[i],
                         RECORD_PAGE_BYTES, err);
    return result;
}

/* After a graft the whole first MiB, its reserved parts too: it holds the
 * source's bytes then. */
static int emit_header_section(const struct vhdx_target *vhdx,
                               struct ds_emitter *emitter, struct ds_error *err)
{
    ds_autofree uint8_t *section = calloc(1, VHDX_HEADER_SECTION_BYTES);

    if (section == NULL)
        return ds_fail_memory(err);
    put_identifier(section);
    put_headers(vhdx, section);
    put_region_tables(vhdx, section);
    return vhdx->grafted
               ? ds_emit(emitter, 0, 0, section, VHDX_HEADER_SECTION_BYTES, err)
               : emit_records(section, emitter, err);
}

int vhdx_target_finish(struct ds_target *target, struct ds_emitter *emitter,
                       struct ds_error *err)
{
    struct vhdx_target *vhdx = (struct vhdx_target *)target;
    int result;

    assert(!target->layout.every_unit ||
           vhdx->next_block == vhdx->geometry.block_count);
    result = bat_skip_to(vhdx, vhdx->geometry.block_count, emitter, err);
    if (result == 0)
        result = bat_flush(vhdx, emitter, err);
    /* Ready for another pass. */
    vhdx->next_block = 0;
    vhdx->bat_emitted = 0;
    vhdx->bat_buffered = 0;
    if (result == 0)
        result = emit_metadata(vhdx, emitter, err);
    if (result == 0)
        result = emit_header_section(vhdx, emitter, err);
    return result;
}
