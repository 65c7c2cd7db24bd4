/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor: lines of text that say what a disk is and where its extents
 * lie (spec, "The Descriptor File").
 *
 *   # comment
 *   key = value              ("value" may stand in quotes)
 *   RW 4192256 SPARSE "disk-s001.vmdk" 0
 *
 * Parsed in place: the text is ours, strings are ended within it and pointed
 * at. Case and blanks are free, as the products differ in both; a line that
 * is none of the three is a fault.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "arith.h"
#include "budget.h"
#include "fail.h"
#include "vmdk.h"

struct parser {
    const struct ds_file *file;
    struct ds_budget *budget;
    uint64_t offset_bytes; /* of the text in the file */
    struct vmdk_descriptor *descriptor;
    bool is_padded; /* there is room behind the text, so it is all there */
};

static uint64_t position(const struct parser *parser, const char *at)
{
    return parser->offset_bytes + (uint64_t)(at - parser->descriptor->text);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static char *skip_blanks(char *text)
{
    while (is_blank(*text))
        text++;
    return text;
}

static void trim_end(char *text)
{
    size_t length = strlen(text);

    while (length > 0 && is_blank(text[length - 1]))
        length--;
    text[length] = '\0';
}

/* Ends the word that begins at *text, which then points behind it. */
static char *take_word(char **text)
{
    char *word = skip_blanks(*text);
    char *end = word;

    while (*end != '\0' && !is_blank(*end))
        end++;
    *text = *end == '\0' ? end : end + 1;
    *end = '\0';
    return word;
}

static bool parse_decimal(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    const char *at = text;

    while (*at >= '0' && *at <= '9') {
        if (!ds_mul_u64(value, 10, &value) ||
            !ds_add_u64(value, (uint64_t)(*at - '0'), &value))
            return false;
        at++;
    }
    *out = value;
    return at != text && *at == '\0';
}

/* -- extent lines ---------------------------------------------------------- */

static bool is_extent_line(const char *text)
{
    static const char *const access[] = { "RW", "RDONLY", "NOACCESS" };

    for (size_t i = 0; i < sizeof(access) / sizeof(access[0]); i++) {
        size_t length = strlen(access[i]);

        if (strncasecmp(text, access[i], length) == 0 && is_blank(text[length]))
            return true;
    }
    return false;
}

static int parse_kind(const struct parser *parser, const char *word,
                      enum vmdk_extent_kind *kind, struct ds_error *err)
{
    static const struct {
        const char *word;
        bool read;
        enum vmdk_extent_kind kind;
        const char *what;
    } kinds[] = {
        { "FLAT", true, VMDK_EXTENT_FLAT, NULL },
        { "VMFS", true, VMDK_EXTENT_FLAT, NULL },
        { "SPARSE", true, VMDK_EXTENT_SPARSE, NULL },
        { "ZERO", true, VMDK_EXTENT_ZERO, NULL },
        { "VMFSSPARSE", true, VMDK_EXTENT_SPARSE, NULL },
        { "SESPARSE", true, VMDK_EXTENT_SESPARSE, NULL },
        { "VMFSRDM", false, 0, "a raw device mapping" },
        { "VMFSRDMP", false, 0, "a raw device mapping" },
        { "VMFSRAW", false, 0, "a raw device" },
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcasecmp(word, kinds[i].word) != 0)
            continue;
        *kind = kinds[i].kind;
        if (kinds[i].read)
            return 0;
        return ds_fail_at(err, parser->file, position(parser, word),
                          DS_ERR_UNSUPPORTED,
                          "vmdk: descriptor: extent type %s (%s) is not "
                          "supported yet",
                          kinds[i].word, kinds[i].what);
    }
    return ds_fail_at(err, parser->file, position(parser, word),
                      DS_ERR_UNSUPPORTED,
                      "vmdk: descriptor: extent type, have '%.32s' expect "
                      "FLAT, VMFS, SPARSE, VMFSSPARSE, SESPARSE or ZERO",
                      word);
}

/* "name" in quotes, and for flat extents the offset behind it. */
static int parse_place(const struct parser *parser, char *text,
                       struct vmdk_extent_line *line, struct ds_error *err)
{
    uint64_t sectors = 0;
    char *name = skip_blanks(text);
    char *end = *name == '"' ? strchr(name + 1, '"') : NULL;
    char *word;

