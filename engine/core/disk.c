/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an image: store, format, references, quiet. */
#include "disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diskshift/diskshift.h>

#include "arith.h"
#include "fail.h"
#include "registry.h"

static int disk_quiesce(struct ds_disk *disk, struct ds_error *err)
{
    int result = 0;

    for (uint32_t i = 0; i < disk->file_count && result == 0; i++)
        result = disk->files[i]->store->quiesce(disk->files[i], err);
    disk->quiet = result == 0;
    return result;
}

int ds_disk_check_unchanged(struct ds_disk *disk, struct ds_error *err)
{
    int result = 0;

    for (uint32_t i = 0; i < disk->file_count && result == 0; i++)
        result = disk->files[i]->store->check_unchanged(disk->files[i], err);
    return result;
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

/* Take the image's files into the disk's table; they are its own from here,
 * also when the table is full. */
static int adopt_files(struct ds_disk *disk, struct ds_layer *layer,
                       struct ds_error *err)
{
    struct ds_image *image = layer->image;

    layer->file_base = disk->file_count;
    if (image->file_count > DS_DISK_FILE_COUNT_MAX - disk->file_count) {
        for (uint32_t i = 0; i < image->file_count; i++)
            ds_file_close(image->files[i]);
        return ds_fail(err, DS_ERR_LIMIT, "chain: more than %u files",
                       DS_DISK_FILE_COUNT_MAX);
    }
    for (uint32_t i = 0; i < image->file_count; i++)
        disk->files[disk->file_count++] = image->files[i];
    return 0;
}

/* Raw is what carries no header, unless the user or a child says that it is
 * raw: then what its first bytes look like is the guest's doing, and told. */
static int note_likeness(struct ds_layer *layer, struct ds_error *err)
{
    const struct ds_format_ops *format = NULL;
    int result = 0;

    if (strcmp(layer->image->format->name, "raw") == 0)
        result = ds_registry_looks_like(layer->image->files[0], &format, err);
    layer->looks_like = format != NULL ? format->name : NULL;
    return result;
}

/* What a layer takes whatever it holds: its struct with a table of files, and
 * the two windows of a map that walks over it. */
#define LAYER_BYTES                                                            \
    (2 * DS_WINDOW_BYTES_MAX + sizeof(struct ds_image) + (16u << 10))

/* Open one more layer at the bottom; `named`: its format was given and not
 * found. Owns `file`, also when it fails. */
static int add_layer(struct ds_disk *disk, struct ds_file *file,
                     const struct ds_format_ops *format, bool named,
                     const struct ds_open_context *context,
                     struct ds_error *err)
{
    struct ds_layer *layer = &disk->layers[disk->layer_count];
    int result = ds_budget_memory(context->budget, file, "layer: bytes",
                                  LAYER_BYTES, err);
    int adopted;

    if (result == 0)
        result = format->open(file, context, &layer->image, err);

    if (layer->image == NULL) {
        ds_file_close(file);
        return result;
    }
    disk->layer_count++;
    adopted = adopt_files(disk, layer, err);
    if (result == 0)
        result = adopted;
    if (result == 0 && named)
        result = note_likeness(layer, err);
    return result != 0 ? result
                       : ds_budget_check_size(&disk->budget, file, format->name,
                                              layer->image->size_bytes, err);
}

/* -- parents
 * -----------------------------------------------------------------*/

/* A chain that comes back to one of its files would never end. */
static int check_loop(const struct ds_disk *disk, const struct ds_file *parent,
                      struct ds_error *err)
{
    for (uint32_t i = 0; i < disk->file_count; i++)
        if (parent->store->same(parent, disk->files[i]))
            return ds_fail_at(err, disk->files[0], DS_OFFSET_NONE,
                              DS_ERR_CORRUPT, "chain: %s is its own ancestor",
                              parent->path);
    return 0;
}

/* Try the names by which a parent may be found, in the order given. Where none
 * leads to it, a name that was refused is what the user can do something
 * about, more than another that is not there. */
static int find_parent(const struct ds_image *child,
                       const struct ds_open_context *context,
                       const struct ds_parent *parent, struct ds_file **out,
                       struct ds_error *err)
{
    struct ds_file *from = child->files[0];
    struct ds_error refused = DS_ERROR_INIT;
    int result = -DS_ERR_CORRUPT;

    if (context->no_refs)
        return ds_fail_at(err, from, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "%s: has a parent, and references are forbidden",
                          child->format->name);
    for (size_t i = 0; i < parent->name_count; i++) {
        result = from->store->open_reference(from, context->allow_directory,
                                             parent->names[i], out, err);
        if (result == 0)
            return 0;
        if (result == -DS_ERR_REFUSED && refused.error_class == DS_OK &&
            err != NULL)
            refused = *err;
    }
    if (parent->name_count == 0)
        return ds_fail_at(err, from, DS_OFFSET_NONE, DS_ERR_CORRUPT,
                          "%s: has a parent and does not name it",
                          child->format->name);
    if (refused.error_class == DS_OK)
        return result;
    *err = refused;
    return -DS_ERR_REFUSED;
}

static int add_parent(struct ds_disk *disk,
                      const struct ds_open_context *context, bool *more,
                      struct ds_error *err)
{
    struct ds_image *child = disk->layers[disk->layer_count - 1].image;
    struct ds_parent parent = { 0 };
    const struct ds_format_ops *format = NULL;
    struct ds_file *file = NULL;
    int result = 0;

    *more = false;
    if (child->format->parent == NULL || !child->format->parent(child, &parent))
        return 0;
    if (disk->layer_count == DS_CHAIN_DEPTH_MAX)
        return ds_fail(err, DS_ERR_LIMIT, "chain: deeper than %u",
                       DS_CHAIN_DEPTH_MAX);
    result = find_parent(child, context, &parent, &file, err);
    if (result != 0)
        return result;
    result = check_loop(disk, file, err);
    if (result == 0)
        result = pick_format(file, parent.format, &format, err);
    if (result != 0) {
        ds_file_close(file);
        return result;
    }
    result = add_layer(disk, file, format, parent.format != NULL, context, err);
    if (result == 0 && child->format->check_parent != NULL)
        result = child->format->check_parent(
            child, disk->layers[disk->layer_count - 1].image, err);
    *more = result == 0;
    return result;
}

static int add_parents(struct ds_disk *disk,
                       const struct ds_open_context *context,
                       struct ds_error *err)
{
    /* What selects a part of the named image is not for its parents. */
    struct ds_open_context plain = *context;
    bool more = true;
    int result = 0;

    plain.snapshot = NULL;
    plain.member = NULL;
    while (more && result == 0)
        result = add_parent(disk, &plain, &more, err);
    return result;
}

/* -- opening
 * -----------------------------------------------------------------*/

int ds_disk_open_file(struct ds_file *file, const struct ds_format_ops *format,
                      const struct ds_open_options *options,
                      struct ds_disk **out, struct ds_error *err)
{
    static const struct ds_open_options standard = { 0 };
    struct ds_open_context context;
    struct ds_disk *disk = calloc(1, sizeof(*disk));
    int result = 0;

    if (options == NULL)
        options = &standard;
    context = (struct ds_open_context){
        .allow_directory = options->allow_refs,
        .no_refs = options->no_refs,
        .snapshot = options->snapshot,
        .key_file = options->key_file,
        .member = options->member,
    };
    if (disk == NULL)
        result = ds_fail_memory(err);
    if (result == 0) {
        ds_budget_init(&disk->budget, &options->limits);
        context.budget = &disk->budget;
    }
    if (result == 0 && format == NULL)
        result = pick_format(file, options->format, &format, err);
    if (result == 0 && options->all_members && options->member == NULL &&
        format->has_members)
        context.member = "1"; /* the others: ds_disk_open */
    if (result == 0 && options->member != NULL && !format->has_members)
        result =
            ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_ARG,
                       "%s: is no container, expect no member", format->name);
    if (result == 0 && options->snapshot != NULL && format->snapshots == NULL)
        result = ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_ARG,
                            "%s: has no internal snapshots, expect none",
                            format->name);
    if (result != 0) {
        ds_file_close(file);
        free(disk);
        return result;
    }
    result =
        add_layer(disk, file, format, options->format != NULL, &context, err);
    if (result == 0)
        result = add_parents(disk, &context, err);
    /* Headers are read before the locks are taken so that the locks cover
     * all files; a change in between shows in the map or at the end. */
    if (result == 0 && options->for_conversion)
        result = disk_quiesce(disk, err);
    if (result != 0) {
        ds_disk_close(disk);
        return result;
    }
    disk->size_bytes = disk->layers[0].image->size_bytes;
    disk->parts[0].size_bytes = disk->size_bytes;
    disk->parts[0].layer_count = disk->layer_count;
    disk->part_count = 1;
    *out = disk;
    return 0;
}

