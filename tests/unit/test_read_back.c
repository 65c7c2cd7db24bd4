/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy past the page cache, on a real ext4, where nothing can be shared: the
 * source is read once, all of the target comes back from storage, and a bit
 * that changed on its way there is found, whichever write it was in.
 */
#include "test_local_scratch.h"

#include <inttypes.h>
#include <stdatomic.h>

#include <diskshift/convert.h>

#include "arith.h"

#include "../fault/calls.h"

#define DISK_BYTES ((size_t)41 * DS_MIB / 2 + 7 * 512)
#define LARGE_BYTES (UINT64_C(128) * 1024)
#define WRITE_COUNT_MAX 100u

struct traffic {
    atomic_ullong source_read_bytes;
    atomic_ullong stored_bytes; /* past the cache, to the target */
    atomic_ullong back_bytes;   /* past the cache, from it */
    atomic_uint large_count;    /* large writes to the target */
    atomic_uint single_count;   /* of them from memory in single pages */
};

static struct {
    const char *source; /* its name */
    struct traffic traffic;
    unsigned nth; /* the large write of which a bit flips; 0: of none */
    bool flipped;
} watched = { .source = "source.raw" };

static bool is_direct(int fd)
{
    return (fcntl(fd, F_GETFL) & O_DIRECT) != 0;
}

/* Whether this memory asked for huge pages: the flag hg of its mapping. */
static bool is_huge(const void *bytes)
{
    char line[512];
    bool within = false, huge = false, done = false;
    FILE *maps = fopen("/proc/self/smaps", "re");

    assert_non_null(maps);
    while (!done && fgets(line, sizeof(line), maps) != NULL) {
        uintptr_t begin, end;

        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) == 2)
            within = (uintptr_t)bytes >= begin && (uintptr_t)bytes < end;
        done = within && strncmp(line, "VmFlags:", 8) == 0;
        huge = done && strstr(line, " hg") != NULL;
    }
    (void)fclose(maps);
    return huge;
}

/* By a descriptor of its own, as if storage had got it so. */
static void flip(const char *path, uint64_t offset_bytes)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset_bytes), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset_bytes), 1);
    (void)close(fd);
}

static struct call_fate let_it(const struct call *call)
{
    (void)call;
    return (struct call_fate){ 0 };
}

static _Thread_local bool busy;

static void see_write(const struct call *call, const char *path, uint64_t bytes)
{
    struct traffic *traffic = &watched.traffic;

    if (is_direct(call->fd))
        atomic_fetch_add(&traffic->stored_bytes, bytes);
    if (bytes < LARGE_BYTES)
        return;
    if (!is_huge(call->bytes))
        atomic_fetch_add(&traffic->single_count, 1);
    if (atomic_fetch_add(&traffic->large_count, 1) + 1 != watched.nth)
        return;
    flip(path, call->offset_bytes + bytes / 2);
    watched.flipped = true;
}

static void see(const struct call *call, int64_t result)
{
    struct traffic *traffic = &watched.traffic;
    char path[4096];

    if (busy || result <= 0 ||
        (call->kind != CALL_READ && call->kind != CALL_WRITE))
        return;
    busy = true;
    calls_path(call, path, sizeof(path));
    if (strstr(path, "/source.") != NULL)
        atomic_fetch_add(&traffic->source_read_bytes, (uint64_t)result);
    else if (call->kind == CALL_WRITE && strstr(path, "/target.") != NULL)
        see_write(call, path, (uint64_t)result);
    else if (strstr(path, "/target.") != NULL && is_direct(call->fd))
        atomic_fetch_add(&traffic->back_bytes, (uint64_t)result);
    busy = false;
}

static const struct calls_watch watcher = { let_it, see };

static int convert(const char *target, const char *format,
                   struct ds_report *report, struct ds_error *err)
{
    struct ds_target_spec spec = { .format = format, .path = target };
    struct ds_open_options options = { .for_conversion = true };
    struct ds_disk *disk = NULL;
    char source[64];
    int result;

    (void)snprintf(source, sizeof(source), "ext4/%s", watched.source);
    result = ds_disk_open(scratch_path(source), &options, &disk, err);
    scratch_no_error(result, err);
    watched.traffic = (struct traffic){ 0 };
    watched.flipped = false;
    calls_watch = &watcher;
    result = ds_convert(disk, &spec, 1, NULL, report, NULL, err);
    calls_watch = NULL;
    ds_disk_close(disk);
    return result;
}

static void test_read_back__all_of_it_and_the_source_once(void **state)
{
    static struct ds_report report;
    const struct traffic *traffic = &watched.traffic;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    watched.nth = 0;
    scratch_no_error(
        convert(scratch_path("ext4/target.qcow2"), "qcow2", &report, &err),
        &err);
    assert_true(report.verified && report.verify.identical);
    assert_int_equal(report.verify.witnessed_bytes, DISK_BYTES);
    assert_int_equal(report.verify.hashed_bytes, 0);
    assert_int_equal(traffic->source_read_bytes, DISK_BYTES);
    /* What is short, or behind the last whole page, goes another way. */
    assert_true(traffic->stored_bytes > DISK_BYTES - LARGE_BYTES);
    assert_true(traffic->back_bytes > DISK_BYTES - LARGE_BYTES);
    assert_true(traffic->back_bytes < DISK_BYTES + DS_MIB);
}

