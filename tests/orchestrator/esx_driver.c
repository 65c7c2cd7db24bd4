/* SPDX-License-Identifier: Apache-2.0 */
/* ESXi's driver, run by esx.sh, which has the simulator. */
#include "orchestrator_testing.h"

#include <errno.h>

#include "hypervisor.h"
#include "import.h"
#include "plan.h"

#define MIB (UINT64_C(1) << 20)
#define SEEN "ha-host_VM0"

static struct hypervisor *host;

static int set_up(void **state)
{
    struct hypervisor_login login = { .auth_file = getenv("ESX_AUTH"),
                                      .ssh_command = getenv("ESX_SSH"),
                                      .ssh_key = "/keys/esx" };
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_non_null(getenv("ESX_URI"));
    if (hypervisor_open(getenv("ESX_URI"), &login, &host, &err) != 0)
        flunk("%s", err.message);
    assert_ptr_equal(host->ops, &hypervisor_esx);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hypervisor_close(host);
    return 0;
}

static void must(int result, const struct ds_error *err)
{
    if (result != 0)
        flunk("%s", err->message);
}

/* -- inventory and power -------------------------------------------------- */

/* VMware's hosts power on none of its hosted products' sparse disks. */
static void assert_formats(void)
{
    struct pairs options = { 0 };
    struct ds_error err = DS_ERROR_INIT;

    assert_int_equal(host->ops->runs_format(host, "vhdx", NULL, &err), 0);
    assert_int_equal(host->ops->runs_format(host, "vmdk", NULL, &err), 0);
    assert_said(&err, DS_ERR_UNSUPPORTED, "-o subformat=vmfs");
    pairs_add(&options, "subformat", "vmfs");
    assert_int_equal(host->ops->runs_format(host, "vmdk", &options, &err), 1);
    pairs_free(&options);
}

static void test_esx__inventory(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct texts names = { 0 };

    (void)state;
    must(host->ops->list(host, &names, &err), &err);
    assert_true(texts_have(&names, SEEN));
    texts_free(&names);
    assert_int_equal(host->ops->find(host, SEEN, &err), 1);
    assert_int_equal(host->ops->find(host, "none", &err), 0);
    assert_int_equal(
        host->ops->has_network(host, VM_LINK_NETWORK, "VM Network", &err), 1);
    assert_int_equal(
        host->ops->has_network(host, VM_LINK_NETWORK, "vSwitch0", &err), 0);
    assert_formats();
    assert_null(host->ops->agent);
    assert_int_equal(host->can &
                         (HYPERVISOR_CAN_AGENT | HYPERVISOR_CAN_ADDRESSES |
                          HYPERVISOR_CAN_REPORT),
                     0);
}

static void test_esx__describe(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct vm vm;

    (void)state;
    must(host->ops->describe(host, SEEN, &vm, &err), &err);
    assert_string_equal(vm.name, SEEN);
    assert_int_equal(vm.cpu_count, 2);
    assert_int_equal(vm.memory_bytes, 64 * MIB);
    assert_int_equal(vm.firmware, VM_FIRMWARE_UEFI);
    assert_int_equal(vm.disk_count, 1);
    assert_string_equal(vm.disks[0].path, "[LocalDS_0] " SEEN "/disk1.vmdk");
    assert_string_equal(vm.disks[0].format, "vmdk");
    assert_string_equal(vm.disks[0].controller, "vmpvscsi");
    assert_int_equal(vm.nic_count, 1);
    assert_string_equal(vm.nics[0].mac, "00:50:56:3f:00:01");
    assert_int_equal(vm.nics[0].link, VM_LINK_NETWORK);
    assert_string_equal(vm.nics[0].network, "VM Network");
    assert_string_equal(vm.nics[0].model, "vmxnet3");
    must(vm_check(&vm, SEEN, &err), &err);
    vm_free(&vm);
}

static void assert_power(enum hypervisor_state wanted)
{
    enum hypervisor_state power = HYPERVISOR_CRASHED;
    struct ds_error err = DS_ERROR_INIT;

    must(host->ops->state(host, SEEN, &power, &err), &err);
    assert_int_equal(power, wanted);
}

