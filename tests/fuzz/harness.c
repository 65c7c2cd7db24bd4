/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <assert.h>
#include <string.h>

#include <diskshift/diskshift.h>

#include "arith.h"
#include "disk.h"
#include "fail.h"
#include "luks_image.h"
#include "memory_store.h"
#include "modes.h"
#include "registry.h"

/* Where the walks of an image end that is well but large. */
#define EXTENT_COUNT_MAX 4096u
#define REGION_COUNT_MAX 65536u
#define DECODE_COUNT_MAX 16u
#define PLAN_GUEST_BYTES_MAX (UINT64_C(1) << 42)
#define VERIFY_FILE_BYTES_MAX DS_MIB
#define CHECK_FILE_BYTES_MAX (256 * DS_GIB) /* refcounts of all clusters */

/* -- what must hold ---------------------------------------------------------*/

/* An error that was returned is one that was filled in, and says something. */
static int judge(int result, const struct ds_error *err)
{
    if (result < 0) {
        assert((int)err->error_class == -result);
        assert(err->message[0] != '\0');
    }
    return result;
}

static void see_fact(void *user, const struct ds_fact *fact)
{
    size_t *total = user;

    assert(fact->key != NULL && fact->key[0] != '\0');
    *total += fact->text != NULL ? strlen(fact->text) : 1;
}

static int see_snapshot(void *user, const struct ds_snapshot *snapshot,
                        struct ds_error *err)
{
    size_t *total = user;

    (void)err;
    *total += strlen(snapshot->id) + strlen(snapshot->name);
    return 0;
}

struct regions {
    const struct ds_image *image;
    size_t count;
};

static int see_region(void *user, const struct ds_region *region,
                      struct ds_error *err)
{
    struct regions *regions = user;

    assert(region->name != NULL && region->file_index < UINT32_MAX);
    assert(region->file_index < regions->image->file_count);
    assert(region->offset_bytes + region->length_bytes >= region->offset_bytes);
    return ++regions->count < REGION_COUNT_MAX
               ? 0
               : ds_fail(err, DS_ERR_CANCELLED, "enough");
}

static int see_problem(void *user, const struct ds_problem *problem)
{
    const struct ds_disk *disk = user;

    assert(problem->message != NULL && problem->message[0] != '\0');
    assert(problem->file_index < disk->file_count);
    return 0;
}

static int see_progress(void *user, const struct ds_progress *progress)
{
    unsigned *calls = user;

    assert(progress->phase != NULL);
    return ++*calls > 4;
}

/* -- the stations -----------------------------------------------------------*/

static void ask_image(struct ds_disk *disk)
{
    struct ds_error err = DS_ERROR_INIT;
    size_t total = 0;

    for (uint32_t i = 0; i < disk->layer_count; i++) {
        struct ds_image *image = disk->layers[i].image;
        struct regions regions = { .image = image };

        (void)judge(ds_disk_layer_facts(disk, i, see_fact, &total, &err), &err);
        (void)judge(
            ds_disk_layer_snapshots(disk, i, see_snapshot, &total, &err), &err);
        if (image->format->regions != NULL)
            (void)judge(
                image->format->regions(image, see_region, &regions, &err),
                &err);
        if (image->format->verify_source != NULL &&
            image->files[0]->size_bytes <= VERIFY_FILE_BYTES_MAX) {
            const char *note = NULL;

            (void)judge(
                image->format->verify_source(image, NULL, NULL, &note, &err),
                &err);
        }
    }
}

static void read_extent(struct ds_disk *disk, const struct ds_extent *extent)
{
    static uint8_t buffer[8192];
    struct ds_error err = DS_ERROR_INIT;
    size_t length = (size_t)ds_min_u64(extent->length_bytes, sizeof(buffer));

    (void)judge(ds_disk_read_extent(disk, extent, 0, buffer, length, &err),
                &err);
    (void)judge(ds_disk_read_extent(disk, extent, extent->length_bytes - length,
                                    buffer, length, &err),
                &err);
}

