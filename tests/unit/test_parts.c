/* SPDX-License-Identifier: Apache-2.0 */
/* Several disks on one line. */
#include "engine_fake.h"

#include <stdlib.h>

#define K UINT64_C(1024)
#define STEP DS_LINE_ALIGN_BYTES
#define DATA(guest, length, offset)                                            \
    {                                                                          \
        .guest_offset_bytes = (guest), .length_bytes = (length),               \
        .kind = DS_EXTENT_DATA, .file_index = 0, .file_offset_bytes = (offset) \
    }
#define HOLE(guest, length)                                                    \
    {                                                                          \
        .guest_offset_bytes = (guest), .length_bytes = (length),               \
        .kind = DS_EXTENT_HOLE, .file_index = DS_FILE_NONE                     \
    }

/* Of one layer, of two whose parent is the longer, and one that is full. */
static const struct ds_extent one[] = { DATA(0, 8 * K, 4 * K),
                                        HOLE(8 * K, 8 * K) };
static const struct ds_extent child[] = { HOLE(0, 8 * K),
                                          DATA(8 * K, 8 * K, 0) };
static const struct ds_extent parent[] = { DATA(0, 32 * K, 16 * K) };
static const struct ds_extent full[] = { DATA(0, STEP, 0) };

static struct fake_image images[4];
static struct fake_file files[4];

static struct ds_disk *make(unsigned first, const struct ds_extent *extents,
                            size_t count)
{
    struct ds_disk *disk = calloc(1, sizeof(*disk));

    assert_non_null(disk);
    files[first] = (struct fake_file){ .file.size_bytes = 4 * STEP };
    fake_layer(disk, &images[first], &files[first], extents, count);
    disk->quiet = true;
    return disk;
}

/* In the order full, chain, one. */
static struct ds_disk *make_line(void)
{
    struct ds_disk *line = make(0, full, 1);
    struct ds_disk *chain = make(1, child, 2);

    files[2] = (struct fake_file){ .file.size_bytes = 4 * STEP };
    fake_layer(chain, &images[2], &files[2], parent, 1);
    assert_int_equal(ds_disk_append(line, chain, NULL), 0);
    assert_int_equal(ds_disk_append(line, make(3, one, 2), NULL), 0);
    return line;
}

struct expected {
    uint64_t guest, length;
    enum ds_extent_kind kind;
    uint32_t file;
    uint64_t offset;
    uint32_t depth;
};

/* The full disk touches the next one. What a parent has beyond its child's
 * end is not the guest's. */
static const struct expected whole[] = {
    { 0, STEP, DS_EXTENT_DATA, 0, 0, 0 },
    { STEP, 8 * K, DS_EXTENT_DATA, 2, 16 * K, 1 },
    { STEP + 8 * K, 8 * K, DS_EXTENT_DATA, 1, 0, 0 },
    { STEP + 16 * K, STEP - 16 * K, DS_EXTENT_HOLE, 0, 0, 0 },
    { 2 * STEP, 8 * K, DS_EXTENT_DATA, 3, 4 * K, 0 },
    { 2 * STEP + 8 * K, 8 * K, DS_EXTENT_HOLE, 0, 0, 0 },
};
#define WHOLE_COUNT (sizeof(whole) / sizeof(whole[0]))

static void expect(const struct ds_extent *extent,
                   const struct expected *expected, uint64_t skip)
{
    assert_true(extent->guest_offset_bytes == expected->guest + skip);
    assert_true(extent->length_bytes == expected->length - skip);
    assert_int_equal(extent->kind, expected->kind);
    assert_int_equal(extent->depth, expected->depth);
    if (extent->kind != DS_EXTENT_DATA)
        return;
    assert_int_equal(extent->file_index, expected->file);
    assert_true(extent->file_offset_bytes == expected->offset + skip);
}

