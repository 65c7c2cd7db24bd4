/* SPDX-License-Identifier: Apache-2.0 */
/* What every file of the orchestrator uses: errors, text, ownership. It has
 * its own because it knows the library by its installed headers alone. */
#ifndef ORCH_BASE_H
#define ORCH_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <diskshift/error.h>
#include <jansson.h>

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PRINTF_LIKE(format_index, first)                                       \
    __attribute__((format(printf, format_index, first)))

/** Fill `err`, return -error_class. `err` may be NULL. */
int fail(struct ds_error *err, enum ds_error_class error_class,
         const char *format, ...) PRINTF_LIKE(3, 4);
/** DS_ERR_SYSTEM with `errnum`, whose text is appended. `path` may be NULL. */
int fail_errno(struct ds_error *err, int errnum, const char *path,
               const char *format, ...) PRINTF_LIKE(4, 5);
int fail_memory(struct ds_error *err);
/** Put "text: " before what `err` says; returns -err->error_class. */
int fail_within(struct ds_error *err, const char *format, ...)
    PRINTF_LIKE(2, 3);

/* Scope cleanup: `autofree char *p = ...;`, and steal(&p) to hand it out. */
static inline void cleanup_free(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}
static inline void cleanup_json(json_t **value)
{
    json_decref(*value);
}
#define autofree __attribute__((cleanup(cleanup_free)))
#define autojson __attribute__((cleanup(cleanup_json)))
#define steal(pointer_to_pointer)                                              \
    __extension__({                                                            \
        __typeof__(*(pointer_to_pointer)) stolen_ = *(pointer_to_pointer);     \
        *(pointer_to_pointer) = NULL;                                          \
        stolen_;                                                               \
    })

/* Memory of a few KiB for names and messages: where it is not to be had the
 * program ends. What is journalled is resumed by the next run, so this is one
 * of the kills that every step survives. */
void *need(size_t bytes); /* zeroed */
void *need_more(void *old, size_t bytes);
char *text_copy(const char *text); /* NULL gives NULL */
char *text_format(const char *format, ...) PRINTF_LIKE(1, 2);
char *text_vformat(const char *format, va_list arguments) PRINTF_LIKE(1, 0);
/** Free what *place holds and put a copy of `text` there. */
void text_set(char **place, const char *text);
bool text_same(const char *left, const char *right); /* NULL is like NULL */
bool text_begins(const char *text, const char *with);
bool text_ends(const char *text, const char *with);

/** A list of texts, which it owns. Zeroed is empty. */
struct texts {
    char **items;
    size_t count;
};
void texts_add(struct texts *texts, const char *text);
bool texts_have(const struct texts *texts, const char *text);
void texts_free(struct texts *texts);

/** A file's whole content, '\0' behind it; LIMIT beyond `bytes_max`. */
int file_read(const char *path, size_t bytes_max, char **out,
              size_t *length_bytes, struct ds_error *err);
/** Write beside and rename, flushed: `path` has the old content or the new. */
int file_write(const char *path, const void *data, size_t length_bytes,
               unsigned mode, struct ds_error *err);
/** All missing directories of `path`, mode 0700. */
int directory_make(const char *path, struct ds_error *err);
/** "directory/name". */
char *path_join(const char *directory, const char *name);
char *path_directory(const char *path);
const char *path_name(const char *path); /* behind the last '/' */
bool path_exists(const char *path);

uint64_t now_ns(void);    /* monotonic */
double now_seconds(void); /* since 1970 */
void sleep_ms(unsigned milliseconds);

#endif
