/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store of files on NFS servers that nobody has mounted:
 *
 *   nfs://host[:port]/export/directory/name[?key=value&...]
 *
 *   engine ---- struct ds_store_ops ----> remote_open, _target, _run
 *                                           |                    |
 *      names, attributes, reads, writes     |                    |  CLONE,
 * COPY, |                    |  DEALLOCATE NFSv3 (nfs3.h), by libnfs
 * <---------+                    | NFSv4.2 (nfs42.h), our own
 * <------------------------------+
 *
 * A server is known by host, port and user; it has one connection of each
 * kind. A mount is the handle of a directory there. Both are shared by all
 * files and live until the process ends. A file has a handle of each kind. That
 * both mean the same file is not taken for granted: the two sides' file ids
 * must agree, else NFSv4.2 is not used and the report says why.
 *
 * What can be shared is found out by cloning one block of the source into a
 * file beside the target, which is removed at once (remote_domain.c). Data that
 * the server will not share it is asked to copy (COPY, synchronous), what it
 * will not copy is read and written here; each target keeps count of which
 * (`account`).
 *
 * libnfs is loaded when the first nfs:// path is used, since to start with a
 * further shared library would cost every run of the program its time.
 *
 * Reads are in flight together as nfs3.h has it: the engine's workers and those
 * of remote_copy.c call at the same time, what follows a window is read with
 * it.
 *
 * Writes are flushed together at the end, and a write verifier that changed
 * since the target was created is an error: the server lost some.
 *
 * No locks: NFSv3's are a service of their own that libnfs does not speak. So a
 * leftover .partial is never cleared, it is refused with a word on what to do.
 * Whether somebody has a source open for writing is asked by LOCKT, where there
 * is NFSv4.2, and seen from VMware's lock files.
 */
#ifndef REMOTE_H
#define REMOTE_H

#include <pthread.h>

#include "nfs3.h"
#include "nfs42.h"
#include "store.h"

#define REMOTE_SCHEME "nfs://"
#define REMOTE_PORT_STANDARD 2049u

extern const struct ds_store_ops remote_store_ops;

/* -- remote_url.c: paths -------------------------------------------------- */

/* How to reach a server. Given once with any path of it, it holds for all. */
struct remote_settings {
    uint16_t port;       /* of NFS; 0: the standard one */
    uint16_t mount_port; /* of MOUNT; 0: ask the server's rpcbind */
    struct nfs_user user;
    bool no_nfs42;   /* not to be tried */
    int timeout_ms;  /* for one reply */
    int patience_ms; /* for a server that only says DELAY, or is restarted */
    uint32_t slot_count, piece_count; /* of NFSv4.2 at most; 0: no bound */
    uint32_t lane_count; /* by which a target's clones go; 1: straight; 0: by
                            what is measured */
};

struct remote_url {
    char *host;      /* without the brackets of IPv6 */
    char *directory; /* from the server's root; "/" at least */
    char *name;      /* in it; may be empty */
    char *plain;     /* the path without its options */
    bool has_settings;
    struct remote_settings settings; /* defaults for what is not said */
};

/** ARG when it is no such path or has options that are not known. */
int remote_url_parse(const char *path, struct remote_url *out,
                     struct ds_error *err);
void remote_url_free(struct remote_url *url);

/* -- remote_mount.c: servers and mounts ----------------------------------- */

/* Headers and tables lie near each other and are read in small parts, each of
 * which would be a round trip. So parts of files are kept, as many for all
 * files of a server together: a disk may lie in a thousand. Who goes on where
 * a window ended gets a larger one, which is several READs in flight. Windows
 * are filled without the lock, so several threads' are in flight, too. */
#define REMOTE_WINDOW_BYTES ((size_t)256 * 1024)
#define REMOTE_WINDOW_BYTES_MAX ((size_t)4 * 1024 * 1024)
#define REMOTE_WINDOW_COUNT 8

struct remote_window {
    const struct remote_file *file; /* NULL: free */
    uint64_t offset_bytes;
    size_t length_bytes; /* while it is filled: what is asked for */
    size_t room_bytes;   /* of `bytes`, kept when free */
    uint8_t *bytes;
    uint64_t used_at; /* the larger, the later */
    bool is_filled_now;
};

struct remote_server {
    struct remote_server *next;
    char *host;
    struct remote_settings settings;
    struct nfs3 *nfs3;
    pthread_mutex_t window_lock;
    pthread_cond_t window_filled;
    struct remote_window windows[REMOTE_WINDOW_COUNT];
    uint64_t window_time;
    /* NFSv4.2, under the lock: */
    pthread_mutex_t lock;
    struct nfs42 *session; /* NULL: none, or not yet */
    struct nfs_count counts42[NFS42_OP_COUNT];
    bool session_tried;
    bool copy_refused;       /* it has no COPY that suits us */
    struct ds_error why_not; /* message: why there is no session */
};

