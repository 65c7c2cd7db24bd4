/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what an image points at lies apart: data, records, and compressed
 * units, which may share the sectors at their ends. */
#include "engine_fake.h"

#include <stdlib.h>

#include "claims.h"
#include "overlap.h"

#define UNIT UINT64_C(65536)
#define TIB (UINT64_C(1) << 40)

static struct ds_disk disk;
static struct fake_image image;
static struct fake_file file;
static struct ds_extent extents[4];
static size_t extent_count;

static const struct ds_region record = { 0, 0, UNIT, "record" };

static int name_record(struct ds_image *base, ds_region_fn *region, void *user,
                       struct ds_error *err)
{
    (void)base;
    return region(user, &record, err);
}

static const struct ds_format_ops format = {
    .name = "fake",
    .extent_at = fake_extent_at,
    .regions = name_record,
};

static int setup(void **state)
{
    (void)state;
    memset(&disk, 0, sizeof(disk));
    memset(&image, 0, sizeof(image));
    file = (struct fake_file){ .file.size_bytes = 8 * TIB };
    extent_count = 0;
    return 0;
}

static struct ds_extent *add(enum ds_extent_kind kind, uint64_t offset)
{
    struct ds_extent *extent = &extents[extent_count];

    *extent = (struct ds_extent){
        .guest_offset_bytes = extent_count * UNIT,
        .length_bytes = UNIT,
        .kind = kind,
        .file_offset_bytes = offset,
    };
    extent_count++;
    return extent;
}

static void add_packed(uint64_t offset, uint64_t stored)
{
    add(DS_EXTENT_ENCODED, offset)->encoding = (struct ds_encoding){
        .codec = DS_CODEC_DEFLATE,
        .stored_bytes = stored,
        .unit_bytes = UNIT,
    };
}

static void expect(const char *words)
{
    struct ds_error err = DS_ERROR_INIT;
    int result;

    fake_layer(&disk, &image, &file, extents, extent_count);
    image.image.format = &format;
    result = overlap_check(&disk, &err);
    if (words == NULL && result != 0)
        print_error("%s\n", err.message);
    assert_int_equal(result, words == NULL ? 0 : -DS_ERR_CORRUPT);
    if (words != NULL)
        assert_non_null(strstr(err.message, words));
}

static void test_overlap__packed_units_share_sectors(void **state)
{
    (void)state;
    add_packed(UNIT, 1000);      /* ends in the second sector */
    add_packed(UNIT + 1000, 10); /* three in that one */
    add_packed(UNIT + 1010, 3000);
    add(DS_EXTENT_DATA, 2 * UNIT);
    expect(NULL);
}

static void test_overlap__data_on_a_packed_unit(void **state)
{
    static const uint64_t places[] = { 2 * UNIT - 100, 2 * UNIT + 100,
                                       3 * UNIT - 10, 2 * UNIT - 9000 };

    for (unsigned i = 0; i < 4; i++)
        for (unsigned order = 0; order < 2; order++) {
            setup(state);
            if (order == 0)
                add(DS_EXTENT_DATA, 2 * UNIT);
            add_packed(places[i], i == 3 ? 9001 : 300);
            if (order == 1)
                add(DS_EXTENT_DATA, 2 * UNIT);
            expect("overlap other data");
        }
}

static void test_overlap__packed_units_in_one_another(void **state)
{
    for (unsigned order = 0; order < 2; order++) {
        setup(state);
        if (order == 0)
            add_packed(UNIT + 2000, 10);
        add_packed(UNIT, 5000);
        if (order == 1)
            add_packed(UNIT + 2000, 10);
        expect("overlap other data");
    }
    setup(state);
    add_packed(UNIT, 5000); /* the same twice */
    add_packed(UNIT, 5000);
    expect("the 5000 bytes of guest offset 65536 overlap other data");
}

static void test_overlap__packed_unit_on_a_record(void **state)
{
    (void)state;
    add_packed(UNIT - 1, 2000);
    expect("overlap record");
}

/* Ciphers keep every byte in its place: no edges. */
static void test_overlap__encrypted_data(void **state)
{
    struct ds_extent *extent;
    static const char key;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        extent = add(DS_EXTENT_ENCODED, 2 * UNIT + i * 512);
        extent->encoding = (struct ds_encoding){ .codec = DS_CODEC_AES_XTS,
                                                 .stored_bytes = UNIT,
                                                 .unit_bytes = UNIT,
                                                 .key = &key };
    }
    expect("overlap other data");
}

/* Far apart, and with next to no memory: window by window. */
static void test_overlap__packed_units_far_out(void **state)
{
    (void)state;
    add_packed(UNIT, 1000);
    add(DS_EXTENT_DATA, 5 * TIB);
    add_packed(7 * TIB, 1000);
    add_packed(7 * TIB + 1000, 1000);
    expect(NULL);
    setup(state);
    add(DS_EXTENT_DATA, 5 * TIB);
    add_packed(7 * TIB, 1000);
    add_packed(5 * TIB + UNIT - 1, 1000);
    expect("overlap other data");
    setup(state);
    add_packed(3 * TIB, 10); /* a window that only edges lie in */
    add_packed(5 * TIB, 10);
    add(DS_EXTENT_DATA, 5 * TIB);
    expect("overlap other data");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_overlap__packed_units_share_sectors, setup),
        cmocka_unit_test_setup(test_overlap__data_on_a_packed_unit, setup),
        cmocka_unit_test_setup(test_overlap__packed_units_in_one_another,
                               setup),
        cmocka_unit_test_setup(test_overlap__packed_unit_on_a_record, setup),
        cmocka_unit_test_setup(test_overlap__encrypted_data, setup),
        cmocka_unit_test_setup(test_overlap__packed_units_far_out, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
