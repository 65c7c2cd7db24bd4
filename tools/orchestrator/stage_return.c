/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way back: the VM that was migrated is the source here, the one that it
 * came from is there still, and gets the disks as they are now, and the UEFI
 * variables.
 *
 * Each that is replaced is an item in its step's `before`, which names `to`,
 * the `files` that are there already, and `from`. These stand aside under
 * another name until all is well; what has their name then is ours. Undoing
 * is the same for all items: remove ours, give the names back.
 */
#include "disks.h"
#include "stage.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What the original's disk is called meanwhile; the migration's number
 * follows. */
#define ASIDE ".diskshift-aside"

static char *aside_of(const struct migration *migration, const char *path)
{
    return text_format("%s" ASIDE "-%lld", path, (long long)migration->id);
}

static bool returns(const struct migration *migration)
{
    return migration->kind == KIND_RETURN;
}

static int original(struct migration *migration, struct vm *out,
                    struct ds_error *err)
{
    int result = migration->target->ops->describe(
        migration->target, migration->target_vm.name, out, err);
    struct pairs ours = pairs_reversed(&migration->settings.target_paths);

    vm_map_paths(out, &ours);
    pairs_free(&ours);
    if (result == 0 && out->disk_count != migration->vm.disk_count) {
        result = fail(err, DS_ERR_REFUSED,
                      "%s has %zu disks there and %zu here: they cannot be "
                      "paired",
                      out->name, out->disk_count, migration->vm.disk_count);
        vm_free(out);
    }
    return result;
}

/* Those that earlier returns have left beside `path`. */
static void list_asides(const char *path, json_t *list)
{
    autofree char *directory = path_directory(path);
    autofree char *begin = text_format("%s" ASIDE, path_name(path));
    DIR *entries = opendir(directory);
    struct dirent *entry;

    if (entries == NULL)
        return;
    while ((entry = readdir(entries)) != NULL) {
        const char *rest = entry->d_name + strlen(begin);

        if (text_begins(entry->d_name, begin) &&
            (*rest == '\0' ||
             (*rest == '-' && strspn(rest + 1, "0123456789") > 0 &&
              rest[1 + strspn(rest + 1, "0123456789")] == '\0'))) {
            autofree char *old = path_join(directory, entry->d_name);

            json_array_append_new(list, json_string(old));
        }
    }
    closedir(entries);
}

static int add_pair(const struct vm_disk *from, const struct vm_disk *to,
                    json_t *list, struct ds_error *err)
{
    struct texts files = { 0 };
    json_t *names = json_array(), *asides = json_array();
    int result = disk_files(to, &files, err);

    for (size_t i = 0; i < files.count; i++) {
        json_array_append_new(names, json_string(files.items[i]));
        list_asides(files.items[i], asides);
    }
    json_array_append_new(
        list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "name",
                        from->name, "from", from->path, "from_format",
                        from->format, "to", to->path, "format", to->format,
                        "files", names, "asides", asides));
    texts_free(&files);
    return result;
}

static int before_return(struct migration *migration, json_t *before,
                         struct ds_error *err)
{
    json_t *list = json_array();
    struct vm vm = { 0 };
    int result = original(migration, &vm, err);

    json_object_set_new(before, "disks", list);
    for (size_t i = 0; i < vm.disk_count && result == 0; i++)
        result = add_pair(&migration->vm.disks[i], &vm.disks[i], list, err);
    vm_free(&vm);
    return result;
}

static const char *member(const json_t *item, const char *key)
{
    return json_string_value(json_object_get(item, key));
}

/* A file that stands aside is the original; what has its name is ours. */
static int put_aside(const struct migration *migration, const json_t *item,
                     struct ds_error *err)
{
    json_t *file;
    size_t i;

    json_array_foreach (json_object_get(item, "files"), i, file) {
        const char *path = json_string_value(file);
        autofree char *aside = aside_of(migration, path);

        if (!path_exists(aside) && rename(path, aside) != 0)
            return fail_errno(err, errno, path, "put aside");
    }
    return 0;
}

static int remove_ours(const json_t *item, struct ds_error *err)
{
    autofree char *partial = text_format("%s.partial", member(item, "to"));
    int result = file_remove(member(item, "to"), err);

    return result != 0 ? result : file_remove(partial, err);
}

/* What was not reached has nothing aside, and is not ours to remove; what was
 * not there before is. */
static int put_back(const struct migration *migration, const json_t *item,
                    struct ds_error *err)
{
    autofree char *first = aside_of(migration, member(item, "to"));
    json_t *files = json_object_get(item, "files"), *file;
    size_t i;
    int result = path_exists(first) || json_array_size(files) == 0
                     ? remove_ours(item, err)
                     : 0;

    if (result != 0)
        return result;
    json_array_foreach (files, i, file) {
        const char *path = json_string_value(file);
        autofree char *aside = aside_of(migration, path);

        if (path_exists(aside) && rename(aside, path) != 0)
            return fail_errno(err, errno, path, "put back");
    }
    return 0;
}

static int shift_back(struct migration *migration, const json_t *disk,
                      json_t *done, struct ds_error *err)
{
    struct shift shift = {
        .name = member(disk, "name"),
        .from = member(disk, "from"),
        .from_format = member(disk, "from_format"),
        .to = member(disk, "to"),
        .to_format = member(disk, "format"),
        .require_clone = migration->settings.require_clone,
    };
    int result = put_aside(migration, disk, err);

    if (result == 0)
        result = remove_ours(disk, err);
    if (result == 0)
        result = shift_all(&shift, 1, err);
    if (result == 0)
        json_array_append_new(done, shift_json(&shift));
    return result;
}

