/* SPDX-License-Identifier: Apache-2.0 */
/* VHDX as a target: the placement's contract, played by hand, and what the
 * reader makes of the result. */
#include <stdio.h>

#include "vhdx_fixture.h"

#define TARGET_BYTES_MAX (16 * MIB)

/* Gathers what is written into memory. */
struct gatherer {
    struct ds_emitter emitter;
    uint8_t *bytes; /* TARGET_BYTES_MAX; NULL: only count */
    uint64_t bytes_written;
    uint64_t longest;
    uint64_t bat_end; /* for order within the BAT */
    uint64_t bat_begin;
    int fail_write; /* as memory_file.fail_read */
};

static int gather(struct ds_emitter *emitter, uint32_t target_index,
                  uint64_t offset_bytes, const void *bytes, size_t length_bytes,
                  struct ds_error *err)
{
    struct gatherer *gatherer = (struct gatherer *)emitter;

    assert_int_equal(target_index, 0);
    if (gatherer->fail_write >= 0 && gatherer->fail_write-- == 0)
        return ds_fail_errno(err, EIO, "memory", "write");
    gatherer->bytes_written += length_bytes;
    gatherer->longest = ds_max_u64(gatherer->longest, length_bytes);
    if (gatherer->bat_begin != 0 && offset_bytes >= gatherer->bat_begin) {
        assert_int_equal(offset_bytes, gatherer->bat_end);
        gatherer->bat_end = offset_bytes + length_bytes;
    }
    if (gatherer->bytes != NULL) {
        assert_true(
            ds_range_fits(offset_bytes, length_bytes, TARGET_BYTES_MAX));
        memcpy(gatherer->bytes + offset_bytes, bytes, length_bytes);
    }
    return 0;
}

static struct ds_target *target_open(uint64_t size_bytes,
                                     const char *const *options, size_t count)
{
    struct ds_target_request request = { .path = "target",
                                         .options = options,
                                         .option_count = count,
                                         .size_bytes = size_bytes };
    struct ds_target *target = NULL;
    struct ds_error err = DS_ERROR_INIT;
    int result = vhdx_format_ops.target_open(&request, &target, &err);

    if (result != 0)
        print_error("%s\n", err.message);
    assert_int_equal(result, 0);
    assert_ptr_equal(target->format, &vhdx_format_ops);
    return target;
}

static int target_try(uint64_t size_bytes, const char *option,
                      struct ds_error *err)
{
    struct ds_target_request request = { .path = "target",
                                         .options = &option,
                                         .option_count = option != NULL,
                                         .size_bytes = size_bytes };
    struct ds_target *target = NULL;
    int result = vhdx_format_ops.target_open(&request, &target, err);

    if (result == 0)
        vhdx_format_ops.target_close(target);
    return result;
}

/* Both passes of a plan. Runs at or after area_start count from there and are
 * moved to the data area, once it is known. */
static struct ds_seal run_target(struct ds_target *target,
                                 struct ds_unit_run *runs, size_t run_count,
                                 uint64_t area_start, uint64_t relocated,
                                 struct gatherer *gatherer)
{
    const struct ds_format_ops *ops = target->format;
    struct ds_footprint footprint = { .area_start_bytes = area_start,
                                      .grafted = area_start > MIB,
                                      .relocated_bytes = relocated };
    struct ds_seal seal_out = { 0 };
    struct ds_error err = DS_ERROR_INIT;

    for (size_t i = 0; i < run_count; i++)
        assert_int_equal(ops->target_count(target, &runs[i], &err), 0);
    assert_int_equal(ops->target_seal(target, &footprint, &seal_out, &err), 0);
    gatherer->emitter.write = gather;
    for (size_t i = 0; i < run_count; i++) {
        struct ds_unit_run run = runs[i];

        if (run.file_offset_bytes >= area_start)
            run.file_offset_bytes += seal_out.data_start_bytes - area_start;
        assert_int_equal(
            ops->target_place(target, &run, &gatherer->emitter, &err), 0);
    }
    assert_int_equal(ops->target_finish(target, &gatherer->emitter, &err), 0);
    return seal_out;
}

