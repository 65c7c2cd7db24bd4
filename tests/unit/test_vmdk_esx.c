/* SPDX-License-Identifier: Apache-2.0 */
/* ESX's sparse files, drawn by hand: COWD by the spec's "ESX Server Sparse
 * Extents", seSparse by SPEC.md's drawing, neither by our structs. */
#include "vmdk_rows.h"

#define S 512u
#define HEAD "# Disk DescriptorFile\nversion=1\nCID=2\nparentCID=ffffffff\n"

/* -- COWD ------------------------------------------------------------------ */

/*
 * sector 0        4    5       37       69 ... 75
 *        | header | GD | table | table | grains
 *
 * Grains of one sector; three directory entries, of which one is empty.
 */
#define COWD_SECTORS 75u
#define COWD_TABLE0 (5 * S)
#define COWD_TABLE2 (37 * S)

static uint8_t cowd[COWD_SECTORS * S];

static void cowd_make(void)
{
    memset(cowd, 0, sizeof(cowd));
    memcpy(cowd, "COWD", 4);
    put32(cowd, 4, 1);     /* version */
    put32(cowd, 8, 3);     /* flags */
    put32(cowd, 12, 8200); /* numSectors */
    put32(cowd, 16, 1);    /* grainSize */
    put32(cowd, 20, 4);    /* gdOffset */
    put32(cowd, 24, 3);    /* numGDEntries */
    put32(cowd, 28, 75);   /* freeSector */
    put32(cowd, 4 * S, 5);
    put32(cowd, 4 * S + 8, 37);
    put32(cowd, COWD_TABLE0, 69);
    put32(cowd, COWD_TABLE0 + 4, 70);
    put32(cowd, COWD_TABLE0 + 3 * 4, 71);
    put32(cowd, COWD_TABLE0 + 4095 * 4, 72);
    put32(cowd, COWD_TABLE2, 73);
    put32(cowd, COWD_TABLE2 + 7 * 4, 74);
}

static const struct map_row cowd_rows[] = {
    { 0, 2 * S, DS_EXTENT_DATA, 1, 69 * S },
    { 2 * S, S, DS_EXTENT_HOLE, 0, 0 },
    { 3 * S, S, DS_EXTENT_DATA, 1, 71 * S },
    { 4 * S, 4091 * S, DS_EXTENT_HOLE, 0, 0 },
    { 4095 * S, S, DS_EXTENT_DATA, 1, 72 * S },
    { 4096 * S, 4096 * S, DS_EXTENT_HOLE, 0, 0 },
    { 8192 * S, S, DS_EXTENT_DATA, 1, 73 * S },
    { 8193 * S, 6 * S, DS_EXTENT_HOLE, 0, 0 },
    { 8199 * S, S, DS_EXTENT_DATA, 1, 74 * S },
};

static void cowd_set(size_t length_bytes)
{
    static const char text[] = HEAD "createType=\"vmfsSparse\"\n"
                                    "RW 8200 VMFSSPARSE \"a-delta.vmdk\"\n";

    memory_set(0, "a.vmdk", text, sizeof(text) - 1);
    memory_set(1, "a-delta.vmdk", cowd, length_bytes);
}

static void test_vmdk_esx__cowd_map(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    (void)state;
    cowd_set(sizeof(cowd));
    image = open_or_fail();
    assert_int_equal(image->size_bytes, 8200 * S);
    expect_map(image, cowd_rows, sizeof(cowd_rows) / sizeof(cowd_rows[0]));
    vmdk_format_ops.close(image);
    assert_int_equal(read_all(&err), 0);
}

struct poke {
    size_t offset;
    uint64_t value;
    int result;
};

static void expect_refusal(int have, const struct poke *poke,
                           const struct ds_error *err)
{
    if (have != poke->result)
        fail_msg("poke at %zu: have %d '%s' expect %d", poke->offset, have,
                 err->message, poke->result);
    if (have != 0)
        assert_memory_equal(err->message, "vmdk: ", 6);
}

