/* SPDX-License-Identifier: Apache-2.0 */
/* Opening what the user names, closing and reading it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "local.h"

const char *local_kind_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "a regular file";
    case S_IFBLK:
        return "a block device";
    case S_IFCHR:
        return "a character device";
    case S_IFDIR:
        return "a directory";
    case S_IFIFO:
        return "a fifo";
    case S_IFSOCK:
        return "a socket";
    default:
        return "a special file";
    }
}

const char *local_name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

char *local_directory_of(const char *path)
{
    const char *name = local_name_of(path);
    if (name == path)
        return strdup(".");
    size_t length = (size_t)(name - path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    return strndup(path, length);
}

char *local_join(const char *directory, const char *name)
{
    if (strcmp(directory, ".") == 0)
        return strdup(name);
    size_t length = strlen(directory);
    bool slash = length > 0 && directory[length - 1] == '/';
    size_t bytes = length + strlen(name) + 2;
    char *path = malloc(bytes);
    if (path != NULL) {
        memcpy(path, directory, length);
        path[length] = '/';
        strcpy(path + length + (slash ? 0 : 1), name);
    }
    return path;
}

/* A fifo would block and a character device may act on being opened (a tape
 * rewinds), so the kind is looked at before and, against a swap, after. */
static int check_kind(const struct stat *status, const char *path,
                      struct ds_error *err)
{
    if (S_ISREG(status->st_mode) || S_ISBLK(status->st_mode))
        return 0;
    struct ds_file named = local_named(path);
    return ds_fail_at(err, &named, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "local: file: have %s expect a regular file or a block "
                      "device",
                      local_kind_name(status->st_mode));
}

static int file_size(int fd, const struct stat *status, const char *path,
                     uint64_t *size_bytes, struct ds_error *err)
{
    if (!S_ISBLK(status->st_mode)) {
        *size_bytes = (uint64_t)status->st_size;
        return 0;
    }
    if (ioctl(fd, BLKGETSIZE64, size_bytes) != 0)
        return ds_fail_errno(err, errno, path,
                             "local: block device: cannot get the size");
    return 0;
}

int local_adopt(int fd, const char *path, struct ds_file **out,
                struct ds_error *err)
{
    ds_auto(local_cleanup_fd) int owned = fd;
    struct stat status;
    if (fstat(fd, &status) != 0)
        return ds_fail_errno(err, errno, path, "local: file: cannot stat");
    int rc = check_kind(&status, path, err);
    if (rc != 0)
        return rc;
    uint64_t size_bytes;
    rc = file_size(fd, &status, path, &size_bytes, err);
    if (rc != 0)
        return rc;
    struct local_file *file = calloc(1, sizeof(*file));
    char *name = strdup(path);
    if (file == NULL || name == NULL) {
        free(file);
        free(name);
        return ds_fail_memory(err);
    }
    file->base.store = &local_store_ops;
    file->base.path = name;
    file->base.size_bytes = size_bytes;
    file->fd = owned;
    file->is_block_device = S_ISBLK(status.st_mode);
    file->target.directory_fd = -1;
    (void)pthread_mutex_init(&file->layout_lock, NULL);
    owned = -1;
    *out = &file->base;
    return 0;
}

int local_open_fd(const char *path, int flags)
{
    int fd;
    do
        fd = open(path, flags);
    while (fd < 0 && errno == EINTR);
    return fd;
}

int local_open(const char *path, struct ds_file **out, struct ds_error *err)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return ds_fail_errno(err, errno, path, "local: file: cannot open");
    int rc = check_kind(&status, path, err);
    if (rc != 0)
        return rc;
    /* O_NONBLOCK: should a fifo have taken the name meanwhile. */
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = local_open_fd(path, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM) /* only the owner may ask for it */
        fd = local_open_fd(path, flags);
    if (fd < 0)
        return ds_fail_errno(err, errno, path, "local: file: cannot open");
    return local_adopt(fd, path, out, err);
}

void local_close(struct ds_file *file)
{
    if (file == NULL)
        return;
    struct local_file *local = local_of(file);
    /* Ends the locks too: they belong to the open file description. */
    local_cleanup_fd(&local->fd);
    local_close_direct(local);
    local_cleanup_fd(&local->target.directory_fd);
    free(local->target.final_path);
    free(local->target.partial_path);
    free(local->base.path);
    local_drop_layout(local);
    (void)pthread_mutex_destroy(&local->layout_lock);
    free(local);
}

int local_read(struct ds_file *file, uint64_t offset_bytes, void *buffer,
               size_t length_bytes, struct ds_error *err)
{
    struct local_file *local = local_of(file);
    uint8_t *bytes = buffer;
    size_t done = 0;
    uint64_t end_bytes;
    bool addressable = ds_add_u64(offset_bytes, length_bytes, &end_bytes) &&
                       end_bytes <= INT64_MAX;
    if (addressable && local->reads_direct)
        done = local_direct_read(local, offset_bytes, bytes, length_bytes);
    while (addressable && done < length_bytes) {
        ssize_t got = pread(local->fd, bytes + done, length_bytes - done,
                            (off_t)(offset_bytes + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int error = errno;
            int rc = ds_fail_errno(err, error, file->path,
                                   "local: file: cannot read %zu bytes at "
                                   "%ju",
                                   length_bytes, (uintmax_t)offset_bytes);
            if (err != NULL)
                err->offset_bytes = offset_bytes + done;
            return rc;
        }
        if (got == 0)
            break;
        done += (size_t)got;
    }
    if (done == length_bytes)
        return 0;
    return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                      "local: file: truncated, have %zu bytes expect %zu at "
                      "offset %ju",
                      done, length_bytes, (uintmax_t)offset_bytes);
}
