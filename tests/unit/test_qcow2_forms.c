/* SPDX-License-Identifier: Apache-2.0 */
/* The qcow2 reader's further forms, on images made by hand from the format
 * document: compressed clusters, extended L2 entries, external data files,
 * backing names, snapshots. */
#include "qcow2_forms_fixture.h"

static void add_extension(struct memory_file *file, uint32_t type,
                          const void *data, size_t length)
{
    uint64_t at = 112;

    while (peek(file, at, 4) != 0)
        at += 8 + ds_align_up(peek(file, at + 4, 4), 8);
    poke(file, at, 4, type);
    poke(file, at + 4, 4, length);
    memcpy(file->bytes + at + 8, data, length);
}

static struct ds_extent one(struct memory_file *file, uint64_t guest)
{
    struct ds_image *image = NULL;
    struct ds_cursor cursor = { 0 };
    struct ds_extent extent = { 0 };
    struct ds_error err = DS_ERROR_INIT;

    if (open_image(file, &image, &err) != 0)
        fail_msg("%s", err.message);
    if (qcow2_format_ops.extent_at(image, &cursor, guest, &extent, &err) != 0)
        fail_msg("%s", err.message);
    ds_window_free(&cursor.table);
    qcow2_format_ops.close(image);
    return extent;
}

static void assert_refused(struct memory_file *file, int error_class,
                           const char *words)
{
    struct ds_error err = DS_ERROR_INIT;
    static struct extents e;

    if (read_all(file, &e, &err) != -error_class ||
        strstr(err.message, words) == NULL)
        fail_msg("class %s, '%s' in '%s'", ds_error_class_name(err.error_class),
                 words, err.message);
}

/* -- compressed ------------------------------------------------------------ */

/* The border for 16 KiB clusters is bit 62 - (14 - 8) = 56. */
static void test_qcow2_forms__compressed_descriptor(void **state)
{
    struct memory_file file = image_plain();
    struct ds_extent extent;

    (void)state;
    poke(&file, L2, 8, COMPRESSED | UINT64_C(2) << 56 | (5 * C + 700));
    extent = one(&file, 1000);
    assert_int_equal(extent.kind, DS_EXTENT_ENCODED);
    assert_int_equal(extent.encoding.codec, DS_CODEC_DEFLATE);
    assert_int_equal(extent.file_offset_bytes, 5 * C + 700);
    assert_int_equal(extent.encoding.stored_bytes, 3 * 512 - 700 % 512);
    assert_int_equal(extent.encoding.unit_bytes, C);
    assert_int_equal(extent.encoding.skip_bytes, 1000);
    assert_int_equal(extent.length_bytes, C - 1000);
    /* zstd by the header's word */
    poke(&file, 72, 8, 8);
    poke(&file, 104, 1, 1);
    assert_int_equal(one(&file, 0).encoding.codec, DS_CODEC_ZSTD);
    /* the disk ends inside the unit */
    poke(&file, 24, 8, 512);
    extent = one(&file, 0);
    assert_int_equal(extent.length_bytes, 512);
    assert_int_equal(extent.encoding.unit_bytes, C);
    memory_free(&file);
}

static void test_qcow2_forms__compressed_at_the_end_of_the_file(void **state)
{
    struct memory_file file = image_plain();

    (void)state;
    poke(&file, L2, 8, COMPRESSED | (FILE_BYTES - 100));
    assert_int_equal(one(&file, 0).encoding.stored_bytes, 100);
    file.base.size_bytes -= 10; /* inside the last sector */
    assert_int_equal(one(&file, 0).encoding.stored_bytes, 90);
    poke(&file, L2, 8, COMPRESSED | UINT64_C(1) << 56 | (FILE_BYTES - 100));
    assert_refused(&file, DS_ERR_CORRUPT, "compressed cluster, have 2 sectors");
    poke(&file, L2, 8, COMPRESSED | UINT64_C(0xffffffffffffff));
    assert_refused(&file, DS_ERR_CORRUPT, "compressed cluster");
    memory_free(&file);
}

