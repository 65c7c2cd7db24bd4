/* SPDX-License-Identifier: Apache-2.0 */
#include "test_local_scratch.h"

#include <time.h>

#include "cleanup.h"

static void expect_refused(const char *path, const char *word)
{
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *file = NULL;
    scratch_expect(local_open(path, &file, &err), &err, DS_ERR_REFUSED, word);
    assert_null(file);
}

static void test_local_open__refuses_what_is_no_file(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(scratch_path("fifo"), 0600), 0);
    (void)alarm(5); /* a fifo without a writer would block for ever */
    expect_refused(scratch_path("fifo"), "a fifo");
    (void)alarm(0);
    expect_refused(scratch_root, "a directory");
    expect_refused("/dev/null", "a character device");
}

static void test_local_open__missing_is_a_system_error(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *file = NULL;
    int rc = local_open(scratch_path("missing"), &file, &err);
    scratch_expect(rc, &err, DS_ERR_SYSTEM, "cannot open");
    assert_int_equal(err.system_errno, ENOENT);
}

static void test_local_read__truncated_is_corrupt(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    uint8_t bytes[1024];
    uint8_t expected[1000];
    scratch_write_pattern(scratch_path("short"), 1000, 1);
    scratch_fill(expected, 1000, 1);
    struct ds_file *file = scratch_open(scratch_path("short"));
    assert_int_equal(file->size_bytes, 1000);
    scratch_no_error(local_read(file, 0, bytes, 1000, &err), &err);
    assert_memory_equal(bytes, expected, 1000);
    scratch_no_error(local_read(file, 1000, bytes, 0, &err), &err);
    int rc = local_read(file, 512, bytes, 512, &err);
    scratch_expect(rc, &err, DS_ERR_CORRUPT,
                   "truncated, have 488 bytes expect 512");
    assert_int_equal(err.offset_bytes, 512);
    rc = local_read(file, UINT64_MAX - 1, bytes, 512, &err);
    scratch_expect(rc, &err, DS_ERR_CORRUPT, "truncated");
    rc = local_read(file, INT64_MAX - 1, bytes, 512, &err);
    scratch_expect(rc, &err, DS_ERR_CORRUPT, "truncated");
    local_close(file);
}

static void test_local_open__takes_a_block_device(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *file = NULL;
    struct ds_physical_extent extent;
    struct ds_storage_id id;
    size_t count;
    char device[32];
    uint8_t bytes[512];
    int image_fd = open(scratch_root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(image_fd, 1024 * 1024), 0);
    int loop_fd = scratch_loop(image_fd, device);
    if (loop_fd < 0)
        skip();
    scratch_no_error(local_open(device, &file, &err), &err);
    assert_int_equal(file->size_bytes, 1024 * 1024);
    scratch_no_error(local_read(file, 1024 * 1024 - 512, bytes, 512, &err),
                     &err);
    scratch_no_error(local_quiesce(file, &err), &err);
    scratch_no_error(local_check_unchanged(file, &err), &err);
    scratch_no_error(local_storage_id(file, &id, &err), &err);
    assert_false(id.known);
    int rc = local_physical(file, 0, 4096, &extent, 1, &count, &err);
    scratch_expect(rc, &err, DS_ERR_UNSUPPORTED, "block device");
    local_close(file);
    (void)close(loop_fd);
    (void)close(image_fd);
}

/* -- references ---------------------------------------------------------- */

/* root/ref/vm/{disk, base, out -> ../outside, in -> base, dev -> /dev/null,
 * fifo, sub/deep}, root/ref/outside, root/ref/other/parent */
static void make_tree(void)
{
    assert_int_equal(mkdir(scratch_path("ref"), 0755), 0);
    assert_int_equal(mkdir(scratch_path("ref/vm"), 0755), 0);
    assert_int_equal(mkdir(scratch_path("ref/vm/sub"), 0755), 0);
    assert_int_equal(mkdir(scratch_path("ref/other"), 0755), 0);
    scratch_write(scratch_path("ref/vm/disk"), "disk", 4);
    scratch_write(scratch_path("ref/vm/base"), "base", 4);
    scratch_write(scratch_path("ref/vm/sub/deep"), "deep", 4);
    scratch_write(scratch_path("ref/outside"), "outs", 4);
    scratch_write(scratch_path("ref/other/parent"), "prnt", 4);
    assert_int_equal(symlink("../outside", scratch_path("ref/vm/out")), 0);
    assert_int_equal(symlink("base", scratch_path("ref/vm/in")), 0);
    assert_int_equal(symlink("/dev/null", scratch_path("ref/vm/dev")), 0);
    assert_int_equal(mkfifo(scratch_path("ref/vm/fifo"), 0600), 0);
}

/* The four bytes in the file that the reference leads to, or NULL and the
 * class in *rc. */
