/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long does a command take until its output is on storage?
 *
 *   t0 | spawn COMMAND ... exit | t1 | tables | fsync file, directory | t2
 *
 * The clock is CLOCK_MONOTONIC and runs from before the process is made. With
 * --flush FILE the time includes what it takes to get FILE and its name onto
 * storage; a command that flushes by itself is measured without. With
 * --append BYTES that many bytes are first written at the end of FILE: what a
 * copy would cost that also has tables to write.
 *
 * Prints one line of JSON; exits as the command did. Bytes read and written
 * are those that passed through system calls of the command itself, and those
 * that its filesystem moved to and from storage: /proc/PID/io, when it is over.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

#define APPEND_BYTES_MAX (UINT64_C(1) << 30)
#define BUFFER_BYTES ((size_t)1 << 20)

extern char **environ;

struct traffic {
    uint64_t read_bytes;
    uint64_t written_bytes;
    uint64_t storage_read_bytes;
    uint64_t storage_written_bytes;
};

struct request {
    const char *flush_path; /* or NULL */
    uint64_t append_bytes;
    char *const *command;
};

static void read_traffic(pid_t child, struct traffic *traffic)
{
    char path[64], name[32];
    uint64_t value;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/io", (int)child);
    file = fopen(path, "re");
    if (file == NULL)
        die(path);
    while (fscanf(file, "%31[^:]: %" SCNu64 "\n", name, &value) == 2) {
        if (strcmp(name, "rchar") == 0)
            traffic->read_bytes = value;
        else if (strcmp(name, "wchar") == 0)
            traffic->written_bytes = value;
        else if (strcmp(name, "read_bytes") == 0)
            traffic->storage_read_bytes = value;
        else if (strcmp(name, "write_bytes") == 0)
            traffic->storage_written_bytes = value;
    }
    (void)fclose(file);
}

/* What the command prints must not mix with our line. */
static int run(char *const *command, struct traffic *traffic)
{
    posix_spawn_file_actions_t actions;
    siginfo_t ended;
    pid_t child;
    int status;

    if ((errno = posix_spawn_file_actions_init(&actions)) != 0 ||
        (errno = posix_spawn_file_actions_addopen(
             &actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)) != 0 ||
        (errno = posix_spawnp(&child, command[0], &actions, NULL, command,
                              environ)) != 0)
        die(command[0]);
    while (waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT) != 0)
        if (errno != EINTR)
            die("waitid");
    read_traffic(child, traffic);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    (void)posix_spawn_file_actions_destroy(&actions);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void append(int fd, uint64_t length_bytes)
{
    static uint8_t buffer[BUFFER_BYTES];

    memset(buffer, 0x5a, sizeof(buffer));
    if (lseek(fd, 0, SEEK_END) < 0)
        die("lseek");
    while (length_bytes > 0) {
        size_t part =
            length_bytes < BUFFER_BYTES ? (size_t)length_bytes : BUFFER_BYTES;
        ssize_t done = write(fd, buffer, part);

        if (done < 0 && errno != EINTR)
            die("write");
        if (done > 0)
            length_bytes -= (uint64_t)done;
    }
}

static void flush(const struct request *request)
{
    char *copy = strdup(request->flush_path);
    int fd = open(request->flush_path, O_RDWR | O_CLOEXEC);
    int directory;

    if (copy == NULL || fd < 0)
        die(request->flush_path);
    append(fd, request->append_bytes);
    directory = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 || fsync(fd) != 0 || fsync(directory) != 0)
        die(request->flush_path);
    (void)close(directory);
    (void)close(fd);
    free(copy);
}

static void parse(int argc, char **argv, struct request *request)
{
    static const struct option options[] = {
        { "flush", required_argument, NULL, 'f' },
        { "append", required_argument, NULL, 'a' },
        { NULL, 0, NULL, 0 },
    };
    int letter;

    while ((letter = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        if (letter == 'f')
            request->flush_path = optarg;
        else if (letter == 'a')
            request->append_bytes = strtoull(optarg, NULL, 10);
        else
            exit(STATUS_TROUBLE);
    }
    if (optind == argc || request->append_bytes > APPEND_BYTES_MAX) {
        fputs("usage: stopwatch [--flush FILE [--append BYTES]] COMMAND...\n",
              stderr);
        exit(STATUS_TROUBLE);
    }
    request->command = argv + optind;
}

int main(int argc, char **argv)
{
    struct request request = { 0 };
    struct traffic traffic = { 0 };
    struct rusage usage;
    double begin, ended, flushed;
    int status;

    parse(argc, argv, &request);
    begin = now_seconds();
    status = run(request.command, &traffic);
    ended = now_seconds();
    if (status == 0 && request.flush_path != NULL)
        flush(&request);
    flushed = now_seconds();
    if (getrusage(RUSAGE_CHILDREN, &usage) != 0)
        die("getrusage");
    printf("{\"status\":%d,\"seconds\":%.6f,\"flush_seconds\":%.6f,"
           "\"user_seconds\":%.6f,\"system_seconds\":%.6f,"
           "\"resident_bytes_max\":%" PRIu64 ",\"read_bytes\":%" PRIu64
           ",\"written_bytes\":%" PRIu64 ",\"storage_read_bytes\":%" PRIu64
           ",\"storage_written_bytes\":%" PRIu64 "}\n",
           status, flushed - begin, flushed - ended, seconds_of(usage.ru_utime),
           seconds_of(usage.ru_stime), (uint64_t)usage.ru_maxrss * 1024,
           traffic.read_bytes, traffic.written_bytes,
           traffic.storage_read_bytes, traffic.storage_written_bytes);
    return status;
}
