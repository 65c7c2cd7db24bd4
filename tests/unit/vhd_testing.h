/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of raw and vhd: files in memory, and VHD images built byte by
 * byte from the spec's offsets, with no help from formats/vhd, so that a
 * mistake in its structs cannot hide.
 */
#ifndef VHD_TESTING_H
#define VHD_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arith.h"
#include "fail.h"
#include "format.h"

/* -- files in memory ------------------------------------------------------ */

struct memory_file {
    struct ds_file file;
    uint8_t *bytes;
    const struct ds_physical_extent *extents; /* NULL: no physical map */
    size_t extent_count;
};

static inline int memory_read(struct ds_file *file, uint64_t offset_bytes,
                              void *buffer, size_t length_bytes,
                              struct ds_error *err)
{
    struct memory_file *memory = (struct memory_file *)file;

    if (!ds_range_fits(offset_bytes, length_bytes, file->size_bytes))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "truncated file");
    memcpy(buffer, memory->bytes + offset_bytes, length_bytes);
    return 0;
}

static inline int memory_physical(struct ds_file *file, uint64_t offset_bytes,
                                  uint64_t length_bytes,
                                  struct ds_physical_extent *extents,
                                  size_t extent_count_max, size_t *count,
                                  struct ds_error *err)
{
    struct memory_file *memory = (struct memory_file *)file;

    if (memory->extents == NULL)
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                          "no physical map");
    *count = 0;
    for (size_t i = 0; i < memory->extent_count; i++) {
        const struct ds_physical_extent *extent = &memory->extents[i];

        if (extent->offset_bytes + extent->length_bytes > offset_bytes &&
            extent->offset_bytes < offset_bytes + length_bytes &&
            *count < extent_count_max)
            extents[(*count)++] = *extent;
    }
    return 0;
}

static const struct ds_store_ops memory_store_ops = {
    .name = "memory",
    .read = memory_read,
    .physical = memory_physical,
};

static inline struct memory_file memory_file_make(uint64_t size_bytes)
{
    static char path[] = "memory";
    struct memory_file memory = {
        .file = { .store = &memory_store_ops,
                  .path = path,
                  .size_bytes = size_bytes },
        .bytes = calloc(1, (size_t)ds_max_u64(size_bytes, 1)),
    };

    assert_non_null(memory.bytes);
    return memory;
}

/* Each test reads from a buffer of exactly the file's size, so that a
 * sanitizer sees every byte too many. */
static inline void memory_file_resize(struct memory_file *memory,
                                      uint64_t size_bytes)
{
    uint8_t *bytes = calloc(1, (size_t)ds_max_u64(size_bytes, 1));

    assert_non_null(bytes);
    memcpy(bytes, memory->bytes,
           (size_t)ds_min_u64(size_bytes, memory->file.size_bytes));
    free(memory->bytes);
    memory->bytes = bytes;
    memory->file.size_bytes = size_bytes;
}

/* -- a VHD by the spec's numbers ------------------------------------------ */

static inline void put_be(uint8_t *at, unsigned width, uint64_t value)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> 8 * (width - 1 - i));
}

static inline void put_checksum(uint8_t *record, size_t length_bytes,
                                size_t checksum_offset)
{
    uint32_t sum = 0;

    put_be(record + checksum_offset, 4, 0);
    for (size_t i = 0; i < length_bytes; i++)
        sum += record[i];
    put_be(record + checksum_offset, 4, (uint32_t)~sum);
}

#define FOOTER_CHECKSUM 64
#define HEADER_CHECKSUM 36

static inline void put_footer(uint8_t at[512], uint32_t type, uint64_t size)
{
    memset(at, 0, 512);
    memcpy(at, "conectix", 8);
    put_be(at + 8, 4, 2);
    put_be(at + 12, 4, 0x00010000);
    put_be(at + 16, 8, type == 2 ? UINT64_MAX : 512);
    put_be(at + 24, 4, 0x1e598ef7);
    memcpy(at + 28, "win ", 4);
    put_be(at + 32, 4, 0x00060003);
    memcpy(at + 36, "Wi2k", 4);
    put_be(at + 40, 8, size);
    put_be(at + 48, 8, size);
    put_be(at + 56, 2, 10); /* 10/4/17 = 348160 bytes: not the size */
    at[58] = 4;
    at[59] = 17;
    put_be(at + 60, 4, type);
    memset(at + 68, 0xab, 16);
    put_checksum(at, 512, FOOTER_CHECKSUM);
}

