/* SPDX-License-Identifier: Apache-2.0 */
/* Files to a vm, and where its disks are. */
#include "import.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <diskshift/disk.h>

#include "vmx.h"

enum kind { KIND_VMX, KIND_OVF, KIND_OVA, KIND_DOMAIN_XML, KIND_NONE };

static enum kind kind_of(const char *path)
{
    static const char *const endings[] = { "vmx", "ovf", "ova", "xml" };
    const char *dot = strrchr(path_name(path), '.');

    for (int i = 0; dot != NULL && i < KIND_NONE; i++)
        if (strcasecmp(dot + 1, endings[i]) == 0)
            return (enum kind)i;
    return KIND_NONE;
}

/* -- references ----------------------------------------------------------- */

static bool is_beneath(const char *path, const char *directory)
{
    size_t length = strlen(directory);

    return strncmp(path, directory, length) == 0 &&
           (path[length] == '/' || text_same(directory, "/"));
}

/* `path` with all links followed, when that lies in one of the two. */
static char *admitted(const char *path, const char *directory,
                      const char *allow_refs)
{
    autofree char *real = realpath(path, NULL);
    autofree char *here = realpath(directory, NULL);
    autofree char *there =
        allow_refs != NULL ? realpath(allow_refs, NULL) : NULL;

    if (real != NULL && ((here != NULL && is_beneath(real, here)) ||
                         (there != NULL && is_beneath(real, there))))
        return steal(&real);
    return NULL;
}

/* Where the disk that is called `name` lies. */
static int find_file(const char *directory, const char *allow_refs,
                     const char *name, char **out, struct ds_error *err)
{
    const char *backslash = strrchr(name, '\\');
    const char *last = path_name(backslash != NULL ? backslash + 1 : name);
    autofree char *written =
        name[0] == '/' ? text_copy(name) : path_join(directory, name);
    autofree char *beside = path_join(directory, last);
    struct stat status;

    *out = admitted(written, directory, allow_refs);
    if (*out == NULL)
        *out = admitted(beside, directory, allow_refs);
    if (*out == NULL && !path_exists(written))
        return fail_errno(err, ENOENT, beside, "%s", name);
    if (*out == NULL)
        return fail(err, DS_ERR_REFUSED,
                    "%s lies elsewhere than %s: admit its directory with "
                    "?allow-refs=DIRECTORY",
                    name, directory);
    if (stat(*out, &status) != 0)
        return fail_errno(err, errno, *out, "look at");
    return S_ISREG(status.st_mode)
               ? 0
               : fail(err, DS_ERR_REFUSED, "%s is no regular file", *out);
}

static int open_once(const struct vm_disk *disk, const char *allow_refs,
                     struct ds_error *err)
{
    struct ds_open_options options = { .format = disk->format,
                                       .member = disk->member,
                                       .allow_refs = allow_refs };
    struct ds_disk *opened = NULL;
    int result = ds_disk_open(disk->path, &options, &opened, err);

    ds_disk_close(opened);
    return result;
}

static int settle_disk(struct vm_disk *disk, const char *path,
                       const char *allow_refs, struct ds_error *err)
{
    autofree char *directory = path_directory(path);
    char *found = NULL;
    int result = find_file(directory, allow_refs, disk->path, &found, err);

    if (result != 0)
        return result;
    free(disk->path);
    disk->path = found;
    /* As libvirt has it: to look would be to believe what the guest wrote. */
    if (disk->format == NULL)
        text_set(&disk->format, "raw");
    return open_once(disk, allow_refs, err);
}

/* What lies in a package has the package's path. */
static void name_package(struct vm *vm, const char *path)
{
    for (size_t i = 0; i < vm->disk_count; i++)
        if (vm->disks[i].member != NULL)
            text_set(&vm->disks[i].path, path);
}

static int settle_disks(struct vm *vm, const char *path, const char *allow_refs,
                        struct ds_error *err)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        struct vm_disk *disk = &vm->disks[i];

        if (disk->source == VM_SOURCE_FILE &&
            settle_disk(disk, path, allow_refs, err) != 0)
            return fail_within(err, "disk %s",
                               disk->name != NULL ? disk->name : "?");
    }
    return 0;
}

/* -- the whole ------------------------------------------------------------ */

/* Snapshots are listed beside the VMX. */
static int count_snapshots(const char *path, struct vm *vm,
                           struct ds_error *err)
{
    autofree char *list =
        text_format("%.*s.vmsd", (int)(strlen(path) - 4), path);
    autofree char *text = NULL;
    autovmx struct vmx vmsd = { 0 };
    const char *count;
    size_t length;
    int result = 0;

    if (!path_exists(list))
        return 0;
    result = file_read(list, IMPORT_BYTES_MAX, &text, &length, err);
    if (result == 0)
        result = vmx_parse(text, length, &vmsd, err);
    if (result != 0)
        return fail_within(err, "%s", path_name(list));
    count = vmx_get(&vmsd, "snapshot.numSnapshots");
    if (count != NULL)
        vm->snapshot_count = (unsigned)strtoul(count, NULL, 10);
    return 0;
}

static int read_text(const char *path, enum kind kind, char **text,
                     size_t *length_bytes, struct ds_error *err)
{
    int result =
        kind == KIND_OVA
            ? import_ova_descriptor(path, text, length_bytes, err)
            : file_read(path, IMPORT_BYTES_MAX, text, length_bytes, err);

    if (result == 0 && memchr(*text, '\0', *length_bytes) != NULL)
        return fail(err, DS_ERR_CORRUPT, "byte %zu is 0", strlen(*text));
    return result;
}

static int read_vm(const char *path, enum kind kind, const char *allow_refs,
                   struct vm *vm, struct ds_error *err)
{
    autofree char *text = NULL;
    size_t length = 0;
    int result = read_text(path, kind, &text, &length, err);

    if (result == 0 && kind == KIND_VMX)
        result = import_vmx(text, length, vm, err);
    else if (result == 0 && kind == KIND_DOMAIN_XML)
        result = vm_from_domain_xml(text, vm, err);
    else if (result == 0)
        result = import_ovf(text, length, vm, err);
    if (result == 0 && kind == KIND_VMX)
        result = count_snapshots(path, vm, err);
    if (result != 0)
        return result;
    text_set(&vm->native, text);
    if (vm->name == NULL || vm->name[0] == '\0') {
        free(vm->name);
        vm->name = text_format("%.*s", (int)(strlen(path_name(path)) - 4),
                               path_name(path));
    }
    name_package(vm, path);
    result = vm_check(vm, path_name(path), err);
    return result != 0 ? result : settle_disks(vm, path, allow_refs, err);
}

int import_vm(const char *path, const char *allow_refs, struct vm *out,
              struct ds_error *err)
{
    autofree char *real = realpath(path, NULL);
    struct ds_error mine = DS_ERROR_INIT;
    struct vm vm = { 0 };
    int result;

    if (real == NULL)
        return fail_errno(err, errno, path, "open");
    if (kind_of(real) == KIND_NONE)
        result = fail(&mine, DS_ERR_UNSUPPORTED,
                      "%s: have a name that ends otherwise expect .vmx, .ovf, "
                      ".ova or .xml",
                      path_name(real));
    else
        result = read_vm(real, kind_of(real), allow_refs, &vm, &mine);
    if (result == 0) {
        *out = vm;
        return 0;
    }
    vm_free(&vm);
    if (mine.file[0] == '\0')
        snprintf(mine.file, sizeof(mine.file), "%s", path);
    if (err != NULL)
        *err = mine;
    return result;
}
