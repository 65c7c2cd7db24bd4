/* SPDX-License-Identifier: Apache-2.0 */
#include "nbd.h"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".nbd"
#define PROGRAM "qemu-nbd"
#define START_SECONDS 60
#define END_SECONDS 60
#define POLL_MS 50
#define OUTPUT_BYTES 4096
#define ARGUMENT_COUNT_MAX 16

char *nbd_socket_of(const char *path)
{
    return text_format("%s" SUFFIX, path);
}

static char *pid_path(const struct vm_disk *disk)
{
    return text_format("%s.pid", disk->nbd_socket);
}

static void list_arguments(const struct vm_disk *disk, const char *pid_file,
                           const char **arguments)
{
    const char *const list[] = { PROGRAM,
                                 "--fork",
                                 "--persistent",
                                 "--shared=1",
                                 "-f",
                                 disk->format,
                                 "-x",
                                 "",
                                 "-k",
                                 disk->nbd_socket,
                                 "--pid-file",
                                 pid_file,
                                 "--",
                                 disk->path,
                                 NULL };

    _Static_assert(ARRAY_COUNT(list) <= ARGUMENT_COUNT_MAX, "room for all");
    memcpy(arguments, list, sizeof(list));
}

char *nbd_command(const struct vm_disk *disk)
{
    const char *arguments[ARGUMENT_COUNT_MAX];
    autofree char *pid_file = pid_path(disk);
    char *command = text_copy("");

    list_arguments(disk, pid_file, arguments);
    for (size_t i = 0; arguments[i] != NULL; i++) {
        autofree char *word = shell_quote(arguments[i]);
        char *longer = text_format("%s%s%s", command, i > 0 ? " " : "", word);

        free(command);
        command = longer;
    }
    return command;
}

bool nbd_is_there(void)
{
    const char *const arguments[] = { PROGRAM, "--version", NULL };
    struct process_result done = { 0 };
    bool there = process_run(arguments, NULL, 0, START_SECONDS, OUTPUT_BYTES,
                             &done, NULL) == 0 &&
                 done.exit_status == 0;

    process_result_free(&done);
    return there;
}

/* The server's process id, or 0. Its lock on the file says that the number in
 * it is still its own. */
static pid_t server_of(const struct vm_disk *disk)
{
    autofree char *path = pid_path(disk), *text = NULL;
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int file = open(path, O_RDWR | O_CLOEXEC);
    bool held = file >= 0 && fcntl(file, F_OFD_GETLK, &lock) == 0 &&
                lock.l_type != F_UNLCK;

    if (file >= 0)
        close(file);
    if (!held || file_read(path, 64, &text, NULL, NULL) != 0)
        return 0;
    return (pid_t)strtol(text, NULL, 10);
}

/* Whoever may open the disk may connect: as libvirt's QEMU would. */
static int let_in(const struct vm_disk *disk, struct ds_error *err)
{
    struct stat status;

    if (stat(disk->path, &status) != 0)
        return fail_errno(err, errno, disk->path, "look at");
    if (chown(disk->nbd_socket, status.st_uid, status.st_gid) != 0 ||
        chmod(disk->nbd_socket, status.st_mode & 0666) != 0)
        return fail_errno(err, errno, disk->nbd_socket, "let in");
    return 0;
}

static int serve_disk(const struct vm_disk *disk, struct ds_error *err)
{
    const char *arguments[ARGUMENT_COUNT_MAX];
    autofree char *pid_file = pid_path(disk);
    struct process_result done = { 0 };
    int result;

    if (server_of(disk) > 0)
        return 0;
    list_arguments(disk, pid_file, arguments);
    if (unlink(disk->nbd_socket) != 0 && errno != ENOENT)
        return fail_errno(err, errno, disk->nbd_socket, "remove");
    result = process_run(arguments, NULL, 0, START_SECONDS, OUTPUT_BYTES, &done,
                         err);
    if (result == 0 && done.exit_status != 0)
        result = fail(err, DS_ERR_REFUSED, "serve %s: %.300s", disk->path,
                      done.errors);
    process_result_free(&done);
    return result != 0 ? result : let_in(disk, err);
}

int nbd_serve(const struct vm *vm, struct ds_error *err)
{
    int result = 0;

    for (size_t i = 0; i < vm->disk_count && result == 0; i++)
        if (vm->disks[i].nbd_socket != NULL)
            result = serve_disk(&vm->disks[i], err);
    return result;
}

static int end_server(const struct vm_disk *disk, struct ds_error *err)
{
    autofree char *pid_file = pid_path(disk);
    uint64_t begun = now_ns();
    pid_t server = server_of(disk);

    if (server > 0 && kill(server, SIGTERM) != 0 && errno != ESRCH)
        return fail_errno(err, errno, pid_file, "end the server");
    while (server > 0 && server_of(disk) > 0) {
        if (now_ns() - begun > END_SECONDS * UINT64_C(1000000000))
            return fail_errno(err, ETIMEDOUT, disk->path,
                              "its server, process %d, does not end",
                              (int)server);
        sleep_ms(POLL_MS);
    }
    if ((unlink(disk->nbd_socket) != 0 && errno != ENOENT) ||
        (unlink(pid_file) != 0 && errno != ENOENT))
        return fail_errno(err, errno, disk->nbd_socket, "remove");
    return 0;
}

int nbd_end(const struct vm *vm, struct ds_error *err)
{
    int result = 0;

    for (size_t i = 0; i < vm->disk_count && result == 0; i++)
        if (vm->disks[i].nbd_socket != NULL)
            result = end_server(&vm->disks[i], err);
    return result;
}

void nbd_recognize(struct vm *vm)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        struct vm_disk *disk = &vm->disks[i];
        autofree char *path = NULL;

        if (disk->source != VM_SOURCE_REMOTE ||
            !text_ends(disk->path, SUFFIX) || disk->path[0] != '/')
            continue;
        path = text_format("%.*s", (int)(strlen(disk->path) - strlen(SUFFIX)),
                           disk->path);
        if (!path_exists(path))
            continue;
        disk->source = VM_SOURCE_FILE;
        disk->nbd_socket = disk->path;
        disk->path = steal(&path);
        text_set(&disk->format, strrchr(disk->path, '.') != NULL
                                    ? strrchr(disk->path, '.') + 1
                                    : NULL);
    }
}
