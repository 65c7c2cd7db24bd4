/* SPDX-License-Identifier: Apache-2.0 */
/* A vm as a new domain of QEMU's. */
#include "vm.h"
#include "xml.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* printf to `out`, where %s stands for text that is to be escaped. */
static void put(FILE *out, const char *format, const char *text)
{
    autofree char *escaped = xml_escape(text != NULL ? text : "");
    const char *at = strstr(format, "%s");

    fprintf(out, "%.*s%s%s", (int)(at - format), format, escaped, at + 2);
}

static void put_if(FILE *out, const char *format, const char *text)
{
    if (text != NULL && text[0] != '\0')
        put(out, format, text);
}

static void write_os(FILE *out, const struct vm *vm)
{
    bool uefi = vm->firmware == VM_FIRMWARE_UEFI;

    fprintf(out, "  <os%s>\n    <type", uefi ? " firmware='efi'" : "");
    put_if(out, " arch='%s'", vm->arch);
    put_if(out, " machine='%s'", vm->machine);
    fprintf(out, ">hvm</type>\n");
    if (uefi)
        fprintf(out,
                "    <firmware>\n      <feature enabled='%s' "
                "name='secure-boot'/>\n    </firmware>\n",
                vm->secure_boot ? "yes" : "no");
    if (uefi)
        put_if(out, "    <nvram>%s</nvram>\n", vm->nvram_path);
    fprintf(out, "  </os>\n  <features><acpi/><apic/>%s</features>\n",
            vm->secure_boot ? "<smm state='on'/>" : "");
}

static void write_cpu(FILE *out, const struct vm *vm, const char *type)
{
    bool accelerated = strcmp(type, "kvm") == 0;
    const char *model = vm->cpu_model;

    /* host-* needs hardware help; without it QEMU's own standard serves. */
    if (text_begins(model, "host") && !accelerated)
        model = NULL;
    if (model == NULL && accelerated)
        model = "host-model";
    if (model == NULL && vm->socket_count == 0)
        return;
    if (model == NULL)
        fprintf(out, "  <cpu>\n");
    else if (text_begins(model, "host"))
        put(out, "  <cpu mode='%s'>\n", model);
    else
        put(out,
            "  <cpu mode='custom' match='exact'>\n"
            "    <model fallback='allow'>%s</model>\n",
            model);
    if (vm->socket_count != 0)
        fprintf(out, "    <topology sockets='%u' cores='%u' threads='%u'/>\n",
                vm->socket_count, vm->core_count, vm->thread_count);
    fprintf(out, "  </cpu>\n");
}

static const char *driver_type(const char *format)
{
    return text_same(format, "vhd") ? "vpc" : format;
}

/* What is served is raw to whoever connects. */
static void write_source(FILE *out, const struct vm_disk *disk)
{
    bool served = disk->nbd_socket != NULL;

    fprintf(out, "    <disk type='%s' device='disk'>\n",
            served ? "network" : "file");
    put_if(out, "      <driver name='qemu' type='%s'/>\n",
           served ? "raw" : driver_type(disk->format));
    if (served)
        put(out,
            "      <source protocol='nbd'>\n"
            "        <host transport='unix' socket='%s'/>\n"
            "      </source>\n",
            disk->nbd_socket);
    else
        put(out, "      <source file='%s'/>\n", disk->path);
}

static void write_disk(FILE *out, const struct vm_disk *disk)
{
    write_source(out, disk);
    put(out, "      <target dev='%s'", disk->name);
    fprintf(out, " bus='%s'/>\n", vm_bus_name(disk->bus));
    put_if(out, "      <serial>%s</serial>\n", disk->serial);
    if (disk->boot_order != 0)
        fprintf(out, "      <boot order='%u'/>\n", disk->boot_order);
    fprintf(out, "%s%s    </disk>\n",
            disk->read_only ? "      <readonly/>\n" : "",
            disk->shared ? "      <shareable/>\n" : "");
}

