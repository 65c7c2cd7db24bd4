/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel alone takes for the calls that a plan consists of: the floor
 * under a conversion that makes them.
 *
 *   list read | t0 | FICLONERANGE, pwrite ... | t1 | fsync file, directory | t2
 *   | cache dropped, tables read | t3
 *
 * LIST holds a line for each range: where it comes from, source offset, target
 * offset, length, in bytes. It comes from "source"; or from "target", which is
 * a page of bitmap that is cloned behind: where such a page is first named it
 * is written, and the kernel flushes it when it is cloned; or it is "bytes" of
 * a table, which are written. The target is new. What diskshift does besides
 * (its process, renaming, verification) is not within the time; to read the
 * tables from storage, which verification cannot do without, is a time of its
 * own. Prints a line of JSON like stopwatch's.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "measure.h"

#define RANGE_COUNT_MAX ((size_t)16 << 20)
#define PAGE_BYTES 4096
#define BUFFER_BYTES ((size_t)1 << 20)

enum origin { ORIGIN_SOURCE, ORIGIN_TARGET, ORIGIN_BYTES };

struct range {
    enum origin origin;
    struct file_clone_range clone;
};

struct list {
    struct range *ranges;
    size_t count;
    uint64_t end_bytes; /* of the target */
};

static enum origin origin_of(const char *name)
{
    if (strcmp(name, "bytes") == 0)
        return ORIGIN_BYTES;
    return strcmp(name, "target") == 0 ? ORIGIN_TARGET : ORIGIN_SOURCE;
}

static void append(struct list *list, size_t *room, const char *file,
                   uint64_t source, uint64_t target, uint64_t length_bytes)
{
    if (list->count == *room) {
        *room = *room == 0 ? 4096 : *room * 2;
        list->ranges = realloc(list->ranges, *room * sizeof(*list->ranges));
        if (list->ranges == NULL || list->count > RANGE_COUNT_MAX)
            die("memory");
    }
    list->ranges[list->count++] = (struct range){
        .origin = origin_of(file),
        .clone = { .src_offset = source,
                   .src_length = length_bytes,
                   .dest_offset = target },
    };
    if (target + length_bytes > list->end_bytes)
        list->end_bytes = target + length_bytes;
}

static struct list read_list(const char *path)
{
    struct list list = { 0 };
    FILE *file = fopen(path, "re");
    uint64_t source, target, length_bytes;
    size_t room = 0;
    char from[8];

    if (file == NULL)
        die(path);
    while (fscanf(file, "%7s %" SCNu64 " %" SCNu64 " %" SCNu64, from, &source,
                  &target, &length_bytes) == 4)
        append(&list, &room, from, source, target, length_bytes);
    if (list.count == 0 || !feof(file)) {
        fputs("clones: LIST: expect lines of an origin and three numbers\n",
              stderr);
        exit(1);
    }
    (void)fclose(file);
    return list;
}

/* A table's bytes, to the file or from it. */
static void move_bytes(int file, bool written, uint64_t offset,
                       uint64_t length_bytes)
{
    static char buffer[BUFFER_BYTES];

    memset(buffer, 0xff, PAGE_BYTES);
    while (length_bytes > 0) {
        size_t part =
            length_bytes < BUFFER_BYTES ? (size_t)length_bytes : BUFFER_BYTES;
        ssize_t done = written ? pwrite(file, buffer, part, (off_t)offset)
                               : pread(file, buffer, part, (off_t)offset);

        if (done != (ssize_t)part)
            die(written ? "pwrite" : "pread");
        offset += part;
        length_bytes -= part;
    }
}

/* All tables are asked for before the first is waited for. */
static void read_tables(int from, const struct list *list)
{
    const struct range *end = list->ranges + list->count;

    if (posix_fadvise(from, 0, 0, POSIX_FADV_DONTNEED) != 0)
        die("posix_fadvise");
    for (const struct range *range = list->ranges; range < end; range++)
        if (range->origin == ORIGIN_BYTES)
            (void)posix_fadvise(from, (off_t)range->clone.dest_offset,
                                (off_t)range->clone.src_length,
                                POSIX_FADV_WILLNEED);
    for (const struct range *range = list->ranges; range < end; range++)
        if (range->origin == ORIGIN_BYTES)
            move_bytes(from, false, range->clone.dest_offset,
                       range->clone.src_length);
}

static void make_all(int from, int to, struct list *list)
{
    uint64_t page = UINT64_MAX;

    if (ftruncate(to, (off_t)list->end_bytes) != 0)
        die("ftruncate");
    for (size_t i = 0; i < list->count; i++) {
        struct file_clone_range *clone = &list->ranges[i].clone;
        enum origin origin = list->ranges[i].origin;

        if (origin == ORIGIN_BYTES) {
            move_bytes(to, true, clone->dest_offset, clone->src_length);
            continue;
        }
        if (origin == ORIGIN_TARGET && clone->src_offset != page)
            move_bytes(to, true, page = clone->src_offset, PAGE_BYTES);
        clone->src_fd = origin == ORIGIN_TARGET ? to : from;
        if (ioctl(to, FICLONERANGE, clone) != 0)
            die("FICLONERANGE");
    }
}

int main(int argc, char **argv)
{
    struct rusage before, after;
    struct list list;
    double begin, ended, flushed, read;
    int from, to, directory;

    if (argc != 4) {
        fputs("usage: clones SOURCE TARGET LIST\n", stderr);
        return 2;
    }
    list = read_list(argv[3]);
    from = open(argv[1], O_RDONLY | O_CLOEXEC);
    to = open(argv[2], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (from < 0 || to < 0)
        die(from < 0 ? argv[1] : argv[2]);
    (void)getrusage(RUSAGE_SELF, &before);
    begin = now_seconds();
    make_all(from, to, &list);
    ended = now_seconds();
    directory = open(dirname(argv[2]), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fsync(to) != 0 || directory < 0 || fsync(directory) != 0)
        die("fsync");
    flushed = now_seconds();
    (void)getrusage(RUSAGE_SELF, &after);
    read_tables(to, &list);
    read = now_seconds();
    printf("{\"status\":0,\"seconds\":%.6f,\"flush_seconds\":%.6f,"
           "\"read_back_seconds\":%.6f,"
           "\"user_seconds\":%.6f,\"system_seconds\":%.6f,\"calls\":%zu}\n",
           flushed - begin, flushed - ended, read - flushed,
           seconds_of(after.ru_utime) - seconds_of(before.ru_utime),
           seconds_of(after.ru_stime) - seconds_of(before.ru_stime),
           list.count);
    free(list.ranges);
    return 0;
}
