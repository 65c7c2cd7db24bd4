/* SPDX-License-Identifier: Apache-2.0 */
#include "hyperv.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#define MEMORY_STEP_BYTES (UINT64_C(2) << 20)
#define IDE_COUNT_MAX 4
#define SCSI_UNIT_COUNT 64
#define SCSI_CONTROLLER_COUNT 4
/* Plan for Hyper-V scalability in Windows Server: 64 and 4 legacy ones; hosts
 * until 2016 have 8 of the first. */
#define NIC_COUNT_MAX 64
#define LEGACY_NIC_COUNT_MAX 4

bool hyperv_takes_path(const char *path)
{
    return text_begins(path, "//") ||
           (path != NULL && isalpha((unsigned char)path[0]) && path[1] == ':' &&
            path[2] == '/');
}

char *hyperv_backward(const char *path)
{
    char *out = text_copy(path);

    for (char *at = out; *at != '\0'; at++)
        if (*at == '/')
            *at = '\\';
    return out;
}

/* Generation 1 starts from IDE alone, and has no more than four disks there. */
struct places {
    bool uefi;
    unsigned ide_count, scsi_count;
};

static int place_disk(struct places *places, const struct vm_disk *disk,
                      bool boots, json_t *out, struct ds_error *err)
{
    bool ide = !places->uefi && (boots || disk->bus == VM_BUS_IDE);
    unsigned at;

    if (ide)
        at = boots ? 0 : places->ide_count++;
    else
        at = places->scsi_count++;
    if (at >= (ide ? IDE_COUNT_MAX : SCSI_UNIT_COUNT * SCSI_CONTROLLER_COUNT))
        return fail(err, DS_ERR_LIMIT,
                    "disk %s: %s has no more room in a VM of Hyper-V",
                    disk->name, ide ? "IDE" : "SCSI");
    json_object_set_new(out, "type", json_string(ide ? "IDE" : "SCSI"));
    json_object_set_new(out, "controller",
                        json_integer(at / (ide ? 2 : SCSI_UNIT_COUNT)));
    json_object_set_new(out, "location",
                        json_integer(at % (ide ? 2 : SCSI_UNIT_COUNT)));
    return 0;
}

static int check_disk(const struct vm *vm, const struct vm_disk *disk,
                      struct ds_error *err)
{
    bool uefi = vm->firmware == VM_FIRMWARE_UEFI;

    if (!hyperv_takes_path(disk->path))
        return fail(err, DS_ERR_ARG,
                    "disk %s: path, have %s expect it as the host names it, "
                    "C:/... or //server/share/...",
                    disk->name, disk->path);
    if (!text_same(disk->format, "vhdx") &&
        (uefi || !text_same(disk->format, "vhd")))
        return fail(err, DS_ERR_UNSUPPORTED,
                    "disk %s: format, have %s expect %s", disk->name,
                    disk->format,
                    uefi ? "vhdx, with UEFI (generation 2)" : "vhdx or vhd");
    return 0;
}

static size_t boot_disk(const struct vm *vm)
{
    size_t best = 0;

    for (size_t i = 1; i < vm->disk_count; i++)
        if (vm->disks[i].boot_order != 0 &&
            (vm->disks[best].boot_order == 0 ||
             vm->disks[i].boot_order < vm->disks[best].boot_order))
            best = i;
    return best;
}

static int list_disks(const struct vm *vm, json_t *out, struct ds_error *err)
{
    struct places places = { .uefi = vm->firmware == VM_FIRMWARE_UEFI,
                             .ide_count = 1 }; /* the first is kept for boot */
    size_t boot = boot_disk(vm);
    int result = 0;

    for (size_t i = 0; result == 0 && i < vm->disk_count; i++) {
        const struct vm_disk *disk = &vm->disks[i];
        autofree char *path = NULL;
        json_t *one = json_object();

        json_array_append_new(out, one);
        result = check_disk(vm, disk, err);
        if (result == 0)
            result = place_disk(&places, disk, i == boot, one, err);
        path = hyperv_backward(disk->path != NULL ? disk->path : "");
        if (result == 0 &&
            json_object_set_new(one, "path", json_string(path)) != 0)
            result =
                fail(err, DS_ERR_ARG, "disk %s: path is no UTF-8", disk->name);
    }
    return result;
}

