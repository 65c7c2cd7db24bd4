/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a disk: the named file is a descriptor, or a sparse extent with the
 * descriptor in it; either way the result is an array of extents.
 *
 *   disk.vmdk (text) --names--> disk-s001.vmdk, disk-flat.vmdk ...
 *   disk.vmdk (KDMV) --holds--> descriptor, whose one extent is the file
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "vmdk.h"

#include "budget.h"

#include "vmdk_esx_disk.h"
#include <assert.h>

bool vmdk_probe(const struct ds_probe *probe)
{
    /* An extent that open() refuses is of this format all the same: taken for
     * a raw disk it would be misread. */
    return vmdk_sparse_kind(probe->head, probe->head_bytes) !=
               VMDK_SPARSE_NONE ||
           vmdk_descriptor_probe(probe->head, probe->head_bytes);
}

/* In hosted and COWD headers alike; seSparse's is four bytes further on. */
#define CAPACITY_OFFSET offsetof(struct vmdk_header_disk, capacity)

/* The capacity is the extent's size, or that rounded up to a grain, as the
 * spec would have it. */
static int check_capacity(const struct ds_file *file,
                          const struct vmdk_extent_line *line,
                          uint64_t capacity_bytes, uint64_t grain_bytes,
                          struct ds_error *err)
{
    if (capacity_bytes != line->length_bytes &&
        capacity_bytes != ds_align_up(line->length_bytes, grain_bytes))
        return ds_fail_at(err, file, CAPACITY_OFFSET, DS_ERR_CORRUPT,
                          "vmdk: header: capacity, have %" PRIu64
                          " bytes expect the extent's %" PRIu64
                          " or that in whole grains of %" PRIu64,
                          capacity_bytes, line->length_bytes, grain_bytes);
    return 0;
}

/* -- extents --------------------------------------------------------------- */

/* The name as it stands; if no file is there, as windows-1252 spells it. */
static int add_file(struct vmdk_image *image,
                    const struct ds_open_context *context, const char *name,
                    uint32_t *file_index, struct ds_error *err)
{
    char utf8[1024];
    int result =
        ds_image_add_file(&image->image, context, name, file_index, err);

    if (result == 0 ||
        !vmdk_name_to_utf8(&image->descriptor, name, utf8, sizeof(utf8)))
        return result;
    return ds_image_add_file(&image->image, context, utf8, file_index, err);
}

static bool is_own_name(const struct ds_image *image, const char *name)
{
    const char *path = image->files[0]->path;
    const char *slash = strrchr(path, '/');

    return strcmp(slash != NULL ? slash + 1 : path, name) == 0;
}

/* Flat lines that name one file share it, so that the engine sees where they
 * overlap. A sparse file twice is the same data twice. `names` are those of
 * image->files, by index. */
static int find_file(struct vmdk_image *image,
                     const struct ds_open_context *context,
                     const struct vmdk_extent_line *line, const char **names,
                     uint32_t *file_index, struct ds_error *err)
{
    struct ds_file *descriptor = image->image.files[0];
    int result;

    for (uint32_t i = 1; i < image->image.file_count; i++) {
        assert(names[i] != NULL);
        if (strcmp(names[i], line->name) != 0)
            continue;
        *file_index = i;
        if (line->kind == VMDK_EXTENT_FLAT)
            return 0;
        return ds_fail_at(err, descriptor, line->position_bytes, DS_ERR_CORRUPT,
                          "vmdk: descriptor: sparse extent, have '%.64s' a "
                          "second time expect another file",
                          line->name);
    }
    if (is_own_name(&image->image, line->name))
        return ds_fail_at(err, descriptor, line->position_bytes, DS_ERR_CORRUPT,
                          "vmdk: descriptor: extent name, have the "
                          "descriptor's own '%.64s' expect another file",
                          line->name);
    result = add_file(image, context, line->name, file_index, err);
    if (result == 0)
        names[*file_index] = line->name;
    return result;
}

static int check_flat(const struct ds_image *image,
                      const struct vmdk_extent *extent, struct ds_error *err)
{
    const struct ds_file *file = image->files[extent->file_index];

    if (!ds_range_fits(extent->file_begin_bytes, extent->length_bytes,
                       file->size_bytes))
        return ds_fail_at(err, file, file->size_bytes, DS_ERR_CORRUPT,
                          "vmdk: flat extent: file truncated, have %" PRIu64
                          " bytes expect %" PRIu64 " from offset %" PRIu64,
                          file->size_bytes, extent->length_bytes,
                          extent->file_begin_bytes);
    return 0;
}

