/* SPDX-License-Identifier: Apache-2.0 */
/* Whether VMware holds a file, by its lock files (vmware_lock.h). What may not
 * be listed or read shows nothing that we could see. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "remote.h"
#include "vmware_lock.h"

/* `name` from the mount's directory. */
static int held(struct remote_file *file, const char *name,
                struct ds_error *err)
{
    struct remote_file *lock = NULL;
    uint8_t head[VMWARE_HEAD_BYTES];
    char holder[VMWARE_HOLDER_BYTES] = "";
    size_t length = 0;

    if (remote_open_name(file->mount, name, name, O_RDONLY | O_NOFOLLOW, &lock,
                         NULL) == 0) {
        length = (size_t)ds_min_u64(sizeof(head), lock->base.size_bytes);
        if (remote_read(&lock->base, 0, head, length, NULL) != 0)
            length = 0;
        remote_close(&lock->base);
    }
    vmware_holder(head, length, holder);
    return ds_fail_at(err, &file->base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "nfs: lock: VMware%s%s%s holds the disk: have lock file "
                      "%.200s expect none (power the machine off; remove it if "
                      "it is stale)",
                      *holder != '\0' ? " on \"" : "", holder,
                      *holder != '\0' ? "\"" : "", name);
}

typedef bool entry_fn(void *user, const struct nfsdirent *entry);

/* Until `entry` says stop. */
static void walk(struct remote_mount *mount, const char *directory,
                 entry_fn *entry, void *user)
{
    struct nfsdir *stream = NULL;
    const struct nfsdirent *next;

    remote_lock(mount);
    if (mount->api->nfs_opendir(mount->context, directory, &stream) == 0) {
        while ((next = mount->api->nfs_readdir(mount->context, stream)) !=
                   NULL &&
               entry(user, next))
            continue;
        mount->api->nfs_closedir(mount->context, stream);
    }
    remote_unlock(mount);
}

/* -- hosted products --------------------------------------------------------*/

struct hosted {
    const char *directory; /* NAME.lck */
    char *found;
};

static bool find_hosted(void *user, const struct nfsdirent *entry)
{
    struct hosted *hosted = user;

    if (!vmware_is_hosted(entry->name))
        return true;
    if (asprintf(&hosted->found, "%s/%s", hosted->directory, entry->name) < 0)
        hosted->found = NULL;
    return false;
}

/* NAME.lck, a directory with locks or a lock itself. */
static int check_hosted(struct remote_file *file, struct ds_error *err)
{
    ds_autofree char *name = NULL;
    ds_autofree char *path = NULL;
    ds_autofree char *found = NULL;
    struct hosted hosted = { 0 };
    struct nfs_stat_64 facts;

    if (asprintf(&name, "%s.lck", file->name) < 0) {
        name = NULL;
        return ds_fail_memory(err);
    }
    if (remote_stat(file->mount, name, &facts) != 0)
        return 0;
    if (S_ISREG((mode_t)facts.nfs_mode))
        return held(file, name, err);
    path = remote_path(file->mount, name);
    if (path == NULL)
        return ds_fail_memory(err);
    hosted.directory = name;
    walk(file->mount, path, find_hosted, &hosted);
    found = hosted.found;
    return found != NULL ? held(file, found, err) : 0;
}

/* -- ESXi -------------------------------------------------------------------*/

static bool see(void *user, const struct nfsdirent *entry)
{
    vmware_locks_see(user, entry->name);
    return true;
}

static bool know(void *user, const struct nfsdirent *entry)
{
    vmware_locks_know(user, entry->inode);
    return true;
}

static int check_esxi(struct remote_file *file, struct ds_error *err)
{
    struct remote_mount *mount = file->mount;
    const char *directory = *mount->inner != '\0' ? mount->inner : "/";
    struct vmware_locks locks = { .count = 0 };
    const struct vmware_lock *lock;

    walk(mount, directory, see, &locks);
    if (locks.count == 0)
        return 0;
    walk(mount, directory, know, &locks);
    lock = vmware_locks_find(&locks, file->opened.nfs_ino);
    return lock != NULL ? held(file, lock->name, err) : 0;
}

int remote_check_vmware(struct remote_file *file, struct ds_error *err)
{
    int result = check_hosted(file, err);

    return result != 0 ? result : check_esxi(file, err);
}
