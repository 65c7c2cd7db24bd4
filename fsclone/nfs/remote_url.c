/* SPDX-License-Identifier: Apache-2.0 */
/* nfs://host[:port]/directory/name[?key=value&...], in libnfs's spelling as
 * far as its options concern us. Nothing is decoded: names stand as they are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"
#include "remote.h"

#define TIMEOUT_MS 30000
#define PATIENCE_MS 120000

static int bad(const char *path, const char *what, struct ds_error *err)
{
    return ds_fail(err, DS_ERR_ARG,
                   "nfs: path: %s, have %.300s expect "
                   "nfs://host[:port]/directory/name[?key=value&...]",
                   what, path);
}

static bool to_number(const char *text, size_t length, uint64_t most,
                      uint64_t *out)
{
    uint64_t value = 0;

    if (length == 0 || length > 10)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *out = value;
    return value <= most;
}

/* -- options ----------------------------------------------------------------*/

enum key {
    KEY_NFSPORT,
    KEY_MOUNTPORT,
    KEY_UID,
    KEY_GID,
    KEY_VERSION,
    KEY_NFS42,
    KEY_TIMEOUT,
    KEY_PATIENCE,
    KEY_SLOTS,
    KEY_PIECES,
    KEY_LANES
};

static const struct {
    const char *name;
    uint64_t most;
} keys[] = {
    [KEY_NFSPORT] = { "nfsport", UINT16_MAX },
    [KEY_MOUNTPORT] = { "mountport", UINT16_MAX },
    [KEY_UID] = { "uid", INT32_MAX },
    [KEY_GID] = { "gid", INT32_MAX },
    [KEY_VERSION] = { "version", 3 },
    [KEY_NFS42] = { "nfs42", 1 },
    [KEY_TIMEOUT] = { "timeout", 3600 },
    [KEY_PATIENCE] = { "patience", 86400 },
    [KEY_SLOTS] = { "slots", NFS42_SLOT_COUNT_MAX },
    [KEY_PIECES] = { "pieces", 1024 },
    [KEY_LANES] = { "lanes", NFS42_SLOT_COUNT_MAX },
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

static bool set(struct remote_settings *settings, enum key key, uint64_t value)
{
    switch (key) {
    case KEY_NFSPORT:
        settings->port = (uint16_t)value;
        return true;
    case KEY_MOUNTPORT:
        settings->mount_port = (uint16_t)value;
        return true;
    case KEY_UID:
        settings->user.uid = (uint32_t)value;
        return true;
    case KEY_GID:
        settings->user.gid = (uint32_t)value;
        return true;
    case KEY_VERSION: /* what Debian's libnfs can do well */
        return value == 3;
    case KEY_NFS42:
        settings->no_nfs42 = value == 0;
        return true;
    case KEY_TIMEOUT:
        settings->timeout_ms = (int)value * 1000;
        return value > 0;
    case KEY_PATIENCE:
        settings->patience_ms = (int)value * 1000;
        return value > 0;
    case KEY_SLOTS:
        settings->slot_count = (uint32_t)value;
        return value > 0;
    case KEY_PIECES:
        settings->piece_count = (uint32_t)value;
        return value > 0;
    case KEY_LANES:
        settings->lane_count = (uint32_t)value;
        return value > 0;
    }
    return false;
}

static bool parse_option(const char *option, size_t length,
                         struct remote_settings *settings)
{
    const char *equals = memchr(option, '=', length);
    size_t name_length;
    uint64_t value;

    if (equals == NULL)
        return false;
    name_length = (size_t)(equals - option);
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strlen(keys[i].name) == name_length &&
            memcmp(keys[i].name, option, name_length) == 0)
            return to_number(equals + 1, length - name_length - 1, keys[i].most,
                             &value) &&
                   set(settings, (enum key)i, value);
    return false;
}

static int parse_options(const char *path, const char *options,
                         struct remote_settings *settings, struct ds_error *err)
{
    while (*options != '\0') {
        size_t length = strcspn(options, "&");

        if (!parse_option(options, length, settings))
            return ds_fail(err, DS_ERR_ARG,
                           "nfs: path: option, have %.*s in %.200s expect "
                           "nfsport, mountport, uid, gid, version=3, "
                           "nfs42=0|1, timeout or patience (seconds), slots, "
                           "pieces or lanes",
                           (int)length, options, path);
        options += length;
        options += *options == '&';
    }
    return 0;
}

/* -- the rest ---------------------------------------------------------------*/

/* host, host:port, [address], [address]:port */
static bool parse_host(const char *text, size_t length, struct remote_url *out)
{
    const char *end = text + length, *host = text, *host_end, *colon;
    uint64_t port;

    if (length > 0 && *text == '[') {
        host++;
        host_end = memchr(text, ']', length);
        if (host_end == NULL)
            return false;
        colon = host_end + 1;
    } else {
        colon = memchr(text, ':', length);
        host_end = colon != NULL ? colon : end;
        colon = host_end;
    }
    if (host_end == host)
        return false;
    if (colon != end) {
        if (*colon != ':' ||
            !to_number(colon + 1, (size_t)(end - colon - 1), UINT16_MAX, &port))
            return false;
        out->settings.port = (uint16_t)port;
        out->has_settings = true;
    }
    out->host = strndup(host, (size_t)(host_end - host));
    return true;
}

/* Neither may lead elsewhere than it says: the two ways to a file must agree.
 */
static bool has_dots(const char *path)
{
    while (*path != '\0') {
        size_t length;

        path += strspn(path, "/");
        length = strcspn(path, "/");
        if ((length == 1 && path[0] == '.') ||
            (length == 2 && path[0] == '.' && path[1] == '.'))
            return true;
        path += length;
    }
    return false;
}

static int split(const char *path, struct remote_url *out, struct ds_error *err)
{
    const char *host = path + strlen(REMOTE_SCHEME);
    const char *options = strchrnul(path, '?');
    const char *root, *slash;

    if (strncmp(path, REMOTE_SCHEME, strlen(REMOTE_SCHEME)) != 0)
        return bad(path, "is no nfs:// path", err);
    root = host + strcspn(host, "/?");
    if (*root != '/')
        return bad(path, "no directory", err);
    if (!parse_host(host, (size_t)(root - host), out))
        return bad(path, "host or port", err);
    slash = memrchr(root, '/', (size_t)(options - root));
    out->directory =
        slash == root ? strdup("/") : strndup(root, (size_t)(slash - root));
    out->name = strndup(slash + 1, (size_t)(options - slash - 1));
    out->plain = strndup(path, (size_t)(options - path));
    if (out->host == NULL || out->directory == NULL || out->name == NULL ||
        out->plain == NULL)
        return ds_fail_memory(err);
    if (has_dots(out->directory) || has_dots(out->name))
        return bad(path, "\".\" and \"..\" are not followed", err);
    if (*options == '\0')
        return 0;
    out->has_settings = true;
    return parse_options(path, options + 1, &out->settings, err);
}

int remote_url_parse(const char *path, struct remote_url *out,
                     struct ds_error *err)
{
    int result;

    *out = (struct remote_url){
        .settings = { .user = { .uid = getuid(), .gid = getgid() },
                      .timeout_ms = TIMEOUT_MS,
                      .patience_ms = PATIENCE_MS },
    };
    result = split(path, out, err);
    if (result != 0)
        remote_url_free(out);
    return result;
}

void remote_url_free(struct remote_url *url)
{
    free(url->host);
    free(url->directory);
    free(url->name);
    free(url->plain);
    *url = (struct remote_url){ 0 };
}
