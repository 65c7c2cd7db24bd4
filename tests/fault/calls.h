/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls by which the local store reaches files, watched and made
 * to fail. The program's own definitions stand before the C library's, so the
 * code that is tested is what is shipped:
 *
 *   fsclone/local ---> pread() of calls.c ---> watcher: what becomes of it?
 *                            |                    fail | part of it | all
 *                            v
 *                      the C library's ---> kernel
 *
 * Linked into unit tests, which set `calls_watch`.
 * Advice (posix_fadvise, sync_file_range) and looking about (opendir, the
 * mount table) pass unseen: their failure is ignored by design.
 */
#ifndef DS_TESTS_CALLS_H
#define DS_TESTS_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum call_kind {
    CALL_OPEN,
    CALL_STAT,   /* of a descriptor or a path */
    CALL_STATFS, /* fstatfs, statvfs */
    CALL_READ,
    CALL_WRITE,
    CALL_COPY,       /* copy_file_range */
    CALL_CLONE,      /* FICLONERANGE */
    CALL_CLONE_FILE, /* FICLONE */
    CALL_FIEMAP,
    CALL_IOCTL, /* any other */
    CALL_ALLOCATE,
    CALL_TRUNCATE,
    CALL_FLUSH,
    CALL_LOCK, /* flock, fcntl */
    CALL_RENAME,
    CALL_LINK,
    CALL_UNLINK,
    CALL_ATTRIBUTE, /* owner, mode, xattrs */
    CALL_KIND_COUNT
};

struct call {
    enum call_kind kind;
    const char *name;
    int fd;           /* what it acts on, or a directory; -1: by path alone */
    int source_fd;    /* CLONE, CLONE_FILE, COPY */
    const char *path; /* as given, or NULL */
    const char *new_path;         /* RENAME, LINK */
    const void *bytes;            /* WRITE */
    uint64_t offset_bytes;        /* in fd; TRUNCATE: the new size */
    uint64_t length_bytes;        /* 0 where there is none */
    uint64_t source_offset_bytes; /* CLONE, COPY */
    int flags;                    /* OPEN, ALLOCATE, RENAME */
    struct stat *status;          /* STAT: where the answer is put */
};

/* What is to become of a call. All zero: what the kernel says. */
struct call_fate {
    int errnum;          /* fail so, without being made */
    bool end;            /* READ: nothing is there any more */
    uint64_t most_bytes; /* READ, WRITE, COPY: no more than this; 0: all */
};

struct calls_watch {
    /** Before a call, from any thread. */
    struct call_fate (*before)(const struct call *call);
    /** After one that was made; `result` is its return value. May be NULL. */
    void (*after)(const struct call *call, int64_t result);
};

/** Who is asked; NULL: nobody. Not to be changed while calls are made. */
extern const struct calls_watch *calls_watch;

/** The file a call acts on, as the kernel names it, into `path`. */
void calls_path(const struct call *call, char *path, size_t path_bytes);

#endif
