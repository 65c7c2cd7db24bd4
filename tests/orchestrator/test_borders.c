/* SPDX-License-Identifier: Apache-2.0 */
/* The orchestrator's parts that need no hypervisor. */
/* Before cmocka, which has a macro fail. */
#include "journal.h"
#include "plan.h"
#include "process.h"
#include "vm.h"
#include "xml.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* -- XML ------------------------------------------------------------------ */

static int parse(const char *text, struct xml **out, struct ds_error *err)
{
    return xml_parse(text, strlen(text), "x.xml", out, err);
}

static void test_xml__finds_elements_and_attributes(void **state)
{
    autoxml struct xml *root = NULL;
    uint64_t number;

    (void)state;
    assert_int_equal(
        parse("<a><b x:c='1'> t\n</b><p:b>2</p:b></a>", &root, NULL), 0);
    assert_string_equal(xml_attribute(xml_at(root, "b"), "c"), "1");
    assert_string_equal(xml_text(root, "b"), "t");
    assert_string_equal(xml_next(xml_at(root, "b"))->text, "2");
    assert_null(xml_at(root, "b/c"));
    assert_true(xml_number("18446744073709551615", &number));
    assert_false(xml_number("18446744073709551616", &number));
    assert_false(xml_number("-1", &number));
}

static void test_xml__refuses_what_is_hostile(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct xml *root = NULL;
    autofree char *deep = need(XML_DEPTH_MAX * 8 + 64);

    (void)state;
    assert_int_equal(
        parse("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", &root, &err),
        -DS_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "DOCTYPE"));
    for (int i = 0; i <= XML_DEPTH_MAX; i++)
        strcat(deep, "<a>");
    for (int i = 0; i <= XML_DEPTH_MAX; i++)
        strcat(deep, "</a>");
    assert_int_equal(parse(deep, &root, &err), -DS_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "too deep"));
    assert_int_equal(parse("<a><b></a>", &root, &err), -DS_ERR_CORRUPT);
    assert_string_equal(err.file, "x.xml");
    assert_null(root);
}

/* Of n pieces of text none is copied n times: it took half a minute. */
static void test_xml__text_in_many_pieces(void **state)
{
    enum { COUNT = 700000 };
    static char text[5 * COUNT + 32];
    autoxml struct xml *root = NULL;
    clock_t begun = clock();
    char *at = stpcpy(text, "<a>");

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        at = stpcpy(at, i % 7 == 0 ? "<b/>x" : "x\n");
    (void)stpcpy(at, " </a>");
    assert_int_equal(parse(text, &root, NULL), 0);
    assert_int_equal(root->text_length, strlen(root->text));
    assert_int_equal(root->text[root->text_length - 1], 'x');
    assert_true(clock() - begun < 5 * CLOCKS_PER_SEC);
}

/* -- VMs ------------------------------------------------------------------ */

static const char domain[] =
    "<domain type='kvm'><name>a&amp;b</name><memory unit='GiB'>2</memory>"
    "<vcpu>4</vcpu><cpu mode='custom'><model>qemu64</model>"
    "<topology sockets='1' cores='2' threads='2'/></cpu>"
    "<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type></os>"
    "<devices><disk type='file' device='disk'><driver type='vpc'/>"
    "<source file='/d/1.vhd'/><target dev='sda' bus='scsi'/></disk>"
    "<disk type='block' device='lun'><source dev='/dev/sdb'/>"
    "<target dev='sdb' bus='scsi'/><shareable/></disk>"
    "<disk type='file' device='cdrom'><target dev='hda' bus='ide'/></disk>"
    "<interface type='bridge'><mac address='52-54-00-AA-BB-01'/>"
    "<source bridge='br0'/><vlan><tag id='7'/></vlan></interface>"
    "<hostdev/></devices></domain>";

static void check_domain(const struct vm *vm)
{
    assert_string_equal(vm->name, "a&b");
    assert_int_equal(vm->memory_bytes, UINT64_C(2) << 30);
    assert_int_equal(vm->cpu_count, 4);
    assert_int_equal(vm->core_count, 2);
    assert_int_equal(vm->firmware, VM_FIRMWARE_UEFI);
    assert_string_equal(vm->disks[0].format, "vhd");
    assert_int_equal(vm->disks[0].bus, VM_BUS_SCSI);
    assert_string_equal(vm->nics[0].mac, "52:54:00:aa:bb:01");
    assert_int_equal(vm->nics[0].vlan, 7);
    assert_string_equal(vm->nics[0].network, "br0");
}

static void test_vm__reads_domain_xml(void **state)
{
    struct vm vm = { 0 };

    (void)state;
    assert_int_equal(vm_from_domain_xml(domain, &vm, NULL), 0);
    check_domain(&vm);
    assert_int_equal(vm.disk_count, 2);
    assert_int_equal(vm.disks[1].source, VM_SOURCE_DEVICE);
    assert_true(vm.disks[1].shared);
    assert_int_equal(vm.passthrough_count, 1);
    assert_int_equal(vm_check(&vm, "x", NULL), 0);
    vm_free(&vm);
}

