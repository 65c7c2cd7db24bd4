/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_store.h"

#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "registry.h"

/* As the kernel's; a store with larger ones has less to decide. */
#define BLOCK_BYTES 4096u

struct memory_file {
    struct ds_file file;
    size_t index;
};

static const struct fuzz_case *current;
static unsigned open_count;

void memory_store_set(const struct fuzz_case *fuzz)
{
    current = fuzz;
}

unsigned memory_store_open_count(void)
{
    return open_count;
}

static int open_index(size_t index, struct ds_file **out, struct ds_error *err)
{
    struct memory_file *file = calloc(1, sizeof(*file));

    if (file == NULL)
        return ds_fail_memory(err);
    file->file.store = &memory_store_ops;
    file->file.path = strdup(current->files[index].name);
    file->file.size_bytes = current->files[index].size_bytes;
    file->index = index;
    if (file->file.path == NULL) {
        free(file);
        return ds_fail_memory(err);
    }
    open_count++;
    *out = &file->file;
    return 0;
}

static int memory_open(const char *path, struct ds_file **out,
                       struct ds_error *err)
{
    (void)path;
    return open_index(0, out, err);
}

static int memory_open_reference(const struct ds_file *from,
                                 const char *allow_directory, const char *name,
                                 struct ds_file **out, struct ds_error *err)
{
    (void)allow_directory;
    for (size_t i = 0; i < current->file_count; i++)
        if (strcmp(current->files[i].name, name) == 0)
            return open_index(i, out, err);
    return ds_fail_at(err, from, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "memory: reference: \"%.200s\" is not there", name);
}

static void memory_close(struct ds_file *file)
{
    open_count--;
    free(file->path);
    free((struct memory_file *)file);
}

static size_t index_of(const struct ds_file *file)
{
    return ((const struct memory_file *)file)->index;
}

static bool memory_same(const struct ds_file *a, const struct ds_file *b)
{
    return index_of(a) == index_of(b);
}

static int memory_read(struct ds_file *file, uint64_t offset_bytes,
                       void *buffer, size_t length_bytes, struct ds_error *err)
{
    if (!ds_range_fits(offset_bytes, length_bytes, file->size_bytes))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "memory: file: truncated");
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
    (void)path;
    (void)err;
    return 0;
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
};

/* The registry's own answer is replaced by the linker (--wrap). */
const struct ds_store_ops *__wrap_ds_registry_store(const char *path);
const struct ds_store_ops *__wrap_ds_registry_store(const char *path)
{
    (void)path;
    return &memory_store_ops;
}
