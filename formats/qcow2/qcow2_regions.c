/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Naming the ranges that hold qcow2's own records, so that the engine can
 * find data pointers that lead into them.
 *
 * L2 tables and data clusters may be shared by the active state and any
 * number of snapshots (refcount above one), and that is no overlap. So of
 * snapshots only what nobody shares is named: the snapshot table and each
 * snapshot's L1 table. Dirty bitmaps are not named: without their autoclear
 * bit their directory may be stale.
 */
#include "qcow2.h"

#include <inttypes.h>

#include "cleanup.h"
#include "fail.h"

struct namer {
    struct qcow2_image *image;
    ds_region_fn *region;
    void *user;
};

/* Tables own their clusters to the end, though the file may end earlier. */
static int name(const struct namer *namer, const char *what, uint64_t offset,
                uint64_t length, struct ds_error *err)
{
    const struct qcow2_shape *shape = &namer->image->shape;
    struct ds_region region = { .offset_bytes = offset, .name = what };

    length = ds_align_up(length, shape->cluster_bytes);
    region.length_bytes = ds_min_u64(length, shape->file_bytes - offset);
    return namer->region(namer->user, &region, err);
}

static int name_l2_tables(const struct namer *namer, struct ds_error *err)
{
    const struct qcow2_image *image = namer->image;

    for (size_t i = 0; i < image->header.l1_entry_count; i++) {
        int result;

        if (image->l2_offsets_bytes[i] == 0)
            continue;
        result = name(namer, "l2 table", image->l2_offsets_bytes[i],
                      image->shape.cluster_bytes, err);
        if (result != 0)
            return result;
    }
    return 0;
}

/* One entry of the refcount table; most point nowhere. */
static int name_refcount_block(const struct namer *namer, uint64_t raw,
                               uint64_t at_bytes, struct ds_error *err)
{
    const struct qcow2_shape *shape = &namer->image->shape;
    uint64_t offset;
    int result;

    if (raw == 0)
        return 0;
    result = qcow2_refcount_entry_check(shape, raw, at_bytes, &offset, err);
    if (result != 0)
        return result;
    return name(namer, "refcount block", offset, shape->cluster_bytes, err);
}

static int name_refcounts(const struct namer *namer, struct ds_error *err)
{
    const struct qcow2_header *header = &namer->image->header;
    ds_auto(ds_window_free) struct ds_window window = { 0 };
    uint64_t at = header->refcount_table_offset_bytes;
    uint64_t length =
        header->refcount_table_clusters * namer->image->shape.cluster_bytes;
    const uint64_t end = at + length;
    const uint8_t *bytes;
    size_t available;
    int result = name(namer, "refcount table", at, length, err);

    while (result == 0 && at < end) {
        result = ds_window_view(&window, namer->image->base.files[0], at,
                                sizeof(ds_be64), (size_t)(end - at), &bytes,
                                &available, err);
        for (size_t i = 0; result == 0 && i < available; i += sizeof(ds_be64)) {
            ds_be64 entry;

            memcpy(&entry, bytes + i, sizeof(entry));
            result =
                name_refcount_block(namer, ds_be64_get(entry), at + i, err);
        }
        if (result == 0)
            at += available;
    }
    return result;
}

/* The fixed part of an entry, then the whole of it, must lie in the file. */
static int check_room(const struct qcow2_shape *shape, uint64_t at,
                      uint64_t length, struct ds_error *err)
{
    if (ds_range_fits(at, length, shape->file_bytes))
        return 0;
    return ds_fail_at(
        err, shape->file, at, DS_ERR_CORRUPT,
        "qcow2: snapshot: entry, have %" PRIu64 " bytes at 0x%" PRIx64
        " expect them inside the file of %" PRIu64 " bytes: truncated?",
        length, at, shape->file_bytes);
}

static int read_snapshot(struct qcow2_image *image, struct ds_window *window,
                         uint64_t at, struct qcow2_snapshot *out,
                         struct ds_error *err)
{
    const struct qcow2_shape *shape = &image->shape;
    struct qcow2_snapshot_disk wire;
    const uint8_t *bytes;
    size_t available;
    int result = check_room(shape, at, sizeof(wire), err);

    if (result == 0)
        result = ds_window_view(window, image->base.files[0], at, sizeof(wire),
                                sizeof(wire), &bytes, &available, err);
    if (result != 0)
        return result;
    memcpy(&wire, bytes, sizeof(wire));
    qcow2_snapshot_decode(&wire, out);
    if (out->l1_entry_count > QCOW2_L1_ENTRY_COUNT_MAX)
        return ds_fail_at(err, shape->file, at, DS_ERR_LIMIT,
                          "qcow2: snapshot: l1_size, have %" PRIu64
                          " entries expect at most %" PRIu64,
                          out->l1_entry_count, QCOW2_L1_ENTRY_COUNT_MAX);
    return check_room(shape, at, out->entry_bytes, err);
}

static int name_snapshots(const struct namer *namer, struct ds_error *err)
{
    struct qcow2_image *image = namer->image;
    const uint64_t begin = image->header.snapshots_offset_bytes;
    ds_auto(ds_window_free) struct ds_window window = { 0 };
    uint64_t at = begin;

    for (uint32_t i = 0; i < image->header.snapshot_count; i++) {
        struct qcow2_snapshot snapshot;
        struct qcow2_pointer l1 = { .name = "snapshot: l1_table_offset",
                                    .at_bytes = at };
        int result = read_snapshot(image, &window, at, &snapshot, err);

        if (result != 0)
            return result;
        at += ds_align_up(snapshot.entry_bytes, 8);
        if (snapshot.l1_entry_count == 0)
            continue;
        l1.offset_bytes = snapshot.l1_offset_bytes;
        l1.length_bytes = snapshot.l1_entry_count * 8;
        result = qcow2_table_check(&image->shape, &l1, err);
        if (result == 0)
            result = name(namer, "snapshot l1 table", l1.offset_bytes,
                          l1.length_bytes, err);
        if (result != 0)
            return result;
    }
    return at == begin ? 0
                       : name(namer, "snapshot table", begin, at - begin, err);
}

int qcow2_regions(struct ds_image *base, ds_region_fn *region, void *user,
                  struct ds_error *err)
{
    struct qcow2_image *image = (struct qcow2_image *)base;
    const struct qcow2_header *header = &image->header;
    const struct namer namer = { image, region, user };
    int result = name(&namer, "header", 0, image->shape.cluster_bytes, err);

    if (result == 0 && header->l1_entry_count != 0)
        result = name(&namer, "l1 table", header->l1_offset_bytes,
                      (uint64_t)header->l1_entry_count * 8, err);
    if (result == 0)
        result = name_l2_tables(&namer, err);
    if (result == 0)
        result = name_refcounts(&namer, err);
    if (result == 0)
        result = name_snapshots(&namer, err);
    return result;
}