static int open_path(const char *path, const struct ds_open_options *options,
                     struct ds_disk **out, struct ds_error *err)
{
    struct ds_file *file = NULL;
    const struct ds_store_ops *store = ds_registry_store(path);
    int result;

    if (store == NULL)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "%.300s: built without paths of this kind", path);
    result = store->open(path, &file, err);
    if (result != 0)
        return result;
    return ds_disk_open_file(file, NULL, options, out, err);
}

/* -- several disks ----------------------------------------------------------*/

const char *disk_member_name(uint32_t index, char name[DISK_MEMBER_BYTES])
{
    (void)snprintf(name, DISK_MEMBER_BYTES, "%" PRIu32, index + 1);
    return name;
}

uint32_t disk_member_count(const struct ds_disk *disk)
{
    const struct ds_image *image = disk->layers[0].image;

    return image->format->member_count != NULL
               ? image->format->member_count(image)
               : 1;
}

const struct ds_part *disk_part_at(const struct ds_disk *disk,
                                   uint64_t position_bytes)
{
    uint32_t index = disk->part_count - 1;

    while (disk->parts[index].begin_bytes > position_bytes)
        index--;
    return &disk->parts[index];
}

static int check_room(const struct ds_disk *disk, const struct ds_disk *next,
                      struct ds_error *err)
{
    uint64_t begin = ds_align_up(disk->size_bytes, DS_LINE_ALIGN_BYTES);
    uint64_t end;

