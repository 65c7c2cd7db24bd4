/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a package:
 *
 *   0   512       ...   ...     ...   disk_offset (4 KiB)
 *   |hdr|x.ovf    |hdr  |x.mf   |hdr  |x-disk1.vmdk, a stream  |two of zeros|
 *       | + blanks|
 *
 * The disk is written by the vmdk format, in rising order and without gaps;
 * here its places are moved, and what goes out is digested. Its size and its
 * digest are known last, so the members before it come last: the descriptor
 * has room for the longest of all numbers, which blanks behind its root
 * element fill, and a digest is always as long. Nothing else is written twice
 * or read back.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "ova.h"

extern const struct ds_format_ops vmdk_format_ops;

#define DISK_ALIGN_BYTES UINT64_C(4096)
#define END_BYTES (2 * (uint64_t)TAR_BLOCK_BYTES)
/* "SHA256(" NAME ")= " 64 digits, newline; two of them. */
#define MANIFEST_BYTES 512u

struct ova_target {
    struct ds_target target;
    struct ova_machine machine;
    char descriptor_name[TAR_NAME_BYTES + 1];
    char manifest_name[TAR_NAME_BYTES + 1];
    char disk_name[TAR_NAME_BYTES + 1];
    uint64_t modified_seconds;
    uint64_t size_bytes;       /* the guest's */
    uint64_t descriptor_bytes; /* with its blanks */
    uint64_t manifest_bytes;
    uint64_t disk_offset_bytes;
    struct ds_target *disk; /* of the vmdk format */

    /* the pass */
    struct ds_digest *digest;
    uint64_t digested_bytes;
    uint64_t unit_count;
    bool is_dry; /* nothing was stored: there is nothing to digest */
};

static struct ova_target *target_of(struct ds_target *target)
{
    return (struct ova_target *)target;
}

/* -- opening --------------------------------------------------------------- */

/* Names that every system can unpack and that need no escapes in an href. */
static void name_members(struct ova_target *target)
{
    char stem[OVA_MACHINE_NAME_BYTES];
    size_t at;

    for (at = 0; target->machine.name[at] != '\0'; at++) {
        char c = target->machine.name[at];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9') || c == '_' ||
                     (at > 0 && (c == '-' || c == '.'));

        stem[at] = plain ? c : '_';
    }
    stem[at] = '\0';
    (void)snprintf(target->descriptor_name, sizeof(target->descriptor_name),
                   "%s.ovf", stem);
    (void)snprintf(target->manifest_name, sizeof(target->manifest_name),
                   "%s.mf", stem);
    (void)snprintf(target->disk_name, sizeof(target->disk_name),
                   "%s-disk1.vmdk", stem);
}

static size_t manifest_build(const struct ova_target *target,
                             const uint8_t *descriptor_digest,
                             const uint8_t *disk_digest,
                             char out[MANIFEST_BYTES])
{
    const char *names[] = { target->descriptor_name, target->disk_name };
    const uint8_t *digests[] = { descriptor_digest, disk_digest };
    size_t used = 0;

    for (size_t i = 0; i < 2; i++) {
        used += (size_t)snprintf(out + used, MANIFEST_BYTES - used,
                                 "SHA256(%s)= ", names[i]);
        for (size_t b = 0; b < ds_digest_bytes(DS_DIGEST_SHA256); b++)
            used += (size_t)snprintf(out + used, MANIFEST_BYTES - used, "%02x",
                                     digests[i][b]);
        used += (size_t)snprintf(out + used, MANIFEST_BYTES - used, "\n");
    }
    assert(used < MANIFEST_BYTES);
    return used;
}

/* Where everything lies, which no number that is still open changes. */
static int measure(struct ova_target *target, struct ds_error *err)
{
    static const uint8_t no_digest[DS_DIGEST_BYTES_MAX];
    const struct ova_written most = { target->disk_name, UINT64_MAX, UINT64_MAX,
                                      UINT64_MAX };
    ds_autofree char *text = malloc(OVA_TEXT_BYTES);
    char manifest[MANIFEST_BYTES];
    uint64_t others;

    if (text == NULL)
        return ds_fail_memory(err);
    target->manifest_bytes =
        manifest_build(target, no_digest, no_digest, manifest);
    others = 3 * (uint64_t)TAR_BLOCK_BYTES +
             ds_align_up(target->manifest_bytes, TAR_BLOCK_BYTES);
    target->disk_offset_bytes =
        ds_align_up(ova_envelope_build(&target->machine, &most, text) + others,
                    DISK_ALIGN_BYTES);
    target->descriptor_bytes = target->disk_offset_bytes - others;
    assert(target->descriptor_bytes < OVA_TEXT_BYTES);
    return 0;
}

