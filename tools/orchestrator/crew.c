/* SPDX-License-Identifier: Apache-2.0 */
#include "crew.h"

#include <pthread.h>
#include <stdio.h>

#define THREADS_MAX 256

struct shared {
    struct crew *crew;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* -- one migration -------------------------------------------------------- */

/* What could not even begin is on record as well. */
static int begin(struct crew *crew, struct journal *journal, int64_t id,
                 struct migration *out, struct ds_error *err)
{
    struct ds_error ignored = DS_ERROR_INIT;
    struct migration_record record = { 0 };
    int result = migration_begin(journal, id, &crew->narrator, out, err);

    if (result == 0 || journal_get(journal, id, &record, &ignored) != 0)
        return result;
    (void)journal_message(journal, id, MESSAGE_ERROR, "preflight", err->message,
                          NULL);
    if (crew->narrator.say != NULL)
        crew->narrator.say(crew->narrator.user, record.vm_name, MESSAGE_ERROR,
                           "connect", err->message);
    /* One that has begun keeps its state: it goes on from there. */
    if (record.stage == NULL)
        (void)journal_set_state(journal, id, MIGRATION_FAILED, err->message,
                                NULL);
    migration_record_free(&record);
    return result;
}

static int act(struct crew *crew, struct journal *journal, int64_t id,
               struct ds_error *err)
{
    struct migration_record record = { 0 };
    struct migration migration = { 0 };
    int result = journal_get(journal, id, &record, err);
    enum migration_state state = record.state;

    migration_record_free(&record);
    if (result == 0)
        result = begin(crew, journal, id, &migration, err);
    if (result != 0)
        return result;
    result = crew->verb == CREW_UNDO || state == MIGRATION_UNDOING
                 ? migration_undo(&migration, err)
                 : migration_go_on(&migration, err);
    migration_end(&migration);
    return result;
}

static void work(struct crew *crew, struct crew_job *job)
{
    struct journal *journal = NULL;
    int lock = -1;

    job->result = journal_open(crew->journal_directory, &journal, &job->error);
    if (job->result == 0)
        job->result = journal_claim(journal, job->id, &lock, &job->error);
    if (job->result == 0)
        job->result = act(crew, journal, job->id, &job->error);
    journal_release(lock);
    journal_close(journal);
}

/* -- all of them ---------------------------------------------------------- */

static unsigned running_with(const struct crew *crew, const char *host)
{
    unsigned count = 0;

    for (size_t i = 0; i < crew->count; i++)
        count += crew->items[i].begun && !crew->items[i].over &&
                 text_same(crew->items[i].host, host);
    return count;
}

static unsigned lowest_order(const struct crew *crew)
{
    unsigned lowest = UINT32_MAX;

    for (size_t i = 0; i < crew->count; i++)
        if (!crew->items[i].over && crew->items[i].order < lowest)
            lowest = crew->items[i].order;
    return lowest;
}

/* NULL: none may begin now; *left says whether one may later. */
static struct crew_job *next_job(const struct crew *crew, bool *left)
{
    unsigned order = lowest_order(crew);

    *left = false;
    for (size_t i = 0; i < crew->count; i++) {
        struct crew_job *job = &crew->items[i];

        *left = *left || !job->begun;
        if (!job->begun && job->order == order &&
            (crew->jobs_per_host == 0 ||
             running_with(crew, job->host) < crew->jobs_per_host))
            return job;
    }
    return NULL;
}

static void *worker(void *user)
{
    struct shared *shared = user;
    struct crew_job *job;
    bool left = true;

    pthread_mutex_lock(&shared->lock);
    while (left) {
        job = next_job(shared->crew, &left);
        if (job == NULL) {
            if (left)
                pthread_cond_wait(&shared->changed, &shared->lock);
            continue;
        }
        job->begun = true;
        pthread_mutex_unlock(&shared->lock);
        work(shared->crew, job);
        pthread_mutex_lock(&shared->lock);
        job->over = true;
        pthread_cond_broadcast(&shared->changed);
    }
    pthread_mutex_unlock(&shared->lock);
    return NULL;
}

void crew_run(struct crew *crew)
{
    struct shared shared = { crew, PTHREAD_MUTEX_INITIALIZER,
                             PTHREAD_COND_INITIALIZER };
    pthread_t threads[THREADS_MAX];
    size_t wanted = crew->jobs < 1 ? 1 : crew->jobs, started = 0;

    if (wanted > crew->count)
        wanted = crew->count;
    if (wanted > THREADS_MAX)
        wanted = THREADS_MAX;
    /* This thread is one of them. */
    while (started + 1 < wanted &&
           pthread_create(&threads[started], NULL, worker, &shared) == 0)
        started++;
    worker(&shared);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

void crew_free(struct crew *crew)
{
    for (size_t i = 0; i < crew->count; i++)
        free(crew->items[i].host);
    free(crew->items);
}
