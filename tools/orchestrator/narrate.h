/* SPDX-License-Identifier: Apache-2.0 */
/* How it goes, for people on standard error and for programs as JSON lines on
 * a descriptor of their choice. Safe to call from many threads. */
#ifndef ORCH_NARRATE_H
#define ORCH_NARRATE_H

#include <stdio.h>

#include "options.h"
#include "stage.h"

/** Note signals rather than die of them: a migration stops at its next look,
 * where resume takes it up. The second signal kills. */
void narrate_catch_signals(void);
bool narrate_stopped(void);
void narrate_begin(const struct options *options, struct narrator *out);

/** Text of others to a terminal: control characters come out as \xHH. */
void print_safe(FILE *out, const char *text);
/** "diskshift: FILE: message" */
void tell_error(const struct ds_error *err);

#endif