static int open_sparse(struct ds_file *file,
                       const struct vmdk_extent_line *line,
                       struct vmdk_sparse *sparse, struct ds_error *err)
{
    int result = vmdk_sparse_open(file, sparse, err);

    if (result == 0 && line->length_bytes > 0)
        result = check_capacity(file, line, sparse->header.capacity_bytes,
                                sparse->header.grain_bytes, err);
    return result;
}

static int open_sesparse(struct ds_file *file,
                         const struct vmdk_extent_line *line,
                         struct vmdk_sesparse *sesparse, struct ds_error *err)
{
    int result = vmdk_sesparse_open(file, sesparse, err);

    if (result == 0 && line->length_bytes > 0)
        result = check_capacity(file, line, sesparse->capacity_bytes,
                                VMDK_SESPARSE_GRAIN_BYTES, err);
    return result;
}

/* Put the next extent at the end of the disk. */
static int append_extent(struct vmdk_image *image,
                         const struct vmdk_extent_line *line,
                         uint32_t file_index, struct ds_error *err)
{
    struct vmdk_extent *extent = &image->extents[image->extent_count];
    struct ds_file *file = image->image.files[file_index];
    int result = 0;

    *extent = (struct vmdk_extent){
        .kind = line->kind,
        .file_index = file_index,
        .guest_begin_bytes = image->image.size_bytes,
        .length_bytes = line->length_bytes,
        .file_begin_bytes = line->file_begin_bytes,
    };
    if (!ds_add_u64(image->image.size_bytes, line->length_bytes,
                    &image->image.size_bytes) ||
        image->image.size_bytes > INT64_MAX)
        return ds_fail_at(err, image->image.files[0], line->position_bytes,
                          DS_ERR_CORRUPT,
                          "vmdk: descriptor: sum of extent sizes, have more "
                          "than expect at most %" PRIi64 " bytes",
                          INT64_MAX);
    if (line->kind == VMDK_EXTENT_FLAT)
        result = check_flat(&image->image, extent, err);
    if (line->kind == VMDK_EXTENT_SPARSE && !image->embedded)
        result = open_sparse(file, line, &extent->sparse, err);
    if (line->kind == VMDK_EXTENT_SESPARSE)
        result = open_sesparse(file, line, &extent->sesparse, err);
    /* An extent of no length takes no place in the search. */
    if (result == 0 && line->length_bytes > 0)
        image->extent_count++;
    return result;
}

static int allocate_extents(struct vmdk_image *image, struct ds_budget *budget,
                            struct ds_error *err)
{
    const struct vmdk_descriptor *descriptor = &image->descriptor;
    int result;

    if (descriptor->line_count == 0)
        return ds_fail_at(err, image->image.files[0], DS_OFFSET_NONE,
                          DS_ERR_CORRUPT,
                          "vmdk: descriptor: extents, have none expect at "
                          "least one");
    result = ds_budget_memory(
        budget, image->image.files[0], "vmdk: descriptor: bytes of extents",
        descriptor->line_count * sizeof(*image->extents), err);
    if (result != 0)
        return result;
    image->extents = calloc(descriptor->line_count, sizeof(*image->extents));
    return image->extents != NULL ? 0 : ds_fail_memory(err);
}

static int open_text(struct vmdk_image *image,
                     const struct ds_open_context *context,
                     struct ds_error *err)
{
    const char *names[DS_IMAGE_FILE_COUNT_MAX] = { NULL };
    struct ds_file *file = image->image.files[0];
    int result = vmdk_descriptor_read(file, 0, file->size_bytes,
                                      context->budget, &image->descriptor, err);

    if (result == 0)
        result = allocate_extents(image, context->budget, err);
    for (size_t i = 0; result == 0 && i < image->descriptor.line_count; i++) {
        const struct vmdk_extent_line *line = &image->descriptor.lines[i];
        uint32_t index = 0;

        if (line->name != NULL)
            result = find_file(image, context, line, names, &index, err);
        if (result == 0)
            result = append_extent(image, line, index, err);
    }
    return result;
}

