/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "option_values.h"

#define APPLIED SIZE_MAX /* no member: `apply` takes the value */
#define MEMBER(name) offsetof(struct options, name)

int usage_error(struct ds_error *err, const char *format, ...)
{
    va_list arguments;

    *err = (struct ds_error)DS_ERROR_INIT;
    err->error_class = DS_ERR_ARG;
    va_start(arguments, format);
    vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);
    return -DS_ERR_ARG;
}

int memory_error(struct ds_error *err)
{
    *err = (struct ds_error)DS_ERROR_INIT;
    err->error_class = DS_ERR_SYSTEM;
    err->system_errno = ENOMEM;
    snprintf(err->message, sizeof(err->message), "out of memory");
    return -DS_ERR_SYSTEM;
}

/* -- the table ------------------------------------------------------------ */

#define VERB_IMAGE (VERB_ALL & ~VERB_STORAGE)
#define VERB_TARGET (VERB_PLAN | VERB_CONVERT)
#define VERB_PLANNED (VERB_TARGET | VERB_MEASURE)
#define VERB_TWO (VERB_VERIFY | VERB_COMPARE)

static const struct option_rule rules[] = {
    { "source-format", 'f', "FMT", false, VERB_IMAGE, "@formats",
      "format of SOURCE, found from its content otherwise",
      MEMBER(source.format), NULL },
    { "snapshot", 0, "NAME", false, VERB_IMAGE & ~VERB_POINTS, NULL,
      "take SOURCE as it was at this internal snapshot, by name or id",
      MEMBER(source.snapshot), NULL },
    { "key-file", 0, "FILE", false, VERB_IMAGE, "@file",
      "file that holds the passphrase of SOURCE, which is encrypted",
      MEMBER(source.key_file), NULL },
    { "member", 0, "NAME", false, VERB_IMAGE, NULL,
      "the disk inside SOURCE, an OVA, by id, file name or number from 1 on",
      MEMBER(source.member), NULL },
    { "other-format", 'F', "FMT", false, VERB_TWO, "@formats",
      "format of the second disk, found from its content otherwise",
      MEMBER(other.format), NULL },
    { "other-snapshot", 0, "NAME", false, VERB_TWO, NULL,
      "internal snapshot of the second disk, by name or id",
      MEMBER(other.snapshot), NULL },
    { "other-key-file", 0, "FILE", false, VERB_TWO, "@file",
      "file that holds the passphrase of the second disk",
      MEMBER(other.key_file), NULL },
    { "other-member", 0, "NAME", false, VERB_TWO, NULL,
      "the disk inside the second disk's file, an OVA", MEMBER(other.member),
      NULL },
    { "chain", 0, NULL, false, VERB_INFO, NULL,
      "describe each layer of the chain: SOURCE, its parent and so on",
      MEMBER(chain), NULL },
    { "probe", 0, NULL, false, VERB_STORAGE, NULL,
      "measure: share and copy a temporary file there", MEMBER(probe), NULL },
    { "strict", 0, NULL, false, VERB_COMPARE, NULL,
      "disks of different sizes differ, also when the rest is zeros",
      MEMBER(strict), NULL },
    { "target-format", 'O', "FMT", false, VERB_PLANNED, "@writable",
      "format of TARGET, taken from its name's ending otherwise",
      MEMBER(target_format), NULL },
    { "to", 0, "FORMAT=PATH", false, VERB_TARGET, "@to",
      "a target, instead of TARGET; may be repeated", APPLIED, apply_to },
    { "option", 'o', "key=value", false, VERB_PLANNED, "@options",
      "option of the target format, or several with commas between; applies "
      "to the --to before it, or to TARGET; help lists a format's",
      APPLIED, apply_option },
    { "guest", 0, "SYSTEM", false, VERB_GUEST, "linux windows",
      "the guest's system: linux or windows", MEMBER(guest.guest), NULL },
    { "source", 0, "HYPERVISOR", false, VERB_GUEST, "vmware hyperv kvm xen any",
      "what the guest runs on: vmware, hyperv, kvm, xen or any (standard)",
      MEMBER(guest.source), NULL },
    { "target", 0, "HYPERVISOR", false, VERB_GUEST, "vmware hyperv kvm xen any",
      "what it will run on, likewise", MEMBER(guest.target), NULL },
    { "task", 0, "NAME,...", false, VERB_GUEST,
      "network drivers boot tools-remove tools-install power-off all",
      "what the scripts do: network, drivers, boot, power-off (standard: "
      "these), tools-remove, tools-install, or all",
      APPLIED, apply_task },
    { "stage", 0, "WAY", false, VERB_GUEST, "first staged offline",
      "first: one script (standard); staged: one for each task; offline: one "
      "that a person carries in",
      APPLIED, apply_stage },
    { "option", 'o', "key=value", false, VERB_GUEST, NULL,
      "value of a variable, or several with commas between; --list names them",
      APPLIED, apply_option },
    { "job", 0, "NAME", false, VERB_GUEST, NULL,
      "names the move in files and records (standard: move)", MEMBER(guest.job),
      NULL },
    { "elements", 0, "DIR", false, VERB_GUEST, "@directory",
      "directory with linux/NAME.sh and windows/NAME.ps1 that replace or add "
      "to the elements of the program",
      MEMBER(guest.elements), NULL },
    { "output", 0, "PATH", false, VERB_GUEST, "@file",
      "file to write to, instead of standard output; for staged scripts the "
      "directory",
      MEMBER(guest.output), NULL },
    { "iso", 0, "FILE", false, VERB_GUEST, "@file",
      "write the scripts with a note to an ISO image, which a VM takes as a "
      "CD (needs xorriso or genisoimage)",
      MEMBER(guest.iso), NULL },
    { "list", 0, NULL, false, VERB_GUEST, NULL,
      "list the elements and their variables", MEMBER(guest.list), NULL },
    { "resize", 0, "SIZE", false, VERB_PLANNED, NULL,
      "size of the target's disk, or +SIZE to add so much, in bytes or with "
      "k, M, G or T; what is added reads as zeros",
      APPLIED, apply_resize },
    { "strategy", 0, "WAY", false, VERB_PLANNED, "auto range graft",
      "auto (the cheaper, standard), range or graft", APPLIED, apply_strategy },
    { "require-clone", 0, NULL, false, VERB_TARGET, NULL,
      "fail before anything is written if any data had to be copied",
      MEMBER(require_clone), NULL },
    { "clone-via", 0, "KIND", false, VERB_TARGET, "ontap",
      "let a storage array share the blocks of nfs:// paths: ontap",
      MEMBER(via.name), NULL },
    { "ontap-url", 0, "URL", false, VERB_TARGET, NULL,
      "https://HOST[:PORT] of the array's management", MEMBER(via.url), NULL },
    { "ontap-volume", 0, "VOLUME", false, VERB_TARGET, NULL,
      "where SOURCE and TARGET lie; SVM:VOLUME where several have that name",
      MEMBER(via.volume), NULL },
    { "ontap-credentials", 0, "FILE", false, VERB_TARGET, "@file",
      "file with one line, USER:PASSWORD, which only its owner may use",
      MEMBER(via.credentials_file), NULL },
    { "ontap-cacert", 0, "FILE", false, VERB_TARGET, "@file",
      "authorities, in PEM, to believe instead of the system's",
      MEMBER(via.cacert_file), NULL },
    { "share-source-file", 0, NULL, false, VERB_TARGET, NULL,
      "the target refers to the source's own file, which the guest then "
      "changes",
      MEMBER(share_source_file), NULL },
    { "ops", 0, NULL, false, VERB_PLAN, NULL, "list every operation",
      MEMBER(ops), NULL },
    { "force", 0, NULL, false, VERB_CONVERT | VERB_GUEST, NULL,
      "replace a target that exists", MEMBER(force), NULL },
    { "no-verify", 0, NULL, false, VERB_CONVERT, NULL,
      "do not compare the target with the source before it gets its name",
      MEMBER(no_verify), NULL },
    { "verify", 0, "MODE", false, VERB_CONVERT, "content metadata",
      "content (standard): read what no block address proves; metadata: where "
      "there are no addresses (NFS), believe the storage what it shared",
      APPLIED, apply_verify },
    { "growth", 0, "PERCENT", false, VERB_CONVERT, NULL,
      "warn when there is no room to rewrite so much of what is shared "
      "(standard: 10)",
      APPLIED, apply_growth },
    { "warn-copy", 0, NULL, false, VERB_CONVERT, NULL,
      "exit with 7 when data had to be copied", MEMBER(warn_copy), NULL },
    { "quiet", 'q', NULL, false, VERB_CONVERT, NULL,
      "no progress bar and no report in text", MEMBER(quiet), NULL },
    { "progress", 0, "FD", true, VERB_PLANNED | VERB_TWO, NULL,
      "show progress on standard error, or with FD write it as JSON lines to "
      "that descriptor",
      APPLIED, apply_progress },
    { "json", 0, NULL, false, VERB_ALL | VERB_GUEST, NULL,
      "print one JSON document, with sizes in bytes", MEMBER(json), NULL },
    { "stats", 0, NULL, false, VERB_ALL, NULL,
      "report the calls made to servers, and their bytes", MEMBER(stats),
      NULL },
    { "allow-refs", 0, "DIR", false, VERB_IMAGE, "@directory",
      "directory beneath which SOURCE may refer to other files; else only "
      "beside it",
      MEMBER(allow_refs), NULL },
    { "no-refs", 0, NULL, false, VERB_IMAGE, NULL,
      "never open a file that SOURCE refers to", MEMBER(no_refs), NULL },
    { "max-memory", 0, "SIZE", false, VERB_IMAGE, NULL,
      "for the tables of an image and its parents (standard: 128M)", APPLIED,
      apply_max_memory },
    { "max-virtual-size", 0, "SIZE", false, VERB_IMAGE, NULL,
      "refuse an image of a larger disk (standard: 64T)", APPLIED,
      apply_max_virtual_size },
    { "max-key-rounds", 0, "NUMBER", false, VERB_IMAGE, NULL,
      "of PBKDF2 that a passphrase is worth (standard: 64M)", APPLIED,
      apply_max_key_rounds },
    { "max-output", 0, "SIZE", false, VERB_PLANNED, NULL,
      "refuse a target that takes more room of its own (standard: 64T)",
      APPLIED, apply_max_output },
    { "sandbox", 0, "MODE", false, VERB_ALL, "auto require off",
      "auto (standard): as far as the kernel can, and warn; require: fail "
      "without it; or off",
      APPLIED, apply_sandbox },
    { "help", 'h', NULL, false, VERB_ALL | VERB_GUEST, NULL, "print this help",
      MEMBER(help), NULL },
};

