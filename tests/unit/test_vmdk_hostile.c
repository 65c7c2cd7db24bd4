/* SPDX-License-Identifier: Apache-2.0 */
/* Disks that are damaged or made to do harm: an error of the right class that
 * names the byte, or an answer that keeps the contract; never more. */
#include <stdio.h>
#include <unistd.h>

#include <diskshift/diskshift.h>

#include "vmdk_testing.h"

static uint8_t sample[SAMPLE_FILE_BYTES];

static int setup(void **state)
{
    (void)state;
    memory_reset();
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

/* -- what is refused ------------------------------------------------------- */

#define MAX32 UINT32_MAX
#define MAX64 UINT64_MAX

static void test_vmdk_hostile__header_pokes(void **state)
{
    static const struct {
        size_t offset, width;
        uint64_t value;
        int result;
    } pokes[] = {
        { 0, 4, 0, -DS_ERR_CORRUPT },
        { 0, 4, VMDK_COWD_MAGIC, -DS_ERR_UNSUPPORTED },
        { 4, 4, 0, -DS_ERR_UNSUPPORTED },
        { 4, 4, 1, 0 },
        { 4, 4, 3, 0 },
        { 4, 4, 4, -DS_ERR_UNSUPPORTED },
        { 4, 4, MAX32, -DS_ERR_UNSUPPORTED },
        { 8, 4, 0xf, -DS_ERR_UNSUPPORTED },
        { 8, 4, 0x10003, -DS_ERR_UNSUPPORTED },
        { 8, 4, 0x20003, -DS_ERR_UNSUPPORTED },
        { 8, 4, MAX32, -DS_ERR_UNSUPPORTED },
        { 12, 8, 0, -DS_ERR_CORRUPT },
        { 12, 8, 1, -DS_ERR_CORRUPT },
        { 12, 8, SAMPLE_SECTORS - 1, -DS_ERR_CORRUPT },
        { 12, 8, SAMPLE_SECTORS + 16, -DS_ERR_CORRUPT },
        { 12, 8, MAX64, -DS_ERR_CORRUPT },
        { 12, 8, MAX64 / 1024, -DS_ERR_LIMIT },
        { 20, 8, 0, -DS_ERR_CORRUPT },
        { 20, 8, 3, -DS_ERR_CORRUPT },
        { 20, 8, 1 << 22, -DS_ERR_CORRUPT },
        { 20, 8, MAX64, -DS_ERR_CORRUPT },
        { 28, 8, 0, -DS_ERR_UNSUPPORTED }, /* an extent of a split disk */
        { 28, 8, SAMPLE_FILE_SECTORS, -DS_ERR_CORRUPT },
        { 28, 8, MAX64, -DS_ERR_CORRUPT },
        { 36, 8, 0, -DS_ERR_UNSUPPORTED },
        { 36, 8, 129, -DS_ERR_LIMIT },
        { 36, 8, MAX64, -DS_ERR_LIMIT },
        { 44, 4, 0, -DS_ERR_CORRUPT },
        { 44, 4, 511, -DS_ERR_CORRUPT },
        { 44, 4, 1 << 17, -DS_ERR_CORRUPT },
        { 44, 4, MAX32, -DS_ERR_CORRUPT },
        { 48, 8, 0, 0 }, /* the copy is optional */
        { 48, 8, MAX64, 0 },
        { 56, 8, MAX64, -DS_ERR_UNSUPPORTED }, /* GD_AT_END */
        { 64, 8, 0, -DS_ERR_CORRUPT },
        { 64, 8, SAMPLE_FILE_SECTORS + 1, -DS_ERR_CORRUPT },
        { 64, 8, MAX64, -DS_ERR_CORRUPT },
        { 72, 1, 1, 0 }, /* unclean: a fact */
        { 73, 1, '\r', -DS_ERR_CORRUPT },
        { 74, 1, '\n', -DS_ERR_CORRUPT },
        { 75, 1, '\n', -DS_ERR_CORRUPT },
        { 76, 1, 0, -DS_ERR_CORRUPT },
        { 77, 1, 1, -DS_ERR_UNSUPPORTED },
        { 78, 1, 1, -DS_ERR_UNSUPPORTED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(pokes) / sizeof(pokes[0]); i++) {
        struct ds_error err = DS_ERROR_INIT;
        int result;

        sample_make(sample);
        for (size_t byte = 0; byte < pokes[i].width; byte++)
            sample[pokes[i].offset + byte] =
                (uint8_t)(pokes[i].value >> (8 * byte));
        result = read_sample(sizeof(sample), &err);
        if (result != pokes[i].result)
            fail_msg("offset %zu value %llx: %d %s", pokes[i].offset,
                     (unsigned long long)pokes[i].value, result, err.message);
        if (result != 0)
            assert_memory_equal(err.message, "vmdk: ", 6);
    }
}

static void test_vmdk_hostile__entries_beyond_the_file(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    put32(sample, SAMPLE_TABLES * 512 + 4 * 4, MAX32);
    assert_int_equal(read_sample(sizeof(sample), &err), -DS_ERR_CORRUPT);
    assert_int_equal(err.offset_bytes, SAMPLE_TABLES * 512 + 4 * 4);
    /* Not the last grain, so all of it must be there. */
    put32(sample, SAMPLE_TABLES * 512 + 4 * 4, 160);
    assert_int_equal(read_sample(sizeof(sample), &err), -DS_ERR_CORRUPT);
    put32(sample, SAMPLE_TABLES * 512 + 4 * 4, 112);
    assert_int_equal(read_sample(sizeof(sample), &err), 0);
    /* The second of a run: the error names its own entry. */
    put32(sample, SAMPLE_TABLES * 512 + 4 * 4, 144);
    put32(sample, SAMPLE_TABLES * 512 + 5 * 4, 160);
    assert_int_equal(read_sample(sizeof(sample), &err), -DS_ERR_CORRUPT);
    assert_int_equal(err.offset_bytes, SAMPLE_TABLES * 512 + 5 * 4);
}

static void test_vmdk_hostile__every_truncation_is_an_error(void **state)
{
    (void)state;
    for (size_t length = 0; length < sizeof(sample); length += 64) {
        struct ds_error err = DS_ERROR_INIT;

        assert_true(read_sample(length, &err) != 0);
        assert_true(err.message[0] != '\0');
    }
}

/* Whatever the tables say: an answer or an error, and no read outside. */
static void test_vmdk_hostile__random_metadata(void **state)
{
    uint64_t random = 88172645463325252u;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct ds_error err = DS_ERROR_INIT;

        sample_make(sample);
        for (unsigned i = 0; i <= round % 4; i++) {
            size_t at;

            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            /* Half of the hits are in the header. */
            at = (random & 1) != 0 ? random % 80 : random % (48 * 512);
            sample[at] = (uint8_t)(random >> 40);
        }
        (void)read_sample(sizeof(sample), &err);
    }
}

#define HEAD "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"

static void set_text(const char *text)
{
    memory_set(0, "disk.vmdk", text, strlen(text));
}

static void test_vmdk_hostile__bad_references(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    memory_set(1, "s.vmdk", sample, sizeof(sample));
    set_text(HEAD "createType=custom\nRW 8241 SPARSE \"s.vmdk\"\n");
    assert_int_equal(read_all(&err), 0);
    set_text(HEAD "createType=custom\nRW 8241 SPARSE \"s.vmdk\"\n"
                  "RW 8241 SPARSE \"s.vmdk\"\n");
    assert_int_equal(read_all(&err), -DS_ERR_CORRUPT);
    set_text(HEAD "createType=custom\nRW 1 FLAT \"disk.vmdk\" 0\n");
    assert_int_equal(read_all(&err), -DS_ERR_CORRUPT);
    set_text(HEAD "createType=custom\nRW 1 FLAT \"none.vmdk\" 0\n");
    assert_int_equal(read_all(&err), -DS_ERR_REFUSED);
    set_text(HEAD "createType=custom\nRW 8000 SPARSE \"s.vmdk\"\n");
    assert_int_equal(read_all(&err), -DS_ERR_CORRUPT);
}

/* -- pointers onto each other -----------------------------------------------
 */

/* Overlaps are the engine's to find, from our regions: a plan is made. */
static int plan_sample(struct ds_error *err)
{
    const char *directory = getenv("DS_TEST_DIR");
    char path[512], target[600];
    const struct ds_open_options options = { .format = "vmdk" };
    const struct ds_target_spec spec = { .format = "raw", .path = target };
    struct ds_disk *disk = NULL;
    struct ds_plan *plan = NULL;
    FILE *file;
    int result;

    (void)snprintf(path, sizeof(path), "%s/vmdk_hostile_%d.vmdk",
                   directory != NULL && access(directory, W_OK) == 0 ? directory
                                                                     : "/tmp",
                   (int)getpid());
    (void)snprintf(target, sizeof(target), "%s.raw", path);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(sample, 1, sizeof(sample), file), sizeof(sample));
    assert_int_equal(fclose(file), 0);
    result = ds_disk_open(path, &options, &disk, err);
    if (result == 0)
        result = ds_plan_make(disk, &spec, NULL, &plan, err);
    ds_plan_free(plan);
    ds_disk_close(disk);
    assert_int_equal(unlink(path), 0);
    return result;
}

