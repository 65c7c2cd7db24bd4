/* SPDX-License-Identifier: Apache-2.0 */
/* XDR against bytes from RFC 4506, and against bytes that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nfs/nfs_xdr.h"

static void test_xdr__words_and_padding(void **state)
{
    /* RFC 4506 section 4.10: string<>, here "abcde" */
    static const uint8_t expected[] = { 0,   0, 0, 7, 1, 2, 3,   4,   5,   6,
                                        7,   8, 0, 0, 0, 5, 'a', 'b', 'c', 'd',
                                        'e', 0, 0, 0, 9, 8, 7,   0 };
    static const uint8_t fixed[] = { 9, 8, 7 };
    struct xdr_out out = { 0 };

    (void)state;
    xdr_put_u32(&out, 7);
    xdr_put_u64(&out, UINT64_C(0x0102030405060708));
    xdr_put_string(&out, "abcde");
    xdr_put_fixed(&out, fixed, sizeof(fixed));
    assert_false(out.failed);
    assert_int_equal(out.length_bytes, sizeof(expected));
    assert_memory_equal(out.bytes, expected, sizeof(expected));
    xdr_patch_u32(&out, 0, 8);
    assert_int_equal(out.bytes[3], 8);
    xdr_out_free(&out);
}

static void test_xdr__reads_what_was_written(void **state)
{
    struct xdr_out out = { 0 };
    struct xdr_in in;
    size_t length;
    const uint8_t *bytes;

    (void)state;
    xdr_put_u64(&out, UINT64_MAX);
    xdr_put_opaque(&out, "xyz", 3);
    xdr_put_opaque(&out, "skipped", 7);
    xdr_put_u32(&out, 42);
    in = xdr_in_make(out.bytes, out.length_bytes);
    assert_true(xdr_get_u64(&in) == UINT64_MAX);
    bytes = xdr_get_opaque(&in, 3, &length);
    assert_int_equal(length, 3);
    assert_memory_equal(bytes, "xyz", 3);
    xdr_skip_opaque(&in);
    assert_int_equal(xdr_get_u32(&in), 42);
    assert_false(in.failed);
    assert_ptr_equal(in.next, in.end);
    xdr_out_free(&out);
}

/* Whatever the length claims, nothing beyond the end is touched: the buffer
 * is as long as its content, for ASan to see. */
static void test_xdr__lengths_that_lie(void **state)
{
    static const uint32_t lies[] = { 5, 8, 0x7fffffff, 0xfffffffd, 0xffffffff };

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        uint8_t *bytes = calloc(1, 8);
        struct xdr_in in = xdr_in_make(bytes, 8);
        size_t length = 99;

        bytes[0] = (uint8_t)(lies[i] >> 24);
        bytes[1] = (uint8_t)(lies[i] >> 16);
        bytes[2] = (uint8_t)(lies[i] >> 8);
        bytes[3] = (uint8_t)lies[i];
        assert_null(xdr_get_opaque(&in, SIZE_MAX, &length));
        assert_int_equal(length, 0);
        assert_true(in.failed);
        assert_int_equal(xdr_get_u32(&in), 0);
        in = xdr_in_make(bytes, 8);
        xdr_skip_opaque(&in);
        assert_true(in.failed);
        free(bytes);
    }
}

static void test_xdr__padding_must_be_there(void **state)
{
    static const uint8_t bytes[] = { 0, 0, 0, 3, 1, 2, 3 };
    struct xdr_in in = xdr_in_make(bytes, sizeof(bytes));
    size_t length;

    (void)state;
    assert_null(xdr_get_opaque(&in, 16, &length));
    assert_true(in.failed);
}

static void test_xdr__longer_than_allowed(void **state)
{
    static const uint8_t bytes[] = { 0, 0, 0, 4, 1, 2, 3, 4 };
    struct xdr_in in = xdr_in_make(bytes, sizeof(bytes));
    size_t length;

    (void)state;
    assert_null(xdr_get_opaque(&in, 3, &length));
    assert_true(in.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xdr__words_and_padding),
        cmocka_unit_test(test_xdr__reads_what_was_written),
        cmocka_unit_test(test_xdr__lengths_that_lie),
        cmocka_unit_test(test_xdr__padding_must_be_there),
        cmocka_unit_test(test_xdr__longer_than_allowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
