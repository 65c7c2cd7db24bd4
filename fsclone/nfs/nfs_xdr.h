/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XDR (RFC 4506), as much as NFSv4 needs: big-endian words, and bytes padded
 * to words.
 *
 * Writing grows a buffer; running out of memory is remembered, and whoever
 * sends looks once. Reading never leaves the bytes it was given: what does not
 * fit is remembered, everything after it reads as zero, and whoever uses the
 * values looks before. So neither needs a check per word.
 */
#ifndef NFS_XDR_H
#define NFS_XDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xdr_out {
    uint8_t *bytes; /* owned */
    size_t length_bytes;
    size_t room_bytes;
    bool failed; /* out of memory; nothing was written since */
};

void xdr_put_u32(struct xdr_out *out, uint32_t value);
void xdr_put_u64(struct xdr_out *out, uint64_t value);
/** Bytes and their padding (opaque[n]). */
void xdr_put_fixed(struct xdr_out *out, const void *bytes, size_t length);
/** Their count before them (opaque<>, string<>). */
void xdr_put_opaque(struct xdr_out *out, const void *bytes, size_t length);
void xdr_put_string(struct xdr_out *out, const char *text);
/** Overwrite the word at `offset`, which was written. */
void xdr_patch_u32(struct xdr_out *out, size_t offset, uint32_t value);
/** Append what `other` holds, or fail as it did. */
void xdr_put_out(struct xdr_out *out, const struct xdr_out *other);
/** Forget the content, keep the memory. */
void xdr_out_clear(struct xdr_out *out);
void xdr_out_free(struct xdr_out *out);

struct xdr_in {
    const uint8_t *next;
    const uint8_t *end;
    bool failed; /* something did not fit */
};

static inline struct xdr_in xdr_in_make(const void *bytes, size_t length)
{
    const uint8_t *next = bytes;

    return (struct xdr_in){ .next = next, .end = next + length };
}

uint32_t xdr_get_u32(struct xdr_in *in);
uint64_t xdr_get_u64(struct xdr_in *in);
/** `length` bytes, valid as long as the message; NULL when they do not fit. */
const uint8_t *xdr_get_fixed(struct xdr_in *in, size_t length);
/** opaque<length_max>; NULL when longer or not there. */
const uint8_t *xdr_get_opaque(struct xdr_in *in, size_t length_max,
                              size_t *length);
/** Go over an opaque<> of any length. */
void xdr_skip_opaque(struct xdr_in *in);

#endif
