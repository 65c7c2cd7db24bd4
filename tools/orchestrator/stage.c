/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"
#include "nbd.h"
#include "process.h"
#include "stop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define HOOK_SECONDS 3600
#define HOOK_OUTPUT_BYTES 4096
#define STEP_COUNT_MAX 64

const char *stage_name(enum stage stage)
{
    static const char *const names[STAGE_COUNT] = { "preflight", "backup",
                                                    "prepare",   "migrate",
                                                    "wait",      "restore" };

    return names[stage];
}

const char *migration_kind_name(enum migration_kind kind)
{
    static const char *const names[] = { "migrate", "test", "return", "check" };

    return names[kind];
}

/* -- hooks: steps like others --------------------------------------------- */

static bool hook_wanted(const struct migration *migration)
{
    return pairs_find(&migration->settings.hooks, migration->step->argument) !=
           NULL;
}

static int hook_run(struct migration *migration, const json_t *before,
                    json_t *after, struct ds_error *err)
{
    const char *name = migration->step->argument;
    const char *command = pairs_find(&migration->settings.hooks, name);
    autofree char *vm = text_format("DISKSHIFT_VM=%s", migration->vm.name);
    autofree char *hook = text_format("DISKSHIFT_HOOK=%s", name);
    autofree char *id =
        text_format("DISKSHIFT_MIGRATION=%lld", (long long)migration->id);
    const char *const arguments[] = { "env", vm,   hook,    id,
                                      "sh",  "-c", command, NULL };
    struct process_result done = { 0 };
    int result;

    (void)before, (void)after;
    if (command == NULL)
        return 0;
    result = process_run(arguments, NULL, 0, HOOK_SECONDS, HOOK_OUTPUT_BYTES,
                         &done, err);
    if (result == 0 && done.exit_status != 0)
        result = fail(err, DS_ERR_REFUSED, "hook %s: exit status %d: %.200s",
                      name, done.exit_status, done.errors);
    process_result_free(&done);
    return result;
}

#define HOOK(hook_name, hook_stage)                                            \
    {                                                                          \
        .name = "hook-" hook_name, .stage = hook_stage, .argument = hook_name, \
        .wanted = hook_wanted, .run = hook_run                                 \
    }
static const struct step hooks[STAGE_RESTORE][2] = {
    { HOOK("before-preflight", STAGE_PREFLIGHT),
      HOOK("after-preflight", STAGE_PREFLIGHT) },
    { HOOK("before-backup", STAGE_BACKUP), HOOK("after-backup", STAGE_BACKUP) },
    { HOOK("before-prepare", STAGE_PREPARE),
      HOOK("after-prepare", STAGE_PREPARE) },
    { HOOK("before-migrate", STAGE_MIGRATE),
      HOOK("after-migrate", STAGE_MIGRATE) },
    { HOOK("before-wait", STAGE_WAIT), HOOK("after-wait", STAGE_WAIT) },
};

/* -- the table ------------------------------------------------------------ */

static const struct step *const lists[] = { steps_preflight, steps_backup,
                                            steps_prepare,   steps_migrate,
                                            steps_return,    steps_wait,
                                            steps_return_end };

static const struct step *table[STEP_COUNT_MAX];
static size_t table_count;

static void add_step(const struct step *step)
{
    if (table_count < STEP_COUNT_MAX)
        table[table_count++] = step;
}

/* Lists of one stage follow each other; its hooks stand around them. */
__attribute__((constructor)) static void make_table(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        enum stage stage = lists[i][0].stage;

        if (i == 0 || lists[i - 1][0].stage != stage)
            add_step(&hooks[stage][0]);
        for (size_t j = 0; lists[i][j].name != NULL; j++)
            add_step(&lists[i][j]);
        if (i + 1 == ARRAY_COUNT(lists) || lists[i + 1][0].stage != stage)
            add_step(&hooks[stage][1]);
    }
}

const struct step *step_at(size_t index)
{
    return index < table_count ? table[index] : NULL;
}

