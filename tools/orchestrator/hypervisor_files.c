/* SPDX-License-Identifier: Apache-2.0 */
/* A VM that is files, as a hypervisor that has this one, always off:
 * file:///vm/web.vmx?allow-refs=/vm. Bytes may be written %XX. */
#include "hypervisor.h"
#include "import.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SCHEME "file://"
#define QUERY "?allow-refs="

struct files {
    struct hypervisor common;
    struct vm vm;
};

/* -- the URI -------------------------------------------------------------- */

static void put_path(FILE *out, const char *path)
{
    for (; *path != '\0'; path++) {
        unsigned char byte = (unsigned char)*path;

        if (isalnum(byte) || strchr("/._-~+,=:@", byte) != NULL)
            fputc(byte, out);
        else
            fprintf(out, "%%%02X", byte);
    }
}

char *import_uri(const char *path, const char *allow_refs)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    if (out == NULL)
        return need(1);
    fprintf(out, SCHEME);
    put_path(out, path);
    if (allow_refs != NULL) {
        fprintf(out, QUERY);
        put_path(out, allow_refs);
    }
    fclose(out);
    return text;
}

/* %XX in place. */
static bool decode(char *text)
{
    char *to = text;

    for (const char *at = text; *at != '\0'; at++) {
        unsigned byte;
        char hex[3] = { 0 };

        if (*at != '%') {
            *to++ = *at;
            continue;
        }
        memcpy(hex, at + 1, strnlen(at + 1, 2));
        if (!isxdigit((unsigned char)hex[0]) ||
            !isxdigit((unsigned char)hex[1]) || sscanf(hex, "%x", &byte) != 1 ||
            byte == 0)
            return false;
        *to++ = (char)byte;
        at += 2;
    }
    *to = '\0';
    return true;
}

static int split(const char *uri, char **path, char **allow_refs,
                 struct ds_error *err)
{
    char *query;

    *path = text_copy(uri + strlen(SCHEME));
    query = strchr(*path, '?');
    if (query != NULL && text_begins(query, QUERY))
        *allow_refs = text_copy(query + strlen(QUERY));
    if (query != NULL)
        *query = '\0';
    if ((query == NULL || *allow_refs != NULL) && **path == '/' &&
        decode(*path) && (*allow_refs == NULL || decode(*allow_refs)))
        return 0;
    return fail(err, DS_ERR_ARG,
                "%s: expect file:///DIRECTORY/NAME[?allow-refs=DIRECTORY]",
                uri);
}

/* -- verbs ---------------------------------------------------------------- */

static bool takes(const char *uri)
{
    return text_begins(uri, SCHEME);
}

static void close_files(struct hypervisor *hypervisor)
{
    struct files *files = (struct files *)hypervisor;

    vm_free(&files->vm);
    free(hypervisor->uri);
    free(files);
}

static int open_files(const char *uri, const struct hypervisor_login *login,
                      struct hypervisor **out, struct ds_error *err)
{
    autofree char *path = NULL, *allow_refs = NULL;
    struct files *files;
    int result = split(uri, &path, &allow_refs, err);

    (void)login;
    if (result != 0)
        return result;
    files = need(sizeof(*files));
    files->common.ops = &hypervisor_files;
    files->common.uri = text_copy(uri);
    result = import_vm(path, allow_refs, &files->vm, err);
    if (result != 0)
        close_files(&files->common);
    else
        *out = &files->common;
    return result;
}

static int list(struct hypervisor *hypervisor, struct texts *names,
                struct ds_error *err)
{
    (void)err;
    texts_add(names, ((struct files *)hypervisor)->vm.name);
    return 0;
}

static int find(struct hypervisor *hypervisor, const char *name,
                struct ds_error *err)
{
    (void)err;
    return text_same(((struct files *)hypervisor)->vm.name, name);
}

static int must_have(struct hypervisor *hypervisor, const char *verb,
                     const char *name, struct ds_error *err)
{
    return find(hypervisor, name, err) == 1
               ? 0
               : fail_errno(err, ENOENT, hypervisor->uri,
                            "%s %s: the file's VM is %s", verb, name,
                            ((struct files *)hypervisor)->vm.name);
}

static int describe(struct hypervisor *hypervisor, const char *name,
                    struct vm *out, struct ds_error *err)
{
    int result = must_have(hypervisor, "describe", name, err);

    if (result == 0)
        vm_copy(out, &((struct files *)hypervisor)->vm);
    return result;
}

static int get_state(struct hypervisor *hypervisor, const char *name,
                     enum hypervisor_state *out, struct ds_error *err)
{
    *out = HYPERVISOR_OFF;
    return must_have(hypervisor, "ask for the state of", name, err);
}

/* It is off already. */
static int stay_off(struct hypervisor *hypervisor, const char *name,
                    struct ds_error *err)
{
    return must_have(hypervisor, "power off", name, err);
}

const struct hypervisor_ops hypervisor_files = {
    .name = "files",
    .takes = takes,
    .open = open_files,
    .close = close_files,
    .list = list,
    .find = find,
    .describe = describe,
    .state = get_state,
    .shut_down = stay_off,
    .force_off = stay_off,
};
