/* SPDX-License-Identifier: Apache-2.0 */
/* Hyper-V by PowerShell over ssh, against hyperv-ssh, which stands in. No real
 * host has ever been asked. */
#include "orchestrator_testing.h"

#include <errno.h>

#include "hypervisor.h"
#include "powershell.h"

#define MIB (UINT64_C(1) << 20)

static char *place;
static char *stand_in;
static struct hypervisor *host;

static void set_text(const char *name, const char *text)
{
    autofree char *path = path_join(place, name);

    write_text(path, text);
}

static char *get_text(const char *name)
{
    autofree char *path = path_join(place, name);
    struct ds_error err = DS_ERROR_INIT;
    char *text;

    if (file_read(path, 1u << 24, &text, NULL, &err) != 0)
        flunk("%s: %s", path, err.message);
    return text;
}

static void set_answer(const char *verb, const char *json)
{
    autofree char *name = text_format("answers/%s.json", verb);

    set_text(name, json);
}

static const char ok[] = "{\"ok\": true}";

static int set_up(void **state)
{
    struct hypervisor_login login = { 0 };
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    place = scratch_make("hyperv");
    shell("mkdir %s/answers", place);
    stand_in = text_format("%s/tests/orchestrator/hyperv-ssh", DS_SOURCE_DIR);
    setenv("HYPERV_DIR", place, 1);
    set_answer("list",
               "{\"ok\": true, \"names\": [\"web\", \"d\xc3\xa4tenb\"]}");
    login.ssh_command = stand_in;
    login.ssh_key = "/keys/it's";
    login.ssh_config = "/etc/config";
    if (hypervisor_open("hyperv+ssh://CORP\\admin@hv1.example:2222", &login,
                        &host, &err) != 0)
        flunk("%s", err.message);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hypervisor_close(host);
    scratch_remove(place);
    free(stand_in);
    return 0;
}

static void set_mode(const char *mode)
{
    set_text("mode", mode);
}

/* The request as JSON, sorted, as jq prints it. */
static char *request(void)
{
    return get_text("request.json");
}

static void assert_requested(const char *words)
{
    autofree char *have = request();

    if (strstr(have, words) == NULL)
        flunk("have %s\nexpect %s", have, words);
}

/* -- ssh ------------------------------------------------------------------ */

static void test_hyperv__ssh_arguments(void **state)
{
    static const char wanted[] = "-T\n-o\nBatchMode=yes\n-o\n"
                                 "StrictHostKeyChecking=yes\n-o\n"
                                 "ConnectTimeout=15\n-o\n"
                                 "ServerAliveInterval=10\n-o\n"
                                 "ServerAliveCountMax=6\n-o\n"
                                 "PermitLocalCommand=yes\n-o\n"
                                 "LocalCommand=echo connected-by-diskshift\n"
                                 "-F\n/etc/config\n"
                                 "-o\nIdentitiesOnly=yes\n-i\n/keys/it's\n-p\n"
                                 "2222\n-l\nCORP\\admin\n--\nhv1.example\n"
                                 "powershell.exe ";
    struct ds_error err = DS_ERROR_INIT;
    struct texts names = { 0 };
    autofree char *arguments = NULL, *bootstrap = NULL;

    (void)state;
    assert_int_equal(host->ops->list(host, &names, &err), 0);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.items[1], "d\xc3\xa4tenb");
    texts_free(&names);
    arguments = get_text("arguments");
    assert_true(text_begins(arguments, wanted));
    assert_true(strlen(arguments) < 1024); /* cmd.exe takes 8191 characters */
    bootstrap = get_text("bootstrap.ps1");
    assert_string_equal(
        bootstrap, "$ErrorActionPreference = 'Stop'; "
                   "& ([ScriptBlock]::Create([Text.Encoding]::UTF8.GetString("
                   "[Convert]::FromBase64String(-join @($input)))))");
}

/* The script is the same for every verb but for its first line. */
static void test_hyperv__script(void **state)
{
    autofree char *path =
        text_format("%s/tools/orchestrator/hyperv/verbs.ps1", DS_SOURCE_DIR);
    autofree char *wanted = NULL, *have = NULL;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_int_equal(file_read(path, 1u << 20, &wanted, NULL, &err), 0);
    have = get_text("script.ps1");
    assert_string_equal(strchr(have, '\n') + 1, wanted);
}

