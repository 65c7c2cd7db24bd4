/* SPDX-License-Identifier: Apache-2.0 */
/* VMs that are files, with disks beside them: what is found, and what is not
 * looked for elsewhere. */
#include "orchestrator_testing.h"

#include <errno.h>

#include <diskshift/disk.h>

#include "hypervisor.h"
#include "import.h"

static char *place;  /* of the VM's files */
static char *abroad; /* another directory */

static int set_up(void **state)
{
    (void)state;
    place = scratch_make("import");
    abroad = scratch_make("import-abroad");
    shell(
        "cd %s && qemu-img create -q -f vmdk a.vmdk 4M && "
        "qemu-img create -q -f vmdk -b a.vmdk -F vmdk a-000001.vmdk && "
        "qemu-img create -q -f vmdk -o subformat=streamOptimized s.vmdk 4M && "
        "qemu-img create -q -f qcow2 q.qcow2 4M && cp a.vmdk %s/away.vmdk",
        place, abroad);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(place);
    scratch_remove(abroad);
    return 0;
}

static char *vmx_of(const char *file_name)
{
    char *path = path_join(place, "web.vmx");
    autofree char *text =
        text_format("displayName = \"web\"\nmemsize = \"64\"\n"
                    "ide0:0.present = \"TRUE\"\nide0:0.fileName = \"%s\"\n",
                    file_name);

    write_text(path, text);
    return path;
}

static void assert_taken(const char *path, const char *allow_refs,
                         const char *disk)
{
    struct ds_error err = DS_ERROR_INIT;
    struct vm vm;

    if (import_vm(path, allow_refs, &vm, &err) != 0)
        flunk("%s: %s", err.file, err.message);
    assert_string_equal(vm.disks[0].path, disk);
    vm_free(&vm);
}

static void assert_refused(const char *path, const char *allow_refs,
                           enum ds_error_class error_class, const char *words)
{
    struct ds_error err = DS_ERROR_INIT;
    struct vm vm;

    if (import_vm(path, allow_refs, &vm, &err) == 0)
        flunk("taken: %s", vm.disks[0].path);
    assert_said(&err, error_class, words);
    assert_string_not_equal(err.file, "");
}

static void test_files__beside(void **state)
{
    static const char *const names[] = { "a.vmdk", "./a.vmdk",
                                         "/vmfs/volumes/gone/web/a.vmdk",
                                         "D:\\\\VMs\\\\web\\\\a.vmdk" };
    autofree char *disk = path_join(place, "a.vmdk");

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        autofree char *path = vmx_of(names[i]);

        assert_taken(path, NULL, disk);
    }
}

static void test_files__chain(void **state)
{
    autofree char *disk = path_join(place, "a-000001.vmdk");
    autofree char *path = vmx_of("a-000001.vmdk");
    autofree char *list = path_join(place, "web.vmsd");
    struct ds_error err = DS_ERROR_INIT;
    struct vm vm;

    (void)state;
    write_text(list, "snapshot.numSnapshots = \"1\"\n");
    assert_taken(path, NULL, disk);
    assert_int_equal(import_vm(path, NULL, &vm, &err), 0);
    assert_int_equal(vm.snapshot_count, 1);
    assert_non_null(strstr(vm.native, "displayName"));
    vm_free(&vm);
    unlink(list);
}

static void test_files__elsewhere(void **state)
{
    autofree char *away = path_join(abroad, "away.vmdk");
    autofree char *path = vmx_of(away), *link = path_join(place, "link.vmdk");
    autofree char *name = text_format("../%s/away.vmdk", path_name(abroad));

    (void)state;
    assert_refused(path, NULL, DS_ERR_REFUSED, "allow-refs");
    assert_taken(path, abroad, away);
    free(path);
    path = vmx_of(name);
    assert_refused(path, NULL, DS_ERR_REFUSED, "lies elsewhere");
    free(path);
    assert_int_equal(symlink(away, link), 0);
    path = vmx_of("link.vmdk");
    assert_refused(path, NULL, DS_ERR_REFUSED, "lies elsewhere");
    unlink(link);
    free(path);
    path = vmx_of("/etc/passwd");
    assert_refused(path, NULL, DS_ERR_REFUSED, "lies elsewhere");
    free(path);
    path = vmx_of("none.vmdk");
    assert_refused(path, NULL, DS_ERR_SYSTEM, "disk ide0:0: none.vmdk");
    free(path);
    shell("mkfifo %s/fifo.vmdk", place);
    path = vmx_of("fifo.vmdk");
    assert_refused(path, NULL, DS_ERR_REFUSED, "no regular file");
    free(path);
    path = vmx_of("q.qcow2"); /* VMware has VMDKs only */
    assert_refused(path, NULL, DS_ERR_CORRUPT, "disk ide0:0: vmdk");
}

