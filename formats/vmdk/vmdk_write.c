/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a disk. Streams: vmdk_stream_write.c. Flat: a descriptor beside a
 * file of the guest's bytes.
 * Sparse, one file:
 *
 *   0      512         64 KiB      area_start                     data_start
 *   |header|descriptor |[kept data]|RGD |copies|GD  |grain tables |grains ...
 *           20 sectors   by graft   s    s      s    s             grain
 *
 *   s: on a sector; the tables of all grains are there, used or not.
 *
 * Both sets of tables hold the same entries in the same order, so one buffer
 * serves both: it slides over the entries in guest order and is written twice
 * when it moves on. Entries that stay 0 are not written where a whole stretch
 * of them is: the area is fresh and reads as zeros. Directory, descriptor and
 * header come last, in target_finish. The engine writes all of it under a
 * temporary name, so no order among them matters after a crash.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "guid.h"
#include "vmdk.h"

#define HEAD_BYTES (64 * DS_KIB)
/* 256 KiB of entries: 4 GiB of guest at 64 KiB grains. */
#define BUFFER_ENTRIES UINT64_C(65536)

struct vmdk_target {
    struct ds_target target;
    struct vmdk_text text;
    uint64_t grain_bytes;
    uint64_t grain_count; /* of the whole guest's disk */
    uint64_t table_count;

    /* by target_seal */
    struct vmdk_header header;
    uint64_t copies_offset_bytes; /* of the redundant grain tables */
    uint64_t tables_offset_bytes;
    char descriptor[VMDK_TEXT_BYTES_MAX]; /* zeros behind its end */
    size_t descriptor_bytes;

    /* the buffer: entries [first, first + BUFFER_ENTRIES) */
    vmdk_entry_disk *entries;
    uint64_t buffer_first;
    uint64_t dirty_begin; /* in the buffer */
    uint64_t dirty_end;
    uint64_t next_grain; /* runs come in guest order */

    struct vmdk_stream *stream; /* streamOptimized only */
};

static struct vmdk_target *target_of(struct ds_target *target)
{
    return (struct vmdk_target *)target;
}

/* -- opening --------------------------------------------------------------- */

static uint64_t directory_bytes(const struct vmdk_target *target)
{
    return ds_align_up(target->table_count * VMDK_ENTRY_BYTES, DS_SECTOR_BYTES);
}

static uint64_t tables_bytes(const struct vmdk_target *target)
{
    return target->table_count * VMDK_TABLE_ENTRIES_STANDARD * VMDK_ENTRY_BYTES;
}

static uint64_t metadata_bytes(const struct vmdk_target *target)
{
    return 2 * (directory_bytes(target) + tables_bytes(target));
}

static int fail_too_large(const struct vmdk_target *target, uint64_t end_bytes,
                          struct ds_error *err)
{
    return ds_fail(err, DS_ERR_LIMIT,
                   "vmdk: grain table: file's end for a disk of %" PRIu64
                   " bytes, have %" PRIu64 " expect at most %" PRIu64
                   " (32-bit sector numbers); use subformat=monolithicFlat",
                   target->text.size_bytes, end_bytes, VMDK_POINTER_END_BYTES);
}

static int open_sparse_target(struct vmdk_target *target, struct ds_error *err)
{
    struct ds_target_layout *layout = &target->target.layout;

    target->grain_count =
        ds_div_up(target->text.size_bytes, target->grain_bytes);
    target->table_count =
        ds_div_up(target->grain_count, VMDK_TABLE_ENTRIES_STANDARD);
    if (target->table_count > VMDK_DIRECTORY_ENTRIES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vmdk: grain directory: entries for a disk of %" PRIu64
                       " bytes, have %" PRIu64 " expect at most %" PRIu64
                       "; use a larger grain_size",
                       target->text.size_bytes, target->table_count,
                       VMDK_DIRECTORY_ENTRIES_MAX);
    if (HEAD_BYTES + metadata_bytes(target) > VMDK_POINTER_END_BYTES)
        return fail_too_large(target, HEAD_BYTES + metadata_bytes(target), err);
    target->entries = calloc(BUFFER_ENTRIES, sizeof(*target->entries));
    if (target->entries == NULL)
        return ds_fail_memory(err);
    *layout = (struct ds_target_layout){
        .unit_bytes = target->grain_bytes,
        .align_bytes = DS_SECTOR_BYTES,
        .head_bytes = HEAD_BYTES,
        .graftable = true,
        .file_count = 1,
    };
    return 0;
}

