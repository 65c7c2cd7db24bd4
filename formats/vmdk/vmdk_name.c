/* SPDX-License-Identifier: Apache-2.0 */
/* How a descriptor is recognised, and how the names in it are spelled. */
#include <string.h>
#include <strings.h>

#include "vmdk.h"

/* The first comment of every product's descriptors. Blank lines and a byte
 * order mark before it, and any case, are taken. */
bool vmdk_descriptor_probe(const uint8_t *bytes, size_t length_bytes)
{
    static const char title[] = "# disk descriptorfile";
    size_t at = 0;

    if (length_bytes >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
        at = 3;
    while (at < length_bytes && bytes[at] != '\0' &&
           strchr(" \t\r\n", bytes[at]) != NULL)
        at++;
    return length_bytes - at >= sizeof(title) - 1 &&
           strncasecmp((const char *)bytes + at, title, sizeof(title) - 1) == 0;
}

/* Code points of the bytes 0x80 to 0x9f in windows-1252; 0: none. Above that
 * it agrees with Unicode. */
static const uint16_t windows_1252[32] = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
    0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017d, 0,
    0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
    0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178,
};

bool vmdk_name_to_utf8(const struct vmdk_descriptor *descriptor,
                       const char *name, char *out, size_t out_bytes)
{
    bool converted = false;
    size_t used = 0;

    if (descriptor->encoding == NULL ||
        strcasecmp(descriptor->encoding, "windows-1252") != 0)
        return false;
    for (; *name != '\0'; name++) {
        unsigned code = (unsigned char)*name;

        if (used + 4 > out_bytes) /* the longest letter and the end */
            return false;
        if (code >= 0x80) {
            converted = true;
            code = code < 0xa0 ? windows_1252[code - 0x80] : code;
        }
        if (code == 0)
            return false;
        if (code < 0x80) {
            out[used++] = (char)code;
        } else if (code < 0x800) {
            out[used++] = (char)(0xc0 | code >> 6);
            out[used++] = (char)(0x80 | (code & 0x3f));
        } else {
            out[used++] = (char)(0xe0 | code >> 12);
            out[used++] = (char)(0x80 | (code >> 6 & 0x3f));
            out[used++] = (char)(0x80 | (code & 0x3f));
        }
    }
    out[used] = '\0';
    return converted;
}
