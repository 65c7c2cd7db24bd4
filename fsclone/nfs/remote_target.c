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
    struct nfs3_facts facts;
    int result = place_of(path, &place, err), status;

    if (result != 0)
        return result;
    status = remote_stat(place.mount, place.url.name, &facts);
    if (status == -ENOENT)
        return 0;
    if (status != 0)
        return remote_fail(place.mount->server, status, place.url.plain,
                           "target: cannot stat", err);
    if (!S_ISREG((mode_t)facts.mode) && !S_ISLNK((mode_t)facts.mode))
        return ds_fail(err, DS_ERR_REFUSED,
                       "nfs: target: %.300s: have mode %06" PRIo32
                       " expect a regular file",
                       place.url.plain, facts.mode);
    return 1;
}

/* Of the .partial there is nothing to guard: it is created exclusively. */
static int guard_path(const struct ds_file *const *sources, size_t source_count,
                      const char *path, struct ds_error *err)
{
    ds_auto(place_free) struct place place = { 0 };
    struct nfs3_facts facts;
    int result = place_of(path, &place, err), status;

    if (result != 0)
        return result;
    status = remote_stat(place.mount, place.url.name, &facts);
    if (status == -ENOENT)
        return 0;
    if (status != 0)
        return remote_fail(place.mount->server, status, path,
                           "target: cannot stat", err);
    for (size_t i = 0; i < source_count; i++)
        if (remote_is(sources[i]) &&
            remote_same_inode(&remote_of(sources[i])->opened, &facts))
            return ds_fail(err, DS_ERR_REFUSED,
                           "nfs: target: %.300s: it is the source itself",
                           path);
    return 0;
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
                        const struct nfs3_facts *from, unsigned *mode)
{
    *mode = (unsigned)from->mode & 0777;

    for (size_t i = 0; i < request->within_count; i++) {
        const struct nfs3_facts *facts;
        unsigned granted;

        if (!remote_is(request->within[i]))
            return false;
        facts = &remote_of(request->within[i])->opened;
        granted = (unsigned)facts->mode & 0777;
        if (facts->uid != from->uid || facts->gid != from->gid)
            granted = 0700 | (granted & 7) << 3 | (granted & 7);
        if (facts->uid != from->uid && (granted & 4) == 0)
            return false;
        *mode &= granted;
    }
    return true;
}

/* The source's owner and mode, never wider; what the server denies is left.
 * Sets the times too, as nfs3_create wants it. */
static int set_attributes(struct remote_file *file,
                          const struct ds_create_request *request,
                          struct ds_error *err)
{
    const struct ds_file *source = request->attributes_from;
    uint32_t mode = 0600;
    struct nfs3_change change = { .mode = &mode, .times_now = true };
    const struct nfs3_facts *from, *to = &file->opened;
    int status;

    if (source != NULL && remote_is(source)) {
        from = &remote_of(source)->opened;
        if (common_mode(request, from, &mode)) {
            change.uid = from->uid != to->uid ? &from->uid : NULL;
            change.gid = from->gid != to->gid ? &from->gid : NULL;
        } else {
            mode = 0600; /* for nobody but us */
        }
    }
    status = nfs3_setattr(remote_nfs3(file), &file->handle, &change);
    if ((status == -EPERM || status == -EACCES || status == -EINVAL) &&
        (change.uid != NULL || change.gid != NULL)) {
        change.uid = change.gid = NULL;
        mode &= 0700;
        status = nfs3_setattr(remote_nfs3(file), &file->handle, &change);
    }
    if (status != 0 && status != -EPERM && status != -EACCES)
        return remote_fail(file->mount->server, status, file->base.path,
                           "target: cannot set the mode", err);
    return 0;
}

/* Exclusively: one that is there belongs to another process, or was left. */
static int make(const struct place *place, struct remote_file **out,
                struct ds_error *err)
{
    ds_autofree char *name = partial_of(place->url.name);
    ds_autofree char *path = partial_of(place->url.plain);
    struct ds_error own = DS_ERROR_INIT;
    struct remote_file *file = NULL;
    int result;

