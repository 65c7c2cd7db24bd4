/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock (Documentation/userspace-api/landlock.rst). A ruleset says which
 * rights it handles, and what is handled and not granted beneath some place is
 * denied. Rights are checked when a file is opened: descriptors that are open
 * already keep theirs. Each version of the interface (ABI) handles more:
 *
 *   1 open, make, remove   2 move   3 truncate   4 TCP   5 ioctl on devices
 *   6 signals and abstract sockets to others
 *
 * The kernel's header may be older than the kernel, so the numbers are here.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIRECTORY (UINT64_C(1) << 3)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_REGULAR (UINT64_C(1) << 8)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEVICE (UINT64_C(1) << 15)
/* Of these alone can a rule for a file be made that is no directory. */
#define FS_OF_FILES                                                            \
    (FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEVICE)
#define NETWORK_ALL UINT64_C(3) /* bind and connect, TCP */
#define SCOPE_ALL UINT64_C(3)   /* abstract sockets, signals */

#define CREATE_VERSION 1u
#define RULE_PATH_BENEATH 1u

struct ruleset_attributes {
    uint64_t filesystem;
    uint64_t network;
    uint64_t scoped;
};

struct path_beneath {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

static int fail(struct ds_error *err, enum ds_error_class error_class,
                int error_number, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int fail(struct ds_error *err, enum ds_error_class error_class,
                int error_number, const char *format, ...)
{
    va_list arguments;
    size_t length;

    *err = (struct ds_error)DS_ERROR_INIT;
    err->error_class = error_class;
    err->system_errno = error_number;
    va_start(arguments, format);
    vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);
    length = strlen(err->message);
    if (error_number != 0)
        snprintf(err->message + length, sizeof(err->message) - length, ": %s",
                 strerror(error_number));
    return -(int)error_class;
}

/* What one version can handle, all of it. */
static struct ruleset_attributes handled_by(int abi, bool network,
                                            size_t *attribute_bytes)
{
    static const unsigned right_counts[] = { 0, 13, 14, 15, 15, 16 };
    const int known = sizeof(right_counts) / sizeof(right_counts[0]) - 1;
    int step = abi < known ? abi : known;
    struct ruleset_attributes handled = {
        .filesystem = (UINT64_C(1) << right_counts[step]) - 1,
        .network = abi >= 4 && !network ? NETWORK_ALL : 0,
        .scoped = abi >= 6 ? SCOPE_ALL : 0,
    };

    *attribute_bytes = abi >= 6 ? sizeof(handled)
                       : abi >= 4
                           ? offsetof(struct ruleset_attributes, scoped)
                           : offsetof(struct ruleset_attributes, network);
    return handled;
}

static uint64_t rights_of(unsigned access, mode_t mode)
{
    uint64_t rights = 0;

    if ((access & SANDBOX_READ) != 0)
        rights |= FS_READ_FILE;
    if ((access & SANDBOX_LIST) != 0)
        rights |= FS_READ_DIRECTORY;
    if ((access & SANDBOX_TEST) != 0)
        rights |= FS_READ_DIRECTORY | FS_READ_FILE | FS_WRITE_FILE;
    if ((access & SANDBOX_MAKE) != 0)
        rights |= FS_READ_DIRECTORY | FS_READ_FILE | FS_WRITE_FILE |
                  FS_TRUNCATE | FS_MAKE_REGULAR | FS_REMOVE_FILE;
    if (S_ISBLK(mode)) /* BLKGETSIZE64 */
        rights |= FS_IOCTL_DEVICE;
    return S_ISDIR(mode) ? rights : rights & FS_OF_FILES;
}

/* What cannot be opened by its name now will not be through it later either:
 * who tries is told why by the kernel. EBADFD: of a file system that has no
 * names, a pipe; Landlock has no say in those. */
static int admit(int ruleset, uint64_t handled,
                 const struct sandbox_place *place, struct ds_error *err)
{
    struct path_beneath rule = { .parent_fd =
                                     open(place->path, O_PATH | O_CLOEXEC) };
    struct stat status;
    int error_number = 0;

    if (rule.parent_fd < 0)
        return 0;
    if (fstat(rule.parent_fd, &status) == 0)
        rule.allowed = rights_of(place->access, status.st_mode) & handled;
    if (rule.allowed != 0 && syscall(SYS_landlock_add_rule, ruleset,
                                     RULE_PATH_BENEATH, &rule, 0) != 0)
        error_number = errno;
    if (!place->pinned)
        close(rule.parent_fd);
    if (error_number == 0 || error_number == EBADFD)
        return 0;
    return fail(err, DS_ERR_SYSTEM, error_number,
                "sandbox: landlock: cannot admit %.200s", place->path);
}

static int restrict_to(const struct sandbox_state *state,
                       const struct sandbox_place *places, size_t place_count,
                       struct ds_error *err)
{
    size_t attribute_bytes;
    struct ruleset_attributes handled =
        handled_by(state->landlock_abi, state->network, &attribute_bytes);
    int ruleset =
        (int)syscall(SYS_landlock_create_ruleset, &handled, attribute_bytes, 0);
    int result = 0;