/* One for each model: disks find the first of their bus. */
static void write_controllers(FILE *out, const struct vm *vm)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        const struct vm_disk *disk = &vm->disks[i];

        if (disk->bus != VM_BUS_SCSI || disk->controller == NULL)
            continue;
        put(out, "    <controller type='scsi' index='0' model='%s'/>\n",
            disk->controller);
        return;
    }
}

static void write_nic(FILE *out, const struct vm_nic *nic)
{
    static const char *const types[] = { "network", "bridge", "user" };

    assert(nic->link < ARRAY_COUNT(types)); /* preflight refuses others */
    fprintf(out, "    <interface type='%s'>\n", types[nic->link]);
    if (nic->mac[0] != '\0')
        put(out, "      <mac address='%s'/>\n", nic->mac);
    if (nic->link == VM_LINK_NETWORK)
        put(out, "      <source network='%s'/>\n", nic->network);
    if (nic->link == VM_LINK_BRIDGE)
        put(out, "      <source bridge='%s'/>\n", nic->network);
    if (nic->vlan != 0)
        fprintf(out, "      <vlan><tag id='%u'/></vlan>\n", nic->vlan);
    put_if(out, "      <model type='%s'/>\n", nic->model);
    if (nic->unplugged)
        fprintf(out, "      <link state='down'/>\n");
    if (nic->boot_order != 0)
        fprintf(out, "      <boot order='%u'/>\n", nic->boot_order);
    fprintf(out, "    </interface>\n");
}

static void write_ports(FILE *out, const struct vm *vm)
{
    fprintf(out, "    <channel type='unix'>\n      <target type='virtio' "
                 "name='org.qemu.guest_agent.0'/>\n    </channel>\n");
    put_if(out,
           "    <channel type='file'>\n      <source path='%s'/>\n"
           "      <target type='virtio' name='org.diskshift.report.0'/>\n"
           "    </channel>\n",
           vm->report_path);
    put_if(out,
           "    <serial type='file'>\n      <source path='%s'/>\n"
           "      <target port='0'/>\n    </serial>\n",
           vm->console_path);
}

static void write_devices(FILE *out, const struct vm *vm)
{
    fprintf(out, "  <devices>\n");
    write_controllers(out, vm);
    for (size_t i = 0; i < vm->disk_count; i++)
        write_disk(out, &vm->disks[i]);
    for (size_t i = 0; i < vm->nic_count; i++)
        write_nic(out, &vm->nics[i]);
    write_ports(out, vm);
    if (vm->tpm != VM_TPM_NONE)
        fprintf(out,
                "    <tpm model='%s'>\n      <backend type='emulator' "
                "version='%s'/>\n    </tpm>\n",
                vm->tpm == VM_TPM_2_0 ? "tpm-crb" : "tpm-tis",
                vm->tpm == VM_TPM_2_0 ? "2.0" : "1.2");
    fprintf(out, "    <input type='tablet' bus='usb'/>\n"
                 "    <graphics type='vnc' autoport='yes' "
                 "listen='127.0.0.1'/>\n"
                 "    <video>\n      <model type='vga'/>\n    </video>\n"
                 "  </devices>\n");
}

char *vm_to_domain_xml(const struct vm *vm, const char *type)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    if (out == NULL)
        return need(1);
    put(out, "<domain type='%s'>\n", type);
    put(out, "  <name>%s</name>\n", vm->name);
    put_if(out, "  <uuid>%s</uuid>\n", vm->uuid);
    put_if(out, "  <description>%s</description>\n", vm->description);
    fprintf(out,
            "  <memory unit='KiB'>%" PRIu64 "</memory>\n"
            "  <vcpu>%u</vcpu>\n",
            vm->memory_bytes / 1024, vm->cpu_count);
    write_os(out, vm);
    write_cpu(out, vm, type);
    fprintf(out,
            "  <clock offset='%s'/>\n"
            "  <on_poweroff>destroy</on_poweroff>\n"
            "  <on_reboot>restart</on_reboot>\n"
            "  <on_crash>destroy</on_crash>\n",
            vm->local_time ? "localtime" : "utc");
    write_devices(out, vm);
    fprintf(out, "</domain>\n");
    fclose(out);
    return text;
}
