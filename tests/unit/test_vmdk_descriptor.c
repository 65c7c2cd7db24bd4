/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor's text: what products write, and what must not pass. */
#include "vmdk_testing.h"

static int teardown(void **state)
{
    (void)state;
    memory_reset();
    return 0;
}

static int parse(const char *text, struct vmdk_descriptor *out,
                 struct ds_error *err)
{
    memory_set(0, "disk.vmdk", text, strlen(text));
    return vmdk_descriptor_read(&memory_files[0].file, 0, strlen(text), NULL,
                                out, err);
}

#define HEAD "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
#define MAIN HEAD "createType=\"custom\"\n"

static void test_vmdk_descriptor__as_products_write_it(void **state)
{
    static const char *const texts[] = {
        /* Workstation */
        "# Disk DescriptorFile\nversion=1\nencoding=\"windows-1252\"\n"
        "CID=fffffffe\nparentCID=ffffffff\nisNativeSnapshot=\"no\"\n"
        "createType=\"twoGbMaxExtentSparse\"\n\n# Extent description\n"
        "RW 4192256 SPARSE \"my disk-s001.vmdk\"\n"
        "RW 2048 SPARSE \"my disk-s002.vmdk\"\n\n# The Disk Data Base \n#DDB\n"
        "\nddb.adapterType = \"lsilogic\"\nddb.virtualHWVersion = \"8\"\n",
        /* ESX, ends of line from Windows, no last one */
        "# Disk DescriptorFile\r\nversion=3\r\nCID=1\r\nparentCID=FFFFFFFF\r\n"
        "createType=\"vmfs\"\r\nRW 4192256 VMFS \"my disk-s001.vmdk\"\r\n"
        "RW 2048 ZERO\r\nchangeTrackPath=\"d-ctk.vmdk\"\r\n"
        "ddb.adapterType=\"lsilogic\"\r\nddb.virtualHWVersion = 8",
        /* case and blanks, a byte order mark */
        "\xef\xbb\xbf# Disk DescriptorFile\n VERSION = 1 \nparentcid=ffffffff\n"
        "CreateType = custom\n rw\t4192256   flat  \"my disk-s001.vmdk\"  0 \n"
        "Rdonly 2048 zero\nDDB.AdapterType= lsilogic\n"
        "ddb.virtualhwversion =\"8\"\nddb.comment = \"a \"b\" = c\"\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct vmdk_descriptor descriptor;
        struct ds_error err = DS_ERROR_INIT;

        if (parse(texts[i], &descriptor, &err) != 0)
            fail_msg("%zu: %s", i, err.message);
        assert_int_equal(descriptor.line_count, 2);
        assert_int_equal(descriptor.lines[0].length_bytes,
                         UINT64_C(4192256) * 512);
        assert_string_equal(descriptor.lines[0].name, "my disk-s001.vmdk");
        assert_string_equal(descriptor.adapter_type, "lsilogic");
        assert_string_equal(descriptor.hardware_version, "8");
        vmdk_descriptor_free(&descriptor);
    }
}

