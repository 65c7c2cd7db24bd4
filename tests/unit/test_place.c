/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement against a model that knows the target sector by sector. Random
 * layouts and random maps; for each, every guest sector must be found where
 * the units say, with the bytes it has in the source, and nothing that moves
 * may lie on what stays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arith.h"
#include "place.h"

#define GUEST_SECTORS 4096u
#define FILE_SECTORS 8192u
#define TARGET_SECTORS 65536u
#define NOTHING UINT32_MAX

struct model {
    uint32_t guest[GUEST_SECTORS];      /* source sector, NOTHING for zeros */
    uint32_t target[TARGET_SECTORS];    /* source sector there */
    uint64_t unit_place[GUEST_SECTORS]; /* by unit; 0 = none */
    uint64_t last_unit;
    bool any_unit;
    const struct ds_target_layout *layout;
    uint64_t transferred_bytes;
    uint64_t kept_bytes;
};

static int take_units(void *user, const struct ds_unit_run *run,
                      struct ds_error *err)
{
    struct model *model = user;
    uint64_t stride = model->layout->unit_bytes + model->layout->gap_bytes;

    (void)err;
    assert_true(!model->any_unit || run->first_unit > model->last_unit);
    for (uint64_t i = 0; i < run->unit_count; i++) {
        uint64_t place = run->file_offset_bytes + i * stride;

        assert_true(place % model->layout->align_bytes == 0);
        assert_true(place >= model->layout->head_bytes);
        model->unit_place[run->first_unit + i] = place;
    }
    model->last_unit = run->first_unit + run->unit_count - 1;
    model->any_unit = true;
    return 0;
}

static void put(struct model *model, uint64_t target, uint64_t source,
                uint64_t length)
{
    for (uint64_t i = 0; i < length / 512; i++) {
        assert_true(target / 512 + i < TARGET_SECTORS);
        assert_true(model->target[target / 512 + i] == NOTHING);
        model->target[target / 512 + i] = (uint32_t)(source / 512 + i);
    }
}

static int take_transfer(void *user, const struct transfer *transfer,
                         struct ds_error *err)
{
    struct model *model = user;

    (void)err;
    put(model, transfer->target_offset_bytes, transfer->source_offset_bytes,
        transfer->length_bytes);
    model->transferred_bytes += transfer->data_bytes;
    return 0;
}

static int take_kept(void *user, uint64_t offset_bytes, uint64_t length_bytes,
                     uint64_t data_bytes, struct ds_error *err)
{
    struct model *model = user;

    (void)err;
    put(model, offset_bytes, offset_bytes, length_bytes);
    model->kept_bytes += data_bytes;
    return 0;
}

static const struct placer_sink sink = {
    .units = take_units,
    .transfer = take_transfer,
    .kept = take_kept,
};

static uint64_t pick(const uint64_t *values, size_t count)
{
    return values[(size_t)random() % count];
}

static struct ds_target_layout random_layout(void)
{
    static const uint64_t units[] = { 0, 4096, 8192, 65536 };
    struct ds_target_layout layout = {
        .unit_bytes = pick(units, 4),
        .graftable = true,
        .file_count = 1,
    };

    layout.align_bytes = 512;
    if (layout.unit_bytes != 0) {
        layout.align_bytes = random() % 2 ? layout.unit_bytes : 512;
        layout.head_bytes = ds_max_u64(layout.align_bytes, 4096);
        layout.every_unit = random() % 8 == 0;
        if (random() % 4 == 0) {
            layout.gap_bytes = 4096;
            layout.align_bytes = 4096;
            layout.head_bytes = 4096;
        }
        layout.lists_extents = !layout.every_unit && random() % 4 == 0;
    }
    return layout;
}

/* The next extent of a random map: source sectors used at most once. */
static struct ds_extent random_extent(struct model *model, uint64_t guest,
                                      uint64_t step, uint8_t *used)
{
    struct ds_extent extent = { .guest_offset_bytes = guest * 512,
                                .kind = DS_EXTENT_HOLE,
                                .file_index = DS_FILE_NONE };
    uint64_t length = (1 + (uint64_t)random() % 40) * step;
    uint64_t from = (uint64_t)random() % (FILE_SECTORS / step) * step;

    if (random() % 4 == 0)
        from = guest; /* so that identity happens */
    length = ds_min_u64(length, GUEST_SECTORS - guest);
    length = ds_min_u64(length, FILE_SECTORS - from);
    extent.length_bytes = length * 512;
    if (random() % 3 == 0)
        return extent;
    for (uint64_t i = 0; i < length; i++)
        if (used[from + i])
            return extent;
    extent.kind = random() % 5 != 0 ? DS_EXTENT_DATA : DS_EXTENT_ZERO;
    extent.file_index = 0;
    extent.file_offset_bytes = from * 512;
    for (uint64_t i = 0; i < length; i++) {
        used[from + i] = 1;
        if (extent.kind == DS_EXTENT_DATA)
            model->guest[guest + i] = (uint32_t)(from + i);
    }
    return extent;
}

