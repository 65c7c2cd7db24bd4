/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS UINT64_C(1000000)
#define POLL_MS_MAX 500

extern char **environ;

struct stream {
    int fd; /* our end; -1: closed */
    char *data;
    size_t used;
    size_t most;
};

struct running {
    pid_t pid;
    struct stream in, out, errors;
};

static void close_stream(struct stream *stream)
{
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = -1;
}

/* Our end is not inherited, else a child would hold another's pipe open. */
static int make_pipe(int ends[2], int ours, struct ds_error *err)
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        return fail_errno(err, errno, NULL, "make a pipe");
    return fcntl(ends[ours], F_SETFL, O_NONBLOCK) == 0
               ? 0
               : fail_errno(err, errno, NULL, "make a pipe");
}

static sigset_t of_broken_pipe(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    return set;
}

static int spawn(struct running *running, const char *const *arguments,
                 struct ds_error *err)
{
    int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t broken_pipe = of_broken_pipe();
    int result = 0, code;

    for (int i = 0; i < 3 && result == 0; i++)
        result = make_pipe(pipes[i], i == 0 ? 1 : 0, err);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    /* A group of its own, so that at the deadline its children end as well. */
    posix_spawnattr_setpgroup(&attributes, 0);
    /* What we ignore, a shell cannot take back. */
    posix_spawnattr_setsigdefault(&attributes, &broken_pipe);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_adddup2(&actions, pipes[0][0], 0);
    posix_spawn_file_actions_adddup2(&actions, pipes[1][1], 1);
    posix_spawn_file_actions_adddup2(&actions, pipes[2][1], 2);
    if (result == 0) {
        code = posix_spawnp(&running->pid, arguments[0], &actions, &attributes,
                            (char *const *)(uintptr_t)arguments, environ);
        if (code != 0)
            result = fail_errno(err, code, NULL, "start %s", arguments[0]);
    }
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    for (int i = 0; i < 3; i++)
        if (pipes[i][i == 0 ? 0 : 1] >= 0)
            close(pipes[i][i == 0 ? 0 : 1]);
    running->in.fd = pipes[0][1];
    running->out.fd = pipes[1][0];
    running->errors.fd = pipes[2][0];
    return result;
}

static void take_in(struct stream *stream)
{
    char buffer[4096];
    ssize_t count = read(stream->fd, buffer, sizeof(buffer));
    size_t keep = count > 0 ? (size_t)count : 0;

    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0) {
        close_stream(stream);
        return;
    }
    if (keep > stream->most - stream->used)
        keep = stream->most - stream->used;
    stream->data = need_more(stream->data, stream->used + keep + 1);
    memcpy(stream->data + stream->used, buffer, keep);
    stream->used += keep;
    stream->data[stream->used] = '\0';
}

/* As write(2), but EPIPE is all that comes of a reader who is gone, whatever
 * the program does about SIGPIPE, which goes to the thread that writes. */
static ssize_t write_to_pipe(int fd, const void *data, size_t length_bytes)
{
    const struct timespec at_once = { 0, 0 };
    sigset_t broken_pipe = of_broken_pipe(), before;

    pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
    ssize_t count = write(fd, data, length_bytes);
    int code = errno;
    if (count < 0 && code == EPIPE)
        sigtimedwait(&broken_pipe, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = code;
    return count;
}

static void give_out(struct stream *stream)
{
    ssize_t count = 0;

    if (stream->used < stream->most)
        count = write_to_pipe(stream->fd, stream->data + stream->used,
                              stream->most - stream->used);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count > 0)
        stream->used += (size_t)count;
    /* A child that does not read its input to the end is none of ours. */
    if (count < 0 || stream->used == stream->most)
        close_stream(stream);
}

