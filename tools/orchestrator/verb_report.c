/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>

static int write_report(const struct options *options, struct journal *journal,
                        FILE *out, struct ds_error *err)
{
    enum report_form form = options->html   ? REPORT_HTML
                            : options->json ? REPORT_JSON
                                            : REPORT_TEXT;
    struct migration_record record = { 0 };
    int result;

    if (options->run != 0)
        return report_run(journal, options->run, form, out, err);
    if (options->operands.count != 1)
        return fail(err, DS_ERR_ARG,
                    "expect one migration's number or VM's name, or --run");
    result = journal_find(journal, options->operands.items[0], &record, err);
    if (result == 0)
        result = report_migration(journal, record.id, form, out, err);
    migration_record_free(&record);
    return result;
}

int verb_report(const struct options *options, struct ds_error *err)
{
    autofree char *directory = options_journal(options);
    struct journal *journal = NULL;
    FILE *out = stdout;
    int result = journal_open(directory, &journal, err);

    if (result == 0 && options->output != NULL) {
        out = fopen(options->output, "wxe");
        if (out == NULL)
            result = fail_errno(err, errno, options->output, "create");
    }
    if (result == 0)
        result = write_report(options, journal, out, err);
    if (out != NULL && out != stdout && fclose(out) != 0 && result == 0)
        result = fail_errno(err, errno, options->output, "write");
    journal_close(journal);
    return result;
}
