/* SPDX-License-Identifier: Apache-2.0 */
/* A raw disk: guest offset is file offset. See SPEC.md. */
#include <inttypes.h>
#include <stdlib.h>

#include "arith.h"
#include "fail.h"
#include "flat.h"
#include "format.h"

extern const struct ds_format_ops raw_format_ops;

struct raw_target {
    struct ds_target base;
    uint64_t size_bytes;
};

/* -- reading -------------------------------------------------------------- */

/* Anything is a raw disk; the registry takes raw when nothing else fits. */
static bool raw_probe(const struct ds_probe *probe)
{
    (void)probe;
    return false;
}

static int raw_open(struct ds_file *file, const struct ds_open_context *context,
                    struct ds_image **out, struct ds_error *err)
{
    struct ds_image *image;

    (void)context;
    /* File sizes are signed: anything near 2^64 is not one. */
    if (file->size_bytes > INT64_MAX - (DS_SECTOR_BYTES - 1))
        return ds_fail_at(
            err, file, DS_OFFSET_NONE, DS_ERR_LIMIT,
            "raw: file: size, have %" PRIu64 " bytes expect at most %" PRIu64,
            file->size_bytes, (uint64_t)INT64_MAX - (DS_SECTOR_BYTES - 1));
    image = calloc(1, sizeof(*image));
    if (image == NULL)
        return ds_fail_memory(err);
    image->format = &raw_format_ops;
    image->size_bytes = ds_align_up(file->size_bytes, DS_SECTOR_BYTES);
    image->file_count = 1;
    image->files[0] = file;
    *out = image;
    return 0;
}

static void raw_close(struct ds_image *image)
{
    free(image);
}

static void raw_facts(struct ds_image *image, ds_fact_fn *fact, void *user)
{
    struct ds_fact padded = {
        .key = "padded_bytes",
        .number = image->size_bytes - image->files[0]->size_bytes,
    };

    fact(user, &padded);
}

static int raw_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                         uint64_t guest_offset_bytes, struct ds_extent *out,
                         struct ds_error *err)
{
    return ds_flat_extent_at(image, cursor, 0, 0, 0, image->size_bytes,
                             guest_offset_bytes, out, err);
}

/* -- writing: there are no tables ----------------------------------------- */

static int raw_target_open(const struct ds_target_request *request,
                           struct ds_target **out, struct ds_error *err)
{
    struct raw_target *target;
    int result = ds_option_check("raw", NULL, request->options,
                                 request->option_count, err);

    if (result != 0)
        return result;
    target = calloc(1, sizeof(*target));
    if (target == NULL)
        return ds_fail_memory(err);
    target->base.format = &raw_format_ops;
    target->base.layout = (struct ds_target_layout){
        .align_bytes = DS_SECTOR_BYTES,
        .ends_with_data = true,
        .graftable = true,
        .file_count = 1,
    };
    target->size_bytes = request->size_bytes;
    *out = &target->base;
    return 0;
}

static int raw_target_count(struct ds_target *target,
                            const struct ds_unit_run *run, struct ds_error *err)
{
    (void)target;
    (void)run;
    (void)err;
    return 0;
}

static int raw_target_seal(struct ds_target *base,
                           const struct ds_footprint *footprint,
                           struct ds_seal *out, struct ds_error *err)
{
    const struct raw_target *target = (const struct raw_target *)base;

    (void)err;
    *out = (struct ds_seal){
        .data_start_bytes = footprint->area_start_bytes,
        .file_size_bytes = { target->size_bytes },
    };
    return 0;
}

static int raw_target_place(struct ds_target *target,
                            const struct ds_unit_run *run,
                            struct ds_emitter *emitter, struct ds_error *err)
{
    (void)target;
    (void)run;
    (void)emitter;
    (void)err;
    return 0;
}

static int raw_target_finish(struct ds_target *target,
                             struct ds_emitter *emitter, struct ds_error *err)
{
    (void)target;
    (void)emitter;
    (void)err;
    return 0;
}

static void raw_target_close(struct ds_target *target)
{
    free(target);
}

static const char *const extensions[] = { ".raw", ".img", NULL };

const struct ds_format_ops raw_format_ops = {
    .name = "raw",
    .summary = "the disk's bytes as they are, in a file or block device",
    .extensions = extensions,
    .probe = raw_probe,
    .open = raw_open,
    .close = raw_close,
    .facts = raw_facts,
    .extent_at = raw_extent_at,
    .regions = NULL,
    .options = NULL,
    .target_open = raw_target_open,
    .target_count = raw_target_count,
    .target_seal = raw_target_seal,
    .target_place = raw_target_place,
    .target_used = NULL,
    .target_finish = raw_target_finish,
    .target_close = raw_target_close,
};
