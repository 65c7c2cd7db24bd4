/* SPDX-License-Identifier: Apache-2.0 */
/* What all compounds have in common: their header, their results, the words
 * for what went wrong. */
#include "nfs42_inner.h"

#include <errno.h>
#include <inttypes.h>

#include "fail.h"

#define MINOR_VERSION 2u

int nfs42_errno(uint32_t status)
{
    switch (status) {
    case NFS42_OK:
        return 0;
    case NFS42_ERR_NOTSUPP:
    case NFS42_ERR_OP_ILLEGAL:
    case NFS42_ERR_MINOR_VERS_MISMATCH:
    case NFS42_ERR_UNION_NOTSUPP:
    case NFS42_ERR_PARTNER_NOTSUPP:
    case NFS42_ERR_OFFLOAD_DENIED:
    case NFS42_ERR_OFFLOAD_NO_REQS:
        return EOPNOTSUPP;
    case NFS42_ERR_WRONG_TYPE:
        return EINVAL;
    case NFS42_ERR_DQUOT:
        return EDQUOT;
    case NFS42_ERR_STALE:
    case NFS42_ERR_BADHANDLE:
        return ESTALE;
    case NFS42_ERR_DELAY:
    case NFS42_ERR_GRACE:
        return EAGAIN;
    case NFS42_ERR_SYMLINK:
        return ELOOP;
    default: /* the low ones were taken from Unix */
        return status <= NFS42_ERR_ROFS ? (int)status : EIO;
    }
}

const char *nfs42_purpose_name(enum nfs42_op op)
{
    static const char *const names[NFS42_OP_COUNT] = {
        [NFS42_COMMIT] = "COMMIT",
        [NFS42_LOOKUP] = "LOOKUP",
        [NFS42_EXCHANGE_ID] = "EXCHANGE_ID",
        [NFS42_CREATE_SESSION] = "CREATE_SESSION",
        [NFS42_DESTROY_SESSION] = "DESTROY_SESSION",
        [NFS42_DESTROY_CLIENTID] = "DESTROY_CLIENTID",
        [NFS42_RECLAIM_COMPLETE] = "RECLAIM_COMPLETE",
        [NFS42_ALLOCATE] = "ALLOCATE",
        [NFS42_COPY] = "COPY",
        [NFS42_DEALLOCATE] = "DEALLOCATE",
        [NFS42_SEEK] = "SEEK",
        [NFS42_CLONE] = "CLONE",
    };

    return names[op];
}

int nfs42_send(struct nfs42 *session, enum nfs42_op purpose, uint32_t op_count,
               struct ds_error *err)
{
    struct nfs_count *count = &session->counts[purpose];
    uint64_t before = session->rpc.sent_bytes;
    int result = nfs_rpc_send(&session->rpc, &session->message, err);

    count->round_trips++;
    count->operations += op_count;
    count->sent_bytes += session->rpc.sent_bytes - before;
    return result;
}

void nfs42_call_free(struct nfs42_call *call)
{
    xdr_out_free(&call->ops);
}

void nfs42_put_op(struct nfs42_call *call, enum nfs42_op op)
{
    xdr_put_u32(&call->ops, op);
    call->op_count++;
}

int nfs42_get_op(struct xdr_in *results, enum nfs42_op op, uint32_t *status,
                 struct ds_error *err)
{
    uint32_t have = xdr_get_u32(results);

    *status = xdr_get_u32(results);
    if (results->failed)
        return ds_fail(err, DS_ERR_CORRUPT,
                       "nfs: reply: ends before the result of operation %d",
                       (int)op);
    if (have != (uint32_t)op)
        return ds_fail(err, DS_ERR_CORRUPT,
                       "nfs: reply: have the result of operation %" PRIu32
                       " expect %d",
                       have, (int)op);
    return 0;
}

int nfs42_get_compound(struct xdr_in *results, uint32_t *status,
                       uint32_t *count, struct ds_error *err)
{
    *status = xdr_get_u32(results);
    xdr_skip_opaque(results);
    *count = xdr_get_u32(results);
    if (results->failed)
        return ds_fail(err, DS_ERR_CORRUPT, "nfs: reply: compound too short");
    return 0;
}

int nfs42_check_count(uint32_t status, uint32_t count, uint32_t expected,
                      struct ds_error *err)
{
    if (count >= 1 && count <= expected &&
        (status != NFS42_OK || count == expected))
        return 0;
    return ds_fail(err, DS_ERR_CORRUPT,
                   "nfs: reply: have %" PRIu32 " results expect %" PRIu32,
                   count, expected);
}

void nfs42_begin_compound(struct nfs42 *session, uint32_t op_count)
{
    (void)nfs_rpc_begin(&session->rpc, &session->message,
                        NFS_RPC_PROCEDURE_COMPOUND);
    xdr_put_u32(&session->message, 0); /* no tag */
    xdr_put_u32(&session->message, MINOR_VERSION);
    xdr_put_u32(&session->message, op_count);
}

int nfs42_status_error(const char *what, uint32_t status, struct ds_error *err)
{
    int number = nfs42_errno(status);

    if (number == EOPNOTSUPP)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "nfs: the server has no NFSv4.2 (%s: status %" PRIu32
                       ")",
                       what, status);
    return ds_fail_errno(err, number, NULL, "nfs: %s: status %" PRIu32, what,
                         status);
}

void nfs42_put_file(struct nfs42_call *call, const struct nfs42_handle *handle)
{
    nfs42_put_op(call, NFS42_PUTFH);
    xdr_put_opaque(&call->ops, handle->bytes, handle->length_bytes);
}

void nfs42_put_state(struct nfs42_call *call)
{
    static const uint8_t anonymous[NFS42_STATE_ID_BYTES];

    xdr_put_fixed(&call->ops, anonymous, sizeof(anonymous));
}

int nfs42_too_short(const char *what, struct ds_error *err)
{
    return ds_fail(err, DS_ERR_CORRUPT, "nfs: %s: the result is too short",
                   what);
}
