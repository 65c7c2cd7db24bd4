/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMware's locks, which are files beside the disk:
 *
 *   NAME.lck/M*.lck    hosted products; once a plain file NAME.lck
 *   .lck-<16 digits>   ESXi on NFSv3: the file id (inode number) of what it
 *                      locks, as hexadecimal bytes, lowest first; inside, the
 *                      name of the host (Broadcom KB 340515)
 *
 * ESXi locks each file that it has open, so a directory holds locks of many
 * files. One is ours when its id is; when it is that of another file in the
 * directory it is not; and when nobody in there has that id, it may be ours by
 * another number, and is taken for ours.
 */
#ifndef VMWARE_LOCK_H
#define VMWARE_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMWARE_HOLDER_BYTES 80
#define VMWARE_HEAD_BYTES 512 /* of a lock file, in which its holder stands */
#define VMWARE_LOCK_COUNT_MAX 64

/** The name of a hosted product's lock inside NAME.lck. */
bool vmware_is_hosted(const char *name);

struct vmware_lock {
    char name[32];
    uint64_t file_id;
    bool is_known; /* some other file in the directory has that id */
};

/* Those of a directory. Two walks over it: `see` its names, then, if there is
 * any, `know` its files. */
struct vmware_locks {
    struct vmware_lock list[VMWARE_LOCK_COUNT_MAX];
    size_t count;
    bool full; /* there are more */
};

void vmware_locks_see(struct vmware_locks *locks, const char *name);
void vmware_locks_know(struct vmware_locks *locks, uint64_t file_id);
/** The one that locks the file `file_id`, or may; NULL if none does. */
const struct vmware_lock *vmware_locks_find(const struct vmware_locks *locks,
                                            uint64_t file_id);

/** Who holds it, by what its file begins with: the longest text in there.
 * "" if there is none. */
void vmware_holder(const uint8_t *bytes, size_t length,
                   char holder[VMWARE_HOLDER_BYTES]);

#endif
