/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing sparse files: the tables of one that is the whole disk, or of each
 * extent of a split disk.
 *
 *   0      512         64 KiB      area_start                     data_start
 *   |header|descriptor |[kept data]|RGD |copies|GD  |grain tables |grains ...
 *           20 sectors   by graft   s    s      s    s             grain
 *
 *   0      4 KiB                           data_start, in each file the same
 *   |header|RGD |copies|GD  |grain tables|..|grains ...          (split)
 *
 *   s: on a sector; the tables of all grains are there, used or not.
 *
 * Both sets of tables hold the same entries in the same order, so one buffer
 * serves both: it slides over the entries in guest order and is written twice
 * when it moves on. Entries that stay 0 are not written where a whole stretch
 * of them is: the area is fresh and reads as zeros. Directory, descriptor and
 * header come last, in vmdk_grains_finish. The engine writes all of it under
 * a temporary name, so no order among them matters after a crash.
 *
 * The last extent of a split disk is shorter and so are its tables; its
 * grains begin where those of the others do, with a gap before them.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "vmdk.h"

#define HEAD_BYTES (64 * DS_KIB)
#define SPLIT_HEAD_BYTES (4 * DS_KIB)
/* 64 KiB of entries, 1 GiB of guest at 64 KiB grains: new memory costs more
 * than another call. */
#define BUFFER_ENTRIES UINT64_C(16384)

struct vmdk_grains {
    uint64_t size_bytes;
    uint64_t grain_bytes;
    uint64_t extent_bytes; /* of the guest, in every extent but the last */
    uint32_t extent_count;
    bool split;
    uint64_t *used_bytes; /* split: from data_start on, by extent */

    /* by vmdk_grains_seal */
    uint64_t area_start_bytes;
    uint64_t data_start_bytes;

    /* the buffer: of one extent the entries [first, first + BUFFER_ENTRIES) */
    vmdk_entry_disk *entries;
    uint64_t buffer_extent;
    uint64_t buffer_first;
    uint64_t dirty_begin; /* in the buffer */
    uint64_t dirty_end;
    uint64_t next_grain; /* runs come in guest order */
};

/* One extent's tables; offsets count from the area's start. */
struct shape {
    uint64_t size_bytes;
    uint64_t grain_count;
    uint64_t table_count;
    uint64_t copies_offset_bytes; /* the redundant grain tables */
    uint64_t directory_offset_bytes;
    uint64_t tables_offset_bytes;
    uint64_t end_bytes;
};

static struct shape shape_of(const struct vmdk_grains *grains, uint64_t extent)
{
    uint64_t begin = extent * grains->extent_bytes;
    struct shape shape = {
        .size_bytes =
            ds_min_u64(grains->size_bytes - begin, grains->extent_bytes),
    };
    uint64_t directory, tables;

    shape.grain_count = ds_div_up(shape.size_bytes, grains->grain_bytes);
    shape.table_count =
        ds_div_up(shape.grain_count, VMDK_TABLE_ENTRIES_STANDARD);
    directory =
        ds_align_up(shape.table_count * VMDK_ENTRY_BYTES, DS_SECTOR_BYTES);
    tables = shape.table_count * VMDK_TABLE_ENTRIES_STANDARD * VMDK_ENTRY_BYTES;
    shape.copies_offset_bytes = directory;
    shape.directory_offset_bytes = directory + tables;
    shape.tables_offset_bytes = 2 * directory + tables;
    shape.end_bytes = 2 * (directory + tables);
    return shape;
}

static uint64_t head_bytes(const struct vmdk_grains *grains)
{
    return grains->split ? SPLIT_HEAD_BYTES : HEAD_BYTES;
}

static uint64_t extent_of(const struct vmdk_grains *grains, uint64_t grain)
{
    return grain / ds_div_up(grains->extent_bytes, grains->grain_bytes);
}

/* -- opening --------------------------------------------------------------- */

