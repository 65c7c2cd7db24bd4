/* SPDX-License-Identifier: Apache-2.0 */
/* VMX: read, written, hostile. */
#include "orchestrator_testing.h"

#include "import.h"
#include "vmx.h"

#define MIB (UINT64_C(1) << 20)

/* As ESXi 7 writes one, shortened. */
static const char esxi[] =
    ".encoding = \"UTF-8\"\n"
    "config.version = \"8\"\n"
    "virtualHW.version = \"19\"\n"
    "nvram = \"web.nvram\"\n"
    "svga.present = \"TRUE\"\n"
    "pciBridge0.present = \"TRUE\"\n"
    "displayName = \"web |22one|22 \xc3\xa4|7c\"\n"
    "annotation = \"first line|0Asecond\"\n"
    "floppy0.present = \"FALSE\"\n"
    "numvcpus = \"4\"\n"
    "cpuid.coresPerSocket = \"2\"\n"
    "memSize = \"4096\"\n"
    "firmware = \"efi\"\n"
    "uefi.secureBoot.enabled = \"TRUE\"\n"
    "vtpm.present = \"TRUE\"\n"
    "scsi0.virtualDev = \"pvscsi\"\n"
    "scsi0.present = \"TRUE\"\n"
    "scsi1.virtualDev = \"lsilogic\"\n"
    "scsi1.present = \"TRUE\"\n"
    "sata0.present = \"TRUE\"\n"
    "nvme0.present = \"TRUE\"\n"
    "scsi0:10.deviceType = \"scsi-hardDisk\"\n"
    "scsi0:10.fileName = \"/vmfs/volumes/59-ab/web/data.vmdk\"\n"
    "scsi0:10.mode = \"independent-persistent\"\n"
    "scsi0:10.present = \"TRUE\"\n"
    "SCSI0:2.DEVICETYPE = \"scsi-hardDisk\"\n"
    "scsi0:2.fileName = \"web-000001.vmdk\"\n"
    "scsi0:2.present = \"true\"\n"
    "scsi1:0.fileName = \"shared.vmdk\"\n"
    "scsi1:0.sharing = \"multi-writer\"\n"
    "scsi1:0.present = \"TRUE\"\n"
    "scsi1:1.fileName = \"gone.vmdk\"\n"
    "scsi1:1.present = \"FALSE\"\n"
    "nvme0:0.fileName = \"fast.vmdk\"\n"
    "nvme0:0.present = \"TRUE\"\n"
    "sata0:0.deviceType = \"cdrom-image\"\n"
    "sata0:0.fileName = \"/usr/lib/vmware/isoimages/linux.iso\"\n"
    "sata0:0.present = \"TRUE\"\n"
    "ide1:0.deviceType = \"rawDisk\"\n"
    "ide1:0.fileName = \"lun.vmdk\"\n"
    "ide1:0.present = \"TRUE\"\n"
    "bios.hddOrder = \"scsi0:10,nvme0:0\"\n"
    "ethernet1.virtualDev = \"e1000\"\n"
    "ethernet1.networkName = \"Back|22end\"\n"
    "ethernet1.addressType = \"static\"\n"
    "ethernet1.address = \"00:50:56:3F:00:01\"\n"
    "ethernet1.startConnected = \"FALSE\"\n"
    "ethernet1.present = \"TRUE\"\n"
    "ethernet0.virtualDev = \"vmxnet3\"\n"
    "ethernet0.networkName = \"VM Network\"\n"
    "ethernet0.addressType = \"vpx\"\n"
    "ethernet0.generatedAddress = \"00:0c:29:AA:bb:02\"\n"
    "ethernet0.address = \"00:00:00:00:00:00\"\n"
    "ethernet0.present = \"TRUE\"\n"
    "ethernet2.present = \"FALSE\"\n"
    "pciPassthru0.present = \"TRUE\"\n"
    "guestOS = \"debian11-64\"\n"
    "uuid.bios = \"56 4d 0a 1B 2c 3d 4e 5f-60 71 82 93 a4 b5 c6 d7\"\n";

