/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's own part, as long as it runs in the source. */
#include "nbd.h"
#include "offline.h"
#include "stage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_SECONDS 30
#define SCRIPT_MODE 0700u

static bool migrates(const struct migration *migration)
{
    return migration->kind == KIND_MIGRATE;
}

static bool moves(const struct migration *migration)
{
    return migration->kind != KIND_TEST;
}

static bool is_online(const struct migration *migration)
{
    return migration->way == WAY_ONLINE;
}

static bool is_offline(const struct migration *migration)
{
    return migration->way == WAY_OFFLINE;
}

static bool has_autostart(const struct migration *migration)
{
    return migration->kind != KIND_TEST && migration->vm.autostart &&
           (migration->source->can & HYPERVISOR_CAN_AUTOSTART) != 0;
}

/* -- the way in ----------------------------------------------------------- */

struct guest_address migration_guest(const struct migration *migration)
{
    const struct settings *settings = &migration->settings;

    return (struct guest_address){
        .hypervisor = migration->vm.agent ? migration->source : NULL,
        .vm_name = migration->vm.name,
        .ssh_host = settings->guest_ssh,
        .ssh_port = settings->guest_ssh_port,
        .ssh_key = settings->ssh_key,
        .ssh_config = settings->ssh_config,
        .ssh_known_hosts = settings->ssh_known_hosts,
    };
}

static const char *const way_names[] = { "none", "online", "offline" };

static int find_way(struct migration *migration, enum way *way,
                    struct ds_error *err)
{
    const struct guest_address address = migration_guest(migration);
    struct guest *guest = NULL;
    int result;

    *way = WAY_NONE;
    if (migration->settings.prepare == PREPARE_NONE ||
        !migration->source_was_running)
        return 0;
    *way = WAY_OFFLINE;
    if (migration->settings.prepare == PREPARE_OFFLINE)
        return 0;
    result =
        guest_open(&address, migration->settings.guest_timeout, &guest, err);
    guest_close(guest);
    if (result == 0) {
        *way = WAY_ONLINE;
        return 0;
    }
    if (migration->settings.prepare == PREPARE_ONLINE)
        return fail_within(err, "the guest cannot be reached");
    migration_say(migration, MESSAGE_WARNING,
                  "the guest cannot be reached, a person has to carry the "
                  "script in: %s",
                  err->message);
    return 0;
}

static int choose_way(struct migration *migration, const json_t *before,
                      json_t *after, struct ds_error *err)
{
    enum way way;
    int result = find_way(migration, &way, err);

    (void)before;
    json_object_set_new(after, "way", json_string(way_names[way]));
    return result;
}

static int recall_way(struct migration *migration, const json_t *before,
                      const json_t *after, struct ds_error *err)
{
    const char *name = json_string_value(json_object_get(after, "way"));

    (void)before, (void)err;
    for (int i = WAY_NONE; i <= WAY_OFFLINE; i++)
        if (text_same(name, way_names[i]))
            migration->way = (enum way)i;
    return 0;
}

/* -- autostart ------------------------------------------------------------ */

static int autostart_off(struct migration *migration, const json_t *before,
                         json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    return migration->source->ops->autostart(migration->source,
                                             migration->vm.name, false, err);
}

static int undo_autostart(struct migration *migration, const json_t *before,
                          const json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    return migration->source->ops->autostart(migration->source,
                                             migration->vm.name, true, err);
}

/* -- the script ----------------------------------------------------------- */

static int run_command(struct guest *guest, const char *system,
                       const char *path, unsigned timeout_seconds,
                       struct guest_result *out, struct ds_error *err)
{
    const char *const windows[] = { "powershell.exe",
                                    "-NoProfile",
                                    "-NonInteractive",
                                    "-ExecutionPolicy",
                                    "Bypass",
                                    "-File",
                                    path,
                                    NULL };
    const char *const others[] = { "/bin/sh", path, NULL };

    return guest->ops->run(guest,
                           strcmp(system, "windows") == 0 ? windows : others,
                           timeout_seconds, out, err);
}

static char *guest_path(const struct migration *migration, const char *system)
{
    bool windows = strcmp(system, "windows") == 0;

    return text_format("%sdiskshift-%lld.%s",
                       windows ? "C:\\Windows\\Temp\\" : "/tmp/",
                       (long long)migration->id, windows ? "ps1" : "sh");
}

static int send_and_run(struct migration *migration, struct guest *guest,
                        json_t *after, struct ds_error *err)
{
    autofree char *text = NULL, *path = NULL;
    struct guest_result done = { 0 };
    const char *system;
    int result = guest->ops->system(guest, &system, err);

    if (result == 0)
        result = script_make(migration, system, false, &text, err);
    if (result != 0)
        return result;
    path = guest_path(migration, system);
    result = guest->ops->put(guest, path, text, strlen(text), SCRIPT_MODE, err);
    if (result != 0)
        return result;
    result = run_command(guest, system, path,
                         migration->settings.script_timeout, &done, err);
    /* It powers the guest off: then nobody is left to tell how it ended. */
    if (result != 0 && err->system_errno == EPIPE) {
        migration_say(migration, MESSAGE_INFO, "%s", err->message);
        return 0;
    }
    if (result == 0) {
        if (strlen(done.output) >= GUEST_OUTPUT_BYTES_MAX ||
            strlen(done.errors) >= GUEST_OUTPUT_BYTES_MAX)
            migration_say(migration, MESSAGE_INFO,
                          "of what the script printed the first %u bytes are "
                          "kept",
                          GUEST_OUTPUT_BYTES_MAX);
        json_object_set_new(after, "output", json_string(done.output));
        json_object_set_new(after, "errors", json_string(done.errors));
        json_object_set_new(after, "exit_status",
                            json_integer(done.exit_status));
        if (done.exit_status != 0)
            result = fail(err, DS_ERR_REFUSED,
                          "the script in the guest: exit status %d: %.300s",
                          done.exit_status,
                          done.errors[0] != '\0' ? done.errors : done.output);
    }
    guest_result_free(&done);
    return result;
}

