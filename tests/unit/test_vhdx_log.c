/* SPDX-License-Identifier: Apache-2.0 */
/* Replay of the VHDX log, held against a generator of its own. */
#include "vhdx_log_fixture.h"

static void test_vhdx_log__bat_is_patched(void **state)
{
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 0);
    log_bat(&log, 0, 6 * MIB | 6);
    assert_int_equal(first_block(&memory), 6 * MIB);
    /* The file itself is as it was. */
    assert_int_equal(get(memory.bytes + FIX_BAT, 8), 4 * MIB | 6);
    fix_free(&memory);
}

static void test_vhdx_log__clean_log_is_not_replayed(void **state)
{
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 0);
    log_bat(&log, 0, 6 * MIB | 6);
    memset(memory.bytes + FIX_HEADER_2 + 48, 0, 16);
    seal(memory.bytes + FIX_HEADER_2, 4096);
    assert_int_equal(first_block(&memory), 4 * MIB);
    fix_free(&memory);
}

static void test_vhdx_log__later_entries_win(void **state)
{
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 17);
    log_bat(&log, 0, 5 * MIB | 6);
    log_bat(&log, 0, 6 * MIB | 6);
    log_bat(&log, 0, 8 * MIB | 6);
    assert_int_equal(first_block(&memory), 8 * MIB);
    fix_free(&memory);
}

/* The sequence, and an entry in it, go around the ring's end. */
static void test_vhdx_log__wraps_around(void **state)
{
    (void)state;
    for (uint32_t begin = LOG_SECTORS - 6; begin < LOG_SECTORS; begin++) {
        struct memory_file memory;
        struct log_writer log;

        fix_image(&memory);
        log_start(&log, &memory, begin);
        log_bat(&log, 0, 5 * MIB | 6);
        log_bat(&log, 0, 7 * MIB | 6);
        log_bat(&log, 0, 6 * MIB | 6);
        assert_int_equal(first_block(&memory), 6 * MIB);
        fix_free(&memory);
    }
}

static void test_vhdx_log__newest_sequence_wins(void **state)
{
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 100);
    log_bat(&log, 0, 5 * MIB | 6);
    /* A newer one, placed before it in the ring. */
    log.at = log.tail = 3;
    log.sequence = 2000;
    log_bat(&log, 0, 6 * MIB | 6);
    /* An older one behind both. */
    log.at = log.tail = 200;
    log.sequence = 10;
    log_bat(&log, 0, 8 * MIB | 6);
    assert_int_equal(first_block(&memory), 6 * MIB);
    fix_free(&memory);
}

/* A torn last entry: the sequence ends before it. */
static void test_vhdx_log__torn_head_is_left_out(void **state)
{
    struct memory_file memory;
    struct log_writer log;
    uint32_t torn;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 0);
    log_bat(&log, 0, 6 * MIB | 6);
    torn = log_bat(&log, 0, 8 * MIB | 6);
    memory.bytes[FIX_LOG + 4096 * (torn + 1) + 2000] ^= 1;
    assert_int_equal(first_block(&memory), 6 * MIB);
    fix_free(&memory);
}

/* Entries before the head's tail have been flushed; what they said may have
 * changed since without the log. */
static void test_vhdx_log__entries_before_the_tail_are_not_replayed(void **s)
{
    struct memory_file memory;
    struct log_writer log;

    (void)s;
    fix_image(&memory);
    log_start(&log, &memory, 0);
    entry_begin(&log, 1);
    entry_zero(&log, 6 * MIB, MIB); /* would be refused: no table of ours */
    entry_end(&log);
    log.tail = log.at;
    log_bat(&log, 0, 6 * MIB | 6);
    assert_int_equal(first_block(&memory), 6 * MIB);
    fix_free(&memory);
}

/* The head names a tail that is gone: the whole run is no sequence. */
static void test_vhdx_log__sequence_without_its_tail(void **state)
{
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 10);
    log.tail = 5;
    log_bat(&log, 0, 6 * MIB | 6);
    check_fails(&memory, DS_ERR_CORRUPT, "log: no valid sequence");
}

static void test_vhdx_log__empty_entry_changes_nothing(void **state)
{
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 0);
    entry_begin(&log, 0);
    entry_end(&log);
    assert_int_equal(first_block(&memory), 4 * MIB);
    fix_free(&memory);
}

static void test_vhdx_log__zero_descriptor(void **state)
{
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 0);
    entry_begin(&log, 1);
    entry_zero(&log, FIX_BAT, MIB);
    entry_end(&log);
    assert_int_equal(first_block(&memory), 0);
    fix_free(&memory);
}

