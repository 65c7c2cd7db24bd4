/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The border between the engine and the formats.
 *
 * A format does three things, all of them without knowing where files live
 * or how blocks are shared:
 *
 *   read    open() checks headers and top tables, extent_at() says where the
 *           bytes at a guest offset are, checking each pointer as it meets
 *           it, regions() names the ranges that hold the format's own tables
 *
 *   place   target_open() gives the rules of the target: its allocation
 *           unit, what its pointers can name, what lies at fixed places
 *
 *   tables  the planner walks the map twice in guest order. First pass:
 *           target_count() for each run of units that will be in the file;
 *           then target_seal() fixes where tables and data begin. Second
 *           pass: target_place() for the same runs, now with their offsets;
 *           target_used() for every used range in file order;
 *           target_finish() writes what is left. Tables go out through the
 *           emitter.
 *
 * The data file of a target:
 *
 *   0        head_bytes        area_start           data_start      file size
 *   | head   | the source as    | tables              | units in the  | tail
 *   | records| it lay (graft    | (metadata_bytes)    | order placed  | (VHD
 *   |        | only)            |                     |               | footer)
 *
 * Without a graft area_start == head_bytes, so range clone is the same thing
 * over an empty base. Identity targets (unit_bytes == 0: raw, flat, fixed)
 * have no tables before the data: guest offset == file offset. With
 * identity_units they have tables as well, in another file (a qcow2 over an
 * external data file).
 *
 * A split target has several data files, each for so much of the guest and
 * each laid out as above. Places then count on one line, on which the files
 * begin DS_SPLIT_STRIDE_BYTES apart:
 *
 *   place    0            stride         2 * stride
 *   files    | first file |   | second   |   | third ...
 */
#ifndef DS_BASE_FORMAT_H
#define DS_BASE_FORMAT_H

#include "store.h"

struct ds_format_ops;
struct ds_budget; /* budget.h */

/* -- reading ------------------------------------------------------------- */

/** Files one image may consist of. */
#define DS_IMAGE_FILE_COUNT_MAX 1040u

/** An open image. Formats embed this at the start of their own struct. */
struct ds_image {
    const struct ds_format_ops *format;
    uint64_t size_bytes; /* the guest's; a multiple of 512 */
    uint32_t file_count;
    struct ds_file *files[DS_IMAGE_FILE_COUNT_MAX]; /* owned by the disk;
                                               [0] is the one named */
};

/** What a format may look at to recognise a file. */
#define DS_PROBE_BYTES 4096u
struct ds_probe {
    const struct ds_file *file;
    uint8_t head[DS_PROBE_BYTES];
    size_t head_bytes;  /* fewer when the file is smaller */
    uint8_t tail[1024]; /* the file's last bytes */
    size_t tail_bytes;
};

/** What opening an image may do and is asked for. */
struct ds_open_context {
    const char *allow_directory; /* further files beneath it too; or NULL */
    bool no_refs;                /* no further files at all */
    const char *snapshot;        /* an internal snapshot's name or id, or NULL:
                                    the present state */
    const char *key_file;        /* holds the passphrase, or NULL */
    const char *member;          /* which disk of a container, or NULL: the
                                    only one. See ds_format_ops.has_members */
    struct ds_budget *budget;    /* tables that are held are counted in it;
                                    NULL: unbounded */
};

/** What a child says of its parent. Strings live with the image. */
#define DS_PARENT_NAME_COUNT_MAX 8u
struct ds_parent {
    const char *names[DS_PARENT_NAME_COUNT_MAX]; /* to be tried in order */
    size_t name_count;
    const char *format; /* NULL: from the content */
};

/** Open a file that the image's file 0 refers to by `name`, add it to
 * image->files and give its index. Used by formats; lives in base. */
int ds_image_add_file(struct ds_image *image,
                      const struct ds_open_context *context, const char *name,
                      uint32_t *file_index, struct ds_error *err);

/** What one walk over the map keeps between two calls. */
struct ds_cursor {
    struct ds_window table;
    struct ds_window table2;
    struct ds_physical_window physical;
    uint64_t scratch[4]; /* the format's own notes; zero at the start */
};

/* Compressed units beyond this are refused: 2 MiB is qcow2's largest cluster,
 * stream grains are 64 KiB. */
#define DS_ENCODED_UNIT_BYTES_MAX (UINT64_C(2) << 20)

