/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Scripts that a guest runs when its virtual machine moves: the first in the
 * source guest, which writes the second, which runs in the target VM. They are
 * joined from elements; guestscripts/README.md has the elements' format, the
 * guest record and the result record.
 *
 * Nothing here starts, reads or changes a guest. All functions may be called
 * from several threads at once.
 */
#ifndef DISKSHIFT_GUEST_SCRIPT_H
#define DISKSHIFT_GUEST_SCRIPT_H

#include <stddef.h>

#include <diskshift/error.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ds_script_stage {
    DS_SCRIPT_FIRST = 0,  /* one script with all tasks */
    DS_SCRIPT_STAGED = 1, /* one for each task, to be run in order */
    DS_SCRIPT_OFFLINE = 2 /* one with all tasks, for a person to carry in */
};

/**
 * What is wanted. Zeroed, it is a first script without a guest, which is
 * refused: `guest` must be given. Strings stay the caller's and need to live
 * for the call only.
 */
struct ds_guest_script_request {
    const char *guest;  /* "linux", "windows" */
    const char *source; /* hypervisor: "vmware", "hyperv", "kvm", "xen"; */
    const char *target; /* NULL or "any": not known */
    enum ds_script_stage stage;
    /* Tasks; with task_count 0 the standard ones: network, drivers, boot,
     * power-off. "all" stands for every task that there is. */
    const char *const *tasks;
    size_t task_count;
    /* A directory with linux/NAME.sh, windows/NAME.ps1 that replace or add to
     * the elements of the library; NULL for none. */
    const char *elements_directory;
    /* "key=value", for variables of the elements. */
    const char *const *variables;
    size_t variable_count;
    /* Names the move, in file names and records: letters, digits, '.', '_',
     * '-', at most 64; NULL: "move". */
    const char *job;
};

struct ds_guest_scripts; /* what was made; immutable */

/** One script. Everything belongs to the ds_guest_scripts. */
struct ds_guest_script {
    const char *name; /* a file name: "first.sh", "10-network.ps1" ... */
    const char *task; /* of a staged script; else "all" */
    const char *text; /* terminated by a zero byte, which is not counted */
    size_t length_bytes;
};

/**
 * Make the scripts. `*out` is set on success only and freed by
 * ds_guest_scripts_free. Errors: DS_ERR_ARG for words that are not known, an
 * option that no element takes, a variable without a value; DS_ERR_CORRUPT,
 * with the element's path, for an element that breaks its format's rules;
 * DS_ERR_SYSTEM for elements_directory. Nothing is written.
 */
DS_PUBLIC int
ds_guest_scripts_make(const struct ds_guest_script_request *request,
                      struct ds_guest_scripts **out, struct ds_error *err);
DS_PUBLIC void ds_guest_scripts_free(struct ds_guest_scripts *scripts);

/** In the order in which they are to be run. */
DS_PUBLIC size_t ds_guest_scripts_count(const struct ds_guest_scripts *scripts);
/** NULL past the end. */
DS_PUBLIC const struct ds_guest_script *
ds_guest_scripts_at(const struct ds_guest_scripts *scripts, size_t index);

/** A variable of an element. */
struct ds_guest_variable {
    const char *key;      /* as `variables` has it: "grace" */
    const char *standard; /* NULL: must be given */
    const char *summary;
};

/** An element, as its head has it. */
struct ds_guest_element {
    const char *name;
    const char *guest;   /* "linux", "windows" */
    const char *task;    /* "network" ... */
    const char *phase;   /* "collect" ... */
    const char *source;  /* "any", or hypervisors with blanks between */
    const char *target;  /* likewise */
    const char *summary; /* the first sentence of its description */
    const char *path;    /* where it is from; "built in/linux/NAME.sh" */
    const struct ds_guest_variable *variables;
    size_t variable_count;
};

struct ds_guest_elements; /* a list of elements; immutable */

/**
 * The elements that there are: the library's, and those of `directory` unless
 * it is NULL. Errors as in ds_guest_scripts_make.
 */
DS_PUBLIC int ds_guest_elements_open(const char *directory,
                                     struct ds_guest_elements **out,
                                     struct ds_error *err);
DS_PUBLIC void ds_guest_elements_close(struct ds_guest_elements *elements);
/** By guest, phase, order and name. NULL past the end. */
DS_PUBLIC const struct ds_guest_element *
ds_guest_elements_at(const struct ds_guest_elements *elements, size_t index);

#ifdef __cplusplus
}
#endif
#endif
