/* SPDX-License-Identifier: Apache-2.0 */
#include "element.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fail.h"

#define ORDER_STANDARD 50
#define ORDER_MAX 99

static const char *const phase_names[GS_PHASE_COUNT] = {
    "common", "collect", "prepare", "leave", "arrive", "settle", "main",
};

/* Set by the generator for every script; see generate.c. */
static const char own_variables[] = "JOB SCRIPT STAGE SOURCE TARGET TASKS "
                                    "VERSION";
static const char hypervisors[] = "vmware hyperv kvm xen";

const char *gs_phase_name(enum gs_phase phase)
{
    return phase_names[phase];
}

int gs_element_fail(struct ds_error *err, const char *path, size_t line,
                    const char *format, ...)
{
    char message[400];
    va_list arguments;
    int result;

    va_start(arguments, format);
    (void)vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    result =
        ds_fail(err, DS_ERR_CORRUPT, "element: line %zu: %s", line, message);
    if (err != NULL)
        (void)snprintf(err->file, sizeof(err->file), "%s", path);
    return result;
}

bool gs_list_has(const char *list, const char *word)
{
    size_t length = strlen(word);

    while (*list != '\0') {
        size_t have = strcspn(list, " ");

        if (have == length && strncmp(list, word, length) == 0)
            return true;
        list += have;
        list += strspn(list, " ");
    }
    return false;
}

bool gs_name_ok(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= GS_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

bool gs_element_suits(const struct gs_element *element, const char *source,
                      const char *target)
{
    return (gs_list_has(element->face.source, "any") ||
            gs_list_has(element->face.source, source)) &&
           (gs_list_has(element->face.target, "any") ||
            gs_list_has(element->face.target, target));
}

/* -- the head ------------------------------------------------------------- */

/* One line of the head, as it is read. The values point into `words`. */
struct head {
    struct gs_element *element;
    char *needs;
    size_t variable_count;
    bool seen[7];
};

enum key {
    KEY_ELEMENT,
    KEY_TASK,
    KEY_PHASE,
    KEY_SOURCE,
    KEY_TARGET,
    KEY_ORDER,
    KEY_NEEDS,
    KEY_VARIABLE,
    KEY_COUNT
};
static const char *const key_names[KEY_COUNT] = {
    "element", "task",  "phase", "source",
    "target",  "order", "needs", "variable",
};

static int take_phase(struct gs_element *element, const char *value)
{
    for (size_t i = 0; i < GS_PHASE_COUNT; i++) {
        if (strcmp(value, phase_names[i]) == 0) {
            element->phase = (enum gs_phase)i;
            element->face.phase = phase_names[i];
            return 0;
        }
    }
    return -1;
}

static int take_order(struct gs_element *element, const char *value)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);

    if (!isdigit((unsigned char)value[0]) || *end != '\0' || number > ORDER_MAX)
        return -1;
    element->order = (unsigned)number;
    return 0;
}

static bool are_hypervisors(const char *list)
{
    if (strcmp(list, "any") == 0)
        return true;
    while (*list != '\0') {
        char word[16];
        size_t length = strcspn(list, " ");

        if (length == 0 || length >= sizeof(word))
            return false;
        memcpy(word, list, length);
        word[length] = '\0';
        if (!gs_list_has(hypervisors, word))
            return false;
        list += length;
        list += strspn(list, " ");
    }
    return true;
}

static bool is_variable_name(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= GS_NAME_MAX &&
           isupper((unsigned char)name[0]) &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == length;
}

static bool has_variable(const struct head *head, const char *key)
{
    for (size_t i = 0; i < head->variable_count; i++)
        if (strcmp(head->element->variables[i].key, key) == 0)
            return true;
    return false;
}

