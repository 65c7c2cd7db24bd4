/* SPDX-License-Identifier: Apache-2.0 */
#include "xml.h"

#include <stdio.h>
#include <string.h>

#include <expat.h>

struct building {
    XML_Parser parser;
    struct xml *root;
    struct xml *at;
    unsigned depth;
    const char *refused;
};

static void refuse(struct building *building, const char *why)
{
    building->refused = why;
    XML_StopParser(building->parser, XML_FALSE);
}

static const char *local_name(const char *name)
{
    const char *colon = strrchr(name, ':');

    return colon != NULL ? colon + 1 : name;
}

static void begin_element(void *user, const char *name, const char **attributes)
{
    struct building *building = user;
    struct xml *element = need(sizeof(*element));

    element->name = text_copy(local_name(name));
    element->text = text_copy("");
    element->line = (unsigned)XML_GetCurrentLineNumber(building->parser);
    element->parent = building->at;
    while (attributes[element->attribute_count] != NULL)
        element->attribute_count += 2;
    element->attributes = need(element->attribute_count * sizeof(char *));
    for (size_t i = 0; i < element->attribute_count; i += 2) {
        element->attributes[i] = text_copy(local_name(attributes[i]));
        element->attributes[i + 1] = text_copy(attributes[i + 1]);
    }
    if (building->at == NULL)
        building->root = element;
    else if (building->at->last == NULL)
        building->at->first = building->at->last = element;
    else
        building->at->last = building->at->last->next = element;
    building->at = element;
    if (++building->depth > XML_DEPTH_MAX)
        refuse(building, "elements are nested too deep");
}

static void trim(struct xml *element)
{
    char *text = element->text;
    size_t skip = strspn(text, " \t\r\n"), length = element->text_length;

    while (length > skip && strchr(" \t\r\n", text[length - 1]) != NULL)
        length--;
    memmove(text, text + skip, length - skip);
    text[length - skip] = '\0';
    element->text_length = length - skip;
}

static void end_element(void *user, const char *name)
{
    struct building *building = user;

    (void)name;
    trim(building->at);
    building->at = building->at->parent;
    building->depth--;
}

/* A text comes in as many pieces as it has lines and entities: its room is a
 * power of two, so that it is not copied for each. */
static size_t room_for(size_t length)
{
    size_t room = 16;

    while (room <= length)
        room *= 2;
    return room;
}

static void add_text(void *user, const char *text, int length)
{
    struct building *building = user;
    struct xml *at = building->at;
    size_t longer;

    if (at == NULL)
        return;
    longer = at->text_length + (size_t)length;
    if (at->text_length == 0 || room_for(longer) != room_for(at->text_length))
        at->text = need_more(at->text, room_for(longer));
    memcpy(at->text + at->text_length, text, (size_t)length);
    at->text[longer] = '\0';
    at->text_length = longer;
}

static void begin_doctype(void *user, const char *name, const char *system,
                          const char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    refuse(user, "has a DOCTYPE, which is not taken");
}

static int parse_failed(const struct building *building, const char *file,
                        struct ds_error *err)
{
    XML_Parser parser = building->parser;
    const char *why = building->refused != NULL
                          ? building->refused
                          : XML_ErrorString(XML_GetErrorCode(parser));
    int result = fail(err, DS_ERR_CORRUPT, "xml: line %lu: %s",
                      (unsigned long)XML_GetCurrentLineNumber(parser), why);

    if (err != NULL && file != NULL)
        snprintf(err->file, sizeof(err->file), "%s", file);
    return result;
}

int xml_parse(const char *text, size_t length_bytes, const char *file,
              struct xml **out, struct ds_error *err)
{
    struct building building = { 0 };
    int result = 0;

    if (length_bytes > XML_BYTES_MAX)
        return fail(err, DS_ERR_LIMIT, "xml: have %zu bytes expect at most %u",
                    length_bytes, XML_BYTES_MAX);
    building.parser = XML_ParserCreate(NULL);
    if (building.parser == NULL)
        return fail_memory(err);
    XML_SetUserData(building.parser, &building);
    XML_SetElementHandler(building.parser, begin_element, end_element);
    XML_SetCharacterDataHandler(building.parser, add_text);
    XML_SetStartDoctypeDeclHandler(building.parser, begin_doctype);
    if (XML_Parse(building.parser, text, (int)length_bytes, XML_TRUE) !=
        XML_STATUS_OK)
        result = parse_failed(&building, file, err);
    XML_ParserFree(building.parser);
    if (result != 0)
        xml_free(building.root);
    else
        *out = building.root;
    return result;
}

static void free_element(struct xml *element)
{
    for (size_t i = 0; i < element->attribute_count; i++)
        free(element->attributes[i]);
    free(element->attributes);
    free(element->name);
    free(element->text);
    free(element);
}

void xml_free(struct xml *root)
{
    struct xml *at = root;

    while (at != NULL) {
        struct xml *parent = at->parent;

        if (at->first != NULL) {
            struct xml *child = at->first;

            at->first = child->next;
            at = child;
            continue;
        }
        free_element(at);
        at = at == root ? NULL : parent;
    }
}

static const struct xml *find_among(const struct xml *at, const char *name,
                                    size_t length)
{
    for (; at != NULL; at = at->next)
        if (strlen(at->name) == length && strncmp(at->name, name, length) == 0)
            return at;
    return NULL;
}

const struct xml *xml_at(const struct xml *at, const char *path)
{
    while (at != NULL && *path != '\0') {
        size_t length = strcspn(path, "/");

        at = find_among(at->first, path, length);
        path += length;
        path += *path == '/';
    }
    return at;
}

const struct xml *xml_next(const struct xml *at)
{
    return find_among(at->next, at->name, strlen(at->name));
}

const char *xml_attribute(const struct xml *at, const char *name)
{
    for (size_t i = 0; at != NULL && i < at->attribute_count; i += 2)
        if (strcmp(at->attributes[i], name) == 0)
            return at->attributes[i + 1];
    return NULL;
}

const char *xml_text(const struct xml *at, const char *path)
{
    const struct xml *found = xml_at(at, path);

    return found != NULL ? found->text : NULL;
}

bool xml_number(const char *text, uint64_t *out)
{
    uint64_t number = 0;

    if (text == NULL || *text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' ||
            __builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number))
            return false;
    }
    *out = number;
    return true;
}

char *xml_escape(const char *text)
{
    char *out = need(strlen(text) * 6 + 1), *at = out;

    for (; *text != '\0'; text++) {
        const char *word = *text == '&'    ? "&amp;"
                           : *text == '<'  ? "&lt;"
                           : *text == '>'  ? "&gt;"
                           : *text == '"'  ? "&quot;"
                           : *text == '\'' ? "&apos;"
                                           : NULL;

        if (word != NULL)
            at = stpcpy(at, word);
        else
            *at++ = *text;
    }
    *at = '\0';
    return out;
}
