/* SPDX-License-Identifier: Apache-2.0 */
/* Each field of a package's headers, and its texts: see poke.h. The packages
 * are those of ova_testing.h. */
#include "ova/ova_disk.h"
#include "ova_testing.h"
#include "poke.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* x.ovf, x.mf, a.vdi */
static void make_package(struct fuzz_case *fuzz)
{
    struct archive archive = sample_with_manifest("SHA256");

    poke_file(fuzz, "image", archive.memory.bytes,
              archive.memory.file.size_bytes);
}

#define HEADER_ROWS(base)                                                      \
    POKE(base, tar_header_disk, name, .kind = POKE_BYTES),                     \
        POKE(base, tar_header_disk, mode, .kind = POKE_BYTES),                 \
        POKE(base, tar_header_disk, uid, .kind = POKE_BYTES),                  \
        POKE(base, tar_header_disk, gid, .kind = POKE_BYTES),                  \
        POKE(base, tar_header_disk, size, .kind = POKE_BYTES),                 \
        POKE(base, tar_header_disk, mtime, .kind = POKE_BYTES),                \
        POKE(base, tar_header_disk, chksum, .kind = POKE_BYTES,                \
             .as_it_is = true),                                                \
        POKE(base, tar_header_disk, typeflag, .kind = POKE_NUMBER),            \
        POKE(base, tar_header_disk, linkname, .kind = POKE_BYTES),             \
        POKE(base, tar_header_disk, magic, .kind = POKE_BYTES),                \
        POKE(base, tar_header_disk, version, .kind = POKE_BYTES),              \
        POKE(base, tar_header_disk, uname, .kind = POKE_BYTES),                \
        POKE(base, tar_header_disk, gname, .kind = POKE_BYTES),                \
        POKE(base, tar_header_disk, devmajor, .kind = POKE_BYTES),             \
        POKE(base, tar_header_disk, devminor, .kind = POKE_BYTES),             \
        POKE(base, tar_header_disk, prefix, .kind = POKE_BYTES),               \
        POKE(base, tar_header_disk, reserved, .kind = POKE_BYTES)

/* Where sample_with_manifest puts its members: the descriptor and the
 * manifest take 1024 and 512 bytes. */
#define MANIFEST (512u + 1024u)
#define DISK (MANIFEST + 512u + 512u)

static const struct poke_row rows[] = {
    HEADER_ROWS(0),
    HEADER_ROWS(MANIFEST),
    HEADER_ROWS(DISK),
    POKE_ENTRY("descriptor", "first bytes", 512, 64, .kind = POKE_BYTES),
    POKE_ENTRY("manifest", "first bytes", MANIFEST + 512, 64,
               .kind = POKE_BYTES),
    POKE_ENTRY("disk", "a byte of data", DISK + 512 + VDI_DATA, 1,
               .kind = POKE_NUMBER),
    POKE_ENTRY("disk", "map entry 0", DISK + 512 + VDI_MAP, 4,
               .kind = POKE_NUMBER),
};
static const struct poke_record records[] = {
    POKE_RECORD(0, tar_header_disk),
    POKE_RECORD(MANIFEST, tar_header_disk),
    POKE_RECORD(DISK, tar_header_disk),
};
static const struct poke_sample package = {
    .name = "ova",
    .format = "ova",
    .make = make_package,
    .big_endian = true,
    .rows = rows,
    .row_count = COUNT(rows),
    .records = records,
    .record_count = COUNT(records),
    .target = { .format = "qcow2" },
};

/* -- a descriptor that names what lies beside it ----------------------------*/

static void make_beside(struct fuzz_case *fuzz)
{
    struct memory_file disk = sample_vdi();
    uint8_t *text = calloc(1, sizeof(OVF_ONE));

    assert_non_null(text);
    memcpy(text, OVF_ONE, sizeof(OVF_ONE) - 1);
    poke_fill(disk.bytes + VDI_DATA, 5 * VDI_BLOCK, 1);
    poke_file(fuzz, "image", text, sizeof(OVF_ONE) - 1);
    poke_file(fuzz, "a.vdi", disk.bytes, VDI_FILE);
}

static const struct poke_sample beside = {
    .name = "ovf",
    .format = "ova",
    .make = make_beside,
    .target = { .format = "vmdk" },
};

