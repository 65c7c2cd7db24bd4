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
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
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

/* Looked for among a directory's names. */
struct search {
    bool (*is_lock)(const char *name);
    const char *name;
    char lock[NAME_MAX + 1]; /* the first that is_lock; "": none */
    bool found;              /* `name` */
};

static bool look_at(void *user, const char *name)
{
    struct search *search = user;

    if (search->lock[0] == '\0' && search->is_lock(name))
        (void)snprintf(search->lock, sizeof(search->lock), "%s", name);
    if (search->name != NULL && strcmp(name, search->name) == 0)
        search->found = true;
    return true;
}

/* A directory that may not be listed shows no lock that we could see; one that
 * got lost is another matter. */
static int look_into(struct remote_file *file,
                     const struct nfs3_handle *directory, struct search *search,
                     struct ds_error *err)
{
    int status = nfs3_readdir(remote_nfs3(file), directory, look_at, search);

    if (status == -ETIMEDOUT || status == -ECONNREFUSED)
        return remote_fail(file->mount->server, status, file->base.path,
                           "cannot look for lock files", err);
    return search->lock[0] != '\0' ? held(file, search->lock, err) : 0;
}

static int check_vmware(struct remote_file *file, struct ds_error *err)
{
    struct remote_mount *mount = file->mount;
    struct search beside = { .is_lock = is_esxi_lock };
    struct search within = { .is_lock = is_hosted_lock };
    struct nfs3_handle directory;
    struct nfs3_facts facts;
    ds_autofree char *hosted = NULL;
    int result;

    if (asprintf(&hosted, "%s.lck", file->name) < 0) {
        hosted = NULL;
        return ds_fail_memory(err);
    }
    beside.name = hosted;
    result = look_into(file, &mount->handle, &beside, err);
    if (result != 0 || !beside.found ||
        nfs3_lookup(remote_nfs3(file), &mount->handle, hosted, &directory,
                    &facts) != 0)
        return result;
    return look_into(file, &directory, &within, err);
}

int remote_quiesce(struct ds_file *base, struct ds_error *err)
{
    struct remote_file *file = remote_of(base);
    int result = check_locks(file, err), status;

    if (result == 0)
        result = check_vmware(file, err);
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