static void test_hyperv__uris(void **state)
{
    static const char *const bad[] = {
        "hyperv+ssh://",           "hyperv+ssh://-oProxyCommand=x",
        "hyperv+ssh://a b",        "hyperv+ssh://host:0",
        "hyperv+ssh://host:99999", "hyperv+ssh://host:",
        "hyperv+ssh://host/path",  "hyperv+ssh://u:secret@host",
        "hyperv+ssh://-l@host",    "hyperv+ssh://[::1",
        "hyperv+ssh://h;reboot",   "hyperv+ssh://$(x)@host",
    };
    struct hypervisor_login login = { .ssh_command = stand_in };
    struct hypervisor *other;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct ds_error err = DS_ERROR_INIT;

        if (hypervisor_open(bad[i], &login, &other, &err) == 0)
            flunk("taken: %s", bad[i]);
        assert_said(&err, DS_ERR_ARG, "expect hyperv+ssh://[USER@]HOST[:PORT]");
        assert_null(strstr(err.message, "secret"));
    }
    assert_int_equal(hypervisor_open("hyperv+ssh://a@corp@[fe80::1]:22/",
                                     &login, &other, NULL),
                     0);
    hypervisor_close(other);
    {
        autofree char *arguments = get_text("arguments");

        assert_non_null(strstr(arguments, "-p\n22\n-l\na@corp\n--\nfe80::1\n"));
    }
}

static void assert_failed(const char *mode, enum ds_error_class error_class,
                          int errnum, const char *words)
{
    struct ds_error err = DS_ERROR_INIT;
    struct texts names = { 0 };

    set_mode(mode);
    if (host->ops->list(host, &names, &err) == 0)
        flunk("no failure: %s", mode);
    set_mode("");
    assert_said(&err, error_class, words);
    assert_int_equal(err.system_errno, errnum);
}

static void test_hyperv__answers(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct texts names = { 0 };

    (void)state;
    assert_failed("refuse", DS_ERR_SYSTEM, EHOSTUNREACH,
                  "ssh hv1.example:  [1mHost key verification failed.");
    assert_failed("mute", DS_ERR_CORRUPT, 0,
                  "has not answered (exit status 1): #< CLIXML  Access is");
    assert_failed("cut", DS_ERR_CORRUPT, 0, "has not answered");
    set_mode("noise");
    if (host->ops->list(host, &names, &err) != 0)
        flunk("%s", err.message);
    assert_int_equal(names.count, 2);
    texts_free(&names);
    set_answer("list", "[");
    assert_failed("", DS_ERR_CORRUPT, 0, "is no JSON");
    set_answer("list", "{\"ok\": true, \"names\": []}");
}

static void test_hyperv__timeout(void **state)
{
    char name[] = "h";
    struct ssh_host other = { .host = name, .command = stand_in };
    struct ds_error err = DS_ERROR_INIT;
    json_t *answer = NULL;

    (void)state;
    set_mode("slow");
    assert_int_equal(powershell_run(&other, "x", 1, &answer, &err),
                     -DS_ERR_SYSTEM);
    assert_int_equal(err.system_errno, ETIMEDOUT);
    set_mode("");
}

/* -- quoting -------------------------------------------------------------- */

