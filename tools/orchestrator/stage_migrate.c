/* SPDX-License-Identifier: Apache-2.0 */
/* The target: its disks, then the VM, then power. Disks come first, since
 * some hypervisors look at them when a VM is defined; they cost next to
 * nothing, and are removed again when it cannot be. */
#include "backup.h"
#include "disks.h"
#include "nbd.h"
#include "stage.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAKER_POLL_MS 1000

static bool makes_target(const struct migration *migration)
{
    return migration->kind != KIND_RETURN;
}

/* -- disks ---------------------------------------------------------------- */

struct set {
    struct shift *shifts;
    size_t count;
    struct texts sources; /* owned here, borrowed by the shifts */
    struct texts options;
};

static void cleanup_set(struct set *set)
{
    free(set->shifts);
    texts_free(&set->sources);
    texts_free(&set->options);
}
#define autoset __attribute__((cleanup(cleanup_set)))

/* Called from the disk's own thread. */
struct told {
    struct migration *migration;
    const char *disk;
};

static int tell_progress(void *user, const struct ds_progress *progress)
{
    struct told *told = user;
    struct narrator *narrator = &told->migration->narrator;

    if (narrator->disk != NULL)
        narrator->disk(narrator->user, told->migration->settings.vm_name,
                       told->disk, progress);
    return narrator->stopped != NULL && narrator->stopped(narrator->user);
}

static int source_of(const struct migration *migration,
                     const struct vm_disk *disk, struct texts *out,
                     struct ds_error *err)
{
    autofree char *clone = NULL;
    int result = 0;

    if (migration->kind == KIND_TEST)
        result =
            backup_clone_of(migration->backup_path, disk->path, &clone, err);
    texts_add(out, clone != NULL ? clone : disk->path);
    return result;
}

static int plan_set(struct migration *migration, struct set *set,
                    struct ds_error *err)
{
    const struct vm *from = &migration->vm, *to = &migration->target_vm;
    int result = 0;

    set->shifts = need(from->disk_count * sizeof(*set->shifts));
    set->count = from->disk_count;
    shift_options(&migration->settings.target_options, &set->options);
    for (size_t i = 0; i < set->count && result == 0; i++)
        result = source_of(migration, &from->disks[i], &set->sources, err);
    for (size_t i = 0; i < set->count && result == 0; i++)
        set->shifts[i] = (struct shift){
            .name = from->disks[i].name,
            .from = set->sources.items[i],
            .from_format = from->disks[i].format,
            .from_member = from->disks[i].member,
            .to = to->disks[i].path,
            .to_format = to->disks[i].format,
            .options = (const char *const *)set->options.items,
            .option_count = set->options.count,
            .require_clone = migration->settings.require_clone,
            .progress = tell_progress,
        };
    return result;
}

/* Every file that will be made must be absent: then all of them are ours. */
static int before_shift(struct migration *migration, json_t *before,
                        struct ds_error *err)
{
    autoset struct set set = { 0 };
    struct texts files = { 0 };
    json_t *list = json_array();
    int result = plan_set(migration, &set, err);

    json_object_set_new(before, "files", list);
    for (size_t i = 0; i < set.count && result == 0; i++)
        result = shift_plan(&set.shifts[i], &files, NULL, err);
    for (size_t i = 0; i < files.count && result == 0; i++) {
        json_array_append_new(list, json_string(files.items[i]));
        if (path_exists(files.items[i]))
            result = fail(err, DS_ERR_REFUSED, "%s is there already",
                          files.items[i]);
    }
    texts_free(&files);
    return result;
}

static int remove_files(const json_t *before, struct ds_error *err)
{
    json_t *file;
    size_t i;
    int result = 0;

    json_array_foreach (json_object_get(before, "files"), i, file) {
        autofree char *partial =
            text_format("%s.partial", json_string_value(file));

        if (result == 0)
            result = file_remove(json_string_value(file), err);
        if (result == 0)
            result = file_remove(partial, err);
    }
    return result;
}

