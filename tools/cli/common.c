/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "confine.h"
#include "human.h"

#define NAME_BYTES 48

static int open_disk(const struct options *options,
                     const struct open_words *words, size_t operand, bool quiet,
                     struct ds_disk **out, struct ds_error *err)
{
    const struct ds_open_options open_options = {
        .format = words->format,
        .snapshot = words->snapshot,
        .key_file = words->key_file,
        .member = words->member,
        .all_members = options->all_members,
        .allow_refs = options->allow_refs,
        .no_refs = options->no_refs,
        .for_conversion = quiet,
        .limits = options->limits,
    };

    return ds_disk_open(options->operands[operand], &open_options, out, err);
}

static int resize(struct ds_disk *disk, const struct resize *resize,
                  struct ds_error *err)
{
    uint64_t bytes = resize->bytes;

    if (!resize->given)
        return 0;
    if (resize->relative &&
        __builtin_add_overflow(bytes, ds_disk_size_bytes(disk), &bytes))
        return usage_error(err, "--resize: the size is beyond 2^64 bytes");
    return ds_disk_extend(disk, bytes, err);
}

/* OpenSSL reads its configuration, and loads the providers that it names (FIPS
 * has one), when it is first used. In the sandbox it could not, and went on
 * with its own. Where keys are handled it does so before. */
static int ready_crypto(const struct options *options, struct ds_error *err)
{
    if ((options->source.key_file == NULL && options->other.key_file == NULL) ||
        OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) == 1)
        return 0;
    *err = (struct ds_error)DS_ERROR_INIT;
    err->error_class = DS_ERR_SYSTEM;
    (void)snprintf(err->message, sizeof(err->message),
                   "OpenSSL cannot follow its configuration");
    return -DS_ERR_SYSTEM;
}

int common_open_source(const struct options *options, bool quiet,
                       struct ds_disk **out, struct ds_error *err)
{
    bool alone = (options->verb & (VERB_VERIFY | VERB_COMPARE)) == 0;
    int result = ready_crypto(options, err);

    if (result == 0)
        result = confine_enter(options, err);
    for (size_t i = 0; i < options->source_count && result == 0; i++) {
        struct ds_disk *disk = NULL;

        result = open_disk(options, &options->source, i, quiet, &disk, err);
        if (result == 0)
            result = resize(disk, &options->resize, err);
        if (result != 0)
            ds_disk_close(disk);
        else if (*out == NULL)
            *out = disk;
        else
            result = ds_disk_append(*out, disk, err);
    }
    return result == 0 && alone ? confine_narrow(options, err) : result;
}

int common_open_other(const struct options *options, bool quiet,
                      struct ds_disk **out, struct ds_error *err)
{
    int result = open_disk(options, &options->other, 1, quiet, out, err);

    return result != 0 ? result : confine_narrow(options, err);
}

void common_close(struct ds_disk **disk)
{
    ds_disk_close(*disk);
}

int common_open_via(const struct options *options, struct ds_clone_via **out,
                    struct ds_error *err)
{
    return options->via.name != NULL
               ? ds_clone_via_open(&options->via, out, err)
               : 0;
}

void common_close_via(struct ds_clone_via **via)
{
    ds_clone_via_close(*via);
}

static void part_rows(struct report *report, const struct ds_disk_part *part)
{
    const struct row rows[] = {
        row_text("path", "path", part->path),
        row_text("format", "format", part->format),
        row_bytes("size_bytes", "guest size", part->image_bytes),
    };

    report_rows(report, rows, ARRAY_COUNT(rows));
}

void common_disk(struct report *report, const char *key, const char *heading,
                 const struct ds_disk *disk)
{
    struct ds_disk_part part = { 0 };

    (void)ds_disk_part(disk, 0, &part);
    report_object(report, key, heading);
    part_rows(report, &part);
    report_end(report);
}

static void source_object(struct report *report, const char *key,
                          const struct ds_disk_part *part)
{
    const struct row resized =
        row_if_known(row_bytes("resized_bytes", "resized to", part->size_bytes),
                     part->size_bytes != part->image_bytes);

    report_object(report, key, "source");
    part_rows(report, part);
    report_rows(report, &resized, 1);
    report_end(report);
}

void common_source(struct report *report, const struct ds_disk *disk)
{
    uint32_t count = ds_disk_part_count(disk);
    struct ds_disk_part part = { 0 };

    if (count == 1) {
        (void)ds_disk_part(disk, 0, &part);
        source_object(report, "source", &part);
        return;
    }
    report_array(report, "sources", NULL);
    for (uint32_t i = 0; ds_disk_part(disk, i, &part) == 0; i++)
        source_object(report, NULL, &part);
    report_end(report);
}

void common_member(struct report *report, const struct ds_disk *disk,
                   uint32_t index, const char *name)
{
    struct ds_disk_part part = { 0 };
    struct row rows[3];

    (void)ds_disk_part(disk, index, &part);
    rows[0] = row_text("member", "file", name);
    rows[1] = row_text("source", "of", part.path);
    rows[2] = row_bytes("size_bytes", "guest size", part.size_bytes);
    report_object(report, NULL, "disk");
    report_rows(report, rows, ARRAY_COUNT(rows));
    report_end(report);
}

