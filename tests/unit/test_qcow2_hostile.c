/* SPDX-License-Identifier: Apache-2.0 */
/* The qcow2 reader, on images that are broken in one place: what is refused
 * and in which words, and that nothing crashes it. */
#include "qcow2_read_fixture.h"

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

static void test_qcow2_hostile__refusals_by_name(void **state)
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

static void test_qcow2_hostile__zero_bit_is_reserved_in_version_2(void **state)
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

static void test_qcow2_hostile__unknown_feature_is_named(void **state)
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

static void test_qcow2_hostile__truncation_is_an_error(void **state)
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

static void test_qcow2_hostile__broken_snapshots(void **state)
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

static void test_qcow2_hostile__every_field_with_odd_values(void **state)
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

static void test_qcow2_hostile__every_failing_read_is_reported(void **state)
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qcow2_hostile__refusals_by_name),
        cmocka_unit_test(test_qcow2_hostile__zero_bit_is_reserved_in_version_2),
        cmocka_unit_test(test_qcow2_hostile__unknown_feature_is_named),
        cmocka_unit_test(test_qcow2_hostile__truncation_is_an_error),
        cmocka_unit_test(test_qcow2_hostile__broken_snapshots),
        cmocka_unit_test(test_qcow2_hostile__every_field_with_odd_values),
        cmocka_unit_test(test_qcow2_hostile__every_failing_read_is_reported),
    };

    return cmocka_run_group_tests_name("qcow2_hostile", tests, NULL, NULL);
}
