/* SPDX-License-Identifier: Apache-2.0 */
/* Reading VHDX: records and map. */
#include "vhdx_fixture.h"

static void check_extent(const struct ds_extent *extent, uint64_t guest,
                         uint64_t length, enum ds_extent_kind kind,
                         uint64_t offset)
{
    assert_int_equal(extent->guest_offset_bytes, guest);
    assert_int_equal(extent->length_bytes, length);
    assert_int_equal(extent->kind, kind);
    assert_int_equal(extent->file_offset_bytes, offset);
    assert_int_equal(extent->file_index,
                     kind == DS_EXTENT_DATA ? 0 : DS_FILE_NONE);
}

static void test_vhdx__map_of_all_states(void **state)
{
    struct memory_file memory;
    struct ds_extent extents[8];
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    (void)state;
    fix_image(&memory);
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_int_equal(image->size_bytes, FIX_DISK_BYTES);
    assert_int_equal(fix_map(image, extents, 8, &err), 6);
    check_extent(&extents[0], 0, 2 * MIB, DS_EXTENT_DATA, 4 * MIB);
    check_extent(&extents[1], 2 * MIB, MIB, DS_EXTENT_ZERO, 0);
    check_extent(&extents[2], 3 * MIB, MIB, DS_EXTENT_HOLE, 0);
    check_extent(&extents[3], 4 * MIB, MIB, DS_EXTENT_DATA, 7 * MIB);
    check_extent(&extents[4], 5 * MIB, MIB, DS_EXTENT_ZERO, 0);
    check_extent(&extents[5], 6 * MIB, 512, DS_EXTENT_DATA, 8 * MIB);
    image->format->close(image);
    fix_free(&memory);
}

static void test_vhdx__extent_from_the_middle_of_a_block(void **state)
{
    struct memory_file memory;
    struct ds_cursor cursor = { 0 };
    struct ds_extent extent = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    (void)state;
    fix_image(&memory);
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_int_equal(
        image->format->extent_at(image, &cursor, MIB + 512, &extent, &err), 0);
    check_extent(&extent, MIB + 512, MIB - 512, DS_EXTENT_DATA, 5 * MIB + 512);
    assert_int_equal(
        image->format->extent_at(image, &cursor, 2 * MIB + 4096, &extent, &err),
        0);
    check_extent(&extent, 2 * MIB + 4096, MIB - 4096, DS_EXTENT_ZERO, 0);
    cursor_free(&cursor);
    image->format->close(image);
    fix_free(&memory);
}

struct region_sum {
    unsigned count;
    uint64_t bytes;
};

static int sum_region(void *user, const struct ds_region *region,
                      struct ds_error *err)
{
    struct region_sum *sum = user;

    (void)err;
    assert_non_null(region->name);
    sum->count++;
    sum->bytes += region->length_bytes;
    return 0;
}

static void test_vhdx__regions_name_all_tables(void **state)
{
    struct memory_file memory;
    struct region_sum sum = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    (void)state;
    fix_image(&memory);
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_int_equal(image->format->regions(image, sum_region, &sum, &err), 0);
    assert_int_equal(sum.count, 4); /* headers, log, metadata, bat */
    assert_int_equal(sum.bytes, 4 * MIB);
    image->format->close(image);
    fix_free(&memory);
}

static void test_vhdx__one_damaged_header_is_fine(void **state)
{
    static const unsigned offsets[2] = { FIX_HEADER_1, FIX_HEADER_2 };

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct memory_file memory;
        struct ds_error err = DS_ERROR_INIT;

        fix_image(&memory);
        memory.bytes[offsets[i] + 100] ^= 1;
        assert_int_equal(fix_try(&memory, &err), 0);
        fix_free(&memory);
    }
}

static void test_vhdx__identical_headers_are_fine(void **state)
{
    struct memory_file memory;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    fix_image(&memory);
    fix_header(memory.bytes + FIX_HEADER_1, 8);
    assert_int_equal(fix_try(&memory, &err), 0);
    fix_free(&memory);
}

