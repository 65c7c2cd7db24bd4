/* SPDX-License-Identifier: Apache-2.0 */
/* formats/vdi as a target, with these tests as the planner. */
#include "vdi_testing.h"

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

static int open_target(uint64_t size, const char *option,
                       struct ds_target **target)
{
    const char *options[] = { option };
    struct ds_target_request request = { .path = "x.vdi",
                                         .size_bytes = size,
                                         .options = options,
                                         .option_count = option != NULL };
    struct ds_error err = DS_ERROR_INIT;
    int result = vdi_format_ops.target_open(&request, target, &err);

    if (result != 0)
        assert_memory_equal(err.message, "vdi: ", 5);
    return result;
}

static struct ds_seal seal(struct ds_target *target, uint64_t unit_count)
{
    struct ds_footprint footprint = {
        .area_start_bytes = target->layout.head_bytes,
        .relocated_bytes = unit_count * DS_MIB,
        .unit_count = unit_count,
    };
    struct ds_seal out;

    assert_int_equal(vdi_format_ops.target_seal(target, &footprint, &out, NULL),
                     0);
    return out;
}

static int place(struct ds_target *target, uint64_t first, uint64_t count,
                 uint64_t offset, struct memory_emitter *to)
{
    struct ds_unit_run run = { first, count, offset };
    struct ds_error err = DS_ERROR_INIT;

    return vdi_format_ops.target_place(target, &run, &to->emitter, &err);
}

/* 300 TiB of entries would be 1.2 GiB: take a disk whose map needs more than
 * the buffer of 1 MiB, with blocks on both sides of its border. */
#define LARGE_BLOCKS UINT64_C(400000)
#define LARGE_HEAD (2 * DS_MIB)

static int pass(struct ds_target *target, struct memory_emitter *to)
{
    struct ds_error err = DS_ERROR_INIT;
    int result = place(target, 1, 2, LARGE_HEAD, to);

    if (result == 0)
        result = place(target, 262143, 2, LARGE_HEAD + 2 * DS_MIB, to);
    if (result == 0)
        result = place(target, 399999, 1, LARGE_HEAD + 4 * DS_MIB, to);
    return result == 0
               ? vdi_format_ops.target_finish(target, &to->emitter, &err)
               : result;
}

static void test_vdi__target_options(void **state)
{
    struct ds_target *target = NULL;

    (void)state;
    assert_int_equal(open_target(DS_GIB, "subformat=normal", &target), 0);
    assert_false(target->layout.every_unit);
    vdi_format_ops.target_close(target);
    assert_int_equal(open_target(DS_GIB, "subformat=fixed", &target), 0);
    assert_true(target->layout.every_unit);
    vdi_format_ops.target_close(target);
    target = NULL;
    assert_int_equal(open_target(DS_GIB, "subformat=thin", &target),
                     -DS_ERR_ARG);
    assert_int_equal(open_target(DS_GIB, "block_size=1M", &target),
                     -DS_ERR_ARG);
    assert_int_equal(open_target(512 * DS_TIB, NULL, &target), -DS_ERR_LIMIT);
    assert_null(target);
    assert_int_equal(open_target(512 * DS_TIB - DS_MIB, NULL, &target), 0);
    vdi_format_ops.target_close(target);
}

/* Data begins on a whole MiB after the map, however long that is; a graft
 * would leave gaps that the next block of a guest runs into. */
static void test_vdi__target_layout(void **state)
{
    static const struct {
        uint64_t size, head;
    } cases[] = {
        { 0, DS_MIB },
        { 512, DS_MIB },
        { (DS_MIB - 512) / 4 * DS_MIB, DS_MIB },
        { (DS_MIB - 512) / 4 * DS_MIB + 512, 2 * DS_MIB },
        { DS_TIB, 5 * DS_MIB },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ds_target *target = NULL;

        assert_int_equal(open_target(cases[i].size, NULL, &target), 0);
        assert_int_equal(target->layout.unit_bytes, DS_MIB);
        assert_int_equal(target->layout.align_bytes, DS_MIB);
        assert_int_equal(target->layout.gap_bytes, 0);
        assert_int_equal(target->layout.head_bytes, cases[i].head);
        assert_false(target->layout.graftable);
        assert_int_equal(seal(target, 0).file_size_bytes[0], cases[i].head);
        vdi_format_ops.target_close(target);
    }
}

static void expect_header(const uint8_t *bytes)
{
    assert_int_equal(get_le(bytes + 0x40, 4), 0xbeda107f);
    assert_int_equal(get_le(bytes + 0x44, 4), 0x00010001);
    assert_int_equal(get_le(bytes + 0x48, 4), 400);
    assert_int_equal(get_le(bytes + 0x4c, 4), 1);
    assert_int_equal(get_le(bytes + 0x154, 4), 512);
    assert_int_equal(get_le(bytes + 0x158, 4), LARGE_HEAD);
    assert_int_equal(get_le(bytes + 0x168, 4), 512);
    assert_int_equal(get_le(bytes + 0x170, 8), LARGE_BLOCKS * DS_MIB);
    assert_int_equal(get_le(bytes + 0x178, 4), DS_MIB);
    assert_int_equal(get_le(bytes + 0x17c, 4), 0);
    assert_int_equal(get_le(bytes + 0x180, 4), LARGE_BLOCKS);
    assert_int_equal(get_le(bytes + 0x184, 4), 5);
    assert_int_not_equal(get_le(bytes + 0x188, 8), 0);
    assert_int_equal(get_le(bytes + 0x1a8, 8), 0); /* no parent */
}

