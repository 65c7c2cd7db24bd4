/* SPDX-License-Identifier: Apache-2.0 */
/* What stands before the disks: descriptor and manifest, which name them. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "cleanup.h"
#include "fail.h"
#include "ova_write.h"

#define DISK_ALIGN_BYTES UINT64_C(4096)
/* "SHA256(" NAME ")= " 64 digits, newline; rounded up. */
#define MANIFEST_LINE_BYTES ((size_t)256)

/* Names that every system can unpack and that need no escapes in an href. */
void ova_head_name(struct ova_target *target)
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
    for (unsigned i = 0; i < target->part_count; i++)
        (void)snprintf(target->parts[i].name, sizeof(target->parts[i].name),
                       "%s-disk%u.vmdk", stem, i + 1);
}

/* -- the manifest ---------------------------------------------------------- */

static size_t manifest_room(const struct ova_target *target)
{
    return (1 + target->part_count) * MANIFEST_LINE_BYTES + TAR_BLOCK_BYTES;
}

static size_t manifest_line(const char *name, const uint8_t *digest,
                            char out[MANIFEST_LINE_BYTES])
{
    size_t used =
        (size_t)snprintf(out, MANIFEST_LINE_BYTES, "SHA256(%s)= ", name);

    for (size_t b = 0; b < ds_digest_bytes(DS_DIGEST_SHA256); b++)
        used += (size_t)snprintf(out + used, MANIFEST_LINE_BYTES - used, "%02x",
                                 digest[b]);
    used += (size_t)snprintf(out + used, MANIFEST_LINE_BYTES - used, "\n");
    assert(used < MANIFEST_LINE_BYTES);
    return used;
}

/* `out` has manifest_room. */
static size_t manifest_build(const struct ova_target *target,
                             const uint8_t *descriptor_digest, char *out)
{
    size_t used =
        manifest_line(target->descriptor_name, descriptor_digest, out);

    for (size_t i = 0; i < target->part_count; i++)
        used += manifest_line(target->parts[i].name, target->parts[i].digest,
                              out + used);
    return used;
}

static int emit_manifest(const struct ova_target *target,
                         const uint8_t *descriptor_digest,
                         struct ds_emitter *emitter, struct ds_error *err)
{
    uint64_t offset = TAR_BLOCK_BYTES + target->descriptor_bytes;
    ds_autofree char *text = calloc(1, manifest_room(target));
    size_t used;
    int result;

    if (text == NULL)
        return ds_fail_memory(err);
    used = manifest_build(target, descriptor_digest, text);
    assert(used == target->manifest_bytes);
    memset(text + used, 0, TAR_BLOCK_BYTES);
    result = ova_header_emit(target, target->manifest_name, offset, used,
                             emitter, err);
    return result == 0
               ? ds_emit(emitter, 0, offset + TAR_BLOCK_BYTES, text,
                         (size_t)ds_align_up(used, TAR_BLOCK_BYTES), err)
               : result;
}

/* -- the descriptor -------------------------------------------------------- */

/* `most`: with the longest of all numbers. NULL: no memory. */
static struct ova_written *list_written(const struct ova_target *target,
                                        bool most)
{
    struct ova_written *written = calloc(target->part_count, sizeof(*written));

    for (size_t i = 0; written != NULL && i < target->part_count; i++) {
        const struct ova_part *part = &target->parts[i];
        uint64_t populated =
            part->unit_count * target->target.layout.unit_bytes;

        written[i] = (struct ova_written){
            .disk_name = part->name,
            .disk_bytes = most ? UINT64_MAX : part->stored_bytes,
            .capacity_bytes = most ? UINT64_MAX : part->size_bytes,
            .populated_bytes =
                most ? UINT64_MAX : ds_min_u64(populated, part->size_bytes),
        };
    }
    return written;
}

static int build_descriptor(const struct ova_target *target, bool most,
                            char **text, size_t *length, struct ds_error *err)
{
    ds_autofree struct ova_written *written = list_written(target, most);
    size_t room = ova_envelope_room(target->part_count);

    *text = malloc(room);
    if (*text == NULL || written == NULL)
        return ds_fail_memory(err);
    *length = ova_envelope_build(&target->machine, written, target->part_count,
                                 *text, room);
    assert(*length < room);
    return 0;
}

int ova_head_measure(struct ova_target *target, struct ds_error *err)
{
    static const uint8_t no_digest[DS_DIGEST_BYTES_MAX];
    ds_autofree char *text = NULL;
    ds_autofree char *manifest = malloc(manifest_room(target));
    uint64_t others;
    size_t length;
    int result = build_descriptor(target, true, &text, &length, err);

    if (result != 0)
        return result;
    if (manifest == NULL)
        return ds_fail_memory(err);
    target->manifest_bytes = manifest_build(target, no_digest, manifest);
    others = 3 * (uint64_t)TAR_BLOCK_BYTES +
             ds_align_up(target->manifest_bytes, TAR_BLOCK_BYTES);
    target->head_bytes = ds_align_up(length + others, DISK_ALIGN_BYTES);
    target->descriptor_bytes = target->head_bytes - others;
    return 0;
}

/* The descriptor, blanks behind it, and the descriptor's digest. */
static int emit_descriptor(const struct ova_target *target,
                           uint8_t digest[DS_DIGEST_BYTES_MAX],
                           struct ds_emitter *emitter, struct ds_error *err)
{
    size_t length = (size_t)target->descriptor_bytes;
    ds_autofree char *built = NULL;
    ds_autofree char *text = malloc(length);
    size_t used = 0;
    int result = build_descriptor(target, false, &built, &used, err);

    if (result == 0 && text == NULL)
        result = ds_fail_memory(err);
    if (result != 0)
        return result;
    assert(used <= length);
    memcpy(text, built, used);
    memset(text + used, ' ', length - used);
    text[length - 1] = '\n';
    result = ds_digest_restart(target->digest, err);
    if (result == 0)
        result = ds_digest_add(target->digest, text, length, err);
    if (result == 0)
        result = ds_digest_end(target->digest, digest, err);
    if (result == 0)
        result = ova_header_emit(target, target->descriptor_name, 0, length,
                                 emitter, err);
    return result == 0 ? ds_emit(emitter, 0, TAR_BLOCK_BYTES, text, length, err)
                       : result;
}

/* -- both ------------------------------------------------------------------ */

int ova_header_emit(const struct ova_target *target, const char *name,
                    uint64_t offset_bytes, uint64_t size_bytes,
                    struct ds_emitter *emitter, struct ds_error *err)
{
    struct tar_header_disk header =
        tar_header_make(name, size_bytes, target->modified_seconds);

    return ds_emit(emitter, 0, offset_bytes, &header, sizeof(header), err);
}

int ova_head_emit(struct ova_target *target, struct ds_emitter *emitter,
                  struct ds_error *err)
{
    uint8_t digest[DS_DIGEST_BYTES_MAX] = { 0 };
    int result = emit_descriptor(target, digest, emitter, err);

    return result == 0 ? emit_manifest(target, digest, emitter, err) : result;
}
