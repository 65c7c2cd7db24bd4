/* SPDX-License-Identifier: Apache-2.0 */
/* What only reads: the journal, or a host. */
#include "verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WATCH_MS 1000

static int open_journal(const struct options *options, struct journal **out,
                        struct ds_error *err)
{
    autofree char *directory = options_journal(options);

    return journal_open(directory, out, err);
}

static void print_time(double seconds)
{
    time_t time = (time_t)seconds;
    struct tm broken;
    char text[32] = "";

    localtime_r(&time, &broken);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &broken);
    fputs(text, stdout);
}

/* -- list, status --------------------------------------------------------- */

struct listing {
    struct journal *journal;
    bool unfinished; /* only these */
    json_t *list;    /* NULL: text */
    size_t running;
};

static int list_one(void *user, const struct migration_record *record,
                    struct ds_error *err)
{
    struct listing *listing = user;
    bool claimed = journal_claimed(listing->journal, record->id);
    bool over = record->ended > 0 && record->state != MIGRATION_FAILED;

    (void)err;
    listing->running += claimed;
    if (listing->unfinished && over)
        return 0;
    if (listing->list != NULL) {
        json_array_append_new(
            listing->list,
            json_pack("{s:I, s:I, s:s, s:s, s:s, s:s?, s:b, s:s?, s:s?, s:f, "
                      "s:f}",
                      "id", (json_int_t)record->id, "run",
                      (json_int_t)record->run, "vm", record->vm_name, "kind",
                      record->kind, "state",
                      migration_state_name(record->state), "stage",
                      record->stage, "worked_on", claimed, "error",
                      record->error, "verdict", record->verdict, "begun",
                      record->begun, "ended", record->ended));
        return 0;
    }
    printf("%4" PRId64 "  ", record->id);
    print_time(record->begun);
    printf("  %-8s  %-9s  %-9s  ", record->kind,
           migration_state_name(record->state),
           record->stage != NULL ? record->stage : "-");
    print_safe(stdout, record->vm_name);
    if (!over && !claimed && record->state != MIGRATION_FAILED)
        fputs("  (nobody works on it: resume or rollback)", stdout);
    putchar('\n');
    return 0;
}

static int list_all(const struct options *options, struct listing *listing,
                    struct ds_error *err)
{
    int result;

    listing->running = 0;
    listing->list = options->json ? json_array() : NULL;
    result = journal_each(listing->journal, 0, list_one, listing, err);
    if (listing->list != NULL) {
        autojson json_t *document =
            json_pack("{s:i, s:o}", "schema", 1, "migrations", listing->list);
        autofree char *text = json_dumps(document, JSON_INDENT(2));

        puts(text);
    }
    fflush(stdout);
    return result;
}

int verb_list(const struct options *options, struct ds_error *err)
{
    struct listing listing = { 0 };
    int result = open_journal(options, &listing.journal, err);

    if (result == 0)
        result = list_all(options, &listing, err);
    journal_close(listing.journal);
    return result;
}

int verb_status(const struct options *options, struct ds_error *err)
{
    struct listing listing = { .unfinished = true };
    int result = open_journal(options, &listing.journal, err);

    if (result == 0)
        result = list_all(options, &listing, err);
    while (result == 0 && options->watch && listing.running > 0 &&
           !narrate_stopped()) {
        sleep_ms(WATCH_MS);
        if (!options->json)
            fputs("\n", stdout);
        result = list_all(options, &listing, err);
    }
    journal_close(listing.journal);
    return result;
}

/* -- show, logs ----------------------------------------------------------- */

static int find_one(const struct options *options, struct journal **journal,
                    struct migration_record *out, struct ds_error *err)
{
    int result;

    if (options->operands.count != 1)
        return fail(err, DS_ERR_ARG,
                    "expect one migration's number or VM's name");
    result = open_journal(options, journal, err);
    return result != 0
               ? result
               : journal_find(*journal, options->operands.items[0], out, err);
}

static int show_steps(struct journal *journal, int64_t id, struct ds_error *err)
{
    struct step_record *steps = NULL;
    size_t count = 0;
    int result = journal_steps(journal, id, &steps, &count, err);

    for (size_t i = 0; i < count; i++) {
        autofree char *after = steps[i].after != NULL
                                   ? json_dumps(steps[i].after, JSON_COMPACT)
                                   : NULL;

        printf("  %-9s  %-16s  %-6s", steps[i].stage, steps[i].name,
               step_state_name(steps[i].state));
        if (steps[i].ended > 0)
            printf("  %8.3f s", steps[i].ended - steps[i].begun);
        if (after != NULL && strcmp(after, "{}") != 0)
            printf("  %s", after);
        putchar('\n');
    }
    journal_steps_free(steps, count);
    return result;
}

static json_t *steps_json(const struct step_record *steps, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:O, s:O?, s:f, s:f}", "stage",
                            steps[i].stage, "name", steps[i].name, "state",
                            step_state_name(steps[i].state), "before",
                            steps[i].before, "after", steps[i].after, "begun",
                            steps[i].begun, "ended", steps[i].ended));
    return list;
}

static int show_json(struct journal *journal,
                     const struct migration_record *record,
                     struct ds_error *err)
{
    struct step_record *steps = NULL;
    size_t count = 0;
    int result = journal_steps(journal, record->id, &steps, &count, err);
    autojson json_t *document = NULL;
    autofree char *text = NULL;

    if (result != 0)
        return result;
    document = json_pack(
        "{s:i, s:I, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:O, s:O?, s:o}", "schema",
        1, "id", (json_int_t)record->id, "vm", record->vm_name, "kind",
        record->kind, "state", migration_state_name(record->state), "stage",
        record->stage, "error", record->error, "verdict", record->verdict,
        "settings", record->settings, "description", record->vm, "steps",
        steps_json(steps, count));
    text = json_dumps(document, JSON_INDENT(2));
    puts(text);
    journal_steps_free(steps, count);
    return 0;
}

