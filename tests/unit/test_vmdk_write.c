/* SPDX-License-Identifier: Apache-2.0 */
/* Targets without a planner: what is emitted for which runs. */
#include <stdio.h>

#include "vmdk_testing.h"

/* -- a file that the emitter writes ---------------------------------------- */

#define OUTPUT_BYTES ((size_t)8 << 20)
struct output {
    struct ds_emitter emitter;
    uint8_t *bytes[2];
    uint64_t end_bytes[2];
    unsigned write_count;
    unsigned fail_at; /* the write that fails; 0: none */
};

static int output_write(struct ds_emitter *emitter, uint32_t target_index,
                        uint64_t offset_bytes, const void *bytes,
                        size_t length_bytes, struct ds_error *err)
{
    struct output *output = (struct output *)emitter;

    if (++output->write_count == output->fail_at)
        return ds_fail(err, DS_ERR_CANCELLED, "stopped");
    assert_true(target_index < 2 && length_bytes > 0);
    assert_true(ds_range_fits(offset_bytes, length_bytes, OUTPUT_BYTES));
    memcpy(output->bytes[target_index] + offset_bytes, bytes, length_bytes);
    output->end_bytes[target_index] = ds_max_u64(
        output->end_bytes[target_index], offset_bytes + length_bytes);
    return 0;
}

static void output_reset(struct output *output)
{
    output->emitter.write = output_write;
    output->write_count = output->fail_at = 0;
    for (unsigned i = 0; i < 2; i++) {
        if (output->bytes[i] == NULL)
            output->bytes[i] = malloc(OUTPUT_BYTES);
        assert_non_null(output->bytes[i]);
        memset(output->bytes[i], 0, OUTPUT_BYTES);
        output->end_bytes[i] = 0;
    }
}

static struct output output;

static int setup(void **state)
{
    (void)state;
    output_reset(&output);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    memory_reset();
    for (unsigned i = 0; i < 2; i++) {
        free(output.bytes[i]);
        output.bytes[i] = NULL;
    }
    return 0;
}

static struct ds_target *open_target(uint64_t size_bytes, const char *option)
{
    const struct ds_target_request request = {
        .path = "/somewhere/new.vmdk",
        .options = &option,
        .option_count = option != NULL,
        .size_bytes = size_bytes,
    };
    struct ds_target *target = NULL;
    struct ds_error err = DS_ERROR_INIT;

    if (vmdk_format_ops.target_open(&request, &target, &err) != 0)
        fail_msg("%s", err.message);
    return target;
}

static int open_result(uint64_t size_bytes, const char *option)
{
    const struct ds_target_request request = {
        .path = "/somewhere/new.vmdk",
        .options = &option,
        .option_count = 1,
        .size_bytes = size_bytes,
    };
    struct ds_target *target = NULL;
    struct ds_error err = DS_ERROR_INIT;
    int result = vmdk_format_ops.target_open(&request, &target, &err);

    if (result == 0)
        vmdk_format_ops.target_close(target);
    else
        assert_memory_equal(err.message, "vmdk: ", 6);
    return result;
}

static struct ds_seal seal_target(struct ds_target *target,
                                  uint64_t area_start_bytes,
                                  uint64_t relocated_bytes)
{
    const struct ds_footprint footprint = {
        .area_start_bytes = area_start_bytes,
        .relocated_bytes = relocated_bytes,
        .file_names = { "new.vmdk", "new-flat.vmdk" },
    };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_seal seal;

    if (vmdk_format_ops.target_seal(target, &footprint, &seal, &err) != 0)
        fail_msg("%s", err.message);
    assert_true(seal.data_start_bytes >=
                area_start_bytes + seal.metadata_bytes);
    return seal;
}

static void place(struct ds_target *target, uint64_t first_unit,
                  uint64_t unit_count, uint64_t file_offset_bytes)
{
    const struct ds_unit_run run = { .first_unit = first_unit,
                                     .unit_count = unit_count,
                                     .file_offset_bytes = file_offset_bytes };
    struct ds_error err = DS_ERROR_INIT;

    if (vmdk_format_ops.target_place(target, &run, &output.emitter, &err) != 0)
        fail_msg("%s", err.message);
}

