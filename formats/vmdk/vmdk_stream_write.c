/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a stream, from its beginning to its end (spec, "Stream-Optimized
 * Compressed Sparse Extents"):
 *
 *   0       512           64 KiB
 *   |header|descriptor|0..|m grain|m grain|...|M table|m grain|...|M table|
 *   |M directory|M footer|M end|
 *
 *   m: 12 bytes before the grain's data, which is padded to a sector
 *   M: a sector that says what the sectors behind it are
 *
 * Grains come in guest order; a table is written behind the last of its
 * grains, and a table without grains is not written at all. The directory's
 * place is known last, so the header leaves it open and the footer, a second
 * header, has it. Nothing that is written is touched again.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "vmdk.h"

/* What VMware's products write, and their importers have seen. */
#define STREAM_VERSION 3u
#define GRAIN_BYTES (64 * DS_KIB)
#define HEAD_BYTES (64 * DS_KIB)
#define TABLE_BYTES ((size_t)VMDK_TABLE_ENTRIES_STANDARD * VMDK_ENTRY_BYTES)
#define NO_TABLE UINT64_MAX

struct vmdk_stream {
    uint64_t size_bytes; /* the guest's */
    uint64_t grain_count;
    uint64_t table_count;
    vmdk_entry_disk *directory; /* table_count entries, zeros to a sector */
    uint8_t head[HEAD_BYTES];   /* after the seal */

    /* the pass */
    bool started;
    uint64_t end_bytes; /* of what has been written */
    uint64_t next_grain;
    uint64_t table; /* the one being filled; NO_TABLE: none */
    vmdk_entry_disk entries[VMDK_TABLE_ENTRIES_STANDARD];
};

static const uint8_t zeros[DS_SECTOR_BYTES];

static size_t directory_bytes(const struct vmdk_stream *stream)
{
    return ds_align_up(stream->table_count * VMDK_ENTRY_BYTES, DS_SECTOR_BYTES);
}

int vmdk_stream_create(uint64_t size_bytes, struct vmdk_stream **out,
                       struct ds_error *err)
{
    struct vmdk_stream *stream;
    uint64_t grains = ds_div_up(size_bytes, GRAIN_BYTES);
    uint64_t tables = ds_div_up(grains, VMDK_TABLE_ENTRIES_STANDARD);

    if (tables > VMDK_DIRECTORY_ENTRIES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vmdk: grain directory: entries for a disk of %" PRIu64
                       " bytes, have %" PRIu64 " expect at most %" PRIu64,
                       size_bytes, tables, VMDK_DIRECTORY_ENTRIES_MAX);
    stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return ds_fail_memory(err);
    stream->size_bytes = size_bytes;
    stream->grain_count = grains;
    stream->table_count = tables;
    stream->directory = calloc(1, directory_bytes(stream) + DS_SECTOR_BYTES);
    if (stream->directory == NULL) {
        vmdk_stream_free(stream);
        return ds_fail_memory(err);
    }
    *out = stream;
    return 0;
}

void vmdk_stream_free(struct vmdk_stream *stream)
{
    if (stream == NULL)
        return;
    free(stream->directory);
    free(stream);
}

struct ds_target_layout vmdk_stream_layout(void)
{
    return (struct ds_target_layout){
        .unit_bytes = GRAIN_BYTES,
        .align_bytes = DS_SECTOR_BYTES,
        .head_bytes = HEAD_BYTES,
        .encode = DS_CODEC_ZLIB,
        .file_count = 1,
    };
}

static struct vmdk_header header_of(const struct vmdk_stream *stream,
                                    uint64_t descriptor_bytes)
{
    return (struct vmdk_header){
        .version = STREAM_VERSION,
        .flags =
            VMDK_FLAG_NEWLINE_TEST | VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS,
        .capacity_bytes = stream->size_bytes,
        .grain_bytes = GRAIN_BYTES,
        .descriptor_offset_bytes = sizeof(struct vmdk_header_disk),
        .descriptor_bytes = ds_align_up(descriptor_bytes, DS_SECTOR_BYTES),
        .entries_per_table = VMDK_TABLE_ENTRIES_STANDARD,
        .directory_at_end = true,
        .overhead_bytes = HEAD_BYTES,
        .end_of_line = { '\n', ' ', '\r', '\n' },
        .compress_algorithm = VMDK_COMPRESS_DEFLATE,
    };
}

/* The most that it can come to: no grain has shrunk. */
static uint64_t size_bound(const struct vmdk_stream *stream,
                           uint64_t unit_count)
{
    uint64_t grain =
        ds_align_up(VMDK_GRAIN_MARKER_BYTES + GRAIN_BYTES + GRAIN_BYTES / 64,
                    DS_SECTOR_BYTES);
    uint64_t tables = ds_min_u64(stream->table_count, unit_count);

    return HEAD_BYTES + unit_count * grain +
           tables * (DS_SECTOR_BYTES + TABLE_BYTES) + DS_SECTOR_BYTES +
           directory_bytes(stream) + 3 * DS_SECTOR_BYTES;
}

int vmdk_stream_seal(struct vmdk_stream *stream,
                     const struct ds_footprint *footprint,
                     const char *descriptor, size_t descriptor_bytes,
                     struct ds_seal *out, struct ds_error *err)
{
    struct vmdk_header header = header_of(stream, descriptor_bytes);
    struct vmdk_header_disk wire = vmdk_header_encode(&header);
    uint64_t bound = size_bound(stream, footprint->unit_count);

    assert(descriptor_bytes <= VMDK_TEXT_BYTES_MAX);
    memset(stream->head, 0, sizeof(stream->head));
    memcpy(stream->head, &wire, sizeof(wire));
    memcpy(stream->head + sizeof(wire), descriptor, descriptor_bytes);
    stream->started = false;
    out->data_start_bytes = ds_max_u64(footprint->area_start_bytes, HEAD_BYTES);
    out->file_size_bytes[0] = bound;
    return vmdk_header_check(&header, NULL, bound, err);
}

/* -- the pass -------------------------------------------------------------- */

static int append(struct vmdk_stream *stream, const void *bytes, size_t length,
                  struct ds_emitter *emitter, struct ds_error *err)
{
    int result = 0;

    if (length > 0)
        result = ds_emit(emitter, 0, stream->end_bytes, bytes, length, err);
    stream->end_bytes += length;
    return result;
}

static int start(struct vmdk_stream *stream, struct ds_emitter *emitter,
                 struct ds_error *err)
{
    stream->started = true;
    stream->end_bytes = 0;
    stream->next_grain = 0;
    stream->table = NO_TABLE;
    memset(stream->directory, 0, directory_bytes(stream));
    memset(stream->entries, 0, sizeof(stream->entries));
    return append(stream, stream->head, sizeof(stream->head), emitter, err);
}

/* A marker and the whole sectors behind it. */
static int append_marked(struct vmdk_stream *stream, enum vmdk_marker_type type,
                         const void *bytes, size_t length,
                         struct ds_emitter *emitter, struct ds_error *err)
{
    struct vmdk_marker_disk marker = {
        .val = ds_le64_make(length / DS_SECTOR_BYTES),
        .type = ds_le32_make(type),
    };
    int result = append(stream, &marker, sizeof(marker), emitter, err);

    return result == 0 ? append(stream, bytes, length, emitter, err) : result;
}

/* Where the stream now ends, as a pointer of the tables. A grain and its
 * table must both be below the end of pointers. */
static int end_sector(const struct vmdk_stream *stream, vmdk_entry_disk *out,
                      struct ds_error *err)
{
    if (stream->end_bytes >= VMDK_POINTER_END_BYTES - 4 * GRAIN_BYTES)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vmdk: grain table: place of a grain, have %" PRIu64
                       " expect less than %" PRIu64
                       " (32-bit sector numbers); use another subformat",
                       stream->end_bytes,
                       VMDK_POINTER_END_BYTES - 4 * GRAIN_BYTES);
    *out = ds_le32_make((uint32_t)(stream->end_bytes / DS_SECTOR_BYTES));
    return 0;
}

