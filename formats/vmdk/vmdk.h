/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef VMDK_H
#define VMDK_H

#include "format.h"
#include "vmdk_disk.h"

extern const struct ds_format_ops vmdk_format_ops;
extern const struct ds_target_option vmdk_target_options[];

/* -- vmdk_check.c: the header and the grain directories -------------------- */

struct vmdk_header vmdk_header_decode(const struct vmdk_header_disk *wire);
struct vmdk_header_disk vmdk_header_encode(const struct vmdk_header *header);

/** The rules of a header that is `file_bytes` of file away from its end.
 * `file` is for messages and may be NULL (a header of our own). */
int vmdk_header_check(const struct vmdk_header *header,
                      const struct ds_file *file, uint64_t file_bytes,
                      struct ds_error *err);

/** The part of it that COWD's headers are held to as well: grain size,
 * entries per table, capacity. */
int vmdk_sizes_check(const struct vmdk_header *header,
                     const struct ds_file *file, struct ds_error *err);

/** Whether the grains are compressed, each behind a marker. */
bool vmdk_is_compressed(const struct vmdk_header *header);

/** What follows from a checked header. */
uint64_t vmdk_table_span_bytes(const struct vmdk_header *header);
uint64_t vmdk_table_bytes(const struct vmdk_header *header);
uint64_t vmdk_directory_entry_count(const struct vmdk_header *header);

/** A sparse extent's file as its directories have it. */
struct vmdk_sparse {
    struct vmdk_header header;    /* COWD's too; of a stream the footer's */
    uint64_t header_bytes;        /* no grain and no table lies before this */
    uint64_t footer_offset_bytes; /* of its marker; 0: none */
    bool cowd;
    uint64_t directory_entry_count;
    uint64_t directory_offset_bytes; /* of the one in use */
    uint64_t table_bytes;
    unsigned grain_shift;      /* log2 of the grain's bytes */
    unsigned table_span_shift; /* and of a table's part of the guest */
    bool redundant_present;    /* and without fault */
    bool redundant_used;       /* the first one is damaged */
};

/** Walk both directories and choose the one to read by. */
int vmdk_directory_choose(struct ds_file *file, struct vmdk_sparse *sparse,
                          struct ds_error *err);

/* -- vmdk_sparse.c: sparse files ------------------------------------------- */

/** The kind of a sparse extent's file by its first 512 bytes. */
enum vmdk_sparse_kind {
    VMDK_SPARSE_NONE,
    VMDK_SPARSE_HOSTED, /* also streams */
    VMDK_SPARSE_COWD,
    VMDK_SPARSE_SESPARSE
};
enum vmdk_sparse_kind vmdk_sparse_kind(const uint8_t *bytes,
                                       size_t length_bytes);

/** Read and check the headers and directories of a hosted sparse file, a
 * stream or a COWD file. */
int vmdk_sparse_open(struct ds_file *file, struct vmdk_sparse *sparse,
                     struct ds_error *err);

/** Make *out, whose kind and file_offset name a grain's marker, what lies
 * behind that: ENCODED. `grain` is the grain's number in the extent,
 * `seen_bytes` what the guest sees of it. */
int vmdk_stream_grain(struct ds_file *file, const struct vmdk_sparse *sparse,
                      struct ds_window *window, uint64_t grain,
                      uint64_t seen_bytes, struct ds_extent *out,
                      struct ds_error *err);

/* -- vmdk_sesparse.c ------------------------------------------------------- */

/** A seSparse file in host values; offsets are into the file. */
struct vmdk_sesparse {
    uint64_t capacity_bytes;
    uint64_t directory_offset_bytes;
    uint64_t directory_entry_count;
    uint64_t tables_offset_bytes;
    uint64_t table_count; /* that there is room for */
    uint64_t grains_offset_bytes;
};

struct vmdk_image;
struct vmdk_extent;

int vmdk_sesparse_open(struct ds_file *file, struct vmdk_sesparse *sesparse,
                       struct ds_error *err);
/** As vmdk_extent_at, for an offset that counts from the extent's start. */
int vmdk_sesparse_extent_at(const struct vmdk_image *image,
                            const struct vmdk_extent *extent,
                            struct ds_cursor *cursor, uint64_t offset_bytes,
                            struct ds_extent *out, struct ds_error *err);
int vmdk_sesparse_regions(struct ds_file *file, uint32_t file_index,
                          ds_region_fn *region, void *user,
                          struct ds_error *err);

/* -- vmdk_descriptor.c: the text ------------------------------------------ */

enum vmdk_extent_kind {
    VMDK_EXTENT_FLAT,   /* FLAT and VMFS */
    VMDK_EXTENT_SPARSE, /* SPARSE and VMFSSPARSE, by the file's magic */
    VMDK_EXTENT_SESPARSE,
    VMDK_EXTENT_ZERO
};

