/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef VDI_H
#define VDI_H

#include "format.h"

#include "vdi_disk.h"

extern const struct ds_format_ops vdi_format_ops;

struct vdi_image {
    struct ds_image base;
    struct vdi_header header;
};

/* -- vdi_check.c ----------------------------------------------------------- */

/** Pure: no field is judged. Encode adds what has one value only. */
void vdi_header_decode(const struct vdi_header_disk *disk,
                       struct vdi_header *out);
void vdi_header_encode(const struct vdi_header *header,
                       struct vdi_header_disk *out);

/** The values, and that the map lies in a file of `file_bytes`. `file` may be
 * NULL (before encode). UNSUPPORTED by name: versions, types, extra bytes. */
int vdi_header_check(const struct vdi_header *header,
                     const struct ds_file *file, uint64_t file_bytes,
                     struct ds_error *err);

/** The map's entry `index`, neither FREE nor ZERO, names a block that lies in
 * the file as far as the guest sees it. *offset_bytes: where. */
int vdi_block_check(const struct vdi_header *header, uint32_t index,
                    uint32_t entry, const struct ds_file *file,
                    uint64_t *offset_bytes, struct ds_error *err);

/** The count of allocated blocks against the map: ds_format_ops.check. */
int vdi_check(struct ds_image *image, ds_finding_fn *finding, void *user,
              struct ds_error *err);

/* -- vdi_read.c ------------------------------------------------------------ */

bool vdi_probe(const struct ds_probe *probe);
int vdi_open(struct ds_file *file, const struct ds_open_context *context,
             struct ds_image **out, struct ds_error *err);
void vdi_close(struct ds_image *image);
void vdi_facts(struct ds_image *image, ds_fact_fn *fact, void *user);
int vdi_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                  uint64_t guest_offset_bytes, struct ds_extent *out,
                  struct ds_error *err);
int vdi_regions(struct ds_image *image, ds_region_fn *region, void *user,
                struct ds_error *err);

/* -- vdi_write.c ----------------------------------------------------------- */

extern const struct ds_target_option vdi_target_options[];

int vdi_target_open(const struct ds_target_request *request,
                    struct ds_target **out, struct ds_error *err);
int vdi_target_count(struct ds_target *target, const struct ds_unit_run *run,
                     struct ds_error *err);
int vdi_target_seal(struct ds_target *target,
                    const struct ds_footprint *footprint, struct ds_seal *out,
                    struct ds_error *err);
int vdi_target_place(struct ds_target *target, const struct ds_unit_run *run,
                     struct ds_emitter *emitter, struct ds_error *err);
int vdi_target_finish(struct ds_target *target, struct ds_emitter *emitter,
                      struct ds_error *err);
void vdi_target_close(struct ds_target *target);

#endif
