/* SPDX-License-Identifier: Apache-2.0 */
/* formats/ova: the archive. */
#include "ova_testing.h"

static bool probed(const struct archive *archive)
{
    struct ds_probe probe = { 0 };
    uint64_t size = archive->memory.file.size_bytes;

    probe.head_bytes = (size_t)ds_min_u64(size, sizeof(probe.head));
    memcpy(probe.head, archive->memory.bytes, probe.head_bytes);
    return ova_format_ops.probe(&probe);
}

static void test_ova__probe(void **state)
{
    struct archive archive = sample_ova(OVF_ONE);

    (void)state;
    assert_true(probed(&archive));
    archive.memory.bytes[0] ^= 1; /* the checksum is wrong then */
    assert_false(probed(&archive));
    free(archive.memory.bytes);
    archive = archive_make();
    archive_add_text(&archive, "readme", "a tar, but no package");
    archive_add_text(&archive, "x.ovf", OVF_ONE);
    assert_false(probed(&archive));
    free(archive.memory.bytes);
    archive = archive_make();
    archive_add(&archive, 'x', "pax", "20 mtime=1234567890\n", 20);
    archive_add_text(&archive, "X.OVF", OVF_ONE);
    assert_true(probed(&archive));
    free(archive.memory.bytes);
}

/* The map names the archive and places in it. */
static void test_ova__map_is_of_the_archive(void **state)
{
    struct archive archive = sample_ova(OVF_ONE);
    size_t base = 512 + (sizeof(OVF_ONE) + 510) / 512 * 512 + 512;
    struct ds_extent extents[8];
    struct ds_image *image;
    struct ds_error err;
    size_t count;

    (void)state;
    assert_int_equal(ova_try(&archive, NULL, &image, &err), 0);
    assert_int_equal(image->file_count, 1);
    assert_ptr_equal(image->files[0], &archive.memory.file);
    assert_int_equal(walk(image, extents, 8, &count, &err), 0);
    assert_int_equal(count, 6);
    assert_extent(&extents[0], DS_EXTENT_DATA, 0, 3 * VDI_BLOCK, 0,
                  base + VDI_DATA + 2 * VDI_BLOCK);
    assert_extent(&extents[1], DS_EXTENT_HOLE, 3 * VDI_BLOCK, 2 * VDI_BLOCK,
                  DS_FILE_NONE, 0);
    assert_extent(&extents[5], DS_EXTENT_DATA, 9 * VDI_BLOCK, 512, 0,
                  base + VDI_DATA);
    ova_format_ops.close(image);
    free(archive.memory.bytes);
}

static int note_region(void *user, const struct ds_region *region,
                       struct ds_error *err)
{
    uint64_t *found = user;

    (void)err;
    if (strcmp(region->name, "tar header") == 0)
        found[0] = region->offset_bytes;
    if (strcmp(region->name, "block map") == 0)
        found[1] = region->offset_bytes;
    return 0;
}

static void test_ova__regions_are_of_the_archive(void **state)
{
    struct archive archive = sample_ova(OVF_ONE);
    uint64_t found[2] = { 0, 0 };
    struct ds_image *image;
    struct ds_error err;

    (void)state;
    assert_int_equal(ova_try(&archive, NULL, &image, &err), 0);
    assert_int_equal(ova_format_ops.regions(image, note_region, found, &err),
                     0);
    assert_int_equal(found[0], archive.last_header);
    assert_int_equal(found[1], archive.last_header + 512 + VDI_MAP);
    ova_format_ops.close(image);
    free(archive.memory.bytes);
}

/* -- names and sizes in all their spellings -------------------------------- */

#define LONG_NAME                                                              \
    "a-disk-whose-name-does-not-fit-into-the-one-hundred-bytes-that-the-tar-"  \
    "header-has-for-it-so-that-more-is-needed.vdi"

static void add_disk_with_long_name(struct archive *archive, char type)
{
    char record[256];

    if (type == 'L') {
        archive_add(archive, 'L', "././@LongLink", LONG_NAME,
                    sizeof(LONG_NAME));
    } else {
        /* 3 digits, blank, "path=", name, newline */
        int length = (int)(3 + 1 + 5 + sizeof(LONG_NAME) - 1 + 1);

        (void)snprintf(record, sizeof(record), "%d path=%s\n", length,
                       LONG_NAME);
        archive_add(archive, 'x', "PaxHeaders/a", record, (size_t)length);
    }
    archive_add_disk(archive, "a-disk-whose-name-was-cut");
}

