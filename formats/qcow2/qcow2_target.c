/* SPDX-License-Identifier: Apache-2.0 */
/* Writing, first half: the target's options, the first pass (which only counts
 * L2 tables) and the seal, which decides where every table lies. */
#include "qcow2_target.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "fail.h"

#define CLUSTER_BYTES_MIN (4 * DS_KIB) /* smaller clusters cannot be shared */
#define CLUSTER_BYTES_MAX (2 * DS_MIB)
#define CLUSTER_BYTES_STANDARD (64 * DS_KIB)
#define BUFFER_BYTES DS_MIB /* or one cluster, if that is more */

const struct ds_target_option qcow2_target_options[] = {
    { "compat", "1.1, 0.10", "1.1", "1.1 is version 3, 0.10 is version 2" },
    { "cluster_size", "4k to 2M, a power of two", "64k",
      "the unit of allocation" },
    { "compress", "no, zlib, zstd", "no", "compress every cluster" },
    { "compression_type", "zlib, zstd", "zlib, or as compress says",
      "what compressed clusters are, now or later" },
    { "refcount_bits", "16", "16", "width of a reference count" },
    { NULL, NULL, NULL, NULL },
};

/* -- options and the first pass ------------------------------------------- */

static int parse_version(const struct ds_target_request *request,
                         struct qcow2_target *target, struct ds_error *err)
{
    const char *compat =
        ds_option_get(request->options, request->option_count, "compat");

    target->version = 3;
    if (compat != NULL && strcmp(compat, "0.10") == 0)
        target->version = 2;
    else if (compat != NULL && strcmp(compat, "1.1") != 0)
        return ds_fail(err, DS_ERR_ARG,
                       "qcow2: option compat: have '%s' expect 1.1 or 0.10",
                       compat);
    return 0;
}

static int parse_cluster_size(const struct ds_target_request *request,
                              struct qcow2_target *target, struct ds_error *err)
{
    const char *text =
        ds_option_get(request->options, request->option_count, "cluster_size");
    int result = 0;

    target->cluster_bytes = CLUSTER_BYTES_STANDARD;
    if (text != NULL)
        result = ds_option_size("qcow2", "cluster_size", text,
                                &target->cluster_bytes, err);
    if (result != 0)
        return result;
    if (!ds_is_power_of_two(target->cluster_bytes) ||
        target->cluster_bytes < CLUSTER_BYTES_MIN ||
        target->cluster_bytes > CLUSTER_BYTES_MAX)
        return ds_fail(err, DS_ERR_ARG,
                       "qcow2: option cluster_size: have '%s' expect a power "
                       "of two from 4k to 2M",
                       text);
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
    const char *compress =
        ds_option_get(request->options, request->option_count, "compress");
    const char *type = ds_option_get(request->options, request->option_count,
                                     "compression_type");
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
    target->compression_type = (uint8_t)taken;
    target->encode = !on                                    ? DS_CODEC_NONE
                     : taken == (int)QCOW2_COMPRESSION_ZSTD ? DS_CODEC_ZSTD
                                                            : DS_CODEC_DEFLATE;
    return 0;
}

static int parse_options(const struct ds_target_request *request,
                         struct qcow2_target *target, struct ds_error *err)
{
    const char *refcount_bits =
        ds_option_get(request->options, request->option_count, "refcount_bits");
    int result = ds_option_check("qcow2", qcow2_target_options,
                                 request->options, request->option_count, err);

    if (result == 0 && refcount_bits != NULL &&
        strcmp(refcount_bits, "16") != 0)
        return ds_fail(err, DS_ERR_ARG,
                       "qcow2: option refcount_bits: have '%s' expect 16",
                       refcount_bits);
    if (result == 0)
        result = parse_version(request, target, err);
    if (result == 0)
        result = parse_cluster_size(request, target, err);
    if (result == 0)
        result = parse_compression(request, target, err);
    return result;
}