static void test_vm__survives_json_and_domain_xml(void **state)
{
    struct vm vm = { 0 }, again = { 0 }, third = { 0 };
    autojson json_t *json = NULL;
    autofree char *text = NULL;

    (void)state;
    assert_int_equal(vm_from_domain_xml(domain, &vm, NULL), 0);
    json = vm_to_json(&vm);
    assert_int_equal(vm_from_json(json, &again, NULL), 0);
    check_domain(&again);
    text = vm_to_domain_xml(&again, "kvm");
    assert_int_equal(vm_from_domain_xml(text, &third, NULL), 0);
    check_domain(&third);
    vm_free(&vm);
    vm_free(&again);
    vm_free(&third);
}

static void test_vm__rejects_what_cannot_be(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct vm vm = { 0 };
    char mac[18];

    (void)state;
    assert_int_equal(vm_from_domain_xml(domain, &vm, NULL), 0);
    vm.core_count = 3;
    assert_int_equal(vm_check(&vm, "x", &err), -DS_ERR_ARG);
    assert_non_null(strstr(err.message, "1 sockets x 3 cores x 2 threads"));
    vm.core_count = 2;
    text_set(&vm.name, "../x");
    assert_int_equal(vm_check(&vm, "x", &err), -DS_ERR_ARG);
    text_set(&vm.name, "tab\tand\nlines");
    assert_int_equal(vm_check(&vm, "x", &err), 0);
    text_set(&vm.disks[0].serial, "a\x01");
    assert_int_equal(vm_check(&vm, "x", &err), -DS_ERR_ARG);
    assert_non_null(strstr(err.message, "serial, byte 1: have 0x01"));
    text_set(&vm.disks[0].serial, "\xef\xbf\xbf");
    assert_int_equal(vm_check(&vm, "x", &err), -DS_ERR_ARG);
    vm_free(&vm);
    assert_int_equal(vm_mac_parse("5254.00aa.bb01", mac, NULL), 0);
    assert_string_equal(mac, "52:54:00:aa:bb:01");
    assert_int_equal(vm_mac_parse("52:54:00:aa:bb", mac, NULL), -DS_ERR_ARG);
    assert_int_equal(vm_mac_parse("52:54:00:aa:bb:01:02", mac, NULL),
                     -DS_ERR_ARG);
    assert_int_equal(vm_mac_parse("52:54:00:aa:bb:0g", mac, NULL), -DS_ERR_ARG);
    assert_int_equal(
        vm_from_domain_xml("<domain><name>a</name><memory unit='parsec'>1"
                           "</memory></domain>",
                           &vm, &err),
        -DS_ERR_CORRUPT);
}

/* -- settings ------------------------------------------------------------- */

static void test_settings__each_has_a_standard_that_it_takes(void **state)
{
    const struct setting *setting;
    struct settings settings;

    (void)state;
    for (size_t i = 0; (setting = setting_at(i)) != NULL; i++) {
        struct ds_error err = DS_ERROR_INIT;

        settings = (struct settings){ 0 };
        if (setting->standard != NULL)
            assert_int_equal(
                setting_set(&settings, setting, setting->standard, &err), 0);
        settings_free(&settings);
        assert_ptr_equal(setting_by_key(setting->key), setting);
        if (setting->option != NULL)
            assert_ptr_equal(setting_by_option(setting->option), setting);
    }
}

static void test_settings__survive_copy_and_json(void **state)
{
    struct settings settings, copy, again;
    autojson json_t *json = NULL, *other = NULL;

    (void)state;
    settings_standard(&settings);
    setting_set(&settings, setting_by_key("networks"), "a=b=br0", NULL);
    setting_set(&settings, setting_by_key("wait.deadline"), "2h", NULL);
    setting_set(&settings, setting_by_key("backup.policy"), "shutdown", NULL);
    settings_copy(&copy, &settings);
    json = settings_to_json(&copy);
    assert_int_equal(settings_from_json(json, &again, NULL), 0);
    assert_string_equal(pairs_find(&again.networks, "a=b"), "br0");
    assert_int_equal(again.wait_deadline, 7200);
    assert_int_equal(again.backup, BACKUP_SHUTDOWN);
    other = settings_to_json(&again);
    assert_true(json_equal(json, other));
    settings_free(&settings);
    settings_free(&copy);
    settings_free(&again);
}

/* -- processes ------------------------------------------------------------ */

static void test_process__exchanges_more_than_a_pipe_holds(void **state)
{
    const char *const arguments[] = { "cat", NULL };
    size_t length = 300000;
    autofree char *input = need(length + 1);
    struct process_result done = { 0 };

    (void)state;
    memset(input, 'x', length);
    assert_int_equal(
        process_run(arguments, input, length, 20, 1u << 20, &done, NULL), 0);
    assert_int_equal(done.exit_status, 0);
    assert_int_equal(strlen(done.output), length);
    process_result_free(&done);
    assert_int_equal(
        process_run(arguments, input, length, 20, 1000, &done, NULL), 0);
    assert_int_equal(strlen(done.output), 1000);
    process_result_free(&done);
}

