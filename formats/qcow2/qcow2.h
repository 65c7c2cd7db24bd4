/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of qcow2_format_ops, by file: see each declaration. */
#ifndef DS_QCOW2_H
#define DS_QCOW2_H

#include "qcow2_check.h"

struct luks_volume;

/** An open image. */
struct qcow2_image {
    struct ds_image base;
    struct qcow2_header header;
    struct qcow2_shape shape;
    /* The state that is read: the present one, or a snapshot's. */
    uint64_t *l2_offsets_bytes; /* l1_entry_count of them; 0: none */
    uint64_t l1_entry_count;
    uint64_t l1_offset_bytes;
    char *snapshot_id; /* NULL: the present state */
    /* From the header's extensions; NULL: none. */
    char *backing_name;
    const char *backing_format; /* in our words; NULL: not said */
    char *data_file_name;
    uint32_t data_file_index; /* into base.files; 0: this one */
    uint32_t bitmap_count;
    uint64_t bitmap_directory_offset_bytes;
    uint64_t bitmap_directory_bytes;
    struct luks_volume *luks; /* NULL: not encrypted */
    uint64_t luks_offset_bytes;
    uint64_t luks_bytes;
    /* check has told what is broken in the refcount table and the snapshots:
     * regions passes over it, so that it is not told again. */
    bool broken_told;
};

/* qcow2_read.c */
int qcow2_open(struct ds_file *file, const struct ds_open_context *context,
               struct ds_image **out, struct ds_error *err);
void qcow2_close(struct ds_image *image);

/* qcow2_names.c: other files, and the rest of the header's extensions */
int qcow2_names_read(struct qcow2_image *image, const uint8_t *bytes,
                     size_t length, struct ds_error *err);
bool qcow2_parent(struct ds_image *image, struct ds_parent *out);

/* qcow2_snapshots.c */
struct qcow2_snapshot_walk {
    struct qcow2_image *image;
    struct ds_window window;
    uint64_t next_bytes; /* where the next record begins */
    uint32_t index;      /* of the next record */
    uint64_t at_bytes;   /* the record that was read last */
    struct qcow2_snapshot snapshot;
};
void qcow2_snapshot_walk_begin(struct qcow2_snapshot_walk *walk,
                               struct qcow2_image *image);
void qcow2_snapshot_walk_end(struct qcow2_snapshot_walk *walk);
/** 1 with walk->snapshot, its L1 table checked; 0 at the end. */
int qcow2_snapshot_next(struct qcow2_snapshot_walk *walk, struct ds_error *err);
int qcow2_snapshots(struct ds_image *image, ds_snapshot_fn *snapshot,
                    void *user, struct ds_error *err);
/** Make the snapshot of this id, or else name, what is read. */
int qcow2_snapshot_select(struct qcow2_image *image, const char *wanted,
                          struct ds_error *err);

/* qcow2_bitmaps.c */
typedef int qcow2_bitmap_fn(void *user, const char *what, uint64_t offset_bytes,
                            uint64_t length_bytes, struct ds_error *err);
/** Name all clusters that dirty bitmaps take. CORRUPT: a pointer to them. */
int qcow2_visit_bitmaps(struct qcow2_image *image, qcow2_bitmap_fn *visit,
                        void *user, struct ds_error *err);

/* qcow2_map.c, qcow2_facts.c, qcow2_regions.c, qcow2_refcount.c */
void qcow2_facts(struct ds_image *image, ds_fact_fn *fact, void *user);
int qcow2_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                    uint64_t guest_offset_bytes, struct ds_extent *out,
                    struct ds_error *err);
int qcow2_regions(struct ds_image *image, ds_region_fn *region, void *user,
                  struct ds_error *err);
int qcow2_check(struct ds_image *image, ds_finding_fn *finding, void *user,
                struct ds_error *err);

/* qcow2_options.c, qcow2_target.c, qcow2_write.c, qcow2_write_refcounts.c,
 * qcow2_encode.c */
extern const struct ds_target_option qcow2_target_options[];
int qcow2_target_open(const struct ds_target_request *request,
                      struct ds_target **out, struct ds_error *err);
int qcow2_target_count(struct ds_target *target, const struct ds_unit_run *run,
                       struct ds_error *err);
const char *qcow2_target_note(const struct ds_target *target);
int qcow2_target_seal(struct ds_target *target,
                      const struct ds_footprint *footprint, struct ds_seal *out,
                      struct ds_error *err);
int qcow2_target_place(struct ds_target *target, const struct ds_unit_run *run,
                       struct ds_emitter *emitter, struct ds_error *err);
int qcow2_target_encoded(struct ds_target *target, uint64_t unit,
                         const void *stored, uint64_t stored_bytes,
                         struct ds_emitter *emitter, struct ds_error *err);
uint64_t qcow2_target_encoded_size(const struct ds_target *target);
int qcow2_target_used(struct ds_target *target, uint64_t offset_bytes,
                      uint64_t length_bytes, struct ds_emitter *emitter,
                      struct ds_error *err);
int qcow2_target_finish(struct ds_target *target, struct ds_emitter *emitter,
                        struct ds_error *err);
void qcow2_target_suffix(const struct ds_target *target, uint32_t index,
                         char suffix[DS_SUFFIX_BYTES]);
void qcow2_target_close(struct ds_target *target);

extern const struct ds_format_ops qcow2_format_ops;

#endif
