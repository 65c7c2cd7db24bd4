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

static int check_locks(struct remote_file *file, struct ds_error *err)
{
    static const uint64_t bytes[] = { QEMU_USES_WRITE, QEMU_FORBIDS_READ };
    const struct nfs42_handle *handle = remote_handle42(file);
    struct remote_server *server = file->mount->server;
    struct nfs42 *session;
    uint32_t status = NFS42_OK;
    int result;

    if (handle == NULL)
        return 0;
    session = remote_session(server);
    if (session == NULL)
        return 0;
    result = nfs42_test_locks(session, handle, bytes, 2, &status, err);
    remote_session_done(server);
    if (result != 0 || status != NFS42_ERR_DENIED)
        return result; /* no locks on this server: nobody holds one */
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
    status = remote_fstat(file, &file->quiet);
    if (status != 0)
        return ds_fail_errno(err, -status, base->path, "nfs: cannot stat");
    if (file->quiet.nfs_size != base->size_bytes)
        return ds_fail_at(err, base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "nfs: file: size changed since it was opened, have "
                          "%" PRIu64 " expect %" PRIu64,
                          file->quiet.nfs_size, base->size_bytes);
    remote_forget_window(file);
    file->is_quiet = true;
    return 0;
}

int remote_check_unchanged(struct ds_file *base, struct ds_error *err)
{
    struct remote_file *file = remote_of(base);
    const struct nfs_stat_64 *then = &file->quiet;
    struct nfs_stat_64 now;
    const char *what = NULL;
    int status;

    if (!file->is_quiet)
        return 0;
    status = remote_fstat(file, &now);
    if (status != 0)
        return ds_fail_errno(err, -status, base->path, "nfs: cannot stat");
    if (now.nfs_size != then->nfs_size)
        what = "size";
    else if (now.nfs_mtime != then->nfs_mtime ||
             now.nfs_mtime_nsec != then->nfs_mtime_nsec)
        what = "modification time";
    else if (now.nfs_ctime != then->nfs_ctime ||
             now.nfs_ctime_nsec != then->nfs_ctime_nsec)
        what = "change time";
    if (what == NULL)
        return 0;
    return ds_fail_at(err, base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "nfs: file: somebody changed it during the work: its %s "
                      "is not as at the start",
                      what);
}
