/* SPDX-License-Identifier: Apache-2.0 */
/* What can be asked of a target, and what of it goes together. */
#include "qcow2_target.h"

#include <inttypes.h>

#include "fail.h"

#define CLUSTER_BYTES_MIN (4 * DS_KIB) /* smaller clusters cannot be shared */
#define CLUSTER_BYTES_MAX (2 * DS_MIB)
#define CLUSTER_BYTES_STANDARD (64 * DS_KIB)
/* Subclusters of 4 KiB, the smallest that can be shared. */
#define CLUSTER_BYTES_EXTENDED (128 * DS_KIB)

const struct ds_target_option qcow2_target_options[] = {
    { "compat", "1.1, 0.10", "1.1", "1.1 is version 3, 0.10 is version 2" },
    { "cluster_size", "4k to 2M, a power of two", "64k; 128k with extended_l2",
      "the unit of allocation" },
    { "extended_l2", "no, yes", "no", "clusters have 32 subclusters" },
    { "data_file", "no, yes", "no",
      "the data lies in a raw file of its own, NAME-data.raw" },
    { "compress", "no, zlib, zstd", "no", "compress every cluster" },
    { "compression_type", "zlib, zstd", "zlib, or as compress says",
      "what compressed clusters are, now or later" },
    { "refcount_bits", "1, 2, 4, 8, 16, 32, 64", "16",
      "width of a reference count" },
    { NULL, NULL, NULL, NULL },
};

static const char *option(const struct ds_target_request *request,
                          const char *key)
{
    return ds_option_get(request->options, request->option_count, key);
}

static int parse_version(const struct ds_target_request *request,
                         struct qcow2_target *target, struct ds_error *err)
{
    const char *compat = option(request, "compat");

    target->version = 3;
    if (compat != NULL && strcmp(compat, "0.10") == 0)
        target->version = 2;
    else if (compat != NULL && strcmp(compat, "1.1") != 0)
        return ds_fail(err, DS_ERR_ARG,
                       "qcow2: option compat: have '%s' expect 1.1 or 0.10",
                       compat);
    return 0;
}

/* A switch that version 2 has no header bit for. */
static int parse_switch(const struct ds_target_request *request,
                        const struct qcow2_target *target, const char *key,
                        bool *out, struct ds_error *err)
{
    const char *text = option(request, key);

    *out = text != NULL && strcmp(text, "yes") == 0;
    if (text != NULL && !*out && strcmp(text, "no") != 0)
        return ds_fail(err, DS_ERR_ARG,
                       "qcow2: option %s: have '%s' expect yes or no", key,
                       text);
    if (*out && target->version < 3)
        return ds_fail(err, DS_ERR_ARG,
                       "qcow2: option compat: have '0.10' expect 1.1 with %s",
                       key);
    return 0;
}

static int parse_cluster_size(const struct ds_target_request *request,
                              struct qcow2_target *target, struct ds_error *err)
{
    const char *text = option(request, "cluster_size");
    uint64_t least = target->extended
                         ? UINT64_C(1) << QCOW2_CLUSTER_BITS_EXTENDED_MIN
                         : CLUSTER_BYTES_MIN;
    int result = 0;

    target->cluster_bytes =
        target->extended ? CLUSTER_BYTES_EXTENDED : CLUSTER_BYTES_STANDARD;
    if (text != NULL)
        result = ds_option_size("qcow2", "cluster_size", text,
                                &target->cluster_bytes, err);
    if (result != 0)
        return result;
    if (!ds_is_power_of_two(target->cluster_bytes) ||
        target->cluster_bytes < least ||
        target->cluster_bytes > CLUSTER_BYTES_MAX)
        return ds_fail(err, DS_ERR_ARG,
                       "qcow2: option cluster_size: have '%s' expect a power "
                       "of two from %" PRIu64 "k to 2M%s",
                       text, least / DS_KIB,
                       target->extended ? " with extended_l2" : "");
    target->cluster_bits = (uint32_t)__builtin_ctzll(target->cluster_bytes);
    return 0;
}

