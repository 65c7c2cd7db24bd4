/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_store.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "memory_target.h"
#include "registry.h"

/* As the kernel's; a store with larger ones has less to decide. */
#define BLOCK_BYTES 4096u

struct memory_file {
    struct ds_file file;
    size_t index;                 /* of the case's files; or */
    struct memory_target *target; /* one that was written */
};

static const struct fuzz_case *current;
static unsigned open_count;
static pthread_mutex_t run_lock = PTHREAD_MUTEX_INITIALIZER;

void memory_store_set(const struct fuzz_case *fuzz)
{
    current = fuzz;
    memory_targets_clear();
}

unsigned memory_store_open_count(void)
{
    return open_count;
}

static int open_file(const char *path, uint64_t size_bytes, size_t index,
                     struct memory_target *target, struct ds_file **out,
                     struct ds_error *err)
{
    struct memory_file *file = calloc(1, sizeof(*file));

    if (file == NULL)
        return ds_fail_memory(err);
    file->file.store = &memory_store_ops;
    file->file.path = strdup(path);
    file->file.size_bytes = size_bytes;
    file->index = index;
    file->target = target;
    if (file->file.path == NULL) {
        free(file);
        return ds_fail_memory(err);
    }
    open_count++;
    *out = &file->file;
    return 0;
}

static int open_index(size_t index, struct ds_file **out, struct ds_error *err)
{
    return open_file(current->files[index].name,
                     current->files[index].size_bytes, index, NULL, out, err);
}

static int open_target(struct memory_target *target, struct ds_file **out,
                       struct ds_error *err)
{
    return open_file(target->path, target->size_bytes, 0, target, out, err);
}

static int memory_open(const char *path, struct ds_file **out,
                       struct ds_error *err)
{
    struct memory_target *target = memory_target_find(path, true);

    return target != NULL ? open_target(target, out, err)
                          : open_index(0, out, err);
}

static int memory_open_reference(const struct ds_file *from,
                                 const char *allow_directory, const char *name,
                                 struct ds_file **out, struct ds_error *err)
{
    struct memory_target *target = memory_target_find(name, true);

    (void)allow_directory;
    if (target != NULL)
        return open_target(target, out, err);
    for (size_t i = 0; i < current->file_count; i++)
        if (strcmp(current->files[i].name, name) == 0)
            return open_index(i, out, err);
    if (strchr(name, '/') == NULL)
        return ds_fail_errno(err, ENOENT, from->path,
                             "memory: reference: \"%.200s\"", name);
    return ds_fail_at(err, from, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "memory: reference: \"%.200s\" lies elsewhere", name);
}

static void memory_close(struct ds_file *file)
{
    open_count--;
    free(file->path);
    free((struct memory_file *)file);
}

static struct memory_target *target_of(const struct ds_file *file)
{
    return ((const struct memory_file *)file)->target;
}

static size_t index_of(const struct ds_file *file)
{
    return ((const struct memory_file *)file)->index;
}

static bool memory_same(const struct ds_file *a, const struct ds_file *b)
{
    return target_of(a) == target_of(b) && index_of(a) == index_of(b);
}

static int memory_read(struct ds_file *file, uint64_t offset_bytes,
                       void *buffer, size_t length_bytes, struct ds_error *err)
{
    if (!ds_range_fits(offset_bytes, length_bytes, file->size_bytes))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "memory: file: truncated");
    if (target_of(file) != NULL)
        return memory_target_read(target_of(file), offset_bytes, buffer,
                                  length_bytes);
    fuzz_file_read(&current->files[index_of(file)], offset_bytes, buffer,
                   length_bytes);
    return 0;
}

static int memory_quiet(struct ds_file *file, struct ds_error *err)
{
    (void)file;
    (void)err;
    return 0;
}

/* Blocks in which a piece lies; the rest is holes. Pieces need not be in
 * order, so the next one is looked for each time. */
static int memory_physical(struct ds_file *file, uint64_t offset_bytes,
                           uint64_t length_bytes,
                           struct ds_physical_extent *extents,
                           size_t extent_count_max, size_t *count,
                           struct ds_error *err)
{
    const struct fuzz_file *fuzz = &current->files[index_of(file)];
    uint64_t at = offset_bytes;
    uint64_t end = ds_min_u64(offset_bytes + length_bytes, fuzz->size_bytes);

