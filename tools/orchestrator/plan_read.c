/* SPDX-License-Identifier: Apache-2.0 */
/* A plan file: YAML by libyaml, keys and values by the table of settings.
 * Everything that is wrong is told, each with its place. */
#include "plan.h"

#include <stdio.h>
#include <string.h>

#include <yaml.h>

#define DEPTH_MAX 8
#define KEY_BYTES 128

struct reading {
    yaml_document_t document;
    const char *file;
    plan_problem_fn *problem;
    void *user;
    size_t problem_count;
};

static void tell(struct reading *reading, const yaml_mark_t *mark,
                 const char *format, ...) PRINTF_LIKE(3, 4);

static void tell(struct reading *reading, const yaml_mark_t *mark,
                 const char *format, ...)
{
    autofree char *text = NULL, *line = NULL;
    va_list arguments;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    line = text_format("%s:%zu:%zu: %s", reading->file, mark->line + 1,
                       mark->column + 1, text);
    reading->problem_count++;
    reading->problem(reading->user, line);
}

static yaml_node_t *node_of(struct reading *reading, int id)
{
    return yaml_document_get_node(&reading->document, id);
}

static const char *scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE
               ? (const char *)node->data.scalar.value
               : NULL;
}

static const char *kind(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE    ? "a value"
           : node->type == YAML_MAPPING_NODE ? "a mapping"
                                             : "a list";
}

static bool expect(struct reading *reading, const yaml_node_t *node,
                   yaml_node_type_t type, const char *key, const char *what)
{
    if (node->type == type)
        return true;
    tell(reading, &node->start_mark, "%s: have %s expect %s", key, kind(node),
         what);
    return false;
}

/* -- one setting ---------------------------------------------------------- */

static void set(struct reading *reading, struct settings *settings,
                const struct setting *setting, const yaml_node_t *node,
                const char *value)
{
    struct ds_error err = DS_ERROR_INIT;

    if (setting_set(settings, setting, value, &err) != 0)
        tell(reading, &node->start_mark, "%s: %s", setting->key, err.message);
}

static void read_pairs(struct reading *reading, struct settings *settings,
                       const struct setting *setting, const yaml_node_t *node)
{
    yaml_node_pair_t *pair = node->data.mapping.pairs.start;

    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *to = node_of(reading, pair->value);
        const char *name = scalar(node_of(reading, pair->key));
        autofree char *value = NULL;

        if (name == NULL || !expect(reading, to, YAML_SCALAR_NODE, setting->key,
                                    "one value for each name"))
            continue;
        value = text_format("%s=%s", name, scalar(to));
        set(reading, settings, setting, to, value);
    }
}

static void read_texts(struct reading *reading, struct settings *settings,
                       const struct setting *setting, const yaml_node_t *node)
{
    yaml_node_item_t *item = node->data.sequence.items.start;

    for (; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *value = node_of(reading, *item);

        if (expect(reading, value, YAML_SCALAR_NODE, setting->key,
                   "a list of values"))
            set(reading, settings, setting, value, scalar(value));
    }
}

static void read_setting(struct reading *reading, struct settings *settings,
                         const struct setting *setting, const yaml_node_t *node)
{
    if (setting->type == SETTING_PAIRS) {
        if (expect(reading, node, YAML_MAPPING_NODE, setting->key, "a mapping"))
            read_pairs(reading, settings, setting, node);
    } else if (setting->type == SETTING_TEXTS) {
        if (expect(reading, node, YAML_SEQUENCE_NODE, setting->key, "a list"))
            read_texts(reading, settings, setting, node);
    } else if (expect(reading, node, YAML_SCALAR_NODE, setting->key,
                      "a value")) {
        set(reading, settings, setting, node, scalar(node));
    }
}

/* -- mappings ------------------------------------------------------------- */

static bool is_section(const char *key)
{
    const struct setting *setting;
    size_t length = strlen(key);

    for (size_t i = 0; (setting = setting_at(i)) != NULL; i++)
        if (strncmp(setting->key, key, length) == 0 &&
            setting->key[length] == '.')
            return true;
    return false;
}

static bool is_repeated(struct reading *reading, const yaml_node_t *mapping,
                        const yaml_node_pair_t *pair, const char *name)
{
    const yaml_node_pair_t *at = mapping->data.mapping.pairs.start;

    for (; at < pair; at++)
        if (text_same(scalar(node_of(reading, at->key)), name))
            return true;
    return false;
}

static void read_number(struct reading *reading, const yaml_node_t *node,
                        const char *key, unsigned most, unsigned *out)
{
    const char *text = scalar(node);
    unsigned number = 0;
    size_t length = text != NULL ? strlen(text) : 0;

    if (length > 0 && length < 9 && strspn(text, "0123456789") == length)
        number = (unsigned)strtoul(text, NULL, 10);
    if (number == 0 || number > most)
        tell(reading, &node->start_mark, "%s: have %s expect 1 to %u", key,
             text != NULL ? text : kind(node), most);
    else
        *out = number;
}

/* True when it is one of the few keys that are no setting of a VM. */
static bool read_top(struct reading *reading, struct plan *plan,
                     const char *key, const yaml_node_t *node)
{
    unsigned version = 0;

    if (strcmp(key, "diskshift") == 0)
        read_number(reading, node, key, PLAN_VERSION, &version);
    else if (strcmp(key, "jobs") == 0)
        read_number(reading, node, key, 1000, &plan->jobs);
    else if (strcmp(key, "jobs_per_host") == 0)
        read_number(reading, node, key, 1000, &plan->jobs_per_host);
    else
        return strcmp(key, "vms") == 0; /* read when all common is known */
    return true;
}