static void tell_disks(struct migration *migration, const struct set *set,
                       json_t *after)
{
    json_t *list = json_array();

    for (size_t i = 0; i < set->count; i++) {
        const struct ds_report *report = &set->shifts[i].report;
        json_t *disk = shift_json(&set->shifts[i]);

        migration_say(migration, MESSAGE_INFO,
                      "%s: %llu bytes shared, %lld copied, %.3f s: %s",
                      set->shifts[i].name,
                      (unsigned long long)report->totals.shared_bytes,
                      (long long)json_integer_value(
                          json_object_get(disk, "copied_bytes")),
                      report->seconds, set->shifts[i].to);
        json_array_append_new(list, disk);
    }
    json_object_set_new(after, "disks", list);
}

/* A person may have started it again since. */
static int source_is_still(struct migration *migration, struct ds_error *err)
{
    enum hypervisor_state state = HYPERVISOR_OFF;
    int result = 0;

    if (migration->kind != KIND_TEST)
        result = migration->source->ops->state(migration->source,
                                               migration->vm.name, &state, err);
    if (result != 0 || state == HYPERVISOR_OFF)
        return result;
    return fail(err, DS_ERR_REFUSED,
                "%s is %s on the source again: its disks are not still",
                migration->vm.name, hypervisor_state_name(state));
}

static int shift_disks(struct migration *migration, const json_t *before,
                       json_t *after, struct ds_error *err)
{
    autoset struct set set = { 0 };
    autofree struct told *told = NULL;
    int result = source_is_still(migration, err);

    if (result == 0)
        result = plan_set(migration, &set, err);
    /* What a run that was killed has left is made anew. */
    if (result == 0)
        result = remove_files(before, err);
    if (result != 0)
        return result;
    told = need(set.count * sizeof(*told));
    for (size_t i = 0; i < set.count; i++) {
        told[i] = (struct told){ migration, set.shifts[i].name };
        set.shifts[i].user = &told[i];
    }
    result = shift_all(set.shifts, set.count, err);
    if (result == 0)
        tell_disks(migration, &set, after);
    return result;
}

static int undo_shift(struct migration *migration, const json_t *before,
                      const json_t *after, struct ds_error *err)
{
    (void)migration, (void)after;
    return remove_files(before, err);
}

/* -- UEFI variables ------------------------------------------------------- */

static bool has_nvram(const struct migration *migration)
{
    return makes_target(migration) && migration->target_vm.nvram_path != NULL;
}

static int before_nvram(struct migration *migration, json_t *before,
                        struct ds_error *err)
{
    const char *path = migration->target_vm.nvram_path;

    json_object_set_new(before, "file", json_string(path));
    return !path_exists(path)
               ? 0
               : fail(err, DS_ERR_REFUSED, "%s is there already", path);
}

/* A test's source runs, and writes them: its backup's do not change. */
static int copy_nvram(struct migration *migration, const json_t *before,
                      json_t *after, struct ds_error *err)
{
    const char *from = migration->vm.nvram_path;
    autofree char *clone = NULL;
    uint64_t copied_bytes = 0;
    int result = 0;

    (void)after;
    if (migration->kind == KIND_TEST)
        result = backup_clone_of(migration->backup_path, from, &clone, err);
    return result != 0
               ? result
               : file_clone(clone != NULL ? clone : from,
                            json_string_value(json_object_get(before, "file")),
                            false, &copied_bytes, err);
}

static int undo_nvram(struct migration *migration, const json_t *before,
                      const json_t *after, struct ds_error *err)
{
    (void)migration, (void)after;
    return file_remove(json_string_value(json_object_get(before, "file")), err);
}

/* -- disks that the target cannot open itself ----------------------------- */

static bool serves_disks(const struct migration *migration)
{
    for (size_t i = 0; i < migration->target_vm.disk_count; i++)
        if (migration->target_vm.disks[i].nbd_socket != NULL)
            return makes_target(migration);
    return false;
}