    if (ruleset < 0)
        return fail(err, DS_ERR_SYSTEM, errno,
                    "sandbox: landlock: cannot make a ruleset");
    for (size_t i = 0; result == 0 && i < place_count; i++)
        result = admit(ruleset, handled.filesystem, &places[i], err);
    if (result == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        result = fail(err, DS_ERR_SYSTEM, errno,
                      "sandbox: landlock: cannot enter the ruleset");
    close(ruleset);
    return result;
}

/* AUTO goes on with what there is. */
static int lack(const struct sandbox_request *request,
                struct sandbox_state *state, const char *why,
                struct ds_error *err)
{
    state->lacking = why;
    if (request->mode != SANDBOX_REQUIRE)
        return 0;
    return fail(err, DS_ERR_REFUSED, 0, "sandbox: %s, expect it: %s", why,
                "--sandbox=require was given");
}

static int enter_landlock(const struct sandbox_request *request,
                          struct sandbox_state *state, struct ds_error *err)
{
    long abi =
        syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, CREATE_VERSION);

    if (abi < 1)
        return lack(request, state,
                    errno == EOPNOTSUPP
                        ? "Landlock is switched off in this kernel"
                        : "this kernel has no Landlock",
                    err);
    state->landlock_abi = (int)abi;
    return restrict_to(state, request->places, request->place_count, err);
}

static int enter_seccomp(const struct sandbox_request *request,
                         struct sandbox_state *state, struct ds_error *err)
{
    int result;

#ifdef __SANITIZE_ADDRESS__ /* looks for leaks by tracing itself */
    return lack(request, state, "built with AddressSanitizer", err);
#endif
    result = sandbox_filter(request->network);
    state->seccomp = result == 0;
    if (result == 0)
        return 0;
    return lack(request, state,
                result == -ENOSYS ? "no seccomp filter for this machine"
                                  : "this kernel takes no seccomp filter",
                err);
}

int sandbox_enter(const struct sandbox_request *request,
                  struct sandbox_state *state, struct ds_error *err)
{
    int result;

    *state = (struct sandbox_state){ .network = request->network };
    if (request->mode == SANDBOX_OFF)
        return lack(request, state, "--sandbox=off was given", err);
#ifdef DISKSHIFT_COVERAGE /* what was covered is written at the end */
    return lack(request, state, "built to measure coverage", err);
#endif
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return lack(request, state, "this kernel has no no_new_privs", err);
    result = enter_landlock(request, state, err);
    return result != 0 ? result : enter_seccomp(request, state, err);
}

int sandbox_narrow(const struct sandbox_state *state,
                   const struct sandbox_place *places, size_t place_count,
                   struct ds_error *err)
{
    return state->landlock_abi == 0
               ? 0
               : restrict_to(state, places, place_count, err);
}
