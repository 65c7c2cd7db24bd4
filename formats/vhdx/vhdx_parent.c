/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent locator (2.6.2.6): a table of keys and values that says where
 * the parent may be and what its DataWriteGuid must be.
 *
 *   0       20                    20 + 12 * count
 *   | head  | entry | entry | ... | keys and values in UTF-16, anywhere
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "cleanup.h"
#include "fail.h"
#include "vhdx.h"

/* B04AEFB7-D19E-4A81-B789-25B8E9445913 (2.6.2.6.3) */
static const struct ds_guid locator_type_vhdx = {
    { 0xb0, 0x4a, 0xef, 0xb7, 0xd1, 0x9e, 0x4a, 0x81, 0xb7, 0x89, 0x25, 0xb8,
      0xe9, 0x44, 0x59, 0x13 }
};

enum key {
    KEY_PARENT_LINKAGE,
    KEY_PARENT_LINKAGE2,
    KEY_RELATIVE_PATH,
    KEY_VOLUME_PATH,
    KEY_ABSOLUTE_WIN32_PATH
};
#define KEY_COUNT 5

static const char *const key_names[KEY_COUNT] = {
    "parent_linkage", "parent_linkage2", "relative_path", "volume_path",
    "absolute_win32_path"
};

struct locator {
    struct ds_file *file;
    uint64_t offset_bytes; /* in the file */
    uint32_t length_bytes;
    uint8_t *bytes;
    bool has[KEY_COUNT];
    char values[KEY_COUNT][DS_NAME_BYTES_MAX]; /* empty: no text */
};

