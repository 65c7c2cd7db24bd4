/* SPDX-License-Identifier: Apache-2.0 */
/* What several verbs do and say. */
#ifndef CLI_COMMON_H
#define CLI_COMMON_H

#include "options.h"
#include "report.h"

int common_open(const struct options *options, const char *path,
                const char *format, bool for_conversion, struct ds_disk **out,
                struct ds_error *err);
/** For __attribute__((cleanup)). */
void common_close(struct ds_disk **disk);

/** An object with path, format and size. */
void common_disk(struct report *report, const char *key, const char *heading,
                 const struct ds_disk *disk);
/** The array of files that the disk's extents point into. */
void common_files(struct report *report, const struct ds_disk *disk);

/** Members for what was or would be done. */
void common_totals(struct report *report, const struct ds_totals *totals);
uint64_t common_copied_bytes(const struct ds_totals *totals);
/** Members for a comparison. */
void common_verify(struct report *report,
                   const struct ds_verify_report *verify);

/** -DS_ERR_SYSTEM when the report's output failed, to stop a long list. */
int common_check_output(const struct report *report, struct ds_error *err);

#endif