static struct vm imported(const char *text)
{
    struct ds_error err = DS_ERROR_INIT;
    struct vm vm;

    if (import_vmx(text, strlen(text), &vm, &err) != 0)
        flunk("%s", err.message);
    return vm;
}

static void test_vmx__machine(void **state)
{
    struct vm vm = imported(esxi);

    (void)state;
    assert_string_equal(vm.name, "web \"one\" \xc3\xa4|");
    assert_string_equal(vm.description, "first line\nsecond");
    assert_string_equal(vm.guest_os, "debian11-64");
    assert_string_equal(vm.arch, "x86_64");
    assert_string_equal(vm.uuid, "564d0a1b-2c3d-4e5f-6071-8293a4b5c6d7");
    assert_int_equal(vm.cpu_count, 4);
    assert_int_equal(vm.socket_count, 2);
    assert_int_equal(vm.core_count, 2);
    assert_int_equal(vm.thread_count, 1);
    assert_int_equal(vm.memory_bytes, 4096 * MIB);
    assert_int_equal(vm.firmware, VM_FIRMWARE_UEFI);
    assert_true(vm.secure_boot);
    assert_int_equal(vm.tpm, VM_TPM_2_0);
    assert_int_equal(vm.passthrough_count, 1);
    assert_int_equal(vm.removable_count, 1);
    vm_free(&vm);
}

static void assert_disk(const struct vm_disk *disk, const char *name,
                        const char *path, enum vm_bus bus, unsigned unit,
                        const char *controller)
{
    assert_string_equal(disk->name, name);
    assert_string_equal(disk->path, path);
    assert_string_equal(disk->format, "vmdk");
    assert_int_equal(disk->bus, bus);
    assert_int_equal(disk->unit_index, unit);
    assert_true(text_same(disk->controller, controller));
}

/* In the order of places, not of lines or of letters. */
static void test_vmx__disks(void **state)
{
    struct vm vm = imported(esxi);

    (void)state;
    assert_int_equal(vm.disk_count, 5);
    assert_disk(&vm.disks[0], "scsi0:2", "web-000001.vmdk", VM_BUS_SCSI, 0,
                "vmpvscsi");
    assert_disk(&vm.disks[1], "scsi0:10", "/vmfs/volumes/59-ab/web/data.vmdk",
                VM_BUS_SCSI, 1, "vmpvscsi");
    assert_disk(&vm.disks[2], "scsi1:0", "shared.vmdk", VM_BUS_SCSI, 2,
                "lsilogic");
    assert_disk(&vm.disks[3], "nvme0:0", "fast.vmdk", VM_BUS_NVME, 0, NULL);
    assert_disk(&vm.disks[4], "ide1:0", "lun.vmdk", VM_BUS_IDE, 0, NULL);
    assert_true(vm.disks[1].independent);
    assert_false(vm.disks[0].independent);
    assert_true(vm.disks[2].shared);
    assert_int_equal(vm.disks[4].source, VM_SOURCE_DEVICE);
    assert_int_equal(vm.disks[1].boot_order, 1);
    assert_int_equal(vm.disks[3].boot_order, 2);
    assert_int_equal(vm.disks[0].boot_order, 0);
    vm_free(&vm);
}

static void test_vmx__networks(void **state)
{
    struct vm vm = imported(esxi);

    (void)state;
    assert_int_equal(vm.nic_count, 2);
    assert_string_equal(vm.nics[0].mac, "00:0c:29:aa:bb:02");
    assert_string_equal(vm.nics[0].model, "vmxnet3");
    assert_string_equal(vm.nics[0].network, "VM Network");
    assert_false(vm.nics[0].unplugged);
    assert_string_equal(vm.nics[1].mac, "00:50:56:3f:00:01");
    assert_string_equal(vm.nics[1].network, "Back\"end");
    assert_true(vm.nics[1].unplugged);
    vm_free(&vm);
}

