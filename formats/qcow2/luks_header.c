/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LUKS1 partition header ("LUKS1 On-Disk Format Specification" 1.2.3,
 * figures 1 and 2), big-endian:
 *
 *   | header 208 | 8 key slots of 48 | key material of each slot ... |
 *   0            208                 592
 *
 * In a qcow2 file key material offsets count from the header's begin, and the
 * payload offset says nothing.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "arith.h"
#include "bytes.h"
#include "cleanup.h"
#include "fail.h"
#include "luks.h"

struct luks_slot_disk {
    ds_be32 active;
    ds_be32 iterations;
    uint8_t salt[LUKS_SALT_BYTES];
    ds_be32 key_material_offset; /* sectors */
    ds_be32 stripes;
};
_Static_assert(sizeof(struct luks_slot_disk) == 48, "luks key slot");

struct luks_header_disk {
    uint8_t magic[6];
    ds_be16 version;
    char cipher_name[LUKS_TEXT_BYTES];
    char cipher_mode[LUKS_TEXT_BYTES];
    char hash_spec[LUKS_TEXT_BYTES];
    ds_be32 payload_offset;
    ds_be32 key_bytes;
    uint8_t mk_digest[LUKS_DIGEST_BYTES];
    uint8_t mk_digest_salt[LUKS_SALT_BYTES];
    ds_be32 mk_digest_iterations;
    char uuid[40];
    struct luks_slot_disk key_slots[LUKS_SLOT_COUNT];
};
_Static_assert(sizeof(struct luks_header_disk) == 592, "luks header");
_Static_assert(offsetof(struct luks_header_disk, hash_spec) == 72, "");
_Static_assert(offsetof(struct luks_header_disk, payload_offset) == 104, "");
_Static_assert(offsetof(struct luks_header_disk, mk_digest) == 112, "");
_Static_assert(offsetof(struct luks_header_disk, key_slots) == 208, "");

#define SLOT_ENABLED UINT32_C(0x00ac71f3)
#define SLOT_DISABLED UINT32_C(0x0000dead)

#define AT(member) offsetof(struct luks_header_disk, member)

static const uint8_t magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

/* -- which cipher ---------------------------------------------------------- */

static const struct {
    const char *mode;
    enum ds_codec codec;
    enum ds_iv_kind iv;
} modes[] = {
    { "xts-plain64", DS_CODEC_AES_XTS, DS_IV_PLAIN64 },
    { "xts-plain", DS_CODEC_AES_XTS, DS_IV_PLAIN },
    { "xts-essiv:sha256", DS_CODEC_AES_XTS, DS_IV_ESSIV },
    { "cbc-plain64", DS_CODEC_AES_CBC, DS_IV_PLAIN64 },
    { "cbc-plain", DS_CODEC_AES_CBC, DS_IV_PLAIN },
    { "cbc-essiv:sha256", DS_CODEC_AES_CBC, DS_IV_ESSIV },
};

static int fail_at(const struct luks_volume *volume, size_t at,
                   enum ds_error_class error_class, const char *what,
                   const char *have, struct ds_error *err)
{
    return ds_fail_at(err, volume->file, volume->offset_bytes + at, error_class,
                      "qcow2: luks header: %s '%s' is not supported", what,
                      have);
}

static bool key_bytes_fit(const struct luks_volume *volume)
{
    if (volume->codec == DS_CODEC_AES_XTS)
        return volume->key_bytes == 32 || volume->key_bytes == 64;
    return volume->key_bytes == 16 || volume->key_bytes == 24 ||
           volume->key_bytes == 32;
}

