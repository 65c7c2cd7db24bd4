/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be true of a hosted sparse extent's header and grain directories
 * before anything below them is believed.
 *
 *   header --+-> grain directory -----------> grain tables ---+-> grains
 *            +-> redundant grain directory -> their copies ---+
 *
 * The header is checked by numbers alone, the directories entry by entry when
 * the image is opened, the tables' entries when the map meets them
 * (vmdk_map.c). Which ranges overlap is the engine's question.
 */
#include <inttypes.h>
#include <string.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "vmdk.h"

/* Spec, "Hosted Sparse Extents": '\n', ' ', '\r', '\n' survive only a
 * transfer that does not translate ends of line. */
static const uint8_t end_of_line_expected[4] = { '\n', ' ', '\r', '\n' };

static uint64_t from_sectors(ds_le64 wire)
{
    uint64_t bytes;

    if (!ds_mul_u64(ds_le64_get(wire), DS_SECTOR_BYTES, &bytes))
        return VMDK_BYTES_HUGE;
    return bytes;
}

static ds_le64 to_sectors(uint64_t bytes)
{
    return ds_le64_make(bytes / DS_SECTOR_BYTES);
}

struct vmdk_header vmdk_header_decode(const struct vmdk_header_disk *wire)
{
    return (struct vmdk_header){
        .version = ds_le32_get(wire->version),
        .flags = ds_le32_get(wire->flags),
        .capacity_bytes = from_sectors(wire->capacity),
        .grain_bytes = from_sectors(wire->grainSize),
        .descriptor_offset_bytes = from_sectors(wire->descriptorOffset),
        .descriptor_bytes = from_sectors(wire->descriptorSize),
        .entries_per_table = ds_le32_get(wire->numGTEsPerGT),
        .redundant_directory_offset_bytes = from_sectors(wire->rgdOffset),
        .directory_offset_bytes = from_sectors(wire->gdOffset),
        .directory_at_end =
            ds_le64_get(wire->gdOffset) == VMDK_GD_AT_END_SECTORS,
        .overhead_bytes = from_sectors(wire->overHead),
        .unclean_shutdown = wire->uncleanShutdown != 0,
        .end_of_line = { wire->singleEndLineChar, wire->nonEndLineChar,
                         wire->doubleEndLineChar1, wire->doubleEndLineChar2 },
        .compress_algorithm = ds_le16_get(wire->compressAlgorithm),
    };
}

struct vmdk_header_disk vmdk_header_encode(const struct vmdk_header *header)
{
    return (struct vmdk_header_disk){
        .magicNumber = ds_le32_make(VMDK_MAGIC),
        .version = ds_le32_make(header->version),
        .flags = ds_le32_make(header->flags),
        .capacity = to_sectors(header->capacity_bytes),
        .grainSize = to_sectors(header->grain_bytes),
        .descriptorOffset = to_sectors(header->descriptor_offset_bytes),
        .descriptorSize = to_sectors(header->descriptor_bytes),
        .numGTEsPerGT = ds_le32_make(header->entries_per_table),
        .rgdOffset = to_sectors(header->redundant_directory_offset_bytes),
        .gdOffset = header->directory_at_end
                        ? ds_le64_make(VMDK_GD_AT_END_SECTORS)
                        : to_sectors(header->directory_offset_bytes),
        .overHead = to_sectors(header->overhead_bytes),
        .uncleanShutdown = header->unclean_shutdown,
        .singleEndLineChar = end_of_line_expected[0],
        .nonEndLineChar = end_of_line_expected[1],
        .doubleEndLineChar1 = end_of_line_expected[2],
        .doubleEndLineChar2 = end_of_line_expected[3],
        .compressAlgorithm = ds_le16_make(header->compress_algorithm),
    };
}

bool vmdk_is_compressed(const struct vmdk_header *header)
{
    return (header->flags & VMDK_FLAG_COMPRESSED) != 0;
}

uint64_t vmdk_table_span_bytes(const struct vmdk_header *header)
{
    return header->entries_per_table * header->grain_bytes;
}

uint64_t vmdk_table_bytes(const struct vmdk_header *header)
{
    return (uint64_t)header->entries_per_table * VMDK_ENTRY_BYTES;
}

