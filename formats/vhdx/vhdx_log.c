/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay of the log in memory (2.3). The file is never written: what the log
 * would write becomes a list of patches, laid over every later read of region
 * tables, metadata and BAT. Where it would make the file longer (2.3.3), what
 * is behind the file's end reads as zeros.
 *
 * The log is a ring of 4 KiB sectors that holds entries of many ages:
 *
 *   | old | N tail | N+1 | N+2 head | old ...    each entry names the tail of
 *           ^________________|                   the sequence it ends
 *
 * The active sequence is the one whose head has the greatest number, of all
 * runs of valid entries with rising numbers that hold their head's tail
 * (2.3.3, steps 1 to 7). Only entries from the head's tail to the head are
 * replayed: those before it have reached their places.
 *
 * The ring is read whole, twice in a row, so that an entry which wraps around
 * lies in one piece. Each sector is checked at most once as an entry's
 * beginning, and the bytes hashed in all are bounded: a hostile log may nest
 * entries in one another.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "cleanup.h"
#include "fail.h"
#include "vhdx.h"

/* Hyper-V and QEMU make logs of 1 MiB whatever the disk's size. */
#define LOG_BYTES_MAX (32 * DS_MIB)
/* 32 times the largest log; an honest log is hashed once. */
#define LOG_HASHED_BYTES_MAX DS_GIB
/* Each is tried on each read of a table: with this many, a 64 TiB disk's BAT
 * of 512 MiB takes 2048 windows times 2^16 comparisons. */
#define PATCH_COUNT_MAX 65536u

#define SECTOR VHDX_LOG_SECTOR_BYTES
#define ENTRY_UNKNOWN UINT32_MAX

struct ring {
    struct ds_file *file;
    struct ds_budget *budget;
    uint64_t offset_bytes; /* of the log in the file */
    uint32_t length_bytes;
    struct ds_guid guid;
    uint8_t *bytes;        /* 2 * length_bytes: the ring twice */
    uint32_t *entry_bytes; /* by sector: ENTRY_UNKNOWN, 0 no entry, length */
    uint64_t hashed_bytes;
};

/* A run of entries. */
struct sequence {
    uint32_t begin_bytes;
    uint32_t length_bytes; /* up to the ring's; 0: empty */
    uint32_t head_bytes;   /* where the newest entry begins */
    uint64_t head_number;
};

static struct vhdx_log_entry entry_decode(const uint8_t *bytes)
{
    struct vhdx_log_entry_disk wire;

    memcpy(&wire, bytes, sizeof(wire));
    return (struct vhdx_log_entry){
        .entry_length_bytes = ds_le32_get(wire.EntryLength),
        .tail_bytes = ds_le32_get(wire.Tail),
        .sequence_number = ds_le64_get(wire.SequenceNumber),
        .descriptor_count = ds_le32_get(wire.DescriptorCount),
        .flushed_file_bytes = ds_le64_get(wire.FlushedFileOffset),
        .last_file_bytes = ds_le64_get(wire.LastFileOffset),
    };
}

static struct vhdx_log_descriptor_disk descriptor_at(const uint8_t *entry,
                                                     uint32_t index)
{
    struct vhdx_log_descriptor_disk wire;

    /* Further descriptor sectors have no header, so they just continue. */
    memcpy(&wire,
           entry + sizeof(struct vhdx_log_entry_disk) +
               (size_t)index * sizeof(wire),
           sizeof(wire));
    return wire;
}

static bool is_data(const struct vhdx_log_descriptor_disk *wire)
{
    return memcmp(wire->Signature, "desc", 4) == 0;
}

/* Where the data sectors begin in an entry with so many descriptors. */
static uint64_t data_begin(uint32_t descriptor_count)
{
    return ds_align_up(sizeof(struct vhdx_log_entry_disk) +
                           (uint64_t)descriptor_count *
                               sizeof(struct vhdx_log_descriptor_disk),
                       SECTOR);
}

static bool sector_valid(const uint8_t *bytes, uint64_t sequence_number)
{
    struct vhdx_log_sector_disk wire;

    memcpy(&wire, bytes, sizeof(wire));
    return memcmp(wire.Signature, "data", 4) == 0 &&
           ds_le32_get(wire.SequenceHigh) == sequence_number >> 32 &&
           ds_le32_get(wire.SequenceLow) == (uint32_t)sequence_number;
}