    if (next->part_count > DS_LINE_DISK_COUNT_MAX - disk->part_count)
        return ds_fail(err, DS_ERR_LIMIT, "several disks: more than %u",
                       DS_LINE_DISK_COUNT_MAX);
    if (next->layer_count > DS_DISK_LAYER_COUNT_MAX - disk->layer_count)
        return ds_fail(err, DS_ERR_LIMIT,
                       "several disks: more than %u images in their chains",
                       DS_DISK_LAYER_COUNT_MAX);
    if (next->file_count > DS_DISK_FILE_COUNT_MAX - disk->file_count)
        return ds_fail(err, DS_ERR_LIMIT, "several disks: more than %u files",
                       DS_DISK_FILE_COUNT_MAX);
    if (begin < disk->size_bytes ||
        !ds_add_u64(begin, next->size_bytes, &end) || end > INT64_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "several disks: more than 2^63 bytes in all");
    return 0;
}

/* After check_room. `next` has nothing left. */
static void move_over(struct ds_disk *disk, struct ds_disk *next)
{
    uint64_t begin = ds_align_up(disk->size_bytes, DS_LINE_ALIGN_BYTES);

    for (uint32_t i = 0; i < next->part_count; i++) {
        struct ds_part *part = &disk->parts[disk->part_count++];

        *part = next->parts[i];
        part->begin_bytes += begin;
        part->first_layer += disk->layer_count;
    }
    for (uint32_t i = 0; i < next->layer_count; i++) {
        struct ds_layer *layer = &disk->layers[disk->layer_count++];

        *layer = next->layers[i];
        layer->file_base += disk->file_count;
    }
    for (uint32_t i = 0; i < next->file_count; i++)
        disk->files[disk->file_count++] = next->files[i];
    disk->size_bytes = begin + next->size_bytes;
    disk->quiet = disk->quiet && next->quiet;
    next->layer_count = 0;
    next->file_count = 0;
}

int ds_disk_append(struct ds_disk *disk, struct ds_disk *next,
                   struct ds_error *err)
{
    int result = check_room(disk, next, err);

    if (result == 0)
        move_over(disk, next);
    ds_disk_close(next);
    return result;
}

/* The members behind the first, which is open. */
static int append_members(const char *path,
                          const struct ds_open_options *options,
                          struct ds_disk *disk, struct ds_error *err)
{
    struct ds_open_options one = *options;
    uint32_t count = disk_member_count(disk);
    int result = 0;

    for (uint32_t i = 1; i < count && result == 0; i++) {
        char member[DISK_MEMBER_BYTES];
        struct ds_disk *next = NULL;

        one.member = disk_member_name(i, member);
        result = open_path(path, &one, &next, err);
        if (result == 0)
            result = ds_disk_append(disk, next, err);
    }
    return result;
}

int ds_disk_open(const char *path, const struct ds_open_options *options,
                 struct ds_disk **out, struct ds_error *err)
{
    struct ds_disk *disk = NULL;
    int result = open_path(path, options, &disk, err);

    if (result == 0 && options != NULL && options->all_members &&
        options->member == NULL)
        result = append_members(path, options, disk, err);
    if (result != 0) {
        ds_disk_close(disk);
        return result;
    }
    *out = disk;
    return 0;
}

void ds_disk_close(struct ds_disk *disk)
{
    if (disk == NULL)
        return;
    for (uint32_t i = 0; i < disk->layer_count; i++) {
        struct ds_image *image = disk->layers[i].image;

        image->format->close(image);
    }
    for (uint32_t i = 0; i < disk->file_count; i++)
        ds_file_close(disk->files[i]);
    free(disk->joined);
    free(disk);
}

