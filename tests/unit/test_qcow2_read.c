/* SPDX-License-Identifier: Apache-2.0 */
/* The qcow2 reader, on images made by hand, byte for byte, and then broken. */
#include "qcow2_fixture.h"

#define C UINT64_C(4096)
#define COPIED (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)

/*
 * A disk of 2 MiB + 1 KiB in clusters of 4 KiB, so of two L2 tables:
 *
 *   0 header   1 L1   2 refcount table   3 refcount block   4, 5 L2
 *   6, 7 data of guest clusters 0, 1     8 data of guest cluster 10
 *   9 the disk's last KiB (guest cluster 512), where the file ends
 */
#define DISK_BYTES (2 * DS_MIB + 1024)
#define FILE_BYTES (9 * C + 1024)
#define L1 (1 * C)
#define REFTABLE (2 * C)
#define L2 (4 * C)

static struct memory_file image_v3(void)
{
    struct memory_file file;

    memory_init(&file, FILE_BYTES);
    poke(&file, 0, 4, 0x514649fb);
    poke(&file, 4, 4, 3);
    poke(&file, 20, 4, 12);
    poke(&file, 24, 8, DISK_BYTES);
    poke(&file, 36, 4, 2);
    poke(&file, 40, 8, L1);
    poke(&file, 48, 8, REFTABLE);
    poke(&file, 56, 4, 1);
    poke(&file, 96, 4, 4);
    poke(&file, 100, 4, 104);
    poke(&file, L1, 8, L2 | COPIED);
    poke(&file, L1 + 8, 8, (L2 + C) | COPIED);
    poke(&file, REFTABLE, 8, 3 * C);
    for (uint64_t i = 0; i < 10; i++)
        poke(&file, 3 * C + 2 * i, 2, 1);
    poke(&file, L2, 8, (6 * C) | COPIED);
    poke(&file, L2 + 8, 8, (7 * C) | COPIED);
    poke(&file, L2 + 10 * 8, 8, (8 * C) | COPIED);
    poke(&file, L2 + C, 8, (9 * C) | COPIED);
    return file;
}

static struct memory_file image_v2(void)
{
    struct memory_file file = image_v3();

    poke(&file, 4, 4, 2);
    memset(file.bytes + 72, 0, 104 - 72);
    return file;
}

static void assert_map(struct memory_file *file)
{
    static struct extents e;
    struct ds_error err = DS_ERROR_INIT;

    assert_int_equal(read_all(file, &e, &err), 0);
    assert_int_equal(e.count, 5);
    assert_extent(&e, 0, DS_EXTENT_DATA, 2 * C, 6 * C);
    assert_extent(&e, 1, DS_EXTENT_HOLE, 8 * C, 0);
    assert_extent(&e, 2, DS_EXTENT_DATA, C, 8 * C);
    assert_extent(&e, 3, DS_EXTENT_HOLE, 501 * C, 0);
    assert_extent(&e, 4, DS_EXTENT_DATA, 1024, 9 * C);
}

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

/* -- what is refused, and in which words ----------------------------------- */

struct broken {
    uint64_t offset;
    unsigned width;
    uint64_t value;
    enum ds_error_class error_class;
    const char *words; /* in the message */
};

static void assert_broken(const struct broken *broken)
{
    struct memory_file file = image_v3();
    struct ds_error err = DS_ERROR_INIT;
    static struct extents e;

    poke(&file, broken->offset, broken->width, broken->value);
    if (read_all(&file, &e, &err) != -(int)broken->error_class ||
        strstr(err.message, broken->words) == NULL ||
        strncmp(err.message, "qcow2: ", 7) != 0 ||
        strcmp(err.file, memory_path) != 0)
        fail_msg("0x%llx := 0x%llx: class %s, '%s' in '%s'",
                 (unsigned long long)broken->offset,
                 (unsigned long long)broken->value,
                 ds_error_class_name(err.error_class), err.message, err.file);
    memory_free(&file);
}