/** One line of the extent description. */
struct vmdk_extent_line {
    enum vmdk_extent_kind kind;
    uint64_t length_bytes;
    uint64_t file_begin_bytes; /* FLAT only */
    const char *name;          /* in the descriptor's text; NULL: ZERO */
    uint64_t position_bytes;   /* of the line in its file, for messages */
};

/** A parsed descriptor. Strings point into `text`; NULL when absent. */
struct vmdk_descriptor {
    char *text; /* owned, as `lines` */
    struct vmdk_extent_line *lines;
    size_t line_count;
    size_t line_capacity;
    const char *version;
    const char *encoding;
    const char *cid;
    const char *parent_cid;
    const char *parent_hint;
    const char *create_type;
    const char *adapter_type;
    const char *hardware_version;
    const char *uuid;
};

/** Read `length_bytes` of text at `offset_bytes` and parse them. Whatever we
 * do not read (deltas, encryption, devices, streams) is refused by name. */
int vmdk_descriptor_read(struct ds_file *file, uint64_t offset_bytes,
                         uint64_t length_bytes, struct ds_budget *budget,
                         struct vmdk_descriptor *out, struct ds_error *err);
void vmdk_descriptor_free(struct vmdk_descriptor *descriptor);

/** A content id: 1 to 8 hexadecimal digits. */
bool vmdk_cid_parse(const char *text, uint32_t *out);
#define VMDK_CID_NONE UINT32_C(0xffffffff)

/** Whether the bytes begin like a descriptor. */
bool vmdk_descriptor_probe(const uint8_t *bytes, size_t length_bytes);

/** `name` as UTF-8 when the descriptor says windows-1252 and it has other
 * letters than ASCII. False: nothing to convert, or no room. */
bool vmdk_name_to_utf8(const struct vmdk_descriptor *descriptor,
                       const char *name, char *out, size_t out_bytes);

/* -- vmdk_read.c, vmdk_map.c ---------------------------------------------- */

struct vmdk_extent {
    enum vmdk_extent_kind kind;
    uint32_t file_index;
    uint64_t guest_begin_bytes;
    uint64_t length_bytes;
    uint64_t file_begin_bytes; /* FLAT */
    union {
        struct vmdk_sparse sparse;     /* SPARSE */
        struct vmdk_sesparse sesparse; /* SESPARSE */
    };
};

struct vmdk_image {
    struct ds_image image;
    struct vmdk_descriptor descriptor;
    bool embedded;               /* the descriptor lies in a sparse file */
    struct vmdk_extent *extents; /* by guest offset, without gaps */
    size_t extent_count;
    char *parent_name; /* the hint in UTF-8, when it is not that as it stands */
};

bool vmdk_probe(const struct ds_probe *probe);
int vmdk_open(struct ds_file *file, const struct ds_open_context *context,
              struct ds_image **out, struct ds_error *err);
void vmdk_close(struct ds_image *image);
void vmdk_facts(struct ds_image *image, ds_fact_fn *fact, void *user);
/* vmdk_inspect.c */
int vmdk_check(struct ds_image *image, ds_finding_fn *finding, void *user,
               struct ds_error *err);
/* vmdk_parent.c */
bool vmdk_parent(struct ds_image *image, struct ds_parent *out);
int vmdk_check_parent(struct ds_image *image, const struct ds_image *parent,
                      struct ds_error *err);
int vmdk_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                   uint64_t guest_offset_bytes, struct ds_extent *out,
                   struct ds_error *err);
int vmdk_regions(struct ds_image *image, ds_region_fn *region, void *user,
                 struct ds_error *err);

/* -- vmdk_write.c, vmdk_options.c, vmdk_text.c ----------------------------- */

enum vmdk_subformat {
    VMDK_MONOLITHIC_SPARSE,
    VMDK_MONOLITHIC_FLAT,
    VMDK_VMFS,
    VMDK_STREAM_OPTIMIZED,
    VMDK_SPLIT_SPARSE, /* twoGbMaxExtentSparse */
    VMDK_SPLIT_FLAT,   /* twoGbMaxExtentFlat */
    VMDK_OVERLAY       /* ours: FLAT lines into a file of any format */
};

/* 20 sectors, as the products reserve for an embedded descriptor. */
#define VMDK_TEXT_BYTES_MAX ((size_t)20 * 512)

/** An extent line of a descriptor of ours. */
struct vmdk_text_line {
    uint64_t size_bytes;
    const char *name;
    uint64_t offset_bytes; /* where the line's kind has one */
};

/** What a descriptor of ours says. */
struct vmdk_text {
    enum vmdk_subformat subformat;
    const char *adapter_type;
    uint32_t hardware_version;
    uint32_t cid;
    uint64_t size_bytes;
    const struct vmdk_text_line *lines; /* at least one */
    size_t line_count;
    const char *remark; /* a comment, or NULL */
};

/** The descriptor's text and its length, which is less than room_bytes.
 * Errors: ARG when a name cannot stand in one, LIMIT when it is too long. */
