/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small VHDX made by hand, for the tests: literal offsets from [MS-VHDX],
 * none of the product's encoders. It lives in memory; the file may be larger
 * than the memory, the rest reads as zeros.
 *
 *   0 headers | 1M log | 2M metadata | 3M BAT | 4M.. blocks of 1 MiB
 *
 *   block  0        1        2     3            4        5         6 (512 B)
 *   entry  4M full  5M full  zero  not present  7M full  unmapped  8M full
 */
#ifndef VHDX_FIXTURE_H
#define VHDX_FIXTURE_H

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arith.h"
#include "crc32c.h"
#include "fail.h"
#include "format.h"

#define MIB 1048576u
#define FIX_HEADER_1 0x10000u
#define FIX_HEADER_2 0x20000u
#define FIX_REGIONS_1 0x30000u
#define FIX_REGIONS_2 0x40000u
#define FIX_LOG MIB
#define FIX_METADATA (2 * MIB)
#define FIX_BAT (3 * MIB)
#define FIX_BYTES (9 * MIB)
#define FIX_DISK_BYTES (UINT64_C(6) * MIB + 512)

extern const struct ds_format_ops vhdx_format_ops;

struct memory_file {
    struct ds_file file;
    uint8_t *bytes;
    size_t length_bytes;
    int fail_read; /* fails when it counts down to 0; negative: never */
};

static inline int memory_read(struct ds_file *file, uint64_t offset_bytes,
                              void *buffer, size_t length_bytes,
                              struct ds_error *err)
{
    struct memory_file *memory = (struct memory_file *)file;

    if (memory->fail_read >= 0 && memory->fail_read-- == 0)
        return ds_fail_errno(err, EIO, "memory", "read");
    if (!ds_range_fits(offset_bytes, length_bytes, file->size_bytes))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "memory: truncated");
    memset(buffer, 0, length_bytes);
    if (offset_bytes < memory->length_bytes)
        memcpy(buffer, memory->bytes + offset_bytes,
               ds_min_u64(length_bytes, memory->length_bytes - offset_bytes));
    return 0;
}

static inline void memory_close(struct ds_file *file)
{
    (void)file;
}

static const struct ds_store_ops memory_store = {
    .name = "memory",
    .read = memory_read,
    .close = memory_close,
};

static inline void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static inline uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

/* CRC-32C with the field at byte 4 as zero. */
static inline void seal(uint8_t *record, size_t length_bytes)
{
    put(record + 4, 0, 4);
    put(record + 4, ds_crc32c(0, record, length_bytes), 4);
}

static inline void fix_header(uint8_t *at, uint64_t sequence)
{
    memcpy(at, "head", 4);
    put(at + 8, sequence, 8);
    memset(at + 16, 0x11, 16);
    memset(at + 32, 0x22, 16);
    put(at + 66, 1, 2);
    put(at + 68, MIB, 4);
    put(at + 72, FIX_LOG, 8);
    seal(at, 4096);
}

static const uint8_t fix_bat_guid[16] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6,
                                          0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e,
                                          0x9b, 0xfd, 0x4a, 0x08 };
static const uint8_t fix_metadata_guid[16] = { 0x06, 0xa2, 0x7c, 0x8b,
                                               0x90, 0x47, 0x9a, 0x4b,
                                               0xb8, 0xfe, 0x57, 0x5f,
                                               0x05, 0x0f, 0x88, 0x6e };

static inline void fix_region(uint8_t *entry, const uint8_t *guid,
                              uint64_t offset, uint32_t length,
                              uint32_t required)
{
    memcpy(entry, guid, 16);
    put(entry + 16, offset, 8);
    put(entry + 24, length, 4);
    put(entry + 28, required, 4);
}

static inline void fix_regions(uint8_t *at)
{
    memcpy(at, "regi", 4);
    put(at + 8, 2, 4);
    fix_region(at + 16, fix_bat_guid, FIX_BAT, MIB, 1);
    fix_region(at + 48, fix_metadata_guid, FIX_METADATA, MIB, 1);
    seal(at, 65536);
}

/* Item `index` of the metadata table: id, place, flags. */
static inline void fix_item(uint8_t *metadata, unsigned index,
                            const uint8_t *id, uint32_t offset, uint32_t length,
                            uint32_t flags)
{
    uint8_t *at = metadata + 32 + 32 * index;

    memcpy(at, id, 16);
    put(at + 16, offset, 4);
    put(at + 20, length, 4);
    put(at + 24, flags, 4);
}

static inline void fix_metadata(uint8_t *at)
{
    static const uint8_t ids[5][16] = {
        { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33,
          0xf0, 0xaa, 0x44, 0xe7, 0x6b }, /* file parameters */
        { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d,
          0xbe, 0xd8, 0x3b, 0xf4, 0xb8 }, /* virtual disk size */
        { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2,
          0x33, 0xa8, 0xfa, 0xab, 0x5f }, /* logical sector size */
        { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9,
          0x88, 0x52, 0x51, 0xc5, 0x56 }, /* physical sector size */
        { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3,
          0x09, 0xe0, 0x00, 0xc7, 0x46 }, /* virtual disk id */
    };

    memcpy(at, "metadata", 8);
    put(at + 10, 5, 2);
    fix_item(at, 0, ids[0], 0x10000, 8, 4);
    fix_item(at, 1, ids[1], 0x10008, 8, 6);
    fix_item(at, 2, ids[2], 0x10010, 4, 6);
    fix_item(at, 3, ids[3], 0x10014, 4, 6);
    fix_item(at, 4, ids[4], 0x10018, 16, 6);
    put(at + 0x10000, MIB, 4);
    put(at + 0x10008, FIX_DISK_BYTES, 8);
    put(at + 0x10010, 512, 4);
    put(at + 0x10014, 4096, 4);
    memset(at + 0x10018, 0x33, 16);
}

