/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's domain XML to a vm. What of it a VM's way does not need stays in
 * vm->native, which a backup keeps. */
#include "vm.h"
#include "xml.h"

#include <inttypes.h>
#include <string.h>

static int number_at(const struct xml *at, const char *what, const char *text,
                     unsigned *out, struct ds_error *err)
{
    uint64_t number;

    if (text == NULL)
        return 0;
    if (!xml_number(text, &number) || number > UINT32_MAX)
        return fail(err, DS_ERR_CORRUPT,
                    "domain XML: line %u: %s, have %s expect a number",
                    at->line, what, text);
    *out = (unsigned)number;
    return 0;
}

/* libvirt's units of memory; without one it is KiB. */
static bool unit_bytes(const char *unit, uint64_t *out)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {
        { "b", 1 },
        { "bytes", 1 },
        { "KB", 1000 },
        { "k", 1024 },
        { "KiB", 1024 },
        { "MB", 1000000 },
        { "M", UINT64_C(1) << 20 },
        { "MiB", UINT64_C(1) << 20 },
        { "GB", 1000000000 },
        { "G", UINT64_C(1) << 30 },
        { "GiB", UINT64_C(1) << 30 },
        { "T", UINT64_C(1) << 40 },
        { "TiB", UINT64_C(1) << 40 },
    };

    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (text_same(unit != NULL ? unit : "KiB", units[i].name)) {
            *out = units[i].bytes;
            return true;
        }
    }
    return false;
}

static int read_memory(const struct xml *root, struct vm *vm,
                       struct ds_error *err)
{
    const struct xml *memory = xml_at(root, "memory");
    uint64_t number, unit;

    if (memory == NULL || !xml_number(memory->text, &number) ||
        !unit_bytes(xml_attribute(memory, "unit"), &unit) ||
        __builtin_mul_overflow(number, unit, &vm->memory_bytes))
        return fail(err, DS_ERR_CORRUPT,
                    "domain XML: memory, have %s expect a number and a unit",
                    memory != NULL ? memory->text : "nothing");
    return 0;
}

static int read_cpu(const struct xml *root, struct vm *vm, struct ds_error *err)
{
    const struct xml *cpu = xml_at(root, "cpu");
    const struct xml *topology = xml_at(cpu, "topology");
    const char *mode = xml_attribute(cpu, "mode");
    int result =
        number_at(root, "vcpu", xml_text(root, "vcpu"), &vm->cpu_count, err);

    if (vm->cpu_count == 0)
        vm->cpu_count = 1;
    text_set(&vm->cpu_model,
             text_begins(mode, "host") ? mode : xml_text(cpu, "model"));
    if (topology == NULL || result != 0)
        return result;
    result = number_at(topology, "sockets", xml_attribute(topology, "sockets"),
                       &vm->socket_count, err);
    if (result == 0)
        result = number_at(topology, "cores", xml_attribute(topology, "cores"),
                           &vm->core_count, err);
    if (result == 0)
        result =
            number_at(topology, "threads", xml_attribute(topology, "threads"),
                      &vm->thread_count, err);
    return result;
}

static bool has_feature(const struct xml *os, const char *name)
{
    const struct xml *feature = xml_at(os, "firmware/feature");

    for (; feature != NULL; feature = xml_next(feature))
        if (text_same(xml_attribute(feature, "name"), name) &&
            text_same(xml_attribute(feature, "enabled"), "yes"))
            return true;
    return false;
}

static void read_os(const struct xml *root, struct vm *vm)
{
    const struct xml *os = xml_at(root, "os");
    const struct xml *type = xml_at(os, "type");
    const struct xml *loader = xml_at(os, "loader");
    const char *tpm =
        xml_attribute(xml_at(root, "devices/tpm/backend"), "version");

    text_set(&vm->arch, xml_attribute(type, "arch"));
    text_set(&vm->machine, xml_attribute(type, "machine"));
    if (text_same(xml_attribute(os, "firmware"), "efi") ||
        text_same(xml_attribute(loader, "type"), "pflash"))
        vm->firmware = VM_FIRMWARE_UEFI;
    vm->secure_boot = text_same(xml_attribute(loader, "secure"), "yes") ||
                      has_feature(os, "secure-boot");
    text_set(&vm->nvram_path, xml_text(os, "nvram"));
    if (xml_at(root, "devices/tpm") != NULL)
        vm->tpm = text_same(tpm, "1.2") ? VM_TPM_1_2 : VM_TPM_2_0;
    vm->local_time =
        text_same(xml_attribute(xml_at(root, "clock"), "offset"), "localtime");
}

static const char *const source_attributes[] = { "file", "dev", "name",
                                                 "volume" };
static const char *const source_types[] = { "file", "block", "network",
                                            "volume" };

static enum vm_source read_source(const struct xml *element, char **path)
{
    const char *type = xml_attribute(element, "type");
    const struct xml *source = xml_at(element, "source");
    const char *socket = xml_attribute(xml_at(source, "host"), "socket");

    if (text_same(type, "network") && socket != NULL) {
        text_set(path, socket);
        return VM_SOURCE_REMOTE;
    }
    for (size_t i = 0; i < ARRAY_COUNT(source_types); i++) {
        if (text_same(type, source_types[i])) {
            text_set(path, xml_attribute(source, source_attributes[i]));
            return (enum vm_source)i;
        }
    }
    text_set(path, type);
    return VM_SOURCE_REMOTE;
}

/* libvirt's names of formats; the engine calls one of them otherwise. */
static const char *engine_format(const char *type)
{
    return text_same(type, "vpc") ? "vhd" : type;
}