static void see_extent(const struct ds_disk *disk,
                       const struct ds_extent *extent, uint64_t position)
{
    assert(extent->guest_offset_bytes == position && extent->length_bytes > 0);
    assert(ds_range_fits(position, extent->length_bytes,
                         ds_disk_size_bytes(disk)));
    assert(extent->depth < disk->layer_count);
    if (extent->kind == DS_EXTENT_DATA)
        assert(ds_range_fits(extent->file_offset_bytes, extent->length_bytes,
                             disk->files[extent->file_index]->size_bytes));
    if (extent->kind == DS_EXTENT_ENCODED) {
        const struct ds_encoding *encoding = &extent->encoding;

        assert(extent->file_index < disk->file_count);
        assert(encoding->codec != DS_CODEC_NONE);
        assert(ds_range_fits(encoding->skip_bytes, extent->length_bytes,
                             encoding->unit_bytes));
    }
}

/* 1: all of it, 0: refused, -1: there is more. */
static int walk_map(struct ds_disk *disk)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_extent extent;
    struct ds_map *map = NULL;
    uint64_t position = 0;
    unsigned count = 0, decoded = 0;
    int result = judge(ds_map_open(disk, &map, &err), &err);

    while (result == 0 && count++ < EXTENT_COUNT_MAX) {
        result = judge(ds_map_next(map, &extent, &err), &err);
        if (result <= 0)
            break;
        result = 0;
        see_extent(disk, &extent, position);
        position += extent.length_bytes;
        if (extent.kind == DS_EXTENT_DATA || extent.kind == DS_EXTENT_ENCODED)
            if (decoded++ < DECODE_COUNT_MAX)
                read_extent(disk, &extent);
    }
    ds_map_close(map);
    if (result < 0)
        return 0;
    return position == ds_disk_size_bytes(disk) ? 1 : -1;
}

/* -- plans ------------------------------------------------------------------*/

struct emission {
    const struct ds_disk *disk;
    const struct ds_plan *plan;
    unsigned batches;
};

static int see_ops(void *user, struct ds_op *ops, size_t count,
                   struct ds_error *err)
{
    struct emission *emission = user;
    uint32_t targets = ds_plan_target_count(emission->plan);

    for (size_t i = 0; i < count; i++) {
        const struct ds_op *op = &ops[i];
        uint64_t end = op->target_offset_bytes + op->length_bytes;

        assert(op->kind < DS_OP_KIND_COUNT && op->target_index < targets);
        assert(end >= op->target_offset_bytes);
        if (op->kind == DS_OP_CLONE || op->kind == DS_OP_COPY) {
            assert(op->source_index < emission->disk->file_count);
            assert(ds_range_fits(
                op->source_offset_bytes, op->length_bytes,
                emission->disk->files[op->source_index]->size_bytes));
        }
        if (op->kind == DS_OP_CLONE || op->kind == DS_OP_COPY ||
            op->kind == DS_OP_DECODE || op->kind == DS_OP_WRITE)
            assert(end <=
                   ds_plan_target_size_bytes(emission->plan, op->target_index));
    }
    return ++emission->batches < EXTENT_COUNT_MAX
               ? 0
               : ds_fail(err, DS_ERR_CANCELLED, "enough");
}

struct target {
    const char *format;
    const char *options[2];
    size_t option_count;
    enum ds_strategy strategy;
    bool share_source_file;
};

static void make_plan(struct ds_disk *disk, const struct target *target)
{
    struct ds_error err = DS_ERROR_INIT;
    unsigned calls = 0;
    struct ds_target_spec spec = { .format = target->format,
                                   .path = "target",
                                   .options = target->options,
                                   .option_count = target->option_count };
    struct ds_convert_options options = {
        .strategy = target->strategy,
        .share_source_file = target->share_source_file,
        .progress = see_progress,
        .user = &calls,
    };
    struct emission emission = { .disk = disk };
    struct ds_plan *plan = NULL;

    if (judge(ds_plan_make(disk, &spec, &options, &plan, &err), &err) != 0)
        return;
    emission.plan = plan;
    (void)judge(ds_plan_emit(plan, see_ops, &emission, &err), &err);
    ds_plan_free(plan);
}