/* -- extended L2 ----------------------------------------------------------- */

static void test_qcow2_forms__subclusters(void **state)
{
    struct memory_file file = image_plain();
    const uint64_t sub = C / 32;
    static struct extents e;

    (void)state;
    poke(&file, 72, 8, 16);
    /* cluster 0: 3 allocated, 2 zero, the rest asks below */
    poke(&file, L2, 8, (5 * C) | COPIED);
    poke(&file, L2 + 8, 8, UINT64_C(0x18) << 32 | 0x7);
    /* cluster 1: all; cluster 2: zero, without a place */
    poke(&file, L2 + 16, 8, (6 * C) | COPIED);
    poke(&file, L2 + 24, 8, 0xffffffff);
    poke(&file, L2 + 40, 8, UINT64_C(0xffffffff) << 32);
    assert_int_equal(read_all(&file, &e, NULL), 0);
    assert_extent(&e, 0, DS_EXTENT_DATA, 3 * sub, 5 * C);
    assert_extent(&e, 1, DS_EXTENT_ZERO, 2 * sub, 0);
    assert_extent(&e, 2, DS_EXTENT_HOLE, 27 * sub, 0);
    assert_extent(&e, 3, DS_EXTENT_DATA, C, 6 * C);
    assert_extent(&e, 4, DS_EXTENT_ZERO, C, 0);
    assert_extent(&e, 5, DS_EXTENT_HOLE, 5 * C, 0);
    assert_int_equal(one(&file, sub).file_offset_bytes, 5 * C + sub);
    memory_free(&file);
}

static void test_qcow2_forms__subcluster_rules(void **state)
{
    struct memory_file file = image_plain();

    (void)state;
    poke(&file, 72, 8, 16);
    poke(&file, L2, 8, 5 * C);
    poke(&file, L2 + 8, 8, UINT64_C(1) << 32 | 1);
    assert_refused(&file, DS_ERR_CORRUPT, "both allocated and zero");
    poke(&file, L2 + 8, 8, 1);
    poke(&file, L2, 8, 5 * C | 1);
    assert_refused(&file, DS_ERR_CORRUPT, "reserved bits");
    poke(&file, L2, 8, 0);
    assert_refused(&file, DS_ERR_CORRUPT, "l2 entry, have 0x0");
    poke(&file, L2, 8, COMPRESSED | 5 * C);
    assert_refused(&file, DS_ERR_CORRUPT, "subclusters of a compressed");
    /* only what is allocated must be in the file */
    poke(&file, L2, 8, 9 * C);
    assert_int_equal(one(&file, 0).length_bytes, 512);
    poke(&file, L2 + 8, 8, 3);
    assert_refused(&file, DS_ERR_CORRUPT, "have 1024 bytes");
    memory_free(&file);
}

/* -- other files ----------------------------------------------------------- */

static struct memory_file data_file;
static const char *asked_name;

static int open_data(const struct ds_file *from, const char *allow_directory,
                     const char *file_name, struct ds_file **out,
                     struct ds_error *err)
{
    (void)from;
    (void)allow_directory;
    (void)err;
    asked_name = file_name;
    *out = &data_file.base;
    return 0;
}

static void close_nothing(struct ds_file *file)
{
    (void)file;
}

static const struct ds_store_ops two_files = {
    .name = "two",
    .read = memory_read,
    .open_reference = open_data,
    .close = close_nothing,
};

static int open_two(struct memory_file *file, struct ds_image **out,
                    struct ds_error *err)
{
    static const struct ds_open_context context = { 0 };

    file->base.store = &two_files;
    data_file.base.store = &two_files;
    return qcow2_format_ops.open(&file->base, &context, out, err);
}