    (void)err;
    if (target_of(file) != NULL)
        return memory_target_physical(target_of(file), offset_bytes,
                                      length_bytes, extents, extent_count_max,
                                      count);
    *count = 0;
    while (*count < extent_count_max && at < end) {
        uint64_t next = UINT64_MAX, next_end = 0;

        for (size_t i = 0; i < fuzz->piece_count; i++) {
            const struct fuzz_piece *piece = &fuzz->pieces[i];
            uint64_t begin = ds_align_down(piece->offset_bytes, BLOCK_BYTES);
            uint64_t piece_end;

            if (!ds_add_u64(piece->offset_bytes,
                            (uint64_t)piece->length_bytes + BLOCK_BYTES,
                            &piece_end))
                continue;
            piece_end = ds_align_down(piece_end - 1, BLOCK_BYTES);
            if (piece->length_bytes == 0 || piece_end <= at || begin >= next)
                continue;
            next = ds_max_u64(begin, at);
            next = *count == 0 ? begin : next;
            next_end = piece_end;
        }
        if (next >= end)
            break;
        extents[(*count)++] = (struct ds_physical_extent){
            .offset_bytes = next,
            .length_bytes = next_end - next,
            .physical_bytes = ((index_of(file) + 1) << 48) + next,
        };
        at = next_end;
    }
    return 0;
}

static int memory_storage_id(struct ds_file *file, struct ds_storage_id *out,
                             struct ds_error *err)
{
    (void)file;
    (void)err;
    *out = (struct ds_storage_id){ .known = true };
    return 0;
}

static int memory_domain(struct ds_file *source, const char *target_path,
                         struct ds_clone_domain *out, struct ds_error *err)
{
    bool shares = (current->flags & FUZZ_NO_CLONE) == 0;

    (void)source;
    (void)target_path;
    (void)err;
    *out = (struct ds_clone_domain){
        .range = shares,
        .file = shares,
        .known = true,
        .granularity_bytes = BLOCK_BYTES,
        .reason = shares ? DS_COPY_NONE : DS_COPY_NO_REFLINK,
    };
    return 0;
}

static int memory_name_for(const struct ds_file *source,
                           const char *target_path, char **out,
                           struct ds_error *err)
{
    (void)target_path;
    *out = strdup(source->path);
    return *out != NULL ? 0 : ds_fail_memory(err);
}

static int memory_exists(const char *path, struct ds_error *err)
{
    (void)err;
    return memory_target_find(path, true) != NULL;
}

static int memory_guard_same(const struct ds_file *const *sources,
                             size_t source_count, const char *const *paths,
                             size_t path_count, struct ds_error *err)
{
    (void)sources;
    (void)source_count;
    (void)paths;
    (void)path_count;
    (void)err;
    return 0;
}

/* -- targets ----------------------------------------------------------------*/

static int memory_create(const struct ds_create_request *request,
                         struct ds_file **out, struct ds_error *err)
{
    struct memory_target *target = memory_target_make(request->path);
    int result;

    if (target == NULL)
        return ds_fail_errno(err, EMFILE, request->path, "memory: create");
    result = open_target(target, out, err);
    if (result != 0)
        memory_target_remove(target);
    return result;
}

/* The address of a source's page, or 0 where no piece lies in it. */
static uint64_t source_address(const struct ds_file *file, uint64_t offset)
{
    struct ds_physical_extent extent;
    struct ds_error err = DS_ERROR_INIT;
    size_t count = 0;

    if (target_of(file) != NULL)
        return memory_target_address(target_of(file), offset);
    (void)memory_physical((struct ds_file *)(uintptr_t)file, offset,
                          BLOCK_BYTES, &extent, 1, &count, &err);
    return count == 0 ? 0
                      : extent.physical_bytes + offset - extent.offset_bytes;
}

/* As the kernel's FICLONERANGE has it, and the last page as it does it. */
static int run_clone(struct ds_file *source, struct memory_target *target,
                     uint64_t from, uint64_t to, uint64_t length)
{
    uint8_t page[BLOCK_BYTES];
    int result = 0;

    if (!ds_range_fits(from, length, source->size_bytes) ||
        from % BLOCK_BYTES != 0 || to % BLOCK_BYTES != 0)
        return -EINVAL;
    if (length % BLOCK_BYTES != 0 && (from + length != source->size_bytes ||
                                      to + length < target->size_bytes))
        return -EINVAL;
    for (uint64_t done = 0; done < length && result == 0; done += BLOCK_BYTES) {
        size_t part = (size_t)ds_min_u64(length - done, BLOCK_BYTES);

        memset(page, 0, sizeof(page));
        if (source->store->read(source, from + done, page, part, NULL) != 0)
            return -EIO;
        result = memory_target_share(target, to + done, page, part,
                                     source_address(source, from + done));
    }
    return result;
}

static int run_copy(const struct ds_run *run, const struct ds_op *op,
                    struct memory_target *target)
{
    struct ds_file *source = run->sources[op->source_index];
    static uint8_t buffer[65536]; /* run_lock is held */
    int result = 0;

