/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls without an answer -> connection -> answers.
 *
 *   JUKEBOX             wait, send it again
 *   connection lost,    destroy libnfs's context, which ends its calls; connect
 *   no answer in time   anew; send those again that have no answer
 *
 * libnfs has a way to connect again by itself, of which the public interface
 * says nothing; so a context is used for one connection only.
 */
#include "nfs3.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"
#include "nfs_wait.h"

#define FLIGHT_COUNT_MAX 16u
#define HOST_NAME_BYTES 64

int nfs3_errno(uint32_t status)
{
    switch (status) {
    case NFS3_OK:
        return 0;
    case NFS3ERR_NAMETOOLONG:
        return ENAMETOOLONG;
    case NFS3ERR_NOTEMPTY:
        return ENOTEMPTY;
    case NFS3ERR_DQUOT:
        return EDQUOT;
    case NFS3ERR_STALE:
    case NFS3ERR_BADHANDLE:
        return ESTALE;
    case NFS3ERR_NOTSUPP:
        return EOPNOTSUPP;
    case NFS3ERR_JUKEBOX:
        return EAGAIN;
    default: /* the low ones were taken from Unix */
        return status <= NFS3ERR_MLINK ? (int)status : EIO;
    }
}

int nfs3_open(const struct nfs3_options *options, struct nfs3 **out,
              struct ds_error *err)
{
    const struct nfs3_api *api = NULL;
    struct nfs3 *client;
    int result = nfs3_api(&api, err);

    if (result != 0)
        return result;
    client = calloc(1, sizeof(*client));
    if (client == NULL)
        return ds_fail_memory(err);
    client->host = strdup(options->host);
    if (client->host == NULL) {
        free(client);
        return ds_fail_memory(err);
    }
    client->api = api;
    client->options = *options;
    client->options.host = client->host;
    (void)pthread_mutex_init(&client->lock, NULL);
    *out = client;
    return 0;
}

void nfs3_close(struct nfs3 *client)
{
    if (client == NULL)
        return;
    if (client->rpc != NULL)
        client->api->destroy_context(client->rpc);
    (void)pthread_mutex_destroy(&client->lock);
    free(client->host);
    free(client);
}

/* -- the connection ---------------------------------------------------------*/

bool nfs3_service(const struct nfs3_api *api, struct rpc_context *rpc,
                  int64_t deadline_ms)
{
    struct pollfd poller = { .fd = api->get_fd(rpc),
                             .events = (short)api->which_events(rpc) };
    int64_t left_ms = deadline_ms - nfs_now_ms();
    int ready;

    if (poller.fd < 0 || left_ms <= 0)
        return false;
    ready = poll(&poller, 1, (int)left_ms);
    if (ready < 0)
        return errno == EINTR;
    return ready > 0 && api->service(rpc, poller.revents) == 0;
}

struct connecting {
    bool done;
    int status;
};

static void connected(struct rpc_context *rpc, int status, void *data,
                      void *user)
{
    struct connecting *connecting = user;

    (void)rpc;
    (void)data;
    connecting->status = status;
    connecting->done = true;
}

static void say_why(struct nfs3 *client, struct rpc_context *rpc,
                    const char *what)
{
    const char *said = rpc != NULL ? client->api->get_error(rpc) : NULL;

    (void)ds_fail(&client->why, DS_ERR_SYSTEM, "%s: %.200s", what,
                  said != NULL ? said : "no word from libnfs");
}

struct rpc_context *nfs3_connect(struct nfs3 *client, uint16_t port)
{
    const struct nfs3_api *api = client->api;
    const struct nfs_user *user = &client->options.user;
    int64_t deadline_ms = nfs_now_ms() + client->options.timeout_ms;
    struct rpc_context *rpc = api->init_context();
    struct connecting connecting = { .status = RPC_STATUS_ERROR };
    char name[HOST_NAME_BYTES] = "";

    if (rpc == NULL)
        return NULL;
    (void)gethostname(name, sizeof(name) - 1);
    api->set_auth(rpc,
                  api->authunix_create(name, user->uid, user->gid, 0, NULL));
    if (api->connect(rpc, client->host, port, connected, &connecting) == 0)
        while (!connecting.done && nfs3_service(api, rpc, deadline_ms))
            ;
    if (connecting.done && connecting.status == RPC_STATUS_SUCCESS)
        return rpc;
    say_why(client, rpc, "no connection");
    connecting.done = true;
    api->destroy_context(rpc);
    return NULL;
}

void nfs3_measure(const struct nfs3_api *api, struct rpc_context *rpc,
                  struct nfs_count *out)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);

    memset(&info, 0, sizeof(info));
    if (getsockopt(api->get_fd(rpc), IPPROTO_TCP, TCP_INFO, &info, &length) !=
        0)
        return;
    out->sent_bytes = info.tcpi_bytes_sent - info.tcpi_bytes_retrans;
    out->received_bytes = info.tcpi_bytes_received;
}

/* What the connection has carried since it was last looked at. */
static void count_bytes(struct nfs3 *client, struct nfs_count *count)
{
    struct nfs_count before = client->connection;

    nfs3_measure(client->api, client->rpc, &client->connection);
    count->sent_bytes += client->connection.sent_bytes - before.sent_bytes;
    count->received_bytes +=
        client->connection.received_bytes - before.received_bytes;
}

static void disconnect(struct nfs3 *client)
{
    client->api->destroy_context(client->rpc);
    client->rpc = NULL;
    client->connection = (struct nfs_count){ 0 };
}

/* -- calls ------------------------------------------------------------------*/

