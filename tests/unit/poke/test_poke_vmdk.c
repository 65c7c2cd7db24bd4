/* SPDX-License-Identifier: Apache-2.0 */
/* Each field of each kind of VMDK: see poke.h. */
#include "poke.h"
#include "vmdk/vmdk_disk.h"
#include "vmdk/vmdk_esx_disk.h"
#include "vmdk_testing.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define S 512u
#define HEAD "# Disk DescriptorFile\nversion=1\nCID=2\nparentCID=ffffffff\n"
#define HOLE_IS "an entry of 0 is a hole"

static uint8_t *room(size_t bytes)
{
    uint8_t *at = calloc(1, bytes);

    assert_non_null(at);
    return at;
}

static void add_text(struct fuzz_case *fuzz, const char *name, const char *text)
{
    uint8_t *bytes = room(strlen(text) + 1);

    memcpy(bytes, text, strlen(text));
    poke_file(fuzz, name, bytes, strlen(text));
}

#define HEADER_ROWS(base)                                                      \
    POKE(base, vmdk_header_disk, magicNumber, .kind = POKE_NUMBER),            \
        POKE(base, vmdk_header_disk, version, .kind = POKE_NUMBER),            \
        POKE(base, vmdk_header_disk, flags, .kind = POKE_BITS,                 \
             .other = "without the flag an entry of 1 is no zero"),            \
        POKE(base, vmdk_header_disk, capacity, .kind = POKE_NUMBER),           \
        POKE(base, vmdk_header_disk, grainSize, .kind = POKE_NUMBER,           \
             .other = "grains of another size"),                               \
        POKE(base, vmdk_header_disk, descriptorOffset, .kind = POKE_PLACE,     \
             .unit = S),                                                       \
        POKE(base, vmdk_header_disk, descriptorSize, .kind = POKE_NUMBER),     \
        POKE(base, vmdk_header_disk, numGTEsPerGT, .kind = POKE_NUMBER),       \
        POKE(base, vmdk_header_disk, rgdOffset, .kind = POKE_PLACE,            \
             .unit = S),                                                       \
        POKE(base, vmdk_header_disk, gdOffset, .kind = POKE_PLACE, .unit = S,  \
             .other = "a directory of other numbers"),                         \
        POKE(base, vmdk_header_disk, overHead, .kind = POKE_PLACE, .unit = S), \
        POKE(base, vmdk_header_disk, uncleanShutdown, .kind = POKE_NUMBER),    \
        POKE(base, vmdk_header_disk, singleEndLineChar, .kind = POKE_NUMBER),  \
        POKE(base, vmdk_header_disk, nonEndLineChar, .kind = POKE_NUMBER),     \
        POKE(base, vmdk_header_disk, doubleEndLineChar1, .kind = POKE_NUMBER), \
        POKE(base, vmdk_header_disk, doubleEndLineChar2, .kind = POKE_NUMBER), \
        POKE(base, vmdk_header_disk, compressAlgorithm, .kind = POKE_NUMBER),  \
        POKE(base, vmdk_header_disk, pad, .kind = POKE_BYTES)

/* -- hosted sparse ----------------------------------------------------------*/

static void make_sparse(struct fuzz_case *fuzz)
{
    uint8_t *file = room(SAMPLE_FILE_BYTES);

    sample_make(file);
    poke_fill(file + 48 * S, SAMPLE_FILE_BYTES - 48 * S, 1);
    poke_file(fuzz, "image", file, SAMPLE_FILE_BYTES);
}

#define GTE(n, ...)                                                            \
    POKE_ENTRY("grain table", "entry " #n, SAMPLE_TABLES *S + 4 * (n), 4,      \
               .kind = POKE_PLACE, .unit = S,                                  \
               .mirror_bytes = SAMPLE_COPIES * S + 4 * (n), __VA_ARGS__)

