/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots by libvirt: an overlay in a file beside each disk takes what the
 * guest writes, so that the disk's own file is still. Merging commits the
 * overlays back and removes them.
 *
 *     web.vmdk  <-  web.diskshift-7      after create: the guest writes right
 *     web.vmdk                           after merge: what it wrote is left
 *
 * libvirt keeps them by name, so that ours are found again after a kill.
 */
#include "hypervisor_libvirt.h"
#include "libvirt_verbs.h"
#include "xml.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <libvirt/virterror.h>

static void free_snapshots(virDomainSnapshotPtr *snapshots, int count)
{
    for (int i = 0; i < count; i++)
        virDomainSnapshotFree(snapshots[i]);
    free(snapshots);
}

int libvirt_snapshot_find(struct hypervisor *hypervisor, const struct vm *vm,
                          struct hypervisor_snapshot *out, struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    virDomainSnapshotPtr *snapshots = NULL;
    int result = libvirt_domain(hypervisor, vm->name, &domain, err), count;

    if (result != 0)
        return result;
    count = virDomainListAllSnapshots(domain, &snapshots, 0);
    if (count < 0)
        return libvirt_failed(hypervisor, "list snapshots of", vm->name, err);
    for (int i = 0; i < count; i++) {
        const char *name = virDomainSnapshotGetName(snapshots[i]);

        if (text_begins(name, HYPERVISOR_SNAPSHOT_PREFIX))
            text_set(&out->name, name);
    }
    free_snapshots(snapshots, count);
    return out->name != NULL;
}

static char *overlay_of(const struct vm_disk *disk, const char *name)
{
    const char *file = path_name(disk->path);
    const char *dot = strrchr(file, '.');
    size_t length =
        dot != NULL ? (size_t)(dot - disk->path) : strlen(disk->path);

    return text_format("%.*s.%s", (int)length, disk->path, name);
}

static char *snapshot_xml(const struct vm *vm, const char *name,
                          struct texts *overlays)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    if (out == NULL)
        return need(1);
    fprintf(out, "<domainsnapshot><name>%s</name><disks>", name);
    for (size_t i = 0; i < vm->disk_count; i++) {
        const struct vm_disk *disk = &vm->disks[i];
        autofree char *overlay = overlay_of(disk, name);
        autofree char *escaped = xml_escape(overlay);

        texts_add(overlays, disk->source == VM_SOURCE_FILE ? overlay : "");
        if (disk->source != VM_SOURCE_FILE)
            fprintf(out, "<disk name='%s' snapshot='no'/>", disk->name);
        else
            fprintf(out,
                    "<disk name='%s' snapshot='external'><driver "
                    "type='qcow2'/><source file='%s'/></disk>",
                    disk->name, escaped);
    }
    fprintf(out, "</disks></domainsnapshot>");
    fclose(out);
    return text;
}

int libvirt_snapshot_create(struct hypervisor *hypervisor, const struct vm *vm,
                            const char *name, bool quiesce,
                            struct hypervisor_snapshot *out,
                            struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    autofree char *text = NULL;
    unsigned flags = VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY |
                     VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC;
    virDomainSnapshotPtr made;
    int result = libvirt_domain(hypervisor, vm->name, &domain, err);

    if (result != 0)
        return result;
    text = snapshot_xml(vm, name, &out->overlays);
    if (quiesce)
        flags |= VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE;
    made = virDomainSnapshotCreateXML(domain, text, flags);
    if (made == NULL) {
        hypervisor_snapshot_free(out);
        return libvirt_failed(hypervisor, "make a snapshot of", vm->name, err);
    }
    virDomainSnapshotFree(made);
    text_set(&out->name, name);
    return 0;
}

int libvirt_snapshot_merge(struct hypervisor *hypervisor, const struct vm *vm,
                           struct ds_error *err)
{
    autodomain virDomainPtr domain = NULL;
    virDomainSnapshotPtr *snapshots = NULL;
    int result = libvirt_domain(hypervisor, vm->name, &domain, err), count;

    if (result != 0)
        return result;
    count = virDomainListAllSnapshots(domain, &snapshots, 0);
    if (count < 0)
        return libvirt_failed(hypervisor, "list snapshots of", vm->name, err);
    for (int i = 0; i < count && result == 0; i++)
        if (text_begins(virDomainSnapshotGetName(snapshots[i]),
                        HYPERVISOR_SNAPSHOT_PREFIX) &&
            virDomainSnapshotDelete(snapshots[i], 0) != 0)
            result = libvirt_failed(hypervisor, "merge the snapshot of",
                                    vm->name, err);
    free_snapshots(snapshots, count);
    return result;
}
