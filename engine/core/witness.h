/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the source's bytes were when they were copied, so that verification
 * need not read, and above all not decode, them a second time.
 *
 *   copying      source place P --read, decode--> bytes --> target
 *                          \                        |
 *                           `--- record (P, length, XXH3-128 of bytes)
 *
 *   verifying    source map: guest range G is at P'     P' == P ?
 *                target map: guest range G is at T      read T from storage,
 *                                                       hash == the record's?
 *
 * The proof: P held bytes of digest D when it was read, and the source did
 * not change since (size, mtime and ctime, checked at the end). The source's
 * own map says that G lies at P. The target's own map, parsed
 * from storage, says that G lies at T, and T reads D. Where the target's
 * bytes were written does not enter: only where they are found.
 *
 * Reading may be over by then. Where the store can read past its cache, each
 * piece of a copy is read from storage when it was written, while others are
 * written, and its record keeps where that was. If the target's map finds the
 * guest's bytes at that very place, T was read. Nothing is written there again:
 * operations do not overlap (place.h), and a table that did would be found
 * when the target's map is checked for overlaps.
 *
 * A place is all that decides what is read: file, offset, length; for what is
 * encoded codec, stored and decoded length, skip, sector and key too. A record
 * is of one piece of COPY, or of several encoded units that follow each other
 * in the guest, or of a range of the guest that was read to be compressed. Its
 * `place` folds the descriptions of all its pieces, with those joined that
 * continue each other: so it does not depend on how the reader cut them.
 *
 * Memory: WITNESS_BYTES_MAX of records. What comes when they are full is not
 * remembered, and is read on both sides.
 */
#ifndef DS_CORE_WITNESS_H
#define DS_CORE_WITNESS_H

#include <stdbool.h>

#include <xxhash.h>

#include <diskshift/disk.h>

#define WITNESS_BYTES_MAX (UINT64_C(16) << 20)

/** A description of places, being folded. All zero to begin with. */
struct witness_place {
    struct ds_extent pending; /* length 0: none */
    uint64_t fold;
};

/** Add a piece. Its guest offset does not matter. */
void witness_place_add(struct witness_place *place,
                       const struct ds_extent *piece);
/** The fold of all that was added; nothing may be added after it. */
uint64_t witness_place_end(struct witness_place *place);

/* Where the bytes of a record were written, when they were read back from
 * storage there and had its digest. */
struct witness_stored {
    const struct ds_file *file; /* the one that was written to; NULL: unknown */
    uint64_t offset_bytes;
};

struct witness_record {
    uint64_t offset_bytes; /* of the first piece, in its file; with
                              DS_FILE_NONE in the guest */
    uint32_t file_index;
    uint32_t length_bytes;
    uint64_t skip_bytes; /* of the first piece, in its encoded unit */
    uint64_t place;
    XXH128_hash_t digest;
    struct witness_stored stored;
};

/** Read back what was written of a record, with its own bytes' memory, and set
 * `stored` if it is the same. */
void witness_read_back(struct witness_record *record, struct ds_file *target,
                       uint64_t offset_bytes, void *bytes);

struct witness;

int witness_open(struct witness **out, struct ds_error *err);
/** NULL is allowed. */
void witness_close(struct witness *witness);

/** Remember a record, if there is room. From any thread. */
void witness_note(struct witness *witness, const struct witness_record *record);

/** After the last note, before the first find. */
void witness_seal(struct witness *witness);

/** The record that begins where this piece of the source does; NULL if there
 * is none. Whether its place is the same is for the caller to see. */
const struct witness_record *witness_find(const struct witness *witness,
                                          const struct ds_extent *first);

#endif