static int open_disk(struct ova_target *target,
                     const struct ds_target_request *request,
                     struct ds_error *err)
{
    char adapter[64];
    const char *options[] = { "subformat=streamOptimized", adapter,
                              "hardware_version=10" };
    struct ds_target_request disk = {
        .path = target->disk_name,
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .size_bytes = request->size_bytes,
    };
    int result;

    (void)snprintf(adapter, sizeof(adapter), "adapter_type=%s",
                   target->machine.adapter->vmdk);
    result = vmdk_format_ops.target_open(&disk, &target->disk, err);
    if (result != 0)
        return result;
    target->target.layout = target->disk->layout;
    target->target.layout.head_bytes += target->disk_offset_bytes;
    return 0;
}

int ova_target_open(const struct ds_target_request *request,
                    struct ds_target **out, struct ds_error *err)
{
    struct ova_target *target = calloc(1, sizeof(*target));
    int result;

    if (target == NULL)
        return ds_fail_memory(err);
    target->target.format = &ova_format_ops;
    target->size_bytes = request->size_bytes;
    target->modified_seconds = (uint64_t)time(NULL);
    result = ova_options_parse(request, &target->machine, err);
    if (result == 0) {
        name_members(target);
        result = measure(target, err);
    }
    if (result == 0)
        result = open_disk(target, request, err);
    if (result == 0)
        result = ds_digest_open(DS_DIGEST_SHA256, &target->digest, err);
    if (result != 0) {
        ova_target_close(&target->target);
        return result;
    }
    *out = &target->target;
    return 0;
}

void ova_target_close(struct ds_target *base)
{
    struct ova_target *target = target_of(base);

    if (target == NULL)
        return;
    if (target->disk != NULL)
        target->disk->format->target_close(target->disk);
    ds_digest_close(target->digest);
    free(target);
}

/* -- first pass ------------------------------------------------------------ */

int ova_target_count(struct ds_target *base, const struct ds_unit_run *run,
                     struct ds_error *err)
{
    struct ds_target *disk = target_of(base)->disk;

    return disk->format->target_count(disk, run, err);
}

static uint64_t size_with(const struct ova_target *target, uint64_t disk_bytes)
{
    return target->disk_offset_bytes +
           ds_align_up(disk_bytes, TAR_BLOCK_BYTES) + END_BYTES;
}

int ova_target_seal(struct ds_target *base,
                    const struct ds_footprint *footprint, struct ds_seal *out,
                    struct ds_error *err)
{
    struct ova_target *target = target_of(base);
    ds_autofree struct ds_footprint *inner = malloc(sizeof(*inner));
    int result;

    if (inner == NULL)
        return ds_fail_memory(err);
    *inner = *footprint;
    inner->area_start_bytes -= target->disk_offset_bytes;
    inner->file_names[0] = target->disk_name;
    result = target->disk->format->target_seal(target->disk, inner, out, err);
    out->data_start_bytes += target->disk_offset_bytes;
    out->file_size_bytes[0] = size_with(target, out->file_size_bytes[0]);
    return result;
}

/* -- second pass ----------------------------------------------------------- */

/* What the disk is written through. */
struct shift {
    struct ds_emitter emitter;
    struct ova_target *target;
    struct ds_emitter *outer;
};

static int shift_write(struct ds_emitter *emitter, uint32_t target_index,
                       uint64_t offset_bytes, const void *bytes,
                       size_t length_bytes, struct ds_error *err)
{
    const struct shift *shift = (const struct shift *)emitter;
    struct ova_target *target = shift->target;
    int result = 0;

    if (offset_bytes == 0) {
        result = ds_digest_restart(target->digest, err);
        target->digested_bytes = 0;
        target->unit_count = 0;
    }
    /* A digest has no places: the stream must have none left out. */
    assert(target->is_dry || offset_bytes == target->digested_bytes);
    if (result == 0)
        result = ds_digest_add(target->digest, bytes, length_bytes, err);
    target->digested_bytes += length_bytes;
    return result == 0 ? ds_emit(shift->outer, target_index,
                                 target->disk_offset_bytes + offset_bytes,
                                 bytes, length_bytes, err)
                       : result;
}

int ova_target_encoded(struct ds_target *base, uint64_t unit,
                       const void *stored, uint64_t stored_bytes,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    struct ova_target *target = target_of(base);
    struct shift shift = { { .write = shift_write }, target, emitter };
    int result;

    target->is_dry = stored == NULL;
    result = target->disk->format->target_encoded(
        target->disk, unit, stored, stored_bytes, &shift.emitter, err);
    target->unit_count++;
    return result;
}