/* States other than 6 may keep an old offset, wherever it points. */
static void test_vhdx__offset_of_absent_blocks_is_ignored(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 3; bits++) {
        struct memory_file memory;
        struct ds_error err = DS_ERROR_INIT;

        fix_image(&memory);
        put(memory.bytes + FIX_BAT + 8,
            (UINT64_MAX & ~UINT64_C(0xfffff)) | bits, 8);
        assert_int_equal(fix_try(&memory, &err), 0);
        fix_free(&memory);
    }
}

/* 256 MiB blocks: 16 to a chunk. The 17th entry is the sector bitmap's and
 * holds what QEMU could leave there: a payload pointer. */
static void test_vhdx__sector_bitmap_entries_are_stepped_over(void **state)
{
    const uint64_t block = UINT64_C(256) * MIB;
    struct memory_file memory;
    struct ds_extent extents[4];
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    unsigned entry = 0;

    (void)state;
    fix_image(&memory);
    memory.file.size_bytes = 4 * MIB + 40 * block;
    put(memory.bytes + FIX_METADATA + 0x10000, block, 4);
    put(memory.bytes + FIX_METADATA + 0x10008, 40 * block, 8);
    for (uint64_t i = 0; i < 40; i++) {
        if (i != 0 && i % 16 == 0)
            put(memory.bytes + FIX_BAT + 8 * entry++, 4 * MIB | 6, 8);
        put(memory.bytes + FIX_BAT + 8 * entry++, (4 * MIB + i * block) | 6, 8);
    }
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_int_equal(fix_map(image, extents, 4, &err), 1);
    check_extent(&extents[0], 0, 40 * block, DS_EXTENT_DATA, 4 * MIB);
    image->format->close(image);
    fix_free(&memory);
}

/* 4096-byte sectors make the chunks eight times as long. */
static void test_vhdx__large_sectors_change_the_chunk_ratio(void **state)
{
    const uint64_t block = UINT64_C(256) * MIB;
    struct memory_file memory;
    struct ds_extent extents[4];
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    unsigned entry = 0;

    (void)state;
    fix_image(&memory);
    memory.file.size_bytes = 4 * MIB + 200 * block;
    put(memory.bytes + FIX_METADATA + 0x10000, block, 4);
    put(memory.bytes + FIX_METADATA + 0x10008, 200 * block, 8);
    put(memory.bytes + FIX_METADATA + 0x10010, 4096, 4);
    for (uint64_t i = 0; i < 200; i++) {
        if (i == 128)
            entry++;
        put(memory.bytes + FIX_BAT + 8 * entry++, (4 * MIB + i * block) | 6, 8);
    }
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_int_equal(fix_map(image, extents, 4, &err), 1);
    check_extent(&extents[0], 0, 200 * block, DS_EXTENT_DATA, 4 * MIB);
    image->format->close(image);
    fix_free(&memory);
}

/* A BAT of several windows, one run from end to end. */
static void test_vhdx__run_over_many_windows(void **state)
{
    const uint64_t count = 100000;
    struct memory_file memory;
    struct ds_extent extents[4];
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    unsigned entry = 0;

    (void)state;
    fix_image(&memory);
    memory.file.size_bytes = 4 * MIB + count * MIB;
    put(memory.bytes + FIX_METADATA + 0x10008, count * MIB, 8);
    for (uint64_t i = 0; i < count; i++) {
        if (i != 0 && i % 4096 == 0)
            put(memory.bytes + FIX_BAT + 8 * entry++, 0, 8);
        put(memory.bytes + FIX_BAT + 8 * entry++, (4 * MIB + i * MIB) | 6, 8);
    }
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_int_equal(fix_map(image, extents, 4, &err), 1);
    check_extent(&extents[0], 0, count * MIB, DS_EXTENT_DATA, 4 * MIB);
    image->format->close(image);
    fix_free(&memory);
}

/* Chunks of 16 blocks without data, all alike but for two entries: none is
 * stepped over with the others. What a sector bitmap's entry holds says
 * nothing. */
