/* SPDX-License-Identifier: Apache-2.0 */
/* The operations: what goes into a call and what must come back. */
#include "nfs42.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fail.h"

#define STATE_ID_BYTES 16u
#define PATH_COMPONENT_BYTES_MAX 255u
#define SEQUENCE_OP_COUNT 1u
#define HEADER_BYTES 1024u /* RPC, credential, SEQUENCE; generously */
/* PUTFH, SAVEFH, PUTFH with two handles */
#define PAIR_BYTES (2 * (8 + NFS42_HANDLE_BYTES_MAX) + 4)
#define PAIR_OP_COUNT 3u
#define CLONE_BYTES (4 + 2 * STATE_ID_BYTES + 24)
#define CALL_COUNT_MAX NFS42_SLOT_COUNT_MAX

/* Attributes: bits of the words of a bitmap4, RFC 8881 section 5.6. */
#define WORD0_TYPE (UINT32_C(1) << 1)
#define WORD0_SIZE (UINT32_C(1) << 4)
#define WORD0_FILE_ID (UINT32_C(1) << 20)
#define TYPE_REGULAR 1u
#define WRITE_LOCK 2u /* WRITE_LT */

static const uint8_t anonymous[STATE_ID_BYTES];

static void put_file(struct nfs42_call *call, const struct nfs42_handle *handle)
{
    nfs42_put_op(call, NFS42_PUTFH);
    xdr_put_opaque(&call->ops, handle->bytes, handle->length_bytes);
}

static void put_state(struct nfs42_call *call)
{
    xdr_put_fixed(&call->ops, anonymous, sizeof(anonymous));
}

static int too_short(const char *what, struct ds_error *err)
{
    return ds_fail(err, DS_ERR_CORRUPT, "nfs: %s: the result is too short",
                   what);
}

/* Run one call and free it. */
static int run_one(struct nfs42 *session, struct nfs42_call *call,
                   struct ds_error *err)
{
    int result = nfs42_run(session, call, 1, err);

    nfs42_call_free(call);
    return result;
}

/* -- LOOKUP -----------------------------------------------------------------*/

struct look_up {
    uint32_t component_count;
    struct nfs42_file_facts *facts;
    uint32_t *status;
};

#define WANTED (WORD0_TYPE | WORD0_SIZE | WORD0_FILE_ID)

/* Whether the words of a bitmap4 say just what was asked for. */
static bool is_as_wanted(struct xdr_in *in)
{
    uint32_t count = xdr_get_u32(in);
    bool as_wanted = count > 0;

    for (uint32_t i = 0; i < count && !in->failed; i++)
        if (xdr_get_u32(in) != (i == 0 ? WANTED : 0))
            as_wanted = false;
    return as_wanted;
}

/* The attributes that were asked for, in the order of their numbers. */
static int get_attributes(struct look_up *look, struct xdr_in *in,
                          struct ds_error *err)
{
    bool as_wanted = is_as_wanted(in);
    uint32_t type;

    if (!as_wanted)
        return ds_fail(err, DS_ERR_CORRUPT,
                       "nfs: GETATTR: other attributes than asked for");
    (void)xdr_get_u32(in); /* length of what follows */
    type = xdr_get_u32(in);
    look->facts->size_bytes = xdr_get_u64(in);
    look->facts->file_id = xdr_get_u64(in);
    if (in->failed)
        return too_short("GETATTR", err);
    if (type != TYPE_REGULAR)
        *look->status = NFS42_ERR_WRONG_TYPE;
    return 0;
}

static int get_handle(struct xdr_in *in, struct nfs42_handle *handle,
                      struct ds_error *err)
{
    size_t length;
    const uint8_t *bytes = xdr_get_opaque(in, NFS42_HANDLE_BYTES_MAX, &length);

    if (bytes == NULL || length == 0)
        return ds_fail(err, DS_ERR_CORRUPT,
                       "nfs: GETFH: the handle is empty or too long");
    memcpy(handle->bytes, bytes, length);
    handle->length_bytes = (uint32_t)length;
    return 0;
}

static int look_up_answered(struct nfs42_call *call, uint32_t status,
                            struct xdr_in *in, struct ds_error *err)
{
    struct look_up *look = call->user;
    uint32_t ignored;
    int result;

    *look->status = status;
    if (status != NFS42_OK)
        return 0;
    result = nfs42_get_op(in, NFS42_PUTROOTFH, &ignored, err);
    for (uint32_t i = 0; i < look->component_count && result == 0; i++)
        result = nfs42_get_op(in, NFS42_LOOKUP, &ignored, err);
    if (result == 0)
        result = nfs42_get_op(in, NFS42_GETFH, &ignored, err);
    if (result == 0)
        result = get_handle(in, &look->facts->handle, err);
    if (result == 0)
        result = nfs42_get_op(in, NFS42_GETATTR, &ignored, err);
    return result == 0 ? get_attributes(look, in, err) : result;
}

