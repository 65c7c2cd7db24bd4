/* SPDX-License-Identifier: Apache-2.0 */
/* Each field of a VHDX, its log and its parent locator: see poke.h. The images
 * are those of vhdx_fixture.h, vhdx_log_fixture.h and vhdx_diff_fixture.h. */
#include "poke.h"
#include "vhdx/vhdx_disk.h"
#include "vhdx_diff_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void fill(struct memory_file *memory)
{
    static const unsigned blocks[] = { 4, 5, 7, 8 };

    for (size_t i = 0; i < COUNT(blocks); i++)
        poke_fill(memory->bytes + blocks[i] * MIB, 65536, blocks[i]);
}

/* -- dynamic ----------------------------------------------------------------*/

static void make_dynamic(struct fuzz_case *fuzz)
{
    struct memory_file memory;

    fix_image(&memory);
    fill(&memory);
    poke_file(fuzz, "image", memory.bytes, memory.length_bytes);
}

#define HEADER(member, ...)                                                    \
    POKE(FIX_HEADER_2, vhdx_header_disk, member, __VA_ARGS__)
#define BOTH(member, ...)                                                      \
    POKE(FIX_HEADER_2, vhdx_header_disk, member, .mirror_bytes = FIX_HEADER_1, \
         __VA_ARGS__)
#define REGIONS(member, ...)                                                   \
    POKE(FIX_REGIONS_1, vhdx_region_table_disk, member,                        \
         .mirror_bytes = FIX_REGIONS_2, __VA_ARGS__)
#define REGION(n, member, ...)                                                 \
    POKE(FIX_REGIONS_1 + 16 + 32 * (n), vhdx_region_entry_disk, member,        \
         .mirror_bytes = FIX_REGIONS_2 + 16 + 32 * (n), __VA_ARGS__)
#define TABLE(member, ...)                                                     \
    POKE(FIX_METADATA, vhdx_metadata_table_disk, member, __VA_ARGS__)
#define ITEM(n, member, ...)                                                   \
    POKE(FIX_METADATA + 32 + 32 * (n), vhdx_metadata_entry_disk, member,       \
         __VA_ARGS__)
#define VALUE(name, at, width, ...)                                            \
    POKE_ENTRY("metadata", name, FIX_METADATA + (at), width,                   \
               .kind = POKE_NUMBER, __VA_ARGS__)
#define BAT(n, ...)                                                            \
    POKE_ENTRY("bat", "entry " #n, FIX_BAT + 8 * (n), 8, .kind = POKE_PLACE,   \
               .unit = 1, __VA_ARGS__)
#define PARAMETERS(member, ...)                                                \
    POKE(FIX_METADATA + 0x10000, vhdx_file_parameters_disk, member, __VA_ARGS__)

#define SIZE_IS "the size is the metadata's to say"
#define STATE_IS "no data, by its state"

#define ITEM_ROWS(n)                                                           \
    ITEM(n, ItemId, .kind = POKE_BYTES),                                       \
        ITEM(n, Offset, .kind = POKE_PLACE, .unit = 1,                         \
             .other = "an item of another value"),                             \
        ITEM(n, Length, .kind = POKE_NUMBER),                                  \
        ITEM(n, Flags, .kind = POKE_BITS),                                     \
        ITEM(n, Reserved2, .kind = POKE_NUMBER)

