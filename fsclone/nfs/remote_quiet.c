/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a source is quiet. QEMU's locks (see local_lock.c) reach an NFS
 * server from any client; LOCKT of NFSv4 asks for them without taking any. By
 * NFSv3 alone they cannot be seen. VMware's locks are files: remote_vmware.c.
 *
 * Locks of our own are not held: they would need an open file at the server.
 * Size, modification and change time are compared at the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fail.h"
#include "remote.h"

#define QEMU_USES_WRITE 101u
#define QEMU_FORBIDS_READ 200u

/* A server without locks says so: nobody holds one there. */
static int check_locks(struct remote_file *file, struct ds_error *err)
{
    static const uint64_t bytes[] = { QEMU_USES_WRITE, QEMU_FORBIDS_READ };
    struct nfs42_lock_test locks = { .offsets = bytes, .count = 2 };
    int result = remote_look_up42(file, &locks);

    if (result != 0 && err != NULL)
        *err = file->why_not42;
    if (result != 0 || locks.status != NFS42_ERR_DENIED)
        return result;
    return ds_fail_at(err, &file->base, QEMU_USES_WRITE, DS_ERR_REFUSED,
                      "nfs: lock: a process holds the image open for writing "
                      "(QEMU's lock on byte %u or %u); shut the guest down or "
                      "take a snapshot first",
                      QEMU_USES_WRITE, QEMU_FORBIDS_READ);
}

int remote_quiesce(struct ds_file *base, struct ds_error *err)
{
    struct remote_file *file = remote_of(base);
    int result = check_locks(file, err), status;

    if (result == 0)
        result = remote_check_vmware(file, err);
    if (result != 0)
        return result;
    status = nfs3_getattr(remote_nfs3(file), &file->handle, &file->quiet);
    if (status != 0)
        return remote_fail(file->mount->server, status, base->path,
                           "cannot stat", err);
    if (file->quiet.size_bytes != base->size_bytes)
        return ds_fail_at(err, base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "nfs: file: size changed since it was opened, have "
                          "%" PRIu64 " expect %" PRIu64,
                          file->quiet.size_bytes, base->size_bytes);
    remote_forget_windows(file);
    file->is_quiet = true;
    return 0;
}

static bool is_other(const struct nfstime3 *a, const struct nfstime3 *b)
{
    return a->seconds != b->seconds || a->nseconds != b->nseconds;
}

int remote_check_unchanged(struct ds_file *base, struct ds_error *err)
{
    struct remote_file *file = remote_of(base);
    const struct nfs3_facts *then = &file->quiet;
    struct nfs3_facts now;
    const char *what = NULL;
    int status;

    if (!file->is_quiet)
        return 0;
    status = nfs3_getattr(remote_nfs3(file), &file->handle, &now);
    if (status != 0)
        return remote_fail(file->mount->server, status, base->path,
                           "cannot stat", err);
    if (now.size_bytes != then->size_bytes)
        what = "size";
    else if (is_other(&now.modified, &then->modified))
        what = "modification time";
    else if (is_other(&now.changed, &then->changed))
        what = "change time";
    if (what == NULL)
        return 0;
    return ds_fail_at(err, base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "nfs: file: somebody changed it during the work: its %s "
                      "is not as at the start",
                      what);
}
