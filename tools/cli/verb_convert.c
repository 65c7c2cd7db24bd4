/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"
#include "human.h"
#include "progress.h"
#include "target.h"
#include "verbs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>

/* Half of what OpenSSL's random generator takes for its first bytes, and a
 * tenth of a conversion, is for the names of algorithms. Nothing in this
 * program asks for one by name. */
static void leave_names_away(void)
{
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
                                  OPENSSL_INIT_NO_ADD_ALL_DIGESTS,
                              NULL);
}

static void show_verification(struct report *report,
                              const struct ds_report *done)
{
    const struct row verified = row_yes("verified", "verified", done->verified);

    report_object(report, "verify", "verification");
    report_rows(report, &verified, 1);
    if (done->verified)
        common_verify(report, &done->verify);
    report_end(report);
}

static void show_seconds(struct report *report, const struct ds_report *done)
{
    const struct row rows[] = {
        row_seconds("plan", "plan", done->plan_seconds),
        row_seconds("execute", "execute", done->execute_seconds),
        row_seconds("sync", "sync", done->sync_seconds),
        row_if_known(row_seconds("verify", "verify", done->verify.seconds),
                     done->verified),
        row_seconds("total", "in all", done->seconds),
    };

    report_object(report, "seconds", "time");
    report_rows(report, rows, ARRAY_COUNT(rows));
    report_end(report);
}

static void show_space(struct report *report, const struct options *options,
                       const struct ds_report *done)
{
    const struct row rows[] = {
        row_if_known(row_bytes("source_exclusive_bytes",
                               "freed without the source",
                               done->source_exclusive_bytes),
                     done->source_exclusive_known),
        row_bytes("free_bytes", "free space", done->free_bytes),
        row_if_any(row_bytes("growth_short_bytes", "missing for growth",
                             done->growth_short_bytes)),
    };

    report_rows(report, rows, ARRAY_COUNT(rows));
    if (done->growth_short_bytes > 0) {
        char size[HUMAN_SIZE_BYTES];

        human_size(done->growth_short_bytes, size);
        fputs("diskshift: warning: ", stderr);
        human_print(stderr, done->path);
        fprintf(stderr,
                ": no room to rewrite %u%% of the shared data, %s missing\n",
                options->growth_percent, size);
    }
}

static void show_notes(struct report *report, const struct ds_report *done)
{
    report_array(report, "notes", NULL);
    for (unsigned i = 0; i < done->note_count; i++) {
        const struct row row = row_text(NULL, "note", done->notes[i]);

        report_rows(report, &row, 1);
    }
    report_end(report);
}

static void show_members(struct report *report, const struct ds_disk *disk,
                         const struct ds_report *done)
{
    if (done->member_count == 0)
        return;
    report_array(report, "disks", NULL);
    for (uint32_t i = 0; i < done->member_count; i++)
        common_member(report, disk, i, done->members[i]);
    report_end(report);
}

static void show_target(struct report *report, const struct options *options,
                        const struct ds_disk *disk,
                        const struct ds_target_spec *spec,
                        const struct ds_report *done)
{
    const struct row rows[] = {
        row_text("path", "path", done->path),
        row_text("format", "format", spec->format),
        row_text("strategy", "strategy", ds_strategy_name(done->strategy)),
        row_text("strategy_reason", "because", done->strategy_reason),
    };

    report_object(report, NULL, "target");
    report_rows(report, rows, ARRAY_COUNT(rows));
    show_members(report, disk, done);
    common_totals(report, &done->totals);
    show_verification(report, done);
    show_seconds(report, done);
    show_space(report, options, done);
    show_notes(report, done);
    report_end(report);
}

/* STATUS_COPIED when --warn-copy was given and anything was not shared. */
static int copy_status(const struct options *options,
                       const struct ds_report *reports)
{
    int status = STATUS_DONE;

    for (size_t i = 0; i < options->target_count; i++) {
        const struct ds_totals *totals = &reports[i].totals;
        uint64_t bytes = common_copied_bytes(totals) + totals->decoded_bytes;
        char size[HUMAN_SIZE_BYTES];

        if (!options->warn_copy || bytes == 0)
            continue;
        human_size(bytes, size);
        fputs("diskshift: warning: ", stderr);
        human_print(stderr, options->targets[i].path);
        fprintf(stderr, ": %s copied, not shared\n", size);
        status = STATUS_COPIED;
    }
    return status;
}

static int run(const struct options *options, struct ds_disk *disk,
               struct ds_clone_via *via, struct ds_report *reports,
               size_t *done, struct ds_error *err)
{
    struct progress progress;
    const struct ds_convert_options convert_options = {
        .strategy = options->strategy,
        .output_bytes_max = options->output_bytes_max,
        .require_clone = options->require_clone,
        .share_source_file = options->share_source_file,
        .force = options->force,
        .no_verify = options->no_verify,
        .trust_clones = options->trust_clones,
        .clone_via = via,
        .growth_percent = options->growth_percent,
        .progress = progress_show,
        .user = &progress,
    };
    int result;

    progress_begin(&progress, options);
    result = ds_convert(disk, options->targets, options->target_count,
                        &convert_options, reports, done, err);
    progress_end(&progress);
    return result;
}

int verb_convert(struct options *options, struct report *report,
                 struct ds_error *err)
{
    __attribute__((cleanup(common_close))) struct ds_disk *disk = NULL;
    __attribute__((cleanup(common_close_via))) struct ds_clone_via *via = NULL;
    struct ds_report *reports;
    size_t done = 0;
    int result = target_resolve(options, err);

    if (result != 0)
        return result;
    if (options->via.name == NULL) /* TLS may ask for algorithms by name */
        leave_names_away();
    progress_catch_signals();
    /* A reader of our report that has left must not undo the work. */
    signal(SIGPIPE, SIG_IGN);
    result = common_open_via(options, &via, err);
    if (result == 0)
        result = common_open_source(options, true, &disk, err);
    if (result != 0)
        return result;
    reports = calloc(options->target_count, sizeof(struct ds_report));
    if (reports == NULL)
        return memory_error(err);
    report->mute = options->quiet;
    result = run(options, disk, via, reports, &done, err);
    /* Also on failure: the targets before the one that failed stay. */
    if (result == 0 || done > 0) {
        common_source(report, disk);
        report_array(report, "targets", NULL);
        for (size_t i = 0; i < done; i++)
            show_target(report, options, disk, &options->targets[i],
                        &reports[i]);
        report_end(report);
    }
    if (result == 0)
        result = copy_status(options, reports);
    free(reports);
    return result;
}
