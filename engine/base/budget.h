/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What opening one disk, with all its parents, may cost. Each table has a
 * bound of its own by its format, but a chain has 64 layers: what they take
 * together is counted here, before it is taken. Not given back until the disk
 * is closed. Named as the program's options are, so that who reads the error
 * knows which.
 */
#ifndef DS_BASE_BUDGET_H
#define DS_BASE_BUDGET_H

#include <stdint.h>

#include <diskshift/disk.h>

struct ds_file;

struct ds_budget {
    struct ds_limits limits; /* none of them 0 */
    uint64_t memory_left_bytes;
    uint64_t key_rounds_left;
};

/** `limits` may be NULL; what is 0 in it becomes the standard. */
void ds_budget_init(struct ds_budget *budget, const struct ds_limits *limits);

/** Count `bytes` for `what` ("qcow2: l1 table"). LIMIT when they are no longer
 * there. `budget` may be NULL, in all of these: nothing is bounded. */
int ds_budget_memory(struct ds_budget *budget, const struct ds_file *file,
                     const char *what, uint64_t bytes, struct ds_error *err);

/** The same for rounds of a hash that turn a passphrase into a key. */
int ds_budget_key_rounds(struct ds_budget *budget, const struct ds_file *file,
                         const char *what, uint64_t rounds,
                         struct ds_error *err);

/** LIMIT when an image of `format` claims a larger disk than is admitted. */
int ds_budget_check_size(const struct ds_budget *budget,
                         const struct ds_file *file, const char *format,
                         uint64_t size_bytes, struct ds_error *err);

#endif