/* The smallest cluster whose L1 table admits the disk; 0 if none does. */
static uint64_t cluster_bytes_for(uint64_t size_bytes)
{
    for (uint32_t bits = 12; bits <= QCOW2_CLUSTER_BITS_MAX; bits++)
        if (qcow2_l1_entry_count(size_bytes, bits) <= QCOW2_L1_ENTRY_COUNT_MAX)
            return UINT64_C(1) << bits;
    return 0;
}

static int size_l1(struct qcow2_target *target, struct ds_error *err)
{
    uint64_t fitting = cluster_bytes_for(target->size_bytes);

    target->l1_entry_count =
        qcow2_l1_entry_count(target->size_bytes, target->cluster_bits);
    if (target->l1_entry_count <= QCOW2_L1_ENTRY_COUNT_MAX) {
        /* An empty disk gets a table too, as other writers' have. */
        target->l1_entry_count = ds_max_u64(target->l1_entry_count, 1);
        target->l1_clusters = ds_div_up(
            target->l1_entry_count * sizeof(ds_be64), target->cluster_bytes);
        return 0;
    }
    if (fitting == 0)
        return ds_fail(err, DS_ERR_LIMIT,
                       "qcow2: l1 table: the format ends below a disk of "
                       "%" PRIu64 " bytes",
                       target->size_bytes);
    return ds_fail(err, DS_ERR_LIMIT,
                   "qcow2: l1 table: have %" PRIu64 " entries expect at most "
                   "%" PRIu64 "; cluster_size=%" PRIu64
                   " or larger admits a disk of %" PRIu64 " bytes",
                   target->l1_entry_count, QCOW2_L1_ENTRY_COUNT_MAX, fitting,
                   target->size_bytes);
}

static int allocate(struct qcow2_target *target, struct ds_error *err)
{
    uint64_t tables = ds_max_u64(BUFFER_BYTES / target->cluster_bytes, 1);

    target->l1 = calloc(target->l1_clusters, target->cluster_bytes);
    target->l2.buffer = calloc(tables, target->cluster_bytes);
    target->blocks.buffer = calloc(tables, target->cluster_bytes);
    target->l2.buffer_tables = tables;
    target->blocks.buffer_tables = tables;
    target->slot = QCOW2_NO_SLOT;
    if (target->l1 == NULL || target->l2.buffer == NULL ||
        target->blocks.buffer == NULL)
        return ds_fail_memory(err);
    return 0;
}

int qcow2_target_open(const struct ds_target_request *request,
                      struct ds_target **out, struct ds_error *err)
{
    struct qcow2_target *target = calloc(1, sizeof(*target));
    int result;

    if (target == NULL)
        return ds_fail_memory(err);
    target->size_bytes = request->size_bytes;
    result = parse_options(request, target, err);
    if (result == 0)
        result = size_l1(target, err);
    if (result == 0)
        result = allocate(target, err);
    if (result != 0) {
        qcow2_target_close(&target->base);
        return result;
    }
    target->base.format = &qcow2_format_ops;
    target->base.layout = (struct ds_target_layout){
        .unit_bytes = target->cluster_bytes,
        .align_bytes = target->cluster_bytes,
        .head_bytes = target->cluster_bytes,
        .graftable = target->encode == DS_CODEC_NONE,
        .wants_used = target->encode == DS_CODEC_NONE,
        .encode = target->encode,
        .file_count = 1,
    };
    *out = &target->base;
    return 0;
}

void qcow2_target_close(struct ds_target *base)
{
    struct qcow2_target *target = (struct qcow2_target *)base;

    free(target->l1);
    free(target->l2.buffer);
    free(target->blocks.buffer);
    free(target);
}

int qcow2_target_count(struct ds_target *base, const struct ds_unit_run *run,
                       struct ds_error *err)
{
    struct qcow2_target *target = (struct qcow2_target *)base;
    uint64_t first = run->first_unit / qcow2_entries_per_cluster(target);
    uint64_t end = ds_div_up(run->first_unit + run->unit_count,
                             qcow2_entries_per_cluster(target));