/* Written to after its end it would end us too, by SIGPIPE. */
static void test_process__need_not_read_its_input(void **state)
{
    const char *const arguments[] = { "sh", "-c",
                                      "exec 0<&-; echo done; exit 3", NULL };
    size_t length = 300000;
    autofree char *input = need(length);
    struct process_result done = { 0 };

    (void)state;
    memset(input, 'x', length);
    for (int ours = 0; ours < 2; ours++) {
        (void)signal(SIGPIPE, ours == 0 ? SIG_DFL : SIG_IGN);
        assert_int_equal(
            process_run(arguments, input, length, 20, 100, &done, NULL), 0);
        assert_int_equal(done.exit_status, 3);
        assert_string_equal(done.output, "done\n");
        process_result_free(&done);
    }
    (void)signal(SIGPIPE, SIG_DFL);
}

/* Whatever we do about SIGPIPE, in a script `yes | head` ends. */
static void test_process__gets_signals_as_usual(void **state)
{
    const char *const arguments[] = { "sh", "-c", "kill -PIPE $$; echo lives",
                                      NULL };
    struct process_result done = { 0 };

    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(process_run(arguments, NULL, 0, 20, 100, &done, NULL), 0);
    (void)signal(SIGPIPE, SIG_DFL);
    assert_int_equal(done.exit_status, -1);
    assert_string_equal(done.output, "");
    process_result_free(&done);
}

static void test_process__ends_at_its_deadline(void **state)
{
    const char *const arguments[] = { "sh", "-c", "sleep 60 & wait", NULL };
    const char *const none[] = { "/nowhere/at/all", NULL };
    struct ds_error err = DS_ERROR_INIT;
    struct process_result done = { 0 };
    uint64_t begun = now_ns();

    (void)state;
    assert_int_equal(process_run(arguments, NULL, 0, 1, 100, &done, &err),
                     -DS_ERR_SYSTEM);
    assert_int_equal(err.system_errno, ETIMEDOUT);
    assert_true(now_ns() - begun < UINT64_C(20000000000));
    assert_int_equal(process_run(none, NULL, 0, 1, 100, &done, &err),
                     -DS_ERR_SYSTEM);
    assert_int_equal(err.system_errno, ENOENT);
}

static void test_process__quotes_and_encodes(void **state)
{
    autofree char *quoted = shell_quote("a'b $(c)");
    autofree char *encoded = base64_encode("\0\xff"
                                           "ab",
                                           4);
    size_t length;
    autofree char *decoded = base64_decode(encoded, &length);

    (void)state;
    assert_string_equal(quoted, "'a'\\''b $(c)'");
    assert_string_equal(encoded, "AP9hYg==");
    assert_int_equal(length, 4);
    assert_memory_equal(decoded,
                        "\0\xff"
                        "ab",
                        4);
    assert_null(base64_decode("a*b=", &length));
}

/* -- journal -------------------------------------------------------------- */

static void
test_journal__refuses_another_version_and_a_second_claim(void **state)
{
    char directory[] = "/tmp/ds-journal.XXXXXX";
    struct ds_error err = DS_ERROR_INIT;
    struct journal *journal = NULL, *other = NULL;
    autofree char *command = NULL;
    int lock = -1, second = -1;

    (void)state;
    assert_non_null(mkdtemp(directory));
    assert_int_equal(journal_open(directory, &journal, &err), 0);
    assert_int_equal(journal_open(directory, &other, &err), 0);
    assert_int_equal(journal_claim(journal, 7, &lock, &err), 0);
    assert_true(journal_claimed(other, 7));
    assert_int_equal(journal_claim(other, 7, &second, &err), -DS_ERR_REFUSED);
    journal_release(lock);
    assert_false(journal_claimed(other, 7));
    journal_close(other);
    journal_close(journal);
    command = text_format(
        "sqlite3 %s/journal.sqlite 'PRAGMA user_version=9' && true", directory);
    assert_int_equal(system(command), 0);
    assert_int_equal(journal_open(directory, &journal, &err),
                     -DS_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "have 9 expect 1"));
    free(command);
    command = text_format("rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xml__finds_elements_and_attributes),
        cmocka_unit_test(test_xml__refuses_what_is_hostile),
        cmocka_unit_test(test_xml__text_in_many_pieces),
        cmocka_unit_test(test_vm__reads_domain_xml),
        cmocka_unit_test(test_vm__survives_json_and_domain_xml),
        cmocka_unit_test(test_vm__rejects_what_cannot_be),
        cmocka_unit_test(test_settings__each_has_a_standard_that_it_takes),
        cmocka_unit_test(test_settings__survive_copy_and_json),
        cmocka_unit_test(test_process__exchanges_more_than_a_pipe_holds),
        cmocka_unit_test(test_process__need_not_read_its_input),
        cmocka_unit_test(test_process__gets_signals_as_usual),
        cmocka_unit_test(test_process__ends_at_its_deadline),
        cmocka_unit_test(test_process__quotes_and_encodes),
        cmocka_unit_test(
            test_journal__refuses_another_version_and_a_second_claim),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
