/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

static bool reserve(struct gs_text *text, size_t more_bytes)
{
    size_t need, room = text->room_bytes == 0 ? 1024 : text->room_bytes;
    char *grown;

    if (text->failed ||
        __builtin_add_overflow(text->length_bytes, more_bytes + 1, &need)) {
        text->failed = true;
        return false;
    }
    if (need <= text->room_bytes)
        return true;
    while (room < need)
        room *= 2;
    grown = realloc(text->bytes, room);
    if (grown == NULL) {
        text->failed = true;
        return false;
    }
    text->bytes = grown;
    text->room_bytes = room;
    return true;
}

void gs_text_add(struct gs_text *text, const char *bytes, size_t length_bytes)
{
    if (!reserve(text, length_bytes))
        return;
    memcpy(text->bytes + text->length_bytes, bytes, length_bytes);
    text->length_bytes += length_bytes;
    text->bytes[text->length_bytes] = '\0';
}

void gs_text_puts(struct gs_text *text, const char *words)
{
    gs_text_add(text, words, strlen(words));
}

void gs_text_printf(struct gs_text *text, const char *format, ...)
{
    char *words = NULL;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vasprintf(&words, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text->failed = true;
        return;
    }
    gs_text_add(text, words, (size_t)length);
    free(words);
}

int gs_text_take(struct gs_text *text, char **out, size_t *length_bytes,
                 struct ds_error *err)
{
    gs_text_add(text, "", 0); /* so that there are bytes */
    if (text->failed)
        return ds_fail_memory(err);
    *out = text->bytes;
    if (length_bytes != NULL)
        *length_bytes = text->length_bytes;
    *text = (struct gs_text){ 0 };
    return 0;
}

void gs_text_free(struct gs_text *text)
{
    free(text->bytes);
}
