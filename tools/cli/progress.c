/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "human.h"

#define SHOW_EVERY_NS UINT64_C(100000000)
#define BAR_CELLS 30
#define LINE_BYTES 256
#define LINE_COLUMNS_STANDARD 80

static volatile sig_atomic_t signal_seen;

static void note_signal(int number)
{
    signal_seen = number;
}

void progress_catch_signals(void)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    /* RESETHAND: the second one finds the standard action. RESTART: the
     * library's calls need not know of us. */
    struct sigaction action = { .sa_handler = note_signal,
                                .sa_flags = (int)SA_RESETHAND | SA_RESTART };

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct sigaction before;

        /* What nohup or a shell's & has set to be ignored stays so. */
        if (sigaction(numbers[i], NULL, &before) == 0 &&
            before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
}

int progress_signal(void)
{
    return signal_seen;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void progress_begin(struct progress *progress, const struct options *options)
{
    *progress = (struct progress){ .fd = options->progress_fd };
    progress->bar =
        options->progress || (isatty(STDERR_FILENO) && !options->quiet &&
                              options->progress_fd == PROGRESS_FD_NONE);
    /* Whoever reads the lines may leave; that must not end the work. */
    if (progress->fd != PROGRESS_FD_NONE)
        signal(SIGPIPE, SIG_IGN);
}

/* -- the bar -------------------------------------------------------------- */

/* Parts in a thousand, by bytes where they are known, else by operations. */
static unsigned permille(const struct ds_progress *state)
{
    uint64_t done = state->done_bytes, total = state->total_bytes;

    if (total == 0) {
        done = state->done_ops;
        total = state->total_ops;
    }
    if (total == 0 || done > total)
        return 0;
    return (unsigned)((double)done / (double)total * 1000);
}

static size_t terminal_columns(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2)
        return LINE_COLUMNS_STANDARD;
    return size.ws_col;
}

static void draw_bar(struct progress *progress, const struct ds_progress *state)
{
    char cells[BAR_CELLS + 1], done[HUMAN_SIZE_BYTES], total[HUMAN_SIZE_BYTES];
    char line[LINE_BYTES];
    unsigned parts = permille(state);
    size_t columns = terminal_columns() - 1;

    for (size_t i = 0; i < BAR_CELLS; i++)
        cells[i] = i * 1000 < (size_t)parts * BAR_CELLS ? '#' : '-';
    cells[BAR_CELLS] = '\0';
    human_size(state->done_bytes, done);
    human_size(state->total_bytes, total);
    if (state->total_bytes > 0)
        snprintf(line, sizeof(line), "%-8s [%s] %3u%%  %s of %s",
                 progress->phase, cells, parts / 10, done, total);
    else
        snprintf(line, sizeof(line),
                 "%-8s [%s] %3u%%  %" PRIu64 " of %" PRIu64 " operations",
                 progress->phase, cells, parts / 10, state->done_ops,
                 state->total_ops);
    if (columns < sizeof(line))
        line[columns] = '\0'; /* a line that wraps cannot be wiped */
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    progress->drawn = true;
}

void progress_end(struct progress *progress)
{
    if (progress->drawn)
        fprintf(stderr, "\r\033[K");
    fflush(stderr);
    progress->drawn = false;
}

/* -- JSON lines ----------------------------------------------------------- */

static void write_line(struct progress *progress,
                       const struct ds_progress *state)
{
    char line[LINE_BYTES];
    size_t length, written = 0;
    int result =
        snprintf(line, sizeof(line),
                 "{\"phase\": \"%s\", \"done_bytes\": %" PRIu64
                 ", \"total_bytes\": %" PRIu64 ", \"done_ops\": %" PRIu64
                 ", \"total_ops\": %" PRIu64 "}\n",
                 progress->phase, state->done_bytes, state->total_bytes,
                 state->done_ops, state->total_ops);

    length = result > 0 ? (size_t)result : 0;
    while (written < length) {
        ssize_t step = write(progress->fd, line + written, length - written);

        if (step < 0 && errno == EINTR)
            continue;
        if (step < 0) {
            /* Nobody listens: work on in silence. */
            progress->fd = PROGRESS_FD_NONE;
            return;
        }
        written += (size_t)step;
    }
}

/* -- both ----------------------------------------------------------------- */

/* Ten times a second, and always the start and the end of a phase. */
static bool is_due(struct progress *progress, const struct ds_progress *state)
{
    uint64_t now = now_ns();
    bool fresh = strncmp(progress->phase, state->phase,
                         sizeof(progress->phase) - 1) != 0;
    bool ends = state->done_bytes >= state->total_bytes &&
                state->done_ops >= state->total_ops;

    if (fresh) {
        snprintf(progress->phase, sizeof(progress->phase), "%s", state->phase);
        progress->complete = false;
    }
    if (!fresh && !(ends && !progress->complete) &&
        now - progress->shown_ns < SHOW_EVERY_NS)
        return false;
    progress->complete = ends;
    progress->shown_ns = now;
    return true;
}

int progress_show(void *user, const struct ds_progress *state)
{
    struct progress *progress = user;

    if (progress->bar || progress->fd != PROGRESS_FD_NONE) {
        if (is_due(progress, state)) {
            if (progress->bar)
                draw_bar(progress, state);
            if (progress->fd != PROGRESS_FD_NONE)
                write_line(progress, state);
        }
    }
    return progress_signal() != 0;
}
