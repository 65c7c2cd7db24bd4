/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening: file type identifier, headers, log, region tables, metadata, and
 * whether the BAT is large enough. The order is the spec's: nothing but the
 * headers and the log is believed before the log is replayed (2.3.3).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "cleanup.h"
#include "fail.h"
#include "vhdx.h"

int vhdx_read(struct vhdx_image *vhdx, uint64_t offset_bytes, void *buffer,
              size_t length_bytes, struct ds_error *err)
{
    struct ds_file *file = vhdx->image.files[0];
    size_t there = length_bytes;
    int result = 0;

    if (ds_range_fits(offset_bytes, length_bytes, vhdx_file_bytes(vhdx)))
        there = (size_t)ds_min_u64(
            length_bytes,
            file->size_bytes - ds_min_u64(offset_bytes, file->size_bytes));
    if (there > 0)
        result = ds_file_read(file, offset_bytes, buffer, there, err);
    if (result == 0)
        memset((uint8_t *)buffer + there, 0, length_bytes - there);
    if (result == 0)
        vhdx_overlay_apply(&vhdx->overlay, offset_bytes, buffer, length_bytes);
    return result;
}

/* UTF-16 to UTF-8 for a report; what is no printable character of the basic
 * plane becomes '?'. The spec asks for no particular text. */
static void creator_text(const struct vhdx_identifier_disk *wire,
                         char text[VHDX_CREATOR_TEXT_BYTES])
{
    size_t used = 0;

    for (size_t i = 0; i < VHDX_CREATOR_UNITS; i++) {
        unsigned unit = ds_le16_get(wire->Creator[i]);

        if (unit == 0)
            break;
        if (unit < 0x20 || (unit >= 0x7f && unit < 0xa0) ||
            (unit >= 0xd800 && unit < 0xe000))
            unit = '?';
        if (unit < 0x80) {
            text[used++] = (char)unit;
        } else if (unit < 0x800) {
            text[used++] = (char)(0xc0 | unit >> 6);
            text[used++] = (char)(0x80 | (unit & 0x3f));
        } else {
            text[used++] = (char)(0xe0 | unit >> 12);
            text[used++] = (char)(0x80 | (unit >> 6 & 0x3f));
            text[used++] = (char)(0x80 | (unit & 0x3f));
        }
    }
    text[used] = '\0';
}

static int read_identifier(struct vhdx_image *vhdx, struct ds_error *err)
{
    struct vhdx_identifier_disk wire;
    struct ds_file *file = vhdx->image.files[0];
    int result;

    if (file->size_bytes < VHDX_HEADER_SECTION_BYTES)
        return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                          "vhdx: header section: truncated file, have %" PRIu64
                          " bytes expect 1 MiB or more",
                          file->size_bytes);
    result = ds_file_read(file, VHDX_IDENTIFIER_OFFSET_BYTES, &wire,
                          sizeof(wire), err);
    if (result != 0)
        return result;
    if (memcmp(wire.Signature, "vhdxfile", sizeof(wire.Signature)) != 0)
        return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                          "vhdx: file type identifier: Signature, expect "
                          "'vhdxfile'");
    creator_text(&wire, vhdx->creator);
    return 0;
}

static bool header_same(const struct vhdx_header *left,
                        const struct vhdx_header *right)
{
    return vhdx_guid_equal(&left->file_write_guid, &right->file_write_guid) &&
           vhdx_guid_equal(&left->data_write_guid, &right->data_write_guid) &&
           vhdx_guid_equal(&left->log_guid, &right->log_guid) &&
           left->log_version == right->log_version &&
           left->version == right->version &&
           left->log_length_bytes == right->log_length_bytes &&
           left->log_offset_bytes == right->log_offset_bytes;
}

/* 2.2.2: the valid one with the higher sequence number. Two with the same
 * number must be the same header (Disk2vhd writes them so). */
