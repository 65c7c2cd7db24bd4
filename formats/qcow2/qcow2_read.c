/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: the header, the L1 table (held in memory, at most 32 MiB) and the
 * map. L2 tables are only looked at through the cursor's window.
 *
 *   guest offset:  | L1 index | L2 index | offset in the cluster |
 *                    the rest   bits - 3   cluster_bits
 *
 * Only the active L1 table is followed; snapshots are named by their count.
 */
#include "qcow2.h"

#include <inttypes.h>
#include <stdlib.h>

#include "cleanup.h"
#include "fail.h"

/* Reads what the file has of its first cluster. */
static int read_header_cluster(struct ds_file *file, uint64_t cluster_bytes,
                               uint8_t **out, size_t *length,
                               struct ds_error *err)
{
    ds_autofree uint8_t *bytes = NULL;
    int result;

    *length = (size_t)ds_min_u64(cluster_bytes, file->size_bytes);
    bytes = malloc(*length);
    if (bytes == NULL)
        return ds_fail_memory(err);
    result = ds_file_read(file, 0, bytes, *length, err);
    if (result == 0)
        *out = ds_steal(&bytes);
    return result;
}

static int read_header(struct qcow2_image *image, struct ds_error *err)
{
    struct ds_file *file = image->base.files[0];
    uint8_t bytes[sizeof(struct qcow2_header_disk)];
    size_t length = (size_t)ds_min_u64(sizeof(bytes), file->size_bytes);
    struct qcow2_header_disk magic = { 0 };
    int result = ds_file_read(file, 0, bytes, length, err);

    if (result != 0)
        return result;
    memcpy(&magic, bytes, length);
    if (ds_be32_get(magic.magic) != QCOW2_MAGIC)
        return ds_fail_at(err, file, 0, DS_ERR_CORRUPT,
                          "qcow2: header: magic, have 0x%08" PRIx32
                          " expect 0x%08" PRIx32,
                          ds_be32_get(magic.magic), QCOW2_MAGIC);
    qcow2_header_decode(bytes, length, &image->header);
    if (length < QCOW2_HEADER_V2_BYTES ||
        (image->header.version == 3 && length < QCOW2_HEADER_V3_BYTES_MIN))
        return ds_fail_at(err, file, length, DS_ERR_CORRUPT,
                          "qcow2: header: truncated file, have %zu bytes "
                          "expect %u",
                          length,
                          image->header.version == 3 ? QCOW2_HEADER_V3_BYTES_MIN
                                                     : QCOW2_HEADER_V2_BYTES);
    result = qcow2_header_check_form(&image->header, file, err);
    if (result != 0)
        return result;
    image->shape = (struct qcow2_shape){
        .file = file,
        .file_bytes = file->size_bytes,
        .cluster_bytes = UINT64_C(1) << image->header.cluster_bits,
        .version = image->header.version,
    };
    return 0;
}

static int read_extensions(struct qcow2_image *image, const uint8_t *bytes,
                           size_t length, struct ds_error *err)
{
    struct ds_file *file = image->base.files[0];
    struct qcow2_extension extension;
    struct qcow2_bitmaps_disk bitmaps;
    size_t offset = image->header.header_length_bytes;
    int more;

    while ((more = qcow2_extension_next(file, bytes, length, offset, &extension,
                                        err)) == 1) {
        if (extension.type == QCOW2_EXTENSION_BITMAPS &&
            extension.data_bytes >= sizeof(bitmaps)) {
            memcpy(&bitmaps, bytes + extension.data_offset, sizeof(bitmaps));
            image->bitmap_count = ds_be32_get(bitmaps.nb_bitmaps);
        }
        offset = extension.next_offset;
    }
    return more;
}

static int read_l1(struct qcow2_image *image, struct ds_error *err)
{
    struct ds_file *file = image->base.files[0];
    const uint64_t begin = image->header.l1_offset_bytes;
    const size_t count = image->header.l1_entry_count;
    ds_auto(ds_window_free) struct ds_window window = { 0 };
    const uint8_t *bytes;
    size_t available, i = 0;

    image->l2_offsets_bytes =
        malloc((count != 0 ? count : 1) * sizeof(*image->l2_offsets_bytes));
    if (image->l2_offsets_bytes == NULL)
        return ds_fail_memory(err);
    while (i < count) {
        int result = ds_window_view(
            &window, file, begin + i * sizeof(ds_be64), sizeof(ds_be64),
            (count - i) * sizeof(ds_be64), &bytes, &available, err);

        for (size_t at = 0; result == 0 && at < available;
             at += sizeof(ds_be64), i++) {
            ds_be64 entry;

            memcpy(&entry, bytes + at, sizeof(entry));
            result = qcow2_l1_entry_check(&image->shape, ds_be64_get(entry),
                                          begin + i * sizeof(ds_be64),
                                          &image->l2_offsets_bytes[i], err);
        }
        if (result != 0)
            return result;
    }
    return 0;
}