static void test_vmdk_esx__cowd_pokes(void **state)
{
    static const struct poke pokes[] = {
        { 0, 0x12345678, -DS_ERR_CORRUPT },
        { 4, 2, -DS_ERR_UNSUPPORTED },
        { 8, 7, -DS_ERR_UNSUPPORTED },
        { 12, 8199, -DS_ERR_CORRUPT },
        { 12, 8201, -DS_ERR_CORRUPT },
        { 16, 0, -DS_ERR_CORRUPT },
        { 16, 3, -DS_ERR_CORRUPT },
        { 16, UINT32_MAX, -DS_ERR_CORRUPT },
        { 20, 0, -DS_ERR_CORRUPT }, /* GD over the header */
        { 20, 3, -DS_ERR_CORRUPT }, /* the same */
        { 20, COWD_SECTORS, -DS_ERR_CORRUPT },
        { 24, 2, -DS_ERR_CORRUPT },
        { 24, 4, 0 }, /* room for more */
        { 4 * S, COWD_SECTORS - 31, -DS_ERR_CORRUPT },
        { COWD_TABLE0, COWD_SECTORS, -DS_ERR_CORRUPT },
        { COWD_TABLE0, 3, -DS_ERR_CORRUPT }, /* within the header */
        { COWD_TABLE0, UINT32_MAX, -DS_ERR_CORRUPT },
        { 1648, 1, 0 }, /* unclean */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(pokes) / sizeof(pokes[0]); i++) {
        struct ds_error err = DS_ERROR_INIT;

        cowd_make();
        put32(cowd, pokes[i].offset, pokes[i].value);
        cowd_set(sizeof(cowd));
        expect_refusal(read_all(&err), &pokes[i], &err);
    }
}

static void test_vmdk_esx__cowd_truncated(void **state)
{
    (void)state;
    for (size_t length = 0; length < sizeof(cowd); length += 100) {
        struct ds_error err = DS_ERROR_INIT;

        cowd_set(length);
        assert_int_equal(read_all(&err), -DS_ERR_CORRUPT);
    }
}

/* -- seSparse -------------------------------------------------------------- */

/*
 * sector 0    1    2    4    8    16       208      216       224 ... 273
 *        |head|vol.|j.h.|jrnl| GD | tables | bitmap | backmap | grains
 *
 * Tables 1 and 0 serve the first and the third 16 MiB; the disk ends one
 * sector into a grain, of which the file holds no more either.
 */
#define SE_SECTORS 273u
#define SE_CAPACITY (65536u + 17u)
#define SE_TABLE0 (16 * S)
#define SE_TABLE1 (80 * S)
#define SE_GRAIN(n) ((224u + 8u * (n)) * S)
#define SE_PRESENT (UINT64_C(0x10000000) << 32)
#define SE_TYPE(n) ((uint64_t)(n) << 60)
/* The lower 12 bits of a grain's number stand above its upper ones. */
#define SE_DATA(n) (SE_TYPE(3) | (uint64_t)((n)&0xfff) << 48 | (n) >> 12)

static uint8_t sesparse[SE_SECTORS * S];

static void sesparse_make(void)
{
    static const uint64_t words[] = {
        0xcafebabe,  UINT64_C(0x200000001),
        SE_CAPACITY, 8,
        64,          0,
        0,           0,
        0,           0,
        1,           1,   /* volatile header */
        2,           2,   /* journal header */
        4,           4,   /* journal */
        8,           8,   /* directory */
        16,          192, /* tables */
        208,         8,   /* bitmap */
        216,         8,   /* backmap */
        224,         800, /* grains; the file is shorter */
    };

    memset(sesparse, 0, sizeof(sesparse));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        put64(sesparse, i * 8, words[i]);
    put64(sesparse, S, 0xcafecafe);
    put64(sesparse, S + 16, 7); /* next transaction */
    put64(sesparse, 8 * S, SE_PRESENT | 1);
    put64(sesparse, 8 * S + 16, SE_PRESENT | 0);
    put64(sesparse, SE_TABLE1, SE_DATA(2));
    put64(sesparse, SE_TABLE1 + 8, SE_DATA(3));
    put64(sesparse, SE_TABLE1 + 16, SE_TYPE(2));
    put64(sesparse, SE_TABLE1 + 24, SE_TYPE(1));
    put64(sesparse, SE_TABLE1 + 40, SE_DATA(0));
    put64(sesparse, SE_TABLE0, SE_DATA(4));
    put64(sesparse, SE_TABLE0 + 8, SE_DATA(5));
    put64(sesparse, SE_TABLE0 + 16, SE_DATA(6));
}

