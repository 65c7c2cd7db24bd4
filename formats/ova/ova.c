/* SPDX-License-Identifier: Apache-2.0 */
#include "ova.h"

static const char *const extensions[] = { ".ova", ".ovf", NULL };

const struct ds_format_ops ova_format_ops = {
    .name = "ova",
    .summary = "OVF package (.ova, .ovf): the disks in it, read in place",
    .extensions = extensions,
    .has_members = true,
    .member_count = ova_member_count,
    .probe = ova_probe,
    .open = ova_open,
    .close = ova_close,
    .facts = ova_facts,
    .check = ova_check,
    .verify_source = ova_verify_source,
    .snapshots = ova_snapshots,
    .extent_at = ova_extent_at,
    .regions = ova_regions,
    .options = ova_target_options,
    .target_open = ova_target_open,
    .target_count = ova_target_count,
    .target_seal = ova_target_seal,
    .target_encoded = ova_target_encoded,
    .target_finish = ova_target_finish,
    .target_encoded_size = ova_target_encoded_size,
    .target_member = ova_target_member,
    .target_close = ova_target_close,
};
