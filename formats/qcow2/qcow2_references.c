/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that refers to a cluster (qcow2: Host cluster management):
 *
 *   header 1    L1, refcount table and blocks, snapshot table 1 each
 *   L2 tables   one for each state (present or snapshot) whose L1 names them
 *   data        one for each state and L2 entry; of compressed clusters one
 *               for each cluster that their sectors touch
 *   LUKS header 1; bitmap directory, tables and bitmaps 1 each, when the
 *               autoclear bit says that they are in order
 *
 * With an external data file data is not counted.
 */
#include "qcow2_refcount.h"

#include <inttypes.h>

#include "cleanup.h"
#include "fail.h"

/* A pointer that open or extent_at would refuse, of a state that they do not
 * look at, is ours to report; of the others it is reported by the engine. */
static int take_broken(struct qcow2_counting *counting, bool is_read,
                       int result, const struct ds_error *broken,
                       struct ds_error *err)
{
    if (result != -DS_ERR_CORRUPT && result != -DS_ERR_UNSUPPORTED) {
        if (err != NULL)
            *err = *broken;
        return result;
    }
    counting->broken = true;
    if (is_read || !counting->first_window)
        return 0;
    return qcow2_report(counting, false, broken->offset_bytes, broken->message,
                        err);
}

/* One state: an L1 table and what hangs on it. */
struct state {
    uint64_t l1_offset_bytes;
    uint64_t l1_entry_count;
    uint64_t size_bytes;    /* of the guest's disk */
    bool is_read;           /* the engine walks it too */
    qcow2_copied_fn *visit; /* instead of counting */
};

static uint64_t be64_at(const uint8_t *bytes)
{
    ds_be64 wire;

    memcpy(&wire, bytes, sizeof(wire));
    return ds_be64_get(wire);
}

static int take_entry(struct qcow2_counting *counting,
                      const struct state *state, const struct qcow2_l2_raw *raw,
                      struct ds_error *err)
{
    const struct qcow2_shape *shape = &counting->image->shape;
    struct ds_error broken = DS_ERROR_INIT;
    struct qcow2_l2_entry entry;
    int result = qcow2_l2_entry_check(shape, raw, &entry, &broken);

    if (result != 0)
        return take_broken(counting, state->is_read, result, &broken, err);
    if (shape->external)
        return 0;
    if (entry.kind == QCOW2_CLUSTER_COMPRESSED) {
        if (state->visit != NULL)
            return state->visit(counting, "compressed cluster", raw->descriptor,
                                raw->at_bytes, 0, err);
        qcow2_count_range(counting, entry.host_offset_bytes,
                          entry.stored_bytes);
        return 0;
    }
    if (entry.host_offset_bytes == 0)
        return 0;
    if (state->visit != NULL)
        return state->visit(counting, "data cluster", raw->descriptor,
                            raw->at_bytes, entry.host_offset_bytes, err);
    qcow2_count_range(counting, entry.host_offset_bytes, 1);
    return 0;
}

/* Clusters behind the disk's end hold a machine's state, or are left over;
 * they are whole. */
static uint64_t visible(const struct state *state, uint64_t guest_bytes,
                        uint64_t cluster_bytes)
{
    if (guest_bytes >= state->size_bytes)
        return 1;
    return ds_min_u64(cluster_bytes, state->size_bytes - guest_bytes);
}

static int walk_l2(struct qcow2_counting *counting, const struct state *state,
                   uint64_t l1_index, uint64_t table_bytes,
                   struct ds_error *err)
{
    const struct qcow2_shape *shape = &counting->image->shape;
    const unsigned entry_bytes = qcow2_l2_entry_bytes(shape);
    struct qcow2_l2_raw raw = { .guest_offset_bytes =
                                    l1_index << qcow2_l1_shift(shape) };
    uint64_t at = table_bytes;
    const uint64_t end = table_bytes + shape->cluster_bytes;
    int result = 0;

    while (result == 0 && at < end) {
        const uint8_t *bytes;
        size_t available;

        result = ds_window_view(&counting->l2, counting->image->base.files[0],
                                at, entry_bytes, (size_t)(end - at), &bytes,
                                &available, err);
        for (size_t i = 0; result == 0 && i < available; i += entry_bytes) {
            raw.descriptor = be64_at(bytes + i);
            raw.subclusters = entry_bytes == 16 ? be64_at(bytes + i + 8) : 0;
            raw.at_bytes = at + i;
            raw.visible_bytes =
                visible(state, raw.guest_offset_bytes, shape->cluster_bytes);
            if (raw.descriptor != 0 || raw.subclusters != 0)
                result = take_entry(counting, state, &raw, err);
            raw.guest_offset_bytes += shape->cluster_bytes;
        }
        if (result == 0)
            at += available;
    }
    return result;
}

static int take_l1_entry(struct qcow2_counting *counting,
                         const struct state *state, uint64_t index,
                         uint64_t raw, uint64_t at_bytes, struct ds_error *err)
{
    const struct qcow2_shape *shape = &counting->image->shape;
    struct ds_error broken = DS_ERROR_INIT;
    uint64_t table;
    int result = qcow2_l1_entry_check(shape, raw, at_bytes, &table, &broken);

    if (result != 0)
        return take_broken(counting, state->is_read, result, &broken, err);
    if (table == 0)
        return 0;
    if (state->visit != NULL)
        result = state->visit(counting, "l2 table", raw, at_bytes, table, err);
    else
        qcow2_count_range(counting, table, shape->cluster_bytes);
    return result != 0 ? result : walk_l2(counting, state, index, table, err);
}

