/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef OVA_H
#define OVA_H

#include "digest.h"
#include "format.h"

#include "ova_disk.h"

extern const struct ds_format_ops ova_format_ops;

/* A name, an id: more is refused. */
#define OVA_NAME_BYTES 256u
/* What is kept of members, files and disks: 300 bytes each or so. */
#define OVA_MEMBER_COUNT_MAX 1024u
/* Headers that are walked, those of long names and directories too. */
#define OVA_HEADER_COUNT_MAX 8192u
/* An extended header's records. */
#define OVA_EXTENDED_BYTES_MAX (UINT64_C(64) << 10)
/* The descriptor, which is read whole: real ones take 10 to 100 KiB. */
#define OVA_ENVELOPE_BYTES_MAX (UINT64_C(4) << 20)
#define OVA_MANIFEST_BYTES_MAX (UINT64_C(1) << 20)

/* -- ova_tar.c ------------------------------------------------------------- */

struct ova_member {
    char name[OVA_NAME_BYTES];
    uint64_t header_offset_bytes;
    uint64_t offset_bytes; /* of its bytes in the archive */
    uint64_t size_bytes;
};

struct ova_index {
    struct ova_member *members;
    size_t member_count;
    uint64_t end_offset_bytes; /* where the mark of the end is or should be */
    bool has_end;
};

/** Whether the archive's first member is a regular one named *.ovf. */
bool ova_probe(const struct ds_probe *probe);

/** Walk all headers. The caller frees, also when it fails. */
int ova_index_read(struct ds_file *file, struct ova_index *index,
                   struct ds_error *err);
void ova_index_free(struct ova_index *index);
const struct ova_member *ova_index_find(const struct ova_index *index,
                                        const char *name);
/** The only member whose name ends so; NULL when there is none or when there
 * are more: *count says how many. */
const struct ova_member *ova_index_find_ending(const struct ova_index *index,
                                               const char *ending,
                                               size_t *count);

/* -- ova_envelope.c -------------------------------------------------------- */

/** OVF's References/File. */
struct ova_file_reference {
    char id[OVA_NAME_BYTES];
    char href[OVA_NAME_BYTES];
    char compression[32]; /* "" or "identity": none */
    bool is_chunked;      /* chunkSize: split into several members */
};

/** OVF's DiskSection/Disk. */
struct ova_disk {
    char id[OVA_NAME_BYTES];
    char file_reference[OVA_NAME_BYTES]; /* "": an empty disk to be made */
    char parent_reference[OVA_NAME_BYTES];
    char format[OVA_NAME_BYTES]; /* an URI */
};

struct ova_envelope {
    struct ova_file_reference *files;
    size_t file_count;
    struct ova_disk *disks;
    size_t disk_count;
};

/** Parse an OVF descriptor. `file` and `offset_bytes` are for messages. The
 * caller frees, also when it fails. */
int ova_envelope_parse(const char *text, size_t length_bytes,
                       const struct ds_file *file, uint64_t offset_bytes,
                       struct ova_envelope *out, struct ds_error *err);
void ova_envelope_free(struct ova_envelope *envelope);
const struct ova_file_reference *
ova_envelope_file(const struct ova_envelope *envelope, const char *id);

/* -- ova_manifest.c -------------------------------------------------------- */

struct ova_manifest {
    const struct ova_member *member; /* NULL: the archive has none */
    char *text;                      /* with a NUL behind it */
};

struct ova_manifest_entry {
    enum ds_digest_kind kind;
    char name[OVA_NAME_BYTES];
    uint8_t digest[DS_DIGEST_BYTES_MAX];
};

/** Read it and check each line's form. The caller frees. */
int ova_manifest_read(struct ds_file *file, const struct ova_index *index,
                      struct ova_manifest *out, struct ds_error *err);
void ova_manifest_free(struct ova_manifest *manifest);

/** Start with *at NULL. 1 with *entry filled, 0 at the end, or negated. */
int ova_manifest_next(const struct ova_manifest *manifest,
                      const struct ds_file *file, const char **at,
                      struct ova_manifest_entry *entry, struct ds_error *err);

/** Digest `member` and compare with every entry of its name. *listed: how
 * many there are. CORRUPT when one differs. */
int ova_manifest_verify(const struct ova_manifest *manifest,
                        struct ds_file *file, const struct ova_member *member,
                        size_t *listed, struct ds_error *err);

/* -- ova_read.c ------------------------------------------------------------ */

struct ova_image {
    struct ds_image base; /* files[0]: the archive, and no other */
    struct ova_index index;
    struct ova_envelope envelope;
    struct ova_manifest manifest;
    const struct ova_member *descriptor;
    const struct ova_member *member; /* the disk's */
    const struct ova_disk *disk;
    bool descriptor_verified;
    struct ds_file *part;   /* the member as a file of its own */
    struct ds_image *inner; /* the disk in it: files[0] is `part` */
};

int ova_open(struct ds_file *file, const struct ds_open_context *context,
             struct ds_image **out, struct ds_error *err);
void ova_close(struct ds_image *image);

/** The member that `disk` lies in, NULL when it has none or is not there. */
const struct ova_member *ova_disk_member(const struct ova_image *image,
                                         const struct ova_disk *disk);

/* -- ova_choose.c ---------------------------------------------------------- */

/** The disk that `name` (an id, a file's name, or a number from 1 on) means;
 * NULL: the only one. Sets image->disk and image->member. */
int ova_choose(struct ova_image *image, const char *name, struct ds_error *err);

/* -- ova_map.c ------------------------------------------------------------- */

void ova_facts(struct ds_image *image, ds_fact_fn *fact, void *user);
int ova_check(struct ds_image *image, ds_finding_fn *finding, void *user,
              struct ds_error *err);
int ova_snapshots(struct ds_image *image, ds_snapshot_fn *snapshot, void *user,
                  struct ds_error *err);
int ova_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                  uint64_t guest_offset_bytes, struct ds_extent *out,
                  struct ds_error *err);
int ova_regions(struct ds_image *image, ds_region_fn *region, void *user,
                struct ds_error *err);

#endif
