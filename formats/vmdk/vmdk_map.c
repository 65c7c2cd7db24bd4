/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a guest offset to a place in a file, through directory and table:
 *
 *   offset -> extent -> directory[offset / span] -> table[grain] -> sector
 *
 * Tables that lie one behind the other (nearly all do) are one long array of
 * entries. Such a run of tables is looked up in the directory once and noted
 * in the cursor; then the loop over entries runs across table borders.
 */
#include <assert.h>
#include <inttypes.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "flat.h"
#include "vmdk.h"

/* The cursor's notes: one run of tables of one extent. */
enum {
    NOTE_EXTENT,    /* index + 1; 0: no note */
    NOTE_FIRST,     /* first directory index of the run */
    NOTE_END,       /* directory index behind it */
    NOTE_FILE_BYTES /* of the first table; 0: the run has no tables */
};

/* Where the entries of a guest range lie. */
struct table_run {
    uint64_t first;
    uint64_t end;
    uint64_t file_bytes;
};

static const struct vmdk_extent *find_extent(const struct vmdk_image *image,
                                             uint64_t guest_offset_bytes)
{
    size_t low = 0, high = image->extent_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (image->extents[middle].guest_begin_bytes <= guest_offset_bytes)
            low = middle;
        else
            high = middle;
    }
    return &image->extents[low];
}

static uint64_t entry(const uint8_t *bytes, size_t index)
{
    return ds_le32_get(((const vmdk_entry_disk *)bytes)[index]);
}

/* How many tables from entries[0] on lie behind each other, or are absent. */
static size_t count_tables(const uint8_t *entries, size_t count,
                           uint64_t table_sectors)
{
    uint64_t first = entry(entries, 0);
    uint64_t step = first == VMDK_ENTRY_HOLE ? 0 : table_sectors;
    size_t tables = 1;

    while (tables < count && entry(entries, tables) == first + tables * step)
        tables++;
    return tables;
}

/* The run of tables that begins with directory entry `first`. */
static int read_run(struct ds_file *file, const struct vmdk_sparse *sparse,
                    struct ds_window *window, uint64_t first,
                    struct table_run *run, struct ds_error *err)
{
    uint64_t left = (sparse->directory_entry_count - first) * VMDK_ENTRY_BYTES;
    uint64_t offset = sparse->directory_offset_bytes + first * VMDK_ENTRY_BYTES;
    size_t most = (size_t)ds_min_u64(left, DS_WINDOW_BYTES_MAX);
    const uint8_t *entries;
    size_t available;
    int result = ds_window_view(window, file, offset, VMDK_ENTRY_BYTES, most,
                                &entries, &available, err);

    if (result != 0)
        return result;
    *run = (struct table_run){
        .first = first,
        .end = first + 1,
        .file_bytes = entry(entries, 0) * DS_SECTOR_BYTES,
    };
    /* Tables of less than a sector do not continue: each begins at one. */
    if (run->file_bytes == 0 || sparse->table_bytes >= DS_SECTOR_BYTES)
        run->end = first + count_tables(entries, available / VMDK_ENTRY_BYTES,
                                        sparse->table_bytes / DS_SECTOR_BYTES);
    /* Checked when opened, for every entry; but a file can change. */
    if (run->file_bytes != 0 &&
        !ds_range_fits(run->file_bytes,
                       (run->end - first) * sparse->table_bytes,
                       file->size_bytes))
        return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                          "vmdk: grain directory: entry, have a grain table "
                          "at %" PRIu64 " expect it within the file's %" PRIu64,
                          run->file_bytes, file->size_bytes);
    return 0;
}

static int find_run(const struct vmdk_image *image,
                    const struct vmdk_extent *extent, struct ds_cursor *cursor,
                    uint64_t directory_index, struct table_run *run,
                    struct ds_error *err)
{
    uint64_t *note = cursor->scratch;
    uint64_t tag = (uint64_t)(extent - image->extents) + 1;
    int result;

