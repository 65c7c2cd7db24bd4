/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor of a package that is written (DMTF DSP0243, OVF 1.x): a
 * file and a disk for each, one machine with processors, memory, controllers
 * and the disks on them. An Item's elements come in the order of the alphabet,
 * as the schema of their class has them.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arith.h"
#include "ova.h"

/* ESXi 5.5 and later, Workstation 10 and later: the first with AHCI. */
#define HARDWARE_VERSION "vmx-10"

#define SCHEMA_CIM "http://schemas.dmtf.org/wbem/wscim/1/"

/* Everything that there is once, and what there is for each disk: its file,
 * itself, its item, and a controller of its own; the machine's name comes
 * thrice, with up to six bytes for each of its own. */
#define ONCE_BYTES ((size_t)12 << 10)
#define DISK_BYTES ((size_t)3 << 10)

/* InstanceIDs: 1 the processors, 2 the memory, then controllers and disks. */
#define FIRST_INSTANCE 3u

struct text {
    char *bytes;
    size_t room;
    size_t used; /* goes on where there is no more room */
};

static void add(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
    size_t room = text->used < text->room ? text->room - text->used : 0;
    va_list args;
    int step;

    va_start(args, format);
    step = vsnprintf(room > 0 ? text->bytes + text->used : NULL, room, format,
                     args);
    va_end(args);
    text->used += step > 0 ? (size_t)step : 0;
}

static void escape(const char *name, char out[OVA_ESCAPED_NAME_BYTES])
{
    size_t used = 0;

    for (; *name != '\0'; name++) {
        const char *as = *name == '&'   ? "&amp;"
                         : *name == '<' ? "&lt;"
                         : *name == '>' ? "&gt;"
                         : *name == '"' ? "&quot;"
                                        : NULL;

        if (as == NULL) {
            out[used++] = *name;
            continue;
        }
        memcpy(out + used, as, strlen(as));
        used += strlen(as);
    }
    out[used] = '\0';
}

static void add_begin(struct text *text)
{
    add(text, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
              "<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\"\n"
              "    xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\"\n"
              "    xmlns:rasd=\"" SCHEMA_CIM "cim-schema/2/"
              "CIM_ResourceAllocationSettingData\"\n"
              "    xmlns:vssd=\"" SCHEMA_CIM "cim-schema/2/"
              "CIM_VirtualSystemSettingData\"\n"
              "    xmlns:vmw=\"http://www.vmware.com/schema/ovf\">\n");
}

static void add_disks(struct text *text, const struct ova_written *written,
                      size_t count)
{
    add(text, "  <References>\n");
    for (size_t i = 0; i < count; i++)
        add(text,
            "    <File ovf:href=\"%s\" ovf:id=\"file%zu\" ovf:size=\"%" PRIu64
            "\"/>\n",
            written[i].disk_name, i + 1, written[i].disk_bytes);
    add(text, "  </References>\n"
              "  <DiskSection>\n"
              "    <Info>The disks of the machine</Info>\n");
    for (size_t i = 0; i < count; i++)
        add(text,
            "    <Disk ovf:capacity=\"%" PRIu64
            "\" ovf:capacityAllocationUnits=\"byte\"\n"
            "        ovf:diskId=\"vmdisk%zu\" ovf:fileRef=\"file%zu\"\n"
            "        ovf:format=\"http://www.vmware.com/interfaces/"
            "specifications/vmdk.html#streamOptimized\"\n"
            "        ovf:populatedSize=\"%" PRIu64 "\"/>\n",
            written[i].capacity_bytes, i + 1, i + 1,
            written[i].populated_bytes);
    add(text, "  </DiskSection>\n");
}

static void add_system(struct text *text, const struct ova_machine *machine,
                       const char *name)
{
    add(text,
        "  <VirtualSystem ovf:id=\"%s\">\n"
        "    <Info>A virtual machine</Info>\n"
        "    <Name>%s</Name>\n"
        "    <OperatingSystemSection ovf:id=\"%u\"",
        name, name, machine->system.id);
    if (machine->system.vmware != NULL)
        add(text, " vmw:osType=\"%s\"", machine->system.vmware);
    add(text, ">\n"
              "      <Info>The system of the guest</Info>\n"
              "    </OperatingSystemSection>\n");
    add(text,
        "    <VirtualHardwareSection>\n"
        "      <Info>The hardware of the machine</Info>\n"
        "      <System>\n"
        "        <vssd:ElementName>Virtual Hardware Family"
        "</vssd:ElementName>\n"
        "        <vssd:InstanceID>0</vssd:InstanceID>\n"
        "        <vssd:VirtualSystemIdentifier>%s"
        "</vssd:VirtualSystemIdentifier>\n"
        "        <vssd:VirtualSystemType>" HARDWARE_VERSION
        "</vssd:VirtualSystemType>\n"
        "      </System>\n",
        name);
}

