/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Plan and run conversions.
 *
 * A plan is a stream of operations with exact totals. Making one writes
 * nothing. It is made in two passes over the map: the first prices, counts
 * and validates, the second emits; memory does not grow with the disk.
 *
 * A target appears whole or not at all: it is written as NAME.partial in its
 * directory, flushed, read back through its format, compared with the source,
 * and only then renamed.
 */
#ifndef DISKSHIFT_CONVERT_H
#define DISKSHIFT_CONVERT_H

#include <diskshift/disk.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ds_op_kind {
    DS_OP_CLONE,      /* share a range of a source file */
    DS_OP_CLONE_FILE, /* share a whole source file */
    DS_OP_COPY,       /* copy a range; `reason` says why */
    DS_OP_DECODE,     /* decompress or decrypt a range */
    DS_OP_WRITE,      /* write bytes of the target's own tables */
    DS_OP_ZERO,       /* make a range read as zeros, allocated */
    DS_OP_PUNCH,      /* make a range a hole */
    DS_OP_TRUNCATE,   /* set the file's size to target_offset_bytes */
    DS_OP_ALLOCATE,   /* fill the holes of a range with allocated zeros */
    DS_OP_REPEAT,     /* bytes of the target's tables that stand already at
                         source_offset_bytes of the same file: share them */
    DS_OP_ENCODE,     /* compress a unit of the guest's disk; in plans only,
                         where length is the most it can take */
    DS_OP_BARRIER     /* all before is done before anything after begins */
};
#define DS_OP_KIND_COUNT 12

/** Why bytes are copied and not shared. */
enum ds_copy_reason {
    DS_COPY_NONE,
    DS_COPY_MISALIGNED,       /* offsets differ modulo the block */
    DS_COPY_PARTIAL_BLOCK,    /* less than a block, at a range's edge */
    DS_COPY_OTHER_FILESYSTEM, /* source and target lie on different ones */
    DS_COPY_NO_REFLINK,       /* the filesystem cannot share */
    DS_COPY_NOCOW_MISMATCH,   /* one of the files is NOCOW */
    DS_COPY_CLONE_REFUSED,    /* the kernel refused when asked to share */
    DS_COPY_COMPRESSED,
    DS_COPY_ENCRYPTED
};
#define DS_COPY_REASON_COUNT 9

struct ds_op {
    enum ds_op_kind kind;
    enum ds_copy_reason reason;
    uint32_t source_index; /* into ds_disk_file_path */
    uint32_t target_index; /* into ds_plan_target_path */
    uint64_t source_offset_bytes;
    uint64_t target_offset_bytes;
    uint64_t length_bytes;
    uint64_t data_bytes; /* of these, how many hold the guest's data: a clone
                            may span holes, a whole file holds tables too */
    struct ds_encoding encoding; /* DECODE: as the source's extent has it */
    uint64_t guest_offset_bytes; /* DECODE: what it is of the guest's disk */
    const void *data;      /* WRITE, REPEAT: length_bytes bytes, valid in the
                              callback */
    bool unsure;           /* the storage did not say that it is done, though
                              all looks like it */
    int status;            /* filled by the store: 0 or a negated errno */
    bool failed_source;    /* and with it: it was the source that failed, */
    uint64_t failed_bytes; /* at least so far into the operation */
};

enum ds_strategy {
    DS_STRATEGY_AUTO,
    DS_STRATEGY_RANGE,
    DS_STRATEGY_GRAFT,
    DS_STRATEGY_REFERENCE, /* the target's tables name the source's own file;
                              not to be asked for: see share_source_file */
    DS_STRATEGY_ENCODE     /* the target's units are compressed, so nothing can
                              be shared; not to be asked for: AUTO gives it */
};

