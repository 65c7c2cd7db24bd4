/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a server behind which an array shares blocks by an interface of its
 * own (clone_via.h). What goes by NFSv3 stays; CLONE is replaced:
 *
 *   a whole file   array: SOURCE -> .diskshift-clone-<random>
 *                  owner and mode of NAME.partial, then renamed over it
 *   ranges         NAME.partial is made large enough,
 *                  array: ranges of SOURCE -> NAME.partial
 *
 * An array makes whole files under new names only. NAME.partial is there all
 * the time, being what keeps a second converter away. A kill during the clone
 * leaves both, the other one with a random name that nobody else has taken,
 * so on failure it is removed without doubt.
 *
 * Where nobody can say how the array's work ended, the files do: ranges are
 * read on both sides, a whole file must be there with its source's size, and
 * the operation is marked `unsure`.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "arith.h"
#include "cleanup.h"
#include "clone_via.h"
#include "fail.h"
#include "remote.h"

#define RANGE_COUNT_MAX 64u
#define COMPARE_BYTES (DS_MIB)

static int locate(struct ds_clone_via *via, const struct remote_mount *mount,
                  const char *name, char **out, struct ds_error *err)
{
    const char *directory = mount->directory;
    ds_autofree char *path = NULL;

    if (asprintf(&path, "%s/%s", strcmp(directory, "/") == 0 ? "" : directory,
                 name) < 0) {
        path = NULL;
        return ds_fail_memory(err);
    }
    return via->ops->locate(via, path, out, err);
}

/* -- what can be shared -----------------------------------------------------*/

static bool same_server(const struct ds_file *source,
                        const struct remote_mount *mount)
{
    return remote_is(source) && strcmp(remote_of(source)->mount->server->host,
                                       mount->server->host) == 0;
}

static int domain_at(struct ds_file *source, const struct remote_url *url,
                     struct ds_clone_via *via, struct ds_clone_domain *out,
                     struct ds_error *err)
{
    ds_autofree char *source_name = NULL;
    ds_autofree char *target_name = NULL;
    struct remote_mount *mount = NULL;
    int result = remote_mount_get(url, &mount, err);

    if (result == 0)
        result = locate(via, mount, url->name, &target_name, err);
    if (result != 0 || !same_server(source, mount))
        return result;
    result = locate(via, remote_of(source)->mount, remote_of(source)->name,
                    &source_name, err);
    if (result != 0)
        return result;
    out->file = true;
    out->range = via->ops->ranges != NULL;
    out->reason = out->range ? DS_COPY_NONE : DS_COPY_NO_REFLINK;
    return 0;
}

int remote_via_domain(struct ds_file *source, const char *target_path,
                      struct ds_clone_via *via, struct ds_clone_domain *out,
                      struct ds_error *err)
{
    uint32_t granularity = via->ops->granularity_bytes;
    struct remote_url url;
    int result = remote_url_parse(target_path, &url, err);

    *out = (struct ds_clone_domain){
        .known = true,
        .granularity_bytes = granularity != 0 ? granularity : 4096,
        .reason = DS_COPY_OTHER_FILESYSTEM,
        .whole_blocks = true,
        .prefers_file = true,
    };
    if (result != 0)
        return result;
    result = domain_at(source, &url, via, out, err);
    remote_url_free(&url);
    return result;
}

/* -- a whole file -----------------------------------------------------------*/

static char *random_name(void)
{
    uint64_t noise = 0;
    char *name = NULL;

    if (getrandom(&noise, sizeof(noise), 0) != (ssize_t)sizeof(noise) ||
        asprintf(&name, ".diskshift-clone-%016" PRIx64, noise) < 0)
        return NULL;
    return name;
}

static void remove_file(struct remote_mount *mount, const char *name)
{
    (void)nfs3_remove(mount->server->nfs3, &mount->handle, name);
}

/* As the file that it replaces, never wider. 0 or -errno. */
static int take_attributes(struct remote_file *made,
                           const struct nfs3_facts *from)
{
    const struct nfs3_facts *now = &made->opened;
    uint32_t mode = from->mode & 0777;
    struct nfs3_change change = { .mode = &mode };
    int status;

    change.uid = from->uid != now->uid ? &from->uid : NULL;
    change.gid = from->gid != now->gid ? &from->gid : NULL;
    status = nfs3_setattr(remote_nfs3(made), &made->handle, &change);
    if (status == 0 || (change.uid == NULL && change.gid == NULL))
        return status;
    change.uid = change.gid = NULL;
    mode &= 0700;
    return nfs3_setattr(remote_nfs3(made), &made->handle, &change);
}

