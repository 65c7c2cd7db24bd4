/* SPDX-License-Identifier: Apache-2.0 */
#include "read.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"

int reader_init(struct reader *reader, struct ds_file *const *files,
                struct ds_error *err)
{
    *reader = (struct reader){ .files = files };
    reader->buffer = malloc(READ_CHUNK_BYTES);
    return reader->buffer != NULL ? 0 : ds_fail_memory(err);
}

void reader_free(struct reader *reader)
{
    decoder_close(reader->decoder);
    free(reader->buffer);
    *reader = (struct reader){ 0 };
}

static int read_encoded(struct reader *reader, const struct ds_extent *extent,
                        size_t length_bytes, const uint8_t **bytes,
                        struct ds_error *err)
{
    if (reader->decoder == NULL) {
        int result = decoder_open(&reader->decoder, err);

        if (result != 0)
            return result;
    }
    return decoder_read(reader->decoder, reader->files[extent->file_index],
                        extent, 0, length_bytes, bytes, err);
}

int reader_read(struct reader *reader, const struct ds_extent *extent,
                size_t length_bytes, const uint8_t **bytes,
                struct ds_error *err)
{
    assert(length_bytes <= READ_CHUNK_BYTES);
    *bytes = reader->buffer;
    switch (extent->kind) {
    case DS_EXTENT_DATA:
        return ds_file_read(reader->files[extent->file_index],
                            extent->file_offset_bytes, reader->buffer,
                            length_bytes, err);
    case DS_EXTENT_ENCODED:
        return read_encoded(reader, extent, length_bytes, bytes, err);
    case DS_EXTENT_ZERO:
    case DS_EXTENT_HOLE:
        memset(reader->buffer, 0, length_bytes);
        break;
    }
    return 0;
}

int ds_disk_read_extent(struct ds_disk *disk, const struct ds_extent *extent,
                        uint64_t skip_bytes, void *buffer, size_t length_bytes,
                        struct ds_error *err)
{
    struct ds_extent rest = *extent;
    uint8_t *out = buffer;
    struct reader reader;
    int result;

    if (!ds_range_fits(skip_bytes, length_bytes, extent->length_bytes))
        return ds_fail(err, DS_ERR_ARG, "read: beyond the extent's end");
    extent_advance(&rest, skip_bytes);
    result = reader_init(&reader, disk->files, err);
    while (result == 0 && length_bytes > 0) {
        size_t part = (size_t)ds_min_u64(length_bytes, READ_CHUNK_BYTES);
        const uint8_t *bytes;

        result = reader_read(&reader, &rest, part, &bytes, err);
        if (result != 0)
            break;
        memcpy(out, bytes, part);
        extent_advance(&rest, part);
        out += part;
        length_bytes -= part;
    }
    reader_free(&reader);
    return result;
}
