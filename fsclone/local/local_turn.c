/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking turns at what XFS lets one at a time do anyway.
 *
 * It counts who refers to a block in the allocation group that the block lies
 * in, and takes the group's header for itself for each extent that it clones
 * and each that FIEMAP tells of. The files of one directory lie in one group.
 * So a hundred processes that clone there hand one lock around, extent by
 * extent, each time to one who sleeps, and take as long as one after the other:
 *
 *   each on its own  A B C A B C A B C A B C A B C   a switch for each extent
 *   in turns         A A A A A B B B B B C C C C C   and the rest of A's work,
 *                                                    beside B's turn
 *
 * A turn is one call that will meet many extents, and an flock on the directory
 * of the file that is cloned or told of. It is a courtesy: where the lock
 * cannot be had (no such right, somebody who stands still with it) the call is
 * made without, and the kernel sees to the order.
 *
 * flock(2) lets them in as they came, but knows no time limit, and a signal to
 * interrupt it would be the program's, not ours. So a thread waits in it, and
 * the caller for the thread; should that take too long, the thread is left to
 * itself, and ends its turn as soon as it has it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cleanup.h"
#include "local.h"

#define NONE (-1)
/* Fewer are done sooner than a turn is arranged; more are no short turn, at
 * about 15 microseconds each. */
#define TURN_EXTENT_COUNT_MIN 32u
#define TURN_EXTENT_COUNT_MAX 8192u
#define WAIT_NS_MAX 500000000l

/* One turn was not to be had: this process asks for no more of them. */
static _Atomic bool gave_up;

static uint32_t count_extents(const struct local_file *file)
{
    struct fsxattr attributes;
    memset(&attributes, 0, sizeof(attributes));
    if (file->is_block_device || local_magic(file->fd) != XFS_SUPER_MAGIC ||
        ioctl(file->fd, FS_IOC_FSGETXATTR, &attributes) != 0)
        return 0;
    return attributes.fsx_nextents;
}

/* Whether so much of the file, of extents that are all of one length, is worth
 * a turn. The count is kept: where there are thousands of calls it is for none
 * of them. */
static bool is_worth_it(struct local_file *file, uint64_t length_bytes)
{
    int64_t count = atomic_load(&file->turn_extent_count);
    if (count == 0) {
        count = (int64_t)count_extents(file) + 1;
        atomic_store(&file->turn_extent_count, count);
    }
    count--;
    if (count < TURN_EXTENT_COUNT_MIN || count > TURN_EXTENT_COUNT_MAX)
        return false;
    uint64_t size_bytes = file->base.size_bytes;
    return length_bytes >= size_bytes ||
           length_bytes >= size_bytes / (uint64_t)count * TURN_EXTENT_COUNT_MIN;
}

static int open_directory(const struct local_file *file)
{
    ds_autofree char *directory = local_directory_of(file->base.path);
    if (directory == NULL)
        return NONE;
    return local_open_fd(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool lock(int fd, int how)
{
    int rc;
    do
        rc = flock(fd, LOCK_EX | how);
    while (rc != 0 && errno == EINTR);
    return rc == 0;
}

/* Of two: the last to be done with it frees it. Should that be the thread, it
 * closes the descriptor too, and with it ends the turn that came too late. */
struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int fd;
    bool is_ended; /* the thread's part */
    bool is_left;  /* the caller's */
    bool has_lock;
};

static void free_waiter(struct waiter *waiter)
{
    (void)pthread_cond_destroy(&waiter->changed);
    (void)pthread_mutex_destroy(&waiter->mutex);
    free(waiter);
}

static struct waiter *new_waiter(int fd)
{
    pthread_condattr_t attributes;
    struct waiter *waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL)
        return NULL;
    waiter->fd = fd;
    (void)pthread_mutex_init(&waiter->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&waiter->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return waiter;
}

static void *wait_in_line(void *argument)
{
    struct waiter *waiter = argument;
    bool has_lock = lock(waiter->fd, 0);
    (void)pthread_mutex_lock(&waiter->mutex);
    waiter->is_ended = true;
    waiter->has_lock = has_lock;
    bool is_left = waiter->is_left;
    (void)pthread_cond_signal(&waiter->changed);
    (void)pthread_mutex_unlock(&waiter->mutex);
    if (is_left) {
        (void)close(waiter->fd);
        free_waiter(waiter);
    }
    return NULL;
}

/* The program's signals are not for this thread. */
static bool start_waiting(struct waiter *waiter)
{
    pthread_t thread;
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, NULL, wait_in_line, waiter) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started)
        (void)pthread_detach(thread);
    return started;
}

/* The caller's end of it, until then at the latest. Whether the lock is ours;
 * *fd is NONE when the thread has kept it. */
static bool await(struct waiter *waiter, const struct timespec *until, int *fd)
{
    int rc = 0;
    (void)pthread_mutex_lock(&waiter->mutex);
    while (!waiter->is_ended && rc == 0)
        rc = pthread_cond_timedwait(&waiter->changed, &waiter->mutex, until);
    bool is_ended = waiter->is_ended;
    bool has_lock = waiter->has_lock;
    waiter->is_left = true;
    (void)pthread_mutex_unlock(&waiter->mutex);
    if (is_ended)
        free_waiter(waiter);
    else
        *fd = NONE;
    return has_lock;
}

static bool wait_for(int *fd)
{
    struct timespec until;
    struct waiter *waiter = new_waiter(*fd);
    if (waiter == NULL)
        return false;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_NS_MAX;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (!start_waiting(waiter)) {
        free_waiter(waiter);
        return false;
    }
    bool has_lock = await(waiter, &until, fd);
    if (!has_lock)
        atomic_store(&gave_up, true);
    return has_lock;
}

int local_turn_begin(struct local_file *file, uint64_t length_bytes)
{
    if (atomic_load(&gave_up) || !is_worth_it(file, length_bytes))
        return NONE;
    int fd = open_directory(file);
    if (fd == NONE || lock(fd, LOCK_NB) || wait_for(&fd))
        return fd;
    local_cleanup_fd(&fd);
    return NONE;
}

void local_turn_end(int turn)
{
    local_cleanup_fd(&turn);
}
