/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of differencing VHD and VHDX from end to end: files of their own
 * generator, opened through the engine, flattened, compared with the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <diskshift/diskshift.h>

#include "diff_vhdx.h"

#define MIB (UINT64_C(1) << 20)
#define SIZE (13 * MIB + 4096 * 3)

static char scratch[2048];
static uint8_t *model, *seen;

static const char *path_of(const char *name)
{
    static char paths[8][4096];
    static unsigned turn;
    char *path = paths[turn++ % 8];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
    return path;
}

static int scratch_make(void **state)
{
    const char *given = getenv("DS_TEST_DIR");

    (void)state;
    if (given != NULL)
        (void)mkdir(given, 0755);
    (void)snprintf(scratch, sizeof(scratch), "%s/diff.XXXXXX",
                   given != NULL ? given : "/tmp");
    model = calloc(1, SIZE);
    seen = malloc(SIZE);
    return model == NULL || seen == NULL || mkdtemp(scratch) == NULL ||
                   mkdir(path_of("sub"), 0755) != 0
               ? -1
               : 0;
}

static void empty_directory(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    char name[PATH_MAX];

    if (directory == NULL)
        return;
    while ((entry = readdir(directory)) != NULL) {
        (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        (void)unlink(name);
    }
    (void)closedir(directory);
}

static int scratch_remove(void **state)
{
    (void)state;
    empty_directory(path_of("sub"));
    (void)rmdir(path_of("sub"));
    empty_directory(scratch);
    (void)rmdir(scratch);
    free(model);
    free(seen);
    return 0;
}

/* -- helpers -------------------------------------------------------------- */

typedef void maker(const char *path, const struct diff_spec *spec,
                   uint8_t *model);

struct family {
    maker *make;
    const char *names[3];
    struct diff_spec spec;
};

static const struct family families[] = {
    { diff_vhd_make,
      { "0.vhd", "1.vhd", "2.vhd" },
      { .block_bytes = 512 * 1024 } },
    { diff_vhd_make,
      { "0u.vhd", "1u.vhd", "2u.vhd" },
      { .block_bytes = 512 * 1024, .grain_bytes = 512, .unaligned = true } },
    { diff_vhdx_make,
      { "0.vhdx", "1.vhdx", "2.vhdx" },
      { .block_bytes = MIB, .grain_bytes = 512 } },
    { diff_vhdx_make,
      { "0k.vhdx", "1k.vhdx", "2k.vhdx" },
      { .block_bytes = MIB, .sector_bytes = 4096 } },
};
#define FAMILY_COUNT (sizeof(families) / sizeof(families[0]))

static void make_layer(const struct family *family, unsigned layer)
{
    struct diff_spec spec = family->spec;

    spec.size_bytes = SIZE;
    spec.seed = 100 + layer;
    spec.parent_seed = layer == 0 ? 0 : 99 + layer;
    spec.parent_name = layer == 0 ? NULL : family->names[layer - 1];
    family->make(path_of(family->names[layer]), &spec, model);
}

static void make_chain(const struct family *family)
{
    memset(model, 0, SIZE);
    for (unsigned i = 0; i < 3; i++)
        make_layer(family, i);
}

static struct ds_disk *open_disk(const char *path, const char *allow)
{
    struct ds_open_options options = { .allow_refs = allow,
                                       .for_conversion = true };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_disk *disk = NULL;

    if (ds_disk_open(path, &options, &disk, &err) != 0)
        fail_msg("%s: %s", path, err.message);
    return disk;
}

static void expect_refusal(const char *name, const char *allow, bool no_refs,
                           enum ds_error_class error_class, const char *words)
{
    struct ds_open_options options = { .allow_refs = allow,
                                       .no_refs = no_refs };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_disk *disk = NULL;
    int result = ds_disk_open(path_of(name), &options, &disk, &err);

    if (result != -(int)error_class || strstr(err.message, words) == NULL)
        fail_msg("have %d '%s' expect %d '%s'", result, err.message,
                 -(int)error_class, words);
}

/* The guest's view is the model, read extent by extent. */
static void expect_model(struct ds_disk *disk)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_extent extent;
    struct ds_map *map = NULL;
    int more;

    assert_int_equal(ds_disk_size_bytes(disk), SIZE);
    memset(seen, 0xcc, SIZE);
    assert_int_equal(ds_map_open(disk, &map, &err), 0);
    while ((more = ds_map_next(map, &extent, &err)) == 1)
        assert_int_equal(ds_disk_read_extent(disk, &extent, 0,
                                             seen + extent.guest_offset_bytes,
                                             extent.length_bytes, &err),
                         0);
    if (more != 0)
        fail_msg("%s", err.message);
    ds_map_close(map);
    assert_memory_equal(seen, model, SIZE);
}

