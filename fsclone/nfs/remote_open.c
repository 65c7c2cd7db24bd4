/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, reading and closing files by NFSv3. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "remote.h"

int remote_stat(struct remote_mount *mount, const char *name,
                struct nfs3_facts *out)
{
    struct nfs3_handle file;

    return nfs3_lookup(mount->server->nfs3, &mount->handle, name, &file, out);
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

/* A link is not followed: the name for NFSv4.2 would be another one. And a
 * name that an image gave must not lead anywhere else. */
static int check_kind(const struct remote_file *file, struct ds_error *err)
{
    mode_t mode = (mode_t)file->opened.mode;

    if (S_ISREG(mode))
        return 0;
    return ds_fail_at(err, &file->base, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "nfs: file: have %s expect a regular file",
                      S_ISDIR(mode)   ? "a directory"
                      : S_ISLNK(mode) ? "a symbolic link"
                                      : "a special file");
}

static int opened(struct remote_file *file, int status, const char *what,
                  struct remote_file **out, struct ds_error *err)
{
    int result = status == 0 ? check_kind(file, err)
                             : remote_fail(file->mount->server, status,
                                           file->base.path, what, err);

    if (result != 0) {
        remote_close(&file->base);
        return result;
    }
    file->base.size_bytes = file->opened.size_bytes;
    *out = file;
    return 0;
}

int remote_open_name(struct remote_mount *mount, const char *name,
                     const char *path, struct remote_file **out,
                     struct ds_error *err)
{
    struct remote_file *file = new_file(mount, name, path);
    int status;

    if (file == NULL)
        return ds_fail_memory(err);
    status = nfs3_lookup(mount->server->nfs3, &mount->handle, name,
                         &file->handle, &file->opened);
    return opened(file, status, "cannot open", out, err);
}

int remote_create_name(struct remote_mount *mount, const char *name,
                       const char *path, const uint32_t *mode,
                       struct remote_file **out, struct ds_error *err)
{
    struct remote_file *file = new_file(mount, name, path);
    int status;

    if (file == NULL)
        return ds_fail_memory(err);
    status = nfs3_create(mount->server->nfs3, &mount->handle, name, mode,
                         &file->handle, &file->opened);
    return opened(file, status, "cannot create", out, err);
}

/* One that is there already was made by a call that was sent twice. */
int remote_create_own(struct remote_mount *mount, const char *name,
                      const char *path, struct remote_file **out,
                      struct ds_error *err)
{
    const uint32_t mode = 0600;
    struct ds_error own = DS_ERROR_INIT;
    int result = remote_create_name(mount, name, path, &mode, out, &own);

    if (result != 0 && own.system_errno == EEXIST)
        return remote_open_name(mount, name, path, out, err);
    if (result != 0 && err != NULL)
        *err = own;
    return result;
}

static int open_source(struct remote_mount *mount, const char *name,
                       const char *path, struct ds_file **out,
                       struct ds_error *err)
{
    struct remote_file *file = NULL;
    int result = remote_open_name(mount, name, path, &file, err);

    if (result != 0)
        return result;
    file->is_steady = true;
    *out = &file->base;
    return 0;
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
        result = open_source(mount, url.name, url.plain, out, err);
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
    return open_source(image->mount, name, path, out, err);
}

void remote_close(struct ds_file *base)
{
    struct remote_file *file = remote_of(base);

    if (base == NULL)
        return;
    remote_lanes_end(file);
    remote_forget_windows(file);
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

int remote_read_up_to(struct remote_file *file, uint64_t offset_bytes,
                      uint8_t *bytes, uint64_t length_bytes,
                      uint64_t *read_bytes, struct ds_error *err)
{
    int status = nfs3_read(remote_nfs3(file), &file->handle, offset_bytes,
                           bytes, length_bytes, read_bytes);
    int result;

    if (status == 0)
        return 0;
    result = remote_fail(file->mount->server, status, file->base.path,
                         "cannot read", err);
    if (err != NULL)
        err->offset_bytes = offset_bytes + *read_bytes;
    return result;
}

int remote_read(struct ds_file *base, uint64_t offset_bytes, void *buffer,
                size_t length_bytes, struct ds_error *err)
{
    struct remote_file *file = remote_of(base);
    uint8_t *bytes = buffer;
    uint64_t done = 0, more = 1, end_bytes;
    bool addressable = ds_add_u64(offset_bytes, length_bytes, &end_bytes) &&
                       end_bytes <= INT64_MAX;
    int result = 0;

    while (addressable && file->is_steady && result == 0 && more > 0 &&
           done < length_bytes) {
        result = remote_read_window(file, offset_bytes + done, bytes + done,
                                    length_bytes - done, &more, err);
        done += more;
    }
    more = 0;
    if (addressable && result == 0 && done < length_bytes)
        result = remote_read_up_to(file, offset_bytes + done, bytes + done,
                                   length_bytes - done, &more, err);
    done += more;
    if (result != 0 || (addressable && done == length_bytes))
        return result;
    return ds_fail_at(err, base, offset_bytes, DS_ERR_CORRUPT,
                      "nfs: file: truncated, have %" PRIu64
                      " bytes expect %zu at %" PRIu64,
                      done, length_bytes, offset_bytes);
}

struct nfs3_write remote_write_of(struct remote_file *file,
                                  uint64_t offset_bytes, const void *bytes,
                                  uint64_t length_bytes)
{
    return (struct nfs3_write){
        .file = &file->handle,
        .verifier = &file->verifier,
        .offset_bytes = offset_bytes,
        .bytes = bytes,
        .length_bytes = length_bytes,
    };
}

int remote_write(struct remote_file *file, uint64_t offset_bytes,
                 const void *bytes, uint64_t length_bytes)
{
    struct nfs3_write write =
        remote_write_of(file, offset_bytes, bytes, length_bytes);
    int status = nfs3_write(remote_nfs3(file), &write, 1);

    return status != 0 ? status : write.status;
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
                     struct nfs42_lock_test *locks)
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
    result = nfs42_look_up(session, path, locks, &facts, &status, err);
    if (result != 0)
        return result;
    if (status != NFS42_OK)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "nfs: %.200s is not found by NFSv4.2 (status %" PRIu32
                       ")",
                       path, status);
    if (facts.file_id != file->opened.file_id)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "nfs: %.200s is another file by NFSv4.2, have file id "
                       "%" PRIu64 " expect %" PRIu64,
                       path, facts.file_id, file->opened.file_id);
    file->handle42 = facts.handle;
    return 0;
}

int remote_look_up42(struct remote_file *file, struct nfs42_lock_test *locks)
{
    struct remote_server *server = file->mount->server;
    struct nfs42 *session = remote_session(server);
    int result;

    file->handle42_tried = true;
    if (session == NULL) {
        file->why_not42 = server->why_not;
        return 0;
    }
    result = look_up42(file, session, locks);
    remote_session_done(server);
    return result == -DS_ERR_UNSUPPORTED ? 0 : result;
}

const struct nfs42_handle *remote_handle42(struct remote_file *file)
{
    if (!file->handle42_tried)
        (void)remote_look_up42(file, NULL);
    return file->handle42.length_bytes > 0 ? &file->handle42 : NULL;
}
