/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a QEMU machine takes of disks and NICs under libvirt. Found by defining
 * machines of ever more devices, beside those that we give each (agent's port,
 * tablet, VGA), with libvirt 9.0 and QEMU 7.2:
 *
 *              i440fx              q35
 *   IDE        4                   none
 *   USB        126                 142
 *   NVMe       none: libvirt has no word for such a bus
 *   SCSI, SATA controllers are added as they are needed
 *   PCI        bridges are added   228 ports: virtio disks and NICs together
 */
#include "hypervisor_libvirt.h"
#include "libvirt_verbs.h"

#include <string.h>

#define IDE_COUNT_MAX 4
#define USB_COUNT_MAX 126
#define Q35_PORT_COUNT_MAX 228

static bool is_q35(const struct vm *vm)
{
    return vm->machine != NULL && strstr(vm->machine, "q35") != NULL;
}

static int at_most(unsigned have, unsigned most, const char *what,
                   struct ds_error *err)
{
    return have <= most
               ? 0
               : fail(err, DS_ERR_LIMIT, "%s, have %u expect at most %u", what,
                      have, most);
}

static int machine_fits(const struct vm *vm, struct ds_error *err)
{
    unsigned counts[VM_BUS_COUNT] = { 0 };
    unsigned nics = (unsigned)vm->nic_count;
    int result;

    for (size_t i = 0; i < vm->disk_count; i++)
        counts[vm->disks[i].bus]++;
    result = at_most(counts[VM_BUS_NVME], 0, "disks on an NVMe bus", err);
    if (result == 0)
        result = at_most(counts[VM_BUS_IDE], is_q35(vm) ? 0 : IDE_COUNT_MAX,
                         is_q35(vm) ? "disks on an IDE bus of a q35 machine"
                                    : "disks on the IDE bus",
                         err);
    if (result == 0)
        result = at_most(counts[VM_BUS_USB], USB_COUNT_MAX,
                         "disks on the USB bus", err);
    if (result == 0 && is_q35(vm))
        result = at_most(counts[VM_BUS_VIRTIO] + nics, Q35_PORT_COUNT_MAX,
                         "virtio disks and network interfaces", err);
    return result;
}

int libvirt_fits(struct hypervisor *hypervisor, const struct vm *vm,
                 struct ds_error *err)
{
    const struct libvirt *libvirt = (struct libvirt *)hypervisor;

    return text_same(libvirt->driver, "QEMU") ? machine_fits(vm, err) : 0;
}
