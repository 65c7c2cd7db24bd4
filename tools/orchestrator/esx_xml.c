/* SPDX-License-Identifier: Apache-2.0 */
#include "esx_xml.h"
#include "xml.h"

#include <stdio.h>

static void put(FILE *out, const char *before, const char *text,
                const char *after)
{
    autofree char *escaped = xml_escape(text);

    fprintf(out, "%s%s%s", before, escaped, after);
}

/* Disks go to places in the order they come, as vmx_write has it; libvirt
 * wants the place and the name of the device to agree. */
static void put_disk(FILE *out, const struct vm_disk *disk, unsigned index)
{
    bool ide = disk->bus == VM_BUS_IDE;
    unsigned per_bus = ide ? 2 : disk->bus == VM_BUS_SATA ? 30 : 15;
    unsigned unit = index % per_bus;
    char letters[3] = { 0 };

    if (index < 26)
        letters[0] = (char)('a' + index);
    else
        letters[0] = (char)('a' + index / 26 - 1),
        letters[1] = (char)('a' + index % 26);
    if (disk->bus == VM_BUS_SCSI && unit >= 7)
        unit++;
    put(out, "<disk type='file' device='disk'><source file='", disk->path,
        "'/>");
    fprintf(out,
            "<target dev='%s%s' bus='%s'/><address type='drive' "
            "controller='%u' bus='%u' target='0' unit='%u'/></disk>\n",
            ide ? "hd" : "sd", letters, vm_bus_name(disk->bus),
            ide ? 0 : index / per_bus, ide ? index / per_bus : 0, unit);
}

static void put_disks(FILE *out, const struct vm *vm)
{
    unsigned counts[VM_BUS_COUNT] = { 0 };

    for (size_t i = 0; i < vm->disk_count; i++) {
        const struct vm_disk *disk = &vm->disks[i];
        unsigned index = counts[disk->bus]++;

        put_disk(out, disk, index);
        if (disk->bus == VM_BUS_SCSI && index % 15 == 0) {
            fprintf(out, "<controller type='scsi' index='%u'", index / 15);
            put(out, " model='",
                disk->controller != NULL ? disk->controller : "lsilogic",
                "'/>\n");
        }
    }
}

static void put_nic(FILE *out, const struct vm_nic *nic)
{
    fprintf(out, "<interface type='bridge'>");
    if (nic->mac[0] != '\0')
        put(out, "<mac address='", nic->mac, "'/>");
    put(out, "<source bridge='", nic->network != NULL ? nic->network : "",
        "'/>");
    put(out, "<model type='", nic->model != NULL ? nic->model : "e1000",
        "'/></interface>\n");
}

char *esx_domain_xml(const struct vm *vm)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    if (out == NULL)
        return need(1);
    put(out, "<domain type='vmware'><name>", vm->name, "</name>\n");
    if (vm->uuid != NULL)
        put(out, "<uuid>", vm->uuid, "</uuid>\n");
    if (vm->description != NULL)
        put(out, "<description>", vm->description, "</description>\n");
    fprintf(out,
            "<memory unit='KiB'>%llu</memory><vcpu>%u</vcpu>\n"
            "<os%s><type arch='x86_64'>hvm</type></os>\n",
            (unsigned long long)(vm->memory_bytes / 1024), vm->cpu_count,
            vm->firmware == VM_FIRMWARE_UEFI ? " firmware='efi'" : "");
    if (vm->socket_count != 0)
        fprintf(out,
                "<cpu><topology sockets='%u' cores='%u' threads='%u'/>"
                "</cpu>\n",
                vm->socket_count, vm->core_count, vm->thread_count);
    fputs("<devices>\n", out);
    put_disks(out, vm);
    for (size_t i = 0; i < vm->nic_count; i++)
        put_nic(out, &vm->nics[i]);
    fputs("</devices></domain>\n", out);
    fclose(out);
    return text;
}