static int open_checked(struct qcow2_image *image, struct ds_error *err)
{
    struct ds_file *file = image->base.files[0];
    ds_autofree uint8_t *bytes = NULL;
    size_t length;
    int result = read_header(image, err);

    if (result != 0)
        return result;
    result = read_header_cluster(file, image->shape.cluster_bytes, &bytes,
                                 &length, err);
    if (result == 0)
        result = qcow2_features_check(&image->header, file, bytes, length, err);
    if (result == 0)
        result = read_extensions(image, bytes, length, err);
    if (result == 0)
        result = qcow2_header_check_tables(&image->header, &image->shape, err);
    if (result == 0)
        result = read_l1(image, err);
    image->base.size_bytes = image->header.size_bytes;
    return result;
}

int qcow2_open(struct ds_file *file, const struct ds_open_context *context,
               struct ds_image **out, struct ds_error *err)
{
    struct qcow2_image *image = calloc(1, sizeof(*image));
    int result;

    (void)context; /* backing and data files are refused */
    if (image == NULL)
        return ds_fail_memory(err);
    image->base.format = &qcow2_format_ops;
    image->base.file_count = 1;
    image->base.files[0] = file;
    result = open_checked(image, err);
    if (result != 0) {
        qcow2_close(&image->base);
        return result;
    }
    *out = &image->base;
    return 0;
}

void qcow2_close(struct ds_image *base)
{
    struct qcow2_image *image = (struct qcow2_image *)base;

    free(image->l2_offsets_bytes);
    free(image);
}

/* -- the map --------------------------------------------------------------- */

/* A stretch of L2 entries in view: neighbouring clusters of the guest. */
struct stretch {
    const uint8_t *bytes;
    size_t count;
    uint64_t at_bytes;    /* of the first entry, in the file */
    uint64_t first_guest; /* where its cluster begins */
};

static inline uint64_t entry_at(const struct stretch *stretch, size_t index)
{
    ds_be64 wire;

    memcpy(&wire, stretch->bytes + index * sizeof(wire), sizeof(wire));
    return ds_be64_get(wire);
}

/* Entries from the second on that are `step` above their predecessor, up to
 * `count`. With step 0: that are equal. This loop walks every cluster of a
 * disk, several times per conversion. */
static size_t run_length(const struct stretch *stretch, size_t count,
                         uint64_t step, uint64_t ignored_bits)
{
    uint64_t expect = entry_at(stretch, 0) & ~ignored_bits;
    size_t i;

    for (i = 1; i < count; i++) {
        expect += step;
        if ((entry_at(stretch, i) & ~ignored_bits) != expect)
            break;
    }
    return i;
}

/* The last of the L2 tables that follow `first`'s in the file without a gap,
 * as they do when we wrote them. The cursor remembers the answer. */
static uint64_t last_neighbour(const struct qcow2_image *image,
                               struct ds_cursor *cursor, uint64_t first)
{
    const uint64_t cluster_bytes = image->shape.cluster_bytes;
    const uint64_t *tables = image->l2_offsets_bytes;
    uint64_t *known_begin = &cursor->scratch[0];
    uint64_t *known_end = &cursor->scratch[1];
    uint64_t last = first;

    if (*known_begin <= first && first < *known_end)
        return *known_end - 1;
    while (last + 1 < image->header.l1_entry_count &&
           tables[last + 1] == tables[last] + cluster_bytes &&
           (last - first) * cluster_bytes < DS_WINDOW_BYTES_MAX)
        last++;
    *known_begin = first;
    *known_end = last + 1;
    return last;
}

/* Make the entries from `guest_offset`'s on visible: to the end of its L2
 * table, or on into its neighbours. */
static int view_l2(struct qcow2_image *image, struct ds_cursor *cursor,
                   uint64_t guest_offset, struct stretch *out,
                   struct ds_error *err)
{
    const uint64_t cluster_bytes = image->shape.cluster_bytes;
    const uint32_t bits = image->header.cluster_bits;
    uint64_t cluster = guest_offset >> bits;
    uint64_t first = cluster >> (bits - 3);
    uint64_t last = last_neighbour(image, cursor, first);
    uint64_t skip = cluster % (cluster_bytes / 8) * 8, most, left;
    size_t available;
    int result;

    out->first_guest = cluster << bits;
    out->at_bytes = image->l2_offsets_bytes[first] + skip;
    left = ds_div_up(image->base.size_bytes - out->first_guest, cluster_bytes);
    most = ds_min_u64((last - first + 1) * cluster_bytes - skip, left * 8);
    result = ds_window_view(&cursor->table, image->base.files[0], out->at_bytes,
                            sizeof(ds_be64), (size_t)most, &out->bytes,
                            &available, err);
    out->count = available / sizeof(ds_be64);
    return result;
}

/* No L2 table here: a hole up to the next one. */
static uint64_t l1_hole_end(const struct qcow2_image *image, uint64_t l1_index,
                            unsigned l1_shift)
{
    const uint64_t count = qcow2_l1_entry_count(image->base.size_bytes,
                                                image->header.cluster_bits);

    while (l1_index < count && image->l2_offsets_bytes[l1_index] == 0)
        l1_index++;
    return ds_min_u64(l1_index << l1_shift, image->base.size_bytes);
}