    if (note[NOTE_EXTENT] != tag || directory_index < note[NOTE_FIRST] ||
        directory_index >= note[NOTE_END]) {
        result =
            read_run(image->image.files[extent->file_index], &extent->sparse,
                     &cursor->table2, directory_index, run, err);
        if (result != 0)
            return result;
        note[NOTE_EXTENT] = tag;
        note[NOTE_FIRST] = run->first;
        note[NOTE_END] = run->end;
        note[NOTE_FILE_BYTES] = run->file_bytes;
    }
    run->first = note[NOTE_FIRST];
    run->end = note[NOTE_END];
    run->file_bytes = note[NOTE_FILE_BYTES];
    return 0;
}

/* How many entries from the first on continue it: equal ones for holes and
 * zeros, grains behind each other for data. The loop of every conversion. */
static size_t count_entries(const uint8_t *entries, size_t count,
                            uint64_t step_sectors)
{
    uint64_t expected = entry(entries, 0) + step_sectors;
    size_t index = 1;

    while (index < count && entry(entries, index) == expected) {
        expected += step_sectors;
        index++;
    }
    return index;
}

/* Data lies behind the header and within the file: all of each grain, but of
 * the grain in which the disk ends only what the guest sees. `out` is one
 * run of grains, from the first grain's start. */
static int check_grains(const struct ds_file *file,
                        const struct vmdk_sparse *sparse,
                        uint64_t entry_offset_bytes, uint64_t file_bytes,
                        uint64_t length_bytes, struct ds_error *err)
{
    uint64_t good = 0;

    if (file_bytes >= sparse->header_bytes &&
        ds_range_fits(file_bytes, length_bytes, file->size_bytes))
        return 0;
    if (file_bytes >= sparse->header_bytes && file_bytes < file->size_bytes)
        good = (file->size_bytes - file_bytes) / sparse->header.grain_bytes;
    return ds_fail_at(
        err, file, entry_offset_bytes + good * VMDK_ENTRY_BYTES, DS_ERR_CORRUPT,
        "vmdk: grain table: entry, have a grain at %" PRIu64
        " expect it behind the header and within the file's "
        "%" PRIu64 " bytes",
        file_bytes + good * sparse->header.grain_bytes, file->size_bytes);
}

/* The grains that the entries at `entries` describe, as one extent from the
 * first grain's start; lengths are of whole grains. */
static enum ds_extent_kind read_grains(const struct vmdk_header *header,
                                       const uint8_t *entries, size_t count,
                                       uint64_t *file_bytes,
                                       uint64_t *grain_count)
{
    uint64_t first = entry(entries, 0);

    *file_bytes = 0;
    if (first == VMDK_ENTRY_HOLE) {
        *grain_count = count_entries(entries, count, 0);
        return DS_EXTENT_HOLE;
    }
    if (first == VMDK_ENTRY_ZERO &&
        (header->flags & VMDK_FLAG_ZEROED_GRAIN) != 0) {
        *grain_count = count_entries(entries, count, 0);
        return DS_EXTENT_ZERO;
    }
    *file_bytes = first * DS_SECTOR_BYTES;
    *grain_count = 1; /* compressed: each grain is its own */
    if (!vmdk_is_compressed(header))
        *grain_count = count_entries(entries, count,
                                     header->grain_bytes / DS_SECTOR_BYTES);
    return DS_EXTENT_DATA;
}

/* Hold the run of grains that *out describes from the first grain's start to
 * what must be true of it, and let it begin `skip_bytes` further on. */
static int finish_grains(struct ds_file *file, const struct vmdk_sparse *sparse,
                         struct ds_cursor *cursor, uint64_t begin_bytes,
                         uint64_t entry_offset_bytes, uint64_t skip_bytes,
                         struct ds_extent *out, struct ds_error *err)
{
    uint64_t length = out->length_bytes;
    int result;