int verb_show(const struct options *options, struct ds_error *err)
{
    struct migration_record record = { 0 };
    struct journal *journal = NULL;
    int result = find_one(options, &journal, &record, err);

    if (result == 0 && options->json) {
        result = show_json(journal, &record, err);
    } else if (result == 0) {
        printf("%" PRId64 "  %s  %s  %s", record.id, record.vm_name,
               record.kind, migration_state_name(record.state));
        if (record.verdict != NULL) {
            fputs("  ", stdout);
            print_safe(stdout, record.verdict);
        }
        if (record.error != NULL) {
            fputs("  ", stdout);
            print_safe(stdout, record.error);
        }
        putchar('\n');
        result = show_steps(journal, record.id, err);
    }
    migration_record_free(&record);
    journal_close(journal);
    return result;
}

static int log_one(void *user, const struct message_record *message,
                   struct ds_error *err)
{
    static const char *const levels[] = { "info", "warning", "error" };
    json_t *list = user;

    (void)err;
    if (list != NULL) {
        json_array_append_new(
            list, json_pack("{s:f, s:s, s:s?, s:s}", "time", message->time,
                            "level", levels[message->level], "stage",
                            message->stage, "text", message->text));
        return 0;
    }
    print_time(message->time);
    printf("  %-7s  %-9s  ", levels[message->level],
           message->stage != NULL ? message->stage : "-");
    print_safe(stdout, message->text);
    putchar('\n');
    return 0;
}

int verb_logs(const struct options *options, struct ds_error *err)
{
    autojson json_t *document = NULL;
    struct migration_record record = { 0 };
    struct journal *journal = NULL;
    json_t *list = NULL;
    int result = find_one(options, &journal, &record, err);

    if (result == 0 && options->json) {
        list = json_array();
        document = json_pack("{s:i, s:o}", "schema", 1, "messages", list);
    }
    if (result == 0)
        result = journal_each_message(journal, record.id, log_one, list, err);
    if (result == 0 && document != NULL) {
        autofree char *text = json_dumps(document, JSON_INDENT(2));

        puts(text);
    }
    migration_record_free(&record);
    journal_close(journal);
    return result;
}

/* -- cancel: it writes one flag ------------------------------------------- */

int verb_cancel(const struct options *options, struct ds_error *err)
{
    struct migration_record record = { 0 };
    struct journal *journal = NULL;
    int result = find_one(options, &journal, &record, err);

    if (result == 0 && !journal_claimed(journal, record.id))
        result =
            fail(err, DS_ERR_REFUSED,
                 "nobody works on migration %" PRId64 " (%s): use rollback",
                 record.id, migration_state_name(record.state));
    if (result == 0)
        result = journal_set_cancel(journal, record.id, true, err);
    if (result == 0)
        printf("migration %" PRId64 " stops at its next look, and is undone\n",
               record.id);
    migration_record_free(&record);
    journal_close(journal);
    return result;
}

/* -- init ----------------------------------------------------------------- */

static int describe_all(struct hypervisor *hypervisor,
                        const struct texts *wanted, struct vm **vms,
                        size_t *count, struct ds_error *err)
{
    struct texts names = { 0 };
    int result = 0;

    if (wanted->count == 0)
        result = hypervisor->ops->list(hypervisor, &names, err);
    for (size_t i = 0; i < wanted->count; i++)
        texts_add(&names, wanted->items[i]);
    *vms = need(names.count * sizeof(**vms));
    for (size_t i = 0; i < names.count && result == 0; i++) {
        result = hypervisor->ops->describe(hypervisor, names.items[i],
                                           &(*vms)[*count], err);
        *count += result == 0;
    }
    texts_free(&names);
    return result;
}

static int write_plan(const struct options *options, const struct plan *plan,
                      const struct vm *vms, size_t count, struct ds_error *err)
{
    autofree char *text = plan_write(plan, vms, count);

    if (options->output == NULL)
        return fputs(text, stdout) < 0
                   ? fail(err, DS_ERR_SYSTEM, "standard output: cannot write")
                   : 0;
    if (path_exists(options->output))
        return fail(err, DS_ERR_REFUSED, "%s is there already",
                    options->output);
    return file_write(options->output, text, strlen(text), 0600, err);
}

int verb_init(const struct options *options, struct ds_error *err)
{
    struct options common = *options; /* its operands are no VMs of a plan */
    struct hypervisor *hypervisor = NULL;
    struct hypervisor_login login = { 0 };
    struct vm *vms = NULL;
    struct plan plan;
    size_t count = 0;
    int result;

    common.operands = (struct texts){ 0 };
    result = options_plan(&common, &plan, err);
    if (result != 0)
        return result;
    login = (struct hypervisor_login){ .auth_file = plan.common.auth_file,
                                       .ssh_key = plan.common.ssh_key,
                                       .ssh_config = plan.common.ssh_config };
    if (plan.common.source_uri == NULL)
        result = fail(err, DS_ERR_ARG, "--from is missing");
    else
        result =
            hypervisor_open(plan.common.source_uri, &login, &hypervisor, err);
    if (result == 0)
        result =
            describe_all(hypervisor, &options->operands, &vms, &count, err);
    if (result == 0)
        result = write_plan(options, &plan, vms, count, err);
    for (size_t i = 0; i < count; i++)
        vm_free(&vms[i]);
    free(vms);
    hypervisor_close(hypervisor);
    plan_free(&plan);
    return result;
}
