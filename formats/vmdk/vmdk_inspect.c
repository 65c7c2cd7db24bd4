/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `check` finds beyond what open and the map refuse: whether the two
 * sets of directories and tables of hosted sparse files are alike.
 *
 *   directory ---> tables  ---+
 *                             +-- entry by entry
 *   redundant ---> copies  ---+
 *
 * One finding for each file and kind, with a count and the first place. The
 * map reads by the first set, so a fault in the second loses no data yet; it
 * is told as corruption, since the next fault may.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arith.h"
#include "vmdk.h"

struct inspection {
    struct ds_file *file;
    uint32_t file_index;
    const struct vmdk_sparse *sparse;
    ds_finding_fn *finding;
    void *user;
    struct ds_window directories[2]; /* the first and the redundant one */
    struct ds_window tables[2];

    /* entries that differ */
    uint64_t count;
    uint64_t first_offset_bytes; /* in the copy */
    uint32_t first_have;
    uint32_t first_expect;
};

static int tell(const struct inspection *inspection, uint64_t offset_bytes,
                const char *message, struct ds_error *err)
{
    const struct ds_finding finding = {
        .file_index = inspection->file_index,
        .offset_bytes = offset_bytes,
        .message = message,
    };

    return inspection->finding(inspection->user, &finding, err);
}

static void note_difference(struct inspection *inspection,
                            uint64_t offset_bytes, uint32_t have,
                            uint32_t expect)
{
    if (inspection->count++ > 0)
        return;
    inspection->first_offset_bytes = offset_bytes;
    inspection->first_have = have;
    inspection->first_expect = expect;
}

static int tell_differences(struct inspection *inspection, const char *what,
                            struct ds_error *err)
{
    char message[160];

    if (inspection->count == 0)
        return 0;
    (void)snprintf(message, sizeof(message),
                   "%s: %" PRIu64 " entries are not as in the first, have "
                   "%" PRIu32 " expect %" PRIu32,
                   what, inspection->count, inspection->first_have,
                   inspection->first_expect);
    inspection->count = 0;
    return tell(inspection, inspection->first_offset_bytes, message, err);
}

/* The same stretch of both sets; *available is what can be seen of both. */
static int view_both(struct inspection *inspection, struct ds_window windows[2],
                     const uint64_t offsets[2], uint64_t left,
                     const vmdk_entry_disk *out[2], size_t *available,
                     struct ds_error *err)
{
    size_t most = (size_t)ds_min_u64(left, DS_WINDOW_BYTES_MAX);
    int result = 0;

    for (unsigned i = 0; i < 2 && result == 0; i++) {
        const uint8_t *bytes = NULL;

        result = ds_window_view(&windows[i], inspection->file, offsets[i],
                                VMDK_ENTRY_BYTES, most, &bytes, &most, err);
        out[i] = (const vmdk_entry_disk *)bytes;
    }
    *available = most;
    return result;
}

/* Two tables, that lie in the file as open has checked. */
static int compare_tables(struct inspection *inspection, uint64_t first,
                          uint64_t copy, struct ds_error *err)
{
    uint64_t length = inspection->sparse->table_bytes;
    int result = 0;

    for (uint64_t at = 0; result == 0 && at < length;) {
        const uint64_t offsets[2] = { first + at, copy + at };
        const vmdk_entry_disk *entries[2];
        size_t available = 0;

        result = view_both(inspection, inspection->tables, offsets, length - at,
                           entries, &available, err);
        if (result == 0 && memcmp(entries[0], entries[1], available) != 0)
            for (size_t i = 0; i < available / VMDK_ENTRY_BYTES; i++)
                if (memcmp(&entries[0][i], &entries[1][i], 4) != 0)
                    note_difference(inspection, offsets[1] + i * 4,
                                    ds_le32_get(entries[1][i]),
                                    ds_le32_get(entries[0][i]));
        at += available;
    }
    return result;
}

/* Walk both directories. `tables`: compare what both name; otherwise where
 * only one of them has a table. */
static int walk_directories(struct inspection *inspection, bool tables,
                            struct ds_error *err)
{
    const struct vmdk_header *header = &inspection->sparse->header;
    uint64_t length =
        inspection->sparse->directory_entry_count * VMDK_ENTRY_BYTES;
    int result = 0;

    for (uint64_t at = 0; result == 0 && at < length;) {
        const uint64_t offsets[2] = {
            header->directory_offset_bytes + at,
            header->redundant_directory_offset_bytes + at,
        };
        const vmdk_entry_disk *entries[2];
        size_t available = 0;

        result = view_both(inspection, inspection->directories, offsets,
                           length - at, entries, &available, err);
        for (size_t i = 0; result == 0 && i < available / VMDK_ENTRY_BYTES;
             i++) {
            uint32_t first = ds_le32_get(entries[0][i]);
            uint32_t copy = ds_le32_get(entries[1][i]);

            if (tables && first != 0 && copy != 0)
                result = compare_tables(inspection, first * UINT64_C(512),
                                        copy * UINT64_C(512), err);
            if (!tables && (first == 0) != (copy == 0))
                note_difference(inspection, offsets[1] + i * 4, copy, first);
        }
        at += available;
    }
    return result;
}

static int compare_sets(struct inspection *inspection, struct ds_error *err)
{
    int result = walk_directories(inspection, false, err);

    if (result == 0)
        result = tell_differences(inspection, "redundant grain directory", err);
    if (result == 0)
        result = walk_directories(inspection, true, err);
    if (result == 0)
        result = tell_differences(inspection, "redundant grain tables", err);
    return result;
}

static int inspect_sparse(struct inspection *inspection, struct ds_error *err)
{
    const struct vmdk_sparse *sparse = inspection->sparse;
    const struct vmdk_header *header = &sparse->header;

    if ((header->flags & VMDK_FLAG_REDUNDANT) == 0 ||
        header->redundant_directory_offset_bytes ==
            header->directory_offset_bytes)
        return 0;
    if (sparse->redundant_used)
        return tell(inspection, header->directory_offset_bytes,
                    "grain directory: damaged, have the redundant one in use "
                    "expect it whole",
                    err);
    if (!sparse->redundant_present)
        return tell(inspection, header->redundant_directory_offset_bytes,
                    "redundant grain directory: damaged, have only the first "
                    "expect both",
                    err);
    return compare_sets(inspection, err);
}

int vmdk_check(struct ds_image *base, ds_finding_fn *finding, void *user,
               struct ds_error *err)
{
    const struct vmdk_image *image = (const struct vmdk_image *)base;
    int result = 0;

    for (size_t i = 0; i < image->extent_count && result == 0; i++) {
        const struct vmdk_extent *extent = &image->extents[i];
        struct inspection inspection = {
            .file = base->files[extent->file_index],
            .file_index = extent->file_index,
            .sparse = &extent->sparse,
            .finding = finding,
            .user = user,
        };

        if (extent->kind != VMDK_EXTENT_SPARSE)
            continue;
        result = inspect_sparse(&inspection, err);
        for (unsigned k = 0; k < 2; k++) {
            ds_window_free(&inspection.directories[k]);
            ds_window_free(&inspection.tables[k]);
        }
    }
    return result;
}
