/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for whom, and for how long: local_turn.c. Another process's turn is
 * an flock on another description of the directory. */
#include "test_local_scratch.h"

#include <pthread.h>
#include <sys/file.h>
#include <time.h>

#define BLOCK 4096u
#define EXTENT_COUNT 64u
#define HELD_NS INT64_C(100000000)
#define LIMIT_NS INT64_C(500000000)

/* Extents behind each other, which lie apart on storage. */
static void make_file(const char *path, uint64_t extent_count)
{
    uint8_t bytes[2 * BLOCK];
    int fd =
        open(scratch_path(path), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    scratch_fill(bytes, sizeof(bytes), 1);
    assert_int_equal(local_write_fully(fd, bytes, sizeof(bytes), 0), 0);
    assert_int_equal(fsync(fd), 0);
    for (uint64_t i = 2; i < extent_count; i++)
        assert_int_equal(local_clone(fd, fd, 0, i * BLOCK, BLOCK), 0);
    (void)close(fd);
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int hold(const char *directory)
{
    int fd = open(scratch_path(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

static void *end_turn(void *fd)
{
    struct timespec held = { .tv_nsec = HELD_NS };
    (void)nanosleep(&held, NULL);
    (void)flock(*(int *)fd, LOCK_UN);
    return NULL;
}

static void ask(struct ds_file *file)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_physical_extent extents[EXTENT_COUNT];
    size_t count;

    scratch_no_error(local_physical(file, 0, UINT64_MAX, extents, EXTENT_COUNT,
                                    &count, &err),
                     &err);
    assert_true(count > 0);
}

static void clone_it(struct ds_file *file)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *to = scratch_create(scratch_path("xfs/new"), file, true);
    struct ds_op ops[] = {
        { .kind = DS_OP_CLONE, .length_bytes = file->size_bytes },
        { .kind = DS_OP_CLONE_FILE },
    };
    struct ds_run run = { &file, &to, NULL, NULL, NULL };
    for (size_t i = 0; i < 2; i++) {
        scratch_no_error(local_run(&run, &ops[i], 1, &err), &err);
        assert_int_equal(ops[i].status, 0);
    }
    local_discard(to);
    local_close(to);
}

/* How long `act` takes while another holds `directory` for HELD_NS, or until
 * it is done. */
static int64_t time_beside(const char *directory, bool ends,
                           void (*act)(struct ds_file *), const char *path)
{
    struct ds_file *file = scratch_open(scratch_path(path));
    pthread_t other;
    int fd = hold(directory);
    int64_t begin_ns = now_ns();
    if (ends)
        assert_int_equal(pthread_create(&other, NULL, end_turn, &fd), 0);
    act(file);
    int64_t took_ns = now_ns() - begin_ns;
    if (ends) {
        assert_int_equal(pthread_join(other, NULL), 0);
        /* and it is nobody's now, though the file is still open */
        assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    }
    local_close(file);
    (void)close(fd);
    return took_ns;
}

static void test_local_turn__waits_for_who_is_at_it(void **state)
{
    (void)state;
    if (!scratch_mount_xfs())
        skip();
    make_file("xfs/many", EXTENT_COUNT);
    assert_true(time_beside("xfs", true, ask, "xfs/many") >= HELD_NS);
    assert_true(time_beside("xfs", true, clone_it, "xfs/many") >= HELD_NS);
}

/* Were they waiting, these would wait until the limit. */
static void test_local_turn__few_extents_need_none(void **state)
{
    (void)state;
    if (!scratch_mount("few", "xfs", "mkfs.xfs -q"))
        skip();
    make_file("few/few", 8);
    assert_true(time_beside("few", false, ask, "few/few") < LIMIT_NS);
}

static void test_local_turn__is_of_xfs_alone(void **state)
{
    (void)state;
    if (!scratch_mount_btrfs())
        skip();
    make_file("btrfs/many", EXTENT_COUNT);
    assert_true(time_beside("btrfs", false, ask, "btrfs/many") < LIMIT_NS);
}

/* The last, since it is the process that gives up. */
static void test_local_turn__who_stands_still_is_not_waited_for_twice(void **s)
{
    (void)s;
    if (!scratch_mount("still", "xfs", "mkfs.xfs -q"))
        skip();
    make_file("still/many", EXTENT_COUNT);
    assert_true(time_beside("still", false, ask, "still/many") >= LIMIT_NS);
    assert_true(time_beside("still", false, ask, "still/many") < LIMIT_NS);
    /* The turn that comes too late is ended at once. */
    int fd = open(scratch_path("still"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_turn__waits_for_who_is_at_it),
        cmocka_unit_test(test_local_turn__few_extents_need_none),
        cmocka_unit_test(test_local_turn__is_of_xfs_alone),
        cmocka_unit_test(
            test_local_turn__who_stands_still_is_not_waited_for_twice),
    };
    scratch_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
