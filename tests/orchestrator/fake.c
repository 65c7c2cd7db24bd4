/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hypervisor for tests: libvirt's test driver, in a daemon so that it
 * outlives the orchestrator, and beside it what that driver lacks: snapshots,
 * an agent, guests that do something. URI: fake+ before libvirt's.
 *
 * What guests do and what fails is said by files in the directory DS_FAKE:
 *
 *   fail-VERB       a number: so many more times the verb fails
 *   fail-VERB-NAME  the same, for this VM alone
 *   gone            the host does not answer at all
 *   mute-NAME       no agent in that guest
 *   deaf-NAME       the guest does not power off when it is asked
 *   script-fails, script-stays (does not power off), agent-dies (with it)
 *   silent          a number: so many times the target powers off without a
 *                   result
 *   no-snapshots    the hypervisor has none
 *   result-failed   its result is a failure
 *   stays           the target does not power off
 *   nvram-NAME      a path: that VM boots by UEFI, and has its variables there
 *
 * A script "runs" by writing into the first disk, and the UEFI variables, so
 * that they are not what was backed up. Everything a guest does is done inside
 * the verb that causes it.
 */
#include "hypervisor_libvirt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DISK_OFFSET_BYTES 65536

static struct hypervisor_ops fake;

/* -- files that say what happens ------------------------------------------ */

static char *fake_path(const char *word, const char *name)
{
    const char *directory = getenv("DS_FAKE");

    return text_format("%s/%s%s%s", directory != NULL ? directory : "/nowhere",
                       word, name != NULL ? "-" : "", name != NULL ? name : "");
}

static bool is_said(const char *word, const char *name)
{
    autofree char *path = fake_path(word, name);

    return path_exists(path);
}

static void say(const char *word, const char *name, const char *text)
{
    autofree char *path = fake_path(word, name);

    if (text == NULL)
        unlink(path);
    else
        (void)file_write(path, text, strlen(text), 0600, NULL);
}

static char *said(const char *word, const char *name)
{
    autofree char *path = fake_path(word, name);
    char *text = NULL;

    (void)file_read(path, 65536, &text, NULL, NULL);
    return text;
}

static bool takes_one(const char *word, const char *name)
{
    autofree char *text = said(word, name), *less = NULL;
    long left = text != NULL ? strtol(text, NULL, 10) : 0;

    if (left <= 0)
        return false;
    less = text_format("%ld", left - 1);
    say(word, name, less);
    return true;
}

static int faulty(const char *verb, const char *name, struct ds_error *err)
{
    autofree char *word = text_format("fail-%s", verb);

    if (is_said("gone", NULL))
        return fail_errno(err, EHOSTUNREACH, NULL, "%s %s", verb, name);
    if (takes_one(word, NULL) || takes_one(word, name))
        return fail(err, DS_ERR_REFUSED, "%s %s: the fake says no", verb, name);
    return 0;
}

/* -- connection ----------------------------------------------------------- */

static bool takes(const char *uri)
{
    return text_begins(uri, "fake+");
}

static int open_fake(const char *uri, const struct hypervisor_login *login,
                     struct hypervisor **out, struct ds_error *err)
{
    int result = faulty("open", "host", err);

    if (result == 0)
        result = libvirt_connect(uri + 5, login, &fake, out, err);
    if (result == 0)
        (*out)->can |= HYPERVISOR_CAN_NVRAM | HYPERVISOR_CAN_NBD |
                       HYPERVISOR_CAN_AGENT | HYPERVISOR_CAN_REPORT |
                       HYPERVISOR_CAN_ADDRESSES;
    if (result == 0 && !is_said("no-snapshots", NULL))
        (*out)->can |= HYPERVISOR_CAN_SNAPSHOT | HYPERVISOR_CAN_QUIESCE;
    return result;
}

/* -- verbs that may fail -------------------------------------------------- */

static int describe(struct hypervisor *hypervisor, const char *name,
                    struct vm *out, struct ds_error *err)
{
    int result = faulty("describe", name, err);

    if (result == 0)
        result = hypervisor_libvirt.describe(hypervisor, name, out, err);
    if (result != 0)
        return result;
    out->agent = true;
    out->nvram_path = said("nvram", name);
    out->firmware =
        out->nvram_path != NULL ? VM_FIRMWARE_UEFI : VM_FIRMWARE_BIOS;
    return 0;
}

static int define(struct hypervisor *hypervisor, const struct vm *vm,
                  struct ds_error *err)
{
    struct vm bare = *vm; /* borrows */
    int result = faulty("define", vm->name, err);

    say("report", vm->name, vm->report_path);
    say("nvram", vm->name, vm->nvram_path);
    /* The test driver knows none of these. */
    bare.report_path = bare.console_path = bare.nvram_path = NULL;
    bare.firmware = VM_FIRMWARE_BIOS;
    return result != 0 ? result
                       : hypervisor_libvirt.define(hypervisor, &bare, err);
}