static int serve_disks(struct migration *migration, const json_t *before,
                       json_t *after, struct ds_error *err)
{
    json_t *commands = json_array();

    (void)before;
    for (size_t i = 0; i < migration->target_vm.disk_count; i++) {
        autofree char *command = nbd_command(&migration->target_vm.disks[i]);

        migration_say(migration, MESSAGE_INFO,
                      "served by NBD, until the host restarts; then: %s",
                      command);
        json_array_append_new(commands, json_string(command));
    }
    json_object_set_new(after, "commands", commands);
    return nbd_serve(&migration->target_vm, err);
}

static int undo_serve(struct migration *migration, const json_t *before,
                      const json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    return nbd_end(&migration->target_vm, err);
}

/* -- the VM --------------------------------------------------------------- */

/* What was made here has to be there, by its name there: else the place is
 * not mounted on one of the two sides, or is another. */
static int see_disks(const struct migration *migration, const struct vm *named,
                     struct ds_error *err)
{
    const struct vm *ours = &migration->target_vm;
    struct hypervisor *target = migration->target;

    for (size_t i = 0; target->ops->sees != NULL && i < ours->disk_count; i++) {
        struct stat status = { 0 };
        int answer;

        (void)stat(ours->disks[i].path, &status);
        answer = target->ops->sees(target, named->disks[i].path,
                                   (uint64_t)status.st_size, err);
        if (answer < 0 && answer != -DS_ERR_UNSUPPORTED)
            return answer;
        if (answer == 0)
            return fail(err, DS_ERR_REFUSED,
                        "the target's host has no %s, which is %s here: see "
                        "what is mounted where, and --target-path",
                        named->disks[i].path, ours->disks[i].path);
    }
    return 0;
}

/* The target's host may call the same place otherwise than we do. */
static int define_named(struct migration *migration, struct ds_error *err)
{
    struct vm named = { 0 };
    int result;

    vm_copy(&named, &migration->target_vm);
    vm_map_paths(&named, &migration->settings.target_paths);
    result = see_disks(migration, &named, err);
    if (result == 0)
        result = migration->target->ops->define(migration->target, &named, err);
    vm_free(&named);
    return result;
}

/* As for the offline script: a deadline, or an end that `resume` goes on
 * from. */
static int wait_for_maker(struct migration *migration, struct ds_error *err)
{
    unsigned timeout = migration->settings.offline_timeout;
    uint64_t begun = now_ns();
    int result = -DS_ERR_SYSTEM;

    if (timeout == 0) {
        migration->waits = text_format("%s; then resume", err->message);
        return 0;
    }
    migration_say(migration, MESSAGE_WARNING, "%s", err->message);
    while (result != 0) {
        if (migration_check_cancel(migration, err) != 0)
            return -DS_ERR_CANCELLED;
        if (now_ns() - begun >= (uint64_t)timeout * UINT64_C(1000000000))
            return fail_errno(err, ETIMEDOUT, NULL,
                              "nobody has made %s within %u s",
                              migration->target_vm.name, timeout);
        sleep_ms(MAKER_POLL_MS);
        result = define_named(migration, err);
        if (result != 0 && err->system_errno != EINPROGRESS)
            return result;
    }
    return 0;
}

/* Those that are there already are others'. */
static int before_define(struct migration *migration, json_t *before,
                         struct ds_error *err)
{
    const struct vm *vm = &migration->target_vm;
    const char *const *leaves = migration->target->ops->leaves;
    json_t *list = json_array();

    (void)err;
    json_object_set_new(before, "leaves", list);
    for (; leaves != NULL && vm->disk_count > 0 && *leaves != NULL; leaves++) {
        bool named = (*leaves)[0] == '*';
        autofree char *home = path_directory(vm->disks[0].path);
        autofree char *name =
            text_format("%s%s", named ? vm->name : "", *leaves + named);
        autofree char *path = path_join(home, name);

        if (!path_exists(path))
            json_array_append_new(list, json_string(path));
    }
    return 0;
}

