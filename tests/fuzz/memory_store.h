/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a fuzz case as a store, and beside them those that are written
 * (memory_target.h). No other file can be opened. */
#ifndef DS_TESTS_FUZZ_MEMORY_STORE_H
#define DS_TESTS_FUZZ_MEMORY_STORE_H

#include "fuzz_case.h"
#include "store.h"

extern const struct ds_store_ops memory_store_ops;

/** The case whose files the store has; borrowed until the next call. What was
 * written before is gone. */
void memory_store_set(const struct fuzz_case *fuzz);

/** How many of its files are open. */
unsigned memory_store_open_count(void);

#endif
