/* SPDX-License-Identifier: Apache-2.0 */
/* What can no longer be done in the sandbox, tried from within. Each case runs
 * in a process of its own: there is no way out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"

/* root/in/file, root/out/file */
struct tree {
    char root[256];
    char in[300];
    char out[300];
    char file_in[320];
    char file_out[320];
    char new_in[320];
};

static void make_file(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0600);

    assert_true(fd >= 0);
    close(fd);
}

static int set_up(void **state)
{
    const char *scratch = getenv("DS_TEST_DIR");
    struct tree *tree = calloc(1, sizeof(*tree));

    if (scratch == NULL)
        scratch = "/tmp";
    mkdir(scratch, 0755);
    snprintf(tree->root, sizeof(tree->root), "%s/sandbox.XXXXXX", scratch);
    assert_non_null(mkdtemp(tree->root));
    snprintf(tree->in, sizeof(tree->in), "%s/in", tree->root);
    snprintf(tree->out, sizeof(tree->out), "%s/out", tree->root);
    snprintf(tree->file_in, sizeof(tree->file_in), "%s/file", tree->in);
    snprintf(tree->file_out, sizeof(tree->file_out), "%s/file", tree->out);
    snprintf(tree->new_in, sizeof(tree->new_in), "%s/new", tree->in);
    mkdir(tree->in, 0755);
    mkdir(tree->out, 0755);
    make_file(tree->file_in);
    make_file(tree->file_out);
    *state = tree;
    return 0;
}

static int tear_down(void **state)
{
    struct tree *tree = *state;

    unlink(tree->new_in);
    unlink(tree->file_in);
    unlink(tree->file_out);
    rmdir(tree->in);
    rmdir(tree->out);
    rmdir(tree->root);
    free(tree);
    return 0;
}

/* What a case does in its process; returns the number of its faults. */
typedef unsigned in_sandbox(const struct tree *tree,
                            struct sandbox_state *state);

/* Says which expectation failed: cmocka is not for the process of a case. */
#define EXPECT(condition)                                                      \
    ((condition) ? 0u                                                          \
                 : (fprintf(stderr, "line %d: %s: errno %d\n", __LINE__,       \
                            #condition, errno),                                \
                    1u))
/* The call fails so. */
#define DENIED(call, number)                                                   \
    (errno = 0, EXPECT((call) < 0 && errno == (number)))

static void run_in(const struct tree *tree, unsigned access, bool network,
                   in_sandbox *fn)
{
    const struct sandbox_place place = { tree->in, access, false };
    const struct sandbox_request request = { SANDBOX_AUTO, network, &place, 1 };
    struct sandbox_state state;
    struct ds_error err = DS_ERROR_INIT;
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        if (sandbox_enter(&request, &state, &err) != 0)
            _exit(100);
        _exit((int)fn(tree, &state));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static bool kernel_has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, 1u) >= 1;
}

/* -- files ---------------------------------------------------------------- */

static unsigned try_files_to_read(const struct tree *tree,
                                  struct sandbox_state *state)
{
    (void)state;
    return EXPECT(open(tree->file_in, O_RDONLY) >= 0) +
           EXPECT(open(tree->in, O_RDONLY | O_DIRECTORY) >= 0) +
           DENIED(open(tree->file_in, O_RDWR), EACCES) +
           DENIED(open(tree->new_in, O_CREAT | O_WRONLY, 0600), EACCES) +
           DENIED(open("/etc/passwd", O_RDONLY), EACCES) +
           DENIED(open("/proc/self/environ", O_RDONLY), EACCES) +
           DENIED(open("/dev/null", O_RDWR), EACCES) +
           DENIED(open("/", O_RDONLY | O_DIRECTORY), EACCES) +
           DENIED(open(tree->file_out, O_RDONLY), EACCES) +
           DENIED(unlink(tree->file_in), EACCES);
}

static void test_sandbox__reads_only_where_admitted(void **state)
{
    if (!kernel_has_landlock())
        skip();
    run_in(*state, SANDBOX_READ | SANDBOX_LIST, false, try_files_to_read);
}