static void test_vdi__target_is_read_back(void **state)
{
    struct memory_emitter to = emitter_make();
    struct ds_target *target = NULL;
    uint64_t size = 0, data = 0;
    struct ds_extent extents[16];
    struct ds_error err;
    struct ds_seal out;
    size_t count;

    (void)state;
    assert_int_equal(open_target(LARGE_BLOCKS * DS_MIB, NULL, &target), 0);
    out = seal(target, 5);
    assert_int_equal(out.data_start_bytes, LARGE_HEAD);
    assert_int_equal(out.file_size_bytes[0], LARGE_HEAD + 5 * DS_MIB);
    assert_int_equal(pass(target, &to), 0);
    assert_int_equal(to.memory.file.size_bytes, 512 + 4 * LARGE_BLOCKS);
    expect_header(to.memory.bytes);
    assert_int_equal(get_le(to.memory.bytes + 512 + 4 * 0, 4), VDI_FREE);
    assert_int_equal(get_le(to.memory.bytes + 512 + 4 * 1, 4), 0);
    assert_int_equal(get_le(to.memory.bytes + 512 + 4 * 2, 4), 1);
    assert_int_equal(get_le(to.memory.bytes + 512 + 4 * 262142, 4), VDI_FREE);
    assert_int_equal(get_le(to.memory.bytes + 512 + 4 * 262143, 4), 2);
    assert_int_equal(get_le(to.memory.bytes + 512 + 4 * 262144, 4), 3);
    assert_int_equal(get_le(to.memory.bytes + 512 + 4 * 399999, 4), 4);
    memory_file_resize(&to.memory, out.file_size_bytes[0]);
    assert_int_equal(vdi_read_all(&to.memory, extents, 16, &count, &size, &err),
                     0);
    assert_int_equal(size, LARGE_BLOCKS * DS_MIB);
    for (size_t i = 0; i < count; i++)
        if (extents[i].kind == DS_EXTENT_DATA)
            data += extents[i].length_bytes;
    assert_int_equal(data, 5 * DS_MIB);
    vdi_format_ops.target_close(target);
    free(to.memory.bytes);
}

/* Every write fails once; the pass that follows is as if nothing was. */
static void test_vdi__target_pass_after_a_broken_one(void **state)
{
    struct memory_emitter good = emitter_make();
    struct ds_target *target = NULL;
    unsigned broken_count = 0;

    (void)state;
    assert_int_equal(open_target(LARGE_BLOCKS * DS_MIB, NULL, &target), 0);
    (void)seal(target, 5);
    assert_int_equal(pass(target, &good), 0);
    for (unsigned n = 1; n <= 8; n++) {
        struct memory_emitter broken = emitter_make(), again = emitter_make();

        broken.fail_after = n;
        if (pass(target, &broken) != 0)
            broken_count++;
        assert_int_equal(pass(target, &again), 0);
        assert_int_equal(again.memory.file.size_bytes,
                         good.memory.file.size_bytes);
        assert_memory_equal(good.memory.bytes, again.memory.bytes,
                            good.memory.file.size_bytes);
        free(broken.memory.bytes);
        free(again.memory.bytes);
    }
    /* Two of the map, one of the header. */
    assert_int_equal(broken_count, 3);
    vdi_format_ops.target_close(target);
    free(good.memory.bytes);
}

/* A pass that was given up between two runs, without a failure. */
static void test_vdi__target_pass_after_one_given_up(void **state)
{
    struct memory_emitter good = emitter_make(), again = emitter_make();
    struct memory_emitter half = emitter_make();
    struct ds_target *target = NULL;

    (void)state;
    assert_int_equal(open_target(LARGE_BLOCKS * DS_MIB, NULL, &target), 0);
    (void)seal(target, 5);
    assert_int_equal(pass(target, &good), 0);
    assert_int_equal(place(target, 1, 2, LARGE_HEAD, &half), 0);
    assert_int_equal(pass(target, &again), 0);
    assert_memory_equal(good.memory.bytes, again.memory.bytes,
                        good.memory.file.size_bytes);
    vdi_format_ops.target_close(target);
    free(good.memory.bytes);
    free(again.memory.bytes);
    free(half.memory.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vdi__target_options),
        cmocka_unit_test(test_vdi__target_layout),
        cmocka_unit_test(test_vdi__target_is_read_back),
        cmocka_unit_test(test_vdi__target_pass_after_a_broken_one),
        cmocka_unit_test(test_vdi__target_pass_after_one_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
