/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fuzzer's input means: the files of one disk and how to take them.
 *
 * An image lies mostly in zeros (the tables of a VHDX begin at 1 MiB), so an
 * input is not the file but what in it is not zero:
 *
 *   "DSF1" flags choice file_count 0
 *   per file    name_bytes(1) name size(8) piece_count(2)
 *     per piece   offset(8) length(4) bytes
 *
 * Little-endian. Later pieces lie over earlier ones, all else reads as zeros.
 * A record that is cut off ends where the input does. An input without the
 * magic is one file as it stands.
 */
#ifndef DS_TESTS_FUZZ_CASE_H
#define DS_TESTS_FUZZ_CASE_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_FILE_COUNT_MAX 8u
#define FUZZ_PIECE_COUNT_MAX 512u
#define FUZZ_NAME_BYTES 64u
/* Beyond 2 TiB, where 32-bit sector numbers end. */
#define FUZZ_FILE_BYTES_MAX (UINT64_C(3) << 40)

enum fuzz_flags {
    FUZZ_AS_IT_IS = 1,  /* checksums are left wrong */
    FUZZ_PROBE = 2,     /* the format is found from the content */
    FUZZ_NO_CLONE = 4,  /* the store shares no blocks */
    FUZZ_NO_REFS = 8,   /* further files are forbidden */
    FUZZ_SNAPSHOT = 16, /* internal snapshot "1" is opened */
    FUZZ_MEMBER = 32    /* disk 1 of a container is opened */
};

struct fuzz_piece {
    uint64_t offset_bytes;
    uint32_t length_bytes;
    const uint8_t *bytes; /* borrowed */
};

struct fuzz_file {
    char name[FUZZ_NAME_BYTES];
    uint64_t size_bytes;
    struct fuzz_piece pieces[FUZZ_PIECE_COUNT_MAX];
    size_t piece_count;
    uint8_t repaired[FUZZ_PIECE_COUNT_MAX][8]; /* bytes that repair added */
    size_t repaired_count;
};

struct fuzz_case {
    uint8_t flags;
    uint8_t choice; /* of the target that is planned */
    struct fuzz_file files[FUZZ_FILE_COUNT_MAX];
    size_t file_count;
};

/** Read an input; pieces point into it. Never fails. */
void fuzz_case_parse(struct fuzz_case *fuzz, const uint8_t *input,
                     size_t length_bytes);

/** The input that `fuzz` is, without what repair added. The bytes taken, 0
 * when they are more than `size_max`. */
size_t fuzz_case_serialise(const struct fuzz_case *fuzz, uint8_t *out,
                           size_t size_max);

/** Bytes of a file. The range need not lie in it: beyond is zeros. */
void fuzz_file_read(const struct fuzz_file *file, uint64_t offset_bytes,
                    void *buffer, size_t length_bytes);

/** Make the checksums right that would keep a mutation from being looked at:
 * of VHD and VHDX records and tar headers. */
void fuzz_case_repair(struct fuzz_case *fuzz);

#endif