static int fail_too_large(const struct vmdk_grains *grains, uint64_t end_bytes,
                          struct ds_error *err)
{
    return ds_fail(err, DS_ERR_LIMIT,
                   "vmdk: grain table: file's end for a disk of %" PRIu64
                   " bytes, have %" PRIu64 " expect at most %" PRIu64
                   " (32-bit sector numbers); use subformat=monolithicFlat",
                   grains->size_bytes, end_bytes, VMDK_POINTER_END_BYTES);
}

static int check_size(const struct vmdk_grains *grains, struct ds_error *err)
{
    struct shape shape = shape_of(grains, 0);

    if (shape.table_count > VMDK_DIRECTORY_ENTRIES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vmdk: grain directory: entries for a disk of %" PRIu64
                       " bytes, have %" PRIu64 " expect at most %" PRIu64
                       "; use a larger grain_size",
                       grains->size_bytes, shape.table_count,
                       VMDK_DIRECTORY_ENTRIES_MAX);
    if (head_bytes(grains) + shape.end_bytes > VMDK_POINTER_END_BYTES)
        return fail_too_large(grains, head_bytes(grains) + shape.end_bytes,
                              err);
    return 0;
}

int vmdk_grains_create(uint64_t size_bytes, uint64_t grain_bytes,
                       uint32_t split_count, struct vmdk_grains **out,
                       struct ds_error *err)
{
    struct vmdk_grains *grains = calloc(1, sizeof(*grains));
    int result;

    if (grains == NULL)
        return ds_fail_memory(err);
    *out = grains;
    grains->size_bytes = size_bytes;
    grains->grain_bytes = grain_bytes;
    grains->split = split_count != 0;
    grains->extent_count = grains->split ? split_count : 1;
    grains->extent_bytes =
        grains->split ? VMDK_SPLIT_BYTES : ds_max_u64(size_bytes, grain_bytes);
    assert(!grains->split || VMDK_SPLIT_BYTES % grain_bytes == 0);
    result = check_size(grains, err);
    if (result != 0)
        return result;
    grains->entries = calloc(BUFFER_ENTRIES, sizeof(*grains->entries));
    grains->used_bytes =
        calloc(grains->extent_count, sizeof(*grains->used_bytes));
    if (grains->entries == NULL || grains->used_bytes == NULL)
        return ds_fail_memory(err);
    return 0;
}

void vmdk_grains_free(struct vmdk_grains *grains)
{
    if (grains == NULL)
        return;
    free(grains->entries);
    free(grains->used_bytes);
    free(grains);
}

struct ds_target_layout vmdk_grains_layout(const struct vmdk_grains *grains)
{
    return (struct ds_target_layout){
        .unit_bytes = grains->grain_bytes,
        .align_bytes = DS_SECTOR_BYTES,
        .head_bytes = head_bytes(grains),
        .graftable = !grains->split,
        .file_count = grains->split ? 1 + grains->extent_count : 1,
        .data_file_index = grains->split ? 1 : 0,
        .split_guest_bytes = grains->split ? VMDK_SPLIT_BYTES : 0,
    };
}

/* -- first pass ------------------------------------------------------------ */

/* Of a split disk's files, where grains begin: behind the largest tables. */
static uint64_t split_data_start(const struct vmdk_grains *grains)
{
    return ds_align_up(SPLIT_HEAD_BYTES + shape_of(grains, 0).end_bytes,
                       grains->grain_bytes);
}

int vmdk_grains_count(struct vmdk_grains *grains, const struct ds_unit_run *run,
                      struct ds_error *err)
{
    uint64_t extent = extent_of(grains, run->first_unit);
    uint64_t begin = extent * DS_SPLIT_STRIDE_BYTES;
    uint64_t end =
        run->file_offset_bytes + run->unit_count * grains->grain_bytes;

