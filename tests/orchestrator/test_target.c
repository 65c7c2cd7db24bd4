/* SPDX-License-Identifier: Apache-2.0 */
/* What the target is asked before anything is made: limits, names of files. */
#include "orchestrator_testing.h"

#include "hypervisor_libvirt.h"
#include "plan.h"

/* -- limits of QEMU's machines -------------------------------------------- */

struct devices {
    const char *machine;
    enum vm_bus bus;
    unsigned disk_count, nic_count;
    const char *words; /* NULL: fits */
};

static void assert_fits(const struct devices *devices, const char *driver)
{
    struct libvirt libvirt = { .driver = (char *)(uintptr_t)driver };
    struct vm vm = { .machine = text_copy(devices->machine) };
    struct ds_error err = DS_ERROR_INIT;
    struct vm_disk *disk;
    struct vm_nic *nic;
    int result;

    for (unsigned i = 0; i < devices->disk_count; i++) {
        assert_int_equal(vm_add_disk(&vm, &disk, NULL), 0);
        disk->bus = devices->bus;
    }
    for (unsigned i = 0; i < devices->nic_count; i++)
        assert_int_equal(vm_add_nic(&vm, &nic, NULL), 0);
    result = hypervisor_libvirt.fits(&libvirt.common, &vm, &err);
    vm_free(&vm);
    if (result == 0 && devices->words == NULL)
        return;
    if (result == 0)
        flunk("%u disks, %u interfaces: fit, expect %s", devices->disk_count,
              devices->nic_count, devices->words);
    if (devices->words == NULL)
        flunk("%u disks, %u interfaces: %s", devices->disk_count,
              devices->nic_count, err.message);
    assert_said(&err, DS_ERR_LIMIT, devices->words);
}

static void test_limits__of_machines(void **state)
{
    static const struct devices cases[] = {
        { NULL, VM_BUS_IDE, 4, 0, NULL },
        { "pc-i440fx-7.2", VM_BUS_IDE, 5, 0, "have 5 expect at most 4" },
        { "q35", VM_BUS_IDE, 1, 0, "q35 machine, have 1 expect at most 0" },
        { "q35", VM_BUS_SATA, 256, 64, NULL },
        { "q35", VM_BUS_SCSI, 256, 64, NULL },
        { "pc", VM_BUS_VIRTIO, 256, 64, NULL },
        { "pc-q35-7.2", VM_BUS_VIRTIO, 200, 28, NULL },
        { "pc-q35-7.2", VM_BUS_VIRTIO, 200, 29, "have 229 expect at most 228" },
        { "pc", VM_BUS_USB, 126, 0, NULL },
        { "pc", VM_BUS_USB, 127, 0, "have 127 expect at most 126" },
        { "pc", VM_BUS_NVME, 1, 0, "NVMe bus, have 1 expect at most 0" },
    };
    static const struct devices other = { NULL, VM_BUS_NVME, 9, 9, NULL };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_fits(&cases[i], "QEMU");
    assert_fits(&other, "Xen"); /* whose limits are not known */
}

/* -- names of other hosts ------------------------------------------------- */

static void assert_named(const char *from, const char *to, const char *ours,
                         const char *theirs)
{
    struct pairs pairs = { 0 };
    struct vm vm = { 0 };
    struct vm_disk *disk;

    pairs_add(&pairs, from, to);
    assert_int_equal(vm_add_disk(&vm, &disk, NULL), 0);
    disk->path = text_copy(ours);
    vm_map_paths(&vm, &pairs);
    assert_string_equal(vm.disks[0].path, theirs);
    vm_free(&vm);
    pairs_free(&pairs);
}

/* Both ways, and with or without what stands between the names. */
static void test_paths__of_other_hosts(void **state)
{
    static const struct {
        const char *ours, *theirs, *file, *named;
    } cases[] = {
        { "/mnt/ds1", "/vmfs/volumes/ds1", "/mnt/ds1/web/a.vmdk",
          "/vmfs/volumes/ds1/web/a.vmdk" },
        { "/mnt/ds1", "[ds1]", "/mnt/ds1/web/a.vmdk", "[ds1] web/a.vmdk" },
        { "/mnt/ds1/", "[ds1] ", "/mnt/ds1/web/a.vmdk", "[ds1] web/a.vmdk" },
        { "/mnt/ds1/web", "[ds1] web", "/mnt/ds1/web/a.vmdk",
          "[ds1] web/a.vmdk" },
        { "/mnt/vm", "C:/vm", "/mnt/vm/a.vhdx", "C:/vm/a.vhdx" },
        { "/mnt/c", "C:", "/mnt/c/vm/a.vhdx", "C:/vm/a.vhdx" },
        { "/mnt/c", "//filer/vm", "/mnt/c/a.vhdx", "//filer/vm/a.vhdx" },
        { "/", "/old", "/vm/a.raw", "/old/vm/a.raw" },
        { "/mnt/ds1", "[ds1]", "/mnt/ds1", "[ds1]" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_named(cases[i].ours, cases[i].theirs, cases[i].file,
                     cases[i].named);
        assert_named(cases[i].theirs, cases[i].ours, cases[i].named,
                     cases[i].file);
    }
    assert_named("/mnt/ds1", "[ds1]", "/mnt/ds10/a", "/mnt/ds10/a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits__of_machines),
        cmocka_unit_test(test_paths__of_other_hosts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
