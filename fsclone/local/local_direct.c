/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing past the page cache, through a second descriptor.
 *
 *   write   | head   | aligned middle                  | tail   |
 *             cached   O_DIRECT, into reserved room      cached
 *
 * What is copied is not wanted in memory afterwards, and to bring it through
 * there costs more than the copying itself: pages to be found, cleared, filled
 * and written back. What was written so can be read back at once, while others
 * still write. What is read back this way comes from storage, whatever is
 * cached. The memory of both is handed to the device as it lies: buffer.h.
 *
 * ext4 lets only one thread at a time write where it has still to allocate, so
 * room should be reserved first. But reserving waits for all that read or write
 * in this way, also on XFS: a reservation for each write would let storage
 * stand idle half of the time.
 *
 * Head and tail lie in other pages than the middle, so that no page is written
 * both ways. Where the filesystem has no such writes (or, as btrfs, makes
 * cached ones of them) all is as ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#include "arith.h"
#include "local.h"

#define ALIGN_BYTES UINT64_C(4096)
#define DIRECT_BYTES_MIN (UINT64_C(128) * 1024)
#define NONE (-1)

static int open_direct(const struct local_file *file, int access)
{
    char by_fd[40];
    struct stat ours, opened;
    (void)snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", file->fd);
    int fd = open(by_fd, access | O_DIRECT | O_CLOEXEC);
    if (fd < 0)
        return NONE;
    if (fstat(file->fd, &ours) != 0 || fstat(fd, &opened) != 0 ||
        ours.st_dev != opened.st_dev || ours.st_ino != opened.st_ino) {
        (void)close(fd);
        return NONE;
    }
    return fd;
}

static bool writes_direct(int fd)
{
    switch (local_magic(fd)) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
        return true;
    default:
        return false;
    }
}

/* The descriptor to write with, opened at first use by whichever thread comes
 * first; NONE if there is none. */
static int direct_fd(struct local_file *file)
{
    int have = atomic_load(&file->direct_fd);
    if (have != 0)
        return have == NONE ? NONE : have - 1;
    int fd = writes_direct(file->fd) ? open_direct(file, O_RDWR) : NONE;
    int made = fd < 0 ? NONE : fd + 1;
    if (!atomic_compare_exchange_strong(&file->direct_fd, &have, made)) {
        if (fd >= 0)
            (void)close(fd);
        made = have;
    }
    return made == NONE ? NONE : made - 1;
}

void local_close_direct(struct local_file *file)
{
    int have = atomic_exchange(&file->direct_fd, NONE);
    if (have > 0)
        (void)close(have - 1);
}

void local_from_storage(struct ds_file *file)
{
    struct local_file *local = local_of(file);
    if (local->is_block_device || local_magic(local->fd) == FUSE_SUPER_MAGIC ||
        atomic_load(&local->direct_fd) != 0)
        return;
    int fd = open_direct(local, O_RDONLY | O_NOATIME);
    if (fd < 0)
        fd = open_direct(local, O_RDONLY);
    atomic_store(&local->direct_fd, fd < 0 ? NONE : fd + 1);
    local->base.reads_large = local->reads_direct = fd >= 0;
    /* What is not read that way is read in order all the same. */
    (void)posix_fadvise(local->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}

size_t local_direct_read(struct local_file *file, uint64_t offset_bytes,
                         void *buffer, size_t length_bytes)
{
    int have = atomic_load(&file->direct_fd);
    size_t whole = (size_t)ds_align_down(length_bytes, ALIGN_BYTES);
    size_t done = 0;
    if (have <= 0 || whole < DIRECT_BYTES_MIN ||
        offset_bytes % ALIGN_BYTES != 0 || (uintptr_t)buffer % ALIGN_BYTES != 0)
        return 0;
    while (done < whole) {
        ssize_t got = pread(have - 1, (uint8_t *)buffer + done, whole - done,
                            (off_t)(offset_bytes + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || (uint64_t)got % ALIGN_BYTES != 0)
            break; /* the usual way goes on from here, and tells why */
        done += (size_t)got;
    }
    return done;
}

bool local_read_back(struct ds_file *target, uint64_t offset_bytes,
                     void *buffer, size_t length_bytes)
{
    return local_direct_read(local_of(target), offset_bytes, buffer,
                             length_bytes) == length_bytes;
}

void local_reserve(struct local_file *file, uint64_t offset_bytes,
                   uint64_t length_bytes)
{
    if (length_bytes >= DIRECT_BYTES_MIN && direct_fd(file) != NONE)
        (void)fallocate(file->fd, 0, (off_t)offset_bytes, (off_t)length_bytes);
}

void local_reserve_alone(struct local_file *file, uint64_t offset_bytes,
                         uint64_t length_bytes)
{
    if (length_bytes >= DIRECT_BYTES_MIN &&
        local_magic(file->fd) == EXT4_SUPER_MAGIC)
        local_reserve(file, offset_bytes, length_bytes);
}

void local_give_back(struct local_file *file, uint64_t offset_bytes,
                     uint64_t length_bytes)
{
    if (length_bytes > 0 && direct_fd(file) != NONE)
        (void)fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)offset_bytes, (off_t)length_bytes);
}

/* Whether it was written. Errors are left for the usual way to meet. */
static bool write_direct(struct local_file *file, const uint8_t *bytes,
                         uint64_t length_bytes, uint64_t offset_bytes)
{
    int fd = direct_fd(file);
    if (fd == NONE)
        return false;
    while (length_bytes > 0) {
        ssize_t done = pwrite(fd, bytes, length_bytes, (off_t)offset_bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0 || (uint64_t)done % ALIGN_BYTES != 0)
            return false;
        bytes += done;
        length_bytes -= (uint64_t)done;
        offset_bytes += (uint64_t)done;
    }
    return true;
}

int local_write_large(struct local_file *file, const void *bytes,
                      uint64_t length_bytes, uint64_t offset_bytes)
{
    const uint8_t *from = bytes;
    uint64_t head = (0 - offset_bytes) % ALIGN_BYTES;
    uint64_t middle;
    int rc;
    if (length_bytes < DIRECT_BYTES_MIN + 2 * ALIGN_BYTES ||
        ((uintptr_t)from + head) % ALIGN_BYTES != 0)
        return local_write_fully(file->fd, from, length_bytes, offset_bytes);
    middle = ds_align_down(length_bytes - head, ALIGN_BYTES);
    if (!write_direct(file, from + head, middle, offset_bytes + head))
        return local_write_fully(file->fd, from, length_bytes, offset_bytes);
    rc = local_write_fully(file->fd, from, head, offset_bytes);
    if (rc == 0)
        rc = local_write_fully(file->fd, from + head + middle,
                               length_bytes - head - middle,
                               offset_bytes + head + middle);
    return rc;
}