static const struct target targets[] = {
    { .format = "qcow2" },
    { .format = "vmdk" },
    { .format = "vhdx" },
    { .format = "vhd" },
    { .format = "raw" },
    { .format = "vdi" },
    { .format = "vhdx", .options = { "subformat=fixed" }, .option_count = 1 },
    { .format = "qcow2", .strategy = DS_STRATEGY_GRAFT },
    { .format = "vmdk", .strategy = DS_STRATEGY_GRAFT },
    { .format = "vmdk", .strategy = DS_STRATEGY_RANGE },
    { .format = "vmdk",
      .options = { "subformat=overlay" },
      .option_count = 1,
      .share_source_file = true },
    { .format = "vmdk", .options = { "subformat=overlay" }, .option_count = 1 },
    { .format = "qcow2",
      .options = { "data_file=yes" },
      .option_count = 1,
      .share_source_file = true },
    { .format = "vmdk",
      .options = { "subformat=twoGbMaxExtentSparse" },
      .option_count = 1 },
    { .format = "qcow2", .options = { "cluster_size=512" }, .option_count = 1 },
    { .format = "qcow2",
      .options = { "extended_l2=yes", "cluster_size=128k" },
      .option_count = 2 },
};

static void make_a_plan(struct ds_disk *disk, unsigned choice)
{
    make_plan(disk, &targets[choice % (sizeof(targets) / sizeof(targets[0]))]);
}

/* -- all of it --------------------------------------------------------------*/

static bool checkable(const struct ds_disk *disk)
{
    for (uint32_t i = 0; i < disk->file_count; i++)
        if (disk->files[i]->size_bytes > CHECK_FILE_BYTES_MAX)
            return false;
    return true;
}

static int look_at(struct ds_disk *disk, unsigned choice)
{
    struct ds_check_report report;
    struct ds_error err = DS_ERROR_INIT;
    int walked;

    ask_image(disk);
    walked = walk_map(disk);
    if (walked < 0)
        return 1;
    /* What the walk refused, check finds as well, and a plan refuses. */
    if (checkable(disk) &&
        judge(ds_disk_check(disk, see_problem, disk, &report, &err), &err) ==
            0 &&
        walked == 0 && disk->layer_count == 1)
        assert(report.corruption_count > 0);
    if (ds_disk_size_bytes(disk) > PLAN_GUEST_BYTES_MAX)
        return 2;
    make_a_plan(disk, choice);
    return 3;
}

int fuzz_one(const char *format, const uint8_t *input, size_t length_bytes)
{
    static struct fuzz_case fuzz;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_disk *disk = NULL;
    struct ds_open_options options = { 0 };
    int reached = fuzz_mode(format, input, length_bytes);

    if (reached >= 0)
        return reached;
    reached = 0;
    fuzz_case_parse(&fuzz, input, length_bytes);
    if ((fuzz.flags & FUZZ_AS_IT_IS) == 0)
        fuzz_case_repair(&fuzz);
    memory_store_set(&fuzz);
    if (strcmp(format, "luks") == 0) {
        format = "qcow2";
        options.key_file = luks_image_key_file();
    }
    options.format = (fuzz.flags & FUZZ_PROBE) != 0 ? NULL : format;
    if (strcmp(format, "chain") == 0)
        options.format = NULL;
    options.no_refs = (fuzz.flags & FUZZ_NO_REFS) != 0;
    options.snapshot = (fuzz.flags & FUZZ_SNAPSHOT) != 0 ? "1" : NULL;
    options.member = (fuzz.flags & FUZZ_MEMBER) != 0 ? "1" : NULL;
    if (judge(ds_disk_open("image", &options, &disk, &err), &err) == 0) {
        reached = look_at(disk, fuzz.choice);
        ds_disk_close(disk);
    }
    assert(memory_store_open_count() == 0);
    return reached;
}
