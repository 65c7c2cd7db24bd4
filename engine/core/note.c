/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan has to say about itself. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "plan.h"

uint64_t totals_copied(const struct ds_totals *totals)
{
    uint64_t copied = 0;

    for (unsigned i = 0; i < DS_COPY_REASON_COUNT; i++)
        copied += totals->copied_bytes[i];
    return copied;
}

const struct survey_side *plan_side(const struct ds_plan *plan)
{
    return plan->base_index == DS_FILE_NONE ? &plan->survey.range
                                            : &plan->survey.graft;
}

void plan_note(struct ds_plan *plan, const char *format, ...)
{
    char *note;
    va_list args;

    if (plan->note_count == PLAN_NOTE_COUNT_MAX)
        return;
    note = plan->notes[plan->note_count];
    va_start(args, format);
    (void)vsnprintf(note, PLAN_NOTE_BYTES, format, args);
    va_end(args);
    /* Of each of several disks the same may be true: it is said once. */
    for (unsigned i = 0; i < plan->note_count; i++)
        if (strcmp(plan->notes[i], note) == 0)
            return;
    plan->note_count++;
}
