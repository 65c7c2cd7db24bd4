/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef VHD_H
#define VHD_H

#include "format.h"

#include "vhd_disk.h"

extern const struct ds_format_ops vhd_format_ops;

/* -- vhd_check.c: encode, decode, validate -------------------------------- */

bool vhd_footer_cookie_is_valid(const struct vhd_footer_disk *disk);

/** One's complement of the sum of all bytes but the checksum's own. */
uint32_t vhd_footer_checksum(const struct vhd_footer_disk *disk);
uint32_t vhd_header_checksum(const struct vhd_header_disk *disk);

/** Pure: no field is judged. Encode sets cookie and checksum. */
void vhd_footer_decode(const struct vhd_footer_disk *disk,
                       struct vhd_footer *out);
void vhd_footer_encode(const struct vhd_footer *footer,
                       struct vhd_footer_disk *out);
void vhd_header_decode(const struct vhd_header_disk *disk,
                       struct vhd_header *out);
void vhd_header_encode(const struct vhd_header *header,
                       struct vhd_header_disk *out);

/** Cookie and checksum of a record that was read at `offset_bytes`. */
int vhd_footer_check_seal(const struct vhd_footer_disk *disk,
                          const struct ds_file *file, uint64_t offset_bytes,
                          struct ds_error *err);
int vhd_header_check_seal(const struct vhd_header_disk *disk,
                          const struct ds_file *file, uint64_t offset_bytes,
                          struct ds_error *err);

/** The values. `file` may be NULL (before encode). UNSUPPORTED by name:
 * deprecated types, other major versions. */
int vhd_footer_check(const struct vhd_footer *footer,
                     const struct ds_file *file, uint64_t offset_bytes,
                     struct ds_error *err);
/** ... that a dynamic disk of `size_bytes` has room in the table, too. */
int vhd_header_check(const struct vhd_header *header, uint64_t size_bytes,
                     const struct ds_file *file, uint64_t offset_bytes,
                     struct ds_error *err);

/** Whether the guest's size is C * H * S and not current_size. */
bool vhd_size_is_geometry(const struct vhd_footer *footer);
uint64_t vhd_size_bytes(const struct vhd_footer *footer);

/** The spec's appendix "CHS Calculation". */
void vhd_geometry_set(struct vhd_footer *footer, uint64_t size_bytes);

/** The bytes of a block's bitmap: one bit per sector, whole sectors. */
uint32_t vhd_bitmap_bytes(uint32_t block_bytes);

/* -- vhd_layout.c --------------------------------------------------------- */

/** Where a dynamic disk's records lie in its file. Ranges are half-open. */
struct vhd_layout {
    uint64_t head_end_bytes; /* of the footer's copy at 0 */
    uint64_t header_offset_bytes;
    uint64_t table_offset_bytes;
    uint64_t table_bytes;    /* whole sectors, as far as the file has them */
    uint64_t data_end_bytes; /* the end footer's begin, else the file's end */
    uint64_t floor_bytes;    /* all but the end footer lies before this */
    uint64_t size_bytes;     /* the guest's */
    uint32_t block_bytes;
    uint32_t bitmap_bytes;
    uint32_t block_count; /* of the guest's disk, not of the table */
};

/** The header lies between the footers, by header_offset_bytes. */
int vhd_layout_check_header(const struct vhd_layout *layout,
                            const struct ds_file *file, struct ds_error *err);
/** So does the BAT, apart from the header. */
int vhd_layout_check_table(const struct vhd_layout *layout,
                           const struct ds_file *file, struct ds_error *err);

/** The used BAT entry of block `index` names a range in the file that is
 * not one of the records. *bitmap_offset: where its bitmap begins. */
int vhd_block_check(const struct vhd_layout *layout, uint32_t index,
                    uint32_t entry, const struct ds_file *file,
                    uint64_t *bitmap_offset_bytes, struct ds_error *err);

/* -- vhd_read.c ----------------------------------------------------------- */

bool vhd_probe(const struct ds_probe *probe);
int vhd_open(struct ds_file *file, const struct ds_open_context *context,
             struct ds_image **out, struct ds_error *err);
void vhd_close(struct ds_image *image);
void vhd_facts(struct ds_image *image, ds_fact_fn *fact, void *user);

/* -- vhd_parent.c --------------------------------------------------------- */

bool vhd_parent(struct ds_image *image, struct ds_parent *out);
int vhd_check_parent(struct ds_image *image, const struct ds_image *parent,
                     struct ds_error *err);

/* -- vhd_inspect.c -------------------------------------------------------- */

int vhd_inspect(struct ds_image *image, ds_finding_fn *finding, void *user,
                struct ds_error *err);

/* -- vhd_map.c ------------------------------------------------------------ */

int vhd_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                  uint64_t guest_offset_bytes, struct ds_extent *out,
                  struct ds_error *err);
int vhd_regions(struct ds_image *image, ds_region_fn *region, void *user,
                struct ds_error *err);

/* -- vhd_write.c ---------------------------------------------------------- */

extern const struct ds_target_option vhd_target_options[];

int vhd_target_open(const struct ds_target_request *request,
                    struct ds_target **out, struct ds_error *err);
int vhd_target_count(struct ds_target *target, const struct ds_unit_run *run,
                     struct ds_error *err);
int vhd_target_seal(struct ds_target *target,
                    const struct ds_footprint *footprint, struct ds_seal *out,
                    struct ds_error *err);
int vhd_target_place(struct ds_target *target, const struct ds_unit_run *run,
                     struct ds_emitter *emitter, struct ds_error *err);
int vhd_target_finish(struct ds_target *target, struct ds_emitter *emitter,
                      struct ds_error *err);
const char *vhd_target_note(const struct ds_target *base);
void vhd_target_close(struct ds_target *target);

#endif