static void test_vmdk_hostile__grains_on_records(void **state)
{
    /* header, descriptor, copies, tables, another grain, part of one */
    static const uint64_t sectors[] = { 1, 5, 20, 15, 30, 33, 48, 56, 120 };

    (void)state;
    for (size_t i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
        struct ds_error err = DS_ERROR_INIT;

        sample_make(sample);
        put32(sample, 8, 3); /* so that 1 is a pointer */
        sample_entry(sample, 3, 0);
        assert_int_equal(plan_sample(&err), 0);
        sample_entry(sample, 7, sectors[i]);
        if (plan_sample(&err) != -DS_ERR_CORRUPT)
            fail_msg("grain at sector %llu is taken",
                     (unsigned long long)sectors[i]);
    }
}

static void test_vmdk_hostile__tables_on_records(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    put32(sample, SAMPLE_GD * 512 + 4, SAMPLE_TABLES); /* one table twice */
    put32(sample, SAMPLE_RGD * 512 + 4, SAMPLE_COPIES);
    assert_int_equal(plan_sample(&err), -DS_ERR_CORRUPT);
    sample_make(sample);
    put32(sample, SAMPLE_GD * 512, 144); /* a table on a grain */
    assert_int_equal(plan_sample(&err), -DS_ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_vmdk_hostile__header_pokes, setup),
        cmocka_unit_test_setup(test_vmdk_hostile__entries_beyond_the_file,
                               setup),
        cmocka_unit_test_setup(test_vmdk_hostile__every_truncation_is_an_error,
                               setup),
        cmocka_unit_test_setup(test_vmdk_hostile__random_metadata, setup),
        cmocka_unit_test_setup(test_vmdk_hostile__bad_references, setup),
        cmocka_unit_test_setup(test_vmdk_hostile__grains_on_records, setup),
        cmocka_unit_test_setup(test_vmdk_hostile__tables_on_records, setup),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
