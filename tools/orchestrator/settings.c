/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings, and everything that needs no more than the table. */
#include "plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define AT(name) offsetof(struct settings, name)
#define DAY 86400

static const char *const backup_words[] = { "snapshot", "shutdown", "none",
                                            NULL };
static const char *const prepare_words[] = { "auto", "online", "offline",
                                             "none", NULL };
static const char *const unknown_words[] = { "restore", "leave", NULL };
static const char *const mac_words[] = { "keep", "renew", NULL };
static const char *const bus_words[] = { "same",   "ide",  "sata", "scsi",
                                         "virtio", "nvme", "usb",  NULL };

static const struct setting table[] = {
    { "name", NULL, SETTING_TEXT, AT(vm_name), NULL, 0, 0, NULL,
      "the VM, as the source calls it" },
    { "target_name", "target-name", SETTING_TEXT, AT(target_name), NULL, 0, 0,
      NULL, "what the target calls it (the same)" },
    { "group", NULL, SETTING_TEXT, AT(group), NULL, 0, 0, NULL,
      "to choose several with --group" },
    { "order", NULL, SETTING_NUMBER, AT(order), NULL, 0, 1000000, "0",
      "lower ones are finished before higher ones begin" },

    { "source.uri", "from", SETTING_TEXT, AT(source_uri), NULL, 0, 0, NULL,
      "where the VM is: qemu+ssh://host/system, esx://host, file:///vm/a.vmx" },
    { "source.paths", "path", SETTING_PAIRS, AT(paths), NULL, 0, 0, NULL,
      "how paths of the source's host begin here: /vmfs/volumes/ds1=/mnt/ds1" },
    { "target.uri", "to", SETTING_TEXT, AT(target_uri), NULL, 0, 0, NULL,
      "where it goes" },
    { "target.directory", "directory", SETTING_PATH, AT(directory), NULL, 0, 0,
      NULL, "for the target's disks (where the source's are)" },
    { "target.paths", "target-path", SETTING_PAIRS, AT(target_paths), NULL, 0,
      0, NULL,
      "how our paths begin on the target's host: /mnt/ds1=/vmfs/volumes/ds1" },
    { "target.format", "format", SETTING_TEXT, AT(format), NULL, 0, 0, "qcow2",
      "of the target's disks: qcow2, vmdk, vhd, vhdx, raw, vdi" },
    { "target.options", "o", SETTING_PAIRS, AT(target_options), NULL, 0, 0,
      NULL, "options of that format: cluster_size=2M" },
    { "target.machine", "machine", SETTING_TEXT, AT(machine), NULL, 0, 0, NULL,
      "its hardware: q35, pc-i440fx-7.2 (the target's standard)" },
    { "target.type", "type", SETTING_TEXT, AT(domain_type), NULL, 0, 0, NULL,
      "kvm or qemu (the best that the target has)" },
    { "target.bus", "bus", SETTING_TEXT, AT(disk_bus), bus_words, 0, 0, "same",
      "of the disks" },
    { "target.buses", "disk-bus", SETTING_PAIRS, AT(buses), NULL, 0, 0, NULL,
      "of single disks, by the source's name: sda=virtio" },
    { "target.nic", "nic", SETTING_TEXT, AT(nic_model), NULL, 0, 0, "same",
      "model of the network interfaces" },
    { "target.require_clone", "require-clone", SETTING_YES, AT(require_clone),
      NULL, 0, 0, "no", "refuse to copy what cannot be shared" },
    { "target.serve_nbd", "serve-nbd", SETTING_YES, AT(serve_nbd), NULL, 0, 0,
      "no", "serve formats that the target lacks by NBD: VHDX to QEMU" },
    { "networks", "network", SETTING_PAIRS, AT(networks), NULL, 0, 0, NULL,
      "source network=target network, bridge:NAME or user" },

    { "login.auth_file", "auth-file", SETTING_PATH, AT(auth_file), NULL, 0, 0,
      NULL, "libvirt's file of credentials" },
    { "login.ssh_key", "ssh-key", SETTING_PATH, AT(ssh_key), NULL, 0, 0, NULL,
      "file of the key (the SSH agent's)" },
    { "login.ssh_config", "ssh-config", SETTING_PATH, AT(ssh_config), NULL, 0,
      0, NULL, "file of SSH's settings" },
    { "login.known_hosts", "known-hosts", SETTING_PATH, AT(ssh_known_hosts),
      NULL, 0, 0, NULL, "file of the guests' host keys" },

    { "backup.policy", "backup", SETTING_CHOICE, AT(backup), backup_words, 0, 0,
      "snapshot", "how the disks are made still for the backup" },
    { "backup.directory", "backup-directory", SETTING_PATH,
      AT(backup_directory), NULL, 0, 0, NULL,
      "on the disks' filesystem (diskshift-backup beside the first disk)" },
    { "backup.keep", "keep-backup", SETTING_YES, AT(backup_keep), NULL, 0, 0,
      "yes", "keep it when the migration is done" },
    { "backup.quiesce", "quiesce", SETTING_YES, AT(quiesce), NULL, 0, 0, "yes",
      "ask the guest's agent to still its filesystems" },

    { "prepare.mode", "prepare", SETTING_CHOICE, AT(prepare), prepare_words, 0,
      0, "auto", "run the guest's script: online, by a person, or not" },
    { "prepare.ssh", "guest-ssh", SETTING_TEXT, AT(guest_ssh), NULL, 0, 0, NULL,
      "user@host of the guest, when there is no agent" },
    { "prepare.ssh_port", "guest-ssh-port", SETTING_NUMBER, AT(guest_ssh_port),
      NULL, 1, 65535, "22", "its port" },
    { "prepare.script", "script", SETTING_PATH, AT(script_file), NULL, 0, 0,
      NULL, "a script of your own for the source guest (generated)" },
    { "prepare.offline_directory", "offline-directory", SETTING_PATH,
      AT(offline_directory), NULL, 0, 0, NULL,
      "for the offline script (the backup's)" },
    { "prepare.remove_tools", "remove-tools", SETTING_YES, AT(remove_tools),
      NULL, 0, 0, "no", "remove the source hypervisor's tools in the guest" },
    { "prepare.install_tools", "install-tools", SETTING_YES, AT(install_tools),
      NULL, 0, 0, "no", "install the target hypervisor's tools" },
    { "prepare.guest_timeout", "guest-timeout", SETTING_SECONDS,
      AT(guest_timeout), NULL, 0, DAY, "120", "for the guest to answer" },
    { "prepare.script_timeout", "script-timeout", SETTING_SECONDS,
      AT(script_timeout), NULL, 1, DAY, "10m", "for its script to end" },
    { "prepare.power_off_timeout", "power-off-timeout", SETTING_SECONDS,
      AT(power_off_timeout), NULL, 0, DAY, "5m",
      "until it is powered off by force" },
    { "prepare.offline_timeout", "offline-timeout", SETTING_SECONDS,
      AT(offline_timeout), NULL, 0, 365 * DAY, "0",
      "for a person, to run the offline script or to make the target; 0: come "
      "back with resume" },

    { "migrate.tries", "tries", SETTING_NUMBER, AT(create_tries), NULL, 1, 1000,
      "3", "to create the target VM" },
    { "migrate.retry_after", "retry-after", SETTING_SECONDS, AT(retry_seconds),
      NULL, 0, DAY, "5", "between them" },

    { "wait.deadline", "deadline", SETTING_SECONDS, AT(wait_deadline), NULL, 1,
      30 * DAY, "15m", "for the target's script to be through" },
    { "wait.cycles", "cycles", SETTING_NUMBER, AT(wait_cycles), NULL, 1, 100,
      "1", "times that the target powers off until then" },
    { "wait.unknown", "unknown", SETTING_CHOICE, AT(unknown), unknown_words, 0,
      0, "restore", "what to do when its state is not known by then" },
    { "wait.macs", "macs", SETTING_CHOICE, AT(macs), mac_words, 0, 0, "keep",
      "keep the MAC addresses, or let the target give new ones" },
    { "wait.start", "start", SETTING_YES, AT(start_target), NULL, 0, 0, "yes",
      "start the target when all is done" },
    { "wait.check_addresses", "check-addresses", SETTING_YES,
      AT(check_addresses), NULL, 0, 0, "no",
      "want the addresses of the source seen at the started target" },

    { "restore.on_error", "restore-on-error", SETTING_YES, AT(restore_on_error),
      NULL, 0, 0, "yes", "undo everything when anything fails" },
    { "restore.keep_backup", "restore-keep-backup", SETTING_YES,
      AT(restore_keep_backup), NULL, 0, 0, "no", "keep the backup then" },
    { "restore.start", "restore-start", SETTING_YES, AT(restore_start), NULL, 0,
      0, "yes", "start the source again, if it ran" },

    { "accept", "accept-warning", SETTING_TEXTS, AT(accepted), NULL, 0, 0, NULL,
      "a warning of preflight that does not stop it, by its rule; or all" },
    { "hooks", "hook", SETTING_PAIRS, AT(hooks), NULL, 0, 0, NULL,
      "commands: before-backup=COMMAND, after-wait=COMMAND ..." },
};

