/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File clones of NetApp's ONTAP, by its REST interface (since 9.6):
 *
 *   GET  /api/storage/volumes?name=..     which volume, where clients see it
 *   POST /api/storage/file/clone          a whole file, or ranges of one
 *   GET  /api/cluster/jobs/UUID           until it is done
 *
 *   ontap_open.c   options, the files they name
 *   ontap_curl.c   libcurl, loaded when an array is opened
 *   ontap_http.c   one request: a status and a JSON document
 *   ontap_clone.c  the verbs
 *
 * What goes over the wire is believed of a host whose certificate was checked,
 * and no further: lengths are bounded, members looked for, words quoted.
 *
 * Files are named by their path from the volume's root. Ranges are counted in
 * blocks of 4 KiB; how many fit one call is not documented and differs with the
 * release, so both known limits are kept: 32 ranges, 32768 blocks.
 *
 * A job that has ended is forgotten after a while, and some systems answer 404
 * for it at once: then nobody says how it ended (DS_CLONE_VANISHED).
 *
 * The password is in memory alone: not on the command line, in no message, in
 * no environment, and the file that holds it is read before any image is.
 */
#ifndef ONTAP_H
#define ONTAP_H

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>

#include "clone_via.h"

extern const struct ds_clone_via_ops ontap_clone_via_ops;

#define ONTAP_BLOCK_BYTES 4096u
#define ONTAP_RANGE_COUNT_MAX 32u
#define ONTAP_BLOCK_COUNT_MAX 32768u

/* -- ontap_curl.c --------------------------------------------------------- */

#define ONTAP_API(FUNCTION)                                                    \
    FUNCTION(curl_global_init)                                                 \
    FUNCTION(curl_version_info)                                                \
    FUNCTION(curl_easy_init)                                                   \
    FUNCTION(curl_easy_setopt)                                                 \
    FUNCTION(curl_easy_perform)                                                \
    FUNCTION(curl_easy_getinfo)                                                \
    FUNCTION(curl_easy_strerror)                                               \
    FUNCTION(curl_easy_cleanup)                                                \
    FUNCTION(curl_slist_append)                                                \
    FUNCTION(curl_slist_free_all)

#define ONTAP_API_MEMBER(name) __typeof__(name) *name;
struct ontap_api {
    ONTAP_API(ONTAP_API_MEMBER)
};
#undef ONTAP_API_MEMBER

/** libcurl, loaded at the first call. UNSUPPORTED, naming the package, when it
 * is not there. */
int ontap_api(const struct ontap_api **out, struct ds_error *err);

/* -- the array ------------------------------------------------------------- */

struct ontap {
    struct ds_clone_via base;
    const struct ontap_api *api;
    char *url; /* https://host[:port], no slash at the end */
    char *svm; /* NULL: whichever has the volume */
    char *volume;
    char *credentials_file; /* its name, for messages */
    char *user;
    char *password;
    char *authorities; /* PEM */
    size_t authorities_bytes;
    pthread_mutex_t lock; /* for all below */
    CURL *curl;           /* NULL: nothing was asked yet */
    char *uuid;           /* of the volume; NULL: not yet asked for */
    char *junction;       /* where clients see it */
};

static inline struct ontap *ontap_of(struct ds_clone_via *via)
{
    return (struct ontap *)via;
}

/* -- ontap_open.c ---------------------------------------------------------- */

int ontap_open(const struct ds_clone_via_options *options,
               struct ds_clone_via **out, struct ds_error *err);
void ontap_close(struct ds_clone_via *via);

/* -- ontap_http.c ---------------------------------------------------------- */

struct ontap_reply {
    long status;  /* of HTTP */
    json_t *body; /* NULL: none, or no JSON */
};

/** One request, to `path` and its query behind the array's URL; with `body` a
 * POST. Any status is an answer but 401 and 403 (REFUSED). Under the lock. */
int ontap_ask(struct ontap *ontap, const char *path, const json_t *body,
              struct ontap_reply *out, struct ds_error *err);
void ontap_reply_free(struct ontap_reply *reply);

/** The error that a reply tells of, in the array's words: SYSTEM. */
int ontap_refused(const struct ontap *ontap, const char *what,
                  const struct ontap_reply *reply, struct ds_error *err);

#endif
