/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many pieces of files, in compounds:
 *
 *   PUTFH source, SAVEFH, PUTFH target, CLONE, CLONE, DEALLOCATE, ... PUTFH ...
 *
 * as many as the server grants, and as many compounds in flight as there are
 * slots. The first operation that fails ends its compound: its piece has that
 * status, those behind it go into another one.
 *
 * WRITE is none of them: Linux 6.1 writes the wrong bytes when a compound has
 * two whose data do not begin at a page of the message, and one alone is no
 * better than NFSv3's.
 */
#include "nfs42_inner.h"

#include <inttypes.h>
#include <string.h>

#include "fail.h"

#define CALL_COUNT_MAX NFS42_SLOT_COUNT_MAX
#define PIECE_BYTES_MAX                                                        \
    (2 * (8 + NFS42_HANDLE_BYTES_MAX) + 4 + 4 + 2 * NFS42_STATE_ID_BYTES + 36)

/* Which files a compound's operations are about, at some point in it. */
struct files {
    const struct nfs42_handle *saved, *current;
};

/* Pieces [first, end) went into the call. */
struct packed {
    struct nfs42_piece *pieces;
    size_t first;
    size_t end;
};

/* What has to be said before the piece, and is then as said. */
static void choose_files(struct files *files, const struct nfs42_piece *piece,
                         bool *source, bool *target)
{
    *source = piece->source != NULL && files->saved != piece->source;
    *target = *source || files->current != piece->target;
    files->current = piece->target;
    if (*source)
        files->saved = piece->source;
}

/* RFC 7862 section 15 */
static void put_piece(struct nfs42_call *call, const struct nfs42_piece *piece)
{
    struct xdr_out *out = &call->ops;

    nfs42_put_op(call, piece->op);
    if (piece->source != NULL) {
        nfs42_put_state(call);
        nfs42_put_state(call);
        xdr_put_u64(out, piece->source_offset_bytes);
        xdr_put_u64(out, piece->target_offset_bytes);
        xdr_put_u64(out, piece->length_bytes);
        if (piece->op == NFS42_COPY) {
            xdr_put_u32(out, 1); /* in order */
            xdr_put_u32(out, 1); /* done when answered */
            xdr_put_u32(out, 0); /* on this server */
        }
        return;
    }
    nfs42_put_state(call);
    xdr_put_u64(out, piece->target_offset_bytes);
    xdr_put_u64(out, piece->length_bytes);
}

static int check_done(const struct nfs42_piece *piece, struct ds_error *err)
{
    if (piece->done_bytes <= piece->length_bytes)
        return 0;
    return ds_fail(err, DS_ERR_CORRUPT,
                   "nfs: %s: have %" PRIu64 " bytes expect at most %" PRIu64,
                   nfs42_purpose_name(piece->op), piece->done_bytes,
                   piece->length_bytes);
}

/* A state id says that the server goes on by itself and will call back, which
 * was neither asked for nor can be heard. */
static int get_copied(struct xdr_in *in, struct nfs42_piece *piece,
                      struct ds_error *err)
{
    uint32_t callbacks = xdr_get_u32(in);

    if (callbacks > 1)
        in->failed = true;
    if (callbacks == 1)
        (void)xdr_get_fixed(in, NFS42_STATE_ID_BYTES);
    piece->done_bytes = xdr_get_u64(in);
    (void)xdr_get_u32(in); /* committed: flushed in the end anyhow */
    (void)xdr_get_fixed(in, NFS42_VERIFIER_BYTES);
    (void)xdr_get_u32(in); /* in order */
    (void)xdr_get_u32(in); /* done */
    if (in->failed)
        return nfs42_too_short("COPY", err);
    if (callbacks == 1)
        piece->status = NFS42_ERR_OFFLOAD_NO_REQS;
    return check_done(piece, err);
}

/* The results that belong to a piece; its status is the last one's. */
static int get_piece(struct xdr_in *in, struct files *files,
                     struct nfs42_piece *piece, struct ds_error *err)
{
    bool source, target;
    uint32_t status = NFS42_OK;
    int result = 0;