static void locator_free(struct locator **locator)
{
    if (*locator != NULL)
        free((*locator)->bytes);
    free(*locator);
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit = (char)(digit | 0x20);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* "{83ed0ec3-24c8-49a6-a959-5e4bd1288791}", in either case. */
static bool guid_parse(const char *text, struct ds_guid *out)
{
    bool braces = text[0] == '{';
    size_t count = 0;

    text += braces;
    while (count < sizeof(out->bytes)) {
        int high, low;

        if ((count == 4 || count == 6 || count == 8 || count == 10) &&
            *text++ != '-')
            return false;
        high = hex_digit(text[0]);
        low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0)
            return false;
        out->bytes[count++] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    return strcmp(text, braces ? "}" : "") == 0;
}

static int check_string(const struct locator *locator, uint32_t index,
                        uint32_t offset, uint32_t length, struct ds_error *err)
{
    if (length != 0 && ds_range_fits(offset, length, locator->length_bytes))
        return 0;
    return ds_fail_at(err, locator->file, locator->offset_bytes, DS_ERR_CORRUPT,
                      "vhdx: parent locator: string of entry %" PRIu32
                      ", have %" PRIu32 " bytes at %" PRIu32
                      " expect some within the item's %" PRIu32,
                      index, length, offset, locator->length_bytes);
}

/* Keys that we do not know are passed over, as the spec has it. */
static int take_entry(struct locator *locator, uint32_t index,
                      struct ds_error *err)
{
    struct vhdx_locator_entry_disk wire;
    char name[DS_NAME_BYTES_MAX];
    uint32_t key_offset, value_offset;
    uint16_t key_length, value_length;
    int result;

    memcpy(&wire,
           locator->bytes + sizeof(struct vhdx_locator_disk) +
               (size_t)index * sizeof(wire),
           sizeof(wire));
    key_offset = ds_le32_get(wire.KeyOffset);
    value_offset = ds_le32_get(wire.ValueOffset);
    key_length = ds_le16_get(wire.KeyLength);
    value_length = ds_le16_get(wire.ValueLength);
    result = check_string(locator, index, key_offset, key_length, err);
    if (result == 0)
        result = check_string(locator, index, value_offset, value_length, err);
    if (result != 0)
        return result;
    if (!ds_utf16_decode(locator->bytes + key_offset, key_length, false, name))
        return 0;
    for (unsigned i = 0; i < KEY_COUNT; i++) {
        if (strcmp(name, key_names[i]) != 0)
            continue;
        if (locator->has[i])
            return ds_fail_at(err, locator->file, locator->offset_bytes,
                              DS_ERR_CORRUPT,
                              "vhdx: parent locator: %s, have it twice expect "
                              "once",
                              name);
        locator->has[i] = true;
        if (!ds_utf16_decode(locator->bytes + value_offset, value_length, false,
                             locator->values[i]))
            locator->values[i][0] = '\0';
    }
    return 0;
}

static int take_entries(struct locator *locator, struct ds_error *err)
{
    const struct vhdx_locator_disk *wire =
        (const struct vhdx_locator_disk *)locator->bytes;
    uint64_t need = sizeof(*wire);
    struct ds_guid type;
    char text[DS_GUID_TEXT_BYTES];
    uint32_t count = 0;
    int result = 0;

    if (locator->length_bytes >= sizeof(*wire)) {
        type = vhdx_guid_get(wire->LocatorType);
        ds_guid_format(&type, text);
        if (!vhdx_guid_equal(&type, &locator_type_vhdx))
            return ds_fail_at(err, locator->file, locator->offset_bytes,
                              DS_ERR_UNSUPPORTED,
                              "vhdx: parent locator: LocatorType, have %s "
                              "expect that of a vhdx parent",
                              text);
        count = ds_le16_get(wire->KeyValueCount);
        need += (uint64_t)count * sizeof(struct vhdx_locator_entry_disk);
    }
    if (need > locator->length_bytes)
        return ds_fail_at(err, locator->file, locator->offset_bytes,
                          DS_ERR_CORRUPT,
                          "vhdx: parent locator: Length, have %" PRIu32
                          " expect at least %" PRIu64,
                          locator->length_bytes, need);
    for (uint32_t i = 0; i < count && result == 0; i++)
        result = take_entry(locator, i, err);
    return result;
}

static int take_linkage(const struct locator *locator, enum key key,
                        struct ds_guid *out, struct ds_error *err)
{
    if (locator->has[key] && guid_parse(locator->values[key], out))
        return 0;
    return ds_fail_at(err, locator->file, locator->offset_bytes, DS_ERR_CORRUPT,
                      "vhdx: parent locator: %s, have '%.64s' expect a guid",
                      key_names[key], locator->values[key]);
}

/* The relative path first; then what each path ends in, since disks are moved
 * together; absolute ones only where they are of our kind. */
static void collect_names(const struct locator *locator,
                          struct ds_parent_names *names)
{
    static const enum key paths[] = { KEY_RELATIVE_PATH,
                                      KEY_ABSOLUTE_WIN32_PATH,
                                      KEY_VOLUME_PATH };

    ds_parent_names_add_path(names, locator->values[KEY_RELATIVE_PATH]);
    for (unsigned i = 0; i < 3; i++)
        ds_parent_names_add_base(names, locator->values[paths[i]],
                                 locator->file->path);
    for (unsigned i = 1; i < 3; i++)
        if (locator->values[paths[i]][0] == '/')
            ds_parent_names_add_path(names, locator->values[paths[i]]);
}

int vhdx_parent_read(struct vhdx_image *vhdx, uint64_t offset_bytes,
                     uint32_t length_bytes, struct ds_error *err)
{
    ds_auto(locator_free) struct locator *locator = NULL;
    struct vhdx_parent *parent;
    int result = ds_budget_memory(
        vhdx->budget, vhdx->image.files[0], "vhdx: parent locator: bytes",
        sizeof(*locator) + sizeof(*parent) + length_bytes, err);

    if (result != 0)
        return result;
    locator = calloc(1, sizeof(*locator));
    parent = calloc(1, sizeof(*parent));
    vhdx->parent = parent;
    if (locator == NULL || parent == NULL)
        return ds_fail_memory(err);
    parent->offset_bytes = offset_bytes;
    locator->file = vhdx->image.files[0];
    locator->offset_bytes = offset_bytes;
    locator->length_bytes = length_bytes; /* items have 1 MiB at most */
    locator->bytes = calloc(1, (size_t)length_bytes + 1);
    if (locator->bytes == NULL)
        return ds_fail_memory(err);
    result = vhdx_read(vhdx, offset_bytes, locator->bytes, length_bytes, err);
    if (result == 0)
        result = take_entries(locator, err);
    if (result == 0)
        result =
            take_linkage(locator, KEY_PARENT_LINKAGE, &parent->linkage, err);
    if (result == 0 && locator->has[KEY_PARENT_LINKAGE2])
        result =
            take_linkage(locator, KEY_PARENT_LINKAGE2, &parent->linkage2, err);
    if (result == 0)
        collect_names(locator, &parent->names);
    return result;
}

bool vhdx_parent(struct ds_image *image, struct ds_parent *out)
{
    const struct vhdx_image *vhdx = (const struct vhdx_image *)image;

    if (!vhdx_has_parent(vhdx))
        return false;
    ds_parent_names_list(&vhdx->parent->names, out);
    out->format = vhdx_format_ops.name;
    return true;
}

/* 2.6.2.6.3: the parent's DataWriteGuid is one of the two. */
int vhdx_check_parent(struct ds_image *image, const struct ds_image *parent,
                      struct ds_error *err)
{
    const struct vhdx_parent *child = ((struct vhdx_image *)image)->parent;
    const struct vhdx_image *vhdx = (const struct vhdx_image *)parent;
    const struct ds_guid *have;
    char have_text[DS_GUID_TEXT_BYTES], expect_text[DS_GUID_TEXT_BYTES];

    if (parent->format != &vhdx_format_ops)
        return ds_fail_at(
            err, image->files[0], child->offset_bytes, DS_ERR_CORRUPT,
            "vhdx: parent: format, have %s expect vhdx", parent->format->name);
    have = &vhdx->header.data_write_guid;
    if (vhdx_guid_equal(have, &child->linkage) ||
        (!vhdx_guid_is_zero(&child->linkage2) &&
         vhdx_guid_equal(have, &child->linkage2)))
        return 0;
    ds_guid_format(have, have_text);
    ds_guid_format(&child->linkage, expect_text);
    return ds_fail_at(err, parent->files[0],
                      vhdx->header_index == 1 ? VHDX_HEADER_1_OFFSET_BYTES
                                              : VHDX_HEADER_2_OFFSET_BYTES,
                      DS_ERR_CORRUPT,
                      "vhdx: parent: DataWriteGuid, have %s expect %s, as its "
                      "child's parent_linkage",
                      have_text, expect_text);
}
