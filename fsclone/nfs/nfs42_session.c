/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session of NFSv4.1 (RFC 8881 sections 2.10 and 18.35 to 18.51).
 *
 *   open     connect, EXCHANGE_ID, CREATE_SESSION, RECLAIM_COMPLETE
 *   run      calls without an answer -> free slots -> replies
 *              DELAY, GRACE             wait, send it again
 *              connection, session lost recover: connect, DESTROY_SESSION (of
 *                                       the old one, until it is gone), open
 *              anything unforeseen      an error; the connection is closed
 *   close    DESTROY_SESSION, DESTROY_CLIENTID
 *
 * A slot's sequence counts the calls that the server took: it is raised when
 * a reply's SEQUENCE says so, not when a call is sent.
 */
#include "nfs42.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "fail.h"

#define MINOR_VERSION 2u
#define REQUEST_BYTES_WANTED (UINT32_C(256) << 10)
#define REQUEST_BYTES_MIN 4096u
#define OP_COUNT_WANTED 1024u
#define OP_COUNT_MIN 8u
#define BACK_CHANNEL_BYTES 4096u
#define STATE_PROTECTION_NONE 0u
#define CALLBACK_PROGRAM UINT32_C(0x40000000) /* never called */
#define PAUSE_MS_MIN 10
#define PAUSE_MS_MAX 1000

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_ms(int64_t duration_ms)
{
    struct timespec duration = { .tv_sec = duration_ms / 1000,
                                 .tv_nsec = duration_ms % 1000 * 1000000 };

    if (duration_ms > 0)
        (void)nanosleep(&duration, NULL);
}

/* How long to go on, and how long to wait before the next try. */
struct patience {
    int64_t end_ms;
    int64_t pause_ms;
};

static struct patience patience_begin(const struct nfs42 *session)
{
    return (struct patience){ .end_ms = now_ms() + session->patience_ms,
                              .pause_ms = PAUSE_MS_MIN };
}

/* False when there is none left. */
static bool patience_wait(struct patience *patience)
{
    if (now_ms() + patience->pause_ms > patience->end_ms)
        return false;
    pause_ms(patience->pause_ms);
    if (patience->pause_ms < PAUSE_MS_MAX)
        patience->pause_ms *= 2;
    return true;
}

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

/* The compound's own header, RFC 8881 section 16.2: status, tag, count. */
static int get_compound(struct xdr_in *results, uint32_t *status,
                        uint32_t *count, struct ds_error *err)
{
    *status = xdr_get_u32(results);
    xdr_skip_opaque(results);
    *count = xdr_get_u32(results);
    if (results->failed)
        return ds_fail(err, DS_ERR_CORRUPT, "nfs: reply: compound too short");
    return 0;
}

/* Where all results must be there when all went well. Some servers drop what
 * is beyond their limit and say nothing. */
static int check_count(uint32_t status, uint32_t count, uint32_t expected,
                       struct ds_error *err)
{
    if (count >= 1 && count <= expected &&
        (status != NFS42_OK || count == expected))
        return 0;
    return ds_fail(err, DS_ERR_CORRUPT,
                   "nfs: reply: have %" PRIu32 " results expect %" PRIu32,
                   count, expected);
}

/* -- calls outside the session ----------------------------------------------*/

static void begin_compound(struct nfs42 *session, uint32_t op_count)
{
    (void)nfs_rpc_begin(&session->rpc, &session->message,
                        NFS_RPC_PROCEDURE_COMPOUND);
    xdr_put_u32(&session->message, 0); /* no tag */
    xdr_put_u32(&session->message, MINOR_VERSION);
    xdr_put_u32(&session->message, op_count);
}

/* Send the one operation that was begun with begin_compound; *status is its
 * answer and *results behind it. */
static int call_alone(struct nfs42 *session, enum nfs42_op op,
                      struct xdr_in *results, uint32_t *status,
                      struct ds_error *err)
{
    uint32_t expected_xid = session->rpc.xid, xid, count;
    int result = nfs_rpc_send(&session->rpc, &session->message, err);

