/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the target's first boot went. Being off is no success: a guest that
 * finds no root disk powers off too. What counts is script 2's record, which
 * comes through a port of the VM into a file, one line of JSON behind
 * "diskshift-result ".
 */
#include "backup.h"
#include "stage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RESULT_WORD "diskshift-result "
#define REPORT_BYTES_MAX (4u << 20)
#define POLL_MS 250
#define ASK_SECONDS 1

/* -- the record ----------------------------------------------------------- */

/* The last whole one of part "second"; NULL when there is none. */
static json_t *read_result(const struct migration *migration)
{
    autofree char *text = NULL;
    json_t *last = NULL;

    if (migration->target_vm.report_path == NULL ||
        file_read(migration->target_vm.report_path, REPORT_BYTES_MAX, &text,
                  NULL, NULL) != 0)
        return NULL;
    for (char *at = text; (at = strstr(at, RESULT_WORD)) != NULL;) {
        json_t *record;

        at += strlen(RESULT_WORD);
        record = json_loadb(at, strcspn(at, "\r\n"), 0, NULL);
        if (json_is_object(record) && at[strcspn(at, "\r\n")] != '\0') {
            json_decref(last);
            last = record;
        } else {
            json_decref(record);
        }
    }
    return last;
}

static const char *member(const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));

    return text != NULL ? text : "";
}

static bool is_final(const json_t *record)
{
    return strcmp(member(record, "status"), "failed") == 0 ||
           strcmp(member(record, "phase"), "settle") == 0;
}

bool migration_has_result(const struct migration *migration)
{
    autojson json_t *record = read_result(migration);

    return record != NULL && is_final(record);
}

/* What went wrong in the guest, step by step. */
static void tell_steps(struct migration *migration, const json_t *record)
{
    json_t *step, *message;
    size_t i, j;

    json_array_foreach (json_object_get(record, "steps"), i, step) {
        json_array_foreach (json_object_get(step, "messages"), j, message) {
            const char *level = member(message, "level");
            bool bad =
                strcmp(level, "warned") == 0 || strcmp(level, "failed") == 0;

            migration_say(migration, bad ? MESSAGE_WARNING : MESSAGE_INFO,
                          "guest: %s: %s", member(step, "element"),
                          member(message, "text"));
        }
    }
}

/* -- waiting -------------------------------------------------------------- */

static uint64_t deadline_from(uint64_t begun_ns, unsigned seconds)
{
    return begun_ns + (uint64_t)seconds * UINT64_C(1000000000);
}

static int set_verdict(struct migration *migration, const char *verdict,
                       struct ds_error *err)
{
    return journal_set_verdict(migration->journal, migration->id, verdict, err);
}

static int not_known(struct migration *migration, struct ds_error *err)
{
    const char *name = migration->target_vm.name;

    if (set_verdict(migration, "not known", err) != 0)
        return -(int)err->error_class;
    if (migration->settings.unknown == UNKNOWN_LEAVE) {
        migration->waits = text_format(
            "the state of %s is not known: look at it; resume gives it %u s "
            "more, rollback puts the source back",
            name, migration->settings.wait_deadline);
        return 0;
    }
    return fail_errno(err, ETIMEDOUT, NULL,
                      "the state of %s is not known: it is not through after "
                      "%u s",
                      name, migration->settings.wait_deadline);
}

static int judge(struct migration *migration, const json_t *record,
                 unsigned cycles, json_t *after, struct ds_error *err)
{
    const char *status = member(record, "status");
    bool unseen = migration->target_vm.report_path == NULL;
    bool good = unseen || (record != NULL && strcmp(status, "failed") != 0);
    autofree char *verdict = NULL;
    int result;

    if (unseen) /* preflight's rule result-unseen was accepted */
        verdict = text_copy("powered off; this target does not show the "
                            "guest's result");
    else if (record == NULL)
        verdict = text_copy("powered off without a result");
    else
        verdict = text_format("the guest's script: %s", status);
    json_object_set_new(after, "cycles", json_integer(cycles));
    if (record != NULL)
        json_object_set(after, "result", (json_t *)(uintptr_t)record);
    tell_steps(migration, record);
    if (unseen)
        migration_say(migration, MESSAGE_WARNING, "%s: %s",
                      migration->target_vm.name, verdict);
    result = set_verdict(migration, verdict, err);
    if (result != 0 || good)
        return result;
    return fail(err, DS_ERR_REFUSED, "%s: %s", migration->target_vm.name,
                verdict);
}

