/* SPDX-License-Identifier: Apache-2.0 */
/* What a filesystem is: its identity, its kind, the flags of its files. */
#include <errno.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "cleanup.h"
#include "fail.h"
#include "local.h"

#ifndef OCFS2_SUPER_MAGIC
#define OCFS2_SUPER_MAGIC 0x7461636f
#endif
#ifndef GFS2_MAGIC
#define GFS2_MAGIC 0x01161970
#endif
#ifndef BCACHEFS_SUPER_MAGIC
#define BCACHEFS_SUPER_MAGIC 0xca451a4e
#endif
#ifndef SMB2_SUPER_MAGIC
#define SMB2_SUPER_MAGIC 0xfe534d42
#endif
#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xff534d42
#endif

uint32_t local_magic(int fd)
{
    struct statfs status;
    if (fstatfs(fd, &status) != 0)
        return 0;
    return (uint32_t)status.f_type;
}

bool local_is_remote(int fd)
{
    switch (local_magic(fd)) {
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case SMB2_SUPER_MAGIC:
    case CIFS_SUPER_MAGIC:
    case FUSE_SUPER_MAGIC:
        return true;
    default:
        return false;
    }
}

bool local_is_nocow(int fd)
{
    int flags = 0; /* the kernel reads and writes an int, whatever the name */
    return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 &&
           (flags & FS_NOCOW_FL) != 0;
}

bool local_is_realtime(int fd)
{
    struct fsxattr attributes;
    memset(&attributes, 0, sizeof(attributes));
    return ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0 &&
           (attributes.fsx_xflags & FS_XFLAG_REALTIME) != 0;
}

static bool btrfs_fsid(int fd, uint8_t fsid[BTRFS_FSID_SIZE])
{
    struct btrfs_ioctl_fs_info_args info;
    memset(&info, 0, sizeof(info));
    if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) != 0)
        return false;
    memcpy(fsid, info.fsid, BTRFS_FSID_SIZE);
    return true;
}

bool local_same_filesystem(int fd_a, int fd_b)
{
    uint8_t a[BTRFS_FSID_SIZE];
    uint8_t b[BTRFS_FSID_SIZE];
    if (local_magic(fd_a) == BTRFS_SUPER_MAGIC &&
        local_magic(fd_b) == BTRFS_SUPER_MAGIC && btrfs_fsid(fd_a, a) &&
        btrfs_fsid(fd_b, b))
        return memcmp(a, b, sizeof(a)) == 0;
    struct stat status_a;
    struct stat status_b;
    return fstat(fd_a, &status_a) == 0 && fstat(fd_b, &status_b) == 0 &&
           status_a.st_dev == status_b.st_dev;
}

char *local_mount_options(int fd)
{
    struct stat status;
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (mounts == NULL || fstat(fd, &status) != 0) {
        if (mounts != NULL)
            (void)fclose(mounts);
        return NULL;
    }
    char *line = NULL;
    size_t line_bytes_max = 0;
    bool found = false;
    while (!found && getline(&line, &line_bytes_max, mounts) > 0) {
        unsigned major_number;
        unsigned minor_number;
        found =
            sscanf(line, "%*u %*u %u:%u ", &major_number, &minor_number) == 2 &&
            makedev(major_number, minor_number) == status.st_dev;
    }
    (void)fclose(mounts);
    if (found)
        return line;
    free(line);
    return NULL;
}

/* CLONE is of NFSv4.2 (RFC 7862); the mount's options tell the version. */
static bool is_nfs42(int fd)
{
    ds_autofree char *options = local_mount_options(fd);
    return options != NULL && strstr(options, "vers=4.2") != NULL;
}

bool local_guess_reflink(int fd)
{
    switch (local_magic(fd)) {
    case BTRFS_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BCACHEFS_SUPER_MAGIC:
    case OCFS2_SUPER_MAGIC:
        return true;
    case NFS_SUPER_MAGIC:
        return is_nfs42(fd);
    default:
        return false;
    }
}

/* The layout of ds_storage_id.bytes: kind, then what identifies. */
struct identity {
    uint8_t kind[4];
    uint8_t id[16];
    uint8_t realtime;
    uint8_t reserved[3];
};
_Static_assert(sizeof(struct identity) ==
                   sizeof(((struct ds_storage_id *)NULL)->bytes),
               "fills it");

/* Only kinds of which it is known that FIEMAP's addresses are relative to the
 * whole filesystem. Not so: overlayfs (several below one st_dev), bcachefs
 * (an address per device, without saying which), ZFS. */
int local_storage_id(struct ds_file *file, struct ds_storage_id *out,
                     struct ds_error *err)
{
    struct local_file *local = local_of(file);
    memset(out, 0, sizeof(*out));
    if (local->is_block_device)
        return 0;
    struct stat status;
    if (fstat(local->fd, &status) != 0)
        return ds_fail_errno(err, errno, file->path,
                             "local: file: cannot stat");
    struct identity identity;
    memset(&identity, 0, sizeof(identity));
    uint64_t device = status.st_dev;
    memcpy(identity.id, &device, sizeof(device));
    switch (local_magic(local->fd)) {
    case BTRFS_SUPER_MAGIC:
        /* Subvolumes differ in st_dev and share their blocks. */
        if (!btrfs_fsid(local->fd, identity.id))
            return 0;
        memcpy(identity.kind, "btrf", 4);
        break;
    case XFS_SUPER_MAGIC:
        /* The realtime device counts its blocks from 0 again. */
        memcpy(identity.kind, "xfs ", 4);
        identity.realtime = local_is_realtime(local->fd);
        break;
    case EXT4_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case OCFS2_SUPER_MAGIC:
    case GFS2_MAGIC:
        memcpy(identity.kind, "dev ", 4);
        break;
    default:
        return 0;
    }
    memcpy(out->bytes, &identity, sizeof(identity));
    out->known = true;
    return 0;
}
