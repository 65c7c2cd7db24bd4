/* SPDX-License-Identifier: Apache-2.0 */
/* A VMX as a vm. Keys that say nothing of what a VM's way needs are passed
 * over; what would be lost or is not understood is an error. */
#include "import.h"
#include "vmx.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Of the longest name of a device's presence, "scsi9999:9999.present". */
#define KEY_BYTES 32

/* A device's place: "scsi0:1". */
struct slot {
    enum vm_bus bus;
    unsigned controller, unit;
    unsigned line;
};

/* The buses in the order in which VMware boots from them. Units: what its
 * controllers have at most (64: PVSCSI, NVMe). */
static const struct {
    const char *name;
    enum vm_bus bus;
    unsigned controllers, units;
} buses[] = {
    { "scsi", VM_BUS_SCSI, 4, 64 },
    { "sata", VM_BUS_SATA, 4, 30 },
    { "nvme", VM_BUS_NVME, 4, 64 },
    { "ide", VM_BUS_IDE, 2, 2 },
};

/* -- numbers and words ---------------------------------------------------- */

static int number_of(const struct vmx *vmx, const char *key, uint64_t least,
                     uint64_t most, uint64_t standard, uint64_t *out,
                     struct ds_error *err)
{
    const struct vmx_entry *entry = vmx_find(vmx, key);
    uint64_t number = 0;
    const char *at;

    *out = standard;
    if (entry == NULL)
        return 0;
    for (at = entry->value; isdigit((unsigned char)*at) && number <= most; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    if (*at != '\0' || at == entry->value || number < least || number > most)
        return fail(err, DS_ERR_CORRUPT,
                    "vmx: line %u: %s, have %.40s expect %" PRIu64
                    " to %" PRIu64,
                    entry->line, key, entry->value, least, most);
    *out = number;
    return 0;
}

static unsigned line_of(const struct vmx *vmx, const char *key)
{
    const struct vmx_entry *entry = vmx_find(vmx, key);

    return entry != NULL ? entry->line : 0;
}

/* "56 4d 0a ...-.. .." as a UUID. */
static void read_uuid(const struct vmx *vmx, struct vm *vm)
{
    const char *text = vmx_get(vmx, "uuid.bios");
    char digits[33] = "";
    size_t count = 0;

    for (; text != NULL && *text != '\0' && count < 32; text++)
        if (isxdigit((unsigned char)*text))
            digits[count++] = (char)tolower((unsigned char)*text);
    if (count == 32)
        vm->uuid = text_format("%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8,
                               digits + 12, digits + 16, digits + 20);
}

static int read_processors(const struct vmx *vmx, struct vm *vm,
                           struct ds_error *err)
{
    uint64_t cpus, cores, mebibytes;
    int result = number_of(vmx, "numvcpus", 1, VM_CPU_COUNT_MAX, 1, &cpus, err);

    if (result == 0)
        result = number_of(vmx, "cpuid.coresPerSocket", 1, VM_CPU_COUNT_MAX, 0,
                           &cores, err);
    if (result == 0)
        result =
            number_of(vmx, "memsize", 4, UINT64_C(1) << 30, 0, &mebibytes, err);
    if (result != 0)
        return result;
    if (mebibytes == 0)
        return fail(err, DS_ERR_CORRUPT, "vmx: has no memsize");
    vm->memory_bytes = mebibytes << 20;
    vm->cpu_count = (unsigned)cpus;
    if (cores == 0)
        return 0;
    if (cpus % cores != 0)
        return fail(err, DS_ERR_CORRUPT,
                    "vmx: line %u: cpuid.coresPerSocket, have %" PRIu64
                    " expect a divisor of %" PRIu64 " CPUs",
                    line_of(vmx, "cpuid.coresPerSocket"), cores, cpus);
    vm->socket_count = (unsigned)(cpus / cores);
    vm->core_count = (unsigned)cores;
    vm->thread_count = 1;
    return 0;
}

static int read_firmware(const struct vmx *vmx, struct vm *vm,
                         struct ds_error *err)
{
    const char *firmware = vmx_get(vmx, "firmware");

    if (firmware != NULL && strcasecmp(firmware, "efi") == 0)
        vm->firmware = VM_FIRMWARE_UEFI;
    else if (firmware != NULL && strcasecmp(firmware, "bios") != 0)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "vmx: line %u: firmware, have %.40s expect bios or efi",
                    line_of(vmx, "firmware"), firmware);
    vm->secure_boot = vm->firmware == VM_FIRMWARE_UEFI &&
                      vmx_true(vmx, "uefi.secureBoot.enabled");
    if (vmx_true(vmx, "vtpm.present"))
        vm->tpm = VM_TPM_2_0;
    return 0;
}

/* -- disks ---------------------------------------------------------------- */

