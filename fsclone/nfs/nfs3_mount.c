/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handle of an exported directory: the portmapper says where MOUNT is
 * (RFC 1833), MOUNT gives the handle (RFC 1813 appendix I). Both by
 * connections of their own, which end with the answer.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "fail.h"
#include "nfs3.h"
#include "nfs_wait.h"

#define TRY_COUNT_MAX 3 /* where the answer got lost */

struct asking {
    struct nfs3 *client;
    bool done;
    bool answered;
    uint32_t port;
    uint32_t status; /* of MOUNT */
    struct nfs3_handle handle;
};

static void port_answered(struct rpc_context *rpc, int status, void *data,
                          void *user)
{
    struct asking *asking = user;

    (void)rpc;
    asking->done = true;
    asking->answered = status == RPC_STATUS_SUCCESS && data != NULL;
    if (asking->answered)
        memcpy(&asking->port, data, sizeof(asking->port));
}

static void mount_answered(struct rpc_context *rpc, int status, void *data,
                           void *user)
{
    const struct mountres3 *result = data;
    struct asking *asking = user;
    const fhandle3 *handle;

    (void)rpc;
    asking->done = true;
    asking->answered = status == RPC_STATUS_SUCCESS && data != NULL;
    if (!asking->answered)
        return;
    asking->status = result->fhs_status;
    if (result->fhs_status != MNT3_OK)
        return;
    handle = &result->mountres3_u.mountinfo.fhandle;
    if (handle->fhandle3_len == 0 ||
        handle->fhandle3_len > NFS3_HANDLE_BYTES_MAX) {
        asking->answered = false;
        return;
    }
    memcpy(asking->handle.bytes, handle->fhandle3_val, handle->fhandle3_len);
    asking->handle.length_bytes = handle->fhandle3_len;
}

/* Ask the portmapper (directory NULL) or MOUNT; whether there is an answer. */
static int ask(struct nfs3 *client, uint16_t port, const char *directory,
               struct asking *asking)
{
    const struct nfs3_api *api = client->api;
    int64_t deadline_ms;
    struct nfs_count *count =
        directory == NULL ? &client->portmap_count : &client->mount_count;
    struct nfs_count carried = { 0 };
    struct rpc_context *rpc = nfs3_connect(client, port);
    int sent;

    if (rpc == NULL)
        return -ECONNREFUSED;
    asking->done = asking->answered = false;
    sent = directory == NULL ? api->getport(rpc, MOUNT_PROGRAM, MOUNT_V3,
                                            IPPROTO_TCP, port_answered, asking)
                             : api->mnt(rpc, mount_answered,
                                        (char *)(uintptr_t)directory, asking);
    count->round_trips++;
    count->operations++;
    deadline_ms = nfs_now_ms() + client->options.timeout_ms;
    while (sent == 0 && !asking->done && nfs3_service(api, rpc, deadline_ms))
        ;
    nfs3_measure(api, rpc, &carried);
    count->sent_bytes += carried.sent_bytes;
    count->received_bytes += carried.received_bytes;
    api->destroy_context(rpc); /* may call back, with `asking` */
    if (sent != 0)
        return -ENOMEM;
    (void)ds_fail(&client->why, DS_ERR_SYSTEM, "no answer from %s",
                  directory == NULL ? "the portmapper" : "MOUNT");
    return asking->answered ? 0 : -ETIMEDOUT;
}

static int ask_again(struct nfs3 *client, uint16_t port, const char *directory,
                     struct asking *asking)
{
    int status = -ETIMEDOUT;

    for (int i = 0; i < TRY_COUNT_MAX && status == -ETIMEDOUT; i++)
        status = ask(client, port, directory, asking);
    return status;
}

static int mount_errno(uint32_t status)
{
    return status <= MNT3ERR_INVAL         ? (int)status
           : status == MNT3ERR_NAMETOOLONG ? ENAMETOOLONG
           : status == MNT3ERR_NOTSUPP     ? EOPNOTSUPP
                                           : EIO;
}

static int mount_locked(struct nfs3 *client, const char *directory,
                        struct nfs3_handle *out)
{
    struct asking asking = { .client = client };
    uint16_t *port = &client->options.mount_port;
    int status;

    if (*port == 0) {
        status = ask_again(client, PMAP_PORT, NULL, &asking);
        if (status != 0)
            return status;
        if (asking.port == 0 || asking.port > UINT16_MAX) {
            (void)ds_fail(&client->why, DS_ERR_SYSTEM,
                          "the server has no MOUNT version 3");
            return -EOPNOTSUPP;
        }
        *port = (uint16_t)asking.port;
    }
    status = ask_again(client, *port, directory, &asking);
    if (status != 0)
        return status;
    (void)ds_fail(&client->why, DS_ERR_SYSTEM, "MOUNT: status %u",
                  (unsigned)asking.status);
    *out = asking.handle;
    return -mount_errno(asking.status);
}

int nfs3_mount(struct nfs3 *client, const char *directory,
               struct nfs3_handle *out)
{
    int status;

    (void)pthread_mutex_lock(&client->lock);
    status = mount_locked(client, directory, out);
    (void)pthread_mutex_unlock(&client->lock);
    return status;
}