static void read_controller(const struct xml *root, const struct xml *element,
                            struct vm_disk *disk)
{
    const struct xml *at = xml_at(root, "devices/controller");
    const char *index = xml_attribute(xml_at(element, "address"), "controller");

    for (; at != NULL; at = xml_next(at)) {
        const char *have = xml_attribute(at, "index");

        if (text_same(xml_attribute(at, "type"), vm_bus_name(disk->bus)) &&
            text_same(have != NULL ? have : "0", index != NULL ? index : "0"))
            text_set(&disk->controller, xml_attribute(at, "model"));
    }
}

static int read_disk(const struct xml *root, const struct xml *element,
                     struct vm *vm, struct ds_error *err)
{
    const struct xml *target = xml_at(element, "target");
    const char *device = xml_attribute(element, "device");
    const char *bus = xml_attribute(target, "bus");
    struct vm_disk *disk;
    int result;

    if (device != NULL && strcmp(device, "disk") != 0 &&
        strcmp(device, "lun") != 0) {
        vm->removable_count++; /* a medium is no disk of the VM */
        return 0;
    }
    result = vm_add_disk(vm, &disk, err);
    if (result != 0)
        return result;
    disk->source = read_source(element, &disk->path);
    text_set(&disk->format,
             engine_format(xml_attribute(xml_at(element, "driver"), "type")));
    text_set(&disk->name, xml_attribute(target, "dev"));
    text_set(&disk->serial, xml_text(element, "serial"));
    disk->read_only = xml_at(element, "readonly") != NULL;
    disk->shared = xml_at(element, "shareable") != NULL;
    if (bus != NULL && !vm_bus_find(bus, &disk->bus))
        return fail(err, DS_ERR_UNSUPPORTED,
                    "domain XML: line %u: disk %s: bus %s is not known",
                    element->line, disk->name, bus);
    read_controller(root, element, disk);
    for (size_t i = 0; i + 1 < vm->disk_count; i++)
        disk->unit_index += vm->disks[i].bus == disk->bus;
    return number_at(element, "boot order",
                     xml_attribute(xml_at(element, "boot"), "order"),
                     &disk->boot_order, err);
}

static void read_link(const struct xml *element, struct vm_nic *nic)
{
    const char *type = xml_attribute(element, "type");
    const struct xml *source = xml_at(element, "source");

    if (text_same(type, "network")) {
        nic->link = VM_LINK_NETWORK;
        text_set(&nic->network, xml_attribute(source, "network"));
    } else if (text_same(type, "bridge")) {
        nic->link = VM_LINK_BRIDGE;
        text_set(&nic->network, xml_attribute(source, "bridge"));
    } else if (text_same(type, "user")) {
        nic->link = VM_LINK_USER;
        text_set(&nic->network, "user");
    } else {
        const char *device = xml_attribute(source, "dev");

        nic->link = VM_LINK_OTHER;
        text_set(&nic->network, device != NULL ? device : type);
    }
}

static int read_nic(const struct xml *element, struct vm *vm,
                    struct ds_error *err)
{
    const char *mac = xml_attribute(xml_at(element, "mac"), "address");
    const struct xml *tag = xml_at(element, "vlan/tag");
    struct vm_nic *nic;
    int result = vm_add_nic(vm, &nic, err);

    if (result != 0)
        return result;
    read_link(element, nic);
    text_set(&nic->model, xml_attribute(xml_at(element, "model"), "type"));
    nic->unplugged =
        text_same(xml_attribute(xml_at(element, "link"), "state"), "down");
    if (mac != NULL)
        result = vm_mac_parse(mac, nic->mac, err);
    if (result == 0)
        result = number_at(element, "vlan", xml_attribute(tag, "id"),
                           &nic->vlan, err);
    if (result == 0)
        result = number_at(element, "boot order",
                           xml_attribute(xml_at(element, "boot"), "order"),
                           &nic->boot_order, err);
    return result;
}

static int read_devices(const struct xml *root, struct vm *vm,
                        struct ds_error *err)
{
    const struct xml *devices = xml_at(root, "devices");
    const struct xml *at = devices != NULL ? devices->first : NULL;
    int result = 0;

    for (; at != NULL && result == 0; at = at->next) {
        const char *port = xml_attribute(xml_at(at, "target"), "name");

        if (strcmp(at->name, "disk") == 0)
            result = read_disk(root, at, vm, err);
        else if (strcmp(at->name, "interface") == 0)
            result = read_nic(at, vm, err);
        else if (strcmp(at->name, "hostdev") == 0)
            vm->passthrough_count++;
        else if (strcmp(at->name, "channel") == 0 &&
                 text_same(port, "org.qemu.guest_agent.0"))
            vm->agent = true;
    }
    return result;
}

static int read_domain(const struct xml *root, struct vm *vm,
                       struct ds_error *err)
{
    int result;

    if (strcmp(root->name, "domain") != 0)
        return fail(err, DS_ERR_CORRUPT,
                    "domain XML: have element %s expect domain", root->name);
    text_set(&vm->name, xml_text(root, "name"));
    text_set(&vm->uuid, xml_text(root, "uuid"));
    text_set(&vm->description, xml_text(root, "description"));
    read_os(root, vm);
    result = read_memory(root, vm, err);
    if (result == 0)
        result = read_cpu(root, vm, err);
    return result != 0 ? result : read_devices(root, vm, err);
}

int vm_from_domain_xml(const char *text, struct vm *out, struct ds_error *err)
{
    autoxml struct xml *root = NULL;
    struct vm vm = { 0 };
    int result = xml_parse(text, strlen(text), NULL, &root, err);

    if (result == 0)
        result = read_domain(root, &vm, err);
    if (result == 0)
        text_set(&vm.native, text);
    if (result == 0)
        *out = vm;
    else
        vm_free(&vm);
    return result;
}
