/* SPDX-License-Identifier: Apache-2.0 */
/* formats/vhd: differencing disks, and what check() finds. */
#include <stdio.h>

#include "vhd_testing.h"

/*
 * The sample of vhd_testing.h as a child, grown by room for two locators:
 *
 *   block 0  bits 1011 0001 at 6656, data at 7168
 *   block 4  all here, data at 2560    block 5  one sector, data at 11776
 *   15872 locators  16896 footer
 */
#define LOCATORS SAMPLE_FOOTER
#define CHILD_FOOTER (SAMPLE_FOOTER + 1024)
#define CHILD_FILE (CHILD_FOOTER + 512)
#define BITMAP_0 6656

static void put_locator(struct memory_file *memory, unsigned index,
                        const char *code, const void *text, size_t length,
                        uint64_t offset)
{
    uint8_t *at = memory->bytes + 512 + 576 + 24 * index;

    memset(at, 0, 24);
    memcpy(at, code, 4);
    put_be(at + 4, 4, 1);
    put_be(at + 8, 4, length);
    put_be(at + 16, 8, offset);
    if (text != NULL)
        memcpy(memory->bytes + offset, text, length);
    put_checksum(memory->bytes + 512, 1024, HEADER_CHECKSUM);
}

static struct memory_file sample_child(void)
{
    static const char path[] = "b\0a\0s\0e\0.\0v\0h\0d";
    struct memory_file memory = sample_dynamic();

    memory_file_resize(&memory, CHILD_FILE);
    memset(memory.bytes + LOCATORS, 0, 1024);
    put_be(memory.bytes + 60, 4, 4);
    memset(memory.bytes + 68, 0xcd, 16);
    put_checksum(memory.bytes, 512, FOOTER_CHECKSUM);
    memcpy(memory.bytes + CHILD_FOOTER, memory.bytes, 512);
    memset(memory.bytes + 512 + 40, 0xab, 16);
    put_be(memory.bytes + 512 + 56, 4, 0x1e598ef8);
    memory.bytes[BITMAP_0] = 0xb1;
    memory.bytes[2048] = 0xff;
    memory.bytes[11264] = 0x80;
    put_locator(&memory, 0, "W2ru", path, sizeof(path), LOCATORS);
    return memory;
}

/* -- the map -------------------------------------------------------------- */

static void test_vhd_diff__bits_decide_between_child_and_parent(void **state)
{
    struct memory_file memory = sample_child();
    struct ds_extent extents[16];
    struct ds_error err;
    size_t count;

    (void)state;
    assert_int_equal(read_all(&memory, extents, 16, &count, NULL, &err), 0);
    assert_int_equal(count, 8);
    assert_extent(&extents[0], DS_EXTENT_DATA, 0, 512, 0, 7168);
    assert_extent(&extents[1], DS_EXTENT_HOLE, 512, 512, DS_FILE_NONE, 0);
    assert_extent(&extents[2], DS_EXTENT_DATA, 1024, 1024, 0, 8192);
    assert_extent(&extents[3], DS_EXTENT_HOLE, 2048, 1536, DS_FILE_NONE, 0);
    assert_extent(&extents[4], DS_EXTENT_DATA, 3584, 512, 0, 10752);
    assert_extent(&extents[5], DS_EXTENT_HOLE, 4096, 12288, DS_FILE_NONE, 0);
    assert_extent(&extents[6], DS_EXTENT_DATA, 16384, 4096, 0, 2560);
    assert_extent(&extents[7], DS_EXTENT_DATA, 20480, 512, 0, 11776);
    memory.bytes[11264] = 0x7f; /* only what the guest cannot reach */
    assert_int_equal(read_all(&memory, extents, 16, &count, NULL, &err), 0);
    assert_extent(&extents[7], DS_EXTENT_HOLE, 20480, 512, DS_FILE_NONE, 0);
    free(memory.bytes);
}

