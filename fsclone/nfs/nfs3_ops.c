/* SPDX-License-Identifier: Apache-2.0 */
/* The procedures: what goes into a call and what may come back. libnfs has
 * decoded it; lengths and counts are still the server's word. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "arith.h"
#include "fail.h"
#include "nfs3.h"

#define CALL_COUNT_MAX 16u
#define TRANSFER_BYTES_MAX (1024u * 1024u) /* in one READ or WRITE */
#define TRANSFER_BYTES_MIN 512u
#define DIRECTORY_BYTES (32u * 1024u)
#define DIRECTORY_CALL_COUNT_MAX 100000u /* one could go on for ever */

static struct nfs_fh3 wire_handle(const struct nfs3_handle *handle)
{
    return (struct nfs_fh3){
        .data = { .data_len = handle->length_bytes,
                  .data_val = (char *)(uintptr_t)handle->bytes },
    };
}

static struct diropargs3 wire_name(const struct nfs3_handle *directory,
                                   const char *name)
{
    return (struct diropargs3){ .dir = wire_handle(directory),
                                .name = (char *)(uintptr_t)name };
}

static bool take_handle(const struct nfs_fh3 *wire, struct nfs3_handle *out)
{
    if (wire->data.data_len == 0 || wire->data.data_len > NFS3_HANDLE_BYTES_MAX)
        return false;
    memcpy(out->bytes, wire->data.data_val, wire->data.data_len);
    out->length_bytes = wire->data.data_len;
    return true;
}

static uint32_t kind_of(ftype3 type)
{
    switch (type) {
    case NF3REG:
        return S_IFREG;
    case NF3DIR:
        return S_IFDIR;
    case NF3BLK:
        return S_IFBLK;
    case NF3CHR:
        return S_IFCHR;
    case NF3LNK:
        return S_IFLNK;
    case NF3SOCK:
        return S_IFSOCK;
    case NF3FIFO:
        return S_IFIFO;
    }
    return 0;
}

static void take_facts(const struct fattr3 *wire, struct nfs3_facts *out)
{
    *out = (struct nfs3_facts){
        .mode = (wire->mode & 07777) | kind_of(wire->type),
        .link_count = wire->nlink,
        .uid = wire->uid,
        .gid = wire->gid,
        .size_bytes = wire->size,
        .filesystem_id = wire->fsid,
        .file_id = wire->fileid,
        .modified = wire->mtime,
        .changed = wire->ctime,
    };
}

static int run_one(struct nfs3 *client, struct nfs3_call *call)
{
    int status = nfs3_run(client, call, 1);

    return status != 0 ? status : call->status;
}

/* -- attributes -------------------------------------------------------------*/

static bool getattr_answered(struct nfs3_call *call, const void *result)
{
    const struct GETATTR3res *have = result;

    take_facts(&have->GETATTR3res_u.resok.obj_attributes, call->out);
    return true;
}

int nfs3_getattr(struct nfs3 *client, const struct nfs3_handle *file,
                 struct nfs3_facts *out)
{
    struct nfs3_call call = { .procedure = NFS3_CALL_GETATTR,
                              .answered = getattr_answered,
                              .out = out };

    call.args.getattr.object = wire_handle(file);
    return run_one(client, &call);
}

int nfs3_setattr(struct nfs3 *client, const struct nfs3_handle *file,
                 const struct nfs3_change *change)
{
    struct nfs3_call call = { .procedure = NFS3_CALL_SETATTR };
    struct sattr3 *set = &call.args.setattr.new_attributes;

    call.args.setattr.object = wire_handle(file);
    set->mode.set_it = change->mode != NULL;
    if (change->mode != NULL)
        set->mode.set_mode3_u.mode = *change->mode;
    set->uid.set_it = change->uid != NULL;
    if (change->uid != NULL)
        set->uid.set_uid3_u.uid = *change->uid;
    set->gid.set_it = change->gid != NULL;
    if (change->gid != NULL)
        set->gid.set_gid3_u.gid = *change->gid;
    set->size.set_it = change->size_bytes != NULL;
    if (change->size_bytes != NULL)
        set->size.set_size3_u.size = *change->size_bytes;
    set->atime.set_it = change->times_now ? SET_TO_SERVER_TIME : DONT_CHANGE;
    set->mtime.set_it = set->atime.set_it;
    return run_one(client, &call);
}

