/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a plan on a store. It knows nothing of formats: it creates the files,
 * hands batches to the store, looks at each operation's status, flushes.
 *
 * A clone that the store refuses although the probe said it could is done
 * again as a copy and reported as such, unless cloning is required.
 */
#ifndef DS_CORE_EXECUTE_H
#define DS_CORE_EXECUTE_H

#include "plan.h"

/* Where tables went in the target's first file, pieces that lie near each
 * other as one: what the read-back is going to ask for. A hint: what there is
 * no room for is not noted. */
#define EXECUTION_TABLES_MAX 4096u
#define EXECUTION_TABLES_GAP_BYTES (UINT64_C(48) << 10)

struct execution_tables {
    struct execution_piece {
        uint64_t offset_bytes;
        uint64_t end_bytes;
    } * pieces; /* owned */
    unsigned count;
    unsigned room;
};

struct execution {
    struct ds_plan *plan;
    const struct ds_convert_options *options;
    struct ds_file *files[DS_TARGET_FILE_COUNT_MAX];
    struct ds_totals refused; /* what was planned as clone, done as copy */
    uint64_t done_bytes;
    uint64_t done_ops;
    struct execution_tables tables;
    struct decoding *decoding; /* while running; NULL before it is needed */
};

/** Create the target's .partial files. On failure none is left. */
int execute_create(struct execution *execution, struct ds_error *err);

/** Run all operations. Unless there is to be no verification, plan->witness
 * then knows what was read; it lives until execute_close. */
int execute_run(struct execution *execution, struct ds_error *err);

/** Flush all files. */
int execute_sync(struct execution *execution, struct ds_error *err);

/** Remove and close whatever there is; for undo. A target that has replaced
 * another already is only closed. */
void execute_discard(struct execution *execution);

/** Close the files, which have their final names. */
void execute_close(struct execution *execution);

#endif