/* Zeros first, then data over a part of them, in one entry. */
static void test_vhdx_log__descriptors_apply_in_order(void **state)
{
    struct memory_file memory;
    struct log_writer log;
    uint8_t page[4096] = { 0 };

    (void)state;
    fix_image(&memory);
    put(page, 6 * MIB | 6, 8);
    log_start(&log, &memory, 0);
    entry_begin(&log, 2);
    entry_zero(&log, FIX_BAT, MIB);
    entry_data(&log, FIX_BAT, page);
    entry_end(&log);
    assert_int_equal(first_block(&memory), 6 * MIB);
    fix_free(&memory);
}

/* More than the 126 descriptors of the first sector. */
static void test_vhdx_log__many_descriptor_sectors(void **state)
{
    struct memory_file memory;
    struct log_writer log;
    uint8_t page[4096] = { 0 };

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 250);
    entry_begin(&log, 200);
    for (unsigned i = 1; i < 200; i++)
        entry_data(&log, FIX_BAT + 4096 * i, page);
    put(page, 6 * MIB | 6, 8);
    put(page + 4088, 0, 8);
    entry_data(&log, FIX_BAT, page);
    entry_end(&log);
    assert_int_equal(first_block(&memory), 6 * MIB);
    fix_free(&memory);
}

/* One sequence that fills the ring to the last sector. */
static void test_vhdx_log__full_ring(void **state)
{
    (void)state;
    for (uint32_t begin = 0; begin < 8; begin++) {
        struct memory_file memory;
        struct log_writer log;

        fix_image(&memory);
        log_start(&log, &memory, begin);
        for (unsigned i = 0; i < LOG_SECTORS / 2; i++)
            log_bat(&log, 0, (i % 2 != 0 ? 6 : 5) * MIB | 6);
        assert_int_equal(first_block(&memory), 6 * MIB);
        fix_free(&memory);
    }
}

static void test_vhdx_log__region_tables_and_metadata_are_patched(void **state)
{
    struct memory_file memory;
    struct log_writer log;
    uint8_t page[4096];

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 0);
    entry_begin(&log, 3);
    memcpy(page, memory.bytes + FIX_REGIONS_1, 4096);
    entry_data(&log, FIX_REGIONS_1, page);
    memcpy(page, memory.bytes + FIX_METADATA, 4096);
    entry_data(&log, FIX_METADATA, page);
    entry_end(&log);
    memset(memory.bytes + FIX_REGIONS_1, 0xee, 4096);
    memset(memory.bytes + FIX_REGIONS_2, 0xee, 4096);
    memset(memory.bytes + FIX_METADATA, 0xee, 4096);
    assert_int_equal(first_block(&memory), 4 * MIB);
    fix_free(&memory);
}

static void test_vhdx_log__payload_patch_is_refused(void **state)
{
    static const uint64_t offsets[] = { 4 * MIB, FIX_LOG, FIX_HEADER_1, 0,
                                        FIX_BAT + MIB - 4096 };

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct memory_file memory;
        struct log_writer log;

        fix_image(&memory);
        log_start(&log, &memory, 0);
        entry_begin(&log, 1);
        entry_zero(&log, offsets[i], 8192);
        entry_end(&log);
        check_fails(&memory, DS_ERR_UNSUPPORTED, "log: replay into");
    }
}

static void expect_extents(struct memory_file *memory,
                           const struct ds_extent *expected, int count)
{
    struct ds_extent extents[64];
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    assert_int_equal(fix_open(memory, &image, &err), 0);
    assert_int_equal(fix_map(image, extents, 64, &err), count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(extents[i].guest_offset_bytes,
                         expected[i].guest_offset_bytes);
        assert_int_equal(extents[i].kind, expected[i].kind);
        assert_int_equal(extents[i].file_offset_bytes,
                         expected[i].file_offset_bytes);
    }
    image->format->close(image);
}

/* A block that was allocated behind the file's end: the power failed before
 * its growth was on storage (2.3.3). */
