/* SPDX-License-Identifier: Apache-2.0 */
#include "parent_name.h"

#include <string.h>

static unsigned unit_at(const uint8_t *bytes, size_t index, bool big_endian)
{
    unsigned first = bytes[2 * index], second = bytes[2 * index + 1];

    return big_endian ? first << 8 | second : second << 8 | first;
}

static size_t utf8_put(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

bool ds_utf16_decode(const uint8_t *bytes, size_t length_bytes, bool big_endian,
                     char text[DS_NAME_BYTES_MAX])
{
    size_t count = length_bytes / 2, used = 0;

    if (length_bytes % 2 != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t code = unit_at(bytes, i, big_endian);

        if (code == 0)
            break;
        if (code >= 0xd800 && code < 0xe000) {
            uint32_t low =
                i + 1 < count ? unit_at(bytes, i + 1, big_endian) : 0;

            if (code >= 0xdc00 || low < 0xdc00 || low >= 0xe000)
                return false;
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            i++;
        }
        if (is_control(code) || used + 4 >= DS_NAME_BYTES_MAX)
            return false;
        used += utf8_put(code, text + used);
    }
    text[used] = '\0';
    return used > 0;
}

/* How many bytes the character at `text` has; 0: it is none. */
static size_t utf8_length(const unsigned char *text)
{
    size_t length = text[0] < 0x80   ? 1
                    : text[0] < 0xc2 ? 0
                    : text[0] < 0xe0 ? 2
                    : text[0] < 0xf0 ? 3
                    : text[0] < 0xf5 ? 4
                                     : 0;

    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

bool ds_name_is_plain(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    while (*at != '\0') {
        size_t length = utf8_length(at);

        if (length == 0 || (length == 1 && is_control(at[0])) ||
            (length == 2 && at[0] == 0xc2 && at[1] < 0xa0))
            return false;
        at += length;
    }
    return true;
}

static void add(struct ds_parent_names *names, const char *text)
{
    size_t length = strlen(text);

    if (length == 0 || length >= DS_NAME_BYTES_MAX ||
        names->count == DS_PARENT_NAME_COUNT_MAX - 1)
        return;
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->texts[i], text) == 0)
            return;
    memcpy(names->texts[names->count++], text, length + 1);
}

void ds_parent_names_add_path(struct ds_parent_names *names, const char *path)
{
    char text[DS_NAME_BYTES_MAX];
    size_t length = strlen(path);
    const char *from = text;

    if (length >= sizeof(text) || path[0] == '\\' || strchr(path, ':') != NULL)
        return;
    memcpy(text, path, length + 1);
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\\')
            text[i] = '/';
    while (from[0] == '.' && from[1] == '/')
        from += 2;
    add(names, from);
}

static const char *base_of(const char *path)
{
    const char *base = path;

    for (; *path != '\0'; path++)
        if (*path == '/' || *path == '\\' || *path == ':')
            base = path + 1;
    return base;
}

void ds_parent_names_add_base(struct ds_parent_names *names, const char *path,
                              const char *own_path)
{
    const char *own = strrchr(own_path, '/');
    const char *base = base_of(path);

    if (strcmp(base, own != NULL ? own + 1 : own_path) != 0 &&
        strcmp(base, ".") != 0 && strcmp(base, "..") != 0)
        add(names, base);
}

void ds_parent_names_list(const struct ds_parent_names *names,
                          struct ds_parent *out)
{
    for (size_t i = 0; i < names->count; i++)
        out->names[out->name_count++] = names->texts[i];
    if (names->count > 1)
        out->names[out->name_count++] = names->texts[0];
}
