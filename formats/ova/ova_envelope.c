/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OVF descriptor (DMTF DSP0243): which disks there are and which files
 * they lie in. Read as a stream of elements; no tree is built. A document
 * type is refused where it begins, so there are no entities to expand and
 * nothing outside to load.
 */
#include <stdlib.h>
#include <string.h>

#include <expat.h>

#include "fail.h"
#include "ova.h"

/* Versions 1.x and 2.x, and what VMware used before them. */
static const char *const namespaces[] = {
    "http://schemas.dmtf.org/ovf/envelope/1",
    "http://schemas.dmtf.org/ovf/envelope/2",
    "http://www.vmware.com/schema/ovf/1/envelope",
};
#define NAMESPACE_COUNT (sizeof(namespaces) / sizeof(namespaces[0]))

/* Elements that are of interest lie this deep: Envelope, section, entry. */
#define ENTRY_DEPTH 3
/* The parser keeps something for each open element. */
#define ELEMENT_DEPTH_MAX 256u
/* Between URI and name, as the parser hands them over. No name has it. */
#define SEPARATOR '\n'

struct parse {
    XML_Parser parser;
    struct ova_envelope *out;
    const struct ds_file *file;
    uint64_t offset_bytes;
    unsigned depth;
    char section[32]; /* the element of depth 2 */
    int result;       /* the first failure, already in *err */
    struct ds_error *err;
};

/* Handlers may be called once more after it. */
static void stop(struct parse *parse, int result)
{
    if (parse->result == 0)
        parse->result = result;
    (void)XML_StopParser(parse->parser, XML_FALSE);
}

/* "URI SEPARATOR name", or the name alone when it is in no namespace. */
struct qualified {
    const char *uri; /* not ended by a NUL; NULL: none */
    size_t uri_bytes;
    const char *name;
};

static struct qualified qualified_of(const char *joined)
{
    const char *separator = strrchr(joined, SEPARATOR);

    if (separator == NULL)
        return (struct qualified){ .name = joined };
    return (struct qualified){ joined, (size_t)(separator - joined),
                               separator + 1 };
}

static bool is_ovf(const struct qualified *qualified)
{
    for (size_t i = 0; qualified->uri != NULL && i < NAMESPACE_COUNT; i++)
        if (strlen(namespaces[i]) == qualified->uri_bytes &&
            memcmp(namespaces[i], qualified->uri, qualified->uri_bytes) == 0)
            return true;
    return false;
}

/* -- attributes ------------------------------------------------------------ */

/* An attribute of OVF's, or one without a namespace, which some write. */
static bool is_attribute(const char *joined, const char *name)
{
    struct qualified have = qualified_of(joined);

    return strcmp(have.name, name) == 0 && (have.uri == NULL || is_ovf(&have));
}

/* Of the pairs of name and value; "" when it is not there. */
static void attribute_get(struct parse *parse, const char **pairs,
                          const char *name, char *out, size_t out_bytes)
{
    size_t length;

    out[0] = '\0';
    while (pairs[0] != NULL && !is_attribute(pairs[0], name))
        pairs += 2;
    if (pairs[0] == NULL)
        return;
    length = strlen(pairs[1]);
    if (length < out_bytes)
        memcpy(out, pairs[1], length + 1);
    else
        stop(parse, ds_fail_at(parse->err, parse->file, parse->offset_bytes,
                               DS_ERR_LIMIT,
                               "ova: ovf: attribute %s: have %zu bytes "
                               "expect less than %zu",
                               name, length, out_bytes));
}

/* -- elements -------------------------------------------------------------- */

/* Room for one more; NULL when there is none. */
static void *grow(struct parse *parse, void *array, size_t count, size_t size,
                  const char *what)
{
    void *grown;

    if (count == OVA_MEMBER_COUNT_MAX) {
        stop(parse, ds_fail_at(parse->err, parse->file, parse->offset_bytes,
                               DS_ERR_LIMIT, "ova: ovf: more than %u %s",
                               OVA_MEMBER_COUNT_MAX, what));
        return NULL;
    }
    grown = realloc(array, (count + 1) * size);
    if (grown == NULL)
        stop(parse, ds_fail_memory(parse->err));
    return grown;
}

