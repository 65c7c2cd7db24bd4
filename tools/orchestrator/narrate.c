/* SPDX-License-Identifier: Apache-2.0 */
#include "narrate.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile sig_atomic_t caught;
static int lines_fd = -1;
static bool mute;

static void note_signal(int number)
{
    caught = number;
}

void narrate_catch_signals(void)
{
    const struct sigaction action = { .sa_handler = note_signal,
                                      .sa_flags = (int)SA_RESETHAND };

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

bool narrate_stopped(void)
{
    return caught != 0;
}

void print_safe(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;

        if (byte < 0x20 || byte == 0x7f)
            fprintf(out, "\\x%02x", byte);
        else
            fputc(byte, out);
    }
}

void tell_error(const struct ds_error *err)
{
    fputs("diskshift: ", stderr);
    if (err->file[0] != '\0') {
        print_safe(stderr, err->file);
        fputs(": ", stderr);
    }
    if (err->offset_bytes != DS_OFFSET_NONE)
        fprintf(stderr, "offset 0x%" PRIx64 ": ", err->offset_bytes);
    print_safe(stderr, err->message);
    fputc('\n', stderr);
}

static void line(json_t *json)
{
    autofree char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    /* Whoever reads it may have gone, which must not stop a migration. */
    if (lines_fd >= 0 && text != NULL)
        (void)dprintf(lines_fd, "%s\n", text);
}

static void say(void *user, const char *vm_name, enum message_level level,
                const char *stage, const char *text)
{
    static const char *const levels[] = { "info", "warning", "error" };

    (void)user;
    pthread_mutex_lock(&lock);
    if (!mute || level == MESSAGE_ERROR) {
        print_safe(stderr, vm_name);
        fprintf(stderr, ": %s: ", stage);
        if (level != MESSAGE_INFO)
            fprintf(stderr, "%s: ", levels[level]);
        print_safe(stderr, text);
        fputc('\n', stderr);
    }
    line(json_pack("{s:s, s:s, s:s, s:s, s:s, s:f}", "event", "message", "vm",
                   vm_name, "stage", stage, "level", levels[level], "text",
                   text, "time", now_seconds()));
    pthread_mutex_unlock(&lock);
}

static void step(void *user, const char *vm_name, const char *stage,
                 const char *name, bool done, double seconds)
{
    (void)user;
    pthread_mutex_lock(&lock);
    if (!mute && done) {
        print_safe(stderr, vm_name);
        fprintf(stderr, ": %s: %s, %.1f s\n", stage, name, seconds);
    }
    line(json_pack("{s:s, s:s, s:s, s:s, s:b, s:f, s:f}", "event", "step", "vm",
                   vm_name, "stage", stage, "step", name, "done", done,
                   "seconds", seconds, "time", now_seconds()));
    pthread_mutex_unlock(&lock);
}

static void disk(void *user, const char *vm_name, const char *name,
                 const struct ds_progress *progress)
{
    (void)user;
    if (lines_fd < 0)
        return;
    pthread_mutex_lock(&lock);
    line(json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "event", "disk", "vm",
                   vm_name, "disk", name, "phase", progress->phase,
                   "done_bytes", (json_int_t)progress->done_bytes,
                   "total_bytes", (json_int_t)progress->total_bytes));
    pthread_mutex_unlock(&lock);
}

static bool stopped(void *user)
{
    (void)user;
    return narrate_stopped();
}

void narrate_begin(const struct options *options, struct narrator *out)
{
    lines_fd = options->progress_fd;
    mute = options->quiet;
    *out = (struct narrator){
        .say = say, .step = step, .disk = disk, .stopped = stopped
    };
}
