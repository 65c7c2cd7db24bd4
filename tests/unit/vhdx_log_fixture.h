/* SPDX-License-Identifier: Apache-2.0 */
/* A generator of VHDX logs, independent of the code that replays them. */
#ifndef VHDX_LOG_FIXTURE_H
#define VHDX_LOG_FIXTURE_H

#include "vhdx_fixture.h"

#define LOG_SECTORS 256u /* 1 MiB */
#define LOG_GUID_BYTE 0x77

/* Writes entries around the ring, as 2.3.1 draws them. */
struct log_writer {
    struct memory_file *memory;
    uint32_t at;       /* sector where the next entry begins */
    uint32_t tail;     /* sector that entries name as the tail */
    uint64_t sequence; /* the next number */
    uint64_t flushed_bytes;
    uint64_t last_bytes;
    uint8_t guid;
    uint8_t *entry; /* being built, NULL between */
    uint32_t descriptor_count;
    uint32_t data_count;
    uint32_t descriptor_sectors;
};

static inline void log_start(struct log_writer *log, struct memory_file *memory,
                             uint32_t sector)
{
    uint8_t *header = memory->bytes + FIX_HEADER_2;

    *log = (struct log_writer){
        .memory = memory,
        .at = sector,
        .tail = sector,
        .sequence = 1000,
        .flushed_bytes = FIX_BYTES,
        .last_bytes = FIX_BYTES,
        .guid = LOG_GUID_BYTE,
    };
    memset(header + 48, LOG_GUID_BYTE, 16);
    seal(header, 4096);
}

static inline void entry_begin(struct log_writer *log,
                               uint32_t descriptors_expected)
{
    log->descriptor_sectors = (64 + 32 * descriptors_expected + 4095) / 4096;
    log->entry = calloc(LOG_SECTORS, 4096);
    log->descriptor_count = 0;
    log->data_count = 0;
    assert_non_null(log->entry);
}

static inline uint8_t *next_descriptor(struct log_writer *log,
                                       const char *signature, uint64_t offset)
{
    uint8_t *at = log->entry + 64 + 32 * log->descriptor_count++;

    memcpy(at, signature, 4);
    put(at + 16, offset, 8);
    put(at + 24, log->sequence, 8);
    return at;
}

static inline void entry_data(struct log_writer *log, uint64_t offset,
                              const uint8_t page[4096])
{
    uint8_t *at = next_descriptor(log, "desc", offset);
    uint8_t *sector =
        log->entry + 4096 * (log->descriptor_sectors + log->data_count++);

    memcpy(sector, page, 4096);
    memcpy(at + 8, page, 8);
    memcpy(at + 4, page + 4092, 4);
    memcpy(sector, "data", 4);
    put(sector + 4, log->sequence >> 32, 4);
    put(sector + 4092, log->sequence, 4);
}

static inline void entry_zero(struct log_writer *log, uint64_t offset,
                              uint64_t length)
{
    uint8_t *at = next_descriptor(log, "zero", offset);

    put(at + 8, length, 8);
}

/* Into the ring; returns the sector where it began. */
static inline uint32_t entry_end(struct log_writer *log)
{
    uint32_t sectors = log->descriptor_sectors + log->data_count;
    uint32_t began = log->at;
    uint8_t *entry = log->entry;

    memcpy(entry, "loge", 4);
    put(entry + 8, 4096 * sectors, 4);
    put(entry + 12, 4096 * log->tail, 4);
    put(entry + 16, log->sequence, 8);
    put(entry + 24, log->descriptor_count, 4);
    memset(entry + 32, log->guid, 16);
    put(entry + 48, log->flushed_bytes, 8);
    put(entry + 56, log->last_bytes, 8);
    seal(entry, 4096 * sectors);
    for (uint32_t i = 0; i < sectors; i++) {
        memcpy(log->memory->bytes + FIX_LOG + 4096 * log->at, entry + 4096 * i,
               4096);
        log->at = (log->at + 1) % LOG_SECTORS;
    }
    log->sequence++;
    free(entry);
    log->entry = NULL;
    return began;
}

/* An entry that makes block `block` read from `offset`. The page is the BAT's
 * own, as it is on disk, with that entry changed. */
static inline uint32_t log_bat(struct log_writer *log, unsigned block,
                               uint64_t entry)
{
    uint8_t page[4096];

    memcpy(page, log->memory->bytes + FIX_BAT, sizeof(page));
    put(page + 8 * block, entry, 8);
    entry_begin(log, 1);
    entry_data(log, FIX_BAT, page);
    return entry_end(log);
}

/* Where the map says that the first block is; 0 when it is no data. */
static inline uint64_t first_block(struct memory_file *memory)
{
    struct ds_extent extents[64];
    struct ds_error err = DS_ERROR_INIT;
    struct ds_image *image;
    int result = fix_open(memory, &image, &err);

    if (result != 0)
        print_error("%s\n", err.message);
    assert_int_equal(result, 0);
    assert_true(fix_map(image, extents, 64, &err) > 0);
    image->format->close(image);
    return extents[0].kind == DS_EXTENT_DATA ? extents[0].file_offset_bytes : 0;
}

#endif
