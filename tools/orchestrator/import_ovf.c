/* SPDX-License-Identifier: Apache-2.0 */
/* OVF (DSP0243, 1.x and 2.x) as a vm: one virtual system, its hardware items
 * by their CIM resource types. */
#include "import.h"
#include "xml.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* CIM_ResourceAllocationSettingData.ResourceType */
enum resource {
    RESOURCE_OTHER = 1,
    RESOURCE_PROCESSOR = 3,
    RESOURCE_MEMORY = 4,
    RESOURCE_IDE = 5,
    RESOURCE_SCSI = 6,
    RESOURCE_ETHERNET = 10,
    RESOURCE_FLOPPY = 14,
    RESOURCE_CD = 15,
    RESOURCE_DVD = 16,
    RESOURCE_DISK = 17,
    RESOURCE_STORAGE = 20 /* AHCI and NVMe, by its subtype */
};

/* More than the devices that a VM may have, in any of its configurations. */
#define ITEM_COUNT_MAX 1024

struct ovf {
    const struct xml *envelope, *system, *hardware;
    const char *configuration; /* that is meant; NULL: there are none */
    const struct xml *items[ITEM_COUNT_MAX]; /* what holds in it */
    size_t item_count;
};

static int wrong(const struct xml *at, const char *what, const char *have,
                 const char *expected, struct ds_error *err)
{
    return fail(err, DS_ERR_CORRUPT, "ovf: line %u: %s, have %.60s expect %s",
                at->line, what, have != NULL ? have : "nothing", expected);
}

static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    while (list != NULL && *list != '\0') {
        size_t next = strcspn(list, " ");

        if (next == length && strncmp(list, word, length) == 0)
            return true;
        list += next + (list[next] != '\0');
    }
    return false;
}

/* -- items ---------------------------------------------------------------- */

static bool is_item(const struct xml *at)
{
    return strcmp(at->name, "Item") == 0 ||
           strcmp(at->name, "StorageItem") == 0 ||
           strcmp(at->name, "EthernetPortItem") == 0;
}

/* Whether the item holds in our configuration and is a value, not one end of
 * a range. */
static bool holds(const struct ovf *ovf, const struct xml *item)
{
    const char *list = xml_attribute(item, "configuration");

    return is_item(item) && xml_attribute(item, "bound") == NULL &&
           (list == NULL ||
            (ovf->configuration != NULL && has_word(list, ovf->configuration)));
}

/* An item of a configuration stands in place of the common one with its
 * number. */
static bool is_replaced(const struct ovf *ovf, const struct xml *item)
{
    const char *number = xml_text(item, "InstanceID");

    if (xml_attribute(item, "configuration") != NULL || number == NULL)
        return false;
    for (size_t i = 0; i < ovf->item_count; i++)
        if (xml_attribute(ovf->items[i], "configuration") != NULL &&
            text_same(xml_text(ovf->items[i], "InstanceID"), number))
            return true;
    return false;
}

/* Once: who looks through them for each disk would do so for minutes, in a
 * text that is made for it. */
static int find_items(struct ovf *ovf, struct ds_error *err)
{
    const struct xml *at = ovf->hardware->first;
    size_t kept = 0;

    for (; at != NULL; at = at->next) {
        if (!holds(ovf, at))
            continue;
        if (ovf->item_count == ITEM_COUNT_MAX)
            return fail(err, DS_ERR_LIMIT, "ovf: line %u: more than %d items",
                        at->line, ITEM_COUNT_MAX);
        ovf->items[ovf->item_count++] = at;
    }
    /* In place: what replaces is never replaced, and so is there to the end. */
    for (size_t i = 0; i < ovf->item_count; i++)
        if (!is_replaced(ovf, ovf->items[i]))
            ovf->items[kept++] = ovf->items[i];
    ovf->item_count = kept;
    return 0;
}

static uint64_t type_of(const struct xml *item)
{
    uint64_t type = 0;

    return xml_number(xml_text(item, "ResourceType"), &type) ? type : 0;
}

static const struct xml *item_with_number(const struct ovf *ovf,
                                          const char *number)
{
    for (size_t i = 0; i < ovf->item_count; i++)
        if (text_same(xml_text(ovf->items[i], "InstanceID"), number))
            return ovf->items[i];
    return NULL;
}

/* -- processors and memory ------------------------------------------------ */

