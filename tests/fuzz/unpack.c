/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the files of inputs, with their checksums repaired, for programs that
 * want them on a filesystem:
 *
 *     fuzz_unpack INPUT...      the image of the Nth input is N/FIRST
 *
 * Prints its name, one line for each input.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz_case.h"

#define INPUT_BYTES_MAX ((size_t)4 << 20)

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void write_at(int fd, const void *bytes, size_t length, uint64_t offset,
                     const char *path)
{
    if (pwrite(fd, bytes, length, (off_t)offset) != (ssize_t)length)
        fail(path);
}

/* What a mutation named otherwise than files in a directory are called, no
 * program could open: such a file is left away. */
static void write_file(const struct fuzz_file *file, unsigned index,
                       const char *directory)
{
    char path[32 + FUZZ_NAME_BYTES];
    uint8_t piece[4096];
    int fd;

    if (index == 0)
        (void)snprintf(path, sizeof(path), "%s/image", directory);
    else if (file->name[0] != '\0' && strchr(file->name, '/') == NULL)
        (void)snprintf(path, sizeof(path), "%s/%s", directory, file->name);
    else
        return;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        if (index > 0 && (errno == EEXIST || errno == EISDIR))
            return;
        fail(path);
    }
    if (ftruncate(fd, (off_t)file->size_bytes) != 0)
        fail(path);
    for (size_t i = 0; i < file->piece_count; i++) {
        uint64_t at = file->pieces[i].offset_bytes;
        uint64_t end = at + file->pieces[i].length_bytes;

        /* Through the reader: later pieces lie over earlier ones. */
        while (at < end && at < file->size_bytes) {
            uint64_t length = end - at;

            if (length > sizeof(piece))
                length = sizeof(piece);
            if (length > file->size_bytes - at)
                length = file->size_bytes - at;
            fuzz_file_read(file, at, piece, (size_t)length);
            write_at(fd, piece, (size_t)length, at, path);
            at += length;
        }
    }
    if (close(fd) != 0)
        fail(path);
}

int main(int argc, char **argv)
{
    static struct fuzz_case fuzz;
    uint8_t *bytes = malloc(INPUT_BYTES_MAX);

    for (int i = 1; i < argc && bytes != NULL; i++) {
        FILE *input = fopen(argv[i], "rb");
        char directory[32];
        size_t length;

        if (input == NULL)
            fail(argv[i]);
        length = fread(bytes, 1, INPUT_BYTES_MAX, input);
        (void)fclose(input);
        memset(&fuzz, 0, sizeof(fuzz));
        fuzz_case_parse(&fuzz, bytes, length);
        if ((fuzz.flags & FUZZ_AS_IT_IS) == 0)
            fuzz_case_repair(&fuzz);
        (void)snprintf(directory, sizeof(directory), "%d", i);
        if (mkdir(directory, 0700) != 0)
            fail(directory);
        for (unsigned k = 0; k < fuzz.file_count; k++)
            write_file(&fuzz.files[k], k, directory);
        printf("%s/image\n", directory);
    }
    free(bytes);
    return bytes != NULL ? 0 : 1;
}
