/* SPDX-License-Identifier: Apache-2.0 */
/* A text that grows. A failed allocation is remembered and told once, by
 * gs_text_take. */
#ifndef GS_TEXT_H
#define GS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include <diskshift/error.h>

struct gs_text {
    char *bytes; /* terminated when not NULL */
    size_t length_bytes;
    size_t room_bytes;
    bool failed;
};

void gs_text_add(struct gs_text *text, const char *bytes, size_t length_bytes);
void gs_text_puts(struct gs_text *text, const char *words);
void gs_text_printf(struct gs_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/** Hand the bytes out; `text` is empty again. */
int gs_text_take(struct gs_text *text, char **out, size_t *length_bytes,
                 struct ds_error *err);
/** For ds_auto. */
void gs_text_free(struct gs_text *text);

#endif
