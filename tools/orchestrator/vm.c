/* SPDX-License-Identifier: Apache-2.0 */
#include "vm.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

/* More has no hypervisor, and VMX cannot say it. */
#define MEMORY_BYTES_MAX (UINT64_C(1) << 50)
#define MEMORY_BYTES_MIN (UINT64_C(1) << 20)

/* -- members, once for copying, freeing and JSON -------------------------- */

enum member_type {
    MEMBER_TEXT,
    MEMBER_UNSIGNED,
    MEMBER_BYTES,
    MEMBER_YES,
    MEMBER_ENUM,
    MEMBER_MAC
};

struct member {
    const char *name;
    enum member_type type;
    size_t offset;
    int bound; /* ENUM: one past the last */
};

#define TEXT(type, name)                                                       \
    {                                                                          \
#name, MEMBER_TEXT, offsetof(type, name), 0                            \
    }
#define UNSIGNED(type, name)                                                   \
    {                                                                          \
#name, MEMBER_UNSIGNED, offsetof(type, name), 0                        \
    }
#define YES(type, name)                                                        \
    {                                                                          \
#name, MEMBER_YES, offsetof(type, name), 0                             \
    }
#define ENUM(type, name, bound)                                                \
    {                                                                          \
#name, MEMBER_ENUM, offsetof(type, name), bound                        \
    }

static const struct member disk_members[] = {
    TEXT(struct vm_disk, path),
    TEXT(struct vm_disk, format),
    TEXT(struct vm_disk, member),
    ENUM(struct vm_disk, source, VM_SOURCE_POOL + 1),
    ENUM(struct vm_disk, bus, VM_BUS_COUNT),
    TEXT(struct vm_disk, controller),
    UNSIGNED(struct vm_disk, unit_index),
    TEXT(struct vm_disk, name),
    TEXT(struct vm_disk, serial),
    UNSIGNED(struct vm_disk, boot_order),
    YES(struct vm_disk, read_only),
    YES(struct vm_disk, shared),
    YES(struct vm_disk, independent),
    TEXT(struct vm_disk, nbd_socket),
};

static const struct member nic_members[] = {
    { "mac", MEMBER_MAC, offsetof(struct vm_nic, mac), 0 },
    TEXT(struct vm_nic, model),
    ENUM(struct vm_nic, link, VM_LINK_OTHER + 1),
    TEXT(struct vm_nic, network),
    UNSIGNED(struct vm_nic, vlan),
    UNSIGNED(struct vm_nic, boot_order),
    YES(struct vm_nic, unplugged),
};

static const struct member vm_members[] = {
    TEXT(struct vm, name),
    TEXT(struct vm, uuid),
    TEXT(struct vm, description),
    TEXT(struct vm, arch),
    TEXT(struct vm, machine),
    TEXT(struct vm, accelerator),
    TEXT(struct vm, cpu_model),
    UNSIGNED(struct vm, cpu_count),
    UNSIGNED(struct vm, socket_count),
    UNSIGNED(struct vm, core_count),
    UNSIGNED(struct vm, thread_count),
    { "memory_bytes", MEMBER_BYTES, offsetof(struct vm, memory_bytes), 0 },
    ENUM(struct vm, firmware, VM_FIRMWARE_UEFI + 1),
    YES(struct vm, secure_boot),
    ENUM(struct vm, tpm, VM_TPM_2_0 + 1),
    TEXT(struct vm, nvram_path),
    TEXT(struct vm, guest_os),
    YES(struct vm, local_time),
    YES(struct vm, autostart),
    YES(struct vm, agent),
    UNSIGNED(struct vm, passthrough_count),
    UNSIGNED(struct vm, snapshot_count),
    UNSIGNED(struct vm, removable_count),
    TEXT(struct vm, report_path),
    TEXT(struct vm, console_path),
    TEXT(struct vm, by_hand_path),
    TEXT(struct vm, native),
};

static void members_free(void *object, const struct member *members,
                         size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].type == MEMBER_TEXT)
            free(*(char **)((char *)object + members[i].offset));
}

/* `object` is a copy whose texts are still the original's. */
static void members_own(void *object, const struct member *members,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char **text = (char **)((char *)object + members[i].offset);

        if (members[i].type == MEMBER_TEXT)
            *text = text_copy(*text);
    }
}