    if (result == 0)
        result = nfs_rpc_receive(&session->rpc, &xid, results, err);
    if (result == 0 && xid != expected_xid)
        result = ds_fail(err, DS_ERR_CORRUPT, "nfs: reply: to no call of ours");
    if (result == 0)
        result = get_compound(results, status, &count, err);
    if (result != 0 || *status == NFS42_ERR_MINOR_VERS_MISMATCH)
        return result;
    result = check_count(*status, count, 1, err);
    return result == 0 ? nfs42_get_op(results, op, status, err) : result;
}

static int status_error(const char *what, uint32_t status, struct ds_error *err)
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

/* RFC 8881 section 18.35 */
static int exchange_id(struct nfs42 *session, struct ds_error *err)
{
    struct xdr_out *out = &session->message;
    struct xdr_in in;
    uint32_t status = 0, protection;
    int result;

    begin_compound(session, 1);
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
        return status_error("EXCHANGE_ID", status, err);
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
    session->slot_count = at_most(xdr_get_u32(in), NFS42_SLOT_COUNT_MAX);
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

    begin_compound(session, 1);
    xdr_put_u32(out, NFS42_CREATE_SESSION);
    xdr_put_u64(out, session->client_id);
    xdr_put_u32(out, session->create_sequence);
    xdr_put_u32(out, 0); /* flags: no back channel */
    put_channel(out, REQUEST_BYTES_WANTED, OP_COUNT_WANTED,
                NFS42_SLOT_COUNT_MAX);
    put_channel(out, BACK_CHANNEL_BYTES, 2, 1);
    xdr_put_u32(out, CALLBACK_PROGRAM);
    xdr_put_u32(out, 1); /* one way to sign callbacks: none */
    xdr_put_u32(out, 0);
    result = call_alone(session, NFS42_CREATE_SESSION, &in, &status, err);
    if (result != 0)
        return result;
    if (status != NFS42_OK)
        return status_error("CREATE_SESSION", status, err);
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

    begin_compound(session, 1);
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
    return status_error("RECLAIM_COMPLETE", status, err);
}

static int run_in_session(struct nfs42 *session, struct nfs42_call *calls,
                          size_t count, struct ds_error *err);

