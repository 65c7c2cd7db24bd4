/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a passphrase to the master key ("LUKS1 On-Disk Format Specification",
 * figure 5):
 *
 *   passphrase --PBKDF2--> slot key --decrypts--> key material: stripes
 *   stripes --AF merge--> master key --PBKDF2--> must be the header's digest
 *
 * Secrets are wiped before their memory is given back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "arith.h"
#include "bytes.h"
#include "fail.h"
#include "luks.h"

struct secret {
    uint8_t *bytes;
    size_t length_bytes;
};

static void secret_free(struct secret *secret)
{
    if (secret->bytes != NULL)
        OPENSSL_cleanse(secret->bytes, secret->length_bytes);
    free(secret->bytes);
    *secret = (struct secret){ 0 };
}

static int secret_make(struct secret *out, size_t length_bytes,
                       struct ds_error *err)
{
    out->bytes = calloc(1, length_bytes + 1);
    out->length_bytes = length_bytes;
    return out->bytes != NULL ? 0 : ds_fail_memory(err);
}

static int fail_crypto(const struct luks_volume *volume, const char *what,
                       struct ds_error *err)
{
    return ds_fail_at(err, volume->file, volume->offset_bytes, DS_ERR_SYSTEM,
                      "qcow2: luks header: %s failed in OpenSSL", what);
}

/* -- the passphrase -------------------------------------------------------- */

/* Reads on to the end of what may be a pipe; grows twofold. */
static int read_all(int fd, const char *path, struct secret *out,
                    struct ds_error *err)
{
    size_t used = 0;
    int result = secret_make(out, 4096, err);

    while (result == 0) {
        ssize_t got;

        if (used == out->length_bytes) {
            struct secret larger = { 0 };

            if (used >= LUKS_PASSPHRASE_BYTES_MAX)
                return ds_fail(err, DS_ERR_LIMIT,
                               "%s: passphrase, expect at most %zu bytes", path,
                               LUKS_PASSPHRASE_BYTES_MAX);
            result = secret_make(&larger, 2 * used, err);
            if (result != 0)
                return result;
            memcpy(larger.bytes, out->bytes, used);
            secret_free(out);
            *out = larger;
        }
        got = read(fd, out->bytes + used, out->length_bytes - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ds_fail_errno(err, errno, path, "cannot read");
        if (got == 0)
            break;
        used += (size_t)got;
    }
    out->length_bytes = used;
    return result;
}

/* The passphrase lies on this machine, wherever the image is. */
static int read_passphrase(const char *path, struct secret *out,
                           struct ds_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int result;

    if (fd < 0)
        return ds_fail_errno(err, errno, path, "cannot open");
    result = read_all(fd, path, out, err);
    (void)close(fd);
    if (result == 0 && out->length_bytes == 0)
        return ds_fail(err, DS_ERR_ARG, "%s: the passphrase is empty", path);
    return result;
}

/* -- AF merge -------------------------------------------------------------- */

/* Each digest-sized piece becomes the hash of its number and itself; what the
 * last lacks of a digest is cut off ("H1" in section 2.4). */
static bool diffuse(const EVP_MD *hash, uint8_t *block, size_t length)
{
    const size_t digest_bytes = (size_t)EVP_MD_get_size(hash);
    uint8_t input[4 + EVP_MAX_MD_SIZE], output[EVP_MAX_MD_SIZE];
    uint32_t index = 0;
    bool good = true;

    for (size_t at = 0; good && at < length; at += digest_bytes, index++) {
        const ds_be32 number = ds_be32_make(index);
        size_t piece = length - at < digest_bytes ? length - at : digest_bytes;

        memcpy(input, &number, sizeof(number));
        memcpy(input + sizeof(number), block + at, piece);
        good = EVP_Digest(input, sizeof(number) + piece, output, NULL, hash,
                          NULL) == 1;
        memcpy(block + at, output, piece);
    }
    OPENSSL_cleanse(input, sizeof(input));
    OPENSSL_cleanse(output, sizeof(output));
    return good;
}

static bool merge(const EVP_MD *hash, const uint8_t *stripes,
                  uint32_t stripe_count, size_t key_bytes,
                  uint8_t key[DS_CIPHER_KEY_BYTES_MAX])
{
    memset(key, 0, key_bytes);
    for (uint32_t i = 0; i < stripe_count; i++) {
        for (size_t at = 0; at < key_bytes; at++)
            key[at] ^= stripes[i * key_bytes + at];
        if (i + 1 < stripe_count && !diffuse(hash, key, key_bytes))
            return false;
    }
    return true;
}

/* -- slots ----------------------------------------------------------------- */

int luks_prepare_iv(struct ds_cipher_key *key, struct ds_error *err)
{
    unsigned length = 0;

    if (key->iv != DS_IV_ESSIV)
        return 0;
    if (EVP_Digest(key->key, key->key_bytes, key->essiv_key, &length,
                   EVP_sha256(), NULL) != 1)
        return ds_fail(err, DS_ERR_SYSTEM,
                       "qcow2: luks header: SHA-256 failed in OpenSSL");
    key->essiv_key_bytes = length;
    return 0;
}

/* The slot's key material, decrypted by `slot_key`; sectors count from its
 * begin. */
static int decrypt_material(const struct luks_volume *volume,
                            const struct luks_slot *slot,
                            const struct ds_cipher_key *slot_key,
                            struct secret *out, struct ds_error *err)
{
    uint64_t length = ds_align_up(
        (uint64_t)slot->stripe_count * volume->key_bytes, DS_SECTOR_BYTES);
    struct ds_cipher *cipher = NULL;
    int result = secret_make(out, (size_t)length, err);