static int check_cipher(struct luks_volume *volume, struct ds_error *err)
{
    const size_t count = sizeof(modes) / sizeof(modes[0]);
    size_t i = 0;

    if (strcmp(volume->cipher_name, "aes") != 0)
        return fail_at(volume, AT(cipher_name), DS_ERR_UNSUPPORTED, "cipher",
                       volume->cipher_name, err);
    while (i < count && strcmp(volume->cipher_mode, modes[i].mode) != 0)
        i++;
    if (i == count)
        return fail_at(volume, AT(cipher_mode), DS_ERR_UNSUPPORTED,
                       "cipher mode", volume->cipher_mode, err);
    volume->codec = modes[i].codec;
    volume->iv = modes[i].iv;
    if (!key_bytes_fit(volume))
        return ds_fail_at(err, volume->file,
                          volume->offset_bytes + AT(key_bytes), DS_ERR_CORRUPT,
                          "qcow2: luks header: key-bytes, have %zu expect %s "
                          "for aes-%s",
                          volume->key_bytes,
                          volume->codec == DS_CODEC_AES_XTS ? "32 or 64"
                                                            : "16, 24 or 32",
                          volume->cipher_mode);
    if (strcmp(volume->hash_name, "sha1") != 0 &&
        strcmp(volume->hash_name, "sha256") != 0 &&
        strcmp(volume->hash_name, "sha512") != 0)
        return fail_at(volume, AT(hash_spec), DS_ERR_UNSUPPORTED, "hash",
                       volume->hash_name, err);
    return 0;
}

/* -- bounds ---------------------------------------------------------------- */

static int check_iterations(const struct luks_volume *volume, uint32_t count,
                            size_t at, struct ds_error *err)
{
    if (count != 0 && count <= LUKS_ITERATION_COUNT_MAX)
        return 0;
    return ds_fail_at(err, volume->file, volume->offset_bytes + at,
                      count == 0 ? DS_ERR_CORRUPT : DS_ERR_LIMIT,
                      "qcow2: luks header: iterations, have %" PRIu32
                      " expect 1 to %" PRIu32,
                      count, LUKS_ITERATION_COUNT_MAX);
}

static int check_slot(const struct luks_volume *volume, size_t index,
                      struct ds_error *err)
{
    const struct luks_slot *slot = &volume->slots[index];
    const size_t at = AT(key_slots) + index * sizeof(struct luks_slot_disk);
    uint64_t length = ds_align_up(
        (uint64_t)slot->stripe_count * volume->key_bytes, DS_SECTOR_BYTES);
    int result;

    if (!slot->active)
        return 0;
    result =
        check_iterations(volume, slot->iteration_count,
                         at + offsetof(struct luks_slot_disk, iterations), err);
    if (result != 0)
        return result;
    if (slot->stripe_count == 0 || slot->stripe_count > LUKS_STRIPE_COUNT_MAX)
        return ds_fail_at(
            err, volume->file, volume->offset_bytes + at, DS_ERR_LIMIT,
            "qcow2: luks header: key slot %zu: stripes, have %" PRIu32
            " expect 1 to %u",
            index, slot->stripe_count, LUKS_STRIPE_COUNT_MAX);
    if (slot->material_offset_bytes < sizeof(struct luks_header_disk) ||
        !ds_range_fits(slot->material_offset_bytes, length,
                       volume->length_bytes))
        return ds_fail_at(
            err, volume->file, volume->offset_bytes + at, DS_ERR_CORRUPT,
            "qcow2: luks header: key slot %zu: material, have %" PRIu64
            " bytes at %" PRIu64 " expect them behind the header in %" PRIu64,
            index, length, slot->material_offset_bytes, volume->length_bytes);
    return 0;
}

/* -- reading --------------------------------------------------------------- */

/* Zero-padded, and not always terminated: printable ASCII only. */
static void copy_text(char to[LUKS_TEXT_BYTES + 1],
                      const char from[LUKS_TEXT_BYTES])
{
    size_t i;

    for (i = 0; i < LUKS_TEXT_BYTES && from[i] != '\0'; i++)
        to[i] = from[i] >= 0x20 && from[i] < 0x7f ? from[i] : '?';
    to[i] = '\0';
}

static void join_cipher(struct luks_volume *volume)
{
    size_t length = strlen(volume->cipher_name);

    memcpy(volume->cipher_text, volume->cipher_name, length);
    volume->cipher_text[length] = '-';
    memcpy(volume->cipher_text + length + 1, volume->cipher_mode,
           strlen(volume->cipher_mode) + 1);
}