/* -- names ------------------------------------------------------------------*/

struct found {
    struct nfs3_handle *file;
    struct nfs3_facts *facts;
    bool has_file, has_facts;
};

static bool take_found(struct found *found, const struct nfs_fh3 *handle,
                       const struct post_op_attr *attributes)
{
    found->has_file = handle != NULL;
    found->has_facts = attributes->attributes_follow != 0;
    if (found->has_facts)
        take_facts(&attributes->post_op_attr_u.attributes, found->facts);
    return handle == NULL || take_handle(handle, found->file);
}

static bool lookup_answered(struct nfs3_call *call, const void *result)
{
    const struct LOOKUP3resok *have =
        &((const struct LOOKUP3res *)result)->LOOKUP3res_u.resok;

    return take_found(call->out, &have->object, &have->obj_attributes);
}

/* A server may leave the attributes out. */
static int complete(struct nfs3 *client, int status, const struct found *found)
{
    return status != 0 || found->has_facts
               ? status
               : nfs3_getattr(client, found->file, found->facts);
}

int nfs3_lookup(struct nfs3 *client, const struct nfs3_handle *directory,
                const char *name, struct nfs3_handle *file,
                struct nfs3_facts *facts)
{
    struct found found = { .file = file, .facts = facts };
    struct nfs3_call call = { .procedure = NFS3_CALL_LOOKUP,
                              .answered = lookup_answered,
                              .out = &found };

    call.args.lookup.what = wire_name(directory, name);
    return complete(client, run_one(client, &call), &found);
}

static bool create_answered(struct nfs3_call *call, const void *result)
{
    const struct CREATE3resok *have =
        &((const struct CREATE3res *)result)->CREATE3res_u.resok;

    return take_found(
        call->out,
        have->obj.handle_follows != 0 ? &have->obj.post_op_fh3_u.handle : NULL,
        &have->obj_attributes);
}

int nfs3_create(struct nfs3 *client, const struct nfs3_handle *directory,
                const char *name, const uint32_t *mode,
                struct nfs3_handle *file, struct nfs3_facts *facts)
{
    struct found found = { .file = file, .facts = facts };
    struct nfs3_call call = { .procedure = NFS3_CALL_CREATE,
                              .answered = create_answered,
                              .out = &found };
    struct createhow3 *how = &call.args.create.how;
    int status;

    call.args.create.where = wire_name(directory, name);
    how->mode = mode == NULL ? EXCLUSIVE : GUARDED;
    if (mode != NULL) {
        how->createhow3_u.g_obj_attributes.mode.set_it = 1;
        how->createhow3_u.g_obj_attributes.mode.set_mode3_u.mode = *mode;
    } else if (getrandom(how->createhow3_u.verf, NFS3_CREATEVERFSIZE, 0) !=
               NFS3_CREATEVERFSIZE) {
        return -EIO;
    }
    status = run_one(client, &call);
    if (status == 0 && !found.has_file)
        return nfs3_lookup(client, directory, name, file, facts);
    return complete(client, status, &found);
}

int nfs3_remove(struct nfs3 *client, const struct nfs3_handle *directory,
                const char *name)
{
    struct nfs3_call call = { .procedure = NFS3_CALL_REMOVE };

    call.args.remove.object = wire_name(directory, name);
    return run_one(client, &call);
}

int nfs3_rename(struct nfs3 *client, const struct nfs3_handle *directory,
                const char *from, const char *to)
{
    struct nfs3_call call = { .procedure = NFS3_CALL_RENAME };

    call.args.rename.from = wire_name(directory, from);
    call.args.rename.to = wire_name(directory, to);
    return run_one(client, &call);
}

