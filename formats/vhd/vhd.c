/* SPDX-License-Identifier: Apache-2.0 */
#include "vhd.h"

static const char *const extensions[] = { ".vhd", NULL };

const struct ds_format_ops vhd_format_ops = {
    .name = "vhd",
    .summary = "Virtual PC, Virtual Server, Hyper-V, Azure: fixed, dynamic, "
               "differencing (read)",
    .extensions = extensions,
    .probe = vhd_probe,
    .open = vhd_open,
    .close = vhd_close,
    .facts = vhd_facts,
    .parent = vhd_parent,
    .check_parent = vhd_check_parent,
    .check = vhd_inspect,
    .extent_at = vhd_extent_at,
    .regions = vhd_regions,
    .options = vhd_target_options,
    .target_open = vhd_target_open,
    .target_count = vhd_target_count,
    .target_seal = vhd_target_seal,
    .target_note = vhd_target_note,
    .target_place = vhd_target_place,
    .target_used = NULL, /* layout.wants_used is never set */
    .target_finish = vhd_target_finish,
    .target_close = vhd_target_close,
};
