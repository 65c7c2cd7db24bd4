/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"

static struct memory_target targets[MEMORY_TARGET_COUNT_MAX];
static uint64_t next_address = UINT64_C(1) << 56; /* sources lie below */

static void target_free(struct memory_target *target)
{
    free(target->path);
    free(target->bytes);
    free(target->addresses);
    free(target->flags);
    *target = (struct memory_target){ 0 };
}

void memory_targets_clear(void)
{
    for (unsigned i = 0; i < MEMORY_TARGET_COUNT_MAX; i++)
        target_free(&targets[i]);
}

struct memory_target *memory_target_make(const char *path)
{
    for (unsigned i = 0; i < MEMORY_TARGET_COUNT_MAX; i++) {
        if (targets[i].in_use)
            continue;
        targets[i] =
            (struct memory_target){ .path = strdup(path), .in_use = true };
        return &targets[i];
    }
    return NULL;
}

struct memory_target *memory_target_find(const char *path, bool installed_only)
{
    for (unsigned i = 0; i < MEMORY_TARGET_COUNT_MAX; i++)
        if (targets[i].in_use && strcmp(targets[i].path, path) == 0 &&
            (targets[i].installed || !installed_only))
            return &targets[i];
    return NULL;
}

void memory_target_remove(struct memory_target *target)
{
    target_free(target);
}

unsigned memory_target_count(bool installed)
{
    unsigned count = 0;

    for (unsigned i = 0; i < MEMORY_TARGET_COUNT_MAX; i++)
        count += targets[i].in_use && targets[i].installed == installed;
    return count;
}

/* -- room -------------------------------------------------------------------*/

static int grow(void **array, size_t count, size_t old_count, size_t bytes)
{
    uint8_t *grown = realloc(*array, count * bytes);

    if (grown == NULL)
        return -ENOMEM;
    memset(grown + old_count * bytes, 0, (count - old_count) * bytes);
    *array = grown;
    return 0;
}

static int make_room(struct memory_target *target, uint64_t end)
{
    size_t old_count = (size_t)target->page_count;
    size_t count = (size_t)ds_div_up(end, MEMORY_PAGE_BYTES);
    void *bytes = target->bytes, *addresses = target->addresses;
    void *flags = target->flags;
    int result;

    if (end > MEMORY_TARGET_BYTES_MAX)
        return -ENOSPC;
    if (count <= old_count)
        return 0;
    /* Doubled, but within a file's end: the limit of one allocation is there
     * for the engine, not for the harness. */
    count = ds_max_u64(count, 2 * old_count);
    count = ds_min_u64(count, MEMORY_TARGET_BYTES_MAX / MEMORY_PAGE_BYTES);
    result = grow(&bytes, count, old_count, MEMORY_PAGE_BYTES);
    target->bytes = bytes;
    if (result == 0)
        result = grow(&addresses, count, old_count, sizeof(uint64_t));
    target->addresses = addresses;
    if (result == 0)
        result = grow(&flags, count, old_count, 1);
    target->flags = flags;
    if (result == 0)
        target->page_count = count;
    return result;
}

static int reach(struct memory_target *target, uint64_t offset, uint64_t length)
{
    uint64_t end;
    int result;

    if (!ds_add_u64(offset, length, &end))
        return -EFBIG;
    result = make_room(target, end);
    if (result == 0)
        target->size_bytes = ds_max_u64(target->size_bytes, end);
    return result;
}

/* Whatever changes a page gives it an address of its own. */
static void touch(struct memory_target *target, uint64_t offset,
                  uint64_t length)
{
    uint64_t end = ds_div_up(offset + length, MEMORY_PAGE_BYTES);

    for (uint64_t page = offset / MEMORY_PAGE_BYTES; page < end; page++) {
        target->addresses[page] = next_address;
        target->flags[page] = 0;
        next_address += 2 * MEMORY_PAGE_BYTES;
    }
}

/* -- the verbs --------------------------------------------------------------*/

int memory_target_write(struct memory_target *target, uint64_t offset,
                        const void *bytes, uint64_t length)
{
    int result = reach(target, offset, length);

    if (result != 0 || length == 0)
        return result;
    memcpy(target->bytes + offset, bytes, (size_t)length);
    touch(target, offset, length);
    return 0;
}

