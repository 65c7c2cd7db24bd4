/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A disk is a map: for every range of the guest's disk, where the bytes are.
 *
 * Opening reads and checks headers and top tables only; each pointer below is
 * checked when the map walks over it. Nothing here writes.
 *
 * Thread-safety: a ds_disk may be used by several threads only through maps
 * of their own (ds_map_open); opening and closing is for one thread.
 *
 * The library confines nobody: a sandbox holds for a whole process and for
 * good, so it is its caller's to enter. The program shows how, before it opens
 * an image and again after: tools/cli/sandbox.h.
 */
#ifndef DISKSHIFT_DISK_H
#define DISKSHIFT_DISK_H

#include <stdbool.h>
#include <stddef.h>

#include <diskshift/error.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ds_extent_kind {
    DS_EXTENT_DATA,   /* the bytes lie as they are at file:file_offset */
    DS_EXTENT_ZERO,   /* reads as zeros, and says so; when file_index is not
                         DS_FILE_NONE the zeros can also be found there */
    DS_EXTENT_HOLE,   /* not allocated in this image; reads as zeros */
    DS_EXTENT_ENCODED /* compressed or encrypted; must be decoded */
};

#define DS_FILE_NONE UINT32_MAX

/** How the bytes of an ENCODED extent are to be decoded. */
enum ds_codec {
    DS_CODEC_NONE,
    DS_CODEC_DEFLATE, /* RFC 1951, no wrapper (qcow2) */
    DS_CODEC_ZLIB,    /* RFC 1950 (VMDK streams) */
    DS_CODEC_ZSTD,    /* RFC 8878, one frame */
    DS_CODEC_AES_XTS, /* sectors of 512 bytes, numbered from `sector` on */
    DS_CODEC_AES_CBC
};

/**
 * An ENCODED extent lies in a unit that is decoded as a whole: stored_bytes at
 * file:file_offset become unit_bytes, and the extent's bytes are those from
 * skip_bytes on. Ciphers decode sector by sector: there the extent stands for
 * itself, stored_bytes and unit_bytes equal its length and skip_bytes is 0.
 */
struct ds_encoding {
    enum ds_codec codec;
    uint64_t stored_bytes; /* at most; trailing bytes may not be ours */
    uint64_t unit_bytes;
    uint64_t unit_least_bytes; /* 0: exactly unit_bytes; else the unit, the
                                  last of a disk, may decode to fewer bytes
                                  but not to fewer than these */
    uint64_t skip_bytes;
    uint64_t sector; /* ciphers: the number of the first sector */
    const void *key; /* ciphers: belongs to the disk */
};

/** One piece of the guest's disk. Ranges are half-open; all is in bytes. */
struct ds_extent {
    uint64_t guest_offset_bytes;
    uint64_t length_bytes;
    enum ds_extent_kind kind;
    uint32_t file_index; /* into ds_disk_file_path; DS_FILE_NONE if nowhere */
    uint64_t file_offset_bytes;
    struct ds_encoding encoding; /* of ENCODED extents */
    uint32_t depth; /* the layer of the chain it lies in; 0: the named one */
};

struct ds_disk;
struct ds_map;

/**
 * How much one disk, with all its parents, may claim: LIMIT beyond it. 0 takes
 * the standard. What opening takes of memory is bounded by what its files
 * really hold as well; walking, comparing and converting take buffers of a
 * size that does not depend on the disk.
 */
struct ds_limits {
    uint64_t memory_bytes;       /* of tables held while it is open */
    uint64_t virtual_size_bytes; /* of the guest's disk, of each layer */
    uint64_t key_rounds;         /* of PBKDF2, in all slots that are tried:
                                    iterations times blocks of the hash */
};
#define DS_LIMIT_MEMORY_BYTES (UINT64_C(128) << 20)
/** The largest that Hyper-V makes, and above what VMware makes. */
#define DS_LIMIT_VIRTUAL_SIZE_BYTES (UINT64_C(64) << 40)
/** cryptsetup and QEMU aim at 2 s for a slot, up to some 10 million on fast
 * machines; this is some 10 to 30 s. */
#define DS_LIMIT_KEY_ROUNDS (UINT64_C(1) << 26)

