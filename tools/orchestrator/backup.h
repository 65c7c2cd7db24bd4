/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore point of a VM, in a directory of its own:
 *
 *     manifest.json   what it is, and which file was where
 *     0/web.vmdk ...  the disks' files by disk, clones of their blocks
 *     domain.xml      the hypervisor's own description, if it has one
 *     nvram           UEFI variables, if there are any
 *
 * The manifest is written last: a directory without it is no backup. This is
 * the whole interface; a catalogue may come to stand behind it.
 */
#ifndef ORCH_BACKUP_H
#define ORCH_BACKUP_H

#include "vm.h"

/** Where one file goes: from the VM's disk into the backup. */
struct backup_file {
    char *from; /* the VM's */
    char *to;   /* in the backup */
    bool small; /* no disk: it may be copied, where disks must be shared */
};
struct backup_files {
    struct backup_file *items;
    size_t count;
};
void backup_files_free(struct backup_files *files);

/** Find out which files a backup of `vm` in `directory` would have. */
int backup_plan(const struct vm *vm, const char *directory,
                struct backup_files *out, struct ds_error *err);
/** Make it. One that is there in part is made anew. */
int backup_make(const struct vm *vm, const char *directory,
                const struct backup_files *files, bool require_clone,
                uint64_t *copied_bytes, struct ds_error *err);
/** Put all its disks back. CORRUPT when it has no manifest. */
int backup_restore(const char *directory, struct ds_error *err);
/** The file in the backup that is `path`'s clone; the caller owns it. */
int backup_clone_of(const char *directory, const char *path, char **out,
                    struct ds_error *err);
/** That it is there, and was made to its end. */
bool backup_is_whole(const char *directory);
/** Remove its files and the directory. Not there is fine. */
int backup_remove(const char *directory, struct ds_error *err);

#endif
