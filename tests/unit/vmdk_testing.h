/* SPDX-License-Identifier: Apache-2.0 */
/* Files in memory, and one small sparse disk drawn by hand. */
#ifndef VMDK_TESTING_H
#define VMDK_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "vmdk/vmdk.h"

/* -- a store of a few files in memory -------------------------------------- */

struct memory_file {
    struct ds_file file;
    const char *name;
    uint8_t *bytes;
};

#define MEMORY_FILE_COUNT 8
static struct memory_file memory_files[MEMORY_FILE_COUNT];
static unsigned memory_closed_count;

static inline int memory_read(struct ds_file *file, uint64_t offset_bytes,
                              void *buffer, size_t length_bytes,
                              struct ds_error *err)
{
    struct memory_file *memory = (struct memory_file *)file;

    if (!ds_range_fits(offset_bytes, length_bytes, file->size_bytes))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "memory: truncated");
    if (length_bytes > 0)
        memcpy(buffer, memory->bytes + offset_bytes, length_bytes);
    return 0;
}

static inline int memory_open_reference(const struct ds_file *from,
                                        const char *allow_directory,
                                        const char *name, struct ds_file **out,
                                        struct ds_error *err)
{
    (void)allow_directory;
    for (size_t i = 1; i < MEMORY_FILE_COUNT; i++) {
        if (memory_files[i].name != NULL &&
            strcmp(memory_files[i].name, name) == 0) {
            *out = &memory_files[i].file;
            return 0;
        }
    }
    return ds_fail_at(err, from, DS_OFFSET_NONE, DS_ERR_REFUSED,
                      "memory: no file '%s'", name);
}

static inline int memory_physical(struct ds_file *file, uint64_t offset_bytes,
                                  uint64_t length_bytes,
                                  struct ds_physical_extent *extents,
                                  size_t extent_count_max, size_t *count,
                                  struct ds_error *err)
{
    (void)offset_bytes;
    (void)length_bytes;
    (void)extents;
    (void)extent_count_max;
    (void)count;
    return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_UNSUPPORTED,
                      "memory: no map");
}

static inline void memory_close(struct ds_file *file)
{
    (void)file;
    memory_closed_count++;
}

static const struct ds_store_ops memory_store = {
    .name = "memory",
    .close = memory_close,
    .read = memory_read,
    .open_reference = memory_open_reference,
    .physical = memory_physical,
};

/** Make file `index` of the store; 0 is the one that is opened. The bytes
 * are copied so that reads beyond them are seen by the sanitizer. */
static inline void memory_set(size_t index, const char *name, const void *bytes,
                              size_t length_bytes)
{
    struct memory_file *memory = &memory_files[index];

    free(memory->bytes);
    memory->bytes = malloc(length_bytes + 1);
    assert_non_null(memory->bytes);
    if (length_bytes > 0)
        memcpy(memory->bytes, bytes, length_bytes);
    memory->name = name;
    memory->file = (struct ds_file){
        .store = &memory_store,
        .path = (char *)(uintptr_t)name,
        .size_bytes = length_bytes,
    };
}

static inline void memory_reset(void)
{
    for (size_t i = 0; i < MEMORY_FILE_COUNT; i++) {
        free(memory_files[i].bytes);
        memory_files[i] = (struct memory_file){ 0 };
    }
}

/** Open file 0. On failure everything is released, as the disk does. */
static inline int memory_open(struct ds_image **out, struct ds_error *err)
{
    const struct ds_open_context references = { 0 };
    int result =
        vmdk_format_ops.open(&memory_files[0].file, &references, out, err);

    if (result != 0 && *out != NULL) {
        vmdk_format_ops.close(*out);
        *out = NULL;
    }
    return result;
}

static inline void cursor_free(struct ds_cursor *cursor)
{
    ds_window_free(&cursor->table);
    ds_window_free(&cursor->table2);
    ds_physical_window_free(&cursor->physical);
}

/** Walk the whole map and hold each extent to the contract. */
static inline int walk_map(struct ds_image *image, struct ds_error *err)
{
    struct ds_cursor cursor = { 0 };
    uint64_t at = 0;
    int result = 0;

    while (at < image->size_bytes) {
        struct ds_extent extent;

        result = vmdk_format_ops.extent_at(image, &cursor, at, &extent, err);
        if (result != 0)
            break;
        assert_int_equal(extent.guest_offset_bytes, at);
        assert_true(extent.length_bytes > 0);
        assert_true(ds_range_fits(at, extent.length_bytes, image->size_bytes));
        if (extent.kind == DS_EXTENT_DATA)
            assert_true(
                ds_range_fits(extent.file_offset_bytes, extent.length_bytes,
                              image->files[extent.file_index]->size_bytes));
        at += extent.length_bytes;
    }
    cursor_free(&cursor);
    return result;
}