static void test_powershell__quote(void **state)
{
    static const char *const cases[][2] = {
        { "", "''" },
        { "a b", "'a b'" },
        { "it's", "'it''s'" },
        { "$(x) `n \"\n", "'$(x) `n \"\n'" },
        { "\xe2\x80\x98\xe2\x80\x99\xe2\x80\x9a\xe2\x80\x9b",
          "'\xe2\x80\x98\xe2\x80\x98\xe2\x80\x99\xe2\x80\x99"
          "\xe2\x80\x9a\xe2\x80\x9a\xe2\x80\x9b\xe2\x80\x9b'" },
        { "\xe2\x80\x9c\xe2\x80", "'\xe2\x80\x9c\xe2\x80'" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        autofree char *have = powershell_quote(cases[i][0]);

        assert_string_equal(have, cases[i][1]);
    }
}

static void test_powershell__encode(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    autofree char *have = NULL;

    (void)state;
    /* PowerShell's own help: dir "c:\program files" */
    assert_int_equal(
        powershell_encode("dir \"c:\\program files\" ", &have, &err), 0);
    assert_string_equal(
        have, "ZABpAHIAIAAiAGMAOgBcAHAAcgBvAGcAcgBhAG0AIABmAGkAbABlAHMAIgAgAA"
              "==");
    assert_int_equal(powershell_encode("a\xff", &have, &err), -DS_ERR_ARG);
}

/* What Windows takes for a name, and what would be code if it were not
 * quoted: all of it arrives as it was. */
static void test_hyperv__injection(void **state)
{
    static const char *const names[] = {
        "'; Remove-VM *; '",
        "\xe2\x80\x99; Remove-VM *; \xe2\x80\x98",
        "a\xe2\x80\x98'\xe2\x80\x9b''b",
        "$(Stop-Computer)",
        "`\"$env:x\"",
        "a\r\n'@\nStop-Computer",
        "*",
        "web[1]?",
        "-Force",
        "\\\"\\\\",
        "\xe4\xbd\xa0 \xf0\x9f\x98\x80",
        "",
    };

    (void)state;
    set_answer("find", "{\"ok\": true, \"found\": true}");
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct ds_error err = DS_ERROR_INIT;
        autofree char *have = NULL;
        autojson json_t *json = NULL;

        if (host->ops->find(host, names[i], &err) != 1)
            flunk("%s: %s", names[i], err.message);
        have = request();
        json = json_loads(have, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(json, "name")),
                            names[i]);
        assert_string_equal(json_string_value(json_object_get(json, "verb")),
                            "find");
    }
    {
        struct ds_error err = DS_ERROR_INIT;

        assert_int_equal(host->ops->find(host, "\xff", &err), -DS_ERR_ARG);
    }
}

/* -- inventory ------------------------------------------------------------ */

static const char generation_2[] =
    "{\"ok\": true, \"generation\": 2, \"cpus\": 4, \"memory\": 4294967296,"
    " \"notes\": \"Made by diskshift\\nnotes\\nof two lines\","
    " \"autostart\": true, \"snapshots\": 1, \"removable\": 1,"
    " \"secure_boot\": true, \"template\": \"MicrosoftWindows\", \"tpm\": true,"
    " \"shielded\": false, \"devices\": 2, \"disks\": ["
    "  {\"path\": \"C:\\\\VMs\\\\web\\\\web.vhdx\", \"type\": \"SCSI\","
    "   \"controller\": 0, \"location\": 0, \"physical\": false,"
    "   \"shared\": false},"
    "  {\"path\": \"\\\\\\\\filer\\\\vm\\\\d_8A3F.avhdx\", \"type\": \"SCSI\","
    "   \"controller\": 1, \"location\": 3, \"physical\": false,"
    "   \"shared\": true},"
    "  {\"path\": \"Disk 2 50 GB\", \"type\": \"SCSI\", \"controller\": 0,"
    "   \"location\": 5, \"physical\": true, \"shared\": false}],"
    " \"nics\": ["
    "  {\"mac\": \"00155D0A0B01\", \"network\": \"LAN\", \"legacy\": false,"
    "   \"mode\": \"Access\", \"vlan\": 42},"
    "  {\"mac\": \"000000000000\", \"network\": null, \"legacy\": false,"
    "   \"mode\": \"Untagged\", \"vlan\": 0}]}";

