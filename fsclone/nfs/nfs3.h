/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NFSv3 (RFC 1813) by libnfs's raw interface: names, attributes, data.
 *
 *   caller   nfs3_lookup, nfs3_read, ...           nfs3_ops.c
 *              |   nfs3_run: many calls, several in flight
 *   client   one connection, lost and made again   nfs3_client.c
 *              |   portmapper and MOUNT            nfs3_mount.c
 *   libnfs   RPC, XDR, TCP
 *
 * The raw interface and not the one that looks like open(2): that walks a path
 * with a LOOKUP for each component and asks for attributes which came with the
 * answer before. Here a file is its handle, one LOOKUP gives handle and
 * attributes, and what goes over the network is what is written in nfs3_ops.c.
 *
 * Handles outlive connections and restarts of the server. So a call whose
 * connection is lost is sent again by the next one, as is one that the server
 * puts off (JUKEBOX). What must not be done twice tells so by its answer the
 * second time, and whoever calls it knows how: see each function.
 *
 * What is long is read in pieces, of which several are in flight. Two things
 * make them several: one call of nfs3_read or nfs3_write is cut into as many
 * READs or WRITEs as the server's limits ask for, and threads that call at the
 * same time share the connection (nfs3_client.c). The engine's workers, which
 * read to compare, decode and copy, are as many as make that worth while
 * (waiting_count in store.h); tables are read ahead (remote_window.c). In
 * flight are 16 calls of 1 MiB at most, all threads together. An answer that is
 * late has no connection to come by; one that is short is asked for the rest;
 * one that has more than was asked for is refused.
 *
 * All functions return 0 or -errno, and are for any thread: the client has a
 * lock. Nothing waits longer than `patience_ms` without an answer.
 */
#ifndef NFS3_H
#define NFS3_H

#include <nfsc/libnfs.h>

#include <nfsc/libnfs-raw.h>

#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>
#include <nfsc/libnfs-raw-portmap.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <diskshift/error.h>

#include "nfs_count.h"
#include "nfs_rpc.h" /* struct nfs_user */

/* -- nfs3_api.c: libnfs ---------------------------------------------------- */

/* name, its number in RFC 1813 */
#define NFS3_PROCEDURES(P)                                                     \
    P(GETATTR, getattr)                                                        \
    P(SETATTR, setattr)                                                        \
    P(LOOKUP, lookup)                                                          \
    P(READ, read)                                                              \
    P(WRITE, write)                                                            \
    P(CREATE, create)                                                          \
    P(REMOVE, remove)                                                          \
    P(RENAME, rename)                                                          \
    P(LINK, link)                                                              \
    P(READDIR, readdir)                                                        \
    P(FSSTAT, fsstat)                                                          \
    P(FSINFO, fsinfo)                                                          \
    P(COMMIT, commit)

enum nfs3_procedure {
#define NFS3_NUMBER(upper, lower) NFS3_CALL_##upper,
    NFS3_PROCEDURES(NFS3_NUMBER)
#undef NFS3_NUMBER
        NFS3_CALL_COUNT
};

struct nfs3_api {
    __typeof__(rpc_init_context) *init_context;
    __typeof__(rpc_destroy_context) *destroy_context;
    __typeof__(rpc_set_auth) *set_auth;
    __typeof__(rpc_get_error) *get_error;
    __typeof__(rpc_get_fd) *get_fd;
    __typeof__(rpc_which_events) *which_events;
    __typeof__(rpc_service) *service;
    __typeof__(rpc_connect_async) *connect;
    __typeof__(libnfs_authunix_create) *authunix_create;
    __typeof__(rpc_pmap2_getport_async) *getport;
    __typeof__(rpc_mount3_mnt_async) *mnt;
#define NFS3_MEMBER(upper, lower) __typeof__(rpc_nfs3_##lower##_async) *lower;
    NFS3_PROCEDURES(NFS3_MEMBER)
#undef NFS3_MEMBER
};

/** libnfs, loaded at the first call. UNSUPPORTED, naming the package, when it
 * is not there. */
int nfs3_api(const struct nfs3_api **out, struct ds_error *err);

/* -- nfs3_client.c: calls -------------------------------------------------- */

#define NFS3_HANDLE_BYTES_MAX NFS3_FHSIZE
/* Calls without an answer, of all threads. */
#define NFS3_FLIGHT_COUNT_MAX 16u

struct nfs3_handle {
    uint8_t bytes[NFS3_HANDLE_BYTES_MAX];
    uint32_t length_bytes;
};

struct nfs3_options {
    const char *host;
    uint16_t port;       /* of NFS */
    uint16_t mount_port; /* of MOUNT; 0: ask the server's portmapper */
    struct nfs_user user;
    int timeout_ms;  /* for one reply */
    int patience_ms; /* without one that was not JUKEBOX or a lost connection */
};

struct nfs3 {
    const struct nfs3_api *api;
    char *host; /* owned */
    struct nfs3_options options;
    pthread_mutex_t lock;    /* for all that follows */
    struct rpc_context *rpc; /* NULL: not connected */
    bool was_connected;
    bool given_up;       /* the server did not come back */
    struct ds_error why; /* message: why a call had no answer */
    /* Calls, see nfs3_client.c: */
    struct nfs3_running *runs; /* of all threads, in the order they came */
    bool is_driven;            /* some thread sends and receives for all */
    bool is_waiting;           /* ... and waits for the network, or for */
    int wake_fd;               /* ... this: there is a new run */
    size_t flight_count;
    uint64_t answer_count;
    int64_t answered_ms; /* the last; or when the first in flight was sent */
    uint32_t read_bytes_max, write_bytes_max; /* 0: not asked yet */
    struct nfs_count counts[NFS3_CALL_COUNT];
    struct nfs_count mount_count, portmap_count;
    struct nfs_count connection; /* of this one so far, as TCP counts */
};

