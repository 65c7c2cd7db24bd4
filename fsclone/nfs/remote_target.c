/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets while they are made, and their names.
 *
 *   create    PATH.partial, exclusively; one that is there is refused
 *   sync      COMMIT; the write verifier is as before the first write
 *   install   LINK to the final name, which does not replace, then REMOVE;
 *             to replace: RENAME
 *
 * A crash before the link leaves PATH.partial, one between link and remove
 * both names of a whole file. NFS servers do names at once and durably.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "arith.h"
#include "cleanup.h"
#include "clone_via.h"
#include "fail.h"
#include "remote.h"

/* A place by its path: mount and name. */
struct place {
    struct remote_url url;
    struct remote_mount *mount;
};

static void place_free(struct place *place)
{
    remote_url_free(&place->url);
}

static int place_of(const char *path, struct place *out, struct ds_error *err)
{
    int result = remote_url_parse(path, &out->url, err);

    if (result != 0)
        return result;
    if (*out->url.name == '\0')
        return ds_fail(err, DS_ERR_ARG,
                       "nfs: target: have the directory %.300s expect a file",
                       out->url.plain);
    return remote_mount_get(&out->url, &out->mount, err);
}

static char *partial_of(const char *name)
{
    char *partial = NULL;

    return asprintf(&partial, "%s.partial", name) < 0 ? NULL : partial;
}

int remote_plain_path(const char *path, char **out, struct ds_error *err)
{
    ds_auto(place_free) struct place place = { 0 };
    int result = place_of(path, &place, err);

    if (result == 0)
        *out = ds_steal(&place.url.plain);
    return result;
}

int remote_name_for(const struct ds_file *source, const char *target_path,
                    char **out, struct ds_error *err)
{
    ds_auto(place_free) struct place place = { 0 };
    int result = place_of(target_path, &place, err);

    if (result != 0)
        return result;
    if (!remote_is(source) || remote_of(source)->mount != place.mount)
        return ds_fail_at(err, source, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "nfs: target: a file on a server is referred to "
                          "from its own directory only");
    *out = strdup(remote_of(source)->name);
    return *out != NULL ? 0 : ds_fail_memory(err);
}

int remote_exists(const char *path, struct ds_error *err)
{
    ds_auto(place_free) struct place place = { 0 };
    struct nfs_stat_64 facts;
    int result = place_of(path, &place, err), status;

    if (result != 0)
        return result;
    status = remote_stat(place.mount, place.url.name, &facts);
    if (status == -ENOENT)
        return 0;
    if (status != 0)
        return ds_fail_errno(err, -status, place.url.plain,
                             "nfs: target: cannot stat");
    if (!S_ISREG((mode_t)facts.nfs_mode) && !S_ISLNK((mode_t)facts.nfs_mode))
        return ds_fail(err, DS_ERR_REFUSED,
                       "nfs: target: %.300s: have mode %06" PRIo64
                       " expect a regular file",
                       place.url.plain, facts.nfs_mode);
    return 1;
}

static int guard_name(struct remote_mount *mount, const char *name,
                      const struct ds_file *const *sources, size_t source_count,
                      const char *what, const char *path, struct ds_error *err)
{
    struct nfs_stat_64 facts;
    int status = remote_stat(mount, name, &facts);

    if (status == -ENOENT)
        return 0;
    if (status != 0)
        return ds_fail_errno(err, -status, path, "nfs: target: cannot stat");
    for (size_t i = 0; i < source_count; i++)
        if (remote_is(sources[i]) &&
            remote_same_inode(&remote_of(sources[i])->opened, &facts))
            return ds_fail(err, DS_ERR_REFUSED,
                           "nfs: target: %.300s: %s is the source itself", path,
                           what);
    return 0;
}

static int guard_path(const struct ds_file *const *sources, size_t source_count,
                      const char *path, struct ds_error *err)
{
    ds_auto(place_free) struct place place = { 0 };
    ds_autofree char *partial = NULL;
    int result = place_of(path, &place, err);

    if (result != 0)
        return result;
    partial = partial_of(place.url.name);
    if (partial == NULL)
        return ds_fail_memory(err);
    result = guard_name(place.mount, place.url.name, sources, source_count,
                        "it", path, err);
    return result != 0 ? result
                       : guard_name(place.mount, partial, sources, source_count,
                                    "its .partial", path, err);
}

/* Each name is asked of the server once. */
int remote_guard_same(const struct ds_file *const *sources, size_t source_count,
                      const char *const *paths, size_t path_count,
                      struct ds_error *err)
{
    int result = 0;

