/* SPDX-License-Identifier: Apache-2.0 */
/* formats/vhdx: parent locators, and what check() finds. */
#include <stdio.h>

#include "vhdx_diff_fixture.h"

/* -- the parent locator --------------------------------------------------- */

static void expect_names(const struct pair *pairs, unsigned count,
                         const char *const *expect)
{
    struct memory_file memory;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_parent parent = { 0 };
    struct ds_image *image;
    size_t names = 0;

    fix_child(&memory);
    set_locator(&memory, pairs, count);
    if (fix_open(&memory, &image, &err) != 0)
        fail_msg("%s", err.message);
    assert_true(image->format->parent(image, &parent));
    assert_string_equal(parent.format, "vhdx");
    for (; expect[names] != NULL; names++) {
        assert_true(names < parent.name_count);
        assert_string_equal(parent.names[names], expect[names]);
    }
    assert_int_equal(parent.name_count, names);
    image->format->close(image);
    fix_free(&memory);
}

static void test_vhdx_diff__names_from_the_locator(void **state)
{
    static const struct pair all[] = {
        { "absolute_win32_path", "\\\\?\\c:\\vm\\abs.vhdx" },
        { "something else", "\x01" },
        { "volume_path", "\\\\?\\Volume{26A21BDA}\\vm\\vol.vhdx" },
        { "relative_path", "..\\..\\vm\\rel.vhdx" },
        { "parent_linkage", LINKAGE },
        { "parent_linkage2", OTHER_LINKAGE },
    };
    static const struct pair none[] = { { "parent_linkage", LINKAGE } };
    static const struct pair control[] = { { "parent_linkage", LINKAGE },
                                           { "relative_path", "a\nb" } };

    (void)state;
    expect_names(all, 6,
                 (const char *const[]){ "../../vm/rel.vhdx", "rel.vhdx",
                                        "abs.vhdx", "vol.vhdx",
                                        "../../vm/rel.vhdx", NULL });
    expect_names(none, 1, (const char *const[]){ NULL });
    expect_names(control, 2, (const char *const[]){ NULL });
}

static void expect_locator(const struct pair *pairs, unsigned count,
                           const char *words)
{
    struct memory_file memory;

    fix_child(&memory);
    set_locator(&memory, pairs, count);
    check_fails(&memory, DS_ERR_CORRUPT, words);
}

static void test_vhdx_diff__linkage_must_be_a_guid(void **state)
{
    static const char *const wrong[] = {
        "{22222222-2222-2222-2222-22222222222}",
        "{22222222-2222-2222-2222-222222222222",
        "22222222-2222-2222-2222-222222222222}",
        "{22222222-2222-2222-2222-2222222222222}",
        "{22222222-2222-2222-222222222222-2222}",
        "{2222222g-2222-2222-2222-222222222222}",
        "2",
    };
    static const struct pair twice[] = { { "parent_linkage", LINKAGE },
                                         { "parent_linkage", LINKAGE } };

    (void)state;
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct pair pair = { "parent_linkage", wrong[i] };

        expect_locator(&pair, 1, "parent_linkage, have '");
    }
    expect_locator(NULL, 0, "parent_linkage, have ''");
    expect_locator(twice, 2, "parent_linkage, have it twice");
}

static void test_vhdx_diff__locator_fields_poked(void **state)
{
    static const struct {
        unsigned at, width;
        uint64_t value;
        enum ds_error_class error_class;
        const char *words;
    } pokes[] = {
        { 0, 1, 0, DS_ERR_UNSUPPORTED, "LocatorType" },
        { 18, 2, 0xffff, DS_ERR_CORRUPT, "Length, have" },
        { 20, 4, 0x7fffffff, DS_ERR_CORRUPT, "string of entry 0" },
        { 24, 4, UINT32_MAX, DS_ERR_CORRUPT, "string of entry 0" },
        { 28, 2, 0, DS_ERR_CORRUPT, "string of entry 0, have 0 bytes" },
        { 28, 2, 0xffff, DS_ERR_CORRUPT, "string of entry 0" },
        { 42, 2, 0xfffe, DS_ERR_CORRUPT, "string of entry 1" },
        { 28, 2, 27, DS_ERR_CORRUPT, "parent_linkage, have ''" },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(pokes) / sizeof(pokes[0]); i++) {
        struct memory_file memory;

        fix_child(&memory);
        put(memory.bytes + LOCATOR + pokes[i].at, pokes[i].value,
            pokes[i].width);
        check_fails(&memory, pokes[i].error_class, pokes[i].words);
    }
}

/* Whatever the locator holds, it is read within it or refused. */
static void test_vhdx_diff__locator_of_every_length(void **state)
{
    (void)state;
    for (uint32_t length = 0; length < 200; length++) {
        struct memory_file memory;
        struct ds_error err = DS_ERROR_INIT;
        int result;

        fix_child(&memory);
        put(memory.bytes + FIX_METADATA + 32 + 32 * 5 + 20, length, 4);
        if (length == 0)
            put(memory.bytes + FIX_METADATA + 32 + 32 * 5 + 16, 0, 4);
        result = fix_try(&memory, &err);
        assert_true(result == 0 || result == -DS_ERR_CORRUPT);
        fix_free(&memory);
    }
}

static int check_parent(const struct pair *pairs, unsigned count,
                        struct ds_error *err)
{
    struct memory_file child_file, parent_file;
    struct ds_image *child, *parent;
    int result;

