/* SPDX-License-Identifier: Apache-2.0 */
#include "play_clock.h"

#include <time.h>

#define SECOND_NS INT64_C(1000000000)
#define MILLISECOND_NS INT64_C(1000000)

static __thread int64_t now_ns; /* 0: it does not run */
static __thread unsigned pace;

void play_clock_begin(unsigned sleep_pace)
{
    now_ns = MILLISECOND_NS;
    pace = sleep_pace;
}

void play_clock_end(void)
{
    now_ns = 0;
}

bool play_clock_runs(void)
{
    return now_ns != 0;
}

void play_clock_add_ms(int64_t duration_ms)
{
    now_ns += duration_ms * MILLISECOND_NS;
}

/* Who looks at it takes a millisecond, so that a loop that only looks ends. */
int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    if (!play_clock_runs() || clock != CLOCK_MONOTONIC)
        return __real_clock_gettime(clock, out);
    play_clock_add_ms(1);
    *out = (struct timespec){ .tv_sec = now_ns / SECOND_NS,
                              .tv_nsec = now_ns % SECOND_NS };
    return 0;
}

int __real_nanosleep(const struct timespec *pause, struct timespec *rest);
int __wrap_nanosleep(const struct timespec *pause, struct timespec *rest);
int __wrap_nanosleep(const struct timespec *pause, struct timespec *rest)
{
    if (!play_clock_runs())
        return __real_nanosleep(pause, rest);
    now_ns += pace * (pause->tv_sec * SECOND_NS + pause->tv_nsec);
    return 0;
}