static const struct poke_row sparse_rows[] = {
    HEADER_ROWS(0),
    GTE(0, .other = HOLE_IS),
    GTE(2, .other = "a zero grain"),
    GTE(3, .other = HOLE_IS),
    GTE(512, .other = HOLE_IS),
    GTE(515, .other = HOLE_IS),
    POKE_ENTRY("grain directory", "entry 0", SAMPLE_GD *S, 4,
               .kind = POKE_PLACE, .unit = S, .other = "no table: all holes"),
    POKE_ENTRY("grain directory", "entry 1", SAMPLE_GD *S + 4, 4,
               .kind = POKE_PLACE, .unit = S, .other = "no table: all holes"),
    POKE_ENTRY("redundant directory", "entry 0", SAMPLE_RGD *S, 4,
               .kind = POKE_PLACE, .unit = S),
    POKE_ENTRY("redundant table", "entry 0", SAMPLE_COPIES *S, 4,
               .kind = POKE_PLACE, .unit = S),
};
static const struct poke_record sparse_records[] = {
    POKE_RECORD(0, vmdk_header_disk),
};
static const struct poke_sample sparse = {
    .name = "vmdk-sparse",
    .format = "vmdk",
    .make = make_sparse,
    .rows = sparse_rows,
    .row_count = COUNT(sparse_rows),
    .records = sparse_records,
    .record_count = COUNT(sparse_records),
    .landmarks = { S, SAMPLE_RGD *S, SAMPLE_COPIES *S, SAMPLE_GD *S,
                   SAMPLE_TABLES *S, 48 * S, 56 * S, 144 * S },
    .target = { .format = "qcow2" },
};

static const struct poke_text sparse_texts[] = {
    { "version=1", "version=0", NULL, 0 },
    { "version=1", "version=9", NULL, 0 },
    { "CID=12345678", "CID=zz", NULL, 0 },
    { "CID=12345678", "CIE=12345678", NULL, 0 },
    { "parentCID=ffffffff", "parentCID=00000001", NULL, 0 },
    { "createType=\"monolithicSparse\"", "createType=\"vmfs\"", NULL, 0 },
    { "createType=\"monolithicSparse\"", "createType=\"nonsense\"", NULL, 0 },
    { "RW 8241 SPARSE", "RW 8240 SPARSE", NULL, 0 },
    { "RW 8241 SPARSE", "RW 8242 SPARSE", NULL, 0 },
    { "RW 8241 SPARSE", "RW 0 SPARSE", NULL, 0 },
    { "RW 8241 SPARSE", "RW -1 SPARSE", NULL, 0 },
    { "RW 8241 SPARSE", "RW 36028797018963968 SPARSE", NULL, 0 },
    { "RW 8241 SPARSE", "RW 99999999999999999999 SPARSE", NULL, 0 },
    { "RW 8241 SPARSE", "RX 8241 SPARSE", NULL, 0 },
    { "RW 8241 SPARSE", "NOACCESS 8241 SPARSE",
      "what may not be read reads as zeros", 0 },
    { "RW 8241 SPARSE", "RW 8241 FLAT", NULL, 0 },
    { "RW 8241 SPARSE", "RW 8241 VMFSSPARSE", NULL, 0 },
    { "RW 8241 SPARSE", "RW 8241 SESPARSE", NULL, 0 },
    { "RW 8241 SPARSE", "RW 8241 ZERO", "all of it is zeros", 0 },
    { "RW 8241 SPARSE", "RW 8241 NOTHING", NULL, 0 },
    { "\"another name.vmdk\"", "\"../../etc/shadow\"", NULL, 0 },
    { "\"another name.vmdk\"", "\"open", NULL, 0 },
    { "\"another name.vmdk\"", "", NULL, 0 },
    { "# Disk DescriptorFile", "# Something else", NULL, 0 },
};

/* -- a stream ---------------------------------------------------------------*/

/*
 * sector 0     1           8      25  26    30     47  48    52  53  54  55  56
 *        head  descriptor  g0     m   GT0   g512   m   GT1   m   GD  m foot end
 *
 * Grains of 8 KiB that zlib "stores": 8203 bytes and the marker, 17 sectors.
 */
#define STREAM_SECTORS 57u
#define STREAM_TEXT                                                            \
    HEAD "createType=\"streamOptimized\"\nRDONLY 8241 SPARSE \"old.vmdk\"\n"

