/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal snapshots: a table of records of varying length,
 *
 *   | fixed part | extra data | id | name | padding to 8 |
 *
 * each with an L1 table of its own. Opening one means to follow that table
 * instead of the active one, for a disk of the size that it had then.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cleanup.h"
#include "fail.h"
#include "qcow2.h"

void qcow2_snapshot_walk_begin(struct qcow2_snapshot_walk *walk,
                               struct qcow2_image *image)
{
    *walk = (struct qcow2_snapshot_walk){
        .image = image, .next_bytes = image->header.snapshots_offset_bytes
    };
}

void qcow2_snapshot_walk_end(struct qcow2_snapshot_walk *walk)
{
    ds_window_free(&walk->window);
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

static int check_l1(const struct qcow2_shape *shape,
                    const struct qcow2_snapshot *snapshot, uint64_t at,
                    struct ds_error *err)
{
    const struct qcow2_pointer l1 = { "snapshot: l1_table_offset", at,
                                      snapshot->l1_offset_bytes,
                                      snapshot->l1_entry_count * 8 };

    if (snapshot->l1_entry_count > QCOW2_L1_ENTRY_COUNT_MAX)
        return ds_fail_at(err, shape->file, at, DS_ERR_LIMIT,
                          "qcow2: snapshot: l1_size, have %" PRIu64
                          " entries expect at most %" PRIu64,
                          snapshot->l1_entry_count, QCOW2_L1_ENTRY_COUNT_MAX);
    if (snapshot->l1_entry_count == 0)
        return 0;
    return qcow2_table_check(shape, &l1, err);
}

/* Of the extra data only the disk's size matters; old records lack it. */
static int read_extra(struct qcow2_snapshot_walk *walk, struct ds_error *err)
{
    struct qcow2_snapshot *snapshot = &walk->snapshot;
    struct qcow2_snapshot_extra_disk wire;
    const size_t length = offsetof(struct qcow2_snapshot_extra_disk, icount);
    const uint8_t *bytes;
    size_t available;
    int result;

    if (snapshot->extra_bytes < length)
        return 0;
    result = ds_window_view(&walk->window, walk->image->base.files[0],
                            walk->at_bytes + sizeof(struct qcow2_snapshot_disk),
                            length, length, &bytes, &available, err);
    if (result != 0)
        return result;
    memcpy(&wire, bytes, length);
    snapshot->has_size = true;
    snapshot->size_bytes = ds_be64_get(wire.disk_size);
    return 0;
}

int qcow2_snapshot_next(struct qcow2_snapshot_walk *walk, struct ds_error *err)
{
    struct qcow2_image *image = walk->image;
    const struct qcow2_shape *shape = &image->shape;
    struct qcow2_snapshot_disk wire;
    const uint64_t at = walk->next_bytes;
    const uint8_t *bytes;
    size_t available;
    int result;

    if (walk->index == image->header.snapshot_count)
        return 0;
    result = check_room(shape, at, sizeof(wire), err);
    if (result == 0)
        result =
            ds_window_view(&walk->window, image->base.files[0], at,
                           sizeof(wire), sizeof(wire), &bytes, &available, err);
    if (result != 0)
        return result;
    memcpy(&wire, bytes, sizeof(wire));
    qcow2_snapshot_decode(&wire, &walk->snapshot);
    walk->at_bytes = at;
    walk->snapshot.size_bytes = image->header.size_bytes;
    result = check_l1(shape, &walk->snapshot, at, err);
    if (result == 0)
        result = check_room(shape, at, walk->snapshot.entry_bytes, err);
    if (result == 0)
        result = read_extra(walk, err);
    walk->next_bytes = at + ds_align_up(walk->snapshot.entry_bytes, 8);
    walk->index++;
    return result == 0 ? 1 : result;
}

/* The record's id and name, as texts of their own. */
static int read_texts(struct qcow2_snapshot_walk *walk, char **id, char **name,
                      struct ds_error *err)
{
    const struct qcow2_snapshot *snapshot = &walk->snapshot;
    struct ds_file *file = walk->image->base.files[0];
    const uint64_t at = walk->at_bytes + sizeof(struct qcow2_snapshot_disk) +
                        snapshot->extra_bytes;
    ds_autofree char *first = calloc(1, (size_t)snapshot->id_bytes + 1);
    ds_autofree char *second = calloc(1, (size_t)snapshot->name_bytes + 1);
    int result;

    if (first == NULL || second == NULL)
        return ds_fail_memory(err);
    result = ds_file_read(file, at, first, snapshot->id_bytes, err);
    if (result == 0)
        result = ds_file_read(file, at + snapshot->id_bytes, second,
                              snapshot->name_bytes, err);
    if (result != 0)
        return result;
    *id = ds_steal(&first);
    *name = ds_steal(&second);
    return 0;
}

int qcow2_snapshots(struct ds_image *base, ds_snapshot_fn *fn, void *user,
                    struct ds_error *err)
{
    ds_auto(qcow2_snapshot_walk_end) struct qcow2_snapshot_walk walk;
    int result;

    qcow2_snapshot_walk_begin(&walk, (struct qcow2_image *)base);
    while ((result = qcow2_snapshot_next(&walk, err)) == 1) {
        ds_autofree char *id = NULL;
        ds_autofree char *name = NULL;
        struct ds_snapshot snapshot = {
            .created_seconds = walk.snapshot.created_seconds,
            .size_bytes = walk.snapshot.size_bytes,
        };

        result = read_texts(&walk, &id, &name, err);
        if (result != 0)
            return result;
        snapshot.id = id;
        snapshot.name = name;
        result = fn(user, &snapshot, err);
        if (result != 0)
            return result;
    }
    return result;
}

/* -- opening one ----------------------------------------------------------- */

struct choice {
    struct qcow2_snapshot snapshot;
    uint64_t at_bytes;
    char *id; /* owned */
    unsigned name_count;
    bool by_id;
};

static void take(struct choice *choice, const struct qcow2_snapshot_walk *walk,
                 char **id)
{
    choice->snapshot = walk->snapshot;
    choice->at_bytes = walk->at_bytes;
    free(choice->id);
    choice->id = ds_steal(id);
}

/* An id goes before a name; of several equal names none is meant. */
static int find(struct qcow2_image *image, const char *wanted,
                struct choice *choice, struct ds_error *err)
{
    ds_auto(qcow2_snapshot_walk_end) struct qcow2_snapshot_walk walk;
    int result;

    qcow2_snapshot_walk_begin(&walk, image);
    while (!choice->by_id && (result = qcow2_snapshot_next(&walk, err)) != 0) {
        ds_autofree char *id = NULL;
        ds_autofree char *name = NULL;

        if (result == 1)
            result = read_texts(&walk, &id, &name, err);
        if (result != 0)
            return result;
        if (strcmp(id, wanted) == 0) {
            choice->by_id = true;
            take(choice, &walk, &id);
        } else if (strcmp(name, wanted) == 0) {
            choice->name_count++;
            take(choice, &walk, &id);
        }
    }
    if (choice->by_id || choice->name_count == 1)
        return 0;
    return ds_fail_at(err, image->base.files[0],
                      image->header.snapshots_offset_bytes, DS_ERR_ARG,
                      "qcow2: snapshot '%s', have %u of this name expect 1",
                      wanted, choice->name_count);
}

static int check_choice(const struct qcow2_image *image,
                        const struct choice *choice, struct ds_error *err)
{
    const struct qcow2_snapshot *snapshot = &choice->snapshot;
    const struct ds_file *file = image->base.files[0];
    uint64_t need =
        qcow2_l1_entry_count_of(&image->header, snapshot->size_bytes);

    if (image->shape.external)
        return ds_fail_at(err, file, choice->at_bytes, DS_ERR_UNSUPPORTED,
                          "qcow2: snapshot: internal snapshots beside an "
                          "external data file are not supported");
    if (snapshot->size_bytes % DS_SECTOR_BYTES != 0)
        return ds_fail_at(err, file, choice->at_bytes, DS_ERR_UNSUPPORTED,
                          "qcow2: snapshot: disk size, have %" PRIu64
                          " expect a multiple of %u",
                          snapshot->size_bytes, DS_SECTOR_BYTES);
    if (need > QCOW2_L1_ENTRY_COUNT_MAX)
        return ds_fail_at(err, file, choice->at_bytes, DS_ERR_LIMIT,
                          "qcow2: snapshot: disk size, have %" PRIu64
                          " bytes expect at most %" PRIu64 " l1 entries",
                          snapshot->size_bytes, QCOW2_L1_ENTRY_COUNT_MAX);
    if (snapshot->has_size && snapshot->l1_entry_count < need)
        return ds_fail_at(err, file, choice->at_bytes, DS_ERR_CORRUPT,
                          "qcow2: snapshot: l1_size, have %" PRIu64
                          " expect at least %" PRIu64 " for a disk of %" PRIu64
                          " bytes",
                          snapshot->l1_entry_count, need, snapshot->size_bytes);
    return 0;
}

int qcow2_snapshot_select(struct qcow2_image *image, const char *wanted,
                          struct ds_error *err)
{
    struct choice choice = { .id = NULL };
    int result = find(image, wanted, &choice, err);

    if (result == 0)
        result = check_choice(image, &choice, err);
    if (result != 0) {
        free(choice.id);
        return result;
    }
    image->snapshot_id = choice.id;
    image->base.size_bytes = choice.snapshot.size_bytes;
    image->l1_entry_count = choice.snapshot.l1_entry_count;
    image->l1_offset_bytes = choice.snapshot.l1_offset_bytes;
    return 0;
}
