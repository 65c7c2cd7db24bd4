/* SPDX-License-Identifier: Apache-2.0 */
/* Each field of a VHD: see poke.h. The images are those of vhd_testing.h. */
#include "poke.h"
#include "vhd/vhd_disk.h"
#include "vhd_testing.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOT_READ "nothing of ours rests on it"

/* -- dynamic ----------------------------------------------------------------*/

static struct memory_file filled(void)
{
    struct memory_file memory = sample_dynamic();

    memset(memory.bytes + 2048, 0xff, 512);
    poke_fill(memory.bytes + 2560, SAMPLE_BLOCK, 1);
    memset(memory.bytes + 6656, 0xff, 512);
    poke_fill(memory.bytes + 7168, SAMPLE_BLOCK, 2);
    memset(memory.bytes + 11264, 0xff, 512);
    poke_fill(memory.bytes + 11776, SAMPLE_BLOCK, 3);
    return memory;
}

static void make_dynamic(struct fuzz_case *fuzz)
{
    poke_file(fuzz, "image", filled().bytes, SAMPLE_FILE);
}

#define FOOTER(member, ...)                                                    \
    POKE(0, vhd_footer_disk, member, .mirror_bytes = SAMPLE_FOOTER, __VA_ARGS__)
#define COPY(member, ...) POKE(0, vhd_footer_disk, member, __VA_ARGS__)
#define HEADER(member, ...) POKE(512, vhd_header_disk, member, __VA_ARGS__)
#define LOCATOR(index, member, ...)                                            \
    POKE(512 + 576 + 24 * (index), vhd_parent_locator_disk, member, __VA_ARGS__)
#define BAT(index, ...)                                                        \
    POKE_ENTRY("bat", "entry " #index, SAMPLE_BAT + 4 * (index), 4,            \
               .kind = POKE_PLACE, .unit = 512, __VA_ARGS__)

#define TYPE_IS "a dynamic disk has no parent, whatever its header says"
#define SIZE_IS "the size is the footer's to say"
#define OTHER_KIND "the type says what the file is: fixed, all of it is data"
#define BLOCK_IS "the block size is the header's to say, where the table fits"

#define FOOTER_ROWS                                                            \
    FOOTER(cookie, .kind = POKE_BYTES), FOOTER(features, .kind = POKE_BITS),   \
        FOOTER(file_format_version, .kind = POKE_NUMBER),                      \
        FOOTER(data_offset, .kind = POKE_PLACE, .unit = 1),                    \
        FOOTER(time_stamp, .kind = POKE_NUMBER),                               \
        FOOTER(creator_application, .kind = POKE_BYTES),                       \
        FOOTER(creator_version, .kind = POKE_NUMBER),                          \
        FOOTER(creator_host_os, .kind = POKE_BYTES),                           \
        FOOTER(original_size, .kind = POKE_NUMBER),                            \
        FOOTER(current_size, .kind = POKE_NUMBER, .other = SIZE_IS),           \
        FOOTER(geometry_cylinders, .kind = POKE_NUMBER),                       \
        FOOTER(geometry_heads, .kind = POKE_NUMBER),                           \
        FOOTER(geometry_sectors_per_track, .kind = POKE_NUMBER),               \
        FOOTER(disk_type, .kind = POKE_NUMBER, .other = TYPE_IS),              \
        FOOTER(checksum, .kind = POKE_SUM),                                    \
        FOOTER(unique_id, .kind = POKE_BYTES),                                 \
        FOOTER(saved_state, .kind = POKE_NUMBER),                              \
        FOOTER(reserved, .kind = POKE_BYTES)

#define HEADER_ROWS                                                            \
    HEADER(cookie, .kind = POKE_BYTES),                                        \
        HEADER(data_offset, .kind = POKE_PLACE, .unit = 1),                    \
        HEADER(table_offset, .kind = POKE_PLACE, .unit = 1,                    \
               .other = "a table of ones: no blocks"),                         \
        HEADER(header_version, .kind = POKE_NUMBER),                           \
        HEADER(max_table_entries, .kind = POKE_NUMBER),                        \
        HEADER(block_size, .kind = POKE_NUMBER, .other = BLOCK_IS),            \
        HEADER(checksum, .kind = POKE_SUM),                                    \
        HEADER(parent_unique_id, .kind = POKE_BYTES),                          \
        HEADER(parent_time_stamp, .kind = POKE_NUMBER),                        \
        HEADER(reserved, .kind = POKE_BYTES),                                  \
        HEADER(parent_unicode_name, .kind = POKE_BYTES),                       \
        HEADER(parent_locators, .kind = POKE_BYTES),                           \
        HEADER(reserved2, .kind = POKE_BYTES)