static inline void fix_image(struct memory_file *memory)
{
    static const uint64_t bat[] = { 4 * MIB | 6, 5 * MIB | 6, 2,          0,
                                    7 * MIB | 6, 3,           8 * MIB | 6 };

    *memory = (struct memory_file){
        .file = { .store = &memory_store,
                  .path = (char *)(uintptr_t) "memory",
                  .size_bytes = FIX_BYTES },
        .bytes = calloc(1, FIX_BYTES),
        .length_bytes = FIX_BYTES,
        .fail_read = -1,
    };
    assert_non_null(memory->bytes);
    memcpy(memory->bytes, "vhdxfile", 8);
    put(memory->bytes + 8, 'T', 2);
    fix_header(memory->bytes + FIX_HEADER_1, 7);
    fix_header(memory->bytes + FIX_HEADER_2, 8);
    fix_regions(memory->bytes + FIX_REGIONS_1);
    fix_regions(memory->bytes + FIX_REGIONS_2);
    fix_metadata(memory->bytes + FIX_METADATA);
    for (unsigned i = 0; i < sizeof(bat) / sizeof(bat[0]); i++)
        put(memory->bytes + FIX_BAT + 8 * i, bat[i], 8);
}

/* After a poke: make the checksums right again. */
static inline void reseal(struct memory_file *memory)
{
    seal(memory->bytes + FIX_HEADER_1, 4096);
    seal(memory->bytes + FIX_HEADER_2, 4096);
    seal(memory->bytes + FIX_REGIONS_1, 65536);
    seal(memory->bytes + FIX_REGIONS_2, 65536);
}

static inline int fix_open(struct memory_file *memory, struct ds_image **image,
                           struct ds_error *err)
{
    static const struct ds_open_context none = { .no_refs = true };

    *image = NULL;
    return vhdx_format_ops.open(&memory->file, &none, image, err);
}

static inline void cursor_free(struct ds_cursor *cursor)
{
    ds_window_free(&cursor->table);
    ds_window_free(&cursor->table2);
}

/* The whole map into `extents`, joined like the engine does it. Returns how
 * many, or the error. */
static inline int fix_map(struct ds_image *image, struct ds_extent *extents,
                          int extent_count_max, struct ds_error *err)
{
    struct ds_cursor cursor = { 0 };
    struct ds_extent *last = NULL;
    uint64_t at = 0;
    int count = 0, result = 0;

    while (result == 0 && at < image->size_bytes) {
        struct ds_extent next = { 0 };

        result = image->format->extent_at(image, &cursor, at, &next, err);
        if (result != 0)
            break;
        assert_int_equal(next.guest_offset_bytes, at);
        assert_true(next.length_bytes > 0);
        assert_true(ds_range_fits(at, next.length_bytes, image->size_bytes));
        if (next.kind == DS_EXTENT_DATA)
            assert_true(ds_range_fits(next.file_offset_bytes, next.length_bytes,
                                      image->files[0]->size_bytes));
        at += next.length_bytes;
        if (last != NULL && last->kind == next.kind &&
            (next.kind != DS_EXTENT_DATA ||
             last->file_offset_bytes + last->length_bytes ==
                 next.file_offset_bytes)) {
            last->length_bytes += next.length_bytes;
            continue;
        }
        assert_true(count < extent_count_max);
        last = &extents[count++];
        *last = next;
    }
    cursor_free(&cursor);
    return result != 0 ? result : count;
}

/* Open, walk the map, close: the first error of these, or 0. */
static inline int fix_try(struct memory_file *memory, struct ds_error *err)
{
    struct ds_extent extents[64];
    struct ds_image *image;
    int result = fix_open(memory, &image, err);

    if (result != 0)
        return result;
    result = fix_map(image, extents, 64, err);
    image->format->close(image);
    return result < 0 ? result : 0;
}

static inline void fix_free(struct memory_file *memory)
{
    free(memory->bytes);
}

/* Fails with `expected` and leaves a message; prints it for the reader. */
static inline void check_fails(struct memory_file *memory,
                               enum ds_error_class expected, const char *words)
{
    struct ds_error err = DS_ERROR_INIT;
    int result = fix_try(memory, &err);

    if (result != -(int)expected || strstr(err.message, words) == NULL)
        print_error("have %d '%s' expect %d '%s'\n", result, err.message,
                    -(int)expected, words);
    assert_int_equal(result, -(int)expected);
    assert_non_null(strstr(err.message, words));
    assert_memory_equal(err.message, "vhdx: ", 6);
    fix_free(memory);
}

#endif
