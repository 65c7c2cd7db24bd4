/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a disk: which subformat has which files, and its descriptor.
 *
 *   monolithicSparse     one file                        vmdk_grains.c
 *   twoGbMaxExtentSparse NAME.vmdk, NAME-s001.vmdk ...    vmdk_grains.c
 *   streamOptimized      one file                        vmdk_stream_write.c
 *   monolithicFlat, vmfs NAME.vmdk, NAME-flat.vmdk       the guest's bytes
 *   twoGbMaxExtentFlat   NAME.vmdk, NAME-f001.vmdk ...    the guest's bytes
 *   overlay              NAME.vmdk, NAME-data.vmdk       vmdk_overlay.c
 *
 * A descriptor of its own file is written last; the engine installs it last.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "guid.h"
#include "vmdk.h"

struct vmdk_target {
    struct ds_target target;
    struct vmdk_text text;
    struct vmdk_grains *grains;   /* sparse, but for streams */
    struct vmdk_stream *stream;   /* streamOptimized only */
    struct vmdk_overlay *overlay; /* overlay only */

    /* by target_seal */
    struct vmdk_text_line *lines; /* one for each file, but for overlays */
    char *descriptor;             /* zeros behind its end */
    size_t descriptor_room_bytes;
    size_t descriptor_bytes;
};

static struct vmdk_target *target_of(struct ds_target *target)
{
    return (struct vmdk_target *)target;
}

static bool is_split(const struct vmdk_target *target)
{
    return target->text.subformat == VMDK_SPLIT_SPARSE ||
           target->text.subformat == VMDK_SPLIT_FLAT;
}

/* The descriptor lies in the file of the data. */
static bool is_embedded(const struct vmdk_target *target)
{
    return target->text.subformat == VMDK_MONOLITHIC_SPARSE ||
           target->text.subformat == VMDK_STREAM_OPTIMIZED;
}

/* -- opening --------------------------------------------------------------- */

static int count_extents(const struct vmdk_target *target, uint32_t *count,
                         struct ds_error *err)
{
    uint64_t extents =
        ds_max_u64(ds_div_up(target->text.size_bytes, VMDK_SPLIT_BYTES), 1);

    if (extents > DS_TARGET_FILE_COUNT_MAX - 1)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vmdk: descriptor: extents of 2047 MiB for a disk of "
                       "%" PRIu64 " bytes, have %" PRIu64 " expect at most "
                       "%u; use subformat=monolithicFlat",
                       target->text.size_bytes, extents,
                       DS_TARGET_FILE_COUNT_MAX - 1);
    *count = (uint32_t)extents;
    return 0;
}

static int open_grains(struct vmdk_target *target, uint64_t grain_bytes,
                       uint32_t split_count, struct ds_error *err)
{
    int result = vmdk_grains_create(target->text.size_bytes, grain_bytes,
                                    split_count, &target->grains, err);

    if (result == 0)
        target->target.layout = vmdk_grains_layout(target->grains);
    return result;
}

static void open_flat(struct vmdk_target *target, uint32_t split_count)
{
    target->target.layout = (struct ds_target_layout){
        .align_bytes = DS_SECTOR_BYTES,
        .ends_with_data = true,
        .graftable = split_count == 0,
        .file_count = split_count == 0 ? 2 : 1 + split_count,
        .data_file_index = 1,
        .split_guest_bytes = split_count == 0 ? 0 : VMDK_SPLIT_BYTES,
    };
}

static int open_layout(struct vmdk_target *target, uint64_t grain_bytes,
                       struct ds_error *err)
{
    uint32_t split_count = 0;
    int result =
        is_split(target) ? count_extents(target, &split_count, err) : 0;