/* "scsi00:0" is not VMware's name of a place: nothing is there twice. */
static void test_vmx__exact_names(void **state)
{
    struct vm vm = imported("displayName = \"web\"\n"
                            "memsize = \"512\"\n"
                            "scsi0.present = \"TRUE\"\n"
                            "scsi0:0.present = \"TRUE\"\n"
                            "scsi0:0.fileName = \"web.vmdk\"\n"
                            "scsi00:0.present = \"TRUE\"\n"
                            "scsi0:+0.present = \"TRUE\"\n"
                            "ethernet0.present = \"TRUE\"\n"
                            "ethernet0.networkName = \"VM Network\"\n"
                            "ethernet0.generatedAddress = "
                            "\"00:0c:29:aa:bb:02\"\n"
                            "ethernet01.present = \"TRUE\"\n");

    (void)state;
    assert_int_equal(vm.disk_count, 1);
    assert_int_equal(vm.nic_count, 1);
    vm_free(&vm);
}

/* As Workstation writes it on Windows: no port groups, old encoding, \r. */
static void test_vmx__hosted(void **state)
{
    struct vm vm = imported("\xef\xbb\xbf#!/usr/bin/vmware\r\n"
                            "# a comment\r\n\r\n"
                            "  displayName=\"old\"   # behind\r\n"
                            "memsize = 512\r\n"
                            "ide0:0.present = \"TRUE\"\r\n"
                            "ide0:0.fileName = \"old.vmdk\"\r\n"
                            "ethernet0.present = \"TRUE\"\r\n"
                            "ethernet0.connectionType = \"nat\"\r\n"
                            "ethernet0.addressType = \"generated\"\r\n"
                            "ethernet3.present = \"TRUE\"\r\n"
                            "ethernet3.vnet = \"VMnet2\"\r\n"
                            "ethernet3.connectionType = \"custom\"\r\n"
                            "floppy0.present = \"TRUE\"\r\n");

    (void)state;
    assert_string_equal(vm.name, "old");
    assert_int_equal(vm.cpu_count, 1);
    assert_int_equal(vm.socket_count, 0);
    assert_int_equal(vm.memory_bytes, 512 * MIB);
    assert_int_equal(vm.firmware, VM_FIRMWARE_BIOS);
    assert_string_equal(vm.nics[0].network, "nat");
    assert_string_equal(vm.nics[0].mac, "");
    assert_string_equal(vm.nics[1].network, "VMnet2");
    assert_int_equal(vm.removable_count, 1);
    vm_free(&vm);
}

static void test_vmx__encodings(void **state)
{
    struct vm vm = imported("memsize = \"64\"\n"
                            ".encoding = \"windows-1252\"\n"
                            "displayName = \"caf\xe9\"\n");

    (void)state;
    assert_string_equal(vm.name, "caf\xc3\xa9");
    vm_free(&vm);
    /* The second byte of this character is a |. */
    vm = imported(".encoding = \"Shift_JIS\"\nmemsize = \"64\"\n"
                  "displayName = \"\x83\x7c|41\"\n");
    assert_string_equal(vm.name, "\xe3\x83\x9d"
                                 "A");
    vm_free(&vm);
}

#define LEAST "memsize = \"64\"\n"

