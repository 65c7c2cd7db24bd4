/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seSparse: what ESXi's snapshots are made of since 6.5, and of disks over
 * 2 TiB before. Only ever a reader.
 *
 *   | header | volatile | journal | directory | tables | bitmap, backmap |
 *                                                       grains of 4 KiB ...
 *
 *   offset -> directory[offset >> 24] = present, table's index
 *          -> table[(offset >> 12) & 4095] = type, grain's index
 *
 * The journal holds changes of tables that a crash has interrupted. What it
 * looks like nobody has described, so a disk whose volatile header asks for a
 * replay is refused.
 */
#include <inttypes.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "vmdk.h"
#include "vmdk_esx_disk.h"

#define FIELD(name) offsetof(struct vmdk_sesparse_header_disk, name)

/* -- headers --------------------------------------------------------------- */

static int check_kind(const struct ds_file *file,
                      const struct vmdk_sesparse_header_disk *wire,
                      struct ds_error *err)
{
    const struct {
        const char *name;
        size_t field;
        uint64_t have;
        uint64_t expect;
    } fields[] = {
        { "version", FIELD(version), ds_le64_get(wire->version),
          VMDK_SESPARSE_VERSION },
        { "grain size in sectors", FIELD(grain_size),
          ds_le64_get(wire->grain_size),
          VMDK_SESPARSE_GRAIN_BYTES / DS_SECTOR_BYTES },
        { "grain table size in sectors", FIELD(grain_table_size),
          ds_le64_get(wire->grain_table_size),
          VMDK_SESPARSE_TABLE_BYTES / DS_SECTOR_BYTES },
        { "flags", FIELD(flags), ds_le64_get(wire->flags), 0 },
    };

    if (ds_le64_get(wire->magic) != VMDK_SESPARSE_MAGIC)
        return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                          "vmdk: seSparse header: magic, have 0x%" PRIx64
                          " expect 0x%" PRIx64,
                          ds_le64_get(wire->magic), VMDK_SESPARSE_MAGIC);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (fields[i].have != fields[i].expect)
            return ds_fail_at(err, file, fields[i].field, DS_ERR_UNSUPPORTED,
                              "vmdk: seSparse header: %s, have 0x%" PRIx64
                              " expect 0x%" PRIx64,
                              fields[i].name, fields[i].have, fields[i].expect);
    for (size_t i = 0; i < 4; i++)
        if (ds_le64_get(wire->reserved[i]) != 0)
            return ds_fail_at(err, file, FIELD(reserved) + i * 8,
                              DS_ERR_UNSUPPORTED,
                              "vmdk: seSparse header: reserved word, have "
                              "0x%" PRIx64 " expect 0",
                              ds_le64_get(wire->reserved[i]));
    return 0;
}

/* An area in bytes, which lies behind the header and in the file. */
static int decode_area(const struct ds_file *file,
                       const struct vmdk_sesparse_area_disk *area, size_t field,
                       const char *name, struct ds_region *out,
                       struct ds_error *err)
{
    *out = (struct ds_region){ .name = name };
    if (!ds_mul_u64(ds_le64_get(area->offset), DS_SECTOR_BYTES,
                    &out->offset_bytes) ||
        !ds_mul_u64(ds_le64_get(area->size), DS_SECTOR_BYTES,
                    &out->length_bytes) ||
        (out->length_bytes > 0 &&
         out->offset_bytes < sizeof(struct vmdk_sesparse_header_disk)) ||
        !ds_range_fits(out->offset_bytes, out->length_bytes, file->size_bytes))
        return ds_fail_at(err, file, field, DS_ERR_CORRUPT,
                          "vmdk: seSparse header: %s, have %" PRIu64
                          " sectors at %" PRIu64 " expect them behind the "
                          "header and within the file's %" PRIu64 " bytes",
                          name, ds_le64_get(area->size),
                          ds_le64_get(area->offset), file->size_bytes);
    return 0;
}

enum area {
    AREA_VOLATILE,
    AREA_JOURNAL_HEADER,
    AREA_JOURNAL,
    AREA_DIRECTORY,
    AREA_TABLES,
    AREA_BITMAP,
    AREA_BACKMAP,
    AREA_COUNT
};

static int decode_areas(const struct ds_file *file,
                        const struct vmdk_sesparse_header_disk *wire,
                        struct ds_region areas[AREA_COUNT],
                        struct ds_error *err)
{
    static const char *const names[AREA_COUNT] = {
        [AREA_VOLATILE] = "volatile header",
        [AREA_JOURNAL_HEADER] = "journal header",
        [AREA_JOURNAL] = "journal",
        [AREA_DIRECTORY] = "grain directory",
        [AREA_TABLES] = "grain tables",
        [AREA_BITMAP] = "free bitmap",
        [AREA_BACKMAP] = "backmap",
    };
    int result = 0;

