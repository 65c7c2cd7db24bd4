/* SPDX-License-Identifier: Apache-2.0 */
#include "codec.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <libdeflate.h>
#include <zstd.h>

#include "arith.h"
#include "cipher.h"
#include "fail.h"

struct decoder {
    struct libdeflate_decompressor *inflater;
    ZSTD_DCtx *zstd;
    struct ds_cipher *cipher;
    const void *cipher_key;          /* of `cipher` */
    uint8_t *unit;                   /* DS_ENCODED_UNIT_BYTES_MAX */
    const struct ds_file *unit_file; /* what `unit` holds; NULL: nothing */
    uint64_t unit_offset_bytes;
    uint8_t *window;                   /* WINDOW_BYTES_MAX of a file */
    const struct ds_file *window_file; /* NULL: nothing */
    uint64_t window_offset_bytes;
    size_t window_bytes;
};

/* A unit that does not shrink may be stored a little larger than it is. */
#define STORED_BYTES_MAX ((size_t)DS_ENCODED_UNIT_BYTES_MAX * 2)
/* Windows begin and end at pages, which stores can read past the cache. */
#define PAGE_BYTES ((size_t)4096)
#define WINDOW_BYTES_MAX (STORED_BYTES_MAX + 2 * PAGE_BYTES)

bool codec_is_cipher(enum ds_codec codec)
{
    return codec == DS_CODEC_AES_XTS || codec == DS_CODEC_AES_CBC;
}

void extent_advance(struct ds_extent *extent, uint64_t bytes)
{
    struct ds_encoding *encoding = &extent->encoding;

    extent->guest_offset_bytes += bytes;
    extent->length_bytes -= bytes;
    if (extent->kind == DS_EXTENT_ENCODED &&
        !codec_is_cipher(encoding->codec)) {
        encoding->skip_bytes += bytes;
        return;
    }
    if (extent->file_index != DS_FILE_NONE)
        extent->file_offset_bytes += bytes;
    if (extent->kind == DS_EXTENT_ENCODED) {
        encoding->sector += bytes / DS_SECTOR_BYTES;
        encoding->stored_bytes -= bytes;
        encoding->unit_bytes -= bytes;
    }
}

int decoder_open(struct decoder **out, struct ds_error *err)
{
    struct decoder *decoder = calloc(1, sizeof(*decoder));

    if (decoder == NULL)
        return ds_fail_memory(err);
    decoder->window = aligned_alloc(PAGE_BYTES, WINDOW_BYTES_MAX);
    decoder->unit = malloc((size_t)DS_ENCODED_UNIT_BYTES_MAX);
    decoder->inflater = libdeflate_alloc_decompressor();
    decoder->zstd = ZSTD_createDCtx();
    if (decoder->window == NULL || decoder->unit == NULL ||
        decoder->inflater == NULL || decoder->zstd == NULL) {
        decoder_close(decoder);
        return ds_fail_memory(err);
    }
    *out = decoder;
    return 0;
}

void decoder_close(struct decoder *decoder)
{
    if (decoder == NULL)
        return;
    ds_cipher_close(decoder->cipher);
    if (decoder->inflater != NULL)
        libdeflate_free_decompressor(decoder->inflater);
    (void)ZSTD_freeDCtx(decoder->zstd);
    free(decoder->window);
    free(decoder->unit);
    free(decoder);
}

/* What a unit is decoded from and to. */
struct unit_buffers {
    const uint8_t *stored;
    size_t stored_bytes;
    uint8_t *unit;
    size_t unit_bytes;
    size_t least_bytes;
};

/* libdeflate and zstd stop where the stream ends; what follows it in the
 * last sector of a qcow2 cluster is not ours. */
static bool inflate_unit(struct decoder *decoder, bool wrapped,
                         const struct unit_buffers *b)
{
    size_t used, got = 0;
    enum libdeflate_result result;

    if (wrapped)
        result = libdeflate_zlib_decompress_ex(decoder->inflater, b->stored,
                                               b->stored_bytes, b->unit,
                                               b->unit_bytes, &used, &got);
    else
        result = libdeflate_deflate_decompress_ex(decoder->inflater, b->stored,
                                                  b->stored_bytes, b->unit,
                                                  b->unit_bytes, &used, &got);
    return result == LIBDEFLATE_SUCCESS && got >= b->least_bytes;
}