void vm_free(struct vm *vm)
{
    for (size_t i = 0; i < vm->disk_count; i++)
        members_free(&vm->disks[i], disk_members, ARRAY_COUNT(disk_members));
    for (size_t i = 0; i < vm->nic_count; i++)
        members_free(&vm->nics[i], nic_members, ARRAY_COUNT(nic_members));
    free(vm->disks);
    free(vm->nics);
    members_free(vm, vm_members, ARRAY_COUNT(vm_members));
    *vm = (struct vm){ 0 };
}

void vm_copy(struct vm *to, const struct vm *from)
{
    *to = *from;
    members_own(to, vm_members, ARRAY_COUNT(vm_members));
    to->disks = need(from->disk_count * sizeof(*to->disks));
    to->nics = need(from->nic_count * sizeof(*to->nics));
    for (size_t i = 0; i < from->disk_count; i++) {
        to->disks[i] = from->disks[i];
        members_own(&to->disks[i], disk_members, ARRAY_COUNT(disk_members));
    }
    for (size_t i = 0; i < from->nic_count; i++) {
        to->nics[i] = from->nics[i];
        members_own(&to->nics[i], nic_members, ARRAY_COUNT(nic_members));
    }
}

int vm_add_disk(struct vm *vm, struct vm_disk **out, struct ds_error *err)
{
    if (vm->disk_count == VM_DISK_COUNT_MAX)
        return fail(err, DS_ERR_LIMIT, "more than %d disks", VM_DISK_COUNT_MAX);
    vm->disks = need_more(vm->disks, (vm->disk_count + 1) * sizeof(*vm->disks));
    *out = &vm->disks[vm->disk_count++];
    **out = (struct vm_disk){ 0 };
    return 0;
}

int vm_add_nic(struct vm *vm, struct vm_nic **out, struct ds_error *err)
{
    if (vm->nic_count == VM_NIC_COUNT_MAX)
        return fail(err, DS_ERR_LIMIT, "more than %d network interfaces",
                    VM_NIC_COUNT_MAX);
    vm->nics = need_more(vm->nics, (vm->nic_count + 1) * sizeof(*vm->nics));
    *out = &vm->nics[vm->nic_count++];
    **out = (struct vm_nic){ 0 };
    return 0;
}

/* -- checks --------------------------------------------------------------- */

static int check_topology(const struct vm *vm, const char *from,
                          struct ds_error *err)
{
    uint64_t product = (uint64_t)vm->socket_count * vm->core_count;

    if (vm->cpu_count == 0 || vm->cpu_count > VM_CPU_COUNT_MAX)
        return fail(err, DS_ERR_ARG, "%s: have %u CPUs expect 1 to %d", from,
                    vm->cpu_count, VM_CPU_COUNT_MAX);
    if (vm->socket_count == 0 && vm->core_count == 0 && vm->thread_count == 0)
        return 0;
    if (vm->socket_count > VM_CPU_COUNT_MAX ||
        vm->core_count > VM_CPU_COUNT_MAX ||
        product * vm->thread_count != vm->cpu_count)
        return fail(err, DS_ERR_ARG,
                    "%s: CPU topology, have %u sockets x %u cores x %u threads "
                    "expect %u CPUs",
                    from, vm->socket_count, vm->core_count, vm->thread_count,
                    vm->cpu_count);
    return 0;
}

static int check_macs(const struct vm *vm, const char *from,
                      struct ds_error *err)
{
    for (size_t i = 0; i < vm->nic_count; i++)
        for (size_t j = 0; j < i; j++)
            if (vm->nics[i].mac[0] != '\0' &&
                strcmp(vm->nics[i].mac, vm->nics[j].mac) == 0)
                return fail(err, DS_ERR_ARG,
                            "%s: network interfaces %zu and %zu both have MAC "
                            "address %s",
                            from, j + 1, i + 1, vm->nics[i].mac);
    return 0;
}

/* The place of what no XML may hold, escaped or not: control characters but
 * tab and the ends of lines, U+FFFE and U+FFFF. NULL: none. */
static const char *not_for_xml(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;

        if ((byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') ||
            strncmp(text, "\xef\xbf\xbe", 3) == 0 ||
            strncmp(text, "\xef\xbf\xbf", 3) == 0)
            return text;
    }
    return NULL;
}

