/* SPDX-License-Identifier: Apache-2.0 */
/* A qcow2 image made by hand, and the same with a snapshot. */
#ifndef DS_TEST_QCOW2_FORMS_H
#define DS_TEST_QCOW2_FORMS_H

#include "qcow2_fixture.h"

#define C UINT64_C(16384) /* the smallest with extended L2 entries */
#define COPIED (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)

/*
 *   0 header   1 L1   2 refcount table   3 refcount block   4 L2
 *   5, 6 data  7 second L1 (of a snapshot)   8 second L2
 *   9 snapshot table, 512 bytes of which are there
 */
#define DISK_BYTES (8 * C)
#define FILE_BYTES (9 * C + 512)
#define L1 (1 * C)
#define REFBLOCK (3 * C)
#define L2 (4 * C)
#define SNAPSHOTS (9 * C)

static inline struct memory_file image_plain(void)
{
    struct memory_file file;

    memory_init(&file, FILE_BYTES);
    poke(&file, 0, 4, 0x514649fb);
    poke(&file, 4, 4, 3);
    poke(&file, 20, 4, 14);
    poke(&file, 24, 8, DISK_BYTES);
    poke(&file, 36, 4, 1);
    poke(&file, 40, 8, L1);
    poke(&file, 48, 8, 2 * C);
    poke(&file, 56, 4, 1);
    poke(&file, 96, 4, 4);
    poke(&file, 100, 4, 112);
    poke(&file, L1, 8, L2 | COPIED);
    poke(&file, 2 * C, 8, REFBLOCK);
    for (uint64_t i = 0; i < 7; i++)
        poke(&file, REFBLOCK + 2 * i, 2, 1);
    return file;
}

/* Snapshot "7", named "then": half the disk, guest cluster 1 in 6. */
static inline struct memory_file image_with_snapshot(void)
{
    struct memory_file file = image_plain();

    poke(&file, L2, 8, (5 * C) | COPIED);
    poke(&file, 60, 4, 1);
    poke(&file, 64, 8, SNAPSHOTS);
    poke(&file, SNAPSHOTS, 8, 7 * C);
    poke(&file, SNAPSHOTS + 8, 4, 1);
    poke(&file, SNAPSHOTS + 12, 2, 1);
    poke(&file, SNAPSHOTS + 14, 2, 4);
    poke(&file, SNAPSHOTS + 16, 4, 1000);
    poke(&file, SNAPSHOTS + 36, 4, 16);
    poke(&file, SNAPSHOTS + 48, 8, DISK_BYTES / 2);
    memcpy(file.bytes + SNAPSHOTS + 56, "7then", 5);
    poke(&file, 7 * C, 8, 8 * C | COPIED);
    poke(&file, 8 * C + 8, 8, 6 * C | COPIED);
    for (uint64_t i = 7; i < 10; i++)
        poke(&file, REFBLOCK + 2 * i, 2, 1);
    return file;
}

#endif
