/* SPDX-License-Identifier: Apache-2.0 */
/* The store over the local kernel: any mounted filesystem, block devices to
 * read. What each function promises stands in store.h. */
#ifndef LOCAL_H
#define LOCAL_H

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

extern const struct ds_store_ops local_store_ops;

/* How this process came by the file decides what may be done with it. */
struct local_target {
    int directory_fd;   /* of the directory that holds both names, or -1 */
    char *final_path;   /* as requested; NULL: the file is a source */
    char *partial_path; /* final_path + ".partial" */
    bool installed;     /* it has its final name */
    bool replaced;      /* and another file had it before, which is gone */
    bool discarded;     /* it has no name */
    bool holds_old;     /* a whole file was cloned into it: ranges that were
                           never written may hold bytes */
    /* local_run.c; several threads may write: */
    _Atomic uint64_t written_end_bytes; /* of the last write */
    _Atomic unsigned waiting_count; /* of writes apart from each other, which
                                       are not on their way to storage yet */
};

struct local_file {
    struct ds_file base;
    int fd;
    bool is_block_device;
    bool is_quiet; /* quiesce succeeded; `quiet` is from then */
    struct stat quiet;
    bool is_reopened; /* a target being read back */
    pthread_mutex_t layout_lock;
    struct local_layout *layout; /* local_physical.c; or NULL */
    bool has_no_tree; /* local_btrfs.c could not read it: do not ask again */
    _Atomic int direct_fd; /* local_direct.c: 0: not tried, -1: none, else the
                              descriptor plus one */
    bool reads_direct;     /* large reads go past the page cache */
    _Atomic int64_t turn_extent_count; /* local_turn.c: plus one; 0: unknown */
    struct local_target target;
};

static inline struct local_file *local_of(struct ds_file *file)
{
    return (struct local_file *)file;
}

static inline const struct local_file *local_of_const(const struct ds_file *f)
{
    return (const struct local_file *)f;
}

/** A ds_file that only names `path`, for ds_fail_at before there is one. */
static inline struct ds_file local_named(const char *path)
{
    struct ds_file named = { .store = &local_store_ops, .path = NULL };
    named.path = (char *)(uintptr_t)path;
    return named;
}

static inline void local_cleanup_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

/* local_open.c */
int local_open(const char *path, struct ds_file **out, struct ds_error *err);
void local_close(struct ds_file *file);
int local_read(struct ds_file *file, uint64_t offset_bytes, void *buffer,
               size_t length_bytes, struct ds_error *err);
/** Wrap `fd`, which is taken over also on failure. */
int local_adopt(int fd, const char *path, struct ds_file **out,
                struct ds_error *err);
/** "a fifo", "a directory" ... */
const char *local_kind_name(mode_t mode);
/** The directory part of `path`, "." if it has none; owned by the caller,
 * NULL when out of memory. */
char *local_directory_of(const char *path);
/** The part of `path` after its last slash. */
const char *local_name_of(const char *path);
/** `directory`/`name`, or `name` alone in "."; NULL when out of memory. */
char *local_join(const char *directory, const char *name);

/* local_reference.c */
int local_open_reference(const struct ds_file *from,
                         const char *allow_directory, const char *name,
                         struct ds_file **out, struct ds_error *err);

/* local_lock.c */
int local_quiesce(struct ds_file *file, struct ds_error *err);
int local_check_unchanged(struct ds_file *file, struct ds_error *err);
/* local_vmware.c */
int local_check_vmware(const struct local_file *file, struct ds_error *err);

/* local_physical.c */
int local_physical(struct ds_file *file, uint64_t offset_bytes,
                   uint64_t length_bytes, struct ds_physical_extent *extents,
                   size_t extent_count_max, size_t *count,
                   struct ds_error *err);
int local_exclusive(struct ds_file *file, uint64_t offset_bytes,
                    uint64_t length_bytes, uint64_t *bytes,
                    struct ds_error *err);
void local_forget(struct ds_file *file);
void local_drop_layout(struct local_file *file);

/* local_btrfs.c */
/** What the tree has from `begin_bytes` on, where an extent begins: holes are
 * left out; *end_bytes is how far the answer holds. The file is flushed first.
 * False where this is no btrfs, or may not be read. */
bool local_btrfs_layout(int fd, uint64_t begin_bytes,
                        struct ds_physical_extent *extents,
                        size_t extent_count_max, size_t *count,
                        uint64_t *end_bytes);

/* local_storage.c */
int local_storage_id(struct ds_file *file, struct ds_storage_id *out,
                     struct ds_error *err);
/** Whether the file system is reached over a protocol whose server may copy
 * by itself: NFS, SMB, FUSE. */
uint32_t local_magic(int fd); /* f_type, 0 if unknown */
bool local_is_remote(int fd);
/** FS_IOC_GETFLAGS and FS_IOC_FSGETXATTR, 0 where there are none. */
bool local_is_nocow(int fd);
bool local_is_realtime(int fd);
/** Whether a filesystem that could not be probed is one that shares. */
bool local_guess_reflink(int fd);
/** The options of the mount that `fd` lies in, as /proc/self/mountinfo has
 * them, or NULL; the caller's to free. */
char *local_mount_options(int fd);
/** Whether both lie on one filesystem (btrfs by fsid). */
bool local_same_filesystem(int fd_a, int fd_b);

