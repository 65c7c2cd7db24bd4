/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a directory of a server can do. Only trying tells: a file is made and
 * shared as the planner does (remote_domain), then copied as a conversion does
 * (remote_run).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "remote.h"

#define PROBE_BYTES (DS_MIB)
#define COPY_OFFSET_BYTES 512u /* off any block, or it might be shared */
#define COPY_BYTES 4096u

/* -- the place --------------------------------------------------------------*/

/* `path` with what stands before its options ended by a slash. */
static char *as_directory(const char *path)
{
    int length = (int)strcspn(path, "?");
    char *longer = NULL;

    return asprintf(&longer, "%.*s/%s", length, path, path + length) < 0
               ? NULL
               : longer;
}

static char *file_in(const char *directory)
{
    int length = (int)strcspn(directory, "?");
    char *path = NULL;

    return asprintf(&path, "%.*sprobe%s", length, directory,
                    directory + length) < 0
               ? NULL
               : path;
}

static int mount_at(const char *path, struct remote_mount **out,
                    struct ds_error *err)
{
    struct remote_url url;
    int result = remote_url_parse(path, &url, err);

    if (result != 0)
        return result;
    result = remote_mount_get(&url, out, err);
    remote_url_free(&url);
    return result;
}

/* Some servers give the handle of a file too. */
static bool is_directory(struct remote_mount *mount)
{
    struct nfs3_facts facts;

    return nfs3_getattr(mount->server->nfs3, &mount->handle, &facts) == 0 &&
           S_ISDIR((mode_t)facts.mode);
}

/* The directory itself, or the one that a file lies in; *inside is a path of a
 * file in it, the caller's to free. */
static int open_place(const char *path, struct remote_mount **out,
                      char **inside, struct ds_error *err)
{
    ds_autofree char *directory = as_directory(path);
    struct ds_error own = DS_ERROR_INIT;
    int result;

    if (directory == NULL)
        return ds_fail_memory(err);
    result = mount_at(directory, out, &own);
    if ((result != 0 && own.system_errno == ENOTDIR) ||
        (result == 0 && !is_directory(*out))) {
        result = mount_at(path, out, &own);
        *inside = strdup(path);
    } else {
        *inside = file_in(directory);
    }
    if (result != 0 && err != NULL)
        *err = own;
    return result != 0 || *inside != NULL ? result : ds_fail_memory(err);
}

static void tell_kind(struct remote_mount *mount, struct ds_storage *out)
{
    struct nfs42 *session = remote_session(mount->server);

    (void)snprintf(out->filesystem, sizeof(out->filesystem), "NFSv3%s",
                   session != NULL ? ", NFSv4.2" : "");
    if (session != NULL)
        remote_session_done(mount->server);
    else
        (void)snprintf(out->note, sizeof(out->note), "%.400s",
                       mount->server->why_not.message);
    out->range_clone = out->file_clone = out->server_copy =
        session != NULL ? DS_ANSWER_UNKNOWN : DS_ANSWER_NO;
    out->locks = session != NULL ? DS_ANSWER_YES : DS_ANSWER_NO;
    out->physical_extents = DS_ANSWER_NO;
}

static int tell_space(struct remote_mount *mount, const char *path,
                      struct ds_storage *out, struct ds_error *err)
{
    int status =
        nfs3_free_bytes(mount->server->nfs3, &mount->handle, &out->free_bytes);

    return status == 0 ? 0
                       : remote_fail(mount->server, status, path,
                                     "cannot get the free space", err);
}

/* -- the probe --------------------------------------------------------------*/

static int make_file(struct remote_mount *mount, const char *path,
                     struct remote_file **out, struct ds_error *err)
{
    const uint32_t mode = 0600;
    char name[48];
    uint64_t noise = 0;

    if (getrandom(&noise, sizeof(noise), 0) != (ssize_t)sizeof(noise))
        return ds_fail_errno(err, errno, path, "nfs: probe: no random name");
    (void)snprintf(name, sizeof(name), ".diskshift-probe-%016" PRIx64, noise);
    return remote_create_name(mount, name, path, &mode, out, err);
}

static void remove_file(struct remote_file *file)
{
    if (file == NULL)
        return;
    (void)nfs3_remove(remote_nfs3(file), &file->mount->handle, file->name);
    remote_close(&file->base);
}

static int fill(struct remote_file *file, struct ds_error *err)
{
    ds_autofree uint8_t *bytes = malloc(PROBE_BYTES);
    int status;

    if (bytes == NULL)
        return ds_fail_memory(err);
    for (uint32_t i = 0; i < PROBE_BYTES; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    status = remote_write(file, 0, bytes, PROBE_BYTES);
    if (status != 0)
        return remote_fail(file->mount->server, status, file->base.path,
                           "probe: cannot write", err);
    file->base.size_bytes = PROBE_BYTES;
    return 0;
}

static int try_copy(struct remote_file *from, struct remote_file *to,
                    struct ds_storage *out, struct ds_error *err)
{
    struct ds_file *sources[] = { &from->base }, *targets[] = { &to->base };
    struct ds_run run = { .sources = sources, .targets = targets };
    struct ds_op op = { .kind = DS_OP_COPY,
                        .source_offset_bytes = COPY_OFFSET_BYTES,
                        .length_bytes = COPY_BYTES };
    int result = remote_run(&run, &op, 1, err);

    if (result != 0)
        return result;
    out->server_copy =
        to->account.copied_bytes > 0 ? DS_ANSWER_YES : DS_ANSWER_NO;
    return 0;
}

static int try_clone(struct remote_file *from, const char *inside,
                     struct ds_storage *out, struct ds_error *err)
{
    struct ds_clone_domain domain;
    int result = remote_domain(&from->base, inside, &domain, err);

    if (result != 0)
        return result;
    out->range_clone = domain.range ? DS_ANSWER_YES : DS_ANSWER_NO;
    out->file_clone = domain.file ? DS_ANSWER_YES : DS_ANSWER_NO;
    out->granularity_bytes = domain.range ? domain.granularity_bytes : 0;
    return 0;
}

static int probe_at(struct remote_mount *mount, const char *path,
                    const char *inside, struct ds_storage *out,
                    struct ds_error *err)
{
    struct remote_file *from = NULL, *to = NULL;
    int result = make_file(mount, path, &from, err);

    if (result == 0)
        result = make_file(mount, path, &to, err);
    if (result == 0)
        result = fill(from, err);
    if (result == 0)
        result = try_clone(from, inside, out, err);
    if (result == 0)
        result = try_copy(from, to, out, err);
    out->measured = result == 0;
    remove_file(from);
    remove_file(to);
    return result;
}

int remote_describe(const char *path, bool probe, struct ds_storage *out,
                    struct ds_error *err)
{
    struct remote_mount *mount = NULL;
    ds_autofree char *inside = NULL;
    int result = open_place(path, &mount, &inside, err);

    if (result != 0)
        return result;
    tell_kind(mount, out);
    result = tell_space(mount, path, out, err);
    return result == 0 && probe ? probe_at(mount, path, inside, out, err)
                                : result;
}