    (void)err;
    assert(run->unit_count > 0 && end <= target->l1_entry_count);
    assert(end >= target->counted_slot_end);
    first = ds_max_u64(first, target->counted_slot_end);
    target->l2_table_count += end - first;
    target->counted_slot_end = end;
    return 0;
}

/* -- where the tables lie -------------------------------------------------- */

/* Refcount blocks count themselves and the table that points at them: grow
 * both until they hold. Each turn adds clusters, each block admits thousands,
 * so this ends after a few. */
static void size_refcounts(struct qcow2_target *target, uint64_t other_clusters)
{
    const uint64_t block_entries = target->cluster_bytes / sizeof(ds_be16);
    uint64_t blocks = 0, table = 0, before;

    do {
        before = blocks + table;
        blocks = ds_div_up(other_clusters + before, block_entries);
        table = ds_div_up(blocks * sizeof(ds_be64), target->cluster_bytes);
    } while (blocks + table != before);
    target->refcount_block_count = blocks;
    target->refcount_table_clusters = table;
    target->file_clusters = other_clusters + blocks + table;
}

static void place_tables(struct qcow2_target *target, uint64_t area_start)
{
    const uint64_t cluster_bytes = target->cluster_bytes;

    target->l1_offset_bytes = area_start;
    target->refcount_table_offset_bytes =
        area_start + target->l1_clusters * cluster_bytes;
    target->refcount_blocks_offset_bytes =
        target->refcount_table_offset_bytes +
        target->refcount_table_clusters * cluster_bytes;
    target->l2_offset_bytes = target->refcount_blocks_offset_bytes +
                              target->refcount_block_count * cluster_bytes;
}

int qcow2_target_seal(struct ds_target *base,
                      const struct ds_footprint *footprint, struct ds_seal *out,
                      struct ds_error *err)
{
    struct qcow2_target *target = (struct qcow2_target *)base;
    const uint32_t bits = target->cluster_bits;
    const uint64_t area_start = footprint->area_start_bytes;
    uint64_t data_clusters =
        ds_div_up(footprint->relocated_bytes, target->cluster_bytes);

    assert(area_start >= target->cluster_bytes);
    assert(area_start % target->cluster_bytes == 0);
    if (area_start > QCOW2_FILE_BYTES_MAX ||
        footprint->relocated_bytes > QCOW2_FILE_BYTES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "qcow2: file: tables or data beyond 2^56 bytes");
    size_refcounts(target, (area_start >> bits) + target->l1_clusters +
                               target->l2_table_count + data_clusters);
    if (target->file_clusters > QCOW2_FILE_BYTES_MAX >> bits)
        return ds_fail(err, DS_ERR_LIMIT,
                       "qcow2: file: have %" PRIu64
                       " clusters expect at most 2^56 bytes",
                       target->file_clusters);
    if (target->refcount_table_clusters << bits >
        QCOW2_REFCOUNT_TABLE_BYTES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "qcow2: refcount table: have %" PRIu64
                       " bytes expect at most %" PRIu64
                       "; a larger cluster_size than %" PRIu64 " needs less",
                       target->refcount_table_clusters << bits,
                       QCOW2_REFCOUNT_TABLE_BYTES_MAX, target->cluster_bytes);
    place_tables(target, area_start);
    if (target->encode != DS_CODEC_NONE &&
        target->file_clusters >
            UINT64_C(1) << (qcow2_compressed_offset_bits(bits) - bits))
        return ds_fail(err, DS_ERR_LIMIT,
                       "qcow2: file: have %" PRIu64
                       " clusters expect at most 2^%u bytes of compressed "
                       "clusters; a smaller cluster_size admits more",
                       target->file_clusters,
                       qcow2_compressed_offset_bits(bits));
    out->data_start_bytes =
        target->l2_offset_bytes + (target->l2_table_count << bits);
    out->metadata_bytes = out->data_start_bytes - area_start;
    target->area_start_bytes = area_start;
    target->data_start_bytes = out->data_start_bytes;
    out->file_size_bytes[0] = target->file_clusters << bits;
    return 0;
}
