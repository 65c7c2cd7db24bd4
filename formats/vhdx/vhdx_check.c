/* SPDX-License-Identifier: Apache-2.0 */
/* Decode, encode and check the records, for reader and writer alike. */
#include <inttypes.h>
#include <string.h>

#include "crc32c.h"
#include "fail.h"
#include "vhdx.h"

/* 2DC27766-F623-4200-9D64-115E9BFD4A08 (2.2.3.2) */
const struct ds_guid vhdx_region_bat_guid = {
    { 0x2d, 0xc2, 0x77, 0x66, 0xf6, 0x23, 0x42, 0x00, 0x9d, 0x64, 0x11, 0x5e,
      0x9b, 0xfd, 0x4a, 0x08 }
};

/* 8B7CA206-4790-4B9A-B8FE-575F050F886E (2.2.3.2) */
const struct ds_guid vhdx_region_metadata_guid = {
    { 0x8b, 0x7c, 0xa2, 0x06, 0x47, 0x90, 0x4b, 0x9a, 0xb8, 0xfe, 0x57, 0x5f,
      0x05, 0x0f, 0x88, 0x6e }
};

/* 2.6.2, "Known Metadata Items". */
const struct vhdx_item_rule vhdx_item_rules[VHDX_ITEM_COUNT] = {
    [VHDX_ITEM_FILE_PARAMETERS] = {
        /* CAA16737-FA36-4D43-B3B6-33F0AA44E76B */
        { { 0xca, 0xa1, 0x67, 0x37, 0xfa, 0x36, 0x4d, 0x43, 0xb3, 0xb6, 0x33,
            0xf0, 0xaa, 0x44, 0xe7, 0x6b } },
        "file parameters", 8, VHDX_ITEM_IS_REQUIRED },
    [VHDX_ITEM_VIRTUAL_DISK_SIZE] = {
        /* 2FA54224-CD1B-4876-B211-5DBED83BF4B8 */
        { { 0x2f, 0xa5, 0x42, 0x24, 0xcd, 0x1b, 0x48, 0x76, 0xb2, 0x11, 0x5d,
            0xbe, 0xd8, 0x3b, 0xf4, 0xb8 } },
        "virtual disk size", 8,
        VHDX_ITEM_IS_REQUIRED | VHDX_ITEM_IS_VIRTUAL_DISK },
    [VHDX_ITEM_LOGICAL_SECTOR_SIZE] = {
        /* 8141BF1D-A96F-4709-BA47-F233A8FAAB5F */
        { { 0x81, 0x41, 0xbf, 0x1d, 0xa9, 0x6f, 0x47, 0x09, 0xba, 0x47, 0xf2,
            0x33, 0xa8, 0xfa, 0xab, 0x5f } },
        "logical sector size", 4,
        VHDX_ITEM_IS_REQUIRED | VHDX_ITEM_IS_VIRTUAL_DISK },
    [VHDX_ITEM_PHYSICAL_SECTOR_SIZE] = {
        /* CDA348C7-445D-4471-9CC9-E9885251C556 */
        { { 0xcd, 0xa3, 0x48, 0xc7, 0x44, 0x5d, 0x44, 0x71, 0x9c, 0xc9, 0xe9,
            0x88, 0x52, 0x51, 0xc5, 0x56 } },
        "physical sector size", 4,
        VHDX_ITEM_IS_REQUIRED | VHDX_ITEM_IS_VIRTUAL_DISK },
    [VHDX_ITEM_VIRTUAL_DISK_ID] = {
        /* BECA12AB-B2E6-4523-93EF-C309E000C746 */
        { { 0xbe, 0xca, 0x12, 0xab, 0xb2, 0xe6, 0x45, 0x23, 0x93, 0xef, 0xc3,
            0x09, 0xe0, 0x00, 0xc7, 0x46 } },
        "virtual disk id", 16,
        VHDX_ITEM_IS_REQUIRED | VHDX_ITEM_IS_VIRTUAL_DISK },
    [VHDX_ITEM_PARENT_LOCATOR] = {
        /* A8D35F2D-B30B-454D-ABF7-D3D84834AB0C */
        { { 0xa8, 0xd3, 0x5f, 0x2d, 0xb3, 0x0b, 0x45, 0x4d, 0xab, 0xf7, 0xd3,
            0xd8, 0x48, 0x34, 0xab, 0x0c } },
        "parent locator", 0, VHDX_ITEM_IS_REQUIRED },
};

