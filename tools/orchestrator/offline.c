/* SPDX-License-Identifier: Apache-2.0 */
#include "offline.h"
#include "process.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <diskshift/guest_script.h>

#define SCRIPT_BYTES_MAX (4u << 20)
#define ISO_SECONDS 60

static const char note[] =
    "This guest is to be moved by diskshift, which cannot reach it.\n"
    "\n"
    "Linux:    as root:              sh %s\n"
    "Windows:  as an administrator:  powershell -ExecutionPolicy Bypass -File "
    "%s\n"
    "\n"
    "The script collects the network settings, prepares the next boot and\n"
    "powers the guest off. Then, where diskshift was started:\n"
    "\n"
    "    diskshift migrate resume %lld\n"
    "\n"
    "To undo what it did, run it again with --undo.\n";

/* The generator's words. What runs where is told by the URI alone. */
static const char *hypervisor_word(const char *uri)
{
    static const struct {
        const char *begins, *word;
    } words[] = {
        { "qemu", "kvm" },   { "xen", "xen" },       { "esx", "vmware" },
        { "vpx", "vmware" }, { "hyperv", "hyperv" },
    };

    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (text_begins(uri, words[i].begins))
            return words[i].word;
    return text_ends(uri, ".vmx") ? "vmware" : "any";
}

static int generate(const struct migration *migration, const char *system,
                    bool offline, char **out, struct ds_error *err)
{
    static const char *const tasks[] = { "network",      "drivers",
                                         "boot",         "power-off",
                                         "tools-remove", "tools-install" };
    const struct settings *settings = &migration->settings;
    const char *chosen[ARRAY_COUNT(tasks)];
    size_t count = 0;
    autofree char *job = text_format("move-%lld", (long long)migration->id);
    struct ds_guest_script_request request = {
        .guest = system,
        .source = hypervisor_word(settings->source_uri),
        .target = hypervisor_word(settings->target_uri),
        .stage = offline ? DS_SCRIPT_OFFLINE : DS_SCRIPT_FIRST,
        .tasks = chosen,
        .job = job,
    };
    struct ds_guest_scripts *scripts = NULL;
    int result;

    for (size_t i = 0; i < ARRAY_COUNT(tasks); i++)
        if (i < 4 || (i == 4 && settings->remove_tools) ||
            (i == 5 && settings->install_tools))
            chosen[count++] = tasks[i];
    request.task_count = count;
    result = ds_guest_scripts_make(&request, &scripts, err);
    if (result == 0)
        *out = text_copy(ds_guest_scripts_at(scripts, 0)->text);
    ds_guest_scripts_free(scripts);
    return result;
}

int script_make(struct migration *migration, const char *system, bool offline,
                char **out, struct ds_error *err)
{
    if (migration->settings.script_file != NULL)
        return file_read(migration->settings.script_file, SCRIPT_BYTES_MAX, out,
                         NULL, err);
    return generate(migration, system, offline, out, err);
}

char *offline_directory(const struct migration *migration)
{
    autofree char *name = text_format("%s-%lld-offline", migration->vm.name,
                                      (long long)migration->id);
    autofree char *backup = migration_backup_path(migration);
    autofree char *beside = path_directory(backup);

    return path_join(migration->settings.offline_directory != NULL
                         ? migration->settings.offline_directory
                         : beside,
                     name);
}

/* Whichever of the two programs there is; without one there is no image. */
static bool make_iso(const char *directory, const char *iso)
{
    const char *const genisoimage[] = { "genisoimage", "-quiet",    "-r", "-J",
                                        "-V",          "DISKSHIFT", "-o", iso,
                                        directory,     NULL };
    const char *const xorriso[] = { "xorriso", "-as", "mkisofs", "-quiet",
                                    "-r",      "-J",  "-V",      "DISKSHIFT",
                                    "-o",      iso,   directory, NULL };
    const char *const *const programs[] = { genisoimage, xorriso };

    for (size_t i = 0; i < ARRAY_COUNT(programs); i++) {
        struct process_result done = { 0 };
        bool made = process_run(programs[i], NULL, 0, ISO_SECONDS, 4096, &done,
                                NULL) == 0 &&
                    done.exit_status == 0;

        process_result_free(&done);
        if (made)
            return true;
    }
    return false;
}

static const char *system_of(const struct vm *vm)
{
    bool windows =
        vm->guest_os != NULL && (strcasestr(vm->guest_os, "windows") != NULL ||
                                 strncasecmp(vm->guest_os, "win", 3) == 0);

    return windows ? "windows" : "linux";
}

static int write_files(struct migration *migration, const char *directory,
                       struct ds_error *err)
{
    const char *system = system_of(&migration->vm);
    const char *name =
        strcmp(system, "windows") == 0 ? "diskshift.ps1" : "diskshift.sh";
    autofree char *script = path_join(directory, name);
    autofree char *readme = path_join(directory, "README.txt");
    autofree char *words =
        text_format(note, name, name, (long long)migration->id);
    autofree char *text = NULL;
    int result = script_make(migration, system, true, &text, err);

    if (result == 0)
        result = directory_make(directory, err);
    if (result == 0)
        result = file_write(script, text, strlen(text), 0700, err);
    return result != 0 ? result
                       : file_write(readme, words, strlen(words), 0600, err);
}

int offline_write(struct migration *migration, const char *directory,
                  struct ds_error *err)
{
    autofree char *iso = text_format("%s.iso", directory);
    int result = write_files(migration, directory, err);

    if (result != 0)
        return result;
    if (!make_iso(directory, iso))
        migration_say(migration, MESSAGE_WARNING,
                      "no ISO image was made: genisoimage or xorriso is "
                      "missing");
    migration_say(migration, MESSAGE_WARNING,
                  "run the script of %s in %s; README.txt says how", directory,
                  migration->vm.name);
    return 0;
}

int offline_remove(const char *directory, struct ds_error *err)
{
    static const char *const names[] = { "diskshift.sh", "diskshift.ps1",
                                         "README.txt" };
    autofree char *iso = text_format("%s.iso", directory);

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        autofree char *path = path_join(directory, names[i]);

        (void)unlink(path);
    }
    (void)unlink(iso);
    (void)err;
    (void)rmdir(directory);
    return 0;
}
