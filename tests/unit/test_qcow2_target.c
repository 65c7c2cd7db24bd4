/* SPDX-License-Identifier: Apache-2.0 */
/* The further forms that the qcow2 writer has: every width of reference
 * counts, extended L2 entries, an external data file. */
#include "qcow2_counts_fixture.h"

#include "qcow2/qcow2_target.h"

#define COPIED (UINT64_C(1) << 63)
#define K4 "cluster_size=4k"
#define K16 "cluster_size=16k"
#define EXTENDED "extended_l2=yes"

static const char *const widths[] = {
    "refcount_bits=1",  "refcount_bits=2",  "refcount_bits=4",
    "refcount_bits=8",  "refcount_bits=16", "refcount_bits=32",
    "refcount_bits=64",
};

/* -- reference counts ------------------------------------------------------ */

/* Runs that begin and end anywhere in a byte of counts, in several blocks. */
static struct layout gaps_layout(const char *width)
{
    struct layout layout = {
        .options = { K4, width },
        .option_count = 2,
        .size_bytes = 100 * DS_MIB,
        .area_start_bytes = 20 * DS_MIB,
        .runs = { { 0, 2, 0 },
                  { 2, 1, 4096 },
                  { 700, 3, 5 * 4096 },
                  { 800, 21, 13 * 4096 },
                  { 2000, 701, 17 * DS_MIB },
                  { 25599, 1, 0 } },
        .run_count = 6,
    };

    return layout;
}

static void test_qcow2_target__every_refcount_width(void **state)
{
    (void)state;
    for (uint64_t order = 0; order <= 6; order++) {
        struct layout layout = gaps_layout(widths[order]);
        struct memory_file file;

        layout_write(&layout, &file);
        assert_int_equal(peek(&file, 96, 4), order);
        assert_runs(&file, &layout);
        assert_refcounts(&file);
        memory_free(&file);
        layout_close(&layout);
    }
}

/* Around every border where one more block or table cluster is due. */
static void test_qcow2_target__refcount_blocks_of_every_width(void **state)
{
    (void)state;
    for (uint64_t order = 0; order <= 6; order++)
        for (uint64_t data = 0; data < 400000; data += data < 2000 ? 1 : 997) {
            const uint64_t entries = UINT64_C(32768) >> order;
            struct layout layout = { .options = { K4, widths[order] },
                                     .option_count = 2,
                                     .size_bytes = 4 * DS_GIB,
                                     .runs = { { 0, data, 0 } },
                                     .run_count = data != 0 };
            uint64_t clusters, blocks;

            layout_seal(&layout);
            clusters = layout.seal.file_size_bytes[0] / 4096;
            blocks = ds_div_up(clusters, entries);
            assert_int_equal(layout.seal.metadata_bytes / 4096,
                             4 + ds_div_up(data, 512) + blocks +
                                 ds_div_up(blocks, 512));
            layout_close(&layout);
            if (data < 2000)
                data += 16;
        }
}

/* A gap of more blocks than the buffer holds: only those that count something
 * are written, each once. The tables' own clusters are the most that there is
 * to count here. */
static void test_qcow2_target__counts_far_apart(void **state)
{
    (void)state;
    for (uint64_t order = 0; order <= 6; order++) {
        struct layout layout = {
            .options = { K4, widths[order] },
            .option_count = 2,
            .size_bytes = DS_GIB,
            .area_start_bytes = 100 * DS_GIB,
            .runs = { { 0, 3, 4096 }, { 700, 3, 0 } },
            .run_count = 2,
        };
        struct memory_emitter emitter = { .base = { .write = memory_write } };
        uint64_t counted, first;

        layout_seal(&layout);
        assert_int_equal(layout_emit(&layout, &emitter.base, NULL), 0);
        first = emitter.written_bytes;
        counted = (layout.seal.metadata_bytes / 4096 + 8) << order >> 3;
        /* header, L1, refcount table, L2 and what the counts' edges share */
        assert_in_range(first, 5 * 4096,
                        counted + layout.seal.metadata_bytes / 512 + 9 * 4096);
        assert_int_equal(layout_emit(&layout, &emitter.base, NULL), 0);
        assert_int_equal(emitter.written_bytes, 2 * first);
        layout_close(&layout);
    }
}

