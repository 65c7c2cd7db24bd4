/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words for shell completion, one per line, from the tables that also drive
 * parsing and help:
 *
 *     diskshift __complete verbs
 *     diskshift __complete options VERB         -f --source-format ...
 *     diskshift __complete values VERB OPTION   what may follow it; a word
 *                                               "@directory" or "@file" asks
 *                                               the shell; "@none"
 *     diskshift __complete format-options FMT   cluster_size= ...
 */
#include "verbs.h"

#include <stdio.h>
#include <string.h>

static void complete_verbs(void)
{
    const struct verb *verb;

    for (size_t i = 0; (verb = verb_at(i)) != NULL; i++)
        puts(verb->name);
    puts("migrate");
    puts("help");
}

static void complete_options(const struct verb *verb)
{
    const struct option_rule *rule;

    for (size_t i = 0; (rule = option_rule_at(i)) != NULL; i++) {
        if ((rule->verbs & verb->bit) == 0)
            continue;
        if (rule->letter != 0)
            printf("-%c\n", rule->letter);
        printf("--%s\n", rule->name);
    }
}

static void complete_formats(bool writable, const char *ending)
{
    const struct ds_format_description *format;

    for (size_t i = 0; (format = ds_format_describe(i)) != NULL; i++)
        if (format->can_write || !writable)
            printf("%s%s\n", format->name, ending);
}

static void complete_words(const char *words)
{
    while (*words != '\0') {
        int length = (int)strcspn(words, " ");

        printf("%.*s\n", length, words);
        words += length;
        words += strspn(words, " ");
    }
}

/* `option` as it stands on the command line: "-f" or "--source-format". */
static bool names_rule(const struct option_rule *rule, const char *option)
{
    if (option[0] != '-')
        return false;
    if (option[1] == '-')
        return strcmp(rule->name, option + 2) == 0;
    return rule->letter != 0 && option[1] == rule->letter && option[2] == '\0';
}

static void complete_values(const struct verb *verb, const char *option)
{
    const struct option_rule *rule;

    for (size_t i = 0; (rule = option_rule_at(i)) != NULL; i++) {
        if ((rule->verbs & verb->bit) == 0 || rule->argument == NULL ||
            rule->argument_optional || !names_rule(rule, option))
            continue;
        if (rule->words == NULL)
            puts("@none");
        else if (strcmp(rule->words, "@formats") == 0)
            complete_formats(false, "");
        else if (strcmp(rule->words, "@writable") == 0)
            complete_formats(true, "");
        else if (strcmp(rule->words, "@to") == 0)
            complete_formats(true, "=");
        else
            complete_words(rule->words);
    }
}

static void complete_format_options(const char *format)
{
    const struct ds_target_option *option;

    for (size_t i = 0; (option = ds_format_option(format, i)) != NULL; i++)
        printf("%s=\n", option->key);
}

int complete(int argc, char *const *argv)
{
    const struct verb *verb = argc > 1 ? verb_find(argv[1]) : NULL;

    if (argc == 1 && strcmp(argv[0], "verbs") == 0)
        complete_verbs();
    else if (argc == 2 && verb != NULL && strcmp(argv[0], "options") == 0)
        complete_options(verb);
    else if (argc == 3 && verb != NULL && strcmp(argv[0], "values") == 0)
        complete_values(verb, argv[2]);
    else if (argc == 2 && strcmp(argv[0], "format-options") == 0)
        complete_format_options(argv[1]);
    else
        return STATUS_USAGE;
    return STATUS_DONE;
}
