/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a directory's file system can do. Without a probe it is its kind that
 * tells, and what the kind does not tell is not known.
 *
 * The probe's files have no names (O_TMPFILE), or where that cannot be (NFS)
 * lose them at once, with signals held back in between: whatever ends the
 * process, the kernel removes them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "local.h"

#define PROBE_BYTES (2u * 1024 * 1024)
#define GRANULARITY_BYTES_FIRST 4096u
#define GRANULARITY_BYTES_MAX (1024u * 1024)

/* -- what its kind tells ----------------------------------------------------*/

struct kind {
    uint32_t magic;
    const char *name;
    enum ds_answer clone;
    enum ds_answer physical;
};

static const struct kind kinds[] = {
    { 0x58465342, "xfs", DS_ANSWER_UNKNOWN, DS_ANSWER_YES },
    { BTRFS_SUPER_MAGIC, "btrfs", DS_ANSWER_YES, DS_ANSWER_YES },
    { 0xca451a4e, "bcachefs", DS_ANSWER_YES, DS_ANSWER_NO },
    { 0x7461636f, "ocfs2", DS_ANSWER_UNKNOWN, DS_ANSWER_YES },
    { 0x01161970, "gfs2", DS_ANSWER_NO, DS_ANSWER_YES },
    { 0x2fc12fc1, "zfs", DS_ANSWER_UNKNOWN, DS_ANSWER_NO },
    { EXT4_SUPER_MAGIC, "ext2, ext3 or ext4", DS_ANSWER_NO, DS_ANSWER_YES },
    { F2FS_SUPER_MAGIC, "f2fs", DS_ANSWER_NO, DS_ANSWER_YES },
    { MSDOS_SUPER_MAGIC, "vfat", DS_ANSWER_NO, DS_ANSWER_NO },
    { 0x2011bab0, "exfat", DS_ANSWER_NO, DS_ANSWER_NO },
    { TMPFS_MAGIC, "tmpfs", DS_ANSWER_NO, DS_ANSWER_NO },
    { OVERLAYFS_SUPER_MAGIC, "overlay", DS_ANSWER_UNKNOWN, DS_ANSWER_NO },
    { NFS_SUPER_MAGIC, "nfs", DS_ANSWER_UNKNOWN, DS_ANSWER_NO },
    { 0xfe534d42, "smb", DS_ANSWER_UNKNOWN, DS_ANSWER_NO },
    { 0xff534d42, "smb", DS_ANSWER_UNKNOWN, DS_ANSWER_NO },
    { FUSE_SUPER_MAGIC, "fuse", DS_ANSWER_UNKNOWN, DS_ANSWER_NO },
};

/* "nfs4.2", by the mount's options. */
static void name_nfs(int fd, struct ds_storage *out)
{
    ds_autofree char *options = local_mount_options(fd);
    const char *version = options != NULL ? strstr(options, "vers=") : NULL;

    if (version == NULL)
        return;
    version += strlen("vers=");
    (void)snprintf(out->filesystem, sizeof(out->filesystem), "nfs%.*s",
                   (int)strspn(version, "0123456789."), version);
    if (strcmp(out->filesystem, "nfs4.2") != 0)
        out->range_clone = out->file_clone = DS_ANSWER_NO;
}

static void tell_kind(int fd, struct ds_storage *out)
{
    uint32_t magic = local_magic(fd);
    int block_bytes = 0;

    (void)snprintf(out->filesystem, sizeof(out->filesystem),
                   "unknown (0x%08" PRIx32 ")", magic);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].magic != magic)
            continue;
        (void)snprintf(out->filesystem, sizeof(out->filesystem), "%s",
                       kinds[i].name);
        out->range_clone = out->file_clone = kinds[i].clone;
        out->physical_extents = kinds[i].physical;
    }
    if (magic == NFS_SUPER_MAGIC)
        name_nfs(fd, out);
    if (local_is_remote(fd)) /* what it is mounted over decides */
        return;
    out->locks = DS_ANSWER_YES;
    if (ioctl(fd, FIGETBSZ, &block_bytes) == 0 && block_bytes > 0 &&
        out->range_clone != DS_ANSWER_NO)
        out->granularity_bytes = (uint32_t)block_bytes;
}

static int tell_space(int fd, const char *directory, struct ds_storage *out,
                      struct ds_error *err)
{
    struct statvfs facts;

    if (fstatvfs(fd, &facts) != 0)
        return ds_fail_errno(err, errno, directory,
                             "local: cannot get the free space");
    if (!ds_mul_u64(facts.f_bavail, facts.f_frsize, &out->free_bytes))
        out->free_bytes = UINT64_MAX;
    return 0;
}

/* -- the probe --------------------------------------------------------------*/