bool vhdx_guid_equal(const struct ds_guid *left, const struct ds_guid *right)
{
    return memcmp(left->bytes, right->bytes, sizeof(left->bytes)) == 0;
}

bool vhdx_guid_is_zero(const struct ds_guid *guid)
{
    static const struct ds_guid zero;

    return vhdx_guid_equal(guid, &zero);
}

struct ds_guid vhdx_guid_get(vhdx_guid_disk wire)
{
    struct ds_guid mixed;

    memcpy(mixed.bytes, wire.b, sizeof(mixed.bytes));
    return ds_guid_swap(&mixed);
}

vhdx_guid_disk vhdx_guid_make(const struct ds_guid *guid)
{
    struct ds_guid mixed = ds_guid_swap(guid);
    vhdx_guid_disk wire;

    memcpy(wire.b, mixed.bytes, sizeof(wire.b));
    return wire;
}

uint32_t vhdx_checksum(const void *record, size_t length_bytes)
{
    static const uint8_t zero[4];
    const uint8_t *bytes = record;
    uint32_t crc = ds_crc32c(0, bytes, 4);

    crc = ds_crc32c(crc, zero, sizeof(zero));
    return ds_crc32c(crc, bytes + 8, length_bytes - 8);
}

bool vhdx_header_valid(const struct vhdx_header_disk *wire)
{
    return memcmp(wire->Signature, "head", 4) == 0 &&
           ds_le32_get(wire->Checksum) == vhdx_checksum(wire, sizeof(*wire));
}

struct vhdx_header vhdx_header_decode(const struct vhdx_header_disk *wire)
{
    return (struct vhdx_header){
        .sequence_number = ds_le64_get(wire->SequenceNumber),
        .file_write_guid = vhdx_guid_get(wire->FileWriteGuid),
        .data_write_guid = vhdx_guid_get(wire->DataWriteGuid),
        .log_guid = vhdx_guid_get(wire->LogGuid),
        .log_version = ds_le16_get(wire->LogVersion),
        .version = ds_le16_get(wire->Version),
        .log_length_bytes = ds_le32_get(wire->LogLength),
        .log_offset_bytes = ds_le64_get(wire->LogOffset),
    };
}

void vhdx_header_encode(const struct vhdx_header *header,
                        struct vhdx_header_disk *wire)
{
    *wire = (struct vhdx_header_disk){
        .Signature = { 'h', 'e', 'a', 'd' },
        .SequenceNumber = ds_le64_make(header->sequence_number),
        .FileWriteGuid = vhdx_guid_make(&header->file_write_guid),
        .DataWriteGuid = vhdx_guid_make(&header->data_write_guid),
        .LogGuid = vhdx_guid_make(&header->log_guid),
        .LogVersion = ds_le16_make(header->log_version),
        .Version = ds_le16_make(header->version),
        .LogLength = ds_le32_make(header->log_length_bytes),
        .LogOffset = ds_le64_make(header->log_offset_bytes),
    };
    wire->Checksum = ds_le32_make(vhdx_checksum(wire, sizeof(*wire)));
}

