/* SPDX-License-Identifier: Apache-2.0 */
#include "nfs_rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "fail.h"
#include "nfs_wait.h"

#define RPC_VERSION 2u
#define RPC_CALL 0u
#define RPC_REPLY 1u
#define NFS_PROGRAM 100003u
#define NFS_VERSION 4u
#define AUTH_NONE 0u
#define AUTH_SYS 1u
#define LAST_FRAGMENT UINT32_C(0x80000000)
#define FRAGMENT_COUNT_MAX 4096u /* empty ones could go on for ever */
#define HOST_NAME_BYTES 64
#define REPLY_BYTES_MIN 4096u
#define LOW_PORT_FIRST 600u
#define LOW_PORT_COUNT 424u

/* 0 when `fd` is ready for `events`, else -errno. */
static int wait_ready(int fd, short events, int64_t deadline_ms)
{
    for (;;) {
        struct pollfd poller = { .fd = fd, .events = events };
        int64_t left = deadline_ms - nfs_now_ms();
        int ready = left > 0 ? poll(&poller, 1, (int)left) : 0;

        if (ready > 0)
            return 0;
        if (ready == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* -- connection -------------------------------------------------------------*/

/* Servers take a call from a port that only root can have for one that speaks
 * for its uid ("secure" exports of Linux, the standard). Where we may not have
 * one, or all are taken, any port must do. */
static void bind_low_port(int fd, int family)
{
    struct sockaddr_in in4 = { .sin_family = AF_INET };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    unsigned begin = (unsigned)nfs_now_ms();

    for (unsigned i = 0; i < LOW_PORT_COUNT; i++) {
        uint16_t port =
            htons((uint16_t)(LOW_PORT_FIRST + (begin + i) % LOW_PORT_COUNT));
        int result;

        in4.sin_port = in6.sin6_port = port;
        result = family == AF_INET
                     ? bind(fd, (struct sockaddr *)&in4, sizeof(in4))
                     : bind(fd, (struct sockaddr *)&in6, sizeof(in6));
        if (result == 0 || errno != EADDRINUSE)
            return;
    }
}

static int connect_one(const struct addrinfo *address, int timeout_ms)
{
    int fd = socket(address->ai_family,
                    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1, error = 0, result;
    socklen_t length = sizeof(error);

    if (fd < 0)
        return -errno;
    bind_low_port(fd, address->ai_family);
    result =
        connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : -errno;
    if (result == -EINPROGRESS)
        result = wait_ready(fd, POLLOUT, nfs_now_ms() + timeout_ms);
    if (result == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        result = -errno;
    if (result == 0)
        result = -error;
    if (result != 0) {
        (void)close(fd);
        return result;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

int nfs_rpc_connect(struct nfs_rpc *rpc, const char *host, uint16_t port,
                    struct ds_error *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *addresses = NULL;
    char service[8];
    int fd = -EHOSTUNREACH, failed;

    nfs_rpc_disconnect(rpc);
    (void)snprintf(service, sizeof(service), "%u", port);
    failed = getaddrinfo(host, service, &hints, &addresses);
    if (failed != 0)
        return ds_fail_errno(err, EHOSTUNREACH, NULL,
                             "nfs: cannot resolve %.200s (%s)", host,
                             gai_strerror(failed));
    for (const struct addrinfo *a = addresses; a != NULL && fd < 0;
         a = a->ai_next)
        fd = connect_one(a, rpc->timeout_ms);
    freeaddrinfo(addresses);
    if (fd < 0)
        return ds_fail_errno(err, -fd, NULL,
                             "nfs: cannot connect to %.200s port %u", host,
                             port);
    rpc->fd = fd;
    return 0;
}

void nfs_rpc_disconnect(struct nfs_rpc *rpc)
{
    if (rpc->fd >= 0)
        (void)close(rpc->fd);
    rpc->fd = -1;
}

void nfs_rpc_free(struct nfs_rpc *rpc)
{
    nfs_rpc_disconnect(rpc);
    free(rpc->reply);
    rpc->reply = NULL;
    rpc->reply_room_bytes = 0;
}

/* -- calls ------------------------------------------------------------------*/

uint32_t nfs_rpc_begin(struct nfs_rpc *rpc, struct xdr_out *out,
                       uint32_t procedure)
{
    char host[HOST_NAME_BYTES] = "";
    size_t credential;

    (void)gethostname(host, sizeof(host) - 1);
    xdr_out_clear(out);
    xdr_put_u32(out, 0); /* the record's mark, known when it is sent */
    xdr_put_u32(out, ++rpc->xid);
    xdr_put_u32(out, RPC_CALL);
    xdr_put_u32(out, RPC_VERSION);
    xdr_put_u32(out, NFS_PROGRAM);
    xdr_put_u32(out, NFS_VERSION);
    xdr_put_u32(out, procedure);
    xdr_put_u32(out, AUTH_SYS); /* RFC 5531 appendix A */
    credential = out->length_bytes;
    xdr_put_u32(out, 0);
    xdr_put_u32(out, 0); /* stamp */
    xdr_put_string(out, host);
    xdr_put_u32(out, rpc->user.uid);
    xdr_put_u32(out, rpc->user.gid);
    xdr_put_u32(out, 0); /* no further groups */
    xdr_patch_u32(out, credential,
                  (uint32_t)(out->length_bytes - credential - 4));
    xdr_put_u32(out, AUTH_NONE);
    xdr_put_u32(out, 0);
    return rpc->xid;
}

int nfs_rpc_send(struct nfs_rpc *rpc, struct xdr_out *out, struct ds_error *err)
{
    int64_t deadline_ms = nfs_now_ms() + rpc->timeout_ms;
    size_t sent = 0;

    xdr_patch_u32(out, 0, LAST_FRAGMENT | (uint32_t)(out->length_bytes - 4));
    if (out->failed)
        return ds_fail_memory(err);
    while (sent < out->length_bytes) {
        ssize_t done = send(rpc->fd, out->bytes + sent,
                            out->length_bytes - sent, MSG_NOSIGNAL);
        int result = 0;

        if (done > 0)
            sent += (size_t)done;
        else if (errno == EAGAIN)
            result = wait_ready(rpc->fd, POLLOUT, deadline_ms);
        else if (errno != EINTR)
            result = -errno;
        if (result != 0)
            return ds_fail_errno(err, -result, NULL, "nfs: cannot send");
    }
    rpc->sent_bytes += out->length_bytes;
    rpc->call_count++;
    return 0;
}

/* -- replies ----------------------------------------------------------------*/

static int receive_bytes(struct nfs_rpc *rpc, void *buffer, size_t length,
                         int64_t deadline_ms, struct ds_error *err)
{
    uint8_t *next = buffer;

    while (length > 0) {
        ssize_t got = recv(rpc->fd, next, length, 0);
        int result = 0;

        if (got > 0) {
            next += got;
            length -= (size_t)got;
            rpc->received_bytes += (uint64_t)got;
        } else if (got == 0) {
            result = -ECONNRESET;
        } else if (errno == EAGAIN) {
            result = wait_ready(rpc->fd, POLLIN, deadline_ms);
        } else if (errno != EINTR) {
            result = -errno;
        }
        if (result != 0)
            return ds_fail_errno(err, -result, NULL, "nfs: no reply");
    }
    return 0;
}

static int reserve(struct nfs_rpc *rpc, size_t length, struct ds_error *err)
{
    uint8_t *reply;

    if (length < REPLY_BYTES_MIN)
        length =
            REPLY_BYTES_MIN; /* also for an empty record there is a place */
    if (length <= rpc->reply_room_bytes)
        return 0;
    reply = realloc(rpc->reply, length);
    if (reply == NULL)
        return ds_fail_memory(err);
    rpc->reply = reply;
    rpc->reply_room_bytes = length;
    return 0;
}

/* One record, which may come in fragments, into rpc->reply. */
static int receive_record(struct nfs_rpc *rpc, size_t *length_bytes,
                          struct ds_error *err)
{
    int64_t deadline_ms = nfs_now_ms() + rpc->timeout_ms;
    size_t length = 0;

    for (unsigned i = 0; i < FRAGMENT_COUNT_MAX; i++) {
        ds_be32 wire;
        uint32_t mark;
        size_t fragment;
        int result = receive_bytes(rpc, &wire, sizeof(wire), deadline_ms, err);

        if (result != 0)
            return result;
        mark = ds_be32_get(wire);
        fragment = mark & ~LAST_FRAGMENT;
        if (fragment > rpc->reply_bytes_max - length)
            return ds_fail(err, DS_ERR_CORRUPT,
                           "nfs: reply: have %zu bytes expect at most %zu",
                           length + fragment, rpc->reply_bytes_max);
        result = reserve(rpc, length + fragment, err);
        if (result == 0)
            result = receive_bytes(rpc, rpc->reply + length, fragment,
                                   deadline_ms, err);
        if (result != 0)
            return result;
        length += fragment;
        if ((mark & LAST_FRAGMENT) != 0) {
            *length_bytes = length;
            return 0;
        }
    }
    return ds_fail(err, DS_ERR_CORRUPT, "nfs: reply: more than %u fragments",
                   FRAGMENT_COUNT_MAX);
}

int nfs_rpc_receive(struct nfs_rpc *rpc, uint32_t *xid, struct xdr_in *results,
                    struct ds_error *err)
{
    size_t length = 0;
    uint32_t kind, denied, status;
    int result = receive_record(rpc, &length, err);

    if (result != 0)
        return result;
    *results = xdr_in_make(rpc->reply, length);
    *xid = xdr_get_u32(results);
    kind = xdr_get_u32(results);
    denied = xdr_get_u32(results);
    if (results->failed || kind != RPC_REPLY)
        return ds_fail(err, DS_ERR_CORRUPT, "nfs: reply: is none");
    if (denied != 0)
        return ds_fail_errno(err, EACCES, NULL,
                             "nfs: the server denies calls of uid %u",
                             rpc->user.uid);
    (void)xdr_get_u32(results); /* the verifier's flavour */
    xdr_skip_opaque(results);
    status = xdr_get_u32(results);
    if (results->failed)
        return ds_fail(err, DS_ERR_CORRUPT, "nfs: reply: header too short");
    if (status != 0)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "nfs: NFSv4: have RPC status %u expect 0", status);
    return 0;
}