const struct setting *setting_at(size_t index)
{
    return index < ARRAY_COUNT(table) ? &table[index] : NULL;
}

const struct setting *setting_by_key(const char *key)
{
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (strcmp(table[i].key, key) == 0)
            return &table[i];
    return NULL;
}

const struct setting *setting_by_option(const char *option)
{
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (text_same(table[i].option, option))
            return &table[i];
    return NULL;
}

/* -- pairs ---------------------------------------------------------------- */

const char *pairs_find(const struct pairs *pairs, const char *from)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (text_same(pairs->items[i].from, from))
            return pairs->items[i].to;
    return NULL;
}

void pairs_add(struct pairs *pairs, const char *from, const char *to)
{
    for (size_t i = 0; i < pairs->count; i++) {
        if (text_same(pairs->items[i].from, from)) {
            text_set(&pairs->items[i].to, to);
            return;
        }
    }
    pairs->items =
        need_more(pairs->items, (pairs->count + 1) * sizeof(*pairs->items));
    pairs->items[pairs->count++] =
        (struct pair){ text_copy(from), text_copy(to) };
}

struct pairs pairs_reversed(const struct pairs *pairs)
{
    struct pairs reversed = { 0 };

    for (size_t i = 0; i < pairs->count; i++)
        pairs_add(&reversed, pairs->items[i].to, pairs->items[i].from);
    return reversed;
}