static void convert(struct ds_disk *disk, const char *format, const char *name)
{
    const struct ds_target_spec spec = { .format = format,
                                         .path = path_of(name) };
    const struct ds_convert_options options = { .force = true };
    struct ds_error err = DS_ERROR_INIT;
    static struct ds_report report;
    struct ds_disk *target;

    if (ds_convert(disk, &spec, 1, &options, &report, NULL, &err) != 0)
        fail_msg("%s: %s", name, err.message);
    target = open_disk(path_of(name), NULL);
    assert_int_equal(ds_disk_layer_count(target), 1);
    expect_model(target);
    ds_disk_close(target);
}

/* FNV-1a of a file's bytes. */
static uint64_t digest(const char *name)
{
    FILE *file = fopen(path_of(name), "rb");
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    int byte;

    assert_non_null(file);
    while ((byte = getc_unlocked(file)) != EOF)
        hash = (hash ^ (uint64_t)byte) * UINT64_C(0x100000001b3);
    (void)fclose(file);
    return hash;
}

/* -- chains --------------------------------------------------------------- */

static void test_diff_chain__three_deep_is_flattened(void **state)
{
    static const char *const targets[][2] = { { "raw", "flat.raw" },
                                              { "qcow2", "flat.qcow2" },
                                              { "vhd", "flat.vhd" },
                                              { "vhdx", "flat.vhdx" },
                                              { "vmdk", "flat.vmdk" } };

    (void)state;
    for (unsigned f = 0; f < FAMILY_COUNT; f++) {
        uint64_t before[3];
        struct ds_disk *disk;

        make_chain(&families[f]);
        for (unsigned i = 0; i < 3; i++)
            before[i] = digest(families[f].names[i]);
        disk = open_disk(path_of(families[f].names[2]), NULL);
        assert_int_equal(ds_disk_layer_count(disk), 3);
        expect_model(disk);
        for (unsigned t = 0; t < 5; t++)
            convert(disk, targets[t][0], targets[t][1]);
        ds_disk_close(disk);
        for (unsigned i = 0; i < 3; i++)
            assert_true(digest(families[f].names[i]) == before[i]);
        empty_directory(scratch);
    }
}

/* Each layer by itself is a point of the chain. */
static void test_diff_chain__each_layer_is_a_disk(void **state)
{
    (void)state;
    for (unsigned f = 0; f < FAMILY_COUNT; f++) {
        memset(model, 0, SIZE);
        for (unsigned i = 0; i < 3; i++) {
            struct ds_disk *disk;

            make_layer(&families[f], i);
            disk = open_disk(path_of(families[f].names[i]), NULL);
            assert_int_equal(ds_disk_layer_count(disk), i + 1);
            expect_model(disk);
            ds_disk_close(disk);
        }
        empty_directory(scratch);
    }
}

static int print_problem(void *user, const struct ds_problem *problem)
{
    (void)user;
    print_error("%s\n", problem->message);
    return 0;
}

