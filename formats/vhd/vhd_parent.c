/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A differencing disk's parent: where it may be found and whether it is the
 * right one.
 *
 *   dynamic header   parent id, time stamp, name; 8 locators ---> paths,
 *                    each anywhere in the file, coded as its platform does
 *
 * The id decides. The time stamp cannot: the spec means the parent file's
 * time of modification, which does not outlive a copy. See SPEC.md, "Parent".
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "budget.h"
#include "cleanup.h"
#include "fail.h"
#include "vhd_read.h"

/* How a parent may be older by its own footer than its child believes: hosts
 * whose clock or time zone was wrong. */
#define TIME_STAMP_SLACK_SECONDS UINT32_C(86400)

enum encoding { ENCODING_UTF16_LE, ENCODING_ASCII, ENCODING_URL };

/* "Platform Code": in the order in which the paths are tried. "Mac " is an
 * alias record of Mac OS and holds no path that we could read. */
static const struct {
    char code[5];
    enum encoding encoding;
    bool relative;
} platforms[] = {
    { "W2ru", ENCODING_UTF16_LE, true },  { "Wi2r", ENCODING_ASCII, true },
    { "W2ku", ENCODING_UTF16_LE, false }, { "Wi2k", ENCODING_ASCII, false },
    { "MacX", ENCODING_URL, false },
};
#define PLATFORM_COUNT (sizeof(platforms) / sizeof(platforms[0]))

static bool platform_known(const struct vhd_parent_locator_disk *disk)
{
    for (size_t i = 0; i < PLATFORM_COUNT; i++)
        if (memcmp(disk->platform_code, platforms[i].code, 4) == 0)
            return true;
    return memcmp(disk->platform_code, "Mac ", 4) == 0;
}

/* Locators of no or unknown platforms are not looked at. */
static int locator_take(struct vhd_image *image,
                        const struct vhd_header_disk *disk, unsigned index,
                        struct ds_error *err)
{
    const struct vhd_parent_locator_disk *locator =
        &disk->parent_locators[index];
    const struct vhd_layout *layout = &image->layout;
    uint64_t offset = ds_be64_get(locator->platform_data_offset);
    uint32_t length = ds_be32_get(locator->platform_data_length);
    uint64_t at = layout->header_offset_bytes +
                  offsetof(struct vhd_header_disk, parent_locators) +
                  index * sizeof(*locator);
    struct ds_file *file = image->base.files[0];

    if (!platform_known(locator) || length == 0)
        return 0;
    if (length > VHD_LOCATOR_BYTES_MAX)
        return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                          "vhd: parent locator %u: data length, have %" PRIu32
                          " expect at most %u",
                          index, length, VHD_LOCATOR_BYTES_MAX);
    if (offset < layout->head_end_bytes ||
        !ds_range_fits(offset, length, layout->data_end_bytes))
        return ds_fail_at(
            err, file, at, DS_ERR_CORRUPT,
            "vhd: parent locator %u: range, have %" PRIu32 " bytes at %" PRIu64
            " expect it between the footers, %" PRIu64 " to %" PRIu64,
            index, length, offset, layout->head_end_bytes,
            layout->data_end_bytes);
    image->parent->locators[index] = (struct vhd_locator){ offset, length };
    return 0;
}

static bool ascii_decode(const uint8_t *bytes, size_t length,
                         char text[DS_NAME_BYTES_MAX])
{
    size_t used = strnlen((const char *)bytes, length);

    if (used == 0 || used >= DS_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < used; i++)
        if (bytes[i] < 0x20 || bytes[i] >= 0x7f)
            return false;
    memcpy(text, bytes, used);
    text[used] = '\0';
    return true;
}

