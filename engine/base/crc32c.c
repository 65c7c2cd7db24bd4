/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C: polynomial 0x1EDC6F41, reflected 0x82F63B78 (RFC 3720, 12.1). */
#include "crc32c.h"

#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL_REFLECTED 0x82f63b78u

uint32_t ds_crc32c_portable(uint32_t crc, const void *data, size_t length_bytes)
{
    const uint8_t *byte = data;

    crc = ~crc;
    for (size_t i = 0; i < length_bytes; i++) {
        crc ^= byte[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (POLYNOMIAL_REFLECTED & (0u - (crc & 1)));
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse42(uint32_t crc, const void *data, size_t length_bytes)
{
    const uint8_t *byte = data;
    uint64_t state = (uint32_t)~crc;

    for (; length_bytes >= 8; length_bytes -= 8, byte += 8) {
        uint64_t word;

        memcpy(&word, byte, sizeof(word));
        state = __builtin_ia32_crc32di(state, word);
    }
    for (; length_bytes > 0; length_bytes--, byte++)
        state = __builtin_ia32_crc32qi((uint32_t)state, *byte);
    return ~(uint32_t)state;
}
#endif

uint32_t ds_crc32c(uint32_t crc, const void *data, size_t length_bytes)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, data, length_bytes);
#endif
    return ds_crc32c_portable(crc, data, length_bytes);
}