static void open_flat_target(struct vmdk_target *target)
{
    target->target.layout = (struct ds_target_layout){
        .align_bytes = DS_SECTOR_BYTES,
        .ends_with_data = true,
        .graftable = true,
        .file_count = 2,
        .data_file_index = 1,
    };
}

static int open_stream_target(struct vmdk_target *target, struct ds_error *err)
{
    target->target.layout = vmdk_stream_layout();
    return vmdk_stream_create(target->text.size_bytes, &target->stream, err);
}

static int open_layout(struct vmdk_target *target, struct ds_error *err)
{
    switch (target->text.subformat) {
    case VMDK_MONOLITHIC_SPARSE:
        return open_sparse_target(target, err);
    case VMDK_STREAM_OPTIMIZED:
        return open_stream_target(target, err);
    case VMDK_MONOLITHIC_FLAT:
    case VMDK_VMFS:
        break;
    }
    open_flat_target(target);
    return 0;
}

/* CIDs tell a delta whether its parent changed; two values mean "none". */
static int draw_cid(uint32_t *cid, struct ds_error *err)
{
    int result;

    do {
        result = ds_random_u32(cid, err);
    } while (result == 0 && *cid >= UINT32_C(0xfffffffe));
    return result;
}

int vmdk_target_open(const struct ds_target_request *request,
                     struct ds_target **out, struct ds_error *err)
{
    struct vmdk_target *target;
    int result;

    target = calloc(1, sizeof(*target));
    if (target == NULL)
        return ds_fail_memory(err);
    target->target.format = &vmdk_format_ops;
    target->text.size_bytes = request->size_bytes;
    result =
        vmdk_options_parse(request, &target->text, &target->grain_bytes, err);
    if (result == 0)
        result = draw_cid(&target->text.cid, err);
    if (result == 0)
        result = open_layout(target, err);
    if (result != 0) {
        vmdk_target_close(&target->target);
        return result;
    }
    *out = &target->target;
    return 0;
}

void vmdk_target_suffix(const struct ds_target *target, uint32_t index,
                        char suffix[DS_SUFFIX_BYTES])
{
    (void)target;
    (void)index;
    (void)snprintf(suffix, DS_SUFFIX_BYTES, "-flat.vmdk");
}

void vmdk_target_close(struct ds_target *base)
{
    if (base == NULL)
        return;
    vmdk_stream_free(target_of(base)->stream);
    free(target_of(base)->entries);
    free(base);
}

/* -- first pass ------------------------------------------------------------ */

int vmdk_target_count(struct ds_target *target, const struct ds_unit_run *run,
                      struct ds_error *err)
{
    /* The tables' size follows from the disk's alone. */
    (void)target;
    (void)run;
    (void)err;
    return 0;
}

static void reset_buffer(struct vmdk_target *target)
{
    if (target->dirty_end > target->dirty_begin)
        memset(target->entries + target->dirty_begin, 0,
               (target->dirty_end - target->dirty_begin) *
                   sizeof(*target->entries));
    target->dirty_begin = target->dirty_end = 0;
    target->buffer_first = 0;
    target->next_grain = 0;
}

/* Spec, "Hosted Sparse Extents": the header. overHead is where data may
 * begin, which by a graft is before the tables. The capacity is exact and not
 * rounded to a grain, since readers take it for the disk's size. */
static struct vmdk_header header_of(const struct vmdk_target *target,
                                    const struct ds_footprint *footprint,
                                    uint64_t data_start_bytes)
{
    uint64_t start = footprint->area_start_bytes;

    return (struct vmdk_header){
        .version = 1,
        .flags = VMDK_FLAG_NEWLINE_TEST | VMDK_FLAG_REDUNDANT,
        .capacity_bytes = target->text.size_bytes,
        .grain_bytes = target->grain_bytes,
        .descriptor_offset_bytes = sizeof(struct vmdk_header_disk),
        .descriptor_bytes = VMDK_TEXT_BYTES_MAX,
        .entries_per_table = VMDK_TABLE_ENTRIES_STANDARD,
        .redundant_directory_offset_bytes = start,
        .directory_offset_bytes =
            start + directory_bytes(target) + tables_bytes(target),
        .overhead_bytes = start == HEAD_BYTES ? data_start_bytes : HEAD_BYTES,
        .end_of_line = { '\n', ' ', '\r', '\n' },
    };
}

