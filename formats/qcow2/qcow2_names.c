/* SPDX-License-Identifier: Apache-2.0 */
/* The header cluster's texts and extensions: which other files the image
 * refers to, and where further records of its own lie. */
#include <inttypes.h>
#include <stdlib.h>

#include "cleanup.h"
#include "fail.h"
#include "qcow2.h"

#define AT(member) offsetof(struct qcow2_header_disk, member)

/* QEMU takes what lies before a colon, and before any slash, for the name of
 * a protocol. Of those "file:" says nothing. */
static const char *skip_file_prefix(const char *name)
{
    return strncmp(name, "file:", 5) == 0 ? name + 5 : name;
}

static int check_name(const struct ds_file *file, const char *what,
                      const char *name, uint64_t at_bytes, struct ds_error *err)
{
    const char *plain = skip_file_prefix(name);
    size_t prefix = strcspn(plain, ":/");
    char shown[256];

    qcow2_copy_printable(shown, sizeof(shown), (const uint8_t *)name,
                         strlen(name));
    if (plain[0] == '\0')
        return ds_fail_at(err, file, at_bytes, DS_ERR_CORRUPT,
                          "qcow2: header: %s, have an empty name expect a path",
                          what);
    if (plain[prefix] == ':')
        return ds_fail_at(err, file, at_bytes, DS_ERR_UNSUPPORTED,
                          "qcow2: header: %s '%s': only a plain path is "
                          "supported",
                          what, shown);
    if (plain != name && strncmp(plain, "//", 2) == 0)
        return ds_fail_at(err, file, at_bytes, DS_ERR_UNSUPPORTED,
                          "qcow2: header: %s '%s': a URL is not supported",
                          what, shown);
    return 0;
}

/* Text that is not terminated in the file. */
static int copy_name(const struct ds_file *file, const char *what,
                     const uint8_t *bytes, size_t length, uint64_t at_bytes,
                     char **out, struct ds_error *err)
{
    ds_autofree char *name = malloc(length + 1);
    int result;

    if (name == NULL)
        return ds_fail_memory(err);
    memcpy(name, bytes, length);
    name[length] = '\0';
    if (strlen(name) != length)
        return ds_fail_at(err, file, at_bytes, DS_ERR_CORRUPT,
                          "qcow2: header: %s, have a zero byte at %zu of %zu "
                          "expect text",
                          what, strlen(name), length);
    result = check_name(file, what, name, at_bytes, err);
    if (result != 0)
        return result;
    free(*out); /* the last of several counts */
    *out = ds_steal(&name);
    return 0;
}

static int read_backing_name(struct qcow2_image *image, const uint8_t *bytes,
                             size_t length, struct ds_error *err)
{
    const struct qcow2_header *header = &image->header;
    const struct ds_file *file = image->base.files[0];

    if (header->backing_file_offset_bytes == 0)
        return 0;
    if (header->backing_file_bytes > QCOW2_BACKING_NAME_BYTES_MAX ||
        !ds_range_fits(header->backing_file_offset_bytes,
                       header->backing_file_bytes, length))
        return ds_fail_at(
            err, file, AT(backing_file_size), DS_ERR_CORRUPT,
            "qcow2: header: backing file name, have %" PRIu32
            " bytes at %" PRIu64 " expect at most %u in the first cluster",
            header->backing_file_bytes, header->backing_file_offset_bytes,
            QCOW2_BACKING_NAME_BYTES_MAX);
    return copy_name(file, "backing file",
                     bytes + header->backing_file_offset_bytes,
                     header->backing_file_bytes, AT(backing_file_offset),
                     &image->backing_name, err);
}

/* -- extensions ------------------------------------------------------------ */

static const struct {
    const char *theirs;
    const char *ours;
} format_names[] = {
    { "raw", "raw" },         { "qcow2", "qcow2" }, { "vmdk", "vmdk" },
    { "vpc", "vhd" },         { "vhdx", "vhdx" },   { "vdi", "vdi" },
    { "host_device", "raw" }, { "file", "raw" },
};

