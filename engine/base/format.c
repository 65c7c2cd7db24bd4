/* SPDX-License-Identifier: Apache-2.0 */
/* What every format uses: references to further files, target options. */
#include "format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"

int ds_image_add_file(struct ds_image *image,
                      const struct ds_open_context *context, const char *name,
                      uint32_t *file_index, struct ds_error *err)
{
    struct ds_file *from = image->files[0];
    int result;

    if (context->no_refs)
        return ds_fail_at(err, from, DS_OFFSET_NONE, DS_ERR_REFUSED,
                          "%s: refers to the file '%s', and references are "
                          "forbidden",
                          image->format->name, name);
    if (image->file_count == DS_IMAGE_FILE_COUNT_MAX)
        return ds_fail_at(err, from, DS_OFFSET_NONE, DS_ERR_LIMIT,
                          "%s: refers to more than %u files",
                          image->format->name, DS_IMAGE_FILE_COUNT_MAX - 1);
    result = from->store->open_reference(from, context->allow_directory, name,
                                         &image->files[image->file_count], err);
    if (result != 0)
        return result;
    *file_index = image->file_count++;
    return 0;
}

/* Whether `option` is "key=..."; the value is what follows. */
static const char *option_value(const char *option, const char *key)
{
    size_t length = strlen(key);

    if (strncmp(option, key, length) != 0 || option[length] != '=')
        return NULL;
    return option + length + 1;
}

const char *ds_option_get(const char *const *options, size_t option_count,
                          const char *key)
{
    const char *found = NULL;

    for (size_t i = 0; i < option_count; i++) {
        const char *value = option_value(options[i], key);

        if (value != NULL)
            found = value;
    }
    return found;
}

static bool option_known(const struct ds_target_option *known,
                         const char *option)
{
    for (; known != NULL && known->key != NULL; known++)
        if (option_value(option, known->key) != NULL)
            return true;
    return false;
}

int ds_option_check(const char *format, const struct ds_target_option *known,
                    const char *const *options, size_t option_count,
                    struct ds_error *err)
{
    for (size_t i = 0; i < option_count; i++)
        if (!option_known(known, options[i]))
            return ds_fail(err, DS_ERR_ARG, "%s: unknown target option '%s'",
                           format, options[i]);
    return 0;
}

int ds_option_switch(const char *format, const char *key, const char *text,
                     bool *out, struct ds_error *err)
{
    *out = text != NULL && strcmp(text, "yes") == 0;
    if (text != NULL && !*out && strcmp(text, "no") != 0)
        return ds_fail(err, DS_ERR_ARG,
                       "%s: option %s: have '%s' expect yes or no", format, key,
                       text);
    return 0;
}

static unsigned suffix_shift(char suffix)
{
    switch (suffix) {
    case 'k':
    case 'K':
        return 10;
    case 'm':
    case 'M':
        return 20;
    case 'g':
    case 'G':
        return 30;
    case 't':
    case 'T':
        return 40;
    default:
        return 0;
    }
}

int ds_option_size(const char *format, const char *key, const char *text,
                   uint64_t *out, struct ds_error *err)
{
    uint64_t value = 0;
    const char *at = text;
    unsigned shift;

    while (*at >= '0' && *at <= '9' && ds_mul_u64(value, 10, &value) &&
           ds_add_u64(value, (uint64_t)(*at - '0'), &value))
        at++;
    shift = suffix_shift(*at);
    if (at == text || (shift != 0 ? at[1] : at[0]) != '\0' ||
        !ds_mul_u64(value, UINT64_C(1) << shift, out))
        return ds_fail(err, DS_ERR_ARG,
                       "%s: option %s: have '%s' expect a size such as "
                       "65536, 64k or 2M",
                       format, key, text);
    return 0;
}
