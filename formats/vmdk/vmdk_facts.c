/* SPDX-License-Identifier: Apache-2.0 */
/* What an administrator may want to know of a disk. */
#include "vmdk.h"

struct fact_sink {
    ds_fact_fn *fact;
    void *user;
};

static void text_fact(const struct fact_sink *sink, const char *key,
                      const char *text)
{
    struct ds_fact fact = { .key = key, .text = text };

    if (text != NULL)
        sink->fact(sink->user, &fact);
}

static void number_fact(const struct fact_sink *sink, const char *key,
                        uint64_t number)
{
    struct ds_fact fact = { .key = key, .number = number };

    sink->fact(sink->user, &fact);
}

static void boolean_fact(const struct fact_sink *sink, const char *key,
                         bool value)
{
    struct ds_fact fact = { .key = key, .number = value, .is_boolean = true };

    sink->fact(sink->user, &fact);
}

/* "damaged" says that the disk has lost a copy of its tables. */
static const char *redundant_state(const struct vmdk_sparse *sparse)
{
    if ((sparse->header.flags & VMDK_FLAG_REDUNDANT) == 0)
        return "none";
    return sparse->redundant_present ? "good" : "damaged";
}

static const char *sparse_kind(const struct vmdk_sparse *sparse)
{
    if (sparse->cowd)
        return "COWD";
    return vmdk_is_compressed(&sparse->header) ? "stream" : "hosted";
}

/* Of the first sparse extent; those of a split disk are alike. */
static void sparse_facts(const struct fact_sink *sink,
                         const struct vmdk_sparse *sparse)
{
    const struct vmdk_header *header = &sparse->header;

    text_fact(sink, "sparse_kind", sparse_kind(sparse));
    number_fact(sink, "header_version", header->version);
    number_fact(sink, "header_flags", header->flags);
    number_fact(sink, "capacity_bytes", header->capacity_bytes);
    number_fact(sink, "grain_size_bytes", header->grain_bytes);
    number_fact(sink, "grain_table_entries", header->entries_per_table);
    number_fact(sink, "grain_table_count", sparse->directory_entry_count);
    number_fact(sink, "grain_directory_offset_bytes",
                header->directory_offset_bytes);
    text_fact(sink, "grain_directory",
              sparse->redundant_used ? "damaged" : "good");
    if ((header->flags & VMDK_FLAG_REDUNDANT) != 0)
        number_fact(sink, "redundant_grain_directory_offset_bytes",
                    header->redundant_directory_offset_bytes);
    text_fact(sink, "redundant_grain_directory", redundant_state(sparse));
    number_fact(sink, "overhead_bytes", header->overhead_bytes);
}

static void sesparse_facts(const struct fact_sink *sink,
                           const struct vmdk_sesparse *sesparse)
{
    text_fact(sink, "sparse_kind", "seSparse");
    number_fact(sink, "capacity_bytes", sesparse->capacity_bytes);
    number_fact(sink, "grain_table_room", sesparse->table_count);
    number_fact(sink, "grains_offset_bytes", sesparse->grains_offset_bytes);
}

void vmdk_facts(struct ds_image *base, ds_fact_fn *fact, void *user)
{
    const struct vmdk_image *image = (const struct vmdk_image *)base;
    const struct vmdk_descriptor *descriptor = &image->descriptor;
    const struct fact_sink sink = { .fact = fact, .user = user };
    const struct vmdk_sparse *sparse = NULL;
    const struct vmdk_sesparse *sesparse = NULL;
    bool unclean = false, redundant_used = false;

    text_fact(&sink, "subformat", descriptor->create_type);
    text_fact(&sink, "descriptor_version", descriptor->version);
    boolean_fact(&sink, "descriptor_embedded", image->embedded);
    text_fact(&sink, "encoding", descriptor->encoding);
    text_fact(&sink, "cid", descriptor->cid);
    text_fact(&sink, "parent_cid", descriptor->parent_cid);
    text_fact(&sink, "parent_hint", descriptor->parent_hint);
    text_fact(&sink, "uuid", descriptor->uuid);
    text_fact(&sink, "adapter_type", descriptor->adapter_type);
    text_fact(&sink, "hardware_version", descriptor->hardware_version);
    number_fact(&sink, "extent_count", image->extent_count);
    for (size_t i = 0; i < image->extent_count; i++) {
        const struct vmdk_extent *extent = &image->extents[i];

        if (extent->kind == VMDK_EXTENT_SESPARSE && sesparse == NULL)
            sesparse = &extent->sesparse;
        if (extent->kind != VMDK_EXTENT_SPARSE)
            continue;
        if (sparse == NULL)
            sparse = &extent->sparse;
        unclean = unclean || extent->sparse.header.unclean_shutdown;
        redundant_used = redundant_used || extent->sparse.redundant_used;
    }
    if (sesparse != NULL)
        sesparse_facts(&sink, sesparse);
    if (sparse == NULL)
        return;
    boolean_fact(&sink, "unclean_shutdown", unclean);
    boolean_fact(&sink, "redundant_grain_directory_used", redundant_used);
    sparse_facts(&sink, sparse);
}
