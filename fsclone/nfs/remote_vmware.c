/* SPDX-License-Identifier: Apache-2.0 */
/* Whether VMware holds a file, by its lock files (vmware_lock.h). What may not
 * be listed or read shows nothing that we could see. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "fail.h"
#include "remote.h"
#include "vmware_lock.h"

/* What is not there or may not be seen shows nothing; a server that does not
 * answer shows nothing either, but nobody may go on as if it had. */
static int look(struct remote_file *file, int status, struct ds_error *err)
{
    switch (status) {
    case 0:
    case -ENOENT:
    case -ENOTDIR:
    case -EACCES:
    case -EPERM:
    case -ENAMETOOLONG:
        return 0;
    default:
        return remote_fail(file->mount->server, status, file->base.path,
                           "cannot look for VMware's locks", err);
    }
}

/* The lock `name` in `directory`; `shown` is how messages name it. */
static int held(struct remote_file *file, const struct nfs3_handle *directory,
                const char *name, const char *shown, struct ds_error *err)
{
    struct nfs3 *nfs3 = remote_nfs3(file);
    struct nfs3_handle lock;
    struct nfs3_facts facts;
    uint8_t head[VMWARE_HEAD_BYTES];
    char holder[VMWARE_HOLDER_BYTES] = "";
    uint64_t length = 0;

    if (nfs3_lookup(nfs3, directory, name, &lock, &facts) == 0 &&
        S_ISREG((mode_t)facts.mode) &&
        nfs3_read(nfs3, &lock, 0, head, sizeof(head), &length) != 0)
        length = 0;
    vmware_holder(head, (size_t)length, holder);
    return ds_fail_at(err, &file->base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "nfs: lock: VMware%s%s%s holds the disk: have lock file "
                      "%.200s expect none (power the machine off; remove it if "
                      "it is stale)",
                      *holder != '\0' ? " on \"" : "", holder,
                      *holder != '\0' ? "\"" : "", shown);
}

/* -- hosted products --------------------------------------------------------*/

static bool find_hosted(void *user, const char *name, uint64_t file_id)
{
    char **found = user;

    (void)file_id;
    if (!vmware_is_hosted(name))
        return true;
    *found = strdup(name);
    return false;
}

/* NAME.lck, a directory with locks or a lock itself. */
static int check_hosted(struct remote_file *file, struct ds_error *err)
{
    const struct nfs3_handle *directory = &file->mount->handle;
    ds_autofree char *name = NULL;
    ds_autofree char *found = NULL;
    ds_autofree char *shown = NULL;
    struct nfs3_handle locks;
    struct nfs3_facts facts;
    int status;

    if (asprintf(&name, "%s.lck", file->name) < 0) {
        name = NULL;
        return ds_fail_memory(err);
    }
    status = nfs3_lookup(remote_nfs3(file), directory, name, &locks, &facts);
    if (status != 0)
        return look(file, status, err);
    if (S_ISREG((mode_t)facts.mode))
        return held(file, directory, name, name, err);
    status = nfs3_readdir(remote_nfs3(file), &locks, find_hosted, &found);
    if (found == NULL)
        return look(file, status, err);
    if (asprintf(&shown, "%s/%s", name, found) < 0) {
        shown = NULL;
        return ds_fail_memory(err);
    }
    return held(file, &locks, found, shown, err);
}

/* -- ESXi -------------------------------------------------------------------*/

static bool see(void *user, const char *name, uint64_t file_id)
{
    (void)file_id;
    vmware_locks_see(user, name);
    return true;
}

static bool know(void *user, const char *name, uint64_t file_id)
{
    (void)name;
    vmware_locks_know(user, file_id);
    return true;
}

static int check_esxi(struct remote_file *file, struct ds_error *err)
{
    const struct nfs3_handle *directory = &file->mount->handle;
    struct vmware_locks locks = { .count = 0 };
    const struct vmware_lock *lock;
    int result = look(
        file, nfs3_readdir(remote_nfs3(file), directory, see, &locks), err);

    if (result == 0 && locks.count > 0)
        result =
            look(file, nfs3_readdir(remote_nfs3(file), directory, know, &locks),
                 err);
    if (result != 0 || locks.count == 0)
        return result;
    lock = vmware_locks_find(&locks, file->opened.file_id);
    return lock != NULL ? held(file, directory, lock->name, lock->name, err)
                        : 0;
}

int remote_check_vmware(struct remote_file *file, struct ds_error *err)
{
    int result = check_hosted(file, err);

    return result != 0 ? result : check_esxi(file, err);
}
