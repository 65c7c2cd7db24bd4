/* SPDX-License-Identifier: Apache-2.0 */
#include "subfile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "arith.h"
#include "fail.h"

struct subfile {
    struct ds_file file;
    struct ds_file *outer;
    uint64_t base_bytes;
};

static struct subfile *subfile_of(struct ds_file *file)
{
    return (struct subfile *)file;
}

static int subfile_open_reference(const struct ds_file *from,
                                  const char *allow_directory, const char *name,
                                  struct ds_file **out, struct ds_error *err)
{
    (void)allow_directory;
    (void)out;
    return ds_fail_at(err, from, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "subfile: refers to the file '%.200s', which a part of "
                      "a file may not",
                      name);
}

static void subfile_close(struct ds_file *file)
{
    free(file->path);
    free(file);
}

static bool subfile_same(const struct ds_file *a, const struct ds_file *b)
{
    return a == b;
}

static int subfile_read(struct ds_file *file, uint64_t offset_bytes,
                        void *buffer, size_t length_bytes, struct ds_error *err)
{
    struct subfile *sub = subfile_of(file);

    if (!ds_range_fits(offset_bytes, length_bytes, file->size_bytes))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "subfile: truncated, have %" PRIu64
                          " bytes expect %zu at offset %" PRIu64,
                          file->size_bytes, length_bytes, offset_bytes);
    return ds_file_read(sub->outer, sub->base_bytes + offset_bytes, buffer,
                        length_bytes, err);
}

/* Cut to the part and count from its beginning. */
static void shift_extent(const struct subfile *sub,
                         struct ds_physical_extent *extent)
{
    uint64_t size = sub->file.size_bytes;

    if (extent->offset_bytes < sub->base_bytes) {
        uint64_t before = sub->base_bytes - extent->offset_bytes;

        extent->offset_bytes = sub->base_bytes;
        extent->length_bytes -= before;
        extent->physical_bytes += before;
    }
    extent->offset_bytes -= sub->base_bytes;
    extent->length_bytes =
        ds_min_u64(extent->length_bytes, size - extent->offset_bytes);
}

static int subfile_physical(struct ds_file *file, uint64_t offset_bytes,
                            uint64_t length_bytes,
                            struct ds_physical_extent *extents,
                            size_t extent_count_max, size_t *count,
                            struct ds_error *err)
{
    struct subfile *sub = subfile_of(file);
    int result;

    if (!ds_range_fits(offset_bytes, length_bytes, file->size_bytes))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "subfile: physical map of bytes that are not there");
    result = sub->outer->store->physical(
        sub->outer, sub->base_bytes + offset_bytes, length_bytes, extents,
        extent_count_max, count, err);
    for (size_t i = 0; result == 0 && i < *count; i++)
        shift_extent(sub, &extents[i]);
    return result;
}

static int subfile_exclusive(struct ds_file *file, uint64_t offset_bytes,
                             uint64_t length_bytes, uint64_t *bytes,
                             struct ds_error *err)
{
    struct subfile *sub = subfile_of(file);

    if (sub->outer->store->exclusive == NULL)
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                          "subfile: its store does not tell what is shared");
    return sub->outer->store->exclusive(
        sub->outer, sub->base_bytes + offset_bytes, length_bytes, bytes, err);
}

static int subfile_quiesce(struct ds_file *file, struct ds_error *err)
{
    struct ds_file *outer = subfile_of(file)->outer;

    return outer->store->quiesce(outer, err);
}

static int subfile_check_unchanged(struct ds_file *file, struct ds_error *err)
{
    struct ds_file *outer = subfile_of(file)->outer;

    return outer->store->check_unchanged(outer, err);
}

static int subfile_storage_id(struct ds_file *file, struct ds_storage_id *out,
                              struct ds_error *err)
{
    struct ds_file *outer = subfile_of(file)->outer;

    return outer->store->storage_id(outer, out, err);
}

static const struct ds_store_ops subfile_store_ops = {
    .name = "subfile",
    .open_reference = subfile_open_reference,
    .close = subfile_close,
    .same = subfile_same,
    .read = subfile_read,
    .quiesce = subfile_quiesce,
    .check_unchanged = subfile_check_unchanged,
    .physical = subfile_physical,
    .exclusive = subfile_exclusive,
    .storage_id = subfile_storage_id,
};

int ds_subfile_open(struct ds_file *outer, const char *name,
                    uint64_t base_bytes, uint64_t size_bytes,
                    struct ds_file **out, struct ds_error *err)
{
    struct subfile *sub;

    if (!ds_range_fits(base_bytes, size_bytes, outer->size_bytes))
        return ds_fail_at(err, outer, base_bytes, DS_ERR_CORRUPT,
                          "subfile: %.100s: truncated file, have %" PRIu64
                          " bytes expect %" PRIu64 " at offset %" PRIu64,
                          name, outer->size_bytes, size_bytes, base_bytes);
    sub = calloc(1, sizeof(*sub));
    if (sub == NULL ||
        asprintf(&sub->file.path, "%s/%s", outer->path, name) < 0) {
        free(sub);
        return ds_fail_memory(err);
    }
    sub->file.store = &subfile_store_ops;
    sub->file.size_bytes = size_bytes;
    sub->outer = outer;
    sub->base_bytes = base_bytes;
    *out = &sub->file;
    return 0;
}
