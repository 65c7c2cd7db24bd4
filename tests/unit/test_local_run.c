/* SPDX-License-Identifier: Apache-2.0 */
#include "test_local_scratch.h"

#include "arith.h"

#define BLOCK 4096u

struct pair {
    struct ds_file *from;
    struct ds_file *to;
};

static struct pair pair_open(const char *source, const char *target)
{
    struct pair pair;
    pair.from = scratch_open(scratch_path(source));
    pair.to = scratch_create(scratch_path(target), pair.from, false);
    return pair;
}

static void pair_run(struct pair *pair, struct ds_op *ops, size_t count)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_run run = { .sources = &pair->from, .targets = &pair->to };
    scratch_no_error(local_run(&run, ops, count, &err), &err);
}

static void pair_close(struct pair *pair)
{
    local_discard(pair->to);
    local_close(pair->to);
    local_close(pair->from);
}

static uint64_t size_of(const struct ds_file *file)
{
    struct stat status;
    assert_int_equal(fstat(local_of_const(file)->fd, &status), 0);
    return (uint64_t)status.st_size;
}

static uint64_t used_by(const struct ds_file *file)
{
    struct stat status;
    assert_int_equal(fstat(local_of_const(file)->fd, &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

/* Pattern and zeros in turn, each run of any length below 160 KiB. */
static uint8_t *make_mixed(const char *name, size_t size, unsigned seed)
{
    uint8_t *bytes = malloc(size);
    uint32_t state = seed;
    assert_non_null(bytes);
    scratch_fill(bytes, size, seed);
    for (size_t at = 0; at < size;) {
        state = state * 1664525u + 1013904223u;
        size_t run = (state >> 16) % (40 * BLOCK);
        if (run > size - at)
            run = size - at;
        if ((state >> 8) % 3 == 0)
            memset(bytes + at, 0, run);
        at += run;
    }
    scratch_write(scratch_path(name), bytes, size);
    return bytes;
}

static void test_local_copy__whole_by_threads(void **state)
{
    (void)state;
    const size_t size = 70 * 1024 * 1024 + 777;
    uint8_t *bytes = make_mixed("big", size, 5);
    struct pair pair = pair_open("big", "big-to");
    struct ds_op op = { .kind = DS_OP_COPY, .length_bytes = size };
    pair_run(&pair, &op, 1);
    assert_int_equal(op.status, 0);
    scratch_compare(pair.to->path, bytes, size);
    assert_true(used_by(pair.to) < size - size / 8);
    pair_close(&pair);
    free(bytes);
}

/* Room is reserved ahead of dense data: what turns out to be zeros must not
 * keep it. */
static void test_local_copy__room_for_zeros_is_given_back(void **state)
{
    (void)state;
    const size_t size = 64 * DS_MIB;
    const size_t hole = 26 * DS_MIB + 3 * BLOCK; /* 10 of a piece's 16 MiB */
    const size_t hole_size = 7 * DS_MIB;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    scratch_fill(bytes, size, 8);
    memset(bytes + hole, 0, hole_size);
    scratch_write(scratch_path("dense"), bytes, size);
    struct pair pair = pair_open("dense", "dense-to");
    struct ds_op op = { .kind = DS_OP_COPY, .length_bytes = size };
    pair_run(&pair, &op, 1);
    assert_int_equal(op.status, 0);
    scratch_compare(pair.to->path, bytes, size);
    assert_true(used_by(pair.to) < size - hole_size + DS_MIB);
    pair_close(&pair);
    free(bytes);
}

/* Many copies of odd lengths to odd places, shuffled, no two overlapping. */
static void test_local_copy__many_misaligned(void **state)
{
    (void)state;
    const size_t op_count = 3000;
    const size_t slot = 10000;
    uint8_t *bytes = make_mixed("parts", op_count * slot, 6);
    uint8_t *expected = calloc(op_count, slot);
    struct ds_op *ops = calloc(op_count, sizeof(*ops));
    uint32_t random = 1;
    uint64_t end = 0;
    assert_non_null(expected);
    assert_non_null(ops);
    for (size_t i = 0; i < op_count; i++) {
        random = random * 1664525u + 1013904223u;
        uint64_t length = (random >> 8) % slot;
        uint64_t from = (uint64_t)i * 9973 % op_count * slot;
        uint64_t to = (uint64_t)i * 7919 % op_count * slot + slot - length;
        ops[i] = (struct ds_op){ .kind = DS_OP_COPY,
                                 .source_offset_bytes = from,
                                 .target_offset_bytes = to,
                                 .length_bytes = length };
        memcpy(expected + to, bytes + from, length);
        if (length > 0)
            end = ds_max_u64(end, to + length);
    }
    struct pair pair = pair_open("parts", "parts-to");
    pair_run(&pair, ops, op_count);
    for (size_t i = 0; i < op_count; i++)
        assert_int_equal(ops[i].status, 0);
    assert_int_equal(size_of(pair.to), end);
    scratch_compare(pair.to->path, expected, end);
    pair_close(&pair);
    free(ops);
    free(expected);
    free(bytes);
}

static void test_local_copy__zeros_at_the_end_still_count(void **state)
{
    (void)state;
    const size_t size = 40 * BLOCK + 5;
    uint8_t *bytes = calloc(1, size);
    assert_non_null(bytes);
    scratch_write(scratch_path("zeros"), bytes, size);
    struct pair pair = pair_open("zeros", "zeros-to");
    struct ds_op op = { .kind = DS_OP_COPY, .length_bytes = size };
    pair_run(&pair, &op, 1);
    assert_int_equal(op.status, 0);
    scratch_compare(pair.to->path, bytes, size);
    assert_int_equal(used_by(pair.to), 0);
    pair_close(&pair);
    free(bytes);
}

static void test_local_copy__short_source_is_a_status(void **state)
{
    (void)state;
    scratch_write_pattern(scratch_path("short"), 1000, 1);
    struct pair pair = pair_open("short", "short-to");
    struct ds_op ops[] = {
        { .kind = DS_OP_COPY, .length_bytes = 1000 },
        { .kind = DS_OP_COPY,
          .source_offset_bytes = 500,
          .target_offset_bytes = 4096,
          .length_bytes = 1000 },
    };
    pair_run(&pair, ops, 2);
    assert_int_equal(ops[0].status, 0);
    assert_int_equal(ops[1].status, -ENODATA);
    pair_close(&pair);
}

static void test_local_run__tables_zeros_punches_and_size(void **state)
{
    (void)state;
    const size_t size = 64 * BLOCK;
    uint8_t *expected = malloc(size);
    assert_non_null(expected);
    scratch_write_pattern(scratch_path("base"), size, 4);
    scratch_fill(expected, size, 4);
    memcpy(expected + 100, "table", 5);
    memset(expected + 1000, 0, 9000);
    memset(expected + 20 * BLOCK, 0, 10 * BLOCK);
    struct pair pair = pair_open("base", "base-to");
    struct ds_op ops[] = {
        { .kind = DS_OP_COPY, .length_bytes = size },
        { .kind = DS_OP_BARRIER },
        { .kind = DS_OP_WRITE,
          .target_offset_bytes = 100,
          .data = "table",
          .length_bytes = 5 },
        { .kind = DS_OP_ZERO,
          .target_offset_bytes = 1000,
          .length_bytes = 9000 },
        { .kind = DS_OP_PUNCH,
          .target_offset_bytes = 20 * BLOCK,
          .length_bytes = 10 * BLOCK },
        { .kind = DS_OP_PUNCH, /* beyond the end: nothing to do */
          .target_offset_bytes = 100 * BLOCK,
          .length_bytes = BLOCK },
        { .kind = DS_OP_PUNCH, .target_offset_bytes = 5 },
        { .kind = DS_OP_ZERO, .target_offset_bytes = 5 },
        { .kind = DS_OP_BARRIER },
        { .kind = DS_OP_TRUNCATE, .target_offset_bytes = size - 10 },
    };
    const size_t count = sizeof(ops) / sizeof(ops[0]);
    pair_run(&pair, ops, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ops[i].status, 0);
    scratch_compare(pair.to->path, expected, size - 10);
    assert_true(used_by(pair.to) <= size - 10 * BLOCK);
    pair_close(&pair);
    free(expected);
}

static void test_local_run__zero_extends_the_file(void **state)
{
    (void)state;
    scratch_write_pattern(scratch_path("any"), 10, 4);
    struct pair pair = pair_open("any", "any-to");
    struct ds_op op = { .kind = DS_OP_ZERO,
                        .target_offset_bytes = 3 * BLOCK,
                        .length_bytes = 2 * BLOCK };
    pair_run(&pair, &op, 1);
    assert_int_equal(op.status, 0);
    assert_int_equal(size_of(pair.to), 5 * BLOCK);
    assert_int_equal(used_by(pair.to), 2 * BLOCK);
    pair_close(&pair);
}

/* ramfs and vfat have neither ZERO_RANGE nor PUNCH_HOLE. */
static void test_local_run__without_fallocate_zeros_are_written(void **state)
{
    (void)state;
    uint8_t expected[5 * BLOCK];
    assert_int_equal(mkdir(scratch_path("ram"), 0755), 0);
    if (mount("ram", scratch_path("ram"), "ramfs", 0, NULL) != 0)
        skip();
    scratch_write_pattern(scratch_path("ram/base"), 4 * BLOCK, 4);
    memset(expected, 0, sizeof(expected));
    scratch_fill(expected, 4 * BLOCK, 4);
    memset(expected + 100, 0, 1000);
    memset(expected + 3 * BLOCK + 10, 0, BLOCK - 10);
    struct pair pair = pair_open("ram/base", "ram/to");
    struct ds_op ops[] = {
        { .kind = DS_OP_COPY, .length_bytes = 4 * BLOCK },
        { .kind = DS_OP_BARRIER },
        { .kind = DS_OP_PUNCH,
          .target_offset_bytes = 100,
          .length_bytes = 1000 },
        { .kind = DS_OP_PUNCH,
          .target_offset_bytes = 3 * BLOCK + 10,
          .length_bytes = 10 * BLOCK },
        { .kind = DS_OP_PUNCH,
          .target_offset_bytes = 30 * BLOCK,
          .length_bytes = 10 * BLOCK },
        { .kind = DS_OP_BARRIER },
        { .kind = DS_OP_ZERO,
          .target_offset_bytes = 4 * BLOCK,
          .length_bytes = BLOCK },
    };
    pair_run(&pair, ops, 7);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(ops[i].status, 0);
    scratch_compare(pair.to->path, expected, 5 * BLOCK);
    pair_close(&pair);
}

static void test_local_run__a_full_disk_is_a_status(void **state)
{
    (void)state;
    assert_int_equal(mkdir(scratch_path("small"), 0755), 0);
    assert_int_equal(
        mount("small", scratch_path("small"), "tmpfs", 0, "size=4m"), 0);
    scratch_write_pattern(scratch_path("large"), 8 * 1024 * 1024, 1);
    struct pair pair = pair_open("large", "small/to");
    struct ds_op ops[] = {
        { .kind = DS_OP_COPY, .length_bytes = 8 * 1024 * 1024 },
        { .kind = DS_OP_BARRIER },
        { .kind = DS_OP_WRITE, .data = "x", .length_bytes = 1 },
    };
    pair_run(&pair, ops, 3);
    assert_int_equal(ops[0].status, -ENOSPC);
    assert_int_equal(ops[2].status, -ECANCELED);
    pair_close(&pair);
}

struct watch {
    unsigned calls;
    uint64_t done_bytes;
    uint64_t done_ops;
    bool cancel;
};

static int watch(void *user, const struct ds_progress *progress)
{
    struct watch *seen = user;
    seen->calls++;
    assert_string_equal(progress->phase, "execute");
    assert_true(progress->done_bytes >= seen->done_bytes);
    assert_true(progress->done_ops >= seen->done_ops);
    assert_true(progress->done_bytes <= progress->total_bytes);
    assert_true(progress->done_ops <= progress->total_ops);
    seen->done_bytes = progress->done_bytes;
    seen->done_ops = progress->done_ops;
    return seen->cancel;
}

static void test_local_run__progress_and_cancel(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    const size_t size = 48 * 1024 * 1024;
    struct watch seen = { .cancel = false };
    scratch_write_pattern(scratch_path("watched"), size, 1);
    struct pair pair = pair_open("watched", "watched-to");
    struct ds_op ops[] = {
        { .kind = DS_OP_WRITE,
          .target_offset_bytes = size,
          .data = "x",
          .length_bytes = 1 },
        { .kind = DS_OP_COPY, .length_bytes = size },
        { .kind = DS_OP_BARRIER },
        { .kind = DS_OP_WRITE,
          .target_offset_bytes = size + 1,
          .data = "x",
          .length_bytes = 1 },
    };
    struct ds_run run = { &pair.from, &pair.to, watch, &seen, NULL };
    scratch_no_error(local_run(&run, ops, 4, &err), &err);
    assert_true(seen.calls >= 1);
    seen = (struct watch){ .cancel = true };
    int rc = local_run(&run, ops, 4, &err);
    scratch_expect(rc, &err, DS_ERR_CANCELLED, "cancelled");
    assert_int_equal(seen.calls, 1);
    assert_int_equal(ops[0].status, 0);
    assert_int_equal(ops[1].status, -ECANCELED);
    assert_int_equal(ops[3].status, -ECANCELED);
    /* in the midst of the threads' work, or just after it */
    seen = (struct watch){ .cancel = true };
    rc = local_run(&run, ops + 1, 3, &err);
    scratch_expect(rc, &err, DS_ERR_CANCELLED, "cancelled");
    assert_int_equal(ops[3].status, -ECANCELED);
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_copy__whole_by_threads),
        cmocka_unit_test(test_local_copy__room_for_zeros_is_given_back),
        cmocka_unit_test(test_local_copy__many_misaligned),
        cmocka_unit_test(test_local_copy__zeros_at_the_end_still_count),
        cmocka_unit_test(test_local_copy__short_source_is_a_status),
        cmocka_unit_test(test_local_run__tables_zeros_punches_and_size),
        cmocka_unit_test(test_local_run__zero_extends_the_file),
        cmocka_unit_test(test_local_run__without_fallocate_zeros_are_written),
        cmocka_unit_test(test_local_run__a_full_disk_is_a_status),
        cmocka_unit_test(test_local_run__progress_and_cancel),
    };
    scratch_begin();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    /* The same where holes and unwritten extents are real. */
    if (scratch_mount_ext4()) {
        (void)strcat(scratch_root, "/ext4");
        failed += cmocka_run_group_tests_name("ext4", tests, NULL, NULL);
    }
    return failed;
}