static void take_file(struct parse *parse, const char **attributes)
{
    struct ova_envelope *out = parse->out;
    struct ova_file_reference *file =
        grow(parse, out->files, out->file_count, sizeof(*file), "files");
    char chunk_size[32];

    if (file == NULL)
        return;
    out->files = file;
    file += out->file_count;
    attribute_get(parse, attributes, "id", file->id, sizeof(file->id));
    attribute_get(parse, attributes, "href", file->href, sizeof(file->href));
    attribute_get(parse, attributes, "compression", file->compression,
                  sizeof(file->compression));
    attribute_get(parse, attributes, "chunkSize", chunk_size,
                  sizeof(chunk_size));
    file->is_chunked = chunk_size[0] != '\0';
    out->file_count++;
}

static void take_disk(struct parse *parse, const char **attributes)
{
    struct ova_envelope *out = parse->out;
    struct ova_disk *disk =
        grow(parse, out->disks, out->disk_count, sizeof(*disk), "disks");

    if (disk == NULL)
        return;
    out->disks = disk;
    disk += out->disk_count;
    attribute_get(parse, attributes, "diskId", disk->id, sizeof(disk->id));
    attribute_get(parse, attributes, "fileRef", disk->file_reference,
                  sizeof(disk->file_reference));
    attribute_get(parse, attributes, "parentRef", disk->parent_reference,
                  sizeof(disk->parent_reference));
    attribute_get(parse, attributes, "format", disk->format,
                  sizeof(disk->format));
    out->disk_count++;
}

static void take_root(struct parse *parse, const struct qualified *element)
{
    bool known = is_ovf(element);
    bool called = strcmp(element->name, "Envelope") == 0;

    if (called && known)
        return;
    stop(parse,
         ds_fail_at(parse->err, parse->file, parse->offset_bytes,
                    called ? DS_ERR_UNSUPPORTED : DS_ERR_CORRUPT,
                    "ova: ovf: root element, have %.64s%s expect an Envelope "
                    "of OVF",
                    element->name, known ? "" : " of another namespace"));
}

static void on_start(void *user, const char *joined, const char **attributes)
{
    struct parse *parse = user;
    struct qualified element = qualified_of(joined);

    if (parse->result != 0)
        return;
    if (++parse->depth > ELEMENT_DEPTH_MAX)
        stop(parse, ds_fail_at(parse->err, parse->file, parse->offset_bytes,
                               DS_ERR_LIMIT,
                               "ova: ovf: elements, have %u one in the other "
                               "expect at most %u",
                               parse->depth, ELEMENT_DEPTH_MAX));
    if (parse->depth == 1)
        take_root(parse, &element);
    if (parse->depth == ENTRY_DEPTH - 1) {
        parse->section[0] = '\0';
        if (is_ovf(&element) && strlen(element.name) < sizeof(parse->section))
            strcpy(parse->section, element.name);
    }
    if (parse->depth != ENTRY_DEPTH || !is_ovf(&element))
        return;
    if (strcmp(parse->section, "References") == 0 &&
        strcmp(element.name, "File") == 0)
        take_file(parse, attributes);
    if (strcmp(parse->section, "DiskSection") == 0 &&
        strcmp(element.name, "Disk") == 0)
        take_disk(parse, attributes);
}

static void on_end(void *user, const char *joined)
{
    struct parse *parse = user;

    (void)joined;
    parse->depth--;
}

static void on_doctype(void *user, const char *name, const char *system,
                       const char *public, int has_internal)
{
    struct parse *parse = user;

    (void)name;
    (void)system;
    (void)public;
    (void)has_internal;
    stop(parse, ds_fail_at(parse->err, parse->file, parse->offset_bytes,
                           DS_ERR_REFUSED,
                           "ova: ovf: has a document type, which a descriptor "
                           "does not need"));
}

