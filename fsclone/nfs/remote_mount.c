/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers and mounts, each made once and kept in a list until the process
 * ends: a conversion comes back to the same few many times.
 *
 * libnfs mounts an export or a directory below it, as the server allows. So
 * the path's directory is tried, then the ones above.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "fail.h"
#include "remote.h"

#define RECONNECT_COUNT 5
#define EXIT_TIMEOUT_MS 1000
#define PAUSE_NS 200000000L

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct remote_server *servers;
static struct remote_mount *mounts;

/* -- servers ----------------------------------------------------------------*/

static bool same_settings(const struct remote_settings *a,
                          const struct remote_settings *b)
{
    return a->port == b->port && a->mount_port == b->mount_port &&
           a->user.uid == b->user.uid && a->user.gid == b->user.gid &&
           a->no_nfs42 == b->no_nfs42 && a->timeout_ms == b->timeout_ms &&
           a->patience_ms == b->patience_ms;
}

static struct remote_server *server_of(const struct remote_url *url)
{
    struct remote_server *server;

    for (server = servers; server != NULL; server = server->next) {
        if (strcmp(server->host, url->host) == 0 &&
            (!url->has_settings ||
             same_settings(&server->settings, &url->settings)))
            return server;
    }
    server = calloc(1, sizeof(*server));
    if (server == NULL)
        return NULL;
    server->host = strdup(url->host);
    if (server->host == NULL) {
        free(server);
        return NULL;
    }
    server->settings = url->settings;
    (void)pthread_mutex_init(&server->lock, NULL);
    server->next = servers;
    servers = server;
    return server;
}

static void open_session(struct remote_server *server)
{
    const struct remote_settings *settings = &server->settings;
    struct nfs42_options options = {
        .host = server->host,
        .port = settings->port != 0 ? settings->port
                                    : (uint16_t)REMOTE_PORT_STANDARD,
        .user = settings->user,
        .timeout_ms = settings->timeout_ms,
        .patience_ms = settings->patience_ms,
    };

    server->session_tried = true;
    if (settings->no_nfs42)
        (void)ds_fail(&server->why_not, DS_ERR_UNSUPPORTED,
                      "nfs: NFSv4.2 is switched off by nfs42=0");
    else
        (void)nfs42_open(&options, &server->session, &server->why_not);
}

struct nfs42 *remote_session(struct remote_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    if (!server->session_tried)
        open_session(server);
    if (server->session == NULL)
        (void)pthread_mutex_unlock(&server->lock);
    return server->session;
}

void remote_session_done(struct remote_server *server)
{
    (void)pthread_mutex_unlock(&server->lock);
}

/* -- libnfs -----------------------------------------------------------------*/

void remote_lock(struct remote_mount *mount)
{
    (void)pthread_mutex_lock(&mount->lock);
}

void remote_unlock(struct remote_mount *mount)
{
    (void)pthread_mutex_unlock(&mount->lock);
}

int remote_fail(struct remote_mount *mount, int status, const char *path,
                const char *what, struct ds_error *err)
{
    const char *said = mount->api->nfs_get_error(mount->context);

    return ds_fail_errno(err, status < 0 ? -status : EIO, path,
                         "nfs: %s (%.200s)", what,
                         said != NULL ? said : "no word from libnfs");
}

/* -- mounts -----------------------------------------------------------------*/

static void free_mount(struct remote_mount *mount)
{
    if (mount->context != NULL)
        mount->api->nfs_destroy_context(mount->context);
    (void)pthread_mutex_destroy(&mount->lock);
    free(mount->directory);
    free(mount->inner);
    free(mount->mounted);
    free(mount);
}

/* Ports and user can be set by a path only, in this version of libnfs. */
static int configure(struct remote_mount *mount, struct ds_error *err)
{
    const struct remote_settings *settings = &mount->server->settings;
    const struct remote_api *nfs = mount->api;
    ds_autofree char *text = NULL;
    struct nfs_url *url;
    int length = asprintf(
        &text, "nfs://%s/?version=3&auto-traverse-mounts=0&uid=%u&gid=%u",
        mount->server->host, settings->user.uid, settings->user.gid);

    if (length < 0) {
        text = NULL;
        return ds_fail_memory(err);
    }
    for (int i = 0; i < 2; i++) {
        unsigned port = i == 0 ? settings->port : settings->mount_port;
        char *longer = NULL;

        if (port == 0)
            continue;
        if (asprintf(&longer, "%s&%s=%u", text,
                     i == 0 ? "nfsport" : "mountport", port) < 0)
            return ds_fail_memory(err);
        free(text);
        text = longer;
    }
    mount->context = nfs->nfs_init_context();
    if (mount->context == NULL)
        return ds_fail_memory(err);
    url = nfs->nfs_parse_url_dir(mount->context, text);
    if (url == NULL)
        return remote_fail(mount, -EINVAL, NULL, "cannot use the path", err);
    nfs->nfs_destroy_url(url);
    nfs->nfs_set_dircache(mount->context, 0);
    nfs->nfs_set_autoreconnect(mount->context, RECONNECT_COUNT);
    nfs->nfs_set_timeout(mount->context, settings->timeout_ms);
    return 0;
}