uint64_t vmdk_directory_entry_count(const struct vmdk_header *header)
{
    return ds_div_up(header->capacity_bytes, vmdk_table_span_bytes(header));
}

#define FIELD(name) offsetof(struct vmdk_header_disk, name)

/* Forms that we do not read, each by its name. */
static int check_kind(const struct vmdk_header *header,
                      const struct ds_file *file, struct ds_error *err)
{
    if (header->version < VMDK_VERSION_MIN ||
        header->version > VMDK_VERSION_MAX)
        return ds_fail_at(err, file, FIELD(version), DS_ERR_UNSUPPORTED,
                          "vmdk: header: version, have %" PRIu32
                          " expect %u to %u",
                          header->version, VMDK_VERSION_MIN, VMDK_VERSION_MAX);
    if ((header->flags & VMDK_FLAG_NEWLINE_TEST) != 0 &&
        memcmp(header->end_of_line, end_of_line_expected,
               sizeof(end_of_line_expected)) != 0)
        return ds_fail_at(err, file, FIELD(singleEndLineChar), DS_ERR_CORRUPT,
                          "vmdk: header: end-of-line bytes, have %02x %02x "
                          "%02x %02x expect 0a 20 0d 0a; the file was "
                          "transferred as text",
                          header->end_of_line[0], header->end_of_line[1],
                          header->end_of_line[2], header->end_of_line[3]);
    if ((header->flags & ~VMDK_FLAGS_KNOWN) != 0)
        return ds_fail_at(err, file, FIELD(flags), DS_ERR_UNSUPPORTED,
                          "vmdk: header: flags, have 0x%" PRIx32
                          " expect none but 0x%x",
                          header->flags, VMDK_FLAGS_KNOWN);
    return 0;
}

/* A stream has compressed grains, each behind its marker. One without the
 * other is in nobody's description. */
static int check_compression(const struct vmdk_header *header,
                             const struct ds_file *file, struct ds_error *err)
{
    bool compressed = vmdk_is_compressed(header);
    bool markers = (header->flags & VMDK_FLAG_MARKERS) != 0;
    unsigned expected = compressed ? VMDK_COMPRESS_DEFLATE : 0;

    if (compressed != markers)
        return ds_fail_at(err, file, FIELD(flags), DS_ERR_UNSUPPORTED,
                          "vmdk: header: flags, have 0x%" PRIx32
                          " (%s) expect compressed grains and markers "
                          "together",
                          header->flags,
                          compressed ? "compressed grains without markers"
                                     : "markers without compressed grains");
    if (header->compress_algorithm != expected)
        return ds_fail_at(err, file, FIELD(compressAlgorithm),
                          DS_ERR_UNSUPPORTED,
                          "vmdk: header: compression algorithm, have %u "
                          "expect %u",
                          (unsigned)header->compress_algorithm, expected);
    if (compressed && header->grain_bytes > DS_ENCODED_UNIT_BYTES_MAX)
        return ds_fail_at(err, file, FIELD(grainSize), DS_ERR_LIMIT,
                          "vmdk: header: size of compressed grains, have "
                          "%" PRIu64 " bytes expect at most %" PRIu64,
                          header->grain_bytes, DS_ENCODED_UNIT_BYTES_MAX);
    return 0;
}

int vmdk_sizes_check(const struct vmdk_header *header,
                     const struct ds_file *file, struct ds_error *err)
{
    if (!ds_is_power_of_two(header->grain_bytes) ||
        header->grain_bytes < VMDK_GRAIN_BYTES_MIN ||
        header->grain_bytes > VMDK_GRAIN_BYTES_MAX)
        return ds_fail_at(
            err, file, FIELD(grainSize), DS_ERR_CORRUPT,
            "vmdk: header: grain size, have %" PRIu64
            " bytes expect a power of two from %" PRIu64 " to %" PRIu64,
            header->grain_bytes, VMDK_GRAIN_BYTES_MIN, VMDK_GRAIN_BYTES_MAX);
    if (!ds_is_power_of_two(header->entries_per_table) ||
        header->entries_per_table > VMDK_TABLE_ENTRIES_MAX)
        return ds_fail_at(err, file, FIELD(numGTEsPerGT), DS_ERR_CORRUPT,
                          "vmdk: header: entries per grain table, have "
                          "%" PRIu32 " expect a power of two up to %u",
                          header->entries_per_table, VMDK_TABLE_ENTRIES_MAX);
    if (header->capacity_bytes > INT64_MAX)
        return ds_fail_at(err, file, FIELD(capacity), DS_ERR_CORRUPT,
                          "vmdk: header: capacity, have %" PRIu64
                          " bytes expect at most %" PRIi64,
                          header->capacity_bytes, INT64_MAX);
    if (vmdk_directory_entry_count(header) > VMDK_DIRECTORY_ENTRIES_MAX)
        return ds_fail_at(err, file, FIELD(capacity), DS_ERR_LIMIT,
                          "vmdk: header: capacity, have %" PRIu64
                          " bytes in grains of %" PRIu64
                          " expect at most %" PRIu64 " grain tables",
                          header->capacity_bytes, header->grain_bytes,
                          VMDK_DIRECTORY_ENTRIES_MAX);
    return 0;
}