void common_encoding(const struct ds_encoding *encoding, bool encoded,
                     struct value values[ENCODING_COLUMN_COUNT])
{
    const struct value from[ENCODING_COLUMN_COUNT] = {
        { .absent = !encoded,
          .text = encoded ? ds_codec_name(encoding->codec) : NULL },
        { .absent = !encoded, .number = encoding->stored_bytes },
        { .absent = !encoded, .number = encoding->unit_bytes },
        { .absent = !encoded, .number = encoding->skip_bytes },
    };

    memcpy(values, from, sizeof(from));
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

static void reason_row(struct report *report, enum ds_copy_reason reason,
                       uint64_t bytes)
{
    const char *name = ds_copy_reason_name(reason);
    char key[NAME_BYTES];
    struct row row;

    human_key(name, key, sizeof(key));
    row = row_if_any(row_bytes(key, name, bytes));
    report_rows(report, &row, 1);
}

static void copied_by_reason(struct report *report,
                             const struct ds_totals *totals)
{
    report_object(report, "copied_bytes_by_reason", "copied because");
    for (size_t i = DS_COPY_NONE + 1; i < DS_COPY_REASON_COUNT; i++)
        reason_row(report, (enum ds_copy_reason)i, totals->copied_bytes[i]);
    report_end(report);
}

static void decoded_by_reason(struct report *report,
                              const struct ds_totals *totals)
{
    report_object(report, "decoded_bytes_by_reason", "decoded because");
    reason_row(report, DS_COPY_COMPRESSED,
               totals->decoded_bytes - totals->decrypted_bytes);
    reason_row(report, DS_COPY_ENCRYPTED, totals->decrypted_bytes);
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
    const struct row decoded[] = {
        row_if_any(row_bytes("unshared_bytes", "unshared at edges",
                             totals->unshared_bytes)),
        row_if_any(
            row_bytes("decoded_bytes", "decoded", totals->decoded_bytes)),
    };
    const struct row rest[] = {
        row_bytes("metadata_bytes", "tables written", totals->metadata_bytes),
        row_if_any(
            row_bytes("punched_bytes", "punched", totals->punched_bytes)),
    };

    report_rows(report, sharing, ARRAY_COUNT(sharing));
    copied_by_reason(report, totals);
    report_rows(report, decoded, ARRAY_COUNT(decoded));
    decoded_by_reason(report, totals);
    report_rows(report, rest, ARRAY_COUNT(rest));
    operation_counts(report, totals);
}

void common_upper_bound(struct report *report, const struct ds_totals *totals)
{
    const struct row row = row_if_any(
        row_yes("upper_bound", "at most", totals->op_count[DS_OP_ENCODE] > 0));

    report_rows(report, &row, 1);
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
        row_bytes("witnessed_bytes", "read, digest as copied",
                  verify->witnessed_bytes),
        row_if_any(row_bytes("trusted_bytes", "not read, as told shared",
                             verify->trusted_bytes)),
        row_bytes("hashed_bytes", "read and compared", verify->hashed_bytes),
        row_text("not_proven", "read because", verify->not_proven),
        row_seconds("seconds", "took", verify->seconds),
    };

    report_rows(report, rows, ARRAY_COUNT(rows));
}

void common_notes(struct report *report, const struct ds_plan *plan)
{
    const char *note;

    report_array(report, "notes", NULL);
    for (size_t i = 0; (note = ds_plan_note(plan, i)) != NULL; i++) {
        const struct row row = row_text(NULL, "note", note);

        report_rows(report, &row, 1);
    }
    report_end(report);
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

/* -- servers -------------------------------------------------------------- */

static const struct column traffic_columns[] = {
    { "protocol", "protocol", UNIT_TEXT, -8 },
    { "procedure", "procedure", UNIT_TEXT, -16 },
    { "round_trips", "trips", UNIT_COUNT, 8 },
    { "operations", "operations", UNIT_COUNT, 10 },
    { "sent_bytes", "sent bytes", UNIT_COUNT, 12 },
    { "received_bytes", "received bytes", UNIT_COUNT, 14 },
};

static void traffic_add(void *user, const struct ds_traffic *row)
{
    struct ds_traffic *sum = user;

    sum->round_trips += row->round_trips;
    sum->operations += row->operations;
    sum->sent_bytes += row->sent_bytes;
    sum->received_bytes += row->received_bytes;
}

static void traffic_row(void *user, const struct ds_traffic *row)
{
    const struct value values[] = {
        { .text = row->protocol },      { .text = row->procedure },
        { .number = row->round_trips }, { .number = row->operations },
        { .number = row->sent_bytes },  { .number = row->received_bytes },
    };

    report_table_row(user, values);
}

void common_traffic(struct report *report)
{
    struct ds_traffic sum = { 0 };
    struct row rows[4];

    ds_traffic_each(traffic_add, &sum);
    rows[0] = row_count("round_trips", "round trips", sum.round_trips);
    rows[1] = row_count("operations", "operations", sum.operations);
    rows[2] = row_bytes("sent_bytes", "sent", sum.sent_bytes);
    rows[3] = row_bytes("received_bytes", "received", sum.received_bytes);
    report_object(report, "traffic", "servers");
    report_rows(report, rows, ARRAY_COUNT(rows));
    report_table(report, "procedures", traffic_columns,
                 ARRAY_COUNT(traffic_columns));
    ds_traffic_each(traffic_row, report);
    report_end(report);
    report_end(report);
}