/* Every verb may be repeated. */
static void test_esx__power(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_power(HYPERVISOR_RUNNING);
    must(host->ops->shut_down(host, SEEN, &err), &err);
    must(hypervisor_wait_off(host, SEEN, 10, NULL, NULL, &err), &err);
    must(host->ops->force_off(host, SEEN, &err), &err);
    assert_power(HYPERVISOR_OFF);
    must(host->ops->start(host, SEEN, &err), &err);
    must(host->ops->start(host, SEEN, &err), &err);
    assert_power(HYPERVISOR_RUNNING);
    must(host->ops->force_off(host, SEEN, &err), &err);
    assert_power(HYPERVISOR_OFF);
    assert_int_equal(host->ops->start(host, "none", &err), -DS_ERR_SYSTEM);
    assert_int_equal(err.system_errno, ENOENT);
}

static void test_esx__snapshots(void **state)
{
    struct hypervisor_snapshot snapshot = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct vm vm;

    (void)state;
    must(host->ops->describe(host, SEEN, &vm, &err), &err);
    assert_int_equal(host->ops->snapshot_find(host, &vm, &snapshot, &err), 0);
    must(host->ops->snapshot_create(host, &vm, "diskshift-7", false, &snapshot,
                                    &err),
         &err);
    assert_string_equal(snapshot.name, "diskshift-7");
    assert_int_equal(snapshot.overlays.count, 1);
    hypervisor_snapshot_free(&snapshot);
    assert_int_equal(host->ops->snapshot_find(host, &vm, &snapshot, &err), 1);
    assert_string_equal(snapshot.name, "diskshift-7");
    hypervisor_snapshot_free(&snapshot);
    must(host->ops->snapshot_merge(host, &vm, &err), &err);
    assert_int_equal(host->ops->snapshot_find(host, &vm, &snapshot, &err), 0);
    must(host->ops->snapshot_merge(host, &vm, &err), &err);
    vm_free(&vm);
}

/* -- defining ------------------------------------------------------------- */

static struct vm target(const char *name, const char *path)
{
    struct vm vm = { .name = text_copy(name),
                     .cpu_count = 2,
                     .socket_count = 1,
                     .core_count = 2,
                     .thread_count = 1,
                     .memory_bytes = 64 * MIB,
                     .firmware = VM_FIRMWARE_UEFI };
    struct vm_disk *disk;
    struct vm_nic *nic;

    assert_int_equal(vm_add_disk(&vm, &disk, NULL), 0);
    disk->path = text_copy(path);
    disk->format = text_copy("vmdk");
    disk->name = text_copy("sda");
    disk->bus = VM_BUS_SCSI;
    disk->controller = text_copy("vmpvscsi");
    assert_int_equal(vm_add_nic(&vm, &nic, NULL), 0);
    nic->network = text_copy("VM Network");
    nic->model = text_copy("vmxnet3");
    snprintf(nic->mac, sizeof(nic->mac), "52:54:00:aa:bb:01");
    return vm;
}

static char *only_file(const char *pattern)
{
    autofree char *list = text_format("cat %s", pattern);
    FILE *pipe = popen(list, "r");
    char *text = need(65536);
    size_t length = fread(text, 1, 65535, pipe);

    text[length] = '\0';
    assert_int_equal(pclose(pipe), 0);
    return text;
}

static void test_esx__sees(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    static const struct {
        const char *path;
        int answer;
    } cases[] = {
        { "[LocalDS_0] " SEEN "/disk1.vmdk", 1 },
        { "/vmfs/volumes/LocalDS_0/" SEEN "/disk1.vmdk", 1 },
        { "[LocalDS_0] " SEEN "/none.vmdk", 0 },
        { "[LocalDS_0] none/disk1.vmdk", 0 },
        { "[none] " SEEN "/disk1.vmdk", 0 },
        { "[LocalDS_0] " SEEN, 1 },
        { "[none] " SEEN, 0 },
        { "/vmfs/volumes/LocalDS_0", 1 },
        { "/vmfs/volumes/none", 0 },
        { "/vmfs/volumes/5f0c8a12-1b2c3d4e-0000-0123456789ab/a.vmdk",
          -DS_ERR_UNSUPPORTED },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int have = host->ops->sees(host, cases[i].path, 0, &err);

        if (have != cases[i].answer)
            flunk("%s: have %d (%s) expect %d", cases[i].path, have,
                  err.message, cases[i].answer);
    }
}

