/* SPDX-License-Identifier: Apache-2.0 */
/* Targets of many files, and those that only list places: what is emitted
 * for which runs, without a planner. */
#include <stdio.h>

#include "vmdk_testing.h"

#define G (UINT64_C(64) * 1024)
#define SPLIT (UINT64_C(2047) << 20)
#define SPLIT_GRAINS (SPLIT / G)

/* -- files that the emitter writes ----------------------------------------- */

#define FILE_COUNT 4u
#define FILE_BYTES ((size_t)2 << 20)
static struct output {
    struct ds_emitter emitter;
    uint8_t *bytes[FILE_COUNT];
    unsigned write_count;
    unsigned fail_at; /* the write that fails; 0: none */
} output;

static int output_write(struct ds_emitter *emitter, uint32_t target_index,
                        uint64_t offset_bytes, const void *bytes,
                        size_t length_bytes, struct ds_error *err)
{
    struct output *self = (struct output *)emitter;

    if (++self->write_count == self->fail_at)
        return ds_fail(err, DS_ERR_CANCELLED, "stopped");
    assert_true(target_index < FILE_COUNT && length_bytes > 0);
    assert_true(ds_range_fits(offset_bytes, length_bytes, FILE_BYTES));
    memcpy(self->bytes[target_index] + offset_bytes, bytes, length_bytes);
    return 0;
}

static void output_reset(void)
{
    output.emitter.write = output_write;
    output.write_count = output.fail_at = 0;
    for (unsigned i = 0; i < FILE_COUNT; i++) {
        free(output.bytes[i]);
        output.bytes[i] = calloc(1, FILE_BYTES);
        assert_non_null(output.bytes[i]);
    }
}

static int setup(void **state)
{
    (void)state;
    output_reset();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    memory_reset();
    for (unsigned i = 0; i < FILE_COUNT; i++) {
        free(output.bytes[i]);
        output.bytes[i] = NULL;
    }
    return 0;
}

static int open_with(uint64_t size_bytes, const char *const *options,
                     size_t option_count, struct ds_target **target)
{
    const struct ds_target_request request = {
        .path = "/somewhere/new.vmdk",
        .options = options,
        .option_count = option_count,
        .size_bytes = size_bytes,
    };
    struct ds_error err = DS_ERROR_INIT;

    *target = NULL;
    return vmdk_format_ops.target_open(&request, target, &err);
}

static struct ds_target *open_target(uint64_t size_bytes, const char *option)
{
    struct ds_target *target;

    assert_int_equal(open_with(size_bytes, &option, 1, &target), 0);
    return target;
}

static int count(struct ds_target *target, uint64_t first_unit,
                 uint64_t unit_count, uint64_t place, struct ds_error *err)
{
    const struct ds_unit_run run = { first_unit, unit_count, place };

    return vmdk_format_ops.target_count(target, &run, err);
}

static void finish(struct ds_target *target)
{
    struct ds_error err = DS_ERROR_INIT;

    assert_int_equal(
        vmdk_format_ops.target_finish(target, &output.emitter, &err), 0);
}