static const struct map_row sesparse_rows[] = {
    { 0, 8192, DS_EXTENT_DATA, 1, SE_GRAIN(2) },
    { 8192, 8192, DS_EXTENT_ZERO, 0, 0 },
    { 16384, 4096, DS_EXTENT_HOLE, 0, 0 },
    { 20480, 4096, DS_EXTENT_DATA, 1, SE_GRAIN(0) },
    { 24576, (16 << 20) - 24576, DS_EXTENT_HOLE, 0, 0 },
    { 16 << 20, 16 << 20, DS_EXTENT_HOLE, 0, 0 },
    { 32 << 20, 8192 + 512, DS_EXTENT_DATA, 1, SE_GRAIN(4) },
};

static void sesparse_set(const uint8_t *bytes, size_t length_bytes)
{
    static const char text[] = HEAD "createType=\"seSparse\"\n"
                                    "RW 65553 SESPARSE \"a-sesparse.vmdk\"\n";

    memory_set(0, "a.vmdk", text, sizeof(text) - 1);
    memory_set(1, "a-sesparse.vmdk", bytes, length_bytes);
}

static void test_vmdk_esx__sesparse_map(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    (void)state;
    sesparse_set(sesparse, sizeof(sesparse));
    image = open_or_fail();
    expect_map(image, sesparse_rows,
               sizeof(sesparse_rows) / sizeof(sesparse_rows[0]));
    vmdk_format_ops.close(image);
    assert_int_equal(read_all(&err), 0);
}

