/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a fuzzer's input of an image's files:
 *
 *     fuzz_pack OUT MAX FILE...
 *
 * The first is the one that is opened. Zeros are left out, and of a run of
 * other bytes beyond the first 8 KiB all beyond MAX (guest data, key material).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz_case.h"

/* Fewer zeros than this between two runs are not worth a piece. */
#define GAP_BYTES 64u
/* A run does not go over these: records begin pieces. */
#define BORDER_BYTES 4096u
/* Headers are kept whole. */
#define HEAD_BYTES 8192u
#define OUT_BYTES_MAX ((size_t)1 << 20)

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint8_t *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    uint8_t *bytes;

    if (file == NULL || fstat(fileno(file), &status) != 0)
        die(path);
    *length = (size_t)status.st_size;
    bytes = malloc(*length + 1);
    if (bytes == NULL || fread(bytes, 1, *length, file) != *length)
        die(path);
    (void)fclose(file);
    return bytes;
}

static size_t zeros_at(const uint8_t *bytes, size_t at, size_t end)
{
    size_t begin = at;

    while (at < end && bytes[at] == 0)
        at++;
    return at - begin;
}

static size_t run_at(const uint8_t *bytes, size_t at, size_t length)
{
    size_t end = at, border = (at / BORDER_BYTES + 1) * BORDER_BYTES;

    border = border < length ? border : length;
    while (end < border) {
        size_t zeros = zeros_at(bytes, end, border);

        if (zeros >= GAP_BYTES || end + zeros == border)
            break;
        end += zeros + 1;
    }
    return end - at;
}

static void pack(struct fuzz_file *file, const char *path, size_t run_max)
{
    const char *slash = strrchr(path, '/');
    size_t length, at = 0, run_end = 0, used = 0;
    const uint8_t *bytes = read_file(path, &length);

    (void)snprintf(file->name, sizeof(file->name), "%s",
                   slash != NULL ? slash + 1 : path);
    file->size_bytes = length;
    while (at < length) {
        size_t run;

        at += zeros_at(bytes, at, length);
        run = run_at(bytes, at, length);
        used = at == run_end && at > HEAD_BYTES ? used : 0;
        run_end = at + run;
        if (at >= HEAD_BYTES)
            run = used + run <= run_max ? run : run_max - used;
        used += run;
        if (run > 0) {
            if (file->piece_count == FUZZ_PIECE_COUNT_MAX / 2) {
                fprintf(stderr, "%s: too many pieces\n", path);
                exit(1);
            }
            file->pieces[file->piece_count++] =
                (struct fuzz_piece){ .offset_bytes = at,
                                     .length_bytes = (uint32_t)run,
                                     .bytes = bytes + at };
        }
        at = run_end;
    }
}

int main(int argc, char **argv)
{
    static struct fuzz_case fuzz;
    static uint8_t out[OUT_BYTES_MAX];
    size_t length;
    FILE *file;

    if (argc < 4 || argc - 3 > (int)FUZZ_FILE_COUNT_MAX) {
        fprintf(stderr, "usage: fuzz_pack OUT MAX FILE...\n");
        return 2;
    }
    for (int i = 3; i < argc; i++)
        pack(&fuzz.files[fuzz.file_count++], argv[i],
             (size_t)strtoul(argv[2], NULL, 10));
    length = fuzz_case_serialise(&fuzz, out, sizeof(out));
    file = fopen(argv[1], "wb");
    if (length == 0 || file == NULL || fwrite(out, 1, length, file) != length ||
        fclose(file) != 0)
        die(argv[1]);
    return 0;
}
