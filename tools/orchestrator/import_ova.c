/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor at the head of an OVA. Its disks are the engine's to open. */
#include "import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define BLOCK_BYTES 512
/* Headers that may stand before it: pax, for times and long names. */
#define HEADER_COUNT_MAX 8

/* ustar's header, of which this is used. */
struct tar_header_disk {
    char name[100];
    char mode_uid_gid[24];
    char size[12];
    char mtime[12];
    char checksum[8];
    char typeflag;
    char rest[355];
};
_Static_assert(sizeof(struct tar_header_disk) == BLOCK_BYTES, "tar");
_Static_assert(offsetof(struct tar_header_disk, size) == 124, "tar");
_Static_assert(offsetof(struct tar_header_disk, typeflag) == 156, "tar");

static bool octal(const char *text, size_t length, uint64_t *out)
{
    size_t i = 0;

    *out = 0;
    while (i < length && text[i] == ' ')
        i++;
    for (; i < length && text[i] >= '0' && text[i] <= '7'; i++)
        *out = *out * 8 + (uint64_t)(text[i] - '0'); /* 12 digits: 36 bits */
    return i == length || text[i] == '\0' || text[i] == ' ';
}

static bool checksum_right(const struct tar_header_disk *header)
{
    const unsigned char *bytes = (const unsigned char *)header;
    uint64_t sum = 0, have;

    for (size_t i = 0; i < BLOCK_BYTES; i++)
        sum += i >= 148 && i < 156 ? ' ' : bytes[i];
    return octal(header->checksum, sizeof(header->checksum), &have) &&
           have == sum;
}

static int read_at(int descriptor, void *out, size_t length_bytes,
                   uint64_t offset_bytes, struct ds_error *err)
{
    size_t used = 0;

    while (used < length_bytes) {
        ssize_t count =
            pread(descriptor, (char *)out + used, length_bytes - used,
                  (off_t)(offset_bytes + used));

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fail_errno(err, errno, NULL, "read");
        if (count == 0)
            return fail(err, DS_ERR_CORRUPT,
                        "ova: ends at byte %" PRIu64 ", within its descriptor",
                        offset_bytes + used);
        used += (size_t)count;
    }
    return 0;
}

/* The first header of a regular file; *offset_bytes goes behind it. */
static int find_member(int descriptor, struct tar_header_disk *header,
                       uint64_t *offset_bytes, uint64_t *size_bytes,
                       struct ds_error *err)
{
    *offset_bytes = 0;
    for (unsigned i = 0; i < HEADER_COUNT_MAX; i++) {
        int result =
            read_at(descriptor, header, sizeof(*header), *offset_bytes, err);

        if (result != 0)
            return result;
        if (!checksum_right(header) ||
            !octal(header->size, sizeof(header->size), size_bytes))
            return fail(err, DS_ERR_CORRUPT,
                        "ova: no tar header at byte %" PRIu64, *offset_bytes);
        *offset_bytes += BLOCK_BYTES;
        if (header->typeflag == '0' || header->typeflag == '\0')
            return 0;
        if (header->typeflag != 'x' && header->typeflag != 'g')
            break;
        *offset_bytes +=
            (*size_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    }
    return fail(err, DS_ERR_CORRUPT, "ova: its first member is no file");
}

static int read_descriptor(int descriptor, char **out, size_t *length_bytes,
                           struct ds_error *err)
{
    struct tar_header_disk header;
    autofree char *text = NULL;
    uint64_t offset_bytes, size_bytes = 0;
    size_t length;
    int result =
        find_member(descriptor, &header, &offset_bytes, &size_bytes, err);

    if (result != 0)
        return result;
    length = strnlen(header.name, sizeof(header.name));
    if (length < 4 || strncasecmp(header.name + length - 4, ".ovf", 4) != 0)
        return fail(err, DS_ERR_CORRUPT,
                    "ova: first member, have %.100s expect NAME.ovf",
                    header.name);
    if (size_bytes > IMPORT_BYTES_MAX)
        return fail(err, DS_ERR_LIMIT,
                    "ova: descriptor, have %" PRIu64 " bytes expect at most %u",
                    size_bytes, IMPORT_BYTES_MAX);
    text = need((size_t)size_bytes + 1);
    result = read_at(descriptor, text, (size_t)size_bytes, offset_bytes, err);
    if (result != 0)
        return result;
    *length_bytes = (size_t)size_bytes;
    *out = steal(&text);
    return 0;
}

int import_ova_descriptor(const char *path, char **out, size_t *length_bytes,
                          struct ds_error *err)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    int result;

    if (descriptor < 0)
        return fail_errno(err, errno, path, "open");
    result = read_descriptor(descriptor, out, length_bytes, err);
    close(descriptor);
    return result;
}
