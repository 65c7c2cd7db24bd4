/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arith.h"
#include "buffer.h"
#include "bytes.h"
#include "crc32c.h"
#include "fail.h"
#include "format.h"
#include "guid.h"

static void test_bytes__are_in_the_order_their_name_says(void **state)
{
    (void)state;
    ds_be32 big = ds_be32_make(0x01020304);
    ds_le64 little = ds_le64_make(UINT64_C(0x0102030405060708));

    assert_int_equal(big.b[0], 1);
    assert_int_equal(big.b[3], 4);
    assert_int_equal(little.b[0], 8);
    assert_int_equal(ds_be32_get(big), 0x01020304);
    assert_true(ds_le64_get(little) == UINT64_C(0x0102030405060708));
}

static void test_arith__range_fits_does_not_wrap(void **state)
{
    (void)state;
    assert_true(ds_range_fits(0, 10, 10));
    assert_true(ds_range_fits(10, 0, 10));
    assert_false(ds_range_fits(10, 1, 10));
    assert_false(ds_range_fits(11, 0, 10));
    assert_false(ds_range_fits(UINT64_MAX, 2, 10));
    assert_false(ds_range_fits(5, UINT64_MAX, 10));
}

static void test_arith__checked_forms_say_no(void **state)
{
    uint64_t out;

    (void)state;
    assert_true(ds_add_u64(UINT64_MAX - 1, 1, &out));
    assert_false(ds_add_u64(UINT64_MAX, 1, &out));
    assert_false(ds_mul_u64(UINT64_C(1) << 33, UINT64_C(1) << 31, &out));
    assert_true(ds_div_up(UINT64_MAX, 2) == UINT64_C(1) << 63);
}

/* RFC 3720, B.4. */
static void test_crc32c__holds_against_the_rfc(void **state)
{
    uint8_t bytes[32];

    (void)state;
    memset(bytes, 0, sizeof(bytes));
    assert_true(ds_crc32c(0, bytes, 32) == 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_true(ds_crc32c(0, bytes, 32) == 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_true(ds_crc32c(0, bytes, 32) == 0x46dd794e);
}

static void test_crc32c__fast_equals_portable_at_any_alignment(void **state)
{
    uint8_t bytes[256];

    (void)state;
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + 3);
    for (size_t begin = 0; begin < 9; begin++)
        for (size_t length = 0; length < 200; length++)
            assert_true(ds_crc32c(5, bytes + begin, length) ==
                        ds_crc32c_portable(5, bytes + begin, length));
}

static void test_guid__is_random_version_4(void **state)
{
    struct ds_guid one, two, back;
    char text[DS_GUID_TEXT_BYTES];

    (void)state;
    assert_int_equal(ds_guid_random(&one, NULL), 0);
    assert_int_equal(ds_guid_random(&two, NULL), 0);
    assert_memory_not_equal(&one, &two, sizeof(one));
    ds_guid_format(&one, text);
    assert_int_equal(strlen(text), 36);
    assert_int_equal(text[14], '4');
    back = ds_guid_swap(&one);
    back = ds_guid_swap(&back);
    assert_memory_equal(&one, &back, sizeof(one));
}

static void test_fail__names_class_and_is_cut_not_lost(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file file = { .path = (char *)"dir/disk.vmdk" };
    char longer[1024];

    (void)state;
    assert_int_equal(ds_fail_at(&err, &file, 512, DS_ERR_CORRUPT, "have %d", 3),
                     -DS_ERR_CORRUPT);
    assert_string_equal(err.file, "dir/disk.vmdk");
    assert_string_equal(err.message, "have 3");
    assert_true(err.offset_bytes == 512);
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(ds_fail(&err, DS_ERR_ARG, "%s", longer), -DS_ERR_ARG);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    assert_int_equal(ds_fail_errno(&err, 28, NULL, "write"), -DS_ERR_SYSTEM);
    assert_non_null(strstr(err.message, "No space left"));
    assert_int_equal(ds_fail(NULL, DS_ERR_LIMIT, "x"), -DS_ERR_LIMIT);
}

static void test_option__size_takes_suffixes_and_refuses_rest(void **state)
{
    static const char *const bad[] = { "",
                                       "k",
                                       "1x",
                                       "1kk",
                                       "-1",
                                       "1 k",
                                       "0x1",
                                       "99999999999999999999",
                                       "18446744073709551615k" };
    uint64_t out;

    (void)state;
    assert_int_equal(ds_option_size("f", "k", "64k", &out, NULL), 0);
    assert_true(out == 65536);
    assert_int_equal(ds_option_size("f", "k", "2T", &out, NULL), 0);
    assert_true(out == 2 * DS_TIB);
    assert_int_equal(ds_option_size("f", "k", "512", &out, NULL), 0);
    assert_true(out == 512);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(ds_option_size("f", "k", bad[i], &out, NULL),
                         -DS_ERR_ARG);
}

static void test_option__last_wins_and_unknown_is_named(void **state)
{
    static const struct ds_target_option known[] = { { .key = "size" },
                                                     { .key = NULL } };
    static const char *const options[] = { "size=1", "size=2" };
    static const char *const unknown[] = { "sizes=1" };
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_string_equal(ds_option_get(options, 2, "size"), "2");
    assert_null(ds_option_get(options, 2, "siz"));
    assert_int_equal(ds_option_check("f", known, options, 2, &err), 0);
    assert_int_equal(ds_option_check("f", known, unknown, 1, &err),
                     -DS_ERR_ARG);
    assert_non_null(strstr(err.message, "sizes=1"));
}

static void test_buffer__is_aligned_to_what_it_may_lie_in(void **state)
{
    static const size_t lengths[] = { 1,
                                      4096,
                                      4097,
                                      DS_BUFFER_HUGE_BYTES - 1,
                                      DS_BUFFER_HUGE_BYTES,
                                      2 * DS_BUFFER_HUGE_BYTES + 1 };

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        bool huge = lengths[i] >= DS_BUFFER_HUGE_BYTES;
        uint8_t *buffer = ds_buffer_alloc(lengths[i]);

        assert_non_null(buffer);
        assert_int_equal((uintptr_t)buffer % DS_BUFFER_ALIGN_BYTES, 0);
        if (huge)
            assert_int_equal((uintptr_t)buffer % DS_BUFFER_HUGE_BYTES, 0);
        memset(buffer, 1, lengths[i]);
        free(buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes__are_in_the_order_their_name_says),
        cmocka_unit_test(test_arith__range_fits_does_not_wrap),
        cmocka_unit_test(test_arith__checked_forms_say_no),
        cmocka_unit_test(test_crc32c__holds_against_the_rfc),
        cmocka_unit_test(test_crc32c__fast_equals_portable_at_any_alignment),
        cmocka_unit_test(test_guid__is_random_version_4),
        cmocka_unit_test(test_fail__names_class_and_is_cut_not_lost),
        cmocka_unit_test(test_option__size_takes_suffixes_and_refuses_rest),
        cmocka_unit_test(test_option__last_wins_and_unknown_is_named),
        cmocka_unit_test(test_buffer__is_aligned_to_what_it_may_lie_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
