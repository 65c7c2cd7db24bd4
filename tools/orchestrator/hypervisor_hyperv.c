/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hyper-V: hyperv+ssh://[user@]host[:port]. Each verb is one run of
 * hyperv/verbs.ps1 on the host, with what is asked for as one JSON literal.
 */
#include "hyperv.h"
#include "hypervisor.h"
#include "powershell.h"

#include <errno.h>
#include <string.h>

#include "hyperv_verbs.h"

#define SCHEME "hyperv+ssh://"
#define SHORT_SECONDS 120
#define DEFINE_SECONDS 600
#define MERGE_SECONDS 7200

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
    json_array_foreach (json_object_get(answer, "names"), i, name)
        if (json_is_string(name))
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
                       const struct pairs *options, struct ds_error *err)
{
    (void)hypervisor, (void)options;
    if (strcmp(format, "vhdx") == 0 || strcmp(format, "vhd") == 0)
        return 1;
    fail(err, DS_ERR_UNSUPPORTED, "have %s expect vhdx or vhd", format);
    return 0;
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
    result = hyperv_read_vm(answer, name, &vm, err);
    if (result != 0) {
        vm_free(&vm);
        return fail_within(err, "describe %s", name);
    }
    vm.native = json_dumps(answer, JSON_INDENT(1) | JSON_SORT_KEYS);
    *out = vm;
    return 0;
}

/* `path` is named as our side has it. */
static int sees(struct hypervisor *hypervisor, const char *path,
                uint64_t least_bytes, struct ds_error *err)
{
    autojson json_t *answer = NULL;
    autofree char *named = hyperv_backward(path);
    int result = ask(hypervisor, "look for", path,
                     json_pack("{s:s, s:I}", "path", named, "bytes",
                               (json_int_t)least_bytes),
                     SHORT_SECONDS, &answer, err);

    return result != 0 ? result
                       : json_is_true(json_object_get(answer, "found"));
}

static int fits(struct hypervisor *hypervisor, const struct vm *vm,
                struct ds_error *err)
{
    autojson json_t *request = NULL;

    (void)hypervisor;
    return hyperv_define_request(vm, &request, err);
}

/* -- what exists ---------------------------------------------------------- */

static int define(struct hypervisor *hypervisor, const struct vm *vm,
                  struct ds_error *err)
{
    json_t *request = NULL;

    if (hyperv_define_request(vm, &request, err) != 0)
        return fail_within(err, "define %s", vm->name);
    return ask(hypervisor, "define", vm->name, request, DEFINE_SECONDS, NULL,
               err);
}

static int undefine(struct hypervisor *hypervisor, const char *name,
                    struct ds_error *err)
{
    autofree char *temporary = text_format(HYPERV_TEMPORARY "%s", name);

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
    json_array_foreach (json_object_get(answer, "overlays"), i, path) {
        autofree char *overlay = hyperv_forward(json_string_value(path));

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
    json_array_foreach (json_object_get(answer, "nics"), i, nic) {
        const char *text = text_at(nic, "mac");
        char mac[18];

        if (text == NULL || vm_mac_parse(text, mac, NULL) != 0)
            continue;
        json_array_foreach (json_object_get(nic, "addresses"), j, address) {
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
    .takes_path = hyperv_takes_path,
    .sees = sees,
    .fits = fits,
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
