/* SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND UINT64_C(1000000000)
#define MAKE_TRIES 100

/* -- errors --------------------------------------------------------------- */

PRINTF_LIKE(5, 0)
static int fill(struct ds_error *err, enum ds_error_class error_class,
                int errnum, const char *path, const char *format,
                va_list arguments)
{
    size_t used;

    if (err == NULL)
        return -(int)error_class;
    *err = (struct ds_error)DS_ERROR_INIT;
    err->error_class = error_class;
    err->system_errno = errnum;
    if (path != NULL)
        snprintf(err->file, sizeof(err->file), "%s", path);
    vsnprintf(err->message, sizeof(err->message), format, arguments);
    used = strlen(err->message);
    if (errnum != 0)
        snprintf(err->message + used, sizeof(err->message) - used, ": %s",
                 strerror(errnum));
    return -(int)error_class;
}

int fail(struct ds_error *err, enum ds_error_class error_class,
         const char *format, ...)
{
    va_list arguments;
    int result;

    va_start(arguments, format);
    result = fill(err, error_class, 0, NULL, format, arguments);
    va_end(arguments);
    return result;
}

int fail_errno(struct ds_error *err, int errnum, const char *path,
               const char *format, ...)
{
    va_list arguments;
    int result;

    va_start(arguments, format);
    result = fill(err, DS_ERR_SYSTEM, errnum, path, format, arguments);
    va_end(arguments);
    return result;
}

int fail_memory(struct ds_error *err)
{
    return fail_errno(err, ENOMEM, NULL, "no memory");
}

int fail_within(struct ds_error *err, const char *format, ...)
{
    char message[sizeof(err->message)];
    va_list arguments;
    size_t used;

    memcpy(message, err->message, sizeof(message));
    va_start(arguments, format);
    vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);
    used = strlen(err->message);
    snprintf(err->message + used, sizeof(err->message) - used, ": %s", message);
    return -(int)err->error_class;
}

/* -- memory and text ------------------------------------------------------ */

static void *have(void *memory)
{
    if (memory == NULL) {
        fputs("diskshift-migrate: no memory\n", stderr);
        _exit(5);
    }
    return memory;
}

void *need(size_t bytes)
{
    return have(calloc(1, bytes > 0 ? bytes : 1));
}

void *need_more(void *old, size_t bytes)
{
    return have(realloc(old, bytes > 0 ? bytes : 1));
}

char *text_copy(const char *text)
{
    return text == NULL ? NULL : have(strdup(text));
}

char *text_vformat(const char *format, va_list arguments)
{
    char *text = NULL;

    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    return have(text);
}

char *text_format(const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    return text;
}

void text_set(char **place, const char *text)
{
    char *copy = text_copy(text);

    free(*place);
    *place = copy;
}

bool text_same(const char *left, const char *right)
{
    if (left == NULL || right == NULL)
        return left == right;
    return strcmp(left, right) == 0;
}

bool text_begins(const char *text, const char *with)
{
    return text != NULL && strncmp(text, with, strlen(with)) == 0;
}

bool text_ends(const char *text, const char *with)
{
    size_t length = text != NULL ? strlen(text) : 0;

    return length >= strlen(with) &&
           strcmp(text + length - strlen(with), with) == 0;
}

void texts_add(struct texts *texts, const char *text)
{
    texts->items =
        need_more(texts->items, (texts->count + 1) * sizeof(*texts->items));
    texts->items[texts->count++] = text_copy(text);
}

bool texts_have(const struct texts *texts, const char *text)
{
    for (size_t i = 0; i < texts->count; i++)
        if (text_same(texts->items[i], text))
            return true;
    return false;
}

void texts_free(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free(texts->items[i]);
    free(texts->items);
    *texts = (struct texts){ 0 };
}

/* -- files ---------------------------------------------------------------- */

static void cleanup_descriptor(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
}
#define autoclose __attribute__((cleanup(cleanup_descriptor)))

int file_read(const char *path, size_t bytes_max, char **out,
              size_t *length_bytes, struct ds_error *err)
{
    autoclose int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    autofree char *data = NULL;
    size_t used = 0, room = 4096;
    ssize_t count = 1;

    if (descriptor < 0)
        return fail_errno(err, errno, path, "open");
    data = need(room);
    while (count > 0) {
        if (used + 1 == room)
            data = need_more(data, room *= 2);
        count = read(descriptor, data + used, room - used - 1);
        if (count < 0)
            return fail_errno(err, errno, path, "read");
        used += (size_t)count;
        if (used > bytes_max) {
            int result =
                fail(err, DS_ERR_LIMIT,
                     "larger than %zu bytes, which is the most", bytes_max);

            if (err != NULL)
                snprintf(err->file, sizeof(err->file), "%s", path);
            return result;
        }
    }
    data[used] = '\0';
    if (length_bytes != NULL)
        *length_bytes = used;
    *out = steal(&data);
    return 0;
}

static int write_all(int descriptor, const char *data, size_t length_bytes)
{
    while (length_bytes > 0) {
        ssize_t count = write(descriptor, data, length_bytes);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        data += count;
        length_bytes -= (size_t)count;
    }
    return fsync(descriptor);
}

static int sync_directory(const char *path)
{
    autofree char *directory = path_directory(path);
    autoclose int descriptor =
        open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return descriptor < 0 ? -1 : fsync(descriptor);
}

int file_write(const char *path, const void *data, size_t length_bytes,
               unsigned mode, struct ds_error *err)
{
    autofree char *beside = text_format("%s.new", path);
    int descriptor =
        open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, (mode_t)mode);
    int errnum = 0;

    if (descriptor < 0)
        return fail_errno(err, errno, beside, "create");
    if (write_all(descriptor, data, length_bytes) != 0)
        errnum = errno;
    if (close(descriptor) != 0 && errnum == 0)
        errnum = errno;
    if (errnum == 0 && rename(beside, path) != 0)
        errnum = errno;
    if (errnum == 0 && sync_directory(path) != 0)
        errnum = errno;
    if (errnum == 0)
        return 0;
    unlink(beside);
    return fail_errno(err, errnum, path, "write");
}

static int make_once(const char *path, struct ds_error *err)
{
    autofree char *part = text_copy(path);

    for (char *slash = part + 1; slash != NULL;) {
        slash = strchr(slash, '/');
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return fail_errno(err, errno, part, "make directory");
        if (slash != NULL)
            *slash++ = '/';
    }
    return 0;
}

/* Another may remove an empty directory that we have just come through. */
int directory_make(const char *path, struct ds_error *err)
{
    struct ds_error mine = DS_ERROR_INIT;
    int result = -1;

    for (int tries = 0; tries < MAKE_TRIES && result != 0; tries++) {
        result = make_once(path, &mine);
        if (result != 0 && mine.system_errno != ENOENT)
            break;
    }
    if (result != 0 && err != NULL)
        *err = mine;
    return result;
}

char *path_join(const char *directory, const char *name)
{
    return text_format("%s%s%s", directory,
                       text_ends(directory, "/") ? "" : "/", name);
}

char *path_directory(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return text_copy(".");
    return slash == path ? text_copy("/")
                         : text_format("%.*s", (int)(slash - path), path);
}

const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

bool path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* -- time ----------------------------------------------------------------- */

uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_SECOND + (uint64_t)time.tv_nsec;
}

double now_seconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / (double)NS_PER_SECOND;
}

void sleep_ms(unsigned milliseconds)
{
    struct timespec time = { .tv_sec = milliseconds / 1000,
                             .tv_nsec = (milliseconds % 1000) * 1000000L };

    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        ;
}
