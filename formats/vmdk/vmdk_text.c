/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor as we write it. */
#include <inttypes.h>
#include <stdarg.h>
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

/* -- the text -------------------------------------------------------------- */

struct output {
    char *text;
    size_t room_bytes;
    size_t used_bytes; /* at most room_bytes: then it is full */
};

static void print(struct output *output, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void print(struct output *output, const char *format, ...)
{
    size_t room = output->room_bytes - output->used_bytes;
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(output->text + output->used_bytes, room, format, args);
    va_end(args);
    output->used_bytes +=
        length < 0 ? room : (size_t)ds_min_u64((uint64_t)length, room);
}

struct form {
    const char *create_type;
    const char *access; /* a stream is written once */
    const char *extent_type;
    bool has_offset; /* ESX writes none */
};

/* One flat extent is what "monolithicFlat" says; QEMU knows no "custom". */
static const struct form *form_of(const struct vmdk_text *text)
{
    static const struct form forms[] = {
        [VMDK_MONOLITHIC_SPARSE] = { "monolithicSparse", "RW", "SPARSE",
                                     false },
        [VMDK_MONOLITHIC_FLAT] = { "monolithicFlat", "RW", "FLAT", true },
        [VMDK_VMFS] = { "vmfs", "RW", "VMFS", false },
        [VMDK_STREAM_OPTIMIZED] = { "streamOptimized", "RDONLY", "SPARSE",
                                    false },
        [VMDK_SPLIT_SPARSE] = { "twoGbMaxExtentSparse", "RW", "SPARSE", false },
        [VMDK_SPLIT_FLAT] = { "twoGbMaxExtentFlat", "RW", "FLAT", true },
    };

    if (text->subformat != VMDK_OVERLAY)
        return &forms[text->subformat];
    return &forms[text->line_count == 1 ? VMDK_MONOLITHIC_FLAT
                                        : VMDK_SPLIT_FLAT];
}

static int print_extents(const struct vmdk_text *text, struct output *output,
                         struct ds_error *err)
{
    const struct form *form = form_of(text);

    for (size_t i = 0; i < text->line_count; i++) {
        const struct vmdk_text_line *line = &text->lines[i];

        if (!is_name_writable(line->name))
            return ds_fail(err, DS_ERR_ARG,
                           "vmdk: descriptor: extent name, have one with a "
                           "quote or a control character expect none");
        print(output, "%s %" PRIu64 " %s \"%s\"", form->access,
              line->size_bytes / DS_SECTOR_BYTES, form->extent_type,
              line->name);
        if (form->has_offset)
            print(output, " %" PRIu64, line->offset_bytes / DS_SECTOR_BYTES);
        print(output, "\n");
    }
    return 0;
}

static void print_database(const struct vmdk_text *text, struct output *output)
{
    struct geometry geometry = geometry_of(text);

    print(output,
          "\n"
          "# The Disk Data Base\n"
          "#DDB\n"
          "\n"
          "ddb.adapterType = \"%s\"\n"
          "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
          "ddb.geometry.heads = \"%" PRIu32 "\"\n"
          "ddb.geometry.sectors = \"%u\"\n"
          "ddb.virtualHWVersion = \"%" PRIu32 "\"\n",
          text->adapter_type, geometry.cylinders, geometry.heads,
          SECTORS_PER_TRACK, text->hardware_version);
}

int vmdk_text_build(const struct vmdk_text *text, char *out, size_t room_bytes,
                    size_t *length_bytes, struct ds_error *err)
{
    struct output output = { .text = out, .room_bytes = room_bytes };
    int result;

    print(&output,
          "# Disk DescriptorFile\n"
          "version=1\n"
          "encoding=\"UTF-8\"\n"
          "CID=%08" PRIx32 "\n"
          "parentCID=ffffffff\n"
          "createType=\"%s\"\n"
          "\n"
          "# Extent description\n",
          text->cid, form_of(text)->create_type);
    result = print_extents(text, &output, err);
    if (result != 0)
        return result;
    print_database(text, &output);
    if (text->remark != NULL)
        print(&output, "\n# %s\n", text->remark);
    if (output.used_bytes == room_bytes)
        return ds_fail(err, DS_ERR_LIMIT,
                       "vmdk: descriptor: length, have %zu bytes or more "
                       "expect less; the name is too long",
                       room_bytes);
    *length_bytes = output.used_bytes;
    return 0;
}
