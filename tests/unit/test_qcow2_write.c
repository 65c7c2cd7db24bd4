/* SPDX-License-Identifier: Apache-2.0 */
/* The qcow2 writer: what it lays out is read back, and every cluster's
 * reference count is held against who refers to it. */
#include "qcow2_counts_fixture.h"

#define K4 "cluster_size=4k"
#define V2 "compat=0.10"

/* -- layouts ----------------------------------------------------------------
 */

static struct layout small_layout(const char *cluster, const char *compat,
                                  uint64_t cluster_bytes)
{
    struct layout layout = {
        .options = { cluster, compat },
        .option_count = 2,
        .size_bytes = 9 * cluster_bytes + 512,
        .runs = { { 0, 2, 0 }, { 4, 1, 0 }, { 6, 4, 0 } },
        .run_count = 3,
    };

    return layout;
}

static void test_qcow2_write__round_trip(void **state)
{
    static const struct {
        const char *option;
        uint64_t bytes;
    } clusters[] = { { K4, 4096 },
                     { "cluster_size=64k", 65536 },
                     { "cluster_size=2M", 2 * DS_MIB } };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct layout v3 =
            small_layout(clusters[i].option, "compat=1.1", clusters[i].bytes);
        struct layout v2 =
            small_layout(clusters[i].option, V2, clusters[i].bytes);

        assert_round_trip(&v3);
        assert_round_trip(&v2);
    }
}

static void test_qcow2_write__empty_disks(void **state)
{
    struct layout none = { .size_bytes = 0 };
    struct layout zeros = { .size_bytes = DS_TIB };

    (void)state;
    assert_round_trip(&none);
    assert_round_trip(&zeros);
}

static void test_qcow2_write__graft_with_gaps(void **state)
{
    struct layout layout = {
        .options = { K4, V2 },
        .option_count = 2,
        .size_bytes = 100 * DS_MIB,
        .area_start_bytes = 20 * DS_MIB, /* gaps of several refcount blocks */
        .runs = { { 0, 2, 0 },
                  { 2, 1, 4096 },
                  { 700, 3, 5 * 4096 },
                  { 2000, 700, 17 * DS_MIB },
                  { 25599, 1, 0 } },
        .run_count = 5,
    };

    (void)state;
    assert_round_trip(&layout);
}

/* More L2 tables than the buffer holds, and a run over many of them. */
static void test_qcow2_write__many_l2_tables(void **state)
{
    static struct layout layout = {
        .options = { K4 },
        .option_count = 1,
        .size_bytes = 2 * DS_GIB,
    };

    (void)state;
    for (uint32_t i = 0; i < 400; i++)
        layout.runs[layout.run_count++] =
            (struct ds_unit_run){ i * 512 + i, 1, 0 };
    layout.runs[layout.run_count++] =
        (struct ds_unit_run){ 400 * 512 + 7, 5000, 0 };
    assert_round_trip(&layout);
}

static void test_qcow2_write__l2_tables_only_where_units_are(void **state)
{
    struct layout layout = {
        .options = { K4 },
        .option_count = 1,
        .size_bytes = DS_GIB,
        .runs = { { 0, 1, 0 }, { 5, 1, 0 }, { 511, 2, 0 }, { 51200, 1, 0 } },
        .run_count = 4,
    };

    (void)state;
    layout_seal(&layout);
    /* L1, refcount table, one block, three L2 tables */
    assert_int_equal(layout.seal.metadata_bytes, 6 * 4096);
    assert_int_equal(layout.seal.data_start_bytes, 7 * 4096);
    assert_int_equal(layout.seal.file_size_bytes[0], 12 * 4096);
    layout_close(&layout);
}

static void test_qcow2_write__layout_rules(void **state)
{
    struct layout layout = { .size_bytes = DS_GIB };
    const struct ds_target_layout *rules;

    (void)state;
    layout_seal(&layout);
    rules = &layout.target->layout;
    assert_int_equal(rules->unit_bytes, 65536);
    assert_int_equal(rules->align_bytes, 65536);
    assert_int_equal(rules->head_bytes, 65536);
    assert_int_equal(rules->gap_bytes, 0);
    assert_true(rules->graftable && rules->wants_used && !rules->every_unit);
    assert_int_equal(rules->file_count, 1);
    layout_close(&layout);
}

