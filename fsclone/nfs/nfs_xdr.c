/* SPDX-License-Identifier: Apache-2.0 */
#include "nfs_xdr.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"

#define WORD_BYTES 4u
#define ROOM_BYTES_MIN 1024u
/* A request of a hostile length cannot arise from what we send; this bounds
 * our own mistakes. */
#define ROOM_BYTES_MAX ((size_t)16 << 20)

static size_t padding(size_t length)
{
    return (WORD_BYTES - length % WORD_BYTES) % WORD_BYTES;
}

/* Room for `length` more bytes, or NULL. */
static uint8_t *grow(struct xdr_out *out, size_t length)
{
    size_t room = out->room_bytes;
    uint8_t *bytes;

    if (out->failed || length > ROOM_BYTES_MAX - out->length_bytes) {
        out->failed = true;
        return NULL;
    }
    if (room < out->length_bytes + length) {
        room = (out->length_bytes + length) * 2;
        if (room < ROOM_BYTES_MIN)
            room = ROOM_BYTES_MIN;
        bytes = realloc(out->bytes, room);
        if (bytes == NULL) {
            out->failed = true;
            return NULL;
        }
        out->bytes = bytes;
        out->room_bytes = room;
    }
    bytes = out->bytes + out->length_bytes;
    out->length_bytes += length;
    return bytes;
}

void xdr_put_u32(struct xdr_out *out, uint32_t value)
{
    ds_be32 wire = ds_be32_make(value);
    uint8_t *bytes = grow(out, sizeof(wire));

    if (bytes != NULL)
        memcpy(bytes, &wire, sizeof(wire));
}

void xdr_put_u64(struct xdr_out *out, uint64_t value)
{
    ds_be64 wire = ds_be64_make(value);
    uint8_t *bytes = grow(out, sizeof(wire));

    if (bytes != NULL)
        memcpy(bytes, &wire, sizeof(wire));
}

void xdr_put_fixed(struct xdr_out *out, const void *bytes, size_t length)
{
    size_t pad = padding(length);
    uint8_t *to = grow(out, length + pad);

    if (to == NULL)
        return;
    if (length > 0)
        memcpy(to, bytes, length);
    memset(to + length, 0, pad);
}

void xdr_put_opaque(struct xdr_out *out, const void *bytes, size_t length)
{
    xdr_put_u32(out, (uint32_t)length);
    xdr_put_fixed(out, bytes, length);
}

void xdr_put_string(struct xdr_out *out, const char *text)
{
    xdr_put_opaque(out, text, strlen(text));
}

void xdr_patch_u32(struct xdr_out *out, size_t offset, uint32_t value)
{
    ds_be32 wire = ds_be32_make(value);

    if (!out->failed)
        memcpy(out->bytes + offset, &wire, sizeof(wire));
}

void xdr_put_out(struct xdr_out *out, const struct xdr_out *other)
{
    if (other->failed)
        out->failed = true;
    else
        xdr_put_fixed(out, other->bytes, other->length_bytes);
}

void xdr_out_clear(struct xdr_out *out)
{
    out->length_bytes = 0;
    out->failed = false;
}

void xdr_out_free(struct xdr_out *out)
{
    free(out->bytes);
    *out = (struct xdr_out){ 0 };
}

const uint8_t *xdr_get_fixed(struct xdr_in *in, size_t length)
{
    size_t left = (size_t)(in->end - in->next);
    const uint8_t *bytes = in->next;

    /* In this order nothing overflows, whatever the length. */
    if (in->failed || length > left || padding(length) > left - length) {
        in->failed = true;
        in->next = in->end;
        return NULL;
    }
    in->next += length + padding(length);
    return bytes;
}

uint32_t xdr_get_u32(struct xdr_in *in)
{
    ds_be32 wire;
    const uint8_t *bytes = xdr_get_fixed(in, sizeof(wire));

    if (bytes == NULL)
        return 0;
    memcpy(&wire, bytes, sizeof(wire));
    return ds_be32_get(wire);
}

uint64_t xdr_get_u64(struct xdr_in *in)
{
    ds_be64 wire;
    const uint8_t *bytes = xdr_get_fixed(in, sizeof(wire));

    if (bytes == NULL)
        return 0;
    memcpy(&wire, bytes, sizeof(wire));
    return ds_be64_get(wire);
}

const uint8_t *xdr_get_opaque(struct xdr_in *in, size_t length_max,
                              size_t *length)
{
    const uint8_t *bytes;

    *length = xdr_get_u32(in);
    if (*length > length_max)
        in->failed = true;
    bytes = xdr_get_fixed(in, *length);
    if (bytes == NULL)
        *length = 0;
    return bytes;
}

void xdr_skip_opaque(struct xdr_in *in)
{
    (void)xdr_get_fixed(in, xdr_get_u32(in));
}
