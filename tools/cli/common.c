/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include <stdio.h>
#include <string.h>

#include "human.h"

#define NAME_BYTES 48

int common_open(const struct options *options, const char *path,
                const char *format, bool for_conversion, struct ds_disk **out,
                struct ds_error *err)
{
    const struct ds_open_options open_options = {
        .format = format,
        .allow_refs = options->allow_refs,
        .no_refs = options->no_refs,
        .for_conversion = for_conversion,
    };

    return ds_disk_open(path, &open_options, out, err);
}

void common_close(struct ds_disk **disk)
{
    ds_disk_close(*disk);
}

void common_disk(struct report *report, const char *key, const char *heading,
                 const struct ds_disk *disk)
{
    const struct row rows[] = {
        row_text("path", "path", ds_disk_file_path(disk, 0)),
        row_text("format", "format", ds_disk_format(disk)),
        row_bytes("size_bytes", "guest size", ds_disk_size_bytes(disk)),
    };

    report_object(report, key, heading);
    report_rows(report, rows, ARRAY_COUNT(rows));
    report_end(report);
}

void common_files(struct report *report, const struct ds_disk *disk)
{
    uint32_t count = ds_disk_file_count(disk);

    report_array(report, "files", "files");
    for (uint32_t i = 0; i < count; i++) {
        char label[NAME_BYTES];
        struct row row;

        snprintf(label, sizeof(label), "%u", i);
        row = row_text(NULL, label, ds_disk_file_path(disk, i));
        report_rows(report, &row, 1);
    }
    report_end(report);
}

uint64_t common_copied_bytes(const struct ds_totals *totals)
{
    uint64_t copied_bytes = 0;

    for (size_t i = 0; i < DS_COPY_REASON_COUNT; i++)
        copied_bytes += totals->copied_bytes[i];
    return copied_bytes;
}

static void copied_by_reason(struct report *report,
                             const struct ds_totals *totals)
{
    report_object(report, "copied_bytes_by_reason", "copied because");
    for (size_t i = DS_COPY_NONE + 1; i < DS_COPY_REASON_COUNT; i++) {
        const char *name = ds_copy_reason_name((enum ds_copy_reason)i);
        char key[NAME_BYTES];
        struct row row;

        human_key(name, key, sizeof(key));
        row = row_if_any(row_bytes(key, name, totals->copied_bytes[i]));
        report_rows(report, &row, 1);
    }
    report_end(report);
}

static void operation_counts(struct report *report,
                             const struct ds_totals *totals)
{
    report_object(report, "operations_by_kind", "operations");
    for (size_t i = 0; i < DS_OP_KIND_COUNT; i++) {
        const char *name = ds_op_kind_name((enum ds_op_kind)i);
        char key[NAME_BYTES], label[NAME_BYTES];
        struct row row;

        human_key(name, key, sizeof(key));
        human_words(name, label, sizeof(label));
        row = row_if_any(row_count(key, label, totals->op_count[i]));
        report_rows(report, &row, 1);
    }
    report_end(report);
}

void common_totals(struct report *report, const struct ds_totals *totals)
{
    const struct row sharing[] = {
        row_bytes("shared_bytes", "shared", totals->shared_bytes),
        row_bytes("copied_bytes", "copied", common_copied_bytes(totals)),
    };
    const struct row rest[] = {
        row_if_any(row_bytes("unshared_bytes", "unshared by punching",
                             totals->unshared_bytes)),
        row_if_any(
            row_bytes("decoded_bytes", "decoded", totals->decoded_bytes)),
        row_bytes("metadata_bytes", "tables written", totals->metadata_bytes),
        row_if_any(
            row_bytes("punched_bytes", "punched", totals->punched_bytes)),
    };

    report_rows(report, sharing, ARRAY_COUNT(sharing));
    copied_by_reason(report, totals);
    report_rows(report, rest, ARRAY_COUNT(rest));
    operation_counts(report, totals);
}

void common_verify(struct report *report, const struct ds_verify_report *verify)
{
    const struct row rows[] = {
        row_yes("identical", "identical", verify->identical),
        row_if_known(row_offset("difference_offset_bytes",
                                "first difference at",
                                verify->difference_offset_bytes),
                     !verify->identical),
        row_bytes("proven_bytes", "proven, same blocks", verify->proven_bytes),
        row_bytes("zero_bytes", "zeros by the tables", verify->zero_bytes),
        row_bytes("hashed_bytes", "read and compared", verify->hashed_bytes),
        row_text("not_proven", "read because", verify->not_proven),
        row_seconds("seconds", "took", verify->seconds),
    };

    report_rows(report, rows, ARRAY_COUNT(rows));
}

int common_check_output(const struct report *report, struct ds_error *err)
{
    if (report->write_errno == 0)
        return 0;
    *err = (struct ds_error)DS_ERROR_INIT;
    err->error_class = DS_ERR_SYSTEM;
    err->system_errno = report->write_errno;
    snprintf(err->file, sizeof(err->file), "standard output");
    snprintf(err->message, sizeof(err->message), "%s",
             strerror(report->write_errno));
    return -DS_ERR_SYSTEM;
}
