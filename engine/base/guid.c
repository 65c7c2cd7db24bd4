/* SPDX-License-Identifier: Apache-2.0 */
#include "guid.h"

#include <stdio.h>

#include <openssl/rand.h>

#include "fail.h"

static int random_bytes(uint8_t *bytes, int count, struct ds_error *err)
{
    if (RAND_bytes(bytes, count) != 1)
        return ds_fail(err, DS_ERR_SYSTEM, "random generator failed");
    return 0;
}

int ds_guid_random(struct ds_guid *out, struct ds_error *err)
{
    int result = random_bytes(out->bytes, sizeof(out->bytes), err);

    /* RFC 4122, 4.4: version 4, variant 10. */
    out->bytes[6] = (uint8_t)((out->bytes[6] & 0x0f) | 0x40);
    out->bytes[8] = (uint8_t)((out->bytes[8] & 0x3f) | 0x80);
    return result;
}

int ds_random_u32(uint32_t *out, struct ds_error *err)
{
    uint8_t bytes[4];
    int result = random_bytes(bytes, sizeof(bytes), err);

    *out = 0;
    for (unsigned i = 0; result == 0 && i < sizeof(bytes); i++)
        *out = *out << 8 | bytes[i];
    return result;
}

void ds_guid_format(const struct ds_guid *guid, char text[DS_GUID_TEXT_BYTES])
{
    const uint8_t *b = guid->bytes;

    (void)snprintf(text, DS_GUID_TEXT_BYTES,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
                   "%02x%02x%02x%02x%02x%02x",
                   b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9],
                   b[10], b[11], b[12], b[13], b[14], b[15]);
}

struct ds_guid ds_guid_swap(const struct ds_guid *guid)
{
    static const uint8_t order[16] = { 3, 2, 1,  0,  5,  4,  7,  6,
                                       8, 9, 10, 11, 12, 13, 14, 15 };
    struct ds_guid swapped;

    for (unsigned i = 0; i < sizeof(order); i++)
        swapped.bytes[i] = guid->bytes[order[i]];
    return swapped;
}