int vhdx_header_check(const struct vhdx_header *header,
                      const struct ds_file *file, uint64_t offset_bytes,
                      uint64_t file_size_bytes, struct ds_error *err)
{
    bool dirty = !vhdx_guid_is_zero(&header->log_guid);
    uint64_t at = offset_bytes + offsetof(struct vhdx_header_disk, LogOffset);

    if (header->version != 1)
        return ds_fail_at(
            err, file,
            offset_bytes + offsetof(struct vhdx_header_disk, Version),
            DS_ERR_UNSUPPORTED, "vhdx: header: Version, have %u expect 1",
            header->version);
    if (dirty && header->log_version != 0)
        return ds_fail_at(
            err, file,
            offset_bytes + offsetof(struct vhdx_header_disk, LogVersion),
            DS_ERR_UNSUPPORTED,
            "vhdx: header: LogVersion of a log to replay, have %u expect 0",
            header->log_version);
    if (header->log_length_bytes % DS_MIB != 0 ||
        (dirty && header->log_length_bytes == 0))
        return ds_fail_at(err, file,
                          offset_bytes +
                              offsetof(struct vhdx_header_disk, LogLength),
                          DS_ERR_CORRUPT,
                          "vhdx: header: LogLength, have %" PRIu32
                          " expect a multiple of 1 MiB%s",
                          header->log_length_bytes, dirty ? ", not 0" : "");
    if (header->log_length_bytes == 0)
        return 0;
    if (header->log_offset_bytes % DS_MIB != 0 ||
        header->log_offset_bytes < VHDX_HEADER_SECTION_BYTES)
        return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                          "vhdx: header: LogOffset, have %" PRIu64
                          " expect a multiple of 1 MiB, 1 MiB or more",
                          header->log_offset_bytes);
    if (!ds_range_fits(header->log_offset_bytes, header->log_length_bytes,
                       file_size_bytes))
        return ds_fail_at(err, file, at, DS_ERR_CORRUPT,
                          "vhdx: header: log ends past the file, have %" PRIu64
                          "+%" PRIu32 " expect at most %" PRIu64,
                          header->log_offset_bytes, header->log_length_bytes,
                          file_size_bytes);
    return 0;
}

struct vhdx_region_entry
vhdx_region_entry_decode(const struct vhdx_region_entry_disk *wire)
{
    return (struct vhdx_region_entry){
        .guid = vhdx_guid_get(wire->Guid),
        .offset_bytes = ds_le64_get(wire->FileOffset),
        .length_bytes = ds_le32_get(wire->Length),
        .required = (ds_le32_get(wire->Required) & 1) != 0,
    };
}

void vhdx_region_entry_encode(const struct vhdx_region_entry *entry,
                              struct vhdx_region_entry_disk *wire)
{
    *wire = (struct vhdx_region_entry_disk){
        .Guid = vhdx_guid_make(&entry->guid),
        .FileOffset = ds_le64_make(entry->offset_bytes),
        .Length = ds_le32_make((uint32_t)entry->length_bytes),
        .Required = ds_le32_make(entry->required ? 1 : 0),
    };
}

int vhdx_region_entry_check(const struct vhdx_region_entry *entry,
                            const struct ds_file *file, uint64_t offset_bytes,
                            uint64_t file_size_bytes, struct ds_error *err)
{
    if (entry->offset_bytes % DS_MIB != 0 ||
        entry->offset_bytes < VHDX_HEADER_SECTION_BYTES)
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vhdx: region table: FileOffset, have %" PRIu64
                          " expect a multiple of 1 MiB, 1 MiB or more",
                          entry->offset_bytes);
    if (entry->length_bytes % DS_MIB != 0)
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vhdx: region table: Length, have %" PRIu64
                          " expect a multiple of 1 MiB",
                          entry->length_bytes);
    if (!ds_range_fits(entry->offset_bytes, entry->length_bytes,
                       file_size_bytes))
        return ds_fail_at(
            err, file, offset_bytes, DS_ERR_CORRUPT,
            "vhdx: region table: region ends past the file, "
            "have %" PRIu64 "+%" PRIu64 " expect at most %" PRIu64,
            entry->offset_bytes, entry->length_bytes, file_size_bytes);
    return 0;
}