static int read_headers(struct vhdx_image *vhdx, struct ds_error *err)
{
    static const uint64_t offsets[2] = { VHDX_HEADER_1_OFFSET_BYTES,
                                         VHDX_HEADER_2_OFFSET_BYTES };
    struct ds_file *file = vhdx->image.files[0];
    struct vhdx_header headers[2] = { 0 };
    bool *valid = vhdx->header_valid;
    unsigned pick;

    for (unsigned i = 0; i < 2; i++) {
        struct vhdx_header_disk wire;
        int result = ds_file_read(file, offsets[i], &wire, sizeof(wire), err);

        if (result != 0)
            return result;
        valid[i] = vhdx_header_valid(&wire);
        if (valid[i])
            headers[i] = vhdx_header_decode(&wire);
    }
    if (!valid[0] && !valid[1])
        return ds_fail_at(err, file, offsets[0], DS_ERR_CORRUPT,
                          "vhdx: header: neither of the two has the right "
                          "signature and checksum");
    if (valid[0] && valid[1] &&
        headers[0].sequence_number == headers[1].sequence_number &&
        !header_same(&headers[0], &headers[1]))
        return ds_fail_at(err, file, offsets[1], DS_ERR_CORRUPT,
                          "vhdx: header: two different ones with the same "
                          "SequenceNumber, have %" PRIu64 " twice",
                          headers[0].sequence_number);
    pick = !valid[0] || (valid[1] && headers[1].sequence_number >
                                         headers[0].sequence_number);
    vhdx->header = headers[pick];
    vhdx->header_index = pick + 1;
    return vhdx_header_check(&vhdx->header, file, offsets[pick],
                             file->size_bytes, err);
}

/* The first table with the right signature and checksum, after the replay. */
static int read_region_table(struct vhdx_image *vhdx, uint8_t *bytes,
                             uint64_t *offset_bytes, struct ds_error *err)
{
    static const uint64_t offsets[2] = { VHDX_REGION_TABLE_1_OFFSET_BYTES,
                                         VHDX_REGION_TABLE_2_OFFSET_BYTES };

    for (unsigned i = 2; i-- > 0;) {
        struct vhdx_region_table_disk wire;
        int result =
            vhdx_read(vhdx, offsets[i], bytes, VHDX_REGION_TABLE_BYTES, err);

        if (result != 0)
            return result;
        memcpy(&wire, bytes, sizeof(wire));
        vhdx->region_table_valid[i] =
            memcmp(wire.Signature, "regi", 4) == 0 &&
            ds_le32_get(wire.Checksum) ==
                vhdx_checksum(bytes, VHDX_REGION_TABLE_BYTES);
        if (vhdx->region_table_valid[i])
            vhdx->region_table_index = i + 1;
    }
    if (vhdx->region_table_index == 0)
        return ds_fail_at(err, vhdx->image.files[0], offsets[0], DS_ERR_CORRUPT,
                          "vhdx: region table: neither of the two has the "
                          "right signature and checksum");
    *offset_bytes = offsets[vhdx->region_table_index - 1];
    return vhdx_read(vhdx, *offset_bytes, bytes, VHDX_REGION_TABLE_BYTES, err);
}

/* Take one region; the known ones are remembered by name. */
static int add_region(struct vhdx_image *vhdx,
                      const struct vhdx_region_entry *entry,
                      uint64_t offset_bytes, struct ds_error *err)
{
    struct ds_file *file = vhdx->image.files[0];
    struct vhdx_region_entry *known = NULL;
    char text[DS_GUID_TEXT_BYTES];
    int result;

    if (vhdx_guid_equal(&entry->guid, &vhdx_region_bat_guid))
        known = &vhdx->bat;
    else if (vhdx_guid_equal(&entry->guid, &vhdx_region_metadata_guid))
        known = &vhdx->metadata;
    ds_guid_format(&entry->guid, text);
    if (known == NULL && entry->required)
        return ds_fail_at(err, file, offset_bytes, DS_ERR_UNSUPPORTED,
                          "vhdx: region table: unknown region that is "
                          "required, have %s",
                          text);
    if (known != NULL && known->offset_bytes != 0)
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vhdx: region table: the same region twice, have %s",
                          text);
    result = vhdx_region_entry_check(entry, file, offset_bytes,
                                     vhdx_file_bytes(vhdx), err);
    if (result != 0)
        return result;
    if (known != NULL)
        *known = *entry;
    vhdx->regions[vhdx->region_count++] = *entry;
    return 0;
}

