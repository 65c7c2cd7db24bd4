/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress to a terminal or as JSON lines, and the wish to stop.
 *
 * The first SIGINT, SIGTERM or SIGHUP is only noted: the next progress call
 * returns it, and the library undoes what it began. The second kills.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "options.h"

struct progress {
    bool bar;
    bool drawn;        /* a bar stands on the terminal */
    int fd;            /* or PROGRESS_FD_NONE */
    uint64_t shown_ns; /* when the last one was shown */
    char phase[16];
    bool complete; /* the end of this phase was shown */
};

/** Show progress as the options ask for. */
void progress_begin(struct progress *progress, const struct options *options);
/** A ds_progress_fn; `user` is the struct progress. */
int progress_show(void *user, const struct ds_progress *state);
/** Wipe the bar; before anything else is printed. */
void progress_end(struct progress *progress);

/** Note signals rather than die of them. */
void progress_catch_signals(void);
/** The signal that asked to stop, or 0. */
int progress_signal(void);

#endif