struct remote_mount {
    struct remote_mount *next;
    struct remote_server *server;
    char *directory; /* from the server's root */
    struct nfs3_handle handle;
    pthread_mutex_t lock;
    /* What the last probe found between files of that filesystem (fsid) and
     * this directory; under the lock. */
    bool probed;
    uint64_t probed_filesystem_id;
    struct ds_clone_domain domain;
};

/** The first of the list. */
const struct remote_server *remote_servers(void);
/** The mount of url->directory; not owned. */
int remote_mount_get(const struct remote_url *url, struct remote_mount **out,
                     struct ds_error *err);
/** Error `-status` of a call by NFSv3; says why when there was no answer. */
int remote_fail(struct remote_server *server, int status, const char *path,
                const char *what, struct ds_error *err);

/** The server's session, with its lock held; NULL: there is none, and the
 * lock is not held. */
struct nfs42 *remote_session(struct remote_server *server);
void remote_session_done(struct remote_server *server);

/** What went over the network, of all servers. */
void remote_traffic(ds_traffic_fn *each, void *user);

/* -- files ----------------------------------------------------------------- */

/* By which way data came into a target. */
struct remote_account {
    uint64_t cloned_bytes, clone_count;
    uint64_t staged_count;             /* of the clones: by way of lanes */
    uint64_t copied_bytes, copy_count; /* by the server */
    uint64_t written_bytes;            /* from here */
    uint64_t read_bytes;
    uint64_t unsure_count; /* of what an array did and kept no record */
};

/* Files beside a target in which its clones are put together: remote_lanes.c */
struct remote_pace {
    uint64_t ns, count;  /* of pieces, and what they took */
    uint64_t trip_count; /* in which they went there */
};
struct remote_lanes {
    struct remote_file *files[NFS42_SLOT_COUNT_MAX];
    uint32_t count;
    bool given_up;
    struct remote_pace direct, staged;
    uint64_t trip_ns; /* 0: not measured */
};

struct remote_file {
    struct ds_file base;
    struct remote_mount *mount;
    char *name; /* in the mount's directory, as it is now */
    struct nfs3_handle handle;
    struct nfs3_facts opened; /* as then: kind, owner, file id */
    struct nfs3_facts quiet;  /* as at quiesce */
    bool is_quiet;
    bool is_steady;            /* not written here: small reads go by windows */
    uint64_t window_end_bytes; /* of the last; under window_lock */
    size_t window_length_bytes; /* which was so long */
    bool handle42_tried;
    struct nfs42_handle handle42; /* length 0: NFSv4.2 cannot be used */
    struct ds_error why_not42;
    /* targets: */
    char *final_name; /* NULL: a source, or read back */
    char *final_path;
    bool installed;
    bool discarded;
    struct nfs3_verifier verifier; /* of unflushed writes */
    struct ds_clone_via *via; /* by which its blocks are shared; NULL: CLONE */
    struct remote_account account;
    struct remote_lanes lanes;
};

static inline struct remote_file *remote_of(const struct ds_file *file)
{
    return (struct remote_file *)(uintptr_t)file;
}

static inline bool remote_is(const struct ds_file *file)
{
    return file->store == &remote_store_ops;
}

static inline struct nfs3 *remote_nfs3(const struct remote_file *file)
{
    return file->mount->server->nfs3;
}

/** What `name` in the mount is, a link not followed; 0 or -errno. */
int remote_stat(struct remote_mount *mount, const char *name,
                struct nfs3_facts *out);
static inline bool remote_same_inode(const struct nfs3_facts *a,
                                     const struct nfs3_facts *b)
{
    return a->filesystem_id == b->filesystem_id && a->file_id == b->file_id;
}

/* remote_open.c */
int remote_open(const char *path, struct ds_file **out, struct ds_error *err);
/** Open `name` in the mount. `path` names it in messages. */
int remote_open_name(struct remote_mount *mount, const char *name,
                     const char *path, struct remote_file **out,
                     struct ds_error *err);
/** Create it with a name that nobody else would choose, for nobody but us. */
int remote_create_own(struct remote_mount *mount, const char *name,
                      const char *path, struct remote_file **out,
                      struct ds_error *err);
/** Create it; see nfs3_create. */
int remote_create_name(struct remote_mount *mount, const char *name,
                       const char *path, const uint32_t *mode,
                       struct remote_file **out, struct ds_error *err);
int remote_open_reference(const struct ds_file *from,
                          const char *allow_directory, const char *name,
                          struct ds_file **out, struct ds_error *err);
void remote_close(struct ds_file *file);
bool remote_same(const struct ds_file *a, const struct ds_file *b);
int remote_read(struct ds_file *file, uint64_t offset_bytes, void *buffer,
                size_t length_bytes, struct ds_error *err);