/* -- asking
 * ------------------------------------------------------------------*/

uint64_t ds_disk_size_bytes(const struct ds_disk *disk)
{
    return disk->size_bytes;
}

uint32_t ds_disk_part_count(const struct ds_disk *disk)
{
    return disk->part_count;
}

int ds_disk_part(const struct ds_disk *disk, uint32_t index,
                 struct ds_disk_part *out)
{
    const struct ds_part *part;
    const struct ds_layer *layer;

    if (index >= disk->part_count)
        return -DS_ERR_ARG;
    part = &disk->parts[index];
    layer = &disk->layers[part->first_layer];
    out->path = disk->files[layer->file_base]->path;
    out->format = layer->image->format->name;
    out->image_bytes = layer->image->size_bytes;
    out->size_bytes = part->size_bytes;
    return 0;
}

const char *ds_disk_format(const struct ds_disk *disk)
{
    return disk->layers[0].image->format->name;
}

uint32_t ds_disk_file_count(const struct ds_disk *disk)
{
    return disk->file_count;
}

const char *ds_disk_file_path(const struct ds_disk *disk, uint32_t file_index)
{
    return file_index < disk->file_count ? disk->files[file_index]->path : NULL;
}

int ds_disk_facts(struct ds_disk *disk, ds_fact_fn *fact, void *user,
                  struct ds_error *err)
{
    return ds_disk_layer_facts(disk, 0, fact, user, err);
}

uint32_t ds_disk_layer_count(const struct ds_disk *disk)
{
    return disk->layer_count;
}

const char *ds_disk_layer_format(const struct ds_disk *disk, uint32_t layer)
{
    return layer < disk->layer_count ? disk->layers[layer].image->format->name
                                     : NULL;
}

const char *ds_disk_layer_path(const struct ds_disk *disk, uint32_t layer)
{
    return layer < disk->layer_count
               ? disk->files[disk->layers[layer].file_base]->path
               : NULL;
}

uint64_t ds_disk_layer_size_bytes(const struct ds_disk *disk, uint32_t layer)
{
    return layer < disk->layer_count ? disk->layers[layer].image->size_bytes
                                     : 0;
}

static int layer_image(struct ds_disk *disk, uint32_t layer,
                       struct ds_image **out, struct ds_error *err)
{
    if (layer >= disk->layer_count)
        return ds_fail(err, DS_ERR_ARG, "layer %u, have %u", layer,
                       disk->layer_count);
    *out = disk->layers[layer].image;
    return 0;
}

int ds_disk_layer_facts(struct ds_disk *disk, uint32_t layer, ds_fact_fn *fact,
                        void *user, struct ds_error *err)
{
    struct ds_image *image = NULL;
    int result = layer_image(disk, layer, &image, err);
    struct ds_fact likeness = { .key = "looks_like" };

    if (result == 0 && image->format->facts != NULL)
        image->format->facts(image, fact, user);
    if (result == 0 && disk->layers[layer].looks_like != NULL) {
        likeness.text = disk->layers[layer].looks_like;
        fact(user, &likeness);
    }
    return result;
}

int ds_disk_snapshots(struct ds_disk *disk, ds_snapshot_fn *snapshot,
                      void *user, struct ds_error *err)
{
    return ds_disk_layer_snapshots(disk, 0, snapshot, user, err);
}

int ds_disk_layer_snapshots(struct ds_disk *disk, uint32_t layer,
                            ds_snapshot_fn *snapshot, void *user,
                            struct ds_error *err)
{
    struct ds_image *image = NULL;
    int result = layer_image(disk, layer, &image, err);

    if (result == 0 && image->format->snapshots != NULL)
        result = image->format->snapshots(image, snapshot, user, err);
    return result;
}

int ds_disk_extend(struct ds_disk *disk, uint64_t size_bytes,
                   struct ds_error *err)
{
    if (size_bytes % 512 != 0 || size_bytes < disk->size_bytes)
        return ds_fail(err, DS_ERR_ARG,
                       "size: have %" PRIu64
                       " expect a multiple of 512 and at least the disk's "
                       "%" PRIu64,
                       size_bytes, disk->size_bytes);
    if (disk->part_count > 1)
        return ds_fail(err, DS_ERR_ARG,
                       "size: have %" PRIu32 " disks expect one",
                       disk->part_count);
    disk->size_bytes = size_bytes;
    disk->parts[0].size_bytes = size_bytes;
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
    description.takes_several = description.can_write && format->has_members;
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