    /* The tables' size follows from the disk's alone. */
    if (!grains->split)
        return 0;
    assert(extent < grains->extent_count && run->file_offset_bytes >= begin);
    if (end - begin > DS_SPLIT_STRIDE_BYTES - split_data_start(grains))
        return ds_fail(err, DS_ERR_LIMIT,
                       "vmdk: extent %" PRIu64 ": grains of %" PRIu64
                       " bytes with gaps between them, have %" PRIu64
                       " bytes expect at most %" PRIu64
                       "; use a larger grain_size",
                       extent + 1, grains->grain_bytes, end - begin,
                       DS_SPLIT_STRIDE_BYTES - split_data_start(grains));
    grains->used_bytes[extent] =
        ds_max_u64(grains->used_bytes[extent], end - begin);
    return 0;
}

static void reset_buffer(struct vmdk_grains *grains)
{
    if (grains->dirty_end > grains->dirty_begin)
        memset(grains->entries + grains->dirty_begin, 0,
               (grains->dirty_end - grains->dirty_begin) *
                   sizeof(*grains->entries));
    grains->dirty_begin = grains->dirty_end = 0;
    grains->buffer_extent = 0;
    grains->buffer_first = 0;
    grains->next_grain = 0;
}

/* Spec, "Hosted Sparse Extents": the header. overHead is where data may
 * begin, which by a graft is before the tables. The capacity is exact and not
 * rounded to a grain, since readers take it for the disk's size. The extents
 * of a split disk have no place for a descriptor. */
static struct vmdk_header header_of(const struct vmdk_grains *grains,
                                    uint64_t extent)
{
    struct shape shape = shape_of(grains, extent);
    uint64_t start = grains->area_start_bytes;

    return (struct vmdk_header){
        .version = 1,
        .flags = VMDK_FLAG_NEWLINE_TEST | VMDK_FLAG_REDUNDANT,
        .capacity_bytes = shape.size_bytes,
        .grain_bytes = grains->grain_bytes,
        .descriptor_offset_bytes =
            grains->split ? 0 : sizeof(struct vmdk_header_disk),
        .descriptor_bytes = grains->split ? 0 : VMDK_TEXT_BYTES_MAX,
        .entries_per_table = VMDK_TABLE_ENTRIES_STANDARD,
        .redundant_directory_offset_bytes = start,
        .directory_offset_bytes = start + shape.directory_offset_bytes,
        .overhead_bytes =
            start == head_bytes(grains) ? grains->data_start_bytes : HEAD_BYTES,
        .end_of_line = { '\n', ' ', '\r', '\n' },
    };
}

/* Grains end the file at most at 2^41; nothing here can wrap around. */
static int seal_one(struct vmdk_grains *grains,
                    const struct ds_footprint *footprint, struct ds_seal *out,
                    struct ds_error *err)
{
    uint64_t metadata = shape_of(grains, 0).end_bytes;
    struct vmdk_header header;
    uint64_t end;

    if (footprint->area_start_bytes > VMDK_POINTER_END_BYTES)
        return fail_too_large(grains, footprint->area_start_bytes, err);
    out->metadata_bytes = metadata;
    out->data_start_bytes = ds_align_up(footprint->area_start_bytes + metadata,
                                        grains->grain_bytes);
    if (!ds_add_u64(out->data_start_bytes, footprint->relocated_bytes, &end))
        end = UINT64_MAX;
    if (end > VMDK_POINTER_END_BYTES)
        return fail_too_large(grains, end, err);
    out->file_size_bytes[0] = end;
    grains->area_start_bytes = footprint->area_start_bytes;
    grains->data_start_bytes = out->data_start_bytes;
    reset_buffer(grains);
    header = header_of(grains, 0);
    return vmdk_header_check(&header, NULL, end, err);
}

static int seal_split(struct vmdk_grains *grains,
                      const struct ds_footprint *footprint, struct ds_seal *out,
                      struct ds_error *err)
{
    int result = 0;