    for (size_t i = 0; i < path_count && result == 0; i++)
        result = guard_path(sources, source_count, paths[i], err);
    return result;
}

/* -- create -----------------------------------------------------------------*/

/* What all files grant whose bytes the target is to hold, as local_common_mode
 * has it. False: not even to the owner of `from`. */
static bool common_mode(const struct ds_create_request *request,
                        const struct nfs_stat_64 *from, unsigned *mode)
{
    *mode = (unsigned)from->nfs_mode & 0777;

    for (size_t i = 0; i < request->within_count; i++) {
        const struct nfs_stat_64 *facts;
        unsigned granted;

        if (!remote_is(request->within[i]))
            return false;
        facts = &remote_of(request->within[i])->opened;
        granted = (unsigned)facts->nfs_mode & 0777;
        if (facts->nfs_uid != from->nfs_uid || facts->nfs_gid != from->nfs_gid)
            granted = 0700 | (granted & 7) << 3 | (granted & 7);
        if (facts->nfs_uid != from->nfs_uid && (granted & 4) == 0)
            return false;
        *mode &= granted;
    }
    return true;
}

/* The source's owner and mode, never wider; what the server denies is left. */
static int set_attributes(struct remote_file *file,
                          const struct ds_create_request *request,
                          struct ds_error *err)
{
    const struct ds_file *source = request->attributes_from;
    struct remote_mount *mount = file->mount;
    const struct nfs_stat_64 *from, *to = &file->opened;
    unsigned mode;
    int status = 0;

    if (source == NULL || !remote_is(source))
        return 0;
    from = &remote_of(source)->opened;
    if (!common_mode(request, from, &mode))
        return 0; /* as it was made, for nobody but us */
    remote_lock(mount);
    if ((from->nfs_uid != to->nfs_uid || from->nfs_gid != to->nfs_gid) &&
        mount->api->nfs_fchown(mount->context, file->handle, (int)from->nfs_uid,
                               (int)from->nfs_gid) != 0)
        mode &= 0700;
    if (mode != ((unsigned)to->nfs_mode & 07777))
        REMOTE_CALL(
            mount, status,
            mount->api->nfs_fchmod(mount->context, file->handle, (int)mode));
    remote_unlock(mount);
    if (status != 0 && status != -EPERM && status != -EACCES)
        return ds_fail_errno(err, -status, file->base.path,
                             "nfs: target: cannot set the mode");
    return 0;
}

/* Where NFSv4.2 can tell in the end that nothing was lost, writes need not be
 * flushed one by one. */
static bool get_verifier(struct remote_file *file, uint8_t verifier[])
{
    const struct nfs42_handle *handle = remote_handle42(file);
    struct remote_server *server = file->mount->server;
    struct nfs42 *session;
    uint32_t status = NFS42_OK;
    int result;

    if (handle == NULL)
        return false;
    session = remote_session(server);
    if (session == NULL)
        return false;
    result = nfs42_commit(session, handle, verifier, &status, NULL);
    remote_session_done(server);
    return result == 0 && status == NFS42_OK;
}

static int open_partial(const struct place *place, int flags,
                        struct remote_file **out, struct ds_error *err)
{
    ds_autofree char *name = partial_of(place->url.name);
    ds_autofree char *path = partial_of(place->url.plain);

    if (name == NULL || path == NULL)
        return ds_fail_memory(err);
    return remote_open_name(place->mount, name, path, flags, out, err);
}

static int check_leftover(const struct place *place, struct ds_error *err)
{
    ds_autofree char *name = partial_of(place->url.name);
    struct nfs_stat_64 facts;

    if (name == NULL)
        return ds_fail_memory(err);
    if (remote_stat(place->mount, name, &facts) == -ENOENT)
        return 0;
    return ds_fail(err, DS_ERR_REFUSED,
                   "nfs: target: %.300s.partial is there: another process is "
                   "writing it, or one died; remove it if it is not in use",
                   place->url.plain);
}

static int make(const struct place *place, struct remote_file **out,
                struct ds_error *err)
{
    const int flags = O_RDWR | O_CREAT | O_EXCL;
    struct remote_file *file = NULL;
    int result = check_leftover(place, err);

    if (result == 0)
        result = open_partial(place, flags, &file, err);
    if (result != 0)
        return result;
    file->final_name = strdup(place->url.name);
    file->final_path = strdup(place->url.plain);
    if (file->final_name == NULL || file->final_path == NULL) {
        remote_discard(&file->base);
        remote_close(&file->base);
        return ds_fail_memory(err);
    }
    *out = file;
    return 0;
}

