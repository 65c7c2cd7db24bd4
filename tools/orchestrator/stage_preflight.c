/* SPDX-License-Identifier: Apache-2.0 */
#include "disks.h"
#include "nbd.h"
#include "stage.h"

#include <stdio.h>
#include <string.h>

static bool always(const struct migration *migration)
{
    (void)migration;
    return true;
}

/* -- inspect -------------------------------------------------------------- */

int migration_describe(struct migration *migration, struct ds_error *err)
{
    autojson json_t *json = NULL;
    struct vm vm = { 0 };
    int result = migration->source->ops->describe(
        migration->source, migration->settings.vm_name, &vm, err);

    if (result != 0)
        return result;
    vm_map_paths(&vm, &migration->settings.paths);
    if (migration->kind == KIND_RETURN)
        nbd_recognize(&vm);
    result = vm_check(&vm, migration->settings.vm_name, err);
    json = vm_to_json(&vm);
    if (result == 0)
        result = journal_set_vm(migration->journal, migration->id, json, err);
    if (result != 0) {
        vm_free(&vm);
        return result;
    }
    vm_free(&migration->vm);
    migration->vm = vm;
    return migration_plan_target(migration, err);
}

static int inspect(struct migration *migration, const json_t *before,
                   json_t *after, struct ds_error *err)
{
    enum hypervisor_state state = HYPERVISOR_OFF;
    int result = migration_describe(migration, err);

    (void)before;
    if (result == 0)
        result = migration->source->ops->state(migration->source,
                                               migration->vm.name, &state, err);
    json_object_set_new(after, "running",
                        json_boolean(state != HYPERVISOR_OFF));
    return result;
}

static int recall_inspect(struct migration *migration, const json_t *before,
                          const json_t *after, struct ds_error *err)
{
    (void)before, (void)err;
    migration->source_was_running =
        json_is_true(json_object_get(after, "running"));
    return 0;
}

/* -- check ---------------------------------------------------------------- */

struct findings {
    struct finding *items;
    size_t count;
};

static void keep(void *user, const struct finding *finding)
{
    struct findings *findings = user;
    struct finding *kept;

    findings->items = need_more(findings->items, (findings->count + 1) *
                                                     sizeof(*findings->items));
    kept = &findings->items[findings->count++];
    *kept = (struct finding){ .rule = finding->rule,
                              .severity = finding->severity,
                              .subject = text_copy(finding->subject),
                              .text = text_copy(finding->text),
                              .fix = text_copy(finding->fix) };
}

static void free_findings(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        free(findings->items[i].subject);
        free(findings->items[i].text);
        free(findings->items[i].fix);
    }
    free(findings->items);
}

static void tell(struct migration *migration, const struct finding *finding)
{
    static const enum message_level levels[] = { MESSAGE_INFO, MESSAGE_WARNING,
                                                 MESSAGE_ERROR };

    migration_say(migration, levels[finding->severity], "%s: %s: %s%s%s%s",
                  finding->rule, finding->subject, finding->text,
                  finding->fix != NULL ? " (" : "",
                  finding->fix != NULL ? finding->fix : "",
                  finding->fix != NULL ? ")" : "");
}

static bool accepted(const struct migration *migration, const char *rule)
{
    return texts_have(&migration->settings.accepted, rule) ||
           texts_have(&migration->settings.accepted, "all");
}

static int judge(struct migration *migration, const struct findings *findings,
                 struct ds_error *err)
{
    size_t errors = 0, warnings = 0;

    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];

        tell(migration, finding);
        errors += finding->severity == FINDING_ERROR;
        warnings += finding->severity == FINDING_WARNING &&
                    !accepted(migration, finding->rule);
    }
    if (errors > 0)
        return fail(err, DS_ERR_REFUSED, "%zu errors before anything is done",
                    errors);
    if (warnings > 0)
        return fail(err, DS_ERR_REFUSED,
                    "%zu warnings that were not accepted: "
                    "--accept-warning RULE, or --accept-warnings",
                    warnings);
    return 0;
}

static int check(struct migration *migration, const json_t *before,
                 json_t *after, struct ds_error *err)
{
    struct findings findings = { 0 };
    int result = preflight_run(migration, keep, &findings, err);

    (void)before, (void)after;
    if (result == 0)
        result = journal_set_findings(migration->journal, migration->id,
                                      findings.items, findings.count, err);
    if (result == 0)
        result = judge(migration, &findings, err);
    free_findings(&findings);
    return result;
}

const struct step steps_preflight[] = {
    { .name = "inspect",
      .stage = STAGE_PREFLIGHT,
      .wanted = always,
      .run = inspect,
      .recall = recall_inspect },
    { .name = "check",
      .stage = STAGE_PREFLIGHT,
      .wanted = always,
      .run = check },
    { .name = NULL, .stage = STAGE_PREFLIGHT },
};