/* 2.3.1.2 to 2.3.1.4. The checksum is right already. */
static bool descriptors_valid(const uint8_t *bytes,
                              const struct vhdx_log_entry *entry)
{
    uint64_t data = data_begin(entry->descriptor_count);

    if (data > entry->entry_length_bytes)
        return false;
    for (uint32_t i = 0; i < entry->descriptor_count; i++) {
        struct vhdx_log_descriptor_disk wire = descriptor_at(bytes, i);

        if (ds_le64_get(wire.SequenceNumber) != entry->sequence_number ||
            ds_le64_get(wire.FileOffset) % SECTOR != 0)
            return false;
        if (!is_data(&wire)) {
            if (memcmp(wire.Signature, "zero", 4) != 0 ||
                ds_le64_get(wire.LeadingBytes) % SECTOR != 0)
                return false;
            continue;
        }
        if (!ds_range_fits(data, SECTOR, entry->entry_length_bytes) ||
            !sector_valid(bytes + data, entry->sequence_number))
            return false;
        data += SECTOR;
    }
    return true;
}

/* The length of the valid entry at `at`, or 0. */
static uint32_t entry_measure(struct ring *ring, uint32_t at)
{
    const uint8_t *bytes = ring->bytes + at;
    struct vhdx_log_entry_disk wire;
    struct vhdx_log_entry entry = entry_decode(bytes);
    struct ds_guid guid;

    memcpy(&wire, bytes, sizeof(wire));
    guid = vhdx_guid_get(wire.LogGuid);
    if (memcmp(wire.Signature, "loge", 4) != 0 ||
        entry.entry_length_bytes == 0 ||
        entry.entry_length_bytes % SECTOR != 0 ||
        entry.entry_length_bytes > ring->length_bytes ||
        entry.tail_bytes % SECTOR != 0 ||
        entry.tail_bytes >= ring->length_bytes || entry.sequence_number == 0 ||
        !vhdx_guid_equal(&guid, &ring->guid))
        return 0;
    ring->hashed_bytes += entry.entry_length_bytes;
    if (ds_le32_get(wire.Checksum) !=
            vhdx_checksum(bytes, entry.entry_length_bytes) ||
        !descriptors_valid(bytes, &entry))
        return 0;
    return entry.entry_length_bytes;
}

static uint32_t entry_length(struct ring *ring, uint32_t at)
{
    uint32_t *known = &ring->entry_bytes[at / SECTOR];

    if (*known == ENTRY_UNKNOWN)
        *known = entry_measure(ring, at);
    return *known;
}

/* Steps 2 and 3: the longest run of entries from `begin`. */
static struct sequence sequence_at(struct ring *ring, uint32_t begin)
{
    struct sequence sequence = { .begin_bytes = begin };

    for (;;) {
        uint32_t at = (uint32_t)(((uint64_t)begin + sequence.length_bytes) %
                                 ring->length_bytes);
        uint32_t length = entry_length(ring, at);
        uint64_t number;

        if (length == 0 || length > ring->length_bytes - sequence.length_bytes)
            return sequence;
        number = entry_decode(ring->bytes + at).sequence_number;
        if (sequence.length_bytes != 0 && number != sequence.head_number + 1)
            return sequence;
        sequence.head_bytes = at;
        sequence.head_number = number;
        sequence.length_bytes += length;
        if (sequence.length_bytes == ring->length_bytes)
            return sequence;
    }
}

/* Step 4: whether an entry of the run begins at its head's tail. */
static bool sequence_has_tail(struct ring *ring,
                              const struct sequence *sequence, uint32_t *skip)
{
    uint32_t tail = entry_decode(ring->bytes + sequence->head_bytes).tail_bytes;
    uint32_t passed = 0;

    while (passed < sequence->length_bytes) {
        uint32_t at = (uint32_t)(((uint64_t)sequence->begin_bytes + passed) %
                                 ring->length_bytes);

        if (at == tail) {
            *skip = passed;
            return true;
        }
        passed += entry_length(ring, at);
    }
    return false;
}

/* Steps 1 to 7. The result begins at its tail entry. */
static int find_active(struct ring *ring, struct sequence *active,
                       struct ds_error *err)
{
    uint64_t tail = 0;

