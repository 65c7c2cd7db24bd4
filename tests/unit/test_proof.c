/* SPDX-License-Identifier: Apache-2.0 */
/* The conditions of a proof by shared extents, one lie at a time: whatever
 * the store says, two different disks are never called identical. The same for
 * what a witness says of bytes that were read while they were copied. */
#include "engine_fake.h"
#include "verify.h"
#include "witness.h"

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

/* -- a witness ------------------------------------------------------------*/

/* What copying would have noted of `piece`, which held `bytes`. */
static struct witness *testify(const struct ds_extent *piece,
                               const uint8_t *bytes)
{
    struct witness_place place = { 0 };
    struct witness_record record = {
        .offset_bytes = piece->file_offset_bytes,
        .file_index = piece->file_index,
        .length_bytes = (uint32_t)piece->length_bytes,
        .digest = XXH3_128bits(bytes, piece->length_bytes),
    };
    struct witness *witness = NULL;

    assert_int_equal(witness_open(&witness, NULL), 0);
    witness_place_add(&place, piece);
    record.place = witness_place_end(&place);
    witness_note(witness, &record);
    return witness;
}

/* The same, and that its bytes were read back at `offset` of `file`. */
static struct witness *testify_stored(const struct ds_extent *piece,
                                      const uint8_t *bytes,
                                      struct ds_file *file, uint64_t offset)
{
    static uint8_t memory[LENGTH];
    struct witness *witness = testify(piece, bytes);
    struct witness_record record;

    witness_seal(witness);
    record = *witness_find(witness, piece);
    witness_close(witness);
    witness_read_back(&record, file, offset, memory);
    assert_int_equal(witness_open(&witness, NULL), 0);
    witness_note(witness, &record);
    return witness;
}

static struct ds_verify_report compare_with(struct witness *witness)
{
    struct verify_options options = { .witness = witness, .read_back = true };
    struct ds_verify_report report;
    struct ds_error err = DS_ERROR_INIT;

    pair.left.no_map = true;
    pair.right.no_map = true;
    assert_int_equal(verify_disks(&pair.left_disk, &pair.right_disk, &options,
                                  &report, &err),
                     0);
    witness_close(witness);
    return report;
}

static void test_proof__a_witness_spares_reading_the_source(void **state)
{
    struct ds_verify_report report;

    (void)state;
    pair.right.bytes = ones;
    report = compare_with(testify(whole, ones));
    assert_true(report.identical);
    assert_true(report.witnessed_bytes == LENGTH && report.hashed_bytes == 0);
    assert_int_equal(pair.left.read_count, 0);
    assert_int_equal(pair.right.read_count, 1);
}

static void test_proof__what_was_read_back_is_not_read_again(void **state)
{
    struct ds_verify_report report;

    (void)state;
    pair.right.bytes = ones;
    report = compare_with(testify_stored(whole, ones, &pair.right.file, 0));
    assert_true(report.identical);
    assert_true(report.witnessed_bytes == LENGTH && report.hashed_bytes == 0);
    assert_int_equal(pair.left.read_count, 0);
    assert_int_equal(pair.right.read_count, 1); /* then, not now */
}

/* Storage gives other bytes than were written: it is not taken for read, and
 * the difference is found where it is. */
static void test_proof__what_reads_otherwise_was_not_read_back(void **state)
{
    static uint8_t lied[LENGTH];
    struct ds_verify_report report;

    (void)state;
    memset(lied, 1, sizeof(lied));
    lied[777] = 0;
    pair.right.bytes = lied;
    report = compare_with(testify_stored(whole, ones, &pair.right.file, 0));
    assert_false(report.identical);
    assert_true(report.difference_offset_bytes == 777);
}

/* The target's map finds the guest's bytes at another offset, or in another
 * file, than where they were written and read back. */
static void test_proof__what_was_read_back_elsewhere_is_read(void **state)
{
    static uint8_t twice[2 * LENGTH];
    struct fake_file other = pair.right;
    struct ds_verify_report report;

    (void)state;
    memset(twice, 2, LENGTH);
    memset(twice + LENGTH, 1, LENGTH);
    pair.right.bytes = twice;
    pair.right.file.size_bytes = sizeof(twice);
    report =
        compare_with(testify_stored(whole, ones, &pair.right.file, LENGTH));
    assert_false(report.identical);
    assert_true(report.difference_offset_bytes == 0);

    other.bytes = ones;
    pair.right.bytes = twos;
    report = compare_with(testify_stored(whole, ones, &other.file, 0));
    assert_false(report.identical);
}

/* Changed between writing and reading back: found, and where. */
static void test_proof__a_store_that_lies_is_found_out(void **state)
{
    static uint8_t lied[LENGTH];
    struct ds_verify_report report;

    (void)state;
    memset(lied, 1, sizeof(lied));
    lied[54321] ^= 4;
    pair.right.bytes = lied;
    report = compare_with(testify(whole, ones));
    assert_false(report.identical);
    assert_true(report.difference_offset_bytes == 54321);
}

/* Source and target agree now, but not with what was read: no proof. */
static void test_proof__a_source_that_read_otherwise_is_no_proof(void **state)
{
    struct ds_verify_report report;

    (void)state;
    pair.right.bytes = ones;
    report = compare_with(testify(whole, twos));
    assert_false(report.identical);
    assert_true(report.difference_offset_bytes == 0);
}

