/* SPDX-License-Identifier: Apache-2.0 */
/* formats/vdi: the map, each field and pointer wrong, each file cut short. */
#include "vdi_testing.h"

static void expect_vdi(struct memory_file memory,
                       enum ds_error_class error_class, uint64_t offset,
                       const char *words)
{
    struct ds_error err;
    uint64_t size;
    size_t count;
    int result = vdi_read_all(&memory, NULL, 0, &count, &size, &err);

    if (result != -(int)error_class || strstr(err.message, words) == NULL)
        fail_msg("have %d '%s' expect %d '%s'", result, err.message,
                 -(int)error_class, words);
    assert_memory_equal(err.message, "vdi: ", 5);
    assert_int_equal(err.offset_bytes, offset);
    free(memory.bytes);
}

static void test_vdi__map(void **state)
{
    struct memory_file memory = sample_vdi();
    struct ds_extent extents[8];
    struct ds_error err;
    uint64_t size;
    size_t count;

    (void)state;
    assert_int_equal(vdi_read_all(&memory, extents, 8, &count, &size, &err), 0);
    assert_int_equal(size, VDI_SIZE);
    assert_int_equal(count, 6);
    assert_extent(&extents[0], DS_EXTENT_DATA, 0, 3 * VDI_BLOCK, 0,
                  VDI_DATA + 2 * VDI_BLOCK);
    assert_extent(&extents[1], DS_EXTENT_HOLE, 3 * VDI_BLOCK, 2 * VDI_BLOCK,
                  DS_FILE_NONE, 0);
    assert_extent(&extents[2], DS_EXTENT_ZERO, 5 * VDI_BLOCK, VDI_BLOCK,
                  DS_FILE_NONE, 0);
    assert_extent(&extents[3], DS_EXTENT_DATA, 6 * VDI_BLOCK, VDI_BLOCK, 0,
                  VDI_DATA + VDI_BLOCK);
    assert_extent(&extents[4], DS_EXTENT_ZERO, 7 * VDI_BLOCK, 2 * VDI_BLOCK,
                  DS_FILE_NONE, 0);
    assert_extent(&extents[5], DS_EXTENT_DATA, 9 * VDI_BLOCK, 512, 0, VDI_DATA);
    free(memory.bytes);
}

/* From the middle of a run, and of a hole. */
static void test_vdi__map_from_within(void **state)
{
    struct memory_file memory = sample_vdi();
    struct ds_cursor cursor = { 0 };
    struct ds_image *image = NULL;
    struct ds_extent extent;

    (void)state;
    assert_int_equal(
        vdi_format_ops.open(&memory.file, &references, &image, NULL), 0);
    assert_int_equal(vdi_format_ops.extent_at(image, &cursor, VDI_BLOCK + 512,
                                              &extent, NULL),
                     0);
    assert_extent(&extent, DS_EXTENT_DATA, VDI_BLOCK + 512, 2 * VDI_BLOCK - 512,
                  0, VDI_DATA + 3 * VDI_BLOCK + 512);
    assert_int_equal(vdi_format_ops.extent_at(
                         image, &cursor, 4 * VDI_BLOCK + 1024, &extent, NULL),
                     0);
    assert_extent(&extent, DS_EXTENT_HOLE, 4 * VDI_BLOCK + 1024,
                  VDI_BLOCK - 1024, DS_FILE_NONE, 0);
    cursor_free(&cursor);
    vdi_format_ops.close(image);
    free(memory.bytes);
}

static void test_vdi__probe(void **state)
{
    struct memory_file memory = sample_vdi();
    struct ds_probe probe = { .head_bytes = 4096 };

    (void)state;
    memcpy(probe.head, memory.bytes, 4096);
    assert_true(vdi_format_ops.probe(&probe));
    probe.head_bytes = 0x47;
    assert_false(vdi_format_ops.probe(&probe));
    probe.head_bytes = 4096;
    probe.head[0x40] ^= 1;
    assert_false(vdi_format_ops.probe(&probe));
    free(memory.bytes);
}

static void test_vdi__no_blocks(void **state)
{
    struct memory_file memory = sample_vdi_poked(0x170, 8, 0);
    struct ds_error err;
    uint64_t size = 1;
    size_t count;

    (void)state;
    put_le(memory.bytes + 0x180, 4, 0);
    put_le(memory.bytes + 0x184, 4, 0);
    memory_file_resize(&memory, 512);
    assert_int_equal(vdi_read_all(&memory, NULL, 0, &count, &size, &err), 0);
    assert_int_equal(size, 0);
    free(memory.bytes);
}

/* -- what is refused ------------------------------------------------------- */

