/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving a target its final name, or taking it away.
 *
 *   fsync(file) -> rename, not replacing -> fsync(directory)
 *
 * A crash before the rename leaves PATH.partial, after it the whole target.
 * Where the filesystem has no such rename (NFS) it is link, then unlink: a
 * crash between leaves both names of a whole file, and the next maker of the
 * same name clears the .partial.
 *
 * A target of several files has its first one named last. The others get their
 * final names by link, and keep the .partial ones for as long as it lasts until
 * then:
 *
 *   others   link, fsync(directory)                          unlink .partial
 *   first                            read back  rename, fsync
 *   killed   |-- both names, and first.partial --|-- both --| complete
 *              abandoned: both go                  .partial goes
 *
 * The rename takes first.partial away in the same moment in which the target
 * becomes whole. So whoever comes later can tell an extent that nothing refers
 * to from one of a whole target, and by its lock whether its maker is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "local.h"

static int rename_without_replace(int directory_fd, const char *partial,
                                  const char *final)
{
    struct stat status;
    if (renameat2(directory_fd, partial, directory_fd, final,
                  RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return -errno;
    if (linkat(directory_fd, partial, directory_fd, final, 0) == 0)
        return unlinkat(directory_fd, partial, 0) == 0 ? 0 : -errno;
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS &&
        errno != EMLINK)
        return -errno;
    /* Neither rename nor link (exFAT): the last resort has a gap between
     * look and rename, in which only another program's file could come. */
    if (fstatat(directory_fd, final, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    return renameat(directory_fd, partial, directory_fd, final) == 0 ? 0
                                                                     : -errno;
}

static int rename_over(struct local_target *target, const char *partial,
                       const char *final)
{
    struct stat old;
    bool exists =
        fstatat(target->directory_fd, final, &old, AT_SYMLINK_NOFOLLOW) == 0;
    if (renameat(target->directory_fd, partial, target->directory_fd, final) !=
        0)
        return -errno;
    target->replaced = exists;
    return 0;
}

/* Both names; where there are no links, or two names may mean a whole file, the
 * final one alone. */
static int link_or_rename(const struct local_file *local, const char *partial,
                          const char *final)
{
    int directory_fd = local->target.directory_fd;
    if (!local_is_remote(local->fd) &&
        linkat(directory_fd, partial, directory_fd, final, 0) == 0)
        return 0;
    return rename_without_replace(directory_fd, partial, final);
}

enum way { WAY_KEEP_BOTH, WAY_NEW, WAY_REPLACE };

static int give_name(struct local_file *local, enum way way,
                     struct ds_error *err)
{
    struct local_target *target = &local->target;
    const char *partial = local_name_of(target->partial_path);
    const char *final = local_name_of(target->final_path);
    struct ds_file named = local_named(target->final_path);
    int rc = local_has_name(local->fd, target->directory_fd, partial);
    if (rc < 0)
        return ds_fail_errno(err, -rc, target->partial_path,
                             "local: target: cannot stat");
    if (rc == 0)
        return ds_fail_at(err, &local->base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "local: target: somebody removed or replaced it");
    if (way == WAY_KEEP_BOTH)
        rc = link_or_rename(local, partial, final);
    else if (way == WAY_NEW)
        rc = rename_without_replace(target->directory_fd, partial, final);
    else
        rc = rename_over(target, partial, final);
    /* A link that NFS repeated answers EEXIST to its own success. */
    if (rc == -EEXIST &&
        local_has_name(local->fd, target->directory_fd, final) == 1)
        rc = way == WAY_KEEP_BOTH                              ? 0
             : unlinkat(target->directory_fd, partial, 0) == 0 ? 0
                                                               : -errno;
    if (rc == -EEXIST)
        return ds_fail_at(err, &named, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "local: target: exists");
    if (rc != 0)
        return ds_fail_errno(err, -rc, target->final_path,
                             "local: target: cannot install");
    target->installed = true;
    return 0;
}

static int flush_directory(const struct local_target *target,
                           struct ds_error *err)
{
    /* EBADF: it could be opened only to look names up, not to flush. */
    int rc = local_flush(target->directory_fd);
    if (rc == 0 || rc == -EINVAL || rc == -EBADF || rc == -EROFS)
        return 0;
    return ds_fail_errno(err, -rc, target->final_path,
                         "local: target: cannot flush its directory");
}

static int install(struct ds_file *file, enum way way, struct ds_error *err)
{
    struct local_file *local = local_of(file);
    struct local_target *target = &local->target;
    if (target->final_path == NULL || target->discarded)
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_ARG,
                          "local: target: is not one that was created");
    if (!target->installed) {
        int rc = give_name(local, way, err);
        if (rc != 0)
            return rc;
        char *path = strdup(target->final_path);
        if (path != NULL) { /* else it keeps being called by the old name */
            free(file->path);
            file->path = path;
        }
    }
    return flush_directory(target, err);
}

int local_install(struct ds_file *file, bool replace, struct ds_error *err)
{
    return install(file, replace ? WAY_REPLACE : WAY_NEW, err);
}

int local_install_part(struct ds_file *file, struct ds_error *err)
{
    return install(file, WAY_KEEP_BOTH, err);
}

void local_settle(struct ds_file *file)
{
    struct local_file *local = local_of(file);
    struct local_target *target = &local->target;
    if (target->partial_path == NULL || !target->installed || target->discarded)
        return;
    const char *partial = local_name_of(target->partial_path);
    if (local_has_name(local->fd, target->directory_fd, partial) == 1)
        (void)unlinkat(target->directory_fd, partial, 0);
}

bool local_has_replaced(const struct ds_file *file)
{
    return local_of_const(file)->target.replaced;
}

void local_discard(struct ds_file *file)
{
    struct local_file *local = local_of(file);
    struct local_target *target = &local->target;
    if (target->final_path == NULL || target->discarded)
        return;
    const char *partial = local_name_of(target->partial_path);
    const char *final = local_name_of(target->final_path);
    if (local_has_name(local->fd, target->directory_fd, partial) == 1)
        (void)unlinkat(target->directory_fd, partial, 0);
    if (local_has_name(local->fd, target->directory_fd, final) == 1)
        (void)unlinkat(target->directory_fd, final, 0);
    target->discarded = true;
}
