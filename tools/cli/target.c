/* SPDX-License-Identifier: Apache-2.0 */
#include "target.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct ending {
    const char *ending;
    const char *format;
};

static const struct ending endings[] = {
    { ".vmdk", "vmdk" },   { ".vhd", "vhd" }, { ".vhdx", "vhdx" },
    { ".qcow2", "qcow2" }, { ".vdi", "vdi" }, { ".raw", "raw" },
    { ".img", "raw" },     { ".ova", "ova" },
};

const struct ds_format_description *format_find(const char *format)
{
    const struct ds_format_description *description;

    for (size_t i = 0; (description = ds_format_describe(i)) != NULL; i++)
        if (strcmp(description->name, format) == 0)
            return description;
    return NULL;
}

/* Without the options of an nfs:// path. */
static size_t name_length(const char *path)
{
    return strncmp(path, "nfs://", 6) == 0 ? strcspn(path, "?") : strlen(path);
}

static const char *format_of_name(const char *path)
{
    size_t length = name_length(path);
    const char *dot = memrchr(path, '.', length);

    if (dot == NULL || memchr(dot, '/', length - (size_t)(dot - path)) != NULL)
        return NULL;
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        if (strlen(endings[i].ending) == length - (size_t)(dot - path) &&
            strncasecmp(dot, endings[i].ending, strlen(endings[i].ending)) == 0)
            return endings[i].format;
    return NULL;
}

/* "raw, vmdk, qcow2" */
static void writable_list(char *list, size_t list_bytes)
{
    const struct ds_format_description *description;
    size_t length = 0;

    list[0] = '\0';
    for (size_t i = 0; (description = ds_format_describe(i)) != NULL; i++) {
        int step;

        if (!description->can_write || length >= list_bytes)
            continue;
        step = snprintf(list + length, list_bytes - length, "%s%s",
                        length == 0 ? "" : ", ", description->name);
        length += step > 0 ? (size_t)step : 0;
    }
}

static int check_writable(const char *format, struct ds_error *err)
{
    const struct ds_format_description *description = format_find(format);
    char list[256];

    if (description != NULL && description->can_write)
        return 0;
    writable_list(list, sizeof(list));
    return usage_error(err, "target format: have %s expect one of %s", format,
                       list);
}

int target_format_asked(const struct options *options, const char **out,
                        struct ds_error *err)
{
    if (options->target_count > 0)
        *out = options->targets[options->target_count - 1].format;
    else if (options->target_format != NULL)
        *out = options->target_format;
    else if (options->operand_count > 0)
        *out = format_of_name(options->operands[options->operand_count - 1]);
    else
        *out = NULL;
    return *out == NULL ? 0 : check_writable(*out, err);
}

static int take_operand(struct options *options, struct ds_error *err)
{
    struct ds_target_spec *target = &options->targets[0];
    const char *path = options->operands[options->operand_count - 1];
    const char *format = options->target_format;

    if (format == NULL)
        format = format_of_name(path);
    if (format == NULL)
        return usage_error(err,
                           "target format: the ending of %s names none, "
                           "expect .vmdk, .vhd, .vhdx, .qcow2, .vdi, .ova, "
                           ".raw or .img, or -O FMT",
                           path);
    target->format = strdup(format); /* freed with those of --to */
    if (target->format == NULL)
        return memory_error(err);
    target->path = path;
    target->options = options->target_options;
    target->option_count = options->target_option_count;
    options->target_count = 1;
    return 0;
}

int operands_check(const struct options *options, size_t expected,
                   const char *names, struct ds_error *err)
{
    if (options->operand_count > expected)
        return usage_error(err, "unexpected %s, expect %s",
                           options->operands[expected], names);
    if (options->operand_count < expected)
        return usage_error(err, "expect %s", names);
    for (size_t i = 0; i < expected; i++)
        if (options->operands[i][0] == '\0')
            return usage_error(err, "an empty file name, expect %s", names);
    return 0;
}

/* Operands that may be more than `least`. */
static int check_names(const struct options *options, size_t least,
                       const char *names, struct ds_error *err)
{
    size_t count = options->operand_count;

    return operands_check(options, count > least ? count : least, names, err);
}

static bool takes_several(const char *format)
{
    return format_find(format)->takes_several;
}

/* Several disks are for targets that hold several. */
static int check_several(struct options *options, bool named,
                         struct ds_error *err)
{
    options->all_members = true;
    for (size_t i = 0; i < options->target_count; i++) {
        const struct ds_target_spec *target = &options->targets[i];

        if (takes_several(target->format))
            continue;
        options->all_members = false;
        if (options->source_count > 1)
            return usage_error(err,
                               "%s: a target of format %s holds one disk, "
                               "have %zu SOURCEs%s",
                               target->path, target->format,
                               options->source_count,
                               named ? "" : "; with --to there is no TARGET");
    }
    return 0;
}

int target_resolve(struct options *options, struct ds_error *err)
{
    bool named = options->target_count == 0;
    int result;

    if (named)
        result = check_names(options, 2,
                             "SOURCE and TARGET, or SOURCE and --to", err);
    else
        result = check_names(options, 1, "SOURCE and --to, no TARGET", err);
    if (result == 0)
        options->source_count = options->operand_count - named;
    if (result == 0 && named)
        result = take_operand(options, err);
    for (size_t i = 0; result == 0 && i < options->target_count; i++)
        result = check_writable(options->targets[i].format, err);
    return result == 0 ? check_several(options, named, err) : result;
}

int measure_resolve(struct options *options, struct ds_error *err)
{
    size_t expected = options->operand_count > 1 ? 2 : 1;
    int result = operands_check(options, expected,
                                "SOURCE and perhaps "
                                "a directory",
                                err);

    if (result == 0 && options->target_format == NULL)
        result = usage_error(err, "target format: expect -O FMT");
    if (result == 0)
        result = check_writable(options->target_format, err);
    if (result == 0)
        options->all_members = takes_several(options->target_format);
    return result;
}
