/* SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "nfs3.h"

static struct nfs3_api api;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *missing; /* what could not be had; NULL: all is there */

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
    { "rpc_init_context", offsetof(struct nfs3_api, init_context) },
    { "rpc_destroy_context", offsetof(struct nfs3_api, destroy_context) },
    { "rpc_set_auth", offsetof(struct nfs3_api, set_auth) },
    { "rpc_get_error", offsetof(struct nfs3_api, get_error) },
    { "rpc_get_fd", offsetof(struct nfs3_api, get_fd) },
    { "rpc_which_events", offsetof(struct nfs3_api, which_events) },
    { "rpc_service", offsetof(struct nfs3_api, service) },
    { "rpc_connect_async", offsetof(struct nfs3_api, connect) },
    { "libnfs_authunix_create", offsetof(struct nfs3_api, authunix_create) },
    { "rpc_pmap2_getport_async", offsetof(struct nfs3_api, getport) },
    { "rpc_mount3_mnt_async", offsetof(struct nfs3_api, mnt) },
#define NFS3_ROW(upper, lower)                                                 \
    { "rpc_nfs3_" #lower "_async", offsetof(struct nfs3_api, lower) },
    NFS3_PROCEDURES(NFS3_ROW)
#undef NFS3_ROW
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

int nfs3_api(const struct nfs3_api **out, struct ds_error *err)
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
