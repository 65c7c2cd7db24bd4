/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The border between the engine and the places where files live.
 *
 *   engine, formats ---> struct ds_store_ops ---> fsclone/local, fsclone/nfs
 *
 * A store opens files to read, creates targets that appear whole or not at
 * all, and runs batches of plan operations. It knows no format. Formats see
 * only ds_file_read and friends below.
 *
 * Batches: operations between two barriers are disjoint and unordered, so a
 * store may run them in any order and in parallel. Each gets a status (0 or
 * -errno); the batch's return value is for faults of the store itself.
 */
#ifndef DS_BASE_STORE_H
#define DS_BASE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <diskshift/convert.h>
#include <diskshift/storage.h>
#include <diskshift/traffic.h>

#include "buffer.h"

struct ds_store_ops;
struct ds_clone_via;

/** An open file. Stores embed this at the start of their own struct. */
struct ds_file {
    const struct ds_store_ops *store;
    char *path;          /* as messages name it; owned */
    uint64_t size_bytes; /* at open; for targets 0 */
    bool settled;        /* nobody writes it: quiesce succeeded, or it is being
                            read back. Then `physical` costs little. */
    bool reads_large;    /* large aligned reads go past the cache: fewer, larger
                            ones cost less */
};

/** How a (source file, target directory) pair shares blocks. */
struct ds_clone_domain {
    bool range; /* ranges of granularity_bytes can be shared */
    bool file;  /* the whole file can be shared in one call */
    bool known; /* false: nothing could be probed, the flags are a guess */
    uint32_t granularity_bytes; /* power of two; valid also when !range */
    bool whole_blocks; /* nor can the block be shared in which a file ends */
    bool prefers_file; /* a range costs about what a whole file does */
    enum ds_copy_reason reason; /* why not, when !range */
};

enum ds_physical_flags {
    DS_PHYSICAL_UNWRITTEN = 1, /* allocated, reads as zeros */
    DS_PHYSICAL_UNPROVABLE = 2 /* unknown, delalloc, encoded, inline, not
                                  aligned, or no address: must be read */
};

/** Where a range of a file lies on storage. Gaps between are holes. */
struct ds_physical_extent {
    uint64_t offset_bytes; /* in the file */
    uint64_t length_bytes;
    uint64_t physical_bytes;
    unsigned flags; /* enum ds_physical_flags */
};

/** Identifies what physical addresses are relative to. */
struct ds_storage_id {
    bool known;
    uint8_t bytes[24];
};

struct ds_create_request {
    const char *path;                      /* final name */
    const struct ds_file *attributes_from; /* owner, mode, label, xattrs,
                                       NOCOW; NULL: 0600, plain */
    bool clone_from; /* the file will share with attributes_from */
    struct ds_file *const *within; /* what it will hold comes from all of */
    size_t within_count;           /* these: its mode admits nobody whom one
                                      of them keeps out */
    struct ds_clone_via *via;      /* by which its blocks are shared; or NULL */
};

struct ds_run {
    struct ds_file *const *sources; /* by ds_op.source_index */
    struct ds_file *const *targets; /* by ds_op.target_index */
    ds_progress_fn *progress;       /* may be NULL */
    void *user;
    /** May be NULL. Told the bytes of a COPY when they were written, in any
     * order and from any thread; it may use their memory. Not told of what
     * does not pass through here: a server's copy. */
    void (*copied)(void *user, const struct ds_op *op, uint64_t skip_bytes,
                   void *bytes, size_t length_bytes);
};

/** What a place can do, for a warning before space runs out. */
struct ds_space {
    uint64_t free_bytes; /* for this user */
};

struct ds_store_ops {
    const char *name; /* "local" */
    /** A target's sources may lie in other stores: `run` copies from them by
     * their `read`. Else the store never sees them. */
    bool takes_any_source;
    /** How many threads are worth having beyond the cores, since each waits for
     * its read or write while the others go on. 0: a few. */
    unsigned waiting_count;

    /* -- sources -------------------------------------------------------- */

    /** Open a regular file (or block device) to read, without updating its
     * access time where allowed. */
    int (*open)(const char *path, struct ds_file **out, struct ds_error *err);

    /** Open `name`, which `from` refers to: a regular file beside `from`, or
     * beneath `allow_directory` when that is not NULL. Never a URL, device
     * or anything that a link leads outside. REFUSED otherwise. */
    int (*open_reference)(const struct ds_file *from,
                          const char *allow_directory, const char *name,
                          struct ds_file **out, struct ds_error *err);
    void (*close)(struct ds_file *file);

    /** Whether both are the same file, by whatever name. */
    bool (*same)(const struct ds_file *a, const struct ds_file *b);