struct ds_open_options {
    const char *format;     /* "vmdk" ...; NULL: found from the content */
    const char *allow_refs; /* a directory beneath which other files may be
                               opened; NULL: beside the named file only */
    const char *snapshot;   /* an internal snapshot, by name or id */
    const char *key_file;   /* holds the passphrase of an encrypted image */
    const char *member;     /* the disk inside a container (ova), by its id,
                               its file's name or its number from 1 on */
    bool all_members;       /* without `member`: all of a container's disks, as
                               if each were opened and appended */
    bool no_refs;           /* never open any file but the named one */
    bool for_conversion;    /* make it quiet: refuse when in use, flush it,
                               hold read locks, remember size and times */
    struct ds_limits limits;
};

/**
 * Open the image at `path`. `options` may be NULL. On success *out is owned
 * by the caller (ds_disk_close).
 * Errors: SYSTEM, CORRUPT, UNSUPPORTED, LIMIT, REFUSED (in use; ambiguous
 * content; reference outside the allowed directory), ARG (unknown format).
 */
DS_PUBLIC int ds_disk_open(const char *path,
                           const struct ds_open_options *options,
                           struct ds_disk **out, struct ds_error *err);
DS_PUBLIC void ds_disk_close(struct ds_disk *disk);

/**
 * Let `disk` stand for several, which a target that takes several holds
 * beside each other: those of `next` come behind its own. Before any map or
 * plan. `next` is the library's from here, also when it fails: LIMIT.
 */
DS_PUBLIC int ds_disk_append(struct ds_disk *disk, struct ds_disk *next,
                             struct ds_error *err);

/** The disks that it stands for, in order; one unless others were appended.
 * Strings live with the disk. */
struct ds_disk_part {
    const char *path;     /* of the named image */
    const char *format;   /* of that */
    uint64_t image_bytes; /* the guest's size in that */
    uint64_t size_bytes;  /* the same, or what it was extended to */
};
DS_PUBLIC uint32_t ds_disk_part_count(const struct ds_disk *disk);
/** -DS_ERR_ARG past the end. */
DS_PUBLIC int ds_disk_part(const struct ds_disk *disk, uint32_t index,
                           struct ds_disk_part *out);

/** The guest's size. A multiple of 512 (odd raw files are padded). Of several
 * disks: of the line that the map has them on, one behind the other. */
DS_PUBLIC uint64_t ds_disk_size_bytes(const struct ds_disk *disk);
DS_PUBLIC const char *ds_disk_format(const struct ds_disk *disk);

/** The files the map refers to; index 0 is the one that was named. */
DS_PUBLIC uint32_t ds_disk_file_count(const struct ds_disk *disk);
DS_PUBLIC const char *ds_disk_file_path(const struct ds_disk *disk,
                                        uint32_t file_index);

/** A fact about an image: text when `text` is set, else `number`. */
struct ds_fact {
    const char *key; /* lower case, words joined by '_'; unit as suffix */
    const char *text;
    uint64_t number;
    bool is_boolean; /* `number` is 0 or 1 and means no or yes */
};
typedef void ds_fact_fn(void *user, const struct ds_fact *fact);

/** Report the image's facts in a stable order. Facts live for the call. */
DS_PUBLIC int ds_disk_facts(struct ds_disk *disk, ds_fact_fn *fact, void *user,
                            struct ds_error *err);

/** The layers of the chain: 0 is the named image, each further one the
 * parent of the one before. */
DS_PUBLIC uint32_t ds_disk_layer_count(const struct ds_disk *disk);
DS_PUBLIC const char *ds_disk_layer_format(const struct ds_disk *disk,
                                           uint32_t layer);
DS_PUBLIC const char *ds_disk_layer_path(const struct ds_disk *disk,
                                         uint32_t layer);
DS_PUBLIC uint64_t ds_disk_layer_size_bytes(const struct ds_disk *disk,
                                            uint32_t layer);
DS_PUBLIC int ds_disk_layer_facts(struct ds_disk *disk, uint32_t layer,
                                  ds_fact_fn *fact, void *user,
                                  struct ds_error *err);

