/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two verbs over one comparison. verify asks whether a target is what its
 * source is, where another size is a difference. compare asks what two guests
 * read: the shorter disk is taken to go on with zeros, and the sizes are told
 * beside the answer.
 */
#include "common.h"
#include "progress.h"
#include "target.h"
#include "verbs.h"

/* Held quiet, as for a conversion: a disk that is written to meanwhile
 * equals nothing. */
static int open_both(const struct options *options, struct ds_disk **left,
                     struct ds_disk **right, struct ds_error *err)
{
    int result = common_open_source(options, true, left, err);

    return result != 0 ? result : common_open_other(options, true, right, err);
}

static int run(const struct options *options, struct ds_disk *left,
               struct ds_disk *right, struct ds_verify_report *verify,
               struct ds_error *err)
{
    struct progress progress;
    int result;

    progress_begin(&progress, options);
    result = ds_verify(left, right, progress_show, &progress, verify, err);
    progress_end(&progress);
    return result;
}

static int answer(struct report *report, const struct ds_verify_report *verify)
{
    report_object(report, "verify", "comparison");
    common_verify(report, verify);
    report_end(report);
    return verify->identical ? STATUS_DONE : STATUS_FAILURE;
}

int verb_verify(struct options *options, struct report *report,
                struct ds_error *err)
{
    __attribute__((cleanup(common_close))) struct ds_disk *left = NULL;
    __attribute__((cleanup(common_close))) struct ds_disk *right = NULL;
    struct ds_verify_report verify = { 0 };
    int result = operands_check(options, 2, "SOURCE and TARGET", err);

    if (result == 0)
        result = open_both(options, &left, &right, err);
    if (result == 0)
        result = run(options, left, right, &verify, err);
    if (result != 0)
        return result;
    common_disk(report, "source", "source", left);
    common_disk(report, "target", "target", right);
    return answer(report, &verify);
}

static int extend_shorter(struct ds_disk *left, struct ds_disk *right,
                          struct ds_error *err)
{
    uint64_t left_bytes = ds_disk_size_bytes(left);
    uint64_t right_bytes = ds_disk_size_bytes(right);

    return left_bytes < right_bytes ? ds_disk_extend(left, right_bytes, err)
                                    : ds_disk_extend(right, left_bytes, err);
}

int verb_compare(struct options *options, struct report *report,
                 struct ds_error *err)
{
    __attribute__((cleanup(common_close))) struct ds_disk *first = NULL;
    __attribute__((cleanup(common_close))) struct ds_disk *second = NULL;
    struct ds_verify_report verify = { 0 };
    struct row same_size;
    int result = operands_check(options, 2, "two images", err);

    if (result == 0)
        result = open_both(options, &first, &second, err);
    if (result != 0)
        return result;
    same_size =
        row_yes("same_size", "same size",
                ds_disk_size_bytes(first) == ds_disk_size_bytes(second));
    if (!options->strict)
        result = extend_shorter(first, second, err);
    if (result == 0)
        result = run(options, first, second, &verify, err);
    if (result != 0)
        return result;
    common_disk(report, "first", "first", first);
    common_disk(report, "second", "second", second);
    report_rows(report, &same_size, 1);
    return answer(report, &verify);
}
