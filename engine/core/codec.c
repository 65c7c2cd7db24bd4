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
    uint8_t *stored;                 /* DS_ENCODED_UNIT_BYTES_MAX plus slack */
    uint8_t *unit;                   /* DS_ENCODED_UNIT_BYTES_MAX */
    const struct ds_file *unit_file; /* what `unit` holds; NULL: nothing */
    uint64_t unit_offset_bytes;
};

/* A unit that does not shrink may be stored a little larger than it is. */
#define STORED_BYTES_MAX ((size_t)DS_ENCODED_UNIT_BYTES_MAX * 2)

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
    decoder->stored = malloc(STORED_BYTES_MAX);
    decoder->unit = malloc((size_t)DS_ENCODED_UNIT_BYTES_MAX);
    decoder->inflater = libdeflate_alloc_decompressor();
    decoder->zstd = ZSTD_createDCtx();
    if (decoder->stored == NULL || decoder->unit == NULL ||
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
    free(decoder->stored);
    free(decoder->unit);
    free(decoder);
}

/* libdeflate and zstd stop where the stream ends; what follows it in the
 * last sector of a qcow2 cluster is not ours. */
static bool inflate_unit(struct decoder *decoder, bool wrapped,
                         size_t stored_bytes, size_t unit_bytes,
                         size_t least_bytes)
{
    size_t used, got = 0;
    enum libdeflate_result result;

    if (wrapped)
        result = libdeflate_zlib_decompress_ex(
            decoder->inflater, decoder->stored, stored_bytes, decoder->unit,
            unit_bytes, &used, &got);
    else
        result = libdeflate_deflate_decompress_ex(
            decoder->inflater, decoder->stored, stored_bytes, decoder->unit,
            unit_bytes, &used, &got);
    return result == LIBDEFLATE_SUCCESS && got >= least_bytes;
}

static bool unzstd_unit(struct decoder *decoder, size_t stored_bytes,
                        size_t unit_bytes, size_t least_bytes)
{
    ZSTD_inBuffer in = { decoder->stored, stored_bytes, 0 };
    ZSTD_outBuffer out = { decoder->unit, unit_bytes, 0 };
    size_t rest = 1;

    (void)ZSTD_DCtx_reset(decoder->zstd, ZSTD_reset_session_only);
    while (rest != 0 && in.pos < in.size && out.pos < out.size) {
        rest = ZSTD_decompressStream(decoder->zstd, &out, &in);
        if (ZSTD_isError(rest))
            return false;
    }
    return out.pos >= least_bytes;
}

static bool decompress(struct decoder *decoder,
                       const struct ds_encoding *encoding, size_t stored_bytes)
{
    size_t unit_bytes = (size_t)encoding->unit_bytes;
    size_t least_bytes = encoding->unit_least_bytes != 0
                             ? (size_t)encoding->unit_least_bytes
                             : unit_bytes;

    switch (encoding->codec) {
    case DS_CODEC_DEFLATE:
        return inflate_unit(decoder, false, stored_bytes, unit_bytes,
                            least_bytes);
    case DS_CODEC_ZLIB:
        return inflate_unit(decoder, true, stored_bytes, unit_bytes,
                            least_bytes);
    case DS_CODEC_ZSTD:
        return unzstd_unit(decoder, stored_bytes, unit_bytes, least_bytes);
    case DS_CODEC_NONE:
    case DS_CODEC_AES_XTS:
    case DS_CODEC_AES_CBC:
        break;
    }
    return false;
}

static int load_unit(struct decoder *decoder, struct ds_file *file,
                     const struct ds_extent *extent, struct ds_error *err)
{
    const struct ds_encoding *encoding = &extent->encoding;
    uint64_t offset = extent->file_offset_bytes;
    uint64_t stored = encoding->stored_bytes;
    int result;

    if (decoder->unit_file == file && decoder->unit_offset_bytes == offset)
        return 0;
    decoder->unit_file = NULL;
    if (offset < file->size_bytes) /* the last sector may be cut short */
        stored = ds_min_u64(stored, file->size_bytes - offset);
    if (stored > STORED_BYTES_MAX ||
        encoding->unit_bytes > DS_ENCODED_UNIT_BYTES_MAX)
        return ds_fail_at(err, file, offset, DS_ERR_LIMIT,
                          "%s: unit of %" PRIu64 " bytes stored in %" PRIu64
                          ", expect at most %" PRIu64,
                          ds_codec_name(encoding->codec), encoding->unit_bytes,
                          stored, DS_ENCODED_UNIT_BYTES_MAX);
    result = ds_file_read(file, offset, decoder->stored, (size_t)stored, err);
    if (result != 0)
        return result;
    if (!decompress(decoder, encoding, (size_t)stored))
        return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                          "%s: the %" PRIu64 " bytes of guest offset %" PRIu64
                          " do not decode to a unit of %" PRIu64,
                          ds_codec_name(encoding->codec), stored,
                          extent->guest_offset_bytes, encoding->unit_bytes);
    decoder->unit_file = file;
    decoder->unit_offset_bytes = offset;
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
                   size_t length_bytes, struct ds_error *err)
{
    uint64_t sector = extent->encoding.sector + skip_bytes / DS_SECTOR_BYTES;
    int result = load_cipher(decoder, &extent->encoding, err);

    assert(skip_bytes % DS_SECTOR_BYTES == 0 &&
           length_bytes <= DS_ENCODED_UNIT_BYTES_MAX);
    decoder->unit_file = NULL;
    if (result == 0)
        result = ds_file_read(file, extent->file_offset_bytes + skip_bytes,
                              decoder->unit, length_bytes, err);
    return result != 0 ? result
                       : ds_cipher_decrypt(decoder->cipher, sector,
                                           decoder->unit, length_bytes, err);
}

int decoder_read(struct decoder *decoder, struct ds_file *file,
                 const struct ds_extent *extent, uint64_t skip_bytes,
                 size_t length_bytes, const uint8_t **bytes,
                 struct ds_error *err)
{
    int result;

    *bytes = decoder->unit;
    if (codec_is_cipher(extent->encoding.codec))
        return decrypt(decoder, file, extent, skip_bytes, length_bytes, err);
    result = load_unit(decoder, file, extent, err);
    assert(ds_range_fits(extent->encoding.skip_bytes + skip_bytes, length_bytes,
                         extent->encoding.unit_bytes));
    *bytes += extent->encoding.skip_bytes + skip_bytes;
    return result;
}
