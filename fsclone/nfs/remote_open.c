/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, reading and closing files by NFSv3. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "remote.h"

/* libnfs splits it into what the server takes and sends all of that at once;
 * more would only hold the mount for longer. */
#define PIECE_BYTES (UINT64_C(4) * DS_MIB)

char *remote_path(const struct remote_mount *mount, const char *name)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s", mount->inner, name) < 0 ? NULL : path;
}

int remote_stat(struct remote_mount *mount, const char *name,
                struct nfs_stat_64 *out)
{
    ds_autofree char *path = remote_path(mount, name);
    int status;

    if (path == NULL)
        return -ENOMEM;
    remote_lock(mount);
    status = mount->api->nfs_lstat64(mount->context, path, out);
    remote_unlock(mount);
    return status;
}

int remote_fstat(struct remote_file *file, struct nfs_stat_64 *out)
{
    struct remote_mount *mount = file->mount;
    int status;

    remote_lock(mount);
    status = mount->api->nfs_fstat64(mount->context, file->handle, out);
    remote_unlock(mount);
    return status;
}

/* -- opening ----------------------------------------------------------------*/

static struct remote_file *new_file(struct remote_mount *mount,
                                    const char *name, const char *path)
{
    struct remote_file *file = calloc(1, sizeof(*file));

    if (file == NULL)
        return NULL;
    file->base.store = &remote_store_ops;
    file->base.path = strdup(path);
    file->name = strdup(name);
    file->mount = mount;
    if (file->base.path == NULL || file->name == NULL) {
        remote_close(&file->base);
        return NULL;
    }
    return file;
}

static int open_handle(struct remote_file *file, int flags,
                       struct ds_error *err)
{
    struct remote_mount *mount = file->mount;
    ds_autofree char *path = remote_path(mount, file->name);
    int status, result = 0;

    if (path == NULL)
        return ds_fail_memory(err);
    remote_lock(mount);
    status =
        mount->api->nfs_open2(mount->context, path, flags, 0600, &file->handle);
    if (status != 0)
        result = remote_fail(
            mount, status, file->base.path,
            (flags & O_CREAT) != 0 ? "cannot create" : "cannot open", err);
    remote_unlock(mount);
    return result;
}

int remote_open_name(struct remote_mount *mount, const char *name,
                     const char *path, int flags, struct remote_file **out,
                     struct ds_error *err)
{
    struct remote_file *file = new_file(mount, name, path);
    struct nfs_stat_64 facts;
    int result, status;

    if (file == NULL)
        return ds_fail_memory(err);
    result = open_handle(file, flags, err);
    if (result == 0) {
        status = remote_fstat(file, &facts);
        if (status != 0)
            result = ds_fail_errno(err, -status, path, "nfs: cannot stat");
    }
    if (result == 0 && !S_ISREG((mode_t)facts.nfs_mode))
        result = ds_fail_at(err, &file->base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                            "nfs: file: have mode %06" PRIo64
                            " expect a regular file",
                            facts.nfs_mode);
    if (result != 0) {
        remote_close(&file->base);
        return result;
    }
    file->base.size_bytes = facts.nfs_size;
    *out = file;
    return 0;
}

/* A link is not followed: the name for NFSv4.2 would be another one. And a
 * name that an image gave must not lead anywhere else. */
static int check_no_link(struct remote_mount *mount, const char *name,
                         const char *path, struct ds_error *err)
{
    struct nfs_stat_64 facts;
    int status = remote_stat(mount, name, &facts);

    if (status != 0)
        return ds_fail_errno(err, -status, path, "nfs: cannot open");
    if (S_ISREG((mode_t)facts.nfs_mode))
        return 0;
    return ds_fail(err, DS_ERR_REFUSED,
                   "nfs: file: %.300s: have %s expect a regular file", path,
                   S_ISLNK((mode_t)facts.nfs_mode)   ? "a symbolic link"
                   : S_ISDIR((mode_t)facts.nfs_mode) ? "a directory"
                                                     : "a special file");
}

