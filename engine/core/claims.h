/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which parts of a file are used, in file order, within a memory budget.
 *
 * The map comes in guest order; overlaps, gaps and refcounts are questions in
 * file order. A bitmap answers them: one bit per granule, the granule being
 * the largest power of two that divides every offset and length claimed. A
 * file too large for one bitmap is answered window by window, each with a
 * pass over the same claims:
 *
 *   file     0 ......... A ................ B ......... size
 *   claims     ..  .                        .  .
 *   pass 1   [bitmap    ]
 *   pass 2   |           nothing claimed    [bitmap    ]|
 *
 * A pass learns where the first claim behind its window lies, and the next
 * bitmap begins there: what nobody claims costs nothing, however large. In the
 * bitmap a summary (a bit for each GROUP of words that may hold a claim) does
 * the same. So memory is CLAIMS_BITMAP_BYTES at most, less where the budget is
 * less, of which only what is claimed is touched, and time grows with the
 * claims and not with the file.
 */
#ifndef DS_CORE_CLAIMS_H
#define DS_CORE_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>

#include <diskshift/error.h>

/* 16 MiB: 8 TiB in one window at 64 KiB granules, 64 GiB at 512 bytes. */
#define CLAIMS_BITMAP_BYTES (UINT64_C(16) << 20)
#define CLAIMS_BITMAP_BYTES_MIN (UINT64_C(64) << 10)
#define CLAIMS_GRANULE_MAX (UINT64_C(1) << 30)

struct claims {
    uint64_t granule_bytes;
    uint64_t size_bytes; /* of the file, rounded up to the granule */
    uint64_t window_begin_bytes;
    uint64_t bitmap_begin_bytes; /* the window before it has no claims */
    uint64_t window_end_bytes;
    uint64_t behind_bytes; /* the first claim that reaches behind the window,
                              from there on; UINT64_MAX: none does */
    uint64_t *bits;
    uint64_t *summary;
    uint64_t word_count;
};

/** Prepare for a file of `size_bytes`; `granule_bytes` is a power of two. The
 * first window is current and empty. The bitmap takes no more than
 * `memory_bytes`, if that is not too little. */
int claims_init(struct claims *claims, uint64_t size_bytes,
                uint64_t granule_bytes, uint64_t memory_bytes,
                struct ds_error *err);
void claims_free(struct claims *claims);

/** Empty the bitmap and go to the next window; false past the end. All that
 * was claimed must be claimed again, in any order: what is new there may be
 * missed. */
bool claims_next_window(struct claims *claims);

/** Claim the part of [offset, offset + length) that lies in the window. Edges
 * are rounded outward to granules. True when none of it was claimed before.*/
bool claims_add(struct claims *claims, uint64_t offset_bytes,
                uint64_t length_bytes);

/** Whether any of the part of [offset, offset + length) that lies in the window
 * is claimed. */
bool claims_any(const struct claims *claims, uint64_t offset_bytes,
                uint64_t length_bytes);

/** Two of the same size and granule that shall have the same windows: before
 * both go to the next. */
void claims_join(struct claims *left, struct claims *right);

/**
 * The next range of equal state in the window at or after *cursor, which the
 * call moves to its end. Ranges come in file order, longest possible. False
 * at the window's end. Start with *cursor = window_begin_bytes.
 */
bool claims_next_range(const struct claims *claims, uint64_t *cursor,
                       uint64_t *offset_bytes, uint64_t *length_bytes,
                       bool *claimed);

#endif
