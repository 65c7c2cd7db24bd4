/* SPDX-License-Identifier: Apache-2.0 */
#include "iso.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "options.h"

#define COMMAND_MAX 24
#define VOLUME "DISKSHIFT"

static const char note[] =
    "What is here prepares this machine for its move to another hypervisor.\r\n"
    "\r\n"
    "Linux, as root:       sh /PATH/OF/THE/CD/offline.sh\r\n"
    "Windows, as admin:    powershell -ExecutionPolicy Bypass -File "
    "X:\\offline.ps1\r\n"
    "\r\n"
    "With --dry-run it prints what it would do and changes nothing. With --undo"
    "\r\nit puts back what it changed. At its end it powers the machine "
    "off.\r\n"
    "Several scripts are run in the order of their names.\r\n";

/* Programs that take mkisofs's words, with what they want before them. */
static const char *const programs[][3] = {
    { "xorriso", "-as", "mkisofs" },
    { "genisoimage", NULL, NULL },
    { "mkisofs", NULL, NULL },
};

static int system_error(struct ds_error *err, const char *path, int errnum,
                        const char *what)
{
    *err = (struct ds_error)DS_ERROR_INIT;
    err->error_class = errnum == EEXIST ? DS_ERR_REFUSED : DS_ERR_SYSTEM;
    err->system_errno = errnum == EEXIST ? 0 : errnum;
    snprintf(err->file, sizeof(err->file), "%s", path);
    snprintf(err->message, sizeof(err->message), "%s: %s", what,
             errnum == EEXIST ? "exists; --force replaces it"
                              : strerror(errnum));
    return -(int)err->error_class;
}

static int put_file(int directory, const char *name, const char *bytes,
                    size_t length)
{
    int descriptor =
        openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    int errnum;

    if (descriptor < 0)
        return errno;
    errnum = write(descriptor, bytes, length) == (ssize_t)length ? 0 : EIO;
    if (close(descriptor) != 0 && errnum == 0)
        errnum = errno;
    return errnum;
}

static int fill(const char *folder, const struct ds_guest_scripts *scripts,
                struct ds_error *err)
{
    int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct ds_guest_script *script;
    int errnum = directory < 0 ? errno : 0;

    if (errnum == 0)
        errnum = put_file(directory, "README.TXT", note, sizeof(note) - 1);
    for (size_t i = 0;
         errnum == 0 && (script = ds_guest_scripts_at(scripts, i)) != NULL; i++)
        errnum = put_file(directory, script->name, script->text,
                          script->length_bytes);
    if (directory >= 0)
        close(directory);
    return errnum == 0 ? 0 : system_error(err, folder, errnum, "iso");
}

static void empty(const char *folder, const struct ds_guest_scripts *scripts)
{
    int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct ds_guest_script *script;

    if (directory < 0)
        return;
    unlinkat(directory, "README.TXT", 0);
    for (size_t i = 0; (script = ds_guest_scripts_at(scripts, i)) != NULL; i++)
        unlinkat(directory, script->name, 0);
    close(directory);
    rmdir(folder);
}

/* The child: its words go to nobody. Exit 127: no such program. */
static void run_program(const char *const before[3], const char *path,
                        const char *folder)
{
    const char *words[COMMAND_MAX];
    size_t count = 0;
    int nowhere = open("/dev/null", O_RDWR);

    for (size_t i = 0; i < 3 && before[i] != NULL; i++)
        words[count++] = before[i];
    words[count++] = "-quiet";
    words[count++] = "-J";
    words[count++] = "-r";
    words[count++] = "-V";
    words[count++] = VOLUME;
    words[count++] = "-o";
    words[count++] = path;
    words[count++] = folder;
    words[count] = NULL;
    dup2(nowhere, 0);
    dup2(nowhere, 1);
    dup2(nowhere, 2);
    execvp(words[0], (char *const *)(uintptr_t)words);
    _exit(127);
}

/* The program's exit status, 127 when there is none. */
static int try_program(const char *const before[3], const char *path,
                       const char *folder)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        run_program(before, path, folder);
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 126;
    return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

static int make_image(const char *partial, const char *folder,
                      struct ds_error *err)
{
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        int status = try_program(programs[i], partial, folder);

        if (status == 0)
            return 0;
        if (status != 127)
            return system_error(err, programs[i][0], EIO,
                                "iso: it did not make the image");
    }
    return system_error(err, partial, ENOENT,
                        "iso: neither xorriso nor genisoimage nor mkisofs");
}

int iso_write(const char *path, const struct ds_guest_scripts *scripts,
              bool force, struct ds_error *err)
{
    char folder[] = "/tmp/diskshift.XXXXXX";
    char *partial = NULL;
    int result;

    if (asprintf(&partial, "%s.partial", path) < 0)
        return memory_error(err);
    if (mkdtemp(folder) == NULL) {
        result = system_error(err, folder, errno, "iso");
        free(partial);
        return result;
    }
    result = fill(folder, scripts, err);
    if (result == 0)
        result = make_image(partial, folder, err);
    if (result == 0 && (force ? rename(partial, path)
                              : renameat2(AT_FDCWD, partial, AT_FDCWD, path,
                                          RENAME_NOREPLACE)) != 0)
        result = system_error(err, path, errno, "iso");
    if (result != 0)
        unlink(partial);
    empty(folder, scripts);
    free(partial);
    return result;
}
