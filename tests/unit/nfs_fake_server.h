/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server of NFSv4.2 in a thread, for the client's tests: sessions as they
 * should be, and on demand every way in which they should not.
 *
 *   test             struct fake.next[i]: what to do with the i-th CLONE or
 *     |              COPY compound
 *   nfs42 client <-> fake_serve: one connection after the other
 */
#ifndef NFS_FAKE_SERVER_H
#define NFS_FAKE_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nfs/nfs42.h"

enum fake_fault {
    FAKE_NONE,
    FAKE_DELAY,         /* DELAY for the second operation */
    FAKE_CUT,           /* close the connection instead of an answer */
    FAKE_SILENT,        /* no answer; the connection stays */
    FAKE_BADSESSION,    /* SEQUENCE: BADSESSION */
    FAKE_SHORT,         /* the record ends within a result */
    FAKE_HUGE,          /* a record mark of 2 GiB */
    FAKE_EMPTY_FOREVER, /* empty fragments without end */
    FAKE_GARBAGE,       /* random bytes as the record */
    FAKE_FEW,           /* one result fewer than operations, and status OK */
    FAKE_WRONG_OP,      /* the last result is of another operation */
    FAKE_WRONG_SLOT,
    FAKE_WRONG_XID,
    FAKE_DENIED, /* RPC: MSG_DENIED */
    FAKE_COUNT
};

#define FAKE_FAULT_COUNT_MAX 64
#define FAKE_OP_COUNT_MAX 8 /* granted; small, so that there is packing */

struct fake {
    int listener;
    uint16_t port;
    pthread_t thread;
    enum fake_fault faults[FAKE_FAULT_COUNT_MAX]; /* by compound with work */
    bool fault_always;                            /* the first one for all */
    uint32_t fail_at;     /* the CLONE that is answered with `fail_status` */
    uint32_t fail_status; /* 0: none */
    uint32_t lock_status; /* of LOCKT */
    uint32_t grant_ops, grant_slots;
    /* what it saw: */
    unsigned work_count; /* compounds with CLONE or COPY */
    unsigned clone_count;
    unsigned session_count;
    unsigned destroy_count;
    unsigned op_count_most;
    uint8_t session; /* the live one's number */
    uint32_t sequences[NFS42_SLOT_COUNT_MAX];
};

static inline bool fake_all(int fd, void *buffer, size_t length, bool out)
{
    uint8_t *next = buffer;

    while (length > 0) {
        ssize_t done = out ? send(fd, next, length, MSG_NOSIGNAL)
                           : recv(fd, next, length, 0);

        if (done <= 0)
            return false;
        next += done;
        length -= (size_t)done;
    }
    return true;
}

static inline void fake_reply_header(struct xdr_out *out, uint32_t xid)
{
    xdr_put_u32(out, 0);
    xdr_put_u32(out, xid);
    xdr_put_u32(out, 1);
    xdr_put_u32(out, 0);
    xdr_put_u32(out, 0);
    xdr_put_u32(out, 0);
    xdr_put_u32(out, 0);
}

static inline void fake_result(struct xdr_out *out, uint32_t op,
                               uint32_t status)
{
    xdr_put_u32(out, op);
    xdr_put_u32(out, status);
}

static inline void fake_channel(const struct fake *fake, struct xdr_out *out)
{
    xdr_put_u32(out, 0);
    xdr_put_u32(out, 65536);
    xdr_put_u32(out, 65536);
    xdr_put_u32(out, 0);
    xdr_put_u32(out, fake->grant_ops);
    xdr_put_u32(out, fake->grant_slots);
    xdr_put_u32(out, 0);
}

static inline void fake_session_id(const struct fake *fake, uint8_t id[16])
{
    memset(id, fake->session, 16);
}

/* Operations outside a session. */
static inline uint32_t fake_alone(struct fake *fake, uint32_t op,
                                  struct xdr_out *out)
{
    static const uint8_t zeros[16];
    uint8_t id[16];

    fake_result(out, op, 0);
    switch (op) {
    case NFS42_EXCHANGE_ID:
        xdr_put_u64(out, 77);
        xdr_put_u32(out, 1);
        xdr_put_u32(out, 0);
        xdr_put_u32(out, 0);
        xdr_put_u64(out, 0);
        xdr_put_opaque(out, "fake", 4);
        xdr_put_opaque(out, "", 0);
        xdr_put_u32(out, 0);
        break;
    case NFS42_CREATE_SESSION:
        fake->session++;
        fake->session_count++;
        memset(fake->sequences, 0, sizeof(fake->sequences));
        fake_session_id(fake, id);
        xdr_put_fixed(out, id, 16);
        xdr_put_u32(out, 1);
        xdr_put_u32(out, 0);
        fake_channel(fake, out);
        fake_channel(fake, out);
        break;
    case NFS42_DESTROY_SESSION:
        fake->destroy_count++;
        break;
    default:
        break;
    }
    (void)zeros;
    return 0;
}

/* One operation of a compound behind SEQUENCE; its status. */
static inline uint32_t fake_op(struct fake *fake, struct xdr_in *in,
                               struct xdr_out *out, uint32_t *op)
{
    uint32_t status = 0;