static int check_texts(const void *object, const struct member *members,
                       size_t count, const char *from, struct ds_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const char *text =
            members[i].type == MEMBER_TEXT
                ? *(char *const *)((const char *)object + members[i].offset)
                : NULL;
        const char *at = text != NULL ? not_for_xml(text) : NULL;

        /* Kept as it is, and never written anywhere else. */
        if (at != NULL && strcmp(members[i].name, "native") != 0)
            return fail(err, DS_ERR_ARG,
                        "%s: %s, byte %zu: have 0x%02x, which no XML can "
                        "hold, expect text",
                        from, members[i].name, (size_t)(at - text),
                        (unsigned char)*at);
    }
    return 0;
}

static int check_all_texts(const struct vm *vm, const char *from,
                           struct ds_error *err)
{
    int result =
        check_texts(vm, vm_members, ARRAY_COUNT(vm_members), from, err);

    for (size_t i = 0; result == 0 && i < vm->disk_count; i++)
        result = check_texts(&vm->disks[i], disk_members,
                             ARRAY_COUNT(disk_members), from, err);
    for (size_t i = 0; result == 0 && i < vm->nic_count; i++)
        result = check_texts(&vm->nics[i], nic_members,
                             ARRAY_COUNT(nic_members), from, err);
    return result;
}

int vm_check(const struct vm *vm, const char *from, struct ds_error *err)
{
    int result;

    if (vm->name == NULL || vm->name[0] == '\0')
        return fail(err, DS_ERR_ARG, "%s: the VM has no name", from);
    if (strchr(vm->name, '/') != NULL || vm->name[0] == '.')
        return fail(err, DS_ERR_ARG,
                    "%s: name, have %s expect no / and no . at its beginning",
                    from, vm->name);
    if (vm->memory_bytes < MEMORY_BYTES_MIN ||
        vm->memory_bytes > MEMORY_BYTES_MAX)
        return fail(err, DS_ERR_ARG,
                    "%s: memory, have %" PRIu64 " bytes expect 1 MiB to 1 PiB",
                    from, vm->memory_bytes);
    for (size_t i = 0; i < vm->disk_count; i++)
        if (vm->disks[i].source == VM_SOURCE_FILE &&
            (vm->disks[i].path == NULL || vm->disks[i].path[0] == '\0'))
            return fail(err, DS_ERR_ARG, "%s: disk %zu has no path", from,
                        i + 1);
    result = check_topology(vm, from, err);
    if (result == 0)
        result = check_macs(vm, from, err);
    return result != 0 ? result : check_all_texts(vm, from, err);
}

int vm_mac_parse(const char *text, char mac[18], struct ds_error *err)
{
    char digits[13];
    size_t count = 0;

    for (const char *at = text; *at != '\0'; at++) {
        if (isxdigit((unsigned char)*at) && count < 12)
            digits[count++] = (char)tolower((unsigned char)*at);
        else if (*at != ':' && *at != '-' && *at != '.')
            count = SIZE_MAX / 2;
        if (count > 12)
            break;
    }
    if (count != 12)
        return fail(err, DS_ERR_ARG,
                    "MAC address, have %s expect six bytes in hexadecimal",
                    text);
    for (size_t i = 0; i < 6; i++) {
        mac[3 * i] = digits[2 * i];
        mac[3 * i + 1] = digits[2 * i + 1];
        mac[3 * i + 2] = i < 5 ? ':' : '\0';
    }
    return 0;
}

/* -- names ---------------------------------------------------------------- */

static const char *const bus_names[VM_BUS_COUNT] = { "ide",    "sata", "scsi",
                                                     "virtio", "nvme", "usb" };

const char *vm_bus_name(enum vm_bus bus)
{
    return bus_names[bus];
}

bool vm_bus_find(const char *name, enum vm_bus *out)
{
    for (int i = 0; i < VM_BUS_COUNT; i++) {
        if (strcmp(bus_names[i], name) == 0) {
            *out = (enum vm_bus)i;
            return true;
        }
    }
    return false;
}

const char *vm_firmware_name(enum vm_firmware firmware)
{
    return firmware == VM_FIRMWARE_UEFI ? "uefi" : "bios";
}

