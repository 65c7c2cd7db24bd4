/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first pass over the map: validate, count, price.
 *
 * One walk feeds two placers, one per strategy, whose transfers go to
 * counting emitters. What the walk sees in passing (the granule of the data
 * offsets per file) makes the file-order passes possible that follow: the
 * source's overlaps, and for a graft the gaps to be punched.
 */
#ifndef DS_CORE_SURVEY_H
#define DS_CORE_SURVEY_H

#include "disk.h"
#include "emit.h"
#include "place.h"

/** What one strategy would do. */
struct survey_side {
    bool possible;
    bool priced;             /* cost_ns and the punches in totals are known */
    struct ds_totals totals; /* without tables */
    uint64_t relocated_bytes;
    uint64_t kept_bytes;      /* data that stays where the base has it */
    uint64_t kept_span_bytes; /* the same with zeros that lie there */
    uint64_t unit_count;
    uint64_t granule_bytes; /* divides all kept and, for identity targets,
                               all transferred ranges of the data file */
    uint64_t cost_ns;
};

struct survey {
    struct survey_side range;
    struct survey_side graft;
    uint32_t base_index;
};

struct survey_request {
    struct ds_disk *disk;
    struct ds_target *target;
    const struct ds_clone_domain *domains;
    enum ds_strategy strategy;
    ds_progress_fn *progress;
    void *user;
};

/** Fill `out`. Calls the target's target_count. Errors: what the source's
 * tables hold (CORRUPT, also for overlaps), SYSTEM. */
int survey_run(const struct survey_request *request, struct survey *out,
               struct ds_error *err);

/** A range of the graft's base: used by the target, or to be punched. */
struct base_range {
    uint64_t offset_bytes;
    uint64_t length_bytes;
    uint64_t edge_bytes; /* of a used one: what shares a block with a gap, so
                            that punching the gap unshares it */
    bool used;
};
typedef int base_range_fn(void *user, const struct base_range *range,
                          struct ds_error *err);

/** Walk [0, size) of the base in file order: what the target uses of it and
 * what is to be punched. */
int survey_base(const struct survey_request *request,
                const struct survey *survey, base_range_fn *fn, void *user,
                struct ds_error *err);

#endif
