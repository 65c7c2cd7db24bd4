/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2.h"

static const char *const extensions[] = { ".qcow2", NULL };

/* Version 1 has the same magic; it is recognised here so that opening can
 * refuse it by name. */
static bool probe(const struct ds_probe *seen)
{
    ds_be32 magic;

    if (seen->head_bytes < sizeof(magic))
        return false;
    memcpy(&magic, seen->head, sizeof(magic));
    return ds_be32_get(magic) == QCOW2_MAGIC;
}

const struct ds_format_ops qcow2_format_ops = {
    .name = "qcow2",
    .summary = "QEMU copy-on-write image, versions 2 and 3",
    .extensions = extensions,
    .probe = probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .facts = qcow2_facts,
    .extent_at = qcow2_extent_at,
    .regions = qcow2_regions,
    .parent = qcow2_parent,
    .check = qcow2_check,
    .snapshots = qcow2_snapshots,
    .options = qcow2_target_options,
    .target_open = qcow2_target_open,
    .target_suffix = qcow2_target_suffix,
    .target_count = qcow2_target_count,
    .target_seal = qcow2_target_seal,
    .target_note = qcow2_target_note,
    .target_place = qcow2_target_place,
    .target_encoded = qcow2_target_encoded,
    .target_encoded_size = qcow2_target_encoded_size,
    .target_used = qcow2_target_used,
    .target_finish = qcow2_target_finish,
    .target_close = qcow2_target_close,
};
