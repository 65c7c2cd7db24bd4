/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hyper-V: hyperv+ssh://[user@]host[:port]. Each verb is one run of
 * hyperv/verbs.ps1 on the host, with what is asked for as one JSON literal.
 *
 * Paths have forward slashes on our side of this file: C:/vm/a.vhdx,
 * //filer/vm/a.vhdx, so that the plan's map of paths fits them.
 */
#include "hypervisor.h"
#include "powershell.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "hyperv_verbs.h"

#define SCHEME "hyperv+ssh://"
#define SHORT_SECONDS 120
#define DEFINE_SECONDS 600
#define MERGE_SECONDS 7200
/* What a VM is called until it is whole. */
#define TEMPORARY "diskshift-define-"
#define MARK "Made by diskshift"
#define MEMORY_STEP_BYTES (UINT64_C(2) << 20)
#define IDE_COUNT_MAX 4
#define SCSI_UNIT_COUNT 64
#define SCSI_CONTROLLER_COUNT 4

struct hyperv {
    struct hypervisor common;
    struct ssh_host host;
};

/* -- asking --------------------------------------------------------------- */

static char *plain_text(const json_t *value)
{
    char *text = text_copy(json_string_value(value));

    make_plain(text);
    return text;
}

static int answered(const char *verb, const char *name, const json_t *answer,
                    struct ds_error *err)
{
    autofree char *message = plain_text(json_object_get(answer, "message"));
    bool absent = json_is_true(json_object_get(answer, "absent"));
    bool missing = json_is_true(json_object_get(answer, "missing"));

    if (json_is_true(json_object_get(answer, "ok")))
        return 0;
    if (message == NULL)
        return fail(err, DS_ERR_CORRUPT, "%s %s: answer without a message",
                    verb, name);
    if (absent) {
        fail(err, DS_ERR_SYSTEM, "%s %s: %.300s", verb, name, message);
        if (err != NULL)
            err->system_errno = ENOENT;
        return -DS_ERR_SYSTEM;
    }
    if (missing)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "%s %s: the host has no Hyper-V module for PowerShell: "
                    "%.200s",
                    verb, name, message);
    return fail(err, DS_ERR_REFUSED, "%s %s: %.400s", verb, name, message);
}

/* `request` is taken. */
static int ask(struct hypervisor *hypervisor, const char *verb,
               const char *name, json_t *request, unsigned timeout_seconds,
               json_t **answer, struct ds_error *err)
{
    struct hyperv *hyperv = (struct hyperv *)hypervisor;
    autojson json_t *owned = request;
    autojson json_t *got = NULL;
    autofree char *json = NULL, *literal = NULL, *script = NULL;
    int result;

    if (owned == NULL)
        return fail(err, DS_ERR_ARG, "%s %s: a name is no UTF-8", verb, name);
    json_object_set_new(owned, "verb", json_string(verb));
    json = json_dumps(owned, JSON_COMPACT | JSON_SORT_KEYS);
    if (json == NULL)
        return fail_memory(err);
    literal = powershell_quote(json);
    script = text_format("$Request = ConvertFrom-Json %s\n%s", literal,
                         hyperv_verbs);
    result = powershell_run(&hyperv->host, script, timeout_seconds, &got, err);
    if (result != 0)
        return fail_within(err, "%s %s", verb, name);
    result = answered(verb, name, got, err);
    if (result == 0 && answer != NULL)
        *answer = json_incref(got);
    return result;
}

/* A verb that takes a name alone and answers nothing. */
static int tell(struct hypervisor *hypervisor, const char *verb,
                const char *name, struct ds_error *err)
{
    return ask(hypervisor, verb, name, json_pack("{s:s}", "name", name),
               SHORT_SECONDS, NULL, err);
}

/* -- connecting ----------------------------------------------------------- */

static bool takes(const char *uri)
{
    return text_begins(uri, SCHEME);
}