/* "NAME=STANDARD -- what it is": cut into its parts where it stands. */
static int take_variable(struct head *head, char *value)
{
    struct ds_guest_variable *variable =
        &head->element->variables[head->variable_count];
    char *summary = strstr(value, " -- ");
    char *standard = strchr(value, '=');
    char *end;

    if (summary == NULL || (standard != NULL && standard > summary))
        return -1;
    end = summary;
    while (end > value && end[-1] == ' ')
        end--;
    *end = '\0';
    if (standard != NULL)
        *standard++ = '\0';
    if (!is_variable_name(value) || gs_list_has(own_variables, value))
        return -1;
    for (char *at = value; *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
    if (has_variable(head, value))
        return -1;
    *variable = (struct ds_guest_variable){ value, standard, summary + 4 };
    head->variable_count++;
    return 0;
}

/* 0, or -1 when the value is not what the key can have. */
static int take_value(struct head *head, enum key key, char *value)
{
    struct gs_element *element = head->element;

    switch (key) {
    case KEY_ELEMENT:
        element->face.name = value;
        return gs_name_ok(value) ? 0 : -1;
    case KEY_TASK:
        element->face.task = value;
        return gs_name_ok(value) ? 0 : -1;
    case KEY_PHASE:
        return take_phase(element, value);
    case KEY_SOURCE:
        element->face.source = value;
        return are_hypervisors(value) ? 0 : -1;
    case KEY_TARGET:
        element->face.target = value;
        return are_hypervisors(value) ? 0 : -1;
    case KEY_ORDER:
        return take_order(element, value);
    case KEY_NEEDS:
        head->needs = value;
        return 0;
    default:
        return take_variable(head, value);
    }
}

static enum key find_key(const char *line, size_t length)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strlen(key_names[i]) == length &&
            strncmp(key_names[i], line, length) == 0)
            return (enum key)i;
    return KEY_COUNT;
}

/* `line`: what follows "# ". Description, or a key: a small word, a colon and
 * a blank. */
static int take_line(struct head *head, char *line, size_t number,
                     struct ds_error *err)
{
    struct gs_element *element = head->element;
    size_t length = strspn(line, "abcdefghijklmnopqrstuvwxyz");
    enum key key = find_key(line, length);
    char *value = line + length + 2;

    if (length == 0 || strncmp(line + length, ": ", 2) != 0) {
        if (element->face.summary == NULL && line[0] != '\0' &&
            strncmp(line, "SPDX-", 5) != 0)
            element->face.summary = line;
        return 0;
    }
    value += strspn(value, " ");
    if (key == KEY_COUNT)
        return gs_element_fail(err, element->path, number,
                               "head: have key '%.*s' expect element, task, "
                               "phase, source, target, order, needs or "
                               "variable",
                               (int)length, line);
    if (key != KEY_VARIABLE && head->seen[key])
        return gs_element_fail(err, element->path, number,
                               "head: '%s' is given twice", key_names[key]);
    if (key != KEY_VARIABLE)
        head->seen[key] = true;
    if (take_value(head, key, value) != 0)
        return gs_element_fail(err, element->path, number,
                               "head: %s: have '%s', which it cannot be",
                               key_names[key], value);
    return 0;
}

static int make_needs(struct gs_element *element, char *list,
                      struct ds_error *err)
{
    size_t count = 0;
    char *rest = NULL;

    element->needs =
        calloc(strlen(list != NULL ? list : "") + 1, sizeof(char *));
    if (element->needs == NULL)
        return ds_fail_memory(err);
    for (char *word = list != NULL ? strtok_r(list, " ", &rest) : NULL;
         word != NULL; word = strtok_r(NULL, " ", &rest)) {
        if (!gs_name_ok(word))
            return gs_element_fail(err, element->path, 1,
                                   "head: needs: have '%s' expect names of "
                                   "elements",
                                   word);
        element->needs[count++] = word;
    }
    return 0;
}

/* The end of the head: the first line that is no comment. Each line of the
 * copy in `words` is cut off and read. */
static int parse_head(struct gs_element *element, struct ds_error *err)
{
    struct head head = { .element = element };
    size_t line_count = 0;
    char *line = element->words;
    int result = 0;

    for (const char *at = element->text; *at != '\0'; at++)
        line_count += *at == '\n';
    element->variables = calloc(line_count + 1, sizeof(*element->variables));
    if (element->variables == NULL)
        return ds_fail_memory(err);
    for (size_t number = 1; line[0] == '#' && result == 0; number++) {
        size_t length = strcspn(line, "\n");
        bool last = line[length] == '\0';

        line[length] = '\0';
        result = take_line(&head, line + 1 + (line[1] == ' '), number, err);
        line += length + !last;
    }
    element->body_bytes = (size_t)(line - element->words);
    element->face.variables = element->variables;
    element->face.variable_count = head.variable_count;
    return result != 0 ? result : make_needs(element, head.needs, err);
}

/* -- the body ------------------------------------------------------------- */

