/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls without an answer -> connection -> answers.
 *
 *   thread 1   run [READ READ READ] ---.
 *   thread 2   run [READ] -------------+-- runs --> driver --> connection
 *   thread 3   run [WRITE WRITE] ------'            one of the three
 *
 * All threads share the connection. Each puts its calls into the queue and
 * waits. Who finds nobody at the connection drives: sends and receives for all
 * until its own calls have their answers, and leaves the place to the next who
 * waits. So what several threads ask for is in flight together, and no thread
 * is made for it. In flight are NFS3_FLIGHT_COUNT_MAX calls at most; a reply is
 * as long as a call allows, so memory is bounded (RECEIVED_BYTES_MAX for what
 * comes and is no reply).
 *
 *   JUKEBOX             the run waits, and sends it again
 *   connection lost,    destroy libnfs's context, which ends its calls; connect
 *   no answer in time   anew; send those again that have no answer
 *   refused by RPC      the run waits and sends it again; an error at once from
 *                       one that never answered anything
 *
 * A run that has failed ends when nothing of it is in flight any more, since
 * answers go to its caller's memory.
 *
 * Invariant: what is in struct nfs3 changes under its lock only, which the
 * driver leaves while it waits for the network; libnfs is called by the driver
 * alone.
 *
 * libnfs has a way to connect again by itself, of which the public interface
 * says nothing; so a context is used for one connection only.
 */
#include "nfs3.h"

#include <assert.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"
#include "nfs_wait.h"

/* A call is lost that so many overtook, and time has passed. Fewer may: the
 * network is slow. */
