/* SPDX-License-Identifier: Apache-2.0 */
/* formats/vhd: what is found, how large it is, where it lies. */
#include <inttypes.h>

#include "vhd_testing.h"

/* -- probing -------------------------------------------------------------- */

static void test_vhd__probe_finds_footers(void **state)
{
    struct memory_file memory = sample_fixed(4096);

    (void)state;
    assert_true(probe(&memory));
    memory_file_resize(&memory, 4096 + 511);
    assert_true(probe(&memory));
    memory_file_resize(&memory, 4096 + 510);
    assert_false(probe(&memory));
    free(memory.bytes);

    memory = sample_dynamic();
    assert_true(probe(&memory));
    memset(memory.bytes + SAMPLE_FOOTER, 0, 512);
    assert_true(probe(&memory)); /* by the copy */
    memset(memory.bytes, 0, 512);
    assert_false(probe(&memory));
    free(memory.bytes);
}

static void test_vhd__probe_takes_no_fixed_footer_at_the_head(void **state)
{
    struct memory_file memory = memory_file_make(8192);

    (void)state;
    put_footer(memory.bytes, 2, 512);
    assert_false(probe(&memory));
    free(memory.bytes);
}

/* Taken for raw it would be converted to nonsense without a word. */
static void test_vhd__probe_knows_a_damaged_footer(void **state)
{
    struct memory_file memory = sample_fixed(4096);

    (void)state;
    memory.bytes[4096 + 100] ^= 1;
    assert_true(probe(&memory));
    expect_failure(memory, DS_ERR_CORRUPT, "vhd: footer: checksum, have 0x");
}

static void test_vhd__probe_short_and_empty_files(void **state)
{
    (void)state;
    for (unsigned size = 0; size <= 1024; size++) {
        struct memory_file memory = memory_file_make(size);

        assert_false(probe(&memory));
        expect_failure(memory, DS_ERR_CORRUPT, "vhd: footer: ");
    }
}

/* -- footers -------------------------------------------------------------- */

static void test_vhd__fixed_is_identity(void **state)
{
    struct memory_file memory = sample_fixed(8192);
    struct ds_extent extent;
    struct ds_error err;
    uint64_t size;
    size_t count;

    (void)state;
    assert_int_equal(read_all(&memory, &extent, 1, &count, &size, &err), 0);
    assert_int_equal(size, 8192);
    assert_int_equal(count, 1);
    assert_extent(&extent, DS_EXTENT_DATA, 0, 8192, 0, 0);
    free(memory.bytes);
}

static void test_vhd__fixed_with_footer_of_511_bytes(void **state)
{
    struct memory_file memory = sample_fixed(8192);

    (void)state;
    memory_file_resize(&memory, 8192 + 511);
    expect_size(memory, 8192);
}

static void test_vhd__fixed_truncated(void **state)
{
    struct memory_file memory = sample_fixed(8192);

    (void)state;
    put_be(memory.bytes + 8192 + 48, 8, 8192 + 512);
    put_checksum(memory.bytes + 8192, 512, FOOTER_CHECKSUM);
    expect_failure(memory, DS_ERR_CORRUPT, "truncated");
}

/* The guest owns byte 0 of a fixed disk: what it writes there is data. */
static void test_vhd__fixed_holds_a_dynamic_footer_of_the_guests(void **state)
{
    struct memory_file inner = sample_dynamic();
    struct memory_file memory = memory_file_make(SAMPLE_FILE + 512);
    struct ds_extent extent;
    struct ds_error err;
    uint64_t size;
    size_t count;

    (void)state;
    memcpy(memory.bytes, inner.bytes, SAMPLE_FILE);
    put_footer(memory.bytes + SAMPLE_FILE, 2, SAMPLE_FILE);
    assert_int_equal(read_all(&memory, &extent, 1, &count, &size, &err), 0);
    assert_int_equal(size, SAMPLE_FILE);
    assert_extent(&extent, DS_EXTENT_DATA, 0, SAMPLE_FILE, 0, 0);
    /* ... also when the real footer is damaged but says that it is fixed. */
    memory.bytes[SAMPLE_FILE + 100] ^= 1;
    free(inner.bytes);
    expect_failure(memory, DS_ERR_CORRUPT, "vhd: footer: checksum");
}

static void test_vhd__dynamic_map(void **state)
{
    struct memory_file memory = sample_dynamic();
    struct ds_extent extents[5];
    struct ds_error err;
    uint64_t size;
    size_t count;

    (void)state;
    assert_int_equal(read_all(&memory, extents, 5, &count, &size, &err), 0);
    assert_int_equal(size, SAMPLE_SIZE);
    assert_int_equal(count, 4);
    assert_extent(&extents[0], DS_EXTENT_DATA, 0, 4096, 0, 6656 + 512);
    assert_extent(&extents[1], DS_EXTENT_HOLE, 4096, 3 * 4096, DS_FILE_NONE, 0);
    assert_extent(&extents[2], DS_EXTENT_DATA, 4 * 4096, 4096, 0, 2048 + 512);
    assert_extent(&extents[3], DS_EXTENT_DATA, 5 * 4096, 512, 0, 11264 + 512);
    free(memory.bytes);
}

