/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the NFSv4.2 client say to each other: nfs42.h has their
 * picture. */
#ifndef NFS42_INNER_H
#define NFS42_INNER_H

#include "nfs42.h"
#include "nfs_wait.h"

/* -- nfs42_compound.c ------------------------------------------------------ */

/** Begin a compound of `op_count` operations in session->message. */
void nfs42_begin_compound(struct nfs42 *session, uint32_t op_count);
/** Send it, and count it. */
int nfs42_send(struct nfs42 *session, enum nfs42_op purpose, uint32_t op_count,
               struct ds_error *err);
/** The compound's own header, RFC 8881 section 16.2: status, tag, count. */
int nfs42_get_compound(struct xdr_in *results, uint32_t *status,
                       uint32_t *count, struct ds_error *err);
/** All results must be there when all went well. Some servers drop what is
 * beyond their limit and say nothing. */
int nfs42_check_count(uint32_t status, uint32_t count, uint32_t expected,
                      struct ds_error *err);
int nfs42_status_error(const char *what, uint32_t status, struct ds_error *err);

#define NFS42_SEQUENCE_OP_COUNT 1u
#define NFS42_HEADER_BYTES 1024u /* RPC, credential, SEQUENCE; generously */
#define NFS42_STATE_ID_BYTES 16u
/** PUTFH. */
void nfs42_put_file(struct nfs42_call *call, const struct nfs42_handle *handle);
/** The anonymous state id. */
void nfs42_put_state(struct nfs42_call *call);
int nfs42_too_short(const char *what, struct ds_error *err);

/* -- nfs42_session.c ------------------------------------------------------- */

/** Connect anew, end the old session, make another. */
int nfs42_recover(struct nfs42 *session, struct nfs_patience *patience,
                  struct ds_error *err);
/** There is nothing to reclaim, but a server may wait for this. */
int nfs42_reclaim_complete(struct nfs42 *session, struct ds_error *err);
/** Whether to try again what failed so: the network or a restarting server. */
bool nfs42_may_pass(int result, const struct ds_error *err);

/* -- nfs42_run.c ----------------------------------------------------------- */

/** As nfs42_run, without recovery: for what must work in a new session. */
int nfs42_run_once(struct nfs42 *session, struct nfs42_call *calls,
                   size_t count, struct ds_error *err);

#endif
