/* SPDX-License-Identifier: Apache-2.0 */
/* A vm as a new VMX, of virtual hardware 13 (ESXi 6.5) or, with a TPM, 14. */
#include "vmx.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MEBIBYTE (UINT64_C(1) << 20)
/* VMware takes memory in these. */
#define MEMORY_STEP_BYTES (4 * MEBIBYTE)
/* vSphere 6.5, hardware features available with virtual machine compatibility
 * settings: so many NICs, and four controllers each of SCSI, SATA and NVMe. */
#define NIC_COUNT_MAX 10

/* Where the next disk of a bus goes. */
struct place {
    unsigned controller, unit;
    const char *model; /* of the controller */
    bool begun;
};

static void put(FILE *out, const char *key, const char *value)
{
    fprintf(out, "%s = \"", key);
    for (; *value != '\0'; value++) {
        unsigned char byte = (unsigned char)*value;

        if (byte < 0x20 || byte == '"' || byte == '|' || byte == 0x7f)
            fprintf(out, "|%02X", byte);
        else
            fputc(byte, out);
    }
    fprintf(out, "\"\n");
}

static void put_number(FILE *out, const char *key, uint64_t number)
{
    fprintf(out, "%s = \"%" PRIu64 "\"\n", key, number);
}

/* "name.key", where the name is a device's. */
static void put_of(FILE *out, const char *name, const char *key,
                   const char *value)
{
    autofree char *whole = text_format("%s.%s", name, key);

    put(out, whole, value);
}

static bool is_word(const char *text)
{
    for (; *text != '\0'; text++)
        if (!isalnum((unsigned char)*text) && *text != '-' && *text != '_')
            return false;
    return true;
}

/* -- the machine ---------------------------------------------------------- */

static void write_uuid(FILE *out, const char *uuid)
{
    char bytes[33] = "";
    size_t count = 0;

    for (; uuid != NULL && *uuid != '\0' && count < 32; uuid++)
        if (isxdigit((unsigned char)*uuid))
            bytes[count++] = (char)tolower((unsigned char)*uuid);
    if (count != 32)
        return;
    fprintf(out, "uuid.bios = \"");
    for (size_t i = 0; i < 16; i++)
        fprintf(out, "%s%.2s", i == 0 ? "" : i == 8 ? "-" : " ", bytes + 2 * i);
    fprintf(out, "\"\n");
}

static int write_machine(FILE *out, const struct vm *vm, struct ds_error *err)
{
    const char *guest = vm->guest_os;

    if (vm->memory_bytes == 0 || vm->memory_bytes % MEMORY_STEP_BYTES != 0)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "vmx: memory, have %" PRIu64 " bytes expect a multiple of "
                    "4 MiB",
                    vm->memory_bytes);
    fprintf(out, ".encoding = \"UTF-8\"\nconfig.version = \"8\"\n");
    put_number(out, "virtualHW.version", vm->tpm != VM_TPM_NONE ? 14 : 13);
    put(out, "displayName", vm->name);
    if (vm->description != NULL)
        put(out, "annotation", vm->description);
    put(out, "guestOS", guest != NULL && is_word(guest) ? guest : "other-64");
    put_number(out, "numvcpus", vm->cpu_count);
    if (vm->socket_count != 0)
        put_number(out, "cpuid.coresPerSocket",
                   (uint64_t)vm->core_count * vm->thread_count);
    put_number(out, "memsize", vm->memory_bytes / MEBIBYTE);
    put(out, "firmware", vm->firmware == VM_FIRMWARE_UEFI ? "efi" : "bios");
    if (vm->secure_boot)
        put(out, "uefi.secureBoot.enabled", "TRUE");
    if (vm->tpm != VM_TPM_NONE)
        put(out, "vtpm.present", "TRUE");
    write_uuid(out, vm->uuid);
    return 0;
}

/* The slots that devices sit in: without them ESXi has room for a few only. */
static void write_bridges(FILE *out)
{
    put(out, "pciBridge0.present", "TRUE");
    for (unsigned i = 4; i < 8; i++)
        fprintf(out,
                "pciBridge%u.present = \"TRUE\"\n"
                "pciBridge%u.virtualDev = \"pcieRootPort\"\n"
                "pciBridge%u.functions = \"8\"\n",
                i, i, i);
    put(out, "vmci0.present", "TRUE");
    put(out, "hpet0.present", "TRUE");
    put(out, "floppy0.present", "FALSE");
}

