/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of one kind, written front to back through a buffer:
 *
 *   stream   0 ........ begin            end ...............
 *            | written  | buffered pages | not asked for yet
 *              or holes
 *
 * What is asked for rises, or lies in the buffer still. A long stretch that
 * nobody asks for is left a hole of the file, which reads as the zeros that
 * the format wants there: the file is new, and a graft's tables lie behind its
 * base. So a table costs the pages that hold something, whatever its size.
 */
#include "qcow2_target.h"

#include <assert.h>
#include <stdlib.h>

#include "fail.h"

#define PAGE_BYTES UINT64_C(4096)
/* At least the longest request and a page. See emit.h for why it is small. */
#define BUFFER_BYTES (DS_MIB / 8)
/* A shorter stretch is written: to allocate and write the next one apart
 * costs as much. */
#define HOLE_BYTES_MIN (UINT64_C(32) * 1024)

int qcow2_stream_open(struct table_stream *stream, struct ds_error *err)
{
    stream->buffer = malloc(BUFFER_BYTES);
    return stream->buffer != NULL ? 0 : ds_fail_memory(err);
}

void qcow2_stream_rewind(struct table_stream *stream, uint64_t offset_bytes)
{
    stream->offset_bytes = offset_bytes;
    stream->begin_bytes = stream->end_bytes = 0;
}

/* Write what lies before `until`, and keep the rest. */
static int flush_until(struct table_stream *stream, uint64_t until,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    uint64_t begin = stream->begin_bytes;
    uint64_t length = until - begin;
    int result;

    if (length == 0)
        return 0;
    result = ds_emit(emitter, 0, stream->offset_bytes + begin, stream->buffer,
                     length, err);
    memmove(stream->buffer, stream->buffer + length, stream->end_bytes - until);
    stream->begin_bytes = until;
    return result;
}

int qcow2_stream_flush(struct table_stream *stream, struct ds_emitter *emitter,
                       struct ds_error *err)
{
    return flush_until(stream, stream->end_bytes, emitter, err);
}

/* Let the buffer hold the pages [page, end). */
static int extend(struct table_stream *stream, uint64_t page, uint64_t end,
                  struct ds_emitter *emitter, struct ds_error *err)
{
    bool leaps = page >= stream->end_bytes + HOLE_BYTES_MIN;
    int result = 0;

    if (leaps) {
        result = qcow2_stream_flush(stream, emitter, err);
        stream->begin_bytes = stream->end_bytes = page;
    } else if (end - stream->begin_bytes > BUFFER_BYTES) {
        result = flush_until(stream, ds_min_u64(page, stream->end_bytes),
                             emitter, err);
    }
    memset(stream->buffer + (stream->end_bytes - stream->begin_bytes), 0,
           end - stream->end_bytes);
    stream->end_bytes = end;
    return result;
}

int qcow2_stream_at(struct table_stream *stream, uint64_t at_bytes,
                    uint64_t length_bytes, struct ds_emitter *emitter,
                    uint8_t **out, struct ds_error *err)
{
    uint64_t page = ds_align_down(at_bytes, PAGE_BYTES);
    uint64_t end = ds_align_up(at_bytes + length_bytes, PAGE_BYTES);
    int result = 0;

    assert(at_bytes >= stream->begin_bytes);
    assert(length_bytes > 0 && length_bytes <= QCOW2_STREAM_BYTES_MAX);
    if (end > stream->end_bytes)
        result = extend(stream, page, end, emitter, err);
    *out = stream->buffer + (at_bytes - stream->begin_bytes);
    return result;
}
