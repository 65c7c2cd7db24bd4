/* SPDX-License-Identifier: Apache-2.0 */
/* formats/vhd as a target, with these tests as the planner: what is emitted
 * lands in a file in memory, which the reader then has to understand. */
#include "vhd_testing.h"

#include "vhd/vhd.h"

#define MEMORY_BYTES_MAX (UINT64_C(64) * 1024 * 1024)

struct memory_emitter {
    struct ds_emitter emitter;
    struct memory_file memory; /* grows as it is written */
    unsigned fail_after;       /* writes; 0: never */
};

static int memory_write(struct ds_emitter *emitter, uint32_t target_index,
                        uint64_t offset_bytes, const void *bytes,
                        size_t length_bytes, struct ds_error *err)
{
    struct memory_emitter *to = (struct memory_emitter *)emitter;
    uint64_t end = offset_bytes + length_bytes;

    assert_int_equal(target_index, 0);
    assert_true(length_bytes <= DS_MIB);
    assert_true(end <= MEMORY_BYTES_MAX);
    if (to->fail_after != 0 && --to->fail_after == 0)
        return ds_fail(err, DS_ERR_SYSTEM, "no more");
    if (end > to->memory.file.size_bytes)
        memory_file_resize(&to->memory, end);
    memcpy(to->memory.bytes + offset_bytes, bytes, length_bytes);
    return 0;
}

static struct memory_emitter emitter_make(void)
{
    struct memory_emitter to = { .emitter.write = memory_write,
                                 .memory = memory_file_make(0) };

    return to;
}

static struct ds_target *target_open(uint64_t size, const char *option)
{
    const char *options[] = { option };
    struct ds_target_request request = { .path = "x.vhd",
                                         .size_bytes = size,
                                         .options = options,
                                         .option_count = option != NULL };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_target *target = NULL;

    assert_int_equal(vhd_format_ops.target_open(&request, &target, &err), 0);
    return target;
}

static int open_failure(uint64_t size, const char *option, const char *option2)
{
    const char *options[] = { option, option2 };
    struct ds_target_request request = { .path = "x.vhd",
                                         .size_bytes = size,
                                         .options = options };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_target *target = NULL;
    int result;

    request.option_count = option == NULL ? 0 : option2 == NULL ? 1 : 2;
    result = vhd_format_ops.target_open(&request, &target, &err);
    assert_null(target);
    assert_memory_equal(err.message, "vhd: ", 5);
    return result;
}

/* Seal for `unit_count` blocks. */
static struct ds_seal seal(struct ds_target *target, uint64_t unit_count)
{
    uint64_t stride = target->layout.unit_bytes + target->layout.gap_bytes;
    struct ds_footprint footprint = { .area_start_bytes =
                                          target->layout.head_bytes,
                                      .relocated_bytes = unit_count * stride,
                                      .unit_count = unit_count };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_seal out;

    assert_int_equal(vhd_format_ops.target_seal(target, &footprint, &out, &err),
                     0);
    return out;
}

static int place(struct ds_target *target, uint64_t first, uint64_t count,
                 uint64_t offset, struct memory_emitter *to)
{
    struct ds_unit_run run = { first, count, offset };
    struct ds_error err = DS_ERROR_INIT;

    return vhd_format_ops.target_place(target, &run, &to->emitter, &err);
}

static void finish(struct ds_target *target, struct memory_emitter *to)
{
    struct ds_error err = DS_ERROR_INIT;

    assert_int_equal(vhd_format_ops.target_finish(target, &to->emitter, &err),
                     0);
}

/* -- geometry ------------------------------------------------------------- */

static void expect_geometry(uint64_t sectors, unsigned cylinders,
                            unsigned heads, unsigned per_track)
{
    struct vhd_footer footer = { 0 };

    vhd_geometry_set(&footer, sectors * 512);
    assert_int_equal(footer.geometry_cylinders, cylinders);
    assert_int_equal(footer.geometry_heads, heads);
    assert_int_equal(footer.geometry_sectors_per_track, per_track);
}

/* Worked by hand from the spec's appendix; the 127 GiB disk is what Hyper-V
 * and Virtual PC both wrote for it. */
