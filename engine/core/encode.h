/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second pass of a target whose units are compressed.
 *
 *   map --> units with data, in guest order --> batch of slots
 *           workers: a group of units that follow each other: read it at
 *           once, hash it for the witness; of each unit: is it zeros?,
 *           compress                                           (any order)
 *           then: target_encoded(unit, stored form)            (guest order)
 *
 *   workers   | batch 0 | batch 1 | batch 2 |
 *   caller    | gather 1| hand on 0, gather 2| hand on 1 ...
 *
 * Where a unit lies depends on how small those before it became, so the
 * format appends, and the plan's figures are upper bounds: of size, and of
 * the units, since one that turns out to be zeros is left out.
 *
 * Memory: two batches of ENCODE_BATCH_BYTES of stored forms, and per core a
 * map, a group of units, a reader and a compressor.
 */
#ifndef DS_CORE_ENCODE_H
#define DS_CORE_ENCODE_H

#include "plan.h"

#define ENCODE_BATCH_BYTES (UINT64_C(6) << 20)

/** Walk the disk and hand every unit to the target. `dry`: nothing is read
 * or compressed; one ENCODE operation is emitted for each unit. */
int encode_units(struct ds_plan *plan, struct emit *emit, bool dry,
                 struct ds_error *err);

#endif