static int quantity_of(const struct xml *item, const char *what, uint64_t most,
                       uint64_t *out, struct ds_error *err)
{
    const char *text = xml_text(item, "VirtualQuantity");

    if (xml_number(text, out) && *out >= 1 && *out <= most)
        return 0;
    return wrong(item, what, text, "a number that is possible", err);
}

static int read_processor(const struct xml *item, struct vm *vm,
                          struct ds_error *err)
{
    const char *text = xml_text(item, "CoresPerSocket");
    uint64_t count, cores;
    int result = quantity_of(item, "CPUs", VM_CPU_COUNT_MAX, &count, err);

    if (result != 0)
        return result;
    vm->cpu_count = (unsigned)count;
    if (text == NULL)
        return 0;
    if (!xml_number(text, &cores) || cores == 0 || count % cores != 0)
        return wrong(item, "CoresPerSocket", text, "a divisor of the CPUs",
                     err);
    vm->socket_count = (unsigned)(count / cores);
    vm->core_count = (unsigned)cores;
    vm->thread_count = 1;
    return 0;
}

/* "byte * 2^20", and the words that were written before 1.0. */
static bool unit_of(const char *text, uint64_t *out)
{
    unsigned power;
    int end = 0;

    if (text == NULL || strcasecmp(text, "MegaBytes") == 0 ||
        strcasecmp(text, "MB") == 0) {
        *out = UINT64_C(1) << 20;
        return true;
    }
    if (strcasecmp(text, "GigaBytes") == 0) {
        *out = UINT64_C(1) << 30;
        return true;
    }
    if (strcmp(text, "byte") == 0) {
        *out = 1;
        return true;
    }
    if (sscanf(text, " byte * 2 ^ %2u%n", &power, &end) != 1 ||
        text[end] != '\0' || power > 50)
        return false;
    *out = UINT64_C(1) << power;
    return true;
}

static int read_memory(const struct xml *item, struct vm *vm,
                       struct ds_error *err)
{
    const char *text = xml_text(item, "AllocationUnits");
    uint64_t count, unit;
    int result = quantity_of(item, "memory", UINT64_MAX, &count, err);

    if (result != 0)
        return result;
    if (!unit_of(text, &unit))
        return wrong(item, "AllocationUnits", text, "byte * 2^N", err);
    if (__builtin_mul_overflow(count, unit, &vm->memory_bytes))
        return wrong(item, "memory", xml_text(item, "VirtualQuantity"),
                     "a number that is possible", err);
    return 0;
}

/* -- disks ---------------------------------------------------------------- */

static const struct xml *by_id(const struct xml *at, const char *attribute,
                               const char *id)
{
    while (at != NULL && !text_same(xml_attribute(at, attribute), id))
        at = xml_next(at);
    return at;
}

/* The parent's kind says which bus the disk is on. */
static int read_bus(const struct ovf *ovf, const struct xml *item,
                    struct vm_disk *disk, struct ds_error *err)
{
    static const struct {
        const char *subtype;
        const char *model;
    } models[] = {
        { "lsilogic", "lsilogic" },
        { "lsilogicsas", "lsisas1068" },
        { "buslogic", "buslogic" },
        { "VirtualSCSI", "vmpvscsi" },
    };
    const char *number = xml_text(item, "Parent");
    const struct xml *parent = item_with_number(ovf, number);
    const char *subtype = xml_text(parent, "ResourceSubType");

    if (parent == NULL)
        return wrong(item, "Parent of a disk", number, "a controller", err);
    switch (type_of(parent)) {
    case RESOURCE_IDE:
        disk->bus = VM_BUS_IDE;
        return 0;
    case RESOURCE_STORAGE:
        disk->bus = subtype != NULL && strcasestr(subtype, "nvme") != NULL
                        ? VM_BUS_NVME
                        : VM_BUS_SATA;
        return 0;
    case RESOURCE_SCSI:
        break;
    default:
        return wrong(parent, "controller's ResourceType",
                     xml_text(parent, "ResourceType"), "5, 6 or 20", err);
    }
    disk->bus = VM_BUS_SCSI;
    for (size_t i = 0; subtype != NULL && i < ARRAY_COUNT(models); i++)
        if (strcasecmp(models[i].subtype, subtype) == 0)
            disk->controller = text_copy(models[i].model);
    return subtype == NULL || disk->controller != NULL
               ? 0
               : fail(err, DS_ERR_UNSUPPORTED,
                      "ovf: line %u: SCSI controller, have %.60s expect "
                      "lsilogic, lsilogicsas, buslogic or VirtualSCSI",
                      parent->line, subtype);
}

