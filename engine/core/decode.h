/* SPDX-License-Identifier: Apache-2.0 */
/* The executor's decoding workers. */
#ifndef DS_CORE_DECODE_H
#define DS_CORE_DECODE_H

#include "format.h"

struct decode_job {
    const struct ds_run *run;
    const struct ds_store_ops *store;
    bool keep_holes; /* the target reads as zeros where nothing is written */
};

/**
 * Carry out the DECODE operations among ops[0..count) on all cores: read,
 * decode, write. Each gets its status; what the source's bytes did wrong is
 * the return value. Other operations are left alone.
 */
int decode_run(const struct decode_job *job, struct ds_op *ops, size_t count,
               struct ds_error *err);

#endif
