/* SPDX-License-Identifier: Apache-2.0 */
#include "claims.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"

#define WORD_BITS 64u

int claims_init(struct claims *claims, uint64_t size_bytes,
                uint64_t granule_bytes, struct ds_error *err)
{
    uint64_t granule_count, window_bytes;

    assert(ds_is_power_of_two(granule_bytes));
    granule_bytes = ds_min_u64(granule_bytes, CLAIMS_GRANULE_MAX);
    granule_count = ds_div_up(size_bytes, granule_bytes);
    *claims = (struct claims){ .granule_bytes = granule_bytes };
    claims->word_count = ds_min_u64(ds_div_up(granule_count, WORD_BITS),
                                    CLAIMS_BITMAP_BYTES / sizeof(uint64_t));
    claims->word_count = ds_max_u64(claims->word_count, 1);
    claims->bits = calloc(claims->word_count, sizeof(uint64_t));
    if (claims->bits == NULL)
        return ds_fail_memory(err);
    claims->size_bytes = granule_count * granule_bytes;
    window_bytes = claims->word_count * WORD_BITS * granule_bytes;
    claims->window_end_bytes = ds_min_u64(window_bytes, claims->size_bytes);
    return 0;
}

void claims_free(struct claims *claims)
{
    free(claims->bits);
    claims->bits = NULL;
}

bool claims_next_window(struct claims *claims)
{
    uint64_t window_bytes =
        claims->word_count * WORD_BITS * claims->granule_bytes;

    if (claims->window_end_bytes >= claims->size_bytes)
        return false;
    claims->window_begin_bytes = claims->window_end_bytes;
    claims->window_end_bytes = ds_min_u64(
        claims->window_begin_bytes + window_bytes, claims->size_bytes);
    memset(claims->bits, 0, claims->word_count * sizeof(uint64_t));
    return true;
}

/* Bits [low, high) of one word, high <= 64. */
static uint64_t word_mask(uint64_t low, uint64_t high)
{
    uint64_t upto_high =
        high == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << high) - 1;

    return upto_high & ~((UINT64_C(1) << low) - 1);
}

bool claims_add(struct claims *claims, uint64_t offset_bytes,
                uint64_t length_bytes)
{
    uint64_t begin = ds_max_u64(offset_bytes, claims->window_begin_bytes);
    uint64_t end =
        ds_min_u64(offset_bytes + length_bytes, claims->window_end_bytes);
    uint64_t bit, bit_end, before = 0;

    if (begin >= end)
        return true;
    bit = (begin - claims->window_begin_bytes) / claims->granule_bytes;
    bit_end =
        ds_div_up(end - claims->window_begin_bytes, claims->granule_bytes);
    while (bit < bit_end) {
        uint64_t word = bit / WORD_BITS;
        uint64_t high = ds_min_u64(bit_end - word * WORD_BITS, WORD_BITS);
        uint64_t mask = word_mask(bit % WORD_BITS, high);

        before |= claims->bits[word] & mask;
        claims->bits[word] |= mask;
        bit = (word + 1) * WORD_BITS;
    }
    return before == 0;
}

/* The first bit at or after `bit` whose state is not `state`. */
static uint64_t scan(const struct claims *claims, uint64_t bit,
                     uint64_t bit_end, bool state)
{
    uint64_t flip = state ? UINT64_MAX : 0;

    while (bit < bit_end) {
        uint64_t word = claims->bits[bit / WORD_BITS] ^ flip;

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
    uint64_t begin = claims->window_begin_bytes;
    uint64_t granule = claims->granule_bytes;
    uint64_t bit_end = (claims->window_end_bytes - begin) / granule;
    uint64_t bit = (*cursor - begin) / granule;
    uint64_t stop;

    if (bit >= bit_end)
        return false;
    *claimed = (claims->bits[bit / WORD_BITS] >> bit % WORD_BITS & 1) != 0;
    stop = scan(claims, bit, bit_end, *claimed);
    *offset_bytes = begin + bit * granule;
    *length_bytes = (stop - bit) * granule;
    *cursor = begin + stop * granule;
    return true;
}
