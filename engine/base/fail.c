/* SPDX-License-Identifier: Apache-2.0 */
#define DS_BASE_FAIL_C
#include "fail.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "store.h"

/* The tail of a path names the file better than its head. */
static void set_file(struct ds_error *err, const char *path)
{
    size_t length = path != NULL ? strlen(path) : 0;
    size_t room = sizeof(err->file) - 1;

    if (length > room) {
        path += length - room;
        length = room;
    }
    if (length > 0)
        memcpy(err->file, path, length);
    err->file[length] = '\0';
}

DS_PRINTF(2, 0)
static void set_message(struct ds_error *err, const char *format, va_list args)
{
    /* A message too long is cut, never lost. */
    if (vsnprintf(err->message, sizeof(err->message), format, args) < 0)
        err->message[0] = '\0';
}

int ds_fail(struct ds_error *err, enum ds_error_class error_class,
            const char *format, ...)
{
    va_list args;

    if (err != NULL) {
        err->error_class = error_class;
        err->system_errno = 0;
        err->offset_bytes = DS_OFFSET_NONE;
        set_file(err, NULL);
        va_start(args, format);
        set_message(err, format, args);
        va_end(args);
    }
    assert(error_class != DS_OK); /* see ds_failed */
    return -(int)error_class;
}

int ds_fail_at(struct ds_error *err, const struct ds_file *file,
               uint64_t offset_bytes, enum ds_error_class error_class,
               const char *format, ...)
{
    va_list args;

    if (err != NULL) {
        err->error_class = error_class;
        err->system_errno = 0;
        err->offset_bytes = offset_bytes;
        set_file(err, file != NULL ? file->path : NULL);
        va_start(args, format);
        set_message(err, format, args);
        va_end(args);
    }
    assert(error_class != DS_OK); /* see ds_failed */
    return -(int)error_class;
}

int ds_fail_errno(struct ds_error *err, int errnum, const char *path,
                  const char *format, ...)
{
    va_list args;

    if (err != NULL) {
        char reason[128];
        size_t used;

        err->error_class = DS_ERR_SYSTEM;
        err->system_errno = errnum;
        err->offset_bytes = DS_OFFSET_NONE;
        set_file(err, path);
        va_start(args, format);
        set_message(err, format, args);
        va_end(args);
        used = strlen(err->message);
        (void)snprintf(err->message + used, sizeof(err->message) - used, ": %s",
                       strerror_r(errnum, reason, sizeof(reason)));
    }
    return -DS_ERR_SYSTEM;
}

int ds_fail_memory(struct ds_error *err)
{
    return ds_fail_errno(err, ENOMEM, NULL, "no memory");
}
