/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of parts of files, through OpenSSL. */
#ifndef DS_BASE_DIGEST_H
#define DS_BASE_DIGEST_H

#include "store.h"

#define DS_DIGEST_BYTES_MAX 64u

enum ds_digest_kind { DS_DIGEST_SHA1, DS_DIGEST_SHA256, DS_DIGEST_SHA512 };

/** 20, 32, 64. */
size_t ds_digest_bytes(enum ds_digest_kind kind);

/** The digest of [offset, offset + length) of `file`, read once in order.
 * Errors: those of reading; SYSTEM when OpenSSL has no such digest. */
int ds_digest_file(enum ds_digest_kind kind, struct ds_file *file,
                   uint64_t offset_bytes, uint64_t length_bytes,
                   uint8_t out[DS_DIGEST_BYTES_MAX], struct ds_error *err);

#endif
