/* SPDX-License-Identifier: Apache-2.0 */
/* A LUKS1 header whose passphrase is LUKS_IMAGE_PASSPHRASE, made by the
 * document ("LUKS1 On-Disk Format Specification") and not by formats/qcow2:
 * aes-xts-plain64, SHA-256, few iterations and stripes, so that it is small and
 * cheap to open. */
#ifndef DS_TESTS_FUZZ_LUKS_IMAGE_H
#define DS_TESTS_FUZZ_LUKS_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define LUKS_IMAGE_BYTES 1536u /* header, and key material in sector 2 */
#define LUKS_IMAGE_PASSPHRASE "secret"

void luks_image_make(uint8_t out[LUKS_IMAGE_BYTES]);

/** Encrypt sectors of 512 bytes in place; `sector` is the first's number. */
void luks_image_encrypt(uint8_t *bytes, size_t length_bytes, uint64_t sector);

/** A file that holds the passphrase, for ds_open_options.key_file. */
const char *luks_image_key_file(void);

#endif
