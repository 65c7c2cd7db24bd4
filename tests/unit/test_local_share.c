/* SPDX-License-Identifier: Apache-2.0 */
#include "test_local_scratch.h"

#include <linux/btrfs.h>
#include <linux/fs.h>

#define BLOCK 4096u
#define EXTENT_COUNT 64

static bool has_xfs;
static bool has_btrfs;
static bool has_ext4;

static void skip_without(const bool *filesystem)
{
    if (!*filesystem)
        skip();
}

static struct ds_clone_domain domain_of(const char *source, const char *target)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_clone_domain domain;
    struct ds_file *file = scratch_open(scratch_path(source));
    scratch_no_error(local_domain(file, scratch_path(target), &domain, &err),
                     &err);
    local_close(file);
    return domain;
}

static void expect_shares(const char *source, const char *target)
{
    struct ds_clone_domain domain = domain_of(source, target);
    assert_true(domain.known);
    assert_true(domain.range);
    assert_true(domain.file);
    assert_int_equal(domain.granularity_bytes, BLOCK);
    assert_int_equal(domain.reason, DS_COPY_NONE);
}

static void expect_copies(const char *source, const char *target,
                          enum ds_copy_reason reason)
{
    struct ds_clone_domain domain = domain_of(source, target);
    assert_true(domain.known);
    assert_false(domain.range);
    assert_false(domain.file);
    assert_int_equal(domain.reason, reason);
}

static void make_sources(const char *filesystem)
{
    char path[128];
    const size_t sizes[] = { 0, 100, 3 * BLOCK + 10 };
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof(path), "%s/size-%zu", filesystem, sizes[i]);
        scratch_write_pattern(scratch_path(path), sizes[i], 1);
    }
}

static void test_local_domain__xfs(void **state)
{
    (void)state;
    skip_without(&has_xfs);
    make_sources("xfs");
    expect_shares("xfs/size-0", "xfs/new");
    expect_shares("xfs/size-100", "xfs/new");
    expect_shares("xfs/size-12298", "xfs/new");
    expect_copies("xfs/size-12298", "new", DS_COPY_OTHER_FILESYSTEM);
    if (scratch_mount("xfs0", "xfs", "mkfs.xfs -q -m reflink=0")) {
        make_sources("xfs0");
        expect_copies("xfs0/size-100", "xfs0/new", DS_COPY_NO_REFLINK);
        expect_copies("xfs0/size-100", "xfs/new", DS_COPY_OTHER_FILESYSTEM);
    }
}

static void set_nocow(const char *path)
{
    int flags = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
    flags |= FS_NOCOW_FL;
    assert_int_equal(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
    (void)close(fd);
}

/* Clone all of source into a target made by the store. */
static int clone_status(const char *source, const char *target)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *from = scratch_open(scratch_path(source));
    struct ds_file *to = scratch_create(scratch_path(target), from, true);
    struct ds_op op = { .kind = DS_OP_CLONE_FILE };
    struct ds_run run = { &from, &to, NULL, NULL, NULL };
    scratch_no_error(local_run(&run, &op, 1, &err), &err);
    local_discard(to);
    local_close(to);
    local_close(from);
    return op.status;
}

static void test_local_domain__btrfs_nocow_follows_the_source(void **state)
{
    (void)state;
    skip_without(&has_btrfs);
    assert_int_equal(mkdir(scratch_path("btrfs/pool"), 0755), 0);
    set_nocow(scratch_path("btrfs/pool"));
    make_sources("btrfs");
    make_sources("btrfs/pool");
    int fd = open(scratch_path("btrfs/pool/size-100"), O_RDONLY | O_CLOEXEC);
    assert_true(local_is_nocow(fd));
    (void)close(fd);
    expect_shares("btrfs/size-12298", "btrfs/new");
    expect_shares("btrfs/size-100", "btrfs/new");
    expect_shares("btrfs/size-12298", "btrfs/pool/new");
    expect_shares("btrfs/pool/size-12298", "btrfs/new");
    expect_shares("btrfs/pool/size-12298", "btrfs/pool/new");
    assert_int_equal(clone_status("btrfs/size-12298", "btrfs/new"), 0);
    assert_int_equal(clone_status("btrfs/size-12298", "btrfs/pool/new"), 0);
    assert_int_equal(clone_status("btrfs/pool/size-12298", "btrfs/new"), 0);
}