const struct option_rule *option_rule_at(size_t index)
{
    return index < sizeof(rules) / sizeof(rules[0]) ? &rules[index] : NULL;
}

/* -- parsing -------------------------------------------------------------- */

/* Names are matched whole: an abbreviation that is unique today need not be
 * so tomorrow. */
static const struct option_rule *find_long(const char *name, size_t length,
                                           unsigned verb)
{
    const struct option_rule *rule;

    for (size_t i = 0; (rule = option_rule_at(i)) != NULL; i++)
        if ((rule->verbs & verb) != 0 && strlen(rule->name) == length &&
            strncmp(rule->name, name, length) == 0)
            return rule;
    return NULL;
}

static const struct option_rule *find_letter(char letter, unsigned verb)
{
    const struct option_rule *rule;

    for (size_t i = 0; (rule = option_rule_at(i)) != NULL; i++)
        if ((rule->verbs & verb) != 0 && rule->letter == letter)
            return rule;
    return NULL;
}

static int take(struct options *options, const struct option_rule *rule,
                const char *value, struct ds_error *err)
{
    char *member;

    if (rule->member == APPLIED)
        return rule->apply(options, value, err);
    member = (char *)options + rule->member;
    if (rule->argument == NULL) {
        *(bool *)(void *)member = true;
        return 0;
    }
    if (value[0] == '\0')
        return usage_error(err, "--%s: its %s is empty", rule->name,
                           rule->argument);
    *(const char **)(void *)member = value;
    return 0;
}

