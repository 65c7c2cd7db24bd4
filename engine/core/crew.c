/* SPDX-License-Identifier: Apache-2.0 */
#include "crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "arith.h"
#include "fail.h"

struct member {
    struct crew *crew;
    unsigned index;
    pthread_t thread;
};

struct crew {
    pthread_mutex_t lock;
    pthread_cond_t begun;
    pthread_cond_t ended;
    unsigned round; /* how often begin was called */
    unsigned busy;  /* have not returned from this round */
    bool closing;
    crew_fn *work;
    void *user;
    unsigned count;
    struct member members[CREW_COUNT_MAX];
};

static void *serve(void *argument)
{
    struct member *member = argument;
    struct crew *crew = member->crew;
    unsigned seen = 0;

    (void)pthread_mutex_lock(&crew->lock);
    for (;;) {
        while (crew->round == seen && !crew->closing)
            (void)pthread_cond_wait(&crew->begun, &crew->lock);
        if (crew->round == seen)
            break;
        seen = crew->round;
        (void)pthread_mutex_unlock(&crew->lock);
        crew->work(crew->user, member->index);
        (void)pthread_mutex_lock(&crew->lock);
        if (--crew->busy == 0)
            (void)pthread_cond_signal(&crew->ended);
    }
    (void)pthread_mutex_unlock(&crew->lock);
    return NULL;
}

unsigned crew_size(unsigned more)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t count = (cores < 1 ? 1 : (uint64_t)cores) + more;

    return (unsigned)ds_min_u64(count, CREW_COUNT_MAX);
}

int crew_open(unsigned wanted, struct crew **out, struct ds_error *err)
{
    struct crew *crew = calloc(1, sizeof(*crew));
    sigset_t all, before;

    if (crew == NULL)
        return ds_fail_memory(err);
    (void)pthread_mutex_init(&crew->lock, NULL);
    (void)pthread_cond_init(&crew->begun, NULL);
    (void)pthread_cond_init(&crew->ended, NULL);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (crew->count < wanted && crew->count < CREW_COUNT_MAX) {
        struct member *member = &crew->members[crew->count];

        member->crew = crew;
        member->index = crew->count;
        if (pthread_create(&member->thread, NULL, serve, member) != 0)
            break;
        crew->count++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    *out = crew;
    return 0;
}

unsigned crew_count(const struct crew *crew)
{
    return crew->count;
}

void crew_begin(struct crew *crew, crew_fn *work, void *user)
{
    (void)pthread_mutex_lock(&crew->lock);
    crew->work = work;
    crew->user = user;
    crew->busy = crew->count;
    crew->round++;
    (void)pthread_cond_broadcast(&crew->begun);
    (void)pthread_mutex_unlock(&crew->lock);
}

void crew_end(struct crew *crew)
{
    (void)pthread_mutex_lock(&crew->lock);
    while (crew->busy > 0)
        (void)pthread_cond_wait(&crew->ended, &crew->lock);
    (void)pthread_mutex_unlock(&crew->lock);
}

void crew_close(struct crew *crew)
{
    if (crew == NULL)
        return;
    (void)pthread_mutex_lock(&crew->lock);
    crew->closing = true;
    (void)pthread_cond_broadcast(&crew->begun);
    (void)pthread_mutex_unlock(&crew->lock);
    for (unsigned i = 0; i < crew->count; i++)
        (void)pthread_join(crew->members[i].thread, NULL);
    (void)pthread_cond_destroy(&crew->begun);
    (void)pthread_cond_destroy(&crew->ended);
    (void)pthread_mutex_destroy(&crew->lock);
    free(crew);
}