static void test_vhd__geometry_of_the_appendix(void **state)
{
    (void)state;
    expect_geometry(0, 0, 4, 17);
    expect_geometry(2048, 30, 4, 17);
    expect_geometry(4 * 1024 * 17 - 1, 1023, 4, 17);
    /* 4096 / 4 heads reaches 1024: a fifth head makes it fit again. */
    expect_geometry(5 * 1024 * 17 - 17, 1023, 5, 17);
    expect_geometry(16 * 1024 * 17, 561, 16, 31);
    expect_geometry(16 * 1024 * 31, 503, 16, 63);
    expect_geometry(UINT64_C(65535) * 16 * 63 - 1, 65534, 16, 63);
    expect_geometry(UINT64_C(65535) * 16 * 63, 16191, 16, 255);
    expect_geometry(UINT64_C(136365211648) / 512, 65278, 16, 255);
    expect_geometry(UINT64_C(65535) * 16 * 255, 65535, 16, 255);
    expect_geometry(UINT64_C(2040) * 1024 * 1024 * 2, 65535, 16, 255);
}

/* -- options -------------------------------------------------------------- */

static void test_vhd__target_options(void **state)
{
    struct ds_target *target;

    (void)state;
    target = target_open(DS_GIB, "block_size=512k");
    assert_int_equal(target->layout.unit_bytes, 512 * 1024);
    vhd_format_ops.target_close(target);
    target = target_open(DS_GIB, "block_size=2M");
    assert_int_equal(target->layout.unit_bytes, 2 * DS_MIB);
    vhd_format_ops.target_close(target);
    assert_int_equal(open_failure(512, "block_size=1M", NULL), -DS_ERR_ARG);
    assert_int_equal(open_failure(512, "block_size=x", NULL), -DS_ERR_ARG);
    assert_int_equal(open_failure(512, "block_size=512k", "subformat=fixed"),
                     -DS_ERR_ARG);
    assert_int_equal(open_failure(512, "subformat=thin", NULL), -DS_ERR_ARG);
    assert_int_equal(open_failure(512, "colour=red", NULL), -DS_ERR_ARG);
}

static void test_vhd__target_ends_at_2040_gib(void **state)
{
    (void)state;
    vhd_format_ops.target_close(target_open(2040 * DS_GIB, NULL));
    vhd_format_ops.target_close(target_open(2040 * DS_GIB, "subformat=fixed"));
    assert_int_equal(open_failure(2040 * DS_GIB + 512, NULL, NULL),
                     -DS_ERR_LIMIT);
    assert_int_equal(open_failure(2040 * DS_GIB + 512, "subformat=fixed", NULL),
                     -DS_ERR_LIMIT);
}

/* A full disk of the largest size: with blocks of 2 MiB its last bitmap is
 * still in reach of 32-bit sectors, with 512 KiB it is not. */