/* `argv[*index]` begins with "--". */
static int parse_long(struct options *options, unsigned verb, int argc,
                      char *const *argv, int *index, struct ds_error *err)
{
    const char *name = argv[*index] + 2;
    size_t length = strcspn(name, "=");
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    const struct option_rule *rule = find_long(name, length, verb);

    if (rule == NULL)
        return usage_error(err, "unknown option --%.*s", (int)length, name);
    if (rule->argument == NULL && value != NULL)
        return usage_error(err, "--%s takes no value", rule->name);
    if (rule->argument != NULL && !rule->argument_optional && value == NULL) {
        if (*index + 1 >= argc)
            return usage_error(err, "--%s: expect %s after it", rule->name,
                               rule->argument);
        value = argv[++*index];
    }
    return take(options, rule, value, err);
}

/* `argv[*index]` is "-x", "-xy" (two flags) or "-xVALUE". */
static int parse_letters(struct options *options, unsigned verb, int argc,
                         char *const *argv, int *index, struct ds_error *err)
{
    for (const char *letter = argv[*index] + 1; *letter != '\0'; letter++) {
        const struct option_rule *rule = find_letter(*letter, verb);
        int result;

        if (rule == NULL)
            return usage_error(err, "unknown option -%c", *letter);
        if (rule->argument != NULL) {
            const char *value = letter + 1;

            if (*value == '\0' && *index + 1 >= argc)
                return usage_error(err, "-%c: expect %s after it", *letter,
                                   rule->argument);
            if (*value == '\0')
                value = argv[++*index];
            return take(options, rule, value, err);
        }
        result = take(options, rule, NULL, err);
        if (result != 0)
            return result;
    }
    return 0;
}