/* Every bit pattern, from every byte of the block. */
static void test_vhd_diff__every_pattern_from_every_place(void **state)
{
    struct memory_file memory = sample_child();
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image = NULL;

    (void)state;
    assert_int_equal(
        vhd_format_ops.open(&memory.file, &references, &image, &err), 0);
    for (unsigned bits = 0; bits < 256; bits++)
        for (uint64_t at = 0; at < SAMPLE_BLOCK; at += 256) {
            struct ds_cursor cursor = { 0 };
            struct ds_extent extent;
            uint64_t sector = at / 512, end = sector;
            bool set = (bits >> (7 - sector) & 1) != 0;

            memory.bytes[BITMAP_0] = (uint8_t)bits;
            while (end < 8 && ((bits >> (7 - end) & 1) != 0) == set)
                end++;
            assert_int_equal(
                vhd_format_ops.extent_at(image, &cursor, at, &extent, &err), 0);
            assert_extent(&extent, set ? DS_EXTENT_DATA : DS_EXTENT_HOLE, at,
                          end * 512 - at, set ? 0 : DS_FILE_NONE, 7168 + at);
            cursor_free(&cursor);
        }
    vhd_format_ops.close(image);
    free(memory.bytes);
}

/* In a dynamic disk the bitmap says nothing: see SPEC.md. */
static void test_vhd_diff__dynamic_disks_have_no_say_for_bitmaps(void **state)
{
    struct memory_file memory = sample_dynamic();
    struct ds_extent extents[8];
    struct ds_error err;
    size_t count;

    (void)state;
    memory.bytes[BITMAP_0] = 0xb1;
    assert_int_equal(read_all(&memory, extents, 8, &count, NULL, &err), 0);
    assert_extent(&extents[0], DS_EXTENT_DATA, 0, 4096, 0, 7168);
    free(memory.bytes);
}

/* -- names ---------------------------------------------------------------- */

static void expect_names(struct memory_file memory, const char *const *expect)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image = NULL;
    struct ds_parent parent = { 0 };
    size_t count = 0;
    int result = vhd_format_ops.open(&memory.file, &references, &image, &err);

    if (result != 0)
        fail_msg("%s", err.message);
    assert_true(vhd_format_ops.parent(image, &parent));
    assert_string_equal(parent.format, "vhd");
    for (; expect[count] != NULL; count++) {
        assert_true(count < parent.name_count);
        assert_string_equal(parent.names[count], expect[count]);
    }
    assert_int_equal(parent.name_count, count);
    vhd_format_ops.close(image);
    free(memory.bytes);
}

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static size_t utf16(uint8_t *at, const char *text, bool big)
{
    size_t count = strlen(text);

    for (size_t i = 0; i < count; i++)
        put_be(at + 2 * i, 2, (uint64_t)(uint8_t)text[i] << (big ? 0 : 8));
    return 2 * count;
}

static struct memory_file child_named(const char *code, const char *text)
{
    struct memory_file memory = sample_child();
    uint8_t wide[512];

    put_locator(&memory, 7, code, wide, utf16(wide, text, false),
                LOCATORS + 512);
    put_locator(&memory, 0, "\0\0\0", NULL, 0, 0);
    return memory;
}

static void test_vhd_diff__names_from_locators(void **state)
{
    (void)state;
    expect_names(sample_child(), NAMES("base.vhd"));
    expect_names(child_named("W2ru", ".\\base.vhd"), NAMES("base.vhd"));
    expect_names(child_named("W2ru", "..\\old\\base.vhd"),
                 NAMES("../old/base.vhd", "base.vhd", "../old/base.vhd"));
    expect_names(child_named("W2ku", "D:\\vm\\base.vhd"), NAMES("base.vhd"));
    expect_names(child_named("W2ku", "\\\\server\\vm\\base.vhd"),
                 NAMES("base.vhd"));
    expect_names(child_named("W2ku", "/vm/base.vhd"),
                 NAMES("base.vhd", "/vm/base.vhd", "base.vhd"));
    /* The child's own name, for the parent in another directory. */
    expect_names(child_named("W2ru", "..\\memory"), NAMES("../memory"));
}

static void test_vhd_diff__names_of_other_platforms(void **state)
{
    static const char mac[] = "file://localhost/Users/me/a%20base.vhd";
    static const char ansi[] = "..\\base.vhd";
    struct memory_file memory = sample_child();

    (void)state;
    put_locator(&memory, 0, "MacX", mac, sizeof(mac) - 1, LOCATORS);
    put_locator(&memory, 1, "Mac ", "\0\0alias", 7, LOCATORS + 512);
    put_locator(&memory, 2, "????", NULL, UINT32_MAX, UINT64_MAX);
    expect_names(memory,
                 NAMES("a base.vhd", "/Users/me/a base.vhd", "a base.vhd"));
    memory = sample_child();
    put_locator(&memory, 3, "Wi2r", ansi, sizeof(ansi), LOCATORS + 512);
    put_locator(&memory, 0, "Wi2k", "C:\\x\\two.vhd", 12, LOCATORS);
    expect_names(memory,
                 NAMES("../base.vhd", "base.vhd", "two.vhd", "../base.vhd"));
}