static uint32_t adler32(const uint8_t *bytes, size_t length)
{
    uint32_t a = 1, b = 0;

    for (size_t i = 0; i < length; i++) {
        a = (a + bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static void put_grain(uint8_t *file, size_t sector, uint64_t guest_sector)
{
    uint8_t *at = file + sector * S, *data = at + 12 + 7;
    uint32_t sum;

    put64(at, 0, guest_sector);
    put32(at, 8, 2 + 5 + SAMPLE_GRAIN + 4);
    memcpy(at + 12, "\x78\x01\x01\x00\x20\xff\xdf", 7);
    poke_fill(data, SAMPLE_GRAIN, (unsigned)sector);
    sum = adler32(data, SAMPLE_GRAIN);
    for (unsigned i = 0; i < 4; i++)
        data[SAMPLE_GRAIN + i] = (uint8_t)(sum >> 8 * (3 - i));
}

static void put_stream_header(uint8_t *at, uint64_t directory)
{
    memcpy(at, "KDMV", 4);
    put32(at, 4, 3);
    put32(at, 8, 0x30001);
    put64(at, 12, 515 * 16 + 1);
    put64(at, 20, 16);
    put64(at, 28, 1);
    put64(at, 36, 7);
    put32(at, 44, 512);
    put64(at, 56, directory);
    put64(at, 64, 8);
    memcpy(at + 72, "\0\n \r\n\1", 6);
}

static void put_marker(uint8_t *file, size_t sector, uint64_t value,
                       uint32_t type)
{
    put64(file, sector * S, value);
    put32(file, sector * S + 12, type);
}

static void make_stream(struct fuzz_case *fuzz)
{
    uint8_t *file = room(STREAM_SECTORS * S);

    put_stream_header(file, UINT64_MAX);
    memcpy(file + S, STREAM_TEXT, sizeof(STREAM_TEXT) - 1);
    put_grain(file, 8, 0);
    put_marker(file, 25, 4, 1);
    put32(file, 26 * S, 8);
    put_grain(file, 30, 512 * 16);
    put_marker(file, 47, 4, 1);
    put32(file, 48 * S, 30);
    put_marker(file, 52, 1, 2);
    put32(file, 53 * S, 26);
    put32(file, 53 * S + 4, 48);
    put_marker(file, 54, 1, 3);
    put_stream_header(file + 55 * S, 53);
    poke_file(fuzz, "image", file, STREAM_SECTORS * S);
}

#define MARKER_ROWS(sector)                                                    \
    POKE((sector)*S, vmdk_marker_disk, val, .kind = POKE_NUMBER),              \
        POKE((sector)*S, vmdk_marker_disk, size, .kind = POKE_NUMBER),         \
        POKE((sector)*S, vmdk_marker_disk, type, .kind = POKE_NUMBER),         \
        POKE((sector)*S, vmdk_marker_disk, pad, .kind = POKE_BYTES)

static const struct poke_row stream_rows[] = {
    HEADER_ROWS(0),
    HEADER_ROWS(55 * S),
    MARKER_ROWS(25),
    MARKER_ROWS(47),
    MARKER_ROWS(52),
    MARKER_ROWS(54),
    MARKER_ROWS(56),
    POKE_ENTRY("grain marker", "val", 8 * S, 8, .kind = POKE_NUMBER),
    POKE_ENTRY("grain marker", "size", 8 * S + 8, 4, .kind = POKE_NUMBER,
               .other = "without data the grain is a hole"),
    POKE_ENTRY("grain", "zlib header", 8 * S + 12, 2, .kind = POKE_NUMBER),
    POKE_ENTRY("grain", "block header", 8 * S + 14, 4, .kind = POKE_NUMBER),
    POKE_ENTRY("grain", "data", 8 * S + 19, 64, .kind = POKE_BYTES),
    POKE_ENTRY("grain", "adler32", 8 * S + 19 + SAMPLE_GRAIN, 4,
               .kind = POKE_SUM),
    POKE_ENTRY("grain table", "entry 0", 26 * S, 4, .kind = POKE_PLACE,
               .unit = S, .other = HOLE_IS),
    POKE_ENTRY("grain table", "entry 1", 26 * S + 4, 4, .kind = POKE_PLACE,
               .unit = S, .other = HOLE_IS),
    POKE_ENTRY("grain directory", "entry 0", 53 * S, 4, .kind = POKE_PLACE,
               .unit = S, .other = "no table: all holes"),
};
static const struct poke_record stream_records[] = {
    POKE_RECORD(0, vmdk_header_disk),
    POKE_RECORD(55 * S, vmdk_header_disk),
    POKE_RECORD(25 * S, vmdk_marker_disk),
    POKE_RECORD(56 * S, vmdk_marker_disk),
};
static const struct poke_sample stream = {
    .name = "vmdk-stream",
    .format = "vmdk",
    .make = make_stream,
    .rows = stream_rows,
    .row_count = COUNT(stream_rows),
    .records = stream_records,
    .record_count = COUNT(stream_records),
    .landmarks = { S, 8 * S, 26 * S, 30 * S, 53 * S, 55 * S },
    .target = { .format = "vmdk" },
};

/* -- COWD -------------------------------------------------------------------*/

/*
 * sector 0        4    5       37       69 ... 75
 *        | header | GD | table | table | grains of one sector |
 */
#define COWD_SECTORS 75u

static void make_cowd(struct fuzz_case *fuzz)
{
    uint8_t *file = room(COWD_SECTORS * S);

    memcpy(file, "COWD", 4);
    put32(file, 4, 1);
    put32(file, 8, 3);
    put32(file, 12, 8200);
    put32(file, 16, 1);
    put32(file, 20, 4);
    put32(file, 24, 3);
    put32(file, 28, 75);
    put32(file, 4 * S, 5);
    put32(file, 4 * S + 8, 37);
    put32(file, 5 * S, 69);
    put32(file, 5 * S + 4, 70);
    put32(file, 5 * S + 12, 71);
    put32(file, 5 * S + 4095 * 4, 72);
    put32(file, 37 * S, 73);
    put32(file, 37 * S + 28, 74);
    poke_fill(file + 69 * S, 6 * S, 3);
    add_text(fuzz, "image",
             HEAD "createType=\"vmfsSparse\"\nRW 8200 VMFSSPARSE \"cowd\"\n");
    poke_file(fuzz, "cowd", file, COWD_SECTORS * S);
}

#define COWD(member, ...)                                                      \
    POKE(0, vmdk_cowd_header_disk, member, .file_index = 1, __VA_ARGS__)
#define COWD_ENTRY(table, name, at, ...)                                       \
    POKE_ENTRY(table, name, at, 4, .kind = POKE_PLACE, .unit = S,              \
               .file_index = 1, __VA_ARGS__)
static const struct poke_row cowd_rows[] = {
    COWD(magicNumber, .kind = POKE_NUMBER),
    COWD(version, .kind = POKE_NUMBER),
    COWD(flags, .kind = POKE_BITS),
    COWD(numSectors, .kind = POKE_NUMBER),
    COWD(grainSize, .kind = POKE_NUMBER),
    COWD(gdOffset, .kind = POKE_PLACE, .unit = S,
         .other = "a directory of other numbers"),
    COWD(numGDEntries, .kind = POKE_NUMBER),
    COWD(freeSector, .kind = POKE_PLACE, .unit = S),
    COWD(u, .kind = POKE_BYTES),
    COWD(generation, .kind = POKE_NUMBER),
    COWD(name, .kind = POKE_BYTES),
    COWD(description, .kind = POKE_BYTES),
    COWD(savedGeneration, .kind = POKE_NUMBER),
    COWD(reserved, .kind = POKE_BYTES),
    COWD(uncleanShutdown, .kind = POKE_NUMBER),
    COWD(padding, .kind = POKE_BYTES),
    COWD_ENTRY("grain directory", "entry 0", 4 * S,
               .other = "no table: all holes"),
    COWD_ENTRY("grain directory", "entry 1", 4 * S + 4,
               .other = "a table of other numbers"),
    COWD_ENTRY("grain table", "entry 0", 5 * S, .other = HOLE_IS),
    COWD_ENTRY("grain table", "entry 2", 5 * S + 8,
               .other = "a grain where the file has room"),
};
static const struct poke_record cowd_records[] = {
    POKE_RECORD(0, vmdk_cowd_header_disk),
};
static const struct poke_sample cowd = {
    .name = "vmdk-cowd",
    .format = "vmdk",
    .make = make_cowd,
    .rows = cowd_rows,
    .row_count = COUNT(cowd_rows),
    .records = cowd_records,
    .record_count = COUNT(cowd_records),
    .landmarks = { S, 4 * S, 5 * S, 37 * S, 70 * S, 73 * S },
    .target = { .format = "vmdk" },
};

/* -- seSparse ---------------------------------------------------------------*/

#define SE_SECTORS (224u + 8u * 7)
#define SE_TABLE0 (16 * S)
#define SE_TABLE1 (80 * S)
#define SE_PRESENT (UINT64_C(0x10000000) << 32)
#define SE_DATA(n) ((UINT64_C(3) << 60) | (uint64_t)(n) << 48)

static void make_sesparse(struct fuzz_case *fuzz)
{
    static const uint64_t words[] = {
        0xcafebabe, UINT64_C(0x200000001),
        16401,      8,
        64,         0,
        0,          0,
        0,          0,
        1,          1,   /* volatile header */
        2,          2,   /* journal header */
        4,          4,   /* journal */
        8,          8,   /* directory */
        16,         192, /* tables */
        208,        8,   /* bitmap */
        216,        8,   /* backmap */
        224,        800, /* grains */
    };
    uint8_t *file = room(SE_SECTORS * S);

    for (size_t i = 0; i < COUNT(words); i++)
        put64(file, i * 8, words[i]);
    put64(file, S, 0xcafecafe);
    put64(file, S + 16, 7);
    put64(file, 8 * S, SE_PRESENT | 1);
    put64(file, SE_TABLE1, SE_DATA(2));
    put64(file, SE_TABLE1 + 8, SE_DATA(3));
    put64(file, SE_TABLE1 + 16, UINT64_C(2) << 60);
    put64(file, SE_TABLE1 + 24, UINT64_C(1) << 60);
    put64(file, SE_TABLE1 + 40, SE_DATA(0));
    put64(file, SE_TABLE1 + 2050 * 8, SE_DATA(4));
    poke_fill(file + 224 * S, 7 * 8 * S, 4);
    add_text(fuzz, "image",
             HEAD "createType=\"seSparse\"\nRW 16401 SESPARSE \"se\"\n");
    poke_file(fuzz, "se", file, SE_SECTORS * S);
}

#define SE(member, ...)                                                        \
    POKE(0, vmdk_sesparse_header_disk, member, .file_index = 1, __VA_ARGS__)
#define SE_AREA(member, ...)                                                   \
    POKE(offsetof(struct vmdk_sesparse_header_disk, member),                   \
         vmdk_sesparse_area_disk, offset, .kind = POKE_PLACE, .unit = S,       \
         .file_index = 1, __VA_ARGS__),                                        \
        POKE(offsetof(struct vmdk_sesparse_header_disk, member),               \
             vmdk_sesparse_area_disk, size, .kind = POKE_NUMBER,               \
             .file_index = 1)
#define SE_IS(member) SE(member, .kind = POKE_BYTES, .other = "see the area")
#define SE_VOLATILE(member, ...)                                               \
    POKE(S, vmdk_sesparse_volatile_disk, member, .file_index = 1, __VA_ARGS__)
#define SE_ENTRY(table, name, at, ...)                                         \
    POKE_ENTRY(table, name, at, 8, .kind = POKE_NUMBER, .file_index = 1,       \
               __VA_ARGS__)
static const struct poke_row sesparse_rows[] = {
    SE(magic, .kind = POKE_NUMBER),
    SE(version, .kind = POKE_NUMBER),
    SE(capacity, .kind = POKE_NUMBER),
    SE(grain_size, .kind = POKE_NUMBER),
    SE(grain_table_size, .kind = POKE_NUMBER),
    SE(flags, .kind = POKE_BITS),
    SE(reserved, .kind = POKE_BYTES),
    SE_IS(volatile_header),
    SE_IS(journal_header),
    SE_IS(journal),
    SE_IS(grain_directory),
    SE_IS(grain_tables),
    SE_IS(free_bitmap),
    SE_IS(backmap),
    SE_IS(grains),
    SE(pad, .kind = POKE_BYTES),
    SE_AREA(volatile_header),
    SE_AREA(journal_header),
    SE_AREA(journal),
    SE_AREA(grain_directory, .other = "a directory of other numbers"),
    SE_AREA(grain_tables, .other = "tables of other numbers"),
    SE_AREA(free_bitmap),
    SE_AREA(backmap),
    SE_AREA(grains, .other = "grains count from here"),
    SE_VOLATILE(magic, .kind = POKE_NUMBER),
    SE_VOLATILE(free_table_number, .kind = POKE_NUMBER),
    SE_VOLATILE(next_transaction_number, .kind = POKE_NUMBER),
    SE_VOLATILE(replay_journal, .kind = POKE_NUMBER),
    SE_VOLATILE(pad, .kind = POKE_BYTES),
    SE_ENTRY("directory", "entry 0", 8 * S, .other = "another table"),
    SE_ENTRY("table", "entry 0", SE_TABLE1, .other = "another grain"),
    SE_ENTRY("table", "entry 4", SE_TABLE1 + 32, .other = "another grain"),
    SE_ENTRY("table", "entry 2050", SE_TABLE1 + 2050 * 8,
             .other = "another grain"),
    POKE_ENTRY("table", "type", SE_TABLE1 + 7, 1, .kind = POKE_BITS,
               .file_index = 1, .other = "another grain or none"),
};
static const struct poke_record sesparse_records[] = {
    POKE_RECORD(0, vmdk_sesparse_header_disk),
    POKE_RECORD(80, vmdk_sesparse_area_disk),
    POKE_RECORD(192, vmdk_sesparse_area_disk),
    POKE_RECORD(S, vmdk_sesparse_volatile_disk),
};
static const struct poke_sample sesparse = {
    .name = "vmdk-sesparse",
    .format = "vmdk",
    .make = make_sesparse,
    .rows = sesparse_rows,
    .row_count = COUNT(sesparse_rows),
    .records = sesparse_records,
    .record_count = COUNT(sesparse_records),
    .landmarks = { S, 2 * S, 8 * S, SE_TABLE0, SE_TABLE1, 208 * S, 224 * S,
                   240 * S },
    .target = { .format = "vhdx" },
};

/* -- descriptor and flat extents --------------------------------------------*/

static void make_flat(struct fuzz_case *fuzz)
{
    uint8_t *a = room(64 * S), *b = room(64 * S);

    add_text(fuzz, "image",
             HEAD "createType=\"custom\"\n"
                  "RW 32 FLAT \"a\" 8\nRDONLY 4 ZERO\nRW 60 FLAT \"b\" 0\n"
                  "ddb.adapterType = \"lsilogic\"\n");
    poke_fill(a, 64 * S, 5);
    poke_fill(b, 64 * S, 6);
    poke_file(fuzz, "a", a, 64 * S);
    poke_file(fuzz, "b", b, 64 * S);
}

static const struct poke_sample flat = {
    .name = "vmdk-flat",
    .format = "vmdk",
    .make = make_flat,
    .is_lines = true,
    .target = { .format = "vhd" },
};

#define LINE_IS "the line says so"
static const struct poke_text flat_texts[] = {
    { "# Disk DescriptorFile", "# A text", NULL, 0 },
    { "version=1", "version=0", NULL, 0 },
    { "version=1", "version=2", NULL, 0 },
    { "version=1", "version=99999999999", NULL, 0 },
    { "version=1", "encoding=\"nonsense\"", NULL, 0 },
    { "version=1", "encoding=\"UTF-16\"\nversion=1", NULL, 0 },
    { "CID=2", "CID=", NULL, 0 },
    { "CID=2", "CID=100000000", NULL, 0 },
    { "CID=2", "CID=2\nCID=3", NULL, 0 },
    { "parentCID=ffffffff", "parentCID=3", NULL, 0 },
    { "parentCID=ffffffff", "parentCID=3\nparentFileNameHint=\"a\"", NULL, 0 },
    { "parentCID=ffffffff", "parentCID=3\nparentFileNameHint=\"image\"", NULL,
      0 },
    { "parentCID=ffffffff", "parentCID=3\nparentFileNameHint=\"/etc/shadow\"",
      NULL, 0 },
    { "createType=\"custom\"", "createType=\"custom", NULL, 0 },
    { "createType=\"custom\"", "createType=custom", NULL, 0 },
    { "createType=\"custom\"", "createType=\"\"", NULL, 0 },
    { "createType=\"custom\"", "createType=\"monolithicFlat\"", NULL, 0 },
    { "createType=\"custom\"", "createType=\"fullDevice\"", NULL, 0 },
    { "RW 32 FLAT", "RW 0 FLAT", LINE_IS, 0 },
    { "RW 32 FLAT", "RW 57 FLAT", NULL, 0 },
    { "RW 32 FLAT", "RW 56 FLAT", LINE_IS, 0 },
    { "RW 32 FLAT", "RW 36028797018963968 FLAT", NULL, 0 },
    { "RW 32 FLAT", "RW 18446744073709551615 FLAT", NULL, 0 },
    { "RW 32 FLAT", "RW 18446744073709551648 FLAT", NULL, 0 },
    { "RW 32 FLAT", "RW -32 FLAT", NULL, 0 },
    { "RW 32 FLAT", "RW 3x FLAT", NULL, 0 },
    { "RW 32 FLAT", "RDWR 32 FLAT", NULL, 0 },
    { "RW 32 FLAT", "RW 32 FLATT", NULL, 0 },
    { "RW 32 FLAT", "RW 32 SPARSE", NULL, 0 },
    { "RW 32 FLAT", "NOACCESS 32 FLAT", LINE_IS, 0 },
    { "\"a\" 8", "\"a\" 33", NULL, 0 },
    { "\"a\" 8", "\"a\" 32", LINE_IS, 0 },
    { "\"a\" 8", "\"a\" 36028797018963960", NULL, 0 },
    { "\"a\" 8", "\"a\" 18446744073709551615", NULL, 0 },
    { "\"a\" 8", "\"a\" -8", NULL, 0 },
    { "\"a\" 8", "\"a\"", LINE_IS, 0 },
    { "\"a\" 8", "\"a\" 8 9 10", NULL, 0 },
    { "\"a\" 8", "\"a 8", NULL, 0 },
    { "\"a\" 8", "\"b\" 8", NULL, 0 },
    { "\"a\" 8", "\"image\" 0", NULL, 0 },
    { "\"a\" 8", "\"\" 8", NULL, 0 },
    { "\"a\" 8", "\"../a\" 8", NULL, 0 },
    { "\"a\" 8", "\"/dev/sda\" 8", NULL, 0 },
    { "\"a\" 8", "\"http://host/a\" 8", NULL, 0 },
    { "RDONLY 4 ZERO", "RDONLY 4 ZERO \"a\" 0", NULL, 0 },
    { "RDONLY 4 ZERO", "RDONLY 99999999999999999 ZERO", NULL, 0 },
    { "RW 60 FLAT \"b\" 0", "", LINE_IS, 0 },
    { "ddb.adapterType", "ddb.adapterType\001", NULL, 0 },
};

/* -- the tests --------------------------------------------------------------*/

static const struct poke_sample *const samples[] = { &sparse, &stream, &cowd,
                                                     &sesparse, &flat };

#define TEST_OF(sample)                                                        \
    static void test_poke_vmdk__##sample(void **state)                         \
    {                                                                          \
        (void)state;                                                           \
        poke_run(&(sample));                                                   \
    }
TEST_OF(sparse)
TEST_OF(stream)
TEST_OF(cowd)
TEST_OF(sesparse)

static void test_poke_vmdk__embedded_descriptor(void **state)
{
    (void)state;
    poke_run_text(&sparse, sparse_texts, COUNT(sparse_texts));
}

static void test_poke_vmdk__descriptor(void **state)
{
    (void)state;
    poke_run_text(&flat, flat_texts, COUNT(flat_texts));
}

static void test_poke_vmdk__every_record_is_poked(void **state)
{
    (void)state;
    poke_complete("formats/vmdk/vmdk_disk.h", samples, COUNT(samples), NULL);
    poke_complete("formats/vmdk/vmdk_esx_disk.h", samples, COUNT(samples),
                  NULL);
}

static void test_poke_vmdk__cut_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(samples); i++)
        poke_truncate(samples[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poke_vmdk__sparse),
        cmocka_unit_test(test_poke_vmdk__stream),
        cmocka_unit_test(test_poke_vmdk__cowd),
        cmocka_unit_test(test_poke_vmdk__sesparse),
        cmocka_unit_test(test_poke_vmdk__embedded_descriptor),
        cmocka_unit_test(test_poke_vmdk__descriptor),
        cmocka_unit_test(test_poke_vmdk__every_record_is_poked),
        cmocka_unit_test(test_poke_vmdk__cut_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
