/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions on a real XFS whose every call to the store and every
 * allocation fails once, each in a run of its own. Whatever fails: no crash,
 * no leak (with -DDISKSHIFT_SANITIZE=ON), no file left open, an error that
 * says what it was, the source as it was, the target absent - or whole, where
 * what failed did not matter.
 */
#include "test_local_scratch.h"

#include <dirent.h>

#include "disk.h"
#include "fault_fixture.h"

#define SOURCE_BYTES ((size_t)3 << 19) /* 1.5 MiB */
#define FAULT_COUNT_MAX 3000u

struct conversion {
    const char *source;
    const char *target; /* file name */
    const char *format;
    const char *option;
    enum ds_strategy strategy;
};

static const struct conversion conversions[] = {
    { "source.vmdk", "t.vhdx", "vhdx", NULL, DS_STRATEGY_AUTO },
    { "source.qcow2", "t.vmdk", "vmdk", NULL, DS_STRATEGY_GRAFT },
    { "source.raw", "t.qcow2", "qcow2", NULL, DS_STRATEGY_AUTO },
    { "source.raw", "c.qcow2", "qcow2", "compress=zlib", DS_STRATEGY_AUTO },
    { "stream.vmdk", "d.qcow2", "qcow2", NULL, DS_STRATEGY_AUTO },
    { "source.vhd", "v.vmdk", "vmdk", "subformat=streamOptimized",
      DS_STRATEGY_AUTO },
};
#define CONVERSION_COUNT (sizeof(conversions) / sizeof(conversions[0]))

static unsigned entry_count(const char *path)
{
    DIR *directory = opendir(path);
    unsigned count = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL)
        count++;
    (void)closedir(directory);
    return count;
}

static int convert(const struct conversion *conversion, struct ds_error *err)
{
    struct ds_target_spec spec = {
        .format = conversion->format,
        .path = scratch_path(conversion->target),
        .options = &conversion->option,
        .option_count = conversion->option != NULL ? 1 : 0,
    };
    struct ds_open_options open = { .for_conversion = true };
    struct ds_convert_options options = { .strategy = conversion->strategy };
    static struct ds_report report;
    struct ds_disk *disk = NULL;
    int result =
        ds_disk_open(scratch_path(conversion->source), &open, &disk, err);

    if (result != 0)
        return result;
    result = ds_convert(disk, &spec, 1, &options, &report, NULL, err);
    ds_disk_close(disk);
    return result;
}

/* The guest of the image reads what source.raw holds. */
static void expect_whole(const char *name)
{
    static uint8_t want[SOURCE_BYTES], have[SOURCE_BYTES];
    struct ds_error err = DS_ERROR_INIT;
    struct ds_disk *disk = NULL;
    struct ds_map *map = NULL;
    struct ds_extent extent;
    int fd = open(scratch_path("source.raw"), O_RDONLY | O_CLOEXEC);

    assert_int_equal(read(fd, want, sizeof(want)), sizeof(want));
    (void)close(fd);
    scratch_no_error(ds_disk_open(scratch_path(name), NULL, &disk, &err), &err);
    assert_true(ds_disk_size_bytes(disk) >= sizeof(have));
    scratch_no_error(ds_map_open(disk, &map, &err), &err);
    memset(have, 0, sizeof(have));
    while (ds_map_next(map, &extent, &err) == 1)
        if (extent.guest_offset_bytes + extent.length_bytes <= sizeof(have))
            scratch_no_error(
                ds_disk_read_extent(disk, &extent, 0,
                                    have + extent.guest_offset_bytes,
                                    (size_t)extent.length_bytes, &err),
                &err);
    ds_map_close(map);
    ds_disk_close(disk);
    assert_memory_equal(have, want, sizeof(want));
}

/* Sources from one pattern, made by the library without faults. */
static void make_sources(void)
{
    static const struct conversion makers[] = {
        { "source.raw", "source.vmdk", "vmdk", NULL, DS_STRATEGY_AUTO },
        { "source.raw", "source.qcow2", "qcow2", NULL, DS_STRATEGY_AUTO },
        { "source.raw", "source.vhd", "vhd", NULL, DS_STRATEGY_AUTO },
        { "source.raw", "stream.vmdk", "vmdk", "subformat=streamOptimized",
          DS_STRATEGY_AUTO },
    };
    static uint8_t bytes[SOURCE_BYTES];

    scratch_fill(bytes, sizeof(bytes), 5);
    memset(bytes + 65536, 0, 131072);
    memset(bytes + 524288, 'a', 262144);
    scratch_write(scratch_path("source.raw"), bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        struct ds_error err = DS_ERROR_INIT;

        scratch_no_error(convert(&makers[i], &err), &err);
    }
}

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
        expect_whole(conversion->target);
        assert_int_equal(unlink(scratch_path(conversion->target)), 0);
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
    expect_whole("source.raw");
    expect_whole("source.vmdk");
    expect_whole("source.qcow2");
    expect_whole("source.vhd");
    expect_whole("stream.vmdk");
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
    scratch_begin();
    if (!scratch_mount_xfs())
        return 1;
    (void)strcat(scratch_root, "/xfs");
    make_sources();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
