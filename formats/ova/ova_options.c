/* SPDX-License-Identifier: Apache-2.0 */
/* What can be asked of a package: the machine that its descriptor names. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "ova.h"

#define CPU_COUNT_MAX 1024u
/* VMware takes whole steps of 4 MiB only. */
#define MEMORY_STEP_BYTES (4 * DS_MIB)
#define MEMORY_BYTES_MAX (UINT64_C(64) << 40)
/* CIM_OperatingSystem.OsType is a uint16. */
#define OS_ID_MAX 65535u

const struct ds_target_option ova_target_options[] = {
    { "name", "up to 80 bytes of UTF-8", "the target's name",
      "the machine's name, and what the files in it are called" },
    { "cpus", "1 to 1024", "1", "virtual processors" },
    { "memory", "4M to 64T, a multiple of 4M", "1G", "of the machine" },
    { "os", "other, linux, windows, or a number of CIM", "other",
      "the guest's system; all 64-bit" },
    { "firmware", "bios, efi", "bios", "what the guest boots from" },
    { "adapter", "lsilogic, lsilogicsas, pvscsi, buslogic, ahci, ide",
      "lsilogic", "the controllers that the disks are on" },
    { NULL, NULL, NULL, NULL },
};

/* ResourceType by CIM: 5 IDE, 6 parallel SCSI, 20 other storage. The last
 * names are what the VMDK's own descriptor calls it: it knows no others. Then
 * how many of them a machine of hardware version 10 has at most, and how many
 * disks each takes (AHCI has more, but no package more than 60). */
static const struct ova_adapter adapters[] = {
    { "lsilogic", 6, "lsilogic", "lsilogic", 4, 15 },
    { "lsilogicsas", 6, "lsilogicsas", "lsilogic", 4, 15 },
    { "pvscsi", 6, "VirtualSCSI", "lsilogic", 4, 15 },
    { "buslogic", 6, "buslogic", "buslogic", 4, 15 },
    { "ahci", 20, "vmware.sata.ahci", "lsilogic", 2, 30 },
    { "ide", 5, NULL, "ide", 2, 2 },
};

/* By CIM_OperatingSystem.OsType, and by VMware's own names. */
static const struct ova_system systems[] = {
    { "other", 102, "otherGuest64" },
    { "linux", 101, "otherLinux64Guest" },
    { "windows", 103, "windows7Server64Guest" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int fail_option(const char *key, const char *value, struct ds_error *err)
{
    const struct ds_target_option *option = ova_target_options;

    while (strcmp(option->key, key) != 0)
        option++;
    return ds_fail(err, DS_ERR_ARG, "ova: option %s: have '%.100s' expect %s",
                   key, value, option->values);
}

/* -- the name -------------------------------------------------------------- */

/* The length of the UTF-8 character at `at` that XML can hold, or 0. */
static size_t character_bytes(const char *at)
{
    static const uint32_t least[] = { 0, 0x20, 0x80, 0x800, 0x10000 };
    const uint8_t *bytes = (const uint8_t *)at;
    size_t length = bytes[0] < 0x80   ? 1
                    : bytes[0] < 0xc0 ? 0
                    : bytes[0] < 0xe0 ? 2
                    : bytes[0] < 0xf0 ? 3
                    : bytes[0] < 0xf8 ? 4
                                      : 0;
    uint32_t value = bytes[0];

    if (length > 1)
        value &= (uint32_t)(0x7f >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3f);
    }
    if (length == 0 || value < least[length] || value == 0x7f ||
        (value >= 0xd800 && value < 0xe000) || (value & 0xfffe) == 0xfffe ||
        value > 0x10ffff)
        return 0;
    return length;
}

static bool name_is_good(const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length >= OVA_MACHINE_NAME_BYTES)
        return false;
    while (*name != '\0') {
        size_t step = character_bytes(name);

        if (step == 0)
            return false;
        name += step;
    }
    return true;
}

static int parse_name(const struct ds_target_request *request,
                      const char *value, struct ova_machine *machine,
                      struct ds_error *err)
{
    const char *slash = strrchr(request->path, '/');
    const char *from = slash != NULL ? slash + 1 : request->path;
    const char *dot = strrchr(from, '.');
    size_t length = strlen(from);