    if (result == 0)
        result = ds_file_read(
            volume->file, volume->offset_bytes + slot->material_offset_bytes,
            out->bytes, (size_t)length, err);
    if (result == 0)
        result = ds_cipher_open(volume->codec, slot_key, &cipher, err);
    if (result == 0)
        result = ds_cipher_decrypt(cipher, 0, out->bytes, (size_t)length, err);
    ds_cipher_close(cipher);
    return result;
}

static int derive(const struct luks_volume *volume, const EVP_MD *hash,
                  const uint8_t *from, size_t from_bytes, const uint8_t *salt,
                  uint32_t iterations, uint8_t *out, size_t out_bytes,
                  struct ds_error *err)
{
    if (PKCS5_PBKDF2_HMAC((const char *)from, (int)from_bytes, salt,
                          (int)LUKS_SALT_BYTES, (int)iterations, hash,
                          (int)out_bytes, out) != 1)
        return fail_crypto(volume, "PBKDF2", err);
    return 0;
}

/* 1: volume->key holds the master key; 0: the passphrase is not this slot's. */
static int try_slot(struct luks_volume *volume, const struct luks_slot *slot,
                    const EVP_MD *hash, const struct secret *passphrase,
                    struct ds_error *err)
{
    struct ds_cipher_key slot_key = { .key_bytes = volume->key_bytes,
                                      .iv = volume->iv };
    struct secret material = { 0 };
    uint8_t digest[LUKS_DIGEST_BYTES];
    int result = derive(
        volume, hash, passphrase->bytes, passphrase->length_bytes, slot->salt,
        slot->iteration_count, slot_key.key, volume->key_bytes, err);

    if (result == 0)
        result = luks_prepare_iv(&slot_key, err);
    if (result == 0)
        result = decrypt_material(volume, slot, &slot_key, &material, err);
    if (result == 0 && !merge(hash, material.bytes, slot->stripe_count,
                              volume->key_bytes, volume->key.key))
        result = fail_crypto(volume, "hash", err);
    if (result == 0)
        result = derive(volume, hash, volume->key.key, volume->key_bytes,
                        volume->digest_salt, volume->digest_iteration_count,
                        digest, sizeof(digest), err);
    if (result == 0)
        result = CRYPTO_memcmp(digest, volume->digest, sizeof(digest)) == 0;
    OPENSSL_cleanse(&slot_key, sizeof(slot_key));
    secret_free(&material);
    return result;
}

/* PBKDF2 goes through its rounds for each block of output anew; then once
 * more for the digest of what may be the master key. */
static int take_rounds(const struct luks_volume *volume, size_t index,
                       const EVP_MD *hash, struct ds_budget *budget,
                       struct ds_error *err)
{
    const uint64_t block_bytes = (uint64_t)EVP_MD_get_size(hash);
    uint64_t rounds = volume->slots[index].iteration_count *
                          ds_div_up(volume->key_bytes, block_bytes) +
                      volume->digest_iteration_count *
                          ds_div_up(LUKS_DIGEST_BYTES, block_bytes);
    char what[64];

    (void)snprintf(what, sizeof(what),
                   "qcow2: luks header: key slot %zu: rounds", index);
    return ds_budget_key_rounds(budget, volume->file, what, rounds, err);
}

static int try_slots(struct luks_volume *volume,
                     const struct secret *passphrase, const char *key_file,
                     struct ds_budget *budget, struct ds_error *err)
{
    EVP_MD *hash = EVP_MD_fetch(NULL, volume->hash_name, NULL);
    bool newline = passphrase->bytes[passphrase->length_bytes - 1] == '\n';
    int result = 0;

    if (hash == NULL)
        return fail_crypto(volume, volume->hash_name, err);
    for (size_t i = 0; result == 0 && i < LUKS_SLOT_COUNT; i++) {
        if (!volume->slots[i].active)
            continue;
        result = take_rounds(volume, i, hash, budget, err);
        if (result == 0)
            result = try_slot(volume, &volume->slots[i], hash, passphrase, err);
    }
    EVP_MD_free(hash);
    if (result != 0)
        return result;
    return ds_fail_at(err, volume->file, volume->offset_bytes, DS_ERR_REFUSED,
                      "qcow2: luks header: the passphrase in %s opens no key "
                      "slot%s",
                      key_file,
                      newline ? " (the newline at its end counts)" : "");
}

int luks_unlock(struct luks_volume *volume, const char *key_file,
                struct ds_budget *budget, struct ds_error *err)
{
    struct secret passphrase = { 0 };
    int result = read_passphrase(key_file, &passphrase, err);

    volume->key = (struct ds_cipher_key){ .key_bytes = volume->key_bytes,
                                          .iv = volume->iv };
    if (result == 0)
        result = try_slots(volume, &passphrase, key_file, budget, err);
    secret_free(&passphrase);
    if (result < 0)
        return result;
    volume->unlocked = true;
    return luks_prepare_iv(&volume->key, err);
}