const struct step *step_find(const char *name)
{
    for (size_t i = 0; i < table_count; i++)
        if (text_same(table[i]->name, name))
            return table[i];
    return NULL;
}

/* -- telling -------------------------------------------------------------- */

void migration_say(struct migration *migration, enum message_level level,
                   const char *format, ...)
{
    const char *stage = stage_name(migration->stage);
    va_list arguments;
    autofree char *text = NULL;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    /* A message that is lost is no reason to stop. */
    (void)journal_message(migration->journal, migration->id, level, stage, text,
                          NULL);
    if (migration->narrator.say != NULL)
        migration->narrator.say(migration->narrator.user,
                                migration->settings.vm_name, level, stage,
                                text);
}

static void tell_step(struct migration *migration, const char *name, bool done,
                      double seconds)
{
    if (migration->narrator.step != NULL)
        migration->narrator.step(
            migration->narrator.user, migration->settings.vm_name,
            stage_name(migration->stage), name, done, seconds);
}

int migration_check_cancel(struct migration *migration, struct ds_error *err)
{
    /* What is being undone is undone to the end. */
    if (migration->stage == STAGE_RESTORE)
        return 0;
    if (migration->narrator.stopped != NULL &&
        migration->narrator.stopped(migration->narrator.user))
        return fail(err, DS_ERR_CANCELLED,
                    "interrupted: continue with resume, or rollback");
    if (journal_is_cancelled(migration->journal, migration->id))
        return fail(err, DS_ERR_CANCELLED, "cancelled");
    return 0;
}

static int enter_stage(struct migration *migration, enum stage stage,
                       struct ds_error *err)
{
    if (migration->stage == stage)
        return 0;
    migration->stage = stage;
    return journal_set_stage(migration->journal, migration->id,
                             stage_name(stage), err);
}

/* -- forward -------------------------------------------------------------- */

struct past {
    struct step_record *records;
    size_t count;
};

static const struct step_record *past_find(const struct past *past,
                                           const char *name)
{
    for (size_t i = 0; i < past->count; i++)
        if (text_same(past->records[i].name, name))
            return &past->records[i];
    return NULL;
}

static void cleanup_past(struct past *past)
{
    journal_steps_free(past->records, past->count);
}
#define autopast __attribute__((cleanup(cleanup_past)))

static int begin_step(struct migration *migration, const struct step *step,
                      json_t *before, int64_t *id, struct ds_error *err)
{
    int result = 0;

    if (step->before != NULL)
        result = step->before(migration, before, err);
    return result != 0 ? result
                       : journal_step_begin(migration->journal, migration->id,
                                            stage_name(step->stage), step->name,
                                            before, id, err);
}

static int run_step(struct migration *migration, const struct step *step,
                    const struct step_record *record, struct ds_error *err)
{
    autojson json_t *before =
        record != NULL ? json_incref(record->before) : json_object();
    autojson json_t *after = json_object();
    int64_t id = record != NULL ? record->id : 0;
    uint64_t begun = now_ns();
    int result = 0;

    if (record == NULL)
        result = begin_step(migration, step, before, &id, err);
    if (result != 0)
        return result;
    stop_at_step(step->name, "begun");
    tell_step(migration, step->name, false, 0);
    result = step->run(migration, before, after, err);
    if (result != 0 || migration->waits != NULL)
        return result;
    stop_at_step(step->name, "acted");
    tell_step(migration, step->name, true, (double)(now_ns() - begun) / 1e9);
    result = journal_step_done(migration->journal, id, after, err);
    stop_at_step(step->name, "done");
    if (result == 0 && step->recall != NULL)
        result = step->recall(migration, before, after, err);
    return result;
}

/* What is DONE, also when it was UNDONE since, tells the rest what it needs. */
static int recall(struct migration *migration, const struct past *past,
                  struct ds_error *err)
{
    int result = 0;

    for (size_t i = 0; i < past->count && result == 0; i++) {
        const struct step *step = step_find(past->records[i].name);

        if (step != NULL && step->recall != NULL &&
            past->records[i].after != NULL)
            result = step->recall(migration, past->records[i].before,
                                  past->records[i].after, err);
    }
    return result;
}

