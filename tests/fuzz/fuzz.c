/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer's side: the entry point and a mutator that knows what an input is
 * (fuzz_case.h), so that most of what it makes is still an image. FUZZ_FORMAT
 * is given by the build: a format, or a mode of modes.h. Modes whose inputs are
 * no images (FUZZ_PLAIN) have libFuzzer's own mutator.
 */
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "bytes.h"
#include "harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)fuzz_one(FUZZ_FORMAT, data, size);
    return 0;
}

#ifndef FUZZ_PLAIN
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max,
                               unsigned seed);

#define PIECE_BYTES_MAX ((size_t)64 * 1024)

static uint8_t scratch[PIECE_BYTES_MAX + 256]; /* the piece being changed */
static uint64_t random_state;

static uint64_t random_next(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t random_below(size_t bound)
{
    return bound == 0 ? 0 : (size_t)(random_next() % bound);
}

/* Numbers at which code turns: powers of two and their neighbours, places in
 * the file and one file's place in another unit. */
static uint64_t telling_number(const struct fuzz_file *file)
{
    uint64_t value;

    switch (random_below(5)) {
    case 0:
        return random_below(9);
    case 1:
        return (UINT64_C(1) << random_below(64)) + random_below(3) - 1;
    case 2:
        value = file->size_bytes;
        break;
    case 3:
        value =
            file->piece_count == 0
                ? 0
                : file->pieces[random_below(file->piece_count)].offset_bytes;
        break;
    default:
        return 0 - (uint64_t)random_below(9);
    }
    if (random_below(2) == 0)
        value /= random_below(2) == 0 ? 512 : 65536;
    return value + random_below(3) - 1;
}

static size_t poke(const struct fuzz_file *file, size_t length)
{
    size_t width = (size_t)1 << random_below(4);
    size_t at = random_below(length);
    uint64_t value;
    ds_le64 little;
    ds_be64 big;

    if (length < width)
        return length;
    at = random_below(4) == 0 ? at : at / width * width;
    at = at > length - width ? length - width : at;
    if (random_below(3) == 0) { /* a little more or less than it was */
        bool is_big = random_below(2) == 0;

        memset(&little, 0, sizeof(little));
        memset(&big, 0, sizeof(big));
        memcpy(little.b, scratch + at, width);
        memcpy(big.b + 8 - width, scratch + at, width);
        value = (is_big ? ds_be64_get(big) : ds_le64_get(little)) +
                random_below(17) - 8;
        little = ds_le64_make(value);
        big = ds_be64_make(value);
        memcpy(scratch + at, is_big ? big.b + 8 - width : little.b, width);
        return length;
    }
    value = telling_number(file);
    little = ds_le64_make(value);
    big = ds_be64_make(value);
    memcpy(scratch + at, random_below(2) == 0 ? big.b + 8 - width : little.b,
           width);
    return length;
}

/* One entry of a table becomes another's equal, or they change places. */
static size_t copy_entry(size_t length)
{
    size_t width = (size_t)4 << random_below(3);
    size_t from, to;
    uint8_t kept[16];

    if (length < 2 * width)
        return length;
    from = random_below(length / width) * width;
    to = random_below(length / width) * width;
    memcpy(kept, scratch + to, width);
    memcpy(scratch + to, scratch + from, width);
    if (random_below(2) == 0)
        memcpy(scratch + from, kept, width);
    return length;
}

static void change_bytes(struct fuzz_file *file)
{
    struct fuzz_piece *piece = &file->pieces[random_below(file->piece_count)];
    size_t length = piece->length_bytes;

    if (length == 0 || length > PIECE_BYTES_MAX)
        return;
    memcpy(scratch, piece->bytes, length);
    for (size_t times = 1 + random_below(3); times > 0; times--)
        switch (random_below(8)) {
        case 0: /* text grows and shrinks */
            length = LLVMFuzzerMutate(scratch, length, PIECE_BYTES_MAX);
            break;
        case 1:
        case 2:
            (void)LLVMFuzzerMutate(scratch, length, length);
            break;
        case 3:
            length = copy_entry(length);
            break;
        default:
            length = poke(file, length);
        }
    piece->bytes = scratch;
    piece->length_bytes = (uint32_t)length;
}

static void change_pieces(struct fuzz_file *file)
{
    size_t at = random_below(file->piece_count);
    struct fuzz_piece *piece = &file->pieces[at];

    switch (random_below(4)) {
    case 0:
        piece->offset_bytes = telling_number(file);
        break;
    case 1:
        piece->offset_bytes += (random_below(9) - 4) * 512;
        break;
    case 2:
        *piece = file->pieces[--file->piece_count];
        break;
    default:
        if (file->piece_count < FUZZ_PIECE_COUNT_MAX / 2) {
            struct fuzz_piece copy = *piece;

            copy.offset_bytes = telling_number(file);
            file->pieces[file->piece_count++] = copy;
        }
    }
}

static void change_size(struct fuzz_file *file)
{
    switch (random_below(4)) {
    case 0:
        file->size_bytes = telling_number(file) % FUZZ_FILE_BYTES_MAX;
        break;
    case 1:
        file->size_bytes -= ds_min_u64(file->size_bytes, random_below(4096));
        break;
    case 2:
        file->size_bytes = random_next() % (file->size_bytes + 1);
        break;
    default:
        file->size_bytes += (uint64_t)512 << random_below(16);
        file->size_bytes %= FUZZ_FILE_BYTES_MAX;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max,
                               unsigned seed)
{
    static struct fuzz_case fuzz;
    static uint8_t out[(size_t)4 << 20];
    struct fuzz_file *file;
    size_t length, choice;

    random_state = seed;
    fuzz_case_parse(&fuzz, data, size);
    file =
        &fuzz.files[random_below(3) == 0 ? random_below(fuzz.file_count) : 0];
    choice = random_below(20);
    if (choice == 0)
        fuzz.flags ^= (uint8_t)(1u << random_below(6));
    else if (choice == 1)
        fuzz.choice = (uint8_t)random_next();
    else if (choice == 2)
        change_size(file);
    else if (choice == 3 && file->piece_count > 0)
        change_pieces(file);
    else if (file->piece_count > 0)
        change_bytes(file);
    else
        return LLVMFuzzerMutate(data, size, size_max);
    length = fuzz_case_serialise(
        &fuzz, out, size_max < sizeof(out) ? size_max : sizeof(out));
    if (length == 0)
        return size;
    memcpy(data, out, length);
    return length;
}
#endif
