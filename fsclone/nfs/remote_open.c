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
/* Headers and tables lie near each other; each read is a round trip. */
#define WINDOW_BYTES ((size_t)256 * 1024)
#define SMALL_BYTES ((size_t)32 * 1024)

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
    REMOTE_CALL(mount, status,
                mount->api->nfs_lstat64(mount->context, path, out));
    remote_unlock(mount);
    return status;
}

int remote_fstat(struct remote_file *file, struct nfs_stat_64 *out)
{
    struct remote_mount *mount = file->mount;
    int status;

    remote_lock(mount);
    REMOTE_CALL(mount, status,
                mount->api->nfs_fstat64(mount->context, file->handle, out));
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
    (void)pthread_mutex_init(&file->window_lock, NULL);
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
    int result, status;

    if (file == NULL)
        return ds_fail_memory(err);
    result = open_handle(file, flags, err);
    if (result == 0) {
        status = remote_fstat(file, &file->opened);
        if (status != 0)
            result = ds_fail_errno(err, -status, path, "nfs: cannot stat");
    }
    if (result == 0 && !S_ISREG((mode_t)file->opened.nfs_mode))
        result = ds_fail_at(err, &file->base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                            "nfs: file: have %s expect a regular file",
                            S_ISDIR((mode_t)file->opened.nfs_mode)
                                ? "a directory"
                                : "a special file");
    if (result != 0) {
        remote_close(&file->base);
        return result;
    }
    file->base.size_bytes = file->opened.nfs_size;
    *out = file;
    return 0;
}

/* A link is not followed: the name for NFSv4.2 would be another one. And a
 * name that an image gave must not lead anywhere else. */
static int open_plain(struct remote_mount *mount, const char *name,
                      const char *path, struct ds_file **out,
                      struct ds_error *err)
{
    struct ds_error own = DS_ERROR_INIT;
    struct remote_file *file = NULL;
    int result =
        remote_open_name(mount, name, path, O_RDONLY | O_NOFOLLOW, &file, &own);

    if (result == 0) {
        file->is_steady = true;
        *out = &file->base;
        return 0;
    }
    if (own.system_errno == ELOOP)
        return ds_fail(err, DS_ERR_REFUSED,
                       "nfs: file: %.300s: have a symbolic link expect a "
                       "regular file",
                       path);
    if (err != NULL)
        *err = own;
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
    (void)pthread_mutex_destroy(&file->window_lock);
    free(file->window);
    free(file->final_name);
    free(file->final_path);
    free(file->name);
    free(file->base.path);
    free(file);
}