static bool link_answered(struct nfs3_call *call, const void *result)
{
    const struct post_op_attr *have =
        &((const struct LINK3res *)result)->LINK3res_u.resok.file_attributes;

    if (have->attributes_follow != 0)
        *(uint32_t *)call->out = have->post_op_attr_u.attributes.nlink;
    return true;
}

int nfs3_link(struct nfs3 *client, const struct nfs3_handle *file,
              const struct nfs3_handle *directory, const char *name,
              uint32_t *link_count)
{
    struct nfs3_call call = { .procedure = NFS3_CALL_LINK,
                              .answered = link_answered,
                              .out = link_count };

    call.args.link.file = wire_handle(file);
    call.args.link.link = wire_name(directory, name);
    return run_one(client, &call);
}

/* -- directories ------------------------------------------------------------*/

struct listing {
    nfs3_entry_fn *each;
    void *user;
    uint64_t cookie;
    cookieverf3 verifier;
    bool at_end;
};

static bool readdir_answered(struct nfs3_call *call, const void *result)
{
    const struct READDIR3resok *have =
        &((const struct READDIR3res *)result)->READDIR3res_u.resok;
    struct listing *listing = call->out;
    const struct entry3 *entry = have->reply.entries;

    /* An answer without entries goes no further. */
    listing->at_end = have->reply.eof != 0 || entry == NULL;
    memcpy(listing->verifier, have->cookieverf, sizeof(listing->verifier));
    for (; entry != NULL && !listing->at_end; entry = entry->nextentry)
        listing->cookie = entry->cookie;
    for (entry = have->reply.entries; entry != NULL; entry = entry->nextentry)
        if (!listing->each(listing->user, entry->name, entry->fileid)) {
            listing->at_end = true;
            break;
        }
    return true;
}

int nfs3_readdir(struct nfs3 *client, const struct nfs3_handle *directory,
                 nfs3_entry_fn *each, void *user)
{
    struct listing listing = { .each = each, .user = user };
    int status = 0;

    for (unsigned i = 0; i < DIRECTORY_CALL_COUNT_MAX; i++) {
        struct nfs3_call call = { .procedure = NFS3_CALL_READDIR,
                                  .answered = readdir_answered,
                                  .out = &listing };

        call.args.readdir.dir = wire_handle(directory);
        call.args.readdir.cookie = listing.cookie;
        memcpy(call.args.readdir.cookieverf, listing.verifier,
               sizeof(listing.verifier));
        call.args.readdir.count = DIRECTORY_BYTES;
        status = run_one(client, &call);
        if (status != 0 || listing.at_end)
            return status;
    }
    return -ELOOP;
}

/* -- data -------------------------------------------------------------------*/

static bool fsinfo_answered(struct nfs3_call *call, const void *result)
{
    const struct FSINFO3resok *have =
        &((const struct FSINFO3res *)result)->FSINFO3res_u.resok;
    struct nfs3 *client = call->out;

    client->read_bytes_max =
        (uint32_t)ds_min_u64(have->rtmax, TRANSFER_BYTES_MAX);
    client->write_bytes_max =
        (uint32_t)ds_min_u64(have->wtmax, TRANSFER_BYTES_MAX);
    return client->read_bytes_max >= TRANSFER_BYTES_MIN &&
           client->write_bytes_max >= TRANSFER_BYTES_MIN;
}

int nfs3_ask_limits(struct nfs3 *client, const struct nfs3_handle *file)
{
    struct nfs3_call call = { .procedure = NFS3_CALL_FSINFO,
                              .answered = fsinfo_answered,
                              .out = client };

    if (client->read_bytes_max != 0)
        return 0;
    call.args.fsinfo.fsroot = wire_handle(file);
    return run_one(client, &call);
}

/* One of several calls that move a stretch together. */
struct part {
    uint8_t *bytes; /* READ: to here */
    uint64_t asked_bytes, done_bytes;
    bool at_end;
    struct nfs3_write *write; /* WRITE: of which */
};

