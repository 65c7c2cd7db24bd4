/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that an image names: extents, parents, backing files. The name is the
 * image's word and so hostile.
 *
 *   name                     where it is looked for
 *   URL, empty, "x/"         nowhere
 *   "base.vmdk"              beside the image; else in the allowed directory
 *   "../b/base.vmdk"         made absolute from the image's directory, then
 *   "/vm/b/base.vmdk"        as what follows the allowed directory's name
 *
 * The kernel resolves what remains with RESOLVE_BENEATH, so that no "..", no
 * link and no race leads out of that one directory, and RESOLVE_NO_MAGICLINKS
 * keeps /proc/self/fd out.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "fail.h"
#include "local.h"

/* RFC 3986 section 3.1: a scheme is a letter, then letters, digits, + - . */
static bool is_url(const char *name)
{
    if (!isalpha((unsigned char)name[0]))
        return false;
    while (isalnum((unsigned char)*name) || *name == '+' || *name == '-' ||
           *name == '.')
        name++;
    return *name == ':';
}

static int refuse(const struct ds_file *from, const char *name, const char *why,
                  struct ds_error *err)
{
    return ds_fail_at(err, from, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "local: reference: \"%.200s\" %s", name, why);
}

static int open_beneath(int directory_fd, const char *name, uint64_t flags)
{
    struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd;
    do /* EAGAIN: something was renamed while ".." was being resolved */
        fd = syscall(SYS_openat2, directory_fd, name, &how, sizeof(how));
    while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    if (fd < 0 && errno == ENOSYS && strchr(name, '/') == NULL) /* < 5.6 */
        fd = openat(directory_fd, name, (int)how.flags | O_NOFOLLOW);
    return (int)fd;
}

