/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk of nothing but a descriptor: FLAT lines that name where the data
 * lies in a file of whatever format.
 *
 *   guest        |  A  |      B      | zeros |  C  |
 *   data file    .. | B | .. |  C  | .. |  A  | ..       as it lay
 *   zeros file   |       a hole      |       |            where the guest is
 *   lines        A, B -> data file; zeros -> zeros file; C -> data file
 *
 * Zeros have a line of the kind FLAT too, into a file that is one hole, since
 * QEMU passes over lines of the kind ZERO (and over those that are RDONLY) as
 * if they took no room. No byte of either file has two lines, so what a guest
 * writes is nowhere else: such a disk can be written wherever a product opens
 * one file twice. QEMU does not, and then opens it to read only.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "vmdk.h"

/* A reader opens the file anew for each line: QEMU with the usual 1024 file
 * descriptors. The rest of this file is quadratic in it. */
#define LINE_COUNT_MAX 512u
/* QEMU reads no more of a name. */
#define NAME_BYTES_MAX 511u

struct piece {
    uint64_t guest_bytes;
    uint64_t length_bytes;
    uint64_t file_bytes;
};

struct vmdk_overlay {
    uint64_t size_bytes;
    struct piece pieces[LINE_COUNT_MAX];
    size_t piece_count;
    uint64_t lost_count; /* pieces beyond the bound */
    struct vmdk_text_line lines[LINE_COUNT_MAX];
    size_t line_count;
    uint64_t zeros_end_bytes;
    bool shares_file; /* several lines name one file */
};

int vmdk_overlay_create(uint64_t size_bytes, struct vmdk_overlay **out,
                        struct ds_error *err)
{
    *out = calloc(1, sizeof(**out));
    if (*out == NULL)
        return ds_fail_memory(err);
    (*out)->size_bytes = size_bytes;
    return 0;
}

void vmdk_overlay_free(struct vmdk_overlay *overlay)
{
    free(overlay);
}

struct ds_target_layout vmdk_overlay_layout(void)
{
    return (struct ds_target_layout){
        .unit_bytes = DS_SECTOR_BYTES,
        .align_bytes = DS_SECTOR_BYTES,
        .graftable = true,
        .can_refer = true,
        .lists_extents = true,
        .file_count = 3,
        .data_file_index = 1,
    };
}

/* In guest order, with final places; see lists_extents. */
int vmdk_overlay_count(struct vmdk_overlay *overlay,
                       const struct ds_unit_run *run, struct ds_error *err)
{
    struct piece piece = {
        .guest_bytes = run->first_unit * DS_SECTOR_BYTES,
        .length_bytes = run->unit_count * DS_SECTOR_BYTES,
        .file_bytes = run->file_offset_bytes,
    };
    struct piece *last;

    (void)err;
    /* The disk may end within its last sector's unit; it never does. */
    if (overlay->piece_count > 0) {
        last = &overlay->pieces[overlay->piece_count - 1];
        if (last->guest_bytes + last->length_bytes == piece.guest_bytes &&
            last->file_bytes + last->length_bytes == piece.file_bytes) {
            last->length_bytes += piece.length_bytes;
            return 0;
        }
    }
    if (overlay->piece_count == LINE_COUNT_MAX)
        overlay->lost_count++;
    else
        overlay->pieces[overlay->piece_count++] = piece;
    return 0;
}

static int fail_too_many(uint64_t count, struct ds_error *err)
{
    return ds_fail(err, DS_ERR_LIMIT,
                   "vmdk: descriptor: extent lines, have %" PRIu64
                   " or more expect at most %u: the data does not lie in "
                   "few enough pieces for an overlay; use "
                   "subformat=monolithicSparse",
                   count, LINE_COUNT_MAX);
}

static int add_line(struct vmdk_overlay *overlay, uint64_t size_bytes,
                    const char *name, uint64_t offset_bytes,
                    struct ds_error *err)
{
    if (overlay->line_count == LINE_COUNT_MAX)
        return fail_too_many(overlay->line_count + 1, err);
    for (size_t i = 0; i < overlay->line_count; i++)
        overlay->shares_file |= overlay->lines[i].name == name;
    overlay->lines[overlay->line_count++] = (struct vmdk_text_line){
        .size_bytes = size_bytes,
        .name = name,
        .offset_bytes = offset_bytes,
    };
    return 0;
}