static int seal_sparse(struct vmdk_target *target,
                       const struct ds_footprint *footprint,
                       struct ds_seal *out, struct ds_error *err)
{
    uint64_t metadata = metadata_bytes(target);
    uint64_t end;

    /* Grains end the file at most at 2^41; nothing here can wrap around
     * unless the footprint is beyond that already. */
    if (footprint->area_start_bytes > VMDK_POINTER_END_BYTES)
        return fail_too_large(target, footprint->area_start_bytes, err);
    out->metadata_bytes = metadata;
    out->data_start_bytes = ds_align_up(footprint->area_start_bytes + metadata,
                                        target->grain_bytes);
    if (!ds_add_u64(out->data_start_bytes, footprint->relocated_bytes, &end))
        end = UINT64_MAX;
    if (end > VMDK_POINTER_END_BYTES)
        return fail_too_large(target, end, err);
    out->file_size_bytes[0] = end;
    target->header = header_of(target, footprint, out->data_start_bytes);
    target->copies_offset_bytes =
        footprint->area_start_bytes + directory_bytes(target);
    target->tables_offset_bytes =
        target->header.directory_offset_bytes + directory_bytes(target);
    reset_buffer(target);
    return vmdk_header_check(&target->header, NULL, end, err);
}

int vmdk_target_seal(struct ds_target *base,
                     const struct ds_footprint *footprint, struct ds_seal *out,
                     struct ds_error *err)
{
    struct vmdk_target *target = target_of(base);
    int result;

    *out = (struct ds_seal){ 0 };
    target->text.extent_name =
        footprint->file_names[base->layout.data_file_index];
    memset(target->descriptor, 0, sizeof(target->descriptor));
    result = vmdk_text_build(&target->text, target->descriptor,
                             &target->descriptor_bytes, err);
    if (result != 0)
        return result;
    if (target->text.subformat == VMDK_MONOLITHIC_SPARSE)
        return seal_sparse(target, footprint, out, err);
    if (target->stream != NULL)
        return vmdk_stream_seal(target->stream, footprint, target->descriptor,
                                target->descriptor_bytes, out, err);
    out->data_start_bytes = footprint->area_start_bytes;
    out->file_size_bytes[0] = target->descriptor_bytes;
    out->file_size_bytes[1] = target->text.size_bytes;
    return 0;
}

/* -- second pass ----------------------------------------------------------- */

static int flush_entries(struct vmdk_target *target, struct ds_emitter *emitter,
                         struct ds_error *err)
{
    uint64_t at =
        (target->buffer_first + target->dirty_begin) * VMDK_ENTRY_BYTES;
    const vmdk_entry_disk *entries = target->entries + target->dirty_begin;
    size_t length =
        (target->dirty_end - target->dirty_begin) * VMDK_ENTRY_BYTES;
    int result = 0;

    if (length > 0)
        result = ds_emit(emitter, 0, target->copies_offset_bytes + at, entries,
                         length, err);
    if (length > 0 && result == 0)
        result = ds_emit(emitter, 0, target->tables_offset_bytes + at, entries,
                         length, err);
    if (length > 0)
        memset(target->entries + target->dirty_begin, 0, length);
    target->dirty_begin = target->dirty_end = 0;
    return result;
}

/* The grains [first, first + count), which lie in the buffer. */
static void fill_entries(struct vmdk_target *target, uint64_t first,
                         uint64_t count, uint64_t file_offset_bytes)
{
    uint64_t begin = first - target->buffer_first;
    uint64_t sector = file_offset_bytes / DS_SECTOR_BYTES;
    uint64_t step = target->grain_bytes / DS_SECTOR_BYTES;

    for (uint64_t i = 0; i < count; i++)
        target->entries[begin + i] =
            ds_le32_make((uint32_t)(sector + i * step));
    if (target->dirty_end == target->dirty_begin)
        target->dirty_begin = begin;
    target->dirty_end = begin + count;
}

int vmdk_target_place(struct ds_target *base, const struct ds_unit_run *run,
                      struct ds_emitter *emitter, struct ds_error *err)
{
    struct vmdk_target *target = target_of(base);
    uint64_t grain = run->first_unit;
    uint64_t end = run->first_unit + run->unit_count;
    uint64_t file_offset = run->file_offset_bytes;