static void test_vdi__kinds(void **state)
{
    (void)state;
    expect_vdi(sample_vdi_poked(0x40, 4, 0), DS_ERR_CORRUPT, 0x40,
               "signature, have 0x00000000");
    expect_vdi(sample_vdi_poked(0x44, 4, 0x00010000), DS_ERR_UNSUPPORTED, 0x44,
               "version, have 1.0 expect 1.1");
    expect_vdi(sample_vdi_poked(0x44, 4, 0x00000001), DS_ERR_UNSUPPORTED, 0x44,
               "version, have 0.1");
    expect_vdi(sample_vdi_poked(0x4c, 4, 3), DS_ERR_UNSUPPORTED, 0x4c, "undo");
    expect_vdi(sample_vdi_poked(0x4c, 4, 4), DS_ERR_UNSUPPORTED, 0x4c,
               "differencing");
    expect_vdi(sample_vdi_poked(0x4c, 4, 0), DS_ERR_CORRUPT, 0x4c, "type");
    expect_vdi(sample_vdi_poked(0x4c, 4, 5), DS_ERR_CORRUPT, 0x4c, "type");
    /* The last byte of the link: a normal image has no parent. */
    expect_vdi(sample_vdi_poked(0x1b7, 1, 1), DS_ERR_CORRUPT, 0x1a8, "parent");
}

static void test_vdi__block_fields(void **state)
{
    static const uint32_t sizes[] = { 0, 512, 2048, 4097, 0x80000000 };

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        expect_vdi(sample_vdi_poked(0x178, 4, sizes[i]), DS_ERR_CORRUPT, 0x178,
                   "block size");
    expect_vdi(sample_vdi_poked(0x17c, 4, 512), DS_ERR_UNSUPPORTED, 0x17c,
               "extra bytes per block, have 512 expect 0");
    expect_vdi(sample_vdi_poked(0x170, 8, VDI_SIZE + 1), DS_ERR_CORRUPT, 0x170,
               "disk size");
    expect_vdi(sample_vdi_poked(0x170, 8, UINT64_C(1) << 62), DS_ERR_CORRUPT,
               0x180, "blocks, have 10");
    expect_vdi(sample_vdi_poked(0x180, 4, 9), DS_ERR_CORRUPT, 0x180,
               "blocks, have 9 expect at least 10");
    expect_vdi(sample_vdi_poked(0x180, 4, 0xffffffff), DS_ERR_CORRUPT, 0x184,
               "blocks allocated");
    expect_vdi(sample_vdi_poked(0x184, 4, 11), DS_ERR_CORRUPT, 0x184,
               "blocks allocated, have 11 of 10");
}

static void test_vdi__places(void **state)
{
    (void)state;
    expect_vdi(sample_vdi_poked(0x48, 4, 383), DS_ERR_CORRUPT, 0x48,
               "size, have 383 expect at least 384");
    expect_vdi(sample_vdi_poked(0x48, 4, 0xffffffff), DS_ERR_CORRUPT, 0x154,
               "block map's offset");
    expect_vdi(sample_vdi_poked(0x154, 4, 0), DS_ERR_CORRUPT, 0x154,
               "block map's offset, have 0");
    expect_vdi(sample_vdi_poked(0x154, 4, 510), DS_ERR_CORRUPT, 0x154,
               "block map's offset");
    expect_vdi(sample_vdi_poked(0x154, 4, VDI_FILE - 36), DS_ERR_CORRUPT, 0x154,
               "block map: range");
    expect_vdi(sample_vdi_poked(0x154, 4, 0xfffffffc), DS_ERR_CORRUPT, 0x154,
               "block map: range");
    /* As many entries as the file could never hold. */
    expect_vdi(sample_vdi_poked(0x180, 4, 0xfffffff0), DS_ERR_CORRUPT, 0x154,
               "block map: range");
    expect_vdi(sample_vdi_poked(0x158, 4, 512), DS_ERR_CORRUPT, 0x158,
               "data's offset, have 512");
    expect_vdi(sample_vdi_poked(0x158, 4, 1025), DS_ERR_CORRUPT, 0x158,
               "data's offset, have 1025");
    expect_vdi(sample_vdi_poked(0x158, 4, 0), DS_ERR_CORRUPT, 0x158,
               "data's offset, have 0");
}

