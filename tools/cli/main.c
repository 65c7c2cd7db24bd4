/* SPDX-License-Identifier: Apache-2.0 */
/* diskshift: find the verb, run it, tell how it ended. Only this file and
 * the reports print; the library never does. */
#include "common.h"
#include "confine.h"
#include "human.h"
#include "progress.h"
#include "target.h"
#include "verbs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define TARGETS_USAGE                                                          \
    "[OPTION]... SOURCE... TARGET\n"                                           \
    "[OPTION]... SOURCE... {--to FMT=PATH [-o key=value]...}..."

static const struct verb verbs[] = {
    { "info", VERB_INFO, "[OPTION]... SOURCE", "describe a disk image",
      verb_info },
    { "map", VERB_MAP, "[OPTION]... SOURCE",
      "list where each range of the guest's disk lies", verb_map },
    { "plan", VERB_PLAN, TARGETS_USAGE,
      "say what a conversion would do; writes nothing", verb_plan },
    { "convert", VERB_CONVERT, TARGETS_USAGE,
      "make a disk of another format over the same blocks", verb_convert },
    { "verify", VERB_VERIFY, "[OPTION]... SOURCE TARGET",
      "check that a target is what its source is", verb_verify },
    { "compare", VERB_COMPARE, "[OPTION]... IMAGE IMAGE",
      "compare what the guests of any two disks read", verb_compare },
    { "check", VERB_CHECK, "[OPTION]... SOURCE",
      "look for corruption and leaks in an image and its parents", verb_check },
    { "measure", VERB_MEASURE,
      "[OPTION]... -O FMT [-o key=value]... SOURCE [DIRECTORY]",
      "say how much room a target would take, shared and new", verb_measure },
    { "snapshot-points", VERB_POINTS, "[OPTION]... SOURCE",
      "list the states of a disk that can be a source", verb_points },
    { "storage", VERB_STORAGE, "[OPTION]... PATH",
      "say what a place can do: share, copy, tell where blocks lie",
      verb_storage },
    { "guest-script", VERB_GUEST,
      "[OPTION]... --guest SYSTEM [-o key=value]...\n"
      "[OPTION]... --list",
      "make the scripts by which a guest keeps its network", verb_guest },
};

const struct verb *verb_at(size_t index)
{
    return index < ARRAY_COUNT(verbs) ? &verbs[index] : NULL;
}

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int status_of(enum ds_error_class error_class)
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
        return progress_signal() == SIGINT ? STATUS_SIGINT : STATUS_FAILURE;
    }
    return STATUS_FAILURE;
}

/* "diskshift: FILE: offset 0x..: message" */
static void print_error(const struct ds_error *err)
{
    fputs("diskshift: ", stderr);
    if (err->file[0] != '\0') {
        human_print(stderr, err->file);
        fputs(": ", stderr);
    }
    if (err->offset_bytes != DS_OFFSET_NONE)
        fprintf(stderr, "offset 0x%" PRIx64 ": ", err->offset_bytes);
    human_print(stderr, err->message);
    fputc('\n', stderr);
}

/* Standard output may be full or closed: then all was in vain. */
static int finish_output(struct report *report, int status)
{
    struct ds_error err = DS_ERROR_INIT;

    if (report_finish(report) == 0)
        return status;
    common_check_output(report, &err);
    print_error(&err);
    return status == STATUS_DONE ? STATUS_SYSTEM : status;
}

/* Looked for before parsing, so that a wrong option is told in JSON too. */
static bool wants_json(int argc, char *const *argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

static int help_options(const struct options *options, struct ds_error *err)
{
    const char *format;
    int result = target_format_asked(options, &format, err);

    if (result == 0)
        help_format(format);
    return result;
}

static int run_verb(const struct verb *verb, struct report *report, int argc,
                    char *const *argv)
{
    struct ds_error err = DS_ERROR_INIT;
    struct options options;
    int result = options_parse(&options, verb->bit, argc, argv, &err);

    if (result == 0 && options.help)
        help_verb(verb);
    else if (result == 0 && options.option_help)
        result = help_options(&options, &err);
    else if (result == 0)
        result = verb->run(&options, report, &err);
    if (result >= 0 && options.stats)
        common_traffic(report);
    options_free(&options);
    if (result < 0) {
        fflush(stdout); /* what was done comes before what failed */
        report_error(report, &err);
        print_error(&err);
        if (err.error_class == DS_ERR_ARG)
            fprintf(stderr, "diskshift: see 'diskshift help %s'\n", verb->name);
        result = status_of(err.error_class);
    }
    confine_report(report);
    return result;
}

static int usage(struct report *report, const char *format, const char *word)
{
    struct ds_error err = DS_ERROR_INIT;

    if (word != NULL)
        usage_error(&err, "%s %s", format, word);
    else
        usage_error(&err, "%s", format);
    report_error(report, &err);
    print_error(&err);
    fputs("diskshift: see 'diskshift help'\n", stderr);
    return STATUS_USAGE;
}

static int help(struct report *report, const char *name)
{
    const struct verb *verb = name != NULL ? verb_find(name) : NULL;

    if (name != NULL && strcmp(name, "help") != 0 && verb == NULL)
        return usage(report, "unknown verb", name);
    if (verb != NULL)
        help_verb(verb);
    else
        help_all();
    return STATUS_DONE;
}

/* "migrate ..." and "help migrate" are another program's. */
static int run_migrate(struct report *report, char *const *argv)
{
    struct ds_error err = DS_ERROR_INIT;
    int result = migrate(argv, &err);

    report_error(report, &err);
    print_error(&err);
    return status_of((enum ds_error_class) - result);
}

static int dispatch(struct report *report, int argc, char *const *argv)
{
    char *const help_of[] = { "migrate", "--help", NULL };
    const char *word = argc > 1 ? argv[1] : "";
    const struct verb *verb = verb_find(word);

    if (argc < 2)
        return usage(report, "expect a verb", NULL);
    if (verb != NULL)
        return run_verb(verb, report, argc - 2, argv + 2);
    if (strcmp(word, "migrate") == 0)
        return run_migrate(report, argv + 1);
    if (strcmp(word, "help") == 0 && argc > 2 &&
        strcmp(argv[2], "migrate") == 0)
        return run_migrate(report, help_of);
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 ||
        strcmp(word, "-h") == 0)
        return help(report, argc > 2 ? argv[2] : NULL);
    if (strcmp(word, "--version") == 0) {
        printf("diskshift %s\n", ds_version());
        return STATUS_DONE;
    }
    if (strcmp(word, "__complete") == 0 && argc > 2)
        return complete(argc - 2, argv + 2);
    return usage(report, word[0] == '-' ? "unknown option" : "unknown verb",
                 word);
}

/* A closed descriptor 0, 1 or 2 would be given to the next file that is
 * opened, and a message would be written into a disk. */
static bool fill_standard_descriptors(void)
{
    for (int descriptor = 0; descriptor <= 2; descriptor++)
        if (fcntl(descriptor, F_GETFD) < 0 &&
            open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY) !=
                descriptor)
            return false;
    return true;
}

/* A disk of 2 TiB may lie in more than a thousand files, and its target too.
 * Where that is still not enough, the file that could not be opened says so. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    struct report report = { .out = stdout };
    int status;

    if (!fill_standard_descriptors())
        return STATUS_SYSTEM;
    raise_descriptor_limit();
    report.json = argc > 2 && wants_json(argc - 2, argv + 2);
    status = dispatch(&report, argc, argv);
    return finish_output(&report, status);
}
