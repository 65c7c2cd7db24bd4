/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. Most options are settings, and come from their table. */
#ifndef ORCH_OPTIONS_H
#define ORCH_OPTIONS_H

#include "plan.h"

struct option_value {
    const struct setting *setting;
    const char *value; /* borrowed from argv */
};

struct options {
    struct texts operands;
    struct option_value *values;
    size_t value_count;
    const char *plan_path;
    const char *journal_directory; /* NULL: the standard one */
    const char *output;            /* init: the file to write */
    const char *group;
    const char *test_network;
    const char *allow_refs;       /* import: where disks may lie too */
    unsigned jobs, jobs_per_host; /* 0: the plan's */
    unsigned run;                 /* report: all of a run */
    int progress_fd;              /* -1: none */
    bool json, html, quiet, help, test, watch, all, accept_all;
};

int options_parse(struct options *out, int argc, char *const *argv,
                  struct ds_error *err);
void options_free(struct options *options);
void options_help(void);

/** The plan that they amount to: the file's, with the options over it, the VMs
 * that the operands name, or all of it. */
int options_plan(const struct options *options, struct plan *out,
                 struct ds_error *err);
/** The options' settings over those that are there. */
int options_apply(const struct options *options, struct settings *settings,
                  struct ds_error *err);
/** The journal's directory; the caller owns it. */
char *options_journal(const struct options *options);

#endif
