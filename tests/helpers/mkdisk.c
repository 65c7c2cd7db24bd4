/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a guest's disk as a raw file, the same for the same arguments.
 *
 *     mkdisk KIND SIZE SEED FILE
 *     mkdisk list CLUSTER SEED FILE
 *     mkdisk tag TEXT FILE OFFSET LENGTH
 *
 * Every 512 bytes of data are unlike all others (they begin with seed and
 * sector number and go on with a stream drawn from both), so that a sector
 * that turns up at a wrong place is a difference.
 *
 * KIND   dense       data everywhere
 *        sparse      runs of data and holes, 4 KiB to 512 KiB long
 *        fragmented  each 64 KiB is data or hole, two in three are data
 *        far         16 KiB at the begin, around every power of two from
 *                    1 GiB on, and at the end
 *        empty       a hole
 *
 * `list` prints the offsets of those clusters of FILE that hold anything but
 * zeros, in random order; `tag` fills a range with TEXT.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR_BYTES 512u
#define CHUNK_BYTES ((uint64_t)64 * 1024)
#define CLUSTER_BYTES_MAX ((uint64_t)64 * 1024 * 1024)
#define CLUSTER_COUNT_MAX ((size_t)1 << 22)

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "mkdisk: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* splitmix64: a step of a sequence whose every seed is a good one. */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value;
    const char *suffixes = "kMGT";
    const char *suffix;

    errno = 0;
    value = strtoull(text, &end, 10);
    suffix = *end == '\0' ? NULL : strchr(suffixes, *end);
    if (suffix != NULL) {
        value <<= 10 * (suffix - suffixes + 1);
        end++;
    }
    if (errno != 0 || end == text || *end != '\0') {
        errno = EINVAL;
        die(text);
    }
    return value;
}

static void write_all(int fd, const void *bytes, size_t length, uint64_t offset)
{
    const uint8_t *from = bytes;

    while (length > 0) {
        ssize_t done = pwrite(fd, from, length, (off_t)offset);

        if (done <= 0)
            die("write");
        from += done;
        length -= (size_t)done;
        offset += (uint64_t)done;
    }
}

static void fill_sector(uint8_t *sector, uint64_t seed, uint64_t index)
{
    uint64_t state = seed * UINT64_C(0x100000001b3) + index;
    uint64_t words[SECTOR_BYTES / 8];

    words[0] = index;
    words[1] = seed;
    for (size_t i = 2; i < SECTOR_BYTES / 8; i++)
        words[i] = next(&state);
    memcpy(sector, words, SECTOR_BYTES);
}

/* Data at [offset, offset + length), clipped to the disk. */
static void fill(int fd, uint64_t seed, uint64_t offset, uint64_t length,
                 uint64_t size)
{
    static uint8_t buffer[CHUNK_BYTES];
    uint64_t end;

    if (offset >= size)
        return;
    end = length > size - offset ? size : offset + length;
    while (offset < end) {
        uint64_t step = end - offset < CHUNK_BYTES ? end - offset : CHUNK_BYTES;

        for (uint64_t at = 0; at < CHUNK_BYTES; at += SECTOR_BYTES)
            fill_sector(buffer + at, seed, (offset + at) / SECTOR_BYTES);
        write_all(fd, buffer, (size_t)step, offset);
        offset += step;
    }
}

static void fill_sparse(int fd, uint64_t seed, uint64_t size)
{
    uint64_t state = seed;
    bool data = next(&state) % 2 == 0;

    for (uint64_t offset = 0; offset < size; data = !data) {
        uint64_t length =
            (UINT64_C(4096) << next(&state) % 7) + 4096 * (next(&state) % 16);

        if (data)
            fill(fd, seed, offset, length, size);
        offset += length;
    }
}

static void fill_fragmented(int fd, uint64_t seed, uint64_t size)
{
    uint64_t state = seed;

    for (uint64_t offset = 0; offset < size; offset += CHUNK_BYTES)
        if (next(&state) % 3 != 0)
            fill(fd, seed, offset, CHUNK_BYTES, size);
}

