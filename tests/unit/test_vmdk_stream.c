/* SPDX-License-Identifier: Apache-2.0 */
/* A stream drawn by hand from the spec, and one of ours walked as an importer
 * would, marker by marker. */
#include "vmdk_rows.h"

#define S 512u
#define G UINT64_C(8192)

/*
 * sector 0      1          8    9    11  12    16     18     19  20    24  25
 *        |head |descriptor| g0 | g1 | m | GT0 | g512 | g515 | m | GT1 | m | GD
 *
 * sector 26  27     28
 *        | m | foot | end |
 *
 * Grains of 8 KiB; the disk ends one sector into the last.
 */
#define SECTORS 29u
#define GT0 (12 * S)
#define FOOTER (27 * S)
#define TEXT                                                                   \
    "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"            \
    "createType=\"streamOptimized\"\nRDONLY 8241 SPARSE \"old name.vmdk\"\n"

static uint8_t stream[SECTORS * S];

static void make_header(size_t at, uint64_t directory)
{
    memcpy(stream + at, "KDMV", 4);
    put32(stream, at + 4, 3);
    put32(stream, at + 8, 0x30001);
    put64(stream, at + 12, 515 * 16 + 1);
    put64(stream, at + 20, 16);
    put64(stream, at + 28, 1); /* descriptor */
    put64(stream, at + 36, 7);
    put32(stream, at + 44, 512);
    put64(stream, at + 56, directory);
    put64(stream, at + 64, 8); /* overhead */
    memcpy(stream + at + 72, "\0\n \r\n", 5);
    stream[at + 77] = 1; /* deflate */
}

static void make_marker(size_t sector, uint64_t value, uint32_t size,
                        uint32_t type)
{
    put64(stream, sector * S, value);
    put32(stream, sector * S + 8, size);
    put32(stream, sector * S + 12, type);
}

static void stream_make(void)
{
    memset(stream, 0, sizeof(stream));
    make_header(0, UINT64_MAX);
    memcpy(stream + S, TEXT, sizeof(TEXT) - 1);
    make_marker(8, 0, 100, 0x01011878);
    make_marker(9, 16, 1000, 0x01011878);
    make_marker(11, 4, 0, 1);
    put32(stream, GT0, 8);
    put32(stream, GT0 + 4, 9);
    make_marker(16, 512 * 16, 600, 0x01011878);
    make_marker(18, 515 * 16, 40, 0x01011878);
    make_marker(19, 4, 0, 1);
    put32(stream, 20 * S, 16);
    put32(stream, 20 * S + 3 * 4, 18);
    make_marker(24, 1, 0, 2);
    put32(stream, 25 * S, 12);
    put32(stream, 25 * S + 4, 20);
    make_marker(26, 1, 0, 3);
    make_header(FOOTER, 25);
}

static const struct map_row rows[] = {
    { 0, G, DS_EXTENT_ENCODED, 0, 8 * S + 12 },
    { G, G, DS_EXTENT_ENCODED, 0, 9 * S + 12 },
    { 2 * G, 510 * G, DS_EXTENT_HOLE, 0, 0 },
    { 512 * G, G, DS_EXTENT_ENCODED, 0, 16 * S + 12 },
    { 513 * G, 2 * G, DS_EXTENT_HOLE, 0, 0 },
    { 515 * G, S, DS_EXTENT_ENCODED, 0, 18 * S + 12 },
};

static int read_stream(size_t length_bytes, struct ds_error *err)
{
    memory_set(0, "renamed.vmdk", stream, length_bytes);
    return read_all(err);
}

static void test_vmdk_stream__map(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= 3; version++) {
        struct ds_error err = DS_ERROR_INIT;
        struct ds_image *image;

        put32(stream, 4, version);
        put32(stream, FOOTER + 4, version);
        assert_int_equal(read_stream(sizeof(stream), &err), 0);
        image = open_or_fail();
        expect_map(image, rows, sizeof(rows) / sizeof(rows[0]));
        vmdk_format_ops.close(image);
    }
}

static void test_vmdk_stream__encoding(void **state)
{
    const struct {
        uint64_t guest, skip, stored, least;
    } expected[] = {
        { 0, 0, 100, G },        { 1024, 1024, 100, G },
        { G, 0, 1000, G },       { 512 * G + 512, 512, 600, G },
        { 515 * G, 0, 40, 512 }, /* may decode to what the guest sees */
    };
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    (void)state;
    memory_set(0, "renamed.vmdk", stream, sizeof(stream));
    image = open_or_fail();
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        struct ds_extent extent;

        assert_int_equal(vmdk_format_ops.extent_at(
                             image, &cursor, expected[i].guest, &extent, &err),
                         0);
        assert_int_equal(extent.kind, DS_EXTENT_ENCODED);
        assert_int_equal(extent.encoding.codec, DS_CODEC_ZLIB);
        assert_int_equal(extent.encoding.unit_bytes, G);
        assert_int_equal(extent.encoding.unit_least_bytes, expected[i].least);
        assert_int_equal(extent.encoding.skip_bytes, expected[i].skip);
        assert_int_equal(extent.encoding.stored_bytes, expected[i].stored);
    }
    cursor_free(&cursor);
    vmdk_format_ops.close(image);
}