static int undefine(struct hypervisor *hypervisor, const char *name,
                    struct ds_error *err)
{
    autofree char *nvram = said("nvram", name);
    int result = faulty("undefine", name, err);

    if (result == 0)
        result = hypervisor_libvirt.undefine(hypervisor, name, err);
    if (result == 0 && nvram != NULL) {
        unlink(nvram);
        say("nvram", name, NULL);
    }
    return result;
}

static int autostart(struct hypervisor *hypervisor, const char *name, bool on,
                     struct ds_error *err)
{
    int result = faulty("autostart", name, err);

    return result != 0
               ? result
               : hypervisor_libvirt.autostart(hypervisor, name, on, err);
}

static int get_state(struct hypervisor *hypervisor, const char *name,
                     enum hypervisor_state *out, struct ds_error *err)
{
    int result = faulty("state", name, err);

    return result != 0 ? result
                       : hypervisor_libvirt.state(hypervisor, name, out, err);
}

static int force_off(struct hypervisor *hypervisor, const char *name,
                     struct ds_error *err)
{
    int result = faulty("force_off", name, err);

    return result != 0 ? result
                       : hypervisor_libvirt.force_off(hypervisor, name, err);
}

static int shut_down(struct hypervisor *hypervisor, const char *name,
                     struct ds_error *err)
{
    int result = faulty("shut_down", name, err);

    if (result != 0 || is_said("deaf", name))
        return result;
    return hypervisor_libvirt.shut_down(hypervisor, name, err);
}

/* The target's first boot: it reports and powers off before start returns. */
static int boot_target(struct hypervisor *hypervisor, const char *name,
                       const char *report, struct ds_error *err)
{
    autofree char *line = text_format(
        "diskshift-result {\"schema\":1,\"part\":\"second\",\"phase\":"
        "\"settle\",\"status\":\"%s\",\"steps\":[{\"element\":\"network\","
        "\"messages\":[{\"level\":\"failed\",\"text\":\"no such route\"}]}]}\n",
        is_said("result-failed", NULL) ? "failed" : "done");

    if (is_said("stays", NULL))
        return 0;
    if (!takes_one("silent", NULL))
        (void)file_write(report, line, strlen(line), 0600, NULL);
    return hypervisor_libvirt.force_off(hypervisor, name, err);
}

static int start(struct hypervisor *hypervisor, const char *name,
                 struct ds_error *err)
{
    autofree char *report = said("report", name);
    int result = faulty("start", name, err);

    if (result == 0)
        result = hypervisor_libvirt.start(hypervisor, name, err);
    if (result != 0 || report == NULL || path_exists(report) ||
        strstr(name, "-test-") != NULL)
        return result;
    return boot_target(hypervisor, name, report, err);
}

static int has_network(struct hypervisor *hypervisor, enum vm_link link,
                       const char *network, struct ds_error *err)
{
    (void)hypervisor, (void)link, (void)err;
    return strcmp(network, "missing") != 0;
}

static int has_machine(struct hypervisor *hypervisor, const char *machine,
                       struct ds_error *err)
{
    (void)hypervisor, (void)err;
    return strcmp(machine, "missing") != 0;
}

/* It has QEMU's machines. */
static int fits(struct hypervisor *hypervisor, const struct vm *vm,
                struct ds_error *err)
{
    struct libvirt libvirt = *(struct libvirt *)hypervisor;

    libvirt.driver = "QEMU";
    return hypervisor_libvirt.fits(&libvirt.common, vm, err);
}

/* -- snapshots: their name in a file -------------------------------------- */

static int snapshot_find(struct hypervisor *hypervisor, const struct vm *vm,
                         struct hypervisor_snapshot *out, struct ds_error *err)
{
    int result = faulty("snapshot_find", vm->name, err);

    (void)hypervisor;
    if (result != 0)
        return result;
    out->name = said("snapshot", vm->name);
    return out->name != NULL;
}

static int snapshot_create(struct hypervisor *hypervisor, const struct vm *vm,
                           const char *name, bool quiesce,
                           struct hypervisor_snapshot *out,
                           struct ds_error *err)
{
    int result = faulty(quiesce ? "quiesce" : "snapshot", vm->name, err);

    (void)hypervisor, (void)out;
    if (result == 0 && is_said("snapshot", vm->name))
        result = fail(err, DS_ERR_REFUSED, "there is a snapshot already");
    if (result == 0)
        say("snapshot", vm->name, name);
    return result;
}

static int snapshot_merge(struct hypervisor *hypervisor, const struct vm *vm,
                          struct ds_error *err)
{
    int result = faulty("merge", vm->name, err);

