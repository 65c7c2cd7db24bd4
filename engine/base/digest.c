/* SPDX-License-Identifier: Apache-2.0 */
#include "digest.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"

#define READ_BYTES ((size_t)4 * DS_MIB)

struct ds_digest {
    EVP_MD_CTX *context;
    const EVP_MD *algorithm;
};

size_t ds_digest_bytes(enum ds_digest_kind kind)
{
    switch (kind) {
    case DS_DIGEST_SHA1:
        return 20;
    case DS_DIGEST_SHA256:
        return 32;
    case DS_DIGEST_SHA512:
        break;
    }
    return 64;
}

static const EVP_MD *algorithm(enum ds_digest_kind kind)
{
    switch (kind) {
    case DS_DIGEST_SHA1:
        return EVP_sha1();
    case DS_DIGEST_SHA256:
        return EVP_sha256();
    case DS_DIGEST_SHA512:
        break;
    }
    return EVP_sha512();
}

static int fail_digest(struct ds_error *err)
{
    return ds_fail_errno(err, EIO, NULL, "digest: refused by OpenSSL");
}

/* -- bytes ----------------------------------------------------------------- */

int ds_digest_open(enum ds_digest_kind kind, struct ds_digest **out,
                   struct ds_error *err)
{
    struct ds_digest *digest = calloc(1, sizeof(*digest));
    int result;

    if (digest == NULL)
        return ds_fail_memory(err);
    digest->algorithm = algorithm(kind);
    digest->context = EVP_MD_CTX_new();
    result = digest->context != NULL ? ds_digest_restart(digest, err)
                                     : ds_fail_memory(err);
    if (result != 0) {
        ds_digest_close(digest);
        return result;
    }
    *out = digest;
    return 0;
}

void ds_digest_close(struct ds_digest *digest)
{
    if (digest == NULL)
        return;
    EVP_MD_CTX_free(digest->context);
    free(digest);
}

int ds_digest_restart(struct ds_digest *digest, struct ds_error *err)
{
    return EVP_DigestInit_ex(digest->context, digest->algorithm, NULL) == 1
               ? 0
               : fail_digest(err);
}

int ds_digest_add(struct ds_digest *digest, const void *bytes,
                  size_t length_bytes, struct ds_error *err)
{
    return EVP_DigestUpdate(digest->context, bytes, length_bytes) == 1
               ? 0
               : fail_digest(err);
}

int ds_digest_end(struct ds_digest *digest, uint8_t out[DS_DIGEST_BYTES_MAX],
                  struct ds_error *err)
{
    return EVP_DigestFinal_ex(digest->context, out, NULL) == 1
               ? 0
               : fail_digest(err);
}

/* -- a file ---------------------------------------------------------------- */

/* One piece, read by a thread of its own while the one before is taken in. */
struct piece {
    struct ds_file *file;
    uint64_t offset_bytes;
    size_t length_bytes;
    uint8_t *buffer;
    pthread_t thread;
    bool has_thread;
    int result;
    struct ds_error err;
};

static void *read_piece(void *user)
{
    struct piece *piece = user;

    piece->result =
        ds_file_read(piece->file, piece->offset_bytes, piece->buffer,
                     piece->length_bytes, &piece->err);
    return NULL;
}

static void piece_start(struct piece *piece, const struct ds_digest_part *part,
                        uint64_t done_bytes)
{
    piece->offset_bytes = part->offset_bytes + done_bytes;
    piece->length_bytes =
        (size_t)ds_min_u64(part->length_bytes - done_bytes, READ_BYTES);
    piece->has_thread =
        piece->length_bytes == READ_BYTES &&
        pthread_create(&piece->thread, NULL, read_piece, piece) == 0;
    if (!piece->has_thread)
        (void)read_piece(piece);
}

static int piece_wait(struct piece *piece, struct ds_error *err)
{
    if (piece->has_thread)
        (void)pthread_join(piece->thread, NULL);
    piece->has_thread = false;
    if (piece->result != 0 && err != NULL)
        *err = piece->err;
    return piece->result;
}

static int add_part(struct ds_digest *digest, const struct ds_digest_part *part,
                    struct piece pieces[2], struct ds_error *err)
{
    uint64_t done = 0;
    int result = 0;

    piece_start(&pieces[0], part, 0);
    for (unsigned now = 0; done < part->length_bytes; now ^= 1) {
        const struct piece *piece = &pieces[now];

        result = piece_wait(&pieces[now], err);
        if (result != 0)
            break;
        done += piece->length_bytes;
        piece_start(&pieces[now ^ 1], part, done);
        result = ds_digest_add(digest, piece->buffer, piece->length_bytes, err);
        if (result == 0 && part->progress != NULL &&
            part->progress(part->user, done) != 0)
            result = ds_fail(err, DS_ERR_CANCELLED,
                             "cancelled while taking a digest");
        if (result != 0)
            break;
    }
    /* What is read ahead may still be under way. */
    (void)piece_wait(&pieces[0], NULL);
    (void)piece_wait(&pieces[1], NULL);
    return result;
}

int ds_digest_file(enum ds_digest_kind kind, const struct ds_digest_part *part,
                   uint8_t out[DS_DIGEST_BYTES_MAX], struct ds_error *err)
{
    size_t room =
        (size_t)ds_max_u64(1, ds_min_u64(part->length_bytes, READ_BYTES));
    ds_autofree uint8_t *first = malloc(room);
    ds_autofree uint8_t *second = malloc(room);
    struct piece pieces[2] = { { .file = part->file, .buffer = first },
                               { .file = part->file, .buffer = second } };
    struct ds_digest *digest = NULL;
    int result = first == NULL || second == NULL ? ds_fail_memory(err) : 0;

    if (result == 0)
        result = ds_digest_open(kind, &digest, err);
    if (result == 0)
        result = add_part(digest, part, pieces, err);
    if (result == 0)
        result = ds_digest_end(digest, out, err);
    ds_digest_close(digest);
    return result;
}