    choose_files(files, piece, &source, &target);
    if (source)
        result = nfs42_get_op(in, NFS42_PUTFH, &status, err);
    if (source && result == 0 && status == NFS42_OK)
        result = nfs42_get_op(in, NFS42_SAVEFH, &status, err);
    if (target && result == 0 && status == NFS42_OK)
        result = nfs42_get_op(in, NFS42_PUTFH, &status, err);
    if (result == 0 && status == NFS42_OK)
        result = nfs42_get_op(in, piece->op, &status, err);
    if (result != 0)
        return result;
    piece->status = status;
    piece->answered = true;
    if (status == NFS42_OK && piece->op == NFS42_COPY)
        return get_copied(in, piece, err);
    return 0;
}

static int pieces_answered(struct nfs42_call *call, uint32_t status,
                           struct xdr_in *in, struct ds_error *err)
{
    struct packed *packed = call->user;
    struct files files = { 0 };
    uint32_t last = NFS42_OK;

    for (size_t i = packed->first; i < packed->end && last == NFS42_OK; i++) {
        int result = get_piece(in, &files, &packed->pieces[i], err);

        if (result != 0)
            return result;
        last = packed->pieces[i].status;
        if (last == NFS42_ERR_OFFLOAD_NO_REQS && status == NFS42_OK)
            return 0; /* our own word for a COPY, which is alone */
    }
    if (last != status)
        return ds_fail(err, DS_ERR_CORRUPT,
                       "nfs: reply: have status %" PRIu32 " expect %" PRIu32
                       ", the last result's",
                       status, last);
    return 0;
}

static bool fits(const struct nfs42 *session, const struct nfs42_call *call,
                 uint32_t op_count)
{
    return call->op_count + op_count + NFS42_SEQUENCE_OP_COUNT <=
               session->op_count_max &&
           call->ops.length_bytes + PIECE_BYTES_MAX + NFS42_HEADER_BYTES <=
               session->request_bytes_max;
}

/* Fill a call with pieces from `first` on that have not run. */
static void pack(const struct nfs42 *session, struct nfs42_call *call,
                 struct packed *packed, size_t count)
{
    struct files files = { 0 };
    size_t i;

    for (i = packed->first; i < count; i++) {
        struct nfs42_piece *piece = &packed->pieces[i];
        struct files then = files;
        bool source, target;

        choose_files(&then, piece, &source, &target);
        if (piece->answered || i - packed->first == session->piece_count_max ||
            !fits(session, call, 1u + 2u * source + target))
            break;
        /* One COPY takes its time: no more of them behind each other. */
        if ((piece->op == NFS42_COPY || piece->begins_compound) &&
            i > packed->first)
            break;
        if (source) {
            nfs42_put_file(call, piece->source);
            nfs42_put_op(call, NFS42_SAVEFH);
        }
        if (target)
            nfs42_put_file(call, piece->target);
        put_piece(call, piece);
        files = then;
        if (piece->op == NFS42_COPY) {
            i++;
            break;
        }
    }
    packed->end = i;
}

/* One round: as many calls as there are slots, from *next on. */
static int run_round(struct nfs42 *session, struct nfs42_piece *pieces,
                     size_t count, size_t *next, struct ds_error *err)
{
    struct nfs42_call calls[CALL_COUNT_MAX] = { 0 };
    struct packed packed[CALL_COUNT_MAX];
    size_t call_count = 0;
    int result;

    while (call_count < CALL_COUNT_MAX) {
        struct nfs42_call *call = &calls[call_count];

        while (*next < count && pieces[*next].answered)
            ++*next;
        if (*next == count)
            break;
        packed[call_count] =
            (struct packed){ .pieces = pieces, .first = *next };
        call->purpose = pieces[*next].op;
        call->answered = pieces_answered;
        call->user = &packed[call_count];
        pack(session, call, &packed[call_count], count);
        *next = packed[call_count].end;
        call_count++;
    }
    result = nfs42_run(session, calls, call_count, err);
    for (size_t i = 0; i < call_count; i++)
        nfs42_call_free(&calls[i]);
    return result;
}

static bool any_left(const struct nfs42_piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!pieces[i].answered)
            return true;
    return false;
}

/* Each round gives at least the first piece of each call its status. */
int nfs42_run_pieces(struct nfs42 *session, struct nfs42_piece *pieces,
                     size_t count, struct ds_error *err)
{
    size_t next = 0;
    int result = 0;

    for (size_t i = 0; i < count; i++) {
        pieces[i].answered = false;
        pieces[i].done_bytes = 0;
    }
    while (result == 0 && any_left(pieces, count)) {
        if (next == count)
            next = 0;
        result = run_round(session, pieces, count, &next, err);
    }
    return result;
}
