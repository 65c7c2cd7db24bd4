/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_TARGET_H
#define CLI_TARGET_H

#include "options.h"

/** The description of `format`, or NULL. */
const struct ds_format_description *format_find(const char *format);

/**
 * Fill options->targets from TARGET and -O when no --to was given, check that
 * every target's format can be written, and that it holds several disks where
 * there are several. operands: SOURCE... [TARGET]; sets source_count.
 */
int target_resolve(struct options *options, struct ds_error *err);

/** Check what measure is given: -O that can be written, and SOURCE
 * [DIRECTORY]. */
int measure_resolve(struct options *options, struct ds_error *err);

/** The format whose options `-o help` asks for: of the last --to, of -O, or by
 * TARGET's ending; *out is NULL where none of them is there. ARG for one that
 * cannot be written. */
int target_format_asked(const struct options *options, const char **out,
                        struct ds_error *err);

/** Check for exactly `expected` operands, named so for the message. */
int operands_check(const struct options *options, size_t expected,
                   const char *names, struct ds_error *err);

#endif
