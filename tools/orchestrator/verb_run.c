/* SPDX-License-Identifier: Apache-2.0 */
/* What begins migrations, and what goes on with them. */
#include "verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct crew_job *add_job(struct crew *crew, int64_t id, unsigned order,
                                const char *source, const char *target)
{
    struct crew_job *job;

    crew->items =
        need_more(crew->items, (crew->count + 1) * sizeof(*crew->items));
    job = &crew->items[crew->count++];
    *job = (struct crew_job){ .id = id,
                              .order = order,
                              .host = text_format("%s %s", source, target),
                              .error = DS_ERROR_INIT };
    return job;
}

/* -- how it ended --------------------------------------------------------- */

static json_t *outcome_json(const struct migration_record *record)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:s?, s:s?, s:f}", "id",
                     (json_int_t)record->id, "vm", record->vm_name, "kind",
                     record->kind, "state", migration_state_name(record->state),
                     "error", record->error, "verdict", record->verdict,
                     "seconds",
                     record->ended > 0 ? record->ended - record->begun : 0.0);
}

static void tell_outcome(const struct migration_record *record)
{
    printf("%" PRId64 "  ", record->id);
    print_safe(stdout, record->vm_name);
    printf("  %s", migration_state_name(record->state));
    if (record->ended > 0)
        printf("  %.1f s", record->ended - record->begun);
    if (record->verdict != NULL) {
        fputs("  ", stdout);
        print_safe(stdout, record->verdict);
    }
    if (record->error != NULL) {
        fputs("  ", stdout);
        print_safe(stdout, record->error);
    }
    putchar('\n');
}

/* The first failure's; what waits counts only when nothing failed. */
static int job_status(const struct crew_job *job,
                      const struct migration_record *record, int status)
{
    if (job->result != 0 && (status == STATUS_DONE || status == STATUS_WAITS))
        return narrate_stopped() && job->error.error_class == DS_ERR_CANCELLED
                   ? STATUS_SIGINT
                   : status_of(job->error.error_class);
    if (status == STATUS_DONE && record->state == MIGRATION_WAITING)
        return STATUS_WAITS;
    return status;
}

static void print_document(json_t *list)
{
    autojson json_t *document =
        json_pack("{s:i, s:o}", "schema", 1, "migrations", list);
    autofree char *text = json_dumps(document, JSON_INDENT(2));

    puts(text);
}

int verbs_crew(const struct options *options, struct crew *crew,
               struct ds_error *err)
{
    json_t *list = json_array();
    struct journal *journal = NULL;
    int status = STATUS_DONE, result;

    narrate_catch_signals();
    crew_run(crew);
    result = journal_open(crew->journal_directory, &journal, err);
    for (size_t i = 0; i < crew->count && result == 0; i++) {
        struct migration_record record = { 0 };

        result = journal_get(journal, crew->items[i].id, &record, err);
        if (result != 0)
            break;
        json_array_append_new(list, outcome_json(&record));
        if (!options->json)
            tell_outcome(&record);
        status = job_status(&crew->items[i], &record, status);
        if (crew->items[i].result != 0 && record.error == NULL)
            tell_error(&crew->items[i].error);
        migration_record_free(&record);
    }
    journal_close(journal);
    if (options->json && result == 0)
        print_document(list);
    else
        json_decref(list);
    return result != 0 ? result : status;
}

/* -- run, check ----------------------------------------------------------- */

static int check_settings(const struct settings *vm, struct ds_error *err)
{
    if (vm->source_uri == NULL)
        return fail(err, DS_ERR_ARG, "%s: --from is missing", vm->vm_name);
    if (vm->target_uri == NULL)
        return fail(err, DS_ERR_ARG, "%s: --to is missing", vm->vm_name);
    return 0;
}

static int add_all(const struct plan *plan, const char *kind,
                   struct journal *journal, struct crew *crew,
                   struct ds_error *err)
{
    int64_t run = 0;
    int result = journal_run_new(journal, &run, err);

    for (size_t i = 0; i < plan->vm_count && result == 0; i++) {
        const struct settings *vm = &plan->vms[i];
        autojson json_t *settings = settings_to_json(vm);
        struct migration_record record = { .run = run,
                                           .vm_name = vm->vm_name,
                                           .kind = (char *)(uintptr_t)kind,
                                           .state = MIGRATION_RUNNING,
                                           .settings = settings };

        result = journal_add(journal, &record, err);
        if (result == 0)
            add_job(crew, record.id, vm->order, vm->source_uri, vm->target_uri);
    }
    return result;
}

int verbs_begin(const struct options *options, const struct plan *plan,
                const char *kind, struct ds_error *err)
{
    autofree char *directory = options_journal(options);
    struct crew crew = { .journal_directory = directory,
                         .jobs = plan->jobs,
                         .jobs_per_host = plan->jobs_per_host };
    struct journal *journal = NULL;
    int result = 0;

    if (plan->vm_count == 0)
        return fail(err, DS_ERR_ARG,
                    "expect a VM, or a --plan that names some");
    for (size_t i = 0; i < plan->vm_count && result == 0; i++)
        result = check_settings(&plan->vms[i], err);
    if (result == 0)
        result = journal_open(directory, &journal, err);
    if (result == 0)
        result = add_all(plan, kind, journal, &crew, err);
    journal_close(journal);
    narrate_begin(options, &crew.narrator);
    if (result == 0)
        result = verbs_crew(options, &crew, err);
    crew_free(&crew);
    return result;
}

static int run_plan(const struct options *options, const char *kind,
                    struct ds_error *err)
{
    struct plan plan;
    int result = options_plan(options, &plan, err);

    if (result != 0)
        return result;
    result = verbs_begin(options, &plan, kind, err);
    plan_free(&plan);
    return result;
}

