/* SPDX-License-Identifier: Apache-2.0 */
#include "disks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/fs.h>

#define BUFFER_BYTES (1 << 20)
#define XATTR_BYTES 65536
#define SHIFTS_AT_ONCE 4

static void cleanup_descriptor(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
}
#define autoclose __attribute__((cleanup(cleanup_descriptor)))

static void cleanup_disk(struct ds_disk **disk)
{
    ds_disk_close(*disk);
}
#define autodisk __attribute__((cleanup(cleanup_disk)))

int disk_files(const struct vm_disk *named, struct texts *out,
               struct ds_error *err)
{
    const struct ds_open_options options = { .format = named->format,
                                             .member = named->member };
    autodisk struct ds_disk *disk = NULL;
    int result = ds_disk_open(named->path, &options, &disk, err);

    if (result != 0)
        return result;
    for (uint32_t i = 0; i < ds_disk_file_count(disk); i++)
        if (!texts_have(out, ds_disk_file_path(disk, i)))
            texts_add(out, ds_disk_file_path(disk, i));
    return 0;
}

/* -- clones --------------------------------------------------------------- */

static int copy_through(int from, int to, off_t at, off_t end,
                        uint64_t *copied_bytes)
{
    autofree char *buffer = need(BUFFER_BYTES);

    while (at < end) {
        size_t want =
            end - at < BUFFER_BYTES ? (size_t)(end - at) : BUFFER_BYTES;
        ssize_t have = pread(from, buffer, want, at);

        if (have <= 0)
            return (int)have; /* it has become shorter: the end */
        for (ssize_t done = 0; done < have;) {
            ssize_t put =
                pwrite(to, buffer + done, (size_t)(have - done), at + done);

            if (put < 0)
                return -1;
            done += put;
        }
        at += have;
        *copied_bytes += (uint64_t)have;
    }
    return 0;
}

/* The kernel's way, which a server may do by itself; not between filesystems
 * of two kinds. */
static int copy_range(int from, int to, off_t at, off_t end,
                      uint64_t *copied_bytes)
{
    while (at < end) {
        off_t to_at = at;
        ssize_t count =
            copy_file_range(from, &at, to, &to_at, (size_t)(end - at), 0);

        if (count < 0 && (errno == EXDEV || errno == EINVAL ||
                          errno == EOPNOTSUPP || errno == ENOSYS))
            return copy_through(from, to, at, end, copied_bytes);
        if (count <= 0)
            return (int)count;
        *copied_bytes += (uint64_t)count;
    }
    return 0;
}

/* Holes stay holes. */
static int copy_all(int from, int to, off_t size, uint64_t *copied_bytes)
{
    off_t data, hole = 0;

    while (hole < size && (data = lseek(from, hole, SEEK_DATA)) >= 0) {
        hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0 || copy_range(from, to, data, hole, copied_bytes) != 0)
            return -1;
    }
    if (hole < size && errno != ENXIO)
        return -1;
    return ftruncate(to, size);
}

/* Labels and the like; a filesystem that has none refuses, which is fine. */
static void copy_attributes(int from, int to)
{
    autofree char *names = need(XATTR_BYTES), *value = need(XATTR_BYTES);
    ssize_t length = flistxattr(from, names, XATTR_BYTES);

    for (char *name = names; length > 0 && name < names + length;
         name += strlen(name) + 1) {
        ssize_t size = fgetxattr(from, name, value, XATTR_BYTES);

        if (size >= 0)
            (void)fsetxattr(to, name, value, (size_t)size, 0);
    }
}

static int fill_clone(int from, int to, const char *path, bool require_clone,
                      uint64_t *copied_bytes, struct ds_error *err)
{
    struct stat status;

    if (fsync(from) != 0 || fstat(from, &status) != 0)
        return fail_errno(err, errno, path, "flush before it is cloned");
    if (ioctl(to, FICLONE, from) != 0) {
        if (require_clone)
            return fail_errno(err, errno, path, "share its blocks");
        if (copy_all(from, to, status.st_size, copied_bytes) != 0)
            return fail_errno(err, errno, path, "copy");
    }
    copy_attributes(from, to);
    if (fchown(to, status.st_uid, status.st_gid) != 0 ||
        fchmod(to, status.st_mode & 07777) != 0 || fsync(to) != 0)
        return fail_errno(err, errno, path, "finish its clone");
    return 0;
}

static int sync_beside(const char *path, struct ds_error *err)
{
    autofree char *directory = path_directory(path);
    autoclose int descriptor =
        open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return descriptor >= 0 && fsync(descriptor) == 0
               ? 0
               : fail_errno(err, errno, directory, "flush");
}