static int return_disks(struct migration *migration, const json_t *before,
                        json_t *after, struct ds_error *err)
{
    enum hypervisor_state state = HYPERVISOR_OFF;
    json_t *done = json_array(), *disk;
    size_t i;
    int result = migration->target->ops->state(
        migration->target, migration->target_vm.name, &state, err);

    json_object_set_new(after, "disks", done);
    if (result == 0 && state != HYPERVISOR_OFF)
        result = fail(err, DS_ERR_REFUSED, "%s is %s, its disks are in use",
                      migration->target_vm.name, hypervisor_state_name(state));
    json_array_foreach (json_object_get(before, "disks"), i, disk) {
        if (result == 0)
            result = shift_back(migration, disk, done, err);
    }
    return result;
}

static int undo_return(struct migration *migration, const json_t *before,
                       const json_t *after, struct ds_error *err)
{
    json_t *disk;
    size_t i;
    int result = 0;

    (void)after;
    json_array_foreach (json_object_get(before, "disks"), i, disk) {
        if (result == 0)
            result = put_back(migration, disk, err);
    }
    return result;
}

/* What goes when all is well: what earlier returns have kept, and this one's
 * if it is not to be kept. */
static void add_asides(struct migration *migration, const json_t *item)
{
    json_t *file;
    size_t i;

    json_array_foreach (json_object_get(item, "asides"), i, file)
        texts_add(&migration->asides, json_string_value(file));
    if (migration->settings.backup_keep)
        return;
    json_array_foreach (json_object_get(item, "files"), i, file) {
        autofree char *aside = aside_of(migration, json_string_value(file));

        texts_add(&migration->asides, aside);
    }
}

static int recall_return(struct migration *migration, const json_t *before,
                         const json_t *after, struct ds_error *err)
{
    json_t *disk;
    size_t i;

    (void)after, (void)err;
    texts_free(&migration->asides);
    json_array_foreach (json_object_get(before, "disks"), i, disk)
        add_asides(migration, disk);
    return 0;
}

/* -- UEFI variables ------------------------------------------------------- */

static bool returns_nvram(const struct migration *migration)
{
    return returns(migration) && migration_moves_nvram(migration);
}

static int before_nvram(struct migration *migration, json_t *before,
                        struct ds_error *err)
{
    json_t *files = json_array(), *asides = json_array();
    struct vm vm = { 0 };
    int result = original(migration, &vm, err);

    json_object_set_new(before, "files", files);
    json_object_set_new(before, "asides", asides);
    if (result != 0)
        return result;
    if (vm.nvram_path != NULL) {
        json_object_set_new(before, "from",
                            json_string(migration->vm.nvram_path));
        json_object_set_new(before, "to", json_string(vm.nvram_path));
        list_asides(vm.nvram_path, asides);
        if (path_exists(vm.nvram_path))
            json_array_append_new(files, json_string(vm.nvram_path));
    }
    vm_free(&vm);
    return 0;
}

static int return_nvram(struct migration *migration, const json_t *before,
                        json_t *after, struct ds_error *err)
{
    uint64_t copied_bytes = 0;
    int result;

    (void)after;
    if (member(before, "to") == NULL) {
        migration_say(migration, MESSAGE_WARNING,
                      "%s has no file for UEFI variables: they stay behind",
                      migration->target_vm.name);
        return 0;
    }
    result = put_aside(migration, before, err);
    return result != 0
               ? result
               : file_clone(member(before, "from"), member(before, "to"), false,
                            &copied_bytes, err);
}

static int undo_nvram(struct migration *migration, const json_t *before,
                      const json_t *after, struct ds_error *err)
{
    (void)after;
    return member(before, "to") == NULL ? 0 : put_back(migration, before, err);
}

static int recall_nvram(struct migration *migration, const json_t *before,
                        const json_t *after, struct ds_error *err)
{
    (void)after, (void)err;
    add_asides(migration, before);
    return 0;
}

/* -- afterwards ----------------------------------------------------------- */

static bool drops_aside(const struct migration *migration)
{
    return returns(migration) && migration->asides.count > 0;
}

static int drop_aside(struct migration *migration, const json_t *before,
                      json_t *after, struct ds_error *err)
{
    int result = 0;

    (void)before, (void)after;
    for (size_t i = 0; i < migration->asides.count && result == 0; i++) {
        migration_say(migration, MESSAGE_INFO, "removed: %s",
                      migration->asides.items[i]);
        result = file_remove(migration->asides.items[i], err);
    }
    return result;
}

static int undo_drop(struct migration *migration, const json_t *before,
                     const json_t *after, struct ds_error *err)
{
    (void)before, (void)after;
    return migration->settings.backup_keep
               ? 0
               : fail(err, DS_ERR_REFUSED,
                      "the disks that %s had before it returned were not to "
                      "be kept",
                      migration->target_vm.name);
}

const struct step steps_return[] = {
    { .name = "return-disks",
      .stage = STAGE_MIGRATE,
      .wanted = returns,
      .before = before_return,
      .run = return_disks,
      .recall = recall_return,
      .undo = undo_return },
    { .name = "return-nvram",
      .stage = STAGE_MIGRATE,
      .wanted = returns_nvram,
      .before = before_nvram,
      .run = return_nvram,
      .recall = recall_nvram,
      .undo = undo_nvram },
    { .name = NULL, .stage = STAGE_MIGRATE },
};

const struct step steps_return_end[] = {
    { .name = "drop-aside",
      .stage = STAGE_WAIT,
      .wanted = drops_aside,
      .run = drop_aside,
      .undo = undo_drop },
    { .name = NULL, .stage = STAGE_WAIT },
};
