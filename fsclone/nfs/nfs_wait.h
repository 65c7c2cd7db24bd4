/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for servers that are restarted or put us off. */
#ifndef NFS_WAIT_H
#define NFS_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#define NFS_PAUSE_MS_MAX 1000

int64_t nfs_now_ms(void);
void nfs_pause_ms(int64_t duration_ms);

/** How long to go on, and how long to wait before the next try. */
struct nfs_patience {
    int64_t end_ms;
    int64_t pause_ms; /* grows with each wait */
};

struct nfs_patience nfs_patience_begin(int64_t patience_ms);
/** When to try the next time; false when there is no patience left. */
bool nfs_patience_next(struct nfs_patience *patience, int64_t *at_ms);
/** Wait for the next try; false when there is no patience left. */
bool nfs_patience_wait(struct nfs_patience *patience);

#endif