static const struct poke_text texts[] = {
    { "<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "", NULL, 0 },
    { "encoding=\"UTF-8\"", "encoding=\"EBCDIC\"", NULL, 0 },
    { "encoding=\"UTF-8\"", "encoding=\"UTF-16\"", NULL, 0 },
    { "?>\n",
      "?>\n<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>", NULL,
      0 },
    { "?>\n", "?>\n<!DOCTYPE x SYSTEM \"file:///etc/shadow\">", NULL, 0 },
    { "<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\"",
      "<Envelope xmlns=\"http://nowhere\"", NULL, 0 },
    { "<Envelope", "<Envelop", NULL, 0 },
    { "</Envelope>", "", NULL, 0 },
    { "</Envelope>", "</Envelope><Envelope/>", NULL, 0 },
    { "<References>", "<References><References>", NULL, 0 },
    { "ovf:href=\"a.vdi\"", "ovf:href=\"\"", NULL, 0 },
    { "ovf:href=\"a.vdi\"", "ovf:href=\"b.vdi\"", NULL, 0 },
    { "ovf:href=\"a.vdi\"", "ovf:href=\"../a.vdi\"", NULL, 0 },
    { "ovf:href=\"a.vdi\"", "ovf:href=\"/etc/shadow\"", NULL, 0 },
    { "ovf:href=\"a.vdi\"", "ovf:href=\"file:///a.vdi\"", NULL, 0 },
    { "ovf:href=\"a.vdi\"", "ovf:href=\"http://host/a.vdi\"", NULL, 0 },
    { "ovf:href=\"a.vdi\"", "ovf:href=\"a%2evdi\"", NULL, 0 },
    { "ovf:href=\"a.vdi\"", "ovf:href=\"image\"", NULL, 0 },
    { "ovf:href=\"a.vdi\"", "", NULL, 0 },
    { "ovf:size=\"1\"", "ovf:size=\"-1\"", NULL, 0 },
    { "ovf:size=\"1\"", "ovf:size=\"1\" ovf:compression=\"gzip\"", NULL, 0 },
    { "ovf:size=\"1\"", "ovf:size=\"1\" ovf:compression=\"identity\"", NULL,
      0 },
    { "ovf:size=\"1\"", "ovf:size=\"1\" ovf:chunkSize=\"512\"", NULL, 0 },
    { "ovf:id=\"f1\"", "ovf:id=\"f2\"", NULL, 0 },
    { "ovf:id=\"f1\"", "", NULL, 0 },
    { "ovf:fileRef=\"f1\"", "ovf:fileRef=\"f9\"", NULL, 0 },
    { "ovf:fileRef=\"f1\"", "ovf:fileRef=\"f1\" ovf:parentRef=\"d0\"", NULL,
      0 },
    { "ovf:fileRef=\"f1\"", "", NULL, 0 },
    { "ovf:diskId=\"d1\"", "ovf:diskId=\"\"", NULL, 0 },
    { "ovf:capacity=\"1\"", "ovf:capacity=\"0\"", NULL, 0 },
    { "ovf:capacity=\"1\"", "ovf:capacity=\"99999999999999999999\"", NULL, 0 },
    { "ovf:format=\"x\"", "ovf:format=\"http://nowhere#sparse\"", NULL, 0 },
    { "<Info>a disk</Info>", "<Info>&lt;&#0;</Info>", NULL, 0 },
    { "<Info>a disk</Info>", "<Info>&nothing;</Info>", NULL, 0 },
};

/* -- the tests --------------------------------------------------------------*/

static const struct poke_sample *const samples[] = { &package };

static void test_poke_ova__package(void **state)
{
    (void)state;
    poke_run(&package);
}

static void test_poke_ova__descriptor(void **state)
{
    (void)state;
    poke_run_text(&beside, texts, COUNT(texts));
}

static void test_poke_ova__every_record_is_poked(void **state)
{
    (void)state;
    poke_complete("formats/ova/ova_disk.h", samples, COUNT(samples), NULL);
}

static void test_poke_ova__cut_off(void **state)
{
    (void)state;
    poke_truncate(&package);
    poke_truncate(&beside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poke_ova__package),
        cmocka_unit_test(test_poke_ova__descriptor),
        cmocka_unit_test(test_poke_ova__every_record_is_poked),
        cmocka_unit_test(test_poke_ova__cut_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