/* The target's bytes as an image. */
static struct memory_file as_file(const struct gatherer *gatherer,
                                  const struct ds_seal *seal_in)
{
    return (struct memory_file){
        .file = { .store = &memory_store,
                  .path = (char *)(uintptr_t) "target",
                  .size_bytes = seal_in->file_size_bytes[0] },
        .bytes = gatherer->bytes,
        .length_bytes = TARGET_BYTES_MAX,
        .fail_read = -1,
    };
}

static void test_vhdx_write__range_layout_reads_back(void **state)
{
    /* Block 1, then 4 to 5; the last block is cut short by the disk. */
    struct ds_unit_run runs[] = { { 1, 1, MIB }, { 4, 2, 2 * MIB } };
    struct gatherer gatherer = { .bytes = calloc(1, TARGET_BYTES_MAX),
                                 .fail_write = -1 };
    struct ds_target *target = target_open(UINT64_C(5) * MIB + 512, NULL, 0);
    struct ds_extent extents[8];
    struct ds_error err = DS_ERROR_INIT;
    struct memory_file memory;
    struct ds_image *image;
    struct ds_seal sealed;

    (void)state;
    assert_int_equal(target->layout.unit_bytes, MIB);
    assert_int_equal(target->layout.align_bytes, MIB);
    assert_int_equal(target->layout.head_bytes, MIB);
    assert_true(target->layout.graftable);
    assert_false(target->layout.every_unit);
    sealed = run_target(target, runs, 2, MIB, 3 * MIB, &gatherer);
    assert_int_equal(sealed.metadata_bytes, 3 * MIB);
    assert_int_equal(sealed.data_start_bytes, 4 * MIB);
    assert_int_equal(sealed.file_size_bytes[0], 7 * MIB);
    memory = as_file(&gatherer, &sealed);
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_int_equal(image->size_bytes, UINT64_C(5) * MIB + 512);
    assert_int_equal(fix_map(image, extents, 8, &err), 4);
    assert_int_equal(extents[0].kind, DS_EXTENT_ZERO);
    assert_int_equal(extents[1].file_offset_bytes, 4 * MIB);
    assert_int_equal(extents[1].guest_offset_bytes, MIB);
    assert_int_equal(extents[2].kind, DS_EXTENT_ZERO);
    assert_int_equal(extents[3].file_offset_bytes, 5 * MIB);
    assert_int_equal(extents[3].length_bytes, MIB + 512);
    image->format->close(image);
    target->format->target_close(target);
    free(gatherer.bytes);
}

/* Blocks that stay in the base, out of order; tables behind it. The base's
 * bytes under the headers are gone after it. */
static void test_vhdx_write__graft_layout_reads_back(void **state)
{
    struct ds_unit_run runs[] = { { 0, 1, 8 * MIB },
                                  { 1, 2, 5 * MIB },
                                  { 3, 1, 2 * MIB } };
    struct gatherer gatherer = { .bytes = malloc(TARGET_BYTES_MAX),
                                 .fail_write = -1 };
    struct ds_target *target = target_open(UINT64_C(4) * MIB, NULL, 0);
    struct ds_extent extents[8];
    struct ds_error err = DS_ERROR_INIT;
    struct memory_file memory;
    struct ds_image *image;
    struct ds_seal sealed;

    (void)state;
    memset(gatherer.bytes, 0xee, TARGET_BYTES_MAX);
    memset(gatherer.bytes + 8 * MIB, 0, 8 * MIB);
    sealed = run_target(target, runs, 3, 8 * MIB, MIB, &gatherer);
    assert_int_equal(sealed.data_start_bytes, 11 * MIB);
    assert_int_equal(sealed.file_size_bytes[0], 12 * MIB);
    /* A random identifier may hold one such byte, but not eight in a row. */
    for (unsigned i = 0, stale = 0; i < MIB; i++) {
        stale = gatherer.bytes[i] == 0xee ? stale + 1 : 0;
        assert_true(stale < 8);
    }
    memory = as_file(&gatherer, &sealed);
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_int_equal(fix_map(image, extents, 8, &err), 3);
    assert_int_equal(extents[0].file_offset_bytes, 11 * MIB);
    assert_int_equal(extents[1].file_offset_bytes, 5 * MIB);
    assert_int_equal(extents[1].length_bytes, 2 * MIB);
    assert_int_equal(extents[2].file_offset_bytes, 2 * MIB);
    image->format->close(image);
    target->format->target_close(target);
    free(gatherer.bytes);
}