/* The filter comes before Landlock. */
#ifdef __SANITIZE_ADDRESS__
#define FIFO_DENIED EACCES
#else
#define FIFO_DENIED EPERM
#endif

static unsigned try_files_to_make(const struct tree *tree,
                                  struct sandbox_state *state)
{
    char other[330], moved[330];
    int fd = open(tree->new_in, O_CREAT | O_EXCL | O_RDWR, 0600);

    (void)state;
    snprintf(other, sizeof(other), "%s.name", tree->new_in);
    snprintf(moved, sizeof(moved), "%s.moved", tree->file_out);
    return EXPECT(fd >= 0) + EXPECT(ftruncate(fd, 4096) == 0) +
           EXPECT(fchmod(fd, 0400) == 0) +
           EXPECT(open(tree->in, O_TMPFILE | O_RDWR, 0600) >= 0) +
           EXPECT(rename(tree->new_in, other) == 0) +
           EXPECT(rename(other, tree->new_in) == 0) +
           DENIED(rename(tree->new_in, moved), EACCES) +
           DENIED(link(tree->new_in, moved), EACCES) +
           DENIED(symlink("/etc/passwd", other), EACCES) +
           DENIED(mkdir(other, 0700), EACCES) +
           DENIED(mkfifo(other, 0600), FIFO_DENIED) +
           EXPECT(unlink(tree->new_in) == 0) +
           DENIED(unlink(tree->file_out), EACCES) +
           DENIED(open(tree->file_out, O_WRONLY), EACCES);
}

static void test_sandbox__makes_files_only_where_admitted(void **state)
{
    if (!kernel_has_landlock())
        skip();
    run_in(*state, SANDBOX_MAKE, false, try_files_to_make);
}

static unsigned try_to_test(const struct tree *tree,
                            struct sandbox_state *state)
{
    (void)state;
    return EXPECT(open(tree->in, O_TMPFILE | O_RDWR, 0600) >= 0) +
           DENIED(open(tree->new_in, O_CREAT | O_WRONLY, 0600), EACCES) +
           DENIED(unlink(tree->file_in), EACCES);
}

static void test_sandbox__a_plan_makes_no_names(void **state)
{
    if (!kernel_has_landlock())
        skip();
    run_in(*state, SANDBOX_TEST, false, try_to_test);
}

static unsigned try_narrowed(const struct tree *tree,
                             struct sandbox_state *state)
{
    struct ds_error err = DS_ERROR_INIT;
    int fd = open(tree->file_in, O_RDONLY);
    char byte;
    unsigned faults =
        EXPECT(fd >= 0) + EXPECT(sandbox_narrow(state, NULL, 0, &err) == 0);

    return faults + EXPECT(read(fd, &byte, 1) == 0) +
           DENIED(open(tree->file_in, O_RDONLY), EACCES) +
           DENIED(open(tree->in, O_RDONLY | O_DIRECTORY), EACCES);
}

static void test_sandbox__opens_nothing_once_narrowed(void **state)
{
    if (!kernel_has_landlock())
        skip();
    run_in(*state, SANDBOX_READ | SANDBOX_LIST, false, try_narrowed);
}

/* -- system calls --------------------------------------------------------- */

#ifndef __SANITIZE_ADDRESS__ /* without the filter then */

static void *nothing(void *user)
{
    return user;
}

