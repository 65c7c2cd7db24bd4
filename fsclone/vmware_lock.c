/* SPDX-License-Identifier: Apache-2.0 */
#include "vmware_lock.h"

#include <stdio.h>
#include <string.h>

#define ID_DIGITS 16u
#define HOLDER_BYTES_MIN 3u /* less is chance */

bool vmware_is_hosted(const char *name)
{
    size_t length = strlen(name);

    return name[0] == 'M' && length > 4 &&
           strcmp(name + length - 4, ".lck") == 0;
}

/* -- ESXi -------------------------------------------------------------------*/

static int digit(char letter)
{
    static const char digits[] = "0123456789abcdef";
    const char lower =
        (char)(letter >= 'A' && letter <= 'F' ? letter + 'a' - 'A' : letter);
    const char *at = lower != '\0' ? strchr(digits, lower) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

static bool parse(const char *name, uint64_t *file_id)
{
    const char *digits = name + 5;
    uint64_t id = 0;
    size_t count = 0;

    if (strncmp(name, ".lck-", 5) != 0)
        return false;
    for (; digits[count] != '\0'; count++) {
        int value = digit(digits[count]);

        if (value < 0 || count == ID_DIGITS)
            return false;
        /* Two digits are a byte, the bytes go upwards. */
        id |= (uint64_t)value << (count / 2 * 8 + (count % 2 == 0 ? 4 : 0));
    }
    *file_id = id;
    return count > 0;
}

void vmware_locks_see(struct vmware_locks *locks, const char *name)
{
    struct vmware_lock *lock = &locks->list[locks->count];
    uint64_t file_id;

    if (!parse(name, &file_id))
        return;
    if (locks->count == VMWARE_LOCK_COUNT_MAX) {
        locks->full = true;
        return;
    }
    lock->file_id = file_id;
    lock->is_known = false;
    (void)snprintf(lock->name, sizeof(lock->name), "%s", name);
    locks->count++;
}

void vmware_locks_know(struct vmware_locks *locks, uint64_t file_id)
{
    for (size_t i = 0; i < locks->count; i++)
        if (locks->list[i].file_id == file_id)
            locks->list[i].is_known = true;
}

const struct vmware_lock *vmware_locks_find(const struct vmware_locks *locks,
                                            uint64_t file_id)
{
    for (size_t i = 0; i < locks->count; i++)
        if (locks->list[i].file_id == file_id)
            return &locks->list[i];
    for (size_t i = 0; i < locks->count; i++)
        if (!locks->list[i].is_known)
            return &locks->list[i];
    return locks->full ? &locks->list[0] : NULL;
}

/* -- whose ------------------------------------------------------------------*/

static bool is_text(uint8_t byte)
{
    return byte > ' ' && byte < 0x7f && byte != '"';
}

void vmware_holder(const uint8_t *bytes, size_t length,
                   char holder[VMWARE_HOLDER_BYTES])
{
    size_t begin = 0, best = 0, best_length = 0;

    for (size_t i = 0; i <= length; i++) {
        if (i < length && is_text(bytes[i]))
            continue;
        if (i - begin > best_length) {
            best = begin;
            best_length = i - begin;
        }
        begin = i + 1;
    }
    if (best_length < HOLDER_BYTES_MIN)
        best_length = 0;
    (void)snprintf(holder, VMWARE_HOLDER_BYTES, "%.*s", (int)best_length,
                   best_length > 0 ? (const char *)bytes + best : "");
}