static const struct poke_row dynamic_rows[] = {
    FOOTER_ROWS,
    HEADER_ROWS,
    BAT(0, .other = "no block, as of one never written"),
    BAT(1, .other = "a block where the file has room"),
    BAT(4, .other = "no block"),
    BAT(5, .other = "no block"),
    /* The copy alone. */
    POKE_ENTRY("footer copy", "cookie", 0, 8, .kind = POKE_BYTES),
    POKE_ENTRY("footer copy", "data offset", 16, 8, .kind = POKE_PLACE,
               .unit = 1),
    POKE_ENTRY("footer copy", "current size", 48, 8, .kind = POKE_NUMBER),
    POKE_ENTRY("footer copy", "disk type", 60, 4, .kind = POKE_NUMBER),
    POKE_ENTRY("footer copy", "checksum", 64, 4, .kind = POKE_SUM),
    /* The last one alone. */
    POKE_ENTRY("footer", "cookie", SAMPLE_FOOTER, 8, .kind = POKE_BYTES),
    POKE_ENTRY("footer", "data offset", SAMPLE_FOOTER + 16, 8,
               .kind = POKE_PLACE, .unit = 1),
    POKE_ENTRY("footer", "current size", SAMPLE_FOOTER + 48, 8,
               .kind = POKE_NUMBER, .other = SIZE_IS),
    POKE_ENTRY("footer", "disk type", SAMPLE_FOOTER + 60, 4,
               .kind = POKE_NUMBER, .other = OTHER_KIND),
    POKE_ENTRY("footer", "checksum", SAMPLE_FOOTER + 64, 4, .kind = POKE_SUM),
    POKE_ENTRY("bitmap", "block 0", 6656, 512, .kind = POKE_BYTES),
};
static const struct poke_record dynamic_records[] = {
    POKE_RECORD(0, vhd_footer_disk),
    POKE_RECORD(512, vhd_header_disk),
};
static const struct poke_sample dynamic = {
    .name = "vhd-dynamic",
    .format = "vhd",
    .make = make_dynamic,
    .big_endian = true,
    .rows = dynamic_rows,
    .row_count = COUNT(dynamic_rows),
    .records = dynamic_records,
    .record_count = COUNT(dynamic_records),
    .landmarks = { 512, SAMPLE_BAT, 2048, 6656, SAMPLE_FOOTER },
    .target = { .format = "vmdk" },
};

/* -- fixed ------------------------------------------------------------------*/

#define FIXED_SIZE 8192u

static void make_fixed(struct fuzz_case *fuzz)
{
    struct memory_file memory = sample_fixed(FIXED_SIZE);

    poke_fill(memory.bytes, FIXED_SIZE, 4);
    poke_file(fuzz, "image", memory.bytes, FIXED_SIZE + 512);
}

#undef FOOTER
#define FOOTER(member, ...)                                                    \
    POKE(FIXED_SIZE, vhd_footer_disk, member, __VA_ARGS__)
static const struct poke_row fixed_rows[] = { FOOTER_ROWS };
static const struct poke_record fixed_records[] = {
    POKE_RECORD(FIXED_SIZE, vhd_footer_disk),
};
static const struct poke_sample fixed = {
    .name = "vhd-fixed",
    .format = "vhd",
    .make = make_fixed,
    .big_endian = true,
    .rows = fixed_rows,
    .row_count = COUNT(fixed_rows),
    .records = fixed_records,
    .record_count = COUNT(fixed_records),
    .landmarks = { 512, 4096, FIXED_SIZE },
    .target = { .format = "vhdx" },
};

/* -- differencing -----------------------------------------------------------*/

#define LOCATORS SAMPLE_FOOTER
#define CHILD_FOOTER (SAMPLE_FOOTER + 1024)
#define CHILD_FILE (CHILD_FOOTER + 512)

static void make_child(struct fuzz_case *fuzz)
{
    static const char path[] = "b\0a\0s\0e\0.\0v\0h\0d";
    struct memory_file memory = filled();
    uint8_t *header, *locator;

    memory_file_resize(&memory, CHILD_FILE);
    header = memory.bytes + 512;
    memset(memory.bytes + LOCATORS, 0, 1024);
    put_be(memory.bytes + 60, 4, 4);
    memset(memory.bytes + 68, 0xcd, 16);
    put_checksum(memory.bytes, 512, FOOTER_CHECKSUM);
    memcpy(memory.bytes + CHILD_FOOTER, memory.bytes, 512);
    memset(header + 40, 0xab, 16);
    put_be(header + 56, 4, 0x1e598ef7);
    memory.bytes[6656] = 0xb1;
    memory.bytes[11264] = 0x80;
    locator = header + 576;
    memcpy(locator, "W2ru", 4);
    put_be(locator + 4, 4, 1);
    put_be(locator + 8, 4, sizeof(path));
    put_be(locator + 16, 8, LOCATORS);
    memcpy(memory.bytes + LOCATORS, path, sizeof(path));
    put_checksum(header, 1024, HEADER_CHECKSUM);
    poke_file(fuzz, "image", memory.bytes, CHILD_FILE);
    memory = filled();
    poke_fill(memory.bytes + 2560, SAMPLE_BLOCK, 5);
    poke_fill(memory.bytes + 7168, SAMPLE_BLOCK, 6);
    poke_fill(memory.bytes + 11776, SAMPLE_BLOCK, 7);
    poke_file(fuzz, "base.vhd", memory.bytes, SAMPLE_FILE);
}