static void test_qcow2_forms__external_data_file(void **state)
{
    struct memory_file file = image_plain();
    struct ds_image *image = NULL;
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_extent extent;

    (void)state;
    memory_init(&data_file, 2 * C);
    poke(&file, 72, 8, 4);
    add_extension(&file, 0x44415441, "disk.raw", 8);
    poke(&file, L2, 8, COPIED); /* offset 0, and used */
    poke(&file, L2 + 8, 8, COPIED | C);
    assert_int_equal(open_two(&file, &image, &err), 0);
    assert_string_equal(asked_name, "disk.raw");
    assert_int_equal(image->file_count, 2);
    assert_int_equal(
        qcow2_format_ops.extent_at(image, &cursor, 0, &extent, &err), 0);
    assert_int_equal(extent.kind, DS_EXTENT_DATA);
    assert_int_equal(extent.file_index, 1);
    assert_int_equal(extent.file_offset_bytes, 0);
    assert_int_equal(extent.length_bytes, 2 * C);
    poke(&file, L2, 8, COPIED | C); /* not where the guest has it */
    ds_window_free(&cursor.table);
    cursor = (struct ds_cursor){ 0 };
    assert_int_equal(
        qcow2_format_ops.extent_at(image, &cursor, 0, &extent, &err),
        -DS_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "expect the guest's offset"));
    poke(&file, L2, 8, COPIED | 2 * C);
    ds_window_free(&cursor.table);
    cursor = (struct ds_cursor){ 0 };
    poke(&file, L2 + 16, 8, COPIED | 2 * C);
    assert_int_equal(
        qcow2_format_ops.extent_at(image, &cursor, 2 * C, &extent, &err),
        -DS_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "data file of 32768"));
    ds_window_free(&cursor.table);
    qcow2_format_ops.close(image);
    memory_free(&file);
    memory_free(&data_file);
}

static void test_qcow2_forms__raw_data_file_has_no_backing(void **state)
{
    struct memory_file file = image_plain();
    struct ds_image *image = NULL;

    (void)state;
    poke(&file, 72, 8, 4);
    poke(&file, 88, 8, 2);
    poke(&file, 8, 8, 4096);
    poke(&file, 16, 4, 3);
    add_extension(&file, 0x44415441, "disk.raw", 8);
    assert_int_equal(open_two(&file, &image, NULL), -DS_ERR_CORRUPT);
    memory_free(&file);
}

static void set_backing(struct memory_file *file, const char *text)
{
    poke(file, 8, 8, 4096);
    poke(file, 16, 4, strlen(text));
    memcpy(file->bytes + 4096, text, strlen(text));
}

static void assert_parent(const char *stored, const char *format,
                          const char *expect_name, const char *expect_format)
{
    struct memory_file file = image_plain();
    struct ds_image *image = NULL;
    struct ds_parent parent;
    struct ds_error err = DS_ERROR_INIT;

    set_backing(&file, stored);
    if (format != NULL)
        add_extension(&file, 0xe2792aca, format, strlen(format));
    assert_int_equal(open_image(&file, &image, &err), 0);
    assert_true(qcow2_format_ops.parent(image, &parent));
    assert_int_equal(parent.name_count, 1);
    assert_string_equal(parent.names[0], expect_name);
    if (expect_format == NULL)
        assert_null(parent.format);
    else
        assert_string_equal(parent.format, expect_format);
    qcow2_format_ops.close(image);
    memory_free(&file);
}

static void test_qcow2_forms__backing_names(void **state)
{
    static const char *const refused[] = { "json:{\"file\":1}", "nbd://h/x",
                                           "fat:rw:/tmp", "file:///etc/x",
                                           "http:x" };
    struct memory_file file = image_plain();
    struct ds_image *image = NULL;
    struct ds_parent parent;

    (void)state;
    assert_int_equal(open_image(&file, &image, NULL), 0);
    assert_false(qcow2_format_ops.parent(image, &parent));
    qcow2_format_ops.close(image);
    assert_parent("base.img", NULL, "base.img", NULL);
    assert_parent("/a/b:c", "raw", "/a/b:c", "raw");
    assert_parent("file:x y", "vpc", "x y", "vhd");
    assert_parent("x", "vdi", "x", "vdi");
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        set_backing(&file, refused[i]);
        assert_refused(&file, DS_ERR_UNSUPPORTED, "backing file '");
    }
    set_backing(&file, "base");
    file.bytes[4097] = 0;
    assert_refused(&file, DS_ERR_CORRUPT, "zero byte");
    set_backing(&file, "base");
    add_extension(&file, 0xe2792aca, "qed", 3);
    assert_refused(&file, DS_ERR_UNSUPPORTED, "backing format 'qed'");
    memory_free(&file);
}

