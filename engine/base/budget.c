/* SPDX-License-Identifier: Apache-2.0 */
#include "budget.h"

#include <inttypes.h>

#include "fail.h"

static uint64_t or_standard(uint64_t limit, uint64_t standard)
{
    return limit != 0 ? limit : standard;
}

void ds_budget_init(struct ds_budget *budget, const struct ds_limits *limits)
{
    static const struct ds_limits none = { 0 };

    if (limits == NULL)
        limits = &none;
    budget->limits = (struct ds_limits){
        .memory_bytes =
            or_standard(limits->memory_bytes, DS_LIMIT_MEMORY_BYTES),
        .virtual_size_bytes = or_standard(limits->virtual_size_bytes,
                                          DS_LIMIT_VIRTUAL_SIZE_BYTES),
        .key_rounds = or_standard(limits->key_rounds, DS_LIMIT_KEY_ROUNDS),
    };
    budget->memory_left_bytes = budget->limits.memory_bytes;
    budget->key_rounds_left = budget->limits.key_rounds;
}

static int take(uint64_t *left, uint64_t limit, const char *name,
                const struct ds_file *file, const char *what, uint64_t amount,
                struct ds_error *err)
{
    if (amount > *left)
        return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_LIMIT,
                          "%s: have %" PRIu64 " expect at most %" PRIu64
                          ", which is left of %s %" PRIu64,
                          what, amount, *left, name, limit);
    *left -= amount;
    return 0;
}

int ds_budget_memory(struct ds_budget *budget, const struct ds_file *file,
                     const char *what, uint64_t bytes, struct ds_error *err)
{
    return budget == NULL
               ? 0
               : take(&budget->memory_left_bytes, budget->limits.memory_bytes,
                      "max-memory", file, what, bytes, err);
}

int ds_budget_key_rounds(struct ds_budget *budget, const struct ds_file *file,
                         const char *what, uint64_t rounds,
                         struct ds_error *err)
{
    return budget == NULL
               ? 0
               : take(&budget->key_rounds_left, budget->limits.key_rounds,
                      "max-key-rounds", file, what, rounds, err);
}

int ds_budget_check_size(const struct ds_budget *budget,
                         const struct ds_file *file, const char *format,
                         uint64_t size_bytes, struct ds_error *err)
{
    if (budget == NULL || size_bytes <= budget->limits.virtual_size_bytes)
        return 0;
    return ds_fail_at(err, file, DS_OFFSET_NONE, DS_ERR_LIMIT,
                      "%s: size of the disk, have %" PRIu64
                      " bytes expect at most %" PRIu64 " (max-virtual-size)",
                      format, size_bytes, budget->limits.virtual_size_bytes);
}