    *active = (struct sequence){ 0 };
    while (tail < ring->length_bytes) {
        struct sequence sequence = sequence_at(ring, (uint32_t)tail);
        uint32_t skip = 0;

        if (ring->hashed_bytes > LOG_HASHED_BYTES_MAX)
            return ds_fail_at(err, ring->file, ring->offset_bytes, DS_ERR_LIMIT,
                              "vhdx: log: entries lie in one another");
        if (sequence.length_bytes == 0 ||
            !sequence_has_tail(ring, &sequence, &skip)) {
            tail += SECTOR;
            continue;
        }
        tail += sequence.length_bytes;
        if (sequence.head_number > active->head_number) {
            *active = sequence;
            active->begin_bytes =
                (uint32_t)(((uint64_t)sequence.begin_bytes + skip) %
                           ring->length_bytes);
            active->length_bytes -= skip;
        }
    }
    if (active->length_bytes == 0)
        return ds_fail_at(err, ring->file, ring->offset_bytes, DS_ERR_CORRUPT,
                          "vhdx: log: no valid sequence of entries, though "
                          "the header says that there is one");
    return 0;
}

/* One entry's descriptors become patches. Later ones win, being later. */
static int entry_patches(const struct ring *ring, const uint8_t *bytes,
                         struct vhdx_overlay *overlay, size_t *sector_count,
                         struct ds_error *err)
{
    struct vhdx_log_entry entry = entry_decode(bytes);
    const uint8_t *data = bytes + data_begin(entry.descriptor_count);

    for (uint32_t i = 0; i < entry.descriptor_count; i++) {
        struct vhdx_log_descriptor_disk wire = descriptor_at(bytes, i);
        struct vhdx_patch patch = {
            .offset_bytes = ds_le64_get(wire.FileOffset),
            .length_bytes = SECTOR,
        };

        if (is_data(&wire)) {
            uint8_t *sector = overlay->sectors + *sector_count * SECTOR;

            memcpy(sector, data, SECTOR);
            memcpy(sector, wire.LeadingBytes.b, 8);
            memcpy(sector + SECTOR - 4, wire.TrailingBytes.b, 4);
            patch.bytes = sector;
            *sector_count += 1;
            data += SECTOR;
        } else {
            patch.length_bytes = ds_le64_get(wire.LeadingBytes);
        }
        if (!ds_range_fits(patch.offset_bytes, patch.length_bytes, INT64_MAX))
            return ds_fail_at(err, ring->file, ring->offset_bytes,
                              DS_ERR_CORRUPT,
                              "vhdx: log: descriptor, have %" PRIu64 "+%" PRIu64
                              " expect it to end within a file's largest size",
                              patch.offset_bytes, patch.length_bytes);
        overlay->file_bytes = ds_max_u64(
            overlay->file_bytes, patch.offset_bytes + patch.length_bytes);
        overlay->patches[overlay->patch_count++] = patch;
    }
    return 0;
}

/* How many patches and data sectors the sequence has. */
static void sequence_count(struct ring *ring, const struct sequence *active,
                           uint64_t *patch_count, uint64_t *sector_count)
{
    uint32_t passed = 0;

    while (passed < active->length_bytes) {
        uint32_t at = (uint32_t)(((uint64_t)active->begin_bytes + passed) %
                                 ring->length_bytes);
        uint32_t count = entry_decode(ring->bytes + at).descriptor_count;

        *patch_count += count;
        for (uint32_t i = 0; i < count; i++) {
            struct vhdx_log_descriptor_disk wire =
                descriptor_at(ring->bytes + at, i);

            *sector_count += is_data(&wire);
        }
        passed += entry_length(ring, at);
    }
}

static int sequence_load(struct ring *ring, const struct sequence *active,
                         struct vhdx_overlay *overlay, struct ds_error *err)
{
    uint64_t patch_count = 0, sector_count = 0;
    uint32_t passed = 0;
    size_t sectors_used = 0;
    int result;

