/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sharing blocks by FICLONE and FICLONERANGE (ioctl_ficlonerange(2)).
 *
 * Whether two files can share is a matter of the pair: filesystem, NOCOW on
 * btrfs, realtime on XFS, mount. So nothing is concluded from a path: a block
 * of the source is cloned into an unnamed file in the target's directory,
 * which vanishes when it is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "local.h"

#define GRANULARITY_BYTES_STANDARD 4096u
#define GRANULARITY_BYTES_MAX (1024u * 1024u)

int local_clone(int source_fd, int target_fd, uint64_t source_offset_bytes,
                uint64_t target_offset_bytes, uint64_t length_bytes)
{
    struct file_clone_range range = {
        .src_fd = source_fd,
        .src_offset = source_offset_bytes,
        .src_length = length_bytes,
        .dest_offset = target_offset_bytes,
    };
    int rc;
    do
        rc = ioctl(target_fd, FICLONERANGE, &range);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

int local_clone_range(const struct ds_run *run, const struct ds_op *op)
{
    struct local_file *source = local_of(run->sources[op->source_index]);
    if (op->length_bytes == 0) /* the kernel takes it for "to the end" */
        return 0;
    int turn = local_turn_begin(source, op->length_bytes);
    int rc = local_clone(
        source->fd, local_of(run->targets[op->target_index])->fd,
        op->source_offset_bytes, op->target_offset_bytes, op->length_bytes);
    local_turn_end(turn);
    return rc;
}

int local_clone_file(const struct ds_run *run, const struct ds_op *op)
{
    struct local_file *target = local_of(run->targets[op->target_index]);
    struct local_file *source = local_of(run->sources[op->source_index]);
    target->target.holds_old = true;
    int turn = local_turn_begin(source, source->base.size_bytes);
    int rc;
    do
        rc = ioctl(target->fd, FICLONE, source->fd);
    while (rc != 0 && errno == EINTR);
    rc = rc == 0 ? 0 : -errno;
    local_turn_end(turn);
    return rc;
}

/* Network filesystems report their transfer size for a block. */
static uint32_t granularity(int directory_fd)
{
    int block_bytes = 0;
    if (local_is_remote(directory_fd) ||
        ioctl(directory_fd, FIGETBSZ, &block_bytes) != 0 || block_bytes <= 0 ||
        !ds_is_power_of_two((uint64_t)block_bytes))
        return GRANULARITY_BYTES_STANDARD;
    return (uint32_t)block_bytes;
}

/* Clone one block; when the kernel finds it misaligned, a larger one. */
static int probe(const struct local_file *source, int probe_fd,
                 uint32_t *granularity_bytes)
{
    uint64_t size_bytes = source->base.size_bytes;
    uint32_t unit_bytes = *granularity_bytes;
    int rc;
    for (;;) {
        /* A length of 0 means to the end, which is right for an empty file. */
        rc = local_clone(source->fd, probe_fd, 0, 0,
                         ds_min_u64(unit_bytes, size_bytes));
        if (rc != -EINVAL || unit_bytes >= size_bytes ||
            unit_bytes >= GRANULARITY_BYTES_MAX)
            break;
        unit_bytes *= 2;
    }
    if (rc == 0)
        *granularity_bytes = unit_bytes;
    return rc;
}

static void set_shared(struct ds_clone_domain *out, bool shared,
                       enum ds_copy_reason reason)
{
    out->range = shared;
    out->file = shared;
    out->reason = shared ? DS_COPY_NONE : reason;
}

static void guess(const struct local_file *source, int directory_fd,
                  struct ds_clone_domain *out)
{
    out->known = false;
    if (source->is_block_device)
        set_shared(out, false, DS_COPY_NO_REFLINK);
    else if (!local_same_filesystem(source->fd, directory_fd))
        set_shared(out, false, DS_COPY_OTHER_FILESYSTEM);
    else
        set_shared(out, local_guess_reflink(directory_fd), DS_COPY_NO_REFLINK);
}

static void conclude(int rc, bool flags_agree, struct ds_clone_domain *out)
{
    out->known = true;
    switch (-rc) {
    case 0:
        set_shared(out, true, DS_COPY_NONE);
        break;
    case EXDEV:
        set_shared(out, false, DS_COPY_OTHER_FILESYSTEM);
        break;
    case EOPNOTSUPP:
    case ENOTTY:
    case ENOSYS:
        set_shared(out, false, DS_COPY_NO_REFLINK);
        break;
    case EINVAL:
        set_shared(out, false,
                   flags_agree ? DS_COPY_NO_REFLINK : DS_COPY_NOCOW_MISMATCH);
        break;
    default:
        set_shared(out, false, DS_COPY_CLONE_REFUSED);
        break;
    }
}

/* What says nothing of sharing. Servers say EIO for much. */
static bool is_fault(int rc, int directory_fd)
{
    return (rc == -EIO && !local_is_remote(directory_fd)) || rc == -ESTALE ||
           rc == -ENOMEM;
}

int local_domain(struct ds_file *source, const char *target_path,
                 struct ds_clone_domain *out, struct ds_error *err)
{
    struct local_file *local = local_of(source);
    *out = (struct ds_clone_domain){ .known = false };
    ds_autofree char *directory = local_directory_of(target_path);
    if (directory == NULL)
        return ds_fail_memory(err);
    ds_auto(local_cleanup_fd) int directory_fd =
        local_open_fd(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory_fd < 0 && errno == EACCES) /* may be entered, not listed */
        directory_fd =
            local_open_fd(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory_fd < 0)
        return ds_fail_errno(err, errno, directory,
                             "local: target: cannot open directory");
    out->granularity_bytes = granularity(directory_fd);
    if (local->is_block_device) {
        guess(local, directory_fd, out);
        out->known = true;
        return 0;
    }
    ds_auto(local_cleanup_fd) int probe_fd =
        open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (probe_fd < 0) {
        guess(local, directory_fd, out);
        return 0;
    }
    bool flags_agree = local_match_flags(local->fd, probe_fd);
    int rc = probe(local, probe_fd, &out->granularity_bytes);
    if (is_fault(rc, directory_fd)) {
        rc = ds_fail_errno(err, -rc, source->path,
                           "local: clone: cannot share a block with a file in "
                           "%s",
                           directory);
        if (err != NULL)
            err->offset_bytes = 0;
        return rc;
    }
    if (rc == -ENOSPC || rc == -EDQUOT)
        guess(local, directory_fd, out);
    else
        conclude(rc, flags_agree, out);
    return 0;
}
