/* SPDX-License-Identifier: Apache-2.0 */
/* formats/ova: descriptor, manifest, and which disk is meant. */
#include "ova_testing.h"

static struct archive two_disks(void)
{
    struct archive archive = archive_make();

    archive_add_text(&archive, "x.ovf", OVF_TWO);
    archive_add_disk(&archive, "a.vdi");
    archive_add_disk(&archive, "b.vdi");
    archive_end(&archive);
    return archive;
}

static uint64_t member_of(const char *member)
{
    struct archive archive = two_disks();
    struct ds_extent extents[1] = { 0 };
    struct ds_image *image;
    struct ds_error err;
    size_t count;

    assert_int_equal(ova_try(&archive, member, &image, &err), 0);
    assert_int_equal(walk(image, extents, 1, &count, &err), 0);
    ova_format_ops.close(image);
    free(archive.memory.bytes);
    return extents[0].file_offset_bytes;
}

static void test_ova__disk_by_name(void **state)
{
    struct archive archive = two_disks();
    uint64_t second =
        archive.last_header + 512 + VDI_DATA + 2 * (uint64_t)VDI_BLOCK;
    uint64_t first = second - 512 - (VDI_FILE + 511) / 512 * 512;

    (void)state;
    free(archive.memory.bytes);
    assert_int_equal(member_of("1"), first);
    assert_int_equal(member_of("d1"), first);
    assert_int_equal(member_of("a.vdi"), first);
    assert_int_equal(member_of("2"), second);
    assert_int_equal(member_of("d2"), second);
    assert_int_equal(member_of("b.vdi"), second);
    expect_no_ova(two_disks(), NULL, DS_ERR_ARG, "has 2 disks, name one: d1");
    expect_no_ova(two_disks(), "0", DS_ERR_ARG, "names 0 disks");
    expect_no_ova(two_disks(), "3", DS_ERR_ARG, "names 0 disks");
    expect_no_ova(two_disks(), "empty", DS_ERR_ARG, "names 0 disks");
    expect_no_ova(two_disks(), "x.ovf", DS_ERR_ARG, "names 0 disks");
}

/* -- the descriptor -------------------------------------------------------- */

static void test_ova__href_is_decoded(void **state)
{
    struct archive archive = archive_make();

    (void)state;
    archive_add_text(
        &archive, "x.ovf",
        OVF_ONE_WITH(OVF_FILE("f", "a%20b&amp;c.vdi"), OVF_DISK("d", "f")));
    archive_add_disk(&archive, "a b&c.vdi");
    archive_end(&archive);
    expect_ova(archive, NULL);
}

static void test_ova__attributes_without_namespace(void **state)
{
    (void)state;
    expect_ova(sample_ova(OVF_ONE_WITH(
                   "<File id=\"f\" href=\"a.vdi\"/>",
                   "<Disk diskId=\"d\" fileRef=\"f\" capacity=\"1\"/>")),
               NULL);
    /* Another's attribute of the same name is not OVF's. */
    expect_no_ova(sample_ova(OVF_ONE_WITH(
                      "<File xmlns:v=\"urn:v\" v:id=\"f\" ovf:href=\"a.vdi\"/>",
                      OVF_DISK("d", "f"))),
                  NULL, DS_ERR_CORRUPT, "fileRef, have 'f'");
}

/* Only References/File and DiskSection/Disk count, and only OVF's. */
static void test_ova__elements_elsewhere(void **state)
{
    (void)state;
    expect_ova(
        sample_ova(OVF_BEGIN "<References>" OVF_FILE(
            "f1", "a.vdi") "</References>"
                           "<DiskSection><Info/>" OVF_DISK(
                               "d1",
                               "f1") "<v:Disk xmlns:v=\"urn:v\" "
                                     "ovf:fileRef=\"f1\"/></DiskSection>"
                                     "<VirtualSystem><Disk ovf:diskId=\"n\" "
                                     "ovf:fileRef=\"f1\"/>"
                                     "<X>" OVF_DISK(
                                         "n2",
                                         "f1") "</X></VirtualSystem>" OVF_END),
        NULL);
}