static void test_vhdx_log__grown_file_reads_as_zeros(void **state)
{
    const struct ds_extent expected[] = {
        { .kind = DS_EXTENT_DATA, .file_offset_bytes = 4 * MIB },
        { .guest_offset_bytes = MIB / 2, .kind = DS_EXTENT_ZERO },
        { .guest_offset_bytes = 3 * MIB, .kind = DS_EXTENT_HOLE },
        { .guest_offset_bytes = 4 * MIB, .kind = DS_EXTENT_ZERO },
    };
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    memory.file.size_bytes = 4 * MIB + MIB / 2;
    log_start(&log, &memory, 0);
    log.flushed_bytes = 4 * MIB;
    log_bat(&log, 0, 4 * MIB | 6);
    expect_extents(&memory, expected, 4);
    memory.file.size_bytes++;
    check_fails(&memory, DS_ERR_CORRUPT, "expect whole sectors");

    fix_image(&memory);
    log_start(&log, &memory, 0);
    log.last_bytes = FIX_BYTES - MIB;
    log_bat(&log, 0, FIX_BYTES | 6);
    check_fails(&memory, DS_ERR_CORRUPT, "block 0 ends past the file");
}

/* "The file offsets referred to by the descriptors can be larger than the
 * current file offset" (2.3.3). */
static void test_vhdx_log__descriptors_behind_the_file(void **state)
{
    struct ds_extent expected[64];
    struct ds_error err = DS_ERROR_INIT;
    struct memory_file memory;
    struct log_writer log;
    struct ds_image *image;
    uint8_t page[4096];
    uint8_t *table;
    int count;

    (void)state;
    fix_image(&memory);
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    count = fix_map(image, expected, 64, &err);
    image->format->close(image);
    table = memory.bytes + FIX_REGIONS_1;
    put(table + 16 + 16, FIX_BYTES, 8); /* the BAT moves */
    seal(table, 65536);
    log_start(&log, &memory, 0);
    log.last_bytes = FIX_BYTES + MIB;
    memcpy(page, memory.bytes + FIX_BAT, sizeof(page));
    entry_begin(&log, 1);
    entry_data(&log, FIX_BYTES, page);
    entry_end(&log);
    memset(memory.bytes + FIX_BAT, 0xee, MIB);
    expect_extents(&memory, expected, count);
    fix_free(&memory);

    fix_image(&memory);
    log_start(&log, &memory, 0);
    entry_begin(&log, 1);
    entry_zero(&log, (UINT64_C(1) << 63) - 4096, 8192);
    entry_end(&log);
    check_fails(&memory, DS_ERR_CORRUPT, "log: descriptor");
}

static void test_vhdx_log__truncated_file(void **state)
{
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 0);
    log.flushed_bytes = FIX_BYTES + MIB;
    log_bat(&log, 0, 6 * MIB | 6);
    check_fails(&memory, DS_ERR_CORRUPT, "log: truncated file");
}

static void test_vhdx_log__log_version(void **state)
{
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 0);
    log_bat(&log, 0, 6 * MIB | 6);
    put(memory.bytes + FIX_HEADER_2 + 64, 1, 2);
    seal(memory.bytes + FIX_HEADER_2, 4096);
    check_fails(&memory, DS_ERR_UNSUPPORTED, "LogVersion");
}

static void test_vhdx_log__no_entries(void **state)
{
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 0);
    check_fails(&memory, DS_ERR_CORRUPT, "log: no valid sequence");
}