int memory_target_zero(struct memory_target *target, uint64_t offset,
                       uint64_t length)
{
    int result = reach(target, offset, length);

    if (result != 0 || length == 0)
        return result;
    memset(target->bytes + offset, 0, (size_t)length);
    touch(target, offset, length);
    return 0;
}

/* Beyond the end there is nothing to punch; the size stays. */
int memory_target_punch(struct memory_target *target, uint64_t offset,
                        uint64_t length)
{
    uint64_t end;

    if (!ds_add_u64(offset, length, &end))
        return -EFBIG;
    end = ds_min_u64(end, target->page_count * MEMORY_PAGE_BYTES);
    if (offset >= end)
        return 0;
    memset(target->bytes + offset, 0, (size_t)(end - offset));
    for (uint64_t page = offset / MEMORY_PAGE_BYTES;
         page < ds_div_up(end, MEMORY_PAGE_BYTES); page++) {
        bool whole = page * MEMORY_PAGE_BYTES >= offset &&
                     (page + 1) * MEMORY_PAGE_BYTES <= end;

        if (whole)
            target->addresses[page] = 0;
        else if (target->addresses[page] != 0)
            touch(target, page * MEMORY_PAGE_BYTES, 1);
    }
    return 0;
}

int memory_target_allocate(struct memory_target *target, uint64_t offset,
                           uint64_t length)
{
    int result = reach(target, offset, length);

    if (result != 0 || length == 0)
        return result;
    for (uint64_t page = offset / MEMORY_PAGE_BYTES;
         page < ds_div_up(offset + length, MEMORY_PAGE_BYTES); page++) {
        if (target->addresses[page] != 0)
            continue;
        touch(target, page * MEMORY_PAGE_BYTES, 1);
        target->flags[page] = DS_PHYSICAL_UNWRITTEN;
    }
    return 0;
}

int memory_target_truncate(struct memory_target *target, uint64_t size)
{
    uint64_t old = target->size_bytes;
    int result = make_room(target, size);

    if (result != 0)
        return result;
    if (size < old)
        (void)memory_target_punch(target, size,
                                  ds_align_up(old, MEMORY_PAGE_BYTES) - size);
    target->size_bytes = size;
    return 0;
}

int memory_target_share(struct memory_target *target, uint64_t offset,
                        const uint8_t *page, uint64_t length, uint64_t address)
{
    int result = reach(target, offset, length);

    if (result != 0)
        return result;
    memset(target->bytes + offset, 0, MEMORY_PAGE_BYTES);
    memcpy(target->bytes + offset, page, (size_t)length);
    target->addresses[offset / MEMORY_PAGE_BYTES] = address;
    target->flags[offset / MEMORY_PAGE_BYTES] = 0;
    return 0;
}

/* -- looking ----------------------------------------------------------------*/

uint64_t memory_target_address(const struct memory_target *target,
                               uint64_t offset)
{
    uint64_t page = offset / MEMORY_PAGE_BYTES;

    return page < target->page_count ? target->addresses[page] : 0;
}

int memory_target_read(const struct memory_target *target, uint64_t offset,
                       void *buffer, size_t length)
{
    if (!ds_range_fits(offset, length, target->size_bytes))
        return -EINVAL;
    if (length > 0)
        memcpy(buffer, target->bytes + offset, length);
    return 0;
}

int memory_target_physical(const struct memory_target *target, uint64_t offset,
                           uint64_t length, struct ds_physical_extent *extents,
                           size_t extent_count_max, size_t *count)
{
    uint64_t end = ds_min_u64(offset + length, target->size_bytes);
    struct ds_physical_extent *last = NULL;

    *count = 0;
    for (uint64_t page = offset / MEMORY_PAGE_BYTES;
         page < ds_div_up(end, MEMORY_PAGE_BYTES); page++) {
        uint64_t address = target->addresses[page];

        if (address == 0)
            continue;
        if (last != NULL &&
            last->offset_bytes + last->length_bytes ==
                page * MEMORY_PAGE_BYTES &&
            last->physical_bytes + last->length_bytes == address &&
            last->flags == target->flags[page]) {
            last->length_bytes += MEMORY_PAGE_BYTES;
            continue;
        }
        if (*count == extent_count_max)
            return 0;
        last = &extents[(*count)++];
        *last = (struct ds_physical_extent){
            .offset_bytes = page * MEMORY_PAGE_BYTES,
            .length_bytes = MEMORY_PAGE_BYTES,
            .physical_bytes = address,
            .flags = target->flags[page],
        };
    }
    return 0;
}