static void add_processors(struct text *text, const struct ova_machine *machine)
{
    add(text,
        "      <Item>\n"
        "        <rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits>\n"
        "        <rasd:Description>Number of virtual CPUs"
        "</rasd:Description>\n"
        "        <rasd:ElementName>%" PRIu64
        " virtual CPU(s)</rasd:ElementName>\n"
        "        <rasd:InstanceID>1</rasd:InstanceID>\n"
        "        <rasd:ResourceType>3</rasd:ResourceType>\n"
        "        <rasd:VirtualQuantity>%" PRIu64 "</rasd:VirtualQuantity>\n"
        "      </Item>\n",
        machine->cpu_count, machine->cpu_count);
    add(text,
        "      <Item>\n"
        "        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>\n"
        "        <rasd:Description>Memory size</rasd:Description>\n"
        "        <rasd:ElementName>%" PRIu64 " MiB of memory"
        "</rasd:ElementName>\n"
        "        <rasd:InstanceID>2</rasd:InstanceID>\n"
        "        <rasd:ResourceType>4</rasd:ResourceType>\n"
        "        <rasd:VirtualQuantity>%" PRIu64 "</rasd:VirtualQuantity>\n"
        "      </Item>\n",
        machine->memory_bytes / DS_MIB, machine->memory_bytes / DS_MIB);
}

static void add_controller(struct text *text, const struct ova_adapter *adapter,
                           size_t index)
{
    add(text,
        "      <Item>\n"
        "        <rasd:Address>%zu</rasd:Address>\n"
        "        <rasd:Description>Controller</rasd:Description>\n"
        "        <rasd:ElementName>%s %zu</rasd:ElementName>\n"
        "        <rasd:InstanceID>%zu</rasd:InstanceID>\n",
        index, adapter->word, index, FIRST_INSTANCE + index);
    if (adapter->resource_subtype != NULL)
        add(text, "        <rasd:ResourceSubType>%s</rasd:ResourceSubType>\n",
            adapter->resource_subtype);
    add(text,
        "        <rasd:ResourceType>%u</rasd:ResourceType>\n"
        "      </Item>\n",
        adapter->resource_type);
}

/* Of parallel SCSI and its like: the controller itself is number 7. */
#define SCSI_RESOURCE_TYPE 6u
#define SCSI_CONTROLLER_ADDRESS 7u

static size_t address_of(const struct ova_adapter *adapter, size_t index)
{
    size_t address = index % adapter->disk_count;

    return address + (adapter->resource_type == SCSI_RESOURCE_TYPE &&
                      address >= SCSI_CONTROLLER_ADDRESS);
}

/* Controllers as they are needed, each filled before the next. */
static void add_storage(struct text *text, const struct ova_adapter *adapter,
                        size_t disk_count)
{
    size_t controllers =
        (disk_count + adapter->disk_count - 1) / adapter->disk_count;

    for (size_t i = 0; i < controllers; i++)
        add_controller(text, adapter, i);
    for (size_t i = 0; i < disk_count; i++)
        add(text,
            "      <Item>\n"
            "        <rasd:AddressOnParent>%zu</rasd:AddressOnParent>\n"
            "        <rasd:ElementName>Hard disk %zu</rasd:ElementName>\n"
            "        <rasd:HostResource>ovf:/disk/vmdisk%zu"
            "</rasd:HostResource>\n"
            "        <rasd:InstanceID>%zu</rasd:InstanceID>\n"
            "        <rasd:Parent>%zu</rasd:Parent>\n"
            "        <rasd:ResourceType>17</rasd:ResourceType>\n"
            "      </Item>\n",
            address_of(adapter, i), i + 1, i + 1,
            FIRST_INSTANCE + controllers + i,
            FIRST_INSTANCE + i / adapter->disk_count);
}

size_t ova_envelope_room(size_t disk_count)
{
    return ONCE_BYTES + disk_count * DISK_BYTES;
}

size_t ova_envelope_build(const struct ova_machine *machine,
                          const struct ova_written *written, size_t disk_count,
                          char *out, size_t room_bytes)
{
    struct text text = { .bytes = out, .room = room_bytes };
    char name[OVA_ESCAPED_NAME_BYTES];

    escape(machine->name, name);
    add_begin(&text);
    add_disks(&text, written, disk_count);
    add_system(&text, machine, name);
    add_processors(&text, machine);
    add_storage(&text, machine->adapter, disk_count);
    add(&text,
        "      <vmw:Config ovf:required=\"false\" vmw:key=\"firmware\" "
        "vmw:value=\"%s\"/>\n"
        "    </VirtualHardwareSection>\n"
        "  </VirtualSystem>\n"
        "</Envelope>\n",
        machine->is_efi ? "efi" : "bios");
    return text.used;
}
