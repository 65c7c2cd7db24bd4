/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map: from a guest offset to an extent.
 *
 *   guest offset:  | L1 index | L2 index        | offset in the cluster |
 *                    the rest   bits - 3 (or 4)   cluster_bits
 *
 * The inner loops compare an entry with its predecessor plus a cluster, so
 * only the first of a stretch is decoded and checked. Tables of a large disk
 * may be mostly holes of the file: once pages of zeros were met, what is a
 * hole is not read.
 */
#include "luks.h"
#include "qcow2.h"

#include <inttypes.h>

#include "fail.h"

/* A stretch of L2 entries in view: neighbouring clusters of the guest. */
struct stretch {
    const uint8_t *bytes;
    size_t count;
    unsigned entry_bytes; /* 8, extended 16 */
    uint64_t at_bytes;    /* of the first entry, in the file */
    uint64_t first_guest; /* where its cluster begins */
    bool is_hole;         /* all of it reads as zeros; `bytes` has one entry */
};

/* The cursor's scratch: [0] and [1] see last_neighbour, [2] whether pages of
 * zeros were met. */
#define PAGE_BYTES ((size_t)4096)

static inline uint64_t word_at(const uint8_t *bytes)
{
    ds_be64 wire;

    memcpy(&wire, bytes, sizeof(wire));
    return ds_be64_get(wire);
}

static inline uint64_t entry_at(const struct stretch *stretch, size_t index)
{
    return word_at(stretch->bytes + index * sizeof(ds_be64));
}

/* The first entries are equal, as far as whole pages show: how many. */
static size_t equal_entries(const struct stretch *stretch, size_t count)
{
    const size_t entry_bytes = stretch->entry_bytes;
    const size_t step = PAGE_BYTES / entry_bytes;
    size_t i = 1;

    while (count - i >= step &&
           memcmp(stretch->bytes + i * entry_bytes,
                  stretch->bytes + (i - 1) * entry_bytes, PAGE_BYTES) == 0)
        i += step;
    return i;
}

/* Entries from the second on that are `step` above their predecessor, up to
 * `count`. With step 0: that are equal. This loop walks every cluster of a
 * disk, several times per conversion. */
static size_t run_length(const struct stretch *stretch, size_t count,
                         uint64_t step, uint64_t ignored_bits)
{
    uint64_t expect = entry_at(stretch, 0) & ~ignored_bits;
    size_t i = step == 0 ? equal_entries(stretch, count) : 1;

    for (; i < count; i++) {
        expect += step;
        if ((entry_at(stretch, i) & ~ignored_bits) != expect)
            break;
    }
    return i;
}

