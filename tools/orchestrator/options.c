/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Options that are no setting of a VM. */
#define HELP_COLUMNS 79
#define HELP_INDENT 26

enum own_type { OWN_YES, OWN_TEXT, OWN_NUMBER };

struct own {
    const char *name;
    enum own_type type;
    size_t offset;
    const char *help;
};

#define AT(name) offsetof(struct options, name)
static const struct own owns[] = {
    { "plan", OWN_TEXT, AT(plan_path), "a plan file" },
    { "journal", OWN_TEXT, AT(journal_directory),
      "directory of the journal (/var/lib/diskshift, or below "
      "XDG_STATE_HOME)" },
    { "group", OWN_TEXT, AT(group), "only the plan's VMs of this group" },
    { "jobs", OWN_NUMBER, AT(jobs), "VMs at once (1)" },
    { "jobs-per-host", OWN_NUMBER, AT(jobs_per_host),
      "of them with one host (no limit)" },
    { "test", OWN_YES, AT(test),
      "with a second clone, cut off from networks; all is removed again" },
    { "test-network", OWN_TEXT, AT(test_network),
      "for --test: an isolated network (unplugged)" },
    { "allow-refs", OWN_TEXT, AT(allow_refs),
      "for import: a directory where disks may lie, too" },
    { "run", OWN_NUMBER, AT(run), "for report: all that one command began" },
    { "accept-warnings", OWN_YES, AT(accept_all),
      "go on whatever preflight warns of" },
    { "json", OWN_YES, AT(json), "one JSON document on standard output" },
    { "html", OWN_YES, AT(html), "for report: one HTML file" },
    { "progress", OWN_NUMBER, AT(progress_fd),
      "JSON lines about the progress on this descriptor" },
    { "quiet", OWN_YES, AT(quiet), "do not tell how it goes" },
    { "watch", OWN_YES, AT(watch), "for status: until nothing runs" },
    { "all", OWN_YES, AT(all),
      "for resume, rollback: all that are unfinished" },
    { "output", OWN_TEXT, AT(output), "for init, report: the file to write" },
    { "help", OWN_YES, AT(help), "this text" },
};

static const struct own *own_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(owns); i++)
        if (strcmp(owns[i].name, name) == 0)
            return &owns[i];
    return NULL;
}

static int set_own(struct options *options, const struct own *own,
                   const char *value, struct ds_error *err)
{
    void *at = (char *)options + own->offset;
    size_t length = strlen(value);

    if (own->type == OWN_YES) {
        *(bool *)at = true;
    } else if (own->type == OWN_TEXT) {
        *(const char **)at = value;
    } else {
        if (length == 0 || length > 6 || strspn(value, "0123456789") != length)
            return fail(err, DS_ERR_ARG, "--%s: have %s expect a number",
                        own->name, value);
        *(unsigned *)at = (unsigned)strtoul(value, NULL, 10);
    }
    return 0;
}

static void add_value(struct options *options, const struct setting *setting,
                      const char *value)
{
    options->values = need_more(options->values, (options->value_count + 1) *
                                                     sizeof(*options->values));
    options->values[options->value_count++] =
        (struct option_value){ setting, value };
}

static int check_value(const struct setting *setting, const char *value,
                       struct ds_error *err)
{
    struct settings scratch = { 0 };
    int result = setting_set(&scratch, setting, value, err);

    settings_free(&scratch);
    return result != 0 ? fail_within(err, "--%s", setting->option) : 0;
}

/* "--name value", "--name=value", for yes and no also "--name", "--no-name".
 * *taken: how many words. */
static int parse_one(struct options *options, char *const *argv, int left,
                     int *taken, struct ds_error *err)
{
    const char *word = argv[0] + 2, *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    autofree char *name = text_format("%.*s", (int)length, word);
    const struct own *own = own_find(name);
    const struct setting *setting =
        own == NULL ? setting_by_option(name) : NULL;
    const char *value = equals != NULL ? equals + 1 : NULL;

    *taken = 1;
    if (own == NULL && setting == NULL && text_begins(name, "no-"))
        setting = setting_by_option(name + 3);
    if (own == NULL && (setting == NULL || (text_begins(name, "no-") &&
                                            setting->type != SETTING_YES)))
        return fail(err, DS_ERR_ARG, "unknown option --%s", name);
    if (value == NULL && own != NULL && own->type == OWN_YES)
        value = "yes";
    if (value == NULL && setting != NULL && setting->type == SETTING_YES)
        value = text_begins(name, "no-") && setting_by_option(name) == NULL
                    ? "no"
                    : "yes";
    if (value == NULL && left < 2)
        return fail(err, DS_ERR_ARG, "--%s: expect a value", name);
    if (value == NULL) {
        value = argv[1];
        *taken = 2;
    }
    if (own != NULL)
        return set_own(options, own, value, err);
    add_value(options, setting, value);
    return check_value(setting, value, err);
}

int options_parse(struct options *out, int argc, char *const *argv,
                  struct ds_error *err)
{
    int result = 0, taken;

