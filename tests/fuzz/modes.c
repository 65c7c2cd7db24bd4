/* SPDX-License-Identifier: Apache-2.0 */
#include "modes.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "arith.h"
#include "codec.h"
#include "harness.h"
#include "luks_image.h"
#include "memory_store.h"
#ifdef DS_NFS
#include "nfs_replies.h"
#endif
#include "whole.h"

static struct fuzz_case fuzz;

/* -- whole conversions ------------------------------------------------------*/

static const struct whole_target targets[] = {
    { .format = "raw" },
    { .format = "qcow2" },
    { .format = "vmdk" },
    { .format = "vhdx" },
    { .format = "vhd" },
    { .format = "vdi" },
    { .format = "qcow2", .strategy = DS_STRATEGY_GRAFT },
    { .format = "vmdk", .strategy = DS_STRATEGY_GRAFT },
    { .format = "vhdx", .strategy = DS_STRATEGY_GRAFT },
    { .format = "qcow2", .strategy = DS_STRATEGY_RANGE },
    { .format = "vmdk", .strategy = DS_STRATEGY_RANGE },
    { .format = "raw", .strategy = DS_STRATEGY_GRAFT },
    { .format = "qcow2", .options = { "compress=zlib" }, .option_count = 1 },
    { .format = "qcow2", .options = { "compress=zstd" }, .option_count = 1 },
    { .format = "vmdk",
      .options = { "subformat=streamOptimized" },
      .option_count = 1 },
    { .format = "vmdk", .options = { "subformat=vmfs" }, .option_count = 1 },
    { .format = "vmdk",
      .options = { "subformat=twoGbMaxExtentSparse" },
      .option_count = 1 },
    { .format = "vmdk", .options = { "subformat=overlay" }, .option_count = 1 },
    { .format = "vmdk",
      .options = { "subformat=overlay" },
      .option_count = 1,
      .share_source_file = true },
    { .format = "qcow2",
      .options = { "data_file=yes" },
      .option_count = 1,
      .share_source_file = true },
    { .format = "qcow2", .options = { "data_file=yes" }, .option_count = 1 },
    { .format = "qcow2", .options = { "cluster_size=512" }, .option_count = 1 },
    { .format = "qcow2",
      .options = { "extended_l2=yes", "cluster_size=128k" },
      .option_count = 2 },
    { .format = "qcow2",
      .options = { "refcount_bits=1", "cluster_size=4k" },
      .option_count = 2 },
    { .format = "vhdx", .options = { "subformat=fixed" }, .option_count = 1 },
    { .format = "vhd", .options = { "subformat=fixed" }, .option_count = 1 },
    { .format = "vdi", .options = { "subformat=static" }, .option_count = 1 },
};
#define TARGET_COUNT (sizeof(targets) / sizeof(targets[0]))

/* Checks of what is large are for the formats' own fuzzers. */
#define FILE_BYTES_MAX DS_GIB

static void prepare(const uint8_t *input, size_t length_bytes)
{
    fuzz_case_parse(&fuzz, input, length_bytes);
    if ((fuzz.flags & FUZZ_AS_IT_IS) == 0)
        fuzz_case_repair(&fuzz);
    for (size_t i = 0; i < fuzz.file_count; i++)
        fuzz.files[i].size_bytes %= FILE_BYTES_MAX;
    memory_store_set(&fuzz);
}

static int convert(const uint8_t *input, size_t length_bytes)
{
    struct ds_open_options options = { .key_file = luks_image_key_file() };
    struct whole whole;

    prepare(input, length_bytes);
    options.no_refs = (fuzz.flags & FUZZ_NO_REFS) != 0;
    options.snapshot = (fuzz.flags & FUZZ_SNAPSHOT) != 0 ? "1" : NULL;
    options.member = (fuzz.flags & FUZZ_MEMBER) != 0 ? "1" : NULL;
    whole_run(&options, &targets[fuzz.choice % TARGET_COUNT], &whole);
    memory_store_set(&fuzz); /* the target's memory */
    return whole.result == 0 ? 3 : whole.size_bytes != 0 ? 1 : 0;
}