    /** Read exactly. Beyond the end of the file: CORRUPT, truncated. */
    int (*read)(struct ds_file *file, uint64_t offset_bytes, void *buffer,
                size_t length_bytes, struct ds_error *err);

    /** Read large stretches of this file from storage itself from now on, and
     * not from a cache, where that can be had. Before other threads read it.
     * NULL: there is no such way. */
    void (*from_storage)(struct ds_file *file);

    /** Make the file quiet: refuse when somebody writes to it (QEMU's and
     * VMware's locks), hold read locks, flush it, remember size and times. */
    int (*quiesce)(struct ds_file *file, struct ds_error *err);

    /** REFUSED when size, mtime or ctime are not as at quiesce. */
    int (*check_unchanged)(struct ds_file *file, struct ds_error *err);

    /** Up to `extent_count_max` physical extents that intersect
     * [offset, offset + length), in order, after a flush. Extents are not
     * clipped to the range. *count < max means there are no more in it.
     * UNSUPPORTED where the store has no such map. The answer for a file that
     * is quiet or being read back may be as old as the last `forget`. */
    int (*physical)(struct ds_file *file, uint64_t offset_bytes,
                    uint64_t length_bytes, struct ds_physical_extent *extents,
                    size_t extent_count_max, size_t *count,
                    struct ds_error *err);
    /** Of a range of the file, the bytes on storage that nobody else refers
     * to: what removing it frees. NULL: the store cannot tell. */
    int (*exclusive)(struct ds_file *file, uint64_t offset_bytes,
                     uint64_t length_bytes, uint64_t *bytes,
                     struct ds_error *err);
    /** Let the next `physical` ask anew. NULL: nothing is remembered. */
    void (*forget)(struct ds_file *file);
    int (*storage_id)(struct ds_file *file, struct ds_storage_id *out,
                      struct ds_error *err);

    /* -- targets -------------------------------------------------------- */

    /** What can be shared between `source` and a file that would be made at
     * `target_path`. Probes one block into an unnamed file. */
    int (*domain)(struct ds_file *source, const char *target_path,
                  struct ds_clone_domain *out, struct ds_error *err);

    /** The same where `via` shares the blocks: what it can, and REFUSED for
     * files that are not on it. Nothing is tried. NULL: no array serves this
     * store's files. */
    int (*via_domain)(struct ds_file *source, const char *target_path,
                      struct ds_clone_via *via, struct ds_clone_domain *out,
                      struct ds_error *err);

    /** `path` without what only says how to reach it, which the store keeps in
     * mind from now on; the caller's to free. NULL: paths have no such part. */
    int (*plain_path)(const char *path, char **out, struct ds_error *err);

    /** The name by which a file at `target_path` refers to `source`: its
     * base name when both lie in one directory, else its absolute name. *out
     * is the caller's to free. REFUSED for what is no regular file. */
    int (*name_for)(const struct ds_file *source, const char *target_path,
                    char **out, struct ds_error *err);

    /** Whether `path` exists (1, 0, negated class). */
    int (*exists)(const char *path, struct ds_error *err);

    /** REFUSED when any path is one of the source's files by any name. Both
     * may be a thousand: expected to take their sum and not their product. */
    int (*guard_same)(const struct ds_file *const *sources, size_t source_count,
                      const char *const *paths, size_t path_count,
                      struct ds_error *err);

    /** Create PATH.partial, locked. An unlocked leftover is removed first, a
     * locked one is REFUSED. The file is readable as well as writable. */
    int (*create)(const struct ds_create_request *request, struct ds_file **out,
                  struct ds_error *err);

    /** Run one batch; sets each op's status. CANCELLED stops early. */
    int (*run)(const struct ds_run *run, struct ds_op *ops, size_t count,
               struct ds_error *err);

    /** Read back from storage itself, and from no cache, what was written.
     * False where that cannot be had: large aligned stretches alone can, and
     * not everywhere. From any thread. NULL: never. */
    bool (*read_back)(struct ds_file *target, uint64_t offset_bytes,
                      void *buffer, size_t length_bytes);

    /** Flush file data and metadata; later reads come from storage. */
    int (*sync)(struct ds_file *file, struct ds_error *err);

    /** Open what `create` made, to read it back; a new handle. */
    int (*reopen)(struct ds_file *target, struct ds_file **out,
                  struct ds_error *err);

    /** Advice: this range is going to be read. NULL: none is taken. */
    void (*prefetch)(struct ds_file *file, uint64_t offset_bytes,
                     uint64_t length_bytes);

