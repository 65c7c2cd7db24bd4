/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows PowerShell on another host, by SSH. What runs there:
 *
 *     ssh ... HOST powershell.exe ... -EncodedCommand BOOTSTRAP
 *                                          |  reads
 *     standard input: base64 of the script, UTF-8, in lines
 *
 * The bootstrap is always the same. The script does not fit on a command line
 * (cmd.exe takes 8191 characters), and no command line is ever part of a value
 * here or there.
 */
#ifndef ORCH_POWERSHELL_H
#define ORCH_POWERSHELL_H

#include "ssh.h"

#define POWERSHELL_OUTPUT_BYTES_MAX (4u << 20)

/** `text` as a literal: '...'. The typographic quotes end one too. */
char *powershell_quote(const char *text);
/** UTF-16LE in base64, as -EncodedCommand takes it. ARG when `text` is no
 * UTF-8. */
int powershell_encode(const char *text, char **out, struct ds_error *err);
/** A command line that runs `script`, the same to cmd.exe, PowerShell and sh,
 * of which any may be the shell of Windows' SSH server. Beyond 3000 bytes it
 * may be too long: send more as input. The caller owns *out. ARG as above. */
int powershell_command(const char *script, char **out, struct ds_error *err);
/** base64 in lines, for `-join @($input)` there; the caller owns it. */
char *powershell_input(const void *data, size_t length_bytes);

/**
 * Run `script` and read its answer: JSON in base64 between the words
 * diskshift-answer and diskshift-end. The caller owns *answer. Errors: SYSTEM
 * with EHOSTUNREACH or EPIPE (ssh failed: its own words, see ssh_run) or
 * ETIMEDOUT, CORRUPT (no answer, or cut short).
 */
int powershell_run(const struct ssh_host *host, const char *script,
                   unsigned timeout_seconds, json_t **answer,
                   struct ds_error *err);

#endif