struct ds_totals {
    uint64_t shared_bytes;
    uint64_t unshared_bytes; /* guest data in a shared block that the
                                filesystem then copies, because something
                                beside it in the block is punched or the file
                                grows there */
    uint64_t copied_bytes[DS_COPY_REASON_COUNT]; /* by reason */
    uint64_t decoded_bytes;
    uint64_t decrypted_bytes; /* of these, how many were encrypted */
    uint64_t metadata_bytes;  /* written as the target's tables */
    uint64_t punched_bytes;
    uint64_t op_count[DS_OP_KIND_COUNT];
};

/** What a target is to be. Strings are borrowed for the call. */
struct ds_target_spec {
    const char *format;
    const char *path;
    const char *const *options; /* "key=value", option_count of them */
    size_t option_count;
};

/**
 * A storage array that shares the blocks of its files when it is told to by
 * an interface of its own, while the files are reached by NFS (nfs:// paths).
 * Strings are borrowed for the call.
 */
struct ds_clone_via_options {
    const char *name;             /* "ontap" */
    const char *url;              /* https://host[:port] of its management */
    const char *volume;           /* where sources and targets lie */
    const char *credentials_file; /* one line, USER:PASSWORD; a regular file
                                     that nobody but its owner may read */
    const char
        *cacert_file; /* whom to believe; NULL: the system's authorities */
};
struct ds_clone_via;

/**
 * Read the files that the options name and load the array's library. Nothing
 * is sent before a plan needs it. On success *out is owned by the caller and
 * must outlive the plans and conversions it is given to; one at a time.
 * Errors: ARG (unknown name, wrong URL), REFUSED (others may read the
 * credentials), SYSTEM, UNSUPPORTED (built without, library missing).
 */
DS_PUBLIC int ds_clone_via_open(const struct ds_clone_via_options *options,
                                struct ds_clone_via **out,
                                struct ds_error *err);
DS_PUBLIC void ds_clone_via_close(struct ds_clone_via *via);

/** Progress and cancel, for every long call. */
struct ds_progress {
    const char *phase; /* "plan", "execute", "sync", "verify" */
    uint64_t done_bytes;
    uint64_t total_bytes;
    uint64_t done_ops;
    uint64_t total_ops;
};
/** Return non-zero to cancel. Called from the thread that made the call. */
typedef int ds_progress_fn(void *user, const struct ds_progress *progress);

struct ds_convert_options {
    enum ds_strategy strategy;
    bool require_clone; /* any copy of data is an error before any write */
    bool force;         /* replace an existing target */
    bool no_verify;
    bool trust_clones; /* verification takes the storage's word for what it
                          was told to share, where no physical address can
                          prove it, and does not read that */
    struct ds_clone_via *clone_via; /* NULL: by the file system or the server
                                       itself */
    bool share_source_file;  /* the target's data file is the source's own, and
                                what the guest writes changes the source. Only
                                targets that name a data file can: qcow2 with
                                data_file, VMDK with subformat=overlay */
    unsigned growth_percent; /* of the shared bytes, expected to be
                                rewritten; see ds_report.growth_short_bytes */
    uint64_t output_bytes_max; /* LIMIT when a target takes more room of its
                                  own: what is copied, decoded, allocated and
                                  its tables. 0: DS_LIMIT_OUTPUT_BYTES */
    ds_progress_fn *progress;
    void *user;
};
#define DS_LIMIT_OUTPUT_BYTES DS_LIMIT_VIRTUAL_SIZE_BYTES

struct ds_plan;

/**
 * Plan the conversion of `disk` to `spec`. On success *out is owned by the
 * caller. `options` may be NULL.
 */
DS_PUBLIC int ds_plan_make(struct ds_disk *disk,
                           const struct ds_target_spec *spec,
                           const struct ds_convert_options *options,
                           struct ds_plan **out, struct ds_error *err);
DS_PUBLIC void ds_plan_free(struct ds_plan *plan);
DS_PUBLIC const struct ds_totals *ds_plan_totals(const struct ds_plan *plan);
/** What was chosen, never AUTO. */
DS_PUBLIC enum ds_strategy ds_plan_strategy(const struct ds_plan *plan);
/** Why this strategy, in words. Lives with the plan. */
DS_PUBLIC const char *ds_plan_strategy_reason(const struct ds_plan *plan);
DS_PUBLIC uint32_t ds_plan_target_count(const struct ds_plan *plan);
DS_PUBLIC const char *ds_plan_target_path(const struct ds_plan *plan,
                                          uint32_t target_index);