static const char *follow(const char *name, const char *allow, int *rc,
                          struct ds_error *err)
{
    static char content[5];
    struct ds_file *from = scratch_open(scratch_path("ref/vm/disk"));
    struct ds_file *file = NULL;
    *rc = local_open_reference(from, allow, name, &file, err);
    local_close(from);
    if (*rc != 0) {
        assert_null(file);
        return NULL;
    }
    scratch_no_error(local_read(file, 0, content, 4, err), err);
    local_close(file);
    return content;
}

static void expect_leads(const char *name, const char *allow,
                         const char *expected)
{
    struct ds_error err = DS_ERROR_INIT;
    int rc;
    const char *content = follow(name, allow, &rc, &err);
    scratch_no_error(rc, &err);
    assert_string_equal(content, expected);
}

static void expect_stops(const char *name, const char *allow, const char *word)
{
    struct ds_error err = DS_ERROR_INIT;
    int rc;
    (void)follow(name, allow, &rc, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, word);
}

static void test_local_reference__beside_only(void **state)
{
    (void)state;
    expect_leads("base", NULL, "base");
    expect_leads("./base", NULL, "base");
    expect_leads(".//./base", NULL, "base");
    expect_leads("in", NULL, "base");
    expect_leads(scratch_path("ref/vm/base"), NULL, "base");
    expect_leads(scratch_path("ref/vm/sub/../base"), NULL, "base");
    expect_stops("../outside", NULL, "not beside");
    expect_stops("..", NULL, "not beside");
    expect_stops(".", NULL, "");
    expect_stops("sub/deep", NULL, "not beside");
    expect_stops("out", NULL, "leads outside");
    expect_stops("dev", NULL, "leads outside");
    expect_stops("/etc/passwd", NULL, "not beside");
    expect_stops(scratch_path("ref/vm/../outside"), NULL, "not beside");
    expect_stops(scratch_path("ref/vm/sub/deep"), NULL, "not beside");
    expect_stops("", NULL, "not a file name");
    expect_stops("sub", NULL, "not a regular file");
    (void)alarm(5);
    expect_stops("fifo", NULL, "not a regular file");
    (void)alarm(0);
}

static void test_local_reference__urls_are_refused(void **state)
{
    (void)state;
    const char *allow = scratch_root;
    expect_stops("http://example.org/disk", allow, "URL");
    expect_stops("json:{\"driver\":\"file\"}", allow, "URL");
    expect_stops("nbd:localhost:10809", allow, "URL");
    expect_stops("fat:rw:/etc", NULL, "URL");
    expect_stops("file:///etc/passwd", NULL, "URL");
}

static void test_local_reference__allowed_directory(void **state)
{
    (void)state;
    char allow[4096];
    (void)strcpy(allow, scratch_path("ref/other"));
    expect_leads("base", allow, "base");
    expect_leads("../other/parent", allow, "prnt");
    expect_leads("parent", allow, "prnt");
    expect_leads(scratch_path("ref/other/parent"), allow, "prnt");
    expect_leads(scratch_path("ref/vm/../other/./parent"), allow, "prnt");
    expect_stops("../outside", allow, "outside");
    expect_stops("/etc/passwd", allow, "not in the allowed");
    expect_stops(scratch_path("ref/outside"), allow, "not in the allowed");
    expect_stops(scratch_path("ref/other/../outside"), allow,
                 "not in the allowed");
    (void)strcpy(allow, scratch_path("ref/"));
    expect_leads("../outside", allow, "outs");
    expect_leads("sub/deep", allow, "deep");
}

static void test_local_reference__missing_says_so(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    int rc;
    (void)follow("nobody", NULL, &rc, &err);
    scratch_expect(rc, &err, DS_ERR_SYSTEM, "\"nobody\"");
    assert_int_equal(err.system_errno, ENOENT);
    (void)follow("nobody", scratch_root, &rc, &err);
    scratch_expect(rc, &err, DS_ERR_SYSTEM, "\"nobody\"");
}

static void test_local_reference__from_a_bare_name(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *file = NULL;
    ds_autofree char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(scratch_path("ref/vm")), 0);
    struct ds_file *from = scratch_open("disk");
    scratch_no_error(local_open_reference(from, NULL, "base", &file, &err),
                     &err);
    assert_string_equal(file->path, "base");
    local_close(file);
    scratch_no_error(local_open_reference(
                         from, NULL, scratch_path("ref/vm/base"), &file, &err),
                     &err);
    local_close(file);
    local_close(from);
    assert_int_equal(chdir(before), 0);
}

/* -- locks --------------------------------------------------------------- */

static int hold(const char *path, const int *bytes, size_t count)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < count; i++) {
        struct flock lock = { .l_type = F_RDLCK,
                              .l_whence = SEEK_SET,
                              .l_start = bytes[i],
                              .l_len = 1 };
        assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    }
    return fd;
}

