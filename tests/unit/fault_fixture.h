/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local store and the allocator, of which the Nth call fails. The linker
 * puts them in place of the real ones (--wrap), so everything above is as it
 * is shipped.
 */
#ifndef DS_TESTS_FAULT_FIXTURE_H
#define DS_TESTS_FAULT_FIXTURE_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "store.h"

extern const struct ds_store_ops local_store_ops;

enum fault_kind {
    FAULT_NONE,
    FAULT_CALL,      /* the store's call returns an error */
    FAULT_OPERATION, /* run: one operation of the batch has a bad status */
    FAULT_MEMORY
};

static struct {
    enum fault_kind kind;
    atomic_uint left; /* calls until the one that fails, 1: the next */
    atomic_bool hit;
    int errnum;
    const char *call; /* the one that failed */
} fault;

static inline void fault_arm(enum fault_kind kind, unsigned nth, int errnum)
{
    fault.errnum = errnum;
    fault.call = "none";
    atomic_store(&fault.hit, false);
    atomic_store(&fault.left, nth);
    fault.kind = kind;
}

static inline void fault_disarm(void)
{
    fault.kind = FAULT_NONE;
}

static inline bool fault_is_due(enum fault_kind kind, const char *call)
{
    if (fault.kind != kind || atomic_load(&fault.hit) ||
        atomic_fetch_sub(&fault.left, 1) != 1)
        return false;
    fault.call = call;
    atomic_store(&fault.hit, true);
    return true;
}

/* -- the store --------------------------------------------------------------*/

static struct ds_store_ops fault_store;

static inline int fault_fail(const char *path, struct ds_error *err)
{
    return ds_fail_errno(err, fault.errnum, path, "fault: %s", fault.call);
}

/* A file that came out of the local store goes on through this one. */
static inline int fault_adopt(int result, struct ds_file **file)
{
    if (result == 0)
        (*file)->store = &fault_store;
    return result;
}

#define FAULT_HERE(name, path)                                                 \
    do {                                                                       \
        if (fault_is_due(FAULT_CALL, name))                                    \
            return fault_fail(path, err);                                      \
    } while (0)

static int fault_open(const char *path, struct ds_file **out,
                      struct ds_error *err)
{
    FAULT_HERE("open", path);
    return fault_adopt(local_store_ops.open(path, out, err), out);
}

static int fault_open_reference(const struct ds_file *from,
                                const char *allow_directory, const char *name,
                                struct ds_file **out, struct ds_error *err)
{
    FAULT_HERE("open_reference", from->path);
    return fault_adopt(
        local_store_ops.open_reference(from, allow_directory, name, out, err),
        out);
}

static int fault_read(struct ds_file *file, uint64_t offset_bytes, void *buffer,
                      size_t length_bytes, struct ds_error *err)
{
    FAULT_HERE("read", file->path);
    return local_store_ops.read(file, offset_bytes, buffer, length_bytes, err);
}