static void make_subvolume(const char *parent, const char *name)
{
    struct btrfs_ioctl_vol_args request;
    memset(&request, 0, sizeof(request));
    (void)snprintf(request.name, sizeof(request.name), "%s", name);
    int fd = open(scratch_path(parent), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, BTRFS_IOC_SUBVOL_CREATE, &request), 0);
    (void)close(fd);
}

static struct ds_storage_id id_of(const char *name)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_storage_id id;
    struct ds_file *file = scratch_open(scratch_path(name));
    scratch_no_error(local_storage_id(file, &id, &err), &err);
    local_close(file);
    return id;
}

static void test_local_storage_id__btrfs_subvolumes_are_one(void **state)
{
    (void)state;
    skip_without(&has_btrfs);
    struct stat outer;
    struct stat inner;
    make_subvolume("btrfs", "sub");
    scratch_write_pattern(scratch_path("btrfs/sub/file"), 5 * BLOCK, 1);
    scratch_write_pattern(scratch_path("btrfs/file"), 5 * BLOCK, 1);
    assert_int_equal(stat(scratch_path("btrfs/file"), &outer), 0);
    assert_int_equal(stat(scratch_path("btrfs/sub/file"), &inner), 0);
    assert_true(outer.st_dev != inner.st_dev);
    struct ds_storage_id a = id_of("btrfs/file");
    struct ds_storage_id b = id_of("btrfs/sub/file");
    assert_true(a.known);
    assert_true(b.known);
    assert_memory_equal(a.bytes, b.bytes, sizeof(a.bytes));
    expect_shares("btrfs/sub/file", "btrfs/new");
    expect_shares("btrfs/file", "btrfs/sub/new");
}

static void test_local_storage_id__filesystems_differ(void **state)
{
    (void)state;
    skip_without(&has_xfs);
    skip_without(&has_ext4);
    scratch_write_pattern(scratch_path("xfs/id"), 100, 1);
    scratch_write_pattern(scratch_path("ext4/id"), 100, 1);
    scratch_write_pattern(scratch_path("id"), 100, 1);
    struct ds_storage_id xfs = id_of("xfs/id");
    struct ds_storage_id ext4 = id_of("ext4/id");
    assert_true(xfs.known);
    assert_true(ext4.known);
    assert_memory_not_equal(xfs.bytes, ext4.bytes, sizeof(xfs.bytes));
    assert_false(id_of("id").known); /* tmpfs */
}

static void test_local_domain__ext4_and_tmpfs_cannot(void **state)
{
    (void)state;
    skip_without(&has_ext4);
    scratch_write_pattern(scratch_path("ext4/file"), 3 * BLOCK, 1);
    scratch_write_pattern(scratch_path("file"), 3 * BLOCK, 1);
    expect_copies("ext4/file", "ext4/new", DS_COPY_NO_REFLINK);
    expect_copies("file", "new", DS_COPY_NO_REFLINK);
    expect_copies("file", "ext4/new", DS_COPY_OTHER_FILESYSTEM);
}