/* -- disks ---------------------------------------------------------------- */

static unsigned units_of(enum vm_bus bus)
{
    return bus == VM_BUS_SCSI   ? 16
           : bus == VM_BUS_SATA ? 30
           : bus == VM_BUS_NVME ? 15
                                : 2;
}

static unsigned controllers_of(enum vm_bus bus)
{
    return bus == VM_BUS_IDE ? 2 : 4;
}

static int model_of(const struct vm_disk *disk, const char **model,
                    struct ds_error *err)
{
    *model = "";
    if (disk->bus == VM_BUS_VIRTIO || disk->bus == VM_BUS_USB)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "vmx: disk %s: bus, have %s expect ide, sata, scsi or nvme",
                    disk->name, vm_bus_name(disk->bus));
    if (disk->bus != VM_BUS_SCSI)
        return 0;
    *model = disk->controller == NULL ? "lsilogic"
                                      : vmx_controller_to(disk->controller);
    return *model != NULL
               ? 0
               : fail(err, DS_ERR_UNSUPPORTED,
                      "vmx: disk %s: controller, have %s expect buslogic, "
                      "lsilogic, lsisas1068 or vmpvscsi",
                      disk->name, disk->controller);
}

/* The controller's own place on a SCSI bus is 7. */
static int take_place(struct place *place, enum vm_bus bus, const char *model,
                      bool *new_controller, struct ds_error *err)
{
    *new_controller = !place->begun;
    if (place->begun) {
        place->unit++;
        if (bus == VM_BUS_SCSI && place->unit == 7)
            place->unit++;
        if (place->unit == units_of(bus) || strcmp(place->model, model) != 0) {
            place->controller++;
            place->unit = 0;
            *new_controller = true;
        }
    }
    place->begun = true;
    place->model = model;
    return place->controller < controllers_of(bus)
               ? 0
               : fail(err, DS_ERR_LIMIT,
                      "vmx: more disks on the %s bus than %u controllers take",
                      vm_bus_name(bus), controllers_of(bus));
}

/* "[store] web/a.vmdk" is /vmfs/volumes/store/web/a.vmdk to the host. */
static char *file_name(const char *path, const char *directory)
{
    size_t length = strlen(directory);
    const char *bracket = path[0] == '[' ? strstr(path, "] ") : NULL;

    if (strncmp(path, directory, length) == 0 && path[length] == '/' &&
        strchr(path + length + 1, '/') == NULL)
        return text_copy(path + length + 1);
    if (bracket == NULL)
        return text_copy(path);
    return text_format("/vmfs/volumes/%.*s/%s", (int)(bracket - path - 1),
                       path + 1, bracket + 2);
}

static int write_disk(FILE *out, const struct vm_disk *disk,
                      const char *directory, struct place *places, char **name,
                      struct ds_error *err)
{
    const char *bus = vm_bus_name(disk->bus), *model;
    struct place *place = &places[disk->bus];
    autofree char *file = NULL, *controller = NULL;
    bool new_controller;
    int result = model_of(disk, &model, err);

    if (result == 0)
        result = take_place(place, disk->bus, model, &new_controller, err);
    if (result != 0)
        return result;
    if (!text_same(disk->format, "vmdk"))
        return fail(err, DS_ERR_UNSUPPORTED,
                    "vmx: disk %s: format, have %s expect vmdk", disk->name,
                    disk->format);
    controller = text_format("%s%u", bus, place->controller);
    if (new_controller && disk->bus != VM_BUS_IDE)
        put_of(out, controller, "present", "TRUE");
    if (new_controller && disk->bus == VM_BUS_SCSI)
        put_of(out, controller, "virtualDev", model);
    *name = text_format("%s:%u", controller, place->unit);
    file = file_name(disk->path, directory);
    put_of(out, *name, "present", "TRUE");
    if (disk->bus != VM_BUS_NVME)
        put_of(out, *name, "deviceType",
               disk->bus == VM_BUS_SCSI ? "scsi-hardDisk" : "ata-hardDisk");
    put_of(out, *name, "fileName", file);
    if (disk->independent)
        put_of(out, *name, "mode", "independent-persistent");
    if (disk->shared)
        put_of(out, *name, "sharing", "multi-writer");
    return 0;
}

