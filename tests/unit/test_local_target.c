/* SPDX-License-Identifier: Apache-2.0 */
#include "test_local_scratch.h"

#include <sys/wait.h>
#include <sys/xattr.h>

static bool exists(const char *name)
{
    struct ds_error err = DS_ERROR_INIT;
    int rc = local_exists(scratch_path(name), &err);
    assert_true(rc >= 0);
    return rc == 1;
}

static void test_local_create__is_partial_until_installed(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *file = scratch_create(scratch_path("a"), NULL, false);
    struct ds_file *again = NULL;
    struct stat status;
    assert_string_equal(file->path, scratch_path("a.partial"));
    assert_int_equal(file->size_bytes, 0);
    assert_true(exists("a.partial"));
    assert_false(exists("a"));
    assert_int_equal(stat(scratch_path("a.partial"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(local_write_fully(local_of(file)->fd, "data", 4, 0), 0);
    scratch_no_error(local_sync(file, &err), &err);
    scratch_no_error(local_reopen(file, &again, &err), &err);
    assert_int_equal(again->size_bytes, 4);
    assert_string_equal(again->path, scratch_path("a.partial"));
    local_close(again);
    scratch_no_error(local_install(file, false, &err), &err);
    assert_string_equal(file->path, scratch_path("a"));
    assert_false(exists("a.partial"));
    scratch_no_error(local_reopen(file, &again, &err), &err);
    assert_string_equal(again->path, scratch_path("a"));
    local_close(again);
    local_close(file);
    scratch_compare(scratch_path("a"), "data", 4);
}

static void test_local_create__clears_only_unlocked_leftovers(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_create_request request = { .path = scratch_path("b"),
                                         .attributes_from = NULL,
                                         .clone_from = false };
    struct ds_file *second = NULL;
    struct ds_file *first = scratch_create(scratch_path("b"), NULL, false);
    assert_int_equal(local_write_fully(local_of(first)->fd, "old", 3, 0), 0);
    int rc = local_create(&request, &second, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, "another process");
    scratch_compare(scratch_path("b.partial"), "old", 3);
    local_close(first); /* as if it had been killed */
    assert_true(exists("b.partial"));
    second = scratch_create(scratch_path("b"), NULL, false);
    scratch_compare(scratch_path("b.partial"), "", 0);
    local_discard(second);
    local_close(second);
    assert_false(exists("b.partial"));
}

static void test_local_create__leftover_must_be_a_file(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_create_request request = { .path = scratch_path("c"),
                                         .attributes_from = NULL,
                                         .clone_from = false };
    struct ds_file *file = NULL;
    scratch_write(scratch_path("victim"), "victim", 6);
    assert_int_equal(symlink("victim", scratch_path("c.partial")), 0);
    int rc = local_create(&request, &file, &err);
    scratch_expect(rc, &err, DS_ERR_SYSTEM, "leftover");
    assert_true(exists("c.partial"));
    scratch_compare(scratch_path("victim"), "victim", 6);
    assert_int_equal(unlink(scratch_path("c.partial")), 0);
    assert_int_equal(mkfifo(scratch_path("c.partial"), 0600), 0);
    rc = local_create(&request, &file, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, "a fifo");
    assert_int_equal(unlink(scratch_path("c.partial")), 0);
    request.path = scratch_path("no-such-directory/c");
    rc = local_create(&request, &file, &err);
    scratch_expect(rc, &err, DS_ERR_SYSTEM, "directory");
    request.path = scratch_path("");
    rc = local_create(&request, &file, &err);
    scratch_expect(rc, &err, DS_ERR_ARG, "file name");
}

static void test_local_create__one_of_many_wins(void **state)
{
    (void)state;
    const unsigned process_count = 8;
    int pipe_fds[2];
    unsigned won = 0;
    assert_int_equal(pipe(pipe_fds), 0);
    for (unsigned i = 0; i < process_count; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct ds_create_request request = { .path = scratch_path("race"),
                                                 .attributes_from = NULL,
                                                 .clone_from = false };
            struct ds_error err = DS_ERROR_INIT;
            struct ds_file *file = NULL;
            char go;
            (void)close(pipe_fds[1]);
            (void)!read(pipe_fds[0], &go, 1); /* all begin at its closing */
            if (local_create(&request, &file, &err) != 0)
                _exit(1);
            bool whole = local_install(file, false, &err) == 0;
            _exit(whole ? 0 : 2);
        }
    }
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    for (unsigned i = 0; i < process_count; i++) {
        int status;
        (void)wait(&status);
        assert_true(WIFEXITED(status));
        won += WEXITSTATUS(status) == 0 ? 1 : 0;
    }
    assert_int_equal(won, 1);
    assert_true(exists("race"));
    assert_int_equal(unlink(scratch_path("race")), 0);
    (void)unlink(scratch_path("race.partial"));
}

static void test_local_install__replaces_only_when_told(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    scratch_write(scratch_path("d"), "mine", 4);
    struct ds_file *file = scratch_create(scratch_path("d"), NULL, false);
    int rc = local_install(file, false, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, "exists");
    scratch_compare(scratch_path("d"), "mine", 4);
    assert_true(exists("d.partial"));
    scratch_no_error(local_install(file, true, &err), &err);
    scratch_compare(scratch_path("d"), "", 0);
    local_close(file);
    assert_false(exists("d.partial"));
}

/* Whether NAME is an abandoned extent of the target "first". */
static int look_abandoned(const char *name, bool remove)
{
    struct ds_error err = DS_ERROR_INIT;
    char first[256];
    (void)snprintf(first, sizeof(first), "%s", scratch_path("first"));
    int rc = local_abandoned(scratch_path(name), first, remove, &err);
    assert_true(rc >= 0);
    return rc;
}

/* Both names, no lock, and a first file that was not named: that alone is
 * nobody's. */
static void test_local_abandoned__by_both_names_and_no_lock(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    scratch_write(scratch_path("first.partial"), "", 0);
    struct ds_file *file = scratch_create(scratch_path("p"), NULL, false);
    assert_int_equal(look_abandoned("p", true), 0); /* one name */
    scratch_no_error(local_install_part(file, &err), &err);
    assert_int_equal(access(scratch_path("p.partial"), F_OK), 0);
    assert_int_equal(look_abandoned("p", true), 0); /* its maker lives */
    local_close(file);
    assert_int_equal(look_abandoned("p", false), 1);
    assert_int_equal(access(scratch_path("p"), F_OK), 0);
    assert_int_equal(look_abandoned("p", true), 1);
    assert_int_not_equal(access(scratch_path("p"), F_OK), 0);
    assert_int_not_equal(access(scratch_path("p.partial"), F_OK), 0);
    assert_int_equal(unlink(scratch_path("first.partial")), 0);
}

/* Killed between the first file's naming and settling: the target is whole. */
static void test_local_abandoned__not_of_a_whole_target(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *first = scratch_create(scratch_path("first"), NULL, false);
    struct ds_file *file = scratch_create(scratch_path("w"), NULL, false);
    scratch_no_error(local_install_part(file, &err), &err);
    local_close(file);
    assert_int_equal(look_abandoned("w", true), 0); /* its maker lives */
    assert_int_equal(access(scratch_path("w.partial"), F_OK), 0);
    /* As on NFS, where the first has both names for a moment. */
    scratch_no_error(local_install_part(first, &err), &err);
    local_close(first);
    assert_int_equal(look_abandoned("w", false), 0);
    assert_int_equal(unlink(scratch_path("first.partial")), 0);
    assert_int_equal(look_abandoned("w", false), 0);
    assert_int_equal(access(scratch_path("w.partial"), F_OK), 0);
    assert_int_equal(look_abandoned("w", true), 0);
    assert_int_equal(access(scratch_path("w"), F_OK), 0);
    assert_int_not_equal(access(scratch_path("w.partial"), F_OK), 0);
    assert_int_equal(unlink(scratch_path("first")), 0);
}

static void test_local_abandoned__not_what_was_finished(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *file = scratch_create(scratch_path("q"), NULL, false);
    scratch_no_error(local_install_part(file, &err), &err);
    local_settle(file);
    local_close(file);
    assert_int_not_equal(access(scratch_path("q.partial"), F_OK), 0);
    assert_int_equal(look_abandoned("q", true), 0);
    scratch_write(scratch_path("q.partial"), "of another", 10);
    assert_int_equal(look_abandoned("q", true), 0);
    assert_int_equal(access(scratch_path("q"), F_OK), 0);
    assert_int_equal(access(scratch_path("q.partial"), F_OK), 0);
}

static void test_local_install__notices_a_taken_name(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *file = scratch_create(scratch_path("e"), NULL, false);
    assert_int_equal(unlink(scratch_path("e.partial")), 0);
    scratch_write(scratch_path("e.partial"), "other", 5);
    int rc = local_install(file, false, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, "removed or replaced");
    local_discard(file);
    local_discard(file);
    local_close(file);
    scratch_compare(scratch_path("e.partial"), "other", 5);
    assert_int_equal(unlink(scratch_path("e.partial")), 0);
}

static void test_local_discard__under_either_name(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *file = scratch_create(scratch_path("f"), NULL, false);
    scratch_no_error(local_install(file, false, &err), &err);
    local_discard(file);
    local_discard(file);
    assert_false(exists("f"));
    int rc = local_install(file, false, &err);
    scratch_expect(rc, &err, DS_ERR_ARG, "created");
    local_close(file);
    scratch_write(scratch_path("source"), "s", 1);
    file = scratch_open(scratch_path("source"));
    local_discard(file); /* never a source */
    local_close(file);
    assert_true(exists("source"));
}

static int guard_one(const struct ds_file *source, const char *name,
                     struct ds_error *err)
{
    const char *path = scratch_path(name);
    return local_guard_same(&source, 1, &path, 1, err);
}

static void expect_guarded(const struct ds_file *source, const char *name)
{
    struct ds_error err = DS_ERROR_INIT;
    int rc = guard_one(source, name, &err);
    scratch_expect(rc, &err, DS_ERR_REFUSED, "is the source itself");
}

static void test_local_guard_same__by_any_name(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    scratch_write(scratch_path("g"), "x", 1);
    assert_int_equal(symlink("g", scratch_path("g-symlink")), 0);
    assert_int_equal(link(scratch_path("g"), scratch_path("g-link")), 0);
    assert_int_equal(link(scratch_path("g"), scratch_path("h.partial")), 0);
    struct ds_file *source = scratch_open(scratch_path("g"));
    expect_guarded(source, "g");
    expect_guarded(source, "g-symlink");
    expect_guarded(source, "g-link");
    expect_guarded(source, "h"); /* create would clear it as a leftover */
    scratch_no_error(guard_one(source, "a", &err), &err);
    scratch_no_error(guard_one(source, "new", &err), &err);
    local_close(source);
}

#define MANY 40u

/* Each of many is found among many. */
static void test_local_guard_same__among_many(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_file *files[MANY];
    const struct ds_file *sources[MANY];
    char names[MANY][4096];
    const char *paths[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "many-%u", i);
        scratch_write(scratch_path(name), "x", 1);
        sources[i] = files[i] = scratch_open(scratch_path(name));
        (void)snprintf(name, sizeof(name), "other-%u", i);
        (void)snprintf(names[i], sizeof(names[i]), "%s", scratch_path(name));
        paths[i] = names[i];
    }
    scratch_no_error(local_guard_same(sources, MANY, paths, MANY, &err), &err);
    for (unsigned i = 0; i < MANY; i++) {
        const char *other = paths[MANY - 1 - i];
        paths[MANY - 1 - i] = files[i]->path;
        int rc = local_guard_same(sources, MANY, paths, MANY, &err);
        scratch_expect(rc, &err, DS_ERR_REFUSED, "is the source itself");
        paths[MANY - 1 - i] = other;
        err = (struct ds_error)DS_ERROR_INIT;
    }
    for (unsigned i = 0; i < MANY; i++)
        local_close(files[i]);
}

/* -- attributes ---------------------------------------------------------- */

/* POSIX ACL as an xattr (linux/posix_acl_xattr.h): version 2, then tag,
 * permissions, id of each entry, little-endian. */
static const uint8_t acl[] = {
    2,    0, 0, 0,                         /* version */
    0x01, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, /* user::rw- */
    0x02, 0, 6, 0, 0xd2, 0x04, 0,    0,    /* user:1234:rw- */
    0x04, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, /* group::--- */
    0x10, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, /* mask::rw- */
    0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, /* other::--- */
};

static struct ds_file *attribute_source(mode_t mode)
{
    const char *path = scratch_path("ext4/from");
    (void)unlink(path); /* its ACL would stay */
    scratch_write(path, "x", 1);
    assert_int_equal(chown(path, 1001, 1002), 0);
    assert_int_equal(chmod(path, mode), 0);
    assert_int_equal(setxattr(path, "user.note", "hello", 5, 0), 0);
    return scratch_open(path);
}

static void check_note(const char *path)
{
    char note[16];
    assert_int_equal(getxattr(path, "user.note", note, sizeof(note)), 5);
    assert_memory_equal(note, "hello", 5);
}

static void test_local_create__attributes_follow(void **state)
{
    (void)state;
    struct stat status;
    const char *path = scratch_path("ext4/to.partial");
    struct ds_file *from = attribute_source(04755);
    struct ds_file *file = scratch_create(scratch_path("ext4/to"), from, false);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_uid, 1001);
    assert_int_equal(status.st_gid, 1002);
    assert_int_equal(status.st_mode & 07777, 0755); /* never set-uid */
    check_note(path);
    local_discard(file);
    local_close(file);
    local_close(from);
}

