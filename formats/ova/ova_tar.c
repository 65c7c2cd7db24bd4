/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archive's index: one walk from header to header, reading nothing of the
 * members. Extended headers say what does not fit in the next one: a longer
 * name, a larger size.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "ova.h"

/* -- one header ------------------------------------------------------------ */

/* A number in octal, filled with spaces or zeros, or base-256 when the first
 * byte has its highest bit set. */
static bool number_get(const char *field, size_t width, uint64_t *out)
{
    uint64_t value = 0;
    size_t at = 0;

    if (((uint8_t)field[0] & 0x80) != 0) {
        value = (uint8_t)field[0] & 0x3f;
        if (((uint8_t)field[0] & 0x40) != 0) /* negative */
            return false;
        for (at = 1; at < width; at++) {
            if (value >> 56 != 0)
                return false;
            value = value << 8 | (uint8_t)field[at];
        }
        *out = value;
        return true;
    }
    while (at < width && field[at] == ' ')
        at++;
    for (; at < width && field[at] >= '0' && field[at] <= '7'; at++)
        value = value << 3 | (uint64_t)(field[at] - '0'); /* 36 bits at most */
    *out = value;
    return at == width || field[at] == ' ' || field[at] == '\0';
}

/* The sum of all bytes, the sum's own taken as spaces. */
static bool checksum_is_right(const struct tar_header_disk *header)
{
    const uint8_t *bytes = (const uint8_t *)header;
    uint64_t sum = 0, expect;

    if (!number_get(header->chksum, sizeof(header->chksum), &expect))
        return false;
    for (size_t i = 0; i < sizeof(*header); i++)
        sum += bytes[i];
    for (size_t i = 0; i < sizeof(header->chksum); i++)
        sum += (uint64_t)' ' - (uint8_t)header->chksum[i];
    return sum == expect;
}

static bool is_zeros(const struct tar_header_disk *header)
{
    const char *bytes = (const char *)header;

    return bytes[0] == '\0' && memcmp(bytes, bytes + 1, 511) == 0;
}

static bool is_regular(char typeflag)
{
    return typeflag == TAR_TYPE_REGULAR || typeflag == TAR_TYPE_REGULAR_OLD ||
           typeflag == TAR_TYPE_CONTIGUOUS;
}

/* PREFIX/NAME; neither needs a NUL at its end. GNU uses the prefix's room for
 * other things. */
static void name_get(const struct tar_header_disk *header,
                     char out[OVA_NAME_BYTES + 1])
{
    bool posix = memcmp(header->magic, "ustar", 6) == 0;
    int prefix =
        posix ? (int)strnlen(header->prefix, sizeof(header->prefix)) : 0;

    (void)snprintf(out, OVA_NAME_BYTES + 1, "%.*s%s%.*s", prefix,
                   header->prefix, prefix > 0 ? "/" : "",
                   (int)strnlen(header->name, sizeof(header->name)),
                   header->name);
}

static bool ends_with(const char *name, const char *ending)
{
    size_t length = strlen(name), tail = strlen(ending);

    return length > tail && strcasecmp(name + length - tail, ending) == 0;
}

/* Skips what may come before the first member: extended headers, as far as
 * they lie in the probe's bytes. */
static bool archive_probe(const struct ds_probe *probe)
{
    uint64_t at = 0, size;
    char name[OVA_NAME_BYTES + 1];

    while (at + TAR_BLOCK_BYTES <= probe->head_bytes) {
        const struct tar_header_disk *header =
            (const struct tar_header_disk *)(probe->head + at);

        if (memcmp(header->magic, "ustar", 5) != 0 ||
            !checksum_is_right(header) ||
            !number_get(header->size, sizeof(header->size), &size))
            return false;
        if (is_regular(header->typeflag)) {
            name_get(header, name);
            return ends_with(name, ".ovf");
        }
        if ((header->typeflag != TAR_TYPE_PAX &&
             header->typeflag != TAR_TYPE_PAX_GLOBAL) ||
            size > sizeof(probe->head))
            return false;
        at += TAR_BLOCK_BYTES + ds_align_up(size, TAR_BLOCK_BYTES);
    }
    return false;
}

bool ova_probe(const struct ds_probe *probe)
{
    return archive_probe(probe) ||
           ova_envelope_probe(probe->head, probe->head_bytes);
}

/* -- the walk -------------------------------------------------------------- */

/* What extended headers have said of the member that comes next. */
struct pending {
    bool has_name;
    bool has_size;
    char name[OVA_NAME_BYTES];
    uint64_t size_bytes;
};

struct walk {
    struct ds_file *file;
    struct ova_index *index;
    struct pending pending;
    uint64_t at; /* of the header */
    struct tar_header_disk header;
    uint64_t size_bytes; /* of what follows it */
};

