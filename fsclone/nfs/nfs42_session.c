/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and keeping the session of NFSv4.1 (RFC 8881 sections 2.10 and 18.35
 * to 18.51).
 *
 *   open     connect, EXCHANGE_ID, CREATE_SESSION, RECLAIM_COMPLETE
 *   recover  connect, DESTROY_SESSION (of the old one, until it is gone), open
 *   close    DESTROY_SESSION, DESTROY_CLIENTID
 */
#include "nfs42_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "fail.h"

#define REQUEST_BYTES_WANTED (UINT32_C(256) << 10)
#define REQUEST_BYTES_MIN 4096u
#define OP_COUNT_WANTED 1024u
#define OP_COUNT_MIN 8u
#define BACK_CHANNEL_BYTES 4096u
#define STATE_PROTECTION_NONE 0u
#define CALLBACK_PROGRAM UINT32_C(0x40000000) /* never called */

/* Send the one operation that was begun with nfs42_begin_compound; *status is
 * its answer and *results behind it. */
static int call_alone(struct nfs42 *session, enum nfs42_op op,
                      struct xdr_in *results, uint32_t *status,
                      struct ds_error *err)
{
    uint32_t expected_xid = session->rpc.xid, xid, count;
    uint64_t before = session->rpc.received_bytes;
    int result = nfs42_send(session, op, 1, err);

    if (result == 0)
        result = nfs_rpc_receive(&session->rpc, &xid, results, err);
    session->counts[op].received_bytes += session->rpc.received_bytes - before;
    if (result == 0 && xid != expected_xid)
        result = ds_fail(err, DS_ERR_CORRUPT, "nfs: reply: to no call of ours");
    if (result == 0)
        result = nfs42_get_compound(results, status, &count, err);
    if (result != 0 || *status == NFS42_ERR_MINOR_VERS_MISMATCH)
        return result;
    result = nfs42_check_count(*status, count, 1, err);
    return result == 0 ? nfs42_get_op(results, op, status, err) : result;
}

/* RFC 8881 section 18.35 */
static int exchange_id(struct nfs42 *session, struct ds_error *err)
{
    struct xdr_out *out = &session->message;
    struct xdr_in in;
    uint32_t status = 0, protection;
    int result;

    nfs42_begin_compound(session, 1);
    xdr_put_u32(out, NFS42_EXCHANGE_ID);
    xdr_put_fixed(out, session->verifier, sizeof(session->verifier));
    xdr_put_string(out, session->owner);
    xdr_put_u32(out, 0); /* flags */
    xdr_put_u32(out, STATE_PROTECTION_NONE);
    xdr_put_u32(out, 0); /* no implementation id */
    result = call_alone(session, NFS42_EXCHANGE_ID, &in, &status, err);
    if (result != 0)
        return result;
    if (status != NFS42_OK)
        return nfs42_status_error("EXCHANGE_ID", status, err);
    session->client_id = xdr_get_u64(&in);
    session->create_sequence = xdr_get_u32(&in);
    (void)xdr_get_u32(&in); /* flags */
    protection = xdr_get_u32(&in);
    if (in.failed || protection != STATE_PROTECTION_NONE)
        return ds_fail(err, DS_ERR_CORRUPT,
                       "nfs: EXCHANGE_ID: state protection, have %" PRIu32
                       " expect none",
                       protection);
    return 0;
}

static void put_channel(struct xdr_out *out, uint32_t bytes, uint32_t op_count,
                        uint32_t slot_count)
{
    xdr_put_u32(out, 0); /* header padding */
    xdr_put_u32(out, bytes);
    xdr_put_u32(out, bytes);
    xdr_put_u32(out, 0); /* nothing need be cached: all may be done twice */
    xdr_put_u32(out, op_count);
    xdr_put_u32(out, slot_count);
    xdr_put_u32(out, 0); /* no RDMA */
}

static uint32_t at_most(uint32_t value, uint32_t limit)
{
    return value < limit ? value : limit;
}

/* What the server granted, never more than was asked for. */
static int get_channel(struct nfs42 *session, struct xdr_in *in,
                       struct ds_error *err)
{
    uint32_t request, reply;

