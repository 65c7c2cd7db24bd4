/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions on a real XFS whose every call to the store and every
 * allocation fails once, each in a run of its own. Whatever fails: no crash,
 * no leak (with -DDISKSHIFT_SANITIZE=ON), no file left open, an error that
 * says what it was, the source as it was, the target absent - or whole, where
 * what failed did not matter.
 */
#include "fault_conversions.h"
#include "fault_fixture.h"

#define FAULT_COUNT_MAX 3000u

struct outcome {
    unsigned runs;
    unsigned harmless; /* the conversion succeeded all the same */
};

/* One run with the Nth call failing. False: there are fewer calls. */
static bool run_once(const struct conversion *conversion, enum fault_kind kind,
                     unsigned nth, int errnum, struct outcome *outcome)
{
    struct ds_error err = DS_ERROR_INIT;
    unsigned files = entry_count(scratch_root);
    unsigned open_files = entry_count("/proc/self/fd");
    int result;
    bool hit;

    fault_arm(kind, nth, errnum);
    result = convert(conversion, &err);
    fault_disarm();
    hit = atomic_load(&fault.hit);
    if (entry_count("/proc/self/fd") != open_files)
        fail_msg("%s: %s %u: a file was left open", conversion->target,
                 fault.call, nth);
    if (!hit || result == 0) {
        scratch_no_error(result, &err);
        expect_whole(conversion->target, conversion->far);
        remove_target(conversion);
        outcome->harmless += hit;
        return hit;
    }
    outcome->runs++;
    if (result != -DS_ERR_SYSTEM || (int)err.error_class != -result ||
        err.system_errno != errnum)
        fail_msg("%s: %s %u: have %d, errno %d: '%s', expect errno %d",
                 conversion->target, fault.call, nth, result, err.system_errno,
                 err.message, errnum);
    if (entry_count(scratch_root) != files)
        fail_msg("%s: %s %u: something was left behind", conversion->target,
                 fault.call, nth);
    return true;
}

static void run_all(enum fault_kind kind, int errnum)
{
    for (size_t i = 0; i < CONVERSION_COUNT; i++) {
        struct outcome outcome = { 0 };
        unsigned nth = 1;

        while (run_once(&conversions[i], kind, nth, errnum, &outcome))
            assert_true(nth++ < FAULT_COUNT_MAX);
        assert_true(outcome.runs > 0);
        print_message("    %s to %s: %u failed, %u did not matter\n",
                      conversions[i].source, conversions[i].target,
                      outcome.runs, outcome.harmless);
    }
    expect_sources();
}

static void test_fault_conversion__nothing_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONVERSION_COUNT; i++) {
        struct outcome outcome = { 0 };

        assert_false(run_once(&conversions[i], FAULT_NONE, 1, 0, &outcome));
    }
}

static void test_fault_conversion__every_store_call_eio(void **state)
{
    (void)state;
    run_all(FAULT_CALL, EIO);
}

static void test_fault_conversion__every_batch_enospc(void **state)
{
    (void)state;
    run_all(FAULT_OPERATION, ENOSPC);
}

static void test_fault_conversion__every_allocation(void **state)
{
    (void)state;
    run_all(FAULT_MEMORY, ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_conversion__nothing_fails),
        cmocka_unit_test(test_fault_conversion__every_store_call_eio),
        cmocka_unit_test(test_fault_conversion__every_batch_enospc),
        cmocka_unit_test(test_fault_conversion__every_allocation),
    };

    fault_store_init();
    if (!conversions_begin())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