/* What the guest reads at a sector; *placed says whether it is in the file. */
static uint64_t place_of(const struct model *model, uint64_t sector,
                         bool *placed)
{
    uint64_t unit = model->layout->unit_bytes;

    *placed = true;
    if (unit == 0)
        return sector * 512;
    *placed = model->unit_place[sector * 512 / unit] != 0;
    return model->unit_place[sector * 512 / unit] + sector * 512 % unit;
}

static void run_case(long seed)
{
    static const uint64_t steps[] = { 1, 8, 16, 128 };
    static struct model model;
    static uint8_t used[FILE_SECTORS];
    struct ds_target_layout layout;
    struct ds_clone_domain domain = {
        .range = true, .file = true, .known = true, .granularity_bytes = 4096
    };
    struct placer placer;
    uint64_t step, data = 0;
    bool graft;

    srandom((unsigned)seed);
    layout = random_layout();
    step = pick(steps, 4);
    graft = random() % 2 == 0 && layout.gap_bytes == 0;
    memset(&model, 0, sizeof(model));
    memset(model.guest, 0xff, sizeof(model.guest));
    memset(model.target, 0xff, sizeof(model.target));
    memset(used, 0, sizeof(used));
    model.layout = &layout;
    placer = (struct placer){
        .layout = &layout,
        .domains = &domain,
        .base_index = graft ? 0 : DS_FILE_NONE,
        .data_start_bytes = graft ? FILE_SECTORS * 512 : layout.head_bytes,
        .sink = &sink,
        .user = &model,
    };
    placer_start(&placer);
    for (uint64_t guest = 0; guest < GUEST_SECTORS;) {
        struct ds_extent extent = random_extent(&model, guest, step, used);

        assert_int_equal(placer_add(&placer, &extent, NULL), 0);
        guest += extent.length_bytes / 512;
    }
    assert_int_equal(placer_finish(&placer, NULL), 0);
    for (uint64_t sector = 0; sector < GUEST_SECTORS; sector++) {
        bool placed;
        uint64_t place = place_of(&model, sector, &placed);

        if (model.guest[sector] == NOTHING)
            continue;
        data += 512;
        assert_true(placed);
        assert_int_equal(model.target[place / 512], model.guest[sector]);
    }
    if (layout.every_unit)
        for (uint64_t unit = 0; unit < GUEST_SECTORS * 512 / layout.unit_bytes;
             unit++)
            assert_true(model.unit_place[unit] != 0);
    assert_true(model.kept_bytes + model.transferred_bytes == data);
}

static void test_place__finds_every_sector_in_random_maps(void **state)
{
    (void)state;
    for (long seed = 1; seed <= 3000; seed++)
        run_case(seed);
}

/* Without misalignment a disk that lies in order is one transfer. */
static void test_place__joins_what_continues(void **state)
{
    static struct model model;
    struct ds_target_layout layout = { .unit_bytes = 65536,
                                       .align_bytes = 65536,
                                       .head_bytes = 65536 };
    struct ds_clone_domain domain = { .range = true,
                                      .granularity_bytes = 4096 };
    struct placer placer = { .layout = &layout,
                             .domains = &domain,
                             .base_index = DS_FILE_NONE,
                             .data_start_bytes = 65536,
                             .sink = &sink,
                             .user = &model };

    (void)state;
    memset(&model, 0, sizeof(model));
    memset(model.target, 0xff, sizeof(model.target));
    model.layout = &layout;
    placer_start(&placer);
    for (uint64_t i = 0; i < 16; i++) {
        struct ds_extent extent = { .guest_offset_bytes = i * 40960,
                                    .length_bytes = 40960,
                                    .kind = DS_EXTENT_DATA,
                                    .file_offset_bytes = 4096 + i * 40960 };

        assert_int_equal(placer_add(&placer, &extent, NULL), 0);
    }
    assert_true(placer.pending.length_bytes == 16 * 40960);
    assert_int_equal(placer_finish(&placer, NULL), 0);
    assert_true(model.last_unit == 9);
}

