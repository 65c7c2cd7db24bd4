/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_fake.h"

#include <stdlib.h>

#define K UINT64_C(1024)
#define DATA(guest, length, offset)                                            \
    {                                                                          \
        .guest_offset_bytes = (guest), .length_bytes = (length),               \
        .kind = DS_EXTENT_DATA, .file_index = 0, .file_offset_bytes = (offset) \
    }
#define NONE(guest, length, what)                                              \
    {                                                                          \
        .guest_offset_bytes = (guest), .length_bytes = (length),               \
        .kind = DS_EXTENT_##what, .file_index = DS_FILE_NONE                   \
    }

static const struct ds_extent top[] = {
    DATA(0, 8 * K, 64 * K),
    NONE(8 * K, 40 * K, HOLE),
    NONE(48 * K, 8 * K, ZERO),
    NONE(56 * K, 40 * K, HOLE),
};
static const struct ds_extent middle[] = {
    NONE(0, 16 * K, HOLE),
    DATA(16 * K, 16 * K, 0),
    NONE(32 * K, 48 * K, HOLE),
};
static const struct ds_extent bottom[] = {
    DATA(0, 64 * K, 4 * K),
};

static struct ds_disk disk;
static struct fake_image images[3];
static struct fake_file files[3];

static int setup(void **state)
{
    (void)state;
    memset(&disk, 0, sizeof(disk));
    memset(images, 0, sizeof(images));
    for (unsigned i = 0; i < 3; i++)
        files[i] = (struct fake_file){ .file.size_bytes = 128 * K };
    fake_layer(&disk, &images[0], &files[0], top, 4);
    fake_layer(&disk, &images[1], &files[1], middle, 3);
    fake_layer(&disk, &images[2], &files[2], bottom, 1);
    return 0;
}

struct expected {
    uint64_t guest, length;
    enum ds_extent_kind kind;
    uint32_t file;
    uint64_t offset;
    uint32_t depth;
};

static void assert_map(struct ds_map *map, const struct expected *expected,
                       size_t count)
{
    struct ds_extent extent;

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ds_map_next(map, &extent, NULL), 1);
        assert_true(extent.guest_offset_bytes == expected[i].guest);
        assert_true(extent.length_bytes == expected[i].length);
        assert_int_equal(extent.kind, expected[i].kind);
        assert_int_equal(extent.depth, expected[i].depth);
        if (extent.kind != DS_EXTENT_DATA)
            continue;
        assert_int_equal(extent.file_index, expected[i].file);
        assert_true(extent.file_offset_bytes == expected[i].offset);
    }
    assert_int_equal(ds_map_next(map, &extent, NULL), 0);
}

static const struct expected whole[] = {
    { 0, 8 * K, DS_EXTENT_DATA, 0, 64 * K, 0 },
    { 8 * K, 8 * K, DS_EXTENT_DATA, 2, 12 * K, 2 },
    { 16 * K, 16 * K, DS_EXTENT_DATA, 1, 0, 1 },
    { 32 * K, 16 * K, DS_EXTENT_DATA, 2, 36 * K, 2 },
    { 48 * K, 8 * K, DS_EXTENT_ZERO, 0, 0, 0 },
    { 56 * K, 8 * K, DS_EXTENT_DATA, 2, 60 * K, 2 },
    { 64 * K, 16 * K, DS_EXTENT_HOLE, 0, 0, 1 },
    { 80 * K, 16 * K, DS_EXTENT_HOLE, 0, 0, 0 },
};

/* A zero of a child hides its parent; a parent that ends before its child is
 * followed by holes. */
static void
test_chain__each_range_comes_from_the_first_that_has_it(void **state)
{
    struct ds_map *map = NULL;

    (void)state;
    assert_int_equal(ds_map_open(&disk, &map, NULL), 0);
    assert_map(map, whole, 8);
    ds_map_seek(map, 0);
    assert_map(map, whole, 8);
    ds_map_close(map);
}

