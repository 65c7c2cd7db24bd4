/* SPDX-License-Identifier: Apache-2.0 */
/* What the sandbox of this run admits, by its verb and operands. */
#ifndef CLI_CONFINE_H
#define CLI_CONFINE_H

#include "options.h"
#include "report.h"

/** Enter the sandbox; before the first image is opened. The options' targets
 * are resolved. Warns of what is not in force. */
int confine_enter(const struct options *options, struct ds_error *err);

/** All sources are open: nothing more of them is. */
int confine_narrow(const struct options *options, struct ds_error *err);

/** The JSON document's member that says what is in force. Nothing when the
 * sandbox was not reached. */
void confine_report(struct report *report);

#endif
