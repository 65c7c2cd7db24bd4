/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes of the target's files lie on blocks of the source's files?
 * An independent witness: knows nothing of images and uses nothing of the
 * library, only the kernel's FIEMAP (Documentation/filesystems/fiemap.rst).
 *
 *     fiemap SOURCE... -- TARGET...
 *     fiemap --map FILE
 *     fiemap --holes FILE <RANGES
 *
 * Prints `shared N allocated N unwritten N`: N bytes of the targets whose
 * extents are written and lie on written extents of a source; bytes that
 * are written at all; bytes that are allocated and unwritten.
 *
 * `--map` lists the extents: offset, length, physical address, flags.
 * `--holes` reads "OFFSET LENGTH" lines and prints how many bytes of these
 * ranges are holes or unwritten.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BATCH_COUNT 256u
/* Addresses under these flags are missing, provisional, or those of a unit
 * that holds the bytes in another form. */
#define NO_ADDRESS                                                             \
    (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |  \
     FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL |                     \
     FIEMAP_EXTENT_NOT_ALIGNED)

struct extent {
    uint64_t logical, physical, length;
    uint32_t flags;
};

struct list {
    struct extent *items;
    size_t count, room;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "fiemap: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void add(struct list *list, const struct fiemap_extent *extent)
{
    if (list->count == list->room) {
        list->room = list->room == 0 ? 1024 : list->room * 2;
        list->items =
            reallocarray(list->items, list->room, sizeof(*list->items));
        if (list->items == NULL)
            die("memory");
    }
    list->items[list->count++] =
        (struct extent){ extent->fe_logical, extent->fe_physical,
                         extent->fe_length, extent->fe_flags };
}

static void read_extents(const char *path, struct list *list)
{
    static union {
        struct fiemap map;
        char room[sizeof(struct fiemap) +
                  BATCH_COUNT * sizeof(struct fiemap_extent)];
    } request;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t start = 0;

    if (fd < 0)
        die(path);
    for (bool last = false; !last;) {
        memset(&request, 0, sizeof(request));
        request.map.fm_start = start;
        request.map.fm_length = FIEMAP_MAX_OFFSET - start;
        request.map.fm_flags = FIEMAP_FLAG_SYNC;
        request.map.fm_extent_count = BATCH_COUNT;
        if (ioctl(fd, FS_IOC_FIEMAP, &request.map) != 0)
            die(path);
        if (request.map.fm_mapped_extents == 0)
            break;
        for (uint32_t i = 0; i < request.map.fm_mapped_extents; i++) {
            const struct fiemap_extent *extent = &request.map.fm_extents[i];

            add(list, extent);
            start = extent->fe_logical + extent->fe_length;
            last = (extent->fe_flags & FIEMAP_EXTENT_LAST) != 0;
        }
    }
    close(fd);
}

static bool written(const struct extent *extent)
{
    return (extent->flags & (NO_ADDRESS | FIEMAP_EXTENT_UNWRITTEN)) == 0 &&
           extent->physical != 0;
}

static void keep_written(struct list *list)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++)
        if (written(&list->items[i]))
            list->items[kept++] = list->items[i];
    list->count = kept;
}

static int by_address(const void *left, const void *right)
{
    const struct extent *a = left, *b = right;

    return a->physical < b->physical ? -1 : a->physical > b->physical;
}

/* Sort by address and unite what overlaps: a file may refer to a block more
 * than once. */
static void unite(struct list *list)
{
    size_t last = 0;

    if (list->count == 0)
        return;
    qsort(list->items, list->count, sizeof(*list->items), by_address);
    for (size_t i = 1; i < list->count; i++) {
        struct extent *into = &list->items[last];
        const struct extent *from = &list->items[i];
        uint64_t end = into->physical + into->length;

        if (from->physical > end)
            list->items[++last] = *from;
        else if (from->physical + from->length > end)
            into->length = from->physical + from->length - into->physical;
    }
    list->count = last + 1;
}

/* How much of [first, first + length) lies in the united list. */
static uint64_t covered(const struct list *list, uint64_t first,
                        uint64_t length)
{
    uint64_t end = first + length, sum = 0;
    size_t low = 0, high = list->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (list->items[middle].physical + list->items[middle].length <= first)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < list->count && list->items[low].physical < end; low++) {
        const struct extent *item = &list->items[low];
        uint64_t from = item->physical > first ? item->physical : first;
        uint64_t to = item->physical + item->length;

        sum += (to < end ? to : end) - from;
    }
    return sum;
}

static int compare(int argc, char **argv)
{
    struct list sources = { 0 }, targets = { 0 };
    uint64_t shared = 0, allocated = 0, unwritten = 0;
    int i = 1;

    for (; i < argc && strcmp(argv[i], "--") != 0; i++)
        read_extents(argv[i], &sources);
    if (i == 1 || i + 1 >= argc)
        return 2;
    for (i++; i < argc; i++)
        read_extents(argv[i], &targets);
    keep_written(&sources);
    unite(&sources);
    for (size_t t = 0; t < targets.count; t++) {
        const struct extent *extent = &targets.items[t];

        if ((extent->flags & FIEMAP_EXTENT_UNWRITTEN) != 0)
            unwritten += extent->length;
        else
            allocated += extent->length;
        if (written(extent))
            shared += covered(&sources, extent->physical, extent->length);
    }
    printf("shared %" PRIu64 " allocated %" PRIu64 " unwritten %" PRIu64 "\n",
           shared, allocated, unwritten);
    free(sources.items);
    free(targets.items);
    return 0;
}

static int show(const char *path)
{
    struct list list = { 0 };

    read_extents(path, &list);
    for (size_t i = 0; i < list.count; i++)
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " 0x%" PRIx32 "\n",
               list.items[i].logical, list.items[i].length,
               list.items[i].physical, list.items[i].flags);
    free(list.items);
    return 0;
}

/* Ranges come as "OFFSET LENGTH" lines on standard input. */
static int holes(const char *path)
{
    struct list list = { 0 };
    uint64_t offset, length, empty = 0;

    read_extents(path, &list);
    while (scanf("%" SCNu64 " %" SCNu64, &offset, &length) == 2) {
        uint64_t end = offset + length;

        empty += length;
        for (size_t i = 0; i < list.count; i++) {
            const struct extent *item = &list.items[i];
            uint64_t from = item->logical > offset ? item->logical : offset;
            uint64_t to = item->logical + item->length;

            to = to < end ? to : end;
            if (from < to && (item->flags & FIEMAP_EXTENT_UNWRITTEN) == 0)
                empty -= to - from;
        }
    }
    printf("%" PRIu64 "\n", empty);
    free(list.items);
    return 0;
}

int main(int argc, char **argv)
{
    int status = 2;

    if (argc == 3 && strcmp(argv[1], "--map") == 0)
        status = show(argv[2]);
    else if (argc == 3 && strcmp(argv[1], "--holes") == 0)
        status = holes(argv[2]);
    else if (argc >= 4)
        status = compare(argc, argv);
    if (status == 2)
        fprintf(stderr, "usage: fiemap SOURCE... -- TARGET...\n"
                        "       fiemap --map FILE\n"
                        "       fiemap --holes FILE <RANGES\n");
    return status;
}
