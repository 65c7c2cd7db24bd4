/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hyper-V's driver: hypervisor_hyperv.c asks the host, hyperv_read.c makes a
 * vm of its answer to "describe", hyperv_define.c makes the request "define" of
 * a vm.
 *
 * Paths have forward slashes on our side: C:/vm/a.vhdx, //filer/vm/a.vhdx, so
 * that the plan's maps of paths fit them.
 */
#ifndef ORCH_HYPERV_H
#define ORCH_HYPERV_H

#include "vm.h"

#define HYPERV_MARK "Made by diskshift"
/** What a VM is called until it is whole. */
#define HYPERV_TEMPORARY "diskshift-define-"

/** The vm that `answer` describes; `out` is the caller's to free, also on
 * failure. */
int hyperv_read_vm(const json_t *answer, const char *name, struct vm *out,
                   struct ds_error *err);
/** What "define" is asked with. UNSUPPORTED, LIMIT and ARG: Hyper-V has no such
 * VM. The caller owns *out. */
int hyperv_define_request(const struct vm *vm, json_t **out,
                          struct ds_error *err);

/** C:/..., //server/share/... */
bool hyperv_takes_path(const char *path);
/** `path` as our side has it, from the host's; the caller owns it. */
char *hyperv_forward(const char *path);
/** The other way; the caller owns it. */
char *hyperv_backward(const char *path);

/* Members of an answer; absent ones are 0, false, NULL. */
static inline uint64_t number_at(const json_t *answer, const char *key)
{
    json_int_t number = json_integer_value(json_object_get(answer, key));

    return number > 0 ? (uint64_t)number : 0;
}

static inline bool yes_at(const json_t *answer, const char *key)
{
    return json_is_true(json_object_get(answer, key));
}

static inline const char *text_at(const json_t *answer, const char *key)
{
    return json_string_value(json_object_get(answer, key));
}

#endif
