/* SPDX-License-Identifier: Apache-2.0 */
#include "ova.h"

static const char *const extensions[] = { ".ova", NULL };

const struct ds_format_ops ova_format_ops = {
    .name = "ova",
    .summary = "OVF package: a disk inside, read in place",
    .extensions = extensions,
    .has_members = true,
    .probe = ova_probe,
    .open = ova_open,
    .close = ova_close,
    .facts = ova_facts,
    .check = ova_check,
    .snapshots = ova_snapshots,
    .extent_at = ova_extent_at,
    .regions = ova_regions,
};
