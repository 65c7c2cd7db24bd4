/* SPDX-License-Identifier: Apache-2.0 */
/* Options are checked, and the files that they name are read, before anything
 * is sent: whoever confines itself afterwards need not admit them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "fail.h"
#include "ontap.h"

#define CREDENTIALS_BYTES_MAX ((size_t)4096)
#define AUTHORITIES_BYTES_MAX ((size_t)4 << 20)

static void close_fd(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

/* All of the file at `fd`, with a NUL behind it. */
static int read_all(int fd, const char *path, size_t bytes_max, char **out,
                    size_t *out_bytes, struct ds_error *err)
{
    char *bytes = malloc(bytes_max + 2); /* one more tells of a longer file */
    size_t length = 0;
    ssize_t got = 1;

    if (bytes == NULL)
        return ds_fail_memory(err);
    while (length <= bytes_max && got > 0) {
        got = read(fd, bytes + length, bytes_max + 1 - length);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            length += (size_t)got;
    }
    if (got >= 0 && length <= bytes_max) {
        bytes[length] = '\0';
        *out = bytes;
        *out_bytes = length;
        return 0;
    }
    explicit_bzero(bytes, bytes_max + 2);
    free(bytes);
    return got < 0 ? ds_fail_errno(err, errno, path, "ontap: cannot read")
                   : ds_fail(err, DS_ERR_LIMIT,
                             "ontap: %.300s: expect at most %zu bytes", path,
                             bytes_max);
}

/* -- credentials ------------------------------------------------------------*/

static int check_private(int fd, const char *path, struct ds_error *err)
{
    struct stat facts;

    if (fstat(fd, &facts) != 0)
        return ds_fail_errno(err, errno, path, "ontap: cannot stat");
    if (!S_ISREG(facts.st_mode))
        return ds_fail(err, DS_ERR_REFUSED,
                       "ontap: credentials: %.300s: expect a regular file",
                       path);
    if (facts.st_uid != geteuid() && facts.st_uid != 0)
        return ds_fail(err, DS_ERR_REFUSED,
                       "ontap: credentials: %.300s: have owner %u expect %u",
                       path, facts.st_uid, geteuid());
    if ((facts.st_mode & 077) != 0)
        return ds_fail(err, DS_ERR_REFUSED,
                       "ontap: credentials: %.300s: others may use it, have "
                       "mode %04o expect 0600 or 0400",
                       path, facts.st_mode & 07777u);
    return 0;
}

/* USER:PASSWORD and perhaps a newline. What is wrong is said without them. */
static int split_credentials(struct ontap *ontap, char *text, size_t bytes,
                             struct ds_error *err)
{
    char *colon;

    if (bytes > 0 && text[bytes - 1] == '\n')
        text[--bytes] = '\0';
    if (bytes > 0 && text[bytes - 1] == '\r')
        text[--bytes] = '\0';
    colon = strchr(text, ':');
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            colon = NULL;
    if (colon == NULL || colon == text || colon[1] == '\0')
        return ds_fail(err, DS_ERR_ARG,
                       "ontap: credentials: %.300s: expect one line, "
                       "USER:PASSWORD",
                       ontap->credentials_file);
    *colon = '\0';
    ontap->user = strdup(text);
    ontap->password = strdup(colon + 1);
    return ontap->user != NULL && ontap->password != NULL ? 0
                                                          : ds_fail_memory(err);
}

static int read_credentials(struct ontap *ontap, struct ds_error *err)
{
    const char *path = ontap->credentials_file;
    ds_auto(close_fd) int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char *text = NULL;
    size_t bytes = 0;
    int result;

    if (fd < 0)
        return ds_fail_errno(err, errno, path,
                             "ontap: credentials: cannot open");
    result = check_private(fd, path, err);
    if (result == 0)
        result = read_all(fd, path, CREDENTIALS_BYTES_MAX, &text, &bytes, err);
    if (result == 0)
        result = split_credentials(ontap, text, bytes, err);
    if (text != NULL)
        explicit_bzero(text, bytes);
    free(text);
    return result;
}

/* -- the others -------------------------------------------------------------*/

