/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a batch of operations.
 *
 *   section | BARRIER | section | BARRIER | ...
 *
 * Within a section operations are disjoint and unordered: what is one call
 * each is done as met, copies are collected and done together by threads. A
 * section in which something failed is the last: what stands after the next
 * barrier relied on it, and keeps the status -ECANCELED.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "arith.h"
#include "fail.h"
#include "local.h"

#define TICK_NS INT64_C(100000000)
#define ZEROS_BYTES ((size_t)256 * 1024)
#define WAITING_COUNT_MAX 64u

bool local_progress_tick(struct local_progress *progress)
{
    if (progress->run->progress == NULL || progress->cancelled)
        return progress->cancelled;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    if (progress->told_ns != 0 && now_ns - progress->told_ns < TICK_NS)
        return false;
    progress->told_ns = now_ns;
    progress->cancelled =
        progress->run->progress(progress->run->user, &progress->numbers) != 0;
    return progress->cancelled;
}

int local_write_fully(int fd, const void *bytes, uint64_t length_bytes,
                      uint64_t offset_bytes)
{
    const uint8_t *next = bytes;
    while (length_bytes > 0) {
        ssize_t done = pwrite(fd, next, length_bytes, (off_t)offset_bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? -errno : -EIO;
        next += done;
        length_bytes -= (uint64_t)done;
        offset_bytes += (uint64_t)done;
    }
    return 0;
}

static int write_zeros(int fd, uint64_t length_bytes, uint64_t offset_bytes)
{
    static const uint8_t zeros[ZEROS_BYTES];
    while (length_bytes > 0) {
        uint64_t part_bytes = ds_min_u64(length_bytes, sizeof(zeros));
        int rc = local_write_fully(fd, zeros, part_bytes, offset_bytes);
        if (rc != 0)
            return rc;
        length_bytes -= part_bytes;
        offset_bytes += part_bytes;
    }
    return 0;
}

/* -errno; EINTR is taken care of */
static int allocate(int fd, int mode, const struct ds_op *op)
{
    int rc;
    do
        rc = fallocate(fd, mode, (off_t)op->target_offset_bytes,
                       (off_t)op->length_bytes);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

static bool not_supported(int rc)
{
    return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -ENOTTY;
}

static int run_zero(int fd, const struct ds_op *op)
{
    if (op->length_bytes == 0)
        return 0;
    int rc = allocate(fd, FALLOC_FL_ZERO_RANGE, op);
    if (!not_supported(rc))
        return rc;
    return write_zeros(fd, op->length_bytes, op->target_offset_bytes);
}

static int run_punch(int fd, const struct ds_op *op)
{
    struct stat status;
    if (op->length_bytes == 0)
        return 0;
    int rc = allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, op);
    if (!not_supported(rc))
        return rc;
    if (fstat(fd, &status) != 0)
        return -errno;
    uint64_t size_bytes = (uint64_t)status.st_size;
    if (op->target_offset_bytes >= size_bytes)
        return 0;
    return write_zeros(
        fd, ds_min_u64(op->length_bytes, size_bytes - op->target_offset_bytes),
        op->target_offset_bytes);
}

/* To the size it has already it is not: the kernel would zero, and thereby
 * copy, a shared last block. */
static int run_truncate(int fd, const struct ds_op *op)
{
    struct stat status;
    int rc;
    if (fstat(fd, &status) == 0 &&
        (uint64_t)status.st_size == op->target_offset_bytes)
        return 0;
    do
        rc = ftruncate(fd, (off_t)op->target_offset_bytes);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

/* Whoever can share its blocks with another file can with itself; should it
 * not, the bytes are at hand, and the operation says so. */
static int run_repeat(struct local_file *target, struct ds_op *op)
{
    struct file_clone_range range = {
        .src_fd = target->fd,
        .src_offset = op->source_offset_bytes,
        .src_length = op->length_bytes,
        .dest_offset = op->target_offset_bytes,
    };
    int rc;
    do
        rc = ioctl(target->fd, FICLONERANGE, &range);
    while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return 0;
    op->reason = DS_COPY_CLONE_REFUSED;
    return local_write_fully(target->fd, op->data, op->length_bytes,
                             op->target_offset_bytes);
}

/* XFS goes through all that waits in memory at each clone into a file of few
 * extents: pages that lie apart are sent on their way while more are made. */
static void begin_flush(struct local_file *target, const struct ds_op *op)
{
    struct local_target *state = &target->target;
    uint64_t before = atomic_exchange(
        &state->written_end_bytes, op->target_offset_bytes + op->length_bytes);
    if (op->target_offset_bytes == before ||
        atomic_fetch_add(&state->waiting_count, 1) + 1 < WAITING_COUNT_MAX)
        return;
    atomic_store(&state->waiting_count, 0);
    if (local_magic(target->fd) == XFS_SUPER_MAGIC)
        (void)sync_file_range(target->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static int run_write(struct local_file *target, const struct ds_op *op)
{
    local_reserve_alone(target, op->target_offset_bytes, op->length_bytes);
    int rc = local_write_large(target, op->data, op->length_bytes,
                               op->target_offset_bytes);
    if (rc == 0)
        begin_flush(target, op);
    return rc;
}

static int run_single(const struct ds_run *run, struct ds_op *op)
{
    struct local_file *target = local_of(run->targets[op->target_index]);
    int fd = target->fd;
    uint64_t end_bytes;
    if (!ds_add_u64(op->target_offset_bytes, op->length_bytes, &end_bytes) ||
        end_bytes > INT64_MAX)
        return -EFBIG;
    switch (op->kind) {
    case DS_OP_CLONE:
        return local_clone_range(run, op);
    case DS_OP_CLONE_FILE:
        return local_clone_file(run, op);
    case DS_OP_WRITE:
        return run_write(target, op);
    case DS_OP_REPEAT:
        return run_repeat(target, op);
    case DS_OP_ZERO:
        return run_zero(fd, op);
    case DS_OP_PUNCH:
        return run_punch(fd, op);
    case DS_OP_ALLOCATE:
        return allocate(fd, 0, op);
    case DS_OP_TRUNCATE:
        return run_truncate(fd, op);
    case DS_OP_COPY:
    case DS_OP_BARRIER:
    case DS_OP_ENCODE:
    case DS_OP_DECODE: /* the executor's: it comes here as WRITE */
        break;
    }
    return -EOPNOTSUPP;
}

/* What progress counts: the guest's data, as the plan's totals do. A copy
 * counts what it moves, so that a long one is seen to move. */
static uint64_t guest_bytes(const struct ds_op *op)
{
    return op->kind == DS_OP_COPY ? op->length_bytes : op->data_bytes;
}

/* Run ops[0..count), which hold no barrier. Copies wait for each other, but
 * not beyond an operation that moves the file's end. */
static void run_section(const struct ds_run *run, struct ds_op *ops,
                        size_t count, struct local_progress *progress)
{
    size_t copy_begin = 0;
    size_t copy_count = 0;
    for (size_t i = 0; i < count && !progress->cancelled; i++) {
        struct ds_op *op = &ops[i];
        bool moves_end =
            op->kind == DS_OP_TRUNCATE || op->kind == DS_OP_CLONE_FILE;
        if (moves_end && copy_count > 0) {
            local_copy(run, ops + copy_begin, i - copy_begin, progress);
            copy_begin = i;
            copy_count = 0;
        }
        if (op->kind == DS_OP_COPY) {
            copy_count++;
            continue;
        }
        op->status = run_single(run, op);
        progress->numbers.done_ops++;
        progress->numbers.done_bytes += guest_bytes(op);
        (void)local_progress_tick(progress);
    }
    if (copy_count > 0 && !progress->cancelled)
        local_copy(run, ops + copy_begin, count - copy_begin, progress);
}

static bool any_failed(const struct ds_op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i].status != 0)
            return true;
    }
    return false;
}

int local_run(const struct ds_run *run, struct ds_op *ops, size_t count,
              struct ds_error *err)
{
    struct local_progress progress = { .run = run };
    progress.numbers.phase = "execute";
    progress.numbers.total_ops = count;
    for (size_t i = 0; i < count; i++) {
        ops[i].status = -ECANCELED;
        progress.numbers.total_bytes += guest_bytes(&ops[i]);
    }
    size_t begin = 0;
    while (begin < count) {
        size_t end = begin;
        while (end < count && ops[end].kind != DS_OP_BARRIER)
            end++;
        run_section(run, ops + begin, end - begin, &progress);
        if (progress.cancelled)
            return ds_fail(err, DS_ERR_CANCELLED, "local: run: cancelled");
        if (any_failed(ops + begin, end - begin))
            return 0;
        if (end < count) {
            ops[end].status = 0;
            progress.numbers.done_ops++;
        }
        begin = end + 1;
    }
    return 0;
}