static int check_places(const struct vmdk_header *header,
                        const struct ds_file *file, uint64_t file_bytes,
                        struct ds_error *err)
{
    if (header->overhead_bytes < sizeof(struct vmdk_header_disk) ||
        header->overhead_bytes > file_bytes)
        return ds_fail_at(err, file, FIELD(overHead), DS_ERR_CORRUPT,
                          "vmdk: header: overhead, have %" PRIu64
                          " bytes expect 512 to the file's %" PRIu64,
                          header->overhead_bytes, file_bytes);
    if (header->descriptor_offset_bytes == 0)
        return 0;
    if (header->descriptor_bytes > VMDK_EMBEDDED_BYTES_MAX)
        return ds_fail_at(err, file, FIELD(descriptorSize), DS_ERR_LIMIT,
                          "vmdk: header: descriptor size, have %" PRIu64
                          " bytes expect at most %" PRIu64,
                          header->descriptor_bytes, VMDK_EMBEDDED_BYTES_MAX);
    if (!ds_range_fits(header->descriptor_offset_bytes,
                       header->descriptor_bytes, file_bytes))
        return ds_fail_at(err, file, FIELD(descriptorOffset), DS_ERR_CORRUPT,
                          "vmdk: header: descriptor, have %" PRIu64
                          " bytes at %" PRIu64 " expect it within the file's "
                          "%" PRIu64,
                          header->descriptor_bytes,
                          header->descriptor_offset_bytes, file_bytes);
    return 0;
}

int vmdk_header_check(const struct vmdk_header *header,
                      const struct ds_file *file, uint64_t file_bytes,
                      struct ds_error *err)
{
    int result = check_kind(header, file, err);

    if (result == 0)
        result = vmdk_sizes_check(header, file, err);
    if (result == 0)
        result = check_compression(header, file, err);
    if (result == 0)
        result = check_places(header, file, file_bytes, err);
    return result;
}

/* One of the two directories. */
struct directory {
    const char *name;
    uint64_t offset_bytes;
    bool complete; /* every entry has a table */
};

static int check_directory_range(const struct ds_file *file,
                                 const struct vmdk_sparse *sparse,
                                 const struct directory *directory,
                                 struct ds_error *err)
{
    uint64_t length = sparse->directory_entry_count * VMDK_ENTRY_BYTES;

    if (length > 0 &&
        (directory->offset_bytes < sparse->header_bytes ||
         !ds_range_fits(directory->offset_bytes, length, file->size_bytes)))
        return ds_fail_at(err, file, FIELD(gdOffset), DS_ERR_CORRUPT,
                          "vmdk: %s: place, have %" PRIu64 " bytes at %" PRIu64
                          " expect it behind the header and within the "
                          "file's %" PRIu64,
                          directory->name, length, directory->offset_bytes,
                          file->size_bytes);
    return 0;
}

/* `count` entries, the first of which lies at `offset_bytes` of the file.
 * `twin` are the same of the sound redundant directory, or NULL. */