    assert(footprint->area_start_bytes == SPLIT_HEAD_BYTES);
    out->metadata_bytes = shape_of(grains, 0).end_bytes;
    out->data_start_bytes = split_data_start(grains);
    grains->area_start_bytes = footprint->area_start_bytes;
    grains->data_start_bytes = out->data_start_bytes;
    reset_buffer(grains);
    for (uint32_t i = 0; i < grains->extent_count && result == 0; i++) {
        struct vmdk_header header = header_of(grains, i);
        uint64_t end = grains->data_start_bytes + grains->used_bytes[i];

        out->file_size_bytes[1 + i] = end;
        result = vmdk_header_check(&header, NULL, end, err);
    }
    return result;
}

int vmdk_grains_seal(struct vmdk_grains *grains,
                     const struct ds_footprint *footprint, struct ds_seal *out,
                     struct ds_error *err)
{
    return grains->split ? seal_split(grains, footprint, out, err)
                         : seal_one(grains, footprint, out, err);
}

/* -- second pass ----------------------------------------------------------- */

static uint32_t file_of(const struct vmdk_grains *grains, uint64_t extent)
{
    return (uint32_t)extent + grains->split;
}

static int flush_entries(struct vmdk_grains *grains, struct ds_emitter *emitter,
                         struct ds_error *err)
{
    struct shape shape = shape_of(grains, grains->buffer_extent);
    uint32_t file = file_of(grains, grains->buffer_extent);
    uint64_t at =
        grains->area_start_bytes +
        (grains->buffer_first + grains->dirty_begin) * VMDK_ENTRY_BYTES;
    const vmdk_entry_disk *entries = grains->entries + grains->dirty_begin;
    size_t length =
        (grains->dirty_end - grains->dirty_begin) * VMDK_ENTRY_BYTES;
    int result = 0;

    if (length > 0)
        result = ds_emit(emitter, file, shape.copies_offset_bytes + at, entries,
                         length, err);
    if (length > 0 && result == 0)
        result = ds_emit(emitter, file, shape.tables_offset_bytes + at, entries,
                         length, err);
    if (length > 0)
        memset(grains->entries + grains->dirty_begin, 0, length);
    grains->dirty_begin = grains->dirty_end = 0;
    return result;
}

/* The extent's grains [first, first + count), which lie in the buffer. */
static void fill_entries(struct vmdk_grains *grains, uint64_t first,
                         uint64_t count, uint64_t file_offset_bytes)
{
    uint64_t begin = first - grains->buffer_first;
    uint64_t sector = file_offset_bytes / DS_SECTOR_BYTES;
    uint64_t step = grains->grain_bytes / DS_SECTOR_BYTES;

    for (uint64_t i = 0; i < count; i++)
        grains->entries[begin + i] =
            ds_le32_make((uint32_t)(sector + i * step));
    if (grains->dirty_end == grains->dirty_begin)
        grains->dirty_begin = begin;
    grains->dirty_end = begin + count;
}

/* `count` grains of one extent. */
static int place_in_extent(struct vmdk_grains *grains, uint64_t extent,
                           uint64_t grain, uint64_t count, uint64_t file_offset,
                           struct ds_emitter *emitter, struct ds_error *err)
{
    uint64_t end = grain + count;

    while (grain < end) {
        uint64_t window = ds_align_down(grain, BUFFER_ENTRIES);

        count = ds_min_u64(end, window + BUFFER_ENTRIES) - grain;
        if (extent != grains->buffer_extent || window != grains->buffer_first) {
            int result = flush_entries(grains, emitter, err);

            if (result != 0)
                return result;
            grains->buffer_extent = extent;
            grains->buffer_first = window;
        }
        fill_entries(grains, grain, count, file_offset);
        file_offset += count * grains->grain_bytes;
        grain += count;
    }
    return 0;
}

int vmdk_grains_place(struct vmdk_grains *grains, const struct ds_unit_run *run,
                      struct ds_emitter *emitter, struct ds_error *err)
{
    uint64_t extent = extent_of(grains, run->first_unit);
    uint64_t file_offset =
        run->file_offset_bytes - extent * DS_SPLIT_STRIDE_BYTES;
    uint64_t first =
        run->first_unit - extent * (grains->extent_bytes / grains->grain_bytes);
    uint64_t grain_count = shape_of(grains, extent).grain_count;

