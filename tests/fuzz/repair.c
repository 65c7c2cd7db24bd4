/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums made right. Written from the specifications and not from the
 * readers: [MS-VHDX] 2.2.2, 2.2.3, 2.3.1.1; the VHD specification's "Hard Disk
 * Footer Format"; POSIX ustar. Records are found where an intact image has
 * them, by their signatures.
 */
#include <stdio.h>
#include <string.h>

#include "arith.h"
#include "bytes.h"
#include "crc32c.h"
#include "fuzz_case.h"

/* Lay `length` (<= 8) bytes over the file. */
static void patch(struct fuzz_file *file, uint64_t offset, const void *bytes,
                  size_t length)
{
    uint8_t *room;

    if (file->piece_count == FUZZ_PIECE_COUNT_MAX)
        return;
    room = file->repaired[file->repaired_count++];
    memcpy(room, bytes, length);
    file->pieces[file->piece_count++] = (struct fuzz_piece){
        .offset_bytes = offset, .length_bytes = (uint32_t)length, .bytes = room
    };
}

static bool begins_with(const struct fuzz_file *file, uint64_t offset,
                        const char *signature)
{
    char head[8];
    size_t length = strlen(signature);

    fuzz_file_read(file, offset, head, length);
    return memcmp(head, signature, length) == 0;
}

static uint64_t be64_at(const struct fuzz_file *file, uint64_t offset)
{
    ds_be64 wire;

    fuzz_file_read(file, offset, &wire, sizeof(wire));
    return ds_be64_get(wire);
}

static uint64_t le_at(const struct fuzz_file *file, uint64_t offset,
                      size_t length)
{
    ds_le64 wire = { { 0 } };

    fuzz_file_read(file, offset, &wire, length);
    return ds_le64_get(wire);
}

/* -- VHD --------------------------------------------------------------------*/

/* The one's complement of the sum of all bytes but the checksum's own. */
static void repair_vhd_record(struct fuzz_file *file, uint64_t offset,
                              const char *cookie, size_t length, size_t at)
{
    uint8_t record[1024];
    uint32_t sum = 0;
    ds_be32 wire;

    if (!begins_with(file, offset, cookie))
        return;
    fuzz_file_read(file, offset, record, length);
    memset(record + at, 0, 4);
    for (size_t i = 0; i < length; i++)
        sum += record[i];
    wire = ds_be32_make(~sum);
    patch(file, offset + at, &wire, sizeof(wire));
}

static void repair_vhd(struct fuzz_file *file)
{
    uint64_t size = file->size_bytes;
    uint64_t footer = size >= 512 ? size - 512 : 0;

    repair_vhd_record(file, 0, "conectix", 512, 64);
    repair_vhd_record(file, be64_at(file, 16), "cxsparse", 1024, 36);
    if (footer == 0)
        return;
    repair_vhd_record(file, footer, "conectix", 512, 64);
    if (begins_with(file, footer, "conectix"))
        repair_vhd_record(file, be64_at(file, footer + 16), "cxsparse", 1024,
                          36);
}

/* -- VHDX -------------------------------------------------------------------*/

#define LOG_BYTES_MAX DS_MIB
#define SECTOR 4096u

static void repair_crc(struct fuzz_file *file, uint64_t offset,
                       const char *signature, size_t length)
{
    static uint8_t record[64 * 1024];
    ds_le32 wire;

    if (!begins_with(file, offset, signature))
        return;
    fuzz_file_read(file, offset, record, length);
    memset(record + 4, 0, 4);
    wire = ds_le32_make(ds_crc32c(0, record, length));
    patch(file, offset + 4, &wire, sizeof(wire));
}

/* Entries may wrap around the log's end. */
static void repair_log_entry(struct fuzz_file *file, uint64_t log,
                             uint64_t log_length, uint64_t at)
{
    uint64_t length = le_at(file, log + at + 8, 4);
    uint32_t crc = 0;
    ds_le32 wire;

    if (length == 0 || length > log_length || length % SECTOR != 0)
        return;
    for (uint64_t done = 0; done < length; done += SECTOR) {
        uint8_t sector[SECTOR];

        fuzz_file_read(file, log + (at + done) % log_length, sector, SECTOR);
        if (done == 0)
            memset(sector + 4, 0, 4);
        crc = ds_crc32c(crc, sector, SECTOR);
    }
    wire = ds_le32_make(crc);
    patch(file, log + at + 4, &wire, sizeof(wire));
}

static void repair_log(struct fuzz_file *file, uint64_t header)
{
    uint64_t length = le_at(file, header + 68, 4);
    uint64_t log = le_at(file, header + 72, 8);

    if (log > FUZZ_FILE_BYTES_MAX || length % SECTOR != 0)
        return;
    for (size_t i = 0; i < file->piece_count - file->repaired_count; i++) {
        uint64_t at = file->pieces[i].offset_bytes - log;

        /* The packer cuts pieces so that entries begin one. */
        if (at < ds_min_u64(length, LOG_BYTES_MAX) && at % SECTOR == 0 &&
            begins_with(file, log + at, "loge"))
            repair_log_entry(file, log, length, at);
    }
}

static void repair_vhdx(struct fuzz_file *file)
{
    static const uint64_t headers[] = { 64 * DS_KIB, 128 * DS_KIB };
    static const uint64_t tables[] = { 192 * DS_KIB, 256 * DS_KIB };

    for (size_t i = 0; i < 2; i++) {
        repair_crc(file, headers[i], "head", SECTOR);
        repair_crc(file, tables[i], "regi", 64 * 1024);
        if (begins_with(file, headers[i], "head"))
            repair_log(file, headers[i]);
    }
}

/* -- tar --------------------------------------------------------------------*/

#define TAR_BLOCK 512u
#define TAR_MEMBER_COUNT_MAX 64u

static uint64_t octal(const uint8_t *digits, size_t count)
{
    uint64_t value = 0;

    for (size_t i = 0; i < count && digits[i] >= '0' && digits[i] <= '7'; i++)
        value = value * 8 + (uint64_t)(digits[i] - '0');
    return value;
}

static void repair_tar(struct fuzz_file *file)
{
    uint64_t at = 0;

    for (unsigned i = 0; i < TAR_MEMBER_COUNT_MAX; i++) {
        uint8_t block[TAR_BLOCK];
        unsigned sum = 0;
        char text[16];

        if (at > FUZZ_FILE_BYTES_MAX || !begins_with(file, at + 257, "ustar"))
            return;
        fuzz_file_read(file, at, block, sizeof(block));
        memset(block + 148, ' ', 8);
        for (size_t b = 0; b < sizeof(block); b++)
            sum += block[b];
        (void)snprintf(text, sizeof(text), "%06o", sum);
        text[7] = ' ';
        patch(file, at + 148, text, 8);
        at += TAR_BLOCK + ds_align_up(octal(block + 124, 11), TAR_BLOCK);
    }
}

void fuzz_case_repair(struct fuzz_case *fuzz)
{
    for (size_t i = 0; i < fuzz->file_count; i++) {
        struct fuzz_file *file = &fuzz->files[i];

        if (begins_with(file, 0, "vhdxfile"))
            repair_vhdx(file);
        else if (begins_with(file, 257, "ustar"))
            repair_tar(file);
        else
            repair_vhd(file);
    }
}