/* -- the document ---------------------------------------------------------- */

static int fail_xml(struct parse *parse)
{
    enum XML_Error code = XML_GetErrorCode(parse->parser);

    if (code == XML_ERROR_NO_MEMORY)
        return ds_fail_memory(parse->err);
    return ds_fail_at(parse->err, parse->file, parse->offset_bytes,
                      DS_ERR_CORRUPT, "ova: ovf: line %lu: xml: %s",
                      (unsigned long)XML_GetCurrentLineNumber(parse->parser),
                      XML_ErrorString(code));
}

int ova_envelope_parse(const char *text, size_t length_bytes,
                       const struct ds_file *file, uint64_t offset_bytes,
                       struct ova_envelope *out, struct ds_error *err)
{
    struct parse parse = {
        .out = out, .file = file, .offset_bytes = offset_bytes, .err = err
    };

    if (length_bytes == 0)
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "ova: ovf: empty, expect a descriptor");
    parse.parser = XML_ParserCreateNS(NULL, SEPARATOR);
    if (parse.parser == NULL)
        return ds_fail_memory(err);
    XML_SetUserData(parse.parser, &parse);
    XML_SetElementHandler(parse.parser, on_start, on_end);
    XML_SetStartDoctypeDeclHandler(parse.parser, on_doctype);
    /* At most OVA_ENVELOPE_BYTES_MAX. */
    if (XML_Parse(parse.parser, text, (int)length_bytes, XML_TRUE) !=
            XML_STATUS_OK &&
        parse.result == 0)
        parse.result = fail_xml(&parse);
    XML_ParserFree(parse.parser);
    return parse.result;
}

/* -- what a file begins with ----------------------------------------------- */

struct root {
    XML_Parser parser;
    bool is_envelope;
};

static void on_root(void *user, const char *joined, const char **attributes)
{
    struct root *root = user;
    struct qualified element = qualified_of(joined);

    (void)attributes;
    root->is_envelope =
        strcmp(element.name, "Envelope") == 0 && is_ovf(&element);
    (void)XML_StopParser(root->parser, XML_FALSE);
}

/* Nothing of it is read; opening refuses it by name. */
static void on_root_doctype(void *user, const char *name, const char *system,
                            const char *public, int has_internal)
{
    struct root *root = user;
    const char *colon = strrchr(name, ':');

    (void)system;
    (void)public;
    (void)has_internal;
    root->is_envelope =
        strcmp(colon != NULL ? colon + 1 : name, "Envelope") == 0;
    (void)XML_StopParser(root->parser, XML_FALSE);
}

bool ova_envelope_probe(const void *head, size_t head_bytes)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    const char *text = head;
    struct root root = { .is_envelope = false };
    size_t at = 0;

    if (head_bytes >= 3 && memcmp(text, byte_order_mark, 3) == 0)
        at = 3;
    while (at < head_bytes && strchr(" \t\r\n", text[at]) != NULL &&
           text[at] != '\0')
        at++;
    if (at == head_bytes || text[at] != '<')
        return false;
    root.parser = XML_ParserCreateNS(NULL, SEPARATOR);
    if (root.parser == NULL)
        return false;
    XML_SetUserData(root.parser, &root);
    XML_SetStartElementHandler(root.parser, on_root);
    XML_SetStartDoctypeDeclHandler(root.parser, on_root_doctype);
    (void)XML_Parse(root.parser, text, (int)head_bytes, XML_FALSE);
    XML_ParserFree(root.parser);
    return root.is_envelope;
}

void ova_envelope_free(struct ova_envelope *envelope)
{
    free(envelope->files);
    free(envelope->disks);
    *envelope = (struct ova_envelope){ 0 };
}

const struct ova_file_reference *
ova_envelope_file(const struct ova_envelope *envelope, const char *id)
{
    for (size_t i = 0; i < envelope->file_count; i++)
        if (strcmp(envelope->files[i].id, id) == 0)
            return &envelope->files[i];
    return NULL;
}
