/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a real parser says of PowerShell, for tests; over a grammar of
 * tree-sitter that ./make_powershell brings.
 *
 *     powershell check FILE...         syntax: FILE:LINE:COLUMN: what
 *     powershell literal NAME FILE     the value of the one assignment
 *                                      `$NAME = '...'`, which must be one
 *                                      single-quoted literal and nothing else
 *     powershell tree FILE             the tree as JSON: [type, begin, end,
 *                                      line, [children]], offsets in bytes
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tree_sitter/api.h>

#define DEPTH_MAX 2000

const TSLanguage *tree_sitter_powershell(void);

struct source {
    const char *name;
    char *text;
    uint32_t length_bytes;
    TSTree *tree;
};

static void die(const char *name, const char *what)
{
    fprintf(stderr, "powershell: %s: %s\n", name, what);
    exit(2);
}

static void load(struct source *source, const char *name)
{
    FILE *file = fopen(name, "rb");
    TSParser *parser = ts_parser_new();
    long size;

    source->name = name;
    if (file == NULL || fseek(file, 0, SEEK_END) != 0 ||
        (size = ftell(file)) < 0)
        die(name, "cannot be read");
    rewind(file);
    source->length_bytes = (uint32_t)size;
    source->text = malloc((size_t)size + 1);
    if (source->text == NULL ||
        fread(source->text, 1, (size_t)size, file) != (size_t)size)
        die(name, "cannot be read");
    source->text[size] = '\0';
    fclose(file);
    if (!ts_parser_set_language(parser, tree_sitter_powershell()))
        die(name, "the grammar is of another version than libtree-sitter");
    source->tree = ts_parser_parse_string(parser, NULL, source->text,
                                          source->length_bytes);
    ts_parser_delete(parser);
}

static void unload(struct source *source)
{
    ts_tree_delete(source->tree);
    free(source->text);
}

static bool is(TSNode node, const char *type)
{
    return strcmp(ts_node_type(node), type) == 0;
}

static int report(const struct source *source, TSNode node, int depth)
{
    int count = 0;

    if (depth > DEPTH_MAX)
        die(source->name, "too deep");
    if (ts_node_is_missing(node) || is(node, "ERROR")) {
        TSPoint at = ts_node_start_point(node);

        printf("%s:%u:%u: %s %s\n", source->name, at.row + 1, at.column + 1,
               ts_node_is_missing(node) ? "missing" : "syntax error",
               ts_node_type(node));
        return 1;
    }
    for (uint32_t i = 0; i < ts_node_child_count(node); i++)
        if (ts_node_has_error(ts_node_child(node, i)))
            count += report(source, ts_node_child(node, i), depth + 1);
    return count;
}

static int check(int count, char **names)
{
    int bad = 0;

    for (int i = 0; i < count; i++) {
        struct source source;

        load(&source, names[i]);
        if (ts_node_has_error(ts_tree_root_node(source.tree)))
            bad += report(&source, ts_tree_root_node(source.tree), 0) + 1;
        unload(&source);
    }
    return bad > 0;
}

static bool text_is(const struct source *source, TSNode node, const char *text)
{
    uint32_t begin = ts_node_start_byte(node), end = ts_node_end_byte(node);

    return end - begin == strlen(text) &&
           memcmp(source->text + begin, text, end - begin) == 0;
}

/* Down through nodes that hold nothing but one other. */
static TSNode only_child(TSNode node)
{
    while (ts_node_child_count(node) == 1 && !is(node, "string_literal"))
        node = ts_node_child(node, 0);
    return node;
}

/* Where the value of `$NAME = ...` begins; with its count. */
static void find(const struct source *source, TSNode node, const char *name,
                 TSNode *found, int *count, int depth)
{
    if (depth > DEPTH_MAX)
        die(source->name, "too deep");
    if (is(node, "assignment_expression") && ts_node_child_count(node) == 3 &&
        text_is(source, ts_node_child(node, 0), name)) {
        *found = only_child(ts_node_child(node, 2));
        ++*count;
    }
    for (uint32_t i = 0; i < ts_node_child_count(node); i++)
        find(source, ts_node_child(node, i), name, found, count, depth + 1);
}

static uint32_t quote_bytes(const char *at)
{
    const unsigned char *u = (const unsigned char *)at;

    if (u[0] == '\'')
        return 1;
    return u[0] == 0xe2 && u[1] == 0x80 && u[2] >= 0x98 && u[2] <= 0x9b ? 3 : 0;
}

static int literal(const char *name, const char *file)
{
    struct source source;
    TSNode node = { 0 };
    char variable[128];
    int count = 0;

    load(&source, file);
    (void)snprintf(variable, sizeof(variable), "$%s", name);
    if (ts_node_has_error(ts_tree_root_node(source.tree)))
        return check(1, (char *[]){ (char *)file });
    find(&source, ts_tree_root_node(source.tree), variable, &node, &count, 0);
    if (count != 1 || !is(node, "string_literal") ||
        !is(ts_node_child(node, 0), "verbatim_string_characters")) {
        printf("%s: %s: have %d assignments, the last of a %s, expect one of "
               "one literal\n",
               file, variable, count, count > 0 ? ts_node_type(node) : "-");
        return 1;
    }
    const char *end = source.text + ts_node_end_byte(node) - 1;

    for (const char *at = source.text + ts_node_start_byte(node) + 1;
         at < end;) {
        uint32_t quote = quote_bytes(at);
        uint32_t step = quote > 0 ? quote : 1;

        fwrite(at, 1, step, stdout);
        at += quote > 0 ? quote + quote_bytes(at + quote) : 1;
    }
    unload(&source);
    return 0;
}

static void print_tree(TSNode node, int depth)
{
    if (depth > DEPTH_MAX)
        die("tree", "too deep");
    printf("[\"");
    for (const char *at = ts_node_type(node); *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            putchar('\\');
        if ((unsigned char)*at < 0x20)
            printf("\\u%04x", (unsigned)*at);
        else
            putchar(*at);
    }
    printf("\",%u,%u,%u,[", ts_node_start_byte(node), ts_node_end_byte(node),
           ts_node_start_point(node).row + 1);
    for (uint32_t i = 0; i < ts_node_child_count(node); i++) {
        if (i > 0)
            putchar(',');
        print_tree(ts_node_child(node, i), depth + 1);
    }
    printf("]]");
}

int main(int argc, char **argv)
{
    struct source source;

    if (argc >= 3 && strcmp(argv[1], "check") == 0)
        return check(argc - 2, argv + 2);
    if (argc == 4 && strcmp(argv[1], "literal") == 0)
        return literal(argv[2], argv[3]);
    if (argc != 3 || strcmp(argv[1], "tree") != 0)
        die("usage", "check FILE... | literal NAME FILE | tree FILE");
    load(&source, argv[2]);
    print_tree(ts_tree_root_node(source.tree), 0);
    unload(&source);
    return 0;
}