    (void)xdr_get_u32(in);
    request = at_most(xdr_get_u32(in), REQUEST_BYTES_WANTED);
    reply = at_most(xdr_get_u32(in), REQUEST_BYTES_WANTED);
    (void)xdr_get_u32(in);
    session->op_count_max = at_most(xdr_get_u32(in), OP_COUNT_WANTED);
    session->slot_count = at_most(xdr_get_u32(in), session->slot_count_max);
    session->request_bytes_max = request;
    session->reply_bytes_max = reply;
    if (in->failed || request < REQUEST_BYTES_MIN ||
        reply < REQUEST_BYTES_MIN || session->op_count_max < OP_COUNT_MIN ||
        session->slot_count == 0)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "nfs: CREATE_SESSION: have %" PRIu32 " bytes, %" PRIu32
                       " operations, %" PRIu32 " slots expect at least %u, "
                       "%u, 1",
                       at_most(request, reply), session->op_count_max,
                       session->slot_count, REQUEST_BYTES_MIN, OP_COUNT_MIN);
    return 0;
}

/* RFC 8881 section 18.36 */
static int create_session(struct nfs42 *session, struct ds_error *err)
{
    struct xdr_out *out = &session->message;
    struct xdr_in in;
    uint32_t status = 0;
    const uint8_t *id;
    int result;

    nfs42_begin_compound(session, 1);
    xdr_put_u32(out, NFS42_CREATE_SESSION);
    xdr_put_u64(out, session->client_id);
    xdr_put_u32(out, session->create_sequence);
    xdr_put_u32(out, 0); /* flags: no back channel */
    put_channel(out, REQUEST_BYTES_WANTED, OP_COUNT_WANTED,
                session->slot_count_max);
    put_channel(out, BACK_CHANNEL_BYTES, 2, 1);
    xdr_put_u32(out, CALLBACK_PROGRAM);
    xdr_put_u32(out, 1); /* one way to sign callbacks: none */
    xdr_put_u32(out, 0);
    result = call_alone(session, NFS42_CREATE_SESSION, &in, &status, err);
    if (result != 0)
        return result;
    if (status != NFS42_OK)
        return nfs42_status_error("CREATE_SESSION", status, err);
    id = xdr_get_fixed(&in, NFS42_SESSION_ID_BYTES);
    (void)xdr_get_u32(&in); /* sequence */
    (void)xdr_get_u32(&in); /* flags */
    result = get_channel(session, &in, err);
    if (result != 0)
        return result;
    memcpy(session->session_id, id, NFS42_SESSION_ID_BYTES);
    memset(session->slots, 0, sizeof(session->slots));
    session->has_session = true;
    return 0;
}

/* Whether it is gone now; false: not yet, it is at work (DELAY). */
static int destroy_session(struct nfs42 *session, bool *gone,
                           struct ds_error *err)
{
    struct xdr_in in;
    uint32_t status = 0;
    int result;

    nfs42_begin_compound(session, 1);
    xdr_put_u32(&session->message, NFS42_DESTROY_SESSION);
    xdr_put_fixed(&session->message, session->session_id,
                  NFS42_SESSION_ID_BYTES);
    result = call_alone(session, NFS42_DESTROY_SESSION, &in, &status, err);
    *gone =
        result == 0 && status != NFS42_ERR_DELAY && status != NFS42_ERR_GRACE;
    if (*gone)
        session->has_session = false;
    return result;
}

/* -- making and keeping it --------------------------------------------------*/

static int reclaim_answered(struct nfs42_call *call, uint32_t status,
                            struct xdr_in *results, struct ds_error *err)
{
    (void)results;
    (void)call;
    if (status == NFS42_OK || status == NFS42_ERR_COMPLETE_ALREADY)
        return 0;
    return nfs42_status_error("RECLAIM_COMPLETE", status, err);
}

int nfs42_reclaim_complete(struct nfs42 *session, struct ds_error *err)
{
    struct nfs42_call call = { .purpose = NFS42_RECLAIM_COMPLETE,
                               .answered = reclaim_answered };
    int result;

    nfs42_put_op(&call, NFS42_RECLAIM_COMPLETE);
    xdr_put_u32(&call.ops, 0); /* for all file systems */
    result = nfs42_run_once(session, &call, 1, err);
    nfs42_call_free(&call);
    return result;
}

static int establish(struct nfs42 *session, struct ds_error *err)
{
    int result = exchange_id(session, err);

    if (result == 0)
        result = create_session(session, err);
    return result;
}

bool nfs42_may_pass(int result, const struct ds_error *err)
{
    return result == -DS_ERR_SYSTEM && err->system_errno != ENOMEM &&
           err->system_errno != EACCES;
}

static int connect_again(struct nfs42 *session, struct nfs_patience *patience,
                         struct ds_error *err)
{
    bool gone = !session->has_session;
    int result =
        nfs_rpc_connect(&session->rpc, session->host, session->port, err);

