/* SPDX-License-Identifier: Apache-2.0 */
/* formats/vhd: each field and pointer wrong, each file cut short. */
#include "vhd_testing.h"

/* -- the dynamic header --------------------------------------------------- */

static void test_vhd__header_place(void **state)
{
    (void)state;
    expect_failure(sample_footer_poked(16, 8, 0), DS_ERR_CORRUPT,
                   "dynamic header: range");
    expect_failure(sample_footer_poked(16, 8, 513), DS_ERR_CORRUPT,
                   "dynamic header: offset");
    expect_failure(sample_footer_poked(16, 8, SAMPLE_FOOTER - 512),
                   DS_ERR_CORRUPT, "dynamic header: range");
    expect_failure(sample_footer_poked(16, 8, UINT64_MAX - 511), DS_ERR_CORRUPT,
                   "dynamic header: range");
    expect_failure(sample_footer_poked(16, 8, 4096), DS_ERR_CORRUPT,
                   "dynamic header: cookie");
}

static void test_vhd__header_fields(void **state)
{
    (void)state;
    expect_failure(sample_header_poked(HEADER_CHECKSUM, 4, 0), DS_ERR_CORRUPT,
                   "dynamic header: checksum");
    expect_failure(sample_header_poked(24, 4, 0x00020000), DS_ERR_UNSUPPORTED,
                   "dynamic header: version, have 2.0");
    expect_failure(sample_footer_poked(12, 4, 0x00020000), DS_ERR_UNSUPPORTED,
                   "footer: version, have 2.0");
    expect_failure(sample_header_poked(28, 4, 5), DS_ERR_CORRUPT,
                   "max table entries, have 5 expect at least 6");
    expect_failure(sample_header_poked(28, 4, UINT32_MAX), DS_ERR_CORRUPT,
                   "bat: range");
    expect_failure(sample_header_poked(32, 4, 0), DS_ERR_CORRUPT,
                   "block size, have 0");
    expect_failure(sample_header_poked(32, 4, 256), DS_ERR_CORRUPT,
                   "block size, have 256");
    expect_failure(sample_header_poked(32, 4, 4097), DS_ERR_CORRUPT,
                   "block size, have 4097");
}

static void test_vhd__table_place(void **state)
{
    (void)state;
    expect_failure(sample_header_poked(16, 8, 0), DS_ERR_CORRUPT, "bat: range");
    expect_failure(sample_header_poked(16, 8, 1537), DS_ERR_CORRUPT,
                   "bat: offset");
    expect_failure(sample_header_poked(16, 8, 1024), DS_ERR_CORRUPT,
                   "bat: overlaps the dynamic header");
    expect_failure(sample_header_poked(16, 8, SAMPLE_FOOTER), DS_ERR_CORRUPT,
                   "bat: range");
    expect_failure(sample_header_poked(16, 8, UINT64_MAX - 511), DS_ERR_CORRUPT,
                   "bat: range");
}

/* -- the BAT -------------------------------------------------------------- */

static void test_vhd__block_onto_records(void **state)
{
    (void)state;
    expect_failure(sample_entry_poked(1, 0), DS_ERR_CORRUPT,
                   "outside the footer copy");
    expect_failure(sample_entry_poked(1, 1), DS_ERR_CORRUPT,
                   "outside the dynamic header");
    expect_failure(sample_entry_poked(1, 3), DS_ERR_CORRUPT, "outside the bat");
}

static void test_vhd__block_past_the_end(void **state)
{
    (void)state;
    /* One sector too far: its last would be the end footer. */
    expect_failure(sample_entry_poked(1, 11264 / 512 + 1), DS_ERR_CORRUPT,
                   "bat: entry 1, have sector 23 expect");
    expect_failure(sample_entry_poked(1, SAMPLE_FILE / 512), DS_ERR_CORRUPT,
                   "bat: entry 1");
    expect_failure(sample_entry_poked(1, UINT32_MAX - 1), DS_ERR_CORRUPT,
                   "bat: entry 1");
}

