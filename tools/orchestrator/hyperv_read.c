/* SPDX-License-Identifier: Apache-2.0 */
#include "hyperv.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

char *hyperv_forward(const char *path)
{
    char *out = text_copy(path != NULL ? path : "");

    for (char *at = out; *at != '\0'; at++)
        if (*at == '\\')
            *at = '/';
    return out;
}

static int read_disk(const json_t *from, struct vm *vm, struct ds_error *err)
{
    struct vm_disk *disk;
    const char *dot;
    int result = vm_add_disk(vm, &disk, err);

    if (result != 0)
        return result;
    disk->path = hyperv_forward(text_at(from, "path"));
    disk->bus =
        text_same(text_at(from, "type"), "IDE") ? VM_BUS_IDE : VM_BUS_SCSI;
    disk->name =
        text_format("%s%" PRIu64 ":%" PRIu64, vm_bus_name(disk->bus),
                    number_at(from, "controller"), number_at(from, "location"));
    for (size_t i = 0; i + 1 < vm->disk_count; i++)
        disk->unit_index += vm->disks[i].bus == disk->bus;
    disk->shared = yes_at(from, "shared");
    if (yes_at(from, "physical")) {
        disk->source = VM_SOURCE_DEVICE;
        return 0;
    }
    /* An overlay is .avhdx or .avhd. A set (.vhds) is what clusters share. */
    dot = strrchr(disk->path, '.');
    if (dot != NULL &&
        (strcasecmp(dot, ".vhdx") == 0 || strcasecmp(dot, ".avhdx") == 0))
        text_set(&disk->format, "vhdx");
    else if (dot != NULL &&
             (strcasecmp(dot, ".vhd") == 0 || strcasecmp(dot, ".avhd") == 0))
        text_set(&disk->format, "vhd");
    else
        return fail(err, DS_ERR_UNSUPPORTED,
                    "disk %s: have %.200s expect a .vhdx or .vhd", disk->name,
                    disk->path);
    return 0;
}

static int read_nic(const json_t *from, struct vm *vm, struct ds_error *err)
{
    const char *mac = text_at(from, "mac"), *mode = text_at(from, "mode");
    const char *network = text_at(from, "network");
    struct vm_nic *nic;
    int result = vm_add_nic(vm, &nic, err);

    if (result != 0)
        return result;
    nic->link = VM_LINK_NETWORK;
    nic->unplugged = network == NULL || network[0] == '\0';
    text_set(&nic->network, nic->unplugged ? "none" : network);
    text_set(&nic->model, yes_at(from, "legacy") ? "tulip" : "netvsc");
    if (text_same(mode, "Access"))
        nic->vlan = (unsigned)number_at(from, "vlan");
    else if (mode != NULL && !text_same(mode, "Untagged"))
        return fail(err, DS_ERR_UNSUPPORTED,
                    "network interface %zu: VLAN mode, have %.40s expect "
                    "Access or Untagged",
                    vm->nic_count, mode);
    /* One that was never started has no address yet. */
    if (mac == NULL || strspn(mac, "0") == strlen(mac))
        return 0;
    return vm_mac_parse(mac, nic->mac, err);
}

/* Whoever wrote the notes may have begun them with our mark. */
static const char *notes_without_mark(const char *notes)
{
    if (!text_begins(notes, HYPERV_MARK))
        return notes;
    notes += strlen(HYPERV_MARK);
    return notes[strspn(notes, "\r\n")] == '\0' ? NULL
                                                : notes + strspn(notes, "\r\n");
}

static int read_machine(const json_t *answer, const char *name, struct vm *vm,
                        struct ds_error *err)
{
    const char *notes = notes_without_mark(text_at(answer, "notes"));
    const char *template = text_at(answer, "template");

    text_set(&vm->name, name);
    text_set(&vm->description,
             notes != NULL && notes[0] != '\0' ? notes : NULL);
    text_set(&vm->arch, "x86_64");
    vm->cpu_count = (unsigned)number_at(answer, "cpus");
    vm->memory_bytes = number_at(answer, "memory");
    vm->firmware = number_at(answer, "generation") == 2 ? VM_FIRMWARE_UEFI
                                                        : VM_FIRMWARE_BIOS;
    vm->secure_boot = yes_at(answer, "secure_boot");
    if (vm->secure_boot && text_same(template, "MicrosoftWindows"))
        text_set(&vm->guest_os, "windows");
    vm->tpm = yes_at(answer, "tpm") ? VM_TPM_2_0 : VM_TPM_NONE;
    vm->autostart = yes_at(answer, "autostart");
    vm->snapshot_count = (unsigned)number_at(answer, "snapshots");
    vm->removable_count = (unsigned)number_at(answer, "removable");
    vm->passthrough_count = (unsigned)number_at(answer, "devices");
    return yes_at(answer, "shielded")
               ? fail(err, DS_ERR_UNSUPPORTED,
                      "the VM is shielded: its disks are nobody's to read")
               : 0;
}

int hyperv_read_vm(const json_t *answer, const char *name, struct vm *vm,
                   struct ds_error *err)
{
    int result = read_machine(answer, name, vm, err);
    json_t *part;
    size_t i;

    json_array_foreach (json_object_get(answer, "disks"), i, part)
        if (result == 0)
            result = read_disk(part, vm, err);
    json_array_foreach (json_object_get(answer, "nics"), i, part)
        if (result == 0)
            result = read_nic(part, vm, err);
    return result;
}
