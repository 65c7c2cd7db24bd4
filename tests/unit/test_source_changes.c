/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Somebody writes to the source at each moment of a conversion: after one of
 * its system calls two places of the guest's disk change at once. Then the
 * target is refused; or it has both changes, which came before it was looked
 * at, or neither, since they came when all was done. Never one of them.
 *
 * Once with the times of this kernel, and once as kernels before 6.13 have
 * them, which do not change for some milliseconds however much is written.
 */
#include "fault_conversions.h"

#include <time.h>

#include "../fault/calls.h"

#define FIRST_OFFSET_BYTES 512u
#define LAST_OFFSET_BYTES (PATTERN_BYTES - 4096u)
#define CALL_COUNT_MAX 4000u
#define OLD_TICK_NS 4000000L

static struct {
    const char *source; /* the file that is written to */
    _Atomic int left;   /* calls until then; 1: the next; below: it was */
    bool old_times;
} change;

/* In both places at once, as far as anybody can see who reads whole pages. */
static void make_change(void)
{
    uint8_t first = (uint8_t)~pattern[FIRST_OFFSET_BYTES];
    uint8_t last = (uint8_t)~pattern[LAST_OFFSET_BYTES];
    int fd = open(scratch_path(change.source), O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &first, 1, FIRST_OFFSET_BYTES), 1);
    assert_int_equal(pwrite(fd, &last, 1, LAST_OFFSET_BYTES), 1);
    (void)close(fd);
}

static void undo_change(void)
{
    int fd = open(scratch_path(change.source), O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(
        pwrite(fd, pattern + FIRST_OFFSET_BYTES, 1, FIRST_OFFSET_BYTES), 1);
    assert_int_equal(
        pwrite(fd, pattern + LAST_OFFSET_BYTES, 1, LAST_OFFSET_BYTES), 1);
    (void)close(fd);
}

static struct call_fate let_it(const struct call *call)
{
    (void)call;
    return (struct call_fate){ 0 };
}

static void coarsen(struct timespec *when)
{
    when->tv_nsec -= when->tv_nsec % OLD_TICK_NS;
}

static _Thread_local bool busy;

static void change_after(const struct call *call, int64_t result)
{
    if (busy)
        return;
    if (change.old_times && call->status != NULL && result == 0) {
        coarsen(&call->status->st_mtim);
        coarsen(&call->status->st_ctim);
    }
    if (change.left-- != 1)
        return;
    busy = true;
    make_change();
    busy = false;
}

static const struct calls_watch watcher = { let_it, change_after };

/* 1 has both changes, 0 neither; fails on anything else. */
static int look_at(const struct conversion *conversion, unsigned nth)
{
    struct ds_error err = DS_ERROR_INIT;
    bool neither = is_whole(scratch_path(conversion->target), false, &err);
    bool both;

    pattern[FIRST_OFFSET_BYTES] = (uint8_t)~pattern[FIRST_OFFSET_BYTES];
    pattern[LAST_OFFSET_BYTES] = (uint8_t)~pattern[LAST_OFFSET_BYTES];
    both = is_whole(scratch_path(conversion->target), false, &err);
    pattern[FIRST_OFFSET_BYTES] = (uint8_t)~pattern[FIRST_OFFSET_BYTES];
    pattern[LAST_OFFSET_BYTES] = (uint8_t)~pattern[LAST_OFFSET_BYTES];
    if (!neither && !both)
        fail_msg("%s: changed after call %u: the target has a part of it",
                 conversion->target, nth);
    return both;
}

struct outcome {
    unsigned refused, before, after;
};

/* False: there are fewer calls. */
static bool change_once(const struct conversion *conversion, unsigned nth,
                        struct outcome *outcome)
{
    struct ds_error err = DS_ERROR_INIT;
    int result;

    change.left = (int)nth;
    calls_watch = &watcher;
    result = convert(conversion, &err);
    calls_watch = NULL;
    if (result == 0 && look_at(conversion, nth) == 1)
        outcome->before++;
    else if (result == 0)
        outcome->after++;
    else if (result == -DS_ERR_REFUSED &&
             strstr(err.message, "changed it during the work") != NULL)
        outcome->refused++;
    else
        scratch_no_error(result, &err);
    if (result == 0)
        remove_target(conversion);
    else
        assert_int_equal(
            look_for(conversion).others + look_for(conversion).partials, 0);
    if (change.left > 0)
        return false;
    undo_change();
    return true;
}

static void change_everywhere(const struct conversion *conversion,
                              const char *source)
{
    struct outcome outcome = { 0 };
    unsigned moments = 0, nth = change.old_times ? 2 : 1;

    change.source = source;
    while (change_once(conversion, nth, &outcome)) {
        moments++;
        nth += 2; /* the two tests take turns */
        assert_true(nth < CALL_COUNT_MAX);
    }
    print_message("    %s: %u moments: refused %u, had it %u, came too late "
                  "%u\n",
                  conversion->target, moments, outcome.refused, outcome.before,
                  outcome.after);
    assert_true(outcome.refused > moments / 3);
    assert_true(outcome.before > 0);
}

/* Sources in which the guest's offset is the file's. */
static void run_all(bool old_times)
{
    change.old_times = old_times;
    for (size_t i = 0; i < CONVERSION_COUNT; i++) {
        const struct conversion *conversion = &conversions[i];

        if (conversion->share_source_file) /* the target is the source */
            continue;
        if (strcmp(conversion->source, "source.raw") == 0)
            change_everywhere(conversion, "source.raw");
        if (strcmp(conversion->source, "chain.qcow2") == 0)
            change_everywhere(conversion, "base.raw");
    }
}

static void test_source_changes__noticed(void **state)
{
    (void)state;
    run_all(false);
}

static void test_source_changes__noticed_with_coarse_times(void **state)
{
    (void)state;
    run_all(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source_changes__noticed),
        cmocka_unit_test(test_source_changes__noticed_with_coarse_times),
    };

    if (!conversions_begin())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
