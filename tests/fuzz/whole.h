/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole conversion in memory: open, facts, map and bytes, plan, run, verify,
 * read back, check. For inputs that are hostile as a rule: what must hold
 * whatever the image says is asserted here, once for the fuzzers and for the
 * tables of pokes (tests/unit/poke.h).
 */
#ifndef DS_TESTS_FUZZ_WHOLE_H
#define DS_TESTS_FUZZ_WHOLE_H

#include <diskshift/diskshift.h>

/* Larger disks are opened, planned and checked, but not read and written. */
#define WHOLE_GUEST_BYTES_MAX (UINT64_C(40) << 20)
#define WHOLE_DIGEST_BYTES 32u

struct whole_target {
    const char *format;
    const char *options[3];
    size_t option_count;
    enum ds_strategy strategy;
    bool share_source_file;
};

struct whole {
    int result; /* of the first station that failed; 0: all is well */
    const char *station;
    struct ds_error err;
    uint64_t size_bytes;                /* the guest's; 0: was not opened */
    bool is_large;                      /* not read and not converted */
    uint8_t digest[WHOLE_DIGEST_BYTES]; /* of what the guest reads */
    uint64_t corruption_count;          /* by check */
    uint64_t leak_count;
    char problem[256]; /* the first that check has */
};

/**
 * Take the image "image" of the memory store through all stations. Aborts
 * when a promise is broken: a target that differs from its source, is left
 * behind or is not what was planned, an error without words, a disk that the
 * map refuses and a conversion takes, corruption that check does not see.
 * Messages are about what the image holds; the rest is in whole.c.
 */
void whole_run(const struct ds_open_options *options,
               const struct whole_target *target, struct whole *out);

/** What the guest of an open disk reads. */
int whole_digest(struct ds_disk *disk, uint8_t out[WHOLE_DIGEST_BYTES],
                 struct ds_error *err);

#endif
