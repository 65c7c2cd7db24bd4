/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes chains of VHD and (diff_vhdx.h) VHDX from the specs' numbers alone, for
 * tests: no tool here writes differencing disks. Nothing of the product is
 * used.
 *
 * A layer is drawn from its seed: each block is absent, whole or in part
 * there, in runs of `grain_bytes`; what of a block's room is not the child's
 * is filled with 0xEE, which no guest may see. `model` is what the guest
 * reads; it holds the parent's view when the layer is begun.
 */
#ifndef DIFF_IMAGE_H
#define DIFF_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct diff_spec {
    uint64_t size_bytes;
    uint64_t seed;        /* also the identity; not 0 */
    uint64_t parent_seed; /* 0: a base, without a parent */
    const char *parent_name;
    uint64_t block_bytes;
    uint64_t grain_bytes;  /* of partial blocks; 0: 4096 */
    uint32_t sector_bytes; /* VHDX: 512 or 4096; 0: 512 */
    bool unaligned;        /* VHD: bitmaps packed, as old writers do */
};

static inline void diff_fail(const char *what)
{
    perror(what);
    exit(1);
}

/* splitmix64 */
static inline uint64_t diff_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline void diff_id(uint8_t id[16], uint64_t seed)
{
    for (unsigned i = 0; i < 16; i++)
        id[i] = (uint8_t)diff_next(&seed);
}

static inline void diff_le(uint8_t *at, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static inline void diff_be(uint8_t *at, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> 8 * (width - 1 - i));
}

static inline void diff_put(FILE *file, uint64_t offset, const void *bytes,
                            size_t length)
{
    if (fseeko(file, (off_t)offset, SEEK_SET) != 0 ||
        fwrite(bytes, 1, length, file) != length)
        diff_fail("write");
}

/* -- a layer's contents --------------------------------------------------- */

enum diff_kind { DIFF_ABSENT, DIFF_WHOLE, DIFF_PART, DIFF_ZERO };

struct diff_block {
    enum diff_kind kind;
    uint8_t *bytes; /* block_bytes of them */
    uint8_t *here;  /* a byte for each 512 */
};

static inline enum diff_kind diff_kind_of(const struct diff_spec *spec,
                                          uint64_t index, bool zeros)
{
    uint64_t state = spec->seed * 1000003 + index;
    uint64_t roll = diff_next(&state) % 8;

    if (index == 0) /* where targets have their headers */
        return DIFF_WHOLE;
    if (roll < 3)
        return DIFF_ABSENT;
    if (roll == 3 && zeros)
        return DIFF_ZERO;
    return roll < 5 || spec->parent_seed == 0 ? DIFF_WHOLE : DIFF_PART;
}

static inline void diff_fill_sector(uint8_t *at, uint64_t seed, uint64_t sector)
{
    uint64_t state = seed * UINT64_C(0x100000001b3) + sector;

    diff_le(at, sector, 8);
    diff_le(at + 8, seed, 8);
    for (unsigned i = 16; i < 512; i += 8)
        diff_le(at + i, diff_next(&state), 8);
}

/* Draw the block and bring the model up to it. */
static inline void diff_draw(const struct diff_spec *spec, uint64_t index,
                             struct diff_block *block, uint8_t *model)
{
    uint64_t sectors = spec->block_bytes / 512, first = index * sectors;
    uint64_t grain = (spec->grain_bytes != 0 ? spec->grain_bytes : 4096) / 512;
    uint64_t state = spec->seed * 7919 + index;
    uint64_t left = 0;
    bool here = false;

    memset(block->bytes, 0xee, spec->block_bytes);
    for (uint64_t i = 0; i < sectors; i++, left--) {
        uint64_t guest = (first + i) * 512;

        if (left == 0) {
            left = grain * (1 + diff_next(&state) % 40);
            here = !here;
        }
        block->here[i] =
            block->kind == DIFF_WHOLE || (block->kind == DIFF_PART && here);
        if (block->here[i])
            diff_fill_sector(block->bytes + i * 512, spec->seed, first + i);
        if (guest >= spec->size_bytes)
            continue;
        if (block->here[i])
            memcpy(model + guest, block->bytes + i * 512, 512);
        else if (block->kind == DIFF_ZERO)
            memset(model + guest, 0, 512);
    }
}

static inline struct diff_block diff_block_make(const struct diff_spec *spec)
{
    struct diff_block block = { .bytes = malloc(spec->block_bytes),
                                .here = malloc(spec->block_bytes / 512) };

    if (block.bytes == NULL || block.here == NULL)
        diff_fail("memory");
    return block;
}

static inline void diff_block_free(struct diff_block *block)
{
    free(block->bytes);
    free(block->here);
}

/* UTF-16 of ASCII, either way round. Returns the bytes. */
static inline size_t diff_utf16(uint8_t *at, const char *text, bool big)
{
    size_t length = strlen(text);

    for (size_t i = 0; i < length; i++) {
        at[2 * i + (big ? 1 : 0)] = (uint8_t)text[i];
        at[2 * i + (big ? 0 : 1)] = 0;
    }
    return 2 * length;
}