static int emit_header(struct ova_target *target, const char *name,
                       uint64_t offset_bytes, uint64_t size_bytes,
                       struct ds_emitter *emitter, struct ds_error *err)
{
    struct tar_header_disk header =
        tar_header_make(name, size_bytes, target->modified_seconds);

    return ds_emit(emitter, 0, offset_bytes, &header, sizeof(header), err);
}

/* The descriptor, blanks behind it, and the descriptor's digest. */
static int emit_descriptor(struct ova_target *target, uint64_t disk_bytes,
                           uint8_t digest[DS_DIGEST_BYTES_MAX],
                           struct ds_emitter *emitter, struct ds_error *err)
{
    size_t length = (size_t)target->descriptor_bytes;
    struct ova_written written = {
        .disk_name = target->disk_name,
        .disk_bytes = disk_bytes,
        .capacity_bytes = target->size_bytes,
        .populated_bytes =
            ds_min_u64(target->unit_count * target->target.layout.unit_bytes,
                       target->size_bytes),
    };
    ds_autofree char *text = malloc(OVA_TEXT_BYTES);
    size_t used;
    int result;

    if (text == NULL)
        return ds_fail_memory(err);
    used = ova_envelope_build(&target->machine, &written, text);
    assert(used <= length);
    memset(text + used, ' ', length - used);
    text[length - 1] = '\n';
    result = ds_digest_restart(target->digest, err);
    if (result == 0)
        result = ds_digest_add(target->digest, text, length, err);
    if (result == 0)
        result = ds_digest_end(target->digest, digest, err);
    if (result == 0)
        result = emit_header(target, target->descriptor_name, 0, length,
                             emitter, err);
    return result == 0 ? ds_emit(emitter, 0, TAR_BLOCK_BYTES, text, length, err)
                       : result;
}

static int emit_manifest(struct ova_target *target,
                         const uint8_t *descriptor_digest,
                         const uint8_t *disk_digest, struct ds_emitter *emitter,
                         struct ds_error *err)
{
    uint64_t offset = TAR_BLOCK_BYTES + target->descriptor_bytes;
    char text[MANIFEST_BYTES] = { 0 };
    size_t used = manifest_build(target, descriptor_digest, disk_digest, text);
    int result =
        emit_header(target, target->manifest_name, offset, used, emitter, err);

    assert(used == target->manifest_bytes);
    memset(text + used, 0, sizeof(text) - used);
    return result == 0 ? ds_emit(emitter, 0, offset + TAR_BLOCK_BYTES, text,
                                 ds_align_up(used, TAR_BLOCK_BYTES), err)
                       : result;
}

/* What fills the disk's last block, and the mark of the end. */
static int emit_end(const struct ova_target *target, uint64_t disk_bytes,
                    struct ds_emitter *emitter, struct ds_error *err)
{
    static const uint8_t zeros[END_BYTES + TAR_BLOCK_BYTES];
    uint64_t offset = target->disk_offset_bytes + disk_bytes;

    return ds_emit(emitter, 0, offset, zeros,
                   (size_t)(size_with(target, disk_bytes) - offset), err);
}

int ova_target_finish(struct ds_target *base, struct ds_emitter *emitter,
                      struct ds_error *err)
{
    struct ova_target *target = target_of(base);
    struct shift shift = { { .write = shift_write }, target, emitter };
    struct ds_target *disk = target->disk;
    uint8_t disk_digest[DS_DIGEST_BYTES_MAX] = { 0 };
    uint8_t descriptor_digest[DS_DIGEST_BYTES_MAX] = { 0 };
    uint64_t disk_bytes;
    int result = disk->format->target_finish(disk, &shift.emitter, err);

    disk_bytes = disk->format->target_encoded_size(disk);
    assert(result != 0 || target->is_dry ||
           target->digested_bytes == disk_bytes);
    if (result == 0)
        result = ds_digest_end(target->digest, disk_digest, err);
    if (result == 0)
        result = emit_descriptor(target, disk_bytes, descriptor_digest, emitter,
                                 err);
    if (result == 0)
        result =
            emit_manifest(target, descriptor_digest, disk_digest, emitter, err);
    if (result == 0)
        result = emit_header(target, target->disk_name,
                             target->disk_offset_bytes - TAR_BLOCK_BYTES,
                             disk_bytes, emitter, err);
    if (result == 0)
        result = emit_end(target, disk_bytes, emitter, err);
    target->is_dry = false; /* the pass may be run again */
    return result;
}

uint64_t ova_target_encoded_size(const struct ds_target *base)
{
    const struct ova_target *target = (const struct ova_target *)base;

    return size_with(target,
                     target->disk->format->target_encoded_size(target->disk));
}