static int finish_table(struct vmdk_stream *stream, struct ds_emitter *emitter,
                        struct ds_error *err)
{
    uint64_t sector = stream->end_bytes / DS_SECTOR_BYTES + 1;
    int result;

    if (stream->table == NO_TABLE)
        return 0;
    /* It fits an entry, since end_sector has held the last grain to leave
     * room for it; but for a dry pass, whose entries nobody reads. */
    result = append_marked(stream, VMDK_MARKER_GT, stream->entries,
                           sizeof(stream->entries), emitter, err);
    if (result == 0)
        stream->directory[stream->table] = ds_le32_make((uint32_t)sector);
    memset(stream->entries, 0, sizeof(stream->entries));
    stream->table = NO_TABLE;
    return result;
}

/* A dry pass has an upper bound for a length, and no bytes. */
static int append_grain(struct vmdk_stream *stream, uint64_t grain,
                        const void *stored, uint64_t stored_bytes,
                        struct ds_emitter *emitter, struct ds_error *err)
{
    uint64_t length = VMDK_GRAIN_MARKER_BYTES + stored_bytes;
    uint64_t padded = ds_align_up(length, DS_SECTOR_BYTES);
    struct vmdk_marker_disk marker = {
        .val = ds_le64_make(grain * (GRAIN_BYTES / DS_SECTOR_BYTES)),
        .size = ds_le32_make((uint32_t)stored_bytes),
    };
    int result;

