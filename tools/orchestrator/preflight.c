/* SPDX-License-Identifier: Apache-2.0 */
#include "preflight.h"
#include "offline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void preflight_find(const struct check *check, const char *rule,
                    enum finding_severity severity, const char *subject,
                    const char *fix, const char *format, ...)
{
    va_list arguments;
    autofree char *text = NULL;
    struct finding finding = { .rule = rule,
                               .severity = severity,
                               .subject = (char *)(uintptr_t)subject,
                               .fix = (char *)(uintptr_t)fix };

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    finding.text = text;
    check->add(check->user, &finding);
}

bool is_server_path(const char *path)
{
    return text_begins(path, "nfs://");
}

/* -- disks ---------------------------------------------------------------- */

static void check_disk_source(const struct check *check,
                              const struct vm_disk *disk)
{
    if (disk->source != VM_SOURCE_FILE)
        preflight_find(
            check, "disk-source", FINDING_ERROR, disk->name,
            "move it into an image file first",
            "is no file but %s: devices, LUNs and network disks cannot be "
            "shifted",
            disk->path != NULL ? disk->path : "a volume");
    if (disk->shared)
        preflight_find(
            check, "disk-shared", FINDING_ERROR, disk->name,
            "detach it from the other VMs, or from this one",
            "is shared with other VMs, which would go on writing to it");
    if (disk->independent &&
        check->migration->settings.backup == BACKUP_SNAPSHOT)
        preflight_find(check, "disk-independent", FINDING_ERROR, disk->name,
                       "use --backup shutdown", "is left out of snapshots");
}

uint64_t unshared_bytes(const struct ds_totals *totals)
{
    uint64_t bytes = totals->decoded_bytes + totals->unshared_bytes;

    for (int i = 0; i < DS_COPY_REASON_COUNT; i++)
        bytes += totals->copied_bytes[i];
    return bytes;
}

static void check_clonable(const struct check *check, size_t index)
{
    const struct settings *settings = &check->migration->settings;
    const struct vm_disk *disk = &check->migration->vm.disks[index];
    struct ds_totals *totals = &check->plans[index].totals;
    struct texts options = { 0 };
    struct shift shift = {
        .from = disk->path,
        .from_format = disk->format,
        .from_member = disk->member,
        .to = check->migration->target_vm.disks[index].path,
        .to_format = settings->format,
    };
    struct ds_error err = DS_ERROR_INIT;

    shift_options(&settings->target_options, &options);
    shift.options = (const char *const *)options.items;
    shift.option_count = options.count;
    check->plans[index].made = shift_plan(&shift, NULL, totals, &err) == 0;
    texts_free(&options);
    if (!check->plans[index].made) {
        preflight_find(check, "disk-convert", FINDING_ERROR, disk->name,
                       "choose another format or directory for the target",
                       "cannot be made %s: %s%s%s", settings->format, err.file,
                       err.file[0] != '\0' ? ": " : "", err.message);
        return;
    }
    preflight_find(
        check, "disk-plan", FINDING_NOTE, disk->name, NULL,
        "%" PRIu64 " bytes shared, %" PRIu64 " copied, %" PRIu64 " of tables",
        totals->shared_bytes, unshared_bytes(totals), totals->metadata_bytes);
    if (unshared_bytes(totals) > 0)
        preflight_find(
            check, "disk-copy",
            settings->require_clone ? FINDING_ERROR : FINDING_WARNING,
            disk->name,
            "put the target on the same filesystem, one with reflinks, or "
            "accept that it takes time and room",
            "%" PRIu64 " bytes cannot be shared and would be copied",
            unshared_bytes(totals));
}

static void check_disk(const struct check *check, size_t index)
{
    struct migration *migration = check->migration;
    const struct vm_disk *disk = &migration->vm.disks[index];
    const struct vm_disk *to = index < migration->target_vm.disk_count
                                   ? &migration->target_vm.disks[index]
                                   : NULL;
    struct ds_error err = DS_ERROR_INIT;
    struct texts files = { 0 };
    struct stat status;

    check_disk_source(check, disk);
    if (disk->source != VM_SOURCE_FILE)
        return;
    if (disk_files(disk, &files, &err) != 0)
        preflight_find(
            check, "disk-format", FINDING_ERROR, disk->name,
            "look at it with diskshift check; --path maps paths of another "
            "host to ours",
            "cannot be read: %s%s%s", err.file, err.file[0] != '\0' ? ": " : "",
            err.message);
    else if (to != NULL && migration->kind != KIND_RETURN)
        check_clonable(check, index);
    texts_free(&files);
    if (to != NULL && migration->kind != KIND_RETURN &&
        stat(to->path, &status) == 0)
        preflight_find(check, "target-disk", FINDING_ERROR, disk->name,
                       "remove it, or choose another --directory",
                       "%s is there already", to->path);
}

