/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process gives up before it looks at the first byte of an image,
 * so that a fault in a parser has nothing to work with.
 *
 *   enter    before SOURCE is opened
 *            no_new_privs   nothing that is executed gets more rights
 *            Landlock       files: only beneath the places named; network
 *            seccomp        no exec, process, socket, mount, module, key,
 *                           clock, other process's memory, mode or owner of
 *                           a file by its name
 *   narrow   when all sources are open: only the places where targets are
 *            made; nothing at all for the verbs that make none
 *
 * Nothing of this can be taken back, which is why the program does it and the
 * library does not: its callers have work of their own.
 */
#ifndef CLI_SANDBOX_H
#define CLI_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include <diskshift/error.h>

enum sandbox_mode {
    SANDBOX_AUTO,    /* what the kernel has; what it lacks is told */
    SANDBOX_REQUIRE, /* all of it, or REFUSED */
    SANDBOX_OFF
};

/* What may be done beneath a place, or to the one file that it is. */
enum sandbox_access {
    SANDBOX_READ = 1, /* open files to read */
    SANDBOX_LIST = 2, /* list directories */
    SANDBOX_TEST = 4, /* make a file without a name */
    SANDBOX_MAKE = 8  /* make, write, rename and remove regular files */
};

struct sandbox_place {
    const char *path; /* what does not exist admits nothing */
    unsigned access;  /* enum sandbox_access */
    bool pinned;      /* of a file system that makes inodes anew: held open */
};

struct sandbox_request {
    enum sandbox_mode mode;
    bool network; /* sockets stay */
    const struct sandbox_place *places;
    size_t place_count;
};

/** What is in force. */
struct sandbox_state {
    int landlock_abi; /* 0: none */
    bool seccomp;
    bool network;
    const char *lacking; /* why not all of it; NULL: nothing lacks */
};

/** Enter it, once, while there is one thread. REFUSED when it is required and
 * not to be had; SYSTEM when the kernel fails in the middle. */
int sandbox_enter(const struct sandbox_request *request,
                  struct sandbox_state *state, struct ds_error *err);

/** Admit from now on only what these places admit as well. */
int sandbox_narrow(const struct sandbox_state *state,
                   const struct sandbox_place *places, size_t place_count,
                   struct ds_error *err);

/* sandbox_filter.c */
/** Filter system calls from here on. 0 or a negated errno; -ENOSYS where it
 * is not known how they are numbered. Wants no_new_privs. */
int sandbox_filter(bool network);

#endif
