/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a source is quiet. QEMU's locks (see local_lock.c) reach an NFS
 * server from any client; LOCKT of NFSv4 asks for them without taking any. By
 * NFSv3 alone they cannot be seen. VMware's lock files are names.
 *
 * Locks of our own are not held: they would need an open file at the server.
 * Size, modification and change time are compared at the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
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

static bool is_esxi_lock(const char *name)
{
    const char *digits = name + 5;

    return strncmp(name, ".lck-", 5) == 0 && *digits != '\0' &&
           digits[strspn(digits, "0123456789abcdefABCDEF")] == '\0';
}

static bool is_hosted_lock(const char *name)
{
    size_t length = strlen(name);

    return name[0] == 'M' && length > 4 &&
           strcmp(name + length - 4, ".lck") == 0;
}

static int held(const struct remote_file *file, const char *name,
                struct ds_error *err)
{
    return ds_fail_at(err, &file->base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "nfs: lock: VMware holds the disk: have lock file "
                      "%.100s expect none (remove it if it is stale)",
                      name);
}

/* Whether an entry of `directory` is_lock, or `name`: then *found is set.
 * Under the mount's lock. */
static int look_for(struct remote_file *file, const char *directory,
                    bool (*is_lock)(const char *name), const char *name,
                    bool *found, struct ds_error *err)
{
    struct remote_mount *mount = file->mount;
    struct nfsdir *stream = NULL;
    const struct nfsdirent *entry;
    int result = 0;

    /* One that may not be listed shows no lock that we could see. */
    if (mount->api->nfs_opendir(mount->context, directory, &stream) != 0)
        return 0;
    while (result == 0 &&
           (entry = mount->api->nfs_readdir(mount->context, stream)) != NULL) {
        if (is_lock(entry->name))
            result = held(file, entry->name, err);
        if (name != NULL && strcmp(entry->name, name) == 0)
            *found = true;
    }
    mount->api->nfs_closedir(mount->context, stream);
    return result;
}

static int check_vmware(struct remote_file *file, struct ds_error *err)
{
    struct remote_mount *mount = file->mount;
    ds_autofree char *hosted = NULL;
    ds_autofree char *path = NULL;
    bool found = false;
    int result;

    if (asprintf(&hosted, "%s.lck", file->name) < 0)
        hosted = NULL;
    if (hosted != NULL)
        path = remote_path(mount, hosted);
    if (path == NULL)
        return ds_fail_memory(err);
    remote_lock(mount);
    result = look_for(file, *mount->inner != '\0' ? mount->inner : "/",
                      is_esxi_lock, hosted, &found, err);
    if (result == 0 && found)
        result = look_for(file, path, is_hosted_lock, NULL, &found, err);
    remote_unlock(mount);
    return result;
}

int remote_quiesce(struct ds_file *base, struct ds_error *err)
{
    struct remote_file *file = remote_of(base);
    int result = check_locks(file, err), status;

    if (result == 0)
        result = check_vmware(file, err);
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
