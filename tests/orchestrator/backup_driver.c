/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backups alone, for backup_nfs.sh, which runs this where there is no libvirtd:
 *
 *     backup_driver make DIRECTORY FORMAT FILE    prints how much was copied
 *     backup_driver restore | remove DIRECTORY
 */
#include "backup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int make(const char *directory, const char *format, const char *path,
                struct ds_error *err)
{
    struct backup_files files = { 0 };
    struct vm vm = { .name = text_copy("web") };
    uint64_t copied_bytes = 0;
    struct vm_disk *disk;
    int result = vm_add_disk(&vm, &disk, err);

    if (result == 0) {
        disk->path = text_copy(path);
        disk->format = text_copy(format);
        disk->name = text_copy("sda");
        result = backup_plan(&vm, directory, &files, err);
    }
    if (result == 0)
        result = backup_make(&vm, directory, &files, true, &copied_bytes, err);
    if (result == 0)
        printf("copied %" PRIu64 "\n", copied_bytes);
    backup_files_free(&files);
    vm_free(&vm);
    return result;
}

int main(int count, char **arguments)
{
    struct ds_error err = DS_ERROR_INIT;
    int result = -DS_ERR_ARG;

    if (count == 5 && strcmp(arguments[1], "make") == 0)
        result = make(arguments[2], arguments[3], arguments[4], &err);
    else if (count == 3 && strcmp(arguments[1], "restore") == 0)
        result = backup_restore(arguments[2], &err);
    else if (count == 3 && strcmp(arguments[1], "remove") == 0)
        result = backup_remove(arguments[2], &err);
    if (result != 0)
        fprintf(stderr, "backup_driver: %s: %s\n", err.file, err.message);
    return result != 0;
}
