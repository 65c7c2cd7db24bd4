/* SPDX-License-Identifier: Apache-2.0 */
/* The VHDX of vhdx_fixture.h as a differencing disk, by the spec's numbers. */
#ifndef VHDX_DIFF_FIXTURE_H
#define VHDX_DIFF_FIXTURE_H

#include "vhdx_log_fixture.h"

/*
 * The fixture as a child, one MiB longer for the chunk's sector bitmap:
 *
 *   block  0        1        2     3       4        5         6 (one sector)
 *   entry  4M part  5M full  zero  parent  7M part  unmapped  8M part
 */
#define BITMAP (9 * MIB)
#define CHILD_BYTES (10 * MIB)
#define LOCATOR (FIX_METADATA + 0x10100)
#define BAT_BITMAP(ratio) (FIX_BAT + 8 * (ratio))
#define RATIO_512 4096u
#define RATIO_4096 32768u

struct pair {
    const char *key, *value;
};

static inline size_t utf16(uint8_t *at, const char *text)
{
    size_t count = strlen(text);

    for (size_t i = 0; i < count; i++)
        put(at + 2 * i, (uint8_t)text[i], 2);
    return 2 * count;
}

/* Returns the locator's length. */
static inline size_t put_locator(uint8_t *at, const struct pair *pairs,
                                 unsigned count)
{
    static const uint8_t type[16] = { 0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1,
                                      0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8,
                                      0xe9, 0x44, 0x59, 0x13 };
    size_t used = 20 + 12 * count;

    memset(at, 0, 4096);
    memcpy(at, type, 16);
    put(at + 18, count, 2);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = at + 20 + 12 * i;
        size_t length = utf16(at + used, pairs[i].key);

        put(entry, used, 4);
        put(entry + 8, length, 2);
        used += length;
        length = utf16(at + used, pairs[i].value);
        put(entry + 4, used, 4);
        put(entry + 10, length, 2);
        used += length;
    }
    return used;
}

#define LINKAGE "{22222222-2222-2222-2222-222222222222}"
#define OTHER_LINKAGE "{00112233-4455-6677-8899-AABBCCDDEEFF}"

static inline void set_locator(struct memory_file *memory,
                               const struct pair *pairs, unsigned count)
{
    static const uint8_t id[16] = { 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3,
                                    0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8,
                                    0x48, 0x34, 0xab, 0x0c };
    uint8_t *metadata = memory->bytes + FIX_METADATA;
    size_t length = put_locator(memory->bytes + LOCATOR, pairs, count);

    put(metadata + 10, 6, 2);
    fix_item(metadata, 5, id, LOCATOR - FIX_METADATA, (uint32_t)length, 4);
}

static inline void fix_child(struct memory_file *memory)
{
    static const struct pair pairs[] = {
        { "parent_linkage", LINKAGE },
        { "relative_path", ".\\base.vhdx" },
    };

    fix_image(memory);
    memory->bytes = realloc(memory->bytes, CHILD_BYTES);
    assert_non_null(memory->bytes);
    memset(memory->bytes + FIX_BYTES, 0, CHILD_BYTES - FIX_BYTES);
    memory->length_bytes = CHILD_BYTES;
    memory->file.size_bytes = CHILD_BYTES;
    put(memory->bytes + FIX_METADATA + 0x10004, 2, 4);
    put(memory->bytes + FIX_BAT, 4 * MIB | 7, 8);
    put(memory->bytes + FIX_BAT + 8 * 4, 7 * MIB | 7, 8);
    put(memory->bytes + FIX_BAT + 8 * 6, 8 * MIB | 7, 8);
    put(memory->bytes + BAT_BITMAP(RATIO_512), BITMAP | 6, 8);
    memory->bytes[BITMAP] = 0x8d; /* 1011 0001, first bit first */
    memset(memory->bytes + BITMAP + 4 * 256 + 128, 0xff, 128);
    memory->bytes[BITMAP + 6 * 256] = 1;
    set_locator(memory, pairs, 2);
}

#endif
