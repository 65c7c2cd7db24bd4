/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trust.h"

#define KIB(n) (UINT64_C(1024) * (n))

static struct trust *trust;

static int begin(void **state)
{
    (void)state;
    return trust_open(&trust, NULL);
}

static int end(void **state)
{
    (void)state;
    trust_close(trust);
    return 0;
}

static void note(enum ds_op_kind kind, uint64_t source, uint64_t target,
                 uint64_t length)
{
    const struct ds_op op = { .kind = kind,
                              .source_offset_bytes = source,
                              .target_offset_bytes = target,
                              .length_bytes = length };

    trust_note(trust, &op, 0);
}

static void note_file(uint64_t size_bytes, bool unsure)
{
    const struct ds_op op = { .kind = DS_OP_CLONE_FILE, .unsure = unsure };

    trust_note(trust, &op, size_bytes);
}

static void test_trust__a_clone_at_its_place_alone(void **state)
{
    (void)state;
    note(DS_OP_CLONE, KIB(64), KIB(8), KIB(32));
    note(DS_OP_CLONE, KIB(96), KIB(40), KIB(32)); /* continues */
    trust_seal(trust);
    assert_int_equal(trust_shared(trust, 0, KIB(8), 0, KIB(64), KIB(64)),
                     KIB(64));
    assert_int_equal(trust_shared(trust, 0, KIB(20), 0, KIB(76), KIB(100)),
                     KIB(52));
    assert_int_equal(trust_shared(trust, 0, KIB(8), 0, KIB(60), KIB(4)), 0);
    assert_int_equal(trust_shared(trust, 0, KIB(8), 1, KIB(64), KIB(4)), 0);
    assert_int_equal(trust_shared(trust, 1, KIB(8), 0, KIB(64), KIB(4)), 0);
    assert_int_equal(trust_shared(trust, 0, KIB(4), 0, KIB(60), KIB(64)), 0);
    assert_int_equal(trust_shared(trust, 0, KIB(72), 0, KIB(128), KIB(4)), 0);
}

static void test_trust__what_was_written_over_it_ends_it(void **state)
{
    (void)state;
    note(DS_OP_CLONE, 0, 0, KIB(64));
    note(DS_OP_WRITE, 0, KIB(32), KIB(4));
    note(DS_OP_PUNCH, 0, KIB(48), KIB(4));
    trust_seal(trust);
    assert_int_equal(trust_shared(trust, 0, 0, 0, 0, KIB(64)), KIB(32));
    assert_int_equal(trust_shared(trust, 0, KIB(33), 0, KIB(33), KIB(1)), 0);
    assert_int_equal(trust_shared(trust, 0, KIB(36), 0, KIB(36), KIB(28)),
                     KIB(12));
}

static void test_trust__a_whole_file_below_the_rest(void **state)
{
    (void)state;
    note_file(KIB(100), false);
    note(DS_OP_WRITE, 0, 0, KIB(4));
    note(DS_OP_PUNCH, 0, KIB(4), KIB(4));
    note(DS_OP_CLONE, KIB(4), KIB(80), KIB(8));
    trust_seal(trust);
    assert_int_equal(trust_shared(trust, 0, KIB(8), 0, KIB(8), KIB(200)),
                     KIB(72));
    assert_int_equal(trust_shared(trust, 0, KIB(88), 0, KIB(88), KIB(200)),
                     KIB(12));
    assert_int_equal(trust_shared(trust, 0, KIB(80), 0, KIB(4), KIB(8)),
                     KIB(8));
    assert_int_equal(trust_shared(trust, 0, KIB(80), 0, KIB(80), KIB(8)), 0);
    assert_int_equal(trust_shared(trust, 0, KIB(8), 0, KIB(9), KIB(8)), 0);
    assert_int_equal(trust_shared(trust, 0, KIB(2), 0, KIB(2), KIB(2)), 0);
    assert_int_equal(trust_blank(trust, 0, KIB(4), KIB(64)), KIB(4));
    assert_int_equal(trust_blank(trust, 0, KIB(8), KIB(64)), 0);
}

