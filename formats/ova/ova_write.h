/* SPDX-License-Identifier: Apache-2.0 */
/* A package being written: what its disks and what stands before them share. */
#ifndef OVA_WRITE_H
#define OVA_WRITE_H

#include "ova.h"

/* A disk of the package; units count on the line of all of them. */
struct ova_part {
    char name[TAR_NAME_BYTES + 1];
    uint64_t size_bytes; /* the guest's */
    uint64_t first_unit;
    struct ds_target *target; /* of the vmdk format: a stream of its own */
    uint64_t counted_units;   /* by the first pass */

    /* the pass */
    uint64_t offset_bytes; /* of its bytes in the archive */
    uint64_t stored_bytes; /* so far */
    uint64_t unit_count;
    uint8_t digest[DS_DIGEST_BYTES_MAX];
};

struct ova_target {
    struct ds_target target;
    struct ova_machine machine;
    char descriptor_name[TAR_NAME_BYTES + 1];
    char manifest_name[TAR_NAME_BYTES + 1];
    uint64_t modified_seconds;
    uint64_t descriptor_bytes; /* with its blanks */
    uint64_t manifest_bytes;
    uint64_t head_bytes; /* where the first disk begins */
    struct ova_part *parts;
    size_t part_count;

    /* the pass */
    struct ds_digest *digest; /* of the part that is being written */
    size_t current;           /* that part */
    uint64_t next_unit;
    bool started;
    bool is_dry; /* nothing was stored: there is nothing to digest */
};

/* -- ova_write_head.c ------------------------------------------------------ */

/** Name the members after the machine. */
void ova_head_name(struct ova_target *target);

/** Where everything before the disks lies, which no number that is still open
 * changes. Needs the names. */
int ova_head_measure(struct ova_target *target, struct ds_error *err);

/** Descriptor and manifest, when the disks are done. */
int ova_head_emit(struct ova_target *target, struct ds_emitter *emitter,
                  struct ds_error *err);

/** A member's header at `offset_bytes`. */
int ova_header_emit(const struct ova_target *target, const char *name,
                    uint64_t offset_bytes, uint64_t size_bytes,
                    struct ds_emitter *emitter, struct ds_error *err);

#endif