static void test_ova__descriptor_is_refused(void **state)
{
    (void)state;
    expect_no_ova(sample_ova(""), NULL, DS_ERR_CORRUPT, "ovf: empty");
    expect_no_ova(sample_ova("not xml"), NULL, DS_ERR_CORRUPT, "line 1: xml");
    expect_no_ova(sample_ova(OVF_BEGIN "<References>"), NULL, DS_ERR_CORRUPT,
                  "xml");
    expect_no_ova(sample_ova("<a/>"), NULL, DS_ERR_CORRUPT,
                  "root element, have a");
    expect_no_ova(sample_ova("<Envelope xmlns=\"urn:x\"/>"), NULL,
                  DS_ERR_UNSUPPORTED, "root element");
    expect_no_ova(sample_ova(OVF_BEGIN OVF_END), NULL, DS_ERR_UNSUPPORTED,
                  "no disk with a file");
    expect_no_ova(sample_ova(OVF_ONE_WITH("", OVF_DISK("d", "f"))), NULL,
                  DS_ERR_CORRUPT, "fileRef, have 'f'");
    expect_no_ova(
        sample_ova(OVF_ONE_WITH(OVF_FILE("f", "gone.vdi"), OVF_DISK("d", "f"))),
        NULL, DS_ERR_CORRUPT, "'gone.vdi' is not in the archive");
    expect_no_ova(
        sample_ova(OVF_ONE_WITH(OVF_FILE("f", "../a.vdi"), OVF_DISK("d", "f"))),
        NULL, DS_ERR_CORRUPT, "'../a.vdi' is not in the archive");
    expect_no_ova(
        sample_ova(OVF_ONE_WITH("<File ovf:id=\"f\" ovf:href=\"a.vdi\" "
                                "ovf:compression=\"gzip\"/>",
                                OVF_DISK("d", "f"))),
        NULL, DS_ERR_UNSUPPORTED, "compression gzip");
    expect_no_ova(
        sample_ova(OVF_ONE_WITH("<File ovf:id=\"f\" ovf:href=\"a.vdi\" "
                                "ovf:chunkSize=\"1000\"/>",
                                OVF_DISK("d", "f"))),
        NULL, DS_ERR_UNSUPPORTED, "chunks");
    expect_no_ova(
        sample_ova(OVF_ONE_WITH(OVF_FILE("f", "a.vdi"),
                                "<Disk ovf:diskId=\"d\" ovf:fileRef=\"f\" "
                                "ovf:parentRef=\"e\"/>")),
        NULL, DS_ERR_UNSUPPORTED, "has the parent 'e'");
    expect_no_ova(
        sample_ova(OVF_ONE_WITH(OVF_FILE("f", "x.ovf"), OVF_DISK("d", "f"))),
        NULL, DS_ERR_UNSUPPORTED, "of no known format");
}

/* Entities that grow, and one from outside: refused before they are read. */
static void test_ova__document_type_is_refused(void **state)
{
    (void)state;
    expect_no_ova(
        sample_ova("<!DOCTYPE a [<!ENTITY b \"bbbbbbbbbb\"><!ENTITY c "
                   "\"&b;&b;&b;&b;&b;&b;\">]>" OVF_ONE),
        NULL, DS_ERR_REFUSED, "document type");
    expect_no_ova(sample_ova("<!DOCTYPE Envelope [<!ENTITY b \"b\">]>"
                             "<Envelope>&b;</Envelope>"),
                  NULL, DS_ERR_REFUSED, "document type");
    expect_no_ova(sample_ova("<!DOCTYPE Envelope SYSTEM "
                             "\"file:///etc/hostname\"><Envelope/>"),
                  NULL, DS_ERR_REFUSED, "document type");
    expect_no_ova(sample_ova(OVF_BEGIN "&undefined;" OVF_END), NULL,
                  DS_ERR_CORRUPT, "xml");
}

static void test_ova__descriptor_bounds(void **state)
{
    struct archive archive = archive_make();
    size_t length = 5 << 20;
    char *text = malloc(length);

    (void)state;
    assert_non_null(text);
    memset(text, ' ', length);
    memcpy(text, OVF_ONE, sizeof(OVF_ONE) - 1);
    archive_add(&archive, '0', "x.ovf", text, length);
    expect_no_ova(archive, NULL, DS_ERR_LIMIT, "ovf: size");
    /* Deeper than the parser goes. */
    archive = archive_make();
    for (size_t i = 0; i < 30000; i += 3)
        memcpy(text + i, "<a>", 3);
    archive_add(&archive, '0', "x.ovf", text, 30000);
    expect_no_ova(archive, NULL, DS_ERR_CORRUPT, "ovf: ");
    /* Deeper than ours goes, in what is well-formed so far. */
    archive = archive_make();
    (void)snprintf(text, length, OVF_BEGIN);
    for (size_t i = 0; i < 256; i++)
        strcat(text, "<a>");
    archive_add_text(&archive, "x.ovf", text);
    expect_no_ova(archive, NULL, DS_ERR_LIMIT, "257 one in the other");
    /* An attribute longer than any name. */
    archive = archive_make();
    (void)snprintf(text, length,
                   OVF_BEGIN "<References><File ovf:id=\"%0300d\"/>"
                             "</References>" OVF_END,
                   0);
    archive_add_text(&archive, "x.ovf", text);
    expect_no_ova(archive, NULL, DS_ERR_LIMIT, "attribute id: have 300 bytes");
    free(text);
    archive = archive_make();
    archive_add_text(&archive, "x.ovf", OVF_ONE);
    archive_add_text(&archive, "y.ovf", OVF_ONE);
    expect_no_ova(archive, NULL, DS_ERR_CORRUPT, "2 members *.ovf");
}