/* The length of "@NAME@" at `at`, or 0. */
static size_t variable_length(const char *at, const char *end)
{
    const char *stop = at + 1;

    if (*at != '@' || stop >= end || !isupper((unsigned char)*stop))
        return 0;
    while (stop < end && (isupper((unsigned char)*stop) ||
                          isdigit((unsigned char)*stop) || *stop == '_'))
        stop++;
    return stop < end && *stop == '@' ? (size_t)(stop - at) + 1 : 0;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* Whether the line is nothing but the assignment of the variable at `at`. */
static bool is_assignment(const struct gs_language *language, const char *line,
                          const char *end, const char *at, size_t length)
{
    size_t sigil = strlen(language->sigil);

    line = skip_blanks(line, end);
    if ((size_t)(end - line) < sigil ||
        strncmp(line, language->sigil, sigil) != 0)
        return false;
    line += sigil;
    if (line == end || (!isalpha((unsigned char)*line) && *line != '_'))
        return false;
    while (line < end && (isalnum((unsigned char)*line) || *line == '_'))
        line++;
    if (language->blanks_around_equals)
        line = skip_blanks(line, end);
    if (line == end || *line != '=')
        return false;
    line++;
    if (language->blanks_around_equals)
        line = skip_blanks(line, end);
    if (end > line && end[-1] == '\r')
        end--;
    return line == at && skip_blanks(at + length, end) == end;
}

static bool is_declared(const struct gs_element *element, const char *at,
                        size_t length)
{
    char name[GS_NAME_MAX + 1];

    length -= 2;
    if (length > GS_NAME_MAX)
        return false;
    memcpy(name, at + 1, length);
    name[length] = '\0';
    if (gs_list_has(own_variables, name))
        return true;
    for (size_t i = 0; i < element->face.variable_count; i++)
        if (strcasecmp(element->variables[i].key, name) == 0)
            return true;
    return false;
}

static int add_place(struct gs_element *element, const char *line,
                     const char *end, const char *at, size_t length, bool code,
                     size_t number, struct ds_error *err)
{
    struct gs_place *grown;

    if (!is_declared(element, at, length))
        return gs_element_fail(err, element->path, number,
                               "%.*s: no such variable in its head",
                               (int)length, at);
    if (!code || !is_assignment(element->language, line, end, at, length))
        return gs_element_fail(err, element->path, number,
                               "%.*s: %s expect it as the whole right side of "
                               "an assignment on a line of its own",
                               (int)length, at,
                               code ? "have other words beside it,"
                                    : "have it in quotes or a comment,");
    grown = realloc(element->places,
                    (element->place_count + 1) * sizeof(*element->places));
    if (grown == NULL)
        return ds_fail_memory(err);
    element->places = grown;
    element->places[element->place_count++] =
        (struct gs_place){ (size_t)(at - element->text), length, number };
    return 0;
}

static int find_in_line(struct gs_element *element, const char *line,
                        const char *end, bool code, size_t number,
                        struct ds_error *err)
{
    int result = 0;

    for (const char *at = line; at < end && result == 0; at++) {
        size_t length = variable_length(at, end);

        if (length > 0)
            result =
                add_place(element, line, end, at, length, code, number, err);
        at += length > 0 ? length - 1 : 0;
    }
    return result;
}

static bool is_used(const struct gs_element *element, const char *key)
{
    for (size_t i = 0; i < element->place_count; i++) {
        const struct gs_place *place = &element->places[i];

        if (strlen(key) == place->length_bytes - 2 &&
            strncasecmp(key, element->text + place->offset_bytes + 1,
                        strlen(key)) == 0)
            return true;
    }
    return false;
}

/* `head_lines`: how many lines come before the body. */
static int find_places(struct gs_element *element, const bool *code,
                       size_t head_lines, bool *defines, struct ds_error *err)
{
    ds_auto(gs_text_free) struct gs_text words = { 0 };
    const char *line = element->text + element->body_bytes;
    const char *end = element->text + element->length_bytes;
    int result = 0;

    element->language->definition(&words, element->face.name);
    if (words.failed)
        return ds_fail_memory(err);
    for (size_t i = 0; line < end && result == 0; i++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline != NULL ? newline : end;

        if (code[i] && (size_t)(stop - line) >= words.length_bytes &&
            memcmp(line, words.bytes, words.length_bytes) == 0)
            *defines = true;
        result =
            find_in_line(element, line, stop, code[i], head_lines + i + 1, err);
        line = newline != NULL ? newline + 1 : end;
    }
    return result;
}

static size_t count_lines(const char *text, size_t length)
{
    size_t count = 1;

    for (size_t i = 0; i < length; i++)
        count += text[i] == '\n';
    return count;
}

static int parse_body(struct gs_element *element, struct ds_error *err)
{
    const char *body = element->text + element->body_bytes;
    size_t length = element->length_bytes - element->body_bytes;
    size_t head_lines = count_lines(element->text, element->body_bytes) - 1;
    ds_autofree bool *code = calloc(count_lines(body, length), sizeof(bool));
    bool defines = false;
    size_t line = 0;
    int result;

    if (code == NULL)
        return ds_fail_memory(err);
    if (length > 0 && element->language->scan(body, length, code, &line) == 0)
        return gs_element_fail(err, element->path, head_lines + line + 1,
                               "what is opened here is never closed");
    result = find_places(element, code, head_lines, &defines, err);
    if (result == 0 && !defines && element->phase != GS_COMMON &&
        element->phase != GS_MAIN)
        return gs_element_fail(err, element->path, head_lines + 1,
                               "it does not define its function element_%s "
                               "(with _ for -)",
                               element->face.name);
    for (size_t i = 0; i < element->face.variable_count && result == 0; i++)
        if (!is_used(element, element->variables[i].key))
            result = gs_element_fail(err, element->path, 1,
                                     "variable %s is never used",
                                     element->variables[i].key);
    return result;
}

/* -- the whole ------------------------------------------------------------ */

/* "NAME" of "linux/NAME.sh". */
static bool is_named_as_file(const struct gs_element *element)
{
    const char *slash = strrchr(element->path, '/');
    const char *base = slash != NULL ? slash + 1 : element->path;
    size_t length = strlen(element->face.name);

    return strncmp(base, element->face.name, length) == 0 &&
           strcmp(base + length, element->language->suffix) == 0;
}

static int check_head(const struct gs_element *element, struct ds_error *err)
{
    if (element->face.name == NULL || element->face.task == NULL ||
        element->face.phase == NULL || element->face.summary == NULL)
        return gs_element_fail(err, element->path, 1, "head: it lacks %s",
                               element->face.name == NULL    ? "'element'"
                               : element->face.task == NULL  ? "'task'"
                               : element->face.phase == NULL ? "'phase'"
                                                             : "a description");
    if (!is_named_as_file(element))
        return gs_element_fail(err, element->path, 1,
                               "head: element: have '%s' expect its file's "
                               "name",
                               element->face.name);
    if (element->phase == GS_MAIN &&
        strcmp(element->face.name, "main-first") != 0 &&
        strcmp(element->face.name, "main-second") != 0)
        return gs_element_fail(err, element->path, 1,
                               "head: phase main: have '%s' expect main-first "
                               "or main-second",
                               element->face.name);
    return 0;
}

int gs_element_parse(const struct gs_language *language, const char *path,
                     const char *text, size_t length_bytes,
                     struct gs_element **out, struct ds_error *err)
{
    static const char mark[] = "\xef\xbb\xbf";
    struct gs_element *element;
    int result;

    if (length_bytes >= 3 && memcmp(text, mark, 3) == 0) {
        text += 3;
        length_bytes -= 3;
    }
    if (memchr(text, '\0', length_bytes) != NULL)
        return gs_element_fail(err, path, 1, "it holds a zero byte");
    element = calloc(1, sizeof(*element));
    if (element == NULL)
        return ds_fail_memory(err);
    element->language = language;
    element->order = ORDER_STANDARD;
    element->path = strdup(path);
    element->text = strndup(text, length_bytes);
    element->words = strndup(text, length_bytes);
    element->length_bytes = length_bytes;
    element->face.guest = language->guest;
    element->face.source = element->face.target = "any";
    element->face.path = element->path;
    result =
        element->path == NULL || element->text == NULL || element->words == NULL
            ? ds_fail_memory(err)
            : parse_head(element, err);
    if (result == 0)
        result = check_head(element, err);
    if (result == 0)
        result = parse_body(element, err);
    if (result == 0)
        *out = ds_steal(&element);
    gs_element_free(element);
    return result;
}

void gs_element_free(struct gs_element *element)
{
    if (element == NULL)
        return;
    free(element->text);
    free(element->words);
    free(element->needs);
    free(element->variables);
    free(element->places);
    free(element->path);
    free(element);
}
