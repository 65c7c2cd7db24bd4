/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor as we write it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "vmdk.h"

/* Spec, "The Disk Database". IDE counts cylinders up to 16383, beyond which
 * a guest goes by the number of sectors; SCSI has no such end. */
#define IDE_CYLINDERS_MAX 16383u
#define SECTORS_PER_TRACK 63u

struct geometry {
    uint64_t cylinders;
    uint32_t heads;
};

static struct geometry geometry_of(const struct vmdk_text *text)
{
    bool ide = strcmp(text->adapter_type, "ide") == 0;
    struct geometry geometry = { .heads = ide ? 16 : 255 };

    geometry.cylinders = text->size_bytes / DS_SECTOR_BYTES /
                         (geometry.heads * SECTORS_PER_TRACK);
    geometry.cylinders = ds_max_u64(geometry.cylinders, 1);
    if (ide)
        geometry.cylinders = ds_min_u64(geometry.cylinders, IDE_CYLINDERS_MAX);
    return geometry;
}

/* A quote or a control character would end the name, or the line. */
static bool is_name_writable(const char *name)
{
    if (name == NULL || *name == '\0')
        return false;
    for (; *name != '\0'; name++)
        if (*name == '"' || *name == 0x7f || (unsigned char)*name < 0x20)
            return false;
    return true;
}

int vmdk_text_build(const struct vmdk_text *text, char out[VMDK_TEXT_BYTES_MAX],
                    size_t *length_bytes, struct ds_error *err)
{
    static const struct {
        const char *create_type;
        const char *access; /* a stream is written once */
        const char *extent_type;
        const char *offset; /* ESX writes none */
    } forms[] = {
        [VMDK_MONOLITHIC_SPARSE] = { "monolithicSparse", "RW", "SPARSE", "" },
        [VMDK_MONOLITHIC_FLAT] = { "monolithicFlat", "RW", "FLAT", " 0" },
        [VMDK_VMFS] = { "vmfs", "RW", "VMFS", "" },
        [VMDK_STREAM_OPTIMIZED] = { "streamOptimized", "RDONLY", "SPARSE", "" },
    };
    struct geometry geometry = geometry_of(text);
    int length;

    if (!is_name_writable(text->extent_name))
        return ds_fail(err, DS_ERR_ARG,
                       "vmdk: descriptor: extent name, have one with a quote "
                       "or a control character expect none");
    length = snprintf(
        out, VMDK_TEXT_BYTES_MAX,
        "# Disk DescriptorFile\n"
        "version=1\n"
        "encoding=\"UTF-8\"\n"
        "CID=%08" PRIx32 "\n"
        "parentCID=ffffffff\n"
        "createType=\"%s\"\n"
        "\n"
        "# Extent description\n"
        "%s %" PRIu64 " %s \"%s\"%s\n"
        "\n"
        "# The Disk Data Base\n"
        "#DDB\n"
        "\n"
        "ddb.adapterType = \"%s\"\n"
        "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
        "ddb.geometry.heads = \"%" PRIu32 "\"\n"
        "ddb.geometry.sectors = \"%u\"\n"
        "ddb.virtualHWVersion = \"%" PRIu32 "\"\n",
        text->cid, forms[text->subformat].create_type,
        forms[text->subformat].access, text->size_bytes / DS_SECTOR_BYTES,
        forms[text->subformat].extent_type, text->extent_name,
        forms[text->subformat].offset, text->adapter_type, geometry.cylinders,
        geometry.heads, SECTORS_PER_TRACK, text->hardware_version);
    if (length < 0 || (size_t)length >= VMDK_TEXT_BYTES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vmdk: descriptor: length, have %d bytes expect less "
                       "than %zu; the name is too long",
                       length, VMDK_TEXT_BYTES_MAX);
    *length_bytes = (size_t)length;
    return 0;
}
