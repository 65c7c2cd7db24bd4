/* SPDX-License-Identifier: Apache-2.0 */
#include "backup.h"
#include "disks.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MANIFEST_VERSION 1
#define MANIFEST_BYTES_MAX (1u << 20)

void backup_files_free(struct backup_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->items[i].from);
        free(files->items[i].to);
    }
    free(files->items);
    *files = (struct backup_files){ 0 };
}

static struct backup_file *add_file(struct backup_files *files,
                                    const char *from, const char *directory,
                                    const char *name)
{
    struct backup_file *added;

    files->items =
        need_more(files->items, (files->count + 1) * sizeof(*files->items));
    added = &files->items[files->count++];
    *added = (struct backup_file){ .from = text_copy(from),
                                   .to = path_join(directory, name) };
    return added;
}

/* The names inside stay, since descriptors name extents and parents; files of
 * the same name from several directories go into directories of their own. */
static void add_disk(struct backup_files *out, const struct texts *files,
                     const char *directory, size_t disk_index)
{
    for (size_t i = 0; i < files->count; i++) {
        autofree char *name =
            text_format("%zu/%s", disk_index, path_name(files->items[i]));

        add_file(out, files->items[i], directory, name);
    }
}

int backup_plan(const struct vm *vm, const char *directory,
                struct backup_files *out, struct ds_error *err)
{
    int result = 0;

    for (size_t i = 0; i < vm->disk_count && result == 0; i++) {
        const struct vm_disk *disk = &vm->disks[i];
        struct texts files = { 0 };

        if (disk->source != VM_SOURCE_FILE)
            continue;
        if (text_begins(disk->path, "nfs://"))
            result = fail(err, DS_ERR_UNSUPPORTED,
                          "disk %s: a backup on a path of a server: mount it",
                          disk->name);
        if (result == 0)
            result = disk_files(disk, &files, err);
        if (result == 0)
            add_disk(out, &files, directory, i);
        texts_free(&files);
    }
    if (result == 0 && vm->nvram_path != NULL && path_exists(vm->nvram_path))
        add_file(out, vm->nvram_path, directory, "nvram")->small = true;
    return result;
}

static int write_manifest(const struct vm *vm, const char *directory,
                          const struct backup_files *files,
                          struct ds_error *err)
{
    autofree char *path = path_join(directory, "manifest.json");
    autofree char *text = NULL;
    autojson json_t *manifest = NULL;
    json_t *list = json_array();

    for (size_t i = 0; i < files->count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s}", "from",
                                              files->items[i].from, "file",
                                              files->items[i].to));
    manifest =
        json_pack("{s:i, s:s, s:s, s:f, s:o, s:o}", "schema", MANIFEST_VERSION,
                  "kind", "diskshift-backup", "vm", vm->name, "made",
                  now_seconds(), "files", list, "description", vm_to_json(vm));
    text = json_dumps(manifest, JSON_INDENT(2));
    return file_write(path, text, strlen(text), 0600, err);
}

/* Two levels deep: what backup_make makes. */
static int remove_entries(const char *directory, bool deeper,
                          struct ds_error *err)
{
    DIR *list = opendir(directory);
    struct dirent *entry;
    int result = 0;

    if (list == NULL)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : fail_errno(err, errno, directory, "list");
    while (result == 0 && (entry = readdir(list)) != NULL) {
        autofree char *path = path_join(directory, entry->d_name);

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlink(path) == 0)
            continue;
        if (deeper && (errno == EISDIR || errno == EPERM))
            result = remove_entries(path, false, err);
        else
            result = fail_errno(err, errno, path, "remove");
    }
    closedir(list);
    if (result == 0 && rmdir(directory) != 0 && errno != ENOENT)
        result = fail_errno(err, errno, directory, "remove");
    return result;
}

/* The manifest first: what is then half removed is no backup any more. */
static int clear(const char *directory, struct ds_error *err)
{
    autofree char *manifest = path_join(directory, "manifest.json");
    int result = file_remove(manifest, err);

    return result != 0 ? result : remove_entries(directory, true, err);
}

int backup_make(const struct vm *vm, const char *directory,
                const struct backup_files *files, bool require_clone,
                uint64_t *copied_bytes, struct ds_error *err)
{
    autofree char *domain = path_join(directory, "domain.xml");
    int result = clear(directory, err);

    if (result == 0)
        result = directory_make(directory, err);
    for (size_t i = 0; i < files->count && result == 0; i++) {
        autofree char *beside = path_directory(files->items[i].to);

        result = directory_make(beside, err);
        if (result == 0)
            result = file_clone(files->items[i].from, files->items[i].to,
                                require_clone && !files->items[i].small,
                                copied_bytes, err);
    }
    if (result == 0 && vm->native != NULL)
        result = file_write(domain, vm->native, strlen(vm->native), 0600, err);
    return result != 0 ? result : write_manifest(vm, directory, files, err);
}

static int read_manifest(const char *directory, json_t **out,
                         struct ds_error *err)
{
    autofree char *path = path_join(directory, "manifest.json");
    autofree char *text = NULL;
    autojson json_t *manifest = NULL;
    json_t *file;
    size_t i;
    int result = file_read(path, MANIFEST_BYTES_MAX, &text, NULL, err);

    if (result != 0)
        return fail_within(err, "backup");
    manifest = json_loads(text, 0, NULL);
    json_array_foreach (json_object_get(manifest, "files"), i, file)
        if (!json_is_string(json_object_get(file, "from")) ||
            !json_is_string(json_object_get(file, "file")))
            json_object_clear(manifest);
    if (json_integer_value(json_object_get(manifest, "schema")) !=
        MANIFEST_VERSION)
        return fail(err, DS_ERR_CORRUPT, "backup: %s is no manifest of ours",
                    path);
    *out = steal(&manifest);
    return 0;
}

static const char *member(const json_t *file, const char *key)
{
    return json_string_value(json_object_get(file, key));
}

int backup_restore(const char *directory, struct ds_error *err)
{
    autojson json_t *manifest = NULL;
    json_t *file;
    size_t i;
    int result = read_manifest(directory, &manifest, err);

    json_array_foreach (json_object_get(manifest, "files"), i, file) {
        if (result == 0)
            result =
                file_restore(member(file, "file"), member(file, "from"), err);
    }
    return result;
}

int backup_clone_of(const char *directory, const char *path, char **out,
                    struct ds_error *err)
{
    autojson json_t *manifest = NULL;
    json_t *file;
    size_t i;
    int result = read_manifest(directory, &manifest, err);

    if (result != 0)
        return result;
    json_array_foreach (json_object_get(manifest, "files"), i, file) {
        if (text_same(member(file, "from"), path)) {
            *out = text_copy(member(file, "file"));
            return 0;
        }
    }
    return fail(err, DS_ERR_CORRUPT, "backup %s has no clone of %s", directory,
                path);
}

bool backup_is_whole(const char *directory)
{
    autofree char *manifest = path_join(directory, "manifest.json");

    return path_exists(manifest);
}

int backup_remove(const char *directory, struct ds_error *err)
{
    autofree char *above = path_directory(directory);
    int result = clear(directory, err);

    /* Backups of others may lie beside it: then it stays. */
    if (result == 0)
        (void)rmdir(above);
    return result;
}
