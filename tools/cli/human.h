/* SPDX-License-Identifier: Apache-2.0 */
/* How things read to people: sizes, and text that may hold anything. */
#ifndef CLI_HUMAN_H
#define CLI_HUMAN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define HUMAN_SIZE_BYTES 64

/** "4.0 GiB", "512 bytes". */
void human_size(uint64_t bytes, char text[HUMAN_SIZE_BYTES]);
/** "4.0 GiB (4294967296 bytes)", "512 bytes". */
void human_size_exact(uint64_t bytes, char text[HUMAN_SIZE_BYTES]);

/** Length of the UTF-8 character at `text`, 0 when there is none. */
size_t human_utf8_length(const char *text);

/**
 * Print text from images and file names: control characters and what is not
 * UTF-8 come out as \xHH, so that a hostile name cannot steer the terminal.
 * Returns how many columns were taken, counting one per character.
 */
int human_print(FILE *out, const char *text);

/** Print a word as a shell (bash, ksh, zsh) reads it back. */
void human_quote(FILE *out, const char *word);

/** `name` with everything but letters and digits made into '_'. */
void human_key(const char *name, char *key, size_t key_bytes);
/** `key` with each '_' made into a space. */
void human_words(const char *key, char *words, size_t words_bytes);

#endif
