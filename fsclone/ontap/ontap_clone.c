/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "ontap.h"

#define RETURN_SECONDS "15" /* let the array wait for the job by itself */
#define POLL_MS_FIRST 50
#define POLL_MS_MAX 1000
#define JOB_SECONDS_MAX 900

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* -- the volume -------------------------------------------------------------*/

static int take_record(struct ontap *ontap, const struct ontap_reply *reply,
                       struct ds_error *err)
{
    const json_t *records = json_object_get(reply->body, "records");
    const json_t *record = json_array_get(records, 0);
    const char *uuid = text_at(record, "uuid");
    const char *junction = text_at(json_object_get(record, "nas"), "path");

    if (!json_is_array(records) || (record != NULL && uuid == NULL))
        return ontap_refused(ontap, "volumes", reply, err);
    if (json_array_size(records) == 0)
        return ds_fail(err, DS_ERR_ARG,
                       "ontap: %.100s has no volume %s, or this user may not "
                       "see it",
                       ontap->url, ontap->volume);
    if (json_array_size(records) > 1)
        return ds_fail(err, DS_ERR_ARG,
                       "ontap: %.100s has %zu volumes %s, expect SVM:VOLUME",
                       ontap->url, json_array_size(records), ontap->volume);
    if (junction == NULL || junction[0] != '/')
        return ds_fail(err, DS_ERR_REFUSED,
                       "ontap: volume %s: clients see it nowhere (it has no "
                       "junction path)",
                       ontap->volume);
    ontap->uuid = strdup(uuid);
    ontap->junction = strdup(junction);
    if (ontap->uuid != NULL && ontap->junction != NULL)
        return 0;
    free(ontap->uuid);
    ontap->uuid = NULL;
    return ds_fail_memory(err);
}

static int find_volume(struct ontap *ontap, struct ds_error *err)
{
    ds_auto(ontap_reply_free) struct ontap_reply reply = { 0 };
    ds_autofree char *path = NULL;
    int result;

    if (ontap->uuid != NULL)
        return 0;
    free(ontap->junction);
    ontap->junction = NULL;
    if (asprintf(&path,
                 "/api/storage/volumes?name=%s%s%s&fields=uuid,name,nas.path",
                 ontap->volume, ontap->svm != NULL ? "&svm.name=" : "",
                 ontap->svm != NULL ? ontap->svm : "") < 0) {
        path = NULL;
        return ds_fail_memory(err);
    }
    result = ontap_ask(ontap, path, NULL, &reply, err);
    if (result == 0 && reply.status != 200)
        result = ontap_refused(ontap, "volumes", &reply, err);
    return result == 0 ? take_record(ontap, &reply, err) : result;
}

static int locate(struct ds_clone_via *via, const char *path, char **out,
                  struct ds_error *err)
{
    struct ontap *ontap = ontap_of(via);
    size_t length;
    int result;

    (void)pthread_mutex_lock(&ontap->lock);
    result = find_volume(ontap, err);
    (void)pthread_mutex_unlock(&ontap->lock);
    if (result != 0)
        return result;
    length = strlen(ontap->junction);
    while (length > 0 && ontap->junction[length - 1] == '/')
        length--;
    if (strncmp(path, ontap->junction, length) != 0 || path[length] != '/')
        return ds_fail(err, DS_ERR_REFUSED,
                       "ontap: volume %s is seen by clients at %.100s, and "
                       "%.200s is not in it",
                       ontap->volume, ontap->junction, path);
    *out = strdup(path + length + 1);
    return *out != NULL ? 0 : ds_fail_memory(err);
}

/* -- jobs -------------------------------------------------------------------*/

static void pause_ms(long ms)
{
    const struct timespec pause = { .tv_sec = ms / 1000,
                                    .tv_nsec = ms % 1000 * 1000000 };

    (void)nanosleep(&pause, NULL);
}

static int64_t now_seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

enum job { JOB_GOES_ON, JOB_DONE, JOB_VANISHED };

static int ask_job(struct ontap *ontap, const char *path, enum job *out,
                   struct ds_error *err)
{
    ds_auto(ontap_reply_free) struct ontap_reply reply = { 0 };
    int result = ontap_ask(ontap, path, NULL, &reply, err);
    const char *state;

    if (result != 0)
        return result;
    *out = JOB_VANISHED;
    if (reply.status == 404)
        return 0;
    state = text_at(reply.body, "state");
    if (reply.status != 200 || state == NULL)
        return ontap_refused(ontap, "job", &reply, err);
    if (strcmp(state, "failure") == 0 || strcmp(state, "error") == 0)
        return ontap_refused(ontap, "file clone failed", &reply, err);
    *out = strcmp(state, "success") == 0 ? JOB_DONE : JOB_GOES_ON;
    return 0;
}

/* Only what can be a part of a path. */
static bool is_uuid(const char *text)
{
    size_t length = strlen(text);

    return length > 0 && length <= 64 &&
           strspn(text, "0123456789abcdefABCDEF-") == length;
}

static int wait_for(struct ontap *ontap, const char *uuid,
                    enum ds_clone_outcome *outcome, struct ds_error *err)
{
    const int64_t end = now_seconds() + JOB_SECONDS_MAX;
    char path[160];
    enum job job = JOB_GOES_ON;
    long ms = POLL_MS_FIRST;