/* Read what was written, as the engine does. */
static struct ds_image *read_back(const struct ds_seal *seal,
                                  const char *const *names, unsigned file_count)
{
    struct ds_image *image = NULL;
    struct ds_error err = DS_ERROR_INIT;

    for (unsigned i = 0; i < file_count; i++) {
        assert_true(seal->file_size_bytes[i] <= FILE_BYTES);
        memory_set(i, names[i], output.bytes[i], seal->file_size_bytes[i]);
    }
    if (memory_open(&image, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(vmdk_format_ops.regions(image, ignore_region, image, &err),
                     0);
    return image;
}

static void expect_extent(struct ds_image *image, uint64_t guest,
                          uint64_t length, enum ds_extent_kind kind,
                          uint32_t file, uint64_t offset)
{
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_extent extent;

    if (vmdk_format_ops.extent_at(image, &cursor, guest, &extent, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(extent.kind, kind);
    assert_int_equal(extent.length_bytes, length);
    if (kind == DS_EXTENT_DATA) {
        assert_int_equal(extent.file_index, file);
        assert_int_equal(extent.file_offset_bytes, offset);
    }
    cursor_free(&cursor);
}

/* -- split ----------------------------------------------------------------- */

#define LAST_GRAINS 3u /* and a sector */
#define SPLIT_SIZE (SPLIT + LAST_GRAINS * G + 512)
/* Of the full extent: 64 tables, twice, behind a page of head. */
#define SPLIT_METADATA (2 * (512 + 64 * UINT64_C(2048)))
#define SPLIT_DATA_START (5 * G)

static const char *const split_names[] = { "new.vmdk", "new-s001.vmdk",
                                           "new-s002.vmdk" };

static struct ds_seal seal_split(struct ds_target *target)
{
    const struct ds_footprint footprint = {
        .area_start_bytes = 4096,
        .file_names = { split_names[0], split_names[1], split_names[2] },
    };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_seal seal;

    assert_int_equal(count(target, 5, 2, 0, &err), 0);
    assert_int_equal(count(target, SPLIT_GRAINS - 1, 1, 2 * G, &err), 0);
    assert_int_equal(
        count(target, SPLIT_GRAINS, 2, DS_SPLIT_STRIDE_BYTES + 512, &err), 0);
    if (vmdk_format_ops.target_seal(target, &footprint, &seal, &err) != 0)
        fail_msg("%s", err.message);
    return seal;
}

static int run_split(struct ds_target *target, const struct ds_seal *seal)
{
    const uint64_t start = seal->data_start_bytes;
    const struct ds_unit_run runs[] = {
        { 5, 2, start },
        { SPLIT_GRAINS - 1, 1, start + 2 * G },
        { SPLIT_GRAINS, 2, DS_SPLIT_STRIDE_BYTES + start + 512 },
    };
    struct ds_error err = DS_ERROR_INIT;
    int result = 0;

    for (size_t i = 0; i < 3 && result == 0; i++)
        result = vmdk_format_ops.target_place(target, &runs[i], &output.emitter,
                                              &err);
    return result != 0
               ? result
               : vmdk_format_ops.target_finish(target, &output.emitter, &err);
}

static void test_vmdk_forms__split_sparse_golden(void **state)
{
    struct ds_target *target =
        open_target(SPLIT_SIZE, "subformat=twoGbMaxExtentSparse");
    struct ds_seal seal = seal_split(target);
    char suffix[DS_SUFFIX_BYTES];
    struct ds_image *image;

    (void)state;
    assert_int_equal(target->layout.split_guest_bytes, SPLIT);
    assert_int_equal(target->layout.file_count, 3);
    assert_int_equal(target->layout.data_file_index, 1);
    assert_false(target->layout.graftable || target->layout.can_refer);
    vmdk_format_ops.target_suffix(target, 2, suffix);
    assert_string_equal(suffix, "-s002.vmdk");
    vmdk_format_ops.target_suffix(target, 1024, suffix);
    assert_string_equal(suffix, "-s1024.vmdk");
    assert_int_equal(seal.metadata_bytes, SPLIT_METADATA);
    assert_int_equal(seal.data_start_bytes, SPLIT_DATA_START);
    assert_int_equal(seal.file_size_bytes[1], SPLIT_DATA_START + 3 * G);
    assert_int_equal(seal.file_size_bytes[2], SPLIT_DATA_START + 2 * G + 512);
    assert_int_equal(run_split(target, &seal), 0);
    /* magic, version, flags, capacity, grain, no descriptor, entries, RGD, GD,
     * overhead: the full extent and the short one */
    assert_memory_equal(output.bytes[1],
                        "KDMV\1\0\0\0\3\0\0\0"
                        "\x00\xf8\x3f\0\0\0\0\0\x80\0\0\0\0\0\0\0"
                        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0\0"
                        "\x08\0\0\0\0\0\0\0\x09\1\0\0\0\0\0\0"
                        "\x80\2\0\0\0\0\0\0\0\n \r\n\0\0",
                        79);
    assert_memory_equal(output.bytes[2],
                        "KDMV\1\0\0\0\3\0\0\0"
                        "\x81\1\0\0\0\0\0\0\x80\0\0\0\0\0\0\0"
                        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0\0"
                        "\x08\0\0\0\0\0\0\0\x0d\0\0\0\0\0\0\0"
                        "\x80\2\0\0\0\0\0\0\0\n \r\n\0\0",
                        79);
    image = read_back(&seal, split_names, 3);
    assert_int_equal(image->size_bytes, SPLIT_SIZE);
    expect_extent(image, 0, 5 * G, DS_EXTENT_HOLE, 0, 0);
    expect_extent(image, 5 * G, 2 * G, DS_EXTENT_DATA, 1, SPLIT_DATA_START);
    expect_extent(image, SPLIT - G, G, DS_EXTENT_DATA, 1,
                  SPLIT_DATA_START + 2 * G);
    expect_extent(image, SPLIT, 2 * G, DS_EXTENT_DATA, 2,
                  SPLIT_DATA_START + 512);
    expect_extent(image, SPLIT + 2 * G, G + 512, DS_EXTENT_HOLE, 0, 0);
    vmdk_format_ops.close(image);
    vmdk_format_ops.target_close(target);
}

/* The second pass may be run again, also after one that was left. */
static void test_vmdk_forms__split_passes_are_alike(void **state)
{
    struct ds_target *target =
        open_target(SPLIT_SIZE, "subformat=twoGbMaxExtentSparse");
    struct ds_seal seal = seal_split(target);
    uint8_t *first[3];
    unsigned writes;

    (void)state;
    assert_int_equal(run_split(target, &seal), 0);
    writes = output.write_count;
    assert_true(writes > 10);
    for (unsigned i = 0; i < 3; i++) {
        first[i] = malloc(FILE_BYTES);
        assert_non_null(first[i]);
        memcpy(first[i], output.bytes[i], FILE_BYTES);
    }
    for (unsigned fail_at = 1; fail_at <= writes; fail_at++) {
        output_reset();
        output.fail_at = fail_at;
        assert_int_equal(run_split(target, &seal), -DS_ERR_CANCELLED);
        output_reset();
        assert_int_equal(run_split(target, &seal), 0);
        for (unsigned i = 0; i < 3; i++)
            assert_memory_equal(first[i], output.bytes[i], FILE_BYTES);
    }
    for (unsigned i = 0; i < 3; i++)
        free(first[i]);
    vmdk_format_ops.target_close(target);
}

static void test_vmdk_forms__split_flat(void **state)
{
    static const char *const names[] = { "new.vmdk", "new-f001.vmdk",
                                         "new-f002.vmdk" };
    const struct ds_footprint footprint = {
        .file_names = { names[0], names[1], names[2] },
    };
    struct ds_target *target =
        open_target(SPLIT + 512, "subformat=twoGbMaxExtentFlat");
    struct ds_error err = DS_ERROR_INIT;
    char suffix[DS_SUFFIX_BYTES];
    struct ds_seal seal;

    (void)state;
    assert_int_equal(target->layout.unit_bytes, 0);
    assert_int_equal(target->layout.split_guest_bytes, SPLIT);
    assert_int_equal(target->layout.file_count, 3);
    assert_true(target->layout.ends_with_data && !target->layout.graftable);
    vmdk_format_ops.target_suffix(target, 1, suffix);
    assert_string_equal(suffix, "-f001.vmdk");
    assert_int_equal(
        vmdk_format_ops.target_seal(target, &footprint, &seal, &err), 0);
    assert_int_equal(seal.file_size_bytes[1], SPLIT);
    assert_int_equal(seal.file_size_bytes[2], 512);
    finish(target);
    assert_non_null(strstr((char *)output.bytes[0],
                           "RW 4192256 FLAT \"new-f001.vmdk\" 0\n"
                           "RW 1 FLAT \"new-f002.vmdk\" 0\n"));
    vmdk_format_ops.target_close(target);
}

static void test_vmdk_forms__split_limits(void **state)
{
    static const char *const subformats[] = {
        "subformat=twoGbMaxExtentFlat", "subformat=twoGbMaxExtentSparse"
    };
    const char *grain[] = { subformats[1], "grain_size=1M" };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_target *target;
    uint64_t room;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(open_with(1039 * SPLIT, &subformats[i], 1, &target),
                         0);
        assert_int_equal(target->layout.file_count, DS_TARGET_FILE_COUNT_MAX);
        vmdk_format_ops.target_close(target);
        assert_int_equal(
            open_with(1039 * SPLIT + 512, &subformats[i], 1, &target),
            -DS_ERR_LIMIT);
    }
    assert_int_equal(open_with(G, grain, 2, &target), 0);
    vmdk_format_ops.target_close(target);
    grain[1] = "grain_size=2M";
    assert_int_equal(open_with(G, grain, 2, &target), -DS_ERR_ARG);
    /* Grains with gaps between them must not reach the next file's places. */
    target = open_target(2 * SPLIT, subformats[1]);
    room = DS_SPLIT_STRIDE_BYTES - SPLIT_DATA_START;
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t at = i * DS_SPLIT_STRIDE_BYTES + room - G;

        assert_int_equal(count(target, i * SPLIT_GRAINS, 1, at, &err), 0);
        assert_int_equal(count(target, i * SPLIT_GRAINS + 1, 1, at + 512, &err),
                         -DS_ERR_LIMIT);
    }
    assert_non_null(strstr(err.message, "extent 2"));
    vmdk_format_ops.target_close(target);
}

static void test_vmdk_forms__empty_split_disk(void **state)
{
    struct ds_target *target = open_target(0, "subformat=twoGbMaxExtentSparse");
    const struct ds_footprint footprint = {
        .area_start_bytes = 4096,
        .file_names = { split_names[0], split_names[1] },
    };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    struct ds_seal seal;

    (void)state;
    assert_int_equal(target->layout.file_count, 2);
    assert_int_equal(
        vmdk_format_ops.target_seal(target, &footprint, &seal, &err), 0);
    finish(target);
    image = read_back(&seal, split_names, 2);
    assert_int_equal(image->size_bytes, 0);
    vmdk_format_ops.close(image);
    vmdk_format_ops.target_close(target);
}

/* -- overlay --------------------------------------------------------------- */

#define SIZE (UINT64_C(1) << 20)
#define SECTORS (SIZE / 512)
static const char *const overlay_names[] = { "new.vmdk", "new-data.vmdk",
                                             "new-zeros.vmdk" };

static int seal_overlay(struct ds_target *target, const char *data_name,
                        struct ds_seal *seal, struct ds_error *err)
{
    const struct ds_footprint footprint = {
        .area_start_bytes = 8192,
        .file_names = { overlay_names[0], data_name, overlay_names[2] },
    };

    return vmdk_format_ops.target_seal(target, &footprint, seal, err);
}

static void test_vmdk_forms__overlay_lists_places(void **state)
{
    struct ds_target *target = open_target(SIZE, "subformat=overlay");
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    struct ds_seal seal;

    (void)state;
    assert_true(target->layout.lists_extents && target->layout.can_refer &&
                target->layout.graftable);
    assert_int_equal(target->layout.file_count, 3);
    assert_int_equal(count(target, 3, 2, 512 * 9, &err), 0);
    assert_int_equal(count(target, 5, 1, 512 * 11, &err), 0); /* goes on */
    assert_int_equal(count(target, 6, 4, 512 * 20, &err), 0);
    assert_int_equal(count(target, 100, 1, 512 * 8, &err), 0);
    assert_int_equal(seal_overlay(target, overlay_names[1], &seal, &err), 0);
    assert_int_equal(target->layout.file_count, 3);
    assert_int_equal(seal.file_size_bytes[1], 512 * 24);
    assert_int_equal(seal.file_size_bytes[2], SIZE);
    finish(target);
    assert_int_equal(strlen((char *)output.bytes[0]), seal.file_size_bytes[0]);
    assert_non_null(
        strstr((char *)output.bytes[0], "createType=\"twoGbMaxExtentFlat\"\n"));
    assert_non_null(strstr((char *)output.bytes[0],
                           "RW 3 FLAT \"new-zeros.vmdk\" 0\n"
                           "RW 3 FLAT \"new-data.vmdk\" 9\n"
                           "RW 4 FLAT \"new-data.vmdk\" 20\n"
                           "RW 90 FLAT \"new-zeros.vmdk\" 10\n"
                           "RW 1 FLAT \"new-data.vmdk\" 8\n"
                           "RW 1947 FLAT \"new-zeros.vmdk\" 101\n"));
    assert_non_null(strstr(vmdk_format_ops.target_note(target), "read-only"));
    assert_non_null(strstr((char *)output.bytes[0], "\n# several extents"));
    image = read_back(&seal, overlay_names, 3);
    assert_int_equal(image->size_bytes, SIZE);
    expect_extent(image, 512 * 6, 512 * 4, DS_EXTENT_DATA, 2, 512 * 20);
    vmdk_format_ops.close(image);
    vmdk_format_ops.target_close(target);
}

static void test_vmdk_forms__overlay_of_one_line(void **state)
{
    struct ds_target *target = open_target(SIZE, "subformat=overlay");
    struct ds_error err = DS_ERROR_INIT;
    struct ds_seal seal;

    (void)state;
    assert_int_equal(count(target, 0, SECTORS, 512, &err), 0);
    assert_int_equal(seal_overlay(target, "/else/where.vhd", &seal, &err), 0);
    assert_int_equal(target->layout.file_count, 2);
    assert_null(vmdk_format_ops.target_note(target));
    finish(target);
    assert_non_null(
        strstr((char *)output.bytes[0], "createType=\"monolithicFlat\"\n"));
    assert_non_null(strstr((char *)output.bytes[0],
                           "RW 2048 FLAT \"/else/where.vhd\" 1\n"));
    vmdk_format_ops.target_close(target);
}

/* 511 lines with their gaps, and one more. */
static void test_vmdk_forms__overlay_limits(void **state)
{
    struct ds_target *target = open_target(SIZE, "subformat=overlay");
    struct ds_error err = DS_ERROR_INIT;
    char name[600];
    struct ds_seal seal;

    (void)state;
    for (uint64_t i = 0; i < 255; i++)
        assert_int_equal(count(target, 2 * i + 1, 1, 512 * (10 + 2 * i), &err),
                         0);
    assert_int_equal(seal_overlay(target, "d", &seal, &err), 0);
    assert_int_equal(count(target, 600, 1, 512 * 5, &err), 0);
    assert_int_equal(seal_overlay(target, "d", &seal, &err), -DS_ERR_LIMIT);
    assert_non_null(strstr(err.message, "monolithicSparse"));
    vmdk_format_ops.target_close(target);
    target = open_target(SIZE, "subformat=overlay");
    for (uint64_t i = 0; i < 1024; i++)
        assert_int_equal(count(target, i, 1, 512 * (2000 - i), &err), 0);
    assert_int_equal(seal_overlay(target, "d", &seal, &err), -DS_ERR_LIMIT);
    vmdk_format_ops.target_close(target);
    /* two ranges of the guest at one place */
    target = open_target(SIZE, "subformat=overlay");
    assert_int_equal(count(target, 0, 8, 4096, &err), 0);
    assert_int_equal(count(target, 16, 8, 4096 + 7 * 512, &err), 0);
    assert_int_equal(seal_overlay(target, "d", &seal, &err),
                     -DS_ERR_UNSUPPORTED);
    vmdk_format_ops.target_close(target);
    target = open_target(SIZE, "subformat=overlay");
    memset(name, 'x', sizeof(name));
    name[512] = '\0';
    assert_int_equal(seal_overlay(target, name, &seal, &err), -DS_ERR_LIMIT);
    name[511] = '\0';
    assert_int_equal(seal_overlay(target, name, &seal, &err), 0);
    vmdk_format_ops.target_close(target);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_vmdk_forms__split_sparse_golden),
        TEST(test_vmdk_forms__split_passes_are_alike),
        TEST(test_vmdk_forms__split_flat),
        TEST(test_vmdk_forms__split_limits),
        TEST(test_vmdk_forms__empty_split_disk),
        TEST(test_vmdk_forms__overlay_lists_places),
        TEST(test_vmdk_forms__overlay_of_one_line),
        TEST(test_vmdk_forms__overlay_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