/** A range that holds the format's own records. */
struct ds_region {
    uint32_t file_index;
    uint64_t offset_bytes;
    uint64_t length_bytes;
    const char *name; /* "l2 table", as an error message names it */
};
typedef int ds_region_fn(void *user, const struct ds_region *region,
                         struct ds_error *err);

/** Something wrong in an image, as `check` reports it. */
struct ds_finding {
    bool is_leak; /* room that nothing uses; else the image is corrupt */
    uint32_t file_index;
    uint64_t offset_bytes; /* or DS_OFFSET_NONE */
    const char *message;   /* "refcount block: have 2 expect 1" */
};
typedef int ds_finding_fn(void *user, const struct ds_finding *finding,
                          struct ds_error *err);

/* -- writing ------------------------------------------------------------- */

/** Where one of several disks lies on the line that a target of several gets
 * as its guest's disk. Between them are holes. */
struct ds_line_disk {
    uint64_t begin_bytes; /* a multiple of DS_LINE_ALIGN_BYTES */
    uint64_t size_bytes;  /* a multiple of 512 */
};
/** No unit is larger: see DS_ENCODED_UNIT_BYTES_MAX. */
#define DS_LINE_ALIGN_BYTES (UINT64_C(2) << 20)
#define DS_LINE_DISK_COUNT_MAX 64u

struct ds_target_request {
    const char *path;
    const char *const *options; /* "key=value" */
    size_t option_count;
    uint64_t size_bytes;              /* the guest's; a multiple of 512 */
    const struct ds_line_disk *disks; /* for formats with members: in order;
                                         the last ends at size_bytes */
    size_t disk_count;
};

/** 2 TiB in extents of 2047 MiB, and their descriptor. */
#define DS_TARGET_FILE_COUNT_MAX 1040u
#define DS_SUFFIX_BYTES 32u

/** See above; more than any file of a split target can hold. */
#define DS_SPLIT_STRIDE_BYTES (UINT64_C(1) << 32)

struct ds_target_layout {
    uint64_t unit_bytes;  /* power of two: cluster, grain, block; 0: identity */
    uint64_t align_bytes; /* a unit's offset is a multiple of this power of
                             two: what a pointer can name */
    uint64_t head_bytes;  /* fixed records at 0: no data before this; a
                             multiple of max(align_bytes, 4096) unless 0 */
    uint64_t gap_bytes;   /* the format's own bytes before each unit (VHD's
                             bitmap page), else 0; a multiple of 4096 */
    bool every_unit;      /* units of zeros take room too (VHDX fixed) */
    bool identity_units;  /* identity, and target_place is called */
    bool ends_with_data;  /* identity: the data file's size is the guest's */
    bool graftable;       /* units may stay where the source has them */
    bool can_refer;       /* the data file may be the source's own */
    bool lists_extents;   /* the tables are a list of long extents in a file
                             of their own: a graft is preferred, zeros that
                             lie in its base are units that stay, and
                             target_count gets the chosen strategy's runs at
                             their final places, once, before target_seal */
    bool allocate;        /* nothing of the files may stay a hole */
    bool wants_used;      /* target_used is to be called (refcounts) */
    enum ds_codec encode; /* units are compressed: target_encoded gets them
                             and there is no target_place; NONE otherwise */
    int encode_level;     /* for the codec; 0: its usual */
    uint32_t file_count;  /* 1, or more: descriptor and data */
    uint32_t data_file_index;   /* the first data file */
    uint64_t split_guest_bytes; /* 0: there is one data file. Else each holds
                             this much of the guest; a multiple of unit_bytes,
                             not graftable, no used ranges, not encoded */
};

/** `unit_count` units from `first_unit`, at file_offset_bytes and on,
 * `unit_bytes + gap_bytes` apart. Offsets point at the data, after the gap. */
struct ds_unit_run {
    uint64_t first_unit;
    uint64_t unit_count;
    uint64_t file_offset_bytes; /* in target_count: from data_start on, and
                                   meaningful for split targets only; final
                                   for those that list extents */
};

/** Known after the first pass. */
struct ds_footprint {
    uint64_t area_start_bytes; /* where tables may begin; aligned to
                                  max(align_bytes, 4096) */
    uint64_t relocated_bytes;  /* from data_start to the last unit's end,
                                  gaps included */
    uint64_t unit_count;       /* units placed in all */
    const char *file_names[DS_TARGET_FILE_COUNT_MAX]; /* as one file names the
                                    other: base names; absolute where the data
                                    file is the source's in another place */
    bool grafted; /* the data file begins as a clone: what is not written over
                     may hold old bytes in the head */
    bool refers;  /* the data file is the source's own: not to be written */
};

