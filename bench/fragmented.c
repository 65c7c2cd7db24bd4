/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a qcow2 image whose clusters lie in random order: the disk that a
 * guest leaves behind after years, at its worst.
 *
 *   0        1           1+B      1+B+R   1+B+R+L1              data
 *   | header | refcount  | refcount| L1    | L2 tables | DATA, cluster by
 *   |        | table (B) | blocks  | table |           | cluster as given
 *
 * Guest cluster g lies at data cluster shuffle[g], a permutation drawn from
 * SEED; with PIECE, whole pieces of so many clusters are shuffled. DATA is
 * cloned where the filesystem can, else copied. Version 3, 64 KiB clusters,
 * 16-bit refcounts (docs/interop/qcow2.txt in QEMU's tree describes the
 * fields).
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure.h"

#define CLUSTER_BITS 16u
#define CLUSTER_BYTES (UINT64_C(1) << CLUSTER_BITS)
#define ENTRY_COUNT (CLUSTER_BYTES / 8)    /* of an L1, L2, refcount table */
#define REFCOUNT_COUNT (CLUSTER_BYTES / 2) /* of a refcount block */
#define REFCOUNT_ORDER 4u
#define FLAG_COPIED (UINT64_C(1) << 63)
#define DATA_BYTES_MAX (UINT64_C(1) << 40)

struct layout { /* all in clusters */
    uint64_t data_count;
    uint64_t l2_count;
    uint64_t l1_count;
    uint64_t refcount_block_count;
    uint64_t refcount_table_count;
    uint64_t blocks_begin;
    uint64_t l1_begin;
    uint64_t l2_begin;
    uint64_t data_begin;
    uint64_t total_count;
};