static int fail_lone_extent(const struct ds_file *file, struct ds_error *err)
{
    return ds_fail_at(err, file, 0, DS_ERR_UNSUPPORTED,
                      "vmdk: header: no descriptor within; this is one "
                      "extent of a disk, name the disk's descriptor file");
}

/* An extent of a split disk holds no descriptor, or an empty place for one. */
static int check_embedded(struct ds_file *file,
                          const struct vmdk_header *header,
                          struct ds_error *err)
{
    char first = '\0';
    int result = 0;

    if (header->descriptor_offset_bytes != 0 && header->descriptor_bytes > 0)
        result =
            ds_file_read(file, header->descriptor_offset_bytes, &first, 1, err);
    if (result == 0 && first == '\0')
        return fail_lone_extent(file, err);
    return result;
}

/* The name inside may be another: the file was renamed. It is not looked at. */
static int open_monolithic(struct vmdk_image *image, struct ds_budget *budget,
                           struct ds_error *err)
{
    struct ds_file *file = image->image.files[0];
    const struct vmdk_extent_line *line;
    struct vmdk_sparse sparse = { 0 };
    int result = vmdk_sparse_open(file, &sparse, err);

    image->embedded = true;
    if (result == 0)
        result = check_embedded(file, &sparse.header, err);
    if (result == 0)
        result = vmdk_descriptor_read(
            file, sparse.header.descriptor_offset_bytes,
            sparse.header.descriptor_bytes, budget, &image->descriptor, err);
    if (result == 0)
        result = allocate_extents(image, budget, err);
    if (result != 0)
        return result;
    line = &image->descriptor.lines[0];
    if (image->descriptor.line_count != 1 || line->kind != VMDK_EXTENT_SPARSE)
        return ds_fail_at(err, file, line->position_bytes, DS_ERR_CORRUPT,
                          "vmdk: descriptor: extents of an embedded "
                          "descriptor, have %zu expect one of type SPARSE",
                          image->descriptor.line_count);
    result = check_capacity(file, line, sparse.header.capacity_bytes,
                            sparse.header.grain_bytes, err);
    if (result == 0)
        result = append_extent(image, line, 0, err);
    image->extents[0].sparse = sparse;
    return result;
}

static int open_kind(struct vmdk_image *image,
                     const struct ds_open_context *context,
                     struct ds_error *err)
{
    struct ds_file *file = image->image.files[0];
    uint8_t head[512] = { 0 };
    size_t head_bytes = (size_t)ds_min_u64(sizeof(head), file->size_bytes);
    int result = ds_file_read(file, 0, head, head_bytes, err);

    if (result != 0)
        return result;
    switch (vmdk_sparse_kind(head, head_bytes)) {
    case VMDK_SPARSE_HOSTED:
        return open_monolithic(image, context->budget, err);
    case VMDK_SPARSE_COWD:
    case VMDK_SPARSE_SESPARSE:
        return fail_lone_extent(file, err);
    case VMDK_SPARSE_NONE:
        break;
    }
    if (vmdk_descriptor_probe(head, head_bytes))
        return open_text(image, context, err);
    return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                      "vmdk: file: have neither a sparse header nor a "
                      "descriptor at its start expect one of them");
}

/* The parent's hint as windows-1252 would spell it, for when nothing lies
 * under the name as it stands. */
static int convert_hint(struct vmdk_image *image, struct ds_error *err)
{
    const char *hint = image->descriptor.parent_hint;
    char utf8[1024];

    if (hint == NULL ||
        !vmdk_name_to_utf8(&image->descriptor, hint, utf8, sizeof(utf8)))
        return 0;
    image->parent_name = strdup(utf8);
    return image->parent_name != NULL ? 0 : ds_fail_memory(err);
}

int vmdk_open(struct ds_file *file, const struct ds_open_context *context,
              struct ds_image **out, struct ds_error *err)
{
    struct vmdk_image *image = calloc(1, sizeof(*image));
    int result;

    if (image == NULL)
        return ds_fail_memory(err);
    image->image.format = &vmdk_format_ops;
    image->image.files[0] = file;
    image->image.file_count = 1;
    *out = &image->image; /* from here the disk closes the files */
    result = open_kind(image, context, err);
    return result == 0 ? convert_hint(image, err) : result;
}

void vmdk_close(struct ds_image *base)
{
    struct vmdk_image *image = (struct vmdk_image *)base;

    vmdk_descriptor_free(&image->descriptor);
    free(image->extents);
    free(image->parent_name);
    free(image);
}
