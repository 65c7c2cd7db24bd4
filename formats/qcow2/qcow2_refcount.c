/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checking reference counts: what the image says against what is found.
 *
 *   for each stretch of clusters that the memory admits, from the next one
 *   on that anything refers to
 *       count all references into it
 *       read the image's counts up to its end:  more than found   a leak
 *                                               fewer             corrupt
 *       visit the active entries:        COPIED must be "the count is one"
 *
 * Clusters that nothing refers to and that have no refcount block are passed
 * over in stretches, so a sparse file takes what is in it.
 *
 * A pointer that cannot be followed hides references, and what they refer to
 * would look like a leak: then counts are not compared at all.
 */
#include "qcow2_refcount.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"
#include "fail.h"

int qcow2_report(struct qcow2_counting *counting, bool is_leak,
                 uint64_t offset_bytes, const char *message,
                 struct ds_error *err)
{
    const struct ds_finding finding = {
        .is_leak = is_leak,
        .offset_bytes = offset_bytes,
        .message = message,
    };

    return counting->finding(counting->user, &finding, err);
}

/* -- groups -----------------------------------------------------------------
 */

static bool is_in_use(const struct qcow2_counting *counting, uint64_t cluster)
{
    uint64_t group;

    if (cluster < counting->window_begin || cluster >= counting->window_end)
        return false;
    group = (cluster - counting->window_begin) / QCOW2_COUNT_GROUP_CLUSTERS;
    return (counting->in_use[group / 64] >> group % 64 & 1) != 0;
}

/* Any of [begin, end), which is at most a refcount block's. */
static bool any_in_use(const struct qcow2_counting *counting, uint64_t begin,
                       uint64_t end)
{
    begin = ds_max_u64(begin, counting->window_begin);
    end = ds_min_u64(end, counting->window_end);
    for (uint64_t i = begin; i < end; i += QCOW2_COUNT_GROUP_CLUSTERS)
        if (is_in_use(counting, i))
            return true;
    return begin < end && is_in_use(counting, end - 1);
}

static void use_group(struct qcow2_counting *counting, uint64_t cluster)
{
    uint64_t group =
        (cluster - counting->window_begin) / QCOW2_COUNT_GROUP_CLUSTERS;
    struct cluster_count *counts =
        counting->counts + group * QCOW2_COUNT_GROUP_CLUSTERS;

    if (is_in_use(counting, cluster))
        return;
    memset(counts, 0, QCOW2_COUNT_GROUP_CLUSTERS * sizeof(*counts));
    counting->in_use[group / 64] |= UINT64_C(1) << group % 64;
}

void qcow2_count_range(struct qcow2_counting *counting, uint64_t offset_bytes,
                       uint64_t length_bytes)
{
    const uint32_t bits = counting->image->header.cluster_bits;
    const uint64_t cluster_bytes = UINT64_C(1) << bits;
    uint64_t begin, end;

    if (length_bytes == 0)
        return;
    begin = ds_max_u64(offset_bytes >> bits, counting->window_begin);
    end = ds_div_up(offset_bytes + length_bytes, cluster_bytes);
    if (end > counting->window_end)
        counting->behind = ds_min_u64(counting->behind,
                                      ds_max_u64(begin, counting->window_end));
    end = ds_min_u64(end, counting->window_end);
    for (uint64_t i = begin; i < end; i++) {
        struct cluster_count *count =
            &counting->counts[i - counting->window_begin];

        use_group(counting, i);
        if (count->found < UINT32_MAX)
            count->found++;
    }
}

/* -- the image's counts ---------------------------------------------------- */

static int compare(struct qcow2_counting *counting, uint64_t cluster,
                   uint64_t stored, struct ds_error *err)
{
    struct cluster_count *count = NULL;
    uint64_t found = 0;
    char message[128];

    if (is_in_use(counting, cluster)) {
        count = &counting->counts[cluster - counting->window_begin];
        count->stored = (uint32_t)ds_min_u64(stored, UINT32_MAX);
        found = count->found;
    }
    if (stored == found)
        return 0;
    (void)snprintf(message, sizeof(message),
                   "qcow2: refcount of cluster %" PRIu64 ", have %" PRIu64
                   " expect %" PRIu64,
                   cluster, stored, found);
    return qcow2_report(counting, stored > found,
                        cluster << counting->image->header.cluster_bits,
                        message, err);
}

/* The counts of [begin, end), which one block holds; offset 0: all are 0. */
static int compare_block(struct qcow2_counting *counting, uint8_t *block,
                         uint64_t offset, uint64_t begin, uint64_t end,
                         struct ds_error *err)
{
    const struct qcow2_header *header = &counting->image->header;
    const uint64_t entries =
        qcow2_refcount_entries(header->cluster_bits, header->refcount_order);
    int result = 0;

    if (offset != 0)
        result =
            ds_file_read(counting->image->base.files[0], offset, block,
                         (size_t)counting->image->shape.cluster_bytes, err);
    for (uint64_t i = begin; result == 0 && i < end; i++)
        result = compare(counting, i,
                         offset == 0
                             ? 0
                             : qcow2_refcount_get(block, header->refcount_order,
                                                  i % entries),
                         err);
    return result;
}

static uint64_t block_count(const struct qcow2_image *image)
{
    return image->header.refcount_table_clusters * image->shape.cluster_bytes /
           8;
}