struct vhdx_metadata_entry
vhdx_metadata_entry_decode(const struct vhdx_metadata_entry_disk *wire)
{
    return (struct vhdx_metadata_entry){
        .item_id = vhdx_guid_get(wire->ItemId),
        .offset_bytes = ds_le32_get(wire->Offset),
        .length_bytes = ds_le32_get(wire->Length),
        .flags = ds_le32_get(wire->Flags),
    };
}

void vhdx_metadata_entry_encode(const struct vhdx_metadata_entry *entry,
                                struct vhdx_metadata_entry_disk *wire)
{
    *wire = (struct vhdx_metadata_entry_disk){
        .ItemId = vhdx_guid_make(&entry->item_id),
        .Offset = ds_le32_make((uint32_t)entry->offset_bytes),
        .Length = ds_le32_make((uint32_t)entry->length_bytes),
        .Flags = ds_le32_make(entry->flags),
    };
}

static int sector_check(const char *item, uint32_t sector_bytes,
                        const struct ds_file *file, uint64_t offset_bytes,
                        struct ds_error *err)
{
    if (sector_bytes == 512 || sector_bytes == 4096)
        return 0;
    return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                      "vhdx: %s: have %" PRIu32 " expect 512 or 4096", item,
                      sector_bytes);
}

int vhdx_parameters_check(const struct vhdx_parameters *parameters,
                          const struct ds_file *file, uint64_t offset_bytes,
                          struct ds_error *err)
{
    uint64_t block = parameters->block_bytes;
    uint64_t size = parameters->virtual_disk_bytes;
    int result;

    if ((parameters->flags & ~(VHDX_LEAVE_BLOCK_ALLOCATED | VHDX_HAS_PARENT)) !=
        0)
        return ds_fail_at(
            err, file, offset_bytes, DS_ERR_UNSUPPORTED,
            "vhdx: file parameters: unknown flags, have 0x%" PRIx32
            " expect only 0x3",
            parameters->flags);
    if (!ds_is_power_of_two(block) || block < VHDX_BLOCK_BYTES_MIN ||
        block > VHDX_BLOCK_BYTES_MAX)
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vhdx: file parameters: BlockSize, have %" PRIu64
                          " expect a power of two from 1 to 256 MiB",
                          block);
    result =
        sector_check("logical sector size", parameters->logical_sector_bytes,
                     file, offset_bytes, err);
    if (result == 0)
        result = sector_check("physical sector size",
                              parameters->physical_sector_bytes, file,
                              offset_bytes, err);
    if (result != 0)
        return result;
    if (size == 0 || size > VHDX_DISK_BYTES_MAX ||
        size % parameters->logical_sector_bytes != 0)
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "vhdx: virtual disk size: have %" PRIu64
                          " expect up to 64 TiB in sectors of %" PRIu32,
                          size, parameters->logical_sector_bytes);
    return 0;
}

struct vhdx_geometry
vhdx_geometry_make(const struct vhdx_parameters *parameters)
{
    struct vhdx_geometry geometry = {
        /* Powers of two within their bounds: 16 to 32768. */
        .chunk_ratio = VHDX_CHUNK_SECTORS * parameters->logical_sector_bytes /
                       parameters->block_bytes,
        .block_count =
            ds_div_up(parameters->virtual_disk_bytes, parameters->block_bytes),
    };

    geometry.chunk_count =
        ds_div_up(geometry.block_count, geometry.chunk_ratio);
    geometry.bat_entry_count =
        (parameters->flags & VHDX_HAS_PARENT) != 0
            ? geometry.chunk_count * (geometry.chunk_ratio + 1)
            : vhdx_bat_index(&geometry, geometry.block_count - 1) + 1;
    return geometry;
}