static int open_plain(struct remote_mount *mount, const char *name,
                      const char *path, struct ds_file **out,
                      struct ds_error *err)
{
    struct remote_file *file = NULL;
    int result = check_no_link(mount, name, path, err);

    if (result == 0)
        result = remote_open_name(mount, name, path, O_RDONLY, &file, err);
    if (result == 0)
        *out = &file->base;
    return result;
}

int remote_open(const char *path, struct ds_file **out, struct ds_error *err)
{
    struct remote_mount *mount = NULL;
    struct remote_url url;
    int result = remote_url_parse(path, &url, err);

    if (result != 0)
        return result;
    if (*url.name == '\0')
        result = ds_fail(err, DS_ERR_ARG,
                         "nfs: file: have the directory %.300s expect a file",
                         url.plain);
    if (result == 0)
        result = remote_mount_get(&url, &mount, err);
    if (result == 0)
        result = open_plain(mount, url.name, url.plain, out, err);
    remote_url_free(&url);
    return result;
}

/* Beside the image and by its bare name: anything else could be anywhere. */
int remote_open_reference(const struct ds_file *from,
                          const char *allow_directory, const char *name,
                          struct ds_file **out, struct ds_error *err)
{
    const struct remote_file *image = remote_of(from);
    const char *slash = strrchr(from->path, '/');
    ds_autofree char *path = NULL;

    if (*name == '\0' || strchr(name, '/') != NULL || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0)
        return ds_fail_at(err, from, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "nfs: reference: have \"%.200s\" expect a name in "
                          "the image's own directory%s",
                          name,
                          allow_directory != NULL
                              ? " (other directories are not possible yet)"
                              : "");
    if (asprintf(&path, "%.*s/%s", (int)(slash - from->path), from->path,
                 name) < 0) {
        path = NULL;
        return ds_fail_memory(err);
    }
    return open_plain(image->mount, name, path, out, err);
}

void remote_close(struct ds_file *base)
{
    struct remote_file *file = remote_of(base);

    if (base == NULL)
        return;
    if (file->handle != NULL) {
        remote_lock(file->mount);
        (void)file->mount->api->nfs_close(file->mount->context, file->handle);
        remote_unlock(file->mount);
    }
    free(file->final_name);
    free(file->final_path);
    free(file->name);
    free(file->base.path);
    free(file);
}

bool remote_same(const struct ds_file *a, const struct ds_file *b)
{
    struct nfs_stat_64 of_a, of_b;

    if (!remote_is(a) || !remote_is(b))
        return false;
    return strcmp(remote_of(a)->mount->server->host,
                  remote_of(b)->mount->server->host) == 0 &&
           remote_fstat(remote_of(a), &of_a) == 0 &&
           remote_fstat(remote_of(b), &of_b) == 0 &&
           remote_same_inode(&of_a, &of_b);
}

/* -- data -------------------------------------------------------------------*/

static int read_failed(struct remote_file *file, int status,
                       uint64_t offset_bytes, struct ds_error *err)
{
    int result =
        remote_fail(file->mount, status, file->base.path, "cannot read", err);

    if (err != NULL)
        err->offset_bytes = offset_bytes;
    return result;
}

