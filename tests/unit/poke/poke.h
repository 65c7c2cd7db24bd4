/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every field of every record, set to what it must not be.
 *
 *   sample   a small image made by hand, its records and landmarks
 *   record   a wire struct of formats/, and where in the sample it lies
 *   row      a field of a record and what kind of number it is
 *   value    by kind: 0, 1, one off, the highest bit, the maximum; of places
 *            also beyond the end, onto records, onto other data, around
 *   line     of SAMPLE.txt: what is said to it
 *
 * A line is `record.field = VALUE: OUTCOME`, and an outcome is the message of
 * a clean error, `same` (the guest reads what it did) or `other` (the value
 * makes another image that is right in itself; the row must say why). Each
 * value is taken through a whole conversion in memory (whole.h), which holds
 * it to what must be true of any input. Checksums are made right again, unless
 * the field is one.
 *
 * Complete is a table when its rows leave no byte of a record out, and the
 * records no wire struct of the format (poke_complete).
 *
 * DS_POKE_RECORD=1 writes the .txt files anew: read the difference before you
 * believe it.
 */
#ifndef DS_TESTS_POKE_H
#define DS_TESTS_POKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fuzz_case.h"
#include "whole.h"

enum poke_kind {
    POKE_NUMBER,
    POKE_PLACE, /* an offset in `unit` bytes */
    POKE_BITS,  /* flags: each alone is changed */
    POKE_BYTES, /* text, GUIDs, what is reserved: zeros, ones, its first byte */
    POKE_SUM    /* a checksum, which is left wrong */
};

struct poke_row {
    const char *record; /* "vhd_footer_disk", or a table's name */
    const char *field;
    uint64_t base_bytes; /* of the record in the file */
    uint64_t offset_bytes;
    uint32_t width_bytes;
    enum poke_kind kind;
    uint64_t unit;         /* PLACE */
    uint64_t mirror_bytes; /* a copy of the record that is changed alike */
    uint32_t file_index;
    bool as_it_is;     /* checksums over it are left wrong as well */
    const char *other; /* why other data are right, or NULL: they are not */
};

/* A member of a wire struct at `base`. */
#define POKE(base, type, member, ...)                                          \
    {                                                                          \
        .record = #type, .field = #member, .base_bytes = (base),               \
        .offset_bytes = offsetof(struct type, member),                         \
        .width_bytes = sizeof(((struct type *)NULL)->member), __VA_ARGS__      \
    }
/* An entry of a table. */
#define POKE_ENTRY(table, name, at, width, ...)                                \
    {                                                                          \
        .record = (table), .field = (name), .base_bytes = (at),                \
        .width_bytes = (width), __VA_ARGS__                                    \
    }

struct poke_record {
    const char *name;
    uint64_t base_bytes;
    uint64_t size_bytes;
};
#define POKE_RECORD(base, type)                                                \
    {                                                                          \
#type, (base), sizeof(struct type)                                     \
    }

#define POKE_LANDMARK_COUNT_MAX 8u

struct poke_sample {
    const char *name; /* of its .txt */
    const char *format;
    void (*make)(struct fuzz_case *fuzz); /* poke_file */
    bool big_endian;
    const struct poke_row *rows;
    size_t row_count;
    const struct poke_record *records; /* those that are to be complete */
    size_t record_count;
    uint64_t landmarks[POKE_LANDMARK_COUNT_MAX]; /* records and payload, where a
                                         pointer should not go; 0 ends */
    bool is_lines; /* text: that whole lines are missing nobody can tell */
    const char *snapshot;
    const char *key_file;
    struct whole_target target; /* .format NULL: raw */
};

/** Take over memory that the sample rests on; freed with the sample. */
void poke_own(void *bytes);

/** Add a file; the bytes are malloc's and taken over. */
void poke_file(struct fuzz_case *fuzz, const char *name, void *bytes,
               uint64_t size_bytes);

/** Let a range of file 0 be a piece of its own, where repair.c looks for a
 * record: a log entry. */
void poke_piece(struct fuzz_case *fuzz, uint64_t offset, uint32_t length);

/** Bytes that differ from place to place and are never zero. */
void poke_fill(void *bytes, size_t length_bytes, unsigned seed);

/** Run all rows of the sample and hold the outcomes to its .txt. */
void poke_run(const struct poke_sample *sample);

/** Lines of text replaced: `from` (once in file `file_index`) becomes `to`. */
struct poke_text {
    const char *from;
    const char *to;
    const char *other; /* as in a row */
    uint32_t file_index;
};
/** The same for a sample that is text; outcomes in SAMPLE-text.txt. */
void poke_run_text(const struct poke_sample *sample,
                   const struct poke_text *texts, size_t count);

/** Cut each file of the sample at every sector of its records, and at random
 * elsewhere: an error that names format and place, or the same data. */
void poke_truncate(const struct poke_sample *sample);

/** Each wire struct (struct NAME_disk) that `header` (path in the source
 * tree) defines is a record of one of the samples. `without` lists those that
 * are not poked, each followed by why; NULL ends. */
void poke_complete(const char *header, const struct poke_sample *const *samples,
                   size_t sample_count, const char *const *without);

#endif