/* Ten interfaces, four controllers of fifteen disks. */
static void test_esx__limits(void **state)
{
    struct vm vm = target("many", "[LocalDS_0] many/sys.vmdk");
    struct ds_error err = DS_ERROR_INIT;
    struct vm_disk *disk;
    struct vm_nic *nic;

    (void)state;
    while (vm.nic_count < 10) {
        assert_int_equal(vm_add_nic(&vm, &nic, NULL), 0);
        nic->model = text_copy("vmxnet3");
    }
    while (vm.disk_count < 60) {
        assert_int_equal(vm_add_disk(&vm, &disk, NULL), 0);
        disk->path = text_copy("[LocalDS_0] many/more.vmdk");
        disk->format = text_copy("vmdk");
        disk->name = text_copy("sdx");
        disk->bus = VM_BUS_SCSI;
        disk->controller = text_copy("vmpvscsi");
    }
    must(host->ops->fits(host, &vm, &err), &err);
    assert_int_equal(vm_add_nic(&vm, &nic, NULL), 0);
    assert_int_equal(host->ops->fits(host, &vm, &err), -DS_ERR_LIMIT);
    assert_said(&err, DS_ERR_LIMIT, "have 11 expect at most 10");
    vm.nic_count--;
    assert_int_equal(vm_add_disk(&vm, &disk, NULL), 0);
    vm.disks[60] = vm.disks[59];
    assert_int_equal(host->ops->fits(host, &vm, &err), -DS_ERR_LIMIT);
    assert_said(&err, DS_ERR_LIMIT, "more disks on the scsi bus");
    vm.disk_count--;
    vm.disks[0].bus = VM_BUS_VIRTIO;
    assert_int_equal(host->ops->fits(host, &vm, &err), -DS_ERR_UNSUPPORTED);
    vm_free(&vm);
}

/* What libvirt put into the datastore reads as what was asked for. */
static void test_esx__define_by_api(void **state)
{
    struct vm vm = target("by api & co", "[LocalDS_0] web/sys.vmdk");
    autofree char *pattern =
        text_format("\"%s\"/govcsim-*/web/*.vmx", getenv("ESX_STORE"));
    autofree char *text = NULL;
    struct ds_error err = DS_ERROR_INIT;
    struct vm made;

    (void)state;
    must(host->ops->define(host, &vm, &err), &err);
    text = only_file(pattern);
    must(import_vmx(text, strlen(text), &made, &err), &err);
    assert_string_equal(made.name, vm.name);
    assert_int_equal(made.cpu_count, 2);
    assert_int_equal(made.memory_bytes, 64 * MIB);
    assert_int_equal(made.firmware, VM_FIRMWARE_UEFI);
    assert_string_equal(made.disks[0].controller, "vmpvscsi");
    assert_string_equal(made.nics[0].mac, "52:54:00:aa:bb:01");
    assert_string_equal(made.nics[0].network, "VM Network");
    vm_free(&made);
    vm_free(&vm);
}

static char *of_host(const char *name)
{
    autofree char *path = path_join(getenv("ESX_DIR"), name);
    struct ds_error err = DS_ERROR_INIT;
    char *text;

    if (file_read(path, 65536, &text, NULL, &err) != 0)
        flunk("%s: %s", path, err.message);
    return text;
}

