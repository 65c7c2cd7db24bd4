/* SPDX-License-Identifier: Apache-2.0 */
/* A VM that is files is a source like another, which is always off. Nothing is
 * changed of it, so no backup is made and no script is run. */
#include "import.h"
#include "verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int name_of(const char *uri, char **out, struct ds_error *err)
{
    struct hypervisor *files = NULL;
    struct texts names = { 0 };
    int result = hypervisor_open(uri, NULL, &files, err);

    if (result == 0)
        result = files->ops->list(files, &names, err);
    if (result == 0)
        text_set(out, names.items[0]);
    texts_free(&names);
    hypervisor_close(files);
    return result;
}

static int add_file(const struct options *options, const char *file,
                    struct plan *plan, struct ds_error *err)
{
    autofree char *path = realpath(file, NULL), *uri = NULL, *name = NULL;
    struct settings *vm;
    int result;

    if (path == NULL)
        return fail_errno(err, errno, file, "open");
    uri = import_uri(path, options->allow_refs);
    result = name_of(uri, &name, err);
    if (result == 0)
        result = plan_add_vm(plan, name, &vm, err);
    if (result != 0)
        return result;
    text_set(&vm->source_uri, uri);
    vm->backup = BACKUP_NONE;
    vm->prepare = PREPARE_NONE;
    texts_add(&vm->accepted, "backup-none");
    return 0;
}

int verb_import(const struct options *options, struct ds_error *err)
{
    struct options common = *options; /* its operands are files */
    struct plan plan;
    int result;

    common.operands = (struct texts){ 0 };
    if (options->operands.count == 0)
        return fail(err, DS_ERR_ARG, "expect a file: .vmx, .ovf, .ova or .xml");
    result = options_plan(&common, &plan, err);
    if (result != 0)
        return result;
    for (size_t i = 0; i < options->operands.count && result == 0; i++)
        result = add_file(options, options->operands.items[i], &plan, err);
    if (result == 0)
        result = verbs_begin(options, &plan, "migrate", err);
    plan_free(&plan);
    return result;
}