/* Whether it has been renamed is what the name says now: a RENAME that was sent
 * again may find that it is done. */
static int rename_over(struct remote_file *target,
                       const struct remote_file *made)
{
    struct remote_mount *mount = target->mount;
    struct nfs3_facts facts;
    int status = remote_stat(mount, target->name, &facts);

    if (status != 0)
        return status;
    if (!remote_same_inode(&facts, &target->opened))
        return -EEXIST;
    status = nfs3_rename(mount->server->nfs3, &mount->handle, made->name,
                         target->name);
    if (status == -ENOENT && remote_stat(mount, target->name, &facts) == 0 &&
        remote_same_inode(&facts, &made->opened))
        status = 0;
    return status;
}

/* `target` stands for the file `made` from now on, which takes its name. */
static int become(struct remote_file *target, struct remote_file *made,
                  struct ds_error *err)
{
    struct nfs3_facts from;
    int status = nfs3_getattr(remote_nfs3(target), &target->handle, &from);

    if (status == 0)
        status = take_attributes(made, &from);
    if (status == 0)
        status = rename_over(target, made);
    if (status != 0)
        return remote_fail(target->mount->server, status, target->base.path,
                           "target: cannot put the array's clone in its place",
                           err);
    target->opened = made->opened;
    target->handle = made->handle;
    target->handle42 = (struct nfs42_handle){ .length_bytes = 0 };
    target->handle42_tried = false;
    remote_forget_windows(target);
    return 0;
}

static int adopt(struct remote_file *target, const char *name,
                 const struct remote_file *source, struct ds_error *err)
{
    struct remote_file *made = NULL;
    int result =
        remote_open_name(target->mount, name, target->base.path, &made, err);

    if (result != 0)
        return result;
    if (made->base.size_bytes != source->base.size_bytes)
        result = ds_fail_at(err, &source->base, DS_OFFSET_NONE, DS_ERR_SYSTEM,
                            "nfs: the array's clone of it: have size %" PRIu64
                            " expect %" PRIu64,
                            made->base.size_bytes, source->base.size_bytes);
    if (result == 0)
        result = become(target, made, err);
    remote_close(&made->base);
    return result;
}

static int clone_named(struct remote_file *source, struct remote_file *target,
                       const char *name, enum ds_clone_outcome *outcome,
                       struct ds_error *err)
{
    struct ds_clone_via *via = target->via;
    ds_autofree char *from = NULL;
    ds_autofree char *to = NULL;
    int result = locate(via, source->mount, source->name, &from, err);

    if (result == 0)
        result = locate(via, target->mount, name, &to, err);
    if (result == 0)
        result = via->ops->whole_file(via, from, to, outcome, err);
    if (result == 0)
        result = adopt(target, name, source, err);
    return result;
}

static int clone_file(struct remote_file *source, struct remote_file *target,
                      struct ds_op *op, struct ds_error *err)
{
    enum ds_clone_outcome outcome = DS_CLONE_DONE;
    ds_autofree char *name = random_name();
    int result;

    if (name == NULL)
        return ds_fail_memory(err);
    result = clone_named(source, target, name, &outcome, err);
    if (result != 0) {
        remove_file(target->mount, name);
        return result;
    }
    op->status = 0;
    op->unsure = outcome == DS_CLONE_VANISHED;
    target->account.clone_count++;
    target->account.cloned_bytes += source->base.size_bytes;
    target->account.unsure_count += op->unsure;
    return 0;
}

/* -- ranges -----------------------------------------------------------------*/

struct gathered {
    struct ds_op *ops[RANGE_COUNT_MAX];
    struct ds_clone_via_range ranges[RANGE_COUNT_MAX];
    size_t count;
};

/* The clones from *at on that go between the same two files. */
static void gather(struct ds_op *ops, size_t count, size_t *at,
                   struct gathered *out)
{
    const struct ds_op *first = &ops[*at];

    out->count = 0;
    for (; *at < count && out->count < RANGE_COUNT_MAX; ++*at) {
        struct ds_op *op = &ops[*at];

        if (op->kind != DS_OP_CLONE)
            continue;
        if (op->source_index != first->source_index ||
            op->target_index != first->target_index)
            break;
        if (op->length_bytes == 0) {
            op->status = 0;
            continue;
        }
        out->ops[out->count] = op;
        out->ranges[out->count++] = (struct ds_clone_via_range){
            .source_offset_bytes = op->source_offset_bytes,
            .target_offset_bytes = op->target_offset_bytes,
            .length_bytes = op->length_bytes,
        };
    }
}