/* Take the last component of `directory` away and put it before `inner`. */
static bool go_up(char *directory, char **inner)
{
    char *slash = strrchr(directory, '/');
    char *longer = NULL;

    if (strcmp(directory, "/") == 0)
        return false;
    if (asprintf(&longer, "%s%s", slash, *inner) < 0)
        return false;
    free(*inner);
    *inner = longer;
    slash[slash == directory] = '\0';
    return true;
}

static bool is_elsewhere(int status)
{
    return status == -EACCES || status == -ENOENT || status == -EPERM ||
           status == -ENOTDIR || status == -EINVAL;
}

static int mount_export(struct remote_mount *mount, struct ds_error *err)
{
    ds_autofree char *directory = strdup(mount->directory);
    int status, result = 0;
    bool first = true;

    if (directory == NULL)
        return ds_fail_memory(err);
    for (;;) {
        status = mount->api->nfs_mount(mount->context, mount->server->host,
                                       directory);
        if (status == 0) {
            mount->mounted = ds_steal(&directory);
            return 0;
        }
        if (first)
            result = remote_fail(mount, status, mount->directory,
                                 "cannot mount", err);
        first = false;
        if (!is_elsewhere(status) || !go_up(directory, &mount->inner))
            return result;
        /* A context that failed once is not used again. */
        mount->api->nfs_destroy_context(mount->context);
        mount->context = NULL;
        result = configure(mount, err);
        if (result != 0)
            return result;
        result = -DS_ERR_SYSTEM;
    }
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* EFAULT is libnfs's word for a call whose connection was lost. */
static bool is_connection(int status)
{
    return status == -EIO || status == -EFAULT || status == -ETIMEDOUT ||
           status == -ECONNRESET || status == -EPIPE ||
           status == -ECONNREFUSED || status == -EINTR || status == -ENOTCONN;
}

static bool is_alive(struct remote_mount *mount)
{
    struct nfs_stat_64 facts;

    return mount->api->nfs_lstat64(mount->context, "/", &facts) == 0;
}

/* A new context in place of a dead one. File handles do not belong to any. */
static bool mount_again(struct remote_mount *mount)
{
    struct nfs_context *dead = mount->context;

    mount->context = NULL;
    if (configure(mount, NULL) == 0 &&
        mount->api->nfs_mount(mount->context, mount->server->host,
                              mount->mounted) == 0) {
        mount->api->nfs_destroy_context(dead);
        return true;
    }
    if (mount->context != NULL)
        mount->api->nfs_destroy_context(mount->context);
    mount->context = dead;
    return false;
}

bool remote_again(struct remote_mount *mount, int status, int64_t *begun_ms)
{
    const struct timespec pause = { .tv_nsec = PAUSE_NS };
    bool first = *begun_ms == 0;

    if (!is_connection(status) || mount->given_up)
        return false;
    if (first)
        *begun_ms = now_ms();
    if (is_alive(mount)) /* it may have come back already; but only once */
        return first;
    while (now_ms() - *begun_ms < mount->server->settings.patience_ms) {
        if (mount_again(mount))
            return true;
        (void)nanosleep(&pause, NULL);
    }
    mount->given_up = true;
    return false;
}

static int make_mount(struct remote_server *server,
                      const struct remote_url *url, struct remote_mount **out,
                      struct ds_error *err)
{
    const struct remote_api *nfs = NULL;
    struct remote_mount *mount;
    int result = remote_api(&nfs, err);

    if (result != 0)
        return result;
    mount = calloc(1, sizeof(*mount));
    if (mount == NULL)
        return ds_fail_memory(err);
    mount->api = nfs;
    mount->server = server;
    (void)pthread_mutex_init(&mount->lock, NULL);
    mount->directory = strdup(url->directory);
    mount->inner = strdup("");
    result = mount->directory != NULL && mount->inner != NULL
                 ? configure(mount, err)
                 : ds_fail_memory(err);
    if (result == 0) {
        remote_lock(mount);
        result = mount_export(mount, err);
        remote_unlock(mount);
    }
    if (result != 0) {
        free_mount(mount);
        return result;
    }
    *out = mount;
    return 0;
}

static int get_locked(const struct remote_url *url, struct remote_mount **out,
                      struct ds_error *err)
{
    struct remote_server *server = server_of(url);
    int result;

    if (server == NULL)
        return ds_fail_memory(err);
    for (struct remote_mount *mount = mounts; mount != NULL;
         mount = mount->next)
        if (mount->server == server &&
            strcmp(mount->directory, url->directory) == 0) {
            *out = mount;
            return 0;
        }
    result = make_mount(server, url, out, err);
    if (result == 0) {
        (*out)->next = mounts;
        mounts = *out;
    }
    return result;
}

int remote_mount_get(const struct remote_url *url, struct remote_mount **out,
                     struct ds_error *err)
{
    int result;

    (void)pthread_mutex_lock(&list_lock);
    result = get_locked(url, out, err);
    (void)pthread_mutex_unlock(&list_lock);
    return result;
}

/* The server is told, if it listens; its lease would end the session too. */
static __attribute__((destructor)) void forget_all(void)
{
    while (mounts != NULL) {
        struct remote_mount *mount = mounts;

        mounts = mount->next;
        free_mount(mount);
    }
    while (servers != NULL) {
        struct remote_server *server = servers;

        servers = server->next;
        if (server->session != NULL)
            server->session->rpc.timeout_ms = EXIT_TIMEOUT_MS;
        nfs42_close(server->session);
        (void)pthread_mutex_destroy(&server->lock);
        free(server->host);
        free(server);
    }
}