static void test_local_domain__read_only_is_a_guess(void **state)
{
    (void)state;
    skip_without(&has_xfs);
    scratch_write_pattern(scratch_path("xfs/ro"), 3 * BLOCK, 1);
    const char *path = scratch_path("ro");
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(mount(scratch_path("xfs"), path, NULL, MS_BIND, NULL), 0);
    assert_int_equal(
        mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
    struct ds_clone_domain domain = domain_of("xfs/ro", "ro/new");
    assert_false(domain.known);
    assert_true(domain.range);
    assert_int_equal(domain.granularity_bytes, BLOCK);
    assert_int_equal(umount(path), 0);
}

/* -- physical ------------------------------------------------------------ */

static size_t physical_of(struct ds_file *file,
                          struct ds_physical_extent *extents)
{
    struct ds_error err = DS_ERROR_INIT;
    size_t count = 0;
    scratch_no_error(local_physical(file, 0, UINT64_MAX, extents, EXTENT_COUNT,
                                    &count, &err),
                     &err);
    return count;
}

/* hole | 8 blocks data | hole | 8 blocks unwritten */
static void check_kinds(const char *name)
{
    struct ds_physical_extent extents[EXTENT_COUNT];
    uint8_t bytes[8 * BLOCK];
    struct ds_error err = DS_ERROR_INIT;
    size_t count;
    scratch_fill(bytes, sizeof(bytes), 1);
    int fd = open(scratch_path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(local_write_fully(fd, bytes, sizeof(bytes), 16 * BLOCK),
                     0);
    assert_int_equal(fallocate(fd, 0, 64 * BLOCK, 8 * BLOCK), 0);
    (void)close(fd);
    struct ds_file *file = scratch_open(scratch_path(name));
    assert_int_equal(physical_of(file, extents), 2);
    assert_int_equal(extents[0].offset_bytes, 16 * BLOCK);
    assert_int_equal(extents[0].length_bytes, 8 * BLOCK);
    assert_int_equal(extents[0].flags, 0);
    assert_true(extents[0].physical_bytes != 0);
    assert_int_equal(extents[1].offset_bytes, 64 * BLOCK);
    assert_int_equal(extents[1].length_bytes, 8 * BLOCK);
    assert_int_equal(extents[1].flags, DS_PHYSICAL_UNWRITTEN);
    scratch_no_error(
        local_physical(file, 0, 16 * BLOCK, extents, 4, &count, &err), &err);
    assert_int_equal(count, 0);
    scratch_no_error(
        local_physical(file, 20 * BLOCK, UINT64_MAX, extents, 1, &count, &err),
        &err);
    assert_int_equal(count, 1);
    assert_true(extents[0].offset_bytes <= 20 * BLOCK);
    local_close(file);
}

static void test_local_physical__holes_and_unwritten(void **state)
{
    (void)state;
    if (has_xfs)
        check_kinds("xfs/kinds");
    if (has_ext4)
        check_kinds("ext4/kinds");
    if (has_btrfs)
        check_kinds("btrfs/kinds");
}

static void test_local_physical__more_extents_than_a_batch(void **state)
{
    (void)state;
    skip_without(&has_ext4);
    struct ds_error err = DS_ERROR_INIT;
    const size_t piece_count = 1500;
    struct ds_physical_extent *extents = calloc(2000, sizeof(*extents));
    int fd = open(scratch_path("ext4/many"), O_RDWR | O_CREAT, 0644);
    assert_non_null(extents);
    for (size_t i = 0; i < piece_count; i++)
        assert_int_equal(local_write_fully(fd, "x", 1, (uint64_t)i * 2 * BLOCK),
                         0);
    (void)close(fd);
    struct ds_file *file = scratch_open(scratch_path("ext4/many"));
    size_t count;
    scratch_no_error(
        local_physical(file, 0, UINT64_MAX, extents, 2000, &count, &err), &err);
    assert_int_equal(count, piece_count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(extents[i].offset_bytes, i * 2 * BLOCK);
    scratch_no_error(
        local_physical(file, 0, UINT64_MAX, extents, 7, &count, &err), &err);
    assert_int_equal(count, 7);
    local_close(file);
    free(extents);
}

static void test_local_physical__inline_proves_nothing(void **state)
{
    (void)state;
    skip_without(&has_btrfs);
    struct ds_physical_extent extents[EXTENT_COUNT];
    scratch_write_pattern(scratch_path("btrfs/inline"), 100, 1);
    struct ds_file *file = scratch_open(scratch_path("btrfs/inline"));
    assert_int_equal(physical_of(file, extents), 1);
    assert_int_equal(extents[0].flags & DS_PHYSICAL_UNPROVABLE,
                     DS_PHYSICAL_UNPROVABLE);
    local_close(file);
}

/* clone from the middle of an extent | compressed | hole | unwritten | a write
 * into the unwritten | 600 pieces, more than a batch */
static void make_patchwork(const char *name)
{
    uint8_t bytes[16 * BLOCK];
    int flags = FS_COMPR_FL;
    struct ds_file *base;

    scratch_write_pattern(scratch_path("btrfs/patches"), 16 * BLOCK, 1);
    base = scratch_open(scratch_path("btrfs/patches"));
    int fd = open(scratch_path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    struct file_clone_range piece = { .src_fd = local_of(base)->fd,
                                      .src_offset = 4 * BLOCK,
                                      .src_length = 8 * BLOCK };
    assert_int_equal(ioctl(fd, FICLONERANGE, &piece), 0);
    assert_int_equal(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
    memset(bytes, 'c', sizeof(bytes));
    assert_int_equal(local_write_fully(fd, bytes, sizeof(bytes), 8 * BLOCK), 0);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(fallocate(fd, 0, 32 * BLOCK, 32 * BLOCK), 0);
    assert_int_equal(local_write_fully(fd, bytes, BLOCK, 40 * BLOCK), 0);
    for (uint64_t i = 0; i < 600; i++) {
        piece.src_offset = i % 16 * BLOCK;
        piece.src_length = BLOCK;
        piece.dest_offset = (64 + 2 * i) * BLOCK;
        assert_int_equal(ioctl(fd, FICLONERANGE, &piece), 0);
    }
    local_close(base);
    (void)close(fd);
}

/* Of a file that is quiet btrfs's tree is read, else FIEMAP asked. */
static size_t layout_of(const char *name, bool quiet,
                        struct ds_physical_extent *extents, size_t count_max)
{
    struct ds_error err = DS_ERROR_INIT;
    size_t count = 0;
    struct ds_file *file = scratch_open(scratch_path(name));

    if (quiet)
        scratch_no_error(local_quiesce(file, &err), &err);
    scratch_no_error(
        local_physical(file, 0, UINT64_MAX, extents, count_max, &count, &err),
        &err);
    local_close(file);
    return count;
}

static void test_local_physical__tree_says_what_fiemap_says(void **state)
{
    static struct ds_physical_extent told[1024];
    static struct ds_physical_extent read[1024];
    size_t count, unprovable = 0;

    (void)state;
    skip_without(&has_btrfs);
    make_patchwork("btrfs/patchwork");
    count = layout_of("btrfs/patchwork", false, told, 1024);
    assert_true(count > 600);
    assert_int_equal(layout_of("btrfs/patchwork", true, read, 1024), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(read[i].offset_bytes, told[i].offset_bytes);
        assert_int_equal(read[i].length_bytes, told[i].length_bytes);
        assert_int_equal(read[i].flags, told[i].flags);
        if ((told[i].flags & DS_PHYSICAL_UNPROVABLE) == 0)
            assert_int_equal(read[i].physical_bytes, told[i].physical_bytes);
        else
            unprovable++;
    }
    assert_true(unprovable > 0);
}

/* Somebody writes to a file that was quiet: its old address must not be what a
 * proof sees. */
static void test_local_physical__tree_is_asked_after_a_flush(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_physical_extent before[EXTENT_COUNT];
    struct ds_physical_extent after[EXTENT_COUNT];

    (void)state;
    skip_without(&has_btrfs);
    scratch_write_pattern(scratch_path("btrfs/late"), 16 * BLOCK, 1);
    struct ds_file *file = scratch_open(scratch_path("btrfs/late"));
    scratch_no_error(local_quiesce(file, &err), &err);
    assert_int_equal(physical_of(file, before), 1);
    int fd = open(scratch_path("btrfs/late"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(local_write_fully(fd, "x", 1, 0), 0);
    (void)close(fd);
    local_forget(file);
    assert_int_equal(physical_of(file, after), 2);
    assert_int_not_equal(after[0].physical_bytes, before[0].physical_bytes);
    local_close(file);
}

static void test_local_exclusive__counts_what_nobody_shares(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    uint64_t bytes;

    (void)state;
    skip_without(&has_btrfs);
    make_patchwork("btrfs/exclusive");
    struct ds_file *file = scratch_open(scratch_path("btrfs/exclusive"));
    scratch_no_error(local_exclusive(file, 0, 64 * BLOCK, &bytes, &err), &err);
    assert_int_equal(bytes, (16 + 32) * BLOCK);
    scratch_no_error(
        local_exclusive(file, 16 * BLOCK, 20 * BLOCK, &bytes, &err), &err);
    assert_int_equal(bytes, (8 + 4) * BLOCK);
    scratch_no_error(local_exclusive(file, 64 * BLOCK,
                                     file->size_bytes - 64 * BLOCK, &bytes,
                                     &err),
                     &err);
    assert_int_equal(bytes, 0);
    local_close(file);
}

static void test_local_physical__unsupported_on_tmpfs(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_physical_extent extent;
    size_t count;
    scratch_write_pattern(scratch_path("plain"), 100, 1);
    struct ds_file *file = scratch_open(scratch_path("plain"));
    int rc = local_physical(file, 0, 100, &extent, 1, &count, &err);
    scratch_expect(rc, &err, DS_ERR_UNSUPPORTED, "fiemap");
    local_close(file);
}

/* -- sharing ------------------------------------------------------------- */

static void check_clone(const char *filesystem)
{
    struct ds_physical_extent a[EXTENT_COUNT];
    struct ds_physical_extent b[EXTENT_COUNT];
    struct ds_error err = DS_ERROR_INIT;
    char source_name[64];
    char target_name[64];
    const size_t size = 64 * BLOCK + 100;
    uint8_t *expected = calloc(1, size + 8 * BLOCK);
    assert_non_null(expected);
    (void)snprintf(source_name, 64, "%s/clone-source", filesystem);
    (void)snprintf(target_name, 64, "%s/clone-target", filesystem);
    scratch_write_pattern(scratch_path(source_name), size, 3);
    scratch_fill(expected + 8 * BLOCK, size, 3);
    struct ds_file *from = scratch_open(scratch_path(source_name));
    scratch_no_error(local_quiesce(from, &err), &err);
    struct ds_file *to = scratch_create(scratch_path(target_name), from, true);
    struct ds_op op = { .kind = DS_OP_CLONE,
                        .target_offset_bytes = 8 * BLOCK,
                        .length_bytes = size };
    struct ds_run run = { &from, &to, NULL, NULL, NULL };
    scratch_no_error(local_run(&run, &op, 1, &err), &err);
    assert_int_equal(op.status, 0);
    scratch_no_error(local_sync(to, &err), &err);
    size_t count = physical_of(from, a);
    assert_int_equal(physical_of(to, b), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(b[i].physical_bytes, a[i].physical_bytes);
        assert_int_equal(b[i].offset_bytes, a[i].offset_bytes + 8 * BLOCK);
        assert_int_equal(a[i].flags, 0);
        assert_int_equal(b[i].flags, 0);
    }
    scratch_no_error(local_check_unchanged(from, &err), &err);
    scratch_no_error(local_install(to, false, &err), &err);
    local_close(to);
    local_close(from);
    scratch_compare(scratch_path(target_name), expected, size + 8 * BLOCK);
    free(expected);
}

static void test_local_clone__shares_the_blocks(void **state)
{
    (void)state;
    if (has_xfs)
        check_clone("xfs");
    if (has_btrfs)
        check_clone("btrfs");
}

/* A graft: zeros copied over old data must arrive as zeros. */
static void test_local_copy__zeros_hide_what_a_whole_clone_brought(void **state)
{
    (void)state;
    skip_without(&has_xfs);
    struct ds_error err = DS_ERROR_INIT;
    const size_t size = 256 * BLOCK;
    uint8_t *bytes = calloc(1, size);
    assert_non_null(bytes);
    scratch_fill(bytes, 4 * BLOCK, 9); /* then zeros */
    scratch_write(scratch_path("xfs/mostly-zero"), bytes, size);
    scratch_write_pattern(scratch_path("xfs/old"), size, 7);
    struct ds_file *from[2] = { scratch_open(scratch_path("xfs/old")),
                                scratch_open(scratch_path("xfs/mostly-zero")) };
    struct ds_file *to =
        scratch_create(scratch_path("xfs/graft"), from[0], true);
    struct ds_op ops[] = {
        { .kind = DS_OP_CLONE_FILE },
        { .kind = DS_OP_BARRIER },
        { .kind = DS_OP_COPY, .source_index = 1, .length_bytes = size },
    };
    struct ds_run run = { from, &to, NULL, NULL, NULL };
    scratch_no_error(local_run(&run, ops, 3, &err), &err);
    assert_int_equal(ops[2].status, 0);
    scratch_no_error(local_install(to, false, &err), &err);
    local_close(to);
    local_close(from[0]);
    local_close(from[1]);
    scratch_compare(scratch_path("xfs/graft"), bytes, size);
    free(bytes);
}

/* A misaligned clone is a status, not an error, and what follows a barrier
 * is not run on top of it. */
static void test_local_run__failure_stops_at_the_barrier(void **state)
{
    (void)state;
    skip_without(&has_xfs);
    struct ds_error err = DS_ERROR_INIT;
    scratch_write_pattern(scratch_path("xfs/mis"), 16 * BLOCK, 1);
    struct ds_file *from = scratch_open(scratch_path("xfs/mis"));
    struct ds_file *to = scratch_create(scratch_path("xfs/mis-to"), from, true);
    struct ds_op ops[] = {
        { .kind = DS_OP_CLONE,
          .target_offset_bytes = 512,
          .length_bytes = 4 * BLOCK },
        { .kind = DS_OP_WRITE,
          .target_offset_bytes = 16 * BLOCK,
          .data = "x",
          .length_bytes = 1 },
        { .kind = DS_OP_BARRIER },
        { .kind = DS_OP_WRITE,
          .target_offset_bytes = 0,
          .data = "x",
          .length_bytes = 1 },
    };
    struct ds_run run = { &from, &to, NULL, NULL, NULL };
    scratch_no_error(local_run(&run, ops, 4, &err), &err);
    assert_int_equal(ops[0].status, -EINVAL);
    assert_int_equal(ops[1].status, 0);
    assert_int_equal(ops[2].status, -ECANCELED);
    assert_int_equal(ops[3].status, -ECANCELED);
    local_discard(to);
    local_close(to);
    local_close(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_domain__xfs),
        cmocka_unit_test(test_local_domain__btrfs_nocow_follows_the_source),
        cmocka_unit_test(test_local_storage_id__btrfs_subvolumes_are_one),
        cmocka_unit_test(test_local_storage_id__filesystems_differ),
        cmocka_unit_test(test_local_domain__ext4_and_tmpfs_cannot),
        cmocka_unit_test(test_local_domain__read_only_is_a_guess),
        cmocka_unit_test(test_local_physical__holes_and_unwritten),
        cmocka_unit_test(test_local_physical__more_extents_than_a_batch),
        cmocka_unit_test(test_local_physical__inline_proves_nothing),
        cmocka_unit_test(test_local_physical__tree_says_what_fiemap_says),
        cmocka_unit_test(test_local_physical__tree_is_asked_after_a_flush),
        cmocka_unit_test(test_local_exclusive__counts_what_nobody_shares),
        cmocka_unit_test(test_local_physical__unsupported_on_tmpfs),
        cmocka_unit_test(test_local_clone__shares_the_blocks),
        cmocka_unit_test(
            test_local_copy__zeros_hide_what_a_whole_clone_brought),
        cmocka_unit_test(test_local_run__failure_stops_at_the_barrier),
    };
    scratch_begin();
    has_xfs = scratch_mount_xfs();
    has_btrfs = scratch_mount_btrfs();
    has_ext4 = scratch_mount_ext4();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