static int read_authorities(struct ontap *ontap, const char *path,
                            struct ds_error *err)
{
    if (path == NULL)
        path = ontap->api->curl_version_info(CURLVERSION_NOW)->cainfo;
    if (path == NULL)
        return ds_fail(err, DS_ERR_ARG,
                       "ontap: this system names no authorities for "
                       "certificates, expect --ontap-cacert");
    ds_auto(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return ds_fail_errno(err, errno, path,
                             "ontap: authorities: cannot open");
    return read_all(fd, path, AUTHORITIES_BYTES_MAX, &ontap->authorities,
                    &ontap->authorities_bytes, err);
}

/* Not quoted when it is wrong: somebody may have put a password into it. */
static int take_url(struct ontap *ontap, const char *url, struct ds_error *err)
{
    static const char scheme[] = "https://";
    const char *host = url + sizeof(scheme) - 1;
    size_t length;

    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
        return ds_fail(err, DS_ERR_ARG,
                       "ontap: url: expect https://HOST[:PORT]");
    length = strcspn(host, "/@?#\\ \t\r\n");
    if (length == 0 ||
        (host[length] != '\0' && strcmp(host + length, "/") != 0))
        return ds_fail(err, DS_ERR_ARG,
                       "ontap: url: expect https://HOST[:PORT] and nothing "
                       "else; the user belongs into the credentials file");
    ontap->url = strndup(url, sizeof(scheme) - 1 + length);
    return ontap->url != NULL ? 0 : ds_fail_memory(err);
}

static bool is_name(const char *text, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

    return length > 0 && length <= 255 && strspn(text, letters) >= length;
}

/* VOLUME or SVM:VOLUME. What means something in a query is not let through. */
static int take_volume(struct ontap *ontap, const char *text,
                       struct ds_error *err)
{
    const char *colon = strchr(text, ':');
    const char *volume = colon != NULL ? colon + 1 : text;

    if (!is_name(volume, strlen(volume)) ||
        (colon != NULL && !is_name(text, (size_t)(colon - text))))
        return ds_fail(err, DS_ERR_ARG,
                       "ontap: volume: have %.300s expect VOLUME or "
                       "SVM:VOLUME",
                       text);
    ontap->volume = strdup(volume);
    if (colon != NULL)
        ontap->svm = strndup(text, (size_t)(colon - text));
    return ontap->volume != NULL && (colon == NULL || ontap->svm != NULL)
               ? 0
               : ds_fail_memory(err);
}

static int take_options(struct ontap *ontap,
                        const struct ds_clone_via_options *options,
                        struct ds_error *err)
{
    int result;

    if (options->url == NULL || options->volume == NULL ||
        options->credentials_file == NULL)
        return ds_fail(err, DS_ERR_ARG,
                       "ontap: expect a URL, a volume and a credentials file");
    ontap->credentials_file = strdup(options->credentials_file);
    if (ontap->credentials_file == NULL)
        return ds_fail_memory(err);
    result = take_url(ontap, options->url, err);
    if (result == 0)
        result = take_volume(ontap, options->volume, err);
    if (result == 0)
        result = read_credentials(ontap, err);
    if (result == 0)
        result = ontap_api(&ontap->api, err);
    return result == 0 ? read_authorities(ontap, options->cacert_file, err)
                       : result;
}

static void free_secret(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void ontap_close(struct ds_clone_via *via)
{
    struct ontap *ontap = ontap_of(via);

    if (ontap->curl != NULL)
        ontap->api->curl_easy_cleanup(ontap->curl);
    (void)pthread_mutex_destroy(&ontap->lock);
    free_secret(ontap->user);
    free_secret(ontap->password);
    free(ontap->url);
    free(ontap->svm);
    free(ontap->volume);
    free(ontap->credentials_file);
    free(ontap->authorities);
    free(ontap->uuid);
    free(ontap->junction);
    free(ontap);
}

int ontap_open(const struct ds_clone_via_options *options,
               struct ds_clone_via **out, struct ds_error *err)
{
    struct ontap *ontap = calloc(1, sizeof(*ontap));
    int result;

    if (ontap == NULL)
        return ds_fail_memory(err);
    (void)pthread_mutex_init(&ontap->lock, NULL);
    result = take_options(ontap, options, err);
    if (result != 0) {
        ontap_close(&ontap->base);
        return result;
    }
    ontap->base.ops = &ontap_clone_via_ops;
    *out = &ontap->base;
    return 0;
}