static inline void put_header(uint8_t at[1024], uint64_t table_offset,
                              uint32_t entries, uint32_t block_bytes)
{
    memset(at, 0, 1024);
    memcpy(at, "cxsparse", 8);
    put_be(at + 8, 8, UINT64_MAX);
    put_be(at + 16, 8, table_offset);
    put_be(at + 24, 4, 0x00010000);
    put_be(at + 28, 4, entries);
    put_be(at + 32, 4, block_bytes);
    put_checksum(at, 1024, HEADER_CHECKSUM);
}

/*
 * A small dynamic disk: blocks of 4096 bytes, 5 of them and 512 bytes more.
 *
 *   0 footer copy  512 header  1536 bat  2048 block 4  6656 block 0
 *   11264 block 5 (whole)  15872 footer
 */
#define SAMPLE_BLOCK 4096u
#define SAMPLE_SIZE (5 * SAMPLE_BLOCK + 512)
#define SAMPLE_BAT 1536u
#define SAMPLE_FOOTER 15872u
#define SAMPLE_FILE (SAMPLE_FOOTER + 512)

static inline struct memory_file sample_dynamic(void)
{
    struct memory_file memory = memory_file_make(SAMPLE_FILE);
    uint8_t *bytes = memory.bytes;

    memset(bytes + SAMPLE_BAT, 0xff, 512);
    put_footer(bytes, 3, SAMPLE_SIZE);
    put_header(bytes + 512, SAMPLE_BAT, 6, SAMPLE_BLOCK);
    put_be(bytes + SAMPLE_BAT + 4 * 4, 4, 2048 / 512);
    put_be(bytes + SAMPLE_BAT + 0 * 4, 4, 6656 / 512);
    put_be(bytes + SAMPLE_BAT + 5 * 4, 4, 11264 / 512);
    memcpy(bytes + SAMPLE_FOOTER, bytes, 512);
    return memory;
}

static inline struct memory_file sample_fixed(uint64_t size)
{
    struct memory_file memory = memory_file_make(size + 512);

    put_footer(memory.bytes + size, 2, size);
    return memory;
}

/* -- walking -------------------------------------------------------------- */

static inline void cursor_free(struct ds_cursor *cursor)
{
    ds_window_free(&cursor->table);
    ds_window_free(&cursor->table2);
    ds_physical_window_free(&cursor->physical);
}

/** Walk the whole map, holding each extent to the contract. Up to `max` are
 * kept; *count counts all. */
static inline int walk(struct ds_image *image, struct ds_extent *extents,
                       size_t max, size_t *count, struct ds_error *err)
{
    struct ds_cursor cursor = { 0 };
    uint64_t at = 0;
    int result = 0;

    *count = 0;
    while (at < image->size_bytes && *count < 4096) {
        struct ds_extent extent;

        memset(&extent, 0xee, sizeof(extent));
        result = image->format->extent_at(image, &cursor, at, &extent, err);
        if (result != 0)
            break;
        assert_int_equal(extent.guest_offset_bytes, at);
        assert_true(extent.length_bytes > 0);
        assert_true(ds_range_fits(at, extent.length_bytes, image->size_bytes));
        if (extent.kind == DS_EXTENT_DATA)
            assert_true(ds_range_fits(extent.file_offset_bytes,
                                      extent.length_bytes,
                                      image->files[0]->size_bytes));
        if (*count < max)
            extents[*count] = extent;
        (*count)++;
        at += extent.length_bytes;
    }
    cursor_free(&cursor);
    return result;
}

static inline void assert_extent(const struct ds_extent *extent,
                                 enum ds_extent_kind kind, uint64_t guest,
                                 uint64_t length, uint32_t file_index,
                                 uint64_t offset)
{
    assert_int_equal(extent->kind, kind);
    assert_int_equal(extent->guest_offset_bytes, guest);
    assert_int_equal(extent->length_bytes, length);
    assert_int_equal(extent->file_index, file_index);
    if (file_index != DS_FILE_NONE)
        assert_int_equal(extent->file_offset_bytes, offset);
}