static bool exchange(struct running *running, uint64_t deadline_ns)
{
    while (running->out.fd >= 0 || running->errors.fd >= 0) {
        struct pollfd polls[3] = { { running->in.fd, POLLOUT, 0 },
                                   { running->out.fd, POLLIN, 0 },
                                   { running->errors.fd, POLLIN, 0 } };

        if (now_ns() > deadline_ns)
            return false;
        if (poll(polls, 3, POLL_MS_MAX) <= 0)
            continue;
        if (polls[0].revents != 0)
            give_out(&running->in);
        if (polls[1].revents != 0)
            take_in(&running->out);
        if (polls[2].revents != 0)
            take_in(&running->errors);
    }
    return true;
}

static bool wait_end(pid_t pid, uint64_t deadline_ns, int *status)
{
    unsigned pause_ms = 1;

    while (waitpid(pid, status, WNOHANG) == 0) {
        if (now_ns() > deadline_ns)
            return false;
        sleep_ms(pause_ms);
        pause_ms = pause_ms < 100 ? pause_ms * 2 : 100;
    }
    return true;
}

int process_run(const char *const *arguments, const char *input,
                size_t input_bytes, unsigned timeout_seconds,
                size_t output_bytes_max, struct process_result *out,
                struct ds_error *err)
{
    uint64_t deadline_ns =
        now_ns() + (uint64_t)timeout_seconds * 1000 * NS_PER_MS;
    struct running running = {
        .in = { -1, (char *)(uintptr_t)input, 0, input_bytes },
        .out = { -1, need(1), 0, output_bytes_max },
        .errors = { -1, need(1), 0, output_bytes_max },
    };
    int result = spawn(&running, arguments, err), status = 0;

    if (result == 0 && (!exchange(&running, deadline_ns) ||
                        !wait_end(running.pid, deadline_ns, &status))) {
        kill(-running.pid, SIGKILL);
        waitpid(running.pid, &status, 0);
        result = fail_errno(err, ETIMEDOUT, NULL, "%s has not ended after %u s",
                            arguments[0], timeout_seconds);
    }
    close_stream(&running.in);
    close_stream(&running.out);
    close_stream(&running.errors);
    out->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    out->output = running.out.data;
    out->errors = running.errors.data;
    if (result != 0)
        process_result_free(out);
    return result;
}

void process_result_free(struct process_result *result)
{
    free(result->output);
    free(result->errors);
    *result = (struct process_result){ .exit_status = -1 };
}

char *shell_quote(const char *text)
{
    char *out = need(strlen(text) * 4 + 3), *at = out;

    *at++ = '\'';
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            at = stpcpy(at, "'\\''");
        else
            *at++ = *text;
    }
    *at++ = '\'';
    *at = '\0';
    return out;
}

/* -- base64 --------------------------------------------------------------- */

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t length_bytes)
{
    const unsigned char *bytes = data;
    char *out = need((length_bytes + 2) / 3 * 4 + 1), *at = out;

    for (size_t i = 0; i < length_bytes; i += 3) {
        size_t left = length_bytes - i;
        uint32_t word = (uint32_t)bytes[i] << 16;

        word |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        word |= left > 2 ? (uint32_t)bytes[i + 2] : 0;
        *at++ = alphabet[word >> 18];
        *at++ = alphabet[word >> 12 & 63];
        *at++ = left > 1 ? alphabet[word >> 6 & 63] : '=';
        *at++ = left > 2 ? alphabet[word & 63] : '=';
    }
    return out;
}

char *base64_decode(const char *text, size_t *length_bytes)
{
    size_t length = strlen(text), used = 0;
    char *out = need(length / 4 * 3 + 3);
    uint32_t word = 0;
    unsigned bits = 0;

    while (length > 0 && text[length - 1] == '=')
        length--;
    for (size_t i = 0; i < length; i++) {
        const char *found = strchr(alphabet, text[i]);

        if (found == NULL) {
            free(out);
            return NULL;
        }
        word = word << 6 | (uint32_t)(found - alphabet);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[used++] = (char)(word >> bits & 0xff);
        }
    }
    out[used] = '\0';
    if (length_bytes != NULL)
        *length_bytes = used;
    return out;
}