/* -- the manifest ---------------------------------------------------------- */

struct found {
    unsigned count;
    char last[512];
};

static int note_finding(void *user, const struct ds_finding *finding,
                        struct ds_error *err)
{
    struct found *found = user;

    (void)err;
    assert_false(finding->is_leak);
    found->count++;
    (void)snprintf(found->last, sizeof(found->last), "%s", finding->message);
    return 0;
}

static void expect_findings(struct archive archive, unsigned count,
                            const char *words)
{
    struct found found = { 0 };
    struct ds_image *image;
    struct ds_error err;

    if (ova_try(&archive, NULL, &image, &err) != 0)
        fail_msg("'%s'", err.message);
    assert_int_equal(ova_format_ops.check(image, note_finding, &found, &err),
                     0);
    if (found.count != count ||
        (count > 0 && strstr(found.last, words) == NULL))
        fail_msg("have %u '%s' expect %u '%s'", found.count, found.last, count,
                 words);
    ova_format_ops.close(image);
    free(archive.memory.bytes);
}

static void test_ova__manifest(void **state)
{
    static const char *const algorithms[] = { "SHA1", "SHA256", "SHA512" };
    struct archive archive;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        expect_findings(sample_with_manifest(algorithms[i]), 0, "");
        archive = sample_with_manifest(algorithms[i]);
        archive.memory.bytes[archive.last_header + 512 + VDI_FILE - 1] ^= 1;
        expect_findings(archive, 1, "of 'a.vdi', have ");
    }
    /* The descriptor is looked at before it is believed. */
    archive = sample_with_manifest("SHA256");
    archive.memory.bytes[512 + 20] ^= 1;
    expect_no_ova(archive, NULL, DS_ERR_CORRUPT, "SHA256 of 'x.ovf'");
}

static struct archive with_manifest(const char *text, size_t length)
{
    struct archive archive = archive_make();

    archive_add_text(&archive, "x.ovf", OVF_ONE);
    archive_add(&archive, '0', "x.mf", text, length);
    archive_add_disk(&archive, "a.vdi");
    archive_end(&archive);
    return archive;
}

#define ZEROS_20 "0000000000000000000000000000000000000000"

static void expect_manifest(const char *text, enum ds_error_class error_class,
                            const char *words)
{
    expect_no_ova(with_manifest(text, strlen(text)), NULL, error_class, words);
}

static void test_ova__manifest_lines(void **state)
{
    (void)state;
    /* Nothing listed: said by check, for the descriptor and the disk. */
    expect_findings(with_manifest("\n\r\n", 3), 2, "'a.vdi' is not listed");
    expect_findings(with_manifest("SHA1 (a.vdi) = " ZEROS_20 " \r\n", 58), 2,
                    "a.vdi");
    expect_manifest("MD5(x.ovf)= 00\n", DS_ERR_UNSUPPORTED, "algorithm");
    expect_manifest("SHA1(x.ovf)= 00\n", DS_ERR_CORRUPT, "digest");
    expect_manifest("SHA1(x.ovf)= " ZEROS_20 "00\n", DS_ERR_CORRUPT, "digest");
    expect_manifest("SHA1(x.ovf) " ZEROS_20 "\n", DS_ERR_CORRUPT, "'='");
    expect_manifest("SHA1 x.ovf= " ZEROS_20 "\n", DS_ERR_CORRUPT, "expect");
    expect_manifest("SHA1()= " ZEROS_20 "\n", DS_ERR_CORRUPT, "expect");
    expect_manifest("SHA1(gone)= " ZEROS_20 "\n", DS_ERR_CORRUPT,
                    "lists 'gone'");
    expect_manifest("SHA1(x.ovf)= " ZEROS_20, DS_ERR_CORRUPT,
                    "SHA1 of 'x.ovf'");
    expect_no_ova(with_manifest("SHA1\0(x.ovf)", 12), NULL, DS_ERR_CORRUPT,
                  "NUL");
}