#define FAULT_FILE_CALL(name)                                                  \
    static int fault_##name(struct ds_file *file, struct ds_error *err)        \
    {                                                                          \
        FAULT_HERE(#name, file->path);                                         \
        return local_store_ops.name(file, err);                                \
    }

FAULT_FILE_CALL(quiesce)
FAULT_FILE_CALL(check_unchanged)
FAULT_FILE_CALL(sync)

static int fault_physical(struct ds_file *file, uint64_t offset_bytes,
                          uint64_t length_bytes,
                          struct ds_physical_extent *extents,
                          size_t extent_count_max, size_t *count,
                          struct ds_error *err)
{
    FAULT_HERE("physical", file->path);
    return local_store_ops.physical(file, offset_bytes, length_bytes, extents,
                                    extent_count_max, count, err);
}

static int fault_storage_id(struct ds_file *file, struct ds_storage_id *out,
                            struct ds_error *err)
{
    FAULT_HERE("storage_id", file->path);
    return local_store_ops.storage_id(file, out, err);
}

static int fault_domain(struct ds_file *source, const char *target_path,
                        struct ds_clone_domain *out, struct ds_error *err)
{
    FAULT_HERE("domain", target_path);
    return local_store_ops.domain(source, target_path, out, err);
}

static int fault_exists(const char *path, struct ds_error *err)
{
    FAULT_HERE("exists", path);
    return local_store_ops.exists(path, err);
}

static int fault_guard_same(const struct ds_file *const *of_source,
                            size_t source_count, const char *const *paths,
                            size_t path_count, struct ds_error *err)
{
    FAULT_HERE("guard_same", paths[0]);
    return local_store_ops.guard_same(of_source, source_count, paths,
                                      path_count, err);
}

static int fault_create(const struct ds_create_request *request,
                        struct ds_file **out, struct ds_error *err)
{
    FAULT_HERE("create", request->path);
    return fault_adopt(local_store_ops.create(request, out, err), out);
}

static int fault_run(const struct ds_run *run, struct ds_op *ops, size_t count,
                     struct ds_error *err)
{
    size_t first = 0;

    FAULT_HERE("run", run->targets[ops[0].target_index]->path);
    while (first < count && ops[first].kind == DS_OP_DECODE)
        first++; /* not the store's */
    if (first == count || !fault_is_due(FAULT_OPERATION, "operation"))
        return local_store_ops.run(run, ops, count, err);
    for (size_t i = 0; i < count; i++)
        ops[i].status = i == first ? -fault.errnum : -ECANCELED;
    return 0;
}

static int fault_reopen(struct ds_file *target, struct ds_file **out,
                        struct ds_error *err)
{
    FAULT_HERE("reopen", target->path);
    return fault_adopt(local_store_ops.reopen(target, out, err), out);
}

static int fault_install_part(struct ds_file *target, struct ds_error *err)
{
    FAULT_HERE("install_part", target->path);
    return local_store_ops.install_part(target, err);
}

static int fault_install(struct ds_file *target, bool replace,
                         struct ds_error *err)
{
    FAULT_HERE("install", target->path);
    return local_store_ops.install(target, replace, err);
}

static int fault_space(const char *target_path, struct ds_space *out,
                       struct ds_error *err)
{
    FAULT_HERE("space", target_path);
    return local_store_ops.space(target_path, out, err);
}

static inline void fault_store_init(void)
{
    fault_store = local_store_ops; /* close, same, discard, forget ... */
    fault_store.open = fault_open;
    fault_store.open_reference = fault_open_reference;
    fault_store.read = fault_read;
    fault_store.quiesce = fault_quiesce;
    fault_store.check_unchanged = fault_check_unchanged;
    fault_store.sync = fault_sync;
    fault_store.physical = fault_physical;
    fault_store.storage_id = fault_storage_id;
    fault_store.domain = fault_domain;
    fault_store.exists = fault_exists;
    fault_store.guard_same = fault_guard_same;
    fault_store.create = fault_create;
    fault_store.run = fault_run;
    fault_store.reopen = fault_reopen;
    fault_store.install = fault_install;
    fault_store.install_part = fault_install_part;
    fault_store.space = fault_space;
}

const struct ds_store_ops *__wrap_ds_registry_store(const char *path);
const struct ds_store_ops *__wrap_ds_registry_store(const char *path)
{
    (void)path;
    return &fault_store;
}

/* -- the allocator ----------------------------------------------------------*/

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);
int __wrap_asprintf(char **out, const char *format, ...);

void *__wrap_malloc(size_t bytes)
{
    return fault_is_due(FAULT_MEMORY, "malloc") ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fault_is_due(FAULT_MEMORY, "calloc") ? NULL
                                                : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return fault_is_due(FAULT_MEMORY, "realloc") ? NULL
                                                 : __real_realloc(old, bytes);
}

char *__wrap_strdup(const char *text)
{
    return fault_is_due(FAULT_MEMORY, "strdup") ? NULL : __real_strdup(text);
}

__attribute__((format(printf, 2, 3))) int
__wrap_asprintf(char **out, const char *format, ...)
{
    va_list args;
    int result;

    if (fault_is_due(FAULT_MEMORY, "asprintf"))
        return -1;
    va_start(args, format);
    result = vasprintf(out, format, args);
    va_end(args);
    return result;
}

/* What it is called where _FORTIFY_SOURCE is set. */
int __wrap___asprintf_chk(char **out, int flag, const char *format, ...);

__attribute__((format(printf, 3, 4))) int
__wrap___asprintf_chk(char **out, int flag, const char *format, ...)
{
    va_list args;
    int result;

    (void)flag;
    if (fault_is_due(FAULT_MEMORY, "asprintf"))
        return -1;
    va_start(args, format);
    result = vasprintf(out, format, args);
    va_end(args);
    return result;
}

#endif
