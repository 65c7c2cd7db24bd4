/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the disk's own format says, in terms of the archive: the sub-file never
 * leaves this folder, offsets are moved by where the member begins. Without an
 * archive the disk is one of the image's files, and only the index is moved.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "fail.h"
#include "ova.h"

static struct ova_image *ova_of(struct ds_image *image)
{
    return (struct ova_image *)image;
}

/* -- the map --------------------------------------------------------------- */

int ova_extent_at(struct ds_image *base, struct ds_cursor *cursor,
                  uint64_t guest_offset_bytes, struct ds_extent *out,
                  struct ds_error *err)
{
    struct ova_image *image = ova_of(base);
    struct ds_image *inner = image->inner;
    int result =
        inner->format->extent_at(inner, cursor, guest_offset_bytes, out, err);

    if (result == 0 && out->file_index != DS_FILE_NONE) {
        out->file_index = image->member->file_index;
        out->file_offset_bytes += image->member->offset_bytes;
    }
    return result;
}

struct region_shift {
    ds_region_fn *region;
    void *user;
    const struct ova_member *member;
};

static int shift_region(void *user, const struct ds_region *region,
                        struct ds_error *err)
{
    const struct region_shift *shift = user;
    struct ds_region moved = *region;

    moved.file_index = shift->member->file_index;
    moved.offset_bytes += shift->member->offset_bytes;
    return shift->region(shift->user, &moved, err);
}

int ova_regions(struct ds_image *base, ds_region_fn *region, void *user,
                struct ds_error *err)
{
    struct ova_image *image = ova_of(base);
    struct region_shift shift = { region, user, image->member };
    struct ds_region header = { 0, image->member->header_offset_bytes,
                                TAR_BLOCK_BYTES, "tar header" };
    int result = image->is_archive ? region(user, &header, err) : 0;

    if (result == 0 && image->inner->format->regions != NULL)
        result = image->inner->format->regions(image->inner, shift_region,
                                               &shift, err);
    return result;
}

int ova_snapshots(struct ds_image *base, ds_snapshot_fn *snapshot, void *user,
                  struct ds_error *err)
{
    struct ds_image *inner = ova_of(base)->inner;

    return inner->format->snapshots != NULL
               ? inner->format->snapshots(inner, snapshot, user, err)
               : 0;
}

/* -- facts ----------------------------------------------------------------- */

static void say_number(ds_fact_fn *fact, void *user, const char *key,
                       uint64_t number)
{
    struct ds_fact say = { .key = key, .number = number };

    fact(user, &say);
}

static void say_text(ds_fact_fn *fact, void *user, const char *key,
                     const char *text)
{
    struct ds_fact say = { .key = key, .text = text };

    fact(user, &say);
}

uint32_t ova_member_count(const struct ds_image *base)
{
    const struct ova_image *image = (const struct ova_image *)base;
    uint32_t count = 0;

    for (size_t i = 0; i < image->envelope.disk_count; i++)
        count += image->envelope.disks[i].file_reference[0] != '\0';
    return count;
}

/* Named one by one, so that each can be asked for. */
static void say_disks(const struct ova_image *image, ds_fact_fn *fact,
                      void *user)
{
    size_t number = 0;

    for (size_t i = 0; i < image->envelope.disk_count; i++) {
        const struct ova_disk *disk = &image->envelope.disks[i];
        const struct ova_file_reference *file =
            ova_envelope_file(&image->envelope, disk->file_reference);
        char key[32], text[2 * OVA_NAME_BYTES + 8];

        if (disk->file_reference[0] == '\0')
            continue;
        (void)snprintf(key, sizeof(key), "disk_%zu", ++number);
        (void)snprintf(text, sizeof(text), "%s, %s", disk->id,
                       file != NULL ? file->href : "no file");
        say_text(fact, user, key, text);
    }
}

static const char *manifest_state(const struct ova_image *image)
{
    if (image->manifest.file == NULL)
        return "none";
    return image->descriptor_verified
               ? "descriptor verified; disks by conversion and check"
               : "does not list the descriptor; disks by conversion and check";
}

void ova_facts(struct ds_image *base, ds_fact_fn *fact, void *user)
{
    struct ova_image *image = ova_of(base);

    say_text(fact, user, "package",
             image->is_archive ? "archive" : "descriptor beside its disks");
    say_text(fact, user, "descriptor", image->descriptor->name);
    say_text(fact, user, "manifest", manifest_state(image));
    if (image->is_archive)
        say_number(fact, user, "member_count", image->index.member_count);
    say_number(fact, user, "disk_count", ova_member_count(base));
    say_disks(image, fact, user);
    say_text(fact, user, "disk_id", image->disk->id);
    say_text(fact, user, "member", image->member->name);
    say_number(fact, user, "member_offset_bytes", image->member->offset_bytes);
    say_number(fact, user, "member_size_bytes", image->member->size_bytes);
    say_text(fact, user, "disk_format", image->inner->format->name);
    if (image->inner->format->facts != NULL)
        image->inner->format->facts(image->inner, fact, user);
}

