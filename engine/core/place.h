/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement: the walk that turns the source's extents, in guest order, into
 * places in the target's data file.
 *
 *   extents --> placer --> units     which allocation units exist, and where
 *                      --> transfer  bytes to be brought there from a source
 *                      --> kept      bytes that lie right already (graft)
 *
 * One rule serves both strategies. A graft has a base: the source file whose
 * clone the target starts from. A whole unit that lies contiguous in the base
 * where a pointer can name it stays there; everything else is given the next
 * place in the data area. Without a base nothing stays, and that is a range
 * clone. Identity targets (raw, flat, fixed) differ in one thing only: the
 * place is the guest offset.
 *
 * A split target is a change of coordinates at its files' borders, nothing
 * more: the next place jumps to the next file.
 *
 * Both passes of a plan run this same code, so what the first counts is what
 * the second emits. In the first data_start is 0: only differences and
 * remainders of offsets matter then.
 *
 * Invariants: units come in guest order, each at most once. Relocated units
 * rise in the file. Transfers are the longest possible: joined while source
 * and target both continue.
 */
#ifndef DS_CORE_PLACE_H
#define DS_CORE_PLACE_H

#include "disk.h"

/** Whether a place is given by the guest offset alone. */
static inline bool layout_is_identity(const struct ds_target_layout *layout)
{
    return layout->unit_bytes == 0 || layout->identity_units;
}

/** An identity target's place for a guest offset. */
static inline uint64_t layout_place(const struct ds_target_layout *layout,
                                    uint64_t guest)
{
    uint64_t split = layout->split_guest_bytes;

    return split == 0 ? guest
                      : guest / split * DS_SPLIT_STRIDE_BYTES + guest % split;
}

struct transfer {
    uint32_t file_index;
    uint64_t source_offset_bytes;
    uint64_t target_offset_bytes;
    uint64_t length_bytes;
    uint64_t data_bytes;             /* without the holes it passes over */
    const struct ds_extent *encoded; /* not NULL: to be decoded, and the source
                                        offset counts from its beginning */
};

/** Who is not interested in something leaves it NULL. */
struct placer_sink {
    int (*units)(void *user, const struct ds_unit_run *run,
                 struct ds_error *err);
    int (*transfer)(void *user, const struct transfer *transfer,
                    struct ds_error *err);
    int (*kept)(void *user, uint64_t offset_bytes, uint64_t length_bytes,
                uint64_t data_bytes, struct ds_error *err);
};

struct placer {
    const struct ds_target_layout *layout;
    const struct ds_clone_domain *domains; /* by source file */
    uint32_t base_index;                   /* DS_FILE_NONE: range clone */
    uint64_t data_start_bytes;             /* 0 in the first pass */
    const struct placer_sink *sink;
    void *user;

    uint64_t next_bytes;   /* the next free place, after data_start */
    uint64_t next_unit;    /* identity_units: those before are handed out */
    uint64_t partial_unit; /* the unit being filled piecewise */
    uint64_t partial_offset_bytes;
    bool has_partial;
    struct ds_unit_run run; /* not handed out yet */
    struct transfer pending;
    uint64_t pending_zero_bytes; /* a hole behind it, in case data follows */
};

/** Fill in the first six members before. */
void placer_start(struct placer *placer);
int placer_add(struct placer *placer, const struct ds_extent *extent,
               struct ds_error *err);
/** Hand out what is still pending. */
int placer_finish(struct placer *placer, struct ds_error *err);

/** All of these over the whole disk. */
int placer_run(struct placer *placer, struct ds_disk *disk,
               struct ds_error *err);

#endif