/* -- text -------------------------------------------------------------------*/

static const struct fuzz_piece word = {
    .length_bytes = 9,
    .bytes = (const uint8_t *)"the words",
};

static void add_flat(const char *name)
{
    struct fuzz_file *file = &fuzz.files[fuzz.file_count++];

    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    file->size_bytes = (uint64_t)64 * 1024;
    file->pieces[0] = word;
    file->piece_count = 1;
}

/* An input without the magic of a case is the text; beside it lie two flat
 * files and a manifest that says nothing. */
static int text(const uint8_t *input, size_t length_bytes)
{
    struct ds_open_options options = { 0 };
    struct whole whole;

    fuzz_case_parse(&fuzz, input, length_bytes);
    if (fuzz.file_count == 1) {
        add_flat("a");
        add_flat("b");
    }
    memory_store_set(&fuzz);
    options.format = length_bytes > 0 && input[0] == '<' ? "ova" : "vmdk";
    whole_run(&options, &targets[length_bytes % 3], &whole);
    memory_store_set(&fuzz);
    return whole.result == 0 ? 3 : whole.size_bytes != 0 ? 1 : 0;
}

/* -- codecs -----------------------------------------------------------------*/

/* codec(1) log2 of the unit(1) skip(1), what is stored. */
static int codec(const uint8_t *input, size_t length_bytes)
{
    static const enum ds_codec codecs[] = { DS_CODEC_DEFLATE, DS_CODEC_ZLIB,
                                            DS_CODEC_ZSTD };
    static uint8_t out[DS_ENCODED_UNIT_BYTES_MAX];
    struct ds_extent extent = { .kind = DS_EXTENT_ENCODED };
    struct ds_error err = DS_ERROR_INIT;
    struct decoder *decoder = NULL;
    struct ds_file *file = NULL;
    int result;

    if (length_bytes < 4)
        return 0;
    fuzz_case_parse(&fuzz, input + 3, length_bytes - 3);
    memory_store_set(&fuzz);
    extent.encoding = (struct ds_encoding){
        .codec = codecs[input[0] % 3],
        .unit_bytes = UINT64_C(512) << input[1] % 13,
        .stored_bytes = fuzz.files[0].size_bytes % (4 * DS_MIB),
    };
    extent.encoding.unit_least_bytes =
        (input[1] & 0x80) != 0 ? DS_SECTOR_BYTES : 0;
    extent.length_bytes = extent.encoding.unit_bytes;
    if (memory_store_ops.open("image", &file, &err) != 0)
        return 0;
    result = decoder_open(&decoder, &err);
    if (result == 0)
        result =
            decoder_read(decoder, file, &extent,
                         DS_SECTOR_BYTES * (input[2] & 1) % extent.length_bytes,
                         DS_SECTOR_BYTES, out, &err);
    assert(result == 0 || err.message[0] != '\0');
    if (result == 0)
        result = decoder_read(decoder, file, &extent, 0,
                              (size_t)extent.length_bytes, out, &err);
    decoder_close(decoder);
    ds_file_close(file);
    return result == 0 ? 3 : 1;
}

/* -- by name ----------------------------------------------------------------*/

int fuzz_mode(const char *name, const uint8_t *input, size_t length_bytes)
{
    if (strcmp(name, "convert") == 0)
        return convert(input, length_bytes);
    if (strcmp(name, "text") == 0)
        return text(input, length_bytes);
    if (strcmp(name, "codec") == 0)
        return codec(input, length_bytes);
#ifdef DS_NFS
    if (strcmp(name, "nfs") == 0)
        return fuzz_nfs_replies(input, length_bytes);
#endif
    return -1;
}