static void check_disks(const struct check *check)
{
    const struct vm *vm = &check->migration->vm;

    if (vm->disk_count == 0)
        preflight_find(check, "disk-count", FINDING_WARNING, vm->name, NULL,
                       "has no disk");
    for (size_t i = 0; i < vm->disk_count; i++)
        check_disk(check, i);
}

/* -- places --------------------------------------------------------------- */

/* A path that is not there yet will lie where the nearest directory does. */
static dev_t device_of(const char *path)
{
    autofree char *at = text_copy(path);
    struct stat status;

    while (stat(at, &status) != 0) {
        char *up = path_directory(at);

        if (strcmp(at, up) == 0) {
            free(up);
            return 0;
        }
        free(at);
        at = up;
    }
    return status.st_dev;
}

/* Backups, and all that undoing takes, are made with the system's own calls. */
static void check_server_paths(const struct check *check)
{
    const struct migration *migration = check->migration;
    const struct settings *settings = &migration->settings;
    const struct vm *vm = &migration->vm, *to = &migration->target_vm;
    static const char fix[] = "mount it here by NFSv4.2, which shares blocks "
                              "as well, and name it by the mount";

    for (size_t i = 0; settings->backup != BACKUP_NONE && i < vm->disk_count;
         i++)
        if (is_server_path(vm->disks[i].path))
            preflight_find(
                check, "server-path", FINDING_ERROR, vm->disks[i].name, fix,
                "%s is a path of a server: no backup can be made of it",
                vm->disks[i].path);
    if (is_server_path(settings->backup_directory))
        preflight_find(check, "server-path", FINDING_ERROR, "backup", fix,
                       "%s is a path of a server: no backup can be put there",
                       settings->backup_directory);
    for (size_t i = 0; i < to->disk_count; i++)
        if (is_server_path(to->disks[i].path))
            preflight_find(
                check, "server-path", FINDING_ERROR, to->disks[i].name, fix,
                "%s is a path of a server: it could not be removed again",
                to->disks[i].path);
}

static void check_backup(const struct check *check)
{
    struct migration *migration = check->migration;
    autofree char *directory = migration_backup_path(migration);
    dev_t place = device_of(directory);

    if (migration->settings.backup == BACKUP_NONE) {
        preflight_find(
            check, "backup-none", FINDING_WARNING, migration->vm.name,
            "give a --backup policy",
            "no backup is made: what the guest's script changes stays");
        return;
    }
    for (size_t i = 0; i < migration->vm.disk_count; i++) {
        const struct vm_disk *disk = &migration->vm.disks[i];
        struct stat status;

        if (disk->source == VM_SOURCE_FILE && stat(disk->path, &status) == 0 &&
            status.st_dev != place)
            preflight_find(
                check, "backup-place", FINDING_WARNING, disk->name,
                "choose a --backup-directory beside the disk",
                "the backup in %s is on another filesystem: it is copied",
                directory);
    }
}

/* -- the machine ---------------------------------------------------------- */

static void check_nvram(const struct check *check)
{
    const struct migration *migration = check->migration;
    bool back = migration->kind == KIND_RETURN;

    if (migration_moves_nvram(migration))
        preflight_find(check, "uefi-variables", FINDING_NOTE,
                       migration->vm.name, NULL,
                       "its UEFI variables move with it");
    else
        preflight_find(
            check, "uefi-variables", FINDING_WARNING, migration->vm.name,
            "see that the disk boots by EFI/BOOT/BOOTX64.EFI",
            back ? "UEFI variables do not return: boot entries are those "
                   "from before"
                 : "UEFI variables do not move: boot entries start anew");
}