/* No state names more L2 tables than the file has clusters: a table that is
 * named again and again would keep us busy for ever. */
static int walk_state(struct qcow2_counting *counting,
                      const struct state *state, struct ds_error *err)
{
    uint64_t index = 0, table_count = 0;
    int result = 0;

    if (state->visit == NULL)
        qcow2_count_range(counting, state->l1_offset_bytes,
                          state->l1_entry_count * 8);
    while (result == 0 && index < state->l1_entry_count) {
        uint64_t at = state->l1_offset_bytes + index * 8;
        const uint8_t *bytes;
        size_t available;

        result =
            ds_window_view(&counting->l1, counting->image->base.files[0], at, 8,
                           (size_t)(state->l1_entry_count - index) * 8, &bytes,
                           &available, err);
        for (size_t i = 0; result == 0 && i < available; i += 8, index++) {
            uint64_t raw = be64_at(bytes + i);

            if (raw == 0)
                continue;
            if (++table_count > counting->file_clusters)
                return ds_fail_at(err, counting->image->base.files[0], at + i,
                                  DS_ERR_CORRUPT,
                                  "qcow2: l1 table, have more l2 tables than "
                                  "the file's %" PRIu64 " clusters",
                                  counting->file_clusters);
            result = take_l1_entry(counting, state, index, raw, at + i, err);
        }
    }
    return result;
}

static struct state active_state(const struct qcow2_image *image)
{
    return (struct state){
        .l1_offset_bytes = image->header.l1_offset_bytes,
        .l1_entry_count = image->header.l1_entry_count,
        .size_bytes = image->header.size_bytes,
        .is_read = image->snapshot_id == NULL,
    };
}

int qcow2_visit_active(struct qcow2_counting *counting, qcow2_copied_fn *visit,
                       struct ds_error *err)
{
    struct state state = active_state(counting->image);

    state.visit = visit;
    return walk_state(counting, &state, err);
}

static int walk_snapshots(struct qcow2_counting *counting, struct ds_error *err)
{
    struct qcow2_image *image = counting->image;
    const uint64_t begin = image->header.snapshots_offset_bytes;
    ds_auto(qcow2_snapshot_walk_end) struct qcow2_snapshot_walk walk;
    struct ds_error broken = DS_ERROR_INIT;
    int result;

    qcow2_snapshot_walk_begin(&walk, image);
    while ((result = qcow2_snapshot_next(&walk, &broken)) == 1) {
        const struct state state = {
            .l1_offset_bytes = walk.snapshot.l1_offset_bytes,
            .l1_entry_count = walk.snapshot.l1_entry_count,
            .size_bytes = walk.snapshot.size_bytes,
            .is_read = image->l1_offset_bytes == walk.snapshot.l1_offset_bytes,
        };

        result = walk_state(counting, &state, err);
        if (result != 0)
            return result;
    }
    if (result != 0)
        return take_broken(counting, false, result, &broken, err);
    qcow2_count_range(counting, begin, walk.next_bytes - begin);
    return 0;
}

/* -- the refcounts' own, bitmaps, LUKS ------------------------------------- */

static int walk_refcount_table(struct qcow2_counting *counting,
                               struct ds_error *err)
{
    const struct qcow2_image *image = counting->image;
    uint64_t at = image->header.refcount_table_offset_bytes;
    const uint64_t length =
        image->header.refcount_table_clusters * image->shape.cluster_bytes;
    const uint64_t end = at + length;
    uint64_t offset;
    int result = 0;

    qcow2_count_range(counting, at, length);
    while (result == 0 && at < end) {
        const uint8_t *bytes;
        size_t available;

        result = ds_window_view(&counting->l1, image->base.files[0], at, 8,
                                (size_t)(end - at), &bytes, &available, err);
        for (size_t i = 0; result == 0 && i < available; i += 8) {
            struct ds_error broken = DS_ERROR_INIT;

            result = qcow2_refcount_entry_check(
                &image->shape, be64_at(bytes + i), at + i, &offset, &broken);
            if (result != 0)
                result = take_broken(counting, false, result, &broken, err);
            else if (offset != 0)
                qcow2_count_range(counting, offset, image->shape.cluster_bytes);
        }
        if (result == 0)
            at += available;
    }
    return result;
}

static int count_bitmap(void *user, const char *what, uint64_t offset_bytes,
                        uint64_t length_bytes, struct ds_error *err)
{
    (void)what;
    (void)err;
    qcow2_count_range(user, offset_bytes, length_bytes);
    return 0;
}

static int walk_bitmaps(struct qcow2_counting *counting, struct ds_error *err)
{
    struct ds_error broken = DS_ERROR_INIT;
    int result =
        qcow2_visit_bitmaps(counting->image, count_bitmap, counting, &broken);

    return result == 0 ? 0 : take_broken(counting, false, result, &broken, err);
}

int qcow2_count_references(struct qcow2_counting *counting,
                           struct ds_error *err)
{
    struct qcow2_image *image = counting->image;
    const struct state active = active_state(image);
    int result;

    qcow2_count_range(counting, 0, image->shape.cluster_bytes);
    result = walk_state(counting, &active, err);
    if (result == 0)
        result = walk_snapshots(counting, err);
    if (result == 0)
        result = walk_refcount_table(counting, err);
    if (result == 0)
        result = walk_bitmaps(counting, err);
    if (result == 0 && image->luks != NULL)
        qcow2_count_range(counting, image->luks_offset_bytes,
                          image->luks_bytes);
    return result;
}
