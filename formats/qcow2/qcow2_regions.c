/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Naming the ranges that hold qcow2's own records, so that the engine can
 * find data pointers that lead into them.
 *
 * L2 tables and data clusters may be shared by the active state and any
 * number of snapshots (refcount above one), and that is no overlap. So of
 * the states that are not read only what nobody shares is named: the snapshot
 * table and the L1 tables.
 */
#include "qcow2.h"

#include "cleanup.h"

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

    for (size_t i = 0; i < image->l1_entry_count; i++) {
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

static bool is_told(const struct namer *namer, int result)
{
    return result == -DS_ERR_CORRUPT && namer->image->broken_told;
}

/* One entry of the refcount table that is not 0. */
static int name_refcount_block(const struct namer *namer, uint64_t raw,
                               uint64_t at_bytes, struct ds_error *err)
{
    const struct qcow2_shape *shape = &namer->image->shape;
    uint64_t offset;
    int result = qcow2_refcount_entry_check(shape, raw, at_bytes, &offset, err);

    if (is_told(namer, result))
        return 0;
    if (result != 0)
        return result;
    return name(namer, "refcount block", offset, shape->cluster_bytes, err);
}

/* A part of the table. Most of it points nowhere. */
static int name_refcount_blocks(const struct namer *namer, const uint8_t *bytes,
                                size_t length, uint64_t at_bytes,
                                struct ds_error *err)
{
    for (size_t i = 0; i < length; i += sizeof(ds_be64)) {
        ds_be64 entry;
        int result;

        memcpy(&entry, bytes + i, sizeof(entry));
        if (ds_be64_get(entry) == 0)
            continue;
        result =
            name_refcount_block(namer, ds_be64_get(entry), at_bytes + i, err);
        if (result != 0)
            return result;
    }
    return 0;
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
        if (result == 0)
            result = name_refcount_blocks(namer, bytes, available, at, err);
        if (result == 0)
            at += available;
    }
    return result;
}

static int name_snapshots(const struct namer *namer, struct ds_error *err)
{
    struct qcow2_image *image = namer->image;
    const uint64_t begin = image->header.snapshots_offset_bytes;
    ds_auto(qcow2_snapshot_walk_end) struct qcow2_snapshot_walk walk;
    int result;

    qcow2_snapshot_walk_begin(&walk, image);
    while ((result = qcow2_snapshot_next(&walk, err)) == 1) {
        if (walk.snapshot.l1_entry_count != 0)
            result =
                name(namer, "snapshot l1 table", walk.snapshot.l1_offset_bytes,
                     walk.snapshot.l1_entry_count * 8, err);
        if (result < 0)
            return result;
    }
    if (is_told(namer, result))
        return 0;
    if (result != 0 || walk.next_bytes == begin)
        return result;
    return name(namer, "snapshot table", begin, walk.next_bytes - begin, err);
}

static int name_bitmap(void *user, const char *what, uint64_t offset_bytes,
                       uint64_t length_bytes, struct ds_error *err)
{
    return name(user, what, offset_bytes, length_bytes, err);
}

static int name_bitmaps(struct namer *namer, struct ds_error *err)
{
    int result = qcow2_visit_bitmaps(namer->image, name_bitmap, namer, err);

    return is_told(namer, result) ? 0 : result;
}

int qcow2_regions(struct ds_image *base, ds_region_fn *region, void *user,
                  struct ds_error *err)
{
    struct qcow2_image *image = (struct qcow2_image *)base;
    const struct qcow2_header *header = &image->header;
    struct namer namer = { image, region, user };
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
    if (result == 0)
        result = name_bitmaps(&namer, err);
    if (result == 0 && image->luks != NULL)
        result = name(&namer, "luks header", image->luks_offset_bytes,
                      image->luks_bytes, err);
    return result;
}