bool remote_same(const struct ds_file *a, const struct ds_file *b)
{
    return remote_is(a) && remote_is(b) &&
           strcmp(remote_of(a)->mount->server->host,
                  remote_of(b)->mount->server->host) == 0 &&
           remote_same_inode(&remote_of(a)->opened, &remote_of(b)->opened);
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

/* How much could be read before the file's end. */
static int read_up_to(struct remote_file *file, uint64_t offset_bytes,
                      uint8_t *bytes, uint64_t length_bytes,
                      uint64_t *read_bytes, struct ds_error *err)
{
    struct remote_mount *mount = file->mount;
    uint64_t done = 0;
    int result = 0, got = 1;

    while (done < length_bytes && result == 0 && got > 0) {
        uint64_t part = ds_min_u64(PIECE_BYTES, length_bytes - done);

        remote_lock(mount);
        REMOTE_CALL(mount, got,
                    mount->api->nfs_pread(mount->context, file->handle,
                                          offset_bytes + done, part,
                                          bytes + done));
        if (got < 0 || (uint64_t)got > part)
            result = read_failed(file, got, offset_bytes + done, err);
        remote_unlock(mount);
        if (result == 0)
            done += (uint64_t)got;
    }
    *read_bytes = done;
    return result;
}

/* Have the window that the offset lies in; under its lock. */
static int move_window(struct remote_file *file, uint64_t offset_bytes,
                       struct ds_error *err)
{
    uint64_t begin = ds_align_down(offset_bytes, WINDOW_BYTES), length = 0;
    int result;

    if (file->window_bytes > 0 && file->window_offset_bytes == begin)
        return 0;
    if (file->window == NULL)
        file->window = malloc(WINDOW_BYTES);
    if (file->window == NULL)
        return ds_fail_memory(err);
    file->window_bytes = 0;
    if (begin < file->base.size_bytes)
        length = ds_min_u64(WINDOW_BYTES, file->base.size_bytes - begin);
    result = read_up_to(file, begin, file->window, length, &length, err);
    file->window_offset_bytes = begin;
    file->window_bytes = result == 0 ? (size_t)length : 0;
    return result;
}

/* From the window as far as it goes; *done says how far. */
static int read_window(struct remote_file *file, uint64_t offset_bytes,
                       uint8_t *bytes, size_t length_bytes, uint64_t *done,
                       struct ds_error *err)
{
    size_t skip, part;
    int result;

    (void)pthread_mutex_lock(&file->window_lock);
    result = move_window(file, offset_bytes, err);
    skip = (size_t)(offset_bytes % WINDOW_BYTES);
    if (result == 0 && skip < file->window_bytes) {
        part = (size_t)ds_min_u64(length_bytes, file->window_bytes - skip);
        memcpy(bytes, file->window + skip, part);
        *done = part;
    }
    (void)pthread_mutex_unlock(&file->window_lock);
    return result;
}

void remote_forget_window(struct remote_file *file)
{
    (void)pthread_mutex_lock(&file->window_lock);
    file->window_bytes = 0;
    (void)pthread_mutex_unlock(&file->window_lock);
}

int remote_read(struct ds_file *base, uint64_t offset_bytes, void *buffer,
                size_t length_bytes, struct ds_error *err)
{
    struct remote_file *file = remote_of(base);
    uint8_t *bytes = buffer;
    uint64_t done = 0, more = 0, end_bytes;
    bool addressable = ds_add_u64(offset_bytes, length_bytes, &end_bytes) &&
                       end_bytes <= INT64_MAX;
    int result = 0;

    if (addressable && file->is_steady && length_bytes <= SMALL_BYTES)
        result =
            read_window(file, offset_bytes, bytes, length_bytes, &done, err);
    if (addressable && result == 0 && done < length_bytes)
        result = read_up_to(file, offset_bytes + done, bytes + done,
                            length_bytes - done, &more, err);
    done += more;
    if (result != 0 || (addressable && done == length_bytes))
        return result;
    return ds_fail_at(err, base, offset_bytes, DS_ERR_CORRUPT,
                      "nfs: file: truncated, have %" PRIu64
                      " bytes expect %zu at %" PRIu64,
                      done, length_bytes, offset_bytes);
}

/* libnfs says EFAULT, and no word, when a server refuses a write. Most refuse
 * for want of room, and that can be asked for. Under the lock. */
static int why_refused(struct remote_mount *mount, uint64_t length_bytes)
{
    const char *place = *mount->inner != '\0' ? mount->inner : "/";
    struct nfs_statvfs_64 facts;
    uint64_t free_bytes;

    if (mount->api->nfs_statvfs64(mount->context, place, &facts) == 0 &&
        ds_mul_u64(facts.f_bavail, facts.f_frsize, &free_bytes) &&
        free_bytes < length_bytes)
        return -ENOSPC;
    return -EIO;
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
        REMOTE_CALL(mount, done,
                    mount->api->nfs_pwrite(mount->context, file->handle,
                                           offset_bytes, part, next));
        if (done == -EFAULT)
            done = why_refused(mount, part);
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

static int look_up42(struct remote_file *file, struct nfs42 *session)
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
    if (facts.file_id != file->opened.nfs_ino)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "nfs: %.200s is another file by NFSv4.2, have file id "
                       "%" PRIu64 " expect %" PRIu64,
                       path, facts.file_id, file->opened.nfs_ino);
    file->handle42 = facts.handle;
    return 0;
}

const struct nfs42_handle *remote_handle42(struct remote_file *file)
{
    struct remote_server *server = file->mount->server;
    struct nfs42 *session;

    if (!file->handle42_tried) {
        file->handle42_tried = true;
        session = remote_session(server);
        if (session == NULL) {
            file->why_not42 = server->why_not;
        } else {
            (void)look_up42(file, session);
            remote_session_done(server);
        }
    }
    return file->handle42.length_bytes > 0 ? &file->handle42 : NULL;
}
