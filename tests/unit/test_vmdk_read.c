/* SPDX-License-Identifier: Apache-2.0 */
/* Reading sparse and flat disks: what the map says, and what is refused. */
#include "vmdk_testing.h"

static uint8_t sample[SAMPLE_FILE_BYTES];

static int setup(void **state)
{
    (void)state;
    memory_reset();
    memory_closed_count = 0;
    sample_make(sample);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    memory_reset();
    return 0;
}

static int read_sample(size_t length_bytes, struct ds_error *err)
{
    memory_set(0, "sample.vmdk", sample, length_bytes);
    return read_all(err);
}

static struct ds_image *open_good(void)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image = NULL;

    if (memory_open(&image, &err) != 0)
        fail_msg("%s", err.message);
    return image;
}

/* -- the map --------------------------------------------------------------- */

struct row {
    uint64_t guest, length;
    enum ds_extent_kind kind;
    uint64_t file;
};

static void expect_rows(struct ds_image *image, const struct row *rows,
                        size_t count)
{
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_extent extent;
    uint64_t at = 0;

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(
            vmdk_format_ops.extent_at(image, &cursor, at, &extent, &err), 0);
        assert_int_equal(extent.guest_offset_bytes, rows[i].guest);
        assert_int_equal(extent.length_bytes, rows[i].length);
        assert_int_equal(extent.kind, rows[i].kind);
        if (extent.kind == DS_EXTENT_DATA)
            assert_int_equal(extent.file_offset_bytes, rows[i].file);
        else
            assert_int_equal(extent.file_index, DS_FILE_NONE);
        at += extent.length_bytes;
    }
    assert_int_equal(at, image->size_bytes);
    cursor_free(&cursor);
}

#define G SAMPLE_GRAIN
static const struct row sample_rows[] = {
    { 0, 2 * G, DS_EXTENT_DATA, 48 * 512 },
    { 2 * G, G, DS_EXTENT_HOLE, 0 },
    { 3 * G, G, DS_EXTENT_ZERO, 0 },
    { 4 * G, G, DS_EXTENT_DATA, 112 * 512 },
    { 5 * G, 506 * G, DS_EXTENT_HOLE, 0 },
    { 511 * G, 2 * G, DS_EXTENT_DATA, 128 * 512 },
    { 513 * G, 2 * G, DS_EXTENT_HOLE, 0 },
    { 515 * G, 512, DS_EXTENT_DATA, 160 * 512 },
};
#define SAMPLE_ROW_COUNT (sizeof(sample_rows) / sizeof(sample_rows[0]))

static void test_vmdk_read__sample_map(void **state)
{
    struct ds_image *image;

    (void)state;
    memory_set(0, "sample.vmdk", sample, sizeof(sample));
    image = open_good();
    assert_int_equal(image->size_bytes, SAMPLE_SIZE);
    assert_int_equal(image->file_count, 1);
    expect_rows(image, sample_rows, SAMPLE_ROW_COUNT);
    vmdk_format_ops.close(image);
}

/* The answer for an offset is the end of the answer for the extent it lies
 * in, in whatever order offsets are asked for. */
static void test_vmdk_read__any_offset_any_order(void **state)
{
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    uint64_t at = 0;

    (void)state;
    memory_set(0, "sample.vmdk", sample, sizeof(sample));
    image = open_good();
    for (unsigned i = 0; i < 20000; i++) {
        const struct row *row = sample_rows;
        struct ds_extent extent;

        at = (at + 7919 * 512) % SAMPLE_SIZE;
        while (row->guest + row->length <= at)
            row++;
        assert_int_equal(
            vmdk_format_ops.extent_at(image, &cursor, at, &extent, &err), 0);
        assert_int_equal(extent.kind, row->kind);
        assert_int_equal(extent.length_bytes, row->guest + row->length - at);
        if (row->kind == DS_EXTENT_DATA)
            assert_int_equal(extent.file_offset_bytes,
                             row->file + at - row->guest);
    }
    cursor_free(&cursor);
    vmdk_format_ops.close(image);
}