/* -- JSON ----------------------------------------------------------------- */

static json_t *member_json(const void *object, const struct member *member)
{
    const void *at = (const char *)object + member->offset;

    switch (member->type) {
    case MEMBER_TEXT:
        return *(char *const *)at != NULL ? json_string(*(char *const *)at)
                                          : json_null();
    case MEMBER_UNSIGNED:
        return json_integer(*(const unsigned *)at);
    case MEMBER_BYTES:
        return json_integer((json_int_t) * (const uint64_t *)at);
    case MEMBER_YES:
        return json_boolean(*(const bool *)at);
    case MEMBER_ENUM:
        return json_integer(*(const int *)at);
    case MEMBER_MAC:
        return json_string(at);
    }
    return NULL;
}

static json_t *members_json(const void *object, const struct member *members,
                            size_t count)
{
    json_t *json = json_object();

    for (size_t i = 0; i < count; i++)
        json_object_set_new(json, members[i].name,
                            member_json(object, &members[i]));
    return json;
}

json_t *vm_to_json(const struct vm *vm)
{
    json_t *json = members_json(vm, vm_members, ARRAY_COUNT(vm_members));
    json_t *disks = json_array(), *nics = json_array();

    for (size_t i = 0; i < vm->disk_count; i++)
        json_array_append_new(disks, members_json(&vm->disks[i], disk_members,
                                                  ARRAY_COUNT(disk_members)));
    for (size_t i = 0; i < vm->nic_count; i++)
        json_array_append_new(nics, members_json(&vm->nics[i], nic_members,
                                                 ARRAY_COUNT(nic_members)));
    json_object_set_new(json, "disks", disks);
    json_object_set_new(json, "nics", nics);
    return json;
}

static bool read_member(const json_t *value, void *object,
                        const struct member *member)
{
    void *at = (char *)object + member->offset;
    json_int_t number = json_integer_value(value);

    switch (member->type) {
    case MEMBER_TEXT:
        *(char **)at = text_copy(json_string_value(value));
        return json_is_string(value) || json_is_null(value) || value == NULL;
    case MEMBER_UNSIGNED:
        *(unsigned *)at = (unsigned)number;
        return json_is_integer(value) && number >= 0 && number <= UINT32_MAX;
    case MEMBER_BYTES:
        *(uint64_t *)at = (uint64_t)number;
        return json_is_integer(value) && number >= 0;
    case MEMBER_YES:
        *(bool *)at = json_is_true(value);
        return json_is_boolean(value);
    case MEMBER_ENUM:
        if (!json_is_integer(value) || number < 0 || number >= member->bound)
            return false;
        *(int *)at = (int)number;
        return true;
    case MEMBER_MAC:
        if (!json_is_string(value))
            return false;
        return json_string_length(value) == 0 ||
               vm_mac_parse(json_string_value(value), at, NULL) == 0;
    }
    return false;
}

static int read_members(const json_t *json, void *object,
                        const struct member *members, size_t count,
                        struct ds_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!read_member(json_object_get(json, members[i].name), object,
                         &members[i]))
            return fail(err, DS_ERR_CORRUPT,
                        "journal: description of a VM: %s is not what it "
                        "must be",
                        members[i].name);
    return 0;
}

int vm_from_json(const json_t *json, struct vm *out, struct ds_error *err)
{
    struct vm vm = { 0 };
    struct vm_disk *disk = NULL;
    struct vm_nic *nic = NULL;
    json_t *value;
    size_t i;
    int result =
        read_members(json, &vm, vm_members, ARRAY_COUNT(vm_members), err);

    json_array_foreach (json_object_get(json, "disks"), i, value) {
        if (result == 0)
            result = vm_add_disk(&vm, &disk, err);
        if (result == 0)
            result = read_members(value, disk, disk_members,
                                  ARRAY_COUNT(disk_members), err);
    }
    json_array_foreach (json_object_get(json, "nics"), i, value) {
        if (result == 0)
            result = vm_add_nic(&vm, &nic, err);
        if (result == 0)
            result = read_members(value, nic, nic_members,
                                  ARRAY_COUNT(nic_members), err);
    }
    if (result != 0)
        vm_free(&vm);
    else
        *out = vm;
    return result;
}
