/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs that measure have in common: the clock, and giving up. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

/* As a command that could not be run: what is measured may exit with 1. */
#define STATUS_TROUBLE 125

/** Says which program, what, and errno's reason. */
static inline _Noreturn void die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
            strerror(errno));
    exit(STATUS_TROUBLE);
}

/** CLOCK_MONOTONIC. */
static inline double now_seconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        die("clock_gettime");
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

#endif
