/* SPDX-License-Identifier: Apache-2.0 */
/* formats/raw and engine/base/flat.c. */
#include "vhd_testing.h"

extern const struct ds_format_ops raw_format_ops;

static struct ds_image *open_raw(struct memory_file *memory)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image = NULL;

    assert_int_equal(
        raw_format_ops.open(&memory->file, &references, &image, &err), 0);
    return image;
}

static void done(struct ds_image *image, struct memory_file *memory)
{
    raw_format_ops.close(image);
    free(memory->bytes);
}

static void test_raw__probe_says_no(void **state)
{
    struct ds_probe probe = { 0 };

    (void)state;
    assert_false(raw_format_ops.probe(&probe));
}

static void test_raw__without_physical_map_all_is_data(void **state)
{
    struct memory_file memory = memory_file_make(8192);
    struct ds_image *image = open_raw(&memory);
    struct ds_error err = DS_ERROR_INIT;
    struct ds_extent extents[2];
    size_t count;

    (void)state;
    assert_int_equal(image->size_bytes, 8192);
    assert_int_equal(walk(image, extents, 2, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_extent(&extents[0], DS_EXTENT_DATA, 0, 8192, 0, 0);
    /* That the store has no map is no error to be left behind. */
    assert_int_equal(err.error_class, DS_OK);
    done(image, &memory);
}

static void test_raw__holes_and_unwritten_are_zeros_in_place(void **state)
{
    static const struct ds_physical_extent physical[] = {
        { 4096, 4096, 1 << 20, 0 },
        { 8192, 4096, 2 << 20, DS_PHYSICAL_UNWRITTEN },
        { 12288, 4096, 3 << 20, 0 },
        { 20480, 4096, 0, DS_PHYSICAL_UNWRITTEN | DS_PHYSICAL_UNPROVABLE },
    };
    struct memory_file memory = memory_file_make(32768);
    struct ds_image *image = open_raw(&memory);
    struct ds_error err = DS_ERROR_INIT;
    struct ds_extent extents[8];
    size_t count;

    (void)state;
    memory.extents = physical;
    memory.extent_count = 4;
    assert_int_equal(walk(image, extents, 8, &count, &err), 0);
    assert_int_equal(count, 7);
    assert_extent(&extents[0], DS_EXTENT_ZERO, 0, 4096, 0, 0);
    assert_extent(&extents[1], DS_EXTENT_DATA, 4096, 4096, 0, 4096);
    assert_extent(&extents[2], DS_EXTENT_ZERO, 8192, 4096, 0, 8192);
    assert_extent(&extents[3], DS_EXTENT_DATA, 12288, 4096, 0, 12288);
    assert_extent(&extents[4], DS_EXTENT_ZERO, 16384, 4096, 0, 16384);
    /* Doubtful: read it. */
    assert_extent(&extents[5], DS_EXTENT_DATA, 20480, 4096, 0, 20480);
    assert_extent(&extents[6], DS_EXTENT_ZERO, 24576, 8192, 0, 24576);
    done(image, &memory);
}

static void test_raw__odd_tail_is_padded_with_zeros_from_nowhere(void **state)
{
    struct memory_file memory = memory_file_make(1000);
    static const struct ds_physical_extent physical[] = {
        { 0, 4096, 1 << 20, 0 } /* whole blocks, beyond the end */
    };
    struct ds_image *image = open_raw(&memory);
    struct ds_error err = DS_ERROR_INIT;
    struct ds_extent extents[3];
    size_t count;

    (void)state;
    memory.extents = physical;
    memory.extent_count = 1;
    assert_int_equal(image->size_bytes, 1024);
    assert_int_equal(walk(image, extents, 3, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_extent(&extents[0], DS_EXTENT_DATA, 0, 1000, 0, 0);
    assert_extent(&extents[1], DS_EXTENT_ZERO, 1000, 24, DS_FILE_NONE, 0);
    done(image, &memory);
}

static void test_raw__empty_file_is_an_empty_disk(void **state)
{
    struct memory_file memory = memory_file_make(0);
    struct ds_image *image = open_raw(&memory);

    (void)state;
    assert_int_equal(image->size_bytes, 0);
    done(image, &memory);
}

static void test_raw__target_is_identity(void **state)
{
    struct ds_target_request request = { .path = "x", .size_bytes = 1536 };
    struct ds_footprint footprint = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_target *target;
    struct ds_seal seal;

    (void)state;
    assert_int_equal(raw_format_ops.target_open(&request, &target, &err), 0);
    assert_int_equal(target->layout.unit_bytes, 0);
    assert_int_equal(target->layout.head_bytes, 0);
    assert_int_equal(target->layout.file_count, 1);
    assert_true(target->layout.graftable);
    assert_int_equal(
        raw_format_ops.target_seal(target, &footprint, &seal, &err), 0);
    assert_int_equal(seal.file_size_bytes[0], 1536);
    assert_int_equal(seal.metadata_bytes, 0);
    raw_format_ops.target_close(target);
}

static void test_raw__target_has_no_options(void **state)
{
    const char *options[] = { "subformat=fixed" };
    struct ds_target_request request = {
        .path = "x", .size_bytes = 512, .options = options, .option_count = 1
    };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_target *target;

    (void)state;
    assert_int_equal(raw_format_ops.target_open(&request, &target, &err),
                     -DS_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw__probe_says_no),
        cmocka_unit_test(test_raw__without_physical_map_all_is_data),
        cmocka_unit_test(test_raw__holes_and_unwritten_are_zeros_in_place),
        cmocka_unit_test(test_raw__odd_tail_is_padded_with_zeros_from_nowhere),
        cmocka_unit_test(test_raw__empty_file_is_an_empty_disk),
        cmocka_unit_test(test_raw__target_is_identity),
        cmocka_unit_test(test_raw__target_has_no_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
