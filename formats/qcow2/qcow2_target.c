/* SPDX-License-Identifier: Apache-2.0 */
/* Writing, first half: the first pass (which only counts L2 tables) and the
 * seal, which decides where every table lies. */
#include "qcow2_target.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fail.h"

/* -- opening and the first pass ------------------------------------------ */

/* The smallest cluster whose L1 table admits the disk; 0 if none does. */
static uint64_t cluster_bytes_for(const struct qcow2_target *target)
{
    for (uint32_t bits = target->cluster_bits; bits <= QCOW2_CLUSTER_BITS_MAX;
         bits++)
        if (qcow2_l1_entry_count(target->size_bytes, bits, target->extended) <=
            QCOW2_L1_ENTRY_COUNT_MAX)
            return UINT64_C(1) << bits;
    return 0;
}

static int size_l1(struct qcow2_target *target, struct ds_error *err)
{
    uint64_t fitting = cluster_bytes_for(target);

    target->l1_entry_count = qcow2_l1_entry_count(
        target->size_bytes, target->cluster_bits, target->extended);
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
    int result;

    target->slot = QCOW2_NO_SLOT;
    target->l1 = calloc(target->l1_entry_count, sizeof(*target->l1));
    if (target->l1 == NULL)
        return ds_fail_memory(err);
    result = qcow2_stream_open(&target->l2, err);
    return result != 0 ? result : qcow2_stream_open(&target->blocks, err);
}

static struct ds_target_layout layout_of(const struct qcow2_target *target)
{
    const bool plain = target->encode == DS_CODEC_NONE && !target->external;

    /* Places of an external data file are the guest's offsets, and its
     * clusters are not counted. */
    if (target->external)
        return (struct ds_target_layout){
            .unit_bytes = target->cluster_bytes,
            .align_bytes = target->cluster_bytes,
            .identity_units = true,
            .ends_with_data = true,
            .graftable = true,
            .can_refer = true,
            .file_count = 2,
            .data_file_index = 1,
        };
    return (struct ds_target_layout){
        .unit_bytes = target->cluster_bytes,
        .align_bytes = target->cluster_bytes,
        .head_bytes = target->cluster_bytes,
        .graftable = plain,
        .wants_used = plain,
        .encode = target->encode,
        .file_count = 1,
    };
}

void qcow2_target_suffix(const struct ds_target *base, uint32_t index,
                         char suffix[DS_SUFFIX_BYTES])
{
    (void)base;
    assert(index == 1);
    (void)snprintf(suffix, DS_SUFFIX_BYTES, "-data.raw");
}

int qcow2_target_open(const struct ds_target_request *request,
                      struct ds_target **out, struct ds_error *err)
{
    struct qcow2_target *target = calloc(1, sizeof(*target));
    int result;

    if (target == NULL)
        return ds_fail_memory(err);
    target->size_bytes = request->size_bytes;
    result = qcow2_options_parse(request, target, err);
    if (result == 0)
        result = size_l1(target, err);
    if (result == 0)
        result = allocate(target, err);
    if (result != 0) {
        qcow2_target_close(&target->base);
        return result;
    }
    target->base.format = &qcow2_format_ops;
    target->base.layout = layout_of(target);
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
    uint64_t first = run->first_unit / qcow2_l2_entries(target);
    uint64_t end =
        ds_div_up(run->first_unit + run->unit_count, qcow2_l2_entries(target));

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
    const uint64_t block_entries = qcow2_block_entries(target);
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

static int check_sizes(const struct qcow2_target *target, struct ds_error *err)
{
    const uint32_t bits = target->cluster_bits;
    const uint64_t table_bytes = target->refcount_table_clusters << bits;

    if (target->file_clusters > QCOW2_FILE_BYTES_MAX >> bits)
        return ds_fail(err, DS_ERR_LIMIT,
                       "qcow2: file: have %" PRIu64
                       " clusters expect at most 2^56 bytes",
                       target->file_clusters);
    if (table_bytes > QCOW2_REFCOUNT_TABLE_BYTES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "qcow2: refcount table: have %" PRIu64
                       " bytes expect at most %" PRIu64
                       "; a larger cluster_size than %" PRIu64 " needs less",
                       table_bytes, QCOW2_REFCOUNT_TABLE_BYTES_MAX,
                       target->cluster_bytes);
    if (target->encode != DS_CODEC_NONE &&
        target->file_clusters >
            UINT64_C(1) << (qcow2_compressed_offset_bits(bits) - bits))
        return ds_fail(err, DS_ERR_LIMIT,
                       "qcow2: file: have %" PRIu64
                       " clusters expect at most 2^%u bytes of compressed "
                       "clusters; a smaller cluster_size admits more",
                       target->file_clusters,
                       qcow2_compressed_offset_bits(bits));
    return 0;
}

static int take_data_name(struct qcow2_target *target, const char *name,
                          struct ds_error *err)
{
    const size_t length = strlen(name);

