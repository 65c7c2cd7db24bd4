/* SPDX-License-Identifier: Apache-2.0 */
/* What a qcow2 target lays out, held to its runs and to who refers to each
 * cluster. */
#ifndef DS_TEST_QCOW2_COUNTS_H
#define DS_TEST_QCOW2_COUNTS_H

#include "qcow2_fixture.h"

struct counts {
    uint8_t *expect; /* per cluster */
    uint64_t cluster_bytes;
    uint64_t cluster_count;
};

static inline void count_range(struct counts *counts, uint64_t offset,
                               uint64_t length)
{
    uint64_t end = ds_div_up(offset + length, counts->cluster_bytes);

    assert_true(end <= counts->cluster_count);
    for (uint64_t i = offset / counts->cluster_bytes; i < end; i++)
        counts->expect[i]++;
}

static inline int count_region(void *user, const struct ds_region *region,
                               struct ds_error *err)
{
    (void)err;
    count_range(user, region->offset_bytes, region->length_bytes);
    return 0;
}

/* Through the two levels of tables; narrow counts begin at a byte's lowest
 * bits. */
static inline uint64_t refcount(const struct memory_file *file,
                                uint64_t cluster, uint64_t cluster_bytes)
{
    const uint64_t order = peek(file, 4, 4) == 2 ? 4 : peek(file, 96, 4);
    const uint64_t entries = cluster_bytes * 8 >> order;
    const uint64_t bit = cluster % entries << order;
    uint64_t block = peek(file, peek(file, 48, 8) + cluster / entries * 8, 8);

    assert_true(block != 0);
    if (order >= 3)
        return peek(file, block + bit / 8, 1u << (order - 3));
    return peek(file, block + bit / 8, 1) >> bit % 8 &
           ((UINT64_C(1) << (1u << order)) - 1);
}

/* Each used cluster has one reference, each other one none. */
static inline void assert_refcounts(struct memory_file *file)
{
    struct counts counts;
    struct ds_image *image = NULL;
    static struct extents e;

    counts.cluster_bytes = UINT64_C(1) << peek(file, 20, 4);
    counts.cluster_count = file->base.size_bytes / counts.cluster_bytes;
    counts.expect = calloc(1, counts.cluster_count);
    assert_non_null(counts.expect);
    assert_int_equal(file->base.size_bytes % counts.cluster_bytes, 0);
    assert_int_equal(open_image(file, &image, NULL), 0);
    assert_int_equal(
        qcow2_format_ops.regions(image, count_region, &counts, NULL), 0);
    assert_int_equal(walk_map(image, &e, NULL), 0);
    assert_true(e.count < EXTENT_COUNT_MAX);
    for (size_t i = 0; i < e.count; i++)
        if (e.extent[i].kind == DS_EXTENT_DATA)
            count_range(&counts, e.extent[i].file_offset_bytes,
                        e.extent[i].length_bytes);
    for (uint64_t i = 0; i < counts.cluster_count; i++) {
        assert_true(counts.expect[i] <= 1);
        assert_int_equal(refcount(file, i, counts.cluster_bytes),
                         counts.expect[i]);
    }
    qcow2_format_ops.close(image);
    free(counts.expect);
}

/* The map holds exactly the layout's runs, in order. */
static inline void assert_runs(struct memory_file *file,
                               const struct layout *layout)
{
    const uint64_t unit = layout->target->layout.unit_bytes;
    struct ds_error err = DS_ERROR_INIT;
    static struct extents e;
    size_t at = 0;

    assert_int_equal(read_all(file, &e, &err), 0);
    for (size_t i = 0; i < layout->run_count; i++) {
        const struct ds_unit_run *run = &layout->runs[i];
        uint64_t begin = run->first_unit * unit;
        uint64_t end = begin + run->unit_count * unit;

        if (e.extent[at].kind == DS_EXTENT_HOLE)
            at++;
        assert_int_equal(e.extent[at].guest_offset_bytes, begin);
        assert_extent(&e, at, DS_EXTENT_DATA,
                      ds_min_u64(end, layout->size_bytes) - begin,
                      run->file_offset_bytes);
        at++;
    }
    if (at < e.count)
        assert_int_equal(e.extent[at++].kind, DS_EXTENT_HOLE);
    assert_int_equal(at, e.count);
}

static inline void assert_round_trip(struct layout *layout)
{
    struct memory_file file;

    layout_write(layout, &file);
    assert_runs(&file, layout);
    assert_refcounts(&file);
    memory_free(&file);
    layout_close(layout);
}

#endif