static void close_hyperv(struct hypervisor *hypervisor)
{
    struct hyperv *hyperv = (struct hyperv *)hypervisor;

    ssh_host_free(&hyperv->host);
    free(hypervisor->uri);
    free(hyperv);
}

static int list(struct hypervisor *hypervisor, struct texts *names,
                struct ds_error *err)
{
    autojson json_t *answer = NULL;
    int result = ask(hypervisor, "list", hypervisor->uri, json_object(),
                     SHORT_SECONDS, &answer, err);
    json_t *name;
    size_t i;

    if (result != 0)
        return result;
    json_array_foreach(json_object_get(answer, "names"), i,
                       name) if (json_is_string(name))
        texts_add(names, json_string_value(name));
    return 0;
}

/* The host is asked for its VMs, so that who may not is told so here. */
static int open_hyperv(const char *uri, const struct hypervisor_login *login,
                       struct hypervisor **out, struct ds_error *err)
{
    const char *rest = uri + strlen(SCHEME);
    const char *slash = strchr(rest, '/');
    struct hyperv *hyperv = need(sizeof(*hyperv));
    struct texts names = { 0 };
    int result = 0;

    hyperv->common.ops = &hypervisor_hyperv;
    hyperv->common.can = HYPERVISOR_CAN_SNAPSHOT | HYPERVISOR_CAN_QUIESCE |
                         HYPERVISOR_CAN_DEFINE | HYPERVISOR_CAN_ADDRESSES |
                         HYPERVISOR_CAN_AUTOSTART;
    hyperv->common.uri = text_copy(uri);
    if (!ssh_host_parse(rest, login, &hyperv->host) ||
        (slash != NULL && slash[1] != '\0'))
        result = fail(err, DS_ERR_ARG,
                      "have a URI that begins with %s expect "
                      "%s[USER@]HOST[:PORT]; passwords and keys are ssh's "
                      "to find",
                      SCHEME, SCHEME);
    if (result == 0)
        result = list(&hyperv->common, &names, err);
    texts_free(&names);
    if (result != 0)
        close_hyperv(&hyperv->common);
    else
        *out = &hyperv->common;
    return result;
}

/* -- inventory ------------------------------------------------------------ */

static int ask_found(struct hypervisor *hypervisor, const char *verb,
                     const char *key, const char *value, struct ds_error *err)
{
    autojson json_t *answer = NULL;
    int result = ask(hypervisor, verb, value, json_pack("{s:s}", key, value),
                     SHORT_SECONDS, &answer, err);

    return result != 0 ? result
                       : json_is_true(json_object_get(answer, "found"));
}

static int find(struct hypervisor *hypervisor, const char *name,
                struct ds_error *err)
{
    return ask_found(hypervisor, "find", "name", name, err);
}

static int has_network(struct hypervisor *hypervisor, enum vm_link link,
                       const char *network, struct ds_error *err)
{
    return link != VM_LINK_NETWORK
               ? 0
               : ask_found(hypervisor, "has network", "network", network, err);
}

static int runs_format(struct hypervisor *hypervisor, const char *format,
                       struct ds_error *err)
{
    (void)hypervisor, (void)err;
    return strcmp(format, "vhdx") == 0 || strcmp(format, "vhd") == 0;
}

static uint64_t number_at(const json_t *answer, const char *key)
{
    json_int_t number = json_integer_value(json_object_get(answer, key));

    return number > 0 ? (uint64_t)number : 0;
}

static bool yes_at(const json_t *answer, const char *key)
{
    return json_is_true(json_object_get(answer, key));
}

static const char *text_at(const json_t *answer, const char *key)
{
    return json_string_value(json_object_get(answer, key));
}

static char *forward(const char *path)
{
    char *out = text_copy(path != NULL ? path : "");

    for (char *at = out; *at != '\0'; at++)
        if (*at == '\\')
            *at = '/';
    return out;
}

