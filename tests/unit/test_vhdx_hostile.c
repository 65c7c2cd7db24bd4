/* SPDX-License-Identifier: Apache-2.0 */
/* VHDX: damaged and crafted images, each with the class of its error. */
#include "vhdx_fixture.h"

static void test_vhdx__both_headers_damaged(void **state)
{
    struct memory_file memory;

    (void)state;
    fix_image(&memory);
    memory.bytes[FIX_HEADER_1 + 100] ^= 1;
    memory.bytes[FIX_HEADER_2 + 100] ^= 1;
    check_fails(&memory, DS_ERR_CORRUPT, "header: neither");
}

static void test_vhdx__same_sequence_number_other_header(void **state)
{
    struct memory_file memory;

    (void)state;
    fix_image(&memory);
    put(memory.bytes + FIX_HEADER_1 + 8, 8, 8);
    memory.bytes[FIX_HEADER_1 + 40] ^= 1;
    reseal(&memory);
    check_fails(&memory, DS_ERR_CORRUPT, "same SequenceNumber");
}

/* The older header may be of any kind: only the newer one counts. */
static void test_vhdx__higher_sequence_number_wins(void **state)
{
    struct memory_file memory;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    fix_image(&memory);
    put(memory.bytes + FIX_HEADER_1 + 66, 2, 2);
    reseal(&memory);
    assert_int_equal(fix_try(&memory, &err), 0);
    put(memory.bytes + FIX_HEADER_1 + 8, 9, 8);
    reseal(&memory);
    check_fails(&memory, DS_ERR_UNSUPPORTED, "header: Version");
}

static void test_vhdx__second_region_table(void **state)
{
    struct memory_file memory;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    fix_image(&memory);
    memory.bytes[FIX_REGIONS_1 + 16] ^= 1;
    assert_int_equal(fix_try(&memory, &err), 0);
    memory.bytes[FIX_REGIONS_2 + 16] ^= 1;
    check_fails(&memory, DS_ERR_CORRUPT, "region table: neither");
}

static void add_unknown_region(struct memory_file *memory, uint32_t required,
                               uint64_t offset)
{
    static const uint8_t guid[16] = { 1, 2, 3 };
    uint8_t *table = memory->bytes + FIX_REGIONS_1;

    put(table + 8, 3, 4);
    fix_region(table + 80, guid, offset, MIB, required);
    memcpy(memory->bytes + FIX_REGIONS_2, table, 65536);
    reseal(memory);
}

static void test_vhdx__unknown_region(void **state)
{
    struct memory_file memory;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    fix_image(&memory);
    add_unknown_region(&memory, 0, 6 * MIB);
    assert_int_equal(fix_try(&memory, &err), 0);
    add_unknown_region(&memory, 1, 6 * MIB);
    check_fails(&memory, DS_ERR_UNSUPPORTED, "unknown region");
}

static void test_vhdx__regions_overlap(void **state)
{
    static const uint64_t offsets[] = { FIX_LOG, FIX_METADATA, FIX_BAT };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct memory_file memory;

        fix_image(&memory);
        add_unknown_region(&memory, 0, offsets[i]);
        check_fails(&memory, DS_ERR_CORRUPT, "overlap");
    }
}

static void test_vhdx__region_twice(void **state)
{
    struct memory_file memory;

    (void)state;
    fix_image(&memory);
    add_unknown_region(&memory, 1, 6 * MIB);
    memcpy(memory.bytes + FIX_REGIONS_1 + 80, fix_bat_guid, 16);
    memcpy(memory.bytes + FIX_REGIONS_2 + 80, fix_bat_guid, 16);
    reseal(&memory);
    check_fails(&memory, DS_ERR_CORRUPT, "same region twice");
}

static void test_vhdx__parent_without_locator(void **state)
{
    struct memory_file memory;

    (void)state;
    fix_image(&memory);
    put(memory.bytes + FIX_METADATA + 0x10004, 2, 4);
    check_fails(&memory, DS_ERR_CORRUPT, "no parent locator");
}

static void test_vhdx__user_metadata_is_tolerated(void **state)
{
    static const uint8_t id[16] = { 9, 9, 9 };
    struct memory_file memory;
    struct ds_error err = DS_ERROR_INIT;
    uint8_t *table;

    (void)state;
    fix_image(&memory);
    table = memory.bytes + FIX_METADATA;
    put(table + 10, 7, 2);
    fix_item(table, 5, id, 0x20000, 100, 1);
    fix_item(table, 6, id, 0, 0, 0); /* empty, system, not required */
    assert_int_equal(fix_try(&memory, &err), 0);
    fix_item(table, 5, id, 0x20000, 100, 5); /* user, required */
    check_fails(&memory, DS_ERR_UNSUPPORTED, "unknown item");
}