static bool overlap(const struct vhdx_region_entry *left,
                    const struct vhdx_region_entry *right)
{
    return left->length_bytes != 0 && right->length_bytes != 0 &&
           left->offset_bytes < right->offset_bytes + right->length_bytes &&
           right->offset_bytes < left->offset_bytes + left->length_bytes;
}

/* 2.2.3.2: regions and log lie apart. At most 2048 of them. */
static int check_apart(const struct vhdx_image *vhdx, uint64_t table_offset,
                       struct ds_error *err)
{
    for (size_t i = 0; i < vhdx->region_count; i++) {
        const struct vhdx_region_entry *left = &vhdx->regions[i];

        for (size_t j = i + 1; j < vhdx->region_count; j++) {
            const struct vhdx_region_entry *right = &vhdx->regions[j];

            if (overlap(left, right))
                return ds_fail_at(
                    err, vhdx->image.files[0], table_offset, DS_ERR_CORRUPT,
                    "vhdx: region table: regions or log overlap, have %" PRIu64
                    "+%" PRIu64 " and %" PRIu64 "+%" PRIu64,
                    left->offset_bytes, left->length_bytes, right->offset_bytes,
                    right->length_bytes);
        }
    }
    return 0;
}

static int read_regions(struct vhdx_image *vhdx, struct ds_error *err)
{
    ds_autofree uint8_t *bytes = malloc(VHDX_REGION_TABLE_BYTES);
    struct ds_file *file = vhdx->image.files[0];
    struct vhdx_region_table_disk wire;
    uint64_t table_offset = 0;
    uint32_t entry_count;
    int result;

    if (bytes == NULL)
        return ds_fail_memory(err);
    result = read_region_table(vhdx, bytes, &table_offset, err);
    if (result != 0)
        return result;
    memcpy(&wire, bytes, sizeof(wire));
    entry_count = ds_le32_get(wire.EntryCount);
    if (entry_count > VHDX_ENTRY_COUNT_MAX)
        return ds_fail_at(err, file, table_offset, DS_ERR_CORRUPT,
                          "vhdx: region table: EntryCount, have %" PRIu32
                          " expect at most %u",
                          entry_count, VHDX_ENTRY_COUNT_MAX);
    result = ds_budget_memory(vhdx->budget, file,
                              "vhdx: region table: bytes of regions",
                              (entry_count + 1) * sizeof(*vhdx->regions), err);
    if (result != 0)
        return result;
    vhdx->regions = calloc(entry_count + 1, sizeof(*vhdx->regions));
    if (vhdx->regions == NULL)
        return ds_fail_memory(err);
    for (uint32_t i = 0; i < entry_count; i++) {
        size_t at = sizeof(wire) + i * sizeof(struct vhdx_region_entry_disk);
        struct vhdx_region_entry_disk entry_wire;
        struct vhdx_region_entry entry;

        memcpy(&entry_wire, bytes + at, sizeof(entry_wire));
        entry = vhdx_region_entry_decode(&entry_wire);
        result = add_region(vhdx, &entry, table_offset + at, err);
        if (result != 0)
            return result;
    }
    if (vhdx->bat.offset_bytes == 0 || vhdx->metadata.offset_bytes == 0)
        return ds_fail_at(err, file, table_offset, DS_ERR_CORRUPT,
                          "vhdx: region table: no %s region",
                          vhdx->bat.offset_bytes == 0 ? "bat" : "metadata");
    /* The log is no region of the table; a zero GUID marks it. */
    vhdx->regions[vhdx->region_count++] = (struct vhdx_region_entry){
        .offset_bytes = vhdx->header.log_offset_bytes,
        .length_bytes = vhdx->header.log_length_bytes,
    };
    return check_apart(vhdx, table_offset, err);
}

