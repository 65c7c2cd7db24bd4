/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the public enums. */
#include <diskshift/diskshift.h>

const char *ds_error_class_name(enum ds_error_class error_class)
{
    switch (error_class) {
    case DS_OK:
        return "ok";
    case DS_ERR_SYSTEM:
        return "system";
    case DS_ERR_CORRUPT:
        return "corrupt";
    case DS_ERR_UNSUPPORTED:
        return "unsupported";
    case DS_ERR_LIMIT:
        return "limit";
    case DS_ERR_REFUSED:
        return "refused";
    case DS_ERR_ARG:
        return "argument";
    case DS_ERR_CANCELLED:
        return "cancelled";
    }
    return "unknown";
}

const char *ds_extent_kind_name(enum ds_extent_kind kind)
{
    switch (kind) {
    case DS_EXTENT_DATA:
        return "data";
    case DS_EXTENT_ZERO:
        return "zero";
    case DS_EXTENT_HOLE:
        return "hole";
    case DS_EXTENT_ENCODED:
        return "encoded";
    }
    return "unknown";
}

const char *ds_codec_name(enum ds_codec codec)
{
    switch (codec) {
    case DS_CODEC_NONE:
        return "none";
    case DS_CODEC_DEFLATE:
        return "deflate";
    case DS_CODEC_ZLIB:
        return "zlib";
    case DS_CODEC_ZSTD:
        return "zstd";
    case DS_CODEC_AES_XTS:
        return "aes-xts";
    case DS_CODEC_AES_CBC:
        return "aes-cbc";
    }
    return "unknown";
}

const char *ds_op_kind_name(enum ds_op_kind kind)
{
    static const char *const names[DS_OP_KIND_COUNT] = {
        [DS_OP_CLONE] = "clone",       [DS_OP_CLONE_FILE] = "clone_file",
        [DS_OP_COPY] = "copy",         [DS_OP_DECODE] = "decode",
        [DS_OP_WRITE] = "write",       [DS_OP_ZERO] = "zero",
        [DS_OP_PUNCH] = "punch",       [DS_OP_TRUNCATE] = "truncate",
        [DS_OP_ENCODE] = "encode",     [DS_OP_BARRIER] = "barrier",
        [DS_OP_ALLOCATE] = "allocate", [DS_OP_REPEAT] = "repeat",
    };

    return (unsigned)kind < DS_OP_KIND_COUNT ? names[kind] : "unknown";
}

const char *ds_copy_reason_name(enum ds_copy_reason reason)
{
    static const char *const names[DS_COPY_REASON_COUNT] = {
        [DS_COPY_NONE] = "none",
        [DS_COPY_MISALIGNED] = "misaligned",
        [DS_COPY_PARTIAL_BLOCK] = "partial block",
        [DS_COPY_OTHER_FILESYSTEM] = "other filesystem",
        [DS_COPY_NO_REFLINK] = "no reflink",
        [DS_COPY_NOCOW_MISMATCH] = "nocow mismatch",
        [DS_COPY_CLONE_REFUSED] = "clone refused",
        [DS_COPY_COMPRESSED] = "compressed",
        [DS_COPY_ENCRYPTED] = "encrypted",
    };

    return (unsigned)reason < DS_COPY_REASON_COUNT ? names[reason] : "unknown";
}

const char *ds_strategy_name(enum ds_strategy strategy)
{
    switch (strategy) {
    case DS_STRATEGY_AUTO:
        return "auto";
    case DS_STRATEGY_RANGE:
        return "range";
    case DS_STRATEGY_GRAFT:
        return "graft";
    case DS_STRATEGY_REFERENCE:
        return "reference";
    case DS_STRATEGY_ENCODE:
        return "encode";
    }
    return "unknown";
}