static const struct {
    const char *text;
    enum ds_error_class error_class;
    const char *word; /* that the message must have */
} refusals[] = {
    { HEAD "createType=\"vmfsRawDeviceMap\"\n", DS_ERR_UNSUPPORTED,
      "vmfsRawDeviceMap" },
    { HEAD "createType=\"vmfsPassthroughRawDeviceMap\"\n", DS_ERR_UNSUPPORTED,
      "vmfsPassthroughRawDeviceMap" },
    { HEAD "createType=\"FULLDEVICE\"\n", DS_ERR_UNSUPPORTED, "fullDevice" },
    { HEAD "createType=\"partitionedDevice\"\n", DS_ERR_UNSUPPORTED,
      "partitionedDevice" },
    { HEAD, DS_ERR_CORRUPT, "createType" },
    { MAIN "createType=\"vmfs\"\n", DS_ERR_CORRUPT, "second time" },
    { "createType=custom\nparentCID=1234abcdx\n", DS_ERR_CORRUPT, "parentCID" },
    { "createType=custom\nparentCID=\n", DS_ERR_CORRUPT, "parentCID" },
    { "parentCID=1234abcd\nparentCID=ffffffff\ncreateType=custom\n",
      DS_ERR_CORRUPT, "parentCID" },
    { MAIN "parentFileNameHint=\"base.vmdk\"\n", DS_ERR_CORRUPT,
      "parentFileNameHint" },
    { MAIN "encryptionKeys=\"vmware:key/list\"\n", DS_ERR_UNSUPPORTED,
      "encrypted" },
    { MAIN "encryption.keySafe = \"x\"\n", DS_ERR_UNSUPPORTED, "encrypted" },
    { MAIN "ddb.iofilters = \"vmwarevmcrypt\"\n", DS_ERR_UNSUPPORTED,
      "encrypted" },
    { MAIN "version=2\n", DS_ERR_CORRUPT, "version" },
    { "version=5\ncreateType=custom\n", DS_ERR_UNSUPPORTED, "version" },
    { "version=x\ncreateType=custom\n", DS_ERR_CORRUPT, "version" },
    { MAIN "RW 1 SESPARSE \"a\" 1\n", DS_ERR_UNSUPPORTED, "offset" },
    { MAIN "RW 1 VMFSRDM \"a\"\n", DS_ERR_UNSUPPORTED, "VMFSRDM" },
    { MAIN "RW 1 VMFSRAW \"a\"\n", DS_ERR_UNSUPPORTED, "VMFSRAW" },
    { MAIN "RW 1 NEWKIND \"a\"\n", DS_ERR_UNSUPPORTED, "NEWKIND" },
    { MAIN "RW 1\n", DS_ERR_UNSUPPORTED, "extent type" },
    { MAIN "NOACCESS 1 ZERO\n", DS_ERR_UNSUPPORTED, "NOACCESS" },
    { MAIN "RW x FLAT \"a\" 0\n", DS_ERR_CORRUPT, "extent size" },
    { MAIN "RW -1 FLAT \"a\" 0\n", DS_ERR_CORRUPT, "extent size" },
    { MAIN "RW 36028797018963968 FLAT \"a\" 0\n", DS_ERR_CORRUPT,
      "extent size" },
    { MAIN "RW 99999999999999999999999 ZERO\n", DS_ERR_CORRUPT, "extent size" },
    { MAIN "RW 1 FLAT a 0\n", DS_ERR_CORRUPT, "extent name" },
    { MAIN "RW 1 FLAT \"a 0\n", DS_ERR_CORRUPT, "extent name" },
    { MAIN "RW 1 FLAT \"\" 0\n", DS_ERR_CORRUPT, "extent name" },
    { MAIN "RW 1 FLAT\n", DS_ERR_CORRUPT, "extent name" },
    { MAIN "RW 1 FLAT \"a\" b\n", DS_ERR_CORRUPT, "extent offset" },
    { MAIN "RW 1 SPARSE \"a\" 8\n", DS_ERR_UNSUPPORTED, "offset" },
    { MAIN "RW 1 FLAT \"a\" 0 partitionUUID x\n", DS_ERR_UNSUPPORTED,
      "partitionUUID" },
    { MAIN "this is no line\n", DS_ERR_CORRUPT, "line" },
    { MAIN "= x\n", DS_ERR_CORRUPT, "line" },
    { MAIN "RW\n", DS_ERR_CORRUPT, "line" },
    { MAIN "ddb.uuid = \"60 00\n", DS_ERR_CORRUPT, "quote" },
    { MAIN "ddb.uuid = \"60\" 00\n", DS_ERR_CORRUPT, "quote" },
};

static void test_vmdk_descriptor__refusals(void **state)
{

    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct vmdk_descriptor descriptor;
        struct ds_error err = DS_ERROR_INIT;
        int result = parse(refusals[i].text, &descriptor, &err);

        if (result != -(int)refusals[i].error_class ||
            strstr(err.message, refusals[i].word) == NULL)
            fail_msg("%zu: have %d '%s' expect %d '%s'", i, result, err.message,
                     -(int)refusals[i].error_class, refusals[i].word);
        assert_memory_equal(err.message, "vmdk: descriptor: ", 18);
        assert_true(err.offset_bytes <= strlen(refusals[i].text));
    }
}

static void test_vmdk_descriptor__error_names_the_byte(void **state)
{
    static const char text[] = MAIN "RW 12x FLAT \"a\" 0\n";
    struct vmdk_descriptor descriptor;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_int_equal(parse(text, &descriptor, &err), -DS_ERR_CORRUPT);
    assert_int_equal(err.offset_bytes, strstr(text, "12x") - text);
    assert_string_equal(err.file, "disk.vmdk");
}

static void test_vmdk_descriptor__length_is_bounded(void **state)
{
    static char text[VMDK_DESCRIPTOR_BYTES_MAX + 2];
    struct vmdk_descriptor descriptor;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    memset(text, '\n', VMDK_DESCRIPTOR_BYTES_MAX + 1);
    memcpy(text, MAIN, sizeof(MAIN) - 1);
    assert_int_equal(parse(text, &descriptor, &err), -DS_ERR_LIMIT);
    text[VMDK_DESCRIPTOR_BYTES_MAX] = '\0';
    assert_int_equal(parse(text, &descriptor, &err), 0);
    vmdk_descriptor_free(&descriptor);
}