static void write_boot_order(FILE *out, const struct vm *vm,
                             const struct texts *names)
{
    autofree char *order = text_copy("");

    for (unsigned want = 1; want <= vm->disk_count; want++) {
        for (size_t i = 0; i < vm->disk_count; i++) {
            char *longer;

            if (vm->disks[i].boot_order != want)
                continue;
            longer = text_format("%s%s%s", order, order[0] == '\0' ? "" : ",",
                                 names->items[i]);
            free(order);
            order = longer;
        }
    }
    if (order[0] != '\0')
        put(out, "bios.hddOrder", order);
}

static int write_disks(FILE *out, const struct vm *vm, const char *directory,
                       struct ds_error *err)
{
    struct place places[VM_BUS_COUNT] = { 0 };
    struct texts names = { 0 };
    int result = 0;

    for (size_t i = 0; result == 0 && i < vm->disk_count; i++) {
        autofree char *name = NULL;

        result = write_disk(out, &vm->disks[i], directory, places, &name, err);
        texts_add(&names, name);
    }
    if (result == 0)
        write_boot_order(out, vm, &names);
    texts_free(&names);
    return result;
}

/* -- networks ------------------------------------------------------------- */

static int write_nic(FILE *out, const struct vm_nic *nic, size_t index,
                     struct ds_error *err)
{
    static const char *const models[] = { "e1000",   "e1000e", "vmxnet3",
                                          "vmxnet2", "vmxnet", "vlance" };
    autofree char *name = text_format("ethernet%zu", index);
    const char *model = nic->model != NULL ? nic->model : "e1000";
    size_t i = 0;

    while (i < ARRAY_COUNT(models) && strcmp(models[i], model) != 0)
        i++;
    if (i == ARRAY_COUNT(models))
        return fail(err, DS_ERR_UNSUPPORTED,
                    "vmx: network interface %zu: model, have %s expect e1000, "
                    "e1000e, vmxnet3 ...",
                    index + 1, model);
    if (nic->vlan != 0)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "vmx: network interface %zu: VLAN %u is a port group's to "
                    "set, not a VM's",
                    index + 1, nic->vlan);
    put_of(out, name, "present", "TRUE");
    put_of(out, name, "virtualDev", model);
    if (nic->network != NULL)
        put_of(out, name, "networkName", nic->network);
    if (nic->unplugged)
        put_of(out, name, "startConnected", "FALSE");
    put_of(out, name, "addressType",
           nic->mac[0] != '\0' ? "static" : "generated");
    if (nic->mac[0] == '\0')
        return 0;
    put_of(out, name, "address", nic->mac);
    /* Static ones are else taken from 00:50:56:00 to 3f only. */
    put_of(out, name, "checkMACAddress", "FALSE");
    return 0;
}

int vmx_write(const struct vm *vm, const char *directory, char **out,
              struct ds_error *err)
{
    autofree char *text = NULL;
    size_t length;
    FILE *file = open_memstream(&text, &length);
    int result;

    if (file == NULL)
        return fail_memory(err);
    result = write_machine(file, vm, err);
    if (result == 0 && vm->nic_count > NIC_COUNT_MAX)
        result = fail(err, DS_ERR_LIMIT,
                      "vmx: network interfaces, have %zu expect at most %d",
                      vm->nic_count, NIC_COUNT_MAX);
    if (result == 0)
        write_bridges(file);
    if (result == 0)
        result = write_disks(file, vm, directory, err);
    for (size_t i = 0; result == 0 && i < vm->nic_count; i++)
        result = write_nic(file, &vm->nics[i], i, err);
    if (fclose(file) != 0 && result == 0)
        result = fail_memory(err);
    if (result == 0)
        *out = steal(&text);
    return result;
}