static int take_name(struct walk *walk, const char *name, size_t length,
                     struct ds_error *err)
{
    length = strnlen(name, length);
    while (length > 2 && name[0] == '.' && name[1] == '/') {
        name += 2;
        length -= 2;
    }
    if (length >= OVA_NAME_BYTES)
        return ds_fail_at(err, walk->file, walk->at, DS_ERR_LIMIT,
                          "ova: tar header: name, have %zu bytes expect less "
                          "than %u",
                          length, OVA_NAME_BYTES);
    memcpy(walk->pending.name, name, length);
    walk->pending.name[length] = '\0';
    walk->pending.has_name = true;
    return 0;
}

static int fail_record(const struct walk *walk, const char *what,
                       struct ds_error *err)
{
    return ds_fail_at(err, walk->file, walk->at, DS_ERR_CORRUPT,
                      "ova: pax header: %s", what);
}

static int take_record(struct walk *walk, const char *key, size_t key_bytes,
                       const char *value, size_t value_bytes,
                       struct ds_error *err)
{
    uint64_t size = 0;

    if (key_bytes == 4 && memcmp(key, "path", 4) == 0)
        return take_name(walk, value, value_bytes, err);
    if (key_bytes > 10 && memcmp(key, "GNU.sparse", 10) == 0)
        return ds_fail_at(err, walk->file, walk->at, DS_ERR_UNSUPPORTED,
                          "ova: pax header: sparse members are not supported");
    if (key_bytes != 4 || memcmp(key, "size", 4) != 0)
        return 0;
    for (size_t i = 0; i < value_bytes; i++)
        if (value[i] < '0' || value[i] > '9' || !ds_mul_u64(size, 10, &size) ||
            !ds_add_u64(size, (uint64_t)(value[i] - '0'), &size))
            return fail_record(walk, "size: expect decimal digits", err);
    walk->pending.has_size = true;
    walk->pending.size_bytes = size;
    return 0;
}

/* Records of "LENGTH KEY=VALUE\n", the length counting all of it. */
static int take_records(struct walk *walk, const char *text, size_t length,
                        struct ds_error *err)
{
    size_t at = 0;
    int result = 0;

    while (at < length && result == 0) {
        size_t record = 0, digits = 0;
        const char *key, *equals;

        while (at + digits < length && digits < 6 && text[at + digits] >= '0' &&
               text[at + digits] <= '9')
            record = record * 10 + (size_t)(text[at + digits++] - '0');
        if (digits == 0 || record > length - at || record < digits + 4 ||
            text[at + digits] != ' ' || text[at + record - 1] != '\n')
            return fail_record(walk, "record: length", err);
        key = text + at + digits + 1;
        equals = memchr(key, '=', record - digits - 2);
        if (equals == NULL)
            return fail_record(walk, "record: expect KEY=VALUE", err);
        result =
            take_record(walk, key, (size_t)(equals - key), equals + 1,
                        (size_t)(text + at + record - 1 - (equals + 1)), err);
        at += record;
    }
    return result;
}

static int take_extended(struct walk *walk, struct ds_error *err)
{
    ds_autofree char *text = NULL;
    size_t length;
    int result;

    if (walk->size_bytes > OVA_EXTENDED_BYTES_MAX)
        return ds_fail_at(err, walk->file, walk->at, DS_ERR_LIMIT,
                          "ova: extended header: size, have %" PRIu64
                          " bytes expect at most %" PRIu64,
                          walk->size_bytes, OVA_EXTENDED_BYTES_MAX);
    length = (size_t)walk->size_bytes;
    text = malloc(length + 1);
    if (text == NULL)
        return ds_fail_memory(err);
    result =
        ds_file_read(walk->file, walk->at + TAR_BLOCK_BYTES, text, length, err);
    if (result != 0)
        return result;
    if (walk->header.typeflag == TAR_TYPE_GNU_NAME)
        return take_name(walk, text, length, err);
    return take_records(walk, text, length, err);
}

