/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of files that were read together.
 *
 *   small reads       |256K|          what lies around, aligned
 *   going on there         |256K|1M  |4M            |4M            | ...
 *   reads in between  go by a window that is there, or where the last ended
 *   large reads       as they are
 *
 * Invariant: a window that is being filled belongs to the thread that fills
 * it; who wants to read what will be in it waits.
 */
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "remote.h"

/* Up to it what lies around is read, too. */
#define SMALL_BYTES ((size_t)64 * 1024)
#define GROWTH 4u

static struct remote_window *find(struct remote_server *server,
                                  const struct remote_file *file,
                                  uint64_t offset_bytes)
{
    for (size_t i = 0; i < REMOTE_WINDOW_COUNT; i++) {
        struct remote_window *window = &server->windows[i];

        if (window->file == file && offset_bytes >= window->offset_bytes &&
            offset_bytes - window->offset_bytes < window->length_bytes)
            return window;
    }
    return NULL;
}

/* The one that was not used for longest; NULL: all are being filled. */
static struct remote_window *oldest(struct remote_server *server)
{
    struct remote_window *found = NULL;

    for (size_t i = 0; i < REMOTE_WINDOW_COUNT; i++) {
        struct remote_window *window = &server->windows[i];

        if (!window->is_filled_now &&
            (found == NULL || window->used_at < found->used_at))
            found = window;
    }
    return found;
}

/* What to read for somebody who wants this; length 0: just that. */
static void choose(struct remote_file *file, uint64_t offset_bytes,
                   size_t length_bytes, uint64_t *begin_bytes,
                   size_t *window_bytes)
{
    uint64_t begin = offset_bytes, length = 0;

    if (offset_bytes == file->window_end_bytes &&
        file->window_length_bytes > 0) {
        length = ds_min_u64((uint64_t)file->window_length_bytes * GROWTH,
                            REMOTE_WINDOW_BYTES_MAX);
        length = ds_max_u64(length, REMOTE_WINDOW_BYTES);
    } else if (length_bytes <= SMALL_BYTES) {
        begin = ds_align_down(offset_bytes, REMOTE_WINDOW_BYTES);
        length = REMOTE_WINDOW_BYTES;
    }
    if (begin >= file->base.size_bytes)
        length = 0;
    *begin_bytes = begin;
    *window_bytes =
        length > 0 ? (size_t)ds_min_u64(length, file->base.size_bytes - begin)
                   : 0;
}

static int make_room(struct remote_window *window, size_t length_bytes,
                     struct ds_error *err)
{
    if (window->room_bytes >= length_bytes)
        return 0;
    free(window->bytes);
    window->room_bytes = 0;
    window->bytes = malloc(length_bytes);
    if (window->bytes == NULL)
        return ds_fail_memory(err);
    window->room_bytes = length_bytes;
    return 0;
}

/* Takes the lock away meanwhile. */
static int fill(struct remote_server *server, struct remote_window *window,
                struct remote_file *file, uint64_t offset_bytes,
                size_t length_bytes, struct ds_error *err)
{
    uint64_t length = 0;
    int result = make_room(window, length_bytes, err);

    window->file = NULL;
    if (result != 0)
        return result;
    window->file = file;
    window->offset_bytes = offset_bytes;
    window->length_bytes = length_bytes;
    window->is_filled_now = true;
    file->window_end_bytes = offset_bytes + length_bytes;
    file->window_length_bytes = length_bytes;
    (void)pthread_mutex_unlock(&server->window_lock);
    result = remote_read_up_to(file, offset_bytes, window->bytes, length_bytes,
                               &length, err);
    (void)pthread_mutex_lock(&server->window_lock);
    window->is_filled_now = false;
    window->length_bytes = (size_t)length;
    if (result != 0)
        window->file = NULL;
    (void)pthread_cond_broadcast(&server->window_filled);
    return result;
}

/* 1: look again. */
static int look(struct remote_server *server, struct remote_file *file,
                uint64_t offset_bytes, uint8_t *bytes, size_t length_bytes,
                uint64_t *done_bytes, struct ds_error *err)
{
    struct remote_window *window = find(server, file, offset_bytes);
    uint64_t begin_bytes;
    size_t window_bytes;
    int result;

    if (window != NULL && window->is_filled_now) {
        (void)pthread_cond_wait(&server->window_filled, &server->window_lock);
        return 1;
    }
    if (window == NULL) {
        window = oldest(server);
        choose(file, offset_bytes, length_bytes, &begin_bytes, &window_bytes);
        if (window_bytes == 0 || window == NULL) {
            file->window_end_bytes = offset_bytes + length_bytes;
            file->window_length_bytes = 1;
            return 0;
        }
        result = fill(server, window, file, begin_bytes, window_bytes, err);
        if (result != 0)
            return result;
    }
    window->used_at = ++server->window_time;
    if (offset_bytes - window->offset_bytes < window->length_bytes) {
        size_t skip = (size_t)(offset_bytes - window->offset_bytes);

        *done_bytes = ds_min_u64(length_bytes, window->length_bytes - skip);
        memcpy(bytes, window->bytes + skip, (size_t)*done_bytes);
    }
    return 0;
}

int remote_read_window(struct remote_file *file, uint64_t offset_bytes,
                       uint8_t *bytes, size_t length_bytes,
                       uint64_t *done_bytes, struct ds_error *err)
{
    struct remote_server *server = file->mount->server;
    int result;

    *done_bytes = 0;
    if (length_bytes > REMOTE_WINDOW_BYTES)
        return 0;
    (void)pthread_mutex_lock(&server->window_lock);
    do
        result = look(server, file, offset_bytes, bytes, length_bytes,
                      done_bytes, err);
    while (result > 0);
    (void)pthread_mutex_unlock(&server->window_lock);
    return result;
}

void remote_forget_windows(struct remote_file *file)
{
    struct remote_server *server = file->mount->server;

    (void)pthread_mutex_lock(&server->window_lock);
    for (size_t i = 0; i < REMOTE_WINDOW_COUNT; i++)
        if (server->windows[i].file == file) {
            server->windows[i].file = NULL;
            server->windows[i].used_at = 0;
        }
    file->window_length_bytes = 0;
    (void)pthread_mutex_unlock(&server->window_lock);
}