static const struct poke_row dynamic_rows[] = {
    POKE(0, vhdx_identifier_disk, Signature, .kind = POKE_BYTES),
    POKE(0, vhdx_identifier_disk, Creator, .kind = POKE_BYTES),
    BOTH(Signature, .kind = POKE_BYTES),
    BOTH(Checksum, .kind = POKE_SUM),
    HEADER(SequenceNumber, .kind = POKE_NUMBER),
    BOTH(SequenceNumber, .kind = POKE_NUMBER),
    BOTH(FileWriteGuid, .kind = POKE_BYTES),
    BOTH(DataWriteGuid, .kind = POKE_BYTES),
    BOTH(LogGuid, .kind = POKE_BYTES),
    BOTH(LogVersion, .kind = POKE_NUMBER),
    BOTH(Version, .kind = POKE_NUMBER),
    BOTH(LogLength, .kind = POKE_NUMBER),
    BOTH(LogOffset, .kind = POKE_PLACE, .unit = 1),
    BOTH(Reserved, .kind = POKE_BYTES),
    REGIONS(Signature, .kind = POKE_BYTES),
    REGIONS(Checksum, .kind = POKE_SUM),
    REGIONS(EntryCount, .kind = POKE_NUMBER),
    REGIONS(Reserved, .kind = POKE_NUMBER),
    REGION(0, Guid, .kind = POKE_BYTES),
    REGION(0, FileOffset, .kind = POKE_PLACE, .unit = 1,
           .other = "a table of zeros: no blocks"),
    REGION(0, Length, .kind = POKE_NUMBER),
    REGION(0, Required, .kind = POKE_BITS),
    REGION(1, Guid, .kind = POKE_BYTES),
    REGION(1, FileOffset, .kind = POKE_PLACE, .unit = 1),
    REGION(1, Length, .kind = POKE_NUMBER),
    REGION(1, Required, .kind = POKE_BITS),
    TABLE(Signature, .kind = POKE_BYTES),
    TABLE(Reserved, .kind = POKE_NUMBER),
    TABLE(EntryCount, .kind = POKE_NUMBER),
    TABLE(Reserved2, .kind = POKE_BYTES),
    ITEM_ROWS(0),
    ITEM_ROWS(1),
    ITEM_ROWS(2),
    ITEM_ROWS(3),
    ITEM_ROWS(4),
    PARAMETERS(BlockSize, .kind = POKE_NUMBER,
               .other = "blocks of another size"),
    PARAMETERS(Flags, .kind = POKE_BITS),
    VALUE("virtual disk size", 0x10008, 8, .other = SIZE_IS),
    VALUE("logical sector size", 0x10010, 4),
    VALUE("physical sector size", 0x10014, 4),
    POKE_ENTRY("metadata", "virtual disk id", FIX_METADATA + 0x10018, 16,
               .kind = POKE_BYTES),
    BAT(0, .other = STATE_IS),
    BAT(2, .other = "a block where the file has room"),
    BAT(3, .other = "a block where the file has room"),
    BAT(6, .other = STATE_IS),
    POKE_ENTRY("bat", "state of block 0", FIX_BAT, 1, .kind = POKE_NUMBER,
               .other = STATE_IS),
};
static const struct poke_record dynamic_records[] = {
    POKE_RECORD(0, vhdx_identifier_disk),
    POKE_RECORD(FIX_HEADER_2, vhdx_header_disk),
    POKE_RECORD(FIX_REGIONS_1, vhdx_region_table_disk),
    POKE_RECORD(FIX_REGIONS_1 + 16, vhdx_region_entry_disk),
    POKE_RECORD(FIX_METADATA, vhdx_metadata_table_disk),
    POKE_RECORD(FIX_METADATA + 32, vhdx_metadata_entry_disk),
    POKE_RECORD(FIX_METADATA + 0x10000, vhdx_file_parameters_disk),
};
static const struct poke_sample dynamic = {
    .name = "vhdx-dynamic",
    .format = "vhdx",
    .make = make_dynamic,
    .rows = dynamic_rows,
    .row_count = COUNT(dynamic_rows),
    .records = dynamic_records,
    .record_count = COUNT(dynamic_records),
    .landmarks = { FIX_HEADER_1, FIX_LOG, FIX_METADATA, FIX_BAT, 4 * MIB | 6,
                   5 * MIB | 6, 6 * MIB | 6, 8 * MIB | 6 },
    .target = { .format = "qcow2" },
};

/* -- a log to be replayed ---------------------------------------------------*/

/* Two pages of the BAT, each complete, and one of zeros behind its entries; the
 * log begins in sector 3. */
#define ENTRY_1 (FIX_LOG + 3 * 4096)
#define ENTRY_2 (FIX_LOG + 5 * 4096)
#define ENTRY_3 (FIX_LOG + 7 * 4096)

static void make_log(struct fuzz_case *fuzz)
{
    struct memory_file memory;
    struct log_writer log;

    fix_image(&memory);
    fill(&memory);
    log_start(&log, &memory, 3);
    put(memory.bytes + FIX_BAT + 8 * 6, 0, 8);
    (void)log_bat(&log, 0, 4 * MIB | 6);
    (void)log_bat(&log, 6, 8 * MIB | 6);
    entry_begin(&log, 1);
    entry_zero(&log, FIX_BAT + 65536, 4096);
    (void)entry_end(&log);
    put(memory.bytes + FIX_BAT, 0, 8);
    poke_file(fuzz, "image", memory.bytes, memory.length_bytes);
    poke_piece(fuzz, ENTRY_1, 8192);
    poke_piece(fuzz, ENTRY_2, 8192);
    poke_piece(fuzz, ENTRY_3, 4096);
}

