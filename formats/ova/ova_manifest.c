/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest: a line for each file of the package,
 *
 *   SHA256(disk1.vmdk)= 9f86d081884c7d65...
 *
 * with or without blanks around the parentheses and the sign.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "ova.h"

static int fail_line(const struct ova_manifest *manifest, const char *line,
                     enum ds_error_class error_class, const char *what,
                     struct ds_error *err)
{
    uint64_t offset =
        manifest->offset_bytes + (uint64_t)(line - manifest->text);

    return ds_fail_at(
        err, manifest->file, offset, error_class, "ova: manifest: '%.*s': %s",
        (int)strcspn(line, "\r\n") < 60 ? (int)strcspn(line, "\r\n") : 60, line,
        what);
}

static const struct {
    const char *name;
    enum ds_digest_kind kind;
} algorithms[] = {
    { "SHA1", DS_DIGEST_SHA1 },
    { "SHA256", DS_DIGEST_SHA256 },
    { "SHA512", DS_DIGEST_SHA512 },
};
#define ALGORITHM_COUNT (sizeof(algorithms) / sizeof(algorithms[0]))

static bool algorithm_get(const char *name, size_t length,
                          enum ds_digest_kind *kind)
{
    for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
        if (strlen(algorithms[i].name) != length ||
            memcmp(algorithms[i].name, name, length) != 0)
            continue;
        *kind = algorithms[i].kind;
        return true;
    }
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Exactly so many digits, and then nothing but blanks up to `end`. */
static bool digest_get(const char *at, const char *end, size_t digest_bytes,
                       uint8_t *out)
{
    for (size_t i = 0; i < digest_bytes; i++, at += 2) {
        int high = at < end ? hex_digit(at[0]) : -1;
        int low = high >= 0 && at + 1 < end ? hex_digit(at[1]) : -1;

        if (low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at == end;
}

/* `line` to `end`, which is not empty. The name may hold parentheses: it
 * ends at the last one. */
static const char *entry_parse(const char *line, const char *end,
                               struct ova_manifest_entry *entry)
{
    size_t length = (size_t)(end - line);
    const char *open = memchr(line, '(', length);
    const char *close = memrchr(line, ')', length);
    const char *word_end = open;
    const char *at;

    if (open == NULL || close == NULL || close <= open + 1)
        return "expect ALGORITHM(NAME)= DIGEST";
    while (word_end > line && word_end[-1] == ' ')
        word_end--;
    if (!algorithm_get(line, (size_t)(word_end - line), &entry->kind))
        return NULL;
    if ((size_t)(close - open) > sizeof(entry->name))
        return "name: too long";
    memcpy(entry->name, open + 1, (size_t)(close - open - 1));
    entry->name[close - open - 1] = '\0';
    at = close + 1;
    while (at < end && *at == ' ')
        at++;
    if (at == end || *at != '=')
        return "expect a '=' after the name";
    at++;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if (!digest_get(at, end, ds_digest_bytes(entry->kind), entry->digest))
        return "digest: expect hexadecimal digits, as many as the algorithm "
               "has";
    return "";
}

int ova_manifest_next(const struct ova_manifest *manifest, const char **at,
                      struct ova_manifest_entry *entry, struct ds_error *err)
{
    const char *line = *at != NULL ? *at : manifest->text;
    const char *wrong, *end;

    if (line == NULL)
        return 0;
    line += strspn(line, " \t\r\n");
    if (*line == '\0')
        return 0;
    end = line + strcspn(line, "\r\n");
    *at = end;
    wrong = entry_parse(line, end, entry);
    if (wrong == NULL)
        return fail_line(manifest, line, DS_ERR_UNSUPPORTED,
                         "algorithm: expect SHA1, SHA256 or SHA512", err);
    if (wrong[0] != '\0')
        return fail_line(manifest, line, DS_ERR_CORRUPT, wrong, err);
    return 1;
}

/* Every line has its form and its file. */
static int check_lines(const struct ova_manifest *manifest,
                       const struct ova_index *index, struct ds_error *err)
{
    struct ova_manifest_entry entry;
    const char *at = NULL;
    int result;

    while ((result = ova_manifest_next(manifest, &at, &entry, err)) > 0)
        if (index != NULL && ova_index_find(index, entry.name) == NULL)
            return ds_fail_at(err, manifest->file, manifest->offset_bytes,
                              DS_ERR_CORRUPT,
                              "ova: manifest: lists '%.100s', which is not in "
                              "the archive",
                              entry.name);
    return result;
}

int ova_manifest_read(struct ds_file *file, const struct ova_member *member,
                      const struct ova_index *index, struct ova_manifest *out,
                      struct ds_error *err)
{
    size_t length;
    int result;

    if (member->size_bytes > OVA_MANIFEST_BYTES_MAX)
        return ds_fail_at(err, file, member->offset_bytes, DS_ERR_LIMIT,
                          "ova: manifest: size, have %" PRIu64
                          " bytes expect at most %" PRIu64,
                          member->size_bytes, OVA_MANIFEST_BYTES_MAX);
    length = (size_t)member->size_bytes;
    out->text = malloc(length + 1);
    if (out->text == NULL)
        return ds_fail_memory(err);
    out->file = file;
    out->offset_bytes = member->offset_bytes;
    out->text[length] = '\0';
    result = ds_file_read(file, member->offset_bytes, out->text, length, err);
    if (result == 0 && strlen(out->text) != length)
        result = ds_fail_at(err, file, member->offset_bytes + strlen(out->text),
                            DS_ERR_CORRUPT,
                            "ova: manifest: have a NUL byte expect text");
    return result == 0 ? check_lines(out, index, err) : result;
}

void ova_manifest_free(struct ova_manifest *manifest)
{
    free(manifest->text);
    *manifest = (struct ova_manifest){ 0 };
}

/* -- verifying ------------------------------------------------------------- */

static int fail_digest(const struct ova_manifest_entry *entry,
                       const uint8_t *have, const struct ds_digest_part *part,
                       struct ds_error *err)
{
    char hex[2][2 * DS_DIGEST_BYTES_MAX + 1];

    for (size_t i = 0; i < ds_digest_bytes(entry->kind); i++) {
        (void)snprintf(hex[0] + 2 * i, 3, "%02x", have[i]);
        (void)snprintf(hex[1] + 2 * i, 3, "%02x", entry->digest[i]);
    }
    return ds_fail_at(err, part->file, part->offset_bytes, DS_ERR_CORRUPT,
                      "ova: manifest: %s of '%.100s', have %s expect %s",
                      algorithms[entry->kind].name, entry->name, hex[0],
                      hex[1]);
}

int ova_manifest_verify(const struct ova_manifest *manifest, const char *name,
                        const struct ds_digest_part *part, size_t *listed,
                        struct ds_error *err)
{
    uint8_t have[DS_DIGEST_BYTES_MAX];
    struct ova_manifest_entry entry;
    bool seen[ALGORITHM_COUNT] = { false };
    const char *at = NULL;
    int result;

    *listed = 0;
    while ((result = ova_manifest_next(manifest, &at, &entry, err)) > 0) {
        if (strcmp(entry.name, name) != 0)
            continue;
        (*listed)++;
        /* A file is read once for an algorithm, not once for a line. */
        if (seen[entry.kind])
            return ds_fail_at(err, manifest->file, manifest->offset_bytes,
                              DS_ERR_CORRUPT,
                              "ova: manifest: lists the %s of '%.100s' a "
                              "second time",
                              algorithms[entry.kind].name, name);
        seen[entry.kind] = true;
        result = ds_digest_file(entry.kind, part, have, err);
        if (result != 0)
            return result;
        if (memcmp(have, entry.digest, ds_digest_bytes(entry.kind)) != 0)
            return fail_digest(&entry, have, part, err);
    }
    return result;
}
