/* SPDX-License-Identifier: Apache-2.0 */
/* What the target is, as the plan's maps make it of the source. Its files have
 * our names here; the host's, where they are others, come last (define). */
#include "nbd.h"
#include "stage.h"

#include <stdio.h>
#include <string.h>

static const char *extension(const char *format)
{
    return strcmp(format, "raw") == 0 ? "img" : format;
}

static const char *target_directory(const struct settings *settings,
                                    const char *beside)
{
    return settings->directory != NULL ? settings->directory : beside;
}

static bool is_q35(const char *machine)
{
    return machine != NULL && strstr(machine, "q35") != NULL;
}

static int choose_bus(const struct settings *settings, const char *machine,
                      struct vm_disk *disk, struct ds_error *err)
{
    const char *word = pairs_find(&settings->buses, disk->name);

    if (word == NULL)
        word = settings->disk_bus;
    if (strcmp(word, "same") == 0) {
        /* q35 has no IDE; guests that know the one know AHCI as well. */
        if (disk->bus == VM_BUS_IDE && is_q35(machine))
            disk->bus = VM_BUS_SATA;
        return 0;
    }
    if (!vm_bus_find(word, &disk->bus))
        return fail(err, DS_ERR_ARG,
                    "disk %s: bus, have %s expect ide, sata, scsi, virtio, "
                    "nvme or usb",
                    disk->name, word);
    text_set(&disk->controller,
             disk->bus == VM_BUS_SCSI ? "virtio-scsi" : NULL);
    return 0;
}

/* "hda", "sdb", "vdaa": as libvirt wants them for a bus. */
static void name_disk(struct vm *vm, size_t index)
{
    static const char *const prefixes[VM_BUS_COUNT] = { "hd", "sd",   "sd",
                                                        "vd", "nvme", "sd" };
    struct vm_disk *disk = &vm->disks[index];
    const char *prefix = prefixes[disk->bus];
    unsigned number = 0;
    char letters[8];
    size_t at = sizeof(letters) - 1;

    for (size_t i = 0; i < index; i++)
        number += strcmp(prefixes[vm->disks[i].bus], prefix) == 0;
    disk->unit_index = number;
    letters[at] = '\0';
    do {
        letters[--at] = (char)('a' + number % 26);
        number = number / 26;
    } while (number-- > 0);
    free(disk->name);
    disk->name = text_format("%s%s", prefix, letters + at);
}

/* Names of disks become names of files: "scsi0:0" would be a protocol's. */
static void make_plain(char *name)
{
    for (; *name != '\0'; name++)
        if (strchr(":/\\ ", *name) != NULL)
            *name = '-';
}

/* A disk that the target cannot open itself is given to it by a server. */
static bool is_served(const struct migration *migration)
{
    const struct settings *settings = &migration->settings;

    return settings->serve_nbd &&
           (migration->target->can & HYPERVISOR_CAN_NBD) != 0 &&
           migration->target->ops->runs_format(
               migration->target, settings->format, &settings->target_options,
               NULL) == 0;
}

static int plan_disk(const struct migration *migration, struct vm *vm,
                     size_t index, const char *directory, struct ds_error *err)
{
    const struct settings *settings = &migration->settings;
    struct vm_disk *disk = &vm->disks[index];
    autofree char *file = text_format("%s-%s.%s", vm->name,
                                      disk->name != NULL ? disk->name : "disk",
                                      extension(settings->format));
    int result = choose_bus(settings, vm->machine, disk, err);

    make_plain(file);
    free(disk->path);
    disk->path = path_join(directory, file);
    text_set(&disk->format, settings->format);
    text_set(&disk->member, NULL);
    free(disk->nbd_socket);
    disk->nbd_socket = is_served(migration) ? nbd_socket_of(disk->path) : NULL;
    if (result == 0)
        name_disk(vm, index);
    return result;
}

/* One without an entry becomes OTHER, which preflight tells and refuses. */
static void plan_nic(const struct migration *migration, struct vm_nic *nic)
{
    const struct settings *settings = &migration->settings;
    const char *to = pairs_find(&settings->networks, nic->network);

    if (migration->kind == KIND_TEST)
        to = settings->test_network;
    if (strcmp(settings->nic_model, "same") != 0)
        text_set(&nic->model, settings->nic_model);
    if (to == NULL && nic->link == VM_LINK_USER)
        return;
    if (to == NULL && migration->kind == KIND_TEST) {
        nic->unplugged = true;
        to = "user";
    }
    nic->link = to == NULL                   ? VM_LINK_OTHER
                : text_begins(to, "bridge:") ? VM_LINK_BRIDGE
                : strcmp(to, "user") == 0    ? VM_LINK_USER
                                             : VM_LINK_NETWORK;
    if (to != NULL)
        text_set(&nic->network, text_begins(to, "bridge:") ? to + 7 : to);
}