/* Probing instead of an unknown name could take what a guest wrote into a raw
 * disk for a format. */
static int read_backing_format(struct qcow2_image *image, const uint8_t *data,
                               size_t length, uint64_t at_bytes,
                               struct ds_error *err)
{
    char shown[64];

    for (size_t i = 0; i < sizeof(format_names) / sizeof(format_names[0]); i++)
        if (strlen(format_names[i].theirs) == length &&
            memcmp(format_names[i].theirs, data, length) == 0) {
            image->backing_format = format_names[i].ours;
            return 0;
        }
    if (length == 0 || image->header.backing_file_offset_bytes == 0)
        return 0;
    qcow2_copy_printable(shown, sizeof(shown), data, length);
    return ds_fail_at(err, image->base.files[0], at_bytes, DS_ERR_UNSUPPORTED,
                      "qcow2: header: backing format '%s' is not supported",
                      shown);
}

static void read_bitmaps(struct qcow2_image *image, const uint8_t *data,
                         size_t length)
{
    struct qcow2_bitmaps_disk bitmaps;

    if (length < sizeof(bitmaps))
        return;
    memcpy(&bitmaps, data, sizeof(bitmaps));
    image->bitmap_count = ds_be32_get(bitmaps.nb_bitmaps);
    image->bitmap_directory_offset_bytes =
        ds_be64_get(bitmaps.bitmap_directory_offset);
    image->bitmap_directory_bytes = ds_be64_get(bitmaps.bitmap_directory_size);
}

static int read_crypt_header(struct qcow2_image *image, const uint8_t *data,
                             size_t length, uint64_t at_bytes,
                             struct ds_error *err)
{
    struct qcow2_crypt_header_disk wire;

    if (length != sizeof(wire))
        return ds_fail_at(err, image->base.files[0], at_bytes, DS_ERR_CORRUPT,
                          "qcow2: full disk encryption header pointer: "
                          "length, have %zu expect %zu",
                          length, sizeof(wire));
    memcpy(&wire, data, sizeof(wire));
    image->luks_offset_bytes = ds_be64_get(wire.offset);
    image->luks_bytes = ds_be64_get(wire.length);
    return 0;
}

static int read_extension(struct qcow2_image *image, const uint8_t *bytes,
                          const struct qcow2_extension *extension,
                          struct ds_error *err)
{
    const uint8_t *data = bytes + extension->data_offset;
    const size_t length = extension->data_bytes;
    const uint64_t at = extension->data_offset;

    switch (extension->type) {
    case QCOW2_EXTENSION_BITMAPS:
        read_bitmaps(image, data, length);
        return 0;
    case QCOW2_EXTENSION_BACKING_FORMAT:
        return read_backing_format(image, data, length, at, err);
    case QCOW2_EXTENSION_DATA_FILE:
        return copy_name(image->base.files[0], "external data file", data,
                         length, at, &image->data_file_name, err);
    case QCOW2_EXTENSION_CRYPT_HEADER:
        return read_crypt_header(image, data, length, at, err);
    default:
        return 0;
    }
}

int qcow2_names_read(struct qcow2_image *image, const uint8_t *bytes,
                     size_t length, struct ds_error *err)
{
    struct ds_file *file = image->base.files[0];
    struct qcow2_extension extension;
    size_t offset = image->header.header_length_bytes;
    int more = 1;

    while (more == 1) {
        more =
            qcow2_extension_next(file, bytes, length, offset, &extension, err);
        if (more == 1) {
            int result = read_extension(image, bytes, &extension, err);

            if (result != 0)
                return result;
            offset = extension.next_offset;
        }
    }
    return more == 0 ? read_backing_name(image, bytes, length, err) : more;
}

bool qcow2_parent(struct ds_image *base, struct ds_parent *out)
{
    struct qcow2_image *image = (struct qcow2_image *)base;

    if (image->backing_name == NULL)
        return false;
    *out = (struct ds_parent){
        .names = { skip_file_prefix(image->backing_name) },
        .name_count = 1,
        .format = image->backing_format,
    };
    return true;
}
