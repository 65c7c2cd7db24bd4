/* SPDX-License-Identifier: Apache-2.0 */
/* Disks and files: what the orchestrator asks of the engine, and of the
 * filesystem. */
#ifndef ORCH_DISKS_H
#define ORCH_DISKS_H

#include <diskshift/diskshift.h>

#include "vm.h"

/** All files that a disk is made of: descriptor, extents, parents. */
int disk_files(const struct vm_disk *disk, struct texts *out,
               struct ds_error *err);

/** Share `from`'s blocks with a new file `to`, which takes owner, mode and
 * attributes; flushed. What is at `to` is replaced. `require_clone`: do not
 * copy where nothing can be shared. *copied_bytes counts what was. */
int file_clone(const char *from, const char *to, bool require_clone,
               uint64_t *copied_bytes, struct ds_error *err);
/** Put a clone of `from` in the place of `to`: by exchange, so that `to` is
 * always whole, and what was there is removed last. */
int file_restore(const char *from, const char *to, struct ds_error *err);
/** Absent when it returns; not there is fine, nor its directory. */
int file_remove(const char *path, struct ds_error *err);

/** One conversion. */
struct shift {
    const char *name; /* for progress */
    const char *from, *from_format, *to, *to_format;
    const char *from_member; /* the disk in a package; or NULL */
    const char *const *options;
    size_t option_count;
    bool require_clone;
    ds_progress_fn *progress;
    void *user;
    /* Out. */
    int result;
    struct ds_error error;
    struct ds_report report;
};
struct pairs;
/** The plan's options of a format as a shift takes them. */
void shift_options(const struct pairs *options, struct texts *out);
/** Plan it only: the target's files, and the totals. */
int shift_plan(const struct shift *shift, struct texts *files,
               struct ds_totals *totals, struct ds_error *err);
/** Run all, some at once; returns the first failure, whose disk it names. */
int shift_all(struct shift *shifts, size_t count, struct ds_error *err);
json_t *shift_json(const struct shift *shift);

#endif