/* There is nothing to reclaim, but a server may wait for this. */
static int reclaim_complete(struct nfs42 *session, struct ds_error *err)
{
    struct nfs42_call call = { .answered = reclaim_answered };
    int result;

    nfs42_put_op(&call, NFS42_RECLAIM_COMPLETE);
    xdr_put_u32(&call.ops, 0); /* for all file systems */
    result = run_in_session(session, &call, 1, err);
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

/* Whether to try again what failed so: the network or a restarting server. */
static bool may_pass(int result, const struct ds_error *err)
{
    return result == -DS_ERR_SYSTEM && err->system_errno != ENOMEM &&
           err->system_errno != EACCES;
}

static int connect_again(struct nfs42 *session, struct patience *patience,
                         struct ds_error *err)
{
    bool gone = !session->has_session;
    int result =
        nfs_rpc_connect(&session->rpc, session->host, session->port, err);

    while (result == 0 && !gone) {
        result = destroy_session(session, &gone, err);
        if (result == 0 && !gone && !patience_wait(patience))
            return ds_fail_errno(err, ETIMEDOUT, NULL,
                                 "nfs: the server does not end its old work");
    }
    return result == 0 ? establish(session, err) : result;
}

static int recover(struct nfs42 *session, struct patience *patience,
                   struct ds_error *err)
{
    struct ds_error own = DS_ERROR_INIT;
    int result;

    for (unsigned i = 0; i < NFS42_SLOT_COUNT_MAX; i++)
        session->slots[i].call = NULL;
    session->recovery_count++;
    do
        result = connect_again(session, patience, &own);
    while (may_pass(result, &own) && patience_wait(patience));
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
    session->port = options->port;
    session->host = strdup(options->host);
    result =
        session->host != NULL ? name_client(session, err) : ds_fail_memory(err);
    if (result == 0)
        result =
            nfs_rpc_connect(&session->rpc, session->host, session->port, err);
    if (result == 0)
        result = establish(session, err);
    if (result == 0)
        result = reclaim_complete(session, err);
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

    begin_compound(session, 1);
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

/* -- calls in the session ---------------------------------------------------*/

struct running {
    struct nfs42_call *calls;
    size_t count;
    size_t done_count;
    size_t flight_count;
    int64_t resume_ms; /* send nothing before */
    bool lost;         /* the session: recover */
    struct patience patience;
};

static bool is_session_lost(uint32_t status)
{
    return status == NFS42_ERR_BADSESSION || status == NFS42_ERR_DEADSESSION ||
           status == NFS42_ERR_BADSLOT || status == NFS42_ERR_SEQ_MISORDERED ||
           status == NFS42_ERR_STALE_CLIENTID || status == NFS42_ERR_EXPIRED ||
           status == NFS42_ERR_RETRY_UNCACHED_REP ||
           status == NFS42_ERR_CONN_NOT_BOUND_TO_SESSION;
}

static bool is_to_wait(uint32_t status)
{
    return status == NFS42_ERR_DELAY || status == NFS42_ERR_GRACE;
}

/* RFC 8881 section 18.46 */
static int send_call(struct nfs42 *session, uint32_t index,
                     struct nfs42_call *call, struct ds_error *err)
{
    struct nfs42_slot *slot = &session->slots[index];
    struct xdr_out *out = &session->message;

    begin_compound(session, call->op_count + 1);
    xdr_put_u32(out, NFS42_SEQUENCE);
    xdr_put_fixed(out, session->session_id, NFS42_SESSION_ID_BYTES);
    xdr_put_u32(out, slot->sequence + 1);
    xdr_put_u32(out, index);
    xdr_put_u32(out, session->slot_count - 1);
    xdr_put_u32(out, 0); /* the reply need not be cached */
    xdr_put_out(out, &call->ops);
    slot->call = call;
    slot->xid = session->rpc.xid;
    return nfs_rpc_send(&session->rpc, out, err);
}

static bool is_in_flight(const struct nfs42 *session,
                         const struct nfs42_call *call)
{
    for (uint32_t i = 0; i < session->slot_count; i++)
        if (session->slots[i].call == call)
            return true;
    return false;
}

/* One that is neither answered nor in flight. */
static struct nfs42_call *next_call(const struct nfs42 *session,
                                    const struct running *running)
{
    for (size_t i = 0; i < running->count; i++)
        if (!running->calls[i].done &&
            !is_in_flight(session, &running->calls[i]))
            return &running->calls[i];
    return NULL;
}

static int fill_slots(struct nfs42 *session, struct running *running,
                      struct ds_error *err)
{
    int result = 0;

    if (now_ms() < running->resume_ms) {
        if (running->flight_count > 0)
            return 0;
        pause_ms(running->resume_ms - now_ms());
    }
    for (uint32_t i = 0; i < session->slot_count && result == 0; i++) {
        struct nfs42_call *call;

        if (session->slots[i].call != NULL)
            continue;
        call = next_call(session, running);
        if (call == NULL)
            break;
        running->flight_count++;
        result = send_call(session, i, call, err);
    }
    return result;
}

static struct nfs42_slot *slot_of(struct nfs42 *session, uint32_t xid)
{
    for (uint32_t i = 0; i < session->slot_count; i++)
        if (session->slots[i].call != NULL && session->slots[i].xid == xid)
            return &session->slots[i];
    return NULL;
}

static int get_sequence(const struct nfs42 *session, struct nfs42_slot *slot,
                        struct xdr_in *in, uint32_t *status,
                        struct ds_error *err)
{
    int result = nfs42_get_op(in, NFS42_SEQUENCE, status, err);
    const uint8_t *id;
    uint32_t sequence, index;

    if (result != 0 || *status != NFS42_OK)
        return result;
    id = xdr_get_fixed(in, NFS42_SESSION_ID_BYTES);
    sequence = xdr_get_u32(in);
    index = xdr_get_u32(in);
    (void)xdr_get_u32(in); /* highest slot */
    (void)xdr_get_u32(in); /* target highest slot */
    (void)xdr_get_u32(in); /* status flags: we have no state to lose */
    if (in->failed ||
        memcmp(id, session->session_id, NFS42_SESSION_ID_BYTES) != 0 ||
        sequence != slot->sequence + 1 ||
        index != (uint32_t)(slot - session->slots))
        return ds_fail(err, DS_ERR_CORRUPT,
                       "nfs: SEQUENCE: have slot %" PRIu32 " sequence %" PRIu32
                       " expect slot %td sequence %" PRIu32,
                       index, sequence, slot - session->slots,
                       slot->sequence + 1);
    slot->sequence++;
    return 0;
}

/* One reply for `slot`, whose call is in flight no longer. */
static int take_reply(struct nfs42 *session, struct running *running,
                      struct nfs42_slot *slot, struct xdr_in *in,
                      struct ds_error *err)
{
    struct nfs42_call *call = slot->call;
    uint32_t status, count, sequence_status;
    int result = get_compound(in, &status, &count, err);

    slot->call = NULL;
    running->flight_count--;
    if (result == 0)
        result = check_count(status, count, call->op_count + 1, err);
    if (result == 0)
        result = get_sequence(session, slot, in, &sequence_status, err);
    if (result != 0)
        return result;
    if (is_session_lost(sequence_status)) {
        running->lost = true;
        return 0;
    }
    if (is_to_wait(status)) {
        session->delay_count++;
        running->resume_ms = now_ms() + running->patience.pause_ms;
        if (running->patience.pause_ms < PAUSE_MS_MAX)
            running->patience.pause_ms *= 2;
        return 0;
    }
    if (sequence_status != NFS42_OK)
        return status_error("SEQUENCE", sequence_status, err);
    result = call->answered(call, status, in, err);
    call->done = true;
    running->done_count++;
    running->patience = patience_begin(session);
    return result;
}

static int receive_one(struct nfs42 *session, struct running *running,
                       struct ds_error *err)
{
    struct nfs42_slot *slot;
    struct xdr_in in;
    uint32_t xid;
    int result = nfs_rpc_receive(&session->rpc, &xid, &in, err);

    if (result != 0)
        return result;
    slot = slot_of(session, xid);
    if (slot == NULL)
        return ds_fail(err, DS_ERR_CORRUPT, "nfs: reply: to no call of ours");
    return take_reply(session, running, slot, &in, err);
}

static int step(struct nfs42 *session, struct running *running,
                struct ds_error *err)
{
    int result = fill_slots(session, running, err);

    if (result == 0 && running->flight_count > 0)
        result = receive_one(session, running, err);
    if (result == 0 && now_ms() > running->patience.end_ms)
        result = ds_fail_errno(err, ETIMEDOUT, NULL,
                               "nfs: the server puts us off (DELAY, GRACE) or "
                               "is lost again and again");
    return result;
}

/* Without recovery: one that must work in a new session. */
static int run_in_session(struct nfs42 *session, struct nfs42_call *calls,
                          size_t count, struct ds_error *err)
{
    struct running running = { .calls = calls,
                               .count = count,
                               .patience = patience_begin(session) };
    int result = 0;

    while (result == 0 && running.done_count < count) {
        result = step(session, &running, err);
        if (result == 0 && running.lost)
            result = ds_fail_errno(err, ECONNRESET, NULL,
                                   "nfs: the server lost the new session");
    }
    return result;
}

static int run_again(struct nfs42 *session, struct running *running,
                     struct ds_error *err)
{
    int result = recover(session, &running->patience, err);

    running->lost = false;
    running->flight_count = 0;
    if (result == 0)
        result = reclaim_complete(session, err);
    return result;
}

int nfs42_run(struct nfs42 *session, struct nfs42_call *calls, size_t count,
              struct ds_error *err)
{
    struct running running = { .calls = calls,
                               .count = count,
                               .lost = session->rpc.fd < 0,
                               .patience = patience_begin(session) };
    struct ds_error own = DS_ERROR_INIT;
    int result = 0;

    for (size_t i = 0; i < count; i++)
        calls[i].done = false;
    while (running.done_count < count) {
        result = running.lost ? run_again(session, &running, &own)
                              : step(session, &running, &own);
        if (result == 0)
            continue;
        running.lost = true;
        if (!may_pass(result, &own) || !patience_wait(&running.patience))
            break;
    }
    if (result != 0) {
        for (unsigned i = 0; i < NFS42_SLOT_COUNT_MAX; i++)
            session->slots[i].call = NULL;
        nfs_rpc_disconnect(&session->rpc);
        if (err != NULL)
            *err = own;
    }
    return result;
}
