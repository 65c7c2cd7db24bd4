/* SPDX-License-Identifier: Apache-2.0 */
/* What a file at rest keeps of its layout: local_physical.c.
 *
 *   source   | 0 | 1 | 2 | 3 | 4 | 5 | 6 |
 *   file     | 0 |   | 1 |   | 2 | ...       piece i, block i % 7, and a hole
 */
#include "test_local_scratch.h"

#include <linux/fs.h>

#define BLOCK 4096u
#define SOURCE_BLOCK_COUNT 7u
#define PIECE_COUNT_KEPT UINT64_C(3000)  /* several batches */
#define PIECE_COUNT_MANY UINT64_C(20000) /* more than is kept */
#define FILE_COUNT 6u                    /* more than may all keep as much */

static uint64_t source_at; /* where the source lies */

static bool physical_at(struct ds_file *file, uint64_t offset, uint64_t length,
                        struct ds_physical_extent *out)
{
    struct ds_error err = DS_ERROR_INIT;
    size_t count;

    scratch_no_error(local_physical(file, offset, length, out, 1, &count, &err),
                     &err);
    return count == 1;
}

static void expect_piece(struct ds_file *file, uint64_t index)
{
    struct ds_physical_extent extent;
    uint64_t offset = 2 * index * BLOCK;

    assert_true(physical_at(file, offset, 2 * BLOCK, &extent));
    assert_int_equal(extent.offset_bytes, offset);
    assert_int_equal(extent.length_bytes, BLOCK);
    assert_int_equal(extent.physical_bytes,
                     source_at + index % SOURCE_BLOCK_COUNT * BLOCK);
    assert_false(physical_at(file, offset + BLOCK, BLOCK, &extent));
}

static void make_pieces(const char *filesystem, uint64_t count)
{
    struct ds_physical_extent extent;
    char source[64], pieces[64];

    (void)snprintf(source, sizeof(source), "%s/source", filesystem);
    (void)snprintf(pieces, sizeof(pieces), "%s/pieces", filesystem);
    scratch_write_pattern(scratch_path(source), SOURCE_BLOCK_COUNT * BLOCK, 1);
    struct ds_file *file = scratch_open(scratch_path(source));
    assert_true(physical_at(file, 0, BLOCK, &extent));
    source_at = extent.physical_bytes;
    int fd = open(scratch_path(pieces), O_RDWR | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(local_clone(local_of(file)->fd, fd,
                                     i % SOURCE_BLOCK_COUNT * BLOCK,
                                     2 * i * BLOCK, BLOCK),
                         0);
    assert_int_equal(ftruncate(fd, (off_t)(2 * count * BLOCK)), 0);
    (void)close(fd);
    local_close(file);
}

static struct ds_file *open_quiet(const char *filesystem)
{
    struct ds_error err = DS_ERROR_INIT;
    char name[64];

    (void)snprintf(name, sizeof(name), "%s/pieces", filesystem);
    struct ds_file *file = scratch_open(scratch_path(name));
    scratch_no_error(local_quiesce(file, &err), &err);
    return file;
}

/* One who goes ahead, one who follows, and then back and forth. */
static void walk(struct ds_file *file)
{
    for (uint64_t i = 0; i < PIECE_COUNT_MANY; i += 16) {
        expect_piece(file, i);
        expect_piece(file, i > 300 ? i - 300 : 0);
    }
    expect_piece(file, 0);
    expect_piece(file, 700); /* a gap of more than a batch */
    expect_piece(file, PIECE_COUNT_MANY - 1);
    for (uint64_t i = 0, at = 1; i < 60; i++, at = at * 7919 % 19997)
        expect_piece(file, at);
}

static void check_walks(const char *filesystem)
{
    struct ds_file *files[FILE_COUNT];

    make_pieces(filesystem, PIECE_COUNT_MANY);
    for (size_t i = 0; i < FILE_COUNT; i++)
        walk(files[i] = open_quiet(filesystem));
    for (size_t i = 0; i < FILE_COUNT; i++)
        local_close(files[i]);
}

static void test_local_physical__answers_as_it_is_walked(void **state)
{
    (void)state;
    if (!scratch_mount_xfs())
        skip();
    check_walks("xfs");
}

static void test_local_physical__answers_out_of_the_tree(void **state)
{
    (void)state;
    if (!scratch_mount_btrfs())
        skip();
    check_walks("btrfs");
}

/* Several batches are asked for once: what somebody changes behind our back
 * is seen when it was forgotten, and then it is. */
static void test_local_physical__is_kept_until_forgotten(void **state)
{
    struct ds_physical_extent before, after;

    (void)state;
    if (!scratch_mount("xfs-kept", "xfs", "mkfs.xfs -q"))
        skip();
    make_pieces("xfs-kept", PIECE_COUNT_KEPT);
    struct ds_file *file = open_quiet("xfs-kept");
    assert_true(physical_at(file, 0, BLOCK, &before));
    for (uint64_t i = 0; i < PIECE_COUNT_KEPT; i++)
        expect_piece(file, i);
    int fd = open(scratch_path("xfs-kept/pieces"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(local_write_fully(fd, "x", 1, 0), 0);
    (void)close(fd);
    assert_true(physical_at(file, 0, BLOCK, &after));
    assert_int_equal(after.physical_bytes, before.physical_bytes);
    local_forget(file);
    assert_true(physical_at(file, 0, BLOCK, &after));
    assert_int_not_equal(after.physical_bytes, before.physical_bytes);
    local_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_physical__answers_as_it_is_walked),
        cmocka_unit_test(test_local_physical__answers_out_of_the_tree),
        cmocka_unit_test(test_local_physical__is_kept_until_forgotten),
    };
    scratch_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