/* Arrays share with what lies within the file alone. */
static int grow(struct remote_file *target, const struct gathered *gathered)
{
    struct nfs3_facts facts;
    uint64_t end_bytes = 0;
    struct nfs3_change change = { .size_bytes = &end_bytes };
    int status = nfs3_getattr(remote_nfs3(target), &target->handle, &facts);

    for (size_t i = 0; i < gathered->count; i++)
        end_bytes =
            ds_max_u64(end_bytes, gathered->ranges[i].target_offset_bytes +
                                      gathered->ranges[i].length_bytes);
    if (status != 0 || facts.size_bytes >= end_bytes)
        return status;
    return nfs3_setattr(remote_nfs3(target), &target->handle, &change);
}

static int compare_range(struct remote_file *source, struct remote_file *target,
                         const struct ds_clone_via_range *range,
                         struct ds_error *err)
{
    ds_autofree uint8_t *left = malloc(COMPARE_BYTES);
    ds_autofree uint8_t *right = malloc(COMPARE_BYTES);
    int result = 0;

    if (left == NULL || right == NULL)
        return ds_fail_memory(err);
    for (uint64_t at = 0; at < range->length_bytes && result == 0;
         at += COMPARE_BYTES) {
        size_t part =
            (size_t)ds_min_u64(COMPARE_BYTES, range->length_bytes - at);

        result = remote_read(&source->base, range->source_offset_bytes + at,
                             left, part, err);
        if (result == 0)
            result = remote_read(&target->base, range->target_offset_bytes + at,
                                 right, part, err);
        if (result == 0 && memcmp(left, right, part) != 0)
            result = ds_fail_at(err, &target->base,
                                range->target_offset_bytes + at, DS_ERR_SYSTEM,
                                "nfs: %s does not say how its clone ended, and "
                                "the bytes are not there",
                                target->via->ops->name);
        target->account.read_bytes += 2 * part;
    }
    return result;
}

static int clone_gathered(struct remote_file *source,
                          struct remote_file *target,
                          const struct gathered *gathered, struct ds_error *err)
{
    struct ds_clone_via *via = target->via;
    enum ds_clone_outcome outcome = DS_CLONE_DONE;
    ds_autofree char *from = NULL;
    ds_autofree char *to = NULL;
    int status = grow(target, gathered), result;

    if (status != 0)
        return remote_fail(target->mount->server, status, target->base.path,
                           "target: cannot set the size", err);
    result = locate(via, source->mount, source->name, &from, err);
    if (result == 0)
        result = locate(via, target->mount, target->name, &to, err);
    if (result == 0)
        result = via->ops->ranges(via, from, to, gathered->ranges,
                                  gathered->count, &outcome, err);
    for (size_t i = 0; i < gathered->count && result == 0; i++) {
        if (outcome == DS_CLONE_VANISHED)
            result = compare_range(source, target, &gathered->ranges[i], err);
        gathered->ops[i]->status = result;
        target->account.cloned_bytes += gathered->ranges[i].length_bytes;
    }
    target->account.clone_count += gathered->count;
    target->account.unsure_count += outcome == DS_CLONE_VANISHED;
    return result;
}

struct watch {
    const struct ds_run *run;
    const struct ds_progress *numbers;
};

static bool is_stopped(void *user)
{
    const struct watch *watch = user;

    return watch->run->progress != NULL &&
           watch->run->progress(watch->run->user, watch->numbers) != 0;
}

static int step(const struct ds_run *run, struct ds_op *ops, size_t count,
                size_t *at, struct ds_error *err)
{
    struct ds_op *op = &ops[*at];
    struct remote_file *source = remote_of(run->sources[op->source_index]);
    struct remote_file *target = remote_of(run->targets[op->target_index]);
    struct gathered gathered;

    if (op->kind == DS_OP_CLONE_FILE) {
        ++*at;
        return clone_file(source, target, op, err);
    }
    gather(ops, count, at, &gathered);
    return clone_gathered(source, target, &gathered, err);
}

int remote_via_step(const struct ds_run *run, const struct ds_progress *numbers,
                    struct ds_op *ops, size_t count, size_t *at,
                    struct ds_error *err)
{
    struct watch watch = { run, numbers };

    for (; *at < count; ++*at) {
        const struct ds_op *op = &ops[*at];
        struct ds_clone_via *via;
        int result;

        if (op->kind != DS_OP_CLONE && op->kind != DS_OP_CLONE_FILE)
            continue;
        via = remote_of(run->targets[op->target_index])->via;
        if (via == NULL || !remote_is(run->sources[op->source_index]))
            continue;
        via->stop = is_stopped;
        via->user = &watch;
        result = step(run, ops, count, at, err);
        via->stop = NULL;
        return result != 0 ? result : 1;
    }
    return 0;
}