static void test_vdi__entries(void **state)
{
    (void)state;
    expect_vdi(sample_vdi_poked(VDI_MAP + 4 * 3, 4, 10), DS_ERR_CORRUPT,
               VDI_MAP + 4 * 3, "entry 3, have 10 expect less than 10");
    expect_vdi(sample_vdi_poked(VDI_MAP + 4 * 3, 4, 0xfffffffd), DS_ERR_CORRUPT,
               VDI_MAP + 4 * 3, "entry 3");
    /* Number 5 begins where the file ends; it continues the run of 2, 3, 4. */
    expect_vdi(sample_vdi_poked(VDI_MAP + 4 * 3, 4, 5), DS_ERR_CORRUPT,
               VDI_MAP + 4 * 3, "entry 3, have 4096 bytes at 21504");
}

/* Of the last guest block 512 bytes are enough, and not less. */
static void test_vdi__truncated(void **state)
{
    struct memory_file memory = sample_vdi_poked(VDI_MAP + 4 * 9, 4, 5);
    struct ds_error err;
    uint64_t size;
    size_t count;

    (void)state;
    memory_file_resize(&memory, VDI_FILE + 512);
    assert_int_equal(vdi_read_all(&memory, NULL, 0, &count, &size, &err), 0);
    memory_file_resize(&memory, VDI_FILE + 511);
    expect_vdi(memory, DS_ERR_CORRUPT, VDI_MAP + 4 * 9, "entry 9");
    memory = sample_vdi();
    memory_file_resize(&memory, VDI_FILE - 1);
    expect_vdi(memory, DS_ERR_CORRUPT, VDI_MAP + 4 * 2, "entry 2");
    memory = sample_vdi();
    memory_file_resize(&memory, VDI_MAP + 4 * 10 - 1);
    expect_vdi(memory, DS_ERR_CORRUPT, 0x154, "block map: range");
    memory = sample_vdi();
    memory_file_resize(&memory, 511);
    expect_vdi(memory, DS_ERR_CORRUPT, 0, "header: file, have 511");
}

/* Every byte of header and map, by a few values: no crash, no endless walk;
 * a sanitizer sees what is read beside the buffer. */
static void test_vdi__every_byte(void **state)
{
    static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff };

    (void)state;
    for (size_t at = 0; at < VDI_MAP + 40; at++)
        for (size_t i = 0; i < sizeof(values); i++) {
            struct memory_file memory = sample_vdi_poked(at, 1, values[i]);
            struct ds_error err;
            uint64_t size;
            size_t count;
            int result = vdi_read_all(&memory, NULL, 0, &count, &size, &err);

            if (result != 0)
                assert_memory_equal(err.message, "vdi: ", 5);
            free(memory.bytes);
        }
}

/* -- check ----------------------------------------------------------------- */

struct tally {
    unsigned leaks;
    unsigned corruptions;
};

static int note_finding(void *user, const struct ds_finding *finding,
                        struct ds_error *err)
{
    struct tally *tally = user;

    (void)err;
    assert_memory_equal(finding->message, "vdi: ", 5);
    assert_int_equal(finding->offset_bytes, 0x184);
    if (finding->is_leak)
        tally->leaks++;
    else
        tally->corruptions++;
    return 0;
}

static void expect_tally(struct memory_file memory, unsigned leaks,
                         unsigned corruptions)
{
    struct tally tally = { 0 };
    struct ds_image *image = NULL;

    assert_int_equal(
        vdi_format_ops.open(&memory.file, &references, &image, NULL), 0);
    assert_int_equal(vdi_format_ops.check(image, note_finding, &tally, NULL),
                     0);
    assert_int_equal(tally.leaks, leaks);
    assert_int_equal(tally.corruptions, corruptions);
    vdi_format_ops.close(image);
    free(memory.bytes);
}

/* The next block goes to number blocks_allocated: what lies there already
 * would be lost, what is counted too much is merely room. */
static void test_vdi__check_allocated(void **state)
{
    (void)state;
    expect_tally(sample_vdi(), 0, 0);
    expect_tally(sample_vdi_poked(0x184, 4, 7), 1, 0);
    expect_tally(sample_vdi_poked(0x184, 4, 4), 0, 1);
    /* As many as are used, but one lies too high: a gap at 1. */
    expect_tally(sample_vdi_poked(VDI_MAP + 4 * 6, 4, 5), 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vdi__map),
        cmocka_unit_test(test_vdi__map_from_within),
        cmocka_unit_test(test_vdi__probe),
        cmocka_unit_test(test_vdi__no_blocks),
        cmocka_unit_test(test_vdi__kinds),
        cmocka_unit_test(test_vdi__block_fields),
        cmocka_unit_test(test_vdi__places),
        cmocka_unit_test(test_vdi__entries),
        cmocka_unit_test(test_vdi__truncated),
        cmocka_unit_test(test_vdi__every_byte),
        cmocka_unit_test(test_vdi__check_allocated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