static int run_script(struct migration *migration, const json_t *before,
                      json_t *after, struct ds_error *err)
{
    const struct guest_address address = migration_guest(migration);
    struct guest *guest = NULL;
    enum hypervisor_state state = HYPERVISOR_OFF;
    int result = migration->source->ops->state(migration->source,
                                               migration->vm.name, &state, err);

    (void)before;
    /* Its last act is to power off: then a run that was killed had run it. */
    if (result != 0 || state == HYPERVISOR_OFF)
        return result;
    result = guest_open(&address, ANSWER_SECONDS, &guest, err);
    if (result == 0)
        result = send_and_run(migration, guest, after, err);
    guest_close(guest);
    return result;
}

static int undo_script(struct migration *migration, const json_t *before,
                       const json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    return restore_disks(migration, err);
}

/* -- the offline script --------------------------------------------------- */

static int before_offline(struct migration *migration, json_t *before,
                          struct ds_error *err)
{
    autofree char *directory = offline_directory(migration);

    (void)err;
    json_object_set_new(before, "directory", json_string(directory));
    return 0;
}

static int write_offline(struct migration *migration, const json_t *before,
                         json_t *after, struct ds_error *err)
{
    const char *directory =
        json_string_value(json_object_get(before, "directory"));

    (void)after;
    return offline_write(migration, directory, err);
}

static int undo_offline(struct migration *migration, const json_t *before,
                        const json_t *after, struct ds_error *err)
{
    const char *directory =
        json_string_value(json_object_get(before, "directory"));
    enum hypervisor_state state = HYPERVISOR_OFF;
    int result = migration->source->ops->state(migration->source,
                                               migration->vm.name, &state, err);

    (void)after;
    /* The script powers it off: while it runs, the script has not ended. */
    if (result == 0 && state != HYPERVISOR_OFF)
        migration_say(migration, MESSAGE_WARNING,
                      "%s runs: if the offline script was begun in it, run it "
                      "there again with --undo",
                      migration->vm.name);
    else if (result == 0)
        result = restore_disks(migration, err);
    return result != 0 ? result : offline_remove(directory, err);
}

/* -- power-off ------------------------------------------------------------ */

/* Of a person's time, also that counts in which nobody watched. */
static unsigned seconds_left(const json_t *before, unsigned timeout)
{
    double passed =
        now_seconds() - json_number_value(json_object_get(before, "begun"));

    return passed >= timeout ? 0
           : passed > 0      ? timeout - (unsigned)passed
                             : timeout;
}

static int wait_for_person(struct migration *migration, const json_t *before,
                           struct ds_error *err)
{
    unsigned timeout = migration->settings.offline_timeout;
    enum hypervisor_state state = HYPERVISOR_OFF;
    int result = migration->source->ops->state(migration->source,
                                               migration->vm.name, &state, err);

    if (result != 0 || state == HYPERVISOR_OFF)
        return result;
    if (timeout > 0)
        return wait_or_force(migration, migration->source, migration->vm.name,
                             timeout, seconds_left(before, timeout), err);
    migration->waits = text_format(
        "%s runs until the offline script has been run in it, which powers it "
        "off; then resume",
        migration->vm.name);
    return 0;
}

static int power_source_off(struct migration *migration, const json_t *before,
                            struct ds_error *err)
{
    unsigned timeout = migration->settings.power_off_timeout;

    if (migration->way == WAY_OFFLINE)
        return wait_for_person(migration, before, err);
    if (migration->way == WAY_ONLINE)
        return wait_or_force(migration, migration->source, migration->vm.name,
                             timeout, timeout, err);
    return power_off(migration, migration->source, migration->vm.name, timeout,
                     err);
}

static int before_off(struct migration *migration, json_t *before,
                      struct ds_error *err)
{
    (void)migration, (void)err;
    json_object_set_new(before, "begun", json_real(now_seconds()));
    return 0;
}

static int source_off(struct migration *migration, const json_t *before,
                      json_t *after, struct ds_error *err)
{
    int result = power_source_off(migration, before, err);

    (void)after;
    /* On the way back its disks may be served by us, and held by that. */
    if (result == 0 && migration->waits == NULL)
        result = nbd_end(&migration->vm, err);
    return result;
}

const struct step steps_prepare[] = {
    { .name = "choose-way",
      .stage = STAGE_PREPARE,
      .wanted = migrates,
      .run = choose_way,
      .recall = recall_way },
    { .name = "autostart-off",
      .stage = STAGE_PREPARE,
      .wanted = has_autostart,
      .run = autostart_off,
      .undo = undo_autostart },
    { .name = "write-offline",
      .stage = STAGE_PREPARE,
      .wanted = is_offline,
      .before = before_offline,
      .run = write_offline,
      .undo = undo_offline },
    { .name = "run-script",
      .stage = STAGE_PREPARE,
      .wanted = is_online,
      .run = run_script,
      .undo = undo_script },
    { .name = "source-off",
      .stage = STAGE_PREPARE,
      .wanted = moves,
      .before = before_off,
      .run = source_off },
    { .name = NULL, .stage = STAGE_PREPARE },
};
