/* SPDX-License-Identifier: Apache-2.0 */
/* VMDK as the engine knows it. */
#include "vmdk.h"

static const char *const extensions[] = { ".vmdk", NULL };

const struct ds_format_ops vmdk_format_ops = {
    .name = "vmdk",
    .summary = "VMware virtual disk: sparse, flat, streams, vmfs, ESX deltas",
    .extensions = extensions,
    .probe = vmdk_probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .facts = vmdk_facts,
    .parent = vmdk_parent,
    .check_parent = vmdk_check_parent,
    .check = vmdk_check,
    .extent_at = vmdk_extent_at,
    .regions = vmdk_regions,
    .options = vmdk_target_options,
    .target_open = vmdk_target_open,
    .target_suffix = vmdk_target_suffix,
    .target_count = vmdk_target_count,
    .target_seal = vmdk_target_seal,
    .target_place = vmdk_target_place,
    .target_encoded = vmdk_target_encoded,
    .target_encoded_size = vmdk_target_encoded_size,
    .target_finish = vmdk_target_finish,
    .target_note = vmdk_target_note,
    .target_close = vmdk_target_close,
};