/* A change to any field makes the only entry invalid. */
static void test_vhdx_log__entry_field_pokes(void **state)
{
    static const struct {
        unsigned offset;
        unsigned bytes;
        uint64_t value;
    } pokes[] = {
        { 0, 4, 0 },           { 8, 4, 0 },          { 8, 4, 4095 },
        { 8, 4, 2 * MIB },     { 8, 4, UINT32_MAX }, { 12, 4, 4097 },
        { 12, 4, MIB },        { 16, 8, 0 },         { 16, 8, 5 },
        { 24, 4, 2 },          { 24, 4, 127 },       { 24, 4, UINT32_MAX },
        { 32, 8, 1 },          { 64, 4, 0 },         { 64 + 16, 8, 1 },
        { 64 + 24, 8, 999 },   { 4096, 4, 0 },       { 4096 + 4, 4, 1 },
        { 4096 + 4092, 4, 1 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(pokes) / sizeof(pokes[0]); i++) {
        struct memory_file memory;
        struct log_writer log;
        uint8_t *entry;

        fix_image(&memory);
        log_start(&log, &memory, 0);
        log_bat(&log, 0, 6 * MIB | 6);
        entry = memory.bytes + FIX_LOG;
        put(entry + pokes[i].offset, pokes[i].value, pokes[i].bytes);
        seal(entry, 8192);
        check_fails(&memory, DS_ERR_CORRUPT, "log: no valid sequence");
    }
}

/* Each sector begins an entry that reaches to the ring's end: the bytes to
 * hash grow with the square of the log. It ends, and soon. */
static void test_vhdx_log__nested_entries(void **state)
{
    struct memory_file memory;
    struct log_writer log;

    (void)state;
    fix_image(&memory);
    log_start(&log, &memory, 0);
    for (uint32_t sector = LOG_SECTORS; sector-- > 0;) {
        uint8_t *entry = memory.bytes + FIX_LOG + 4096 * sector;

        memset(entry, 0, 4096);
        memcpy(entry, "loge", 4);
        put(entry + 8, 4096 * (LOG_SECTORS - sector), 4);
        put(entry + 12, 0, 4);
        put(entry + 16, 10 + sector, 8);
        memset(entry + 32, LOG_GUID_BYTE, 16);
        seal(entry, 4096 * (LOG_SECTORS - sector));
    }
    assert_int_equal(first_block(&memory), 4 * MIB);
    fix_free(&memory);
}

static void test_vhdx_log__every_read_may_fail(void **state)
{
    bool failed = true;

    (void)state;
    for (int n = 0; failed; n++) {
        struct memory_file memory;
        struct log_writer log;
        struct ds_error err = DS_ERROR_INIT;
        int result;

        fix_image(&memory);
        log_start(&log, &memory, 0);
        log_bat(&log, 0, 6 * MIB | 6);
        memory.fail_read = n;
        result = fix_try(&memory, &err);
        failed = result != 0;
        if (failed)
            assert_int_equal(result, -DS_ERR_SYSTEM);
        fix_free(&memory);
    }
}

/* Patches hold in every window of a long BAT, walked twice by one cursor. */
static void test_vhdx_log__patches_in_all_windows(void **state)
{
    const uint64_t count = 100000, patched = 90000;
    struct memory_file memory;
    struct log_writer log;
    struct ds_cursor cursor = { 0 };
    struct ds_extent extent = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    uint8_t page[4096] = { 0 };
    uint64_t entry = patched + patched / 4096;

    (void)state;
    fix_image(&memory);
    put(memory.bytes + FIX_METADATA + 0x10008, count * MIB, 8);
    memset(memory.bytes + FIX_BAT, 0, MIB);
    put(page + entry % 512 * 8, 6 * MIB | 6, 8);
    log_start(&log, &memory, 0);
    entry_begin(&log, 1);
    entry_data(&log, FIX_BAT + entry / 512 * 4096, page);
    entry_end(&log);
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    for (unsigned pass = 0; pass < 2; pass++) {
        uint64_t at = 0, data = 0;

        while (at < count * MIB) {
            assert_int_equal(
                image->format->extent_at(image, &cursor, at, &extent, &err), 0);
            if (extent.kind == DS_EXTENT_DATA) {
                assert_int_equal(at, patched * MIB);
                data += extent.length_bytes;
            }
            at += extent.length_bytes;
        }
        assert_int_equal(data, MIB);
    }
    cursor_free(&cursor);
    image->format->close(image);
    fix_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vhdx_log__bat_is_patched),
        cmocka_unit_test(test_vhdx_log__clean_log_is_not_replayed),
        cmocka_unit_test(test_vhdx_log__later_entries_win),
        cmocka_unit_test(test_vhdx_log__wraps_around),
        cmocka_unit_test(test_vhdx_log__newest_sequence_wins),
        cmocka_unit_test(test_vhdx_log__torn_head_is_left_out),
        cmocka_unit_test(
            test_vhdx_log__entries_before_the_tail_are_not_replayed),
        cmocka_unit_test(test_vhdx_log__sequence_without_its_tail),
        cmocka_unit_test(test_vhdx_log__empty_entry_changes_nothing),
        cmocka_unit_test(test_vhdx_log__zero_descriptor),
        cmocka_unit_test(test_vhdx_log__descriptors_apply_in_order),
        cmocka_unit_test(test_vhdx_log__many_descriptor_sectors),
        cmocka_unit_test(test_vhdx_log__full_ring),
        cmocka_unit_test(test_vhdx_log__region_tables_and_metadata_are_patched),
        cmocka_unit_test(test_vhdx_log__payload_patch_is_refused),
        cmocka_unit_test(test_vhdx_log__grown_file_reads_as_zeros),
        cmocka_unit_test(test_vhdx_log__descriptors_behind_the_file),
        cmocka_unit_test(test_vhdx_log__truncated_file),
        cmocka_unit_test(test_vhdx_log__log_version),
        cmocka_unit_test(test_vhdx_log__no_entries),
        cmocka_unit_test(test_vhdx_log__entry_field_pokes),
        cmocka_unit_test(test_vhdx_log__nested_entries),
        cmocka_unit_test(test_vhdx_log__every_read_may_fail),
        cmocka_unit_test(test_vhdx_log__patches_in_all_windows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