static int run_steps(struct migration *migration, const struct past *past,
                     struct ds_error *err)
{
    const struct step *step;
    int result = 0;

    for (size_t i = 0; result == 0 && (step = step_at(i)) != NULL; i++) {
        const struct step_record *record = past_find(past, step->name);

        migration->step = step;
        if (migration->kind == KIND_CHECK && step->stage != STAGE_PREFLIGHT)
            break;
        if (record != NULL ? record->state == STEP_DONE
                           : !step->wanted(migration))
            continue;
        result = migration_check_cancel(migration, err);
        if (result == 0)
            result = enter_stage(migration, step->stage, err);
        if (result == 0)
            result = run_step(migration, step, record, err);
        if (result != 0 && err->error_class != DS_ERR_CANCELLED)
            result = fail_within(err, "%s", step->name);
        if (migration->waits != NULL)
            break;
    }
    return result;
}

/* Beyond these two something may have been changed. */
static bool changed_anything(struct journal *journal, int64_t id)
{
    autopast struct past past = { 0 };

    if (journal_steps(journal, id, &past.records, &past.count, NULL) != 0)
        return true;
    for (size_t i = 0; i < past.count; i++)
        if (!text_same(past.records[i].stage, stage_name(STAGE_PREFLIGHT)))
            return true;
    return false;
}

static int failed(struct migration *migration, struct ds_error *err)
{
    bool cancelled = err->error_class == DS_ERR_CANCELLED;
    bool changed = changed_anything(migration->journal, migration->id);
    struct ds_error undoing = DS_ERROR_INIT;
    autofree char *text = text_format(
        "%s%s%s", err->file, err->file[0] != '\0' ? ": " : "", err->message);

    /* Interrupted by a person at the terminal: all stays as it is. */
    if (cancelled && !journal_is_cancelled(migration->journal, migration->id))
        return -DS_ERR_CANCELLED;
    migration_say(migration, MESSAGE_ERROR, "%s", text);
    (void)journal_set_state(migration->journal, migration->id,
                            cancelled && !changed ? MIGRATION_CANCELLED
                                                  : MIGRATION_FAILED,
                            text, NULL);
    if (changed && (cancelled || migration->settings.restore_on_error) &&
        migration_undo(migration, &undoing) != 0)
        migration_say(migration, MESSAGE_ERROR,
                      "restore: %s%s%s: try again with rollback", undoing.file,
                      undoing.file[0] != '\0' ? ": " : "", undoing.message);
    return -(int)err->error_class;
}

static int finish(struct migration *migration, struct ds_error *err)
{
    int result = 0;

    if (migration->waits != NULL) {
        migration_say(migration, MESSAGE_WARNING, "%s", migration->waits);
        return journal_set_state(migration->journal, migration->id,
                                 MIGRATION_WAITING, NULL, err);
    }
    /* A test leaves nothing behind. */
    if (migration->kind == KIND_TEST)
        result = migration_undo(migration, err);
    return result != 0 ? result
                       : journal_set_state(migration->journal, migration->id,
                                           MIGRATION_DONE, NULL, err);
}

int migration_go_on(struct migration *migration, struct ds_error *err)
{
    autopast struct past past = { 0 };
    int result = journal_set_state(migration->journal, migration->id,
                                   MIGRATION_RUNNING, NULL, err);

    if (result == 0)
        result = journal_steps(migration->journal, migration->id, &past.records,
                               &past.count, err);
    if (result == 0)
        result = recall(migration, &past, err);
    if (result == 0)
        result = run_steps(migration, &past, err);
    return result != 0 ? failed(migration, err) : finish(migration, err);
}

/* -- back ----------------------------------------------------------------- */