    if (name == NULL || path == NULL)
        return ds_fail_memory(err);
    result = remote_create_name(place->mount, name, path, NULL, &file, &own);
    if (result != 0 && own.system_errno == EEXIST)
        return ds_fail(err, DS_ERR_REFUSED,
                       "nfs: target: %.300s is there: another process is "
                       "writing it, or one died; remove it if it is not in use",
                       path);
    if (result != 0) {
        if (err != NULL)
            *err = own;
        return result;
    }
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

/* COMMIT: at the beginning, before there is anything to flush, it tells the
 * verifier that changes when the server loses what is not flushed, also what
 * CLONE did. */
static int commit(struct remote_file *file, struct ds_error *err)
{
    int status = nfs3_commit(remote_nfs3(file), &file->handle, &file->verifier);

    if (status != 0)
        return remote_fail(file->mount->server, status, file->base.path,
                           "cannot flush", err);
    if (file->verifier.changed)
        return ds_fail_errno(err, EIO, file->base.path,
                             "nfs: target: the server was restarted while it "
                             "was written and may have lost some");
    return 0;
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
    file->via = request->via;
    if (result == 0)
        result = commit(file, err);
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
    remote_lanes_end(remote_of(base));
    return commit(remote_of(base), err);
}

int remote_reopen(struct ds_file *target, struct ds_file **out,
                  struct ds_error *err)
{
    struct remote_file *made = remote_of(target), *file = NULL;
    int result =
        remote_open_name(made->mount, made->name, target->path, &file, err);

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
    struct nfs3_facts by_name;

    return remote_stat(file->mount, name, &by_name) == 0 &&
           remote_same_inode(&file->opened, &by_name);
}

/* 0 or -errno. A call that was sent twice answers EEXIST or ENOENT to its own
 * success. */
static int give_name(struct remote_file *file, bool replace)
{
    struct nfs3 *nfs3 = remote_nfs3(file);
    const struct nfs3_handle *directory = &file->mount->handle;
    uint32_t link_count = 0;
    int status;

    if (replace) {
        if (!has_name(file, file->name))
            return -ESTALE;
        status = nfs3_rename(nfs3, directory, file->name, file->final_name);
        return status == -ENOENT && has_name(file, file->final_name) ? 0
                                                                     : status;
    }
    status = nfs3_link(nfs3, &file->handle, directory, file->final_name,
                       &link_count);
    if (status == -EEXIST && has_name(file, file->final_name))
        status = 0;
    /* With two names both are ours. */
    if (status == 0 && (link_count == 2 || has_name(file, file->name)))
        status = nfs3_remove(nfs3, directory, file->name);
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
    status = give_name(file, replace);
    if (status == -ESTALE)
        return ds_fail_at(err, base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "nfs: target: somebody removed or replaced it");
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
    if (has_name(file, name))
        (void)nfs3_remove(remote_nfs3(file), &file->mount->handle, name);
}

void remote_discard(struct ds_file *base)
{
    struct remote_file *file = remote_of(base);

    if (file->discarded)
        return;
    remote_lanes_end(file);
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
    int result = place_of(target_path, &place, err), status;

    if (result != 0)
        return result;
    status = nfs3_free_bytes(place.mount->server->nfs3, &place.mount->handle,
                             &out->free_bytes);
    return status == 0
               ? 0
               : remote_fail(place.mount->server, status, place.url.plain,
                             "target: cannot get the free space", err);
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
    if (a->staged_count > 0)
        say(text, text_bytes,
            " %" PRIu64 " of them put together in files beside it, since the "
            "server flushes after each,",
            a->staged_count);
    if (a->copied_bytes > 0)
        say(text, text_bytes, " %" PRIu64 " bytes copied by the server (COPY),",
            a->copied_bytes);
    say(text, text_bytes,
        " %" PRIu64 " read and %" PRIu64 " written over the network",
        a->read_bytes, a->written_bytes);
    if (file->handle42.length_bytes == 0)
        say(text, text_bytes, "; %.250s", file->why_not42.message);
}