static void test_vhd__dynamic_extent_begins_where_asked(void **state)
{
    struct memory_file memory = sample_dynamic();
    struct ds_error err = DS_ERROR_INIT;
    struct ds_cursor cursor = { 0 };
    struct ds_image *image;
    struct ds_extent extent;

    (void)state;
    assert_int_equal(
        vhd_format_ops.open(&memory.file, &references, &image, &err), 0);
    assert_int_equal(
        vhd_format_ops.extent_at(image, &cursor, 1024, &extent, &err), 0);
    assert_extent(&extent, DS_EXTENT_DATA, 1024, 3072, 0, 7168 + 1024);
    assert_int_equal(
        vhd_format_ops.extent_at(image, &cursor, 8192 + 512, &extent, &err), 0);
    assert_extent(&extent, DS_EXTENT_HOLE, 8192 + 512, 8192 - 512, DS_FILE_NONE,
                  0);
    cursor_free(&cursor);
    vhd_format_ops.close(image);
    free(memory.bytes);
}

static void test_vhd__copy_stands_in_for_a_damaged_end_footer(void **state)
{
    struct memory_file memory = sample_dynamic();

    (void)state;
    memory.bytes[SAMPLE_FOOTER + 3] ^= 1;
    expect_size(memory, SAMPLE_SIZE);
    memory = sample_dynamic();
    memory.bytes[SAMPLE_FOOTER + 300] ^= 1;
    expect_size(memory, SAMPLE_SIZE);
    memory = sample_dynamic();
    memory_file_resize(&memory, SAMPLE_FOOTER); /* cut off */
    expect_size(memory, SAMPLE_SIZE);
}

static void test_vhd__end_footer_rules_over_its_copy(void **state)
{
    struct memory_file memory = sample_dynamic();

    (void)state;
    put_be(memory.bytes + 48, 8, 4096); /* the copy says less */
    put_checksum(memory.bytes, 512, FOOTER_CHECKSUM);
    expect_size(memory, SAMPLE_SIZE);
    memory = sample_dynamic();
    memset(memory.bytes, 0, 512); /* no copy at all */
    expect_size(memory, SAMPLE_SIZE);
}

static void test_vhd__both_footers_damaged(void **state)
{
    struct memory_file memory = sample_dynamic();

    (void)state;
    memory.bytes[100] ^= 1;
    memory.bytes[SAMPLE_FOOTER + 100] ^= 1;
    assert_true(probe(&memory));
    expect_failure(memory, DS_ERR_CORRUPT, "vhd: footer: checksum, have 0x");
}

static void test_vhd__disk_types(void **state)
{
    (void)state;
    expect_failure(sample_footer_poked(60, 4, 0), DS_ERR_CORRUPT, "disk type");
    expect_failure(sample_footer_poked(60, 4, 1), DS_ERR_UNSUPPORTED,
                   "disk type 1");
    expect_failure(sample_footer_poked(60, 4, 5), DS_ERR_UNSUPPORTED,
                   "disk type 5");
    expect_failure(sample_footer_poked(60, 4, 6), DS_ERR_UNSUPPORTED,
                   "disk type 6");
    expect_failure(sample_footer_poked(60, 4, UINT32_MAX), DS_ERR_CORRUPT,
                   "disk type");
}

/* -- size ----------------------------------------------------------------- */

static struct memory_file sized(const char creator[4], uint16_t cylinders,
                                uint8_t heads, uint8_t sectors)
{
    uint64_t size = 400 * 1024;
    struct memory_file memory = sample_fixed(size);
    uint8_t *footer = memory.bytes + size;

    memcpy(footer + 28, creator, 4);
    put_be(footer + 56, 2, cylinders);
    footer[58] = heads;
    footer[59] = sectors;
    put_checksum(footer, 512, FOOTER_CHECKSUM);
    return memory;
}

static void test_vhd__size_by_creator(void **state)
{
    static const char others[][5] = { "win ",  "d2v\0", "qem2", "CTXS",
                                      "tap\0", "vbox",  "vs  " };

    (void)state;
    expect_size(sized("vpc ", 10, 4, 17), 10 * 4 * 17 * 512);
    expect_size(sized("qemu", 10, 4, 17), 10 * 4 * 17 * 512);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        expect_size(sized(others[i], 10, 4, 17), 400 * 1024);
}

