/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata region (2.6): a table of items, of which five describe every
 * disk. Items of users are tolerated, unknown required ones refused. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fail.h"
#include "vhdx.h"

struct items {
    struct vhdx_metadata_entry entries[VHDX_ENTRY_COUNT_MAX];
    uint32_t entry_count;
    const struct vhdx_metadata_entry *known[VHDX_ITEM_COUNT];
};

/* Where in the file entry `index` of the table lies. */
static uint64_t entry_offset(const struct vhdx_image *vhdx, uint32_t index)
{
    return vhdx->metadata.offset_bytes +
           sizeof(struct vhdx_metadata_table_disk) +
           (uint64_t)index * sizeof(struct vhdx_metadata_entry_disk);
}

static int check_entry(const struct vhdx_image *vhdx,
                       const struct vhdx_metadata_entry *entry,
                       uint64_t offset_bytes, struct ds_error *err)
{
    struct ds_file *file = vhdx->image.files[0];

    if (entry->length_bytes == 0) {
        if (entry->offset_bytes == 0)
            return 0; /* present but empty */
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vhdx: metadata table: Offset of an empty item, have "
                          "%" PRIu64 " expect 0",
                          entry->offset_bytes);
    }
    if (entry->length_bytes > VHDX_ITEM_BYTES_MAX ||
        entry->offset_bytes < VHDX_METADATA_TABLE_BYTES ||
        !ds_range_fits(entry->offset_bytes, entry->length_bytes,
                       vhdx->metadata.length_bytes))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vhdx: metadata table: item, have %" PRIu64
                          "+%" PRIu64 " expect at most 1 MiB from 65536 to "
                          "%" PRIu64,
                          entry->offset_bytes, entry->length_bytes,
                          vhdx->metadata.length_bytes);
    return 0;
}

/* Find the entry's rule, hold it to its length, refuse what is required and
 * not known. */
static int match_entry(struct vhdx_image *vhdx, struct items *items,
                       const struct vhdx_metadata_entry *entry,
                       uint64_t offset_bytes, struct ds_error *err)
{
    struct ds_file *file = vhdx->image.files[0];
    char text[DS_GUID_TEXT_BYTES];

    if ((entry->flags & VHDX_ITEM_IS_USER) != 0) {
        vhdx->user_item_count++;
    } else {
        for (unsigned i = 0; i < VHDX_ITEM_COUNT; i++) {
            const struct vhdx_item_rule *rule = &vhdx_item_rules[i];

            if (!vhdx_guid_equal(&entry->item_id, &rule->item_id))
                continue;
            if (items->known[i] != NULL)
                return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                                  "vhdx: metadata table: %s twice", rule->name);
            if (rule->length_bytes != 0 &&
                entry->length_bytes != rule->length_bytes)
                return ds_fail_at(
                    err, file, offset_bytes, DS_ERR_CORRUPT,
                    "vhdx: %s: Length, have %" PRIu64 " expect %" PRIu32,
                    rule->name, entry->length_bytes, rule->length_bytes);
            items->known[i] = entry;
            return 0;
        }
    }
    if ((entry->flags & VHDX_ITEM_IS_REQUIRED) == 0)
        return 0;
    ds_guid_format(&entry->item_id, text);
    return ds_fail_at(err, file, offset_bytes, DS_ERR_UNSUPPORTED,
                      "vhdx: metadata table: unknown item that is required, "
                      "have %s",
                      text);
}

/* 2.6.1.2: items lie apart. At most 2047 of them. */
static int check_apart(const struct vhdx_image *vhdx, const struct items *items,
                       struct ds_error *err)
{
    for (uint32_t i = 0; i < items->entry_count; i++) {
        const struct vhdx_metadata_entry *left = &items->entries[i];

        for (uint32_t j = i + 1; j < items->entry_count; j++) {
            const struct vhdx_metadata_entry *right = &items->entries[j];

            if (left->offset_bytes <
                    right->offset_bytes + right->length_bytes &&
                right->offset_bytes < left->offset_bytes + left->length_bytes)
                return ds_fail_at(
                    err, vhdx->image.files[0], entry_offset(vhdx, j),
                    DS_ERR_CORRUPT,
                    "vhdx: metadata table: items overlap, have %" PRIu64
                    "+%" PRIu64 " and %" PRIu64 "+%" PRIu64,
                    left->offset_bytes, left->length_bytes, right->offset_bytes,
                    right->length_bytes);
        }
    }
    return 0;
}

