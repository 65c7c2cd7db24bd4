/* SPDX-License-Identifier: Apache-2.0 */
/* What `info` says of an image beyond format and size. */
#include "luks.h"
#include "qcow2.h"

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
    report_boolean(&to, "extended_l2", image->shape.extended);
    if (image->backing_name != NULL)
        report_text(&to, "backing_file", image->backing_name);
    if (image->backing_format != NULL)
        report_text(&to, "backing_format", image->backing_format);
    if (image->data_file_name != NULL) {
        report_text(&to, "data_file", image->data_file_name);
        report_boolean(
            &to, "data_file_raw",
            (header->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW) != 0);
    }
    report_boolean(&to, "encrypted", image->luks != NULL);
    if (image->luks != NULL) {
        report_text(&to, "encryption_cipher", luks_cipher(image->luks));
        report_text(&to, "encryption_hash", luks_hash(image->luks));
        report_boolean(&to, "encryption_unlocked",
                       luks_key(image->luks) != NULL);
    }
    if (image->snapshot_id != NULL)
        report_text(&to, "snapshot_id", image->snapshot_id);
    report_number(&to, "internal_snapshot_count", header->snapshot_count);
    report_number(&to, "bitmap_count", image->bitmap_count);
    report_number(&to, "header_length_bytes", header->header_length_bytes);
    report_number(&to, "l1_table_offset_bytes", image->l1_offset_bytes);
    report_number(&to, "l1_entry_count", image->l1_entry_count);
    report_number(&to, "refcount_table_offset_bytes",
                  header->refcount_table_offset_bytes);
    report_number(&to, "refcount_table_size_bytes",
                  header->refcount_table_clusters * image->shape.cluster_bytes);
}
