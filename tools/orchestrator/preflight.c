/* SPDX-License-Identifier: Apache-2.0 */
/* The rules. Each looks at one thing and changes nothing; all are run, and
 * all that they find is told. A rule's name stays the same for ever. */
#include "disks.h"
#include "nbd.h"
#include "stage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define TABLE_ROOM_BYTES (UINT64_C(64) << 20)

struct check {
    struct migration *migration;
    preflight_fn *add;
    void *user;
};

static void find(const struct check *check, const char *rule,
                 enum finding_severity severity, const char *subject,
                 const char *fix, const char *format, ...) PRINTF_LIKE(6, 7);

static void find(const struct check *check, const char *rule,
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

/* -- disks ---------------------------------------------------------------- */

static void check_disk_source(const struct check *check,
                              const struct vm_disk *disk)
{
    if (disk->source != VM_SOURCE_FILE)
        find(check, "disk-source", FINDING_ERROR, disk->name,
             "move it into an image file first",
             "is no file but %s: devices, LUNs and network disks cannot be "
             "shifted",
             disk->path != NULL ? disk->path : "a volume");
    if (disk->shared)
        find(check, "disk-shared", FINDING_ERROR, disk->name,
             "detach it from the other VMs, or from this one",
             "is shared with other VMs, which would go on writing to it");
    if (disk->independent &&
        check->migration->settings.backup == BACKUP_SNAPSHOT)
        find(check, "disk-independent", FINDING_ERROR, disk->name,
             "use --backup shutdown", "is left out of snapshots");
}

static uint64_t copied_bytes(const struct ds_totals *totals)
{
    uint64_t bytes = totals->decoded_bytes;

    for (int i = 0; i < DS_COPY_REASON_COUNT; i++)
        bytes += totals->copied_bytes[i];
    return bytes;
}

static void check_clonable(const struct check *check,
                           const struct vm_disk *disk, const char *to)
{
    const struct settings *settings = &check->migration->settings;
    const struct shift shift = { .from = disk->path,
                                 .from_format = disk->format,
                                 .from_member = disk->member,
                                 .to = to,
                                 .to_format = settings->format };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_totals totals = { 0 };

    if (shift_plan(&shift, NULL, &totals, &err) != 0) {
        find(check, "disk-convert", FINDING_ERROR, disk->name,
             "choose another format or directory for the target",
             "cannot be made %s: %s%s%s", settings->format, err.file,
             err.file[0] != '\0' ? ": " : "", err.message);
        return;
    }
    find(check, "disk-plan", FINDING_NOTE, disk->name, NULL,
         "%" PRIu64 " bytes shared, %" PRIu64 " copied, %" PRIu64 " of tables",
         totals.shared_bytes, copied_bytes(&totals), totals.metadata_bytes);
    if (copied_bytes(&totals) > 0)
        find(check, "disk-copy",
             settings->require_clone ? FINDING_ERROR : FINDING_WARNING,
             disk->name,
             "put the target on the same filesystem, one with reflinks, or "
             "accept that it takes time and room",
             "%" PRIu64 " bytes cannot be shared and would be copied",
             copied_bytes(&totals));
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
        find(check, "disk-format", FINDING_ERROR, disk->name,
             "look at it with diskshift check; --path maps paths of another "
             "host to ours",
             "cannot be read: %s%s%s", err.file,
             err.file[0] != '\0' ? ": " : "", err.message);
    else if (to != NULL && migration->kind != KIND_RETURN)
        check_clonable(check, disk, to->path);
    texts_free(&files);
    if (to != NULL && migration->kind != KIND_RETURN &&
        stat(to->path, &status) == 0)
        find(check, "target-disk", FINDING_ERROR, disk->name,
             "remove it, or choose another --directory", "%s is there already",
             to->path);
}

static void check_disks(const struct check *check)
{
    const struct vm *vm = &check->migration->vm;

    if (vm->disk_count == 0)
        find(check, "disk-count", FINDING_WARNING, vm->name, NULL,
             "has no disk");
    for (size_t i = 0; i < vm->disk_count; i++)
        check_disk(check, i);
}

/* -- places --------------------------------------------------------------- */

static bool same_filesystem(const char *left, const char *right, bool *known)
{
    struct stat left_status, right_status;

    *known = stat(left, &left_status) == 0 && stat(right, &right_status) == 0;
    return *known && left_status.st_dev == right_status.st_dev;
}

/* The nearest directory that is there. */
static char *existing(const char *path)
{
    char *at = text_copy(path);

    while (!path_exists(at) && strcmp(at, "/") != 0) {
        char *up = path_directory(at);

        free(at);
        at = up;
    }
    return at;
}

static void check_backup(const struct check *check)
{
    struct migration *migration = check->migration;
    autofree char *directory = migration_backup_path(migration);
    autofree char *place = existing(directory);
    bool known;

    if (migration->settings.backup == BACKUP_NONE)
        find(check, "backup-none", FINDING_WARNING, migration->vm.name,
             "give a --backup policy",
             "no backup is made: what the guest's script changes stays");
    for (size_t i = 0; i < migration->vm.disk_count; i++) {
        const struct vm_disk *disk = &migration->vm.disks[i];

        if (migration->settings.backup != BACKUP_NONE &&
            disk->source == VM_SOURCE_FILE &&
            !same_filesystem(disk->path, place, &known) && known)
            find(check, "backup-place", FINDING_WARNING, disk->name,
                 "choose a --backup-directory beside the disk",
                 "the backup in %s is on another filesystem: it is copied",
                 directory);
    }
}

static void check_room(const struct check *check)
{
    struct migration *migration = check->migration;
    struct statvfs status;

    for (size_t i = 0; i < migration->target_vm.disk_count; i++) {
        const char *path = migration->target_vm.disks[i].path;
        autofree char *place = path != NULL ? existing(path) : NULL;

        if (place == NULL || statvfs(place, &status) != 0)
            continue;
        if ((uint64_t)status.f_bavail * status.f_frsize < TABLE_ROOM_BYTES)
            find(check, "target-room", FINDING_ERROR, place, "make room",
                 "has less than %" PRIu64 " MiB free, which tables may take",
                 TABLE_ROOM_BYTES >> 20);
        return;
    }
}

/* -- the machine ---------------------------------------------------------- */

static void check_nvram(const struct check *check)
{
    const struct migration *migration = check->migration;
    bool back = migration->kind == KIND_RETURN;

    if (migration_moves_nvram(migration))
        find(check, "uefi-variables", FINDING_NOTE, migration->vm.name, NULL,
             "its UEFI variables move with it");
    else
        find(check, "uefi-variables", FINDING_WARNING, migration->vm.name,
             "see that the disk boots by EFI/BOOT/BOOTX64.EFI",
             back ? "UEFI variables do not return: boot entries are those "
                    "from before"
                  : "UEFI variables do not move: boot entries start anew");
}

static void check_hardware(const struct check *check)
{
    const struct vm *vm = &check->migration->vm;

    if (vm->passthrough_count > 0)
        find(check, "passthrough", FINDING_ERROR, vm->name,
             "detach them: they stay with their host",
             "has %u devices of its host", vm->passthrough_count);
    if (vm->tpm != VM_TPM_NONE)
        find(check, "tpm", FINDING_WARNING, vm->name,
             "have the recovery keys at hand",
             "has a TPM, whose secrets do not move");
    if (vm->firmware == VM_FIRMWARE_UEFI)
        check_nvram(check);
    if (vm->secure_boot)
        find(check, "secure-boot", FINDING_WARNING, vm->name,
             "see that the target has the keys",
             "boots securely: keys of its own do not move");
    if (vm->removable_count > 0)
        find(check, "removable", FINDING_NOTE, vm->name, NULL,
             "has %u CD or floppy drives, which do not move",
             vm->removable_count);
    if (vm->snapshot_count > 0)
        find(check, "snapshots", FINDING_WARNING, vm->name,
             "merge those that are wanted",
             "has %u snapshots, which do not move", vm->snapshot_count);
}

static void check_target_vm(const struct check *check)
{
    struct migration *migration = check->migration;
    const struct hypervisor_ops *ops = migration->target->ops;
    const struct vm *vm = &migration->target_vm;
    struct ds_error err = DS_ERROR_INIT;
    int answer = ops->find(migration->target, vm->name, &err);

    if (answer != 0)
        find(check, "target-name", FINDING_ERROR, vm->name,
             "choose another --target-name",
             answer < 0 ? "cannot be looked for: %s" : "is there already%s",
             err.message);
    if (vm->machine != NULL && ops->has_machine != NULL &&
        ops->has_machine(migration->target, vm->machine, &err) <= 0)
        find(check, "target-machine", FINDING_ERROR, vm->machine,
             "choose another --machine", "the target has no such machine");
    if ((migration->target->can & HYPERVISOR_CAN_DEFINE) == 0)
        find(check, "target-define", FINDING_ERROR, migration->target->uri,
             NULL, "VMs cannot be created there");
}

/* Formats that it lacks may be served to it. */
static void check_target_format(const struct check *check)
{
    struct migration *migration = check->migration;
    const struct settings *settings = &migration->settings;
    const struct vm *vm = &migration->target_vm;
    struct ds_error err = DS_ERROR_INIT;
    int answer = migration->target->ops->runs_format(migration->target,
                                                     settings->format, &err);

    if (answer > 0)
        return;
    if (!settings->serve_nbd || answer < 0) {
        find(check, "target-format", FINDING_ERROR, settings->format,
             "choose a --format that it can, such as qcow2, or --serve-nbd",
             "the target cannot run disks of this format");
        return;
    }
    if ((migration->target->can & HYPERVISOR_CAN_NBD) == 0)
        find(check, "serve-nbd", FINDING_ERROR, settings->format,
             "choose a --format that it can",
             "disks are served to libvirt's QEMU on this host alone");
    else if (!nbd_is_there())
        find(check, "serve-nbd", FINDING_ERROR, settings->format,
             "install qemu-utils", "qemu-nbd, which serves disks, is missing");
    for (size_t i = 0; i < vm->disk_count; i++)
        if (vm->disks[i].nbd_socket != NULL &&
            strlen(vm->disks[i].nbd_socket) >= NBD_SOCKET_BYTES_MAX)
            find(check, "serve-nbd", FINDING_ERROR, vm->disks[i].name,
                 "choose a shorter --directory or --target-name",
                 "%s is too long for a socket, have %zu bytes expect less "
                 "than %d",
                 vm->disks[i].nbd_socket, strlen(vm->disks[i].nbd_socket),
                 NBD_SOCKET_BYTES_MAX);
}

/* As its host names them: what cannot be one is found before anything is
 * made. */
static void check_target_paths(const struct check *check)
{
    struct migration *migration = check->migration;
    struct vm named = { 0 };

    if (migration->target->ops->takes_path == NULL)
        return;
    vm_copy(&named, &migration->target_vm);
    vm_map_paths(&named, &migration->settings.target_paths);
    for (size_t i = 0; i < named.disk_count; i++)
        if (!migration->target->ops->takes_path(named.disks[i].path))
            find(check, "target-path", FINDING_ERROR, named.disks[i].name,
                 "say how it is named there: --target-path OURS=THEIRS",
                 "no file of the target's host is named %s",
                 named.disks[i].path);
    vm_free(&named);
}

static void check_networks(const struct check *check)
{
    struct migration *migration = check->migration;
    struct ds_error err = DS_ERROR_INIT;

    for (size_t i = 0; i < migration->target_vm.nic_count; i++) {
        const struct vm_nic *nic = &migration->target_vm.nics[i];

        if (nic->link == VM_LINK_OTHER)
            find(check, "network-map", FINDING_ERROR, nic->network,
                 "add --network 'THIS=NETWORK', or =bridge:NAME, or =user",
                 "has no entry in the network map");
        else if (migration->target->ops->has_network(
                     migration->target, nic->link, nic->network, &err) <= 0)
            find(check, "target-network", FINDING_ERROR, nic->network,
                 "create it there, or map to another",
                 "the target has no such network");
    }
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
        find(check, "guest-off", FINDING_WARNING, migration->vm.name,
             "start it, or accept that its network is not put back",
             "is off: no script is run in it");
        return;
    }
    if ((can_agent || settings->guest_ssh != NULL) && !answers(migration))
        find(check, "guest-answers", FINDING_WARNING, migration->vm.name,
             "see that its agent or SSH server runs",
             "does not answer now: it is asked again when it is needed");
    if (!can_agent && settings->guest_ssh == NULL)
        find(check, "guest-reachable",
             settings->prepare == PREPARE_ONLINE ? FINDING_ERROR
                                                 : FINDING_WARNING,
             migration->vm.name, "install its agent, or give --guest-ssh",
             "has no agent and no SSH address: a person has to carry the "
             "script in");
}

static void check_source(const struct check *check)
{
    struct migration *migration = check->migration;
    const struct settings *settings = &migration->settings;

    if (settings->backup == BACKUP_SNAPSHOT && migration->source_was_running &&
        (migration->source->can & HYPERVISOR_CAN_SNAPSHOT) == 0)
        find(check, "snapshot-cannot", FINDING_WARNING, migration->vm.name,
             "use --backup shutdown",
             "the source has no snapshots that leave the disk still: it is "
             "shut down for the backup");
    if (settings->macs == MAC_KEEP && migration->kind == KIND_MIGRATE &&
        !settings->start_target)
        find(check, "macs", FINDING_NOTE, migration->vm.name, NULL,
             "the target keeps the source's MAC addresses: never start both");
}

int preflight_run(struct migration *migration, preflight_fn *add, void *user,
                  struct ds_error *err)
{
    const struct check check = { migration, add, user };

    (void)err;
    check_source(&check);
    check_disks(&check);
    check_backup(&check);
    check_hardware(&check);
    check_guest(&check);
    if (migration->kind == KIND_RETURN)
        return 0;
    check_room(&check);
    check_target_vm(&check);
    check_target_format(&check);
    check_target_paths(&check);
    check_networks(&check);
    return 0;
}