/* The same file by a handle whose writes are flushed each. */
static int open_synchronous(const struct place *place, struct remote_file *file,
                            struct ds_error *err)
{
    struct remote_mount *mount = file->mount;
    ds_autofree char *path = remote_path(mount, file->name);
    struct nfsfh *handle = NULL;
    int status, result = 0;

    (void)place;
    if (path == NULL)
        return ds_fail_memory(err);
    remote_lock(mount);
    status = mount->api->nfs_open2(mount->context, path, O_RDWR | O_SYNC, 0,
                                   &handle);
    if (status != 0) {
        result =
            remote_fail(mount, status, file->base.path, "cannot open", err);
    } else {
        (void)mount->api->nfs_close(mount->context, file->handle);
        file->handle = handle;
    }
    remote_unlock(mount);
    return result;
}

int remote_create(const struct ds_create_request *request, struct ds_file **out,
                  struct ds_error *err)
{
    ds_auto(place_free) struct place place = { 0 };
    struct remote_file *file = NULL;
    int result = place_of(request->path, &place, err);

    if (result == 0)
        result = make(&place, &file, err);
    if (result != 0)
        return result;
    result = set_attributes(file, request, err);
    if (result == 0) {
        file->via = request->via;
        file->has_verifier =
            file->via == NULL && get_verifier(file, file->verifier);
        if (!file->has_verifier)
            result = open_synchronous(&place, file, err);
    }
    if (result != 0) {
        remote_discard(&file->base);
        remote_close(&file->base);
        return result;
    }
    *out = &file->base;
    return 0;
}

int remote_sync(struct ds_file *base, struct ds_error *err)
{
    struct remote_file *file = remote_of(base);
    struct remote_mount *mount = file->mount;
    uint8_t verifier[NFS42_VERIFIER_BYTES];
    int status, result = 0;

    remote_lock(mount);
    REMOTE_CALL(mount, status,
                mount->api->nfs_fsync(mount->context, file->handle));
    if (status != 0)
        result = remote_fail(mount, status, base->path, "cannot flush", err);
    remote_unlock(mount);
    if (result != 0 || !file->has_verifier)
        return result;
    if (!get_verifier(file, verifier))
        return ds_fail_errno(err, EIO, base->path,
                             "nfs: target: cannot tell whether the server "
                             "kept what was written");
    if (memcmp(verifier, file->verifier, sizeof(verifier)) != 0)
        return ds_fail_errno(err, EIO, base->path,
                             "nfs: target: the server was restarted while it "
                             "was written and may have lost some");
    return 0;
}

int remote_reopen(struct ds_file *target, struct ds_file **out,
                  struct ds_error *err)
{
    struct remote_file *made = remote_of(target), *file = NULL;
    int result = remote_open_name(made->mount, made->name, target->path,
                                  O_RDONLY, &file, err);

    if (result != 0)
        return result;
    if (!remote_same(target, &file->base)) {
        remote_close(&file->base);
        return ds_fail_at(err, target, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "nfs: target: another file has taken its name");
    }
    file->is_steady = true;
    *out = &file->base;
    return 0;
}

/* -- install and discard ----------------------------------------------------*/

static bool has_name(struct remote_file *file, const char *name)
{
    struct nfs_stat_64 by_name;

    return remote_stat(file->mount, name, &by_name) == 0 &&
           remote_same_inode(&file->opened, &by_name);
}

/* 0 or -errno. A link that was sent twice answers EEXIST to its own success. */
static int give_name(struct remote_file *file, bool replace)
{
    struct remote_mount *mount = file->mount;
    ds_autofree char *from = remote_path(mount, file->name);
    ds_autofree char *to = remote_path(mount, file->final_name);
    int status;

    if (from == NULL || to == NULL)
        return -ENOMEM;
    remote_lock(mount);
    if (replace)
        REMOTE_CALL(mount, status,
                    mount->api->nfs_rename(mount->context, from, to));
    else
        REMOTE_CALL(mount, status,
                    mount->api->nfs_link(mount->context, from, to));
    remote_unlock(mount);
    /* Done twice, it no longer finds the old name. */
    if (replace)
        return status == -ENOENT && has_name(file, file->final_name) ? 0
                                                                     : status;
    if (status == -EEXIST && has_name(file, file->final_name))
        status = 0;
    if (status != 0)
        return status;
    remote_lock(mount);
    REMOTE_CALL(mount, status, mount->api->nfs_unlink(mount->context, from));
    remote_unlock(mount);
    return status == -ENOENT ? 0 : status;
}