static void test_qcow2_target__refcount_codec(void **state)
{
    (void)state;
    for (uint32_t order = 0; order <= 6; order++) {
        const unsigned width = 1u << order;
        const uint64_t most =
            width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
        uint8_t block[128];

        memset(block, 0x5a, sizeof(block));
        qcow2_refcount_put(block, order, 5, most);
        qcow2_refcount_put(block, order, 6, 0);
        qcow2_refcount_put(block, order, 7, most - 1);
        assert_int_equal(qcow2_refcount_get(block, order, 5), most);
        assert_int_equal(qcow2_refcount_get(block, order, 6), 0);
        assert_int_equal(qcow2_refcount_get(block, order, 7), most - 1);
        /* and nothing beside them */
        for (unsigned i = 0; i < sizeof(block); i++)
            if ((i + 1) * 8 <= 5 * width || i * 8 >= 8 * width)
                assert_int_equal(block[i], 0x5a);
    }
}

/* -- extended L2 entries ---------------------------------------------------
 */

static struct layout extended_layout(const char *cluster)
{
    struct layout layout = {
        .options = { EXTENDED, cluster, "refcount_bits=1" },
        .option_count = 3,
        .size_bytes = 2100 * (16 * DS_KIB) + 512,
        .runs = { { 0, 1, 0 }, { 3, 2, 0 }, { 1000, 40, 0 }, { 2100, 1, 0 } },
        .run_count = 4,
    };

    return layout;
}

static void test_qcow2_target__extended_entries(void **state)
{
    struct layout layout = extended_layout(K16);
    struct memory_file file;
    uint64_t l2, data;

    (void)state;
    layout_write(&layout, &file);
    assert_runs(&file, &layout);
    assert_refcounts(&file);
    assert_int_equal(peek(&file, 72, 8), 16);
    /* 1024 entries of 16 bytes: units 0 to 2100 are of three tables */
    assert_int_equal(peek(&file, 36, 4), 3);
    l2 = peek(&file, peek(&file, 40, 8), 8) & ~COPIED;
    data = layout.seal.data_start_bytes;
    assert_int_equal(peek(&file, l2, 8), data | COPIED);
    assert_int_equal(peek(&file, l2 + 8, 8), UINT32_MAX);
    assert_int_equal(peek(&file, l2 + 16, 8), 0);
    assert_int_equal(peek(&file, l2 + 24, 8), 0);
    assert_int_equal(peek(&file, l2 + 48, 8), (data + 16384) | COPIED);
    assert_int_equal(peek(&file, l2 + 56, 8), UINT32_MAX);
    memory_free(&file);
    layout_close(&layout);
}

static void test_qcow2_target__extended_second_pass_repeats(void **state)
{
    struct layout layout = extended_layout(K16);
    struct memory_emitter emitter = { .base = { .write = memory_write } };
    struct memory_file first, second;

    (void)state;
    layout_write(&layout, &first);
    memory_init(&second, first.base.size_bytes);
    emitter.file = &second;
    assert_int_equal(layout_emit(&layout, &emitter.base, NULL), 0);
    assert_memory_equal(first.bytes, second.bytes, first.base.size_bytes);
    /* The pages that hold something, and the short gaps between them. */
    assert_int_equal(emitter.written_bytes, 13 * 4096);
    memory_free(&first);
    memory_free(&second);
    layout_close(&layout);
}

/* -- an external data file ------------------------------------------------- */

#define DATA_NAME "disk-data.raw"
#define DATA_CLUSTERS 1030u /* and half a one */

static struct ds_target *open_external(const char *option)
{
    const char *options[] = { "data_file=yes", K4, option };
    const struct ds_target_request request = {
        .path = memory_path,
        .options = options,
        .option_count = option != NULL ? 3 : 2,
        .size_bytes = DATA_CLUSTERS * 4096 + 2048,
    };
    struct ds_target *target = NULL;

