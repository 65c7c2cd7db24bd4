/* SPDX-License-Identifier: Apache-2.0 */
/* Each field of a qcow2: header, extensions, snapshots, bitmaps, tables, LUKS:
 * see poke.h. Drawn by the format document's numbers. */
#include "poke.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "luks_image.h"
#include "qcow2/qcow2_disk.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define COPIED (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)

static void put(uint8_t *at, unsigned width, uint64_t value)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> 8 * (width - 1 - i));
}

static uint8_t *room(size_t bytes)
{
    uint8_t *at = calloc(1, bytes);

    assert_non_null(at);
    return at;
}

/* Header, one refcount table in cluster 2 and its block in cluster 3. */
static uint8_t *begin_image(uint64_t cluster_bits, uint64_t disk_bytes,
                            uint64_t l1_entries, uint64_t cluster_count)
{
    const uint64_t cluster = UINT64_C(1) << cluster_bits;
    uint8_t *at = room((size_t)(cluster_count * cluster));

    put(at, 4, 0x514649fb);
    put(at + 4, 4, 3);
    put(at + 20, 4, cluster_bits);
    put(at + 24, 8, disk_bytes);
    put(at + 36, 4, l1_entries);
    put(at + 40, 8, cluster);
    put(at + 48, 8, 2 * cluster);
    put(at + 56, 4, 1);
    put(at + 96, 4, 4);
    put(at + 100, 4, 112);
    put(at + 2 * cluster, 8, 3 * cluster);
    for (uint64_t i = 0; i < cluster_count; i++)
        put(at + 3 * cluster + 2 * i, 2, 1);
    return at;
}

#define HEADER(member, ...) POKE(0, qcow2_header_disk, member, __VA_ARGS__)
#define COUNTS_ARE "what is not in the table, its guest has never written"
#define HEADER_ROWS                                                            \
    HEADER(magic, .kind = POKE_NUMBER), HEADER(version, .kind = POKE_NUMBER),  \
        HEADER(backing_file_offset, .kind = POKE_PLACE, .unit = 1,             \
               .other = "no backing file"),                                    \
        HEADER(backing_file_size, .kind = POKE_NUMBER),                        \
        HEADER(cluster_bits, .kind = POKE_NUMBER),                             \
        HEADER(size, .kind = POKE_NUMBER,                                      \
               .other = "the size is the header's to say"),                    \
        HEADER(crypt_method, .kind = POKE_NUMBER),                             \
        HEADER(l1_size, .kind = POKE_NUMBER),                                  \
        HEADER(l1_table_offset, .kind = POKE_PLACE, .unit = 1,                 \
               .other = "a table of zeros: holes"),                            \
        HEADER(refcount_table_offset, .kind = POKE_PLACE, .unit = 1),          \
        HEADER(refcount_table_clusters, .kind = POKE_NUMBER),                  \
        HEADER(nb_snapshots, .kind = POKE_NUMBER),                             \
        HEADER(snapshots_offset, .kind = POKE_PLACE, .unit = 1),               \
        HEADER(incompatible_features, .kind = POKE_BITS),                      \
        HEADER(compatible_features, .kind = POKE_BITS),                        \
        HEADER(autoclear_features, .kind = POKE_BITS),                         \
        HEADER(refcount_order, .kind = POKE_NUMBER),                           \
        HEADER(header_length, .kind = POKE_NUMBER),                            \
        HEADER(compression_type, .kind = POKE_NUMBER),                         \
        HEADER(padding, .kind = POKE_BYTES)

/* -- tables, snapshots, bitmaps, compressed clusters ------------------------*/

/*
 * cluster 0 header   1 L1   2 refcount table   3 refcount block   4, 5 L2
 *   6, 7, 8 data     9, 10 a compressed one    11 snapshot table, 12 its L1,
 *   13 its L2, 14 its data    15 bitmap directory, 16 table, 17 bits
 *   18 the disk's last KiB
 */