static void test_hyperv__describe(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct vm vm;

    (void)state;
    set_answer("describe", generation_2);
    if (host->ops->describe(host, "web", &vm, &err) != 0)
        flunk("%s", err.message);
    assert_string_equal(vm.name, "web");
    assert_string_equal(vm.description, "notes\nof two lines");
    assert_int_equal(vm.cpu_count, 4);
    assert_int_equal(vm.memory_bytes, 4096 * MIB);
    assert_int_equal(vm.firmware, VM_FIRMWARE_UEFI);
    assert_true(vm.secure_boot);
    assert_int_equal(vm.tpm, VM_TPM_2_0);
    assert_string_equal(vm.guest_os, "windows");
    assert_true(vm.autostart);
    assert_int_equal(vm.snapshot_count, 1);
    assert_int_equal(vm.passthrough_count, 2);
    assert_int_equal(vm.disk_count, 3);
    assert_string_equal(vm.disks[0].path, "C:/VMs/web/web.vhdx");
    assert_string_equal(vm.disks[0].format, "vhdx");
    assert_string_equal(vm.disks[1].path, "//filer/vm/d_8A3F.avhdx");
    assert_string_equal(vm.disks[1].format, "vhdx");
    assert_string_equal(vm.disks[1].name, "scsi1:3");
    assert_int_equal(vm.disks[1].unit_index, 1);
    assert_true(vm.disks[1].shared);
    assert_int_equal(vm.disks[2].source, VM_SOURCE_DEVICE);
    assert_string_equal(vm.nics[0].mac, "00:15:5d:0a:0b:01");
    assert_int_equal(vm.nics[0].vlan, 42);
    assert_string_equal(vm.nics[0].network, "LAN");
    assert_string_equal(vm.nics[1].mac, "");
    assert_true(vm.nics[1].unplugged);
    assert_int_equal(vm_check(&vm, "web", &err), 0);
    vm_free(&vm);
}

static void test_hyperv__describe_refused(void **state)
{
    static const char *const cases[][2] = {
        { "{\"ok\": true, \"shielded\": true}", "shielded" },
        { "{\"ok\": true, \"disks\": [{\"path\": \"C:\\\\a.vhds\"}]}",
          "expect a .vhdx" },
        { "{\"ok\": true, \"disks\": [{}]}", "expect a .vhdx" },
        { "{\"ok\": true, \"nics\": [{\"mode\": \"Trunk\"}]}",
          "VLAN mode, have Trunk" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct ds_error err = DS_ERROR_INIT;
        struct vm vm;

        set_answer("describe", cases[i][0]);
        assert_int_not_equal(host->ops->describe(host, "web", &vm, &err), 0);
        assert_said(&err, DS_ERR_UNSUPPORTED, cases[i][1]);
    }
}

static void test_hyperv__errors(void **state)
{
    enum hypervisor_state power;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    set_answer("state", "{\"ok\": false, \"absent\": true, "
                        "\"message\": \"no such VM\"}");
    assert_int_equal(host->ops->state(host, "web", &power, &err),
                     -DS_ERR_SYSTEM);
    assert_int_equal(err.system_errno, ENOENT);
    assert_string_equal(err.message, "state web: no such VM");
    err = (struct ds_error)DS_ERROR_INIT;
    set_answer("start", "{\"ok\": false, \"message\": \"not enough\\n\\u001b"
                        "[2Jmemory\", \"category\": \"ResourceUnavailable\"}");
    assert_int_equal(host->ops->start(host, "web", &err), -DS_ERR_REFUSED);
    assert_string_equal(err.message, "start web: not enough  [2Jmemory");
    set_answer("start", "{\"ok\": false, \"missing\": true, \"message\": "
                        "\"The term 'Get-VM' is not recognized\"}");
    assert_int_equal(host->ops->start(host, "web", &err), -DS_ERR_UNSUPPORTED);
    set_answer("start", "{}");
    assert_int_equal(host->ops->start(host, "web", &err), -DS_ERR_CORRUPT);
}

static void test_hyperv__states(void **state)
{
    static const struct {
        const char *word;
        enum hypervisor_state state;
    } cases[] = {
        { "Off", HYPERVISOR_OFF },
        { "Running", HYPERVISOR_RUNNING },
        { "Saved", HYPERVISOR_PAUSED },
        { "Stopping", HYPERVISOR_STOPPING },
        { "Starting", HYPERVISOR_RUNNING },
        { "RunningCritical", HYPERVISOR_PAUSED },
    };
    struct ds_error err = DS_ERROR_INIT;
    enum hypervisor_state power;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        autofree char *json =
            text_format("{\"ok\": true, \"state\": \"%s\"}", cases[i].word);

        set_answer("state", json);
        assert_int_equal(host->ops->state(host, "web", &power, &err), 0);
        assert_int_equal(power, cases[i].state);
    }
    set_answer("state", "{\"ok\": true, \"state\": \"Exploding\"}");
    assert_int_equal(host->ops->state(host, "web", &power, &err),
                     -DS_ERR_UNSUPPORTED);
}