/* LOOKUPs for the components of `path`; their count. */
static uint32_t put_path(struct nfs42_call *call, const char *path,
                         bool *too_long)
{
    uint32_t count = 0;

    for (;;) {
        size_t length;

        path += strspn(path, "/");
        length = strcspn(path, "/");
        if (length == 0)
            return count;
        *too_long = *too_long || length > PATH_COMPONENT_BYTES_MAX;
        nfs42_put_op(call, NFS42_LOOKUP);
        xdr_put_opaque(&call->ops, path, length);
        path += length;
        count++;
    }
}

int nfs42_look_up(struct nfs42 *session, const char *path,
                  struct nfs42_file_facts *out, uint32_t *status,
                  struct ds_error *err)
{
    struct look_up look = { .facts = out, .status = status };
    struct nfs42_call call = { .answered = look_up_answered, .user = &look };
    bool too_long = false;

    *out = (struct nfs42_file_facts){ 0 };
    nfs42_put_op(&call, NFS42_PUTROOTFH);
    look.component_count = put_path(&call, path, &too_long);
    nfs42_put_op(&call, NFS42_GETFH);
    nfs42_put_op(&call, NFS42_GETATTR);
    xdr_put_u32(&call.ops, 1);
    xdr_put_u32(&call.ops, WANTED);
    if (too_long || call.op_count + SEQUENCE_OP_COUNT > session->op_count_max ||
        call.ops.length_bytes + HEADER_BYTES > session->request_bytes_max) {
        nfs42_call_free(&call);
        *status = NFS42_ERR_RESOURCE;
        return 0;
    }
    return run_one(session, &call, err);
}

/* -- pieces: CLONE and COPY -------------------------------------------------*/

/* Pieces [first, end) went into the call. */
struct packed {
    struct nfs42_piece *pieces;
    size_t first;
    size_t end;
    enum nfs42_op op;
};

#define PIECE_NOT_RUN UINT32_MAX

static bool same_pair(const struct nfs42_piece *a, const struct nfs42_piece *b)
{
    return a->source == b->source && a->target == b->target;
}

static void put_pair(struct nfs42_call *call, const struct nfs42_piece *piece)
{
    put_file(call, piece->source);
    nfs42_put_op(call, NFS42_SAVEFH);
    put_file(call, piece->target);
}

/* RFC 7862 sections 15.13 and 15.2 */
static void put_piece(struct nfs42_call *call, enum nfs42_op op,
                      const struct nfs42_piece *piece)
{
    nfs42_put_op(call, op);
    put_state(call);
    put_state(call);
    xdr_put_u64(&call->ops, piece->source_offset_bytes);
    xdr_put_u64(&call->ops, piece->target_offset_bytes);
    xdr_put_u64(&call->ops, piece->length_bytes);
    if (op == NFS42_COPY) {
        xdr_put_u32(&call->ops, 1); /* in order */
        xdr_put_u32(&call->ops, 1); /* done when answered */
        xdr_put_u32(&call->ops, 0); /* on this server */
    }
}

static int get_pair(struct xdr_in *in, uint32_t *status, struct ds_error *err)
{
    static const enum nfs42_op pair[PAIR_OP_COUNT] = { NFS42_PUTFH,
                                                       NFS42_SAVEFH,
                                                       NFS42_PUTFH };
    int result = 0;

    *status = NFS42_OK;
    for (unsigned i = 0;
         i < PAIR_OP_COUNT && result == 0 && *status == NFS42_OK; i++)
        result = nfs42_get_op(in, pair[i], status, err);
    return result;
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
        (void)xdr_get_fixed(in, STATE_ID_BYTES);
    piece->done_bytes = xdr_get_u64(in);
    (void)xdr_get_u32(in); /* committed: flushed in the end anyhow */
    (void)xdr_get_fixed(in, NFS42_VERIFIER_BYTES);
    (void)xdr_get_u32(in); /* in order */
    (void)xdr_get_u32(in); /* done */
    if (in->failed)
        return too_short("COPY", err);
    if (callbacks == 1)
        piece->status = NFS42_ERR_OFFLOAD_NO_REQS;
    if (piece->done_bytes > piece->length_bytes)
        return ds_fail(err, DS_ERR_CORRUPT,
                       "nfs: COPY: have %" PRIu64 " bytes expect at most "
                       "%" PRIu64,
                       piece->done_bytes, piece->length_bytes);
    return 0;
}