static int open_unlinked(int directory_fd)
{
    char name[48];
    uint64_t noise = 0;
    int fd;

    if (getrandom(&noise, sizeof(noise), 0) != (ssize_t)sizeof(noise))
        return -1;
    (void)snprintf(name, sizeof(name), ".diskshift-probe-%016" PRIx64, noise);
    fd =
        openat(directory_fd, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)unlinkat(directory_fd, name, 0);
    return fd;
}

static int open_nameless(int directory_fd)
{
    sigset_t all, before;
    int fd = openat(directory_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || errno == EACCES || errno == EROFS || errno == ENOSPC ||
        errno == EDQUOT || errno == EPERM)
        return fd;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    fd = open_unlinked(directory_fd);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return fd;
}

/* Not zeros, which some would not store; and on storage. 0 or -errno. */
static int fill(int fd)
{
    ds_autofree uint8_t *bytes = malloc(PROBE_BYTES);
    int rc;

    if (bytes == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < PROBE_BYTES; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    rc = local_write_fully(fd, bytes, PROBE_BYTES, 0);
    return rc != 0 ? rc : local_flush(fd);
}

/* Blocks, from the second on, so that place and length both count. */
static void try_ranges(int from, int to, struct ds_storage *out)
{
    uint32_t unit = GRANULARITY_BYTES_FIRST;
    int rc;

    do
        rc = local_clone(from, to, unit, unit, unit);
    while (rc == -EINVAL && (unit *= 2) <= GRANULARITY_BYTES_MAX);
    out->range_clone = rc == 0 ? DS_ANSWER_YES : DS_ANSWER_NO;
    out->granularity_bytes = rc == 0 ? unit : 0;
}

static enum ds_answer yes_if(bool yes)
{
    return yes ? DS_ANSWER_YES : DS_ANSWER_NO;
}

/* Off any block, or it might be shared instead. */
static bool try_copy(int from, int to)
{
    off_t from_offset = 512, to_offset = 0;

    return copy_file_range(from, &from_offset, to, &to_offset, 4096, 0) == 4096;
}

static bool try_addresses(int fd, const char *directory)
{
    struct ds_physical_extent extent = { 0 };
    struct ds_storage_id id = { 0 };
    struct ds_file *file = NULL;
    int own = dup(fd); /* the file's from here */
    size_t count = 0;
    bool known;

    if (own < 0 || local_adopt(own, directory, &file, NULL) != 0)
        return false;
    known =
        local_storage_id(file, &id, NULL) == 0 && id.known &&
        local_physical(file, 0, PROBE_BYTES, &extent, 1, &count, NULL) == 0 &&
        count > 0 && (extent.flags & DS_PHYSICAL_UNPROVABLE) == 0;
    local_close(file);
    return known;
}

static bool try_lock(int fd)
{
    struct flock lock = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1
    };

    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static int probe_in(int directory_fd, const char *directory,
                    struct ds_storage *out, struct ds_error *err)
{
    ds_auto(local_cleanup_fd) int from = open_nameless(directory_fd);
    ds_auto(local_cleanup_fd) int to = open_nameless(directory_fd);
    int rc;

    if (from < 0 || to < 0)
        return ds_fail_errno(err, errno, directory,
                             "local: probe: cannot make a temporary file");
    rc = fill(from);
    if (rc != 0)
        return ds_fail_errno(err, -rc, directory,
                             "local: probe: cannot write %u bytes",
                             PROBE_BYTES);
    try_ranges(from, to, out);
    out->file_clone = yes_if(ioctl(to, FICLONE, from) == 0);
    if (ftruncate(to, 0) == 0)
        out->server_copy = yes_if(try_copy(from, to));
    out->physical_extents = yes_if(try_addresses(from, directory));
    out->locks = yes_if(try_lock(from));
    out->measured = true;
    return 0;
}

/* The directory itself, or the one that a file lies in. */
static int open_place(const char *path, char **directory, struct ds_error *err)
{
    int fd = local_open_fd(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    *directory =
        fd < 0 && errno == ENOTDIR ? local_directory_of(path) : strdup(path);
    if (*directory == NULL)
        return ds_fail_memory(err);
    if (fd < 0)
        fd = local_open_fd(*directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd
                   : ds_fail_errno(err, errno, *directory,
                                   "local: cannot open directory");
}

int local_describe(const char *path, bool probe, struct ds_storage *out,
                   struct ds_error *err)
{
    ds_autofree char *directory = NULL;
    ds_auto(local_cleanup_fd) int fd = open_place(path, &directory, err);
    int rc;

    if (fd < 0)
        return fd;
    tell_kind(fd, out);
    rc = tell_space(fd, directory, out, err);
    return rc == 0 && probe ? probe_in(fd, directory, out, err) : rc;
}