    if (result != 0)
        return result;
    switch (target->text.subformat) {
    case VMDK_MONOLITHIC_SPARSE:
    case VMDK_SPLIT_SPARSE:
        return open_grains(target, grain_bytes, split_count, err);
    case VMDK_STREAM_OPTIMIZED:
        target->target.layout = vmdk_stream_layout();
        return vmdk_stream_create(target->text.size_bytes, &target->stream,
                                  err);
    case VMDK_OVERLAY:
        target->target.layout = vmdk_overlay_layout();
        return vmdk_overlay_create(target->text.size_bytes, &target->overlay,
                                   err);
    case VMDK_MONOLITHIC_FLAT:
    case VMDK_VMFS:
    case VMDK_SPLIT_FLAT:
        break;
    }
    open_flat(target, split_count);
    return 0;
}

static int open_descriptor(struct vmdk_target *target, struct ds_error *err)
{
    target->descriptor_room_bytes =
        is_embedded(target) ? VMDK_TEXT_BYTES_MAX : VMDK_DESCRIPTOR_BYTES_MAX;
    target->descriptor = calloc(1, target->descriptor_room_bytes);
    target->lines =
        calloc(target->target.layout.file_count, sizeof(*target->lines));
    if (target->descriptor == NULL || target->lines == NULL)
        return ds_fail_memory(err);
    return 0;
}

/* CIDs tell a delta whether its parent changed; two values mean "none". */
static int draw_cid(uint32_t *cid, struct ds_error *err)
{
    int result;

    do {
        result = ds_random_u32(cid, err);
    } while (result == 0 && *cid >= UINT32_C(0xfffffffe));
    return result;
}

int vmdk_target_open(const struct ds_target_request *request,
                     struct ds_target **out, struct ds_error *err)
{
    struct vmdk_target *target;
    uint64_t grain_bytes;
    int result;

    target = calloc(1, sizeof(*target));
    if (target == NULL)
        return ds_fail_memory(err);
    target->target.format = &vmdk_format_ops;
    target->text.size_bytes = request->size_bytes;
    result = vmdk_options_parse(request, &target->text, &grain_bytes, err);
    if (result == 0)
        result = draw_cid(&target->text.cid, err);
    if (result == 0)
        result = open_layout(target, grain_bytes, err);
    if (result == 0)
        result = open_descriptor(target, err);
    if (result != 0) {
        vmdk_target_close(&target->target);
        return result;
    }
    *out = &target->target;
    return 0;
}

void vmdk_target_suffix(const struct ds_target *base, uint32_t index,
                        char suffix[DS_SUFFIX_BYTES])
{
    const struct vmdk_target *target = (const struct vmdk_target *)base;

    if (is_split(target))
        (void)snprintf(suffix, DS_SUFFIX_BYTES, "-%c%03" PRIu32 ".vmdk",
                       target->text.subformat == VMDK_SPLIT_FLAT ? 'f' : 's',
                       index);
    else if (target->overlay != NULL)
        (void)snprintf(suffix, DS_SUFFIX_BYTES, "%s.vmdk",
                       index == 1 ? "-data" : "-zeros");
    else
        (void)snprintf(suffix, DS_SUFFIX_BYTES, "-flat.vmdk");
}

void vmdk_target_close(struct ds_target *base)
{
    struct vmdk_target *target;

    if (base == NULL)
        return;
    target = target_of(base);
    vmdk_stream_free(target->stream);
    vmdk_grains_free(target->grains);
    vmdk_overlay_free(target->overlay);
    free(target->lines);
    free(target->descriptor);
    free(target);
}

/* -- first pass ------------------------------------------------------------ */

int vmdk_target_count(struct ds_target *base, const struct ds_unit_run *run,
                      struct ds_error *err)
{
    struct vmdk_target *target = target_of(base);

    if (target->overlay != NULL)
        return vmdk_overlay_count(target->overlay, run, err);
    return target->grains != NULL ? vmdk_grains_count(target->grains, run, err)
                                  : 0;
}