/* How many clusters of the stretch continue the first, which was checked and
 * is `entry`. The others are what the first is, with the offset that their
 * turn asks for, so they need no check but for the file's end. */
static size_t continued(const struct qcow2_image *image,
                        const struct stretch *stretch,
                        const struct qcow2_l2_entry *entry)
{
    const uint64_t cluster_bytes = image->shape.cluster_bytes;
    uint64_t whole;

    if (entry->kind != QCOW2_CLUSTER_DATA)
        return run_length(stretch, stretch->count, 0, 0);
    whole =
        (image->shape.file_bytes - entry->host_offset_bytes) / cluster_bytes;
    return run_length(stretch, (size_t)ds_min_u64(stretch->count, whole),
                      cluster_bytes, QCOW2_COPIED);
}

int qcow2_extent_at(struct ds_image *base, struct ds_cursor *cursor,
                    uint64_t guest_offset, struct ds_extent *out,
                    struct ds_error *err)
{
    struct qcow2_image *image = (struct qcow2_image *)base;
    const uint64_t cluster_bytes = image->shape.cluster_bytes;
    const unsigned l1_shift = 2 * image->header.cluster_bits - 3;
    struct qcow2_l2_entry entry;
    struct stretch stretch;
    uint64_t end, visible;
    int result;

    *out = (struct ds_extent){ .guest_offset_bytes = guest_offset,
                               .kind = DS_EXTENT_HOLE,
                               .file_index = DS_FILE_NONE };
    if (image->l2_offsets_bytes[guest_offset >> l1_shift] == 0) {
        end = l1_hole_end(image, guest_offset >> l1_shift, l1_shift);
        out->length_bytes = end - guest_offset;
        return 0;
    }
    result = view_l2(image, cursor, guest_offset, &stretch, err);
    if (result != 0)
        return result;
    visible = ds_min_u64(cluster_bytes, base->size_bytes - stretch.first_guest);
    result = qcow2_l2_entry_check(&image->shape, entry_at(&stretch, 0),
                                  stretch.at_bytes, visible, &entry, err);
    if (result != 0)
        return result;
    end = stretch.first_guest +
          continued(image, &stretch, &entry) * cluster_bytes;
    out->length_bytes = ds_min_u64(end, base->size_bytes) - guest_offset;
    if (entry.kind == QCOW2_CLUSTER_ZERO)
        out->kind = DS_EXTENT_ZERO;
    if (entry.kind == QCOW2_CLUSTER_DATA) {
        out->kind = DS_EXTENT_DATA;
        out->file_index = 0;
        out->file_offset_bytes =
            entry.host_offset_bytes + (guest_offset - stretch.first_guest);
    }
    return 0;
}

/* -- facts ----------------------------------------------------------------- */

struct reporter {
    ds_fact_fn *fact;
    void *user;
};

static void report_text(const struct reporter *to, const char *key,
                        const char *text)
{
    struct ds_fact fact = { .key = key, .text = text };

    to->fact(to->user, &fact);
}

static void report_number(const struct reporter *to, const char *key,
                          uint64_t number)
{
    struct ds_fact fact = { .key = key, .number = number };

    to->fact(to->user, &fact);
}

static void report_boolean(const struct reporter *to, const char *key, bool yes)
{
    struct ds_fact fact = { .key = key, .number = yes, .is_boolean = true };

    to->fact(to->user, &fact);
}

void qcow2_facts(struct ds_image *base, ds_fact_fn *fact, void *user)
{
    const struct qcow2_image *image = (const struct qcow2_image *)base;
    const struct qcow2_header *header = &image->header;
    const struct reporter to = { fact, user };

    report_number(&to, "version", header->version);
    report_text(&to, "compat", header->version == 2 ? "0.10" : "1.1");
    report_number(&to, "cluster_size_bytes", image->shape.cluster_bytes);
    report_number(&to, "refcount_bits", UINT64_C(1) << header->refcount_order);
    report_text(&to, "compression_type",
                header->compression_type == QCOW2_COMPRESSION_ZSTD ? "zstd"
                                                                   : "zlib");
    report_boolean(&to, "dirty",
                   (header->incompatible_features & QCOW2_INCOMPATIBLE_DIRTY) !=
                       0);
    report_boolean(
        &to, "lazy_refcounts",
        (header->compatible_features & QCOW2_COMPATIBLE_LAZY_REFCOUNTS) != 0);
    report_number(&to, "internal_snapshot_count", header->snapshot_count);
    report_number(&to, "bitmap_count", image->bitmap_count);
    report_number(&to, "header_length_bytes", header->header_length_bytes);
    report_number(&to, "l1_table_offset_bytes", header->l1_offset_bytes);
    report_number(&to, "l1_entry_count", header->l1_entry_count);
    report_number(&to, "refcount_table_offset_bytes",
                  header->refcount_table_offset_bytes);
    report_number(&to, "refcount_table_size_bytes",
                  header->refcount_table_clusters * image->shape.cluster_bytes);
}