static void test_vhdx__metadata_items_overlap(void **state)
{
    static const uint8_t id[16] = { 9, 9, 9 };
    struct memory_file memory;

    (void)state;
    fix_image(&memory);
    put(memory.bytes + FIX_METADATA + 10, 6, 2);
    fix_item(memory.bytes + FIX_METADATA, 5, id, 0x10027, 100, 1);
    check_fails(&memory, DS_ERR_CORRUPT, "items overlap");
}

static void test_vhdx__metadata_item_missing(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct memory_file memory;

        fix_image(&memory);
        /* An unknown optional item instead. */
        memory.bytes[FIX_METADATA + 32 + 32 * i] ^= 1;
        put(memory.bytes + FIX_METADATA + 32 + 32 * i + 24, 0, 4);
        check_fails(&memory, DS_ERR_CORRUPT, "metadata table: no ");
    }
}

static void test_vhdx__bat_entry_pokes(void **state)
{
    static const struct {
        uint64_t entry;
        enum ds_error_class expected;
        const char *words;
    } pokes[] = {
        { 4, DS_ERR_CORRUPT, "state of block 1" },
        { 5, DS_ERR_CORRUPT, "state of block 1" },
        { 7 | 4 * MIB, DS_ERR_CORRUPT, "state of block 1" },
        { 8, DS_ERR_CORRUPT, "reserved bits" },
        { 0x80000 | 6 | 5 * MIB, DS_ERR_CORRUPT, "reserved bits" },
        { 6, DS_ERR_CORRUPT, "lies in the headers" },
        { UINT64_MAX, DS_ERR_CORRUPT, "reserved bits" },
        { UINT64_MAX - 0xfffff + 6, DS_ERR_CORRUPT, "ends past the file" },
        { 6 | FIX_BYTES, DS_ERR_CORRUPT, "ends past the file" },
        { 6 | UINT64_C(1) << 63, DS_ERR_CORRUPT, "ends past the file" },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(pokes) / sizeof(pokes[0]); i++) {
        struct memory_file memory;

        fix_image(&memory);
        put(memory.bytes + FIX_BAT + 8, pokes[i].entry, 8);
        check_fails(&memory, pokes[i].expected, pokes[i].words);
    }
}

/* QEMU ends a fixed file where the guest's disk ends. */
static void test_vhdx__last_block_may_end_with_the_disk(void **state)
{
    struct memory_file memory;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    fix_image(&memory);
    memory.file.size_bytes = 8 * MIB + 512;
    assert_int_equal(fix_try(&memory, &err), 0);
    memory.file.size_bytes = 8 * MIB + 511;
    check_fails(&memory, DS_ERR_CORRUPT, "block 6 ends past the file");
}

static void test_vhdx__truncated_anywhere(void **state)
{
    (void)state;
    for (uint64_t size = 0; size < 8 * MIB + 512; size += MIB / 4) {
        struct memory_file memory;
        struct ds_error err = DS_ERROR_INIT;

        fix_image(&memory);
        memory.file.size_bytes = size;
        assert_int_equal(fix_try(&memory, &err), -DS_ERR_CORRUPT);
        fix_free(&memory);
    }
}

static void test_vhdx__bat_too_small(void **state)
{
    struct memory_file memory;

    (void)state;
    fix_image(&memory);
    /* 131072 entries hold 131041 blocks of 1 MiB and their bitmaps. */
    put(memory.bytes + FIX_METADATA + 0x10008, UINT64_C(131041) * MIB, 8);
    put(memory.bytes + FIX_BAT + 8 * 6, 0, 8);
    memset(memory.bytes + FIX_BAT, 0, MIB);
    {
        struct ds_error err = DS_ERROR_INIT;

        assert_int_equal(fix_try(&memory, &err), 0);
    }
    put(memory.bytes + FIX_METADATA + 0x10008, UINT64_C(131041) * MIB + 512, 8);
    check_fails(&memory, DS_ERR_CORRUPT, "bat: too small");
}

/* Every field of every record: 0, 1, the greatest, off by one, past the end,
 * onto other records. Whatever comes, it is a clean answer. */