static void test_vhd__target_file_within_32_bit_sectors(void **state)
{
    struct ds_target *target = target_open(2040 * DS_GIB, NULL);
    uint64_t count = 2040 * DS_GIB / (2 * DS_MIB);
    struct ds_footprint footprint = { .area_start_bytes = 4096 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_seal out;

    (void)state;
    assert_true(seal(target, count).file_size_bytes[0] < 2 * DS_TIB);
    vhd_format_ops.target_close(target);
    target = target_open(2040 * DS_GIB, "block_size=512k");
    footprint.unit_count = 4 * count;
    footprint.relocated_bytes = footprint.unit_count * (512 * 1024 + 4096);
    assert_int_equal(vhd_format_ops.target_seal(target, &footprint, &out, &err),
                     -DS_ERR_LIMIT);
    vhd_format_ops.target_close(target);
}

/* -- fixed ---------------------------------------------------------------- */

static void test_vhd__target_fixed(void **state)
{
    struct ds_target *target = target_open(DS_MIB, "subformat=fixed");
    struct memory_emitter to = emitter_make();
    struct ds_error err;
    struct ds_extent extent;
    uint64_t size = 0;
    size_t count;

    (void)state;
    assert_int_equal(target->layout.unit_bytes, 0);
    assert_true(target->layout.graftable);
    assert_int_equal(seal(target, 0).file_size_bytes[0], DS_MIB + 512);
    finish(target, &to);
    assert_int_equal(to.memory.file.size_bytes, DS_MIB + 512);
    assert_int_equal(read_all(&to.memory, &extent, 1, &count, &size, &err), 0);
    assert_int_equal(size, DS_MIB);
    assert_extent(&extent, DS_EXTENT_DATA, 0, DS_MIB, 0, 0);
    assert_memory_equal(to.memory.bytes + DS_MIB + 28, "win ", 4);
    vhd_format_ops.target_close(target);
    free(to.memory.bytes);
}

/* -- dynamic -------------------------------------------------------------- */

static void test_vhd__target_dynamic_layout(void **state)
{
    /* 7 blocks and 512 bytes: 8 entries */
    struct ds_target *target =
        target_open(7 * 512 * 1024 + 512, "block_size=512k");
    const struct ds_target_layout *layout = &target->layout;
    struct ds_seal out;

    (void)state;
    assert_int_equal(layout->align_bytes, 4096);
    assert_int_equal(layout->head_bytes, 4096);
    assert_int_equal(layout->gap_bytes, 4096);
    assert_int_equal(layout->file_count, 1);
    assert_false(layout->graftable);
    assert_false(layout->wants_used);
    assert_false(layout->every_unit);
    out = seal(target, 3);
    assert_int_equal(out.data_start_bytes, 4096);
    assert_int_equal(out.metadata_bytes, 0);
    assert_int_equal(out.file_size_bytes[0],
                     4096 + 3 * (4096 + 512 * 1024) + 512);
    vhd_format_ops.target_close(target);

    /* 1024 entries from 1536: the data begins behind them, on a page */
    target = target_open(512 * DS_MIB, "block_size=512k");
    out = seal(target, 0);
    assert_int_equal(out.data_start_bytes, 8192);
    assert_int_equal(out.metadata_bytes, 4096);
    assert_int_equal(out.file_size_bytes[0], 8192 + 512);
    vhd_format_ops.target_close(target);
}

#define STRIDE (4096u + 512u * 1024u)

/* One pass of the planner: blocks 1, 2 and 7, the last one short. */
static void pass(struct ds_target *target, struct memory_emitter *to)
{
    assert_int_equal(place(target, 1, 2, 8192, to), 0);
    assert_int_equal(place(target, 7, 1, 8192 + 2 * STRIDE, to), 0);
    finish(target, to);
}

static void test_vhd__target_dynamic_is_read_back(void **state)
{
    struct ds_target *target =
        target_open(7 * 512 * 1024 + 512, "block_size=512k");
    struct memory_emitter to = emitter_make();
    uint8_t ones[512], zeros[3584] = { 0 };
    struct ds_extent extents[6];
    struct ds_error err;
    uint64_t size = 0;
    size_t count;

    (void)state;
    memset(ones, 0xff, sizeof(ones));
    assert_int_equal(seal(target, 3).file_size_bytes[0],
                     4096 + 3 * STRIDE + 512);
    pass(target, &to);
    assert_int_equal(to.memory.file.size_bytes, 4096 + 3 * STRIDE + 512);
    assert_int_equal(read_all(&to.memory, extents, 6, &count, &size, &err), 0);
    assert_int_equal(size, 7 * 512 * 1024 + 512);
    assert_int_equal(count, 5);
    assert_extent(&extents[0], DS_EXTENT_HOLE, 0, 524288, DS_FILE_NONE, 0);
    assert_extent(&extents[1], DS_EXTENT_DATA, 524288, 524288, 0, 8192);
    assert_extent(&extents[2], DS_EXTENT_DATA, 1048576, 524288, 0,
                  8192 + STRIDE);
    assert_extent(&extents[3], DS_EXTENT_HOLE, 1572864, 4 * 524288,
                  DS_FILE_NONE, 0);
    assert_extent(&extents[4], DS_EXTENT_DATA, 7 * 524288, 512, 0,
                  8192 + 2 * STRIDE);
    /* The bitmap ends its page, and the copy is the footer. */
    assert_memory_equal(to.memory.bytes + 4096, zeros, 3584);
    assert_memory_equal(to.memory.bytes + 8192 - 512, ones, 512);
    assert_memory_equal(to.memory.bytes, to.memory.bytes + 4096 + 3 * STRIDE,
                        512);
    /* "BAT is always extended to a sector boundary" with unused entries. */
    assert_memory_equal(to.memory.bytes + 1536 + 4 * 8, ones, 512 - 4 * 8);
    vhd_format_ops.target_close(target);
    free(to.memory.bytes);
}

static void test_vhd__target_passes_are_the_same(void **state)
{
    struct ds_target *target =
        target_open(7 * 512 * 1024 + 512, "block_size=512k");
    struct memory_emitter first = emitter_make(), again = emitter_make();

    (void)state;
    (void)seal(target, 3);
    pass(target, &first);
    pass(target, &again);
    assert_int_equal(first.memory.file.size_bytes,
                     again.memory.file.size_bytes);
    assert_memory_equal(first.memory.bytes, again.memory.bytes,
                        first.memory.file.size_bytes);
    vhd_format_ops.target_close(target);
    free(first.memory.bytes);
    free(again.memory.bytes);
}

/* Every write fails once; the pass that follows is as if nothing was. */
static void test_vhd__target_pass_after_a_broken_one(void **state)
{
    struct ds_target *target =
        target_open(7 * 512 * 1024 + 512, "block_size=512k");
    struct memory_emitter good = emitter_make();

    (void)state;
    (void)seal(target, 3);
    pass(target, &good);
    for (unsigned n = 1; n <= 7; n++) {
        struct memory_emitter broken = emitter_make(), again = emitter_make();
        struct ds_error err = DS_ERROR_INIT;
        int result;

        broken.fail_after = n;
        result = place(target, 1, 2, 8192, &broken);
        if (result == 0)
            result = place(target, 7, 1, 8192 + 2 * STRIDE, &broken);
        if (result == 0)
            result =
                vhd_format_ops.target_finish(target, &broken.emitter, &err);
        assert_int_equal(result, -DS_ERR_SYSTEM);
        pass(target, &again);
        assert_memory_equal(good.memory.bytes, again.memory.bytes,
                            good.memory.file.size_bytes);
        free(broken.memory.bytes);
        free(again.memory.bytes);
    }
    vhd_format_ops.target_close(target);
    free(good.memory.bytes);
}

/* Tables larger than the window they are built in: 1 TiB of 2 MiB blocks are
 * 524288 entries, two windows; the one placed block is in the second. */
static void test_vhd__target_table_of_several_windows(void **state)
{
    struct ds_target *target = target_open(DS_TIB, NULL);
    uint64_t table_bytes = DS_TIB / (2 * DS_MIB) * 4;
    struct memory_emitter to = emitter_make();
    struct ds_seal out = seal(target, 1);
    struct ds_extent extents[16];
    struct ds_error err;
    uint64_t size = 0, at = 0;
    size_t count, data = 0;

    (void)state;
    assert_int_equal(out.data_start_bytes, 1536 + table_bytes + 2560);
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(
            place(target, 500000, 1, out.data_start_bytes + 4096, &to), 0);
        finish(target, &to);
    }
    assert_int_equal(to.memory.file.size_bytes, out.file_size_bytes[0]);
    assert_int_equal(read_all(&to.memory, extents, 16, &count, &size, &err), 0);
    assert_int_equal(size, DS_TIB);
    assert_true(count <= 16);
    for (size_t i = 0; i < count; i++)
        if (extents[i].kind == DS_EXTENT_DATA) {
            at = extents[i].guest_offset_bytes;
            assert_int_equal(extents[i].file_offset_bytes,
                             out.data_start_bytes + 4096);
            data++;
        }
    assert_int_equal(data, 1);
    assert_int_equal(at, 500000 * 2 * DS_MIB);
    vhd_format_ops.target_close(target);
    free(to.memory.bytes);
}