static uint64_t div_up(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

/* The refcount blocks count themselves, so grow them until they suffice. */
static struct layout lay_out(uint64_t data_count)
{
    struct layout layout = { .data_count = data_count };
    uint64_t needed = 1;

    layout.l2_count = div_up(data_count, ENTRY_COUNT);
    layout.l1_count = div_up(layout.l2_count, ENTRY_COUNT);
    do {
        layout.refcount_block_count = needed;
        layout.refcount_table_count = div_up(needed, ENTRY_COUNT);
        layout.blocks_begin = 1 + layout.refcount_table_count;
        layout.l1_begin = layout.blocks_begin + layout.refcount_block_count;
        layout.l2_begin = layout.l1_begin + layout.l1_count;
        layout.data_begin = layout.l2_begin + layout.l2_count;
        layout.total_count = layout.data_begin + data_count;
        needed = div_up(layout.total_count, REFCOUNT_COUNT);
    } while (needed != layout.refcount_block_count);
    return layout;
}

/* SplitMix64: the same disk from the same seed, everywhere. */
static uint64_t draw(uint64_t *state)
{
    uint64_t word = *state += UINT64_C(0x9e3779b97f4a7c15);

    word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
    return word ^ (word >> 31);
}

static uint64_t *shuffle(uint64_t count, uint64_t seed)
{
    uint64_t *order = malloc(count * sizeof(*order));

    if (order == NULL)
        die("memory");
    for (uint64_t i = 0; i < count; i++)
        order[i] = i;
    for (uint64_t i = count - 1; i > 0; i--) {
        uint64_t other = draw(&seed) % (i + 1);
        uint64_t kept = order[i];

        order[i] = order[other];
        order[other] = kept;
    }
    return order;
}

static void write_clusters(int fd, uint64_t cluster, const void *bytes,
                           uint64_t count)
{
    ssize_t done = pwrite(fd, bytes, count * CLUSTER_BYTES,
                          (off_t)(cluster * CLUSTER_BYTES));

    if (done != (ssize_t)(count * CLUSTER_BYTES))
        die("write");
}

static void put32(uint8_t *record, size_t offset, uint64_t value)
{
    uint32_t wire = htobe32((uint32_t)value);

    memcpy(record + offset, &wire, sizeof(wire));
}

static void put64(uint8_t *record, size_t offset, uint64_t value)
{
    uint64_t wire = htobe64(value);

    memcpy(record + offset, &wire, sizeof(wire));
}

static void write_header(int fd, const struct layout *layout)
{
    static uint8_t header[CLUSTER_BYTES];

    memcpy(header, "QFI\xfb", 4);
    put32(header, 4, 3);
    put32(header, 20, CLUSTER_BITS);
    put64(header, 24, layout->data_count * CLUSTER_BYTES);
    put32(header, 36, layout->l2_count);
    put64(header, 40, layout->l1_begin * CLUSTER_BYTES);
    put64(header, 48, CLUSTER_BYTES);
    put32(header, 56, layout->refcount_table_count);
    put32(header, 96, REFCOUNT_ORDER);
    put32(header, 100, 104);
    write_clusters(fd, 0, header, 1);
}

/* `count` pointers to clusters that follow each other, as a table. */
static void write_pointers(int fd, uint64_t at, uint64_t table_count,
                           uint64_t first, uint64_t count, uint64_t flags)
{
    uint8_t *table = calloc(table_count, CLUSTER_BYTES);

    if (table == NULL)
        die("memory");
    for (uint64_t i = 0; i < count; i++)
        put64(table, i * 8, ((first + i) * CLUSTER_BYTES) | flags);
    write_clusters(fd, at, table, table_count);
    free(table);
}

static void write_refcounts(int fd, const struct layout *layout)
{
    uint8_t *blocks = calloc(layout->refcount_block_count, CLUSTER_BYTES);

    if (blocks == NULL)
        die("memory");
    for (uint64_t i = 0; i < layout->total_count; i++)
        blocks[i * 2 + 1] = 1;
    write_clusters(fd, layout->blocks_begin, blocks,
                   layout->refcount_block_count);
    free(blocks);
}

static void write_l2(int fd, const struct layout *layout, uint64_t seed,
                     uint64_t piece)
{
    uint64_t *order = shuffle(layout->data_count / piece, seed);
    uint8_t *tables = calloc(layout->l2_count, CLUSTER_BYTES);

    if (tables == NULL)
        die("memory");
    for (uint64_t i = 0; i < layout->data_count; i++) {
        uint64_t at = order[i / piece] * piece + i % piece;

        put64(tables, i * 8,
              ((layout->data_begin + at) * CLUSTER_BYTES) | FLAG_COPIED);
    }
    write_clusters(fd, layout->l2_begin, tables, layout->l2_count);
    free(tables);
    free(order);
}

static void copy_data(int from, int to, const struct layout *layout)
{
    off_t source = 0;
    off_t target = (off_t)(layout->data_begin * CLUSTER_BYTES);
    uint64_t left = layout->data_count * CLUSTER_BYTES;

    while (left > 0) {
        ssize_t done = copy_file_range(from, &source, to, &target, left, 0);

        if (done <= 0 && errno != EINTR)
            die("copy_file_range");
        if (done > 0)
            left -= (uint64_t)done;
    }
}

int main(int argc, char **argv)
{
    struct layout layout;
    struct stat status;
    uint64_t piece;
    int from, to;

    if (argc != 4 && argc != 5) {
        fputs("usage: fragmented DATA TARGET.qcow2 SEED [PIECE]\n", stderr);
        return 2;
    }
    piece = argc == 5 ? strtoull(argv[4], NULL, 10) : 1;
    from = open(argv[1], O_RDONLY | O_CLOEXEC);
    to = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (from < 0 || to < 0 || fstat(from, &status) != 0)
        die(from < 0 ? argv[1] : argv[2]);
    if ((uint64_t)status.st_size < CLUSTER_BYTES ||
        (uint64_t)status.st_size > DATA_BYTES_MAX) {
        fputs("fragmented: DATA: expect 64 KiB to 1 TiB\n", stderr);
        return 1;
    }
    if (piece == 0 || (uint64_t)status.st_size % (piece * CLUSTER_BYTES)) {
        fputs("fragmented: PIECE: expect DATA in whole pieces\n", stderr);
        return 1;
    }
    layout = lay_out((uint64_t)status.st_size / CLUSTER_BYTES);
    copy_data(from, to, &layout);
    write_header(to, &layout);
    write_pointers(to, 1, layout.refcount_table_count, layout.blocks_begin,
                   layout.refcount_block_count, 0);
    write_refcounts(to, &layout);
    write_pointers(to, layout.l1_begin, layout.l1_count, layout.l2_begin,
                   layout.l2_count, FLAG_COPIED);
    write_l2(to, &layout, strtoull(argv[3], NULL, 10), piece);
    if (fsync(to) != 0 || close(to) != 0)
        die(argv[2]);
    return 0;
}