/* What may stand in the last sector after the frame is not ours either. */
static bool unzstd_unit(struct decoder *decoder, const struct unit_buffers *b)
{
    size_t frame = ZSTD_findFrameCompressedSize(b->stored, b->stored_bytes);
    size_t got = frame;
    ZSTD_inBuffer in = { b->stored, b->stored_bytes, 0 };
    ZSTD_outBuffer out = { b->unit, b->unit_bytes, 0 };
    size_t rest = 1;

    if (!ZSTD_isError(frame)) /* at once, which takes half the time */
        got = ZSTD_decompressDCtx(decoder->zstd, b->unit, b->unit_bytes,
                                  b->stored, frame);
    if (!ZSTD_isError(got))
        return got >= b->least_bytes;
    /* Cut short behind the unit's last byte, or longer than the unit. */
    (void)ZSTD_DCtx_reset(decoder->zstd, ZSTD_reset_session_only);
    while (rest != 0 && in.pos < in.size && out.pos < out.size) {
        rest = ZSTD_decompressStream(decoder->zstd, &out, &in);
        if (ZSTD_isError(rest))
            return false;
    }
    return out.pos >= b->least_bytes;
}

static bool decompress(struct decoder *decoder, enum ds_codec codec,
                       const struct unit_buffers *buffers)
{
    switch (codec) {
    case DS_CODEC_DEFLATE:
        return inflate_unit(decoder, false, buffers);
    case DS_CODEC_ZLIB:
        return inflate_unit(decoder, true, buffers);
    case DS_CODEC_ZSTD:
        return unzstd_unit(decoder, buffers);
    case DS_CODEC_NONE:
    case DS_CODEC_AES_XTS:
    case DS_CODEC_AES_CBC:
        break;
    }
    return false;
}

/* Have [offset, offset + length) in the window, in whole pages as far as the
 * file reaches. `length` is at most STORED_BYTES_MAX. */
static int load_window(struct decoder *decoder, struct ds_file *file,
                       uint64_t offset, size_t length, struct ds_error *err)
{
    uint64_t begin = ds_align_down(offset, PAGE_BYTES), end;
    int result;

    if (decoder->window_file == file &&
        offset >= decoder->window_offset_bytes &&
        ds_range_fits(offset - decoder->window_offset_bytes, length,
                      decoder->window_bytes))
        return 0;
    decoder->window_file = NULL;
    if (!ds_range_fits(offset, length, file->size_bytes)) /* says why not */
        return ds_file_read(file, offset, decoder->window, length, err);
    end =
        ds_min_u64(ds_align_up(offset + length, PAGE_BYTES), file->size_bytes);
    result =
        ds_file_read(file, begin, decoder->window, (size_t)(end - begin), err);
    if (result != 0)
        return result;
    decoder->window_file = file;
    decoder->window_offset_bytes = begin;
    decoder->window_bytes = (size_t)(end - begin);
    return 0;
}

void decoder_prefetch(struct decoder *decoder, struct ds_file *file,
                      uint64_t offset_bytes, size_t length_bytes)
{
    if (offset_bytes >= file->size_bytes)
        return;
    length_bytes =
        (size_t)ds_min_u64(ds_min_u64(length_bytes, DECODER_PREFETCH_BYTES_MAX),
                           file->size_bytes - offset_bytes);
    (void)load_window(decoder, file, offset_bytes, length_bytes, NULL);
}

/* Decode the extent's whole unit to `unit`. */
static int decode_unit(struct decoder *decoder, struct ds_file *file,
                       const struct ds_extent *extent, uint8_t *unit,
                       struct ds_error *err)
{
    const struct ds_encoding *encoding = &extent->encoding;
    uint64_t offset = extent->file_offset_bytes;
    uint64_t stored = encoding->stored_bytes;
    struct unit_buffers buffers = { .unit = unit };
    int result;

