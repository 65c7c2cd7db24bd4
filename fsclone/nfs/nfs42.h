/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client for what NFSv4.2 (RFC 7862, 7863) adds for us: CLONE, COPY, SEEK,
 * ALLOCATE, DEALLOCATE. Names and data go by another way (nfs.h); a file is
 * known here by its handle alone.
 *
 *   caller   nfs42_call: operations as bytes        nfs42_ops.c, nfs42_pieces.c
 *              |   nfs42_run: many calls, several in flight
 *              |     slots, DELAY                  nfs42_run.c
 *   session  made, lost and made again             nfs42_session.c
 *              |     as the bytes of a compound    nfs42_compound.c
 *   rpc      records over one connection             nfs_rpc.c
 *
 * State that a server could lose is avoided rather than reclaimed: files are
 * not opened but used with the anonymous state id (RFC 8881 section 8.2.3),
 * delegations and the back channel are never asked for. What remains is the
 * session. When it or the connection is lost, a new one is made and the calls
 * without an answer are sent again, as are those that met DELAY or GRACE. That
 * is right only because each operation here may be done twice, and because the
 * old session is destroyed first: a call that is still at work in the server
 * must not end after later ones. DESTROY_SESSION answers DELAY as long.
 *
 * Whatever the server says is checked: the number and kinds of results, lengths
 * before memory is taken, limits before they are used. Nothing waits longer
 * than `patience_ms` without an answered call.
 */
#ifndef NFS42_H
#define NFS42_H

#include <diskshift/error.h>

#include "nfs_count.h"
#include "nfs_rpc.h"

/* Operations, RFC 8881 section 18 and RFC 7862 section 15. */
enum nfs42_op {
    NFS42_COMMIT = 5,
    NFS42_GETATTR = 9,
    NFS42_GETFH = 10,
    NFS42_LOCKT = 13,
    NFS42_LOOKUP = 15,
    NFS42_PUTFH = 22,
    NFS42_PUTROOTFH = 24,
    NFS42_SAVEFH = 32,
    NFS42_EXCHANGE_ID = 42,
    NFS42_CREATE_SESSION = 43,
    NFS42_DESTROY_SESSION = 44,
    NFS42_SEQUENCE = 53,
    NFS42_DESTROY_CLIENTID = 57,
    NFS42_RECLAIM_COMPLETE = 58,
    NFS42_ALLOCATE = 59,
    NFS42_COPY = 60,
    NFS42_DEALLOCATE = 62,
    NFS42_SEEK = 69,
    NFS42_CLONE = 71
};

/* What a server answers, RFC 8881 section 15.1; those that are acted on. */
enum nfs42_status {
    NFS42_OK = 0,
    NFS42_ERR_PERM = 1,
    NFS42_ERR_NOENT = 2,
    NFS42_ERR_IO = 5,
    NFS42_ERR_NXIO = 6,
    NFS42_ERR_ACCESS = 13,
    NFS42_ERR_EXIST = 17,
    NFS42_ERR_XDEV = 18,
    NFS42_ERR_ISDIR = 21,
    NFS42_ERR_INVAL = 22,
    NFS42_ERR_FBIG = 27,
    NFS42_ERR_NOSPC = 28,
    NFS42_ERR_ROFS = 30,
    NFS42_ERR_DQUOT = 69,
    NFS42_ERR_STALE = 70,
    NFS42_ERR_BADHANDLE = 10001,
    NFS42_ERR_NOTSUPP = 10004,
    NFS42_ERR_SERVERFAULT = 10006,
    NFS42_ERR_DELAY = 10008,
    NFS42_ERR_DENIED = 10010,
    NFS42_ERR_EXPIRED = 10011,
    NFS42_ERR_GRACE = 10013,
    NFS42_ERR_RESOURCE = 10018,
    NFS42_ERR_MINOR_VERS_MISMATCH = 10021,
    NFS42_ERR_STALE_CLIENTID = 10022,
    NFS42_ERR_SYMLINK = 10029,
    NFS42_ERR_OP_ILLEGAL = 10044,
    NFS42_ERR_BADSESSION = 10052,
    NFS42_ERR_BADSLOT = 10053,
    NFS42_ERR_COMPLETE_ALREADY = 10054,
    NFS42_ERR_CONN_NOT_BOUND_TO_SESSION = 10055,
    NFS42_ERR_SEQ_MISORDERED = 10063,
    NFS42_ERR_RETRY_UNCACHED_REP = 10068,
    NFS42_ERR_DEADSESSION = 10078,
    NFS42_ERR_WRONG_TYPE = 10083,
    NFS42_ERR_PARTNER_NOTSUPP = 10088,
    NFS42_ERR_UNION_NOTSUPP = 10090,
    NFS42_ERR_OFFLOAD_DENIED = 10091,
    NFS42_ERR_OFFLOAD_NO_REQS = 10094
};

/** The errno that says the same; EIO for what has none. */
int nfs42_errno(uint32_t status);
/** "CLONE"; NULL for what no compound here is for. */
const char *nfs42_purpose_name(enum nfs42_op op);

#define NFS42_HANDLE_BYTES_MAX 128u
struct nfs42_handle {
    uint8_t bytes[NFS42_HANDLE_BYTES_MAX];
    uint32_t length_bytes; /* 0: none */
};

/* -- the session --------------------------------------------------------- */

#define NFS42_SESSION_ID_BYTES 16u
#define NFS42_VERIFIER_BYTES 8u
#define NFS42_SLOT_COUNT_MAX 16u