static int check_entries(const struct ds_file *file,
                         const struct vmdk_sparse *sparse,
                         struct directory *directory, uint64_t offset_bytes,
                         const vmdk_entry_disk *entries,
                         const vmdk_entry_disk *twin, size_t count,
                         struct ds_error *err)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t table = ds_le32_get(entries[i]) * UINT64_C(512);

        if (table == 0) {
            directory->complete = false;
            /* A directory that lost its entries would read as a hole. */
            if (twin != NULL && ds_le32_get(twin[i]) != 0)
                return ds_fail_at(err, file, offset_bytes + i * 4,
                                  DS_ERR_CORRUPT,
                                  "vmdk: %s: entry, have 0 expect a grain "
                                  "table as in the redundant directory",
                                  directory->name);
        } else if (!ds_range_fits(table, sparse->table_bytes,
                                  file->size_bytes)) {
            return ds_fail_at(
                err, file, offset_bytes + i * 4, DS_ERR_CORRUPT,
                "vmdk: %s: entry, have a grain table of %" PRIu64
                " bytes at %" PRIu64 " expect it within the file's %" PRIu64,
                directory->name, sparse->table_bytes, table, file->size_bytes);
        }
    }
    return 0;
}

static int check_directory(struct ds_file *file,
                           const struct vmdk_sparse *sparse,
                           struct directory *directory,
                           const struct directory *twin, struct ds_error *err)
{
    ds_auto(ds_window_free) struct ds_window window = { 0 };
    ds_auto(ds_window_free) struct ds_window twin_window = { 0 };
    uint64_t length = sparse->directory_entry_count * VMDK_ENTRY_BYTES;
    int result = check_directory_range(file, sparse, directory, err);

    directory->complete = true;
    for (uint64_t at = 0; result == 0 && at < length;) {
        size_t most = (size_t)ds_min_u64(length - at, DS_WINDOW_BYTES_MAX);
        size_t available = 0, twin_available = 0;
        const uint8_t *bytes, *twin_bytes = NULL;

        result =
            ds_window_view(&window, file, directory->offset_bytes + at,
                           VMDK_ENTRY_BYTES, most, &bytes, &available, err);
        if (result == 0 && twin != NULL) {
            result = ds_window_view(&twin_window, file, twin->offset_bytes + at,
                                    VMDK_ENTRY_BYTES, available, &twin_bytes,
                                    &twin_available, err);
            available = result == 0 ? twin_available : available;
        }
        if (result == 0)
            result = check_entries(file, sparse, directory,
                                   directory->offset_bytes + at,
                                   (const vmdk_entry_disk *)bytes,
                                   (const vmdk_entry_disk *)twin_bytes,
                                   available / VMDK_ENTRY_BYTES, err);
        at += available;
    }
    return result;
}

int vmdk_directory_choose(struct ds_file *file, struct vmdk_sparse *sparse,
                          struct ds_error *err)
{
    const struct vmdk_header *header = &sparse->header;
    struct directory first = { .name = "grain directory",
                               .offset_bytes = header->directory_offset_bytes };
    struct directory second = { .name = "redundant grain directory",
                                .offset_bytes =
                                    header->redundant_directory_offset_bytes };
    struct ds_error fault = DS_ERROR_INIT;
    int result;

    sparse->table_bytes = vmdk_table_bytes(header);
    sparse->grain_shift = (unsigned)__builtin_ctzll(header->grain_bytes);
    sparse->table_span_shift =
        (unsigned)__builtin_ctzll(vmdk_table_span_bytes(header));
    sparse->directory_entry_count = vmdk_directory_entry_count(header);
    /* The copy is optional; a faulty one is as good as none. */
    if ((header->flags & VMDK_FLAG_REDUNDANT) != 0 &&
        first.offset_bytes != second.offset_bytes) {
        result = check_directory(file, sparse, &second, NULL, &fault);
        sparse->redundant_present = result == 0;
        if (result == -DS_ERR_SYSTEM)
            goto failed;
    }
    sparse->directory_offset_bytes = first.offset_bytes;
    result =
        check_directory(file, sparse, &first,
                        sparse->redundant_present ? &second : NULL, &fault);
    if (result == 0)
        return 0;
    /* Only a copy with all tables stands in: holes in it could as well be
     * what was lost. */
    if (result == -DS_ERR_CORRUPT && sparse->redundant_present &&
        second.complete) {
        sparse->directory_offset_bytes = second.offset_bytes;
        sparse->redundant_used = true;
        return 0;
    }
failed:
    if (err != NULL)
        *err = fault;
    return result;
}
