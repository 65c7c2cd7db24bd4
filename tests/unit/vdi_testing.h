/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of vdi: images built byte by byte from the offsets in
 * SPEC.md, with no help from formats/vdi. Files in memory and the walk are
 * those of vhd_testing.h.
 */
#ifndef VDI_TESTING_H
#define VDI_TESTING_H

#include "vhd_testing.h"

extern const struct ds_format_ops vdi_format_ops;

static inline void put_le(uint8_t *at, unsigned width, uint64_t value)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static inline uint64_t get_le(const uint8_t *at, unsigned width)
{
    uint64_t value = 0;

    for (unsigned i = width; i > 0; i--)
        value = value << 8 | at[i - 1];
    return value;
}

/*
 * Blocks of 4096 bytes, 9 of them and 512 bytes more: 10 entries.
 *
 *   0 header  512 map  1024 data: block numbers 0 ... 5
 *   guest   0  1  2  3  4  5     6  7     8     9 (512 bytes)
 *   entry   2  3  4  -  -  zero  1  zero  zero  0, 5 is not used by any
 */
#define VDI_BLOCK 4096u
#define VDI_MAP 512u
#define VDI_DATA 1024u
#define VDI_SIZE (9 * VDI_BLOCK + 512)
#define VDI_FREE 0xffffffffu
#define VDI_ZERO 0xfffffffeu
#define VDI_FILE (VDI_DATA + 5 * VDI_BLOCK)

static inline struct memory_file sample_vdi(void)
{
    static const uint32_t entries[10] = { 2,        3,        4, VDI_FREE,
                                          VDI_FREE, VDI_ZERO, 1, VDI_ZERO,
                                          VDI_ZERO, 0 };
    struct memory_file memory = memory_file_make(VDI_FILE);
    uint8_t *at = memory.bytes;

    memcpy(at, "<<< made by hand >>>\n", 21);
    put_le(at + 0x40, 4, 0xbeda107f);
    put_le(at + 0x44, 4, 0x00010001);
    put_le(at + 0x48, 4, 0x190);
    put_le(at + 0x4c, 4, 1);
    put_le(at + 0x154, 4, VDI_MAP);
    put_le(at + 0x158, 4, VDI_DATA);
    put_le(at + 0x168, 4, 512);
    put_le(at + 0x170, 8, VDI_SIZE);
    put_le(at + 0x178, 4, VDI_BLOCK);
    put_le(at + 0x180, 4, 10);
    put_le(at + 0x184, 4, 5);
    memset(at + 0x188, 0xab, 16);
    for (unsigned i = 0; i < 10; i++)
        put_le(at + VDI_MAP + 4 * i, 4, entries[i]);
    return memory;
}

static inline struct memory_file sample_vdi_poked(size_t offset, unsigned width,
                                                  uint64_t value)
{
    struct memory_file memory = sample_vdi();

    put_le(memory.bytes + offset, width, value);
    return memory;
}

/* Open, walk, name the regions. */
static inline int vdi_read_all(struct memory_file *memory,
                               struct ds_extent *extents, size_t max,
                               size_t *count, uint64_t *size,
                               struct ds_error *err)
{
    struct ds_image *image = NULL;
    int result;

    *err = (struct ds_error)DS_ERROR_INIT;
    *count = 0;
    result = vdi_format_ops.open(&memory->file, &references, &image, err);
    if (result != 0) {
        assert_null(image);
        return result;
    }
    *size = image->size_bytes;
    result = walk(image, extents, max, count, err);
    if (result == 0)
        result =
            vdi_format_ops.regions(image, ignore_region, &memory->file, err);
    vdi_format_ops.close(image);
    return result;
}

#endif