static void test_vhdx__field_pokes(void **state)
{
    static const struct {
        unsigned offset;
        unsigned bytes;
    } fields[] = {
        { FIX_HEADER_2 + 8, 8 },
        { FIX_HEADER_2 + 16, 8 },
        { FIX_HEADER_2 + 48, 8 },
        { FIX_HEADER_2 + 64, 2 },
        { FIX_HEADER_2 + 66, 2 },
        { FIX_HEADER_2 + 68, 4 },
        { FIX_HEADER_2 + 72, 8 },
        { FIX_REGIONS_1 + 8, 4 },
        { FIX_REGIONS_1 + 16, 8 },
        { FIX_REGIONS_1 + 32, 8 },
        { FIX_REGIONS_1 + 40, 4 },
        { FIX_REGIONS_1 + 44, 4 },
        { FIX_REGIONS_1 + 64, 8 },
        { FIX_REGIONS_1 + 72, 4 },
        { FIX_METADATA, 8 },
        { FIX_METADATA + 10, 2 },
        { FIX_METADATA + 48, 4 },
        { FIX_METADATA + 52, 4 },
        { FIX_METADATA + 56, 4 },
        { FIX_METADATA + 80, 4 },
        { FIX_METADATA + 84, 4 },
        { FIX_METADATA + 112, 4 },
        { FIX_METADATA + 116, 4 },
        { FIX_METADATA + 0x10000, 4 },
        { FIX_METADATA + 0x10004, 4 },
        { FIX_METADATA + 0x10008, 8 },
        { FIX_METADATA + 0x10010, 4 },
        { FIX_METADATA + 0x10014, 4 },
        { FIX_BAT, 8 },
        { FIX_BAT + 48, 8 },
    };
    static const uint64_t values[] = { 0,
                                       1,
                                       2,
                                       511,
                                       512,
                                       65535,
                                       65536,
                                       MIB - 1,
                                       MIB,
                                       MIB + 1,
                                       2 * MIB,
                                       3 * MIB,
                                       8 * MIB,
                                       FIX_BYTES,
                                       FIX_BYTES + MIB,
                                       INT32_MAX,
                                       UINT32_MAX - MIB + 1,
                                       UINT32_MAX,
                                       INT64_MAX,
                                       UINT64_MAX - MIB + 1,
                                       UINT64_MAX - 511,
                                       UINT64_MAX };

    (void)state;
    for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        for (unsigned j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
            struct memory_file memory;
            struct ds_error err = DS_ERROR_INIT;
            int result;

            fix_image(&memory);
            put(memory.bytes + fields[i].offset, values[j], fields[i].bytes);
            reseal(&memory);
            result = fix_try(&memory, &err);
            assert_true(result == 0 || result == -DS_ERR_CORRUPT ||
                        result == -DS_ERR_UNSUPPORTED ||
                        result == -DS_ERR_LIMIT);
            assert_true(result == 0 || strncmp(err.message, "vhdx: ", 6) == 0);
            fix_free(&memory);
        }
}

