/* SPDX-License-Identifier: Apache-2.0 */
#include "claims.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"

#define WORD_BITS 64u
/* What one bit of the summary stands for: 512 bytes of the bitmap. */
#define GROUP_WORDS UINT64_C(64)
#define GROUP_BITS (GROUP_WORDS * WORD_BITS)
#define NOTHING_BEHIND UINT64_MAX

static uint64_t summary_words(const struct claims *claims)
{
    return ds_div_up(claims->word_count, GROUP_WORDS * WORD_BITS);
}

static uint64_t bitmap_bytes(const struct claims *claims)
{
    return claims->word_count * WORD_BITS * claims->granule_bytes;
}

int claims_init(struct claims *claims, uint64_t size_bytes,
                uint64_t granule_bytes, uint64_t memory_bytes,
                struct ds_error *err)
{
    uint64_t most = ds_max_u64(ds_min_u64(memory_bytes, CLAIMS_BITMAP_BYTES),
                               CLAIMS_BITMAP_BYTES_MIN);
    uint64_t granule_count;

    assert(ds_is_power_of_two(granule_bytes));
    granule_bytes = ds_min_u64(granule_bytes, CLAIMS_GRANULE_MAX);
    granule_count = ds_div_up(size_bytes, granule_bytes);
    *claims = (struct claims){ .granule_bytes = granule_bytes,
                               .behind_bytes = NOTHING_BEHIND };
    claims->word_count =
        ds_min_u64(ds_div_up(granule_count, WORD_BITS),
                   most / (GROUP_WORDS * sizeof(uint64_t)) * GROUP_WORDS);
    claims->word_count = ds_max_u64(claims->word_count, 1);
    claims->bits = calloc(claims->word_count, sizeof(uint64_t));
    claims->summary = calloc(summary_words(claims), sizeof(uint64_t));
    if (claims->bits == NULL || claims->summary == NULL) {
        claims_free(claims);
        return ds_fail_memory(err);
    }
    claims->size_bytes = granule_count * granule_bytes;
    claims->window_end_bytes =
        ds_min_u64(bitmap_bytes(claims), claims->size_bytes);
    return 0;
}

void claims_free(struct claims *claims)
{
    free(claims->bits);
    free(claims->summary);
    claims->bits = NULL;
    claims->summary = NULL;
}

/* The first group from `group` on that may hold a claim; one behind the last
 * if none does. */
static uint64_t next_group(const struct claims *claims, uint64_t group)
{
    uint64_t count = summary_words(claims);
    uint64_t at = group / WORD_BITS;
    uint64_t word;

    if (at >= count)
        return group;
    word = claims->summary[at] & (UINT64_MAX << group % WORD_BITS);
    while (word == 0 && ++at < count)
        word = claims->summary[at];
    return at * WORD_BITS + (word != 0 ? (uint64_t)__builtin_ctzll(word) : 0);
}

static void clear(struct claims *claims)
{
    uint64_t end = ds_div_up(claims->word_count, GROUP_WORDS);

    for (uint64_t group = next_group(claims, 0); group < end;
         group = next_group(claims, group + 1)) {
        uint64_t word = group * GROUP_WORDS;
        uint64_t count = ds_min_u64(GROUP_WORDS, claims->word_count - word);

        memset(claims->bits + word, 0, count * sizeof(uint64_t));
    }
    memset(claims->summary, 0, summary_words(claims) * sizeof(uint64_t));
}

bool claims_next_window(struct claims *claims)
{
    uint64_t behind = claims->behind_bytes;

    if (claims->window_end_bytes >= claims->size_bytes)
        return false;
    clear(claims);
    claims->window_begin_bytes = claims->window_end_bytes;
    claims->behind_bytes = NOTHING_BEHIND;
    /* On a group's border, which is one of the filesystem's blocks too. */
    claims->bitmap_begin_bytes =
        behind == NOTHING_BEHIND
            ? claims->size_bytes
            : ds_align_down(behind, GROUP_BITS * claims->granule_bytes);
    claims->window_end_bytes = ds_min_u64(
        claims->bitmap_begin_bytes + bitmap_bytes(claims), claims->size_bytes);
    return true;
}

/* Bits [low, high) of one word, high <= 64. */
static uint64_t word_mask(uint64_t low, uint64_t high)
{
    uint64_t upto_high =
        high == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << high) - 1;

    return upto_high & ~((UINT64_C(1) << low) - 1);
}

