/* SPDX-License-Identifier: Apache-2.0 */
/* What a delta says of its parent, and what check says of a disk's copies. */
#include <stdio.h>

#include "vmdk_rows.h"

/* -- deltas ---------------------------------------------------------------- */

static uint8_t flat[512];

static struct ds_image *open_text(const char *keys)
{
    char text[1024];

    (void)snprintf(text, sizeof(text),
                   "# Disk DescriptorFile\nversion=1\ncreateType=\"vmfs\"\n"
                   "%sRW 1 VMFS \"a-flat.vmdk\"\n",
                   keys);
    memory_set(0, "disk.vmdk", text, strlen(text));
    memory_set(1, "a-flat.vmdk", flat, sizeof(flat));
    return open_or_fail();
}

static void expect_parent(const char *keys, size_t count, const char *first,
                          const char *second)
{
    struct ds_parent parent = { 0 };
    struct ds_image *image = open_text(keys);

    assert_true(vmdk_format_ops.parent(image, &parent));
    assert_string_equal(parent.format, "vmdk");
    assert_int_equal(parent.name_count, count);
    if (count > 0)
        assert_string_equal(parent.names[0], first);
    if (count > 1)
        assert_string_equal(parent.names[1], second);
    vmdk_format_ops.close(image);
}

static void test_vmdk_chain__parent_names(void **state)
{
    struct ds_parent parent = { 0 };
    struct ds_image *image;

    (void)state;
    expect_parent("parentCID=1a\nparentFileNameHint=\"base.vmdk\"\n", 1,
                  "base.vmdk", NULL);
    expect_parent("parentCID=1a\nparentFileNameHint=\"/vmfs/v/base.vmdk\"\n", 2,
                  "/vmfs/v/base.vmdk", "base.vmdk");
    expect_parent("parentCID=1a\nparentFileNameHint=\"C:\\d\\base.vmdk\"\n", 2,
                  "C:\\d\\base.vmdk", "base.vmdk");
    expect_parent("parentCID=1a\nparentFileNameHint=\"B\xe4.vmdk\"\n"
                  "encoding=\"windows-1252\"\n",
                  2, "B\xe4.vmdk", "B\xc3\xa4.vmdk");
    expect_parent("parentCID=1a\nparentFileNameHint=\"d/\"\n", 1, "d/", NULL);
    expect_parent("parentCID=1a\n", 0, NULL, NULL);
    image = open_text("parentCID=FFFFFFFF\n");
    assert_false(vmdk_format_ops.parent(image, &parent));
    vmdk_format_ops.close(image);
}

static void test_vmdk_chain__parent_identity(void **state)
{
    const struct {
        const char *keys;
        int result;
    } parents[] = {
        { "CID=0000abcd\n", 0 },
        { "CID=ABCD\n", 0 },
        { "CID=abce\n", -DS_ERR_CORRUPT },
        { "", -DS_ERR_CORRUPT },
        { "CID=hello\n", -DS_ERR_CORRUPT },
    };
    struct ds_image *child =
        open_text("CID=1\nparentCID=0000abcd\nparentFileNameHint=\"b\"\n");

    (void)state;
    for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]); i++) {
        struct ds_error err = DS_ERROR_INIT;
        struct ds_image *parent = open_text(parents[i].keys);

        assert_int_equal(vmdk_format_ops.check_parent(child, parent, &err),
                         parents[i].result);
        vmdk_format_ops.close(parent);
    }
    vmdk_format_ops.close(child);
}

/* -- check ----------------------------------------------------------------- */

static unsigned finding_count;
static uint64_t finding_offset;
static char finding_message[200];

static int note_finding(void *user, const struct ds_finding *finding,
                        struct ds_error *err)
{
    (void)user;
    (void)err;
    finding_count++;
    finding_offset = finding->offset_bytes;
    (void)snprintf(finding_message, sizeof(finding_message), "%s",
                   finding->message);
    return 0;
}

static void check_poked(size_t offset, uint32_t value, unsigned expected)
{
    static uint8_t sample[SAMPLE_FILE_BYTES];
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;

    sample_make(sample);
    if (offset != 0)
        put32(sample, offset, value);
    memory_set(0, "sample.vmdk", sample, sizeof(sample));
    image = open_or_fail();
    finding_count = 0;
    assert_int_equal(vmdk_format_ops.check(image, note_finding, NULL, &err), 0);
    assert_int_equal(finding_count, expected);
    vmdk_format_ops.close(image);
}

static void test_vmdk_chain__check_compares_copies(void **state)
{
    (void)state;
    check_poked(0, 0, 0);
    check_poked(SAMPLE_COPIES * 512 + 512 * 4, 7, 1);
    assert_int_equal(finding_offset, SAMPLE_COPIES * 512 + 512 * 4);
    assert_string_equal(finding_message,
                        "redundant grain tables: 1 entries are not as in the "
                        "first, have 7 expect 144");
    check_poked(SAMPLE_RGD * 512 + 4, 0, 1); /* the copy lost a table */
    assert_non_null(strstr(finding_message, "redundant grain directory: 1"));
    check_poked(SAMPLE_RGD * 512, 5000, 1);
    assert_non_null(strstr(finding_message, "redundant grain directory"));
    check_poked(SAMPLE_GD * 512, 0, 1);
    assert_memory_equal(finding_message, "grain directory: damaged", 24);
}

static int setup(void **state)
{
    (void)state;
    memory_reset();
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
        cmocka_unit_test_setup(test_vmdk_chain__parent_names, setup),
        cmocka_unit_test_setup(test_vmdk_chain__parent_identity, setup),
        cmocka_unit_test_setup(test_vmdk_chain__check_compares_copies, setup),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
