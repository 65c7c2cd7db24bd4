/* SPDX-License-Identifier: Apache-2.0 */
/* Images made by hand, byte for byte, for the tests of the qcow2 reader. */
#ifndef DS_TEST_QCOW2_READ_H
#define DS_TEST_QCOW2_READ_H

#include "qcow2_fixture.h"

#define C UINT64_C(4096)
#define COPIED (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)

/*
 * A disk of 2 MiB + 1 KiB in clusters of 4 KiB, so of two L2 tables:
 *
 *   0 header   1 L1   2 refcount table   3 refcount block   4, 5 L2
 *   6, 7 data of guest clusters 0, 1     8 data of guest cluster 10
 *   9 the disk's last KiB (guest cluster 512), where the file ends
 */
#define DISK_BYTES (2 * DS_MIB + 1024)
#define FILE_BYTES (9 * C + 1024)
#define L1 (1 * C)
#define REFTABLE (2 * C)
#define L2 (4 * C)

static inline struct memory_file image_v3(void)
{
    struct memory_file file;

    memory_init(&file, FILE_BYTES);
    poke(&file, 0, 4, 0x514649fb);
    poke(&file, 4, 4, 3);
    poke(&file, 20, 4, 12);
    poke(&file, 24, 8, DISK_BYTES);
    poke(&file, 36, 4, 2);
    poke(&file, 40, 8, L1);
    poke(&file, 48, 8, REFTABLE);
    poke(&file, 56, 4, 1);
    poke(&file, 96, 4, 4);
    poke(&file, 100, 4, 104);
    poke(&file, L1, 8, L2 | COPIED);
    poke(&file, L1 + 8, 8, (L2 + C) | COPIED);
    poke(&file, REFTABLE, 8, 3 * C);
    for (uint64_t i = 0; i < 10; i++)
        poke(&file, 3 * C + 2 * i, 2, 1);
    poke(&file, L2, 8, (6 * C) | COPIED);
    poke(&file, L2 + 8, 8, (7 * C) | COPIED);
    poke(&file, L2 + 10 * 8, 8, (8 * C) | COPIED);
    poke(&file, L2 + C, 8, (9 * C) | COPIED);
    return file;
}

static inline struct memory_file image_v2(void)
{
    struct memory_file file = image_v3();

    poke(&file, 4, 4, 2);
    memset(file.bytes + 72, 0, 104 - 72);
    return file;
}

static inline void assert_map(struct memory_file *file)
{
    static struct extents e;
    struct ds_error err = DS_ERROR_INIT;

    assert_int_equal(read_all(file, &e, &err), 0);
    assert_int_equal(e.count, 5);
    assert_extent(&e, 0, DS_EXTENT_DATA, 2 * C, 6 * C);
    assert_extent(&e, 1, DS_EXTENT_HOLE, 8 * C, 0);
    assert_extent(&e, 2, DS_EXTENT_DATA, C, 8 * C);
    assert_extent(&e, 3, DS_EXTENT_HOLE, 501 * C, 0);
    assert_extent(&e, 4, DS_EXTENT_DATA, 1024, 9 * C);
}

/* One snapshot that shares the active state's L2 tables: the table in
 * cluster 10, its L1 in cluster 11, where the file ends after the entries. */
static inline struct memory_file image_with_snapshot(void)
{
    struct memory_file plain = image_v3(), file;

    memory_init(&file, 11 * C + 16);
    memcpy(file.bytes, plain.bytes, FILE_BYTES);
    memory_free(&plain);
    poke(&file, 60, 4, 1);
    poke(&file, 64, 8, 10 * C);
    poke(&file, 10 * C, 8, 11 * C);
    poke(&file, 10 * C + 8, 4, 2);
    poke(&file, 10 * C + 12, 2, 1);
    poke(&file, 10 * C + 14, 2, 3);
    poke(&file, 10 * C + 36, 4, 16);
    memcpy(file.bytes + 10 * C + 56, "1now", 4);
    poke(&file, 11 * C, 8, L2);
    poke(&file, 11 * C + 8, 8, L2 + C);
    return file;
}

#endif