    if (end == NULL || end == name + 1)
        return ds_fail_at(err, parser->file, position(parser, name),
                          DS_ERR_CORRUPT,
                          "vmdk: descriptor: extent name, have '%.64s' "
                          "expect a name in quotes",
                          name);
    *end = '\0';
    line->name = name + 1;
    text = end + 1;
    word = take_word(&text);
    if (*word != '\0' &&
        (!parse_decimal(word, &sectors) ||
         !ds_mul_u64(sectors, DS_SECTOR_BYTES, &line->file_begin_bytes)))
        return ds_fail_at(err, parser->file, position(parser, word),
                          DS_ERR_CORRUPT,
                          "vmdk: descriptor: extent offset, have '%.32s' "
                          "expect a number of sectors",
                          word);
    if (line->kind != VMDK_EXTENT_FLAT && sectors != 0)
        return ds_fail_at(err, parser->file, position(parser, word),
                          DS_ERR_UNSUPPORTED,
                          "vmdk: descriptor: offset of a sparse extent, have "
                          "%" PRIu64 " sectors expect 0",
                          sectors);
    word = skip_blanks(text);
    if (*word != '\0')
        return ds_fail_at(err, parser->file, position(parser, word),
                          DS_ERR_UNSUPPORTED,
                          "vmdk: descriptor: words behind the extent's "
                          "offset, have '%.64s' expect none",
                          word);
    return 0;
}

static int add_line(const struct parser *parser,
                    const struct vmdk_extent_line *line, struct ds_error *err)
{
    struct vmdk_descriptor *descriptor = parser->descriptor;

    if (descriptor->line_count == descriptor->line_capacity) {
        size_t capacity = descriptor->line_capacity * 2 + 8;
        struct vmdk_extent_line *lines;
        /* Each time anew, since both lie in memory while it grows. */
        int result = ds_budget_memory(parser->budget, parser->file,
                                      "vmdk: descriptor: bytes of extent lines",
                                      capacity * sizeof(*lines), err);

        if (result != 0)
            return result;
        lines = reallocarray(descriptor->lines, capacity, sizeof(*lines));
        if (lines == NULL)
            return ds_fail_memory(err);
        descriptor->lines = lines;
        descriptor->line_capacity = capacity;
    }
    descriptor->lines[descriptor->line_count++] = *line;
    return 0;
}

/* Spec, "The Descriptor File", extent description: access, size in sectors,
 * type, name, offset. */
static int parse_extent(const struct parser *parser, char *text,
                        struct ds_error *err)
{
    struct vmdk_extent_line line = { .position_bytes = position(parser, text) };
    char *access = take_word(&text);
    char *size = take_word(&text);
    char *kind = take_word(&text);
    uint64_t sectors;
    int result;

    if (!parse_decimal(size, &sectors) ||
        !ds_mul_u64(sectors, DS_SECTOR_BYTES, &line.length_bytes))
        return ds_fail_at(err, parser->file, position(parser, size),
                          DS_ERR_CORRUPT,
                          "vmdk: descriptor: extent size, have '%.32s' expect "
                          "a number of sectors",
                          size);
    /* What a guest gets from such an extent is an error, not data. */
    if (strcasecmp(access, "NOACCESS") == 0)
        return ds_fail_at(err, parser->file, line.position_bytes,
                          DS_ERR_UNSUPPORTED,
                          "vmdk: descriptor: extent access NOACCESS is not "
                          "supported yet");
    result = parse_kind(parser, kind, &line.kind, err);
    if (result == 0 && line.kind != VMDK_EXTENT_ZERO)
        result = parse_place(parser, text, &line, err);
    if (result == 0)
        result = add_line(parser, &line, err);
    return result;
}

/* -- keys ------------------------------------------------------------------ */

static int refuse_encrypted(const struct parser *parser, const char *key,
                            struct ds_error *err)
{
    return ds_fail_at(err, parser->file, position(parser, key),
                      DS_ERR_UNSUPPORTED,
                      "vmdk: descriptor: key %.64s: encrypted disks are not "
                      "supported yet",
                      key);
}

