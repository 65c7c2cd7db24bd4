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
 */
#ifndef DS_CORE_DISK_H
#define DS_CORE_DISK_H

#include "budget.h"
#include "format.h"

#define DS_CHAIN_DEPTH_MAX 64u
#define DS_DISK_FILE_COUNT_MAX 2080u

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

struct ds_disk {
    struct ds_layer layers[DS_CHAIN_DEPTH_MAX];
    uint32_t layer_count;
    struct ds_file *files[DS_DISK_FILE_COUNT_MAX]; /* owned */
    uint32_t file_count;
    uint64_t size_bytes;
    struct ds_budget budget;
    bool quiet; /* opened for conversion: locked, flushed, remembered */
    struct joined *joined; /* or NULL; set once, by whoever is first */
};

struct map_layer {
    struct ds_cursor cursor;
    struct ds_extent current; /* the layer's own answer, kept while it lasts */
};

struct ds_map {
    struct ds_disk *disk;
    uint32_t first_layer;     /* the view begins here ... */
    uint32_t layer_count;     /* ... and is so many layers deep */
    struct map_layer *layers; /* layer_count of them */
    uint64_t size_bytes;
    uint64_t position_bytes;  /* the guest offset read next */
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

/** REFUSED when any file of the disk changed since it was made quiet. */
int ds_disk_check_unchanged(struct ds_disk *disk, struct ds_error *err);

#endif
