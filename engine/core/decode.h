/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor's decoding workers. They also move what the target's store
 * cannot read, a file of another store: to them it has no codec.
 *
 *   ops      DECODE DECODE DECODE DECODE DECODE ...
 *   groups   |  what continues in the guest |  ... |
 *            |  and in the target, to 1 MiB |
 *   worker   gather, decode - hash for the witness - write at once
 *
 * Workers stay for the whole run and keep their decoder and buffer: one per
 * core and some more, because writing waits for storage. A batch is done when
 * its last group is.
 */
#ifndef DS_CORE_DECODE_H
#define DS_CORE_DECODE_H

#include "format.h"
#include "witness.h"

struct decoding;

struct decode_job {
    const struct ds_run *run;
    const struct ds_store_ops *store;
    struct witness *witness; /* NULL: nobody asks */
    bool keep_holes; /* the target reads as zeros where nothing is written */
};

/** `waiting_count` is reader_waiting of what is read and written. */
int decoding_open(unsigned waiting_count, struct decoding **out,
                  struct ds_error *err);
/** NULL is allowed. */
void decoding_close(struct decoding *decoding);

/**
 * Carry out the DECODE operations among ops[0..count) on all cores. Each gets
 * its status; what the source's bytes did wrong is the return value. Other
 * operations are left alone.
 */
int decoding_run(struct decoding *decoding, const struct decode_job *job,
                 struct ds_op *ops, size_t count, struct ds_error *err);

#endif
