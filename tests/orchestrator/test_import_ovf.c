/* SPDX-License-Identifier: Apache-2.0 */
/* OVF: the machine that a package describes. */
#include "orchestrator_testing.h"

#include "import.h"

#define MIB (UINT64_C(1) << 20)

/* As ovftool writes one, shortened. */
#define HEAD                                                                   \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"                             \
    "<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\""               \
    " xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\""                    \
    " xmlns:rasd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"         \
    "CIM_ResourceAllocationSettingData\""                                      \
    " xmlns:vmw=\"http://www.vmware.com/schema/ovf\">\n"                       \
    "<References><File ovf:href=\"web-disk1.vmdk\" ovf:id=\"file1\"/>"         \
    "</References>\n"                                                          \
    "<DiskSection><Info/>"                                                     \
    "<Disk ovf:capacity=\"1\" ovf:diskId=\"vmdisk1\" ovf:fileRef=\"file1\"/>"  \
    "<Disk ovf:capacity=\"1\" ovf:diskId=\"fresh\"/></DiskSection>\n"
#define SYSTEM                                                                 \
    "<VirtualSystem ovf:id=\"web-id\"><Info/><Name>web &amp; co</Name>\n"      \
    "<OperatingSystemSection ovf:id=\"96\" vmw:osType=\"debian10_64Guest\"/>"  \
    "<AnnotationSection><Info/><Annotation>a note</Annotation>"                \
    "</AnnotationSection>\n<VirtualHardwareSection>\n"
#define TAIL "</VirtualHardwareSection></VirtualSystem></Envelope>\n"
#define ITEM(number, type, rest)                                               \
    "<Item><rasd:InstanceID>" #number "</rasd:InstanceID>"                     \
    "<rasd:ResourceType>" #type "</rasd:ResourceType>" rest "</Item>\n"
#define CPUS(count) "<rasd:VirtualQuantity>" #count "</rasd:VirtualQuantity>"
#define MEMORY                                                                 \
    ITEM(2, 4,                                                                 \
         "<rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>"            \
         "<rasd:VirtualQuantity>2048</rasd:VirtualQuantity>")
#define BASE ITEM(1, 3, CPUS(2)) MEMORY
#define SUBTYPE(type) "<rasd:ResourceSubType>" type "</rasd:ResourceSubType>"
#define DISK(parent, resource)                                                 \
    ITEM(9, 17,                                                                \
         "<rasd:ElementName>Hard Disk "                                        \
         "1</rasd:ElementName><rasd:Parent>" #parent                           \
         "</rasd:Parent><rasd:HostResource>" resource "</rasd:HostResource>")

static const char whole[] = HEAD SYSTEM ITEM(
    1, 3, CPUS(4) "<vmw:CoresPerSocket>2</vmw:CoresPerSocket>")
    MEMORY ITEM(3, 6, SUBTYPE("VirtualSCSI")) ITEM(4, 20,
                                                   SUBTYPE("vmware.sata.ahci"))
        ITEM(5, 15, "<rasd:Parent>4</rasd:Parent>") DISK(3, "ovf:/disk/vmdisk1")
            ITEM(7, 10,
                 "<rasd:Address>00:50:56:aa:BB:01</rasd:Address>"
                 "<rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>"
                 "<rasd:Connection>VM Network</rasd:Connection>" SUBTYPE(
                     "VmxNet3"))
                ITEM(8, 24, "") "<vmw:Config ovf:required=\"false\" "
                                "vmw:key=\"firmware\" vmw:value=\"efi\"/>"
                                "<vmw:Config ovf:required=\"false\""
                                " vmw:key=\"bootOptions.efiSecureBootEnabled\" "
                                "vmw:value=\"true\"/>" TAIL;

static struct vm imported(const char *text)
{
    struct ds_error err = DS_ERROR_INIT;
    struct vm vm;

    if (import_ovf(text, strlen(text), &vm, &err) != 0)
        flunk("%s", err.message);
    return vm;
}

static void test_ovf__machine(void **state)
{
    struct vm vm = imported(whole);

    (void)state;
    assert_string_equal(vm.name, "web & co");
    assert_string_equal(vm.description, "a note");
    assert_string_equal(vm.guest_os, "debian10_64Guest");
    assert_int_equal(vm.cpu_count, 4);
    assert_int_equal(vm.socket_count, 2);
    assert_int_equal(vm.memory_bytes, 2048 * MIB);
    assert_int_equal(vm.firmware, VM_FIRMWARE_UEFI);
    assert_true(vm.secure_boot);
    assert_int_equal(vm.removable_count, 1);
    assert_int_equal(vm.disk_count, 1);
    assert_string_equal(vm.disks[0].member, "vmdisk1");
    assert_string_equal(vm.disks[0].format, "ova");
    assert_int_equal(vm.disks[0].bus, VM_BUS_SCSI);
    assert_string_equal(vm.disks[0].controller, "vmpvscsi");
    assert_int_equal(vm.nic_count, 1);
    assert_string_equal(vm.nics[0].mac, "00:50:56:aa:bb:01");
    assert_string_equal(vm.nics[0].model, "vmxnet3");
    assert_string_equal(vm.nics[0].network, "VM Network");
    vm_free(&vm);
}