static void test_vmx__refused(void **state)
{
    static const struct {
        const char *text;
        enum ds_error_class error_class;
        const char *words;
    } cases[] = {
        { "", DS_ERR_CORRUPT, "has no memsize" },
        { "memsize = \"64\nx = \"1\"\n", DS_ERR_CORRUPT,
          "line 1: \" is never" },
        { LEAST "nonsense\n", DS_ERR_CORRUPT, "line 2: have nonsense" },
        { LEAST "a b = \"c\"\n", DS_ERR_CORRUPT, "line 2" },
        { LEAST "= \"c\"\n", DS_ERR_CORRUPT, "line 2" },
        { LEAST "a = \"b\" c\n", DS_ERR_CORRUPT, "line 2: have c behind" },
        { LEAST "a = \"|2\"\n", DS_ERR_CORRUPT, "line 2: have |2 expect" },
        { LEAST "a = \"|00\"\n", DS_ERR_CORRUPT, "line 2: have |00" },
        { LEAST "a = \"|FF\"\n", DS_ERR_CORRUPT, "line 2: value is no UTF-8" },
        { LEAST "a = \"\xff\"\n", DS_ERR_CORRUPT, "is no UTF-8" },
        { LEAST "MEMSIZE = \"64\"\n", DS_ERR_CORRUPT, "in line 1 already" },
        { LEAST ".encoding = \"no-such\"\n", DS_ERR_UNSUPPORTED, "no-such" },
        { "memsize = \"-1\"\n", DS_ERR_CORRUPT, "memsize, have -1 expect 4" },
        { "memsize = \"99999999999999999999999\"\n", DS_ERR_CORRUPT,
          "memsize" },
        { "memsize = \"\"\n", DS_ERR_CORRUPT, "memsize" },
        { LEAST "numvcpus = \"0\"\n", DS_ERR_CORRUPT, "numvcpus, have 0" },
        { LEAST "numvcpus = \"5000\"\n", DS_ERR_CORRUPT, "expect 1 to 4096" },
        { LEAST "numvcpus = \"4\"\ncpuid.coresPerSocket = \"3\"\n",
          DS_ERR_CORRUPT, "line 3: cpuid.coresPerSocket, have 3" },
        { LEAST "firmware = \"coreboot\"\n", DS_ERR_UNSUPPORTED, "coreboot" },
        { LEAST "scsi4:0.present = \"TRUE\"\n", DS_ERR_CORRUPT,
          "have scsi4:0.present expect controllers 0 to 3" },
        { LEAST "ide0:2.present = \"TRUE\"\n", DS_ERR_CORRUPT, "units 0 to 1" },
        { LEAST "scsi0:0.present = \"TRUE\"\nscsi0.present = \"TRUE\"\n",
          DS_ERR_CORRUPT, "line 2: scsi0:0 has no fileName" },
        { LEAST "scsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"a\"\n",
          DS_ERR_CORRUPT, "its controller scsi0 is not" },
        { LEAST "scsi0.present = \"TRUE\"\nscsi0.virtualDev = \"ncr\"\n"
                "scsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"a\"\n",
          DS_ERR_UNSUPPORTED, "scsi0.virtualDev, have ncr" },
        { LEAST "ide0:0.present = \"TRUE\"\nide0:0.deviceType = \"tape\"\n",
          DS_ERR_UNSUPPORTED, "ide0:0.deviceType, have tape" },
        { LEAST "ide0:0.present = \"TRUE\"\nide0:0.fileName = \"a\"\n"
                "ide0:0.redo = \"./a.REDO\"\n",
          DS_ERR_UNSUPPORTED, "redo log" },
        { LEAST "ethernet0.present = \"TRUE\"\n"
                "ethernet0.addressType = \"static\"\n",
          DS_ERR_CORRUPT, "no address" },
        { LEAST "ethernet0.present = \"TRUE\"\n"
                "ethernet0.generatedAddress = \"00:11\"\n",
          DS_ERR_ARG, "ethernet0: MAC address, have 00:11" },
        { LEAST "ethernet99.present = \"TRUE\"\n", DS_ERR_LIMIT, "ethernet99" },
        { LEAST "encryption.keySafe = \"x\"\n", DS_ERR_UNSUPPORTED,
          "encrypted" },
        { LEAST "checkpoint.vmState = \"a.vmss\"\n", DS_ERR_REFUSED,
          "suspended" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct ds_error err = DS_ERROR_INIT;
        struct vm vm = { 0 };

        if (import_vmx(cases[i].text, strlen(cases[i].text), &vm, &err) == 0)
            flunk("taken: %s", cases[i].text);
        assert_said(&err, cases[i].error_class, cases[i].words);
    }
}

/* Every cut of a good file, and every byte of it another: an error or a vm,
 * never a fault. */
static void test_vmx__hostile(void **state)
{
    size_t length = strlen(esxi);
    autofree char *text = text_copy(esxi);

    (void)state;
    for (size_t i = 0; i < length; i++) {
        static const char others[] = { '\0', '\n', '"', '|', '=', '\xff' };

        for (size_t other = 0; other <= sizeof(others); other++) {
            struct ds_error err = DS_ERROR_INIT;
            struct vm vm = { 0 };
            bool cut = other == sizeof(others);

            if (!cut)
                text[i] = others[other];
            if (import_vmx(text, cut ? i : length, &vm, &err) == 0)
                vm_free(&vm);
            else
                assert_string_not_equal(err.message, "");
            text[i] = esxi[i];
        }
    }
}

static void test_vmx__too_many_lines(void **state)
{
    size_t count = VMX_LINE_COUNT_MAX + 1;
    autofree char *text = need(count + 1);
    struct ds_error err = DS_ERROR_INIT;
    struct vmx vmx = { 0 };

    (void)state;
    memset(text, '\n', count);
    assert_int_equal(vmx_parse(text, count, &vmx, &err), -DS_ERR_LIMIT);
}

/* -- written -------------------------------------------------------------- */

static char *as_json(const struct vm *vm)
{
    autojson json_t *json = vm_to_json(vm);

    return json_dumps(json, JSON_INDENT(1) | JSON_SORT_KEYS);
}

static char *written(const struct vm *vm, const char *directory)
{
    struct ds_error err = DS_ERROR_INIT;
    char *text;

    if (vmx_write(vm, directory, &text, &err) != 0)
        flunk("%s", err.message);
    return text;
}

/* What is written reads as what it was written of. */
static void assert_round_trip(struct vm *vm)
{
    autofree char *text = written(vm, "/vmfs/volumes/ds/web");
    struct vm again = imported(text);
    autofree char *have = as_json(&again), *want = as_json(vm);

    assert_string_equal(have, want);
    vm_free(&again);
}

static struct vm portable(void)
{
    struct vm vm = imported(esxi);
    struct vm_disk lun;

    /* What a VM elsewhere does not have: host devices, CDs, a LUN. */
    vm.passthrough_count = vm.removable_count = 0;
    lun = vm.disks[--vm.disk_count];
    free(lun.name);
    free(lun.path);
    free(lun.format);
    text_set(&vm.disks[0].name, "scsi0:0");
    text_set(&vm.disks[1].name, "scsi0:1");
    return vm;
}

static void test_vmx_write__round_trip(void **state)
{
    struct vm vm = portable();

    (void)state;
    assert_round_trip(&vm);
    vm.firmware = VM_FIRMWARE_BIOS;
    vm.secure_boot = false;
    vm.tpm = VM_TPM_NONE;
    vm.nics[0].mac[0] = '\0';
    vm.socket_count = vm.core_count = vm.thread_count = 0;
    text_set(&vm.description, NULL);
    assert_round_trip(&vm);
    vm_free(&vm);
}

/* 40 disks: three controllers, and none at a controller's own place. */
static void test_vmx_write__many_disks(void **state)
{
    struct vm vm = { .name = text_copy("many"),
                     .cpu_count = 1,
                     .memory_bytes = 64 * MIB,
                     .arch = text_copy("x86_64"),
                     .guest_os = text_copy("other-64") };
    struct vm_disk *disk;

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        unsigned unit = i % 15;

        assert_int_equal(vm_add_disk(&vm, &disk, NULL), 0);
        disk->path = text_format("disk%u.vmdk", i);
        disk->format = text_copy("vmdk");
        disk->controller = text_copy("lsilogic");
        disk->bus = VM_BUS_SCSI;
        disk->unit_index = i;
        disk->name =
            text_format("scsi%u:%u", i / 15, unit < 7 ? unit : unit + 1);
    }
    assert_round_trip(&vm);
    for (unsigned i = 40; i < 61; i++) {
        assert_int_equal(vm_add_disk(&vm, &disk, NULL), 0);
        disk->path = text_copy("x.vmdk");
        disk->format = text_copy("vmdk");
        disk->name = text_copy("x");
        disk->bus = VM_BUS_SCSI;
        disk->controller = text_copy("lsilogic");
    }
    {
        struct ds_error err = DS_ERROR_INIT;
        char *text;

        assert_int_equal(vmx_write(&vm, ".", &text, &err), -DS_ERR_LIMIT);
        assert_said(&err, DS_ERR_LIMIT, "more disks on the scsi bus than 4");
    }
    vm_free(&vm);
}