static void test_chain__seek_begins_in_the_middle_of_an_extent(void **state)
{
    struct ds_extent extent;
    struct ds_map *map = NULL;

    (void)state;
    assert_int_equal(ds_map_open(&disk, &map, NULL), 0);
    for (uint64_t at = 95 * K + 512; at < UINT64_MAX; at -= 512) {
        ds_map_seek(map, at);
        assert_int_equal(ds_map_next(map, &extent, NULL), 1);
        assert_true(extent.guest_offset_bytes == at);
        if (at >= 16 * K && at < 32 * K) {
            assert_int_equal(extent.file_index, 1);
            assert_true(extent.file_offset_bytes == at - 16 * K);
            assert_true(extent.length_bytes == 32 * K - at);
        }
        if (at == 0)
            break;
    }
    ds_map_close(map);
}

static const struct ds_extent parted[] = {
    DATA(0, 8 * K, 0),           DATA(8 * K, 8 * K, 8 * K),
    DATA(16 * K, 8 * K, 16 * K), NONE(24 * K, 8 * K, ZERO),
    NONE(32 * K, 8 * K, ZERO),
};

/* Whoever asks for it gets an extent in parts, none lost and none twice. */
static void test_chain__joins_no_more_answers_than_asked_for(void **state)
{
    static const struct expected joined[] = {
        { 0, 24 * K, DS_EXTENT_DATA, 0, 0, 0 },
        { 24 * K, 16 * K, DS_EXTENT_ZERO, 0, 0, 0 },
    };
    static const struct expected of_two[] = {
        { 0, 16 * K, DS_EXTENT_DATA, 0, 0, 0 },
        { 16 * K, 8 * K, DS_EXTENT_DATA, 0, 16 * K, 0 },
        { 24 * K, 16 * K, DS_EXTENT_ZERO, 0, 0, 0 },
    };
    struct ds_map *map = NULL;

    (void)state;
    memset(&disk, 0, sizeof(disk));
    fake_layer(&disk, &images[0], &files[0], parted, 5);
    assert_int_equal(ds_map_open(&disk, &map, NULL), 0);
    assert_map(map, joined, 2);
    map_join_at_most(map, 2);
    ds_map_seek(map, 0);
    assert_map(map, of_two, 3);
    ds_map_close(map);
}

/* A disk that nobody writes is asked once; after that the format's answers,
 * were it asked, would be errors. */
static void test_chain__later_walks_are_from_memory(void **state)
{
    struct ds_extent extent;
    struct ds_map *map = NULL;

    (void)state;
    disk.quiet = true;
    assert_int_equal(ds_map_open(&disk, &map, NULL), 0);
    ds_map_seek(map, 20 * K); /* not a whole walk: nothing is remembered */
    assert_int_equal(ds_map_next(map, &extent, NULL), 1);
    while (ds_map_next(map, &extent, NULL) == 1)
        continue;
    ds_map_close(map);
    assert_null(disk.joined);
    assert_int_equal(ds_map_open(&disk, &map, NULL), 0);
    assert_map(map, whole, 8);
    ds_map_close(map);
    assert_non_null(disk.joined);
    for (unsigned i = 0; i < 3; i++)
        images[i].extent_count = 0;
    assert_int_equal(ds_map_open(&disk, &map, NULL), 0);
    assert_map(map, whole, 8);
    for (unsigned i = 0; i < 8; i++)
        for (uint64_t at = whole[i].guest;
             at < whole[i].guest + whole[i].length; at += 512) {
            ds_map_seek(map, at);
            assert_int_equal(ds_map_next(map, &extent, NULL), 1);
            assert_true(extent.guest_offset_bytes == at);
            assert_true(extent.length_bytes ==
                        whole[i].guest + whole[i].length - at);
            assert_int_equal(extent.depth, whole[i].depth);
            if (extent.kind == DS_EXTENT_DATA)
                assert_true(extent.file_offset_bytes ==
                            whole[i].offset + at - whole[i].guest);
        }
    ds_map_close(map);
    /* A disk of another size is another disk. */
    assert_int_equal(ds_disk_extend(&disk, 200 * K, NULL), 0);
    assert_int_equal(ds_map_open(&disk, &map, NULL), 0);
    assert_int_equal(ds_map_next(map, &extent, NULL), -DS_ERR_CORRUPT);
    ds_map_close(map);
    free(disk.joined);
}