static void test_vhdx_write__fixed_allocates_every_block(void **state)
{
    static const char *const options[] = { "subformat=fixed", "block_size=2M" };
    struct ds_unit_run runs[] = { { 0, 3, MIB } };
    struct gatherer gatherer = { .bytes = calloc(1, TARGET_BYTES_MAX),
                                 .fail_write = -1 };
    struct ds_target *target = target_open(UINT64_C(5) * MIB, options, 2);
    struct ds_extent extents[2];
    struct ds_error err = DS_ERROR_INIT;
    struct memory_file memory;
    struct ds_image *image;
    struct ds_seal sealed;

    (void)state;
    assert_true(target->layout.every_unit);
    assert_int_equal(target->layout.unit_bytes, 2 * MIB);
    sealed = run_target(target, runs, 1, MIB, 6 * MIB, &gatherer);
    assert_int_equal(sealed.file_size_bytes[0], 10 * MIB);
    /* LeaveBlockAllocated, in the first metadata item. */
    assert_int_equal(get(gatherer.bytes + 2 * MIB + 0x10000, 4), 2 * MIB);
    assert_int_equal(get(gatherer.bytes + 2 * MIB + 0x10004, 4), 1);
    memory = as_file(&gatherer, &sealed);
    assert_int_equal(fix_open(&memory, &image, &err), 0);
    assert_int_equal(fix_map(image, extents, 2, &err), 1);
    assert_int_equal(extents[0].file_offset_bytes, 4 * MIB);
    image->format->close(image);
    target->format->target_close(target);
    free(gatherer.bytes);
}

static void test_vhdx_write__passes_are_identical(void **state)
{
    struct ds_unit_run runs[] = { { 1, 2, MIB } };
    struct gatherer first = { .bytes = calloc(1, TARGET_BYTES_MAX),
                              .fail_write = -1 };
    struct gatherer second = { .bytes = calloc(1, TARGET_BYTES_MAX),
                               .fail_write = -1 };
    struct ds_target *target = target_open(UINT64_C(4) * MIB, NULL, 0);

    (void)state;
    run_target(target, runs, 1, MIB, 2 * MIB, &first);
    run_target(target, runs, 1, MIB, 2 * MIB, &second);
    assert_int_equal(first.bytes_written, second.bytes_written);
    assert_memory_equal(first.bytes, second.bytes, TARGET_BYTES_MAX);
    target->format->target_close(target);
    free(first.bytes);
    free(second.bytes);
}

/* Headers and tables byte by byte, against the specification's numbers. */
static void test_vhdx_write__records_are_as_the_spec_has_them(void **state)
{
    struct ds_unit_run runs[] = { { 0, 1, MIB } };
    struct gatherer gatherer = { .bytes = calloc(1, TARGET_BYTES_MAX),
                                 .fail_write = -1 };
    struct ds_target *target = target_open(UINT64_C(4) * MIB, NULL, 0);
    static const uint8_t none[16];
    uint8_t *bytes = gatherer.bytes;

    (void)state;
    run_target(target, runs, 1, MIB, MIB, &gatherer);
    assert_memory_equal(bytes, "vhdxfiled\0i\0s\0k\0s\0h\0i\0f\0t\0\0\0", 28);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *header = bytes + (i == 0 ? FIX_HEADER_1 : FIX_HEADER_2);
        uint64_t checksum = get(header + 4, 4);

        assert_memory_equal(header, "head", 4);
        seal(header, 4096);
        assert_int_equal(get(header + 4, 4), checksum);
        assert_int_equal(get(header + 8, 8), i + 1);
        assert_memory_not_equal(header + 16, none, 16);
        assert_memory_not_equal(header + 32, none, 16);
        assert_memory_equal(header + 48, none, 16); /* no log to replay */
        assert_int_equal(get(header + 64, 2), 0);
        assert_int_equal(get(header + 66, 2), 1);
        assert_int_equal(get(header + 68, 4), MIB);
        assert_int_equal(get(header + 72, 8), MIB);
    }
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *table = bytes + (i == 0 ? FIX_REGIONS_1 : FIX_REGIONS_2);
        uint64_t checksum = get(table + 4, 4);

        assert_memory_equal(table, "regi", 4);
        seal(table, 65536);
        assert_int_equal(get(table + 4, 4), checksum);
        assert_int_equal(get(table + 8, 4), 2);
        assert_memory_equal(table + 16, fix_bat_guid, 16);
        assert_int_equal(get(table + 32, 8), 3 * MIB);
        assert_int_equal(get(table + 40, 4), MIB);
        assert_int_equal(get(table + 44, 4), 1);
        assert_memory_equal(table + 48, fix_metadata_guid, 16);
        assert_int_equal(get(table + 64, 8), 2 * MIB);
    }
    assert_memory_equal(bytes + 2 * MIB, "metadata\0\0\5\0", 12);
    assert_int_equal(get(bytes + 2 * MIB + 0x10010, 4), 512);
    assert_int_equal(get(bytes + 2 * MIB + 0x10014, 4), 512);
    assert_int_equal(get(bytes + 3 * MIB, 8), 4 * MIB | 6);
    assert_int_equal(get(bytes + 3 * MIB + 8, 8), 2);
    assert_int_equal(get(bytes + 3 * MIB + 24, 8), 2);
    assert_int_equal(get(bytes + 3 * MIB + 32, 8), 0);
    target->format->target_close(target);
    free(gatherer.bytes);
}