/* Zeros between two pieces of the base keep them one, when extents are
 * listed; in other files and other places they do not. */
static void test_place__lists_zeros_that_lie_between(void **state)
{
    static struct model model;
    struct ds_target_layout layout = { .unit_bytes = 512,
                                       .align_bytes = 512,
                                       .graftable = true,
                                       .lists_extents = true };
    struct ds_clone_domain domain = { .range = true,
                                      .granularity_bytes = 4096 };
    struct placer placer = { .layout = &layout,
                             .domains = &domain,
                             .data_start_bytes = 1 << 20,
                             .sink = &sink,
                             .user = &model };

    (void)state;
    memset(&model, 0, sizeof(model));
    memset(model.target, 0xff, sizeof(model.target));
    model.layout = &layout;
    placer_start(&placer);
    for (uint64_t i = 0; i < 9; i++) {
        struct ds_extent extent = {
            .guest_offset_bytes = i * 4096,
            .length_bytes = 4096,
            .kind = i % 2 == 0 ? DS_EXTENT_DATA : DS_EXTENT_ZERO,
            .file_index = i == 7 ? DS_FILE_NONE : 0,
            .file_offset_bytes = 512 + i * 4096,
        };

        assert_int_equal(placer_add(&placer, &extent, NULL), 0);
        assert_true(placer.run.first_unit == (i < 8 ? 0 : 64));
    }
    assert_int_equal(placer_finish(&placer, NULL), 0);
    assert_true(model.kept_bytes == 5 * 4096);
    assert_true(model.transferred_bytes == 0);
    assert_true(model.unit_place[8] == 512 + 4096);
    assert_true(model.unit_place[56] == 0);
}

static int note_transfer(void *user, const struct transfer *transfer,
                         struct ds_error *err)
{
    struct transfer **next = user;

    (void)err;
    *(*next)++ = *transfer;
    return 0;
}

static int no_units(void *user, const struct ds_unit_run *run,
                    struct ds_error *err)
{
    (void)user;
    (void)err;
    /* A run lies in one file. */
    assert_true(run->first_unit / 16 ==
                (run->first_unit + run->unit_count - 1) / 16);
    return 0;
}

/* An extent over three files of 64 KiB of the guest, with units and without. */
static void test_place__split_goes_on_in_the_next_file(void **state)
{
    static const struct placer_sink files_sink = { no_units, note_transfer,
                                                   take_kept };

    (void)state;
    for (unsigned units = 0; units < 2; units++) {
        struct ds_target_layout layout = { .unit_bytes = units ? 4096 : 0,
                                           .align_bytes = 512,
                                           .split_guest_bytes = 65536 };
        struct ds_clone_domain domain = { .range = true,
                                          .granularity_bytes = 4096 };
        struct transfer have[8] = { 0 }, *next = have;
        struct placer placer = { .layout = &layout,
                                 .domains = &domain,
                                 .base_index = DS_FILE_NONE,
                                 .data_start_bytes = units ? 8192 : 0,
                                 .sink = &files_sink,
                                 .user = &next };
        const struct ds_extent extent = { .guest_offset_bytes = 61440,
                                          .length_bytes = 4096 + 65536 + 8192,
                                          .file_offset_bytes = 4096 };
        /* by units packed behind the tables, else where the guest has it */
        const uint64_t first = units ? 8192 : 61440;
        const uint64_t start = units ? 8192 : 0;

        placer_start(&placer);
        assert_int_equal(placer_add(&placer, &extent, NULL), 0);
        assert_int_equal(placer_finish(&placer, NULL), 0);
        assert_int_equal(next - have, 3);
        for (uint64_t i = 0; i < 3; i++)
            assert_int_equal(have[i].target_offset_bytes,
                             i == 0 ? first
                                    : i * DS_SPLIT_STRIDE_BYTES + start);
        assert_int_equal(have[0].length_bytes, 4096);
        assert_int_equal(have[1].length_bytes, 65536);
        assert_int_equal(have[2].length_bytes, 8192);
        assert_int_equal(have[2].source_offset_bytes, 8192 + 65536);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place__finds_every_sector_in_random_maps),
        cmocka_unit_test(test_place__joins_what_continues),
        cmocka_unit_test(test_place__lists_zeros_that_lie_between),
        cmocka_unit_test(test_place__split_goes_on_in_the_next_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