    for (uint64_t done = 0; done < op->length_bytes && result == 0;) {
        size_t part =
            (size_t)ds_min_u64(op->length_bytes - done, sizeof(buffer));

        if (source->store->read(source, op->source_offset_bytes + done, buffer,
                                part, NULL) != 0)
            return -EIO;
        if (run->copied != NULL)
            run->copied(run->user, op, done, buffer, part);
        result = memory_target_write(target, op->target_offset_bytes + done,
                                     buffer, part);
        done += part;
    }
    return result;
}

static int run_op(const struct ds_run *run, const struct ds_op *op)
{
    struct memory_target *target = target_of(run->targets[op->target_index]);
    struct ds_file *source;

    switch (op->kind) {
    case DS_OP_CLONE:
    case DS_OP_CLONE_FILE:
        if ((current->flags & FUZZ_NO_CLONE) != 0)
            return -EOPNOTSUPP;
        source = run->sources[op->source_index];
        if (op->kind == DS_OP_CLONE)
            return run_clone(source, target, op->source_offset_bytes,
                             op->target_offset_bytes, op->length_bytes);
        return run_clone(source, target, 0, 0, source->size_bytes);
    case DS_OP_COPY:
        return run_copy(run, op, target);
    case DS_OP_WRITE:
    case DS_OP_REPEAT:
        return memory_target_write(target, op->target_offset_bytes, op->data,
                                   op->length_bytes);
    case DS_OP_ZERO:
        return memory_target_zero(target, op->target_offset_bytes,
                                  op->length_bytes);
    case DS_OP_PUNCH:
        return memory_target_punch(target, op->target_offset_bytes,
                                   op->length_bytes);
    case DS_OP_ALLOCATE:
        return memory_target_allocate(target, op->target_offset_bytes,
                                      op->length_bytes);
    case DS_OP_TRUNCATE:
        return memory_target_truncate(target, op->target_offset_bytes);
    case DS_OP_BARRIER:
    case DS_OP_DECODE: /* the executor's: it comes here as WRITE */
    case DS_OP_ENCODE:
        break;
    }
    return op->kind == DS_OP_BARRIER ? 0 : -EOPNOTSUPP;
}

/* A section in which something failed is the last. */
static int memory_run(const struct ds_run *run, struct ds_op *ops, size_t count,
                      struct ds_error *err)
{
    bool failed = false;

    (void)err;
    (void)pthread_mutex_lock(&run_lock);
    for (size_t i = 0; i < count; i++) {
        if (failed && ops[i].kind == DS_OP_BARRIER) {
            for (; i < count; i++)
                ops[i].status = -ECANCELED;
            break;
        }
        ops[i].status = run_op(run, &ops[i]);
        failed = failed || ops[i].status != 0;
    }
    (void)pthread_mutex_unlock(&run_lock);
    return 0;
}

static int memory_sync(struct ds_file *file, struct ds_error *err)
{
    (void)err;
    assert(target_of(file) != NULL);
    file->size_bytes = target_of(file)->size_bytes;
    return 0;
}

static int memory_reopen(struct ds_file *file, struct ds_file **out,
                         struct ds_error *err)
{
    return open_target(target_of(file), out, err);
}

static int memory_install(struct ds_file *file, bool replace,
                          struct ds_error *err)
{
    struct memory_target *old = memory_target_find(file->path, true);

    if (old != NULL && !replace)
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "memory: install: the name exists");
    target_of(file)->installed = true;
    return 0;
}

static void memory_discard(struct ds_file *file)
{
    memory_target_remove(target_of(file));
}

static int memory_space(const char *path, struct ds_space *out,
                        struct ds_error *err)
{
    (void)path;
    (void)err;
    out->free_bytes = MEMORY_TARGET_BYTES_MAX;
    return 0;
}

const struct ds_store_ops memory_store_ops = {
    .name = "memory",
    .open = memory_open,
    .open_reference = memory_open_reference,
    .close = memory_close,
    .same = memory_same,
    .read = memory_read,
    .quiesce = memory_quiet,
    .check_unchanged = memory_quiet,
    .physical = memory_physical,
    .storage_id = memory_storage_id,
    .domain = memory_domain,
    .name_for = memory_name_for,
    .exists = memory_exists,
    .guard_same = memory_guard_same,
    .create = memory_create,
    .run = memory_run,
    .sync = memory_sync,
    .reopen = memory_reopen,
    .install = memory_install,
    .discard = memory_discard,
    .space = memory_space,
};

/* The registry's own answer is replaced by the linker (--wrap). */
const struct ds_store_ops *__wrap_ds_registry_store(const char *path);
const struct ds_store_ops *__wrap_ds_registry_store(const char *path)
{
    (void)path;
    return &memory_store_ops;
}