/* The second line is the same as the first, and right. */
static void test_ova__manifest_lists_twice(void **state)
{
    char manifest[512] = "";
    struct archive archive = archive_make();

    (void)state;
    manifest_line(manifest, sizeof(manifest), "SHA256", "x.ovf", OVF_ONE,
                  sizeof(OVF_ONE) - 1);
    manifest_line(manifest, sizeof(manifest), "SHA1", "x.ovf", OVF_ONE,
                  sizeof(OVF_ONE) - 1);
    archive_add_text(&archive, "x.ovf", OVF_ONE);
    archive_add_text(&archive, "x.mf", manifest);
    archive_add_disk(&archive, "a.vdi");
    archive_end(&archive);
    expect_ova(archive, NULL);
    archive = archive_make();
    manifest_line(manifest, sizeof(manifest), "SHA256", "x.ovf", OVF_ONE,
                  sizeof(OVF_ONE) - 1);
    archive_add_text(&archive, "x.ovf", OVF_ONE);
    archive_add_text(&archive, "x.mf", manifest);
    expect_no_ova(archive, NULL, DS_ERR_CORRUPT, "a second time");
}

static void expect_verified(struct archive archive, int expected,
                            const char *words)
{
    const char *note = "";
    struct ds_image *image;
    struct ds_error err;

    if (ova_try(&archive, NULL, &image, &err) != 0)
        fail_msg("'%s'", err.message);
    assert_int_equal(
        ova_format_ops.verify_source(image, NULL, NULL, &note, &err), expected);
    if (strstr(expected == 0 ? note : err.message, words) == NULL)
        fail_msg("have '%s' '%s' expect '%s'", note, err.message, words);
    ova_format_ops.close(image);
    free(archive.memory.bytes);
}

static void test_ova__verified_before_conversion(void **state)
{
    struct archive archive = sample_with_manifest("SHA256");

    (void)state;
    expect_verified(sample_with_manifest("SHA1"), 0, "was verified");
    expect_verified(sample_ova(OVF_ONE), 0, "has no manifest");
    expect_verified(with_manifest("\n", 1), 0, "does not list the disk");
    archive.memory.bytes[archive.last_header + 512 + VDI_FILE - 1] ^= 1;
    expect_verified(archive, -DS_ERR_CORRUPT, "SHA256 of 'a.vdi', have ");
}

static bool probe_of(const char *text)
{
    struct ds_probe probe = { .head_bytes = strlen(text) };

    memcpy(probe.head, text, probe.head_bytes);
    return ova_format_ops.probe(&probe);
}

/* A descriptor that lies beside its disks; nothing else in XML. */
static void test_ova__descriptor_is_known(void **state)
{
    (void)state;
    assert_true(probe_of(OVF_ONE));
    assert_true(probe_of("\xef\xbb\xbf" OVF_ONE));
    assert_true(probe_of(" \r\n<!-- x --><v:Envelope xmlns:v="
                         "\"http://www.vmware.com/schema/ovf/1/envelope\">"));
    /* What is cut off behind the root is not missed. */
    assert_true(probe_of(OVF_BEGIN "<Ref"));
    /* Refused by opening, not taken for a raw disk. */
    assert_true(probe_of("<!DOCTYPE v:Envelope [<!ENTITY b \"b\">]>"));
    assert_false(probe_of("<!DOCTYPE html><html>"));
    assert_false(probe_of("<Envelope/>"));
    assert_false(probe_of("<Envelope xmlns=\"urn:x\">"));
    assert_false(probe_of("<x xmlns=\"http://schemas.dmtf.org/ovf/envelope/1"
                          "\"><Envelope/></x>"));
    assert_false(probe_of("x" OVF_ONE));
    assert_false(probe_of("<"));
    assert_false(probe_of(""));
}

static void test_ova__no_end(void **state)
{
    struct archive archive = sample_ova(OVF_ONE);

    (void)state;
    memory_file_resize(&archive.memory, archive.memory.file.size_bytes - 1024);
    expect_findings(archive, 1, "no mark of the end");
}

/* What is wrong with the disk inside is moved to its place. */
static void test_ova__check_of_the_disk(void **state)
{
    struct archive archive = sample_ova(OVF_ONE);

    (void)state;
    put_le(archive.memory.bytes + archive.last_header + 512 + 0x184, 4, 4);
    expect_findings(archive, 1, "vdi: header: blocks allocated");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ova__disk_by_name),
        cmocka_unit_test(test_ova__href_is_decoded),
        cmocka_unit_test(test_ova__attributes_without_namespace),
        cmocka_unit_test(test_ova__elements_elsewhere),
        cmocka_unit_test(test_ova__descriptor_is_refused),
        cmocka_unit_test(test_ova__document_type_is_refused),
        cmocka_unit_test(test_ova__descriptor_bounds),
        cmocka_unit_test(test_ova__manifest),
        cmocka_unit_test(test_ova__manifest_lines),
        cmocka_unit_test(test_ova__manifest_lists_twice),
        cmocka_unit_test(test_ova__verified_before_conversion),
        cmocka_unit_test(test_ova__descriptor_is_known),
        cmocka_unit_test(test_ova__no_end),
        cmocka_unit_test(test_ova__check_of_the_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