/* "ovf:/disk/vmdisk1"; OVF 1.0 drafts have "/disk/vmdisk1". */
static int read_member(const struct ovf *ovf, const struct xml *item,
                       struct vm_disk *disk, struct ds_error *err)
{
    const char *resource = xml_text(item, "HostResource");
    const char *at = resource;
    const struct xml *described;

    if (text_begins(at, "ovf:"))
        at += 4;
    if (text_begins(at, "/file/"))
        return fail(err, DS_ERR_UNSUPPORTED,
                    "ovf: line %u: disk %.60s is a file without a format",
                    item->line, resource);
    if (!text_begins(at, "/disk/"))
        return wrong(item, "HostResource of a disk", resource,
                     "ovf:/disk/ and an id", err);
    described =
        by_id(xml_at(ovf->envelope, "DiskSection/Disk"), "diskId", at + 6);
    if (described == NULL)
        return wrong(item, "HostResource of a disk", resource,
                     "the id of a Disk in the DiskSection", err);
    if (xml_attribute(described, "fileRef") == NULL)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "ovf: line %u: disk %.60s is empty, to be made anew: add "
                    "it to the target afterwards",
                    described->line, at + 6);
    disk->member = text_copy(at + 6);
    return 0;
}

static int read_disk(const struct ovf *ovf, const struct xml *item,
                     struct vm *vm, struct ds_error *err)
{
    struct vm_disk *disk;
    int result = vm_add_disk(vm, &disk, err);

    if (result != 0)
        return result;
    text_set(&disk->format, "ova");
    text_set(&disk->name, xml_text(item, "ElementName"));
    if (disk->name == NULL)
        disk->name = text_format("disk%zu", vm->disk_count);
    result = read_bus(ovf, item, disk, err);
    for (size_t i = 0; i + 1 < vm->disk_count; i++)
        disk->unit_index += vm->disks[i].bus == disk->bus;
    return result != 0 ? result : read_member(ovf, item, disk, err);
}

/* -- networks ------------------------------------------------------------- */

static const char *nic_model(const char *subtype)
{
    static const struct {
        const char *subtype;
        const char *model;
    } models[] = {
        { "e1000", "e1000" },     { "e1000e", "e1000e" },
        { "vmxnet3", "vmxnet3" }, { "vmxnet2", "vmxnet2" },
        { "vmxnet", "vmxnet" },   { "pcnet32", "pcnet" },
        { "virtio", "virtio" },
    };

    for (size_t i = 0; subtype != NULL && i < ARRAY_COUNT(models); i++)
        if (strcasecmp(models[i].subtype, subtype) == 0)
            return models[i].model;
    return NULL;
}

static int read_nic(const struct xml *item, struct vm *vm, struct ds_error *err)
{
    const char *mac = xml_text(item, "Address");
    const char *connected = xml_text(item, "AutomaticAllocation");
    struct vm_nic *nic;
    int result = vm_add_nic(vm, &nic, err);

    if (result != 0)
        return result;
    nic->link = VM_LINK_NETWORK;
    text_set(&nic->network, xml_text(item, "Connection"));
    text_set(&nic->model, nic_model(xml_text(item, "ResourceSubType")));
    nic->unplugged = connected != NULL && strcasecmp(connected, "false") == 0;
    if (nic->network == NULL || nic->network[0] == '\0')
        return wrong(item, "Connection of a network interface", nic->network,
                     "a network's name", err);
    if (mac == NULL || mac[0] == '\0')
        return 0;
    return vm_mac_parse(mac, nic->mac, err) == 0
               ? 0
               : fail_within(err, "ovf: line %u", item->line);
}

static int read_item(const struct ovf *ovf, const struct xml *item,
                     struct vm *vm, struct ds_error *err)
{
    switch (type_of(item)) {
    case RESOURCE_PROCESSOR:
        return read_processor(item, vm, err);
    case RESOURCE_MEMORY:
        return read_memory(item, vm, err);
    case RESOURCE_DISK:
        return read_disk(ovf, item, vm, err);
    case RESOURCE_ETHERNET:
        return read_nic(item, vm, err);
    case RESOURCE_FLOPPY:
    case RESOURCE_CD:
    case RESOURCE_DVD:
        vm->removable_count++;
        return 0;
    default:
        return 0; /* controllers are met through their disks */
    }
}