    *op = xdr_get_u32(in);
    switch (*op) {
    case NFS42_RECLAIM_COMPLETE:
        (void)xdr_get_u32(in);
        break;
    case NFS42_PUTFH:
        xdr_skip_opaque(in);
        break;
    case NFS42_CLONE:
        (void)xdr_get_fixed(in, 56);
        if (fake->fail_status != 0 && fake->clone_count == fake->fail_at)
            status = fake->fail_status;
        fake->clone_count++;
        break;
    case NFS42_COPY:
        (void)xdr_get_fixed(in, 32 + 16);
        {
            uint64_t length = xdr_get_u64(in);

            (void)xdr_get_fixed(in, 12);
            fake_result(out, *op, 0);
            xdr_put_u32(out, 0);
            xdr_put_u64(out, length / 2);
            xdr_put_u32(out, 0);
            xdr_put_u64(out, 0);
            xdr_put_u32(out, 1);
            xdr_put_u32(out, 1);
            return 0;
        }
    case NFS42_LOOKUP:
        xdr_skip_opaque(in);
        break;
    case NFS42_GETFH:
        fake_result(out, *op, 0);
        xdr_put_opaque(out, "handle", 6);
        return 0;
    case NFS42_GETATTR: /* type, size and file id are asked for */
        (void)xdr_get_fixed(in, (size_t)4 * xdr_get_u32(in));
        fake_result(out, *op, 0);
        xdr_put_u32(out, 1);
        xdr_put_u32(out, 1u << 1 | 1u << 4 | 1u << 20);
        xdr_put_u32(out, 20);
        xdr_put_u32(out, 1);
        xdr_put_u64(out, 123456);
        xdr_put_u64(out, 42);
        return 0;
    case NFS42_LOCKT:
        (void)xdr_get_fixed(in, 28);
        xdr_skip_opaque(in);
        status = fake->lock_status;
        break;
    case NFS42_ALLOCATE:
    case NFS42_DEALLOCATE:
        (void)xdr_get_fixed(in, 32);
        break;
    case NFS42_SEEK:
        (void)xdr_get_fixed(in, 28);
        fake_result(out, *op, 0);
        xdr_put_u32(out, 0);
        xdr_put_u64(out, 8192);
        return 0;
    case NFS42_COMMIT:
        (void)xdr_get_fixed(in, 12);
        fake_result(out, *op, 0);
        xdr_put_u64(out, 7);
        return 0;
    default:
        break;
    }
    fake_result(out, *op, status);
    return status;
}

static inline bool fake_is_work(uint32_t op)
{
    return op == NFS42_CLONE || op == NFS42_COPY;
}

/* Whether the compound has work in it: looked for from behind the first op. */
static inline enum fake_fault fake_choose(struct fake *fake)
{
    unsigned index = fake->work_count++;

    if (fake->fault_always)
        return fake->faults[0];
    return index < FAKE_FAULT_COUNT_MAX ? fake->faults[index] : FAKE_NONE;
}

/* Answer a compound in a session. False: end the connection. */
static inline bool fake_in_session(struct fake *fake, uint32_t xid,
                                   uint32_t op_count, struct xdr_in *in,
                                   struct xdr_out *out, bool *silent)
{
    enum fake_fault fault = FAKE_NONE;
    size_t header = out->length_bytes, last = 0, status_at, count_at;
    const uint8_t *id = xdr_get_fixed(in, 16);
    uint32_t sequence = xdr_get_u32(in), slot = xdr_get_u32(in);
    uint32_t status = 0, done = 1, op = 0;
    uint8_t live[16];

    (void)header;
    (void)xdr_get_u32(in);
    (void)xdr_get_u32(in);
    fake_session_id(fake, live);
    if (op_count > fake->op_count_most)
        fake->op_count_most = op_count;
    if (op_count > 2)
        fault = fake_choose(fake);
    status_at = out->length_bytes;
    xdr_put_u32(out, 0);
    xdr_put_u32(out, 0);
    count_at = out->length_bytes;
    xdr_put_u32(out, 0);
    if (fault == FAKE_CUT)
        return false;
    *silent = fault == FAKE_SILENT;
    if (fault == FAKE_BADSESSION || id == NULL || memcmp(id, live, 16) != 0 ||
        slot >= fake->grant_slots || sequence != fake->sequences[slot] + 1) {
        fake_result(out, NFS42_SEQUENCE, NFS42_ERR_BADSESSION);
        xdr_patch_u32(out, status_at, NFS42_ERR_BADSESSION);
        xdr_patch_u32(out, count_at, 1);
        return true;
    }
    fake->sequences[slot] = sequence;
    fake_result(out, NFS42_SEQUENCE, 0);
    xdr_put_fixed(out, live, 16);
    xdr_put_u32(out, sequence);
    xdr_put_u32(out, fault == FAKE_WRONG_SLOT ? slot + 1 : slot);
    xdr_put_u32(out, fake->grant_slots - 1);
    xdr_put_u32(out, fake->grant_slots - 1);
    xdr_put_u32(out, 0);
    if (fault == FAKE_DELAY) {
        fake_result(out, xdr_get_u32(in), NFS42_ERR_DELAY);
        status = NFS42_ERR_DELAY;
        done = 2;
    }
    while (status == 0 && done < op_count) {
        last = out->length_bytes;
        status = fake_op(fake, in, out, &op);
        done++;
    }
    if (fault == FAKE_FEW) {
        out->length_bytes = last;
        done--;
    }
    if (fault == FAKE_WRONG_OP)
        xdr_patch_u32(out, last, NFS42_SEEK);
    if (fault == FAKE_SHORT)
        out->length_bytes = last + 4;
    if (fault == FAKE_GARBAGE)
        for (size_t i = 8; i < out->length_bytes; i++)
            out->bytes[i] = (uint8_t)(i * 37 + 11);
    if (fault == FAKE_WRONG_XID)
        xdr_patch_u32(out, 4, xid + 1000);
    if (fault == FAKE_DENIED)
        xdr_patch_u32(out, 12, 1);
    if (fault != FAKE_GARBAGE) {
        xdr_patch_u32(out, status_at, status);
        xdr_patch_u32(out, count_at, done);
    }
    if (fault == FAKE_HUGE)
        xdr_patch_u32(out, 0, UINT32_C(0xffffffff));
    if (fault == FAKE_EMPTY_FOREVER) {
        memset(out->bytes, 0, out->length_bytes);
        xdr_patch_u32(out, 0, 1); /* marks it for fake_answer */
    }
    return true;
}

