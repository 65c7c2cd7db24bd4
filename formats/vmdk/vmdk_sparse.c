/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sparse extent files before their tables: which kind, the header, and for
 * streams the footer and the markers before grains.
 *
 * A stream (spec, "Stream-Optimized Compressed Sparse Extents"), written once
 * from its beginning to its end:
 *
 *   | header | descriptor | grains .. GT grains .. GT .. GD | footer | end |
 *     gdOffset = all ones                  gdOffset = GD's place
 *
 *   grain:  val = guest sector, size > 0 | zlib data, padded to a sector
 *   others: val = sectors behind it, size = 0, type | GT, GD, footer or nothing
 *
 * QEMU's streams have their tables at the beginning and no footer; both forms
 * are read by their tables. A COWD file is the same as a hosted one but for
 * its header and the tables' length.
 */
#include <inttypes.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "vmdk.h"
#include "vmdk_esx_disk.h"

enum vmdk_sparse_kind vmdk_sparse_kind(const uint8_t *bytes,
                                       size_t length_bytes)
{
    uint32_t magic;

    if (length_bytes < sizeof(ds_le32))
        return VMDK_SPARSE_NONE;
    magic = ds_le32_get(*(const ds_le32 *)bytes);
    if (magic == VMDK_MAGIC)
        return VMDK_SPARSE_HOSTED;
    if (magic == VMDK_COWD_MAGIC)
        return VMDK_SPARSE_COWD;
    if (length_bytes >= sizeof(struct vmdk_sesparse_header_disk) &&
        ds_le64_get(*(const ds_le64 *)bytes) == VMDK_SESPARSE_MAGIC)
        return VMDK_SPARSE_SESPARSE;
    return VMDK_SPARSE_NONE;
}

/* -- COWD ------------------------------------------------------------------ */

#define COWD_FIELD(name) offsetof(struct vmdk_cowd_header_disk, name)

static int fail_cowd(const struct ds_file *file, size_t field, const char *what,
                     uint64_t have, uint64_t expect, struct ds_error *err)
{
    return ds_fail_at(err, file, field, DS_ERR_UNSUPPORTED,
                      "vmdk: COWD header: %s, have %" PRIu64 " expect %" PRIu64,
                      what, have, expect);
}

static struct vmdk_header cowd_decode(const struct vmdk_cowd_header_disk *wire)
{
    return (struct vmdk_header){
        .version = ds_le32_get(wire->version),
        .capacity_bytes = (uint64_t)ds_le32_get(wire->numSectors) * 512,
        .grain_bytes = (uint64_t)ds_le32_get(wire->grainSize) * 512,
        .entries_per_table = VMDK_COWD_TABLE_ENTRIES,
        .directory_offset_bytes = (uint64_t)ds_le32_get(wire->gdOffset) * 512,
        .overhead_bytes = sizeof(*wire),
        .unclean_shutdown = ds_le32_get(wire->uncleanShutdown) != 0,
    };
}

static int open_cowd(struct ds_file *file, struct vmdk_sparse *sparse,
                     struct ds_error *err)
{
    struct vmdk_cowd_header_disk wire;
    uint32_t flags, entries;
    int result;

    if (file->size_bytes < sizeof(wire))
        return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                          "vmdk: COWD header: file size, have %" PRIu64
                          " bytes expect at least %zu",
                          file->size_bytes, sizeof(wire));
    result = ds_file_read(file, 0, &wire, sizeof(wire), err);
    if (result != 0)
        return result;
    flags = ds_le32_get(wire.flags);
    entries = ds_le32_get(wire.numGDEntries);
    sparse->cowd = true;
    sparse->header_bytes = sizeof(wire);
    sparse->header = cowd_decode(&wire);
    if (sparse->header.version != VMDK_COWD_VERSION)
        return fail_cowd(file, COWD_FIELD(version), "version",
                         sparse->header.version, VMDK_COWD_VERSION, err);
    if ((flags & ~VMDK_COWD_FLAGS_KNOWN) != 0)
        return fail_cowd(file, COWD_FIELD(flags), "flags", flags,
                         VMDK_COWD_FLAGS_KNOWN, err);
    result = vmdk_sizes_check(&sparse->header, file, err);
    if (result == 0 && entries < vmdk_directory_entry_count(&sparse->header))
        return ds_fail_at(err, file, COWD_FIELD(numGDEntries), DS_ERR_CORRUPT,
                          "vmdk: COWD header: directory entries, have "
                          "%" PRIu32 " expect at least %" PRIu64,
                          entries, vmdk_directory_entry_count(&sparse->header));
    return result;
}

/* -- hosted ---------------------------------------------------------------- */

