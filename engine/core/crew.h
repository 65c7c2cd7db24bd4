/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that stay for a whole run.
 *
 *   caller   open - begin(work) .... end - begin(work) .... end - close
 *   thread 0      |-- work(0) --|        |-- work(0) ---|
 *   thread 1      |-- work(1) -------|   |-- work(1) -|
 *
 * Between begin and end the caller may do something else, or the same work
 * itself, as number crew_count. No thread to be had is no fault: the count is
 * then smaller, down to 0. Threads take no signals: those are for the
 * program's own.
 */
#ifndef DS_CORE_CREW_H
#define DS_CORE_CREW_H

#include <diskshift/error.h>

#define CREW_COUNT_MAX 16u

struct crew;
typedef void crew_fn(void *user, unsigned index);

/** As many as there are cores, and `more`; at most CREW_COUNT_MAX. */
unsigned crew_size(unsigned more);

int crew_open(unsigned wanted, struct crew **out, struct ds_error *err);
unsigned crew_count(const struct crew *crew);

/** Let every thread call `work` once. */
void crew_begin(struct crew *crew, crew_fn *work, void *user);

/** Wait until all have returned. */
void crew_end(struct crew *crew);

/** After crew_end. NULL is allowed. */
void crew_close(struct crew *crew);

#endif