static void test_vmdk_stream__pokes(void **state)
{
    static const struct {
        size_t offset;
        uint32_t value;
        int result;
    } pokes[] = {
        { 8, 0x10001, -DS_ERR_UNSUPPORTED }, /* one flag without the other */
        { 8, 0x20001, -DS_ERR_UNSUPPORTED },
        { 8, 1, -DS_ERR_UNSUPPORTED },
        { 8, 0x70001, -DS_ERR_UNSUPPORTED },
        { 4, 4, -DS_ERR_UNSUPPORTED },
        { 76, 0x00000000, -DS_ERR_CORRUPT }, /* end of line and algorithm */
        { 76, 0x0000020a, -DS_ERR_UNSUPPORTED },
        { 76, 0x0000000a, -DS_ERR_UNSUPPORTED },
        { 20, 8192, -DS_ERR_LIMIT }, /* 4 MiB grains */
        { 20, 32, -DS_ERR_CORRUPT }, /* not as in the footer */
        { 12, 8240, -DS_ERR_CORRUPT },
        { 8 * S, 16, -DS_ERR_CORRUPT }, /* another grain's marker */
        { 8 * S + 4, 1, -DS_ERR_CORRUPT },
        { 8 * S + 8, 0, -DS_ERR_CORRUPT },
        { 8 * S + 8, 1 << 20, -DS_ERR_CORRUPT },
        { 8 * S + 8, UINT32_MAX, -DS_ERR_CORRUPT },
        { 18 * S + 8, 12000, -DS_ERR_CORRUPT }, /* beyond the file */
        { GT0, 9, -DS_ERR_CORRUPT },            /* the same grain twice */
        { GT0, 7, -DS_ERR_CORRUPT }, /* zeros are no marker of the first */
        { GT0, SECTORS, -DS_ERR_CORRUPT },
        { GT0, UINT32_MAX, -DS_ERR_CORRUPT },
        { 25 * S, SECTORS - 1, -DS_ERR_CORRUPT },
        { 26 * S + 8, 1, -DS_ERR_CORRUPT },
        { 26 * S + 12, 2, -DS_ERR_CORRUPT },
        { FOOTER, 0, -DS_ERR_CORRUPT },
        { FOOTER + 8, 0x30003, -DS_ERR_CORRUPT },
        { FOOTER + 12, 9000, -DS_ERR_CORRUPT },
        { FOOTER + 44, 256, -DS_ERR_CORRUPT },
        { FOOTER + 56, SECTORS, -DS_ERR_CORRUPT },
        { FOOTER + 56, 0, -DS_ERR_CORRUPT },
        { 28 * S, 1, -DS_ERR_CORRUPT },
        { 28 * S + 12, 3, -DS_ERR_CORRUPT },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(pokes) / sizeof(pokes[0]); i++) {
        struct ds_error err = DS_ERROR_INIT;
        int result;

        stream_make();
        put32(stream, pokes[i].offset, pokes[i].value);
        result = read_stream(sizeof(stream), &err);
        if (result != pokes[i].result)
            fail_msg("%zu: have %d '%s' expect %d", i, result, err.message,
                     pokes[i].result);
        assert_memory_equal(err.message, "vmdk: ", 6);
    }
}

/* A stream is whole only with its last sector. */
static void test_vmdk_stream__truncated(void **state)
{
    (void)state;
    for (size_t length = 512; length < sizeof(stream); length += 256) {
        struct ds_error err = DS_ERROR_INIT;

        assert_int_equal(read_stream(length, &err), -DS_ERR_CORRUPT);
    }
}

/* -- ours ------------------------------------------------------------------ */

#define UNIT (UINT64_C(64) << 10)
#define DISK_UNITS UINT64_C(1100) /* three tables */

static uint8_t written[1 << 20];
static uint64_t written_end;
static unsigned backward_count;

static int write_out(struct ds_emitter *emitter, uint32_t target_index,
                     uint64_t offset_bytes, const void *bytes,
                     size_t length_bytes, struct ds_error *err)
{
    (void)emitter;
    (void)err;
    assert_int_equal(target_index, 0);
    assert_true(ds_range_fits(offset_bytes, length_bytes, sizeof(written)));
    memcpy(written + offset_bytes, bytes, length_bytes);
    if (offset_bytes != written_end)
        backward_count++;
    written_end = offset_bytes + length_bytes;
    return 0;
}