/* 256 MiB blocks, 16 to a chunk: entries of the sector bitmaps stay 0. */
static void test_vhdx_write__sector_bitmap_entries_are_zero(void **state)
{
    static const char *const options[] = { "block_size=256M" };
    const uint64_t block = UINT64_C(256) * MIB;
    struct ds_unit_run runs[] = { { 0, 15, MIB },
                                  { 17, 3, MIB + 15 * block },
                                  { 31, 9, MIB + 18 * block } };
    struct gatherer gatherer = { .bytes = calloc(1, TARGET_BYTES_MAX),
                                 .fail_write = -1 };
    struct ds_target *target = target_open(40 * block, options, 1);
    uint64_t expected;

    (void)state;
    run_target(target, runs, 3, MIB, 27 * block, &gatherer);
    for (uint64_t i = 0; i < 40; i++) {
        const uint8_t *entry = gatherer.bytes + 3 * MIB + 8 * (i + i / 16);

        expected = 2;
        if (i < 15)
            expected = (4 * MIB + i * block) | 6;
        else if (i >= 17 && i < 20)
            expected = (4 * MIB + (i - 17 + 15) * block) | 6;
        else if (i >= 31)
            expected = (4 * MIB + (i - 31 + 18) * block) | 6;
        assert_int_equal(get(entry, 8), expected);
    }
    assert_int_equal(get(gatherer.bytes + 3 * MIB + 8 * 16, 8), 0);
    assert_int_equal(get(gatherer.bytes + 3 * MIB + 8 * 33, 8), 0);
    assert_int_equal(get(gatherer.bytes + 3 * MIB + 8 * 42, 8), 0);
    target->format->target_close(target);
    free(gatherer.bytes);
}

/* The greatest disk with the smallest blocks: 64 Mi entries leave in order,
 * in pieces of a MiB. */
static void test_vhdx_write__bat_is_streamed(void **state)
{
    static const char *const options[] = { "block_size=1M" };
    const uint64_t size = UINT64_C(64) << 40, blocks = size / MIB;
    struct ds_unit_run runs[] = { { 5, 3, MIB },
                                  { 1000, blocks - 1000, 4 * MIB } };
    struct gatherer gatherer = { .bat_begin = 3 * MIB,
                                 .bat_end = 3 * MIB,
                                 .fail_write = -1 };
    struct ds_target *target = target_open(size, options, 1);
    const struct ds_format_ops *ops = target->format;
    struct ds_footprint footprint = { .area_start_bytes = MIB };
    struct ds_seal sealed = { 0 };
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    gatherer.emitter.write = gather;
    assert_int_equal(ops->target_seal(target, &footprint, &sealed, &err), 0);
    assert_int_equal(sealed.data_start_bytes, (3 + 513) * (uint64_t)MIB);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(
            ops->target_place(target, &runs[i], &gatherer.emitter, &err), 0);
    assert_int_equal(ops->target_finish(target, &gatherer.emitter, &err), 0);
    assert_int_equal(gatherer.bat_end,
                     3 * MIB + 8 * (blocks + (blocks - 1) / 4096));
    assert_true(gatherer.longest <= MIB);
    ops->target_close(target);
}