/* local_attributes.c */
/** Give the empty `fd` the flags of `source_fd` on which sharing depends.
 * Whether they agree now. */
bool local_match_flags(int source_fd, int fd);
/** The bits of a mode that all of `files` grant to those whom `source` names
 * by its owner and group. False: one of them is not for that owner. */
bool local_common_mode(const struct local_file *source,
                       struct ds_file *const *files, size_t count, mode_t *out);
/** Owner, mode, label, ACL and xattrs, never wider than the source's, nor than
 * `most`. */
int local_copy_attributes(const struct local_file *source, mode_t most, int fd,
                          const char *path, struct ds_error *err);

/* local_clone.c */
int local_name_for(const struct ds_file *source, const char *target_path,
                   char **out, struct ds_error *err);
int local_domain(struct ds_file *source, const char *target_path,
                 struct ds_clone_domain *out, struct ds_error *err);
/** FICLONERANGE; 0 or -errno. */
int local_clone(int source_fd, int target_fd, uint64_t source_offset_bytes,
                uint64_t target_offset_bytes, uint64_t length_bytes);
/** The clone operations; 0 or -errno, as all below. */
int local_clone_range(const struct ds_run *run, const struct ds_op *op);
int local_clone_file(const struct ds_run *run, const struct ds_op *op);

/* local_turn.c */
/** Before a call that clones `length_bytes` of `file`, or tells where they lie;
 * at most half a second. What it returns goes to local_turn_end. */
int local_turn_begin(struct local_file *file, uint64_t length_bytes);
void local_turn_end(int turn);

/* local_run.c */
int local_run(const struct ds_run *run, struct ds_op *ops, size_t count,
              struct ds_error *err);
int local_write_fully(int fd, const void *bytes, uint64_t length_bytes,
                      uint64_t offset_bytes);

/* What has been done of a batch, and when the user was last told. */
struct local_progress {
    const struct ds_run *run;
    struct ds_progress numbers;
    int64_t told_ns;
    bool cancelled;
};
/** Tell the user, at most every 100 ms. Whether to stop. */
bool local_progress_tick(struct local_progress *progress);

/* local_direct.c */
/** Large reads of the file go past the page cache from now on. */
void local_from_storage(struct ds_file *file);
/** Read as much as can be read past the page cache from the beginning of the
 * range; how much that was, 0 if nothing. */
size_t local_direct_read(struct local_file *file, uint64_t offset_bytes,
                         void *buffer, size_t length_bytes);
/** Reserve room for what local_write_large is going to write past the cache;
 * advice. Give back what it did not write. */
void local_reserve(struct local_file *file, uint64_t offset_bytes,
                   uint64_t length_bytes);
/** The same for one write of which nobody knows what follows it, while others
 * write beside: where those would wait for each other without. */
void local_reserve_alone(struct local_file *file, uint64_t offset_bytes,
                         uint64_t length_bytes);
void local_give_back(struct local_file *file, uint64_t offset_bytes,
                     uint64_t length_bytes);
/** Write, large stretches past the page cache. 0 or -errno. `bytes` should
 * lie in memory as the range lies in the file, modulo 4096. */
int local_write_large(struct local_file *file, const void *bytes,
                      uint64_t length_bytes, uint64_t offset_bytes);
void local_close_direct(struct local_file *file);

/* local_copy.c */
/** Run the COPY operations among `ops`, setting their statuses. */
void local_copy(const struct ds_run *run, struct ds_op *ops, size_t count,
                struct local_progress *progress);

/* local_target.c */
/** Whether `fd` is the inode that `name` names, links not followed: 1, 0,
 * -errno. */
int local_has_name(int fd, int directory_fd, const char *name);
/** fsync, begun again where a signal interrupted it. 0 or -errno. */
int local_flush(int fd);
/** open, likewise. A descriptor, or -1 with errno. */
int local_open_fd(const char *path, int flags);
int local_create(const struct ds_create_request *request, struct ds_file **out,
                 struct ds_error *err);
int local_exists(const char *path, struct ds_error *err);
bool local_same(const struct ds_file *a, const struct ds_file *b);
int local_guard_same(const struct ds_file *const *sources, size_t source_count,
                     const char *const *paths, size_t path_count,
                     struct ds_error *err);
int local_sync(struct ds_file *file, struct ds_error *err);
int local_reopen(struct ds_file *target, struct ds_file **out,
                 struct ds_error *err);
bool local_read_back(struct ds_file *target, uint64_t offset_bytes,
                     void *buffer, size_t length_bytes);
void local_prefetch(struct ds_file *file, uint64_t offset_bytes,
                    uint64_t length_bytes);
int local_space(const char *target_path, struct ds_space *out,
                struct ds_error *err);

/* local_describe.c */
int local_describe(const char *path, bool probe, struct ds_storage *out,
                   struct ds_error *err);

/* local_install.c */
int local_install(struct ds_file *target, bool replace, struct ds_error *err);
int local_install_part(struct ds_file *target, struct ds_error *err);
void local_settle(struct ds_file *target);
int local_abandoned(const char *path, const char *first, bool remove,
                    struct ds_error *err);
bool local_has_replaced(const struct ds_file *target);
void local_discard(struct ds_file *target);

#endif