static unsigned try_calls(const struct tree *tree, struct sandbox_state *state)
{
    char *const arguments[] = { (char *)(uintptr_t) "/bin/true", NULL };
    pthread_t thread;
    char byte = 'x';
    unsigned faults = EXPECT(state->seccomp);

    faults += DENIED(execv(arguments[0], arguments), EPERM);
    faults +=
        DENIED(syscall(SYS_execveat, 0, "", arguments, NULL, 0x1000), EPERM);
    faults += DENIED(fork(), EPERM);
    faults += DENIED(syscall(SYS_clone3, NULL, 0), ENOSYS);
    faults += DENIED(socket(AF_INET, SOCK_STREAM, 0), EPERM);
    faults += DENIED(socket(AF_UNIX, SOCK_STREAM, 0), EPERM);
    faults += DENIED(syscall(SYS_ptrace, 0, 0, 0, 0), EPERM);
    faults += DENIED(kill(getppid(), 0), EPERM);
    faults += DENIED(syscall(SYS_tgkill, getppid(), getppid(), 0), EPERM);
    faults += DENIED(chmod(tree->file_in, 0777), EPERM);
    faults += DENIED(chown(tree->file_in, 1, 1), EPERM);
    faults += DENIED(syscall(SYS_io_uring_setup, 1, NULL), EPERM);
    faults += DENIED(syscall(SYS_mount, 0, 0, 0, 0, 0), EPERM);
    faults += DENIED(syscall(SYS_bpf, 0, 0, 0), EPERM);
    faults += DENIED(setuid(65534), EPERM);
    faults += DENIED(ioctl(0, TIOCSTI, &byte), EPERM);
    faults += DENIED(syscall(463, 0), ENOSYS);
    faults += DENIED(syscall(4000, 0), ENOSYS);
    faults += EXPECT(syscall(SYS_tgkill, getpid(), getpid(), 0) == 0);
    faults += EXPECT(pthread_create(&thread, NULL, nothing, NULL) == 0);
    faults += EXPECT(pthread_join(thread, NULL) == 0);
    return faults;
}

static void test_sandbox__denies_calls_that_no_conversion_needs(void **state)
{
    run_in(*state, SANDBOX_READ, false, try_calls);
}

static unsigned try_network(const struct tree *tree,
                            struct sandbox_state *state)
{
    char *const arguments[] = { (char *)(uintptr_t) "/bin/true", NULL };

    (void)tree;
    (void)state;
    return EXPECT(socket(AF_INET, SOCK_STREAM, 0) >= 0) +
           DENIED(execv(arguments[0], arguments), EPERM) +
           DENIED(fork(), EPERM);
}

static void test_sandbox__leaves_sockets_to_a_run_that_needs_them(void **state)
{
    run_in(*state, SANDBOX_READ, true, try_network);
}

#endif

/* -- what a kernel may lack ----------------------------------------------- */

/* From here on the kernel has no Landlock. */
static void hide_landlock(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { 4, code };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        _exit(101);
}

static unsigned try_without_landlock(void)
{
    struct sandbox_request request = { .mode = SANDBOX_REQUIRE };
    struct sandbox_state state;
    struct ds_error err = DS_ERROR_INIT;
    unsigned faults;

    hide_landlock();
    faults = EXPECT(sandbox_enter(&request, &state, &err) == -DS_ERR_REFUSED) +
             EXPECT(strstr(err.message, "no Landlock") != NULL);
    request.mode = SANDBOX_AUTO;
    faults += EXPECT(sandbox_enter(&request, &state, &err) == 0) +
              EXPECT(state.landlock_abi == 0) + EXPECT(state.lacking != NULL);
    request.mode = SANDBOX_OFF;
    return faults + EXPECT(sandbox_enter(&request, &state, &err) == 0) +
           EXPECT(!state.seccomp && state.lacking != NULL);
}

static void test_sandbox__tells_what_the_kernel_lacks(void **state)
{
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit((int)try_without_landlock());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sandbox__reads_only_where_admitted),
        cmocka_unit_test(test_sandbox__makes_files_only_where_admitted),
        cmocka_unit_test(test_sandbox__a_plan_makes_no_names),
        cmocka_unit_test(test_sandbox__opens_nothing_once_narrowed),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(test_sandbox__denies_calls_that_no_conversion_needs),
        cmocka_unit_test(test_sandbox__leaves_sockets_to_a_run_that_needs_them),
#endif
        cmocka_unit_test(test_sandbox__tells_what_the_kernel_lacks),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
