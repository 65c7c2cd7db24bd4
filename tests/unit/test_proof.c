/* SPDX-License-Identifier: Apache-2.0 */
/* The conditions of a proof by shared extents, one lie at a time: whatever
 * the store says, two different disks are never called identical. */
#include "engine_fake.h"

#define LENGTH UINT64_C(65536)

static uint8_t ones[LENGTH];
static uint8_t twos[LENGTH];
static const struct ds_extent whole[] = {
    { .length_bytes = LENGTH, .kind = DS_EXTENT_DATA, .file_index = 0 },
};

struct pair {
    struct ds_disk left_disk, right_disk;
    struct fake_image left_image, right_image;
    struct fake_file left, right;
};

static struct pair pair;

static int setup(void **state)
{
    (void)state;
    memset(&pair, 0, sizeof(pair));
    memset(ones, 1, sizeof(ones));
    memset(twos, 2, sizeof(twos));
    pair.left.file.size_bytes = LENGTH;
    pair.right.file.size_bytes = LENGTH;
    pair.left.bytes = ones;
    pair.right.bytes = twos;
    fake_layer(&pair.left_disk, &pair.left_image, &pair.left, whole, 1);
    fake_layer(&pair.right_disk, &pair.right_image, &pair.right, whole, 1);
    return 0;
}

static struct ds_verify_report compare(void)
{
    struct ds_verify_report report;
    struct ds_error err = DS_ERROR_INIT;

    assert_int_equal(
        ds_verify(&pair.left_disk, &pair.right_disk, NULL, NULL, &report, &err),
        0);
    return report;
}

static void lie_at(const struct ds_physical_extent *left,
                   const struct ds_physical_extent *right, size_t count)
{
    pair.left.extents = left;
    pair.left.extent_count = count;
    pair.right.extents = right;
    pair.right.extent_count = count;
}

/* The one true proof, which the others are held against. */
static void test_proof__same_blocks_are_not_read(void **state)
{
    static const struct ds_physical_extent at[] = { { 0, LENGTH, 4096, 0 } };
    struct ds_verify_report report;

    (void)state;
    lie_at(at, at, 1);
    report = compare();
    assert_true(report.identical);
    assert_true(report.proven_bytes == LENGTH && report.hashed_bytes == 0);
    assert_int_equal(pair.left.read_count + pair.right.read_count, 0);
}

static void assert_different(void)
{
    struct ds_verify_report report = compare();

    assert_false(report.identical);
    assert_true(report.proven_bytes == 0);
    assert_true(report.difference_offset_bytes == 0);
    assert_non_null(report.not_proven);
}

static void test_proof__delalloc_and_inline_extents_prove_nothing(void **state)
{
    static const struct ds_physical_extent at[] = {
        { 0, LENGTH, 0, DS_PHYSICAL_UNPROVABLE },
    };

    (void)state;
    lie_at(at, at, 1);
    assert_different();
}

static void test_proof__one_unprovable_side_is_enough(void **state)
{
    static const struct ds_physical_extent good[] = { { 0, LENGTH, 4096, 0 } };
    static const struct ds_physical_extent bad[] = {
        { 0, LENGTH, 4096, DS_PHYSICAL_UNPROVABLE },
    };

    (void)state;
    lie_at(good, bad, 1);
    assert_different();
    lie_at(bad, good, 1);
    assert_different();
}

static void test_proof__same_address_on_two_filesystems(void **state)
{
    static const struct ds_physical_extent at[] = { { 0, LENGTH, 4096, 0 } };

    (void)state;
    lie_at(at, at, 1);
    pair.right.storage = 1;
    assert_different();
}

static void test_proof__unwritten_is_zeros_and_not_the_blocks(void **state)
{
    static const struct ds_physical_extent written[] = {
        { 0, LENGTH, 4096, 0 },
    };
    static const struct ds_physical_extent unwritten[] = {
        { 0, LENGTH, 4096, DS_PHYSICAL_UNWRITTEN },
    };
    struct ds_verify_report report;

    (void)state;
    lie_at(written, unwritten, 1);
    assert_different();
    lie_at(unwritten, unwritten, 1);
    report = compare();
    assert_true(report.identical && report.zero_bytes == LENGTH);
}