/* The first that fails ends its compound: those after it have not run. */
static int pieces_answered(struct nfs42_call *call, uint32_t status,
                           struct xdr_in *in, struct ds_error *err)
{
    struct packed *packed = call->user;
    const struct nfs42_piece *before = NULL;
    uint32_t have = NFS42_OK;
    int result = 0;

    for (size_t i = packed->first; i < packed->end && result == 0; i++) {
        struct nfs42_piece *piece = &packed->pieces[i];

        if (before == NULL || !same_pair(before, piece))
            result = get_pair(in, &have, err);
        before = piece;
        if (result == 0 && have == NFS42_OK)
            result = nfs42_get_op(in, packed->op, &have, err);
        if (result != 0)
            break;
        piece->status = have;
        if (have != NFS42_OK)
            break;
        if (packed->op == NFS42_COPY)
            result = get_copied(in, piece, err);
    }
    if (result == 0 && have != status)
        result = ds_fail(err, DS_ERR_CORRUPT,
                         "nfs: reply: have status %" PRIu32 " expect %" PRIu32
                         ", the last result's",
                         status, have);
    return result;
}

/* Fill a call with pieces from `first` on that have not run. Returns the
 * first that did not go in. */
static size_t pack(const struct nfs42 *session, struct nfs42_call *call,
                   struct packed *packed, size_t count)
{
    const struct nfs42_piece *before = NULL;
    size_t i;

    for (i = packed->first; i < count; i++) {
        const struct nfs42_piece *piece = &packed->pieces[i];
        bool new_pair = before == NULL || !same_pair(before, piece);
        uint32_t op_count = 1 + (new_pair ? PAIR_OP_COUNT : 0);
        size_t bytes = CLONE_BYTES + 12 + (new_pair ? PAIR_BYTES : 0);

        if (piece->status != PIECE_NOT_RUN ||
            call->op_count + op_count + SEQUENCE_OP_COUNT >
                session->op_count_max ||
            call->ops.length_bytes + bytes + HEADER_BYTES >
                session->request_bytes_max)
            break;
        /* One COPY takes its time: no more of them behind each other. */
        if (packed->op == NFS42_COPY && i > packed->first)
            break;
        if (new_pair)
            put_pair(call, piece);
        put_piece(call, packed->op, piece);
        before = piece;
    }
    packed->end = i;
    return i;
}

/* One round: as many calls as there are slots, from *next on. */
static int run_round(struct nfs42 *session, enum nfs42_op op,
                     struct nfs42_piece *pieces, size_t count, size_t *next,
                     struct ds_error *err)
{
    struct nfs42_call calls[CALL_COUNT_MAX] = { 0 };
    struct packed packed[CALL_COUNT_MAX];
    size_t call_count = 0;
    int result;

    while (call_count < CALL_COUNT_MAX) {
        while (*next < count && pieces[*next].status != PIECE_NOT_RUN)
            ++*next;
        if (*next == count)
            break;
        packed[call_count] =
            (struct packed){ .pieces = pieces, .first = *next, .op = op };
        calls[call_count].answered = pieces_answered;
        calls[call_count].user = &packed[call_count];
        *next = pack(session, &calls[call_count], &packed[call_count], count);
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
        if (pieces[i].status == PIECE_NOT_RUN)
            return true;
    return false;
}

/* Each round gives at least the first piece of each call its status. */
static int run_pieces(struct nfs42 *session, enum nfs42_op op,
                      struct nfs42_piece *pieces, size_t count,
                      struct ds_error *err)
{
    size_t next = 0;
    int result = 0;

    for (size_t i = 0; i < count; i++) {
        pieces[i].status = PIECE_NOT_RUN;
        pieces[i].done_bytes = 0;
    }
    while (result == 0 && any_left(pieces, count)) {
        if (next == count)
            next = 0;
        result = run_round(session, op, pieces, count, &next, err);
    }
    return result;
}

int nfs42_clone(struct nfs42 *session, struct nfs42_piece *pieces, size_t count,
                struct ds_error *err)
{
    return run_pieces(session, NFS42_CLONE, pieces, count, err);
}

int nfs42_copy(struct nfs42 *session, struct nfs42_piece *pieces, size_t count,
               struct ds_error *err)
{
    return run_pieces(session, NFS42_COPY, pieces, count, err);
}

/* -- single operations on one file ------------------------------------------*/

struct single {
    enum nfs42_op op;
    uint32_t *status;
    int (*get)(struct single *single, struct xdr_in *in, struct ds_error *err);
    uint64_t *offset_bytes;
    bool *at_end;
    uint8_t *verifier;
};

static int single_answered(struct nfs42_call *call, uint32_t status,
                           struct xdr_in *in, struct ds_error *err)
{
    struct single *single = call->user;
    int result = nfs42_get_op(in, NFS42_PUTFH, single->status, err);

