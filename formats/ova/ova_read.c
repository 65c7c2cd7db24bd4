/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a package: index, descriptor, manifest, and the disk that was asked
 * for, which its own format then opens in place.
 *
 *   x.ova  | x.ovf | x.mf | disk1.vmdk         | disk2.vmdk | end |
 *                         | part: a sub-file   |
 *                           inner: the vmdk format's image of it
 *
 * or, beside each other, files of the image in this order:
 *
 *   x.ovf   x.mf, if it is there   disk1.vmdk: the part itself
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "budget.h"
#include "cleanup.h"
#include "fail.h"
#include "ova.h"
#include "subfile.h"

extern const struct ds_format_ops vmdk_format_ops;
extern const struct ds_format_ops vhd_format_ops;
extern const struct ds_format_ops vhdx_format_ops;
extern const struct ds_format_ops qcow2_format_ops;
extern const struct ds_format_ops vdi_format_ops;

/* Not raw, which everything would fit, and not ova. */
static const struct ds_format_ops *const inner_formats[] = {
    &vmdk_format_ops,  &vhd_format_ops, &vhdx_format_ops,
    &qcow2_format_ops, &vdi_format_ops, NULL,
};

/* -- the package ----------------------------------------------------------- */

struct ds_digest_part ova_member_part(const struct ova_image *image,
                                      const struct ova_member *member)
{
    return (struct ds_digest_part){
        .file = image->base.files[member->file_index],
        .offset_bytes = member->offset_bytes,
        .length_bytes = member->size_bytes,
    };
}

static int index_archive(struct ova_image *image,
                         const struct ova_member **manifest,
                         struct ds_error *err)
{
    struct ds_file *file = image->base.files[0];
    size_t count;
    int result = ova_index_read(file, &image->index, err);

    if (result != 0)
        return result;
    image->descriptor = ova_index_find_ending(&image->index, ".ovf", &count);
    if (image->descriptor == NULL)
        return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                          "ova: archive: have %zu members *.ovf expect one",
                          count);
    *manifest = ova_index_find_ending(&image->index, ".mf", &count);
    if (count > 1)
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_CORRUPT,
                          "ova: manifest: have %zu members *.mf expect one",
                          count);
    return 0;
}

/* The descriptor is small: its digest is looked at before it is believed.
 * Those of the disks are for verify_source() and check(), which read them
 * whole. */
static int verify_descriptor(struct ova_image *image,
                             const struct ova_member *manifest,
                             struct ds_error *err)
{
    struct ds_digest_part part = ova_member_part(image, image->descriptor);
    size_t listed = 0;
    int result;

    if (manifest == NULL)
        return 0;
    result = ova_manifest_read(
        image->base.files[manifest->file_index], manifest,
        image->is_archive ? &image->index : NULL, &image->manifest, err);
    if (result == 0)
        result = ova_manifest_verify(&image->manifest, image->descriptor->name,
                                     &part, &listed, err);
    image->descriptor_verified = listed > 0;
    return result;
}

static int read_descriptor(struct ova_image *image, struct ds_error *err)
{
    struct ds_file *file = image->base.files[0];
    const struct ova_member *member = image->descriptor;
    ds_autofree char *text = malloc((size_t)member->size_bytes + 1);
    int result;

    if (text == NULL)
        return ds_fail_memory(err);
    result = ds_file_read(file, member->offset_bytes, text,
                          (size_t)member->size_bytes, err);
    if (result != 0)
        return result;
    return ova_envelope_parse(text, (size_t)member->size_bytes, file,
                              member->offset_bytes, &image->envelope, err);
}

static int read_package(struct ova_image *image,
                        const struct ds_open_context *context,
                        struct ds_error *err)
{
    const struct ova_member *manifest = NULL;
    int result = image->is_archive
                     ? index_archive(image, &manifest, err)
                     : ova_beside_index(image, context, &manifest, err);

    if (result != 0)
        return result;
    if (image->descriptor->size_bytes > OVA_ENVELOPE_BYTES_MAX)
        return ds_fail_at(
            err, image->base.files[0], image->descriptor->offset_bytes,
            DS_ERR_LIMIT,
            "ova: ovf: size, have %" PRIu64 " bytes expect at most %" PRIu64,
            image->descriptor->size_bytes, OVA_ENVELOPE_BYTES_MAX);
    result = ds_budget_memory(context->budget, image->base.files[0],
                              "ova: package: bytes of texts",
                              image->descriptor->size_bytes +
                                  (manifest != NULL ? manifest->size_bytes : 0),
                              err);
    if (result == 0)
        result = verify_descriptor(image, manifest, err);
    if (result == 0)
        result = read_descriptor(image, err);
    return result != 0
               ? result
               : ds_budget_memory(context->budget, image->base.files[0],
                                  "ova: package: bytes of tables",
                                  image->index.member_count *
                                          sizeof(*image->index.members) +
                                      image->envelope.file_count *
                                          sizeof(*image->envelope.files) +
                                      image->envelope.disk_count *
                                          sizeof(*image->envelope.disks),
                                  err);
}

