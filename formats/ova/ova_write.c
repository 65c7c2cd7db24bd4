/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a package:
 *
 *   0   512       ...   ...     ...  head_bytes (4 KiB)
 *   |hdr|x.ovf    |hdr  |x.mf   |hdr|x-disk1.vmdk|0|hdr|x-disk2.vmdk|0| end |
 *       | + blanks|
 *
 * The engine hands over the units of all disks as those of one line (format.h:
 * ds_line_disk), in order. Each disk is written by the vmdk format as a stream
 * of its own, in rising order and without gaps; here its units and its places
 * are moved, and what goes out is digested. When the first unit of the next
 * one comes, or the end, a disk is done, and the next has its place.
 *
 * A disk's size and its digest are known last, so what tells of them comes
 * last: its own header, and the members before all disks, for which room was
 * left: the descriptor has room for the longest of all numbers, which blanks
 * behind its root element fill, and a digest is always as long. Nothing else
 * is written twice or read back.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "ova_write.h"

extern const struct ds_format_ops vmdk_format_ops;

#define END_BYTES (2 * (uint64_t)TAR_BLOCK_BYTES)

static struct ova_target *target_of(struct ds_target *target)
{
    return (struct ova_target *)target;
}

/* -- opening --------------------------------------------------------------- */

static int open_part(struct ova_target *target, const struct ds_line_disk *disk,
                     struct ova_part *part, struct ds_error *err)
{
    char adapter[64];
    const char *options[] = { "subformat=streamOptimized", adapter,
                              "hardware_version=10" };
    struct ds_target_request request = {
        .path = part->name,
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .size_bytes = disk->size_bytes,
    };
    int result;

    (void)snprintf(adapter, sizeof(adapter), "adapter_type=%s",
                   target->machine.adapter->vmdk);
    result = vmdk_format_ops.target_open(&request, &part->target, err);
    if (result != 0)
        return result;
    target->target.layout = part->target->layout;
    part->size_bytes = disk->size_bytes;
    part->first_unit = disk->begin_bytes / target->target.layout.unit_bytes;
    assert(disk->begin_bytes % target->target.layout.unit_bytes == 0);
    return 0;
}

static int open_parts(struct ova_target *target,
                      const struct ds_target_request *request,
                      struct ds_error *err)
{
    int result =
        ova_check_disk_count(&target->machine, request->disk_count, err);

    if (result != 0)
        return result;
    target->parts = calloc(request->disk_count, sizeof(*target->parts));
    if (target->parts == NULL)
        return ds_fail_memory(err);
    target->part_count = request->disk_count;
    ova_head_name(target);
    for (size_t i = 0; i < target->part_count && result == 0; i++)
        result = open_part(target, &request->disks[i], &target->parts[i], err);
    if (result == 0)
        result = ova_head_measure(target, err);
    target->target.layout.head_bytes += target->head_bytes;
    return result;
}

int ova_target_open(const struct ds_target_request *request,
                    struct ds_target **out, struct ds_error *err)
{
    struct ova_target *target = calloc(1, sizeof(*target));
    int result;

    if (target == NULL)
        return ds_fail_memory(err);
    target->target.format = &ova_format_ops;
    target->modified_seconds = (uint64_t)time(NULL);
    result = ova_options_parse(request, &target->machine, err);
    if (result == 0)
        result = open_parts(target, request, err);
    if (result == 0)
        result = ds_digest_open(DS_DIGEST_SHA256, &target->digest, err);
    if (result != 0) {
        ova_target_close(&target->target);
        return result;
    }
    *out = &target->target;
    return 0;
}

void ova_target_close(struct ds_target *base)
{
    struct ova_target *target = target_of(base);

    if (target == NULL)
        return;
    for (size_t i = 0; i < target->part_count; i++)
        if (target->parts[i].target != NULL)
            vmdk_format_ops.target_close(target->parts[i].target);
    ds_digest_close(target->digest);
    free(target->parts);
    free(target);
}

