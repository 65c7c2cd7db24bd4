/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets while they are made. The file is PATH.partial, and its maker holds
 * an flock on it; who finds one that is not locked may remove it.
 *
 *   maker               another maker of the same name
 *   O_EXCL create       EEXIST: open
 *   flock               flock   -> held: refuse
 *                                  free: is it still the name's inode?
 *                                        unlink, begin again
 *   is it still the name's inode? no: begin again
 *
 * Both look at the name again after they got the lock, so the gap between
 * create and flock costs a second round and never a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "local.h"

#define CREATE_ROUND_COUNT_MAX 16

static char *partial_of(const char *path)
{
    char *partial_path = NULL;
    if (asprintf(&partial_path, "%s.partial", path) < 0)
        return NULL; /* its content is undefined then */
    return partial_path;
}

static bool same_inode(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int local_has_name(int fd, int directory_fd, const char *name)
{
    struct stat by_fd;
    struct stat by_name;
    if (fstat(fd, &by_fd) != 0)
        return -errno;
    if (fstatat(directory_fd, name, &by_name, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : -errno;
    return same_inode(&by_fd, &by_name) ? 1 : 0;
}

/* 1 locked and still under its name, 0 begin again, -errno */
static int lock_named(int fd, int directory_fd, const char *name)
{
    int rc;
    do
        rc = flock(fd, LOCK_EX | LOCK_NB);
    while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno != ENOLCK && errno != EOPNOTSUPP && errno != ENOSYS)
        return -errno;
    return local_has_name(fd, directory_fd, name);
}

static int open_at(int directory_fd, const char *name, int flags)
{
    int fd;
    do
        fd = openat(directory_fd, name, flags, 0600);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Remove an abandoned PATH.partial. 0 when it is gone. */
static int clear_leftover(int directory_fd, const char *path,
                          struct ds_error *err)
{
    const char *name = local_name_of(path);
    struct ds_file named = local_named(path);
    ds_auto(local_cleanup_fd) int fd =
        open_at(directory_fd, name,
                O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return 0;
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return ds_fail_errno(err, errno, path,
                             "local: target: cannot clear leftover");
    if (!S_ISREG(status.st_mode))
        return ds_fail_at(err, &named, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "local: target: leftover: have %s expect a regular "
                          "file",
                          local_kind_name(status.st_mode));
    int rc = lock_named(fd, directory_fd, name);
    if (rc == -EWOULDBLOCK)
        return ds_fail_at(err, &named, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "local: target: another process is writing it");
    if (rc < 0)
        return ds_fail_errno(err, -rc, path, "local: target: cannot lock");
    if (rc == 1 && unlinkat(directory_fd, name, 0) != 0 && errno != ENOENT)
        return ds_fail_errno(err, errno, path,
                             "local: target: cannot remove leftover");
    return 0;
}

/* Whether the target's first file is still called .partial: 1, 0, or an
 * error; -EWOULDBLOCK while somebody makes it. The lock is held in *fd. */
static int first_unnamed(const char *first, const char *partial, int *fd)
{
    *fd = open_at(AT_FDCWD, partial,
                  O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (*fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int rc = lock_named(*fd, AT_FDCWD, partial);
    if (rc == 1) /* with both names it is named: rename_without_replace */
        rc = local_has_name(*fd, AT_FDCWD, first) == 1 ? 0 : 1;
    return rc;
}

/* The locks come first: while its maker lives, nothing is looked at. */
static int take_abandoned(const char *path, const char *partial,
                          const char *first, const char *first_partial,
                          bool remove)
{
    ds_auto(local_cleanup_fd) int first_fd = -1;
    ds_auto(local_cleanup_fd) int fd =
        open_at(AT_FDCWD, partial,
                O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP || errno == EACCES ? 0
                                                                    : -errno;
    /* There a whole file may have both names: local_install.c. */
    int rc = local_is_remote(fd) ? 0 : lock_named(fd, AT_FDCWD, partial);
    if (rc == 1)
        rc = local_has_name(fd, AT_FDCWD, path);
    if (rc != 1)
        return rc == -EWOULDBLOCK ? 0 : rc; /* its maker lives */
    rc = first_unnamed(first, first_partial, &first_fd);
    if (rc < 0)
        return rc == -EWOULDBLOCK ? 0 : rc;
    if (!remove)
        return rc;
    /* The final name first: what has only the .partial one can be cleared. */
    if ((rc == 1 && unlinkat(AT_FDCWD, path, 0) != 0) ||
        unlinkat(AT_FDCWD, partial, 0) != 0)
        return -errno;
    return rc;
}

int local_abandoned(const char *path, const char *first, bool remove,
                    struct ds_error *err)
{
    ds_autofree char *partial = partial_of(path);
    ds_autofree char *first_partial = partial_of(first);
    if (partial == NULL || first_partial == NULL)
        return ds_fail_memory(err);
    int rc = take_abandoned(path, partial, first, first_partial, remove);
    return rc >= 0 ? rc
                   : ds_fail_errno(err, -rc, path,
                                   "local: target: cannot clear leftover");
}

static int create_locked(int directory_fd, const char *path, int *out,
                         struct ds_error *err)
{
    const char *name = local_name_of(path);
    for (int round = 0; round < CREATE_ROUND_COUNT_MAX; round++) {
        int fd = open_at(directory_fd, name,
                         O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno != EEXIST)
            return ds_fail_errno(err, errno, path,
                                 "local: target: cannot create");
        if (fd < 0) {
            int rc = clear_leftover(directory_fd, path, err);
            if (rc != 0)
                return rc;
            continue;
        }
        int rc = lock_named(fd, directory_fd, name);
        if (rc == 1) {
            *out = fd;
            return 0;
        }
        (void)close(fd);
        if (rc < 0 && rc != -EWOULDBLOCK) {
            (void)unlinkat(directory_fd, name, 0);
            return ds_fail_errno(err, -rc, path, "local: target: cannot lock");
        }
    }
    struct ds_file named = local_named(path);
    return ds_fail_at(err, &named, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "local: target: others keep making it");
}

/* Open the directory, create the file; fills a target that local_discard and
 * local_close take back. */
static int make_target(const char *path, struct ds_file **out,
                       struct ds_error *err)
{
    ds_autofree char *final_path = strdup(path);
    ds_autofree char *directory = local_directory_of(path);
    ds_autofree char *partial_path = partial_of(path);
    if (final_path == NULL || directory == NULL || partial_path == NULL)
        return ds_fail_memory(err);
    struct ds_file named = local_named(path);
    if (*local_name_of(path) == '\0')
        return ds_fail_at(err, &named, DS_OFFSET_NONE, DS_ERR_ARG,
                          "local: target: have a directory expect a file "
                          "name");
    ds_auto(local_cleanup_fd) int directory_fd =
        local_open_fd(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory_fd < 0 && errno == EACCES) /* may be entered, not listed */
        directory_fd =
            local_open_fd(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory_fd < 0)
        return ds_fail_errno(err, errno, directory,
                             "local: target: cannot open directory");
    int fd = -1;
    int rc = create_locked(directory_fd, partial_path, &fd, err);
    if (rc != 0)
        return rc;
    rc = local_adopt(fd, partial_path, out, err);
    if (rc != 0) {
        (void)unlinkat(directory_fd, local_name_of(partial_path), 0);
        return rc;
    }
    struct local_target *target = &local_of(*out)->target;
    target->directory_fd = directory_fd;
    directory_fd = -1;
    target->final_path = ds_steal(&final_path);
    target->partial_path = ds_steal(&partial_path);
    return 0;
}

int local_create(const struct ds_create_request *request, struct ds_file **out,
                 struct ds_error *err)
{
    struct ds_file *file = NULL;
    int rc = make_target(request->path, &file, err);
    if (rc != 0)
        return rc;
    if (request->attributes_from != NULL) {
        const struct local_file *from =
            local_of_const(request->attributes_from);
        /* While it is empty; and only then does a clone succeed. Where it
         * cannot be done the clone says so. */
        if (request->clone_from || local_is_nocow(from->fd))
            (void)local_match_flags(from->fd, local_of(file)->fd);
        mode_t most;
        if (local_common_mode(from, request->within, request->within_count,
                              &most))
            rc = local_copy_attributes(from, most, local_of(file)->fd,
                                       file->path, err);
    }
    if (rc != 0) {
        local_discard(file);
        local_close(file);
        return rc;
    }
    *out = file;
    return 0;
}

/* Also with --force: a name of a device, or a link to one, is not to become a
 * file. */
int local_exists(const char *path, struct ds_error *err)
{
    struct stat status; /* of a link itself: rename would replace it */
    struct stat behind;
    struct ds_file named = local_named(path);
    if (lstat(path, &status) != 0) {
        if (errno == ENOENT)
            return 0;
        return ds_fail_errno(err, errno, path, "local: target: cannot stat");
    }
    if (S_ISLNK(status.st_mode) && stat(path, &behind) == 0)
        status.st_mode = behind.st_mode;
    if (!S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode))
        return ds_fail_at(err, &named, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "local: target: have %s expect a regular file",
                          local_kind_name(status.st_mode));
    return 1;
}

bool local_same(const struct ds_file *a, const struct ds_file *b)
{
    struct stat of_a;
    struct stat of_b;
    return fstat(local_of_const(a)->fd, &of_a) == 0 &&
           fstat(local_of_const(b)->fd, &of_b) == 0 && same_inode(&of_a, &of_b);
}

/* What two names of one file have in common: the inode, of a block device also
 * the device that it stands for. */
struct identity {
    uint64_t device;
    uint64_t inode; /* UINT64_MAX: the device itself */
};

static int compare_identities(const void *left, const void *right)
{
    const struct identity *a = left;
    const struct identity *b = right;
    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    return (a->inode > b->inode) - (a->inode < b->inode);
}

static size_t identify(const struct stat *status, struct identity out[2])
{
    out[0] = (struct identity){ status->st_dev, status->st_ino };
    out[1] = (struct identity){ status->st_rdev, UINT64_MAX };
    return S_ISBLK(status->st_mode) ? 2 : 1;
}

/* Sorted, so that asking of many targets is no product. */
struct identities {
    struct identity *list;
    size_t count;
};

static int identify_sources(const struct ds_file *const *sources, size_t count,
                            struct identities *out, struct ds_error *err)
{
    out->list = calloc(count, 2 * sizeof(*out->list));
    if (out->list == NULL)
        return ds_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        struct stat status;
        if (fstat(local_of_const(sources[i])->fd, &status) != 0)
            return ds_fail_errno(err, errno, sources[i]->path,
                                 "local: file: cannot stat");
        out->count += identify(&status, out->list + out->count);
    }
    qsort(out->list, out->count, sizeof(*out->list), compare_identities);
    return 0;
}

static int guard_name(const struct identities *sources, const char *path,
                      const char *what, struct ds_error *err)
{
    struct identity own[2];
    struct stat status;
    if (stat(path, &status) != 0) {
        if (errno == ENOENT || errno == ELOOP)
            return 0;
        return ds_fail_errno(err, errno, path, "local: target: cannot stat");
    }
    for (size_t i = identify(&status, own); i > 0; i--) {
        struct ds_file named = local_named(path);
        if (bsearch(&own[i - 1], sources->list, sources->count,
                    sizeof(*sources->list), compare_identities) != NULL)
            return ds_fail_at(err, &named, DS_OFFSET_NONE, DS_ERR_REFUSED,
                              "local: target: %s is the source itself", what);
    }
    return 0;
}

static int guard_path(const struct identities *sources, const char *path,
                      struct ds_error *err)
{
    int rc = guard_name(sources, path, "it", err);
    if (rc != 0)
        return rc;
    /* A source named PATH.partial would be cleared as a leftover. */
    ds_autofree char *partial_path = partial_of(path);
    if (partial_path == NULL)
        return ds_fail_memory(err);
    return guard_name(sources, partial_path, "its .partial", err);
}

int local_guard_same(const struct ds_file *const *sources, size_t source_count,
                     const char *const *paths, size_t path_count,
                     struct ds_error *err)
{
    struct identities known = { 0 };
    int rc = identify_sources(sources, source_count, &known, err);
    for (size_t i = 0; rc == 0 && i < path_count; i++)
        rc = guard_path(&known, paths[i], err);
    free(known.list);
    return rc;
}

int local_flush(int fd)
{
    int rc;
    do
        rc = fsync(fd);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

int local_sync(struct ds_file *file, struct ds_error *err)
{
    struct local_file *local = local_of(file);
    int rc = local_flush(local->fd);
    if (rc != 0)
        return ds_fail_errno(err, -rc, file->path,
                             "local: target: cannot flush");
    /* Only clean pages can go: after the flush, so that who reads now reads
     * what storage has. Advice; its failure changes nothing we promise. */
    (void)posix_fadvise(local->fd, 0, 0, POSIX_FADV_DONTNEED);
    return 0;
}

int local_reopen(struct ds_file *target, struct ds_file **out,
                 struct ds_error *err)
{
    struct local_file *local = local_of(target);
    char by_fd[40];
    (void)snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", local->fd);
    int fd = local_open_fd(by_fd, O_RDONLY | O_CLOEXEC | O_NOATIME);
    if (fd < 0 && errno == EPERM)
        fd = local_open_fd(by_fd, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) /* no /proc here */
        fd = local_open_fd(target->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return ds_fail_errno(err, errno, target->path,
                             "local: target: cannot reopen");
    struct stat made;
    struct stat opened;
    if (fstat(local->fd, &made) != 0 || fstat(fd, &opened) != 0) {
        int rc = ds_fail_errno(err, errno, target->path,
                               "local: target: cannot stat");
        (void)close(fd);
        return rc;
    }
    if (!same_inode(&made, &opened)) {
        (void)close(fd);
        return ds_fail_at(err, target, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "local: target: another file has taken its name");
    }
    int rc = local_adopt(fd, target->path, out, err);
    if (rc == 0)
        local_of(*out)->is_reopened = (*out)->settled = true;
    return rc;
}

void local_prefetch(struct ds_file *file, uint64_t offset_bytes,
                    uint64_t length_bytes)
{
    (void)posix_fadvise(local_of(file)->fd, (off_t)offset_bytes,
                        (off_t)length_bytes, POSIX_FADV_WILLNEED);
}

int local_space(const char *target_path, struct ds_space *out,
                struct ds_error *err)
{
    ds_autofree char *directory = local_directory_of(target_path);
    if (directory == NULL)
        return ds_fail_memory(err);
    struct statvfs status;
    if (statvfs(directory, &status) != 0)
        return ds_fail_errno(err, errno, directory,
                             "local: target: cannot get the free space");
    if (!ds_mul_u64(status.f_bavail, status.f_frsize, &out->free_bytes))
        out->free_bytes = UINT64_MAX;
    return 0;
}