static void test_hyperv__asks(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    set_answer("has network", "{\"ok\": true, \"found\": false}");
    assert_int_equal(host->ops->has_network(host, VM_LINK_NETWORK, "LAN", &err),
                     0);
    assert_requested("\"network\": \"LAN\"");
    assert_int_equal(host->ops->has_network(host, VM_LINK_BRIDGE, "br0", &err),
                     0);
    assert_int_equal(host->ops->runs_format(host, "vhdx", NULL, &err), 1);
    assert_int_equal(host->ops->runs_format(host, "qcow2", NULL, &err), 0);
    set_answer("set autostart", ok);
    assert_int_equal(host->ops->autostart(host, "web", true, &err), 0);
    assert_requested("\"on\": true");
    set_answer("undefine", ok);
    assert_int_equal(host->ops->undefine(host, "web", &err), 0);
    assert_requested("\"temporary\": \"diskshift-define-web\"");
    set_answer("shut down", ok);
    assert_int_equal(host->ops->shut_down(host, "web", &err), 0);
    set_answer("power off", ok);
    assert_int_equal(host->ops->force_off(host, "web", &err), 0);
    set_answer("renew MACs", ok);
    assert_int_equal(host->ops->renew_macs(host, "web", &err), 0);
}

static void test_hyperv__addresses(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct texts out = { 0 };

    (void)state;
    set_answer("addresses",
               "{\"ok\": true, \"nics\": [{\"mac\": \"00155D0A0B01\","
               " \"addresses\": [\"10.0.2.50\", \"fe80::1\"]},"
               " {\"mac\": \"\", \"addresses\": []}]}");
    assert_int_equal(host->ops->addresses(host, "web", &out, &err), 0);
    assert_int_equal(out.count, 2);
    assert_string_equal(out.items[0], "00:15:5d:0a:0b:01 10.0.2.50");
    texts_free(&out);
}

static void test_hyperv__snapshots(void **state)
{
    struct vm vm = { .name = text_copy("web") };
    struct hypervisor_snapshot snapshot = { 0 };
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    set_answer("find snapshot",
               "{\"ok\": true, \"name\": null, \"overlays\": []}");
    assert_int_equal(host->ops->snapshot_find(host, &vm, &snapshot, &err), 0);
    set_answer("create snapshot",
               "{\"ok\": true, \"name\": \"diskshift-7\", \"overlays\":"
               " [\"C:\\\\VMs\\\\web_1.avhdx\"]}");
    assert_int_equal(host->ops->snapshot_create(host, &vm, "diskshift-7", true,
                                                &snapshot, &err),
                     0);
    assert_requested("\"quiesce\": true");
    assert_requested("\"snapshot\": \"diskshift-7\"");
    assert_string_equal(snapshot.overlays.items[0], "C:/VMs/web_1.avhdx");
    hypervisor_snapshot_free(&snapshot);
    set_answer("merge snapshot", ok);
    assert_int_equal(host->ops->snapshot_merge(host, &vm, &err), 0);
    assert_requested("\"prefix\": \"diskshift-\"");
    vm_free(&vm);
}

/* -- defining ------------------------------------------------------------- */

static struct vm_disk *add_disk(struct vm *vm, const char *path,
                                const char *format, enum vm_bus bus)
{
    struct vm_disk *disk;

    assert_int_equal(vm_add_disk(vm, &disk, NULL), 0);
    text_set(&disk->path, path);
    text_set(&disk->format, format);
    disk->name = text_format("disk%zu", vm->disk_count);
    disk->bus = bus;
    return disk;
}