/* Some writers do not fill up the last block. */
static void test_vhd__last_block_may_be_cut_to_the_disk(void **state)
{
    struct memory_file memory = sample_dynamic();

    (void)state;
    memcpy(memory.bytes + 12288, memory.bytes, 512);
    memory_file_resize(&memory, 12288 + 512);
    expect_size(memory, SAMPLE_SIZE);
    expect_failure(sample_entry_poked(5, SAMPLE_FOOTER / 512 - 1),
                   DS_ERR_CORRUPT, "bat: entry 5");
}

/* Moved behind the blocks, as tools that grow a disk do. */
static void test_vhd__table_behind_the_blocks(void **state)
{
    struct memory_file memory = sample_dynamic();

    (void)state;
    memory_file_resize(&memory, SAMPLE_FILE + 512);
    memcpy(memory.bytes + SAMPLE_FOOTER + 512, memory.bytes, 512);
    memcpy(memory.bytes + SAMPLE_FOOTER, memory.bytes + SAMPLE_BAT, 512);
    put_header(memory.bytes + 512, SAMPLE_FOOTER, 6, SAMPLE_BLOCK);
    expect_size(memory, SAMPLE_SIZE);
}

/* -- sweeps --------------------------------------------------------------- */

/* Whatever it is, it is read within the file or refused with a reason. */
static void expect_civil(struct memory_file memory)
{
    struct ds_error err;
    size_t count;
    int result;

    (void)probe(&memory);
    result = read_all(&memory, NULL, 0, &count, NULL, &err);
    if (result != 0) {
        assert_true(result == -DS_ERR_CORRUPT ||
                    result == -DS_ERR_UNSUPPORTED || result == -DS_ERR_LIMIT);
        assert_memory_equal(err.message, "vhd: ", 5);
        assert_non_null(strstr(err.message, "have "));
    }
    free(memory.bytes);
}

static const uint64_t poke_values[] = {
    0,          1,          2,          3,          255,
    256,        511,        512,        513,        4095,
    4096,       SAMPLE_BAT, 0x7fffffff, 0x80000000, 0xfffffffe,
    UINT32_MAX, INT64_MAX,  UINT64_MAX, SAMPLE_FILE
};
#define POKE_COUNT (sizeof(poke_values) / sizeof(poke_values[0]))

static void test_vhd__every_field_poked(void **state)
{
    static const unsigned widths[] = { 1, 2, 4, 8 };

    (void)state;
    for (size_t v = 0; v < POKE_COUNT; v++)
        for (size_t w = 0; w < 4; w++) {
            for (size_t at = 0; at < 96; at += widths[w]) {
                if (at == 56 && w > 1)
                    continue;
                /* Deprecated types have no "have": tested by name. */
                if (at + widths[w] > 60 && at < 64)
                    continue;
                expect_civil(
                    sample_footer_poked(at, widths[w], poke_values[v]));
            }
            for (size_t at = 0; at < 64; at += widths[w])
                expect_civil(
                    sample_header_poked(at, widths[w], poke_values[v]));
            for (unsigned i = 0; i < 6; i++)
                expect_civil(sample_entry_poked(i, (uint32_t)poke_values[v]));
        }
}

static void test_vhd__every_truncation(void **state)
{
    (void)state;
    for (uint64_t size = 0; size < SAMPLE_FILE; size += 1) {
        struct memory_file memory = sample_dynamic();

        memory_file_resize(&memory, size);
        expect_civil(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vhd__header_place),
        cmocka_unit_test(test_vhd__header_fields),
        cmocka_unit_test(test_vhd__table_place),
        cmocka_unit_test(test_vhd__block_onto_records),
        cmocka_unit_test(test_vhd__block_past_the_end),
        cmocka_unit_test(test_vhd__last_block_may_be_cut_to_the_disk),
        cmocka_unit_test(test_vhd__table_behind_the_blocks),
        cmocka_unit_test(test_vhd__every_field_poked),
        cmocka_unit_test(test_vhd__every_truncation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
