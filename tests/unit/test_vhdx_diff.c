/* SPDX-License-Identifier: Apache-2.0 */
/* formats/vhdx: the map of differencing disks. */
#include "vhdx_diff_fixture.h"

static int map_of(struct memory_file *memory, struct ds_extent *extents)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    int count = fix_open(memory, &image, &err);

    if (count == 0) {
        count = fix_map(image, extents, 32, &err);
        image->format->close(image);
    }
    if (count < 0)
        print_error("%s\n", err.message);
    return count;
}

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

/* -- the map -------------------------------------------------------------- */

static void test_vhdx_diff__map_of_all_states(void **state)
{
    struct memory_file memory;
    struct ds_extent extents[32];

    (void)state;
    fix_child(&memory);
    assert_int_equal(map_of(&memory, extents), 12);
    check_extent(&extents[0], 0, 512, DS_EXTENT_DATA, 4 * MIB);
    check_extent(&extents[1], 512, 512, DS_EXTENT_HOLE, 0);
    check_extent(&extents[2], 1024, 1024, DS_EXTENT_DATA, 4 * MIB + 1024);
    check_extent(&extents[3], 2048, 1536, DS_EXTENT_HOLE, 0);
    check_extent(&extents[4], 3584, 512, DS_EXTENT_DATA, 4 * MIB + 3584);
    check_extent(&extents[5], 4096, MIB - 4096, DS_EXTENT_HOLE, 0);
    check_extent(&extents[6], MIB, MIB, DS_EXTENT_DATA, 5 * MIB);
    check_extent(&extents[7], 2 * MIB, MIB, DS_EXTENT_ZERO, 0);
    check_extent(&extents[8], 3 * MIB, MIB + MIB / 2, DS_EXTENT_HOLE, 0);
    check_extent(&extents[9], 4 * MIB + MIB / 2, MIB / 2, DS_EXTENT_DATA,
                 7 * MIB + MIB / 2);
    check_extent(&extents[10], 5 * MIB, MIB, DS_EXTENT_ZERO, 0);
    check_extent(&extents[11], 6 * MIB, 512, DS_EXTENT_DATA, 8 * MIB);
    fix_free(&memory);
}

/* Bits behind the disk's last sector mean nothing. */
static void test_vhdx_diff__last_block_ends_with_the_disk(void **state)
{
    struct memory_file memory;
    struct ds_cursor cursor = { 0 };
    struct ds_extent extent = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    (void)state;
    fix_child(&memory);
    memset(memory.bytes + BITMAP + 6 * 256, 0xff, 256);
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_int_equal(
        image->format->extent_at(image, &cursor, 6 * MIB + 256, &extent, &err),
        0);
    check_extent(&extent, 6 * MIB + 256, 256, DS_EXTENT_DATA, 8 * MIB + 256);
    cursor_free(&cursor);
    image->format->close(image);
    fix_free(&memory);
}

/* 4096-byte sectors: a bit for each, chunks eight times as long. */
static void test_vhdx_diff__large_sectors(void **state)
{
    struct memory_file memory;
    struct ds_extent extents[32];

    (void)state;
    fix_child(&memory);
    put(memory.bytes + FIX_METADATA + 0x10008, 6 * MIB + 4096, 8);
    put(memory.bytes + FIX_METADATA + 0x10010, 4096, 4);
    put(memory.bytes + BAT_BITMAP(RATIO_512), 0, 8);
    put(memory.bytes + BAT_BITMAP(RATIO_4096), BITMAP | 6, 8);
    memset(memory.bytes + BITMAP, 0, 4096);
    memory.bytes[BITMAP] = 0x06;
    memset(memory.bytes + BITMAP + 4 * 32, 0xff, 16);
    assert_int_equal(map_of(&memory, extents), 10);
    check_extent(&extents[0], 0, 4096, DS_EXTENT_HOLE, 0);
    check_extent(&extents[1], 4096, 8192, DS_EXTENT_DATA, 4 * MIB + 4096);
    check_extent(&extents[2], 12288, MIB - 12288, DS_EXTENT_HOLE, 0);
    check_extent(&extents[5], 3 * MIB, MIB, DS_EXTENT_HOLE, 0);
    check_extent(&extents[6], 4 * MIB, MIB / 2, DS_EXTENT_DATA, 7 * MIB);
    check_extent(&extents[7], 4 * MIB + MIB / 2, MIB / 2, DS_EXTENT_HOLE, 0);
    check_extent(&extents[9], 6 * MIB, 4096, DS_EXTENT_HOLE, 0);
    fix_free(&memory);
}

