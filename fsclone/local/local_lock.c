/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a source quiet: nobody writes to it, nobody begins to, and what was
 * written is on storage.
 *
 * QEMU (docs/system/qemu-block-drivers, "disk image file locking") locks
 * single bytes of the image, shared, on its open file description:
 *
 *   byte 100 + p   I use permission p     p: 0 consistent read, 1 write,
 *   byte 200 + p   nobody else may            2 write unchanged, 3 resize
 *
 * A running guest's disk holds 101; its backing file 100, 201 and 203 only.
 * First we take 100 and 201, so that no QEMU starts to write, and then look
 * whether one already does: in this order nobody slips in between.
 *
 * VMware's locks are files: local_vmware.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "fail.h"
#include "local.h"

#define QEMU_USES_READ 100
#define QEMU_USES_WRITE 101
#define QEMU_FORBIDS_READ 200
#define QEMU_FORBIDS_WRITE 201

/* Filesystems without locks cannot hold anybody's; that is not a fault. */
static bool no_locks_here(int error)
{
    return error == ENOLCK || error == EOPNOTSUPP || error == EINVAL ||
           error == ENOSYS;
}

static int hold_byte(struct local_file *file, off_t byte, struct ds_error *err)
{
    struct flock lock = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
    };
    int rc;
    do
        rc = fcntl(file->fd, F_OFD_SETLK, &lock);
    while (rc != 0 && errno == EINTR);
    if (rc == 0 || no_locks_here(errno))
        return 0;
    if (errno != EAGAIN && errno != EACCES)
        return ds_fail_errno(err, errno, file->base.path,
                             "local: lock: cannot lock byte %jd",
                             (intmax_t)byte);
    return ds_fail_at(err, &file->base, (uint64_t)byte, DS_ERR_REFUSED,
                      "local: lock: a process holds the image for itself "
                      "(byte %jd)",
                      (intmax_t)byte);
}

/* Whether another open file description has a lock, of any kind, on it. */
static bool is_byte_held(const struct local_file *file, off_t byte)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
    };
    return fcntl(file->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static int check_qemu(struct local_file *file, struct ds_error *err)
{
    int rc = hold_byte(file, QEMU_USES_READ, err);
    if (rc == 0)
        rc = hold_byte(file, QEMU_FORBIDS_WRITE, err);
    if (rc != 0)
        return rc;
    if (is_byte_held(file, QEMU_USES_WRITE))
        return ds_fail_at(err, &file->base, QEMU_USES_WRITE, DS_ERR_REFUSED,
                          "local: lock: a process holds the image open for "
                          "writing (QEMU's lock on byte %d); shut the guest "
                          "down or take a snapshot first",
                          QEMU_USES_WRITE);
    if (is_byte_held(file, QEMU_FORBIDS_READ))
        return ds_fail_at(err, &file->base, QEMU_FORBIDS_READ, DS_ERR_REFUSED,
                          "local: lock: a process is rewriting the image "
                          "(QEMU's lock on byte %d)",
                          QEMU_FORBIDS_READ);
    return 0;
}

/* How coarse a file's times may be: a tick of the kernel's clock, seconds on
 * filesystems that keep no fractions. */
#define TICK_NS INT64_C(10000000)
#define SECONDS_NS INT64_C(2000000000)
#define SETTLE_ROUND_COUNT_MAX 3

/* How long until a change could no longer hide behind the last one, by having
 * been made within the same tick of the file's clock. 0: it cannot. */
static int64_t hidden_for_ns(const struct stat *status)
{
    const struct timespec *changed = &status->st_ctim;
    bool whole = changed->tv_nsec == 0 && status->st_mtim.tv_nsec == 0;
    int64_t tick_ns = whole ? SECONDS_NS : TICK_NS;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec - changed->tv_sec > 2 || changed->tv_sec > now.tv_sec)
        return 0; /* long ago; or by another clock, which tells nothing */
    int64_t age_ns = (int64_t)(now.tv_sec - changed->tv_sec) * 1000000000 +
                     (now.tv_nsec - changed->tv_nsec);
    return age_ns >= 0 && age_ns < tick_ns ? tick_ns - age_ns : 0;
}

/* Flush, and remember the times, once they would tell of any later change. */
static int settle(struct local_file *local, struct ds_error *err)
{
    const char *path = local->base.path;
    for (int round = 0; round < SETTLE_ROUND_COUNT_MAX; round++) {
        /* Read-only mounts and odd filesystems have nothing to flush. */
        int rc = local_flush(local->fd);
        if (rc != 0 && rc != -EROFS && rc != -EINVAL)
            return ds_fail_errno(err, -rc, path, "local: file: cannot flush");
        if (fstat(local->fd, &local->quiet) != 0)
            return ds_fail_errno(err, errno, path, "local: file: cannot stat");
        int64_t wait_ns =
            local->is_block_device ? 0 : hidden_for_ns(&local->quiet);
        if (wait_ns == 0)
            break;
        struct timespec left = { .tv_sec = wait_ns / 1000000000,
                                 .tv_nsec = wait_ns % 1000000000 };
        (void)nanosleep(&left, NULL);
    }
    return 0;
}

int local_quiesce(struct ds_file *file, struct ds_error *err)
{
    struct local_file *local = local_of(file);
    int rc = check_qemu(local, err);
    if (rc == 0 && !local->is_block_device)
        rc = local_check_vmware(local, err);
    if (rc == 0)
        rc = settle(local, err);
    if (rc != 0)
        return rc;
    if (!local->is_block_device &&
        (uint64_t)local->quiet.st_size != file->size_bytes)
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "local: file: size changed since it was opened, "
                          "have %jd expect %ju",
                          (intmax_t)local->quiet.st_size,
                          (uintmax_t)file->size_bytes);
    local->is_quiet = true;
    file->settled = true;
    return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static int check_device_size(struct local_file *local, struct ds_error *err)
{
    uint64_t size_bytes;
    if (ioctl(local->fd, BLKGETSIZE64, &size_bytes) != 0)
        return ds_fail_errno(err, errno, local->base.path,
                             "local: block device: cannot get the size");
    if (size_bytes == local->base.size_bytes)
        return 0;
    return ds_fail_at(err, &local->base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "local: block device: size changed, have %ju expect %ju",
                      (uintmax_t)size_bytes, (uintmax_t)local->base.size_bytes);
}

int local_check_unchanged(struct ds_file *file, struct ds_error *err)
{
    struct local_file *local = local_of(file);
    if (!local->is_quiet)
        return 0;
    if (local->is_block_device) /* its times are the node's, not the data's */
        return check_device_size(local, err);
    struct stat now;
    if (fstat(local->fd, &now) != 0)
        return ds_fail_errno(err, errno, file->path,
                             "local: file: cannot stat");
    const char *what = NULL;
    if (now.st_size != local->quiet.st_size)
        what = "size";
    else if (!same_time(&now.st_mtim, &local->quiet.st_mtim))
        what = "modification time";
    else if (!same_time(&now.st_ctim, &local->quiet.st_ctim))
        what = "change time";
    if (what == NULL)
        return 0;
    return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "local: file: somebody changed it during the work: its "
                      "%s is not as at the start",
                      what);
}
