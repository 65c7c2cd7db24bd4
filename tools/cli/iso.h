/* SPDX-License-Identifier: Apache-2.0 */
/* A small ISO image with scripts, for a guest that no command reaches. */
#ifndef CLI_ISO_H
#define CLI_ISO_H

#include <stdbool.h>

#include <diskshift/diskshift.h>

/** Writes it by xorriso or genisoimage, whichever is found. */
int iso_write(const char *path, const struct ds_guest_scripts *scripts,
              bool force, struct ds_error *err);

#endif