/* Whether `key` is "scsi0:1.present" or the like. VMware looks keys up by their
 * names: "scsi00:1.present" is none. */
static bool is_slot(const char *key, struct slot *out, size_t *bus)
{
    for (*bus = 0; *bus < ARRAY_COUNT(buses); ++*bus) {
        const char *name = buses[*bus].name;
        size_t length = strlen(name);
        char exact[KEY_BYTES];

        if (strncasecmp(key, name, length) != 0 ||
            sscanf(key + length, "%4u:%4u", &out->controller, &out->unit) != 2)
            continue;
        snprintf(exact, sizeof(exact), "%s%u:%u.present", name, out->controller,
                 out->unit);
        if (strcasecmp(key, exact) == 0) {
            out->bus = buses[*bus].bus;
            return true;
        }
    }
    return false;
}

static size_t bus_order(enum vm_bus bus)
{
    size_t i = 0;

    while (i + 1 < ARRAY_COUNT(buses) && buses[i].bus != bus)
        i++;
    return i;
}

static int compare_slots(const void *left, const void *right)
{
    const struct slot *one = left, *other = right;
    size_t have = bus_order(one->bus), want = bus_order(other->bus);

    if (have != want)
        return have < want ? -1 : 1;
    if (one->controller != other->controller)
        return one->controller < other->controller ? -1 : 1;
    return (one->unit > other->unit) - (one->unit < other->unit);
}

/* All places in which something is, in VMware's order. */
static int find_slots(const struct vmx *vmx, struct slot **out, size_t *count,
                      struct ds_error *err)
{
    autofree struct slot *slots = need(VM_DISK_COUNT_MAX * sizeof(*slots));

    *count = 0;
    for (size_t i = 0; i < vmx->count; i++) {
        const struct vmx_entry *entry = &vmx->entries[i];
        struct slot slot = { .line = entry->line };
        size_t bus;

        if (!is_slot(entry->key, &slot, &bus) ||
            strcasecmp(entry->value, "true") != 0)
            continue;
        if (slot.controller >= buses[bus].controllers ||
            slot.unit >= buses[bus].units)
            return fail(err, DS_ERR_CORRUPT,
                        "vmx: line %u: have %.40s expect controllers 0 to %u "
                        "and units 0 to %u",
                        entry->line, entry->key, buses[bus].controllers - 1,
                        buses[bus].units - 1);
        if (*count == VM_DISK_COUNT_MAX)
            return fail(err, DS_ERR_LIMIT, "vmx: more than %d disks",
                        VM_DISK_COUNT_MAX);
        slots[(*count)++] = slot;
    }
    qsort(slots, *count, sizeof(*slots), compare_slots);
    *out = steal(&slots);
    return 0;
}

static int read_controller(const struct vmx *vmx, const struct slot *slot,
                           struct vm_disk *disk, struct ds_error *err)
{
    const char *bus = vm_bus_name(slot->bus);
    const char *model = vmx_get(vmx, "%s%u.virtualDev", bus, slot->controller);
    const char *shared = vmx_get(vmx, "%s%u.sharedBus", bus, slot->controller);

    if (slot->bus != VM_BUS_IDE &&
        !vmx_true(vmx, "%s%u.present", bus, slot->controller))
        return fail(err, DS_ERR_CORRUPT,
                    "vmx: line %u: %s is present, and its controller %s%u is "
                    "not",
                    slot->line, disk->name, bus, slot->controller);
    if (shared != NULL && strcasecmp(shared, "none") != 0)
        disk->shared = true;
    if (slot->bus != VM_BUS_SCSI || model == NULL)
        return 0;
    disk->controller = text_copy(vmx_controller_from(model));
    return disk->controller != NULL
               ? 0
               : fail(err, DS_ERR_UNSUPPORTED,
                      "vmx: scsi%u.virtualDev, have %.40s expect buslogic, "
                      "lsilogic, lsisas1068 or pvscsi",
                      slot->controller, model);
}

static int read_disk(const struct vmx *vmx, const struct slot *slot,
                     struct vm_disk *disk, struct ds_error *err)
{
    const char *mode = vmx_get(vmx, "%s.mode", disk->name);
    const char *sharing = vmx_get(vmx, "%s.sharing", disk->name);
    const char *redo = vmx_get(vmx, "%s.redo", disk->name);

    text_set(&disk->path, vmx_get(vmx, "%s.fileName", disk->name));
    text_set(&disk->format, "vmdk");
    if (disk->path == NULL || disk->path[0] == '\0')
        return fail(err, DS_ERR_CORRUPT, "vmx: line %u: %s has no fileName",
                    slot->line, disk->name);
    if (redo != NULL && redo[0] != '\0')
        return fail(err, DS_ERR_UNSUPPORTED,
                    "vmx: %s has a redo log, %.100s: commit it first",
                    disk->name, redo);
    if (mode != NULL && strncasecmp(mode, "independent", 11) == 0)
        disk->independent = true;
    if (sharing != NULL && strcasecmp(sharing, "multi-writer") == 0)
        disk->shared = true;
    return read_controller(vmx, slot, disk, err);
}