/* Tables that are not in sequence, and one that is absent. */
static void test_vmdk_read__scattered_tables(void **state)
{
    struct ds_image *image;
    const struct row swapped[] = {
        { 0, G, DS_EXTENT_DATA, 144 * 512 },
        { G, 2 * G, DS_EXTENT_HOLE, 0 },
        { 3 * G, G, DS_EXTENT_DATA, 80 * 512 },
        { 4 * G, 508 * G, DS_EXTENT_HOLE, 0 },
        { 512 * G, 3 * G + 512, DS_EXTENT_HOLE, 0 },
    };

    (void)state;
    put32(sample, 8, 5); /* no redundant directory */
    put32(sample, SAMPLE_GD * 512, SAMPLE_TABLES + 4);
    put32(sample, SAMPLE_GD * 512 + 4, 0);
    sample_entry(sample, 515, 80); /* whole now */
    memory_set(0, "sample.vmdk", sample, sizeof(sample));
    image = open_good();
    expect_rows(image, swapped, sizeof(swapped) / sizeof(swapped[0]));
    vmdk_format_ops.close(image);
}

static void test_vmdk_read__zeroed_grain_needs_the_flag(void **state)
{
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    struct ds_extent extent;

    (void)state;
    put32(sample, 8, 3);
    memory_set(0, "sample.vmdk", sample, sizeof(sample));
    image = open_good();
    assert_int_equal(
        vmdk_format_ops.extent_at(image, &cursor, 3 * G, &extent, &err), 0);
    /* A pointer to sector 1: the engine finds the overlap. */
    assert_int_equal(extent.kind, DS_EXTENT_DATA);
    assert_int_equal(extent.file_offset_bytes, 512);
    cursor_free(&cursor);
    vmdk_format_ops.close(image);
}

static void test_vmdk_read__capacity_in_whole_grains(void **state)
{
    struct ds_image *image;

    (void)state;
    put64(sample, 12, 516 * 16);
    memory_set(0, "sample.vmdk", sample, sizeof(sample));
    image = open_good();
    assert_int_equal(image->size_bytes, SAMPLE_SIZE);
    expect_rows(image, sample_rows, SAMPLE_ROW_COUNT);
    vmdk_format_ops.close(image);
}

/* -- regions --------------------------------------------------------------- */

struct region_list {
    struct ds_region regions[16];
    size_t count;
};

static int list_region(void *user, const struct ds_region *region,
                       struct ds_error *err)
{
    struct region_list *list = user;

    (void)err;
    assert_true(list->count < 16);
    list->regions[list->count++] = *region;
    return 0;
}

