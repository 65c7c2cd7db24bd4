/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be shared between a source and files in the target's directory. No
 * server says so in words that hold, so it is tried: a new file beside the
 * target, one CLONE into it, the file removed. Its name begins with a dot and
 * is random; a crash between leaves it, empty or of one block.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "remote.h"

#define GRANULARITY_BYTES_STANDARD 4096u
#define GRANULARITY_BYTES_MAX (1024u * 1024u)

static void set_shared(struct ds_clone_domain *out, bool shared,
                       enum ds_copy_reason reason)
{
    out->range = shared;
    out->file = shared;
    out->reason = shared ? DS_COPY_NONE : reason;
}

static bool same_server(const struct remote_mount *a,
                        const struct remote_mount *b)
{
    return strcmp(a->server->host, b->server->host) == 0 &&
           a->server->settings.port == b->server->settings.port;
}

/* Clone a block; when the server finds it misaligned, a larger one. */
static uint32_t try_clone(struct nfs42 *session,
                          const struct nfs42_handle *source,
                          const struct nfs42_handle *target,
                          uint64_t size_bytes, uint32_t *granularity_bytes,
                          int *result)
{
    uint32_t unit_bytes = *granularity_bytes;
    struct nfs42_piece piece = { .op = NFS42_CLONE,
                                 .source = source,
                                 .target = target };

    for (;;) {
        piece.length_bytes = ds_min_u64(unit_bytes, size_bytes);
        *result = nfs42_run_pieces(session, &piece, 1, NULL);
        if (*result != 0 || piece.status != NFS42_ERR_INVAL ||
            unit_bytes >= size_bytes || unit_bytes >= GRANULARITY_BYTES_MAX)
            break;
        unit_bytes *= 2;
    }
    if (*result == 0 && piece.status == NFS42_OK)
        *granularity_bytes = unit_bytes;
    return piece.status;
}

static void conclude(uint32_t status, struct ds_clone_domain *out)
{
    switch (nfs42_errno(status)) {
    case 0:
        set_shared(out, true, DS_COPY_NONE);
        break;
    case EXDEV:
        set_shared(out, false, DS_COPY_OTHER_FILESYSTEM);
        break;
    case EOPNOTSUPP:
    case EINVAL:
        set_shared(out, false, DS_COPY_NO_REFLINK);
        break;
    default:
        set_shared(out, false, DS_COPY_CLONE_REFUSED);
        break;
    }
}

static void probe(struct remote_file *source, struct remote_file *target,
                  struct ds_clone_domain *out)
{
    const struct nfs42_handle *from = remote_handle42(source);
    const struct nfs42_handle *to = remote_handle42(target);
    struct remote_server *server = target->mount->server;
    struct nfs42 *session;
    uint32_t status;
    int result;

    set_shared(out, false, DS_COPY_NO_REFLINK);
    if (from == NULL || to == NULL)
        return;
    session = remote_session(server);
    if (session == NULL)
        return;
    status = try_clone(session, from, to, source->base.size_bytes,
                       &out->granularity_bytes, &result);
    remote_session_done(server);
    if (result == 0)
        conclude(status, out);
    else
        set_shared(out, false, DS_COPY_CLONE_REFUSED);
}

static int with_probe_file(struct remote_file *source,
                           struct remote_mount *mount, const char *plain,
                           struct ds_clone_domain *out, struct ds_error *err)
{
    ds_autofree char *name = NULL;
    struct remote_file *file = NULL;
    uint64_t noise = 0;
    int result;

    if (getrandom(&noise, sizeof(noise), 0) != (ssize_t)sizeof(noise) ||
        asprintf(&name, ".diskshift-probe-%016" PRIx64, noise) < 0) {
        name = NULL;
        return ds_fail_memory(err);
    }
    result = remote_create_own(mount, name, plain, &file, err);
    if (result != 0)
        return result;
    probe(source, file, out);
    (void)nfs3_remove(mount->server->nfs3, &mount->handle, name);
    remote_close(&file->base);
    return 0;
}

/* From a probe before, of another file of the source's filesystem. Should the
 * two files not share although others do, the clone itself says so. */
static bool remembered(struct remote_file *source, struct remote_mount *mount,
                       struct ds_clone_domain *out)
{
    bool known;

    /* Without a handle it is the file that cannot be shared. */
    if (remote_handle42(source) == NULL)
        return false;
    (void)pthread_mutex_lock(&mount->lock);
    known = mount->probed &&
            mount->probed_filesystem_id == source->opened.filesystem_id;
    if (known)
        *out = mount->domain;
    (void)pthread_mutex_unlock(&mount->lock);
    return known;
}

static void remember(struct remote_file *source, struct remote_mount *mount,
                     const struct ds_clone_domain *domain)
{
    if (remote_handle42(source) == NULL || source->base.size_bytes == 0)
        return;
    (void)pthread_mutex_lock(&mount->lock);
    mount->probed = true;
    mount->probed_filesystem_id = source->opened.filesystem_id;
    mount->domain = *domain;
    (void)pthread_mutex_unlock(&mount->lock);
}

static int domain_of(struct remote_file *source, struct remote_mount *mount,
                     const char *plain, struct ds_clone_domain *out,
                     struct ds_error *err)
{
    int result;

    if (remembered(source, mount, out))
        return 0;
    result = with_probe_file(source, mount, plain, out, err);
    if (result == 0)
        remember(source, mount, out);
    return result;
}

int remote_domain(struct ds_file *source, const char *target_path,
                  struct ds_clone_domain *out, struct ds_error *err)
{
    struct remote_mount *mount = NULL;
    struct remote_url url;
    int result = remote_url_parse(target_path, &url, err);

    if (result != 0)
        return result;
    *out = (struct ds_clone_domain){ .known = true,
                                     .granularity_bytes =
                                         GRANULARITY_BYTES_STANDARD };
    set_shared(out, false, DS_COPY_OTHER_FILESYSTEM);
    result = remote_mount_get(&url, &mount, err);
    if (result == 0 && remote_is(source) &&
        same_server(remote_of(source)->mount, mount))
        result = domain_of(remote_of(source), mount, url.plain, out, err);
    remote_url_free(&url);
    return result;
}
