/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The insides of ds_disk and ds_map, for the rest of core.
 *
 * A disk is a chain of layers, of which there is mostly one:
 *
 *   layer 0  the named image     | D |  hole  | D |  hole  |
 *   layer 1  its parent          |   | D | hole   |Z|      |
 *   layer 2  the last            |       | D |      | hole |
 *   map                          | D | D | D  | D |Z| hole |
 *
 * A HOLE asks the next layer; where the last has one, or where a parent is
 * shorter than its child, the guest reads zeros. All files of all layers are
 * in one table, and the map's file_index points into that.
 *
 * A target that takes several disks gets them as one: each is a part, with
 * layers of its own, and the parts lie on one line. So one map, one plan and
 * one comparison serve any number of disks, of which there is mostly one.
 *
 *   line     0                begin            begin
 *   parts    | 0: a.vmdk      | 1: b.qcow2     | 2: c.raw |
 *            | its size |hole | its size |hole | its size |
 *
 * A part begins on DS_LINE_ALIGN_BYTES, so no unit of a target holds two.
 */
#ifndef DS_CORE_DISK_H
#define DS_CORE_DISK_H

#include "budget.h"
#include "format.h"

#define DS_CHAIN_DEPTH_MAX 64u
#define DS_DISK_FILE_COUNT_MAX 2080u
#define DS_DISK_LAYER_COUNT_MAX 1024u /* of all parts together */

/* What the first whole walk over a quiet disk found, if it is not much: a disk
 * that lies in order is one extent, however many pointers say so, and they
 * need not be read for each walk of a conversion. */
#define JOINED_COUNT_MAX 1024u

struct joined {
    uint64_t size_bytes; /* of the disk that was walked; so far, meanwhile */
    uint32_t count;
    struct ds_extent extents[JOINED_COUNT_MAX];
};

struct ds_layer {
    struct ds_image *image;
    uint32_t file_base;     /* of its files in ds_disk.files */
    const char *looks_like; /* raw by somebody's word, but with the header of
                               this format; NULL: with none */
};

struct ds_part {
    uint64_t begin_bytes; /* on the line */
    uint64_t size_bytes;  /* of the guest's disk */
    uint32_t first_layer;
    uint32_t layer_count;
};

struct ds_disk {
    struct ds_layer layers[DS_DISK_LAYER_COUNT_MAX];
    uint32_t layer_count;
    struct ds_part parts[DS_LINE_DISK_COUNT_MAX];
    uint32_t part_count;
    struct ds_file *files[DS_DISK_FILE_COUNT_MAX]; /* owned */
    uint32_t file_count;
    uint64_t size_bytes; /* of the line: where its last part ends */
    struct ds_budget budget;
    bool quiet; /* opened for conversion: locked, flushed, remembered */
    struct joined *joined; /* or NULL; set once, by whoever is first */
};

/** What of the budget for memory a bitmap of claims may take: there are two at
 * most. */
static inline uint64_t disk_claims_bytes(const struct ds_disk *disk)
{
    return disk->budget.memory_left_bytes / 4;
}

struct map_layer {
    struct ds_cursor cursor;
    struct ds_extent current; /* the layer's own answer, kept while it lasts */
};

struct ds_map {
    struct ds_disk *disk;
    struct ds_part layer;        /* what a map of one layer walks */
    const struct ds_part *parts; /* that, or the disk's */
    uint32_t part_count;
    uint32_t part_index;      /* where it was last */
    struct map_layer *layers; /* of that part */
    uint64_t size_bytes;
    uint64_t position_bytes;  /* the guest offset read next */
    uint32_t join_count_max;  /* answers of a format in one extent */
    struct ds_extent pending; /* read ahead while merging */
    bool has_pending;
    const struct joined *joined; /* the answers are here; or NULL */
    uint32_t joined_index;       /* the next of them, mostly */
    struct joined *record;       /* being made by this walk; or NULL */
};

/** Open an image on a file that is open already, e.g. a target to be read
 * back. Takes ownership of `file`, also on failure. `format` may be NULL. */
int ds_disk_open_file(struct ds_file *file, const struct ds_format_ops *format,
                      const struct ds_open_options *options,
                      struct ds_disk **out, struct ds_error *err);

/** A map of one layer alone, as if it had no parent. */
int map_open_layer(struct ds_disk *disk, uint32_t layer, struct ds_map **out,
                   struct ds_error *err);

/** End an extent after so many answers of its format, 1 at least; without this
 * it reaches as far as they continue each other. */
void map_join_at_most(struct ds_map *map, uint32_t count);

/** Members are opened by their number, from 1 on. */
#define DISK_MEMBER_BYTES 16u
const char *disk_member_name(uint32_t index, char name[DISK_MEMBER_BYTES]);
/** Of the named image. */
uint32_t disk_member_count(const struct ds_disk *disk);

/** The part that `position_bytes` of the line lies in, or behind. */
const struct ds_part *disk_part_at(const struct ds_disk *disk,
                                   uint64_t position_bytes);

/** REFUSED when any file of the disk changed since it was made quiet. */
int ds_disk_check_unchanged(struct ds_disk *disk, struct ds_error *err);

#endif