#undef FOOTER
#define FOOTER(member, ...)                                                    \
    POKE(0, vhd_footer_disk, member, .mirror_bytes = CHILD_FOOTER, __VA_ARGS__)
#define BITS_SAY "the bitmap says whose the sector is"
static const struct poke_row child_rows[] = {
    FOOTER_ROWS,
    HEADER_ROWS,
    LOCATOR(0, platform_code, .kind = POKE_BYTES),
    LOCATOR(0, platform_data_space, .kind = POKE_NUMBER),
    LOCATOR(0, platform_data_length, .kind = POKE_NUMBER),
    LOCATOR(0, reserved, .kind = POKE_BYTES),
    LOCATOR(0, platform_data_offset, .kind = POKE_PLACE, .unit = 1),
    LOCATOR(3, platform_code, .kind = POKE_BYTES),
    LOCATOR(3, platform_data_length, .kind = POKE_NUMBER),
    LOCATOR(3, platform_data_offset, .kind = POKE_PLACE, .unit = 1),
    BAT(0, .other = "no block: the parent's"),
    BAT(1, .other = "a block where the file has room"),
    POKE_ENTRY("bitmap", "block 0", 6656, 1, .kind = POKE_BITS,
               .other = BITS_SAY),
    POKE_ENTRY("bitmap", "block 5", 11264, 1, .kind = POKE_BITS,
               .other = BITS_SAY),
    POKE_ENTRY("locator", "text", LOCATORS, 16, .kind = POKE_BYTES),
    /* The parent's records, through its child. */
    POKE_ENTRY("parent", "unique id", 68, 16, .kind = POKE_BYTES,
               .file_index = 1, .mirror_bytes = SAMPLE_FOOTER),
    POKE_ENTRY("parent", "disk type", 60, 4, .kind = POKE_NUMBER,
               .file_index = 1, .mirror_bytes = SAMPLE_FOOTER),
    POKE_ENTRY("parent", "table offset", 512 + 16, 8, .kind = POKE_PLACE,
               .unit = 1, .file_index = 1, .other = "a table of ones"),
    POKE_ENTRY("parent", "entry 0", SAMPLE_BAT, 4, .kind = POKE_PLACE,
               .unit = 512, .file_index = 1, .other = "no block in the parent"),
};
static const struct poke_record child_records[] = {
    POKE_RECORD(0, vhd_footer_disk),
    POKE_RECORD(512, vhd_header_disk),
    POKE_RECORD(512 + 576, vhd_parent_locator_disk),
};
static const struct poke_sample child = {
    .name = "vhd-differencing",
    .format = "vhd",
    .make = make_child,
    .big_endian = true,
    .rows = child_rows,
    .row_count = COUNT(child_rows),
    .records = child_records,
    .record_count = COUNT(child_records),
    .landmarks = { 512, SAMPLE_BAT, 2048, 6656, LOCATORS, CHILD_FOOTER },
    .target = { .format = "qcow2" },
};

/* -- the tests --------------------------------------------------------------*/

static const struct poke_sample *const samples[] = { &dynamic, &fixed, &child };

static void test_poke_vhd__dynamic(void **state)
{
    (void)state;
    poke_run(&dynamic);
}

static void test_poke_vhd__fixed(void **state)
{
    (void)state;
    poke_run(&fixed);
}

static void test_poke_vhd__differencing(void **state)
{
    (void)state;
    poke_run(&child);
}

static void test_poke_vhd__every_record_is_poked(void **state)
{
    (void)state;
    poke_complete("formats/vhd/vhd_disk.h", samples, COUNT(samples), NULL);
}

static void test_poke_vhd__cut_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(samples); i++)
        poke_truncate(samples[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poke_vhd__dynamic),
        cmocka_unit_test(test_poke_vhd__fixed),
        cmocka_unit_test(test_poke_vhd__differencing),
        cmocka_unit_test(test_poke_vhd__every_record_is_poked),
        cmocka_unit_test(test_poke_vhd__cut_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