/* The same with two words in an entry, the second of which does not change. */
static size_t run_length_extended(const struct stretch *stretch, size_t count,
                                  uint64_t step, uint64_t ignored_bits)
{
    const uint64_t subclusters = word_at(stretch->bytes + 8);
    uint64_t expect = word_at(stretch->bytes) & ~ignored_bits;
    size_t i = step == 0 ? equal_entries(stretch, count) : 1;

    for (; i < count; i++) {
        const uint8_t *bytes = stretch->bytes + i * 16;

        expect += step;
        if ((word_at(bytes) & ~ignored_bits) != expect ||
            word_at(bytes + 8) != subclusters)
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
    while (last + 1 < image->l1_entry_count &&
           tables[last + 1] == tables[last] + cluster_bytes &&
           (last - first) * cluster_bytes < DS_WINDOW_BYTES_MAX)
        last++;
    *known_begin = first;
    *known_end = last + 1;
    return last;
}

static bool is_viewed(const struct ds_window *window,
                      const struct ds_file *file, uint64_t at, size_t length)
{
    return window->file == file && at >= window->offset_bytes &&
           ds_range_fits(at - window->offset_bytes, length,
                         window->length_bytes);
}

/* Whether the entries from `at_bytes` on lie in a hole of the file, and to
 * where what is known holds. */
static bool in_hole(const struct qcow2_image *image, struct ds_cursor *cursor,
                    const struct stretch *stretch, uint64_t *length)
{
    uint64_t known = *length;
    bool hole;

    if (cursor->scratch[2] == 0 ||
        is_viewed(&cursor->table, image->base.files[0], stretch->at_bytes,
                  stretch->entry_bytes))
        return false;
    hole = ds_file_hole(&cursor->physical, image->base.files[0],
                        stretch->at_bytes, &known);
    if (known < stretch->entry_bytes)
        return false;
    if (known < *length)
        cursor->table.file = NULL; /* lest it reads on into the hole */
    *length = known;
    return hole;
}

/* Make the entries from `guest_offset`'s on visible: to the end of its L2
 * table, or on into its neighbours. */
static int view_l2(struct qcow2_image *image, struct ds_cursor *cursor,
                   uint64_t guest_offset, struct stretch *out,
                   struct ds_error *err)
{
    const uint64_t cluster_bytes = image->shape.cluster_bytes;
    const uint32_t bits = image->header.cluster_bits;
    const uint64_t cluster = guest_offset >> bits;
    const unsigned entry_bytes = qcow2_l2_entry_bytes(&image->shape);
    uint64_t first = guest_offset >> qcow2_l1_shift(&image->shape);
    uint64_t last = last_neighbour(image, cursor, first);
    uint64_t skip = cluster % (cluster_bytes / entry_bytes) * entry_bytes;
    static const uint8_t zeros[16];
    uint64_t most, left;
    size_t available;
    int result;

    out->first_guest = cluster << bits;
    out->at_bytes = image->l2_offsets_bytes[first] + skip;
    left = ds_div_up(image->base.size_bytes - out->first_guest, cluster_bytes);
    most = ds_min_u64((last - first + 1) * cluster_bytes - skip,
                      left * entry_bytes);
    out->entry_bytes = entry_bytes;
    out->is_hole = in_hole(image, cursor, out, &most);
    if (out->is_hole) {
        out->bytes = zeros;
        out->count = (size_t)most / entry_bytes;
        return 0;
    }
    result =
        ds_window_view(&cursor->table, image->base.files[0], out->at_bytes,
                       entry_bytes, (size_t)most, &out->bytes, &available, err);
    out->count = result == 0 ? available / entry_bytes : 0;
    return result;
}

/* No L2 table here: a hole up to the next one. */
static uint64_t l1_hole_end(const struct qcow2_image *image, uint64_t l1_index)
{
    const unsigned shift = qcow2_l1_shift(&image->shape);
    const uint64_t count =
        ds_div_up(image->base.size_bytes, UINT64_C(1) << shift);

    while (l1_index < count && image->l2_offsets_bytes[l1_index] == 0)
        l1_index++;
    return ds_min_u64(l1_index << shift, image->base.size_bytes);
}

/* How many clusters of the stretch continue the first, which was checked and
 * is `entry`. The others are what the first is, with the offset that their
 * turn asks for, so they need no check but for the file's end. */
static size_t continued(const struct qcow2_image *image,
                        const struct stretch *stretch,
                        const struct qcow2_l2_entry *entry)
{
    const struct qcow2_shape *shape = &image->shape;
    const uint64_t cluster_bytes = shape->cluster_bytes;
    uint64_t count = stretch->count, step = 0, ignored = 0;

    if (stretch->is_hole)
        return stretch->count;
    switch (entry->kind) {
    case QCOW2_CLUSTER_COMPRESSED:
    case QCOW2_CLUSTER_MIXED:
        return 1;
    case QCOW2_CLUSTER_HOLE:
    case QCOW2_CLUSTER_ZERO:
        /* Where such entries have an offset of their own each is checked. */
        if (entry->host_offset_bytes != 0 && shape->external)
            return 1;
        break;
    case QCOW2_CLUSTER_DATA:
        step = cluster_bytes;
        ignored = QCOW2_COPIED;
        count = ds_min_u64(count,
                           (shape->data_file_bytes - entry->host_offset_bytes) /
                               cluster_bytes);
        break;
    }
    return stretch->entry_bytes == 8
               ? run_length(stretch, (size_t)count, step, ignored)
               : run_length_extended(stretch, (size_t)count, step, ignored);
}

/* -- from an entry to an extent -------------------------------------------- */

static int fill_data(const struct qcow2_image *image, uint64_t file_offset,
                     struct ds_extent *out, struct ds_error *err)
{
    out->kind = DS_EXTENT_DATA;
    out->file_index = image->data_file_index;
    out->file_offset_bytes = file_offset;
    if (image->luks == NULL)
        return 0;
    if (luks_key(image->luks) == NULL)
        return ds_fail_at(err, image->base.files[0], image->luks_offset_bytes,
                          DS_ERR_ARG,
                          "qcow2: luks header: the image is encrypted, a key "
                          "file is needed");
    out->kind = DS_EXTENT_ENCODED;
    out->encoding = (struct ds_encoding){
        .codec = luks_codec(image->luks),
        .stored_bytes = out->length_bytes,
        .unit_bytes = out->length_bytes,
        .sector = file_offset / DS_SECTOR_BYTES,
        .key = luks_key(image->luks),
    };
    return 0;
}

static void fill_compressed(const struct qcow2_image *image,
                            const struct qcow2_l2_entry *entry, uint64_t skip,
                            struct ds_extent *out)
{
    out->kind = DS_EXTENT_ENCODED;
    out->file_index = 0;
    out->file_offset_bytes = entry->host_offset_bytes;
    out->encoding = (struct ds_encoding){
        .codec = image->header.compression_type == QCOW2_COMPRESSION_ZSTD
                     ? DS_CODEC_ZSTD
                     : DS_CODEC_DEFLATE,
        .stored_bytes = entry->stored_bytes,
        .unit_bytes = image->shape.cluster_bytes,
        .skip_bytes = skip,
    };
}

enum subcluster { SUB_HOLE, SUB_DATA, SUB_ZERO };

static enum subcluster subcluster_kind(uint64_t bits, unsigned index)
{
    if ((bits >> index & 1) != 0)
        return SUB_DATA;
    return (bits >> (QCOW2_SUBCLUSTER_COUNT + index) & 1) != 0 ? SUB_ZERO
                                                               : SUB_HOLE;
}

/* From `skip` bytes into a cluster of several kinds on, while one lasts. */
static int fill_mixed(const struct qcow2_image *image,
                      const struct qcow2_l2_entry *entry, uint64_t skip,
                      struct ds_extent *out, struct ds_error *err)
{
    const uint64_t sub_bytes =
        image->shape.cluster_bytes / QCOW2_SUBCLUSTER_COUNT;
    unsigned index = (unsigned)(skip / sub_bytes);
    enum subcluster kind = subcluster_kind(entry->subclusters, index);

    while (index < QCOW2_SUBCLUSTER_COUNT &&
           subcluster_kind(entry->subclusters, index) == kind)
        index++;
    out->length_bytes = ds_min_u64(out->length_bytes, index * sub_bytes - skip);
    if (kind == SUB_DATA)
        return fill_data(image, entry->host_offset_bytes + skip, out, err);
    if (kind == SUB_ZERO)
        out->kind = DS_EXTENT_ZERO;
    return 0;
}

static int fill(const struct qcow2_image *image,
                const struct qcow2_l2_entry *entry, uint64_t skip,
                struct ds_extent *out, struct ds_error *err)
{
    switch (entry->kind) {
    case QCOW2_CLUSTER_HOLE:
        return 0;
    case QCOW2_CLUSTER_ZERO:
        out->kind = DS_EXTENT_ZERO;
        return 0;
    case QCOW2_CLUSTER_DATA:
        return fill_data(image, entry->host_offset_bytes + skip, out, err);
    case QCOW2_CLUSTER_COMPRESSED:
        fill_compressed(image, entry, skip, out);
        return 0;
    case QCOW2_CLUSTER_MIXED:
        return fill_mixed(image, entry, skip, out, err);
    }
    return 0;
}

int qcow2_extent_at(struct ds_image *base, struct ds_cursor *cursor,
                    uint64_t guest_offset, struct ds_extent *out,
                    struct ds_error *err)
{
    struct qcow2_image *image = (struct qcow2_image *)base;
    const uint64_t cluster_bytes = image->shape.cluster_bytes;
    const uint64_t l1_index = guest_offset >> qcow2_l1_shift(&image->shape);
    struct qcow2_l2_entry entry;
    struct qcow2_l2_raw raw;
    struct stretch stretch;
    uint64_t end;
    size_t count;
    int result;

    *out = (struct ds_extent){ .guest_offset_bytes = guest_offset,
                               .kind = DS_EXTENT_HOLE,
                               .file_index = DS_FILE_NONE };
    if (image->l2_offsets_bytes[l1_index] == 0) {
        out->length_bytes = l1_hole_end(image, l1_index) - guest_offset;
        return 0;
    }
    result = view_l2(image, cursor, guest_offset, &stretch, err);
    if (result != 0)
        return result;
    raw = (struct qcow2_l2_raw){
        .descriptor = word_at(stretch.bytes),
        .subclusters =
            stretch.entry_bytes == 16 ? word_at(stretch.bytes + 8) : 0,
        .at_bytes = stretch.at_bytes,
        .guest_offset_bytes = stretch.first_guest,
        .visible_bytes =
            ds_min_u64(cluster_bytes, base->size_bytes - stretch.first_guest),
    };
    result = qcow2_l2_entry_check(&image->shape, &raw, &entry, err);
    if (result != 0)
        return result;
    count = continued(image, &stretch, &entry);
    if (raw.descriptor == 0 && count * stretch.entry_bytes >= PAGE_BYTES)
        cursor->scratch[2] = 1;
    end = stretch.first_guest + count * cluster_bytes;
    out->length_bytes = ds_min_u64(end, base->size_bytes) - guest_offset;
    return fill(image, &entry, guest_offset - stretch.first_guest, out, err);
}