/* The place and the name are what a shell would trip over. */
static void test_esx__define_by_ssh(void **state)
{
    struct vm vm = target("it's $(x); web", "[store 1] it's/sys.vmdk");
    autofree char *text = NULL, *arguments = NULL, *registered = NULL;
    struct ds_error err = DS_ERROR_INIT;
    struct vm made;

    (void)state;
    vm.secure_boot = true;
    must(host->ops->define(host, &vm, &err), &err);
    text = of_host("volumes/store 1/it's/it's $(x); web.vmx");
    must(import_vmx(text, strlen(text), &made, &err), &err);
    assert_string_equal(made.name, vm.name);
    assert_true(made.secure_boot);
    assert_string_equal(made.disks[0].path, "sys.vmdk");
    vm_free(&made);
    arguments = of_host("arguments");
    assert_non_null(strstr(arguments, "BatchMode=yes\n"));
    assert_non_null(strstr(arguments, "-i\n/keys/esx\n"));
    assert_non_null(strstr(arguments, "-l\nroot\n--\n127.0.0.1\n"));
    assert_null(strstr(arguments, "-p\n")); /* that is the API's */
    registered = of_host("registered");
    assert_non_null(strstr(registered, "it's $(x); web.vmx\n"));
    /* Once more, as after a kill; then with another's VMX in the way. */
    must(host->ops->define(host, &vm, &err), &err);
    vm.cpu_count = 4;
    vm.core_count = 4;
    assert_int_equal(host->ops->define(host, &vm, &err), -DS_ERR_REFUSED);
    assert_said(&err, DS_ERR_REFUSED, "web.vmx exists");
    vm_free(&vm);
}

static void set_refuse(bool refuse)
{
    shell("%s '%s/refuse'", refuse ? "touch" : "rm -f", getenv("ESX_DIR"));
}

static void test_esx__define_by_a_person(void **state)
{
    struct vm vm = target("by hand", "[store 1] x/sys.vmdk");
    autofree char *vmx = path_join(getenv("ESX_OURS"), "by hand.vmx");
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    vm.tpm = VM_TPM_2_0;
    set_refuse(true);
    assert_int_equal(host->ops->define(host, &vm, &err), -DS_ERR_SYSTEM);
    assert_int_equal(err.system_errno, EINPROGRESS);
    assert_said(&err, DS_ERR_SYSTEM,
                "cannot tell ESXi of a TPM, and ssh 127.0.0.1: Permission "
                "denied (publickey). : a person has to make the VM over the "
                "disks (in the host's client), or to let SSH to the host in, "
                "in [store 1] x, with the name by hand");
    /* Where the place is ours to write as well, by another name. */
    text_set(&vm.by_hand_path, vmx);
    assert_int_equal(host->ops->define(host, &vm, &err), -DS_ERR_SYSTEM);
    assert_int_equal(err.system_errno, EINPROGRESS);
    assert_said(&err, DS_ERR_SYSTEM, "a person has to register by hand.vmx");
    assert_true(path_exists(vmx));
    set_refuse(false);
    /* The person has done it. */
    text_set(&vm.name, SEEN);
    must(host->ops->define(host, &vm, &err), &err);
    vm_free(&vm);
}

static void test_esx__undefine(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_int_equal(host->ops->find(host, "web", &err), 1);
    must(host->ops->undefine(host, "web", &err), &err);
    assert_int_equal(host->ops->find(host, "web", &err), 0);
    must(host->ops->undefine(host, "web", &err), &err);
}

static void test_esx__wrong_password(void **state)
{
    struct hypervisor_login login = { .auth_file = "/dev/null" };
    struct hypervisor *other;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_int_equal(
        hypervisor_open("esx://127.0.0.1:1/?no_verify=1", &login, &other, &err),
        -DS_ERR_SYSTEM);
    assert_int_equal(err.system_errno, EHOSTUNREACH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_esx__inventory),
        cmocka_unit_test(test_esx__describe),
        cmocka_unit_test(test_esx__sees),
        cmocka_unit_test(test_esx__limits),
        cmocka_unit_test(test_esx__power),
        cmocka_unit_test(test_esx__snapshots),
        cmocka_unit_test(test_esx__define_by_api),
        cmocka_unit_test(test_esx__undefine),
        cmocka_unit_test(test_esx__define_by_ssh),
        cmocka_unit_test(test_esx__define_by_a_person),
        cmocka_unit_test(test_esx__wrong_password),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