#define NOT_REPLAYED "an entry that is not whole ends the log before it"
#define LOG(member, ...)                                                       \
    POKE(ENTRY_1, vhdx_log_entry_disk, member, .other = NOT_REPLAYED,          \
         __VA_ARGS__)
#define LOG_2(member, ...)                                                     \
    POKE(ENTRY_2, vhdx_log_entry_disk, member, .other = NOT_REPLAYED,          \
         __VA_ARGS__)
#define DESCRIPTOR(member, ...)                                                \
    POKE(ENTRY_2 + 64, vhdx_log_descriptor_disk, member,                       \
         .other = NOT_REPLAYED, __VA_ARGS__)
#define SECTOR(member, ...)                                                    \
    POKE(ENTRY_2 + 4096, vhdx_log_sector_disk, member, .other = NOT_REPLAYED,  \
         __VA_ARGS__)
static const struct poke_row log_rows[] = {
    LOG(Signature, .kind = POKE_BYTES),
    LOG(Checksum, .kind = POKE_SUM),
    LOG(EntryLength, .kind = POKE_NUMBER),
    LOG(Tail, .kind = POKE_NUMBER),
    LOG(SequenceNumber, .kind = POKE_NUMBER),
    LOG(DescriptorCount, .kind = POKE_NUMBER),
    LOG(Reserved, .kind = POKE_NUMBER),
    LOG(LogGuid, .kind = POKE_BYTES),
    LOG(FlushedFileOffset, .kind = POKE_NUMBER),
    LOG(LastFileOffset, .kind = POKE_NUMBER),
    LOG_2(EntryLength, .kind = POKE_NUMBER),
    LOG_2(Tail, .kind = POKE_PLACE, .unit = 1),
    LOG_2(SequenceNumber, .kind = POKE_NUMBER),
    LOG_2(DescriptorCount, .kind = POKE_NUMBER),
    LOG_2(FlushedFileOffset, .kind = POKE_NUMBER),
    LOG_2(LastFileOffset, .kind = POKE_NUMBER),
    DESCRIPTOR(Signature, .kind = POKE_BYTES),
    DESCRIPTOR(TrailingBytes, .kind = POKE_NUMBER),
    DESCRIPTOR(LeadingBytes, .kind = POKE_NUMBER),
    DESCRIPTOR(FileOffset, .kind = POKE_PLACE, .unit = 1),
    DESCRIPTOR(SequenceNumber, .kind = POKE_NUMBER),
    SECTOR(Signature, .kind = POKE_BYTES),
    SECTOR(SequenceHigh, .kind = POKE_NUMBER),
    SECTOR(Data, .kind = POKE_BYTES),
    SECTOR(SequenceLow, .kind = POKE_NUMBER),
    POKE(FIX_HEADER_2, vhdx_header_disk, LogGuid, .kind = POKE_BYTES,
         .other = "of zeros: there is nothing to replay"),
    POKE(FIX_HEADER_2, vhdx_header_disk, LogLength, .kind = POKE_NUMBER),
    POKE(FIX_HEADER_2, vhdx_header_disk, LogOffset, .kind = POKE_PLACE,
         .unit = 1),
};
static const struct poke_record log_records[] = {
    POKE_RECORD(ENTRY_1, vhdx_log_entry_disk),
    POKE_RECORD(ENTRY_2 + 64, vhdx_log_descriptor_disk),
    POKE_RECORD(ENTRY_2 + 4096, vhdx_log_sector_disk),
};
static const struct poke_sample with_log = {
    .name = "vhdx-log",
    .format = "vhdx",
    .make = make_log,
    .rows = log_rows,
    .row_count = COUNT(log_rows),
    .records = log_records,
    .record_count = COUNT(log_records),
    .landmarks = { 3 * 4096, 5 * 4096, FIX_LOG, FIX_METADATA, FIX_BAT,
                   5 * MIB },
    .target = { .format = "vmdk" },
};

/* -- differencing -----------------------------------------------------------*/

static void make_child(struct fuzz_case *fuzz)
{
    struct memory_file memory;

    fix_child(&memory);
    fill(&memory);
    poke_file(fuzz, "image", memory.bytes, memory.length_bytes);
    fix_image(&memory);
    poke_fill(memory.bytes + 4 * MIB, 65536, 21);
    poke_fill(memory.bytes + 7 * MIB, 65536, 22);
    poke_fill(memory.bytes + 8 * MIB, 512, 23);
    poke_file(fuzz, "base.vhdx", memory.bytes, memory.length_bytes);
}

