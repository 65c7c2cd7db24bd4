/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of ONTAP's REST interface against an array that answers what the
 * input says. An input is a list of replies, with a byte 0 between two:
 *
 *     status of HTTP (3 digits), body
 *
 * 000: no answer. From 900 on the body is sent again and again, 2 MiB of it.
 * The last reply is what comes from then on.
 *
 * The client is the real one down to libcurl, in whose place (the linker puts
 * it in) stands this file. What it says must hold: an error with class and
 * message, or an outcome that the array's last word bears out; what it asks
 * must be a URL of the array and JSON; and it must end, by a clock that only
 * waiting moves. 0: the volume was not found, 1: no clone was made, 2: one was,
 * 3: all were.
 */
#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "harness.h"
#include "ontap/ontap.h"
#include "play_clock.h"

#define FLOOD_BYTES ((size_t)2 << 20)
#define CHUNK_BYTES ((size_t)16 * 1024) /* libcurl's */
/* A job is asked for once a second, for a quarter of an hour, which is a minute
 * here; there are five clones. */
#define TIME_PACE 16
#define REQUEST_COUNT_MAX 500u
#define STOP_AFTER 30u
#define RANGE_COUNT 35u

static struct {
    const uint8_t *input; /* what is left of it */
    size_t length_bytes;
    const uint8_t *body;
    size_t body_bytes;
    long status;
    unsigned request_count;
    bool stops;
    /* as set by the client */
    char url[512];
    const char *post; /* NULL: GET */
    curl_write_callback write;
    void *user;
} play;

/* -- the array --------------------------------------------------------------*/

static void next_reply(void)
{
    const uint8_t *end = play.length_bytes == 0
                             ? NULL
                             : memchr(play.input, '\0', play.length_bytes);
    size_t length =
        end != NULL ? (size_t)(end - play.input) : play.length_bytes;
    size_t used = 0;

    if (play.length_bytes == 0)
        return; /* as the last */
    play.status = 0;
    for (; used < 3 && used < length && isdigit(play.input[used]); used++)
        play.status = play.status * 10 + (play.input[used] - '0');
    play.body = play.input + used;
    play.body_bytes = length - used;
    length += end != NULL;
    play.input += length;
    play.length_bytes -= length;
}

/* In pieces, of which the last is short. */
static bool send_body(size_t bytes)
{
    static char chunk[CHUNK_BYTES];

    for (size_t used = 0; used < bytes;) {
        size_t length = 0;

        for (; length < sizeof(chunk) && used < bytes; length++, used++)
            chunk[length] = (char)play.body[used % play.body_bytes];
        if (play.write(chunk, 1, length, play.user) != length)
            return false;
    }
    return true;
}

/* What the client may ask: nothing of a reply has got into it that does not
 * belong there. */
static void judge_request(void)
{
    json_t *body;

    assert(play.request_count++ < REQUEST_COUNT_MAX);
    assert(strncmp(play.url, "https://array:8443/api/", 23) == 0);
    for (const char *at = play.url; *at != '\0'; at++)
        assert(isgraph((unsigned char)*at));
    assert(strstr(play.url, "/../") == NULL && strchr(play.url, '#') == NULL);
    if (play.post == NULL)
        return;
    body = json_loads(play.post, JSON_REJECT_DUPLICATES, NULL);
    assert(json_is_string(
        json_object_get(json_object_get(body, "volume"), "uuid")));
    assert(strcmp(json_string_value(json_object_get(body, "source_path")),
                  "source") == 0);
    json_decref(body);
}

static CURLcode perform(CURL *curl)
{
    (void)curl;
    judge_request();
    next_reply();
    if (play.status == 0)
        return play.body_bytes % 2 == 0 ? CURLE_COULDNT_CONNECT
                                        : CURLE_PEER_FAILED_VERIFICATION;
    return send_body(play.status >= 900 && play.body_bytes > 0
                         ? FLOOD_BYTES
                         : play.body_bytes)
               ? CURLE_OK
               : CURLE_WRITE_ERROR;
}

/* -- in libcurl's place -----------------------------------------------------*/

static CURL *init(void)
{
    static int handle;

    return (CURL *)&handle;
}

static void cleanup(CURL *curl)
{
    (void)curl;
}

static CURLcode set(CURL *curl, CURLoption option, ...)
{
    va_list arguments;

    (void)curl;
    va_start(arguments, option);
    if (option == CURLOPT_URL)
        (void)snprintf(play.url, sizeof(play.url), "%s",
                       va_arg(arguments, const char *));
    else if (option == CURLOPT_HTTPGET)
        play.post = NULL;
    else if (option == CURLOPT_POSTFIELDS)
        play.post = va_arg(arguments, const char *);
    else if (option == CURLOPT_WRITEFUNCTION)
        play.write = va_arg(arguments, curl_write_callback);
    else if (option == CURLOPT_WRITEDATA)
        play.user = va_arg(arguments, void *);
    va_end(arguments);
    return CURLE_OK;
}

