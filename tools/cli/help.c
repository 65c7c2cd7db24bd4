/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs.h"

#include <stdio.h>
#include <string.h>

#define NAME_COLUMNS 26
#define LINE_COLUMNS 79

/* Print `text` in words from column `indent` on, where the cursor is at
 * `column`. */
static void print_wrapped(const char *text, int indent, int column)
{
    if (column >= indent) {
        fputc('\n', stdout);
        column = 0;
    }
    printf("%*s", indent - column, "");
    column = indent;
    while (*text != '\0') {
        int length = (int)strcspn(text, " ");

        if (column > indent && column + 1 + length > LINE_COLUMNS) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', stdout);
            column++;
        }
        column += printf("%.*s", length, text);
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', stdout);
}

static void print_option(const struct option_rule *rule)
{
    int column =
        rule->letter != 0 ? printf("  -%c, ", rule->letter) : printf("      ");

    column += printf("--%s", rule->name);
    if (rule->argument != NULL)
        column +=
            printf(rule->argument_optional ? "[=%s]" : " %s", rule->argument);
    print_wrapped(rule->summary, NAME_COLUMNS + 4, column + 1);
}

static void print_options(unsigned verb)
{
    const struct option_rule *rule;

    printf("\nOptions:\n");
    for (size_t i = 0; (rule = option_rule_at(i)) != NULL; i++)
        if ((rule->verbs & verb) != 0)
            print_option(rule);
}

static void print_formats(void)
{
    const struct ds_format_description *format;

    printf("\nFormats:\n");
    for (size_t i = 0; (format = ds_format_describe(i)) != NULL; i++) {
        int column = printf("  %-8s %s", format->name,
                            format->can_write ? "read, write" : "read");

        print_wrapped(format->summary, NAME_COLUMNS, column);
    }
}

static void print_options_of(const char *name)
{
    const struct ds_target_option *option;

    for (size_t i = 0; (option = ds_format_option(name, i)) != NULL; i++) {
        int column = printf("  %-8s %s", name, option->key);

        print_wrapped(option->summary, NAME_COLUMNS + 4, column);
        column = printf("%*svalues:", NAME_COLUMNS + 4, "");
        print_wrapped(option->values, column + 1, column);
        if (option->standard != NULL)
            printf("%*sstandard: %s\n", NAME_COLUMNS + 4, "", option->standard);
    }
}

void help_format(const char *name)
{
    const struct ds_format_description *format;

    if (name != NULL && ds_format_option(name, 0) == NULL) {
        printf("A target of the format %s has no options.\n", name);
        return;
    }
    printf("Options of target formats (-o key=value):\n");
    for (size_t i = 0; (format = ds_format_describe(i)) != NULL; i++)
        if (name == NULL || strcmp(format->name, name) == 0)
            print_options_of(format->name);
}

static void print_usage(const struct verb *verb, const char *before)
{
    const char *line = verb->usage;

    while (*line != '\0') {
        int length = (int)strcspn(line, "\n");

        printf("%sdiskshift %s %.*s\n", before, verb->name, length, line);
        line += length;
        line += *line == '\n';
    }
}

void help_all(void)
{
    const struct verb *verb;

    printf("diskshift converts virtual disks by sharing their blocks.\n\n"
           "Usage: diskshift VERB [OPTION]... SOURCE... [TARGET]\n\n"
           "Verbs:\n");
    for (size_t i = 0; (verb = verb_at(i)) != NULL; i++)
        printf("  %-15s %s\n", verb->name, verb->summary);
    printf("  %-15s %s\n", "migrate",
           "move virtual machines with their disks, and back");
    printf("  %-15s %s\n", "help", "print this, or help VERB");
    print_formats();
    printf(
        "\nSOURCE and TARGET are files, SOURCE also a block device. Both may "
        "be\nnfs://HOST/DIRECTORY/NAME, which needs no mount.\n");
    printf("\n'diskshift help VERB' lists a verb's options. 'diskshift "
           "--version' prints\nthe version. The manual: man diskshift.\n");
}

static void print_statuses(const struct verb *verb)
{
    char text[256];

    snprintf(text, sizeof(text),
             "0 done, 1 failure%s, 2 usage, 3 unsupported, 4 corrupt source, "
             "5 input or output, 6 refused as unsafe%s",
             (verb->bit & (VERB_VERIFY | VERB_COMPARE)) != 0 ? " or different"
             : verb->bit == VERB_CHECK                       ? " or leaks"
                                                             : "",
             verb->bit == VERB_CONVERT
                 ? ", 7 copied and --warn-copy, 130 interrupted"
                 : "");
    printf("\nExit status:\n");
    print_wrapped(text, 2, 0);
}

void help_verb(const struct verb *verb)
{
    printf("diskshift %s: %s\n\nUsage:\n", verb->name, verb->summary);
    print_usage(verb, "  ");
    print_options(verb->bit);
    if ((verb->bit & VERB_ALL) != 0)
        print_formats();
    if ((verb->bit & (VERB_PLAN | VERB_CONVERT | VERB_MEASURE)) != 0) {
        fputc('\n', stdout);
        help_format(NULL);
    }
    print_statuses(verb);
}