/* -- check ----------------------------------------------------------------- */

struct finding_shift {
    ds_finding_fn *finding;
    void *user;
    const struct ova_member *member;
};

static int shift_finding(void *user, const struct ds_finding *finding,
                         struct ds_error *err)
{
    const struct finding_shift *shift = user;
    struct ds_finding moved = *finding;

    moved.file_index = shift->member->file_index;
    if (moved.offset_bytes != DS_OFFSET_NONE)
        moved.offset_bytes += shift->member->offset_bytes;
    return shift->finding(shift->user, &moved, err);
}

/* `member` may be NULL: the archive. */
static int tell(const struct finding_shift *to, const struct ova_member *member,
                uint64_t offset, const char *message, struct ds_error *err)
{
    struct ds_finding found = {
        .file_index = member != NULL ? member->file_index : 0,
        .offset_bytes = offset,
        .message = message,
    };

    return to->finding(to->user, &found, err);
}

/* One member against the manifest: what differs or is not listed. */
static int check_member(struct ova_image *image,
                        const struct ova_member *member,
                        const struct finding_shift *to, struct ds_error *err)
{
    struct ds_digest_part part = ova_member_part(image, member);
    struct ds_error fault = DS_ERROR_INIT;
    char message[OVA_NAME_BYTES + 64];
    size_t listed = 0;
    int result = ova_manifest_verify(&image->manifest, member->name, &part,
                                     &listed, &fault);

    if (result == -DS_ERR_CORRUPT)
        return tell(to, member, fault.offset_bytes, fault.message, err);
    if (result != 0) {
        if (err != NULL)
            *err = fault;
        return result;
    }
    if (listed > 0)
        return 0;
    (void)snprintf(message, sizeof(message),
                   "ova: manifest: '%s' is not listed", member->name);
    return tell(to, member, member->offset_bytes, message, err);
}

/* Manifest and certificate are signed and listed by nobody. */
static bool is_listed(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot == NULL ||
           (strcasecmp(dot, ".mf") != 0 && strcasecmp(dot, ".cert") != 0);
}

int ova_check(struct ds_image *base, ds_finding_fn *finding, void *user,
              struct ds_error *err)
{
    struct ova_image *image = ova_of(base);
    struct ds_image *inner = image->inner;
    struct finding_shift shift = { finding, user, image->member };
    int result = 0;

    if (image->is_archive && !image->index.has_end)
        result = tell(&shift, NULL, image->index.end_offset_bytes,
                      "ova: archive: have no mark of the end, expect blocks "
                      "of zeros",
                      err);
    for (size_t i = 0; i < image->index.member_count && result == 0; i++)
        if (image->manifest.file != NULL &&
            is_listed(image->index.members[i].name))
            result = check_member(image, &image->index.members[i], &shift, err);
    if (result == 0 && inner->format->check != NULL)
        result = inner->format->check(inner, shift_finding, &shift, err);
    return result;
}

/* -- before a conversion --------------------------------------------------- */

struct progress_of {
    ds_progress_fn *progress;
    void *user;
    uint64_t total_bytes;
};

static int tell_progress(void *user, uint64_t done_bytes)
{
    const struct progress_of *of = user;
    struct ds_progress progress = { .phase = "manifest",
                                    .done_bytes = done_bytes,
                                    .total_bytes = of->total_bytes };

    return of->progress(of->user, &progress);
}

int ova_verify_source(struct ds_image *base, ds_progress_fn *progress,
                      void *user, const char **note, struct ds_error *err)
{
    struct ova_image *image = ova_of(base);
    struct ds_digest_part part = ova_member_part(image, image->member);
    struct progress_of of = { progress, user, image->member->size_bytes };
    size_t listed = 0;
    int result;

    if (image->manifest.file == NULL) {
        *note = "the package has no manifest that its disk could be verified "
                "against";
        return 0;
    }
    part.progress = progress != NULL ? tell_progress : NULL;
    part.user = &of;
    result = ova_manifest_verify(&image->manifest, image->member->name, &part,
                                 &listed, err);
    *note = listed == 0 ? "the package's manifest does not list the disk, "
                          "which was not verified"
                        : "the disk was verified against the package's "
                          "manifest";
    return result;
}