static bool is_held(const char *path, int byte)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
    };
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_OFD_GETLK, &lock), 0);
    (void)close(fd);
    return lock.l_type != F_UNLCK;
}

static void test_local_quiesce__refuses_qemu_writer(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    const int writer[] = { 100, 101, 103, 201, 203 };
    const int rewriter[] = { 200 };
    scratch_write(scratch_path("running"), "x", 1);
    struct ds_file *file = scratch_open(scratch_path("running"));
    int fd = hold(scratch_path("running"), rewriter, 1);
    int rc = local_quiesce(file, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, "rewriting");
    (void)close(fd);
    local_close(file);
    fd = hold(scratch_path("running"), writer, 5);
    file = scratch_open(scratch_path("running"));
    rc = local_quiesce(file, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED,
                   "a process holds the image open for writing");
    (void)close(fd);
    scratch_no_error(local_quiesce(file, &err), &err);
    local_close(file);
}

static void test_local_quiesce__backing_file_is_fine_and_held(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    const int backing[] = { 100, 201, 203 };
    const char *path = scratch_path("backing");
    scratch_write(path, "x", 1);
    int fd = hold(path, backing, 3);
    struct ds_file *file = scratch_open(path);
    scratch_no_error(local_quiesce(file, &err), &err);
    (void)close(fd);
    assert_true(is_held(path, 100));
    assert_true(is_held(path, 201));
    assert_false(is_held(path, 101));
    assert_false(is_held(path, 203));
    local_close(file);
    assert_false(is_held(path, 100));
    assert_false(is_held(path, 201));
}

static void test_local_quiesce__refuses_vmware_locks(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    assert_int_equal(mkdir(scratch_path("esx"), 0755), 0);
    scratch_write(scratch_path("esx/a.vmdk"), "x", 1);
    assert_int_equal(mkdir(scratch_path("esx/a.vmdk.lck"), 0755), 0);
    struct ds_file *file = scratch_open(scratch_path("esx/a.vmdk"));
    scratch_no_error(local_quiesce(file, &err), &err);
    scratch_write(scratch_path("esx/a.vmdk.lck/M12345.lck"), "x", 1);
    int rc = local_quiesce(file, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, "a.vmdk.lck/M12345.lck");
    assert_int_equal(symlink("esx/a.vmdk", scratch_path("link.vmdk")), 0);
    struct ds_file *link = scratch_open(scratch_path("link.vmdk"));
    rc = local_quiesce(link, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, "a.vmdk.lck/M12345.lck");
    local_close(link);
    assert_int_equal(unlink(scratch_path("esx/a.vmdk.lck/M12345.lck")), 0);
    scratch_write(scratch_path("esx/.lck-3409000000000000"), "x", 1);
    rc = local_quiesce(file, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, ".lck-3409000000000000");
    assert_int_equal(unlink(scratch_path("esx/.lck-3409000000000000")), 0);
    scratch_no_error(local_quiesce(file, &err), &err);
    local_close(file);
}

static void test_local_check_unchanged__notices(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    const char *path = scratch_path("changing");
    const struct timespec pause = { 0, 20000000 }; /* the clock's tick */
    scratch_write(path, "0123456789", 10);
    struct ds_file *file = scratch_open(path);
    char byte;
    scratch_no_error(local_quiesce(file, &err), &err);
    scratch_no_error(local_read(file, 0, &byte, 1, &err), &err);
    scratch_no_error(local_check_unchanged(file, &err), &err);
    (void)nanosleep(&pause, NULL);
    assert_int_equal(chmod(path, 0600), 0);
    int rc = local_check_unchanged(file, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, "change time");
    scratch_no_error(local_quiesce(file, &err), &err);
    (void)nanosleep(&pause, NULL);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 0), 1);
    rc = local_check_unchanged(file, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, "modification time");
    scratch_no_error(local_quiesce(file, &err), &err);
    assert_int_equal(ftruncate(fd, 5), 0);
    rc = local_check_unchanged(file, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, "size");
    (void)close(fd);
    local_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_open__refuses_what_is_no_file),
        cmocka_unit_test(test_local_open__missing_is_a_system_error),
        cmocka_unit_test(test_local_open__takes_a_block_device),
        cmocka_unit_test(test_local_read__truncated_is_corrupt),
        cmocka_unit_test(test_local_reference__beside_only),
        cmocka_unit_test(test_local_reference__urls_are_refused),
        cmocka_unit_test(test_local_reference__allowed_directory),
        cmocka_unit_test(test_local_reference__missing_says_so),
        cmocka_unit_test(test_local_reference__from_a_bare_name),
        cmocka_unit_test(test_local_quiesce__refuses_qemu_writer),
        cmocka_unit_test(test_local_quiesce__backing_file_is_fine_and_held),
        cmocka_unit_test(test_local_quiesce__refuses_vmware_locks),
        cmocka_unit_test(test_local_check_unchanged__notices),
    };
    scratch_begin();
    make_tree();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