    /* They stand one behind the other in the header. */
    for (size_t i = 0; result == 0 && i < AREA_COUNT; i++)
        result = decode_area(file, &wire->volatile_header + i,
                             FIELD(volatile_header) + i * 16, names[i],
                             &areas[i], err);
    return result;
}

static int check_volatile(struct ds_file *file, const struct ds_region *area,
                          struct ds_error *err)
{
    struct vmdk_sesparse_volatile_disk wire;
    uint64_t offset = area->offset_bytes;
    int result;

    if (area->length_bytes < sizeof(wire))
        return ds_fail_at(err, file, FIELD(volatile_header), DS_ERR_CORRUPT,
                          "vmdk: seSparse header: volatile header, have "
                          "%" PRIu64 " bytes expect %zu",
                          area->length_bytes, sizeof(wire));
    result = ds_file_read(file, offset, &wire, sizeof(wire), err);
    if (result != 0)
        return result;
    if (ds_le64_get(wire.magic) != VMDK_SESPARSE_VOLATILE_MAGIC)
        return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                          "vmdk: seSparse volatile header: magic, have "
                          "0x%" PRIx64 " expect 0x%" PRIx64,
                          ds_le64_get(wire.magic),
                          VMDK_SESPARSE_VOLATILE_MAGIC);
    if (ds_le64_get(wire.replay_journal) != 0)
        return ds_fail_at(
            err, file,
            offset +
                offsetof(struct vmdk_sesparse_volatile_disk, replay_journal),
            DS_ERR_UNSUPPORTED,
            "vmdk: seSparse volatile header: replay of the journal, have "
            "%" PRIu64 " expect 0; let ESXi open and close the disk first",
            ds_le64_get(wire.replay_journal));
    return 0;
}

/* The upper half of a directory entry is a word of its own. */
static bool is_table(uint64_t entry)
{
    return entry >> 32 == VMDK_SESPARSE_TABLE_PRESENT;
}

static uint64_t table_offset(const struct vmdk_sesparse *sesparse,
                             uint64_t entry)
{
    return sesparse->tables_offset_bytes +
           (entry & UINT32_MAX) * VMDK_SESPARSE_TABLE_BYTES;
}

static uint64_t entry_at(const uint8_t *bytes, size_t index)
{
    return ds_le64_get(((const ds_le64 *)bytes)[index]);
}

static int check_directory(struct ds_file *file,
                           const struct vmdk_sesparse *sesparse,
                           struct ds_error *err)
{
    ds_auto(ds_window_free) struct ds_window window = { 0 };
    uint64_t length =
        sesparse->directory_entry_count * VMDK_SESPARSE_ENTRY_BYTES;
    int result = 0;

    for (uint64_t at = 0; result == 0 && at < length;) {
        uint64_t offset = sesparse->directory_offset_bytes + at;
        size_t available = 0;
        const uint8_t *bytes = NULL;

        result =
            ds_window_view(&window, file, offset, VMDK_SESPARSE_ENTRY_BYTES,
                           (size_t)ds_min_u64(length - at, DS_WINDOW_BYTES_MAX),
                           &bytes, &available, err);
        for (size_t i = 0; i * 8 < available; i++) {
            uint64_t entry = entry_at(bytes, i);

            if (entry != 0 && (!is_table(entry) ||
                               (entry & UINT32_MAX) >= sesparse->table_count))
                return ds_fail_at(err, file, offset + i * 8, DS_ERR_CORRUPT,
                                  "vmdk: seSparse grain directory: entry, have "
                                  "0x%016" PRIx64 " expect 0 or one of %" PRIu64
                                  " tables",
                                  entry, sesparse->table_count);
        }
        at += available;
    }
    return result;
}

static int decode(struct ds_file *file,
                  const struct vmdk_sesparse_header_disk *wire,
                  const struct ds_region *areas, struct vmdk_sesparse *sesparse,
                  struct ds_error *err)
{
    uint64_t span = UINT64_C(1) << VMDK_SESPARSE_SPAN_SHIFT;
    const struct ds_region *directory = &areas[AREA_DIRECTORY];