static void test_files__domain_xml(void **state)
{
    static const char domain[] =
        "<domain type='kvm'><name>web</name><memory>65536</memory>"
        "<vcpu>1</vcpu><os><type>hvm</type></os><devices>"
        "<disk type='file' device='disk'><driver type='%s'/>"
        "<source file='/var/lib/libvirt/images/%s'/>"
        "<target dev='vda' bus='virtio'/></disk></devices></domain>";
    autofree char *path = path_join(place, "web.xml");
    autofree char *disk = path_join(place, "q.qcow2");
    autofree char *good = text_format(domain, "qcow2", "q.qcow2");
    autofree char *bad = text_format(domain, "vmdk", "q.qcow2");

    (void)state;
    write_text(path, good);
    assert_taken(path, NULL, disk);
    write_text(path, bad);
    assert_refused(path, NULL, DS_ERR_CORRUPT, "disk vda");
}

static const char ovf[] =
    "<Envelope xmlns='http://schemas.dmtf.org/ovf/envelope/1'"
    " xmlns:ovf='http://schemas.dmtf.org/ovf/envelope/1'>"
    "<References><File ovf:id='f' ovf:href='s.vmdk'/></References>"
    "<DiskSection><Disk ovf:diskId='d' ovf:fileRef='f' ovf:capacity='4194304'/>"
    "</DiskSection><VirtualSystem ovf:id='web'><VirtualHardwareSection>"
    "<Item><ResourceType>3</ResourceType><VirtualQuantity>1</VirtualQuantity>"
    "</Item><Item><ResourceType>4</ResourceType>"
    "<VirtualQuantity>64</VirtualQuantity></Item>"
    "<Item><InstanceID>3</InstanceID><ResourceType>5</ResourceType></Item>"
    "<Item><ResourceType>17</ResourceType><Parent>3</Parent>"
    "<HostResource>ovf:/disk/d</HostResource></Item>"
    "</VirtualHardwareSection></VirtualSystem></Envelope>";

static void assert_package(const char *path)
{
    struct ds_open_options options = { .format = "ova" };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_disk *disk;
    struct vm vm;

    if (import_vm(path, NULL, &vm, &err) != 0)
        flunk("%s: %s", err.file, err.message);
    assert_string_equal(vm.name, "web");
    assert_string_equal(vm.disks[0].path, path);
    assert_string_equal(vm.disks[0].format, "ova");
    options.member = vm.disks[0].member;
    assert_int_equal(ds_disk_open(vm.disks[0].path, &options, &disk, &err), 0);
    assert_int_equal(ds_disk_size_bytes(disk), 4194304);
    ds_disk_close(disk);
    vm_free(&vm);
}

static void test_files__package(void **state)
{
    autofree char *beside = path_join(place, "web.ovf");
    autofree char *archive = path_join(place, "web.ova");

    (void)state;
    write_text(beside, ovf);
    assert_package(beside);
    shell("cd %s && tar -cf web.ova web.ovf s.vmdk", place);
    assert_package(archive);
    shell("cd %s && tar --format=posix -cf web.ova web.ovf s.vmdk", place);
    assert_package(archive);
    shell("cd %s && tar -cf web.ova s.vmdk web.ovf", place);
    assert_refused(archive, NULL, DS_ERR_CORRUPT,
                   "have s.vmdk expect NAME.ovf");
    shell("cd %s && truncate -s 900 web.ova", place);
    assert_refused(archive, NULL, DS_ERR_CORRUPT, "have s.vmdk");
    shell("cd %s && tar -cf web.ova web.ovf && truncate -s 900 web.ova", place);
    assert_refused(archive, NULL, DS_ERR_CORRUPT, "ends at byte 900");
    shell("cd %s && yes | head -c 4096 >web.ova", place);
    assert_refused(archive, NULL, DS_ERR_CORRUPT, "no tar header at byte 0");
}