static void read_mapping(struct reading *reading, struct plan *plan,
                         struct settings *settings, const char *prefix,
                         const yaml_node_t *node, unsigned depth)
{
    yaml_node_pair_t *pair = node->data.mapping.pairs.start;

    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = node_of(reading, pair->key);
        const yaml_node_t *value = node_of(reading, pair->value);
        const struct setting *setting;
        char key[KEY_BYTES];

        snprintf(key, sizeof(key), "%s%s%s", prefix, *prefix ? "." : "",
                 scalar(name) != NULL ? scalar(name) : "?");
        setting = setting_by_key(key);
        if (is_repeated(reading, node, pair, scalar(name)))
            tell(reading, &name->start_mark, "%s: is said twice", key);
        else if (plan != NULL && *prefix == '\0' &&
                 read_top(reading, plan, key, value))
            continue;
        else if (setting != NULL)
            read_setting(reading, settings, setting, value);
        else if (!is_section(key) || depth >= DEPTH_MAX)
            tell(reading, &name->start_mark, "%s: no such key", key);
        else if (text_same(scalar(value), ""))
            continue; /* a section in which all is commented out */
        else if (expect(reading, value, YAML_MAPPING_NODE, key, "a mapping"))
            read_mapping(reading, NULL, settings, key, value, depth + 1);
    }
}

/* -- VMs ------------------------------------------------------------------ */

static const yaml_node_t *value_of(struct reading *reading,
                                   const yaml_node_t *mapping, const char *key)
{
    yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;

    for (; pair < mapping->data.mapping.pairs.top; pair++)
        if (text_same(scalar(node_of(reading, pair->key)), key))
            return node_of(reading, pair->value);
    return NULL;
}

static int read_vm(struct reading *reading, struct plan *plan,
                   const yaml_node_t *node, struct ds_error *err)
{
    struct settings *vm;
    int result = plan_add_vm(plan, scalar(node), &vm, err);

    if (result != 0)
        return result;
    if (node->type == YAML_MAPPING_NODE)
        read_mapping(reading, NULL, vm, "", node, 0);
    if (vm->vm_name == NULL)
        tell(reading, &node->start_mark, "vms: a VM needs a name");
    for (size_t i = 0; i + 1 < plan->vm_count; i++)
        if (vm->vm_name != NULL &&
            text_same(plan->vms[i].vm_name, vm->vm_name) &&
            text_same(plan->vms[i].source_uri, vm->source_uri))
            tell(reading, &node->start_mark, "vms: %s is there twice",
                 vm->vm_name);
    return 0;
}

static int read_vms(struct reading *reading, struct plan *plan,
                    const yaml_node_t *root, struct ds_error *err)
{
    const yaml_node_t *list = value_of(reading, root, "vms");
    yaml_node_item_t *item;
    int result = 0;

    if (list == NULL ||
        !expect(reading, list, YAML_SEQUENCE_NODE, "vms", "a list"))
        return 0;
    item = list->data.sequence.items.start;
    for (; item < list->data.sequence.items.top && result == 0; item++)
        result = read_vm(reading, plan, node_of(reading, *item), err);
    return result;
}

/* -- the file ------------------------------------------------------------- */

static int read_document(struct reading *reading, struct plan *plan,
                         struct ds_error *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(&reading->document);
    const yaml_mark_t top = { 0 };

    if (root == NULL) {
        tell(reading, &top, "is empty");
        return 0;
    }
    if (!expect(reading, root, YAML_MAPPING_NODE, "plan", "a mapping"))
        return 0;
    if (value_of(reading, root, "diskshift") == NULL)
        tell(reading, &root->start_mark,
             "diskshift: have nothing expect %d, "
             "the version of the plan's form",
             PLAN_VERSION);
    read_mapping(reading, plan, &plan->common, "", root, 0);
    return read_vms(reading, plan, root, err);
}

static int parse(struct reading *reading, const char *text, size_t length,
                 struct plan *out, struct ds_error *err)
{
    yaml_parser_t parser;
    int result = 0;

    if (!yaml_parser_initialize(&parser))
        return fail_memory(err);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    if (!yaml_parser_load(&parser, &reading->document)) {
        tell(reading, &parser.problem_mark, "%s",
             parser.problem != NULL ? parser.problem : "is no YAML");
    } else {
        result = read_document(reading, out, err);
        yaml_document_delete(&reading->document);
    }
    yaml_parser_delete(&parser);
    return result;
}

int plan_read(const char *path, struct plan *out, plan_problem_fn *problem,
              void *user, struct ds_error *err)
{
    struct reading reading = { .file = path, .problem = problem, .user = user };
    autofree char *text = NULL;
    size_t length;
    int result = file_read(path, PLAN_BYTES_MAX, &text, &length, err);

    if (result != 0)
        return result;
    plan_standard(out);
    result = parse(&reading, text, length, out, err);
    if (result == 0 && reading.problem_count > 0)
        result = fail(err, DS_ERR_ARG, "%s: %zu things are wrong with it", path,
                      reading.problem_count);
    if (result != 0)
        plan_free(out);
    return result;
}