static void fill_far(int fd, uint64_t seed, uint64_t size)
{
    fill(fd, seed, 0, 16384, size);
    for (uint64_t at = UINT64_C(1) << 30; at < size; at <<= 1)
        fill(fd, seed, at - 8192, 16384, size);
    if (size > 16384)
        fill(fd, seed, (size - 16384) / 4096 * 4096, 32768, size);
}

static int make(char **argv)
{
    uint64_t size = number(argv[2]), seed = number(argv[3]);
    int fd = open(argv[4], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
        die(argv[4]);
    if (strcmp(argv[1], "dense") == 0)
        fill(fd, seed, 0, size, size);
    else if (strcmp(argv[1], "sparse") == 0)
        fill_sparse(fd, seed, size);
    else if (strcmp(argv[1], "fragmented") == 0)
        fill_fragmented(fd, seed, size);
    else if (strcmp(argv[1], "far") == 0)
        fill_far(fd, seed, size);
    else if (strcmp(argv[1], "empty") != 0)
        return 2;
    if (fsync(fd) != 0 || close(fd) != 0)
        die(argv[4]);
    return 0;
}

static bool all_zero(const uint8_t *bytes, size_t length)
{
    return length == 0 ||
           (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static int list(char **argv)
{
    uint64_t cluster = number(argv[2]), state = number(argv[3]);
    int fd = open(argv[4], O_RDONLY | O_CLOEXEC);
    uint64_t *offsets;
    uint8_t *buffer;
    size_t count = 0;
    ssize_t length;

    if (cluster == 0 || cluster > CLUSTER_BYTES_MAX)
        return 2;
    offsets = calloc(CLUSTER_COUNT_MAX, sizeof(*offsets));
    buffer = malloc(cluster);
    if (fd < 0 || offsets == NULL || buffer == NULL)
        die(argv[4]);
    for (uint64_t at = 0;; at += cluster) {
        length = pread(fd, buffer, cluster, (off_t)at);
        if (length <= 0 || count == CLUSTER_COUNT_MAX)
            break;
        if (!all_zero(buffer, (size_t)length))
            offsets[count++] = at;
    }
    if (length != 0)
        die(argv[4]);
    for (size_t left = count; left > 0; left--) {
        size_t pick = next(&state) % left;

        printf("%" PRIu64 "\n", offsets[pick]);
        offsets[pick] = offsets[left - 1];
    }
    free(buffer);
    free(offsets);
    close(fd);
    return 0;
}

static int tag(char **argv)
{
    uint8_t sector[SECTOR_BYTES];
    size_t text_length = strlen(argv[2]);
    int fd = open(argv[3], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    uint64_t offset = number(argv[4]), end = offset + number(argv[5]);

    if (fd < 0 || text_length == 0)
        die(argv[3]);
    for (size_t i = 0; i < SECTOR_BYTES; i++)
        sector[i] = (uint8_t)argv[2][i % text_length];
    for (; offset < end; offset += SECTOR_BYTES)
        write_all(fd, sector,
                  end - offset < SECTOR_BYTES ? (size_t)(end - offset)
                                              : SECTOR_BYTES,
                  offset);
    if (fsync(fd) != 0 || close(fd) != 0)
        die(argv[3]);
    return 0;
}

int main(int argc, char **argv)
{
    int status = 2;

    if (argc == 6 && strcmp(argv[1], "tag") == 0)
        status = tag(argv);
    else if (argc == 5 && strcmp(argv[1], "list") == 0)
        status = list(argv);
    else if (argc == 5)
        status = make(argv);
    if (status == 2)
        fprintf(stderr, "usage: mkdisk dense|sparse|fragmented|far|empty "
                        "SIZE SEED FILE\n"
                        "       mkdisk list CLUSTER SEED FILE\n"
                        "       mkdisk tag TEXT FILE OFFSET LENGTH\n");
    return status;
}