/* Whatever two ranges of the guest hold in common, one would change by what
 * is written to the other. */
static int check_disjoint(const struct vmdk_overlay *overlay,
                          struct ds_error *err)
{
    for (size_t i = 0; i < overlay->piece_count; i++) {
        const struct piece *a = &overlay->pieces[i];

        for (size_t j = 0; j < i; j++) {
            const struct piece *b = &overlay->pieces[j];

            if (a->file_bytes < b->file_bytes + b->length_bytes &&
                b->file_bytes < a->file_bytes + a->length_bytes)
                return ds_fail(err, DS_ERR_UNSUPPORTED,
                               "vmdk: descriptor: extents, have guest offsets "
                               "%" PRIu64 " and %" PRIu64 " at one place "
                               "expect a place for each",
                               b->guest_bytes, a->guest_bytes);
        }
    }
    return 0;
}

static int add_zeros(struct vmdk_overlay *overlay, uint64_t begin, uint64_t end,
                     const char *name, struct ds_error *err)
{
    if (begin == end)
        return 0;
    overlay->zeros_end_bytes = end;
    return add_line(overlay, end - begin, name, begin, err);
}

static int make_lines(struct vmdk_overlay *overlay,
                      const struct ds_footprint *footprint,
                      struct ds_error *err)
{
    const char *data = footprint->file_names[1];
    const char *zeros = footprint->file_names[2];
    uint64_t position = 0;
    int result = 0;

    overlay->line_count = 0;
    overlay->zeros_end_bytes = 0;
    overlay->shares_file = false;
    for (size_t i = 0; i < overlay->piece_count && result == 0; i++) {
        const struct piece *piece = &overlay->pieces[i];

        result = add_zeros(overlay, position, piece->guest_bytes, zeros, err);
        if (result == 0)
            result = add_line(overlay, piece->length_bytes, data,
                              piece->file_bytes, err);
        position = piece->guest_bytes + piece->length_bytes;
    }
    if (result == 0)
        result = add_zeros(overlay, position, overlay->size_bytes, zeros, err);
    if (result == 0 && overlay->line_count == 0) /* a disk of no size */
        result = add_line(overlay, 0, data, 0, err);
    return result;
}

int vmdk_overlay_seal(struct vmdk_overlay *overlay,
                      const struct ds_footprint *footprint,
                      struct vmdk_text *text, uint32_t *file_count,
                      struct ds_seal *out, struct ds_error *err)
{
    int result;

    if (overlay->lost_count > 0)
        return fail_too_many(overlay->piece_count + overlay->lost_count, err);
    if (strlen(footprint->file_names[1]) > NAME_BYTES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vmdk: descriptor: extent name, have %zu bytes expect "
                       "at most %u",
                       strlen(footprint->file_names[1]), NAME_BYTES_MAX);
    result = check_disjoint(overlay, err);
    if (result == 0)
        result = make_lines(overlay, footprint, err);
    if (result != 0)
        return result;
    out->data_start_bytes = footprint->area_start_bytes;
    for (size_t i = 0; i < overlay->piece_count; i++)
        out->file_size_bytes[1] = ds_max_u64(
            out->file_size_bytes[1],
            overlay->pieces[i].file_bytes + overlay->pieces[i].length_bytes);
    out->file_size_bytes[2] = overlay->zeros_end_bytes;
    *file_count = overlay->zeros_end_bytes > 0 ? 3 : 2;
    text->lines = overlay->lines;
    text->line_count = overlay->line_count;
    text->remark = vmdk_overlay_note(overlay);
    return 0;
}

const char *vmdk_overlay_note(const struct vmdk_overlay *overlay)
{
    if (!overlay->shares_file)
        return NULL;
    return "several extents lie in one file, so that QEMU and whoever else "
           "locks a file once opens this disk read-only";
}
