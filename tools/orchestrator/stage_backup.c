/* SPDX-License-Identifier: Apache-2.0 */
/* A clone of every disk while it is still, by a snapshot or by being off. */
#include "backup.h"
#include "disks.h"
#include "stage.h"

#include <errno.h>
#include <string.h>

static bool by_snapshot(const struct migration *migration)
{
    return migration->settings.backup == BACKUP_SNAPSHOT &&
           migration->source_was_running && migration->kind != KIND_RETURN &&
           (migration->source->can & HYPERVISOR_CAN_SNAPSHOT) != 0;
}

static bool by_shutdown(const struct migration *migration)
{
    return migration->settings.backup != BACKUP_NONE &&
           migration->source_was_running && migration->kind != KIND_RETURN &&
           !by_snapshot(migration);
}

static bool backs_up(const struct migration *migration)
{
    return migration->settings.backup != BACKUP_NONE &&
           migration->kind != KIND_RETURN;
}

static bool starts_again(const struct migration *migration)
{
    return by_shutdown(migration) &&
           (migration->settings.prepare != PREPARE_NONE ||
            migration->kind == KIND_TEST);
}

/* -- snapshots ------------------------------------------------------------ */

static bool can_snapshot(const struct migration *migration)
{
    return (migration->source->can & HYPERVISOR_CAN_SNAPSHOT) != 0;
}

static int drop_snapshot(struct migration *migration, const json_t *before,
                         json_t *after, struct ds_error *err)
{
    struct hypervisor_snapshot left = { 0 };
    int found = migration->source->ops->snapshot_find(
        migration->source, &migration->vm, &left, err);

    (void)before, (void)after;
    if (found > 0) {
        migration_say(migration, MESSAGE_WARNING,
                      "%s has a snapshot of an earlier try, %s: it is merged",
                      migration->vm.name, left.name);
        found = migration->source->ops->snapshot_merge(migration->source,
                                                       &migration->vm, err);
        /* The disks were described with their overlays. */
        if (found == 0)
            found = migration_describe(migration, err);
    }
    hypervisor_snapshot_free(&left);
    return found;
}

static int make_snapshot(struct migration *migration, const char *name,
                         struct hypervisor_snapshot *made, struct ds_error *err)
{
    const struct hypervisor_ops *ops = migration->source->ops;
    bool quiesce = migration->settings.quiesce && migration->vm.agent &&
                   (migration->source->can & HYPERVISOR_CAN_QUIESCE) != 0;
    int result = ops->snapshot_create(migration->source, &migration->vm, name,
                                      quiesce, made, err);

    if (result == 0 || !quiesce)
        return result;
    migration_say(migration, MESSAGE_WARNING,
                  "%s could not be stilled: the backup is as after a power "
                  "cut: %s",
                  migration->vm.name, err->message);
    return ops->snapshot_create(migration->source, &migration->vm, name, false,
                                made, err);
}

static int snapshot(struct migration *migration, const json_t *before,
                    json_t *after, struct ds_error *err)
{
    autofree char *name = text_format(HYPERVISOR_SNAPSHOT_PREFIX "%lld",
                                      (long long)migration->id);
    struct hypervisor_snapshot made = { 0 };
    int result = migration->source->ops->snapshot_find(
        migration->source, &migration->vm, &made, err);

    (void)before;
    if (result == 0)
        result = make_snapshot(migration, name, &made, err);
    else if (result > 0)
        result = 0; /* a run that was killed had made it */
    json_object_set_new(after, "snapshot", json_string(name));
    hypervisor_snapshot_free(&made);
    return result;
}

static int merge_snapshot(struct migration *migration, const json_t *before,
                          json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    return migration->source->ops->snapshot_merge(migration->source,
                                                  &migration->vm, err);
}

static int undo_snapshot(struct migration *migration, const json_t *before,
                         const json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    return migration->source->ops->snapshot_merge(migration->source,
                                                  &migration->vm, err);
}

/* -- power ---------------------------------------------------------------- */

static int shut_source(struct migration *migration, const json_t *before,
                       json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    return power_off(migration, migration->source, migration->vm.name,
                     migration->settings.power_off_timeout, err);
}

