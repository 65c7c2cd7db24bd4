/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of parents as other systems wrote them into images (VHD, VHDX): UTF-16,
 * backslashes, drives. What comes out is a list of names for the store to
 * try; whether any may be opened is the store's to say.
 */
#ifndef DS_BASE_PARENT_NAME_H
#define DS_BASE_PARENT_NAME_H

#include "format.h"

/* Linux's PATH_MAX: no longer name can be opened. */
#define DS_NAME_BYTES_MAX 4096u

/** UTF-16 to UTF-8, up to the first zero. False when it is no name: nothing
 * in it, half a pair, a control character, an odd length, too long. */
bool ds_utf16_decode(const uint8_t *bytes, size_t length_bytes, bool big_endian,
                     char text[DS_NAME_BYTES_MAX]);

/** Whether `text` is UTF-8 without control characters. */
bool ds_name_is_plain(const char *text);

/** In the order they are to be tried, each once. */
struct ds_parent_names {
    char texts[DS_PARENT_NAME_COUNT_MAX - 1][DS_NAME_BYTES_MAX];
    size_t count;
};

/** The path as it is, '\\' as '/', when it can mean something here: relative
 * or from '/', not of a drive or server. */
void ds_parent_names_add_path(struct ds_parent_names *names, const char *path);

/** Its last part, unless that is how the child itself (`own_path`) is called:
 * the parent then lies in another directory. */
void ds_parent_names_add_base(struct ds_parent_names *names, const char *path,
                              const char *own_path);

/** Into the contract's form. Of several, the first is tried once more at the
 * end, so that the error that remains is about it and not about a guess. */
void ds_parent_names_list(const struct ds_parent_names *names,
                          struct ds_parent *out);

#endif
