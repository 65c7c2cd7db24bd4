/* SPDX-License-Identifier: Apache-2.0 */
/* What was once a hole in a peer: see "Lessons" in tests/README.md for those
 * that are shown elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arith.h"
#include "codec.h"
#include "disk.h"
#include "memory_store.h"
#include "poke.h"

static struct fuzz_case fuzz;

static void set_file(const char *name, const void *bytes, size_t length)
{
    (void)memset(&fuzz, 0, sizeof(fuzz));
    fuzz.file_count = 1;
    (void)strcpy(fuzz.files[0].name, name);
    fuzz.files[0].size_bytes = length;
    fuzz.files[0].piece_count = 1;
    fuzz.files[0].pieces[0] =
        (struct fuzz_piece){ .length_bytes = (uint32_t)length, .bytes = bytes };
    fuzz_case_repair(&fuzz);
    memory_store_set(&fuzz);
}

/* -- decompression bombs ----------------------------------------------------*/

#define UNIT_BYTES 512u

static void expect_no_unit(enum ds_codec codec, const void *stored,
                           size_t length)
{
    static uint8_t out[UNIT_BYTES];
    struct ds_extent extent = {
        .kind = DS_EXTENT_ENCODED,
        .length_bytes = UNIT_BYTES,
        .encoding = { .codec = codec,
                      .unit_bytes = UNIT_BYTES,
                      .stored_bytes = length },
    };
    struct ds_error err = DS_ERROR_INIT;
    struct decoder *decoder = NULL;
    struct ds_file *file = NULL;

    set_file("image", stored, length);
    assert_int_equal(memory_store_ops.open("image", &file, &err), 0);
    assert_int_equal(decoder_open(&decoder, &err), 0);
    assert_int_equal(
        decoder_read(decoder, file, &extent, 0, UNIT_BYTES, out, &err),
        -DS_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "do not decode to a unit of 512"));
    decoder_close(decoder);
    ds_file_close(file);
}

/* Blocks of 1024 bytes where a unit has 512; what is said to be 1 GiB. */
static void test_lessons__decompression_bombs(void **state)
{
    static uint8_t stored[5 + 1024] = { 0x01, 0x00, 0x04, 0xff, 0xfb };
    static uint8_t wrapped[2 + sizeof(stored) + 4] = { 0x78, 0x01 };
    /* RFC 8878: one segment, 4 bytes of size; RLE blocks of 128 KiB */
    static uint8_t frame[9 + 4 * 8192] = { 0x28, 0xb5, 0x2f, 0xfd, 0xa0,
                                           0x00, 0x00, 0x00, 0x40 };

    (void)state;
    for (size_t i = 9; i < sizeof(frame); i += 4)
        memcpy(frame + i, "\x02\x00\x10", 4);
    memcpy(wrapped + 2, stored, sizeof(stored));
    expect_no_unit(DS_CODEC_DEFLATE, stored, sizeof(stored));
    expect_no_unit(DS_CODEC_ZLIB, wrapped, sizeof(wrapped));
    expect_no_unit(DS_CODEC_ZSTD, frame, sizeof(frame));
}

/* -- a guest's bytes taken for a format -------------------------------------*/

static void expect_refused(const char *words)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_disk *disk = NULL;

    assert_int_equal(ds_disk_open("image", NULL, &disk, &err), -DS_ERR_REFUSED);
    if (strstr(err.message, words) == NULL)
        fail_msg("have '%s' expect '%s'", err.message, words);
}

static void test_lessons__header_written_by_a_guest(void **state)
{
    static uint8_t disk[4096];

    (void)state;
    memcpy(disk, "QFI\xfb\0\0\0\3", 8);
    set_file("disk.raw", disk, sizeof(disk));
    expect_refused("its name says raw and its content qcow2");
    memcpy(disk + sizeof(disk) - 512, "conectix", 8);
    set_file("disk", disk, sizeof(disk));
    expect_refused("fits both");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lessons__decompression_bombs),
        cmocka_unit_test(test_lessons__header_written_by_a_guest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