static void finish(struct ds_target *target)
{
    struct ds_error err = DS_ERROR_INIT;

    assert_int_equal(
        vmdk_format_ops.target_finish(target, &output.emitter, &err), 0);
}

/* Read what was written, as the engine does. */
static struct ds_image *read_back(uint64_t file_size_bytes)
{
    struct ds_image *image = NULL;
    struct ds_error err = DS_ERROR_INIT;

    memory_set(0, "new.vmdk", output.bytes[0], file_size_bytes);
    if (memory_open(&image, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(vmdk_format_ops.regions(image, ignore_region, image, &err),
                     0);
    return image;
}

static void expect_extent(struct ds_image *image, uint64_t guest,
                          uint64_t length, enum ds_extent_kind kind,
                          uint64_t file)
{
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_extent extent;

    if (vmdk_format_ops.extent_at(image, &cursor, guest, &extent, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(extent.kind, kind);
    assert_int_equal(extent.length_bytes, length);
    if (kind == DS_EXTENT_DATA)
        assert_int_equal(extent.file_offset_bytes, file);
    cursor_free(&cursor);
}

/* -- sparse ---------------------------------------------------------------- */

#define G (UINT64_C(64) * 1024)
#define HEAD_BYTES_EXPECTED (UINT64_C(64) * 1024)

/* Against the spec's drawing, byte for byte. */
static void test_vmdk_write__sparse_golden(void **state)
{
    /* 513 grains and a sector: two tables */
    struct ds_target *target = open_target(513 * G + 512, NULL);
    struct ds_seal seal;
    const uint8_t *file = output.bytes[0];
    struct ds_image *image;

    (void)state;
    assert_int_equal(target->layout.unit_bytes, G);
    assert_int_equal(target->layout.align_bytes, 512);
    assert_int_equal(target->layout.head_bytes, HEAD_BYTES_EXPECTED);
    assert_true(target->layout.graftable && !target->layout.wants_used);
    assert_int_equal(target->layout.file_count, 1);
    seal = seal_target(target, HEAD_BYTES_EXPECTED, 3 * G);
    assert_int_equal(seal.metadata_bytes, 2 * (512 + 2 * 2048));
    assert_int_equal(seal.data_start_bytes, 2 * G);
    assert_int_equal(seal.file_size_bytes[0], 5 * G);
    place(target, 0, 1, 2 * G);
    place(target, 511, 2, 3 * G);
    finish(target);
    assert_memory_equal(file,
                        "KDMV\1\0\0\0\3\0\0\0"   /* version, flags */
                        "\x81\x00\x01\0\0\0\0\0" /* capacity 0x10081 */
                        "\x80\0\0\0\0\0\0\0"     /* grain */
                        "\1\0\0\0\0\0\0\0"       /* descriptor */
                        "\x14\0\0\0\0\0\0\0"     /* its size */
                        "\0\2\0\0"               /* entries per table */
                        "\x80\0\0\0\0\0\0\0"     /* redundant directory */
                        "\x89\0\0\0\0\0\0\0"     /* directory */
                        "\0\1\0\0\0\0\0\0"       /* overhead */
                        "\0\n \r\n\0\0",
                        79);
    for (size_t i = 79; i < 512; i++)
        assert_int_equal(file[i], 0);
    /* directories: 0x80 +1, +5; 0x89 +1, +5 */
    assert_memory_equal(file + 0x80 * 512, "\x81\0\0\0\x85\0\0\0\0\0\0\0", 12);
    assert_memory_equal(file + 0x89 * 512, "\x8a\0\0\0\x8e\0\0\0\0\0\0\0", 12);
    for (unsigned copy = 0; copy < 2; copy++) {
        const uint8_t *table = file + (copy == 0 ? 0x81 : 0x8a) * 512;

        assert_memory_equal(table, "\0\1\0\0\0\0\0\0", 8);
        assert_memory_equal(table + 511 * 4, "\x80\1\0\0\0\2\0\0\0\0\0\0", 12);
    }
    image = read_back(seal.file_size_bytes[0]);
    assert_int_equal(image->size_bytes, 513 * G + 512);
    expect_extent(image, 0, G, DS_EXTENT_DATA, 2 * G);
    expect_extent(image, G, 510 * G, DS_EXTENT_HOLE, 0);
    expect_extent(image, 511 * G, 2 * G, DS_EXTENT_DATA, 3 * G);
    expect_extent(image, 513 * G, 512, DS_EXTENT_HOLE, 0);
    vmdk_format_ops.close(image);
    vmdk_format_ops.target_close(target);
}

/* Kept grains before the tables, on any sector; nothing of the source stays
 * in the head. */
static void test_vmdk_write__graft(void **state)
{
    struct ds_target *target = open_target(64 * G, "grain_size=8k");
    struct ds_image *image;
    struct ds_seal seal;
    uint64_t area = 1 << 20;

    (void)state;
    memset(output.bytes[0], 0xee, area);
    seal = seal_target(target, area, 8192);
    assert_int_equal(seal.data_start_bytes % 8192, 0);
    place(target, 0, 4, HEAD_BYTES_EXPECTED + 512);
    place(target, 511, 1, seal.data_start_bytes);
    finish(target);
    for (size_t i = 512 + 20 * 512; i < HEAD_BYTES_EXPECTED; i++)
        assert_int_equal(output.bytes[0][i], 0);
    assert_int_equal(output.bytes[0][HEAD_BYTES_EXPECTED], 0xee);
    image = read_back(seal.file_size_bytes[0]);
    expect_extent(image, 0, 4 * 8192, DS_EXTENT_DATA,
                  HEAD_BYTES_EXPECTED + 512);
    expect_extent(image, 511 * 8192, 8192, DS_EXTENT_DATA,
                  seal.data_start_bytes);
    /* data may begin at the head's end */
    assert_int_equal(
        ((struct vmdk_image *)image)->extents[0].sparse.header.overhead_bytes,
        HEAD_BYTES_EXPECTED);
    vmdk_format_ops.close(image);
    vmdk_format_ops.target_close(target);
}

static void test_vmdk_write__runs_across_the_buffer(void **state)
{
    /* 200000 grains: the buffer holds 65536 */
    struct ds_target *target = open_target(200000 * G, NULL);
    struct ds_seal seal = seal_target(target, HEAD_BYTES_EXPECTED, 190000 * G);
    const uint8_t *table;
    uint64_t sector = seal.data_start_bytes / 512;

    (void)state;
    place(target, 5, 70000, seal.data_start_bytes);
    place(target, 70005, 119000, seal.data_start_bytes + 70000 * G);
    place(target, 199000, 1000, seal.data_start_bytes + 189000 * G);
    finish(target);
    table = output.bytes[0] + HEAD_BYTES_EXPECTED + seal.metadata_bytes -
            ds_div_up(200000, 512) * 2048;
    for (uint64_t grain = 0; grain < 200000; grain++) {
        uint64_t expected = 0;
        uint64_t have =
            ds_le32_get(*(const vmdk_entry_disk *)(table + grain * 4));

        if (grain >= 5 && grain < 189005)
            expected = sector + (grain - 5) * 128;
        if (grain >= 199000)
            expected = sector + (grain - 199000 + 189000) * 128;
        if (have != expected)
            fail_msg("grain %u: %u", (unsigned)grain, (unsigned)have);
    }
    /* the copies are the same */
    assert_memory_equal(table,
                        output.bytes[0] + HEAD_BYTES_EXPECTED +
                            ds_align_up(ds_div_up(200000, 512) * 4, 512),
                        ds_div_up(200000, 512) * 2048);
    vmdk_format_ops.target_close(target);
}

static void run_pass(struct ds_target *target, const struct ds_seal *seal)
{
    place(target, 5, 70000, seal->data_start_bytes);
    place(target, 90000, 10, seal->data_start_bytes + 70000 * G);
    finish(target);
}

/* The second pass may be run again, also after one that was left. */
static void test_vmdk_write__passes_are_alike(void **state)
{
    struct ds_target *target = open_target(100000 * G, NULL);
    struct ds_seal seal = seal_target(target, HEAD_BYTES_EXPECTED, 70010 * G);
    uint8_t *first = malloc(OUTPUT_BYTES);
    unsigned writes;

    (void)state;
    assert_non_null(first);
    run_pass(target, &seal);
    writes = output.write_count;
    assert_true(writes > 6);
    memcpy(first, output.bytes[0], OUTPUT_BYTES);
    for (unsigned fail_at = 1; fail_at <= writes; fail_at++) {
        const struct ds_unit_run runs[] = {
            { 5, 70000, seal.data_start_bytes },
            { 90000, 10, seal.data_start_bytes + 70000 * G },
        };
        struct ds_error err = DS_ERROR_INIT;
        int result = 0;

        output_reset(&output);
        output.fail_at = fail_at;
        for (size_t i = 0; i < 2 && result == 0; i++)
            result = vmdk_format_ops.target_place(target, &runs[i],
                                                  &output.emitter, &err);
        if (result == 0)
            result =
                vmdk_format_ops.target_finish(target, &output.emitter, &err);
        assert_int_equal(result, -DS_ERR_CANCELLED);
        output_reset(&output);
        run_pass(target, &seal);
        assert_int_equal(output.write_count, writes);
        assert_memory_equal(first, output.bytes[0], OUTPUT_BYTES);
    }
    /* left without a word, before anything was emitted */
    place(target, 5, 3, seal.data_start_bytes + 512);
    place(target, 99, 3, seal.data_start_bytes + 99 * G);
    output_reset(&output);
    run_pass(target, &seal);
    assert_memory_equal(first, output.bytes[0], OUTPUT_BYTES);
    free(first);
    vmdk_format_ops.target_close(target);
}

static void test_vmdk_write__empty_disk(void **state)
{
    struct ds_target *target = open_target(0, NULL);
    struct ds_seal seal = seal_target(target, HEAD_BYTES_EXPECTED, 0);
    struct ds_image *image;

    (void)state;
    finish(target);
    image = read_back(seal.file_size_bytes[0]);
    assert_int_equal(image->size_bytes, 0);
    vmdk_format_ops.close(image);
    vmdk_format_ops.target_close(target);
}

/* -- limits ---------------------------------------------------------------- */

static void test_vmdk_write__two_tebibytes_of_file(void **state)
{
    struct ds_target *target = open_target(4 * DS_TIB, NULL);
    struct ds_footprint footprint = { .area_start_bytes = G,
                                      .file_names = { "new.vmdk" } };
    struct ds_unit_run run = { .unit_count = 1 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_seal seal;

    (void)state;
    seal = seal_target(target, G, 0);
    footprint.relocated_bytes = 2 * DS_TIB - seal.data_start_bytes;
    assert_int_equal(
        vmdk_format_ops.target_seal(target, &footprint, &seal, &err), 0);
    footprint.relocated_bytes += G;
    assert_int_equal(
        vmdk_format_ops.target_seal(target, &footprint, &seal, &err),
        -DS_ERR_LIMIT);
    assert_non_null(strstr(err.message, "monolithicFlat"));
    footprint.relocated_bytes = UINT64_MAX;
    assert_int_equal(
        vmdk_format_ops.target_seal(target, &footprint, &seal, &err),
        -DS_ERR_LIMIT);
    footprint.area_start_bytes = 3 * DS_TIB;
    footprint.relocated_bytes = 0;
    assert_int_equal(
        vmdk_format_ops.target_seal(target, &footprint, &seal, &err),
        -DS_ERR_LIMIT);
    seal = seal_target(target, G, 0);
    run.file_offset_bytes = 2 * DS_TIB - G;
    assert_int_equal(
        vmdk_format_ops.target_place(target, &run, &output.emitter, &err), 0);
    run.file_offset_bytes += 512;
    assert_int_equal(
        vmdk_format_ops.target_place(target, &run, &output.emitter, &err),
        -DS_ERR_LIMIT);
    vmdk_format_ops.target_close(target);
}

static void test_vmdk_write__options(void **state)
{
    (void)state;
    assert_int_equal(open_result(G, "grain_size=8192"), 0);
    assert_int_equal(open_result(G, "grain_size=2M"), 0);
    assert_int_equal(open_result(G, "grain_size=4k"), -DS_ERR_ARG);
    assert_int_equal(open_result(G, "grain_size=4M"), -DS_ERR_ARG);
    assert_int_equal(open_result(G, "grain_size=24k"), -DS_ERR_ARG);
    assert_int_equal(open_result(G, "grain_size=x"), -DS_ERR_ARG);
    assert_int_equal(open_result(G, "subformat=streamOptimised"), -DS_ERR_ARG);
    assert_int_equal(open_result(G, "adapter_type=virtio"), -DS_ERR_ARG);
    assert_int_equal(open_result(G, "adapter_type=legacyESX"), 0);
    assert_int_equal(open_result(G, "hardware_version=2"), -DS_ERR_ARG);
    assert_int_equal(open_result(G, "hardware_version=21"), 0);
    assert_int_equal(open_result(G, "what=ever"), -DS_ERR_ARG);
    assert_int_equal(open_result(UINT64_C(1) << 62, "grain_size=2M"),
                     -DS_ERR_LIMIT);
    assert_int_equal(open_result(UINT64_C(1) << 49, "grain_size=2M"), 0);
    assert_int_equal(open_result(INT64_MAX - 511, "subformat=vmfs"), 0);
}

/* -- flat ------------------------------------------------------------------ */

static void test_vmdk_write__flat(void **state)
{
    static const struct {
        const char *option;
        const char *line;
        const char *adapter;
        const char *hardware;
    } rows[] = {
        { "subformat=monolithicFlat", "RW 128 FLAT \"new-flat.vmdk\" 0\n",
          "adapterType = \"ide\"", "virtualHWVersion = \"4\"" },
        { "subformat=vmfs", "RW 128 VMFS \"new-flat.vmdk\"\n",
          "adapterType = \"lsilogic\"", "virtualHWVersion = \"8\"" },
    };
    uint8_t data[128 * 512] = { 7 };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct ds_target *target = open_target(sizeof(data), rows[i].option);
        struct ds_image *image;
        struct ds_seal seal;

        output_reset(&output);
        assert_int_equal(target->layout.unit_bytes, 0);
        assert_int_equal(target->layout.file_count, 2);
        assert_int_equal(target->layout.data_file_index, 1);
        char suffix[DS_SUFFIX_BYTES];
        vmdk_format_ops.target_suffix(target, 1, suffix);
        assert_string_equal(suffix, "-flat.vmdk");
        seal = seal_target(target, 0, 0);
        assert_int_equal(seal.metadata_bytes, 0);
        assert_int_equal(seal.file_size_bytes[1], sizeof(data));
        finish(target);
        assert_int_equal(output.end_bytes[0], seal.file_size_bytes[0]);
        assert_int_equal(output.end_bytes[1], 0);
        assert_non_null(strstr((char *)output.bytes[0], rows[i].line));
        assert_non_null(strstr((char *)output.bytes[0], rows[i].adapter));
        assert_non_null(strstr((char *)output.bytes[0], rows[i].hardware));
        memory_set(1, "new-flat.vmdk", data, sizeof(data));
        image = read_back(seal.file_size_bytes[0]);
        assert_int_equal(image->size_bytes, sizeof(data));
        expect_extent(image, 0, sizeof(data), DS_EXTENT_DATA, 0);
        vmdk_format_ops.close(image);
        vmdk_format_ops.target_close(target);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_vmdk_write__sparse_golden, setup),
        cmocka_unit_test_setup(test_vmdk_write__graft, setup),
        cmocka_unit_test_setup(test_vmdk_write__runs_across_the_buffer, setup),
        cmocka_unit_test_setup(test_vmdk_write__passes_are_alike, setup),
        cmocka_unit_test_setup(test_vmdk_write__empty_disk, setup),
        cmocka_unit_test_setup(test_vmdk_write__two_tebibytes_of_file, setup),
        cmocka_unit_test_setup(test_vmdk_write__options, setup),
        cmocka_unit_test_setup(test_vmdk_write__flat, setup),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