/* -- the disk in it -------------------------------------------------------- */

static int probe_inner(struct ds_file *part, const struct ds_format_ops **out,
                       struct ds_error *err)
{
    ds_autofree struct ds_probe *probe = calloc(1, sizeof(*probe));
    uint64_t size = part->size_bytes;
    int result;

    if (probe == NULL)
        return ds_fail_memory(err);
    probe->file = part;
    probe->head_bytes = (size_t)ds_min_u64(size, sizeof(probe->head));
    probe->tail_bytes = (size_t)ds_min_u64(size, sizeof(probe->tail));
    result = ds_file_read(part, 0, probe->head, probe->head_bytes, err);
    if (result == 0)
        result = ds_file_read(part, size - probe->tail_bytes, probe->tail,
                              probe->tail_bytes, err);
    if (result != 0)
        return result;
    *out = NULL;
    for (size_t i = 0; inner_formats[i] != NULL; i++) {
        if (!inner_formats[i]->probe(probe))
            continue;
        if (*out != NULL)
            return ds_fail_at(err, part, DS_OFFSET_NONE, DS_ERR_REFUSED,
                              "ova: disk: fits both %s and %s", (*out)->name,
                              inner_formats[i]->name);
        *out = inner_formats[i];
    }
    if (*out == NULL)
        return ds_fail_at(err, part, 0, DS_ERR_UNSUPPORTED,
                          "ova: disk: its content is of no known format");
    return 0;
}

static int open_inner(struct ova_image *image,
                      const struct ds_open_context *context,
                      struct ds_error *err)
{
    const struct ds_format_ops *format = NULL;
    struct ds_open_context inner = { .budget = context->budget,
                                     .no_refs = true,
                                     .snapshot = context->snapshot,
                                     .key_file = context->key_file };
    struct ds_parent parent = { .format = NULL };
    int result = probe_inner(image->part, &format, err);

    if (result == 0)
        result = format->open(image->part, &inner, &image->inner, err);
    if (result != 0)
        return result;
    if (image->inner->file_count != 1)
        return ds_fail_at(err, image->part, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                          "ova: disk: lies in %u files, expect one",
                          image->inner->file_count);
    if (format->parent != NULL && format->parent(image->inner, &parent))
        return ds_fail_at(err, image->part, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                          "ova: disk: has a parent, which is not supported");
    image->base.size_bytes = image->inner->size_bytes;
    return 0;
}

static int find_part(struct ova_image *image,
                     const struct ds_open_context *context,
                     struct ds_error *err)
{
    int result;

    if (!image->is_archive)
        return ova_beside_disk(image, context, err);
    result = ova_choose_member(image, err);
    if (result != 0)
        return result;
    return ds_subfile_open(image->base.files[0], image->member->name,
                           image->member->offset_bytes,
                           image->member->size_bytes, &image->part, err);
}

int ova_open(struct ds_file *file, const struct ds_open_context *context,
             struct ds_image **out, struct ds_error *err)
{
    struct ova_image *image = calloc(1, sizeof(*image));
    int result;

    if (image == NULL)
        return ds_fail_memory(err);
    image->base.format = &ova_format_ops;
    image->base.file_count = 1;
    image->base.files[0] = file;
    image->is_archive = !ova_is_bare(file);
    result = read_package(image, context, err);
    if (result == 0)
        result = ova_choose(image, context->member, err);
    if (result == 0)
        result = find_part(image, context, err);
    if (result == 0)
        result = open_inner(image, context, err);
    if (result != 0) {
        for (uint32_t i = 1; i < image->base.file_count; i++)
            ds_file_close(image->base.files[i]);
        ova_close(&image->base);
        return result;
    }
    *out = &image->base;
    return 0;
}

void ova_close(struct ds_image *base)
{
    struct ova_image *image = (struct ova_image *)base;

    if (image->inner != NULL) {
        for (uint32_t i = 1; i < image->inner->file_count; i++)
            ds_file_close(image->inner->files[i]);
        image->inner->format->close(image->inner);
    }
    if (image->is_archive)
        ds_file_close(image->part);
    ova_manifest_free(&image->manifest);
    ova_envelope_free(&image->envelope);
    ova_index_free(&image->index);
    free(image);
}
