/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a raw disk of terabytes whose every block is stored, out of one
 * gigabyte: the piece is cloned to the file's start, and then the file behind
 * itself, until it is long enough.
 *
 *   | base |      |             |                           |
 *    clone  again  both of them  all four of them            ...
 *
 * With COUNT it is sparse instead: COUNT pieces of PIECE_BYTES, one at each
 * COUNTth of the disk, and holes between them. So the number of extents does
 * not depend on the size.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure.h"

#define PIECE_BYTES (UINT64_C(2) << 20)
#define BLOCK_BYTES UINT64_C(4096)

static void share(int from, uint64_t source, int to, uint64_t target,
                  uint64_t length_bytes)
{
    struct file_clone_range range = {
        .src_fd = from,
        .src_offset = source,
        .src_length = length_bytes,
        .dest_offset = target,
    };

    if (ioctl(to, FICLONERANGE, &range) != 0)
        die("FICLONERANGE");
}

static void fill(int base, uint64_t base_bytes, int disk, uint64_t size_bytes)
{
    uint64_t done = base_bytes < size_bytes ? base_bytes : size_bytes;

    share(base, 0, disk, 0, done);
    while (done < size_bytes) {
        uint64_t part = size_bytes - done < done ? size_bytes - done : done;

        share(disk, 0, disk, done, part);
        done += part;
    }
}

static void scatter(int base, uint64_t base_bytes, int disk,
                    uint64_t size_bytes, uint64_t count)
{
    uint64_t stride = size_bytes / count / PIECE_BYTES * PIECE_BYTES;
    uint64_t pieces = base_bytes / PIECE_BYTES;

    if (stride < 2 * PIECE_BYTES || pieces == 0) {
        fputs("mapped: COUNT: no room for so many pieces\n", stderr);
        exit(1);
    }
    if (ftruncate(disk, (off_t)size_bytes) != 0)
        die("ftruncate");
    for (uint64_t i = 0; i < count; i++)
        share(base, i % pieces * PIECE_BYTES, disk, i * stride, PIECE_BYTES);
}

int main(int argc, char **argv)
{
    struct stat status;
    uint64_t size_bytes;
    int base, disk;

    if (argc != 4 && argc != 5) {
        fputs("usage: mapped BASE BYTES DISK [COUNT]\n", stderr);
        return 2;
    }
    size_bytes = strtoull(argv[2], NULL, 10);
    base = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (base < 0 || fstat(base, &status) != 0)
        die(argv[1]);
    if (status.st_size == 0 || (uint64_t)status.st_size % BLOCK_BYTES != 0 ||
        size_bytes == 0 || size_bytes % BLOCK_BYTES != 0) {
        fputs("mapped: BASE, BYTES: expect whole blocks of 4 KiB\n", stderr);
        return 1;
    }
    disk = open(argv[3], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (disk < 0)
        die(argv[3]);
    if (argc == 4)
        fill(base, (uint64_t)status.st_size, disk, size_bytes);
    else
        scatter(base, (uint64_t)status.st_size, disk, size_bytes,
                strtoull(argv[4], NULL, 10));
    if (fsync(disk) != 0 || close(disk) != 0)
        die(argv[3]);
    return 0;
}