static void test_proof__shifted_blocks_are_not_the_same(void **state)
{
    static const struct ds_physical_extent left[] = { { 0, LENGTH, 4096, 0 } };
    static const struct ds_physical_extent right[] = { { 0, LENGTH, 8192, 0 } };

    (void)state;
    lie_at(left, right, 1);
    assert_different();
}

/* Equal beginnings, then another block: only the beginning is proven. */
static void test_proof__ends_where_the_extents_part(void **state)
{
    static const struct ds_physical_extent left[] = {
        { 0, LENGTH / 2, 4096, 0 },
        { LENGTH / 2, LENGTH / 2, 65536, 0 },
    };
    static const struct ds_physical_extent right[] = {
        { 0, LENGTH / 2, 4096, 0 },
        { LENGTH / 2, LENGTH / 2, 131072, 0 },
    };
    struct ds_verify_report report;

    (void)state;
    lie_at(left, right, 2);
    report = compare();
    assert_false(report.identical);
    assert_true(report.proven_bytes == LENGTH / 2);
    assert_true(report.difference_offset_bytes == LENGTH / 2);
}

static void test_proof__a_hole_against_data_is_read(void **state)
{
    static const struct ds_physical_extent at[] = { { 0, LENGTH, 4096, 0 } };

    (void)state;
    pair.left.extents = at;
    pair.left.extent_count = 1; /* the right file is all hole, so says FIEMAP */
    assert_different();
}

static void test_proof__a_store_without_a_map_is_read(void **state)
{
    struct ds_verify_report report;

    (void)state;
    pair.left.no_map = true;
    assert_different();
    pair.right.bytes = ones;
    report = compare();
    assert_true(report.identical && report.hashed_bytes == LENGTH);
}

static void test_proof__sizes_must_agree(void **state)
{
    static const struct ds_physical_extent at[] = { { 0, LENGTH, 4096, 0 } };
    struct ds_verify_report report;

    (void)state;
    lie_at(at, at, 1);
    assert_int_equal(ds_disk_extend(&pair.right_disk, LENGTH + 512, NULL), 0);
    report = compare();
    assert_false(report.identical);
    assert_true(report.difference_offset_bytes == LENGTH);
}

static void test_proof__finds_the_first_of_many_differences(void **state)
{
    static uint8_t many[LENGTH];
    struct ds_verify_report report;

    (void)state;
    memset(many, 1, sizeof(many));
    many[40000] = 7;
    many[50000] = 7;
    pair.left.no_map = true;
    pair.right.no_map = true;
    pair.right.bytes = many;
    report = compare();
    assert_false(report.identical);
    assert_true(report.difference_offset_bytes == 40000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_proof__same_blocks_are_not_read, setup),
        cmocka_unit_test_setup(
            test_proof__delalloc_and_inline_extents_prove_nothing, setup),
        cmocka_unit_test_setup(test_proof__one_unprovable_side_is_enough,
                               setup),
        cmocka_unit_test_setup(test_proof__same_address_on_two_filesystems,
                               setup),
        cmocka_unit_test_setup(
            test_proof__unwritten_is_zeros_and_not_the_blocks, setup),
        cmocka_unit_test_setup(test_proof__shifted_blocks_are_not_the_same,
                               setup),
        cmocka_unit_test_setup(test_proof__ends_where_the_extents_part, setup),
        cmocka_unit_test_setup(test_proof__a_hole_against_data_is_read, setup),
        cmocka_unit_test_setup(test_proof__a_store_without_a_map_is_read,
                               setup),
        cmocka_unit_test_setup(test_proof__sizes_must_agree, setup),
        cmocka_unit_test_setup(test_proof__finds_the_first_of_many_differences,
                               setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