/* As many extents as the length admits. */
static void test_vmdk_descriptor__many_extents(void **state)
{
    static char text[VMDK_DESCRIPTOR_BYTES_MAX + 1];
    struct vmdk_descriptor descriptor;
    struct ds_error err = DS_ERROR_INIT;
    size_t used = sizeof(MAIN) - 1, count = 0;

    (void)state;
    memcpy(text, MAIN, used);
    while (used + 10 <= VMDK_DESCRIPTOR_BYTES_MAX) {
        memcpy(text + used, "RW 1 ZERO\n", 10);
        used += 10;
        count++;
    }
    text[used] = '\0';
    assert_int_equal(parse(text, &descriptor, &err), 0);
    assert_int_equal(descriptor.line_count, count);
    vmdk_descriptor_free(&descriptor);
}

/* Each form with as many lines as it has files. */
static const struct {
    enum vmdk_subformat subformat;
    size_t line_count;
    const char *create_type;
    enum vmdk_extent_kind kind;
    bool has_offset;
} written[] = {
    { VMDK_MONOLITHIC_SPARSE, 1, "monolithicSparse", VMDK_EXTENT_SPARSE,
      false },
    { VMDK_MONOLITHIC_FLAT, 1, "monolithicFlat", VMDK_EXTENT_FLAT, true },
    { VMDK_VMFS, 1, "vmfs", VMDK_EXTENT_FLAT, false },
    { VMDK_SPLIT_SPARSE, 3, "twoGbMaxExtentSparse", VMDK_EXTENT_SPARSE, false },
    { VMDK_SPLIT_FLAT, 3, "twoGbMaxExtentFlat", VMDK_EXTENT_FLAT, true },
    { VMDK_OVERLAY, 1, "monolithicFlat", VMDK_EXTENT_FLAT, true },
    { VMDK_OVERLAY, 3, "twoGbMaxExtentFlat", VMDK_EXTENT_FLAT, true },
};

static void test_vmdk_descriptor__written_text_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
        struct vmdk_text_line lines[3] = {
            { UINT64_C(123456789) * 512, "M\xc3\xbcller disk.vmdk", 7 * 512 },
            { 512, "/there/b.vhdx", UINT64_C(1) << 50 },
            { 1024, "c.vmdk", 0 },
        };
        struct vmdk_text text = {
            .subformat = written[i].subformat,
            .adapter_type = "buslogic",
            .hardware_version = 11,
            .cid = 0xabc,
            .size_bytes = UINT64_C(123456789) * 512,
            .lines = lines,
            .line_count = written[i].line_count,
            .remark = "look here",
        };
        char out[VMDK_TEXT_BYTES_MAX];
        struct vmdk_descriptor descriptor;
        struct ds_error err = DS_ERROR_INIT;
        size_t length;

        assert_int_equal(
            vmdk_text_build(&text, out, sizeof(out), &length, &err), 0);
        assert_int_equal(length, strlen(out));
        assert_non_null(strstr(out, "\n# look here\n"));
        assert_int_equal(parse(out, &descriptor, &err), 0);
        assert_string_equal(descriptor.create_type, written[i].create_type);
        assert_int_equal(descriptor.line_count, written[i].line_count);
        for (size_t line = 0; line < written[i].line_count; line++) {
            const struct vmdk_extent_line *have = &descriptor.lines[line];

            assert_int_equal(have->kind, written[i].kind);
            assert_int_equal(have->length_bytes, lines[line].size_bytes);
            assert_string_equal(have->name, lines[line].name);
            assert_int_equal(have->file_begin_bytes,
                             written[i].has_offset ? lines[line].offset_bytes
                                                   : 0);
        }
        assert_string_equal(descriptor.cid, "00000abc");
        assert_string_equal(descriptor.adapter_type, "buslogic");
        assert_string_equal(descriptor.hardware_version, "11");
        vmdk_descriptor_free(&descriptor);
        /* to the byte: the text and its end fit, or it is refused */
        assert_int_equal(vmdk_text_build(&text, out, length + 1, &length, &err),
                         0);
        assert_int_equal(vmdk_text_build(&text, out, length, &length, &err),
                         -DS_ERR_LIMIT);
        lines[0].name = "a\"b.vmdk";
        assert_int_equal(
            vmdk_text_build(&text, out, sizeof(out), &length, &err),
            -DS_ERR_ARG);
        lines[0].name = "a\nRW 1 ZERO";
        assert_int_equal(
            vmdk_text_build(&text, out, sizeof(out), &length, &err),
            -DS_ERR_ARG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vmdk_descriptor__as_products_write_it),
        cmocka_unit_test(test_vmdk_descriptor__refusals),
        cmocka_unit_test(test_vmdk_descriptor__error_names_the_byte),
        cmocka_unit_test(test_vmdk_descriptor__length_is_bounded),
        cmocka_unit_test(test_vmdk_descriptor__many_extents),
        cmocka_unit_test(test_vmdk_descriptor__written_text_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