static void test_vmx_write__golden(void **state)
{
    struct vm vm = portable();
    autofree char *text = NULL;

    (void)state;
    text_set(&vm.disks[0].path, "[store 1] web/web.vmdk");
    text_set(&vm.disks[1].path, "[store 2] data/data.vmdk");
    text = written(&vm, "[store 1] web");
    assert_golden("vmx_write.vmx", text);
    vm_free(&vm);
}

/* No value can become a line of its own. */
static void test_vmx_write__injection(void **state)
{
    struct vm vm = portable();
    autofree char *text = NULL;
    struct vm again;

    (void)state;
    text_set(&vm.name, "x\"\nscsi0:9.fileName = \"/etc/shadow\"\r\n#|22");
    text_set(&vm.nics[0].network, "\"\nethernet0.present = \"FALSE");
    text_set(&vm.guest_os, "other\"\nx");
    text = written(&vm, "/vmfs/volumes/ds/web");
    again = imported(text);
    assert_string_equal(again.name, vm.name);
    assert_string_equal(again.nics[0].network, vm.nics[0].network);
    assert_string_equal(again.guest_os, "other-64");
    assert_int_equal(again.disk_count, vm.disk_count);
    vm_free(&again);
    vm_free(&vm);
}

static void assert_not_written(struct vm *vm, const char *words)
{
    struct ds_error err = DS_ERROR_INIT;
    char *text = NULL;

    assert_int_equal(vmx_write(vm, "/d", &text, &err), -DS_ERR_UNSUPPORTED);
    assert_said(&err, DS_ERR_UNSUPPORTED, words);
}

