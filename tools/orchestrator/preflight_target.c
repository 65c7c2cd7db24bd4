/* SPDX-License-Identifier: Apache-2.0 */
/* What the target can, of all that is to be made there. */
#include "nbd.h"
#include "preflight.h"

#include <dirent.h>
#include <string.h>

static void check_target_vm(const struct check *check)
{
    struct migration *migration = check->migration;
    const struct hypervisor_ops *ops = migration->target->ops;
    const struct vm *vm = &migration->target_vm;
    struct ds_error err = DS_ERROR_INIT;
    int answer = ops->find(migration->target, vm->name, &err);

    if (answer != 0)
        preflight_find(check, "target-name", FINDING_ERROR, vm->name,
                       "choose another --target-name",
                       answer < 0 ? "cannot be looked for: %s"
                                  : "is there already%s",
                       err.message);
    if (vm->machine != NULL && ops->has_machine != NULL &&
        ops->has_machine(migration->target, vm->machine, &err) <= 0)
        preflight_find(check, "target-machine", FINDING_ERROR, vm->machine,
                       "choose another --machine",
                       "the target has no such machine");
    if ((migration->target->can & HYPERVISOR_CAN_DEFINE) == 0)
        preflight_find(check, "target-define", FINDING_ERROR,
                       migration->target->uri, NULL,
                       "VMs cannot be created there");
}

/* Formats that it lacks may be served to it. False: it lacks this one. */
static bool check_target_format(const struct check *check)
{
    struct migration *migration = check->migration;
    const struct settings *settings = &migration->settings;
    const struct vm *vm = &migration->target_vm;
    struct ds_error err = DS_ERROR_INIT;
    int answer = migration->target->ops->runs_format(
        migration->target, settings->format, &settings->target_options, &err);

    if (answer > 0)
        return true;
    if (!settings->serve_nbd || answer < 0) {
        preflight_find(check, "target-format", FINDING_ERROR, settings->format,
                       "choose a --format that it can, or --serve-nbd",
                       "the target cannot run disks of this format: %s",
                       err.message);
        return false;
    }
    if ((migration->target->can & HYPERVISOR_CAN_NBD) == 0)
        preflight_find(check, "serve-nbd", FINDING_ERROR, settings->format,
                       "choose a --format that it can",
                       "disks are served to libvirt's QEMU on this host alone");
    else if (!nbd_is_there())
        preflight_find(check, "serve-nbd", FINDING_ERROR, settings->format,
                       "install qemu-utils",
                       "qemu-nbd, which serves disks, is missing");
    for (size_t i = 0; i < vm->disk_count; i++)
        if (vm->disks[i].nbd_socket != NULL &&
            strlen(vm->disks[i].nbd_socket) >= NBD_SOCKET_BYTES_MAX)
            preflight_find(
                check, "serve-nbd", FINDING_ERROR, vm->disks[i].name,
                "choose a shorter --directory or --target-name",
                "%s is too long for a socket, have %zu bytes expect less "
                "than %d",
                vm->disks[i].nbd_socket, strlen(vm->disks[i].nbd_socket),
                NBD_SOCKET_BYTES_MAX);
    return true;
}

/* -- how its host names files ---------------------------------------------- */

/* A disk that stands in `directory` already; of VMDKs a descriptor, since what
 * belongs to one need not be listed by its host. */
static char *any_disk(const char *directory, const char *format)
{
    static const char *const parts[] = { "-flat.vmdk", "-delta.vmdk",
                                         "-ctk.vmdk", "-sesparse.vmdk" };
    autofree char *ending = text_format(".%s", format);
    DIR *list = opendir(directory);
    struct dirent *entry = NULL;
    char *name = NULL;

    while (list != NULL && name == NULL && (entry = readdir(list)) != NULL) {
        bool whole = text_ends(entry->d_name, ending);

        for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
            whole = whole && !text_ends(entry->d_name, parts[i]);
        name = whole ? text_copy(entry->d_name) : NULL;
    }
    if (list != NULL)
        closedir(list);
    return name;
}

/* The directory is to be there, and what stands in ours is to stand in theirs.
 * An empty one tells nothing: then the disks do, before the VM is defined. */
static void check_same_place(const struct check *check,
                             const struct vm_disk *ours, const char *theirs)
{
    static const char fix[] = "see that the place is mounted here and there, "
                              "and what --target-path calls it there";
    struct hypervisor *target = check->migration->target;
    autofree char *directory = path_directory(ours->path);
    autofree char *named = path_directory(theirs);
    autofree char *disk = any_disk(directory, ours->format), *seen = NULL;
    struct ds_error err = DS_ERROR_INIT;
    int answer = target->ops->sees(target, named, 0, &err);

    if (answer == -DS_ERR_UNSUPPORTED)
        return;
    if (answer <= 0) {
        preflight_find(check, "target-place", FINDING_ERROR, directory, fix,
                       "the target's host has no %s%s%s", named,
                       err.message[0] != '\0' ? ": " : "", err.message);
        return;
    }
    seen = disk != NULL ? path_join(named, disk) : NULL;
    if (seen != NULL && target->ops->sees(target, seen, 0, &err) == 0)
        preflight_find(check, "target-place", FINDING_WARNING, directory, fix,
                       "is not %s of the target's host, which has no %s there",
                       named, disk);
}

/* As its host names them: what cannot be one is found before anything is
 * made. False: none of its other rules can be looked at. */
