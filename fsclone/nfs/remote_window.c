/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of files that were read together. */
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "remote.h"

/* The one that begins there, else the one that was not used for longest. */
static struct remote_window *choose(struct remote_server *server,
                                    const struct remote_file *file,
                                    uint64_t offset_bytes)
{
    struct remote_window *oldest = server->windows;

    for (size_t i = 0; i < REMOTE_WINDOW_COUNT; i++) {
        struct remote_window *window = &server->windows[i];

        if (window->file == file && window->offset_bytes == offset_bytes)
            return window;
        if (window->used_at < oldest->used_at)
            oldest = window;
    }
    return oldest;
}

static int fill(struct remote_window *window, struct remote_file *file,
                uint64_t offset_bytes, struct ds_error *err)
{
    uint64_t length = 0;
    int result;

    window->file = NULL;
    if (window->bytes == NULL)
        window->bytes = malloc(REMOTE_WINDOW_BYTES);
    if (window->bytes == NULL)
        return ds_fail_memory(err);
    if (offset_bytes < file->base.size_bytes)
        length = ds_min_u64(REMOTE_WINDOW_BYTES,
                            file->base.size_bytes - offset_bytes);
    result = remote_read_up_to(file, offset_bytes, window->bytes, length,
                               &length, err);
    if (result != 0)
        return result;
    window->file = file;
    window->offset_bytes = offset_bytes;
    window->length_bytes = (size_t)length;
    return 0;
}

static int read_locked(struct remote_server *server, struct remote_file *file,
                       uint64_t offset_bytes, uint8_t *bytes,
                       size_t length_bytes, uint64_t *done_bytes,
                       struct ds_error *err)
{
    uint64_t begin = ds_align_down(offset_bytes, REMOTE_WINDOW_BYTES);
    size_t skip = (size_t)(offset_bytes - begin);
    struct remote_window *window = choose(server, file, begin);
    int result = 0;

    if (window->file != file || window->offset_bytes != begin)
        result = fill(window, file, begin, err);
    if (result != 0)
        return result;
    window->used_at = ++server->window_time;
    if (skip < window->length_bytes) {
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
    (void)pthread_mutex_lock(&server->window_lock);
    result = read_locked(server, file, offset_bytes, bytes, length_bytes,
                         done_bytes, err);
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
    (void)pthread_mutex_unlock(&server->window_lock);
}