#define C UINT64_C(4096)
#define L2 (4 * C)
#define STORED_BYTES (5 + C) /* RFC 1951: one block that is not compressed */
#define EXTENSION_NAMES 112u
#define EXTENSION_BITMAPS (EXTENSION_NAMES + 8 + 48)

static void put_extensions(uint8_t *at)
{
    put(at + EXTENSION_NAMES, 4, 0x6803f857);
    put(at + EXTENSION_NAMES + 4, 4, 48);
    memcpy(at + EXTENSION_NAMES + 8, "\0\0dirty bit", 11);
    put(at + EXTENSION_BITMAPS, 4, 0x23852875);
    put(at + EXTENSION_BITMAPS + 4, 4, 24);
    put(at + EXTENSION_BITMAPS + 8, 4, 1);
    put(at + EXTENSION_BITMAPS + 16, 8, 32);
    put(at + EXTENSION_BITMAPS + 24, 8, 15 * C);
    put(at + 88, 8, 1);
    put(at + 15 * C, 8, 16 * C); /* directory: one bitmap, "b" */
    put(at + 15 * C + 8, 4, 1);
    put(at + 15 * C + 12, 4, 2);
    at[15 * C + 16] = 1;
    at[15 * C + 17] = 16;
    put(at + 15 * C + 18, 2, 1);
    at[15 * C + 24] = 'b';
    put(at + 16 * C, 8, 17 * C);
    at[17 * C] = 0x55;
}

static void put_snapshot(uint8_t *at)
{
    uint8_t *entry = at + 11 * C;

    put(at + 60, 4, 1);
    put(at + 64, 8, 11 * C);
    put(entry, 8, 12 * C);
    put(entry + 8, 4, 2);
    put(entry + 12, 2, 1);
    put(entry + 14, 2, 4);
    put(entry + 16, 4, 1000);
    put(entry + 36, 4, 24);
    put(entry + 48, 8, 2 * DS_MIB + 1024);
    memcpy(entry + 64, "7then", 5);
    put(at + 12 * C, 8, (13 * C) | COPIED);
    put(at + 13 * C, 8, (14 * C) | COPIED);
    poke_fill(at + 14 * C, C, 9);
}

static void make_tables(struct fuzz_case *fuzz)
{
    uint8_t *at = begin_image(12, 2 * DS_MIB + 1024, 2, 19);

    put(at + C, 8, L2 | COPIED);
    put(at + C + 8, 8, (5 * C) | COPIED);
    put(at + L2, 8, (6 * C) | COPIED);
    put(at + L2 + 8, 8, (7 * C) | COPIED);
    put(at + L2 + 16, 8, 1);
    put(at + L2 + 10 * 8, 8, (8 * C) | COPIED);
    put(at + L2 + 20 * 8, 8, COMPRESSED | UINT64_C(8) << 58 | 9 * C);
    put(at + 5 * C, 8, (18 * C) | COPIED);
    poke_fill(at + 6 * C, 3 * C, 1);
    memcpy(at + 9 * C, "\x01\x00\x10\xff\xef", 5);
    poke_fill(at + 9 * C + 5, C, 2);
    poke_fill(at + 18 * C, 1024, 3);
    put_extensions(at);
    put_snapshot(at);
    poke_file(fuzz, "image", at, 18 * C + 1024);
}

#define ENTRY(table, name, at, ...)                                            \
    POKE_ENTRY(table, name, at, 8, .kind = POKE_PLACE, .unit = 1, __VA_ARGS__)
#define EXTENSION(at, member, ...)                                             \
    POKE(at, qcow2_extension_disk, member, __VA_ARGS__)
#define BITMAPS(member, ...)                                                   \
    POKE(EXTENSION_BITMAPS + 8, qcow2_bitmaps_disk, member, __VA_ARGS__)
#define BITMAP(member, ...) POKE(15 * C, qcow2_bitmap_disk, member, __VA_ARGS__)
#define NAME(member, ...)                                                      \
    POKE(EXTENSION_NAMES + 8, qcow2_feature_name_disk, member, __VA_ARGS__)