/** A client that is not connected yet. */
int nfs3_open(const struct nfs3_options *options, struct nfs3 **out,
              struct ds_error *err);
void nfs3_close(struct nfs3 *client);

struct nfs3_call {
    enum nfs3_procedure procedure;
    union {
#define NFS3_MEMBER(upper, lower) struct upper##3args lower;
        NFS3_PROCEDURES(NFS3_MEMBER)
#undef NFS3_MEMBER
    } args;
    /** Given the procedure's result, whose status was 0; it is gone
     * afterwards. False: it is not what may be answered. May be NULL. */
    bool (*answered)(struct nfs3_call *call, const void *result);
    void *out;   /* the caller's */
    int status;  /* set: 0 or -errno */
    bool resent; /* set: it was sent more than once, or lost */
    /* the client's: */
    struct nfs3_running *running;
    bool done, flying;
    int64_t sent_ms;
    uint64_t sent_at_answer;
};

/** Send all, several at once and beside those of other threads, and wait. 0
 * when each has an answer, which may be an error: `status`. */
int nfs3_run(struct nfs3 *client, struct nfs3_call *calls, size_t count);

int nfs3_errno(uint32_t status);

/* For nfs3_mount.c: one poll and what comes of it, up to the deadline. False:
 * the connection or the time has ended. */
bool nfs3_service(const struct nfs3_api *api, struct rpc_context *rpc,
                  int64_t deadline_ms);
/* A connection, not yet counted. NULL: `why` says why not. */
struct rpc_context *nfs3_connect(struct nfs3 *client, uint16_t port);
/* What TCP has counted. */
void nfs3_measure(const struct nfs3_api *api, struct rpc_context *rpc,
                  struct nfs_count *out);

/* -- nfs3_mount.c ---------------------------------------------------------- */

/** The handle of a directory that the server exports, or one below. */
int nfs3_mount(struct nfs3 *client, const char *directory,
               struct nfs3_handle *out);

/* -- nfs3_ops.c: procedures ------------------------------------------------ */

struct nfs3_facts {
    uint32_t mode; /* with S_IFMT */
    uint32_t link_count;
    uint32_t uid, gid;
    uint64_t size_bytes;
    uint64_t filesystem_id;
    uint64_t file_id;
    struct nfstime3 modified, changed;
};

int nfs3_getattr(struct nfs3 *client, const struct nfs3_handle *file,
                 struct nfs3_facts *out);

/* What to set; the others stay. */
struct nfs3_change {
    const uint32_t *mode, *uid, *gid;
    const uint64_t *size_bytes;
    bool times_now; /* of change and access */
};
int nfs3_setattr(struct nfs3 *client, const struct nfs3_handle *file,
                 const struct nfs3_change *change);

/** A link is not followed. */
int nfs3_lookup(struct nfs3 *client, const struct nfs3_handle *directory,
                const char *name, struct nfs3_handle *file,
                struct nfs3_facts *facts);

/** A new file; -EEXIST when there is one of that name. `mode` NULL:
 * exclusively, so that this very call done twice is known for one. The server
 * then keeps a number of ours in the file's times, and it has no mode yet:
 * nfs3_setattr must follow. */
int nfs3_create(struct nfs3 *client, const struct nfs3_handle *directory,
                const char *name, const uint32_t *mode,
                struct nfs3_handle *file, struct nfs3_facts *facts);

/** These three, done twice, answer -ENOENT or -EEXIST to their own success. */
int nfs3_remove(struct nfs3 *client, const struct nfs3_handle *directory,
                const char *name);
int nfs3_rename(struct nfs3 *client, const struct nfs3_handle *directory,
                const char *from, const char *to);
/** *link_count: the names that the file has then, if the server says it. */
int nfs3_link(struct nfs3 *client, const struct nfs3_handle *file,
              const struct nfs3_handle *directory, const char *name,
              uint32_t *link_count);

/** Each name in a directory, until this says false. */
typedef bool nfs3_entry_fn(void *user, const char *name, uint64_t file_id);
int nfs3_readdir(struct nfs3 *client, const struct nfs3_handle *directory,
                 nfs3_entry_fn *each, void *user);

/** Ask how much goes into one READ or WRITE; once, before the first. */
int nfs3_ask_limits(struct nfs3 *client, const struct nfs3_handle *file);

/** Up to `length_bytes`; *done_bytes is less at the file's end only. */
int nfs3_read(struct nfs3 *client, const struct nfs3_handle *file,
              uint64_t offset_bytes, uint8_t *bytes, uint64_t length_bytes,
              uint64_t *done_bytes);

/* Unflushed writes and the number that a server changes when it loses them. */
#define NFS3_VERIFIER_BYTES NFS3_WRITEVERFSIZE
struct nfs3_verifier {
    bool known;
    bool changed; /* some of those that were seen differ */
    uint8_t bytes[NFS3_VERIFIER_BYTES];
};

/** A stretch to be written. */
struct nfs3_write {
    const struct nfs3_handle *file;
    struct nfs3_verifier *verifier; /* what was seen goes there */
    uint64_t offset_bytes;
    const void *bytes;
    uint64_t length_bytes;
    int status; /* set: 0 or -errno */
};

/** All of them, unflushed, several in flight. 0 when each has its status. */
int nfs3_write(struct nfs3 *client, struct nfs3_write *writes, size_t count);
/** Flush all of it. */
int nfs3_commit(struct nfs3 *client, const struct nfs3_handle *file,
                struct nfs3_verifier *verifier);

int nfs3_free_bytes(struct nfs3 *client, const struct nfs3_handle *directory,
                    uint64_t *out);

#endif