/* Keys that make the data something other than it looks. */
static int check_key(const struct parser *parser, const char *key,
                     const char *value, struct ds_error *err)
{
    if (strncasecmp(key, "encryption", strlen("encryption")) == 0 ||
        strcasecmp(key, "dataFileKey") == 0 ||
        (strcasecmp(key, "ddb.iofilters") == 0 &&
         strcasestr(value, "crypt") != NULL))
        return refuse_encrypted(parser, key, err);
    return 0;
}

/* A key twice with two values would be read one way here and another way
 * elsewhere. */
static int keep_value(const struct parser *parser, const char *key,
                      const char *value, struct ds_error *err)
{
    struct vmdk_descriptor *descriptor = parser->descriptor;
    const struct {
        const char *key;
        const char **value;
    } kept[] = {
        { "version", &descriptor->version },
        { "encoding", &descriptor->encoding },
        { "CID", &descriptor->cid },
        { "parentCID", &descriptor->parent_cid },
        { "parentFileNameHint", &descriptor->parent_hint },
        { "createType", &descriptor->create_type },
        { "ddb.adapterType", &descriptor->adapter_type },
        { "ddb.virtualHWVersion", &descriptor->hardware_version },
        { "ddb.uuid", &descriptor->uuid },
    };

    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        if (strcasecmp(key, kept[i].key) != 0)
            continue;
        if (*kept[i].value != NULL && strcmp(*kept[i].value, value) != 0)
            return ds_fail_at(err, parser->file, position(parser, value),
                              DS_ERR_CORRUPT,
                              "vmdk: descriptor: %s a second time, have "
                              "'%.64s' expect '%.64s'",
                              kept[i].key, value, *kept[i].value);
        *kept[i].value = value;
    }
    return 0;
}

static int parse_pair(const struct parser *parser, char *key,
                      struct ds_error *err)
{
    char *value = strchr(key, '=');
    char *end;
    int result;

    if (value == NULL || value == key)
        return ds_fail_at(err, parser->file, position(parser, key),
                          DS_ERR_CORRUPT,
                          "vmdk: descriptor: line, have '%.64s' expect an "
                          "extent, a key and its value, or a comment",
                          key);
    *value++ = '\0';
    value = skip_blanks(value);
    trim_end(key);
    trim_end(value);
    if (*value == '"') {
        end = strrchr(value, '"');
        if (end == value || end[1] != '\0')
            return ds_fail_at(err, parser->file, position(parser, value),
                              DS_ERR_CORRUPT,
                              "vmdk: descriptor: value of %.64s, have '%.64s' "
                              "expect an ending quote",
                              key, value);
        *end = '\0';
        value++;
    }
    result = keep_value(parser, key, value, err);
    return result != 0 ? result : check_key(parser, key, value, err);
}

/* -- the whole ------------------------------------------------------------- */

static int check_create_type(const struct parser *parser, struct ds_error *err)
{
    static const char *const refused[] = {
        "vmfsRawDeviceMap",
        "vmfsRDM",
        "vmfsRDMP",
        "vmfsRaw",
        "fullDevice",
        "partitionedDevice",
        "vmfsPassthroughRawDeviceMap",
    };
    const char *type = parser->descriptor->create_type;

    if (type == NULL)
        return ds_fail_at(err, parser->file, parser->offset_bytes,
                          DS_ERR_CORRUPT,
                          "vmdk: descriptor: createType, have none expect "
                          "one");
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        if (strcasecmp(type, refused[i]) == 0)
            return ds_fail_at(err, parser->file, position(parser, type),
                              DS_ERR_UNSUPPORTED,
                              "vmdk: descriptor: createType %s is not "
                              "supported yet",
                              refused[i]);
    return 0;
}

/* Spec: parentCID is ffffffff when the disk has no parent. A hint without
 * that would be a delta too; to read one as a whole disk would be silent
 * loss, and as a delta, a guess. */