static void name_vm(const struct migration *migration, struct vm *vm)
{
    const struct settings *settings = &migration->settings;

    if (settings->target_name != NULL)
        text_set(&vm->name, settings->target_name);
    if (migration->kind == KIND_TEST) {
        free(vm->name);
        vm->name = text_format("%s-test-%lld", migration->vm.name,
                               (long long)migration->id);
    }
    /* Two on one host may not have the same. */
    if (text_same(settings->source_uri, settings->target_uri) ||
        migration->kind == KIND_TEST)
        text_set(&vm->uuid, NULL);
}

bool migration_moves_nvram(const struct migration *migration)
{
    const struct vm *vm = &migration->vm;

    return vm->firmware == VM_FIRMWARE_UEFI && vm->nvram_path != NULL &&
           (migration->source->can & migration->target->can &
            HYPERVISOR_CAN_NVRAM) != 0 &&
           path_exists(vm->nvram_path);
}

static void place_files(const struct migration *migration,
                        const char *directory, struct vm *vm)
{
    autofree char *report =
        text_format("%s.%lld.report", vm->name, (long long)migration->id);
    autofree char *console =
        text_format("%s.%lld.console", vm->name, (long long)migration->id);

    autofree char *nvram =
        text_format("%s.%lld.nvram", vm->name, (long long)migration->id);
    autofree char *by_hand =
        text_format("%s.%lld.vmx", vm->name, (long long)migration->id);

    if (migration_moves_nvram(migration))
        vm->nvram_path = path_join(directory, nvram);
    if ((migration->target->can & HYPERVISOR_CAN_BY_HAND) != 0)
        vm->by_hand_path = path_join(directory, by_hand);
    if ((migration->target->can & HYPERVISOR_CAN_REPORT) == 0)
        return;
    vm->report_path = path_join(directory, report);
    vm->console_path = path_join(directory, console);
}

int vm_for_target(const struct migration *migration, struct vm *out,
                  struct ds_error *err)
{
    const struct settings *settings = &migration->settings;
    autofree char *beside = NULL;
    const char *directory;
    int result = 0;

    vm_copy(out, &migration->vm);
    beside = path_directory(out->disk_count > 0 && out->disks[0].path != NULL
                                ? out->disks[0].path
                                : "/tmp/none");
    directory = target_directory(settings, beside);
    name_vm(migration, out);
    text_set(&out->machine, settings->machine);
    text_set(&out->accelerator, settings->domain_type);
    text_set(&out->native, NULL);
    text_set(&out->nvram_path, NULL);
    out->snapshot_count = 0;
    out->passthrough_count = 0;
    out->removable_count = 0;
    for (size_t i = 0; i < out->disk_count && result == 0; i++)
        result = plan_disk(migration, out, i, directory, err);
    for (size_t i = 0; i < out->nic_count; i++)
        plan_nic(migration, &out->nics[i]);
    place_files(migration, directory, out);
    return result;
}

/* -- names of other hosts ------------------------------------------------- */

/* "/mnt/ds1" begins "/mnt/ds1/web", not "/mnt/ds10/web". */
static bool begins_path(const char *path, const char *with)
{
    size_t length = strlen(with);

    return text_begins(path, with) &&
           (path[length] == '\0' || strchr("/ ]:", path[length]) != NULL ||
            (length > 0 && strchr("/ ]:", with[length - 1]) != NULL));
}

/* Where "/mnt/ds1" becomes "[ds1]" and back, what stands between the beginning
 * and the rest is the host's own: "[ds1] web/a.vmdk", "/mnt/ds1/web/a.vmdk". */
static char *join_names(const char *to, const char *rest)
{
    size_t length = strlen(to);
    bool ended = length > 0 && strchr("/ ", to[length - 1]) != NULL;

    rest += strspn(rest, "/ ");
    if (*rest == '\0')
        return text_copy(to);
    return text_format("%s%s%s", to,
                       ended                ? ""
                       : text_ends(to, "]") ? " "
                                            : "/",
                       rest);
}

static void map_path(const struct pairs *paths, char **path)
{
    for (size_t i = 0; i < paths->count && *path != NULL; i++) {
        const char *from = paths->items[i].from;
        char *mapped;

        if (!begins_path(*path, from))
            continue;
        mapped = join_names(paths->items[i].to, *path + strlen(from));
        free(*path);
        *path = mapped;
        return;
    }
}

void vm_map_paths(struct vm *vm, const struct pairs *paths)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        map_path(paths, &vm->disks[i].path);
        map_path(paths, &vm->disks[i].nbd_socket);
    }
    map_path(paths, &vm->nvram_path);
    map_path(paths, &vm->report_path);
    map_path(paths, &vm->console_path);
}