    if (target->text.subformat != VMDK_MONOLITHIC_SPARSE)
        return 0;
    assert(end <= target->grain_count && file_offset % DS_SECTOR_BYTES == 0);
    if (!ds_range_fits(file_offset, run->unit_count * target->grain_bytes,
                       VMDK_POINTER_END_BYTES))
        return fail_too_large(target, file_offset, err);
    if (grain < target->next_grain)
        reset_buffer(target); /* the pass was left and begins again */
    target->next_grain = end;
    while (grain < end) {
        uint64_t window = ds_align_down(grain, BUFFER_ENTRIES);
        uint64_t count = ds_min_u64(end, window + BUFFER_ENTRIES) - grain;

        if (window != target->buffer_first) {
            int result = flush_entries(target, emitter, err);

            if (result != 0)
                return result;
            target->buffer_first = window;
        }
        fill_entries(target, grain, count, file_offset);
        file_offset += count * target->grain_bytes;
        grain += count;
    }
    return 0;
}

int vmdk_target_encoded(struct ds_target *base, uint64_t unit,
                        const void *stored, uint64_t stored_bytes,
                        struct ds_emitter *emitter, struct ds_error *err)
{
    return vmdk_stream_put(target_of(base)->stream, unit, stored, stored_bytes,
                           emitter, err);
}

uint64_t vmdk_target_encoded_size(const struct ds_target *base)
{
    return vmdk_stream_size(((const struct vmdk_target *)base)->stream);
}

/* Tables lie one behind the other, so a directory is a progression. */
static int emit_directory(struct vmdk_target *target, uint64_t offset_bytes,
                          uint64_t tables_offset_bytes,
                          struct ds_emitter *emitter, struct ds_error *err)
{
    uint64_t sector = tables_offset_bytes / DS_SECTOR_BYTES;
    uint64_t step =
        VMDK_TABLE_ENTRIES_STANDARD * VMDK_ENTRY_BYTES / DS_SECTOR_BYTES;

    for (uint64_t first = 0; first < target->table_count;) {
        uint64_t count =
            ds_min_u64(target->table_count - first, BUFFER_ENTRIES);
        int result;

        for (uint64_t i = 0; i < count; i++)
            target->entries[i] =
                ds_le32_make((uint32_t)(sector + (first + i) * step));
        result = ds_emit(emitter, 0, offset_bytes + first * VMDK_ENTRY_BYTES,
                         target->entries, count * VMDK_ENTRY_BYTES, err);
        memset(target->entries, 0, count * VMDK_ENTRY_BYTES);
        if (result != 0)
            return result;
        first += count;
    }
    return 0;
}

/* All of the head, so that nothing of a grafted source stays in it. */
static int emit_head(const struct vmdk_target *target,
                     struct ds_emitter *emitter, struct ds_error *err)
{
    struct vmdk_header_disk wire = vmdk_header_encode(&target->header);
    size_t used = sizeof(wire) + VMDK_TEXT_BYTES_MAX;
    ds_autofree uint8_t *rest = calloc(1, HEAD_BYTES - used);
    int result;

    if (rest == NULL)
        return ds_fail_memory(err);
    result = ds_emit(emitter, 0, 0, &wire, sizeof(wire), err);
    if (result == 0)
        result = ds_emit(emitter, 0, sizeof(wire), target->descriptor,
                         VMDK_TEXT_BYTES_MAX, err);
    if (result == 0)
        result = ds_emit(emitter, 0, used, rest, HEAD_BYTES - used, err);
    return result;
}

int vmdk_target_finish(struct ds_target *base, struct ds_emitter *emitter,
                       struct ds_error *err)
{
    struct vmdk_target *target = target_of(base);
    const struct vmdk_header *header = &target->header;
    int result;

    if (target->stream != NULL)
        return vmdk_stream_finish(target->stream, emitter, err);
    if (target->text.subformat != VMDK_MONOLITHIC_SPARSE)
        return ds_emit(emitter, 0, 0, target->descriptor,
                       target->descriptor_bytes, err);
    result = flush_entries(target, emitter, err);
    reset_buffer(target);
    if (result == 0)
        result =
            emit_directory(target, header->redundant_directory_offset_bytes,
                           target->copies_offset_bytes, emitter, err);
    if (result == 0)
        result = emit_directory(target, header->directory_offset_bytes,
                                target->tables_offset_bytes, emitter, err);
    if (result == 0)
        result = emit_head(target, emitter, err);
    return result;
}