    if (!ds_mul_u64(ds_le64_get(wire->capacity), DS_SECTOR_BYTES,
                    &sesparse->capacity_bytes) ||
        ds_div_up(sesparse->capacity_bytes, span) >
            VMDK_SESPARSE_DIRECTORY_ENTRIES_MAX)
        return ds_fail_at(err, file, FIELD(capacity), DS_ERR_LIMIT,
                          "vmdk: seSparse header: capacity, have %" PRIu64
                          " sectors expect at most %" PRIu64 " tables' worth",
                          ds_le64_get(wire->capacity),
                          VMDK_SESPARSE_DIRECTORY_ENTRIES_MAX);
    sesparse->directory_offset_bytes = directory->offset_bytes;
    sesparse->directory_entry_count = ds_div_up(sesparse->capacity_bytes, span);
    if (directory->length_bytes / VMDK_SESPARSE_ENTRY_BYTES <
        sesparse->directory_entry_count)
        return ds_fail_at(err, file, FIELD(grain_directory) + 8, DS_ERR_CORRUPT,
                          "vmdk: seSparse header: grain directory's size, have "
                          "%" PRIu64 " bytes expect %" PRIu64 " entries",
                          directory->length_bytes,
                          sesparse->directory_entry_count);
    sesparse->tables_offset_bytes = areas[AREA_TABLES].offset_bytes;
    sesparse->table_count =
        areas[AREA_TABLES].length_bytes / VMDK_SESPARSE_TABLE_BYTES;
    /* Grains come last and grow; only those that are used are looked at. */
    if (!ds_mul_u64(ds_le64_get(wire->grains.offset), DS_SECTOR_BYTES,
                    &sesparse->grains_offset_bytes) ||
        sesparse->grains_offset_bytes < sizeof(*wire) ||
        sesparse->grains_offset_bytes > INT64_MAX)
        return ds_fail_at(err, file, FIELD(grains), DS_ERR_CORRUPT,
                          "vmdk: seSparse header: grains, have them at sector "
                          "%" PRIu64 " expect them behind the header",
                          ds_le64_get(wire->grains.offset));
    return check_directory(file, sesparse, err);
}

static int read_header(struct ds_file *file,
                       struct vmdk_sesparse_header_disk *wire,
                       struct ds_region areas[AREA_COUNT], struct ds_error *err)
{
    int result;

    if (file->size_bytes < sizeof(*wire))
        return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                          "vmdk: seSparse header: file size, have %" PRIu64
                          " bytes expect at least %zu",
                          file->size_bytes, sizeof(*wire));
    result = ds_file_read(file, 0, wire, sizeof(*wire), err);
    if (result == 0)
        result = check_kind(file, wire, err);
    return result == 0 ? decode_areas(file, wire, areas, err) : result;
}

int vmdk_sesparse_open(struct ds_file *file, struct vmdk_sesparse *sesparse,
                       struct ds_error *err)
{
    struct vmdk_sesparse_header_disk wire;
    struct ds_region areas[AREA_COUNT];
    int result = read_header(file, &wire, areas, err);

    *sesparse = (struct vmdk_sesparse){ 0 };
    if (result == 0)
        result = check_volatile(file, &areas[AREA_VOLATILE], err);
    return result == 0 ? decode(file, &wire, areas, sesparse, err) : result;
}

/* -- the map --------------------------------------------------------------- */

/* What the entries say of the first grain, and for how many that holds. */
struct grain_run {
    enum ds_extent_kind kind;
    uint64_t index; /* of the first, when DATA */
    uint64_t count;
};

static bool run_continues(const struct grain_run *run, uint64_t entry)
{
    switch (entry >> VMDK_SESPARSE_TYPE_SHIFT) {
    case VMDK_SESPARSE_UNALLOCATED:
        return run->kind == DS_EXTENT_HOLE && entry == 0;
    case VMDK_SESPARSE_UNMAPPED:
    case VMDK_SESPARSE_ZERO:
        return run->kind == DS_EXTENT_ZERO;
    case VMDK_SESPARSE_ALLOCATED:
        return run->kind == DS_EXTENT_DATA &&
               vmdk_sesparse_grain_index(entry) == run->index + run->count;
    default:
        return false;
    }
}

static int read_run(const struct ds_file *file, uint64_t offset_bytes,
                    const uint8_t *bytes, size_t count, struct grain_run *run,
                    struct ds_error *err)
{
    uint64_t entry = entry_at(bytes, 0);
    uint64_t type = entry >> VMDK_SESPARSE_TYPE_SHIFT;

    if (type > VMDK_SESPARSE_ALLOCATED ||
        (type == VMDK_SESPARSE_UNALLOCATED && entry != 0))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vmdk: seSparse grain table: entry, have "
                          "0x%016" PRIx64 " expect 0 or type 1, 2 or 3",
                          entry);
    *run = (struct grain_run){ .kind = DS_EXTENT_ZERO };
    if (type == VMDK_SESPARSE_UNALLOCATED)
        run->kind = DS_EXTENT_HOLE;
    if (type == VMDK_SESPARSE_ALLOCATED) {
        run->kind = DS_EXTENT_DATA;
        run->index = vmdk_sesparse_grain_index(entry);
    }
    while (run->count < count &&
           run_continues(run, entry_at(bytes, (size_t)run->count)))
        run->count++;
    return 0;
}

