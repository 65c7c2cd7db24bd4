/* SPDX-License-Identifier: Apache-2.0 */
/* A LUKS1 header inside an image: luks_header.c reads and judges it,
 * luks_unlock.c gets the master key out of it. Nothing here knows qcow2. */
#ifndef DS_QCOW2_LUKS_H
#define DS_QCOW2_LUKS_H

#include "budget.h"
#include "cipher.h"
#include "store.h"

#define LUKS_SLOT_COUNT 8u
#define LUKS_SALT_BYTES 32u
#define LUKS_DIGEST_BYTES 20u
#define LUKS_TEXT_BYTES 32u

/* What OpenSSL takes. How many are gone through is the budget's to bound. */
#define LUKS_ITERATION_COUNT_MAX (UINT32_C(0x7fffffff))
/* The document and every maker say 4000. 1 MiB of key material then. */
#define LUKS_STRIPE_COUNT_MAX 16384u
/* cryptsetup's for a key file is 8 MiB; QEMU's passphrases are short. */
#define LUKS_PASSPHRASE_BYTES_MAX ((size_t)8 * 1024 * 1024)

struct luks_slot {
    bool active;
    uint32_t iteration_count;
    uint8_t salt[LUKS_SALT_BYTES];
    uint64_t material_offset_bytes; /* from the header on */
    uint32_t stripe_count;
};

struct luks_volume {
    struct ds_file *file;
    uint64_t offset_bytes; /* of the header in the file */
    uint64_t length_bytes; /* with the key material */
    char cipher_name[LUKS_TEXT_BYTES + 1];
    char cipher_mode[LUKS_TEXT_BYTES + 1];
    char hash_name[LUKS_TEXT_BYTES + 1];
    char cipher_text[2 * LUKS_TEXT_BYTES + 2]; /* "aes-xts-plain64" */
    enum ds_codec codec;
    enum ds_iv_kind iv;
    size_t key_bytes;
    uint8_t digest[LUKS_DIGEST_BYTES];
    uint8_t digest_salt[LUKS_SALT_BYTES];
    uint32_t digest_iteration_count;
    struct luks_slot slots[LUKS_SLOT_COUNT];
    bool unlocked;
    struct ds_cipher_key key;
};

/** Read and check the header at `offset_bytes` of `file`, which with its key
 * material has `length_bytes` and lies in the file. */
int luks_open(struct ds_file *file, uint64_t offset_bytes,
              uint64_t length_bytes, struct luks_volume **out,
              struct ds_error *err);
void luks_close(struct luks_volume *volume);

/** Find the slot that the passphrase opens: all the bytes of `key_file`, a
 * newline at its end included. REFUSED when it opens none; LIMIT when to try
 * the next takes more rounds than `budget` (may be NULL) has left. */
int luks_unlock(struct luks_volume *volume, const char *key_file,
                struct ds_budget *budget, struct ds_error *err);

/** Make key->essiv_key from key->key: the hash of the key. */
int luks_prepare_iv(struct ds_cipher_key *key, struct ds_error *err);

static inline const char *luks_cipher(const struct luks_volume *volume)
{
    return volume->cipher_text;
}

static inline const char *luks_hash(const struct luks_volume *volume)
{
    return volume->hash_name;
}

static inline enum ds_codec luks_codec(const struct luks_volume *volume)
{
    return volume->codec;
}

/** NULL while locked. */
static inline const struct ds_cipher_key *
luks_key(const struct luks_volume *volume)
{
    return volume->unlocked ? &volume->key : NULL;
}

#endif