#define FIELD(name) offsetof(struct vmdk_header_disk, name)

/* The last three sectors of a stream. */
struct footer {
    struct vmdk_marker_disk marker;
    struct vmdk_header_disk header;
    struct vmdk_marker_disk end;
};
_Static_assert(sizeof(struct footer) == 1536, "three sectors");

static int check_footer_markers(const struct ds_file *file, uint64_t offset,
                                const struct footer *footer,
                                struct ds_error *err)
{
    uint32_t size = ds_le32_get(footer->marker.size);
    uint32_t type = ds_le32_get(footer->marker.type);

    if (size != 0 || type != VMDK_MARKER_FOOTER)
        return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                          "vmdk: footer marker: size and type, have %" PRIu32
                          " and %" PRIu32 " expect 0 and %d; the stream is "
                          "truncated",
                          size, type, VMDK_MARKER_FOOTER);
    if (ds_le32_get(footer->header.magicNumber) != VMDK_MAGIC)
        return ds_fail_at(err, file, offset + 512, DS_ERR_CORRUPT,
                          "vmdk: footer: magic, have 0x%08" PRIx32
                          " expect 0x%08x",
                          ds_le32_get(footer->header.magicNumber), VMDK_MAGIC);
    if (ds_le64_get(footer->end.val) != 0 ||
        ds_le32_get(footer->end.size) != 0 ||
        ds_le32_get(footer->end.type) != VMDK_MARKER_EOS)
        return ds_fail_at(
            err, file, offset + 1024, DS_ERR_CORRUPT,
            "vmdk: end-of-stream marker: value, size and type, "
            "have %" PRIu64 ", %" PRIu32 " and %" PRIu32 " expect 0, 0 and %d",
            ds_le64_get(footer->end.val), ds_le32_get(footer->end.size),
            ds_le32_get(footer->end.type), VMDK_MARKER_EOS);
    return 0;
}

/* The footer is the header once more, with the directory's place. */
static int read_footer(struct ds_file *file, struct vmdk_sparse *sparse,
                       struct ds_error *err)
{
    struct vmdk_header *header = &sparse->header;
    struct vmdk_header copy;
    struct footer footer;
    uint64_t offset;
    int result;

    if (file->size_bytes < sizeof(struct vmdk_header_disk) + sizeof(footer) ||
        file->size_bytes % DS_SECTOR_BYTES != 0)
        return ds_fail_at(err, file, file->size_bytes, DS_ERR_CORRUPT,
                          "vmdk: footer: file size, have %" PRIu64
                          " bytes expect whole sectors and a footer at the "
                          "end; the stream is truncated",
                          file->size_bytes);
    offset = file->size_bytes - sizeof(footer);
    result = ds_file_read(file, offset, &footer, sizeof(footer), err);
    if (result == 0)
        result = check_footer_markers(file, offset, &footer, err);
    if (result != 0)
        return result;
    copy = vmdk_header_decode(&footer.header);
    if (copy.version != header->version || copy.flags != header->flags ||
        copy.capacity_bytes != header->capacity_bytes ||
        copy.grain_bytes != header->grain_bytes ||
        copy.entries_per_table != header->entries_per_table ||
        copy.descriptor_offset_bytes != header->descriptor_offset_bytes ||
        copy.descriptor_bytes != header->descriptor_bytes ||
        copy.compress_algorithm != header->compress_algorithm)
        return ds_fail_at(err, file, offset + 512, DS_ERR_CORRUPT,
                          "vmdk: footer: fields, have capacity %" PRIu64
                          " and grains of %" PRIu64 " expect the header's "
                          "%" PRIu64 " and %" PRIu64 " and all else alike",
                          copy.capacity_bytes, copy.grain_bytes,
                          header->capacity_bytes, header->grain_bytes);
    if (copy.directory_at_end)
        return ds_fail_at(err, file, offset + 512 + FIELD(gdOffset),
                          DS_ERR_CORRUPT,
                          "vmdk: footer: grain directory, have its place left "
                          "open here too expect a sector");
    *header = copy;
    sparse->footer_offset_bytes = offset;
    return 0;
}

static int open_hosted(struct ds_file *file, struct vmdk_sparse *sparse,
                       const struct vmdk_header_disk *wire,
                       struct ds_error *err)
{
    int result;

    sparse->header = vmdk_header_decode(wire);
    sparse->header_bytes = sizeof(*wire);
    result = vmdk_header_check(&sparse->header, file, file->size_bytes, err);
    if (result == 0 && sparse->header.directory_at_end) {
        if (!vmdk_is_compressed(&sparse->header))
            return ds_fail_at(err, file, FIELD(gdOffset), DS_ERR_UNSUPPORTED,
                              "vmdk: header: grain directory at the end, have "
                              "flags 0x%" PRIx32 " expect a stream's",
                              sparse->header.flags);
        result = read_footer(file, sparse, err);
    }
    return result;
}

