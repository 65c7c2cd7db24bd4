/* SPDX-License-Identifier: Apache-2.0 */
/* Integers as they lie on disk: byte arrays in structs, alignment 1, so that
 * a record is the spec's drawing and arithmetic on one does not compile. */
#ifndef DS_BASE_BYTES_H
#define DS_BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint8_t b[2];
} ds_le16;
typedef struct {
    uint8_t b[4];
} ds_le32;
typedef struct {
    uint8_t b[8];
} ds_le64;
typedef struct {
    uint8_t b[2];
} ds_be16;
typedef struct {
    uint8_t b[4];
} ds_be32;
typedef struct {
    uint8_t b[8];
} ds_be64;

#define DS_BYTES_ACCESSORS(type, uint, from_disk, to_disk)                     \
    static inline uint type##_get(type wire)                                   \
    {                                                                          \
        uint value;                                                            \
        memcpy(&value, wire.b, sizeof(value));                                 \
        return from_disk(value);                                               \
    }                                                                          \
    static inline type type##_make(uint value)                                 \
    {                                                                          \
        type wire;                                                             \
        value = to_disk(value);                                                \
        memcpy(wire.b, &value, sizeof(value));                                 \
        return wire;                                                           \
    }

DS_BYTES_ACCESSORS(ds_le16, uint16_t, le16toh, htole16)
DS_BYTES_ACCESSORS(ds_le32, uint32_t, le32toh, htole32)
DS_BYTES_ACCESSORS(ds_le64, uint64_t, le64toh, htole64)
DS_BYTES_ACCESSORS(ds_be16, uint16_t, be16toh, htobe16)
DS_BYTES_ACCESSORS(ds_be32, uint32_t, be32toh, htobe32)
DS_BYTES_ACCESSORS(ds_be64, uint64_t, be64toh, htobe64)

#endif
