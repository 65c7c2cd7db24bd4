/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing compressed clusters. Each unit is appended in guest order, byte
 * behind byte; one that did not shrink is a plain cluster:
 *
 *   | tables | c1 c2 c3 ..|.. c4   |  plain | c5 c6 ..
 *            data_start      partial         next
 *
 * Compressed units may lie across a border when both clusters are
 * neighbours; each cluster that one touches counts a reference. A plain
 * cluster takes the next whole one, and what is left of the cluster begun
 * before it (`partial`) is filled by compressed units that fit.
 *
 * No unit begins more than one new cluster, so the file never outgrows what
 * the first pass counted. Counts are streamed front to back: a partial
 * cluster whose count has been written out is given up.
 */
#include "qcow2_target.h"

#include <assert.h>

#include "fail.h"

/* A cluster of 2 MiB could hold more units of a few bytes than 16 bits
 * count. Each reference but the last is of a unit that ends in the cluster. */
#define REFERENCE_COUNT_MAX 65000u

static uint64_t reference_count_max(const struct qcow2_target *target)
{
    if (target->refcount_order >= QCOW2_REFCOUNT_ORDER_V2)
        return REFERENCE_COUNT_MAX;
    return (UINT64_C(1) << (1u << target->refcount_order)) - 1;
}

static void forget_partial(struct qcow2_target *target)
{
    target->partial_bytes = target->partial_end = 0;
}

static int count_clusters(struct qcow2_target *target, uint64_t begin_bytes,
                          uint64_t end_bytes, struct ds_emitter *emitter,
                          struct ds_error *err)
{
    uint64_t end = ds_div_up(end_bytes, target->cluster_bytes);
    int result = 0;

    for (uint64_t i = begin_bytes >> target->cluster_bits;
         result == 0 && i < end; i++)
        result = qcow2_refcount_add(target, i, emitter, err);
    if (target->partial_bytes != target->partial_end &&
        !qcow2_refcount_is_open(target,
                                target->partial_bytes >> target->cluster_bits))
        forget_partial(target);
    return result;
}

/* The header and all tables have one reference each. */
static int begin(struct qcow2_target *target, struct ds_emitter *emitter,
                 struct ds_error *err)
{
    int result;

    if (target->encode_begun)
        return 0;
    qcow2_target_rewind(target);
    qcow2_target_rewind_used(target);
    forget_partial(target);
    target->encode_begun = true;
    target->next_bytes = target->data_start_bytes;
    result = count_clusters(target, 0, target->cluster_bytes, emitter, err);
    if (result == 0)
        result = count_clusters(target, target->area_start_bytes,
                                target->data_start_bytes, emitter, err);
    return result;
}

/* Where `stored_bytes` compressed ones go, and on. */
static uint64_t append(struct qcow2_target *target, uint64_t stored_bytes)
{
    uint64_t at = target->partial_bytes;
    uint64_t room = target->partial_end - at;

    if (room == 0 ||
        (room < stored_bytes && target->partial_end != target->next_bytes) ||
        qcow2_refcount_have(target, at >> target->cluster_bits) >=
            reference_count_max(target)) {
        at = target->next_bytes;
        room = 0;
    }
    if (room < stored_bytes) {
        target->next_bytes += target->cluster_bytes;
        target->partial_end = target->next_bytes;
    }
    target->partial_bytes = at + stored_bytes;
    if (target->partial_bytes == target->partial_end)
        forget_partial(target);
    return at;
}

static int place_plain(struct qcow2_target *target, uint64_t index,
                       uint64_t *at, struct ds_emitter *emitter,
                       struct ds_error *err)
{
    int result;

    *at = target->next_bytes;
    target->next_bytes += target->cluster_bytes;
    result = qcow2_l2_set(target, index, *at | QCOW2_COPIED,
                          QCOW2_SUBCLUSTERS_ALLOCATED, emitter, err);
    return result != 0
               ? result
               : count_clusters(target, *at, *at + target->cluster_bytes,
                                emitter, err);
}

static int place_compressed(struct qcow2_target *target, uint64_t index,
                            uint64_t stored_bytes, uint64_t *at,
                            struct ds_emitter *emitter, struct ds_error *err)
{
    const unsigned border = qcow2_compressed_offset_bits(target->cluster_bits);
    uint64_t sectors;
    int result;

    *at = append(target, stored_bytes);
    sectors =
        (*at + stored_bytes - 1) / DS_SECTOR_BYTES - *at / DS_SECTOR_BYTES;
    result = qcow2_l2_set(target, index,
                          QCOW2_L2_COMPRESSED | sectors << border | *at, 0,
                          emitter, err);
    return result != 0
               ? result
               : count_clusters(target, *at, *at + stored_bytes, emitter, err);
}

int qcow2_target_encoded(struct ds_target *base, uint64_t unit,
                         const void *stored, uint64_t stored_bytes,
                         struct ds_emitter *emitter, struct ds_error *err)
{
    struct qcow2_target *target = (struct qcow2_target *)base;
    const uint64_t entries = qcow2_l2_entries(target);
    uint64_t at = 0;
    int result;

    assert(stored_bytes > 0 && stored_bytes <= target->cluster_bytes);
    assert(unit / entries < target->l1_entry_count);
    if (unit < target->unit_next)
        target->encode_begun = false;
    result = begin(target, emitter, err);
    target->unit_next = unit + 1;
    if (result == 0)
        result = qcow2_l2_begin(target, unit / entries, err);
    if (result == 0 && stored_bytes == target->cluster_bytes)
        result = place_plain(target, unit % entries, &at, emitter, err);
    else if (result == 0)
        result = place_compressed(target, unit % entries, stored_bytes, &at,
                                  emitter, err);
    if (result != 0 || stored == NULL)
        return result;
    return ds_emit(emitter, 0, at, stored, (size_t)stored_bytes, err);
}

/* Units that turned out to be zeros may leave counted tables over: as empty
 * tables they are what an absent one is, for slots that have none. */
static int link_spare_tables(struct qcow2_target *target, struct ds_error *err)
{
    int result = 0;

    for (uint64_t slot = 0; result == 0 && slot < target->l1_entry_count &&
                            target->l2_begun < target->l2_table_count;
         slot++)
        if (ds_be64_get(target->l1[slot]) == 0)
            result = qcow2_l2_begin(target, slot, err);
    return result;
}

int qcow2_encode_finish(struct qcow2_target *target, struct ds_emitter *emitter,
                        struct ds_error *err)
{
    int result = begin(target, emitter, err);

    if (result == 0)
        result = link_spare_tables(target, err);
    target->encoded_bytes = target->next_bytes;
    return result;
}

uint64_t qcow2_target_encoded_size(const struct ds_target *base)
{
    return ((const struct qcow2_target *)base)->encoded_bytes;
}