/* The 17th block of 256 MiB is the second chunk's first. */
static void test_vhdx_diff__each_chunk_has_its_bitmap(void **state)
{
    const uint64_t block = UINT64_C(256) * MIB;
    struct memory_file memory;
    struct ds_extent extents[32];

    (void)state;
    fix_child(&memory);
    memory.file.size_bytes = 4 * MIB + 40 * block;
    put(memory.bytes + FIX_METADATA + 0x10000, block, 4);
    put(memory.bytes + FIX_METADATA + 0x10008, 20 * block, 8);
    memset(memory.bytes + FIX_BAT, 0, 65536);
    put(memory.bytes + FIX_BAT + 8 * 15, (16 * MIB) | 7, 8);
    put(memory.bytes + FIX_BAT + 8 * 16, BITMAP | 6, 8);
    put(memory.bytes + FIX_BAT + 8 * 17, (16 * MIB + block) | 7, 8);
    put(memory.bytes + FIX_BAT + 8 * (17 + 16), (8 * MIB) | 6, 8);
    /* Block 15: its last 64 KiB of bits end the bitmap; block 16 begins one.
     */
    memset(memory.bytes + BITMAP, 0, MIB);
    memset(memory.bytes + BITMAP + 15 * 65536 + 32768, 0xff, 32768);
    memset(memory.bytes + 8 * MIB, 0xff, 16);
    assert_int_equal(map_of(&memory, extents), 3);
    check_extent(&extents[0], 0, 15 * block + block / 2, DS_EXTENT_HOLE, 0);
    check_extent(&extents[1], 15 * block + block / 2, block / 2 + 128 * 512,
                 DS_EXTENT_DATA, 16 * MIB + block / 2);
    check_extent(&extents[2], 16 * block + 128 * 512, 4 * block - 128 * 512,
                 DS_EXTENT_HOLE, 0);
    fix_free(&memory);
}

static void test_vhdx_diff__bitmap_entries_are_checked(void **state)
{
    static const struct {
        uint64_t entry;
        const char *words;
    } wrong[] = {
        { 0, "block 0 is partially present, have no sector bitmap 0" },
        { BITMAP | 1, "state of sector bitmap 0, have 1" },
        { BITMAP | 7, "state of sector bitmap 0, have 7" },
        { BITMAP | 8 | 6, "reserved bits of sector bitmap 0" },
        { 6, "sector bitmap 0 lies in the headers" },
        { CHILD_BYTES | 6, "sector bitmap 0 ends past the file" },
        { UINT64_MAX << 20 | 6, "sector bitmap 0 ends past the file" },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct memory_file memory;

        fix_child(&memory);
        put(memory.bytes + BAT_BITMAP(RATIO_512), wrong[i].entry, 8);
        check_fails(&memory, DS_ERR_CORRUPT, wrong[i].words);
    }
}

static void test_vhdx_diff__two_chunks_must_not_share_a_bitmap(void **state)
{
    const uint64_t block = UINT64_C(256) * MIB;
    struct memory_file memory;

    (void)state;
    fix_child(&memory);
    put(memory.bytes + FIX_METADATA + 0x10000, block, 4);
    put(memory.bytes + FIX_METADATA + 0x10008, 20 * block, 8);
    memset(memory.bytes + FIX_BAT, 0, 65536);
    put(memory.bytes + FIX_BAT + 8 * 16, BITMAP | 6, 8);
    put(memory.bytes + FIX_BAT + 8 * 33, BITMAP | 6, 8);
    check_fails(&memory, DS_ERR_CORRUPT, "two sector bitmaps in one place");
}