int verb_run(const struct options *options, struct ds_error *err)
{
    return run_plan(options, options->test ? "test" : "migrate", err);
}

int verb_check(const struct options *options, struct ds_error *err)
{
    return run_plan(options, "check", err);
}

/* -- what is in the journal ----------------------------------------------- */

static int add_found(const struct migration_record *record, struct crew *crew,
                     struct ds_error *err)
{
    struct settings settings = { 0 };
    int result = settings_from_json(record->settings, &settings, err);

    if (result == 0)
        add_job(crew, record->id, settings.order, settings.source_uri,
                settings.target_uri);
    settings_free(&settings);
    return result;
}

static bool is_over(enum migration_state state)
{
    return state == MIGRATION_DONE || state == MIGRATION_UNDONE ||
           state == MIGRATION_CANCELLED;
}

static int add_unfinished(void *user, const struct migration_record *record,
                          struct ds_error *err)
{
    return is_over(record->state) || text_same(record->kind, "check")
               ? 0
               : add_found(record, user, err);
}

static int refuse_state(const struct migration_record *record,
                        enum crew_verb verb, struct ds_error *err)
{
    bool fits = verb == CREW_GO_ON ? !is_over(record->state)
                                   : record->state != MIGRATION_UNDONE &&
                                         record->state != MIGRATION_CANCELLED;

    if (fits && !text_same(record->kind, "check"))
        return 0;
    return fail(err, DS_ERR_REFUSED,
                "migration %" PRId64 " of %s is %s: there is nothing to %s",
                record->id, record->vm_name,
                migration_state_name(record->state),
                verb == CREW_GO_ON ? "resume" : "roll back");
}

static int find_jobs(const struct options *options, struct journal *journal,
                     struct crew *crew, struct ds_error *err)
{
    int result = 0;

    if (options->all)
        return journal_each(journal, 0, add_unfinished, crew, err);
    if (options->operands.count == 0)
        return fail(err, DS_ERR_ARG,
                    "expect a migration's number, a VM's "
                    "name, or --all");
    for (size_t i = 0; i < options->operands.count && result == 0; i++) {
        struct migration_record record = { 0 };

        result =
            journal_find(journal, options->operands.items[i], &record, err);
        if (result == 0)
            result = refuse_state(&record, crew->verb, err);
        if (result == 0)
            result = add_found(&record, crew, err);
        migration_record_free(&record);
    }
    return result;
}

static int run_found(const struct options *options, enum crew_verb verb,
                     struct ds_error *err)
{
    autofree char *directory = options_journal(options);
    struct crew crew = { .journal_directory = directory,
                         .verb = verb,
                         .jobs = options->jobs != 0 ? options->jobs : 1,
                         .jobs_per_host = options->jobs_per_host };
    struct journal *journal = NULL;
    int result = journal_open(directory, &journal, err);

    if (result == 0)
        result = find_jobs(options, journal, &crew, err);
    journal_close(journal);
    narrate_begin(options, &crew.narrator);
    if (result == 0)
        result = verbs_crew(options, &crew, err);
    crew_free(&crew);
    return result;
}

int verb_resume(const struct options *options, struct ds_error *err)
{
    return run_found(options, CREW_GO_ON, err);
}

int verb_rollback(const struct options *options, struct ds_error *err)
{
    return run_found(options, CREW_UNDO, err);
}

/* -- return --------------------------------------------------------------- */

/* What was the target is the source now. The disks of the VM that is there
 * still say which format they are to have. */
static void turn_round(struct settings *settings)
{
    char *uri = settings->source_uri, *name = settings->vm_name;
    struct pairs paths = settings->paths;
    struct pairs target_paths = settings->target_paths;

    settings->source_uri = settings->target_uri;
    settings->target_uri = uri;
    settings->paths = pairs_reversed(&settings->target_paths);
    settings->target_paths = pairs_reversed(&paths);
    pairs_free(&paths);
    pairs_free(&target_paths);
    settings->vm_name =
        settings->target_name != NULL ? settings->target_name : text_copy(name);
    settings->target_name = name;
    settings->backup = BACKUP_NONE;
    settings->prepare = PREPARE_NONE;
    settings->check_addresses = false;
    settings->start_target = true;
    texts_add(&settings->accepted, "backup-none");
}

static int plan_return(const struct options *options, struct journal *journal,
                       struct plan *plan, struct ds_error *err)
{
    int result = 0;

    plan_standard(plan);
    for (size_t i = 0; i < options->operands.count && result == 0; i++) {
        struct migration_record record = { 0 };
        struct settings *vm;

        result =
            journal_find(journal, options->operands.items[i], &record, err);
        if (result == 0 && (record.state != MIGRATION_DONE ||
                            !text_same(record.kind, "migrate")))
            result = fail(err, DS_ERR_REFUSED,
                          "migration %" PRId64 " of %s is %s (%s): only one "
                          "that is done can return",
                          record.id, record.vm_name,
                          migration_state_name(record.state), record.kind);
        if (result == 0)
            result = plan_add_vm(plan, NULL, &vm, err);
        if (result == 0) {
            settings_free(vm);
            result = settings_from_json(record.settings, vm, err);
        }
        if (result == 0) {
            turn_round(vm);
            result = options_apply(options, vm, err);
        }
        migration_record_free(&record);
    }
    return result;
}

int verb_return(const struct options *options, struct ds_error *err)
{
    autofree char *directory = options_journal(options);
    struct journal *journal = NULL;
    struct plan plan;
    int result = journal_open(directory, &journal, err);

    if (result != 0)
        return result;
    result = plan_return(options, journal, &plan, err);
    journal_close(journal);
    if (result == 0)
        result = verbs_begin(options, &plan, "return", err);
    plan_free(&plan);
    return result;
}
