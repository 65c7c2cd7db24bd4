/* SPDX-License-Identifier: Apache-2.0 */
/* What happened, out of the journal alone: `migrate report`, `show`. */
#ifndef ORCH_REPORT_H
#define ORCH_REPORT_H

#include <stdio.h>

#include "journal.h"

/* Raised when a member changes its meaning or goes away; new ones may come. */
#define REPORT_SCHEMA 1

enum report_form { REPORT_TEXT, REPORT_JSON, REPORT_HTML };

/** One migration, with its steps and their times, warnings, findings, disks'
 * bytes shared and copied (the `after` of shift-disks), verdict and error.
 * HTML is one file that loads nothing, with a timeline drawn in SVG. */
int report_migration(struct journal *journal, int64_t id, enum report_form form,
                     FILE *out, struct ds_error *err);
/** All migrations of a run, with a summary. */
int report_run(struct journal *journal, int64_t run, enum report_form form,
               FILE *out, struct ds_error *err);

#endif