static void test_vhdx_diff__payload_of_partial_blocks_is_checked(void **state)
{
    static const struct {
        uint64_t entry;
        const char *words;
    } wrong[] = {
        { 7, "block 0 lies in the headers" },
        { CHILD_BYTES | 7, "block 0 ends past the file" },
        { 4 * MIB | 16 | 7, "reserved bits of block 0" },
        { 4 * MIB | 4, "state of block 0, have 4 expect 0 to 3 or 6 or 7" },
        { 4 * MIB | 5, "state of block 0, have 5" },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct memory_file memory;

        fix_child(&memory);
        put(memory.bytes + FIX_BAT, wrong[i].entry, 8);
        check_fails(&memory, DS_ERR_CORRUPT, wrong[i].words);
    }
}

/* 2.5: the BAT ends with the last chunk's sector bitmap entry. */
static void test_vhdx_diff__bat_reaches_the_last_bitmap(void **state)
{
    struct memory_file memory;

    (void)state;
    fix_child(&memory);
    /* 64 chunks of 4097 entries: 2 MiB and 512 bytes */
    put(memory.bytes + FIX_METADATA + 0x10008, UINT64_C(255) << 30, 8);
    check_fails(&memory, DS_ERR_CORRUPT, "bat: too small for the disk");
}

struct seen {
    unsigned count;
    uint64_t offset;
};

static int see_bitmap(void *user, const struct ds_region *region,
                      struct ds_error *err)
{
    struct seen *seen = user;

    (void)err;
    if (strcmp(region->name, "sector bitmap block") == 0) {
        seen->count++;
        seen->offset = region->offset_bytes;
        assert_int_equal(region->length_bytes, MIB);
    }
    return 0;
}

static void test_vhdx_diff__bitmap_blocks_are_regions(void **state)
{
    struct memory_file memory;
    struct seen seen = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    (void)state;
    fix_child(&memory);
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_int_equal(image->format->regions(image, see_bitmap, &seen, &err), 0);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.offset, BITMAP);
    image->format->close(image);
    fix_free(&memory);
}

/* Hyper-V logs what it changes in bitmaps. */
static void test_vhdx_diff__log_patches_bitmaps(void **state)
{
    struct memory_file memory;
    struct ds_extent extents[32];
    struct log_writer log;
    uint8_t page[4096] = { 0x01 };

    (void)state;
    fix_child(&memory);
    memset(page + 1024, 0xff, 512);
    log_start(&log, &memory, 3);
    entry_begin(&log, 1);
    entry_data(&log, BITMAP, page);
    entry_end(&log);
    assert_int_equal(map_of(&memory, extents), 8);
    check_extent(&extents[0], 0, 512, DS_EXTENT_DATA, 4 * MIB);
    check_extent(&extents[1], 512, MIB - 512, DS_EXTENT_HOLE, 0);
    check_extent(&extents[5], 4 * MIB, MIB, DS_EXTENT_DATA, 7 * MIB);
    fix_free(&memory);

    fix_child(&memory);
    log_start(&log, &memory, 3);
    entry_begin(&log, 1);
    entry_zero(&log, 8 * MIB + 4096, 4096);
    entry_end(&log);
    check_fails(&memory, DS_ERR_UNSUPPORTED, "log: replay into");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vhdx_diff__map_of_all_states),
        cmocka_unit_test(test_vhdx_diff__last_block_ends_with_the_disk),
        cmocka_unit_test(test_vhdx_diff__large_sectors),
        cmocka_unit_test(test_vhdx_diff__each_chunk_has_its_bitmap),
        cmocka_unit_test(test_vhdx_diff__bitmap_entries_are_checked),
        cmocka_unit_test(test_vhdx_diff__two_chunks_must_not_share_a_bitmap),
        cmocka_unit_test(test_vhdx_diff__payload_of_partial_blocks_is_checked),
        cmocka_unit_test(test_vhdx_diff__bat_reaches_the_last_bitmap),
        cmocka_unit_test(test_vhdx_diff__bitmap_blocks_are_regions),
        cmocka_unit_test(test_vhdx_diff__log_patches_bitmaps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
