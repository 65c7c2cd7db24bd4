/* SPDX-License-Identifier: Apache-2.0 */
/** What the place of a file can do: share blocks, copy, tell where they lie. */
#ifndef DISKSHIFT_STORAGE_H
#define DISKSHIFT_STORAGE_H

#include <stdbool.h>

#include <diskshift/error.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ds_answer { DS_ANSWER_UNKNOWN, DS_ANSWER_NO, DS_ANSWER_YES };

struct ds_storage {
    const char *store;   /* "local", "nfs" */
    char filesystem[64]; /* "xfs", "nfs4.2", "NFSv3, NFSv4.2" ... */
    bool measured;       /* tried; else known from the kind alone */
    enum ds_answer range_clone;
    enum ds_answer file_clone;
    uint32_t granularity_bytes;      /* of range_clone; 0: not known */
    enum ds_answer server_copy;      /* copies without the bytes passing here */
    enum ds_answer physical_extents; /* tells where blocks lie, so that what is
                                        shared need not be read */
    enum ds_answer locks; /* of other programs: can be seen, and of local
                             files be held */
    uint64_t free_bytes;  /* for this user */
    char note[512];       /* "" if there is nothing to say */
};

/**
 * Describe the directory `path`, or the one that the file `path` lies in; it
 * may be an nfs:// path. With `probe` two temporary files of a mebibyte are
 * made there, shared, copied and removed, on errors too; without it nothing is
 * written.
 */
DS_PUBLIC int ds_storage_describe(const char *path, bool probe,
                                  struct ds_storage *out, struct ds_error *err);

#ifdef __cplusplus
}
#endif
#endif