    out->length_bytes -= skip_bytes;
    if (out->kind != DS_EXTENT_DATA) {
        out->file_index = DS_FILE_NONE;
        return 0;
    }
    if (vmdk_is_compressed(&sparse->header)) {
        /* The directory is read once per table, markers for each grain. */
        result = vmdk_stream_grain(file, sparse, &cursor->table2,
                                   begin_bytes >> sparse->grain_shift, length,
                                   out, err);
        out->encoding.skip_bytes = skip_bytes;
        return result;
    }
    result = check_grains(file, sparse, entry_offset_bytes,
                          out->file_offset_bytes, length, err);
    out->file_offset_bytes += skip_bytes;
    return result;
}

/* `offset` counts from the extent's start; so does out->guest_offset here. */
static int sparse_extent_at(const struct vmdk_image *image,
                            const struct vmdk_extent *extent,
                            struct ds_cursor *cursor, uint64_t offset,
                            struct ds_extent *out, struct ds_error *err)
{
    const struct vmdk_sparse *sparse = &extent->sparse;
    struct ds_file *file = image->image.files[extent->file_index];
    unsigned span_shift = sparse->table_span_shift;
    unsigned grain_shift = sparse->grain_shift;
    uint64_t entry_offset, end, grain_count, skip, begin, most;
    struct table_run run;
    const uint8_t *entries;
    size_t available;
    int result =
        find_run(image, extent, cursor, offset >> span_shift, &run, err);

    if (result != 0)
        return result;
    end = ds_min_u64(run.end << span_shift, extent->length_bytes);
    out->kind = DS_EXTENT_HOLE;
    out->file_index = DS_FILE_NONE;
    out->length_bytes = end - offset;
    if (run.file_bytes == 0)
        return 0;
    begin = offset >> grain_shift << grain_shift;
    skip = offset - begin;
    entry_offset =
        run.file_bytes +
        ((begin - (run.first << span_shift)) >> grain_shift) * VMDK_ENTRY_BYTES;
    most = (((end - begin - 1) >> grain_shift) + 1) * VMDK_ENTRY_BYTES;
    result =
        ds_window_view(&cursor->table, file, entry_offset, VMDK_ENTRY_BYTES,
                       (size_t)ds_min_u64(most, DS_WINDOW_BYTES_MAX), &entries,
                       &available, err);
    if (result != 0)
        return result;
    out->kind =
        read_grains(&sparse->header, entries, available / VMDK_ENTRY_BYTES,
                    &out->file_offset_bytes, &grain_count);
    out->length_bytes = ds_min_u64(begin + (grain_count << grain_shift), end);
    out->length_bytes -= begin;
    out->file_index = extent->file_index;
    return finish_grains(file, sparse, cursor, begin, entry_offset, skip, out,
                         err);
}

int vmdk_extent_at(struct ds_image *base, struct ds_cursor *cursor,
                   uint64_t guest_offset_bytes, struct ds_extent *out,
                   struct ds_error *err)
{
    const struct vmdk_image *image = (const struct vmdk_image *)base;
    const struct vmdk_extent *extent = find_extent(image, guest_offset_bytes);
    uint64_t offset = guest_offset_bytes - extent->guest_begin_bytes;

    assert(guest_offset_bytes < base->size_bytes);
    *out = (struct ds_extent){ .guest_offset_bytes = guest_offset_bytes };
    switch (extent->kind) {
    case VMDK_EXTENT_FLAT:
        return ds_flat_extent_at(base, cursor, extent->file_index,
                                 extent->guest_begin_bytes,
                                 extent->file_begin_bytes, extent->length_bytes,
                                 guest_offset_bytes, out, err);
    case VMDK_EXTENT_SPARSE:
        return sparse_extent_at(image, extent, cursor, offset, out, err);
    case VMDK_EXTENT_SESPARSE:
        return vmdk_sesparse_extent_at(image, extent, cursor, offset, out, err);
    case VMDK_EXTENT_ZERO:
        break;
    }
    out->kind = DS_EXTENT_ZERO;
    out->file_index = DS_FILE_NONE;
    out->length_bytes = extent->length_bytes - offset;
    return 0;
}

