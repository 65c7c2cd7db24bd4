/* SPDX-License-Identifier: Apache-2.0 */
/* Other programs: ssh, hooks, what makes an ISO image. */
#ifndef ORCH_PROCESS_H
#define ORCH_PROCESS_H

#include "base.h"

struct process_result {
    int exit_status; /* -1: ended by a signal */
    char *output;    /* owned by the caller: process_result_free */
    char *errors;
};

/**
 * Run `arguments` (NULL ends; the first is looked for in PATH) with `input`
 * (NULL: none) and wait. What it writes beyond `output_bytes_max` is read and
 * dropped. At the deadline it is killed: SYSTEM, ETIMEDOUT. A program that
 * cannot be started: SYSTEM. Its exit status is no error.
 */
int process_run(const char *const *arguments, const char *input,
                size_t input_bytes, unsigned timeout_seconds,
                size_t output_bytes_max, struct process_result *out,
                struct ds_error *err);
void process_result_free(struct process_result *result);

/** `text` as one word of a POSIX shell. */
char *shell_quote(const char *text);

/** RFC 4648; the caller owns it. */
char *base64_encode(const void *data, size_t length_bytes);
/** NULL when it is none. '\0' behind the bytes. */
char *base64_decode(const char *text, size_t *length_bytes);

#endif