static void test_diff_chain__check_finds_nothing(void **state)
{
    (void)state;
    for (unsigned f = 0; f < FAMILY_COUNT; f++) {
        struct ds_error err = DS_ERROR_INIT;
        struct ds_check_report report;
        struct ds_disk *disk;

        make_chain(&families[f]);
        disk = open_disk(path_of(families[f].names[2]), NULL);
        assert_int_equal(
            ds_disk_check(disk, print_problem, NULL, &report, &err), 0);
        assert_int_equal(report.corruption_count, 0);
        assert_int_equal(report.leak_count, 0);
        ds_disk_close(disk);
        empty_directory(scratch);
    }
}

static void test_diff_chain__another_parent_is_refused(void **state)
{
    static const char *const words[FAMILY_COUNT] = { "parent: unique id",
                                                     "parent: unique id",
                                                     "parent: DataWriteGuid",
                                                     "parent: DataWriteGuid" };

    (void)state;
    for (unsigned f = 0; f < FAMILY_COUNT; f++) {
        struct diff_spec other = families[f].spec;

        make_chain(&families[f]);
        other.size_bytes = SIZE;
        other.seed = 555;
        families[f].make(path_of(families[f].names[0]), &other, model);
        expect_refusal(families[f].names[2], NULL, false, DS_ERR_CORRUPT,
                       words[f]);
        empty_directory(scratch);
    }
}

static void test_diff_chain__parent_of_another_format_is_refused(void **state)
{
    (void)state;
    for (unsigned f = 0; f < FAMILY_COUNT; f++) {
        FILE *file;

        make_chain(&families[f]);
        file = fopen(path_of(families[f].names[1]), "wb");
        assert_non_null(file);
        diff_put(file, 0, model, MIB);
        assert_int_equal(fclose(file), 0);
        expect_refusal(families[f].names[2], NULL, false, DS_ERR_CORRUPT,
                       f < 2 ? "vhd: footer" : "vhdx: file type");
        empty_directory(scratch);
    }
}

static void test_diff_chain__missing_parent_is_named(void **state)
{
    (void)state;
    for (unsigned f = 0; f < FAMILY_COUNT; f++) {
        make_chain(&families[f]);
        assert_int_equal(unlink(path_of(families[f].names[0])), 0);
        expect_refusal(families[f].names[2], NULL, false, DS_ERR_SYSTEM,
                       families[f].names[0]);
        expect_refusal(families[f].names[2], NULL, true, DS_ERR_REFUSED,
                       "references are forbidden");
        empty_directory(scratch);
    }
}

static void test_diff_chain__own_parent_is_refused(void **state)
{
    (void)state;
    for (unsigned f = 0; f < FAMILY_COUNT; f += 2) {
        struct diff_spec spec = families[f].spec;

        spec.size_bytes = SIZE;
        spec.seed = spec.parent_seed = 7;
        spec.parent_name = families[f].names[0];
        families[f].make(path_of(spec.parent_name), &spec, model);
        expect_refusal(spec.parent_name, NULL, false, DS_ERR_CORRUPT,
                       "is its own ancestor");
        empty_directory(scratch);
    }
}

/* The child lies in sub/, its parent above it: only when that is allowed. */
static void test_diff_chain__parent_elsewhere_needs_permission(void **state)
{
    (void)state;
    for (unsigned f = 0; f < FAMILY_COUNT; f += 2) {
        struct diff_spec spec = families[f].spec;
        char name[64];
        struct ds_disk *disk;

        memset(model, 0, SIZE);
        make_layer(&families[f], 0);
        (void)snprintf(name, sizeof(name), "..\\%s", families[f].names[0]);
        spec.size_bytes = SIZE;
        spec.seed = 8;
        spec.parent_seed = 100;
        spec.parent_name = name;
        families[f].make(path_of("sub/child"), &spec, model);
        expect_refusal("sub/child", NULL, false, DS_ERR_REFUSED,
                       "is not beside the image");
        expect_refusal("sub/child", path_of("sub"), false, DS_ERR_REFUSED,
                       "leads outside the directory");
        disk = open_disk(path_of("sub/child"), scratch);
        assert_int_equal(ds_disk_layer_count(disk), 2);
        expect_model(disk);
        ds_disk_close(disk);
        /* The same name beside the child is as good. */
        assert_int_equal(
            rename(path_of(families[f].names[0]), path_of("sub/moved")), 0);
        (void)snprintf(name, sizeof(name), "sub/%s", families[f].names[0]);
        assert_int_equal(rename(path_of("sub/moved"), path_of(name)), 0);
        disk = open_disk(path_of("sub/child"), NULL);
        expect_model(disk);
        ds_disk_close(disk);
        empty_directory(path_of("sub"));
        empty_directory(scratch);
    }
}

