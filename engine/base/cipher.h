/* SPDX-License-Identifier: Apache-2.0 */
/* Sector ciphers, through OpenSSL. */
#ifndef DS_BASE_CIPHER_H
#define DS_BASE_CIPHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <diskshift/disk.h>

#define DS_CIPHER_KEY_BYTES_MAX 64u

enum ds_iv_kind {
    DS_IV_PLAIN,   /* the sector's number, 32 bits, little-endian */
    DS_IV_PLAIN64, /* the same, 64 bits */
    DS_IV_ESSIV    /* that, encrypted by a hash of the key */
};

/** What an extent's encoding.key points at for the AES codecs. */
struct ds_cipher_key {
    uint8_t key[DS_CIPHER_KEY_BYTES_MAX]; /* XTS: both halves */
    size_t key_bytes;                     /* 16 or 32; XTS: 32 or 64 */
    enum ds_iv_kind iv;
    uint8_t essiv_key[32]; /* the hash of the key; ESSIV only */
    size_t essiv_key_bytes;
};

struct ds_cipher;

/** Prepare to decrypt. Not shared between threads. */
int ds_cipher_open(enum ds_codec codec, const struct ds_cipher_key *key,
                   struct ds_cipher **out, struct ds_error *err);
void ds_cipher_close(struct ds_cipher *cipher);

/** Decrypt sectors of 512 bytes in place, numbered from `sector` on.
 * `length_bytes` is a multiple of 512. */
int ds_cipher_decrypt(struct ds_cipher *cipher, uint64_t sector, uint8_t *bytes,
                      size_t length_bytes, struct ds_error *err);

#endif