static void test_ova__long_names(void **state)
{
    static const char types[] = { 'L', 'x' };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct archive archive = archive_make();

        archive_add_text(
            &archive, "x.ovf",
            OVF_ONE_WITH(OVF_FILE("f", LONG_NAME), OVF_DISK("d", "f")));
        add_disk_with_long_name(&archive, types[i]);
        archive_end(&archive);
        expect_ova(archive, NULL);
    }
}

static void test_ova__ustar_prefix(void **state)
{
    struct archive archive = archive_make();
    uint8_t *header;

    (void)state;
    archive_add_text(
        &archive, "x.ovf",
        OVF_ONE_WITH(OVF_FILE("f", "disks/a.vdi"), OVF_DISK("d", "f")));
    archive_add_disk(&archive, "a.vdi");
    header = archive.memory.bytes + archive.last_header;
    memcpy(header + 345, "disks", 5);
    tar_sum(header);
    archive_end(&archive);
    expect_ova(archive, NULL);
}

/* The size in base-256, and by a pax record with nonsense in the header. */
static void test_ova__large_sizes(void **state)
{
    struct archive archive = archive_make();
    char record[32];
    uint8_t *header;

    (void)state;
    archive_add_text(&archive, "x.ovf", OVF_ONE);
    archive_add_disk(&archive, "a.vdi");
    header = archive.memory.bytes + archive.last_header;
    memset(header + TAR_SIZE_AT, 0, 12);
    header[TAR_SIZE_AT] = 0x80;
    put_be(header + TAR_SIZE_AT + 4, 8, VDI_FILE);
    tar_sum(header);
    archive_end(&archive);
    expect_ova(archive, NULL);

    archive = archive_make();
    archive_add_text(&archive, "x.ovf", OVF_ONE);
    (void)snprintf(record, sizeof(record), "14 size=%u\n", VDI_FILE);
    archive_add(&archive, 'x', "pax", record, 14);
    archive_add_disk(&archive, "a.vdi");
    header = archive.memory.bytes + archive.last_header;
    memcpy(header + TAR_SIZE_AT, "00000000000", 11);
    tar_sum(header);
    archive_end(&archive);
    expect_ova(archive, NULL);
}

/* "./a.vdi" and a directory before it; spaces in the size. */
static void test_ova__as_gnu_tar_writes(void **state)
{
    struct archive archive = archive_make();
    uint8_t *header;

    (void)state;
    archive_add(&archive, '5', "./", NULL, 0);
    archive_add_text(&archive, "./x.ovf", OVF_ONE);
    archive_add_disk(&archive, "./a.vdi");
    header = archive.memory.bytes + archive.last_header;
    put_octal(header + TAR_SIZE_AT, 10, VDI_FILE);
    memset(header + TAR_SIZE_AT, ' ', 4);
    header[TAR_SIZE_AT + 10] = ' ';
    memcpy(header + 257, "ustar  ", 8);
    tar_sum(header);
    archive_end(&archive);
    expect_ova(archive, NULL);
}

/* -- what is refused ------------------------------------------------------- */

static struct archive poked_header(size_t offset, const char *bytes,
                                   size_t length)
{
    struct archive archive = sample_ova(OVF_ONE);
    uint8_t *header = archive.memory.bytes + archive.last_header;

    memcpy(header + offset, bytes, length);
    if (offset != TAR_CHECKSUM_AT)
        tar_sum(header);
    return archive;
}

static void test_ova__header_fields(void **state)
{
    (void)state;
    expect_no_ova(poked_header(TAR_CHECKSUM_AT, "000000", 6), NULL,
                  DS_ERR_CORRUPT, "tar header: checksum");
    expect_no_ova(poked_header(TAR_SIZE_AT, "00000x00000", 11), NULL,
                  DS_ERR_CORRUPT, "tar header: size");
    expect_no_ova(poked_header(TAR_SIZE_AT, "77777777777", 11), NULL,
                  DS_ERR_CORRUPT, "truncated");
    expect_no_ova(poked_header(TAR_SIZE_AT, "\xff\xff\xff\xff", 4), NULL,
                  DS_ERR_CORRUPT, "tar header: size");
    expect_no_ova(poked_header(TAR_SIZE_AT,
                               "\x80\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff"
                               "\xff",
                               12),
                  NULL, DS_ERR_CORRUPT, "truncated");
    expect_no_ova(poked_header(TAR_TYPE_AT, "2", 1), NULL, DS_ERR_UNSUPPORTED,
                  "tar header: type, have 0x32");
    expect_no_ova(poked_header(TAR_TYPE_AT, "S", 1), NULL, DS_ERR_UNSUPPORTED,
                  "not a sparse one");
    expect_no_ova(poked_header(0, "x.ovf\0", 6), NULL, DS_ERR_CORRUPT,
                  "'x.ovf' a second time");
}