static void test_vhd_diff__header_name_is_the_last_resort(void **state)
{
    struct memory_file memory = sample_child();

    (void)state;
    put_locator(&memory, 0, "\0\0\0", NULL, 0, 0);
    (void)utf16(memory.bytes + 512 + 64, "C:\\vm\\parent.vhd", true);
    put_checksum(memory.bytes + 512, 1024, HEADER_CHECKSUM);
    expect_names(memory, NAMES("parent.vhd"));
}

/* What is no text names nothing; the engine then says so. */
static void test_vhd_diff__names_that_are_no_text(void **state)
{
    static const uint8_t half_pair[] = { 'a', 0, 0x00, 0xd8 };
    static const uint8_t control[] = { 'a', 0, '\n', 0 };
    static const char bad_url[] = "file:///a%ff";
    struct memory_file memory = sample_child();

    (void)state;
    put_locator(&memory, 0, "W2ru", half_pair, 4, LOCATORS);
    put_locator(&memory, 1, "W2ku", control, 4, LOCATORS + 16);
    put_locator(&memory, 2, "Wi2r", "a\x80", 2, LOCATORS + 32);
    put_locator(&memory, 3, "MacX", bad_url, sizeof(bad_url), LOCATORS + 48);
    put_locator(&memory, 4, "Wi2k", "", 1, LOCATORS + 64);
    expect_names(memory, (const char *const[]){ NULL });
}

static void test_vhd_diff__locators_out_of_bounds(void **state)
{
    static const struct {
        uint64_t offset, length;
        const char *words;
    } wrong[] = {
        { 0, 16, "parent locator 0: range" },
        { CHILD_FOOTER - 8, 16, "parent locator 0: range" },
        { UINT64_MAX - 7, 16, "parent locator 0: range" },
        { LOCATORS, 65537, "parent locator 0: data length, have 65537" },
        { LOCATORS, UINT32_MAX, "parent locator 0: data length" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct memory_file memory = sample_child();

        put_locator(&memory, 0, "W2ku", NULL, wrong[i].length, wrong[i].offset);
        expect_failure(memory, DS_ERR_CORRUPT, wrong[i].words);
    }
}

/* -- the parent's identity ------------------------------------------------ */

static int check_parent(struct memory_file parent_file, struct ds_error *err)
{
    struct memory_file child_file = sample_child();
    struct ds_image *child = NULL, *parent = NULL;
    int result;

    *err = (struct ds_error)DS_ERROR_INIT;
    assert_int_equal(
        vhd_format_ops.open(&child_file.file, &references, &child, err), 0);
    assert_int_equal(
        vhd_format_ops.open(&parent_file.file, &references, &parent, err), 0);
    result = vhd_format_ops.check_parent(child, parent, err);
    vhd_format_ops.close(child);
    vhd_format_ops.close(parent);
    free(child_file.bytes);
    free(parent_file.bytes);
    return result;
}

static void test_vhd_diff__parent_id_must_be_the_recorded_one(void **state)
{
    struct ds_error err;

    (void)state;
    assert_int_equal(check_parent(sample_dynamic(), &err), 0);
    assert_int_equal(check_parent(sample_fixed(4096), &err), 0);
    assert_int_equal(check_parent(sample_footer_poked(83, 1, 0xac), &err),
                     -DS_ERR_CORRUPT);
    assert_non_null(strstr(err.message,
                           "have abababab-abab-abab-abab-ababababab"
                           "ac expect abababab-abab-abab-abab-abababababab"));
    assert_int_equal(err.offset_bytes, SAMPLE_FOOTER + 68);
}

/* Recorded is 0x1e598ef8. The parent's own time is of its making. */
static void test_vhd_diff__parent_made_after_its_child_is_refused(void **state)
{
    struct ds_error err;

    (void)state;
    assert_int_equal(check_parent(sample_footer_poked(24, 4, 1), &err), 0);
    assert_int_equal(
        check_parent(sample_footer_poked(24, 4, 0x1e598ef8 + 86400), &err), 0);
    assert_int_equal(
        check_parent(sample_footer_poked(24, 4, 0x1e598ef8 + 86401), &err),
        -DS_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "vhd: parent: time stamp"));
}