static void test_qcow2_read__refusals_by_name(void **state)
{
    static const struct broken cases[] = {
        { 0, 4, 0x514649fa, DS_ERR_CORRUPT, "header: magic" },
        { 4, 4, 1, DS_ERR_UNSUPPORTED, "version 1 (qcow)" },
        { 4, 4, 4, DS_ERR_UNSUPPORTED, "version, have 4 expect 2 or 3" },
        { 8, 8, 1000, DS_ERR_CORRUPT, "backing file, have an empty name" },
        { 8, 8, C + 1, DS_ERR_CORRUPT, "backing file name" },
        { 20, 4, 8, DS_ERR_CORRUPT, "cluster_bits, have 8 expect 9 to 21" },
        { 20, 4, 22, DS_ERR_LIMIT, "cluster_bits, have 22" },
        { 24, 8, 5 * DS_MIB, DS_ERR_CORRUPT, "l1_size, have 2 expect at" },
        { 24, 8, 1000, DS_ERR_UNSUPPORTED, "size, have 1000" },
        { 24, 8, UINT64_MAX - 511, DS_ERR_LIMIT, "l1_size" },
        { 32, 4, 1, DS_ERR_UNSUPPORTED, "legacy AES encryption" },
        { 32, 4, 2, DS_ERR_CORRUPT, "full disk encryption header, have 0x0" },
        { 32, 4, 3, DS_ERR_UNSUPPORTED, "crypt_method 3" },
        { 36, 4, UINT32_MAX, DS_ERR_LIMIT, "l1_size, have 4294967295" },
        { 36, 4, 10000, DS_ERR_CORRUPT, "l1_table_offset" },
        { 40, 8, 0, DS_ERR_CORRUPT, "l1_table_offset, have 0x0" },
        { 40, 8, C + 8, DS_ERR_CORRUPT, "l1_table_offset, have 0x1008" },
        { 40, 8, 1 << 20, DS_ERR_CORRUPT, "truncated" },
        { 48, 8, L1, DS_ERR_CORRUPT, "apart from the l1 table" },
        { 48, 8, UINT64_MAX << 12, DS_ERR_CORRUPT, "truncated" },
        { 56, 4, 0, DS_ERR_CORRUPT, "refcount_table_clusters, have 0" },
        { 56, 4, UINT32_MAX, DS_ERR_LIMIT, "refcount_table_clusters" },
        { 60, 4, 1, DS_ERR_CORRUPT, "snapshots_offset, have 0x0" },
        { 60, 4, 65537, DS_ERR_LIMIT, "nb_snapshots, have 65537" },
        { 72, 8, 2, DS_ERR_CORRUPT, "marked corrupt" },
        { 72, 8, 4, DS_ERR_UNSUPPORTED, "external data file" },
        { 72, 8, 8, DS_ERR_CORRUPT, "compression_type, have 0 expect not 0" },
        { 72, 8, 16, DS_ERR_CORRUPT, "cluster_bits, have 12 expect at least" },
        { 72, 8, 32, DS_ERR_UNSUPPORTED, "feature bit 5 (unnamed)" },
        { 96, 4, 7, DS_ERR_CORRUPT, "refcount_order, have 7" },
        { 100, 4, 96, DS_ERR_CORRUPT, "header_length, have 96" },
        { 100, 4, 108, DS_ERR_CORRUPT, "header_length, have 108" },
        { 100, 4, 8192, DS_ERR_CORRUPT, "header_length, have 8192" },
        { 104, 8, UINT64_C(0x1234567800001000), DS_ERR_CORRUPT,
          "header extension 0x12345678: length, have 4096" },
        { L1, 8, L2 | 1, DS_ERR_CORRUPT, "l1 entry" },
        { L1, 8, L2 | UINT64_C(1) << 56, DS_ERR_CORRUPT, "l1 entry" },
        { L1, 8, L2 + 512, DS_ERR_CORRUPT, "l1 entry, have 0x4200" },
        { L1, 8, 9 * C, DS_ERR_CORRUPT, "l1 entry, have 4096 bytes" },
        { L1, 8, REFTABLE, DS_ERR_CORRUPT, "apart from the refcount table" },
        { REFTABLE, 8, 3 * C + 1, DS_ERR_CORRUPT, "refcount table entry" },
        { REFTABLE, 8, L1, DS_ERR_CORRUPT, "apart from the l1 table" },
        { REFTABLE, 8, UINT64_MAX << 12, DS_ERR_CORRUPT, "truncated" },
        { L2, 8, COMPRESSED | 1024 * C, DS_ERR_CORRUPT, "compressed" },
        { L2, 8, COMPRESSED | L1, DS_ERR_CORRUPT, "apart from the l1 table" },
        { L2, 8, 6 * C | 2, DS_ERR_CORRUPT, "l2 entry" },
        { L2, 8, 6 * C | UINT64_C(1) << 61, DS_ERR_CORRUPT, "l2 entry" },
        { L2, 8, 6 * C + 512, DS_ERR_CORRUPT, "l2 entry, have 0x6200" },
        { L2, 8, COPIED, DS_ERR_CORRUPT, "l2 entry, have 0x0" },
        { L2, 8, COPIED | 1, DS_ERR_CORRUPT, "l2 entry, have 0x0" },
        { L2, 8, 1024 * C, DS_ERR_CORRUPT, "truncated" },
        { L2, 8, 1024 * C | 1, DS_ERR_CORRUPT, "truncated" },
        { L2 + 8, 8, 9 * C, DS_ERR_CORRUPT, "l2 entry, have 4096 bytes" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_broken(&cases[i]);
}

static void test_qcow2_read__zero_bit_is_reserved_in_version_2(void **state)
{
    struct memory_file file = image_v2();
    struct ds_error err = DS_ERROR_INIT;
    static struct extents e;

    (void)state;
    poke(&file, L2, 8, 1);
    assert_int_equal(read_all(&file, &e, &err), -DS_ERR_CORRUPT);
    assert_int_equal(err.offset_bytes, L2);
    memory_free(&file);
}

static void test_qcow2_read__unknown_feature_is_named(void **state)
{
    struct memory_file file = image_v3();
    struct ds_error err = DS_ERROR_INIT;
    static struct extents e;

    (void)state;
    poke(&file, 72, 8, UINT64_C(1) << 40);
    poke(&file, 104, 4, 0x6803f857);
    poke(&file, 108, 4, 96);
    poke(&file, 112, 2, 0x0005); /* another bit */
    poke(&file, 160, 2, 0x0028);
    memcpy(file.bytes + 162, "time\ntravel", 11);
    assert_int_equal(read_all(&file, &e, &err), -DS_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "bit 40 (time?travel)"));
    memory_free(&file);
}

static void test_qcow2_read__truncation_is_an_error(void **state)
{
    struct memory_file file = image_v3();
    static struct extents e;

    (void)state;
    for (size_t size = FILE_BYTES; size > 0; size -= 512) {
        struct ds_error err = DS_ERROR_INIT;

        file.base.size_bytes = size - 1;
        assert_int_equal(read_all(&file, &e, &err), -DS_ERR_CORRUPT);
    }
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

/* One snapshot that shares the active state's L2 tables: the table in
 * cluster 10, its L1 in cluster 11, where the file ends after the entries. */
static struct memory_file image_with_snapshot(void)
{
    struct memory_file plain = image_v3(), file;

    memory_init(&file, 11 * C + 16);
    memcpy(file.bytes, plain.bytes, FILE_BYTES);
    memory_free(&plain);
    poke(&file, 60, 4, 1);
    poke(&file, 64, 8, 10 * C);
    poke(&file, 10 * C, 8, 11 * C);
    poke(&file, 10 * C + 8, 4, 2);
    poke(&file, 10 * C + 12, 2, 1);
    poke(&file, 10 * C + 14, 2, 3);
    poke(&file, 10 * C + 36, 4, 16);
    memcpy(file.bytes + 10 * C + 56, "1now", 4);
    poke(&file, 11 * C, 8, L2);
    poke(&file, 11 * C + 8, 8, L2 + C);
    return file;
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

static void test_qcow2_read__broken_snapshots(void **state)
{
    static const struct broken cases[] = {
        { 64, 8, 10 * C + 8, DS_ERR_CORRUPT, "snapshots_offset" },
        { 60, 4, 65536, DS_ERR_CORRUPT, "snapshots_offset" },
        { 10 * C, 8, 0, DS_ERR_CORRUPT, "snapshot: l1_table_offset" },
        { 10 * C, 8, L1, DS_ERR_CORRUPT, "apart from the l1 table" },
        { 10 * C + 8, 4, 3, DS_ERR_CORRUPT, "snapshot: l1_table_offset" },
        { 10 * C + 8, 4, UINT32_MAX, DS_ERR_LIMIT, "snapshot: l1_size" },
        { 10 * C + 36, 4, UINT32_MAX, DS_ERR_CORRUPT, "snapshot: entry" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct memory_file file = image_with_snapshot();
        struct ds_error err = DS_ERROR_INIT;
        static struct extents e;

        poke(&file, cases[i].offset, cases[i].width, cases[i].value);
        assert_int_equal(read_all(&file, &e, &err), -(int)cases[i].error_class);
        assert_non_null(strstr(err.message, cases[i].words));
        memory_free(&file);
    }
}

/* -- anything at all --------------------------------------------------------
 */

/* No value of any byte or field may crash the reader, and what it says is
 * one of the words for bad input. */
static void assert_survives(struct memory_file *file)
{
    struct ds_error err = DS_ERROR_INIT;
    static struct extents e;
    int result = read_all(file, &e, &err);

    if (result == 0)
        return;
    assert_true(result == -DS_ERR_CORRUPT || result == -DS_ERR_UNSUPPORTED ||
                result == -DS_ERR_LIMIT);
    assert_int_equal(strncmp(err.message, "qcow2: ", 7), 0);
}

static void test_qcow2_read__every_field_with_odd_values(void **state)
{
    static const uint64_t values[] = { 0,
                                       1,
                                       511,
                                       512,
                                       C,
                                       2 * C,
                                       6 * C,
                                       9 * C,
                                       10 * C,
                                       1 << 20,
                                       INT32_MAX,
                                       UINT32_MAX,
                                       UINT64_C(1) << 56,
                                       INT64_MAX,
                                       UINT64_MAX - C + 1,
                                       UINT64_MAX };

    struct memory_file file = image_with_snapshot();

    (void)state;
    for (unsigned width = 1; width <= 8; width *= 2)
        for (uint64_t at = 0; at + width <= file.base.size_bytes; at += width) {
            uint64_t before = peek(&file, at, width);

            /* Of tables, their first entries. */
            if (at % C >= 128)
                continue;
            for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
                poke(&file, at, width, values[v]);
                assert_survives(&file);
            }
            poke(&file, at, width, before);
        }
    memory_free(&file);
}

static void test_qcow2_read__every_failing_read_is_reported(void **state)
{
    (void)state;
    for (unsigned n = 1;; n++) {
        struct memory_file file = image_with_snapshot();
        struct ds_error err = DS_ERROR_INIT;
        static struct extents e;
        bool reached;

        file.reads_until_failure = n;
        assert_true(n < 100);
        if (read_all(&file, &e, &err) != 0)
            assert_int_equal(err.error_class, DS_ERR_SYSTEM);
        reached = file.reads_until_failure == 0;
        memory_free(&file);
        if (!reached)
            break;
    }
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
        cmocka_unit_test(test_qcow2_read__refusals_by_name),
        cmocka_unit_test(test_qcow2_read__zero_bit_is_reserved_in_version_2),
        cmocka_unit_test(test_qcow2_read__unknown_feature_is_named),
        cmocka_unit_test(test_qcow2_read__truncation_is_an_error),
        cmocka_unit_test(test_qcow2_read__snapshot_regions),
        cmocka_unit_test(test_qcow2_read__broken_snapshots),
        cmocka_unit_test(test_qcow2_read__every_field_with_odd_values),
        cmocka_unit_test(test_qcow2_read__every_failing_read_is_reported),
        cmocka_unit_test(test_qcow2_read__probe),
    };

    return cmocka_run_group_tests_name("qcow2_read", tests, NULL, NULL);
}
