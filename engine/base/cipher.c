/* SPDX-License-Identifier: Apache-2.0 */
#include "cipher.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "arith.h"
#include "fail.h"

#define IV_BYTES 16u

struct ds_cipher {
    EVP_CIPHER_CTX *data;
    EVP_CIPHER_CTX *essiv; /* encrypts the sector's number; or NULL */
    enum ds_iv_kind iv;
};

static int fail_crypto(struct ds_error *err, const char *what)
{
    return ds_fail(err, DS_ERR_SYSTEM, "cipher: %s failed in OpenSSL", what);
}

static const EVP_CIPHER *pick(enum ds_codec codec, size_t key_bytes)
{
    if (codec == DS_CODEC_AES_XTS)
        return key_bytes == 32   ? EVP_aes_128_xts()
               : key_bytes == 64 ? EVP_aes_256_xts()
                                 : NULL;
    if (codec == DS_CODEC_AES_CBC)
        return key_bytes == 16   ? EVP_aes_128_cbc()
               : key_bytes == 24 ? EVP_aes_192_cbc()
               : key_bytes == 32 ? EVP_aes_256_cbc()
                                 : NULL;
    return NULL;
}

static const EVP_CIPHER *pick_essiv(size_t key_bytes)
{
    return key_bytes == 16   ? EVP_aes_128_ecb()
           : key_bytes == 20 ? NULL /* SHA-1 is no AES key */
           : key_bytes == 32 ? EVP_aes_256_ecb()
                             : NULL;
}

static int prepare(struct ds_cipher *cipher, const EVP_CIPHER *data,
                   const EVP_CIPHER *essiv, const struct ds_cipher_key *key,
                   struct ds_error *err)
{
    cipher->iv = key->iv;
    cipher->data = EVP_CIPHER_CTX_new();
    if (cipher->data == NULL)
        return ds_fail_memory(err);
    if (EVP_DecryptInit_ex(cipher->data, data, NULL, key->key, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(cipher->data, 0) != 1)
        return fail_crypto(err, "key setup");
    if (key->iv != DS_IV_ESSIV)
        return 0;
    cipher->essiv = EVP_CIPHER_CTX_new();
    if (cipher->essiv == NULL)
        return ds_fail_memory(err);
    if (EVP_EncryptInit_ex(cipher->essiv, essiv, NULL, key->essiv_key, NULL) !=
            1 ||
        EVP_CIPHER_CTX_set_padding(cipher->essiv, 0) != 1)
        return fail_crypto(err, "ESSIV key setup");
    return 0;
}

int ds_cipher_open(enum ds_codec codec, const struct ds_cipher_key *key,
                   struct ds_cipher **out, struct ds_error *err)
{
    const EVP_CIPHER *data = pick(codec, key->key_bytes);
    const EVP_CIPHER *essiv = pick_essiv(key->essiv_key_bytes);
    struct ds_cipher *cipher;
    int result;

    if (data == NULL || (key->iv == DS_IV_ESSIV && essiv == NULL))
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "cipher: %s with a key of %zu bytes is not supported",
                       ds_codec_name(codec), key->key_bytes);
    cipher = calloc(1, sizeof(*cipher));
    if (cipher == NULL)
        return ds_fail_memory(err);
    result = prepare(cipher, data, essiv, key, err);
    if (result != 0) {
        ds_cipher_close(cipher);
        return result;
    }
    *out = cipher;
    return 0;
}

void ds_cipher_close(struct ds_cipher *cipher)
{
    if (cipher == NULL)
        return;
    EVP_CIPHER_CTX_free(cipher->data);
    EVP_CIPHER_CTX_free(cipher->essiv);
    free(cipher);
}

static bool make_iv(struct ds_cipher *cipher, uint64_t sector,
                    uint8_t iv[IV_BYTES])
{
    unsigned count = cipher->iv == DS_IV_PLAIN ? 4 : 8;
    int length = 0;

    memset(iv, 0, IV_BYTES);
    for (unsigned i = 0; i < count; i++)
        iv[i] = (uint8_t)(sector >> (8 * i));
    return cipher->essiv == NULL ||
           EVP_EncryptUpdate(cipher->essiv, iv, &length, iv, IV_BYTES) == 1;
}

int ds_cipher_decrypt(struct ds_cipher *cipher, uint64_t sector, uint8_t *bytes,
                      size_t length_bytes, struct ds_error *err)
{
    uint8_t iv[IV_BYTES];

    for (size_t at = 0; at < length_bytes; at += DS_SECTOR_BYTES, sector++) {
        int length = 0;

        if (!make_iv(cipher, sector, iv) ||
            EVP_DecryptInit_ex(cipher->data, NULL, NULL, NULL, iv) != 1 ||
            EVP_DecryptUpdate(cipher->data, bytes + at, &length, bytes + at,
                              DS_SECTOR_BYTES) != 1)
            return fail_crypto(err, "decryption");
    }
    return 0;
}
