/* SPDX-License-Identifier: Apache-2.0 */
#include "nfs_wait.h"

#include <time.h>

#define PAUSE_MS_MIN 10

int64_t nfs_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void nfs_pause_ms(int64_t duration_ms)
{
    struct timespec duration = { .tv_sec = duration_ms / 1000,
                                 .tv_nsec = duration_ms % 1000 * 1000000 };

    if (duration_ms > 0)
        (void)nanosleep(&duration, NULL);
}

struct nfs_patience nfs_patience_begin(int64_t patience_ms)
{
    return (struct nfs_patience){ .end_ms = nfs_now_ms() + patience_ms,
                                  .pause_ms = PAUSE_MS_MIN };
}

bool nfs_patience_next(struct nfs_patience *patience, int64_t *at_ms)
{
    int64_t next_ms = nfs_now_ms() + patience->pause_ms;

    if (next_ms > patience->end_ms)
        return false;
    *at_ms = next_ms;
    if (patience->pause_ms < NFS_PAUSE_MS_MAX)
        patience->pause_ms *= 2;
    return true;
}

bool nfs_patience_wait(struct nfs_patience *patience)
{
    int64_t next_ms = 0;

    if (!nfs_patience_next(patience, &next_ms))
        return false;
    nfs_pause_ms(next_ms - nfs_now_ms());
    return true;
}
