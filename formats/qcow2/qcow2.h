/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of qcow2_format_ops, by file: qcow2_read.c, qcow2_regions.c,
 * qcow2_write.c. */
#ifndef DS_QCOW2_H
#define DS_QCOW2_H

#include "qcow2_check.h"

/** An open image. */
struct qcow2_image {
    struct ds_image base;
    struct qcow2_header header;
    struct qcow2_shape shape;
    uint64_t *l2_offsets_bytes; /* header.l1_entry_count of them; 0: none */
    uint32_t bitmap_count;
};

int qcow2_open(struct ds_file *file, const struct ds_open_context *context,
               struct ds_image **out, struct ds_error *err);
void qcow2_close(struct ds_image *image);
void qcow2_facts(struct ds_image *image, ds_fact_fn *fact, void *user);
int qcow2_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                    uint64_t guest_offset_bytes, struct ds_extent *out,
                    struct ds_error *err);
int qcow2_regions(struct ds_image *image, ds_region_fn *region, void *user,
                  struct ds_error *err);

extern const struct ds_target_option qcow2_target_options[];
int qcow2_target_open(const struct ds_target_request *request,
                      struct ds_target **out, struct ds_error *err);
int qcow2_target_count(struct ds_target *target, const struct ds_unit_run *run,
                       struct ds_error *err);
int qcow2_target_seal(struct ds_target *target,
                      const struct ds_footprint *footprint, struct ds_seal *out,
                      struct ds_error *err);
int qcow2_target_place(struct ds_target *target, const struct ds_unit_run *run,
                       struct ds_emitter *emitter, struct ds_error *err);
int qcow2_target_used(struct ds_target *target, uint64_t offset_bytes,
                      uint64_t length_bytes, struct ds_emitter *emitter,
                      struct ds_error *err);
int qcow2_target_finish(struct ds_target *target, struct ds_emitter *emitter,
                        struct ds_error *err);
void qcow2_target_close(struct ds_target *target);

extern const struct ds_format_ops qcow2_format_ops;

#endif