/* One extent for each data file. */
static void list_files(struct vmdk_target *target,
                       const struct ds_footprint *footprint)
{
    const struct ds_target_layout *layout = &target->target.layout;
    uint64_t left = target->text.size_bytes;

    target->text.lines = target->lines;
    target->text.line_count = layout->file_count - layout->data_file_index;
    for (size_t i = 0; i < target->text.line_count; i++) {
        uint64_t size =
            is_split(target) ? ds_min_u64(left, VMDK_SPLIT_BYTES) : left;

        target->lines[i] = (struct vmdk_text_line){
            .size_bytes = size,
            .name = footprint->file_names[layout->data_file_index + i],
        };
        left -= size;
    }
}

static int build_descriptor(struct vmdk_target *target, struct ds_error *err)
{
    memset(target->descriptor, 0, target->descriptor_room_bytes);
    return vmdk_text_build(&target->text, target->descriptor,
                           target->descriptor_room_bytes,
                           &target->descriptor_bytes, err);
}

static int seal_flat(struct vmdk_target *target,
                     const struct ds_footprint *footprint, struct ds_seal *out)
{
    out->data_start_bytes = footprint->area_start_bytes;
    for (size_t i = 0; i < target->text.line_count; i++)
        out->file_size_bytes[1 + i] = target->lines[i].size_bytes;
    return 0;
}

int vmdk_target_seal(struct ds_target *base,
                     const struct ds_footprint *footprint, struct ds_seal *out,
                     struct ds_error *err)
{
    struct vmdk_target *target = target_of(base);
    int result = 0;

    *out = (struct ds_seal){ 0 };
    if (target->overlay != NULL)
        result = vmdk_overlay_seal(target->overlay, footprint, &target->text,
                                   &base->layout.file_count, out, err);
    else
        list_files(target, footprint);
    if (result == 0)
        result = build_descriptor(target, err);
    if (result != 0)
        return result;
    if (target->stream != NULL)
        return vmdk_stream_seal(target->stream, footprint, target->descriptor,
                                target->descriptor_bytes, out, err);
    if (!is_embedded(target))
        out->file_size_bytes[0] = target->descriptor_bytes;
    if (target->grains != NULL)
        return vmdk_grains_seal(target->grains, footprint, out, err);
    return target->overlay != NULL ? 0 : seal_flat(target, footprint, out);
}

const char *vmdk_target_note(const struct ds_target *base)
{
    const struct vmdk_target *target = (const struct vmdk_target *)base;

    return target->overlay != NULL ? vmdk_overlay_note(target->overlay) : NULL;
}

/* -- second pass ----------------------------------------------------------- */

int vmdk_target_place(struct ds_target *base, const struct ds_unit_run *run,
                      struct ds_emitter *emitter, struct ds_error *err)
{
    struct vmdk_target *target = target_of(base);

    return target->grains != NULL
               ? vmdk_grains_place(target->grains, run, emitter, err)
               : 0;
}

int vmdk_target_encoded(struct ds_target *base, uint64_t unit,
                        const void *stored, uint64_t stored_bytes,
                        struct ds_emitter *emitter, struct ds_error *err)
{
    return vmdk_stream_put(target_of(base)->stream, unit, stored, stored_bytes,
                           emitter, err);
}

uint64_t vmdk_target_encoded_size(const struct ds_target *base)
{
    return vmdk_stream_size(((const struct vmdk_target *)base)->stream);
}

int vmdk_target_finish(struct ds_target *base, struct ds_emitter *emitter,
                       struct ds_error *err)
{
    struct vmdk_target *target = target_of(base);
    int result = 0;

    if (target->stream != NULL)
        return vmdk_stream_finish(target->stream, emitter, err);
    if (target->grains != NULL)
        result = vmdk_grains_finish(target->grains, target->descriptor, emitter,
                                    err);
    if (result == 0 && !is_embedded(target))
        result = ds_emit(emitter, 0, 0, target->descriptor,
                         target->descriptor_bytes, err);
    return result;
}
