/* SPDX-License-Identifier: Apache-2.0 */
/* One request at a time, over one connection that is kept. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fail.h"
#include "ontap.h"

#define REPLY_BYTES_MAX ((size_t)1 << 20)
#define CONNECT_SECONDS 30L
#define REPLY_SECONDS                                                          \
    180L /* the array may wait for a job before it answers                     \
          */
#define WORDS_BYTES 256

struct buffer {
    char *bytes;
    size_t length;
};

static size_t receive(char *bytes, size_t size, size_t count, void *user)
{
    struct buffer *buffer = user;
    size_t length = size * count;
    char *more;

    if (length > REPLY_BYTES_MAX - buffer->length)
        return 0; /* libcurl makes an error of it */
    more = realloc(buffer->bytes, buffer->length + length + 1);
    if (more == NULL)
        return 0;
    memcpy(more + buffer->length, bytes, length);
    buffer->bytes = more;
    buffer->length += length;
    return length;
}

/* -- setting up -------------------------------------------------------------*/

/* Whether libcurl takes all of it; what it does not know it must not leave
 * out. */
static bool set_security(const struct ontap *ontap)
{
    __typeof__(curl_easy_setopt) *set = ontap->api->curl_easy_setopt;
    struct curl_blob authorities = { .data = ontap->authorities,
                                     .len = ontap->authorities_bytes,
                                     .flags = CURL_BLOB_NOCOPY };

    return set(ontap->curl, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
           set(ontap->curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           set(ontap->curl, CURLOPT_SSLVERSION,
               (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           set(ontap->curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           set(ontap->curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           set(ontap->curl, CURLOPT_CAPATH, NULL) == CURLE_OK &&
           set(ontap->curl, CURLOPT_CAINFO, NULL) == CURLE_OK &&
           set(ontap->curl, CURLOPT_CAINFO_BLOB, &authorities) == CURLE_OK &&
           set(ontap->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC) ==
               CURLE_OK &&
           set(ontap->curl, CURLOPT_USERNAME, ontap->user) == CURLE_OK &&
           set(ontap->curl, CURLOPT_PASSWORD, ontap->password) == CURLE_OK;
}

static int connect_lazily(struct ontap *ontap, struct ds_error *err)
{
    const struct ontap_api *api = ontap->api;

    if (ontap->curl != NULL)
        return 0;
    ontap->curl = api->curl_easy_init();
    if (ontap->curl == NULL)
        return ds_fail_memory(err);
    if (!set_security(ontap)) {
        api->curl_easy_cleanup(ontap->curl);
        ontap->curl = NULL;
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "ontap: this libcurl cannot be told whom to believe");
    }
    /* Management lies in the same network; proxies of users' environments
     * would see who is asked for what. */
    (void)api->curl_easy_setopt(ontap->curl, CURLOPT_PROXY, "");
    (void)api->curl_easy_setopt(ontap->curl, CURLOPT_NOSIGNAL, 1L);
    (void)api->curl_easy_setopt(ontap->curl, CURLOPT_CONNECTTIMEOUT,
                                CONNECT_SECONDS);
    (void)api->curl_easy_setopt(ontap->curl, CURLOPT_TIMEOUT, REPLY_SECONDS);
    (void)api->curl_easy_setopt(ontap->curl, CURLOPT_WRITEFUNCTION, receive);
    return 0;
}

/* -- a request --------------------------------------------------------------*/

static bool is_disbelief(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION ||
           code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_ISSUER_ERROR ||
           code == CURLE_SSL_CERTPROBLEM;
}

static int fail_transfer(const struct ontap *ontap, CURLcode code,
                         const char *said, struct ds_error *err)
{
    if (*said == '\0')
        said = ontap->api->curl_easy_strerror(code);
    if (is_disbelief(code))
        return ds_fail(err, DS_ERR_REFUSED,
                       "ontap: %.100s: its certificate is not to be believed: "
                       "%.200s",
                       ontap->url, said);
    return ds_fail(err, DS_ERR_SYSTEM, "ontap: %.100s: no answer: %.200s",
                   ontap->url, said);
}

static int transfer(struct ontap *ontap, const char *url, const char *body,
                    struct curl_slist *headers, struct buffer *buffer,
                    long *status, struct ds_error *err)
{
    const struct ontap_api *api = ontap->api;
    char said[CURL_ERROR_SIZE] = "";
    CURLcode code;

    (void)api->curl_easy_setopt(ontap->curl, CURLOPT_URL, url);
    (void)api->curl_easy_setopt(ontap->curl, CURLOPT_HTTPHEADER, headers);
    (void)api->curl_easy_setopt(ontap->curl, CURLOPT_WRITEDATA, buffer);
    (void)api->curl_easy_setopt(ontap->curl, CURLOPT_ERRORBUFFER, said);
    if (body != NULL) {
        (void)api->curl_easy_setopt(ontap->curl, CURLOPT_POST, 1L);
        (void)api->curl_easy_setopt(ontap->curl, CURLOPT_POSTFIELDSIZE, -1L);
        (void)api->curl_easy_setopt(ontap->curl, CURLOPT_POSTFIELDS, body);
    } else {
        (void)api->curl_easy_setopt(ontap->curl, CURLOPT_HTTPGET, 1L);
    }
    code = api->curl_easy_perform(ontap->curl);
    (void)api->curl_easy_setopt(ontap->curl, CURLOPT_ERRORBUFFER, NULL);
    (void)api->curl_easy_setopt(ontap->curl, CURLOPT_HTTPHEADER, NULL);
    if (code != CURLE_OK)
        return fail_transfer(ontap, code, said, err);
    (void)api->curl_easy_getinfo(ontap->curl, CURLINFO_RESPONSE_CODE, status);
    return 0;
}

static struct curl_slist *make_headers(const struct ontap_api *api)
{
    static const char *const lines[] = { "Accept: application/json",
                                         "Content-Type: application/json",
                                         "Expect:" };
    struct curl_slist *headers = NULL;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct curl_slist *longer = api->curl_slist_append(headers, lines[i]);

        if (longer == NULL) {
            api->curl_slist_free_all(headers);
            return NULL;
        }
        headers = longer;
    }
    return headers;
}

static int ask(struct ontap *ontap, const char *url, const char *body,
               struct ontap_reply *out, struct ds_error *err)
{
    struct curl_slist *headers = make_headers(ontap->api);
    struct buffer buffer = { 0 };
    int result;

    if (headers == NULL)
        return ds_fail_memory(err);
    result = transfer(ontap, url, body, headers, &buffer, &out->status, err);
    ontap->api->curl_slist_free_all(headers);
    if (result == 0 && buffer.length > 0)
        out->body = json_loadb(buffer.bytes, buffer.length,
                               JSON_REJECT_DUPLICATES, NULL);
    free(buffer.bytes);
    return result;
}

static int check_admitted(const struct ontap *ontap,
                          const struct ontap_reply *reply, struct ds_error *err)
{
    if (reply->status == 401)
        return ds_fail(err, DS_ERR_REFUSED,
                       "ontap: %.100s: does not take the user and password in "
                       "%.200s (HTTP 401)",
                       ontap->url, ontap->credentials_file);
    if (reply->status == 403)
        return ds_fail(err, DS_ERR_REFUSED,
                       "ontap: %.100s: the user in %.200s may not do this "
                       "(HTTP 403)",
                       ontap->url, ontap->credentials_file);
    return 0;
}

int ontap_ask(struct ontap *ontap, const char *path, const json_t *body,
              struct ontap_reply *out, struct ds_error *err)
{
    ds_autofree char *url = NULL;
    ds_autofree char *text = NULL;
    int result = connect_lazily(ontap, err);

    *out = (struct ontap_reply){ 0 };
    if (result != 0)
        return result;
    if (asprintf(&url, "%s%s", ontap->url, path) < 0) {
        url = NULL;
        return ds_fail_memory(err);
    }
    if (body != NULL) {
        text = json_dumps(body, JSON_COMPACT);
        if (text == NULL)
            return ds_fail_memory(err);
    }
    result = ask(ontap, url, text, out, err);
    if (result == 0)
        result = check_admitted(ontap, out, err);
    if (result != 0)
        ontap_reply_free(out);
    return result;
}

void ontap_reply_free(struct ontap_reply *reply)
{
    json_decref(reply->body);
    reply->body = NULL;
}

/* {"error":{"message":"..","code":".."}}, or the same of a job. */
int ontap_refused(const struct ontap *ontap, const char *what,
                  const struct ontap_reply *reply, struct ds_error *err)
{
    const json_t *error = json_object_get(reply->body, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *code = json_string_value(json_object_get(error, "code"));

    if (message == NULL)
        message = json_string_value(json_object_get(reply->body, "message"));
    return ds_fail(err, DS_ERR_SYSTEM,
                   "ontap: %.100s: %.100s: HTTP %ld, \"%.200s\"%s%.20s",
                   ontap->url, what, reply->status,
                   message != NULL ? message : "no word why",
                   code != NULL ? ", code " : "", code != NULL ? code : "");
}
