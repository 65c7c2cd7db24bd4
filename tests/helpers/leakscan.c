/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks for secrets in a file, at every byte offset.
 *
 *     leakscan FILE TAG...
 *
 * Prints `TAG COUNT FIRST_OFFSET` for each tag that occurs. Exit 0 when none
 * does, 1 when one does, 2 when it could not look.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)1 << 20)
#define TAG_BYTES_MAX ((size_t)256)
#define TAG_COUNT_MAX 32

struct finding {
    uint64_t count, first;
};

/* Occurrences that begin in [0, begin_limit). */
static void search(const uint8_t *bytes, size_t length, size_t begin_limit,
                   uint64_t offset, const char *tag, struct finding *finding)
{
    size_t tag_length = strlen(tag), at = 0;

    while (at < begin_limit) {
        const uint8_t *hit = memmem(bytes + at, length - at, tag, tag_length);

        if (hit == NULL || (size_t)(hit - bytes) >= begin_limit)
            return;
        at = (size_t)(hit - bytes);
        if (finding->count++ == 0)
            finding->first = offset + at;
        at++;
    }
}

static int scan(int fd, char **tags, int tag_count, struct finding *findings)
{
    uint8_t *buffer = malloc(CHUNK_BYTES + TAG_BYTES_MAX);
    uint64_t offset = 0;
    off_t data;

    if (buffer == NULL)
        return 2;
    /* Holes hold no secrets; tags shorter than a block do not span them. */
    while ((data = lseek(fd, (off_t)offset, SEEK_DATA)) >= 0) {
        ssize_t length;

        offset = (uint64_t)data;
        length = pread(fd, buffer, CHUNK_BYTES + TAG_BYTES_MAX, data);
        if (length <= 0)
            break;
        for (int i = 0; i < tag_count; i++)
            search(buffer, (size_t)length,
                   (size_t)length < CHUNK_BYTES ? (size_t)length : CHUNK_BYTES,
                   offset, tags[i], &findings[i]);
        offset += (size_t)length < CHUNK_BYTES ? (size_t)length : CHUNK_BYTES;
    }
    free(buffer);
    return 0;
}

int main(int argc, char **argv)
{
    struct finding findings[TAG_COUNT_MAX] = { 0 };
    int fd, status;

    if (argc < 3 || argc - 2 > TAG_COUNT_MAX) {
        fprintf(stderr, "usage: leakscan FILE TAG...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++)
        if (argv[i][0] == '\0' || strlen(argv[i]) >= TAG_BYTES_MAX)
            return 2;
    fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        perror(argv[1]);
        return 2;
    }
    status = scan(fd, argv + 2, argc - 2, findings);
    for (int i = 0; status != 2 && i < argc - 2; i++) {
        if (findings[i].count == 0)
            continue;
        printf("%s %" PRIu64 " %" PRIu64 "\n", argv[i + 2], findings[i].count,
               findings[i].first);
        status = 1;
    }
    close(fd);
    return status;
}
