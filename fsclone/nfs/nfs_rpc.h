/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ONC RPC (RFC 5531) over one TCP connection, AUTH_SYS, one program: NFSv4.
 *
 *   record:  | last:1 length:31 | fragment | ...     RFC 5531 section 11
 *   call:    xid 0 2 100003 4 procedure  credential verifier  | arguments
 *   reply:   xid 1 0 verifier status                          | results
 *
 * Calls are sent whole; replies come in any order. Every wait has an end, a
 * reply is never larger than was allowed, and after any failure the connection
 * is useless and must be closed. One thread at a time.
 */
#ifndef NFS_RPC_H
#define NFS_RPC_H

#include <diskshift/error.h>

#include "nfs_xdr.h"

#define NFS_RPC_PROCEDURE_COMPOUND 1u

/** Whom the server is to take us for. */
struct nfs_user {
    uint32_t uid;
    uint32_t gid;
};

struct nfs_rpc {
    int fd; /* -1: not connected */
    uint32_t xid;
    struct nfs_user user;
    int timeout_ms;         /* for a connection, a call, a reply */
    size_t reply_bytes_max; /* more is an error of the server */
    uint8_t *reply;         /* the last one received; owned */
    size_t reply_room_bytes;
    uint64_t sent_bytes; /* since nfs_rpc was zeroed, as all counts */
    uint64_t received_bytes;
    uint64_t call_count;
};

/** Connect to `host` (name or address, IPv6 without brackets). */
int nfs_rpc_connect(struct nfs_rpc *rpc, const char *host, uint16_t port,
                    struct ds_error *err);
void nfs_rpc_disconnect(struct nfs_rpc *rpc);
void nfs_rpc_free(struct nfs_rpc *rpc);

/** Begin a call in `out`, which is cleared; its xid is the answer. */
uint32_t nfs_rpc_begin(struct nfs_rpc *rpc, struct xdr_out *out,
                       uint32_t procedure);
int nfs_rpc_send(struct nfs_rpc *rpc, struct xdr_out *out,
                 struct ds_error *err);

/** Wait for the next reply. *results is behind its header and valid until the
 * next call of any function here. SYSTEM with ETIMEDOUT, ECONNRESET ..., or
 * CORRUPT when it is no reply. */
int nfs_rpc_receive(struct nfs_rpc *rpc, uint32_t *xid, struct xdr_in *results,
                    struct ds_error *err);

#endif
