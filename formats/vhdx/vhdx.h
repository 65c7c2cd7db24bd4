/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of formats/vhdx share. */
#ifndef VHDX_H
#define VHDX_H

#include "parent_name.h"
#include "vhdx_disk.h"

/* -- decode, encode, check (vhdx_check.c) --------------------------------- */

/* In RFC 4122 order, as struct ds_guid has it. */
extern const struct ds_guid vhdx_region_bat_guid;
extern const struct ds_guid vhdx_region_metadata_guid;

/* The metadata items that we know, and how they must be (2.6.2). */
enum vhdx_item {
    VHDX_ITEM_FILE_PARAMETERS,
    VHDX_ITEM_VIRTUAL_DISK_SIZE,
    VHDX_ITEM_LOGICAL_SECTOR_SIZE,
    VHDX_ITEM_PHYSICAL_SECTOR_SIZE,
    VHDX_ITEM_VIRTUAL_DISK_ID,
    VHDX_ITEM_PARENT_LOCATOR
};
#define VHDX_ITEM_COUNT 6
#define VHDX_ITEM_NEEDED_COUNT 5 /* all but the parent locator */

struct vhdx_item_rule {
    struct ds_guid item_id;
    const char *name;
    uint32_t length_bytes; /* 0: any */
    uint32_t flags;
};
extern const struct vhdx_item_rule vhdx_item_rules[VHDX_ITEM_COUNT];

bool vhdx_guid_equal(const struct ds_guid *left, const struct ds_guid *right);
bool vhdx_guid_is_zero(const struct ds_guid *guid);
struct ds_guid vhdx_guid_get(vhdx_guid_disk wire);
vhdx_guid_disk vhdx_guid_make(const struct ds_guid *guid);

/** CRC-32C of a record whose checksum field, at byte 4, counts as zero. */
uint32_t vhdx_checksum(const void *record, size_t length_bytes);

/** Signature and checksum are right (2.2.2: "valid"). */
bool vhdx_header_valid(const struct vhdx_header_disk *wire);
struct vhdx_header vhdx_header_decode(const struct vhdx_header_disk *wire);
void vhdx_header_encode(const struct vhdx_header *header,
                        struct vhdx_header_disk *wire);
/** `file` and offsets are for messages; NULL and 0 for a record of ours. */
int vhdx_header_check(const struct vhdx_header *header,
                      const struct ds_file *file, uint64_t offset_bytes,
                      uint64_t file_size_bytes, struct ds_error *err);

struct vhdx_region_entry
vhdx_region_entry_decode(const struct vhdx_region_entry_disk *wire);
void vhdx_region_entry_encode(const struct vhdx_region_entry *entry,
                              struct vhdx_region_entry_disk *wire);
/** Alignment, inside the file. */
int vhdx_region_entry_check(const struct vhdx_region_entry *entry,
                            const struct ds_file *file, uint64_t offset_bytes,
                            uint64_t file_size_bytes, struct ds_error *err);

struct vhdx_metadata_entry
vhdx_metadata_entry_decode(const struct vhdx_metadata_entry_disk *wire);
void vhdx_metadata_entry_encode(const struct vhdx_metadata_entry *entry,
                                struct vhdx_metadata_entry_disk *wire);

int vhdx_parameters_check(const struct vhdx_parameters *parameters,
                          const struct ds_file *file, uint64_t offset_bytes,
                          struct ds_error *err);
struct vhdx_geometry
vhdx_geometry_make(const struct vhdx_parameters *parameters);

/** Where in the BAT a payload block's entry is: each chunk's entries are
 * followed by one for its sector bitmap (2.5). */
static inline uint64_t vhdx_bat_index(const struct vhdx_geometry *geometry,
                                      uint64_t block_index)
{
    return block_index + block_index / geometry->chunk_ratio;
}

/* -- log replay in memory (vhdx_log.c) ------------------------------------ */

/* Bytes that a log entry puts in place of the file's. */
struct vhdx_patch {
    uint64_t offset_bytes;
    uint64_t length_bytes;
    const uint8_t *bytes; /* NULL: zeros */
};

struct vhdx_overlay {
    struct vhdx_patch *patches; /* in the order they were logged */
    size_t patch_count;
    uint8_t *sectors; /* what patches point into */
    uint64_t entry_count;
    uint64_t file_bytes; /* the file is this long after the replay: what is
                            behind its end reads as zeros */
};

/** Find the log's active sequence and load it. */
int vhdx_log_load(struct ds_file *file, const struct vhdx_header *header,
                  struct ds_budget *budget, struct vhdx_overlay *out,
                  struct ds_error *err);
/** Put the patches over `bytes`, which were read at `offset_bytes`. */
void vhdx_overlay_apply(const struct vhdx_overlay *overlay,
                        uint64_t offset_bytes, uint8_t *bytes,
                        size_t length_bytes);
void vhdx_overlay_free(struct vhdx_overlay *overlay);

/* -- parents (vhdx_parent.c) ---------------------------------------------- */

/** What a differencing disk says of its parent. */
struct vhdx_parent {
    struct ds_guid linkage;  /* the parent's DataWriteGuid */
    struct ds_guid linkage2; /* that may be it as well; zero: none */
    uint64_t offset_bytes;   /* of the locator in the file */
    struct ds_parent_names names;
};