static void test_vmdk_read__regions_are_merged(void **state)
{
    static const struct {
        uint64_t sector, length;
        const char *name;
    } expected[] = {
        { 0, 512, "header" },
        { 1, 20 * 512, "descriptor" },
        { SAMPLE_GD, 8, "grain directory" },
        { SAMPLE_TABLES, 4096, "grain table" },
        { SAMPLE_RGD, 8, "redundant grain directory" },
        { SAMPLE_COPIES, 4096, "redundant grain table" },
    };
    struct region_list list = { .count = 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    (void)state;
    memory_set(0, "sample.vmdk", sample, sizeof(sample));
    image = open_good();
    assert_int_equal(vmdk_format_ops.regions(image, list_region, &list, &err),
                     0);
    assert_int_equal(list.count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(list.regions[i].offset_bytes,
                         expected[i].sector * 512);
        assert_int_equal(list.regions[i].length_bytes, expected[i].length);
        assert_string_equal(list.regions[i].name, expected[i].name);
    }
    vmdk_format_ops.close(image);
}

/* -- the redundant directory ----------------------------------------------- */

static void find_fact(void *user, const struct ds_fact *fact)
{
    const char **found = user;

    if (strcmp(fact->key, "redundant_grain_directory_used") == 0)
        *found = fact->number != 0 ? "yes" : "no";
}

static const char *redundant_used(struct ds_image *image)
{
    const char *found = "absent";

    vmdk_format_ops.facts(image, find_fact, &found);
    return found;
}

static void test_vmdk_read__redundant_directory_stands_in(void **state)
{
    static const struct {
        size_t offset;
        uint64_t value;
    } damage[] = {
        { 56, 0 },                        /* no directory */
        { 56, 100000 },                   /* beyond the file */
        { SAMPLE_GD * 512, 0 },           /* an entry lost */
        { SAMPLE_GD * 512 + 4, 1000000 }, /* an entry beyond the file */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
        struct ds_image *image;

        sample_make(sample);
        put32(sample, damage[i].offset, damage[i].value);
        memory_set(0, "sample.vmdk", sample, sizeof(sample));
        image = open_good();
        assert_string_equal(redundant_used(image), "yes");
        expect_rows(image, sample_rows, SAMPLE_ROW_COUNT);
        vmdk_format_ops.close(image);
    }
    sample_make(sample);
    put32(sample, SAMPLE_RGD * 512, 5000); /* the copy is damaged */
    memory_set(0, "sample.vmdk", sample, sizeof(sample));
    struct ds_image *image = open_good();
    assert_string_equal(redundant_used(image), "no");
    expect_rows(image, sample_rows, SAMPLE_ROW_COUNT);
    vmdk_format_ops.close(image);
}

static void test_vmdk_read__both_directories_damaged(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    put32(sample, SAMPLE_GD * 512, 5000);
    put32(sample, SAMPLE_RGD * 512 + 4, 5000);
    assert_int_equal(read_sample(sizeof(sample), &err), -DS_ERR_CORRUPT);
    assert_int_equal(err.offset_bytes, SAMPLE_GD * 512);
    /* A copy with holes in it does not stand in: they may be losses. */
    put32(sample, SAMPLE_RGD * 512 + 4, 0);
    assert_int_equal(read_sample(sizeof(sample), &err), -DS_ERR_CORRUPT);
}

/* -- disks of several files ------------------------------------------------ */

#define HEAD "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"

static void set_text(const char *text)
{
    memory_set(0, "disk.vmdk", text, strlen(text));
}

static void test_vmdk_read__extents_of_all_kinds(void **state)
{
    static const uint8_t flat[64 * 512] = { 1 };
    const struct row rows[] = {
        { 0, 16 * 512, DS_EXTENT_DATA, 4096 },
        { 16 * 512, 100 * 512, DS_EXTENT_ZERO, 0 },
        { 116 * 512, 2 * G, DS_EXTENT_DATA, 48 * 512 },
    };
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    struct ds_extent extent;

    (void)state;
    set_text(HEAD "createType=\"custom\"\n"
                  "RW 16 FLAT \"a-flat.vmdk\" 8\n"
                  "RDONLY 100 ZERO\n"
                  "RW 0 FLAT \"a-flat.vmdk\" 0\n"
                  "rw 8241 sparse \"b s001.vmdk\"\n"
                  "RW 40 VMFS \"a-flat.vmdk\" 24\n");
    memory_set(1, "a-flat.vmdk", flat, sizeof(flat));
    memory_set(2, "b s001.vmdk", sample, sizeof(sample));
    image = open_good();
    assert_int_equal(image->size_bytes, (16 + 100 + 40) * 512 + SAMPLE_SIZE);
    assert_int_equal(image->file_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(vmdk_format_ops.extent_at(
                             image, &cursor, rows[i].guest, &extent, &err),
                         0);
        assert_int_equal(extent.length_bytes, rows[i].length);
        assert_int_equal(extent.kind, rows[i].kind);
        if (extent.kind == DS_EXTENT_DATA)
            assert_int_equal(extent.file_offset_bytes, rows[i].file);
    }
    assert_int_equal(extent.file_index, 2);
    assert_int_equal(vmdk_format_ops.extent_at(image, &cursor,
                                               image->size_bytes - 512, &extent,
                                               &err),
                     0);
    assert_int_equal(extent.file_index, 1);
    assert_int_equal(extent.file_offset_bytes, 63 * 512);
    assert_int_equal(walk_map(image, &err), 0);
    cursor_free(&cursor);
    vmdk_format_ops.close(image);
}

static void test_vmdk_read__flat_must_lie_in_its_file(void **state)
{
    static const uint8_t flat[64 * 512] = { 1 };
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    memory_set(1, "a-flat.vmdk", flat, sizeof(flat));
    set_text(HEAD "createType=vmfs\nRW 64 VMFS \"a-flat.vmdk\"\n");
    assert_int_equal(read_all(&err), 0);
    set_text(HEAD "createType=vmfs\nRW 65 VMFS \"a-flat.vmdk\"\n");
    assert_int_equal(read_all(&err), -DS_ERR_CORRUPT);
    set_text(HEAD "createType=vmfs\nRW 64 VMFS \"a-flat.vmdk\" 1\n");
    assert_int_equal(read_all(&err), -DS_ERR_CORRUPT);
    set_text(HEAD "createType=vmfs\n"
                  "RW 1 VMFS \"a-flat.vmdk\" 36028797018963967\n");
    assert_int_equal(read_all(&err), -DS_ERR_CORRUPT);
}

static void test_vmdk_read__windows_1252_names(void **state)
{
    static const uint8_t flat[512] = { 1 };
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    memory_set(1, "M\xc3\xbcller\xe2\x82\xac.vmdk", flat, sizeof(flat));
    set_text(HEAD "encoding=\"windows-1252\"\ncreateType=vmfs\n"
                  "RW 1 VMFS \"M\xfcller\x80.vmdk\"\n");
    assert_int_equal(read_all(&err), 0);
    set_text(HEAD "encoding=\"UTF-8\"\ncreateType=vmfs\n"
                  "RW 1 VMFS \"M\xfcller\x80.vmdk\"\n");
    assert_int_equal(read_all(&err), -DS_ERR_REFUSED);
}

/* -- recognising ----------------------------------------------------------- */

static bool probe(const void *bytes, size_t length_bytes)
{
    struct ds_probe view = { .head_bytes = length_bytes };

    memcpy(view.head, bytes, length_bytes);
    return vmdk_format_ops.probe(&view);
}

static void test_vmdk_read__probe(void **state)
{
    static const uint8_t sesparse[512] = { 0xbe, 0xba, 0xfe, 0xca };
    static const uint8_t zeros[512] = { 0 };

    (void)state;
    assert_true(probe("KDMV", 4));
    assert_true(probe("COWD", 4));
    assert_true(probe(sesparse, sizeof(sesparse)));
    assert_true(probe("# Disk DescriptorFile\n", 22));
    assert_true(probe("\xef\xbb\xbf\r\n # disk Descriptorfile", 27));
    assert_false(probe("KDM", 3));
    assert_false(probe("# Disk", 6));
    assert_false(probe(zeros, sizeof(zeros)));
    assert_false(probe("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_vmdk_read__sample_map, setup),
        cmocka_unit_test_setup(test_vmdk_read__any_offset_any_order, setup),
        cmocka_unit_test_setup(test_vmdk_read__scattered_tables, setup),
        cmocka_unit_test_setup(test_vmdk_read__zeroed_grain_needs_the_flag,
                               setup),
        cmocka_unit_test_setup(test_vmdk_read__capacity_in_whole_grains, setup),
        cmocka_unit_test_setup(test_vmdk_read__regions_are_merged, setup),
        cmocka_unit_test_setup(test_vmdk_read__redundant_directory_stands_in,
                               setup),
        cmocka_unit_test_setup(test_vmdk_read__both_directories_damaged, setup),
        cmocka_unit_test_setup(test_vmdk_read__extents_of_all_kinds, setup),
        cmocka_unit_test_setup(test_vmdk_read__flat_must_lie_in_its_file,
                               setup),
        cmocka_unit_test_setup(test_vmdk_read__windows_1252_names, setup),
        cmocka_unit_test_setup(test_vmdk_read__probe, setup),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