static int undo_step(struct migration *migration,
                     const struct step_record *record, struct ds_error *err)
{
    const struct step *step = step_find(record->name);
    autofree char *name = text_format("undo %s", record->name);
    uint64_t begun = now_ns();
    int result = 0;

    if (step == NULL)
        return fail(err, DS_ERR_UNSUPPORTED, "journal: step %s is not known",
                    record->name);
    migration->step = step;
    tell_step(migration, name, false, 0);
    if (step->undo != NULL)
        result = step->undo(migration, record->before, record->after, err);
    if (result != 0)
        return fail_within(err, "undo %s", record->name);
    stop_at_step(record->name, "reverted");
    tell_step(migration, name, true, (double)(now_ns() - begun) / 1e9);
    result = journal_step_undone(migration->journal, record->id, err);
    stop_at_step(record->name, "undone");
    return result;
}

static int start_source_again(struct migration *migration,
                              const struct past *past, struct ds_error *err)
{
    bool ours = past_find(past, "shut-source") != NULL ||
                past_find(past, "run-script") != NULL ||
                past_find(past, "source-off") != NULL;
    enum hypervisor_state state = HYPERVISOR_OFF;
    int result = 0, there;

    if (!ours || !migration->source_was_running ||
        !migration->settings.restore_start || migration->source == NULL)
        return 0;
    there = migration->target->ops->find(migration->target,
                                         migration->target_vm.name, err);
    if (there < 0)
        return there;
    if (there > 0 && migration->kind == KIND_MIGRATE)
        result = migration->target->ops->state(
            migration->target, migration->target_vm.name, &state, err);
    if (result == 0 && state != HYPERVISOR_OFF)
        return fail(err, DS_ERR_REFUSED,
                    "start the source: %s is %s on the target",
                    migration->target_vm.name, hypervisor_state_name(state));
    if (result == 0)
        result = nbd_serve(&migration->vm, err);
    return result != 0 ? result
                       : migration->source->ops->start(migration->source,
                                                       migration->vm.name, err);
}

/* *touched: something may have been undone. */
static int undo_all(struct migration *migration, const struct past *past,
                    bool *touched, struct ds_error *err)
{
    int result = recall(migration, past, err);

    for (size_t i = past->count; i > 0 && result == 0; i--) {
        const struct step_record *record = &past->records[i - 1];

        if (record->state == STEP_UNDONE)
            continue;
        result = undo_step(migration, record, err);
        if (result != -DS_ERR_REFUSED && migration->step != NULL &&
            migration->step->undo != NULL)
            *touched = true;
    }
    if (result == 0)
        result = start_source_again(migration, past, err);
    return result;
}

/* A rollback that is refused by the first that it asks leaves all as it was. */
static int undo_from(struct migration *migration,
                     const struct migration_record *was, struct ds_error *err)
{
    autopast struct past past = { 0 };
    bool touched = false;
    int result = journal_set_state(migration->journal, migration->id,
                                   MIGRATION_UNDOING, NULL, err);

    if (result == 0)
        result = enter_stage(migration, STAGE_RESTORE, err);
    if (result == 0)
        result = journal_steps(migration->journal, migration->id, &past.records,
                               &past.count, err);
    if (result == 0)
        result = undo_all(migration, &past, &touched, err);
    if (result == 0)
        return journal_set_state(migration->journal, migration->id,
                                 MIGRATION_UNDONE, NULL, err);
    if (result == -DS_ERR_REFUSED && !touched) {
        (void)journal_set_stage(migration->journal, migration->id, was->stage,
                                NULL);
        (void)journal_set_state(migration->journal, migration->id, was->state,
                                NULL, NULL);
    }
    return result;
}

int migration_undo(struct migration *migration, struct ds_error *err)
{
    struct migration_record was = { 0 };
    int result = journal_get(migration->journal, migration->id, &was, err);

    if (result == 0)
        result = undo_from(migration, &was, err);
    migration_record_free(&was);
    return result;
}

/* -- beginning and end ---------------------------------------------------- */

static int read_kind(const char *text, enum migration_kind *out,
                     struct ds_error *err)
{
    for (int i = KIND_MIGRATE; i <= KIND_CHECK; i++) {
        if (text_same(text, migration_kind_name((enum migration_kind)i))) {
            *out = (enum migration_kind)i;
            return 0;
        }
    }
    return fail(err, DS_ERR_CORRUPT, "journal: kind, have %s", text);
}