static bool read_answered(struct nfs3_call *call, const void *result)
{
    const struct READ3resok *have =
        &((const struct READ3res *)result)->READ3res_u.resok;
    struct part *part = call->out;

    if (have->count > part->asked_bytes || have->data.data_len < have->count)
        return false;
    memcpy(part->bytes, have->data.data_val, have->count);
    part->done_bytes = have->count;
    part->at_end = have->eof != 0;
    return true;
}

/* What of the parts was done, in order, up to the first that fell short. */
static int sum_up(const struct nfs3_call *calls, const struct part *parts,
                  size_t count, uint64_t *done_bytes, bool *at_end)
{
    *done_bytes = 0;
    *at_end = false;
    for (size_t i = 0; i < count; i++) {
        if (calls[i].status != 0)
            return calls[i].status;
        *done_bytes += parts[i].done_bytes;
        *at_end = parts[i].at_end || parts[i].done_bytes == 0;
        if (parts[i].done_bytes < parts[i].asked_bytes)
            break;
    }
    return 0;
}

static int read_some(struct nfs3 *client, const struct nfs3_handle *file,
                     uint64_t offset_bytes, uint8_t *bytes,
                     uint64_t length_bytes, uint64_t *done_bytes, bool *at_end)
{
    struct nfs3_call calls[CALL_COUNT_MAX];
    struct part parts[CALL_COUNT_MAX];
    size_t count = 0;
    int status;

    memset(calls, 0, sizeof(calls));
    memset(parts, 0, sizeof(parts));
    while (count < CALL_COUNT_MAX && length_bytes > 0) {
        uint64_t part = ds_min_u64(length_bytes, client->read_bytes_max);

        parts[count].bytes = bytes;
        parts[count].asked_bytes = part;
        calls[count].procedure = NFS3_CALL_READ;
        calls[count].answered = read_answered;
        calls[count].out = &parts[count];
        calls[count].args.read.file = wire_handle(file);
        calls[count].args.read.offset = offset_bytes;
        calls[count].args.read.count = (count3)part;
        bytes += part;
        offset_bytes += part;
        length_bytes -= part;
        count++;
    }
    status = nfs3_run(client, calls, count);
    return status != 0 ? status
                       : sum_up(calls, parts, count, done_bytes, at_end);
}

int nfs3_read(struct nfs3 *client, const struct nfs3_handle *file,
              uint64_t offset_bytes, uint8_t *bytes, uint64_t length_bytes,
              uint64_t *done_bytes)
{
    bool at_end = false;
    int status = 0;

    *done_bytes = 0;
    while (status == 0 && *done_bytes < length_bytes && !at_end) {
        uint64_t part = 0;

        status = read_some(client, file, offset_bytes + *done_bytes,
                           bytes + *done_bytes, length_bytes - *done_bytes,
                           &part, &at_end);
        *done_bytes += part;
    }
    return status;
}

static void see_verifier(struct nfs3_verifier *verifier,
                         const uint8_t bytes[NFS3_VERIFIER_BYTES])
{
    if (verifier->known &&
        memcmp(verifier->bytes, bytes, NFS3_VERIFIER_BYTES) != 0)
        verifier->changed = true;
    memcpy(verifier->bytes, bytes, NFS3_VERIFIER_BYTES);
    verifier->known = true;
}

static bool write_answered(struct nfs3_call *call, const void *result)
{
    const struct WRITE3resok *have =
        &((const struct WRITE3res *)result)->WRITE3res_u.resok;
    struct part *part = call->out;

    part->done_bytes = have->count;
    if (have->committed != FILE_SYNC)
        see_verifier(part->write->verifier, (const uint8_t *)have->verf);
    return have->count > 0 && have->count <= part->asked_bytes;
}

/* Where the next call begins, in which of the writes. */
struct cursor {
    size_t index;
    uint64_t done_bytes;
};

/* One call's worth of the writes from the cursor on. */
static void put_write(const struct nfs3 *client, struct nfs3_write *write,
                      struct cursor *cursor, struct nfs3_call *call,
                      struct part *part)
{
    struct WRITE3args *args = &call->args.write;

