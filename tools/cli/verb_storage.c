/* SPDX-License-Identifier: Apache-2.0 */
/* What a place can do, before anything is converted there. */
#include "common.h"
#include "confine.h"
#include "progress.h"
#include "target.h"
#include "verbs.h"

static struct row answer(const char *key, const char *label,
                         enum ds_answer answer)
{
    return row_if_known(row_yes(key, label, answer == DS_ANSWER_YES),
                        answer != DS_ANSWER_UNKNOWN);
}

static void show(struct report *report, const char *path,
                 const struct ds_storage *storage)
{
    const struct row rows[] = {
        row_text("path", "path", path),
        row_text("store", "reached by", storage->store),
        row_text("filesystem", "file system", storage->filesystem),
        row_yes("measured", "measured", storage->measured),
        answer("range_clone", "shares ranges", storage->range_clone),
        row_if_known(row_bytes("granularity_bytes", "in blocks of",
                               storage->granularity_bytes),
                     storage->granularity_bytes > 0),
        answer("file_clone", "shares whole files", storage->file_clone),
        answer("server_copy", "copies by itself", storage->server_copy),
        answer("physical_extents", "tells where blocks lie",
               storage->physical_extents),
        answer("locks", "locks are seen", storage->locks),
        row_bytes("free_bytes", "free space", storage->free_bytes),
        row_text("note", "note",
                 storage->note[0] != '\0' ? storage->note : NULL),
    };

    report_object(report, "storage", "storage");
    report_rows(report, rows, ARRAY_COUNT(rows));
    report_end(report);
}

int verb_storage(struct options *options, struct report *report,
                 struct ds_error *err)
{
    struct ds_storage storage;
    int result = operands_check(options, 1, "PATH", err);

    /* What was made there is removed before anything else is done. */
    progress_catch_signals();
    if (result == 0)
        result = confine_enter(options, err);
    if (result == 0)
        result = ds_storage_describe(options->operands[0], options->probe,
                                     &storage, err);
    if (result != 0)
        return result;
    show(report, options->operands[0], &storage);
    return progress_signal() == 0 ? STATUS_DONE : STATUS_FAILURE;
}
