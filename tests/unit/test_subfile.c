/* SPDX-License-Identifier: Apache-2.0 */
/* engine/base: a part of a file as a file, and digests of parts. */
#include "vhd_testing.h"

#include "digest.h"
#include "subfile.h"

static void test_subfile__read_within(void **state)
{
    struct memory_file memory = memory_file_make(100);
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *part = NULL;
    uint8_t bytes[10];

    (void)state;
    for (uint8_t i = 0; i < 100; i++)
        memory.bytes[i] = i;
    assert_int_equal(ds_subfile_open(&memory.file, "p", 20, 30, &part, &err),
                     0);
    assert_int_equal(part->size_bytes, 30);
    assert_string_equal(part->path, "memory/p");
    assert_int_equal(ds_file_read(part, 20, bytes, 10, &err), 0);
    assert_int_equal(bytes[0], 40);
    assert_int_equal(bytes[9], 49);
    /* The outer file goes on there; the part does not. */
    assert_int_equal(ds_file_read(part, 21, bytes, 10, &err), -DS_ERR_CORRUPT);
    assert_int_equal(err.offset_bytes, 21);
    assert_int_equal(ds_file_read(part, UINT64_MAX, bytes, 10, &err),
                     -DS_ERR_CORRUPT);
    ds_file_close(part);
    free(memory.bytes);
}

static void test_subfile__range_is_in_the_file(void **state)
{
    struct memory_file memory = memory_file_make(100);
    struct ds_file *part = NULL;

    (void)state;
    assert_int_equal(ds_subfile_open(&memory.file, "p", 71, 30, &part, NULL),
                     -DS_ERR_CORRUPT);
    assert_int_equal(
        ds_subfile_open(&memory.file, "p", UINT64_MAX, 2, &part, NULL),
        -DS_ERR_CORRUPT);
    assert_null(part);
    assert_int_equal(ds_subfile_open(&memory.file, "p", 100, 0, &part, NULL),
                     0);
    ds_file_close(part);
    free(memory.bytes);
}

static void test_subfile__no_references(void **state)
{
    struct memory_file memory = memory_file_make(100);
    struct ds_file *part = NULL, *other = NULL;

    (void)state;
    assert_int_equal(ds_subfile_open(&memory.file, "p", 0, 100, &part, NULL),
                     0);
    assert_int_equal(part->store->open_reference(part, NULL, "x", &other, NULL),
                     -DS_ERR_REFUSED);
    assert_null(other);
    ds_file_close(part);
    free(memory.bytes);
}

/* Extents that begin before the part and end behind it. */
static void test_subfile__physical_is_cut(void **state)
{
    static const struct ds_physical_extent extents[] = {
        { 0, 8192, 100000, 0 },
        { 16384, 65536, 900000, DS_PHYSICAL_UNWRITTEN },
    };
    struct memory_file memory = memory_file_make(100000);
    struct ds_physical_extent out[4];
    struct ds_file *part = NULL;
    size_t count = 0;

    (void)state;
    memory.extents = extents;
    memory.extent_count = 2;
    assert_int_equal(
        ds_subfile_open(&memory.file, "p", 4096, 20480, &part, NULL), 0);
    assert_int_equal(
        part->store->physical(part, 0, 20480, out, 4, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_int_equal(out[0].offset_bytes, 0);
    assert_int_equal(out[0].length_bytes, 4096);
    assert_int_equal(out[0].physical_bytes, 104096);
    assert_int_equal(out[1].offset_bytes, 12288);
    assert_int_equal(out[1].length_bytes, 8192);
    assert_int_equal(out[1].physical_bytes, 900000);
    assert_int_equal(out[1].flags, DS_PHYSICAL_UNWRITTEN);
    ds_file_close(part);
    free(memory.bytes);
}

static int digest_of(enum ds_digest_kind kind, struct memory_file *memory,
                     uint64_t offset, uint64_t length, uint8_t *digest)
{
    struct ds_digest_part part = { .file = &memory->file,
                                   .offset_bytes = offset,
                                   .length_bytes = length };

    return ds_digest_file(kind, &part, digest, NULL);
}

/* Of "abc", from FIPS 180-4's examples; and of a range over the buffers. */
static void test_digest__known(void **state)
{
    static const uint8_t sha1[] = { 0xa9, 0x99, 0x3e, 0x36 };
    static const uint8_t sha256[] = { 0xba, 0x78, 0x16, 0xbf };
    static const uint8_t sha512[] = { 0xdd, 0xaf, 0x35, 0xa1 };
    /* `head -c 9437189 /dev/zero | sha256sum` */
    static const uint8_t zeros[] = { 0x4c, 0xbc, 0x5a, 0xdc };
    const uint64_t length = 9 * DS_MIB + 5;
    struct memory_file memory = memory_file_make(length + 3);
    uint8_t digest[DS_DIGEST_BYTES_MAX];

    (void)state;
    memcpy(memory.bytes, "abc", 3);
    assert_int_equal(digest_of(DS_DIGEST_SHA1, &memory, 0, 3, digest), 0);
    assert_memory_equal(digest, sha1, 4);
    assert_int_equal(digest_of(DS_DIGEST_SHA256, &memory, 0, 3, digest), 0);
    assert_memory_equal(digest, sha256, 4);
    assert_int_equal(digest_of(DS_DIGEST_SHA512, &memory, 0, 3, digest), 0);
    assert_memory_equal(digest, sha512, 4);
    assert_int_equal(digest_of(DS_DIGEST_SHA256, &memory, 3, length, digest),
                     0);
    assert_memory_equal(digest, zeros, 4);
    assert_int_equal(digest_of(DS_DIGEST_SHA256, &memory, 4, length, digest),
                     -DS_ERR_CORRUPT);
    free(memory.bytes);
}

static int stop_at(void *user, uint64_t done_bytes)
{
    return done_bytes >= *(const uint64_t *)user;
}

static void test_digest__cancelled(void **state)
{
    struct memory_file memory = memory_file_make(13 * DS_MIB);
    uint64_t limit = 8 * DS_MIB;
    struct ds_digest_part part = { .file = &memory.file,
                                   .length_bytes = 13 * DS_MIB,
                                   .progress = stop_at,
                                   .user = &limit };
    uint8_t digest[DS_DIGEST_BYTES_MAX];

    (void)state;
    assert_int_equal(ds_digest_file(DS_DIGEST_SHA1, &part, digest, NULL),
                     -DS_ERR_CANCELLED);
    limit = UINT64_MAX;
    assert_int_equal(ds_digest_file(DS_DIGEST_SHA1, &part, digest, NULL), 0);
    free(memory.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subfile__read_within),
        cmocka_unit_test(test_subfile__range_is_in_the_file),
        cmocka_unit_test(test_subfile__no_references),
        cmocka_unit_test(test_subfile__physical_is_cut),
        cmocka_unit_test(test_digest__known),
        cmocka_unit_test(test_digest__cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