int remote_read(struct ds_file *base, uint64_t offset_bytes, void *buffer,
                size_t length_bytes, struct ds_error *err)
{
    struct remote_file *file = remote_of(base);
    struct remote_mount *mount = file->mount;
    uint8_t *bytes = buffer;
    uint64_t done = 0, end_bytes;
    int result = 0;

    if (!ds_add_u64(offset_bytes, length_bytes, &end_bytes) ||
        end_bytes > INT64_MAX)
        length_bytes = 0, done = 1;
    while (done < length_bytes && result == 0) {
        uint64_t part = ds_min_u64(PIECE_BYTES, length_bytes - done);
        int got;

        remote_lock(mount);
        got = mount->api->nfs_pread(mount->context, file->handle,
                                    offset_bytes + done, part, bytes + done);
        if (got < 0 || (uint64_t)got > part)
            result = read_failed(file, got, offset_bytes + done, err);
        remote_unlock(mount);
        if (result == 0 && got == 0)
            break;
        done += result == 0 ? (uint64_t)got : 0;
    }
    if (result != 0 || done == length_bytes)
        return result;
    return ds_fail_at(err, base, offset_bytes, DS_ERR_CORRUPT,
                      "nfs: file: truncated, have %" PRIu64
                      " bytes expect %zu at %" PRIu64,
                      done, length_bytes, offset_bytes);
}

int remote_write(struct remote_file *file, uint64_t offset_bytes,
                 const void *bytes, uint64_t length_bytes)
{
    struct remote_mount *mount = file->mount;
    const uint8_t *next = bytes;

    while (length_bytes > 0) {
        uint64_t part = ds_min_u64(PIECE_BYTES, length_bytes);
        int done;

        remote_lock(mount);
        done = mount->api->nfs_pwrite(mount->context, file->handle,
                                      offset_bytes, part, next);
        remote_unlock(mount);
        if (done <= 0 || (uint64_t)done > part)
            return done < 0 ? done : -EIO;
        next += done;
        offset_bytes += (uint64_t)done;
        length_bytes -= (uint64_t)done;
    }
    return 0;
}

/* -- what NFS does not tell -------------------------------------------------*/

int remote_physical(struct ds_file *file, uint64_t offset_bytes,
                    uint64_t length_bytes, struct ds_physical_extent *extents,
                    size_t extent_count_max, size_t *count,
                    struct ds_error *err)
{
    (void)offset_bytes;
    (void)length_bytes;
    (void)extents;
    (void)extent_count_max;
    *count = 0;
    return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                      "nfs: file: a server does not tell where data lies");
}

int remote_storage_id(struct ds_file *file, struct ds_storage_id *out,
                      struct ds_error *err)
{
    (void)file;
    (void)err;
    *out = (struct ds_storage_id){ .known = false };
    return 0;
}

/* -- NFSv4.2 ----------------------------------------------------------------*/

static int look_up42(struct remote_file *file, struct nfs42 *session,
                     const struct nfs_stat_64 *by_v3)
{
    ds_autofree char *path = NULL;
    struct nfs42_file_facts facts;
    struct ds_error *err = &file->why_not42;
    uint32_t status = 0;
    int result;

    if (asprintf(&path, "%s/%s", file->mount->directory, file->name) < 0) {
        path = NULL;
        return ds_fail_memory(err);
    }
    result = nfs42_look_up(session, path, &facts, &status, err);
    if (result != 0)
        return result;
    if (status != NFS42_OK)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "nfs: %.200s is not found by NFSv4.2 (status %" PRIu32
                       ")",
                       path, status);
    if (facts.file_id != by_v3->nfs_ino)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "nfs: %.200s is another file by NFSv4.2, have file id "
                       "%" PRIu64 " expect %" PRIu64,
                       path, facts.file_id, by_v3->nfs_ino);
    file->handle42 = facts.handle;
    return 0;
}

const struct nfs42_handle *remote_handle42(struct remote_file *file)
{
    struct remote_server *server = file->mount->server;
    struct nfs_stat_64 facts;
    struct nfs42 *session;

    if (!file->handle42_tried) {
        file->handle42_tried = true;
        session = remote_session(server);
        if (session == NULL) {
            file->why_not42 = server->why_not;
        } else {
            if (remote_fstat(file, &facts) == 0)
                (void)look_up42(file, session, &facts);
            remote_session_done(server);
        }
    }
    return file->handle42.length_bytes > 0 ? &file->handle42 : NULL;
}