static int read_disk(const json_t *from, struct vm *vm, struct ds_error *err)
{
    struct vm_disk *disk;
    const char *dot;
    int result = vm_add_disk(vm, &disk, err);

    if (result != 0)
        return result;
    disk->path = forward(text_at(from, "path"));
    disk->bus =
        text_same(text_at(from, "type"), "IDE") ? VM_BUS_IDE : VM_BUS_SCSI;
    disk->name =
        text_format("%s%" PRIu64 ":%" PRIu64, vm_bus_name(disk->bus),
                    number_at(from, "controller"), number_at(from, "location"));
    for (size_t i = 0; i + 1 < vm->disk_count; i++)
        disk->unit_index += vm->disks[i].bus == disk->bus;
    disk->shared = yes_at(from, "shared");
    if (yes_at(from, "physical")) {
        disk->source = VM_SOURCE_DEVICE;
        return 0;
    }
    /* An overlay is .avhdx or .avhd. A set (.vhds) is what clusters share. */
    dot = strrchr(disk->path, '.');
    if (dot != NULL &&
        (strcasecmp(dot, ".vhdx") == 0 || strcasecmp(dot, ".avhdx") == 0))
        text_set(&disk->format, "vhdx");
    else if (dot != NULL &&
             (strcasecmp(dot, ".vhd") == 0 || strcasecmp(dot, ".avhd") == 0))
        text_set(&disk->format, "vhd");
    else
        return fail(err, DS_ERR_UNSUPPORTED,
                    "disk %s: have %.200s expect a .vhdx or .vhd", disk->name,
                    disk->path);
    return 0;
}

static int read_nic(const json_t *from, struct vm *vm, struct ds_error *err)
{
    const char *mac = text_at(from, "mac"), *mode = text_at(from, "mode");
    const char *network = text_at(from, "network");
    struct vm_nic *nic;
    int result = vm_add_nic(vm, &nic, err);

    if (result != 0)
        return result;
    nic->link = VM_LINK_NETWORK;
    nic->unplugged = network == NULL || network[0] == '\0';
    text_set(&nic->network, nic->unplugged ? "none" : network);
    text_set(&nic->model, yes_at(from, "legacy") ? "tulip" : "netvsc");
    if (text_same(mode, "Access"))
        nic->vlan = (unsigned)number_at(from, "vlan");
    else if (mode != NULL && !text_same(mode, "Untagged"))
        return fail(err, DS_ERR_UNSUPPORTED,
                    "network interface %zu: VLAN mode, have %.40s expect "
                    "Access or Untagged",
                    vm->nic_count, mode);
    /* One that was never started has no address yet. */
    if (mac == NULL || strspn(mac, "0") == strlen(mac))
        return 0;
    return vm_mac_parse(mac, nic->mac, err);
}

/* Whoever wrote the notes may have begun them with our mark. */
static const char *notes_without_mark(const char *notes)
{
    if (!text_begins(notes, MARK))
        return notes;
    notes += strlen(MARK);
    return notes[strspn(notes, "\r\n")] == '\0' ? NULL
                                                : notes + strspn(notes, "\r\n");
}

static int read_machine(const json_t *answer, const char *name, struct vm *vm,
                        struct ds_error *err)
{
    const char *notes = notes_without_mark(text_at(answer, "notes"));
    const char *template = text_at(answer, "template");

    text_set(&vm->name, name);
    text_set(&vm->description,
             notes != NULL && notes[0] != '\0' ? notes : NULL);
    text_set(&vm->arch, "x86_64");
    vm->cpu_count = (unsigned)number_at(answer, "cpus");
    vm->memory_bytes = number_at(answer, "memory");
    vm->firmware = number_at(answer, "generation") == 2 ? VM_FIRMWARE_UEFI
                                                        : VM_FIRMWARE_BIOS;
    vm->secure_boot = yes_at(answer, "secure_boot");
    if (vm->secure_boot && text_same(template, "MicrosoftWindows"))
        text_set(&vm->guest_os, "windows");
    vm->tpm = yes_at(answer, "tpm") ? VM_TPM_2_0 : VM_TPM_NONE;
    vm->autostart = yes_at(answer, "autostart");
    vm->snapshot_count = (unsigned)number_at(answer, "snapshots");
    vm->removable_count = (unsigned)number_at(answer, "removable");
    vm->passthrough_count = (unsigned)number_at(answer, "devices");
    return yes_at(answer, "shielded")
               ? fail(err, DS_ERR_UNSUPPORTED,
                      "the VM is shielded: its disks are nobody's to read")
               : 0;
}

