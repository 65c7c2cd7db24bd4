/* SPDX-License-Identifier: Apache-2.0 */
#include "whole.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arith.h"
#include "digest.h"
#include "disk.h"
#include "memory_store.h"
#include "memory_target.h"

#define TARGET_PATH "target"

/* An error that was returned is one that was filled in, and says something. */
static int judge(int result, const struct ds_error *err)
{
    if (result < 0) {
        assert((int)err->error_class == -result);
        assert(err->message[0] != '\0');
    }
    return result;
}

/* -- reading ----------------------------------------------------------------*/

static int add_extent(struct ds_disk *disk, const struct ds_extent *extent,
                      struct ds_digest *digest, struct ds_error *err)
{
    static uint8_t buffer[256 * 1024];
    int result = 0;

    for (uint64_t done = 0; done < extent->length_bytes && result == 0;) {
        size_t part =
            (size_t)ds_min_u64(extent->length_bytes - done, sizeof(buffer));

        result = judge(
            ds_disk_read_extent(disk, extent, done, buffer, part, err), err);
        if (result == 0)
            result = ds_digest_add(digest, buffer, part, err);
        done += part;
    }
    return result;
}

int whole_digest(struct ds_disk *disk, uint8_t out[WHOLE_DIGEST_BYTES],
                 struct ds_error *err)
{
    uint8_t bytes[DS_DIGEST_BYTES_MAX];
    struct ds_digest *digest = NULL;
    struct ds_map *map = NULL;
    struct ds_extent extent;
    int result = judge(ds_map_open(disk, &map, err), err), more = 1;

    if (result == 0)
        result = ds_digest_open(DS_DIGEST_SHA256, &digest, err);
    while (result == 0 && more == 1) {
        more = judge(ds_map_next(map, &extent, err), err);
        result = more < 0 ? more : 0;
        if (more == 1)
            result = add_extent(disk, &extent, digest, err);
    }
    if (result == 0)
        result = ds_digest_end(digest, bytes, err);
    if (result == 0)
        memcpy(out, bytes, WHOLE_DIGEST_BYTES);
    ds_digest_close(digest);
    ds_map_close(map);
    return result;
}

static void see_fact(void *user, const struct ds_fact *fact)
{
    (void)user;
    assert(fact->key != NULL && fact->key[0] != '\0');
}

/* -- plan and conversion ----------------------------------------------------*/

static int see_ops(void *user, struct ds_op *ops, size_t count,
                   struct ds_error *err)
{
    uint64_t *total = user;

    (void)ops;
    (void)err;
    *total += count;
    return 0;
}

static int plan(struct ds_disk *disk, const struct ds_target_spec *spec,
                const struct ds_convert_options *options,
                struct ds_totals *totals, struct ds_error *err)
{
    struct ds_plan *made = NULL;
    uint64_t op_count = 0;
    int result = judge(ds_plan_make(disk, spec, options, &made, err), err);

    if (result != 0)
        return result;
    result = judge(ds_plan_emit(made, see_ops, &op_count, err), err);
    *totals = *ds_plan_totals(made);
    ds_plan_free(made);
    assert(memory_target_count(true) + memory_target_count(false) == 0);
    return result;
}

/* What was done is what was planned. Not for units that are compressed, whose
 * figures are upper bounds. */
static void compare_totals(const struct ds_totals *planned,
                           const struct ds_totals *done)
{
    if (planned->op_count[DS_OP_ENCODE] != 0)
        return;
    assert(done->shared_bytes == planned->shared_bytes);
    assert(done->decoded_bytes == planned->decoded_bytes);
    assert(done->metadata_bytes == planned->metadata_bytes);
    for (unsigned i = 0; i < DS_COPY_REASON_COUNT; i++)
        assert(done->copied_bytes[i] == planned->copied_bytes[i]);
}