static int count_nics(const struct vm *vm, struct ds_error *err)
{
    size_t legacy = 0;

    for (size_t i = 0; i < vm->nic_count; i++)
        legacy += text_same(vm->nics[i].model, "tulip");
    if (legacy > LEGACY_NIC_COUNT_MAX)
        return fail(err, DS_ERR_LIMIT,
                    "legacy network adapters, have %zu expect at most %d",
                    legacy, LEGACY_NIC_COUNT_MAX);
    if (vm->nic_count - legacy > NIC_COUNT_MAX)
        return fail(err, DS_ERR_LIMIT,
                    "network adapters, have %zu expect at most %d",
                    vm->nic_count - legacy, NIC_COUNT_MAX);
    return 0;
}

static int list_nics(const struct vm *vm, json_t *out, struct ds_error *err)
{
    for (size_t i = 0; i < vm->nic_count; i++) {
        const struct vm_nic *nic = &vm->nics[i];
        autofree char *name = text_format("Network Adapter %zu", i + 1);
        char mac[13] = "";
        bool legacy = text_same(nic->model, "tulip");
        size_t count = 0;
        json_t *one;

        if (nic->link != VM_LINK_NETWORK)
            return fail(err, DS_ERR_UNSUPPORTED,
                        "network interface %zu: have %s expect the name of a "
                        "virtual switch",
                        i + 1, nic->network);
        if (legacy && vm->firmware == VM_FIRMWARE_UEFI)
            return fail(err, DS_ERR_UNSUPPORTED,
                        "network interface %zu: generation 2 has no legacy "
                        "adapter",
                        i + 1);
        for (const char *at = nic->mac; *at != '\0' && count < 12; at++)
            if (*at != ':')
                mac[count++] = (char)toupper((unsigned char)*at);
        one = json_pack("{s:s, s:s, s:s, s:i, s:b}", "name", name, "network",
                        nic->unplugged ? "" : nic->network, "mac", mac, "vlan",
                        (int)nic->vlan, "legacy", legacy);
        if (json_array_append_new(out, one) != 0)
            return fail(err, DS_ERR_ARG,
                        "network interface %zu: network is no UTF-8", i + 1);
    }
    return 0;
}

/* Which certificates the firmware trusts: Windows' own, or those that sign
 * the shims of other systems. */
static const char *secure_boot_template(const struct vm *vm)
{
    return vm->guest_os != NULL && strcasestr(vm->guest_os, "win") != NULL
               ? "MicrosoftWindows"
               : "MicrosoftUEFICertificateAuthority";
}

int hyperv_define_request(const struct vm *vm, json_t **out,
                          struct ds_error *err)
{
    autofree char *temporary = text_format(HYPERV_TEMPORARY "%s", vm->name);
    bool uefi = vm->firmware == VM_FIRMWARE_UEFI;
    json_t *disks = json_array(), *nics = json_array();
    json_t *request = json_pack(
        "{s:s, s:s, s:s, s:i, s:i, s:I, s:b, s:s, s:b, s:i, s:o, s:o}", "name",
        vm->name, "temporary", temporary, "notes",
        vm->description != NULL ? vm->description : "", "generation",
        uefi ? 2 : 1, "cpus", (int)vm->cpu_count, "memory",
        (json_int_t)vm->memory_bytes, "secure_boot", vm->secure_boot,
        "template", secure_boot_template(vm), "tpm", vm->tpm != VM_TPM_NONE,
        "boot_index", (int)boot_disk(vm), "disks", disks, "nics", nics);
    int result = 0;

    if (vm->memory_bytes % MEMORY_STEP_BYTES != 0)
        result = fail(err, DS_ERR_UNSUPPORTED,
                      "memory, have %" PRIu64 " bytes expect a multiple of "
                      "2 MiB",
                      vm->memory_bytes);
    else if (!uefi && vm->tpm != VM_TPM_NONE)
        result = fail(err, DS_ERR_UNSUPPORTED,
                      "a TPM is for VMs with UEFI (generation 2) only");
    if (result == 0 && request != NULL)
        result = list_disks(vm, disks, err);
    if (result == 0)
        result = count_nics(vm, err);
    if (result == 0 && request != NULL)
        result = list_nics(vm, nics, err);
    if (result == 0 && request == NULL)
        result = fail(err, DS_ERR_ARG, "a name is no UTF-8");
    if (result == 0)
        *out = steal(&request);
    json_decref(request);
    return result;
}