static int read_vm(const json_t *answer, const char *name, struct vm *vm,
                   struct ds_error *err)
{
    int result = read_machine(answer, name, vm, err);
    json_t *part;
    size_t i;

    json_array_foreach(json_object_get(answer, "disks"), i,
                       part) if (result == 0) result = read_disk(part, vm, err);
    json_array_foreach(json_object_get(answer, "nics"), i,
                       part) if (result == 0) result = read_nic(part, vm, err);
    return result;
}

static int describe(struct hypervisor *hypervisor, const char *name,
                    struct vm *out, struct ds_error *err)
{
    autojson json_t *answer = NULL;
    struct vm vm = { 0 };
    int result =
        ask(hypervisor, "describe", name, json_pack("{s:s}", "name", name),
            SHORT_SECONDS, &answer, err);

    if (result != 0)
        return result;
    result = read_vm(answer, name, &vm, err);
    if (result != 0) {
        vm_free(&vm);
        return fail_within(err, "describe %s", name);
    }
    vm.native = json_dumps(answer, JSON_INDENT(1) | JSON_SORT_KEYS);
    *out = vm;
    return 0;
}

/* -- what exists ---------------------------------------------------------- */

static bool is_windows_path(const char *path)
{
    return text_begins(path, "//") ||
           (path != NULL && isalpha((unsigned char)path[0]) && path[1] == ':' &&
            path[2] == '/');
}

static char *backward(const char *path)
{
    char *out = text_copy(path);

    for (char *at = out; *at != '\0'; at++)
        if (*at == '/')
            *at = '\\';
    return out;
}

/* Generation 1 starts from IDE alone, and has no more than four disks there. */
struct places {
    bool uefi;
    unsigned ide_count, scsi_count;
};

static int place_disk(struct places *places, const struct vm_disk *disk,
                      bool boots, json_t *out, struct ds_error *err)
{
    bool ide = !places->uefi && (boots || disk->bus == VM_BUS_IDE);
    unsigned at;

    if (ide)
        at = boots ? 0 : places->ide_count++;
    else
        at = places->scsi_count++;
    if (at >= (ide ? IDE_COUNT_MAX : SCSI_UNIT_COUNT * SCSI_CONTROLLER_COUNT))
        return fail(err, DS_ERR_LIMIT,
                    "disk %s: %s has no more room in a VM of Hyper-V",
                    disk->name, ide ? "IDE" : "SCSI");
    json_object_set_new(out, "type", json_string(ide ? "IDE" : "SCSI"));
    json_object_set_new(out, "controller",
                        json_integer(at / (ide ? 2 : SCSI_UNIT_COUNT)));
    json_object_set_new(out, "location",
                        json_integer(at % (ide ? 2 : SCSI_UNIT_COUNT)));
    return 0;
}

static int check_disk(const struct vm *vm, const struct vm_disk *disk,
                      struct ds_error *err)
{
    bool uefi = vm->firmware == VM_FIRMWARE_UEFI;

    if (!is_windows_path(disk->path))
        return fail(err, DS_ERR_ARG,
                    "disk %s: path, have %s expect it as the host names it, "
                    "C:/... or //server/share/...",
                    disk->name, disk->path);
    if (!text_same(disk->format, "vhdx") &&
        (uefi || !text_same(disk->format, "vhd")))
        return fail(err, DS_ERR_UNSUPPORTED,
                    "disk %s: format, have %s expect %s", disk->name,
                    disk->format,
                    uefi ? "vhdx, with UEFI (generation 2)" : "vhdx or vhd");
    return 0;
}