    assert(extent < grains->extent_count && file_offset % DS_SECTOR_BYTES == 0);
    assert(first + run->unit_count <= grain_count);
    if (!ds_range_fits(file_offset, run->unit_count * grains->grain_bytes,
                       VMDK_POINTER_END_BYTES))
        return fail_too_large(grains, file_offset, err);
    if (run->first_unit < grains->next_grain)
        reset_buffer(grains); /* the pass was left and begins again */
    grains->next_grain = run->first_unit + run->unit_count;
    return place_in_extent(grains, extent, first, run->unit_count, file_offset,
                           emitter, err);
}

/* Tables lie one behind the other, so a directory is a progression. */
static int emit_directory(struct vmdk_grains *grains, uint64_t extent,
                          uint64_t offset_bytes, uint64_t tables_offset_bytes,
                          struct ds_emitter *emitter, struct ds_error *err)
{
    uint64_t table_count = shape_of(grains, extent).table_count;
    uint64_t sector = tables_offset_bytes / DS_SECTOR_BYTES;
    uint64_t step =
        VMDK_TABLE_ENTRIES_STANDARD * VMDK_ENTRY_BYTES / DS_SECTOR_BYTES;

    for (uint64_t first = 0; first < table_count;) {
        uint64_t count = ds_min_u64(table_count - first, BUFFER_ENTRIES);
        int result;

        for (uint64_t i = 0; i < count; i++)
            grains->entries[i] =
                ds_le32_make((uint32_t)(sector + (first + i) * step));
        result = ds_emit(emitter, file_of(grains, extent),
                         offset_bytes + first * VMDK_ENTRY_BYTES,
                         grains->entries, count * VMDK_ENTRY_BYTES, err);
        memset(grains->entries, 0, count * VMDK_ENTRY_BYTES);
        if (result != 0)
            return result;
        first += count;
    }
    return 0;
}

/* All of the head, so that nothing of a grafted source stays in it; the file
 * of a split disk is fresh and has no descriptor. */
static int emit_head(const struct vmdk_grains *grains, uint64_t extent,
                     const char *descriptor, struct ds_emitter *emitter,
                     struct ds_error *err)
{
    struct vmdk_header header = header_of(grains, extent);
    struct vmdk_header_disk wire = vmdk_header_encode(&header);
    size_t used = sizeof(wire) + VMDK_TEXT_BYTES_MAX;
    ds_autofree uint8_t *rest = calloc(1, HEAD_BYTES - used);
    int result;

    if (rest == NULL)
        return ds_fail_memory(err);
    result =
        ds_emit(emitter, file_of(grains, extent), 0, &wire, sizeof(wire), err);
    if (grains->split)
        return result;
    if (result == 0)
        result = ds_emit(emitter, 0, sizeof(wire), descriptor,
                         VMDK_TEXT_BYTES_MAX, err);
    if (result == 0)
        result = ds_emit(emitter, 0, used, rest, HEAD_BYTES - used, err);
    return result;
}

static int finish_extent(struct vmdk_grains *grains, uint64_t extent,
                         const char *descriptor, struct ds_emitter *emitter,
                         struct ds_error *err)
{
    struct shape shape = shape_of(grains, extent);
    uint64_t start = grains->area_start_bytes;
    int result = emit_directory(
        grains, extent, start, start + shape.copies_offset_bytes, emitter, err);

    if (result == 0)
        result =
            emit_directory(grains, extent, start + shape.directory_offset_bytes,
                           start + shape.tables_offset_bytes, emitter, err);
    if (result == 0)
        result = emit_head(grains, extent, descriptor, emitter, err);
    return result;
}

int vmdk_grains_finish(struct vmdk_grains *grains, const char *descriptor,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    int result = flush_entries(grains, emitter, err);

    reset_buffer(grains);
    for (uint32_t i = 0; i < grains->extent_count && result == 0; i++)
        result = finish_extent(grains, i, descriptor, emitter, err);
    return result;
}
