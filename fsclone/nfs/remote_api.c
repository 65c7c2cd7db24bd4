/* SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "remote.h"

static struct remote_api api;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *missing; /* what could not be had; NULL: all is there */

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define REMOTE_API_ROW(name) { #name, offsetof(struct remote_api, name) },
    REMOTE_API(REMOTE_API_ROW)
#undef REMOTE_API_ROW
};

static void load(void)
{
    void *library = dlopen(DS_LIBNFS_SONAME, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        missing = "library";
        return;
    }
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        void *address = dlsym(library, functions[i].name);

        if (address == NULL)
            missing = functions[i].name;
        memcpy((char *)&api + functions[i].offset, &address, sizeof(address));
    }
}

int remote_api(const struct remote_api **out, struct ds_error *err)
{
    (void)pthread_once(&once, load);
    if (missing != NULL)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "nfs: " DS_LIBNFS_SONAME " is needed for nfs:// paths: "
                       "%s not found",
                       missing);
    *out = &api;
    return 0;
}
