/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of ds_disk and ds_map, for the rest of core. */
#ifndef DS_CORE_DISK_H
#define DS_CORE_DISK_H

#include "format.h"

struct ds_disk {
    struct ds_image *image;
    bool quiet; /* opened for conversion: locked, flushed, remembered */
};

struct ds_map {
    struct ds_image *image;
    struct ds_cursor cursor;
    uint64_t position_bytes;  /* the guest offset read next */
    struct ds_extent pending; /* read ahead while merging */
    bool has_pending;
};

/** Open an image on a file that is open already, e.g. a target to be read
 * back. Takes ownership of `file`, also on failure. `format` may be NULL. */
int ds_disk_open_file(struct ds_file *file, const struct ds_format_ops *format,
                      const struct ds_open_options *options,
                      struct ds_disk **out, struct ds_error *err);

/** REFUSED when any file of the disk changed since it was made quiet. */
int ds_disk_check_unchanged(struct ds_disk *disk, struct ds_error *err);

#endif