#define SNAPSHOT(member, ...)                                                  \
    POKE(11 * C, qcow2_snapshot_disk, member, __VA_ARGS__)
#define EXTRA(member, ...)                                                     \
    POKE(11 * C + 40, qcow2_snapshot_extra_disk, member, __VA_ARGS__)

static const struct poke_row tables_rows[] = {
    HEADER_ROWS,
    EXTENSION(EXTENSION_NAMES, type, .kind = POKE_NUMBER),
    EXTENSION(EXTENSION_NAMES, length, .kind = POKE_NUMBER),
    NAME(type, .kind = POKE_NUMBER),
    NAME(bit, .kind = POKE_NUMBER),
    NAME(name, .kind = POKE_BYTES),
    EXTENSION(EXTENSION_BITMAPS, type, .kind = POKE_NUMBER),
    EXTENSION(EXTENSION_BITMAPS, length, .kind = POKE_NUMBER),
    BITMAPS(nb_bitmaps, .kind = POKE_NUMBER),
    BITMAPS(reserved, .kind = POKE_NUMBER),
    BITMAPS(bitmap_directory_size, .kind = POKE_NUMBER),
    BITMAPS(bitmap_directory_offset, .kind = POKE_PLACE, .unit = 1),
    BITMAP(bitmap_table_offset, .kind = POKE_PLACE, .unit = 1),
    BITMAP(bitmap_table_size, .kind = POKE_NUMBER),
    BITMAP(flags, .kind = POKE_BITS),
    BITMAP(type, .kind = POKE_NUMBER),
    BITMAP(granularity_bits, .kind = POKE_NUMBER),
    BITMAP(name_size, .kind = POKE_NUMBER),
    BITMAP(extra_data_size, .kind = POKE_NUMBER),
    ENTRY("bitmap table", "entry 0", 16 * C),
    SNAPSHOT(l1_table_offset, .kind = POKE_PLACE, .unit = 1),
    SNAPSHOT(l1_size, .kind = POKE_NUMBER),
    SNAPSHOT(id_str_size, .kind = POKE_NUMBER),
    SNAPSHOT(name_size, .kind = POKE_NUMBER),
    SNAPSHOT(date_sec, .kind = POKE_NUMBER),
    SNAPSHOT(date_nsec, .kind = POKE_NUMBER),
    SNAPSHOT(vm_clock_nsec, .kind = POKE_NUMBER),
    SNAPSHOT(vm_state_size, .kind = POKE_NUMBER),
    SNAPSHOT(extra_data_size, .kind = POKE_NUMBER),
    EXTRA(vm_state_size, .kind = POKE_NUMBER),
    EXTRA(disk_size, .kind = POKE_NUMBER),
    EXTRA(icount, .kind = POKE_NUMBER),
    ENTRY("l1", "entry 0", C, .other = COUNTS_ARE),
    ENTRY("l1", "entry 1", C + 8, .other = COUNTS_ARE),
    POKE_ENTRY("l1", "flags of entry 0", C, 8, .kind = POKE_BITS,
               .other = COUNTS_ARE),
    ENTRY("l2", "entry 0", L2, .other = COUNTS_ARE),
    POKE_ENTRY("l2", "bits of entry 0", L2, 8, .kind = POKE_BITS,
               .other = "a zero cluster, or another that no other uses"),
    ENTRY("l2", "entry 2", L2 + 16, .other = "one that no other uses"),
    ENTRY("l2", "entry 20, compressed", L2 + 160, .other = COUNTS_ARE),
    POKE_ENTRY("l2", "bits of entry 20", L2 + 160, 8, .kind = POKE_BITS,
               .other = "not compressed, where it lies"),
    POKE_ENTRY("compressed cluster", "first bytes", 9 * C, 5,
               .kind = POKE_NUMBER),
    ENTRY("l2", "entry 512", 5 * C, .other = COUNTS_ARE),
    ENTRY("snapshot l1", "entry 0", 12 * C),
    ENTRY("snapshot l2", "entry 0", 13 * C),
    ENTRY("refcount table", "entry 0", 2 * C),
    ENTRY("refcount table", "entry 1", 2 * C + 8),
    POKE_ENTRY("refcount block", "cluster 0", 3 * C, 2, .kind = POKE_NUMBER),
    POKE_ENTRY("refcount block", "cluster 6", 3 * C + 12, 2,
               .kind = POKE_NUMBER),
    POKE_ENTRY("refcount block", "beyond the end", 3 * C + 200, 2,
               .kind = POKE_NUMBER),
};
static const struct poke_record tables_records[] = {
    POKE_RECORD(0, qcow2_header_disk),
    POKE_RECORD(EXTENSION_NAMES, qcow2_extension_disk),
    POKE_RECORD(EXTENSION_NAMES + 8, qcow2_feature_name_disk),
    POKE_RECORD(EXTENSION_BITMAPS + 8, qcow2_bitmaps_disk),
    POKE_RECORD(15 * C, qcow2_bitmap_disk),
    POKE_RECORD(11 * C, qcow2_snapshot_disk),
    POKE_RECORD(11 * C + 40, qcow2_snapshot_extra_disk),
};
#define LANDMARKS                                                              \
    {                                                                          \
        C, 2 * C, 4 * C, 6 * C, 7 * C, 9 * C, 12 * C, 16 * C                   \
    }