int vmdk_sparse_open(struct ds_file *file, struct vmdk_sparse *sparse,
                     struct ds_error *err)
{
    struct vmdk_header_disk wire;
    int result;

    if (file->size_bytes < sizeof(wire))
        return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                          "vmdk: header: file size, have %" PRIu64
                          " bytes expect at least %zu",
                          file->size_bytes, sizeof(wire));
    *sparse = (struct vmdk_sparse){ 0 };
    result = ds_file_read(file, 0, &wire, sizeof(wire), err);
    if (result != 0)
        return result;
    switch (vmdk_sparse_kind((const uint8_t *)&wire, sizeof(wire))) {
    case VMDK_SPARSE_HOSTED:
        result = open_hosted(file, sparse, &wire, err);
        break;
    case VMDK_SPARSE_COWD:
        result = open_cowd(file, sparse, err);
        break;
    case VMDK_SPARSE_SESPARSE:
    case VMDK_SPARSE_NONE:
        return ds_fail_at(
            err, file, 0, DS_ERR_CORRUPT,
            "vmdk: header: magic, have 0x%08" PRIx32 " expect 0x%08x or 0x%08x",
            ds_le32_get(wire.magicNumber), VMDK_MAGIC, VMDK_COWD_MAGIC);
    }
    return result == 0 ? vmdk_directory_choose(file, sparse, err) : result;
}

/* -- grains of streams ----------------------------------------------------- */

/* Deflate makes what it cannot shrink a little larger; more is nonsense. */
static uint64_t stored_bytes_max(uint64_t grain_bytes)
{
    return grain_bytes + grain_bytes / 8 + 4096;
}

/* No further than the marker: the data behind it is for the decoder, and
 * reading it here would cost more than the reads that it saves. */
static int read_marker(struct ds_file *file, const struct vmdk_sparse *sparse,
                       struct ds_window *window, uint64_t offset_bytes,
                       const struct vmdk_marker_disk **out,
                       struct ds_error *err)
{
    const uint8_t *bytes = NULL;
    size_t available;
    int result;

    if (offset_bytes < sparse->header_bytes ||
        !ds_range_fits(offset_bytes, VMDK_MARKER_HEAD_BYTES, file->size_bytes))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vmdk: grain table: entry, have a grain's marker at "
                          "%" PRIu64 " expect it behind the header and within "
                          "the file's %" PRIu64 " bytes",
                          offset_bytes, file->size_bytes);
    result = ds_window_view(window, file, offset_bytes, VMDK_MARKER_HEAD_BYTES,
                            VMDK_MARKER_HEAD_BYTES, &bytes, &available, err);
    *out = (const struct vmdk_marker_disk *)bytes;
    return result;
}

int vmdk_stream_grain(struct ds_file *file, const struct vmdk_sparse *sparse,
                      struct ds_window *window, uint64_t grain,
                      uint64_t seen_bytes, struct ds_extent *out,
                      struct ds_error *err)
{
    uint64_t offset = out->file_offset_bytes;
    uint64_t sector = grain * (sparse->header.grain_bytes / DS_SECTOR_BYTES);
    const struct vmdk_marker_disk *marker = NULL;
    uint64_t size;
    int result = read_marker(file, sparse, window, offset, &marker, err);

    if (result != 0)
        return result;
    size = ds_le32_get(marker->size);
    if (ds_le64_get(marker->val) != sector)
        return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                          "vmdk: grain marker: guest sector, have %" PRIu64
                          " expect %" PRIu64,
                          ds_le64_get(marker->val), sector);
    offset += VMDK_GRAIN_MARKER_BYTES;
    if (size == 0 || size > stored_bytes_max(sparse->header.grain_bytes) ||
        !ds_range_fits(offset, size, file->size_bytes))
        return ds_fail_at(err, file, offset - 4, DS_ERR_CORRUPT,
                          "vmdk: grain marker: size, have %" PRIu64
                          " bytes expect 1 to %" PRIu64
                          " and within the file's %" PRIu64,
                          size, stored_bytes_max(sparse->header.grain_bytes),
                          file->size_bytes);
    out->kind = DS_EXTENT_ENCODED;
    out->file_offset_bytes = offset;
    out->encoding = (struct ds_encoding){
        .codec = DS_CODEC_ZLIB,
        .stored_bytes = size,
        .unit_bytes = sparse->header.grain_bytes,
        .unit_least_bytes = seen_bytes,
    };
    return 0;
}
