/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DS_CORE_OVERLAP_H
#define DS_CORE_OVERLAP_H

#include "disk.h"

/** CORRUPT when data of any file overlaps other data of the same layer or
 * its format's own records. */
int overlap_check(struct ds_disk *disk, struct ds_error *err);
int overlap_check_layer(struct ds_disk *disk, uint32_t layer,
                        struct ds_error *err);

#endif