static int add_member(struct walk *walk, struct ds_error *err)
{
    struct ova_index *index = walk->index;
    struct ova_member *grown, *member;

    if (index->member_count == OVA_MEMBER_COUNT_MAX)
        return ds_fail_at(err, walk->file, walk->at, DS_ERR_LIMIT,
                          "ova: archive: more than %u members",
                          OVA_MEMBER_COUNT_MAX);
    grown = realloc(index->members, (index->member_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return ds_fail_memory(err);
    index->members = grown;
    member = &grown[index->member_count];
    memcpy(member->name, walk->pending.name, sizeof(member->name));
    member->file_index = 0;
    member->header_offset_bytes = walk->at;
    member->offset_bytes = walk->at + TAR_BLOCK_BYTES;
    member->size_bytes = walk->size_bytes;
    if (ova_index_find(index, member->name) != NULL)
        return ds_fail_at(err, walk->file, walk->at, DS_ERR_CORRUPT,
                          "ova: tar header: name, have '%.100s' a second time",
                          member->name);
    index->member_count++;
    return 0;
}

/* A regular member, with what was pending for it. */
static int take_member(struct walk *walk, struct ds_error *err)
{
    char name[OVA_NAME_BYTES + 1];
    int result = 0;

    if (!walk->pending.has_name) {
        name_get(&walk->header, name);
        result = take_name(walk, name, sizeof(name), err);
    }
    if (result == 0)
        result = add_member(walk, err);
    return result;
}

static int take_header(struct walk *walk, struct ds_error *err)
{
    char type = walk->header.typeflag;
    struct pending none = { 0 };
    int result = 0;

    if (is_regular(type))
        result = take_member(walk, err);
    else if (type == TAR_TYPE_PAX || type == TAR_TYPE_GNU_NAME)
        return take_extended(walk, err);
    else if (type == TAR_TYPE_PAX_GLOBAL)
        return 0; /* of all members: times and comments */
    else if (type != TAR_TYPE_DIRECTORY)
        result = ds_fail_at(
            err, walk->file,
            walk->at + offsetof(struct tar_header_disk, typeflag),
            DS_ERR_UNSUPPORTED,
            "ova: tar header: type, have 0x%02x expect a regular member%s",
            (unsigned)(uint8_t)type,
            type == TAR_TYPE_GNU_SPARSE ? ", not a sparse one" : "");
    walk->pending = none;
    return result;
}

static int read_header(struct walk *walk, struct ds_error *err)
{
    struct tar_header_disk *header = &walk->header;
    int result =
        ds_file_read(walk->file, walk->at, header, sizeof(*header), err);

    if (result != 0 || is_zeros(header))
        return result;
    if (!checksum_is_right(header))
        return ds_fail_at(err, walk->file, walk->at, DS_ERR_CORRUPT,
                          "ova: tar header: checksum, have '%.7s' expect the "
                          "sum of its bytes",
                          header->chksum);
    if (!number_get(header->size, sizeof(header->size), &walk->size_bytes))
        return ds_fail_at(
            err, walk->file, walk->at + offsetof(struct tar_header_disk, size),
            DS_ERR_CORRUPT, "ova: tar header: size: expect an octal number");
    if (walk->pending.has_size && is_regular(header->typeflag))
        walk->size_bytes = walk->pending.size_bytes;
    if (!ds_range_fits(walk->at + TAR_BLOCK_BYTES, walk->size_bytes,
                       walk->file->size_bytes))
        return ds_fail_at(err, walk->file, walk->at, DS_ERR_CORRUPT,
                          "ova: archive: truncated file, have %" PRIu64
                          " bytes expect a member of %" PRIu64
                          " after this header",
                          walk->file->size_bytes, walk->size_bytes);
    return 0;
}

int ova_index_read(struct ds_file *file, struct ova_index *index,
                   struct ds_error *err)
{
    struct walk walk = { .file = file, .index = index };
    int result = 0;

    for (unsigned i = 0; result == 0; i++) {
        index->end_offset_bytes = walk.at;
        if (!ds_range_fits(walk.at, TAR_BLOCK_BYTES, file->size_bytes))
            return 0; /* without the mark: check() says so */
        if (i == OVA_HEADER_COUNT_MAX)
            return ds_fail_at(err, file, walk.at, DS_ERR_LIMIT,
                              "ova: archive: more than %u headers",
                              OVA_HEADER_COUNT_MAX);
        result = read_header(&walk, err);
        if (result == 0 && is_zeros(&walk.header)) {
            index->has_end = true;
            return 0;
        }
        if (result == 0)
            result = take_header(&walk, err);
        /* Both lie in the file: no wrap. */
        walk.at +=
            TAR_BLOCK_BYTES + ds_align_up(walk.size_bytes, TAR_BLOCK_BYTES);
    }
    return result;
}

void ova_index_free(struct ova_index *index)
{
    free(index->members);
    *index = (struct ova_index){ 0 };
}

const struct ova_member *ova_index_find(const struct ova_index *index,
                                        const char *name)
{
    for (size_t i = 0; i < index->member_count; i++)
        if (strcmp(index->members[i].name, name) == 0)
            return &index->members[i];
    return NULL;
}

const struct ova_member *ova_index_find_ending(const struct ova_index *index,
                                               const char *ending,
                                               size_t *count)
{
    const struct ova_member *found = NULL;

    *count = 0;
    for (size_t i = 0; i < index->member_count; i++) {
        if (!ends_with(index->members[i].name, ending))
            continue;
        found = &index->members[i];
        (*count)++;
    }
    return *count == 1 ? found : NULL;
}
