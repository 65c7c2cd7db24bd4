/* SPDX-License-Identifier: Apache-2.0 */
#include "vdi.h"

static const char *const extensions[] = { ".vdi", NULL };

const struct ds_format_ops vdi_format_ops = {
    .name = "vdi",
    .summary = "VirtualBox: normal (dynamic) and fixed",
    .extensions = extensions,
    .probe = vdi_probe,
    .open = vdi_open,
    .close = vdi_close,
    .facts = vdi_facts,
    .check = vdi_check,
    .extent_at = vdi_extent_at,
    .regions = vdi_regions,
    .options = vdi_target_options,
    .target_open = vdi_target_open,
    .target_count = vdi_target_count,
    .target_seal = vdi_target_seal,
    .target_place = vdi_target_place,
    .target_used = NULL, /* layout.wants_used is never set */
    .target_finish = vdi_target_finish,
    .target_close = vdi_target_close,
};