static void test_vhd_diff__only_differencing_disks_have_parents(void **state)
{
    struct memory_file memory = sample_dynamic();
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image = NULL;
    struct ds_parent parent = { 0 };

    (void)state;
    assert_int_equal(
        vhd_format_ops.open(&memory.file, &references, &image, &err), 0);
    assert_false(vhd_format_ops.parent(image, &parent));
    vhd_format_ops.close(image);
    free(memory.bytes);
}

/* -- check ---------------------------------------------------------------- */

struct findings {
    unsigned corrupt, leaks;
    char last[256];
};

static int take(void *user, const struct ds_finding *finding,
                struct ds_error *err)
{
    struct findings *findings = user;

    (void)err;
    *(finding->is_leak ? &findings->leaks : &findings->corrupt) += 1;
    (void)snprintf(findings->last, sizeof(findings->last), "%s",
                   finding->message);
    return 0;
}

static struct findings inspect(struct memory_file memory)
{
    struct findings findings = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image = NULL;

    assert_int_equal(
        vhd_format_ops.open(&memory.file, &references, &image, &err), 0);
    assert_int_equal(vhd_format_ops.check(image, take, &findings, &err), 0);
    vhd_format_ops.close(image);
    free(memory.bytes);
    return findings;
}

static void expect_finding(struct memory_file memory, bool leak,
                           const char *words)
{
    struct findings findings = inspect(memory);

    assert_int_equal(findings.corrupt, leak ? 0 : 1);
    assert_int_equal(findings.leaks, leak ? 1 : 0);
    if (strstr(findings.last, words) == NULL)
        fail_msg("have '%s' expect '%s'", findings.last, words);
}

static void test_vhd_diff__check_of_whole_images_is_silent(void **state)
{
    struct findings findings = inspect(sample_dynamic());

    (void)state;
    assert_int_equal(findings.corrupt + findings.leaks, 0);
    findings = inspect(sample_fixed(4096));
    assert_int_equal(findings.corrupt + findings.leaks, 0);
    findings = inspect(sample_child());
    assert_int_equal(findings.corrupt + findings.leaks, 0);
}

static void test_vhd_diff__check_compares_the_footers(void **state)
{
    struct memory_file memory = sample_dynamic();

    (void)state;
    memory.bytes[200] ^= 1;
    expect_finding(memory, false, "footer copy: cookie or checksum is wrong");
    memory = sample_dynamic();
    put_be(memory.bytes + 24, 4, 1);
    put_checksum(memory.bytes, 512, FOOTER_CHECKSUM);
    expect_finding(memory, false, "footer copy: differs");
    memory = sample_dynamic();
    memory.bytes[SAMPLE_FOOTER + 200] ^= 1;
    expect_finding(memory, false, "footer: none that is whole at the end");
}

static void test_vhd_diff__check_finds_entries_beyond_the_disk(void **state)
{
    struct memory_file memory = sample_header_poked(28, 4, 8);

    (void)state;
    put_be(memory.bytes + SAMPLE_BAT + 4 * 7, 4, 4);
    expect_finding(memory, true, "bat: entry 7 is beyond the disk");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vhd_diff__bits_decide_between_child_and_parent),
        cmocka_unit_test(test_vhd_diff__every_pattern_from_every_place),
        cmocka_unit_test(test_vhd_diff__dynamic_disks_have_no_say_for_bitmaps),
        cmocka_unit_test(test_vhd_diff__names_from_locators),
        cmocka_unit_test(test_vhd_diff__names_of_other_platforms),
        cmocka_unit_test(test_vhd_diff__header_name_is_the_last_resort),
        cmocka_unit_test(test_vhd_diff__names_that_are_no_text),
        cmocka_unit_test(test_vhd_diff__locators_out_of_bounds),
        cmocka_unit_test(test_vhd_diff__parent_id_must_be_the_recorded_one),
        cmocka_unit_test(test_vhd_diff__parent_made_after_its_child_is_refused),
        cmocka_unit_test(test_vhd_diff__only_differencing_disks_have_parents),
        cmocka_unit_test(test_vhd_diff__check_of_whole_images_is_silent),
        cmocka_unit_test(test_vhd_diff__check_compares_the_footers),
        cmocka_unit_test(test_vhd_diff__check_finds_entries_beyond_the_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