/* A record of another place says nothing, however well its digest fits. */
static void test_proof__a_record_of_another_place_is_not_taken(void **state)
{
    struct ds_extent other = whole[0];
    struct ds_verify_report report;

    (void)state;
    other.file_offset_bytes = 512;
    report = compare_with(testify(&other, twos));
    assert_false(report.identical);
    assert_true(report.witnessed_bytes == 0);
    other.file_offset_bytes = 0;
    other.file_index = 1;
    report = compare_with(testify(&other, twos));
    assert_false(report.identical);
    assert_true(report.witnessed_bytes == 0);
}

/* It begins where the map does and goes on elsewhere: DATA at 0, then at
 * 32768 what the map has at 16384. */
static void test_proof__a_place_is_compared_to_its_end(void **state)
{
    static const struct ds_extent jumps[] = {
        { .length_bytes = 16384, .kind = DS_EXTENT_DATA },
        { .guest_offset_bytes = 16384,
          .length_bytes = LENGTH - 32768,
          .kind = DS_EXTENT_DATA,
          .file_offset_bytes = 32768 },
        { .guest_offset_bytes = LENGTH - 16384,
          .length_bytes = 16384,
          .kind = DS_EXTENT_ZERO,
          .file_index = DS_FILE_NONE },
    };
    struct ds_verify_report report;

    (void)state;
    pair.left_image.extents = jumps;
    pair.left_image.extent_count = 3;
    report = compare_with(testify(whole, twos));
    assert_false(report.identical);
    assert_true(report.witnessed_bytes == 0);
    assert_true(report.difference_offset_bytes == 0);
}

static void test_proof__a_record_beyond_the_end_is_not_taken(void **state)
{
    struct ds_extent longer = whole[0];
    static uint8_t more[LENGTH * 2];
    struct ds_verify_report report;

    (void)state;
    longer.length_bytes = LENGTH * 2;
    pair.right.bytes = ones;
    report = compare_with(testify(&longer, more));
    assert_true(report.identical && report.witnessed_bytes == 0);
    assert_true(report.hashed_bytes == LENGTH);
}

/* However the reader cuts it, a place folds to the same. */
static void test_proof__a_place_does_not_depend_on_the_cuts(void **state)
{
    struct ds_extent unit = { .length_bytes = 8192,
                              .kind = DS_EXTENT_ENCODED,
                              .file_offset_bytes = 777,
                              .encoding = { .codec = DS_CODEC_DEFLATE,
                                            .stored_bytes = 500,
                                            .unit_bytes = 65536 } };
    struct ds_extent half = unit, rest = unit;
    struct witness_place one = { 0 }, two = { 0 }, other = { 0 };
    uint64_t fold;

    (void)state;
    half.length_bytes = 4096;
    rest.length_bytes = 4096;
    rest.encoding.skip_bytes = 4096;
    witness_place_add(&one, &unit);
    witness_place_add(&two, &half);
    witness_place_add(&two, &rest);
    fold = witness_place_end(&one);
    assert_true(fold == witness_place_end(&two));
    unit.encoding.stored_bytes++;
    witness_place_add(&other, &unit);
    assert_true(fold != witness_place_end(&other));
    other = (struct witness_place){ 0 };
    unit.encoding.stored_bytes--;
    unit.encoding.skip_bytes = 512;
    witness_place_add(&other, &unit);
    assert_true(fold != witness_place_end(&other));
}

static void test_proof__more_records_than_room_are_forgotten(void **state)
{
    struct witness_record record = { .length_bytes = 1 };
    struct witness *witness = NULL;
    struct ds_extent at = { .length_bytes = 1, .kind = DS_EXTENT_DATA };
    uint64_t most = WITNESS_BYTES_MAX / sizeof(record);

    (void)state;
    assert_int_equal(witness_open(&witness, NULL), 0);
    for (uint64_t i = most + 10; i > 0; i--) {
        record.offset_bytes = i;
        witness_note(witness, &record);
    }
    witness_seal(witness);
    at.file_offset_bytes = 11;
    assert_non_null(witness_find(witness, &at));
    at.file_offset_bytes = 10;
    assert_null(witness_find(witness, &at));
    witness_close(witness);
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
        cmocka_unit_test_setup(test_proof__a_witness_spares_reading_the_source,
                               setup),
        cmocka_unit_test_setup(test_proof__what_was_read_back_is_not_read_again,
                               setup),
        cmocka_unit_test_setup(
            test_proof__what_reads_otherwise_was_not_read_back, setup),
        cmocka_unit_test_setup(test_proof__what_was_read_back_elsewhere_is_read,
                               setup),
        cmocka_unit_test_setup(test_proof__a_store_that_lies_is_found_out,
                               setup),
        cmocka_unit_test_setup(
            test_proof__a_source_that_read_otherwise_is_no_proof, setup),
        cmocka_unit_test_setup(
            test_proof__a_record_of_another_place_is_not_taken, setup),
        cmocka_unit_test_setup(test_proof__a_place_is_compared_to_its_end,
                               setup),
        cmocka_unit_test_setup(test_proof__a_record_beyond_the_end_is_not_taken,
                               setup),
        cmocka_unit_test_setup(test_proof__a_place_does_not_depend_on_the_cuts,
                               setup),
        cmocka_unit_test_setup(test_proof__more_records_than_room_are_forgotten,
                               setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