const char *ova_target_member(const struct ds_target *base, uint32_t index)
{
    const struct ova_target *target = (const struct ova_target *)base;

    return index < target->part_count ? target->parts[index].name : NULL;
}

/* -- first pass ------------------------------------------------------------ */

/* The part whose unit it is; `from` is one at or before it. */
static size_t part_of(const struct ova_target *target, size_t from,
                      uint64_t unit)
{
    while (from + 1 < target->part_count &&
           unit >= target->parts[from + 1].first_unit)
        from++;
    return from;
}

/* Disks that are full lie beside each other, and so may a run's units. */
int ova_target_count(struct ds_target *base, const struct ds_unit_run *run,
                     struct ds_error *err)
{
    struct ova_target *target = target_of(base);
    uint64_t end = run->first_unit + run->unit_count;
    uint64_t unit = run->first_unit;
    size_t at = 0;

    (void)err;
    while (unit < end) {
        uint64_t next = end;

        at = part_of(target, at, unit);
        if (at + 1 < target->part_count)
            next = ds_min_u64(end, target->parts[at + 1].first_unit);
        target->parts[at].counted_units += next - unit;
        unit = next;
    }
    return 0;
}

/* Where the member behind one that ends at `end_bytes` begins. */
static uint64_t next_member(uint64_t end_bytes)
{
    return ds_align_up(end_bytes, TAR_BLOCK_BYTES) + TAR_BLOCK_BYTES;
}

static uint64_t archive_end(uint64_t end_bytes)
{
    return ds_align_up(end_bytes, TAR_BLOCK_BYTES) + END_BYTES;
}

static int seal_part(struct ova_part *part, uint64_t *most_bytes,
                     struct ds_error *err)
{
    ds_autofree struct ds_footprint *footprint = calloc(1, sizeof(*footprint));
    ds_autofree struct ds_seal *seal = calloc(1, sizeof(*seal));
    int result;

    if (footprint == NULL || seal == NULL)
        return ds_fail_memory(err);
    footprint->area_start_bytes = part->target->layout.head_bytes;
    footprint->unit_count = part->counted_units;
    footprint->file_names[0] = part->name;
    result = vmdk_format_ops.target_seal(part->target, footprint, seal, err);
    *most_bytes = seal->file_size_bytes[0];
    return result;
}

int ova_target_seal(struct ds_target *base,
                    const struct ds_footprint *footprint, struct ds_seal *out,
                    struct ds_error *err)
{
    struct ova_target *target = target_of(base);
    uint64_t end = 0, bytes = 0;
    int result = 0;

    for (size_t i = 0; i < target->part_count && result == 0; i++) {
        result = seal_part(&target->parts[i], &bytes, err);
        end = (i == 0 ? target->head_bytes : next_member(end)) + bytes;
    }
    target->started = false;
    out->data_start_bytes = footprint->area_start_bytes;
    out->file_size_bytes[0] = archive_end(end);
    return result;
}

/* -- second pass ----------------------------------------------------------- */

/* What a disk is written through. */
struct shift {
    struct ds_emitter emitter;
    struct ova_target *target;
    struct ds_emitter *outer;
};

static int shift_write(struct ds_emitter *emitter, uint32_t target_index,
                       uint64_t offset_bytes, const void *bytes,
                       size_t length_bytes, struct ds_error *err)
{
    const struct shift *shift = (const struct shift *)emitter;
    struct ova_target *target = shift->target;
    struct ova_part *part = &target->parts[target->current];
    int result = 0;

    if (offset_bytes == 0) {
        result = ds_digest_restart(target->digest, err);
        part->stored_bytes = 0;
    }
    /* A digest has no places: the stream must have none left out. */
    assert(target->is_dry || offset_bytes == part->stored_bytes);
    if (result == 0)
        result = ds_digest_add(target->digest, bytes, length_bytes, err);
    part->stored_bytes += length_bytes;
    return result == 0 ? ds_emit(shift->outer, target_index,
                                 part->offset_bytes + offset_bytes, bytes,
                                 length_bytes, err)
                       : result;
}