static void run_pass(struct ds_target *target, bool dry)
{
    static const uint64_t units[] = { 0, 1, 511, 1024, 1099 };
    struct ds_emitter emitter = { .write = write_out };
    struct ds_error err = DS_ERROR_INIT;
    uint8_t stored[700];

    memset(written, 0xee, sizeof(written));
    written_end = backward_count = 0;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        memset(stored, (int)i + 1, sizeof(stored));
        assert_int_equal(vmdk_format_ops.target_encoded(
                             target, units[i], dry ? NULL : stored,
                             dry ? UNIT + 100 : 499 + i * 50, &emitter, &err),
                         0);
    }
    assert_int_equal(vmdk_format_ops.target_finish(target, &emitter, &err), 0);
}

static uint64_t get(uint64_t offset, unsigned width)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)written[offset + i] << (8 * i);
    return value;
}

/* What an importer does that reads from a pipe: grains as they come, tables
 * checked against them, directory, footer, end. */
static void expect_stream(uint64_t size_bytes)
{
    uint64_t at = UNIT, tables[3] = { 0 }, grains[512] = { 0 }, grain_count = 0;
    uint64_t last = 0, directory = 0, table = 0, type = 9;

    assert_memory_equal(written, "KDMV", 4);
    assert_int_equal(get(4, 4), 3);
    assert_int_equal(get(8, 4), 0x30001);
    assert_int_equal(get(12, 8), DISK_UNITS * 128);
    assert_int_equal(get(56, 8), UINT64_MAX);
    assert_int_equal(get(64, 8), 128);
    assert_int_equal(get(77, 2), 1);
    while (type != 0) {
        uint64_t value = get(at, 8), size = get(at + 8, 4);

        if (size > 0) {
            assert_true(grain_count == 0 || value > last);
            last = value;
            table = value / 128 / 512;
            grains[value / 128 % 512] = at / S;
            grain_count++;
            for (uint64_t i = 12 + size; i % S != 0; i++)
                assert_int_equal(written[at + i], 0);
            at += (12 + size + S - 1) / S * S;
            continue;
        }
        type = get(at + 12, 4);
        at += S;
        if (type == 1) {
            assert_int_equal(value, 4);
            for (size_t i = 0; i < 512; i++)
                assert_int_equal(get(at + i * 4, 4), grains[i]);
            memset(grains, 0, sizeof(grains));
            tables[table] = at / S;
        } else if (type == 2) {
            directory = at / S;
            for (size_t i = 0; i < 3; i++)
                assert_int_equal(get(at + i * 4, 4), tables[i]);
        } else if (type == 3) {
            assert_int_equal(value, 1);
            assert_int_equal(get(at + 56, 8), directory);
            assert_memory_equal(written + at, written, 56);
            assert_memory_equal(written + at + 64, written + 64, S - 64);
        }
        at += value * S;
    }
    assert_int_equal(at, size_bytes);
    assert_int_equal(grain_count, 5);
    assert_int_equal(tables[2] != 0 && tables[1] == 0 && tables[0] != 0, 1);
}

static void test_vmdk_stream__written_in_order(void **state)
{
    const char *options[] = { "subformat=streamOptimized" };
    const struct ds_target_request request = {
        .path = "/x/new.vmdk",
        .options = options,
        .option_count = 1,
        .size_bytes = DISK_UNITS * UNIT,
    };
    const struct ds_footprint footprint = {
        .area_start_bytes = UNIT,
        .relocated_bytes = 5 * UNIT,
        .unit_count = 5,
        .file_names = { "new.vmdk" },
    };
    struct ds_target *target = NULL;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_seal seal = { 0 };

    (void)state;
    assert_int_equal(vmdk_format_ops.target_open(&request, &target, &err), 0);
    assert_int_equal(target->layout.encode, DS_CODEC_ZLIB);
    assert_int_equal(target->layout.unit_bytes, UNIT);
    assert_int_equal(
        vmdk_format_ops.target_seal(target, &footprint, &seal, &err), 0);
    for (unsigned pass = 0; pass < 3; pass++) {
        uint64_t size;

        run_pass(target, pass == 1);
        size = vmdk_format_ops.target_encoded_size(target);
        assert_true(size <= seal.file_size_bytes[0]);
        if (pass == 1)
            continue;
        assert_int_equal(backward_count, 0);
        assert_int_equal(written_end, size);
        expect_stream(size);
        memory_set(0, "new.vmdk", written, (size_t)size);
        if (read_all(&err) != 0)
            fail_msg("%s", err.message);
    }
    vmdk_format_ops.target_close(target);
}

static int setup(void **state)
{
    (void)state;
    memory_reset();
    stream_make();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    memory_reset();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_vmdk_stream__map, setup),
        cmocka_unit_test_setup(test_vmdk_stream__encoding, setup),
        cmocka_unit_test_setup(test_vmdk_stream__pokes, setup),
        cmocka_unit_test_setup(test_vmdk_stream__truncated, setup),
        cmocka_unit_test_setup(test_vmdk_stream__written_in_order, setup),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
