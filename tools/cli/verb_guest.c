/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scripts for guests: to standard output, to a file, as files in a directory
 * when they are staged, to an ISO image; or the list of elements. No disk is
 * opened.
 */
#include "common.h"
#include "iso.h"
#include "verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int file_error(struct ds_error *err, const char *path, int errnum)
{
    *err = (struct ds_error)DS_ERROR_INIT;
    err->error_class = errnum == EEXIST ? DS_ERR_REFUSED : DS_ERR_SYSTEM;
    err->system_errno = errnum == EEXIST ? 0 : errnum;
    snprintf(err->file, sizeof(err->file), "%s", path);
    snprintf(err->message, sizeof(err->message), "%s",
             errnum == EEXIST ? "exists; --force replaces it"
                              : strerror(errnum));
    return -(int)err->error_class;
}

static int write_all(int descriptor, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t done = write(descriptor, bytes, length);

        if (done < 0 && errno != EINTR)
            return errno;
        if (done > 0) {
            bytes += done;
            length -= (size_t)done;
        }
    }
    return 0;
}

/* Under another name first, so that nobody ever runs half a script. */
static int write_file(const char *path, const struct ds_guest_script *script,
                      bool force, struct ds_error *err)
{
    char *partial = NULL;
    int descriptor, errnum = 0;

    if (asprintf(&partial, "%s.partial", path) < 0)
        return memory_error(err);
    descriptor = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    if (descriptor < 0) {
        errnum = errno;
    } else {
        errnum = write_all(descriptor, script->text, script->length_bytes);
        if (errnum == 0 && fsync(descriptor) != 0)
            errnum = errno;
        if (close(descriptor) != 0 && errnum == 0)
            errnum = errno;
        if (errnum == 0 && (force ? rename(partial, path)
                                  : renameat2(AT_FDCWD, partial, AT_FDCWD, path,
                                              RENAME_NOREPLACE)) != 0)
            errnum = errno;
        if (errnum != 0)
            unlink(partial);
    }
    free(partial);
    return errnum != 0 ? file_error(err, path, errnum) : 0;
}

static int write_staged(const struct options *options,
                        const struct ds_guest_scripts *scripts,
                        struct ds_error *err)
{
    const char *directory = options->guest.output;
    const struct ds_guest_script *script;
    int result = 0;

    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return file_error(err, directory, errno);
    for (size_t i = 0;
         result == 0 && (script = ds_guest_scripts_at(scripts, i)) != NULL;
         i++) {
        char *path = NULL;

        if (asprintf(&path, "%s/%s", directory, script->name) < 0)
            return memory_error(err);
        result = write_file(path, script, options->force, err);
        free(path);
    }
    return result;
}

static void report_scripts(struct report *report,
                           const struct ds_guest_scripts *scripts, bool texts)
{
    const struct ds_guest_script *script;

    report_array(report, "scripts", NULL);
    for (size_t i = 0; (script = ds_guest_scripts_at(scripts, i)) != NULL;
         i++) {
        const struct row rows[] = {
            row_text("name", "script", script->name),
            row_text("task", "task", script->task),
            row_bytes("size_bytes", "size", script->length_bytes),
            row_text("text", "text", texts ? script->text : NULL),
        };

        report_object(report, NULL, NULL);
        report_rows(report, rows, ARRAY_COUNT(rows));
        report_end(report);
    }
    report_end(report);
}

static int put_out(const struct options *options, struct report *report,
                   const struct ds_guest_scripts *scripts, struct ds_error *err)
{
    const struct guest_words *words = &options->guest;
    const struct ds_guest_script *script = ds_guest_scripts_at(scripts, 0);
    int result = 0;

    if (words->iso != NULL)
        result = iso_write(words->iso, scripts, options->force, err);
    if (result == 0 && words->output != NULL)
        result = words->stage == DS_SCRIPT_STAGED
                     ? write_staged(options, scripts, err)
                     : write_file(words->output, script, options->force, err);
    if (result != 0)
        return result;
    if (report->json)
        report_scripts(report, scripts,
                       words->output == NULL && words->iso == NULL);
    else if (words->output == NULL && words->iso == NULL &&
             fwrite(script->text, 1, script->length_bytes, stdout) !=
                 script->length_bytes)
        report->write_errno = errno;
    return common_check_output(report, err);
}

static int make(const struct options *options, struct report *report,
                struct ds_error *err)
{
    const struct guest_words *words = &options->guest;
    const struct ds_guest_script_request request = {
        .guest = words->guest,
        .source = words->source,
        .target = words->target,
        .stage = words->stage,
        .tasks = words->tasks,
        .task_count = words->task_count,
        .elements_directory = words->elements,
        .variables = options->target_options,
        .variable_count = options->target_option_count,
        .job = words->job,
    };
    struct ds_guest_scripts *scripts = NULL;
    int result;

    if (words->guest == NULL)
        return usage_error(err, "expect --guest linux or --guest windows");
    if (words->stage == DS_SCRIPT_STAGED && words->output == NULL &&
        words->iso == NULL && !options->json)
        return usage_error(err, "--stage staged: several scripts, expect "
                                "--output DIRECTORY, --iso or --json");
    result = ds_guest_scripts_make(&request, &scripts, err);
    if (result == 0)
        result = put_out(options, report, scripts, err);
    ds_guest_scripts_free(scripts);
    return result;
}

static void list_element(struct report *report,
                         const struct ds_guest_element *element)
{
    const struct row rows[] = {
        row_text("name", "element", element->name),
        row_text("guest", "guest", element->guest),
        row_text("task", "task", element->task),
        row_text("phase", "phase", element->phase),
        row_text("source", "source", element->source),
        row_text("target", "target", element->target),
        row_text("summary", "does", element->summary),
        row_text("path", "path", element->path),
    };

    report_object(report, NULL, element->name);
    report_rows(report, rows, ARRAY_COUNT(rows));
    report_array(report, "variables", NULL);
    for (size_t i = 0; i < element->variable_count; i++) {
        const struct ds_guest_variable *variable = &element->variables[i];
        const struct row variable_rows[] = {
            row_text("key", "-o", variable->key),
            row_text("standard", "standard", variable->standard),
            row_text("summary", "is", variable->summary),
        };

        report_object(report, NULL, NULL);
        report_rows(report, variable_rows, ARRAY_COUNT(variable_rows));
        report_end(report);
    }
    report_end(report);
    report_end(report);
}

static int list(const struct options *options, struct report *report,
                struct ds_error *err)
{
    struct ds_guest_elements *elements = NULL;
    const struct ds_guest_element *element;
    int result =
        ds_guest_elements_open(options->guest.elements, &elements, err);

    if (result != 0)
        return result;
    report_array(report, "elements", NULL);
    for (size_t i = 0; (element = ds_guest_elements_at(elements, i)) != NULL;
         i++)
        if (options->guest.guest == NULL ||
            strcmp(options->guest.guest, element->guest) == 0)
            list_element(report, element);
    report_end(report);
    ds_guest_elements_close(elements);
    return common_check_output(report, err);
}

int verb_guest(struct options *options, struct report *report,
               struct ds_error *err)
{
    if (options->operand_count > 0)
        return usage_error(err, "have operand %s expect options alone",
                           options->operands[0]);
    return options->guest.list ? list(options, report, err)
                               : make(options, report, err);
}
