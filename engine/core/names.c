/* SPDX-License-Identifier: Apache-2.0 */
/* The names of a target's files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "plan.h"

/* PATH without its extension, then -N for N > 0, then the suffix. */
static char *suffixed(const char *path, unsigned number, const char *suffix)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    int stem =
        (int)(dot != NULL && dot != name ? dot - path : (long)strlen(path));
    char middle[16] = "";
    char *joined = NULL;

    if (number > 0)
        (void)snprintf(middle, sizeof(middle), "-%u", number);
    if (asprintf(&joined, "%.*s%s%s", stem, path, middle, suffix) < 0)
        return NULL;
    return joined;
}

#define FRESH_NAME_TRIES 1000u

/* What a maker that was killed left is no file, but it goes when the next one
 * begins. */
static int is_taken(const struct ds_plan *plan, const char *name,
                    struct ds_error *err)
{
    int exists = plan->store->exists(name, err);
    int abandoned;

    if (exists <= 0 || plan->store->abandoned == NULL)
        return exists;
    abandoned = plan->store->abandoned(name, plan->paths[0], false, err);
    return abandoned < 0 ? abandoned : abandoned == 0;
}

/* An extent file never takes the name of one that is there: the old
 * descriptor, should it survive, must still find its own. */
static int fresh_name(struct ds_plan *plan, uint32_t index, const char *path,
                      const char *suffix, bool force, struct ds_error *err)
{
    for (unsigned number = 0; number < FRESH_NAME_TRIES; number++) {
        char *name = suffixed(path, number, suffix);
        int exists;

        if (name == NULL)
            return ds_fail_memory(err);
        exists = is_taken(plan, name, err);
        if (exists == 0) {
            plan->paths[index] = name;
            return 0;
        }
        if (exists > 0 && !force) {
            int result = ds_fail(err, DS_ERR_REFUSED,
                                 "the target's file %s exists", name);

            free(name);
            return result;
        }
        if (exists > 0 && number == 0)
            plan_note(plan, "%s is left: nothing refers to it after this",
                      name);
        free(name);
        if (exists < 0)
            return exists;
    }
    return ds_fail(err, DS_ERR_REFUSED, "no free name for the files of %s",
                   path);
}

/* Of the names that were passed over too: what a killed maker left beside an
 * extent goes, whoever the extent belongs to. */
static int clear_names(const struct ds_plan *plan, uint32_t index,
                       struct ds_error *err)
{
    char suffix[DS_SUFFIX_BYTES];
    bool more = true;

    plan->format->target_suffix(plan->target, index, suffix);
    for (unsigned number = 0; number < FRESH_NAME_TRIES && more; number++) {
        char *name = suffixed(plan->paths[0], number, suffix);
        int result;

        if (name == NULL)
            return ds_fail_memory(err);
        more = strcmp(name, plan->paths[index]) != 0;
        result = plan->store->abandoned(name, plan->paths[0], true, err);
        free(name);
        if (result < 0)
            return result;
    }
    return 0;
}

int plan_clear_leftovers(const struct ds_plan *plan, struct ds_error *err)
{
    int result = 0;

    if (plan->store->abandoned == NULL)
        return 0;
    for (uint32_t i = 1; i < plan->target->layout.file_count && result == 0;
         i++)
        if (!plan_refers(plan, i))
            result = clear_names(plan, i, err);
    return result;
}

int plan_name_files(struct ds_plan *plan, const char *path,
                    const struct ds_target_layout *layout, bool force,
                    struct ds_error *err)
{
    int exists = plan->store->exists(path, err);
    int result = 0;

    if (exists < 0)
        return exists;
    plan->replaces = exists > 0;
    plan->paths[0] = strdup(path);
    if (plan->paths[0] == NULL)
        return ds_fail_memory(err);
    for (uint32_t i = 1; i < layout->file_count && result == 0; i++) {
        char suffix[DS_SUFFIX_BYTES];

        if (plan_refers(plan, i))
            continue;
        plan->format->target_suffix(plan->target, i, suffix);
        result = fresh_name(plan, i, path, suffix, force, err);
    }
    return result;
}
