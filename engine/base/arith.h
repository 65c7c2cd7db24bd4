/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic on untrusted numbers. The checked forms return false when the
 * result does not fit, and their result must be looked at. */
#ifndef DS_BASE_ARITH_H
#define DS_BASE_ARITH_H

#include <stdbool.h>
#include <stdint.h>

#define DS_MUST_CHECK __attribute__((warn_unused_result))

#define DS_SECTOR_BYTES 512u
#define DS_KIB UINT64_C(1024)
#define DS_MIB (UINT64_C(1024) * DS_KIB)
#define DS_GIB (UINT64_C(1024) * DS_MIB)
#define DS_TIB (UINT64_C(1024) * DS_GIB)

static inline DS_MUST_CHECK bool ds_add_u64(uint64_t a, uint64_t b,
                                            uint64_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

static inline DS_MUST_CHECK bool ds_mul_u64(uint64_t a, uint64_t b,
                                            uint64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

/** Whether [offset, offset + length) lies in [0, size). */
static inline DS_MUST_CHECK bool ds_range_fits(uint64_t offset, uint64_t length,
                                               uint64_t size)
{
    return offset <= size && length <= size - offset;
}

static inline bool ds_is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/* For trusted or already bounded numbers; `unit` is a power of two. */
static inline uint64_t ds_align_down(uint64_t value, uint64_t unit)
{
    return value & ~(unit - 1);
}

static inline uint64_t ds_align_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}

/** Ceiling of a / b, without overflow. */
static inline uint64_t ds_div_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static inline uint64_t ds_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t ds_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
