/* SPDX-License-Identifier: Apache-2.0 */
#include "digest.h"

#include <errno.h>

#include <openssl/evp.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"

#define READ_BYTES ((size_t)DS_MIB)

static void cleanup_context(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

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

int ds_digest_file(enum ds_digest_kind kind, struct ds_file *file,
                   uint64_t offset_bytes, uint64_t length_bytes,
                   uint8_t out[DS_DIGEST_BYTES_MAX], struct ds_error *err)
{
    ds_auto(cleanup_context) EVP_MD_CTX *context = EVP_MD_CTX_new();
    ds_autofree uint8_t *buffer = malloc(READ_BYTES);
    int result = 0;

    if (context == NULL || buffer == NULL)
        return ds_fail_memory(err);
    if (EVP_DigestInit_ex(context, algorithm(kind), NULL) != 1)
        return fail_digest(err);
    while (length_bytes > 0 && result == 0) {
        size_t now = (size_t)ds_min_u64(length_bytes, READ_BYTES);

        result = ds_file_read(file, offset_bytes, buffer, now, err);
        if (result == 0 && EVP_DigestUpdate(context, buffer, now) != 1)
            result = fail_digest(err);
        offset_bytes += now;
        length_bytes -= now;
    }
    if (result == 0 && EVP_DigestFinal_ex(context, out, NULL) != 1)
        result = fail_digest(err);
    return result;
}
