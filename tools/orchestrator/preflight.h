/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules that are looked at before anything is changed; diskshift-migrate(1)
 * has the list. Each looks at one thing and changes nothing; all are run, and
 * all that they find is told. A rule's name stays the same for ever: plans name
 * those whose warnings they accept.
 *
 *   preflight.c         the source: disks, backup, hardware, guest
 *   preflight_target.c  what the target can: name, machine, format, paths,
 *                       networks, and whether it has room for the devices
 *   preflight_room.c    bytes, by filesystem
 */
#ifndef ORCH_PREFLIGHT_H
#define ORCH_PREFLIGHT_H

#include "disks.h"
#include "stage.h"

/** What a disk's plan says; zeroed where none could be made. */
struct disk_plan {
    bool made;
    struct ds_totals totals;
};

struct check {
    struct migration *migration;
    preflight_fn *add;
    void *user;
    struct disk_plan *plans; /* one for each disk */
};

void preflight_find(const struct check *check, const char *rule,
                    enum finding_severity severity, const char *subject,
                    const char *fix, const char *format, ...) PRINTF_LIKE(6, 7);

/** A path of a server that we reach ourselves: nfs://... */
bool is_server_path(const char *path);
/** Of `totals`, what is not shared. */
uint64_t unshared_bytes(const struct ds_totals *totals);

void preflight_target(const struct check *check);
void preflight_room(const struct check *check);

#endif