/* -- snapshots ------------------------------------------------------------- */

static int assert_snapshot(void *user, const struct ds_snapshot *snapshot,
                           struct ds_error *err)
{
    (void)err;
    *(unsigned *)user += 1;
    assert_string_equal(snapshot->id, "7");
    assert_string_equal(snapshot->name, "then");
    assert_int_equal(snapshot->created_seconds, 1000);
    assert_int_equal(snapshot->size_bytes, DISK_BYTES / 2);
    return 0;
}

static int open_snapshot(struct memory_file *file, const char *wanted,
                         struct ds_image **image, struct ds_error *err)
{
    const struct ds_open_context context = { .no_refs = true,
                                             .snapshot = wanted };

    return qcow2_format_ops.open(&file->base, &context, image, err);
}

static void test_qcow2_forms__snapshot_is_a_disk(void **state)
{
    static const char *const names[] = { "7", "then" };
    struct memory_file file = image_with_snapshot();
    struct ds_image *image = NULL;
    struct ds_error err = DS_ERROR_INIT;
    static struct extents e;
    unsigned count = 0;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(open_snapshot(&file, names[i], &image, &err), 0);
        assert_int_equal(image->size_bytes, DISK_BYTES / 2);
        assert_int_equal(walk_map(image, &e, &err), 0);
        assert_extent(&e, 0, DS_EXTENT_HOLE, C, 0);
        assert_extent(&e, 1, DS_EXTENT_DATA, C, 6 * C);
        assert_extent(&e, 2, DS_EXTENT_HOLE, 2 * C, 0);
        assert_int_equal(
            qcow2_format_ops.snapshots(image, assert_snapshot, &count, &err),
            0);
        qcow2_format_ops.close(image);
    }
    assert_int_equal(count, 2);
    image = NULL;
    assert_int_equal(open_snapshot(&file, "now", &image, &err), -DS_ERR_ARG);
    assert_null(image);
    /* the disk was larger than its L1 table */
    poke(&file, 24, 8, UINT64_C(16384) * 2048 * 2);
    poke(&file, SNAPSHOTS + 48, 8, UINT64_C(16384) * 2048 * 2);
    poke(&file, 36, 4, 2);
    assert_int_equal(open_snapshot(&file, "7", &image, &err), -DS_ERR_CORRUPT);
    /* without a size of its own what is missing is a hole */
    poke(&file, SNAPSHOTS + 36, 4, 0);
    memcpy(file.bytes + SNAPSHOTS + 40, "7then", 5);
    assert_int_equal(open_snapshot(&file, "then", &image, &err), 0);
    assert_int_equal(walk_map(image, &e, &err), 0);
    assert_extent(&e, 1, DS_EXTENT_DATA, C, 6 * C);
    qcow2_format_ops.close(image);
    memory_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qcow2_forms__compressed_descriptor),
        cmocka_unit_test(test_qcow2_forms__compressed_at_the_end_of_the_file),
        cmocka_unit_test(test_qcow2_forms__subclusters),
        cmocka_unit_test(test_qcow2_forms__subcluster_rules),
        cmocka_unit_test(test_qcow2_forms__external_data_file),
        cmocka_unit_test(test_qcow2_forms__raw_data_file_has_no_backing),
        cmocka_unit_test(test_qcow2_forms__backing_names),
        cmocka_unit_test(test_qcow2_forms__snapshot_is_a_disk),
    };

    return cmocka_run_group_tests_name("qcow2_forms", tests, NULL, NULL);
}
