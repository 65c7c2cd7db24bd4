/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that no conversion needs, as a filter for seccomp (BPF, by the
 * kernel's own header: libseccomp would take longer to load than this takes to
 * write down).
 *
 *   another machine's numbers   the process is killed
 *   newer than this list        ENOSYS, as an older kernel would say
 *   on the list                 EPERM
 *   clone3                      ENOSYS: its flags are out of a filter's sight;
 *                               the C library then takes clone
 *   clone without CLONE_THREAD  EPERM
 *   tgkill of another process   EPERM
 *   ioctl of a terminal's input EPERM
 *   all else                    allowed, and the kernel remembers so, without
 *                               asking the filter again
 *
 * A list of what is denied, not of what is allowed: what the C library calls
 * changes with its version, and a conversion must not die of that.
 */
#include "sandbox.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) && !defined(__ILP32__)
#define MACHINE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define MACHINE AUDIT_ARCH_AARCH64
#else
#define MACHINE 0
#endif

/* mseal. Both machines count alike from 424 on. */
#define NEWEST_KNOWN 462u

/* Numbers that headers of Linux 6.1 lack. */
#define CALL_FCHMODAT2 452u
#define CALL_LSM_SET_SELF_ATTR 460u

static const uint16_t denied[] = {
    /* programs and processes */
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_process_mrelease,
    SYS_kcmp,
    SYS_kill,
    SYS_tkill,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_move_pages,
    SYS_migrate_pages,
    SYS_setns,
    SYS_unshare,
    SYS_personality,
    /* the kernel's wide doors */
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_syslog,
    SYS_acct,
    SYS_swapon,
    SYS_swapoff,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_lookup_dcookie,
    SYS_vhangup,
    SYS_nfsservctl,
    /* names for files that Landlock does not see */
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_open_tree,
    SYS_move_mount,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_mknodat,
    SYS_fanotify_init,
    /* what of a file Landlock does not guard: by its name. By a descriptor,
     * which the target is, it stays. */
    SYS_fchmodat,
    CALL_FCHMODAT2,
    SYS_fchownat,
    SYS_utimensat,
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_removexattr,
    SYS_lremovexattr,
    /* who and where we are */
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_setgroups,
    SYS_capset,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    CALL_LSM_SET_SELF_ATTR,
    /* talk to other processes */
    SYS_shmget,
    SYS_shmat,
    SYS_msgget,
    SYS_semget,
    SYS_mq_open,
    SYS_mq_unlink,
#ifdef __x86_64__
    SYS_fork,
    SYS_vfork,
    SYS_mknod,
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
    SYS_utime,
    SYS_utimes,
    SYS_futimesat,
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
    SYS_uselib,
    SYS_ustat,
    SYS__sysctl,
    SYS_create_module,
    SYS_get_kernel_syms,
    SYS_query_module,
#endif
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
};

static const uint16_t denied_network[] = {
    SYS_socket,  SYS_socketpair, SYS_connect,  SYS_bind,     SYS_listen,
    SYS_accept,  SYS_accept4,    SYS_sendto,   SYS_recvfrom, SYS_sendmsg,
    SYS_recvmsg, SYS_sendmmsg,   SYS_recvmmsg,
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DENIED_COUNT_MAX (COUNT(denied) + COUNT(denied_network))
#define LEAF_COUNT 4u
#define PROGRAM_COUNT_MAX (2 * DENIED_COUNT_MAX + 40)
#define DENY (SECCOMP_RET_ERRNO | EPERM)
#define UNKNOWN (SECCOMP_RET_ERRNO | ENOSYS)

struct program {
    struct sock_filter code[PROGRAM_COUNT_MAX];
    unsigned short count;
};

static void add(struct program *program, unsigned code, unsigned operand,
                unsigned yes, unsigned no)
{
    assert(program->count < PROGRAM_COUNT_MAX && yes < 256 && no < 256);
    program->code[program->count++] =
        (struct sock_filter){ .code = (uint16_t)code,
                              .jt = (uint8_t)yes,
                              .jf = (uint8_t)no,
                              .k = operand };
}

static void load(struct program *program, size_t offset)
{
    add(program, BPF_LD | BPF_W | BPF_ABS, (unsigned)offset, 0, 0);
}

static void give(struct program *program, unsigned verdict)
{
    add(program, BPF_RET | BPF_K, verdict, 0, 0);
}

static int by_number(const void *left, const void *right)
{
    return *(const uint16_t *)left - *(const uint16_t *)right;
}

/* A search tree: when a filter is set the kernel runs it once for each number
 * that there is, and a list would be gone through for each. */
static unsigned tree_size(unsigned count)
{
    return count <= LEAF_COUNT
               ? count + 2
               : 1 + tree_size(count / 2) + tree_size(count - count / 2);
}

static void deny_tree(struct program *program, const uint16_t *calls,
                      unsigned count)
{
    unsigned half = count / 2;

    if (count > LEAF_COUNT) {
        add(program, BPF_JMP | BPF_JGT | BPF_K, calls[half - 1],
            tree_size(half), 0);
        deny_tree(program, calls, half);
        deny_tree(program, calls + half, count - half);
        return;
    }
    for (unsigned i = 0; i < count; i++)
        add(program, BPF_JMP | BPF_JEQ | BPF_K, calls[i], count - i, 0);
    give(program, SECCOMP_RET_ALLOW);
    give(program, DENY);
}

static void deny_all(struct program *program, bool network)
{
    uint16_t calls[DENIED_COUNT_MAX];
    unsigned count = COUNT(denied);

    memcpy(calls, denied, sizeof(denied));
    if (!network) {
        memcpy(calls + count, denied_network, sizeof(denied_network));
        count += COUNT(denied_network);
    }
    qsort(calls, count, sizeof(calls[0]), by_number);
    deny_tree(program, calls, count);
}

/* The lower half of an argument: both machines are little-endian. */
static void load_argument(struct program *program, unsigned index)
{
    load(program, offsetof(struct seccomp_data, args) + index * 8u);
}

static void look_at_arguments(struct program *program)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4);
    load_argument(program, 0);
    add(program, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0);
    give(program, DENY);
    give(program, SECCOMP_RET_ALLOW);

    add(program, BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 4);
    load_argument(program, 0);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)getpid(), 1, 0);
    give(program, DENY);
    give(program, SECCOMP_RET_ALLOW);

    add(program, BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 5);
    load_argument(program, 1);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 1, 0);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, TIOCLINUX, 0, 1);
    give(program, DENY);
    give(program, SECCOMP_RET_ALLOW);
}

static void build(struct program *program, bool network)
{
    load(program, offsetof(struct seccomp_data, arch));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, MACHINE, 1, 0);
    give(program, SECCOMP_RET_KILL_PROCESS);
    load(program, offsetof(struct seccomp_data, nr));
    add(program, BPF_JMP | BPF_JGT | BPF_K, NEWEST_KNOWN, 1, 0);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
    give(program, UNKNOWN);
    look_at_arguments(program);
    deny_all(program, network);
}

int sandbox_filter(bool network)
{
    struct program program = { .count = 0 };
    struct sock_fprog filter = { .filter = program.code };

    if (MACHINE == 0)
        return -ENOSYS;
    build(&program, network);
    filter.len = program.count;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0 ? 0
                                                                    : -errno;
}
