/* SPDX-License-Identifier: Apache-2.0 */
/* Random identifiers from OpenSSL's generator. */
#ifndef DS_BASE_GUID_H
#define DS_BASE_GUID_H

#include <stdint.h>

#include <diskshift/error.h>

/* The 16 bytes in RFC 4122 (big-endian) order. Formats that store the first
 * three fields little-endian (VHDX) swap on encode. */
struct ds_guid {
    uint8_t bytes[16];
};

#define DS_GUID_TEXT_BYTES 37

/** A version 4 GUID. Errors: SYSTEM when the generator fails. */
int ds_guid_random(struct ds_guid *out, struct ds_error *err);

/** 32 random bits. */
int ds_random_u32(uint32_t *out, struct ds_error *err);

/** "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", lower case. */
void ds_guid_format(const struct ds_guid *guid, char text[DS_GUID_TEXT_BYTES]);

/** To and from the mixed-endian layout of Microsoft's formats. Its own
 * inverse: swaps the first three fields. */
struct ds_guid ds_guid_swap(const struct ds_guid *guid);

#endif
