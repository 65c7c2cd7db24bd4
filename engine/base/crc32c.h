/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DS_BASE_CRC32C_H
#define DS_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/** CRC-32C (Castagnoli), as VHDX uses it: initial value and final xor all
 * ones. `crc` is 0 to start, or the previous result to continue. */
uint32_t ds_crc32c(uint32_t crc, const void *data, size_t length_bytes);

/** The portable version, which the tests hold against the fast one. */
uint32_t ds_crc32c_portable(uint32_t crc, const void *data,
                            size_t length_bytes);

#endif