static void test_local_create__acl_follows_or_closes(void **state)
{
    (void)state;
    struct stat status;
    uint8_t copy[sizeof(acl) + 16];
    const char *name = "system.posix_acl_access";
    struct ds_file *from = attribute_source(0600);
    assert_int_equal(setxattr(from->path, name, acl, sizeof(acl), 0), 0);
    struct ds_file *file = scratch_create(scratch_path("ext4/to"), from, false);
    ssize_t length = getxattr(file->path, name, copy, sizeof(copy));
    assert_int_equal(length, sizeof(acl));
    assert_memory_equal(copy, acl, sizeof(acl));
    local_discard(file);
    local_close(file);
    /* ramfs has no ACLs: the mask in the mode must not become the group's
     * permission. */
    assert_int_equal(mkdir(scratch_path("noacl"), 0755), 0);
    if (mount("ram", scratch_path("noacl"), "ramfs", 0, NULL) == 0) {
        file = scratch_create(scratch_path("noacl/to"), from, false);
        assert_int_equal(stat(file->path, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
        local_discard(file);
        local_close(file);
    }
    local_close(from);
}

/* Run as a user to whom `from` does not belong; the target's mode. */
static mode_t mode_as_user(const char *name, mode_t mode)
{
    struct ds_file *from = attribute_source(mode);
    struct stat status;
    int child_status;
    pid_t pid = fork();
    if (pid == 0) {
        struct ds_create_request request = { .path = name,
                                             .attributes_from = from,
                                             .clone_from = false };
        struct ds_error err = DS_ERROR_INIT;
        struct ds_file *file = NULL;
        /* That user may not be let through to here by the path. */
        if (chdir(scratch_path("")) != 0)
            _exit(3);
        if (setresgid(2000, 2000, 2000) != 0 ||
            setresuid(2000, 2000, 2000) != 0)
            _exit(3);
        _exit(local_create(&request, &file, &err) == 0 &&
                      local_install(file, true, &err) == 0
                  ? 0
                  : 4);
    }
    assert_int_equal(waitpid(pid, &child_status, 0), pid);
    assert_true(WIFEXITED(child_status));
    assert_int_equal(WEXITSTATUS(child_status), 0);
    assert_int_equal(stat(scratch_path(name), &status), 0);
    assert_int_equal(status.st_uid, 2000);
    assert_int_equal(status.st_gid, 2000);
    local_close(from);
    return status.st_mode & 07777;
}

static void test_local_create__mode_is_never_wider(void **state)
{
    (void)state;
    assert_int_equal(mkdir(scratch_path("ext4/open"), 0755), 0);
    assert_int_equal(chmod(scratch_path("ext4/open"), 0777), 0);
    assert_int_equal(mode_as_user("ext4/open/1", 0660), 0600);
    assert_int_equal(mode_as_user("ext4/open/2", 0640), 0600);
    assert_int_equal(mode_as_user("ext4/open/3", 0644), 0604);
    assert_int_equal(mode_as_user("ext4/open/4", 0604), 0600);
    assert_int_equal(mode_as_user("ext4/open/5", 0466), 0404);
}

static void test_local_space__is_told(void **state)
{
    (void)state;
    struct ds_error err = DS_ERROR_INIT;
    struct ds_space space;
    scratch_no_error(local_space(scratch_path("ext4/new"), &space, &err), &err);
    assert_true(space.free_bytes > 1024 * 1024);
    assert_true(space.free_bytes < (uint64_t)SCRATCH_IMAGE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_create__is_partial_until_installed),
        cmocka_unit_test(test_local_create__clears_only_unlocked_leftovers),
        cmocka_unit_test(test_local_create__leftover_must_be_a_file),
        cmocka_unit_test(test_local_create__one_of_many_wins),
        cmocka_unit_test(test_local_install__replaces_only_when_told),
        cmocka_unit_test(test_local_abandoned__by_both_names_and_no_lock),
        cmocka_unit_test(test_local_abandoned__not_of_a_whole_target),
        cmocka_unit_test(test_local_abandoned__not_what_was_finished),
        cmocka_unit_test(test_local_install__notices_a_taken_name),
        cmocka_unit_test(test_local_discard__under_either_name),
        cmocka_unit_test(test_local_guard_same__by_any_name),
        cmocka_unit_test(test_local_guard_same__among_many),
    };
    const struct CMUnitTest attribute_tests[] = {
        cmocka_unit_test(test_local_create__attributes_follow),
        cmocka_unit_test(test_local_create__acl_follows_or_closes),
        cmocka_unit_test(test_local_create__mode_is_never_wider),
        cmocka_unit_test(test_local_space__is_told),
    };
    scratch_begin();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (scratch_mount_ext4())
        failed += cmocka_run_group_tests(attribute_tests, NULL, NULL);
    return failed;
}