    if (value == NULL && dot != NULL && dot != from)
        length = (size_t)(dot - from);
    if (value != NULL) {
        from = value;
        length = strlen(value);
    }
    if (length >= sizeof(machine->name))
        return fail_option("name", from, err);
    memcpy(machine->name, from, length);
    machine->name[length] = '\0';
    return name_is_good(machine->name) ? 0 : fail_option("name", from, err);
}

/* -- the others ------------------------------------------------------------ */

static int parse_number(const char *key, const char *value, uint64_t least,
                        uint64_t most, uint64_t *out, struct ds_error *err)
{
    uint64_t number;

    if (value == NULL)
        return 0;
    if (ds_option_size("ova", key, value, &number, NULL) != 0 ||
        number < least || number > most)
        return fail_option(key, value, err);
    *out = number;
    return 0;
}

static int parse_memory(const char *value, struct ova_machine *machine,
                        struct ds_error *err)
{
    int result = parse_number("memory", value, MEMORY_STEP_BYTES,
                              MEMORY_BYTES_MAX, &machine->memory_bytes, err);

    if (result == 0 && machine->memory_bytes % MEMORY_STEP_BYTES != 0)
        return fail_option("memory", value, err);
    return result;
}

static int parse_system(const char *value, struct ova_machine *machine,
                        struct ds_error *err)
{
    uint64_t number = 0;
    int result;

    machine->system = systems[0];
    for (size_t i = 0; value != NULL && i < COUNT(systems); i++) {
        if (strcmp(value, systems[i].word) != 0)
            continue;
        machine->system = systems[i];
        return 0;
    }
    result = parse_number("os", value, 0, OS_ID_MAX, &number, err);
    if (result == 0 && value != NULL)
        machine->system = (struct ova_system){ value, (unsigned)number, NULL };
    return result;
}

static int parse_adapter(const char *value, struct ova_machine *machine,
                         struct ds_error *err)
{
    machine->adapter = &adapters[0];
    for (size_t i = 0; value != NULL; i++) {
        if (i == COUNT(adapters))
            return fail_option("adapter", value, err);
        machine->adapter = &adapters[i];
        if (strcmp(value, adapters[i].word) == 0)
            break;
    }
    return 0;
}

static int parse_firmware(const char *value, struct ova_machine *machine,
                          struct ds_error *err)
{
    machine->is_efi = value != NULL && strcmp(value, "efi") == 0;
    if (value != NULL && !machine->is_efi && strcmp(value, "bios") != 0)
        return fail_option("firmware", value, err);
    return 0;
}

int ova_check_disk_count(const struct ova_machine *machine, size_t count,
                         struct ds_error *err)
{
    const struct ova_adapter *adapter = machine->adapter;
    size_t most = (size_t)adapter->controller_count * adapter->disk_count;

    if (count >= 1 && count <= most)
        return 0;
    return ds_fail(err, DS_ERR_LIMIT,
                   "ova: disks: have %zu expect 1 to %zu on %s", count, most,
                   adapter->word);
}

int ova_options_parse(const struct ds_target_request *request,
                      struct ova_machine *out, struct ds_error *err)
{
    const char *const *options = request->options;
    size_t count = request->option_count;
    int result =
        ds_option_check("ova", ova_target_options, options, count, err);

    *out = (struct ova_machine){ .cpu_count = 1, .memory_bytes = DS_GIB };
    if (result == 0)
        result = parse_name(request, ds_option_get(options, count, "name"), out,
                            err);
    if (result == 0)
        result = parse_number("cpus", ds_option_get(options, count, "cpus"), 1,
                              CPU_COUNT_MAX, &out->cpu_count, err);
    if (result == 0)
        result =
            parse_memory(ds_option_get(options, count, "memory"), out, err);
    if (result == 0)
        result = parse_system(ds_option_get(options, count, "os"), out, err);
    if (result == 0)
        result =
            parse_firmware(ds_option_get(options, count, "firmware"), out, err);
    if (result == 0)
        result =
            parse_adapter(ds_option_get(options, count, "adapter"), out, err);
    return result;
}