int vmdk_text_build(const struct vmdk_text *text, char *out, size_t room_bytes,
                    size_t *length_bytes, struct ds_error *err);

/** Fill the subformat, adapter and hardware version of `text`, and the grain
 * size, from the options or by default. */
int vmdk_options_parse(const struct ds_target_request *request,
                       struct vmdk_text *text, uint64_t *grain_bytes,
                       struct ds_error *err);

/* -- vmdk_grains.c: writing sparse extents --------------------------------- */

/* An extent of a split disk, as the hosted products make them: 2047 MiB. */
#define VMDK_SPLIT_BYTES (UINT64_C(4192256) * 512)

struct vmdk_grains;

/** Tables for a disk of one file, or (split_count) for each of its extents.
 * On failure *out is NULL or to be freed. */
int vmdk_grains_create(uint64_t size_bytes, uint64_t grain_bytes,
                       uint32_t split_count, struct vmdk_grains **out,
                       struct ds_error *err);
void vmdk_grains_free(struct vmdk_grains *grains);
struct ds_target_layout vmdk_grains_layout(const struct vmdk_grains *grains);
/** As the target's functions of like names. */
int vmdk_grains_count(struct vmdk_grains *grains, const struct ds_unit_run *run,
                      struct ds_error *err);
int vmdk_grains_seal(struct vmdk_grains *grains,
                     const struct ds_footprint *footprint, struct ds_seal *out,
                     struct ds_error *err);
int vmdk_grains_place(struct vmdk_grains *grains, const struct ds_unit_run *run,
                      struct ds_emitter *emitter, struct ds_error *err);
/** `descriptor`: VMDK_TEXT_BYTES_MAX bytes; not looked at for split disks. */
int vmdk_grains_finish(struct vmdk_grains *grains, const char *descriptor,
                       struct ds_emitter *emitter, struct ds_error *err);

/* -- vmdk_overlay.c: extent lines into a file as it lies ------------------- */

struct vmdk_overlay;

int vmdk_overlay_create(uint64_t size_bytes, struct vmdk_overlay **out,
                        struct ds_error *err);
void vmdk_overlay_free(struct vmdk_overlay *overlay);
struct ds_target_layout vmdk_overlay_layout(void);
int vmdk_overlay_count(struct vmdk_overlay *overlay,
                       const struct ds_unit_run *run, struct ds_error *err);
/** Make the lines, with the rest of the disk as zeros, and the sizes of the
 * files behind the descriptor. *file_count becomes how many are needed. The
 * lines live until the next call. */
int vmdk_overlay_seal(struct vmdk_overlay *overlay,
                      const struct ds_footprint *footprint,
                      struct vmdk_text *text, uint32_t *file_count,
                      struct ds_seal *out, struct ds_error *err);
/** What is to be said of the lines, or NULL. */
const char *vmdk_overlay_note(const struct vmdk_overlay *overlay);

/* -- vmdk_stream_write.c --------------------------------------------------- */

struct vmdk_stream;

int vmdk_stream_create(uint64_t size_bytes, struct vmdk_stream **out,
                       struct ds_error *err);
void vmdk_stream_free(struct vmdk_stream *stream);
struct ds_target_layout vmdk_stream_layout(void);
/** As the target's functions of like names. */
int vmdk_stream_seal(struct vmdk_stream *stream,
                     const struct ds_footprint *footprint,
                     const char *descriptor, size_t descriptor_bytes,
                     struct ds_seal *out, struct ds_error *err);
int vmdk_stream_put(struct vmdk_stream *stream, uint64_t grain,
                    const void *stored, uint64_t stored_bytes,
                    struct ds_emitter *emitter, struct ds_error *err);
int vmdk_stream_finish(struct vmdk_stream *stream, struct ds_emitter *emitter,
                       struct ds_error *err);
uint64_t vmdk_stream_size(const struct vmdk_stream *stream);

int vmdk_target_encoded(struct ds_target *target, uint64_t unit,
                        const void *stored, uint64_t stored_bytes,
                        struct ds_emitter *emitter, struct ds_error *err);
uint64_t vmdk_target_encoded_size(const struct ds_target *target);
void vmdk_target_suffix(const struct ds_target *target, uint32_t index,
                        char suffix[DS_SUFFIX_BYTES]);
int vmdk_target_open(const struct ds_target_request *request,
                     struct ds_target **out, struct ds_error *err);
int vmdk_target_count(struct ds_target *target, const struct ds_unit_run *run,
                      struct ds_error *err);
int vmdk_target_seal(struct ds_target *target,
                     const struct ds_footprint *footprint, struct ds_seal *out,
                     struct ds_error *err);
int vmdk_target_place(struct ds_target *target, const struct ds_unit_run *run,
                      struct ds_emitter *emitter, struct ds_error *err);
int vmdk_target_finish(struct ds_target *target, struct ds_emitter *emitter,
                       struct ds_error *err);
const char *vmdk_target_note(const struct ds_target *target);
void vmdk_target_close(struct ds_target *target);

#endif