static bool stops(void *user)
{
    return migration_check_cancel(user, NULL) != 0;
}

static unsigned seconds_left(uint64_t deadline_ns)
{
    uint64_t now = now_ns();

    return now >= deadline_ns
               ? 0
               : (unsigned)((deadline_ns - now) / UINT64_C(1000000000)) + 1;
}

/* Each turn is one power-off. */
static int wait_script(struct migration *migration, json_t *after,
                       struct ds_error *err)
{
    const struct settings *settings = &migration->settings;
    uint64_t deadline_ns = deadline_from(now_ns(), settings->wait_deadline);
    unsigned cycles = 0;

    for (;;) {
        autojson json_t *record = NULL;
        int result = hypervisor_wait_off(
            migration->target, migration->target_vm.name,
            seconds_left(deadline_ns), stops, migration, err);

        if (result != 0)
            return err->system_errno == ETIMEDOUT ? not_known(migration, err)
                                                  : result;
        cycles++;
        record = read_result(migration);
        if ((record != NULL && is_final(record)) ||
            cycles >= settings->wait_cycles)
            return judge(migration, record, cycles, after, err);
        migration_say(migration, MESSAGE_INFO, "power cycle %u of at most %u",
                      cycles, settings->wait_cycles);
        result = start_target(migration, err);
        if (result != 0)
            return result;
    }
}

/* A test has no script in it: that the guest answers is what can be seen. */
static int wait_boot(struct migration *migration, json_t *after,
                     struct ds_error *err)
{
    uint64_t deadline_ns =
        deadline_from(now_ns(), migration->settings.wait_deadline);
    const struct guest_address address = { .hypervisor = migration->target,
                                           .vm_name =
                                               migration->target_vm.name };
    struct guest *guest = NULL;

    while (now_ns() < deadline_ns) {
        enum hypervisor_state state;
        int result = migration_check_cancel(migration, err);

        if (result == 0)
            result = migration->target->ops->state(
                migration->target, migration->target_vm.name, &state, err);
        if (result != 0)
            return result;
        if (state == HYPERVISOR_OFF || state == HYPERVISOR_CRASHED)
            return fail(err, DS_ERR_REFUSED, "%s is %s: it did not boot",
                        migration->target_vm.name,
                        hypervisor_state_name(state));
        if (guest_open(&address, ASK_SECONDS, &guest, err) == 0) {
            guest_close(guest);
            json_object_set_new(after, "answered", json_true());
            return set_verdict(migration, "boots, its agent answers", err);
        }
    }
    return not_known(migration, err);
}

static int wait_target(struct migration *migration, const json_t *before,
                       json_t *after, struct ds_error *err)
{
    (void)before;
    return migration->kind == KIND_TEST ? wait_boot(migration, after, err)
                                        : wait_script(migration, after, err);
}

static bool waits(const struct migration *migration)
{
    return migration->kind == KIND_TEST ||
           (migration->kind == KIND_MIGRATE && migration->way != WAY_NONE);
}

/* -- afterwards ----------------------------------------------------------- */

static bool renews(const struct migration *migration)
{
    return migration->kind == KIND_MIGRATE &&
           migration->settings.macs == MAC_RENEW;
}

static int renew_macs(struct migration *migration, const json_t *before,
                      json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    if (migration->target->ops->renew_macs == NULL)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "this target does not give MAC addresses anew");
    return migration->target->ops->renew_macs(migration->target,
                                              migration->target_vm.name, err);
}

