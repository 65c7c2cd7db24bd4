/* SPDX-License-Identifier: Apache-2.0 */
/** What went to servers and came from them. */
#ifndef DISKSHIFT_TRAFFIC_H
#define DISKSHIFT_TRAFFIC_H

#include <stdint.h>

#include <diskshift/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One kind of call to servers. A compound of NFSv4.2 is one call, named by the
 * operation that it is for. */
struct ds_traffic {
    const char *protocol;  /* "NFSv3"; static, as the next */
    const char *procedure; /* "LOOKUP" */
    uint64_t round_trips;  /* calls sent */
    uint64_t operations;   /* in them */
    uint64_t sent_bytes;   /* what TCP carried for us, without its headers */
    uint64_t received_bytes;
};
typedef void ds_traffic_fn(void *user, const struct ds_traffic *row);

/** Each kind of call that was made since the process began, for all disks in
 * it. Nothing is counted of local files. From any thread, while no other is at
 * work with such disks. */
DS_PUBLIC void ds_traffic_each(ds_traffic_fn *each, void *user);

#ifdef __cplusplus
}
#endif
#endif