    (void)hypervisor;
    if (result == 0)
        say("snapshot", vm->name, NULL);
    return result;
}

/* -- the agent ------------------------------------------------------------ */

static int change(const char *path, off_t offset_bytes, struct ds_error *err)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    int result = 0;

    if (file < 0 ||
        pwrite(file, "changed in the guest", 20, offset_bytes) != 20)
        result = fail_errno(err, errno, path, "write");
    if (file >= 0)
        close(file);
    return result;
}

static int run_in_guest(struct hypervisor *hypervisor, const char *name,
                        struct ds_error *err)
{
    struct vm vm = { 0 };
    int result = describe(hypervisor, name, &vm, err);

    if (result == 0 && vm.disk_count > 0)
        result = change(vm.disks[0].path, DISK_OFFSET_BYTES, err);
    if (result == 0 && vm.nvram_path != NULL)
        result = change(vm.nvram_path, 0, err);
    vm_free(&vm);
    if (result != 0 || is_said("script-stays", NULL) ||
        is_said("script-fails", NULL))
        return result;
    return hypervisor_libvirt.force_off(hypervisor, name, err);
}

static char *answer(const char *command)
{
    if (strstr(command, "guest-get-osinfo") != NULL)
        return text_copy("{\"return\":{\"id\":\"small\"}}");
    if (strstr(command, "guest-file-open") != NULL)
        return text_copy("{\"return\":1}");
    if (strstr(command, "guest-exec-status") != NULL)
        return text_format(
            "{\"return\":{\"exited\":true,\"exitcode\":%d,"
            "\"err-data\":\"bm8gbHVjawo=\"}}",
            is_said("script-fails", NULL) && is_said("ran", NULL) ? 1 : 0);
    if (strstr(command, "guest-exec") != NULL)
        return text_copy("{\"return\":{\"pid\":7}}");
    return text_copy("{\"return\":{}}");
}

static char *written(const char *command)
{
    json_t *request = json_loads(command, 0, NULL);
    json_t *arguments = json_object_get(request, "arguments");
    const char *data = json_string_value(json_object_get(arguments, "buf-b64"));
    size_t length = data != NULL ? strlen(data) : 0, tail = 0;
    char *text;

    if (length >= 1 && data[length - 1] == '=')
        tail++;
    if (length >= 2 && data[length - 2] == '=')
        tail++;
    text = text_format("{\"return\":{\"count\":%zu}}", length / 4 * 3 - tail);
    json_decref(request);
    return text;
}

static int agent(struct hypervisor *hypervisor, const char *name,
                 const char *command, unsigned timeout_seconds, char **out,
                 struct ds_error *err)
{
    enum hypervisor_state state = HYPERVISOR_OFF;
    bool script = strstr(command, "/bin/sh") != NULL;
    int result = faulty("agent", name, err);

    (void)timeout_seconds;
    if (result == 0)
        result = hypervisor_libvirt.state(hypervisor, name, &state, err);
    if (result == 0 && (state != HYPERVISOR_RUNNING || is_said("mute", name) ||
                        is_said("agent-died", NULL)))
        result =
            fail(err, DS_ERR_REFUSED, "agent of %s: is not connected", name);
    if (result != 0)
        return result;
    *out = strstr(command, "guest-file-write") != NULL ? written(command)
                                                       : answer(command);
    if (script) {
        say("ran", NULL, "1");
        if (is_said("agent-dies", NULL))
            say("agent-died", NULL, "1");
        result = run_in_guest(hypervisor, name, err);
    }
    return result;
}

/* Each MAC with an address, unless the guest is mute. */
static int addresses(struct hypervisor *hypervisor, const char *name,
                     struct texts *out, struct ds_error *err)
{
    struct vm vm = { 0 };
    int result = hypervisor_libvirt.describe(hypervisor, name, &vm, err);

    for (size_t i = 0; i < vm.nic_count && !is_said("mute", name); i++) {
        autofree char *line = text_format("%s 10.0.0.5", vm.nics[i].mac);

        texts_add(out, line);
    }
    vm_free(&vm);
    return result;
}

__attribute__((constructor)) static void register_fake(void)
{
    fake = hypervisor_libvirt;
    fake.name = "fake";
    fake.takes = takes;
    fake.open = open_fake;
    fake.describe = describe;
    fake.define = define;
    fake.undefine = undefine;
    fake.autostart = autostart;
    fake.state = get_state;
    fake.start = start;
    fake.shut_down = shut_down;
    fake.force_off = force_off;
    fake.has_network = has_network;
    fake.has_machine = has_machine;
    fake.fits = fits;
    fake.snapshot_find = snapshot_find;
    fake.snapshot_create = snapshot_create;
    fake.snapshot_merge = snapshot_merge;
    fake.agent = agent;
    fake.addresses = addresses;
    hypervisor_register(&fake);
}
