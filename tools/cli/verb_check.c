/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"
#include "target.h"
#include "verbs.h"

static const struct column columns[] = {
    { "kind", "kind", UNIT_TEXT, -10 },
    { "file_index", "file", UNIT_COUNT, 4 },
    { "offset_bytes", "offset", UNIT_OFFSET, 16 },
    { "message", "message", UNIT_TEXT, -1 },
};

/* Stops when the output has failed. */
static int show_problem(void *user, const struct ds_problem *problem)
{
    struct report *report = user;
    const struct value values[] = {
        { .text = problem->is_leak ? "leak" : "corruption" },
        { .number = problem->file_index },
        { .absent = problem->offset_bytes == DS_OFFSET_NONE,
          .number = problem->offset_bytes },
        { .text = problem->message },
    };

    report_table_row(report, values);
    return report->write_errno;
}

static void show_counts(struct report *report,
                        const struct ds_check_report *check)
{
    const struct row rows[] = {
        row_count("corruption_count", "corruptions", check->corruption_count),
        row_count("leak_count", "leaks", check->leak_count),
        row_bytes("data_bytes", "data", check->data_bytes),
        row_bytes("zero_bytes", "zero", check->zero_bytes),
        row_bytes("hole_bytes", "hole", check->hole_bytes),
        row_bytes("encoded_bytes", "encoded", check->encoded_bytes),
    };

    report_object(report, "check", "result");
    report_rows(report, rows, ARRAY_COUNT(rows));
    report_end(report);
}

int verb_check(struct options *options, struct report *report,
               struct ds_error *err)
{
    __attribute__((cleanup(common_close))) struct ds_disk *disk = NULL;
    struct ds_check_report check = { 0 };
    int result = operands_check(options, 1, "SOURCE", err);

    /* Held quiet: tables that change meanwhile would be called wrong. */
    if (result == 0)
        result = common_open_source(options, true, &disk, err);
    if (result != 0)
        return result;
    common_disk(report, "disk", "disk", disk);
    common_files(report, disk);
    report_table(report, "problems", columns, ARRAY_COUNT(columns));
    result = ds_disk_check(disk, show_problem, report, &check, err);
    if (common_check_output(report, err) != 0)
        return -DS_ERR_SYSTEM;
    if (result != 0)
        return result;
    report_end(report);
    show_counts(report, &check);
    if (check.corruption_count > 0)
        return STATUS_CORRUPT;
    return check.leak_count > 0 ? STATUS_FAILURE : STATUS_DONE;
}