    while (result == 0 && !gone) {
        result = destroy_session(session, &gone, err);
        if (result == 0 && !gone && !nfs_patience_wait(patience))
            return ds_fail_errno(err, ETIMEDOUT, NULL,
                                 "nfs: the server does not end its old work");
    }
    return result == 0 ? establish(session, err) : result;
}

int nfs42_recover(struct nfs42 *session, struct nfs_patience *patience,
                  struct ds_error *err)
{
    struct ds_error own = DS_ERROR_INIT;
    int result;

    for (unsigned i = 0; i < NFS42_SLOT_COUNT_MAX; i++)
        session->slots[i].call = NULL;
    session->recovery_count++;
    do
        result = connect_again(session, patience, &own);
    while (nfs42_may_pass(result, &own) && nfs_patience_wait(patience));
    if (result != 0 && err != NULL)
        *err = own;
    return result;
}

/* Owner and verifier say which client this is, and which start of it. */
static int name_client(struct nfs42 *session, struct ds_error *err)
{
    uint64_t noise[3];
    char host[64] = "";

    if (getrandom(noise, sizeof(noise), 0) != (ssize_t)sizeof(noise))
        return ds_fail_errno(err, errno, NULL, "nfs: no random numbers");
    memcpy(session->verifier, &noise[0], sizeof(session->verifier));
    session->rpc.xid = (uint32_t)noise[1];
    (void)gethostname(host, sizeof(host) - 1);
    (void)snprintf(session->owner, sizeof(session->owner),
                   "diskshift/%s/%d/%016" PRIx64, host, (int)getpid(),
                   noise[2]);
    return 0;
}

/* Once there is a connection, the server is one that may only be busy. */
static int establish_patiently(struct nfs42 *session, struct ds_error *err)
{
    struct nfs_patience patience = nfs_patience_begin(session->patience_ms);
    struct ds_error own = DS_ERROR_INIT;
    int result = establish(session, &own);

    if (result == 0)
        result = nfs42_reclaim_complete(session, &own);
    while (nfs42_may_pass(result, &own) && nfs_patience_wait(&patience)) {
        result = nfs42_recover(session, &patience, &own);
        if (result == 0)
            result = nfs42_reclaim_complete(session, &own);
    }
    if (result != 0 && err != NULL)
        *err = own;
    return result;
}

int nfs42_open(const struct nfs42_options *options, struct nfs42 **out,
               struct ds_error *err)
{
    struct nfs42 *session = calloc(1, sizeof(*session));
    int result;

    if (session == NULL)
        return ds_fail_memory(err);
    session->rpc.fd = -1;
    session->rpc.user = options->user;
    session->rpc.timeout_ms = options->timeout_ms;
    session->rpc.reply_bytes_max = REQUEST_BYTES_WANTED + REQUEST_BYTES_MIN;
    session->patience_ms = options->patience_ms;
    session->slot_count_max =
        options->slot_count_max != 0
            ? at_most(options->slot_count_max, NFS42_SLOT_COUNT_MAX)
            : NFS42_SLOT_COUNT_MAX;
    session->piece_count_max =
        options->piece_count_max != 0 ? options->piece_count_max : UINT32_MAX;
    session->counts =
        options->counts != NULL ? options->counts : session->own_counts;
    session->port = options->port;
    session->host = strdup(options->host);
    result =
        session->host != NULL ? name_client(session, err) : ds_fail_memory(err);
    if (result == 0)
        result =
            nfs_rpc_connect(&session->rpc, session->host, session->port, err);
    if (result == 0)
        result = establish_patiently(session, err);
    if (result != 0) {
        nfs42_close(session);
        return result;
    }
    *out = session;
    return 0;
}

static void destroy_client_id(struct nfs42 *session)
{
    struct xdr_in in;
    uint32_t status;

    nfs42_begin_compound(session, 1);
    xdr_put_u32(&session->message, NFS42_DESTROY_CLIENTID);
    xdr_put_u64(&session->message, session->client_id);
    (void)call_alone(session, NFS42_DESTROY_CLIENTID, &in, &status, NULL);
}

void nfs42_close(struct nfs42 *session)
{
    bool gone = false;

    if (session == NULL)
        return;
    /* The server would find out by itself, when the lease ends. */
    if (session->rpc.fd >= 0 && session->has_session &&
        destroy_session(session, &gone, NULL) == 0 && gone)
        destroy_client_id(session);
    nfs_rpc_free(&session->rpc);
    xdr_out_free(&session->message);
    free(session->host);
    free(session);
}
