/* SPDX-License-Identifier: Apache-2.0 */
/* What went over the network, by procedure: for the table of --stats. */
#ifndef NFS_COUNT_H
#define NFS_COUNT_H

#include <stdint.h>

struct nfs_count {
    uint64_t round_trips; /* calls sent, also those without an answer */
    uint64_t operations;  /* in them: a compound has several */
    uint64_t sent_bytes;  /* with their RPC headers, without TCP's */
    uint64_t received_bytes;
};

#endif
