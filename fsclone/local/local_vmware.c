/* SPDX-License-Identifier: Apache-2.0 */
/* Whether VMware holds a file, by its lock files (vmware_lock.h). What may not
 * be listed or read shows nothing that we could see. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "fail.h"
#include "local.h"
#include "vmware_lock.h"

static void cleanup_directory(DIR **directory)
{
    if (*directory != NULL)
        (void)closedir(*directory);
}

static int held(const struct ds_file *file, const char *directory,
                const char *name, struct ds_error *err)
{
    ds_autofree char *path = local_join(directory, name);
    uint8_t head[VMWARE_HEAD_BYTES];
    char holder[VMWARE_HOLDER_BYTES] = "";
    ssize_t got = -1;
    if (path == NULL)
        return ds_fail_memory(err);
    ds_auto(local_cleanup_fd) int fd = local_open_fd(
        path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0)
        got = pread(fd, head, sizeof(head), 0);
    if (got > 0)
        vmware_holder(head, (size_t)got, holder);
    return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "local: lock: VMware%s%s%s holds the disk: have lock "
                      "file %.200s expect none (power the machine off; remove "
                      "it if it is stale)",
                      *holder != '\0' ? " on \"" : "", holder,
                      *holder != '\0' ? "\"" : "", path);
}

/* NAME.lck, a directory with locks or a lock itself. */
static int check_hosted(const struct ds_file *file, const char *path,
                        struct ds_error *err)
{
    ds_autofree char *hosted = NULL;
    struct stat status;
    if (asprintf(&hosted, "%s.lck", path) < 0) {
        hosted = NULL;
        return ds_fail_memory(err);
    }
    if (lstat(hosted, &status) != 0)
        return 0;
    if (S_ISREG(status.st_mode)) {
        ds_autofree char *directory = local_directory_of(hosted);
        return directory != NULL
                   ? held(file, directory, local_name_of(hosted), err)
                   : ds_fail_memory(err);
    }
    ds_auto(cleanup_directory) DIR *stream = opendir(hosted);
    for (;;) {
        const struct dirent *entry = stream != NULL ? readdir(stream) : NULL;
        if (entry == NULL)
            return 0;
        if (vmware_is_hosted(entry->d_name))
            return held(file, hosted, entry->d_name, err);
    }
}

static int check_esxi(const struct local_file *file, const char *path,
                      struct ds_error *err)
{
    ds_autofree char *directory = local_directory_of(path);
    struct vmware_locks locks = { .count = 0 };
    const struct vmware_lock *lock;
    const struct dirent *entry;
    struct stat status;
    if (directory == NULL)
        return ds_fail_memory(err);
    ds_auto(cleanup_directory) DIR *stream = opendir(directory);
    if (stream == NULL || fstat(file->fd, &status) != 0)
        return 0;
    while ((entry = readdir(stream)) != NULL)
        vmware_locks_see(&locks, entry->d_name);
    if (locks.count == 0)
        return 0;
    rewinddir(stream);
    while ((entry = readdir(stream)) != NULL)
        vmware_locks_know(&locks, entry->d_ino);
    lock = vmware_locks_find(&locks, status.st_ino);
    return lock != NULL ? held(&file->base, directory, lock->name, err) : 0;
}

static int check_at(const struct local_file *file, const char *path,
                    struct ds_error *err)
{
    int rc = check_hosted(&file->base, path, err);
    return rc != 0 ? rc : check_esxi(file, path, err);
}

int local_check_vmware(const struct local_file *file, struct ds_error *err)
{
    int rc = check_at(file, file->base.path, err);
    if (rc != 0)
        return rc;
    /* The locks lie beside the file, not beside a link to it. */
    ds_autofree char *real = realpath(file->base.path, NULL);
    if (real == NULL || strcmp(real, file->base.path) == 0)
        return 0;
    return check_at(file, real, err);
}