static void test_vhdx__chunks_alike_are_one_run(void **state)
{
    const uint64_t block = UINT64_C(256) * MIB;
    const uint64_t count = 400;
    struct memory_file memory;
    struct ds_extent extents[8];
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    unsigned entry = 0;

    (void)state;
    for (uint64_t odd = 0; odd < count; odd++) {
        size_t found = odd == 0 || odd == count - 1 ? 2 : 3;

        fix_image(&memory);
        put(memory.bytes + FIX_METADATA + 0x10000, block, 4);
        put(memory.bytes + FIX_METADATA + 0x10008, count * block, 8);
        entry = 0;
        for (uint64_t i = 0; i < count; i++) {
            if (i != 0 && i % 16 == 0)
                put(memory.bytes + FIX_BAT + 8 * entry++,
                    i == 320 ? 4 * MIB | 6 : 0, 8);
            put(memory.bytes + FIX_BAT + 8 * entry++, i == odd ? 0 : 2, 8);
        }
        assert_int_equal(fix_open(&memory, &image, &err), 0);
        assert_int_equal(fix_map(image, extents, 8, &err), found);
        for (size_t i = 0; i < found; i++)
            if (extents[i].kind == DS_EXTENT_HOLE)
                check_extent(&extents[i], odd * block, block, DS_EXTENT_HOLE,
                             0);
        image->format->close(image);
        fix_free(&memory);
    }
}

static void test_vhdx__probe(void **state)
{
    struct ds_probe probe = { .head = "vhdxfile", .head_bytes = 8 };

    (void)state;
    assert_true(vhdx_format_ops.probe(&probe));
    probe.head_bytes = 7;
    assert_false(vhdx_format_ops.probe(&probe));
    probe.head_bytes = 8;
    probe.head[7] = 'x';
    assert_false(vhdx_format_ops.probe(&probe));
}

struct fact_seen {
    const char *key;
    const char *text;
    uint64_t number;
    bool seen;
};

static void see_fact(void *user, const struct ds_fact *fact)
{
    struct fact_seen *wanted = user;

    for (; wanted->key != NULL; wanted++) {
        if (strcmp(wanted->key, fact->key) != 0)
            continue;
        assert_false(wanted->seen);
        wanted->seen = true;
        if (wanted->text != NULL)
            assert_string_equal(wanted->text, fact->text);
        else
            assert_int_equal(wanted->number, fact->number);
    }
}

static void test_vhdx__facts(void **state)
{
    struct fact_seen wanted[] = {
        { "subformat", "fixed", 0, false },
        { "creator", "T\xc3\xa9?", 0, false },
        { "block_bytes", NULL, MIB, false },
        { "virtual_disk_id", "33333333-3333-3333-3333-333333333333", 0, false },
        { "header_1_valid", NULL, 0, false },
        { "header_sequence", NULL, 8, false },
        { "log_dirty", NULL, 0, false },
        { "bat_offset_bytes", NULL, FIX_BAT, false },
        { NULL, NULL, 0, false },
    };
    struct memory_file memory;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    (void)state;
    fix_image(&memory);
    put(memory.bytes + 10, 0xe9, 2); /* e acute, then half a pair */
    put(memory.bytes + 12, 0xd800, 2);
    put(memory.bytes + FIX_METADATA + 0x10004, 1, 4);
    memory.bytes[FIX_HEADER_1 + 100] ^= 1;
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    image->format->facts(image, see_fact, wanted);
    for (unsigned i = 0; wanted[i].key != NULL; i++)
        assert_true(wanted[i].seen);
    image->format->close(image);
    fix_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vhdx__map_of_all_states),
        cmocka_unit_test(test_vhdx__extent_from_the_middle_of_a_block),
        cmocka_unit_test(test_vhdx__regions_name_all_tables),
        cmocka_unit_test(test_vhdx__one_damaged_header_is_fine),
        cmocka_unit_test(test_vhdx__identical_headers_are_fine),
        cmocka_unit_test(test_vhdx__offset_of_absent_blocks_is_ignored),
        cmocka_unit_test(test_vhdx__sector_bitmap_entries_are_stepped_over),
        cmocka_unit_test(test_vhdx__large_sectors_change_the_chunk_ratio),
        cmocka_unit_test(test_vhdx__run_over_many_windows),
        cmocka_unit_test(test_vhdx__chunks_alike_are_one_run),
        cmocka_unit_test(test_vhdx__probe),
        cmocka_unit_test(test_vhdx__facts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