/* Whatever offset is asked for first, the answer is the end of its row's. */
static void test_vmdk_esx__sesparse_any_offset(void **state)
{
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    uint64_t at = 0;

    (void)state;
    sesparse_set(sesparse, sizeof(sesparse));
    image = open_or_fail();
    for (unsigned i = 0; i < 5000; i++) {
        const struct map_row *row = sesparse_rows;
        struct ds_extent extent;

        at = (at + 7919 * S) % image->size_bytes;
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

/* A grain whose number has more than 12 bits. */
static void test_vmdk_esx__sesparse_far_grain(void **state)
{
    const size_t length = SE_GRAIN(4098) + 4096;
    uint8_t *large = calloc(1, length);
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    struct ds_extent extent;

    (void)state;
    assert_non_null(large);
    put64(sesparse, SE_TABLE1, SE_DATA(UINT64_C(4097)));
    put64(sesparse, SE_TABLE1 + 8, SE_DATA(UINT64_C(4098)));
    memcpy(large, sesparse, sizeof(sesparse));
    sesparse_set(large, length);
    free(large);
    image = open_or_fail();
    assert_int_equal(
        vmdk_format_ops.extent_at(image, &cursor, 0, &extent, &err), 0);
    assert_int_equal(extent.length_bytes, 8192);
    assert_int_equal(extent.file_offset_bytes, SE_GRAIN(4097));
    cursor_free(&cursor);
    vmdk_format_ops.close(image);
}

static void test_vmdk_esx__sesparse_pokes(void **state)
{
    static const struct poke pokes[] = {
        { 0, 1, -DS_ERR_CORRUPT },
        { 8, UINT64_C(0x100000001), -DS_ERR_UNSUPPORTED },
        { 16, SE_CAPACITY - 1, -DS_ERR_CORRUPT },
        { 16, SE_CAPACITY + 8, -DS_ERR_CORRUPT },
        { 16, UINT64_MAX, -DS_ERR_LIMIT },
        { 16, UINT64_MAX / 512, -DS_ERR_LIMIT },
        { 24, 16, -DS_ERR_UNSUPPORTED },
        { 24, 0, -DS_ERR_UNSUPPORTED },
        { 32, 0, -DS_ERR_UNSUPPORTED },
        { 40, 1, -DS_ERR_UNSUPPORTED },
        { 48, 1, -DS_ERR_UNSUPPORTED },
        { 72, 1, -DS_ERR_UNSUPPORTED },
        { 80, UINT64_MAX, -DS_ERR_CORRUPT }, /* volatile header's place */
        { 80, SE_SECTORS, -DS_ERR_CORRUPT },
        { 80, 2, -DS_ERR_CORRUPT }, /* and its magic */
        { 88, 0, -DS_ERR_CORRUPT },
        { 112, UINT64_MAX / 256, -DS_ERR_CORRUPT },
        { 128, SE_SECTORS, -DS_ERR_CORRUPT }, /* directory */
        { 128, 0, -DS_ERR_CORRUPT },
        { 136, 0, -DS_ERR_CORRUPT },
        { 152, 64, -DS_ERR_CORRUPT }, /* room for table 0 alone */
        { 152, UINT64_MAX, -DS_ERR_CORRUPT },
        { 192, 0, -DS_ERR_CORRUPT }, /* grains */
        { 192, UINT64_MAX, -DS_ERR_CORRUPT },
        { 192, UINT64_C(1) << 54, -DS_ERR_CORRUPT },
        { 192, 225, -DS_ERR_CORRUPT }, /* the last beyond the file's end */
        { S, 1, -DS_ERR_CORRUPT },
        { S + 24, 1, -DS_ERR_UNSUPPORTED }, /* replay the journal */
        { 8 * S, SE_PRESENT | 3, -DS_ERR_CORRUPT },
        { 8 * S, 1, -DS_ERR_CORRUPT },
        { 8 * S, UINT64_MAX, -DS_ERR_CORRUPT },
        { 8 * S, 0, 0 },
        { SE_TABLE1, SE_TYPE(4), -DS_ERR_CORRUPT },
        { SE_TABLE1, UINT64_MAX, -DS_ERR_CORRUPT },
        { SE_TABLE1, 1, -DS_ERR_CORRUPT },
        { SE_TABLE1, SE_DATA(7), -DS_ERR_CORRUPT },
        { SE_TABLE1, SE_TYPE(3) | UINT64_C(0xffffffffffff), -DS_ERR_CORRUPT },
        { SE_TABLE1 + 8, 5, -DS_ERR_CORRUPT },
        { SE_TABLE1 + 16, SE_TYPE(5), -DS_ERR_CORRUPT },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(pokes) / sizeof(pokes[0]); i++) {
        struct ds_error err = DS_ERROR_INIT;

        sesparse_make();
        put64(sesparse, pokes[i].offset, pokes[i].value);
        sesparse_set(sesparse, sizeof(sesparse));
        expect_refusal(read_all(&err), &pokes[i], &err);
    }
}

static void test_vmdk_esx__sesparse_truncated(void **state)
{
    (void)state;
    for (size_t length = 0; length < sizeof(sesparse); length += 300) {
        struct ds_error err = DS_ERROR_INIT;

        sesparse_set(sesparse, length);
        assert_int_equal(read_all(&err), -DS_ERR_CORRUPT);
    }
}

/* Named without their descriptors they would be a piece of a disk. */
static void test_vmdk_esx__lone_extents(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    memory_set(0, "a-delta.vmdk", cowd, sizeof(cowd));
    assert_int_equal(read_all(&err), -DS_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "descriptor"));
    memory_set(0, "a-sesparse.vmdk", sesparse, sizeof(sesparse));
    assert_int_equal(read_all(&err), -DS_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "descriptor"));
}

static int setup(void **state)
{
    (void)state;
    memory_reset();
    cowd_make();
    sesparse_make();
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
        cmocka_unit_test_setup(test_vmdk_esx__cowd_map, setup),
        cmocka_unit_test_setup(test_vmdk_esx__cowd_pokes, setup),
        cmocka_unit_test_setup(test_vmdk_esx__cowd_truncated, setup),
        cmocka_unit_test_setup(test_vmdk_esx__sesparse_map, setup),
        cmocka_unit_test_setup(test_vmdk_esx__sesparse_any_offset, setup),
        cmocka_unit_test_setup(test_vmdk_esx__sesparse_far_grain, setup),
        cmocka_unit_test_setup(test_vmdk_esx__sesparse_pokes, setup),
        cmocka_unit_test_setup(test_vmdk_esx__sesparse_truncated, setup),
        cmocka_unit_test_setup(test_vmdk_esx__lone_extents, setup),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