    assert_int_equal(qcow2_format_ops.target_open(&request, &target, NULL), 0);
    return target;
}

#define EXTERNAL_RUN_COUNT 3u
static const struct ds_unit_run external_runs[EXTERNAL_RUN_COUNT] = {
    { 0, 2, 0 },
    { 5, 1, UINT64_C(5) * 4096 },
    { 1000, 31, UINT64_C(1000) * 4096 }, /* to the end, and into table 2 */
};

static int seal_external(struct ds_target *target, const char *name,
                         struct ds_seal *seal, struct ds_error *err)
{
    struct ds_footprint footprint = { .file_names = { "disk.qcow2", name } };

    for (size_t i = 0; i < EXTERNAL_RUN_COUNT; i++)
        assert_int_equal(
            qcow2_format_ops.target_count(target, &external_runs[i], err), 0);
    return qcow2_format_ops.target_seal(target, &footprint, seal, err);
}

static void write_external(struct ds_target *target, struct memory_file *file)
{
    struct memory_emitter emitter = { .base = { .write = memory_write },
                                      .file = file };
    struct ds_seal seal = { 0 };

    assert_int_equal(seal_external(target, DATA_NAME, &seal, NULL), 0);
    assert_int_equal(seal.data_start_bytes, 0);
    assert_int_equal(seal.metadata_bytes, 0);
    assert_int_equal(seal.file_size_bytes[1], DATA_CLUSTERS * 4096 + 2048);
    memory_init(file, (size_t)seal.file_size_bytes[0]);
    for (unsigned pass = 0; pass < 2; pass++) {
        emitter.written_bytes = 0;
        for (size_t i = 0; i < EXTERNAL_RUN_COUNT; i++)
            assert_int_equal(qcow2_format_ops.target_place(target,
                                                           &external_runs[i],
                                                           &emitter.base, NULL),
                             0);
        assert_int_equal(
            qcow2_format_ops.target_finish(target, &emitter.base, NULL), 0);
        assert_int_equal(emitter.written_bytes, seal.file_size_bytes[0]);
    }
}

static void test_qcow2_target__external_layout(void **state)
{
    struct ds_target *target = open_external(NULL);
    char suffix[DS_SUFFIX_BYTES] = "";

    (void)state;
    assert_true(target->layout.identity_units);
    assert_true(target->layout.can_refer && target->layout.ends_with_data);
    assert_false(target->layout.wants_used);
    assert_int_equal(target->layout.file_count, 2);
    assert_int_equal(target->layout.data_file_index, 1);
    assert_int_equal(target->layout.head_bytes, 0);
    qcow2_format_ops.target_suffix(target, 1, suffix);
    assert_string_equal(suffix, "-data.raw");
    qcow2_format_ops.target_close(target);
}

static void test_qcow2_target__external_tables(void **state)
{
    struct ds_target *target = open_external(NULL);
    struct memory_file file;
    uint64_t l1, l2;

    (void)state;
    write_external(target, &file);
    assert_int_equal(peek(&file, 72, 8), 4);
    assert_int_equal(peek(&file, 88, 8), 2);
    assert_int_equal(peek(&file, 112, 4), 0x44415441);
    assert_int_equal(peek(&file, 116, 4), strlen(DATA_NAME));
    assert_memory_equal(file.bytes + 120, DATA_NAME, strlen(DATA_NAME));
    assert_int_equal(peek(&file, 136, 8), 0);
    l1 = peek(&file, 40, 8);
    l2 = peek(&file, l1, 8) & ~COPIED;
    assert_int_equal(peek(&file, l2, 8), COPIED); /* offset 0, and used */
    assert_int_equal(peek(&file, l2 + 8, 8), COPIED | 4096);
    assert_int_equal(peek(&file, l2 + 16, 8), 0);
    assert_int_equal(peek(&file, l2 + 40, 8), COPIED | 5 * 4096);
    l2 = peek(&file, l1 + 16, 8) & ~COPIED;
    assert_int_equal(peek(&file, l2 + 6 * 8, 8), COPIED | 1030 * 4096);
    /* header, L1, refcount table, one block, three L2 tables: each once */
    assert_int_equal(file.base.size_bytes, 7 * 4096);
    for (uint64_t i = 0; i < 2048; i++)
        assert_int_equal(refcount(&file, i, 4096), i < 7);
    memory_free(&file);
    qcow2_format_ops.target_close(target);
}

