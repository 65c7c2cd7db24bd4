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

static int check_lock(struct remote_file *file,
                      const struct nfs42_handle *handle, uint64_t byte,
                      struct ds_error *err)
{
    struct remote_server *server = file->mount->server;
    struct nfs42 *session = remote_session(server);
    uint32_t status = NFS42_OK;
    int result;

    if (session == NULL)
        return 0;
    result = nfs42_test_lock(session, handle, byte, &status, err);
    remote_session_done(server);
    if (result != 0 || status != NFS42_ERR_DENIED)
        return result; /* no locks on this server: nobody holds one */
    return ds_fail_at(err, &file->base, byte, DS_ERR_REFUSED,
                      "nfs: lock: a process holds the image open for writing "
                      "(QEMU's lock on byte %" PRIu64 "); shut the guest down "
                      "or take a snapshot first",
                      byte);
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

/* REFUSED when `directory` has an entry that `is_lock`. */
static int check_names(struct remote_file *file, const char *directory,
                       bool (*is_lock)(const char *name), struct ds_error *err)
{
    struct remote_mount *mount = file->mount;
    struct nfsdir *stream = NULL;
    const struct nfsdirent *entry;
    int result = 0;

    remote_lock(mount);
    if (mount->api->nfs_opendir(mount->context, directory, &stream) == 0) {
        while (result == 0 && (entry = mount->api->nfs_readdir(mount->context,
                                                               stream)) != NULL)
            if (is_lock(entry->name))
                result = ds_fail_at(
                    err, &file->base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                    "nfs: lock: VMware holds the disk: have lock file "
                    "%.100s expect none (remove it if it is stale)",
                    entry->name);
        mount->api->nfs_closedir(mount->context, stream);
    }
    remote_unlock(mount);
    return result;
}

static int check_vmware(struct remote_file *file, struct ds_error *err)
{
    const char *inner = file->mount->inner;
    ds_autofree char *hosted = NULL;
    int result;

    if (asprintf(&hosted, "%s/%s.lck", inner, file->name) < 0) {
        hosted = NULL;
        return ds_fail_memory(err);
    }
    result = check_names(file, hosted, is_hosted_lock, err);
    return result == 0 ? check_names(file, *inner != '\0' ? inner : "/",
                                     is_esxi_lock, err)
                       : result;
}

int remote_quiesce(struct ds_file *base, struct ds_error *err)
{
    struct remote_file *file = remote_of(base);
    const struct nfs42_handle *handle = remote_handle42(file);
    int result = 0, status;

    if (handle != NULL) {
        result = check_lock(file, handle, QEMU_USES_WRITE, err);
        if (result == 0)
            result = check_lock(file, handle, QEMU_FORBIDS_READ, err);
    }
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