static const struct poke_sample tables = {
    .name = "qcow2-tables",
    .format = "qcow2",
    .make = make_tables,
    .big_endian = true,
    .rows = tables_rows,
    .row_count = COUNT(tables_rows),
    .records = tables_records,
    .record_count = COUNT(tables_records),
    .landmarks = LANDMARKS,
    .target = { .format = "vmdk" },
};

/* -- its snapshot, when that is what is asked for ---------------------------*/

static const struct poke_row snapshot_rows[] = {
    HEADER(nb_snapshots, .kind = POKE_NUMBER),
    HEADER(snapshots_offset, .kind = POKE_PLACE, .unit = 1),
    SNAPSHOT(l1_table_offset, .kind = POKE_PLACE, .unit = 1,
             .other = "a table of zeros, or the present state's"),
    SNAPSHOT(l1_size, .kind = POKE_NUMBER, .other = COUNTS_ARE),
    SNAPSHOT(id_str_size, .kind = POKE_NUMBER),
    SNAPSHOT(name_size, .kind = POKE_NUMBER),
    SNAPSHOT(extra_data_size, .kind = POKE_NUMBER),
    EXTRA(disk_size, .kind = POKE_NUMBER,
          .other = "the size was the snapshot's to say"),
    ENTRY("snapshot l1", "entry 0", 12 * C, .other = COUNTS_ARE),
    ENTRY("snapshot l2", "entry 0", 13 * C, .other = COUNTS_ARE),
};
static const struct poke_sample snapshot = {
    .name = "qcow2-snapshot",
    .format = "qcow2",
    .make = make_tables,
    .big_endian = true,
    .rows = snapshot_rows,
    .row_count = COUNT(snapshot_rows),
    .landmarks = LANDMARKS,
    .snapshot = "7",
    .target = { .format = "vhdx" },
};

/* -- extended L2 entries, a backing file ------------------------------------*/

/* cluster 0 header   1 L1   2, 3 refcounts   4 L2   5, 6 data */
#define X UINT64_C(16384)

static void make_extended(struct fuzz_case *fuzz)
{
    uint8_t *at = begin_image(14, 8 * X, 1, 7), *base = room(8 * X);

    put(at + 72, 8, 16);
    put(at + 8, 8, 256);
    put(at + 16, 4, 4);
    memcpy(at + 256, "base", 4);
    put(at + 112, 4, 0xe2792aca);
    put(at + 116, 4, 3);
    memcpy(at + 120, "raw", 3);
    put(at + X, 8, (4 * X) | COPIED);
    put(at + 4 * X, 8, (5 * X) | COPIED);
    put(at + 4 * X + 8, 8, UINT64_C(0x18) << 32 | 0x7);
    put(at + 4 * X + 16, 8, (6 * X) | COPIED);
    put(at + 4 * X + 24, 8, 0xffffffff);
    put(at + 4 * X + 40, 8, UINT64_C(0xffffffff) << 32);
    poke_fill(at + 5 * X, 2 * X, 4);
    poke_fill(base, 8 * X, 5);
    poke_file(fuzz, "image", at, 7 * X);
    poke_file(fuzz, "base", base, 8 * X);
}

