/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the storage was told to do with a target's files, for a verification
 * that takes its word: --verify=metadata, where no physical address can prove
 * that two ranges are the same blocks (NFS).
 *
 *   executing   CLONE_FILE, CLONE    source range -> place in the target
 *               PUNCH, ZERO          place reads as zeros
 *               WRITE, COPY, DECODE  place holds something else
 *
 *   verifying   source map: guest range G is at S
 *               target map, parsed from storage: G is at T
 *               was S shared with T, and nothing done to T since?
 *
 * So what is still checked is the part that is ours: the tables, and that they
 * name the places that were shared. Only what the storage answered "done" to
 * is in here; what it was `unsure` of is not.
 *
 *   clones, others, blanks   ranges of the target's files, sorted when sealed
 *   base                     per file: a whole source file, below all of them
 *
 * Memory: TRUST_RANGE_COUNT_MAX of each. A clone that does not fit is not
 * known, and is read. When one of the others does not fit nothing is known.
 */
#ifndef DS_CORE_TRUST_H
#define DS_CORE_TRUST_H

#include "format.h"

#define TRUST_RANGE_COUNT_MAX ((size_t)1 << 18)

struct trust;

int trust_open(struct trust **out, struct ds_error *err);
/** NULL is allowed. */
void trust_close(struct trust *trust);

/** An operation that was done. Not from several threads. */
void trust_note(struct trust *trust, const struct ds_op *op,
                uint64_t source_size_bytes);

/** After the last note, before the first question. */
void trust_seal(struct trust *trust);

/** How much, from its beginning on, of a range of target file `target_index`
 * is shared with this place of the source. 0: not known to be. */
uint64_t trust_shared(const struct trust *trust, uint32_t target_index,
                      uint64_t target_offset_bytes, uint32_t source_index,
                      uint64_t source_offset_bytes, uint64_t length_bytes);

/** The same: reads as zeros, since it was made so or never written. */
uint64_t trust_blank(const struct trust *trust, uint32_t target_index,
                     uint64_t target_offset_bytes, uint64_t length_bytes);

#endif