static void note_behind(struct claims *claims, uint64_t begin, uint64_t end)
{
    begin = ds_max_u64(begin, claims->window_end_bytes);
    if (begin < ds_min_u64(end, claims->size_bytes))
        claims->behind_bytes = ds_min_u64(claims->behind_bytes, begin);
}

bool claims_add(struct claims *claims, uint64_t offset_bytes,
                uint64_t length_bytes)
{
    uint64_t begin = ds_max_u64(offset_bytes, claims->bitmap_begin_bytes);
    uint64_t end =
        ds_min_u64(offset_bytes + length_bytes, claims->window_end_bytes);
    uint64_t bit, bit_end, before = 0;

    note_behind(claims, offset_bytes, offset_bytes + length_bytes);
    if (begin >= end)
        return true;
    bit = (begin - claims->bitmap_begin_bytes) / claims->granule_bytes;
    bit_end =
        ds_div_up(end - claims->bitmap_begin_bytes, claims->granule_bytes);
    while (bit < bit_end) {
        uint64_t word = bit / WORD_BITS, group = word / GROUP_WORDS;
        uint64_t high = ds_min_u64(bit_end - word * WORD_BITS, WORD_BITS);
        uint64_t mask = word_mask(bit % WORD_BITS, high);

        before |= claims->bits[word] & mask;
        claims->bits[word] |= mask;
        claims->summary[group / WORD_BITS] |= UINT64_C(1) << group % WORD_BITS;
        bit = (word + 1) * WORD_BITS;
    }
    return before == 0;
}

bool claims_any(const struct claims *claims, uint64_t offset_bytes,
                uint64_t length_bytes)
{
    uint64_t begin = ds_max_u64(offset_bytes, claims->bitmap_begin_bytes);
    uint64_t end =
        ds_min_u64(offset_bytes + length_bytes, claims->window_end_bytes);
    uint64_t bit, bit_end;

    if (begin >= end)
        return false;
    bit = (begin - claims->bitmap_begin_bytes) / claims->granule_bytes;
    bit_end =
        ds_div_up(end - claims->bitmap_begin_bytes, claims->granule_bytes);
    while (bit < bit_end) {
        uint64_t word = bit / WORD_BITS;
        uint64_t high = ds_min_u64(bit_end - word * WORD_BITS, WORD_BITS);

        if ((claims->bits[word] & word_mask(bit % WORD_BITS, high)) != 0)
            return true;
        bit = (word + 1) * WORD_BITS;
    }
    return false;
}

void claims_join(struct claims *left, struct claims *right)
{
    uint64_t behind = ds_min_u64(left->behind_bytes, right->behind_bytes);

    left->behind_bytes = right->behind_bytes = behind;
}

/* The first bit at or after `bit` whose state is not `state`. */
static uint64_t scan(const struct claims *claims, uint64_t bit,
                     uint64_t bit_end, bool state)
{
    uint64_t flip = state ? UINT64_MAX : 0;

    while (bit < bit_end) {
        uint64_t word;

        if (!state && bit % GROUP_BITS == 0) {
            bit = next_group(claims, bit / GROUP_BITS) * GROUP_BITS;
            if (bit >= bit_end)
                break;
        }
        word = claims->bits[bit / WORD_BITS] ^ flip;
        word &= ~((UINT64_C(1) << bit % WORD_BITS) - 1);
        if (word != 0) {
            bit =
                ds_align_down(bit, WORD_BITS) + (uint64_t)__builtin_ctzll(word);
            return ds_min_u64(bit, bit_end);
        }
        bit = ds_align_down(bit, WORD_BITS) + WORD_BITS;
    }
    return bit_end;
}

bool claims_next_range(const struct claims *claims, uint64_t *cursor,
                       uint64_t *offset_bytes, uint64_t *length_bytes,
                       bool *claimed)
{
    uint64_t begin = claims->bitmap_begin_bytes;
    uint64_t granule = claims->granule_bytes;
    uint64_t bit_end = (claims->window_end_bytes - begin) / granule;
    uint64_t bit = *cursor > begin ? (*cursor - begin) / granule : 0;
    uint64_t stop;

    if (*cursor >= claims->window_end_bytes)
        return false;
    *claimed = *cursor >= begin &&
               (claims->bits[bit / WORD_BITS] >> bit % WORD_BITS & 1) != 0;
    stop = begin + scan(claims, bit, bit_end, *claimed) * granule;
    *offset_bytes = *cursor;
    *length_bytes = stop - *cursor;
    *cursor = stop;
    return true;
}
