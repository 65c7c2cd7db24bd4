/* SPDX-License-Identifier: Apache-2.0 */
/* For the qcow2 tests: files in memory, a planner of few words that drives
 * the target's ops, and a walk over all that a reader offers. */
#ifndef DS_TEST_QCOW2_FIXTURE_H
#define DS_TEST_QCOW2_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arith.h"
#include "fail.h"
#include "qcow2/qcow2.h"

#define FIXTURE_BYTES_MAX ((size_t)64 * 1024 * 1024)

/* -- a file in memory ------------------------------------------------------ */

struct memory_file {
    struct ds_file base;
    uint8_t *bytes;
    unsigned reads_until_failure; /* 0: never */
};

static inline int memory_read(struct ds_file *base, uint64_t offset_bytes,
                              void *buffer, size_t length_bytes,
                              struct ds_error *err)
{
    struct memory_file *file = (struct memory_file *)base;

    if (file->reads_until_failure != 0 && --file->reads_until_failure == 0)
        return ds_fail(err, DS_ERR_SYSTEM, "memory: read failed as asked");
    if (!ds_range_fits(offset_bytes, length_bytes, base->size_bytes))
        return ds_fail(err, DS_ERR_CORRUPT, "memory: read past the end");
    memcpy(buffer, file->bytes + offset_bytes, length_bytes);
    return 0;
}

static const struct ds_store_ops memory_store = { .name = "memory",
                                                  .read = memory_read };

static char memory_path[] = "memory.qcow2";

static inline void memory_init(struct memory_file *file, size_t size_bytes)
{
    assert_true(size_bytes <= FIXTURE_BYTES_MAX);
    *file = (struct memory_file){
        .base = { .store = &memory_store,
                  .path = memory_path,
                  .size_bytes = size_bytes },
        .bytes = calloc(1, size_bytes + 1),
    };
    assert_non_null(file->bytes);
}

static inline void memory_free(struct memory_file *file)
{
    free(file->bytes);
    file->bytes = NULL;
}

static inline struct memory_file memory_copy(const struct memory_file *from)
{
    struct memory_file copy;

    memory_init(&copy, from->base.size_bytes);
    memcpy(copy.bytes, from->bytes, from->base.size_bytes);
    return copy;
}

/* Big-endian numbers anywhere in the file. */
static inline void poke(struct memory_file *file, uint64_t offset,
                        unsigned width, uint64_t value)
{
    assert_true(ds_range_fits(offset, width, file->base.size_bytes));
    for (unsigned i = 0; i < width; i++)
        file->bytes[offset + i] = (uint8_t)(value >> 8 * (width - 1 - i));
}

static inline uint64_t peek(const struct memory_file *file, uint64_t offset,
                            unsigned width)
{
    uint64_t value = 0;

    assert_true(ds_range_fits(offset, width, file->base.size_bytes));
    for (unsigned i = 0; i < width; i++)
        value = value << 8 | file->bytes[offset + i];
    return value;
}

/* -- an emitter into such a file ------------------------------------------- */

struct memory_emitter {
    struct ds_emitter base;
    struct memory_file *file; /* NULL: count only */
    uint64_t written_bytes;
    unsigned writes_until_failure; /* 0: never */
};

static inline int memory_write(struct ds_emitter *base, uint32_t target_index,
                               uint64_t offset_bytes, const void *bytes,
                               size_t length_bytes, struct ds_error *err)
{
    struct memory_emitter *emitter = (struct memory_emitter *)base;

    assert_int_equal(target_index, 0);
    if (emitter->writes_until_failure != 0 &&
        --emitter->writes_until_failure == 0)
        return ds_fail(err, DS_ERR_CANCELLED, "memory: write failed as asked");
    emitter->written_bytes += length_bytes;
    if (emitter->file == NULL)
        return 0;
    assert_true(ds_range_fits(offset_bytes, length_bytes,
                              emitter->file->base.size_bytes));
    memcpy(emitter->file->bytes + offset_bytes, bytes, length_bytes);
    return 0;
}

/* -- a planner ------------------------------------------------------------- */

#define LAYOUT_RUN_COUNT_MAX 512u

/* Runs whose file_offset_bytes is 0 are placed behind the tables in turn;
 * the others stay where they say, in rising file order, below area_start. */
struct layout {
    const char *options[4];
    size_t option_count;
    uint64_t size_bytes;
    uint64_t area_start_bytes; /* 0: right behind the head */
    struct ds_unit_run runs[LAYOUT_RUN_COUNT_MAX];
    size_t run_count;

    struct ds_target *target; /* set by layout_seal */
    struct ds_seal seal;
    uint64_t data_bytes;
};

static inline void layout_seal(struct layout *layout)
{
    struct ds_target_request request = {
        .path = memory_path,
        .options = layout->options,
        .option_count = layout->option_count,
        .size_bytes = layout->size_bytes,
    };
    struct ds_footprint footprint = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    uint64_t unit, at;

    assert_int_equal(
        qcow2_format_ops.target_open(&request, &layout->target, &err), 0);
    unit = layout->target->layout.unit_bytes;
    if (layout->area_start_bytes == 0)
        layout->area_start_bytes = layout->target->layout.head_bytes;
    for (size_t i = 0; i < layout->run_count; i++) {
        assert_int_equal(qcow2_format_ops.target_count(layout->target,
                                                       &layout->runs[i], &err),
                         0);
        footprint.unit_count += layout->runs[i].unit_count;
        if (layout->runs[i].file_offset_bytes == 0)
            layout->data_bytes += layout->runs[i].unit_count * unit;
    }
    footprint.area_start_bytes = layout->area_start_bytes;
    footprint.relocated_bytes = layout->data_bytes;
    assert_int_equal(qcow2_format_ops.target_seal(layout->target, &footprint,
                                                  &layout->seal, &err),
                     0);
    at = layout->seal.data_start_bytes;
    for (size_t i = 0; i < layout->run_count; i++)
        if (layout->runs[i].file_offset_bytes == 0) {
            layout->runs[i].file_offset_bytes = at;
            at += layout->runs[i].unit_count * unit;
        }
}

