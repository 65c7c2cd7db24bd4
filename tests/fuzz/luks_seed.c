/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes an encrypted qcow2 that opens with LUKS_IMAGE_PASSPHRASE and at once:
 *
 *     fuzz_luks_seed OUT
 *
 * cluster 0 header   1 L1   2, 3 refcounts   4 L2   5, 6 data   7 LUKS header
 */
#include <stdio.h>
#include <string.h>

#include "luks_image.h"

#define C 4096u
#define CLUSTER_COUNT 8u

static void put(uint8_t *at, unsigned width, uint64_t value)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> 8 * (width - 1 - i));
}

static void make(uint8_t *at)
{
    put(at, 4, 0x514649fb);
    put(at + 4, 4, 3);
    put(at + 20, 4, 12);
    put(at + 24, 8, 64 * C);
    put(at + 32, 4, 2);
    put(at + 36, 4, 1);
    put(at + 40, 8, C);
    put(at + 48, 8, 2 * C);
    put(at + 56, 4, 1);
    put(at + 96, 4, 4);
    put(at + 100, 4, 112);
    put(at + 112, 4, 0x0537be77);
    put(at + 116, 4, 16);
    put(at + 120, 8, 7 * C);
    put(at + 128, 8, LUKS_IMAGE_BYTES);
    put(at + C, 8, 4 * C | UINT64_C(1) << 63);
    put(at + 2 * C, 8, 3 * C);
    for (unsigned i = 0; i < CLUSTER_COUNT; i++)
        put(at + 3 * C + 2 * i, 2, 1);
    put(at + 4 * C, 8, 5 * C | UINT64_C(1) << 63);
    put(at + 4 * C + 24, 8, 6 * C | UINT64_C(1) << 63);
    memset(at + 5 * C, 'a', C);
    luks_image_encrypt(at + 5 * C, 512, 5 * C / 512);
    memset(at + 5 * C + 512, 0, 2 * C - 512);
    luks_image_make(at + 7 * C);
}

int main(int argc, char **argv)
{
    static uint8_t image[CLUSTER_COUNT * C];
    FILE *file = argc == 2 ? fopen(argv[1], "wb") : NULL;

    make(image);
    if (file == NULL ||
        fwrite(image, 1, sizeof(image), file) != sizeof(image) ||
        fclose(file) != 0) {
        fprintf(stderr, "usage: fuzz_luks_seed OUT\n");
        return 2;
    }
    return 0;
}