static size_t boot_disk(const struct vm *vm)
{
    size_t best = 0;

    for (size_t i = 1; i < vm->disk_count; i++)
        if (vm->disks[i].boot_order != 0 &&
            (vm->disks[best].boot_order == 0 ||
             vm->disks[i].boot_order < vm->disks[best].boot_order))
            best = i;
    return best;
}

static int list_disks(const struct vm *vm, json_t *out, struct ds_error *err)
{
    struct places places = { .uefi = vm->firmware == VM_FIRMWARE_UEFI,
                             .ide_count = 1 }; /* the first is kept for boot */
    size_t boot = boot_disk(vm);
    int result = 0;

    for (size_t i = 0; result == 0 && i < vm->disk_count; i++) {
        const struct vm_disk *disk = &vm->disks[i];
        autofree char *path = NULL;
        json_t *one = json_object();

        json_array_append_new(out, one);
        result = check_disk(vm, disk, err);
        if (result == 0)
            result = place_disk(&places, disk, i == boot, one, err);
        path = backward(disk->path != NULL ? disk->path : "");
        if (result == 0 &&
            json_object_set_new(one, "path", json_string(path)) != 0)
            result =
                fail(err, DS_ERR_ARG, "disk %s: path is no UTF-8", disk->name);
    }
    return result;
}

static int list_nics(const struct vm *vm, json_t *out, struct ds_error *err)
{
    for (size_t i = 0; i < vm->nic_count; i++) {
        const struct vm_nic *nic = &vm->nics[i];
        autofree char *name = text_format("Network Adapter %zu", i + 1);
        char mac[13] = "";
        bool legacy = text_same(nic->model, "tulip");
        size_t count = 0;
        json_t *one;

        if (nic->link != VM_LINK_NETWORK)
            return fail(err, DS_ERR_UNSUPPORTED,
                        "network interface %zu: have %s expect the name of a "
                        "virtual switch",
                        i + 1, nic->network);
        if (legacy && vm->firmware == VM_FIRMWARE_UEFI)
            return fail(err, DS_ERR_UNSUPPORTED,
                        "network interface %zu: generation 2 has no legacy "
                        "adapter",
                        i + 1);
        for (const char *at = nic->mac; *at != '\0' && count < 12; at++)
            if (*at != ':')
                mac[count++] = (char)toupper((unsigned char)*at);
        one = json_pack("{s:s, s:s, s:s, s:i, s:b}", "name", name, "network",
                        nic->unplugged ? "" : nic->network, "mac", mac, "vlan",
                        (int)nic->vlan, "legacy", legacy);
        if (json_array_append_new(out, one) != 0)
            return fail(err, DS_ERR_ARG,
                        "network interface %zu: network is no UTF-8", i + 1);
    }
    return 0;
}

/* Which certificates the firmware trusts: Windows' own, or those that sign
 * the shims of other systems. */
static const char *secure_boot_template(const struct vm *vm)
{
    return vm->guest_os != NULL && strcasestr(vm->guest_os, "win") != NULL
               ? "MicrosoftWindows"
               : "MicrosoftUEFICertificateAuthority";
}

static int define(struct hypervisor *hypervisor, const struct vm *vm,
                  struct ds_error *err)
{
    autofree char *temporary = text_format(TEMPORARY "%s", vm->name);
    bool uefi = vm->firmware == VM_FIRMWARE_UEFI;
    json_t *disks = json_array(), *nics = json_array();
    json_t *request = json_pack(
        "{s:s, s:s, s:s, s:i, s:i, s:I, s:b, s:s, s:b, s:i, s:o, s:o}", "name",
        vm->name, "temporary", temporary, "notes",
        vm->description != NULL ? vm->description : "", "generation",
        uefi ? 2 : 1, "cpus", (int)vm->cpu_count, "memory",
        (json_int_t)vm->memory_bytes, "secure_boot", vm->secure_boot,
        "template", secure_boot_template(vm), "tpm", vm->tpm != VM_TPM_NONE,
        "boot_index", (int)boot_disk(vm), "disks", disks, "nics", nics);
    int result = 0;