static struct vm_nic *add_nic(struct vm *vm, const char *mac,
                              const char *network)
{
    struct vm_nic *nic;

    assert_int_equal(vm_add_nic(vm, &nic, NULL), 0);
    snprintf(nic->mac, sizeof(nic->mac), "%s", mac);
    text_set(&nic->network, network);
    return nic;
}

static struct vm target(enum vm_firmware firmware)
{
    struct vm vm = { .name = text_copy("web \xe2\x80\x99$(x)' 1"),
                     .description = text_copy("line\nline"),
                     .guest_os = text_copy("debian11-64"),
                     .cpu_count = 4,
                     .memory_bytes = 4096 * MIB,
                     .firmware = firmware };

    add_disk(&vm, "C:/VMs/web/sys.vhdx", "vhdx", VM_BUS_SCSI);
    add_disk(&vm, "//filer/it's/data.vhdx", "vhdx", VM_BUS_VIRTIO);
    add_nic(&vm, "00:50:56:aa:bb:01", "LAN 'A'")->vlan = 42;
    add_nic(&vm, "", "Back")->unplugged = true;
    return vm;
}

static void assert_defined(struct vm *vm, const char *golden)
{
    struct ds_error err = DS_ERROR_INIT;
    autofree char *have = NULL;

    set_answer("define", ok);
    if (host->ops->define(host, vm, &err) != 0)
        flunk("%s", err.message);
    have = request();
    assert_golden(golden, have);
}

static void test_hyperv__define(void **state)
{
    struct vm vm = target(VM_FIRMWARE_UEFI);

    (void)state;
    vm.secure_boot = true;
    vm.tpm = VM_TPM_2_0;
    vm.disks[1].boot_order = 1;
    assert_defined(&vm, "hyperv_generation_2.json");
    vm_free(&vm);
    vm = target(VM_FIRMWARE_BIOS);
    text_set(&vm.disks[0].format, "vhd");
    text_set(&vm.nics[0].model, "tulip");
    vm.disks[1].boot_order = 1;
    add_disk(&vm, "C:/3.vhdx", "vhdx", VM_BUS_IDE);
    assert_defined(&vm, "hyperv_generation_1.json");
    vm_free(&vm);
}

/* 65 disks: the last on a second controller. */
static void test_hyperv__many_disks(void **state)
{
    struct vm vm = target(VM_FIRMWARE_UEFI);
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    text_set(&vm.guest_os, "windows2019srv-64");
    vm.secure_boot = true;
    while (vm.disk_count < 65)
        add_disk(&vm, "C:/x.vhdx", "vhdx", VM_BUS_SCSI);
    assert_int_equal(host->ops->define(host, &vm, &err), 0);
    assert_requested("\"template\": \"MicrosoftWindows\"");
    {
        autofree char *have = request();
        autojson json_t *json = json_loads(have, 0, NULL);
        json_t *last = json_array_get(json_object_get(json, "disks"), 64);

        assert_int_equal(
            json_integer_value(json_object_get(last, "controller")), 1);
        assert_int_equal(json_integer_value(json_object_get(last, "location")),
                         0);
    }
    vm_free(&vm);
}

static void assert_not_defined(struct vm *vm, enum ds_error_class error_class,
                               const char *words)
{
    struct ds_error err = DS_ERROR_INIT;

    assert_int_equal(host->ops->define(host, vm, &err), -(int)error_class);
    assert_said(&err, error_class, words);
    assert_true(text_begins(err.message, "define web"));
}