static CURLcode get(CURL *curl, CURLINFO info, ...)
{
    va_list arguments;

    (void)curl;
    assert(info == CURLINFO_RESPONSE_CODE);
    va_start(arguments, info);
    *va_arg(arguments, long *) = play.status;
    va_end(arguments);
    return CURLE_OK;
}

static const char *words(CURLcode code)
{
    (void)code;
    return "it failed";
}

static struct curl_slist *append(struct curl_slist *list, const char *text)
{
    struct curl_slist *item = calloc(1, sizeof(*item));

    (void)text;
    if (item != NULL)
        item->next = list;
    return item;
}

static void free_all(struct curl_slist *list)
{
    while (list != NULL) {
        struct curl_slist *next = list->next;

        free(list);
        list = next;
    }
}

int __wrap_ontap_api(const struct ontap_api **out, struct ds_error *err);
int __wrap_ontap_api(const struct ontap_api **out, struct ds_error *err)
{
    static const struct ontap_api api = {
        .curl_easy_init = init,
        .curl_easy_setopt = set,
        .curl_easy_perform = perform,
        .curl_easy_getinfo = get,
        .curl_easy_strerror = words,
        .curl_easy_cleanup = cleanup,
        .curl_slist_append = append,
        .curl_slist_free_all = free_all,
    };

    (void)err;
    *out = &api;
    return 0;
}

/* -- the client -------------------------------------------------------------*/

static bool stop(void *user)
{
    (void)user;
    return play.stops && play.request_count >= STOP_AFTER;
}

static int judge(int result, const struct ds_error *err)
{
    assert(result <= 0);
    assert(result == 0 ||
           (err->message[0] != '\0' && result == -(int)err->error_class));
    return result;
}

/* Done is what the array said last, and nothing else. */
static bool is_done(int result, enum ds_clone_outcome outcome,
                    const struct ds_error *err)
{
    if (judge(result, err) != 0)
        return false;
    assert(outcome == DS_CLONE_DONE || outcome == DS_CLONE_VANISHED);
    if (outcome == DS_CLONE_DONE)
        assert(play.status == 200 || play.status == 201);
    return outcome == DS_CLONE_DONE;
}

static int work(struct ds_clone_via *array)
{
    struct ds_clone_via_range ranges[RANGE_COUNT];
    struct ds_error err = DS_ERROR_INIT;
    enum ds_clone_outcome outcome = DS_CLONE_DONE;
    char *name = NULL;
    bool whole, parts;
    int result;

    for (size_t i = 0; i < RANGE_COUNT; i++)
        ranges[i] = (struct ds_clone_via_range){
            .source_offset_bytes = i << 30,
            .target_offset_bytes = (RANGE_COUNT - i) << 30,
            .length_bytes = i == 3 ? (uint64_t)(40000) * ONTAP_BLOCK_BYTES
                                   : ONTAP_BLOCK_BYTES,
        };
    if (judge(array->ops->locate(array, "/vol/source", &name, &err), &err) != 0)
        return 0;
    assert(name[0] != '\0' && strstr("/vol/source", name) != NULL);
    free(name);
    result =
        array->ops->whole_file(array, "source", "target\n", &outcome, &err);
    whole = is_done(result, outcome, &err);
    err = (struct ds_error)DS_ERROR_INIT;
    result = array->ops->ranges(array, "source", "target", ranges, RANGE_COUNT,
                                &outcome, &err);
    parts = is_done(result, outcome, &err);
    return 1 + whole + parts;
}

/* "user:password", readable by its owner alone. */
static const char *credentials(void)
{
    static char path[64];
    int descriptor;

    if (path[0] != '\0')
        return path;
    descriptor = memfd_create("credentials", MFD_CLOEXEC);
    assert(descriptor >= 0 && write(descriptor, "a:b\n", 4) == 4 &&
           fchmod(descriptor, 0600) == 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
    return path;
}

int fuzz_one(const char *format, const uint8_t *input, size_t length_bytes)
{
    const struct ds_clone_via_options options = {
        .url = "https://array:8443",
        .volume = "vol1",
        .credentials_file = credentials(),
        .cacert_file = "/dev/null",
    };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_clone_via *array = NULL;
    int reached = 0;

    (void)format;
    memset(&play, 0, sizeof(play));
    play.input = input;
    play.length_bytes = length_bytes;
    play.stops = length_bytes % 2 != 0;
    play_clock_begin(TIME_PACE);
    if (judge(ontap_open(&options, &array, &err), &err) == 0) {
        array->stop = stop;
        reached = work(array);
        ontap_close(array);
    }
    play_clock_end();
    return reached;
}