/** The size the target's files will have, in bytes. */
DS_PUBLIC uint64_t ds_plan_target_size_bytes(const struct ds_plan *plan,
                                             uint32_t target_index);
/** How disk `index` of the source is called in a target that takes several;
 * NULL past the last, and for targets of one disk. */
DS_PUBLIC const char *ds_plan_member(const struct ds_plan *plan,
                                     uint32_t index);
/** Warnings and remarks, one per index; NULL past the end. */
DS_PUBLIC const char *ds_plan_note(const struct ds_plan *plan, size_t index);

/** Receives batches of operations; 0 goes on, a negated class stops. */
typedef int ds_op_fn(void *user, struct ds_op *ops, size_t count,
                     struct ds_error *err);
/** Emit the operations. May be called again; each call is a new pass. */
DS_PUBLIC int ds_plan_emit(struct ds_plan *plan, ds_op_fn *fn, void *user,
                           struct ds_error *err);

/** Result of a comparison of two disks. */
struct ds_verify_report {
    bool identical;
    uint64_t difference_offset_bytes; /* guest offset of the first one */
    uint64_t proven_bytes;            /* same physical blocks */
    uint64_t zero_bytes;              /* zeros on both sides by their tables */
    uint64_t witnessed_bytes; /* of the target read, compared by XXH3-128 with
                                what the source was read to be when copied */
    uint64_t trusted_bytes;   /* not read: the storage said that they are
                                 shared; see trust_clones */
    uint64_t hashed_bytes;    /* read on both sides, compared by XXH3-128 */
    const char *not_proven;   /* why bytes had to be read; NULL if none were */
    double seconds;
};

struct ds_report {
    struct ds_totals totals; /* as executed, not as planned */
    enum ds_strategy strategy;
    char strategy_reason[256];
    bool verified;
    struct ds_verify_report verify;
    uint64_t source_exclusive_bytes; /* freed if the source were deleted */
    bool source_exclusive_known;
    uint64_t free_bytes;         /* on the target's filesystem, after */
    uint64_t growth_short_bytes; /* missing for growth_percent, else 0 */
    double plan_seconds, execute_seconds, sync_seconds, seconds;
    char path[4096];
    char notes[4][512];
    unsigned note_count;
    char members[64][128]; /* see ds_plan_member */
    uint32_t member_count; /* 0: a target of one disk */
};

/**
 * Convert `disk`, which was opened with for_conversion, to each of `specs`;
 * reports[i] belongs to specs[i]. All targets are planned before the first is
 * written. On failure the failing target is absent, its predecessors stay;
 * with `force` what it was to replace is still there, or it has been replaced
 * by the whole target and only the flush of the directory failed.
 * `done` (may be NULL) receives how many targets were installed.
 */
DS_PUBLIC int ds_convert(struct ds_disk *disk,
                         const struct ds_target_spec *specs, size_t spec_count,
                         const struct ds_convert_options *options,
                         struct ds_report *reports, size_t *done,
                         struct ds_error *err);

/**
 * Compare what two disks' guests read. Ranges on the same physical blocks are
 * proven, the rest is read. Different sizes are a difference. A difference is
 * not an error: see report->identical.
 */
DS_PUBLIC int ds_verify(struct ds_disk *left, struct ds_disk *right,
                        ds_progress_fn *progress, void *user,
                        struct ds_verify_report *report, struct ds_error *err);

DS_PUBLIC const char *ds_op_kind_name(enum ds_op_kind kind);
DS_PUBLIC const char *ds_copy_reason_name(enum ds_copy_reason reason);
DS_PUBLIC const char *ds_strategy_name(enum ds_strategy strategy);

#ifdef __cplusplus
}
#endif
#endif