static struct archive with_pax(const char *records)
{
    struct archive archive = archive_make();

    archive_add_text(&archive, "x.ovf", OVF_ONE);
    archive_add(&archive, 'x', "pax", records, strlen(records));
    archive_add_disk(&archive, "a.vdi");
    archive_end(&archive);
    return archive;
}

static void test_ova__pax_records(void **state)
{
    (void)state;
    expect_ova(with_pax("16 comment=none\n"), NULL);
    expect_no_ova(with_pax("path=a"), NULL, DS_ERR_CORRUPT, "record: length");
    expect_no_ova(with_pax("99999 path=a\n"), NULL, DS_ERR_CORRUPT,
                  "record: length");
    expect_no_ova(with_pax("0 path=a\n"), NULL, DS_ERR_CORRUPT,
                  "record: length");
    expect_no_ova(with_pax("3 a"), NULL, DS_ERR_CORRUPT, "record: length");
    expect_no_ova(with_pax("9 path:a\n"), NULL, DS_ERR_CORRUPT,
                  "expect KEY=VALUE");
    expect_no_ova(with_pax("11 size=-1\n"), NULL, DS_ERR_CORRUPT, "size:");
    expect_no_ova(with_pax("29 size=18446744073709551616\n"), NULL,
                  DS_ERR_CORRUPT, "size:");
    expect_no_ova(with_pax("29 size=18446744073709551615\n"), NULL,
                  DS_ERR_CORRUPT, "truncated");
    expect_no_ova(with_pax("22 GNU.sparse.major=1\n"), NULL, DS_ERR_UNSUPPORTED,
                  "sparse members");
}

static void test_ova__bounds(void **state)
{
    struct archive archive = archive_make();
    char *large = calloc(1, 70000), name[300];

    (void)state;
    assert_non_null(large);
    archive_add_text(&archive, "x.ovf", OVF_ONE);
    archive_add(&archive, 'x', "pax", large, 70000);
    expect_no_ova(archive, NULL, DS_ERR_LIMIT, "extended header: size");
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    archive = archive_make();
    archive_add(&archive, 'L', "long", name, sizeof(name));
    archive_add_text(&archive, "x", "");
    expect_no_ova(archive, NULL, DS_ERR_LIMIT, "name, have 299 bytes");
    archive = archive_make();
    for (unsigned i = 0; i <= 1024; i++) {
        (void)snprintf(name, sizeof(name), "%u", i);
        archive_add_text(&archive, name, "");
    }
    expect_no_ova(archive, NULL, DS_ERR_LIMIT, "more than 1024 members");
    free(large);
}

/* Cut anywhere: an error, and never a shorter disk. */
static void test_ova__truncated(void **state)
{
    struct archive whole = sample_ova(OVF_ONE);
    uint64_t end = whole.last_header + 512 + VDI_FILE;

    (void)state;
    for (uint64_t size = 512; size < end; size += 997) {
        struct archive cut = sample_ova(OVF_ONE);
        struct ds_image *image;
        struct ds_error err;

        memory_file_resize(&cut.memory, size);
        assert_int_equal(ova_try(&cut, NULL, &image, &err), -DS_ERR_CORRUPT);
        free(cut.memory.bytes);
    }
    free(whole.memory.bytes);
}

/* Every byte of the disk's header and the descriptor's first block. */
static void test_ova__every_byte(void **state)
{
    static const uint8_t values[] = { 0x00, '"', '<', 0x80, 0xff };

    (void)state;
    for (size_t at = 0; at < 2048; at++)
        for (size_t i = 0; i < sizeof(values); i++) {
            struct archive archive = sample_ova(OVF_ONE);
            struct ds_image *image;
            struct ds_error err;

            archive.memory.bytes[at] = values[i];
            tar_sum(archive.memory.bytes);
            if (ova_try(&archive, NULL, &image, &err) == 0)
                ova_format_ops.close(image);
            free(archive.memory.bytes);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ova__probe),
        cmocka_unit_test(test_ova__map_is_of_the_archive),
        cmocka_unit_test(test_ova__regions_are_of_the_archive),
        cmocka_unit_test(test_ova__long_names),
        cmocka_unit_test(test_ova__ustar_prefix),
        cmocka_unit_test(test_ova__large_sizes),
        cmocka_unit_test(test_ova__as_gnu_tar_writes),
        cmocka_unit_test(test_ova__header_fields),
        cmocka_unit_test(test_ova__pax_records),
        cmocka_unit_test(test_ova__bounds),
        cmocka_unit_test(test_ova__truncated),
        cmocka_unit_test(test_ova__every_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
