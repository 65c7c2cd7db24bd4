/* SPDX-License-Identifier: Apache-2.0 */
/* What `check` says of a qcow2 image's reference counts. */
#include "qcow2_forms_fixture.h"

/* -- check ----------------------------------------------------------------- */

struct findings {
    unsigned leaks;
    unsigned corruptions;
    uint64_t last_offset;
};

static int note_finding(void *user, const struct ds_finding *finding,
                        struct ds_error *err)
{
    struct findings *findings = user;

    (void)err;
    assert_int_equal(strncmp(finding->message, "qcow2: ", 7), 0);
    findings->leaks += finding->is_leak;
    findings->corruptions += !finding->is_leak;
    findings->last_offset = finding->offset_bytes;
    return 0;
}

static void assert_findings(struct memory_file *file, unsigned leaks,
                            unsigned corruptions, uint64_t last_offset)
{
    struct findings findings = { 0 };
    struct ds_image *image = NULL;
    struct ds_error err = DS_ERROR_INIT;

    assert_int_equal(open_image(file, &image, &err), 0);
    assert_int_equal(
        qcow2_format_ops.check(image, note_finding, &findings, &err), 0);
    assert_int_equal(findings.leaks, leaks);
    assert_int_equal(findings.corruptions, corruptions);
    if (leaks + corruptions != 0)
        assert_int_equal(findings.last_offset, last_offset);
    qcow2_format_ops.close(image);
}

static void test_qcow2_refcount__check_counts_references(void **state)
{
    struct memory_file file = image_with_snapshot();

    (void)state;
    assert_findings(&file, 0, 0, 0);
    poke(&file, REFBLOCK + 2 * 5, 2, 3);
    assert_findings(&file, 1, 0, 5 * C);
    poke(&file, REFBLOCK + 2 * 5, 2, 0);
    assert_findings(&file, 0, 1, 5 * C);
    poke(&file, REFBLOCK + 2 * 5, 2, 1);
    poke(&file, L2, 8, 5 * C); /* COPIED is missing */
    assert_findings(&file, 0, 1, L2);
    poke(&file, L2, 8, 6 * C); /* now shared with the snapshot */
    poke(&file, REFBLOCK + 2 * 6, 2, 2);
    poke(&file, REFBLOCK + 2 * 5, 2, 0);
    assert_findings(&file, 0, 0, 0);
    poke(&file, L2, 8, 6 * C | COPIED);
    assert_findings(&file, 0, 1, L2);
    poke(&file, REFBLOCK + 2 * 100, 2, 1); /* behind the file's end */
    poke(&file, L2, 8, 6 * C);
    assert_findings(&file, 1, 0, 100 * C);
    memory_free(&file);
}

static void test_qcow2_refcount__check_counts_shared_sectors(void **state)
{
    struct memory_file file = image_plain();

    (void)state;
    /* two in cluster 5, the second on into 6 */
    poke(&file, L2, 8, COMPRESSED | (5 * C + 10));
    poke(&file, L2 + 8, 8, COMPRESSED | UINT64_C(1) << 56 | (6 * C - 512));
    poke(&file, REFBLOCK + 2 * 5, 2, 2);
    assert_findings(&file, 0, 0, 0);
    poke(&file, REFBLOCK + 2 * 6, 2, 0);
    assert_findings(&file, 0, 1, 6 * C);
    poke(&file, REFBLOCK + 2 * 6, 2, 1);
    poke(&file, L2, 8, COPIED | COMPRESSED | (5 * C + 10));
    assert_findings(&file, 0, 1, L2);
    memory_free(&file);
}

static void test_qcow2_refcount__check_reads_every_width(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= 6; order++) {
        struct memory_file file = image_plain();

        poke(&file, L2, 8, (5 * C) | COPIED);
        poke(&file, L2 + 8, 8, (6 * C) | COPIED);
        poke(&file, 96, 4, order);
        memset(file.bytes + REFBLOCK, 0, 64);
        for (unsigned i = 0; i < 7; i++) {
            unsigned bit = i << order;

            if (order < 3) /* from the lowest bit of a byte on */
                file.bytes[REFBLOCK + bit / 8] |= (uint8_t)(1u << bit % 8);
            else
                poke(&file, REFBLOCK + bit / 8, 1u << (order - 3), 1);
        }
        assert_findings(&file, 0, 0, 0);
        poke(&file, L2 + 8, 8, 0);
        assert_findings(&file, 1, 0, 6 * C);
        memory_free(&file);
    }
}

