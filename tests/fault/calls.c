/* SPDX-License-Identifier: Apache-2.0 */
#include "calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SEEN __attribute__((visibility("default")))

const struct calls_watch *calls_watch;

/* The C library's function behind ours, by its symbol. POSIX converts what
 * dlsym returns; ISO C has no word for it. */
#define REAL(symbol, function)                                                 \
    static __typeof__(&function) real;                                         \
    if (real == NULL)                                                          \
    *(void **)&real = dlsym(RTLD_NEXT, symbol)

static struct call_fate ask(const struct call *call)
{
    struct call_fate fate = { 0 };

    return calls_watch != NULL ? calls_watch->before(call) : fate;
}

/* errno is the caller's. */
static int64_t tell(const struct call *call, int64_t result)
{
    int error = errno;

    if (calls_watch != NULL && calls_watch->after != NULL)
        calls_watch->after(call, result);
    errno = error;
    return result;
}

/* The call itself stands where it is made: once the watcher lets it. */
#define MAKE(call, type, made)                                                 \
    do {                                                                       \
        const struct call_fate fate = ask(&(call));                            \
        if (fate.errnum != 0) {                                                \
            errno = fate.errnum;                                               \
            return -1;                                                         \
        }                                                                      \
        return (type)tell(&(call), (made));                                    \
    } while (0)

static size_t at_most(size_t length, const struct call_fate *fate)
{
    return fate->most_bytes != 0 && fate->most_bytes < length
               ? (size_t)fate->most_bytes
               : length;
}

void calls_path(const struct call *call, char *path, size_t path_bytes)
{
    char link[40];
    ssize_t length = 0;

    if (call->path != NULL && strncmp(call->path, "/proc/self/fd/", 14) == 0) {
        length = readlink(call->path, path, path_bytes - 1);
        path[length > 0 ? length : 0] = '\0';
        return;
    }
    if (call->fd >= 0) {
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", call->fd);
        length = readlink(link, path, path_bytes - 1);
        path[length > 0 ? length : 0] = '\0';
        if (call->path == NULL)
            return;
    }
    if (call->path != NULL && length > 0 && call->path[0] != '/')
        (void)snprintf(path + length, path_bytes - (size_t)length, "/%s",
                       call->path);
    else
        (void)snprintf(path, path_bytes, "%s", call->path);
}

/* -- names ------------------------------------------------------------------*/

static mode_t mode_of(int flags, va_list args)
{
    bool makes = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;

    return makes ? (mode_t)va_arg(args, int) : 0;
}

SEEN int open(const char *path, int flags, ...)
{
    struct call call = { .kind = CALL_OPEN,
                         .name = "open",
                         .fd = -1,
                         .source_fd = -1,
                         .path = path,
                         .flags = flags };
    va_list args;
    mode_t mode;

    REAL("open64", open);
    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    MAKE(call, int, real(path, flags, mode));
}

SEEN int openat(int directory_fd, const char *path, int flags, ...)
{
    struct call call = { .kind = CALL_OPEN,
                         .name = "openat",
                         .fd = directory_fd,
                         .source_fd = -1,
                         .path = path,
                         .flags = flags };
    va_list args;
    mode_t mode;

    REAL("openat64", openat);
    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    MAKE(call, int, real(directory_fd, path, flags, mode));
}

SEEN int renameat2(int from_fd, const char *from, int to_fd, const char *to,
                   unsigned flags)
{
    struct call call = { .kind = CALL_RENAME,
                         .name = "renameat2",
                         .fd = from_fd,
                         .source_fd = -1,
                         .path = from,
                         .new_path = to,
                         .flags = (int)flags };

    REAL("renameat2", renameat2);
    MAKE(call, int, real(from_fd, from, to_fd, to, flags));
}

SEEN int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    struct call call = { .kind = CALL_RENAME,
                         .name = "renameat",
                         .fd = from_fd,
                         .source_fd = -1,
                         .path = from,
                         .new_path = to };

    REAL("renameat", renameat);
    MAKE(call, int, real(from_fd, from, to_fd, to));
}

SEEN int linkat(int from_fd, const char *from, int to_fd, const char *to,
                int flags)
{
    struct call call = { .kind = CALL_LINK,
                         .name = "linkat",
                         .fd = from_fd,
                         .source_fd = -1,
                         .path = from,
                         .new_path = to,
                         .flags = flags };

    REAL("linkat", linkat);
    MAKE(call, int, real(from_fd, from, to_fd, to, flags));
}

