/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan: what one target will be, decided; and the second pass, which emits
 * it as operations.
 *
 * Order of a plan, with its barriers:
 *
 *   graft only:  CLONE_FILE base  |  TRUNCATE, if it must shrink  |
 *   all:         transfers, tables in the area (disjoint, unordered)
 *   graft only:  PUNCH every gap of the base
 *                | head records, footer |  TRUNCATE to the final size
 *   if asked:    | ALLOCATE
 *
 * A target that refers to the source's own file has tables alone.
 *
 * A crash at any point leaves a .partial file, never a wrong target.
 */
#ifndef DS_CORE_PLAN_H
#define DS_CORE_PLAN_H

#include "survey.h"

#define PLAN_NOTE_COUNT_MAX 4u
#define PLAN_NOTE_BYTES 512u

struct trust;
struct witness;

struct ds_plan {
    struct ds_disk *disk;
    const struct ds_store_ops *store;
    struct ds_clone_via *via; /* who shares the blocks; NULL: the store */
    const struct ds_format_ops *format;
    struct ds_target *target;
    struct ds_clone_domain domains[DS_DISK_FILE_COUNT_MAX];
    struct survey survey;
    struct survey_request request;
    enum ds_strategy strategy;
    char reason[256];
    uint32_t base_index; /* DS_FILE_NONE when not a graft */
    struct ds_footprint footprint;
    struct ds_seal seal;
    struct ds_totals totals;
    char *paths[DS_TARGET_FILE_COUNT_MAX];
    char *reference; /* how the target names the source's file, if it does */
    struct witness *witness; /* while executing, unless nobody verifies */
    struct trust *trust;     /* likewise, when options->trust_clones */
    bool executing; /* the operations are for a store, not for a reader */
    bool replaces;  /* the named file exists, and force allows it */
    char notes[PLAN_NOTE_COUNT_MAX][PLAN_NOTE_BYTES];
    unsigned note_count;
};

/** ds_plan_make without the dry emission: table totals are still missing. */
int plan_prepare(struct ds_disk *disk, const struct ds_target_spec *spec,
                 const struct ds_convert_options *options, struct ds_plan **out,
                 struct ds_error *err);

/** The second pass. `receive` may be NULL: count only. Sets plan->totals. */
int plan_emit(struct ds_plan *plan, ds_op_fn *receive, void *user,
              struct ds_error *err);

void plan_note(struct ds_plan *plan, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** What the chosen strategy would do. */
const struct survey_side *plan_side(const struct ds_plan *plan);

/** Whether the target's store knows nothing of where this source lies: nothing
 * of it is shared, and the executor reads it. */
bool plan_is_foreign(const struct ds_plan *plan, uint32_t source_index);

/** Whether file `index` of the target is the source's own. */
static inline bool plan_refers(const struct ds_plan *plan, uint32_t index)
{
    return plan->strategy == DS_STRATEGY_REFERENCE &&
           index == plan->target->layout.data_file_index;
}

/** Tell a target that lists extents which there are and where. */
int plan_list(struct ds_plan *plan, struct ds_error *err);

/** DS_STRATEGY_REFERENCE: whether it can be, and the name of the file. */
int plan_refer(struct ds_plan *plan, struct ds_error *err);

/** LIMIT when the sealed plan, and `more_bytes` that turned out not to be
 * shared, exceed options->output_bytes_max. `options` may be NULL. */
int plan_check_output(const struct ds_plan *plan,
                      const struct ds_convert_options *options,
                      uint64_t more_bytes, struct ds_error *err);

/** Bytes of the guest's data that these totals copy. */
uint64_t totals_copied(const struct ds_totals *totals);

/** The target's files: [0] as named, others beside it under fresh names. */
int plan_name_files(struct ds_plan *plan, const char *path,
                    const struct ds_target_layout *layout, bool force,
                    struct ds_error *err);
/** Remove what makers of the same target left that were killed. */
int plan_clear_leftovers(const struct ds_plan *plan, struct ds_error *err);

#endif