static void test_vhdx__field_pokes_have_the_right_class(void **state)
{
    static const struct {
        unsigned offset;
        unsigned bytes;
        uint64_t value;
        enum ds_error_class expected;
        const char *words;
    } pokes[] = {
        { 0, 1, 'x', DS_ERR_CORRUPT, "file type identifier" },
        { FIX_HEADER_2 + 66, 2, 0, DS_ERR_UNSUPPORTED, "Version" },
        { FIX_HEADER_2 + 68, 4, 4096, DS_ERR_CORRUPT, "LogLength" },
        { FIX_HEADER_2 + 72, 8, 0, DS_ERR_CORRUPT, "LogOffset" },
        { FIX_HEADER_2 + 72, 8, MIB + 1, DS_ERR_CORRUPT, "LogOffset" },
        { FIX_HEADER_2 + 72, 8, FIX_BYTES, DS_ERR_CORRUPT, "log ends" },
        { FIX_HEADER_2 + 72, 8, FIX_BAT, DS_ERR_CORRUPT, "overlap" },
        { FIX_REGIONS_1 + 8, 4, 2048, DS_ERR_CORRUPT, "EntryCount" },
        { FIX_REGIONS_1 + 8, 4, 1, DS_ERR_CORRUPT, "no metadata region" },
        { FIX_REGIONS_1 + 8, 4, 0, DS_ERR_CORRUPT, "no bat region" },
        { FIX_REGIONS_1 + 32, 8, 0, DS_ERR_CORRUPT, "FileOffset" },
        { FIX_REGIONS_1 + 32, 8, 3 * MIB + 4096, DS_ERR_CORRUPT, "FileOffset" },
        { FIX_REGIONS_1 + 32, 8, FIX_BYTES, DS_ERR_CORRUPT, "region ends" },
        { FIX_REGIONS_1 + 40, 4, 4096, DS_ERR_CORRUPT, "Length" },
        { FIX_REGIONS_1 + 40, 4, 0, DS_ERR_CORRUPT, "bat: too small" },
        { FIX_REGIONS_1 + 72, 4, 0, DS_ERR_CORRUPT, "metadata region" },
        { FIX_METADATA, 1, 'x', DS_ERR_CORRUPT, "Signature" },
        { FIX_METADATA + 10, 2, 2048, DS_ERR_CORRUPT, "EntryCount" },
        { FIX_METADATA + 48, 4, 65535, DS_ERR_CORRUPT, "item, have" },
        { FIX_METADATA + 48, 4, MIB - 7, DS_ERR_CORRUPT, "item, have" },
        { FIX_METADATA + 52, 4, 9, DS_ERR_CORRUPT, "Length" },
        { FIX_METADATA + 52, 4, 7, DS_ERR_CORRUPT, "Length" },
        { FIX_METADATA + 52, 4, 0, DS_ERR_CORRUPT, "empty item" },
        { FIX_METADATA + 0x10000, 4, 0, DS_ERR_CORRUPT, "BlockSize" },
        { FIX_METADATA + 0x10000, 4, 524288, DS_ERR_CORRUPT, "BlockSize" },
        { FIX_METADATA + 0x10000, 4, 3 * MIB, DS_ERR_CORRUPT, "BlockSize" },
        { FIX_METADATA + 0x10000, 4, 512 * MIB, DS_ERR_CORRUPT, "BlockSize" },
        { FIX_METADATA + 0x10004, 4, 4, DS_ERR_UNSUPPORTED, "unknown flags" },
        { FIX_METADATA + 0x10008, 8, 0, DS_ERR_CORRUPT, "virtual disk size" },
        { FIX_METADATA + 0x10008, 8, 513, DS_ERR_CORRUPT, "disk size" },
        { FIX_METADATA + 0x10008, 8, (UINT64_C(64) << 40) + 512, DS_ERR_CORRUPT,
          "virtual disk size" },
        { FIX_METADATA + 0x10010, 4, 1024, DS_ERR_CORRUPT, "logical sector" },
        { FIX_METADATA + 0x10010, 4, 0, DS_ERR_CORRUPT, "logical sector" },
        { FIX_METADATA + 0x10010, 4, 4096, DS_ERR_CORRUPT, "sectors of 4096" },
        { FIX_METADATA + 0x10014, 4, 520, DS_ERR_CORRUPT, "physical sector" },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(pokes) / sizeof(pokes[0]); i++) {
        struct memory_file memory;

        fix_image(&memory);
        put(memory.bytes + pokes[i].offset, pokes[i].value, pokes[i].bytes);
        reseal(&memory);
        check_fails(&memory, pokes[i].expected, pokes[i].words);
    }
}

static void test_vhdx__every_read_may_fail(void **state)
{
    bool failed = true;

    (void)state;
    for (int n = 0; failed; n++) {
        struct memory_file memory;
        struct ds_error err = DS_ERROR_INIT;
        int result;

        fix_image(&memory);
        memory.fail_read = n;
        result = fix_try(&memory, &err);
        failed = result != 0;
        if (failed)
            assert_int_equal(result, -DS_ERR_SYSTEM);
        fix_free(&memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vhdx__both_headers_damaged),
        cmocka_unit_test(test_vhdx__same_sequence_number_other_header),
        cmocka_unit_test(test_vhdx__higher_sequence_number_wins),
        cmocka_unit_test(test_vhdx__second_region_table),
        cmocka_unit_test(test_vhdx__unknown_region),
        cmocka_unit_test(test_vhdx__regions_overlap),
        cmocka_unit_test(test_vhdx__region_twice),
        cmocka_unit_test(test_vhdx__parent_without_locator),
        cmocka_unit_test(test_vhdx__user_metadata_is_tolerated),
        cmocka_unit_test(test_vhdx__metadata_items_overlap),
        cmocka_unit_test(test_vhdx__metadata_item_missing),
        cmocka_unit_test(test_vhdx__bat_entry_pokes),
        cmocka_unit_test(test_vhdx__last_block_may_end_with_the_disk),
        cmocka_unit_test(test_vhdx__truncated_anywhere),
        cmocka_unit_test(test_vhdx__bat_too_small),
        cmocka_unit_test(test_vhdx__field_pokes),
        cmocka_unit_test(test_vhdx__field_pokes_have_the_right_class),
        cmocka_unit_test(test_vhdx__every_read_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
