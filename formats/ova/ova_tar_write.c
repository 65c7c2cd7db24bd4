/* SPDX-License-Identifier: Apache-2.0 */
/* A member's header, as POSIX.1-1988 has it; sizes that its eleven digits do
 * not hold are written in base-256, as GNU tar does. */
#include <assert.h>
#include <string.h>

#include "ova.h"

/* Octal digits and a NUL behind them. */
static void number_put(char *field, size_t width, uint64_t value)
{
    for (size_t at = width - 1; at > 0; at--, value >>= 3)
        field[at - 1] = (char)('0' + (value & 7));
    field[width - 1] = '\0';
    assert(value == 0);
}

#define SIZE_OCTAL_END (UINT64_C(1) << 33)

static void size_put(char *field, size_t width, uint64_t value)
{
    if (value < SIZE_OCTAL_END) {
        number_put(field, width, value);
        return;
    }
    memset(field, 0, width);
    for (size_t at = width; at > width - 8; at--, value >>= 8)
        field[at - 1] = (char)(value & 0xff);
    field[0] = (char)0x80;
}

struct tar_header_disk tar_header_make(const char *name, uint64_t size_bytes,
                                       uint64_t modified_seconds)
{
    struct tar_header_disk header = { .typeflag = TAR_TYPE_REGULAR };
    const uint8_t *bytes = (const uint8_t *)&header;
    unsigned sum = 0;

    assert(strlen(name) <= sizeof(header.name));
    memcpy(header.name, name, strlen(name));
    number_put(header.mode, sizeof(header.mode), 0644);
    number_put(header.uid, sizeof(header.uid), 0);
    number_put(header.gid, sizeof(header.gid), 0);
    size_put(header.size, sizeof(header.size), size_bytes);
    number_put(header.mtime, sizeof(header.mtime),
               modified_seconds % SIZE_OCTAL_END);
    number_put(header.devmajor, sizeof(header.devmajor), 0);
    number_put(header.devminor, sizeof(header.devminor), 0);
    memcpy(header.magic, "ustar", sizeof(header.magic));
    memcpy(header.version, "00", sizeof(header.version));
    memset(header.chksum, ' ', sizeof(header.chksum));
    for (size_t i = 0; i < sizeof(header); i++)
        sum += bytes[i];
    number_put(header.chksum, sizeof(header.chksum) - 1, sum);
    return header;
}
