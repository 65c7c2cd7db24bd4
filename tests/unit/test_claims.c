/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arith.h"
#include "claims.h"

static void test_claims__finds_overlap_and_gaps(void **state)
{
    struct claims claims;
    uint64_t cursor = 0, offset, length;
    bool claimed;

    (void)state;
    assert_int_equal(
        claims_init(&claims, 10 * 4096 + 5, 4096, UINT64_MAX, NULL), 0);
    assert_true(claims_add(&claims, 8192, 4096));
    assert_true(claims_add(&claims, 3 * 4096, 8192));
    assert_false(claims_add(&claims, 4096, 8192));
    assert_true(
        claims_next_range(&claims, &cursor, &offset, &length, &claimed));
    assert_true(offset == 0 && length == 4096 && !claimed);
    assert_true(
        claims_next_range(&claims, &cursor, &offset, &length, &claimed));
    assert_true(offset == 4096 && length == 4 * 4096 && claimed);
    assert_true(
        claims_next_range(&claims, &cursor, &offset, &length, &claimed));
    assert_true(offset == 5 * 4096 && length == 6 * 4096 && !claimed);
    assert_false(
        claims_next_range(&claims, &cursor, &offset, &length, &claimed));
    claims_free(&claims);
}

#define MODEL_GRANULES 4096u

/* Against a plain array, with granules of 512 bytes. */
static void test_claims__equals_a_plain_array(void **state)
{
    static uint8_t model[MODEL_GRANULES];
    struct claims claims;
    uint64_t cursor = 0, offset, length, seen = 0;
    bool claimed;

    (void)state;
    srandom(7);
    assert_int_equal(
        claims_init(&claims, MODEL_GRANULES * 512, 512, UINT64_MAX, NULL), 0);
    for (int round = 0; round < 3000; round++) {
        uint64_t begin = (uint64_t)random() % MODEL_GRANULES;
        uint64_t count = 1 + (uint64_t)random() % 200;
        bool fresh = true;

        count = ds_min_u64(count, MODEL_GRANULES - begin);
        if (random() % 8 != 0)
            count = 1;
        for (uint64_t i = begin; i < begin + count; i++) {
            fresh = fresh && model[i] == 0;
            model[i] = 1;
        }
        assert_int_equal(claims_add(&claims, begin * 512, count * 512), fresh);
    }
    while (claims_next_range(&claims, &cursor, &offset, &length, &claimed)) {
        assert_true(offset == seen);
        for (uint64_t i = offset / 512; i < (offset + length) / 512; i++)
            assert_int_equal(model[i], claimed);
        seen = offset + length;
    }
    assert_true(seen == MODEL_GRANULES * 512);
    claims_free(&claims);
}

/* More granules than the budget holds: windows cover the file once. */
static void cover(uint64_t memory, uint64_t window)
{
    uint64_t size = 2 * window + 100 * 512;
    uint64_t covered = 0, used = 0;
    struct claims claims;

    assert_int_equal(claims_init(&claims, size, 512, memory, NULL), 0);
    do {
        uint64_t cursor = claims.window_begin_bytes, offset, length;
        bool claimed;

        assert_true(claims_add(&claims, window - 512, 1024));
        while (
            claims_next_range(&claims, &cursor, &offset, &length, &claimed)) {
            assert_true(offset == covered);
            covered += length;
            used += claimed ? length : 0;
        }
    } while (claims_next_window(&claims));
    assert_true(covered == size);
    assert_true(used == 1024);
    claims_free(&claims);
}

static void test_claims__windows_cover_large_files(void **state)
{
    (void)state;
    cover(UINT64_MAX, CLAIMS_BITMAP_BYTES * 8 * 512);
    cover(1 << 20, UINT64_C(8 * 512) << 20);
    cover(0, CLAIMS_BITMAP_BYTES_MIN * 8 * 512);
}

