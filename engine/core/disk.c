/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an image: store, format, references, quiet. */
#include "disk.h"

#include <stdlib.h>

#include <diskshift/diskshift.h>

#include "fail.h"
#include "registry.h"

static int disk_quiesce(struct ds_disk *disk, struct ds_error *err)
{
    for (uint32_t i = 0; i < disk->image->file_count; i++) {
        struct ds_file *file = disk->image->files[i];
        int result = file->store->quiesce(file, err);

        if (result != 0)
            return result;
    }
    disk->quiet = true;
    return 0;
}

int ds_disk_check_unchanged(struct ds_disk *disk, struct ds_error *err)
{
    for (uint32_t i = 0; i < disk->image->file_count; i++) {
        struct ds_file *file = disk->image->files[i];
        int result = file->store->check_unchanged(file, err);

        if (result != 0)
            return result;
    }
    return 0;
}

static int pick_format(struct ds_file *file, const char *name,
                       const struct ds_format_ops **format,
                       struct ds_error *err)
{
    if (name == NULL)
        return ds_registry_probe(file, format, err);
    *format = ds_registry_format(name);
    if (*format == NULL)
        return ds_fail(err, DS_ERR_ARG, "unknown format '%s'", name);
    return 0;
}

int ds_disk_open_file(struct ds_file *file, const struct ds_format_ops *format,
                      const struct ds_open_options *options,
                      struct ds_disk **out, struct ds_error *err)
{
    struct ds_references references = {
        .allow_directory = options != NULL ? options->allow_refs : NULL,
        .forbidden = options != NULL && options->no_refs,
    };
    struct ds_disk *disk = calloc(1, sizeof(*disk));
    int result;

    if (disk == NULL) {
        ds_file_close(file);
        return ds_fail_memory(err);
    }
    result = format != NULL
                 ? 0
                 : pick_format(file, options != NULL ? options->format : NULL,
                               &format, err);
    if (result == 0)
        result = format->open(file, &references, &disk->image, err);
    if (disk->image == NULL)
        ds_file_close(file);
    /* Headers are read before the locks are taken so that the locks cover
     * all files; a change in between shows in the map or at the end. */
    if (result == 0 && options != NULL && options->for_conversion)
        result = disk_quiesce(disk, err);
    if (result != 0) {
        ds_disk_close(disk);
        return result;
    }
    *out = disk;
    return 0;
}

int ds_disk_open(const char *path, const struct ds_open_options *options,
                 struct ds_disk **out, struct ds_error *err)
{
    struct ds_file *file = NULL;
    int result = ds_registry_store(path)->open(path, &file, err);

    if (result != 0)
        return result;
    return ds_disk_open_file(file, NULL, options, out, err);
}

void ds_disk_close(struct ds_disk *disk)
{
    struct ds_image *image;

    if (disk == NULL)
        return;
    image = disk->image;
    if (image != NULL) {
        for (uint32_t i = 0; i < image->file_count; i++)
            ds_file_close(image->files[i]);
        image->format->close(image);
    }
    free(disk);
}

uint64_t ds_disk_size_bytes(const struct ds_disk *disk)
{
    return disk->image->size_bytes;
}

const char *ds_disk_format(const struct ds_disk *disk)
{
    return disk->image->format->name;
}

uint32_t ds_disk_file_count(const struct ds_disk *disk)
{
    return disk->image->file_count;
}

const char *ds_disk_file_path(const struct ds_disk *disk, uint32_t file_index)
{
    return file_index < disk->image->file_count
               ? disk->image->files[file_index]->path
               : NULL;
}

int ds_disk_facts(struct ds_disk *disk, ds_fact_fn *fact, void *user,
                  struct ds_error *err)
{
    struct ds_image *image = disk->image;

    (void)err;
    if (image->format->facts != NULL)
        image->format->facts(image, fact, user);
    return 0;
}

const struct ds_format_description *ds_format_describe(size_t index)
{
    static _Thread_local struct ds_format_description description;
    const struct ds_format_ops *format = ds_registry_format_at(index);

    if (format == NULL)
        return NULL;
    description.name = format->name;
    description.summary = format->summary;
    description.can_write = format->target_open != NULL;
    return &description;
}

const struct ds_target_option *ds_format_option(const char *format_name,
                                                size_t index)
{
    const struct ds_format_ops *format = ds_registry_format(format_name);
    const struct ds_target_option *option;

    option = format != NULL ? format->options : NULL;
    while (option != NULL && option->key != NULL && index > 0) {
        option++;
        index--;
    }
    return option != NULL && option->key != NULL ? option : NULL;
}

const char *ds_version(void)
{
    return DS_VERSION;
}