static void check_hardware(const struct check *check)
{
    const struct vm *vm = &check->migration->vm;

    if (vm->passthrough_count > 0)
        preflight_find(check, "passthrough", FINDING_ERROR, vm->name,
                       "detach them: they stay with their host",
                       "has %u devices of its host", vm->passthrough_count);
    if (vm->tpm != VM_TPM_NONE)
        preflight_find(check, "tpm", FINDING_WARNING, vm->name,
                       "have the recovery keys at hand",
                       "has a TPM, whose secrets do not move");
    if (vm->firmware == VM_FIRMWARE_UEFI)
        check_nvram(check);
    if (vm->secure_boot)
        preflight_find(check, "secure-boot", FINDING_WARNING, vm->name,
                       "see that the target has the keys",
                       "boots securely: keys of its own do not move");
    if (vm->removable_count > 0)
        preflight_find(check, "removable", FINDING_NOTE, vm->name, NULL,
                       "has %u CD or floppy drives, which do not move",
                       vm->removable_count);
    if (vm->snapshot_count > 0)
        preflight_find(check, "snapshots", FINDING_WARNING, vm->name,
                       "merge those that are wanted",
                       "has %u snapshots, which do not move",
                       vm->snapshot_count);
}

static bool answers(const struct migration *migration)
{
    const struct guest_address address = migration_guest(migration);
    struct ds_error err = DS_ERROR_INIT;
    struct guest *guest = NULL;
    bool open = guest_open(&address, 0, &guest, &err) == 0;

    guest_close(guest);
    return open;
}

static void check_guest(const struct check *check)
{
    struct migration *migration = check->migration;
    const struct settings *settings = &migration->settings;
    bool can_agent = (migration->source->can & HYPERVISOR_CAN_AGENT) != 0 &&
                     migration->vm.agent;

    if (settings->prepare == PREPARE_NONE || migration->kind != KIND_MIGRATE)
        return;
    if (!migration->source_was_running) {
        preflight_find(check, "guest-off", FINDING_WARNING, migration->vm.name,
                       "start it, or accept that its network is not put back",
                       "is off: no script is run in it");
        return;
    }
    if ((can_agent || settings->guest_ssh != NULL) && !answers(migration))
        preflight_find(
            check, "guest-answers", FINDING_WARNING, migration->vm.name,
            "see that its agent or SSH server runs",
            "does not answer now: it is asked again when it is needed");
    if (!can_agent && settings->guest_ssh == NULL)
        preflight_find(
            check, "guest-reachable",
            settings->prepare == PREPARE_ONLINE ? FINDING_ERROR
                                                : FINDING_WARNING,
            migration->vm.name, "install its agent, or give --guest-ssh",
            "has no agent and no SSH address: a person has to carry the "
            "script in");
}

/* Which system it is shows when it is asked; that none of them has such a
 * script, before. */
static void check_script(const struct check *check)
{
    struct migration *migration = check->migration;
    static const char *const systems[] = { "linux", "windows" };
    struct ds_error err = DS_ERROR_INIT;

    if (migration->settings.prepare == PREPARE_NONE ||
        migration->kind != KIND_MIGRATE || !migration->source_was_running)
        return;
    for (size_t i = ARRAY_COUNT(systems); i > 0; i--) {
        autofree char *text = NULL;

        err = (struct ds_error)DS_ERROR_INIT;
        if (script_make(migration, systems[i - 1], false, &text, &err) == 0)
            return;
    }
    preflight_find(check, "guest-script", FINDING_ERROR, migration->vm.name,
                   "leave --remove-tools or --install-tools out, or look at "
                   "the --script",
                   "there is no script for the guest: %s%s%s", err.file,
                   err.file[0] != '\0' ? ": " : "", err.message);
}

static void check_source(const struct check *check)
{
    struct migration *migration = check->migration;
    const struct settings *settings = &migration->settings;

    if (settings->backup == BACKUP_SNAPSHOT && migration->source_was_running &&
        (migration->source->can & HYPERVISOR_CAN_SNAPSHOT) == 0)
        preflight_find(
            check, "snapshot-cannot", FINDING_WARNING, migration->vm.name,
            "use --backup shutdown",
            "the source has no snapshots that leave the disk still: it is "
            "shut down for the backup");
    if (settings->macs == MAC_KEEP && migration->kind == KIND_MIGRATE &&
        !settings->start_target)
        preflight_find(
            check, "macs", FINDING_NOTE, migration->vm.name, NULL,
            "the target keeps the source's MAC addresses: never start both");
}

int preflight_run(struct migration *migration, preflight_fn *add, void *user,
                  struct ds_error *err)
{
    autofree struct disk_plan *plans =
        need((migration->vm.disk_count + 1) * sizeof(*plans));
    const struct check check = { migration, add, user, plans };

    (void)err;
    check_source(&check);
    check_disks(&check);
    check_server_paths(&check);
    check_backup(&check);
    check_hardware(&check);
    check_guest(&check);
    check_script(&check);
    if (migration->kind == KIND_RETURN)
        return 0;
    preflight_room(&check);
    preflight_target(&check);
    return 0;
}