    if (stored == NULL) {
        stream->end_bytes += padded;
        return 0;
    }
    result = append(stream, &marker, VMDK_GRAIN_MARKER_BYTES, emitter, err);
    if (result == 0)
        result = append(stream, stored, (size_t)stored_bytes, emitter, err);
    return result == 0
               ? append(stream, zeros, (size_t)(padded - length), emitter, err)
               : result;
}

int vmdk_stream_put(struct vmdk_stream *stream, uint64_t grain,
                    const void *stored, uint64_t stored_bytes,
                    struct ds_emitter *emitter, struct ds_error *err)
{
    uint64_t table = grain / VMDK_TABLE_ENTRIES_STANDARD;
    vmdk_entry_disk sector = { { 0 } };
    int result = 0;

    assert(grain < stream->grain_count && stored_bytes > 0 &&
           stored_bytes <= 2 * GRAIN_BYTES);
    if (!stream->started || grain < stream->next_grain)
        result = start(stream, emitter, err);
    if (result == 0 && table != stream->table)
        result = finish_table(stream, emitter, err);
    /* The bound may be beyond the end where the grains are not. */
    if (result == 0 && stored != NULL)
        result = end_sector(stream, &sector, err);
    if (result != 0)
        return result;
    stream->table = table;
    stream->entries[grain % VMDK_TABLE_ENTRIES_STANDARD] = sector;
    stream->next_grain = grain + 1;
    return append_grain(stream, grain, stored, stored_bytes, emitter, err);
}

/* The header once more, now with the directory's place. */
static int append_footer(struct vmdk_stream *stream, uint64_t directory_offset,
                         struct ds_emitter *emitter, struct ds_error *err)
{
    struct vmdk_marker_disk end = { .val = ds_le64_make(0) };
    struct vmdk_header_disk wire;
    int result;

    memcpy(&wire, stream->head, sizeof(wire));
    wire.gdOffset = ds_le64_make(directory_offset / DS_SECTOR_BYTES);
    result = append_marked(stream, VMDK_MARKER_FOOTER, &wire, sizeof(wire),
                           emitter, err);
    return result == 0 ? append(stream, &end, sizeof(end), emitter, err)
                       : result;
}

int vmdk_stream_finish(struct vmdk_stream *stream, struct ds_emitter *emitter,
                       struct ds_error *err)
{
    uint64_t directory_offset;
    int result = 0;

    if (!stream->started) /* a disk without data */
        result = start(stream, emitter, err);
    if (result == 0)
        result = finish_table(stream, emitter, err);
    directory_offset = stream->end_bytes + DS_SECTOR_BYTES;
    if (result == 0)
        result = append_marked(stream, VMDK_MARKER_GD, stream->directory,
                               directory_bytes(stream), emitter, err);
    if (result == 0)
        result = append_footer(stream, directory_offset, emitter, err);
    stream->started = false; /* the pass may be run again */
    return result;
}

uint64_t vmdk_stream_size(const struct vmdk_stream *stream)
{
    return stream->end_bytes;
}
