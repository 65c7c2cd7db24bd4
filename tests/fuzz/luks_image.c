/* SPDX-License-Identifier: Apache-2.0 */
#include "luks_image.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <openssl/evp.h>

#define KEY_BYTES 32u
#define SALT_BYTES 32u
#define STRIPE_COUNT 4u
#define ITERATION_COUNT 2u
#define SECTOR_BYTES 512u
#define MATERIAL_SECTOR 2u
#define PASSPHRASE_FD 100

static const uint8_t master_key[KEY_BYTES] = "0123456789abcdefFEDCBA987654321";

static void put32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * (3 - i));
}

static void derive(const void *from, size_t length, const uint8_t *salt,
                   uint8_t *out, size_t out_bytes)
{
    int result =
        PKCS5_PBKDF2_HMAC(from, (int)length, salt, SALT_BYTES, ITERATION_COUNT,
                          EVP_sha256(), (int)out_bytes, out);

    assert(result == 1);
}

static void encrypt(const uint8_t key[KEY_BYTES], uint8_t *sector,
                    uint64_t number)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    uint8_t iv[16] = { 0 };
    int length = 0, result;

    for (unsigned i = 0; i < 8; i++)
        iv[i] = (uint8_t)(number >> 8 * i);
    result = EVP_EncryptInit_ex(context, EVP_aes_128_xts(), NULL, key, iv);
    assert(result == 1);
    result = EVP_EncryptUpdate(context, sector, &length, sector, SECTOR_BYTES);
    assert(result == 1 && length == SECTOR_BYTES);
    EVP_CIPHER_CTX_free(context);
}

/* H1 of section 2.4, where one digest is as long as the key. */
static void diffuse(uint8_t block[KEY_BYTES])
{
    uint8_t input[4 + KEY_BYTES] = { 0 };
    int result;

    memcpy(input + 4, block, KEY_BYTES);
    result = EVP_Digest(input, sizeof(input), block, NULL, EVP_sha256(), NULL);
    assert(result == 1);
}

/* Stripes that merge to the master key. */
static void split(uint8_t *stripes)
{
    uint8_t block[KEY_BYTES] = { 0 };

    for (unsigned s = 0; s + 1 < STRIPE_COUNT; s++) {
        for (unsigned i = 0; i < KEY_BYTES; i++) {
            stripes[s * KEY_BYTES + i] = (uint8_t)(17 * s + i);
            block[i] ^= stripes[s * KEY_BYTES + i];
        }
        diffuse(block);
    }
    for (unsigned i = 0; i < KEY_BYTES; i++)
        stripes[(STRIPE_COUNT - 1) * KEY_BYTES + i] = block[i] ^ master_key[i];
}

void luks_image_make(uint8_t out[LUKS_IMAGE_BYTES])
{
    uint8_t slot_key[KEY_BYTES], *slot = out + 208;
    uint8_t *material = out + MATERIAL_SECTOR * SECTOR_BYTES;

    memset(out, 0, LUKS_IMAGE_BYTES);
    memcpy(out, "LUKS\xba\xbe\0\1", 8);
    memcpy(out + 8, "aes", 3);
    memcpy(out + 40, "xts-plain64", 11);
    memcpy(out + 72, "sha256", 6);
    put32(out + 104, 8); /* payload: says nothing in a qcow2 */
    put32(out + 108, KEY_BYTES);
    memset(out + 132, 0x5a, SALT_BYTES);
    derive(master_key, KEY_BYTES, out + 132, out + 112, 20);
    put32(out + 164, ITERATION_COUNT);
    memcpy(out + 168, "00000000-0000-0000-0000-000000000000", 36);
    for (unsigned i = 0; i < 8; i++)
        put32(slot + 48 * i, 0xdead);
    put32(slot, 0x00ac71f3);
    put32(slot + 4, ITERATION_COUNT);
    memset(slot + 8, 0xa5, SALT_BYTES);
    put32(slot + 40, MATERIAL_SECTOR);
    put32(slot + 44, STRIPE_COUNT);
    derive(LUKS_IMAGE_PASSPHRASE, strlen(LUKS_IMAGE_PASSPHRASE), slot + 8,
           slot_key, KEY_BYTES);
    split(material);
    encrypt(slot_key, material, 0);
}

void luks_image_encrypt(uint8_t *bytes, size_t length_bytes, uint64_t sector)
{
    for (size_t at = 0; at < length_bytes; at += SECTOR_BYTES)
        encrypt(master_key, bytes + at, sector++);
}

const char *luks_image_key_file(void)
{
    static char path[64];
    int made, fd;

    if (path[0] != '\0')
        return path;
    made = memfd_create("passphrase", 0);
    fd = fcntl(made, F_DUPFD, PASSPHRASE_FD); /* messages name it */
    assert(made >= 0 && fd == PASSPHRASE_FD);
    (void)close(made);
    if (write(fd, LUKS_IMAGE_PASSPHRASE, strlen(LUKS_IMAGE_PASSPHRASE)) < 0)
        return NULL;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return path;
}