void pairs_free(struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->items[i].from);
        free(pairs->items[i].to);
    }
    free(pairs->items);
    *pairs = (struct pairs){ 0 };
}

/* -- setting -------------------------------------------------------------- */

static void *place(const struct settings *settings,
                   const struct setting *setting)
{
    return (char *)(uintptr_t)settings + setting->offset;
}

static char *choices_text(const struct setting *setting)
{
    char *text = text_copy(setting->choices[0]);

    for (size_t i = 1; setting->choices[i] != NULL; i++) {
        char *more = text_format(
            "%s%s%s", text, setting->choices[i + 1] != NULL ? ", " : " or ",
            setting->choices[i]);

        free(text);
        text = more;
    }
    return text;
}

static int wrong(const char *value, const char *expect, struct ds_error *err)
{
    return fail(err, DS_ERR_ARG, "have %s expect %s", value, expect);
}

static int set_choice(const struct setting *setting, const char *value,
                      int *out, struct ds_error *err)
{
    autofree char *choices = choices_text(setting);

    for (int i = 0; setting->choices[i] != NULL; i++) {
        if (strcmp(setting->choices[i], value) == 0) {
            *out = i;
            return 0;
        }
    }
    return wrong(value, choices, err);
}

static uint64_t unit_seconds(const char *unit)
{
    if (*unit == '\0' || strcmp(unit, "s") == 0)
        return 1;
    if (strcmp(unit, "m") == 0)
        return 60;
    if (strcmp(unit, "h") == 0)
        return 3600;
    return strcmp(unit, "d") == 0 ? DAY : 0;
}

static int set_number(const struct setting *setting, const char *value,
                      unsigned *out, struct ds_error *err)
{
    bool seconds = setting->type == SETTING_SECONDS;
    autofree char *expect =
        text_format("%s from %" PRIu64 " to %" PRIu64 "%s",
                    seconds ? "seconds" : "a number", setting->least,
                    setting->most, seconds ? " (or with m, h, d)" : "");
    uint64_t number = 0, unit;
    size_t digits = strspn(value, "0123456789");

    if (digits == 0 || digits > 10)
        return wrong(value, expect, err);
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (uint64_t)(value[i] - '0');
    unit = seconds ? unit_seconds(value + digits) : value[digits] == '\0';
    number *= unit;
    if (unit == 0 || number < setting->least || number > setting->most)
        return wrong(value, expect, err);
    *out = (unsigned)number;
    return 0;
}

static int set_text(const struct setting *setting, const char *value,
                    char **out, struct ds_error *err)
{
    int ignored;

    if (value[0] == '\0')
        return wrong("nothing", "a value", err);
    if (setting->choices != NULL &&
        set_choice(setting, value, &ignored, err) != 0)
        return -DS_ERR_ARG;
    if (setting->type == SETTING_PATH && value[0] != '/' &&
        !text_begins(value, "nfs://"))
        return wrong(value, "a path from / on", err);
    text_set(out, value);
    return 0;
}