/* More than is worth remembering. */
static void test_chain__long_lists_are_not_kept(void **state)
{
    static struct ds_extent many[JOINED_COUNT_MAX + 1];
    struct ds_extent extent;
    struct ds_map *map = NULL;
    unsigned count = 0;

    (void)state;
    memset(&disk, 0, sizeof(disk));
    for (unsigned i = 0; i <= JOINED_COUNT_MAX; i++)
        many[i] = (struct ds_extent){ .guest_offset_bytes = i * 512,
                                      .length_bytes = 512,
                                      .kind = i % 2 == 0 ? DS_EXTENT_ZERO
                                                         : DS_EXTENT_HOLE,
                                      .file_index = DS_FILE_NONE };
    fake_layer(&disk, &images[0], &files[0], many, JOINED_COUNT_MAX + 1);
    disk.quiet = true;
    assert_int_equal(ds_map_open(&disk, &map, NULL), 0);
    while (ds_map_next(map, &extent, NULL) == 1)
        count++;
    assert_int_equal(count, JOINED_COUNT_MAX + 1);
    assert_null(disk.joined);
    ds_map_close(map);
}

static void test_chain__extended_disk_ends_in_a_hole(void **state)
{
    struct ds_extent extent = { 0 };
    struct ds_map *map = NULL;

    (void)state;
    assert_int_equal(ds_disk_extend(&disk, 95 * K, NULL), -DS_ERR_ARG);
    assert_int_equal(ds_disk_extend(&disk, 200 * K + 1, NULL), -DS_ERR_ARG);
    assert_int_equal(ds_disk_extend(&disk, 200 * K, NULL), 0);
    assert_int_equal(ds_map_open(&disk, &map, NULL), 0);
    ds_map_seek(map, 90 * K);
    assert_int_equal(ds_map_next(map, &extent, NULL), 1);
    assert_int_equal(extent.kind, DS_EXTENT_HOLE);
    assert_true(extent.guest_offset_bytes + extent.length_bytes == 200 * K);
    assert_int_equal(ds_map_next(map, &extent, NULL), 0);
    ds_map_close(map);
}

static void test_chain__one_layer_alone_keeps_its_holes(void **state)
{
    static const struct expected expected[] = {
        { 0, 16 * K, DS_EXTENT_HOLE, 0, 0, 0 },
        { 16 * K, 16 * K, DS_EXTENT_DATA, 1, 0, 0 },
        { 32 * K, 48 * K, DS_EXTENT_HOLE, 0, 0, 0 },
    };
    struct ds_map *map = NULL;

    (void)state;
    assert_int_equal(map_open_layer(&disk, 1, &map, NULL), 0);
    assert_map(map, expected, 3);
    ds_map_close(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(
            test_chain__each_range_comes_from_the_first_that_has_it, setup),
        cmocka_unit_test_setup(
            test_chain__seek_begins_in_the_middle_of_an_extent, setup),
        cmocka_unit_test_setup(test_chain__joins_no_more_answers_than_asked_for,
                               setup),
        cmocka_unit_test_setup(test_chain__later_walks_are_from_memory, setup),
        cmocka_unit_test_setup(test_chain__long_lists_are_not_kept, setup),
        cmocka_unit_test_setup(test_chain__extended_disk_ends_in_a_hole, setup),
        cmocka_unit_test_setup(test_chain__one_layer_alone_keeps_its_holes,
                               setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