    *part = (struct part){
        .asked_bytes = ds_min_u64(write->length_bytes - cursor->done_bytes,
                                  client->write_bytes_max),
        .write = write,
    };
    *call = (struct nfs3_call){ .procedure = NFS3_CALL_WRITE,
                                .answered = write_answered,
                                .out = part };
    args->file = wire_handle(write->file);
    args->offset = write->offset_bytes + cursor->done_bytes;
    args->count = (count3)part->asked_bytes;
    args->stable = UNSTABLE;
    args->data.data_len = (u_int)part->asked_bytes;
    args->data.data_val = (char *)(uintptr_t)write->bytes + cursor->done_bytes;
    cursor->done_bytes += part->asked_bytes;
    if (cursor->done_bytes == write->length_bytes)
        *cursor = (struct cursor){ .index = cursor->index + 1 };
}

/* Of those that were written in part, what is left; how many. */
static size_t keep_short(struct nfs3_call *calls, struct part *parts,
                         size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct WRITE3args *args = &calls[i].args.write;
        uint64_t done = parts[i].done_bytes;

        if (calls[i].status != 0)
            parts[i].write->status = calls[i].status;
        if (calls[i].status != 0 || done == parts[i].asked_bytes)
            continue;
        args->offset += done;
        args->count -= (count3)done;
        args->data.data_len = args->count;
        args->data.data_val += done;
        parts[i].asked_bytes -= done;
        parts[kept] = parts[i];
        calls[kept] = calls[i];
        calls[kept].out = &parts[kept];
        kept++;
    }
    return kept;
}

static int write_some(struct nfs3 *client, struct nfs3_write *writes,
                      size_t count, struct cursor *cursor)
{
    struct nfs3_call calls[CALL_COUNT_MAX];
    struct part parts[CALL_COUNT_MAX];
    size_t call_count = 0;
    int status = 0;

    while (call_count < CALL_COUNT_MAX && cursor->index < count) {
        if (writes[cursor->index].length_bytes == 0) {
            cursor->index++;
            continue;
        }
        put_write(client, &writes[cursor->index], cursor, &calls[call_count],
                  &parts[call_count]);
        call_count++;
    }
    while (status == 0 && call_count > 0) {
        status = nfs3_run(client, calls, call_count);
        if (status == 0)
            call_count = keep_short(calls, parts, call_count);
    }
    return status;
}

int nfs3_write(struct nfs3 *client, struct nfs3_write *writes, size_t count)
{
    struct cursor cursor = { 0 };
    int status = 0;

    for (size_t i = 0; i < count; i++)
        writes[i].status = 0;
    while (status == 0 && cursor.index < count)
        status = write_some(client, writes, count, &cursor);
    return status;
}

static bool commit_answered(struct nfs3_call *call, const void *result)
{
    const struct COMMIT3resok *have =
        &((const struct COMMIT3res *)result)->COMMIT3res_u.resok;

    see_verifier(call->out, (const uint8_t *)have->verf);
    return true;
}

int nfs3_commit(struct nfs3 *client, const struct nfs3_handle *file,
                struct nfs3_verifier *verifier)
{
    struct nfs3_call call = { .procedure = NFS3_CALL_COMMIT,
                              .answered = commit_answered,
                              .out = verifier };

    call.args.commit.file = wire_handle(file);
    return run_one(client, &call);
}

static bool fsstat_answered(struct nfs3_call *call, const void *result)
{
    const struct FSSTAT3resok *have =
        &((const struct FSSTAT3res *)result)->FSSTAT3res_u.resok;

    *(uint64_t *)call->out = have->abytes;
    return true;
}

int nfs3_free_bytes(struct nfs3 *client, const struct nfs3_handle *directory,
                    uint64_t *out)
{
    struct nfs3_call call = { .procedure = NFS3_CALL_FSSTAT,
                              .answered = fsstat_answered,
                              .out = out };

    call.args.fsstat.fsroot = wire_handle(directory);
    return run_one(client, &call);
}
