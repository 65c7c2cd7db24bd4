/* SPDX-License-Identifier: Apache-2.0 */
/* The format's table, how it is recognised, and what is told about it. */
#include <string.h>

#include "vhdx.h"

static bool probe(const struct ds_probe *probe)
{
    return probe->head_bytes >= 8 && memcmp(probe->head, "vhdxfile", 8) == 0;
}

struct teller {
    ds_fact_fn *fact;
    void *user;
};

static void tell_text(const struct teller *teller, const char *key,
                      const char *text)
{
    teller->fact(teller->user, &(struct ds_fact){ .key = key, .text = text });
}

static void tell_number(const struct teller *teller, const char *key,
                        uint64_t number)
{
    teller->fact(teller->user,
                 &(struct ds_fact){ .key = key, .number = number });
}

static void tell_boolean(const struct teller *teller, const char *key, bool yes)
{
    teller->fact(
        teller->user,
        &(struct ds_fact){ .key = key, .number = yes, .is_boolean = true });
}

static void tell_guid(const struct teller *teller, const char *key,
                      const struct ds_guid *guid)
{
    char text[DS_GUID_TEXT_BYTES];

    ds_guid_format(guid, text);
    tell_text(teller, key, text);
}

static void tell_places(const struct teller *teller,
                        const struct vhdx_image *vhdx)
{
    tell_number(teller, "header_sequence", vhdx->header.sequence_number);
    tell_boolean(teller, "header_1_valid", vhdx->header_valid[0]);
    tell_boolean(teller, "header_2_valid", vhdx->header_valid[1]);
    tell_boolean(teller, "region_table_1_valid", vhdx->region_table_valid[0]);
    tell_boolean(teller, "region_table_2_valid", vhdx->region_table_valid[1]);
    tell_number(teller, "log_offset_bytes", vhdx->header.log_offset_bytes);
    tell_number(teller, "log_bytes", vhdx->header.log_length_bytes);
    tell_boolean(teller, "log_dirty",
                 !vhdx_guid_is_zero(&vhdx->header.log_guid));
    tell_number(teller, "log_entries_replayed", vhdx->overlay.entry_count);
    tell_number(teller, "metadata_offset_bytes", vhdx->metadata.offset_bytes);
    tell_number(teller, "metadata_region_bytes", vhdx->metadata.length_bytes);
    tell_number(teller, "user_metadata_items", vhdx->user_item_count);
    tell_number(teller, "bat_offset_bytes", vhdx->bat.offset_bytes);
    tell_number(teller, "bat_region_bytes", vhdx->bat.length_bytes);
}

static void tell_parent(const struct teller *teller,
                        const struct vhdx_parent *parent)
{
    tell_guid(teller, "parent_linkage", &parent->linkage);
    if (!vhdx_guid_is_zero(&parent->linkage2))
        tell_guid(teller, "parent_linkage2", &parent->linkage2);
    if (parent->names.count > 0)
        tell_text(teller, "parent_path", parent->names.texts[0]);
}

void vhdx_facts(struct ds_image *image, ds_fact_fn *fact, void *user)
{
    const struct vhdx_image *vhdx = (const struct vhdx_image *)image;
    const struct vhdx_parameters *parameters = &vhdx->parameters;
    struct teller teller = { fact, user };
    bool fixed = (parameters->flags & VHDX_LEAVE_BLOCK_ALLOCATED) != 0;

    tell_text(&teller, "subformat",
              vhdx_has_parent(vhdx) ? "differencing"
              : fixed               ? "fixed"
                                    : "dynamic");
    tell_number(&teller, "version", vhdx->header.version);
    tell_text(&teller, "creator", vhdx->creator);
    tell_number(&teller, "block_bytes", parameters->block_bytes);
    tell_number(&teller, "logical_sector_bytes",
                parameters->logical_sector_bytes);
    tell_number(&teller, "physical_sector_bytes",
                parameters->physical_sector_bytes);
    tell_guid(&teller, "virtual_disk_id", &parameters->virtual_disk_id);
    tell_guid(&teller, "data_write_guid", &vhdx->header.data_write_guid);
    tell_guid(&teller, "file_write_guid", &vhdx->header.file_write_guid);
    tell_places(&teller, vhdx);
    if (vhdx->parent != NULL)
        tell_parent(&teller, vhdx->parent);
}

static const char *const extensions[] = { ".vhdx", NULL };

const struct ds_format_ops vhdx_format_ops = {
    .name = "vhdx",
    .summary = "Hyper-V virtual hard disk v2: fixed, dynamic, differencing "
               "(read)",
    .extensions = extensions,
    .probe = probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .facts = vhdx_facts,
    .parent = vhdx_parent,
    .check_parent = vhdx_check_parent,
    .check = vhdx_inspect,
    .extent_at = vhdx_extent_at,
    .regions = vhdx_regions,
    .options = vhdx_target_options,
    .target_open = vhdx_target_open,
    .target_count = vhdx_target_count,
    .target_seal = vhdx_target_seal,
    .target_place = vhdx_target_place,
    .target_finish = vhdx_target_finish,
    .target_close = vhdx_target_close,
};
