/* SPDX-License-Identifier: Apache-2.0 */
/* Filling struct ds_error. Code that detects a fault calls one of these and
 * returns its result; only tools/ prints. `err` may be NULL everywhere. */
#ifndef DS_BASE_FAIL_H
#define DS_BASE_FAIL_H

#include <diskshift/error.h>

struct ds_file;

#define DS_PRINTF(format_index, first)                                         \
    __attribute__((format(printf, format_index, first)))

/** Fill `err`, return -error_class. */
int ds_fail(struct ds_error *err, enum ds_error_class error_class,
            const char *format, ...) DS_PRINTF(3, 4);

/** The same, naming the file and the byte that was wrong. */
int ds_fail_at(struct ds_error *err, const struct ds_file *file,
               uint64_t offset_bytes, enum ds_error_class error_class,
               const char *format, ...) DS_PRINTF(5, 6);

/** DS_ERR_SYSTEM with `errnum`; ": strerror" is appended. `path` may be
 * NULL. */
int ds_fail_errno(struct ds_error *err, int errnum, const char *path,
                  const char *format, ...) DS_PRINTF(4, 5);

/** Out of memory: DS_ERR_SYSTEM, ENOMEM. */
int ds_fail_memory(struct ds_error *err);

/* That none of these returns 0 is what compilers and analyzers must know to
 * see that what follows a failure is not reached. */
static inline int ds_failed(int result)
{
    if (result >= 0)
        __builtin_unreachable();
    return result;
}

#ifndef DS_BASE_FAIL_C
#define ds_fail(...) ds_failed(ds_fail(__VA_ARGS__))
#define ds_fail_at(...) ds_failed(ds_fail_at(__VA_ARGS__))
#define ds_fail_errno(...) ds_failed(ds_fail_errno(__VA_ARGS__))
#define ds_fail_memory(err) ds_failed(ds_fail_memory(err))
#endif

#endif
