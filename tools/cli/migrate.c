/* SPDX-License-Identifier: Apache-2.0 */
/* `diskshift migrate` is a program of its own, since it alone needs libvirt.
 * It is looked for from where this one lies: installed, or in a build tree. */
#include "options.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const places[] = { MIGRATE_FROM_BIN,
                                      "orchestrator/diskshift-migrate" };

/* The directory of this program; false when it is not known. */
static bool own_directory(char *path, size_t path_bytes)
{
    ssize_t length = readlink("/proc/self/exe", path, path_bytes - 1);
    char *slash;

    if (length <= 0)
        return false;
    path[length] = '\0';
    slash = strrchr(path, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    return true;
}

int migrate(char *const *argv, struct ds_error *err)
{
    char directory[4096], program[8192];

    if (own_directory(directory, sizeof(directory))) {
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            snprintf(program, sizeof(program), "%s/%s", directory, places[i]);
            execv(program, argv);
        }
    }
    *err = (struct ds_error)DS_ERROR_INIT;
    err->error_class = DS_ERR_UNSUPPORTED;
    snprintf(err->message, sizeof(err->message),
             "migrate: diskshift-migrate is not installed");
    return -DS_ERR_UNSUPPORTED;
}