static void walk(struct ds_map *map)
{
    struct ds_extent extent;

    for (size_t i = 0; i < WHOLE_COUNT; i++) {
        assert_int_equal(ds_map_next(map, &extent, NULL), 1);
        expect(&extent, &whole[i], 0);
    }
    assert_int_equal(ds_map_next(map, &extent, NULL), 0);
}

/* Twice: the second walk reads what the first has remembered. */
static void test_parts__each_answers_for_its_stretch_of_the_line(void **state)
{
    struct ds_disk *line = make_line();
    struct ds_map *map = NULL;

    (void)state;
    assert_true(ds_disk_size_bytes(line) == 2 * STEP + 16 * K);
    assert_int_equal(ds_disk_part_count(line), 3);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(ds_map_open(line, &map, NULL), 0);
        walk(map);
        ds_map_close(map);
    }
    free(line->joined);
    free(line);
}

static void test_parts__seek_goes_back_over_borders(void **state)
{
    struct ds_disk *line = make_line();
    struct ds_map *map = NULL;

    (void)state;
    line->quiet = false; /* nothing is remembered */
    assert_int_equal(ds_map_open(line, &map, NULL), 0);
    walk(map);
    for (size_t i = WHOLE_COUNT; i-- > 0;) {
        struct ds_extent extent;

        ds_map_seek(map, whole[i].guest + 512);
        assert_int_equal(ds_map_next(map, &extent, NULL), 1);
        expect(&extent, &whole[i], 512);
    }
    ds_map_seek(map, 0);
    walk(map);
    ds_map_close(map);
    free(line);
}

static void test_parts__extended_before_they_are_appended(void **state)
{
    struct ds_disk *line = make(0, one, 2);
    struct ds_disk *next = make(3, one, 2);
    struct ds_disk_part part;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_int_equal(ds_disk_extend(line, STEP + 512, NULL), 0);
    assert_int_equal(ds_disk_append(line, next, NULL), 0);
    assert_true(ds_disk_size_bytes(line) == 2 * STEP + 16 * K);
    assert_int_equal(ds_disk_part(line, 0, &part), 0);
    assert_true(part.size_bytes == STEP + 512 && part.image_bytes == 16 * K);
    assert_int_equal(ds_disk_part(line, 1, &part), 0);
    assert_true(part.size_bytes == 16 * K);
    assert_int_equal(ds_disk_part(line, 2, &part), -DS_ERR_ARG);
    assert_int_equal(ds_disk_extend(line, 4 * STEP, &err), -DS_ERR_ARG);
    assert_ptr_equal(disk_part_at(line, 2 * STEP - 1), &line->parts[0]);
    assert_ptr_equal(disk_part_at(line, 2 * STEP), &line->parts[1]);
    free(line);
}

static void test_parts__limits(void **state)
{
    struct ds_disk *line = calloc(1, sizeof(*line));
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_non_null(line);
    line->part_count = 1;
    for (unsigned i = 1; i <= DS_LINE_DISK_COUNT_MAX; i++) {
        struct ds_disk *next = calloc(1, sizeof(*next));

        assert_non_null(next);
        next->part_count = 1;
        assert_int_equal(ds_disk_append(line, next, &err),
                         i < DS_LINE_DISK_COUNT_MAX ? 0 : -DS_ERR_LIMIT);
    }
    line->part_count = 1;
    for (uint64_t size = INT64_MAX - STEP; size < UINT64_MAX - STEP;
         size += UINT64_C(1) << 62) {
        struct ds_disk *next = calloc(1, sizeof(*next));

        assert_non_null(next);
        next->part_count = 1;
        line->size_bytes = size;
        next->size_bytes = 2 * STEP;
        assert_int_equal(ds_disk_append(line, next, &err), -DS_ERR_LIMIT);
        assert_non_null(strstr(err.message, "2^63"));
    }
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts__each_answers_for_its_stretch_of_the_line),
        cmocka_unit_test(test_parts__seek_goes_back_over_borders),
        cmocka_unit_test(test_parts__extended_before_they_are_appended),
        cmocka_unit_test(test_parts__limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