static bool stays_on(const struct migration *migration)
{
    return migration->kind != KIND_TEST && migration->settings.start_target;
}

/* Each MAC of the source must be seen with an address. */
static int see_addresses(struct migration *migration, json_t *after,
                         struct ds_error *err)
{
    uint64_t deadline_ns =
        deadline_from(now_ns(), migration->settings.wait_deadline);
    json_t *list = json_array();
    struct texts seen = { 0 };
    size_t missing = 1;
    int result = 0;

    while (result == 0 && missing > 0 && now_ns() < deadline_ns) {
        texts_free(&seen);
        result = migration_check_cancel(migration, err);
        if (result == 0)
            result = migration->target->ops->addresses(
                migration->target, migration->target_vm.name, &seen, err);
        missing = 0;
        for (size_t i = 0; i < migration->target_vm.nic_count; i++) {
            bool found = false;

            for (size_t j = 0; j < seen.count; j++)
                found = found || text_begins(seen.items[j],
                                             migration->target_vm.nics[i].mac);
            missing += !found && !migration->target_vm.nics[i].unplugged;
        }
        if (missing > 0)
            sleep_ms(POLL_MS);
    }
    for (size_t i = 0; i < seen.count; i++)
        json_array_append_new(list, json_string(seen.items[i]));
    json_object_set_new(after, "addresses", list);
    texts_free(&seen);
    if (result == 0 && missing > 0)
        result = fail_errno(err, ETIMEDOUT, NULL,
                            "no address was seen on %zu network interfaces",
                            missing);
    return result;
}

/* It runs already: that it does not start with its host by itself is no
 * reason to undo all of it. */
static void start_with_host(struct migration *migration)
{
    struct ds_error mine = DS_ERROR_INIT;

    if (migration->vm.autostart &&
        (migration->target->can & HYPERVISOR_CAN_AUTOSTART) != 0 &&
        migration->target->ops->autostart(
            migration->target, migration->target_vm.name, true, &mine) != 0)
        migration_say(migration, MESSAGE_WARNING,
                      "%s does not start with its host, as the source did: %s",
                      migration->target_vm.name, mine.message);
}

static int run_target(struct migration *migration, const json_t *before,
                      json_t *after, struct ds_error *err)
{
    int result = start_target(migration, err);

    (void)before;
    if (result == 0)
        start_with_host(migration);
    if (result == 0 && migration->settings.check_addresses &&
        migration->settings.macs == MAC_KEEP &&
        (migration->target->can & HYPERVISOR_CAN_ADDRESSES) != 0)
        result = see_addresses(migration, after, err);
    return result;
}

static bool drops_backup(const struct migration *migration)
{
    return migration->kind == KIND_MIGRATE && migration->backup_path != NULL &&
           !migration->settings.backup_keep;
}

static int drop_backup(struct migration *migration, const json_t *before,
                       json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    return backup_remove(migration->backup_path, err);
}

/* Only the backup could put back what the guest's script changed: without it
 * the target must not be taken away. */
static int undo_drop(struct migration *migration, const json_t *before,
                     const json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    if (migration->way == WAY_NONE || backup_is_whole(migration->backup_path))
        return 0;
    return fail(err, DS_ERR_REFUSED,
                "the backup of %s was not to be kept, so that its disks cannot "
                "be put back: return goes back with the target's",
                migration->vm.name);
}

const struct step steps_wait[] = {
    { .name = "wait-target",
      .stage = STAGE_WAIT,
      .wanted = waits,
      .run = wait_target },
    { .name = "renew-macs",
      .stage = STAGE_WAIT,
      .wanted = renews,
      .run = renew_macs },
    { .name = "run-target",
      .stage = STAGE_WAIT,
      .wanted = stays_on,
      .run = run_target,
      .undo = stop_target },
    { .name = "drop-backup",
      .stage = STAGE_WAIT,
      .wanted = drops_backup,
      .run = drop_backup,
      .undo = undo_drop },
    { .name = NULL, .stage = STAGE_WAIT },
};