/* -- reading (vhdx_open.c, vhdx_read.c, vhdx_bitmap.c)
 * ----------------------------------- */

/* UTF-8 of the creator: three bytes for each UTF-16 unit at most. */
#define VHDX_CREATOR_TEXT_BYTES (3 * VHDX_CREATOR_UNITS + 1)

struct vhdx_image {
    struct ds_image image;
    char creator[VHDX_CREATOR_TEXT_BYTES];
    struct vhdx_header header;
    unsigned header_index; /* 1 or 2: the one that counts */
    bool header_valid[2];
    unsigned region_table_index;
    bool region_table_valid[2];
    struct ds_budget *budget;    /* while it is opened */
    struct vhdx_overlay overlay; /* empty when the log is */
    struct vhdx_region_entry *regions;
    size_t region_count;
    struct vhdx_region_entry bat;
    struct vhdx_region_entry metadata;
    uint32_t user_item_count;
    struct vhdx_parameters parameters;
    struct vhdx_geometry geometry;
    struct vhdx_parent *parent; /* differencing only, as the next */
    uint64_t *bitmap_offsets;   /* by chunk, in bytes; 0: no sector bitmap */
};

static inline bool vhdx_has_parent(const struct vhdx_image *vhdx)
{
    return (vhdx->parameters.flags & VHDX_HAS_PARENT) != 0;
}

/** The file's size, after the replay. */
static inline uint64_t vhdx_file_bytes(const struct vhdx_image *vhdx)
{
    return ds_max_u64(vhdx->overlay.file_bytes,
                      vhdx->image.files[0]->size_bytes);
}

/** ds_file_read of the file as the replayed log has it. */
int vhdx_read(struct vhdx_image *vhdx, uint64_t offset_bytes, void *buffer,
              size_t length_bytes, struct ds_error *err);
int vhdx_metadata_read(struct vhdx_image *vhdx, struct ds_error *err);

/** ds_window_view of the file as the replayed log has it. `noted` are two
 * numbers of the cursor's scratch, for this window alone. */
int vhdx_window_view(struct vhdx_image *vhdx, struct ds_window *window,
                     uint64_t noted[2], uint64_t offset_bytes, size_t least,
                     size_t most, const uint8_t **bytes, size_t *available,
                     struct ds_error *err);

/** The parent locator's `length_bytes` at `offset_bytes` of the file, into
 * vhdx->parent. */
int vhdx_parent_read(struct vhdx_image *vhdx, uint64_t offset_bytes,
                     uint32_t length_bytes, struct ds_error *err);
bool vhdx_parent(struct ds_image *image, struct ds_parent *out);
int vhdx_check_parent(struct ds_image *image, const struct ds_image *parent,
                      struct ds_error *err);

/** Read and check the sector bitmap entries of the whole BAT. */
int vhdx_bitmaps_load(struct vhdx_image *vhdx, struct ds_error *err);
/** Whether the range lies in one of the sector bitmap blocks. */
bool vhdx_bitmaps_hold(const struct vhdx_image *vhdx, uint64_t offset_bytes,
                       uint64_t length_bytes);
/** For byte `within` of the partially present `block_index`: whether the
 * sector is *here, and for how many bytes on that holds. */
int vhdx_bitmap_run(struct vhdx_image *vhdx, struct ds_cursor *cursor,
                    uint64_t block_index, uint64_t within, bool *here,
                    uint64_t *run_bytes, struct ds_error *err);

int vhdx_open(struct ds_file *file, const struct ds_open_context *context,
              struct ds_image **out, struct ds_error *err);
void vhdx_close(struct ds_image *image);
int vhdx_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                   uint64_t guest_offset_bytes, struct ds_extent *out,
                   struct ds_error *err);
int vhdx_regions(struct ds_image *image, ds_region_fn *region, void *user,
                 struct ds_error *err);
void vhdx_facts(struct ds_image *image, ds_fact_fn *fact, void *user);

/* -- checking (vhdx_inspect.c) -------------------------------------------- */

int vhdx_inspect(struct ds_image *image, ds_finding_fn *finding, void *user,
                 struct ds_error *err);

/* -- writing (vhdx_write.c) ----------------------------------------------- */

extern const struct ds_target_option vhdx_target_options[];
int vhdx_target_open(const struct ds_target_request *request,
                     struct ds_target **out, struct ds_error *err);
int vhdx_target_count(struct ds_target *target, const struct ds_unit_run *run,
                      struct ds_error *err);
int vhdx_target_seal(struct ds_target *target,
                     const struct ds_footprint *footprint, struct ds_seal *out,
                     struct ds_error *err);
int vhdx_target_place(struct ds_target *target, const struct ds_unit_run *run,
                      struct ds_emitter *emitter, struct ds_error *err);
int vhdx_target_finish(struct ds_target *target, struct ds_emitter *emitter,
                       struct ds_error *err);
void vhdx_target_close(struct ds_target *target);

/* The registry in engine/core declares it too. */
extern const struct ds_format_ops vhdx_format_ops;

#endif