/* -- opening and reading all ---------------------------------------------- */

extern const struct ds_format_ops vhd_format_ops;

static const struct ds_open_context references = { .no_refs = false };

static inline bool probe(const struct memory_file *memory)
{
    struct ds_probe probe = { .file = &memory->file };
    uint64_t size = memory->file.size_bytes;

    probe.head_bytes = (size_t)ds_min_u64(size, sizeof(probe.head));
    probe.tail_bytes = (size_t)ds_min_u64(size, sizeof(probe.tail));
    memcpy(probe.head, memory->bytes, probe.head_bytes);
    memcpy(probe.tail, memory->bytes + size - probe.tail_bytes,
           probe.tail_bytes);
    return vhd_format_ops.probe(&probe);
}

static inline int ignore_region(void *user, const struct ds_region *region,
                                struct ds_error *err)
{
    const struct ds_file *file = user;

    (void)err;
    assert_true(ds_range_fits(region->offset_bytes, region->length_bytes,
                              file->size_bytes));
    assert_non_null(region->name);
    return 0;
}

/* Open, walk the map to its end, name the regions. */
static inline int read_all(struct memory_file *memory,
                           struct ds_extent *extents, size_t max, size_t *count,
                           uint64_t *size, struct ds_error *err)
{
    struct ds_image *image = NULL;
    int result;

    *err = (struct ds_error)DS_ERROR_INIT;
    *count = 0;
    result = vhd_format_ops.open(&memory->file, &references, &image, err);
    if (result != 0) {
        assert_null(image);
        return result;
    }
    if (size != NULL)
        *size = image->size_bytes;
    result = walk(image, extents, max, count, err);
    if (result == 0)
        result =
            vhd_format_ops.regions(image, ignore_region, &memory->file, err);
    vhd_format_ops.close(image);
    return result;
}

/* The class, and a word of the message; frees the file. */
static inline void expect_failure(struct memory_file memory,
                                  enum ds_error_class error_class,
                                  const char *words)
{
    struct ds_error err;
    size_t count;
    int result = read_all(&memory, NULL, 0, &count, NULL, &err);

    if (result != -(int)error_class || strstr(err.message, words) == NULL)
        fail_msg("have %d '%s' expect %d '%s'", result, err.message,
                 -(int)error_class, words);
    assert_int_equal(err.error_class, error_class);
    assert_int_not_equal(err.offset_bytes, DS_OFFSET_NONE);
    free(memory.bytes);
}

static inline void expect_size(struct memory_file memory, uint64_t expect)
{
    struct ds_error err;
    uint64_t size = 0;
    size_t count;
    int result = read_all(&memory, NULL, 0, &count, &size, &err);

    if (result != 0)
        fail_msg("%d '%s'", result, err.message);
    assert_int_equal(size, expect);
    free(memory.bytes);
}

/* Both footers, or the header, with one field set and checksums right. */
static inline struct memory_file
sample_footer_poked(size_t offset, unsigned width, uint64_t value)
{
    struct memory_file memory = sample_dynamic();

    put_be(memory.bytes + offset, width, value);
    if (offset != FOOTER_CHECKSUM)
        put_checksum(memory.bytes, 512, FOOTER_CHECKSUM);
    memcpy(memory.bytes + SAMPLE_FOOTER, memory.bytes, 512);
    return memory;
}

static inline struct memory_file
sample_header_poked(size_t offset, unsigned width, uint64_t value)
{
    struct memory_file memory = sample_dynamic();

    put_be(memory.bytes + 512 + offset, width, value);
    if (offset != HEADER_CHECKSUM)
        put_checksum(memory.bytes + 512, 1024, HEADER_CHECKSUM);
    return memory;
}

static inline struct memory_file sample_entry_poked(unsigned index,
                                                    uint32_t sector)
{
    struct memory_file memory = sample_dynamic();

    put_be(memory.bytes + SAMPLE_BAT + 4 * index, 4, sector);
    return memory;
}

#endif