/* A package as the engine writes one. */
static void test_files__own_package(void **state)
{
    const char *program = getenv("DISKSHIFT");
    autofree char *archive = path_join(place, "own.ova");
    struct ds_error err = DS_ERROR_INIT;
    struct vm vm;

    (void)state;
    if (program == NULL)
        skip();
    shell("cd %s && %s convert -q -o cpus=2,memory=1G,firmware=efi,name=own,"
          "adapter=pvscsi q.qcow2 a.vmdk own.ova",
          place, program);
    if (import_vm(archive, NULL, &vm, &err) != 0)
        flunk("%s: %s", err.file, err.message);
    assert_string_equal(vm.name, "own");
    assert_int_equal(vm.cpu_count, 2);
    assert_int_equal(vm.memory_bytes, UINT64_C(1) << 30);
    assert_int_equal(vm.firmware, VM_FIRMWARE_UEFI);
    assert_int_equal(vm.disk_count, 2);
    assert_string_equal(vm.disks[1].controller, "vmpvscsi");
    assert_int_equal(vm.disks[1].unit_index, 1);
    vm_free(&vm);
}

static void test_files__names(void **state)
{
    autofree char *path = path_join(place, "web.txt");

    (void)state;
    write_text(path, "x");
    assert_refused(path, NULL, DS_ERR_UNSUPPORTED, "web.txt: have a name");
    assert_refused("/no/such.vmx", NULL, DS_ERR_SYSTEM, "No such file");
}

/* The VM as a hypervisor that has this one. */
static void test_files__hypervisor(void **state)
{
    autofree char *vmx = vmx_of("a.vmdk"), *odd = path_join(place, "a %1?.vmx");
    autofree char *uri = NULL;
    enum hypervisor_state power = HYPERVISOR_CRASHED;
    struct hypervisor *hypervisor;
    struct ds_error err = DS_ERROR_INIT;
    struct texts names = { 0 };
    struct vm vm;

    (void)state;
    shell("mv '%s' '%s'", vmx, odd);
    uri = import_uri(odd, abroad);
    assert_true(hypervisor_files.takes(uri));
    assert_int_equal(hypervisor_files.open(uri, NULL, &hypervisor, &err), 0);
    assert_int_equal(hypervisor->can, 0);
    assert_int_equal(hypervisor->ops->list(hypervisor, &names, &err), 0);
    assert_int_equal(names.count, 1);
    assert_string_equal(names.items[0], "web");
    assert_int_equal(hypervisor->ops->find(hypervisor, "web", &err), 1);
    assert_int_equal(hypervisor->ops->find(hypervisor, "db", &err), 0);
    assert_int_equal(hypervisor->ops->describe(hypervisor, "web", &vm, &err),
                     0);
    assert_int_equal(vm.disk_count, 1);
    assert_int_equal(hypervisor->ops->state(hypervisor, "web", &power, &err),
                     0);
    assert_int_equal(power, HYPERVISOR_OFF);
    assert_int_equal(hypervisor->ops->force_off(hypervisor, "web", &err), 0);
    assert_int_not_equal(hypervisor->ops->force_off(hypervisor, "db", &err), 0);
    assert_int_equal(err.system_errno, ENOENT);
    vm_free(&vm);
    texts_free(&names);
    hypervisor->ops->close(hypervisor);
    assert_int_equal(
        hypervisor_files.open("file://relative.vmx", NULL, &hypervisor, &err),
        -DS_ERR_ARG);
    assert_int_equal(
        hypervisor_files.open("file:///a%0.vmx", NULL, &hypervisor, &err),
        -DS_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files__beside),
        cmocka_unit_test(test_files__chain),
        cmocka_unit_test(test_files__elsewhere),
        cmocka_unit_test(test_files__domain_xml),
        cmocka_unit_test(test_files__package),
        cmocka_unit_test(test_files__own_package),
        cmocka_unit_test(test_files__names),
        cmocka_unit_test(test_files__hypervisor),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