/** The format's answer. */
struct ds_seal {
    uint64_t metadata_bytes;   /* tables at area_start */
    uint64_t data_start_bytes; /* >= area_start + metadata; aligned to
                                  max(align_bytes, 4096) */
    uint64_t file_size_bytes[DS_TARGET_FILE_COUNT_MAX]; /* final sizes */
};

/** Where tables go. The bytes are copied before it returns. Writes that
 * continue each other are joined, so small ones in order are cheap. */
struct ds_emitter {
    int (*write)(struct ds_emitter *emitter, uint32_t target_index,
                 uint64_t offset_bytes, const void *bytes, size_t length_bytes,
                 struct ds_error *err);
    /** The same bytes as at its last call, at another place, both on pages:
     * shared with it where that can be, else written. They stay valid and
     * unchanged until target_finish has returned. NULL: write does. */
    int (*repeat)(struct ds_emitter *emitter, uint32_t target_index,
                  uint64_t offset_bytes, const void *bytes, size_t length_bytes,
                  struct ds_error *err);
};

static inline int ds_emit(struct ds_emitter *emitter, uint32_t target_index,
                          uint64_t offset_bytes, const void *bytes,
                          size_t length_bytes, struct ds_error *err)
{
    return emitter->write(emitter, target_index, offset_bytes, bytes,
                          length_bytes, err);
}

static inline int ds_emit_repeat(struct ds_emitter *emitter,
                                 uint32_t target_index, uint64_t offset_bytes,
                                 const void *bytes, size_t length_bytes,
                                 struct ds_error *err)
{
    if (emitter->repeat == NULL)
        return ds_emit(emitter, target_index, offset_bytes, bytes, length_bytes,
                       err);
    return emitter->repeat(emitter, target_index, offset_bytes, bytes,
                           length_bytes, err);
}

/** A target being laid out. Formats embed this at the start of their own. */
struct ds_target {
    const struct ds_format_ops *format;
    struct ds_target_layout layout;
};

/* -- the table ------------------------------------------------------------ */

struct ds_format_ops {
    const char *name;              /* "qcow2" */
    const char *summary;           /* one line for help */
    const char *const *extensions; /* ".qcow2" ..., NULL at the end */

    /** Containers of several disks: ds_open_context.member chooses one, and
     * a target takes several. */
    bool has_members;
    /** How many there are: "1" to this are members. NULL: one. */
    uint32_t (*member_count)(const struct ds_image *image);

    /** Whether the file is of this format. Raw says no to everything. */
    bool (*probe)(const struct ds_probe *probe);

    /** Check headers and top tables. `file` becomes image->files[0]. When
     * it fails it may leave *out set (the disk then closes all its files) or
     * NULL (then it has closed those it added, and the disk closes `file`). */
    int (*open)(struct ds_file *file, const struct ds_open_context *context,
                struct ds_image **out, struct ds_error *err);
    void (*close)(struct ds_image *image); /* frees, closes no file */

    /** Facts beyond format and size, which the disk reports itself. */
    void (*facts)(struct ds_image *image, ds_fact_fn *fact, void *user);

    /** Whether the image has a parent that its HOLEs ask; fills *out then.
     * NULL: the format has no chains. */
    bool (*parent)(struct ds_image *image, struct ds_parent *out);

    /** CORRUPT when `parent` is not the one that `image` was made over (CID,
     * unique id, time stamp, DataWriteGuid). NULL: nothing is recorded. */
    int (*check_parent)(struct ds_image *image, const struct ds_image *parent,
                        struct ds_error *err);

    /** Report everything wrong with the image's own records beyond what open
     * and extent_at refuse: refcounts, copies of tables, leaks. The engine
     * walks the map and looks for overlaps by itself. NULL: nothing more. */
    int (*check)(struct ds_image *image, ds_finding_fn *finding, void *user,
                 struct ds_error *err);

    /** Verify what a conversion will read against what the image itself says
     * of it (a digest in a manifest): CORRUPT when it differs. Before the
     * conversion; the engine sees to it that the source does not change then.
     * *note: what the report is to say of it. NULL: nothing is said. */
    int (*verify_source)(struct ds_image *image, ds_progress_fn *progress,
                         void *user, const char **note, struct ds_error *err);