static void test_qcow2_target__external_name_has_a_limit(void **state)
{
    char name[QCOW2_DATA_NAME_BYTES_MAX + 2];
    struct ds_target *target = open_external(NULL);
    struct ds_error err = DS_ERROR_INIT;
    struct ds_seal seal;

    (void)state;
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(seal_external(target, name, &seal, &err), -DS_ERR_LIMIT);
    assert_non_null(strstr(err.message, "data file name: have 1024 bytes"));
    qcow2_format_ops.target_close(target);
}

/* -- what does not go together --------------------------------------------- */

static void test_qcow2_target__combinations(void **state)
{
    static const struct {
        const char *options[3];
        const char *words; /* NULL: taken */
    } cases[] = {
        { { EXTENDED, K16, "compress=zstd" }, NULL },
        { { EXTENDED, "data_file=yes", "refcount_bits=64" }, NULL },
        { { "compress=zlib", "refcount_bits=1", K4 }, NULL },
        { { "compat=0.10", "refcount_bits=16", K4 }, NULL },
        { { EXTENDED, K4, "compat=1.1" }, "from 16k to 2M with extended_l2" },
        { { EXTENDED, "compat=0.10", K16 }, "expect 1.1 with extended_l2" },
        { { "data_file=yes", "compat=0.10", K4 }, "expect 1.1 with data_file" },
        { { "data_file=yes", "compress=zlib", K4 },
          "expect no with data_file" },
        { { "refcount_bits=1", "compat=0.10", K4 },
          "have '1' expect 16 with compat=0.10" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct ds_target_request request = { .path = memory_path,
                                                   .options = cases[i].options,
                                                   .option_count = 3,
                                                   .size_bytes = DS_GIB };
        struct ds_target *target = NULL;
        struct ds_error err = DS_ERROR_INIT;
        int result = qcow2_format_ops.target_open(&request, &target, &err);

        if (cases[i].words == NULL) {
            assert_int_equal(result, 0);
            qcow2_format_ops.target_close(target);
        } else {
            assert_int_equal(result, -DS_ERR_ARG);
            if (strstr(err.message, cases[i].words) == NULL)
                fail_msg("case %zu: %s", i, err.message);
        }
    }
}

static void test_qcow2_target__extended_standard_cluster(void **state)
{
    const char *options[] = { EXTENDED };
    const struct ds_target_request request = { .path = memory_path,
                                               .options = options,
                                               .option_count = 1,
                                               .size_bytes = DS_GIB };
    struct ds_target *target = NULL;

    (void)state;
    assert_int_equal(qcow2_format_ops.target_open(&request, &target, NULL), 0);
    assert_int_equal(target->layout.unit_bytes, 128 * DS_KIB);
    qcow2_format_ops.target_close(target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qcow2_target__every_refcount_width),
        cmocka_unit_test(test_qcow2_target__refcount_blocks_of_every_width),
        cmocka_unit_test(test_qcow2_target__counts_far_apart),
        cmocka_unit_test(test_qcow2_target__refcount_codec),
        cmocka_unit_test(test_qcow2_target__extended_entries),
        cmocka_unit_test(test_qcow2_target__extended_second_pass_repeats),
        cmocka_unit_test(test_qcow2_target__external_layout),
        cmocka_unit_test(test_qcow2_target__external_tables),
        cmocka_unit_test(test_qcow2_target__external_name_has_a_limit),
        cmocka_unit_test(test_qcow2_target__combinations),
        cmocka_unit_test(test_qcow2_target__extended_standard_cluster),
    };

    return cmocka_run_group_tests_name("qcow2_target", tests, NULL, NULL);
}
