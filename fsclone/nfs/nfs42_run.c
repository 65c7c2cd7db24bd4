/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compounds in the session (RFC 8881 sections 2.10.6 and 18.46).
 *
 *   calls without an answer -> free slots -> replies
 *     DELAY, GRACE             wait, send it again
 *     connection, session lost nfs42_recover, send it again
 *     anything unforeseen      an error; the connection is closed
 *
 * A slot's sequence counts the calls that the server took: it is raised when
 * a reply's SEQUENCE says so, not when a call is sent.
 */
#include "nfs42_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "fail.h"

struct running {
    struct nfs42_call *calls;
    size_t count;
    size_t done_count;
    size_t flight_count;
    int64_t resume_ms; /* send nothing before */
    bool lost;         /* the session: recover */
    struct nfs_patience patience;
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

    nfs42_begin_compound(session, call->op_count + 1);
    xdr_put_u32(out, NFS42_SEQUENCE);
    xdr_put_fixed(out, session->session_id, NFS42_SESSION_ID_BYTES);
    xdr_put_u32(out, slot->sequence + 1);
    xdr_put_u32(out, index);
    xdr_put_u32(out, session->slot_count - 1);
    xdr_put_u32(out, 0); /* the reply need not be cached */
    xdr_put_out(out, &call->ops);
    slot->call = call;
    slot->xid = session->rpc.xid;
    return nfs42_send(session, call->purpose, call->op_count + 1, err);
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

    if (nfs_now_ms() < running->resume_ms) {
        if (running->flight_count > 0)
            return 0;
        nfs_pause_ms(running->resume_ms - nfs_now_ms());
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
    int result = nfs42_get_compound(in, &status, &count, err);

    slot->call = NULL;
    running->flight_count--;
    if (result == 0)
        result = nfs42_check_count(status, count, call->op_count + 1, err);
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
        running->resume_ms = nfs_now_ms() + running->patience.pause_ms;
        if (running->patience.pause_ms < NFS_PAUSE_MS_MAX)
            running->patience.pause_ms *= 2;
        return 0;
    }
    if (sequence_status != NFS42_OK)
        return nfs42_status_error("SEQUENCE", sequence_status, err);
    result = call->answered(call, status, in, err);
    call->done = true;
    running->done_count++;
    running->patience = nfs_patience_begin(session->patience_ms);
    return result;
}

static int receive_one(struct nfs42 *session, struct running *running,
                       struct ds_error *err)
{
    uint64_t before = session->rpc.received_bytes;
    struct nfs42_slot *slot;
    struct xdr_in in;
    uint32_t xid;
    int result = nfs_rpc_receive(&session->rpc, &xid, &in, err);

    if (result != 0)
        return result;
    slot = slot_of(session, xid);
    if (slot == NULL)
        return ds_fail(err, DS_ERR_CORRUPT, "nfs: reply: to no call of ours");
    session->counts[slot->call->purpose].received_bytes +=
        session->rpc.received_bytes - before;
    return take_reply(session, running, slot, &in, err);
}

static int step(struct nfs42 *session, struct running *running,
                struct ds_error *err)
{
    int result = fill_slots(session, running, err);

    if (result == 0 && running->flight_count > 0)
        result = receive_one(session, running, err);
    if (result == 0 && nfs_now_ms() > running->patience.end_ms)
        result = ds_fail_errno(err, ETIMEDOUT, NULL,
                               "nfs: the server puts us off (DELAY, GRACE) or "
                               "is lost again and again");
    return result;
}

int nfs42_run_once(struct nfs42 *session, struct nfs42_call *calls,
                   size_t count, struct ds_error *err)
{
    struct running running = { .calls = calls,
                               .count = count,
                               .patience =
                                   nfs_patience_begin(session->patience_ms) };
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
    int result = nfs42_recover(session, &running->patience, err);

    running->lost = false;
    running->flight_count = 0;
    if (result == 0)
        result = nfs42_reclaim_complete(session, err);
    return result;
}

int nfs42_run(struct nfs42 *session, struct nfs42_call *calls, size_t count,
              struct ds_error *err)
{
    struct running running = { .calls = calls,
                               .count = count,
                               .lost = session->rpc.fd < 0,
                               .patience =
                                   nfs_patience_begin(session->patience_ms) };
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
        if (!nfs42_may_pass(result, &own) ||
            !nfs_patience_wait(&running.patience))
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
