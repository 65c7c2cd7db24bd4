/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <string.h>

void plan_standard(struct plan *out)
{
    *out = (struct plan){ .jobs = 1 };
    settings_standard(&out->common);
}

int plan_add_vm(struct plan *plan, const char *name, struct settings **out,
                struct ds_error *err)
{
    if (plan->vm_count == PLAN_VM_COUNT_MAX)
        return fail(err, DS_ERR_LIMIT, "more than %d VMs", PLAN_VM_COUNT_MAX);
    plan->vms = need_more(plan->vms, (plan->vm_count + 1) * sizeof(*plan->vms));
    *out = &plan->vms[plan->vm_count++];
    settings_copy(*out, &plan->common);
    if (name != NULL)
        text_set(&(*out)->vm_name, name);
    return 0;
}

void plan_free(struct plan *plan)
{
    settings_free(&plan->common);
    for (size_t i = 0; i < plan->vm_count; i++)
        settings_free(&plan->vms[i]);
    free(plan->vms);
    *plan = (struct plan){ 0 };
}