static bool inside(const struct vhdx_patch *patch, uint64_t offset_bytes,
                   uint64_t length_bytes)
{
    return patch->offset_bytes >= offset_bytes &&
           patch->offset_bytes + patch->length_bytes <=
               offset_bytes + length_bytes;
}

/* "The log MUST be used to perform updates to all metadata except the header
 * and MUST NOT be used for updates to the payload blocks" (2.3). The BAT says
 * where the sector bitmaps are, so this comes last. Patches to what we read
 * through the overlay are honoured, any other would be lost. */
static int check_patches(const struct vhdx_image *vhdx, struct ds_error *err)
{
    for (size_t i = 0; i < vhdx->overlay.patch_count; i++) {
        const struct vhdx_patch *patch = &vhdx->overlay.patches[i];

        if (inside(patch, VHDX_REGION_TABLE_1_OFFSET_BYTES,
                   2 * VHDX_REGION_TABLE_BYTES) ||
            inside(patch, vhdx->bat.offset_bytes, vhdx->bat.length_bytes) ||
            inside(patch, vhdx->metadata.offset_bytes,
                   vhdx->metadata.length_bytes) ||
            vhdx_bitmaps_hold(vhdx, patch->offset_bytes, patch->length_bytes))
            continue;
        return ds_fail_at(err, vhdx->image.files[0],
                          vhdx->header.log_offset_bytes, DS_ERR_UNSUPPORTED,
                          "vhdx: log: replay into other than region tables, "
                          "metadata, bat and sector bitmaps is not "
                          "supported, have %" PRIu64 "+%" PRIu64,
                          patch->offset_bytes, patch->length_bytes);
    }
    return 0;
}

/* 2.5: the BAT reaches the last payload block. */
static int check_bat(struct vhdx_image *vhdx, struct ds_error *err)
{
    uint64_t need;

    vhdx->geometry = vhdx_geometry_make(&vhdx->parameters);
    need = vhdx->geometry.bat_entry_count * VHDX_BAT_ENTRY_BYTES;
    if (vhdx->bat.length_bytes < need)
        return ds_fail_at(err, vhdx->image.files[0], vhdx->bat.offset_bytes,
                          DS_ERR_CORRUPT,
                          "vhdx: bat: too small for the disk, have %" PRIu64
                          " bytes expect %" PRIu64,
                          vhdx->bat.length_bytes, need);
    vhdx->image.size_bytes = vhdx->parameters.virtual_disk_bytes;
    return 0;
}

int vhdx_open(struct ds_file *file, const struct ds_open_context *context,
              struct ds_image **out, struct ds_error *err)
{
    struct vhdx_image *vhdx = calloc(1, sizeof(*vhdx));
    int result;

    if (vhdx == NULL)
        return ds_fail_memory(err);
    vhdx->image.format = &vhdx_format_ops;
    vhdx->image.file_count = 1;
    vhdx->image.files[0] = file;
    vhdx->budget = context->budget;
    result = read_identifier(vhdx, err);
    if (result == 0)
        result = read_headers(vhdx, err);
    if (result == 0 && !vhdx_guid_is_zero(&vhdx->header.log_guid))
        result = vhdx_log_load(file, &vhdx->header, vhdx->budget,
                               &vhdx->overlay, err);
    if (result == 0)
        result = read_regions(vhdx, err);
    if (result == 0)
        result = vhdx_metadata_read(vhdx, err);
    if (result == 0)
        result = check_bat(vhdx, err);
    if (result == 0 && vhdx_has_parent(vhdx))
        result = vhdx_bitmaps_load(vhdx, err);
    if (result == 0)
        result = check_patches(vhdx, err);
    if (result != 0) {
        vhdx_close(&vhdx->image);
        return result;
    }
    vhdx->budget = NULL;
    *out = &vhdx->image;
    return 0;
}

void vhdx_close(struct ds_image *image)
{
    struct vhdx_image *vhdx = (struct vhdx_image *)image;

    vhdx_overlay_free(&vhdx->overlay);
    free(vhdx->regions);
    free(vhdx->parent);
    free(vhdx->bitmap_offsets);
    free(vhdx);
}
