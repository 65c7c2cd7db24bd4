/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_case.h"

#include <stdio.h>
#include <string.h>

#include "arith.h"
#include "bytes.h"

#define MAGIC "DSF1"
#define HEAD_BYTES 8u

/* What is left of the input; a read beyond it gives zeros. */
struct input {
    const uint8_t *bytes;
    size_t left;
};

static const uint8_t *take(struct input *input, size_t length)
{
    const uint8_t *bytes = input->bytes;

    input->bytes += length;
    input->left -= length;
    return bytes;
}

static uint64_t take_number(struct input *input, size_t length)
{
    uint8_t raw[8] = { 0 };
    ds_le64 wire;

    length = length < input->left ? length : input->left;
    memcpy(raw, take(input, length), length);
    memcpy(wire.b, raw, sizeof(raw));
    return ds_le64_get(wire);
}

static void take_name(struct input *input, struct fuzz_file *file)
{
    size_t length = (size_t)take_number(input, 1) % FUZZ_NAME_BYTES;

    length = length < input->left ? length : input->left;
    memcpy(file->name, take(input, length), length);
    file->name[length] = '\0';
}

static void take_file(struct input *input, struct fuzz_file *file)
{
    size_t count;

    take_name(input, file);
    file->size_bytes = take_number(input, 8) % (FUZZ_FILE_BYTES_MAX + 1);
    count = (size_t)take_number(input, 2);
    for (size_t i = 0; i < count && input->left > 0; i++) {
        struct fuzz_piece piece = { .offset_bytes = take_number(input, 8) };
        size_t length = (size_t)take_number(input, 4);

        length = length < input->left ? length : input->left;
        piece.length_bytes = (uint32_t)length;
        piece.bytes = take(input, length);
        if (file->piece_count < FUZZ_PIECE_COUNT_MAX / 2)
            file->pieces[file->piece_count++] = piece;
    }
}

static void take_plain(struct input *input, struct fuzz_case *fuzz)
{
    struct fuzz_file *file = &fuzz->files[0];
    size_t length = input->left;

    fuzz->file_count = 1;
    (void)snprintf(file->name, sizeof(file->name), "image");
    file->size_bytes = length;
    file->pieces[0] = (struct fuzz_piece){ .length_bytes = (uint32_t)length,
                                           .bytes = take(input, length) };
    file->piece_count = 1;
}

void fuzz_case_parse(struct fuzz_case *fuzz, const uint8_t *bytes,
                     size_t length_bytes)
{
    struct input input = { bytes, length_bytes };
    size_t count;

    fuzz->flags = 0;
    fuzz->choice = 0;
    fuzz->file_count = 0;
    for (size_t i = 0; i < FUZZ_FILE_COUNT_MAX; i++) {
        fuzz->files[i].piece_count = 0;
        fuzz->files[i].repaired_count = 0;
    }
    if (length_bytes < HEAD_BYTES || memcmp(bytes, MAGIC, 4) != 0) {
        take_plain(&input, fuzz);
        return;
    }
    (void)take(&input, 4);
    fuzz->flags = (uint8_t)take_number(&input, 1);
    fuzz->choice = (uint8_t)take_number(&input, 1);
    count = (size_t)take_number(&input, 2) % (FUZZ_FILE_COUNT_MAX + 1);
    count = count == 0 ? 1 : count;
    while (fuzz->file_count < count)
        take_file(&input, &fuzz->files[fuzz->file_count++]);
}

/* -- the other way ----------------------------------------------------------*/

struct output {
    uint8_t *bytes;
    size_t used;
    size_t size_max;
};

static void put(struct output *output, const void *bytes, size_t length)
{
    if (length <= output->size_max && output->used <= output->size_max - length)
        memcpy(output->bytes + output->used, bytes, length);
    output->used += length;
}

static void put_number(struct output *output, uint64_t value, size_t length)
{
    ds_le64 wire = ds_le64_make(value);

    put(output, wire.b, length);
}

size_t fuzz_case_serialise(const struct fuzz_case *fuzz, uint8_t *out,
                           size_t size_max)
{
    struct output output = { .bytes = out, .size_max = size_max };

    put(&output, MAGIC, 4);
    put_number(&output, fuzz->flags, 1);
    put_number(&output, fuzz->choice, 1);
    put_number(&output, fuzz->file_count, 2);
    for (size_t i = 0; i < fuzz->file_count; i++) {
        const struct fuzz_file *file = &fuzz->files[i];
        size_t count = file->piece_count - file->repaired_count;

        put_number(&output, strlen(file->name), 1);
        put(&output, file->name, strlen(file->name));
        put_number(&output, file->size_bytes, 8);
        put_number(&output, count, 2);
        for (size_t p = 0; p < count; p++) {
            put_number(&output, file->pieces[p].offset_bytes, 8);
            put_number(&output, file->pieces[p].length_bytes, 4);
            put(&output, file->pieces[p].bytes, file->pieces[p].length_bytes);
        }
    }
    return output.used <= size_max ? output.used : 0;
}

/* -- the file ---------------------------------------------------------------*/

void fuzz_file_read(const struct fuzz_file *file, uint64_t offset_bytes,
                    void *buffer, size_t length_bytes)
{
    memset(buffer, 0, length_bytes);
    for (size_t i = 0; i < file->piece_count; i++) {
        const struct fuzz_piece *piece = &file->pieces[i];
        uint64_t begin = ds_max_u64(offset_bytes, piece->offset_bytes);
        uint64_t end, piece_end;

        if (!ds_add_u64(piece->offset_bytes, piece->length_bytes, &piece_end))
            continue;
        end = ds_min_u64(offset_bytes + length_bytes, piece_end);
        if (begin < end)
            memcpy((uint8_t *)buffer + (begin - offset_bytes),
                   piece->bytes + (begin - piece->offset_bytes),
                   (size_t)(end - begin));
    }
}
