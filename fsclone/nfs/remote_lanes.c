/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many CLONEs into one file of a server that flushes after each.
 *
 * So does Linux on a `sync` export, the standard. Before 6.18 XFS holds the
 * file's lock (ILOCK) while it flushes, so that CLONEs into one file wait for
 * each other's flush, however many are in flight. CLONEs into different files
 * do not: what all of them changed goes to the log by one flush. So clones that
 * lie behind each other in the target are first put together in files of their
 * own:
 *
 *   source     ..d...b.a....c..   CLONE, one by one, all lanes at once
 *                  \ | / /
 *   lanes      ab--  --cd         one stretch each, where the target has it
 *                |    |           CLONE, a stretch at once
 *   target     abcd
 *
 * That makes twice as many extents and pays where flushes are slow and the
 * server has threads for several. So both ways are measured, and the quicker
 * one stays (`lanes` of a path's options: 1 is never, more is always). Nothing
 * but CLONE gives data to a lane or takes it from there, so what is promised of
 * clones holds.
 *
 * A lane is TARGET.partial.<random>. It is removed when the target is flushed,
 * discarded or closed; a kill leaves it beside TARGET.partial. Lanes need not
 * survive the server: should it lose one's blocks, it lost the target's too,
 * and its write verifier says so.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "remote.h"

#define LANE_COUNT_MIN 2u        /* one is the target with a detour */
#define STRETCH_PIECES_MIN 4u    /* what is put together by one more CLONE */
#define SAMPLE_PIECES_MIN 64u    /* what is fewer says nothing of time */
#define FLUSHED_CLONE_NS 100000u /* a CLONE that takes less is not flushed */
#define WORTH_NS 50000000u       /* to be spent before lanes are made */
#define LANE_TRIPS 3u            /* to make and remove one */

/* Pieces [first, end) lie behind each other in the target. */
struct stretch {
    size_t first, end;
};

struct staging {
    struct remote_file *target;
    const struct nfs42_handle *target_handle;
    struct nfs42_piece *pieces; /* the caller's */
    size_t count;
    uint32_t lane_count;
    struct stretch *stretches; /* room for count */
    size_t stretch_count;
    size_t staged_count;        /* pieces in stretches */
    struct nfs42_piece *staged; /* room for count, the others as they are */
    struct nfs42_piece *joins;  /* room for count */
};

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* When, and after how many compounds with clones. */
struct mark {
    uint64_t ns, calls;
};

static uint64_t clone_calls(const struct nfs42 *session)
{
    return session->counts[NFS42_CLONE].round_trips;
}

static struct mark mark_now(const struct nfs42 *session)
{
    return (struct mark){ now_ns(), clone_calls(session) };
}

/* -- stretches --------------------------------------------------------------*/

static bool may_be_staged(const struct staging *staging,
                          const struct nfs42_piece *piece)
{
    return piece->op == NFS42_CLONE && piece->length_bytes != 0 &&
           piece->target == staging->target_handle &&
           piece->source != staging->target_handle;
}

static bool goes_on(const struct staging *staging, size_t index)
{
    const struct nfs42_piece *last = &staging->pieces[index - 1];
    const struct nfs42_piece *piece = &staging->pieces[index];

    return may_be_staged(staging, piece) &&
           last->target_offset_bytes + last->length_bytes ==
               piece->target_offset_bytes;
}

/* As long as they can be with some for each lane. */
static void find_stretches(struct staging *staging)
{
    size_t longest =
        (staging->count + staging->lane_count - 1) / staging->lane_count;
    size_t i = 0;

    staging->stretch_count = staging->staged_count = 0;
    while (i < staging->count) {
        size_t first = i++;

        if (!may_be_staged(staging, &staging->pieces[first]))
            continue;
        while (i < staging->count && i - first < longest && goes_on(staging, i))
            i++;
        if (i - first < STRETCH_PIECES_MIN)
            continue;
        staging->stretches[staging->stretch_count++] =
            (struct stretch){ first, i };
        staging->staged_count += i - first;
    }
}

/* -- lanes ------------------------------------------------------------------*/

void remote_lanes_end(struct remote_file *target)
{
    struct remote_lanes *lanes = &target->lanes;
    struct remote_mount *mount = target->mount;

    for (uint32_t i = 0; i < lanes->count; i++) {
        (void)nfs3_remove(mount->server->nfs3, &mount->handle,
                          lanes->files[i]->name);
        remote_close(&lanes->files[i]->base);
    }
    lanes->count = 0;
}

static void give_up(struct remote_file *target)
{
    target->lanes.given_up = true;
    remote_lanes_end(target);
}

/* False: it cannot be had. */
static bool make_lane(struct remote_file *target)
{
    struct remote_lanes *lanes = &target->lanes;
    ds_autofree char *name = NULL;
    struct remote_file *file = NULL;
    uint64_t noise = 0;

    if (getrandom(&noise, sizeof(noise), 0) != (ssize_t)sizeof(noise) ||
        asprintf(&name, "%s.%016" PRIx64, target->name, noise) < 0) {
        name = NULL;
        return false;
    }
    if (remote_create_own(target->mount, name, target->base.path, &file,
                          NULL) != 0)
        return false;
    lanes->files[lanes->count++] = file;
    return remote_handle42(file) != NULL;
}

static bool make_lanes(struct remote_file *target, uint32_t count)
{
    while (target->lanes.count < count)
        if (!make_lane(target)) {
            give_up(target);
            return false;
        }
    return true;
}

/* -- which way --------------------------------------------------------------*/

/* How many lanes the server's slots and the caller's settings admit. */
static uint32_t lane_count_of(const struct remote_file *target,
                              const struct nfs42 *session)
{
    const struct remote_settings *settings = &target->mount->server->settings;
    uint32_t count = session->slot_count;

    if (settings->lane_count != 0 && settings->lane_count < count)
        count = settings->lane_count;
    return count;
}

/* What a call takes that makes the server do nothing. */
static uint64_t trip_ns(struct remote_file *target)
{
    struct remote_lanes *lanes = &target->lanes;
    struct nfs3_facts facts;
    uint64_t begun_ns = now_ns();

    if (lanes->trip_ns == 0) {
        (void)nfs3_getattr(remote_nfs3(target), &target->handle, &facts);
        lanes->trip_ns = now_ns() - begun_ns;
    }
    return lanes->trip_ns;
}

/* Whether the server took so long for the clones so far that it flushes, the
 * way there and back not counted, and they took longer than to make lanes. */
static bool is_worth_it(struct remote_file *target, uint32_t lane_count)
{
    const struct remote_pace *direct = &target->lanes.direct;
    uint64_t least_ns = direct->count * FLUSHED_CLONE_NS;

    if (target->mount->server->settings.lane_count != 0)
        return true;
    if (direct->ns < WORTH_NS || direct->ns < least_ns)
        return false;
    return direct->ns >= least_ns + direct->trip_count * trip_ns(target) &&
           direct->ns >= LANE_TRIPS * lane_count * trip_ns(target);
}

/* What `count` pieces took; of the compounds since, as many as there are slots
 * were under way together. */
static void learn(struct remote_pace *pace, const struct nfs42 *session,
                  const struct mark *begun, size_t count)
{
    uint64_t compounds = clone_calls(session) - begun->calls;

    pace->ns += now_ns() - begun->ns;
    pace->count += count;
    pace->trip_count +=
        (compounds + session->slot_count - 1) / session->slot_count;
}

/* Each time by lanes. */
static void compare(struct remote_file *target)
{
    const struct remote_pace *direct = &target->lanes.direct;
    const struct remote_pace *staged = &target->lanes.staged;

    if (target->mount->server->settings.lane_count == 0 &&
        staged->ns / staged->count >= direct->ns / direct->count)
        give_up(target);
}

/* -- by lanes ---------------------------------------------------------------*/

static void fill(struct staging *staging)
{
    struct remote_lanes *lanes = &staging->target->lanes;

    for (size_t i = 0; i < staging->count; i++)
        staging->staged[i] = staging->pieces[i];
    for (size_t i = 0; i < staging->stretch_count; i++) {
        const struct stretch *stretch = &staging->stretches[i];
        const struct nfs42_handle *lane =
            remote_handle42(lanes->files[i % staging->lane_count]);
        const struct nfs42_piece *first = &staging->pieces[stretch->first];
        const struct nfs42_piece *last = &staging->pieces[stretch->end - 1];

        for (size_t j = stretch->first; j < stretch->end; j++)
            staging->staged[j].target = lane;
        staging->staged[stretch->first].begins_compound = true;
        if (stretch->end < staging->count)
            staging->staged[stretch->end].begins_compound = true;
        staging->joins[i] = (struct nfs42_piece){
            .op = NFS42_CLONE,
            .source = lane,
            .target = staging->target_handle,
            .source_offset_bytes = first->target_offset_bytes,
            .target_offset_bytes = first->target_offset_bytes,
            .length_bytes = last->target_offset_bytes + last->length_bytes -
                            first->target_offset_bytes,
        };
    }
}

static bool is_whole(const struct staging *staging,
                     const struct stretch *stretch)
{
    for (size_t i = stretch->first; i < stretch->end; i++)
        if (staging->staged[i].status != NFS42_OK)
            return false;
    return true;
}

/* Those of which a clone failed are not joined. */
static void drop_broken(struct staging *staging)
{
    size_t kept = 0;

    for (size_t i = 0; i < staging->stretch_count; i++) {
        if (!is_whole(staging, &staging->stretches[i]))
            continue;
        staging->stretches[kept] = staging->stretches[i];
        staging->joins[kept++] = staging->joins[i];
    }
    staging->stretch_count = kept;
}

/* A stretch that was joined is done. What is left to do is moved to the front
 * of `staged`, as it was asked for; how much. */
static size_t take_statuses(struct staging *staging)
{
    size_t left = 0;

    for (size_t i = 0; i < staging->count; i++) {
        bool direct = staging->staged[i].target == staging->pieces[i].target;

        staging->pieces[i].answered = direct;
        staging->pieces[i].status = staging->staged[i].status;
        staging->pieces[i].done_bytes = staging->staged[i].done_bytes;
    }
    for (size_t i = 0; i < staging->stretch_count; i++)
        for (size_t j = staging->stretches[i].first;
             j < staging->stretches[i].end; j++)
            staging->pieces[j].answered = staging->joins[i].status == NFS42_OK;
    for (size_t i = 0; i < staging->count; i++)
        if (!staging->pieces[i].answered)
            staging->staged[left++] = staging->pieces[i];
    return left;
}

/* What failed by way of a lane is done as if there were none. */
static int run_left(struct staging *staging, struct nfs42 *session, size_t left,
                    struct ds_error *err)
{
    int result = nfs42_run_pieces(session, staging->staged, left, err);

    for (size_t i = 0, j = 0; i < staging->count && result == 0; i++)
        if (!staging->pieces[i].answered)
            staging->pieces[i] = staging->staged[j++];
    return result;
}

static int run_staged(struct staging *staging, struct nfs42 *session,
                      size_t *left, struct ds_error *err)
{
    struct mark begun = mark_now(session);
    int result;

    fill(staging);
    result = nfs42_run_pieces(session, staging->staged, staging->count, err);
    if (result != 0)
        return result;
    drop_broken(staging);
    result =
        nfs42_run_pieces(session, staging->joins, staging->stretch_count, err);
    if (result != 0)
        return result;
    *left = take_statuses(staging);
    staging->target->account.staged_count += staging->staged_count - *left;
    result = run_left(staging, session, *left, err);
    learn(&staging->target->lanes.staged, session, &begun, staging->count);
    return result;
}

/* -- all --------------------------------------------------------------------*/

static int run_direct(struct staging *staging, struct nfs42 *session,
                      struct ds_error *err)
{
    struct mark begun = mark_now(session);
    int result =
        nfs42_run_pieces(session, staging->pieces, staging->count, err);

    if (staging->staged_count >= SAMPLE_PIECES_MIN)
        learn(&staging->target->lanes.direct, session, &begun, staging->count);
    return result;
}

static int stage(struct staging *staging, struct remote_server *server,
                 struct ds_error *err)
{
    struct nfs42 *session = remote_session(server);
    size_t left = 0;
    int result = run_staged(staging, session, &left, err);

    remote_session_done(server);
    if (left > 0)
        give_up(staging->target);
    else if (result == 0)
        compare(staging->target);
    return result;
}

/* Whether to go by lanes; they are there then. */
static bool prepare(struct staging *staging, struct remote_server *server)
{
    staging->lane_count =
        lane_count_of(staging->target, remote_session(server));
    remote_session_done(server);
    if (staging->target->lanes.given_up || staging->lane_count < LANE_COUNT_MIN)
        return false;
    find_stretches(staging);
    return staging->staged_count >= STRETCH_PIECES_MIN * LANE_COUNT_MIN &&
           is_worth_it(staging->target, staging->lane_count) &&
           make_lanes(staging->target, staging->lane_count);
}

int remote_lanes_run(struct remote_file *target, struct nfs42_piece *pieces,
                     size_t count, struct ds_error *err)
{
    struct remote_server *server = target->mount->server;
    ds_autofree struct stretch *stretches =
        calloc(count + 1, sizeof(struct stretch));
    ds_autofree struct nfs42_piece *staged =
        calloc(count + 1, sizeof(struct nfs42_piece));
    ds_autofree struct nfs42_piece *joins =
        calloc(count + 1, sizeof(struct nfs42_piece));
    struct staging staging = { .target = target,
                               .target_handle = remote_handle42(target),
                               .pieces = pieces,
                               .count = count,
                               .stretches = stretches,
                               .staged = staged,
                               .joins = joins };
    struct nfs42 *session;
    int result;

    if (stretches == NULL || staged == NULL || joins == NULL)
        return ds_fail_memory(err);
    if (prepare(&staging, server))
        return stage(&staging, server, err);
    session = remote_session(server);
    result = run_direct(&staging, session, err);
    remote_session_done(server);
    return result;
}