/* -- regions --------------------------------------------------------------- */

struct region_sink {
    ds_region_fn *region;
    void *user;
    uint32_t file_index;
};

static int emit_region(const struct region_sink *sink, uint64_t offset_bytes,
                       uint64_t length_bytes, const char *name,
                       struct ds_error *err)
{
    struct ds_region region = {
        .file_index = sink->file_index,
        .offset_bytes = offset_bytes,
        .length_bytes = length_bytes,
        .name = name,
    };

    return length_bytes > 0 ? sink->region(sink->user, &region, err) : 0;
}

/* A directory and its tables; runs of tables are one region each. */
static int directory_regions(struct ds_file *file,
                             const struct vmdk_sparse *sparse, bool redundant,
                             const struct region_sink *sink,
                             struct ds_error *err)
{
    ds_auto(ds_window_free) struct ds_window window = { 0 };
    struct vmdk_sparse view = *sparse;
    struct table_run run = { 0 };
    int result;

    if (redundant)
        view.directory_offset_bytes =
            sparse->header.redundant_directory_offset_bytes;
    result = emit_region(
        sink, view.directory_offset_bytes,
        view.directory_entry_count * VMDK_ENTRY_BYTES,
        redundant ? "redundant grain directory" : "grain directory", err);
    while (result == 0 && run.end < view.directory_entry_count) {
        result = read_run(file, &view, &window, run.end, &run, err);
        if (result == 0 && run.file_bytes != 0)
            result = emit_region(
                sink, run.file_bytes, (run.end - run.first) * view.table_bytes,
                redundant ? "redundant grain table" : "grain table", err);
    }
    return result;
}

static int sparse_regions(struct ds_file *file,
                          const struct vmdk_sparse *sparse,
                          const struct region_sink *sink, struct ds_error *err)
{
    const struct vmdk_header *header = &sparse->header;
    int result = emit_region(sink, 0, sparse->header_bytes, "header", err);

    if (result == 0 && header->descriptor_offset_bytes != 0)
        result = emit_region(sink, header->descriptor_offset_bytes,
                             header->descriptor_bytes, "descriptor", err);
    if (result == 0 && sparse->footer_offset_bytes != 0)
        result = emit_region(sink, sparse->footer_offset_bytes, 3 * 512,
                             "footer", err);
    /* The damaged first directory names nothing that can be believed. */
    if (result == 0 && !sparse->redundant_used)
        result = directory_regions(file, sparse, false, sink, err);
    if (result == 0 && sparse->redundant_present)
        result = directory_regions(file, sparse, true, sink, err);
    return result;
}

int vmdk_regions(struct ds_image *base, ds_region_fn *region, void *user,
                 struct ds_error *err)
{
    const struct vmdk_image *image = (const struct vmdk_image *)base;
    struct region_sink sink = { .region = region, .user = user };
    int result = 0;

    /* A text descriptor is its file's whole content. */
    if (!image->embedded)
        result = emit_region(&sink, 0, base->files[0]->size_bytes, "descriptor",
                             err);
    for (size_t i = 0; result == 0 && i < image->extent_count; i++) {
        const struct vmdk_extent *extent = &image->extents[i];

        sink.file_index = extent->file_index;
        if (extent->kind == VMDK_EXTENT_SPARSE)
            result = sparse_regions(base->files[extent->file_index],
                                    &extent->sparse, &sink, err);
        if (extent->kind == VMDK_EXTENT_SESPARSE)
            result =
                vmdk_sesparse_regions(base->files[extent->file_index],
                                      extent->file_index, region, user, err);
    }
    return result;
}