static void test_ovf__buses(void **state)
{
    static const struct {
        const char *controller;
        enum vm_bus bus;
        const char *model;
    } cases[] = {
        { ITEM(3, 5, ""), VM_BUS_IDE, NULL },
        { ITEM(3, 6, ""), VM_BUS_SCSI, NULL },
        { ITEM(3, 6, SUBTYPE("lsilogicsas")), VM_BUS_SCSI, "lsisas1068" },
        { ITEM(3, 6, SUBTYPE("buslogic")), VM_BUS_SCSI, "buslogic" },
        { ITEM(3, 20, SUBTYPE("AHCI")), VM_BUS_SATA, NULL },
        { ITEM(3, 20, SUBTYPE("vmware.nvme.controller")), VM_BUS_NVME, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        autofree char *text =
            text_format("%s%s%s%s", HEAD SYSTEM BASE, cases[i].controller,
                        DISK(3, "/disk/vmdisk1"), TAIL);
        struct vm vm = imported(text);

        assert_int_equal(vm.disks[0].bus, cases[i].bus);
        assert_true(text_same(vm.disks[0].controller, cases[i].model));
        vm_free(&vm);
    }
}

/* What holds in the configuration that is the standard. */
static void test_ovf__configurations(void **state)
{
    struct vm vm = imported(
        HEAD
        "<DeploymentOptionSection><Configuration ovf:id=\"small\"/>"
        "<Configuration ovf:id=\"large\" ovf:default=\"true\"/>"
        "</DeploymentOptionSection>" SYSTEM BASE
        "<Item ovf:configuration=\"tiny large\">"
        "<rasd:InstanceID>1</rasd:InstanceID>"
        "<rasd:ResourceType>3</rasd:ResourceType>" CPUS(
            8) "</Item>"
               "<Item ovf:configuration=\"small\">"
               "<rasd:InstanceID>2</rasd:InstanceID>"
               "<rasd:ResourceType>4</rasd:ResourceType>" CPUS(
                   1) "</Item>"
                      "<Item "
                      "ovf:bound=\"max\"><rasd:InstanceID>1</rasd:InstanceID>"
                      "<rasd:ResourceType>3</rasd:ResourceType>" CPUS(
                          64) "</Item>" TAIL);

    (void)state;
    assert_int_equal(vm.cpu_count, 8);
    assert_int_equal(vm.memory_bytes, 2048 * MIB);
    vm_free(&vm);
}

static void test_ovf__refused(void **state)
{
    static const struct {
        const char *text;
        enum ds_error_class error_class;
        const char *words;
    } cases[] = {
        { "", DS_ERR_CORRUPT, "xml: line" },
        { "<x/>", DS_ERR_CORRUPT, "have x expect Envelope" },
        { "<!DOCTYPE x [<!ENTITY a \"b\">]><Envelope/>", DS_ERR_CORRUPT,
          "DOCTYPE" },
        { "<Envelope/>", DS_ERR_CORRUPT, "no VirtualSystem" },
        { "<Envelope><VirtualSystemCollection/></Envelope>", DS_ERR_UNSUPPORTED,
          "collection" },
        { "<Envelope><VirtualSystem/></Envelope>", DS_ERR_CORRUPT,
          "no VirtualHardwareSection" },
        { "<Envelope><VirtualSystem><VirtualHardwareSection/>"
          "<VirtualHardwareSection/></VirtualSystem></Envelope>",
          DS_ERR_UNSUPPORTED, "more than one" },
        { HEAD SYSTEM MEMORY TAIL, DS_ERR_CORRUPT, "no Item of CPUs" },
        { HEAD SYSTEM ITEM(1, 3, CPUS(1)) TAIL, DS_ERR_CORRUPT,
          "no Item of memory" },
        { HEAD SYSTEM ITEM(1, 3, CPUS(0)) TAIL, DS_ERR_CORRUPT,
          "CPUs, have 0" },
        { HEAD SYSTEM ITEM(1, 3, CPUS(-1)) TAIL, DS_ERR_CORRUPT,
          "CPUs, have -1" },
        { HEAD SYSTEM ITEM(1, 3, CPUS(99999)) TAIL, DS_ERR_CORRUPT, "CPUs" },
        { HEAD SYSTEM ITEM(
              2, 4,
              "<rasd:AllocationUnits>byte * 2^50</rasd:AllocationUnits>"
              "<rasd:VirtualQuantity>99999999999</rasd:VirtualQuantity>") TAIL,
          DS_ERR_CORRUPT, "memory, have 99999999999" },
        { HEAD SYSTEM ITEM(
              2, 4,
              "<rasd:AllocationUnits>furlong</rasd:AllocationUnits>" CPUS(1))
              TAIL,
          DS_ERR_CORRUPT, "AllocationUnits, have furlong" },
        { HEAD SYSTEM BASE DISK(3, "ovf:/disk/vmdisk1") TAIL, DS_ERR_CORRUPT,
          "Parent of a disk, have 3" },
        { HEAD SYSTEM BASE ITEM(3, 10, "<rasd:Connection>n</rasd:Connection>")
              DISK(3, "ovf:/disk/vmdisk1") TAIL,
          DS_ERR_CORRUPT, "controller's ResourceType, have 10" },
        { HEAD SYSTEM BASE ITEM(3, 6, SUBTYPE("ncr"))
              DISK(3, "ovf:/disk/vmdisk1") TAIL,
          DS_ERR_UNSUPPORTED, "SCSI controller, have ncr" },
        { HEAD SYSTEM BASE ITEM(3, 5, "") DISK(3, "ovf:/disk/other") TAIL,
          DS_ERR_CORRUPT, "have ovf:/disk/other expect the id of a Disk" },
        { HEAD SYSTEM BASE ITEM(3, 5, "") DISK(3, "ovf:/disk/fresh") TAIL,
          DS_ERR_UNSUPPORTED, "fresh is empty" },
        { HEAD SYSTEM BASE ITEM(3, 5, "") DISK(3, "ovf:/file/file1") TAIL,
          DS_ERR_UNSUPPORTED, "a file without a format" },
        { HEAD SYSTEM BASE ITEM(3, 5, "") DISK(3, "/etc/shadow") TAIL,
          DS_ERR_CORRUPT, "have /etc/shadow" },
        { HEAD SYSTEM BASE ITEM(3, 10, "") TAIL, DS_ERR_CORRUPT,
          "Connection of a network interface, have nothing" },
        { HEAD SYSTEM BASE ITEM(3, 10,
                                "<rasd:Connection>n</rasd:Connection>"
                                "<rasd:Address>x</rasd:Address>") TAIL,
          DS_ERR_ARG, "MAC address, have x" },
        { HEAD SYSTEM BASE
          "<vmw:Config vmw:key=\"firmware\" vmw:value=\"boot rom\"/>" TAIL,
          DS_ERR_UNSUPPORTED, "firmware, have boot rom" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct ds_error err = DS_ERROR_INIT;
        struct vm vm = { 0 };

        if (import_ovf(cases[i].text, strlen(cases[i].text), &vm, &err) == 0)
            flunk("taken: case %zu, %s", i, cases[i].words);
        assert_said(&err, cases[i].error_class, cases[i].words);
    }
}

static void test_ovf__more_items_than_devices(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    autofree char *text = need(64 * 1024);
    struct vm vm = { 0 };
    char *at = stpcpy(text, HEAD SYSTEM BASE);

    (void)state;
    for (unsigned i = 0; i < 1024; i++)
        at = stpcpy(at, "<Item/>\n");
    (void)stpcpy(at, TAIL);
    assert_int_equal(import_ovf(text, strlen(text), &vm, &err), -DS_ERR_LIMIT);
    assert_said(&err, DS_ERR_LIMIT, "more than 1024 items");
}

/* Every cut, and bytes made others: an error or a vm, never a fault. */
static void test_ovf__hostile(void **state)
{
    size_t length = strlen(whole);
    autofree char *text = text_copy(whole);

    (void)state;
    for (size_t i = 0; i < length; i++) {
        static const char others[] = { '\0', '<', '"', '9', '/' };

        for (size_t other = 0; other <= sizeof(others); other++) {
            struct ds_error err = DS_ERROR_INIT;
            struct vm vm = { 0 };
            bool cut = other == sizeof(others);

            if (!cut)
                text[i] = others[other];
            if (import_ovf(text, cut ? i : length, &vm, &err) == 0)
                vm_free(&vm);
            else
                assert_string_not_equal(err.message, "");
            text[i] = whole[i];
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ovf__machine),
        cmocka_unit_test(test_ovf__buses),
        cmocka_unit_test(test_ovf__configurations),
        cmocka_unit_test(test_ovf__refused),
        cmocka_unit_test(test_ovf__more_items_than_devices),
        cmocka_unit_test(test_ovf__hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
