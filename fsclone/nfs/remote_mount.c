/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers and mounts, each made once and kept in a list until the process
 * ends: a conversion comes back to the same few many times.
 *
 * A server gives the handle of an export or of a directory below it, as it
 * likes. So the path's directory is tried, then the ones above, from where
 * LOOKUPs lead down.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "fail.h"
#include "remote.h"

#define EXIT_TIMEOUT_MS 1000

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
           a->patience_ms == b->patience_ms && a->slot_count == b->slot_count &&
           a->piece_count == b->piece_count && a->lane_count == b->lane_count;
}

static struct remote_server *find_server(const struct remote_url *url)
{
    for (struct remote_server *server = servers; server != NULL;
         server = server->next)
        if (strcmp(server->host, url->host) == 0 &&
            (!url->has_settings ||
             same_settings(&server->settings, &url->settings)))
            return server;
    return NULL;
}

static uint16_t port_of(const struct remote_settings *settings)
{
    return settings->port != 0 ? settings->port
                               : (uint16_t)REMOTE_PORT_STANDARD;
}

static int make_server(const struct remote_url *url, struct remote_server **out,
                       struct ds_error *err)
{
    struct remote_server *server = calloc(1, sizeof(*server));
    struct nfs3_options options = {
        .host = url->host,
        .port = port_of(&url->settings),
        .mount_port = url->settings.mount_port,
        .user = url->settings.user,
        .timeout_ms = url->settings.timeout_ms,
        .patience_ms = url->settings.patience_ms,
    };
    int result;

    if (server == NULL)
        return ds_fail_memory(err);
    server->host = strdup(url->host);
    result = server->host != NULL ? nfs3_open(&options, &server->nfs3, err)
                                  : ds_fail_memory(err);
    if (result != 0) {
        free(server->host);
        free(server);
        return result;
    }
    server->settings = url->settings;
    (void)pthread_mutex_init(&server->lock, NULL);
    (void)pthread_mutex_init(&server->window_lock, NULL);
    (void)pthread_cond_init(&server->window_filled, NULL);
    server->next = servers;
    servers = server;
    *out = server;
    return 0;
}

static void open_session(struct remote_server *server)
{
    const struct remote_settings *settings = &server->settings;
    struct nfs42_options options = {
        .host = server->host,
        .port = port_of(settings),
        .user = settings->user,
        .timeout_ms = settings->timeout_ms,
        .patience_ms = settings->patience_ms,
        .slot_count_max = settings->slot_count,
        .piece_count_max = settings->piece_count,
        .counts = server->counts42,
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

/* -- mounts -----------------------------------------------------------------*/

/* EBADMSG, EPROTO, ETIMEDOUT and ECONNREFUSED are the client's own words. */
int remote_fail(struct remote_server *server, int status, const char *path,
                const char *what, struct ds_error *err)
{
    struct ds_error why = DS_ERROR_INIT;

    if (status == -ETIMEDOUT || status == -ECONNREFUSED || status == -EPROTO) {
        (void)pthread_mutex_lock(&server->nfs3->lock);
        why = server->nfs3->why;
        (void)pthread_mutex_unlock(&server->nfs3->lock);
        return ds_fail_errno(err, -status, path, "nfs: %s (%.200s)", what,
                             why.message);
    }
    return ds_fail_errno(err, -status, path, "nfs: %s", what);
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

/* From the mount's handle down to `inner`, which begins with a slash. */
static int go_down(struct remote_mount *mount, const char *inner)
{
    int status = 0;

    while (status == 0) {
        struct nfs3_handle above = mount->handle;
        struct nfs3_facts facts;
        ds_autofree char *name = NULL;
        size_t length;

        inner += strspn(inner, "/");
        length = strcspn(inner, "/");
        if (length == 0)
            return 0;
        name = strndup(inner, length);
        if (name == NULL)
            return -ENOMEM;
        status = nfs3_lookup(mount->server->nfs3, &above, name, &mount->handle,
                             &facts);
        if (status == 0 && !S_ISDIR((mode_t)facts.mode))
            status = -ENOTDIR;
        inner += length;
    }
    return status;
}

static bool is_elsewhere(int status)
{
    return status == -EACCES || status == -ENOENT || status == -EPERM ||
           status == -ENOTDIR || status == -EINVAL;
}

static int mount_export(struct remote_mount *mount, struct ds_error *err)
{
    struct remote_server *server = mount->server;
    ds_autofree char *directory = strdup(mount->directory);
    ds_autofree char *inner = strdup("");
    int status, first = 0;

    if (directory == NULL || inner == NULL)
        return ds_fail_memory(err);
    for (;;) {
        status = nfs3_mount(server->nfs3, directory, &mount->handle);
        if (first == 0)
            first = status;
        if (!is_elsewhere(status) || !go_up(directory, &inner))
            break;
    }
    if (status != 0)
        return remote_fail(server, first, mount->directory, "cannot mount",
                           err);
    status = go_down(mount, inner);
    if (status == 0)
        status = nfs3_ask_limits(server->nfs3, &mount->handle);
    return status == 0 ? 0
                       : remote_fail(server, status, mount->directory,
                                     "cannot use the directory", err);
}

static void free_mount(struct remote_mount *mount)
{
    (void)pthread_mutex_destroy(&mount->lock);
    free(mount->directory);
    free(mount);
}

static int make_mount(struct remote_server *server,
                      const struct remote_url *url, struct remote_mount **out,
                      struct ds_error *err)
{
    struct remote_mount *mount = calloc(1, sizeof(*mount));
    int result;

    if (mount == NULL)
        return ds_fail_memory(err);
    mount->server = server;
    (void)pthread_mutex_init(&mount->lock, NULL);
    mount->directory = strdup(url->directory);
    result = mount->directory != NULL ? mount_export(mount, err)
                                      : ds_fail_memory(err);
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
    struct remote_server *server = find_server(url);
    int result = server != NULL ? 0 : make_server(url, &server, err);

    if (result != 0)
        return result;
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

const struct remote_server *remote_servers(void)
{
    return servers;
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
        nfs3_close(server->nfs3);
        (void)pthread_mutex_destroy(&server->lock);
        (void)pthread_mutex_destroy(&server->window_lock);
        (void)pthread_cond_destroy(&server->window_filled);
        for (size_t i = 0; i < REMOTE_WINDOW_COUNT; i++)
            free(server->windows[i].bytes);
        free(server->host);
        free(server);
    }
}