#define LOCATOR_HEAD(member, ...)                                              \
    POKE(LOCATOR, vhdx_locator_disk, member, __VA_ARGS__)
#define LOCATOR_ROWS(n)                                                        \
    POKE(LOCATOR + 20 + 12 * (n), vhdx_locator_entry_disk, KeyOffset,          \
         .kind = POKE_NUMBER),                                                 \
        POKE(LOCATOR + 20 + 12 * (n), vhdx_locator_entry_disk, ValueOffset,    \
             .kind = POKE_NUMBER),                                             \
        POKE(LOCATOR + 20 + 12 * (n), vhdx_locator_entry_disk, KeyLength,      \
             .kind = POKE_NUMBER),                                             \
        POKE(LOCATOR + 20 + 12 * (n), vhdx_locator_entry_disk, ValueLength,    \
             .kind = POKE_NUMBER)
#define BITS_SAY "the bitmap says whose the sector is"
static const struct poke_row child_rows[] = {
    PARAMETERS(Flags, .kind = POKE_BITS, .other = "no parent, by its flag"),
    ITEM_ROWS(5),
    LOCATOR_HEAD(LocatorType, .kind = POKE_BYTES),
    LOCATOR_HEAD(Reserved, .kind = POKE_NUMBER),
    LOCATOR_HEAD(KeyValueCount, .kind = POKE_NUMBER),
    LOCATOR_ROWS(0),
    LOCATOR_ROWS(1),
    POKE_ENTRY("locator", "keys and values", LOCATOR + 44, 64,
               .kind = POKE_BYTES),
    BAT(0, .other = STATE_IS),
    BAT(3, .other = "a block where the file has room"),
    BAT(4096, .other = STATE_IS),
    POKE_ENTRY("sector bitmap", "byte 0", BITMAP, 1, .kind = POKE_BITS,
               .other = BITS_SAY),
    POKE_ENTRY("sector bitmap", "byte 6*256", BITMAP + 6 * 256, 1,
               .kind = POKE_BITS, .other = BITS_SAY),
    POKE(FIX_HEADER_2, vhdx_header_disk, DataWriteGuid, .kind = POKE_BYTES,
         .file_index = 1),
    BAT(0, .file_index = 1, .other = "no block in the parent"),
};
static const struct poke_record child_records[] = {
    POKE_RECORD(FIX_METADATA + 32 + 32 * 5, vhdx_metadata_entry_disk),
    POKE_RECORD(LOCATOR, vhdx_locator_disk),
    POKE_RECORD(LOCATOR + 20, vhdx_locator_entry_disk),
    POKE_RECORD(LOCATOR + 32, vhdx_locator_entry_disk),
};
static const struct poke_sample child = {
    .name = "vhdx-differencing",
    .format = "vhdx",
    .make = make_child,
    .rows = child_rows,
    .row_count = COUNT(child_rows),
    .records = child_records,
    .record_count = COUNT(child_records),
    .landmarks = { FIX_LOG | 6, FIX_METADATA | 6, FIX_BAT | 7, 4 * MIB | 6,
                   5 * MIB | 7, 6 * MIB | 6, BITMAP | 6 },
    .target = { .format = "vhd" },
};

/* -- the tests --------------------------------------------------------------*/

static const struct poke_sample *const samples[] = { &dynamic, &with_log,
                                                     &child };

static void test_poke_vhdx__dynamic(void **state)
{
    (void)state;
    poke_run(&dynamic);
}

static void test_poke_vhdx__log(void **state)
{
    (void)state;
    poke_run(&with_log);
}

static void test_poke_vhdx__differencing(void **state)
{
    (void)state;
    poke_run(&child);
}

static void test_poke_vhdx__every_record_is_poked(void **state)
{
    (void)state;
    poke_complete("formats/vhdx/vhdx_disk.h", samples, COUNT(samples), NULL);
}

static void test_poke_vhdx__cut_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(samples); i++)
        poke_truncate(samples[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poke_vhdx__dynamic),
        cmocka_unit_test(test_poke_vhdx__log),
        cmocka_unit_test(test_poke_vhdx__differencing),
        cmocka_unit_test(test_poke_vhdx__every_record_is_poked),
        cmocka_unit_test(test_poke_vhdx__cut_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
