/* SPDX-License-Identifier: Apache-2.0 */
/* The VHDX half of diff_image.h. */
#ifndef DIFF_VHDX_H
#define DIFF_VHDX_H

#include "diff_image.h"

#define DIFF_MIB UINT64_C(1048576)

/* CRC-32C bit by bit. */
static inline uint32_t diff_crc(const uint8_t *bytes, size_t length)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (unsigned k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0x82f63b78 & (0 - (crc & 1)));
    }
    return ~crc;
}

static inline void diff_seal(uint8_t *record, size_t length)
{
    diff_le(record + 4, 0, 4);
    diff_le(record + 4, diff_crc(record, length), 4);
}

/* A guid as text: the first three fields are swapped. */
static inline void diff_guid_text(char text[40], const uint8_t id[16])
{
    (void)snprintf(text, 40,
                   "{%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
                   "%02x%02x%02x%02x%02x%02x}",
                   id[3], id[2], id[1], id[0], id[5], id[4], id[7], id[6],
                   id[8], id[9], id[10], id[11], id[12], id[13], id[14],
                   id[15]);
}

static inline void diff_hex(uint8_t *at, const char *digits)
{
    for (; *digits != '\0'; digits += 2, at++) {
        char pair[3] = { digits[0], digits[1], 0 };

        *at = (uint8_t)strtoul(pair, NULL, 16);
    }
}

/* Returns the locator's length. */
static inline size_t diff_locator(uint8_t *at, const struct diff_spec *spec)
{
    char linkage[40], path[512];
    uint8_t id[16];
    const char *strings[3][2] = { { "parent_linkage", linkage },
                                  { "relative_path", path },
                                  { "absolute_win32_path", "\\\\?\\c:\\x" } };
    size_t used = 20 + 3 * 12;

    diff_id(id, spec->parent_seed);
    diff_guid_text(linkage, id);
    (void)snprintf(path, sizeof(path), ".\\%s", spec->parent_name);
    diff_hex(at, "b7ef4ab09ed1814ab78925b8e9445913");
    diff_le(at + 18, 3, 2);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t *entry = at + 20 + 12 * i;

        for (unsigned k = 0; k < 2; k++) {
            size_t length = diff_utf16(at + used, strings[i][k], false);

            diff_le(entry + 4 * k, used, 4);
            diff_le(entry + 8 + 2 * k, length, 2);
            used += length;
        }
    }
    return used;
}

static inline void diff_item(uint8_t *table, unsigned index, const char *id,
                             uint64_t offset, size_t length, unsigned flags)
{
    uint8_t *at = table + 32 + 32 * index;

    diff_hex(at, id);
    diff_le(at + 16, offset, 4);
    diff_le(at + 20, length, 4);
    diff_le(at + 24, flags, 4);
}

static inline void diff_vhdx_metadata(FILE *file, const struct diff_spec *spec)
{
    static uint8_t at[0x11000];
    bool child = spec->parent_seed != 0;

    memset(at, 0, sizeof(at));
    memcpy(at, "metadata", 8);
    diff_le(at + 10, child ? 7 : 6, 2);
    diff_item(at, 0, "3767a1ca36fa434db3b633f0aa44e76b", 0x10000, 8, 4);
    diff_item(at, 1, "2442a52f1bcd7648b2115dbed83bf4b8", 0x10008, 8, 6);
    diff_item(at, 2, "1dbf41816fa90947ba47f233a8faab5f", 0x10010, 4, 6);
    diff_item(at, 3, "c748a3cd5d4471449cc9e9885251c556", 0x10014, 4, 6);
    diff_item(at, 4, "ab12cabee6b2234593efc309e000c746", 0x10018, 16, 6);
    /* A user's: to be tolerated. */
    diff_item(at, 5, "0102030405060708090a0b0c0d0e0f10", 0x10030, 8, 1);
    diff_le(at + 0x10000, spec->block_bytes, 4);
    diff_le(at + 0x10004, child ? 2 : 0, 4);
    diff_le(at + 0x10008, spec->size_bytes, 8);
    diff_le(at + 0x10010, spec->sector_bytes != 0 ? spec->sector_bytes : 512,
            4);
    diff_le(at + 0x10014, 4096, 4);
    diff_id(at + 0x10018, 12345);
    if (child)
        diff_item(at, 6, "2d5fd3a80bb34d45abf7d3d84834ab0c", 0x10100,
                  diff_locator(at + 0x10100, spec), 4);
    diff_put(file, 2 * DIFF_MIB, at, sizeof(at));
}