/* -ENOENT (not a class) when there is no such file, for the next candidate */
static int try_open(const struct ds_file *from, const char *directory,
                    const char *name, struct ds_file **out,
                    struct ds_error *err)
{
    ds_auto(local_cleanup_fd) int directory_fd =
        local_open_fd(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory_fd < 0)
        return ds_fail_errno(err, errno, directory,
                             "local: reference: cannot open directory");
    ds_auto(local_cleanup_fd) int path_fd =
        open_beneath(directory_fd, name, O_PATH);
    if (path_fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return -ENOENT;
    if (path_fd < 0 && (errno == EXDEV || errno == ELOOP))
        return refuse(from, name, "leads outside the directory", err);
    ds_autofree char *path = local_join(directory, name);
    if (path == NULL)
        return ds_fail_memory(err);
    struct stat status;
    if (path_fd < 0 || fstat(path_fd, &status) != 0)
        return ds_fail_errno(err, errno, path, "local: reference: cannot open");
    if (!S_ISREG(status.st_mode))
        return refuse(from, name, "is not a regular file", err);
    uint64_t flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
    int fd = open_beneath(directory_fd, name, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM)
        fd = open_beneath(directory_fd, name, flags);
    if (fd < 0)
        return ds_fail_errno(err, errno, path, "local: reference: cannot open");
    int rc = 0;
    if (fstat(fd, &status) != 0)
        rc = ds_fail_errno(err, errno, path, "local: reference: cannot stat");
    else if (!S_ISREG(status.st_mode))
        rc = refuse(from, name, "is not a regular file", err);
    if (rc != 0) {
        (void)close(fd);
        return rc;
    }
    return local_adopt(fd, path, out, err);
}

/* Take "", "." and ".." out of an absolute path, in place. ".." after a link
 * is taken by its name; the kernel's own walk beneath decides in the end. */
static void normalise(char *path)
{
    char *write = path;
    const char *read = path;
    while (*read != '\0') {
        while (*read == '/')
            read++;
        size_t length = strcspn(read, "/");
        if (length == 2 && read[0] == '.' && read[1] == '.') {
            while (write > path && *--write != '/')
                continue;
        } else if (length > 0 && !(length == 1 && read[0] == '.')) {
            *write++ = '/';
            memmove(write, read, length);
            write += length;
        }
        read += length;
    }
    if (write == path)
        *write++ = '/';
    *write = '\0';
}

/* What of the normalised `path` follows `directory`, or NULL. */
static const char *strip_directory(const char *path, const char *directory)
{
    ds_autofree char *prefix = strdup(directory);
    if (prefix == NULL || prefix[0] != '/')
        return NULL;
    normalise(prefix);
    size_t length = strlen(prefix);
    if (length == 1)
        return path + 1;
    if (strncmp(path, prefix, length) != 0 || path[length] != '/')
        return NULL;
    return path + length + 1;
}

/* The same, by the name given or by the name it has without links. */
static const char *strip_any(const char *path, const char *directory)
{
    const char *rest = strip_directory(path, directory);
    if (rest != NULL)
        return rest;
    ds_autofree char *real = realpath(directory, NULL);
    return real == NULL ? NULL : strip_directory(path, real);
}

static char *absolute_name(const char *directory, const char *name)
{
    char *path = NULL;
    if (name[0] == '/') {
        path = strdup(name);
    } else {
        ds_autofree char *real = realpath(directory, NULL);
        if (real != NULL)
            path = local_join(real, name);
    }
    if (path != NULL)
        normalise(path);
    return path;
}

static int open_allowed(const struct ds_file *from, const char *directory,
                        const char *allow_directory, const char *name,
                        struct ds_file **out, struct ds_error *err)
{
    ds_autofree char *absolute = absolute_name(directory, name);
    if (absolute == NULL)
        return ds_fail_errno(err, errno, directory,
                             "local: reference: cannot resolve directory");
    const char *rest = strip_any(absolute, allow_directory);
    int rc = rest == NULL ? -ENOENT
                          : try_open(from, allow_directory, rest, out, err);
    if (rc == -ENOENT && name[0] != '/')
        rc = try_open(from, allow_directory, name, out, err);
    if (rc == -ENOENT && rest == NULL)
        return refuse(from, name, "is not in the allowed directory", err);
    return rc;
}

int local_name_for(const struct ds_file *source, const char *target_path,
                   char **out, struct ds_error *err)
{
    if (local_of_const(source)->is_block_device)
        return refuse(source, source->path, "is not a regular file", err);
    ds_autofree char *real = realpath(source->path, NULL);
    ds_autofree char *directory = local_directory_of(target_path);
    if (directory == NULL)
        return ds_fail_memory(err);
    ds_autofree char *beside = realpath(directory, NULL);
    if (real == NULL || beside == NULL)
        return ds_fail_errno(err, errno,
                             real == NULL ? source->path : directory,
                             "local: reference: cannot resolve");
    const char *rest = strip_directory(real, beside);
    bool simple = rest != NULL && strchr(rest, '/') == NULL;
    *out = strdup(simple ? rest : real);
    return *out != NULL ? 0 : ds_fail_memory(err);
}

int local_open_reference(const struct ds_file *from,
                         const char *allow_directory, const char *name,
                         struct ds_file **out, struct ds_error *err)
{
    if (name[0] == '\0' || name[strlen(name) - 1] == '/')
        return refuse(from, name, "is not a file name", err);
    if (is_url(name))
        return refuse(from, name, "is a URL, expect a file name", err);
    ds_autofree char *directory = local_directory_of(from->path);
    if (directory == NULL)
        return ds_fail_memory(err);
    const char *given = name;
    while (name[0] == '.' && name[1] == '/')
        name += 1 + strspn(name + 1, "/");
    int rc = -ENOENT;
    ds_autofree char *absolute = NULL;
    const char *beside = name;
    if (name[0] == '/') {
        absolute = absolute_name(directory, name);
        if (absolute == NULL)
            return ds_fail_memory(err);
        beside = strip_any(absolute, directory);
    }
    bool simple = beside != NULL && *beside != '\0' &&
                  strchr(beside, '/') == NULL && strcmp(beside, "..") != 0;
    if (simple)
        rc = try_open(from, directory, beside, out, err);
    if (rc == -ENOENT && allow_directory != NULL)
        rc = open_allowed(from, directory, allow_directory, name, out, err);
    else if (rc == -ENOENT && !simple)
        return refuse(from, given, "is not beside the image", err);
    if (rc != -ENOENT)
        return rc;
    rc = ds_fail_errno(err, ENOENT, from->path, "local: reference: \"%.200s\"",
                       given);
    return rc;
}