/* The target, opened as anybody would, reads what the source does. */
static void compare_target(const struct whole_target *target,
                           const struct whole *source)
{
    struct ds_open_options options = { .format = target->format };
    uint8_t digest[WHOLE_DIGEST_BYTES];
    struct ds_error err = DS_ERROR_INIT;
    struct ds_disk *disk = NULL;
    int result = judge(ds_disk_open(TARGET_PATH, &options, &disk, &err), &err);

    if (result == 0)
        result = whole_digest(disk, digest, &err);
    if (result != 0)
        fprintf(stderr, "the target: %s\n", err.message);
    assert(result == 0);
    assert(ds_disk_size_bytes(disk) == source->size_bytes);
    assert(memcmp(digest, source->digest, sizeof(digest)) == 0);
    ds_disk_close(disk);
}

static int convert(struct ds_disk *disk, const struct whole_target *target,
                   struct whole *out)
{
    struct ds_target_spec spec = { .format = target->format,
                                   .path = TARGET_PATH,
                                   .options = target->options,
                                   .option_count = target->option_count };
    struct ds_convert_options options = {
        .strategy = target->strategy,
        .share_source_file = target->share_source_file,
    };
    static struct ds_report report;
    struct ds_totals planned = { 0 };
    size_t done = 0;
    int result;

    out->station = "plan";
    result = plan(disk, &spec, &options, &planned, &out->err);
    if (out->is_large)
        return result;
    out->station = result == 0 ? "convert" : out->station;
    /* Also after a plan that was refused: it must be so again. */
    if (result != 0) {
        struct ds_error again = DS_ERROR_INIT;

        assert(ds_convert(disk, &spec, 1, &options, &report, &done, &again) ==
               result);
    } else {
        result = judge(
            ds_convert(disk, &spec, 1, &options, &report, &done, &out->err),
            &out->err);
    }
    assert(memory_target_count(false) == 0);
    assert((done == 1) == (result == 0));
    if (result != 0) {
        assert(memory_target_find(TARGET_PATH, true) == NULL);
        return result;
    }
    assert(report.verified && report.verify.identical);
    compare_totals(&planned, &report.totals);
    compare_target(target, out);
    return 0;
}

/* -- check ------------------------------------------------------------------*/

static int see_problem(void *user, const struct ds_problem *problem)
{
    struct whole *out = user;

    assert(problem->message != NULL && problem->message[0] != '\0');
    if (out->problem[0] == '\0')
        (void)snprintf(out->problem, sizeof(out->problem), "%s",
                       problem->message);
    return 0;
}

static void check(struct ds_disk *disk, struct whole *out)
{
    struct ds_check_report report;
    struct ds_error err = DS_ERROR_INIT;

    if (judge(ds_disk_check(disk, see_problem, out, &report, &err), &err) != 0)
        return;
    out->corruption_count = report.corruption_count;
    out->leak_count = report.leak_count;
    /* Compressed units are not decoded by check: it may not know. */
    if (out->result == -DS_ERR_CORRUPT && strcmp(out->station, "read") != 0 &&
        report.encoded_bytes == 0)
        assert(report.corruption_count > 0);
}

static void take(struct ds_disk *disk, const struct whole_target *target,
                 struct whole *out)
{
    struct ds_error err = DS_ERROR_INIT;
    int converted;

    out->size_bytes = ds_disk_size_bytes(disk);
    out->is_large = out->size_bytes > WHOLE_GUEST_BYTES_MAX;
    for (uint32_t i = 0; i < ds_disk_layer_count(disk); i++)
        (void)judge(ds_disk_layer_facts(disk, i, see_fact, NULL, &err), &err);
    out->station = "map";
    if (!out->is_large)
        out->result = whole_digest(disk, out->digest, &out->err);
    if (out->result == 0) {
        out->result = convert(disk, target, out);
    } else {
        struct whole again = *out;

        again.err = (struct ds_error)DS_ERROR_INIT;
        converted = convert(disk, target, &again);
        assert(converted != 0);
    }
    check(disk, out);
}

void whole_run(const struct ds_open_options *options,
               const struct whole_target *target, struct whole *out)
{
    struct ds_open_options open = *options;
    struct ds_disk *disk = NULL;

    *out = (struct whole){ .station = "open", .err = DS_ERROR_INIT };
    open.for_conversion = true;
    out->result =
        judge(ds_disk_open("image", &open, &disk, &out->err), &out->err);
    if (out->result == 0) {
        take(disk, target, out);
        ds_disk_close(disk);
    }
    assert(memory_store_open_count() == 0);
}
