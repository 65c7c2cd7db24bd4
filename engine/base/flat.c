/* SPDX-License-Identifier: Apache-2.0 */
#include "flat.h"

#include <assert.h>

#include "arith.h"
#include "fail.h"

/* DATA or ZERO from what the store says of the range, and where it ends. */
static void classify(const struct ds_physical_extent *physical, bool hole,
                     uint64_t offset, uint64_t limit, enum ds_extent_kind *kind,
                     uint64_t *length)
{
    uint64_t end;

    assert(physical->offset_bytes == offset && physical->length_bytes != 0);
    if (!ds_add_u64(offset, physical->length_bytes, &end) || end > limit)
        end = limit;
    *length = end - offset;
    /* An extent that is unwritten *and* doubtful may be about to change:
     * treat it as data, which is never wrong. */
    *kind = DS_EXTENT_DATA;
    if (hole ||
        (physical->flags & (DS_PHYSICAL_UNWRITTEN | DS_PHYSICAL_UNPROVABLE)) ==
            DS_PHYSICAL_UNWRITTEN)
        *kind = DS_EXTENT_ZERO;
}

int ds_flat_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                      uint32_t file_index, uint64_t guest_begin_bytes,
                      uint64_t file_begin_bytes, uint64_t length_bytes,
                      uint64_t guest_offset_bytes, struct ds_extent *out,
                      struct ds_error *err)
{
    struct ds_file *file = image->files[file_index];
    uint64_t into = guest_offset_bytes - guest_begin_bytes;
    uint64_t offset = file_begin_bytes + into;
    uint64_t end = file_begin_bytes + length_bytes;
    uint64_t limit = ds_min_u64(end, file->size_bytes);
    struct ds_physical_extent physical = { 0, 0, 0, 0 };
    struct ds_error fault = DS_ERROR_INIT;
    bool hole = false;
    int rc;

    assert(guest_offset_bytes >= guest_begin_bytes && into < length_bytes);
    assert(end > file_begin_bytes);
    out->guest_offset_bytes = guest_offset_bytes;
    if (offset >= limit) {
        out->length_bytes = end - offset;
        out->kind = DS_EXTENT_ZERO;
        out->file_index = DS_FILE_NONE;
        out->file_offset_bytes = 0;
        return 0;
    }
    out->file_index = file_index;
    out->file_offset_bytes = offset;

    rc = ds_physical_at(&cursor->physical, file, offset, limit, &physical,
                        &hole, &fault);
    if (rc == -DS_ERR_UNSUPPORTED) {
        out->kind = DS_EXTENT_DATA;
        out->length_bytes = limit - offset;
        return 0;
    }
    if (rc != 0) {
        if (err != NULL)
            *err = fault;
        return rc;
    }
    classify(&physical, hole, offset, limit, &out->kind, &out->length_bytes);
    return 0;
}