#define NFS42_OP_COUNT (NFS42_CLONE + 1)

struct nfs42_slot {
    uint32_t sequence;       /* of the last call that the server counted */
    uint32_t xid;            /* of the call in flight */
    struct nfs42_call *call; /* NULL: free */
};

struct nfs42_options {
    const char *host;
    uint16_t port;
    struct nfs_user user;
    int timeout_ms;  /* for a reply */
    int patience_ms; /* without one that was not DELAY or a lost session */
    uint32_t slot_count_max;  /* compounds in flight; 0: as many as granted */
    uint32_t piece_count_max; /* pieces in a compound; 0: as many as fit */
    struct nfs_count *counts; /* NFS42_OP_COUNT, the caller's; may be NULL */
};

struct nfs42 {
    struct nfs_rpc rpc;
    char *host; /* owned */
    uint16_t port;
    int patience_ms;
    uint8_t verifier[NFS42_VERIFIER_BYTES]; /* this client's incarnation */
    char owner[128];
    uint64_t client_id;
    uint32_t create_sequence;
    bool has_session;
    uint8_t session_id[NFS42_SESSION_ID_BYTES];
    size_t request_bytes_max; /* as granted, within our own bounds */
    size_t reply_bytes_max;
    uint32_t op_count_max; /* in a compound, with SEQUENCE */
    uint32_t slot_count;
    uint32_t slot_count_max, piece_count_max; /* as nfs42_options */
    struct nfs42_slot slots[NFS42_SLOT_COUNT_MAX];
    struct xdr_out message;
    struct nfs_count *counts; /* by what a compound is for */
    struct nfs_count own_counts[NFS42_OP_COUNT];
    uint64_t recovery_count;
    uint64_t delay_count;
};

/** Connect and make a session. UNSUPPORTED when the server has no NFSv4.2. */
int nfs42_open(const struct nfs42_options *options, struct nfs42 **out,
               struct ds_error *err);
void nfs42_close(struct nfs42 *session);

/* -- calls --------------------------------------------------------------- */

/** One compound without its SEQUENCE. */
struct nfs42_call {
    enum nfs42_op purpose; /* one of its operations */
    struct xdr_out ops;
    uint32_t op_count;
    /** Given the results behind SEQUENCE's and the compound's status. 0, or
     * a negated class when they are not what was asked for. Called once. */
    int (*answered)(struct nfs42_call *call, uint32_t status,
                    struct xdr_in *results, struct ds_error *err);
    void *user;
    bool done;
};

void nfs42_call_free(struct nfs42_call *call);

/** Begin an operation in `call`. */
void nfs42_put_op(struct nfs42_call *call, enum nfs42_op op);
/** The next result must be of `op`: its status, or CORRUPT as a negated
 * class. */
int nfs42_get_op(struct xdr_in *results, enum nfs42_op op, uint32_t *status,
                 struct ds_error *err);

/** Send `count` calls, as many at once as there are slots, and wait for all.
 * They must be independent of each other. */
int nfs42_run(struct nfs42 *session, struct nfs42_call *calls, size_t count,
              struct ds_error *err);

/* -- operations ---------------------------------------------------------- */

/* Each returns 0 and *status (enum nfs42_status), or a negated class when
 * there is no answer. */

struct nfs42_file_facts {
    struct nfs42_handle handle;
    uint64_t file_id;
    uint64_t size_bytes;
};

/** Whether locks for writing would be denied on these bytes. */
struct nfs42_lock_test {
    const uint64_t *offsets;
    size_t count;
    uint32_t status; /* set: NFS42_ERR_DENIED; OK; what says that the server
                        has no locks */
};

/** The regular file at `path` from the server's root. `locks` may be NULL. */
int nfs42_look_up(struct nfs42 *session, const char *path,
                  struct nfs42_lock_test *locks, struct nfs42_file_facts *out,
                  uint32_t *status, struct ds_error *err);

/** What is done to a piece of a file. */
struct nfs42_piece {
    enum nfs42_op op;                  /* CLONE, COPY, ALLOCATE or DEALLOCATE */
    const struct nfs42_handle *source; /* CLONE, COPY */
    const struct nfs42_handle *target;
    uint64_t source_offset_bytes;
    uint64_t target_offset_bytes;
    uint64_t length_bytes; /* CLONE: 0 means to the source's end */
    bool begins_compound;  /* not behind the piece before, in flight with it */
    uint32_t status;       /* set */
    bool answered;         /* set: there is a status */
    uint64_t done_bytes;   /* COPY: set */
};

/** Do them all, in any order: they are packed into compounds, of which several
 * are in flight. COPY is synchronous, and a server may do less than asked of
 * any: done_bytes. */
int nfs42_run_pieces(struct nfs42 *session, struct nfs42_piece *pieces,
                     size_t count, struct ds_error *err);

/** Where data or a hole begins at or after the offset. */
int nfs42_seek(struct nfs42 *session, const struct nfs42_handle *handle,
               uint64_t offset_bytes, bool hole, uint64_t *found_bytes,
               bool *at_end, uint32_t *status, struct ds_error *err);

/** Flush; `verifier` changes when the server lost what was not flushed. */
int nfs42_commit(struct nfs42 *session, const struct nfs42_handle *handle,
                 uint8_t verifier[NFS42_VERIFIER_BYTES], uint32_t *status,
                 struct ds_error *err);

#endif
