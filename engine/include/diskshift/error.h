/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DISKSHIFT_ERROR_H
#define DISKSHIFT_ERROR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DS_PUBLIC __attribute__((visibility("default")))
#else
#define DS_PUBLIC
#endif

/**
 * What went wrong, in the terms a caller acts on. Fallible functions return
 * 0 or the negated class.
 */
enum ds_error_class {
    DS_OK = 0,
    DS_ERR_SYSTEM = 1,      /* the system refused: see system_errno */
    DS_ERR_CORRUPT = 2,     /* the input breaks its format's rules */
    DS_ERR_UNSUPPORTED = 3, /* valid, but a form we do not handle */
    DS_ERR_LIMIT = 4,       /* beyond a bound of ours or of the format */
    DS_ERR_REFUSED = 5,     /* would be unsafe: in use, exists, changed ... */
    DS_ERR_ARG = 6,         /* the caller's words are wrong */
    DS_ERR_CANCELLED = 7    /* the progress callback asked to stop */
};

/** No byte offset belongs to this error. */
#define DS_OFFSET_NONE UINT64_MAX

/**
 * An error, owned by the caller, of fixed size: reporting never allocates.
 * Zero it (or use DS_ERROR_INIT) before the first use; functions fill it only
 * when they fail. Not shared between threads by the library.
 */
struct ds_error {
    enum ds_error_class error_class;
    int system_errno;      /* 0 unless error_class is DS_ERR_SYSTEM */
    uint64_t offset_bytes; /* in `file`, or DS_OFFSET_NONE */
    char file[256];        /* path, its tail if too long; "" if none */
    char message[512];     /* "<format>: <record>: <what>, have X expect Y" */
};

#define DS_ERROR_INIT                                                          \
    {                                                                          \
        DS_OK, 0, DS_OFFSET_NONE, "", ""                                       \
    }

/** A word for the class: "corrupt", "unsupported" ... Never NULL. */
DS_PUBLIC const char *ds_error_class_name(enum ds_error_class error_class);

#ifdef __cplusplus
}
#endif
#endif