    if (vm->memory_bytes % MEMORY_STEP_BYTES != 0)
        result = fail(err, DS_ERR_UNSUPPORTED,
                      "memory, have %" PRIu64 " bytes expect a multiple of "
                      "2 MiB",
                      vm->memory_bytes);
    else if (!uefi && vm->tpm != VM_TPM_NONE)
        result = fail(err, DS_ERR_UNSUPPORTED,
                      "a TPM is for VMs with UEFI (generation 2) only");
    if (result == 0 && request != NULL)
        result = list_disks(vm, disks, err);
    if (result == 0 && request != NULL)
        result = list_nics(vm, nics, err);
    if (result == 0)
        return ask(hypervisor, "define", vm->name, request, DEFINE_SECONDS,
                   NULL, err);
    json_decref(request);
    return fail_within(err, "define %s", vm->name);
}

static int undefine(struct hypervisor *hypervisor, const char *name,
                    struct ds_error *err)
{
    autofree char *temporary = text_format(TEMPORARY "%s", name);

    return ask(hypervisor, "undefine", name,
               json_pack("{s:s, s:s}", "name", name, "temporary", temporary),
               DEFINE_SECONDS, NULL, err);
}

static int autostart(struct hypervisor *hypervisor, const char *name, bool on,
                     struct ds_error *err)
{
    return ask(hypervisor, "set autostart", name,
               json_pack("{s:s, s:b}", "name", name, "on", on), SHORT_SECONDS,
               NULL, err);
}

static int renew_macs(struct hypervisor *hypervisor, const char *name,
                      struct ds_error *err)
{
    return tell(hypervisor, "renew MACs", name, err);
}

/* -- power ---------------------------------------------------------------- */

/* A saved VM's memory goes on where its disks are now, so it is not off. Those
 * in a critical state have lost their storage. */
static int state_of(const char *word, enum hypervisor_state *out)
{
    static const struct {
        const char *word;
        enum hypervisor_state state;
    } states[] = {
        { "Off", HYPERVISOR_OFF },
        { "OffCritical", HYPERVISOR_OFF },
        { "Running", HYPERVISOR_RUNNING },
        { "Starting", HYPERVISOR_RUNNING },
        { "Reset", HYPERVISOR_RUNNING },
        { "Resuming", HYPERVISOR_RUNNING },
        { "Paused", HYPERVISOR_PAUSED },
        { "Pausing", HYPERVISOR_PAUSED },
        { "Saved", HYPERVISOR_PAUSED },
        { "FastSaved", HYPERVISOR_PAUSED },
        { "RunningCritical", HYPERVISOR_PAUSED },
        { "PausedCritical", HYPERVISOR_PAUSED },
        { "SavedCritical", HYPERVISOR_PAUSED },
        { "FastSavedCritical", HYPERVISOR_PAUSED },
        { "Stopping", HYPERVISOR_STOPPING },
        { "Saving", HYPERVISOR_STOPPING },
        { "FastSaving", HYPERVISOR_STOPPING },
    };

    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        if (text_same(word, states[i].word)) {
            *out = states[i].state;
            return 0;
        }
    }
    return -1;
}

static int get_state(struct hypervisor *hypervisor, const char *name,
                     enum hypervisor_state *out, struct ds_error *err)
{
    autojson json_t *answer = NULL;
    int result =
        ask(hypervisor, "state", name, json_pack("{s:s}", "name", name),
            SHORT_SECONDS, &answer, err);
    const char *word = text_at(answer, "state");

    if (result != 0 || state_of(word, out) == 0)
        return result;
    return fail(err, DS_ERR_UNSUPPORTED, "state %s: %.40s is not known", name,
                word != NULL ? word : "nothing");
}

static int start(struct hypervisor *hypervisor, const char *name,
                 struct ds_error *err)
{
    return tell(hypervisor, "start", name, err);
}