SEEN int unlinkat(int directory_fd, const char *path, int flags)
{
    struct call call = { .kind = CALL_UNLINK,
                         .name = "unlinkat",
                         .fd = directory_fd,
                         .source_fd = -1,
                         .path = path,
                         .flags = flags };

    REAL("unlinkat", unlinkat);
    MAKE(call, int, real(directory_fd, path, flags));
}

/* -- what is asked about a file ---------------------------------------------*/

SEEN int stat(const char *path, struct stat *status)
{
    struct call call = { .kind = CALL_STAT,
                         .name = "stat",
                         .fd = -1,
                         .source_fd = -1,
                         .path = path,
                         .status = status };

    REAL("stat64", stat);
    MAKE(call, int, real(path, status));
}

SEEN int lstat(const char *path, struct stat *status)
{
    struct call call = { .kind = CALL_STAT,
                         .name = "lstat",
                         .fd = -1,
                         .source_fd = -1,
                         .path = path,
                         .status = status };

    REAL("lstat64", lstat);
    MAKE(call, int, real(path, status));
}

SEEN int fstat(int fd, struct stat *status)
{
    struct call call = { .kind = CALL_STAT,
                         .name = "fstat",
                         .fd = fd,
                         .source_fd = -1,
                         .status = status };

    REAL("fstat64", fstat);
    MAKE(call, int, real(fd, status));
}

SEEN int fstatat(int directory_fd, const char *path, struct stat *status,
                 int flags)
{
    struct call call = { .kind = CALL_STAT,
                         .name = "fstatat",
                         .fd = directory_fd,
                         .source_fd = -1,
                         .path = path,
                         .status = status };

    REAL("fstatat64", fstatat);
    MAKE(call, int, real(directory_fd, path, status, flags));
}

SEEN int fstatfs(int fd, struct statfs *status)
{
    struct call call = {
        .kind = CALL_STATFS, .name = "fstatfs", .fd = fd, .source_fd = -1
    };

    REAL("fstatfs64", fstatfs);
    MAKE(call, int, real(fd, status));
}

SEEN int statvfs(const char *path, struct statvfs *status)
{
    struct call call = { .kind = CALL_STATFS,
                         .name = "statvfs",
                         .fd = -1,
                         .source_fd = -1,
                         .path = path };

    REAL("statvfs64", statvfs);
    MAKE(call, int, real(path, status));
}

SEEN ssize_t fgetxattr(int fd, const char *name, void *value, size_t bytes)
{
    struct call call = {
        .kind = CALL_ATTRIBUTE, .name = "fgetxattr", .fd = fd, .source_fd = -1
    };

    REAL("fgetxattr", fgetxattr);
    MAKE(call, ssize_t, real(fd, name, value, bytes));
}

SEEN ssize_t flistxattr(int fd, char *names, size_t bytes)
{
    struct call call = {
        .kind = CALL_ATTRIBUTE, .name = "flistxattr", .fd = fd, .source_fd = -1
    };

    REAL("flistxattr", flistxattr);
    MAKE(call, ssize_t, real(fd, names, bytes));
}

SEEN int fsetxattr(int fd, const char *name, const void *value, size_t bytes,
                   int flags)
{
    struct call call = {
        .kind = CALL_ATTRIBUTE, .name = "fsetxattr", .fd = fd, .source_fd = -1
    };

    REAL("fsetxattr", fsetxattr);
    MAKE(call, int, real(fd, name, value, bytes, flags));
}

SEEN int fchown(int fd, uid_t owner, gid_t group)
{
    struct call call = {
        .kind = CALL_ATTRIBUTE, .name = "fchown", .fd = fd, .source_fd = -1
    };

    REAL("fchown", fchown);
    MAKE(call, int, real(fd, owner, group));
}

SEEN int fchmod(int fd, mode_t mode)
{
    struct call call = {
        .kind = CALL_ATTRIBUTE, .name = "fchmod", .fd = fd, .source_fd = -1
    };

    REAL("fchmod", fchmod);
    MAKE(call, int, real(fd, mode));
}

SEEN int flock(int fd, int operation)
{
    struct call call = {
        .kind = CALL_LOCK, .name = "flock", .fd = fd, .source_fd = -1
    };

    REAL("flock", flock);
    MAKE(call, int, real(fd, operation));
}

SEEN int fcntl(int fd, int command, ...)
{
    struct call call = {
        .kind = CALL_LOCK, .name = "fcntl", .fd = fd, .source_fd = -1
    };
    va_list args;
    void *argument;

    REAL("fcntl64", fcntl);
    va_start(args, command);
    argument = va_arg(args, void *);
    va_end(args);
    if (command != F_OFD_SETLK && command != F_OFD_GETLK)
        return real(fd, command, argument);
    MAKE(call, int, real(fd, command, argument));
}