static int clone_as(const char *from, const char *partial, bool require_clone,
                    uint64_t *copied_bytes, struct ds_error *err)
{
    autoclose int source = open(from, O_RDONLY | O_CLOEXEC);
    autoclose int target = -1;

    if (source < 0)
        return fail_errno(err, errno, from, "open");
    if (unlink(partial) != 0 && errno != ENOENT)
        return fail_errno(err, errno, partial, "remove");
    target = open(partial, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (target < 0)
        return fail_errno(err, errno, partial, "create");
    return fill_clone(source, target, from, require_clone, copied_bytes, err);
}

int file_clone(const char *from, const char *to, bool require_clone,
               uint64_t *copied_bytes, struct ds_error *err)
{
    autofree char *partial = text_format("%s.partial", to);
    int result = clone_as(from, partial, require_clone, copied_bytes, err);

    if (result == 0 && rename(partial, to) != 0)
        result = fail_errno(err, errno, to, "rename");
    if (result == 0)
        return sync_beside(to, err);
    unlink(partial);
    return result;
}

int file_restore(const char *from, const char *to, struct ds_error *err)
{
    autofree char *beside = text_format("%s.diskshift-restore", to);
    uint64_t copied_bytes = 0;
    int result = clone_as(from, beside, false, &copied_bytes, err);

    if (result != 0) {
        unlink(beside);
        return result;
    }
    if (renameat2(AT_FDCWD, beside, AT_FDCWD, to, RENAME_EXCHANGE) != 0) {
        /* What was there is gone, or the filesystem cannot exchange. */
        if (errno != ENOENT && errno != EINVAL && errno != ENOSYS)
            return fail_errno(err, errno, to, "put the backup back");
        if (rename(beside, to) != 0)
            return fail_errno(err, errno, to, "put the backup back");
    }
    result = sync_beside(to, err);
    return result != 0 ? result : file_remove(beside, err);
}

int file_remove(const char *path, struct ds_error *err)
{
    return unlink(path) == 0 || errno == ENOENT
               ? 0
               : fail_errno(err, errno, path, "remove");
}

/* -- shifts --------------------------------------------------------------- */

static struct ds_target_spec spec_of(const struct shift *shift)
{
    return (struct ds_target_spec){ .format = shift->to_format,
                                    .path = shift->to,
                                    .options = shift->options,
                                    .option_count = shift->option_count };
}

static struct ds_open_options source_of(const struct shift *shift)
{
    return (struct ds_open_options){ .format = shift->from_format,
                                     .member = shift->from_member };
}

int shift_plan(const struct shift *shift, struct texts *files,
               struct ds_totals *totals, struct ds_error *err)
{
    const struct ds_open_options open_options = source_of(shift);
    const struct ds_convert_options options = { .require_clone =
                                                    shift->require_clone };
    const struct ds_target_spec spec = spec_of(shift);
    autodisk struct ds_disk *disk = NULL;
    struct ds_plan *plan = NULL;
    int result = ds_disk_open(shift->from, &open_options, &disk, err);

    if (result == 0)
        result = ds_plan_make(disk, &spec, &options, &plan, err);
    if (result != 0)
        return result;
    if (totals != NULL)
        *totals = *ds_plan_totals(plan);
    for (uint32_t i = 0; files != NULL && i < ds_plan_target_count(plan); i++)
        texts_add(files, ds_plan_target_path(plan, i));
    ds_plan_free(plan);
    return 0;
}

static void *run_shift(void *user)
{
    struct shift *shift = user;
    struct ds_open_options open_options = source_of(shift);
    const struct ds_convert_options options = {
        .require_clone = shift->require_clone,
        .progress = shift->progress,
        .user = shift->user,
    };
    const struct ds_target_spec spec = spec_of(shift);
    autodisk struct ds_disk *disk = NULL;

    open_options.for_conversion = true;
    shift->result =
        ds_disk_open(shift->from, &open_options, &disk, &shift->error);
    if (shift->result == 0)
        shift->result = ds_convert(disk, &spec, 1, &options, &shift->report,
                                   NULL, &shift->error);
    return NULL;
}

static void run_some(struct shift *shifts, size_t count)
{
    pthread_t threads[SHIFTS_AT_ONCE];
    bool started[SHIFTS_AT_ONCE];

    for (size_t i = 0; i < count; i++)
        started[i] =
            pthread_create(&threads[i], NULL, run_shift, &shifts[i]) == 0;
    for (size_t i = 0; i < count; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        else
            run_shift(&shifts[i]);
    }
}

int shift_all(struct shift *shifts, size_t count, struct ds_error *err)
{
    for (size_t i = 0; i < count; i += SHIFTS_AT_ONCE) {
        size_t some = count - i < SHIFTS_AT_ONCE ? count - i : SHIFTS_AT_ONCE;

        run_some(shifts + i, some);
        for (size_t j = i; j < i + some; j++) {
            if (shifts[j].result != 0) {
                *err = shifts[j].error;
                return fail_within(err, "disk %s", shifts[j].name);
            }
        }
    }
    return 0;
}

json_t *shift_json(const struct shift *shift)
{
    const struct ds_totals *totals = &shift->report.totals;
    json_t *copied = json_object();
    uint64_t copied_bytes = 0;

    for (int i = 1; i < DS_COPY_REASON_COUNT; i++) {
        if (totals->copied_bytes[i] == 0)
            continue;
        copied_bytes += totals->copied_bytes[i];
        json_object_set_new(copied, ds_copy_reason_name((enum ds_copy_reason)i),
                            json_integer((json_int_t)totals->copied_bytes[i]));
    }
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:I, s:I, s:s, s:b, s:f}", "name",
        shift->name, "from", shift->from, "to", shift->to, "format",
        shift->to_format, "shared_bytes", (json_int_t)totals->shared_bytes,
        "copied_bytes", (json_int_t)copied_bytes, "copied_because", copied,
        "decoded_bytes", (json_int_t)totals->decoded_bytes, "metadata_bytes",
        (json_int_t)totals->metadata_bytes, "strategy",
        ds_strategy_name(shift->report.strategy), "identical",
        shift->report.verified && shift->report.verify.identical, "seconds",
        shift->report.seconds);
}