static inline int ignore_region(void *user, const struct ds_region *region,
                                struct ds_error *err)
{
    struct ds_image *image = user;

    (void)err;
    assert_true(region->length_bytes > 0);
    assert_true(ds_range_fits(region->offset_bytes, region->length_bytes,
                              image->files[region->file_index]->size_bytes));
    return 0;
}

/** Open file 0, walk its map and its regions, close it. */
static inline int read_all(struct ds_error *err)
{
    struct ds_image *image = NULL;
    int result = memory_open(&image, err);

    if (result != 0)
        return result;
    result = walk_map(image, err);
    if (result == 0)
        result = vmdk_format_ops.regions(image, ignore_region, image, err);
    vmdk_format_ops.close(image);
    return result;
}

/* -- a small sparse disk --------------------------------------------------- */

/*
 * sector  0        1           21    22        30   31        48 ...     160
 *         | header | descriptor | RGD | 2 copies | GD | 2 tables | grains | 1 |
 *
 * Grains of 8 KiB; two tables; a disk of 515 grains and one sector, so that
 * the last grain is partial, and in the file only as far as the guest sees.
 */
#define SAMPLE_FILE_SECTORS 161u
#define SAMPLE_FILE_BYTES (SAMPLE_FILE_SECTORS * 512u)
#define SAMPLE_GRAIN UINT64_C(8192)
#define SAMPLE_SECTORS UINT64_C(8241) /* 515 * 16 + 1 */
#define SAMPLE_SIZE (SAMPLE_SECTORS * 512)
#define SAMPLE_RGD 21u
#define SAMPLE_GD 30u
#define SAMPLE_COPIES 22u
#define SAMPLE_TABLES 31u

#define SAMPLE_TEXT                                                            \
    "# Disk DescriptorFile\n"                                                  \
    "version=1\n"                                                              \
    "CID=12345678\n"                                                           \
    "parentCID=ffffffff\n"                                                     \
    "createType=\"monolithicSparse\"\n"                                        \
    "\n"                                                                       \
    "# Extent description\n"                                                   \
    "RW 8241 SPARSE \"another name.vmdk\"\n"                                   \
    "\n"                                                                       \
    "# The Disk Data Base\n"                                                   \
    "#DDB\n"                                                                   \
    "ddb.adapterType = \"ide\"\n"

static inline void put32(uint8_t *file, size_t offset, uint64_t value)
{
    for (unsigned i = 0; i < 4; i++)
        file[offset + i] = (uint8_t)(value >> (8 * i));
}

static inline void put64(uint8_t *file, size_t offset, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        file[offset + i] = (uint8_t)(value >> (8 * i));
}

/** Entry `grain` of the tables and of their copies. */
static inline void sample_entry(uint8_t *file, size_t grain, uint64_t sector)
{
    put32(file, SAMPLE_TABLES * 512 + grain * 4, sector);
    put32(file, SAMPLE_COPIES * 512 + grain * 4, sector);
}

/* Offsets by the spec's drawing, not by our structs. */
static inline void sample_make(uint8_t file[SAMPLE_FILE_BYTES])
{
    memset(file, 0, SAMPLE_FILE_BYTES);
    memcpy(file, "KDMV", 4);
    put32(file, 4, 2);               /* version */
    put32(file, 8, 7);               /* newline test, redundant, zeroed grain */
    put64(file, 12, SAMPLE_SECTORS); /* capacity */
    put64(file, 20, 16);             /* grain size */
    put64(file, 28, 1);              /* descriptor */
    put64(file, 36, 20);
    put32(file, 44, 512); /* entries per table */
    put64(file, 48, SAMPLE_RGD);
    put64(file, 56, SAMPLE_GD);
    put64(file, 64, 48); /* overhead */
    memcpy(file + 72, "\0\n \r\n", 5);
    memcpy(file + 512, SAMPLE_TEXT, sizeof(SAMPLE_TEXT) - 1);
    for (unsigned i = 0; i < 2; i++) {
        put32(file, SAMPLE_RGD * 512 + i * 4, SAMPLE_COPIES + i * 4);
        put32(file, SAMPLE_GD * 512 + i * 4, SAMPLE_TABLES + i * 4);
    }
    sample_entry(file, 0, 48);
    sample_entry(file, 1, 64);
    sample_entry(file, 3, 1);
    sample_entry(file, 4, 112);
    sample_entry(file, 511, 128);
    sample_entry(file, 512, 144); /* goes on across the tables' border */
    sample_entry(file, 515, 160); /* the partial one */
}

#endif