/* -- a mixed chain -------------------------------------------------------- */

/* A version 3 qcow2 over `backing`, with one cluster of its own, the fourth:
 *
 *   0 header  64K refcount table  128K refcounts  192K L1  256K L2  320K data
 */
static void make_qcow2(const char *path, const char *backing,
                       const char *format)
{
    static uint8_t at[6 * 65536];
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    memset(at, 0, sizeof(at));
    memcpy(at, "QFI\xfb", 4);
    diff_be(at + 4, 3, 4);
    diff_be(at + 8, 512, 8);
    diff_be(at + 16, strlen(backing), 4);
    diff_be(at + 20, 16, 4);
    diff_be(at + 24, SIZE, 8);
    diff_be(at + 36, 1, 4);
    diff_be(at + 40, 3 * 65536, 8);
    diff_be(at + 48, 65536, 8);
    diff_be(at + 56, 1, 4);
    diff_be(at + 96, 4, 4);
    diff_be(at + 100, 104, 4);
    diff_be(at + 104, 0xe2792aca, 4);
    diff_be(at + 108, strlen(format), 4);
    memcpy(at + 112, format, strlen(format));
    memcpy(at + 512, backing, strlen(backing));
    diff_be(at + 65536, 2 * 65536, 8);
    for (unsigned i = 0; i < 6; i++)
        diff_be(at + 2 * 65536 + 2 * i, 1, 2);
    diff_be(at + 3 * 65536, UINT64_C(1) << 63 | 4 * 65536, 8);
    diff_be(at + 4 * 65536 + 8 * 3, UINT64_C(1) << 63 | 5 * 65536, 8);
    memset(at + 5 * 65536, 0x5a, 65536);
    memset(model + 3 * 65536, 0x5a, 65536);
    diff_put(file, 0, at, sizeof(at));
    assert_int_equal(fclose(file), 0);
}

static void test_diff_chain__qcow2_over_differencing(void **state)
{
    (void)state;
    for (unsigned f = 0; f < FAMILY_COUNT; f++) {
        struct ds_disk *disk;

        make_chain(&families[f]);
        make_qcow2(path_of("top.qcow2"), families[f].names[2],
                   f < 2 ? "vpc" : "vhdx");
        disk = open_disk(path_of("top.qcow2"), NULL);
        assert_int_equal(ds_disk_layer_count(disk), 4);
        expect_model(disk);
        convert(disk, "raw", "flat.raw");
        convert(disk, "vhdx", "flat.vhdx");
        convert(disk, "qcow2", "flat.qcow2");
        ds_disk_close(disk);
        empty_directory(scratch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_diff_chain__three_deep_is_flattened),
        cmocka_unit_test(test_diff_chain__each_layer_is_a_disk),
        cmocka_unit_test(test_diff_chain__check_finds_nothing),
        cmocka_unit_test(test_diff_chain__another_parent_is_refused),
        cmocka_unit_test(test_diff_chain__parent_of_another_format_is_refused),
        cmocka_unit_test(test_diff_chain__missing_parent_is_named),
        cmocka_unit_test(test_diff_chain__own_parent_is_refused),
        cmocka_unit_test(test_diff_chain__parent_elsewhere_needs_permission),
        cmocka_unit_test(test_diff_chain__qcow2_over_differencing),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
