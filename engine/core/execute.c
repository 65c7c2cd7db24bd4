/* SPDX-License-Identifier: Apache-2.0 */
#include "execute.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "arith.h"
#include "decode.h"
#include "fail.h"
#include "read.h"
#include "trust.h"
#include "witness.h"

static bool any_foreign(const struct ds_plan *plan)
{
    for (uint32_t i = 0; i < plan->disk->file_count; i++)
        if (plan_is_foreign(plan, i))
            return true;
    return false;
}

int execute_create(struct execution *execution, struct ds_error *err)
{
    struct ds_plan *plan = execution->plan;
    const struct ds_target_layout *layout = &plan->target->layout;
    const struct ds_disk *disk = plan->disk;
    bool foreign = any_foreign(plan);
    int result = plan_clear_leftovers(plan, err);

    for (uint32_t i = 0; i < layout->file_count && result == 0; i++) {
        if (plan_refers(plan, i))
            continue;
        struct ds_create_request request = {
            .path = plan->paths[i],
            .attributes_from = disk->files[plan->survey.base_index],
            .clone_from = i >= layout->data_file_index,
            .within = disk->files,
            .within_count = disk->file_count,
            .via = plan->via,
        };

        if (foreign) { /* owners and modes are another place's: for us alone */
            request.attributes_from = NULL;
            request.within_count = 0;
        }
        result = plan->store->create(&request, &execution->files[i], err);
    }
    if (result != 0)
        execute_discard(execution);
    return result;
}

static bool clone_refused(const struct ds_op *op)
{
    return op->kind == DS_OP_CLONE &&
           (op->status == -EOPNOTSUPP || op->status == -EXDEV ||
            op->status == -EINVAL || op->status == -ENOTTY);
}

static int fail_op(const struct execution *execution, const struct ds_op *op,
                   struct ds_error *err)
{
    const struct ds_plan *plan = execution->plan;
    const char *path = op->failed_source
                           ? plan->disk->files[op->source_index]->path
                           : plan->paths[op->target_index];
    uint64_t offset =
        op->failed_source ? op->source_offset_bytes : op->target_offset_bytes;
    int result =
        ds_fail_errno(err, -op->status, path,
                      "%s of %" PRIu64 " bytes at offset %" PRIu64 " failed%s",
                      ds_op_kind_name(op->kind), op->length_bytes, offset,
                      op->failed_source ? " to be read" : "");

    if (err != NULL)
        err->offset_bytes = offset + op->failed_bytes;
    return result;
}

/* A total that covers the earlier batches of the run. */
static int whole_progress(void *user, const struct ds_progress *batch)
{
    const struct execution *execution = user;
    const struct ds_convert_options *options = execution->options;
    const struct ds_plan *plan = execution->plan;
    const struct ds_totals *totals = &plan_side(plan)->totals;
    struct ds_progress all = {
        .phase = "execute",
        .done_bytes = execution->done_bytes + batch->done_bytes,
        .done_ops = execution->done_ops + batch->done_ops,
        .total_bytes = totals->shared_bytes + totals_copied(totals),
    };

    for (unsigned i = 0; i < DS_OP_KIND_COUNT; i++)
        all.total_ops += totals->op_count[i];
    if (all.total_ops < all.done_ops) /* tables are not in the survey */
        all.total_ops = all.done_ops;
    if (all.total_bytes < all.done_bytes)
        all.total_bytes = all.done_bytes;
    return options->progress(options->user, &all);
}

static bool has_decode(const struct ds_op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ops[i].kind == DS_OP_DECODE)
            return true;
    return false;
}

/* The store tells of what it copied; this may be in any thread. */
static void note_copied(void *user, const struct ds_op *op, uint64_t skip_bytes,
                        void *bytes, size_t length_bytes)
{
    const struct execution *execution = user;
    struct witness_place place = { 0 };
    struct ds_extent piece = {
        .length_bytes = length_bytes,
        .kind = DS_EXTENT_DATA,
        .file_index = op->source_index,
        .file_offset_bytes = op->source_offset_bytes + skip_bytes,
    };
    struct witness_record record = {
        .offset_bytes = piece.file_offset_bytes,
        .file_index = piece.file_index,
        .length_bytes = (uint32_t)length_bytes,
    };

    if (length_bytes == 0 || length_bytes > UINT32_MAX)
        return;
    witness_place_add(&place, &piece);
    record.place = witness_place_end(&place);
    record.digest = XXH3_128bits(bytes, length_bytes);
    witness_read_back(&record, execution->files[op->target_index],
                      op->target_offset_bytes + skip_bytes, bytes);
    witness_note(execution->plan->witness, &record);
}