static inline void diff_vhdx_head(FILE *file, const struct diff_spec *spec,
                                  uint64_t bat_bytes)
{
    static uint8_t at[65536];

    memset(at, 0, sizeof(at));
    memcpy(at, "vhdxfile", 8);
    diff_put(file, 0, at, 520);
    for (unsigned i = 0; i < 2; i++) {
        memset(at, 0, sizeof(at));
        memcpy(at, "head", 4);
        diff_le(at + 8, 10 + i, 8);
        diff_id(at + 16, spec->seed + 77);
        diff_id(at + 32, spec->seed);
        diff_le(at + 66, 1, 2);
        diff_le(at + 68, DIFF_MIB, 4);
        diff_le(at + 72, DIFF_MIB, 8);
        diff_seal(at, 4096);
        diff_put(file, 65536 * (1 + i), at, 4096);
    }
    memset(at, 0, sizeof(at));
    memcpy(at, "regi", 4);
    diff_le(at + 8, 2, 4);
    diff_hex(at + 16, "6677c22d23f600429d64115e9bfd4a08");
    diff_le(at + 32, 3 * DIFF_MIB, 8);
    diff_le(at + 40, bat_bytes, 4);
    diff_le(at + 44, 1, 4);
    diff_hex(at + 48, "06a27c8b90479a4bb8fe575f050f886e");
    diff_le(at + 64, 2 * DIFF_MIB, 8);
    diff_le(at + 72, DIFF_MIB, 4);
    diff_le(at + 76, 1, 4);
    diff_seal(at, 65536);
    diff_put(file, 3 * 65536, at, 65536);
    diff_put(file, 4 * 65536, at, 65536);
}

struct diff_vhdx {
    FILE *file;
    uint64_t end; /* of what has been laid down */
    uint64_t ratio;
    uint8_t *bat;
    uint8_t bitmap[1048576];
};

static inline void diff_vhdx_block(struct diff_vhdx *vhdx,
                                   const struct diff_spec *spec, uint64_t index,
                                   const struct diff_block *block)
{
    static const uint8_t empty[4] = { 2, 1, 3, 2 };
    uint64_t sector = spec->sector_bytes != 0 ? spec->sector_bytes : 512;
    uint64_t bits = spec->block_bytes / sector;
    uint8_t *entry = vhdx->bat + 8 * (index + index / vhdx->ratio);

    if (block->kind == DIFF_ABSENT)
        return;
    if (block->kind == DIFF_ZERO) {
        diff_le(entry, empty[index % 4], 8);
        return;
    }
    diff_le(entry, vhdx->end | (block->kind == DIFF_PART ? 7 : 6), 8);
    diff_put(vhdx->file, vhdx->end, block->bytes, spec->block_bytes);
    vhdx->end += spec->block_bytes;
    for (uint64_t i = 0; block->kind == DIFF_PART && i < bits; i++) {
        uint64_t bit = index % vhdx->ratio * bits + i;

        if (block->here[i * sector / 512])
            vhdx->bitmap[bit / 8] |= (uint8_t)(1 << bit % 8);
    }
}

/* The chunk's bitmap block follows its payload blocks in the file. */
static inline void diff_vhdx_chunk(struct diff_vhdx *vhdx,
                                   const struct diff_spec *spec, uint64_t chunk)
{
    if (spec->parent_seed == 0)
        return;
    diff_le(vhdx->bat + 8 * (chunk * (vhdx->ratio + 1) + vhdx->ratio),
            vhdx->end | 6, 8);
    diff_put(vhdx->file, vhdx->end, vhdx->bitmap, sizeof(vhdx->bitmap));
    vhdx->end += DIFF_MIB;
    memset(vhdx->bitmap, 0, sizeof(vhdx->bitmap));
}

static inline void diff_vhdx_make(const char *path,
                                  const struct diff_spec *spec, uint8_t *model)
{
    uint64_t sector = spec->sector_bytes != 0 ? spec->sector_bytes : 512;
    uint64_t blocks =
        (spec->size_bytes + spec->block_bytes - 1) / spec->block_bytes;
    uint64_t ratio = UINT64_C(8388608) * sector / spec->block_bytes;
    uint64_t chunks = (blocks + ratio - 1) / ratio;
    uint64_t bat_bytes =
        (chunks * (ratio + 1) * 8 + DIFF_MIB - 1) / DIFF_MIB * DIFF_MIB;
    struct diff_vhdx *vhdx = calloc(1, sizeof(*vhdx));
    struct diff_block block = diff_block_make(spec);

    if (vhdx == NULL)
        diff_fail("memory");
    vhdx->file = fopen(path, "w+b");
    vhdx->bat = calloc(1, bat_bytes);
    if (vhdx->file == NULL || vhdx->bat == NULL)
        diff_fail(path);
    vhdx->ratio = ratio;
    vhdx->end = 3 * DIFF_MIB + bat_bytes;
    diff_vhdx_head(vhdx->file, spec, bat_bytes);
    diff_vhdx_metadata(vhdx->file, spec);
    for (uint64_t i = 0; i < blocks; i++) {
        block.kind = diff_kind_of(spec, i, true);
        if (block.kind != DIFF_ABSENT)
            diff_draw(spec, i, &block, model);
        diff_vhdx_block(vhdx, spec, i, &block);
        if ((i + 1) % ratio == 0 || i + 1 == blocks)
            diff_vhdx_chunk(vhdx, spec, i / ratio);
    }
    diff_put(vhdx->file, 3 * DIFF_MIB, vhdx->bat, bat_bytes);
    if (fclose(vhdx->file) != 0)
        diff_fail(path);
    diff_block_free(&block);
    free(vhdx->bat);
    free(vhdx);
}

#endif