/* `length_bytes` from the first grain's start are what the guest sees. The
 * index has 60 bits: the product with 4096 may not fit. */
static int place_run(const struct ds_file *file,
                     const struct vmdk_sesparse *sesparse, uint64_t entry_bytes,
                     const struct grain_run *run, uint64_t length_bytes,
                     uint64_t *file_bytes, struct ds_error *err)
{
    if (!ds_mul_u64(run->index, VMDK_SESPARSE_GRAIN_BYTES, file_bytes) ||
        !ds_add_u64(*file_bytes, sesparse->grains_offset_bytes, file_bytes) ||
        !ds_range_fits(*file_bytes, length_bytes, file->size_bytes))
        return ds_fail_at(err, file, entry_bytes, DS_ERR_CORRUPT,
                          "vmdk: seSparse grain table: entry, have grain "
                          "%" PRIu64 " and %" PRIu64 " bytes from it expect "
                          "them within the file's %" PRIu64,
                          run->index, length_bytes, file->size_bytes);
    return 0;
}

/* Directory entries from the offset's on that have no table. */
static uint64_t hole_end(const uint8_t *entries, size_t available,
                         uint64_t first)
{
    size_t count = 1;

    while ((count + 1) * 8 <= available && entry_at(entries, count) == 0)
        count++;
    return (first + count) << VMDK_SESPARSE_SPAN_SHIFT;
}

int vmdk_sesparse_extent_at(const struct vmdk_image *image,
                            const struct vmdk_extent *extent,
                            struct ds_cursor *cursor, uint64_t offset_bytes,
                            struct ds_extent *out, struct ds_error *err)
{
    const struct vmdk_sesparse *sesparse = &extent->sesparse;
    struct ds_file *file = image->image.files[extent->file_index];
    uint64_t table = offset_bytes >> VMDK_SESPARSE_SPAN_SHIFT;
    uint64_t begin = ds_align_down(offset_bytes, VMDK_SESPARSE_GRAIN_BYTES);
    uint64_t grain =
        (begin >> VMDK_SESPARSE_GRAIN_SHIFT) % VMDK_SESPARSE_TABLE_ENTRIES;
    uint64_t left = (sesparse->directory_entry_count - table) * 8;
    uint64_t end, at;
    struct grain_run run = { 0 };
    const uint8_t *bytes;
    size_t available;
    int result = ds_window_view(
        &cursor->table2, file, sesparse->directory_offset_bytes + table * 8, 8,
        (size_t)ds_min_u64(left, DS_WINDOW_BYTES_MAX), &bytes, &available, err);

    if (result != 0)
        return result;
    out->kind = DS_EXTENT_HOLE;
    out->file_index = DS_FILE_NONE;
    if (!is_table(entry_at(bytes, 0))) {
        end =
            ds_min_u64(hole_end(bytes, available, table), extent->length_bytes);
        out->length_bytes = end - offset_bytes;
        return 0;
    }
    at = table_offset(sesparse, entry_at(bytes, 0)) + grain * 8;
    result = ds_window_view(&cursor->table, file, at, 8,
                            (VMDK_SESPARSE_TABLE_ENTRIES - grain) * 8, &bytes,
                            &available, err);
    if (result == 0)
        result = read_run(file, at, bytes, available / 8, &run, err);
    if (result != 0)
        return result;
    end = begin + (run.count << VMDK_SESPARSE_GRAIN_SHIFT);
    end = ds_min_u64(end, extent->length_bytes);
    out->kind = run.kind;
    out->length_bytes = end - offset_bytes;
    if (run.kind != DS_EXTENT_DATA)
        return 0;
    result = place_run(file, sesparse, at, &run, end - begin,
                       &out->file_offset_bytes, err);
    out->file_index = extent->file_index;
    out->file_offset_bytes += offset_bytes - begin;
    return result;
}

/* -- regions --------------------------------------------------------------- */

int vmdk_sesparse_regions(struct ds_file *file, uint32_t file_index,
                          ds_region_fn *region, void *user,
                          struct ds_error *err)
{
    struct vmdk_sesparse_header_disk wire;
    struct ds_region areas[AREA_COUNT];
    struct ds_region header = { .file_index = file_index,
                                .length_bytes = sizeof(wire),
                                .name = "header" };
    int result = read_header(file, &wire, areas, err);

    if (result == 0)
        result = region(user, &header, err);
    for (size_t i = 0; result == 0 && i < AREA_COUNT; i++) {
        areas[i].file_index = file_index;
        if (areas[i].length_bytes > 0)
            result = region(user, &areas[i], err);
    }
    return result;
}
