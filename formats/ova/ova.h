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
    uint32_t file_index; /* of the image: 0, but beside a descriptor */
    uint64_t header_offset_bytes;
    uint64_t offset_bytes; /* of its bytes in the file */
    uint64_t size_bytes;
};

struct ova_index {
    struct ova_member *members;
    size_t member_count;
    uint64_t end_offset_bytes; /* where the mark of the end is or should be */
    bool has_end;
};

/** Whether it is an archive whose first member is a regular one named *.ovf,
 * or a descriptor. */
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

/** Whether a text that begins so is an Envelope of OVF. */
bool ova_envelope_probe(const void *head, size_t head_bytes);

const struct ova_file_reference *
ova_envelope_file(const struct ova_envelope *envelope, const char *id);

/* -- ova_manifest.c -------------------------------------------------------- */

struct ova_manifest {
    struct ds_file *file;  /* NULL: the package has none */
    uint64_t offset_bytes; /* where it begins in there */
    char *text;            /* with a NUL behind it */
};

struct ova_manifest_entry {
    enum ds_digest_kind kind;
    char name[OVA_NAME_BYTES];
    uint8_t digest[DS_DIGEST_BYTES_MAX];
};

/** Read `member` of `file` and check each line's form; with an index also
 * that what it lists is there. The caller frees. */
int ova_manifest_read(struct ds_file *file, const struct ova_member *member,
                      const struct ova_index *index, struct ova_manifest *out,
                      struct ds_error *err);
void ova_manifest_free(struct ova_manifest *manifest);

/** Start with *at NULL. 1 with *entry filled, 0 at the end, or negated. */
int ova_manifest_next(const struct ova_manifest *manifest, const char **at,
                      struct ova_manifest_entry *entry, struct ds_error *err);

/** Digest `part`, which is the member `name`, and compare with every entry of
 * that name. *listed: how many there are. CORRUPT when one differs. */
int ova_manifest_verify(const struct ova_manifest *manifest, const char *name,
                        const struct ds_digest_part *part, size_t *listed,
                        struct ds_error *err);

/* -- ova_read.c ------------------------------------------------------------ */

struct ova_image {
    struct ds_image base; /* files[0]: the archive, and no other; or the
                             descriptor, then manifest and disk */
    bool is_archive;
    struct ova_index index; /* without an archive: of what was opened */
    struct ova_envelope envelope;
    struct ova_manifest manifest;
    const struct ova_member *descriptor;
    const struct ova_member *member; /* the disk's */
    const struct ova_disk *disk;
    bool descriptor_verified;
    struct ds_file *part;   /* the member as a file of its own; without an
                               archive it is in files[] */
    struct ds_image *inner; /* the disk in it: files[0] is `part` */
};

int ova_open(struct ds_file *file, const struct ds_open_context *context,
             struct ds_image **out, struct ds_error *err);
void ova_close(struct ds_image *image);

/** Where the bytes of a member lie, to be digested. */
struct ds_digest_part ova_member_part(const struct ova_image *image,
                                      const struct ova_member *member);

/* -- ova_beside.c ---------------------------------------------------------- */

/** Whether it is a descriptor that lies beside its disks. */
bool ova_is_bare(struct ds_file *file);

/** Begin an index of the descriptor, and of the manifest when one is there:
 * *manifest is NULL when not. */
int ova_beside_index(struct ova_image *image,
                     const struct ds_open_context *context,
                     const struct ova_member **manifest, struct ds_error *err);

/** Open the file of image->disk, which sets image->member. */
int ova_beside_disk(struct ova_image *image,
                    const struct ds_open_context *context,
                    struct ds_error *err);

/* -- ova_tar_write.c ------------------------------------------------------- */

/** `name` has at most TAR_NAME_BYTES. */
struct tar_header_disk tar_header_make(const char *name, uint64_t size_bytes,
                                       uint64_t modified_seconds);

/* -- ova_options.c --------------------------------------------------------- */

/* With the longest ending it fits a tar header: "-disk1.vmdk". */
#define OVA_MACHINE_NAME_BYTES 81u