    /** Name the internal snapshots, each of which can be opened by
     * ds_open_context.snapshot. NULL: the format has none. */
    int (*snapshots)(struct ds_image *image, ds_snapshot_fn *snapshot,
                     void *user, struct ds_error *err);

    /** The extent at `guest_offset` (< size), beginning exactly there, as
     * far as is cheap to tell; never beyond the size. */
    int (*extent_at)(struct ds_image *image, struct ds_cursor *cursor,
                     uint64_t guest_offset_bytes, struct ds_extent *out,
                     struct ds_error *err);

    /** Name every range of the format's own records, in any order. NULL for
     * formats without tables. Overlap with data is the engine's to find. */
    int (*regions)(struct ds_image *image, ds_region_fn *region, void *user,
                   struct ds_error *err);

    /** NULL-key-terminated; NULL when there are none. */
    const struct ds_target_option *options;

    /** NULL when the format cannot be written. ARG: bad option. LIMIT: the
     * format ends below this size. */
    int (*target_open)(const struct ds_target_request *request,
                       struct ds_target **out, struct ds_error *err);
    /** How the name of file `index` (> 0) ends: "-flat.vmdk" replaces the
     * extension of the target's name. NULL: the target has one file. */
    void (*target_suffix)(const struct ds_target *target, uint32_t index,
                          char suffix[DS_SUFFIX_BYTES]);
    int (*target_count)(struct ds_target *target, const struct ds_unit_run *run,
                        struct ds_error *err);
    /** May lower layout.file_count: the last files were not needed. */
    int (*target_seal)(struct ds_target *target,
                       const struct ds_footprint *footprint,
                       struct ds_seal *out, struct ds_error *err);
    /** The name in the container of disk `index` of the request; lives with
     * the target. NULL: the target is no container. */
    const char *(*target_member)(const struct ds_target *target,
                                 uint32_t index);
    /** A remark on what was sealed, for the plan and the report; lives with
     * the target. NULL, also as the answer: there is none. */
    const char *(*target_note)(const struct ds_target *target);
    int (*target_place)(struct ds_target *target, const struct ds_unit_run *run,
                        struct ds_emitter *emitter, struct ds_error *err);
    /** Only when layout.encode is set, instead of target_place: the stored
     * form of `unit`, in guest order. `stored` is the unit itself, unit_bytes
     * long, when it did not become smaller; for ZLIB it is always a zlib
     * stream. Refcounts are the format's own matter then (wants_used is
     * false), and the plan's units are an upper bound. In a dry pass `stored`
     * is NULL and stored_bytes an upper bound; the format then only keeps
     * account. */
    int (*target_encoded)(struct ds_target *target, uint64_t unit,
                          const void *stored, uint64_t stored_bytes,
                          struct ds_emitter *emitter, struct ds_error *err);
    /** Ranges in rising file order, never overlapping: head, what stayed in
     * place, tables, data. Only when layout.wants_used. */
    int (*target_used)(struct ds_target *target, uint64_t offset_bytes,
                       uint64_t length_bytes, struct ds_emitter *emitter,
                       struct ds_error *err);
    /** Everything not written yet: rest of tables, headers, footer. After
     * it the second pass may be run again from its start. */
    int (*target_finish)(struct ds_target *target, struct ds_emitter *emitter,
                         struct ds_error *err);
    /** Only when layout.encode is set: the data file's size after finish. */
    uint64_t (*target_encoded_size)(const struct ds_target *target);
    void (*target_close)(struct ds_target *target);
};

/* -- helpers for target options ------------------------------------------- */

/** The value of the last `key=value` in options, or NULL. */
const char *ds_option_get(const char *const *options, size_t option_count,
                          const char *key);

/** ARG naming the first option whose key is not in `known`. */
int ds_option_check(const char *format, const struct ds_target_option *known,
                    const char *const *options, size_t option_count,
                    struct ds_error *err);

/** `no` or `yes`; false when `text` is NULL, which is an option not given. */
int ds_option_switch(const char *format, const char *key, const char *text,
                     bool *out, struct ds_error *err);

/** A size with an optional suffix k, M, G, T (powers of 1024). */
int ds_option_size(const char *format, const char *key, const char *text,
                   uint64_t *out, struct ds_error *err);

#endif