/* What a broken pointer hides would look like leaks. */
static void test_qcow2_refcount__check_trusts_no_broken_table(void **state)
{
    struct memory_file file = image_with_snapshot();

    (void)state;
    poke(&file, L2, 8, 5 * C + 512);
    assert_findings(&file, 0, 0, 0); /* the engine's walk reports it */
    poke(&file, L2, 8, (5 * C) | COPIED);
    poke(&file, 8 * C + 8, 8, 6 * C + 512);
    assert_findings(&file, 0, 1, 8 * C + 8);
    memory_free(&file);
}

static int pass_region(void *user, const struct ds_region *region,
                       struct ds_error *err)
{
    (void)region;
    (void)err;
    ++*(unsigned *)user;
    return 0;
}

/* What check has told, regions does not tell again; by itself it does. */
static void assert_told_once(struct memory_file *file, unsigned corruptions,
                             unsigned region_count)
{
    struct findings findings = { 0 };
    struct ds_image *image = NULL;
    struct ds_error err = DS_ERROR_INIT;
    unsigned count = 0;

    assert_int_equal(open_image(file, &image, &err), 0);
    assert_int_equal(qcow2_format_ops.regions(image, pass_region, &count, &err),
                     -DS_ERR_CORRUPT);
    assert_int_equal(
        qcow2_format_ops.check(image, note_finding, &findings, &err), 0);
    assert_int_equal(findings.corruptions, corruptions);
    assert_int_equal(findings.leaks, 0);
    count = 0;
    assert_int_equal(qcow2_format_ops.regions(image, pass_region, &count, &err),
                     0);
    assert_int_equal(count, region_count);
    qcow2_format_ops.close(image);
}

static void test_qcow2_refcount__broken_is_told_once(void **state)
{
    struct memory_file file = image_with_snapshot();

    (void)state;
    /* header, l1, l2, refcount table and block, both of the snapshot */
    poke(&file, 2 * C + 8, 8, 6 * C + 512);
    assert_told_once(&file, 1, 7);
    poke(&file, 2 * C + 16, 8, 1000 * C); /* each is told */
    assert_told_once(&file, 2, 7);
    poke(&file, 2 * C + 8, 8, 0);
    poke(&file, 2 * C + 16, 8, 0);
    poke(&file, SNAPSHOTS, 8, 7 * C + 512);
    assert_told_once(&file, 1, 5);
    memory_free(&file);
}

static int open_snapshot(struct memory_file *file, const char *wanted,
                         struct ds_image **image, struct ds_error *err)
{
    const struct ds_open_context context = { .no_refs = true,
                                             .snapshot = wanted };

    return qcow2_format_ops.open(&file->base, &context, image, err);
}

/* -- anything -------------------------------------------------------------- */

static void test_qcow2_refcount__every_byte_with_odd_values(void **state)
{
    static const uint8_t values[] = { 0, 1, 0x40, 0x7f, 0x80, 0xc0, 0xff };
    struct memory_file file = image_with_snapshot();

    (void)state;
    poke(&file, 72, 8, 16);
    for (uint64_t at = 0; at < FILE_BYTES; at++) {
        uint8_t before = file.bytes[at];

        if (at % C >= 128)
            continue;
        for (size_t v = 0; v < sizeof(values); v++) {
            struct ds_image *image = NULL;
            struct findings findings = { 0 };
            struct ds_error err = DS_ERROR_INIT;
            static struct extents e;

            file.bytes[at] = values[v];
            if (open_snapshot(&file, v % 2 == 0 ? "7" : NULL, &image, &err) !=
                0)
                continue;
            (void)walk_map(image, &e, &err);
            (void)qcow2_format_ops.check(image, note_finding, &findings, &err);
            qcow2_format_ops.close(image);
        }
        file.bytes[at] = before;
    }
    memory_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qcow2_refcount__check_counts_references),
        cmocka_unit_test(test_qcow2_refcount__check_counts_shared_sectors),
        cmocka_unit_test(test_qcow2_refcount__check_reads_every_width),
        cmocka_unit_test(test_qcow2_refcount__check_trusts_no_broken_table),
        cmocka_unit_test(test_qcow2_refcount__broken_is_told_once),
        cmocka_unit_test(test_qcow2_refcount__every_byte_with_odd_values),
    };

    return cmocka_run_group_tests_name("qcow2_refcount", tests, NULL, NULL);
}