static int shut_down(struct hypervisor *hypervisor, const char *name,
                     struct ds_error *err)
{
    return tell(hypervisor, "shut down", name, err);
}

static int force_off(struct hypervisor *hypervisor, const char *name,
                     struct ds_error *err)
{
    return tell(hypervisor, "power off", name, err);
}

/* -- snapshots ------------------------------------------------------------ */

static void read_snapshot(const json_t *answer, struct hypervisor_snapshot *out)
{
    json_t *path;
    size_t i;

    text_set(&out->name, text_at(answer, "name"));
    json_array_foreach(json_object_get(answer, "overlays"), i, path)
    {
        autofree char *overlay = forward(json_string_value(path));

        texts_add(&out->overlays, overlay);
    }
}

static int snapshot_find(struct hypervisor *hypervisor, const struct vm *vm,
                         struct hypervisor_snapshot *out, struct ds_error *err)
{
    autojson json_t *answer = NULL;
    int result = ask(hypervisor, "find snapshot", vm->name,
                     json_pack("{s:s, s:s}", "name", vm->name, "prefix",
                               HYPERVISOR_SNAPSHOT_PREFIX),
                     SHORT_SECONDS, &answer, err);

    if (result != 0 || text_at(answer, "name") == NULL)
        return result;
    read_snapshot(answer, out);
    return 1;
}

static int snapshot_create(struct hypervisor *hypervisor, const struct vm *vm,
                           const char *name, bool quiesce,
                           struct hypervisor_snapshot *out,
                           struct ds_error *err)
{
    autojson json_t *answer = NULL;
    int result = ask(hypervisor, "create snapshot", vm->name,
                     json_pack("{s:s, s:s, s:b}", "name", vm->name, "snapshot",
                               name, "quiesce", quiesce),
                     DEFINE_SECONDS, &answer, err);

    if (result == 0)
        read_snapshot(answer, out);
    return result;
}

static int snapshot_merge(struct hypervisor *hypervisor, const struct vm *vm,
                          struct ds_error *err)
{
    return ask(hypervisor, "merge snapshot", vm->name,
               json_pack("{s:s, s:s, s:i}", "name", vm->name, "prefix",
                         HYPERVISOR_SNAPSHOT_PREFIX, "seconds",
                         MERGE_SECONDS - SHORT_SECONDS),
               MERGE_SECONDS, NULL, err);
}

/* -- the guest ------------------------------------------------------------ */

/* As the guest's integration services tell the host. */
static int addresses(struct hypervisor *hypervisor, const char *name,
                     struct texts *out, struct ds_error *err)
{
    autojson json_t *answer = NULL;
    int result =
        ask(hypervisor, "addresses", name, json_pack("{s:s}", "name", name),
            SHORT_SECONDS, &answer, err);
    json_t *nic, *address;
    size_t i, j;

    if (result != 0)
        return result;
    json_array_foreach(json_object_get(answer, "nics"), i, nic)
    {
        const char *text = text_at(nic, "mac");
        char mac[18];

        if (text == NULL || vm_mac_parse(text, mac, NULL) != 0)
            continue;
        json_array_foreach(json_object_get(nic, "addresses"), j, address)
        {
            autofree char *line = text_format(
                "%s %s", mac,
                json_is_string(address) ? json_string_value(address) : "");

            texts_add(out, line);
        }
    }
    return 0;
}

const struct hypervisor_ops hypervisor_hyperv = {
    .name = "hyperv",
    .takes = takes,
    .open = open_hyperv,
    .close = close_hyperv,
    .list = list,
    .find = find,
    .describe = describe,
    .has_network = has_network,
    .runs_format = runs_format,
    .define = define,
    .undefine = undefine,
    .autostart = autostart,
    .renew_macs = renew_macs,
    .state = get_state,
    .start = start,
    .shut_down = shut_down,
    .force_off = force_off,
    .snapshot_find = snapshot_find,
    .snapshot_create = snapshot_create,
    .snapshot_merge = snapshot_merge,
    .addresses = addresses,
};