    if (length > QCOW2_DATA_NAME_BYTES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "qcow2: data file name: have %zu bytes expect at most "
                       "%u",
                       length, QCOW2_DATA_NAME_BYTES_MAX);
    memcpy(target->data_file_name, name, length + 1);
    return 0;
}

/* A name that is not absolute is meant from the image's directory on, and we
 * read it so; QEMU up to 7.2 at least opens it from its own. */
const char *qcow2_target_note(const struct ds_target *base)
{
    const struct qcow2_target *target = (const struct qcow2_target *)base;

    if (!target->external || target->data_file_name[0] == '/')
        return NULL;
    return "QEMU 7.2 looks for the data file in its own working directory: "
           "start it beside the image, or name the data file to it";
}

/* All but header and L1 that the file will have is known. `area_start` is
 * where the tables begin. */
static int seal_tables(struct qcow2_target *target, uint64_t area_start,
                       uint64_t data_bytes, struct ds_error *err)
{
    const uint32_t bits = target->cluster_bits;
    int result;

    if (area_start > QCOW2_FILE_BYTES_MAX || data_bytes > QCOW2_FILE_BYTES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "qcow2: file: tables or data beyond 2^56 bytes");
    size_refcounts(target, (area_start >> bits) + target->l1_clusters +
                               target->l2_table_count +
                               ds_div_up(data_bytes, target->cluster_bytes));
    result = check_sizes(target, err);
    if (result != 0)
        return result;
    place_tables(target, area_start);
    target->area_start_bytes = area_start;
    target->data_start_bytes =
        target->l2_offset_bytes + (target->l2_table_count << bits);
    qcow2_stream_rewind(&target->l2, target->l2_offset_bytes);
    qcow2_stream_rewind(&target->blocks, target->refcount_blocks_offset_bytes);
    return 0;
}

int qcow2_target_seal(struct ds_target *base,
                      const struct ds_footprint *footprint, struct ds_seal *out,
                      struct ds_error *err)
{
    struct qcow2_target *target = (struct qcow2_target *)base;
    const uint64_t area_start = footprint->area_start_bytes;
    int result;

    target->grafted = footprint->grafted && !target->external;
    if (target->external) {
        result = take_data_name(target, footprint->file_names[1], err);
        if (result == 0)
            result = seal_tables(target, target->cluster_bytes, 0, err);
        out->metadata_bytes = out->data_start_bytes = 0;
        out->file_size_bytes[1] = target->size_bytes;
    } else {
        assert(area_start >= target->cluster_bytes);
        assert(area_start % target->cluster_bytes == 0);
        result =
            seal_tables(target, area_start, footprint->relocated_bytes, err);
        out->data_start_bytes = target->data_start_bytes;
        out->metadata_bytes = target->data_start_bytes - area_start;
    }
    out->file_size_bytes[0] = target->file_clusters << target->cluster_bits;
    return result;
}
