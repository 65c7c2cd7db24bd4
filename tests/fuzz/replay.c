/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs inputs through the harness without a fuzzer:
 *
 *     fuzz_replay FORMAT FILE...      [-v: how far each came]
 *
 * A crash names the input before it: what runs is said on stderr with -v.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

#define INPUT_BYTES_MAX ((size_t)4 << 20)

static uint8_t *read_input(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(INPUT_BYTES_MAX);

    if (file == NULL || bytes == NULL) {
        perror(path);
        exit(2);
    }
    *length = fread(bytes, 1, INPUT_BYTES_MAX, file);
    (void)fclose(file);
    return bytes;
}

int main(int argc, char **argv)
{
    unsigned counts[4] = { 0 };
    bool loud = argc > 1 && strcmp(argv[1], "-v") == 0;
    int first = loud ? 2 : 1;

    if (argc < first + 2) {
        fprintf(stderr, "usage: fuzz_replay [-v] FORMAT FILE...\n");
        return 2;
    }
    for (int i = first + 1; i < argc; i++) {
        size_t length;
        uint8_t *bytes = read_input(argv[i], &length);
        int reached;

        if (loud)
            fprintf(stderr, "%s\n", argv[i]);
        reached = fuzz_one(argv[first], bytes, length);
        counts[reached]++;
        if (loud)
            fprintf(stderr, "    %d\n", reached);
        free(bytes);
    }
    printf("%s: %d inputs: %u refused, %u large, %u walked, %u planned\n",
           argv[first], argc - first - 1, counts[0], counts[1], counts[2],
           counts[3]);
    return 0;
}