static inline bool fake_answer(int fd, struct xdr_out *out)
{
    uint8_t zeros[4096] = { 0 };

    if (out->bytes[0] == 0 && out->bytes[3] == 1) {
        while (fake_all(fd, zeros, sizeof(zeros), true))
            ;
        return false;
    }
    if (out->bytes[0] != 0xff)
        xdr_patch_u32(out, 0,
                      UINT32_C(0x80000000) | (uint32_t)(out->length_bytes - 4));
    return fake_all(fd, out->bytes, out->length_bytes, true);
}

/* The answer to one call, without its record mark. False: end the connection
 * instead. */
static inline bool fake_reply(struct fake *fake, const uint8_t *bytes,
                              size_t length, struct xdr_out *out, bool *silent)
{
    struct xdr_in in = xdr_in_make(bytes, length);
    uint32_t xid = xdr_get_u32(&in), op_count, op;

    (void)xdr_get_fixed(&in, 20); /* call, versions, procedure */
    (void)xdr_get_u32(&in);       /* AUTH_SYS */
    xdr_skip_opaque(&in);
    (void)xdr_get_u64(&in); /* AUTH_NONE */
    xdr_skip_opaque(&in);   /* tag */
    (void)xdr_get_u32(&in); /* minor version */
    op_count = xdr_get_u32(&in);
    op = xdr_get_u32(&in);
    fake_reply_header(out, xid);
    if (op == NFS42_SEQUENCE)
        return fake_in_session(fake, xid, op_count, &in, out, silent);
    xdr_put_u32(out, 0);
    xdr_put_u32(out, 0);
    xdr_put_u32(out, 1);
    (void)fake_alone(fake, op, out);
    return true;
}

/* One call; false: the connection is to end. */
static inline bool fake_call(struct fake *fake, int fd)
{
    struct xdr_out out = { 0 };
    uint8_t mark[4], *bytes;
    uint32_t length;
    bool goes_on = true, silent = false;

    if (!fake_all(fd, mark, 4, false))
        return false;
    length = (uint32_t)(mark[0] & 0x7f) << 24 | (uint32_t)mark[1] << 16 |
             (uint32_t)mark[2] << 8 | mark[3];
    bytes = malloc(length);
    if (bytes == NULL || !fake_all(fd, bytes, length, false)) {
        free(bytes);
        return false;
    }
    goes_on = fake_reply(fake, bytes, length, &out, &silent);
    if (goes_on && !silent)
        goes_on = fake_answer(fd, &out);
    xdr_out_free(&out);
    free(bytes);
    return goes_on;
}

static inline void *fake_serve(void *argument)
{
    struct fake *fake = argument;

    for (;;) {
        int fd = accept(fake->listener, NULL, NULL);

        if (fd < 0)
            return NULL;
        while (fake_call(fake, fd))
            ;
        (void)close(fd);
    }
}

static inline void fake_start(struct fake *fake)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t length = sizeof(address);

    memset(fake, 0, sizeof(*fake));
    fake->grant_ops = FAKE_OP_COUNT_MAX;
    fake->grant_slots = 3;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fake->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fake->listener, (struct sockaddr *)&address, length) != 0 ||
        listen(fake->listener, 8) != 0 ||
        getsockname(fake->listener, (struct sockaddr *)&address, &length) != 0)
        abort();
    fake->port = ntohs(address.sin_port);
    if (pthread_create(&fake->thread, NULL, fake_serve, fake) != 0)
        abort();
}

static inline void fake_end(struct fake *fake)
{
    (void)shutdown(fake->listener, SHUT_RDWR);
    (void)pthread_join(fake->thread, NULL);
    (void)close(fake->listener);
}

#endif