/* -- VHD ------------------------------------------------------------------- */

static inline void diff_sum(uint8_t *record, size_t length, size_t at)
{
    uint32_t sum = 0;

    diff_be(record + at, 0, 4);
    for (size_t i = 0; i < length; i++)
        sum += record[i];
    diff_be(record + at, (uint32_t)~sum, 4);
}

static inline void diff_vhd_footer(uint8_t at[512],
                                   const struct diff_spec *spec)
{
    memset(at, 0, 512);
    memcpy(at, "conectix", 8);
    diff_be(at + 8, 2, 4);
    diff_be(at + 12, 0x10000, 4);
    diff_be(at + 16, 512, 8);
    diff_be(at + 24, 500000000, 4);
    memcpy(at + 28, "win \0\6\0\3Wi2k", 12);
    diff_be(at + 40, spec->size_bytes, 8);
    diff_be(at + 48, spec->size_bytes, 8);
    diff_be(at + 56, 0xffff10ff, 4);
    diff_be(at + 60, spec->parent_seed != 0 ? 4 : 3, 4);
    diff_id(at + 68, spec->seed);
    diff_sum(at, 512, 64);
}

/* The paths of "W2ru" and "W2ku" lie at `at` and 2 KiB later. */
static inline void diff_vhd_locators(FILE *file, uint8_t header[1024],
                                     const struct diff_spec *spec, uint64_t at)
{
    uint8_t text[2048] = { 0 };
    char path[512];

    for (unsigned i = 0; i < 2; i++) {
        uint8_t *locator = header + 576 + 24 * i;
        size_t length;

        (void)snprintf(path, sizeof(path), i == 0 ? ".\\%s" : "C:\\vm\\%s",
                       spec->parent_name);
        length = diff_utf16(text, path, false);
        memcpy(locator, i == 0 ? "W2ru" : "W2ku", 4);
        diff_be(locator + 4, 4, 4);
        diff_be(locator + 8, length, 4);
        diff_be(locator + 16, at + 2048 * i, 8);
        diff_put(file, at + 2048 * i, text, sizeof(text));
    }
    diff_id(header + 40, spec->parent_seed);
    diff_be(header + 56, 500000001, 4);
    (void)diff_utf16(header + 64, spec->parent_name, true);
}

static inline void diff_vhd_header(FILE *file, const struct diff_spec *spec,
                                   uint64_t entries, uint64_t locators)
{
    uint8_t header[1024] = "cxsparse";

    diff_be(header + 8, UINT64_MAX, 8);
    diff_be(header + 16, 1536, 8);
    diff_be(header + 24, 0x10000, 4);
    diff_be(header + 28, entries, 4);
    diff_be(header + 32, spec->block_bytes, 4);
    if (spec->parent_seed != 0)
        diff_vhd_locators(file, header, spec, locators);
    diff_sum(header, 1024, 36);
    diff_put(file, 512, header, 1024);
}

/* Blocks go down in falling order of their index, so none continues another
 * by chance. */
static inline void diff_vhd_make(const char *path, const struct diff_spec *spec,
                                 uint8_t *model)
{
    uint64_t entries =
        (spec->size_bytes + spec->block_bytes - 1) / spec->block_bytes;
    uint64_t table_bytes = (entries * 4 + 511) / 512 * 512;
    uint64_t bitmap_bytes = (spec->block_bytes / 4096 + 511) / 512 * 512;
    uint64_t at = (1536 + table_bytes + 4095) / 4096 * 4096;
    uint8_t *table = malloc(table_bytes), *bitmap = malloc(bitmap_bytes);
    struct diff_block block = diff_block_make(spec);
    FILE *file = fopen(path, "w+b");
    uint8_t footer[512];

    if (file == NULL || table == NULL || bitmap == NULL)
        diff_fail(path);
    memset(table, 0xff, table_bytes);
    diff_vhd_header(file, spec, entries, at);
    at += 4096;
    for (uint64_t i = entries; i-- > 0;) {
        block.kind = diff_kind_of(spec, i, false);
        if (block.kind == DIFF_ABSENT)
            continue;
        diff_draw(spec, i, &block, model);
        memset(bitmap, 0, bitmap_bytes);
        for (uint64_t s = 0; s < spec->block_bytes / 512; s++)
            if (block.here[s])
                bitmap[s / 8] |= (uint8_t)(128 >> s % 8);
        if (!spec->unaligned)
            at = (at + bitmap_bytes + 4095) / 4096 * 4096 - bitmap_bytes;
        diff_be(table + 4 * i, at / 512, 4);
        diff_put(file, at, bitmap, bitmap_bytes);
        diff_put(file, at + bitmap_bytes, block.bytes, spec->block_bytes);
        at += bitmap_bytes + spec->block_bytes;
    }
    diff_put(file, 1536, table, table_bytes);
    diff_vhd_footer(footer, spec);
    diff_put(file, 0, footer, 512);
    diff_put(file, at, footer, 512);
    if (fclose(file) != 0)
        diff_fail(path);
    diff_block_free(&block);
    free(table);
    free(bitmap);
}

#endif