/* -- the whole ------------------------------------------------------------ */

/* VMware's settings have keys of their own. */
static const char *config_of(const struct ovf *ovf, const char *key)
{
    const struct xml *at = ovf->hardware->first;

    for (; at != NULL; at = at->next)
        if ((strcmp(at->name, "Config") == 0 ||
             strcmp(at->name, "ExtraConfig") == 0) &&
            text_same(xml_attribute(at, "key"), key))
            return xml_attribute(at, "value");
    return NULL;
}

static int read_firmware(const struct ovf *ovf, struct vm *vm,
                         struct ds_error *err)
{
    const char *firmware = config_of(ovf, "firmware");
    const char *secure = config_of(ovf, "bootOptions.efiSecureBootEnabled");

    if (firmware != NULL && strcasecmp(firmware, "efi") == 0)
        vm->firmware = VM_FIRMWARE_UEFI;
    else if (firmware != NULL && strcasecmp(firmware, "bios") != 0)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "ovf: firmware, have %.40s expect bios or efi", firmware);
    vm->secure_boot = vm->firmware == VM_FIRMWARE_UEFI && secure != NULL &&
                      strcasecmp(secure, "true") == 0;
    return 0;
}

static void read_words(const struct ovf *ovf, struct vm *vm)
{
    const char *name = xml_text(ovf->system, "Name");
    const struct xml *os = xml_at(ovf->system, "OperatingSystemSection");

    text_set(&vm->name, name != NULL && name[0] != '\0'
                            ? name
                            : xml_attribute(ovf->system, "id"));
    text_set(&vm->description,
             xml_text(ovf->system, "AnnotationSection/Annotation"));
    text_set(&vm->guest_os, xml_attribute(os, "osType"));
    text_set(&vm->arch, "x86_64");
}

static const char *default_configuration(const struct xml *envelope)
{
    const struct xml *first =
        xml_at(envelope, "DeploymentOptionSection/Configuration");
    const struct xml *at = by_id(first, "default", "true");

    if (at == NULL)
        at = by_id(first, "default", "1");
    return xml_attribute(at != NULL ? at : first, "id");
}

static int find_system(const struct xml *envelope, struct ovf *ovf,
                       struct ds_error *err)
{
    *ovf = (struct ovf){ .envelope = envelope };
    if (strcmp(envelope->name, "Envelope") != 0)
        return wrong(envelope, "element", envelope->name, "Envelope", err);
    ovf->system = xml_at(envelope, "VirtualSystem");
    if (ovf->system == NULL &&
        xml_at(envelope, "VirtualSystemCollection") != NULL)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "ovf: a collection of virtual systems: export them one by "
                    "one");
    if (ovf->system == NULL)
        return fail(err, DS_ERR_CORRUPT, "ovf: has no VirtualSystem");
    ovf->hardware = xml_at(ovf->system, "VirtualHardwareSection");
    if (ovf->hardware == NULL)
        return fail(err, DS_ERR_CORRUPT, "ovf: has no VirtualHardwareSection");
    if (xml_next(ovf->hardware) != NULL)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "ovf: line %u: more than one VirtualHardwareSection",
                    xml_next(ovf->hardware)->line);
    ovf->configuration = default_configuration(envelope);
    return find_items(ovf, err);
}

static int read_system(const struct ovf *ovf, struct vm *vm,
                       struct ds_error *err)
{
    int result = read_firmware(ovf, vm, err);

    read_words(ovf, vm);
    for (size_t i = 0; result == 0 && i < ovf->item_count; i++)
        result = read_item(ovf, ovf->items[i], vm, err);
    if (result != 0)
        return result;
    if (vm->cpu_count == 0)
        return fail(err, DS_ERR_CORRUPT, "ovf: no Item of CPUs");
    if (vm->memory_bytes == 0)
        return fail(err, DS_ERR_CORRUPT, "ovf: no Item of memory");
    return 0;
}

int import_ovf(const char *text, size_t length_bytes, struct vm *out,
               struct ds_error *err)
{
    autoxml struct xml *envelope = NULL;
    struct vm vm = { 0 };
    struct ovf ovf;
    int result = xml_parse(text, length_bytes, NULL, &envelope, err);

    if (result == 0)
        result = find_system(envelope, &ovf, err);
    if (result == 0)
        result = read_system(&ovf, &vm, err);
    if (result != 0)
        vm_free(&vm);
    else
        *out = vm;
    return result;
}
