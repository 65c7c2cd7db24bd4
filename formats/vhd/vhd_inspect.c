/* SPDX-License-Identifier: Apache-2.0 */
/* What `check` finds beyond what opening and the map refuse: footers that do
 * not agree, and blocks that the guest cannot reach. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arith.h"
#include "vhd_read.h"

struct inspection {
    ds_finding_fn *finding;
    void *user;
};

static int say(const struct inspection *inspection, bool is_leak,
               uint64_t offset_bytes, const char *message, struct ds_error *err)
{
    struct ds_finding finding = { is_leak, 0, offset_bytes, message };

    return inspection->finding(inspection->user, &finding, err);
}

static int inspect_footers(const struct vhd_image *image,
                           const struct inspection *inspection,
                           struct ds_error *err)
{
    if (image->place == VHD_FOOTER_AT_HEAD)
        return say(inspection, false,
                   image->base.files[0]->size_bytes - VHD_FOOTER_BYTES,
                   "vhd: footer: none that is whole at the end, have only the "
                   "copy at 0 expect both",
                   err);
    if (image->footer.disk_type == VHD_TYPE_FIXED ||
        image->copy == VHD_COPY_IDENTICAL)
        return 0;
    return say(inspection, false, 0,
               image->copy == VHD_COPY_DAMAGED
                   ? "vhd: footer copy: cookie or checksum is wrong, expect "
                     "the same as at the end"
                   : "vhd: footer copy: differs from the one at the end, "
                     "expect the same",
               err);
}

/* Entries behind the disk's last block: a resize that left blocks over. */
static int inspect_entries(struct vhd_image *image,
                           const struct inspection *inspection,
                           struct ds_error *err)
{
    const struct vhd_layout *layout = &image->layout;
    struct ds_window table = { 0 };
    uint32_t index = layout->block_count;
    int result = 0;

    while (result == 0 && index < image->header.max_table_entries) {
        uint64_t most = (uint64_t)(image->header.max_table_entries - index) *
                        VHD_BAT_ENTRY_BYTES;
        uint64_t at =
            layout->table_offset_bytes + (uint64_t)index * VHD_BAT_ENTRY_BYTES;
        const uint8_t *entries;
        size_t available = 0;

        result = ds_window_view(&table, image->base.files[0], at,
                                VHD_BAT_ENTRY_BYTES,
                                (size_t)ds_min_u64(most, DS_WINDOW_BYTES_MAX),
                                &entries, &available, err);
        for (size_t i = 0; result == 0 && i < available;
             i += VHD_BAT_ENTRY_BYTES, index++) {
            char message[160];
            ds_be32 entry;

            memcpy(&entry, entries + i, sizeof(entry));
            if (ds_be32_get(entry) == VHD_BAT_ENTRY_UNUSED)
                continue;
            (void)snprintf(message, sizeof(message),
                           "vhd: bat: entry %" PRIu32 " is beyond the disk, "
                           "have sector %" PRIu32 " expect unused",
                           index, ds_be32_get(entry));
            result = say(inspection, true, at + i, message, err);
        }
    }
    ds_window_free(&table);
    return result;
}

int vhd_inspect(struct ds_image *image, ds_finding_fn *finding, void *user,
                struct ds_error *err)
{
    struct vhd_image *vhd = (struct vhd_image *)image;
    const struct inspection inspection = { finding, user };
    int result = inspect_footers(vhd, &inspection, err);

    if (result == 0 && vhd->footer.disk_type != VHD_TYPE_FIXED)
        result = inspect_entries(vhd, &inspection, err);
    return result;
}