/* Two bitmaps of one file keep to the same windows. */
static void test_claims__joined_windows(void **state)
{
    uint64_t size = UINT64_C(1) << 50, far = UINT64_C(1) << 45;
    struct claims left, right;
    bool met = false, more;

    (void)state;
    assert_int_equal(claims_init(&left, size, 512, 0, NULL), 0);
    assert_int_equal(claims_init(&right, size, 512, 0, NULL), 0);
    do {
        assert_true(left.bitmap_begin_bytes == right.bitmap_begin_bytes);
        (void)claims_add(&left, far * 2, 4096);
        (void)claims_add(&right, far, 512);
        (void)claims_add(&right, far * 2 + 2048, 512);
        met = met || claims_any(&left, far * 2 + 2048, 512);
        assert_false(claims_any(&left, far, 512));
        assert_false(claims_any(&right, far + 512, 512));
        assert_false(claims_any(&right, far * 2, 2048));
        claims_join(&left, &right);
        more = claims_next_window(&left);
        assert_true(claims_next_window(&right) == more);
    } while (more);
    assert_true(met);
    claims_free(&left);
    claims_free(&right);
}

struct claim {
    uint64_t offset_bytes;
    uint64_t length_bytes;
};

/* Claims far apart: a pass for each place and no more, gaps told as one. */
static void test_claims__windows_that_nothing_touches_are_skipped(void **state)
{
    static const struct claim far_apart[] = {
        { 0, 512 },
        { UINT64_C(50) << 40, 4096 },
        { (UINT64_C(63) << 40) - 512, 1024 },
    };
    uint64_t size = UINT64_C(64) << 40;
    uint64_t covered = 0, passes = 0, ranges = 0, at = 0, overlaps = 0;
    struct claims claims;

    (void)state;
    assert_int_equal(claims_init(&claims, size, 512, UINT64_MAX, NULL), 0);
    do {
        uint64_t cursor = claims.window_begin_bytes, offset, length;
        bool claimed;

        passes++;
        for (size_t i = 0; i < 3; i++) /* in any order */
            overlaps +=
                !claims_add(&claims, far_apart[(i + 2) % 3].offset_bytes,
                            far_apart[(i + 2) % 3].length_bytes);
        while (
            claims_next_range(&claims, &cursor, &offset, &length, &claimed)) {
            assert_true(offset == covered);
            covered += length;
            ranges++;
            if (!claimed)
                continue;
            assert_true(offset == far_apart[at].offset_bytes);
            assert_true(length == far_apart[at].length_bytes);
            at++;
        }
    } while (claims_next_window(&claims));
    assert_true(covered == size);
    assert_int_equal(at, 3);
    assert_int_equal(overlaps, 0);
    /* One for each claim and one for what is behind the last. */
    assert_int_equal(passes, 4);
    assert_in_range(ranges, 7, 10);
    claims_free(&claims);
}

/* What lies behind the last claim is one range, and an overlap in a window far
 * out is found. */
static void test_claims__a_far_window_finds_overlap(void **state)
{
    uint64_t size = UINT64_C(1) << 60, place = (UINT64_C(1) << 59) + 4096;
    struct claims claims;
    bool fresh = true;
    unsigned passes = 0;

    (void)state;
    assert_int_equal(claims_init(&claims, size, 512, UINT64_MAX, NULL), 0);
    do {
        passes++;
        fresh = claims_add(&claims, place, 4096) && fresh;
        fresh = claims_add(&claims, place + 2048, 512) && fresh;
    } while (claims_next_window(&claims));
    assert_false(fresh);
    assert_int_equal(passes, 3);
    claims_free(&claims);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims__finds_overlap_and_gaps),
        cmocka_unit_test(test_claims__equals_a_plain_array),
        cmocka_unit_test(test_claims__windows_cover_large_files),
        cmocka_unit_test(test_claims__joined_windows),
        cmocka_unit_test(test_claims__windows_that_nothing_touches_are_skipped),
        cmocka_unit_test(test_claims__a_far_window_finds_overlap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