static void begin_part(struct ova_target *target, size_t index)
{
    struct ova_part *part = &target->parts[index];

    target->current = index;
    part->unit_count = 0;
    part->stored_bytes = 0;
    part->offset_bytes = target->head_bytes;
    if (index > 0)
        part->offset_bytes =
            next_member(part[-1].offset_bytes + part[-1].stored_bytes);
}

/* A pass that was left in its midst begins anew. */
static void begin_pass(struct ova_target *target, uint64_t unit)
{
    if (target->started && unit >= target->next_unit)
        return;
    target->started = true;
    begin_part(target, 0);
}

/* The rest of the current disk, its header, and what fills its last block. */
static int end_part(struct ova_target *target, struct ds_emitter *emitter,
                    struct ds_error *err)
{
    static const uint8_t zeros[TAR_BLOCK_BYTES];
    struct shift shift = { { .write = shift_write }, target, emitter };
    struct ova_part *part = &target->parts[target->current];
    uint64_t end;
    int result =
        vmdk_format_ops.target_finish(part->target, &shift.emitter, err);

    if (result == 0)
        result = ds_digest_end(target->digest, part->digest, err);
    if (result != 0)
        return result;
    end = vmdk_format_ops.target_encoded_size(part->target);
    assert(target->is_dry || part->stored_bytes == end);
    part->stored_bytes = end;
    result = ova_header_emit(target, part->name,
                             part->offset_bytes - TAR_BLOCK_BYTES, end, emitter,
                             err);
    end += part->offset_bytes;
    return result == 0 && end % TAR_BLOCK_BYTES != 0
               ? ds_emit(emitter, 0, end, zeros,
                         (size_t)(ds_align_up(end, TAR_BLOCK_BYTES) - end), err)
               : result;
}

/* Go on to a disk, with those between that have no units. */
static int reach_part(struct ova_target *target, size_t index,
                      struct ds_emitter *emitter, struct ds_error *err)
{
    int result = 0;

    while (target->current < index && result == 0) {
        result = end_part(target, emitter, err);
        begin_part(target, target->current + 1);
    }
    return result;
}

int ova_target_encoded(struct ds_target *base, uint64_t unit,
                       const void *stored, uint64_t stored_bytes,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    struct ova_target *target = target_of(base);
    struct shift shift = { { .write = shift_write }, target, emitter };
    struct ova_part *part;
    int result;

    target->is_dry = stored == NULL;
    begin_pass(target, unit);
    result = reach_part(target, part_of(target, target->current, unit), emitter,
                        err);
    if (result != 0)
        return result;
    part = &target->parts[target->current];
    part->unit_count++;
    target->next_unit = unit + 1;
    return vmdk_format_ops.target_encoded(part->target, unit - part->first_unit,
                                          stored, stored_bytes, &shift.emitter,
                                          err);
}

static uint64_t archive_size(const struct ova_target *target)
{
    const struct ova_part *last = &target->parts[target->part_count - 1];

    return archive_end(last->offset_bytes + last->stored_bytes);
}

int ova_target_finish(struct ds_target *base, struct ds_emitter *emitter,
                      struct ds_error *err)
{
    static const uint8_t zeros[END_BYTES];
    struct ova_target *target = target_of(base);
    int result;

    begin_pass(target, UINT64_MAX); /* disks without data alone */
    result = reach_part(target, target->part_count - 1, emitter, err);
    if (result == 0)
        result = end_part(target, emitter, err);
    if (result == 0)
        result = ova_head_emit(target, emitter, err);
    if (result == 0)
        result = ds_emit(emitter, 0, archive_size(target) - END_BYTES, zeros,
                         sizeof(zeros), err);
    target->started = false; /* the pass may be run again */
    target->is_dry = false;
    return result;
}

uint64_t ova_target_encoded_size(const struct ds_target *base)
{
    return archive_size((const struct ova_target *)base);
}