/* The table is written even when no block ever comes by. */
static void test_vhd__target_without_blocks(void **state)
{
    static const uint64_t sizes[] = { 0, 512, DS_GIB, DS_TIB };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct ds_target *target = target_open(sizes[i], NULL);
        struct memory_emitter to = emitter_make();
        struct ds_error err;
        uint64_t size = 1;
        size_t count;

        (void)seal(target, 0);
        finish(target, &to);
        assert_int_equal(read_all(&to.memory, NULL, 0, &count, &size, &err), 0);
        assert_int_equal(size, sizes[i]);
        vhd_format_ops.target_close(target);
        free(to.memory.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vhd__geometry_of_the_appendix),
        cmocka_unit_test(test_vhd__target_options),
        cmocka_unit_test(test_vhd__target_ends_at_2040_gib),
        cmocka_unit_test(test_vhd__target_file_within_32_bit_sectors),
        cmocka_unit_test(test_vhd__target_fixed),
        cmocka_unit_test(test_vhd__target_dynamic_layout),
        cmocka_unit_test(test_vhd__target_dynamic_is_read_back),
        cmocka_unit_test(test_vhd__target_passes_are_the_same),
        cmocka_unit_test(test_vhd__target_pass_after_a_broken_one),
        cmocka_unit_test(test_vhd__target_table_of_several_windows),
        cmocka_unit_test(test_vhd__target_without_blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
