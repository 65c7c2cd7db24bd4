/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An XML text as a tree, for domain XML and OVF. Names lose their prefix
 * ("rasd:Caption" is "Caption"). A DOCTYPE, and with it every entity of its
 * own, is refused. Bounded: XML_BYTES_MAX of text, XML_DEPTH_MAX deep.
 */
#ifndef ORCH_XML_H
#define ORCH_XML_H

#include "base.h"

#define XML_BYTES_MAX (4u << 20)
#define XML_DEPTH_MAX 64

struct xml {
    char *name;
    char **attributes; /* name, value, name, value ... */
    size_t attribute_count;
    char *text; /* of this element, trimmed; never NULL */
    size_t text_length;
    unsigned line;
    struct xml *parent, *first, *last, *next;
};

/** `file` is for messages. The caller owns *out (xml_free). */
int xml_parse(const char *text, size_t length_bytes, const char *file,
              struct xml **out, struct ds_error *err);
void xml_free(struct xml *root);
#define autoxml __attribute__((cleanup(cleanup_xml)))
static inline void cleanup_xml(struct xml **root)
{
    xml_free(*root);
}

/** The first element at "os/type" below `at`; NULL when there is none, also
 * when `at` is NULL. */
const struct xml *xml_at(const struct xml *at, const char *path);
/** The next sibling of the same name. */
const struct xml *xml_next(const struct xml *at);
/** An attribute's value or NULL; `at` may be NULL. */
const char *xml_attribute(const struct xml *at, const char *name);
/** The text at `path`, or NULL. */
const char *xml_text(const struct xml *at, const char *path);
/** An unsigned number; false when absent or none. */
bool xml_number(const char *text, uint64_t *out);
/** `text` with &, <, >, quotes made harmless, for writing. */
char *xml_escape(const char *text);

#endif
