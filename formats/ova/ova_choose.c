/* SPDX-License-Identifier: Apache-2.0 */
/* Which disk of the package is meant. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "ova.h"

void ova_href_decode(const char *href, char out[OVA_NAME_BYTES])
{
    size_t used = 0;

    for (size_t at = 0; href[at] != '\0'; used++) {
        char hex[3] = { 0 };
        char *end = hex;
        unsigned long value = 0;

        if (href[at] == '%' && href[at + 1] != '\0') {
            memcpy(hex, href + at + 1, 2);
            value = strtoul(hex, &end, 16);
        }
        if (end == hex + 2 && value != 0) {
            out[used] = (char)value;
            at += 3;
        } else {
            out[used] = href[at++];
        }
    }
    out[used] = '\0';
}

/* A disk is known by its id, by its file, and by its number among those that
 * have a file. */
static bool is_called(const struct ova_image *image,
                      const struct ova_disk *disk, size_t number,
                      const char *name)
{
    const struct ova_file_reference *file =
        ova_envelope_file(&image->envelope, disk->file_reference);
    char digits[24];

    (void)snprintf(digits, sizeof(digits), "%zu", number);
    return strcmp(disk->id, name) == 0 || strcmp(digits, name) == 0 ||
           (file != NULL && strcmp(file->href, name) == 0);
}

static void list_disks(const struct ova_image *image, char *list,
                       size_t list_bytes)
{
    size_t used = 0;

    list[0] = '\0';
    for (size_t i = 0; i < image->envelope.disk_count; i++) {
        const struct ova_disk *disk = &image->envelope.disks[i];
        int step;

        if (disk->file_reference[0] == '\0' || used >= list_bytes)
            continue;
        step = snprintf(list + used, list_bytes - used, "%s%.60s",
                        used == 0 ? "" : ", ", disk->id);
        used += step > 0 ? (size_t)step : 0;
    }
}

static int find_disk(struct ova_image *image, const char *name,
                     struct ds_error *err)
{
    size_t number = 0, found = 0;
    char list[256];

    for (size_t i = 0; i < image->envelope.disk_count; i++) {
        const struct ova_disk *disk = &image->envelope.disks[i];

        if (disk->file_reference[0] == '\0')
            continue;
        number++;
        if (name != NULL && !is_called(image, disk, number, name))
            continue;
        if (found++ == 0)
            image->disk = disk;
    }
    if (found == 1)
        return 0;
    list_disks(image, list, sizeof(list));
    if (number == 0)
        return ds_fail_at(err, image->base.files[0],
                          image->descriptor->offset_bytes, DS_ERR_UNSUPPORTED,
                          "ova: package: has no disk with a file");
    if (name == NULL)
        return ds_fail_at(err, image->base.files[0],
                          image->descriptor->offset_bytes, DS_ERR_ARG,
                          "ova: package: has %zu disks, name one: %s", number,
                          list);
    return ds_fail_at(err, image->base.files[0],
                      image->descriptor->offset_bytes, DS_ERR_ARG,
                      "ova: package: '%.100s' names %zu disks, have 1 to %zu: "
                      "%s",
                      name, found, number, list);
}

/* What OVF allows and we do not read. */
static int check_form(const struct ova_image *image, struct ds_error *err)
{
    const struct ova_disk *disk = image->disk;
    const struct ova_file_reference *file =
        ova_envelope_file(&image->envelope, disk->file_reference);
    struct ds_file *archive = image->base.files[0];
    uint64_t at = image->descriptor->offset_bytes;

    if (file == NULL)
        return ds_fail_at(err, archive, at, DS_ERR_CORRUPT,
                          "ova: disk '%.100s': fileRef, have '%.100s' expect "
                          "the id of a File",
                          disk->id, disk->file_reference);
    if (disk->parent_reference[0] != '\0')
        return ds_fail_at(err, archive, at, DS_ERR_UNSUPPORTED,
                          "ova: disk '%.100s': has the parent '%.100s', which "
                          "is not supported",
                          disk->id, disk->parent_reference);
    if (file->compression[0] != '\0' &&
        strcmp(file->compression, "identity") != 0)
        return ds_fail_at(err, archive, at, DS_ERR_UNSUPPORTED,
                          "ova: file '%.100s': compression %.30s is not "
                          "supported",
                          file->href, file->compression);
    if (file->is_chunked)
        return ds_fail_at(err, archive, at, DS_ERR_UNSUPPORTED,
                          "ova: file '%.100s': files in chunks are not "
                          "supported",
                          file->href);
    return 0;
}

int ova_choose(struct ova_image *image, const char *name, struct ds_error *err)
{
    int result = find_disk(image, name, err);

    return result == 0 ? check_form(image, err) : result;
}

int ova_choose_member(struct ova_image *image, struct ds_error *err)
{
    const struct ova_disk *disk = image->disk;
    const char *href =
        ova_envelope_file(&image->envelope, disk->file_reference)->href;
    char name[OVA_NAME_BYTES];

    image->member = ova_index_find(&image->index, href);
    if (image->member != NULL)
        return 0;
    ova_href_decode(href, name);
    image->member = ova_index_find(&image->index, name);
    if (image->member == NULL)
        return ds_fail_at(
            err, image->base.files[0], image->descriptor->offset_bytes,
            DS_ERR_CORRUPT,
            "ova: disk '%.100s': its file '%.100s' is not in the archive",
            disk->id, href);
    return 0;
}