static void test_qcow2_write__headers(void **state)
{
    struct layout v3 = small_layout("cluster_size=64k", "compat=1.1", 65536);
    struct layout v2 = small_layout("cluster_size=64k", V2, 65536);
    struct memory_file file;

    (void)state;
    layout_write(&v3, &file);
    assert_int_equal(peek(&file, 0, 8), UINT64_C(0x514649fb00000003));
    assert_int_equal(peek(&file, 20, 4), 16);
    assert_int_equal(peek(&file, 24, 8), 9 * 65536 + 512);
    assert_int_equal(peek(&file, 36, 4), 1);
    assert_int_equal(peek(&file, 40, 8), 65536);
    assert_int_equal(peek(&file, 48, 8), 2 * 65536);
    assert_int_equal(peek(&file, 56, 4), 1);
    assert_int_equal(peek(&file, 96, 4), 4);
    assert_int_equal(peek(&file, 100, 4), 112);
    assert_int_equal(peek(&file, 112, 8), 0); /* no extension */
    memory_free(&file);
    layout_close(&v3);

    layout_write(&v2, &file);
    assert_int_equal(peek(&file, 4, 4), 2);
    for (unsigned at = 72; at < 128; at += 8)
        assert_int_equal(peek(&file, at, 8), 0);
    memory_free(&file);
    layout_close(&v2);
}

/* -- refcounts that count themselves ----------------------------------------
 */

static void test_qcow2_write__refcount_blocks_are_enough(void **state)
{
    (void)state;
    /* Around every border where one more block or table cluster is due. */
    for (uint64_t data = 0; data < 2100000; data += data < 9000 ? 1 : 9973) {
        struct layout layout = { .options = { K4 },
                                 .option_count = 1,
                                 .size_bytes = 8 * DS_TIB,
                                 .runs = { { 0, data, 0 } },
                                 .run_count = data != 0 };
        uint64_t clusters, tables, blocks, table, l1 = 8192, l2;

        layout_seal(&layout);
        clusters = layout.seal.file_size_bytes[0] / 4096;
        tables = layout.seal.metadata_bytes / 4096;
        l2 = ds_div_up(data, 512);
        blocks = ds_div_up(clusters, 2048);
        table = ds_div_up(blocks, 512);
        assert_int_equal(tables, l1 + table + blocks + l2);
        assert_int_equal(clusters, 1 + tables + data);
        layout_close(&layout);
        if (data < 9000)
            data += 40; /* 2048 is no multiple of 41: all phases are met */
    }
}

/* -- passes ------------------------------------------------------------------
 */

static struct layout pass_layout(void)
{
    struct layout layout = {
        .options = { K4 },
        .option_count = 1,
        .size_bytes = 600 * DS_MIB,
        .area_start_bytes = 9 * DS_MIB,
        .runs = { { 0, 1000, 4096 }, { 1024, 5, 0 }, { 150000, 2000, 0 } },
        .run_count = 3,
    };

    return layout;
}

static void test_qcow2_write__second_pass_repeats(void **state)
{
    struct layout layout = pass_layout();
    struct memory_emitter emitter = { .base = { .write = memory_write } };
    struct memory_file first, second;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    layout_write(&layout, &first);
    memory_init(&second, first.base.size_bytes);
    emitter.file = &second;
    assert_int_equal(layout_emit(&layout, &emitter.base, &err), 0);
    assert_memory_equal(first.bytes, second.bytes, first.base.size_bytes);
    /* Everything of the head and the tables is written, nothing twice. */
    assert_int_equal(emitter.written_bytes, 4096 + layout.seal.metadata_bytes);
    memory_free(&first);
    memory_free(&second);
    layout_close(&layout);
}

/* Every write fails once; the pass after it is whole all the same. */
static void test_qcow2_write__every_failing_write(void **state)
{
    struct layout layout = pass_layout();
    struct memory_file good;
    bool reached = true;

    (void)state;
    layout_write(&layout, &good);
    for (unsigned n = 1; reached; n++) {
        struct memory_emitter emitter = { .base = { .write = memory_write },
                                          .writes_until_failure = n };
        struct memory_file again;
        struct ds_error err = DS_ERROR_INIT;
        int result;

        memory_init(&again, good.base.size_bytes);
        emitter.file = &again;
        result = layout_emit(&layout, &emitter.base, &err);
        reached = emitter.writes_until_failure == 0;
        assert_int_equal(result, reached ? -DS_ERR_CANCELLED : 0);
        emitter.writes_until_failure = 0;
        assert_int_equal(layout_emit(&layout, &emitter.base, &err), 0);
        assert_memory_equal(again.bytes, good.bytes, good.base.size_bytes);
        memory_free(&again);
    }
    memory_free(&good);
    layout_close(&layout);
}