static int connect_both(struct migration *migration, struct ds_error *err)
{
    const struct hypervisor_login login = {
        .auth_file = migration->settings.auth_file,
        .ssh_key = migration->settings.ssh_key,
        .ssh_config = migration->settings.ssh_config,
    };
    int result = hypervisor_open(migration->settings.source_uri, &login,
                                 &migration->source, err);

    if (result != 0)
        return fail_within(err, "source");
    result = hypervisor_open(migration->settings.target_uri, &login,
                             &migration->target, err);
    return result != 0 ? fail_within(err, "target") : 0;
}

int migration_begin(struct journal *journal, int64_t id,
                    const struct narrator *narrator, struct migration *out,
                    struct ds_error *err)
{
    struct migration_record record = { 0 };
    int result = journal_get(journal, id, &record, err);

    *out = (struct migration){ .journal = journal,
                               .id = id,
                               .narrator = *narrator,
                               .stage = STAGE_RESTORE };
    if (result == 0)
        result = read_kind(record.kind, &out->kind, err);
    if (result == 0)
        result = settings_from_json(record.settings, &out->settings, err);
    if (result == 0)
        result = connect_both(out, err);
    if (result == 0 && record.vm != NULL)
        result = vm_from_json(record.vm, &out->vm, err);
    /* What it becomes depends on what the target can. */
    if (result == 0 && record.vm != NULL)
        result = migration_plan_target(out, err);
    migration_record_free(&record);
    if (result != 0)
        migration_end(out);
    return result;
}

void migration_end(struct migration *migration)
{
    hypervisor_close(migration->source);
    hypervisor_close(migration->target);
    settings_free(&migration->settings);
    vm_free(&migration->vm);
    vm_free(&migration->target_vm);
    free(migration->backup_path);
    texts_free(&migration->asides);
    free(migration->waits);
    *migration = (struct migration){ 0 };
}

int migration_plan_target(struct migration *migration, struct ds_error *err)
{
    const char *name = migration->settings.target_name != NULL
                           ? migration->settings.target_name
                           : migration->vm.name;

    vm_free(&migration->target_vm);
    /* The way back ends at a VM that is there already. */
    if (migration->kind == KIND_RETURN) {
        text_set(&migration->target_vm.name, name);
        return 0;
    }
    return vm_for_target(migration, &migration->target_vm, err);
}

/* -- power ---------------------------------------------------------------- */

static bool wants_stop(void *user)
{
    return migration_check_cancel(user, NULL) != 0;
}

int power_off(struct migration *migration, struct hypervisor *hypervisor,
              const char *name, unsigned timeout_seconds, struct ds_error *err)
{
    struct ds_error mine = DS_ERROR_INIT;
    enum hypervisor_state state = HYPERVISOR_OFF;
    int result = hypervisor->ops->state(hypervisor, name, &state, err);

    if (result != 0 || state == HYPERVISOR_OFF)
        return result;
    if (hypervisor->ops->shut_down(hypervisor, name, &mine) != 0)
        migration_say(migration, MESSAGE_WARNING, "%s", mine.message);
    return wait_or_force(migration, hypervisor, name, timeout_seconds,
                         timeout_seconds, err);
}

int wait_or_force(struct migration *migration, struct hypervisor *hypervisor,
                  const char *name, unsigned timeout_seconds,
                  unsigned left_seconds, struct ds_error *err)
{
    int result = hypervisor_wait_off(hypervisor, name, left_seconds, wants_stop,
                                     migration, err);

    if (result == 0 || err->system_errno != ETIMEDOUT)
        return result;
    migration_say(migration, MESSAGE_WARNING,
                  "%s did not power off within %u s: it is powered off by "
                  "force, and its filesystems may be unclean",
                  name, timeout_seconds);
    return hypervisor->ops->force_off(hypervisor, name, err);
}