static int decode(struct execution *execution, const struct ds_run *run,
                  struct ds_op *ops, size_t count, struct ds_error *err)
{
    const struct ds_plan *plan = execution->plan;
    struct decode_job job = {
        .run = run,
        .store = plan->store,
        .witness = plan->witness,
        .keep_holes = plan->base_index == DS_FILE_NONE,
    };
    unsigned from = reader_waiting(plan->disk->files, plan->disk->file_count);
    unsigned to =
        reader_waiting(execution->files, plan->target->layout.file_count);
    int result = 0;

    if (execution->decoding == NULL)
        result =
            decoding_open(from > to ? from : to, &execution->decoding, err);
    return result != 0
               ? result
               : decoding_run(execution->decoding, &job, ops, count, err);
}

/* What has no codec is read as it is. */
static bool lend_copies(const struct ds_plan *plan, struct ds_op *ops,
                        size_t count)
{
    bool any = false;

    for (size_t i = 0; i < count; i++)
        if (ops[i].kind == DS_OP_COPY &&
            plan_is_foreign(plan, ops[i].source_index)) {
            ops[i].kind = DS_OP_DECODE;
            ops[i].encoding = (struct ds_encoding){ .codec = DS_CODEC_NONE };
            any = true;
        }
    return any;
}

static void return_copies(struct ds_op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ops[i].kind == DS_OP_DECODE &&
            ops[i].encoding.codec == DS_CODEC_NONE)
            ops[i].kind = DS_OP_COPY;
}

static int run_batch(struct execution *execution, struct ds_op *ops,
                     size_t count, struct ds_error *err)
{
    struct ds_plan *plan = execution->plan;
    struct ds_run run = {
        .sources = plan->disk->files,
        .targets = execution->files,
        .progress =
            execution->options->progress != NULL ? whole_progress : NULL,
        .copied = plan->witness != NULL ? note_copied : NULL,
        .user = execution,
    };
    bool lent = lend_copies(plan, ops, count);
    int result = plan->store->run(&run, ops, count, err);

    /* The store leaves DECODE to us: it knows no codecs, and no store but
     * itself. */
    if (result == 0 && has_decode(ops, count))
        result = decode(execution, &run, ops, count, err);
    if (lent)
        return_copies(ops, count);
    return result;
}

/* The refused clones of a batch, once more, as copies. */
static int copy_instead(struct execution *execution, struct ds_op *op,
                        struct ds_error *err)
{
    struct ds_totals *refused = &execution->refused;
    int result;

    if (execution->options->require_clone)
        return fail_op(execution, op, err);
    refused->shared_bytes += op->data_bytes;
    refused->copied_bytes[DS_COPY_CLONE_REFUSED] += op->data_bytes;
    refused->op_count[DS_OP_CLONE]++;
    result = plan_check_output(execution->plan, execution->options,
                               refused->shared_bytes, err);
    if (result != 0)
        return result;
    op->kind = DS_OP_COPY;
    op->reason = DS_COPY_CLONE_REFUSED;
    op->status = 0;
    result = run_batch(execution, op, 1, err);
    if (result == 0 && op->status != 0)
        result = fail_op(execution, op, err);
    return result;
}

/* Operations that were not begun because another failed come after it. */
static const struct ds_op *first_failed(const struct ds_op *ops, size_t count)
{
    const struct ds_op *failed = NULL;

    for (size_t i = 0; i < count; i++) {
        if (ops[i].status == 0 || clone_refused(&ops[i]))
            continue;
        if (failed == NULL || failed->status == -ECANCELED)
            failed = &ops[i];
    }
    return failed;
}

/* Tables are written by a few streams, each of which rises: a neighbour is
 * among the last. */
#define NEIGHBOUR_COUNT 8u

static struct execution_piece *neighbour(struct execution_tables *tables,
                                         uint64_t begin, uint64_t end)
{
    for (unsigned i = 0; i < NEIGHBOUR_COUNT && i < tables->count; i++) {
        struct execution_piece *piece = &tables->pieces[tables->count - 1 - i];

        if (begin <= piece->end_bytes + EXECUTION_TABLES_GAP_BYTES &&
            piece->offset_bytes <= end + EXECUTION_TABLES_GAP_BYTES)
            return piece;
    }
    return NULL;
}

static bool make_room(struct execution_tables *tables)
{
    unsigned room = tables->room == 0 ? 16 : tables->room * 2;
    struct execution_piece *pieces;

    if (tables->count < tables->room)
        return true;
    if (room > EXECUTION_TABLES_MAX)
        return false;
    pieces = realloc(tables->pieces, room * sizeof(*pieces));
    if (pieces == NULL)
        return false;
    tables->pieces = pieces;
    tables->room = room;
    return true;
}