/* The second pass; stops at the first error. */
static inline int layout_emit(struct layout *layout, struct ds_emitter *emitter,
                              struct ds_error *err)
{
    struct ds_target *target = layout->target;
    const uint64_t unit = target->layout.unit_bytes;
    const struct ds_format_ops *ops = &qcow2_format_ops;
    int result = 0;

    for (size_t i = 0; result == 0 && i < layout->run_count; i++)
        result = ops->target_place(target, &layout->runs[i], emitter, err);
    if (result == 0)
        result = ops->target_used(target, 0, target->layout.head_bytes, emitter,
                                  err);
    for (size_t i = 0; result == 0 && i < layout->run_count; i++)
        if (layout->runs[i].file_offset_bytes < layout->area_start_bytes)
            result = ops->target_used(target, layout->runs[i].file_offset_bytes,
                                      layout->runs[i].unit_count * unit,
                                      emitter, err);
    if (result == 0)
        result = ops->target_used(target, layout->area_start_bytes,
                                  layout->seal.metadata_bytes, emitter, err);
    if (result == 0 && layout->data_bytes != 0)
        result = ops->target_used(target, layout->seal.data_start_bytes,
                                  layout->data_bytes, emitter, err);
    return result == 0 ? ops->target_finish(target, emitter, err) : result;
}

static inline void layout_write(struct layout *layout, struct memory_file *file)
{
    struct memory_emitter emitter = { .base = { .write = memory_write },
                                      .file = file };
    struct ds_error err = DS_ERROR_INIT;

    layout_seal(layout);
    memory_init(file, (size_t)layout->seal.file_size_bytes[0]);
    assert_int_equal(layout_emit(layout, &emitter.base, &err), 0);
}

static inline void layout_close(struct layout *layout)
{
    if (layout->target != NULL)
        qcow2_format_ops.target_close(layout->target);
    layout->target = NULL;
}

/* -- reading --------------------------------------------------------------- */

static inline int open_image(struct memory_file *file, struct ds_image **out,
                             struct ds_error *err)
{
    struct ds_open_context references = { .no_refs = true };

    return qcow2_format_ops.open(&file->base, &references, out, err);
}

static inline int ignore_region(void *user, const struct ds_region *region,
                                struct ds_error *err)
{
    const struct memory_file *file = user;

    (void)err;
    assert_non_null(region->name);
    assert_true(ds_range_fits(region->offset_bytes, region->length_bytes,
                              file->base.size_bytes));
    return 0;
}

static inline void ignore_fact(void *user, const struct ds_fact *fact)
{
    (void)user;
    assert_non_null(fact->key);
}

#define EXTENT_COUNT_MAX 1024u

struct extents {
    struct ds_extent extent[EXTENT_COUNT_MAX];
    size_t count;
};

/* Walk the map, joining what continues; extents beyond the maximum are
 * checked and dropped. */
static inline int walk_map(struct ds_image *image, struct extents *out,
                           struct ds_error *err)
{
    struct ds_cursor cursor = { 0 };
    uint64_t guest = 0;
    int result = 0;

    out->count = 0;
    while (result == 0 && guest < image->size_bytes) {
        struct ds_extent extent, *last;

        result =
            qcow2_format_ops.extent_at(image, &cursor, guest, &extent, err);
        if (result != 0)
            break;
        assert_int_equal(extent.guest_offset_bytes, guest);
        assert_true(extent.length_bytes > 0);
        assert_true(
            ds_range_fits(guest, extent.length_bytes, image->size_bytes));
        if (extent.kind == DS_EXTENT_DATA)
            assert_true(ds_range_fits(extent.file_offset_bytes,
                                      extent.length_bytes,
                                      image->files[0]->size_bytes));
        guest += extent.length_bytes;
        last = out->count != 0 ? &out->extent[out->count - 1] : NULL;
        if (last != NULL && last->kind == extent.kind &&
            (extent.kind != DS_EXTENT_DATA ||
             last->file_offset_bytes + last->length_bytes ==
                 extent.file_offset_bytes))
            last->length_bytes += extent.length_bytes;
        else if (out->count < EXTENT_COUNT_MAX)
            out->extent[out->count++] = extent;
    }
    ds_window_free(&cursor.table);
    ds_window_free(&cursor.table2);
    return result;
}

/* Everything a reader can be asked; the first error. */
static inline int read_all(struct memory_file *file, struct extents *extents,
                           struct ds_error *err)
{
    struct ds_image *image = NULL;
    int result = open_image(file, &image, err);

    if (result != 0) {
        assert_null(image);
        return result;
    }
    qcow2_format_ops.facts(image, ignore_fact, NULL);
    result = qcow2_format_ops.regions(image, ignore_region, file, err);
    if (result == 0)
        result = walk_map(image, extents, err);
    qcow2_format_ops.close(image);
    return result;
}

static inline void assert_extent(const struct extents *extents, size_t index,
                                 enum ds_extent_kind kind, uint64_t length,
                                 uint64_t file_offset)
{
    const struct ds_extent *extent = &extents->extent[index];

    assert_true(index < extents->count);
    assert_int_equal(extent->kind, kind);
    assert_int_equal(extent->length_bytes, length);
    assert_int_equal(extent->file_index,
                     kind == DS_EXTENT_DATA ? 0 : DS_FILE_NONE);
    assert_int_equal(extent->file_offset_bytes, file_offset);
}

#endif
