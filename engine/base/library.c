/* SPDX-License-Identifier: Apache-2.0 */
#include "library.h"

#include <dlfcn.h>
#include <string.h>

const char *ds_library_load(const char *soname,
                            const struct ds_library_function *functions,
                            size_t function_count, void *api)
{
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    const char *missing = NULL;

    if (library == NULL)
        return "library";
    for (size_t i = 0; i < function_count; i++) {
        void *address = dlsym(library, functions[i].name);

        if (address == NULL && missing == NULL)
            missing = functions[i].name;
        /* ISO C has no conversion of data to functions. */
        memcpy((char *)api + functions[i].offset, &address, sizeof(address));
    }
    return missing;
}