static int set_pair(const char *value, struct pairs *out, struct ds_error *err)
{
    const char *equals = strrchr(value, '=');
    autofree char *from = NULL;

    if (equals == NULL || equals == value || equals[1] == '\0')
        return wrong(value, "FROM=TO", err);
    from = text_format("%.*s", (int)(equals - value), value);
    pairs_add(out, from, equals + 1);
    return 0;
}

static int set_yes(const char *value, bool *out, struct ds_error *err)
{
    bool yes = strcmp(value, "yes") == 0 || strcmp(value, "true") == 0;

    if (!yes && strcmp(value, "no") != 0 && strcmp(value, "false") != 0)
        return wrong(value, "yes or no", err);
    *out = yes;
    return 0;
}

int setting_set(struct settings *settings, const struct setting *setting,
                const char *value, struct ds_error *err)
{
    void *at = place(settings, setting);

    switch (setting->type) {
    case SETTING_TEXT:
    case SETTING_PATH:
        return set_text(setting, value, at, err);
    case SETTING_NUMBER:
    case SETTING_SECONDS:
        return set_number(setting, value, at, err);
    case SETTING_YES:
        return set_yes(value, at, err);
    case SETTING_CHOICE:
        return set_choice(setting, value, at, err);
    case SETTING_PAIRS:
        return set_pair(value, at, err);
    case SETTING_TEXTS:
        texts_add(at, value);
        return 0;
    }
    return 0;
}

char *setting_get(const struct settings *settings,
                  const struct setting *setting, size_t index)
{
    const void *at = place(settings, setting);
    const struct pairs *pairs = at;
    const struct texts *texts = at;

    if (index > 0 && setting->type < SETTING_PAIRS)
        return NULL;
    switch (setting->type) {
    case SETTING_TEXT:
    case SETTING_PATH:
        return text_copy(*(char *const *)at);
    case SETTING_NUMBER:
    case SETTING_SECONDS:
        return text_format("%u", *(const unsigned *)at);
    case SETTING_YES:
        return text_copy(*(const bool *)at ? "yes" : "no");
    case SETTING_CHOICE:
        return text_copy(setting->choices[*(const int *)at]);
    case SETTING_PAIRS:
        return index < pairs->count
                   ? text_format("%s=%s", pairs->items[index].from,
                                 pairs->items[index].to)
                   : NULL;
    case SETTING_TEXTS:
        return index < texts->count ? text_copy(texts->items[index]) : NULL;
    }
    return NULL;
}

/* -- all of them ---------------------------------------------------------- */

void settings_standard(struct settings *out)
{
    *out = (struct settings){ 0 };
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (table[i].standard != NULL)
            (void)setting_set(out, &table[i], table[i].standard, NULL);
}

void settings_copy(struct settings *to, const struct settings *from)
{
    *to = (struct settings){ 0 };
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        char *value;

        for (size_t j = 0; (value = setting_get(from, &table[i], j)) != NULL;
             j++) {
            (void)setting_set(to, &table[i], value, NULL);
            free(value);
        }
    }
    to->isolated_test = from->isolated_test;
    to->test_network = text_copy(from->test_network);
}

void settings_free(struct settings *settings)
{
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        void *at = place(settings, &table[i]);

        if (table[i].type == SETTING_TEXT || table[i].type == SETTING_PATH)
            free(*(char **)at);
        else if (table[i].type == SETTING_PAIRS)
            pairs_free(at);
        else if (table[i].type == SETTING_TEXTS)
            texts_free(at);
    }
    free(settings->test_network);
    *settings = (struct settings){ 0 };
}

static json_t *setting_json(const struct settings *settings,
                            const struct setting *setting)
{
    json_t *array = json_array();
    char *value;

    for (size_t i = 0; (value = setting_get(settings, setting, i)) != NULL;
         i++) {
        json_array_append_new(array, json_string(value));
        free(value);
    }
    return array;
}

/* Each setting as the list of texts that set it: the table reads it back. */
json_t *settings_to_json(const struct settings *settings)
{
    json_t *json = json_object();

    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        json_object_set_new(json, table[i].key,
                            setting_json(settings, &table[i]));
    return json;
}

int settings_from_json(const json_t *json, struct settings *out,
                       struct ds_error *err)
{
    int result = 0;

    *out = (struct settings){ 0 };
    for (size_t i = 0; i < ARRAY_COUNT(table) && result == 0; i++) {
        const json_t *values = json_object_get(json, table[i].key);
        json_t *value;
        size_t j;

        json_array_foreach (values, j, value) {
            if (result == 0 && json_is_string(value))
                result =
                    setting_set(out, &table[i], json_string_value(value), err);
        }
    }
    return result;
}