static int start_source(struct migration *migration, const json_t *before,
                        json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    return migration->source->ops->start(migration->source, migration->vm.name,
                                         err);
}

/* -- the clones ----------------------------------------------------------- */

char *migration_backup_path(const struct migration *migration)
{
    const struct vm *vm = &migration->vm;
    autofree char *name =
        text_format("%s-%lld", vm->name, (long long)migration->id);
    autofree char *directory = text_copy(migration->settings.backup_directory);

    if (directory == NULL) {
        autofree char *beside =
            path_directory(vm->disk_count > 0 && vm->disks[0].path != NULL
                               ? vm->disks[0].path
                               : "/var/lib/diskshift/none");

        directory = path_join(beside, "diskshift-backup");
    }
    return path_join(directory, name);
}

static int before_clone(struct migration *migration, json_t *before,
                        struct ds_error *err)
{
    autofree char *path = migration_backup_path(migration);

    (void)err;
    json_object_set_new(before, "directory", json_string(path));
    return 0;
}

static const char *directory_of(const json_t *before)
{
    return json_string_value(json_object_get(before, "directory"));
}

static int clone_backup(struct migration *migration, const json_t *before,
                        json_t *after, struct ds_error *err)
{
    const char *directory = directory_of(before);
    struct backup_files files = { 0 };
    uint64_t copied_bytes = 0;
    int result = backup_plan(&migration->vm, directory, &files, err);

    if (result == 0)
        result =
            backup_make(&migration->vm, directory, &files,
                        migration->settings.require_clone, &copied_bytes, err);
    if (result == 0 && copied_bytes > 0)
        migration_say(migration, MESSAGE_WARNING,
                      "backup: %llu bytes were copied, not shared",
                      (unsigned long long)copied_bytes);
    json_object_set_new(after, "directory", json_string(directory));
    json_object_set_new(after, "file_count",
                        json_integer((json_int_t)files.count));
    json_object_set_new(after, "copied_bytes",
                        json_integer((json_int_t)copied_bytes));
    backup_files_free(&files);
    return result;
}

static int recall_clone(struct migration *migration, const json_t *before,
                        const json_t *after, struct ds_error *err)
{
    (void)after, (void)err;
    text_set(&migration->backup_path, directory_of(before));
    return 0;
}

static int undo_clone(struct migration *migration, const json_t *before,
                      const json_t *after, struct ds_error *err)
{
    if (migration->settings.restore_keep_backup && after != NULL &&
        migration->kind == KIND_MIGRATE)
        return 0;
    return backup_remove(directory_of(before), err);
}

int restore_disks(struct migration *migration, struct ds_error *err)
{
    int result;

    if (migration->backup_path == NULL) {
        migration_say(migration, MESSAGE_WARNING,
                      "%s: there is no backup: what the script changed stays",
                      migration->vm.name);
        return 0;
    }
    result = power_off(migration, migration->source, migration->vm.name,
                       migration->settings.power_off_timeout, err);
    if (result != 0) {
        migration_say(migration, MESSAGE_WARNING,
                      "%s is not known to be off, its files may be in use: %s",
                      migration->vm.name, err->message);
        *err = (struct ds_error)DS_ERROR_INIT;
    }
    return backup_restore(migration->backup_path, err);
}

const struct step steps_backup[] = {
    { .name = "drop-snapshot",
      .stage = STAGE_BACKUP,
      .wanted = can_snapshot,
      .run = drop_snapshot },
    { .name = "shut-source",
      .stage = STAGE_BACKUP,
      .wanted = by_shutdown,
      .run = shut_source },
    { .name = "snapshot",
      .stage = STAGE_BACKUP,
      .wanted = by_snapshot,
      .run = snapshot,
      .undo = undo_snapshot },
    { .name = "clone-backup",
      .stage = STAGE_BACKUP,
      .wanted = backs_up,
      .before = before_clone,
      .run = clone_backup,
      .recall = recall_clone,
      .undo = undo_clone },
    { .name = "merge-snapshot",
      .stage = STAGE_BACKUP,
      .wanted = by_snapshot,
      .run = merge_snapshot },
    { .name = "start-source",
      .stage = STAGE_BACKUP,
      .wanted = starts_again,
      .run = start_source },
    { .name = NULL, .stage = STAGE_BACKUP },
};