static const struct poke_row extended_rows[] = {
    HEADER_ROWS,
    POKE_ENTRY("backing format", "type", 112, 4, .kind = POKE_NUMBER),
    POKE_ENTRY("backing format", "length", 116, 4, .kind = POKE_NUMBER),
    POKE_ENTRY("backing format", "name", 120, 3, .kind = POKE_BYTES),
    POKE_ENTRY("backing file", "name", 256, 4, .kind = POKE_BYTES),
    ENTRY("l2", "entry 0", 4 * X, .other = COUNTS_ARE),
    POKE_ENTRY("l2", "subclusters of 0", 4 * X + 8, 8, .kind = POKE_BITS,
               .other = "the bits say whose a subcluster is"),
    POKE_ENTRY("l2", "subclusters of 3", 4 * X + 56, 8, .kind = POKE_BITS,
               .other = "the bits say whose a subcluster is"),
    POKE_ENTRY("l2", "bits of entry 1", 4 * X + 16, 8, .kind = POKE_BITS,
               .other = "another cluster that no other uses"),
};
static const struct poke_record extended_records[] = {
    POKE_RECORD(0, qcow2_header_disk),
};
static const struct poke_sample extended = {
    .name = "qcow2-extended",
    .format = "qcow2",
    .make = make_extended,
    .big_endian = true,
    .rows = extended_rows,
    .row_count = COUNT(extended_rows),
    .records = extended_records,
    .record_count = COUNT(extended_records),
    .landmarks = { X, 2 * X, 3 * X, 4 * X, 5 * X, 6 * X },
    .target = { .format = "qcow2" },
};

/* -- LUKS -------------------------------------------------------------------*/

/* cluster 0 header   1 L1   2, 3 refcounts   4 L2   5 data   6 LUKS header */
#define EXTENSION_CRYPT 112u
#define LUKS (6 * C)

static void make_luks(struct fuzz_case *fuzz)
{
    uint8_t *at = begin_image(12, 8 * C, 1, 7);

    put(at + 32, 4, 2);
    put(at + EXTENSION_CRYPT, 4, 0x0537be77);
    put(at + EXTENSION_CRYPT + 4, 4, 16);
    put(at + EXTENSION_CRYPT + 8, 8, LUKS);
    put(at + EXTENSION_CRYPT + 16, 8, LUKS_IMAGE_BYTES);
    put(at + C, 8, L2 | COPIED);
    put(at + L2, 8, (5 * C) | COPIED);
    poke_fill(at + 5 * C, C, 6);
    luks_image_encrypt(at + 5 * C, C, 5 * C / 512);
    luks_image_make(at + LUKS);
    poke_file(fuzz, "image", at, 7 * C);
}

#define CRYPT(member, ...)                                                     \
    POKE(EXTENSION_CRYPT + 8, qcow2_crypt_header_disk, member, __VA_ARGS__)
#define FIELD(name, at, width, what, ...)                                      \
    {                                                                          \
        .record = "luks_header_disk", .field = (name), .base_bytes = LUKS,     \
        .offset_bytes = (at), .width_bytes = (width), .kind = (what),          \
        __VA_ARGS__                                                            \
    }
#define SLOT(n, name, at, width, what)                                         \
    {                                                                          \
        .record = "luks_slot_disk", .field = "slot " #n " " name,              \
        .base_bytes = LUKS + 208 + 48 * (n), .offset_bytes = (at),             \
        .width_bytes = (width), .kind = (what)                                 \
    }