static void test_qcow2_write__changed_map_is_refused(void **state)
{
    struct layout layout = pass_layout();
    struct memory_emitter emitter = { .base = { .write = memory_write } };
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    layout_seal(&layout);
    layout.run_count = 2; /* fewer tables than counted */
    assert_int_equal(layout_emit(&layout, &emitter.base, &err),
                     -DS_ERR_REFUSED);
    layout.run_count = 3;
    layout.runs[3] = (struct ds_unit_run){ 153000, 1, 4096 * 1024 };
    layout.run_count = 4; /* more */
    assert_int_equal(layout_emit(&layout, &emitter.base, &err),
                     -DS_ERR_REFUSED);
    layout_close(&layout);
}

/* -- options and limits ------------------------------------------------------
 */

static int open_target(const char *option, uint64_t size_bytes,
                       struct ds_error *err)
{
    const char *options[] = { option };
    struct ds_target_request request = { .path = memory_path,
                                         .options = options,
                                         .option_count = option != NULL,
                                         .size_bytes = size_bytes };
    struct ds_target *target = NULL;
    int result = qcow2_format_ops.target_open(&request, &target, err);

    assert_true((result == 0) == (target != NULL));
    if (target != NULL)
        qcow2_format_ops.target_close(target);
    return result;
}

static void test_qcow2_write__options(void **state)
{
    static const char *const good[] = {
        "compat=1.1",        "compat=0.10",
        "cluster_size=4096", "cluster_size=2M",
        "cluster_size=64k",  "refcount_bits=16",
        "refcount_bits=1",   "refcount_bits=64",
        "extended_l2=yes",   "extended_l2=no",
        "data_file=yes",     "data_file=no",
        "compress=no",       "compress=zlib",
        "compress=zstd",     "compression_type=zstd",
    };
    static const char *const bad[] = {
        "compat=1.0",
        "compat=",
        "cluster_size=0",
        "cluster_size=2k",
        "cluster_size=4M",
        "cluster_size=5000",
        "cluster_size=64q",
        "refcount_bits=0",
        "refcount_bits=3",
        "refcount_bits=128",
        "extended_l2=on",
        "data_file=x.raw",
        "compression_type=lz4",
        "compress=lz4",
        "compress=",
        "compat",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(open_target(good[i], DS_GIB, NULL), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(open_target(bad[i], DS_GIB, NULL), -DS_ERR_ARG);
}

static void test_qcow2_write__l1_limit_names_the_way_out(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_int_equal(open_target(K4, 8 * DS_TIB, &err), 0);
    assert_int_equal(open_target(K4, 8 * DS_TIB + 512, &err), -DS_ERR_LIMIT);
    assert_non_null(strstr(err.message, "cluster_size=8192 or larger"));
    assert_int_equal(open_target(NULL, 64 * DS_TIB, &err), 0);
    assert_int_equal(open_target("cluster_size=2M", UINT64_MAX - 511, &err),
                     -DS_ERR_LIMIT);
    assert_non_null(strstr(err.message, "the format ends below"));
}

static void test_qcow2_write__file_limit(void **state)
{
    const char *options[] = { K4 };
    struct ds_target_request request = { .path = memory_path,
                                         .options = options,
                                         .option_count = 1,
                                         .size_bytes = DS_GIB };
    struct ds_footprint footprint = { .area_start_bytes = 9 * DS_TIB };
    struct ds_target *target = NULL;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_seal seal;

    (void)state;
    assert_int_equal(qcow2_format_ops.target_open(&request, &target, &err), 0);
    assert_int_equal(
        qcow2_format_ops.target_seal(target, &footprint, &seal, &err),
        -DS_ERR_LIMIT);
    assert_non_null(strstr(err.message, "larger cluster_size"));
    qcow2_format_ops.target_close(target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qcow2_write__round_trip),
        cmocka_unit_test(test_qcow2_write__empty_disks),
        cmocka_unit_test(test_qcow2_write__graft_with_gaps),
        cmocka_unit_test(test_qcow2_write__many_l2_tables),
        cmocka_unit_test(test_qcow2_write__l2_tables_only_where_units_are),
        cmocka_unit_test(test_qcow2_write__layout_rules),
        cmocka_unit_test(test_qcow2_write__headers),
        cmocka_unit_test(test_qcow2_write__refcount_blocks_are_enough),
        cmocka_unit_test(test_qcow2_write__second_pass_repeats),
        cmocka_unit_test(test_qcow2_write__every_failing_write),
        cmocka_unit_test(test_qcow2_write__changed_map_is_refused),
        cmocka_unit_test(test_qcow2_write__options),
        cmocka_unit_test(test_qcow2_write__l1_limit_names_the_way_out),
        cmocka_unit_test(test_qcow2_write__file_limit),
    };

    return cmocka_run_group_tests_name("qcow2_write", tests, NULL, NULL);
}