static int check_array(const struct ds_clone_via_options *via,
                       struct ds_error *err)
{
    bool any = via->url != NULL || via->volume != NULL ||
               via->credentials_file != NULL || via->cacert_file != NULL;

    if (via->name == NULL)
        return any ? usage_error(err, "--ontap-...: expect --clone-via ontap "
                                      "with it")
                   : 0;
    if (strcmp(via->name, "ontap") != 0)
        return usage_error(err, "--clone-via: have %s expect ontap", via->name);
    if (via->url == NULL || via->volume == NULL ||
        via->credentials_file == NULL)
        return usage_error(err, "--clone-via ontap: expect --ontap-url, "
                                "--ontap-volume and --ontap-credentials");
    return 0;
}

static int check_together(const struct options *options, struct ds_error *err)
{
    int result = check_array(&options->via, err);

    if (result != 0)
        return result;
    if (options->no_refs && options->allow_refs != NULL)
        return usage_error(err, "--no-refs and --allow-refs exclude each "
                                "other");
    if (options->no_verify && options->trust_clones)
        return usage_error(err, "--no-verify and --verify=metadata exclude "
                                "each other");
    if (options->target_count > 0 && options->target_format != NULL)
        return usage_error(err, "-O and --to exclude each other");
    if (options->json && options->progress_fd == 1)
        return usage_error(err, "--progress=1 would mix with the document "
                                "of --json");
    return 0;
}

int options_parse(struct options *options, unsigned verb, int argc,
                  char *const *argv, struct ds_error *err)
{
    size_t most = (size_t)argc + 1; /* a bound on each list below */
    bool operands_only = false;

    for (int i = 0; i < argc; i++)
        for (const char *at = argv[i]; *at != '\0'; at++)
            most += *at == ','; /* each may end an option */

    *options = (struct options){ .verb = verb,
                                 .sandbox = SANDBOX_AUTO,
                                 .progress_fd = PROGRESS_FD_NONE,
                                 .strategy = DS_STRATEGY_AUTO,
                                 .source_count = 1,
                                 .growth_percent = GROWTH_PERCENT_STANDARD };
    options->target_options = calloc(most, sizeof(const char *));
    options->targets = calloc(most, sizeof(struct ds_target_spec));
    options->operands = calloc(most, sizeof(const char *));
    options->guest.tasks = calloc(most, sizeof(const char *));
    if (options->target_options == NULL || options->targets == NULL ||
        options->operands == NULL || options->guest.tasks == NULL)
        return memory_error(err);

    for (int i = 0; i < argc; i++) {
        int result = 0;

        if (operands_only || argv[i][0] != '-' || argv[i][1] == '\0')
            options->operands[options->operand_count++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            operands_only = true;
        else if (argv[i][1] == '-')
            result = parse_long(options, verb, argc, argv, &i, err);
        else
            result = parse_letters(options, verb, argc, argv, &i, err);
        if (result != 0)
            return result;
    }
    return check_together(options, err);
}

void options_free(struct options *options)
{
    for (size_t i = 0; i < options->target_count; i++)
        free((void *)(uintptr_t)options->targets[i].format);
    free(options->targets);
    for (size_t i = 0; i < options->target_option_count; i++)
        free((void *)(uintptr_t)options->target_options[i]);
    free(options->target_options);
    for (size_t i = 0; i < options->guest.task_count; i++)
        free((void *)(uintptr_t)options->guest.tasks[i]);
    free(options->guest.tasks);
    free(options->operands);
}
