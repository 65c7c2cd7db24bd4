/* SPDX-License-Identifier: Apache-2.0 */
#include "human.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

void human_size(uint64_t bytes, char text[HUMAN_SIZE_BYTES])
{
    static const char *const units[] = { "KiB", "MiB", "GiB",
                                         "TiB", "PiB", "EiB" };
    size_t unit = 0;
    double size = (double)bytes / 1024;

    if (bytes < 1024) {
        snprintf(text, HUMAN_SIZE_BYTES, "%" PRIu64 " bytes", bytes);
        return;
    }
    /* 1023.95 would print as 1024.0 of the smaller unit. */
    while (size >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        size /= 1024;
        unit++;
    }
    snprintf(text, HUMAN_SIZE_BYTES, "%.1f %s", size, units[unit]);
}

void human_size_exact(uint64_t bytes, char text[HUMAN_SIZE_BYTES])
{
    char size[HUMAN_SIZE_BYTES];

    human_size(bytes, size);
    if (bytes < 1024)
        memcpy(text, size, sizeof(size));
    else
        snprintf(text, HUMAN_SIZE_BYTES, "%.20s (%" PRIu64 " bytes)", size,
                 bytes);
}

/* Table 3-7 of the Unicode Standard: how many bytes follow the first, and
 * what the second may be. */
size_t human_utf8_length(const char *text)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char second_min = 0x80, second_max = 0xbf;
    size_t length;

    if (bytes[0] < 0x80)
        return bytes[0] != 0;
    if (bytes[0] >= 0xc2 && bytes[0] <= 0xdf)
        length = 2;
    else if (bytes[0] >= 0xe0 && bytes[0] <= 0xef)
        length = 3;
    else if (bytes[0] >= 0xf0 && bytes[0] <= 0xf4)
        length = 4;
    else
        return 0;
    if (bytes[0] == 0xe0)
        second_min = 0xa0;
    if (bytes[0] == 0xed)
        second_max = 0x9f;
    if (bytes[0] == 0xf0)
        second_min = 0x90;
    if (bytes[0] == 0xf4)
        second_max = 0x8f;
    if (bytes[1] < second_min || bytes[1] > second_max)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (bytes[i] < 0x80 || bytes[i] > 0xbf)
            return 0;
    return length;
}

/* C0, DEL and C1: what a terminal obeys. */
static bool is_control(const char *text)
{
    unsigned char first = (unsigned char)text[0];

    return first < 0x20 || first == 0x7f ||
           (first == 0xc2 && (unsigned char)text[1] < 0xa0);
}

int human_print(FILE *out, const char *text)
{
    int columns = 0;

    while (*text != '\0') {
        size_t length = human_utf8_length(text);

        if (length == 0 || is_control(text)) {
            fprintf(out, "\\x%02x", (unsigned char)*text);
            columns += 4;
            text++;
        } else {
            fwrite(text, 1, length, out);
            columns++;
            text += length;
        }
    }
    return columns;
}

static bool is_plain(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789%+,-./:=@_";

    return *word != '\0' && word[strspn(word, plain)] == '\0';
}

void human_quote(FILE *out, const char *word)
{
    if (is_plain(word)) {
        fputs(word, out);
        return;
    }
    /* $'..' names any byte, so that nothing odd reaches a terminal. */
    fputs("$'", out);
    while (*word != '\0') {
        unsigned char byte = (unsigned char)*word;
        size_t length = human_utf8_length(word);

        if (byte == '\'' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else if (length == 0 || byte < ' ' || byte == 0x7f)
            fprintf(out, "\\%03o", byte);
        else
            fwrite(word, 1, length, out);
        word += length == 0 ? 1 : length;
    }
    fputc('\'', out);
}

void human_key(const char *name, char *key, size_t key_bytes)
{
    size_t length = 0;

    for (; *name != '\0' && length + 1 < key_bytes; name++) {
        bool word = (*name >= 'a' && *name <= 'z') ||
                    (*name >= 'A' && *name <= 'Z') ||
                    (*name >= '0' && *name <= '9');
        key[length++] = word ? *name : '_';
    }
    key[length] = '\0';
}

void human_words(const char *key, char *words, size_t words_bytes)
{
    snprintf(words, words_bytes, "%s", key);
    for (char *c = words; *c != '\0'; c++)
        if (*c == '_')
            *c = ' ';
}