static int hex_digit(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* "file://host/path", UTF-8 "conforming to RFC 2396": the path alone. */
static bool url_decode(const uint8_t *bytes, size_t length,
                       char text[DS_NAME_BYTES_MAX])
{
    static const char scheme[] = "file://";
    size_t at = sizeof(scheme) - 1, used = 0;

    length = strnlen((const char *)bytes, length);
    if (length <= at || memcmp(bytes, scheme, at) != 0)
        return false;
    while (at < length && bytes[at] != '/')
        at++; /* the host, or the "." of a relative path */
    while (at < length && used + 1 < DS_NAME_BYTES_MAX) {
        int high = at + 2 < length ? hex_digit(bytes[at + 1]) : -1;
        int low = at + 2 < length ? hex_digit(bytes[at + 2]) : -1;

        if (bytes[at] == '%' && high >= 0 && low >= 0) {
            text[used++] = (char)(high << 4 | low);
            at += 3;
        } else {
            text[used++] = (char)bytes[at++];
        }
    }
    text[used] = '\0';
    return used > 1 && ds_name_is_plain(text);
}

static bool locator_decode(enum encoding encoding, const uint8_t *bytes,
                           size_t length, char text[DS_NAME_BYTES_MAX])
{
    switch (encoding) {
    case ENCODING_UTF16_LE:
        return ds_utf16_decode(bytes, length, false, text);
    case ENCODING_ASCII:
        return ascii_decode(bytes, length, text);
    case ENCODING_URL:
        return url_decode(bytes, length, text);
    }
    return false;
}

/* The path that the first locator of a platform holds. *found: it is text. */
static int platform_path(struct vhd_image *image,
                         const struct vhd_header_disk *disk, size_t platform,
                         uint8_t *buffer, char text[DS_NAME_BYTES_MAX],
                         bool *found, struct ds_error *err)
{
    *found = false;
    for (unsigned i = 0; i < VHD_PARENT_LOCATOR_COUNT; i++) {
        const struct vhd_locator *locator = &image->parent->locators[i];
        int result;

        if (locator->length_bytes == 0 ||
            memcmp(disk->parent_locators[i].platform_code,
                   platforms[platform].code, 4) != 0)
            continue;
        result = ds_file_read(image->base.files[0], locator->offset_bytes,
                              buffer, locator->length_bytes, err);
        *found =
            result == 0 && locator_decode(platforms[platform].encoding, buffer,
                                          locator->length_bytes, text);
        return result;
    }
    return 0;
}

/*
 * Paths that mean something here first: the relative ones, and absolute ones
 * of a system with our kind of paths. Then what every path ends in, since
 * disks are moved together; then the header's own name.
 */
static int names_collect(struct vhd_image *image,
                         const struct vhd_header_disk *disk,
                         struct ds_error *err)
{
    ds_autofree uint8_t *buffer = malloc(VHD_LOCATOR_BYTES_MAX);
    ds_autofree char(*paths)[DS_NAME_BYTES_MAX] =
        calloc(PLATFORM_COUNT, DS_NAME_BYTES_MAX);
    struct ds_parent_names *names = &image->parent->names;
    const char *own = image->base.files[0]->path;
    bool found[PLATFORM_COUNT];

    if (buffer == NULL || paths == NULL)
        return ds_fail_memory(err);
    for (size_t i = 0; i < PLATFORM_COUNT; i++) {
        int result =
            platform_path(image, disk, i, buffer, paths[i], &found[i], err);

        if (result != 0)
            return result;
        if (found[i] && platforms[i].relative)
            ds_parent_names_add_path(names, paths[i]);
    }
    for (size_t i = 0; i < PLATFORM_COUNT; i++)
        if (found[i])
            ds_parent_names_add_base(names, paths[i], own);
    if (image->parent->unicode_name[0] != '\0')
        ds_parent_names_add_base(names, image->parent->unicode_name, own);
    for (size_t i = 0; i < PLATFORM_COUNT; i++)
        if (found[i] && paths[i][0] == '/')
            ds_parent_names_add_path(names, paths[i]);
    return 0;
}

int vhd_parent_read(struct vhd_image *image, const struct vhd_header_disk *disk,
                    struct ds_budget *budget, struct ds_error *err)
{
    struct vhd_parent *parent;
    int result = ds_budget_memory(budget, image->base.files[0],
                                  "vhd: parent locators: bytes",
                                  sizeof(*parent) + VHD_LOCATOR_BYTES_MAX, err);

    if (result != 0)
        return result;
    parent = calloc(1, sizeof(*parent));
    if (parent == NULL)
        return ds_fail_memory(err);
    image->parent = parent;
    if (!ds_utf16_decode(disk->parent_unicode_name, VHD_PARENT_NAME_BYTES, true,
                         parent->unicode_name))
        parent->unicode_name[0] = '\0';
    for (unsigned i = 0; i < VHD_PARENT_LOCATOR_COUNT && result == 0; i++)
        result = locator_take(image, disk, i, err);
    return result != 0 ? result : names_collect(image, disk, err);
}

bool vhd_parent(struct ds_image *image, struct ds_parent *out)
{
    const struct vhd_image *vhd = (const struct vhd_image *)image;

    if (vhd->footer.disk_type != VHD_TYPE_DIFFERENCING)
        return false;
    ds_parent_names_list(&vhd->parent->names, out);
    out->format = vhd_format_ops.name;
    return true;
}

int vhd_check_parent(struct ds_image *image, const struct ds_image *parent,
                     struct ds_error *err)
{
    const struct vhd_image *child = (const struct vhd_image *)image;
    const struct vhd_image *vhd = (const struct vhd_image *)parent;
    const struct ds_guid *expect = &child->header.parent_unique_id;
    uint32_t recorded = child->header.parent_time_stamp_seconds;
    char have_text[DS_GUID_TEXT_BYTES], expect_text[DS_GUID_TEXT_BYTES];

    if (parent->format != &vhd_format_ops)
        return ds_fail_at(err, parent->files[0], DS_OFFSET_NONE, DS_ERR_CORRUPT,
                          "vhd: parent: format, have %s expect vhd",
                          parent->format->name);
    ds_guid_format(&vhd->footer.unique_id, have_text);
    ds_guid_format(expect, expect_text);
    if (memcmp(vhd->footer.unique_id.bytes, expect->bytes, 16) != 0)
        return ds_fail_at(err, parent->files[0],
                          vhd->footer_offset_bytes +
                              offsetof(struct vhd_footer_disk, unique_id),
                          DS_ERR_CORRUPT,
                          "vhd: parent: unique id, have %s expect %s",
                          have_text, expect_text);
    if (recorded != 0 && vhd->footer.time_stamp_seconds > recorded &&
        vhd->footer.time_stamp_seconds - recorded > TIME_STAMP_SLACK_SECONDS)
        return ds_fail_at(err, parent->files[0],
                          vhd->footer_offset_bytes +
                              offsetof(struct vhd_footer_disk, time_stamp),
                          DS_ERR_CORRUPT,
                          "vhd: parent: time stamp, have %" PRIu32
                          " expect no later than its child records, %" PRIu32,
                          vhd->footer.time_stamp_seconds, recorded);
    return 0;
}
