/* SPDX-License-Identifier: Apache-2.0 */
/* An open image, for vhd_read.c and vhd_facts.c. */
#ifndef VHD_READ_H
#define VHD_READ_H

#include "vhd.h"

/** Which footer is believed. */
enum vhd_footer_place {
    VHD_FOOTER_AT_END,
    VHD_FOOTER_AT_END_OLD, /* of 511 bytes */
    VHD_FOOTER_AT_HEAD     /* the copy: the end has none that is whole */
};

/** A dynamic disk's copy at 0, against the footer that is believed. */
enum vhd_copy_state { VHD_COPY_IDENTICAL, VHD_COPY_DIFFERS, VHD_COPY_DAMAGED };

struct vhd_image {
    struct ds_image base;
    struct vhd_footer footer;
    enum vhd_footer_place place;
    uint64_t footer_offset_bytes;
    enum vhd_copy_state copy; /* dynamic only, as are the next two */
    struct vhd_header header;
    struct vhd_layout layout; /* .data_end_bytes also when fixed */
};

#endif
