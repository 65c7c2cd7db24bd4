/* SPDX-License-Identifier: Apache-2.0 */
/* What several verbs do and say. */
#ifndef CLI_COMMON_H
#define CLI_COMMON_H

#include "options.h"
#include "report.h"

/** Enter the sandbox and open the sources, each as large as --resize asks for,
 * as one; or the second operand. After the last nothing more of them can be
 * opened. `quiet`: refuse what is in use and hold it so. `*out` is NULL
 * before, and may be set when it fails. */
int common_open_source(const struct options *options, bool quiet,
                       struct ds_disk **out, struct ds_error *err);
int common_open_other(const struct options *options, bool quiet,
                      struct ds_disk **out, struct ds_error *err);
/** For __attribute__((cleanup)). */
void common_close(struct ds_disk **disk);

/** The array that --clone-via names; NULL without it. Before the sandbox is
 * entered: what is read for it need not be admitted then. */
int common_open_via(const struct options *options, struct ds_clone_via **out,
                    struct ds_error *err);
void common_close_via(struct ds_clone_via **via);

/** An object with path, format and the size in the image. */
void common_disk(struct report *report, const char *key, const char *heading,
                 const struct ds_disk *disk);
/** The same for a source, with the size that --resize gave it; of several an
 * array, "sources". */
void common_source(struct report *report, const struct ds_disk *disk);
/** An object for a disk of a target that holds several: its name in there and
 * the source that it is. */
void common_member(struct report *report, const struct ds_disk *disk,
                   uint32_t index, const char *name);
/** The facts of a layer, as an object. */
int common_facts(struct report *report, struct ds_disk *disk, uint32_t layer,
                 struct ds_error *err);
/** Values for four columns: encoding, stored_bytes, unit_bytes and
 * skip_bytes; absent unless `encoded`. */
#define ENCODING_COLUMN_COUNT 4
void common_encoding(const struct ds_encoding *encoding, bool encoded,
                     struct value values[ENCODING_COLUMN_COUNT]);
/** The array of files that the disk's extents point into. */
void common_files(struct report *report, const struct ds_disk *disk);

/** Members for what was or would be done. */
void common_totals(struct report *report, const struct ds_totals *totals);
/** Whether a plan's figures are the most that it can be: what units of the
 * target compress to is known only when it is done. */
void common_upper_bound(struct report *report, const struct ds_totals *totals);
uint64_t common_copied_bytes(const struct ds_totals *totals);
/** The array of a plan's notes. */
void common_notes(struct report *report, const struct ds_plan *plan);
/** Members for a comparison. */
void common_verify(struct report *report,
                   const struct ds_verify_report *verify);

/** What went to servers and came from them. */
void common_traffic(struct report *report);

/** -DS_ERR_SYSTEM when the report's output failed, to stop a long list. */
int common_check_output(const struct report *report, struct ds_error *err);

#endif