struct nfs3_running {
    struct nfs3 *client;
    struct nfs3_call *calls;
    size_t count;
    size_t done_count;
    size_t flight_count;
    int64_t resume_ms;   /* send nothing before */
    int64_t deadline_ms; /* for the next answer */
    struct nfs_patience patience;
};

static void call_answered(struct rpc_context *rpc, int status, void *data,
                          void *user)
{
    struct nfs3_call *call = user;
    struct nfs3_running *running = call->running;
    uint32_t have;

    (void)rpc;
    call->flying = false;
    running->flight_count--;
    if (status != RPC_STATUS_SUCCESS || data == NULL)
        return; /* the connection is lost, as nfs3_service will say */
    running->deadline_ms = nfs_now_ms() + running->client->options.timeout_ms;
    memcpy(&have, data, sizeof(have)); /* each result begins with it */
    if (have == NFS3ERR_JUKEBOX) {
        call->put_off = true;
        return;
    }
    call->status = -nfs3_errno(have);
    if (have == NFS3_OK && call->answered != NULL &&
        !call->answered(call, data))
        call->status = -EBADMSG;
    call->done = true;
    running->done_count++;
    running->patience =
        nfs_patience_begin(running->client->options.patience_ms);
}

static int send_call(struct nfs3 *client, struct nfs3_call *call)
{
    switch (call->procedure) {
#define NFS3_SEND(upper, lower)                                                \
    case NFS3_CALL_##upper:                                                    \
        return client->api->lower(client->rpc, call_answered,                  \
                                  &call->args.lower, call);
        NFS3_PROCEDURES(NFS3_SEND)
#undef NFS3_SEND
    case NFS3_CALL_COUNT:
        break;
    }
    return -1;
}

static int send_some(struct nfs3_running *running)
{
    struct nfs3 *client = running->client;

    if (running->flight_count == 0)
        running->deadline_ms = nfs_now_ms() + client->options.timeout_ms;
    for (size_t i = 0;
         i < running->count && running->flight_count < FLIGHT_COUNT_MAX; i++) {
        struct nfs3_call *call = &running->calls[i];

        if (call->done || call->flying)
            continue;
        call->flying = true;
        running->flight_count++;
        client->counts[call->procedure].round_trips++;
        client->counts[call->procedure].operations++;
        if (send_call(client, call) != 0) {
            call->flying = false;
            running->flight_count--;
            return -ENOMEM;
        }
    }
    return 0;
}

/* Those that the server put off are sent again after a while. */
static bool wait_put_off(struct nfs3_running *running)
{
    bool any = false;

    for (size_t i = 0; i < running->count; i++) {
        any = any || running->calls[i].put_off;
        running->calls[i].put_off = false;
    }
    return !any || nfs_patience_wait(&running->patience);
}

static void lose_connection(struct nfs3_running *running)
{
    struct nfs3 *client = running->client;

    say_why(client, client->rpc, "no answer");
    count_bytes(client, &client->counts[running->calls[0].procedure]);
    disconnect(client);
    running->flight_count = 0;
    for (size_t i = 0; i < running->count; i++) {
        running->calls[i].resent =
            running->calls[i].resent || running->calls[i].flying;
        running->calls[i].flying = false;
    }
}

/* One that never was there is not waited for. */
static int connect_patiently(struct nfs3_running *running)
{
    struct nfs3 *client = running->client;

    for (;;) {
        client->rpc = nfs3_connect(client, client->options.port);
        if (client->rpc != NULL) {
            client->was_connected = true;
            return 0;
        }
        if (!client->was_connected || !nfs_patience_wait(&running->patience))
            return -ECONNREFUSED;
    }
}

static int step(struct nfs3_running *running)
{
    struct nfs3 *client = running->client;
    int status = 0;

    if (client->rpc == NULL)
        status = connect_patiently(running);
    if (status == 0)
        status = send_some(running);
    while (status == 0 && running->flight_count > 0) {
        size_t flying = running->flight_count;

        if (!nfs3_service(client->api, client->rpc, running->deadline_ms)) {
            lose_connection(running);
            return nfs_patience_wait(&running->patience) ? 0 : -ETIMEDOUT;
        }
        if (running->flight_count < flying)
            break; /* there is room for more */
    }
    if (status == 0 && !wait_put_off(running)) {
        (void)ds_fail(&client->why, DS_ERR_SYSTEM,
                      "the server puts us off (JUKEBOX)");
        return -ETIMEDOUT;
    }
    return status;
}

static int run_locked(struct nfs3 *client, struct nfs3_call *calls,
                      size_t count)
{
    struct nfs3_running running = {
        .client = client,
        .calls = calls,
        .count = count,
        .patience = nfs_patience_begin(
            client->given_up ? 0 : client->options.patience_ms),
    };
    int status = 0;

    for (size_t i = 0; i < count; i++) {
        calls[i].done = calls[i].flying = calls[i].put_off = false;
        calls[i].running = &running;
    }
    while (status == 0 && running.done_count < count)
        status = step(&running);
    if (client->rpc != NULL)
        count_bytes(client, &client->counts[calls[0].procedure]);
    if (status != 0 && client->rpc != NULL)
        disconnect(client); /* with calls in flight: it must forget them */
    client->given_up = status == -ETIMEDOUT || status == -ECONNREFUSED;
    return status;
}

int nfs3_run(struct nfs3 *client, struct nfs3_call *calls, size_t count)
{
    int status;

    if (count == 0)
        return 0;
    (void)pthread_mutex_lock(&client->lock);
    status = run_locked(client, calls, count);
    (void)pthread_mutex_unlock(&client->lock);
    return status;
}