enum device { DEVICE_DISK, DEVICE_RAW, DEVICE_REMOVABLE, DEVICE_HOST };

static int device_of(const struct vmx *vmx, const char *name,
                     enum device *device, struct ds_error *err)
{
    static const struct {
        const char *type;
        enum device device;
    } types[] = {
        { "disk", DEVICE_DISK },
        { "scsi-hardDisk", DEVICE_DISK },
        { "ata-hardDisk", DEVICE_DISK },
        { "rawDisk", DEVICE_RAW },
        { "cdrom-image", DEVICE_REMOVABLE },
        { "cdrom-raw", DEVICE_REMOVABLE },
        { "atapi-cdrom", DEVICE_REMOVABLE },
        { "scsi-passthru", DEVICE_HOST },
    };
    const char *type = vmx_get(vmx, "%s.deviceType", name);

    *device = DEVICE_DISK;
    for (size_t i = 0; type != NULL && i < ARRAY_COUNT(types); i++) {
        if (strcasecmp(types[i].type, type) == 0) {
            *device = types[i].device;
            return 0;
        }
    }
    return type == NULL ? 0
                        : fail(err, DS_ERR_UNSUPPORTED,
                               "vmx: %s.deviceType, have %.40s expect a disk "
                               "or a CD drive",
                               name, type);
}

static int read_slot(const struct vmx *vmx, const struct slot *slot,
                     struct vm *vm, struct ds_error *err)
{
    autofree char *name = text_format("%s%u:%u", vm_bus_name(slot->bus),
                                      slot->controller, slot->unit);
    enum device device;
    struct vm_disk *disk;
    int result = device_of(vmx, name, &device, err);

    if (result != 0)
        return result;
    vm->removable_count += device == DEVICE_REMOVABLE;
    vm->passthrough_count += device == DEVICE_HOST;
    if (device == DEVICE_REMOVABLE || device == DEVICE_HOST)
        return 0;
    result = vm_add_disk(vm, &disk, err);
    if (result != 0)
        return result;
    disk->name = steal(&name);
    disk->bus = slot->bus;
    disk->source = device == DEVICE_RAW ? VM_SOURCE_DEVICE : VM_SOURCE_FILE;
    for (size_t i = 0; i + 1 < vm->disk_count; i++)
        disk->unit_index += vm->disks[i].bus == disk->bus;
    return read_disk(vmx, slot, disk, err);
}

/* "scsi0:1,scsi0:0": who is booted from first. */
static void read_boot_order(const struct vmx *vmx, struct vm *vm)
{
    autofree char *order = text_copy(vmx_get(vmx, "bios.hddOrder"));
    unsigned next = 1;
    char *rest = order;

    for (char *name; order != NULL && (name = strsep(&rest, ", ")) != NULL;)
        for (size_t i = 0; i < vm->disk_count; i++)
            if (strcasecmp(vm->disks[i].name, name) == 0 &&
                vm->disks[i].boot_order == 0)
                vm->disks[i].boot_order = next++;
}

static int read_disks(const struct vmx *vmx, struct vm *vm,
                      struct ds_error *err)
{
    autofree struct slot *slots = NULL;
    size_t count;
    int result = find_slots(vmx, &slots, &count, err);

    for (size_t i = 0; result == 0 && i < count; i++)
        result = read_slot(vmx, &slots[i], vm, err);
    if (result == 0)
        read_boot_order(vmx, vm);
    vm->removable_count += vmx_true(vmx, "floppy0.present");
    vm->removable_count += vmx_true(vmx, "floppy1.present");
    return result;
}

/* -- networks ------------------------------------------------------------- */

/* The key of the network map: a port group's name on ESXi; in the hosted
 * products the kind of connection, or the virtual network. */
static const char *network_of(const struct vmx *vmx, unsigned index)
{
    static const char *const keys[] = { "networkName", "dvs.portgroupId",
                                        "vnet", "connectionType" };

    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        const char *value = vmx_get(vmx, "ethernet%u.%s", index, keys[i]);

        if (value != NULL && value[0] != '\0')
            return value;
    }
    return "bridged";
}

/* A generated address may not have been generated yet. */
static int read_mac(const struct vmx *vmx, unsigned index, struct vm_nic *nic,
                    struct ds_error *err)
{
    const char *type = vmx_get(vmx, "ethernet%u.addressType", index);
    bool is_static = type != NULL && strcasecmp(type, "static") == 0;
    const char *mac = vmx_get(vmx, "ethernet%u.%s", index,
                              is_static ? "address" : "generatedAddress");