static int check_parent(const struct parser *parser, struct ds_error *err)
{
    const struct vmdk_descriptor *descriptor = parser->descriptor;
    const char *parent = descriptor->parent_cid;
    const char *hint = descriptor->parent_hint;
    uint32_t cid = VMDK_CID_NONE;

    if (parent != NULL && !vmdk_cid_parse(parent, &cid))
        return ds_fail_at(err, parser->file, position(parser, parent),
                          DS_ERR_CORRUPT,
                          "vmdk: descriptor: parentCID, have '%.32s' expect "
                          "up to 8 hexadecimal digits",
                          parent);
    if (cid == VMDK_CID_NONE && hint != NULL && *hint != '\0')
        return ds_fail_at(err, parser->file, position(parser, hint),
                          DS_ERR_CORRUPT,
                          "vmdk: descriptor: parentFileNameHint, have "
                          "'%.64s' without a parentCID expect both or none",
                          hint);
    return 0;
}

static int check_version(const struct parser *parser, struct ds_error *err)
{
    const char *version = parser->descriptor->version;
    uint64_t number;

    if (version == NULL)
        return 0; /* nothing that we read depends on it */
    if (!parse_decimal(version, &number))
        return ds_fail_at(err, parser->file, position(parser, version),
                          DS_ERR_CORRUPT,
                          "vmdk: descriptor: version, have '%.32s' expect a "
                          "number",
                          version);
    if (number < 1 || number > 4)
        return ds_fail_at(
            err, parser->file, position(parser, version), DS_ERR_UNSUPPORTED,
            "vmdk: descriptor: version, have %" PRIu64 " expect 1 to 4",
            number);
    return 0;
}

/* The last number of a line that was cut off reads as another number. */
static int fail_cut(const struct parser *parser, const char *line,
                    struct ds_error *err)
{
    return ds_fail_at(err, parser->file, position(parser, line), DS_ERR_CORRUPT,
                      "vmdk: descriptor: truncated, have an extent line at its "
                      "end expect a line feed behind it");
}

static int parse_text(const struct parser *parser, struct ds_error *err)
{
    char *next = parser->descriptor->text;
    int result = 0;

    if (strncmp(next, "\xef\xbb\xbf", 3) == 0)
        next += 3; /* a UTF-8 byte order mark */
    while (result == 0 && next != NULL) {
        char *line = skip_blanks(next);

        /* Not beyond a text without an end of line: skip_blanks stops at 0 */
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        trim_end(line);
        if (*line == '\0' || *line == '#')
            continue;
        if (next == NULL && !parser->is_padded && is_extent_line(line))
            return fail_cut(parser, line, err);
        result = is_extent_line(line) ? parse_extent(parser, line, err)
                                      : parse_pair(parser, line, err);
    }
    if (result == 0)
        result = check_version(parser, err);
    if (result == 0)
        result = check_create_type(parser, err);
    if (result == 0)
        result = check_parent(parser, err);
    return result;
}

int vmdk_descriptor_read(struct ds_file *file, uint64_t offset_bytes,
                         uint64_t length_bytes, struct ds_budget *budget,
                         struct vmdk_descriptor *out, struct ds_error *err)
{
    struct parser parser = { .file = file,
                             .budget = budget,
                             .offset_bytes = offset_bytes,
                             .descriptor = out };
    int result;

    if (length_bytes > VMDK_DESCRIPTOR_BYTES_MAX)
        return ds_fail_at(err, file, offset_bytes, DS_ERR_LIMIT,
                          "vmdk: descriptor: length, have %" PRIu64
                          " bytes expect at most %" PRIu64,
                          length_bytes, VMDK_DESCRIPTOR_BYTES_MAX);
    *out = (struct vmdk_descriptor){ 0 };
    result = ds_budget_memory(budget, file, "vmdk: descriptor: bytes of text",
                              length_bytes, err);
    if (result != 0)
        return result;
    /* The end is always there: padding is zeros, and one is added. */
    out->text = calloc(1, length_bytes + 1);
    if (out->text == NULL)
        return ds_fail_memory(err);
    result = ds_file_read(file, offset_bytes, out->text, length_bytes, err);
    parser.is_padded = strlen(out->text) < length_bytes;
    if (result == 0)
        result = parse_text(&parser, err);
    if (result != 0)
        vmdk_descriptor_free(out);
    return result;
}

void vmdk_descriptor_free(struct vmdk_descriptor *descriptor)
{
    free(descriptor->text);
    free(descriptor->lines);
    *descriptor = (struct vmdk_descriptor){ 0 };
}
