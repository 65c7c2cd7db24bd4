/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on one file: what goes into a call and what must come back. */
#include "nfs42_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fail.h"

#define PATH_COMPONENT_BYTES_MAX 255u

/* Attributes: bits of the words of a bitmap4, RFC 8881 section 5.6. */
#define WORD0_TYPE (UINT32_C(1) << 1)
#define WORD0_SIZE (UINT32_C(1) << 4)
#define WORD0_FILE_ID (UINT32_C(1) << 20)
#define TYPE_REGULAR 1u
#define WRITE_LOCK 2u /* WRITE_LT */

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
    struct nfs42_lock_test *locks;
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
        return nfs42_too_short("GETATTR", err);
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

/* The first that is denied ends the compound. */
static int get_locks(struct nfs42_lock_test *locks, struct xdr_in *in,
                     struct ds_error *err)
{
    int result = 0;

    locks->status = NFS42_OK;
    for (size_t i = 0;
         i < locks->count && result == 0 && locks->status == NFS42_OK; i++)
        result = nfs42_get_op(in, NFS42_LOCKT, &locks->status, err);
    return result;
}

static int look_up_answered(struct nfs42_call *call, uint32_t status,
                            struct xdr_in *in, struct ds_error *err)
{
    struct look_up *look = call->user;
    uint32_t have = NFS42_OK;
    int result = nfs42_get_op(in, NFS42_PUTROOTFH, &have, err);

    for (uint32_t i = 0;
         i < look->component_count && result == 0 && have == NFS42_OK; i++)
        result = nfs42_get_op(in, NFS42_LOOKUP, &have, err);
    if (result == 0 && have == NFS42_OK)
        result = nfs42_get_op(in, NFS42_GETFH, &have, err);
    if (result == 0 && have == NFS42_OK)
        result = get_handle(in, &look->facts->handle, err);
    if (result == 0 && have == NFS42_OK)
        result = nfs42_get_op(in, NFS42_GETATTR, &have, err);
    *look->status = have;
    if (result == 0 && have == NFS42_OK)
        result = get_attributes(look, in, err);
    if (result == 0 && have == NFS42_OK && look->locks != NULL) {
        result = get_locks(look->locks, in, err);
        have = look->locks->status;
    }
    if (result == 0 && have != status)
        result = ds_fail(err, DS_ERR_CORRUPT,
                         "nfs: reply: have status %" PRIu32 " expect %" PRIu32,
                         status, have);
    return result;
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

/* LOCKT (RFC 8881 section 18.11) of one byte each. */
static void put_locks(struct nfs42_call *call, uint64_t client_id,
                      const struct nfs42_lock_test *locks)
{
    for (size_t i = 0; i < locks->count; i++) {
        nfs42_put_op(call, NFS42_LOCKT);
        xdr_put_u32(&call->ops, WRITE_LOCK);
        xdr_put_u64(&call->ops, locks->offsets[i]);
        xdr_put_u64(&call->ops, 1);
        xdr_put_u64(&call->ops, client_id);
        xdr_put_string(&call->ops, "diskshift");
    }
}

int nfs42_look_up(struct nfs42 *session, const char *path,
                  struct nfs42_lock_test *locks, struct nfs42_file_facts *out,
                  uint32_t *status, struct ds_error *err)
{
    struct look_up look = { .facts = out, .locks = locks, .status = status };
    struct nfs42_call call = { .purpose = NFS42_LOOKUP,
                               .answered = look_up_answered,
                               .user = &look };
    bool too_long = false;

    *out = (struct nfs42_file_facts){ 0 };
    nfs42_put_op(&call, NFS42_PUTROOTFH);
    look.component_count = put_path(&call, path, &too_long);
    nfs42_put_op(&call, NFS42_GETFH);
    nfs42_put_op(&call, NFS42_GETATTR);
    xdr_put_u32(&call.ops, 1);
    xdr_put_u32(&call.ops, WANTED);
    if (locks != NULL)
        put_locks(&call, session->client_id, locks);
    if (too_long ||
        call.op_count + NFS42_SEQUENCE_OP_COUNT > session->op_count_max ||
        call.ops.length_bytes + NFS42_HEADER_BYTES >
            session->request_bytes_max) {
        nfs42_call_free(&call);
        *status = NFS42_ERR_RESOURCE;
        return 0;
    }
    return run_one(session, &call, err);
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
    struct nfs42_call call = { .purpose = single->op,
                               .answered = single_answered,
                               .user = single };

    nfs42_put_file(&call, handle);
    nfs42_put_op(&call, single->op);
    return call;
}

static int get_seek(struct single *single, struct xdr_in *in,
                    struct ds_error *err)
{
    *single->at_end = xdr_get_u32(in) != 0;
    *single->offset_bytes = xdr_get_u64(in);
    return in->failed ? nfs42_too_short("SEEK", err) : 0;
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

    nfs42_put_state(&call);
    xdr_put_u64(&call.ops, offset_bytes);
    xdr_put_u32(&call.ops, hole ? 1 : 0);
    return run_one(session, &call, err);
}

static int get_verifier(struct single *single, struct xdr_in *in,
                        struct ds_error *err)
{
    const uint8_t *bytes = xdr_get_fixed(in, NFS42_VERIFIER_BYTES);

    if (bytes == NULL)
        return nfs42_too_short("COMMIT", err);
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