static bool check_target_paths(const struct check *check)
{
    struct migration *migration = check->migration;
    const struct hypervisor_ops *ops = migration->target->ops;
    const struct vm_disk *ours = migration->target_vm.disks;
    struct vm named = { 0 };
    bool good = true;

    if (ops->takes_path == NULL)
        return true;
    vm_copy(&named, &migration->target_vm);
    vm_map_paths(&named, &migration->settings.target_paths);
    for (size_t i = 0; i < named.disk_count; i++) {
        bool takes = ops->takes_path(named.disks[i].path);

        if (!takes)
            preflight_find(
                check, "target-path", FINDING_ERROR, named.disks[i].name,
                "say how it is named there: --target-path OURS=THEIRS",
                "no file of the target's host is named %s",
                named.disks[i].path);
        else if (ops->sees != NULL && i == 0)
            check_same_place(check, &ours[i], named.disks[i].path);
        good = good && takes;
    }
    vm_free(&named);
    return good;
}

/* -- what a VM has there --------------------------------------------------- */

struct part {
    const char *rule, *fix;
    bool disks, nics;
};

static bool part_fits(const struct check *check, const struct vm *named,
                      const struct part *part)
{
    struct hypervisor *target = check->migration->target;
    struct ds_error err = DS_ERROR_INIT;
    struct vm vm = *named; /* borrows */

    vm.disk_count = part->disks ? vm.disk_count : 0;
    vm.nic_count = part->nics ? vm.nic_count : 0;
    if (target->ops->fits(target, &vm, &err) == 0)
        return true;
    preflight_find(check, part->rule, FINDING_ERROR, vm.name, part->fix,
                   "cannot be made there: %s", err.message);
    return false;
}

/* One part at a time, so that each is told; all together at last, since they
 * may share what there is. `disks`, `nics`: nothing is known of them yet that
 * would be told a second time. */
static void check_fits(const struct check *check, bool disks, bool nics)
{
    static const struct part bare = {
        "target-hardware", "change it in the source, or choose another target",
        false, false
    };
    static const struct part with_disks = {
        "target-disks",
        "choose another --bus or --disk-bus, or detach some of them", true,
        false
    };
    static const struct part with_nics = {
        "target-nics", "choose another --nic, or remove some of them", false,
        true
    };
    static const struct part whole = {
        "target-devices", "choose another --machine or --bus, or detach some",
        true, true
    };
    const struct migration *migration = check->migration;
    struct vm named = { 0 };

    if (migration->target->ops->fits == NULL)
        return;
    vm_copy(&named, &migration->target_vm);
    vm_map_paths(&named, &migration->settings.target_paths);
    if (part_fits(check, &named, &bare)) {
        disks = disks && part_fits(check, &named, &with_disks);
        nics = nics && part_fits(check, &named, &with_nics);
        if (disks && nics)
            part_fits(check, &named, &whole);
    }
    vm_free(&named);
}

/* What is asked for after it was made. */
static void check_abilities(const struct check *check)
{
    struct migration *migration = check->migration;
    const struct settings *settings = &migration->settings;
    const struct hypervisor *target = migration->target;
    const char *name = migration->target_vm.name;

    if (migration->kind != KIND_MIGRATE)
        return;
    if (settings->macs == MAC_RENEW && target->ops->renew_macs == NULL)
        preflight_find(check, "macs-renew", FINDING_ERROR, name,
                       "use --macs keep",
                       "this target does not give MAC addresses anew");
    if (settings->check_addresses && settings->start_target &&
        (target->can & HYPERVISOR_CAN_ADDRESSES) == 0)
        preflight_find(
            check, "addresses-unseen", FINDING_WARNING, name,
            "look yourself, and leave --check-addresses out",
            "this target does not tell a guest's addresses: they are not "
            "checked");
    if (settings->prepare != PREPARE_NONE && migration->source_was_running &&
        (target->can & HYPERVISOR_CAN_REPORT) == 0)
        preflight_find(
            check, "result-unseen", FINDING_WARNING, name,
            "look at the guest before the source is given up",
            "this target does not show what the guest's script says: that it "
            "powers off is taken for success");
}

/* False: a NIC has no place to be connected to. */
static bool check_networks(const struct check *check)
{
    struct migration *migration = check->migration;
    struct ds_error err = DS_ERROR_INIT;
    bool good = true;

    for (size_t i = 0; i < migration->target_vm.nic_count; i++) {
        const struct vm_nic *nic = &migration->target_vm.nics[i];

        good = good && nic->link != VM_LINK_OTHER;
        if (nic->link == VM_LINK_OTHER)
            preflight_find(
                check, "network-map", FINDING_ERROR, nic->network,
                "add --network 'THIS=NETWORK', or =bridge:NAME, or =user",
                "has no entry in the network map");
        else if (migration->target->ops->has_network(
                     migration->target, nic->link, nic->network, &err) <= 0)
            preflight_find(check, "target-network", FINDING_ERROR, nic->network,
                           "create it there, or map to another",
                           "the target has no such network");
    }
    return good;
}

void preflight_target(const struct check *check)
{
    bool formats, paths, networks;

    check_target_vm(check);
    formats = check_target_format(check);
    paths = check_target_paths(check);
    networks = check_networks(check);
    check_fits(check, formats && paths, networks);
    check_abilities(check);
}
