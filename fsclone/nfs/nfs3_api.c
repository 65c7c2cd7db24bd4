/* SPDX-License-Identifier: Apache-2.0 */
#include "fail.h"
#include "library.h"
#include "nfs3.h"

static struct nfs3_api api;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *missing; /* what could not be had; NULL: all is there */

static const struct ds_library_function functions[] = {
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
    missing = ds_library_load(DS_LIBNFS_SONAME, functions,
                              sizeof(functions) / sizeof(functions[0]), &api);
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
