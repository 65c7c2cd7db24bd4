/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many migrations: those of a lower order are over before higher ones begin;
 * of one order as many at once as `jobs` says and `jobs_per_host` admits. One
 * that fails does not stop the others.
 */
#ifndef ORCH_CREW_H
#define ORCH_CREW_H

#include "stage.h"

enum crew_verb { CREW_GO_ON, CREW_UNDO };

struct crew_job {
    int64_t id; /* in the journal */
    unsigned order;
    char *host; /* owned; those that have the same share a limit */
    /* Out. */
    int result;
    struct ds_error error;
    bool begun, over;
};

struct crew {
    const char *journal_directory;
    struct narrator narrator;
    enum crew_verb verb;
    unsigned jobs, jobs_per_host; /* 0: no limit */
    struct crew_job *items;
    size_t count;
};

/** Run all. Each one's result is in its job. */
void crew_run(struct crew *crew);
void crew_free(struct crew *crew);

#endif
