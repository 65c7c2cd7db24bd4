/* SPDX-License-Identifier: Apache-2.0 */
/* diskshift-migrate: find the verb, run it, tell how it ended. */
#include "verbs.h"

#include <stdio.h>
#include <string.h>

#include <libvirt/libvirt.h>

static const struct verb verbs[] = {
    { "run", "[OPTION]... [VM]...",
      "move virtual machines; back again when anything fails", verb_run },
    { "check", "[OPTION]... [VM]...",
      "say what would stop it, or should be known; changes nothing",
      verb_check },
    { "import", "[OPTION]... --to URI FILE...",
      "a VM that is files becomes one of a hypervisor: VMX, OVF, OVA, XML",
      verb_import },
    { "init", "--from URI [OPTION]... [VM]...",
      "write a commented plan from a live host", verb_init },
    { "status", "[--watch]", "what is unfinished, and who works on it",
      verb_status },
    { "list", "", "all migrations", verb_list },
    { "show", "NUMBER|VM", "one, with its steps", verb_show },
    { "logs", "NUMBER|VM", "its messages", verb_logs },
    { "report", "NUMBER|VM|--run NUMBER [--json|--html] [--output FILE]",
      "what happened, also as one HTML file with a timeline", verb_report },
    { "resume", "{NUMBER|VM}...|--all", "go on with what was cut short",
      verb_resume },
    { "rollback", "{NUMBER|VM}...|--all", "undo it: the source as it was",
      verb_rollback },
    { "cancel", "NUMBER|VM", "stop one that runs, and undo it", verb_cancel },
    { "return", "{NUMBER|VM}...",
      "back to the source, with the disks as they are now", verb_return },
};

const struct verb *verb_at(size_t index)
{
    return index < ARRAY_COUNT(verbs) ? &verbs[index] : NULL;
}

int status_of(enum ds_error_class error_class)
{
    switch (error_class) {
    case DS_OK:
        return STATUS_DONE;
    case DS_ERR_SYSTEM:
        return STATUS_SYSTEM;
    case DS_ERR_CORRUPT:
        return STATUS_CORRUPT;
    case DS_ERR_UNSUPPORTED:
    case DS_ERR_LIMIT:
        return STATUS_UNSUPPORTED;
    case DS_ERR_REFUSED:
        return STATUS_REFUSED;
    case DS_ERR_ARG:
        return STATUS_USAGE;
    case DS_ERR_CANCELLED:
        return STATUS_FAILURE;
    }
    return STATUS_FAILURE;
}

static void help(void)
{
    printf("usage: diskshift migrate VERB [OPTION]... [VM]...\n\nVerbs:\n");
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++)
        printf("  %s %s\n      %s\n", verbs[i].name, verbs[i].usage,
               verbs[i].summary);
    options_help();
}

static int run_verb(const struct verb *verb, int argc, char *const *argv)
{
    struct ds_error err = DS_ERROR_INIT;
    struct options options;
    int result = options_parse(&options, argc, argv, &err);

    if (result == 0 && options.help)
        help();
    else if (result == 0)
        result = verb->run(&options, &err);
    options_free(&options);
    if (result >= 0)
        return result;
    fflush(stdout);
    tell_error(&err);
    if (err.error_class == DS_ERR_ARG)
        fputs("diskshift: see 'diskshift migrate --help'\n", stderr);
    return status_of(err.error_class);
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "--help";
    int status = STATUS_USAGE;

    if (virInitialize() != 0) {
        fputs("diskshift: libvirt cannot be used\n", stderr);
        return STATUS_SYSTEM;
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 ||
        strcmp(word, "-h") == 0) {
        help();
        return argc > 1 ? STATUS_DONE : STATUS_USAGE;
    }
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++) {
        if (strcmp(verbs[i].name, word) == 0) {
            status = run_verb(&verbs[i], argc - 2, argv + 2);
            if (fflush(stdout) != 0 && status == STATUS_DONE)
                status = STATUS_SYSTEM;
            return status;
        }
    }
    fprintf(stderr,
            "diskshift: unknown verb %s\n"
            "diskshift: see 'diskshift migrate --help'\n",
            word);
    return status;
}
