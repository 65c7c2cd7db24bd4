/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

#include "options.h"
#include "report.h"

/* What the shell is told. In the manual; never renumbered. */
enum exit_status {
    STATUS_DONE = 0,
    STATUS_FAILURE = 1, /* verify, compare: the disks differ; check: leaks */
    STATUS_USAGE = 2,
    STATUS_UNSUPPORTED = 3,
    STATUS_CORRUPT = 4,
    STATUS_SYSTEM = 5,
    STATUS_REFUSED = 6,
    STATUS_COPIED = 7, /* done, but copied, and --warn-copy was given */
    STATUS_SIGINT = 130
};

/** Returns an exit status, or a negated error class with *err filled. */
typedef int verb_fn(struct options *options, struct report *report,
                    struct ds_error *err);

struct verb {
    const char *name;
    unsigned bit;
    const char *usage; /* the lines after "diskshift", separated by '\n' */
    const char *summary;
    verb_fn *run;
};

verb_fn verb_info;
verb_fn verb_map;
verb_fn verb_plan;
verb_fn verb_convert;
verb_fn verb_verify;
verb_fn verb_compare;
verb_fn verb_check;
verb_fn verb_measure;
verb_fn verb_points;
verb_fn verb_storage;
verb_fn verb_guest;

/** The table; NULL past the end. */
const struct verb *verb_at(size_t index);
const struct verb *verb_find(const char *name);

/** Help on standard output: of everything, or of one verb. */
void help_all(void);
void help_verb(const struct verb *verb);

/** The options of a target format, NULL: of each. */
void help_format(const char *format);

/** Become diskshift-migrate; `argv` is its own, with a name before. Returns
 * only when it cannot: UNSUPPORTED. */
int migrate(char *const *argv, struct ds_error *err);

/** Words for shell completion; see complete.c. An exit status. */
int complete(int argc, char *const *argv);

#endif