/** An internal snapshot of an image. Strings live for the call. */
struct ds_snapshot {
    const char *id;
    const char *name;
    int64_t created_seconds; /* since 1970 */
    uint64_t size_bytes;     /* the guest's disk then */
};
typedef int ds_snapshot_fn(void *user, const struct ds_snapshot *snapshot,
                           struct ds_error *err);
DS_PUBLIC int ds_disk_snapshots(struct ds_disk *disk, ds_snapshot_fn *snapshot,
                                void *user, struct ds_error *err);
/** Those of a layer further down, which ds_open_options.snapshot names when
 * that layer's own file is opened. */
DS_PUBLIC int ds_disk_layer_snapshots(struct ds_disk *disk, uint32_t layer,
                                      ds_snapshot_fn *snapshot, void *user,
                                      struct ds_error *err);

/** Let the guest's disk end at `size_bytes`, a multiple of 512 and not less
 * than it is: what is added reads as zeros. Before any map or plan. */
DS_PUBLIC int ds_disk_extend(struct ds_disk *disk, uint64_t size_bytes,
                             struct ds_error *err);

/** What is wrong with an image. */
struct ds_problem {
    bool is_leak;          /* room that nothing uses; else corruption */
    uint32_t file_index;   /* into ds_disk_file_path */
    uint64_t offset_bytes; /* in that file, or DS_OFFSET_NONE */
    const char *message;   /* lives for the call */
};
/** Return non-zero to stop. */
typedef int ds_problem_fn(void *user, const struct ds_problem *problem);
struct ds_check_report {
    uint64_t corruption_count;
    uint64_t leak_count;
    uint64_t data_bytes; /* by kind, as the map has them */
    uint64_t zero_bytes;
    uint64_t hole_bytes;
    uint64_t encoded_bytes;
};

/**
 * Walk every table of every layer and report all that is wrong; `problem`
 * may be NULL. Compressed units are not decoded. Errors are for what makes
 * going on impossible (SYSTEM, UNSUPPORTED); corruption is in the report.
 */
DS_PUBLIC int ds_disk_check(struct ds_disk *disk, ds_problem_fn *problem,
                            void *user, struct ds_check_report *report,
                            struct ds_error *err);

/** Start a map at guest offset 0. The disk must outlive it. */
DS_PUBLIC int ds_map_open(struct ds_disk *disk, struct ds_map **out,
                          struct ds_error *err);
DS_PUBLIC void ds_map_close(struct ds_map *map);

/**
 * The next extent in guest order, merged as far as guest and file continue.
 * Extents cover [0, size) without gaps. Returns 1 with *out filled, 0 at the
 * end, or a negated error class.
 */
DS_PUBLIC int ds_map_next(struct ds_map *map, struct ds_extent *out,
                          struct ds_error *err);

/** Continue at `guest_offset_bytes`, which lies in [0, size]. */
DS_PUBLIC void ds_map_seek(struct ds_map *map, uint64_t guest_offset_bytes);

/**
 * Read an extent's bytes from `skip_bytes` on, decoding what must be decoded;
 * ZERO and HOLE give zeros. For single reads: conversions and comparisons
 * have faster ways.
 */
DS_PUBLIC int ds_disk_read_extent(struct ds_disk *disk,
                                  const struct ds_extent *extent,
                                  uint64_t skip_bytes, void *buffer,
                                  size_t length_bytes, struct ds_error *err);

/** "deflate", "zstd" ... */
DS_PUBLIC const char *ds_codec_name(enum ds_codec codec);

/** "data", "zero", "hole", "encoded". */
DS_PUBLIC const char *ds_extent_kind_name(enum ds_extent_kind kind);

/** The formats known, for help texts. NULL past the end. */
struct ds_format_description {
    const char *name;
    const char *summary;
    bool can_write;
    bool takes_several; /* a target of it holds several disks */
};
DS_PUBLIC const struct ds_format_description *ds_format_describe(size_t index);

/** One option of a target format, for help texts. NULL past the end. */
struct ds_target_option {
    const char *key;
    const char *values;   /* "4096 to 2097152, a power of two" */
    const char *standard; /* the value taken when not given */
    const char *summary;
};
DS_PUBLIC const struct ds_target_option *ds_format_option(const char *format,
                                                          size_t index);

#ifdef __cplusplus
}
#endif
#endif
