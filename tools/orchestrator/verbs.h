/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ORCH_VERBS_H
#define ORCH_VERBS_H

#include "crew.h"
#include "narrate.h"
#include "options.h"

/* As the CLI's, see diskshift(1). WAITS: it needs a person, then resume. */
enum exit_status {
    STATUS_DONE = 0,
    STATUS_FAILURE = 1,
    STATUS_USAGE = 2,
    STATUS_UNSUPPORTED = 3,
    STATUS_CORRUPT = 4,
    STATUS_SYSTEM = 5,
    STATUS_REFUSED = 6,
    STATUS_WAITS = 7,
    STATUS_SIGINT = 130
};

/** An exit status, or a negated error class with *err filled. */
typedef int verb_fn(const struct options *options, struct ds_error *err);

struct verb {
    const char *name, *usage, *summary;
    verb_fn *run;
};
/** The table, in main.c; NULL past the end. */
const struct verb *verb_at(size_t index);

verb_fn verb_run;
verb_fn verb_check;
verb_fn verb_return;
verb_fn verb_import;
verb_fn verb_init;
verb_fn verb_resume;
verb_fn verb_rollback;
verb_fn verb_cancel;
verb_fn verb_list;
verb_fn verb_status;
verb_fn verb_show;
verb_fn verb_logs;
verb_fn verb_report;

/** Begin what a plan says, as one run: a status. */
int verbs_begin(const struct options *options, const struct plan *plan,
                const char *kind, struct ds_error *err);
int status_of(enum ds_error_class error_class);
/** Run what is in the journal with these ids, tell how it ended: a status. */
int verbs_crew(const struct options *options, struct crew *crew,
               struct ds_error *err);

#endif