    fix_child(&child_file);
    fix_image(&parent_file);
    set_locator(&child_file, pairs, count);
    assert_int_equal(fix_open(&child_file, &child, err), 0);
    assert_int_equal(fix_open(&parent_file, &parent, err), 0);
    result = child->format->check_parent(child, parent, err);
    child->format->close(child);
    parent->format->close(parent);
    fix_free(&child_file);
    fix_free(&parent_file);
    return result;
}

static void test_vhdx_diff__parent_is_known_by_its_data_write_guid(void **state)
{
    static const struct pair right[] = { { "parent_linkage", LINKAGE } };
    static const struct pair wrong[] = { { "parent_linkage", OTHER_LINKAGE } };
    static const struct pair second[] = {
        { "parent_linkage", OTHER_LINKAGE },
        { "parent_linkage2", LINKAGE },
    };
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_int_equal(check_parent(right, 1, &err), 0);
    assert_int_equal(check_parent(second, 2, &err), 0);
    assert_int_equal(check_parent(wrong, 1, &err), -DS_ERR_CORRUPT);
    assert_non_null(strstr(
        err.message, "DataWriteGuid, have 22222222-2222-2222-2222-222222222222 "
                     "expect 00112233-4455-6677-8899-aabbccddeeff"));
}

static void test_vhdx_diff__only_differencing_disks_have_parents(void **state)
{
    struct memory_file memory;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_parent parent = { 0 };
    struct ds_image *image;

    (void)state;
    fix_image(&memory);
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_false(image->format->parent(image, &parent));
    image->format->close(image);
    fix_free(&memory);
}

/* -- check ---------------------------------------------------------------- */

struct findings {
    unsigned corrupt, leaks;
    uint64_t offset;
    char last[256];
};

static int take(void *user, const struct ds_finding *finding,
                struct ds_error *err)
{
    struct findings *findings = user;

    (void)err;
    *(finding->is_leak ? &findings->leaks : &findings->corrupt) += 1;
    findings->offset = finding->offset_bytes;
    (void)snprintf(findings->last, sizeof(findings->last), "%s",
                   finding->message);
    return 0;
}

/* The fixture without its one MiB that nothing refers to. */
static void fix_tight(struct memory_file *memory)
{
    fix_image(memory);
    put(memory->bytes + FIX_BAT + 8 * 3, 6 * MIB, 8);
}

static struct findings inspect(struct memory_file *memory)
{
    struct findings findings = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    assert_int_equal(fix_open(memory, &image, &err), 0);
    assert_int_equal(image->format->check(image, take, &findings, &err), 0);
    image->format->close(image);
    fix_free(memory);
    return findings;
}

static void test_vhdx_diff__check_of_whole_images_is_silent(void **state)
{
    struct memory_file memory;
    struct findings findings;

    (void)state;
    fix_tight(&memory);
    findings = inspect(&memory);
    assert_int_equal(findings.corrupt + findings.leaks, 0);
    fix_child(&memory);
    put(memory.bytes + FIX_BAT + 8 * 3, 6 * MIB, 8);
    findings = inspect(&memory);
    assert_int_equal(findings.corrupt + findings.leaks, 0);
}

static void test_vhdx_diff__check_finds_what_nothing_refers_to(void **state)
{
    struct memory_file memory;
    struct findings findings;

    (void)state;
    fix_image(&memory);
    findings = inspect(&memory);
    assert_int_equal(findings.corrupt, 0);
    assert_int_equal(findings.leaks, 1);
    assert_int_equal(findings.offset, 6 * MIB);
    assert_non_null(strstr(findings.last, "have 1048576 bytes allocated"));
    fix_child(&memory); /* and the bitmap's when it is not referred to */
    memset(memory.bytes + FIX_BAT, 0, 8 * 7);
    put(memory.bytes + BAT_BITMAP(RATIO_512), 0, 8);
    findings = inspect(&memory);
    assert_int_equal(findings.leaks, 1);
    assert_int_equal(findings.offset, 4 * MIB);
    assert_non_null(strstr(findings.last, "have 6291456 bytes"));
}

static void test_vhdx_diff__check_finds_damaged_copies(void **state)
{
    static const struct {
        uint64_t at;
        const char *words;
    } damages[] = {
        { FIX_HEADER_1, "header 1: signature" },
        { FIX_HEADER_2, "header 2: signature" },
        { FIX_REGIONS_1, "region table 1: signature" },
        { FIX_REGIONS_2, "region table 2: signature" },
    };
    struct memory_file memory;
    struct findings findings;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        fix_tight(&memory);
        memory.bytes[damages[i].at + 100] ^= 1;
        findings = inspect(&memory);
        assert_int_equal(findings.corrupt, 1);
        assert_int_equal(findings.leaks, 0);
        assert_non_null(strstr(findings.last, damages[i].words));
    }
    fix_tight(&memory);
    put(memory.bytes + FIX_REGIONS_2 + 60000, 1, 1);
    reseal(&memory);
    findings = inspect(&memory);
    assert_int_equal(findings.corrupt, 1);
    assert_non_null(strstr(findings.last, "region table 2: differs"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vhdx_diff__names_from_the_locator),
        cmocka_unit_test(test_vhdx_diff__linkage_must_be_a_guid),
        cmocka_unit_test(test_vhdx_diff__locator_fields_poked),
        cmocka_unit_test(test_vhdx_diff__locator_of_every_length),
        cmocka_unit_test(
            test_vhdx_diff__parent_is_known_by_its_data_write_guid),
        cmocka_unit_test(test_vhdx_diff__only_differencing_disks_have_parents),
        cmocka_unit_test(test_vhdx_diff__check_of_whole_images_is_silent),
        cmocka_unit_test(test_vhdx_diff__check_finds_what_nothing_refers_to),
        cmocka_unit_test(test_vhdx_diff__check_finds_damaged_copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