static void test_hyperv__define_refused(void **state)
{
    struct vm vm = target(VM_FIRMWARE_UEFI);

    (void)state;
    text_set(&vm.disks[0].path, "/mnt/vm/sys.vhdx");
    assert_not_defined(&vm, DS_ERR_ARG, "path, have /mnt/vm/sys.vhdx");
    text_set(&vm.disks[0].path, "C:/sys.vhd");
    text_set(&vm.disks[0].format, "vhd");
    assert_not_defined(&vm, DS_ERR_UNSUPPORTED, "expect vhdx, with UEFI");
    text_set(&vm.disks[0].format, "vhdx");
    vm.memory_bytes += MIB;
    assert_not_defined(&vm, DS_ERR_UNSUPPORTED, "a multiple of 2 MiB");
    vm.memory_bytes -= MIB;
    text_set(&vm.nics[0].model, "tulip");
    assert_not_defined(&vm, DS_ERR_UNSUPPORTED, "no legacy adapter");
    text_set(&vm.nics[0].model, NULL);
    vm.nics[0].link = VM_LINK_BRIDGE;
    assert_not_defined(&vm, DS_ERR_UNSUPPORTED, "a virtual switch");
    vm.nics[0].link = VM_LINK_NETWORK;
    text_set(&vm.nics[0].network, "\xff");
    assert_not_defined(&vm, DS_ERR_ARG, "no UTF-8");
    vm_free(&vm);
    vm = target(VM_FIRMWARE_BIOS);
    vm.tpm = VM_TPM_2_0;
    assert_not_defined(&vm, DS_ERR_UNSUPPORTED, "a TPM is for VMs with UEFI");
    vm.tpm = VM_TPM_NONE;
    for (unsigned i = 0; i < 4; i++)
        add_disk(&vm, "C:/x.vhdx", "vhdx", VM_BUS_IDE);
    assert_not_defined(&vm, DS_ERR_LIMIT, "IDE has no more room");
    vm_free(&vm);
}

/* More than 64 others and 256 disks no vm of ours has. */
static void test_hyperv__limits(void **state)
{
    struct vm vm = target(VM_FIRMWARE_BIOS);
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    while (vm.nic_count < 60)
        add_nic(&vm, "", "LAN");
    for (unsigned i = 0; i < 4; i++)
        text_set(&add_nic(&vm, "", "LAN")->model, "tulip");
    while (vm.disk_count < 256)
        add_disk(&vm, "C:/x.vhdx", "vhdx", VM_BUS_SCSI);
    if (host->ops->fits(host, &vm, &err) != 0)
        flunk("%s", err.message);
    text_set(&vm.nics[0].model, "tulip");
    assert_int_equal(host->ops->fits(host, &vm, &err), -DS_ERR_LIMIT);
    assert_said(&err, DS_ERR_LIMIT, "have 5 expect at most 4");
    text_set(&vm.nics[0].model, NULL);
    for (unsigned i = 1; i < 5; i++)
        vm.disks[i].bus = VM_BUS_IDE;
    assert_int_equal(host->ops->fits(host, &vm, &err), -DS_ERR_LIMIT);
    assert_said(&err, DS_ERR_LIMIT, "IDE has no more room");
    vm_free(&vm);
}

static void test_hyperv__sees(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    set_answer("look for", "{\"ok\": true, \"found\": true}");
    assert_int_equal(host->ops->sees(host, "C:/vm/a.vhdx", 4096, &err), 1);
    assert_requested("\"path\": \"C:\\\\vm\\\\a.vhdx\"");
    assert_requested("\"bytes\": 4096");
    set_answer("look for", "{\"ok\": true, \"found\": false}");
    assert_int_equal(host->ops->sees(host, "//filer/vm", 0, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hyperv__ssh_arguments),
        cmocka_unit_test(test_hyperv__script),
        cmocka_unit_test(test_hyperv__uris),
        cmocka_unit_test(test_hyperv__answers),
        cmocka_unit_test(test_hyperv__timeout),
        cmocka_unit_test(test_powershell__quote),
        cmocka_unit_test(test_powershell__encode),
        cmocka_unit_test(test_hyperv__injection),
        cmocka_unit_test(test_hyperv__describe),
        cmocka_unit_test(test_hyperv__describe_refused),
        cmocka_unit_test(test_hyperv__errors),
        cmocka_unit_test(test_hyperv__states),
        cmocka_unit_test(test_hyperv__asks),
        cmocka_unit_test(test_hyperv__addresses),
        cmocka_unit_test(test_hyperv__snapshots),
        cmocka_unit_test(test_hyperv__define),
        cmocka_unit_test(test_hyperv__many_disks),
        cmocka_unit_test(test_hyperv__define_refused),
        cmocka_unit_test(test_hyperv__limits),
        cmocka_unit_test(test_hyperv__sees),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
