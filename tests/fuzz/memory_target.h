/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are written in memory: pages of 4 KiB, each with the address it
 * would have on storage. A clone takes over bytes and address, a write gives
 * a new address: what two files share shows in their maps, as with a
 * filesystem's reflinks. A file ends at MEMORY_TARGET_BYTES_MAX: ENOSPC.
 */
#ifndef DS_TESTS_FUZZ_MEMORY_TARGET_H
#define DS_TESTS_FUZZ_MEMORY_TARGET_H

#include "store.h"

#define MEMORY_TARGET_COUNT_MAX 32u
#define MEMORY_TARGET_BYTES_MAX (UINT64_C(96) << 20)
#define MEMORY_PAGE_BYTES UINT64_C(4096)

struct memory_target {
    char *path; /* the final one */
    bool in_use;
    bool installed;
    uint64_t size_bytes;
    uint8_t *bytes;
    uint64_t *addresses; /* per page; 0: a hole */
    uint8_t *flags;      /* per page; enum ds_physical_flags */
    uint64_t page_count; /* there is room for */
};

/** Forget all files. Nobody may have one open. */
void memory_targets_clear(void);

/** A new file, or NULL when there are too many. */
struct memory_target *memory_target_make(const char *path);
/** The one of that name; with `installed_only` one that has it by now. */
struct memory_target *memory_target_find(const char *path, bool installed_only);
void memory_target_remove(struct memory_target *target);
/** How many files have their final names, or with false: have them not. */
unsigned memory_target_count(bool installed);

int memory_target_read(const struct memory_target *target, uint64_t offset,
                       void *buffer, size_t length);
int memory_target_physical(const struct memory_target *target, uint64_t offset,
                           uint64_t length, struct ds_physical_extent *extents,
                           size_t extent_count_max, size_t *count);

/** The verbs; 0 or -errno. */
int memory_target_write(struct memory_target *target, uint64_t offset,
                        const void *bytes, uint64_t length);
int memory_target_zero(struct memory_target *target, uint64_t offset,
                       uint64_t length);
int memory_target_punch(struct memory_target *target, uint64_t offset,
                        uint64_t length);
int memory_target_allocate(struct memory_target *target, uint64_t offset,
                           uint64_t length);
int memory_target_truncate(struct memory_target *target, uint64_t size);
/** One page, of which `length` bytes count; address 0: a hole. */
int memory_target_share(struct memory_target *target, uint64_t offset,
                        const uint8_t *page, uint64_t length, uint64_t address);
uint64_t memory_target_address(const struct memory_target *target,
                               uint64_t offset);

#endif
