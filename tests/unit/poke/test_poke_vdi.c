/* SPDX-License-Identifier: Apache-2.0 */
/* Each field of a VDI: see poke.h. The image is that of vdi_testing.h. */
#include "poke.h"
#include "vdi/vdi_disk.h"
#include "vdi_testing.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void make(struct fuzz_case *fuzz)
{
    struct memory_file memory = sample_vdi();

    poke_fill(memory.bytes + VDI_DATA, 5 * VDI_BLOCK, 1);
    poke_file(fuzz, "image", memory.bytes, VDI_FILE);
}

#define HEADER(member, ...) POKE(0, vdi_header_disk, member, __VA_ARGS__)
#define ENTRY(n, ...)                                                          \
    POKE_ENTRY("block map", "entry " #n, VDI_MAP + 4 * (n), 4,                 \
               .kind = POKE_NUMBER, __VA_ARGS__)

static const struct poke_row rows[] = {
    HEADER(text, .kind = POKE_BYTES),
    HEADER(signature, .kind = POKE_NUMBER),
    HEADER(version, .kind = POKE_NUMBER),
    HEADER(header_size, .kind = POKE_NUMBER),
    HEADER(type, .kind = POKE_NUMBER),
    HEADER(flags, .kind = POKE_BITS),
    HEADER(description, .kind = POKE_BYTES),
    HEADER(blocks_offset, .kind = POKE_PLACE, .unit = 1,
           .other = "a map of other numbers"),
    HEADER(data_offset, .kind = POKE_PLACE, .unit = 1,
           .other = "blocks count from here"),
    HEADER(cylinders, .kind = POKE_NUMBER),
    HEADER(heads, .kind = POKE_NUMBER),
    HEADER(sectors, .kind = POKE_NUMBER),
    HEADER(sector_size, .kind = POKE_NUMBER),
    HEADER(unused, .kind = POKE_NUMBER),
    HEADER(disk_size, .kind = POKE_NUMBER,
           .other = "the size is the header's to say"),
    HEADER(block_size, .kind = POKE_NUMBER),
    HEADER(block_extra, .kind = POKE_NUMBER),
    HEADER(block_count, .kind = POKE_NUMBER),
    HEADER(blocks_allocated, .kind = POKE_NUMBER),
    HEADER(uuid_image, .kind = POKE_BYTES),
    HEADER(uuid_modification, .kind = POKE_BYTES),
    HEADER(uuid_link, .kind = POKE_BYTES),
    HEADER(uuid_parent_modification, .kind = POKE_BYTES),
    HEADER(logical_cylinders, .kind = POKE_NUMBER),
    HEADER(logical_heads, .kind = POKE_NUMBER),
    HEADER(logical_sectors, .kind = POKE_NUMBER),
    HEADER(logical_sector_size, .kind = POKE_NUMBER),
    HEADER(reserved, .kind = POKE_BYTES),
    ENTRY(0, .other = "no block"),
    ENTRY(3, .other = "block 5 is not used by any other"),
    ENTRY(5),
    ENTRY(9, .other = "no block, or one that no other uses"),
};
static const struct poke_record records[] = { POKE_RECORD(0, vdi_header_disk) };
static const struct poke_sample vdi = {
    .name = "vdi",
    .format = "vdi",
    .make = make,
    .rows = rows,
    .row_count = COUNT(rows),
    .records = records,
    .record_count = COUNT(records),
    .landmarks = { VDI_MAP, VDI_DATA, VDI_DATA + VDI_BLOCK },
    .target = { .format = "qcow2" },
};
static const struct poke_sample *const samples[] = { &vdi };

static void test_poke_vdi__all_fields(void **state)
{
    (void)state;
    poke_run(&vdi);
}

static void test_poke_vdi__every_record_is_poked(void **state)
{
    (void)state;
    poke_complete("formats/vdi/vdi_disk.h", samples, COUNT(samples), NULL);
}

static void test_poke_vdi__cut_off(void **state)
{
    (void)state;
    poke_truncate(&vdi);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poke_vdi__all_fields),
        cmocka_unit_test(test_poke_vdi__every_record_is_poked),
        cmocka_unit_test(test_poke_vdi__cut_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