static int decode_slot(struct luks_volume *volume, size_t index,
                       const struct luks_slot_disk *wire, struct ds_error *err)
{
    struct luks_slot *slot = &volume->slots[index];
    uint32_t active = ds_be32_get(wire->active);

    if (active != SLOT_ENABLED && active != SLOT_DISABLED)
        return ds_fail_at(
            err, volume->file,
            volume->offset_bytes + AT(key_slots) + index * sizeof(*wire),
            DS_ERR_CORRUPT,
            "qcow2: luks header: key slot %zu: active, have "
            "0x%08" PRIx32 " expect 0x%08" PRIx32 " or 0x%08" PRIx32,
            index, active, SLOT_ENABLED, SLOT_DISABLED);
    slot->active = active == SLOT_ENABLED;
    slot->iteration_count = ds_be32_get(wire->iterations);
    memcpy(slot->salt, wire->salt, sizeof(slot->salt));
    slot->material_offset_bytes =
        (uint64_t)ds_be32_get(wire->key_material_offset) * DS_SECTOR_BYTES;
    slot->stripe_count = ds_be32_get(wire->stripes);
    return check_slot(volume, index, err);
}

static int decode(struct luks_volume *volume,
                  const struct luks_header_disk *wire, struct ds_error *err)
{
    int result;

    if (memcmp(wire->magic, magic, sizeof(magic)) != 0)
        return ds_fail_at(
            err, volume->file, volume->offset_bytes, DS_ERR_CORRUPT,
            "qcow2: luks header: magic, have 0x%02x%02x%02x%02x "
            "expect \"LUKS\"",
            wire->magic[0], wire->magic[1], wire->magic[2], wire->magic[3]);
    if (ds_be16_get(wire->version) != 1)
        return ds_fail_at(err, volume->file, volume->offset_bytes + AT(version),
                          DS_ERR_UNSUPPORTED,
                          "qcow2: luks header: version, have %u expect 1",
                          ds_be16_get(wire->version));
    copy_text(volume->cipher_name, wire->cipher_name);
    copy_text(volume->cipher_mode, wire->cipher_mode);
    copy_text(volume->hash_name, wire->hash_spec);
    join_cipher(volume);
    volume->key_bytes = ds_be32_get(wire->key_bytes);
    memcpy(volume->digest, wire->mk_digest, sizeof(volume->digest));
    memcpy(volume->digest_salt, wire->mk_digest_salt,
           sizeof(volume->digest_salt));
    volume->digest_iteration_count = ds_be32_get(wire->mk_digest_iterations);
    result = check_cipher(volume, err);
    if (result == 0)
        result = check_iterations(volume, volume->digest_iteration_count,
                                  AT(mk_digest_iterations), err);
    for (size_t i = 0; result == 0 && i < LUKS_SLOT_COUNT; i++)
        result = decode_slot(volume, i, &wire->key_slots[i], err);
    return result;
}

int luks_open(struct ds_file *file, uint64_t offset_bytes,
              uint64_t length_bytes, struct luks_volume **out,
              struct ds_error *err)
{
    struct luks_header_disk wire;
    struct luks_volume *volume;
    int result;

    if (length_bytes < sizeof(wire))
        return ds_fail_at(err, file, offset_bytes, DS_ERR_CORRUPT,
                          "qcow2: luks header: length, have %" PRIu64
                          " expect at least %zu",
                          length_bytes, sizeof(wire));
    result = ds_file_read(file, offset_bytes, &wire, sizeof(wire), err);
    if (result != 0)
        return result;
    volume = calloc(1, sizeof(*volume));
    if (volume == NULL)
        return ds_fail_memory(err);
    volume->file = file;
    volume->offset_bytes = offset_bytes;
    volume->length_bytes = length_bytes;
    result = decode(volume, &wire, err);
    if (result != 0) {
        luks_close(volume);
        return result;
    }
    *out = volume;
    return 0;
}

void luks_close(struct luks_volume *volume)
{
    if (volume == NULL)
        return;
    OPENSSL_cleanse(&volume->key, sizeof(volume->key));
    free(volume);
}