    (void)snprintf(path, sizeof(path),
                   "/api/cluster/jobs/%s?fields=state,message,code,error",
                   uuid);
    for (;;) {
        int result = ask_job(ontap, path, &job, err);

        if (result != 0)
            return result;
        if (job != JOB_GOES_ON)
            break;
        if (ds_clone_via_stopped(&ontap->base))
            return ds_fail(err, DS_ERR_CANCELLED,
                           "ontap: cancelled; %.100s may still finish its job "
                           "%s",
                           ontap->url, uuid);
        if (now_seconds() >= end)
            return ds_fail(err, DS_ERR_SYSTEM,
                           "ontap: %.100s: job %s is not done after %d s",
                           ontap->url, uuid, JOB_SECONDS_MAX);
        pause_ms(ms);
        ms = ms * 2 < POLL_MS_MAX ? ms * 2 : POLL_MS_MAX;
    }
    *outcome = job == JOB_DONE ? DS_CLONE_DONE : DS_CLONE_VANISHED;
    return 0;
}

/* 202: a job has begun. 200, 201: it has ended well while the array waited. */
static int judge(struct ontap *ontap, const struct ontap_reply *reply,
                 enum ds_clone_outcome *outcome, struct ds_error *err)
{
    const char *uuid = text_at(json_object_get(reply->body, "job"), "uuid");

    *outcome = DS_CLONE_DONE;
    if (reply->status == 200 || reply->status == 201)
        return 0;
    if (reply->status != 202)
        return ontap_refused(ontap, "file clone", reply, err);
    if (uuid == NULL || !is_uuid(uuid))
        return ds_fail(err, DS_ERR_SYSTEM,
                       "ontap: %.100s: file clone: began a job and does not "
                       "name it",
                       ontap->url);
    return wait_for(ontap, uuid, outcome, err);
}

/* -- clones -----------------------------------------------------------------*/

/* `ranges` is taken over, also on failure; NULL: the whole file. */
static int post_clone(struct ontap *ontap, const char *source,
                      const char *target, json_t *ranges,
                      enum ds_clone_outcome *outcome, struct ds_error *err)
{
    ds_auto(ontap_reply_free) struct ontap_reply reply = { 0 };
    json_t *body = json_pack("{s:{s:s,s:s},s:s,s:s,s:b,s:b,s:o*}", "volume",
                             "uuid", ontap->uuid, "name", ontap->volume,
                             "source_path", source, "destination_path", target,
                             "autodelete", 0, "is_backup", 0, "range", ranges);
    int result;

    if (body == NULL)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "ontap: %.200s: expect names in UTF-8", target);
    result = ontap_ask(ontap,
                       "/api/storage/file/clone?return_timeout=" RETURN_SECONDS,
                       body, &reply, err);
    json_decref(body);
    return result == 0 ? judge(ontap, &reply, outcome, err) : result;
}

static int whole_file(struct ds_clone_via *via, const char *source,
                      const char *target, enum ds_clone_outcome *outcome,
                      struct ds_error *err)
{
    struct ontap *ontap = ontap_of(via);
    int result;

    (void)pthread_mutex_lock(&ontap->lock);
    result = post_clone(ontap, source, target, NULL, outcome, err);
    (void)pthread_mutex_unlock(&ontap->lock);
    return result;
}

/* Where the next call begins: range, and how many of its blocks are done. */
struct cursor {
    size_t index;
    uint64_t done_blocks;
};

/* What one call takes, as "source:target:count"; NULL when out of memory. */
static json_t *take_ranges(const struct ds_clone_via_range *ranges,
                           size_t count, struct cursor *cursor)
{
    json_t *list = json_array();
    uint64_t room = ONTAP_BLOCK_COUNT_MAX;

    while (list != NULL && cursor->index < count && room > 0 &&
           json_array_size(list) < ONTAP_RANGE_COUNT_MAX) {
        const struct ds_clone_via_range *range = &ranges[cursor->index];
        uint64_t all = range->length_bytes / ONTAP_BLOCK_BYTES;
        uint64_t blocks = ds_min_u64(room, all - cursor->done_blocks);
        char text[80];

        (void)snprintf(text, sizeof(text), "%" PRIu64 ":%" PRIu64 ":%" PRIu64,
                       range->source_offset_bytes / ONTAP_BLOCK_BYTES +
                           cursor->done_blocks,
                       range->target_offset_bytes / ONTAP_BLOCK_BYTES +
                           cursor->done_blocks,
                       blocks);
        if (json_array_append_new(list, json_string(text)) != 0) {
            json_decref(list);
            return NULL;
        }
        room -= blocks;
        cursor->done_blocks += blocks;
        if (cursor->done_blocks == all)
            *cursor = (struct cursor){ .index = cursor->index + 1 };
    }
    return list;
}

static int clone_ranges(struct ds_clone_via *via, const char *source,
                        const char *target,
                        const struct ds_clone_via_range *ranges, size_t count,
                        enum ds_clone_outcome *outcome, struct ds_error *err)
{
    struct ontap *ontap = ontap_of(via);
    struct cursor cursor = { 0 };
    int result = 0;

    *outcome = DS_CLONE_DONE;
    (void)pthread_mutex_lock(&ontap->lock);
    while (cursor.index < count && result == 0) {
        enum ds_clone_outcome one = DS_CLONE_DONE;
        json_t *list;

        if (ds_clone_via_stopped(via)) {
            result = ds_fail(err, DS_ERR_CANCELLED, "ontap: cancelled");
            break;
        }
        list = take_ranges(ranges, count, &cursor);

        result = list != NULL
                     ? post_clone(ontap, source, target, list, &one, err)
                     : ds_fail_memory(err);
        if (one == DS_CLONE_VANISHED)
            *outcome = one;
    }
    (void)pthread_mutex_unlock(&ontap->lock);
    return result;
}

const struct ds_clone_via_ops ontap_clone_via_ops = {
    .name = "ontap",
    .granularity_bytes = ONTAP_BLOCK_BYTES,
    .open = ontap_open,
    .close = ontap_close,
    .locate = locate,
    .whole_file = whole_file,
    .ranges = clone_ranges,
};
