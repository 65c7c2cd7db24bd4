/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A package that is no archive: the descriptor is the file that was named,
 * manifest and disk lie beside it. Files are opened as the store admits
 * references, and only the disk that was asked for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "ova.h"

/* The descriptor, the manifest, the disk. */
#define BESIDE_COUNT_MAX 3u

#define TAR_MAGIC_OFFSET 257u

/* What an archive's first member is called may begin with anything. */
bool ova_is_bare(struct ds_file *file)
{
    char head[TAR_BLOCK_BYTES];
    size_t length = (size_t)ds_min_u64(file->size_bytes, sizeof(head));
    size_t at = 0;

    if (ds_file_read(file, 0, head, length, NULL) != 0)
        return false;
    if (length == sizeof(head) &&
        memcmp(head + TAR_MAGIC_OFFSET, "ustar", 5) == 0)
        return false;
    if (length >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0)
        at = 3;
    while (at < length && (head[at] == ' ' || head[at] == '\t' ||
                           head[at] == '\r' || head[at] == '\n'))
        at++;
    return at < length && head[at] == '<';
}

static int fail_name(const struct ova_image *image, const char *name,
                     struct ds_error *err)
{
    return ds_fail_at(err, image->base.files[0], 0, DS_ERR_LIMIT,
                      "ova: ovf: file name '%.100s...', have %zu bytes expect "
                      "less than %u",
                      name, strlen(name), OVA_NAME_BYTES);
}

/* `name` fits. */
static const struct ova_member *
add_member(struct ova_image *image, const char *name, uint32_t file_index)
{
    struct ova_member *member =
        &image->index.members[image->index.member_count++];

    strcpy(member->name, name);
    member->file_index = file_index;
    member->size_bytes = image->base.files[file_index]->size_bytes;
    return member;
}

/* NAME.ovf has NAME.mf, beside it and nowhere else. */
static int add_manifest(struct ova_image *image,
                        const struct ds_open_context *context,
                        const struct ova_member **out, struct ds_error *err)
{
    struct ds_open_context beside = { .no_refs = context->no_refs };
    struct ds_error fault = DS_ERROR_INIT;
    char name[OVA_NAME_BYTES + 4];
    char *dot;
    uint32_t index;
    int result;

    strcpy(name, image->descriptor->name);
    dot = strrchr(name, '.');
    strcpy(dot != NULL && dot != name ? dot : name + strlen(name), ".mf");
    if (strlen(name) >= OVA_NAME_BYTES)
        return fail_name(image, name, err);
    if (strcmp(name, image->descriptor->name) == 0)
        return 0;
    result = ds_image_add_file(&image->base, &beside, name, &index, &fault);
    if (result == -DS_ERR_SYSTEM && fault.system_errno == ENOENT)
        return 0;
    if (result != 0) {
        if (err != NULL)
            *err = fault;
        return result;
    }
    *out = add_member(image, name, index);
    return 0;
}

int ova_beside_index(struct ova_image *image,
                     const struct ds_open_context *context,
                     const struct ova_member **manifest, struct ds_error *err)
{
    const char *path = image->base.files[0]->path;
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;

    if (strlen(name) >= OVA_NAME_BYTES)
        return fail_name(image, name, err);
    image->index.members =
        calloc(BESIDE_COUNT_MAX, sizeof(*image->index.members));
    if (image->index.members == NULL)
        return ds_fail_memory(err);
    image->descriptor = add_member(image, name, 0);
    return add_manifest(image, context, manifest, err);
}

/* As it stands, then with "%xx" decoded. */
int ova_beside_disk(struct ova_image *image,
                    const struct ds_open_context *context, struct ds_error *err)
{
    const char *href =
        ova_envelope_file(&image->envelope, image->disk->file_reference)->href;
    struct ds_error fault = DS_ERROR_INIT;
    char name[OVA_NAME_BYTES];
    uint32_t index;
    int result;

    strcpy(name, href);
    result = ds_image_add_file(&image->base, context, name, &index, &fault);
    if (result != 0 && strchr(href, '%') != NULL) {
        ova_href_decode(href, name);
        result = ds_image_add_file(&image->base, context, name, &index, &fault);
    }
    if (result != 0) {
        if (err != NULL)
            *err = fault;
        return result;
    }
    image->member = add_member(image, name, index);
    image->part = image->base.files[index];
    return 0;
}