static int read_table(struct vhdx_image *vhdx, struct items *items,
                      const uint8_t *bytes, struct ds_error *err)
{
    struct ds_file *file = vhdx->image.files[0];
    uint64_t offset = vhdx->metadata.offset_bytes;
    struct vhdx_metadata_table_disk wire;

    memcpy(&wire, bytes, sizeof(wire));
    if (memcmp(wire.Signature, "metadata", sizeof(wire.Signature)) != 0)
        return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                          "vhdx: metadata table: Signature, expect "
                          "'metadata'");
    items->entry_count = ds_le16_get(wire.EntryCount);
    if (items->entry_count > VHDX_ENTRY_COUNT_MAX)
        return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                          "vhdx: metadata table: EntryCount, have %" PRIu32
                          " expect at most %u",
                          items->entry_count, VHDX_ENTRY_COUNT_MAX);
    for (uint32_t i = 0; i < items->entry_count; i++) {
        struct vhdx_metadata_entry_disk entry_wire;
        int result;

        memcpy(&entry_wire, bytes + sizeof(wire) + i * sizeof(entry_wire),
               sizeof(entry_wire));
        items->entries[i] = vhdx_metadata_entry_decode(&entry_wire);
        result =
            check_entry(vhdx, &items->entries[i], entry_offset(vhdx, i), err);
        if (result == 0)
            result = match_entry(vhdx, items, &items->entries[i],
                                 entry_offset(vhdx, i), err);
        if (result != 0)
            return result;
    }
    if (vhdx->user_item_count > VHDX_USER_ENTRY_COUNT_MAX)
        return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                          "vhdx: metadata table: user items, have %" PRIu32
                          " expect at most %u",
                          vhdx->user_item_count, VHDX_USER_ENTRY_COUNT_MAX);
    return check_apart(vhdx, items, err);
}

/* The bytes of one of the five items, whose length is known to be right. */
static int read_item(struct vhdx_image *vhdx, const struct items *items,
                     enum vhdx_item item, void *bytes, struct ds_error *err)
{
    const struct vhdx_metadata_entry *entry = items->known[item];

    if (entry == NULL)
        return ds_fail_at(err, vhdx->image.files[0],
                          vhdx->metadata.offset_bytes, DS_ERR_CORRUPT,
                          "vhdx: metadata table: no %s",
                          vhdx_item_rules[item].name);
    return vhdx_read(vhdx, vhdx->metadata.offset_bytes + entry->offset_bytes,
                     bytes, vhdx_item_rules[item].length_bytes, err);
}

static int read_items(struct vhdx_image *vhdx, const struct items *items,
                      struct ds_error *err)
{
    struct vhdx_file_parameters_disk file_parameters = { 0 };
    ds_le64 size = { 0 };
    vhdx_guid_disk id = { 0 };
    ds_le32 logical = { 0 }, physical = { 0 };
    void *const wires[VHDX_ITEM_NEEDED_COUNT] = {
        [VHDX_ITEM_FILE_PARAMETERS] = &file_parameters,
        [VHDX_ITEM_VIRTUAL_DISK_SIZE] = &size,
        [VHDX_ITEM_LOGICAL_SECTOR_SIZE] = &logical,
        [VHDX_ITEM_PHYSICAL_SECTOR_SIZE] = &physical,
        [VHDX_ITEM_VIRTUAL_DISK_ID] = &id,
    };

    for (unsigned i = 0; i < VHDX_ITEM_NEEDED_COUNT; i++) {
        int result = read_item(vhdx, items, (enum vhdx_item)i, wires[i], err);

        if (result != 0)
            return result;
    }
    vhdx->parameters = (struct vhdx_parameters){
        .block_bytes = ds_le32_get(file_parameters.BlockSize),
        .flags = ds_le32_get(file_parameters.Flags),
        .virtual_disk_bytes = ds_le64_get(size),
        .virtual_disk_id = vhdx_guid_get(id),
        .logical_sector_bytes = ds_le32_get(logical),
        .physical_sector_bytes = ds_le32_get(physical),
    };
    return 0;
}

/* 2.6.2.6: there when the file has a parent. What a file without one says
 * here is nobody's concern. */
static int read_locator(struct vhdx_image *vhdx, const struct items *items,
                        struct ds_error *err)
{
    const struct vhdx_metadata_entry *entry =
        items->known[VHDX_ITEM_PARENT_LOCATOR];

    if (entry == NULL)
        return ds_fail_at(err, vhdx->image.files[0],
                          vhdx->metadata.offset_bytes, DS_ERR_CORRUPT,
                          "vhdx: metadata table: no parent locator, expect one "
                          "in a differencing disk (HasParent)");
    return vhdx_parent_read(vhdx,
                            vhdx->metadata.offset_bytes + entry->offset_bytes,
                            (uint32_t)entry->length_bytes, err);
}

int vhdx_metadata_read(struct vhdx_image *vhdx, struct ds_error *err)
{
    ds_autofree struct items *items = calloc(1, sizeof(*items));
    ds_autofree uint8_t *bytes = malloc(VHDX_METADATA_TABLE_BYTES);
    uint64_t offset = vhdx->metadata.offset_bytes;
    uint64_t item_offset;
    int result;

    if (items == NULL || bytes == NULL)
        return ds_fail_memory(err);
    if (vhdx->metadata.length_bytes == 0)
        return ds_fail_at(err, vhdx->image.files[0], offset, DS_ERR_CORRUPT,
                          "vhdx: region table: Length of the metadata region, "
                          "have 0 expect 1 MiB or more");
    result = vhdx_read(vhdx, offset, bytes, VHDX_METADATA_TABLE_BYTES, err);
    if (result == 0)
        result = read_table(vhdx, items, bytes, err);
    if (result == 0)
        result = read_items(vhdx, items, err);
    if (result != 0)
        return result;
    item_offset =
        offset + items->known[VHDX_ITEM_FILE_PARAMETERS]->offset_bytes;
    result = vhdx_parameters_check(&vhdx->parameters, vhdx->image.files[0],
                                   item_offset, err);
    if (result == 0 && vhdx_has_parent(vhdx))
        result = read_locator(vhdx, items, err);
    return result;
}