    if (result != 0 || *single->status != NFS42_OK)
        return result;
    result = nfs42_get_op(in, single->op, single->status, err);
    if (result == 0 && *single->status != status)
        return ds_fail(err, DS_ERR_CORRUPT,
                       "nfs: reply: have status %" PRIu32 " expect %" PRIu32,
                       status, *single->status);
    if (result == 0 && *single->status == NFS42_OK && single->get != NULL)
        result = single->get(single, in, err);
    return result;
}

static struct nfs42_call single_begin(struct single *single,
                                      const struct nfs42_handle *handle)
{
    struct nfs42_call call = { .answered = single_answered, .user = single };

    put_file(&call, handle);
    nfs42_put_op(&call, single->op);
    return call;
}

int nfs42_allocate(struct nfs42 *session, enum nfs42_op op,
                   const struct nfs42_handle *handle, uint64_t offset_bytes,
                   uint64_t length_bytes, uint32_t *status,
                   struct ds_error *err)
{
    struct single single = { .op = op, .status = status };
    struct nfs42_call call = single_begin(&single, handle);

    put_state(&call);
    xdr_put_u64(&call.ops, offset_bytes);
    xdr_put_u64(&call.ops, length_bytes);
    return run_one(session, &call, err);
}

static int get_seek(struct single *single, struct xdr_in *in,
                    struct ds_error *err)
{
    *single->at_end = xdr_get_u32(in) != 0;
    *single->offset_bytes = xdr_get_u64(in);
    return in->failed ? too_short("SEEK", err) : 0;
}

int nfs42_seek(struct nfs42 *session, const struct nfs42_handle *handle,
               uint64_t offset_bytes, bool hole, uint64_t *found_bytes,
               bool *at_end, uint32_t *status, struct ds_error *err)
{
    struct single single = { .op = NFS42_SEEK,
                             .status = status,
                             .get = get_seek,
                             .offset_bytes = found_bytes,
                             .at_end = at_end };
    struct nfs42_call call = single_begin(&single, handle);

    put_state(&call);
    xdr_put_u64(&call.ops, offset_bytes);
    xdr_put_u32(&call.ops, hole ? 1 : 0);
    return run_one(session, &call, err);
}

static int get_verifier(struct single *single, struct xdr_in *in,
                        struct ds_error *err)
{
    const uint8_t *bytes = xdr_get_fixed(in, NFS42_VERIFIER_BYTES);

    if (bytes == NULL)
        return too_short("COMMIT", err);
    memcpy(single->verifier, bytes, NFS42_VERIFIER_BYTES);
    return 0;
}

int nfs42_commit(struct nfs42 *session, const struct nfs42_handle *handle,
                 uint8_t verifier[NFS42_VERIFIER_BYTES], uint32_t *status,
                 struct ds_error *err)
{
    struct single single = { .op = NFS42_COMMIT,
                             .status = status,
                             .get = get_verifier,
                             .verifier = verifier };
    struct nfs42_call call = single_begin(&single, handle);

    xdr_put_u64(&call.ops, 0); /* all of it */
    xdr_put_u32(&call.ops, 0);
    return run_one(session, &call, err);
}

struct lock_test {
    size_t count;
    uint32_t *status;
};

/* The first that is denied ends the compound. */
static int locks_answered(struct nfs42_call *call, uint32_t status,
                          struct xdr_in *in, struct ds_error *err)
{
    const struct lock_test *test = call->user;
    int result = nfs42_get_op(in, NFS42_PUTFH, test->status, err);

    for (size_t i = 0;
         i < test->count && result == 0 && *test->status == NFS42_OK; i++)
        result = nfs42_get_op(in, NFS42_LOCKT, test->status, err);
    if (result == 0 && *test->status != status)
        result = ds_fail(err, DS_ERR_CORRUPT,
                         "nfs: reply: have status %" PRIu32 " expect %" PRIu32,
                         status, *test->status);
    return result;
}

int nfs42_test_locks(struct nfs42 *session, const struct nfs42_handle *handle,
                     const uint64_t *offsets, size_t count, uint32_t *status,
                     struct ds_error *err)
{
    struct lock_test test = { .count = count, .status = status };
    struct nfs42_call call = { .answered = locks_answered, .user = &test };

    put_file(&call, handle);
    for (size_t i = 0; i < count; i++) {
        nfs42_put_op(&call, NFS42_LOCKT);
        xdr_put_u32(&call.ops, WRITE_LOCK);
        xdr_put_u64(&call.ops, offsets[i]);
        xdr_put_u64(&call.ops, 1);
        xdr_put_u64(&call.ops, session->client_id);
        xdr_put_string(&call.ops, "diskshift");
    }
    return run_one(session, &call, err);
}
