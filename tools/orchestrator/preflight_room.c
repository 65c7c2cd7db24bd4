/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room: what the plans of all disks and the backup take, summed up for each
 * filesystem that it lands on, against what is free there.
 *
 *   a target's disk   tables, what is copied and decoded, and the filesystem's
 *                     own records of what is shared
 *   the backup        these records alone, where files can be shared; else
 *                     all of each file
 *
 * What a record takes was measured on XFS and btrfs (two records of some 80
 * bytes in trees that may be half empty, written twice by btrfs). What guests
 * write afterwards into shared blocks is not in it, nor what a source writes
 * while a snapshot of it stands.
 */
#include "preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <diskshift/storage.h>
#include <linux/fiemap.h>
#include <linux/fs.h>

#define RECORD_BYTES 512
/* An inode, a directory's block, the ends of extents. */
#define FILE_BYTES (UINT64_C(64) << 10)

struct place {
    dev_t device;
    char *path; /* a directory that is there */
    uint64_t free_bytes;
    bool shares; /* whole files */
    uint64_t table_bytes, copy_bytes, backup_bytes;
};

struct places {
    struct place *items;
    size_t count;
};

/* The nearest directory that is there. */
static char *existing(const char *path)
{
    char *at = text_copy(path);

    while (!path_exists(at) && strcmp(at, "/") != 0) {
        char *up = path_directory(at);

        free(at);
        at = up;
    }
    return at;
}

/* NULL: not known, which engine and filesystem will tell in time. */
static struct place *place_of(struct places *places, const char *path)
{
    autofree char *directory = is_server_path(path) ? NULL : existing(path);
    struct ds_storage storage;
    struct statvfs room;
    struct stat status;

    if (directory == NULL || stat(directory, &status) != 0 ||
        statvfs(directory, &room) != 0)
        return NULL;
    for (size_t i = 0; i < places->count; i++)
        if (places->items[i].device == status.st_dev)
            return &places->items[i];
    places->items =
        need_more(places->items, (places->count + 1) * sizeof(*places->items));
    places->items[places->count] = (struct place){
        .device = status.st_dev,
        .path = steal(&directory),
        .free_bytes = (uint64_t)room.f_bavail * room.f_frsize,
    };
    if (ds_storage_describe(places->items[places->count].path, false, &storage,
                            NULL) == 0)
        places->items[places->count].shares =
            storage.file_clone != DS_ANSWER_NO;
    return &places->items[places->count++];
}

static void free_places(struct places *places)
{
    for (size_t i = 0; i < places->count; i++)
        free(places->items[i].path);
    free(places->items);
}

/* -- what lands where ------------------------------------------------------ */

static void add_target_disk(struct places *places, const struct disk_plan *plan,
                            const char *path)
{
    const struct ds_totals *totals = &plan->totals;
    struct place *place = plan->made ? place_of(places, path) : NULL;

    if (place == NULL)
        return;
    place->table_bytes += FILE_BYTES + totals->metadata_bytes +
                          totals->op_count[DS_OP_CLONE] * RECORD_BYTES;
    place->copy_bytes += unshared_bytes(totals);
}

/* As many as the filesystem has of `file` now, without asking for them. */
static uint64_t count_extents(int file)
{
    struct fiemap map = { .fm_length = FIEMAP_MAX_OFFSET,
                          .fm_flags = FIEMAP_FLAG_SYNC };

    return ioctl(file, FS_IOC_FIEMAP, &map) == 0 ? map.fm_mapped_extents : 0;
}

/* Holes are not copied; what a filesystem holds ready behind the end neither.
 */
static uint64_t allocated_bytes(const struct stat *status)
{
    uint64_t bytes = (uint64_t)status->st_blocks * 512;

    return bytes < (uint64_t)status->st_size ? bytes
                                             : (uint64_t)status->st_size;
}

static void add_backup_file(struct place *to, const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;

    if (file >= 0 && fstat(file, &status) == 0) {
        to->backup_bytes += FILE_BYTES;
        to->backup_bytes += to->shares && status.st_dev == to->device
                                ? count_extents(file) * RECORD_BYTES
                                : allocated_bytes(&status);
    }
    if (file >= 0)
        close(file);
}

static void add_backup(const struct check *check, struct places *places)
{
    const struct vm *vm = &check->migration->vm;
    autofree char *directory = migration_backup_path(check->migration);
    struct place *to = place_of(places, directory);

    for (size_t i = 0; to != NULL && i < vm->disk_count; i++) {
        struct texts files = { 0 };

        if (vm->disks[i].source == VM_SOURCE_FILE &&
            !is_server_path(vm->disks[i].path) &&
            disk_files(&vm->disks[i], &files, NULL) == 0)
            for (size_t j = 0; j < files.count; j++)
                add_backup_file(to, files.items[j]);
        texts_free(&files);
    }
}

static void judge(const struct check *check, const struct place *place)
{
    uint64_t bytes =
        place->table_bytes + place->copy_bytes + place->backup_bytes;
    bool fits = bytes <= place->free_bytes;

    preflight_find(check, "target-room", fits ? FINDING_NOTE : FINDING_ERROR,
                   place->path,
                   fits ? NULL
                        : "make room, or choose another --directory or "
                          "--backup-directory",
                   "%" PRIu64 " bytes are needed (%" PRIu64 " tables, %" PRIu64
                   " copies, %" PRIu64 " backup), %" PRIu64 " are free",
                   bytes, place->table_bytes, place->copy_bytes,
                   place->backup_bytes, place->free_bytes);
}

void preflight_room(const struct check *check)
{
    struct migration *migration = check->migration;
    struct places places = { 0 };

    for (size_t i = 0; i < migration->target_vm.disk_count; i++)
        add_target_disk(&places, &check->plans[i],
                        migration->target_vm.disks[i].path);
    if (migration->settings.backup != BACKUP_NONE)
        add_backup(check, &places);
    for (size_t i = 0; i < places.count; i++)
        judge(check, &places.items[i]);
    free_places(&places);
}