/* -- bytes ------------------------------------------------------------------*/

SEEN ssize_t pread(int fd, void *buffer, size_t length, off_t offset)
{
    struct call call = { .kind = CALL_READ,
                         .name = "pread",
                         .fd = fd,
                         .source_fd = -1,
                         .offset_bytes = (uint64_t)offset,
                         .length_bytes = length };
    struct call_fate fate;

    REAL("pread64", pread);
    fate = ask(&call);
    if (fate.errnum != 0) {
        errno = fate.errnum;
        return -1;
    }
    if (fate.end)
        return 0;
    return (ssize_t)tell(&call,
                         real(fd, buffer, at_most(length, &fate), offset));
}

SEEN ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    struct call call = { .kind = CALL_WRITE,
                         .name = "pwrite",
                         .fd = fd,
                         .source_fd = -1,
                         .bytes = bytes,
                         .offset_bytes = (uint64_t)offset,
                         .length_bytes = length };
    struct call_fate fate;

    REAL("pwrite64", pwrite);
    fate = ask(&call);
    if (fate.errnum != 0) {
        errno = fate.errnum;
        return -1;
    }
    return (ssize_t)tell(&call,
                         real(fd, bytes, at_most(length, &fate), offset));
}

SEEN ssize_t copy_file_range(int source_fd, off_t *from, int fd, off_t *to,
                             size_t length, unsigned flags)
{
    struct call call = { .kind = CALL_COPY,
                         .name = "copy_file_range",
                         .fd = fd,
                         .source_fd = source_fd,
                         .offset_bytes = (uint64_t)*to,
                         .length_bytes = length,
                         .source_offset_bytes = (uint64_t)*from };
    struct call_fate fate;

    REAL("copy_file_range", copy_file_range);
    fate = ask(&call);
    if (fate.errnum != 0) {
        errno = fate.errnum;
        return -1;
    }
    return (ssize_t)tell(
        &call, real(source_fd, from, fd, to, at_most(length, &fate), flags));
}

static void describe_ioctl(struct call *call, unsigned long request,
                           const void *argument)
{
    const struct file_clone_range *range = argument;

    call->kind = CALL_IOCTL;
    call->name = "ioctl";
    if (request == FICLONE) {
        call->kind = CALL_CLONE_FILE;
        call->name = "ioctl FICLONE";
        call->source_fd = (int)(intptr_t)argument;
    } else if (request == FICLONERANGE) {
        call->kind = CALL_CLONE;
        call->name = "ioctl FICLONERANGE";
        call->source_fd = (int)range->src_fd;
        call->offset_bytes = range->dest_offset;
        call->length_bytes = range->src_length;
        call->source_offset_bytes = range->src_offset;
    } else if (request == FS_IOC_FIEMAP) {
        call->kind = CALL_FIEMAP;
        call->name = "ioctl FIEMAP";
    }
}

SEEN int ioctl(int fd, unsigned long request, ...)
{
    struct call call = { .fd = fd, .source_fd = -1 };
    va_list args;
    void *argument;

    REAL("ioctl", ioctl);
    va_start(args, request);
    argument = va_arg(args, void *);
    va_end(args);
    describe_ioctl(&call, request, argument);
    MAKE(call, int, real(fd, request, argument));
}

SEEN int fallocate(int fd, int mode, off_t offset, off_t length)
{
    struct call call = { .kind = CALL_ALLOCATE,
                         .name = "fallocate",
                         .fd = fd,
                         .source_fd = -1,
                         .offset_bytes = (uint64_t)offset,
                         .length_bytes = (uint64_t)length,
                         .flags = mode };

    REAL("fallocate64", fallocate);
    MAKE(call, int, real(fd, mode, offset, length));
}

SEEN int ftruncate(int fd, off_t size)
{
    struct call call = { .kind = CALL_TRUNCATE,
                         .name = "ftruncate",
                         .fd = fd,
                         .source_fd = -1,
                         .offset_bytes = (uint64_t)size };

    REAL("ftruncate64", ftruncate);
    MAKE(call, int, real(fd, size));
}

SEEN int fsync(int fd)
{
    struct call call = {
        .kind = CALL_FLUSH, .name = "fsync", .fd = fd, .source_fd = -1
    };

    REAL("fsync", fsync);
    MAKE(call, int, real(fd));
}
