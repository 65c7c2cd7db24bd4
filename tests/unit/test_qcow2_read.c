/* SPDX-License-Identifier: Apache-2.0 */
/* The qcow2 reader, on images made by hand, byte for byte. */
#include "qcow2_read_fixture.h"

static void test_qcow2_read__version_3_map(void **state)
{
    struct memory_file file = image_v3();

    (void)state;
    assert_map(&file);
    memory_free(&file);
}

static void test_qcow2_read__version_2_map(void **state)
{
    struct memory_file file = image_v2();

    (void)state;
    assert_map(&file);
    memory_free(&file);
}

static void test_qcow2_read__copied_bit_is_ignored(void **state)
{
    struct memory_file file = image_v3();

    (void)state;
    poke(&file, L1, 8, L2);
    poke(&file, L2 + 8, 8, 7 * C);
    assert_map(&file);
    memory_free(&file);
}

static void test_qcow2_read__begins_inside_a_cluster(void **state)
{
    struct memory_file file = image_v3();
    struct ds_image *image = NULL;
    struct ds_cursor cursor = { 0 };
    struct ds_extent extent;

    (void)state;
    assert_int_equal(open_image(&file, &image, NULL), 0);
    assert_int_equal(
        qcow2_format_ops.extent_at(image, &cursor, C + 512, &extent, NULL), 0);
    assert_int_equal(extent.guest_offset_bytes, C + 512);
    assert_int_equal(extent.length_bytes, C - 512);
    assert_int_equal(extent.file_offset_bytes, 7 * C + 512);
    ds_window_free(&cursor.table);
    qcow2_format_ops.close(image);
    memory_free(&file);
}

static void test_qcow2_read__zero_clusters_name_no_file(void **state)
{
    struct memory_file file = image_v3();
    static struct extents e;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    poke(&file, L2 + 8, 8, 1);                        /* plain */
    poke(&file, L2 + 2 * 8, 8, (7 * C) | COPIED | 1); /* preallocated */
    assert_int_equal(read_all(&file, &e, &err), 0);
    assert_extent(&e, 0, DS_EXTENT_DATA, C, 6 * C);
    assert_extent(&e, 1, DS_EXTENT_ZERO, 2 * C, 0);
    assert_extent(&e, 2, DS_EXTENT_HOLE, 7 * C, 0);
    memory_free(&file);
}

static void test_qcow2_read__missing_l2_table_is_a_hole(void **state)
{
    struct memory_file file = image_v3();
    static struct extents e;

    (void)state;
    poke(&file, L1, 8, 0);
    assert_int_equal(read_all(&file, &e, NULL), 0);
    assert_int_equal(e.count, 2);
    assert_extent(&e, 0, DS_EXTENT_HOLE, 2 * DS_MIB, 0);
    assert_extent(&e, 1, DS_EXTENT_DATA, 1024, 9 * C);
    memory_free(&file);
}

static void test_qcow2_read__empty_disk(void **state)
{
    struct memory_file file = image_v3();
    static struct extents e;

    (void)state;
    poke(&file, 24, 8, 0);
    assert_int_equal(read_all(&file, &e, NULL), 0);
    assert_int_equal(e.count, 0);
    memory_free(&file);
}

static void test_qcow2_read__dirty_and_unknown_soft_bits_are_fine(void **state)
{
    struct memory_file file = image_v3();

    (void)state;
    poke(&file, 72, 8, 1);
    poke(&file, 80, 8, UINT64_MAX);
    poke(&file, 88, 8, UINT64_MAX);
    assert_map(&file);
    memory_free(&file);
}

static void test_qcow2_read__zstd_without_compressed_clusters(void **state)
{
    struct memory_file file = image_v3();

    (void)state;
    poke(&file, 72, 8, 8);
    poke(&file, 100, 4, 112);
    poke(&file, 104, 1, 1);
    assert_map(&file);
    memory_free(&file);
}

/* -- snapshots ------------------------------------------------------------- */

struct region_list {
    struct ds_region region[32];
    size_t count;
};

static int note_region(void *user, const struct ds_region *region,
                       struct ds_error *err)
{
    struct region_list *list = user;

    (void)err;
    assert_true(list->count < 32);
    list->region[list->count++] = *region;
    return 0;
}

static const struct ds_region *find_region(const struct region_list *list,
                                           const char *name, uint64_t offset)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->region[i].name, name) == 0 &&
            list->region[i].offset_bytes == offset)
            return &list->region[i];
    return NULL;
}

static void test_qcow2_read__snapshot_regions(void **state)
{
    struct memory_file file = image_with_snapshot();
    struct region_list list = { .count = 0 };
    struct ds_image *image = NULL;

    (void)state;
    assert_map(&file);
    assert_int_equal(open_image(&file, &image, NULL), 0);
    assert_int_equal(qcow2_format_ops.regions(image, note_region, &list, NULL),
                     0);
    assert_int_equal(list.count, 8);
    assert_non_null(find_region(&list, "header", 0));
    assert_non_null(find_region(&list, "l1 table", L1));
    assert_non_null(find_region(&list, "l2 table", L2));
    assert_non_null(find_region(&list, "l2 table", L2 + C));
    assert_non_null(find_region(&list, "refcount table", REFTABLE));
    assert_non_null(find_region(&list, "refcount block", 3 * C));
    assert_non_null(find_region(&list, "snapshot table", 10 * C));
    assert_int_equal(
        find_region(&list, "snapshot l1 table", 11 * C)->length_bytes, 16);
    qcow2_format_ops.close(image);
    memory_free(&file);
}

static void test_qcow2_read__probe(void **state)
{
    struct ds_probe probe = { .head = "QFI\xfb", .head_bytes = 4 };

    (void)state;
    assert_true(qcow2_format_ops.probe(&probe));
    probe.head_bytes = 3;
    assert_false(qcow2_format_ops.probe(&probe));
    probe.head_bytes = 4;
    probe.head[3] = 0;
    assert_false(qcow2_format_ops.probe(&probe));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qcow2_read__version_3_map),
        cmocka_unit_test(test_qcow2_read__version_2_map),
        cmocka_unit_test(test_qcow2_read__copied_bit_is_ignored),
        cmocka_unit_test(test_qcow2_read__begins_inside_a_cluster),
        cmocka_unit_test(test_qcow2_read__zero_clusters_name_no_file),
        cmocka_unit_test(test_qcow2_read__missing_l2_table_is_a_hole),
        cmocka_unit_test(test_qcow2_read__empty_disk),
        cmocka_unit_test(test_qcow2_read__dirty_and_unknown_soft_bits_are_fine),
        cmocka_unit_test(test_qcow2_read__zstd_without_compressed_clusters),
        cmocka_unit_test(test_qcow2_read__snapshot_regions),
        cmocka_unit_test(test_qcow2_read__probe),
    };

    return cmocka_run_group_tests_name("qcow2_read", tests, NULL, NULL);
}
