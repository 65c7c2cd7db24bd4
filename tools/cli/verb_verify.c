/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"
#include "progress.h"
#include "target.h"
#include "verbs.h"

int verb_verify(struct options *options, struct report *report,
                struct ds_error *err)
{
    __attribute__((cleanup(common_close))) struct ds_disk *left = NULL;
    __attribute__((cleanup(common_close))) struct ds_disk *right = NULL;
    struct ds_verify_report verify = { 0 };
    struct progress progress;
    int result = operands_check(options, 2, "SOURCE and TARGET", err);

    /* Held quiet, as for a conversion: a disk that is written to meanwhile
     * equals nothing. */
    if (result == 0)
        result = common_open(options, options->operands[0],
                             options->source_format, true, &left, err);
    if (result == 0)
        result = common_open(options, options->operands[1],
                             options->other_format, true, &right, err);
    if (result != 0)
        return result;
    progress_begin(&progress, options);
    result = ds_verify(left, right, progress_show, &progress, &verify, err);
    progress_end(&progress);
    if (result != 0)
        return result;
    common_disk(report, "source", "source", left);
    common_disk(report, "target", "target", right);
    report_object(report, "verify", "comparison");
    common_verify(report, &verify);
    report_end(report);
    return verify.identical ? STATUS_DONE : STATUS_FAILURE;
}
