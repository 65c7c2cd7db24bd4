/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vendor_via COMMAND SOURCE TARGET FORMAT STRATEGY
 *
 * Converts by a storage array that this program makes up: a row of verbs
 * (clone_via.h) of which there are three, since all that this vendor's arrays
 * can is to clone a whole file. To do so is COMMAND's: it is called with the
 * two files, as paths below /srv of the file server, and its exit status says
 * how that went. Prints the strategy, and a line for each note of the report.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <diskshift/convert.h>
#include <diskshift/disk.h>

#include "clone_via.h"
#include "fail.h"

#define ROOT "/srv/"

struct vendor {
    struct ds_clone_via base;
    const char *command;
    unsigned clone_count;
};

static int vendor_locate(struct ds_clone_via *via, const char *path, char **out,
                         struct ds_error *err)
{
    (void)via;
    if (strncmp(path, ROOT, strlen(ROOT)) != 0)
        return ds_fail(err, DS_ERR_REFUSED,
                       "vendor: have %.300s expect a path below " ROOT, path);
    *out = strdup(path + strlen(ROOT));
    return *out != NULL ? 0 : ds_fail_memory(err);
}

static int vendor_whole_file(struct ds_clone_via *via, const char *source,
                             const char *target, enum ds_clone_outcome *outcome,
                             struct ds_error *err)
{
    struct vendor *vendor = (struct vendor *)(void *)via;
    char *arguments[] = { strdup(vendor->command), strdup(source),
                          strdup(target), NULL };
    extern char **environ;
    pid_t child;
    int status = -1;

    vendor->clone_count++;
    if (posix_spawn(&child, arguments[0], NULL, NULL, arguments, environ) == 0)
        (void)waitpid(child, &status, 0);
    for (size_t i = 0; i < 3; i++)
        free(arguments[i]);
    *outcome = DS_CLONE_DONE;
    return status == 0
               ? 0
               : ds_fail_errno(err, EIO, NULL,
                               "vendor: the clone failed: status %d", status);
}

static const struct ds_clone_via_ops vendor_ops = {
    .name = "vendor",
    .locate = vendor_locate,
    .whole_file = vendor_whole_file,
};

static int convert(const char *source, const struct ds_target_spec *target,
                   const struct ds_convert_options *options,
                   struct ds_report *report, struct ds_error *err)
{
    const struct ds_open_options open_options = { .for_conversion = true };
    struct ds_disk *disk = NULL;
    int result = ds_disk_open(source, &open_options, &disk, err);

    if (result == 0)
        result = ds_convert(disk, target, 1, options, report, NULL, err);
    ds_disk_close(disk);
    return result;
}

int main(int argc, char **argv)
{
    struct vendor vendor = { .base = { .ops = &vendor_ops } };
    struct ds_convert_options options = { .clone_via = &vendor.base };
    struct ds_target_spec target = { 0 };
    struct ds_error err = DS_ERROR_INIT;
    static struct ds_report report;

    if (argc != 6) {
        fprintf(stderr, "usage: vendor_via COMMAND SOURCE TARGET FORMAT "
                        "STRATEGY\n");
        return 2;
    }
    vendor.command = argv[1];
    target.path = argv[3];
    target.format = argv[4];
    while (strcmp(ds_strategy_name(options.strategy), argv[5]) != 0)
        options.strategy++;
    if (convert(argv[2], &target, &options, &report, &err) != 0) {
        fprintf(stderr, "vendor_via: %s\n", err.message);
        return 1;
    }
    printf("strategy %s\nclones %u\nshared %llu\n",
           ds_strategy_name(report.strategy), vendor.clone_count,
           (unsigned long long)report.totals.shared_bytes);
    for (unsigned i = 0; i < report.note_count; i++)
        printf("note %s\n", report.notes[i]);
    return 0;
}
