/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of bytes and of parts of files, through OpenSSL. */
#ifndef DS_BASE_DIGEST_H
#define DS_BASE_DIGEST_H

#include "store.h"

#define DS_DIGEST_BYTES_MAX 64u

enum ds_digest_kind { DS_DIGEST_SHA1, DS_DIGEST_SHA256, DS_DIGEST_SHA512 };

/** 20, 32, 64. */
size_t ds_digest_bytes(enum ds_digest_kind kind);

/** Bytes that come one after the other. */
struct ds_digest;
int ds_digest_open(enum ds_digest_kind kind, struct ds_digest **out,
                   struct ds_error *err);
void ds_digest_close(struct ds_digest *digest);
/** Forget what was added. */
int ds_digest_restart(struct ds_digest *digest, struct ds_error *err);
int ds_digest_add(struct ds_digest *digest, const void *bytes,
                  size_t length_bytes, struct ds_error *err);
/** After it nothing may be added before a restart. */
int ds_digest_end(struct ds_digest *digest, uint8_t out[DS_DIGEST_BYTES_MAX],
                  struct ds_error *err);

/** Called with the bytes done; non-zero cancels. */
typedef int ds_digest_progress_fn(void *user, uint64_t done_bytes);

/** [offset, offset + length) of a file. */
struct ds_digest_part {
    struct ds_file *file;
    uint64_t offset_bytes;
    uint64_t length_bytes;
    ds_digest_progress_fn *progress; /* may be NULL */
    void *user;
};

/** The digest of a part, read once in order, each piece while the one before
 * is taken in.
 * Errors: those of reading; CANCELLED; SYSTEM when OpenSSL has no such
 * digest. */
int ds_digest_file(enum ds_digest_kind kind, const struct ds_digest_part *part,
                   uint8_t out[DS_DIGEST_BYTES_MAX], struct ds_error *err);

#endif
