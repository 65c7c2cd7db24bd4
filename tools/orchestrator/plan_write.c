/* SPDX-License-Identifier: Apache-2.0 */
/* `migrate init`: a plan with everything in it, what is standard commented
 * out, written from what a host has. */
#include "plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* In double quotes, as YAML takes any text. */
static void write_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            fprintf(out, "\\x%02x", (unsigned char)*text);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

static size_t section_length(const char *key)
{
    const char *dot = strchr(key, '.');

    return dot != NULL ? (size_t)(dot - key) : 0;
}

static void write_setting(FILE *out, const struct plan *plan,
                          const struct setting *setting)
{
    size_t section = section_length(setting->key);
    const char *name = setting->key + (section > 0 ? section + 1 : 0);
    autofree char *value = setting_get(&plan->common, setting, 0);
    bool standard = value == NULL || text_same(value, setting->standard) ||
                    setting->type >= SETTING_PAIRS;

    fprintf(out, "%s# %s\n", section > 0 ? "  " : "", setting->help);
    fprintf(out, "%s%s%s: ", section > 0 ? "  " : "", standard ? "#" : "",
            name);
    if (setting->type == SETTING_PAIRS)
        fprintf(out, "{}");
    else if (setting->type == SETTING_TEXTS)
        fprintf(out, "[]");
    else if (value != NULL)
        write_text(out, value);
    fputc('\n', out);
}

static bool belongs_to_vm(const char *key)
{
    return strcmp(key, "name") == 0 || strcmp(key, "target_name") == 0 ||
           strcmp(key, "group") == 0 || strcmp(key, "order") == 0;
}

static void write_settings(FILE *out, const struct plan *plan)
{
    const struct setting *setting;
    const char *section = "";
    size_t length = 0;

    for (size_t i = 0; (setting = setting_at(i)) != NULL; i++) {
        size_t have = section_length(setting->key);

        if (belongs_to_vm(setting->key) ||
            strcmp(setting->key, "networks") == 0)
            continue;
        if (have > 0 &&
            (have != length || strncmp(section, setting->key, have) != 0))
            fprintf(out, "\n%.*s:\n", (int)have, setting->key);
        else if (have == 0)
            fputc('\n', out);
        section = setting->key;
        length = have;
        write_setting(out, plan, setting);
    }
}

static void write_networks(FILE *out, const struct vm *vms, size_t count)
{
    struct texts seen = { 0 };

    fprintf(out, "\n# each network of the source: NETWORK, bridge:NAME or "
                 "user\nnetworks:\n");
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < vms[i].nic_count; j++) {
            const char *network = vms[i].nics[j].network;

            if (network == NULL || texts_have(&seen, network))
                continue;
            texts_add(&seen, network);
            fprintf(out, "  ");
            write_text(out, network);
            fprintf(out, ": ");
            write_text(out, network);
            fputc('\n', out);
        }
    }
    if (seen.count == 0)
        fprintf(out, "  {}\n");
    texts_free(&seen);
}

static void write_vm(FILE *out, const struct vm *vm)
{
    fprintf(out, "  - name: ");
    write_text(out, vm->name);
    fprintf(out,
            "\n    # %u CPUs, %" PRIu64 " MiB, %s, %zu disks, %zu network "
            "interfaces\n    #order: 0\n    #any setting, for this one alone\n",
            vm->cpu_count, vm->memory_bytes >> 20,
            vm_firmware_name(vm->firmware), vm->disk_count, vm->nic_count);
    for (size_t i = 0; i < vm->disk_count; i++) {
        fprintf(out, "    # %s: ",
                vm->disks[i].name != NULL ? vm->disks[i].name : "disk");
        write_text(out, vm->disks[i].path != NULL ? vm->disks[i].path : "?");
        fputc('\n', out);
    }
}

char *plan_write(const struct plan *plan, const struct vm *vms, size_t count)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    if (out == NULL)
        return need(1);
    fprintf(out,
            "# A plan for diskshift migrate; lines with # show what is "
            "standard.\ndiskshift: %d\n\n# VMs at once, and of them with "
            "one host\n#jobs: 1\n#jobs_per_host: 1\n",
            PLAN_VERSION);
    write_settings(out, plan);
    write_networks(out, vms, count);
    fprintf(out, "\nvms:\n");
    for (size_t i = 0; i < count; i++)
        write_vm(out, &vms[i]);
    if (count == 0)
        fprintf(out, "  []\n");
    fclose(out);
    return text;
}