static void test_vhdx_write__default_block_size(void **state)
{
    const struct {
        uint64_t disk_bytes;
        uint64_t block_bytes;
    } cases[] = {
        { ((uint64_t)MIB << 20) - 512, MIB },
        { (uint64_t)MIB << 20, 32 * MIB },
        { (uint64_t)MIB << 25, 32 * MIB },
        { ((uint64_t)MIB << 25) + 512, 64 * MIB },
        { (uint64_t)MIB << 26, 64 * MIB },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ds_target *target = target_open(cases[i].disk_bytes, NULL, 0);

        assert_int_equal(target->layout.unit_bytes, cases[i].block_bytes);
        target->format->target_close(target);
    }
}

static void test_vhdx_write__bad_options(void **state)
{
    static const struct {
        uint64_t size;
        const char *option;
        enum ds_error_class expected;
    } cases[] = {
        { MIB, "subformat=differencing", DS_ERR_ARG },
        { MIB, "block_size=512k", DS_ERR_ARG },
        { MIB, "block_size=3M", DS_ERR_ARG },
        { MIB, "block_size=512M", DS_ERR_ARG },
        { MIB, "block_size=0", DS_ERR_ARG },
        { MIB, "block_size=x", DS_ERR_ARG },
        { MIB, "logical_sector_size=1024", DS_ERR_ARG },
        { MIB + 512, "logical_sector_size=4096", DS_ERR_ARG },
        { MIB, "colour=blue", DS_ERR_ARG },
        { 0, NULL, DS_ERR_LIMIT },
        { (UINT64_C(64) << 40) + 512, NULL, DS_ERR_LIMIT },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ds_error err = DS_ERROR_INIT;

        assert_int_equal(target_try(cases[i].size, cases[i].option, &err),
                         -(int)cases[i].expected);
        assert_memory_equal(err.message, "vhdx: ", 6);
    }
    for (unsigned i = 0; i < 9; i++) {
        char option[32];
        struct ds_error err = DS_ERROR_INIT;

        (void)snprintf(option, sizeof(option), "block_size=%uM", 1u << i);
        assert_int_equal(target_try(MIB, option, &err), 0);
    }
}

static void test_vhdx_write__every_write_may_fail(void **state)
{
    bool failed = true;

    (void)state;
    for (int n = 0; failed; n++) {
        struct ds_unit_run run = { 1, 2, 4 * MIB };
        struct gatherer gatherer = { .emitter.write = gather, .fail_write = n };
        struct ds_target *target = target_open(UINT64_C(4) * MIB, NULL, 0);
        struct ds_footprint footprint = { .area_start_bytes = MIB };
        struct ds_seal sealed;
        struct ds_error err = DS_ERROR_INIT;
        const struct ds_format_ops *ops = target->format;
        int result = ops->target_seal(target, &footprint, &sealed, &err);

        if (result == 0)
            result = ops->target_place(target, &run, &gatherer.emitter, &err);
        if (result == 0)
            result = ops->target_finish(target, &gatherer.emitter, &err);
        failed = result != 0;
        if (failed)
            assert_int_equal(result, -DS_ERR_SYSTEM);
        ops->target_close(target);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vhdx_write__range_layout_reads_back),
        cmocka_unit_test(test_vhdx_write__graft_layout_reads_back),
        cmocka_unit_test(test_vhdx_write__fixed_allocates_every_block),
        cmocka_unit_test(test_vhdx_write__passes_are_identical),
        cmocka_unit_test(test_vhdx_write__records_are_as_the_spec_has_them),
        cmocka_unit_test(test_vhdx_write__sector_bitmap_entries_are_zero),
        cmocka_unit_test(test_vhdx_write__bat_is_streamed),
        cmocka_unit_test(test_vhdx_write__default_block_size),
        cmocka_unit_test(test_vhdx_write__bad_options),
        cmocka_unit_test(test_vhdx_write__every_write_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