    *out = (struct options){ .progress_fd = -1 };
    for (int i = 0; i < argc && result == 0; i += taken) {
        taken = 1;
        if (strcmp(argv[i], "--") == 0) {
            while (++i < argc)
                texts_add(&out->operands, argv[i]);
            break;
        }
        if (strcmp(argv[i], "-o") == 0 && i + 1 < argc) {
            const struct setting *setting = setting_by_option("o");

            add_value(out, setting, argv[i + 1]);
            result = check_value(setting, argv[i + 1], err);
            taken = 2;
        } else if (text_begins(argv[i], "--")) {
            result = parse_one(out, argv + i, argc - i, &taken, err);
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            result = fail(err, DS_ERR_ARG, "unknown option %s", argv[i]);
        } else {
            texts_add(&out->operands, argv[i]);
        }
    }
    return result;
}

void options_free(struct options *options)
{
    texts_free(&options->operands);
    free(options->values);
}

/* In words from column 28 on. */
static void print_wrapped(const char *text, int column)
{
    while (*text != '\0') {
        int length = (int)strcspn(text, " ");

        if (column + 1 + length > HELP_COLUMNS) {
            printf("\n%*s", HELP_INDENT, "");
            column = HELP_INDENT;
        }
        column += printf(" %.*s", length, text);
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void help_line(const char *name, const char *standard, const char *help)
{
    autofree char *text = standard != NULL
                              ? text_format("%s [%s]", help, standard)
                              : text_copy(help);
    int column = printf("  --%-*s", HELP_INDENT - 4, name);

    print_wrapped(text, column);
}

void options_help(void)
{
    const struct setting *setting;

    printf("\nOptions:\n");
    for (size_t i = 0; i < ARRAY_COUNT(owns); i++)
        help_line(owns[i].name, NULL, owns[i].help);
    printf("\nSettings, of all VMs; a plan file can set them for each:\n");
    for (size_t i = 0; (setting = setting_at(i)) != NULL; i++)
        if (setting->option != NULL)
            help_line(setting->option, setting->standard, setting->help);
}

/* -- the plan ------------------------------------------------------------- */

static void print_problem(void *user, const char *text)
{
    (void)user;
    fprintf(stderr, "diskshift: %s\n", text);
}

int options_apply(const struct options *options, struct settings *settings,
                  struct ds_error *err)
{
    int result = 0;

    for (size_t i = 0; i < options->value_count && result == 0; i++)
        result = setting_set(settings, options->values[i].setting,
                             options->values[i].value, err);
    if (options->accept_all)
        texts_add(&settings->accepted, "all");
    text_set(&settings->test_network, options->test_network);
    return result;
}

/* Leave the plan's VMs that were not asked for. */
static void choose(const struct options *options, struct plan *plan)
{
    size_t kept = 0;

    for (size_t i = 0; i < plan->vm_count; i++) {
        struct settings *vm = &plan->vms[i];
        bool named = options->operands.count == 0 ||
                     texts_have(&options->operands, vm->vm_name);

        if (named &&
            (options->group == NULL || text_same(options->group, vm->group)))
            plan->vms[kept++] = *vm;
        else
            settings_free(vm);
    }
    plan->vm_count = kept;
}

static bool has_vm(const struct plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->vm_count; i++)
        if (text_same(plan->vms[i].vm_name, name))
            return true;
    return false;
}

int options_plan(const struct options *options, struct plan *out,
                 struct ds_error *err)
{
    bool listed;
    int result = 0;

    if (options->plan_path != NULL)
        result = plan_read(options->plan_path, out, print_problem, NULL, err);
    else
        plan_standard(out);
    if (result != 0)
        return result;
    listed = out->vm_count > 0;
    result = options_apply(options, &out->common, err);
    choose(options, out);
    for (size_t i = 0; i < out->vm_count && result == 0; i++)
        result = options_apply(options, &out->vms[i], err);
    for (size_t i = 0; i < options->operands.count && result == 0; i++) {
        const char *name = options->operands.items[i];
        struct settings *vm;

        if (has_vm(out, name))
            continue;
        result =
            listed ? fail(err, DS_ERR_ARG, "%s: the plan has no such VM", name)
                   : plan_add_vm(out, name, &vm, err);
        if (result == 0)
            text_set(&vm->test_network, options->test_network);
    }
    if (options->jobs != 0)
        out->jobs = options->jobs;
    if (options->jobs_per_host != 0)
        out->jobs_per_host = options->jobs_per_host;
    if (result != 0)
        plan_free(out);
    return result;
}

char *options_journal(const struct options *options)
{
    const char *home = getenv("HOME"), *state = getenv("XDG_STATE_HOME");

    if (options->journal_directory != NULL)
        return text_copy(options->journal_directory);
    if (geteuid() == 0)
        return text_copy("/var/lib/diskshift");
    if (state != NULL && state[0] == '/')
        return path_join(state, "diskshift");
    return path_join(home != NULL ? home : "/tmp", ".local/state/diskshift");
}