static void test_vmx_write__refused(void **state)
{
    struct vm vm = portable();

    (void)state;
    vm.memory_bytes += MIB;
    assert_not_written(&vm, "memory, have 4296015872 bytes");
    vm.memory_bytes -= MIB;
    vm.disks[0].bus = VM_BUS_VIRTIO;
    assert_not_written(&vm, "bus, have virtio");
    vm.disks[0].bus = VM_BUS_SCSI;
    text_set(&vm.disks[0].controller, "virtio-scsi");
    assert_not_written(&vm, "controller, have virtio-scsi");
    text_set(&vm.disks[0].controller, NULL);
    text_set(&vm.disks[0].format, "qcow2");
    assert_not_written(&vm, "format, have qcow2");
    text_set(&vm.disks[0].format, "vmdk");
    text_set(&vm.nics[0].model, "virtio");
    assert_not_written(&vm, "model, have virtio");
    text_set(&vm.nics[0].model, "vmxnet3");
    vm.nics[0].vlan = 5;
    assert_not_written(&vm, "VLAN 5");
    vm_free(&vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vmx__machine),
        cmocka_unit_test(test_vmx__disks),
        cmocka_unit_test(test_vmx__networks),
        cmocka_unit_test(test_vmx__exact_names),
        cmocka_unit_test(test_vmx__hosted),
        cmocka_unit_test(test_vmx__encodings),
        cmocka_unit_test(test_vmx__refused),
        cmocka_unit_test(test_vmx__hostile),
        cmocka_unit_test(test_vmx__too_many_lines),
        cmocka_unit_test(test_vmx_write__round_trip),
        cmocka_unit_test(test_vmx_write__many_disks),
        cmocka_unit_test(test_vmx_write__golden),
        cmocka_unit_test(test_vmx_write__injection),
        cmocka_unit_test(test_vmx_write__refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