static int define_target(struct migration *migration, const json_t *before,
                         json_t *after, struct ds_error *err)
{
    const struct settings *settings = &migration->settings;
    unsigned tries = 0;
    int result = -1;

    (void)before;
    while (result != 0) {
        result = define_named(migration, err);
        if (result != 0 && err->system_errno == EINPROGRESS)
            return wait_for_maker(migration, err);
        if (result == 0 || ++tries >= settings->create_tries)
            break;
        migration_say(migration, MESSAGE_WARNING,
                      "try %u of %u: %s; again in %u s", tries,
                      settings->create_tries, err->message,
                      settings->retry_seconds);
        for (unsigned i = 0; i < settings->retry_seconds * 4; i++) {
            if (migration_check_cancel(migration, err) != 0)
                return -DS_ERR_CANCELLED;
            sleep_ms(250);
        }
    }
    json_object_set_new(after, "tries", json_integer(tries + 1));
    return result;
}

static int undefine_target(struct migration *migration, const json_t *before,
                           const json_t *after, struct ds_error *err)
{
    const struct vm *vm = &migration->target_vm;
    int result =
        migration->target->ops->undefine(migration->target, vm->name, err);
    json_t *file;
    size_t i;

    (void)after;
    json_array_foreach (json_object_get(before, "leaves"), i, file)
        if (result == 0)
            result = file_remove(json_string_value(file), err);
    if (result == 0 && vm->report_path != NULL)
        result = file_remove(vm->report_path, err);
    if (result == 0 && vm->console_path != NULL)
        result = file_remove(vm->console_path, err);
    if (result == 0 && vm->by_hand_path != NULL)
        result = file_remove(vm->by_hand_path, err);
    return result;
}

/* -- power ---------------------------------------------------------------- */

int start_target(struct migration *migration, struct ds_error *err)
{
    enum hypervisor_state state = HYPERVISOR_OFF;
    int result = 0;

    if (migration->kind != KIND_TEST)
        result = migration->source->ops->state(migration->source,
                                               migration->vm.name, &state, err);
    if (result != 0)
        return result;
    if (state != HYPERVISOR_OFF)
        return fail(err, DS_ERR_REFUSED,
                    "%s is %s on the source: both never run at once",
                    migration->vm.name, hypervisor_state_name(state));
    result = nbd_serve(&migration->target_vm, err);
    return result != 0 ? result
                       : migration->target->ops->start(
                             migration->target, migration->target_vm.name, err);
}

static int start_first(struct migration *migration, const json_t *before,
                       json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    /* It may have booted, reported and powered off before a kill. */
    if (migration_has_result(migration))
        return 0;
    return start_target(migration, err);
}

int stop_target(struct migration *migration, const json_t *before,
                const json_t *after, struct ds_error *err)
{
    int there = migration->target->ops->find(migration->target,
                                             migration->target_vm.name, err);

    (void)before, (void)after;
    return there <= 0 ? there
                      : migration->target->ops->force_off(
                            migration->target, migration->target_vm.name, err);
}

static bool starts_first(const struct migration *migration)
{
    return migration->kind == KIND_TEST ||
           (migration->kind == KIND_MIGRATE && migration->way != WAY_NONE);
}

const struct step steps_migrate[] = {
    { .name = "shift-disks",
      .stage = STAGE_MIGRATE,
      .wanted = makes_target,
      .before = before_shift,
      .run = shift_disks,
      .undo = undo_shift },
    { .name = "copy-nvram",
      .stage = STAGE_MIGRATE,
      .wanted = has_nvram,
      .before = before_nvram,
      .run = copy_nvram,
      .undo = undo_nvram },
    { .name = "serve-disks",
      .stage = STAGE_MIGRATE,
      .wanted = serves_disks,
      .run = serve_disks,
      .undo = undo_serve },
    { .name = "define-target",
      .stage = STAGE_MIGRATE,
      .wanted = makes_target,
      .before = before_define,
      .run = define_target,
      .undo = undefine_target },
    { .name = "start-target",
      .stage = STAGE_MIGRATE,
      .wanted = starts_first,
      .run = start_first,
      .undo = stop_target },
    { .name = NULL, .stage = STAGE_MIGRATE },
};