/* The block of the refcount table's entry `index`; 0 behind its end. */
static int find_block(struct qcow2_counting *counting, uint64_t index,
                      uint64_t *out, struct ds_error *err)
{
    const struct qcow2_image *image = counting->image;
    const uint64_t count = block_count(image);
    const uint64_t at = image->header.refcount_table_offset_bytes + index * 8;
    const uint8_t *bytes;
    size_t available;
    ds_be64 wire;
    int result;

    *out = 0;
    if (index >= count)
        return 0;
    result =
        ds_window_view(&counting->l1, image->base.files[0], at, 8,
                       (size_t)(count - index) * 8, &bytes, &available, err);
    if (result != 0)
        return result;
    memcpy(&wire, bytes, sizeof(wire));
    return qcow2_refcount_entry_check(&image->shape, ds_be64_get(wire), at, out,
                                      err);
}

/* One block's clusters from `cluster` on, or all up to the window where the
 * table has ended. */
static uint64_t compare_stop(const struct qcow2_counting *counting,
                             uint64_t cluster, uint64_t entries)
{
    uint64_t block = cluster / entries;

    if (block >= block_count(counting->image) &&
        cluster < counting->window_begin)
        return counting->window_begin;
    return (block + 1) * entries;
}

/* Those that are not yet, up to the window's end. */
static int compare_window(struct qcow2_counting *counting, struct ds_error *err)
{
    const struct qcow2_header *header = &counting->image->header;
    const uint64_t entries =
        qcow2_refcount_entries(header->cluster_bits, header->refcount_order);
    ds_autofree uint8_t *block =
        malloc((size_t)counting->image->shape.cluster_bytes);
    uint64_t cluster = counting->compared_end;
    int result = 0;

    if (block == NULL)
        return ds_fail_memory(err);
    while (result == 0 && cluster < counting->window_end) {
        uint64_t next = compare_stop(counting, cluster, entries);
        uint64_t end = ds_min_u64(next, counting->window_end);
        uint64_t offset;

        /* Counts behind the file's end are leaks of their own. */
        if (end == counting->file_clusters)
            end = next;
        result = find_block(counting, cluster / entries, &offset, err);
        if (result == 0 && offset == 0)
            end = ds_min_u64(end, counting->window_end);
        if (result == 0 && (offset != 0 || any_in_use(counting, cluster, end)))
            result = compare_block(counting, block, offset, cluster, end, err);
        cluster = end;
    }
    counting->compared_end = cluster;
    return result;
}

/* -- COPIED ---------------------------------------------------------------- */

/* Where count and references differ that is the fault, and reported. */
static int check_copied(struct qcow2_counting *counting, const char *what,
                        uint64_t raw, uint64_t at_bytes,
                        uint64_t host_offset_bytes, struct ds_error *err)
{
    const uint64_t cluster =
        host_offset_bytes >> counting->image->header.cluster_bits;
    const struct cluster_count *count;
    bool copied = (raw & QCOW2_COPIED) != 0, expect = false;
    char message[128];

    if (host_offset_bytes != 0) {
        if (!is_in_use(counting, cluster))
            return 0;
        count = &counting->counts[cluster - counting->window_begin];
        expect = count->found == 1;
        if (count->found != count->stored)
            return 0;
    } else if (!counting->first_window) {
        return 0;
    }
    if (copied == expect)
        return 0;
    (void)snprintf(message, sizeof(message),
                   "qcow2: %s at 0x%" PRIx64
                   ": COPIED, have %d expect %d as its refcount says",
                   what, host_offset_bytes, copied, expect);
    return qcow2_report(counting, false, at_bytes, message, err);
}

/* -- all of it ------------------------------------------------------------- */

static int check_window(struct qcow2_counting *counting, struct ds_error *err)
{
    int result;

    memset(counting->in_use, 0, sizeof(counting->in_use));
    result = qcow2_count_references(counting, err);
    if (result != 0 || counting->broken)
        return result;
    result = compare_window(counting, err);
    if (result == 0)
        result = qcow2_visit_active(counting, check_copied, err);
    return result;
}

/* What nothing refers to, up to the file's end. */
static int compare_rest(struct qcow2_counting *counting, struct ds_error *err)
{
    memset(counting->in_use, 0, sizeof(counting->in_use));
    counting->window_begin = counting->window_end = counting->file_clusters;
    return compare_window(counting, err);
}

int qcow2_check(struct ds_image *base, ds_finding_fn *finding, void *user,
                struct ds_error *err)
{
    struct qcow2_image *image = (struct qcow2_image *)base;
    struct qcow2_counting counting = {
        .image = image,
        .finding = finding,
        .user = user,
        .file_clusters =
            ds_div_up(image->shape.file_bytes, image->shape.cluster_bytes),
        .first_window = true,
    };
    const uint64_t step = ds_min_u64(
        ds_align_up(counting.file_clusters, QCOW2_COUNT_GROUP_CLUSTERS),
        QCOW2_COUNT_WINDOW_CLUSTERS);
    int result = 0;

    counting.counts = malloc((size_t)step * sizeof(*counting.counts));
    if (counting.counts == NULL)
        return ds_fail_memory(err);
    image->broken_told = true;
    while (result == 0 && !counting.broken &&
           counting.behind < counting.file_clusters) {
        counting.window_begin = counting.behind;
        counting.window_end =
            ds_min_u64(counting.window_begin + step, counting.file_clusters);
        counting.behind = UINT64_MAX;
        result = check_window(&counting, err);
        counting.first_window = false;
    }
    if (result == 0 && !counting.broken)
        result = compare_rest(&counting, err);
    free(counting.counts);
    ds_window_free(&counting.l1);
    ds_window_free(&counting.l2);
    return result;
}