    if (offset < file->size_bytes) /* the last sector may be cut short */
        stored = ds_min_u64(stored, file->size_bytes - offset);
    if (stored > STORED_BYTES_MAX ||
        encoding->unit_bytes > DS_ENCODED_UNIT_BYTES_MAX)
        return ds_fail_at(err, file, offset, DS_ERR_LIMIT,
                          "%s: unit of %" PRIu64 " bytes stored in %" PRIu64
                          ", expect at most %" PRIu64,
                          ds_codec_name(encoding->codec), encoding->unit_bytes,
                          stored, DS_ENCODED_UNIT_BYTES_MAX);
    result = load_window(decoder, file, offset, (size_t)stored, err);
    if (result != 0)
        return result;
    buffers.stored = decoder->window + (offset - decoder->window_offset_bytes);
    buffers.stored_bytes = (size_t)stored;
    buffers.unit_bytes = (size_t)encoding->unit_bytes;
    buffers.least_bytes = encoding->unit_least_bytes != 0
                              ? (size_t)encoding->unit_least_bytes
                              : buffers.unit_bytes;
    if (decompress(decoder, encoding->codec, &buffers))
        return 0;
    return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                      "%s: the %" PRIu64 " bytes of guest offset %" PRIu64
                      " do not decode to a unit of %" PRIu64,
                      ds_codec_name(encoding->codec), stored,
                      extent->guest_offset_bytes, encoding->unit_bytes);
}

/* The same into `decoder->unit`, which remembers it. */
static int load_unit(struct decoder *decoder, struct ds_file *file,
                     const struct ds_extent *extent, struct ds_error *err)
{
    int result;

    if (decoder->unit_file == file &&
        decoder->unit_offset_bytes == extent->file_offset_bytes)
        return 0;
    decoder->unit_file = NULL;
    result = decode_unit(decoder, file, extent, decoder->unit, err);
    if (result != 0)
        return result;
    decoder->unit_file = file;
    decoder->unit_offset_bytes = extent->file_offset_bytes;
    return 0;
}

static int load_cipher(struct decoder *decoder,
                       const struct ds_encoding *encoding, struct ds_error *err)
{
    if (decoder->cipher != NULL && decoder->cipher_key == encoding->key)
        return 0;
    ds_cipher_close(decoder->cipher);
    decoder->cipher = NULL;
    decoder->cipher_key = encoding->key;
    return ds_cipher_open(encoding->codec, encoding->key, &decoder->cipher,
                          err);
}

static int decrypt(struct decoder *decoder, struct ds_file *file,
                   const struct ds_extent *extent, uint64_t skip_bytes,
                   size_t length_bytes, uint8_t *out, struct ds_error *err)
{
    uint64_t sector = extent->encoding.sector + skip_bytes / DS_SECTOR_BYTES;
    int result = load_cipher(decoder, &extent->encoding, err);

    assert(skip_bytes % DS_SECTOR_BYTES == 0);
    if (result == 0)
        result = ds_file_read(file, extent->file_offset_bytes + skip_bytes, out,
                              length_bytes, err);
    return result != 0 ? result
                       : ds_cipher_decrypt(decoder->cipher, sector, out,
                                           length_bytes, err);
}

int decoder_read(struct decoder *decoder, struct ds_file *file,
                 const struct ds_extent *extent, uint64_t skip_bytes,
                 size_t length_bytes, uint8_t *out, struct ds_error *err)
{
    const struct ds_encoding *encoding = &extent->encoding;
    uint64_t skip = encoding->skip_bytes + skip_bytes;
    int result;

    if (codec_is_cipher(encoding->codec))
        return decrypt(decoder, file, extent, skip_bytes, length_bytes, out,
                       err);
    if (length_bytes == encoding->unit_bytes && encoding->unit_least_bytes == 0)
        return decode_unit(decoder, file, extent, out, err);
    result = load_unit(decoder, file, extent, err);
    if (result != 0)
        return result;
    assert(ds_range_fits(skip, length_bytes, encoding->unit_bytes));
    memcpy(out, decoder->unit + skip, length_bytes);
    return 0;
}
