/* SPDX-License-Identifier: Apache-2.0 */
/* The header cluster beyond the header's fields: extensions, and what of the
 * image's features stands in a reader's way. */
#include <inttypes.h>

#include "fail.h"
#include "qcow2_check.h"

#define AT(member) offsetof(struct qcow2_header_disk, member)

int qcow2_extension_next(const struct ds_file *file, const uint8_t *bytes,
                         size_t length, size_t offset,
                         struct qcow2_extension *out, struct ds_error *err)
{
    struct qcow2_extension_disk wire;
    size_t room;

    /* The area may end with its cluster instead of an end marker. */
    if (offset > length || length - offset < sizeof(wire))
        return 0;
    memcpy(&wire, bytes + offset, sizeof(wire));
    room = length - offset - sizeof(wire);
    out->type = ds_be32_get(wire.type);
    out->data_bytes = ds_be32_get(wire.length);
    out->data_offset = offset + sizeof(wire);
    if (out->type == QCOW2_EXTENSION_END)
        return 0;
    if (out->data_bytes > room)
        return ds_fail_at(err, file, offset, DS_ERR_CORRUPT,
                          "qcow2: header extension 0x%08" PRIx32
                          ": length, have %" PRIu32
                          " expect at most %zu to the end of the cluster",
                          out->type, out->data_bytes, room);
    out->next_offset =
        out->data_offset + (size_t)ds_align_up(out->data_bytes, 8);
    return 1;
}

void qcow2_copy_printable(char *to, size_t to_bytes, const uint8_t *from,
                          size_t from_bytes)
{
    size_t i;

    for (i = 0; i < from_bytes && i + 1 < to_bytes && from[i] != 0; i++)
        to[i] = from[i] >= 0x20 && from[i] < 0x7f ? (char)from[i] : '?';
    to[i] = '\0';
}

#define FEATURE_NAME_BYTES (sizeof(((struct qcow2_feature_name_disk *)0)->name))

/* The image's own name for an incompatible feature; empty if it has none. */
static void feature_name(const struct qcow2_header *header,
                         const uint8_t *bytes, size_t length, unsigned bit,
                         char name[FEATURE_NAME_BYTES + 1])
{
    struct qcow2_extension extension = { 0 };
    struct qcow2_feature_name_disk entry;
    size_t offset = header->header_length_bytes;

    name[0] = '\0';
    for (; qcow2_extension_next(NULL, bytes, length, offset, &extension,
                                NULL) == 1;
         offset = extension.next_offset) {
        if (extension.type != QCOW2_EXTENSION_FEATURE_NAMES)
            continue;
        for (size_t at = 0; extension.data_bytes - at >= sizeof(entry);
             at += sizeof(entry)) {
            memcpy(&entry, bytes + extension.data_offset + at, sizeof(entry));
            if (entry.type != QCOW2_FEATURE_TYPE_INCOMPATIBLE ||
                entry.bit != bit)
                continue;
            qcow2_copy_printable(name, FEATURE_NAME_BYTES + 1,
                                 (const uint8_t *)entry.name,
                                 FEATURE_NAME_BYTES);
            return;
        }
    }
}

static int check_unknown(const struct qcow2_header *header,
                         const struct ds_file *file, const uint8_t *bytes,
                         size_t length, struct ds_error *err)
{
    uint64_t unknown =
        header->incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN;
    char name[FEATURE_NAME_BYTES + 1];
    unsigned bit;

    if (unknown == 0)
        return 0;
    bit = (unsigned)__builtin_ctzll(unknown);
    feature_name(header, bytes, length, bit, name);
    return ds_fail_at(err, file, AT(incompatible_features), DS_ERR_UNSUPPORTED,
                      "qcow2: header: incompatible feature bit %u (%s) is not "
                      "known, have 0x%" PRIx64 " expect bits of 0x%" PRIx64,
                      bit, name[0] != '\0' ? name : "unnamed",
                      header->incompatible_features, QCOW2_INCOMPATIBLE_KNOWN);
}

static int check_compression(const struct qcow2_header *header,
                             const struct ds_file *file, struct ds_error *err)
{
    bool flagged =
        (header->incompatible_features & QCOW2_INCOMPATIBLE_COMPRESSION) != 0;

    if (flagged != (header->compression_type != QCOW2_COMPRESSION_ZLIB))
        return ds_fail_at(err, file, AT(compression_type), DS_ERR_CORRUPT,
                          "qcow2: header: compression_type, have %u expect %s "
                          "as incompatible feature bit 3 is %s",
                          header->compression_type, flagged ? "not 0" : "0",
                          flagged ? "set" : "clear");
    if (header->compression_type > QCOW2_COMPRESSION_ZSTD)
        return ds_fail_at(err, file, AT(compression_type), DS_ERR_UNSUPPORTED,
                          "qcow2: header: compression_type, have %u expect %u "
                          "(zlib) or %u (zstd)",
                          header->compression_type, QCOW2_COMPRESSION_ZLIB,
                          QCOW2_COMPRESSION_ZSTD);
    return 0;
}

static int check_crypt(const struct qcow2_header *header,
                       const struct ds_file *file, struct ds_error *err)
{
    if (header->crypt_method == QCOW2_CRYPT_NONE ||
        header->crypt_method == QCOW2_CRYPT_LUKS)
        return 0;
    return ds_fail_at(
        err, file, AT(crypt_method), DS_ERR_UNSUPPORTED,
        "qcow2: header: crypt_method %" PRIu32 ": %s is not supported",
        header->crypt_method,
        header->crypt_method == QCOW2_CRYPT_AES ? "legacy AES encryption"
                                                : "an unknown encryption");
}

static int check_extended(const struct qcow2_header *header,
                          const struct ds_file *file, struct ds_error *err)
{
    if ((header->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) == 0 ||
        header->cluster_bits >= QCOW2_CLUSTER_BITS_EXTENDED_MIN)
        return 0;
    return ds_fail_at(err, file, AT(cluster_bits), DS_ERR_CORRUPT,
                      "qcow2: header: cluster_bits, have %" PRIu32
                      " expect at least %u with extended l2 entries",
                      header->cluster_bits, QCOW2_CLUSTER_BITS_EXTENDED_MIN);
}

/* A raw data file is the whole disk, whatever lies beneath. */
static int check_data_file(const struct qcow2_header *header,
                           const struct ds_file *file, struct ds_error *err)
{
    if ((header->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) == 0)
        return 0;
    if ((header->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW) != 0 &&
        header->backing_file_offset_bytes != 0)
        return ds_fail_at(err, file, AT(backing_file_offset), DS_ERR_CORRUPT,
                          "qcow2: header: backing_file_offset, have %" PRIu64
                          " expect 0 with a raw external data file",
                          header->backing_file_offset_bytes);
    return 0;
}

int qcow2_features_check(const struct qcow2_header *header,
                         const struct ds_file *file, const uint8_t *bytes,
                         size_t length, struct ds_error *err)
{
    uint64_t set = header->incompatible_features;
    int result = check_unknown(header, file, bytes, length, err);

    if (result != 0)
        return result;
    if ((set & QCOW2_INCOMPATIBLE_CORRUPT) != 0)
        return ds_fail_at(err, file, AT(incompatible_features), DS_ERR_CORRUPT,
                          "qcow2: header: marked corrupt (incompatible feature "
                          "bit 1), have 0x%" PRIx64 " expect it clear",
                          set);
    result = check_compression(header, file, err);
    if (result == 0)
        result = check_crypt(header, file, err);
    if (result == 0)
        result = check_extended(header, file, err);
    if (result == 0)
        result = check_data_file(header, file, err);
    return result;
}