    /** Give the file its final name and flush the directory. REFUSED when
     * the name exists and !replace. */
    int (*install)(struct ds_file *target, bool replace, struct ds_error *err);

    /** Give one of a target's further files its final name, as `install`
     * without replacing. The .partial name stays as a second one until
     * `settle`, right after the first file has got its own. NULL: there is
     * only `install`. */
    int (*install_part)(struct ds_file *target, struct ds_error *err);
    void (*settle)(struct ds_file *target);

    /** Whether `path` was left by `install_part` of a maker that is gone: it
     * has both names and nobody's lock, and the target's first file, `first`,
     * was not named. 1, 0, negated class. With `remove` it is removed; of one
     * whose target is whole only the .partial name. NULL: never. */
    int (*abandoned)(const char *path, const char *first, bool remove,
                     struct ds_error *err);

    /** Whether the target has replaced another file, though `install` then
     * failed: the other is gone and this one is whole, so it is better left.
     * NULL: never. */
    bool (*has_replaced)(const struct ds_file *target);

    /** Remove a target under whatever name it has; for undo. */
    void (*discard)(struct ds_file *target);

    /** By which ways data came into this target, a line for the report. NULL:
     * there is but one. */
    void (*account)(const struct ds_file *target, char *text,
                    size_t text_bytes);

    int (*space)(const char *target_path, struct ds_space *out,
                 struct ds_error *err);

    /** What this store's calls to servers were so far. NULL: it has none. */
    void (*traffic)(ds_traffic_fn *each, void *user);

    /** As ds_storage_describe; `store` is filled already. NULL: not to be
     * had. */
    int (*describe)(const char *path, bool probe, struct ds_storage *out,
                    struct ds_error *err);
};

/* -- what formats use ---------------------------------------------------- */

static inline int ds_file_read(struct ds_file *file, uint64_t offset_bytes,
                               void *buffer, size_t length_bytes,
                               struct ds_error *err)
{
    return file->store->read(file, offset_bytes, buffer, length_bytes, err);
}

static inline void ds_file_close(struct ds_file *file)
{
    if (file != NULL)
        file->store->close(file);
}

/* A sliding view of a file for tables that are walked forwards: reads are
 * large where the walk is sequential, small where it jumps. */
#ifndef DS_WINDOW_BYTES_MAX /* smaller where fuzzers run */
#define DS_WINDOW_BYTES_MAX ((size_t)256 * 1024)
#endif

/* So much at once of a file that is read past the cache, after a few steps. */
#define DS_WINDOW_LARGE_BYTES DS_BUFFER_HUGE_BYTES

struct ds_window {
    uint8_t *buffer; /* room_bytes, allocated at first use */
    size_t room_bytes;
    unsigned step_count; /* forward since the last jump */
    const struct ds_file *file;
    uint64_t offset_bytes;
    size_t length_bytes;
};

/**
 * Make at least `least` and at most `most` bytes at `offset_bytes` of `file`
 * visible. *bytes is valid until the next call, *available says how many are
 * there, always a multiple of `least` counted from the offset. `least` is
 * the entry's size, 1 to DS_WINDOW_BYTES_MAX. CORRUPT when the file ends
 * before `least` bytes.
 */
int ds_window_view(struct ds_window *window, struct ds_file *file,
                   uint64_t offset_bytes, size_t least, size_t most,
                   const uint8_t **bytes, size_t *available,
                   struct ds_error *err);
void ds_window_free(struct ds_window *window);

/* A sliding view of a file's physical extents. */
#define DS_PHYSICAL_WINDOW_COUNT 256

struct ds_physical_window {
    struct ds_physical_extent *extents;
    size_t count;
    const struct ds_file *file;
    uint64_t begin_bytes; /* the range the extents answer for */
    uint64_t end_bytes;
};

/**
 * What lies at `offset_bytes`: *out is clipped to begin there and *hole says
 * whether it is a hole (then only its range is meaningful). The answer spans
 * no further than `limit_bytes`.
 */
int ds_physical_at(struct ds_physical_window *window, struct ds_file *file,
                   uint64_t offset_bytes, uint64_t limit_bytes,
                   struct ds_physical_extent *out, bool *hole,
                   struct ds_error *err);
void ds_physical_window_free(struct ds_physical_window *window);

/**
 * Whether a hole of the file begins at `offset_bytes`, which reads as zeros
 * and need not be read. *length_bytes is how far is asked for and becomes how
 * far the answer holds. A file that is not settled, or of which nothing is
 * known, has none.
 */
bool ds_file_hole(struct ds_physical_window *window, struct ds_file *file,
                  uint64_t offset_bytes, uint64_t *length_bytes);

#endif