    if (mac == NULL && is_static)
        return fail(err, DS_ERR_CORRUPT,
                    "vmx: ethernet%u has addressType static and no address",
                    index);
    if (mac == NULL || mac[0] == '\0')
        return 0;
    return vm_mac_parse(mac, nic->mac, err) == 0
               ? 0
               : fail_within(err, "vmx: ethernet%u", index);
}

static int read_nic(const struct vmx *vmx, unsigned index, struct vm *vm,
                    struct ds_error *err)
{
    const char *connected = vmx_get(vmx, "ethernet%u.startConnected", index);
    const char *model = vmx_get(vmx, "ethernet%u.virtualDev", index);
    struct vm_nic *nic;
    int result = vm_add_nic(vm, &nic, err);

    if (result != 0)
        return result;
    nic->link = VM_LINK_NETWORK;
    text_set(&nic->network, network_of(vmx, index));
    text_set(&nic->model, model);
    nic->unplugged = connected != NULL && strcasecmp(connected, "false") == 0;
    return read_mac(vmx, index, nic, err);
}

/* By number, which is the order in which the guest finds them. */
static int read_nics(const struct vmx *vmx, struct vm *vm, struct ds_error *err)
{
    bool present[VM_NIC_COUNT_MAX] = { false };
    int result = 0;

    for (size_t i = 0; i < vmx->count; i++) {
        const struct vmx_entry *entry = &vmx->entries[i];
        unsigned index;
        char exact[KEY_BYTES];

        if (strncasecmp(entry->key, "ethernet", 8) != 0 ||
            sscanf(entry->key + 8, "%4u", &index) != 1)
            continue;
        snprintf(exact, sizeof(exact), "ethernet%u.present", index);
        if (strcasecmp(entry->key, exact) != 0)
            continue;
        if (index >= VM_NIC_COUNT_MAX)
            return fail(err, DS_ERR_LIMIT,
                        "vmx: line %u: have ethernet%u expect less than %d",
                        entry->line, index, VM_NIC_COUNT_MAX);
        present[index] = strcasecmp(entry->value, "true") == 0;
    }
    for (unsigned i = 0; result == 0 && i < VM_NIC_COUNT_MAX; i++)
        if (present[i])
            result = read_nic(vmx, i, vm, err);
    return result;
}

/* -- the whole ------------------------------------------------------------ */

/* States that its files alone do not tell. */
static int check_at_rest(const struct vmx *vmx, struct ds_error *err)
{
    const char *suspended = vmx_get(vmx, "checkpoint.vmState");

    if (vmx_get(vmx, "encryption.keySafe") != NULL ||
        vmx_get(vmx, "encryption.data") != NULL)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "vmx: the VM is encrypted: decrypt it where it comes from");
    if (suspended != NULL && suspended[0] != '\0')
        return fail(err, DS_ERR_REFUSED,
                    "vmx: the VM is suspended (%.100s): resume it and shut it "
                    "down",
                    suspended);
    return 0;
}

static void read_words(const struct vmx *vmx, struct vm *vm)
{
    const char *guest = vmx_get(vmx, "guestOS");

    text_set(&vm->name, vmx_get(vmx, "displayName"));
    text_set(&vm->description, vmx_get(vmx, "annotation"));
    text_set(&vm->guest_os, guest);
    text_set(&vm->arch, guest != NULL && strncasecmp(guest, "arm-", 4) == 0
                            ? "aarch64"
                            : "x86_64");
    read_uuid(vmx, vm);
    for (size_t i = 0; i < vmx->count; i++) {
        const struct vmx_entry *entry = &vmx->entries[i];

        if (strncasecmp(entry->key, "pciPassthru", 11) == 0 &&
            text_ends(entry->key, ".present") &&
            strcasecmp(entry->value, "true") == 0)
            vm->passthrough_count++;
    }
}

int import_vmx(const char *text, size_t length_bytes, struct vm *out,
               struct ds_error *err)
{
    autovmx struct vmx vmx = { 0 };
    struct vm vm = { 0 };
    int result = vmx_parse(text, length_bytes, &vmx, err);

    if (result == 0)
        result = check_at_rest(&vmx, err);
    if (result == 0)
        result = read_processors(&vmx, &vm, err);
    if (result == 0)
        result = read_firmware(&vmx, &vm, err);
    if (result == 0)
        read_words(&vmx, &vm);
    if (result == 0)
        result = read_disks(&vmx, &vm, err);
    if (result == 0)
        result = read_nics(&vmx, &vm, err);
    if (result != 0)
        vm_free(&vm);
    else
        *out = vm;
    return result;
}