#define OVERTAKEN_COUNT (4 * NFS3_FLIGHT_COUNT_MAX)
/* Without an answer being among it. All replies together are below 17 MiB. */
#define RECEIVED_BYTES_MAX (UINT64_C(32) << 20)
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
    client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (client->wake_fd < 0) {
        free(client->host);
        free(client);
        return ds_fail_errno(err, errno, NULL, "nfs: cannot make an eventfd");
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
    (void)close(client->wake_fd);
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

/* What the connection has carried since it was last looked at. Where calls of
 * several kinds are in flight together, the next that is answered has it. */
static void count_bytes(struct nfs3 *client, enum nfs3_procedure procedure)
{
    struct nfs_count *count = &client->counts[procedure];
    struct nfs_count before = client->connection;

    nfs3_measure(client->api, client->rpc, &client->connection);
    count->sent_bytes += client->connection.sent_bytes - before.sent_bytes;
    count->received_bytes +=
        client->connection.received_bytes - before.received_bytes;
}

/* -- runs -------------------------------------------------------------------*/

struct nfs3_running {
    struct nfs3 *client;
    struct nfs3_running *next;
    pthread_cond_t changed; /* it has ended, or has to drive */
    struct nfs3_call *calls;
    size_t count;
    size_t done_count;
    size_t flight_count;
    int64_t resume_ms; /* send nothing before */
    struct nfs_patience patience;
    bool put_off, refused; /* some call was, since last looked at */
    bool is_lost;          /* while a connection is given up */
    int status;            /* not 0: failed, ends when nothing is in flight */
    bool ended;
};

static void add_run(struct nfs3 *client, struct nfs3_running *running)
{
    struct nfs3_running **end = &client->runs;
    uint64_t one = 1;

    while (*end != NULL)
        end = &(*end)->next;
    *end = running;
    if (client->is_waiting)
        (void)!write(client->wake_fd, &one, sizeof(one));
}

/* Take those out that have ended, and tell them. */
static void end_runs(struct nfs3 *client)
{
    struct nfs3_running **at = &client->runs;

    while (*at != NULL) {
        struct nfs3_running *running = *at;

        if (running->flight_count > 0 ||
            (running->status == 0 && running->done_count < running->count)) {
            at = &running->next;
            continue;
        }
        *at = running->next;
        running->ended = true;
        client->given_up =
            running->status == -ETIMEDOUT || running->status == -ECONNREFUSED;
        (void)pthread_cond_signal(&running->changed);
    }
}

/* Try again later, or never. */
static void pause_run(struct nfs3_running *running, int status)
{
    if (running->status == 0 &&
        !nfs_patience_next(&running->patience, &running->resume_ms))
        running->status = status;
}

/* -- calls ------------------------------------------------------------------*/

static void call_answered(struct rpc_context *rpc, int status, void *data,
                          void *user)
{
    struct nfs3_call *call = user;
    struct nfs3_running *running = call->running;
    struct nfs3 *client = running->client;
    uint32_t have;

    call->flying = false;
    running->flight_count--;
    client->flight_count--;
    if (status != RPC_STATUS_SUCCESS || data == NULL) {
        /* The connection is lost, as libnfs will say; if not, this call was
         * refused. */
        call->resent = true;
        running->refused = true;
        return;
    }
    client->answer_count++;
    client->answered_ms = nfs_now_ms();
    (void)rpc;
    count_bytes(client, call->procedure);
    memcpy(&have, data, sizeof(have)); /* each result begins with it */
    if (have == NFS3ERR_JUKEBOX) {
        running->put_off = true;
        return;
    }
    call->status = -nfs3_errno(have);
    if (have == NFS3_OK && call->answered != NULL &&
        !call->answered(call, data))
        call->status = -EBADMSG;
    call->done = true;
    running->done_count++;
    running->patience = nfs_patience_begin(client->options.patience_ms);
}

static int hand_over(struct nfs3 *client, struct nfs3_call *call)
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

static int send_call(struct nfs3 *client, struct nfs3_running *running,
                     struct nfs3_call *call)
{
    if (hand_over(client, call) != 0)
        return -ENOMEM;
    if (client->flight_count == 0)
        client->answered_ms = nfs_now_ms();
    call->flying = true;
    call->sent_ms = nfs_now_ms();
    call->sent_at_answer = client->answer_count;
    running->flight_count++;
    client->flight_count++;
    client->counts[call->procedure].round_trips++;
    client->counts[call->procedure].operations++;
    return 0;
}

/* As many as may fly, in the order in which they came. */
static void send_some(struct nfs3 *client, int64_t now_ms)
{
    for (struct nfs3_running *running = client->runs; running != NULL;
         running = running->next) {
        if (running->resume_ms > now_ms)
            continue;
        for (size_t i = 0; i < running->count && running->status == 0 &&
                           client->flight_count < NFS3_FLIGHT_COUNT_MAX;
             i++)
            if (!running->calls[i].done && !running->calls[i].flying)
                running->status =
                    send_call(client, running, &running->calls[i]);
    }
}

/* -- driving ----------------------------------------------------------------*/

static void disconnect(struct nfs3 *client)
{
    client->api->destroy_context(client->rpc); /* answers all with an error */
    client->rpc = NULL;
    client->connection = (struct nfs_count){ 0 };
}

/* Those in flight are sent again by the next connection. */
static void lose_connection(struct nfs3 *client)
{
    say_why(client, client->rpc, "no answer");
    for (struct nfs3_running *running = client->runs; running != NULL;
         running = running->next)
        running->is_lost = running->refused || running->flight_count > 0;
    disconnect(client);
    assert(client->flight_count == 0);
    for (struct nfs3_running *running = client->runs; running != NULL;
         running = running->next) {
        running->refused = false;
        if (running->is_lost)
            pause_run(running, -ETIMEDOUT);
    }
}

/* One that never was there is not waited for. */
static void connect_again(struct nfs3 *client)
{
    client->rpc = nfs3_connect(client, client->options.port);
    if (client->rpc != NULL) {
        client->was_connected = true;
        return;
    }
    for (struct nfs3_running *running = client->runs; running != NULL;
         running = running->next) {
        if (client->was_connected)
            pause_run(running, -ECONNREFUSED);
        else
            running->status = -ECONNREFUSED;
    }
}

/* What the answers that came in mean for their runs. */
static void look_at_runs(struct nfs3 *client)
{
    int64_t now_ms = nfs_now_ms();

    for (struct nfs3_running *running = client->runs; running != NULL;
         running = running->next) {
        if (running->refused && running->status == 0) {
            say_why(client, client->rpc, "refused");
            if (client->answer_count == 0)
                running->status = -EPROTO; /* it is no server for us */
            else
                pause_run(running, -EPROTO);
        }
        if (running->put_off && running->resume_ms <= now_ms) {
            pause_run(running, -ETIMEDOUT);
            if (running->status != 0)
                (void)ds_fail(&client->why, DS_ERR_SYSTEM,
                              "the server puts us off (JUKEBOX)");
        }
        running->refused = running->put_off = false;
    }
}

static bool is_overtaken(const struct nfs3 *client, int64_t now_ms)
{
    for (const struct nfs3_running *running = client->runs; running != NULL;
         running = running->next)
        for (size_t i = 0; i < running->count; i++) {
            const struct nfs3_call *call = &running->calls[i];

            if (call->flying &&
                now_ms - call->sent_ms >= client->options.timeout_ms &&
                client->answer_count - call->sent_at_answer >= OVERTAKEN_COUNT)
                return true;
        }
    return false;
}

static bool is_late(const struct nfs3 *client)
{
    int64_t now_ms = nfs_now_ms();

    return client->flight_count > 0 &&
           (now_ms - client->answered_ms >= client->options.timeout_ms ||
            is_overtaken(client, now_ms));
}

/* Something comes and comes and is no answer. */
static bool is_flooded(struct nfs3 *client, uint64_t answers_before)
{
    struct nfs_count now = { 0 };

    if (client->answer_count != answers_before)
        return false;
    nfs3_measure(client->api, client->rpc, &now);
    return now.received_bytes - client->connection.received_bytes >
           RECEIVED_BYTES_MAX;
}

/* When there is something to do, though nothing comes. */
static int64_t next_event_ms(const struct nfs3 *client, int64_t now_ms)
{
    int64_t next_ms = client->flight_count > 0 ? client->answered_ms : now_ms;

    next_ms += client->options.timeout_ms;
    for (const struct nfs3_running *running = client->runs; running != NULL;
         running = running->next)
        if (running->resume_ms > now_ms && running->resume_ms < next_ms)
            next_ms = running->resume_ms;
    return next_ms;
}

/* Wait for the network, a new run, or time. What the network has; 0: nothing,
 * below 0: it is lost. */
static int wait_for_events(struct nfs3 *client)
{
    struct pollfd pollers[2] = {
        { .fd = client->wake_fd, .events = POLLIN },
        { .fd = -1 },
    };
    int64_t now_ms = nfs_now_ms();
    int64_t left_ms = next_event_ms(client, now_ms) - now_ms;
    uint64_t count;
    int ready;

    if (client->rpc != NULL) {
        pollers[1].fd = client->api->get_fd(client->rpc);
        pollers[1].events = (short)client->api->which_events(client->rpc);
        if (pollers[1].fd < 0)
            return -1;
    }
    client->is_waiting = true;
    (void)pthread_mutex_unlock(&client->lock);
    ready = poll(pollers, 2, left_ms > 0 ? (int)left_ms : 0);
    (void)pthread_mutex_lock(&client->lock);
    client->is_waiting = false;
    if (ready <= 0)
        return 0;
    if (pollers[0].revents != 0)
        (void)!read(client->wake_fd, &count, sizeof(count));
    return pollers[1].revents;
}

static void receive(struct nfs3 *client)
{
    uint64_t before = client->answer_count;
    int events = wait_for_events(client);
    bool lost = events < 0;

    if (client->rpc == NULL)
        return;
    if (events > 0)
        lost = client->api->service(client->rpc, events) != 0 ||
               is_flooded(client, before);
    if (lost || is_late(client))
        lose_connection(client);
    else
        look_at_runs(client);
}

static bool is_due(const struct nfs3 *client, int64_t now_ms)
{
    for (const struct nfs3_running *running = client->runs; running != NULL;
         running = running->next)
        if (running->resume_ms <= now_ms)
            return true;
    return false;
}

static void drive(struct nfs3 *client)
{
    int64_t now_ms = nfs_now_ms();

    if (client->rpc == NULL && is_due(client, now_ms))
        connect_again(client);
    if (client->rpc != NULL)
        send_some(client, now_ms);
    end_runs(client);
    if (client->runs == NULL)
        return;
    receive(client);
    end_runs(client);
}

static void run_locked(struct nfs3 *client, struct nfs3_running *running)
{
    add_run(client, running);
    while (!running->ended) {
        if (client->is_driven) {
            (void)pthread_cond_wait(&running->changed, &client->lock);
            continue;
        }
        client->is_driven = true;
        while (!running->ended)
            drive(client);
        client->is_driven = false;
        if (client->runs != NULL)
            (void)pthread_cond_signal(&client->runs->changed);
    }
}

int nfs3_run(struct nfs3 *client, struct nfs3_call *calls, size_t count)
{
    struct nfs3_running running = {
        .client = client,
        .calls = calls,
        .count = count,
    };

    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        calls[i].done = calls[i].flying = calls[i].resent = false;
        calls[i].running = &running;
    }
    (void)pthread_cond_init(&running.changed, NULL);
    (void)pthread_mutex_lock(&client->lock);
    running.patience =
        nfs_patience_begin(client->given_up ? 0 : client->options.patience_ms);
    run_locked(client, &running);
    (void)pthread_mutex_unlock(&client->lock);
    (void)pthread_cond_destroy(&running.changed);
    return running.status;
}