int remote_install(struct ds_file *base, bool replace, struct ds_error *err)
{
    struct remote_file *file = remote_of(base);
    int status;

    if (file->final_name == NULL || file->discarded)
        return ds_fail_at(err, base, DS_OFFSET_NONE, DS_ERR_ARG,
                          "nfs: target: is not one that was created");
    if (file->installed)
        return 0;
    if (!has_name(file, file->name))
        return ds_fail_at(err, base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "nfs: target: somebody removed or replaced it");
    status = give_name(file, replace);
    if (status == -EEXIST)
        return ds_fail(err, DS_ERR_REFUSED, "nfs: target: %.300s exists",
                       file->final_path);
    if (status != 0)
        return ds_fail_errno(err, -status, file->final_path,
                             "nfs: target: cannot install");
    file->installed = true;
    free(file->name);
    file->name = ds_steal(&file->final_name);
    free(base->path);
    base->path = ds_steal(&file->final_path);
    /* So that it is known for a target still. */
    file->final_name = strdup(file->name);
    return 0;
}

static void remove_name(struct remote_file *file, const char *name)
{
    struct remote_mount *mount = file->mount;
    ds_autofree char *path = remote_path(mount, name);
    int status;

    if (path == NULL || !has_name(file, name))
        return;
    remote_lock(mount);
    REMOTE_CALL(mount, status, mount->api->nfs_unlink(mount->context, path));
    (void)status;
    remote_unlock(mount);
}

void remote_discard(struct ds_file *base)
{
    struct remote_file *file = remote_of(base);

    if (file->discarded)
        return;
    remove_name(file, file->name);
    if (file->final_name != NULL)
        remove_name(file, file->final_name);
    file->discarded = true;
}

/* -- facts ------------------------------------------------------------------*/

int remote_space(const char *target_path, struct ds_space *out,
                 struct ds_error *err)
{
    ds_auto(place_free) struct place place = { 0 };
    struct nfs_statvfs_64 facts;
    int result = place_of(target_path, &place, err), status;
    const char *inner;

    if (result != 0)
        return result;
    inner = *place.mount->inner != '\0' ? place.mount->inner : "/";
    remote_lock(place.mount);
    status =
        place.mount->api->nfs_statvfs64(place.mount->context, inner, &facts);
    remote_unlock(place.mount);
    if (status != 0)
        return ds_fail_errno(err, -status, place.url.plain,
                             "nfs: target: cannot get the free space");
    if (!ds_mul_u64(facts.f_bavail, facts.f_frsize, &out->free_bytes))
        out->free_bytes = UINT64_MAX;
    return 0;
}

/* Append, as far as there is room. */
static void say(char *text, size_t text_bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(char *text, size_t text_bytes, const char *format, ...)
{
    size_t length = strlen(text);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text + length, text_bytes - length, format, args);
    va_end(args);
}

static void account_via(const struct remote_file *file, char *text,
                        size_t text_bytes)
{
    const struct remote_account *a = &file->account;

    say(text, text_bytes,
        " %" PRIu64 " bytes shared by %s (%" PRIu64 " clones), %" PRIu64
        " read and %" PRIu64 " written over the network",
        a->cloned_bytes, file->via->ops->name, a->clone_count, a->read_bytes,
        a->written_bytes);
    if (a->unsure_count > 0)
        say(text, text_bytes,
            "; of %" PRIu64 " jobs the array kept no record, the files were "
            "looked at instead",
            a->unsure_count);
}

void remote_account_text(const struct ds_file *target, char *text,
                         size_t text_bytes)
{
    const struct remote_file *file = remote_of(target);
    const struct remote_account *a = &file->account;

    *text = '\0';
    say(text, text_bytes, "%s:", file->name);
    if (file->via != NULL) {
        account_via(file, text, text_bytes);
        return;
    }
    if (a->clone_count > 0)
        say(text, text_bytes,
            " %" PRIu64 " bytes shared by the server (%" PRIu64 " CLONE),",
            a->cloned_bytes, a->clone_count);
    if (a->copied_bytes > 0)
        say(text, text_bytes, " %" PRIu64 " bytes copied by the server (COPY),",
            a->copied_bytes);
    say(text, text_bytes,
        " %" PRIu64 " read and %" PRIu64 " written over the network",
        a->read_bytes, a->written_bytes);
    if (file->handle42.length_bytes == 0)
        say(text, text_bytes, "; %.250s", file->why_not42.message);
}
