/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target's owner, mode, label, ACL and xattrs follow the source and are
 * never wider: nobody may read the target who may not read the source.
 */
#include <errno.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "fail.h"
#include "local.h"

#define ACL_NAME "system.posix_acl_access"

static bool match_nocow(int source_fd, int fd)
{
    bool wanted = local_is_nocow(source_fd);
    int flags = 0;
    if (wanted == local_is_nocow(fd))
        return true;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0)
        return false;
    flags = wanted ? flags | FS_NOCOW_FL : flags & ~FS_NOCOW_FL;
    return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

static bool match_realtime(int source_fd, int fd)
{
    bool wanted = local_is_realtime(source_fd);
    struct fsxattr attributes;
    if (wanted == local_is_realtime(fd))
        return true;
    memset(&attributes, 0, sizeof(attributes));
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0)
        return false;
    if (wanted)
        attributes.fsx_xflags |= FS_XFLAG_REALTIME;
    else
        attributes.fsx_xflags &= ~(__u32)FS_XFLAG_REALTIME;
    return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) == 0;
}

bool local_match_flags(int source_fd, int fd)
{
    bool nocow = match_nocow(source_fd, fd);
    bool realtime = match_realtime(source_fd, fd);
    return nocow && realtime;
}

/* What a filesystem cannot hold, or this user may not set, is left out. A
 * full inode (ENOSPC, E2BIG) is not worth failing for either. */
static bool may_leave_out(int error)
{
    return error == ENOTSUP || error == EPERM || error == EACCES ||
           error == ENOSPC || error == E2BIG || error == ERANGE ||
           error == EINVAL || error == ENODATA;
}

/* 1 copied, 0 not there, -errno */
static int copy_xattr(int source_fd, int fd, const char *name, void *value)
{
    ssize_t length = fgetxattr(source_fd, name, value, XATTR_SIZE_MAX);
    if (length < 0)
        return errno == ENODATA || errno == ENOTSUP ? 0 : -errno;
    return fsetxattr(fd, name, value, (size_t)length, 0) == 0 ? 1 : -errno;
}

static bool is_wanted(const char *name)
{
    return strncmp(name, "user.", 5) == 0 ||
           strcmp(name, "security.selinux") == 0;
}

static int copy_xattrs(int source_fd, int fd, const char *path, void *value,
                       struct ds_error *err)
{
    ds_autofree char *names = malloc(XATTR_LIST_MAX);
    if (names == NULL)
        return ds_fail_memory(err);
    ssize_t names_bytes = flistxattr(source_fd, names, XATTR_LIST_MAX);
    if (names_bytes < 0)
        return 0;
    const char *end = names + names_bytes;
    for (const char *name = names; name < end; name += strlen(name) + 1) {
        if (!is_wanted(name))
            continue;
        int rc = copy_xattr(source_fd, fd, name, value);
        if (rc < 0 && !may_leave_out(-rc))
            return ds_fail_errno(
                err, -rc, path, "local: target: cannot set attribute %s", name);
    }
    return 0;
}

/*
 * The mode's group bits speak of our group when the source's could not be
 * given, and the source's group falls among the others: so the group gets
 * nothing and the others no more than the group had. Likewise for the owner.
 */
static mode_t narrow_mode(mode_t mode, bool owner_same, bool group_same)
{
    mode_t owner = (mode >> 6) & 7;
    mode_t group = (mode >> 3) & 7;
    mode_t other = mode & 7;
    if (!owner_same) {
        group &= owner;
        other &= owner;
    }
    if (!group_same) {
        other &= group;
        group = 0;
    }
    return owner << 6 | group << 3 | other;
}

int local_copy_attributes(const struct local_file *source, int fd,
                          const char *path, struct ds_error *err)
{
    struct stat from;
    struct stat now;
    if (source->is_block_device) /* a node's owner says nothing of a file's */
        return 0;
    if (fstat(source->fd, &from) != 0)
        return ds_fail_errno(err, errno, source->base.path,
                             "local: file: cannot stat");
    if (fchown(fd, from.st_uid, from.st_gid) != 0 &&
        fchown(fd, (uid_t)-1, from.st_gid) != 0 && !may_leave_out(errno))
        return ds_fail_errno(err, errno, path,
                             "local: target: cannot set the owner");
    if (fstat(fd, &now) != 0)
        return ds_fail_errno(err, errno, path, "local: target: cannot stat");
    bool owner_same = now.st_uid == from.st_uid;
    bool group_same = now.st_gid == from.st_gid;
    ds_autofree void *value = malloc(XATTR_SIZE_MAX);
    if (value == NULL)
        return ds_fail_memory(err);
    int rc = copy_xattrs(source->fd, fd, path, value, err);
    if (rc != 0)
        return rc;
    mode_t mode = narrow_mode(from.st_mode, owner_same, group_same);
    /* With an ACL the mode's group bits are the ACL's mask, and without the
     * ACL they would admit the group to what the mask allowed others. */
    ssize_t acl = fgetxattr(source->fd, ACL_NAME, NULL, 0);
    if (acl > 0 && (!owner_same || !group_same))
        mode &= 0700;
    if (fchmod(fd, mode & 0700) != 0)
        return ds_fail_errno(err, errno, path,
                             "local: target: cannot set the mode");
    if (acl > 0 && owner_same && group_same &&
        copy_xattr(source->fd, fd, ACL_NAME, value) == 1)
        return 0; /* it carries the mode's bits */
    if (acl > 0)
        return 0;
    if (fchmod(fd, mode) != 0 && !may_leave_out(errno))
        return ds_fail_errno(err, errno, path,
                             "local: target: cannot set the mode");
    return 0;
}

/* Of a chain, the target takes after the file that it shares most with. A
 * snapshot over it may be for fewer eyes. An ACL says more than a mode can, so
 * with one on either side only the owner is left. */
int local_narrow_attributes(const struct local_file *source, int fd,
                            const char *path, struct ds_error *err)
{
    struct stat from;
    struct stat now;
    if (source->is_block_device)
        return 0;
    if (fstat(source->fd, &from) != 0 || fstat(fd, &now) != 0)
        return ds_fail_errno(err, errno, path, "local: target: cannot stat");
    bool owner_same = now.st_uid == from.st_uid;
    bool group_same = now.st_gid == from.st_gid;
    mode_t mode = narrow_mode(from.st_mode, owner_same, group_same);
    if (fgetxattr(source->fd, ACL_NAME, NULL, 0) > 0 ||
        fgetxattr(fd, ACL_NAME, NULL, 0) > 0)
        mode &= 0700;
    if (!owner_same) /* of another's bits none speak of this owner */
        mode |= 0700;
    if (!owner_same && (from.st_mode & 0004) == 0 && now.st_uid != geteuid() &&
        fchown(fd, geteuid(), (gid_t)-1) != 0)
        return ds_fail_errno(err, errno, path,
                             "local: target: cannot set the owner");
    mode &= now.st_mode & 0777;
    if (mode != (now.st_mode & 0777) && fchmod(fd, mode) != 0)
        return ds_fail_errno(err, errno, path,
                             "local: target: cannot set the mode");
    return 0;
}