static void test_read_back__requests_are_of_huge_pages(void **state)
{
    static struct ds_report report;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0) {
        print_message("    skipped: this kernel has no huge pages\n");
        skip();
    }
    watched.nth = 0;
    scratch_no_error(
        convert(scratch_path("ext4/target.raw"), "raw", &report, &err), &err);
    assert_true(watched.traffic.large_count > DISK_BYTES / DS_MIB);
    assert_int_equal(watched.traffic.single_count, 0);
    assert_int_equal(unlink(scratch_path("ext4/target.raw")), 0);
}

static void test_read_back__a_flipped_bit_is_found(void **state)
{
    static struct ds_report report;
    char target[4096]; /* scratch_path's own is soon another */
    unsigned found = 0;

    (void)state;
    (void)snprintf(target, sizeof(target), "%s",
                   scratch_path("ext4/target.raw"));
    for (watched.nth = 1; watched.nth < WRITE_COUNT_MAX; watched.nth++) {
        struct ds_error err = DS_ERROR_INIT;
        int result = convert(target, "raw", &report, &err);

        if (!watched.flipped) {
            scratch_no_error(result, &err);
            break;
        }
        scratch_expect(result, &err, DS_ERR_SYSTEM, "the target differs from");
        assert_int_equal(access(target, F_OK), -1);
        found++;
    }
    print_message("    a bit in each of %u writes\n", found);
    assert_true(found >= DISK_BYTES / DS_MIB);
    assert_true(watched.nth < WRITE_COUNT_MAX);
}

/* -- tables -----------------------------------------------------------------*/

/* Two clusters in each stretch that has an L2 table of its own, so near that no
 * table is left out. */
#define STRETCH_BYTES (UINT64_C(256) * DS_MIB)
#define STRETCH_COUNT 256u
#define TABLES_BYTES (STRETCH_COUNT / 2 * UINT64_C(65536))

static void make_wide(void)
{
    static uint8_t cluster[65536];
    int fd = open(scratch_path("ext4/source.wide"),
                  O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(STRETCH_COUNT * STRETCH_BYTES)), 0);
    memset(cluster, 0xa5, sizeof(cluster));
    for (unsigned i = 0; i < STRETCH_COUNT; i++)
        assert_int_equal(
            pwrite(fd, cluster, sizeof(cluster), (off_t)(i * STRETCH_BYTES)),
            sizeof(cluster));
    assert_int_equal(close(fd), 0);
}

/* Between the tables' writes come those of the data: they are joined all the
 * same, and go and come in large pieces from huge pages. */
static void test_read_back__tables_go_and_come_in_large_pieces(void **state)
{
    static struct ds_report report;
    const struct traffic *traffic = &watched.traffic;
    struct ds_error err = DS_ERROR_INIT;
    char target[4096];

    (void)state;
    (void)snprintf(target, sizeof(target), "%s",
                   scratch_path("ext4/target.tables.qcow2"));
    watched.nth = 0;
    scratch_no_error(convert(target, "qcow2", &report, &err), &err);
    assert_true(report.verified && report.verify.identical);
    assert_true(report.totals.metadata_bytes >= TABLES_BYTES - 65536);
    assert_true(traffic->stored_bytes >= TABLES_BYTES - 2 * DS_MIB);
    assert_true(traffic->large_count <= TABLES_BYTES / DS_MIB);
    assert_int_equal(traffic->single_count, 0);
    assert_true(traffic->back_bytes >= TABLES_BYTES - DS_MIB);
    assert_int_equal(unlink(target), 0);
}

static void test_read_back__a_flipped_bit_of_a_table_is_found(void **state)
{
    static struct ds_report report;
    char target[4096];
    unsigned found = 0;

    (void)state;
    (void)snprintf(target, sizeof(target), "%s",
                   scratch_path("ext4/target.tables.qcow2"));
    for (watched.nth = 1; watched.nth < WRITE_COUNT_MAX; watched.nth++) {
        struct ds_error err = DS_ERROR_INIT;
        int result = convert(target, "qcow2", &report, &err);

        if (!watched.flipped) {
            scratch_no_error(result, &err);
            break;
        }
        assert_true(result < 0);
        assert_int_equal(access(target, F_OK), -1);
        found++;
    }
    print_message("    a bit in each of %u writes\n", found);
    assert_true(found >= TABLES_BYTES / (2 * DS_MIB));
    assert_true(watched.nth < WRITE_COUNT_MAX);
}

static int use_wide(void **state)
{
    (void)state;
    watched.source = "source.wide";
    return 0;
}

static int setup(void **state)
{
    (void)state;
    scratch_write_pattern(scratch_path("ext4/source.raw"), DISK_BYTES, 1);
    make_wide();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_back__all_of_it_and_the_source_once),
        cmocka_unit_test(test_read_back__requests_are_of_huge_pages),
        cmocka_unit_test(test_read_back__a_flipped_bit_is_found),
        cmocka_unit_test_setup(
            test_read_back__tables_go_and_come_in_large_pieces, use_wide),
        cmocka_unit_test_setup(
            test_read_back__a_flipped_bit_of_a_table_is_found, use_wide),
    };

    scratch_begin();
    if (!scratch_mount_ext4())
        return SCRATCH_SKIP;
    return cmocka_run_group_tests(tests, setup, NULL);
}