/* 0, 1 for the name of a compression type; -1 for another word. */
static int compression_of(const char *word)
{
    if (strcmp(word, "zlib") == 0)
        return (int)QCOW2_COMPRESSION_ZLIB;
    return strcmp(word, "zstd") == 0 ? (int)QCOW2_COMPRESSION_ZSTD : -1;
}

static int parse_compression(const struct ds_target_request *request,
                             struct qcow2_target *target, struct ds_error *err)
{
    const char *compress = option(request, "compress");
    const char *type = option(request, "compression_type");
    bool on = compress != NULL && strcmp(compress, "no") != 0;
    int taken = (int)QCOW2_COMPRESSION_ZLIB;

    if (type != NULL || on)
        taken = compression_of(type != NULL ? type : compress);
    if (taken < 0 || (on && compression_of(compress) < 0))
        return ds_fail(
            err, DS_ERR_ARG, "qcow2: option %s: have '%s' expect zlib or zstd",
            taken < 0 && type != NULL ? "compression_type" : "compress",
            taken < 0 && type != NULL ? type : compress);
    if (on && compression_of(compress) != taken)
        return ds_fail(err, DS_ERR_ARG,
                       "qcow2: option compress: have '%s' expect the "
                       "compression_type '%s'",
                       compress, type);
    if (taken != (int)QCOW2_COMPRESSION_ZLIB && target->version < 3)
        return ds_fail(err, DS_ERR_ARG,
                       "qcow2: option compat: have '0.10' expect 1.1 with "
                       "zstd");
    if (on && target->external)
        return ds_fail(err, DS_ERR_ARG,
                       "qcow2: option compress: have '%s' expect no with "
                       "data_file",
                       compress);
    target->compression_type = (uint8_t)taken;
    target->encode = !on                                    ? DS_CODEC_NONE
                     : taken == (int)QCOW2_COMPRESSION_ZSTD ? DS_CODEC_ZSTD
                                                            : DS_CODEC_DEFLATE;
    return 0;
}

static int parse_refcount_bits(const struct ds_target_request *request,
                               struct qcow2_target *target,
                               struct ds_error *err)
{
    static const char *const widths[QCOW2_REFCOUNT_ORDER_MAX + 1] = {
        "1", "2", "4", "8", "16", "32", "64"
    };
    const char *text = option(request, "refcount_bits");

    target->refcount_order = QCOW2_REFCOUNT_ORDER_V2;
    if (text == NULL)
        return 0;
    for (uint32_t i = 0; i <= QCOW2_REFCOUNT_ORDER_MAX; i++) {
        if (strcmp(text, widths[i]) != 0)
            continue;
        target->refcount_order = i;
        if (target->version < 3 && i != QCOW2_REFCOUNT_ORDER_V2)
            return ds_fail(err, DS_ERR_ARG,
                           "qcow2: option refcount_bits: have '%s' expect 16 "
                           "with compat=0.10",
                           text);
        return 0;
    }
    return ds_fail(err, DS_ERR_ARG,
                   "qcow2: option refcount_bits: have '%s' expect 1, 2, 4, 8, "
                   "16, 32 or 64",
                   text);
}

int qcow2_options_parse(const struct ds_target_request *request,
                        struct qcow2_target *target, struct ds_error *err)
{
    int result = ds_option_check("qcow2", qcow2_target_options,
                                 request->options, request->option_count, err);

    if (result == 0)
        result = parse_version(request, target, err);
    if (result == 0)
        result = parse_switch(request, target, "extended_l2", &target->extended,
                              err);
    if (result == 0)
        result =
            parse_switch(request, target, "data_file", &target->external, err);
    if (result == 0)
        result = parse_cluster_size(request, target, err);
    if (result == 0)
        result = parse_compression(request, target, err);
    if (result == 0)
        result = parse_refcount_bits(request, target, err);
    return result;
}