static void test_trust__a_shrunk_base_ends_there(void **state)
{
    (void)state;
    note_file(KIB(100), false);
    note(DS_OP_TRUNCATE, 0, KIB(50), 0);
    trust_seal(trust);
    assert_int_equal(trust_shared(trust, 0, KIB(40), 0, KIB(40), KIB(60)),
                     KIB(10));
    assert_int_equal(trust_shared(trust, 0, KIB(50), 0, KIB(50), KIB(1)), 0);
}

static void test_trust__what_is_unsure_is_not_known(void **state)
{
    const struct ds_op op = { .kind = DS_OP_CLONE,
                              .unsure = true,
                              .target_offset_bytes = KIB(200),
                              .length_bytes = KIB(8) };

    (void)state;
    note_file(KIB(100), true);
    trust_note(trust, &op, 0);
    trust_seal(trust);
    assert_int_equal(trust_shared(trust, 0, KIB(8), 0, KIB(8), KIB(8)), 0);
    assert_int_equal(trust_shared(trust, 0, KIB(200), 0, 0, KIB(8)), 0);
    assert_int_equal(trust_blank(trust, 0, KIB(200), KIB(8)), 0);
}

static void test_trust__a_new_file_is_blank_where_nothing_was_put(void **state)
{
    (void)state;
    note(DS_OP_CLONE, 0, KIB(16), KIB(16));
    note(DS_OP_COPY, 0, KIB(64), KIB(16));
    trust_seal(trust);
    assert_int_equal(trust_blank(trust, 0, 0, KIB(100)), KIB(16));
    assert_int_equal(trust_blank(trust, 0, KIB(16), KIB(4)), 0);
    assert_int_equal(trust_blank(trust, 0, KIB(32), KIB(100)), KIB(32));
    assert_int_equal(trust_blank(trust, 0, KIB(64), KIB(4)), 0);
    assert_int_equal(trust_blank(trust, 0, KIB(80), KIB(100)), KIB(100));
}

/* Beyond its memory: clones are forgotten one by one, writes are not. */
static void test_trust__what_does_not_fit(void **state)
{
    uint64_t at = 0;

    (void)state;
    for (size_t i = 0; i <= TRUST_RANGE_COUNT_MAX; i++, at += KIB(8))
        note(DS_OP_CLONE, 0, at, KIB(4));
    trust_seal(trust);
    assert_int_equal(trust_shared(trust, 0, KIB(8), 0, 0, KIB(4)), KIB(4));
    assert_int_equal(trust_shared(trust, 0, at - KIB(8), 0, 0, KIB(4)), 0);
    assert_int_equal(trust_blank(trust, 0, at - KIB(8), KIB(4)), 0);
}

static void test_trust__writes_that_do_not_fit(void **state)
{
    uint64_t at = KIB(8);

    (void)state;
    note(DS_OP_CLONE, 0, 0, KIB(4));
    for (size_t i = 0; i <= TRUST_RANGE_COUNT_MAX; i++, at += KIB(8))
        note(DS_OP_WRITE, 0, at, KIB(4));
    trust_seal(trust);
    assert_int_equal(trust_shared(trust, 0, 0, 0, 0, KIB(4)), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(test_trust__a_clone_at_its_place_alone),
        CASE(test_trust__what_was_written_over_it_ends_it),
        CASE(test_trust__a_whole_file_below_the_rest),
        CASE(test_trust__a_shrunk_base_ends_there),
        CASE(test_trust__what_is_unsure_is_not_known),
        CASE(test_trust__a_new_file_is_blank_where_nothing_was_put),
        CASE(test_trust__what_does_not_fit),
        CASE(test_trust__writes_that_do_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