struct nfs3_write remote_write_of(struct remote_file *file,
                                  uint64_t offset_bytes, const void *bytes,
                                  uint64_t length_bytes);
/** 0 or -errno. */
int remote_write(struct remote_file *file, uint64_t offset_bytes,
                 const void *bytes, uint64_t length_bytes);
int remote_physical(struct ds_file *file, uint64_t offset_bytes,
                    uint64_t length_bytes, struct ds_physical_extent *extents,
                    size_t extent_count_max, size_t *count,
                    struct ds_error *err);
int remote_storage_id(struct ds_file *file, struct ds_storage_id *out,
                      struct ds_error *err);
/** Its NFSv4.2 handle; NULL: there is none that is surely the same file, see
 * why_not42. Takes the session's lock. */
const struct nfs42_handle *remote_handle42(struct remote_file *file);
/** Look for that handle, and for locks meanwhile. A negated class, and
 * why_not42, when the server did not answer; no handle is no error. */
int remote_look_up42(struct remote_file *file, struct nfs42_lock_test *locks);

/** How much could be read before the file's end. */
int remote_read_up_to(struct remote_file *file, uint64_t offset_bytes,
                      uint8_t *bytes, uint64_t length_bytes,
                      uint64_t *read_bytes, struct ds_error *err);

/* remote_window.c */
/** Read from windows, from the offset as far as one goes: *done_bytes, 0 at the
 * file's end and where it is better read as it is. */
int remote_read_window(struct remote_file *file, uint64_t offset_bytes,
                       uint8_t *bytes, size_t length_bytes,
                       uint64_t *done_bytes, struct ds_error *err);
/** What was read before may be old. */
void remote_forget_windows(struct remote_file *file);

/* remote_quiet.c */
int remote_quiesce(struct ds_file *file, struct ds_error *err);
int remote_check_unchanged(struct ds_file *file, struct ds_error *err);
/* remote_vmware.c */
int remote_check_vmware(struct remote_file *file, struct ds_error *err);

/* remote_domain.c */
int remote_domain(struct ds_file *source, const char *target_path,
                  struct ds_clone_domain *out, struct ds_error *err);

/* remote_target.c */
int remote_name_for(const struct ds_file *source, const char *target_path,
                    char **out, struct ds_error *err);
int remote_exists(const char *path, struct ds_error *err);
int remote_guard_same(const struct ds_file *const *sources, size_t source_count,
                      const char *const *paths, size_t path_count,
                      struct ds_error *err);
int remote_create(const struct ds_create_request *request, struct ds_file **out,
                  struct ds_error *err);
int remote_sync(struct ds_file *file, struct ds_error *err);
int remote_reopen(struct ds_file *target, struct ds_file **out,
                  struct ds_error *err);
int remote_install(struct ds_file *target, bool replace, struct ds_error *err);
void remote_discard(struct ds_file *target);
int remote_space(const char *target_path, struct ds_space *out,
                 struct ds_error *err);
int remote_plain_path(const char *path, char **out, struct ds_error *err);
void remote_account_text(const struct ds_file *target, char *text,
                         size_t text_bytes);

/* remote_describe.c */
int remote_describe(const char *path, bool probe, struct ds_storage *out,
                    struct ds_error *err);

/* remote_via.c */
int remote_via_domain(struct ds_file *source, const char *target_path,
                      struct ds_clone_via *via, struct ds_clone_domain *out,
                      struct ds_error *err);
/** Do the next clones from ops[*at] on that are an array's to do, set their
 * statuses and move *at on. 1; 0 when there are no more. `numbers` is what the
 * user is told while the array works. */
int remote_via_step(const struct ds_run *run, const struct ds_progress *numbers,
                    struct ds_op *ops, size_t count, size_t *at,
                    struct ds_error *err);

/* remote_copy.c */
struct remote_copying {
    const struct ds_run *run;
    /** Told now and then, by the calling thread, how many bytes were copied.
     * True: stop. */
    bool (*told)(void *user, uint64_t done_bytes);
    void *user;
};
/** Do these COPYs; sets their statuses. */
int remote_copy(const struct remote_copying *copying, struct ds_op **ops,
                size_t count, struct ds_error *err);

/* remote_lanes.c */
/** As nfs42_run_pieces, by way of lanes where they are quicker. There is a
 * session, whose lock it takes. */
int remote_lanes_run(struct remote_file *target, struct nfs42_piece *pieces,
                     size_t count, struct ds_error *err);
/** Remove the target's lanes, if there are any. */
void remote_lanes_end(struct remote_file *target);

/* remote_run.c */
/** -errno by which a server says that it does not do this at all. */
bool remote_is_not_there(int status);
int remote_run(const struct ds_run *run, struct ds_op *ops, size_t count,
               struct ds_error *err);

#endif