struct ova_adapter {
    const char *word;
    unsigned resource_type;
    const char *resource_subtype; /* NULL: none */
    const char *vmdk;             /* adapter_type of the disk */
    unsigned controller_count;    /* that a machine can have */
    unsigned disk_count;          /* on each */
};

struct ova_system {
    const char *word;
    unsigned id;        /* CIM's */
    const char *vmware; /* NULL: not known */
};

/** The machine that a descriptor is to name. */
struct ova_machine {
    char name[OVA_MACHINE_NAME_BYTES];
    uint64_t cpu_count;
    uint64_t memory_bytes;
    struct ova_system system;
    const struct ova_adapter *adapter;
    bool is_efi;
};

extern const struct ds_target_option ova_target_options[];

/** LIMIT when the machine's adapter does not take so many disks. */
int ova_check_disk_count(const struct ova_machine *machine, size_t count,
                         struct ds_error *err);

int ova_options_parse(const struct ds_target_request *request,
                      struct ova_machine *out, struct ds_error *err);

/* -- ova_envelope_write.c -------------------------------------------------- */

#define OVA_ESCAPED_NAME_BYTES (6 * OVA_MACHINE_NAME_BYTES)

struct ova_written {
    const char *disk_name; /* needs no escapes */
    uint64_t disk_bytes;   /* of its file */
    uint64_t capacity_bytes;
    uint64_t populated_bytes;
};

/** Enough for any machine with so many disks. */
size_t ova_envelope_room(size_t disk_count);

/** The length of what is now in `out`, without a NUL; not less than the room
 * when that did not do. */
size_t ova_envelope_build(const struct ova_machine *machine,
                          const struct ova_written *written, size_t disk_count,
                          char *out, size_t room_bytes);

/* -- ova_write.c ----------------------------------------------------------- */

int ova_target_open(const struct ds_target_request *request,
                    struct ds_target **out, struct ds_error *err);
int ova_target_count(struct ds_target *target, const struct ds_unit_run *run,
                     struct ds_error *err);
int ova_target_seal(struct ds_target *target,
                    const struct ds_footprint *footprint, struct ds_seal *out,
                    struct ds_error *err);
int ova_target_encoded(struct ds_target *target, uint64_t unit,
                       const void *stored, uint64_t stored_bytes,
                       struct ds_emitter *emitter, struct ds_error *err);
int ova_target_finish(struct ds_target *target, struct ds_emitter *emitter,
                      struct ds_error *err);
uint64_t ova_target_encoded_size(const struct ds_target *target);
void ova_target_close(struct ds_target *target);
const char *ova_target_member(const struct ds_target *target, uint32_t index);

/* -- ova_choose.c ---------------------------------------------------------- */

/** The disk that `name` (an id, a file's name, or a number from 1 on) means;
 * NULL: the only one. Sets image->disk and checks its form. */
int ova_choose(struct ova_image *image, const char *name, struct ds_error *err);

/** Find the chosen disk in the archive, which sets image->member. */
int ova_choose_member(struct ova_image *image, struct ds_error *err);

/** "%20" and the like in an href. */
void ova_href_decode(const char *href, char out[OVA_NAME_BYTES]);

/* -- ova_map.c ------------------------------------------------------------- */

uint32_t ova_member_count(const struct ds_image *image);
void ova_facts(struct ds_image *image, ds_fact_fn *fact, void *user);
int ova_check(struct ds_image *image, ds_finding_fn *finding, void *user,
              struct ds_error *err);
int ova_verify_source(struct ds_image *image, ds_progress_fn *progress,
                      void *user, const char **note, struct ds_error *err);
int ova_snapshots(struct ds_image *image, ds_snapshot_fn *snapshot, void *user,
                  struct ds_error *err);
int ova_extent_at(struct ds_image *image, struct ds_cursor *cursor,
                  uint64_t guest_offset_bytes, struct ds_extent *out,
                  struct ds_error *err);
int ova_regions(struct ds_image *image, ds_region_fn *region, void *user,
                struct ds_error *err);

#endif