    sequence_count(ring, active, &patch_count, &sector_count);
    if (patch_count > PATCH_COUNT_MAX)
        return ds_fail_at(err, ring->file, ring->offset_bytes, DS_ERR_LIMIT,
                          "vhdx: log: descriptors, have %" PRIu64
                          " expect at most %u",
                          patch_count, PATCH_COUNT_MAX);
    result = ds_budget_memory(ring->budget, ring->file,
                              "vhdx: log: bytes of updates",
                              (patch_count + 1) * sizeof(*overlay->patches) +
                                  (sector_count + 1) * SECTOR,
                              err);
    if (result != 0)
        return result;
    overlay->patches = calloc(patch_count + 1, sizeof(*overlay->patches));
    overlay->sectors = calloc(sector_count + 1, SECTOR);
    if (overlay->patches == NULL || overlay->sectors == NULL)
        return ds_fail_memory(err);
    while (passed < active->length_bytes) {
        uint32_t at = (uint32_t)(((uint64_t)active->begin_bytes + passed) %
                                 ring->length_bytes);

        result =
            entry_patches(ring, ring->bytes + at, overlay, &sectors_used, err);

        if (result != 0)
            return result;
        overlay->entry_count++;
        passed += entry_length(ring, at);
    }
    return 0;
}

static int ring_read(struct ring *ring, struct ds_error *err)
{
    size_t length = ring->length_bytes;
    int result;

    if (length > LOG_BYTES_MAX)
        return ds_fail_at(err, ring->file, ring->offset_bytes, DS_ERR_LIMIT,
                          "vhdx: log: length of a log to replay, have %zu "
                          "expect at most %" PRIu64,
                          length, LOG_BYTES_MAX);
    result = ds_budget_memory(
        ring->budget, ring->file, "vhdx: log: bytes to replay",
        2 * length + length / SECTOR * sizeof(*ring->entry_bytes), err);
    if (result != 0)
        return result;
    ring->bytes = malloc(2 * length);
    ring->entry_bytes = malloc(length / SECTOR * sizeof(*ring->entry_bytes));
    if (ring->bytes == NULL || ring->entry_bytes == NULL)
        return ds_fail_memory(err);
    result =
        ds_file_read(ring->file, ring->offset_bytes, ring->bytes, length, err);
    if (result != 0)
        return result;
    memcpy(ring->bytes + length, ring->bytes, length);
    for (size_t i = 0; i < length / SECTOR; i++)
        ring->entry_bytes[i] = ENTRY_UNKNOWN;
    return 0;
}

int vhdx_log_load(struct ds_file *file, const struct vhdx_header *header,
                  struct ds_budget *budget, struct vhdx_overlay *out,
                  struct ds_error *err)
{
    struct ring ring = {
        .file = file,
        .budget = budget,
        .offset_bytes = header->log_offset_bytes,
        .length_bytes = header->log_length_bytes,
        .guid = header->log_guid,
    };
    struct sequence active;
    struct vhdx_log_entry head;
    int result = ring_read(&ring, err);

    if (result == 0)
        result = find_active(&ring, &active, err);
    if (result == 0) {
        head = entry_decode(ring.bytes + active.head_bytes);
        out->file_bytes = ds_min_u64(head.last_file_bytes, INT64_MAX);
        if (head.flushed_file_bytes > file->size_bytes)
            result =
                ds_fail_at(err, file, ring.offset_bytes + active.head_bytes,
                           DS_ERR_CORRUPT,
                           "vhdx: log: truncated file, have %" PRIu64
                           " bytes expect FlushedFileOffset %" PRIu64,
                           file->size_bytes, head.flushed_file_bytes);
    }
    if (result == 0)
        result = sequence_load(&ring, &active, out, err);
    free(ring.bytes);
    free(ring.entry_bytes);
    return result;
}

void vhdx_overlay_apply(const struct vhdx_overlay *overlay,
                        uint64_t offset_bytes, uint8_t *bytes,
                        size_t length_bytes)
{
    uint64_t end = offset_bytes + length_bytes;

    for (size_t i = 0; i < overlay->patch_count; i++) {
        const struct vhdx_patch *patch = &overlay->patches[i];
        uint64_t from = ds_max_u64(patch->offset_bytes, offset_bytes);
        uint64_t to =
            ds_min_u64(patch->offset_bytes + patch->length_bytes, end);

        if (from >= to)
            continue;
        if (patch->bytes != NULL)
            memcpy(bytes + (from - offset_bytes),
                   patch->bytes + (from - patch->offset_bytes), to - from);
        else
            memset(bytes + (from - offset_bytes), 0, to - from);
    }
}

void vhdx_overlay_free(struct vhdx_overlay *overlay)
{
    free(overlay->patches);
    free(overlay->sectors);
    *overlay = (struct vhdx_overlay){ 0 };
}
