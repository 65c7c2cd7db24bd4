/* SPDX-License-Identifier: Apache-2.0 */
/* An open image, for the files that read. */
#ifndef VHD_READ_H
#define VHD_READ_H

#include "parent_name.h"
#include "vhd.h"

/** Which footer is believed. */
enum vhd_footer_place {
    VHD_FOOTER_AT_END,
    VHD_FOOTER_AT_END_OLD, /* of 511 bytes */
    VHD_FOOTER_AT_HEAD     /* the copy: the end has none that is whole */
};

/** A dynamic disk's copy at 0, against the footer that is believed. */
enum vhd_copy_state { VHD_COPY_IDENTICAL, VHD_COPY_DIFFERS, VHD_COPY_DAMAGED };

/** A parent locator that we know and that lies in the file. */
struct vhd_locator {
    uint64_t offset_bytes;
    uint32_t length_bytes; /* 0: there is none */
};

/** What a differencing disk says of its parent. */
struct vhd_parent {
    struct vhd_locator locators[VHD_PARENT_LOCATOR_COUNT];
    struct ds_parent_names names;
    char unicode_name[DS_NAME_BYTES_MAX]; /* empty when it is no text */
};

struct vhd_image {
    struct ds_image base;
    struct vhd_footer footer;
    enum vhd_footer_place place;
    uint64_t footer_offset_bytes;
    enum vhd_copy_state copy; /* not when fixed, as the next two */
    struct vhd_header header;
    struct vhd_layout layout;  /* .data_end_bytes also when fixed */
    struct vhd_parent *parent; /* differencing only */
};

/** The parent locators and names of the header `disk`, which lies at
 * layout.header_offset_bytes; into image->parent. */
int vhd_parent_read(struct vhd_image *image, const struct vhd_header_disk *disk,
                    struct ds_budget *budget, struct ds_error *err);

#endif
