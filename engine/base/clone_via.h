/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The border between stores and storage arrays that share blocks by an
 * interface of their own, beside the protocol that carries the files.
 *
 *   store (fsclone/nfs) ---> struct ds_clone_via_ops ---> fsclone/ontap, ...
 *      names, reads, writes      "share these blocks"
 *
 * An array is a row of verbs. It knows no open files: a file is what the
 * array calls it, which `locate` finds from the path that clients see. What
 * every array has is the clone of a whole file under a new name; ranges into
 * a file that is there are had where granularity_bytes is not 0.
 *
 * A call returns when the array is done. Where it cannot be learnt whether it
 * is (its record of the work is gone), the outcome is VANISHED and the store
 * looks at the files. All other failure is an error: nobody asks an array and
 * means a copy.
 */
#ifndef DS_BASE_CLONE_VIA_H
#define DS_BASE_CLONE_VIA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <diskshift/convert.h>

enum ds_clone_outcome { DS_CLONE_DONE, DS_CLONE_VANISHED };

struct ds_clone_via_range {
    uint64_t source_offset_bytes; /* all multiples of granularity_bytes */
    uint64_t target_offset_bytes;
    uint64_t length_bytes;
};

struct ds_clone_via_ops {
    const char *name;           /* as --clone-via has it */
    uint32_t granularity_bytes; /* of ranges; 0: whole files alone */

    /** Read what it needs of files (credentials, certificates) and load what
     * it needs of libraries. No network yet. */
    int (*open)(const struct ds_clone_via_options *options,
                struct ds_clone_via **out, struct ds_error *err);
    void (*close)(struct ds_clone_via *via);

    /** What the array calls the file that clients find at `path` of the file
     * server, an absolute path; *out is the caller's to free. REFUSED when it
     * lies elsewhere. */
    int (*locate)(struct ds_clone_via *via, const char *path, char **out,
                  struct ds_error *err);

    /** Make `target`, which must not exist, of the blocks of `source`. */
    int (*whole_file)(struct ds_clone_via *via, const char *source,
                      const char *target, enum ds_clone_outcome *outcome,
                      struct ds_error *err);

    /** Share ranges of `source` with `target`, which exists and reaches
     * beyond each. They do not overlap. NULL: whole files alone. */
    int (*ranges)(struct ds_clone_via *via, const char *source,
                  const char *target, const struct ds_clone_via_range *ranges,
                  size_t count, enum ds_clone_outcome *outcome,
                  struct ds_error *err);
};

/** An array that was opened. They embed this at the start of their own. */
struct ds_clone_via {
    const struct ds_clone_via_ops *ops;
    /** Whether to give up waiting: CANCELLED. Set by the store for the time of
     * a call; NULL: never. */
    bool (*stop)(void *user);
    void *user;
};

static inline bool ds_clone_via_stopped(const struct ds_clone_via *via)
{
    return via->stop != NULL && via->stop(via->user);
}

#endif