static void note_tables(struct execution_tables *tables, const struct ds_op *op)
{
    uint64_t begin = op->target_offset_bytes;
    uint64_t end = begin + op->length_bytes;
    struct execution_piece *piece;

    if (op->kind != DS_OP_WRITE || op->target_index != 0)
        return;
    piece = neighbour(tables, begin, end);
    if (piece != NULL) {
        piece->offset_bytes = ds_min_u64(piece->offset_bytes, begin);
        piece->end_bytes = ds_max_u64(piece->end_bytes, end);
    } else if (make_room(tables)) {
        tables->pieces[tables->count++] =
            (struct execution_piece){ begin, end };
    }
}

static void note_trust(struct ds_plan *plan, const struct ds_op *op)
{
    uint64_t size_bytes = op->kind == DS_OP_CLONE_FILE
                              ? plan->disk->files[op->source_index]->size_bytes
                              : 0;

    trust_note(plan->trust, op, size_bytes);
}

static int execute_batch(void *user, struct ds_op *ops, size_t count,
                         struct ds_error *err)
{
    struct execution *execution = user;
    const struct ds_op *failed;
    int result = run_batch(execution, ops, count, err);

    if (result != 0)
        return result;
    failed = first_failed(ops, count);
    if (failed != NULL)
        return fail_op(execution, failed, err);
    for (size_t i = 0; i < count && result == 0; i++) {
        if (clone_refused(&ops[i]))
            result = copy_instead(execution, &ops[i], err);
        if (ops[i].kind == DS_OP_REPEAT &&
            ops[i].reason == DS_COPY_CLONE_REFUSED)
            execution->refused.metadata_bytes += ops[i].length_bytes;
        if (execution->plan->trust != NULL && result == 0)
            note_trust(execution->plan, &ops[i]);
        note_tables(&execution->tables, &ops[i]);
        execution->done_bytes += ops[i].data_bytes;
    }
    execution->done_ops += count;
    return result;
}

int execute_run(struct execution *execution, struct ds_error *err)
{
    struct ds_plan *plan = execution->plan;
    const struct ds_totals *refused = &execution->refused;
    int result = 0;

    if (!execution->options->no_verify)
        result = witness_open(&plan->witness, err);
    if (result == 0 && execution->options->trust_clones)
        result = trust_open(&plan->trust, err);
    plan->executing = true;
    if (result == 0)
        result = plan_emit(plan, execute_batch, execution, err);
    plan->executing = false;
    decoding_close(execution->decoding);
    execution->decoding = NULL;

    plan->totals.metadata_bytes += refused->metadata_bytes;
    plan->totals.shared_bytes -= refused->shared_bytes;
    plan->totals.op_count[DS_OP_CLONE] -= refused->op_count[DS_OP_CLONE];
    plan->totals.op_count[DS_OP_COPY] += refused->op_count[DS_OP_CLONE];
    plan->totals.copied_bytes[DS_COPY_CLONE_REFUSED] +=
        refused->copied_bytes[DS_COPY_CLONE_REFUSED];
    return result;
}

int execute_sync(struct execution *execution, struct ds_error *err)
{
    const struct ds_plan *plan = execution->plan;
    int result = 0;

    for (uint32_t i = 0; i < plan->target->layout.file_count && result == 0;
         i++)
        if (execution->files[i] != NULL)
            result = plan->store->sync(execution->files[i], err);
    return result;
}

void execute_close(struct execution *execution)
{
    witness_close(execution->plan->witness);
    execution->plan->witness = NULL;
    free(execution->tables.pieces);
    execution->tables = (struct execution_tables){ 0 };
    trust_close(execution->plan->trust);
    execution->plan->trust = NULL;
    for (unsigned i = 0; i < DS_TARGET_FILE_COUNT_MAX; i++) {
        ds_file_close(execution->files[i]);
        execution->files[i] = NULL;
    }
}

void execute_discard(struct execution *execution)
{
    const struct ds_store_ops *store = execution->plan->store;
    struct ds_file *named = execution->files[0];
    /* The old target is gone: then the new one stays, with its extents. */
    bool stays = named != NULL && store->has_replaced != NULL &&
                 store->has_replaced(named);

    for (unsigned i = 0; i < DS_TARGET_FILE_COUNT_MAX && !stays; i++)
        if (execution->files[i] != NULL)
            store->discard(execution->files[i]);
    execute_close(execution);
}
