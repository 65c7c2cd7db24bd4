/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OVF descriptor (DMTF DSP0243): which disks there are and which files
 * they lie in. Read as a stream of elements; no tree is built. A document
 * type is refused where it begins, so there are no entities to expand and
 * nothing outside to load.
 */
#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/parserInternals.h>

#include "arith.h"
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

struct parse {
    xmlParserCtxtPtr parser;
    struct ova_envelope *out;
    const struct ds_file *file;
    uint64_t offset_bytes;
    unsigned depth;
    char section[32]; /* the element of depth 2 */
    int result;       /* the first failure, already in *err */
    struct ds_error *err;
};

static void stop(struct parse *parse, int result)
{
    if (parse->result == 0)
        parse->result = result;
    xmlStopParser(parse->parser);
}

static bool is_ovf(const xmlChar *uri)
{
    for (size_t i = 0; uri != NULL && i < NAMESPACE_COUNT; i++)
        if (strcmp((const char *)uri, namespaces[i]) == 0)
            return true;
    return false;
}

/* -- attributes ------------------------------------------------------------ */

/* As SAX2 hands them over: name, prefix, URI, value's begin and end. */
struct attributes {
    const xmlChar **five;
    int count;
};

/* The parser gives an ampersand as "&#38;" when it does not replace entities,
 * and every other character as itself. */
static bool value_copy(const char *value, size_t length, char *out,
                       size_t out_bytes)
{
    static const char ampersand[] = "&#38;";
    size_t used = 0;

    for (size_t at = 0; at < length; used++) {
        if (used + 1 >= out_bytes)
            return false;
        out[used] = value[at];
        if (length - at >= sizeof(ampersand) - 1 &&
            memcmp(value + at, ampersand, sizeof(ampersand) - 1) == 0)
            at += sizeof(ampersand) - 1;
        else
            at++;
    }
    out[used] = '\0';
    return true;
}

/* An attribute of OVF's, or one without a namespace, which some write. */
static bool is_attribute(const xmlChar **five, const char *name)
{
    return strcmp((const char *)five[0], name) == 0 &&
           (five[2] == NULL || is_ovf(five[2]));
}

/* "" when it is not there. */
static void attribute_get(struct parse *parse,
                          const struct attributes *attributes, const char *name,
                          char *out, size_t out_bytes)
{
    out[0] = '\0';
    for (int i = 0; i < attributes->count; i++) {
        const xmlChar **five = attributes->five + 5 * (size_t)i;

        if (!is_attribute(five, name))
            continue;
        if (!value_copy((const char *)five[3], (size_t)(five[4] - five[3]), out,
                        out_bytes))
            stop(parse,
                 ds_fail_at(parse->err, parse->file, parse->offset_bytes,
                            DS_ERR_LIMIT,
                            "ova: ovf: attribute %s: have %zu bytes "
                            "expect less than %zu",
                            name, (size_t)(five[4] - five[3]), out_bytes));
        return;
    }
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

static void take_file(struct parse *parse, const struct attributes *attributes)
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

static void take_disk(struct parse *parse, const struct attributes *attributes)
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

static void take_root(struct parse *parse, const char *name, bool known)
{
    if (strcmp(name, "Envelope") == 0 && known)
        return;
    stop(parse,
         ds_fail_at(parse->err, parse->file, parse->offset_bytes,
                    strcmp(name, "Envelope") == 0 ? DS_ERR_UNSUPPORTED
                                                  : DS_ERR_CORRUPT,
                    "ova: ovf: root element, have %.64s%s expect an Envelope "
                    "of OVF",
                    name, known ? "" : " of another namespace"));
}

static void on_start(void *user, const xmlChar *xml_name, const xmlChar *prefix,
                     const xmlChar *uri, int namespace_count,
                     const xmlChar **xml_namespaces, int attribute_count,
                     int defaulted_count, const xmlChar **attribute_fives)
{
    struct parse *parse = user;
    const char *name = (const char *)xml_name;
    struct attributes attributes = { attribute_fives, attribute_count };

    (void)prefix;
    (void)namespace_count;
    (void)xml_namespaces;
    (void)defaulted_count;
    if (parse->result != 0)
        return;
    parse->depth++;
    if (parse->depth == 1)
        take_root(parse, name, is_ovf(uri));
    if (parse->depth == ENTRY_DEPTH - 1) {
        parse->section[0] = '\0';
        if (is_ovf(uri) && strlen(name) < sizeof(parse->section))
            strcpy(parse->section, name);
    }
    if (parse->depth != ENTRY_DEPTH || !is_ovf(uri))
        return;
    if (strcmp(parse->section, "References") == 0 && strcmp(name, "File") == 0)
        take_file(parse, &attributes);
    if (strcmp(parse->section, "DiskSection") == 0 && strcmp(name, "Disk") == 0)
        take_disk(parse, &attributes);
}

static void on_end(void *user, const xmlChar *name, const xmlChar *prefix,
                   const xmlChar *uri)
{
    struct parse *parse = user;

    (void)name;
    (void)prefix;
    (void)uri;
    parse->depth--;
}

static void on_doctype(void *user, const xmlChar *name, const xmlChar *external,
                       const xmlChar *system)
{
    struct parse *parse = user;

    (void)name;
    (void)external;
    (void)system;
    stop(parse, ds_fail_at(parse->err, parse->file, parse->offset_bytes,
                           DS_ERR_REFUSED,
                           "ova: ovf: has a document type, which a descriptor "
                           "does not need"));
}

/* -- the document ---------------------------------------------------------- */

static int fail_xml(struct parse *parse)
{
    const xmlError *error = xmlCtxtGetLastError(parse->parser);
    const char *message =
        error != NULL && error->message != NULL ? error->message : "damaged";

    return ds_fail_at(parse->err, parse->file, parse->offset_bytes,
                      DS_ERR_CORRUPT, "ova: ovf: line %d: xml: %.*s",
                      error != NULL ? error->line : 0,
                      (int)ds_min_u64(strcspn(message, "\n"), 200), message);
}

int ova_envelope_parse(const char *text, size_t length_bytes,
                       const struct ds_file *file, uint64_t offset_bytes,
                       struct ova_envelope *out, struct ds_error *err)
{
    struct parse parse = {
        .out = out, .file = file, .offset_bytes = offset_bytes, .err = err
    };

    xmlInitParser();
    /* At most OVA_ENVELOPE_BYTES_MAX. */
    parse.parser = xmlCreateMemoryParserCtxt(text, (int)length_bytes);
    if (parse.parser == NULL)
        return length_bytes == 0
                   ? ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                                "ova: ovf: empty, expect a descriptor")
                   : ds_fail_memory(err);
    *parse.parser->sax = (xmlSAXHandler){
        .initialized = XML_SAX2_MAGIC,
        .internalSubset = on_doctype,
        .startElementNs = on_start,
        .endElementNs = on_end,
    };
    parse.parser->userData = &parse;
    (void)xmlCtxtUseOptions(parse.parser, XML_PARSE_NONET | XML_PARSE_NOERROR |
                                              XML_PARSE_NOWARNING);
    (void)xmlParseDocument(parse.parser);
    if (parse.result == 0 && parse.parser->wellFormed == 0)
        parse.result = fail_xml(&parse);
    xmlFreeDoc(parse.parser->myDoc);
    parse.parser->myDoc = NULL;
    xmlFreeParserCtxt(parse.parser);
    return parse.result;
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
