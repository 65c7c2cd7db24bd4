/* SPDX-License-Identifier: Apache-2.0 */
#include "read.h"

#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"

#define WAITING_COUNT 3u /* for storage that is near */
/* Reading so much for nothing costs less than another read. */
#define PREFETCH_GAP_BYTES (UINT64_C(64) << 10)

void reader_init(struct reader *reader, struct ds_file *const *files)
{
    *reader = (struct reader){ .files = files };
}

void reader_free(struct reader *reader)
{
    decoder_close(reader->decoder);
    *reader = (struct reader){ 0 };
}

unsigned reader_waiting(struct ds_file *const *files, size_t count)
{
    unsigned most = WAITING_COUNT;

    for (size_t i = 0; i < count; i++)
        if (files[i] != NULL && files[i]->store->waiting_count > most)
            most = files[i]->store->waiting_count;
    return most;
}

static bool is_compressed(const struct ds_extent *extent)
{
    return extent->kind == DS_EXTENT_ENCODED &&
           !codec_is_cipher(extent->encoding.codec);
}

/* Fetch the stored bytes of as many units as lie together. Returns how many
 * extents those are; 0: not worth it. */
static size_t prefetch(struct reader *reader, const struct ds_extent *extents,
                       size_t count)
{
    uint64_t begin = extents->file_offset_bytes, end = begin, unit_end;
    size_t together = 0;

    while (together < count && is_compressed(&extents[together])) {
        const struct ds_extent *next = &extents[together];

        if (next->file_index != extents->file_index ||
            next->file_offset_bytes < begin ||
            !ds_add_u64(next->file_offset_bytes, next->encoding.stored_bytes,
                        &unit_end) ||
            next->file_offset_bytes - begin > DECODER_PREFETCH_BYTES_MAX ||
            next->file_offset_bytes > end + PREFETCH_GAP_BYTES ||
            unit_end - begin > DECODER_PREFETCH_BYTES_MAX)
            break;
        end = ds_max_u64(end, unit_end);
        together++;
    }
    if (together > 1)
        decoder_prefetch(reader->decoder, reader->files[extents->file_index],
                         begin, (size_t)(end - begin));
    return together;
}

static int read_one(struct reader *reader, const struct ds_extent *extent,
                    uint8_t *out, struct ds_error *err)
{
    size_t length = (size_t)extent->length_bytes;

    switch (extent->kind) {
    case DS_EXTENT_DATA:
        return ds_file_read(reader->files[extent->file_index],
                            extent->file_offset_bytes, out, length, err);
    case DS_EXTENT_ENCODED:
        return decoder_read(reader->decoder, reader->files[extent->file_index],
                            extent, 0, length, out, err);
    case DS_EXTENT_ZERO:
    case DS_EXTENT_HOLE:
        memset(out, 0, length);
        break;
    }
    return 0;
}

int reader_gather(struct reader *reader, const struct ds_extent *extents,
                  size_t count, uint8_t *out, struct ds_error *err)
{
    size_t fetched = 0; /* extents before this one are in the decoder */
    int result = 0;

    for (size_t i = 0; i < count && result == 0; i++) {
        if (extents[i].kind == DS_EXTENT_ENCODED && reader->decoder == NULL)
            result = decoder_open(&reader->decoder, err);
        if (result == 0 && i >= fetched && is_compressed(&extents[i]))
            fetched = i + prefetch(reader, extents + i, count - i);
        if (result == 0)
            result = read_one(reader, &extents[i], out, err);
        out += extents[i].length_bytes;
    }
    return result;
}

int ds_disk_read_extent(struct ds_disk *disk, const struct ds_extent *extent,
                        uint64_t skip_bytes, void *buffer, size_t length_bytes,
                        struct ds_error *err)
{
    struct ds_extent rest = *extent;
    struct reader reader;
    int result;

    if (!ds_range_fits(skip_bytes, length_bytes, extent->length_bytes))
        return ds_fail(err, DS_ERR_ARG, "read: beyond the extent's end");
    extent_advance(&rest, skip_bytes);
    rest.length_bytes = length_bytes;
    reader_init(&reader, disk->files);
    result = reader_gather(&reader, &rest, 1, buffer, err);
    reader_free(&reader);
    return result;
}