static void test_vhd__size_of_largest_geometry_is_current_size(void **state)
{
    (void)state;
    expect_size(sized("vpc ", 65535, 16, 255), 400 * 1024);
    expect_size(sized("qemu", 65535, 16, 255), 400 * 1024);
    expect_failure(sized("vpc ", 65534, 16, 255), DS_ERR_CORRUPT, "truncated");
}

static void test_vhd__size_of_empty_geometry(void **state)
{
    (void)state;
    expect_failure(sized("vpc ", 0, 4, 17), DS_ERR_CORRUPT,
                   "vhd: footer: geometry, have 0/4/17");
    expect_size(sized("win ", 0, 0, 0), 400 * 1024);
}

static void test_vhd__size_not_of_whole_sectors(void **state)
{
    (void)state;
    expect_failure(sample_footer_poked(48, 8, SAMPLE_SIZE - 1), DS_ERR_CORRUPT,
                   "expect a multiple of 512");
}

/* -- regions -------------------------------------------------------------- */

struct region_list {
    struct ds_region regions[16];
    size_t count;
};

static int collect_region(void *user, const struct ds_region *region,
                          struct ds_error *err)
{
    struct region_list *list = user;

    (void)err;
    assert_true(list->count < 16);
    list->regions[list->count++] = *region;
    return 0;
}

static void assert_region(const struct region_list *list, const char *name,
                          uint64_t offset, uint64_t length)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct ds_region *region = &list->regions[i];

        if (strcmp(region->name, name) == 0 && region->offset_bytes == offset &&
            region->length_bytes == length)
            return;
    }
    fail_msg("no region %s at %" PRIu64, name, offset);
}

static void test_vhd__regions(void **state)
{
    struct memory_file memory = sample_dynamic();
    struct region_list list = { .count = 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    (void)state;
    assert_int_equal(
        vhd_format_ops.open(&memory.file, &references, &image, &err), 0);
    assert_int_equal(vhd_format_ops.regions(image, collect_region, &list, &err),
                     0);
    assert_int_equal(list.count, 7);
    assert_region(&list, "footer copy", 0, 512);
    assert_region(&list, "dynamic header", 512, 1024);
    assert_region(&list, "bat", 1536, 512);
    assert_region(&list, "block bitmap", 2048, 512);
    assert_region(&list, "block bitmap", 6656, 512);
    assert_region(&list, "block bitmap", 11264, 512);
    assert_region(&list, "footer", SAMPLE_FOOTER, 512);
    vhd_format_ops.close(image);
    free(memory.bytes);
}

/* A region callback may stop the walk. */
static int stop_at_bitmap(void *user, const struct ds_region *region,
                          struct ds_error *err)
{
    size_t *count = user;

    if (strcmp(region->name, "block bitmap") != 0)
        return 0;
    (*count)++;
    return ds_fail(err, DS_ERR_CANCELLED, "enough");
}

static void test_vhd__regions_stop_when_told(void **state)
{
    struct memory_file memory = sample_dynamic();
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    size_t count = 0;

    (void)state;
    assert_int_equal(
        vhd_format_ops.open(&memory.file, &references, &image, &err), 0);
    assert_int_equal(
        vhd_format_ops.regions(image, stop_at_bitmap, &count, &err),
        -DS_ERR_CANCELLED);
    assert_int_equal(count, 1);
    vhd_format_ops.close(image);
    free(memory.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vhd__probe_finds_footers),
        cmocka_unit_test(test_vhd__probe_takes_no_fixed_footer_at_the_head),
        cmocka_unit_test(test_vhd__probe_knows_a_damaged_footer),
        cmocka_unit_test(test_vhd__probe_short_and_empty_files),
        cmocka_unit_test(test_vhd__fixed_is_identity),
        cmocka_unit_test(test_vhd__fixed_with_footer_of_511_bytes),
        cmocka_unit_test(test_vhd__fixed_truncated),
        cmocka_unit_test(test_vhd__fixed_holds_a_dynamic_footer_of_the_guests),
        cmocka_unit_test(test_vhd__dynamic_map),
        cmocka_unit_test(test_vhd__dynamic_extent_begins_where_asked),
        cmocka_unit_test(test_vhd__copy_stands_in_for_a_damaged_end_footer),
        cmocka_unit_test(test_vhd__end_footer_rules_over_its_copy),
        cmocka_unit_test(test_vhd__both_footers_damaged),
        cmocka_unit_test(test_vhd__disk_types),
        cmocka_unit_test(test_vhd__size_by_creator),
        cmocka_unit_test(test_vhd__size_of_largest_geometry_is_current_size),
        cmocka_unit_test(test_vhd__size_of_empty_geometry),
        cmocka_unit_test(test_vhd__size_not_of_whole_sectors),
        cmocka_unit_test(test_vhd__regions),
        cmocka_unit_test(test_vhd__regions_stop_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