#define SLOT_ROWS(n)                                                           \
    SLOT(n, "active", 0, 4, POKE_NUMBER),                                      \
        SLOT(n, "iterations", 4, 4, POKE_NUMBER),                              \
        SLOT(n, "salt", 8, 32, POKE_BYTES),                                    \
        SLOT(n, "key-material-offset", 40, 4, POKE_NUMBER),                    \
        SLOT(n, "stripes", 44, 4, POKE_NUMBER)
static const struct poke_row luks_rows[] = {
    EXTENSION(EXTENSION_CRYPT, type, .kind = POKE_NUMBER),
    EXTENSION(EXTENSION_CRYPT, length, .kind = POKE_NUMBER),
    CRYPT(offset, .kind = POKE_PLACE, .unit = 1),
    CRYPT(length, .kind = POKE_NUMBER),
    FIELD("magic", 0, 6, POKE_BYTES),
    FIELD("version", 6, 2, POKE_NUMBER),
    FIELD("cipher-name", 8, 32, POKE_BYTES),
    FIELD("cipher-mode", 40, 32, POKE_BYTES),
    FIELD("hash-spec", 72, 32, POKE_BYTES),
    FIELD("payload-offset", 104, 4, POKE_NUMBER),
    FIELD("key-bytes", 108, 4, POKE_NUMBER),
    FIELD("mk-digest", 112, 20, POKE_BYTES),
    FIELD("mk-digest-salt", 132, 32, POKE_BYTES),
    FIELD("mk-digest-iter", 164, 4, POKE_NUMBER),
    FIELD("uuid", 168, 40, POKE_BYTES),
    FIELD("key slots", 208, 384, POKE_BYTES),
    SLOT_ROWS(0),
    SLOT_ROWS(7),
    POKE_ENTRY("key material", "first bytes", LUKS + 1024, 16,
               .kind = POKE_BYTES),
};
static const struct poke_record luks_records[] = {
    POKE_RECORD(EXTENSION_CRYPT + 8, qcow2_crypt_header_disk),
    { "luks_header_disk", LUKS, 592 },
    { "luks_slot_disk", LUKS + 208, 48 },
    { "luks_slot_disk", LUKS + 208 + 7 * 48, 48 },
};
static struct poke_sample luks = {
    .name = "qcow2-luks",
    .format = "qcow2",
    .make = make_luks,
    .big_endian = true,
    .rows = luks_rows,
    .row_count = COUNT(luks_rows),
    .records = luks_records,
    .record_count = COUNT(luks_records),
    .landmarks = { C, 2 * C, 4 * C, 5 * C, LUKS },
    .target = { .format = "raw" },
};

/* -- the tests --------------------------------------------------------------*/

static const struct poke_sample *const samples[] = { &tables, &snapshot,
                                                     &extended, &luks };

#define TEST_OF(sample)                                                        \
    static void test_poke_qcow2__##sample(void **state)                        \
    {                                                                          \
        (void)state;                                                           \
        poke_run(&(sample));                                                   \
    }
TEST_OF(tables)
TEST_OF(snapshot)
TEST_OF(extended)
TEST_OF(luks)

static void test_poke_qcow2__every_record_is_poked(void **state)
{
    (void)state;
    poke_complete("formats/qcow2/qcow2_disk.h", samples, COUNT(samples), NULL);
    poke_complete("formats/qcow2/luks_header.c", samples, COUNT(samples), NULL);
}

static void test_poke_qcow2__cut_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(samples); i++)
        if (samples[i] != &extended) /* what follows is raw and may be short */
            poke_truncate(samples[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poke_qcow2__tables),
        cmocka_unit_test(test_poke_qcow2__snapshot),
        cmocka_unit_test(test_poke_qcow2__extended),
        cmocka_unit_test(test_poke_qcow2__luks),
        cmocka_unit_test(test_poke_qcow2__every_record_is_poked),
        cmocka_unit_test(test_poke_qcow2__cut_off),
    };

    luks.key_file = luks_image_key_file();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
